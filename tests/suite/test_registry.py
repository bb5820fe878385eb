"""Plug-ins are found by looking; a broken or doubled one is named and hides nobody."""

import sys
import types
from pathlib import Path

import pytest

from bench.cli.main import main
from bench.core.errors import BadPlugin
from bench.suite import parameters, registry

METHOD = """
from bench.api import Method


class Foo(Method):
    name = "{name}"
    source = "a test of the registry"

    def score(self, prediction, state):
        return prediction.entropy()
"""


@pytest.fixture
def plugins(tmp_path, monkeypatch):
    folder = tmp_path / "plugins" / "methods"
    folder.mkdir(parents=True)
    monkeypatch.setenv("BENCH_PLUGINS", str(tmp_path / "plugins"))
    registry.forget()
    yield folder
    registry.forget()


def test_a_file_in_a_folder_of_ones_own_is_a_method(plugins, capsys):
    (plugins / "foo.py").write_text(METHOD.format(name="foo"))
    assert main(["list", "methods"]) == 0
    assert any(line.startswith("foo ") for line in capsys.readouterr().out.splitlines())


def test_a_broken_file_hides_nobody_and_says_why_when_asked(plugins):
    (plugins / "broken.py").write_text("import nothing_of_this_name")
    assert "msp" in registry.available("method")
    with pytest.raises(BadPlugin, match=r"x\.yaml: method 'broken' cannot be used: .*No module named"):
        registry.build("method", "broken", {}, where="x.yaml")


def test_a_name_that_two_files_define_is_refused(plugins):
    (plugins / "foo.py").write_text(METHOD.format(name="msp"))
    with pytest.raises(BadPlugin, match="method 'msp' is defined twice"):
        registry.available("method")


def test_a_method_must_say_where_it_comes_from(plugins):
    (plugins / "foo.py").write_text(METHOD.format(name="foo").replace("source", "origin"))
    with pytest.raises(BadPlugin, match="Foo does not say its source"):
        registry.available("method")


def test_methods_of_installed_packages_are_found_through_the_entry_point_group(monkeypatch):
    module = types.ModuleType("other_package.scores")
    exec(compile(METHOD.format(name="guest"), "guest.py", "exec"), vars(module))  # noqa: S102 - the text above
    vars(module)["Foo"].__module__ = module.__name__
    monkeypatch.setitem(sys.modules, module.__name__, module)
    point = types.SimpleNamespace(name="guest", value=module.__name__, module=module.__name__)
    monkeypatch.setattr(
        registry.importlib.metadata, "entry_points", lambda group: [point] if group == registry.GROUP else []
    )
    registry.forget()
    try:
        assert "guest" in registry.available("method") and "msp" in registry.available("method")
    finally:
        registry.forget()


def test_parameters_are_resolved_with_their_defaults():
    plain = {"fidelity": "corrected", "post": "none", "temperature": 1.0}
    assert parameters.values(registry.build("method", "energy", {}, where="")) == plain
    hot = registry.build("method", "energy", {"temperature": 2}, where="")
    assert parameters.values(hot) == plain | {"temperature": 2.0}


@pytest.mark.parametrize("kind", registry.HOMES)
def test_everything_shipped_can_be_used_and_says_its_source(kind):
    for name, entry in registry.available(kind).items():
        assert not isinstance(entry, registry.Unavailable), entry
        assert entry.name == name and len(entry.source) > 10 and entry.__doc__


def test_an_edited_base_class_is_an_edited_method(plugins, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "shared_base.py").write_text("from bench.api import Method\nclass _Base(Method):\n    ...\n")
    text = METHOD.format(name="foo").replace("class Foo(Method)", "from shared_base import _Base\nclass Foo(_Base)")
    (plugins / "foo.py").write_text(text)
    before = registry.digest("method", "foo")
    assert registry.digest("method", "foo") == before
    (tmp_path / "shared_base.py").write_text("from bench.api import Method\nclass _Base(Method):\n    edited = True\n")
    assert registry.digest("method", "foo") != before
    assert registry.digest("dataset", "cityscapes") != registry.digest("dataset", "smiyc")


TRAINER = """
from bench.api import Trainer


class Guess(Trainer):
    name = "guess"
    source = "a test of the registry"

    def fit(self, stream, seed):
        return {}
"""


@pytest.mark.parametrize("folder", ["trainers", "fit"])
def test_trainers_are_found_in_their_folder_and_in_the_one_of_the_older_name(plugins, folder):
    (plugins.parent / folder).mkdir()
    (plugins.parent / folder / "guess.py").write_text(TRAINER)
    assert registry.available("trainer").keys() >= {"guess", "temperature"}


def test_a_trainer_in_both_folders_is_defined_twice(plugins):
    for folder in ("trainers", "fit"):
        (plugins.parent / folder).mkdir()
        (plugins.parent / folder / "guess.py").write_text(TRAINER)
    with pytest.raises(BadPlugin, match="trainer 'guess' is defined twice"):
        registry.available("trainer")


@pytest.mark.parametrize("kind", registry.HOMES)
def test_a_broken_file_of_any_kind_hides_nobody(plugins, kind):
    shipped = registry.available(kind).keys()
    for folder in registry.HOMES[kind].folders:
        (plugins.parent / folder).mkdir(exist_ok=True)
        (plugins.parent / folder / f"broken_{folder}.py").write_text("import nothing_of_this_name")
    registry.forget()
    assert registry.available(kind).keys() == shipped | {f"broken_{name}" for name in registry.HOMES[kind].folders}


def test_a_file_that_changed_is_read_again_once_the_registry_forgets(plugins):
    (plugins / "foo.py").write_text(METHOD.format(name="foo"))
    assert "foo" in registry.available("method")
    (plugins / "foo.py").write_text(METHOD.format(name="bar"))
    registry.forget()
    assert "bar" in registry.available("method") and "foo" not in registry.available("method")


def digests():
    return {(kind, name): registry.digest(kind, name) for kind in registry.HOMES for name in registry.available(kind)}


def edited(monkeypatch, tmp_path, name):
    """The digests of everything shipped as they are with one line more in a module of the contract."""
    real, changed = registry.inspect.getsourcefile, tmp_path / name
    (original,) = (Path(registry.__file__).parents[1] / "contract").glob(name)
    changed.write_text(original.read_text() + "# edited\n")
    monkeypatch.setattr(
        registry.inspect,
        "getsourcefile",
        lambda cls: str(changed) if Path(real(cls)) == original else real(cls),
    )
    return digests()


CONTRACT = sorted(path.name for path in (Path(registry.__file__).parents[1] / "contract").glob("*.py"))
COMPUTING = {"disagreement.py", "logit_score.py", "smoothed.py"}


@pytest.mark.parametrize("name", sorted({*CONTRACT} - COMPUTING))
def test_an_edit_of_the_contract_makes_nothing_stale(monkeypatch, tmp_path, name):
    assert digests() == edited(monkeypatch, tmp_path, name)


@pytest.mark.parametrize("name", sorted(COMPUTING))
def test_an_edit_of_a_base_that_computes_makes_exactly_those_stale_that_derive_from_it(monkeypatch, tmp_path, name):
    before, after = digests(), edited(monkeypatch, tmp_path, name)
    module = f"bench.contract.{Path(name).stem}"
    bases = {
        method: registry.inspect.getmro(cls)
        + registry.inspect.getmro(registry.plugin("method", getattr(cls, "refines", method), where=""))
        for method, cls in registry.available("method").items()
    }
    derived = {("method", method) for method, lineage in bases.items() if module in {cls.__module__ for cls in lineage}}
    assert {key for key, digest in before.items() if after[key] != digest} == derived != set()
    assert ("method", "rba") not in derived

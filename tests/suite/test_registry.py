"""Plug-ins are found by looking; a broken or doubled one is named and hides nobody."""

import sys
import types

import pytest

from bench.cli.main import main
from bench.core.errors import BadPlugin
from bench.suite import registry

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
    registry.found.cache_clear()
    yield folder
    registry.found.cache_clear()


def test_a_file_in_a_folder_of_ones_own_is_a_method(plugins, capsys):
    (plugins / "foo.py").write_text(METHOD.format(name="foo"))
    assert main(["list", "methods"]) == 0
    assert any(line.startswith("foo ") for line in capsys.readouterr().out.splitlines())


def test_a_broken_file_hides_nobody_and_says_why_when_asked(plugins):
    (plugins / "broken.py").write_text("import nothing_of_this_name")
    assert "msp" in registry.found("method")
    with pytest.raises(BadPlugin, match=r"x\.yaml: method 'broken' cannot be used: .*No module named"):
        registry.build("method", "broken", {}, where="x.yaml")


def test_a_name_that_two_files_define_is_refused(plugins):
    (plugins / "foo.py").write_text(METHOD.format(name="msp"))
    with pytest.raises(BadPlugin, match="method 'msp' is defined twice"):
        registry.found("method")


def test_a_method_must_say_where_it_comes_from(plugins):
    (plugins / "foo.py").write_text(METHOD.format(name="foo").replace("source", "origin"))
    with pytest.raises(BadPlugin, match="Foo does not say its source"):
        registry.found("method")


def test_methods_of_installed_packages_are_found_through_the_entry_point_group(monkeypatch):
    module = types.ModuleType("other_package.scores")
    exec(compile(METHOD.format(name="guest"), "guest.py", "exec"), vars(module))  # noqa: S102 - the text above
    vars(module)["Foo"].__module__ = module.__name__
    monkeypatch.setitem(sys.modules, module.__name__, module)
    point = types.SimpleNamespace(name="guest", value=module.__name__, module=module.__name__)
    monkeypatch.setattr(
        registry.importlib.metadata, "entry_points", lambda group: [point] if group == registry.GROUP else []
    )
    registry.found.cache_clear()
    try:
        assert "guest" in registry.found("method") and "msp" in registry.found("method")
    finally:
        registry.found.cache_clear()


def test_parameters_are_resolved_with_their_defaults():
    plain = {"fidelity": "corrected", "post": "none", "temperature": 1.0}
    assert registry.parameters(registry.build("method", "energy", {}, where="")) == plain
    hot = registry.build("method", "energy", {"temperature": 2}, where="")
    assert registry.parameters(hot) == plain | {"temperature": 2.0}


@pytest.mark.parametrize("kind", ["method", "model", "dataset", "protocol", "trainer"])
def test_everything_shipped_can_be_used_and_says_its_source(kind):
    for name, entry in registry.found(kind).items():
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

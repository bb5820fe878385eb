"""Each kind of plug-in, added by docs/plugins.md alone and by ``bench new``, and used by the command line."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from bench.cli.main import main
from bench.suite import registry, scaffold
from bench.suite.kinds import HOMES

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "plugins.md").read_text(encoding="utf-8")
EXAMPLES = dict(re.findall(r"<!-- plugin: (\S+) -->\n\n```python\n(.*?)```", PAGE, re.S))
(SUITE,) = re.findall(r"<!-- suite: plugins.yaml -->\n\n```yaml\n(.*?)```", PAGE, re.S)
COMMANDS = [shlex.split(line)[1:] for line in re.findall(r"```sh\n(.*?)```", PAGE, re.S)[-1].splitlines()]
NAMES = {kind: Path(path).stem for kind in HOMES for path in EXAMPLES if path.startswith(HOMES[kind].folders[0])}


def test_the_page_has_one_example_of_each_kind():
    assert NAMES.keys() == HOMES.keys() and len(EXAMPLES) == len(HOMES)


@pytest.mark.parametrize("kind", HOMES)
def test_the_example_of_the_page_is_what_bench_new_writes(kind):
    (text,) = (text for path, text in EXAMPLES.items() if Path(path).parts[0] == HOMES[kind].folders[0])
    assert text == scaffold.text(kind, NAMES[kind])


def written_by_bench_new(folder, capsys):
    for kind, name in NAMES.items():
        assert main(["new", kind, name, "--folder", str(folder / HOMES[kind].folders[0])]) == 0
    capsys.readouterr()


@pytest.fixture
def plugins(tmp_path, monkeypatch):
    """An empty folder of one's own, and an empty one to type commands in."""
    for name in ("plugins", "here"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("BENCH_PLUGINS", str(tmp_path / "plugins"))
    monkeypatch.chdir(tmp_path / "here")
    registry.forget()
    yield tmp_path / "plugins"
    registry.forget()


@pytest.mark.filterwarnings("error:.*goes with the next version:DeprecationWarning")
def test_every_kind_is_added_by_a_file_and_used_by_the_command_line(plugins, capsys):
    """The files are those of the page as well: they are compared above."""
    written_by_bench_new(plugins, capsys)
    registry.forget()
    for kind, home in HOMES.items():
        assert main(["list", home.plural]) == 0
        assert NAMES[kind] in [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    Path("plugins.yaml").write_text(SUITE)
    for argv in COMMANDS:
        assert main([*argv, "--workers", "0"] if argv[0] == "run" else argv) == 0, capsys.readouterr().err
    said = capsys.readouterr().out
    figures = Path("figures.txt").read_text().splitlines()
    cells = "lower_half / one_layer / squares[images=4] / margin: auroc 0."
    assert [line for line in figures if line.startswith(cells)]
    assert re.search(r"submission/margin\.zip: 4 maps", said)
    assert "every rule that could be checked is kept (frames 4)" in said
    assert "frames: auroc 0." in said and "DIFFERS" not in said and said.count(", agrees") >= 3
    assert said.splitlines()[-1] == "the dry run passed"


@pytest.mark.filterwarnings("error:.*goes with the next version:DeprecationWarning")
def test_a_method_is_fitted_by_the_trainer_that_it_names(plugins, capsys):
    written_by_bench_new(plugins, capsys)
    text = scaffold.text("method", "centred_margin")
    text = text.replace("import Method", "import Fitting, Method").replace(
        "    def score", '    fitting = Fitting("mean_logit", must=True)\n\n    def score'
    )
    text = text.replace("return (", 'return prediction.max_logit * 0 + float(state["mean"][0]) + (')
    (plugins / "methods" / "centred_margin.py").write_text(text)
    registry.forget()
    data = "squares:images=4"
    assert main(["fit", "centred_margin", "--model", "one_layer", "--data", data, "--workers", "0"]) == 0
    assert "centred_margin" in capsys.readouterr().out


@pytest.mark.parametrize("kind", HOMES)
def test_a_name_that_is_taken_or_no_name_is_refused_in_one_line(plugins, capsys, kind):
    taken = next(iter(registry.available(kind)))
    assert main(["new", kind, taken]) == 2
    assert capsys.readouterr().err == f"bench: there is a {kind} {taken!r} already; choose another name\n"
    for name in ("My_score", "no-name", "class"):
        assert main(["new", kind, name]) == 2
        assert capsys.readouterr().err.startswith(f"bench: {name!r} cannot name a file and a {kind}; wanted lower case")
    assert main(["new", kind, "twice", "--folder", "here"]) == 0
    capsys.readouterr()
    assert main(["new", kind, "twice", "--folder", "here"]) == 2
    assert capsys.readouterr().err == "bench: here/twice.py exists already; choose another name\n"


def in_style(path):
    """Whatever ruff has against a file, by the settings of the project."""
    said = ""
    for check in (["check", "-q"], ["format", "-q", "--diff"]):
        argv = [sys.executable, "-m", "ruff", *check, "--config", ROOT / "pyproject.toml", path]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        said += done.stdout + done.stderr
    return said


@pytest.mark.parametrize("kind", ["dataset", "protocol"])
def test_what_is_written_below_the_facade_takes_the_same_names_from_the_contract(plugins, kind):
    text = scaffold.without_facade(scaffold.text(kind, "mine"))
    assert "bench.api" not in text and "from bench.contract.dataset import " in text
    path = plugins / HOMES[kind].folders[0] / "mine.py"
    path.parent.mkdir()
    path.write_text(text)
    assert registry.plugin(kind, "mine", where="a test").name == "mine"
    assert in_style(path) == ""


@pytest.mark.parametrize("kind", HOMES)
def test_what_bench_new_writes_is_in_the_style_of_the_project(plugins, capsys, kind):
    assert main(["new", kind, "mine", "--folder", str(plugins)]) == 0
    assert in_style(plugins / "mine.py") == ""


@pytest.mark.parametrize("kind", HOMES)
def test_without_a_clone_a_plug_in_is_written_to_the_first_folder_of_ones_own(plugins, monkeypatch, capsys, kind):
    monkeypatch.setattr(scaffold.bench, "__file__", str(plugins / "site" / "bench" / "__init__.py"))
    assert main(["new", kind, "mine"]) == 0
    assert Path(capsys.readouterr().out.strip()) == plugins / HOMES[kind].folders[0] / "mine.py"
    registry.forget()
    assert "mine" in registry.available(kind)
    monkeypatch.setenv("BENCH_PLUGINS", "")
    registry.forget()
    assert main(["new", kind, "mine"]) == 2
    assert capsys.readouterr().err.startswith("bench: where to? set $BENCH_PLUGINS to a folder of your own (")

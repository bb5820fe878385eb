"""Code of others may raise what it likes, wherever it is called: its cells fail, or its command, and nobody else's."""

import argparse
import json
import signal

import pytest
from running import run
from test_isolation import METHOD, NET, PROTOCOL, SCENES, SET, figures, plug, suite  # noqa: F401 - a fixture among them

from bench.cli.main import main
from bench.core import foreign_code
from bench.core.errors import BadPlugin, CellsFailed, UserError
from bench.suite import registry

RAISED = {
    "sys.exit(0)": r"called sys.exit\(0\)",
    "sys.exit('a word')": r"called sys.exit\('a word'\)",
    "argparse.ArgumentParser().parse_args(['--odd'])": r"called sys.exit\(2\)",
    "raise KeyboardInterrupt": "KeyboardInterrupt",
    "raise MemoryError": "MemoryError",
    "raise ValueError('odd')": "ValueError: odd",
}
IMPORTS = "import argparse\nimport sys\n"


def raising(text, line, what):
    """A plug-in with ``what`` in place of a line."""
    assert text.count(line) == 1
    indent = line[: len(line) - len(line.lstrip())]
    return IMPORTS + text.replace(line, f"{indent}{what}")


@pytest.mark.parametrize(
    "what",
    [pytest.param(what, marks=pytest.mark.slow) if "word" in what or "odd'" in what else what for what in RAISED],
)
def test_what_a_method_or_a_protocol_raises_fails_its_own_cells(what, tmp_path, plug):  # noqa: F811
    plug("methods", "writes", IMPORTS + METHOD.format(body=what))
    plug("protocols", "writes", raising(PROTOCOL, "        return super().categories(sample, predicted)", what))
    path = suite(tmp_path / "s", "[writes, maxlogit]", "[writes, anomaly]")
    with pytest.raises(CellsFailed):
        run(path, tmp_path / "run", workers=0)
    failed = json.loads((tmp_path / "run" / "failures.json").read_text())
    assert len(failed) == 3 and len(figures(tmp_path / "run")) == 1
    for entry in failed:
        assert "writes" in entry["message"] and "writes.py:" in entry["message"]


LOAD = "        return replace(Toytown("
PLACES = {  # a kind, its file, and the line that something is raised before
    "network": ("models", "turned", NET, "            size = view.input_size"),
    "loading": ("models", "turned", NET, "        return Loaded(self.output)"),
    "sample": ("datasets", "odd", SET % ["a", "b"], LOAD),
}


@pytest.mark.parametrize("what", ["sys.exit(0)", "raise KeyboardInterrupt", "raise ValueError('odd')"])
@pytest.mark.parametrize("place", [*PLACES, "factory"])
def test_what_a_network_or_a_data_set_raises_fails_the_cells_that_need_it(place, what, tmp_path, plug):  # noqa: F811
    scenes = ("odd", "") if place == "sample" else SCENES
    path = suite(tmp_path / "s", scenes=scenes)
    if place == "factory":
        (path.parent / "net.py").write_text(IMPORTS + f"def build():\n    {what}\n")
    else:
        kind, name, text, line = PLACES[place]
        assert text.count(line) == 1
        indent = line[: len(line) - len(line.lstrip())]
        plug(kind, name, IMPORTS + text.replace(line, f"{indent}{what}\n{line}"))
    if place in {"network", "loading"}:
        tiny = 'python: {factory: "net.py:build", label: tiny}'
        path.write_text(path.read_text().replace(tiny, "turned: {}"))
    with pytest.raises(CellsFailed, match=RAISED[what]):
        run(path, tmp_path / "run", workers=0)


def written(plug, place, what):  # noqa: F811
    """Put a method there that raises at a place which is called before a run begins."""
    lines = {
        "import": f"{what}\n",
        "constructor": f"    def __post_init__(self):\n        {what}\n",
        "check": f"    def check(self, model, network=None):\n        {what}\n",
        "digest": f"    def digest(self):\n        {what}\n",
        "needs": f"    @property\n    def needs(self):\n        {what}\n",
    }[place]
    text = IMPORTS + METHOD.format(body="return prediction.max_logit")
    if place == "needs":
        text = text.replace('    needs = frozenset({"logits", "raw", "image"})\n', "")
    text = text + (lines if place == "import" else f"\n{lines}")
    plug("methods", "writes", text)


@pytest.mark.parametrize("what", ["sys.exit()", "sys.exit(0)", "raise TypeError('odd')", "raise KeyboardInterrupt"])
@pytest.mark.parametrize("place", ["import", "constructor", "check", "digest", "needs"])
def test_what_is_raised_before_a_run_is_one_line_with_status_2(place, what, tmp_path, plug, capsys):  # noqa: F811
    written(plug, place, what)
    path = suite(tmp_path / "s", "[writes]")
    for command in (["check", str(path)], ["run", str(path), "--out", str(tmp_path / "run")]):
        assert main(command) == 2
        said = capsys.readouterr().err.strip().splitlines()[-1]
        assert said.startswith("bench: ") and ("writes" in said)
        assert "sys.exit" in said or "TypeError: odd" in said or "KeyboardInterrupt" in said
    assert not (tmp_path / "run" / "run.json").exists()


FORMAT = """
import sys
from dataclasses import dataclass

from bench.api import Format


@dataclass(frozen=True)
class Leaves(Format):
    'It leaves.'

    name = "leaves"
    source = "a test"
    suffix = ".txt"

    def write(self, document):
        sys.exit()
"""


def test_a_format_that_leaves_ends_its_command_with_a_line(tmp_path, plug, capsys):  # noqa: F811
    plug("reports", "leaves", FORMAT)
    run(suite(tmp_path / "s"), tmp_path / "run", workers=0)
    assert main(["report", str(tmp_path / "run"), "--format", "leaves", "--out", str(tmp_path / "a.txt")]) == 2
    assert "called sys.exit() (leaves.py:17)" in capsys.readouterr().err
    assert not (tmp_path / "a.txt").exists()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('needs = "logits"', "Writes.needs is 'logits', wanted a set of names"),
        ('needs = frozenset({"logits", 1})', "Writes.needs is"),
        ("def needs(self): return frozenset()", "Writes.needs is a method; write @property above it"),
        ('merge = "both"', "Writes.merge is 'both', wanted 'merged' or 'views'"),
        ('fitting = "mean_logit"', "Writes.fitting is 'mean_logit', wanted a Fitting"),
        ('computations = "scoring"', "Writes.computations is 'scoring', wanted a set of names"),
        ("@property\n    def needs(self): return 'logits'", "Writes.needs is 'logits', wanted a set of names"),
        ("uses_outliers = 1", "Writes.uses_outliers is 1, wanted True or False"),
    ],
)
def test_a_declaration_of_a_wrong_type_is_one_line(line, words, tmp_path, plug, capsys):  # noqa: F811
    text = METHOD.format(body="return prediction.max_logit")
    plug("methods", "writes", text.replace('needs = frozenset({"logits", "raw", "image"})', line))
    assert main(["check", str(suite(tmp_path / "s", "[writes]"))]) == 2
    assert words in capsys.readouterr().err


OUTPUTS = 'outputs = frozenset({"logits", "labels", "raw", "image"})'
NEEDS = 'needs = Misclassification.needs | {"anomaly"}'
DECLARED = [
    (
        SET % ["a"],
        'annotations = frozenset({"labels", "anomaly"})',
        'annotations = "labels"',
        "annotations is 'labels'",
    ),
    (SET % ["a"], "count = len(IDS)", "count = 1.0", "Odd.count is 1.0, wanted a whole number"),
    (NET, OUTPUTS, 'outputs = "logits"', "Turned.outputs is 'logits', wanted a set of names"),
    (PROTOCOL, NEEDS, 'needs = "score"', "protocol Writes needs 'score', wanted a set"),
    (PROTOCOL, "version = 1", 'version = "1"', "Writes.version is '1', wanted a whole number"),
]


@pytest.mark.parametrize(("text", "old", "new", "words"), DECLARED)
def test_so_it_is_with_data_sets_networks_and_protocols(text, old, new, words, plug):  # noqa: F811
    assert text.count(old) == 1
    kind = {SET % ["a"]: "dataset", NET: "model", PROTOCOL: "protocol"}[text]
    name = {"dataset": "odd", "model": "turned", "protocol": "writes"}[kind]
    plug(f"{kind}s", name, text.replace(old, new))
    with pytest.raises(UserError) as refused:
        registry.plugin(kind, name, where="here")
    assert words in str(refused.value)


def test_a_key_that_somebody_pressed_is_nobodys_fault():
    try:
        signal.raise_signal(signal.SIGINT)
    except KeyboardInterrupt as error:
        assert not foreign_code.is_theirs(error)
    with pytest.raises(KeyboardInterrupt), foreign_code.named("a plug-in"):
        signal.raise_signal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), foreign_code.named("a plug-in"):
        raise KeyboardInterrupt  # of the machinery, as it raises it after a signal
    with pytest.raises(BadPlugin, match=r"it called sys.exit\(2\) \(test_foreign_code.py"), foreign_code.named("it"):
        argparse.ArgumentParser().parse_args(["--odd"])

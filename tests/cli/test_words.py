"""Words that commands answer with: lists of figures, plug-ins described, numbers with their nouns and units."""

import io
import json
import re

import pytest
from rich.console import Console

from bench.api import Protocol, Undefined, Value
from bench.cli.main import main
from bench.cli.output import number
from bench.evaluate import text as score_text
from bench.run.progress import Bar, speed
from bench.suite import registry
from bench.suite.kinds import HOMES


def test_every_figure_of_every_protocol_is_listed(capsys):
    assert main(["list", "metrics"]) == 0
    printed = capsys.readouterr().out
    for name, protocol in registry.available("protocol").items():
        assert issubclass(protocol, Protocol)
        for metric in protocol.metrics:
            assert re.search(rf"(?m)^{re.escape(metric)} .*\b{name}\b.*$", printed), (name, metric)


@pytest.mark.parametrize("kind", ["method", "protocol", "model", "trainer", "format"])
def test_every_plug_in_is_described_with_its_parameters(kind, capsys):
    for name, cls in registry.available(kind).items():
        assert main(["describe", name, "--kind", kind, "--format", "json"]) == 0
        about = json.loads(capsys.readouterr().out)
        assert about["source"] == cls.source
        assert not any(
            re.search(r"typing\.|(^|or )another value$|Literal\[", entry["type"]) for entry in about["parameters"]
        )
        assert main(["describe", name, "--kind", kind]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert lines[0] == f"{kind} {name}"
        assert sum(line.startswith("parameter  ") for line in lines) == len(about["parameters"])


def test_a_method_is_described_by_its_name_alone_and_takes_no_parameters(capsys):
    assert main(["describe", "energy"]) == 0
    assert "parameter  temperature: a number of more than 0; default 1.0" in capsys.readouterr().out
    assert main(["describe", "energy:temperature=2"]) == 2
    assert main(["describe", "enrgy"]) == 2
    assert "did you mean 'energy'?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("kind", "name"), [("model", "zzz"), ("dataset", "nuscenes"), ("method", "zzz"), ("protocol", "ood")]
)
def test_what_is_not_built_in_names_two_commands_that_there_are(kind, name, capsys):
    assert main(["describe", name, "--kind", kind]) == 2
    line = capsys.readouterr().err
    assert f"unknown {kind} '{name}'; not built in: 'bench list {HOMES[kind].plural}'" in line
    for words in re.findall(r"'bench (.*?)'", line):
        assert main([*words.split()[:2], "--help"]) == 0


def test_numbers_have_their_nouns_and_slow_networks_their_seconds():
    assert [number(0, "cell"), number(1, "cell"), number(2, "cell")] == ["0 cells", "1 cell", "2 cells"]
    assert [speed(25.04), speed(1), speed(0.04)] == ["25.0 images/s", "1.0 images/s", "25.0 s/image"]


def test_a_terminal_shows_what_is_waited_for_before_there_are_images():
    stream = io.StringIO()
    with Bar(Console(file=stream, force_terminal=True, width=60)) as bar:
        bar.stage("loading \x1b[31mPyTorch")
        bar._bar.refresh()
        bar.begin(4)
        bar.advance(4)
    assert "loading \N{REPLACEMENT CHARACTER}U+001B[31mPyTorch" in stream.getvalue()


def test_scores_are_in_percent_as_in_every_table():
    metrics = registry.plugin("protocol", "anomaly", where="test").metrics
    assert score_text._figure(Value(0.9230391, 0.0, 0.9, 0.95), metrics["auroc"]) == "92.3039 %  [90, 95]"
    assert score_text._figure(Value(0.5, 1e-5), metrics["auroc"]) == "50 ± 1.0e-03 %"
    assert score_text._figure(Value(0.5), None) == "0.5"
    assert score_text._figure(Undefined("why"), metrics["auroc"]) == "n/a  why"


def test_a_list_is_folded_on_a_terminal_and_has_a_line_for_each_name_elsewhere(capsys, monkeypatch):
    assert main(["list", "methods"]) == 0
    plain = capsys.readouterr().out.splitlines()
    assert len(plain) == len(registry.available("method"))
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "60")
    assert main(["list", "methods"]) == 0
    folded = capsys.readouterr().out.splitlines()
    assert max(map(len, folded)) <= 60
    assert " ".join(" ".join(folded).split()) == " ".join(" ".join(plain).split())

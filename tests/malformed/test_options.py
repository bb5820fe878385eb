"""Words on the command line that nobody can mean: a line and status 2, or an answer; nothing is left behind."""

import shutil

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.cli.main import main

WORDS = {
    "nothing": "",
    "a blank": " ",
    "a dash": "-",
    "a date": "2021-13-45",
    "0x": "0x",
    "a tag": "!!int x",
    "a tag of Python": "!!python/name:os.system",
    "5,000 digits": "9" * 5000,
    "a large number": "1000000000000",
    "a negative number": "-1",
    "no number": "nan",
    "infinity": "1e999",
    "deep lists": "[" * 300,
    "NUL": "a\0b",
    "a byte of another encoding": "a\udcff",
    "half a pair": "a\ud800",
    "an escape": "\x1b[2Ja",
    "a line feed": "a\nb",
    "a turned name": "a\N{RIGHT-TO-LEFT OVERRIDE}b",
    "a long name": "x" * 300,
    "a very long name": "x" * 100_000,
    "a long path": "x/" * 3000,
    "a device": "/dev/null",
    "a folder": ".",
    "an open bracket": "[a",
    "an open brace": "{a: ",
    "a brace of nothing": "{}",
    "two names": "{a: 1, b: 2}",
    "a colon": "a:",
    "an equals sign": "a=",
    "a parameter of nothing": ":a=1",
    "a parameter twice": "energy:temperature=1,temperature=2",
    "a glob of nothing": "method=[!a-",
    "an axis twice": "method=a,method=b",
    "commas": ",,,",
    "a percent sign": "%s%n{0}{id}",
    "a tilde": "~nobody-at-all/x",
    "an alias": "*a",
}
SUITE = """
protocols: [anomaly]
models: [toynet]
datasets: [{toytown: {split: anomaly, images: 1, height: 32, width: 32}}]
methods: [msp]
bootstrap: 0
"""
PLACES = {
    "a command": ["{}"],
    "run a suite": ["run", "{}"],
    "check": ["check", "{}"],
    "check --only": ["check", "s.yaml", "--only", "{}"],
    "check --only, a glob": ["check", "s.yaml", "--only", "method={}"],
    "check --method": ["check", "s.yaml", "--method", "{}"],
    "check --method, a value": ["check", "s.yaml", "--method", "energy:temperature={}"],
    "check --model": ["check", "s.yaml", "--model", "{}"],
    "check --model, a path": ["check", "s.yaml", "--model", "python:factory={}"],
    "check --model, stored": ["check", "s.yaml", "--model", "precomputed:logits={}"],
    "check --processes": ["check", "s.yaml", "--estimate", "--probe", "0", "--processes", "{}"],
    "check --from": ["check", "s.yaml", "--estimate", "--from", "{}"],
    "run --workers": ["run", "nosuch.yaml", "--workers", "{}"],
    "fit": ["fit", "{}"],
    "fit --set": ["fit", "energy", "--model", "toynet", "--data", "nosuch", "--set", "{}"],
    "fit --data": ["fit", "energy", "--model", "toynet", "--data", "{}"],
    "fit --seeds": ["fit", "energy", "--seeds", "{}"],
    "describe": ["describe", "{}"],
    "describe, a value": ["describe", "cityscapes:frames={}"],
    "describe --set": ["describe", "cityscapes", "--set", "{}"],
    "describe a folder": ["describe", "{{folder: {{images: '{}', labels: '{}'}}}}"],
    "list": ["list", "{}"],
    "list --only": ["list", "published", "--only", "{}"],
    "init": ["init", "{}"],
    "init --out": ["init", "nosuch", "--out", "{}"],
    "merge": ["merge", "{}", "{}", "--out", "out"],
    "verify": ["verify", "{}"],
    "verify --cell": ["verify", "nosuch", "--cell", "{}"],
    "show": ["show", "{}"],
    "show --only": ["show", "{}", "--only", "{}"],
    "compare": ["compare", "{}", "{}"],
    "compare --fail-if": ["compare", "a", "b", "--fail-if", "{}"],
    "report": ["report", "{}"],
    "report --format": ["report", "nosuch", "--format", "{}"],
    "score --protocol": ["score", "--labels", "nosuch", "--scores", "nosuch", "--protocol", "{}"],
    "score --labels": ["score", "--protocol", "anomaly", "--scores", "nosuch", "--labels", "{}"],
    "score --scores": ["score", "--protocol", "anomaly", "--labels", "labels", "--scores", "{}"],
    "score --dataset": ["score", "--protocol", "anomaly", "--scores", "nosuch", "--dataset", "{}"],
    "score --pair": ["score", "--protocol", "anomaly", "--scores", "nosuch", "--labels", "labels", "--pair", "{}"],
    "score --seed": ["score", "--protocol", "anomaly", "--labels", "labels", "--seed", "{}"],
    "score --bootstrap": ["score", "--protocol", "anomaly", "--labels", "labels", "--bootstrap", "{}"],
    "new": ["new", "method", "{}", "--folder", "nosuch/plugins"],
    "data toytown --layout": ["data", "toytown", "--out", "out", "--layout", "{}"],
    "data toytown --size": ["data", "toytown", "--out", "out", "--layout", "nosuch", "--size", "{}"],
    "data toytown --images": ["data", "toytown", "--out", "out", "--layout", "nosuch", "--images", "{}"],
    "data coco-proxy": ["data", "coco-proxy", "--coco", "{}", "--out", "out"],
    "submit": ["submit", "{}"],
    "submit check": ["submit", "check", "{}"],
    "submit check --frames": ["submit", "check", "nosuch.zip", "--frames", "{}"],
    "submit smiyc": ["submit", "smiyc", "--run", "{}", "--method", "msp", "--out", "out"],
    "submit smiyc --name": ["submit", "smiyc", "--suite", "s.yaml", "--method", "msp", "--out", "out", "--name", "{}"],
    "submit smiyc --sets": ["submit", "smiyc", "--suite", "s.yaml", "--method", "msp", "--out", "out", "--sets", "{}"],
    "submit fishyscapes": ["submit", "fishyscapes", "--run", "{}", "--method", "msp", "--out", "out"],
    "submit dry-run": ["submit", "dry-run", "{}"],
    "submit entry": ["submit", "entry", "{}", "--returned", "{}"],
    "help": ["help", "{}"],
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder to stand in, with a suite and empty labels."""
    place = tmp_path / "here"
    (place / "labels").mkdir(parents=True)
    (place / "s.yaml").write_text(SUITE)
    monkeypatch.chdir(place)
    return place


def held(folder, template, word, capsys):
    """Hold a command with a word in its places against the property."""
    argv = [part.replace("{{", "\1").replace("}}", "\2").replace("{}", word) for part in template]
    status = main([part.replace("\1", "{").replace("\2", "}") for part in argv])
    printed = capsys.readouterr()
    lines = printed.err.splitlines()
    assert status in (0, 2), (argv, lines)
    if status:
        assert sum(line.startswith("bench: ") for line in lines) == 1, (argv, lines)
        assert len(lines[-1]) < 2200 and all(line.isprintable() for line in lines), (argv, lines)
        entries = sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))
        assert entries == ["labels", "s.yaml"], (argv, entries)
    else:
        shutil.rmtree(folder / "nosuch", ignore_errors=True)


@pytest.mark.parametrize("name", PLACES)
def test_a_word_that_nobody_means_is_a_line(name, folder, capsys):
    """Every place has a sixth of the words, every word a sixth of the places."""
    first = list(PLACES).index(name)
    for word in list(WORDS.values())[first % 6 :: 6]:
        held(folder, PLACES[name], word, capsys)


@pytest.mark.slow
@pytest.mark.parametrize("name", PLACES)
def test_every_word_that_nobody_means_is_a_line_everywhere(name, folder, capsys):
    for word in WORDS.values():
        held(folder, PLACES[name], word, capsys)


RANDOM = settings(derandomize=True, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
TEXT = st.text(max_size=12) | st.text("{}[]:,=-!&*#'\"~<>|%@.\n\t 0aé\\\0\x1b", max_size=12)


@given(st.sampled_from(sorted(PLACES)), TEXT)
@settings(RANDOM, max_examples=20)
def test_a_word_made_at_random_is_a_line_or_an_answer(folder, capsys, name, word):
    held(folder, PLACES[name], word, capsys)


@pytest.mark.slow
@given(st.sampled_from(sorted(PLACES)), TEXT)
@settings(RANDOM, max_examples=600)
def test_many_words_made_at_random_are_a_line_or_an_answer(folder, capsys, name, word):
    held(folder, PLACES[name], word, capsys)

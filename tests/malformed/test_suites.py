"""Suites and data.yaml that are no such thing: a line and status 2, or a check that passes; nothing is left behind."""

import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.cli.main import main

GOOD = """title: T
protocols: [anomaly, {components: {min_predicted: 6}}]
models:
  - toynet: {inference: {scales: [1.0], flip: false}, label: net}
datasets:
  - toytown: {split: anomaly, images: 2, height: 32, width: 64}
  - toytown_outliers: {images: 2, height: 32, width: 64, corruption: {name: fog, severity: 1}}
methods: [msp, {energy: {sweep: {temperature: [1, 2]}}}]
bootstrap: 10
seed: 0
numerics: {device: cpu, threads: 1}
summaries:
  - {name: all, protocol: anomaly, dataset: "*"}
operating_points:
  - {name: point, protocol: anomaly, calibrate: toytown}
"""
SCALARS = {
    "a date": "2021-13-45",
    "a right date": "2021-01-02",
    "0x": "0x",
    "a tag": "!!int x",
    "a tag of Python": "!!python/object/apply:os.getcwd []",
    "a tag of binary": "!!binary aGk=",
    "5,000 digits": "9" * 5000,
    "a large number": "1000000000",
    "a larger number": "1" + "0" * 200,
    "a negative number": "-1",
    "no number": ".nan",
    "infinity": "-.inf",
    "beyond float64": "1e999",
    "nothing": "~",
    "no text": '""',
    "NUL": '"a\\0b"',
    "an escape": '"\\e[2J"',
    "half a pair": '"\\ud800"',
    "a long name": "x" * 5000,
    "a path up": "../../../etc/passwd",
    "a device": "/dev/zero",
    "a home of nobody": "~nobody-at-all/x",
    "a list": "[1, [2, {a: [b]}]]",
    "a mapping": "{a: {b: {c: d}}}",
    "a mapping with a list as key": "{[a]: b}",
    "no list": "[]",
    "no mapping": "{}",
    "truth": "yes",
    "deep lists": "[" * 300 + "]" * 300,
    "globs": "'[!a-'",
    "an alias of nothing": "*a",
    "two documents": "1\n---\n2",
}
PLACES = sorted({match.span(1) for match in re.finditer(r"[:\[,] ?([\w.*\"]+)(?=[,\]}\n])", GOOD)})
LINES = GOOD.splitlines(keepends=True)
BOMB = "n0: &a0 [x, x]\n" + "".join(f"n{i}: &a{i} [*a{i - 1}, *a{i - 1}]\n" for i in range(1, 30))
WHOLE = {
    "nothing": "",
    "a comment": "# nothing\n",
    "a list": "- a\n- b\n",
    "a word": "suite",
    "a number": "7",
    "every key twice": GOOD + GOOD,
    "a key twice": GOOD + "seed: 1\n",
    "a key twice inside": GOOD.replace("flip: false", "flip: false, flip: true"),
    "a tab": GOOD.replace("  - ", "\t- "),
    "half": GOOD[: len(GOOD) // 2],
    "an alias bomb": GOOD + BOMB,
    "a list in itself": GOOD.replace("[msp,", "&m [msp, *m,"),
    "NUL bytes": GOOD.replace("msp", "m\0sp"),
    "a sweep of millions": GOOD.replace("[1, 2]", f"{list(range(1, 400))}, x: {list(range(400))}"),
    "an empty sweep": GOOD.replace("[1, 2]", "[]"),
    "keys that are no text": GOOD + "1: 2\n",
    "a point of nothing": GOOD.replace("calibrate: toytown", "calibrate: nosuch"),
    "a point of a protocol that is not asked": GOOD.replace(
        "point, protocol: anomaly", "point, protocol: misclassification"
    ),
    "two of one label": GOOD.replace("[msp,", "[{msp: {label: a}}, {maxlogit: {label: a}},"),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("suites")


def checked(folder, content):
    """Hold a file against the property, and return the status of its check."""
    path = folder / "suite.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass"))
    status = main(["check", str(path)])
    assert [entry.name for entry in folder.iterdir()] == ["suite.yaml"]
    return status


def held(folder, content, capsys):
    status = checked(folder, content)
    lines = capsys.readouterr().err.splitlines()
    assert status in (0, 2), lines
    if status:
        assert len(lines) == 1 and lines[0].startswith("bench: "), lines
        assert len(lines[0]) < 2100 and lines[0].isprintable(), lines
    return status


def test_the_suite_that_they_are_made_of_is_right(folder, capsys):
    assert held(folder, GOOD, capsys) == 0
    assert len(PLACES) > 25


@pytest.mark.parametrize("name", WHOLE)
def test_a_text_that_is_no_suite_is_refused(name, folder, capsys):
    assert held(folder, WHOLE[name], capsys) == 2


@pytest.mark.parametrize("name", SCALARS)
def test_any_value_in_some_places_is_a_line_or_right(name, folder, capsys):
    """Every place of a suite has some of the values, every value some of the places."""
    first = list(SCALARS).index(name)
    for start, end in PLACES[first % 10 :: 10]:
        held(folder, GOOD[:start] + SCALARS[name] + GOOD[end:], capsys)


@pytest.mark.slow
@pytest.mark.parametrize("name", SCALARS)
def test_any_value_in_every_place_is_a_line_or_right(name, folder, capsys):
    for start, end in PLACES:
        held(folder, GOOD[:start] + SCALARS[name] + GOOD[end:], capsys)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "latin-1", "cp037"])
def test_another_encoding_is_refused(encoding, folder, capsys):
    content = GOOD.replace("title: T", "title: é").encode(encoding)
    assert held(folder, content, capsys) == 2


def mutated(draw):
    """A good suite with lines left out, doubled and moved, and characters changed."""
    lines = list(LINES)
    for _ in range(draw(st.integers(0, 2))):
        index = draw(st.integers(0, len(lines) - 1))
        kind = draw(st.sampled_from(["drop", "double", "move", "indent"]))
        line = lines.pop(index)
        if kind == "double":
            lines[index:index] = [line, line]
        elif kind == "move":
            lines.insert(draw(st.integers(0, len(lines))), line)
        elif kind == "indent":
            lines.insert(index, "  " + line)
        if not lines:
            break
    text = "".join(lines)
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(text)))
        text = (
            text[:at]
            + draw(st.text("{}[]:,-!&*#'\"\n\t 0aé\\~<>|%@`\0", max_size=3))
            + text[at + draw(st.integers(0, 3)) :]
        )
    return text


NO_HEALTH = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]


@given(st.data())
@settings(max_examples=15, derandomize=True, database=None, suppress_health_check=NO_HEALTH)
def test_a_suite_changed_at_random_is_a_line_or_right(folder, capsys, data):
    held(folder, mutated(data.draw), capsys)


@pytest.mark.slow
@given(st.data())
@settings(max_examples=500, derandomize=True, database=None, suppress_health_check=NO_HEALTH)
def test_many_suites_changed_at_random_are_a_line_or_right(folder, capsys, data):
    held(folder, mutated(data.draw), capsys)


CITY = "protocols: [miou]\nmodels: [toynet]\ndatasets:\n  - cityscapes: {frames: 1}\nbootstrap: 0\n"
LISTINGS = {
    "a tab": b"cityscapes:\t- x\n\t",
    "half a bracket": b"[cityscapes",
    "UTF-16": "cityscapes: /x".encode("utf-16"),
    "latin-1": "cityscapes: /é".encode("latin-1"),
    "a list": b"- cityscapes\n",
    "a number for a place": b"cityscapes: 7\n",
    "a key twice": b"cityscapes: /a\ncityscapes: /b\n",
    "a home of nobody": b"cityscapes: ~nobody-at-all/x\n",
    "a long name": b"cityscapes: /" + b"x" * 5000,
    "a tag": b"cityscapes: !!python/name:os.system\n",
    "NUL": b"cityscapes: /a\0b\n",
    "a place that is not there": b"cityscapes: /no/such/place\n",
    "a device": b"cityscapes: /dev/null\n",
    "nothing": b"",
}


@pytest.mark.parametrize("name", LISTINGS)
def test_a_listing_of_data_sets_that_is_none_is_a_line(name, folder, capsys, home):
    home.mkdir()
    (home / "data.yaml").write_bytes(LISTINGS[name])
    assert held(folder, CITY, capsys) == 2
    assert [entry.name for entry in home.iterdir()] == ["data.yaml"]

"""YAML by one rule: what a scalar is, and what no text may hold."""

import math
import re
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from bench.core import yaml_text
from bench.core.errors import BadYaml, UserError


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2021-13-45", "2021-13-45"),
        ("2021-01-02", "2021-01-02"),
        ("0x", "0x"),
        ("0x1f", 31),
        ("0b11", 3),
        ("010", "010"),
        ("1:30", "1:30"),
        ("1_000", 1000),
        ("1e-5", 1e-5),
        ("-2E3", -2000.0),
        (".5", 0.5),
        ("=", "="),
        ("<<", "<<"),
        ("~", None),
        ("", None),
        ("# nothing", None),
        ("off", False),
        ("'yes'", "yes"),
        ("[a, {b: [1]}]", ["a", {"b": [1]}]),
        ("{1: a, yes: b, ~: c}", {"1": "a", "yes": "b", "~": "c"}),
        ("a: &x {k: 1, l: 2}\nb: {<<: *x, k: 3}", {"a": {"k": 1, "l": 2}, "b": {"l": 2, "k": 3}}),
        ("[&x [1], *x]", [[1], [1]]),
    ],
)
def test_a_value_is_what_the_one_rule_says(text, value):
    assert yaml_text.parse(text, "here") == value


def test_two_aliases_of_a_list_are_two_lists():
    first, second = yaml_text.parse("[&x [1], *x]", "here")
    first.append(2)
    assert second == [1]


BOMB = "a0: &a0 [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"a{level}: &a{level} [{','.join([f'*a{level - 1}'] * 9)}]\n" for level in range(1, 10)
)
REFUSED = {
    "a tag of a type": ("a: 1\nb: !!int x", 2, "the tag !!int is not taken"),
    "a tag of Python": ("!!python/object/apply:os.system [ls]", 1, "the tag !!python/object/apply:os.system"),
    "a tag of one's own": ("a: !x y", 1, "the tag !x"),
    "many digits": ("a:\n  " + "9" * 5000, 2, "a number of 5000 digits"),
    "deep lists": ("[" * 5000, 1, "more than 40 deep"),
    "deep mappings": ("{a: " * 5000, 1, "more than 40 deep"),
    "deep aliases": (
        "- &b0 [x]\n" + "".join(f"- &b{level} [*b{level - 1}]\n" for level in range(1, 60)),
        40,
        "more than 40 deep",
    ),
    "an alias bomb": (BOMB, 5, "more than 50000 values"),
    "a list in itself": ("a: &a [*a]", 1, "stands inside of what it refers to"),
    "a mapping in itself": ("&a {b: {c: *a}}", 1, "stands inside of what it refers to"),
    "NUL": ("a: b\nc: d\0", 2, "U+0000"),
    "a spelled NUL": ('a: "b\\0"', 1, "U+0000"),
    "a spelled escape": ('a: "\\e[2J"', 1, "U+001B"),
    "a lone surrogate": ("a: \udcff", 1, "U+DCFF"),
    "a spelled surrogate": ('a: "\\ud800"', 1, "U+D800"),
    "a key twice": ("a: 1\nb: 2\na: 3", 3, "the key 'a' stands twice, first in line 1"),
    "a key twice in a line": ("{a: {b: 1, b: 2}}", 1, "the key 'b' stands twice"),
    "a list as a key": ("? [a]\n: 1", 1, "a key is a list"),
    "a tab": ("a:\n\t- b", 2, "indent with spaces"),
    "half a bracket": ("a: [1, 2", 1, "not YAML"),
    "two documents": ("--- 1\n--- 2", 2, "not YAML"),
    "an unknown alias": ("a: *b", 1, "not YAML"),
    "a merge of a number": ("<<: 3", 1, "<< stands for a mapping"),
}


@pytest.mark.parametrize(("text", "line", "said"), REFUSED.values(), ids=REFUSED)
def test_what_no_text_may_hold_is_one_line_with_its_place(text, line, said, tmp_path):
    path = tmp_path / "x.yaml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(BadYaml) as caught:
        yaml_text.read(path)
    if "U+DCFF" not in said:  # those bytes are no UTF-8
        assert said in str(caught.value)
    assert str(caught.value).startswith(f"{path}:{line}: ")
    with pytest.raises(BadYaml, match=r"^--set(:[0-9]+)?: "):
        yaml_text.parse(text, "--set")


def test_a_text_of_more_values_than_anybody_writes_is_refused(monkeypatch):
    monkeypatch.setattr(yaml_text, "MOST", 100)
    assert len(yaml_text.parse("[" + "1, " * 99 + "]", "here")) == 99
    with pytest.raises(BadYaml, match="more than 100 values"):
        yaml_text.parse("[" + "1, " * 100 + "]", "here")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("a: 1\nb: 2".encode("utf-16"), "is stored as UTF-16; save it as UTF-8"),
        ("a: 1\nb: é".encode("latin-1"), ":2: is not UTF-8 (byte 0xe9)"),
        (b"a" * 2**21, "is larger than 1 MiB"),
    ],
)
def test_a_file_of_another_encoding_or_size_is_refused(content, said, tmp_path):
    path = tmp_path / "x.yaml"
    path.write_bytes(content)
    with pytest.raises(BadYaml) as caught:
        yaml_text.read(path)
    assert said in str(caught.value)
    with pytest.raises(BadYaml, match="cannot be read: No such file"):
        yaml_text.read(tmp_path / "absent.yaml")


def test_a_mark_of_byte_order_and_line_ends_of_windows_change_nothing(tmp_path):
    path = tmp_path / "x.yaml"
    path.write_bytes("\ufeffa: 1\r\nb: [x]\r\n".encode())
    assert yaml_text.read_located(path)[0] == {"a": 1, "b": ["x"]}


def test_lines_are_known_near_the_top(tmp_path):
    path = tmp_path / "x.yaml"
    path.write_text("a:\n  - b\n  - {c: 1,\n     d: 2}\ne: 3\n")
    assert yaml_text.read_located(path)[1] == {(): 1, ("a",): 1, ("a", 0): 2, ("a", 1): 3, ("e",): 5}


SCALARS = st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.floats(allow_nan=False)
WORDS = st.sampled_from(
    ["1e-5", "1E5", "0o17", "007", "2021-01-01", "yes", "0x1f", "0x_", "~", "", "<<", "=", "1:30", "1_0"]
)
TEXT = WORDS | st.text(st.characters(exclude_categories=["Cc", "Cs"]) | st.sampled_from("\n\t"), max_size=12)
VALUES = st.recursive(
    SCALARS | TEXT, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4), max_leaves=12
)


@given(VALUES)
def test_what_is_written_is_read_back_equal(value):
    assert yaml_text.parse(yaml_text.dump(value), "here") == value


@given(st.text(max_size=40) | st.text("{}[]&*a0:,-!<> \n\t\"'#|?.e", max_size=30))
def test_any_text_has_a_value_or_is_refused(text):
    try:
        value = yaml_text.parse(text, "here")
    except UserError as error:
        assert "\n" not in str(error)
    else:
        assert not isinstance(value, float) or math.isnan(value) or yaml_text.parse(yaml_text.dump(value), "x") == value


def test_no_other_module_reads_or_writes_yaml():
    root = Path(__file__).parents[2]
    modules = [path for room in ("bench", "methods", "reports", "submissions") for path in (root / room).rglob("*.py")]
    assert len(modules) > 200
    users = [path.name for path in modules if re.search(r"(?m)^\s*(import|from) yaml\b", path.read_text())]
    assert users == ["yaml_text.py"]


def test_suites_that_were_written_before_are_read_as_they_were():
    old = {"a": [1, 2.5, 1e-5, 1e20, True, None, "2021-01-01", "yes", "007", "0x1f", "a: b", "é"], "b": {}}
    assert yaml_text.parse(yaml.safe_dump(old, sort_keys=False), "here") == old

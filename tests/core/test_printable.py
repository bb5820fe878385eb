"""Words of others are shown and never obeyed."""

import pickle
import re
from pathlib import Path

import pytest

from bench.core.errors import CellsFailed, MissingData, UnknownName
from bench.core.printable import one_line, printable, shortened

EVIL = {
    "an escape": "\x1b[2Jgone",
    "a C1 control": "\x9b2Jgone",
    "a bell": "a\x07",
    "NUL": "a\x00b",
    "a carriage return": "good\rbad",
    "a line feed": "a\nbench: all is well",
    "a line separator": "a\N{LINE SEPARATOR}b",
    "an override": "a\N{RIGHT-TO-LEFT OVERRIDE}gnp.exe",
    "an isolate": "a\N{RIGHT-TO-LEFT ISOLATE}b",
    "a lone surrogate": "a\udcffb",
    "a byte order mark": "\ufeffa",
    "a tag": "a\U000e0041b",
}


@pytest.mark.parametrize("word", EVIL.values(), ids=EVIL)
def test_an_error_shows_a_foreign_word_and_obeys_nothing_in_it(word):
    for error in (MissingData(f"{word} does not exist"), UnknownName("method", word, ["msp"], word)):
        text = str(error)
        assert text.replace("\N{REPLACEMENT CHARACTER}", "").isprintable()
        assert text.encode("utf-8")
        assert str(pickle.loads(pickle.dumps(error))) == text  # noqa: S301 - made on the line above


def test_each_argument_of_an_error_is_a_line_of_its_own():
    assert str(CellsFailed("2 cells:", "one\ntwo", "three")) == "2 cells:\n  one two\n  three"


def test_what_is_written_right_stays_as_it_is():
    for word in ("Zürich/été 1.png", "二", "a  b", "می‌خواهم", "👩‍🚀", "x\N{NO-BREAK SPACE}y"):
        assert printable(word) == word
        assert str(MissingData(word)) == word
    assert one_line("a  b\n c") == "a b c"
    assert printable("a\n\tb", keep="\n\t") == "a\n\tb"


def test_a_long_value_is_cut_in_its_middle():
    text = str(MissingData("x" * 10**6 + " is no number"))
    assert len(text) < 2100
    assert text.endswith(" is no number")
    assert re.search(r" \d{6} characters ", text)
    assert shortened("short") == "short"


def test_commands_print_by_one_function_alone():
    folder = Path(__file__).parents[2] / "bench" / "cli"
    others = [path for path in folder.glob("*.py") if path.name != "output.py"]
    assert len(others) > 8
    for path in others:
        assert not re.search(r"typer\.echo|(?<![\w.])print\(|std(out|err)\.write", path.read_text()), path

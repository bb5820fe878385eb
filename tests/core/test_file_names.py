"""Ids, labels and names as names of files."""

import string
from pathlib import PurePosixPath, PureWindowsPath

from hypothesis import given
from hypothesis import strategies as st

from bench.core.file_names import LONGEST, file_name

PLAIN = ["frankfurt_000000_000294", "a.b-c_D", "-", "0"]
ODD = [
    *(
        "",
        ".",
        "..",
        "...",
        "a.",
        ".a",
        "../a",
        "/a",
        "/etc/passwd",
        "a/b",
        "a\\b",
        "..\\a",
        "C:\\a",
        "a:b",
        "~",
        "a b",
    ),
    *("a\0b", "a\0", "a\nb", "con", "CON", "con.txt", "Aux.npy", "lpt1", "nul.", "caf\u00e9", "cafe\u0301", "\ud800"),
    *("x" * 101, "x" * 5000, "x" * 4999 + "y", "a-0123abcd", "a-0123456789abcdef", "*", "?", "a|b", "%2e%2e%2f"),
]


def test_a_plain_name_is_kept():
    assert [file_name(name) for name in PLAIN] == PLAIN


def test_no_two_names_have_one_file_and_none_leads_out_of_its_folder():
    names = [*PLAIN, *ODD, *(file_name(name) for name in ODD)]
    files = [file_name(name) for name in names]
    assert len(set(files)) == len(files) == len(set(names))
    for name in files:
        assert set(name) <= set(string.ascii_letters + string.digits + "._-") and len(name) < LONGEST + 20
        assert len(PurePosixPath(name).parts) == len(PureWindowsPath(name).parts) == 1
        assert not name.startswith(".") and not name.endswith(".")
        assert name.split(".")[0].split("-")[0].lower() not in {"con", "aux", "nul", "lpt1"}


@given(st.lists(st.text(max_size=12), min_size=2, max_size=8, unique=True))
def test_different_texts_have_different_files(names):
    files = [file_name(name) for name in names]
    assert len(set(files)) == len(files)
    assert all("/" not in name and "\\" not in name and name not in {"", ".", ".."} for name in files)


def test_labels_of_two_things_have_two_files():
    assert file_name("a[b]", "one") != file_name("a[b]", "other") and file_name("a", "one") == "a"

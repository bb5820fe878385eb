"""The table of published archives against what public sources say, and against the readers that it feeds."""

from __future__ import annotations

import dataclasses
import re
import typing
from collections import Counter
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from bench.core.errors import UnknownName
from bench.datasets import archives
from bench.suite import registry

ROOT = Path(__file__).parents[2]
PUBLISHED = ROOT / "tests" / "fixtures" / "archives" / "published.txt"
SPECIFICATION = ROOT.parent / "shared" / "specs" / "field_2026.md"
ELSEWHERE = {
    "9a2968dde3345eeb689cffb1e26f9c78": "a later packing of labels of BDD100K, of third parties alone",
    "db45289aaa83c60201391b11e78c6382": "splits.json of CamVid, whose address nobody gives",
}
"""Checksums of the specification that no file of the table has, and why."""

ALL = [(name, archive) for name, source in archives.sources().items() for archive in source.files]


def rows() -> list[tuple[str, ...]]:
    lines = PUBLISHED.read_text(encoding="utf-8").splitlines()
    return [tuple(line.split()) for line in lines if not line.startswith("#")]


def row(archive: archives.Archive) -> tuple[str, ...]:
    about = archives.in_words(archive.about).replace(" ", "") if archive.about else "-"
    size = f"~{about}" if archive.about else str(archive.bytes or "-")
    sums = [f"{name}:{getattr(archive, name)}" for name in ("sha256", "md5", "sha1") if getattr(archive, name)]
    return archive.file, size, ",".join(sums) or "-", ",".join(archive.url) or "-"


def test_every_size_checksum_and_address_is_the_published_one():
    assert Counter(row(archive) for _, archive in ALL) == Counter(rows())


@pytest.mark.skipif(not SPECIFICATION.is_file(), reason="../shared/specs is not here: it holds the specification")
def test_the_fixture_holds_every_checksum_and_address_of_the_specification():
    text = SPECIFICATION.read_text(encoding="utf-8").split("### 2.1")[1].split("### 2.3")[0]
    copied = PUBLISHED.read_text(encoding="utf-8")
    assert set(re.findall(r"\b[0-9a-f]{32,64}\b", text)) - ELSEWHERE.keys() == set(
        re.findall(r"\b[0-9a-f]{32}(?:[0-9a-f]{8}|[0-9a-f]{32})?\b", copied)
    )
    addresses = set(re.findall(r"https?://[\w.~/%-]+\.(?:zip|tar|gz)\b|https?://[\w./-]+/download\b", text))
    assert len(addresses) > 20 and all(address in copied for address in addresses)
    drive = set(re.findall(r"\b1[0-9A-Za-z_-]{32}\b", text))
    pages = {archives.of(name).page for name in archives.sources()}
    assert len(drive) == 11 and all(number in copied or number in "".join(pages) for number in drive)
    assert set(re.findall(r"ENSTA-U2IS/\w+|iis-esslingen/\w+", text)) == set(
        re.findall(r"datasets/(ENSTA-U2IS/\w+|iis-esslingen/\w+)", copied)
    )
    sizes = set(re.findall(r"(?<=\s)\d{6,11}(?=[\s;])", text))
    assert len(sizes) >= 14 and all(re.search(rf"\b{size}\b", copied) for size in sizes)


def test_the_words_of_the_table_are_held_to_their_forms():
    for name, archive in ALL:
        for algorithm, length in {"sha256": 64, "sha1": 40, "md5": 32}.items():
            assert re.fullmatch(f"([0-9a-f]{{{length}}})?", getattr(archive, algorithm)), (name, archive.file)
        assert archive.account in typing.get_args(archives.Account)
        assert archive.url or archive.account, f"{name}: {archive.file} has neither an address nor a page"
        assert all(re.fullmatch(r"https?://[^\s\"'<>\\]+", address) for address in archive.url)
        assert archive.file == archives.ALL or re.fullmatch(r"[\w.-]+", archive.file)
        assert not Path(archive.into).is_absolute() and ".." not in Path(archive.into).parts
        assert all(other in archives.sources() for other in archive.needs)
        assert archive.bytes is None or archive.about is None
    for name, source in archives.sources().items():
        assert source.terms and len({archive.file for archive in source.files}) == len(source.files), name


def test_one_file_is_one_line_of_the_table():
    lines = archives.TABLE.read_text(encoding="utf-8").splitlines()
    assert [line.split('"')[1] for line in lines if line.startswith("  {file = ")] == [file.file for _, file in ALL]


@pytest.mark.parametrize("name", [name for name in archives.sources() if name in registry.available("dataset")])
def test_conditions_are_parameters_of_the_reader(name):
    reader = registry.available("dataset")[name]
    hints = typing.get_type_hints(reader)
    fields = {field.name for field in dataclasses.fields(reader)}
    for archive in archives.of(name).files:
        for key, values in archive.when.items():
            assert key in fields, f"{archive.file}: {name} has no parameter {key}"
            legal = {*typing.get_args(hints[key])} | {
                value for inner in typing.get_args(hints[key]) for value in typing.get_args(inner)
            }
            assert set(values) <= legal, f"{archive.file}: {key} of {name} is one of {sorted(map(str, legal))}"


def test_wanted_files_follow_the_parameters_of_the_reader():
    def names(name: str, **params: object) -> list[str]:
        return [archive.file for archive in archives.wanted(name, params)]

    assert names("fishyscapes", set="static", version=3, layout="official") == ["fs_val_v3.zip"]
    assert names("fishyscapes", set="lost_and_found", version=None) == ["fishyscapes_lostandfound.zip"]
    assert names("coco", split="val2017") == ["val2017.zip", "annotations_trainval2017.zip"]
    assert names("lost_and_found", split="test") == ["leftImg8bit.zip", "gtCoarse.zip"]
    assert names("street_hazards", split="val") == ["streethazards_train.tar"]


def test_an_error_names_the_command_the_checksum_and_what_else_is_needed():
    text = archives.obtain("fishyscapes", set="static", version=3)
    archive = archives.of("fishyscapes").file("fs_val_v3.zip")
    assert text.startswith("'bench data fetch fishyscapes --part static --version 3' gets fs_val_v3.zip (8046056 bytes")
    assert archive.sha256 in text and archive.address in text
    assert text.endswith("it needs cityscapes too: 'bench data fetch cityscapes'")
    assert archives.obtain("wilddash2").endswith(f"from {archives.of('wilddash2').page} after registration")


def test_an_unknown_set_and_an_unknown_file_are_told_with_the_known_ones():
    with pytest.raises(UnknownName, match="fishyscapes"):
        archives.of("fishyscape")
    with pytest.raises(UnknownName, match=r"gtCoarse\.zip"):
        archives.of("lost_and_found").file("gtCoarse")


def test_no_other_file_holds_an_address_of_data():
    shared_hosts = {"huggingface.co", "github.com", "zenodo.org", "drive.google.com", "www.cityscapes-dataset.com"}
    addresses = {address for _, archive in ALL for address in archive.url}
    hosts = {urlsplit(address).hostname for address in addresses} - shared_hosts
    pages = {source.page for source in archives.sources().values()} - {""}
    sums = {archive.checksum[1] for _, archive in ALL} - {""}
    wanted = [*hosts, *addresses, *pages, *sums]
    assert len(hosts) > 10
    for path in files_for_people():
        text = path.read_text(encoding="utf-8")
        assert not (said := [fact for fact in wanted if re.search(rf"{re.escape(fact)}(?![\w./])", text)]), (path, said)


def files_for_people() -> list[Path]:
    """Code, templates and documents that ship, without the table itself."""
    folders = ("bench", "docs", "examples", "methods", "reports", "submissions", "suites")
    ends = {".md", ".py", ".txt", ".yaml", ".toml", ".html", ".j2"}
    inner = [path for folder in folders for path in (ROOT / folder).rglob("*") if path.suffix in ends]
    listed = [*inner, ROOT / "README.md", ROOT / "pyproject.toml"]
    assert archives.TABLE in listed and len(listed) > 300
    return [path for path in listed if path != archives.TABLE]

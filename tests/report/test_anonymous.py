"""A page for reviewers names nobody: what is taken out of a run, and what stays."""

from __future__ import annotations

import base64
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import writing
from conftest import write_suite
from running import run as run_suite
from test_reports import Page, carried, full, result, run_of

from bench.api import Undefined
from bench.report import writing as pages
from bench.report.anonymous import anonymous, without_paths
from bench.report.page import galleries
from bench.report.selection import Choice
from bench.results import store


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("weights /home/ada/net.pth", "weights net.pth"),
        ("mmseg[checkpoint=/home/ada/net.pth, config=~ada/x/c.py]", "mmseg[checkpoint=net.pth, config=c.py]"),
        (r"C:\Users\ada\net.pth", "net.pth"),
        ("../runs/demo/suite.yaml", "suite.yaml"),
        ("'/data/ada/'", "'folder'"),
        ("https://example.org/a/b.html, arXiv:2104.14812", "https://example.org/a/b.html, arXiv:2104.14812"),
        ("precision and/or recall, 3/4", "precision and/or recall, 3/4"),
        ("msp", "msp"),
    ],
)
def test_a_path_keeps_its_last_part_alone(before: str, after: str) -> None:
    assert without_paths(before) == after


def test_nothing_that_names_the_author_reaches_a_page(tmp_path: Path) -> None:
    label = "net[weights=/home/ada/net.pth]"
    made = result("msp", full(0.8) | {"auroc": Undefined("/home/ada/labels is short")}, model=label)
    made = replace(
        made,
        cell=replace(
            made.cell,
            model=replace(made.cell.model, name="net", params={"weights": ["/home/my lab of ada/net.pth"]}),
        ),
        provenance={
            "torch": "2.13.0",
            "commit": "abcdef0123",
            "created": "2026-11-22T12:45:37+00:00",
            "command": "bench run /home/ada/suite.yaml --only cell=x",
            "host": "ada-laptop",
        },
        fitted={"key": "k", "data": {"folder": {"root": "/home/ada/train"}}},
    )
    run = anonymous(run_of(tmp_path, [made], note="drawn from /home/ada/data"))
    page = writing.html(run, [])
    for text in (Page(page).text, json.dumps(carried(page)), writing.markdown(run, [])):
        assert "ada" not in text and "abcdef" not in text
        assert "net.pth" in text and "labels is short" in text
    (left,) = run.results
    assert left.provenance == {
        "torch": "2.13.0", "created": "2026-11-22", "command": f"bench run SUITE --only cell={left.key}",
    }  # fmt: skip
    assert left.metrics["fpr95"] == made.metrics["fpr95"] and left.key == made.key


@pytest.fixture(scope="module")
def pictured(tmp_path_factory: pytest.TempPathFactory) -> store.Run:
    """A run with a gallery, made in the folder of somebody with a network and data of hers."""
    folder = tmp_path_factory.mktemp("ada")
    path = write_suite(folder)
    path.write_text(path.read_text().replace("label: tiny", "label: tiny of /home/ada/net.pth"))
    run_suite(path, folder / "run-of-ada", gallery=2, workers=0, command="bench run /home/ada/tiny.yaml")
    (index,) = (folder / "run-of-ada").rglob("index.json")
    content = json.loads(index.read_text())
    content["note"] = "chosen on /home/ada/scans"
    content["left_out"] = {"odd": "/home/ada/odd.py, line 3: no"}
    content["shots"][0]["reasons"].append("worst of /home/ada/list.txt")
    index.write_text(json.dumps(content))
    return store.read_run(folder / "run-of-ada")


def test_an_anonymous_page_with_a_gallery_shows_pictures_and_no_place(pictured: store.Run) -> None:
    known = str(pages.rendered(pictured, "html", "all", Choice()))
    assert "/home/ada/scans" in known and "/home/ada/odd.py" in known, "else this test would see nothing"
    text = str(pages.rendered(pictured, "html", "all", Choice(anonymous=True)))
    page = Page(text)
    assert text.count("<img") == known.count("<img") > 10
    markup = re.sub(r"data:image/\w+;base64,[A-Za-z0-9+/=]+", "", re.sub("<script>.*?</script>", "", text, flags=re.S))
    for words in (page.text, markup, json.dumps(carried(text))):
        assert "ada" not in re.sub("(?i)[0-9a-f]{12,}|[a-z0-9+/=]{200,}", "", words)
    assert "scans" in page.text and "odd.py" in page.text and "list.txt" in page.text and "tiny of net.pth" in page.text
    assert all(link.startswith("#") for link in page.links)
    for picture in re.findall(r"data:image/\w+;base64,([A-Za-z0-9+/=]+)", text):
        content = base64.b64decode(picture)
        assert not any(kind in content for kind in (b"EXIF", b"eXIf", b"tEXt", b"iTXt", b"zTXt", b"XMP "))


def test_a_page_without_images_has_none_and_reads_none(pictured: store.Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(galleries, "albums", lambda *_: pytest.fail("the gallery was read"))
    page = Page(writing.html(pictured, [], Choice(images=False)))
    assert "img" not in page.tags and page.addresses == ["data:,"] and "Gallery" not in page.text

"""The site of a board: every link leads somewhere, hostile words stay words, equal entries give equal bytes."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from board_maker import JANE, LATER, SCRIPT, TODAY, add, board_of, claim, faults, run_of

from bench.board import entries, scaffold, site
from bench.board.adding import About
from bench.board.columns import as_run
from bench.board.entries import KnownData, KnownProtocol
from bench.cli.main import main
from bench.core.errors import UsageError
from bench.report.document import Document
from bench.results import store

HOSTILE = "<script>alert(1)</script>\"'&`{{7*7}}$\\input{x}%=@"
ATOM = "{http://www.w3.org/2005/Atom}"


class Page(HTMLParser):
    """The addresses and identifiers of a page, and what could run in it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.ids: list[str] = []
        self.handlers: list[str] = []
        self.scripts = 0
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.scripts += tag == "script"
        for name, value in attrs:
            if name in ("href", "src") and value is not None:
                self.addresses.append(value)
            if name == "id" and value is not None:
                self.ids.append(value)
            if name.startswith("on"):
                self.handlers.append(name)


def dead(folder: Path) -> list[str]:
    """Crawl a site from its first page; return each link that leads nowhere, and each file that none leads to."""
    pages = {path: Page(path.read_text()) for path in folder.rglob("*.html")}
    wrong, reached, ahead = [], set(), [folder / "index.html"]
    while ahead:
        path = ahead.pop()
        if path in reached:
            continue
        reached.add(path)
        for address in pages[path].addresses if path in pages else ():
            parts = urlsplit(address)
            if parts.scheme in ("http", "https", "data"):
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if parts.scheme or not target.is_file() or not target.is_relative_to(folder):
                wrong.append(f"{path.relative_to(folder)}: {address}")
                continue
            if parts.fragment and parts.fragment not in pages[target].ids:
                wrong.append(f"{path.relative_to(folder)}: {address}")
            ahead.append(target)
    return wrong + [str(path) for path in folder.rglob("*") if path.is_file() and path not in reached]


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A board with two versions of an entry, claims, an anonymous and a hostile entry, and one trained on outliers."""
    folder = tmp_path_factory.mktemp("board")
    board = board_of(folder)
    (board / "board.yaml").write_text(
        '{title: "A board <b>", note: "Made up & small", address: "https://example.org/b"}'
    )
    add(board, run_of(folder / "again", "energy", skill=0.1), replace(JANE, note="Tuned"), LATER)
    add(board, run_of(folder / "hidden", "hidden", skill=-0.1), About(anonymous=True))
    add(
        board,
        claim(folder / "of.csv", method="Energy, as they say"),
        replace(JANE, of="energy-on-tiny", differs="who knows"),
    )
    other = {"same_definition": "no", "note": "a trapezoid", "definition": "trapezoid"}
    add(board, claim(folder / "other.csv", method="Trapezoid", **other))
    result, arrays = SCRIPT.made(f"bad {HOSTILE}", f"net {HOSTILE}", "Town", 0.01)
    result = replace(result, about={**result.about, "method": {"source": HOSTILE, "uses_outliers": True}})
    SCRIPT.write_run(folder / "hostile", [(result, arrays)])
    add(board, folder / "hostile", About(by=HOSTILE, note=HOSTILE, name=HOSTILE, code="https://example.org/?a=1&b=2"))
    return board


@pytest.fixture(scope="module")
def built(board: Path) -> Path:
    site.build(board, board.parent / "site", TODAY)
    return (board.parent / "site").resolve()


def test_no_link_is_dead_and_every_file_is_reached(built: Path) -> None:
    assert dead(built) == []
    (built.parent / "crawled").mkdir()
    shutil.copytree(built, built.parent / "crawled", dirs_exist_ok=True)
    (built.parent / "crawled" / "definitions.html").unlink()
    assert any("definitions.html" in each for each in dead((built.parent / "crawled").resolve()))


def test_hostile_words_stay_words_in_every_file(built: Path) -> None:
    for path in built.rglob("*.html"):
        text = path.read_text()
        page = Page(text)
        assert "<script>alert" not in text and page.scripts == 1 and not page.handlers, path
        assert all(urlsplit(each).scheme in ("", "http", "https", "data") for each in page.addresses)
        assert "default-src 'none'" in text
    assert "<script>" not in (built / "feed.xml").read_text()
    assert re.search(r"\\input\{x\}", (built / "tables.tex").read_text()) is None
    rows = list(csv.reader(io.StringIO((built / "entries.csv").read_text())))
    assert all(not cell.startswith(("=", "+", "-", "@")) for row in rows for cell in row)


def test_equal_entries_give_equal_bytes_wherever_they_lie(board: Path, built: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(board, tmp_path / "elsewhere"))
    site.build(other, tmp_path / "site", TODAY)
    first, second = (
        {p.relative_to(f): p.read_bytes() for p in f.rglob("*") if p.is_file()} for f in (built, tmp_path / "site")
    )
    assert first == second


def test_the_site_is_replaced_whole_and_a_folder_of_others_is_not(board: Path, tmp_path: Path) -> None:
    out = tmp_path / "site"
    out.mkdir()
    (out / "thesis.tex").write_text("mine")
    with pytest.raises(UsageError, match="is no site of a board"):
        site.build(board, out, TODAY)
    assert [path.name for path in out.iterdir()] == ["thesis.tex"]
    (out / "thesis.tex").unlink()
    site.build(board, out, TODAY)
    (out / "old.html").write_text("of an older board")
    site.build(board, out, TODAY)
    assert not (out / "old.html").exists() and (out / "index.html").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["site"], "no draft stays"


def test_nothing_half_written_takes_the_place_of_a_site(
    board: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "site"
    site.build(board, out, TODAY)
    before = {path: path.read_bytes() for path in out.rglob("*.html")}
    monkeypatch.setattr(site, "pages", lambda board: {"index.html": "new", "b.html": "\ud800"})
    with pytest.raises(UnicodeEncodeError):
        site.build(board, out, TODAY)
    assert {path: path.read_bytes() for path in out.rglob("*.html")} == before
    assert [path.name for path in tmp_path.iterdir()] == ["site"]


def test_the_first_page_has_the_newest_figures_and_the_entry_its_history(built: Path) -> None:
    index = (built / "index.html").read_text()
    assert "5 measured entries, 3 claimed ones" in index and "the last was added on 2026-02-01" in index
    energy = (built / "entries" / "energy-on-tiny.html").read_text()
    days = re.findall(r'<th scope="col" class="num">(2026[\d.-]+)', energy)
    assert days == ["2026-02-01", "2026-01-05"] and "Tuned" in energy
    newest = json.loads((built / "entries" / "energy-on-tiny.json").read_text())
    assert newest["versions"] == 2 and newest["added"] == "2026-02-01"
    shown = f"{100 * next(each['value'] for each in newest['figures'] if each['metric'] == 'ap'):.2f}"
    assert f">{shown}</a>" in index


def test_claimed_figures_stand_apart_and_those_of_other_definitions_are_marked(built: Path) -> None:
    index = (built / "index.html").read_text()
    before, claimed = index.split('id="claimed"')
    assert (
        "Claimed" in claimed
        and 'data-row="Claimed R101"' not in before
        and "Trapezoid" not in claimed.split("Added last")[0]
    )
    page = (built / "data" / "road_anomaly.html").read_text()
    assert "Trapezoid" in page and "≠" in page and page.index("Trapezoid") > page.index("not measured here")
    of = (built / "entries" / "energy-as-they-say-on-r101.html").read_text()
    assert "91.0" in of and "who knows" in of and 'href="../entries/energy-on-tiny.html"' in of


def test_downloads_hold_every_entry_and_the_feed_what_was_added_when(board: Path, built: Path) -> None:
    content = json.loads((built / "board.json").read_text())
    assert len(content["entries"]) == 8 and {each["kind"] for each in content["entries"]} == {"measured", "claimed"}
    figures = list(csv.DictReader(io.StringIO((built / "figures.csv").read_text())))
    assert {row["method"] for row in figures} >= {"msp", "energy", "entropy", "hidden"}
    feed = ElementTree.fromstring((built / "feed.xml").read_text())  # noqa: S314 - of our own
    added = [entry.findtext(f"{ATOM}updated") for entry in feed.iter(f"{ATOM}entry")]
    assert len(added) == len(entries.read(board).versions) and added == sorted(added, reverse=True)
    first = next(feed.iter(f"{ATOM}entry"))
    link = first.find(f"{ATOM}link")
    assert first.findtext(f"{ATOM}title") == "energy on tiny: changed" and link is not None
    assert link.get("href") == "https://example.org/b/entries/energy-on-tiny.html"
    assert len({entry.findtext(f"{ATOM}id") for entry in feed.iter(f"{ATOM}entry")}) == len(added)
    assert "https://example.org/paper" in (built / "references.bib").read_text()


def known(board: Path, **more: Any) -> None:
    """Let a board have further definitions, as somebody does who edits its file."""
    content = entries.read(board).definitions
    wider = content.model_copy(update={name: (*getattr(content, name), value) for name, value in more.items()})
    store.write_json(board / "definitions.json", wider.model_dump(mode="json", by_alias=True))


def test_figures_of_different_definitions_never_share_a_column(tmp_path: Path) -> None:
    board = tmp_path / "board"
    scaffold.write(board, "")
    add(board, run_of(tmp_path / "a", "msp", ("Town",)))
    known(board, protocols=KnownProtocol(name="anomaly", params={}, version="2"))
    known(board, data=KnownData(label="Town, mended", name="Town", params={}, digest="ffff"))
    add(board, run_of(tmp_path / "b", "newer", ("Town",), version=2))
    add(board, run_of(tmp_path / "c", "mended", ("Town",), digest="ffff"))
    add(board, run_of(tmp_path / "d", "quirky", ("Town",), fidelity="reference"))
    add(board, run_of(tmp_path / "e", "energy", ("Town",)))
    assert faults(board) == []
    read = entries.read(board)
    matrix = Document(as_run(read, read.newest)).matrix
    columns = {
        (block.title, block.dataset): {line.method for line in matrix.lines if line.results[index]}
        for index, block in enumerate(matrix.blocks)
    }
    assert columns == {
        ("Anomalies, version 1", "Town"): {"msp", "energy"},
        ("Anomalies, version 2", "Town"): {"newer"},
        ("Anomalies, version 1", "Town, mended"): {"mended"},
        ("Anomalies, version 1, as published code", "Town"): {"quirky"},
    }
    assert len(site.pages(read)) > 10


def test_networks_of_one_name_and_other_weights_are_told_apart(tmp_path: Path) -> None:
    board = tmp_path / "board"
    scaffold.write(board, "")
    for method, weights in (("msp", "first"), ("energy", "second")):
        result, arrays = SCRIPT.made(method, "tiny", "Town", 0.0)
        changed = replace(result, depends={**result.depends, "model": weights})
        SCRIPT.write_run(tmp_path / method, [(changed, arrays)])
        add(board, tmp_path / method)
    read = entries.read(board)
    models = {result.labels.model for result in as_run(read, read.newest).results}
    assert len(models) == 2 and all(re.fullmatch(r"tiny \([0-9a-f]{6}\)", model) for model in models)


def test_the_four_commands_make_a_board_from_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    board, run = tmp_path / "ours", run_of(tmp_path / "run", "msp")
    assert main(["board", "new", str(board), "--title", "Ours *and* yours"]) == 0
    assert "Ours \\*and\\* yours" in (board / "README.md").read_text()
    assert main(["board", "new", str(board)]) == 2
    assert (
        main(["board", "check", str(board)]) == 0
        and main(["board", "build", str(board), "--out", str(tmp_path / "empty")]) == 0
    )
    assert main(["board", "add", str(run), str(board), "--by", "Jane", "--date", "2026-01-05"]) == 0
    capsys.readouterr()
    assert main(["board", "check", str(board)]) == 0
    assert capsys.readouterr().out == f"{board}: 1 entries in 1 version, no fault\n"
    assert main(["board", "build", str(board), "--out", str(tmp_path / "site")]) == 0
    assert main(["board", "add", str(run), str(board), "--by", "Jane", "--date", "soon"]) == 2
    assert main(["show", str(board / "entries" / "msp-on-tiny" / "2026-01-05")]) == 0, "an entry is a run directory"


def test_the_workflow_checks_pull_requests_without_secrets_and_publishes_main(tmp_path: Path) -> None:
    import yaml

    scaffold.write(tmp_path / "board", "")
    workflow = yaml.safe_load((tmp_path / "board" / scaffold.WORKFLOW).read_text())
    triggers = workflow[True]  # YAML 1.1 reads on as a truth value
    assert set(triggers) == {"pull_request", "push"} and workflow["permissions"] == {"contents": "read"}
    commands = [step.get("run", "") for step in workflow["jobs"]["check"]["steps"]]
    assert "bench board check" in commands and "bench board build --out site" in commands
    assert workflow["jobs"]["publish"]["if"] == "github.event_name == 'push'"


def test_an_existing_repository_without_files_becomes_a_board(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    assert Path("board.yaml") in scaffold.write(tmp_path, "")
    assert faults(tmp_path) == [] and (tmp_path / ".git").is_dir()


@pytest.mark.slow  # half a minute: 720 results are written, checked and built
def test_sixty_entries_over_twelve_data_sets_are_built_in_twenty_seconds_of_the_processor(tmp_path: Path) -> None:
    SCRIPT.make(tmp_path / "board", 60, 12)
    assert faults(tmp_path / "board") == []
    assert SCRIPT.step("build", str(tmp_path / "board"), "--out", str(tmp_path / "site"))["cpu"] < 20
    assert dead((tmp_path / "site").resolve()) == []
    assert len(list((tmp_path / "site" / "entries").glob("*.html"))) == 61


def browser_pages() -> Iterator[tuple[str, int, str]]:
    yield from (("index", 1400, "light"), ("index", 390, "dark"), ("data/road_anomaly", 390, "light"))
    yield ("entries/energy-on-tiny", 1400, "light")


def test_axe_finds_no_violation_and_no_page_is_wider_than_its_window(built: Path) -> None:
    sync = pytest.importorskip("playwright.sync_api", reason="pip install playwright")
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="pip install axe-playwright-python").Axe()
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
    if found is None:
        pytest.skip("no Chromium on the PATH: apt install chromium")
    with sync.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox", "--disable-gpu"])
        for name, width, scheme in browser_pages():
            context = browser.new_context(
                viewport={"width": width, "height": 900}, color_scheme=scheme, bypass_csp=True
            )
            page = context.new_page()
            messages: list[str] = []
            page.on("console", lambda message, kept=messages: kept.append(message.text))
            page.goto((built / f"{name}.html").as_uri())
            assert page.evaluate("document.documentElement.scrollWidth") <= width, name
            violations = axe.run(page, options={"resultTypes": ["violations"]}).response["violations"]
            assert [(each["id"], [node["html"][:160] for node in each["nodes"]][:3]) for each in violations] == []
            assert messages == [], name
            context.close()
        browser.close()

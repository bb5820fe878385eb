"""The page in a browser: what a reader clicks, types and prints, without a message of the console or a request."""

from __future__ import annotations

import base64
import io
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import writing
from conftest import NETWORK
from PIL import Image
from running import Silent
from test_grids import rows
from test_reports import full, result, run_of

from bench.api import CITYSCAPES, Undefined, Value
from bench.report import merge_runs
from bench.report.document import Document
from bench.report.page import galleries
from bench.report.selection import Choice
from bench.results import gallery, operating, pictures, store, summary
from bench.results.store import CellLabels, Run
from bench.run import engine
from bench.run.engine import Options
from bench.suite import expansion as suites

playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed: pip install playwright")

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium on the PATH: apt install chromium")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
         "--disable-sync", "--no-first-run"]  # fmt: skip
SUITE = """
title: A small town
note: Made up for tests.
protocols: [anomaly, misclassification, {components: {min_predicted: 6, min_truth: 4}}, miou, calibration, definitions]
models:
  - python: {factory: "net.py:build", label: tiny}
  - python: {factory: "net.py:other", label: other, methods: [msp, energy]}
datasets:
  - toytown: {split: anomaly, images: 8, height: 32, width: 64, label: Town}
  - toytown: {split: val, images: 4, height: 32, width: 64, label: Village, protocols: [misclassification]}
  - toytown: {split: val, images: 4, height: 32, width: 64, label: Village, protocols: [misclassification],
              methods: [msp, entropy], corruptions: {names: [fog, contrast], severities: [1, 3]}}
methods: [msp, maxlogit, energy, entropy, softmax_std]
operating_points: [{name: TPR 0.95, protocol: misclassification, calibrate: Town, rule: tpr95}]
bootstrap: 40
"""
EVERY_VIEW = "document.querySelectorAll('.view').forEach((view) => view.classList.add('current'))"
Opened = Callable[..., Any]


def page_of(run: Run, choice: Choice | None = None) -> str:
    return writing.html(run, summary.compute(run) + operating.compute(run), choice)


def told(run: Run, method: str, **changed: Any) -> None:
    """Write the cell of a method on the first network and data set anew, with something changed."""
    here = CellLabels("anomaly", "tiny", "Town", method)
    old = next(each for each in run.results if each.labels == here)
    store.write_result(run.path, replace(old, **changed), run.arrays(old))


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run of a small network, in which one method saw outliers, one is partial, and figures are undefined or tied."""
    folder = tmp_path_factory.mktemp("town")
    (folder / "net.py").write_text(NETWORK + NETWORK.replace("def build", "def other").replace("seed(7)", "seed(8)"))
    (folder / "suite.yaml").write_text(SUITE)
    list(
        engine.run(
            suites.load(folder / "suite.yaml"),
            folder / "run",
            Options(workers=0, gallery=2, command="bench run suite.yaml"),
            Silent(),
        )
    )
    run = store.read_run(folder / "run")
    by_method = {
        each.labels.method: each
        for each in run.results
        if (each.labels.protocol, each.labels.model) == ("anomaly", "tiny")
    }
    saw = by_method["energy"].about
    told(run, "energy", about={**saw, "method": {**saw["method"], "uses_outliers": True}})
    told(run, "softmax_std", partial=True, images=3)
    told(run, "entropy", metrics={**by_method["msp"].metrics, "fpr95": Undefined("nobody knows")})
    return store.read_run(folder / "run")


@pytest.fixture(scope="module")
def pages(town: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pages that are opened: of the town, of a grid of corruptions, of two runs, and of a published data set."""
    folder = tmp_path_factory.mktemp("pages")
    (folder / "town.html").write_text(page_of(town))
    methods = ["msp", "energy", "entropy", "maxlogit"]
    whole = run_of(folder / "grid", rows(methods))
    lost = next(each for each in whole.results if each.labels.dataset.endswith("fog-3"))  # of msp
    store.result_path(whole.path, lost.key).unlink()
    (folder / "grid.html").write_text(page_of(store.read_run(whole.path)))
    values = (("old", 0.7, 1), ("new", 0.75, 2))
    both = [
        run_of(folder / name, [result("msp", full(value), depends={"method": f"m{made}"}), result("energy", full(0.9))])
        for name, value, made in values
    ]
    (folder / "merged.html").write_text(
        page_of(merge_runs.merge([merge_runs.Source(name, run) for (name, *_), run in zip(values, both, strict=True)]))
    )
    (folder / "published.html").write_text(page_of(of_fishyscapes(folder / "published")))
    return folder


def of_fishyscapes(path: Path) -> Run:
    suite = suites.load(suites.locate("fishyscapes"))
    made = []
    for index, cell in enumerate(suite.cells[:6]):
        metrics = cell.protocol.build().metrics
        figures: dict[str, Any] = {name: Value(0.5 + 0.01 * index) for name in metrics}
        one = result(cell.labels.method, figures, definitions=metrics)
        made.append(replace(one, key=cell.key, cell=cell))
    return run_of(path, made)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as started:
        found = started.chromium.launch(executable_path=BROWSER, args=FLAGS)
        yield found
        found.close()


@pytest.fixture(scope="module")
def tabs(browser: Any) -> Iterator[Callable[..., Any]]:
    """One tab for each set of options. A tab of its own for each test takes a process of its own: half of the time."""
    known: dict[str, Any] = {}

    def tab(**options: Any) -> Any:
        name = repr(sorted(options.items()))
        if name not in known:
            context = browser.new_context(**{"viewport": {"width": 1400, "height": 900}} | options)
            context.set_default_timeout(10_000)
            known[name] = context.new_page()
        return known[name]

    yield tab
    for page in known.values():
        page.context.close()


@pytest.fixture
def opened(tabs: Callable[..., Any], pages: Path) -> Iterator[Opened]:
    """Opens a page by name, with every view below the other as a print has them unless ``whole`` is False.

    It is read anew, in a tab that remembers nothing of earlier tests. In the end nothing may have been said on a
    console, thrown or asked of a network.
    """
    heard: list[str] = []
    listeners: dict[str, Callable[[Any], None]] = {
        "console": lambda message: heard.append(f"console: {message.text}"),
        "pageerror": lambda error: heard.append(f"error: {error}"),
        "request": lambda request: heard.append(request.url) if not local(request.url) else None,
    }
    used = []

    def open_page(name: str, *, whole: bool = True, **options: Any) -> Any:
        page = tabs(**options)
        used.append(page)
        for event, listener in listeners.items():
            page.on(event, listener)
        page.goto((pages / f"{name}.html").as_uri())
        if whole:
            page.evaluate(EVERY_VIEW)
        return page

    yield open_page
    for page in used:
        page.evaluate("() => { localStorage.clear(); sessionStorage.clear(); }")
        page.emulate_media(media="null")
        page.goto("about:blank")
        for event, listener in listeners.items():
            page.remove_listener(event, listener)
    assert heard == []


def local(address: str) -> bool:
    return address.startswith(("file:", "data:"))


def column(table: Any, name: str) -> list[str]:
    """The texts of a column, as far as rows are shown; figures without their intervals."""
    return table.evaluate(
        """(table, name) => {
          const heads = [...table.tHead.rows[0].cells];
          const at = heads.findIndex((head) => (head.querySelector("button") ?? head).textContent.trim() === name);
          if (at < 0) throw new Error(`no column ${name}`);
          const rows = [...table.tBodies].flatMap((body) => [...body.rows]);
          const text = (cell) => (cell.querySelector(".value, a[data-cell]") ?? cell).textContent.trim();
          return rows.filter((row) => !row.hidden && !row.classList.contains("group"))
            .map((row) => text(row.cells[at]).replace("\\u2212", "-"));
        }""",
        name,
    )


def board(page: Any, title: str) -> Any:
    return page.locator("section.board", has=page.get_by_role("heading", name=title)).locator("table.ranked").first


def until_drawn(page: Any) -> None:
    for chart in page.locator("details.chart").all():
        chart.locator(".drawing :is(svg, table)").first.wait_for()


def unfold(page: Any, scope: str = "body") -> None:
    page.evaluate("scope => document.querySelectorAll(`${scope} details`).forEach((each) => each.open = true)", scope)


def test_a_header_sorts_both_ways_and_what_is_undefined_stays_last(opened: Opened) -> None:
    table = board(opened("town"), "anomaly Town")
    head = table.get_by_role("columnheader", name=re.compile("FPR95"))
    by_rank = column(table, "FPR95")
    assert by_rank.count("n/a1") == 1
    for order, sign in (("ascending", 1), ("descending", -1)):
        head.get_by_role("button").click()
        assert head.get_attribute("aria-sort") == order
        groups = table.locator("tbody").all()
        assert len(groups) == 2, "those that saw outliers stay among themselves"
        found = [float(text) for text in column(table, "FPR95") if text != "n/a1"]
        first = found[:-1]
        assert first == sorted(first, key=lambda value: sign * value) and len(found) == len(by_rank) - 1
        last = groups[0].locator("tr").last
        assert "n/a" in last.inner_text() and "entropy" in last.inner_text()
    table.get_by_role("button", name="Method").click()
    names = column(table, "Method")
    assert names[:-1] == sorted(names[:-1]) and head.get_attribute("aria-sort") is None
    ranks = column(table, "#")
    table.get_by_role("button", name="Rank").click()
    assert column(table, "#") != ranks and column(table, "#")[:6] == ["1", "2", "3", "4", "4", "– not ranked"]


def test_rows_are_filtered_by_words_by_network_and_by_what_methods_saw(opened: Opened) -> None:
    page = opened("town")
    table = board(page, "anomaly Town")
    named = lambda: sorted(zip(column(table, "Method"), column(table, "Model"), strict=True))  # noqa: E731
    everything = named()
    box, network, saw = page.get_by_label("Rows"), page.get_by_label("Model"), page.get_by_label("outlier data")
    box.fill("max TINY")
    assert set(column(table, "Method")) == {"maxlogit", "softmax_std"}
    assert re.fullmatch(r"\d+ of \d+ rows", page.locator("#kept").inner_text())
    box.fill("nothing at all")
    assert column(table, "Method") == [] and not table.locator("tr.group").first.is_visible()
    box.fill("")
    network.select_option("other")
    assert set(column(table, "Model")) == {"other"}
    network.select_option("")
    saw.uncheck()
    assert named() == [name for name in everything if name != ("energy", "tiny")]
    saw.check()
    assert named() == everything and page.locator("#kept").inner_text() == ""


def test_what_is_partial_undefined_or_tied_shows_as_what_it_is(opened: Opened) -> None:
    page = opened("town")
    table = board(page, "anomaly Town")
    names = list(zip(column(table, "Method"), column(table, "Model"), strict=True))
    ranks, figures = (dict(zip(names, column(table, name), strict=True)) for name in ("#", "AUROC"))
    assert ranks["softmax_std", "tiny"].startswith("–") and "partial, 3 images" in table.inner_text()
    msp, entropy = ("msp", "tiny"), ("entropy", "tiny")
    assert figures[msp] == figures[entropy] and ranks[msp] == ranks[entropy]
    note = table.get_by_role("link", name="Footnote 1").first
    note.click()
    assert "nobody knows" in page.locator(page.evaluate("location.hash")).inner_text()


def test_published_rows_have_tables_of_their_own_that_can_be_switched_off(opened: Opened) -> None:
    page = opened("published")
    tables = page.locator("table.published")
    assert tables.count() >= 2
    for table in tables.all():
        assert table.locator("tbody tr:not(.published)").count() == 0, "never beside measured rows"
    rows = page.locator("tr.published")
    assert rows.first.is_visible()
    head = tables.first.locator("th[data-sort='higher'], th[data-sort='lower']").first
    head.get_by_role("button").click()
    assert head.get_attribute("aria-sort") in ("ascending", "descending")
    page.get_by_role("checkbox", name="published").uncheck()
    assert not any(row.is_visible() for row in rows.all())


def test_the_theme_goes_round_and_is_remembered(opened: Opened, pages: Path) -> None:
    page = opened("grid", color_scheme="dark")
    paper = lambda: page.evaluate("getComputedStyle(document.body).backgroundColor")  # noqa: E731
    button = page.get_by_role("button", name="Theme")
    dark = paper()
    seen = []
    for name in ("light", "dark", "system"):
        button.click()
        assert button.inner_text() == f"Theme: {name}"
        seen.append(paper())
    assert seen == [seen[0], dark, dark] and seen[0] != dark
    button.click()
    page.reload()
    assert page.get_by_role("button", name="Theme").inner_text() == "Theme: light" and paper() == seen[0]


def test_a_legend_names_what_is_ignored_where_a_truth_is_drawn(town: Run) -> None:
    """Colours of classes are those of the prediction too, so a legend of them stands where no true class is drawn."""
    first = next(iter(gallery.read(town)))
    unlabelled = replace(first, shots=tuple(replace(shot, truths={"anomaly": shot.image}) for shot in first.shots))
    legends = {
        legend["title"]: legend["entries"]
        for legend in galleries.album(unlabelled, {}, galleries.SIZES["medium"]).legends
    }
    assert [entry["name"] for entry in legends["truth"]] == ["normal", "anomaly", "ignored"]
    assert [entry["name"] for entry in legends["classes"]] == list(CITYSCAPES)


def test_the_size_of_the_gallery_chooses_pictures_and_maps(town: Run, tmp_path: Path) -> None:
    first = max(gallery.read(town), key=lambda each: len(each.shots[0].maps))  # of five methods
    row = np.random.default_rng(0).integers(0, 50, 1000, np.uint8)
    pictures.write_indexed(tmp_path / "map.png", np.tile(row, (500, 1)), pictures.heat(), (500, 1000))
    pictures.write_photograph(tmp_path / "image.webp", np.zeros((500, 1000, 3), np.uint8), (500, 1000))
    wide = {"image": tmp_path / "image.webp", "drawn": (500, 1000)}
    shot = first.shots[0]  # all would have the same pictures
    shots = (replace(shot, maps=dict.fromkeys(shot.maps, tmp_path / "map.png"), **wide),)
    for name, widest, maps in (("small", 320, 3), ("medium", 640, 5), ("large", 1000, 5)):
        album = galleries.album(replace(first, shots=shots), {}, galleries.SIZES[name])
        assert len(album.methods) == maps and ("--gallery-size large" in "".join(album.notes)) == (maps < 5)
        for shot in album.shots:
            drawn = {kind: base64.b64decode(address.partition(",")[2]) for kind, _, address in shot.pictures}
            assert (shot.width, shot.height) == (widest, widest // 2)
            for kind in ("image", f"map {album.methods[0]}"):
                with Image.open(io.BytesIO(drawn[kind])) as picture:
                    assert picture.size == (widest, widest // 2)
                    seen = np.unique(np.asarray(picture.convert("RGB")).reshape(-1, 3), axis=0)
            assert len(seen) > 40 and set(map(tuple, seen.tolist())) <= set(pictures.heat()), "taken, never mixed"


def test_maps_of_the_gallery_are_switched_and_pictures_enlarged_and_stepped_through(opened: Opened) -> None:
    page = opened("town")
    album = page.locator(".album", has=page.get_by_role("heading", name="Village tiny"))
    chips = album.get_by_role("group", name="Score maps that are shown").get_by_role("button")
    assert [chip.get_attribute("aria-pressed") for chip in chips.all()].count("true") == 3
    off = album.locator(".chip[aria-pressed=false]").first
    name = off.inner_text()
    figure = album.locator(f"figure[data-kind='map {name}']").first
    assert not figure.is_visible()
    album.get_by_role("button", name=name, exact=True).click()
    assert figure.is_visible()
    figure.scroll_into_view_if_needed()
    figure.locator("button.zoom").click()
    window = page.get_by_role("dialog")
    count = album.locator(".row").first.locator("figure:not([hidden])").count()
    assert f"of {count})" in window.inner_text()
    source = lambda: window.locator("img").first.get_attribute("src")  # noqa: E731
    before = source()
    page.keyboard.press("ArrowRight")
    after = source()
    page.keyboard.press("ArrowLeft")
    assert after != before == source()
    width = lambda: window.locator("img").first.bounding_box()["width"]  # noqa: E731
    small = width()
    page.keyboard.press("+")
    assert width() == pytest.approx(2 * small, rel=0.05)
    page.keyboard.press("-")
    assert width() == pytest.approx(small, rel=0.05)
    page.keyboard.press("Escape")
    assert not window.is_visible()
    assert page.locator(".album img").first.evaluate("img => img.decode().then(() => img.naturalWidth)") == 64


def test_two_pictures_are_compared_by_a_slider_and_a_map_is_cut_at_a_threshold(opened: Opened, town: Run) -> None:
    page = opened("town")
    figure = page.locator(".album figure[data-kind^='map ']:not([hidden])").first
    figure.locator("button.zoom").click()
    window = page.get_by_role("dialog")
    over, canvas = window.locator("img.over"), window.locator("canvas")
    assert not over.is_visible() and not canvas.is_visible()
    window.get_by_label("Beside").select_option(label="image")
    slider = window.get_by_label("Where the second picture begins")
    slider.fill("25")
    assert over.is_visible() and over.evaluate("each => each.style.clipPath").endswith("25%)")
    slider.focus()
    page.keyboard.press("ArrowRight")
    assert over.evaluate("each => each.style.clipPath").endswith("26%)"), "arrows move the slider that has the focus"
    album = gallery.read(town)[0]
    shot = next(each for each in album.shots if each.sample == window.locator("h2").inner_text())
    with Image.open(shot.maps[figure.locator("figcaption").inner_text()]) as picture:
        levels = np.asarray(picture)
    for level in (0, 17, 40):
        window.get_by_label("Threshold of the score").fill(str(level + 1))
        assert canvas.is_visible()
        words = window.locator("output").inner_text()
        assert words.startswith(f"{100 * (levels >= level).mean():.1f} %"), words
    assert words.endswith("of the data set up to 0.44 %")
    window.get_by_role("button", name="Picture before").click()
    window.get_by_role("button", name="Picture before").click()
    page.keyboard.press("Escape")
    assert not window.is_visible()


def test_a_name_opens_the_window_of_its_cell_with_the_command_that_makes_it_again(opened: Opened, town: Run) -> None:
    page = opened("town")
    link = board(page, "anomaly Town").get_by_role("link", name="maxlogit").first
    key = link.get_attribute("data-cell")
    assert link.get_attribute("href") == f"cells/{key}.json"
    link.click()
    window = page.get_by_role("dialog", name="maxlogit on tiny")
    words = window.inner_text()
    assert "anomaly · Town" in words and "AUROC" in words and f"cells/{key}.json" in words
    assert f"--only cell={key}" in words and "bench run" in words
    window.get_by_role("button", name="Close").click()
    assert not window.is_visible()


def test_every_chart_has_lines_or_dots_and_says_in_words_what_it_shows(opened: Opened) -> None:
    page = opened("town")
    charts = page.locator("details.chart")
    kinds = charts.evaluate_all("all => all.map((each) => each.dataset.chart)")
    assert set(kinds) >= {"roc", "risk", "reliability", "images", "severity", "carried", "cost"}
    unfold(page)
    until_drawn(page)
    found = page.locator(".charts > svg").evaluate_all(
        """all => all.map((svg) => ({
          role: svg.getAttribute("role"), label: svg.getAttribute("aria-label"),
          said: svg.getAttribute("aria-description"),
          marks: svg.querySelectorAll("g[aria-label] path, g[aria-label] circle, g[aria-label] line").length,
          broken: svg.outerHTML.includes("NaN"),
        }))"""
    )
    assert len(found) > len(kinds)
    for chart in found:
        assert chart["role"] == "img" and ": " in chart["label"] and chart["marks"] > 0 and not chart["broken"], chart
        assert chart["said"], chart
    for heat in page.locator(".heatmap").all():
        heat.scroll_into_view_if_needed()
        heat.locator(".maps table").first.wait_for()
    words = "".join(page.locator("main section").all_inner_texts())  # the suite has words of its own
    assert not re.search(r"\b(null|NaN|Infinity|\[object)\b", words)
    # A curve disappears with its series, and the same series looks alike in every chart.
    first = page.locator("details.chart[data-chart=roc]").first
    paths = first.locator("g[aria-label=line] path")
    before = paths.count()
    first.locator(".chip[aria-pressed=true]").first.click()
    assert paths.count() == before - 2
    looks = page.locator(".chip:has(svg)").evaluate_all(
        """all => all.map((chip) => [chip.textContent.trim().replace(/,.*/, "").replace(" on tiny", ""),
          ["stroke", "stroke-dasharray"].map((name) => chip.querySelector("line").getAttribute(name)).join(" ")])
          .filter(([name]) => !name.includes("other") && name !== "tiny")"""
    )
    assert len({tuple(look) for look in looks}) == len({name for name, _ in looks}) >= 5


def test_heat_maps_follow_the_metric_and_the_rows_that_are_chosen(opened: Opened) -> None:
    page = opened("grid")
    heat = page.locator(".heatmap")
    heat.scroll_into_view_if_needed()
    heat.get_by_role("group", name="Rows that are shown").wait_for()
    assert heat.locator("table").count() == 1
    for chip in heat.locator(".chip[aria-pressed=false]").all()[::-1]:
        chip.click()
    assert heat.locator("caption").all_inner_texts() == ["energy", "entropy", "maxlogit", "msp"]
    figures = heat.locator("td.num").first.inner_text()
    heat.get_by_label("Metric").select_option(index=1)
    assert heat.locator("td.num").first.inner_text() != figures
    assert "FPR95" in heat.locator(".scroll").first.get_attribute("aria-label")
    assert "…" in heat.inner_text() and "has no result yet" in heat.inner_text(), "a cell that is missing"
    assert re.search(r"\d of \d", heat.inner_text()), "a mean that lacks it is no figure"
    heat.locator("td a").first.click()
    page.get_by_role("dialog").wait_for()


def test_the_table_of_every_cell_sorts_filters_and_shows_more(opened: Opened, pages: Path) -> None:
    many = [result(f"m{index:03d}", full(0.5 + index / 1000)) for index in range(230)]
    (pages / "many.html").write_text(page_of(run_of(pages / "many", many)))
    page = opened("many")
    explorer = page.locator(".explorer")
    explorer.scroll_into_view_if_needed()
    table = explorer.locator("table")
    table.wait_for()
    shown = lambda: table.locator("tbody tr").count()  # noqa: E731
    assert shown() == 100 and "230 results" in explorer.inner_text()
    table.get_by_role("button", name="AUROC").click()
    assert column(table, "AUROC")[:3] == ["72.90", "72.80", "72.70"]
    table.get_by_role("button", name="AUROC").click()
    assert column(table, "AUROC")[0] == "50.00"
    explorer.get_by_role("button", name=re.compile("^Show more")).click()
    assert shown() == 230 and not explorer.get_by_role("button", name=re.compile("^Show more")).is_visible()
    page.get_by_label("Rows").fill("m01")
    assert shown() == 10
    table.get_by_role("link", name="m017").click()
    assert "m017 on toynet" in page.get_by_role("dialog").inner_text()


def test_the_explorer_follows_task_and_data_set(opened: Opened) -> None:
    page = opened("town")
    explorer = page.locator(".explorer")
    explorer.scroll_into_view_if_needed()
    explorer.get_by_label("Task").select_option("misclassification")
    explorer.get_by_label("Data set").select_option("Village")
    assert set(column(explorer.locator("table"), "Data set")) == {"Village"}
    assert "7 results" in explorer.inner_text()


def test_the_keyboard_alone_reaches_and_works_everything(opened: Opened) -> None:
    page = opened("grid")
    for drawn in (".heatmap", ".explorer"):
        page.locator(drawn).scroll_into_view_if_needed()
        page.locator(f"{drawn} select").first.wait_for()
    wanted = page.evaluate(
        """() => [...document.querySelectorAll("a[href], button, input, select, summary")].filter((each) =>
          each.checkVisibility()).map((each, index) => { each.dataset.stop = index; return index; })"""
    )
    page.evaluate("document.activeElement.blur(); scrollTo(0, 0)")
    reached = set()
    for _ in range(len(wanted) + 60):  # regions that scroll take a stop of their own
        page.keyboard.press("Tab")
        stop = page.evaluate("document.activeElement.dataset.stop")
        if stop is not None:
            reached.add(int(stop))
    assert reached == set(wanted)
    page.evaluate("document.activeElement.blur()")
    page.reload()
    page.evaluate(EVERY_VIEW)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the results"
    head = page.locator("th[data-sort='higher']").first
    head.get_by_role("button").focus()
    page.keyboard.press("Enter")
    assert head.get_attribute("aria-sort") == "descending"
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.locator("summary").first.focus()
    page.keyboard.press("Enter")
    assert page.locator("details").first.get_attribute("open") is not None
    page.locator(".heatmap").scroll_into_view_if_needed()
    page.locator(".heatmap select").wait_for()
    cell = page.locator(".heatmap td a").first
    cell.focus()
    page.keyboard.press("Enter")
    page.get_by_role("dialog").wait_for()
    page.keyboard.press("Escape")
    assert not page.get_by_role("dialog").is_visible()
    assert cell.evaluate("each => each === document.activeElement"), "the focus is where it was"


def test_two_runs_stand_side_by_side_and_say_what_differs(opened: Opened) -> None:
    page = opened("merged")
    words = page.locator("main").inner_text()
    assert "msp (old)" in words and "msp (new)" in words and "differ in" in page.locator("body").inner_text()
    table = board(page, "anomaly toytown")
    table.get_by_role("button", name="AUROC").click()
    table.get_by_role("button", name="AUROC").click()
    assert column(table, "Method") == ["msp (old)", "msp (new)", "energy"]
    table.get_by_role("link", name="energy").click()
    page.get_by_role("dialog", name="energy on toynet").wait_for()


@pytest.mark.parametrize("name", ["town", "grid", "merged", "published"])
def test_nothing_is_wider_than_a_phone(opened: Opened, name: str) -> None:
    page = opened(name, viewport={"width": 390, "height": 844})
    width = lambda: page.evaluate("document.documentElement.scrollWidth")  # noqa: E731
    assert width() == 390
    unfold(page)
    until_drawn(page)
    assert width() == 390
    for opener in [*page.locator("button.zoom").all()[:1], *page.locator("section.board th a[data-cell]").all()[:1]]:
        opener.click()
        window = page.get_by_role("dialog")
        window.wait_for()
        assert window.evaluate("each => each.scrollWidth <= each.clientWidth")
        page.keyboard.press("Escape")


def test_a_print_is_light_and_has_the_tables_without_the_controls(opened: Opened) -> None:
    page = opened("town", color_scheme="dark")
    page.get_by_role("button", name="Theme").click()
    page.get_by_role("button", name="Theme").click()  # dark, whatever the system has
    page.emulate_media(media="print")
    style = page.evaluate(
        """(({ backgroundColor, color, colorScheme }) => [backgroundColor, color, colorScheme])(
          getComputedStyle(document.body))"""
    )
    assert style == ["rgb(255, 255, 255)", "rgb(0, 0, 0)", "light"]
    assert board(page, "anomaly Town").is_visible()
    assert not any(page.locator(hidden).first.is_visible() for hidden in (".controls", "nav", ".explorer"))
    named = page.locator("thead th[data-name]").first.evaluate("th => getComputedStyle(th, '::before').content")
    assert named == '"Leaderboard"', "the head of a table comes again on its further pages"
    assert page.pdf().startswith(b"%PDF")


@pytest.mark.parametrize("width", [1400, 390])
def test_targets_are_large_anchors_are_clear_of_the_bar_and_landmarks_have_names_of_their_own(
    opened: Opened, width: int
) -> None:
    page = opened("town", viewport={"width": width, "height": 844}, reduced_motion="reduce")
    small, names = page.evaluate(
        """() => {
          const seen = (each) => each.getClientRects().length > 0;
          const size = (each) => { const { width, height } = each.getBoundingClientRect(); return [width, height]; };
          const targets = [...document.querySelectorAll("button, summary, select, input, nav a, th a, sup a")];
          const marks = [...document.querySelectorAll("nav, section, aside, [role=region]")].filter(seen);
          return [
            targets.filter((each) => seen(each) && Math.min(...size(each)) < 24).map((each) => each.outerHTML),
            marks.map((each) => each.getAttribute("aria-label")
              ?? document.getElementById(each.getAttribute("aria-labelledby")).textContent.trim()),
          ];
        }"""
    )
    assert small == [] and len(names) > 5
    assert [name for name in names if names.count(name) > 1] == []
    for link in page.locator("nav a").all()[:3]:
        link.click()
        place = page.locator(f"[id='{link.get_attribute('href')[1:]}']").bounding_box()
        bar = page.locator(".controls").bounding_box()
        assert place["y"] >= bar["y"] + bar["height"]


def test_on_a_phone_a_column_that_stays_keeps_its_header(opened: Opened) -> None:
    page = opened("town", viewport={"width": 390, "height": 844})
    lefts = page.locator("section.board .scroll").first.evaluate(
        """(each) => {
          each.scrollLeft = 200;
          const left = (words) => Math.round(each.querySelector(words).getBoundingClientRect().left);
          return [each.scrollLeft, left("thead th.pinned"), left("tbody th[scope=row]")];
        }"""
    )
    assert lefts[0] == 200 and lefts[1] == lefts[2]


def test_without_a_script_the_tables_are_there(browser: Any, pages: Path) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto((pages / "town.html").as_uri())
    assert page.locator("table.ranked").first.is_visible() and page.locator(".album img").first.is_visible()
    assert "Without a script" in page.locator("noscript").inner_text()
    assert not page.locator(".controls").is_visible()
    context.close()


# ---- the leaderboard and the views ----


IN_SIGHT = "[...document.querySelectorAll('.view')].filter((each) => each.checkVisibility()).map((each) => each.id)"
OF_SIGHT = """(cells) => cells.filter((each) => each.checkVisibility()).map((each) => each.innerText)"""


def current(page: Any) -> str:
    """The addresses of the views that are in sight."""
    return ",".join(page.evaluate(IN_SIGHT))


def test_five_questions_are_answered_on_the_first_screen(opened: Opened, town: Run) -> None:
    """By what is in sight at 1400 x 900 when the page opens: nothing is clicked, nothing scrolled."""
    page = opened("town", whole=False)
    seen = page.evaluate(
        """() => {
          const inside = (each) => {
            const { top, bottom, height } = each.getBoundingClientRect();
            return height > 0 && top >= 0 && bottom <= innerHeight;
          };
          const text = (each) => each.innerText.replace(/\\s+/g, " ");
          return {
            leaders: [...document.querySelectorAll(".leaders li")].filter(inside).map(text),
            notes: [...document.querySelectorAll(".banner, .origin")].filter(inside).map(text),
            rows: [...document.querySelectorAll(".matrix tbody tr:not(.group)")].filter(inside).length,
          };
        }"""
    )
    matrix = Document(town).matrix
    block = next(index for index, each in enumerate(matrix.blocks) if each.protocol == "anomaly")
    without = next(group for group in matrix.groups if not group.outliers)
    best = without.leading(block)[0]
    answer = next(text for text in seen["leaders"] if text.startswith("anomaly Town"))
    first = answer.split("outlier data")[0]
    assert best.method in first, "which method is best for anomalies without outlier data?"
    assert {"clear": "clear lead", "not clear": "not clear"}[matrix.lead(without, block)] in first, (
        "does the lead hold?"
    )
    assert f"on {best.model}" in first, "on which network?"
    assert "8 images" in first, "on how many images?"
    assert "Made up for tests." in seen["notes"], "may this be compared with a paper?"
    assert any("computed 20" in note and "ood-seg-bench" in note for note in seen["notes"]) and seen["rows"] >= 3


def test_each_view_has_an_address_and_the_others_are_out_of_sight(opened: Opened) -> None:
    page = opened("town", whole=False)
    assert current(page) == "/" and page.title() == "A small town"
    for link in page.locator(".top nav a").all():
        link.click()
        path = link.get_attribute("href")[1:]
        page.wait_for_function("path => document.getElementById(path).classList.contains('current')", arg=path)
        assert current(page) == path and link.get_attribute("aria-current") == "page"
        assert page.locator(".view.current h2").first.is_visible() or path == "/"
        assert page.evaluate("document.documentElement.scrollHeight") <= 5 * 900, "a few screens"
    page.go_back()
    assert current(page) == "/cells"
    page.evaluate("location.hash = '/data/Town/misclassification'")
    page.wait_for_function("document.title.startsWith('misclassification, Town')")
    page.reload()
    assert current(page) == "/data/Town/misclassification"
    tabs = page.get_by_role("navigation", name="On Town, beside misclassification")
    tabs.get_by_role("link", name="images").click()
    page.locator(".view.current .album img").first.wait_for()
    for nowhere in ("%", "/data/none", "%E0%A4%A"):
        page.evaluate("hash => { location.hash = hash; }", nowhere)
        page.wait_for_function("document.getElementById('/').classList.contains('current')")


def test_an_image_has_an_address_and_is_stepped_through_by_keyboard_with_one_threshold_for_all_maps(
    opened: Opened,
) -> None:
    page = opened("town", whole=False)
    page.evaluate("location.hash = '/data/Town/images'")
    album = page.locator(".view.current .album").first
    shots = album.locator(".shot")
    path = shots.first.get_attribute("id")
    assert path and path.startswith("/data/Town/images/") and shots.count() >= 2
    shots.first.locator("a").first.focus()
    page.keyboard.press("Enter")
    page.wait_for_function("path => location.hash === `#${path}`", arg=path)
    seen = lambda: page.locator(".view.current .shot").evaluate_all(  # noqa: E731
        "all => all.filter((shot) => shot.checkVisibility()).map((shot) => shot.id)"
    )
    page.locator(".shot.alone").wait_for()
    assert seen() == [path] and page.title().startswith(path.split("/")[-1])
    widths = shots.first.locator("img").evaluate_all("all => all.map((each) => each.clientWidth).filter(Boolean)")
    assert len(widths) >= 6 and min(widths) > 300, "image, truth, class map and maps side by side, large"
    page.keyboard.press("ArrowRight")
    page.wait_for_function("path => document.querySelector('.shot.alone').id !== path", arg=path)
    assert len(seen()) == 1 and seen() != [path]
    page.keyboard.press("ArrowLeft")
    page.wait_for_function("path => document.querySelector('.shot.alone').id === path", arg=path)
    threshold = shots.first.get_by_label("Threshold of all maps")
    threshold.focus()
    page.keyboard.press("End")
    maps = shots.first.locator("figure[data-kind^='map ']:not([hidden])")
    assert shots.first.locator("canvas").count() == maps.count() >= 2
    page.keyboard.press("Home")
    assert shots.first.locator("canvas").count() == 0
    page.locator(".view.current h2").first.click()
    page.keyboard.press("Escape")
    page.wait_for_function("document.querySelector('.alone') === null")
    assert len(seen()) > 2


def test_what_a_view_has_is_open_and_a_card_has_formula_figures_and_pictures_of_failures(opened: Opened) -> None:
    page = opened("town", whole=False)
    for path in ("/cost", "/operating-points"):
        page.evaluate("path => { location.hash = path; }", path)
        page.locator(".view.current details.chart .drawing svg").first.wait_for()
    page.evaluate("location.hash = '/method/msp'")
    card = page.locator(".view.current")
    page.wait_for_function("document.title.startsWith('msp')")
    assert "Score = " in card.locator(".formula").inner_text() and "arXiv" in card.inner_text()
    pictures = card.locator(".hardest a img")
    assert pictures.count() >= 2 and pictures.first.evaluate("each => each.naturalWidth") > 0
    card.locator(".hardest a").first.click()
    page.locator(".shot.alone").wait_for()


def test_a_phone_shows_figures_of_the_leaderboard_beside_the_methods(opened: Opened) -> None:
    page = opened("town", whole=False, viewport={"width": 390, "height": 844})
    row = page.locator(".matrix tbody tr[data-row]").first
    first = row.locator("td[data-task]").first.bounding_box()
    assert first["x"] + first["width"] <= 390
    head = page.locator(".matrix thead th[data-task][data-sort]").first.bounding_box()
    assert head["x"] == pytest.approx(first["x"], abs=1), "heads stand above their figures"
    assert "tiny" in page.locator(".matrix tbody").first.inner_text(), "the network is named below the method"
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_the_leaderboard_leads_to_data_sets_and_methods_by_keyboard(opened: Opened) -> None:
    page = opened("town", whole=False)
    page.locator(".matrix tbody th a", has_text="maxlogit").first.focus()
    page.keyboard.press("Enter")
    page.wait_for_function("document.title.startsWith('maxlogit')")
    words = page.locator(".view.current").inner_text()
    assert "misclassification" in words and re.search(r"\d of \d", words) and "Village" in words
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.closest('.view').id") == current(page), "the next Tab is in the view"
    page.keyboard.press("Enter")
    page.evaluate("history.back()")
    page.wait_for_function(
        "document.title.startsWith('maxlogit') || document.getElementById('/').classList.contains('current')"
    )


def test_the_leaderboard_sorts_by_any_column_and_hides_tasks_and_corruptions(opened: Opened) -> None:
    page = opened("town", whole=False)
    table = page.locator(".matrix")
    heads = table.locator("thead tr").nth(1).locator("th")
    for head in heads.all():
        head.get_by_role("button").click()
        first = head.get_attribute("aria-sort")
        values = table.locator("tbody").first.evaluate(
            "(body, at) => [...body.rows].filter((row) => row.dataset.row).map((row) => row.cells[at].dataset.value)",
            head.evaluate("head => head.cellIndex"),
        )
        known = [value for value in values if value != ""]
        assert values == [*known, *[""] * (len(values) - len(known))], "what is undefined is last"
        if head.get_attribute("data-sort") != "text":
            numbers = [float(value) for value in known]
            assert numbers == sorted(numbers, reverse=first == "descending")
        assert heads.evaluate_all("all => all.filter((each) => each.ariaSort).length") == 1
    blocks = lambda: table.locator(".blocks th").evaluate_all(OF_SIGHT)  # noqa: E731
    every = blocks()
    page.locator("#of-task").select_option("misclassification")
    assert 0 < len(blocks()) < len(every) and all("misclassification" in each for each in blocks())
    page.locator("#corruption").select_option("corrupted")
    assert len(blocks()) == 1 and "corrupted" in blocks()[0]
    widths = table.locator("tbody tr[data-row]").evaluate_all(
        "rows => rows.map((row) => [...row.cells].filter((cell) => !cell.hidden).length)"
    )
    assert len(set(widths)) == 1
    page.get_by_label("Rows").fill("nothing at all")
    assert not table.locator("tr.group").first.is_visible()


def test_bars_are_as_long_as_figures_and_end_at_the_largest_of_a_column(opened: Opened) -> None:
    rows = opened("town", whole=False).locator(".matrix tbody tr[data-row]")
    cells = rows.evaluate_all(
        """rows => rows.map((row) => [...row.querySelectorAll("td[data-task]")].map((cell) => {
          const { backgroundSize, backgroundImage } = getComputedStyle(cell);
          return [cell.dataset.value, parseFloat(backgroundSize), backgroundImage];
        }))"""
    )
    for column_ in zip(*cells, strict=True):
        known = [(float(value), width) for value, width, image in column_ if value and image != "none"]
        most = max(value for value, _ in known)
        assert all(width == pytest.approx(100 * value / most, abs=1.3) for value, width in known if most > 0)


def test_every_view_is_there_in_print_and_without_a_script(browser: Any, opened: Opened, pages: Path) -> None:
    page = opened("town", whole=False)
    page.emulate_media(media="print")
    every = page.locator(".view").count()
    assert len(current(page).split(",")) == every > 10
    context = browser.new_context(java_script_enabled=False)
    bare = context.new_page()
    bare.goto((pages / "town.html").as_uri() + "#/data/Town/anomaly")
    assert all(view.is_visible() for view in bare.locator(".view").all()) and bare.locator(".view").count() == every
    assert bare.locator("[id='/data/Town/anomaly']").bounding_box()["y"] < 300, "an address is an anchor, too"
    context.close()


@pytest.mark.parametrize(
    ("name", "scheme"), [("town", "light"), ("town", "dark"), ("grid", "light"), ("published", "light")]
)
def test_axe_finds_no_violation(opened: Opened, name: str, scheme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="pip install axe-playwright-python").Axe()
    page = opened(name, color_scheme=scheme, bypass_csp=True)
    until = page.locator(".explorer")
    until.scroll_into_view_if_needed()
    until.locator("table").wait_for()
    found = axe.run(page, options={"resultTypes": ["violations"]}).response["violations"]
    assert [
        (each["id"], [node["html"][:160] for node in each["nodes"]][:4], len(each["nodes"])) for each in found
    ] == []

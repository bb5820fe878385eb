"""How long a reader waits: a page of many cells in headless Chromium, from its address to a table that is sorted.

    python benchmarks/page_opens.py [--out docs/benchmarks.md] [--folder DIR] [--cells 2562] [--keep]

The run is the one that ``benchmarks/report.py`` makes up: 7 methods on 3 networks under 15 corruptions at 4 severities
and on clean data, by as many protocols as give so many cells. Each line is the median of several openings, each in a
browser context of its own: wall seconds with the time that the browser needs to answer, and the seconds of a processor
that the main thread of the page worked, which hardly depend on what else the machine does.
"""

from __future__ import annotations

import argparse
import datetime
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import report
from page import machine, publish
from playwright.sync_api import sync_playwright

from bench.report import writing
from bench.report.selection import Choice

OPENINGS = 5
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
NAMES = ("chromium", "chromium-browser", "google-chrome")


def sorted_table(page: Any) -> None:
    page.locator(".matrix th[data-sort='higher'] button").first.click()
    page.locator("th[aria-sort='descending']").first.wait_for()


def to_view_of(page: Any, selector: str) -> None:
    page.locator(selector).first.wait_for(state="attached")
    page.evaluate("words => { location.hash = document.querySelector(words).closest('.view').id; }", selector)


def curves(page: Any) -> None:
    to_view_of(page, "details[data-chart=roc] summary")
    page.locator("details[data-chart=roc] summary").first.click()
    page.locator("details[data-chart=roc] .charts svg path").first.wait_for(state="attached")


def heat_map(page: Any) -> None:
    to_view_of(page, ".heatmap")
    page.locator(".heatmap").first.scroll_into_view_if_needed()
    page.locator(".heatmap").first.locator("select, .chip").first.wait_for()


def every_cell(page: Any) -> None:
    to_view_of(page, ".explorer")
    page.locator(".explorer").scroll_into_view_if_needed()
    page.locator(".explorer tbody tr").first.wait_for()


def filtered(page: Any) -> None:
    page.locator("#filter").fill("energy")
    page.locator("#kept:not(:empty)").wait_for()


STEPS: dict[str, Callable[[Any], None]] = {
    "opened and the leaderboard sorted by a click on a header": sorted_table,
    "opened, rows filtered by a word": filtered,
    "opened, ROC and precision-recall drawn": curves,
    "opened, heat map drawn": heat_map,
    "opened, table of every cell drawn": every_cell,
}


def waited(browser: Any, address: str, step: Callable[[Any], None]) -> tuple[float, float]:
    """Return wall seconds from the address to the end of a step, and those of a processor for the main thread."""
    context = browser.new_context(viewport={"width": 1400, "height": 900})
    page = context.new_page()
    tools = context.new_cdp_session(page)
    tools.send("Performance.enable", {"timeDomain": "threadTicks"})
    begin = time.perf_counter()
    page.goto(address, wait_until="commit")
    step(page)
    spent = time.perf_counter() - begin
    metrics = {each["name"]: each["value"] for each in tools.send("Performance.getMetrics")["metrics"]}
    context.close()
    return spent, metrics["TaskDuration"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--folder", type=Path, help="where the run is made; a temporary one if not given")
    parser.add_argument("--cells", type=int, default=2562)
    parser.add_argument("--keep", action="store_true", help="use what lies in --folder, and leave it there")
    options = parser.parse_args()
    folder = options.folder or Path(tempfile.mkdtemp(prefix="page-"))
    if not (options.keep and (folder / "run.json").is_file()):
        report.make(folder, options.cells)
    page = writing.write([str(folder)], "html", folder / "report.html", choice=Choice(images=False))
    size = page.stat().st_size / 2**20
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        sys.exit(f"no browser on the PATH; wanted one of {', '.join(NAMES)}")
    rows = []
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=found, args=FLAGS)
        waited(browser, page.as_uri(), sorted_table)  # the first one starts processes
        for name, step in STEPS.items():
            seconds = [waited(browser, page.as_uri(), step) for _ in range(OPENINGS)]
            wall, worked = zip(*seconds, strict=True)
            middle = statistics.median(wall), statistics.median(worked)
            rows.append(f"| {name} | {middle[0]:.2f} | {max(wall):.2f} | {middle[1]:.2f} |")
            print(rows[-1], file=sys.stderr)
        version = browser.version
        browser.close()
    body = (
        f"Written by `benchmarks/page_opens.py` on {datetime.date.today()}: the page of {options.cells} made-up cells,"
        f" {size:.1f} MB without pictures, in headless Chromium {version}; {OPENINGS} openings.\n\n"
        f"{machine('playwright')}\n\n| until | median s | longest s | main thread s |\n| :--- | ---: | ---: | ---: |\n"
        + "\n".join(rows)
    )
    publish("Opening a page", body, options.out)
    if not options.keep:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()

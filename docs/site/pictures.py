"""Draw the pictures of the README and the docs from a run of the demo.

``python docs/site/pictures.py runs/demo`` writes ``docs/images/leaderboard.png``, the first screen of the page, and
``docs/images/terminal.png``, the last lines that ``bench run`` prints. It needs the extra ``test`` and a Chromium on
the path. Nobody compares the pictures with the program: make them anew when the page changes.
"""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright
from rich.console import Console
from rich.text import Text

IMAGES = Path(__file__).parents[1] / "images"
WIDTH, HEIGHT = 1400, 900  # pixels of the first screen
COLUMNS = 100  # characters of the terminal
STYLE = """
body { margin: 0 }
pre { display: inline-block; margin: 0; padding: 18px 22px }
pre { color: #e6e6e6; font: 14px/1.35 monospace; background: #16181d }
"""


def screen_of_page(browser: Browser, page_file: Path, picture: Path) -> None:
    """Write the first screen of a page as a PNG."""
    page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
    page.goto(page_file.resolve().as_uri())
    page.screenshot(path=picture)
    page.close()


def screen_of_terminal(browser: Browser, command: str, output: str, picture: Path) -> None:
    """Write a command and its output, with the colours that it asks a terminal for, as a PNG."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
    console.print(Text(f"$ {command}", style="bold"))
    console.print(Text.from_ansi(output))
    page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}, device_scale_factor=1.5)
    lines = console.export_html(inline_styles=True, code_format="<pre>{code}</pre>")
    page.set_content(f"<style>{STYLE}</style>{lines}")
    page.locator("pre").first.screenshot(path=picture)
    page.close()


def main(run: Path) -> None:
    IMAGES.mkdir(exist_ok=True)
    command = f"bench run demo --out {run}"
    env = os.environ | {"COLUMNS": str(COLUMNS), "FORCE_COLOR": "1"}
    done = subprocess.run(command.split(), env=env, stdout=subprocess.PIPE, text=True, check=True)  # noqa: S603 - our own program
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        screen_of_page(browser, run / "report.html", IMAGES / "leaderboard.png")
        screen_of_terminal(browser, "bench run demo", done.stdout, IMAGES / "terminal.png")
        browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))

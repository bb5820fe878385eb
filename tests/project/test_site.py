"""The site of the documentation builds without a dead link, asks nobody else for anything, and holds every plug-in."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from bench.suite import registry
from bench.suite.kinds import HOMES

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("mkdocs", reason="the extra docs is not installed: the site was not built")
    folder = tmp_path_factory.mktemp("site")
    argv = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


def test_every_page_of_the_docs_is_in_the_navigation_and_no_link_is_dead(site: Path) -> None:
    pages = {path.parent.name for path in site.glob("*/index.html")}
    assert {path.stem for path in (ROOT / "docs").glob("*.md")} <= pages, "mkdocs --strict names what it lacks"


@pytest.mark.parametrize("kind", ["method", "protocol", "model", "dataset", "trainer", "format"])
def test_the_reference_names_every_plug_in(site: Path, kind: str) -> None:
    text = (site / "reference" / HOMES[kind].plural / "index.html").read_text(encoding="utf-8")
    for name in registry.available(kind):
        assert f"<code>{name}</code>" in text, f"{kind} {name} is not in the reference"


def test_notebooks_are_pages_and_not_their_json(site: Path) -> None:
    notebooks = sorted((ROOT / "examples" / "notebooks").glob("*.ipynb"))
    for path in notebooks:
        text = (site / "files" / "examples" / "notebooks" / path.name / "index.html").read_text(encoding="utf-8")
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        assert "nbformat" not in text, "the page shows the file as it is stored"
        assert text.count('<div class="highlight">') == sum(cell["cell_type"] == "code" for cell in cells)
    assert len(notebooks) == 3


def test_the_site_loads_nothing_from_elsewhere(site: Path) -> None:
    for path in site.rglob("*.html"):
        loaded = re.findall(r'<(?:script|img|iframe)[^>]+src="(https?:[^"]+)"', path.read_text(encoding="utf-8"))
        styles = re.findall(r'<link[^>]+rel="(?:stylesheet|preconnect)"[^>]+href="(https?:[^"]+)"', path.read_text())
        assert not loaded and not styles, f"{path.relative_to(site)} loads {loaded + styles}"

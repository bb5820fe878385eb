"""Pages of the site that are made from the program and from files beside ``docs/``, so that nothing is written twice.

mkdocs calls the functions whose names begin with ``on_``. The home page is the README; each command, method, protocol,
network, data set, trainer and format has an entry made from the same records as ``bench describe`` and ``--help``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Any

import typer
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from typer.core import TyperCommand, TyperGroup

from bench.cli.main import app
from bench.data import plugin_card
from bench.suite import registry
from bench.suite.kinds import HOMES, Kind

ROOT = Path(__file__).parents[2]
KINDS: tuple[Kind, ...] = ("method", "protocol", "model", "dataset", "trainer", "format")
BESIDE = ("CONTRIBUTING.md", "CHANGELOG.md")  # pages that lie in the root
OUTSIDE = re.compile(r"\]\((?:\.\./)?((?:examples|suites)/[^)#]+|LICENSE|CITATION\.cff)\)")  # files that are no pages
HELP_WIDTH = 100


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages."""
    pages = {"index.md": (ROOT / "README.md").read_text(encoding="utf-8")}
    pages |= {name: (ROOT / name).read_text(encoding="utf-8") for name in BESIDE}
    pages |= {f"reference/{HOMES[kind].plural}.md": "\n".join(_plugins(kind)) for kind in KINDS}
    pages["reference/commands.md"] = "\n".join(_commands())
    for name in sorted(_outside()):
        text = (ROOT / name).read_text(encoding="utf-8")
        if Path(name).suffix == ".ipynb":
            pages[f"files/{name}.md"] = "\n".join(_notebook(name, json.loads(text)["cells"]))
        else:
            pages[f"files/{name}.md"] = f"# {Path(name).name}\n\n{_block(_language(name), text)}\n"
    for path, text in pages.items():
        files.append(File.generated(config, path, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Return the text with its links led to pages of the site."""
    up = "../" * page.file.src_uri.count("/")
    if page.file.src_uri in ("index.md", *BESIDE):
        markdown = re.sub(r"\]\(docs/", "](", markdown)
    markdown = re.sub(r"\]\(\.\./(CONTRIBUTING|CHANGELOG)\.md", rf"]({up}\1.md", markdown)
    markdown = markdown.replace("](../README.md", f"]({up}index.md").replace("](README.md", f"]({up}index.md")
    return OUTSIDE.sub(lambda link: f"]({up}files/{link[1]}.md)", markdown)


def _outside() -> set[str]:
    """Return the files of the clone that pages lead to and that are no pages."""
    texts = [path.read_text(encoding="utf-8") for path in (ROOT / "docs").glob("*.md")]
    texts += [(ROOT / name).read_text(encoding="utf-8") for name in ("README.md", *BESIDE)]
    return {name for text in texts for name in OUTSIDE.findall(text)}


def _notebook(name: str, cells: list[dict[str, Any]]) -> Iterator[str]:
    """Yield the cells of a notebook as Markdown; links from ``examples/notebooks`` lead to pages."""
    for number, cell in enumerate(cells):
        text = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            yield re.sub(r"\]\((?:\.\./)+docs/", "](../../../", text) + "\n"
        else:
            yield _block("python", text) + "\n"
        if number == 0:
            yield f"The notebook is `{name}` of the clone; here are its cells.\n"


def _block(language: str, text: str) -> str:
    return f"````{language}\n{text.rstrip()}\n````"


def _language(name: str) -> str:
    return {".py": "python", ".yaml": "yaml", ".sbatch": "bash"}.get(Path(name).suffix, "text")


def _plugins(kind: Kind) -> Iterator[str]:
    """Yield the lines of a page: every plug-in of a kind that ships, by name."""
    plural = HOMES[kind].plural
    yield f"# {plural.capitalize()}\n"
    yield f"Made from the program; `bench list {plural}` and `bench describe NAME` print the same.\n"
    for name in sorted(registry.available(kind)):
        about = plugin_card.record(kind, name)
        yield f"## `{name}`\n"
        yield f"{_prose(about['about'])}\n"
        yield f"Source: {_prose(about['source'])}\n"
        if metrics := about.get("metrics"):
            yield "| metric | definition |\n| :--- | :--- |"
            yield from (f"| `{key}` | {_cell(definition)} |" for key, definition in metrics.items())
            yield ""
        if parameters := about["parameters"]:
            yield "| parameter | type | default |\n| :--- | :--- | :--- |"
            for parameter in parameters:
                default = f"`{json.dumps(parameter['default'])}`" if "default" in parameter else "needed"
                yield f"| `{parameter['name']}` | {_cell(str(parameter['type']))} | {default.replace('|', '&#124;')} |"
            yield ""


def _prose(text: str) -> str:
    """Return a docstring as Markdown that holds no markup but code."""
    parts = re.split(r"(``.+?``)", text)
    return "".join(part if part.startswith("``") else re.sub(r"([\\*_<\[|])", r"\\\1", part) for part in parts)


def _cell(text: str) -> str:
    return escape(text, quote=False).replace("|", "&#124;").replace("\n", " ").replace("*", "\\*").replace("_", "\\_")


def _commands() -> Iterator[str]:
    """Yield the lines of the page of all commands, with the help that they print."""
    yield "# Commands\n"
    yield "Made from the program; `bench COMMAND --help` prints the same.\n"
    root = typer.main.get_command(app)
    yield from _command(root, typer.Context(root, info_name="bench", max_content_width=HELP_WIDTH), 1)


def _command(command: TyperCommand | TyperGroup, context: typer.Context, level: int) -> Iterator[str]:
    if level > 1:
        yield f"{'#' * level} `{context.command_path}`\n"
    yield f"````text\n{command.get_help(context).rstrip()}\n````\n"
    if isinstance(command, TyperGroup):
        for name in command.list_commands(context):
            member = command.get_command(context, name)
            if member is not None:
                inner = typer.Context(member, parent=context, info_name=name, max_content_width=HELP_WIDTH)
                yield from _command(member, inner, min(level + 1, 4))

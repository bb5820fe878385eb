"""A board to start from: its folder with a page of instructions and the workflow that checks and publishes it."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from pydantic import ValidationError

from bench.board.entries import ABOUT, DEFINITIONS, ENTRIES, About, Definitions
from bench.core import files, yaml_text
from bench.core.errors import UsageError
from bench.results import store

WORKFLOW = ".github/workflows/board.yml"


def write(path: Path, title: str) -> list[Path]:
    """Write a board into a folder that is new or empty, whole or not at all; return its files, relative to it."""
    if path.exists() and (not path.is_dir() or any(each.name != ".git" for each in path.iterdir())):
        raise UsageError(f"{path} is there and not empty; nothing was written, choose a folder that is new")
    try:
        about = About(title=title or f"Leaderboard of {path.resolve().name}")
    except ValidationError:
        raise UsageError(f"--title {title!r}: wanted at most 120 printable characters on one line") from None
    contents = {
        ABOUT: yaml_text.dump(about.model_dump(), ascii_only=False),
        "README.md": _template("README.md").replace("TITLE", _escaped(about.title)),
        WORKFLOW: _template("board.yml"),
        ".gitignore": "/site/\n",
        f"{ENTRIES}/.gitkeep": "",
    }
    written = [*contents, DEFINITIONS]
    if path.exists():  # an empty folder, or a repository without a file
        for name, content in contents.items():
            with files.writing(path / name, "w") as file:
                file.write(content)
        store.write_json(path / DEFINITIONS, Definitions().model_dump(mode="json", by_alias=True))
        return [Path(name) for name in sorted(written)]
    with files.whole_folder(path) as folder:
        for name, content in contents.items():
            with files.writing(folder / name, "w") as file:
                file.write(content)
        store.write_json(folder / DEFINITIONS, Definitions().model_dump(mode="json", by_alias=True))
    return [Path(name) for name in sorted(written)]


def _template(name: str) -> str:
    return resources.files("bench.board").joinpath("templates", name).read_text(encoding="utf-8")


def _escaped(title: str) -> str:
    """A title as Markdown shows it."""
    return "".join(f"\\{each}" if each in r"\`*_{}[]<>()#+!|~&" else each for each in title)

"""What the command line gives is what it gave before: figures, counts, tables and archives, byte for byte.

The outputs are made by ``make_outputs.py``; its docstring says how. Where versions, threads and vector instructions are
those of the frozen files every byte is compared. Elsewhere the network gives other last digits, and then

- text, structure, types and ranks must be equal, and numbers to a relative 1e-4;
- a few numbers may be further apart: a figure that is read off at a threshold, such as FPR95 or the segments above it,
  jumps where a pixel crosses the threshold or a tie breaks. They are named in a warning, and more than a few fail;
- digests and the lengths of what is listed by distinct scores are not compared.
"""

from __future__ import annotations

import difflib
import json
import os
import re
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).parent
FROZEN = Path(os.environ.get("FROZEN_OUTPUTS", HERE / "outputs"))
FINGERPRINT = "fingerprint.json"
NAMES = sorted(path.relative_to(FROZEN).as_posix() for path in FROZEN.rglob("*.*") if path.name != FINGERPRINT)

TOLERANCE = 1e-4
NEAR_ZERO = 1e-6
ROUGHLY = 1e-2  # for how many distinct scores there are
JUMPS = re.compile(r"fpr|f1|threshold|siou|ppv|tpr|fn_|fp_|errors|alarms|missed|precision|recall|kicked|judged|segment")
COUNTED = re.compile(r"pixels|kicked|on objects|ignored")
DISTINCT = re.compile(r"distinct_|least_kept/share")
JUMPING = 0.05  # of the numbers that may jump
PRINTED = 0.02  # of the numbers in a text, where their names are not known
NUMBER = re.compile(r"[-+−]?\d+(?:\.\d+)?(?:e[-+]\d+)?")
DIGEST = re.compile(r"\b(?=[0-9a-f]*\d)[0-9a-f]{10}\b")
LENGTHS = re.compile(r"\[[\d,]*\]|(?<=<U)\d+")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The outputs of the code as it stands: one process for all of them."""
    folder = tmp_path_factory.mktemp("outputs")
    root = HERE.parents[1]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(root), os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, str(HERE / "make_outputs.py"), str(folder)]
    finished = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr[-4000:]
    return folder


@pytest.fixture(scope="module")
def bitwise(made: Path) -> bool:
    """Whether every byte must be equal here."""
    frozen, here = (json.loads((folder / FINGERPRINT).read_text(encoding="utf-8")) for folder in (FROZEN, made))
    other = [name for name in frozen if frozen[name] != here.get(name)]
    if other:
        warnings.warn(
            f"only the looser comparison with the frozen outputs ran: {', '.join(other)} differ here; make_outputs.py"
            " says how to compare every byte on this machine",
            stacklevel=1,
        )
    return not other


def test_the_same_outputs_are_made(made: Path) -> None:
    names = sorted(path.relative_to(made).as_posix() for path in made.rglob("*.*") if path.name != FINGERPRINT)
    assert names == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_output_is_what_it_was(name: str, made: Path, bitwise: bool) -> None:
    frozen, here = ((folder / name).read_text(encoding="utf-8") for folder in (FROZEN, made))
    if bitwise:
        assert here == frozen, f"{name} differs:\n{difference(frozen, here)}"
    elif name.endswith(".json"):
        compare_json(name, json.loads(frozen), json.loads(here))
    else:
        compare_text(name, frozen, here)


def difference(frozen: str, here: str) -> str:
    """The first lines that differ, cut at commas where they are long."""
    parts = [re.sub(r"(?<=,)(?=[\"{])", "\n", text).splitlines() for text in (frozen, here)]
    return "\n".join(line[:200] for line in list(difflib.unified_diff(*parts, "frozen", "here", n=1, lineterm=""))[:60])


def leaves(content: object, path: str = "") -> Iterator[tuple[str, object]]:
    """What stands in a JSON, each with the names that lead to it."""
    if isinstance(content, dict):
        for name, part in content.items():
            yield from leaves(part, f"{path}/{name}")
    elif isinstance(content, list):
        yield f"{path}/length", str(len(content))
        for index, part in enumerate(content):
            name = part.get("metric", "") if isinstance(part, dict) else ""
            yield from leaves(part, f"{path}/{index}{name}")
    else:
        yield path, content


def masked(text: str) -> str:
    """A text without what is another on another machine: digests, lengths."""
    return LENGTHS.sub("[]", DIGEST.sub("DIGEST", text))


def is_number(part: object) -> bool:
    return isinstance(part, int | float) and not isinstance(part, bool)


def compare_json(name: str, frozen: object, here: object) -> None:
    """Structure and text exactly, figures within the tolerance but for a few that jump."""
    wanted, got = dict(leaves(frozen)), dict(leaves(here))
    assert got.keys() == wanted.keys()
    jumping = 0
    jumped = []
    for path, part in wanted.items():
        other = got[path]
        if isinstance(part, str) and "\n" in part:  # a page of its own, with numbers as they are printed
            compare_text(f"{name}{path}", part, str(other))
            continue
        if not is_number(part) or not is_number(other):
            assert masked(str(other)) == masked(str(part)), f"{name}{path}"
            continue
        may = bool(JUMPS.search(path) or COUNTED.search(path))
        jumping += may
        tolerance = ROUGHLY if DISTINCT.search(path) else TOLERANCE
        if not close(float(part), float(other), tolerance):  # type: ignore[arg-type]
            assert may, f"{name}{path}: {other}, was {part}"
            jumped.append(f"{name}{path}: {other}, was {part}")
    tell(name, jumped, JUMPING * jumping)


def compare_text(name: str, frozen: str, here: str) -> None:
    """The same for a page: numbers may be off by one in their last digit, for they are rounded."""
    words = [re.sub(r"[ -]+", " ", NUMBER.sub("#", masked(text))) for text in (frozen, here)]
    assert words[1] == words[0], f"{name} differs:\n{difference(*words)}"
    pairs = list(zip(*(NUMBER.findall(masked(text)) for text in (frozen, here)), strict=True))
    jumped = [f"{name}: {other}, was {part}" for part, other in pairs if not close_in_print(part, other)]
    tell(name, jumped, PRINTED * len(pairs))


def close(first: float, second: float, tolerance: float, slack: float = NEAR_ZERO) -> bool:
    return abs(first - second) <= tolerance * max(abs(first), abs(second)) + slack


def close_in_print(part: str, other: str) -> bool:
    digits = len(part.partition("e")[0].partition(".")[2])
    first, second = (float(text.replace("−", "-")) for text in (part, other))
    return close(first, second, TOLERANCE, 1.01 * 10.0**-digits if digits else 0.0)


def tell(name: str, jumped: list[str], most: float) -> None:
    """Name the figures that jumped; more than a few are no accident."""
    if not jumped:
        return
    assert len(jumped) <= max(3.0, most), "\n".join(jumped)
    warnings.warn(f"{name}: {len(jumped)} figures jumped, among them {'; '.join(jumped[:3])}", stacklevel=2)

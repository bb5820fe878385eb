"""A board with an entry broken in each way: the entry is refused by name, on one line, and nothing is built."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from board_maker import DAY, JANE, LATER, SCRIPT, TODAY, add, board_of, claim, faults, run_of

from bench.board import entries
from bench.board.adding import About
from bench.cli.main import main
from bench.core.errors import UsageError
from bench.results import store

ENERGY, CLAIMED = "energy-on-tiny/2026-01-05", "claimed-on-r101/2026-01-05"
Broken = tuple[str, str, Callable[[Path], Any]]  # entry, words of its fault, and what breaks it


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return board_of(tmp_path_factory.mktemp("sound"))


@pytest.fixture
def board(sound: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sound, tmp_path / "copy"))


def said(place: str, **changed: Any) -> Callable[[Path], Any]:
    """Change what an entry says of itself."""

    def change(board: Path) -> None:
        path = board / "entries" / place / "entry.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changed))

    return change


def text(place: str, old: str, new: str) -> Callable[[Path], Any]:
    """Change the text of an entry."""

    def change(board: Path) -> None:
        path = board / "entries" / place / "entry.json"
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new))

    return change


def cell(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], Any]:
    """Change the first result of the entry of energy by hand."""

    def changed(board: Path) -> None:
        path = sorted((board / "entries" / ENERGY / "cells").glob("*.json"))[0]
        content = json.loads(path.read_text())
        change(content)
        path.write_text(json.dumps(content))

    return changed


def figure(**changed: Any) -> Callable[[Path], Any]:
    return cell(lambda content: content["metrics"]["ap"].update(changed))


def move(old: str, new: str) -> Callable[[Path], Any]:
    def moved(board: Path) -> None:
        (board / "entries" / new).parent.mkdir(exist_ok=True)
        (board / "entries" / old).rename(board / "entries" / new)

    return moved


def write(name: str, content: str = "") -> Callable[[Path], Any]:
    return lambda board: (board / "entries" / name).write_text(content)


def link(board: Path) -> None:
    path = board / "entries" / ENERGY / "run.json"
    path.unlink()
    path.symlink_to("/etc/hostname")


def lose_a_cell(board: Path) -> None:
    sorted((board / "entries" / ENERGY / "cells").glob("*.json"))[0].unlink()


def other_replicates(board: Path) -> None:
    folder = board / "entries" / ENERGY
    run = store.read_run(folder)
    draws = {f"replicates.{name}": values + 0.01 for name, values in run.replicates(run.results[0]).items()}
    store.write_counts(folder, run.results[0].key, draws)


def no_replicates(board: Path) -> None:
    folder = board / "entries" / ENERGY
    store.write_counts(folder, store.read_run(folder).results[0].key, {"ids": np.array([], "U1")})


def to_come(board: Path) -> None:
    move(ENERGY, "energy-on-tiny/2999-01-01")(board)
    said("energy-on-tiny/2999-01-01", added="2999-01-01")(board)


def two_methods(board: Path) -> None:
    folder = board / "entries" / ENERGY
    shutil.rmtree(folder / "cells")
    SCRIPT.write_run(folder, [SCRIPT.made(name, "tiny", "Town", 0.05) for name in ("energy", "other")])


def copied(board: Path) -> None:
    shutil.copytree(board / "entries" / ENERGY, board / "entries" / "another-on-tiny" / ENERGY[-10:])
    said("another-on-tiny/2026-01-05", name="another")(board)


def changing_nothing(board: Path) -> None:
    shutil.copytree(board / "entries" / ENERGY, board / "entries" / "energy-on-tiny" / "2026-01-06")
    said("energy-on-tiny/2026-01-06", added="2026-01-06")(board)


def other_definitions(**changed: Any) -> Callable[[Path], Any]:
    def change(board: Path) -> None:
        path = board / "definitions.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changed))

    return change


def same_label(board: Path) -> None:
    path = board / "definitions.json"
    content = json.loads(path.read_text())
    content["data"].append(content["data"][0] | {"digest": "0123"})
    path.write_text(json.dumps(content))


def pixels(content: dict[str, Any]) -> None:
    content["pixels"]["anomaly"] += 1


def coordinates(content: dict[str, Any]) -> None:
    content["cell"]["method"]["params"]["temperature"] = 3.0


def anonymous_with_a_path(board: Path) -> None:
    said(ENERGY, by="", anonymous=True)(board)
    cell(lambda content: content["provenance"].update(command="bench run /home/jane/secret/suite.yaml"))(board)


BROKEN: dict[str, Broken] = {
    "no JSON": (ENERGY, "entry.json is no JSON", write(f"{ENERGY}/entry.json", "{")),
    "a key twice": (ENERGY, "the key 'by' stands twice", text(ENERGY, '"by"', '"by": "Me", "by"')),
    "too deep": (ENERGY, "deep", write(f"{ENERGY}/entry.json", "[" * 100_000)),
    "too large": (ENERGY, "entry.json has more than", write(f"{ENERGY}/entry.json", " " * (2**20 + 1))),
    "no number": (ENERGY, "NaN is no number", text(ENERGY, '"schema": 1', '"schema": NaN')),
    "a newer schema": (ENERGY, "schema is 2", said(ENERGY, schema=2)),
    "an unknown field": (ENERGY, "rank is 1", said(ENERGY, rank=1)),
    "a script for a link": (ENERGY, "paper is 'javascript:alert(1)'", said(ENERGY, paper="javascript:alert(1)")),
    "data for a link": (ENERGY, "code is", said(ENERGY, code="data:text/html,<script>")),
    "a password in a link": (ENERGY, "code is", said(ENERGY, code="https://me:secret@example.org/")),
    "a quote in a link": (ENERGY, "wanted an address", said(ENERGY, checkpoint='https://example.org/"onclick="x')),
    "a name that hides": (ENERGY, "name is", said(ENERGY, name="energy\u202e")),
    "a note of two lines": (ENERGY, "wanted printable words on one line", said(ENERGY, note="a\nb")),
    "another name": (ENERGY, "whose folder is 'best-on-tiny'", said(ENERGY, name="Best")),
    "another network": (ENERGY, "is of the network 'tiny', and says 'Tiny'", said(ENERGY, network="Tiny")),
    "nobody": (ENERGY, "does not say who added it", said(ENERGY, by="")),
    "anonymous by name": (ENERGY, "is anonymous and names 'Jane Doe'", said(ENERGY, anonymous=True)),
    "anonymous with a path": (ENERGY, "is anonymous, and", anonymous_with_a_path),
    "a day to come": ("energy-on-tiny/2999-01-01", "still to come", to_come),
    "another day": (ENERGY, "was added on 2026-01-04 and lies in 2026-01-05", said(ENERGY, added="2026-01-04")),
    "no day": ("energy-on-tiny/first", "is no day", move(ENERGY, "energy-on-tiny/first")),
    "a link out": (ENERGY, "run.json is a link", link),
    "a stray file": (ENERGY, "evil.html is no file of an entry", write(f"{ENERGY}/evil.html", "<script>")),
    "a file for a folder": ("stray.txt", "is a file", write("stray.txt")),
    "a cell lost": (ENERGY, "do not hold the same cells", lose_a_cell),
    "a cell too many": (ENERGY, "do not hold the same cells", write(f"{ENERGY}/cells/0123456789abcdef.json", "{}")),
    "two methods": (ENERGY, "holds 2 pairs of method and network", two_methods),
    "coordinates by hand": (ENERGY, "one of them was changed by hand", cell(coordinates)),
    "no such figure": (ENERGY, "has a figure and no definition", cell(lambda c: c["metrics"].update(n={"value": 1}))),
    "a rate beyond 1": (ENERGY, "ap is 1.5, wanted a rate", figure(value=1.5)),
    "an interval inside out": (ENERGY, "has an interval from", figure(lo=0.9, hi=0.1)),
    "an interval by hand": (ENERGY, "the interval of ap is not that of its replicates", figure(lo=0.449, hi=0.4501)),
    "half an interval": (ENERGY, "one end of an interval", figure(hi=None)),
    "other replicates": (ENERGY, "is not that of its replicates", other_replicates),
    "no replicates": (ENERGY, "has an interval and no replicates", no_replicates),
    "no image": (ENERGY, "saw no image", cell(lambda content: content.update(images=0))),
    "too many pixels": (ENERGY, "are no count of 1 images", cell(lambda c: c.update(images=1, pixels={"all": 2**40}))),
    "partial": (ENERGY, "only 100 images were seen", cell(lambda content: content.update(partial=True))),
    "other images": (ENERGY, "it saw 99 images, and entropy-on-tiny", cell(lambda content: content.update(images=99))),
    "other pixels": (ENERGY, "it counted 1000001 pixels", cell(pixels)),
    "another meaning": (ENERGY, "defined otherwise", cell(lambda c: c["definitions"]["ap"].update(definition="best"))),
    "a hidden label": (ENERGY, "the label of its dataset", cell(lambda c: c["labels"].update(dataset="To\u200bwn"))),
    "no digest": (ENERGY, "what data and which definition", cell(lambda content: content.update(depends={}))),
    "another digest": (ENERGY, "its data has the digest ffff, and the board has",
                       cell(lambda content: content["depends"].update(dataset="00000000 ffff"))),
    "another version": (ENERGY, "it is of version 9 of anomaly, and the board has version 1",
                        cell(lambda content: content["about"]["protocol"].update(version=9))),
    "the same figures": (ENERGY, "has the figures of another-on-tiny/2026-01-05, digit by digit", copied),
    "a version of nothing": ("energy-on-tiny/2026-01-06", "changes nothing", changing_nothing),
    "measured with claims": (ENERGY, "are those of a claimed entry", said(ENERGY, of="msp-on-tiny")),
    "claimed of nothing": (CLAIMED, "is of 'nobody', which is no measured entry", said(CLAIMED, of="nobody")),
    "claimed beyond measured": (CLAIMED, "claims AP 91.0 on road_anomaly, and energy-on-tiny measured",
                                said(CLAIMED, of="energy-on-tiny")),
    "claimed without figures": (CLAIMED, "is claimed and has no figures", said(CLAIMED, figures=[])),
    "claimed in no column": (CLAIMED, "'rank', which is no column", text(CLAIMED, '"metric"', '"rank"')),
    "claimed as no number": (CLAIMED, "wanted plain digits", text(CLAIMED, '"91.0"', '"91,0"')),
    "a formula": (CLAIMED, "formula", text(CLAIMED, '"A paper: table 2"', '"=cmd()"')),
    "no definitions": ("definitions.json", "is absent", lambda board: (board / "definitions.json").unlink()),
    "no such protocol": (ENERGY, "the board has no such protocol", other_definitions(protocols=[])),
    "two of a label": ("definitions.json", "two data sets have the label", same_label),
}  # fmt: skip


def test_a_sound_board_has_no_fault(sound: Path) -> None:
    assert faults(sound) == []


@pytest.mark.parametrize("way", BROKEN)
def test_an_entry_that_is_broken_is_refused_by_name_on_one_line(board: Path, way: str) -> None:
    entry, words, breaks = BROKEN[way]
    breaks(board)
    lines = faults(board)
    assert any(line.startswith(f"{entry}: ") and words in line for line in lines), lines
    assert all(line.isprintable() for line in lines)


def test_the_commands_name_the_entry_end_with_2_and_build_nothing(
    board: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said(ENERGY, paper="javascript:alert(1)")(board)
    figure(value=1.5)(board)
    assert main(["board", "check", str(board)]) == 2
    first, last = capsys.readouterr().err.splitlines()
    assert first.startswith(f"bench: {ENERGY}: entry.json: paper is") and last == f"bench: {board}: 1 fault"
    assert main(["board", "build", str(board), "--out", str(tmp_path / "site")]) == 2
    assert ENERGY in capsys.readouterr().err and not (tmp_path / "site").exists()


def test_what_is_no_board_is_said_with_the_command_that_makes_one(tmp_path: Path) -> None:
    with pytest.raises(Exception, match=r"is no board: it has no board.yaml; 'bench board new"):
        entries.read(tmp_path)


def test_why_a_claim_is_not_what_was_measured_settles_the_difference(board: Path) -> None:
    said(CLAIMED, of="energy-on-tiny")(board)
    assert len(faults(board)) == 1
    said(CLAIMED, differs="another network")(board)
    assert faults(board) == []


def test_a_claim_that_rounds_to_the_measured_figure_or_lies_in_its_interval_agrees(board: Path, tmp_path: Path) -> None:
    result = next(r for r in store.read_run(board / "entries" / ENERGY).results if r.labels.dataset == "road_anomaly")
    value = result.metrics["ap"]
    for number, figure_ in enumerate((value.value, value.lo, value.hi)):  # type: ignore[union-attr]
        about = replace(JANE, name=f"claim {number}", of="energy-on-tiny")
        add(board, claim(tmp_path / "claim.csv", value=f"{100 * float(figure_ or 0):.1f}"), about)
    assert faults(board) == []


def test_add_refuses_what_the_board_cannot_take_and_writes_nothing(board: Path, tmp_path: Path) -> None:
    before = sorted(str(path) for path in board.rglob("*"))
    energy = run_of(tmp_path / "same", "energy")
    cases: list[tuple[str, Path, About]] = [
        ("stands on the board with these figures since 2026-01-05", energy, JANE),
        ("say who adds this with --by NAME, or --anonymous", energy, About()),
        ("say who adds this", energy, About(by="Jane", anonymous=True)),
        ("--paper is 'ftp://x': wanted an address", run_of(tmp_path / "a", "a"), replace(JANE, paper="ftp://x")),
        ("made by version 2 of anomaly, and the board has 1", run_of(tmp_path / "b", "b", version=2), JANE),
        ("its data has the digest ffff", run_of(tmp_path / "c", "c", ("Town",), digest="ffff"), JANE),
        ("has a version of 2026-01-05, later than", run_of(tmp_path / "d", "energy", skill=0.1), JANE),
        ("--of and --differs are for published figures", energy, replace(JANE, of="msp-on-tiny")),
        ("is measured on this board", claim(tmp_path / "e.csv", method="energy", backbone="tiny"), JANE),
        ("the board has no such measured entry", claim(tmp_path / "f.csv"), replace(JANE, of="nobody")),
    ]
    for words, source, about in cases:
        with pytest.raises(UsageError, match=words):
            add(board, source, about, DAY - timedelta(days=1) if "later" in words else LATER)
    partial = tmp_path / "partial"
    result, arrays = SCRIPT.made("cut", "tiny", "Town", 0.0)
    SCRIPT.write_run(partial, [(replace(result, partial=True), arrays)])
    with pytest.raises(UsageError, match="run it without --limit first"):
        add(board, partial)
    several = tmp_path / "several"
    SCRIPT.write_run(several, [SCRIPT.made(name, "tiny", "Town", 0.0) for name in ("x", "y")])
    with pytest.raises(UsageError, match="there are 2 entries, such as x, y; choose with --only method=NAME"):
        add(board, several, replace(JANE, name="mine"))
    assert sorted(str(path) for path in board.rglob("*")) == before
    assert add(board, several, replace(JANE, name="mine"), method="x") == ["mine-on-tiny/2026-01-05"]


def test_an_anonymous_entry_names_nobody(board: Path, tmp_path: Path) -> None:
    result, arrays = SCRIPT.made("hidden", "tiny", "Town", 0.1)
    secret = {"commit": "abc", "command": "bench run /home/jane/suite.yaml", "created": "2026-01-01T10:11:12+00:00"}
    SCRIPT.write_run(tmp_path / "run", [(replace(result, provenance=secret), arrays)])
    (place,) = add(board, tmp_path / "run", About(anonymous=True))
    content = "".join(path.read_text() for path in (board / "entries" / place).rglob("*.json"))
    assert "jane" not in content.lower() and "abc" not in content and "10:11" not in content
    assert faults(board) == []


def test_a_second_version_of_a_day_has_a_number(board: Path, tmp_path: Path) -> None:
    places = [add(board, run_of(tmp_path / str(n), "energy", skill=0.1 + 0.01 * n), day=LATER)[0] for n in range(3)]
    assert places == [f"energy-on-tiny/2026-02-01{suffix}" for suffix in ("", ".2", ".3")]
    history = entries.read(board).history("energy-on-tiny")
    assert [version.day for version in history] == ["2026-01-05", "2026-02-01", "2026-02-01.2", "2026-02-01.3"]
    assert faults(board) == [] and TODAY > LATER

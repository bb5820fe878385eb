"""What ``bench submit`` does, command by command: a run or a suite in, an archive and a card out."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.api import Archive, Board, Compared, Made, Masks, Trial, Verdict
from bench.contract.progress import Reporter
from bench.core import archives, yaml_text
from bench.core.errors import BadScores, BadYaml, MissingData, UsageError, UserError
from bench.results import store
from bench.submit import archive_writer, boards, card
from bench.submit import dry_run as dry_runs
from bench.submit.card import Stated
from bench.submit.submission import Prepared, Source


def make(board: Board, source: Source, out: Path, stated: Stated, reporter: Reporter) -> list[str]:
    """Write the archive and its card; return lines for people."""
    reporter.stage("maps" if board.scored else "class maps")
    made = board.make(Prepared(board, source, out, stated, reporter))
    return [*made.lines, *_card_lines(made), *boards.left_to_do(board)]


def _card_lines(made: Made) -> Iterator[str]:
    path = made.folder / "card.yaml"
    yield f"method card: {path}, {made.folder / 'card.md'}"
    written = yaml_text.read(path)
    asked = {"paper": "--paper", "code": "--code", "requires_ood_data": "--ood-data or --no-ood-data"}
    asked |= {"requires_retraining": "--retraining or --no-retraining"}
    for key, option in asked.items():
        if written.get(key) == card.UNSAID:
            yield f"the board asks for {key}, which is not stated yet: {option}"


def plain_name(name: str) -> str:
    """The name of a method as a folder. Raise UsageError if it is none."""
    if not name or not all(letter.isascii() and (letter.isalnum() or letter in "-_.+") for letter in name):
        raise UsageError(f"--name is {name!r}, wanted letters, digits, '-', '_', '+' and '.': it names a folder")
    if name.startswith("."):
        raise UsageError(f"--name is {name!r}, which would be hidden; start it with a letter")
    return name


def check(
    path: Path, board: str | None, frames: Mapping[str, int], masks: Masks | None, sets: Sequence[str] = ()
) -> tuple[Board, Verdict, Archive]:
    """Hold an archive against the rules of its board. The archive stays open: the caller closes it."""
    archive = archives.opened(path)
    chosen = boards.meant(archive, board, frames, sets)
    return chosen, chosen.check(archive, masks), archive


@dataclass(frozen=True)
class Outcome:
    """What came of a dry run."""

    compared: Sequence[Compared]
    lines: Sequence[str]
    verdict: Verdict

    @property
    def passed(self) -> bool:
        return not self.verdict.failures and all(figure.agrees for figure in self.compared)


@dataclass(frozen=True)
class Claimant:
    """The results that figures are compared with: a run, and which of its methods and networks."""

    run: Path | None = None
    method: str | None = None
    model: str | None = None


def dry_run(
    path: Path,
    board: str | None,
    frames: Mapping[str, int],
    claimant: Claimant,
    masks: Masks | None,
    timeout: float,
    limit: int | None,
    sets: Sequence[str] = (),
) -> Outcome:
    """Check an archive, then evaluate it from its files, or run the package, and hold that against the claim."""
    chosen, verdict, archive = check(path, board, frames, masks, sets)
    try:
        if verdict.failures:
            return Outcome((), (), verdict)
        run = None
        if claimant.run is not None and not chosen.needs_run:  # a board that needs one has the claim in the archive
            run = dry_runs.of_method(store.read_run(claimant.run), claimant.model, claimant.method)
        record = archive_writer.record_of(path) or {}
        rerun = chosen.dry_run(archive, verdict, Trial(dry_runs.claimed_by(run), record, masks, timeout, limit))
    finally:
        archive.close()
    if rerun.lines:
        return Outcome(rerun.compared, rerun.lines, verdict)
    if not rerun.compared:
        raise MissingData(f"{path}: no labelled frame of it is here, so nothing was evaluated")
    lines = ["evaluated again from the files of the archive"]
    if all(figure.claimed is None for figure in rerun.compared):
        lines.append("nothing was compared: " + _why_not(claimant.run))
    return Outcome(rerun.compared, lines, verdict)


def _why_not(run: Path | None) -> str:
    return "name the run with --run" if run is None else f"{run} has no result on exactly these frames"


def make_entry(out: Path, returned: Path) -> Path:
    """``leaderboard_entry.json`` of the scores that the server returned and the card."""
    path = out / "card.yaml"
    try:
        about = yaml_text.read(path)
        scores = json.loads(returned.read_text(encoding="utf-8"))
    except (OSError, ValueError, BadYaml) as error:
        raise MissingData(f"{returned} and {path} are needed: {error}") from None
    able = {name: board for name, board in boards.usable().items() if board.entry is not Board.entry}
    if not isinstance(about, dict) or about.get("board") not in able:
        raise BadScores(f"{path} is no card of a submission to {' or '.join(able)}")
    if not isinstance(about.get("requires_ood_data"), bool):
        raise BadScores(f"{path} does not say requires_ood_data: make it again with --ood-data or --no-ood-data")
    links = {key: "" if about.get(key) == card.UNSAID else str(about.get(key)) for key in ("paper", "code")}
    facts = {"method": str(about.get("title")), "requires_ood": about["requires_ood_data"], **links}
    target = out / "leaderboard_entry.json"
    store.write_json(target, able[about["board"]]().entry(scores, facts, str(returned)))
    return target


def silenced(error: UserError) -> str:
    """What may stand in a public log: that it failed, and at what kind of thing, never a file or a figure."""
    return f"the evaluation could not be done ({type(error).__name__}); the private log says why"

"""What a board makes an archive of: one method on one network of a run or a suite."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from bench.api import CITYSCAPES, Board, Claim, Part, Submission
from bench.contract.progress import Reporter
from bench.core.errors import BadSuite, UsageError
from bench.results import store
from bench.results.store import Run
from bench.run import score_maps
from bench.submit import archive_writer, card, package
from bench.submit.card import Stated
from bench.suite import expansion as suites
from bench.suite.cells import Suite


class Source:
    """A suite, narrowed to one method on one network, and the run whose figures are the claim."""

    def __init__(self, run: Path | None, suite: str | None, method: str | None, model: str | None) -> None:
        if (run is None) == (suite is None):
            raise UsageError("say where the method comes from: either --run RUN or --suite SUITE")
        self.run: Run | None = store.read_run(run) if run else None
        path = run / "suite.yaml" if run else suites.locate(str(suite))
        self.suite: Suite = score_maps.narrowed(suites.load(path), method, model)


class Prepared(Submission):
    """A submission whose suite was checked and whose method is fitted."""

    def __init__(self, board: Board, source: Source, out: Path, stated: Stated, reporter: Reporter) -> None:
        self.choice = score_maps.choose(source.suite, reporter.advance, scored=board.scored)
        if board.scored and self.choice.method is None:
            raise BadSuite(f"{source.suite.name} has no method there; wanted one that scores pixels")
        self.board, self.out, self.title = board.name, out, stated.title
        self.model, self.model_label = self.choice.model.build(), self.choice.model.label
        self.method = self.choice.method.build() if self.choice.method else None
        self.method_label = self.choice.method.label if self.choice.method else ""
        self._run, self._stated, self._reporter = source.run, stated, reporter

    def claims(self, *protocols: str) -> list[Claim]:
        return card.claims(self._run, self.choice, protocols) if self._run else []

    def archive(
        self,
        parts: Sequence[Part],
        about: Mapping[str, Any],
        processes: int = 1,
        ending: Literal[".zip", ".tar"] = ".zip",
    ) -> dict[str, Any]:
        path = self.out / f"{self.title}{ending}"
        return archive_writer.write(self.choice, path, parts, about, processes, self._reporter)

    def stamp(self, part: Part) -> str:
        return archive_writer.stamp(self.choice, part)

    def maps(self, part: Part, processes: int = 1) -> Path:
        return archive_writer.maps(self.choice, self.out, part, processes, self._reporter)

    def package(self, folder: Path) -> dict[str, Any]:
        return package.fill(folder, self.choice)

    def card(self, folder: Path, claims: Sequence[Claim], seconds: float | None, more: Mapping[str, Any]) -> None:
        card.write(folder, card.made(self.board, self._stated, self.choice, claims, seconds, more))


def check_classes(submission: Submission) -> None:
    """Raise BadSuite unless the network has the 19 classes of Cityscapes in their order: boards read numbers."""
    names = submission.model.class_names
    if names != CITYSCAPES:
        shown = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
        raise BadSuite(
            f"{submission.model_label} has {len(names)} classes ({shown}), wanted the 19 classes of Cityscapes in their"
            f" order, which the board reads by number: name another network of the suite with --model"
        )

"""Leaderboards: what one takes, how an archive for it is made and checked, and how that is evaluated again."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

from bench.contract.dataset import Dataset
from bench.contract.method import Method
from bench.contract.network import SegModel
from bench.contract.plugin import PlugIn
from bench.core.archives import Archive, Failure
from bench.core.values import Labels, Scores, Undefined, Value

Sink = Callable[[str, Scores | None, Labels | None], None]  # id, score, class map; called from several threads
PRINTED = 20  # failures that are printed one by one


@dataclass(frozen=True)
class Option:
    """Marks a parameter of a board as an option of ``bench submit NAME``; all of them are, and this says how."""

    help: str = ""
    metavar: str = ""  # such as SET,...; the type where it is empty
    flag: str = ""  # where the name of the field will not do


@dataclass(frozen=True)
class Part:
    """The maps of one set of frames in an archive."""

    name: str
    reader: Dataset
    ending: str  # of the file of a map, such as .hdf5
    member: Callable[[str], str]  # frame to its name in the archive
    sink: Callable[[Path], Sink]  # writes ``<frame><ending>`` into that folder; pickled where there are processes
    made_with: str  # whatever beside network, method and images decides the bytes of a map
    summary: Callable[[Path, Sequence[str]], Mapping[str, Any]] = lambda folder, ids: {}  # joins the record
    beside: Callable[[Path, str], Iterator[tuple[str, Path]]] = lambda folder, frame: iter(())  # more members and files
    roots: tuple[str, ...] = ()  # folders that have an entry of their own, where a server looks for it


@dataclass(frozen=True)
class Claim:
    """A full result of a run under one protocol: what a card claims."""

    protocol: str  # its label
    dataset: str  # its label
    dataset_entry: Mapping[str, Any]  # name and params
    images: int
    cell: str  # key of the result
    figures: Mapping[str, Value | Undefined]
    seconds: float  # CPU seconds of prediction and score, all images together


class Submission(ABC):
    """One method on one network, of a run or a suite, and where its archive goes: what ``Board.make`` is given."""

    out: Path  # the folder for whatever is made
    title: str  # what the method is called on the board; a legal name of a folder
    model: SegModel  # not loaded
    model_label: str
    method: Method | None  # None where the board takes class maps alone
    method_label: str

    @abstractmethod
    def claims(self, *protocols: str) -> list[Claim]:
        """The full results of the run by name of the protocol; empty where a suite alone was named."""

    @abstractmethod
    def archive(
        self,
        parts: Sequence[Part],
        about: Mapping[str, Any],
        processes: int = 1,
        ending: Literal[".zip", ".tar"] = ".zip",
    ) -> dict[str, Any]:
        """Write ``out/title.zip``, or with another ending, image by image, or go on where a killed call stopped.

        Return the record that stands beside it: ``archive``, ``sha256``, ``sets`` with the ``frames`` and the summary
        of each part. ``about`` is what else tells two archives apart.
        """

    @abstractmethod
    def stamp(self, part: Part) -> str:
        """Return 16 hex digits of what the maps of a part depend on."""

    @abstractmethod
    def maps(self, part: Part, processes: int = 1) -> Path:
        """Write what ``part`` makes of every frame into a folder, or go on where a killed call stopped; return it.

        Nothing of it is packed, and ``archive`` removes it.
        """

    @abstractmethod
    def package(self, folder: Path) -> dict[str, Any]:
        """Copy this project, the network, the method and their files into ``folder``; return what names them there."""

    @abstractmethod
    def card(self, folder: Path, claims: Sequence[Claim], seconds: float | None, more: Mapping[str, Any]) -> None:
        """Write ``card.yaml`` and ``card.md``. ``seconds`` are those of one image."""


@dataclass(frozen=True)
class Made:
    """The folder of the card that ``make`` wrote, and lines for people."""

    folder: Path
    lines: Sequence[str]


@dataclass
class Verdict:
    """The rules of a board that an archive keeps, and those that it breaks."""

    board: str
    archive: str
    failures: list[Failure] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)  # files by set

    def lines(self, *, public: bool = False) -> Iterator[str]:
        """For people; ``public`` names no file and no figure of the labelled frames, only how often each rule fails."""
        if public:
            for rule in sorted({failure.rule for failure in self.failures}):
                yield f"refused: {sum(failure.rule == rule for failure in self.failures)} files fail the rule {rule}"
        else:
            yield from (f"refused: {failure}" for failure in self.failures[:PRINTED])
            if len(self.failures) > PRINTED:
                yield f"refused: and {len(self.failures) - PRINTED} more"
            yield from (f"warning: {warning}" for warning in self.warnings)
            yield from (f"note: {note}" for note in self.notes)
        held = ", ".join(f"{name} {count}" for name, count in self.counts.items())
        broken = len(self.failures)
        outcome = f"{broken} rules are broken" if broken else "every rule that could be checked is kept"
        yield f"{self.archive}: {outcome}" + (f" ({held})" if held else "")


@dataclass(frozen=True)
class Masks:
    """Labels kept elsewhere: a folder of PNG files with 0, 1 and 255, and how these are named."""

    folder: Path
    pattern: str = "{id}.png"


@dataclass(frozen=True)
class Trial:
    """The options of a dry run, beside the archive."""

    # The run's figures, or none: of a protocol, by name or itself with its parameters, on exactly the frames of these
    # ids, and as many pixels, if that is said.
    claimed: Callable[..., Mapping[str, Value | Undefined]]
    record: Mapping[str, Any]  # that stands beside the archive, if it is about these bytes
    masks: Masks | None
    timeout: float  # seconds for a program
    limit: int | None  # images of a program; nothing is compared then


@dataclass(frozen=True)
class Compared:
    """One figure, evaluated from the files and as claimed."""

    where: str
    metric: str
    evaluated: float
    claimed: float | None  # None: nobody claims one
    tolerance: float

    @property
    def agrees(self) -> bool:
        return self.claimed is None or abs(self.evaluated - self.claimed) <= self.tolerance

    def __str__(self) -> str:
        if self.claimed is None:
            return f"{self.where}: {self.metric} {self.evaluated:.6f}"
        outcome = "agrees" if self.agrees else f"DIFFERS by {self.evaluated - self.claimed:+.6f}"
        return f"{self.where}: {self.metric} {self.evaluated:.6f}, claimed {self.claimed:.6f}, {outcome}"


@dataclass(frozen=True)
class Rerun:
    """The outcome of evaluating an archive again; ``lines`` say how a program ran, and are empty for files of maps."""

    compared: Sequence[Compared] = ()
    lines: Sequence[str] = ()


@dataclass(frozen=True)
class Board(PlugIn, ABC):
    """A leaderboard. Its parameters are the options of ``bench submit NAME``, its docstring the help of that command.

    A status is what was read on a page on a day. Nothing here asks the network.
    """

    title: ClassVar[str]
    status: ClassVar[str]
    checked: ClassVar[str] = ""  # the day or month in which the status was read: 2026-04-08; empty where nobody did
    page: ClassVar[str]
    takes: ClassVar[str]
    steps: ClassVar[tuple[str, ...]] = ()  # what is left to the user once the archive is there
    scored: ClassVar[bool] = True  # False: class maps alone, so that no method is named
    needs_run: ClassVar[bool] = False  # whether it asks for a claim, which a suite alone does not have

    @abstractmethod
    def recognises(self, members: Collection[str]) -> bool:
        """Return True if an archive with files of these names is for this board."""

    @abstractmethod
    def make(self, submission: Submission) -> Made:
        """Write the archive and its card. Killed and called again, it goes on and ends with the same bytes."""

    @abstractmethod
    def check(self, archive: Archive, masks: Masks | None = None) -> Verdict:
        """Hold an archive, made by anybody, against every rule of the server. It extracts and executes nothing."""

    def dry_run(self, archive: Archive, verdict: Verdict, trial: Trial) -> Rerun:
        """Evaluate an archive that keeps the rules as the server will; what fails meanwhile joins ``verdict``."""
        return Rerun()

    def entry(self, returned: Any, about: Mapping[str, Any], where: str) -> Mapping[str, Any]:
        """The entry of the leaderboard from the JSON that its server returned.

        ``about`` is method, requires_ood, paper and code. Only boards that override this make entries.
        """
        raise NotImplementedError

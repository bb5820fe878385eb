"""What a check found."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from bench.submit.archives import Failure

NAMED = 20  # failures that are printed one by one


@dataclass
class Verdict:
    """Whether an archive keeps the rules of a board."""

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
            yield from (f"refused: {failure}" for failure in self.failures[:NAMED])
            if len(self.failures) > NAMED:
                yield f"refused: and {len(self.failures) - NAMED} more"
            yield from (f"warning: {warning}" for warning in self.warnings)
            yield from (f"note: {note}" for note in self.notes)
        held = ", ".join(f"{name} {count}" for name, count in self.counts.items())
        said = f"{len(self.failures)} rules are broken" if self.failures else "every rule that could be checked is kept"
        yield f"{self.archive}: {said}" + (f" ({held})" if held else "")

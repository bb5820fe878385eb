"""The grammar of a suite file: which keys it may have, and what each may hold."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from bench.suite import limits
from bench.suite.wrappers.corrupted import Corruption

Entry = str | dict[str, Any]
Rule = Literal["mean", "bravo_index"]


class Section(BaseModel):
    """A part of a suite file: unknown keys and wrong types are refused, never guessed at."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class SummaryRule(Section):
    """A figure over several cells: the mean of each metric over the data sets that match, per model and method.

    ``rule: bravo_index`` makes the harmonic means of BRAVO instead; ``protocol`` is then a pattern for several.

    ``corruption``, ``family`` and ``severity`` keep the corrupted data sets that match; ``each`` makes one summary for
    every corruption, family or severity among what is left. Families are ImageNet-C's, ``source_family`` is the source
    system's own grouping of its 15 types.
    """

    name: str
    protocol: str  # or "*": one summary for each that ranks
    rule: Rule = Field(default="mean", exclude_if=lambda chosen: chosen == "mean")  # a suite is written as before
    dataset: str = "*"
    corruption: str | None = None
    family: str | None = None
    severity: int | None = None
    each: Literal["corruption", "family", "source_family", "severity"] | None = None

    def covers(self, protocol: str) -> bool:
        """Return True where the rule is about the protocol of that name or label."""
        if self.rule == "mean":
            return self.protocol in ("*", protocol)
        return fnmatchcase(protocol, self.protocol)

    def matches(self, dataset: str, corruption: Corruption | None) -> bool:
        """Return True where the mean runs over the data set of that label and corruption."""
        patterns = [(self.corruption, corruption and corruption.name), (self.family, corruption and corruption.family)]
        return (
            fnmatchcase(dataset, self.dataset)
            and all(pattern is None or (value and fnmatchcase(value, pattern)) for pattern, value in patterns)
            and (self.severity is None or (corruption is not None and corruption.severity == self.severity))
            and (self.each is None or (corruption is not None and self.value_of(corruption) != ""))
        )

    def value_of(self, corruption: Corruption) -> str:
        """Return the corruption, family or severity that ``each`` tells apart; empty for none."""
        values = {
            "corruption": corruption.name,
            "family": corruption.family,
            "source_family": corruption.source_family,
            "severity": f"severity {corruption.severity}",
        }
        return values[self.each or "corruption"]


class PointRule(Section):
    """A threshold chosen on one data set of the suite and carried to the others, per model and method."""

    name: str
    protocol: Literal["anomaly", "misclassification"]
    calibrate: str  # name or label of a data set; never judged itself
    rule: Literal["tpr95", "fpr05", "best_f1"] = "tpr95"


class ClaimRule(Section):
    """A method on a network of the suite that is the one of which figures were published; see ``bench list published``.

    The figures that count are those on the cells' data sets, as far as ``published`` chooses them.
    """

    model: str  # name or label
    method: str  # name or label
    published: dict[str, str] = Field(min_length=1)  # globs by column of the published figures
    weights: str = ""  # 16 hex digits: what the file of the network holds from which the figures were made


UNSAID: Any = Field(default=False, exclude_if=lambda chosen: not chosen)  # a suite is written as before there was it


class NumericsRule(Section):
    """The arithmetic of a run. ``auto`` takes the GPU where there is one."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    threads: int = Field(default=1, ge=1, le=limits.PROCESSES)  # of torch in each process, on a CPU
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"  # of the forward pass, by autocast; scores are float32
    tf32: bool = False  # on a GPU
    batch: int = Field(
        default=1, ge=1, le=limits.PROCESSES
    )  # equally sized views, of several images, in a forward pass
    channels_last: bool = UNSAID  # the layout of weights and activations
    compile: bool = UNSAID  # the network by torch.compile
    graphs: bool = UNSAID  # a forward pass replayed as a CUDA graph
    scoring: Literal["auto", "fused", "torch"] = "auto"  # reductions and counting; auto is fused on a CPU


class SuiteFile(Section):
    """The grammar of a suite."""

    name: str = ""  # of the run; the file's own without it
    title: str = ""
    note: str = ""
    protocols: list[Entry] = Field(min_length=1)
    models: list[Entry] = Field(min_length=1)
    datasets: list[Entry] = Field(min_length=1)
    methods: list[Entry] = []
    seed: int = Field(default=0, ge=0, le=limits.SEED)
    budget: int = Field(
        default=2**30, ge=2**16
    )  # bytes of exact keys that a cell may hold before it is certified instead
    bootstrap: int = Field(default=1000, ge=0, le=limits.RESAMPLES)
    resample: Literal["images", "groups"] = "images"  # groups: whole drives or sequences, whose images are alike
    numerics: NumericsRule = NumericsRule()
    summaries: list[SummaryRule] = []
    operating_points: list[PointRule] = []
    claims: list[ClaimRule] = []

"""The meaning of the values of labels and class maps, judged by all pixels of a set before anything is scored.

Labels alone are judged as readers do (``bench.core.label_values``). Where class maps stand beside them, the pixels
that both agree on tell more: two conventions that belong together agree nearly as often as the network is right.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from bench.api import IGNORE, Labels
from bench.core import label_values
from bench.core.errors import UsageError
from bench.core.label_values import CLASSES, Meaning, Values
from bench.counts import counting

LABELS, PREDICTIONS = "--label-values", "--prediction-values"
ALIKE = 0.5  # of the pixels that count must count under another convention, too, before it is thought of
TWICE = 2.0  # so many times as often must labels and class maps agree under it
LEAST = 0.3  # and at least on this share of the pixels
LITTLE = 0.01  # a difference in agreement that is not worth a word
NEVER = 0.005  # a share of pixels whose class no class map holds, from which on it is likely void


@dataclass
class Seen:
    """The values of all labels and class maps of a set, as they are stored."""

    frames: list[str] = field(default_factory=list)  # by id
    masks: list[label_values.Counts] = field(default_factory=list)  # of each of them, pixels by value
    pairs: NDArray[np.int64] = field(default_factory=lambda: np.zeros((256, 256), np.int64))  # [label, prediction]

    def add(self, frame: str, labels: Labels, predicted: Labels | None) -> None:
        """Take in one frame."""
        self.frames.append(frame)
        self.masks.append(np.bincount(labels.reshape(-1), minlength=256))
        if predicted is not None:
            self.pairs += counting.count_pairs(labels.reshape(-1), predicted.reshape(-1))


@dataclass(frozen=True)
class Said:
    """The user's own meaning of values; None where nothing was said."""

    labels: Values | None = None
    predictions: Values | None = None

    @classmethod
    def parsed(cls, labels: str | None, predictions: str | None) -> Said:
        """Return what two options say. Raise UsageError for words that say no such thing."""
        try:
            said = cls(
                label_values.parsed(labels, LABELS) if labels else None,
                label_values.parsed(predictions, PREDICTIONS) if predictions else None,
            )
            predicted(said.predictions)
        except ValueError as error:
            raise UsageError(str(error)) from None
        return said


@dataclass(frozen=True)
class _Reading:
    """One way to read both."""

    words: str  # what it takes them for
    labels: Values | None  # how it is asked for; None: as it is
    predictions: Values | None
    agreement: float  # share of the labelled pixels on which the class maps are right
    covered: float  # share of all pixels that are labelled
    never: float  # share of the labelled pixels whose class no class map holds
    classes: int  # of which some pixel is right

    @property
    def merit(self) -> float:
        return self.agreement - self.never

    @property
    def options(self) -> str:
        said = ((LABELS, self.labels), (PREDICTIONS, self.predictions))
        return " ".join(f"{option} {in_option(values)}" for option, values in said if values is not None)


def in_option(values: Values) -> str:
    """Return the values as an option spells them: ``label_ids`` or ``19=ignore``."""
    return values if isinstance(values, str) else ",".join(f"{key}={word}" for key, word in values.items())


def as_label_option(values: Values) -> str:
    """The option that says what labels mean."""
    return f"{LABELS} {in_option(values)}"


def doubt(seen: Seen, now: Meaning, said: Said, *, classes: int | None, fixed: bool) -> str:
    """Return why class labels and class maps can hardly mean what they are taken for; empty where they can.

    ``now`` is the meaning of the labels, ``classes`` how many there are, None where no protocol says, and ``fixed``
    that the labels are those of a reader, which knows what they mean.
    """
    count = classes or CLASSES
    labels, predictions = seen.pairs.sum(axis=1), seen.pairs.sum(axis=0)
    if not labels.any():  # no class maps
        alone = label_values.doubt(seen.masks, "labels", now, said=said.labels is not None, classes=count)
        return alone.text(as_label_option) if alone else ""
    open_ended = classes is None and said.labels is None
    unknown = [value for value in _held(labels) if value not in now or (open_ended and _is_no_class(seen, value))]
    if unknown and said.labels is not None:
        return f"labels hold {label_values.shares(labels, unknown)}; {LABELS} does not say what {unknown[0]} means"
    plain = _reading(seen, "", now, None, predicted(said.predictions), None)
    others = [] if fixed and said.predictions is not None else list(_others(seen, now, said, count, fixed=fixed))
    usable = [each for each in others if each.covered >= ALIKE * plain.covered and each.classes > 1]
    best = max(usable, key=lambda each: each.merit, default=None)
    if unknown:
        if best is not None and best.agreement >= min(LEAST, plain.agreement):
            return _text(seen, plain, best, unknown if classes else ())
        alone = label_values.doubt(seen.masks, "labels", label_values.train_ids(count), classes=count)
        told = alone.text(as_label_option) if alone else ""
        more = f"; the class maps hold {max(unknown) + 1} classes: say miou:classes={max(unknown) + 1}"
        return told + (more if all(seen.pairs[value, value] for value in unknown) else "")
    if said.labels is not None and said.predictions is not None:
        return ""
    if best is not None and best.agreement >= max(LEAST, TWICE * plain.agreement):
        return _text(seen, plain, best)
    ids = open_ended and max(_held(predictions)) >= CLASSES  # such values are in label ids, and in more classes
    if best is None or best.agreement < plain.agreement:
        return _two_classes(labels, predictions, plain, said)
    if (plain.never > NEVER and best.never < plain.never / 5) or (ids and best.predictions == "label_ids"):
        return _text(seen, plain, best)
    return _two_classes(labels, predictions, plain, said)


def _is_no_class(seen: Seen, value: int) -> bool:
    """Return whether a value beyond the 19 classes is one that no class map ever holds where labels do."""
    return CLASSES <= value < IGNORE and not seen.pairs[value, value]


def _others(seen: Seen, now: Meaning, said: Said, count: int, *, fixed: bool) -> Iterator[_Reading]:
    """The other conventions in which all values are legal."""
    labels, predictions = set(_held(seen.pairs.sum(axis=1))), set(_held(seen.pairs.sum(axis=0)))
    known = label_values.conventions(count)
    of_labels: list[tuple[str, Values | None, Meaning]] = []
    if set(labels) <= set(now):
        of_labels.append(("", None, now))
    if said.labels is None and not fixed:
        void: Values = {str(count): "ignore"}
        candidates: list[tuple[str, Values, Meaning]] = [
            (f"no class map holds {count}, which fits void", void, {**label_values.train_ids(count), count: IGNORE}),
            ("the labels count classes from 1", "from_1", known["from_1"]),
        ]
        if "label_ids" in known:
            candidates.append(("the labels are label ids of Cityscapes", "label_ids", known["label_ids"]))
        of_labels += [
            each for each in candidates if labels <= set(each[2]) and (count in labels or each[1] is not void)
        ]
    of_predictions: list[tuple[str, Values | None, Meaning]] = [("", None, predicted(said.predictions))]
    if said.predictions is None:
        if "label_ids" in known and predictions <= {*label_values.LABEL_IDS, IGNORE}:
            words = "the class maps hold label ids of Cityscapes"
            of_predictions.append((words, "label_ids", known["label_ids"]))
        if 0 not in predictions and predictions <= set(range(count + 1)):
            of_predictions.append(("the class maps count classes from 1", "from_1", known["from_1"]))
    for label_words, label_value, label_means in of_labels:
        for words, value, means in of_predictions:
            if label_value is not None or value is not None:
                both = " and ".join(filter(None, (label_words, words)))
                yield _reading(seen, both, label_means, label_value, means, value)


def _reading(
    seen: Seen, words: str, labels: Meaning, asked: Values | None, predictions: Meaning, asked_too: Values | None
) -> _Reading:
    truth, classes = table(labels), table(predictions)
    counted = np.where(truth == IGNORE, 0, seen.pairs.sum(axis=1))
    total = int(counted.sum())
    hits = np.where(truth[:, None] == classes[None, :], seen.pairs, 0).sum(axis=1)
    right = int(hits[truth != IGNORE].sum())
    agreed = len({int(value) for value in truth[(hits > 0) & (truth != IGNORE)]})
    held = {int(value) for value in classes[seen.pairs.sum(axis=0) > 0]}
    never = int(counted[[int(value) not in held for value in truth]].sum())
    whole = int(seen.pairs.sum())
    return _Reading(
        words, asked, asked_too, right / max(total, 1), total / max(whole, 1), never / max(total, 1), agreed
    )


def predicted(values: Values | None) -> Meaning:
    """The meaning of predictions: a value is its class unless somebody says otherwise."""
    every = {value: value for value in range(256)}
    known = {**label_values.conventions(), "train_ids": every}
    return label_values.meaning(values, every, "labels", known)


def table(meaning: Mapping[int, int]) -> Labels:
    """The meaning of each stored value, uint8 [256]; IGNORE for those that have none. There no prediction is right."""
    made = np.full(256, IGNORE, np.uint8)
    made[list(meaning)] = list(meaning.values())
    return made


def _text(seen: Seen, plain: _Reading, best: _Reading, unknown: Sequence[int] = ()) -> str:
    labels, predictions = seen.pairs.sum(axis=1), seen.pairs.sum(axis=0)
    more = best.agreement - plain.agreement > LITTLE
    then = f", and then they agree on {_percent(best.agreement)}" if more else ""
    option = LABELS if best.labels else PREDICTIONS
    kept = "" if unknown else f", or {option} train_ids if they are right as they are"
    return (
        f"labels hold {label_values.shares(labels, unknown)}, class maps {label_values.shares(predictions)}, and they"
        f" agree on {_percent(plain.agreement)} of the pixels; {best.words}{then}: say {best.options}{kept}"
    )


def _two_classes(labels: NDArray[np.int64], predictions: NDArray[np.int64], plain: _Reading, said: Said) -> str:
    """Return that one side holds 0 and 1 alone where the other has more classes."""
    if plain.agreement >= ALIKE:
        return ""
    sides = (("labels", LABELS, labels, said.labels), ("class maps", PREDICTIONS, predictions, said.predictions))
    for (name, option, counts, values), (_, _, others, _) in (sides, sides[::-1]):
        held, beside = set(_held(counts)) - {IGNORE}, set(_held(others)) - {IGNORE}
        if values is None and held <= {0, 1} and not beside <= {0, 1}:
            return (
                f"{name} hold {label_values.shares(counts)} alone, the others {label_values.shares(others)}: are these"
                f" masks of anomalies, or of two classes? if they are right as they are: say {option} train_ids"
            )
    if not set(_held(labels)) & set(_held(predictions)) and said.predictions is None:
        return (
            f"labels hold {label_values.shares(labels)}, class maps {label_values.shares(predictions)}: they share no"
            f" value, and no pixel can be right; say {PREDICTIONS}, such as 24=0, or {LABELS}"
        )
    return ""


def _held(counts: NDArray[np.int64]) -> Sequence[int]:
    held: list[int] = np.flatnonzero(counts).tolist()
    return held


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"

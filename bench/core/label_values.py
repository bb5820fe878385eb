"""The meaning of the values in label files, and whether the values of a whole set fit it: train ids, label ids, masks.

No file says in which convention it was written. So the values of all files together, and their shares, are held
against the one that is asked for; where another fits better, a Doubt names it and the words that ask for it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bench.core.values import IGNORE

LABEL_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
"""The label id of each train id of Cityscapes (cityscapesScripts, labels.py)."""
ALL_IDS = (*range(34), IGNORE)  # the licence plate's id is -1, which is 255 in an 8-bit file
CLASSES = len(LABEL_IDS)

Kind = Literal["labels", "anomaly"]
Values = str | Mapping[str, str | int]
"""A convention by name (train_ids, label_ids, from_1), or what some values mean, such as ``{"19": "ignore"}`` or
``{"0-18": "normal"}``; the others keep their meaning. A number is a class. ``meaning`` refuses any other word."""
Meaning = Mapping[int, int]  # stored value -> class, or 0 normal and 1 anomaly; 255 ignored
Counts = NDArray[np.int64]  # [256]: pixels by stored value
Spell = Callable[[Values], str]  # how a place asks for values, such as "values: {19: ignore}"

ANOMALY: Meaning = {0: 0, 1: 1, IGNORE: IGNORE}
_WORDS: Mapping[str, int] = {"ignore": IGNORE, "normal": 0, "anomaly": 1}
_RANGE = re.compile(r"(\d{1,3})(?:-(\d{1,3}))?")
SHOWN = 5  # values whose share is said
PICTURE = 40  # so many values are those of a photograph
_AGAIN = "if it should not be there: unpack or make it again"
CLEAR = 1.5  # so many times as many pixels decide
GREY = 32  # from here on a value of a mask may be a grey between black and white


def train_ids(classes: int = CLASSES) -> Meaning:
    """Values are classes, counted from 0; 255 is ignored."""
    return {value: value for value in (*range(classes), IGNORE)}


def from_1(classes: int = CLASSES) -> Meaning:
    """Values are classes, counted from 1; 0 and 255 are ignored."""
    return {0: IGNORE, IGNORE: IGNORE} | {value + 1: value for value in range(classes)}


def label_ids() -> Meaning:
    """Label ids of Cityscapes; those of no class are ignored."""
    return dict.fromkeys(ALL_IDS, IGNORE) | {value: train for train, value in enumerate(LABEL_IDS)}


def conventions(classes: int = CLASSES) -> Mapping[str, Meaning]:
    """Return the meaning of each name; label ids exist for the 19 classes alone."""
    known: dict[str, Meaning] = {"train_ids": train_ids(classes), "from_1": from_1(classes)}
    return known | ({"label_ids": label_ids()} if classes == CLASSES else {})


def meaning(values: Values | None, base: Meaning, kind: Kind, known: Mapping[str, Meaning]) -> Meaning:
    """Return what stored values mean where ``base`` is what they mean unsaid, and ``known`` are names that may be said.

    Raise ValueError for words that say no such thing.
    """
    if values is None:
        return base
    if isinstance(values, str):
        if values not in known:
            names = f"{', '.join(sorted(known))}, or " if known else ""
            raise ValueError(f"values is {values!r}, wanted {names}what values mean, such as {{{_example(kind)}}}")
        return known[values]
    changed = dict(base)
    for key, word in values.items():
        changed |= dict.fromkeys(_range(key), _meant(word, kind))
    return changed


def _range(key: str) -> range:
    match = _RANGE.fullmatch(str(key).strip())
    first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
    if not first <= last <= 255:
        raise ValueError(f"values names {str(key)[:20]!r}, wanted a value from 0 to 255, or a range such as 0-18")
    return range(first, last + 1)


def _meant(word: str | int, kind: Kind) -> int:
    words = ("ignore", "normal", "anomaly") if kind == "anomaly" else ("ignore",)
    if word in words:
        return _WORDS[str(word)]
    if kind == "labels" and isinstance(word, int) and 0 <= word < IGNORE:
        return word
    numbers = " or the number of a class" if kind == "labels" else ""
    raise ValueError(f"values says {str(word)[:20]!r}, wanted {', '.join(words)}{numbers}")


def _example(kind: Kind) -> str:
    return "255: anomaly" if kind == "anomaly" else "19: ignore"


def parsed(text: str, option: str) -> Values:
    """Return what an option says: a name, or ``19=ignore,20-30=ignore``. Raise ValueError for anything else."""
    if "=" not in text:
        if text not in conventions():
            raise ValueError(f"{option} is {text[:40]!r}, wanted {', '.join(conventions())}, or such as 19=ignore")
        return text
    said: dict[str, str | int] = {}
    for part in text.split(","):
        value, _, word = (piece.strip() for piece in part.partition("="))
        if value in said:
            raise ValueError(f"{option} says twice what {value[:20]} means")
        said[value] = int(word) if word.isascii() and word.isdecimal() else word
    return said


def spelled(values: Values) -> str:
    """Return the values as a suite spells them: ``label_ids`` or ``{19: ignore}``."""
    if isinstance(values, str):
        return values
    return "{" + ", ".join(f"{key}: {word}" for key, word in values.items()) + "}"


def in_suite(values: Values) -> str:
    """The parameter of a reader."""
    return f"values: {spelled(values)}"


@dataclass(frozen=True)
class Doubt:
    """Why the values of a set can hardly mean what they are taken for."""

    cause: str
    fits: Sequence[tuple[str, Values]] = ()  # what they may be, and how that is asked for; the likeliest first
    keep: Values | None = None  # how it is said that they are right as they are; None: they cannot be
    advice: str = ""  # where nothing fits

    def text(self, spell: Spell) -> str:
        """One clause for people."""
        parts = [self.cause, *(f"{words}: say {spell(values)}" for words, values in self.fits)]
        parts += [self.advice] if self.advice else []
        parts += [f"if they are right as they are: say {spell(self.keep)}"] if self.keep else []
        return "; ".join(parts)


def doubt(
    masks: Sequence[Counts],
    kind: Kind,
    now: Meaning,
    *,
    said: bool = False,
    classes: int = CLASSES,
    streets: bool = True,
) -> Doubt | None:
    """Return why the values of all masks together can hardly mean ``now``; None where they can.

    ``masks`` are the pixels of each by stored value. ``said``: the user says what values mean, so that only those
    without a meaning are doubted. ``classes`` is how many there are; the shares that tell conventions apart are those
    of the 19 classes of Cityscapes, and looked at where the classes are these: ``streets``.
    """
    if not masks or not (counts := np.sum(masks, axis=0)).any():
        return None
    if unknown := sorted(set(_held(counts)) - set(now)):
        return _unknown(masks, counts, kind, now, unknown, classes, streets=streets)
    if said:
        return None
    return _no_anomaly(counts, now) if kind == "anomaly" else _odd_classes(counts, now, classes, streets=streets)


def likely(held: Collection[int], classes: int) -> tuple[str, str]:
    """The convention of a class map that holds values beyond its classes, in words and by name; empty if none fits."""
    if classes == CLASSES and set(held) <= {*LABEL_IDS, IGNORE}:
        return "label ids of Cityscapes", "label_ids"
    if set(held) <= set(range(1, classes + 1)):
        return "classes counted from 1", "from_1"
    return "", ""


def fit(masks: Sequence[Counts], now: Meaning) -> bool:
    """Return whether every value of every mask has a meaning."""
    return all(set(_held(counts)) <= set(now) for counts in masks)


def most(masks: Sequence[Counts], *, beyond: Meaning) -> bool:
    """Return whether more than half of the masks hold values that ``beyond`` gives no meaning."""
    return sum(not fit([counts], beyond) for counts in masks) > len(masks) / 2


def _held(counts: Counts) -> list[int]:
    held: list[int] = np.flatnonzero(counts).tolist()
    return held


def _unknown(
    masks: Sequence[Counts],
    counts: Counts,
    kind: Kind,
    now: Meaning,
    unknown: Sequence[int],
    classes: int,
    *,
    streets: bool,
) -> Doubt:
    """Values that have no meaning."""
    held = set(_held(counts))
    right = [each for each in masks if fit([each], now)]
    where = f" in {len(masks) - len(right)} of {len(masks)} files" if right else ""
    cause = f"all masks together hold {shares(counts, unknown, where)}, wanted {words_of(now)}"
    if len(held) > PICTURE:
        return Doubt(cause, advice="so many values are a picture: was it resized with interpolation, or kept as JPEG?")
    if kind == "anomaly":
        return _unknown_in_mask(now, held, unknown, cause)
    if streets and classes == CLASSES and held <= set(ALL_IDS) and max(held - {IGNORE}) > classes:
        if all(_like_label_ids(each) for each in right):
            return Doubt(cause, [("they fit label ids of Cityscapes", "label_ids")])
        return Doubt(cause, advice="some files fit label ids and others train ids: make those again that differ")
    uncounted: Values = {run: "ignore" for run in runs_of(unknown)}
    if list(unknown) != [classes]:
        return Doubt(cause, [(f"if {_listed(_words(unknown))} counts nowhere", uncounted)], advice=_AGAIN)
    void: tuple[str, Values] = (f"{classes} fits void", uncounted)
    if 0 not in held or counts[1] > CLEAR * counts[0]:
        return Doubt(cause, [("they fit classes counted from 1", "from_1")])
    if counts[0] > CLEAR * counts[1]:
        return Doubt(cause, [void])
    return Doubt(cause, [void, ("or, if 0 is void, they fit classes counted from 1", "from_1")])


def _unknown_in_mask(now: Meaning, held: Collection[int], unknown: Sequence[int], cause: str) -> Doubt:
    anomalies = {value for value, means in now.items() if means == 1}
    if len(unknown) > 3 and set(held) <= set(ALL_IDS):
        return Doubt(cause, advice="these are classes and no masks of anomalies: are they the labels of another task?")
    only = unknown[0] if len(unknown) == 1 else None
    if not anomalies & set(held):
        if set(held) <= {0, 1, IGNORE} and 1 in unknown:
            said: Values = {str(value): "anomaly" if value == 1 else "ignore" for value in unknown}
            return Doubt(cause, [("1 fits the anomaly", said)])
        if only is not None and IGNORE in held and only != IGNORE and only > GREY:
            between: Values = {str(only): "ignore", "255": "anomaly"}
            return Doubt(cause, [("255 fits the anomaly", between), (f"or {only} does", {str(only): "anomaly"})])
        if only is not None:
            return Doubt(cause, [(f"{only} fits the anomaly", {str(only): "anomaly"})])
    uncounted: Values = {run: "ignore" for run in runs_of(unknown)}
    words = f"if {_listed(_words(unknown))} counts nowhere (else normal, or anomaly)"
    return Doubt(cause, [(words, uncounted)], advice=_AGAIN)


def _no_anomaly(counts: Counts, now: Meaning) -> Doubt | None:
    """No pixel of a whole set is an anomaly."""
    held = set(_held(counts))
    if any(now[value] == 1 for value in held):
        return None
    nothing = f"all masks together hold {shares(counts)}, and none of these is an anomaly: no figure can be computed"
    if ignored := sorted(value for value in held if now[value] == IGNORE and value != 0):
        value = ignored[-1]
        return Doubt(
            nothing,
            [(f"{value} counts as ignored; if it is the anomaly", {str(value): "anomaly"})],
            {str(value): "ignore"},
        )
    positive = min((value for value, means in now.items() if means == 1), default=1)
    return Doubt(nothing, keep={str(positive): "anomaly"})


def _odd_classes(counts: Counts, now: Meaning, classes: int, *, streets: bool) -> Doubt | None:
    """Class values that are legal and hardly mean it."""
    held = set(_held(counts)) - {IGNORE}
    everything = f"all masks together hold {shares(counts)}"
    plain = all(now[value] == value for value in held)
    asked = "train_ids" if plain else "label_ids"
    if all(now[value] == IGNORE for value in held):
        return Doubt(f"{everything}, and every pixel is ignored", keep={"255": "ignore"})
    if plain and classes > 2 and held <= {0, 1}:
        return Doubt(
            f"{everything} alone, wanted classes 0..{classes - 1}: are these masks of anomalies, or of two classes?",
            keep=asked,
        )
    if not streets or classes != CLASSES:
        return None
    if plain and _is_road_7(counts):
        return Doubt(everything, [("their shares fit label ids of Cityscapes", "label_ids")], asked)
    if not plain and held <= set(range(classes)) and counts[0] + counts[2] > counts[7]:
        return Doubt(f"{everything}, wanted label ids, which go up to 33", [("they fit train ids", "train_ids")], asked)
    if plain and 0 not in held and len(held) > 2 and counts[1] == counts[:IGNORE].max():
        return Doubt(f"{everything} without 0, road", [("they fit classes counted from 1", "from_1")], asked)
    return None


def _like_label_ids(counts: Counts) -> bool:
    """Return whether values fit label ids better than train ids.

    They hold classes alone and void, which train ids do not, or 7, as a train id a traffic sign and as a label id the
    road, has more pixels than train ids of road and building.
    """
    return set(_held(counts)) <= {0, *LABEL_IDS, IGNORE} or _is_road_7(counts)


def _is_road_7(counts: Counts) -> bool:
    return bool(counts[7] > counts[0] + counts[2])


def shares(counts: Counts, some: Sequence[int] = (), where: str = "") -> str:
    """The values with their shares of all pixels, or as ranges and the share of ``some``, which are ``where``."""
    held = _held(counts)
    total = int(counts.sum())
    if len(held) <= SHOWN:
        told = _listed([f"{value} ({percent(int(counts[value]), total)})" for value in held])
        return f"{told} ({_listed(_words(some))}{where})" if where else told
    told = _listed(_words(held))
    if not some:
        return told
    apart = sum(int(counts[value]) for value in some)
    return f"{told} ({_listed(_words(some))}: {percent(apart, total)} of the pixels{where})"


def percent(part: int, whole: int) -> str:
    """A share in percent, such as ``6.25 %``."""
    share = 100 * part / whole
    return f"{share:.3g} %" if share >= 0.01 else "<0.01 %"


def words_of(now: Meaning) -> str:
    """The values that have a meaning, such as ``0..18 or 255``."""
    words = _words(sorted(now))
    return f"{', '.join(words[:-1])} or {words[-1]}" if len(words) > 1 else words[0]


def _words(values: Sequence[int]) -> list[str]:
    words = []
    for run in runs_of(values):
        first, _, last = run.partition("-")
        words += [first, last] if last and int(last) == int(first) + 1 else [run.replace("-", "..")]
    return words


def runs_of(values: Sequence[int], dash: str = "-") -> list[str]:
    """Return ascending values as runs, such as ``0-18`` and ``255``."""
    runs: list[list[int]] = []
    for value in values:
        if runs and value == runs[-1][-1] + 1:
            runs[-1].append(value)
        else:
            runs.append([value])
    return [f"{run[0]}{dash}{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs]


def _listed(texts: Sequence[str]) -> str:
    return f"{', '.join(texts[:-1])} and {texts[-1]}" if len(texts) > 1 else texts[0]

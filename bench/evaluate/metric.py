"""``bench.Metric``: protocols over score maps as they are made, in a validation loop or a process of many.

The loop, the counts and the figures are those of ``bench score``. Imports no torch; tensors are taken as they come.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from bench.api import IGNORE, Labels, Protocol, Quantized, Sample
from bench.core import files, label_values, rows, untrusted_arrays
from bench.core.errors import BadScores, MissingData
from bench.core.foreign_arrays import Array, whole_numbers
from bench.core.untrusted_arrays import Unreadable
from bench.counts.tally import Tally
from bench.evaluate.computed import Computed
from bench.evaluate.counting import Counting
from bench.evaluate.evaluation import Evaluation, Report
from bench.evaluate.files import plain_map
from bench.evaluate.image_arrays import image_arrays
from bench.evaluate.kept_maps import KeptMaps
from bench.evaluate.lint import against_chance
from bench.evaluate.stored_image import StoredImage
from bench.metrics.accumulate import CountedTwice, ScoredImage, Truth
from bench.suite import arguments, parameters, registry

if TYPE_CHECKING:
    from bench.evaluate.integrations.torchmetrics import TorchMetric

ProtocolEntry = str | Mapping[str, Mapping[str, object]] | Protocol
"""A protocol by name, as on the command line (``components:min_predicted=20``), as in a suite, or itself."""

SCHEMA = 1  # of a saved file
RESIZE = "such as by torch.nn.functional.interpolate"


class Metric:
    """Figures of score maps under one protocol or several, with intervals, exact in bounded memory.

    ::

        metric = bench.Metric("anomaly")
        for image, labels in validation:
            metric.update(scores(image), labels)
        metric.compute()["ap"]

    What it keeps of all images are counts and a row of each, so it can be merged: what several processes counted is
    what one would have. A protocol with a second phase, such as ``components``, looks at every map again once all are
    known: update with all of them ``while metric.again()``, or have them kept on disk by ``keep="disk"``.
    """

    def __init__(
        self,
        *protocols: ProtocolEntry,
        keep: Literal["disk"] | Path | None = None,
        seed: int = 0,
        resamples: int = 1000,
        budget: int = 2**30,
    ) -> None:
        """Raise UnknownName or BadSuite for what is no protocol.

        ``keep``: ``"disk"`` keeps every map in a folder that goes with the metric, a Path in that folder, which stays.
        ``seed`` and ``resamples`` are those of the intervals, 0 for none; ``budget`` is the bytes of exact keys before
        figures are certified to within their ``err``, as for ``bench score``.
        """
        if not protocols:
            raise BadScores("Metric() names no protocol; say one, such as bench.Metric('anomaly')")
        self.protocols: tuple[Protocol, ...] = tuple(map(_protocol, protocols))
        reads = {protocol.reads: protocol.name for protocol in self.protocols if protocol.reads}
        if len(reads) > 1:
            both = " and ".join(f"{name} reads a {kind}" for kind, name in sorted(reads.items()))
            raise BadScores(f"{both}: the same maps cannot be both; make a Metric of each")
        if keep is not None and keep != "disk" and not isinstance(keep, Path):
            raise BadScores(f"Metric: keep is {keep!r}; wanted 'disk', or a Path for a folder that stays")
        if resamples < 0 or budget < 1:
            raise BadScores(f"Metric: resamples is {resamples}, wanted 0 or more; budget is {budget}, wanted bytes")
        self.seed, self.resamples, self.budget = seed, resamples, budget
        self._keep = keep
        self._needs = frozenset[str]().union(*(protocol.needs for protocol in self.protocols))
        self._legal = {kind: _legal(kind, self.protocols) for kind in ("labels", "anomaly")}
        self.reset()

    def reset(self) -> None:
        """Forget all images."""
        self._counting = Counting(self.protocols, self.budget)
        self._maps = KeptMaps(self._keep) if self._keep and self._counting.two_phase else None
        self._updates = 0  # images of this pass

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self._counting.ids)

    def __repr__(self) -> str:
        labels = ", ".join(repr(parameters.label(protocol)) for protocol in self.protocols)
        return f"bench.Metric({labels}), {len(self)} images"

    def update(
        self,
        scores: Array | None,
        labels: Array,
        predictions: Array | None = None,
        *,
        anomaly: Array | None = None,
        id: str | Sequence[str] | None = None,
    ) -> None:
        """Count one image, or a batch of them, all alike in size. Higher scores are more suspicious.

        ``scores`` are numbers [H, W] or [B, H, W], NumPy or torch on any device; None where no protocol reads any.
        ``labels`` are whole numbers of that shape: 0 normal, 1 anomaly and 255 ignored, or train ids and 255 for
        protocols of class labels, which also need ``predictions``, the class map. A protocol that needs train ids and a
        mask is given the mask as ``anomaly``. ``id`` names each image: it tells images of merged metrics apart, and the
        resamples of intervals are drawn by it. Unnamed ones are numbered.

        Raises BadScores for what cannot be counted, before anything of the batch is.
        """
        if self._counting.done and self._counting.two_phase:
            raise BadScores("the second phase is over, and no image can be added any more; reset() the metric first")
        arrays = dict(self._by_image(scores, labels, predictions, anomaly, id))
        images = [self._image(name, of_image) for name, of_image in arrays.items()]
        again = self._counting.at != "count"
        known, names = set(self._counting.ids), [image.truth.sample.id for image in images]
        for name in names:
            if again and name not in known:
                raise BadScores(f"image {name} was not in the first pass; update with the same images again")
            if name in (self._counting.seen if again else known):
                raise BadScores(f"image {name} is counted twice; give each image an id of its own")
        for image in images:
            self._counting.add(image)
            if self._maps is not None:
                self._maps.add(image.truth.sample.id, arrays[image.truth.sample.id])
        self._updates += len(images)

    def again(self) -> bool:
        """End a pass over the images; return whether all of them must come once more, under the same ids.

        True for a protocol with a second phase whose maps are not kept on disk. Raises BadScores if some are missing.
        """
        if self._maps is not None or not self._counting.two_phase or self._counting.done:
            return False
        self._require_images()
        self._require_whole_pass()
        self._updates = 0
        return self._counting.goes_on()

    def compute(self) -> Computed:
        """Return the figures of all images so far; more may follow, unless a protocol has a second phase.

        Raises BadScores without an image, or before a second phase is over.
        """
        self._require_images()
        counting = self._counting
        if not counting.done and self._maps is not None:
            counting = Counting(self.protocols, self.budget)
            counting.merge(self._counting)
            while counting.goes_on():
                for name, arrays in self._maps.read():
                    counting.add(self._image(name, arrays))
        elif not counting.done and counting.at == "count":
            name = counting.two_phase[0].name
            raise BadScores(
                f"{name} looks at every map again once all are known: 'while metric.again():' update with the same"
                " images once more, or have them kept, Metric(..., keep='disk')"
            )
        elif not counting.done:
            self._require_whole_pass()
            raise BadScores("the pass over the images has not ended: say 'while metric.again():' around it")
        counted = counting.figures(self.seed, self.resamples)
        evaluations = tuple(Evaluation(each.protocol, each.images, each.figures, each.pixels) for each in counted)
        return Computed(Report(evaluations, tuple(against_chance(counted))))

    def empty(self) -> Self:
        """Return another metric of the same protocols and settings, without an image."""
        settings = {"seed": self.seed, "resamples": self.resamples, "budget": self.budget}
        return type(self)(*self.protocols, keep=self._keep, **settings)

    def merge(self, other: Metric, *, prefix: str = "") -> None:
        """Add the images of another metric of the same protocols; it stays as it is.

        ``prefix`` is put before the ids of its images, for those that were only numbered. Raises BadScores for other
        protocols, another budget, an image in both, or a second phase that has begun.
        """
        if self.protocols != other.protocols or self.budget != other.budget:
            raise BadScores(f"{other!r} counts otherwise than {self!r}; merge metrics of equal protocols and budgets")
        if "second" in (self._counting.at, other._counting.at) or "settle" in (self._counting.at, other._counting.at):
            raise BadScores("a second phase has begun, which looks at the images of both; merge before again()")
        if (self._maps is None) != (other._maps is None):
            raise BadScores("one of the two keeps its maps on disk; say the same keep= of both")
        try:
            self._counting.merge(other._counting, prefix)
        except CountedTwice as error:
            raise BadScores(
                f"image {error.sample} is in both; name the images of each, update(..., id=...), so that they differ"
            ) from None
        if self._maps is not None and other._maps is not None:
            self._maps.merge(other._maps, prefix)

    def as_torchmetrics(self, **settings: Any) -> TorchMetric:
        """Return an empty ``torchmetrics.Metric`` of the same protocols; ``settings`` are those of that class."""
        from bench.evaluate.integrations.torchmetrics import TorchMetric

        return TorchMetric(self, **settings)

    def save(self, path: Path | str) -> None:
        """Write all that was counted to one file, for ``load``; none of the maps is in it."""
        with files.writing(Path(path)) as file:
            np.savez(file, allow_pickle=False, **self._arrays())

    @classmethod
    def load(cls, path: Path | str) -> Self:
        """Return a metric that was saved. Raises MissingData for a file that is none."""
        try:
            return cls._of_arrays(untrusted_arrays.read_all(Path(path), lambda _: True))
        except Unreadable as error:
            raise MissingData(f"{path}: {error}; wanted a file that Metric.save wrote") from None
        except (KeyError, ValueError, TypeError, IndexError, AttributeError, OverflowError) as error:
            raise MissingData(f"{path} is no file that Metric.save wrote: {error}") from None

    def __getstate__(self) -> bytes:
        content = io.BytesIO()
        np.savez(content, allow_pickle=False, **self._arrays())
        return content.getvalue()

    def __setstate__(self, state: bytes) -> None:
        with np.load(io.BytesIO(state), allow_pickle=False) as archive:
            vars(self).update(vars(self._of_arrays(dict(archive.items()))))

    def _by_image(
        self,
        scores: Array | None,
        labels: Array,
        predictions: Array | None,
        anomaly: Array | None,
        names: str | Sequence[str] | None,
    ) -> Iterator[tuple[str, Mapping[str, NDArray[Any]]]]:
        """Yield each image of a batch: its id, and its arrays by name."""
        if any(protocol.reads for protocol in self.protocols):
            if scores is None:
                raise BadScores(f"{self._who('score', 'confidence')} reads scores; update(scores, labels) has none")
        else:
            scores = None
        if "prediction" in self._needs and predictions is None:
            raise BadScores(f"{self._who('prediction')} needs the class map; say update(..., predictions=...)")
        if "instances" in self._needs:
            raise BadScores(
                f"{self._who('instances')} needs the instances of a data set, which 'bench run' reads; for masks alone"
                " say mask_instances"
            )
        kinds = self._needs & {"labels", "anomaly"}
        if kinds == {"labels", "anomaly"} and anomaly is None:
            raise BadScores(
                f"{self._who('labels')} needs train ids and {self._who('anomaly')} a mask; say update(scores,"
                " train_ids, anomaly=mask)"
            )
        if kinds == {"anomaly"} and anomaly is not None:
            raise BadScores(f"{self._who('anomaly')} needs a mask alone, and labels are one; leave anomaly= out")
        truths = {"anomaly": labels} if kinds == {"anomaly"} else {"labels": labels, "anomaly": anomaly}
        batch = {"score": scores, "prediction": predictions if "prediction" in self._needs else None, **truths}
        yield from image_arrays(batch, names, self._updates)

    def _image(self, name: str, arrays: Mapping[str, NDArray[Any]]) -> ScoredImage:
        """Return one image as protocols count it."""
        title = f"image {name}"
        labels = self._truth(title, "labels", arrays["labels"]) if "labels" in arrays else None
        anomaly = self._truth(title, "anomaly", arrays["anomaly"]) if "anomaly" in arrays else None
        truths = [truth for truth in (labels, anomaly) if truth is not None]
        size = truths[0].shape[0], truths[0].shape[1]
        sample = Sample(name, size, _no_image, labels, anomaly)
        predicted = whole_numbers(f"predictions of {title}", arrays["prediction"]) if "prediction" in arrays else None
        truth = Truth(sample, predicted)
        if "score" not in arrays:
            return ScoredImage(truth, {})
        ignored = np.logical_and.reduce([kind == IGNORE for kind in truths])
        stored = arrays["score"]
        if stored.shape != size and not all(_resizes(protocol) for protocol in self.protocols if protocol.reads):
            raise BadScores(
                f"scores of {title} are {list(stored.shape)}, its labels are {list(size)}; bring them to that size,"
                f" {RESIZE}"
            )
        return StoredImage(truth, f"scores of {title}", plain_map(f"scores of {title}", stored, sample.size, ignored))

    def _truth(self, title: str, kind: Literal["labels", "anomaly"], stored: NDArray[Any]) -> Labels:
        truth = whole_numbers(f"labels of {title}", stored)
        illegal = np.flatnonzero(np.bincount(truth.reshape(-1), minlength=256) * ~self._legal[kind])
        if illegal.size:
            wanted = "0 normal, 1 anomaly, 255 ignored" if kind == "anomaly" else "train ids, and 255 ignored"
            raise BadScores(f"labels of {title} hold the value {illegal[0]}, wanted {wanted}")
        return truth

    def _who(self, *needs: str) -> str:
        return next(protocol.name for protocol in self.protocols if protocol.needs.intersection(needs))

    def _require_images(self) -> None:
        if not len(self):
            raise BadScores("no image was counted yet; call update(scores, labels) for each")

    def _require_whole_pass(self) -> None:
        if self._counting.at != "count" and (missing := sorted(set(self._counting.ids) - self._counting.seen)):
            raise BadScores(
                f"this pass saw {len(self._counting.seen)} of {len(self)} images, not {missing[0]}; update with all of"
                " the first pass"
            )

    def _arrays(self) -> dict[str, NDArray[Any]]:
        """The state for an .npz file."""
        counting = self._counting
        if counting.at != "count" and not counting.done:
            raise BadScores("the second phase is under way; end its passes before the metric is saved or sent")
        tallies: dict[int, int] = {}
        arrays: dict[str, NDArray[Any]] = {}
        for index, accumulator in enumerate(counting.accumulators):
            arrays |= {f"{index}.{name}": array for name, array in rows.pack_rows(accumulator.rows).items()}
            if accumulator.tally is not None and id(accumulator.tally) not in tallies:
                tallies[id(accumulator.tally)] = index
                arrays |= {f"{index}.tally.{name}": array for name, array in accumulator.tally.arrays().items()}
        header = {
            "schema": SCHEMA,
            "protocols": [{protocol.name: parameters.values(protocol)} for protocol in self.protocols],
            "versions": [protocol.version for protocol in self.protocols],
            "settings": {"seed": self.seed, "resamples": self.resamples, "budget": self.budget},
            "ids": counting.ids,
            "tallies": [tallies.get(id(accumulator.tally)) for accumulator in counting.accumulators],
            "done": counting.done,
            "maps": self._maps.spelled() if self._maps is not None else None,
        }
        return {"header": np.array(json.dumps(header)), **arrays}

    @classmethod
    def _of_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        header = json.loads(str(arrays["header"]))
        if header["schema"] != SCHEMA:
            raise MissingData(f"the metric was saved by another version, schema {header['schema']}, wanted {SCHEMA}")
        maps = KeptMaps.of_spelled(header["maps"]) if header["maps"] else None
        metric = cls(*header["protocols"], keep=maps.folder if maps else None, **header["settings"])
        if header["versions"] != [protocol.version for protocol in metric.protocols]:
            raise MissingData("the metric was counted by another version of its protocols; count the images again")
        metric._maps, counting = maps, metric._counting
        tallies: dict[int, Tally] = {}
        for index, (accumulator, owner) in enumerate(zip(counting.accumulators, header["tallies"], strict=True)):
            packed = _below(arrays, f"{index}.")
            accumulator.merge(None, rows.unpack_rows(header["ids"], packed))
            if owner is not None:
                if owner not in tallies:
                    tallies[owner] = Tally.from_arrays(_below(arrays, f"{owner}.tally."))
                accumulator.tally = tallies[owner]
        if header["done"] and counting.two_phase:
            counting.at, counting.done = "second", True
        metric._updates = len(metric)
        return metric


def _below(arrays: Mapping[str, NDArray[Any]], prefix: str) -> dict[str, NDArray[Any]]:
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}


def _protocol(entry: ProtocolEntry) -> Protocol:
    if isinstance(entry, Protocol):
        return entry
    if isinstance(entry, str):
        name, params = arguments.named(entry, "Metric")
    elif isinstance(entry, Mapping) and len(entry) == 1:
        name, params = next((name, dict(params or {})) for name, params in entry.items())
    else:
        raise BadScores(f"Metric: {entry!r} is no protocol; wanted a name, or one name with its parameters")
    built: Protocol = registry.build("protocol", name, params, where="Metric")
    return built


def _resizes(protocol: Protocol) -> bool:
    return isinstance(protocol, Quantized) and protocol.resizes


def _legal(kind: Literal["labels", "anomaly"], protocols: Iterable[Protocol]) -> NDArray[np.bool_]:
    """Return, for each value from 0 to 255, whether labels may hold it, as ``bench score`` has it."""
    legal = np.zeros(256, np.bool_)
    if kind == "anomaly":
        legal[list(label_values.ANOMALY)] = True
        return legal
    counted = [classes for each in protocols if isinstance(classes := getattr(each, "classes", None), int)]
    legal[list(label_values.train_ids(min(counted))) if counted else slice(None)] = True
    return legal


def _no_image() -> NDArray[np.uint8]:
    raise AssertionError("score maps are evaluated without images")

"""Images and labels that a running program holds: ``bench.evaluate(network, data=loader)`` lends them to a run."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, TypeGuard

import numpy as np
from numpy.typing import NDArray

from bench.contract.dataset import CITYSCAPES, Dataset, Sample
from bench.core import label_values
from bench.core.errors import BadPlugin, BadScores, MissingData
from bench.core.foreign_arrays import Array, numpy_of, whole_numbers
from bench.core.label_values import train_ids
from bench.core.values import Labels

Truth = Literal["anomaly", "labels"]
Item = tuple[Array, Array] | tuple[Array, Array, str | Sequence[str]] | list[Array]
"""An image with its labels and, if wanted, its name; or a batch of them, as a DataLoader of torch has it."""


class Indexed(Protocol):
    """A data set of torch, which need not be iterable."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: int, /) -> object: ...


Images = Iterable[Item] | Indexed
WANTED = "wanted (image, labels), or (image, labels, id)"
NEAR = 1e-3  # how far 255 times a pixel from 0 to 1 may lie from a whole number


@dataclass(frozen=True)
class _Lent:
    folder: Path  # of a file per image
    numbers: Mapping[str, int]  # of the files, by id
    digest: str


_LENT: dict[str, _Lent] = {}  # by name, while a run has them


@dataclass(frozen=True)
class InMemory(Dataset):
    """Images that a program holds, which are lent by ``bench.evaluate`` under the name ``images``.

    ``truth`` says whether their labels are masks of anomalies or train ids, of ``classes``, unless named those of
    Cityscapes. No suite file can evaluate them again: the images end with their program.
    """

    name = "in_memory"
    source = "the user's own program"

    images: str
    truth: Truth = "anomaly"
    classes: tuple[str, ...] = ()

    @property
    def class_names(self) -> tuple[str, ...]:
        return self.classes or CITYSCAPES

    @property
    def annotations(self) -> frozenset[str]:
        return frozenset({self.truth})

    @property
    def count(self) -> int:
        return len(self._lent.numbers)

    def ids(self) -> Sequence[str]:
        return sorted(self._lent.numbers)

    def load(self, index: int) -> Sample:
        name = self.ids()[index]
        path = self._lent.folder / f"{self._lent.numbers[name]}.npz"
        truth = _read(path, "truth")
        size = int(truth.shape[0]), int(truth.shape[1])
        labels, anomaly = (truth if self.truth == kind else None for kind in ("labels", "anomaly"))
        return Sample(name, size, lambda: _read(path, "image"), labels, anomaly)

    def digest(self) -> str:
        return self._lent.digest

    @property
    def _lent(self) -> _Lent:
        if self.images not in _LENT:
            raise MissingData(
                f"dataset in_memory: {self.images!r} were images of a Python program; evaluate them again by"
                " bench.evaluate(network, data) there"
            )
        return _LENT[self.images]


@contextmanager
def lent_images(name: str, images: Images, truth: Truth, classes: int) -> Iterator[None]:
    """Have images known under a name; they are gone over once, and lie in a temporary folder meanwhile.

    Raises BadScores for what is no image with labels of that kind, and BadPlugin for a name that is taken.
    """
    if name in _LENT:
        raise BadPlugin(f"bench.evaluate: images {name!r} are under evaluation already; name these otherwise")
    with tempfile.TemporaryDirectory(prefix="bench-images-") as folder:
        _LENT[name] = _stored(images, Path(folder), label_values.ANOMALY if truth == "anomaly" else train_ids(classes))
        try:
            yield
        finally:
            del _LENT[name]


def is_images(data: object) -> TypeGuard[Images]:
    """Return whether an argument holds images themselves, rather than names or other entries of data sets."""
    if isinstance(data, str | Mapping | Dataset):
        return False
    if isinstance(data, list | tuple):
        return bool(data) and isinstance(data[0], list | tuple)
    return isinstance(data, Iterable) or (hasattr(data, "__len__") and hasattr(data, "__getitem__"))


def _stored(images: Images, folder: Path, legal: Mapping[int, int]) -> _Lent:
    """Write a file per image; return their numbers and a digest of all that they hold. Labels have ``legal`` values."""
    whole, numbers = hashlib.sha256(), dict[str, int]()
    for name, image, truth in _each(images):
        if name in numbers:
            raise BadScores(f"bench.evaluate: two images are called {name!r}; give each an id of its own")
        if illegal := set(np.unique(truth).tolist()) - legal.keys():
            cure = (
                "; for train ids say protocols=, such as 'misclassification'" if legal is label_values.ANOMALY else ""
            )
            raise BadScores(
                f"labels of image {name} hold the value {min(illegal)}, wanted {', '.join(map(str, legal))}{cure}"
            )
        np.savez(folder / f"{len(numbers)}.npz", image=image, truth=truth)
        numbers[name] = len(numbers)
        for part in (name.encode(), str((image.shape, truth.shape)).encode(), image.data, truth.data):
            whole.update(part)
    if not numbers:
        raise BadScores(f"bench.evaluate: data hold no image; {WANTED} for each")
    return _Lent(folder, numbers, whole.hexdigest()[:16])


def _each(images: Images) -> Iterator[tuple[str, NDArray[np.uint8], Labels]]:
    """Yield id, image uint8 [h, w, 3] and labels uint8 [H, W] of each; those without an id are numbered."""
    items = images if isinstance(images, Iterable) else (images[index] for index in range(len(images)))
    count = 0
    for number, item in enumerate(items):
        if not isinstance(item, list | tuple) or len(item) not in (2, 3):
            kind = f"{len(item)} values" if isinstance(item, list | tuple) else type(item).__name__
            raise BadScores(f"bench.evaluate: item {number} of data is {kind}; {WANTED}")
        pixels = _pixels(f"images of item {number}", item[0])
        truths = _pixels(f"labels of item {number}", item[1])
        single = pixels.ndim == 3
        batch = (pixels[None], truths[None]) if single else (pixels, truths)
        size = len(batch[0])
        if pixels.ndim not in (3, 4) or truths.ndim == 0 or len(batch[1]) != size:
            shapes = f"images {list(pixels.shape)} and labels {list(truths.shape)}"
            raise BadScores(
                f"bench.evaluate: item {number} of data has {shapes}, wanted [3, h, w] and [H, W], or a batch"
                " [B, 3, h, w] and [B, H, W]"
            )
        ids = [f"{count + index:08d}" for index in range(size)] if len(item) == 2 else _names(item[2], single=single)
        if len(ids) != size:
            raise BadScores(f"bench.evaluate: item {number} of data has {size} images and {len(ids)} ids")
        for name, image, truth in zip(ids, *batch, strict=True):
            yield name, _image(f"image {name}", image), _truth(f"labels of image {name}", truth)
        count += size


def _names(ids: Any, *, single: bool) -> list[str]:
    return [str(ids)] if single or isinstance(ids, str) else [str(name) for name in ids]


def _pixels(name: str, image: Any) -> NDArray[Any]:
    """Return an array or a tensor as it is; of a picture of Pillow its pixels."""
    return np.asarray(image) if hasattr(image, "__array_interface__") else numpy_of(name, image)


def _image(name: str, pixels: NDArray[Any]) -> NDArray[np.uint8]:
    """Return uint8 [h, w, 3]. Raises BadScores for another shape, and for numbers that are no pixels."""
    if pixels.shape[-1] != 3 and pixels.shape[0] == 3:
        pixels = np.moveaxis(pixels, 0, -1)
    if pixels.ndim != 3 or pixels.shape[-1] != 3 or 0 in pixels.shape:
        raise BadScores(f"{name} is {list(pixels.shape)}, wanted RGB, [3, h, w] or [h, w, 3]")
    if pixels.dtype == np.uint8:
        return np.ascontiguousarray(pixels)
    if pixels.dtype.kind == "f":
        scaled = pixels.astype(np.float64) * 255
        whole = np.rint(scaled)
        if np.isfinite(whole).all() and whole.min() >= 0 and whole.max() <= 255 and abs(scaled - whole).max() < NEAR:
            return np.ascontiguousarray(whole, np.uint8)
        raise BadScores(
            f"{name} holds {pixels.dtype} from {pixels.min():.4g} to {pixels.max():.4g}, no pixels divided by 255;"
            " leave images as they were read, uint8, and say what the network wants by mean=, std= and inference="
        )
    raise BadScores(f"{name} is {pixels.dtype}, wanted uint8, or pixels divided by 255")


def _truth(name: str, labels: NDArray[Any]) -> Labels:
    """Return uint8 [H, W]; an axis of one channel goes."""
    labels = labels[0] if labels.ndim == 3 and len(labels) == 1 else labels
    if labels.ndim != 2 or 0 in labels.shape:
        raise BadScores(f"{name} are {list(labels.shape)}, wanted [H, W]")
    return whole_numbers(name, labels)


def _read(path: Path, part: str) -> NDArray[np.uint8]:
    with np.load(path, allow_pickle=False) as archive:
        values: NDArray[np.uint8] = archive[part]
    return values

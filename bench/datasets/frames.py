"""Shared by readers of data on disk: files found in one order, images paired with masks, masks checked to the pixel.

Every complaint is one line that begins with the file, says what was found and what was wanted, and names a next step.
"""

from __future__ import annotations

import hashlib
import re
from abc import abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, fields
from functools import cached_property, partial
from itertools import pairwise
from os.path import commonpath
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.contract.dataset import Dataset, Sample
from bench.core import images
from bench.core.errors import MissingData
from bench.core.files import digest
from bench.core.images import read_rgb
from bench.core.values import IGNORE, Labels
from bench.datasets import label_values

_PNG_END = b"\x00\x00\x00\x00IEND\xaeB`\x82"
_JPEG_END = b"\xff\xd9"
_MADE_AGAIN = "; unpack or make it again"
_COUNTS: ContextVar[list[label_values.Counts] | None] = ContextVar("counts", default=None)


@dataclass(frozen=True)
class Encoding:
    """The values that a mask may hold, each with its meaning. Any other value is an error, never a guess."""

    name: str  # such as labelIds
    meaning: Mapping[int, int]  # stored value -> the value of the returned mask
    legal: str  # the legal values in words, such as "0, 1 or 255"
    palette: bool = False  # whether a palette of colours holds its indices

    @cached_property
    def table(self) -> Labels:
        """Uint8 [256]: the meaning of each stored value; IGNORE where there is none."""
        table = np.full(256, IGNORE, np.uint8)
        table[list(self.meaning)] = list(self.meaning.values())
        return table

    def __getstate__(self) -> dict[str, Any]:
        return {entry.name: getattr(self, entry.name) for entry in fields(self)}


ANOMALY = Encoding("anomaly", label_values.ANOMALY, "0, 1 or 255")
"""0 normal, 1 anomaly, 255 ignored, as Fishyscapes and SegmentMeIfYouCan publish them."""


@dataclass(frozen=True)
class Frame:
    """One image and its mask on disk."""

    id: str  # letters, digits, '.', '_' and '-'
    image: Path
    mask: Path | None = None  # None: the publisher keeps it
    encoding: Encoding = ANOMALY
    group: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    overlay: Path | None = None  # a second file that the image is made from


@dataclass(frozen=True)
class OnDisk(Dataset):
    """A data set whose frames are files. A subclass says how they are found and how many were published.

    ``frames`` is how many there must be; None: as many as were published. An unpickled reader lists its files anew,
    because another machine may keep them elsewhere.
    """

    frames: int | None = field(default=None, kw_only=True)

    @property
    @abstractmethod
    def published(self) -> int:
        """The number of frames that the publisher counts."""

    @property
    @abstractmethod
    def obtain(self) -> str:
        """The way to get what is missing, in words for people: page, file names, sizes, checksums as far as known."""

    @abstractmethod
    def scan(self) -> Sequence[Frame]:
        """List the files anew, paired and counted, sorted by id. Raise MissingData for the first that is absent."""

    @property
    def hidden(self) -> str:
        """The reason why there is no truth to evaluate against; empty where there is."""
        return ""

    @property
    def count(self) -> int:
        return self.published if self.frames is None else self.frames

    def ids(self) -> Sequence[str]:
        return [frame.id for frame in self._frames]

    def load(self, index: int) -> Sample:
        frame = self._frames[index]
        truth = self.truth(frame)
        some = next(iter(truth.values()), None)
        return Sample(
            id=frame.id,
            size=size(frame.image) if some is None else (some.shape[0], some.shape[1]),
            image=partial(self.decode, frame),
            labels=truth.get("labels"),
            anomaly=truth.get("anomaly"),
            group=frame.group,
            tags=frame.tags,
        )

    def truth(self, frame: Frame) -> Mapping[str, Labels]:
        """``labels``, ``anomaly`` or both, uint8 [H, W] each, checked against the image's size; empty where hidden."""
        if frame.mask is None:
            return {}
        (kind,) = self.annotations
        return {kind: read_mask(frame.mask, frame.encoding, like=frame.image)}

    def decode(self, frame: Frame) -> NDArray[np.uint8]:
        """uint8 [H, W, 3], RGB: the image of one frame as its files store it."""
        return read_rgb(frame.image)

    def check(self) -> None:
        """Decode every mask and one image of each kind, read header and end of every image.

        Raise MissingData that names the first wrong frame.
        """
        scanned = self.scan()
        self.check_set(scanned)
        with counted_values() as masks:
            wrong = [text for frame in scanned if (text := self.complaint(frame))]
        doubt = self.doubt(scanned, masks)
        if wrong:
            others = "1 more frame is" if len(wrong) == 2 else f"{len(wrong) - 1} more frames are"
            more = f" ({others} wrong, too; bench describe names them)" if len(wrong) > 1 else ""
            if doubt and wrong[0].endswith(_MADE_AGAIN):
                raise MissingData(f"{wrong[0].removesuffix(_MADE_AGAIN)}{more}; {doubt}")
            raise MissingData(wrong[0] + more)
        self.check_storage(scanned)
        if doubt:
            raise MissingData(f"{_above([frame.mask for frame in scanned if frame.mask])}: {doubt}")

    def check_storage(self, scanned: Sequence[Frame]) -> None:
        """Decode one image of each way in which they are stored. Raise MissingData for one that cannot be.

        Raise it also for masks that are stored in different ways, of which one must be wrong.
        """
        check_alike(scanned)
        kinds: dict[tuple[str, ...], Frame] = {}
        for frame in scanned:
            header = images.read_header(frame.image)
            kinds.setdefault((header.format, header.mode, header.layout), frame)
        for frame in kinds.values():
            self.decode(frame)

    def doubt(self, scanned: Sequence[Frame], masks: Sequence[label_values.Counts]) -> str:
        """Return why the values of all masks can hardly mean what they are taken for; empty where they can.

        ``masks`` are the pixels of each by stored value, int64 [256].
        """
        return ""

    def check_set(self, scanned: Sequence[Frame]) -> None:
        """Raise MissingData if the whole is not what it must be, whatever its frames are."""

    def complaint(self, frame: Frame) -> str:
        """The error of ``check_frame`` in words; empty if the frame is as it must be."""
        try:
            self.check_frame(frame)
        except MissingData as error:
            return str(error)
        return ""

    def check_frame(self, frame: Frame) -> None:
        """Raise MissingData if one frame's files are not what they must be."""
        if not self.truth(frame):
            size(frame.image)
        check_whole(frame.image)

    def digest(self) -> str:
        """16 hex digits of the bytes of every mask and overlay, and the id and size in bytes of every image."""
        whole = hashlib.sha256()
        for frame in self._frames:
            kept = [digest(path) for path in (frame.mask, frame.overlay) if path]
            line = " ".join([frame.id, frame.encoding.name, *(kept or ["-"]), str(_bytes(frame.image))])
            whole.update(f"{line}\n".encode())
        return whole.hexdigest()[:16]

    def __getstate__(self) -> dict[str, Any]:
        return {entry.name: getattr(self, entry.name) for entry in fields(self)}

    @cached_property
    def _frames(self) -> Sequence[Frame]:
        return self.scan()


def listed(folder: Path, pattern: str, *, before: str = "", after: str = "", missing: str = "") -> Mapping[str, Path]:
    """Id to file for every file that matches, sorted by id whatever the file system's order.

    ``pattern`` is a glob below ``folder`` and matches as it is written, also where file names ignore case. The id is
    the name without ``before`` and ``after``. ``missing`` is the next step where the folder does not exist. Hidden
    files and folders are passed over: archives made on a Mac carry a ``._name`` beside each name.
    """
    if not folder.is_dir():
        raise MissingData(f"{folder} does not exist{_next(missing)}")
    paths: dict[str, Path] = {}
    for path in sorted(folder.glob(pattern)):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if hidden or not path.name.startswith(before) or not path.name.endswith(after):
            continue
        name = path.name[len(before) : len(path.name) - len(after)]
        if name in paths:
            raise MissingData(f"{path} and {paths[name]} are both the frame {name}; keep one of them")
        paths[name] = path
    return dict(sorted(paths.items()))


def paired(
    images: Mapping[str, Path],
    masks: Mapping[str, Path],
    *,
    mask_of: Callable[[str], Path],
    image_of: Callable[[str], Path],
    masks_again: str,
    images_again: str,
) -> None:
    """Raise MissingData for the first image without its mask, then for the first mask without its image.

    ``mask_of`` and ``image_of`` say where the absent file should be, ``masks_again`` and ``images_again`` what to do.
    """
    for name, path in sorted(images.items()):
        if name not in masks:
            raise MissingData(f"{mask_of(name)} does not exist, but its image {path} does{_next(masks_again)}")
    for name, path in sorted(masks.items()):
        if name not in images:
            raise MissingData(f"{image_of(name)} does not exist, but its label {path} does{_next(images_again)}")


def counted(entries: Collection[Any], expected: int, source: Path, again: str) -> None:
    """Raise MissingData unless there are as many as expected: a half-unpacked archive is no benchmark."""
    if len(entries) != expected:
        also = f", or say frames: {len(entries)} in the suite if that is all there should be" if entries else ""
        raise MissingData(f"{source} holds {len(entries)} frames, wanted {expected}{_next(again)}{also}")


def absent(root: Path, contents: str, obtain: str) -> MissingData:
    """The error for a data set that is not there at all."""
    return MissingData(
        f"{root} does not exist; wanted {contents} there: set $BENCH_DATA to the folder above it, or say where it lies"
        f" in data.yaml; {obtain}"
    )


def read_mask(path: Path, encoding: Encoding, *, like: Path | None = None) -> Labels:
    """uint8 [H, W]: one mask with its stored values replaced by their meaning.

    Raise MissingData for a value that the encoding does not have, for colours, and for a size that is not that of the
    image ``like``: masks are never resized.
    """
    stored = images.read_labels(path, like=like, indices=encoding.palette)
    counts = np.bincount(stored.ravel(), minlength=256)
    if (masks := _COUNTS.get()) is not None:
        masks.append(counts)
    if illegal := set(np.flatnonzero(counts).tolist()) - set(encoding.meaning):
        value = min(illegal)
        row, column = divmod(int(np.argmax(stored == value)), stored.shape[1])
        raise MissingData(
            f"{path} holds the value {value} at row {row}, column {column}, wanted {encoding.legal}"
            f" ({encoding.name}){_MADE_AGAIN}"
        )
    return encoding.table[stored]


@contextmanager
def counted_values() -> Iterator[Sequence[label_values.Counts]]:
    """Inside the context, keep how many pixels of every mask that is read have which stored value, int64 [256] each."""
    masks: list[label_values.Counts] = []
    token = _COUNTS.set(masks)
    try:
        yield masks
    finally:
        _COUNTS.reset(token)


def size(path: Path) -> tuple[int, int]:
    """(H, W) of an image from its header. Raise MissingData if it cannot be read."""
    return images.read_header(path).size


def check_alike(scanned: Iterable[Frame]) -> None:
    """Raise MissingData if the masks of one set are stored in ways of which one must be wrong.

    Programs that make files smaller write 0 and 255 in 1 bit, and number the colours of a palette anew.
    """
    masks = {frame.mask: (images.read_header(frame.mask), frame.encoding) for frame in scanned if frame.mask}
    check_depths({path: header for path, (header, _) in masks.items()})
    first: tuple[Path, bytes] | None = None
    for path, (header, encoding) in masks.items():
        if not encoding.palette or not header.coloured:
            continue
        first = first or (path, header.palette)
        shared = min(len(header.palette), len(first[1]))
        if header.palette[:shared] != first[1][:shared]:
            raise MissingData(
                f"{path} has another palette than {first[0]}, so that its indices may mean other classes; store the"
                f" values themselves as grey, 8 bits"
            )


def check_depths(headers: Mapping[Path, images.Header]) -> None:
    """Raise MissingData if some labels of one set have 1 bit and others more."""
    bits = {header.mode == "1": path for path, header in headers.items()}
    if len(bits) > 1:
        raise MissingData(
            f"{bits[True]} has 1 bit for each pixel, {bits[False]} more: whether its 1 means 1 or 255 is not known;"
            f" store all of them in 8 bits"
        )


def check_whole(path: Path, decode: Callable[[Path], object] = read_rgb) -> None:
    """Raise MissingData if an image file ends early. A file that ends as its format does is not decoded."""
    try:
        with path.open("rb") as file:
            head = file.read(12)
            length = file.seek(0, 2)
            file.seek(-min(len(_PNG_END), length), 2)
            tail = file.read()
    except FileNotFoundError:
        raise MissingData(f"{path} does not exist") from None
    except OSError as error:
        raise MissingData(f"{path} cannot be read: {error.strerror}") from None
    if head.startswith(b"RIFF"):  # WebP says in its header how long it is
        whole = int.from_bytes(head[4:8], "little") + 8 <= length
    elif head.startswith(b"\xff\xd8"):
        whole = tail.endswith(_JPEG_END)
    else:
        whole = tail == _PNG_END
    if not whole:  # bytes after the end are harmless, a missing end is not: decoding knows which it is
        decode(path)


def one_of(folders: Iterable[Path]) -> Path | None:
    """The first folder that exists, or None."""
    return next((folder for folder in folders if folder.is_dir()), None)


def plain(name: str) -> str:
    """Return a file name as an id: every character but letters, digits, '.', '_' and '-' becomes '_'."""
    return re.sub(r"[^A-Za-z0-9._-]", "_", name)


@dataclass(frozen=True)
class Ready:
    """A layout in which every image lies ready and has a mask of the same stem. Patterns are globs below a root."""

    images: str  # such as "LostAndFound/original/*.png"
    masks: str
    image_end: tuple[str, ...] = (".png",)
    mask_end: str = ".png"
    encoding: Encoding = ANOMALY

    def folder(self, root: Path) -> Path:
        """The deepest folder that holds every image."""
        return root / self.images.partition("*")[0]

    def present(self, root: Path) -> bool:
        """True if a root holds at least one image and one mask of this layout."""
        return all(any(True for _ in root.glob(pattern)) for pattern in (self.images, self.masks))

    def scan(self, root: Path, count: int, again: str) -> Sequence[Frame]:
        """List the frames, paired and counted, sorted by id; ``again`` is the next step where something is amiss."""
        images: dict[str, Path] = {}
        for end in self.image_end:
            for stem, path in listed(root, self.images, after=end, missing=again).items():
                if stem in images:
                    raise MissingData(f"{path} and {images[stem]} are both the frame {stem}; keep one of them")
                images[stem] = path
        masks = listed(root, self.masks, after=self.mask_end, missing=again)
        where = self.folder(root)
        paired(
            images,
            masks,
            mask_of=lambda stem: (
                _beside(images[stem], where, root / self.masks.partition("*")[0]) / (stem + self.mask_end)
            ),
            image_of=lambda stem: where / (stem + self.image_end[0]),
            masks_again=again,
            images_again=again,
        )
        counted(images, count, where, again)
        frames = [Frame(plain(stem), images[stem], masks[stem], self.encoding) for stem in images]
        return unique(frames)


def unique(frames: Sequence[Frame]) -> Sequence[Frame]:
    """The frames sorted by id. Raise MissingData if two file names are one id."""
    ordered = sorted(frames, key=lambda frame: frame.id)
    for first, second in pairwise(ordered):
        if first.id == second.id:
            raise MissingData(f"{first.image} and {second.image} are both the frame {first.id}; rename one of them")
    return ordered


def _beside(image: Path, images: Path, masks: Path) -> Path:
    """The folder of a mask, if masks lie in the same tree of folders as images."""
    return masks / image.parent.relative_to(images)


def _above(paths: Sequence[Path]) -> Path:
    """The deepest folder that holds all of them."""
    return Path(commonpath([path.absolute().parent for path in paths]))


def _bytes(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError as error:
        raise MissingData(f"{path} cannot be read: {error.strerror}") from None


def _next(step: str) -> str:
    return f"; {step}" if step else ""

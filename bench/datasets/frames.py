"""Shared by readers of data on disk: files found in one order, images paired with masks, masks checked to the pixel.

Every complaint is one line that begins with the file, says what was found and what was wanted, and names a next step.
"""

from __future__ import annotations

import hashlib
import re
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
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
from bench.core import images, label_values, packed
from bench.core.errors import MissingData
from bench.core.files import digest
from bench.core.images import read_rgb
from bench.core.values import IGNORE, Labels
from bench.datasets.kept_masks import KeptMasks

_PNG_END = b"\x00\x00\x00\x00IEND\xaeB`\x82"
_JPEG_END = b"\xff\xd9"
_MADE_AGAIN = "; unpack or make it again"
_COUNTS: ContextVar[list[label_values.Counts] | None] = ContextVar("counts", default=None)
_KEEPS: ContextVar[bool] = ContextVar("keeps", default=False)


@dataclass(frozen=True)
class Encoding:
    """The values that a mask may hold, each with its meaning. Any other value is an error, never a guess."""

    name: str  # such as labelIds
    meaning: Mapping[int, int]  # stored value -> the value of the returned mask
    legal: str  # the legal values in words, such as "0, 1 or 255"
    palette: bool = False  # whether a palette of colours holds its indices
    decode: Callable[[Path], Labels] | None = None  # of a file that is no image: its values, uint8 [H, W]

    @cached_property
    def table(self) -> Labels:
        """Uint8 [256]: the meaning of each stored value; IGNORE where there is none."""
        table = np.full(256, IGNORE, np.uint8)
        table[list(self.meaning)] = list(self.meaning.values())
        return table

    @cached_property
    def unknown(self) -> bytes:
        """256 bytes: 1 for each stored value that has no meaning, 0 for the others."""
        return bytes(value not in self.meaning for value in range(256))

    def stored(self, path: Path, like: Path | None = None) -> Labels:
        """uint8 [H, W]: the values of a file, of the size of the image ``like``. Raise MissingData for another."""
        if self.decode is None:
            return images.read_labels(path, like=like, indices=self.palette)
        values = self.decode(path)
        if like is not None and values.shape != (wanted := size(like)):
            raise MissingData(
                f"{path} is {values.shape[0]}x{values.shape[1]}, its image {like.name} is {wanted[0]}x{wanted[1]};"
                f" labels are never resized, so unpack both archives again"
            )
        return values

    def digest(self, path: Path) -> str:
        """16 hex digits of a file's bytes, or of the values that are drawn from it."""
        return digest(path) if self.decode is None else hashlib.sha256(self.decode(path).tobytes()).hexdigest()[:16]

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
    invalid: Path | None = None  # a second mask, not 0 where a pixel is not what its label says


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

    def image_paths(self) -> Sequence[Path]:
        """The file of each image, in the order of the ids."""
        return [frame.image for frame in self._frames]

    def load(self, index: int) -> Sample:
        frame = self._frames[index]
        truth = self._kept.read(index, partial(self.truth, frame)) if _KEEPS.get() else self.truth(frame)
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
        """16 hex digits of the bytes of every mask and overlay, and the id and size in bytes of every image.

        Where values are drawn from a file, they are what counts: the program that draws is not always the same.
        """
        whole = hashlib.sha256()
        for frame in self._frames:
            kept = [frame.encoding.digest(frame.mask)] if frame.mask else []
            kept += [digest(path) for path in (frame.overlay, frame.invalid) if path]
            line = " ".join([frame.id, frame.encoding.name, *(kept or ["-"]), str(_bytes(frame.image))])
            whole.update(f"{line}\n".encode())
        return whole.hexdigest()[:16]

    def __getstate__(self) -> dict[str, Any]:
        return {entry.name: getattr(self, entry.name) for entry in fields(self)}

    @cached_property
    def _frames(self) -> Sequence[Frame]:
        return self.scan()

    @cached_property
    def _kept(self) -> KeptMasks:
        return KeptMasks()


def read_mask(path: Path, encoding: Encoding, *, like: Path | None = None) -> Labels:
    """uint8 [H, W]: one mask with its stored values replaced by their meaning.

    Raise MissingData for a value that the encoding does not have, for colours, and for a size that is not that of the
    image ``like``: masks are never resized.
    """
    return meant(encoding.stored(path, like), encoding, str(path))


def meant(stored: Labels, encoding: Encoding, where: str) -> Labels:
    """uint8 [H, W]: the meaning of stored values, which are counted. Raise MissingData, at ``where``, for others."""
    if (masks := _COUNTS.get()) is not None:
        masks.append(np.bincount(stored.ravel(), minlength=256))
    values = stored.tobytes()  # tables of bytes are seven times as fast as indices of arrays
    if 1 in values.translate(encoding.unknown):
        value = min(set(np.unique(stored).tolist()) - set(encoding.meaning))
        row, column = divmod(int(np.argmax(stored == value)), stored.shape[1])
        raise MissingData(
            f"{where} holds the value {value} at row {row}, column {column}, wanted {encoding.legal}"
            f" ({encoding.name}){_MADE_AGAIN}"
        )
    return np.frombuffer(bytearray(values.translate(encoding.table.tobytes())), np.uint8).reshape(stored.shape)


@contextmanager
def counted_values() -> Iterator[Sequence[label_values.Counts]]:
    """Inside the context, keep how many pixels of every mask that is read have which stored value, int64 [256] each."""
    masks: list[label_values.Counts] = []
    token = _COUNTS.set(masks)
    try:
        yield masks
    finally:
        _COUNTS.reset(token)


def keep_masks() -> None:
    """From now on, have this thread decode a mask that it loads often no more than twice.

    For processes of a run alone, which hears of files that change under it: here nobody would notice.
    """
    _KEEPS.set(True)


def size(path: Path) -> tuple[int, int]:
    """(H, W) of an image from its header. Raise MissingData if it cannot be read."""
    return images.read_header(path).size


def check_alike(scanned: Iterable[Frame]) -> None:
    """Raise MissingData if the masks of one set are stored in ways of which one must be wrong.

    Programs that make files smaller write 0 and 255 in 1 bit, and number the colours of a palette anew.
    """
    masks = {
        frame.mask: (images.read_header(frame.mask), frame.encoding)
        for frame in scanned
        if frame.mask and not frame.encoding.decode
    }
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
    """Raise MissingData if some labels of one set have 1 bit, and 1 among them, and others have more."""
    more = next((path for path, header in headers.items() if header.mode != "1"), None)
    one_bit = [path for path, header in headers.items() if header.mode == "1"] if more else []
    if path := next((path for path in one_bit if images.read_labels(path).any()), None):
        raise MissingData(
            f"{path} has 1 bit for each pixel, {more} more: whether its 1 means 1 or 255 is not known; store all of"
            f" them in 8 bits"
        )


def check_whole(path: Path, decode: Callable[[Path], object] = read_rgb) -> None:
    """Raise MissingData if an image file ends early. A file that ends as its format does is not decoded."""
    try:
        with packed.opened(path) as file:
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


def plain(name: str) -> str:
    """Return a file name as an id: every character but letters, digits, '.', '_' and '-' becomes '_'."""
    return re.sub(r"[^A-Za-z0-9._-]", "_", name)


def unique(frames: Sequence[Frame]) -> Sequence[Frame]:
    """The frames sorted by id. Raise MissingData if two file names are one id."""
    ordered = sorted(frames, key=lambda frame: frame.id)
    for first, second in pairwise(ordered):
        if first.id == second.id:
            raise MissingData(f"{first.image} and {second.image} are both the frame {first.id}; rename one of them")
    return ordered


def _above(paths: Sequence[Path]) -> Path:
    """The deepest folder that holds all of them."""
    return Path(commonpath([path.absolute().parent for path in paths]))


def _bytes(path: Path) -> int:
    try:
        return packed.size(path)
    except OSError as error:
        raise MissingData(f"{path} cannot be read: {error.strerror}") from None

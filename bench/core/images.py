"""Stored images: one number for each pixel, or a picture in RGB, by one rule each, whoever asks.

Everything that opens an image does it here. Pillow would try every format that it knows, whatever a file is called,
and start other programs for some of them; so the formats are named.
"""

from __future__ import annotations

import logging
import os
import struct
import threading
import warnings
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from bench.core import packed
from bench.core.disguised_files import HEAD, content_of
from bench.core.errors import MissingData
from bench.core.printable import one_line, shortened
from bench.core.values import IGNORE, Labels

Size = tuple[int, int]  # (H, W)
Fits = Callable[[Size], None]

PICTURES = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "PPM")
NUMBERS = ("PNG", "TIFF", "BMP")  # that keep every value as it was written
DARKEST = 16  # a 16-bit picture whose high bytes stay below fills less than 12 bits: where white lies is not known

# Whatever Pillow raises for broken files: SyntaxError for a chunk, for the directory of a TIFF what reading came to.
_BROKEN = (
    OSError, ValueError, EOFError, SyntaxError, LookupError, TypeError, AttributeError, OverflowError, ArithmeticError,
    AssertionError, MemoryError, RuntimeError, SystemError, struct.error, zlib.error,
)  # fmt: skip
MANY = 2**24  # pixels, from which on a file is asked whether it can have so many before memory is taken for them
DENSEST = 2**14  # pixels that a byte of a file may stand for; one bit each and deflated they are half as many
_ONE_AT_A_TIME = threading.Lock()
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by the colour type of PNG
LONGEST = 300  # characters of a refusal
_SHALLOW = ("L;2", "L;4")  # layouts
_ADAM7 = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))
TURNED = 5  # from this orientation of EXIF on, height and width change places
UPRIGHT = "turn them in the file (exiftran -a, magick mogrify -auto-orient)"


logging.getLogger("PIL").addHandler(logging.NullHandler())  # it would speak beside the one line of a refusal


class Undecodable(Exception):
    """An image that is refused. The text goes on after its name: ``is no image ...``."""

    def __init__(self, text: str) -> None:
        super().__init__(shortened(one_line(text), LONGEST))


@dataclass(frozen=True)
class Header:
    """The storage of an image's pixels."""

    size: Size
    format: str  # as Pillow calls it
    mode: str
    layout: str  # of the bytes, such as L;2 where two bits make a sample
    palette: bytes  # of three bytes for each colour; empty without one

    @property
    def coloured(self) -> bool:
        """True where the palette has other colours than greys."""
        return not self.palette[::3] == self.palette[1::3] == self.palette[2::3]


@contextmanager
def opened(
    source: Path | IO[bytes], formats: Sequence[str] = PICTURES, others: Sequence[str] = ()
) -> Iterator[Image.Image]:
    """Give an image whose header is read. Raise Undecodable for whatever goes wrong in it inside the context.

    ``others`` are recognised as well, for the sake of what is said about them.
    """
    try:
        with warnings.catch_warnings(), _stream(source) as stream:
            warnings.simplefilter("ignore")  # of large pictures and odd metadata: what cannot be used is refused
            length = stream.seek(0, 2)
            stream.seek(0)
            with Image.open(stream, formats=(*formats, *others)) as file:
                if (pixels := file.width * file.height) > max(MANY, DENSEST * length):
                    raise Undecodable(f"declares {pixels} pixels in {length} bytes; is it truncated?")
                yield file
    except FileNotFoundError:
        raise Undecodable("does not exist") from None
    except UnidentifiedImageError:
        raise Undecodable(_unidentified(source, formats)) from None
    except Image.DecompressionBombError as error:
        raise Undecodable(f"cannot be read: {error}") from None
    except _BROKEN as error:
        raise Undecodable(f"cannot be read: {error or type(error).__name__}; is it truncated?") from None


def _unidentified(source: Path | IO[bytes], formats: Sequence[str]) -> str:
    with _stream(source) as stream:
        stream.seek(0)
        content = content_of(stream.read(HEAD))
    if content and content.kind.upper() in formats:
        unusual = ", such as floats of 64 bits" if content.kind == "tiff" else ""
        return f"is {content.words} whose header is damaged, or says something unusual{unusual}; store it anew"
    held = f": it is {content.words}" + (f"; {content.cure}" if content.cure else "") if content else ""
    return f"is not an image of the formats {', '.join(formats)}{held}"


@contextmanager
def _stream(source: Path | IO[bytes]) -> Iterator[IO[bytes]]:
    if not isinstance(source, Path):
        yield source
        return
    if source.exists() and not source.is_file():  # a pipe would keep its reader waiting
        raise Undecodable("is no regular file")
    with packed.opened(source) as stream:
        yield stream


def header(source: Path | IO[bytes], formats: Sequence[str] = PICTURES) -> Header:
    """Read how an image is stored. Raise Undecodable if that cannot be."""
    with opened(source, formats) as file:
        palette = bytes(file.getpalette("RGB") or []) if file.mode == "P" else b""
        return Header((file.height, file.width), file.format or "", file.mode, _layout(file), palette)


def numbers(
    source: Path | IO[bytes], fits: Fits | None = None, *, indices: bool = False, shallow: bool = True
) -> NDArray[Any]:
    """[H, W]: one number for each pixel, as uint8, uint16, int32, uint32 or float32.

    A grey file holds its samples, of whatever depth: 1 bit is 0 or 1. Without ``shallow``, less than 8 bits are
    refused: programs that make files smaller write 0 and 255 so, too. A palette file holds the greys of its colours;
    with ``indices``, a palette that has other colours than greys holds its indices. Equal channels of red, green and
    blue are one grey, and an alpha that is the same everywhere says nothing. All else is refused, as are formats that
    lose values. ``fits`` is asked about (H, W) before pixels are decoded, and raises what its caller likes.
    """
    with opened(source, NUMBERS, PICTURES) as file:
        if file.format not in NUMBERS:
            raise Undecodable(
                f"is a {file.format}, which does not keep numbers as they are; store them as {' or '.join(NUMBERS)}"
            )
        if fits:
            fits((file.height, file.width))
        _check(file)
        layout = _layout(file)
        if file.format == "TIFF":
            _check_tiff(file, layout)
        if file.mode == "P":
            return _of_palette(_pixels(file), file, indices)
        if file.mode in ("RGB", "RGBA", "LA"):
            return _of_channels(_pixels(file), file.mode, layout)
        if file.mode not in ("1", "L", "F", "I") and not file.mode.startswith("I;16"):
            raise Undecodable(f"is stored as {file.mode}; {_CURE}")
        if (file.mode == "1" or layout.startswith(_SHALLOW)) and not shallow:
            raise Undecodable("is stored in less than 8 bits: whether its 1 was 1 or 255 is lost; store it in 8")
        stored = _pixels(file)
        if file.mode == "1":
            return stored.astype(np.uint8)
        if layout.startswith(_SHALLOW):  # which are spread over 0 to 255
            return stored // np.uint8(85 if layout.startswith("L;2") else 17)
        if layout == "I;32N":
            return stored.view(np.uint32)
        return stored.astype(stored.dtype.newbyteorder("="), copy=False)


def labels(source: Path | IO[bytes], fits: Fits | None = None, *, indices: bool = False) -> Labels:
    """uint8 [H, W]: ``numbers`` that are 0 to 255."""
    stored = numbers(source, fits, indices=indices)
    if stored.dtype.kind == "f":
        raise Undecodable(f"holds {stored.dtype}, wanted whole numbers from 0 to {IGNORE}")
    if stored.size and not 0 <= int(stored.min()) <= int(stored.max()) <= IGNORE:
        value = int(stored.max() if stored.max() > IGNORE else stored.min())
        raise Undecodable(
            f"holds the value {value} in {stored.dtype.itemsize * 8} bits, wanted 0 to {IGNORE}; {IGNORE} is what is"
            f" ignored"
        )
    return stored.astype(np.uint8, copy=False)


def rgb(source: Path | IO[bytes]) -> NDArray[np.uint8]:
    """uint8 [H, W, 3], RGB. No gamma chunk, colour profile or EXIF rotation is applied, alpha is dropped.

    Grey is three equal channels, a palette its colours, CMYK (255 - C)(255 - K) / 255. Of 16 bits the upper 8 are
    taken, unless a picture uses so few of them that its white is somewhere else. Floats and 32 bits are refused.
    """
    with opened(source) as file:
        _check(file)
        mode, layout = file.mode, _layout(file)
        grey16 = mode.startswith("I;16") or (mode == "I" and file.format == "PNG")  # by the version of Pillow
        if mode not in ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr") and not grey16:
            raise Undecodable(f"is stored as {mode}, which has no one meaning in RGB; store it as RGB of 8 bits")
        stored = _pixels(file)
        if mode == "P":
            pixels = _palette(file, stored)[stored]
        elif mode in ("CMYK", "YCbCr"):
            pixels = np.array(file.convert("RGB"))
        else:
            upper = stored >> 8 if grey16 else stored * np.uint8(255) if mode == "1" else stored
            colours = upper.reshape(*stored.shape[:2], -1)[:, :, : 1 if mode == "LA" else 3]
            pixels = colours if colours.shape[2] == 3 else np.repeat(colours, 3, axis=2)
        if (grey16 or ";16" in layout) and pixels.max() < DARKEST:
            raise Undecodable("has 16 bits and uses fewer than 12 of them: say what is white by storing it in 8 bits")
        return np.ascontiguousarray(pixels, np.uint8)


def read_rgb(path: Path) -> NDArray[np.uint8]:
    """``rgb`` of a file. Raise MissingData, with its name."""
    with _named(path):
        return rgb(path)


def read_labels(path: Path, *, like: Path | None = None, indices: bool = False) -> Labels:
    """``labels`` of a file. Raise MissingData, with its name, and unless it has the size of the picture ``like``."""

    def fits(size: Size) -> None:
        if like is None or size == (wanted := read_header(like).size):
            return
        cure = "labels are never resized, so unpack both archives again"
        if size == wanted[::-1] and (turn := read_orientation(like)) >= TURNED:
            cure = (
                f"EXIF asks viewers to turn that image (orientation {turn}), and the mask fits the turned one: pixels"
                f" are read as they are stored, so {UPRIGHT}"
            )
        raise MissingData(f"{path} is {size[0]}x{size[1]}, its image {like.name} is {wanted[0]}x{wanted[1]}; {cure}")

    with _named(path):
        return labels(path, fits, indices=indices)


def read_header(path: Path) -> Header:
    """``header`` of a file. Raise MissingData, with its name."""
    with _named(path):
        return header(path)


def read_orientation(path: Path) -> int:
    """The rotation that EXIF asks viewers for, 1 to 8; 1, none, where it says nothing. Raise MissingData."""
    with _named(path), opened(path) as file:
        return _orientation(file)


@contextmanager
def _named(path: Path) -> Iterator[None]:
    try:
        yield
    except Undecodable as error:
        raise MissingData(f"{path} {error}") from None


_CURE = "wanted one number for each pixel: store the values themselves as grey, 8 bits"


def _layout(file: Image.Image) -> str:
    """Return Pillow's name for the samples' layout in the file; its mode where there is none."""
    tile = getattr(file, "tile", None)
    arguments = tile[0][3] if tile else None
    first = arguments[0] if isinstance(arguments, tuple) and arguments else arguments
    return first if isinstance(first, str) else file.mode


def _check(file: Image.Image) -> None:
    """Refuse what is several images, and what Pillow turns when it decodes it."""
    if getattr(file, "is_animated", False) and file.format != "MPO":  # cameras put a preview behind the picture
        raise Undecodable("holds several images, wanted one")
    if file.format == "TIFF" and _orientation(file) != 1:
        raise Undecodable("has an orientation tag, wanted pixels as they are: store it turned")


def _check_tiff(file: Any, layout: str) -> None:
    """Refuse what Pillow decodes to other numbers than were written."""
    if "jpeg" in (packing := file.info.get("compression", "")) or packing == "webp":
        raise Undecodable(f"is packed by {packing}, which does not keep numbers as they are; store it without")
    if file.tag_v2.get(262) == 0:
        raise Undecodable("says that 0 is white; store it with 0 as black")
    if layout == "L" and 2 in file.tag_v2.get(339, ()):
        raise Undecodable("holds signed numbers of 8 bits; store them as 16 bits or more")


def _orientation(file: Image.Image) -> int:
    try:  # a PNG is decoded to look behind its pixels
        stated = file.getexif().get(0x0112, 1) if file.format != "PNG" or "exif" in file.info else 1
    except _BROKEN:  # metadata in disorder say nothing
        return 1
    return stated if isinstance(stated, int) and 1 <= stated <= 8 else 1


def _palette(file: Image.Image, stored: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """uint8 [N, 3]: the colours of a palette, which has one for each index in use."""
    colours = np.frombuffer(bytes(file.getpalette("RGB") or []), np.uint8).reshape(-1, 3)
    if stored.size and int(stored.max()) >= len(colours):
        raise Undecodable(f"uses the index {int(stored.max())} of a palette of {len(colours)} colours")
    return colours


def _of_palette(stored: NDArray[np.uint8], file: Image.Image, indices: bool) -> NDArray[np.uint8]:
    colours = _palette(file, stored)
    greys = (colours == colours[:, :1]).all(axis=1)
    used = np.flatnonzero(np.bincount(stored.ravel(), minlength=len(colours)))
    if greys.all() or (greys[used] & (colours[used, 0] == used)).all():
        values: NDArray[np.uint8] = colours[stored, 0]
        return values
    if indices:
        return stored
    raise Undecodable(
        "is stored with a palette of colours, wanted grey values; is this the picture of the labels and not the labels?"
        " if its indices are the values, store them as grey, 8 bits"
    )


def _of_channels(stored: NDArray[np.uint8], mode: str, layout: str) -> NDArray[np.uint8]:
    """uint8 [H, W]: what the channels red, green and blue hold alike."""
    if ";16" in layout:
        raise Undecodable(f"is stored as {mode} in 16 bits; {_CURE}")
    if stored.shape[2] in (2, 4) and stored.size and (stored[:, :, -1] != stored[0, 0, -1]).any():
        raise Undecodable(f"is stored as {mode}, and its alpha differs from pixel to pixel; {_CURE}")
    if stored.shape[2] > 2 and (stored[:, :, :3] != stored[:, :, :1]).any():
        raise Undecodable(f"is stored as {mode}, and its channels differ: a picture in colours; {_CURE}")
    return np.ascontiguousarray(stored[:, :, 0])


def _pixels(file: Any) -> NDArray[Any]:
    """[H, W] or [H, W, C], as Pillow decodes them. Refuse a PNG with fewer rows than it declares."""
    if file.format != "PNG":
        with _without_libtiff(file):
            return np.array(file)
    stream, interlaced = file.fp, file.info.get("interlace")
    declared = interlaced or file.width * file.height > MANY
    if declared:
        _check_rows(stream)
    stored: NDArray[Any] = np.array(file)
    # Pillow leaves rows black that a stream does not have, without a word, if it ends between two of them.
    if not declared and not stored[-1].any():
        _check_rows(stream)
    return stored


@contextmanager
def _without_libtiff(file: Any) -> Iterator[None]:
    """Keep a library that writes to the error output by itself from it; what it says there is raised as well."""
    if not any(tile[0] == "libtiff" for tile in file.tile):
        yield
        return
    with _ONE_AT_A_TIME, Path(os.devnull).open("wb") as nowhere:
        kept = os.dup(2)
        try:
            os.dup2(nowhere.fileno(), 2)
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def _check_rows(stream: Any) -> None:
    before, end = stream.tell(), stream.seek(0, 2)
    stream.seek(8)
    remaining, unpack = 0, zlib.decompressobj()
    while len(head := stream.read(8)) == 8 and head[4:] != b"IEND":
        after = min(stream.tell() + int.from_bytes(head[:4], "big"), end)  # a read takes memory for what it asks for
        if head[4:] == b"IHDR":
            remaining = _packed(stream.read(13))
        while head[4:] == b"IDAT" and stream.tell() < after and remaining > 0 and not unpack.eof:
            content = stream.read(min(after - stream.tell(), 2**20))
            while content and remaining > 0 and not unpack.eof:
                remaining -= len(unpack.decompress(content, 2**20))
                content = unpack.unconsumed_tail
        stream.seek(after + 4)
    stream.seek(before)
    if remaining > 0:
        raise Undecodable(f"cannot be read: {remaining} bytes of its pixels are missing; is it truncated?")


def _packed(ihdr: bytes) -> int:
    """The bytes that the rows of a PNG have before they are packed, one in front of each row included."""
    width, height, depth, colour, _, _, interlaced = struct.unpack(">IIBBBBB", ihdr[:13])
    total = 0
    for top, left, down, right in _ADAM7 if interlaced else ((0, 0, 1, 1),):
        rows, columns = max(0, -(-(height - top) // down)), max(0, -(-(width - left) // right))
        total += rows * (1 + -(-columns * depth * _CHANNELS[colour] // 8)) if columns else 0
    return total

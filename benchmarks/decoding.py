"""What reading a PNG file costs, and how much of it is inflating.

    python benchmarks/decoding.py PNG [PNG ...] [--out docs/benchmarks.md]

CPU time of one thread, the least of the repeats, decoders in turn, from files in the page cache to pixels in an array.
Of the inflaters, those that are importable: the standard library's zlib, and by their own packages zlib-ng, ISA-L and
libdeflate. They show what exchanging the inflater alone could bring: a decoder reverses the filters of the rows, too.
"""

from __future__ import annotations

import argparse
import datetime
import importlib
import struct
import sys
import time
import zlib
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from page import machine, publish

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

SIGNATURE = 8  # bytes before the first chunk (PNG specification, section 5.2)
INFLATERS = {"zlib_ng": "zlib_ng.zlib_ng", "isal": "isal.isal_zlib"}  # packages, and their modules like zlib


def deflated(path: Path) -> bytes:
    """Return the joined IDAT chunks: one zlib stream."""
    data, at, parts = path.read_bytes(), SIGNATURE, []
    while at < len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        if kind == b"IDAT":
            parts.append(data[at + 8 : at + 8 + size])
        at += 12 + size
    return b"".join(parts)


def inflaters(size: int) -> Mapping[str, Callable[[bytes], Any]]:
    """Return what inflates a stream to ``size`` bytes, by name; packages that are not installed are left out."""
    ways: dict[str, Callable[[bytes], Any]] = {"zlib of the standard library": zlib.decompress}
    for package, module in INFLATERS.items():
        try:
            ways[package] = importlib.import_module(module).decompress
        except ImportError:
            print(f"{package} is not installed", file=sys.stderr)
    try:
        deflate = importlib.import_module("deflate")
    except ImportError:
        print("deflate, which holds libdeflate, is not installed", file=sys.stderr)
    else:
        ways["libdeflate"] = lambda stream: deflate.zlib_decompress(stream, size)
    return ways


def decoders(path: Path) -> Mapping[str, Callable[[], Any]]:
    """Return what decodes a file to an array of its pixels, by name."""
    from PIL import Image, features

    from bench.core import images

    with Image.open(path) as file:
        colours = file.mode == "RGB"
    inflater = f"zlib-ng {features.version_feature('zlib_ng')}" if features.check_feature("zlib_ng") else "zlib"
    ours = images.read_rgb if colours else images.read_labels
    ways: dict[str, Callable[[], Any]] = {f"ours: Pillow, inflated by {inflater}": lambda: ours(path)}
    try:
        cv2 = importlib.import_module("cv2")
    except ImportError:
        print("OpenCV is not installed", file=sys.stderr)
    else:
        cv2.setNumThreads(1)
        ways["OpenCV"] = lambda: cv2.imread(str(path), cv2.IMREAD_COLOR if colours else cv2.IMREAD_UNCHANGED)
    return ways


def least(ways: Mapping[str, Callable[[], Any]], repeats: int) -> dict[str, float]:
    """Return CPU milliseconds of each, the least of the repeats."""
    spent: dict[str, float] = {}
    for _ in range(repeats):
        for name, way in ways.items():
            before = time.process_time()
            way()
            took = 1e3 * (time.process_time() - before)
            spent[name] = min(spent.get(name, took), took)
    return spent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path, metavar="PNG")
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    lines = ["| file | bytes | work | CPU ms |", "| :--- | ---: | :--- | ---: |"]
    for path in options.files:
        stream = deflated(path)
        works = {f"decoding, {name}": way for name, way in decoders(path).items()}
        for name, inflate in inflaters(len(zlib.decompress(stream))).items():
            works[f"inflating alone, {name}"] = partial(inflate, stream)
        for work, milliseconds in least(works, options.repeats).items():
            lines.append(f"| {path.name} | {path.stat().st_size:,} | {work} | {milliseconds:.1f} |")
    text = [
        f"Written by `benchmarks/decoding.py` on {datetime.date.today()}: one thread, the least of {options.repeats}.",
        "",
        machine("pillow", "opencv-python", "zlib-ng", "isal", "deflate", "numpy"),
        "",
        *lines,
        "",
        "Another inflater saves at most its difference to the one in use: what else a decoder does is to reverse the"
        " filters of the rows and to copy pixels.",
    ]
    publish("Decoding", "\n".join(text), options.out)


if __name__ == "__main__":
    main()

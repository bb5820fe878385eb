"""How long corruptions take, ours against imagecorruptions 1.1.2, and how far the results are apart, in the same run.

    python benchmarks/corruptions.py [--out docs/benchmarks.md] [--repeats 5] [--seeds 4] [--only fog,snow]
        [--severities 1,2,3,4,5] [--no-equality]

Times are CPU seconds of the process for one image of 1024 x 2048, the median of the repeats. Those of one side follow
each other: where the two alternate, either pays for the pages that the other gives back, up to 5 ms. CPU time adds up
all threads of a process, so that threads cannot hide work; OpenCV is held to one on both sides all the same, because
waiting threads burn time. Ours runs on one thread. The library runs as ``tests/fixtures/corruptions/library.py`` makes
it run on a current Python. Its ``glass_blur`` is measured once: it takes up to 40 s. "NumPy's draws" is what NumPy
takes to draw the same random numbers and do nothing with them. ``--out`` replaces the section of that file.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import importlib.util
import platform
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.random import RandomState
from numpy.typing import NDArray
from page import machine, publish

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from bench.corruptions import NAMES, SEVERITIES, SOURCE_15, corrupt  # noqa: E402

HEIGHT, WIDTH = 1024, 2048
SIZES = ((32, 32), (33, 47), (61, 200), (240, 52), (127, 129), (255, 511), (480, 640))
LARGE = ((1024, 2048), (1081, 1923))
PHOTONS = (60, 25, 12, 5, 3)
GLASS = ((1, 2), (2, 1), (2, 3), (3, 2), (4, 2))
Image = NDArray[np.uint8]


def the_library() -> Callable[[Image, int, str], Image]:
    place = importlib.util.spec_from_file_location(
        "library", ROOT / "tests" / "fixtures" / "corruptions" / "library.py"
    )
    assert place is not None and place.loader is not None  # noqa: S101 - a file of ours
    module: Any = importlib.util.module_from_spec(place)
    place.loader.exec_module(module)
    found: Callable[[Image, int, str], Image] = module.load()
    return found


def scene(height: int, width: int, seed: int = 0) -> Image:
    """Ramps, blobs, noise, and flat parts, where rounding decides: saturated, black and grey."""
    from scipy import ndimage

    random = RandomState(seed)
    coarse = random.uniform(-60, 320, (max(2, height // 32), max(2, width // 32), 3))
    zoom = (height / coarse.shape[0], width / coarse.shape[1], 1)
    image = ndimage.zoom(coarse, zoom, order=1)[:height, :width]
    image = np.pad(image, ((0, height - image.shape[0]), (0, width - image.shape[1]), (0, 0)), mode="edge")
    image += random.normal(size=image.shape) * (random.uniform(size=(height, 1, 1)) < 0.5) * 12
    found = np.clip(image, 0, 255).astype(np.uint8)
    found[: height // 4, : width // 3] = 255
    found[height // 4 : height // 3, : width // 3] = 17
    found[: height // 5, width // 2 :] = (200, 201, 199)
    found[-height // 5 :, -width // 4 :] = 0
    return found


def draws(name: str, severity: int, image: Image, random: RandomState) -> None:
    """The random numbers of a corruption, drawn by NumPy in one go."""
    height, width = image.shape[:2]
    if name in ("gaussian_noise", "speckle_noise"):
        random.normal(size=image.shape)
    elif name == "shot_noise":
        random.poisson(image / 255.0 * PHOTONS[severity - 1])
    elif name == "impulse_noise":
        random.random_sample(2 * image.size)
    elif name in ("snow", "spatter"):
        random.normal(size=(height, width))
    elif name == "fog":
        random.uniform(-1, 1, (1 << (max(height, width) - 1).bit_length()) ** 2)
    elif name == "elastic_transform":
        random.uniform(-1, 1, 2 * height * width)
    elif name == "glass_blur":
        reach, rounds = GLASS[severity - 1]
        random.randint(-reach, reach, size=(rounds * (height - 2 * reach) * (width - 2 * reach), 2))


DRAWING = {"gaussian_noise", "speckle_noise", "shot_noise", "impulse_noise", "snow", "spatter", "fog"} | {
    "elastic_transform",
    "glass_blur",
}


def seconds(call: Callable[[], object]) -> float:
    start = time.process_time()
    call()
    return time.process_time() - start


def row(name: str, severity: int, image: Image, library: Callable[..., Image], repeats: int) -> tuple[float, ...]:
    """Median CPU seconds of ours, the library and NumPy's draws."""
    ours, theirs, drawn = [], [], []
    if name != "glass_blur":
        library(image, severity, name)
    for repeat in range(1 if name == "glass_blur" else repeats):
        np.random.seed(repeat)
        theirs.append(seconds(lambda: library(image, severity, name)))
    corrupt(image, name, severity, RandomState(0))  # compiled and read before
    for repeat in range(repeats):
        ours.append(seconds(lambda: corrupt(image, name, severity, RandomState(repeat))))  # noqa: B023 - called now
    for repeat in range(repeats if name in DRAWING else 0):
        drawn.append(seconds(lambda: draws(name, severity, image, RandomState(repeat))))  # noqa: B023
    return statistics.median(ours), statistics.median(theirs), statistics.median(drawn) if drawn else 0.0


def times(names: list[str], severities: list[int], library: Callable[..., Image], repeats: int) -> list[str]:
    image = scene(HEIGHT, WIDTH)
    found: dict[tuple[str, int], tuple[float, ...]] = {}
    for name in names:
        for severity in severities:
            found[name, severity] = row(name, severity, image, library, repeats)
            print(name, severity, *(f"{value:.4f}" for value in found[name, severity]), flush=True)
    header = " | ".join(f"s{severity} ours / library (ratio)" for severity in severities)
    lines = [f"| corruption | {header} | NumPy's draws, s{severities[len(severities) // 2]} |"]
    lines += ["| --- |" + " ---: |" * (len(severities) + 1)]
    for name in names:
        cells = [
            f"{ours:.3f} / {theirs:.3f} ({theirs / ours:.1f}x)"
            for ours, theirs, _ in (found[name, severity] for severity in severities)
        ]
        drawn = found[name, severities[len(severities) // 2]][2]
        lines.append(f"| {name} | {' | '.join(cells)} | {f'{drawn:.3f}' if drawn else ''} |")
    for title, group in (("the 15 of the source system", SOURCE_15), ("all 19", NAMES)):
        if set(group) <= set(names):
            sums = [[sum(found[name, severity][side] for name in group) for side in (0, 1)] for severity in severities]
            cells = [f"**{ours:.2f} / {theirs:.2f} ({theirs / ours:.1f}x)**" for ours, theirs in sums]
            lines.append(f"| **sum of {title}** | {' | '.join(cells)} | |")
    slowest = min(found, key=lambda key: found[key][1] / found[key][0])
    ratio = found[slowest][1] / found[slowest][0]
    return [*lines, "", f"The smallest ratio is {ratio:.2f} ({slowest[0]}, severity {slowest[1]})."]


def equality(names: list[str], severities: list[int], library: Callable[..., Image], seeds: int) -> list[str]:
    """The largest difference in grey levels and the share of differing values, over sizes and seeds."""
    lines = [
        "| corruption | images | values | largest difference | differing values | generators left alike |",
        "| --- | ---: | ---: | ---: | ---: | --- |",
    ]
    for name in names:
        images = values = largest = differing = 0
        alike = True
        for height, width in SIZES[:6] if name == "glass_blur" else SIZES + LARGE:
            for seed in range(1 if height > 1000 else seeds):
                image = scene(height, width, seed)
                for severity in severities:
                    np.random.seed(10 * seed + severity)
                    random = RandomState(10 * seed + severity)
                    theirs = library(image, severity, name)
                    apart = np.abs(theirs.astype(np.int16) - corrupt(image, name, severity, random))
                    images, values = images + 1, values + apart.size
                    largest, differing = max(largest, int(apart.max())), differing + int((apart > 0).sum())
                    alike &= bool(random.random_sample() == np.random.random_sample())
        lines.append(f"| {name} | {images} | {values:,} | {largest} | {differing} | {'yes' if alike else 'no'} |")
        print(lines[-1], flush=True)
    return lines


def processor() -> str:
    info = Path("/proc/cpuinfo")
    found = [line for line in info.read_text().splitlines() if line.startswith("model name")] if info.exists() else []
    return found[0].split(":")[1].strip() if found else platform.machine()


def section(arguments: argparse.Namespace) -> str:
    import cv2

    cv2.setNumThreads(1)
    names = arguments.only.split(",") if arguments.only else list(NAMES)
    severities = [int(severity) for severity in arguments.severities.split(",")]
    library = the_library()
    packages = ("numpy", "numba", "scipy", "scikit-image", "opencv-python", "pillow", "imagecorruptions")
    lines = [
        f"Written by `benchmarks/corruptions.py` on {datetime.datetime.now(datetime.UTC).date()}: CPU seconds for one",
        f"image of {HEIGHT} x {WIDTH}, median of {arguments.repeats} runs; one of the library's `glass_blur`. Ours",
        "is compiled before. CPU time adds up the threads of a process; OpenCV is held to one on both sides, ours runs",
        "on one. `frost` has its pictures at hand, as after the first few images of a size.",
        "",
        f"{processor()}; {machine(*packages)}",
        "",
        *times(names, severities, library, arguments.repeats),
        "",
    ]
    if not arguments.no_equality:
        sizes = ", ".join(f"{height} x {width}" for height, width in SIZES + LARGE)
        lines += [
            "### Equality",
            "",
            f"The same draws, severities {arguments.severities}, images of {sizes};",
            f"{arguments.seeds} seeds, one for the two largest. `glass_blur` up to 255 x 511: it takes seconds.",
            "",
            *equality(names, severities, library, arguments.seeds),
            "",
        ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--only", help="names, separated by commas")
    parser.add_argument("--severities", default=",".join(map(str, SEVERITIES)))
    parser.add_argument("--no-equality", action="store_true")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")  # 0 / 0 where spatter leaves a small image dry
    publish("Corruptions", section(arguments), arguments.out)


if __name__ == "__main__":
    main()

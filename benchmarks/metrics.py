"""How long the pooled pixel metrics take, ours against others, on the same synthetic maps in the same run.

    python benchmarks/metrics.py --out docs/benchmarks.md [--images 30] [--scores maxlogit q entropy]
        [--smiyc CHECKOUT of SegmentMeIfYouCan/road-anomaly-benchmark] [--bdl CHECKOUT of hermannsblum/bdl-benchmark]

Every measurement is a process of its own. CPU time of reading maps already in memory, after the evaluator has read a
corner of them once: what it imports and compiles is not in the clock. The memory is the growth of the resident set from
then on. Peers that are not installed are named and left out; the checkouts are used under the names that NumPy and
SciPy have taken back since, and that of Fishyscapes wants tensorflow_datasets. pytorch-ood and torch-uncertainty
import torchvision, whose wheels are built for GPUs: operators that cannot be loaded are declared, and none is called.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from page import machine, publish

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

SIZE = (1024, 2048)
Pairs = list[tuple[NDArray[np.float32], NDArray[np.uint8]]]
Figures = dict[str, float]


def draw(folder: Path, images: int) -> None:
    """Write scores float32 and truths uint8: logits of 19 classes at a quarter of the size, upsampled bilinearly.

    Anomalies are blocks where the logits are flatter; a pixel is wrong as often as its probabilities say.
    """
    from scipy import ndimage

    generator = np.random.RandomState(0)
    for index in range(images):
        coarse = ndimage.zoom(generator.normal(size=(19, 16, 32)), (1, 16, 16), order=1) * 5
        strange = ndimage.zoom((generator.uniform(size=(16, 32)) < 0.02).astype(np.float64), 16, order=0)
        quarter = (coarse + generator.normal(size=coarse.shape)) * (1 - 0.6 * strange)
        logits = np.stack(
            [ndimage.zoom(plane, 4, order=1, grid_mode=True, mode="nearest") for plane in quarter]
        ).astype(np.float32)
        top = logits.max(axis=0)
        parts = np.exp(logits - top)
        others = parts.sum(axis=0) - 1
        entropy = np.log1p(others) - ((logits - top) * parts).sum(axis=0) / (1 + others)
        wrong = (generator.uniform(size=SIZE) < 0.5 * others / (1 + others)).astype(np.uint8)
        truths = {"misclassification": wrong, "anomaly": ndimage.zoom(strange, 4, order=0).astype(np.uint8)}
        for truth in truths.values():
            truth[-51:] = 255
        scores = {"maxlogit": -top, "q": others / (1 + others), "entropy": entropy}
        for name, values in {**scores, **truths}.items():
            np.save(folder / f"{name}-{index:03d}.npy", np.ascontiguousarray(values))


def load(folder: Path, score: str, truth: str, images: int) -> Pairs:
    return [
        (np.load(folder / f"{score}-{index:03d}.npy"), np.load(folder / f"{truth}-{index:03d}.npy"))
        for index in range(images)
    ]


def ours(pairs: Pairs, budget: int) -> Figures:
    from bench.counts.tally import Tally, key_pixels
    from bench.metrics.ranking import ranking

    tally = Tally(2, budget)
    for score, truth in pairs:
        tally.add(key_pixels(score, truth, 2))
    found = ranking(tally.counts(), [1], [0])
    return {
        **{name: getattr(figure, "value", np.nan) for name, figure in found.items()},
        "widest": max(getattr(found[name], "err", np.nan) for name in ("auroc", "ap", "fpr95", "best_f1")),
    }


def reading(pairs: Pairs) -> Figures:
    """Add up score and truth in a compiled loop: the least that any evaluator must do."""
    import numba

    @numba.njit
    def total(score: NDArray[np.float32], truth: NDArray[np.uint8]) -> float:
        sums = 0.0
        for index in range(score.size):
            sums += score[index] + truth[index]
        return sums

    flat = [(score.reshape(-1), truth.reshape(-1)) for score, truth in pairs]
    total(flat[0][0][:8], flat[0][1][:8])
    start = time.process_time()
    sums = sum(total(*pair) for pair in flat)
    return {"sum": sums, "seconds": time.process_time() - start}


def pooled(pairs: Pairs) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    score = np.concatenate([score[truth < 255] for score, truth in pairs])
    return np.concatenate([truth[truth < 255] for _, truth in pairs]), score


def sklearn_three(pairs: Pairs) -> Figures:
    from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

    truth, score = pooled(pairs)
    fpr, tpr, _ = roc_curve(truth, score)
    return {
        "auroc": float(roc_auc_score(truth, score)),
        "ap": float(average_precision_score(truth, score)),
        "fpr95": float(fpr[np.argmax(tpr >= 0.95)]),
    }


def sklearn_curve(pairs: Pairs) -> Figures:
    from sklearn.metrics import roc_curve

    truth, score = pooled(pairs)
    fpr, tpr, _ = roc_curve(truth, score, drop_intermediate=False)
    positives, negatives = int((truth == 1).sum()), int((truth == 0).sum())
    hits, alarms = tpr * positives, fpr * negatives
    precision = hits / np.maximum(hits + alarms, 1)
    return {
        "auroc": float(np.trapezoid(tpr, fpr)),
        "ap": float((np.diff(tpr) * precision[1:]).sum()),
        "fpr95": float(fpr[np.argmax(tpr >= 0.95)]),
    }


@cache
def with_torchvision() -> None:
    """Import torchvision for those that import it, and where its compiled operators do not fit this torch, without."""
    import torch

    try:
        import torchvision  # noqa: F401
    except ModuleNotFoundError:
        return
    except RuntimeError:
        for name in ("nms", "qnms"):  # whose shapes it registers
            torch.library.define(f"torchvision::{name}", "(Tensor boxes, Tensor scores, float threshold) -> Tensor")


def torchmetrics_exact(pairs: Pairs) -> Figures:
    import torch

    with_torchvision()
    from torchmetrics.functional.classification import binary_auroc, binary_average_precision

    truth, score = (torch.from_numpy(array) for array in pooled(pairs))
    return {"auroc": float(binary_auroc(score, truth.int())), "ap": float(binary_average_precision(score, truth.int()))}


def pytorch_ood(pairs: Pairs) -> Figures:
    import torch

    with_torchvision()
    from pytorch_ood.metrics import OODMetrics  # from version 0.4 on

    metrics = OODMetrics()
    truth, score = pooled(pairs)
    metrics.update(torch.from_numpy(score), torch.from_numpy(np.where(truth == 1, -1, 0)))
    found = metrics.compute()
    return {"auroc": float(found["AUROC"]), "ap": float(found["AUPR-OUT"]), "fpr95": float(found["FPR95TPR"])}


def torch_uncertainty(pairs: Pairs) -> Figures:
    import torch

    with_torchvision()
    from torch_uncertainty.metrics import FPR95

    metric = FPR95(pos_label=1)
    truth, score = (torch.from_numpy(array) for array in pooled(pairs))
    metric.update(score, truth.int())
    return {"fpr95": float(metric.compute())}


def as_of_old() -> None:
    """Give NumPy and SciPy back the names that the official evaluators use."""
    from scipy import ndimage

    for name, value in {"int": int, "bool": bool, "float": float}.items():
        if name not in np.__dict__:
            setattr(np, name, value)
    if "trapz" not in np.__dict__:
        setattr(np, "trapz", np.trapezoid)  # noqa: B010 - a name that type checkers know to be gone
    sys.modules.setdefault("scipy.ndimage.measurements", ndimage)


def official_smiyc(pairs: Pairs) -> Figures:
    as_of_old()
    from road_anomaly_benchmark.metrics import MetricRegistry

    metric = MetricRegistry.get("PixBinaryClass")
    frames = [
        metric.process_frame(label_pixel_gt=truth, anomaly_p=score.astype(np.float16), fid=str(index), dset_name="x",
                             method_name="x", visualize=False)
        for index, (score, truth) in enumerate(pairs)
    ]  # fmt: skip
    found = metric.aggregate(frames, method_name="x", dataset_name="x")
    return {"auroc": float(found.area_ROC), "ap": float(found.area_PRC), "fpr95": float(found.tpr95_fpr)}


class _Tensor:
    """An array as the function of Fishyscapes asks for it."""

    def __init__(self, array: NDArray[Any]) -> None:
        self._array = array

    def numpy(self) -> NDArray[Any]:
        return self._array


def official_fishyscapes(pairs: Pairs) -> Figures:
    as_of_old()
    from bdlb.fishyscapes.benchmark import FishyscapesValidation

    batches = [{"image_left": _Tensor(score), "mask": _Tensor(truth[..., None])} for score, truth in pairs]
    found = FishyscapesValidation.evaluate(lambda image: image, dataset=batches)
    return {"auroc": float(found["auroc"]), "ap": float(found["AP"]), "fpr95": float(found["FPR@95%TPR"])}


def our_components(pairs: Pairs) -> Figures:
    from bench.metrics import components

    rows = [
        components.find(score >= np.quantile(score[::16, ::16], 0.97), truth, min_predicted=50, min_truth=10)
        for score, truth in pairs
    ]
    return {name: getattr(figure, "value", np.nan) for name, figure in components.read(rows).items()}


def official_components(pairs: Pairs) -> Figures:
    as_of_old()
    from road_anomaly_benchmark.metrics.instance_segmentation import default_instancer, segment_metrics

    overlaps: list[float] = []
    for score, truth in pairs:
        threshold = np.nextafter(np.quantile(score[::16, ::16], 0.97), -np.inf)
        frame = segment_metrics(*default_instancer(score, truth, threshold, 50, 10))
        overlaps.extend(frame["sIoU_gt"])
    return {"siou": float(np.mean(overlaps))}


EVALUATORS: dict[str, Callable[[Pairs], Figures]] = {
    "reading score and truth (numba)": reading,
    "ours, certified (24 bits)": lambda pairs: ours(pairs, 0),
    "ours, exact": lambda pairs: ours(pairs, 2**40),
    "scikit-learn, three calls": sklearn_three,
    "scikit-learn, one curve": sklearn_curve,
    "torchmetrics, exact": torchmetrics_exact,
    "pytorch-ood": pytorch_ood,
    "torch-uncertainty, FPR95": torch_uncertainty,
    "official SMIYC evaluator": official_smiyc,
    "official Fishyscapes function": official_fishyscapes,
    "ours, components": our_components,
    "official SMIYC components": official_components,
}


def measure(name: str, folder: Path, score: str, truth: str, images: int) -> dict[str, float]:
    """In this process: CPU seconds, growth of the resident set in MB, and the figures."""
    pairs = load(folder, score, truth, images)
    EVALUATORS[name](corner(pairs))  # imported and compiled once
    clear = Path("/proc/self/clear_refs")
    if clear.exists():
        clear.write_text("5")  # the highest resident set so far is forgotten
    resident, start = memory("VmRSS"), time.process_time()
    found = EVALUATORS[name](pairs)
    cpu = time.process_time() - start
    return {"cpu": found.pop("seconds", cpu), "megabytes": memory("VmHWM") - resident, **found}


def corner(pairs: Pairs) -> Pairs:
    """A few lines of the first map, with pixels of both sides."""
    score, truth = (array[:32].copy() for array in pairs[0])
    truth[0, :64], truth[1, :64] = 0, 1
    return [(score, truth)]


def memory(field: str) -> float:
    """MB of this process, by the name of the field in /proc/self/status; NaN where there is none."""
    status = Path("/proc/self/status")
    if not status.exists():
        return float("nan")
    return next(int(line.split()[1]) / 1024 for line in status.read_text().splitlines() if line.startswith(field))


def apart(
    name: str, folder: Path, score: str, truth: str, images: int, checkouts: list[Path]
) -> dict[str, float] | str:
    """``measure`` in a process of its own; the last line of its complaint if it fails."""
    place = os.pathsep.join([*(str(path) for path in checkouts), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, __file__, "--one", name, "--folder", str(folder), "--images", str(images)]
    done = subprocess.run(  # noqa: S603 - this very file
        [*command, "--scores", score, "--truths", truth],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": place},
        check=False,
    )
    if done.returncode:
        return (done.stderr.strip().splitlines() or [f"ended with {done.returncode}"])[-1]
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


PACKAGES = (
    "numpy",
    "numba",
    "scipy",
    "scikit-learn",
    "torch",
    "torchmetrics",
    "pytorch-ood",
    "torch-uncertainty",
)


def section(arguments: argparse.Namespace) -> str:
    today = datetime.datetime.now(datetime.UTC).date()
    lines = [
        f"Written by `benchmarks/metrics.py` on {today}: {arguments.images} maps of {SIZE[0]} x {SIZE[1]},",
        f"synthetic; each evaluator in a process of its own, median of {arguments.repeats} runs (scikit-learn: one).",
        "",
        machine(*PACKAGES),
        "",
    ]
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        draw(folder, arguments.images)
        for score in arguments.scores:
            for truth in arguments.truths:
                lines += table(arguments, folder, score, truth)
    return "\n".join(lines) + "\n"


def table(arguments: argparse.Namespace, folder: Path, score: str, truth: str) -> list[str]:
    """One table: each evaluator's cost, and how many times that of ours."""
    results: dict[str, dict[str, float] | str] = {}
    for name in arguments.only or EVALUATORS:
        if name.endswith("components") and truth != "anomaly":
            continue
        runs = [
            apart(name, folder, score, truth, arguments.images, arguments.checkouts)
            for _ in range(1 if name.startswith("scikit") else arguments.repeats)
        ]
        good = sorted((run for run in runs if isinstance(run, dict)), key=lambda run: run["cpu"])
        results[name] = good[len(good) // 2] if good else runs[0]
        print(score, truth, name, results[name], flush=True)
    lines = [
        f"### {score}, {truth}", "",
        "| evaluator | CPU ms per map | MB beyond the maps | x certified | x exact | x reading | AUROC | AP | FPR95 |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]  # fmt: skip
    bases = [results.get(name) for name in list(EVALUATORS)[1:3] + list(EVALUATORS)[:1]]
    for name, found in results.items():
        if isinstance(found, str):
            lines.append(f"| {name} | not run: {found.replace('|', '/')[:90]} |  |  |  |  |  |  |  |")
            continue
        pixels = not name.endswith("components")
        ratios = [f"{found['cpu'] / base['cpu']:.1f}" if pixels and isinstance(base, dict) else "" for base in bases]
        figures = [f"{found[metric]:.6f}" if metric in found else "" for metric in ("auroc", "ap", "fpr95")]
        cost = f"{1000 * found['cpu'] / arguments.images:.2f}"
        lines.append("| " + " | ".join([name, cost, f"{found['megabytes']:.0f}", *ratios, *figures]) + " |")
    certified = results.get("ours, certified (24 bits)")
    if isinstance(certified, dict):
        lines += ["", f"The widest certified half-width is {certified['widest']:.1e}."]
    return [*lines, ""]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=30)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--scores", nargs="+", default=["maxlogit", "q", "entropy"])
    parser.add_argument("--truths", nargs="+", default=["misclassification", "anomaly"])
    parser.add_argument("--only", nargs="+", choices=list(EVALUATORS))
    parser.add_argument("--smiyc", type=Path)
    parser.add_argument("--bdl", type=Path)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--one", choices=list(EVALUATORS), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        found = measure(arguments.one, arguments.folder, arguments.scores[0], arguments.truths[0], arguments.images)
        print(json.dumps(found))
        return
    arguments.checkouts = [path.resolve() for path in (arguments.smiyc, arguments.bdl) if path]
    text = section(arguments)
    publish("Metrics", text, arguments.out)


if __name__ == "__main__":
    main()

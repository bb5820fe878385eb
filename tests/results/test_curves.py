"""What a page draws: curves held to every pixel, thresholds, images, costs, and thresholds under corruption."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.api import Value
from bench.counts.tally import Tally, key_pixels
from bench.metrics.accumulate import Reading
from bench.metrics.intervals import intervals
from bench.results import (
    by_image,
    corrupted_points,
    costs,
    curves,
    operating,
    polyline,
    ranked,
    reliability,
    store,
)
from bench.results.store import Cell, CellLabels, Plan, Result, Run
from bench.suite import registry

Image = tuple[np.ndarray, np.ndarray]  # float32 scores and uint8 categories, [H, W]


def scene(
    seed: int, *, positives: float = 0.1, signal: float = 0.3, levels: int = 1 << 14, size: tuple[int, int] = (48, 64)
) -> Image:
    """Scores of few enough digits to survive the fold to 24 bits."""
    rng = np.random.default_rng(seed)
    truth = (rng.random(size) < positives).astype(np.uint8)
    score = rng.beta(2, 5, truth.shape) + signal * truth * rng.random(truth.shape)
    return (1 + np.round(score * levels) / levels).astype(np.float32), truth


def scenes(count: int = 6, **how: Any) -> dict[str, Image]:
    return {f"image{index}": scene(index, **how) for index in range(count)}


def cell(
    path: Path,
    images: Mapping[str, Image],
    protocol: str = "misclassification",
    params: Mapping[str, Any] | None = None,
    more: Callable[[Image], Mapping[str, Any]] = lambda image: {},
    **others: Any,
) -> Result:
    """A result as the engine leaves it, with its counts, from maps of scores and categories."""
    made = registry.build("protocol", protocol, params or {}, where="a test")
    tally, rows = Tally(len(made.category_names)), {}
    for name, image in images.items():
        keyed = key_pixels(*image, len(made.category_names))
        tally.add(keyed)
        rows[name] = {**more(image), **keyed.bins()}
    figures, replicates = intervals(made, dict(made.read(tally.counts(), rows)), rows, 0, 40)
    labels = {"protocol": protocol, "model": "net", "dataset": "streets", "method": "msp"} | others.pop("labels", {})
    spelled: dict[str, Any] = {axis: {"name": label, "params": {}} for axis, label in labels.items()}
    spelled["protocol"] = {"name": protocol, "params": dict(params or {})}
    if (how := store.uncorrupted(labels["dataset"])[1]) is not None:
        spelled["dataset"]["params"] = {"corruption": {"name": how.name, "severity": how.severity, "order": how.order}}
    key = hashlib.sha256(repr(sorted(labels.items())).encode()).hexdigest()[:16]
    pixels = {name: tally.counts().column([index]).total for index, name in enumerate(made.category_names)}
    about = {axis: {"source": "a test"} for axis in labels}
    about["protocol"]["version"] = made.version
    result = Result(
        key,
        Cell.read(spelled | {"seed": 0, "bootstrap": 40}, CellLabels(**labels), {}),
        figures,
        made.metrics,
        about,
        len(rows),
        False,
        pixels=pixels,
    )
    arrays = {f"replicates.{name}": values for name, values in replicates.items()} | store.pack_rows(rows)
    arrays |= {f"counts.{name}": values for name, values in tally.folded_arrays().items()}
    arrays |= Reading(made, tally.counts(), rows).arrays() | {"ids": np.array(list(rows))}
    result = replace(result, **others)
    store.write_result(path, result, arrays)
    return result


def run_of(
    path: Path, *results: Result, points: tuple[Mapping[str, str], ...] = (), absent: tuple[Any, ...] = ()
) -> Run:
    keys = [result.key for result in results] + [f"{index:016x}" for index in range(len(absent))]
    cells = (*(result.labels for result in results), *absent)
    store.write_plan(path, Plan("x", "", "", tuple(keys), (), cells, points), "")
    return store.read_run(path)


def pooled(images: Mapping[str, Image]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """By brute force: every threshold from the top, and the positives and negatives at or above it."""
    score = np.concatenate([one.reshape(-1) for one, _ in images.values()])
    truth = np.concatenate([one.reshape(-1) for _, one in images.values()])
    levels, place = np.unique(-score, return_inverse=True)
    hits, alarms = (np.cumsum(np.bincount(place, truth == side)).astype(np.int64) for side in (1, 0))
    return -levels, hits, alarms


def distance(x: np.ndarray, y: np.ndarray, line_x: Any, line_y: Any) -> np.ndarray:
    """How far points [n] lie from a polyline."""
    a = np.stack([line_x, line_y], axis=1)
    start, along = a[:-1, None], np.diff(a, axis=0)[:, None]
    points = np.stack([x, y], axis=1)[None]
    squares = (along**2).sum(-1)
    share = np.divide(
        ((points - start) * along).sum(-1), squares, out=np.zeros((len(a) - 1, x.size)), where=squares > 0
    )
    nearest = start + np.clip(share, 0, 1)[..., None] * along
    return np.sqrt(((points - nearest) ** 2).sum(-1)).min(axis=0)


ROUNDED = 1e-5  # five digits of numbers up to 1


@pytest.mark.parametrize("how", [{}, {"signal": 2.0}, {"positives": 0.6, "signal": 0.05}, {"levels": 20}])
def test_the_drawn_curves_are_the_full_ones_to_a_thousandth(tmp_path: Path, how: dict[str, Any]) -> None:
    images = scenes(size=(256, 512), **how)
    result = cell(tmp_path, images)
    found = curves.roc_pr(run_of(tmp_path, result), result)
    assert found is not None and max(len(found.fpr), len(found.recall)) <= polyline.POINTS
    _, hits, alarms = pooled(images)
    tpr, fpr = np.append(0, hits / hits[-1]), np.append(0, alarms / alarms[-1])
    assert distance(fpr, tpr, found.fpr, found.tpr).max() <= 1e-3 + ROUNDED
    precision, recall = hits / (hits + alarms), hits / hits[-1]
    steps = np.stack([np.append(0, recall[:-1]), recall], axis=1).reshape(-1)
    assert distance(steps, np.repeat(precision, 2), found.recall, found.precision).max() <= 1e-3 + ROUNDED
    assert found.within <= 1e-3
    assert (found.fpr[0], found.tpr[0], found.fpr[-1], found.tpr[-1]) == (0, 0, 1, 1)
    assert (found.recall[0], found.recall[-1]) == (0, 1)


def test_a_curve_too_ragged_for_its_points_says_how_far_it_is(tmp_path: Path) -> None:
    images = scenes(1)
    result = cell(tmp_path, images)
    found = curves.roc_pr(run_of(tmp_path, result), result)
    _, hits, alarms = pooled(images)
    assert found is not None and len(found.fpr) == polyline.POINTS and found.within > 1e-3
    away = distance(alarms / alarms[-1], hits / hits[-1], found.fpr, found.tpr).max()
    assert 1e-3 < away <= found.within + ROUNDED


def test_the_areas_under_them_are_the_figures(tmp_path: Path) -> None:
    result = cell(tmp_path, scenes())
    found = curves.roc_pr(run_of(tmp_path, result), result)
    assert found is not None
    assert np.trapezoid(found.tpr, found.fpr) == pytest.approx(result.metrics["auroc"].value, abs=1e-3)
    assert np.trapezoid(found.precision, found.recall) == pytest.approx(result.metrics["ap"].value, abs=1e-3)


def test_a_threshold_of_a_point_gives_that_point(tmp_path: Path) -> None:
    images = scenes()
    result = cell(tmp_path, images)
    found = curves.roc_pr(run_of(tmp_path, result), result)
    assert found is not None and found.roc_thresholds[0] is None
    levels, hits, alarms = pooled(images)
    for threshold, x, y in zip(found.roc_thresholds[1:], found.fpr[1:], found.tpr[1:], strict=True):
        place = np.flatnonzero(levels >= np.float32(threshold))[-1]
        assert (x, y) == pytest.approx((alarms[place] / alarms[-1], hits[place] / hits[-1]), abs=ROUNDED)
    for threshold, y in zip(found.pr_thresholds, found.precision, strict=True):
        place = np.flatnonzero(levels >= np.float32(threshold))[-1]
        assert y == pytest.approx(hits[place] / (hits[place] + alarms[place]), abs=ROUNDED)


def test_the_marked_points_are_those_of_the_rules(tmp_path: Path) -> None:
    images = scenes()
    result = cell(tmp_path, images)
    found = curves.roc_pr(run_of(tmp_path, result), result)
    assert found is not None
    points = {point.name: point for point in found.points}
    assert list(points) == ["tpr95", "fpr05", "best_f1"], "the protocol's own threshold is that of the best F1"
    levels, hits, alarms = pooled(images)
    for point in points.values():
        place = np.flatnonzero(levels >= np.float32(point.threshold))[-1]
        true, false = hits[place], alarms[place]
        assert point.tpr == pytest.approx(true / hits[-1], abs=ROUNDED)
        assert point.fpr == pytest.approx(false / alarms[-1], abs=ROUNDED)
        assert point.precision == pytest.approx(true / (true + false), abs=ROUNDED)
        assert point.f1 == pytest.approx(2 * true / (true + false + hits[-1]), abs=ROUNDED)
    assert points["fpr05"].fpr <= 0.05 and points["tpr95"].tpr >= 0.95
    assert points["tpr95"].fpr == pytest.approx(result.metrics["fpr95"].value, abs=ROUNDED)
    assert points["best_f1"].f1 == pytest.approx(result.metrics["best_f1"].value, abs=ROUNDED)


def test_a_threshold_that_only_the_protocol_knows_is_marked_too(tmp_path: Path) -> None:
    result = cell(tmp_path, scenes())
    moved = replace(result, metrics={**result.metrics, "best_f1_threshold": Value(1.1)})
    found = curves.roc_pr(run_of(tmp_path, moved), moved)
    assert found is not None and found.points[-1].name == "best_f1_threshold" and found.points[-1].threshold == 1.1
    high = replace(result, metrics={**result.metrics, "best_f1_threshold": Value(99.0)})  # nothing is above it
    found = curves.roc_pr(run_of(tmp_path, high), high)
    assert found is not None and len(found.points) == 3


def test_a_constant_score_is_a_diagonal_and_a_level_line(tmp_path: Path) -> None:
    images = {name: (np.ones_like(score), truth) for name, (score, truth) in scenes().items()}
    result = cell(tmp_path, images)
    run = run_of(tmp_path, result)
    found, risks = curves.roc_pr(run, result), curves.risk_coverage(run, result)
    share = np.mean([truth.mean() for _, truth in images.values()])
    assert found is not None and risks is not None
    assert (found.fpr, found.tpr, found.recall) == ((0, 1), (0, 1), (0, 1))
    assert found.precision == pytest.approx((share, share), rel=1e-4)
    assert found.within <= ranked.SPACED and {point.name for point in found.points} == {"tpr95", "best_f1"}
    assert set(risks.risk) == {risks.error_rate} and risks.error_rate == pytest.approx(share, rel=1e-4)


@pytest.mark.parametrize(
    ("protocol", "params", "parts"),
    [
        ("misclassification", {"by": "class", "classes": ("road", "sky")}, (0, 1, 2, 3)),
        ("anomaly", {"by": "size", "sizes": (9,)}, (0, 0, 1, 2)),
        ("fishyscapes", {}, (0, 0, 1, 1)),
        ("fed_anomaly", {}, (0, 0, 1, 1)),
    ],
)
def test_whatever_parts_are_counted_apart_the_sides_are_the_same(
    tmp_path: Path, protocol: str, params: dict[str, Any], parts: tuple[int, ...]
) -> None:
    """Negative pixels of an even column are of the first part, those of an odd one of the second."""
    plain = scenes()
    odd = np.indices((48, 64))[1] % 2
    split = {name: (score, np.array(parts, np.uint8)[2 * truth + odd]) for name, (score, truth) in plain.items()}
    whole = cell(tmp_path, plain, labels={"dataset": "whole"})
    result = cell(tmp_path, split, protocol, params)
    run = run_of(tmp_path, whole, result)
    assert curves.roc_pr(run, result).fpr == curves.roc_pr(run, whole).fpr
    assert (curves.risk_coverage(run, result) is None) == (protocol != "misclassification")


@pytest.mark.parametrize("how", [{}, {"levels": 12}, {"signal": -0.1, "positives": 0.5}, {"positives": 0.002}])
def test_the_area_under_risk_and_coverage_is_aurc(tmp_path: Path, how: dict[str, Any]) -> None:
    result = cell(tmp_path, scenes(**how))
    found = curves.risk_coverage(run_of(tmp_path, result), result)
    assert found is not None and len(found.coverage) <= polyline.POINTS
    area = np.trapezoid(found.risk, found.coverage) + found.coverage[0] * found.risk[0]
    assert area == pytest.approx(result.metrics["aurc"].value, abs=1e-4)
    best = np.trapezoid(*np.array(found.perfect).T[::-1])
    excess = result.metrics["aurc"].value - result.metrics["e_aurc"].value
    assert best == pytest.approx(excess, abs=1e-4)
    assert found.coverage[-1] == 1 and found.risk[-1] == found.error_rate == found.perfect[-1][1]


def test_where_there_is_nothing_to_rank_there_is_no_curve(tmp_path: Path) -> None:
    clean = {name: (score, 0 * truth) for name, (score, truth) in scenes().items()}
    unranked = cell(tmp_path, clean)
    result = cell(tmp_path, scenes(), labels={"method": "energy"})
    absent = replace(result, not_applicable="the network gives no logits")
    foreign = replace(result, cell=replace(result.cell, protocol=replace(result.cell.protocol, name="of_a_plug_in")))
    run = run_of(tmp_path, unranked, result)
    for one in (unranked, absent, foreign):
        assert curves.roc_pr(run, one) is None and curves.risk_coverage(run, one) is None
    assert by_image.by_image(run, absent) is None and reliability.reliability(run, result) is None
    assert curves.roc_pr(run, result) is not None


def test_a_confidence_is_no_score_to_rank_by(tmp_path: Path) -> None:
    result = calibrated(tmp_path)
    assert curves.roc_pr(run_of(tmp_path, result), result) is None


def calibrated(path: Path) -> Result:
    from bench.api import Sample

    protocol = registry.build("protocol", "calibration", {"bins": 10}, where="a test")

    def row(image: Image) -> Mapping[str, Any]:
        score, wrong = image
        sample = Sample("x", score.shape, lambda: None, labels=wrong)
        return protocol.row(sample, np.zeros_like(wrong), score)

    images = {name: (np.float32(2) - np.minimum(score, 2), truth) for name, (score, truth) in scenes().items()}
    return cell(path, images, "calibration", {"bins": 10}, row)


def test_reliability_holds_the_bins_of_the_calibration_error(tmp_path: Path) -> None:
    result = calibrated(tmp_path)
    found = reliability.reliability(run_of(tmp_path, result), result)
    assert found is not None and found.edges == tuple(round(place / 10, 1) for place in range(11))
    weights = np.array(found.pixels) / sum(found.pixels)
    assert sum(found.pixels) == sum(result.pixels.values())
    ece = weights @ abs(np.array(found.accuracy) - np.array(found.confidence))
    assert ece == pytest.approx(result.metrics["ece"].value, abs=1e-4)
    for confidence in found.confidence:
        assert any(low <= confidence <= low + 0.1 + ROUNDED for low in found.edges[:-1])


def test_images_come_worst_first_and_those_without_a_figure_apart(tmp_path: Path) -> None:
    images = scenes()
    images["clean"] = (images["image0"][0], 0 * images["image0"][1])
    result = cell(tmp_path, images)
    run = run_of(tmp_path, result)
    found = by_image.by_image(run, result)
    assert found is not None and found.metric == "auroc" and found.undefined == ("clean",)
    assert list(found.values) == sorted(found.values) and sorted(found.ids) == sorted(set(images) - {"clean"})
    alone = dict(zip(run.sample_ids(result), run.arrays(result)["images.auroc"], strict=True))
    assert found.values == pytest.approx([alone[name] for name in found.ids], abs=ROUNDED)
    assert found.quantiles[0] == found.values[0] and found.quantiles[100] == found.values[-1]
    assert found.quantiles[50] == pytest.approx(np.median(found.values), abs=2 * ROUNDED)


def test_where_less_is_better_the_worst_image_has_the_most(tmp_path: Path) -> None:
    result = cell(tmp_path, scenes())
    first = {"fpr95": result.definitions["fpr95"], **result.definitions}
    lower = replace(result, definitions=first)
    found = by_image.by_image(run_of(tmp_path, lower), lower)
    assert found is not None and found.metric == "fpr95" and list(found.values) == sorted(found.values, reverse=True)


def test_scoring_is_charged_to_every_cell_that_shares_the_map(tmp_path: Path) -> None:
    shared = {"setup": 9.0, "predict": 0.6, "load": 1.2, "count": 0.3}
    one = cell(tmp_path, scenes(), seconds=shared | {"score": 0.06}, memory_mb=300.0)
    other = cell(tmp_path, scenes(), "idm", None, idm_row, seconds=shared | {"spool": 0.3}, memory_mb=200.0)
    alone = cell(tmp_path, scenes(), seconds=shared, labels={"method": "unknown"})
    found = {(each.protocol, each.method): each for each in costs.cost(run_of(tmp_path, one, other, alone))}
    for protocol in ("misclassification", "idm"):
        mine = found[protocol, "msp"]
        assert (mine.forward, mine.own, mine.total, mine.memory_mb) == (100.0, 10.0, 110.0, 200.0)
        assert mine.harness == 300.0, "reading, counting and writing maps"
    assert found["misclassification", "msp"].figure == pytest.approx(one.metrics["auroc"].value, abs=ROUNDED)
    assert found["misclassification", "unknown"].own is None and found["misclassification", "unknown"].total is None


def idm_row(image: Image) -> Mapping[str, Any]:
    from bench.metrics import per_image
    from bench.metrics.protocols import fed

    found = per_image.steps(*image)
    return per_image.row(**dict.fromkeys(fed.BY_IMAGE, float(found.total_positives)))


SPOTS = [(name, severity) for name in ("fog", "snow") for severity in (1, 3)]
POINT = {"name": "fixed", "protocol": "misclassification", "calibrate": "val", "rule": "tpr95"}


def under_corruption(path: Path, *, clean: bool = True, without: tuple[str, ...] = ()) -> Run:
    """A calibration set, a data set as it is and under corruptions that take the signal away."""
    made = [cell(path, scenes(4), labels={"dataset": "val"})]
    made += [cell(path, scenes(5), labels={"dataset": "streets"})] if clean else []
    for index, (name, severity) in enumerate(SPOTS):
        label = {"dataset": f"streets+{name}-{severity}"}
        made.append(cell(path, scenes(5, signal=0.25 - 0.06 * severity - 0.01 * index), labels=label))
    kept = [result for result in made if result.labels.dataset not in without]
    gone = tuple(result.labels for result in made if result.labels.dataset in without)
    return run_of(path, *kept, points=(POINT,), absent=gone)


def test_a_fixed_threshold_is_followed_through_severities(tmp_path: Path) -> None:
    run = under_corruption(tmp_path)
    (found,) = corrupted_points.corrupted_points(run)
    assert (found.rule, found.dataset, found.calibrate, found.severities) == ("fixed", "streets", "val", (0, 1, 3))
    figures = {(entry["name"].partition(", on ")[2], entry["metric"]): entry for entry in operating.compute(run)}
    assert found.threshold == pytest.approx(figures["streets", "threshold"]["value"], rel=1e-8)
    assert found.means["tpr"][0].value == pytest.approx(figures["streets", "tpr"]["value"], abs=ROUNDED)
    assert found.means["tpr"][0].lo == pytest.approx(figures["streets", "tpr"]["lo"], abs=ROUNDED)
    for place, severity in enumerate((1, 3), 1):
        both = [figures[f"streets+{name}-{severity}", "tpr"] for name in ("fog", "snow")]
        mean = found.means["tpr"][place]
        assert mean.value == pytest.approx(np.mean([entry["value"] for entry in both]), abs=ROUNDED)
        assert mean.lo <= mean.value <= mean.hi and (mean.cells, mean.of) == (2, 2)
        alone = [found.corruptions["tpr"][name][place].value for name in ("fog", "snow")]
        assert alone == pytest.approx([entry["value"] for entry in both], abs=ROUNDED)
    assert found.means["tpr"][2].value < found.means["tpr"][0].value, "the signal goes, so fewer are found"
    assert found.corruptions["tpr"]["fog"][0] is None, "the data set as it is has no corruption"


def test_a_mean_over_corruptions_waits_for_all_of_them(tmp_path: Path) -> None:
    run = under_corruption(tmp_path, without=("streets+snow-3",))
    (found,) = corrupted_points.corrupted_points(run)
    last = found.means["fpr"][2]
    assert (last.value, last.lo, last.reason) == (None, None, "1 of 2 cells are finished and complete")
    assert found.means["fpr"][1].value is not None and found.corruptions["fpr"]["fog"][2].value is not None
    assert found.corruptions["fpr"]["snow"][2].value is None


def test_without_a_calibration_there_is_a_reason_and_no_threshold(tmp_path: Path) -> None:
    run = under_corruption(tmp_path, clean=False, without=("val",))
    (found,) = corrupted_points.corrupted_points(run)
    assert found.threshold is None and found.severities == (1, 3)
    assert {each.reason for each in found.means["tpr"]} == {"val has no result of this model and method yet"}


def test_a_run_without_corruption_has_no_such_points(tmp_path: Path) -> None:
    results = [cell(tmp_path, scenes(3), labels={"dataset": name}) for name in ("val", "streets")]
    assert corrupted_points.corrupted_points(run_of(tmp_path, *results, points=(POINT,))) == []


@settings(max_examples=60)
@given(st.integers(2, 400), st.integers(0, 2**32 - 1), st.sampled_from([0.0, 0.01, 0.3]))
def test_thinning_keeps_the_ends_and_says_how_far_the_rest_is(size: int, seed: int, noise: float) -> None:
    rng = np.random.default_rng(seed)
    x = np.sort(np.append(rng.random(size - 1) ** 3, 1.0))
    y = np.clip(np.sqrt(x) + noise * rng.normal(size=size), 0, 1)
    kept, off = polyline.thin(x, y)
    assert kept[0] == 0 and kept[-1] == size - 1 and kept.size <= polyline.POINTS and (np.diff(kept) > 0).all()
    assert distance(x, y, x[kept], y[kept]).max() <= off + 1e-12
    assert off <= polyline.NEAR + polyline.COLUMN or kept.size == polyline.POINTS


def test_numbers_are_short() -> None:
    assert polyline.short(np.array([0.1234567, 12345.678, 1e-9 / 3])) == (0.12346, 12346.0, 3.3333e-10)


def redrawn(path: Path, result: Result, change: Callable[[dict[str, Any]], None] = lambda arrays: None) -> Result:
    """The same cell, with its curves kept beside the counts."""
    run = store.Run(path, Plan("x", "", "", ()), (result,))
    arrays = run.arrays(result)
    counts = {name.removeprefix("counts."): values for name, values in arrays.items() if name.startswith("counts.")}
    arrays |= curves.kept(operating.protocol_of(result), counts, result.metrics)
    change(arrays)
    store.write_result(path, result, arrays)
    return result


@pytest.mark.parametrize("protocol", ["misclassification", "anomaly", "fishyscapes"])
def test_curves_that_were_kept_are_those_of_the_counts(
    tmp_path: Path, protocol: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = cell(tmp_path, scenes(), protocol)
    run = run_of(tmp_path, result)
    wanted = curves.roc_pr(run, result), curves.risk_coverage(run, result)
    redrawn(tmp_path, result)
    monkeypatch.setattr(operating, "counted", lambda run, result: pytest.fail("the counts were read"))
    assert (curves.roc_pr(run, result), curves.risk_coverage(run, result)) == wanted
    assert wanted[0] is not None and (wanted[1] is None) == (protocol != "misclassification")


@pytest.mark.parametrize(
    "change",
    [
        {"curves.version": np.array(0)},
        {"curves.roc": np.zeros((2, 5)), "curves.risk": np.zeros((3, 5))},
        {"curves.roc": np.array([["<script>"]] * 3), "curves.risk": np.array([["<script>"]] * 2)},
        {"curves.pixels": np.zeros((2, 2))},
        {"curves.pixels": np.array([3, 0])},
        {"curves.pr": np.full((3, 4), np.nan), "curves.risk": np.full((2, 4), np.inf)},
    ],
)
def test_what_was_kept_otherwise_is_made_again(tmp_path: Path, change: dict[str, Any]) -> None:
    result = cell(tmp_path, scenes())
    run = run_of(tmp_path, result)
    wanted = curves.roc_pr(run, result), curves.risk_coverage(run, result)
    redrawn(tmp_path, result, lambda arrays: arrays.update(change))
    assert (curves.roc_pr(run, result), curves.risk_coverage(run, result)) == wanted


def test_a_point_of_an_unknown_rule_is_left_out(tmp_path: Path) -> None:
    result = cell(tmp_path, scenes())
    names = np.array(["tpr95", "<b>", "best_f1"])
    redrawn(tmp_path, result, lambda arrays: arrays.update({"curves.names": names}))
    found = curves.roc_pr(run_of(tmp_path, result), result)
    assert found is not None and [point.name for point in found.points] == ["tpr95", "best_f1"]


def test_an_infinite_threshold_is_none(tmp_path: Path) -> None:
    images = scenes()
    images["image0"][0][:2] = np.inf
    images["image1"][0][:2] = -np.inf
    result = cell(tmp_path, images)
    run = run_of(tmp_path, result)
    found = curves.roc_pr(run, result)
    assert found is not None and found.roc_thresholds[:2] == (None, None) and found.pr_thresholds[0] is None
    assert all(np.isfinite(point.threshold) for point in found.points)
    redrawn(tmp_path, result)
    assert curves.roc_pr(run, result) == found


def test_what_ranks_nothing_keeps_no_curve(tmp_path: Path) -> None:
    clean = {name: (score, 0 * truth) for name, (score, truth) in scenes().items()}
    unranked = cell(tmp_path, clean)
    redrawn(tmp_path, unranked)
    assert not run_of(tmp_path, unranked).arrays(unranked, "curves.")
    confident = calibrated(tmp_path)
    assert curves.kept(operating.protocol_of(confident), {}, confident.metrics) == {}

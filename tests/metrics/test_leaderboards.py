"""The figures of official evaluators on synthetic maps, to 1e-9; every exception is named here."""

import json
from pathlib import Path

import numpy as np
import pytest

from bench.api import Sample, Undefined, Value
from bench.core.errors import BadScores
from bench.metrics import components, ranking
from bench.metrics.accumulate import Accumulator, ScoredImage, Truth
from bench.metrics.protocols import entropy_max, smiyc
from bench.metrics.protocols.fed import FedAnomaly, Idm, IdmOodCdd
from bench.metrics.protocols.fishyscapes import Fishyscapes
from bench.metrics.protocols.miou import MeanIoU
from bench.metrics.protocols.open_miou import OpenMeanIoU
from bench.metrics.protocols.smiyc import SmiycAnomaly, SmiycObstacle
from bench.metrics.protocols.streethazards import StreetHazards

FIXTURES = Path(__file__).parents[1] / "fixtures"
BOARDS = FIXTURES / "leaderboards"
CURVE = {
    "ap": "area_PRC", "auroc": "area_ROC", "fpr95": "tpr95_fpr", "best_f1": "best_f1",
    "best_f1_threshold": "best_f1_threshold",
}  # fmt: skip
EXACT = {"ap": "average_precision", "auroc": "auroc", "fpr95": "fpr_at_first_tpr_ge_095", "best_f1": "best_f1"}

NOT_A_NUMBER = {"px15_nan_score"}  # refused: the source goes on with quantiles that are NaN
NOT_FINITE = {"px15_nan_score", "px16_inf_score", "px17_float16_overflow"}
UNMERGED_INFINITIES = {"fs07_infinite_ties"}  # inf - inf is no tie in the source; here equal scores are


def cases(folder):
    return [pytest.param(path, id=path.stem) for path in sorted((BOARDS / folder).glob("*.json"))]


def load(path):
    """The case, and its samples and scores in frame order."""
    with np.load(path.with_suffix(".npz")) as file:
        frames = [
            (np.squeeze(file[f"scores_{index:03d}"]).astype(np.float32), np.squeeze(file[f"labels_{index:03d}"]))
            for index in range(sum(name.startswith("scores") for name in file))
        ]
    samples = [
        Sample(id=f"frame{index:03d}", size=labels.shape, image=lambda: np.zeros((1, 1, 3), np.uint8), anomaly=labels)
        for index, (_, labels) in enumerate(frames)
    ]
    return json.loads(path.read_text()), samples, [score for score, _ in frames]


def figures(protocol, samples, scores, predictions=None, budget=2**30):
    accumulator = Accumulator(protocol, budget)
    frames = list(zip(samples, predictions or [None] * len(samples), scores, strict=True))
    for sample, predicted, score in frames:
        accumulator.add(ScoredImage(Truth(sample, predicted), {"score": score}))
    if isinstance(parameters := accumulator.parameters(), dict):
        for sample, predicted, score in frames:
            accumulator.add_second(sample, predicted, score, parameters)
    return accumulator.reading().read(), accumulator.rows


def agrees(found, wanted):
    if wanted in ("nan", None):
        return isinstance(found, Undefined)
    return isinstance(found, Value) and found.err == 0 and found.value == pytest.approx(wanted, abs=1e-9, rel=0)


def curve(samples, scores):
    rows = {
        sample.id: smiyc.sketch(score.astype(np.float16), sample.anomaly)
        for sample, score in zip(samples, scores, strict=True)
    }
    return smiyc.curve(rows)


@pytest.mark.parametrize("path", cases("smiyc_pixel"))
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_smiyc_pixel_figures_are_the_official_ones(path):
    case, samples, scores = load(path)
    wanted = case["expected"]["PixBinaryClass"]
    if case["case"] in NOT_A_NUMBER:
        pytest.skip("refused")
    if scores[0].shape != samples[0].size:  # px18: the parallel evaluator upsamples what was stored as float16
        rows = {
            sample.id: smiyc.sketch(smiyc.upsampled(smiyc.halved(score), sample.size), sample.anomaly)
            for sample, score in zip(samples, scores, strict=True)
        }
        points = smiyc.curve(rows)
    else:
        points = curve(samples, scores)
    found = smiyc.read_curve(points)
    if "raises" in wanted:  # px14: a frame without a valid pixel stops the source, and adds nothing here
        wanted = {CURVE[name]: case["exact_pooled_not_official"][EXACT[name]] for name in ("fpr95", "best_f1")}
    elif wanted["area_PRC"] == "nan":  # px11: the source gives an FPR95 and an F1 of 0 without an anomaly
        assert found == dict.fromkeys(CURVE, ranking.NO_POSITIVES)
        return
    else:
        assert len(points["threshold"]) == wanted["n_curve_points"]
    for ours, theirs in CURVE.items():
        if theirs in wanted:
            assert agrees(found[ours], wanted[theirs]), (ours, found[ours], wanted[theirs])


@pytest.mark.parametrize("path", cases("smiyc_pixel"))
def test_exact_figures_stand_beside_the_official_ones(path):
    case, samples, scores = load(path)
    wanted = case["exact_pooled_not_official"]
    if not wanted:
        pytest.skip("no exact figures in the fixture")
    found, _ = figures(SmiycObstacle(), samples, [smiyc.halved(score) for score in scores])
    for ours, theirs in EXACT.items():
        assert agrees(found[f"{ours}_exact"], wanted[theirs])


@pytest.mark.parametrize("path", [path for path in cases("smiyc_pixel") if path.values[0].stem in NOT_FINITE])
def test_smiyc_refuses_what_float16_cannot_hold(path):
    _, samples, scores = load(path)
    with pytest.raises(BadScores, match=r"frame\d+: scores beyond the 65504 that float16 can hold"):
        figures(SmiycAnomaly(), samples, scores)


@pytest.mark.parametrize("path", sorted((BOARDS / "smiyc_pixel").glob("*.curve.npz")), ids=lambda path: path.name)
def test_the_official_curve_is_met_point_by_point(path):
    name = path.name.removesuffix(".curve.npz")
    _, samples, scores = load(path.with_name(f"{name}.json"))
    points = curve(samples, scores)
    with np.load(path) as file:
        wanted = {key.removeprefix("curve_"): file[key] for key in file}
    assert points["threshold"] == pytest.approx(np.ravel(wanted["thresholds"]), abs=1e-12)
    recall = points["hits"] / points["hits"][-1]
    same = np.isclose(recall, np.ravel(wanted["recall" if "recall" in wanted else "tpr"]), atol=1e-12, rtol=0)
    assert same[1:].all()


@pytest.mark.parametrize("path", cases("smiyc_component"))
def test_smiyc_components_are_the_official_ones(path):
    case, samples, scores = load(path)
    protocol = SmiycAnomaly() if case["metric"] == "SegEval-AnomalyTrack" else SmiycObstacle()
    assert (protocol.min_predicted, protocol.min_truth) == (case["min_pred_size"], case["min_gt_size"])
    found, rows = figures(protocol, samples, [protocol.quantize(score) for score in scores])
    wanted = case["expected"]["component"]
    if "raises" in wanted:  # cc10: no anomaly anywhere
        assert set(found.values()) == {ranking.NO_POSITIVES}
        return
    for name, theirs in CURVE.items():
        official = found[name] if not case["order_sensitive"] else Value(found[name].value)
        assert agrees(official, case["expected"]["PixBinaryClass"][theirs])
    names = {"siou": "sIoU_gt", "ppv": "prec_pred", "mean_f1": "f1_mean"}
    names |= {f"{kind}_{at}": f"{kind}_{at}" for kind in ("f1", "fn", "fp") for at in smiyc.AT}
    for ours, theirs in names.items():
        assert agrees(found[ours], wanted[theirs]), (ours, found[ours], wanted[theirs])
    for row, frame in zip(rows.values(), case["expected"]["frames"], strict=True):
        for ours, theirs in {"siou": "sIoU_gt", "siou_predicted": "sIoU_pred", "ppv": "prec_pred"}.items():
            assert sorted(row[ours]) == pytest.approx(sorted(frame[theirs]), abs=1e-9)


@pytest.mark.parametrize("path", cases("fishyscapes"))
def test_fishyscapes_figures_are_the_official_ones(path):
    case, samples, scores = load(path)
    wanted = case["expected"]
    found, _ = figures(Fishyscapes(), samples, scores)
    if "raises" in wanted:  # fs15: nothing but ignored pixels
        assert set(found.values()) == {ranking.NO_PIXELS}
        return
    for ours, theirs in {"ap": "AP", "auroc": "auroc", "fpr95": "FPR@95%TPR"}.items():
        if case["case"] in UNMERGED_INFINITIES and ours != "fpr95":
            continue
        if wanted["AP"] == "nan":  # fs05: an FPR95 of 0 without an anomaly
            assert found[ours] == ranking.NO_POSITIVES
        else:
            assert agrees(found[ours], wanted[theirs])


@pytest.mark.parametrize("name", json.loads((BOARDS / "metric_variants_not_official.json").read_text())["cases"])
def test_other_definitions_of_the_same_names_give_their_own_figures(name):
    path = BOARDS / "fishyscapes" / f"{name}.json"
    if not path.exists():
        pytest.skip("the inputs are kept elsewhere")
    wanted = json.loads((BOARDS / "metric_variants_not_official.json").read_text())["cases"][name]
    _, samples, scores = load(path)
    fed, _ = figures(FedAnomaly(), samples, scores)
    by_image, _ = figures(StreetHazards(), samples, scores)
    assert agrees(fed["ap"], wanted["auprc_trapezoid"])
    assert agrees(fed["fpr95"], wanted["fpr95_linear_interp"])
    assert agrees(by_image["ap"], wanted["mean_over_images_ap_step"])
    assert agrees(by_image["fpr95"], wanted["mean_over_images_fpr95_closest_recall"])


@pytest.mark.parametrize(
    "case", json.loads((BOARDS / "micro_examples.json").read_text())["pixel"], ids=lambda x: x["name"]
)
def test_a_few_pixels_give_what_the_official_functions_give(case):
    frames = [(np.float32([frame["scores"]]), np.uint8([frame["labels"]])) for frame in case["frames"]]
    samples = [
        Sample(id=f"{index}", size=truth.shape, image=lambda: np.zeros((1, 1, 3), np.uint8), anomaly=truth)
        for index, (_, truth) in enumerate(frames)
    ]
    scores = [score for score, _ in frames]
    points = curve(samples, scores)
    official = smiyc.read_curve(points)
    for ours, theirs in CURVE.items():
        if theirs in case["smiyc_PixBinaryClass"]:
            assert agrees(official[ours], case["smiyc_PixBinaryClass"][theirs])
    assert points["threshold"] == pytest.approx(case["smiyc_PixBinaryClass"]["thresholds"], abs=1e-12)
    pooled, _ = figures(Fishyscapes(), samples, scores)
    for ours, theirs in {"ap": "AP", "auroc": "auroc", "fpr95": "FPR@95%TPR"}.items():
        assert agrees(pooled[ours], case["fishyscapes"][theirs])


@pytest.mark.parametrize(
    "case", json.loads((BOARDS / "micro_examples.json").read_text())["component"], ids=lambda case: case["name"]
)
def test_a_few_components_give_what_the_official_function_gives(case):
    row = components.overlap(np.int32(case["gt_instances"]).reshape(-1), np.int32(case["pred_instances"]).reshape(-1))
    wanted = case["expected"]
    for ours, theirs in {"siou": "sIoU_gt", "siou_predicted": "sIoU_pred", "ppv": "prec_pred"}.items():
        assert row[ours] == pytest.approx(wanted[theirs], abs=1e-12)
    counts = components.pooled(row)
    for index, tau in enumerate(components.TAUS):
        at = f"{100 * tau:.0f}"
        assert counts[[4 + index, 15 + index, 26 + index]].tolist() == [
            wanted[f"tp_{at}"], wanted[f"fn_{at}"], wanted[f"fp_{at}"]
        ]  # fmt: skip


def test_the_grid_of_taus_is_the_official_one():
    assert components.TAUS.tolist() == json.loads((BOARDS / "micro_examples.json").read_text())["sIoU_threshold_grid"]


@pytest.fixture
def fed():
    with np.load(FIXTURES / "fed" / "metrics.npz") as file:
        arrays = dict(file)
    samples = [
        Sample(
            id=f"{index}",
            size=truth.shape,
            image=lambda: np.zeros((1, 1, 3), np.uint8),
            labels=truth,
            anomaly=arrays["fishy_gt"][index],
        )
        for index, truth in enumerate(arrays["gt"])
    ]
    return arrays, (samples, list(arrays["score"]), [labels.astype(np.uint8) for labels in arrays["pred"]])


def test_fed_figures_are_those_of_its_code(fed):
    arrays, case = fed
    for protocol, wanted in [(FedAnomaly(), "fishy"), (Idm(), "idm"), (IdmOodCdd(), "ours")]:
        found, _ = figures(protocol, *case)
        for name, value in zip(found, arrays[wanted], strict=False):
            assert agrees(found[name], float(value)), (protocol.name, name)
    found, _ = figures(OpenMeanIoU(), *case)
    assert agrees(found["open_miou"], float(arrays["oIoU"]))
    assert agrees(found["open_mean_accuracy"], float(arrays["oAcc"]))
    assert agrees(found["open_pixel_accuracy"], float(arrays["oAAcc"]))
    # The arrays were made under NumPy 2, which adds float32; the source's NumPy 1 added float64.
    assert found["threshold"].value == pytest.approx(float(arrays["f1_threshold"]), abs=3e-8)
    found, _ = figures(MeanIoU(), *case)
    assert agrees(found["miou"], float(arrays["mIoU"]))


ORDERED = {
    "px03_ties",
    "px04_constant",
    "px05_one_frame_without_anomaly",
    "px07_saturated_top",
    "px13_float16_collapse",
}


@pytest.mark.parametrize("name", ["px01_random_small", *sorted(ORDERED)])
def test_a_figure_that_another_order_of_frames_would_move_carries_by_how_much(name):
    case, samples, scores = load(BOARDS / "smiyc_pixel" / f"{name}.json")
    rows = {
        sample.id: smiyc.sketch(score.astype(np.float16), sample.anomaly)
        for sample, score in zip(samples, scores, strict=True)
    }
    found = smiyc.in_any_order(rows)
    assert case["order_sensitive"] == (name in ORDERED) == bool(found["ap"].err)
    turned = [list(rows)[at:] + list(rows)[:at] for at in range(len(rows))]
    moved = [smiyc.read_curve(smiyc.curve(dict(zip(rows, map(rows.get, order), strict=True)))) for order in turned]
    for name, figure in found.items():
        values = [each[name].value for each in moved]
        assert figure.value == values[0]
        assert figure.err == pytest.approx(max(abs(value - figure.value) for value in values), abs=1e-15)


def test_open_miou_can_be_given_a_threshold_from_elsewhere(fed):
    _, case = fed
    tuned, _ = figures(OpenMeanIoU(), *case)
    given, rows = figures(OpenMeanIoU(threshold=tuned["threshold"].value), *case)
    assert given == tuned
    assert all(
        row.keys() == {"bins", "bin_counts", "bin_bits"} for row in rows.values()
    )  # nothing of it is read off the labels
    lower, _ = figures(OpenMeanIoU(threshold=0.2), *case)
    assert lower["open_miou"].value < given["open_miou"].value


def test_entropy_max_figures_are_those_of_its_code():
    wanted = json.loads((FIXTURES / "meta" / "hist_metrics.json").read_text())
    found = entropy_max.figures(np.array(wanted["in"]), np.array(wanted["out"]))
    assert found == pytest.approx({"auroc": wanted["AUROC"], "fpr95": wanted["FPR95"], "ap": wanted["AP"]}, abs=1e-9)


def test_quantiles_and_histograms_are_numpys_to_the_last_bit():
    generator = np.random.default_rng(0)
    for dtype, size in [(np.float16, 5), (np.float16, 400), (np.float16, 5000), (np.float32, 900)]:
        score = generator.normal(size=size).astype(dtype)
        found = smiyc._Sorted(score)
        edges = np.unique(np.quantile(score, np.linspace(0, 1, min(384, size))).astype(np.float64))
        assert np.array_equal(np.unique(found.quantiles()), edges)
        assert np.array_equal(found.histogram(edges), np.histogram(score, edges)[0])


def test_the_smiyc_curve_lacks_one_invariance_the_order_of_frames_that_share_the_highest_score():
    truth = [np.uint8([[1, 1, 1, 0]]), np.uint8([[1, 0, 0, 0]])]
    tied = {str(index): smiyc.sketch(np.full((1, 4), 0.5, np.float16), each) for index, each in enumerate(truth)}
    swapped = {"0": tied["1"], "1": tied["0"]}
    assert smiyc.read_curve(smiyc.curve(tied))["ap"].value == 0.4375
    assert smiyc.read_curve(smiyc.curve(swapped))["ap"].value == 0.6875
    assert smiyc.read_curve(smiyc.curve(dict(reversed(tied.items()))))["ap"].value == 0.4375  # ids decide, not arrival

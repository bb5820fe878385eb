"""The figures of the BRAVO toolkit on synthetic maps, to 1e-12; every exception is named here."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from bench.api import Sample, Undefined, Value
from bench.core.errors import BadPlugin, BadScores, BadSuite, MissingData
from bench.core.images import read_labels
from bench.counts.tally import Column, Counts, Tally, key_pixels
from bench.metrics import bravo_index, bravo_levels, segmentation
from bench.metrics.accumulate import Accumulator, ScoredImage, Truth
from bench.metrics.protocols import bravo
from bench.metrics.protocols.bravo import Bravo
from bench.suite.registry import build

FIXTURES = Path(__file__).parents[1] / "fixtures" / "bravo"
METRIC_CASES = json.loads((FIXTURES / "metric_cases.json").read_text())
MIOU_CASES = json.loads((FIXTURES / "miou_cases.json").read_text())
CASES = [pytest.param(path.parent, id=path.parent.name) for path in sorted(FIXTURES.glob("cases/*/expected.json"))]
EXACT = {"abs": 1e-12, "rel": 0}

# Where the source ends with an error, here the figures that have no value say so, and the others stand.
NO_FIGURES = {
    "all_correct_synrain": ("auroc", Undefined("no wrong pixels")),
    "all_invalid_synflare": ("auroc", Undefined("no pixels")),
    "all_void_synrain": ("auroc", Undefined("no pixels")),
    "no_invalid_synobjs": ("auroc_ood", Undefined("no invalid pixels")),
}
REFUSED = {"label20_error_synflare": "its class map holds 20 where a class is judged, wanted 0 to 18"}

# split: what follows the base of a name, for class map, labels and mask
SUFFIXES = {
    "ACDC": ("_rgb_anon_pred.png", "_gt_labelTrainIds.png", "_gt_invIds.png"),
    "SMIYC": ("_pred.png", "_labels_semantic_fake.png", "_labels_semantic.png"),
    "synobjs": ("_pred.png", "_gt.png", "_mask.png"),
    **dict.fromkeys(
        ("outofcontext", "synflare", "synrain"),
        ("_leftImg8bit_pred.png", "_gt_labelTrainIds.png", "_gt_invIds.png"),
    ),
}
KEYS = {f"{name}_valid": name for name in bravo_index.SEMANTIC} | {name: name for name in bravo_index.OOD}


def image_of(base, labels, mask):
    """A sample as a reader of BRAVO would hand it out: the mask is 1 where it is not 0, and void where labels are."""
    invalid = np.where(labels == 255, 255, mask != 0).astype(np.uint8)
    return Sample(base, labels.shape, lambda: np.zeros((*labels.shape, 3), np.uint8), labels=labels, anomaly=invalid)


def frames(folder, subset):
    """Samples of one subset with class maps and confidences."""
    split, condition = ("ACDC", f"/{subset[4:]}/") if subset.startswith("ACDC") else (subset, "")
    pred, labels, mask = SUFFIXES[split]
    for path in sorted((folder / "raw" / f"bravo_{split}").rglob(f"*{pred}")):
        base = str(path.relative_to(folder / "raw")).removesuffix(pred)
        if condition in base:
            gt, invalid = (read_labels(folder / "gt" / f"{base}{end}") for end in (labels, mask))
            stored = np.asarray(Image.open(str(path).replace("_pred.png", "_conf.png")))
            assert stored.dtype == np.uint16
            confidence = ((stored + 0.5) / 65536).astype(np.float32)
            assert np.array_equal(bravo_levels.levels(confidence), stored)
            yield image_of(base, gt, invalid), read_labels(path), confidence


def counted(protocol, data, budget=2**30):
    accumulator = Accumulator(protocol, budget)
    for sample, predicted, confidence in data:
        accumulator.add(ScoredImage(Truth(sample, predicted), {"confidence": confidence}))
    return accumulator


def evaluate(protocol, data, budget=2**30):
    return counted(protocol, data, budget).reading().read()


def columns(*sides):
    """Columns of sparse lists of levels and counts."""
    found = []
    for pairs in sides:
        table = np.zeros(bravo_levels.LEVELS, np.int64)
        for level, count in pairs:
            table[level] += count
        keys = np.flatnonzero(table)
        found.append(Column(keys.astype(np.uint32), table[keys]))
    return found


def ece_of(right, wrong):
    sums = np.zeros((15, 3), np.int64)
    for column, good in ((right, 1), (wrong, 0)):
        for level, count in zip(column.keys.tolist(), column.counts.tolist(), strict=True):
            one = bravo_levels.reliability(np.array([level]), np.array([not good]))
            sums += count * one
    return float(bravo_levels.ece(sums))


@pytest.mark.parametrize("case", METRIC_CASES["curve_cases"], ids=lambda case: case["name"])
def test_curves_and_calibration_are_the_official_ones(case):
    right, wrong = columns(case["tp"], case["fp"])
    wanted = case["expected"]
    reason = bravo_levels.undefined(right, wrong, lacking=("right", "wrong"))
    assert (reason is not None) == ("error" in wanted)  # the source ends with an error, here there is no figure
    if reason:
        return
    success = bravo_levels.ranked(right, wrong, exact=True)
    error = bravo_levels.ranked(*bravo_levels.doubt([wrong, right]), exact=True)
    assert success["auroc"] == Value(pytest.approx(wanted["auroc"], **EXACT))
    assert success["fpr95"] == Value(pytest.approx(wanted["fpr95"], **EXACT))
    assert success["auprc"] == Value(pytest.approx(wanted["auprc_pos"], **EXACT))
    assert error["auprc"] == Value(pytest.approx(wanted["auprc_neg"], **EXACT))
    assert ece_of(right, wrong) == pytest.approx(wanted["ece"], **EXACT)


def test_the_limits_of_the_bins_are_the_official_ones():
    assert bravo_levels.LIMITS.tolist() == METRIC_CASES["ece_bin_limits"]


@pytest.mark.parametrize("case", METRIC_CASES["aggregation_cases"], ids=lambda case: case["name"])
def test_harmonic_means_are_the_official_ones(case):
    subsets = {
        subset: {
            ours: Value(case["inputs"][f"{subset}_{theirs}"])
            for theirs, ours in KEYS.items()
            if f"{subset}_{theirs}" in case["inputs"]
        }
        for subset in case["subsets"]
    }
    found = bravo_index.bravo_index(subsets)
    assert found.keys() == case["expected"].keys()
    for name, wanted in case["expected"].items():
        assert (
            isinstance(found[name], Undefined)
            if wanted is None
            else found[name] == Value(pytest.approx(wanted, **EXACT))
        ), name


@pytest.mark.parametrize("case", MIOU_CASES, ids=["0", "1", "2"])
def test_confusion_and_iou_are_the_official_ones(case):
    counts = bravo.confusion(np.uint8([case["gt"]]), np.uint8([case["pred"]]), "case")
    assert counts[:, :19].tolist() == case["confusion_rows_are_gt"]
    assert not counts[:, 19].any()
    wanted = [np.nan if each is None else each for each in case["iou"]]
    assert segmentation.class_iou(counts) == pytest.approx(wanted, nan_ok=True, **EXACT)
    assert segmentation.miou(counts) == pytest.approx(case["miou"], **EXACT)


@pytest.mark.parametrize("folder", CASES)
@pytest.mark.parametrize("budget", [2**30, 0], ids=["32 bits", "24 bits"])
def test_every_figure_of_a_submission_is_the_official_one(folder, budget):
    expected = json.loads((folder / "expected.json").read_text())
    protocols = {
        subset: Bravo(bravo_index.SUBSETS[subset], expected["samples_per_image"], expected["seed"])
        for subset in expected["subsets"]
    }
    data = {subset: list(frames(folder, subset)) for subset in protocols}
    if folder.name in REFUSED:
        with pytest.raises(BadScores, match=REFUSED[folder.name]):
            evaluate(protocols["synflare"], data["synflare"], budget)
        return
    found = {subset: evaluate(protocols[subset], data[subset], budget) for subset in protocols}
    if folder.name in NO_FIGURES:
        assert expected["evaluation"]["status"] == "error"
        (figures,), (name, reason) = found.values(), NO_FIGURES[folder.name]
        assert figures[name] == figures["hmean"] == reason
        return
    wanted = expected["evaluation"]["results"]
    ours = {f"{subset}_{theirs}": found[subset][name] for subset in found for theirs, name in KEYS.items()}
    ours = {name: figure for name, figure in ours.items() if figure != bravo_index.NOT_JUDGED}
    ours |= bravo_index.bravo_index(found)
    assert ours.keys() == {name for name in wanted if not name.endswith("_iou_valid")}
    for name, figure in ours.items():
        if wanted[name] is None:
            assert isinstance(figure, Undefined)
        else:
            assert figure == Value(pytest.approx(wanted[name], **EXACT)), name
    for subset, figures in found.items():
        assert figures["hmean"] == ours[f"{subset}_hmean"]
        if bravo_index.SUBSETS[subset] != "ood":
            rows = counted(protocols[subset], data[subset]).rows
            each = segmentation.class_iou(sum(row["confusion"] for row in rows.values()))
            iou = [np.nan if value is None else value for value in wanted[f"{subset}_iou_valid"]]
            assert each == pytest.approx(iou, nan_ok=True, **EXACT)


@pytest.mark.parametrize("folder", CASES)
def test_the_sampled_pixels_are_the_official_ones(folder):
    expected = json.loads((folder / "expected.json").read_text())
    images = dict(expected.get("images", {}))
    for subset in expected["subsets"]:
        for sample, _, confidence in frames(folder, subset):
            places = bravo.sampled(sample.labels, expected["samples_per_image"], expected["seed"])
            if not places.size:
                assert folder.name == "all_void_synrain" or "images" not in expected
                continue
            if "images" not in expected:  # one void image ends the source before it writes any
                continue
            wanted = images.pop(sample.id)
            assert (places.size, places[0], places[-1]) == (wanted["n_samples"], wanted["first"], wanted["last"])
            assert hashlib.sha256(places.astype("<i4").tobytes()).hexdigest() == wanted["indices_int32le_sha256"]
            seen = bravo_levels.levels(confidence.reshape(-1)[places]).astype("<u2")
            assert hashlib.sha256(seen.tobytes()).hexdigest() == wanted["conf_u16le_sha256"]
    assert not images


def test_a_confidence_becomes_the_level_it_lies_in():
    confidence = np.float32([0, 2**-17, 2**-16, 0.5, 1 - 2**-16, np.nextafter(np.float32(1), np.float32(0)), 1])
    assert bravo_levels.levels(confidence).tolist() == [0, 0, 1, 32768, 65535, 65535, 65535]


def test_bins_rise_with_the_levels_and_are_fine_at_both_ends():
    bins = bravo_levels.BINS.astype(int)
    assert (np.diff(bins) >= 0).all()
    assert np.unique(bins).size < 4096
    assert np.unique(bins[:256]).size == np.unique(bins[-256:]).size == 256
    assert np.array_equal(bins, 65535 - bins[::-1])


def test_six_pixels_by_hand():
    # valid: right at .9, .8 and .3, wrong at .4; invalid at .5 and .1; void at 1
    labels, mask = np.uint8([[0, 0, 1, 1, 2, 2, 255]]), np.uint8([[0, 0, 0, 0, 1, 1, 0]])
    predicted = np.uint8([[0, 0, 1, 0, 5, 5, 0]])
    confidence = np.float32([[0.9, 0.8, 0.3, 0.4, 0.5, 0.1, 1]])
    found = evaluate(Bravo(), [(image_of("a", labels, mask), predicted, confidence)])
    assert found["miou"].value == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert found["auroc"].value == pytest.approx(2 / 3)
    assert found["auprc_success"].value == pytest.approx((1 + 1 + 3 / 4) / 3)
    assert found["auprc_error"].value == pytest.approx(1 / 2)
    assert found["fpr95"] == Value(1.0)
    assert found["auroc_ood"].value == pytest.approx((4 + 2) / 8)  # .1 is below all four, .5 below .9 and .8
    assert found["auprc_ood"].value == pytest.approx((1 + 2 / 4) / 2)
    assert found["fpr95_ood"].value == pytest.approx(2 / 4)
    assert found["ece"].value == pytest.approx((0.1 + 0.2 + 0.7 + 0.4) / 4, abs=1e-5)
    assert found["hmean"] == Value(0.0)  # one FPR95 of 1 is enough


def test_a_prediction_of_19_counts_as_the_next_class_predicted_as_0_and_as_wrong():
    counts = bravo.confusion(np.uint8([[3, 3, 255]]), np.uint8([[19, 3, 200]]), "a")
    assert (counts[4, 0], counts[3, 3], counts.sum()) == (1, 1, 2)


def test_classes_that_the_source_refuses_are_refused():
    with pytest.raises(BadScores, match=r"^a: its class map holds 19 where a class is judged, wanted 0 to 18$"):
        bravo.confusion(np.uint8([[18]]), np.uint8([[19]]), "a")
    with pytest.raises(BadScores, match=r"^a: its class map holds 20 where"):
        bravo.confusion(np.uint8([[0]]), np.uint8([[20]]), "a")
    with pytest.raises(MissingData, match=r"^a: a label of 30, wanted 0 to 18, or 255$"):
        bravo.confusion(np.uint8([[30]]), np.uint8([[0]]), "a")


def test_exact_figures_are_those_of_all_pixels_and_official_ones_of_the_sample():
    data = list(scenes(3, shape=(30, 40)))
    every = evaluate(Bravo(samples=10**6), data)
    assert evaluate(Bravo(samples=200, pixels="exact"), data) == every
    sample = evaluate(Bravo(samples=200), data)
    assert sample["miou"] == every["miou"]
    assert all(sample[name] != every[name] for name in every if name != "miou")


def test_what_is_no_confidence_is_refused():
    sample = image_of("a", np.zeros((1, 2), np.uint8), np.zeros((1, 2), np.uint8))
    for wrong in (1.5, -0.1):
        with pytest.raises(BadPlugin, match="a: a confidence outside"):
            Bravo().row(sample, np.zeros((1, 2), np.uint8), np.float32([[0.5, wrong]]))


def test_a_sample_of_no_pixels_cannot_be_asked_for():
    with pytest.raises(BadSuite, match="samples must be at least 1"):
        build("protocol", "bravo", {"samples": 0}, where="suite.yaml")


def test_a_subset_is_judged_as_its_parameter_says():
    data = list(scenes(2))
    both, semantic, ood = (evaluate(Bravo(judged), data) for judged in ("both", "semantic", "ood"))
    for name in bravo_index.SEMANTIC:
        assert semantic[name] == both[name]
        assert ood[name] == bravo_index.NOT_JUDGED
    for name in bravo_index.OOD:
        assert ood[name] == both[name]
        assert semantic[name] == bravo_index.NOT_JUDGED
    apart = bravo_index.bravo_index({"a": semantic, "b": ood})
    assert bravo_index.bravo_index({"a": both})["bravo_index"] == apart["bravo_index"]


def test_a_mean_says_which_figure_of_which_subset_it_lacks():
    subsets = {"synrain": {"auroc": Undefined("no wrong pixels")}, "SMIYC": {"auroc_ood": Value(0.5)}}
    found = bravo_index.bravo_index(subsets)
    assert found == {
        "synrain_hmean": Undefined("no wrong pixels"),
        "SMIYC_hmean": Value(0.5),
        "semantic_hmean": Undefined("synrain: auroc: no wrong pixels"),
        "ood_hmean": Value(0.5),
        "bravo_index": Undefined("synrain: auroc: no wrong pixels"),
    }
    assert bravo_index.bravo_index({})["bravo_index"] == Undefined("no semantic figures")


def test_means_of_replicates_are_means_of_each():
    generator = np.random.default_rng(0)
    names = {"semantic": bravo_index.SEMANTIC, "ood": bravo_index.OOD}
    subsets = {kind: {name: generator.random(5) for name in names[kind]} for kind in names}
    found = bravo_index.means(subsets)["bravo_index"]
    for place in range(5):
        one = {kind: {name: Value(float(v[place])) for name, v in each.items()} for kind, each in subsets.items()}
        assert bravo_index.bravo_index(one)["bravo_index"].value == pytest.approx(found[place])


def test_a_mean_carries_the_error_of_its_figures():
    exact = bravo_index.bravo_index({"a": {"miou": Value(0.6), "fpr95": Value(0.2)}})["a_hmean"].value
    rough = bravo_index.bravo_index({"a": {"miou": Value(0.61, 0.02), "fpr95": Value(0.25, 0.06)}})["a_hmean"]
    assert abs(rough.value - exact) <= rough.err < 0.05


def scenes(count=4, seed=0, shape=(12, 20)):
    """Images with many ties, sure nearly everywhere."""
    generator = np.random.default_rng(seed)
    for index in range(count):
        labels = generator.integers(0, 5, shape).astype(np.uint8)
        predicted = np.where(generator.random(shape) < 0.2, (labels + 1) % 5, labels).astype(np.uint8)
        mask = (generator.random(shape) < 0.1).astype(np.uint8)
        labels[generator.random(shape) < 0.1] = 255
        doubt = generator.exponential(0.02, shape) * (1 + 3 * (predicted != labels) + 4 * mask)
        confidence = np.clip(1 - doubt, 0, 1).astype(np.float32)
        confidence[generator.random(shape) < 0.02] = 1
        yield image_of(f"image{index}", labels, mask), predicted, confidence


small = st.tuples(st.integers(1, 5), st.integers(0, 2**32 - 1), st.sampled_from([100_000, 50, 7]))


@settings(max_examples=25)
@given(small, st.data())
def test_order_shards_and_folding_change_nothing(drawn, choice):
    count, seed, samples = drawn
    protocol, data = Bravo(samples=samples), list(scenes(count, seed, (6, 8)))
    whole = evaluate(protocol, data)
    order = choice.draw(st.permutations(range(count)))
    cut = choice.draw(st.integers(0, count))
    parts = [counted(protocol, [data[i] for i in part], choice.draw(st.just(0))) for part in (order[:cut], order[cut:])]
    merged = Accumulator(protocol, 0)
    for part in parts:
        merged.merge(part.tally, part.rows)
    assert merged.reading().read() == whole
    pixels = counted(protocol, data).tally.pixels
    assert Tally.from_arrays(merged.tally.arrays()).pixels == merged.tally.pixels == pixels


@settings(max_examples=25)
@given(small)
def test_what_lies_on_void_pixels_and_within_a_level_changes_nothing(drawn):
    count, seed, samples = drawn
    protocol, generator = Bravo(samples=samples), np.random.default_rng(seed)
    changed = []
    for sample, predicted, confidence in scenes(count, seed, (6, 8)):
        void, inside = sample.labels == 255, bravo_levels.levels(confidence) + generator.random((6, 8)) * 0.99
        confidence = np.where(void, generator.random((6, 8)), inside / 65536).astype(np.float32)
        changed.append((sample, np.where(void, 77, predicted).astype(np.uint8), confidence))
    assert evaluate(protocol, changed) == evaluate(protocol, scenes(count, seed, (6, 8)))


def test_an_increasing_map_changes_what_is_read_off_levels():
    data = [(sample, predicted, confidence) for sample, predicted, confidence in scenes()]
    flat = [(sample, predicted, confidence / 2) for sample, predicted, confidence in data]
    before, after = evaluate(Bravo(), data), evaluate(Bravo(), flat)
    assert after["ece"].value > before["ece"].value + 0.1
    assert after["auroc"] != before["auroc"]  # two levels became one


@settings(max_examples=20)
@given(st.integers(0, 2**32 - 1))
def test_an_independent_library_agrees(seed):
    metrics = pytest.importorskip("sklearn.metrics")
    data = list(scenes(2, seed, (10, 12)))
    found = evaluate(Bravo(), data)
    kinds = np.concatenate([Bravo().categories(sample, predicted).ravel() for sample, predicted, _ in data])
    level = np.concatenate([bravo_levels.levels(confidence).ravel() for _, _, confidence in data])
    valid, there = kinds <= 1, kinds != 255
    right, sure = kinds[valid] == 0, level[valid]
    assert found["auroc"].value == pytest.approx(metrics.roc_auc_score(right, sure))
    assert found["auprc_success"].value == pytest.approx(metrics.average_precision_score(right, sure))
    assert found["auprc_error"].value == pytest.approx(metrics.average_precision_score(~right, -sure))
    invalid, unsure = kinds[there] == 2, -level[there]
    assert found["auroc_ood"].value == pytest.approx(metrics.roc_auc_score(invalid, unsure))
    assert found["auprc_ood"].value == pytest.approx(metrics.average_precision_score(invalid, unsure))
    fpr, tpr, _ = metrics.roc_curve(invalid, unsure, drop_intermediate=False)
    assert found["fpr95_ood"].value == pytest.approx(fpr[np.argmax(tpr >= 0.95)])


@pytest.mark.parametrize("judged", ["semantic", "ood", "both"])
def test_every_figure_has_an_interval_around_it(judged):
    protocol = Bravo(judged)
    figures, replicates = counted(protocol, scenes(12)).reading().figures(0, 200)
    assert replicates.keys() == {"hmean", *bravo_index.FIGURES[judged]}
    for name in replicates:
        assert figures[name].lo <= figures[name].value <= figures[name].hi
        assert figures[name].lo < figures[name].hi


def test_what_is_resampled_stands_for_what_is_sure():
    protocol = Bravo()
    reading = counted(protocol, scenes(3, shape=(60, 80))).reading()
    exact, binned = reading.read(), protocol.bootstrap(np.ones((1, 3)), reading.rows)
    for name, values in binned.items():
        assert values[0] == pytest.approx(exact[name].value, abs=2e-3), name


def test_what_few_bits_leave_of_some_images_holds_the_exact_figures():
    protocol = Bravo()
    reading = counted(protocol, scenes(4)).reading()
    exact = reading.read()
    for name, figure in protocol.read(Counts(16, []), reading.rows).items():
        assert abs(figure.value - exact[name].value) <= figure.err + 1e-12, name
        assert figure.err < (0.2 if name == "hmean" else 0.05), name  # which one FPR95 near 1 rules


def test_bounds_hold_every_order_of_what_shares_a_bin():
    counts = [Column(np.arange(3, dtype=np.uint32), np.array(side)) for side in ([1, 5, 40], [30, 4, 2])]
    exact = bravo_levels.ranked(*counts, exact=True)
    for name, figure in bravo_levels.ranked(*counts, exact=False).items():
        assert abs(figure.value - exact[name].value) <= figure.err


def test_levels_are_found_in_tallies_of_24_and_of_32_bits():
    confidence = np.random.default_rng(0).random((30, 40)).astype(np.float32)
    confidence[0, :3] = 0, 1, -0.0
    for budget in (2**30, 0):
        tally = Tally(1, budget)
        tally.add(key_pixels(confidence, np.zeros((30, 40), np.uint8), 1))
        (column,) = bravo_levels.at_levels(tally.counts())
        wanted = np.bincount(bravo_levels.levels(confidence.ravel()), minlength=65536)
        assert np.array_equal(column.keys, np.flatnonzero(wanted))
        assert np.array_equal(column.counts, wanted[wanted > 0])

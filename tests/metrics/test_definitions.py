"""Every definition of FPR95 and AP: by hand, against numbers from elsewhere, and inside certified bounds."""

import json
from pathlib import Path

import numpy as np
import pytest
import writing
from PIL import Image

from bench.api import Sample, Undefined, Value
from bench.cli.main import main
from bench.core.errors import BadScores
from bench.evaluate import evaluation
from bench.evaluate.frames import Folder
from bench.metrics import per_image, ranking
from bench.metrics.accumulate import NOTHING, Accumulator, ScoredImage, Truth
from bench.metrics.protocols import definitions
from bench.metrics.protocols.definitions import POOLINGS, RANKED, READ, RULES
from bench.metrics.protocols.fishyscapes import Fishyscapes
from bench.metrics.protocols.miou import MeanIoU
from bench.metrics.protocols.pooled import Anomaly
from bench.metrics.protocols.streethazards import StreetHazards
from bench.metrics.spread import Spread
from bench.report import grids, leaderboard
from bench.results import store, summary
from bench.results.compare import Side, compare
from bench.results.definitions import panel

BOARDS = Path(__file__).parents[1] / "fixtures" / "leaderboards"
VARIANTS = json.loads((BOARDS / "metric_variants_not_official.json").read_text())["cases"]
NAMES = {
    "fpr95_first pooled": "fpr95_first_ge",
    "fpr95_interpolated pooled": "fpr95_linear_interp",
    "fpr95_closest pooled": "fpr95_closest_recall",
    "ap_step pooled": "ap_step",
    "ap_trapezoid pooled": "auprc_trapezoid",
    "ap_step images": "mean_over_images_ap_step",
    "fpr95_closest images": "mean_over_images_fpr95_closest_recall",
}


def sample(index, truth):
    return Sample(f"f{index}", truth.shape, lambda: np.zeros((1, 1, 3), np.uint8), anomaly=truth)


def read(frames, *, scaled=False, fold=False):
    """What ``bench score --definitions`` computes, from (score, truth) of each frame."""
    protocol = Spread(inner=Fishyscapes(), scaled=scaled)
    accumulator = Accumulator(protocol, fold=fold)
    for index, (score, truth) in enumerate(frames):
        accumulator.add(ScoredImage(Truth(sample(index, truth), None), {"score": score}))
    return accumulator.reading().read()


def load(name):
    with np.load(BOARDS / "fishyscapes" / f"{name}.npz") as file:
        count = sum(key.startswith("scores") for key in file)
        return [
            (np.squeeze(file[f"scores_{i:03d}"]).astype(np.float32), np.squeeze(file[f"labels_{i:03d}"]))
            for i in range(count)
        ]


def ranked(score, truth):
    return per_image.steps(np.float32([score]), np.uint8([truth]))


@pytest.mark.parametrize("case", [name for name in VARIANTS if (BOARDS / "fishyscapes" / f"{name}.npz").is_file()])
def test_variants_of_the_fixtures_to_nine_digits(case):
    found = read(load(case))
    for ours, theirs in NAMES.items():
        assert found[ours].value == pytest.approx(VARIANTS[case][theirs], abs=1e-9), ours


def test_the_printed_table_of_the_fixtures():
    """first, interpolated, closest, step, trapezoid, to four digits."""
    for name, wanted in (
        ("fs01_random", (0.5971, 0.5971, 0.6686, 0.3862, 0.3840)),
        ("fs02_ties", (0.9208, 0.6805, 0.6004, 0.2766, 0.3635)),
        ("fs03_constant", (1.0, 0.95, 1.0, 0.1214, 0.5607)),
        ("fs04_one_frame_without_anomaly", (0.5288, 0.5129, 0.5288, 0.2809, 0.2800)),
    ):
        found = read(load(name))
        rules = ("fpr95_first", "fpr95_interpolated", "fpr95_closest", "ap_step", "ap_trapezoid")
        assert tuple(round(found[f"{rule} pooled"].value, 4) for rule in rules) == wanted


def test_exactly_95_percent_tells_the_rules_apart():
    # 20 positives, 19 of them on top, then 6 of 10 negatives, the last positive, 4 negatives: TPR is .95 from FPR 0 to
    # FPR .6, where it becomes 1. ">= .95" takes the first of these points, "closest" the last, "> .95" the one after;
    # interpolation takes the last one too.
    truth = [1] * 19 + [0] * 6 + [1] + [0] * 4
    found = ranked(list(range(30, 0, -1)), truth)
    assert definitions.first(found) == Value(0.0)
    assert definitions.strict(found) == Value(0.6)
    assert definitions.closest(found) == Value(0.6)
    figures = definitions.of_image(found)
    assert figures["fpr95_interpolated"] == pytest.approx(0.6)
    assert figures["auroc"] == pytest.approx((19 * 10 + 4) / 200)


def test_closest_may_lie_on_either_side_of_95_percent():
    # 19 positives, 18 of them on top: TPR .947, then the last one tied with all 4 negatives.
    found = ranked([3] * 18 + [2] * 5, [1] * 19 + [0] * 4)
    assert definitions.first(found) == Value(1.0) and definitions.closest(found) == Value(0.0)
    # One negative before the last positive: the last point with TPR .947 has it.
    assert definitions.closest(ranked([*range(21, 0, -1)], [1] * 18 + [0, 1, 0])) == Value(0.5)
    # 8 positives: .875 is further away than 1, whose first point counts.
    assert definitions.closest(ranked([*range(10, 0, -1)], [1] * 7 + [0, 1, 0])) == Value(0.5)


def test_clean_frames_add_negatives_alone():
    ramp = np.float32([[0, 1, 2, 3]])
    frames = [(ramp, np.uint8([[0, 0, 0, 1]])), (ramp + 1, np.uint8([[0, 0, 0, 0]]))]
    found = read(frames)
    # With the clean frame the positive of score 3 has one negative (4) above it and one (3) beside it, of seven.
    assert found["fpr95_first pooled"] == Value(2 / 7) and found["fpr95_first no_clean"] == Value(0.0)
    assert found["ap_step pooled"] == Value(1 / 3) and found["ap_step no_clean"] == Value(1.0)
    assert found["ap_step images"] == Value(1.0), "the clean frame has no figure of its own"


def test_scaling_by_image_moves_images_against_each_other():
    frames = [
        (np.float32([[0, 1, 2, 10]]), np.uint8([[0, 0, 0, 1]])),
        (np.float32([[0, 0.1, 0.2, 0.3]]), np.uint8([[0, 0, 0, 0]])),
    ]
    assert read(frames)["fpr95_first pooled"] == Value(0.0)
    assert read(frames, scaled=True)["fpr95_first pooled"] == Value(1 / 7)  # .3 became 1, as 10 did


def test_scaled_is_zero_to_one_and_keeps_the_order():
    score = np.float32([[3, -np.inf, 5], [4, np.inf, 3]])
    assert np.array_equal(definitions.rescaled(score), np.float32([[0, -np.inf, 1], [0.5, np.inf, 0]]))
    assert np.array_equal(definitions.rescaled(np.full((2, 2), 7, np.float32)), np.zeros((2, 2), np.float32))
    assert np.array_equal(
        definitions.rescaled(np.full((1, 2), np.inf, np.float32)), np.full((1, 2), np.inf, np.float32)
    )


def test_the_histogram_wants_scores_from_0_to_1():
    rng = np.random.RandomState(0)
    truth = (rng.random_sample((30, 30)) < 0.2).astype(np.uint8)
    score = (rng.random_sample((30, 30)) / 2 + truth / 3).astype(np.float32)
    inside, outside = read([(score, truth)]), read([(score + 7, truth)])
    assert abs(inside["fpr95_histogram pooled"].value - inside["fpr95_closest pooled"].value) < 0.05
    assert outside["fpr95_histogram pooled"] == Undefined("900 scores lie outside [0, 1]")
    assert isinstance(read([(score + 7, truth)], scaled=True)["fpr95_histogram pooled"], Value)


def test_the_mean_over_images_is_that_of_streethazards():
    rng = np.random.RandomState(3)
    frames = []
    for _ in range(5):
        truth = (rng.random_sample((20, 20)) < 0.1).astype(np.uint8)
        frames.append((np.round(rng.random_sample((20, 20)) * 40 + 9 * truth).astype(np.float32), truth))
    theirs = StreetHazards()
    rows = {f"f{i}": theirs.row(sample(i, truth), None, score) for i, (score, truth) in enumerate(frames)}
    wanted, found = theirs.read(NOTHING, rows), read(frames)
    for ours, name in (("auroc", "auroc"), ("ap_step", "ap"), ("fpr95_closest", "fpr95")):
        assert found[f"{ours} images"] == wanted[name]


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("positives", [19, 20, 21, 400])
def test_certified_figures_hold_the_exact_ones(seed, positives):
    rng = np.random.RandomState(seed)
    truth = np.zeros(2000, np.uint8)
    truth[rng.permutation(2000)[:positives]] = 1
    # Scores that share their leading 24 bits and differ in the last 8.
    score = (np.round(rng.random_sample(2000) * 6 + truth) + 8 + rng.randint(0, 250, 2000) * 2.0**-20).astype(
        np.float32
    )
    frames = [(score.reshape(40, 50), truth.reshape(40, 50))]
    exact, certified = read(frames), read(frames, fold=True)
    for name in (f"{rule} {pooling}" for rule in RANKED for pooling in ("pooled", "no_clean")):
        assert exact[name].err == 0
        assert abs(exact[name].value - certified[name].value) <= certified[name].err, name


def test_one_side_alone_has_no_figure():
    found = read([(np.zeros((2, 2), np.float32), np.zeros((2, 2), np.uint8))])
    assert {figure.reason for figure in found.values()} == {
        "no positive pixels", "no pixels", "no image with pixels of both sides",
    }  # fmt: skip


def test_the_metrics_are_what_is_read():
    frames = load("fs01_random")
    assert list(Spread.metrics) == list(read(frames)) == list(read(frames, scaled=True))
    assert {name.split()[1] for name in Spread.metrics} == set(READ) == set(POOLINGS) - {"scaled"}


@pytest.fixture
def folder(tmp_path):
    for name in ("scores", "labels"):
        (tmp_path / name).mkdir()
    for index, (score, truth) in enumerate(load("fs04_one_frame_without_anomaly")):
        np.save(tmp_path / "scores" / f"{index}.npy", score)
        Image.fromarray(truth.astype(np.uint8)).save(tmp_path / "labels" / f"{index}.png")
    return tmp_path


def test_the_report_stands_with_its_evaluation(folder, capsys):
    argv = ["score", "--protocol", "anomaly", "--scores", str(folder / "scores"), "--labels", str(folder / "labels")]
    assert main([*argv, "--definitions", "--format", "json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)["evaluations"]
    by = {(entry["rule"], entry["pooling"]): entry for entry in found["definitions"]}
    assert len(by) == len(Spread.metrics) + len(RULES)
    assert by["fpr95_first", "pooled"]["value"] == found["metrics"]["fpr95"]["value"]
    assert by["fpr95_strict", "pooled"]["used_by"] == "RbA, DenseHybrid"
    assert by["fpr95_interpolated", "pooled"]["value"] == pytest.approx(0.5129490392648286, abs=1e-9)
    assert by["ap_trapezoid", "pooled"]["value"] == pytest.approx(0.2799969049768246, abs=1e-9)
    assert main([*argv, "--definitions"]) == 0
    said = capsys.readouterr().out
    (row,) = (line for line in said.splitlines() if line.startswith("    FPR95, point with the TPR closest to 0.95  "))
    assert row.split()[-4:][0] == "52.88" and row.split()[-1] == "47.17"
    assert "FPR95 of these maps: " in said and "RbA, DenseHybrid" in said


def test_the_report_of_a_run_is_that_of_the_pure_functions(folder):
    options = evaluation.Options(resamples=0, definitions=True)
    report = evaluation.score([Anomaly()], [Folder(folder / "labels")], folder / "scores", None, options)
    frames = load("fs04_one_frame_without_anomaly")
    assert list(report.evaluations[0].definitions) == definitions.entries(read(frames), read(frames, scaled=True))
    with pytest.raises(BadScores, match="--definitions needs a protocol that ranks two sides"):
        evaluation.score([MeanIoU()], [Folder(folder / "labels")], None, folder / "labels", options)


def test_every_rule_says_who_uses_it():
    for rule in RULES.values():
        assert rule.used_by and set(rule.used_by) <= set(POOLINGS)
    assert set(RANKED) <= set(RULES) and "fpr95" in ranking.METRICS


def test_scaling_moves_no_ranking_of_an_image_alone():
    found = read(load("fs01_random"), scaled=True)
    reason = Undefined("scaling a map leaves the figures of its own ranking as they are")
    assert {found[f"{rule} images"] for rule in RANKED} == {reason}
    assert isinstance(found["ap_step no_clean"], Value)


SUITE = """
protocols:
  - anomaly
  - misclassification: {by: class, label: errors}
  - definitions
  - definitions: {scaled: true}
  - definitions_misclassification
models: [toynet]
datasets:
  - toytown: {split: anomaly, images: 4, label: town}
  - toytown: {images: 4, label: counted, protocols: [misclassification]}
  - toytown: {images: 4, label: counted, protocols: [misclassification], corruption: {name: fog, severity: 2}}
  - toytown: {split: anomaly, images: 4, label: foggy, protocols: [definitions], corruption: {name: fog, severity: 2}}
methods: [msp, maxlogit]
bootstrap: 0
summaries: [{name: means, protocol: "*"}]
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("definitions")
    (folder / "suite.yaml").write_text(SUITE)
    argv = ["--out", str(folder / "run"), "--workers", "0", "--gallery", "0"]
    assert main(["run", str(folder / "suite.yaml"), *argv]) == 0
    return store.read_run(folder / "run")


def figures_of(found):
    return {f"{one.rule} {one.pooling}": one.figure for one in found.entries}


def result_of(run, protocol, dataset, method="msp"):
    return next(
        each
        for each in run.results
        if (each.labels.protocol, each.labels.dataset, each.labels.method) == (protocol, dataset, method)
    )


def test_a_run_has_a_panel_per_truth_data_set_model_and_method(run):
    found = [(each.of, each.dataset, each.model, each.method, each.lacks) for each in panel(run)]
    rest = ("no_clean", "scaled", "images")
    assert sorted(found) == sorted(
        (of, dataset, "toynet", method, lacks)
        for method in ("msp", "maxlogit")
        for of, dataset, lacks in (
            ("anomaly", "town", ()),
            ("misclassification", "town", ("scaled",)),
            ("misclassification", "counted", rest),  # and its corrupted copy has none
            ("anomaly", "foggy+fog-2", ()),  # asked for by the protocol
        )
    )
    assert {each.whole for each in panel(run) if each.of == "anomaly"} == {True}
    assert {(each.images, each.partial) for each in panel(run)} == {(4, False)}


def test_a_whole_panel_holds_the_figures_of_the_tables_and_both_passes(run):
    wanted = ("anomaly", "town", "msp")
    (found,) = (each for each in panel(run) if (each.of, each.dataset, each.method) == wanted)
    figures, table = figures_of(found), result_of(run, "anomaly", "town").metrics
    assert len(figures) == len(definitions.METRICS) + len(RULES)
    for rule, metric in (("fpr95_first", "fpr95"), ("ap_step", "ap"), ("auroc", "auroc")):
        assert figures[f"{rule} pooled"] == Value(table[metric].value)
    scaled = result_of(run, "definitions[scaled=True]", "town").metrics
    assert figures["ap_step scaled"] == scaled["ap_step pooled"] != figures["ap_step pooled"]
    low, high = found.ranges["FPR95"]
    assert low < high and low <= table["fpr95"].value <= high


def test_counts_alone_hold_the_rules_over_all_pixels(run):
    (found,) = (each for each in panel(run) if (each.dataset, each.method) == ("counted", "msp"))
    assert [one.pooling for one in found.entries] == ["pooled"] * len(RANKED)
    result = result_of(run, "errors", "counted")
    figures = figures_of(found)
    assert figures["fpr95_first pooled"] == result.metrics["fpr95"] and figures["auroc pooled"].err == 0
    assert 0 < figures["ap_trapezoid pooled"].err < 5e-5
    # The town has both: what its definitions say exactly lies within what its counts certify.
    with_counts = [each for each in run.results if each.labels.protocol == "errors"]
    (alone,) = (each for each in panel(store.Run(run.path, run.plan, (with_counts[0],))))
    exact = result_of(run, "definitions_misclassification", "town").metrics
    for name, figure in figures_of(alone).items():
        assert abs(figure.value - exact[name].value) <= figure.err, name


def test_what_ranks_nobody_is_in_no_table_no_grid_no_mean_and_no_comparison(run):
    mute = [each for each in run.results if not each.ranked]
    assert {each.labels.protocol.partition("[")[0] for each in mute} == {
        "definitions",
        "definitions_misclassification",
    }
    titles = {table.protocol for table in leaderboard.tables(run)} | {grid.protocol for grid in grids.grids(run)}
    assert titles == {"anomaly", "errors"}
    assert {entry["protocol"] for entry in summary.compute(run)} == {"anomaly", "errors"}
    for text in (writing.terminal(run), writing.markdown(run, [])):
        assert "TPR > 0.95" not in text and "definitions[" not in text
    sides = [Side(run, {"method": method}) for method in ("msp", "maxlogit")]
    assert {one.metric for one in compare(*sides)} == set(result_of(run, "errors", "counted").metrics)
    assert all(not each.slices for each in mute)

"""Inputs on which a figure once differed from the evaluator that its protocol names, made small."""

import json

import numpy as np
import pytest
from PIL import Image

from bench.cli.main import main


@pytest.fixture
def score(tmp_path, capsys):
    """Write frames, run ``bench score`` on them, and give its figures, or the line that it ends with."""

    def run(protocol, *frames, budget=2**30):
        for folder in ("scores", "labels", "predictions"):
            (tmp_path / folder).mkdir(exist_ok=True)
        for number, frame in enumerate(frames):
            for folder, array in zip(("labels", "predictions"), frame[1:], strict=False):
                Image.fromarray(np.asarray(array, np.uint8)).save(tmp_path / folder / f"f{number}.png")
            np.save(tmp_path / "scores" / f"f{number}.npy", frame[0])
        places = ["--scores", tmp_path / "scores", "--labels", tmp_path / "labels"]
        places += ["--predictions", tmp_path / "predictions"] if len(frames[0]) > 2 else []
        options = ["--bootstrap", 20, "--budget", budget, "--format", "json"]
        status = main(["score", "--protocol", protocol, *map(str, [*places, *options])])
        printed = capsys.readouterr()
        if status:
            return printed.err.strip()
        (only,) = json.loads(printed.out)["evaluations"]
        figures = {name: figure.get("value", "n/a") for name, figure in only["metrics"].items()}
        return figures | {"err": {name: figure.get("err") for name, figure in only["metrics"].items()}}

    return run


def ranked(kind, size=(30, 40), seed=0):
    """Scores whose order float32 loses, and labels that follow them."""
    generator = np.random.default_rng(seed)
    labels = (generator.random(size) < 0.2).astype(np.uint8)
    suspicion = generator.normal(size=size) + labels
    scores = {
        "near 1": 1 - np.exp(-suspicion - 25),
        "beyond float32": np.sinh(suspicion) * 1e40,
        "below float32": np.exp(suspicion) * 1e-60,
        "whole numbers": (2**30 + np.floor(suspicion * 8)).astype(np.int64),
    }
    return scores[kind], labels


KINDS = ("near 1", "beyond float32", "below float32", "whole numbers")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("protocol", ["anomaly", "misclassification", "anomaly:by=size", "streethazards"])
def test_scores_that_float32_would_merge_are_ranked_as_they_are(score, kind, protocol):
    metrics = pytest.importorskip("sklearn.metrics")
    scores, labels = ranked(kind)
    frame = (scores, labels, np.zeros_like(labels)) if protocol == "misclassification" else (scores, labels)
    found = score(protocol, frame)
    wide = scores.astype(np.float64).ravel()
    assert found["auroc"] == pytest.approx(metrics.roc_auc_score(labels.ravel(), wide), abs=1e-12)
    assert found["ap"] == pytest.approx(metrics.average_precision_score(labels.ravel(), wide), abs=1e-12)
    assert found["err"]["auroc"] in (0, None)


@pytest.mark.parametrize("kind", KINDS)
def test_folded_they_are_bounded(score, kind):
    whole = score("anomaly", *(ranked(kind, (90, 120), seed) for seed in range(2)))
    folded = score("anomaly", *(ranked(kind, (90, 120), seed) for seed in range(2)), budget=65536)
    assert whole["err"]["auroc"] in (0, None)
    for name in ("auroc", "ap", "fpr95", "best_f1"):
        assert abs(folded[name] - whole[name]) <= folded["err"][name] + 1e-12


def test_whole_numbers_that_nothing_here_tells_apart_are_refused(score):
    line = score("anomaly", (np.array([[2**53 + 1, 2**53]]), [[1, 0]]))
    assert "beyond the 2^53" in line
    assert "f0.npy" in line


@pytest.mark.parametrize("protocol", ["fishyscapes", "fed_anomaly"])
def test_a_protocol_whose_source_rounds_to_float32_does(score, protocol):
    found = score(protocol, (np.array([[1 - 1e-12, 1 - 2e-12, 0.5]]), [[1, 0, 0]]))
    assert found["auroc"] == 0.75


def test_smiyc_rounds_float64_to_float16_at_once(score):
    labels = np.zeros((20, 20), np.uint8)
    labels[:4] = 1
    above = 1 + 2.0**-11  # half-way between two float16; float32 cannot hold a little more than that
    found = score("smiyc_obstacle", (np.where(labels == 1, above + 1e-12, above), labels))
    assert found["ap"] == 1


@pytest.mark.parametrize("classes, expected", [(19, (1, 1, 1)), (240, (0.5, 0.5, 0.75)), (255, (0.5, 0.5, 0.75))])
def test_open_miou_takes_class_maps_beyond_its_classes_as_the_source_does(score, classes, expected):
    labels = np.full((4, 5), 18)
    predictions = labels.copy()
    predictions[0] = classes
    scores = np.where(predictions == 18, 0.1, 0.9).astype(np.float32)
    found = score("open_miou", (scores, labels, predictions))
    assert [found[name] for name in ("open_miou", "open_mean_accuracy", "open_pixel_accuracy")] == list(expected)


def test_open_miou_has_the_mean_of_its_thresholds_in_float64(score):
    labels = np.repeat([[0, 1]], 8, axis=0)
    predictions = labels.copy()
    predictions[0] = 2
    scores = np.where(predictions == 2, 0.9, 0.1).astype(np.float32)
    found = score("open_miou", *[(scores, labels, predictions)] * 3)
    assert found["threshold"] == float(np.float32(0.9))  # > this: nothing is rejected
    assert found["open_pixel_accuracy"] == pytest.approx(1 - 1 / 8)


def test_entropy_max_has_its_edges_in_float64(score):
    scores = np.arange(100, dtype=np.float32).reshape(10, 10) / 100
    labels = np.arange(100).reshape(10, 10) % 3 == 0
    bins = np.searchsorted(np.linspace(0, 1, 101), scores.astype(np.float64), "right") - 1
    middle = ((bins + 0.5) / 100).astype(np.float32)
    for name, figure in score("entropy_max", (middle, labels)).items():
        if name in ("auroc", "ap", "fpr95"):
            assert figure == score("entropy_max", (scores, labels))[name]


def test_components_beyond_the_budget_are_found_at_the_exact_threshold(score):
    generator = np.random.default_rng(1)
    frames = []
    for _ in range(2):
        labels = np.zeros((100, 120), np.uint8)
        labels[20:40, 30:60] = 1
        scores = 1 - 1e-5 * generator.random((100, 120)) - 2e-5 * generator.random((100, 120)) * (labels == 0)
        frames.append((scores.astype(np.float32), labels))
    exact, folded = score("components", *frames), score("components", *frames, budget=65536)
    assert exact == folded
    assert exact["threshold"] != "n/a"


def plain_auroc(positive, negative):
    above, level = positive[:, None] > negative, positive[:, None] == negative
    return (above + level / 2).mean()


def test_bravo_figures_of_16_bits_are_those_of_the_fractions(tmp_path, capsys):
    generator = np.random.default_rng(2)
    labels = generator.integers(0, 19, (8, 9)).astype(np.uint8)
    predictions = np.where(generator.random((8, 9)) < 0.3, (labels + 1) % 19, labels).astype(np.uint8)
    levels = generator.integers(0, 1 << 16, (8, 9)).astype(np.uint16)
    for name in ("levels", "fractions", "bytes", "labels", "predictions"):
        (tmp_path / name).mkdir()
    Image.fromarray(levels).save(tmp_path / "levels" / "a.png")
    Image.fromarray((levels >> 8).astype(np.uint8)).save(tmp_path / "bytes" / "a.png")
    np.save(tmp_path / "fractions" / "a.npy", (levels + 0.5) / 65536)
    Image.fromarray(labels).save(tmp_path / "labels" / "a.png")
    Image.fromarray(predictions).save(tmp_path / "predictions" / "a.png")

    def figures(scores, judged="semantic", *more):
        places = {"--scores": scores, "--labels": "labels", "--predictions": "predictions"}
        argv = [part for option, name in places.items() for part in (option, str(tmp_path / name))]
        status = main(["score", "--protocol", f"bravo:judged={judged}", *argv, *more, "--format", "json"])
        printed = capsys.readouterr()
        return json.loads(printed.out)["evaluations"][0]["metrics"] if status == 0 else printed.err

    assert figures("levels") == figures("fractions")
    assert "16 bits" in figures("bytes")
    invalid = generator.random((8, 9)) < 0.3
    Image.fromarray(np.where(invalid, np.uint8(7), np.uint8(0))).save(tmp_path / "a_inv.png")
    masked = figures("levels", "both", "--invalid", str(tmp_path / "{id}_inv.png"))
    assert masked["auroc_ood"]["value"] == pytest.approx(
        plain_auroc(-levels[invalid].astype(int), -levels[~invalid].astype(int))
    )
    assert "does not exist" in figures("levels", "both", "--invalid", str(tmp_path / "{id}_other.png"))


def test_idm_in_two_fidelities_of_a_frame_without_errors(score):
    labels = np.zeros((4, 5), np.uint8)
    wrong = labels.copy()
    wrong[0] = 1
    scores = np.linspace(1, 0, 20, dtype=np.float32).reshape(4, 5)
    frames = [(scores, labels, wrong), (scores, labels, labels)]
    assert score("idm", *frames)["ap"] == 1
    source = score("idm:fidelity=reference", *frames)
    assert (source["ap"], source["auroc"], source["fpr95"]) == (0.75, "n/a", "n/a")


def test_idm_ood_cdd_draws_what_its_source_draws(score):
    generator = np.random.default_rng(3)
    labels = np.zeros((300, 400), np.uint8)
    predictions = (generator.random(labels.shape) < 0.02).astype(np.uint8)
    frame = (generator.random(labels.shape).astype(np.float32) + predictions / 8, labels, predictions)
    whole, source = score("idm_ood_cdd", frame), score("idm_ood_cdd:fidelity=reference", frame)
    assert source["idm_auroc"] == pytest.approx(whole["idm_auroc"], abs=0.01)
    assert source["idm_ap"] > whole["idm_ap"] + 0.05  # a quarter of the right pixels, all of the wrong ones
    assert source == score("idm_ood_cdd:fidelity=reference", frame)

"""Labels and class maps in any two conventions: what fits is named, and what is named leads to the right figures."""

import json
import re

import numpy as np
import pytest
from PIL import Image

from bench.cli.main import main
from bench.core.label_values import LABEL_IDS

SHAPE = (2, 32, 48)


def run(capsys, *argv):
    status = main(["score", *map(str, argv), "--bootstrap", "0", "--format", "json"])
    said = capsys.readouterr()
    if status == 0:
        return [evaluation["metrics"] for evaluation in json.loads(said.out)["evaluations"]]
    assert status == 2 and said.err.count("\n") == 1, said.err
    return said.err.strip()


@pytest.fixture
def right(tmp_path):
    """Score maps, labels in train ids with void in a row, class maps that are right on nine pixels of ten."""
    draws = np.random.default_rng(4)
    labels = draws.integers(0, 19, SHAPE).astype(np.uint8)
    predicted = np.where(draws.random(SHAPE) < 0.1, draws.integers(0, 19, SHAPE), labels).astype(np.uint8)
    labels[:, :2] = 255
    scores = draws.random(SHAPE) + 0.3 * (labels != predicted)
    (tmp_path / "maps").mkdir()
    for number, score in enumerate(scores.astype(np.float32)):
        np.save(tmp_path / "maps" / f"f{number}.npy", score)
    return tmp_path, labels, predicted


def save(folder, maps):
    folder.mkdir()
    for number, values in enumerate(maps):
        Image.fromarray(values.astype(np.uint8)).save(folder / f"f{number}.png")
    return folder


def ids(maps, void):
    table = np.full(256, void, np.uint8)
    table[:19] = LABEL_IDS
    return table[maps]


OF_LABELS = {
    "train ids": lambda maps: maps,
    "label ids, 0 is void": lambda maps: ids(maps, 0),
    "label ids, 255 is void": lambda maps: ids(maps, 255),
    "from 1, 0 is void": lambda maps: np.where(maps == 255, 0, maps + 1),
    "from 1, 255 is void": lambda maps: np.where(maps == 255, 255, maps + 1),
    "void is 19": lambda maps: np.where(maps == 255, 19, maps),
}
OF_PREDICTIONS = {
    "train ids": lambda maps: maps,
    "label ids": lambda maps: ids(maps, 0),
    "from 1": lambda maps: maps + 1,
}


@pytest.mark.parametrize("protocol", ["misclassification", pytest.param("miou", marks=pytest.mark.slow)])
@pytest.mark.parametrize("predictions", OF_PREDICTIONS)
@pytest.mark.parametrize("labels", OF_LABELS)
def test_what_is_named_leads_to_the_right_figures(right, capsys, labels, predictions, protocol):
    folder, truth, predicted = right
    ask = ["--protocol", protocol, "--scores", folder / "maps"]
    plain = ["--labels", save(folder / "truth", truth), "--predictions", save(folder / "classes", predicted)]
    wanted = run(capsys, *ask, *plain)
    assert isinstance(wanted, list)
    stored = [
        "--labels", save(folder / "labels", OF_LABELS[labels](truth)),
        "--predictions", save(folder / "stored", OF_PREDICTIONS[predictions](predicted)),
    ]  # fmt: skip
    told = run(capsys, *ask, *stored)
    if (labels, predictions) == ("train ids", "train ids"):
        assert told == wanted
        return
    if isinstance(told, list):  # both count from 1 and nothing else tells: the right figures as they are
        assert (labels, predictions) == ("from 1, 255 is void", "from 1") and told == wanted
        return
    options = re.search(r"say ((?:--\S+ \S+ ?)+?)(?:, or|$)", told)
    assert options, told
    assert run(capsys, *ask, *stored, *options[1].rstrip(",").split()) == wanted


def test_more_classes_than_the_protocol_counts_are_said(right, capsys):
    folder, truth, predicted = right
    wider = np.where(truth == 255, 255, truth + 6 * (np.arange(48) % 2).astype(np.uint8))
    maps = predicted + 6 * (np.arange(48) % 2).astype(np.uint8)
    ask = ["--labels", save(folder / "labels", wider), "--predictions", save(folder / "stored", maps)]
    assert "say miou:classes=25" in run(capsys, "--protocol", "miou", *ask)
    (figures,) = run(capsys, "--protocol", "miou:classes=25", *ask)
    assert figures["pixel_accuracy"]["value"] > 0.85
    (_,) = run(capsys, "--protocol", "misclassification", "--scores", folder / "maps", *ask)


def test_a_class_that_is_never_predicted_is_no_void(right, capsys):
    folder, truth, predicted = right
    maps = np.where(predicted == 7, 8, predicted)
    ask = ["--labels", save(folder / "labels", truth), "--predictions", save(folder / "stored", maps)]
    (figures,) = run(capsys, "--protocol", "miou", *ask)
    assert figures["miou"]["value"] < 0.85


@pytest.mark.parametrize("side", ["labels", "class maps"])
def test_two_classes_against_many_are_asked_about(right, capsys, side):
    folder, truth, predicted = right
    truth, predicted = (np.minimum(truth, 1), predicted) if side == "labels" else (truth, np.minimum(predicted, 1))
    ask = ["--labels", save(folder / "labels", truth), "--predictions", save(folder / "stored", predicted)]
    told = run(capsys, "--protocol", "miou", *ask)
    option = "--label-values" if side == "labels" else "--prediction-values"
    assert f"{side} hold 0 " in told and told.endswith(f"say {option} train_ids")
    (_,) = run(capsys, "--protocol", "miou", *ask, option, "train_ids")


def test_labels_of_two_classes_on_both_sides_are_right(right, capsys):
    folder, truth, predicted = right
    ask = ["--labels", save(folder / "labels", truth % 2), "--predictions", save(folder / "stored", predicted % 2)]
    (_,) = run(capsys, "--protocol", "miou:classes=2", *ask)


MASKS = {
    "0 and 255": (lambda masks: np.where(masks == 1, 255, 0), "255=anomaly"),
    "0, 2 and 255": (lambda masks: np.where(masks == 1, 2, masks), "2=anomaly"),
    "0, 128 and 255": (lambda masks: np.select([masks == 1, masks == 255], [255, 128]), "128=ignore,255=anomaly"),
}


@pytest.mark.parametrize("case", MASKS)
def test_masks_of_other_values_are_read_when_it_is_said(right, capsys, case):
    folder, truth, predicted = right
    stored, option = MASKS[case]
    masks = np.where(truth == 255, 255 if "0, " in case else 0, truth != predicted)
    ask = ["--protocol", "anomaly,fishyscapes", "--scores", folder / "maps"]
    wanted = run(capsys, *ask, "--labels", save(folder / "truth", masks))
    labels = ["--labels", save(folder / "labels", stored(masks))]
    assert f"say --label-values {option}" in run(capsys, *ask, *labels)
    assert run(capsys, *ask, *labels, "--label-values", option) == wanted


def test_labels_without_an_anomaly_are_refused_until_somebody_says_that_there_is_none(right, capsys):
    folder, _, _ = right
    ask = ["--protocol", "anomaly", "--scores", folder / "maps", "--labels", save(folder / "labels", np.zeros(SHAPE))]
    assert run(capsys, *ask).endswith("say --label-values 1=anomaly")
    (figures,) = run(capsys, *ask, "--label-values", "1=anomaly")
    assert "reason" in figures["ap"]


@pytest.mark.parametrize(
    ("option", "text", "says"),
    [
        ("--label-values", "ids", "wanted train_ids"),
        ("--label-values", "19=void", "wanted ignore or the number of a class"),
        ("--label-values", "19=ignore,19=3", "twice"),
        ("--label-values", "=", "wanted a value from 0 to 255"),
        ("--prediction-values", "300=1", "wanted a value from 0 to 255"),
        ("--prediction-values", "3=\x1b[31m", "wanted"),
    ],
)
def test_words_that_say_nothing_are_refused(right, capsys, option, text, says):
    folder, truth, predicted = right
    ask = ["--labels", save(folder / "labels", truth), "--predictions", save(folder / "stored", predicted)]
    told = run(capsys, "--protocol", "miou", *ask, option, text)
    assert says in told and "\x1b" not in told


def test_labels_of_a_data_set_are_held_against_class_maps(right, capsys, monkeypatch):
    folder, truth, predicted = right
    for number, values in enumerate(truth):
        for kind, pixels in (("leftImg8bit", np.zeros((*values.shape, 3), np.uint8)), ("gtFine_labelTrainIds", values)):
            path = folder / "cityscapes" / kind.partition("_")[0] / "val" / "a" / f"a_000000_00000{number}_{kind}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
    monkeypatch.setenv("BENCH_DATA", str(folder))
    for name, maps in (("classes", predicted), ("stored", ids(predicted, 0))):
        (folder / name).mkdir()
        for number, values in enumerate(maps):
            Image.fromarray(values).save(folder / name / f"a_000000_00000{number}.png")
    ask = ["--protocol", "miou", "--dataset", "cityscapes:frames=2"]
    wanted = run(capsys, *ask, "--predictions", folder / "classes")
    assert isinstance(wanted, list)
    assert "say --prediction-values label_ids" in run(capsys, *ask, "--predictions", folder / "stored")
    options = ["--prediction-values", "label_ids"]
    assert run(capsys, *ask, "--predictions", folder / "stored", *options) == wanted
    assert "--dataset 'NAME:values=...'" in run(
        capsys, *ask, "--predictions", folder / "stored", "--label-values", "from_1"
    )

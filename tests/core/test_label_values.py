"""Labels that are read as something that they are not: the convention that fits is named, and saying it mends it."""

import numpy as np
import pytest
from PIL import Image

from bench.api import CITYSCAPES
from bench.cli.main import main
from bench.core import label_values
from bench.core.errors import BadSuite, MissingData
from bench.suite import parameters, registry

RNG = np.random.default_rng(7)
SHARES = np.array([33, 5, 22, 1, 1, 1, 0.3, 0.7, 15, 1, 4, 1, 0.2, 7, 0.4, 0.3, 0.3, 0.1, 0.7])  # of streets, roughly


def trains(void=True):
    """Four class maps, uint8 [24, 32], in train ids with the shares of streets; the first row is void, 255."""
    maps = RNG.choice(19, (4, 24, 32), p=SHARES / SHARES.sum()).astype(np.uint8)
    maps[:, 5, :19] = np.arange(19)  # every class is there
    if void:
        maps[:, 0] = 255
    return maps


def label_ids(maps):
    table = np.zeros(256, np.uint8)
    table[:19] = label_values.LABEL_IDS
    return table[maps]


def masks():
    """Four masks, uint8 [24, 32]: 0, 1 and a row of 255."""
    drawn = (RNG.random((4, 24, 32)) < 0.1).astype(np.uint8)
    drawn[:, 0] = 255
    return drawn


def cityscapes(root, maps, kind="labelTrainIds"):
    for number, values in enumerate(maps):
        name = f"a_000000_00000{number}"
        for folder, end in (("leftImg8bit", "leftImg8bit"), ("gtFine", f"gtFine_{kind}")):
            path = root / "cityscapes" / folder / "val" / "a" / f"{name}_{end}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(values if folder == "gtFine" else np.zeros((24, 32, 3), np.uint8)).save(path)
    return "cityscapes", {}


def validation_dataset(root, maps, name="fs_static"):
    for number, values in enumerate(maps):
        for folder, pixels in (("images", np.zeros((24, 32, 3), np.uint8)), ("labels_masks", values)):
            path = root / "validation_dataset" / name / folder / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
    return "validation_dataset", {"set": name}


def smiyc(root, maps):
    for number, values in enumerate(maps):
        for folder, end in (("images", ".jpg"), ("labels_masks", "_labels_semantic.png")):
            path = root / "smiyc" / "dataset_AnomalyTrack" / folder / f"validation000{number}{end}"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(values if end[0] == "_" else np.zeros((24, 32, 3), np.uint8)).save(path)
    return "smiyc", {"track": "RoadAnomaly21", "split": "validation"}


def fishyscapes(root, maps):
    for number, values in enumerate(maps):
        name = f"FsValLF/{{}}/val/a/a_{number}"
        for folder, end in (("leftImg8bit", "_leftImg8bit.png"), ("gtFine", "_gtFine_labelTrainIds.png")):
            path = root / "fishyscapes" / (name.format(folder) + end)
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(values if folder == "gtFine" else np.zeros((24, 32, 3), np.uint8)).save(path)
    return "fishyscapes", {"set": "lost_and_found", "layout": "renamed"}


def road_anomaly(root, maps):
    for number, values in enumerate(maps):
        for folder, end in (("original", ".jpg"), ("labels", ".png")):
            path = root / "road_anomaly" / folder / f"{number}{end}"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(values if end == ".png" else np.zeros((24, 32, 3), np.uint8)).save(path)
    return "road_anomaly", {"layout": "original_labels"}


def build(name, params):
    return registry.build("dataset", name, {**params, "frames": 4}, where="a test")


def complaint(name, params):
    with pytest.raises(MissingData) as caught:
        build(name, params).check()
    message = str(caught.value)
    assert "\n" not in message
    return message


def truths(name, params, kind):
    data = build(name, params)
    data.check()
    return np.stack([getattr(data.load(index), kind) for index in range(4)])


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("BENCH_DATA", str(tmp_path))
    return tmp_path


CLASS_MAPS = {
    "void is 19": (lambda maps: np.where(maps == 255, 19, maps), {"19": "ignore"}, "values: {19: ignore}"),
    "from 1, 0 is void": (lambda maps: np.where(maps == 255, 0, maps + 1), "from_1", "values: from_1"),
    "from 1, 255 is void": (lambda maps: np.where(maps == 255, 255, maps + 1), "from_1", "values: from_1"),
    "label ids": (label_ids, "label_ids", "values: label_ids"),
}


@pytest.mark.parametrize("case", CLASS_MAPS)
def test_class_maps_in_another_convention_are_named_and_read_when_it_is_said(root, case):
    stored, values, says = CLASS_MAPS[case]
    wanted = trains()
    data = cityscapes(root, stored(wanted).astype(np.uint8))
    assert f"say {says}" in complaint(*data)
    np.testing.assert_array_equal(truths(data[0], {"values": values}, "labels"), wanted)


def test_train_ids_in_files_of_label_ids_are_named_and_read(root):
    wanted = trains()
    data = cityscapes(root, wanted, "labelIds")
    assert "they fit train ids: say values: train_ids" in complaint(*data)
    np.testing.assert_array_equal(truths(data[0], {"values": "train_ids"}, "labels"), wanted)


def test_class_maps_of_0_and_1_are_refused_until_somebody_says_that_they_are(root):
    wanted = np.minimum(trains(void=False), 1)
    data = cityscapes(root, wanted)
    assert "alone, wanted classes 0..18" in complaint(*data) and "say values: train_ids" in complaint(*data)
    np.testing.assert_array_equal(truths(data[0], {"values": "train_ids"}, "labels"), wanted)


ANOMALIES = {
    "0 and 255": (lambda masks: np.where(masks == 1, 255, 0), {"255": "anomaly"}, "say values: {255: anomaly}"),
    "0 and 2": (lambda masks: np.where(masks == 1, 2, masks), {"2": "anomaly"}, "say values: {2: anomaly}"),
    "0 and 254": (lambda masks: np.where(masks == 1, 254, 0), {"254": "anomaly"}, "say values: {254: anomaly}"),
    "grey is void": (
        lambda masks: np.select([masks == 1, masks == 255], [255, 128]),
        {"128": "ignore", "255": "anomaly"},
        "say values: {128: ignore, 255: anomaly}",
    ),
}


@pytest.mark.parametrize("write", [validation_dataset, smiyc, fishyscapes, road_anomaly])
@pytest.mark.parametrize("case", ANOMALIES)
def test_masks_in_another_convention_are_named_and_read_when_it_is_said(root, write, case):
    stored, values, says = ANOMALIES[case]
    drawn = masks()
    name, params = write(root, stored(drawn).astype(np.uint8))
    assert says in complaint(name, params)
    wanted = drawn if "0 and 25" not in case else np.where(drawn == 1, 1, 0)
    np.testing.assert_array_equal(truths(name, {**params, "values": values}, "anomaly"), wanted)


def test_a_third_value_is_asked_about(root):
    drawn = masks()
    stored = np.where(drawn == 1, 2, 0).astype(np.uint8)
    stored[0, 3, :4] = 1
    name, params = validation_dataset(root, stored, "RoadAnomaly")
    message = complaint(name, params)
    assert "1 in 1 of 4 files" in message and "say values: {1: ignore}" in message
    read = truths(name, {**params, "values": {"1": "ignore"}}, "anomaly")
    assert (read == 255).sum() == 4 and ((read == 1) == (stored == 2)).all()


def test_a_set_without_an_anomaly_is_refused_until_somebody_says_that_there_is_none(root):
    name, params = validation_dataset(root, np.zeros((4, 24, 32), np.uint8))
    assert "none of these is an anomaly" in complaint(name, params)
    assert not truths(name, {**params, "values": {"1": "anomaly"}}, "anomaly").any()


def test_right_labels_are_let_be(root):
    wanted = trains()
    name, _ = cityscapes(root, wanted)
    np.testing.assert_array_equal(truths(name, {}, "labels"), wanted)
    drawn = masks()
    name, params = validation_dataset(root, drawn)
    np.testing.assert_array_equal(truths(name, params, "anomaly"), drawn)


def test_files_of_two_conventions_are_no_convention(root):
    stored = trains()
    stored[0] = label_ids(stored[0])
    message = complaint(*cityscapes(root, stored))
    assert "make those again that differ" in message and "values: label_ids" not in message


def test_a_photograph_is_no_mask(root):
    pixels = RNG.integers(0, 256, (4, 24, 32)).astype(np.uint8)
    assert "so many values are a picture" in complaint(*cityscapes(root, pixels))


def test_classes_are_no_mask_of_anomalies(root):
    name, params = validation_dataset(root, trains())
    assert "these are classes and no masks of anomalies" in complaint(name, params)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ("label_ids", "what values mean, such as {255: anomaly}"),
        ({"1": "void"}, "wanted ignore, normal, anomaly"),
        ({"300": "ignore"}, "wanted a value from 0 to 255"),
        ({"9-2": "ignore"}, "wanted a value from 0 to 255"),
    ],
)
def test_words_that_say_nothing_are_refused(values, says):
    with pytest.raises(BadSuite) as caught:
        build("validation_dataset", {"set": "fs_static", "values": values})
    assert says in str(caught.value) and "\n" not in str(caught.value)


def test_a_set_that_says_nothing_keeps_its_key():
    assert "values" not in parameters.values(build("cityscapes", {}))
    assert parameters.values(build("cityscapes", {"values": "from_1"}))["values"] == "from_1"


def test_describe_says_it_too(root, capsys):
    name, _ = cityscapes(root, label_ids(trains()))
    assert main(["describe", f"{name}:frames=4"]) == 2
    assert "values: label_ids" in " ".join(capsys.readouterr().out.split())


def folder(root, maps):
    for number, values in enumerate(maps):
        for kind, pixels in (("images", np.zeros((24, 32, 3), np.uint8)), ("labels", values)):
            path = root / "mine" / kind / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
    return "folder", {"images": "mine/images/*.png", "labels": "mine/labels/*.png"}


def test_a_folder_says_it_in_its_own_words(root):
    drawn = masks()
    name, params = folder(root, np.where(drawn == 1, 255, 0).astype(np.uint8))
    mask = {**params, "anomaly": [1], "usual": [0]}
    assert "if it is 255: say anomaly: [255] and ignore: []" in complaint(name, mask)
    read = truths(name, {**params, "anomaly": [255], "usual": [0], "ignore": []}, "anomaly")
    np.testing.assert_array_equal(read, np.where(drawn == 1, 1, 0))
    name, params = folder(root, np.zeros((4, 24, 32), np.uint8))
    assert "if there is none: leave anomaly out" in complaint(name, mask)
    assert not truths(name, {**params, "usual": [0]}, "anomaly").any()
    ids = {str(value): f"c{value}" for value in range(19)}
    name, params = folder(root, np.where(trains() == 255, 19, trains()).astype(np.uint8))
    assert "19 fits void: say 19 in ignore" in complaint(name, {**params, "ids": ids})
    name, params = folder(root, np.minimum(trains(void=False), 1))
    assert "if they are right as they are: say ids of them alone" in complaint(name, {**params, "ids": ids})
    build(name, {**params, "ids": {"0": "road", "1": "sidewalk"}}).check()


def test_nineteen_classes_of_ones_own_are_not_held_against_streets(root):
    drawn = trains(void=False)
    drawn[:, :12] = 7  # as a train id a traffic sign
    name, params = folder(root, drawn)
    build(name, {**params, "ids": {str(value): f"c{value}" for value in range(19)}}).check()
    streets = {**params, "ids": dict(zip(map(str, range(19)), CITYSCAPES, strict=True))}
    assert "their shares fit label ids" in complaint(name, streets)

"""LostAndFound: both conventions of an obstacle, the official splits, and every way in which a copy can be wrong."""

import pickle
import shutil

import numpy as np
import pytest
from PIL import Image

from bench.core.errors import BadSuite, MissingData
from bench.data.layouts import writers
from bench.datasets import lost_and_found
from bench.datasets.lost_and_found import HARMLESS, KNOWN, LABEL_IDS, TRAIN_IDS, TRAIN_IDS_FROM_LABEL_IDS, LostAndFound
from bench.datasets.toytown.scenes import Toytown
from bench.suite import registry

SOURCE = Toytown(split="anomaly", images=16, height=32, width=64)
TEST = [index for index in range(16) if index % 4 != 3]


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    out = tmp_path_factory.mktemp("data") / "lost_and_found"
    writers.write("lost_and_found", SOURCE, out)
    return out


@pytest.fixture
def root(original, tmp_path, monkeypatch):
    """A copy that a test may damage."""
    monkeypatch.setenv("BENCH_DATA", str(tmp_path))
    return shutil.copytree(original, tmp_path / "lost_and_found")


def files(root, kind, split="test"):
    return sorted(root.glob(f"*/{split}/*/*_{kind}.png"), key=lambda path: path.name)


def complaint(data):
    with pytest.raises(MissingData) as caught:
        data.check()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_is_written_is_read_back(root):
    data = LostAndFound(frames=12)
    data.check()
    assert list(data.ids()) == sorted(data.ids()) and data.annotations == {"anomaly"}
    by_frame = {int(name[-6:]) // 10: index for index, name in enumerate(data.ids())}
    assert sorted(by_frame) == TEST
    seen = 0
    for number, index in by_frame.items():
        sample, scene = data.load(index), SOURCE.load(number)
        np.testing.assert_array_equal(sample.image(), scene.image())  # the gamma chunk is not applied
        if number != TEST[9]:
            np.testing.assert_array_equal(sample.anomaly == 1, scene.anomaly == 1)
            np.testing.assert_array_equal(sample.anomaly == 0, (scene.labels == 0) & (scene.anomaly != 1))
            seen += int((sample.anomaly == 1).sum())
        assert sample.group == sample.id[:-7] and sample.tags == {"scene": sample.id[:-14]}
    assert seen > 100
    LostAndFound(split="train", frames=4).check()


def test_the_two_conventions_differ_in_what_does_no_harm(root):
    labels = {
        name: [LostAndFound(frames=12, labels=name).load(index) for index in range(12)]
        for name in ("labelIds", "labelTrainIds")
    }
    stored = [np.array(Image.open(path)) for path in files(root, "labelIds")]
    harmless = 0
    for every, hazards, values in zip(*labels.values(), stored, strict=True):
        differs = every.anomaly != hazards.anomaly
        np.testing.assert_array_equal(differs, np.isin(values, HARMLESS))
        assert (every.anomaly[differs] == 1).all() and (hazards.anomaly[differs] == 255).all()
        harmless += int(differs.sum())
    assert harmless > 0


def test_train_ids_are_made_of_label_ids_where_no_file_has_them(root):
    stored = [LostAndFound(frames=12, labels="labelTrainIds").load(index).anomaly for index in range(12)]
    for path in files(root, "labelTrainIds"):
        path.unlink()
    data = LostAndFound(frames=12, labels="labelTrainIds")
    data.check()
    np.testing.assert_array_equal(stored, [data.load(index).anomaly for index in range(12)])


def test_the_tables_are_those_of_the_sources():
    """All 256 values: SMIYC takes 2 to 200 as obstacles, the data set's own table knows 0 to 43."""
    assert [LABEL_IDS.meaning[value] for value in (0, 1, 2, 31, 43, 255)] == [255, 0, 1, 1, 1, 255]
    assert sorted(LABEL_IDS.meaning) == [*range(44), 255]
    assert dict(TRAIN_IDS.meaning) == {0: 255, 1: 0, 2: 1, 255: 255}
    same = {value for value in LABEL_IDS.meaning if LABEL_IDS.meaning[value] == TRAIN_IDS_FROM_LABEL_IDS.meaning[value]}
    assert set(LABEL_IDS.meaning) - same == {31, 33, 34, 36, 37, 38, 39}


def test_published_counts_are_those_of_the_benchmark():
    counts = {split: LostAndFound(split=split).count for split in lost_and_found.PUBLISHED}
    assert counts == {"train": 1036, "train_valid": 1030, "test": 1203, "test_valid": 1186, "no_known": 1043}
    assert {split: len(places) for split, places in lost_and_found.UNLABELLED.items()} == {"train": 6, "test": 17}
    with pytest.raises(BadSuite, match=r"split of dataset 'lost_and_found' is 'val'"):
        registry.build("dataset", "lost_and_found", {"split": "val"}, where="x.yaml")


def test_smaller_copies_leave_out_what_has_no_labels_and_what_is_known(root):
    everything = LostAndFound(frames=12).ids()
    valid = LostAndFound(split="test_valid", frames=11)
    valid.check()
    (left_out,) = set(everything) - set(valid.ids())
    assert int(left_out[-6:]) // 10 == TEST[9]
    known = [name for name in everything if name.startswith(KNOWN)]
    assert known
    unknown = LostAndFound(split="no_known", frames=11 - len(set(known) - {left_out}))
    unknown.check()
    assert set(unknown.ids()) == set(valid.ids()) - set(known)


@pytest.fixture
def official(root, monkeypatch):
    """The copy as if its twelve frames were the whole published test split."""
    places = [index for index, path in enumerate(files(root, "labelIds")) if not np.array(Image.open(path)).any()]
    monkeypatch.setattr(lost_and_found, "PUBLISHED", {"test": 12, "test_valid": 11, "train": 4, "train_valid": 4})
    monkeypatch.setattr(lost_and_found, "UNLABELLED", {"test": places, "train": []})
    return root, places


def test_of_a_complete_copy_the_official_places_are_left_out(official):
    _, (place,) = official
    data = LostAndFound(split="test_valid")
    data.check()
    assert LostAndFound().ids()[place] not in data.ids()
    assert data.count == len(data.ids()) == 11


def test_places_that_do_not_fit_the_labels_are_noticed(official, monkeypatch):
    root, (place,) = official
    monkeypatch.setattr(lost_and_found, "UNLABELLED", {"test": [place - 1], "train": []})
    line = complaint(LostAndFound(split="test_valid"))
    assert line.startswith(f"{files(root, 'labelIds')[place - 1]} has labels, but the frame at its place")


def test_a_missing_frame_is_noticed_before_places_are_counted(official):
    root, _ = official
    files(root, "leftImg8bit")[0].unlink()
    files(root, "labelIds")[0].unlink()
    assert "holds 11 frames, wanted 12; places in the official list need all of them" in complaint(
        LostAndFound(split="test_valid")
    )


def test_images_of_other_formats_are_found_but_never_two_of_one_frame(root):
    for path in files(root, "leftImg8bit"):
        Image.open(path).save(path.with_suffix(".webp"), lossless=True)
    assert "are both the frame" in complaint(LostAndFound(frames=12))
    before = np.array(Image.open(files(root, "leftImg8bit")[0]))
    for path in files(root, "leftImg8bit"):
        path.unlink()
    data = LostAndFound(frames=12)
    data.check()
    np.testing.assert_array_equal(data.load(0).image(), before)
    Image.fromarray(before).save(next(root.glob("leftImg8bit/test/*/*.webp")).with_suffix(".png"))
    assert "are both the frame" in complaint(LostAndFound(frames=12))


def test_a_folder_that_is_not_there_says_where_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "none"))
    line = complaint(LostAndFound())
    assert line.startswith(f"{tmp_path / 'none' / 'lost_and_found'} does not exist; wanted leftImg8bit/ and gtCoarse/")
    assert "5802953400 bytes" in line and "53b6d3ab000f08b1" in line


def test_half_of_a_pair_is_named(root):
    label, image = files(root, "labelIds")[3], files(root, "leftImg8bit")[3]
    label.rename(label.with_suffix(".bak"))
    assert complaint(LostAndFound(frames=12)).startswith(f"{label} does not exist, but its image {image} does")
    label.with_suffix(".bak").rename(label)
    image.unlink()
    assert complaint(LostAndFound(frames=12)).startswith(f"{image} does not exist, but its label {label} does")
    assert f"{root / 'leftImg8bit' / 'test'} holds 12 frames, wanted 1203" in complaint_after_restoring(image, root)


def complaint_after_restoring(image, root):
    shutil.copy(files(root, "leftImg8bit")[0], image)
    return complaint(LostAndFound())


def test_a_name_that_is_none_of_theirs_is_refused(root):
    image = files(root, "leftImg8bit")[0]
    image.rename(image.with_name("mine_leftImg8bit.png"))
    assert "wanted NN_Scene_DDDDDD_DDDDDD_leftImg8bit as its name" in complaint(LostAndFound(frames=12))


@pytest.mark.parametrize(
    ("kind", "value", "wanted"), [("labelIds", 44, "0..43 or 255"), ("labelTrainIds", 3, "0, 1, 2")]
)
def test_an_illegal_value_is_named_with_its_place(root, kind, value, wanted):
    path = files(root, kind)[2]
    labels = np.array(Image.open(path))
    labels[5, 9] = value
    Image.fromarray(labels).save(path)
    line = complaint(LostAndFound(frames=12, labels=kind))
    assert line.startswith(f"{path} holds the value {value} at row 5, column 9, wanted {wanted}")


def test_label_ids_under_the_name_of_train_ids_and_colours_are_recognised(root):
    source = next(path for path in files(root, "labelIds") if np.array(Image.open(path)).max() > 2)
    target = source.with_name(source.name.replace("labelIds", "labelTrainIds"))
    shutil.copy(source, target)
    line = complaint(LostAndFound(frames=12, labels="labelTrainIds"))
    assert line.startswith(str(target)) and "in 1 of 12 files" in line
    shutil.copy(source.with_name(source.name.replace("labelIds", "color")), target)
    assert complaint(LostAndFound(frames=12, labels="labelTrainIds")).startswith(f"{target} is stored as RGB")


def test_label_ids_in_all_files_of_train_ids_are_read_as_what_they_are(root):
    wanted = [LostAndFound(frames=12, labels="labelTrainIds").load(index).anomaly for index in range(12)]
    for path in files(root, "labelIds"):
        path.rename(path.with_name(path.name.replace("labelIds", "labelTrainIds")))
    assert complaint(LostAndFound(frames=12, labels="labelTrainIds")).endswith("say values: label_ids")
    said = LostAndFound(frames=12, labels="labelTrainIds", values="label_ids")
    said.check()
    np.testing.assert_array_equal(wanted, [said.load(index).anomaly for index in range(12)])


def test_sizes_and_truncated_files_are_named(root):
    for kind in ("labelIds", "leftImg8bit"):
        path = files(root, kind)[1]
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
        assert complaint(LostAndFound(frames=12)).startswith(str(path))
        path.write_bytes(whole)
    label = files(root, "labelIds")[1]
    Image.new("L", (32, 16)).save(label)
    assert f"{label} is 16x32, its image" in complaint(LostAndFound(frames=12))


def test_the_digest_follows_labels_images_and_convention(root):
    digests = [LostAndFound(frames=12).digest(), LostAndFound(frames=12, labels="labelTrainIds").digest()]
    with files(root, "leftImg8bit")[0].open("ab") as file:
        file.write(b"x")
    digests.append(LostAndFound(frames=12).digest())
    Image.fromarray(np.zeros((32, 64), np.uint8)).save(files(root, "labelIds")[0])
    digests.append(LostAndFound(frames=12).digest())
    assert len(set(digests)) == 4


def test_a_pickle_takes_no_path_along(root):
    data = LostAndFound(frames=12)
    data.ids()
    packed = pickle.dumps(data)
    assert str(root).encode() not in packed
    assert pickle.loads(packed).ids() == data.ids()  # noqa: S301

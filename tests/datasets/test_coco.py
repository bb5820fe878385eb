"""COCO as outliers: the same masks as the official tool, the choice of images, and annotation files that are wrong."""

import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from bench.core.errors import BadSuite, MissingData
from bench.data.layouts import writers
from bench.datasets import coco_annotations, coco_masks
from bench.datasets.coco import Coco
from bench.datasets.toytown.scenes import Toytown
from bench.suite import registry

SOURCE = Toytown(split="anomaly", images=12, height=48, width=64)
GOLDEN = json.loads((Path(__file__).parents[1] / "fixtures" / "coco_masks.json").read_text())["cases"]


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    out = tmp_path_factory.mktemp("data") / "coco"
    writers.write("coco", SOURCE, out)
    return out


@pytest.fixture
def root(original, tmp_path, monkeypatch):
    """A copy that a test may damage."""
    monkeypatch.setenv("BENCH_DATA", str(tmp_path))
    return shutil.copytree(original, tmp_path / "coco")


def outliers(**params):
    return registry.build("dataset", "coco", {"frames": 9, "minimum": 48} | params, where="x.yaml")


def annotations(root):
    return root / "annotations" / "instances_train2017.json"


def rewrite(root, change):
    content = json.loads(annotations(root).read_text())
    change(content)
    annotations(root).write_text(json.dumps(content, indent=1))


def complaint(data):
    with pytest.raises(MissingData) as caught:
        data.check()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def mask_of(segmentation, size):
    if isinstance(segmentation, dict):
        return coco_masks.runs(np.array(segmentation["counts"]), size)
    return np.logical_or.reduce([coco_masks.polygon(np.array(one).reshape(-1, 2), size) for one in segmentation])


def test_masks_are_those_of_the_official_tool():
    assert len(GOLDEN) == 92
    for number, case in enumerate(GOLDEN):
        wanted, size = case["mask"], tuple(case["size"])
        if isinstance(wanted[0], int):
            wanted = np.repeat(np.arange(len(wanted)) % 2, wanted).reshape(size[::-1]).T
        np.testing.assert_array_equal(mask_of(case["segmentation"], size), np.array(wanted, bool), f"case {number}")


@settings(max_examples=40)
@given(st.tuples(*[st.integers(0, 20)] * 4), st.integers(1, 24), st.integers(1, 24))
def test_a_box_on_whole_pixels_covers_just_these(corners, height, width):
    left, right = sorted(corners[:2])
    top, bottom = sorted(corners[2:])
    box = np.array([[left, top], [right, top], [right, bottom], [left, bottom]], float)
    wanted = np.zeros((height, width), bool)
    wanted[top:bottom, left:right] = True
    np.testing.assert_array_equal(coco_masks.polygon(box, (height, width)), wanted)
    np.testing.assert_array_equal(coco_masks.polygon(box[::-1], (height, width)), wanted)


def test_what_is_written_is_read_back(root):
    data = outliers()
    data.check()
    kept = [index for index in range(12) if index % 4 != 3]
    assert list(data.ids()) == [f"{9 + 16 * index:012}" for index in kept]
    for place, index in enumerate(kept):
        sample, scene = data.load(place), SOURCE.load(index)
        np.testing.assert_array_equal(sample.anomaly == 1, scene.anomaly == 1)
        assert set(np.unique(sample.anomaly)) <= {1, 255} and sample.labels is None
        assert sample.image().shape == (48, 64, 3) and sample.image().dtype == np.uint8
    assert {(data.load(place).anomaly == 1).any() for place in range(9)} == {True, False}  # both are outlier sources


def test_grey_photographs_become_rgb(root):
    place = outliers().ids().index(f"{9 + 16 * 4:012}")
    picture = outliers().load(place).image()
    assert Image.open(root / "train2017" / f"{9 + 16 * 4:012}.jpg").mode == "L"
    with (root / "train2017" / f"{9 + 16 * 4:012}.jpg").open("ab") as file:
        file.write(b"left over")  # harmless; the file is decoded to know
    outliers().check()
    assert (picture[:, :, 0] == picture[:, :, 1]).all() and (picture[:, :, 1] == picture[:, :, 2]).all()


def test_background_as_road_is_what_the_source_trains_with(root):
    ignored, road = outliers(), outliers(background="road")
    assert (ignored.annotations, road.annotations) == ({"anomaly"}, {"anomaly", "labels"})
    for place in range(9):
        ours, theirs = ignored.load(place), road.load(place)
        np.testing.assert_array_equal(theirs.anomaly, ours.anomaly == 1)
        np.testing.assert_array_equal(theirs.labels, np.where(ours.anomaly == 1, 255, 0))
    assert ignored.digest() != road.digest()


def test_images_with_an_excluded_category_or_a_short_side_are_left_out(root):
    assert len(outliers(exclude=["stop sign"], frames=12).ids()) == 12

    def shrink(content):
        chosen = next(image for image in content["images"] if image["id"] == 9)
        chosen["height"] = 47

    rewrite(root, shrink)
    assert outliers(frames=8).ids()[0] == f"{9 + 16:012}"

    def crowd(content):
        content["annotations"].append(
            {"id": 999, "image_id": 25, "category_id": 1, "iscrowd": 1, "segmentation": {"counts": [48 * 64]}}
        )

    rewrite(root, crowd)
    assert outliers(frames=7).ids()[0] == f"{9 + 2 * 16:012}"


def test_the_excluded_categories_are_those_of_the_paper():
    wanted = {"person", "bicycle", "car", "motorcycle", "bus", "truck", "traffic light", "stop sign"}
    assert set(Coco().exclude) == wanted and Coco().minimum == 480


def test_images_without_annotations_stay(root):
    rewrite(root, lambda content: content["annotations"].clear())
    data = outliers(frames=12)
    data.check()
    assert (data.load(0).anomaly == 255).all()


def test_the_order_of_the_file_changes_nothing(root):
    before = [outliers().load(place).anomaly for place in range(9)]

    def shuffle(content):
        for key in ("images", "annotations", "categories"):
            content[key].reverse()
        categories = content.pop("categories")
        items = list(content.items())
        content.clear()
        content.update({"categories": categories, "licenses": [{"name": "]}{["}]} | dict(items))

    rewrite(root, shuffle)
    np.testing.assert_array_equal(before, [outliers().load(place).anomaly for place in range(9)])


def test_the_file_is_read_through_once(root, home, monkeypatch):
    first = outliers()
    first.check()
    (kept,) = (home / "coco").glob("*.npz")
    monkeypatch.setattr(coco_annotations, "_entries", None)
    again = outliers()
    again.check()
    np.testing.assert_array_equal(again.load(3).anomaly, first.load(3).anomaly)
    kept.write_bytes(kept.read_bytes()[:100])
    assert complaint(outliers()).startswith(f"{kept} cannot be read") and "delete it" in complaint(outliers())


def test_the_published_numbers_are_held_to_unless_told_otherwise(root):
    line = complaint(outliers(frames=None))
    assert "lists 12 images, wanted 118287" in line and "frames: 9 in the suite" in line
    assert "wanted 10" in complaint(outliers(frames=10))


def test_an_edition_in_a_folder_of_its_year_is_found(root):
    (root / "2017").mkdir()
    for part in ("annotations", "train2017"):
        (root / part).rename(root / "2017" / part)
    outliers().check()


def test_what_is_missing_is_named(root, tmp_path):
    image = root / "train2017" / f"{25:012}.jpg"
    whole = image.read_bytes()
    image.unlink()
    assert complaint(outliers()).startswith(f"{image} does not exist, but instances_train2017.json lists it")
    image.write_bytes(whole[: len(whole) // 2])
    assert complaint(outliers()).startswith(str(image))
    Image.new("RGB", (64, 40)).save(image)
    assert f"{image} is 40x64, instances_train2017.json says 48x64" in complaint(outliers())
    image.write_bytes(whole)
    annotations(root).unlink()
    assert complaint(outliers()).startswith(f"{annotations(root)} ")
    shutil.rmtree(root / "annotations")
    line = complaint(outliers())
    assert "annotations_trainval2017.zip (252907541 bytes" in line and str(root) in line


def test_a_choice_that_leaves_nothing_says_so(root):
    assert "no image is left" in complaint(outliers(minimum=480))
    assert "has no category 'zebra', which exclude names; it has bicycle, boat" in complaint(
        outliers(exclude=["zebra"], frames=12)
    )
    with pytest.raises(BadSuite, match=r"minimum of dataset 'coco' is 0"):
        outliers(minimum=0)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda c: c["annotations"][0].update(segmentation=[[1, 2, 3, 4]]),
            "annotation 1 has a polygon that is no list",
        ),
        (lambda c: c["annotations"][0].update(segmentation=[[1, 2, 3, 4, 5, "x"]]), "annotation 1 has a polygon"),
        (lambda c: c["annotations"][0].update(segmentation=[[1, 2, 3, 4, 5, 1e300]]), "annotation 1 has a polygon"),
        (lambda c: c["annotations"][0].update(segmentation=[[1, 2, 3, 4, 5, float("nan")]]), "annotation 1 has"),
        (lambda c: c["annotations"][0].update(segmentation=[[1, 2, 3, 4, 5]]), "annotation 1 has a polygon"),
        (lambda c: c["annotations"][0].update(segmentation={"counts": "abc"}), "compressed run lengths"),
        (lambda c: c["annotations"][0].update(segmentation={"counts": [1, -1]}), "no counts of pixels"),
        (lambda c: c["annotations"][0].update(segmentation={"counts": [5]}), "cover 5 pixels, its size 48x64 has 3072"),
        (lambda c: c["annotations"][0].update(segmentation=7), "annotation 1 has no polygon and no run lengths"),
        (lambda c: c["annotations"][0].update(image_id=8), "annotates image 8, which it does not list"),
        (lambda c: c["annotations"][0].update(category_id=80), "uses category 80, which it does not list"),
        (lambda c: c["annotations"][0].pop("image_id"), "an entry lacks 'image_id'"),
        (lambda c: c["annotations"].insert(0, 3), "is not the JSON that COCO publishes"),
        (lambda c: c["images"][0].update(file_name="../../x.jpg"), "the file name '../../x.jpg', wanted a name alone"),
        (lambda c: c["images"].append(c["images"][0]), "stands there twice"),
        (lambda c: c.pop("categories"), "has no categories"),
    ],
)
def test_an_annotation_file_that_is_wrong_is_refused_with_the_entry(root, change, said):
    rewrite(root, change)
    line = complaint(outliers())
    assert line.startswith(str(annotations(root))) and said in line


@pytest.mark.parametrize("part", [0.0, 0.3, 0.999])
def test_a_truncated_annotation_file_is_refused(root, part):
    text = annotations(root).read_text()
    annotations(root).write_text(text[: int(len(text) * part)])
    assert complaint(outliers()).startswith(f"{annotations(root)} is not the JSON that COCO publishes")


def test_the_digest_follows_annotations_images_and_choice(root):
    digests = [outliers().digest(), outliers(exclude=["stop sign"], frames=12).digest()]
    with (root / "train2017" / f"{9:012}.jpg").open("ab") as file:
        file.write(b"x")
    digests.append(outliers().digest())
    rewrite(root, lambda content: content["annotations"].pop())
    digests.append(outliers().digest())
    assert len(set(digests)) == 4


def test_a_pickle_takes_neither_paths_nor_masks_along(root):
    data = outliers()
    data.check()
    packed = pickle.dumps(data)
    assert str(root).encode() not in packed and len(packed) < 2000
    assert pickle.loads(packed).ids() == data.ids()  # noqa: S301


def test_the_parser_agrees_with_the_usual_one(root):
    wanted = json.loads(annotations(root).read_text())
    found = {"images": [], "annotations": []}
    for key, entry in coco_annotations._entries(annotations(root), found):
        if entry is not None:
            found[key].append(entry)
    assert found == {key: wanted[key] for key in found}

"""Outlier masks of COCO as files: which images, which values, going on after a kill, and reading them back."""

import csv
import json

import numpy as np
import pytest
from PIL import Image

from bench.cli.main import main
from bench.core.errors import CannotWrite, MissingData
from bench.data import coco_proxy as proxy
from bench.datasets import coco_proxy
from bench.suite import registry

CATEGORIES = {
    "person": 1, "bicycle": 2, "car": 3, "motorcycle": 4, "bus": 6, "train": 7, "truck": 8, "traffic light": 10,
    "fire hydrant": 11, "stop sign": 13, "dog": 18,
}  # fmt: skip
BOX = [10, 20, 30, 20, 30, 40, 10, 40]  # rows 20 to 39, columns 10 to 29
IMAGES = {  # id: (H, W), categories of its annotations; those of a crowd end with *
    3: ((480, 640), ["dog"]),
    5: ((480, 640), ["dog", "person"]),
    6: ((480, 640), ["car*"]),
    8: ((479, 640), ["dog"]),
    9: ((640, 479), ["dog"]),
    12: ((480, 480), ["train"]),
    20: ((500, 490), []),
    31: ((480, 640), ["fire hydrant", "dog*"]),
}
CHOSEN = {3: 400, 12: 400, 20: 0, 31: 480 * 640 - 100}  # outlier pixels, by hand


def runs(height, width):
    """A crowd that covers everything but the first hundred pixels, counted down the columns."""
    return {"counts": [100, height * width - 100], "size": [height, width]}


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """A COCO folder of eight photographs, as the archives unpack."""
    root = tmp_path_factory.mktemp("coco")
    (root / "train2017").mkdir()
    (root / "annotations").mkdir()
    images, annotations = [], []
    for number, ((height, width), categories) in IMAGES.items():
        name = f"{number:012}.jpg"
        Image.new("RGB" if number != 12 else "L", (width, height), number).save(root / "train2017" / name)
        images.append({"id": number, "file_name": name, "height": height, "width": width})
        for category in categories:
            crowd = category.endswith("*")
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": CATEGORIES[category.rstrip("*")],
                    "iscrowd": int(crowd),
                    "segmentation": runs(height, width) if crowd else [BOX],
                }
            )
    names = [{"id": number, "name": name} for name, number in CATEGORIES.items()]
    content = {"images": images[::-1], "annotations": annotations, "categories": names}
    (root / "annotations" / "instances_train2017.json").write_text(json.dumps(content))
    return root


@pytest.fixture
def root(original, tmp_path, monkeypatch):
    """A copy that a test may damage, where readers look for it."""
    import shutil

    monkeypatch.setenv("BENCH_DATA", str(tmp_path))
    return shutil.copytree(original, tmp_path / "coco")


@pytest.fixture
def out(tmp_path):
    return tmp_path / "coco_proxy"


def masks(out):
    return {int(path.stem): np.array(Image.open(path)) for path in sorted(out.glob("ood_seg_train2017/*.png"))}


def reader(**params):
    return registry.build("dataset", "coco_proxy", params, where="x.yaml")


def test_the_choice_and_the_masks_are_those_of_the_source(root, out):
    assert proxy.write(root, out, proxy.Choice()) == 4
    found = masks(out)
    assert found.keys() == CHOSEN.keys()
    box = np.full((480, 640), 255, np.uint8)
    box[20:40, 10:30] = 254
    assert np.array_equal(found[3], box)
    assert np.array_equal(found[12], box[:, :480])
    assert np.array_equal(found[20], np.full((500, 490), 255))
    crowd = np.full(480 * 640, 254)
    crowd[:100] = 255
    crowd = crowd.reshape(640, 480).T
    crowd[20:40, 10:30] = 254  # the union of everything annotated
    assert np.array_equal(found[31], crowd)
    modes = {Image.open(path).mode for path in out.glob("ood_seg_train2017/*.png")}
    assert modes == {"L"}


def test_the_index_counts_the_pixels_and_the_manifest_says_what_they_are(root, out):
    proxy.write(root, out, proxy.Choice())
    with (out / "index.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["id"]) for row in rows] == sorted(CHOSEN)
    assert {int(row["id"]): int(row["outlier_pixels"]) for row in rows} == CHOSEN
    assert [(int(row["height"]), int(row["width"])) for row in rows] == [IMAGES[number][0] for number in sorted(CHOSEN)]
    said = json.loads((out / "proxy.json").read_text())
    assert (said["images"], said["background"], said["minimum"]) == (4, "ignored", 480)
    assert said["values"] == {"outlier": 254, "background": 255}
    assert sorted(path.name for path in out.iterdir()) == ["index.csv", "ood_seg_train2017", "proxy.json"]


def test_the_background_of_the_source_is_road_with_a_warning(root, out, capsys):
    """0 is Cityscapes' road, and the source trains whatever is not annotated as that."""
    command = ["data", "coco-proxy", "--coco", str(root), "--out", str(out), "--background", "road", "--workers", "1"]
    assert main(command) == 0
    said = capsys.readouterr()
    assert "4 masks in" in said.out
    assert "trains whatever COCO does not annotate as road" in said.err
    assert {value for mask in masks(out).values() for value in np.unique(mask)} == {0, 254}
    data = reader()
    assert data.annotations == {"anomaly", "labels"}
    sample = data.load(0)
    assert set(np.unique(sample.labels[sample.anomaly == 0])) == {0}
    assert set(np.unique(sample.labels[sample.anomaly == 1])) == {255}


def test_by_default_nothing_is_warned_of(root, out, capsys):
    assert main(["data", "coco-proxy", "--coco", str(root), "--out", str(out), "--workers", "1"]) == 0
    assert "road" not in capsys.readouterr().err


def test_workers_change_no_byte(root, tmp_path, monkeypatch):
    monkeypatch.setattr(proxy, "BLOCK", 1)
    seen = []
    for workers in (1, 3):
        out = tmp_path / f"with{workers}"
        proxy.write(root, out, proxy.Choice(), workers=workers)
        files = sorted(path for path in out.rglob("*") if path.is_file())
        seen.append({str(path.relative_to(out)): path.read_bytes() for path in files})
    assert seen[0] == seen[1]


def test_what_was_interrupted_goes_on_where_it_was(root, out, monkeypatch):
    """A photograph is missing in the second half; what was drawn before is not drawn again."""
    monkeypatch.setattr(proxy, "BLOCK", 2)
    picture = root / "train2017" / f"{31:012}.jpg"
    kept = picture.read_bytes()
    picture.unlink()
    with pytest.raises(MissingData, match=r"000000000031\.jpg does not exist"):
        proxy.write(root, out, proxy.Choice())
    assert not (out / "index.csv").exists()
    with pytest.raises(MissingData, match=r"index\.csv does not exist; run the same bench data coco-proxy again"):
        reader().ids()
    first = out / "ood_seg_train2017" / f"{3:012}.png"
    before = first.stat().st_mtime_ns
    picture.write_bytes(kept)
    seen = []
    assert proxy.write(root, out, proxy.Choice(), progress=lambda done, images: seen.append((done, images))) == 4
    assert seen == [(4, 4)]
    assert first.stat().st_mtime_ns == before
    assert masks(out).keys() == CHOSEN.keys()
    assert proxy.write(root, out, proxy.Choice()) == 4  # nothing is left to do
    assert first.stat().st_mtime_ns == before


def test_masks_of_another_choice_are_not_mixed_in(root, out):
    proxy.write(root, out, proxy.Choice())
    with pytest.raises(CannotWrite, match=r"holds masks of another choice: background is 'ignored' there, 'road' is"):
        proxy.write(root, out, proxy.Choice(background="road"))
    with pytest.raises(CannotWrite, match=r"minimum is 480 there, 490 is asked for"):
        proxy.write(root, out, proxy.Choice(minimum=490))
    (out / "proxy.json").unlink()
    with pytest.raises(CannotWrite, match=r"ood_seg_train2017 is there already, without proxy\.json"):
        proxy.write(root, out, proxy.Choice())


def test_the_masks_may_lie_where_the_source_looks_for_them(root):
    """In ``annotations/`` of COCO itself, and below a folder ``2017``."""
    moved = root.parent / "elsewhere" / "2017"
    moved.parent.mkdir()
    root.rename(moved)
    proxy.write(moved.parent, moved / "annotations", proxy.Choice(background="road"))
    assert (moved / "annotations" / "ood_seg_train2017" / "000000000003.png").is_file()


def test_a_photograph_of_another_size_and_an_empty_choice_are_refused(root, out):
    with pytest.raises(MissingData, match=r"no image is left that may be taken and has 5000 pixels a side"):
        proxy.write(root, out, proxy.Choice(minimum=5000))
    Image.new("RGB", (640, 481)).save(root / "train2017" / f"{3:012}.jpg")
    with pytest.raises(MissingData, match=r"is 481x640, instances_train2017\.json says 480x640"):
        proxy.write(root, out, proxy.Choice())
    with pytest.raises(MissingData, match=r"annotations does not exist, nor below 2017/"):
        proxy.write(root / "train2017", out, proxy.Choice())


@pytest.mark.parametrize("background", ["ignored", "road"])
def test_read_back_they_are_what_the_annotations_say(root, out, background):
    proxy.write(root, out, proxy.Choice(background=background))
    stored = reader()
    drawn = registry.build("dataset", "coco", {"frames": 4, "background": background}, where="x.yaml")
    stored.check()
    assert list(stored.ids()) == list(drawn.ids())
    assert stored.annotations == drawn.annotations
    for index in range(4):
        one, other = stored.load(index), drawn.load(index)
        assert one.id == other.id
        assert np.array_equal(one.image(), other.image())  # grey files too become RGB
        assert np.array_equal(one.anomaly, other.anomaly)
        assert np.array_equal(one.labels, other.labels) if background == "road" else one.labels is None


def test_images_are_chosen_by_how_much_of_them_is_an_outlier(root, out):
    proxy.write(root, out, proxy.Choice())
    assert [int(name) for name in reader(smallest=0.0001).ids()] == [3, 12, 31]
    assert [int(name) for name in reader(largest=0.5, smallest=0.0001).ids()] == [3, 12]
    assert [int(name) for name in reader(smallest=0.8).ids()] == [31]
    assert len({reader(smallest=share).digest() for share in (0.0, 0.0001, 0.8)}) == 3
    with pytest.raises(MissingData, match=r"no image has outliers on 0\.999999 to 1\.0 of it"):
        reader(smallest=0.999999).ids()


def test_what_was_damaged_is_named(root, out):
    proxy.write(root, out, proxy.Choice())
    mask = out / "ood_seg_train2017" / f"{12:012}.png"
    Image.fromarray(np.full((480, 480), 7, np.uint8)).save(mask)
    with pytest.raises(MissingData, match=r"000000000012\.png .*7.*wanted 255 or 254"):
        reader().load(1)
    Image.fromarray(np.full((480, 479), 255, np.uint8)).save(mask)
    with pytest.raises(MissingData, match=r"000000000012\.png is 480x479"):
        reader().check()
    mask.unlink()
    with pytest.raises(MissingData, match=r"000000000012\.png does not exist, but .*index\.csv lists it"):
        reader().ids()
    (out / "index.csv").write_text("id,file\n1,2\n")
    with pytest.raises(MissingData, match=r"index\.csv has the columns \['id', 'file'\], wanted id, file, height"):
        reader().ids()
    for content in (b"\xff\xfe", b"id\xe9,file\n"):
        (out / "index.csv").write_bytes(content)
        with pytest.raises(MissingData, match=r"index\.csv cannot be read as CSV"):
            reader().ids()
    (out / "proxy.json").write_text("{}")
    with pytest.raises(MissingData, match=r"proxy\.json is not of schema 1"):
        reader().ids()
    (out / "proxy.json").unlink()
    with pytest.raises(MissingData, match=r"proxy\.json does not exist; .* holds .*; write it: bench data coco-proxy"):
        reader().ids()


def test_the_outlier_value_is_the_one_that_trainers_know():
    from bench.fit.outliers.mixture import OUTLIER

    assert coco_proxy.OUTLIER == OUTLIER == 254

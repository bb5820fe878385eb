"""Parquet files of the Hugging Face hub: read in any order, and refused in one line where they are damaged."""

import io
import pickle
import random
import resource
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import parquet

from bench.core import parquet_rows
from bench.core.errors import AbsentData, BadSuite, MissingData
from bench.data.layouts import writers
from bench.datasets import hf
from bench.datasets.hf import HuggingFace
from bench.datasets.toytown.scenes import Toytown
from bench.suite import registry

SCENES = Toytown(split="anomaly", images=9, height=32, width=64)
MEANS = {"anomaly": (1,), "usual": (0,)}
IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setenv("BENCH_DATA", str(tmp_path))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    writers.write("hf", SCENES, tmp_path / "hf")
    return tmp_path / "hf" / "toytown" / "streets" / "data"


def reader(**changes):
    return HuggingFace("toytown/streets", **(MEANS | {"frames": 9} | changes))


def complaint(data, act=lambda data: data.check()):
    with pytest.raises(MissingData) as caught:
        act(data)
    message = str(caught.value)
    assert "\n" not in message and len(message) < 900
    return message


def png(pixels):
    content = io.BytesIO()
    Image.fromarray(np.asarray(pixels, np.uint8)).save(content, "png")
    return content.getvalue()


def wrote(path, images, masks, kind=IMAGE, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    schema = pa.schema([("image", kind), ("mask", kind)])
    rows = [{"image": image, "mask": mask} for image, mask in zip(images, masks, strict=True)]
    parquet.write_table(pa.Table.from_pylist(rows, schema), path, **options)


def test_rows_are_those_that_were_written_in_whatever_order_they_are_asked_for(place):
    data = reader()
    data.check()
    assert data.ids() == [f"test_{number:06}" for number in range(9)]
    order = [*range(9), *range(8, -1, -1), *random.Random(0).choices(range(9), k=20)]
    for number in order:
        ours, theirs = data.load(number), SCENES.load(number)
        np.testing.assert_array_equal(ours.image(), theirs.image())
        np.testing.assert_array_equal(ours.anomaly, theirs.anomaly)
        assert ours.labels is None and ours.size == (32, 64)
    assert reader(id="name").ids() == [f"street_{number:03}" for number in range(9)]
    assert reader(frames=None).count == 9
    again = pickle.loads(pickle.dumps(data))  # noqa: S301
    assert again.digest() == data.digest() and str(place).encode() not in pickle.dumps(data)


def test_in_turn_no_row_group_is_begun_twice(place, monkeypatch):
    begun = []
    start = parquet_rows._Reader._from
    monkeypatch.setattr(parquet_rows._Reader, "_from", lambda self, index: begun.append(index) or start(self, index))
    data = reader()
    for number in range(9):
        data.load(number)
    assert len(begun) == 2  # one for each file


def test_splits_and_configurations_are_told_apart_by_names_and_folders(place, tmp_path):
    home = tmp_path / "hf" / "owner" / "set"
    masks = [png(np.eye(32))]
    for below in (
        "data/train-00000-of-00001-0a1b2c.parquet",
        "test/0000.parquet",
        "small/val.parquet",
        "big/val.parquet",
    ):
        shade = len(below)
        wrote(home / below, [png(np.full((32, 32, 3), shade))], masks, pa.binary())
    for split, config, below in (
        ("train", "", "data/train-00000-of-00001-0a1b2c.parquet"),
        ("test", "", "test/0000.parquet"),
        ("val", "big", "big/val.parquet"),
    ):
        data = HuggingFace("owner/set", split=split, config=config, **MEANS)
        assert data.count == 1 and data.load(0).image()[0, 0, 0] == len(below)
    assert HuggingFace("owner/set", split="val", **MEANS).count == 2
    message = complaint(HuggingFace("owner/set", split="dev", **MEANS))
    assert "holds parquet files of test, train, val, wanted the split 'dev'" in message


def test_a_snapshot_in_the_cache_of_the_hub_is_read_without_a_network(place, tmp_path):
    pytest.importorskip("huggingface_hub")
    commit = "0" * 40
    home = tmp_path / "cache" / "datasets--owner--cached"
    (home / "refs").mkdir(parents=True)
    (home / "refs" / "main").write_text(commit)
    wrote(home / "snapshots" / commit / "test.parquet", [png(np.zeros((32, 32, 3)))], [png(np.eye(32))], pa.binary())
    code = (
        "from bench.datasets.hf import HuggingFace; d = HuggingFace('owner/cached', anomaly=(1,), usual=(0,));"
        " d.check(); print(d.count)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "1", done.stderr


def test_what_is_nowhere_says_which_command_gets_it(place, monkeypatch):
    data = HuggingFace("nobody/nothing", **MEANS)
    with pytest.raises(AbsentData, match="'hf download --repo-type dataset nobody/nothing --local-dir "):
        data.check()
    monkeypatch.setattr(hf.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(AbsentData, match="install the extra hub"):
        data.check()


def test_a_row_that_is_wrong_is_named_with_its_column(place, tmp_path):
    path = tmp_path / "hf" / "owner" / "bad" / "test.parquet"
    good, mask = png(np.zeros((32, 32, 3))), png(np.eye(32))
    data = {"anomaly": (1,), "usual": (0,)}
    for images, masks, words in (
        ([good, b"<html>"], [mask, mask], f"{path}, row 1, column 'image' is not an image"),
        ([good, good[:-40]], [mask, mask], f"{path}, row 1, column 'image' cannot be read"),
        ([good], [png(np.eye(16))], f"{path}, row 0: the mask is 16x16, its image 32x32"),
        (
            [good],
            [png(np.eye(32) * 7)],
            f"{path}, row 0, column 'mask' holds the value 7 at row 0, column 0, wanted 0..1",
        ),
        ([good], [None], "holds no bytes in the column 'mask' of row 0"),
        ([good], [png(np.zeros((32, 32)))], "no anomaly"),
    ):
        wrote(path, images, masks, pa.binary())
        assert words in complaint(HuggingFace("owner/bad", **data)), words
    wrote(path, [{"bytes": None, "path": "/etc/passwd"}], [{"bytes": mask, "path": None}])
    assert "have to stand in the file itself" in complaint(HuggingFace("owner/bad", **data))


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1" + b"\xff" * 400 + b"\x10\x00\x00\x00PAR1", b"<html>"])
def test_a_file_that_is_no_parquet_is_named(place, content):
    path = sorted(place.iterdir())[1]
    path.write_bytes(content)
    assert complaint(reader()).startswith(f"{path} cannot be read as parquet: ")


def test_a_damaged_file_is_named_or_gives_what_was_written(place):
    path = sorted(place.iterdir())[0]
    whole = path.read_bytes()
    generator = random.Random(3)
    for _ in range(60):
        damaged = bytearray(whole)
        for _ in range(generator.choice([1, 1, 4, 40])):
            damaged[generator.randrange(len(damaged))] = generator.randrange(256)
        path.write_bytes(damaged[: generator.choice([len(damaged), len(damaged), generator.randrange(len(damaged))])])
        try:
            reader().check()
        except MissingData as error:
            assert "\n" not in str(error) and len(str(error)) < 900


def test_columns_that_are_absent_or_of_another_kind_are_named(place, tmp_path):
    assert "has no column 'label'; it has name, image, mask" in complaint(reader(mask="label"))
    assert "holds string in the column 'name', wanted images as bytes" in complaint(reader(mask="name"))
    assert "has 'x' twice" in complaint(twice(tmp_path), lambda data: data.ids())
    assert "holds 9 frames, wanted 7" in complaint(reader(frames=7))


def twice(tmp_path):
    path = tmp_path / "hf" / "owner" / "twice" / "test.parquet"
    path.parent.mkdir(parents=True)
    parquet.write_table(pa.table({"image": [b"a", b"b"], "mask": [b"c", b"d"], "key": ["x", "x"]}), path)
    return HuggingFace("owner/twice", id="key", **MEANS)


def test_a_column_that_unpacks_to_more_than_pictures_do_is_refused_before_it_is(place, tmp_path):
    path = tmp_path / "hf" / "owner" / "bomb" / "test.parquet"
    path.parent.mkdir(parents=True)
    row = bytes(2**26)
    table = pa.table({"image": pa.array([row] * 2, pa.binary()), "mask": pa.array([row] * 2, pa.binary())})
    parquet.write_table(table, path, compression="zstd", use_dictionary=False)
    del table, row
    assert path.stat().st_size < 2**20
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert "and no column of images does" in complaint(HuggingFace("owner/bomb", **MEANS))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**16  # KiB


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"name": "../x"}, "wanted a name on the hub"),
        ({"name": "a/b/c"}, "wanted a name on the hub"),
        ({"name": "a/..b"}, "wanted a name on the hub"),
        ({"name": "a/b", "mask": "image"}, "both the column 'image'"),
        ({"name": "a/b", "anomaly": []}, "the masks mean nothing"),
    ],
)
def test_parameters_that_mean_nothing_are_refused(params, words):
    with pytest.raises(BadSuite, match=words):
        registry.build("dataset", "hf", {"anomaly": [1]} | params, where="here")
    assert registry.build("dataset", "hf", {"name": "a/b", "anomaly": [1]}, where="here").repository == "a/b"

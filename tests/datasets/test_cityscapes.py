"""Cityscapes: written and read back, and every way in which a folder can be wrong, in one line."""

from __future__ import annotations

import pickle
import resource
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench.api import IGNORE, Sample
from bench.core.errors import CannotWrite, MissingData, UnknownName, UserError
from bench.data.layouts import writers
from bench.datasets.cityscapes import LABEL_IDS, Cityscapes
from bench.datasets.toytown.scenes import Toytown

SOURCE = Toytown(images=6, height=64, width=128)
SAMPLE = Path(__file__).parents[3] / "shared" / "data" / "cityscapes_sample"
STEM = "toytown_000000_000002"


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("data") / "cityscapes"
    writers.write("cityscapes", SOURCE, out)
    return out


@pytest.fixture
def root(written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Copy the written folder, so that a test may damage it."""
    monkeypatch.setenv("BENCH_DATA", str(tmp_path))
    monkeypatch.setenv("BENCH_HOME", str(tmp_path / "home"))
    return Path(shutil.copytree(written, tmp_path / "cityscapes"))


def image(root: Path) -> Path:
    return root / "leftImg8bit" / "val" / "toytown" / f"{STEM}_leftImg8bit.png"


def label(root: Path, encoding: str = "labelTrainIds") -> Path:
    return root / "gtFine" / "val" / "toytown" / f"{STEM}_gtFine_{encoding}.png"


def complaint(data: Cityscapes) -> str:
    with pytest.raises(MissingData) as caught:
        data.check()
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize("encoding", [None, "labelIds", "labelTrainIds"])
def test_what_is_written_is_read_back_from_either_encoding(root: Path, encoding: str | None) -> None:
    data = Cityscapes(frames=6, labels=encoding)  # type: ignore[arg-type]
    data.check()
    for index in range(SOURCE.count):
        ours, theirs = SOURCE.load(index), data.load(index)
        np.testing.assert_array_equal(theirs.labels, ours.labels)
        np.testing.assert_array_equal(theirs.image(), ours.image())
        assert theirs.size == ours.size
        assert theirs.anomaly is None


def test_label_ids_are_those_of_the_official_table(root: Path) -> None:
    labels = Toytown(images=6, height=64, width=128).load(2).labels
    assert labels is not None
    stored = np.array(Image.open(label(root, "labelIds")))
    assert LABEL_IDS == (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
    for train_id, label_id in enumerate(LABEL_IDS):
        np.testing.assert_array_equal(stored == label_id, labels == train_id)
    np.testing.assert_array_equal(stored == 0, labels == IGNORE)


def test_every_other_label_id_is_ignored_and_so_is_the_licence_plate(root: Path) -> None:
    stored = np.arange(64 * 128, dtype=np.int64).reshape(64, 128) % 35
    stored[stored == 34] = 255
    Image.fromarray(stored.astype(np.uint8)).save(label(root, "labelIds"))
    read = Cityscapes(frames=6, labels="labelIds").load(2).labels
    assert read is not None
    wanted = np.array([LABEL_IDS.index(value) if value in LABEL_IDS else IGNORE for value in stored.ravel().tolist()])
    np.testing.assert_array_equal(read.ravel(), wanted)


def test_ids_are_sorted_and_a_group_is_a_sequence(root: Path) -> None:
    data = Cityscapes(frames=6)
    assert list(data.ids()) == [f"toytown_{number // 4:06}_{number:06}" for number in range(6)]
    assert [data.load(index).group for index in (0, 3, 4)] == ["toytown_000000", "toytown_000000", "toytown_000001"]
    assert [data.load(index).id for index in range(6)] == list(data.ids())


def test_train_ids_are_preferred_only_if_every_frame_has_them(root: Path) -> None:
    label(root).unlink()
    data = Cityscapes(frames=6)
    data.check()
    np.testing.assert_array_equal(data.load(2).labels, SOURCE.load(2).labels)


def test_the_constructor_opens_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "nowhere"))
    monkeypatch.setenv("BENCH_HOME", str(tmp_path))
    data = Cityscapes()
    assert (data.count, Cityscapes(split="train").count, data.annotations) == (500, 2975, frozenset({"labels"}))
    assert f"{tmp_path / 'nowhere' / 'cityscapes'} does not exist" in complaint(data)
    with pytest.raises(MissingData, match="BENCH_DATA"):
        data.ids()


def test_a_pickle_takes_no_path_along(root: Path) -> None:
    data = Cityscapes(frames=6)
    data.ids()
    packed = pickle.dumps(data)
    assert str(root).encode() not in packed
    assert pickle.loads(packed).ids() == data.ids()  # noqa: S301


def test_the_digest_follows_labels_names_and_images(root: Path) -> None:
    before = Cityscapes(frames=6).digest()
    assert Cityscapes(frames=6).digest() == before
    with image(root).open("ab") as file:
        file.write(b"x")
    after_image = Cityscapes(frames=6).digest()
    changed = np.array(Image.open(label(root)))
    changed[0, 0] = 1 if changed[0, 0] != 1 else 2
    Image.fromarray(changed).save(label(root))
    assert len({before, after_image, Cityscapes(frames=6).digest()}) == 3


def test_a_wrong_count_names_both_numbers_and_the_parameter(root: Path) -> None:
    message = complaint(Cityscapes())
    assert "holds 6 frames, wanted 500" in message
    assert "frames: 6" in message
    assert "wanted 7" in complaint(Cityscapes(frames=7))


def test_an_image_without_label_is_named(root: Path) -> None:
    label(root).unlink()
    label(root, "labelIds").unlink()
    message = complaint(Cityscapes(frames=6))
    assert message.startswith(f"{label(root, 'labelIds')} does not exist, but its image {image(root)} does")
    assert complaint(Cityscapes(frames=6, labels="labelTrainIds")).startswith(f"{label(root)} does not exist")


def test_a_label_without_image_is_named(root: Path) -> None:
    image(root).unlink()
    assert complaint(Cityscapes(frames=6)).startswith(f"{image(root)} does not exist, but its label {label(root)} does")


def test_a_missing_folder_is_named(root: Path) -> None:
    assert complaint(Cityscapes(split="train", frames=6)).startswith(f"{root / 'leftImg8bit' / 'train'} does not exist")
    shutil.rmtree(root / "gtFine")
    assert complaint(Cityscapes(frames=6)).startswith(f"{root / 'gtFine' / 'val'} does not exist")


@pytest.mark.parametrize(("encoding", "value", "wanted"), [("labelTrainIds", 77, "0..18"), ("labelIds", 34, "0..33")])
def test_an_illegal_value_is_named_with_its_place(root: Path, encoding: str, value: int, wanted: str) -> None:
    labels = np.array(Image.open(label(root, encoding)))
    labels[5, 9] = value
    Image.fromarray(labels).save(label(root, encoding))
    data = Cityscapes(frames=6, labels=encoding)  # type: ignore[arg-type]
    message = complaint(data)
    assert message.startswith(
        f"{label(root, encoding)} holds the value {value} at row 5, column 9, wanted {wanted} or 255"
    )
    with pytest.raises(MissingData, match=f"holds the value {value}"):
        data.load(2)


def test_label_ids_under_the_name_of_train_ids_are_recognised(root: Path) -> None:
    """One file that differs is to be made again; all of them are read as what they are."""
    trains = Cityscapes(frames=6)
    wanted = [trains.load(index).labels for index in range(6)]
    shutil.copy(label(root, "labelIds"), label(root))
    assert "make those again that differ" in complaint(Cityscapes(frames=6))
    for path in root.rglob("*_labelIds.png"):
        shutil.copy(path, path.with_name(path.name.replace("labelIds", "labelTrainIds")))
        path.unlink()
    assert complaint(Cityscapes(frames=6)).endswith("they fit label ids of Cityscapes: say values: label_ids")
    said = Cityscapes(frames=6, values="label_ids")
    said.check()
    np.testing.assert_array_equal(wanted, [said.load(index).labels for index in range(6)])


def test_a_label_in_colour_is_refused(root: Path) -> None:
    Image.new("RGB", (128, 64), "red").save(label(root))
    assert complaint(Cityscapes(frames=6)) == (
        f"{label(root)} is stored as RGB, and its channels differ: a picture in colours; wanted one number for each"
        " pixel: store the values themselves as grey, 8 bits"
    )


def test_a_label_of_another_size_is_refused(root: Path) -> None:
    Image.new("L", (64, 32)).save(label(root))
    message = complaint(Cityscapes(frames=6))
    assert message.startswith(f"{label(root)} is 32x64, its image {STEM}_leftImg8bit.png is 64x128")


@pytest.mark.parametrize("kept", [0, 8, 20, 40, 200, -40])
@pytest.mark.parametrize("which", [image, label])
def test_a_truncated_file_is_named_wherever_it_ends(root: Path, which: Callable[[Path], Path], kept: int) -> None:
    path = which(root)
    path.write_bytes(path.read_bytes()[:kept])
    assert complaint(Cityscapes(frames=6)).startswith(str(path))


def test_bytes_after_the_end_of_an_image_do_no_harm(root: Path) -> None:
    with image(root).open("ab") as file:
        file.write(b"left over")
    Cityscapes(frames=6).check()


def test_an_unknown_layout_is_refused_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="unknown layout 'cityscape'; did you mean 'cityscapes'"):
        writers.write("cityscape", SOURCE, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_not_empty_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(CannotWrite, match="is not empty"):
        writers.write("cityscapes", SOURCE, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
    with pytest.raises(CannotWrite, match="cannot be written"):
        writers.write("cityscapes", SOURCE, tmp_path / "mine.txt")


def test_anomalies_have_no_place_in_this_layout(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no anomalies"):
        writers.write("cityscapes", Toytown(split="anomaly"), tmp_path / "out")


def test_progress_counts_to_the_end(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    data = Toytown(images=3, height=32, width=64, split="train")
    writers.write("cityscapes", data, tmp_path / "out", progress=lambda done, whole: seen.append((done, whole)))
    assert seen == [(1, 3), (2, 3), (3, 3)]
    assert len(list(tmp_path.glob("out/leftImg8bit/train/toytown/*.png"))) == 3


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path) -> None:
    with files_of_at_most(9000), pytest.raises(CannotWrite, match="no room left"):
        writers.write("cityscapes", SOURCE, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


@dataclass(frozen=True)
class Breaking(Toytown):
    """Runs out of frames that can be drawn."""

    def load(self, index: int) -> Sample:
        if index == 2:
            raise KeyboardInterrupt
        return super().load(index)


def test_an_interrupted_call_leaves_an_empty_folder_empty(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        writers.write("cityscapes", Breaking(images=4, height=32, width=64), tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not SAMPLE.is_dir(), reason="the real frame lies outside the repository and is not there")
def test_a_real_frame_is_read_alike_from_both_encodings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cityscapes").symlink_to(SAMPLE)
    monkeypatch.setenv("BENCH_DATA", str(tmp_path))
    monkeypatch.setenv("BENCH_HOME", str(tmp_path))
    mapped, ready = (Cityscapes(frames=1, labels=encoding) for encoding in ("labelIds", "labelTrainIds"))
    mapped.check()
    ready.check()
    assert list(ready.ids()) == ["frankfurt_000001_058914"]
    sample = ready.load(0)
    assert sample.size == (1024, 2048)
    assert sample.group == "frankfurt_000001"
    assert sample.image().shape == (1024, 2048, 3)
    np.testing.assert_array_equal(mapped.load(0).labels, sample.labels)

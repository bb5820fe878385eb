"""Fishyscapes: three versions, overlays as the official code adds them, and copies that keep names of their own."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bench.core.errors import BadSuite, MissingData
from bench.data.layouts import writers
from bench.datasets import archives
from bench.datasets.fishyscapes import Fishyscapes
from bench.datasets.toytown.scenes import Toytown
from bench.suite import parameters, registry

SCENES = Toytown(split="anomaly", images=6, height=64, width=128)
LISTS = Path(__file__).parents[1] / "fixtures" / "leaderboards" / "frame_lists.json"


def laf() -> Fishyscapes:
    """A fresh reader: one that has listed its files keeps the listing."""
    return Fishyscapes("lost_and_found", frames=6)


def static() -> Fishyscapes:
    return Fishyscapes("static", 3, frames=6)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("data") / "fishyscapes"
    writers.write("fishyscapes", SCENES, out)
    writers.write("fishyscapes_static", SCENES, out)
    return out


@pytest.fixture
def root(written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Copy what was written, so that a test may damage it."""
    monkeypatch.setenv("BENCH_DATA", str(tmp_path))
    return Path(shutil.copytree(written, tmp_path / "fishyscapes"))


def complaint(data: Fishyscapes) -> str:
    with pytest.raises(MissingData) as caught:
        replace(data).check()
    message = str(caught.value)
    assert "\n" not in message
    return message


def build(**params: Any) -> Fishyscapes:
    built = registry.build("dataset", "fishyscapes", params, where="x.yaml")
    assert isinstance(built, Fishyscapes)
    return built


def test_the_published_counts() -> None:
    assert (Fishyscapes("lost_and_found").count, Fishyscapes("static", 1).count) == (100, 30)


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"set": "static"}, "Static has three versions; say version: 1, 2 or 3"),
        ({"set": "static", "layout": "renamed"}, "Static has three versions"),
        ({"set": "lost_and_found", "version": 1}, "Lost & Found has one version; leave version out"),
        ({"set": "static", "version": 3, "layout": "original_labels"}, "original_labels does not say its"),
        ({}, "set"),
    ],
)
def test_a_set_is_named_to_the_version(params: dict[str, Any], said: str) -> None:
    with pytest.raises(BadSuite, match=said):
        build(**params)


def test_every_published_frame_has_its_place_in_lost_and_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The official list of 100 ids, through the file names of the archive."""
    listed = json.loads(LISTS.read_text())["FishyscapesLostAndFound_validation"]["ids_in_index_file_order"]
    monkeypatch.setenv("BENCH_DATA", str(tmp_path))
    labels = tmp_path / "fishyscapes" / "fishyscapes_lostandfound"
    labels.mkdir(parents=True)
    images = tmp_path / "lost_and_found" / "leftImg8bit"
    for number, base in enumerate(listed):
        Image.new("L", (8, 4)).save(labels / f"{number:04}_{base}_labels.png")
        folder = images / ("test" if number % 3 else "train") / base[: -len("_000000_000000")]
        folder.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 4)).save(folder / f"{base}_leftImg8bit.{('png', 'webp', 'jpg')[number % 3]}")
    data = Fishyscapes("lost_and_found")
    assert data.ids()[0] == f"0000_{listed[0]}"
    assert data.load(5).id == f"0005_{listed[5]}"
    assert {data.load(index).tags["scene"] for index in range(100)} >= {"04_Maurener_Weg_8", "13_Elly_Beinhorn_Str"}
    assert "is 4x8, wanted 1024x2048 as published" in complaint(data)


def test_groups_are_sequences_and_tags_say_where_a_frame_is_from(root: Path) -> None:
    first, last = laf().load(0), laf().load(5)
    assert (first.group, first.tags) == ("01_Toytown_Str_0_000000", {"scene": "01_Toytown_Str_0", "split": "test"})
    assert (last.group, last.tags["split"]) == ("02_Toytown_Str_1_000002", "train")
    pasted = static().load(4)
    assert (pasted.id, pasted.group, pasted.tags) == (
        "0004_toytown_000001_000004",
        "toytown_000001",
        {"city": "toytown"},
    )


def test_images_carry_a_gamma_chunk_that_is_not_applied(root: Path) -> None:
    path = laf().scan()[0].image
    assert b"gAMA" in path.read_bytes()[:100]
    np.testing.assert_array_equal(laf().load(0).image(), SCENES.load(0).image())


def test_images_may_lie_in_the_data_sets_of_their_own(root: Path, tmp_path: Path) -> None:
    before = [laf().digest(), static().digest()]
    shutil.move(root / "lost_and_found", tmp_path / "lost_and_found")
    shutil.move(root / "cityscapes", tmp_path / "cityscapes")
    assert [laf().digest(), static().digest()] == before
    laf().check()
    static().check()


def test_an_overlay_is_added_and_clipped_as_officially(root: Path) -> None:
    frame = static().scan()[2]
    assert frame.overlay is not None
    rng = np.random.default_rng(1)
    overlay = rng.integers(-300, 300, (64, 128, 3), dtype=np.int16)
    overlay[0, 0] = (200, -200, 0)
    store(frame.overlay, rgb=overlay)
    below = np.array(Image.open(frame.image)).astype(int)
    np.testing.assert_array_equal(static().load(2).image(), np.clip(below + overlay, 0, 255).astype("uint8"))


def test_an_overlay_that_is_not_finite_is_refused(root: Path) -> None:
    frame = static().scan()[2]
    assert frame.overlay is not None
    for value in (np.nan, np.inf):
        overlay = np.zeros((64, 128, 3), np.float32)
        overlay[3, 4] = value
        store(frame.overlay, rgb=overlay)
        assert complaint(static()).startswith(f"{frame.overlay} holds 3 numbers that are not finite")


def test_unsigned_and_fractional_overlays_do_not_wrap(root: Path) -> None:
    frame = static().scan()[2]
    assert frame.overlay is not None
    below = np.array(Image.open(frame.image)).astype(int)
    store(frame.overlay, rgb=np.full((64, 128, 3), 250, np.uint8))
    np.testing.assert_array_equal(static().load(2).image(), np.minimum(below + 250, 255))
    store(frame.overlay, rgb=np.full((64, 128, 3), -0.9))
    np.testing.assert_array_equal(static().load(2).image(), below)


def test_negatives_of_version_3_are_usual(root: Path) -> None:
    """The mask file says what is an anomaly, not the overlay: pasted things of Cityscapes are none."""
    negatives = 0
    for index, frame in enumerate(static().scan()):
        assert frame.overlay is not None
        pasted = (np.load(frame.overlay)["rgb"] != 0).any(axis=2)
        anomaly = static().load(index).anomaly
        assert anomaly is not None
        negatives += int((pasted & (anomaly == 0)).sum())
    assert negatives > 0


def store(path: Path, **arrays: Any) -> None:
    packed = io.BytesIO()
    np.savez_compressed(packed, **arrays)
    path.write_bytes(packed.getvalue())


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"img": np.zeros((64, 128, 3))}, "holds no array named rgb"),
        ({"rgb": np.zeros((64, 128), np.int16)}, "holds int16 [64, 128], wanted numbers [64, 128, 3]"),
        ({"rgb": np.zeros((1024, 2048, 3), np.int16)}, "holds int16 [1024, 2048, 3], wanted numbers [64, 128, 3]"),
        ({"rgb": np.full((64, 128, 3), "x")}, "holds <U1"),
    ],
)
def test_an_overlay_of_another_kind_is_named(root: Path, arrays: dict[str, Any], said: str) -> None:
    path = static().scan()[3].overlay
    assert path is not None
    store(path, **arrays)
    message = complaint(static())
    assert message.startswith(f"{path} ")
    assert said in message


def test_a_pickled_overlay_is_never_opened(root: Path) -> None:
    path = static().scan()[3].overlay
    assert path is not None
    store(path, rgb=np.array([{"a": 1}], dtype=object))
    assert complaint(static()).startswith(f"{path} holds object")


@pytest.mark.parametrize("kept", [0, 50, -30])
def test_a_truncated_overlay_is_named(root: Path, kept: int) -> None:
    path = static().scan()[3].overlay
    assert path is not None
    path.write_bytes(path.read_bytes()[:kept])
    assert complaint(static()).startswith(f"{path} cannot be read")
    path.unlink()
    said = f"{path} does not exist, but its label {path.with_name('0003_toytown_000000_000003_labels.png')} does"
    assert complaint(static()).startswith(said)


def test_an_encrypted_overlay_is_named(root: Path) -> None:
    path = static().scan()[3].overlay
    assert path is not None
    content = bytearray(path.read_bytes())
    content[content.rindex(b"PK\x01\x02") + 8] |= 1  # the flag in the archive's directory
    path.write_bytes(content)
    assert complaint(static()).startswith(f"{path} cannot be read")


def test_a_damaged_overlay_is_named(root: Path) -> None:
    path = static().scan()[3].overlay
    assert path is not None
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    assert complaint(static()).startswith(f"{path} cannot be read")


def test_a_missing_image_below_is_named_with_its_archive(root: Path) -> None:
    frame = static().scan()[1]
    frame.image.unlink()
    message = complaint(static())
    assert message.startswith(f"{frame.image} does not exist, but {frame.mask} is to be laid over it")
    assert "leftImg8bit_trainvaltest.zip" in message
    shutil.rmtree(root / "lost_and_found")
    assert "leftImg8bit.zip of LostAndFound into" in complaint(laf())


@pytest.mark.parametrize("name", ["0000_somewhere_labels.png", "x_labels.png"])
def test_a_mask_of_no_known_frame_is_named(root: Path, name: str) -> None:
    for data, folder in ((laf(), "fishyscapes_lostandfound"), (static(), "fs_val_v3")):
        first = data.scan()[0]
        assert first.mask is not None
        first.mask.rename(root / folder / name)
        if first.overlay:
            first.overlay.rename(root / folder / name.replace("_labels.png", "_rgb.npz"))
        assert complaint(data).startswith(f"{root / folder / name} is named after no frame of")


def test_another_version_is_named_in_place_of_the_one_asked_for(root: Path) -> None:
    message = complaint(replace(static(), version=2))
    assert message.startswith(f"{root / 'fs_val_v2'} does not exist; {root} holds (version: 3): say so in the suite")
    assert archives.of("fishyscapes").file("fs_val_v2.zip").facts in message


def test_version_3_under_the_name_of_an_earlier_one_is_found_by_its_empty_frames(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (root / "fs_val_v3").rename(root / "fs_val_v1")
    first = replace(static(), version=1)
    empty = next(frame.mask for frame in first.scan() if frame.mask and not (read(frame.mask) == 1).any())
    assert complaint(first).startswith(f"{empty} holds no anomaly, which is known of version 3 of Static alone")
    published_as(monkeypatch, pack(root / "fs_val_v1"))
    first.check()


def pack(folder: Path) -> str:
    """Put an archive beside its folder, and return its sha256."""
    archive = folder.with_suffix(".zip")
    with zipfile.ZipFile(archive, "w") as packed:
        for path in sorted(folder.iterdir()):
            packed.write(path, path.name)
    return hashlib.sha256(archive.read_bytes()).hexdigest()


def published_as(monkeypatch: pytest.MonkeyPatch, sha256: str) -> None:
    """Have the table name that checksum for all archives of Fishyscapes."""
    known = archives.of("fishyscapes")
    source = replace(known, files=tuple(replace(archive, sha256=sha256) for archive in known.files))
    monkeypatch.setattr(archives, "sources", lambda: {"fishyscapes": source})


def read(path: Path) -> Any:
    return np.array(Image.open(path))


def test_a_kept_archive_vouches_for_its_masks(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive, sha256 = root / "fs_val_v3.zip", pack(root / "fs_val_v3")
    wanted = archives.of("fishyscapes").file("fs_val_v3.zip").sha256
    complained = complaint(static())
    assert complained.startswith(f"{archive} has sha256 {sha256}, wanted {wanted}; download it again from http://")
    published_as(monkeypatch, sha256)
    static().check()
    mask = static().scan()[4].mask
    assert mask is not None
    Image.fromarray(np.where(read(mask) == 255, np.uint8(0), read(mask))).save(mask)
    assert complaint(static()).startswith(f"{mask} is not what fs_val_v3.zip holds under this name")


def test_a_copy_is_recognised_and_never_taken_for_the_official_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_DATA", str(tmp_path))
    root = tmp_path / "fishyscapes"
    for layout in ("renamed", "original_labels", "side_by_side"):
        shutil.rmtree(root, ignore_errors=True)
        writers.write(f"fishyscapes_{layout}", SCENES, root)
        for asked in (laf(), static()):
            message = complaint(asked)
            assert f"holds (layout: {layout}, " in message
            assert message.count("(layout:") == 1
            version = asked.version if layout == "renamed" else None
            Fishyscapes(asked.set, version, layout, frames=6).check()
    writers.write("fishyscapes", SCENES, root)
    assert "holds (layout: official, " in complaint(Fishyscapes("lost_and_found", None, "renamed", frames=6))


def test_a_copy_is_another_data_set_to_a_suite() -> None:
    official, copy = build(set="lost_and_found"), build(set="lost_and_found", layout="original_labels")
    assert parameters.values(official) != parameters.values(copy)


def test_an_overlay_lies_on_a_real_frame(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shared: Path) -> None:
    monkeypatch.setenv("BENCH_DATA", str(tmp_path))
    (tmp_path / "cityscapes").symlink_to(shared / "data" / "cityscapes_sample")
    folder = tmp_path / "fishyscapes" / "fs_val_v3"
    folder.mkdir(parents=True)
    base = "frankfurt_000001_058914"
    mask, overlay = np.zeros((1024, 2048), np.uint8), np.zeros((1024, 2048, 3), np.int16)
    mask[500:600, 900:1000], overlay[500:600, 900:1000] = 1, 40
    Image.fromarray(mask).save(folder / f"0000_{base}_labels.png")
    store(folder / f"0000_{base}_rgb.npz", rgb=overlay)
    data = Fishyscapes("static", 3, frames=1)
    data.check()
    sample, below = data.load(0), read(data.scan()[0].image)
    np.testing.assert_array_equal(sample.anomaly, mask)
    np.testing.assert_array_equal(sample.image()[mask == 0], below[mask == 0])
    np.testing.assert_array_equal(sample.image()[mask == 1], np.minimum(below[mask == 1].astype(int) + 40, 255))
    assert (sample.group, sample.tags) == ("frankfurt_000001", {"city": "frankfurt"})

"""What every reader on disk shares: order, pairing, masks to the pixel, pixels untouched."""

from __future__ import annotations

import pickle
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from bench.api import IGNORE
from bench.core import listing
from bench.core.errors import MissingData
from bench.core.images import read_rgb
from bench.core.listing import Location
from bench.datasets import frames, sides
from bench.datasets.frames import ANOMALY, Encoding, Frame
from bench.datasets.sides import Ready

RNG = np.random.default_rng(0)
PICTURE = RNG.integers(0, 256, (12, 20, 3), dtype=np.uint8)


def save(path: Path, pixels: Any, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(pixels, np.uint8)).save(path, **options)
    return path


def refused(act: Any, *args: Any, **options: Any) -> str:
    with pytest.raises(MissingData) as caught:
        act(*args, **options)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_counts_name_both_numbers_and_the_parameter(tmp_path: Path) -> None:
    sides.counted([1, 2], 2, tmp_path, "again")
    said = f"{tmp_path} holds 2 frames, wanted 3; again, or say frames: 2 in the suite if that is all there should be"
    assert refused(sides.counted, [1, 2], 3, tmp_path, "again") == said
    empty = f"{tmp_path} holds 0 frames, wanted 3; {tmp_path} is empty; again"
    assert refused(sides.counted, [], 3, tmp_path, "again") == empty


def test_a_mask_is_read_by_meaning(tmp_path: Path) -> None:
    encoding = Encoding("x", {0: 7, 3: 1, IGNORE: IGNORE}, "0, 3 or 255")
    path = save(tmp_path / "m.png", [[0, 3, 255], [3, 3, 0]])
    np.testing.assert_array_equal(frames.read_mask(path, encoding), [[7, 1, 255], [1, 1, 7]])
    assert frames.read_mask(path, encoding).dtype == np.uint8


def test_an_illegal_value_is_named_with_its_first_place(tmp_path: Path) -> None:
    stored = np.zeros((6, 8), np.uint8)
    stored[2, 5] = stored[4, 1] = 9
    path = save(tmp_path / "m.png", stored)
    said = f"{path} holds the value 9 at row 2, column 5, wanted 0, 1 or 255 (anomaly); unpack or make it again"
    assert refused(frames.read_mask, path, ANOMALY) == said


def test_a_mask_of_another_size_is_refused(tmp_path: Path) -> None:
    path, image = save(tmp_path / "m.png", np.zeros((6, 8))), save(tmp_path / "i.png", PICTURE)
    assert refused(frames.read_mask, path, ANOMALY, like=image).startswith(f"{path} is 6x8, its image i.png is 12x20")


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "1", "I;16", "P"])
def test_a_mask_is_read_in_whatever_way_its_numbers_are_stored(tmp_path: Path, mode: str) -> None:
    values = np.array([[0, 1], [1, 0]], np.uint8)
    stored = {
        "1": Image.fromarray(values == 1),
        "I;16": Image.fromarray(values.astype(np.uint16)),
        "P": Image.fromarray(1 - values, "P"),
    }.get(mode) or Image.fromarray(values).convert(mode)
    if mode == "P":
        stored.putpalette([1, 1, 1, 0, 0, 0])
    stored.save(tmp_path / "m.png")
    assert Image.open(tmp_path / "m.png").mode == mode
    np.testing.assert_array_equal(frames.read_mask(tmp_path / "m.png", ANOMALY), values)


def paletted(path: Path, colours: list[int]) -> Path:
    file = Image.fromarray(np.array([[0, 1], [1, 0]], np.uint8), "P")
    file.putpalette(colours)
    file.save(path)
    return path


def test_a_palette_is_refused_unless_it_is_grey_or_asked_for(tmp_path: Path) -> None:
    colours = paletted(tmp_path / "c.png", [0, 0, 0, 255, 0, 0])
    assert refused(frames.read_mask, colours, ANOMALY).startswith(f"{colours} is stored with a palette of colours")
    indices = Encoding("indices", ANOMALY.meaning, ANOMALY.legal, palette=True)
    np.testing.assert_array_equal(frames.read_mask(colours, indices), [[0, 1], [1, 0]])
    grey = paletted(tmp_path / "g.png", [0, 0, 0, 1, 1, 1])
    np.testing.assert_array_equal(frames.read_mask(grey, ANOMALY), [[0, 1], [1, 0]])
    ignored = paletted(tmp_path / "s.png", [0, 0, 0, 255, 255, 255])
    for encoding in (ANOMALY, indices):
        np.testing.assert_array_equal(frames.read_mask(ignored, encoding), [[0, 255], [255, 0]])


def test_gamma_colour_profiles_and_alpha_do_not_alter_pixels(tmp_path: Path) -> None:
    extra = PngImagePlugin.PngInfo()
    extra.add(b"gAMA", struct.pack(">I", 45455))
    extra.add(b"cHRM", struct.pack(">8I", 31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000))
    gamma = save(tmp_path / "gamma.png", PICTURE, pnginfo=extra)
    assert b"gAMA" in gamma.read_bytes()
    np.testing.assert_array_equal(read_rgb(gamma), PICTURE)
    profile = save(tmp_path / "profile.png", PICTURE, icc_profile=b"not a profile")
    np.testing.assert_array_equal(read_rgb(profile), PICTURE)
    alpha = save(tmp_path / "alpha.png", np.dstack([PICTURE, np.full((12, 20), 3)]))
    np.testing.assert_array_equal(read_rgb(alpha), PICTURE)
    assert read_rgb(alpha).flags.c_contiguous


@pytest.mark.parametrize("end", ["jpg", "png", "webp"])
def test_exif_rotation_does_not_turn_pixels(tmp_path: Path, end: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees
    plain, turned = save(tmp_path / f"a.{end}", PICTURE), save(tmp_path / f"b.{end}", PICTURE, exif=exif)
    with Image.open(turned) as file:
        assert file.getexif()[0x0112] == 6
    np.testing.assert_array_equal(read_rgb(turned), read_rgb(plain))
    assert frames.size(turned) == (12, 20)


@pytest.mark.parametrize("end", ["jpg", "png", "webp"])
def test_a_file_that_ends_early_is_named_and_bytes_behind_the_end_do_no_harm(tmp_path: Path, end: str) -> None:
    path = save(tmp_path / f"a.{end}", PICTURE)
    content = path.read_bytes()
    frames.check_whole(path)
    path.write_bytes(content + b"left over")
    frames.check_whole(path)
    for kept in (0, 3, 20, len(content) // 2, len(content) - 30):
        path.write_bytes(content[:kept])
        assert refused(frames.check_whole, path).startswith(str(path))
    path.unlink()
    assert refused(frames.check_whole, path) == f"{path} does not exist"
    assert refused(frames.size, path) == f"{path} does not exist"


def test_an_image_too_large_to_be_one_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(tmp_path / "a.png", PICTURE)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 20)
    for act in (read_rgb, frames.size):
        assert refused(act, path).startswith(f"{path} cannot be read: Image size (240 pixels) exceeds limit")


def test_broken_bytes_are_an_error_of_the_file_and_never_ours(tmp_path: Path) -> None:
    whole = [save(tmp_path / f"a.{end}", PICTURE).read_bytes() for end in ("png", "jpg", "webp", "bmp")]
    rng, path = np.random.default_rng(3), tmp_path / "broken"
    outcomes = set()
    for turn in range(400):
        content = bytearray(whole[turn % 4])
        for place in rng.integers(0, len(content), 3):
            content[place] = rng.integers(256)
        path.write_bytes(content)
        for act in (read_rgb, frames.size, frames.check_whole):
            try:
                act(path)
                outcomes.add("read")
            except MissingData as error:
                outcomes.add("refused")
                assert str(error).startswith(str(path)) and "\n" not in str(error)
    assert outcomes == {"read", "refused"}


def test_names_become_ids_and_two_of_one_id_are_refused() -> None:
    assert frames.plain("a b(1)ä-x_.2") == "a_b_1__-x_.2"
    one, other = Frame("a_b", Path("a b.png")), Frame("a_b", Path("a_b.png"))
    assert "a b.png and a_b.png are both the frame a_b" in refused(frames.unique, [one, other])
    assert [frame.id for frame in frames.unique([Frame("b", Path()), Frame("a", Path())])] == ["a", "b"]


def test_a_ready_layout_pairs_over_several_endings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_DATA", str(tmp_path))
    monkeypatch.setenv("BENCH_HOME", str(tmp_path / "home"))
    home = Location("mine")
    ready = Ready(("x", "images"), ("x", "masks"), depth=0)
    assert not ready.present(home)
    save(tmp_path / "mine" / "x" / "images" / "a.png", PICTURE)
    save(tmp_path / "mine" / "x" / "images" / "b.jpg", PICTURE)
    for name in "ab":
        save(tmp_path / "mine" / "x" / "masks" / f"{name}.png", np.zeros((12, 20)))
    assert ready.present(home)
    assert [frame.image.name for frame in ready.scan(home, 2, None, "")] == ["a.png", "b.jpg"]
    save(tmp_path / "mine" / "x" / "images" / "a.jpg", PICTURE)
    assert "are both the frame a" in refused(ready.scan, home, 2, None, "")


def test_an_encoding_travels_without_its_table() -> None:
    assert ANOMALY.table[1] == 1
    assert "table" not in pickle.loads(pickle.dumps(ANOMALY)).__dict__  # noqa: S301


class Listed(frames.OnDisk):
    """Frames of a folder: X.png with the mask X_mask.png."""

    name = source = "listed"
    annotations = frozenset({"anomaly"})
    published, obtain = 2, ""
    encoding = ANOMALY

    def scan(self) -> list[Frame]:
        paths = listing.tree(self.folder).ids(after="_mask")
        return [Frame(name, self.folder / f"{name}.png", path, self.encoding) for name, path in paths.items()]


def listed_in(folder: Path, *masks: Image.Image) -> Listed:
    for number, mask in enumerate(masks):
        save(folder / f"{number}.png", np.zeros((mask.height, mask.width, 3)))
        mask.save(folder / f"{number}_mask.png")
    data = Listed()
    object.__setattr__(data, "folder", folder)
    return data


def test_masks_of_one_bit_among_others_are_refused(tmp_path: Path) -> None:
    bits, bytes_ = Image.new("1", (3, 2), 1), Image.new("L", (3, 2), 1)
    listed_in(tmp_path / "a", bits, bits).check()
    listed_in(tmp_path / "c", bytes_, Image.new("1", (3, 2), 0)).check()
    message = refused(listed_in(tmp_path / "b", bytes_, bits).check)
    assert message.startswith(f"{tmp_path / 'b' / '1_mask.png'} has 1 bit for each pixel, ")
    assert message.endswith("whether its 1 means 1 or 255 is not known; store all of them in 8 bits")


def test_palettes_of_which_indices_are_read_are_alike(tmp_path: Path) -> None:
    first, second = Image.new("P", (3, 2), 1), Image.new("P", (3, 2), 1)
    first.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0])
    second.putpalette([0, 0, 0, 128, 0, 0])
    data = listed_in(tmp_path / "a", first, second)
    object.__setattr__(data, "encoding", Encoding("x", {0: 0, 1: 1}, "0 or 1", palette=True))
    data.check()
    second.putpalette([0, 0, 0, 0, 128, 0])
    second.save(tmp_path / "a" / "1_mask.png")
    assert f"1_mask.png has another palette than {tmp_path / 'a' / '0_mask.png'}" in refused(data.check)


def test_one_image_of_each_kind_is_decoded_by_the_check(tmp_path: Path) -> None:
    mask = Image.new("L", (3, 2))
    data = listed_in(tmp_path, mask, mask)
    Image.new("L", (3, 2), 9).save(tmp_path / "0.png")
    data.check()
    assert data.load(0).image().tolist() == [[[9, 9, 9]] * 3] * 2
    Image.fromarray(np.full((2, 3), 9, np.uint16)).save(tmp_path / "1.png")
    assert refused(data.check).startswith(f"{tmp_path / '1.png'} has 16 bits and uses fewer than 12")

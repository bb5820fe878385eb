"""Corruptions: equal to the library that everybody uses, from an explicit generator, whatever runs beside them."""

import importlib.util
import json
import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from numpy.random import RandomState

from bench.core.errors import BadPlugin, MissingPackage, UnknownName
from bench.corruptions import (
    FAMILIES,
    NAMES,
    SEVERITIES,
    SOURCE_15,
    SOURCE_FAMILIES,
    blur,
    corrupt,
    extra,
    seed_of,
    weather,
)
from bench.corruptions.draws import drawing, fill_normal, fill_uniform

ROOT = Path(__file__).parents[2]
FIXTURES = Path(__file__).parents[1] / "fixtures" / "corruptions"
EXTRA = {"defocus_blur", "snow", "frost", "spatter"}
SIZES = [(32, 32), (33, 47), (150, 37), (36, 211), (101, 130)]


def opencv_imports():
    try:
        import cv2  # noqa: F401
    except ImportError:  # not installed, or without a shared library of the system
        return False
    return importlib.util.find_spec("imagecorruptions") is not None


WITH_EXTRA = opencv_imports()
NEEDED = pytest.mark.skipif(not WITH_EXTRA, reason="needs the extra corruptions, and an OpenCV that imports")
EVERY = [pytest.param(name, marks=[NEEDED] if name in EXTRA else []) for name in NAMES]


@pytest.fixture(scope="module")
def golden():
    with np.load(FIXTURES / "golden.npz") as file:
        return dict(file)


@pytest.fixture(scope="module")
def library():
    if not WITH_EXTRA:
        pytest.skip("imagecorruptions or OpenCV is not installed or does not import")
    place = importlib.util.spec_from_file_location("corruption_library", FIXTURES / "library.py")
    module = importlib.util.module_from_spec(place)
    place.loader.exec_module(module)
    original = module.load()

    def run(image, name, severity, seed):
        np.random.seed(seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # 0 / 0 in spatter, and those of the library's imports
            return original(image, severity, name)

    return run


def scene(height, width, seed=0):
    """Gradients, noise, edges, and flat parts: black, white, grey and coloured, where rounding decides."""
    random = RandomState(seed)
    ramps = random.uniform(-60, 320, (2, 3)) + random.uniform(-1, 1, (2, 3)) * 300
    image = np.linspace(0, 1, height)[:, None, None] * ramps[0] + np.linspace(0, 1, width)[:, None] * ramps[1]
    image += random.normal(size=image.shape) * (random.uniform(size=(height, 1, 1)) < 0.5) * 20
    image = np.clip(image, 0, 255).astype(np.uint8)
    image[: height // 4, : width // 3] = 255
    image[height // 4 : height // 3, : width // 3] = 17
    image[: height // 5, width // 2 :] = (200, 201, 199)
    image[-height // 5 :, -width // 4 :] = 0
    image[height // 2 : height // 2 + 9] //= 64
    image[-3:, :5] = random.randint(0, 256, (3, 5, 3))
    return image


def levels_apart(ours, theirs):
    """The largest difference in grey levels, and how many values differ."""
    difference = np.abs(ours.astype(np.int16) - theirs)
    return int(difference.max()), int((difference > 0).sum())


def state(random):
    found = random.get_state(legacy=False)
    return found["state"]["key"].tolist(), found["state"]["pos"], found["has_gauss"], found["gauss"]


@pytest.mark.parametrize("name", [name for name in EVERY if name.values[0] != "impulse_noise"])
def test_it_is_what_the_original_stack_computed(golden, name):
    for severity in SEVERITIES:
        want = golden[f"{name}/{severity}"]
        largest, differing = levels_apart(corrupt(golden["image"], name, severity, RandomState(1234)), want)
        assert largest <= 1, severity
        assert differing <= max(1, 1e-5 * want.size), severity


def test_all_golden_images_together_differ_in_at_most_one_value_in_a_hundred_thousand(golden):
    names = [name for name in NAMES if name != "impulse_noise" and (WITH_EXTRA or name not in EXTRA)]
    pairs = [(name, severity) for name in names for severity in SEVERITIES]
    apart = [
        levels_apart(corrupt(golden["image"], *pair, RandomState(1234)), golden["{}/{}".format(*pair)])
        for pair in pairs
    ]
    assert sum(differing for _, differing in apart) <= 1e-5 * golden["image"].size * len(pairs)


@pytest.mark.parametrize("name", EVERY)
def test_it_is_what_the_library_computes_from_the_same_draws_at_any_size(library, name):
    for index, size in enumerate(SIZES[1:3] if name == "glass_blur" else SIZES):
        image = scene(*size, seed=index)
        for severity in SEVERITIES:
            seed = 1000 * index + severity
            random = RandomState(seed)
            ours = corrupt(image, name, severity, random)
            assert levels_apart(ours, library(image, name, severity, seed)) == (0, 0), (size, severity)
            assert state(random) == state(np.random.mtrand._rand), (size, severity)


@pytest.mark.parametrize("colour", [(255, 255, 255), (0, 0, 0), (200, 17, 93), (128, 128, 128)], ids=str)
def test_a_picture_of_one_colour_rounds_as_in_the_library(library, colour):
    image = np.full((40, 64, 3), colour, np.uint8)
    for name in set(NAMES) - {"glass_blur"}:
        for severity in (1, 3, 5):
            ours = corrupt(image, name, severity, RandomState(severity))
            assert levels_apart(ours, library(image, name, severity, severity)) == (0, 0), (name, severity)


def test_a_frame_of_cityscapes_is_what_the_library_makes_of_it(library, shared):
    from PIL import Image

    (path,) = sorted((shared / "data" / "cityscapes_sample").rglob("*_leftImg8bit.png"))[:1]
    image = np.array(Image.open(path))[::3, ::3]
    for name in set(SOURCE_15) | {"elastic_transform", "pixelate"}:
        ours = corrupt(image, name, 3, RandomState(5))
        assert levels_apart(ours, library(image, name, 3, 5)) == (0, 0), name


@pytest.mark.slow
@pytest.mark.parametrize("name", EVERY)
def test_it_is_what_the_library_computes_at_the_size_of_cityscapes(library, name):
    image = scene(1024, 2048)
    for severity in [2] if name == "glass_blur" else SEVERITIES:
        ours = corrupt(image, name, severity, RandomState(severity))
        assert levels_apart(ours, library(image, name, severity, severity)) == (0, 0), severity


def test_blue_first_is_the_library_on_a_reversed_image(library):
    image = scene(48, 70)
    for name in ("jpeg_compression", "snow", "frost", "spatter", "gaussian_noise"):
        for severity in (1, 4):
            ours = corrupt(image, name, severity, RandomState(3), order="bgr")
            theirs = library(np.ascontiguousarray(image[..., ::-1]), name, severity, 3)
            assert levels_apart(ours, theirs[..., ::-1]) == (0, 0), (name, severity)
            assert not np.array_equal(ours, corrupt(image, name, severity, RandomState(3))), (name, severity)


@pytest.mark.parametrize("severity", SEVERITIES)
def test_impulses_strike_as_often_as_they_should_and_leave_the_rest_alone(golden, severity):
    amount = (0.03, 0.06, 0.09, 0.17, 0.27)[severity - 1]
    image = RandomState(0).randint(1, 254, (300, 400, 3)).astype(np.uint8)
    kept = (image / 255.0 * 255).astype(np.uint8)
    corrupted = corrupt(image, "impulse_noise", severity, RandomState(7))
    struck = corrupted != kept
    assert set(np.unique(corrupted[struck])) == {0, 255}
    assert abs(struck.mean() - amount) < 5 * np.sqrt(amount / image.size)
    assert abs((corrupted[struck] == 255).mean() - 0.5) < 5 * 0.5 / np.sqrt(struck.sum())

    ours, theirs = (
        corrupt(golden["image"], "impulse_noise", severity, RandomState(7)),
        golden[f"impulse_noise/{severity}"],
    )
    untouched = (ours != 0) & (ours != 255) & (theirs != 0) & (theirs != 255)
    assert untouched.mean() > 0.4
    assert np.array_equal(ours[untouched], theirs[untouched])
    for extreme in (0, 255):
        assert abs((ours == extreme).mean() - (theirs == extreme).mean()) < 5 * np.sqrt(amount / ours.size)


def test_a_library_of_its_own_generator_draws_impulses_by_the_same_rule(library):
    image = scene(64, 80)
    assert np.array_equal(corrupt(image, "impulse_noise", 3, RandomState(9)), library(image, "impulse_noise", 3, 9))


@pytest.mark.parametrize("before", [0, 1, 2, 623, 624, 625, 1247])
def test_the_compiled_generator_is_numpys_wherever_it_begins_and_ends(before):
    for many in (0, 1, 2, 311, 312, 313, 1001):
        ours, theirs = RandomState(11), RandomState(11)
        for random in (ours, theirs):
            random.randint(0, 2**32, size=before, dtype=np.uint32)
            random.standard_normal(before % 3)
        normal, uniform = np.empty(many), np.empty(many)
        with drawing(ours) as stream:
            fill_normal(*stream, 0.5, 2.0, normal)
            fill_uniform(*stream[:4], -1.0, 3.0, uniform)
        assert np.array_equal(normal, theirs.normal(0.5, 2.0, many))
        assert np.array_equal(uniform, theirs.uniform(-1, 2, many))
        assert state(ours) == state(theirs)
        assert ours.randint(0, 1000) == theirs.randint(0, 1000)


def test_counts_of_photons_are_numpys_at_every_rate():
    image = np.repeat(np.arange(256, dtype=np.uint8), 3 * 64).reshape(256, 64, 3)
    for severity, photons in enumerate((60, 25, 12, 5, 3), 1):
        counts = RandomState(2).poisson(image / 255.0 * photons)
        want = (np.clip(counts / float(photons), 0, 1) * 255).astype(np.uint8)
        assert np.array_equal(corrupt(image, "shot_noise", severity, RandomState(2)), want)


@pytest.mark.parametrize("name", EVERY)
def test_the_result_is_a_new_image_of_the_same_kind_and_a_function_of_the_draws(name):
    image = scene(40, 56)
    frozen = image.copy()
    frozen.setflags(write=False)
    before = state(np.random.mtrand._rand)
    first = corrupt(image, name, 2, RandomState(4))
    assert (first.shape, first.dtype) == (image.shape, np.uint8)
    assert first.flags.c_contiguous and first.flags.writeable and first.base is not image
    assert np.array_equal(image, frozen)
    assert not np.array_equal(first, image)
    turned = np.asfortranarray(frozen)
    for same in (frozen, turned, np.repeat(frozen, 2, axis=1)[:, ::2]):
        assert np.array_equal(corrupt(same, name, 2, RandomState(4)), first)
    assert state(np.random.mtrand._rand) == before


def test_severities_are_ordered_by_how_far_they_move_the_image():
    image = scene(96, 128)
    for name in ("gaussian_noise", "shot_noise", "impulse_noise", "speckle_noise", "gaussian_blur", "contrast", "fog"):
        moved = [np.abs(corrupt(image, name, s, RandomState(1)).astype(float) - image).mean() for s in SEVERITIES]
        assert moved == sorted(moved), name


def test_threads_do_not_disturb_each_other():
    image = scene(64, 96)
    names = [name for name in NAMES if WITH_EXTRA or name not in EXTRA]
    work = [(name, severity, seed) for name in names for severity in (1, 4) for seed in (0, 1)]

    def one(task):
        name, severity, seed = task
        return corrupt(image, name, severity, RandomState(seed)).tobytes()

    alone = [one(task) for task in work]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(one, work)) == alone


def test_another_process_gets_the_same_pixels_and_imports_no_more_than_it_needs():
    program = """
import sys, json, hashlib
import numpy as np
from bench import corruptions
early = [name for name in ("torch", "numba", "cv2", "scipy", "PIL") if name in sys.modules]
image = np.arange(64 * 96 * 3, dtype=np.uint32).reshape(64, 96, 3).astype(np.uint8)
made = corruptions.corrupt(image, "fog", 3, np.random.RandomState(corruptions.seed_of(1, "a", "fog", 3)))
late = [name for name in ("torch", "skimage", "imagecorruptions") if name in sys.modules]
print(json.dumps([early, late, hashlib.sha256(made.tobytes()).hexdigest()]))
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    early, late, digest = json.loads(done.stdout)
    assert (early, late) == ([], [])
    image = np.arange(64 * 96 * 3, dtype=np.uint32).reshape(64, 96, 3).astype(np.uint8)
    here = corrupt(image, "fog", 3, RandomState(seed_of(1, "a", "fog", 3)))
    assert sha256(here.tobytes()).hexdigest() == digest


def test_seeds_are_the_same_for_ever():
    assert seed_of(0, "frankfurt_000000_000294", "gaussian_noise", 1) == 3718196341
    assert seed_of(7, "münster/1", "frost", 5) == 1495026396


def test_every_part_of_a_seed_counts():
    parts = [(0, "a", "fog", 1), (1, "a", "fog", 1), (0, "b", "fog", 1), (0, "a", "snow", 1), (0, "a", "fog", 2)]
    parts += [(0, 'a", "fog', "fog", 1), (0, "", "afog", 1), (11, "a", "fog", 1), (1, "1a", "fog", 1)]
    seeds = {seed_of(*part) for part in parts}
    assert len(seeds) == len(parts)
    assert all(0 <= seed < 2**32 and RandomState(seed) for seed in seeds)
    assert seed_of(np.int64(3), "a", "fog", np.int64(2)) == seed_of(3, "a", "fog", 2)


def test_names_and_families():
    assert len(NAMES) == 19 and len(set(NAMES)) == 19 and SEVERITIES == (1, 2, 3, 4, 5)
    assert list(FAMILIES) == list(NAMES)
    sizes = {"noise": 3, "blur": 4, "weather": 4, "digital": 4, "extra": 4}
    assert {family: list(FAMILIES.values()).count(family) for family in FAMILIES.values()} == sizes
    assert len(SOURCE_15) == 15 and set(SOURCE_15) < set(NAMES)
    assert set(NAMES) - set(SOURCE_15) == {"glass_blur", "zoom_blur", "elastic_transform", "pixelate"}
    assert tuple(SOURCE_FAMILIES) == SOURCE_15
    assert set(SOURCE_FAMILIES.values()) == {"blur", "noise", "digital", "weather"}


def test_every_refusal_names_what_was_found_and_what_was_wanted():
    image, random = scene(40, 40), RandomState(0)
    with pytest.raises(UnknownName, match=r"^corruptions: unknown corruption 'gausian_noise'; did you mean 'gaussian"):
        corrupt(image, "gausian_noise", 1, random)
    with pytest.raises(BadPlugin, match=r"^corruption snow: the image is 31x40, wanted at least 32x32 pixels$"):
        corrupt(image[:31], "snow", 1, random)
    with pytest.raises(
        BadPlugin, match=r"^corruption fog: the image is float64 \[40, 40, 3\], wanted uint8 \[H, W, 3\]"
    ):
        corrupt(image / 255, "fog", 1, random)
    with pytest.raises(BadPlugin, match=r"^corruption fog: the image is uint8 \[40, 40\], wanted uint8"):
        corrupt(image[..., 0], "fog", 1, random)
    with pytest.raises(BadPlugin, match=r"^corruption fog: the image is list, wanted uint8"):
        corrupt(image.tolist(), "fog", 1, random)
    for severity in (0, 6, True, 2.5):
        with pytest.raises(BadPlugin, match=rf"^corruption fog: severity is {severity}, wanted one of 1, 2, 3, 4, 5$"):
            corrupt(image, "fog", severity, random)
    with pytest.raises(BadPlugin, match=r"^corruption fog: order is 'grb', wanted 'rgb' or 'bgr'$"):
        corrupt(image, "fog", 1, random, order="grb")
    for generator in (np.random.default_rng(0), 3, RandomState(np.random.PCG64(0))):
        with pytest.raises(
            BadPlugin, match=r"^corruption fog: random is \w+, wanted numpy.random.RandomState\(seed\)$"
        ):
            corrupt(image, "fog", 1, generator)


@pytest.mark.parametrize("name", sorted(EXTRA))
def test_without_the_extra_a_corruption_that_needs_it_names_it(monkeypatch, name):
    monkeypatch.setitem(sys.modules, "cv2", None)
    for kept in (extra.texture, weather._ice, blur._disk):
        kept.cache_clear()
    with pytest.raises(
        MissingPackage,
        match=rf'^corruption {name} needs OpenCV, which is not installed; pip install "ood-seg-bench\[corruptions\]"$',
    ):
        corrupt(scene(40, 40), name, 1, RandomState(0))


@NEEDED
def test_without_the_textures_frost_names_the_extra(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "imagecorruptions" else find(name))
    extra.texture.cache_clear()
    weather._ice.cache_clear()
    with pytest.raises(
        MissingPackage, match=r'^corruption frost needs .*; pip install "ood-seg-bench\[corruptions\]"$'
    ):
        corrupt(scene(40, 40), "frost", 1, RandomState(0))


def test_an_opencv_that_does_not_import_says_what_helps(monkeypatch, tmp_path):
    (tmp_path / "cv2.py").write_text('raise ImportError("libGL.so.1: cannot open shared object file")\n')
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "cv2", raising=False)
    with pytest.raises(MissingPackage, match=r"^corruption snow needs OpenCV, .*libGL\.so\.1.*opencv-python-headless$"):
        corrupt(scene(40, 40), "snow", 1, RandomState(0))


def test_without_the_extra_the_other_corruptions_work(monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    monkeypatch.setitem(sys.modules, "imagecorruptions", None)
    for name in set(NAMES) - EXTRA:
        corrupt(scene(40, 40), name, 5, RandomState(0))


@NEEDED
def test_where_no_drop_falls_spatter_is_black_as_in_the_library(library):
    image = scene(32, 32)
    dry = [seed for seed in range(40) if not corrupt(image, "spatter", 1, RandomState(seed)).any()]
    assert dry, "one of forty such small images should stay dry"
    for seed in range(40):
        assert levels_apart(corrupt(image, "spatter", 1, RandomState(seed)), library(image, "spatter", 1, seed)) == (
            0,
            0,
        )


def test_small_images_are_refused_where_the_library_refuses_them(library):
    with pytest.raises(AttributeError, match=r"at least 32 pixels"):
        library(scene(31, 40), "fog", 1, 0)

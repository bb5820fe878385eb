"""Labels and class maps of whatever values: evaluated, or refused in one line, and nothing is left behind."""

import io
import json

import numpy as np
import pytest
from damaged_files import OTHER_THINGS, SIZE, altered, encoded, png, trials
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from bench.cli.main import main

SOME = st.one_of(
    st.sampled_from([(0,), (255,), (0, 1), (0, 1, 255), (0, 255), (0, 2), (0, 2, 255), (0, 1, 2), (0, 128, 255)]),
    st.sampled_from([range(19), range(20), range(1, 20), range(34), (0, 7, 8, 11, 21), (*range(19), 255), range(256)]),
    st.lists(st.integers(0, 255), min_size=1, max_size=6),
)
WORDS = st.one_of(
    st.sampled_from([
        "train_ids", "label_ids", "from_1", "19=ignore", "255=anomaly", "2=anomaly,255=ignore", "0-18=normal", "24=0",
        "1=anomaly", "0-255=0", "0-255=ignore", "0-255=anomaly", "=", "", ",", "1=", "=1", "1=1=1", "1-=2", "5-2=0",
        "256=1", "-1=0", "1=-1", "1=255", "1=99999999999999999999", "a=b", "1=void", "\x1b[2J=1",
        "\uff11=1", "1 = 1", "x" * 99,
    ]),
    st.text(max_size=9),
)  # fmt: skip


def stored(values, mode, seed):
    """A PNG of those values, stored in some way."""
    pixels = np.random.default_rng(seed).choice(np.fromiter(values, np.uint8), SIZE)
    if mode == "1":
        return encoded("PNG", Image.fromarray(pixels > 0))
    if mode == "I;16":
        return encoded("PNG", Image.fromarray(pixels.astype(np.uint16)))
    image = Image.fromarray(pixels)
    if mode == "P":
        image.putpalette(np.random.default_rng(seed).integers(0, 256, 768).astype(np.uint8).tobytes())
    return encoded("PNG", image.convert(mode) if mode in ("RGB", "RGBA", "LA") else image)


MODES = st.sampled_from(["L", "L", "L", "L", "P", "1", "I;16", "RGB", "RGBA", "LA"])
MASK = st.builds(stored, SOME, MODES, st.integers(0, 3))
WHOLE = [stored((0, 1, 255), mode, 0) for mode in ("L", "P", "1", "I;16", "RGB")]
FILE = st.one_of(MASK, MASK, MASK, png(), altered(WHOLE), OTHER_THINGS)
SETS = st.lists(FILE, min_size=1, max_size=3)


@pytest.fixture
def ask(tmp_path, monkeypatch, capfd):
    """Run a command over the files given by folder, and hold what it says to the rules; return its status."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BENCH_DATA", str(tmp_path))
    monkeypatch.setenv("BENCH_HOME", str(tmp_path / "home"))

    def asked(folders, *argv, writes=()):
        for folder, contents in folders.items():
            (tmp_path / folder).mkdir(parents=True, exist_ok=True)
            for path in (tmp_path / folder).iterdir():
                path.unlink()
            for number, content in enumerate(contents):
                end = "npy" if folder == "maps" else "png"
                (tmp_path / folder / f"{number}.{end}").write_bytes(content)
        before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
        status = main([*argv])
        said = capfd.readouterr()
        assert "Traceback" not in said.out + said.err
        after = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
        made = {path.relative_to(tmp_path).as_posix() for path in after.keys() - before.keys()}
        assert status in (0, 2) and before.items() <= after.items()
        if status == 2:
            (line,) = [line for line in said.err.splitlines() if line.strip()]
            assert line.startswith("bench: ") and line.isprintable(), line
            assert not made
        else:
            assert made <= set(writes)
        for name in made:
            (tmp_path / name).unlink()
        return status, said.out

    return asked


def scores(count):
    maps = []
    for seed in range(count):
        stream = io.BytesIO()
        np.save(stream, np.random.default_rng(seed).random(SIZE).astype(np.float32))
        maps.append(stream.getvalue())
    return maps


@trials(20)
@given(SETS, st.one_of(st.none(), WORDS))
def test_masks_of_anomalies(ask, masks, words):
    option = [] if words is None else [f"--label-values={words}"]
    folders = {"maps": scores(len(masks)), "labels": masks}
    argv = ["--scores", "maps", "--labels", "labels", "--bootstrap", "0", "--format", "json", *option]
    status, out = ask(folders, "score", "--protocol", "anomaly", *argv)
    if status == 0 and words is None:
        (evaluation,) = json.loads(out)["evaluations"]
        assert evaluation["pixels"]["anomaly"] > 0


@trials(25)
@given(
    SETS, SETS, st.one_of(st.none(), WORDS), st.one_of(st.none(), WORDS), st.sampled_from(["miou", "misclassification"])
)
def test_labels_and_class_maps(ask, labels, classes, label_words, class_words, protocol):
    count = min(len(labels), len(classes))
    folders = {"maps": scores(count), "labels": labels[:count], "classes": classes[:count]}
    options = [] if label_words is None else [f"--label-values={label_words}"]
    options += [] if class_words is None else [f"--prediction-values={class_words}"]
    argv = ["--scores", "maps", "--labels", "labels", "--predictions", "classes", "--bootstrap", "0", *options]
    ask(folders, "score", "--protocol", protocol, *argv)


IMAGE = encoded("PNG", Image.new("RGB", (SIZE[1], SIZE[0])))


@trials(10)
@given(SETS)
def test_folders_of_ones_own(ask, masks):
    folders = {"mine/images": [IMAGE] * len(masks), "mine/labels": masks}
    ask(folders, "init", "mine", writes=["mine.yaml"])


@trials(12)
@given(SETS, st.one_of(st.none(), WORDS), st.sampled_from(["fs_static", "RoadAnomaly"]))
def test_readers_of_published_masks(ask, masks, words, name):
    place = f"validation_dataset/{name}"
    folders = {f"{place}/images": [IMAGE] * len(masks), f"{place}/labels_masks": masks}
    data = f"validation_dataset:set={name},frames={len(masks)}"
    option = [] if words is None else ["--set", f"values={words}"]
    status, out = ask(folders, "describe", data, "--format", "json", *option)
    if status == 0 and words is None:
        assert json.loads(out)["datasets"][0]["truth"]["anomaly"]["pixels"].get("anomaly", 0) > 0

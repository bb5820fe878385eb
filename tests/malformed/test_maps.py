"""Score maps and class maps of strangers: `bench score` evaluates each, or refuses it in one line."""

import io

import h5py
import numpy as np
import pytest
from damaged_files import OTHER_THINGS, SIZE, altered, encoded, npy, png, trials, zipped
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from bench.cli.main import main

SCORES = np.random.default_rng(1).normal(size=SIZE).astype(np.float32)


def saved(save):
    buffer = io.BytesIO()
    save(buffer)
    return buffer.getvalue()


def hdf5(**options):
    def save(buffer):
        with h5py.File(buffer, "w") as file:
            file.create_dataset("value", data=SCORES, **options)

    return saved(save)


def empty_hdf5(**options):
    def save(buffer):
        with h5py.File(buffer, "w") as file:
            file.create_dataset("value", **options)

    return saved(save)


HDF5 = [hdf5(), hdf5(compression="gzip", shuffle=True), hdf5(chunks=(3, 5), fletcher32=True)]
EMPTY = [
    empty_hdf5(data=h5py.Empty("f4")),
    *(empty_hdf5(shape=shape, dtype=dtype) for shape in ((), (0,), (0, 8), SIZE, (2**40, 8)) for dtype in ("f4", "c8")),
]
NPZ = [saved(lambda file: np.savez(file, SCORES)), saved(lambda file: np.savez_compressed(file, SCORES))]
PNG = [encoded("PNG"), encoded("PNG", Image.fromarray(np.arange(48, dtype=np.uint16).reshape(SIZE)))]
TIFF = [encoded("TIFF"), encoded("TIFF", Image.fromarray(SCORES)), encoded("TIFF", compression="tiff_lzw")]
FILES = st.one_of(
    st.tuples(st.just("npy"), st.one_of(npy(), altered([saved(lambda file: np.save(file, SCORES))]), OTHER_THINGS)),
    st.tuples(st.just("npz"), st.one_of(npy().map(zipped), altered(NPZ), OTHER_THINGS)),
    st.tuples(st.sampled_from(["h5", "hdf5"]), st.one_of(altered(HDF5), st.sampled_from(EMPTY), OTHER_THINGS)),
    st.tuples(st.just("png"), st.one_of(png(), altered(PNG), OTHER_THINGS)),
    st.tuples(st.sampled_from(["tif", "tiff"]), st.one_of(altered(TIFF), OTHER_THINGS)),
)


@pytest.fixture
def score(tmp_path, monkeypatch, capfd):
    """Put a map beside a whole one, and evaluate both under a protocol of scores, or one of class maps."""
    for folder in ("maps", "labels"):
        (tmp_path / folder).mkdir()
    for name in "ab":
        Image.fromarray((SCORES > 1).astype(np.uint8)).save(tmp_path / "labels" / f"{name}.png")
    monkeypatch.chdir(tmp_path)

    def evaluated(suffix, content, protocol="anomaly", role="--scores"):
        for path in (tmp_path / "maps").iterdir():
            path.unlink()
        np.save(tmp_path / "maps" / "a.npy", SCORES if protocol == "anomaly" else np.ones(SIZE, np.uint8))
        (tmp_path / "maps" / f"b.{suffix}").write_bytes(content)
        argv = ["score", "--protocol", protocol, role, "maps", "--labels", "labels", "--bootstrap", "0"]
        if protocol == "miou":  # two classes look like something else, which is not what this is about
            argv += ["--label-values", "train_ids", "--prediction-values", "train_ids"]
        status = main(argv)
        text = capfd.readouterr()
        assert "Traceback" not in text.out + text.err
        if status:
            assert status == 2 and not text.out
            (line,) = [line for line in text.err.splitlines() if line.strip()]
            assert line.startswith("bench: ") and f"b.{suffix}" in line and line.isprintable(), line
            assert len(line) < 600
        assert sorted(path.name for path in tmp_path.iterdir()) == ["labels", "maps"]
        return status

    return evaluated


def test_what_is_whole_is_evaluated(score):
    assert score("npy", saved(lambda file: np.save(file, SCORES))) == 0
    assert score("png", encoded("PNG", Image.new("L", (SIZE[1], SIZE[0]))), "miou", "--predictions") == 0


@given(file=FILES)
@trials(40)
def test_a_damaged_score_map(score, file):
    score(*file)


@given(file=FILES)
@trials(15)
def test_a_damaged_class_map(score, file):
    score(*file, "miou", "--predictions")


@pytest.mark.slow
@given(file=FILES, classes=st.booleans())
@trials(800)
def test_many_damaged_maps(score, file, classes):
    score(*file, *(("miou", "--predictions") if classes else ()))

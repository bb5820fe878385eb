"""Stored outputs in place of a network: every layout gives its figures, and what does not fit is named."""

import os
import time

import h5py
import numpy as np
import pytest
import torch
from PIL import Image
from running import Silent

from bench.api import Sample, ShardModel, View
from bench.cli.main import main
from bench.contract.network import loaded as load
from bench.core import files
from bench.core.errors import BadScores, BadSuite, MissingData, UserError
from bench.core.label_values import LABEL_IDS
from bench.datasets.toytown.scenes import Toytown
from bench.run.engine import Options
from bench.run.engine import run as run_suite
from bench.suite import expansion as suites
from bench.suite import parameters, registry

DATA = Toytown(split="anomaly", images=6, height=32, width=64)
SUITE = """
protocols: [anomaly, miou]
models:
  - python: {{factory: "net.py:build", label: tiny}}
  {models}
datasets:
  - toytown: {{split: anomaly, images: 6, height: 32, width: 64}}
methods: [msp, own]
bootstrap: 0
"""


def figures(path, tmp_path):
    """Metrics by model and by protocol and method; cells that are not applicable are left out."""
    results = run_suite(suites.load(path), tmp_path / "run", Options(workers=0), Silent())
    by_model = {}
    for result in results:
        if not result.not_applicable:
            key = result.labels.protocol, result.labels.method
            by_model.setdefault(result.labels.model, {})[key] = dict(result.metrics)
    return by_model


def outputs(folder):
    """Of every sample: logits at the network's resolution, MSP and the class map at label size, as in a run."""
    model = load(registry.build("model", "python", {"factory": f"{folder / 'net.py'}:build"}, where="x"), "cpu")
    found = {}
    for index, name in enumerate(DATA.ids()):
        pixels = torch.from_numpy(DATA.load(index).image()).permute(2, 0, 1)
        given = model.predict([View(name, pixels, 1.0, False, (0, 0, 32, 64), (32, 64), (32, 64))])[0]
        given.context = type(given.context)((32, 64), fused=True)
        maps = given.raw["logits"], given.other_mass(), given.labels
        found[name] = tuple(one.numpy() for one in maps)
    return found


def store(folder, kind):
    """``logits``, ``scores`` and ``predictions`` in one layout; the lines that name them."""
    parts = {"logits": 0, "scores": 1, "predictions": 2}
    made = outputs(folder)
    for name, part in parts.items():
        arrays = {sample: maps[part] for sample, maps in made.items()}
        if kind == "one.npz":
            np.savez_compressed(folder / f"{name}.npz", **arrays)
        elif kind == "one.hdf5":
            with h5py.File(folder / f"{name}.hdf5", "w") as file:
                for sample, array in arrays.items():
                    file[sample] = array
        else:
            (folder / name).mkdir()
            for sample, array in arrays.items():
                path = folder / name / f"{sample}.{kind}"
                if kind == "npy":
                    np.save(path, array)
                elif kind == "npz":
                    np.savez(path, array)
                else:
                    with h5py.File(path, "w") as file:
                        file["value"] = array
    end = kind.removeprefix("one") if kind.startswith("one") else ""
    return (
        f"- precomputed: {{logits: logits{end}, label: logits}}\n"
        f"  - precomputed: {{scores: scores{end}, labels: predictions{end}, label: scores}}"
    )


@pytest.mark.parametrize("kind", ["npy", "npz", "hdf5", "one.npz", "one.hdf5"])
def test_every_layout_gives_the_figures_of_the_network(kind, tiny, tmp_path):
    folder = tiny.parent
    tiny.write_text(SUITE.format(models=store(folder, kind)))
    found = figures(tiny, tmp_path)
    msp, miou = ("anomaly", "msp"), ("miou", None)
    assert set(found["tiny"]) == set(found["logits"]) == {msp, miou}
    assert found["logits"] == found["tiny"]
    assert found["scores"] == {("anomaly", "own"): found["tiny"][msp], miou: found["tiny"][miou]}


def test_a_spool_of_a_run_is_read_as_it_is(tiny, tmp_path, capsys):
    tiny.write_text(SUITE.format(models="").replace("[msp, own]", "[msp]").replace("[anomaly, miou]", "[anomaly]"))
    argv = ["run", str(tiny), "--workers", "0"]
    assert main([*argv, "--keep-maps", "--out", str(tmp_path / "first")]) == 0
    (spool,) = (tmp_path / "first/spool").glob("tiny/*/msp/float16")
    named = f"- precomputed: {{scores: '{spool}', labels: '{spool}', label: spool}}"
    tiny.write_text(SUITE.format(models=named).replace("[msp, own]", "[own]").replace("[anomaly, miou]", "[anomaly]"))
    found = figures(tiny, tmp_path)
    assert found["spool"]["anomaly", "own"]["auroc"].value > 0
    for sample in DATA.ids():
        stored = np.load(spool / "scores" / f"{sample}.npy")
        assert stored.dtype == np.float16 and stored.shape == (32, 64)


def model(**params):
    made = registry.build("model", "precomputed", {k: str(v) for k, v in params.items()}, where="x")
    made.check()
    return load(made, "cpu")


def sample(name, size=(4, 6)):
    return Sample(name, size, lambda: np.zeros((*size, 3), np.uint8))


def view(name, size=(4, 6)):
    return View(name, torch.zeros(3, *size, dtype=torch.uint8), 1.0, False, (0, 0, *size), size, size)


def test_an_absent_image_is_named_before_its_shard_is_scored(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((4, 6), np.float32))
    made = model(scores=tmp_path)
    assert isinstance(made.model, ShardModel) and made.model.outputs == {"score", "raw", "image"}
    made.prepare([sample("a")])
    with pytest.raises(
        MissingData, match=r"has no scores of b \(2 of 3 images of this shard have none\); .* such as a"
    ):
        made.prepare([sample("a"), sample("b"), sample("c")])


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros((3, 4, 6), np.float32), r"a\.npy is \[3, 4, 6\], wanted \[h, w\]"),
        (np.zeros((5, 6), np.float32), r"a\.npy is \[5, 6\], larger than its image \[4, 6\]"),
        (np.full((4, 6), np.nan), r"a\.npy holds 24 numbers that are not finite"),
        (np.array([["x"] * 6] * 4), r"a\.npy holds <U1, wanted numbers"),
        (np.array([[None] * 6] * 4), r"a\.npy cannot be read as plain numbers: .*Python objects"),
    ],
)
def test_a_score_that_does_not_fit_is_refused_by_file_name(array, words, tmp_path):
    np.save(tmp_path / "a.npy", array, allow_pickle=True)
    with pytest.raises(BadScores, match=words):
        model(scores=tmp_path).predict([view("a")])[0]


def test_a_file_that_is_another_than_its_name_says_is_refused(tmp_path):
    np.savez(tmp_path / "all.npz", np.zeros((4, 6)))
    (tmp_path / "all.npz").rename(tmp_path / "a.npy")
    for end in ("npz", "hdf5"):
        np.save(tmp_path / "b.npy", np.zeros((4, 6)))
        (tmp_path / "b.npy").rename(tmp_path / f"{end}.{end}")
    made = model(scores=tmp_path)
    for name in ("a", "npz", "hdf5"):
        with pytest.raises(BadScores, match=rf"{name}\.\w+ cannot be read as plain numbers: ") as caught:
            made.predict([view(name)])[0]
        assert "\n" not in str(caught.value)


def test_logits_and_class_maps_are_held_against_the_classes(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((20, 4, 6), np.float32))
    with pytest.raises(BadScores, match=r"is \[20, 4, 6\], wanted \[19, h, w\]"):
        model(logits=tmp_path).predict([view("a")])[0]
    for array, words in (
        (np.full((4, 6), 19, np.int64), r"holds the class 19, wanted 0 to 18"),
        (np.zeros((4, 6), np.float32), r"is float32 \[4, 6\], wanted whole numbers"),
    ):
        np.save(tmp_path / "a.npy", array)
        with pytest.raises(BadScores, match=words):
            model(labels=tmp_path).predict([view("a")])[0]


@pytest.mark.parametrize(
    ("stored", "values"),
    [(np.array([LABEL_IDS[:6]]), "label_ids"), (np.array([[14, 15, 16, 17, 18, 19]]), "from_1")],
)
def test_class_maps_in_another_convention_are_named_and_read_when_it_is_said(tmp_path, stored, values):
    stored = np.vstack([stored, np.full((3, 6), stored.max() if values == "from_1" else 33)])
    np.save(tmp_path / "a.npy", stored.astype(np.uint8))
    with pytest.raises(BadScores, match=rf"its values fit .*: say values: {values}$"):
        model(labels=tmp_path).predict([view("a")])
    labels = model(labels=tmp_path, values=values).predict([view("a")])[0].labels
    assert labels[0].tolist() == ([0, 1, 2, 3, 4, 5] if values == "label_ids" else [13, 14, 15, 16, 17, 18])
    assert "values" not in parameters.values(registry.build("model", "precomputed", {"labels": "x"}, where="x"))
    with pytest.raises(BadSuite, match="values is 'mine', wanted from_1, label_ids, train_ids"):
        model(labels=tmp_path, values="mine")


def test_a_smaller_class_map_is_brought_to_size_by_the_nearest_pixel(tmp_path):
    np.save(tmp_path / "a.npy", np.arange(6, dtype=np.int32).reshape(2, 3))
    labels = model(labels=tmp_path).predict([view("a")])[0].labels
    assert (
        labels.dtype == torch.uint8 and labels.tolist() == np.arange(6).reshape(2, 3).repeat(2, 0).repeat(2, 1).tolist()
    )


def test_one_map_is_read_and_not_the_archive(tmp_path):
    """A damaged neighbour does no harm."""
    np.savez(tmp_path / "all.npz", a=np.ones((4, 6), np.float32), b=np.ones((4, 6), np.float32))
    content = bytearray((tmp_path / "all.npz").read_bytes())
    at = content.rindex(np.float32(1).tobytes())
    content[at] ^= 255  # in the array b
    (tmp_path / "all.npz").write_bytes(content)
    made = model(scores=tmp_path / "all.npz")
    assert made.predict([view("a")])[0].raw["score"].eq(1).all()
    with pytest.raises(BadScores, match=r"all\.npz:b cannot be read"):
        made.predict([view("b")])[0]


def test_a_link_out_of_an_hdf5_file_is_not_followed(tmp_path):
    with h5py.File(tmp_path / "else.h5", "w") as file:
        file["value"] = np.zeros((4, 6))
    with h5py.File(tmp_path / "all.h5", "w") as file:
        file["a"] = h5py.ExternalLink("else.h5", "value")
    with pytest.raises(BadScores, match=r"has no dataset 'a' of its own"):
        model(scores=tmp_path / "all.h5").predict([view("a")])[0]


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({}, r"nothing is named; wanted logits, scores or labels"),
        ({"scores": "x", "inference": {"flip": True}}, r"belong to whole images: leave inference away"),
    ],
)
def test_parameters_that_cannot_be_are_refused_in_words(params, words):
    with pytest.raises(UserError, match=words):
        registry.build("model", "precomputed", params, where="x")


def test_places_that_hold_nothing_are_refused_by_check(tmp_path):
    with pytest.raises(MissingData, match=r"nowhere does not exist; wanted a folder with a file per image"):
        model(scores=tmp_path / "nowhere")
    (tmp_path / "notes.txt").touch()
    with pytest.raises(MissingData, match=r"holds no scores; wanted files ending in \.npy"):
        model(scores=tmp_path)
    with pytest.raises(BadScores, match=r"notes\.txt is no folder"):
        model(scores=tmp_path / "notes.txt")
    np.savez(tmp_path / "a.npz", np.zeros(1))
    np.save(tmp_path / "a.npy", np.zeros(1))
    with pytest.raises(BadScores, match=r"a\.npy and .*a\.npz are both the entry of a; keep one"):
        model(scores=tmp_path).prepare([sample("a")])


def test_the_digest_follows_the_content_and_a_file_is_read_once(tmp_path, monkeypatch):
    old = time.time() - 100
    for name in ("a", "b"):
        np.save(tmp_path / f"{name}.npy", np.zeros((4, 6)))
        os.utime(tmp_path / f"{name}.npy", (old, old))
    read = []
    digest = files.digest
    monkeypatch.setattr(files, "digest", lambda path: read.append(path.name) or digest(path))
    first = model(scores=tmp_path).model.digest()
    assert read.count("a.npy") == read.count("b.npy") == 1
    assert model(scores=tmp_path).model.digest() == first
    assert read.count("a.npy") == 1
    np.save(tmp_path / "a.npy", np.ones((4, 6)))
    assert model(scores=tmp_path).model.digest() != first
    assert read.count("a.npy") == 2 and read.count("b.npy") == 1
    assert model(scores=tmp_path).model.digest() != first
    assert read.count("a.npy") == 3, "a file that changed this very moment may change again unseen"
    (tmp_path / "b.npy").rename(tmp_path / "c.npy")
    assert model(scores=tmp_path).model.digest() != first


def test_there_is_no_network_and_it_says_so(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((4, 6)))
    with pytest.raises(UserError, match=r"there is no network to train"):
        model(scores=tmp_path).module()


def test_names_of_images_and_folders_of_cities_are_understood(tmp_path):
    (tmp_path / "zurich").mkdir()
    (tmp_path / "bern" / "more").mkdir(parents=True)
    np.save(tmp_path / "zurich" / "zurich_0_leftImg8bit.npy", np.full((4, 6), 1, np.float32))
    np.save(tmp_path / "bern" / "more" / "bern_0.npy", np.full((4, 6), 2, np.float32))
    (tmp_path / "again").symlink_to(tmp_path)
    made = model(scores=tmp_path)
    made.prepare([sample("zurich_0"), sample("bern_0")])
    values = [float(made.predict([view(name)])[0].raw["score"].mean()) for name in ("zurich_0", "bern_0")]
    assert values == [1, 2]
    first = made.model.digest()
    np.save(tmp_path / "zurich" / "bern_0.npy", np.zeros((4, 6), np.float32))
    made = model(scores=tmp_path)
    assert made.model.digest() != first
    with pytest.raises(BadScores, match=r"are both the entry of bern_0; keep one, or name the folder of one alone"):
        made.prepare([sample("bern_0")])


def test_a_name_to_the_letter_comes_before_one_with_an_ending(tmp_path):
    for value, name in enumerate(("a", "a_leftImg8bit")):
        np.save(tmp_path / f"{name}.npy", np.full((4, 6), value, np.float32))
    made = model(scores=tmp_path)
    assert [float(made.predict([view(name)])[0].raw["score"][0, 0]) for name in ("a", "a_leftImg8bit")] == [0, 1]


def test_what_a_program_left_in_one_folder_is_told_apart_by_its_endings(tmp_path):
    np.save(tmp_path / "a_logits.npy", np.full((19, 4, 6), 3, np.float32))
    np.save(tmp_path / "a_anomaly.npy", np.full((4, 6), 4, np.float32))
    np.save(tmp_path / "a_segmentation.npy", np.full((4, 6), 5, np.uint8))
    given = model(logits=tmp_path, scores=tmp_path, labels=tmp_path).predict([view("a")])[0]
    assert given.raw["logits"].eq(3).all() and given.raw["score"].eq(4).all() and given.labels.eq(5).all()


@pytest.mark.parametrize("form", ["grey", "palette", "16 bits"])
def test_class_maps_may_be_png(form, tmp_path):
    stored = np.arange(24).reshape(4, 6).astype(np.uint8) % 19
    picture = Image.fromarray(stored.astype(np.uint16) if form == "16 bits" else stored)
    if form == "palette":
        picture.putpalette([value for grey in range(256) for value in (grey, grey, grey)])
    picture.save(tmp_path / "a.png")
    assert torch.equal(model(labels=tmp_path).predict([view("a")])[0].labels, torch.from_numpy(stored))


def test_class_maps_that_are_colours_are_refused(tmp_path):
    Image.fromarray(np.arange(72, dtype=np.uint8).reshape(4, 6, 3)).save(tmp_path / "a.png")
    with pytest.raises(BadScores, match=r"a\.png .*; wanted a class map"):
        model(labels=tmp_path).predict([view("a")])


def test_an_axis_of_one_in_front_is_a_batch(tmp_path):
    for kind, shape in (("scores", (1, 4, 6)), ("scores", (4, 6, 1)), ("logits", (1, 19, 4, 6))):
        np.save(tmp_path / "a.npy", np.ones(shape, np.float32))
        (output,) = model(**{kind: tmp_path}).predict([view("a")])[0].raw.values()
        assert output.shape == ((4, 6) if kind == "scores" else (19, 4, 6))
    np.save(tmp_path / "a.npy", np.ones((1, 4, 6), np.int64))
    assert model(labels=tmp_path).predict([view("a")])[0].labels.shape == (4, 6)


def test_logits_of_other_classes_come_with_what_to_do(tmp_path):
    for shape, words in (
        ((20, 4, 6), r"of 20 classes\? then name these in the entry: classes: \[\.\.\.\]; .* array\[:19\]"),
        ((2, 4, 6), r"of 2 classes\? then name these in the entry: classes: \[\.\.\.\]$"),
        ((4, 6, 19), r"its axes are \[h, w, C\]: store array\.transpose\(2, 0, 1\)"),
    ):
        np.save(tmp_path / "a.npy", np.zeros(shape, np.float32))
        with pytest.raises(BadScores, match=words):
            model(logits=tmp_path).predict([view("a")])


def test_a_pointer_of_git_lfs_is_named(tmp_path):
    (tmp_path / "a.npy").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12\n")
    with pytest.raises(BadScores, match=r"it is a Git LFS pointer"):
        model(scores=tmp_path).predict([view("a")])

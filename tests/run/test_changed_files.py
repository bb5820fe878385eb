"""Files that change under a run: what was read of them counts for nothing, also when they are as before again."""

import os
import shutil
import signal

import numpy as np
import pytest
from conftest import NETWORK
from PIL import Image
from running import Silent
from test_isolation import SET, figures, plug  # noqa: F401 - a fixture

from bench.core.errors import CellsFailed
from bench.core.noted_files import NotedFiles, note, noting
from bench.datasets.toytown import Toytown
from bench.run import engine
from bench.run.engine import Options
from bench.suite import expansion

SUITE = """
protocols: [anomaly, {components: {min_predicted: 6, min_truth: 4}}]
models:
  - %s
datasets:
  - %s
methods: [maxlogit, {sml: {fit: {data: {folder: {images: "fit/*.png", labels: "fit/labels/*.png", ids: IDS}}}}}]
bootstrap: 5
"""
FRAMES = 'folder: {images: "mine/*.png", labels: "mine/labels/*.png", anomaly: [1], usual: [0]}'
TINY = 'python: {factory: "net.py:build", weights: "net.bin", label: tiny}'
STORED = "precomputed: {logits: logits}"


class Meddling(Silent):
    """Does something when so many images were looked at."""

    def __init__(self, after, act):
        super().__init__()
        self.after, self.act = after, act

    def advance(self, images):
        super().advance(images)
        if self.images >= self.after and self.act:
            act, self.act = self.act, None
            act()


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Scenes on disk to be evaluated, others to be fitted on, and a suite of both."""
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "data"))
    for name, truth in (("mine", "anomaly"), ("fit", "labels")):
        (tmp_path / "data" / name / "labels").mkdir(parents=True)
        scenes = Toytown(split="anomaly", images=4, height=32, width=64, seed=len(name))
        for index, sample in enumerate(scenes.ids()):
            scene = scenes.load(index)
            Image.fromarray(scene.image()).save(tmp_path / "data" / name / f"{sample}.png")
            Image.fromarray(getattr(scene, truth)).save(tmp_path / "data" / name / "labels" / f"{sample}.png")
            if name == "mine":
                (tmp_path / "logits").mkdir(exist_ok=True)
                logits = np.random.default_rng(index).standard_normal((19, 8, 16)).astype(np.float32)
                np.save(tmp_path / "logits" / f"{sample}.npy", logits)
    (tmp_path / "net.py").write_text(NETWORK.replace("def build():", "def build(weights):"))
    (tmp_path / "net.bin").write_bytes(b"weights")
    return tmp_path


def written(place, model=TINY, data=FRAMES):
    from bench.api import CITYSCAPES

    ids = "{" + ", ".join(f"{number}: {name}" for number, name in enumerate(CITYSCAPES)) + "}"
    (place / "suite.yaml").write_text((SUITE % (model, data)).replace("IDS", ids))
    return place / "suite.yaml"


def run(path, folder, reporter=None, **options):
    suite = expansion.load(path)
    return list(engine.run(suite, folder, Options(workers=0, shard=1, **options), reporter or Silent()))


def changed(path):
    """What writes something else into a file, and what puts it back as if nothing had happened."""
    content, about = path.read_bytes(), path.stat()

    def change():
        if path.suffix == ".png":
            Image.fromarray(np.roll(np.asarray(Image.open(path)), 9, axis=1)).save(path)
        elif path.suffix == ".npy":
            np.save(path, -np.load(path))
        else:
            path.write_bytes(content + b" ")

    def restore():
        path.write_bytes(content)
        os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns))

    return change, restore


THINGS = {  # what changes, and the network, the images after which it does, and how many cells fail
    "a label": ("data/mine/labels", TINY, 5, 4),
    "an image": ("data/mine", TINY, 5, 4),
    "the weights": ("net.bin", TINY, 5, 4),
    "stored logits": ("logits", STORED, 5, 4),
    "a label of the fit": ("data/fit/labels", TINY, 1, 2),
    "an image of the fit": ("data/fit", TINY, 1, 2),
}


SLOW = {"an image", "the weights", "an image of the fit"}


@pytest.mark.parametrize(
    "thing", [pytest.param(thing, marks=pytest.mark.slow) if thing in SLOW else thing for thing in THINGS]
)
def test_what_changes_under_a_run_fails_its_cells_and_is_computed_again(thing, place):
    where, model, after, cells = THINGS[thing]
    path = place / where
    path = min(path.glob("*.*")) if path.is_dir() else path
    suite = written(place, model)
    run(suite, place / "clean")
    shutil.rmtree(place / "home" / "fitted")
    change, restore = changed(path)
    with pytest.raises(CellsFailed, match=f"^{cells} cells have no figures") as failed:
        run(suite, place / "run", Meddling(after, change))
    assert str(path) in str(failed.value) and "changed under the run" in str(failed.value)
    restore()
    run(suite, place / "run")
    assert figures(place / "run") == figures(place / "clean")


def test_shards_of_a_run_that_was_killed_are_not_merged_with_those_of_other_data(place):
    suite = written(place)
    run(suite, place / "clean")
    path = min((place / "data" / "mine" / "labels").glob("*.png"))
    change, restore = changed(path)

    # What is changed between the digests and the first image is read, and the run dies before it could tell.
    reporter = Meddling(2, lambda: signal.raise_signal(signal.SIGINT))
    reporter.begin = lambda images: change()
    with pytest.raises(KeyboardInterrupt):
        run(suite, place / "run", reporter)
    assert list((place / "run" / "work").rglob("phase1-*.npz"))
    restore()
    run(suite, place / "run")
    assert figures(place / "run") == figures(place / "clean")


def test_a_data_set_that_reads_its_files_itself_is_asked_for_its_digest(place, plug):  # noqa: F811
    (place / "seed").write_text("0")
    text = (SET % ["a", "b"]).replace('return "0" * 16', f'return open("{place}/seed").read() * 16')
    plug("datasets", "odd", text.replace("height=32", f'seed=int(open("{place}/seed").read()), height=32'))
    suite = written(place, data="odd")
    run(suite, place / "clean")
    with pytest.raises(CellsFailed, match="dataset odd: what its digest stands for changed under the run"):
        run(suite, place / "run", Meddling(1, lambda: (place / "seed").write_text("1")))
    (place / "seed").write_text("0")
    run(suite, place / "run")
    assert figures(place / "run") == figures(place / "clean")


def test_a_file_that_is_touched_put_back_or_gone_is_another(tmp_path):
    path, noted = tmp_path / "a", NotedFiles()
    path.write_text("one")
    note(path)
    with noting(noted):
        note(path)
    assert noted.states.keys() == {path} and noted.changed() is None
    path.write_text("two")
    assert noted.changed() == path
    path.unlink()
    assert noted.changed() == path and noted.newest() == 0

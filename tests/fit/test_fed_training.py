"""Training a flow on a frozen network: what moves, what does not, and what a kill costs."""

import json
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from running import PATIENCE

from bench.api import IGNORE, Source, TrainingContext
from bench.cli.main import main
from bench.contract.network import loaded as load
from bench.core.errors import BadSuite, MissingData, MissingPackage
from bench.core.weights import tensors_digest
from bench.datasets.toytown.scenes import Toytown
from bench.fit import fitted_store
from bench.fit.flow import checkpoint, devices, loop
from bench.fit.trainers.fed import Fed
from bench.models.toynet import LoadedToyNet, ToyNet
from bench.run import train
from bench.suite import expansion as suites

DATA = {"toytown": {"split": "train", "images": 6, "height": 32, "width": 64}}
SHORT = {"iterations": 12, "batch": 2, "warmup": 2, "crop": [32, 64], "statistics_images": 4, "rate": 0.01}
OPTIONS = train.Options(device="cpu", workers=0)


class Silent:
    """A reporter that may end the run."""

    def __init__(self, stop_after=None):
        self.images, self.stop_after, self.stages = 0, stop_after, []

    def begin(self, images):
        self.total = images

    def stage(self, label):
        self.stages.append(label)

    def advance(self, images):
        self.images += images
        if self.stop_after is not None and self.images >= self.stop_after:
            raise KeyboardInterrupt


def asked(method="fed_u", params=None, **changed):
    """A suite with one method to fit."""
    entry = {"fidelity": "corrected", "blocks": 2} | (params or {}) | {"fit": {"data": DATA, **SHORT, **changed}}
    raw = {"protocols": ["misclassification"], "models": ["toynet"], "datasets": [DATA], "methods": [{method: entry}]}
    return suites.expanded(raw, Path("test.yaml"))


def fitted(suite, reporter=None):
    (done,) = train.run(suite, OPTIONS, reporter or Silent())
    return done.fitted


def test_the_published_schedule_is_the_default():
    how = Fed()
    assert (how.iterations, how.batch, how.weight_decay, how.scale, how.flip) == (50_000, 1, 0.01, (0.5, 2.0), 0.5)
    rates = {0: 1e-9, 2_000: 0.5e-3, 4_000: 1e-3, 14_999: 1e-3, 15_000: 1e-4, 30_000: 1e-5, 45_000: 1e-6, 49_999: 1e-6}
    for iteration, rate in rates.items():
        assert how.rate_at(iteration) == pytest.approx(rate, rel=1e-5)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"batch": 3, "accumulate": 2}, r"batch is 3, wanted a multiple of accumulate x devices, 2"),
        ({"scale": [2.0, 0.5]}, r"scale is \[2.0, 0.5\], wanted two factors, the smaller first"),
        ({"iteration": 5}, r"unknown parameter of trainer 'fed': 'iteration'; did you mean 'iterations'"),
    ],
)
def test_a_schedule_that_makes_no_sense(given, said):
    with pytest.raises(Exception, match=said):
        asked(**given)


@pytest.mark.parametrize(("method", "params"), [("fed_u", {}), ("fed_c", {"pooled": 8})])
def test_training_lowers_the_loss_and_leaves_the_network_alone(method, params, monkeypatch):
    """Every network that a training loads is looked at afterwards."""
    loaded = []
    read = ToyNet.load
    monkeypatch.setattr(ToyNet, "load", lambda self, device: loaded.append(read(self, device)) or loaded[-1])
    found = fitted(asked(method, params, iterations=80, cache=True))
    losses = [loss for _, loss in found.about["losses"]]
    assert np.mean(losses[-10:]) < 0.9 * np.mean(losses[:10])
    (network,) = loaded
    fresh = read(ToyNet(), "cpu")
    assert tensors_digest(network.module().state_dict()) == found.about["base_digest"]
    assert tensors_digest(fresh.module().state_dict()) == found.about["base_digest"]
    assert not any(part.training for part in network.module().modules())
    assert all(one.grad is None and not one.requires_grad for one in network.module().parameters())


@pytest.mark.parametrize("params", [{}, {"fidelity": "reference"}], ids=["corrected", "reference"])
def test_a_training_that_was_stopped_ends_with_the_same_bits(params, home, monkeypatch):
    monkeypatch.setattr(loop, "KEEP_SECONDS", 0.0)
    whole = fitted(asked(params=params))
    fitted_store.path_of(whole.key).unlink()
    with pytest.raises(KeyboardInterrupt):
        fitted(asked(params=params), Silent(stop_after=4 + 14))
    (kept,) = (home / "training").glob("*/checkpoint.pt")
    assert torch.load(kept, weights_only=True)["iteration"] in {6, 7}
    reporter = Silent()
    again = fitted(asked(params=params), reporter)
    assert "going on" in " ".join(reporter.stages)
    assert again.state.keys() == whole.state.keys() and again.about["losses"] == whole.about["losses"]
    for name, tensor in whole.state.items():
        assert np.array_equal(again.state[name], tensor), name
    assert not list((home / "training").iterdir())


@pytest.mark.slow
def test_a_training_that_was_killed_ends_with_the_same_bits(home):
    """SIGKILL in the middle of iteration 8, in a process of its own."""
    line = ["fit", "fed_u:blocks=2", "--model", "toynet", "--data", json.dumps(DATA), "--device", "cpu"]
    line += ["--threads", "1", "--workers", "0"]
    line += [f"--set={name}={json.dumps(value)}" for name, value in SHORT.items()]
    program = (
        "import os, signal, sys\n"
        "from bench.run import train as training\n"
        "from bench.cli.main import main\n"
        "from bench.fit.flow import loop\n"
        "loop.KEEP_SECONDS = 0.0\n"
        "inner, count = loop._Run._step, []\n"
        "def step(self, stepping, iteration, *rest):\n"
        "    if iteration == 8 and os.environ.get('KILL'): os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return inner(self, stepping, iteration, *rest)\n"
        "loop._Run._step = step\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    states = []
    for kill in (None, "1"):
        place = home / str(kill)
        environment = os.environ | {"BENCH_HOME": str(place)}
        if kill:
            killed = subprocess.run([sys.executable, "-c", program, *line], env=environment | {"KILL": "1"})
            assert killed.returncode == -signal.SIGKILL
            assert not (place / "fitted").exists()
        assert subprocess.run([sys.executable, "-c", program, *line], env=environment).returncode == 0
        (file,) = (place / "fitted").glob("*.safetensors")
        states.append(checkpoint.read(file).state)
    assert all(np.array_equal(states[0][name], states[1][name]) for name in states[0])


def test_a_damaged_checkpoint_is_named(home, monkeypatch):
    monkeypatch.setattr(loop, "KEEP_SECONDS", 0.0)
    with pytest.raises(KeyboardInterrupt):
        fitted(asked(), Silent(stop_after=10))
    (kept,) = (home / "training").glob("*/checkpoint.pt")
    kept.write_bytes(b"nothing")
    with pytest.raises(MissingData, match=r"checkpoint.pt cannot be read: .*; delete it and the training starts again"):
        fitted(asked())


def test_a_cache_spares_the_network_all_epochs_but_the_first(monkeypatch):
    seen = []
    look = LoadedToyNet.predict
    monkeypatch.setattr(LoadedToyNet, "predict", lambda self, views: seen.extend(views) or look(self, views))
    found = fitted(asked("fed_c", {"pooled": 8}, cache=True, iterations=9))
    assert len(seen) == 4 + 6  # class statistics, and each image once although 18 are drawn
    assert found.about["losses"][-1][1] < found.about["losses"][0][1]


def test_run_names_the_line_that_trains_and_goes_on_once_it_was_typed(tmp_path, capsys):
    """The line works as it is printed, and its outcome is found; a file of it works by path too."""
    suite = tmp_path / "fed.yaml"
    text = {
        "protocols": ["misclassification"],
        "models": ["toynet"],
        "datasets": [{"toytown": {"images": 2, "height": 32, "width": 64}}],
        "methods": [{"fed_c": {"blocks": 2, "pooled": 8, "label": "fed_c", "fit": {"data": DATA, **SHORT}}}],
        "bootstrap": 0,
    }
    suite.write_text(json.dumps(text))
    arguments = ["run", str(suite), "--out", str(tmp_path / "run"), "--workers", "0"]
    assert main(arguments) == 2
    said = capsys.readouterr().err
    assert "fed_c was not trained yet for toynet on toytown" in said
    line = shlex.split(said.partition("type: ")[2].strip())
    assert line[:2] == ["bench", "fit"]
    file = tmp_path / "fed_c.safetensors"
    assert main([*line[1:], "--device", "cpu", "--threads", "1", "--workers", "0", "--out", str(file)]) == 0
    assert main(arguments) == 0
    text["methods"] = [{"fed_c": {"weights": "fed_c.safetensors"}}]
    suite.write_text(json.dumps(text))
    assert main([*arguments[:3], str(tmp_path / "other"), "--workers", "0"]) == 0
    results = [json.loads(next((tmp_path / run / "cells").glob("*.json")).read_text()) for run in ("run", "other")]
    assert results[0]["metrics"] == results[1]["metrics"]
    assert main(["fit", str(suite)]) == 2
    assert "no method of it has a fit" in capsys.readouterr().err


def test_a_suite_fits_what_it_declares_once(tmp_path, capsys):
    methods = ["msp", {"msp": {"fit": {"data": DATA}, "label": "msp (T)"}}]
    methods += [{"fed_u": {"blocks": 1, "label": "fed_u", "fit": {"data": DATA, **SHORT}}}]
    text = {"protocols": ["misclassification"], "models": ["toynet"], "datasets": [DATA], "methods": methods}
    (tmp_path / "two.yaml").write_text(json.dumps(text))
    for again in (False, True):
        line = ["fit", str(tmp_path / "two.yaml"), "--device", "cpu", "--threads", "1", "--workers", "0"]
        assert main(line) == 0
        said = capsys.readouterr().out
        assert said.count("(was there already)") == 2 * again and "msp (T)" in said and "fed_u" in said


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (["fed_u", "--model", "toynet"], "wanted the network and the data: --model NAME --data NAME"),
        (["fed", "--model", "toynet"], "fit fed: is a trainer; name a method that it trains: fed_c, fed_u"),
        (["demo", "--model", "toynet"], "is no method, and a suite says itself what its models, data"),
        (["maxlogit", "--model", "toynet", "--data", "toytown"], "'maxlogit' has nothing to fit"),
        (
            ["fed_c", "--model", "toynet", "--data", "toytown:split=anomaly", "--set", "rate=no"],
            "rate of trainer 'fed'",
        ),
    ],
)
def test_lines_that_cannot_be_fitted(line, said, capsys):
    assert main(["fit", *line]) == 2
    assert said in capsys.readouterr().err


def test_void_is_ignored_by_one_fidelity_and_positive_in_the_other():
    data = Toytown(split="train", images=1, height=32, width=64)
    network = load(ToyNet(), "cpu")
    sample = data.load(0)
    image, labels = loop._whole(sample, torch.device("cpu"))
    labels[:5] = IGNORE
    wrong = {}
    for void_counts in (False, True):
        reader = loop._Reader(Fed(), _context(network, data), 0, void_counts=void_counts)
        (seen,) = reader._look([(sample.id, image)], devices.Devices("cpu", "float32"))
        wrong[void_counts] = reader._made(seen, labels).wrong
    void = labels == IGNORE
    assert (wrong[False][void] == IGNORE).all() and (wrong[True][void] == 1).all()
    assert torch.equal(wrong[False][~void], wrong[True][~void]) and not (wrong[True] == IGNORE).any()


def _context(network, data):
    return TrainingContext(network, Source(data, None), {}, None, 0, "cpu", None, None, None)


def test_batches_normalise_by_themselves_in_reference_and_nothing_stays():
    network = load(ToyNet(), "cpu")
    module = network.module()
    before = {name: one.clone() for name, one in module.state_dict().items()}
    image = torch.rand(1, 3, 32, 64, generator=torch.Generator().manual_seed(0)) * 255
    with torch.no_grad():
        plain = module(image)[1]
        with loop._mode(module, "reference"):
            assert not torch.allclose(module(image)[1], plain)
        with loop._mode(module, "corrected"):
            assert torch.equal(module(image)[1], plain)
        assert torch.equal(module(image)[1], plain)
    assert all(torch.equal(one, before[name]) for name, one in module.state_dict().items())


def test_a_crop_beyond_the_image_is_filled_and_a_full_one_is_drawn_again():
    dice = np.random.default_rng(0)
    image, labels = torch.zeros(3, 20, 30, dtype=torch.uint8), torch.zeros(20, 30, dtype=torch.uint8)
    how = Fed(scale=(1.0, 1.0), flip=0.0)
    pixels, larger = loop._augmented(image, labels, how, (24, 40), dice)
    assert pixels.shape == (3, 24, 40) and larger.shape == (24, 40)
    assert (larger[20:] == IGNORE).all() and (larger[:, 30:] == IGNORE).all() and (larger[:20, :30] == 0).all()
    assert pixels[:, -1, -1].tolist() == list(loop.MEAN_COLOUR)
    labels[:, 15:] = 1
    for seed in range(20):
        top, left, bottom, right = loop._place(labels, (20, 8), 0.75, np.random.default_rng(seed))
        inside = labels[top:bottom, left:right].float().mean()
        assert 0.25 <= inside <= 0.75 or seed_gave_up(labels, seed)


def seed_gave_up(labels, seed):
    """Ten draws in a row outside the range are possible, and then the last one is taken."""
    dice = np.random.default_rng(seed)
    draws = [(int(dice.integers(0, 1)), int(dice.integers(0, 23)))[1] for _ in range(loop.DRAWS)]
    return all(not 0.25 < labels[:, left : left + 8].float().mean() < 0.75 for left in draws)


def test_several_devices_need_fabric(monkeypatch):
    monkeypatch.setitem(sys.modules, "lightning_fabric", None)
    with pytest.raises(
        MissingPackage, match=r'devices is 2: .*pip install "ood-seg-bench\[train\]", or say devices: 1'
    ):
        devices.on(2, "cpu", "float32")
    with pytest.raises(BadSuite, match=r"precision is float16, which needs a GPU; say bfloat16 or float32"):
        devices.on(1, "cpu", "float16")


def test_shares_of_a_batch_add_up():
    """The mean over two shares of equally many pixels is the mean over the batch, and so is its gradient."""
    found = torch.randn(4, 2, 6, 7, generator=torch.Generator().manual_seed(0), requires_grad=True)
    wrong = (torch.rand(4, 12, 14, generator=torch.Generator().manual_seed(1)) < 0.3).byte()
    batch = loop.Batch(found, None, wrong)
    whole = torch.autograd.grad(loop._loss(found, wrong), found)[0]
    parts = [batch.share(index, 2) for index in range(2)]
    halves = sum(loop._loss(part.logits, part.wrong) / 2 for part in parts)
    torch.testing.assert_close(torch.autograd.grad(halves, found)[0], whole)
    wrong[0] = IGNORE
    assert loop._loss(found[:1], wrong[:1]).item() == 0


@pytest.mark.slow
def test_two_devices_share_a_training(tmp_path, home):
    """Two processes on the CPU by Lightning Fabric: the loss falls, one file is written."""
    pytest.importorskip("lightning_fabric")
    line = [sys.executable, "-m", "bench", "fit", "fed_u:blocks=2", "--model", "toynet", "--data", json.dumps(DATA)]
    line += ["--device", "cpu", "--threads", "1", "--workers", "0", "--set", "devices=2", "--set", "accumulate=2"]
    line += [f"--set={name}={json.dumps(value)}" for name, value in (SHORT | {"batch": 4}).items()]
    done = subprocess.run(
        line, capture_output=True, text=True, timeout=PATIENCE, env=os.environ | {"BENCH_HOME": str(home)}
    )
    assert done.returncode == 0, done.stderr
    (file,) = (home / "fitted").glob("*.safetensors")
    losses = fitted_store.load(file.stem).about["losses"]
    assert losses[-1][1] < losses[0][1]


def test_one_training_serves_every_scale_and_size():
    """What happens to whole images is no part of what a flow is made from; the printed line leaves it out."""
    keys, lines = set(), set()
    for inference in ({}, {"scales": [1.0, 0.5], "flip": True}, {"size": [64, 128]}):
        suite = asked()
        (cell,) = suite.cells
        model = suites.make_ref("model", "toynet", {"inference": inference}, Path("test.yaml"), 0)
        keys.add(fitted_store.key_of(fitted_store.origin(cell.method, model, "model", "data", 0, None)))
        lines.add(fitted_store.command(cell.method, model, 0))
    assert len(keys) == 1
    (line,) = lines
    assert "--model toynet --data" in line
    window = suites.make_ref("model", "toynet", {"inference": {"window": [32, 32]}}, Path("test.yaml"), 0)
    assert fitted_store.key_of(fitted_store.origin(cell.method, window, "model", "data", 0, None)) not in keys
    assert """--model '{"toynet": {"inference": {"window": [32, 32]}}}'""" in fitted_store.command(
        cell.method, window, 0
    )


@pytest.mark.parametrize(
    ("name", "cells"),
    [
        ("fishyscapes_fed", 120),
        ("smiyc_fed", 30),
        ("smiyc_obstacle_fed", 30),
        ("cityscapes_fed", 64),
        ("cityscapes_c_fed", 1952),
    ],
)
def test_the_suites_of_the_source_s_protocol(name, cells):
    """Names, parameters and pairs are right; scores are merged per view, images resized as OpenCV does it."""
    suite = suites.load(suites.locate(name))
    assert len(suite.cells) == cells
    models = {cell.model: cell.model.build() for cell in suite.cells}
    assert {model.inference.resize for model in models.values()} == {"opencv"}
    assert (1.0, 0.5, 0.25) in {model.inference.scales for model in models.values()}
    windows = {(model.name, model.inference.window) for model in models.values()}
    assert windows == {("deeplabv3plus_r101_cityscapes", None), ("segformer_b2_cityscapes", (1024, 1024))}
    methods = {cell.method: cell.method.build() for cell in suite.cells if cell.method}
    assert {method.merge for method in methods.values()} == {"views"}
    assert {method.name for method in methods.values()} >= {"fed_u", "fed_c", "msp", "sml", "mc_dropout"}
    orders = {cell.dataset.corruption.order for cell in suite.cells if cell.dataset.corruption}
    assert orders == ({"bgr"} if name == "cityscapes_c_fed" else set())

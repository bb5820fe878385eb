"""One image of each data set through each network before a run: what would fail in every cell is said beforehand."""

import gc
import re
import weakref

import pytest
from running import Silent

from bench.cli.main import main
from bench.models import numerics
from bench.run import preflight, trial
from bench.suite import expansion, registry

NET = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, {classes}, 1)

    def forward(self, x):
        {before}
        return {gives}

def build():
    return Net()
"""
GOOD = {"classes": 19, "before": "pass", "gives": "self.conv(x)"}
SUITE = """
protocols: [misclassification, miou]
models: {models}
datasets:
  - toytown: {{split: anomaly, images: 3, height: 64, width: 128, label: road}}
  - toytown: {{split: anomaly, images: 2, height: 32, width: 64, label: lane}}
methods: [msp, maxlogit]
bootstrap: 0
"""
PAIR = "[{python: {factory: 'net.py:build', label: mine}}]"


@pytest.fixture
def suite(tmp_path):
    """A function that writes a suite with a network of one's own, and returns its path."""

    def write(text=SUITE, models=PAIR, **net):
        (tmp_path / "net.py").write_text(NET.format(**GOOD | net))
        (tmp_path / "s.yaml").write_text(text.format(models=models))
        return tmp_path / "s.yaml"

    return write


def checked(path, capsys, *options):
    """Status and what ``bench check`` says, both streams."""
    status = main(["check", str(path), *options])
    captured = capsys.readouterr()
    return status, captured.out + captured.err


def test_a_network_that_works_is_ready_and_leaves_nothing(suite, capsys, tmp_path):
    status, text = checked(suite(), capsys)
    assert status == 0 and "6 cells" in text and text.endswith("ready to run\n")
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "__pycache__") == ["net.py", "s.yaml"]


@pytest.mark.parametrize(
    ("net", "words"),
    [
        ({"classes": 20}, r"gives logits \[20, \d+, \d+\], wanted \[19, h, w\]"),
        ({"gives": "(self.conv(x), x)"}, r"gives 2 outputs, the suite's outputs are logits"),
        ({"gives": "self.conv(x) / 0 * 0"}, r"logits is not finite everywhere"),
        ({"before": "raise ValueError('at fault')"}, r"ValueError: at fault \(net\.py:\d+\)"),
        ({"gives": "[1]"}, r"gives"),
    ],
)
def test_what_fails_everywhere_is_said_once_with_all_its_cells(net, words, suite, capsys):
    status, text = checked(suite(**net), capsys)
    assert status == 2 and "ready to run" not in text
    assert "s: 6 of 6 cells would have no figures; repair this first:" in text
    (line,) = [line for line in text.splitlines() if re.search(words, line)]
    assert re.search(r"6 cells: .*mine.*\(seen on road/\S+\)", line)


def test_no_network_skips_it(suite, capsys):
    status, text = checked(suite(classes=20), capsys, "--no-network")
    assert status == 0 and text.endswith("ready to run\n")


def test_a_network_that_cannot_be_loaded_is_said_once(suite, capsys, tmp_path):
    path = suite()
    (tmp_path / "net.py").write_text("def build():\n    return 3\n")
    status, text = checked(path, capsys)
    assert status == 2 and len(re.findall("wanted a torch", text)) == 1
    assert re.search(r"6 cells: .*returned int, wanted a torch\.nn\.Module", text)


def test_what_fails_on_one_data_set_alone_fails_its_cells(suite, capsys):
    path = suite(before="assert x.shape[-1] == 128, 'one width'")
    status, text = checked(path, capsys)
    assert status == 2 and re.search(r"3 of 6 cells would .*\n  3 cells: .*one width .*\(seen on lane/", text)


def test_other_networks_are_tried_after_one_that_fails(suite, capsys):
    status, text = checked(suite(classes=20, models=f"{PAIR[:-1]}, toynet]"), capsys)
    assert status == 2 and "6 of 12 cells would have no figures" in text


METHOD = '''
from bench.api import Method

class Odd(Method):
    """Fails."""

    name = "odd"
    source = "none"
    needs = frozenset({"logits"})

    def score(self, prediction, state):
        raise KeyError("nothing of that name")
'''


def test_each_method_scores_the_image(suite, capsys, tmp_path, monkeypatch, request):
    (tmp_path / "plugins" / "methods").mkdir(parents=True)
    (tmp_path / "plugins" / "methods" / "odd.py").write_text(METHOD)
    monkeypatch.setenv("BENCH_PLUGINS", str(tmp_path / "plugins"))
    registry.forget()
    request.addfinalizer(registry.forget)
    path = suite(SUITE.replace("[msp, maxlogit]", "[msp, odd]"))
    status, text = checked(path, capsys)
    assert status == 2 and re.search(r"2 of 6 cells .*\n  2 cells: .*odd: KeyError: 'nothing of that name'", text)


def test_of_a_grid_of_corruptions_one_stands_for_all(suite, capsys):
    grid = SUITE.split("datasets")[0].replace("misclassification, miou", "anomaly") + (
        "datasets:\n  - toytown: {{split: anomaly, images: 2, height: 64, width: 128, label: town,"
        " corruptions: {{names: [fog, snow], severities: [1, 2]}}}}\nmethods: [msp]\nbootstrap: 0\n"
    )
    status, text = checked(suite(grid, classes=20), capsys)
    assert status == 2 and re.search(r"4 of 4 cells .*\n  4 cells: .*gives logits \[20, ", text)


@pytest.mark.slow
def test_networks_are_held_one_at_a_time(suite, monkeypatch):
    alive = []
    load = trial.Worker.network

    def count(self, ref, resolved):
        network = load(self, ref, resolved)
        gc.collect()
        alive[:] = [other for other in alive if other() is not None]
        if all(other() is not network for other in alive):
            alive.append(weakref.ref(network))
        assert len(alive) == 1
        return network

    monkeypatch.setattr(trial.Worker, "network", count)
    loaded = expansion.load(suite(models=f"{PAIR[:-1]}, toynet]"))
    seen = preflight.check(loaded)
    assert trial.causes(loaded, seen, numerics.resolve(loaded.numerics), Silent()) == []


def test_a_method_that_is_to_be_fitted_first_leaves_the_network_to_be_tried(suite, capsys):
    fitted = "[{{energy: {{fit: {{data: {{toytown: {{split: train, images: 2, height: 64, width: 128}}}}}}}}}}]"
    path = suite(SUITE.replace("[msp, maxlogit]", fitted), classes=20)
    status, text = checked(path, capsys)
    assert status == 2 and "4 of 4 cells" in text

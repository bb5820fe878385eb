"""What networks cost: multiply-adds worked out by hand, and columns of tables where they are asked for."""

import csv
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from bench.api import Inference, Sample, View
from bench.cli.main import main
from bench.contract.network import loaded
from bench.models import multiply_adds
from bench.models.numerics import Numerics
from bench.results import costs, store
from bench.suite import registry

NUMERICS = Numerics("cpu", "cpu", 1, "")
SIZE = (32, 64)
# Four strided filters and a classifier on 8 x 16 cells: 16 of 3 x 3 x 3, then 19 of 16.
BY_HAND = 8 * 16 * (16 * 27 + 19 * 16)


def sample(name="s", size=SIZE):
    return Sample(name, size, lambda: np.zeros((*size, 3), np.uint8))


def network(tiny, **parameters):
    entry = {"factory": f"{tiny.parent / 'net.py'}:build", **parameters}
    return loaded(registry.build("model", "python", entry, where=""), "cpu")


def test_counting_is_what_torch_counts_and_imports_no_compiler():
    """The counter of torch imports its compiler, which takes five seconds of every process."""
    program = """
import sys, numpy as np
from bench.api import Sample
from bench.contract.network import loaded
from bench.models import multiply_adds
from bench.models.numerics import Numerics
from bench.suite import registry
network = loaded(registry.build("model", "toyquery", {}, where=""), "cpu")
image = np.zeros((32, 64, 3), np.uint8)
count = multiply_adds.of_image(network, Sample("s", (32, 64), lambda: image), Numerics("cpu", "cpu", 1, ""))
print(count, "torch._dynamo" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    count, compiled = done.stdout.split()
    alone = loaded(registry.build("model", "toyquery", {}, where=""), "cpu")
    view = View("s", torch.zeros(3, *SIZE, dtype=torch.uint8), 1.0, False, (0, 0, *SIZE), SIZE, SIZE)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        alone.predict([view])
    assert (int(count), compiled) == (counter.get_total_flops() // 2, "False")


def test_multiply_adds_are_those_of_all_views(tiny):
    assert multiply_adds.of_image(network(tiny), sample(), NUMERICS) == BY_HAND
    views = {"window": [32, 32], "flip": True}
    assert multiply_adds.of_image(network(tiny, inference=views), sample(), NUMERICS) == 2 * BY_HAND
    assert multiply_adds.of_image(network(tiny), sample(size=(64, 64)), NUMERICS) == 2 * BY_HAND
    ensemble = registry.build("model", "ensemble", {"members": ["toynet"], "flip": True}, where="")
    alone = loaded(registry.build("model", "toynet", {}, where=""), "cpu")
    assert multiply_adds.of_image(loaded(ensemble, "cpu"), sample(), NUMERICS) == 2 * multiply_adds.of_image(
        alone, sample(), NUMERICS
    )


def test_a_size_is_counted_once_and_what_cannot_be_counted_is_nothing(tiny, monkeypatch):
    counted = network(tiny)
    first = multiply_adds.of_image(counted, sample(), NUMERICS)

    def fails(views):
        raise RuntimeError("no kernel for that")

    monkeypatch.setattr(counted, "predict", fails)
    assert multiply_adds.of_image(counted, sample("other"), NUMERICS) == first
    assert multiply_adds.of_image(counted, sample(size=(64, 64)), NUMERICS) == 0
    assert multiply_adds.of_image(network(tiny), sample(), Numerics("cpu", "cpu", 1, "", compile=True)) == 0


def test_counting_changes_no_digit_and_leaves_a_network_with_a_state_as_it_is_loaded():
    model = registry.build("model", "batch_norm_adapted", {"base": "toynet", "state": "ordered"}, where="")
    pixels = torch.zeros(3, *SIZE, dtype=torch.uint8)
    view = View("s", pixels, 1.0, False, (0, 0, *SIZE), SIZE, SIZE)
    one, other = loaded(model, "cpu"), loaded(model, "cpu")
    assert multiply_adds.of_image(one, sample(), NUMERICS) > 1e6
    one.reset()
    assert torch.equal(one.predict([view])[0].raw["logits"], other.predict([view])[0].raw["logits"])
    assert isinstance(one.module(), nn.Module) and model.inference == Inference()


@pytest.fixture
def run(tiny, tmp_path):
    text = tiny.read_text().replace("images: 10", "images: 3").replace("  - python:", "  - toynet\n  - python:")
    tiny.write_text(text.replace("[msp, maxlogit, {energy: {temperature: 2}}, entropy]", "[msp, entropy]"))
    assert main(["run", str(tiny), "--out", str(tmp_path / "run"), "--workers", "0", "--shard", "2"]) == 0
    return tmp_path / "run"


def test_tables_have_costs_where_they_are_asked_for(run, tmp_path):
    results = store.read_run(run)
    known = {result.labels.model: result.about["model"].get("multiply_adds") for result in results.results}
    assert known["tiny"] == BY_HAND and known["toynet"] > 1e6
    spent = {(each.model, each.method): each for each in costs.cost(results)}
    networks = {each.model: each for each in costs.of_networks(results)}
    assert networks.keys() == {"tiny", "toynet"} and networks["tiny"].own is None and networks["tiny"].forward > 0

    def report(kind, *options):
        out = tmp_path / f"report.{kind}"
        assert main(["report", str(run), "--format", kind, "--out", str(out), *options]) == 0
        return out.read_text(encoding="utf-8")

    names = "multiply_adds,network_ms,method_ms,memory_mb"
    for kind in ("md", "csv"):
        assert not any(word in report(kind) for word in ("network_ms", "Network, ms", "Memory, MB"))
    text = report("md", "--columns", f"parameters,{names}")
    assert "Multiply-adds | Network, ms | Method, ms | Memory, MB".replace(" ", "") in text.replace(" ", "")
    assert "9.42e-05G" in text.replace(" ", "")
    rows = list(csv.DictReader(report("csv", "--columns", f"model,method,protocol,{names}").splitlines()))
    for row in rows:
        if row["method"]:
            pair = spent[row["model"], row["method"]]
            assert float(row["network_ms"]) == pair.forward and float(row["method_ms"]) == pair.own
        else:
            assert row["method_ms"] == "" and float(row["network_ms"]) == networks[row["model"]].forward
        assert int(row["multiply_adds"]) == known[row["model"]] and float(row["memory_mb"]) > 10
    assert '<span class="head">multiply-adds</span>' in report("html")


STATES = """
protocols: [anomaly]
models:
  - batch_norm_adapted: {base: toynet, state: ordered, label: in order}
  - batch_norm_adapted: {base: toynet, label: by image}
datasets:
  - toytown: {split: anomaly, images: 2, height: 32, width: 64}
methods: [msp]
bootstrap: 10
"""


def test_tables_and_pages_say_which_networks_images_change(tmp_path, capsys):
    (tmp_path / "suite.yaml").write_text(STATES)
    out = tmp_path / "run"
    assert main(["run", str(tmp_path / "suite.yaml"), "--out", str(out), "--workers", "0", "--gallery", "1"]) == 0
    capsys.readouterr()
    assert main(["show", str(out)]) == 0
    texts = {"terminal": capsys.readouterr().out}
    for kind in ("md", "html"):
        path = tmp_path / f"report.{kind}"
        assert main(["report", str(out), "--format", kind, "--out", str(path)]) == 0
        texts[kind] = path.read_text(encoding="utf-8")
    for kind, text in texts.items():
        assert "figures are those of one order" in " ".join(text.split()), kind
    text = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "The network adapts to each image, and forgets it before the next: by image." in text
    assert main(["report", str(out), "--format", "md", "--out", str(tmp_path / "s.md"), "--columns", "state"]) == 0
    assert "per image" in (tmp_path / "s.md").read_text(encoding="utf-8")

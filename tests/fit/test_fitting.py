"""What is fitted is addressed by what made it, kept once, and used by every method that shares it."""

import json

import numpy as np
import pytest
import torch

from bench.api import Prediction, Sample
from bench.cli.main import main
from bench.core.errors import MissingData
from bench.fit import fitted_store
from bench.fit.trainers.temperature import Temperature
from bench.suite import expansion as suites


def stream(temperature, images=3, seed=0):
    """Labels drawn from softmax(z / T): the likelihood has its optimum near T."""
    generator = torch.Generator().manual_seed(seed)
    for index in range(images):
        logits = 4 * torch.randn(19, 60, 80, generator=generator)
        probabilities = (logits / temperature).softmax(0).flatten(1).T
        labels = torch.multinomial(probabilities, 1, generator=generator).reshape(60, 80).to(torch.uint8).numpy()
        labels[:5] = 255
        yield Prediction({"logits": logits}, (60, 80)), Sample(f"s{index}", (60, 80), lambda: None, labels=labels)


@pytest.mark.parametrize("temperature", [0.4, 1.0, 2.5])
def test_the_temperature_is_the_one_that_made_the_labels(temperature):
    fitted = Temperature().fit(stream(temperature), 0)["temperature"]
    assert float(fitted) == pytest.approx(temperature, rel=0.05)


def test_the_temperature_minimises_the_likelihood():
    parts = list(stream(1.7))
    fitted = float(Temperature().fit(iter(parts), 0)["temperature"])

    def loss(temperature):
        total = 0.0
        for prediction, sample in parts:
            labels = torch.from_numpy(sample.labels).long()
            total += torch.nn.functional.cross_entropy(
                prediction.logits[None].double() / temperature, labels[None], ignore_index=255, reduction="sum"
            ).item()
        return total

    around = np.linspace(0.97, 1.03, 61) * fitted
    best = around[int(np.argmin([loss(temperature) for temperature in around]))]
    assert fitted == pytest.approx(best, rel=2e-3)


def test_nothing_labelled_is_refused():
    prediction, sample = next(stream(1.0, 1))
    sample.labels[:] = 255
    with pytest.raises(MissingData, match="no labelled pixel"):
        Temperature().fit([(prediction, sample)], 0)


FITTED = "{{{method}: {{fit: {{data: {{toytown: {{split: train, images: 3, height: 32, width: 64}}}}}}}}}}"


def test_a_suite_fits_once_for_all_methods_and_says_what(tiny, tmp_path, home, capsys):
    chosen = ", ".join(FITTED.format(method=method) for method in ("msp", "energy", "entropy"))
    tiny.write_text(tiny.read_text().replace("[msp, maxlogit, {energy: {temperature: 2}}, entropy]", f"[{chosen}]"))
    out = tmp_path / "run"
    assert main(["run", str(tiny), "--out", str(out), "--only", "protocol=misclassification", "--workers", "0"]) == 0
    (kept,) = (home / "fitted").glob("*.safetensors")
    fitted = fitted_store.load(kept.stem)
    assert fitted.origin["by"] == {"trainer": "temperature"} and fitted.state["temperature"].shape == ()
    for path in (out / "cells").glob("*.json"):
        said = json.loads(path.read_text())["fitted"]
        assert said["key"] == kept.stem and said["scalars"]["temperature"] == float(fitted.state["temperature"])
    before = kept.stat().st_mtime_ns
    assert main(["run", str(tiny), "--out", str(tmp_path / "again"), "--workers", "0"]) == 0
    assert kept.stat().st_mtime_ns == before


def test_a_broken_fitted_file_is_named(home):
    path = fitted_store.path_of("0" * 16)
    path.parent.mkdir(parents=True)
    path.write_bytes(b"not safetensors")
    with pytest.raises(MissingData, match="delete it and it will be fitted again"):
        fitted_store.load("0" * 16)


def test_the_data_of_a_fit_is_part_of_the_key(tiny):
    one = suites.load(tiny, {"methods": [{"msp": {"fit": {"data": "toytown"}}}]})
    other = suites.load(tiny, {"methods": [{"msp": {"fit": {"data": {"toytown": {"split": "train"}}}}}]})
    assert {cell.key for cell in one.cells if cell.method}.isdisjoint(cell.key for cell in other.cells if cell.method)

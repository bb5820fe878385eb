"""Batches of several images, layouts and compilers: what is chosen in a suite, and what it does to digits."""

import shutil
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from running import metrics, run

from bench.api import Sample
from bench.contract.network import loaded
from bench.core.errors import BadPlugin, BadSuite
from bench.models import inference, numerics
from bench.models.acceleration import accelerate
from bench.models.numerics import Numerics
from bench.models.toynet import ToyNet
from bench.suite.schema import NumericsRule


def numerics_of(**rule):
    return numerics.resolve(NumericsRule(device="cpu", **rule))


def sample(number, size=(32, 48)):
    image = np.random.default_rng(number).integers(0, 256, (*size, 3), dtype=np.uint8)
    return Sample(f"s{number}", size, lambda: image)


def logits(samples, **rule):
    network = loaded(ToyNet(), "cpu")
    how = numerics_of(**rule)
    accelerate(network, how)
    with torch.no_grad():
        looked = inference.look_together(network, samples, how, 0, {})
    return [merged.logits for _, merged in looked]


def test_what_is_said_of_an_image_depends_on_the_size_of_its_batch_alone():
    one, two, three, other = sample(1), sample(2), sample(3), sample(4, (48, 32))
    alone = logits([one], batch=3)[0]
    assert torch.equal(logits([one, two, three], batch=3)[0], alone)
    assert torch.equal(logits([two, other, three, one], batch=3)[3], alone), "in another place, beside others"
    torch.testing.assert_close(alone, logits([one])[0], rtol=0, atol=1e-4)


def test_a_network_that_takes_one_at_a_time_never_sees_two_images_together():
    network = loaded(ToyNet(), "cpu")
    network.batched, predict, saw = False, network.predict, []
    network.predict = lambda views: saw.append({view.sample for view in views}) or predict(views)
    inference.look_together(network, [sample(1), sample(2)], numerics_of(batch=4), 0, {})
    assert saw == [{"s1"}, {"s2"}]


@pytest.mark.parametrize("scoring", ["auto", "torch"])
def test_batches_change_no_digit_whatever_the_shards_and_little_else(tiny, tmp_path, scoring):
    only = {"protocol": "misclassification"}
    plain = metrics_of(tiny, tmp_path / "plain", only, f"{{scoring: {scoring}}}")
    batched = metrics_of(tiny, tmp_path / "batched", only, f"{{scoring: {scoring}, batch: 4}}")
    assert batched == metrics_of(tiny, tmp_path / "shards", only, f"{{scoring: {scoring}, batch: 4}}", shard=1)
    assert batched.keys() == plain.keys()


def metrics_of(suite, folder, only, numerics, **options):
    path = suite.with_name(f"{folder.name}.yaml")
    path.write_text(f"{suite.read_text()}numerics: {numerics}\n")
    run(path, folder, only=only, **options)
    return metrics(folder)


def test_a_module_that_takes_one_image_at_a_time_is_refused_a_batch(tiny, tmp_path):
    net = tiny.with_name("net.py")
    net.write_text(NET)
    tiny.write_text(tiny.read_text() + "numerics: {batch: 4}\n")
    with pytest.raises(Exception, match=r"gives 1 predictions of a batch of 4 images; say numerics: \{batch: 1\} if"):
        run(tiny, tmp_path / "run", only={"method": "msp", "protocol": "misclassification"})


NET = """
import torch
from torch import nn


def build():
    torch.manual_seed(7)
    return Alone()


class Alone(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Conv2d(3, 19, 1)

    def forward(self, pixels):
        return self.net(pixels[:1])
"""


def test_a_layout_is_another_digest_and_close():
    close, plain = logits([sample(1)], channels_last=True)[0], logits([sample(1)])[0]
    torch.testing.assert_close(close, plain, rtol=0, atol=1e-4)
    assert numerics_of(channels_last=True).digest() != numerics_of().digest()


def test_choices_that_are_new_leave_older_results_fresh():
    """The digest as it was written before there were any."""
    old = Numerics("cpu", "cpu", 1, "AVX2")
    assert old.digest() == "28a175867b641993"
    others = [replace(old, **{name: True}).digest() for name in ("channels_last", "compile", "graphs", "tf32")]
    assert len({old.digest(), replace(old, batch=2).digest(), *others}) == 6
    assert set(asdict(old)) == set(Numerics.__dataclass_fields__)


@pytest.mark.parametrize(
    ("rule", "words"),
    [({"graphs": True}, "CUDA graphs, and the device is the CPU")],
)
def test_what_a_device_has_not_is_refused(rule, words):
    with pytest.raises(BadSuite, match=words):
        numerics_of(**rule)


def test_two_ways_to_save_launches_are_one_too_many(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    with pytest.raises(BadSuite, match="say one of them"):
        numerics.resolve(NumericsRule(device="cuda", graphs=True, compile=True))


def test_a_network_without_a_module_is_refused_a_layout(monkeypatch):
    network = loaded(ToyNet(), "cpu")

    def none():
        raise BadPlugin("none")

    monkeypatch.setattr(network, "module", none)
    accelerate(network, numerics_of())
    with pytest.raises(BadSuite, match=r"toynet is no torch module, which numerics\.channels_last is for"):
        accelerate(network, numerics_of(channels_last=True))


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("c++") is None, reason="torch.compile needs a C++ compiler on a CPU")
def test_a_compiled_network_says_nearly_the_same():
    close, plain = logits([sample(1)], compile=True)[0], logits([sample(1)])[0]
    torch.testing.assert_close(close, plain, rtol=0, atol=1e-3)

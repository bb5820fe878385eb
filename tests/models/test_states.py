"""Networks that images change: batch normalisation that follows them, orders, workers, and how tables say so."""

from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from bench.api import Sample, View
from bench.cli.main import main
from bench.contract.network import loaded
from bench.core.errors import BadPlugin, BadSuite
from bench.models import inference
from bench.models.acceleration import accelerate
from bench.models.batch_norm_adapted import discrepancies
from bench.models.numerics import Numerics
from bench.models.pipeline import Pipeline
from bench.results import store
from bench.run import score_maps
from bench.suite import expansion, registry
from bench.suite.loader import Loader

NUMERICS = Numerics("cpu", "cpu", 1, "")
SIZE = (48, 64)


def build(**parameters):
    return registry.build("model", "batch_norm_adapted", {"base": "toynet", **parameters}, where="suite.yaml")


def sample(name, seed):
    pixels = np.random.RandomState(seed).randint(0, 255, (*SIZE, 3)).astype(np.uint8)
    return Sample(name, SIZE, lambda: pixels)


IMAGES = [sample("a", 1), sample("b", 2), sample("c", 3)]


def view(image):
    return next(inference.views(image, build().inference, "cpu"))


def logits(network, *images):
    return [inference.look(network, image, NUMERICS, 0, {})[1].raw["logits"] for image in images]


def layers_of(module):
    return [layer for layer in module.modules() if isinstance(layer, nn.BatchNorm2d)]


def trained():
    return loaded(registry.build("model", "toynet", {}, where=""), "cpu")


def test_a_weight_of_nothing_is_the_network_and_of_one_is_normalisation_by_the_image():
    plain = trained()
    (expected,) = logits(plain, IMAGES[0])
    torch.testing.assert_close(logits(loaded(build(mix=0.0), "cpu"), IMAGES[0])[0], expected, rtol=1e-5, atol=1e-5)
    (own,) = logits(loaded(build(mix=1.0), "cpu"), IMAGES[0])
    for layer in layers_of(plain.module()):
        layer.train()
    with torch.no_grad():
        training = plain.module()(view(IMAGES[0]).pixels[None].float())[1][0]
    # Training divides by the biased variance, and adaptation by the unbiased one, as the code of ATTA does.
    assert torch.corrcoef(torch.stack([own.flatten(), training.flatten()]))[0, 1] > 0.99
    assert (own - expected).abs().max() > 1


def test_one_layer_mixes_as_worked_out_by_hand():
    """Of values 1, 3 around mean 0 and variance 1, mixed by a quarter: mean 0.5 and variance 1.25."""

    class Tiny(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm = nn.BatchNorm2d(3, eps=0.0, affine=False)

        def forward(self, x):
            return self.norm(x)

    from bench.models.in_memory import lent

    with lent("tiny", Tiny(), "cpu"):
        entry = {"in_memory": {"network": "tiny", "scale": 1.0, "classes": ["r", "g", "b"]}}
        network = loaded(build(base=entry, mix=0.25), "cpu")
        pixels = torch.tensor([1, 3], dtype=torch.uint8).expand(3, 1, 2)
        (prediction,) = network.predict([View("s", pixels, 1.0, False, (0, 0, 1, 2), (1, 2), (1, 2))])
        expected = torch.tensor([(1 - 0.5) / 1.25**0.5, (3 - 0.5) / 1.25**0.5])
        torch.testing.assert_close(prediction.raw["logits"], expected.expand(3, 1, 2))
        # 3 channels, each log(1 / 1) + (1 + 2 ** 2) / 1 - 1, halved; the variance of 1 and 3 is 1 without correction
        wanted = 3 * 0.5 * (0 + 5 - 1)
        assert network.discrepancy(view(Sample("s", (1, 2), lambda: pixels.permute(1, 2, 0).numpy()))) == pytest.approx(
            wanted, rel=1e-6
        )


def test_the_weight_follows_how_far_an_image_is_from_training():
    network = loaded(build(), "cpu")
    near, far = discrepancies(network, [view(street()), view(IMAGES[0])])
    assert 0 < near < far
    shift = {"mean": near, "std": (far - near) / 100, "threshold": 50.0}
    weights = [build(shift=shift).shift.weight(each) for each in (near, far)]
    assert weights == pytest.approx([1 / (1 + np.exp(5)), 1 / (1 + np.exp(-5))])
    assert build(shift=shift | {"mean": -1e9}).shift.weight(near) == 1 and build(shift=shift).shift.weight(-1e9) == 0
    adapted = loaded(build(shift=shift), "cpu")
    (expected,) = logits(loaded(build(mix=weights[1]), "cpu"), IMAGES[0])
    torch.testing.assert_close(logits(adapted, IMAGES[0])[0], expected)


def street():
    drawn = {"split": "train", "images": 1, "height": 48, "width": 64}
    return registry.build("dataset", "toytown", drawn, where="").load(0)


def test_what_an_image_leaves_behind_matters_only_where_it_is_declared():
    alone = loaded(build(), "cpu")
    forth, back = logits(alone, *IMAGES), logits(alone, *IMAGES[::-1])[::-1]
    assert all(map(torch.equal, forth, back))
    ordered = loaded(build(state="ordered"), "cpu")
    ordered.reset()
    forth = logits(ordered, *IMAGES)
    ordered.reset()
    assert all(map(torch.equal, forth, logits(ordered, *IMAGES)))
    ordered.reset()
    back = logits(ordered, *IMAGES[::-1])[::-1]
    assert not any(map(torch.equal, forth, back))


def test_it_is_asked_again_as_it_was_for_its_view_and_the_weights_stay():
    network = loaded(build(mix=0.5), "cpu")
    before = [layer.running_mean.clone() for layer in layers_of(network.module())]
    first, second = (inference.look(network, image, NUMERICS, 0, {})[0][0][1] for image in IMAGES[:2])
    for seen in (second, first):
        torch.testing.assert_close(seen.classify(seen.raw["features"]), seen.raw["logits"])
        again = seen.again(seen.image.float())
        torch.testing.assert_close(again.raw["logits"], seen.raw["logits"], rtol=1e-4, atol=1e-4)
    assert all(map(torch.equal, before, [layer.running_mean for layer in layers_of(network.module())]))


@pytest.mark.parametrize(
    ("parameters", "complaint"),
    [
        ({"base": {"batch_norm_adapted": {"base": "toynet"}}}, "its base has a state of its own, per_image"),
        ({"state": "ordered", "shift": {"mean": 1.0, "std": 1.0}}, "leave out mix, and state: ordered"),
        ({"mix": 0.2, "shift": {"mean": 1.0, "std": 1.0}}, "leave out mix"),
        ({"inference": {"size": [32, 32]}}, "inference stands in the entry of its base"),
        ({"mix": 1.5}, "from 0 to 1"),
    ],
)
def test_what_cannot_be_adapted_is_refused(parameters, complaint):
    with pytest.raises(BadSuite, match=complaint):
        build(**parameters)


def test_a_network_without_batch_normalisation_or_compiled_is_refused(tiny):
    entry = {"python": {"factory": str(tiny.parent / "net.py") + ":build"}}
    with pytest.raises(BadPlugin, match="python has no batch normalisation"):
        loaded(build(base=entry), "cpu")
    with pytest.raises(BadSuite, match=r"numerics\.compile"):
        accelerate(loaded(build(), "cpu"), Numerics("cpu", "cpu", 1, "", compile=True))


SUITE = """
protocols: [anomaly, miou]
models:
  - toynet
  - batch_norm_adapted: {base: toynet, label: by image}
  - batch_norm_adapted: {base: toynet, state: ordered, label: in order}
datasets:
  - toytown: {split: anomaly, images: 6, height: 48, width: 96}
methods: [msp, {mc_dropout: {passes: 3}}]
numerics: {batch: 2}
bootstrap: 20
"""


def figures(run):
    return {str(result.labels): {name: str(value) for name, value in result.metrics.items()} for result in run.results}


def test_figures_depend_on_neither_workers_nor_shards(tmp_path):
    (tmp_path / "suite.yaml").write_text(SUITE)

    def run(name, *options):
        out = tmp_path / name
        assert main(["run", str(tmp_path / "suite.yaml"), "--out", str(out), *options]) == 0
        return store.read_run(out)

    one = run("one", "--workers", "0", "--shard", "6")
    other = run("other", "--workers", "1", "--processes", "2", "--shard", "2")
    assert figures(one) == figures(other) and len(figures(one)) == 9
    by_model = {result.labels.model: result for result in one.results if result.cell.protocol.name == "miou"}
    assert len({str(result.metrics["miou"]) for result in by_model.values()}) == 3
    states = {model: result.about["model"].get("state") for model, result in by_model.items()}
    assert states == {"toynet": None, "by image": "per_image", "in order": "ordered"}


def ordered_pipeline(images=4):
    drawn = {"split": "anomaly", "images": images, "height": 32, "width": 64}
    data = registry.build("dataset", "toytown", drawn, where="")
    network = loaded(build(state="ordered", mix=0.5), "cpu")
    return Pipeline(network, Loader(data, None, 0), NUMERICS, 0), data


def pictures(seen):
    return [each.predictions[1].raw["logits"] for each in seen]


def test_an_ordered_network_is_shown_what_stands_before_the_images_that_are_asked_for():
    pipeline, _ = ordered_pipeline()
    with closing(pipeline):
        every = pictures(pipeline.images(range(4)))
        assert torch.equal(pictures(pipeline.images([3]))[0], every[3])  # forward, after the end
        assert all(map(torch.equal, pictures(pipeline.images([1, 2])), every[1:3]))  # back, and on
        again = next(iter(pipeline.images([0])))
        assert torch.equal(pipeline.look_again(again, 2, 4).predictions[1].raw["logits"], every[2])
        assert pipeline.multiply_adds(IMAGES[0]) > 0  # which changes the network
        assert torch.equal(pictures(pipeline.images([3]))[0], every[3])
    other, _ = ordered_pipeline()
    with closing(other):  # half a shard, as after the death of a worker
        assert all(map(torch.equal, pictures(other.images(range(2, 4))), every[2:]))
    assert not torch.equal(every[0], every[1])


def test_score_maps_that_are_missing_are_made_as_if_all_were():
    _, data = ordered_pipeline()
    entry = {"base": "toynet", "state": "ordered", "mix": 0.5}
    model = expansion.make_ref("model", "batch_norm_adapted", entry, Path("suite.yaml"), 0)
    method = expansion.make_ref("method", "msp", {}, Path("suite.yaml"), 0)
    choice = score_maps.Choice(model, method, None, NUMERICS, 0, {})
    assert choice.ordered

    def maps(indices, processes=1):
        made = {}
        spent = score_maps.every(
            choice, data, indices, lambda name, score, labels: made.update({name: score}), processes
        )
        assert spent.images == len(indices)
        return made

    every = maps(range(4))
    late = maps([1, 3], processes=2)
    assert list(late) == [data.ids()[1], data.ids()[3]]
    assert all(np.array_equal(late[name], every[name]) for name in late)

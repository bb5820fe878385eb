"""Sizes that networks want: edges, multiples, padding and its removal, windows, worked out by hand."""

import json

import numpy as np
import pytest
import torch
from torch.nn import functional

from bench.api import Inference, Prediction, Sample
from bench.cli.main import main
from bench.models import inference, sizing
from bench.suite import parameters, registry

IMAGE = np.random.RandomState(0).randint(0, 256, (12, 20, 3)).astype(np.uint8)
SAMPLE = Sample("one", (12, 20), lambda: IMAGE)


@pytest.mark.parametrize(
    ("size", "wanted", "rule"),
    [
        ((1024, 2048), (800, 1600), {"shortest": 800}),
        ((1024, 2048), (666, 1333), {"shortest": 800, "longest": 1333}),  # 1333 / 2048 * 1024 = 666.5, to even
        ((720, 1280), (750, 1333), {"shortest": 800, "longest": 1333}),  # 749.8, and 1333 of the exact ratio
        ((1280, 720), (1333, 750), {"shortest": 800, "longest": 1333}),
        ((720, 1280), (1024, 1820), {"shortest": 1024}),  # 1820.4, rounded down
        ((1024, 2048), (1024, 2048), {"shortest": 1024}),
        ((500, 300), (640, 384), {"longest": 640}),
        ((720, 1280), (736, 1280), {"multiple": 32}),
        ((720, 1280), (704, 1280), {"multiple": 32, "fit": "down"}),
        ((724, 1270), (720, 1264), {"multiple": 16, "fit": "nearest"}),
        ((10, 300), (32, 288), {"multiple": 32, "fit": "down"}),  # never below one step
        ((720, 1280), (768, 1344), {"shortest": 768, "longest": 1333, "multiple": 32}),  # 749.8 x 1333, then up
        ((720, 1280), (720, 1280), {"multiple": 32, "fit": "pad"}),
        ((720, 1280), (512, 512), {"size": (512, 512)}),
        ((720, 1280), (512, 1024), {"size": (500, 1000), "multiple": 32}),
    ],
    ids=str,
)
def test_the_size_that_an_image_is_resized_to(size, wanted, rule):
    assert sizing.resized(size, Inference(**rule)) == wanted


def test_a_scale_comes_before_the_multiple():
    rule = Inference(shortest=100, multiple=32, scales=(0.5,))
    assert sizing.resized((200, 400), rule, 0.5) == (64, 128)  # 50 x 100


@pytest.mark.parametrize(
    ("size", "wanted", "rule"),
    [
        ((720, 1280), (736, 1280), {"multiple": 32, "fit": "pad"}),
        ((720, 1280), (1024, 1280), {"pad": (1024, 1024)}),
        ((720, 1281), (1024, 1296), {"pad": (1024, 1024), "multiple": 16, "fit": "pad"}),
        ((720, 1280), (720, 1280), {"multiple": 32}),
    ],
    ids=str,
)
def test_the_size_that_it_is_filled_up_to(size, wanted, rule):
    assert sizing.padded(size, Inference(**rule)) == wanted


@pytest.mark.parametrize(
    ("side", "starts"), [(1024, [0]), (2048, [0, 1024]), (1820, [0, 796]), (3393, [0, 789, 1579, 2369]), (500, [0])]
)
def test_windows_spaced_evenly_cover_a_side_with_as_few_as_do(side, starts):
    grid = sizing.windows((1024, side), Inference(window=(1024, 1024), spacing="even"))
    assert [left for _, left, _, _ in grid] == starts
    assert grid[-1][3] == side or side - grid[-1][3] <= 1


class Pointwise:
    """Logits, features and a class map that depend on each pixel alone, at half the resolution of the view."""

    def __call__(self, view):
        self.seen = view.pixels
        mixed = torch.arange(12.0).reshape(4, 3) @ (view.pixels.float().flatten(1) / 255)
        logits = functional.avg_pool2d(mixed.reshape(1, 4, *view.input_size), 2)[0]
        outputs = {"logits": logits, "features": logits[:2] + 1, "query_logits": torch.zeros(3, 5)}
        return Prediction(outputs, view.input_size, image=view.pixels)


def seen(how, sample=SAMPLE):
    network = Pointwise()
    return [(view, network(view)) for view in inference.views(sample, how, "cpu")]


def test_an_image_is_filled_up_on_the_right_and_at_the_bottom():
    ((view, _),) = seen(Inference(multiple=16, fit="pad", fill=(1, 2, 3)))
    assert view.pixels.shape == (3, 16, 32) and (view.scaled_size, view.content) == ((16, 32), (12, 20))
    assert torch.equal(view.pixels[:, :12, :20].permute(1, 2, 0), torch.from_numpy(IMAGE))
    assert view.pixels[:, 12:].flatten(1).T.unique(dim=0).tolist() == [[1, 2, 3]]
    assert view.pixels[:, :12, 20:].flatten(1).T.unique(dim=0).tolist() == [[1, 2, 3]]
    ((whole, _),) = seen(Inference(multiple=4, fit="pad"))
    assert whole.content is None and whole.pixels.shape == (3, 12, 20), "nothing to fill up"


@pytest.mark.parametrize(
    "more", [{}, {"flip": True, "average": "logits"}, {"window": (8, 8), "stride": (4, 6)}], ids=str
)
def test_what_was_filled_up_is_cut_off_again(more):
    how = Inference(multiple=16, fit="pad", **more)
    parts = seen(how)
    merged = inference.merge(parts, how)
    assert merged.size == (12, 20) and merged.logits.shape == (4, 12, 20)
    # By hand: the output at the size that the network saw, and the upper left corner of it.
    if not more:
        whole = functional.interpolate(parts[0][1].raw["logits"][None], size=(16, 32), mode="bilinear")[0]
        assert torch.equal(merged.logits, whole[:, :12, :20])
        assert merged.raw["features"].shape == (2, 6, 10), "they end with the content on their own grid"
        assert torch.equal(merged.raw["features"], parts[0][1].raw["features"][:, :6, :10])
    assert "query_logits" not in merged.raw
    plain = inference.merge(seen(Inference()), Inference()).logits
    if "window" not in more:  # away from the edge, where the filling is mixed in
        torch.testing.assert_close(merged.logits[:, :10, :18], plain[:, :10, :18], rtol=1e-5, atol=1e-5)
    scores = [prediction.raw["logits"][0] for _, prediction in parts]
    score = inference.merge_scores([view for view, _ in parts], scores)
    torch.testing.assert_close(score, merged.logits[0], rtol=1e-5, atol=1e-5)


def test_an_image_that_is_resized_first_is_brought_back():
    how = Inference(shortest=24, multiple=64, fit="pad")
    ((view, prediction),) = seen(how)
    assert (view.pixels.shape, view.content) == ((3, 64, 64), (24, 40))
    merged = inference.merge([(view, prediction)], how)
    whole = functional.interpolate(prediction.raw["logits"][None], size=(64, 64), mode="bilinear")[:, :, :24, :40]
    wanted = functional.interpolate(whole, size=(12, 20), mode="bilinear")[0]
    torch.testing.assert_close(merged.logits, wanted)


def test_images_of_many_sizes_keep_their_proportions():
    rng = np.random.default_rng(0)
    for height, width in [(720, 1280), (1280, 720), (375, 1242), (500, 500)]:
        pixels = rng.integers(0, 256, (height // 10, width // 10, 3), dtype=np.uint8)
        sample = Sample("x", pixels.shape[:2], lambda pixels=pixels: pixels)
        (view,) = inference.views(sample, Inference(shortest=64, longest=160, multiple=16, fit="pad"), "cpu")
        high, wide = view.content or view.scaled_size
        assert abs(high / wide - height / width) < 0.03 and min(high, wide) <= 64 and max(high, wide) <= 160
        assert view.pixels.shape[1] % 16 == view.pixels.shape[2] % 16 == 0


def test_what_belongs_to_one_view_is_not_offered_where_an_image_may_be_filled_up():
    model = registry.build("model", "toynet", {"inference": {"multiple": 16, "fit": "pad"}}, where="x")
    assert "again" in model.outputs and "again" not in inference.offered(model, merged=True)
    assert "again" in inference.offered(model, merged=False)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"size": (4, 4), "shortest": 4}, "shortest and longest keep them"),
        ({"shortest": 8, "longest": 4}, "longest is below shortest"),
        ({"multiple": 0}, "at least 1"),
        ({"fill": (0, 0, 256)}, "R, G, B from 0 to 255"),
        ({"spacing": "even"}, "even spacing needs a window"),
        ({"spacing": "even", "window": (4, 4), "stride": (2, 2)}, "has no stride"),
        ({"pad": (0, 4)}, "at least 1"),
    ],
)
def test_a_rule_that_cannot_be_is_refused(given, words):
    with pytest.raises(ValueError, match=words):
        Inference(**given)


def test_the_rule_is_part_of_a_key_and_what_is_not_said_is_not():
    plain = registry.build("model", "toynet", {"inference": {"flip": True}}, where="x")
    assert not {"shortest", "multiple", "fill", "spacing"} & parameters.values(plain)["inference"].keys()
    said = registry.build("model", "toynet", {"inference": {"shortest": 64}}, where="x")
    assert parameters.values(said)["inference"]["shortest"] == 64
    assert parameters.label(registry.build("model", "toynet", {}, where="x")) == "toynet"


SUITE = """
protocols: [anomaly, misclassification]
models:
  - toynet: {label: own}
  - toynet: {label: filled, inference: {multiple: 48, fit: pad, fill: [90, 90, 90]}}
  - toynet: {label: shortest, inference: {shortest: 96, multiple: 32, window: [96, 96], spacing: even}}
  - toyquery: {label: masks, inference: {pad: [96, 160], shortest: 72}}
datasets:
  - toytown: {split: anomaly, images: 4, height: 64, width: 128}
methods: [msp, eam, {maxlogit: {post: gaussian}}]
bootstrap: 20
"""


def test_a_suite_runs_by_such_rules(tmp_path, capsys):
    (tmp_path / "sizes.yaml").write_text(SUITE)
    argv = ["run", str(tmp_path / "sizes.yaml"), "--out", str(tmp_path / "run"), "--workers", "0", "--gallery", "0"]
    assert main(argv) == 0
    capsys.readouterr()
    assert main(["show", str(tmp_path / "run"), "--format", "json"]) == 0
    records = json.loads(capsys.readouterr().out)["records"]
    values = {
        (one["model"], one["method"]): one["value"]
        for one in records
        if (one["metric"], one["protocol"]) == ("auroc", "anomaly")
    }
    assert abs(values["filled", "msp"] - values["own", "msp"]) < 0.1 and values["filled", "msp"] != values["own", "msp"]
    assert values["masks", "eam"] > 0.5 and values["shortest", "msp"] > 0.5

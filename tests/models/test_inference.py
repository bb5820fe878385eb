"""Images into views, views into one prediction: grids, averages and their order."""

import sys

import numpy as np
import pytest
import torch
from PIL import Image

from bench.api import Inference, Prediction, Sample
from bench.contract.network import loaded as load
from bench.core.errors import MissingPackage
from bench.models import inference, numerics, sizing
from bench.models.toynet import ToyNet
from bench.suite.schema import NumericsRule

IMAGE = np.random.RandomState(0).randint(0, 256, (12, 20, 3)).astype(np.uint8)
SAMPLE = Sample("one", (12, 20), lambda: IMAGE)


class Pointwise:
    """Logits that depend on each pixel alone: cutting and merging must not change them."""

    def __call__(self, view):
        mixed = torch.arange(12.0).reshape(4, 3) @ (view.pixels.float().flatten(1) / 255)
        return Prediction({"logits": mixed.reshape(4, *view.input_size)}, view.input_size)


def seen(how, network=None):
    network = network or Pointwise()
    return [(view, network(view)) for view in inference.views(SAMPLE, how, "cpu")]


def test_the_whole_image_is_one_view_that_keeps_what_it_gave():
    parts = seen(Inference())
    merged = inference.merge(parts, Inference())
    assert len(parts) == 1 and merged.raw is parts[0][1].raw and merged.size == (12, 20)


@pytest.mark.parametrize(
    ("size", "window", "stride", "lefts"),
    [
        ((1024, 2048), (1024, 1024), (768, 768), [0, 768, 1024]),  # specification of FED, 0.3
        ((512, 1024), (1024, 1024), (768, 768), [0]),
        ((1536, 3072), (1024, 1024), (768, 768), [0, 768, 1536, 2048]),
        ((10, 10), (10, 4), None, [0, 4, 6]),
        ((10, 3), (10, 4), None, [0]),
    ],
)
def test_the_last_window_moves_inwards_to_the_far_edge(size, window, stride, lefts):
    grid = sizing.windows(size, Inference(window=window, stride=stride))
    assert sorted({left for _, left, _, _ in grid}) == lefts
    assert max(right for *_, right in grid) == size[1] and max(bottom for _, _, bottom, _ in grid) == size[0]


@pytest.mark.parametrize(
    "how",
    [
        Inference(window=(8, 8), stride=(4, 6)),
        Inference(window=(12, 20)),
        Inference(flip=True, average="logits"),
        Inference(window=(7, 9), flip=True, average="logits"),
    ],
    ids=str,
)
def test_what_depends_on_each_pixel_alone_survives_cutting_and_mirroring(how):
    plain = inference.merge(seen(Inference()), Inference())
    merged = inference.merge(seen(how), how)
    torch.testing.assert_close(merged.logits, plain.logits, rtol=1e-5, atol=1e-5)
    assert torch.equal(merged.labels, plain.labels)


def test_scales_average_probabilities_and_then_there_are_no_logits():
    how = Inference(scales=(1.0, 0.5))
    merged = inference.merge(seen(how), how)
    one, half = (prediction.raw["logits"] for _, prediction in seen(how))
    up = torch.nn.functional.interpolate(half[None], size=(12, 20), mode="bilinear", align_corners=False)[0]
    expected = (one.softmax(0) + up.softmax(0)) / 2
    torch.testing.assert_close(merged.probabilities, expected)
    assert torch.equal(merged.labels, expected.argmax(0).to(torch.uint8))
    with pytest.raises(AttributeError, match="this network gives probabilities, not 'logits'"):
        merged.logits  # noqa: B018 - the access is the test


def test_overlapping_windows_average_their_scores():
    how = Inference(window=(12, 12), stride=(12, 8))
    parts = [view for view, _ in seen(how)]
    assert [view.window[1] for view in parts] == [0, 8]
    merged = inference.merge_scores(parts, [torch.full((12, 12), 1.0), torch.full((12, 12), 3.0)])
    assert merged[0].tolist() == [1.0] * 8 + [2.0] * 4 + [3.0] * 8


def test_an_image_at_its_own_size_is_not_touched_and_a_resized_one_is_rounded():
    image = torch.from_numpy(IMAGE).permute(2, 0, 1)
    assert inference.resize_image(image, (12, 20)) is image
    half = inference.resize_image(image, (6, 10))
    mean = image.float().reshape(3, 6, 2, 10, 2).mean(dim=(2, 4))
    assert half.dtype == torch.uint8 and (half.float() - mean).abs().max() <= 0.5


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"stride": (1, 1)}, "a stride needs a window"),
        ({"window": (4, 4), "stride": (5, 4)}, "leaves pixels unseen"),
        ({"scales": ()}, "at least one scale"),
        ({"size": (0, 4)}, "at least 1"),
    ],
)
def test_an_inference_that_cannot_be_is_refused(given, words):
    with pytest.raises(ValueError, match=words):
        Inference(**given)


def numerics_of(**rule):
    return numerics.resolve(NumericsRule(device="cpu", **rule))


def counting(network):
    """Note how many views each forward pass takes, and of which size."""
    predict, network.batches = network.predict, []
    network.predict = lambda views: network.batches.append([view.input_size for view in views]) or predict(views)
    return network


def test_views_of_one_size_go_through_the_network_together_and_batches_change_no_figure():
    how = Inference(window=(8, 8), stride=(4, 6), scales=(1.0, 1.5), flip=True)
    model = counting(load(ToyNet(inference=how), "cpu"))
    single = inference.look(model, SAMPLE, numerics_of(), 0, {})[1]
    model.batches.clear()
    batched = inference.look(model, SAMPLE, numerics_of(batch=5), 0, {})[1]
    batches = model.batches
    assert max(map(len, batches)) == 5 and all(len(set(sizes)) == 1 for sizes in batches)
    torch.testing.assert_close(batched.probabilities, single.probabilities, rtol=0, atol=1e-5)


def test_a_lower_precision_is_the_forward_passs_alone():
    model = load(ToyNet(), "cpu")
    exact = inference.look(model, SAMPLE, numerics_of(), 0, {})[1]
    rough = inference.look(model, SAMPLE, numerics_of(dtype="bfloat16"), 0, {})[1]
    assert rough.logits.dtype == rough.entropy().dtype == torch.float32
    off = (rough.logits - exact.logits).abs().max()
    assert 1e-4 < off < 1.0


def test_a_seed_belongs_to_a_sample_and_its_view_and_to_nothing_else():
    model = load(ToyNet(inference=Inference(window=(8, 8))), "cpu")
    other = Sample("two", (12, 20), lambda: IMAGE)

    def seeds(sample, seed):
        seen, merged = inference.look(model, sample, numerics_of(), seed, {})
        return [merged.context.seed, *(prediction.context.seed for _, prediction in seen)]

    assert seeds(SAMPLE, 0) == seeds(SAMPLE, 0)
    every = [*seeds(SAMPLE, 0), *seeds(SAMPLE, 1), *seeds(other, 0)]
    assert len(set(every)) == len(every) and all(0 <= seed < 2**63 for seed in every)


def test_what_no_average_needs_is_not_averaged():
    """Features of 256 channels are 2 GB at label size."""
    how = Inference(window=(8, 8), scales=(1.0, 0.5))
    merged = inference.merge(seen(how), how)
    merged.labels  # noqa: B018 - asking is the point
    assert set(merged.raw) == {"probabilities"} and merged.raw._made.keys() == {"probabilities"}


def test_class_scores_are_averaged_and_never_put_through_a_softmax():
    def network(view):
        return Prediction({"class_scores": view.pixels.float()}, view.input_size)

    how = Inference(flip=True)
    merged = inference.merge(seen(how, network), how)
    torch.testing.assert_close(merged.class_scores, torch.from_numpy(IMAGE).permute(2, 0, 1).float())
    assert torch.equal(merged.labels, torch.from_numpy(IMAGE.argmax(axis=2)).byte())


def test_opencv_resizes_within_a_grey_level_of_torch():
    cv2 = pytest.importorskip("cv2")
    image = torch.from_numpy(np.random.RandomState(1).randint(0, 256, (64, 96, 3)).astype(np.uint8)).permute(2, 0, 1)
    for size in ((32, 48), (61, 131), (16, 24)):
        ours = inference.resize_image(image, size, "opencv")
        theirs = cv2.resize(image.permute(1, 2, 0).numpy(), size[::-1], interpolation=cv2.INTER_LINEAR)
        assert np.array_equal(ours.permute(1, 2, 0).numpy(), theirs)
        assert (ours.int() - inference.resize_image(image, size).int()).abs().max() <= 1


def test_pil_resizes_as_torchvision_resizes_a_pil_image():
    picture = np.random.RandomState(1).randint(0, 256, (64, 96, 3)).astype(np.uint8)
    image = torch.from_numpy(picture).permute(2, 0, 1)
    for size in ((16, 24), (61, 131)):
        ours = inference.resize_image(image, size, "pil")
        theirs = Image.fromarray(picture).resize(size[::-1], Image.Resampling.BILINEAR)
        assert np.array_equal(ours.permute(1, 2, 0).numpy(), np.asarray(theirs))
    smooth, coarse = (inference.resize_image(image, (8, 12), name).float().std() for name in ("pil", "bilinear"))
    assert smooth < coarse / 2  # it averages what it shrinks


def test_opencv_missing_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(MissingPackage, match=r"the extras corruptions and mmseg bring it.*or say resize: bilinear"):
        inference.resize_image(torch.zeros(3, 4, 4, dtype=torch.uint8), (2, 2), "opencv")


def test_a_network_with_class_scores_acts_on_them():
    """A mask classifier may give the logits of its trunk besides."""
    outputs = {
        "logits": torch.tensor([1.0, 0.0]).reshape(2, 1, 1),
        "class_scores": torch.tensor([0.1, 0.2])[:, None, None],
    }
    assert Prediction(outputs, (1, 1)).labels.item() == 1
    assert Prediction(outputs, (1, 1)).argmax.item() == 0

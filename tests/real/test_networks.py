"""Real weights of small networks on a real frame of Cityscapes."""

import numpy as np
import pytest
import torch
from running import run
from torch.nn import functional

from bench.api import View
from bench.cli.main import main
from bench.contract.network import loaded
from bench.core.weights import read_state_dict
from bench.datasets.cityscapes import Cityscapes
from bench.models.enet import ENet

SUITE = """
protocols: [misclassification, miou]
models:
  - enet: {{label: ENet, weights: {data}/enet_cityscapes.pth, inference: {{size: [512, 1024]}}}}
  - espnet: {{label: ESPNet, weights: {data}/weights/espnet_p_2_q_8.pth, inference: {{size: [512, 1024]}}}}
datasets:
  - cityscapes: {{frames: 1, labels: labelTrainIds}}
methods: [msp, maxlogit, energy, entropy]
bootstrap: 0
"""


def test_enet_sees_what_an_independent_implementation_saw(real):
    """Its argmax took void for a class, which is wrong wherever there is a label, and its image was not rounded."""
    sample = Cityscapes(frames=1, labels="labelTrainIds").load(0)
    image = torch.from_numpy(sample.image()).permute(2, 0, 1)
    small = functional.interpolate(image[None].float(), (512, 1024), mode="bilinear", align_corners=False)[0]
    view = View("frame", small.round().to(torch.uint8), 1.0, False, (0, 0, 512, 1024), (512, 1024), sample.size)
    (prediction,) = loaded(ENet(weights=str(real / "enet_cityscapes.pth")), "cpu").predict([view])
    raw = prediction.again(small).raw
    outputs = torch.cat([raw["logits"], raw["void_logit"][None]])[None]
    classes = functional.interpolate(outputs, sample.size, mode="bilinear", align_corners=False)[0].argmax(0).numpy()
    known = sample.labels != 255
    seen, true = classes[known], sample.labels[known]
    assert np.mean(seen == true) == pytest.approx(0.9303, abs=5e-5)
    ious = [((seen == c) & (true == c)).sum() / ((seen == c) | (true == c)).sum() for c in np.unique(true)]
    assert np.mean(ious) == pytest.approx(0.485, abs=5e-4)


def test_networks_with_published_weights_know_the_frame(real, tmp_path):
    (tmp_path / "frame.yaml").write_text(SUITE.format(data=real))
    results = run(tmp_path / "frame.yaml", tmp_path / "run", workers=0)
    found = {
        result.labels.model: [result.metrics[name].value for name in ("pixel_accuracy", "miou")]
        for result in results
        if result.labels.protocol == "miou"
    }
    assert found["ENet"] == pytest.approx([0.9315, 0.4146], abs=5e-5)  # 19 classes, the resized image in whole numbers
    assert found["ESPNet"] == pytest.approx([0.9434, 0.5206], abs=5e-5)
    ranked = [result for result in results if result.labels.protocol == "misclassification"]
    assert len(ranked) == 8 and all(0.9 < result.metrics["auroc"].value < 0.95 for result in ranked)
    wrong = {(result.labels.model, result.pixels["wrong"]) for result in ranked}
    assert len(wrong) == 2, "one class map of a network serves every method"


def test_a_checkpoint_with_a_numpy_scalar_is_read_and_refused_for_another_network(real, tmp_path, capsys):
    checkpoint = real / "weights" / "checkpoint_with_numpy_scalar.pth"
    assert len(read_state_dict(checkpoint)) == 631
    text = SUITE.format(data=real).replace("enet_cityscapes.pth", "weights/checkpoint_with_numpy_scalar.pth")
    (tmp_path / "other.yaml").write_text(text)
    assert main(["check", str(tmp_path / "other.yaml"), "--only", "model=ENet,protocol=miou"]) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "do not fit" in line]
    assert "534 missing (first: asymmetric2_3.ext_conv1.0.weight), 631 surplus (first: bottleneck10.bn1.bias)" in line

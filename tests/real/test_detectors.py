"""Every detector that a real network can be scored by, on real frames: finite, and the same digits wherever it runs."""

import math

import pytest
from running import metrics, run

from bench.suite import registry

FIT = "fit: {data: {cityscapes: {frames: 1, labels: labelTrainIds}}}"
FITTED = [
    *("sml", "kl_matching", "vector_scaling", "dirichlet", "mahalanobis", "relative_mahalanobis", "vim", "react"),
    *("dice", "she", "prowl", "knn", "cdnp", "nnguide"),
]
BANKED = {"knn", "cdnp", "nnguide"}
PLAIN = [
    *("msp", "maxlogit", "energy", "entropy", "softmax_std", "gen", "void_channel", "odin", "ash", "scale"),
    *("max_cosine", "gradnorm"),
]
SUITE = """
protocols: [anomaly]
models:
  - enet: {{label: ENet, weights: {data}/enet_cityscapes.pth, inference: {{size: [512, 1024]}}}}
datasets:
  - validation_dataset: {{set: RoadAnomaly21}}
methods:
  - energy: {{post: gaussian, label: energy as PEBAL and RPL filter it}}
  - mc_dropout: {{rate: 0.1, passes: 8}}
{methods}
bootstrap: 0
"""


@pytest.mark.slow  # four minutes of CPU time
def test_all_detectors_of_logits_and_features_are_finite_and_reproducible_on_real_frames(real, tmp_path):
    entries = [f"  - {name}: {{{'size: 2000, ' if name in BANKED else ''}{FIT}}}" for name in FITTED]
    entries += [f"  - {name}" for name in PLAIN]
    (tmp_path / "suite.yaml").write_text(SUITE.format(data=real, methods="\n".join(entries)))
    results = run(tmp_path / "suite.yaml", tmp_path / "here", limit=4)
    read = {"logits", "features", "void_logit", "raw", "image", "forward", "classify"}  # what ENet gives
    able = {name for name, method in registry.available("method").items() if method().needs <= read}
    others = {"fed_c", "fed_u"}, {"entropy_meta", "sam_boxes"}  # of another network's flows; refinements of maps here
    assert {result.cell.method.name for result in results} == able - others[0] - others[1] | {"mc_dropout"}
    assert not any(result.not_applicable for result in results)
    for result in results:
        found = [result.metrics[name].value for name in ("auroc", "ap", "fpr95")]
        assert all(map(math.isfinite, found)) and 0.2 < found[0] < 0.95, result.labels.method
    run(tmp_path / "suite.yaml", tmp_path / "elsewhere", limit=4, workers=1, processes=2)
    assert metrics(tmp_path / "here") == metrics(tmp_path / "elsewhere")

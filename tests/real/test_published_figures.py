"""Figures that others published or computed with their own code, from the same weights and frames.

The table is that of the authors of the two ENets, in percent to three decimals; ``../shared/data/README.md`` has its
source and protocol. Components are those of the official evaluator of SegmentMeIfYouCan on the same maps as float16.
"""

import json

import pytest
from running import run

PUBLISHED = {  # AP and FPR95 in percent
    ("enet_training_void", "RoadAnomaly21"): (12.348, 84.774),
    ("enet_training_void", "RoadObsticle21"): (1.139, 63.600),
    ("enet_training_void", "fs_static"): (7.246, 39.319),
    ("enet_training_void", "RoadAnomaly"): (10.377, 76.357),
    ("enet_training_void_ft", "RoadAnomaly21"): (21.616, 88.547),
    ("enet_training_void_ft", "RoadObsticle21"): (1.763, 95.070),
    ("enet_training_void_ft", "fs_static"): (6.430, 68.681),
    ("enet_training_void_ft", "RoadAnomaly"): (18.122, 84.568),
}
AT_LABEL_SIZE = {  # AUROC, AP and FPR95 in percent, of the ENet without void on RoadAnomaly21
    "msp": (75.25, 28.45, 64.02),
    "maxlogit": (66.59, 20.55, 71.61),
    "energy": (62.20, 17.90, 76.80),
    "entropy": (75.10, 27.41, 63.09),
}
COURSE = """
protocols: [anomaly]
models:
  - enet: {{label: enet_training_void, weights: {weights}/enet_training_void/model_best.pth, {inference}}}
  - enet: {{label: enet_training_void_ft, weights: {weights}/enet_training_void_ft/model_best.pth, {inference}}}
datasets:
  - validation_dataset: {{sweep: {{set: [{sets}]}}, label_size: [512, 1024], keep: with_anomaly}}
methods: [void_channel]
bootstrap: 0
"""
LABELS = """
protocols: [{protocols}]
models:
  - enet: {{label: ENet, weights: {data}/enet_cityscapes.pth, inference: {{size: [512, 1024]}}}}
datasets:
  - validation_dataset: {{set: {set}}}
methods: [{methods}]
bootstrap: 0
"""


def percent(result, *names):
    return [100 * result.metrics[name].value for name in names]


def course(sets, real, folder):
    inference = "inference: {size: [512, 1024], resize: pil}"
    suite = folder / "course.yaml"
    suite.write_text(COURSE.format(weights=real / "weights", inference=inference, sets=", ".join(sets)))
    results = run(suite, folder / "run", workers=0)
    assert len(results) == 2 * len(sets)
    for result in results:
        (name,) = [name for name in sets if f"set={name}]" in result.labels.dataset]
        published = PUBLISHED[result.labels.model, name]
        assert percent(result, "ap", "fpr95") == pytest.approx(published, abs=0.0005), (result.labels.model, name)


@pytest.mark.slow
def test_the_published_figures_of_road_anomaly_21(real, tmp_path):
    course(["RoadAnomaly21"], real, tmp_path)


@pytest.mark.slow  # 130 s of CPU time
def test_the_published_figures_of_the_other_sets(real, tmp_path):
    course(["RoadObsticle21", "fs_static", "RoadAnomaly"], real, tmp_path)


def at_label_size(real, folder, **entries):
    suite = folder / "labels.yaml"
    suite.write_text(LABELS.format(data=real, **entries))
    results = run(suite, folder / "run", workers=0)
    return {(result.labels.protocol, result.labels.method): result for result in results}


def official(shared, case):
    figures = shared / "fixtures" / "leaderboards" / "real_frames.json"
    if not figures.is_file():
        pytest.skip("../shared/fixtures is without the official evaluator's figures of real frames")
    return json.loads(figures.read_text())[case]


def compare(result, figures):
    """Hold every figure that both have to six digits: other processors round single scores to another float16."""
    names = {"AP": "ap", "AUROC": "auroc", "FPR95": "fpr95", "threshold": "best_f1_threshold"}
    both = {names.get(name, name): value for name, value in figures.items()}
    both = {name: value for name, value in both.items() if name in result.metrics}
    assert len(both) >= 8 and {"siou", "ppv", "mean_f1"} <= both.keys()
    assert {name: result.metrics[name].value for name in both} == pytest.approx(both, abs=1e-6)


@pytest.mark.slow  # 25 s of CPU time
def test_scores_at_label_size_and_the_official_figures_of_road_anomaly_21(real, shared, tmp_path):
    results = at_label_size(
        real, tmp_path, protocols="anomaly, smiyc_anomaly", set="RoadAnomaly21", methods=", ".join(AT_LABEL_SIZE)
    )
    for method, figures in AT_LABEL_SIZE.items():
        found = percent(results["anomaly", method], "auroc", "ap", "fpr95")
        assert found == pytest.approx(figures, abs=0.005), method
    compare(results["smiyc_anomaly", "msp"], official(shared, "RoadAnomaly21 msp"))


@pytest.mark.slow  # a minute of CPU time
def test_the_official_figures_of_road_obstacle_21(real, shared, tmp_path):
    results = at_label_size(real, tmp_path, protocols="smiyc_obstacle", set="RoadObsticle21", methods="entropy")
    compare(results["smiyc_obstacle", "entropy"], official(shared, "RoadObsticle21 entropy"))

"""Inputs on which a figure differed from the evaluator that its protocol names: each must give the official one.

The inputs are not part of the project, so this skips without them; ``tests/evaluate/test_exact_figures.py`` makes the
same kinds of input for itself.
"""

import json

import pytest
from test_reported_inputs import CASES as REPORTS

from bench.cli.main import main

CASES = REPORTS.parent / "numbers"

# case, protocol, options, and the official figures; "n/a" is none
OFFICIAL = [
    ("entropy_max_bins", "entropy_max", [], {"fpr95": 0.57786, "ap": 0.63365}),
    *(
        (f"open_miou_class_values/v{value}", "open_miou", [], dict(zip(names, figures, strict=True)))
        for names in [("open_miou", "open_mean_accuracy", "open_pixel_accuracy")]
        for value, figures in {19: (1, 1, 1), 240: (0.5, 0.5, 0.75), 255: (0.5, 0.5, 0.75)}.items()
    ),
    ("open_miou_threshold", "open_miou", [], {"open_miou": 0.5}),
    ("components_certified", "components", ["--budget", "65536"], {"siou": 0.21575, "mean_f1": 0.2545}),
    ("smiyc_float64_rounding/float64", "smiyc_obstacle", [], {"ap": 1}),
    ("smiyc_order", "smiyc_obstacle", [], {"ap": 0.09373, "auroc": 0.75434}),
    ("idm_ap_no_errors", "idm:fidelity=reference", [], {"ap": 0.75, "auroc": "n/a", "fpr95": "n/a"}),
    ("idm_ood_cdd_sampling", "idm_ood_cdd:fidelity=reference", [], {"idm_ap": 0.663, "ood_ap": 0.228, "cdd_ap": 0.697}),
    ("bravo_png16", "bravo:judged=semantic", [], {}),
]


@pytest.mark.skipif(not CASES.is_dir(), reason="../shared/faults is not here: it holds the inputs")
@pytest.mark.parametrize("case, protocol, options, figures", OFFICIAL, ids=[case for case, *_ in OFFICIAL])
def test_a_figure_is_the_official_one(case, protocol, options, figures, capsys):
    places = {"--scores": CASES / case / "scores", "--labels": CASES / case / "labels"}
    if not places["--scores"].is_dir():
        places["--scores"] = CASES / case / "conf16"
    if (CASES / case / "predictions").is_dir():
        places["--predictions"] = CASES / case / "predictions"
    argv = [str(part) for place in places.items() for part in place]
    assert main(["score", "--protocol", protocol, *argv, *options, "--bootstrap", "0", "--format", "json"]) == 0
    (evaluation,) = json.loads(capsys.readouterr().out)["evaluations"]
    for name, official in figures.items():
        value = evaluation["metrics"][name].get("value")
        close = 0.002 if "sampling" in case else 5e-5
        assert (value is None) if official == "n/a" else value == pytest.approx(official, abs=close)
    if case == "smiyc_order":
        assert evaluation["metrics"]["ap"]["err"] > 0.01

"""Claims of networks: figures of their publishers, which a run sets beside its own without a word of the suite."""

from pathlib import Path

import pytest

from bench.report import claims, published
from bench.suite import expansion, registry

HERE = Path("here.yaml")
SUITE = {
    "protocols": ["anomaly"],
    "models": ["toynet"],
    "datasets": [{"road_anomaly": {}}, {"fishyscapes": {"set": "lost_and_found"}}],
    "methods": ["msp", "energy"],
}
CLAIMING = sorted(
    name for name, cls in registry.available("model").items() if cls.__module__.startswith("bench.") and cls.claims
)


@pytest.mark.parametrize("name", CLAIMING)
def test_a_claim_means_a_method_that_there_is_and_figures_that_were_published(name):
    suite = expansion.expanded(SUITE, HERE, {"models": [name]})
    assert suite.claims and {rule.model for rule in suite.claims} == {name}
    labels = {cell.method.label for cell in suite.cells}
    for rule in suite.claims:
        assert rule.method in labels
        rows = claims.chosen(rule.model_dump())
        assert {row.protocol for row in rows} <= {"anomaly", "fishyscapes"}
        assert all(row.split == "val" or row.dataset == "RoadAnomaly" for row in rows)  # on what can be measured


def test_the_method_of_a_claim_joins_the_suite_that_a_network_is_put_into():
    suite = expansion.expanded(SUITE, HERE, {"models": ["rba_swin_b"]})
    assert [cell.method.label for cell in suite.cells][:3] == ["msp", "energy", "rba"]
    assert any("the method rba joins the suite's: the figures of rba_swin_b were made with it" in remark
               for remark in suite.remarks)  # fmt: skip
    figures = {(row.dataset, row.metric): row.value for row in claims.chosen(suite.claims[0].model_dump())}
    assert figures["RoadAnomaly", "ap"] == pytest.approx(0.7845)
    assert figures["Fishyscapes Lost & Found", "fpr95"] == pytest.approx(0.1063)


def test_a_suite_that_names_its_methods_keeps_them():
    own = expansion.expanded(SUITE | {"models": ["rba_swin_b"]}, HERE)
    assert {cell.method.label for cell in own.cells} == {"msp", "energy"} and not own.claims
    asked = expansion.expanded(SUITE, HERE, {"models": ["rba_swin_b"], "methods": ["eam"]})
    assert {cell.method.label for cell in asked.cells} == {"eam"} and not asked.claims
    assert not expansion.expanded(SUITE, HERE).claims


def test_a_claim_is_on_the_method_with_its_parameters():
    methods = ["energy", {"energy": {"post": "gaussian", "label": "smooth"}}, {"energy": {"temperature": 2.0}}]
    suite = expansion.expanded(SUITE | {"models": ["pebal_deeplab"], "methods": methods}, HERE)
    assert {(rule.model, rule.method) for rule in suite.claims} == {("pebal_deeplab", "smooth")}


def test_what_a_suite_claims_itself_comes_before_what_a_network_does():
    own = {"model": "rba_swin_b", "method": "rba", "published": {"method": "RbA", "dataset": "RoadAnomaly"}}
    suite = expansion.expanded(SUITE | {"models": ["rba_swin_b"], "methods": ["rba"], "claims": [own]}, HERE)
    assert [rule.published for rule in suite.claims] == [own["published"]]


def test_the_figures_of_rba_are_those_of_its_model_zoo():
    rows = [row for row in published.load() if row.source.startswith("MODEL_ZOO.md of NazirNayal8/RbA")]
    assert len(rows) == 18 and {row.method for row in rows} == {"RbA"}
    ap = {(row.variant, row.dataset): row.value for row in rows if row.metric == "ap"}
    # The figures that were handed over with the task, from the README of the same repository.
    expected = {"RoadAnomaly": [78.45, 79.68, 85.42, 90.28], "Fishyscapes Lost & Found": [60.96, 58.61, 70.81, 80.35]}
    for dataset, figures in expected.items():
        assert [round(100 * value, 2) for (_, name), value in ap.items() if name == dataset] == figures

"""Published figures that a run claims to make again: matched by the suite's word, compared digit by digit."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import writing
from test_reports import result, run_of

from bench.api import Metric, Undefined, Value
from bench.cli.main import main
from bench.core.errors import BadPublished, UnknownName
from bench.metrics.protocols.definitions import METRICS
from bench.metrics.protocols.pooled import Anomaly
from bench.report import claims, merge_runs, published
from bench.report.document import Document
from bench.results import store
from bench.results.store import Cell

COPY = {"name": "validation_dataset", "params": {"set": "RoadAnomaly21", "frames": None}}
DEPARTED = {"name": COPY["name"], "params": COPY["params"] | {"label_size": [512, 1024], "keep": "with_anomaly"}}
WEIGHTS = "2e37dd6ce1eb619f"
CLAIM = {
    "model": "enet_training_void",
    "method": "void",
    "published": {"source": "AgneseRe/*", "variant": "enet_training_void"},
    "weights": WEIGHTS,
}
POOLED = {"ap": 0.123481, "fpr95": 0.8477}
RULES = {"ap_step pooled": 0.123481, "fpr95_interpolated pooled": 0.847738}


def measured(protocol, figures, *, dataset=DEPARTED, label="small", held=WEIGHTS, **others):
    """A result of the void classifier; figures are rates."""
    definitions = Anomaly.metrics if protocol == "anomaly" else METRICS
    named = {name: definitions[name] for name in figures}
    values = {name: Value(value) if isinstance(value, float) else value for name, value in figures.items()}
    whole = {"model": CLAIM["model"], "dataset": label, "protocol": protocol, "definitions": named, **others}
    made = result(CLAIM["method"], values, **whole)
    spelled = made.cell.spelled() | {"dataset": dataset}
    spelled["model"]["params"] = {"digests": {"weights": held}}
    return replace(made, cell=Cell.read(spelled, made.labels, {}))


def claiming(path, results, *rules):
    run = run_of(path, results)
    store.write_plan(path, replace(run.plan, claims=rules or (CLAIM,)), "title: A run\n")
    return store.read_run(path)


def figures(found):
    return {metric.title: figure for group in found.groups for row in group.rows
            for metric, figure in zip(found.columns, row.figures, strict=True)}  # fmt: skip


def test_a_claim_is_held_against_the_figure_of_its_own_definition(tmp_path):
    run = claiming(tmp_path, [measured("anomaly", POOLED), measured("definitions", RULES)])
    by_title = figures(found := claims.of_run(run))
    assert (by_title["AP"].claimed, by_title["AP"].measured, by_title["AP"].difference) == ("12.348", "12.348", "0.000")
    fpr95 = by_title["FPR95"]
    assert (fpr95.claimed, fpr95.measured, fpr95.metric) == ("84.774", "84.774", "fpr95_interpolated pooled")
    assert fpr95.compared and fpr95.equal and not fpr95.mark
    assert found.sentences[0] == "2 of 2 figures that were made alike are equal in every published digit."
    assert found.sentences[-1].startswith("Published, and not measured here: 6 figures on Validation_Dataset RoadObst")


def test_a_figure_of_another_definition_is_marked_and_judged_by_nobody(tmp_path):
    found = claims.of_run(claiming(tmp_path, [measured("anomaly", POOLED)]))
    fpr95 = figures(found)["FPR95"]
    assert (fpr95.measured, fpr95.difference, fpr95.mark, fpr95.compared) == ("84.770", "-0.004", "≠", False)
    assert found.sentences[0].startswith("1 of 1 figures")
    assert any(line.startswith("≠ FPR95 of enet_training_void on small: the ROC is inter") for line in found.sentences)


def test_a_figure_that_differs_is_said_with_the_largest_difference(tmp_path):
    found = claims.of_run(claiming(tmp_path, [measured("definitions", RULES | {"ap_step pooled": 0.1236})]))
    assert found.sentences[0] == (
        "1 of 2 figures that were made alike are equal in every published digit; the largest difference is +0.012,"
        " enet_training_void on small."
    )


@pytest.mark.parametrize(
    "changed, note",
    [
        ({"held": "0123456789abcdef"}, f"made from other weights than those published ({WEIGHTS})"),
        ({"partial": True, "images": 4}, "partial: 4 images"),
    ],
    ids=["weights", "partial"],
)
def test_what_was_not_made_alike_is_no_verdict(tmp_path, changed, note):
    ap = figures(claims.of_run(claiming(tmp_path, [measured("definitions", RULES, **changed)])))["AP"]
    assert (ap.mark, ap.compared, ap.difference) == ("≠", False, "0.000") and note in ap.note


def test_what_is_undefined_or_certified_says_so(tmp_path):
    values = {"ap_step pooled": Undefined("no anomaly"), "fpr95_interpolated pooled": Value(0.84774, err=1e-4)}
    by_title = figures(claims.of_run(claiming(tmp_path, [measured("definitions", values)])))
    assert (by_title["AP"].measured, by_title["AP"].difference, by_title["AP"].note) == ("n/a", "", "no anomaly")
    assert by_title["FPR95"].measured == "84.774 ± 0.01"


@pytest.mark.parametrize("dataset", [COPY, {**DEPARTED, "params": DEPARTED["params"] | {"frames": 3}}])
def test_labels_of_another_size_and_other_frames_are_another_data_set(tmp_path, dataset):
    run = claiming(tmp_path, [measured("definitions", RULES, dataset=dataset)])
    assert not claims.of_run(run).groups


def test_official_data_that_departs_has_no_published_figures():
    track = {"track": "RoadAnomaly21", "split": "validation", "layout": "official", "frames": None}
    place = published.place_of({"name": "smiyc", "params": track})
    assert place is not None and place.dataset == "RoadAnomaly21"
    assert published.place_of({"name": "smiyc", "params": track | {"label_size": [512, 1024]}}) is None
    assert published.place_of({"name": "smiyc", "params": track | {"keep": "with_anomaly"}}) is None


def test_every_format_shows_claimed_measured_and_difference(tmp_path, capsys):
    run = claiming(tmp_path, [measured("anomaly", POOLED), measured("definitions", RULES)])
    for text in (writing.html(run), writing.markdown(run), writing.latex(run), writing.terminal(run, 100)):
        assert text.index("Claimed and measured") < text.index("AgneseRe/Real-Time")
        assert all(word in text for word in ("claimed", "measured", "difference", "12.348", "84.774", "0.000"))
    page = writing.html(run)
    rest = page.partition("Published on the")[2]  # of what nobody measured: the other network's
    assert ">enet_training_void_ft</span> <span" in rest and ">enet_training_void</span> <span" not in rest
    assert main(["show", str(tmp_path), "--format", "json"]) == 0
    recorded = json.loads(capsys.readouterr().out)["claims"]
    assert {(entry["title"], entry["claimed"], entry["difference"]) for entry in recorded} == {
        ("AP", "12.348", "0.000"),
        ("FPR95", "84.774", "0.000"),
    }


def test_a_run_without_claims_has_no_word_of_them(tmp_path):
    run = run_of(tmp_path, [measured("anomaly", POOLED)])
    assert not Document(run).claims.groups and "claims" not in json.loads((tmp_path / "run.json").read_text())
    page = writing.html(run)
    assert "Claimed and measured" not in page and "Published on the val split" in page


def test_merged_runs_keep_their_claims(tmp_path):
    first = claiming(tmp_path / "a", [measured("definitions", RULES)])
    other = run_of(tmp_path / "b", [result("msp", {"ap": 0.5}, definitions={"ap": Metric("AP", "area")})])
    merged = merge_runs.opened([str(first.path), str(other.path)])
    assert figures(claims.of_run(merged))["AP"].equal


def test_a_claim_that_means_no_figure_is_refused():
    with pytest.raises(BadPublished, match="no published figure has source: Nobody"):
        claims.chosen(CLAIM | {"published": {"source": "Nobody"}})
    with pytest.raises(UnknownName, match="'sauce'; did you mean 'source'"):
        claims.chosen(CLAIM | {"published": {"sauce": "x"}})

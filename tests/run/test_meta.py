"""Meta classification: what a linear classifier learns of segments, and what a refined map is counted as."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import NETWORK
from running import Silent, metrics, run

from bench.api import IGNORE, Prediction, Sample, Undefined
from bench.core.errors import BadPlugin, BadSuite, CellsFailed, MissingData
from bench.fit import fitted_store
from bench.methods.entropy_meta import FALSE, HIT, UNKNOWN, EntropyMeta
from bench.metrics.accumulate import NOTHING
from bench.metrics.protocols.segments import METRICS, Segments
from bench.metrics.protocols.segments import _ap as ranking_ap
from bench.metrics.protocols.segments import _auroc as ranking_auroc
from bench.ops import segment_classifier, segments
from bench.results import store
from bench.run import engine, finalise, preflight, score_maps, shard_files
from bench.run.engine import Options
from bench.run.worker import Worker
from bench.suite import expansion as suites
from bench.suite import registry

GOLDEN = json.loads((Path(__file__).parents[1] / "fixtures" / "meta_golden.json").read_text())["loo_logreg"]

SUITE = """
protocols: [anomaly, {segments: {threshold: 0.995, min_predicted: 1}}, {components: {min_predicted: 6, min_truth: 4}}]
models:
  - python: {factory: "net.py:build", label: tiny}
datasets:
  - toytown: {split: anomaly, images: 16, height: 32, width: 64}
methods: [{entropy: {normalised: true}}, {entropy_meta: {threshold: 0.995}}]
bootstrap: 20
"""


def write_suite(folder, text=SUITE):
    folder.mkdir(exist_ok=True)
    (folder / "net.py").write_text(NETWORK)
    (folder / "meta.yaml").write_text(text)
    return folder / "meta.yaml"


# The classifier.


def drawn(segments=60, seed=0):
    random = np.random.RandomState(seed)
    false = random.rand(segments) < 0.6
    return random.standard_normal((segments, 4)) + false[:, None] * np.array([1.0, -0.5, 0, 0]), false


def test_leaving_out_single_segments_gives_the_sources_probabilities():
    judged, whole = segment_classifier.leave_one_out(np.array(GOLDEN["X"]), np.array(GOLDEN["iou0"], bool))
    np.testing.assert_allclose(judged, GOLDEN["p_fp"], atol=1e-6, rtol=0)
    assert whole.segments == len(judged) and whole.false == sum(GOLDEN["iou0"])


def test_the_probabilities_are_those_of_the_pipeline():
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    features, false = drawn()
    wanted = make_pipeline(StandardScaler(), LogisticRegression(max_iter=10_000, tol=1e-8)).fit(features, false)
    found = segment_classifier.learn(features, false).probabilities(features)
    np.testing.assert_allclose(found, wanted.predict_proba(features)[:, 1], rtol=1e-9)


def test_what_is_judged_was_never_learned_from():
    """Turn the truth of one fold round: its own probabilities stay, those of the others move."""
    features, false = drawn()
    fold = np.arange(60) % 3
    known = np.ones(60, bool)
    before, _ = segment_classifier.across_groups(features, false, known, fold)
    after, models = segment_classifier.across_groups(features, np.where(fold == 1, ~false, false), known, fold)
    assert np.array_equal(before[fold == 1], after[fold == 1])
    assert (before[fold != 1] != after[fold != 1]).all()
    assert list(models) == [0, 1, 2] and models[1].segments == 40


def test_segments_without_a_truth_are_judged_and_teach_nothing():
    features, false = drawn()
    fold, known = np.arange(60) % 3, np.arange(60) >= 20
    one, _ = segment_classifier.across_groups(features, false, known, fold)
    other, _ = segment_classifier.across_groups(features, np.where(known, false, ~false), known, fold)
    assert np.isfinite(one).all() and np.array_equal(one, other)


def test_folds_keep_groups_together_and_depend_on_names_and_seed_alone():
    groups = [f"drive{index // 4}" for index in range(40)]
    fold = segment_classifier.folds(groups, 5, 0)
    assert sorted(np.bincount(fold).tolist()) == [8] * 5
    assert all(len(set(fold[place : place + 4])) == 1 for place in range(0, 40, 4))
    order = np.random.RandomState(0).permutation(40)
    assert np.array_equal(segment_classifier.folds([groups[place] for place in order], 5, 0), fold[order])
    assert not np.array_equal(segment_classifier.folds(groups, 5, 1), fold)
    assert set(segment_classifier.folds(["a", "b", "a"], 5, 0)) == {0, 1}


@pytest.mark.parametrize("false", [True, False], ids=["all false alarms", "all right"])
def test_of_one_kind_nothing_is_learned_and_nothing_kicked(false):
    features, _ = drawn(12)
    kinds = np.full(12, false)
    assert segment_classifier.learn(features, kinds) is None
    judged, models = segment_classifier.across_groups(features, kinds, np.ones(12, bool), np.arange(12) % 2)
    assert np.isnan(judged).all() and models == {0: None, 1: None}
    judged, whole = segment_classifier.leave_one_out(features, kinds)
    assert np.isnan(judged).all() and whole is None


def test_the_only_segment_of_its_kind_cannot_be_judged_without_itself():
    features, _ = drawn(12)
    false = np.arange(12) > 0
    judged, _ = segment_classifier.leave_one_out(features, false)
    assert np.isnan(judged).tolist() == [True] + [False] * 11


# The method.


def row(hits, classes=2, seed=0):
    """A row of ``look`` with random figures; ``hits`` says what each segment lies on."""
    random = np.random.RandomState(seed)
    found = {f"segments.{name}": random.standard_normal(len(hits)) for name in segments.names(classes)}
    return found | {"segments.id": np.arange(1, len(hits) + 1), "segments.hit": np.array(hits, np.uint8)}


def decide(rows, state=None, **params):
    groups = {sample: f"group of {sample}" for sample in rows}
    return EntropyMeta(**params).decide(rows, groups, state or {}, 0)


def rows_of(images=12, seed=0):
    random = np.random.RandomState(seed)
    return {
        f"image{i:02}": row(random.choice([FALSE, HIT, UNKNOWN], random.randint(0, 6)), seed=i) for i in range(images)
    }


def test_a_decision_about_one_image_does_not_depend_on_its_truth():
    rows = rows_of()
    chosen = next(name for name, one in rows.items() if {HIT, FALSE} <= set(one["segments.hit"].tolist()))
    turned = {**rows[chosen], "segments.hit": np.where(rows[chosen]["segments.hit"] == HIT, FALSE, HIT)}
    before, after = decide(rows).rows, decide({**rows, chosen: turned}).rows
    same = [np.array_equal(before[name]["segments.p_false"], after[name]["segments.p_false"]) for name in rows]
    assert same[list(rows).index(chosen)] and not all(same)


def test_what_is_kicked_is_what_is_more_likely_false_and_the_report_counts_it():
    rows = rows_of()
    decision = decide(rows)
    hit = np.concatenate([one["segments.hit"] for one in rows.values()])
    judged = np.concatenate([one["segments.p_false"] for one in decision.rows.values()])
    kicked = np.concatenate([one["segments.kicked"] for one in decision.rows.values()])
    assert np.array_equal(kicked, judged > 0.5) and kicked.any() and not kicked.all()
    report = decision.report
    assert report["segments"] == hit.size and report["kicked"] == kicked.sum()
    assert report["on objects, kicked"] == (kicked & (hit == HIT)).sum()
    assert report["false alarms"] == (hit == FALSE).sum() and report["ignored"] == (hit == UNKNOWN).sum()
    json.dumps(report, allow_nan=False)
    figures = next(iter(report["classifiers"].values()))["figures"]
    weights = [abs(one["weight"]) for one in figures.values()]
    assert weights == sorted(weights, reverse=True) and {"E", "S_rel", "cprob1", "mean_x"} <= figures.keys()


@pytest.mark.parametrize(
    "rows",
    [{}, {"a": row([])}, {"a": row([]), "b": row([])}, {"a": row([HIT, FALSE])}, {"a": row([HIT]), "b": row([HIT])}],
    ids=["no image", "no segment", "no segments", "a single group", "a single kind"],
)
@pytest.mark.parametrize("fidelity", ["corrected", "reference"])
def test_where_nothing_can_be_learned_nothing_is_kicked(rows, fidelity):
    decision = decide(rows, fidelity=fidelity)
    assert decision.rows.keys() == rows.keys()
    for sample, one in decision.rows.items():
        assert one["segments.kicked"].shape == one["segments.p_false"].shape == rows[sample]["segments.id"].shape
        assert not one["segments.kicked"].any()
    json.dumps(decision.report, allow_nan=False)


@pytest.mark.parametrize("depth", [2.0**-5, 1.0])
def test_kicked_segments_fall_below_all_that_is_kept_and_keep_their_order(depth):
    method = EntropyMeta(threshold=0.5, depth=depth)
    score = np.random.RandomState(0).rand(40, 60).astype(np.float32)
    score[20:] *= 0.5
    score[5:9, 5:9], score[30:34, 40:44] = 1, 0.5
    components = method._components(score, None)
    kicked = np.zeros(components.max(), bool)
    kicked[components[6, 6] - 1] = True
    refined = method.apply(score, None, {"segments.kicked": kicked})
    fallen = components == components[6, 6]
    assert refined.dtype == np.float32 and np.isfinite(refined).all()
    assert np.array_equal(refined[~fallen], score[~fallen])
    assert refined[fallen].max() < refined[(components > 0) & ~fallen].min() == np.float32(0.5)
    assert refined[fallen].max().astype(np.float16) < np.float16(0.5), "the same where maps are stored as float16"
    assert refined.min() >= 0 and refined[fallen].min() >= 0.5 * (1 - depth)
    assert np.array_equal(np.argsort(score[fallen], kind="stable"), np.argsort(refined[fallen], kind="stable"))
    with pytest.raises(BadPlugin, match=r"entropy_meta: \d+ segments, decided were 1"):
        method.apply(score, None, {"segments.kicked": np.array([True])})


def test_a_threshold_of_1_can_be_refined_too():
    score = np.array([[1, 0.999, 0, 1]], np.float32)
    refined = EntropyMeta(threshold=1.0).apply(score, None, {"segments.kicked": np.array([True, False])})
    assert refined.tolist() == [[pytest.approx(1 - 2**-9), np.float32(0.999), 0, 1]]


def says(softmax):
    return Prediction({"logits": torch.from_numpy(np.log(softmax))}, softmax.shape[1:])


def uncertain(size, *boxes, classes=3):
    """Softmax [C, H, W]: sure everywhere but in the boxes."""
    softmax = np.full((classes, *size), 0.01, np.float32)
    softmax[0] = 1 - 0.01 * (classes - 1)
    for top, left, bottom, right in boxes:
        softmax[:, top:bottom, left:right] = 1 / classes
    return softmax


def test_ignored_pixels_are_cut_out_first_in_the_source_alone():
    prediction = says(uncertain((10, 20), (2, 2, 6, 14)))
    truth = np.zeros((10, 20), np.uint8)
    truth[:, 6:9], truth[3, 3] = IGNORE, 1
    found = {}
    for fidelity in ("corrected", "reference"):
        method = EntropyMeta(fidelity=fidelity)
        score = method.score(prediction, {}).numpy()
        found[fidelity] = method.describe(prediction, score, truth)
    assert found["corrected"]["segments.S"].tolist() == [48] and found["corrected"]["segments.hit"].tolist() == [HIT]
    assert found["corrected"]["segments.inside"].tolist() == [36]
    assert found["reference"]["segments.S"].tolist() == [16, 20]
    assert found["reference"]["segments.hit"].tolist() == [HIT, FALSE]
    without = EntropyMeta().describe(prediction, score, None)
    assert not any(name.startswith("objects.") or name == "segments.hit" for name in without)
    assert np.array_equal(without["segments.E"], found["corrected"]["segments.E"])


def sample(anomaly, name="a"):
    return Sample(name, anomaly.shape, lambda: np.zeros((*anomaly.shape, 3), np.uint8), anomaly=anomaly, group=name)


def stream(images=6):
    """Large uncertain boxes on objects, small ones beside them."""
    for index in range(images):
        truth = np.zeros((24, 48), np.uint8)
        truth[4:14, 4:14] = 1
        yield (
            says(uncertain(truth.shape, (4, 4, 14, 14 - index % 3), (18, 30 + index, 20, 32 + index))),
            sample(truth, f"i{index}"),
        )


def test_a_fit_on_other_data_is_a_classifier_with_figures_by_name():
    method = EntropyMeta()
    state = method.fit(stream(), 0)
    assert {name: values.shape for name, values in state.items()} == {
        "segments": (), "false": (), "mean": (43,), "scale": (43,), "weights": (43,), "intercept": (),
    }  # fmt: skip
    assert float(state["segments"]) == 12 and float(state["false"]) == 6
    (prediction, one), *_ = stream()
    seen = method.describe(prediction, method.score(prediction, {}).numpy(), None)  # blind: no truth of this image
    decision = method.decide({one.id: seen}, {one.id: ""}, state, 0)
    assert decision.rows[one.id]["segments.kicked"].tolist() == [False, True]
    assert decision.report["on objects"] is None and "fitted" in decision.report["classifiers"]
    told = decision.report["classifiers"]["fitted"]["figures"]
    assert list(decision.report["largest weights"]) == list(told)[:10] and len(told) == 43
    place = segments.names(3).index("S_rel")
    assert told["S_rel"] == {
        name: state[key][place]
        for name, key in zip(("weight", "mean", "scale"), ("weights", "mean", "scale"), strict=True)
    }


def test_a_fit_needs_both_kinds_and_the_same_figures():
    method = EntropyMeta()
    with pytest.raises(MissingData, match=r"threshold 0.7 there are 0 segments on objects and 12 false alarms"):
        method.fit(((p, replace(s, anomaly=np.zeros_like(s.anomaly))) for p, s in stream()), 0)
    state = method.fit(stream(), 0)
    with pytest.raises(BadPlugin, match="fitted on segments of 43 figures, these have 41"):
        method.decide({"a": row([HIT])}, {"a": ""}, state, 0)


# The protocol, by hand: 10 x 30, two objects, three segments.


def scene():
    truth = np.zeros((10, 30), np.uint8)
    truth[2:5, 2:6], truth[2:5, 20:24], truth[:, 28:] = 1, 1, IGNORE
    score = np.zeros((10, 30), np.float32)
    score[2:5, 3:6], score[8:9, 10:12], score[0:2, 28:30] = 0.9, 0.8, 1.0
    return sample(truth), score


def read(protocol, *rows):
    return protocol.read(NOTHING, {f"image{index}": one for index, one in enumerate(rows)})


def test_errors_are_false_alarms_and_missed_objects():
    one, score = scene()
    found = read(Segments(), Segments().row(one, None, score))
    wanted = {"errors": 2, "false_alarms": 1, "missed": 1, "objects": 2, "precision": 0.5, "recall": 0.5, "f1": 0.5}
    assert {name: found[name].value for name in wanted} == wanted
    assert found["segment_ap"].value == 1  # the higher one of the two that have a truth
    assert found["errors_change"] == Undefined("the method is no refinement: it kicks nothing")
    assert list(found) == list(METRICS)


def test_a_sweep_counts_the_same_errors_at_other_thresholds():
    one, score = scene()
    protocol = Segments(thresholds=(0.85, 0.7, 0.95, 1.5))
    row = protocol.row(one, None, score)
    swept = protocol.breakdown(NOTHING, {"a": row, "b": row})["threshold"]
    errors = {part: (figures["false_alarms"].value, figures["missed"].value) for part, figures in swept.items()}
    assert errors == {"0.85": (0, 2), "0.7": (2, 2), "0.95": (0, 4), "1.5": (0, 4)}
    assert swept["1.5"]["precision"] == Undefined("no segment at this threshold")
    whole = protocol.read(NOTHING, {"a": row, "b": row})
    assert all(whole[name] == figure for name, figure in swept["0.7"].items())


@pytest.mark.parametrize(
    ("judged", "wanted"),
    [
        # (on an object, ignored, false alarm) in scan order: the ignored one is first
        ([0.9, 0.2, 0.8], {"errors": 1, "false_alarms": 0, "missed": 1, "kicked": 2, "true_kicked": 0,
                           "errors_change": -0.5, "judged_accuracy": 1, "judged_auroc": 1, "segment_ap": 1}),
        ([0.1, 0.7, 0.3], {"errors": 3, "false_alarms": 1, "missed": 2, "kicked": 1, "true_kicked": 1,
                           "errors_change": 0.5, "judged_accuracy": 0, "judged_auroc": 0, "segment_ap": 0.5}),
    ],
    ids=["rightly", "wrongly"],
)  # fmt: skip
def test_what_a_refinement_gained_and_lost(judged, wanted):
    one, before = scene()
    protocol, method = Segments(thresholds=(0.5,)), EntropyMeta()
    decided = {"segments.p_false": np.array(judged), "segments.kicked": np.array(judged) > 0.5}
    after = method.apply(before, None, decided)
    rows = {"image0": {**protocol.row(one, None, after), **protocol.refined(one, before, decided)}}
    found = protocol.read(NOTHING, rows)
    assert protocol.breakdown(NOTHING, rows) == {}, "no sweep of a map that was refined at one threshold"
    wanted |= {"errors_before": 2, "false_alarms_before": 1, "missed_before": 1}
    assert {name: found[name].value for name in wanted} == pytest.approx(wanted)


def test_the_sources_false_positives_after_are_the_hits_that_were_kicked():
    """(kicked) - (kicked and iou0), as the source computes what it prints as FP after."""
    hit, kicked = np.array([1, 1, 0, 0, 0]), np.array([True, False, True, True, False])
    printed = kicked.sum() - (kicked & (hit == 0)).sum()
    assert printed == (kicked & (hit == 1)).sum() == 1
    assert "FP after" in METRICS["true_kicked"].definition


def test_rankings_of_segments_are_those_of_scikit_learn():
    from sklearn.metrics import average_precision_score, roc_auc_score

    random = np.random.RandomState(0)
    for _ in range(50):
        ranks, right = random.randint(0, 8, 30).astype(float), random.rand(30) < 0.4
        assert ranking_ap(ranks, right, "").value == pytest.approx(average_precision_score(right, ranks), abs=1e-12)
        assert ranking_auroc(ranks, right).value == pytest.approx(roc_auc_score(right, ranks), abs=1e-12)
    both = np.array([np.inf, np.inf, 0.0])
    assert ranking_ap(both, np.array([True, False, False]), "").value == 0.5, "infinities are ties"


def test_segments_that_were_not_judged_have_no_ranking():
    one, before = scene()
    protocol = Segments()
    decided = {"segments.p_false": np.full(3, np.nan), "segments.kicked": np.zeros(3, bool)}
    found = read(protocol, {**protocol.row(one, None, before), **protocol.refined(one, before, decided)})
    assert found["judged_auroc"].reason.startswith("some segments were not judged")
    assert found["judged_accuracy"].reason.startswith("no segment was judged")
    assert found["kicked"].value == 0 and found["errors_change"].value == 0
    with pytest.raises(BadPlugin, match="a: 3 segments, the refinement decided about 2"):
        protocol.refined(one, before, {name: values[:2] for name, values in decided.items()})


# Through the engine.


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """An undisturbed run; only read."""
    folder = tmp_path_factory.mktemp("meta")
    results = run(write_suite(folder), folder / "run", workers=0)
    assert len(results) == 6
    return folder / "run"


def by_labels(folder):
    return {
        (r.labels.protocol.partition("[")[0], r.labels.method.partition("[")[0]): r
        for r in store.read_run(folder).results
    }


def test_every_protocol_counts_the_refined_map(whole):
    found = by_labels(whole)
    plain, refined = found["segments", "entropy"].metrics, found["segments", "entropy_meta"].metrics
    for name in ("errors", "false_alarms", "missed"):
        assert refined[f"{name}_before"].value == plain[name].value
    kicked, true = refined["kicked"].value, refined["true_kicked"].value
    assert kicked > 0 and refined["objects"].value == plain["objects"].value > 0
    ignored = found["segments", "entropy_meta"].fitted["decided"]["ignored, kicked"]
    assert plain["false_alarms"].value - refined["false_alarms"].value == kicked - true - ignored
    assert refined["missed"].value >= plain["missed"].value
    assert found["anomaly", "entropy"].pixels == found["anomaly", "entropy_meta"].pixels
    for protocol, name in (("anomaly", "ap"), ("components", "siou")):
        assert found[protocol, "entropy"].metrics[name].value != found[protocol, "entropy_meta"].metrics[name].value
    assert not (whole / "work").exists() and not (whole / "spool").exists()
    assert {"predict", "segments", "refine", "count"} <= found["anomaly", "entropy_meta"].seconds.keys()


def test_the_tables_and_the_classifiers_are_kept(whole):
    import pandas

    found = by_labels(whole)["segments", "entropy_meta"]
    table, objects = pandas.read_parquet(whole / "segments"), pandas.read_parquet(whole / "objects")
    assert len(table) == found.fitted["decided"]["segments"] and len(objects) == found.metrics["objects"].value
    assert {"sample", "group", "id", "E", "ndist18", "iou", "p_false", "kicked"} <= set(table.columns)
    assert table["kicked"].sum() == found.metrics["kicked"].value
    assert (objects["I"] == 0).sum() == found.metrics["missed_before"].value
    assert table["sample"].is_monotonic_increasing and table["iou"].isna().equals(table["inside"] == 0)
    told = json.loads((whole / found.fitted["decided"]["classifiers"]).read_text())
    assert len(told["classifiers"]) == 4 and all(len(one["figures"]) == 75 for one in told["classifiers"].values())
    assert told["kicked"] == found.metrics["kicked"].value


@pytest.mark.parametrize("how", [{"shard": 3, "workers": 1}, {"shard": 5, "processes": 2}], ids=str)
def test_processes_and_shards_change_no_digit(whole, tmp_path, how):
    run(write_suite(tmp_path / "suite"), tmp_path / "run", **how)
    assert metrics(tmp_path / "run") == metrics(whole)
    for path in (whole / "cells").glob("*.npz"):
        with np.load(path) as one, np.load(tmp_path / "run" / "cells" / path.name) as other:
            assert one.files == other.files
            assert all(np.array_equal(one[n], other[n], equal_nan=one[n].dtype.kind == "f") for n in one.files)
    for path in [*whole.glob("segments/*"), *whole.glob("objects/*"), *whole.glob("decisions/*")]:
        assert path.read_bytes() == (tmp_path / "run" / path.relative_to(whole)).read_bytes()


def test_a_run_killed_anywhere_goes_on_and_ends_the_same(whole, tmp_path):
    """Interrupted after every third file of a shard: in the first pass, while counting, in the second phase."""
    suite = suites.load(write_suite(tmp_path / "suite"))
    real, attempts, phases = shard_files.write, 0, set()
    while True:
        written = []

        def stopping(path, shard, written=written):
            if len(written) == 3:
                raise KeyboardInterrupt
            written.append(path)
            phases.add(path.name.partition("-")[0])
            real(path, shard)

        attempts += 1
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(shard_files, "write", stopping)
            try:
                list(engine.run(suite, tmp_path / "run", Options(shard=8, workers=0), Silent()))
                break
            except KeyboardInterrupt:
                assert attempts < 20, "it makes no progress"
    assert attempts >= 4 and phases == {"phase0", "phase1", "phase2"}
    assert metrics(tmp_path / "run") == metrics(whole)
    assert not (tmp_path / "run" / "work").exists() and not (tmp_path / "run" / "spool").exists()


def test_shards_counted_after_another_decision_are_not_merged(whole, tmp_path):
    """A limited run that was killed leaves counts behind that stand on a decision about fewer images."""
    suite = suites.load(write_suite(tmp_path / "suite"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(finalise, "publish", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            list(engine.run(suite, tmp_path / "run", Options(shard=8, workers=0, limit=8), Silent()))
    assert list((tmp_path / "run").glob("work/*/phase1-*.npz"))
    run(write_suite(tmp_path / "suite"), tmp_path / "run", shard=8, workers=0)
    assert metrics(tmp_path / "run") == metrics(whole)


def test_maps_that_are_kept_are_the_refined_ones(tmp_path):
    import pandas

    only = {"method": "entropy_meta", "protocol": "components*"}  # it keeps float32
    run(write_suite(tmp_path / "suite"), tmp_path / "run", only=only, keep_maps=True, workers=0)
    table = pandas.read_parquet(tmp_path / "run" / "segments")
    maps = sorted((tmp_path / "run" / "spool").rglob("scores/*.npy"))
    assert len(maps) == 16 and table["kicked"].any()
    above = sum(int((np.load(path) >= np.float32(0.995)).sum()) for path in maps)
    assert above == table.loc[~table["kicked"], "S"].sum() < table["S"].sum()


@pytest.mark.parametrize(
    ("threshold", "segments_found"), [(1.0, 0), (0.001, 16)], ids=["no segment anywhere", "every image is one segment"]
)
def test_the_extremes_of_a_threshold_have_results(tmp_path, threshold, segments_found):
    import pandas

    text = SUITE.replace("0.995", str(threshold)).replace("min_predicted: 1}", "min_predicted: 1, thresholds: [0.5]}")
    path = write_suite(tmp_path / "suite", text)
    run(path, tmp_path / "run", workers=0)
    found = by_labels(tmp_path / "run")
    assert len(found) == 6 and not any(result.not_applicable for result in found.values())
    assert len(pandas.read_parquet(tmp_path / "run" / "segments")) == segments_found
    plain, refined = (found["segments", method].metrics for method in ("entropy", "entropy_meta"))
    assert plain["errors"].value == refined["errors_before"].value
    if not segments_found:
        assert plain["precision"].reason == "no segment at this threshold"
        assert refined["judged_auroc"].reason.startswith("all segments are right") and refined["kicked"].value == 0
        assert found["anomaly", "entropy"].metrics["ap"] == found["anomaly", "entropy_meta"].metrics["ap"]


ELSEWHERE = "{toytown: {split: anomaly, images: 8, height: 32, width: 64, seed: 4}}"
FIT = f"{{entropy_meta: {{threshold: 0.995, fit: {{data: {ELSEWHERE}}}}}}}"


def test_what_is_learned_elsewhere_sees_no_truth_here(tmp_path, monkeypatch):
    text = SUITE.replace("{entropy_meta: {threshold: 0.995}}", FIT)
    path = write_suite(tmp_path / "suite", text)
    only = {"method": "entropy_meta", "protocol": "anomaly"}
    (one,) = run(path, tmp_path / "run", only=only, workers=0)
    assert one.fitted["decided"]["judged by"] == "a classifier fitted on other data"
    assert one.fitted["scalars"]["segments"] > 5 and len(one.fitted["decided"]["largest weights"]) == 10
    decided = []
    real = EntropyMeta.decide

    def blind(self, rows, groups, state, seed):
        decision = real(self, rows, groups, state, seed)
        hidden = {s: {n: v for n, v in r.items() if n != "segments.hit"} for s, r in rows.items()}
        again = real(self, hidden, groups, state, seed)
        decided.append(
            all(np.array_equal(decision.rows[s]["segments.p_false"], again.rows[s]["segments.p_false"]) for s in rows)
        )
        return decision

    monkeypatch.setattr(EntropyMeta, "decide", blind)
    run(path, tmp_path / "again", only=only, workers=0)
    assert decided == [True]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda row: row | {"more": np.zeros(1)}, r"wrote down 'more', wanted table.column with an array of one"),
        (lambda row: row | {"segments.more": np.zeros((2, 2))}, "wrote down 'segments.more', wanted"),
        (lambda row: row | {"segments.more": np.zeros(99)}, r"columns of 'segments' with \d+ to 99 lines"),
        (
            lambda row: row | {f"segments.{row['segments.id'].size}": row["segments.id"]},
            "other columns than before: 's",
        ),
    ],
    ids=["no table", "two dimensions", "lengths", "other columns"],
)
def test_a_refinement_that_writes_down_something_else_is_named(tmp_path, monkeypatch, change, words):
    real = EntropyMeta.describe
    monkeypatch.setattr(EntropyMeta, "describe", lambda self, *given: change(dict(real(self, *given))))
    with pytest.raises(CellsFailed, match=rf"method entropy_meta\[threshold=0.995\] on toytown.* {words}"):
        run(write_suite(tmp_path / "suite"), tmp_path / "run", only={"method": "entropy_meta*"}, workers=0)


def test_a_fitted_refinement_changes_maps_of_images_without_a_truth(tmp_path):
    """What is submitted is what a run counts: the same decision, image by image."""
    path = write_suite(tmp_path / "suite", SUITE.replace("{entropy_meta: {threshold: 0.995}}", FIT))
    run(path, tmp_path / "run", only={"method": "entropy_meta*", "protocol": "components*"}, keep_maps=True, workers=0)
    suite = suites.load(path).only({"method": "entropy_meta*", "protocol": "components*"})
    choice = score_maps.choose(suite)
    dataset = suite.cells[0].dataset.build()
    hidden = (replace(dataset.load(place), anomaly=None, labels=None) for place in range(16))
    made = {one.id: score for one, score, _ in score_maps.each(choice, hidden, Worker())}
    counted = {file.stem: np.load(file) for file in (tmp_path / "run" / "spool").rglob("scores/*.npy")}
    assert made.keys() == counted.keys() and all(np.array_equal(made[one], counted[one]) for one in made)
    unfitted = suites.load(write_suite(tmp_path / "suite")).only({"method": "entropy_meta*"})
    with pytest.raises(
        BadSuite, match="learns from the truth of the images that it judges, which a submission has not"
    ):
        score_maps.choose(unfitted)


def test_refusals_before_anything_is_computed(tmp_path):
    def checked(text):
        """Return the reasons for which cells are not applicable."""
        refused = preflight.check(suites.load(write_suite(tmp_path / "suite", text))).refused
        return [refusal.reason for refusal in refused.values()]

    reasons = set(checked(SUITE.replace("{threshold: 0.995}}]", "{threshold: 0.9}}]")))
    assert reasons == {"entropy_meta makes its segments with threshold 0.9, segments with 0.995; say the same"}
    text = SUITE.replace("{threshold: 0.995}}]", "{threshold: 0.995, fidelity: reference}}]")
    assert "fidelity reference, segments with corrected" in next(iter(checked(text)))
    text = SUITE.replace("split: anomaly", "split: val").replace("[anomaly, ", "[misclassification, ")
    reasons = {reason for reason in checked(text) if "learns from" in reason}
    assert (
        len(reasons) == 1 and "has no anomaly, which entropy_meta[threshold=0.995] learns from; fit it" in reasons.pop()
    )
    same = FIT.replace("images: 8", "images: 16").replace(", seed: 4", "")
    with pytest.raises(BadSuite, match="would be judged on the images that it learns from"):
        checked(SUITE.replace("{entropy_meta: {threshold: 0.995}}", same))
    no_truth = FIT.replace("split: anomaly", "split: val")
    suite = suites.load(write_suite(tmp_path / "suite", SUITE.replace("{entropy_meta: {threshold: 0.995}}", no_truth)))
    with pytest.raises(MissingData, match="has no anomaly to fit on"):
        fitted_store.data_of(next(cell.method for cell in suite.cells if cell.method.fit))


def test_an_edited_base_makes_the_refinement_stale(monkeypatch):
    before = registry.digest("method", "entropy_meta")
    monkeypatch.setattr(EntropyMeta, "refines", "msp")
    assert registry.digest("method", "entropy_meta") != before


@pytest.mark.slow
def test_on_toytown_more_false_alarms_go_than_true_segments(tmp_path):
    """And what that costs is seen, too: objects that were touched before are missed after."""
    run(suites.shipped()["toytown_meta"], tmp_path / "run", only={"protocol": "segments*"})
    found = {r.labels.method: r.metrics for r in store.read_run(tmp_path / "run").results}
    for name in ("entropy + meta, other drives", "entropy + meta, another town"):
        figures = found[name]
        removed = figures["false_alarms_before"].value - figures["false_alarms"].value
        assert removed > 5 * figures["true_kicked"].value > 0
        assert figures["errors"].hi < found["entropy"]["errors"].lo
        assert figures["missed"].value > figures["missed_before"].value

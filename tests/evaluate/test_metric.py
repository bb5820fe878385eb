"""``bench.Metric``: the figures of ``bench score``, whatever the way in which the images come."""

import json
import pickle

import numpy as np
import pytest
import torch
from PIL import Image

import bench
from bench.api import Quantized, TwoPhase, Undefined
from bench.cli.main import main
from bench.evaluate.metric import Metric
from bench.suite import registry

PROTOCOLS = sorted(registry.available("protocol").keys() - {"instances"})  # which no mask holds


def sent(metric):
    """A metric as another process gets it."""
    return pickle.loads(pickle.dumps(metric))  # noqa: S301


def images(count=4, size=(40, 60), seed=0):
    """Scores in [0, 1], masks with ignored pixels, train ids and class maps."""
    generator = np.random.default_rng(seed)
    anomaly = np.zeros((count, *size), np.uint8)
    anomaly[:, 8:18, 10:24] = 1
    anomaly[:, 30:33, 40:44] = 1
    labels = generator.integers(0, 19, anomaly.shape).astype(np.uint8)
    predicted = np.where(generator.random(anomaly.shape) < 0.8, labels, (labels + 1) % 19).astype(np.uint8)
    labels[:, :3] = anomaly[:, :3] = 255
    noise = generator.normal(size=anomaly.shape)
    scores = 1 / (1 + np.exp(-noise - 2 * (anomaly == 1) - (labels != predicted)))
    return scores.astype(np.float32), anomaly, labels, predicted


SCORES, ANOMALY, LABELS, PREDICTED = images()
IDS = [f"f{index}" for index in range(len(SCORES))]


def arrays_for(protocol):
    """The arguments of ``update`` for a protocol."""
    truth = ANOMALY if protocol.needs & {"anomaly", "labels"} == {"anomaly"} else LABELS
    predicted = PREDICTED if "prediction" in protocol.needs else None
    return (SCORES if protocol.reads else None), truth, predicted


def both_truths(name):
    """Return True for a protocol that needs labels and a mask of anomalies beside them."""
    return registry.plugin("protocol", name, where="test").truths == {"anomaly", "labels"}


def command_line(tmp_path, capsys, name, arrays, *options):
    """The JSON of ``bench score`` on the same arrays."""
    for folder, stack in zip(("scores", "labels", "predictions"), arrays, strict=True):
        (tmp_path / folder).mkdir()
        for sample, array in zip(IDS, [] if stack is None else stack, strict=False):
            if folder == "scores":
                np.save(tmp_path / folder / f"{sample}.npy", array)
            else:
                Image.fromarray(array).save(tmp_path / folder / f"{sample}.png")
    argv = ["score", "--protocol", name, "--labels", str(tmp_path / "labels"), "--format", "json", *options]
    argv += ["--scores", str(tmp_path / "scores")] if arrays[0] is not None else []
    argv += ["--predictions", str(tmp_path / "predictions")] if arrays[2] is not None else []
    if both_truths(name):
        (tmp_path / "masks").mkdir()
        for sample, mask in zip(IDS, ANOMALY, strict=True):
            Image.fromarray((mask == 1).astype(np.uint8)).save(tmp_path / "masks" / f"{sample}.png")
        argv += ["--invalid", str(tmp_path / "masks" / "{id}.png")]
    assert main(argv) == 0
    return json.loads(capsys.readouterr().out)["evaluations"]


@pytest.mark.parametrize("name", PROTOCOLS)
def test_every_protocol_has_the_digits_of_the_command_line(name, tmp_path, capsys):
    metric = Metric(name, resamples=20)
    scores, truth, predicted = arrays_for(metric.protocols[0])
    masks = (ANOMALY == 1).astype(np.uint8) if both_truths(name) else None
    asked = command_line(tmp_path, capsys, name, (scores, truth, predicted), "--bootstrap", "20")
    halves = Metric(name, resamples=20, keep=tmp_path / "kept"), Metric(name, resamples=20, keep=tmp_path / "kept")
    for start, half in zip((0, 2), halves, strict=True):
        part = slice(start, start + 2)
        half.update(
            None if scores is None else torch.from_numpy(scores[part]),
            torch.from_numpy(truth[part]).long(),
            None if predicted is None else torch.from_numpy(predicted[part]),
            anomaly=None if masks is None else torch.from_numpy(masks[part]),
            id=IDS[part],
        )
    halves[1].merge(sent(halves[0]))
    assert halves[1].compute().record()["evaluations"] == asked
    for index, sample in enumerate(IDS):
        one = [None if stack is None else stack[index] for stack in (scores, truth, predicted)]
        metric.update(*one, anomaly=None if masks is None else masks[index], id=sample)
    while metric.again():
        metric.update(scores, truth, predicted, anomaly=masks, id=IDS)
    assert metric.compute().record()["evaluations"] == asked


def test_several_protocols_share_a_pass_and_none_moves_another(tmp_path):
    names = ["anomaly", {"components": {"min_predicted": 5}}, "fishyscapes", bench.protocol("streethazards")]
    together = Metric(*names, keep="disk", resamples=20)
    together.update(SCORES, ANOMALY)
    figures = together.compute()
    for entry, label in zip(
        names, ("anomaly", "components[min_predicted=5]", "fishyscapes", "streethazards"), strict=True
    ):
        alone = Metric(entry, keep="disk", resamples=20)
        alone.update(SCORES, ANOMALY)
        for name, figure in alone.compute().items():
            assert figures[f"{label}/{name}"] == figure
    assert set(figures.to_dict()) == set(figures)
    frame = figures.to_frame()
    assert len(frame) == len(figures)
    assert frame.value.notna().sum() == sum(not isinstance(figure, Undefined) for figure in figures.values())
    assert figures.table() in repr(figures)
    shown = figures._repr_html_()
    assert shown.count("<table>") == len(names) and "components, 4 images" in shown and "95 % interval" in shown


@pytest.mark.parametrize("budget", [2**30, 2**14])
def test_parts_that_tell_protocols_apart_merge_to_the_whole(budget):
    """The two share a tally until a score loses digits in float32."""
    wide = SCORES.astype(np.float64) + np.where(SCORES > 0.5, 1e-12, 0)
    narrow, other = (Metric("anomaly", "fishyscapes", budget=budget, resamples=0) for _ in range(2))
    narrow.update(SCORES[:2], ANOMALY[:2], id=IDS[:2])
    other.update(wide[2:], ANOMALY[2:], id=IDS[2:])
    whole = Metric("anomaly", "fishyscapes", budget=budget, resamples=0)
    whole.update(SCORES[:2], ANOMALY[:2], id=IDS[:2])
    whole.update(wide[2:], ANOMALY[2:], id=IDS[2:])
    for first, second in ((narrow, other), (other, narrow)):
        joined = Metric("anomaly", "fishyscapes", budget=budget, resamples=0)
        joined.merge(first)
        joined.merge(second)
        assert joined.compute().record() == whole.compute().record()


def test_a_second_phase_without_exact_counts_looks_twice(tmp_path, capsys):
    scores, truth = (np.tile(stack, (1, 3, 3)) for stack in (SCORES, ANOMALY))
    asked = command_line(
        tmp_path, capsys, "components", (scores, truth, None), "--budget", "65536", "--bootstrap", "20"
    )
    kept = Metric("components", budget=65536, keep="disk", resamples=20)
    kept.update(scores, truth, id=IDS)
    passes, metric = 0, Metric("components", budget=65536, resamples=20)
    metric.update(scores, truth, id=IDS)
    while metric.again():
        passes += 1
        for index, sample in enumerate(IDS):
            metric.update(scores[index], truth[index], id=sample)
    assert passes == 2
    assert kept.compute().record()["evaluations"] == metric.compute().record()["evaluations"] == asked


def test_a_saved_metric_goes_on(tmp_path):
    metric = Metric("anomaly", "streethazards", resamples=20, seed=3)
    metric.update(SCORES[:2], ANOMALY[:2])
    metric.save(tmp_path / "half.npz")
    loaded = Metric.load(tmp_path / "half.npz")
    for each in (metric, loaded):
        each.update(SCORES[2:], ANOMALY[2:])
    assert loaded.compute().record() == metric.compute().record()
    assert repr(loaded) == repr(metric)
    metric.reset()
    assert len(metric) == 0
    done = Metric("components", resamples=20)
    done.update(SCORES, ANOMALY)
    while done.again():
        done.update(SCORES, ANOMALY)
    assert sent(done).compute().record() == done.compute().record()


def test_scikit_learn_has_the_same_figures():
    metrics = pytest.importorskip("sklearn.metrics")
    metric = Metric("anomaly", resamples=0)
    metric.update(SCORES, ANOMALY)
    counted = ANOMALY != 255
    figures = metric.compute()
    truth, scores = ANOMALY[counted], SCORES[counted]
    assert float(figures["auroc"]) == pytest.approx(metrics.roc_auc_score(truth, scores), abs=1e-12)
    assert float(figures["ap"]) == pytest.approx(metrics.average_precision_score(truth, scores), abs=1e-12)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_tensors_of_any_type_count_as_the_numbers_that_they_hold(dtype):
    given = torch.from_numpy(SCORES).to(dtype)
    tensors, arrays = Metric("anomaly", resamples=0), Metric("anomaly", resamples=0)
    tensors.update(given.requires_grad_()[:, None], torch.from_numpy(ANOMALY).int())
    arrays.update(given.detach().double().numpy(), ANOMALY)
    assert tensors.compute().record() == arrays.compute().record()


def test_scores_that_point_the_other_way_are_noted():
    metric = Metric("anomaly")
    metric.update(-SCORES, ANOMALY)
    assert "negate" in metric.compute().notes[0]


def test_an_image_that_cannot_be_counted_leaves_the_others():
    metric = Metric("anomaly", resamples=0)
    metric.update(SCORES[:2], ANOMALY[:2])
    broken = SCORES[2:].copy()
    broken[1, 20, 20] = np.nan
    with pytest.raises(bench.errors.BadScores, match="image 00000003 holds 1 NaN"):
        metric.update(broken, ANOMALY[2:])
    assert len(metric) == 2


def refusals():
    """What is done with a metric, and the words of the error."""
    good = SCORES[0], ANOMALY[0]

    def components(*steps):
        metric = Metric("components")
        metric.update(*good, id="a")
        for step in steps:
            step(metric)
        return metric

    yield "no protocol", lambda: Metric(), "names no protocol"
    yield "unknown", lambda: Metric("anomly"), "did you mean 'anomaly'"
    yield "keep", lambda: Metric("components", keep="disc"), "keep is 'disc'; wanted 'disk', or a Path"
    yield "resamples", lambda: Metric("anomaly", resamples=-1), "resamples is -1"
    yield "budget", lambda: Metric("anomaly", budget=0), "budget is 0"
    yield "parameter", lambda: Metric("components:min=3"), "parameter"
    yield "entry", lambda: Metric({"anomaly": {}, "miou": {}}), "is no protocol"
    yield "both kinds", lambda: Metric("anomaly", "calibration"), "make a Metric of each"
    yield "nothing", lambda: Metric("anomaly").compute(), "no image was counted yet"
    yield "no scores", lambda: Metric("anomaly").update(None, good[1]), "reads scores"
    yield "no class map", lambda: Metric("miou").update(None, LABELS[0]), "predictions="
    yield "two truths", lambda: Metric("anomaly", "misclassification").update(SCORES, LABELS, PREDICTED), "anomaly=mask"
    yield "mask twice", lambda: Metric("anomaly").update(*good, anomaly=good[1]), "leave anomaly= out"
    yield "values", lambda: Metric("anomaly").update(good[0], good[1] * 2), "hold the value 2, wanted 0 normal"
    yield (
        "train ids",
        lambda: Metric("miou").update(None, np.full((4, 4), 19, np.uint8), PREDICTED[0, :4, :4]),
        "value 19",
    )
    yield "fractions", lambda: Metric("anomaly").update(good[0], good[1] / 2), "wanted whole numbers"
    yield "negative", lambda: Metric("anomaly").update(good[0], good[1].astype(int) - 9), "beyond 0..255"
    yield "size", lambda: Metric("anomaly").update(SCORES[0, :20], good[1]), "bring them to that size"
    yield "batch", lambda: Metric("anomaly").update(SCORES[:2], ANOMALY[:3]), "score is"
    yield "axes", lambda: Metric("anomaly").update(SCORES, ANOMALY[0]), "all of them"
    yield "no array", lambda: Metric("anomaly").update([[1.0]], good[1]), "wanted a NumPy array"
    yield "ids", lambda: Metric("anomaly").update(SCORES[:2], ANOMALY[:2], id="a"), "id names 1 images, the batch has 2"
    yield "same ids", lambda: Metric("anomaly").update(SCORES[:2], ANOMALY[:2], id="aa"), "images"
    yield "one phase", lambda: components().compute(), "keep='disk'"
    yield "not the same", lambda: components(Metric.again).update(*good, id="b"), "not in the first pass"
    yield "half a pass", lambda: components(Metric.again).again(), "0 of 1 images, not a"
    yield (
        "over",
        lambda: components(Metric.again, lambda metric: metric.update(*good, id="a"), Metric.again).update(
            *good, id="b"
        ),
        "reset",
    )
    yield "merged late", lambda: components(Metric.again).merge(components()), "merge before again"
    yield "others", lambda: components().merge(Metric("anomaly")), "equal protocols"
    yield "twice", lambda: components().merge(components()), "image a is in both"
    yield "sent with maps", lambda: pickle.dumps(kept()), "keep=Path"


def kept():
    metric = Metric("components", keep="disk")
    metric.update(SCORES, ANOMALY)
    return metric


@pytest.mark.parametrize(("call", "words"), [pytest.param(*rest, id=name) for name, *rest in refusals()])
def test_what_cannot_be_counted_is_refused_in_words(call, words):
    with pytest.raises(bench.errors.UserError, match=words):
        call()


def test_a_file_that_is_no_metric_is_refused(tmp_path):
    (tmp_path / "words.npz").write_text("no archive")
    np.savez(tmp_path / "other.npz", header=np.array(json.dumps({"schema": 99})))
    np.savez(tmp_path / "bare.npz", numbers=np.zeros(3))
    for name in ("words.npz", "other.npz", "bare.npz", "absent.npz"):
        with pytest.raises(bench.errors.MissingData):
            Metric.load(tmp_path / name)


def test_maps_on_disk_go_with_the_metric():
    metric = kept()
    folder = metric._maps.folder
    assert len(list(folder.iterdir())) == 4
    metric.compute()
    metric.update(SCORES[0], ANOMALY[0])  # more may follow
    assert metric.compute().report.evaluations[0].images == 5
    del metric
    assert not folder.exists()


def test_the_protocols_that_need_care_are_among_those_tried():
    """The walk over the registry covers maps that are quantized and looked at twice."""
    classes = [registry.plugin("protocol", name, where="test") for name in PROTOCOLS]
    assert any(issubclass(cls, TwoPhase) for cls in classes)
    assert any(issubclass(cls, Quantized) for cls in classes)

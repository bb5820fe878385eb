"""``bench.run``, ``bench.evaluate``, ``bench.load`` and ``Run``: the keys and digits of the command line."""

import json
from dataclasses import dataclass

import pandas as pd
import pytest
import torch
from running import metrics

import bench
from bench.api import Context, Method, Prediction
from bench.cli.main import main
from bench.report.plots import lines
from bench.suite import registry

DATA = {"toytown": {"split": "anomaly", "images": 4, "height": 32, "width": 64}}


def network():
    """The network of ``tiny``, in training mode."""
    torch.manual_seed(7)
    return torch.nn.Sequential(
        torch.nn.Conv2d(3, 16, 3, padding=1, stride=4), torch.nn.ReLU(), torch.nn.Conv2d(16, 19, 1)
    ).train()


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def both(tiny, tmp_path):
    """The same suite by the command line and from Python."""
    assert main(["run", str(tiny), "--out", "typed", "--method", "msp", "--method", "energy:temperature=2"]) == 0
    return tmp_path / "typed", bench.run(tiny, "called", method=["msp", {"energy": {"temperature": 2}}])


def test_a_run_has_the_keys_digits_tables_and_pages_of_the_command_line(both, capsys):
    typed, run = both
    assert metrics(run.path) == metrics(typed)
    assert not run.failures
    capsys.readouterr()
    for argv, called in (
        (["show", "called"], lambda: run.table()),
        (["show", "called", "--only", "method=msp", "--metrics", "ap"], lambda: run.only(method="msp").table("ap")),
        (["compare", "called@method=msp", "called@method=energy*"], lambda: differences(run).table()),
    ):
        assert main(argv) == 0
        assert called() == capsys.readouterr().out.rstrip("\n")
    assert main(["show", "called", "--format", "json"]) == 0
    records = json.loads(capsys.readouterr().out)["records"]
    pd.testing.assert_frame_equal(run.frame(), pd.DataFrame(records), check_exact=True)
    assert main(["compare", "called@method=msp", "called@method=energy*", "--format", "json"]) == 0
    asked = json.loads(capsys.readouterr().out)["differences"]
    assert [entry["difference"] for entry in asked] == [entry.difference for entry in differences(run)]
    assert list(differences(run).frame().columns) == list(asked[0])
    assert main(["report", "called", "--format", "md", "--out", "typed.md"]) == 0
    assert run.report("called.md").read_text() == run.path.parent.joinpath("typed.md").read_text()
    assert run.report().name == "report.html"
    assert "AUROC" in run._repr_html_() and "B - A</th>" in differences(run)._repr_html_()
    assert repr(run) == "bench.Run('called'), 7 of 7 cells"
    assert metrics(bench.load("called").path) == metrics(typed)
    assert len(bench.load("a=called", "b=typed").frame()) == len(records), "equal runs are one"


def differences(run):
    return run.only(method="msp").compare(run.only(method="energy*"))


def test_curves_are_points_of_every_cell_that_has_one(both):
    _, run = both
    roc, pr, risk, reliability = (run.curves(kind) for kind in lines.CURVES)
    assert set(roc.method) == {"msp", "energy[temperature=2]"} and "anomaly" in set(roc.protocol)
    assert set(risk.protocol) == {"misclassification"} and set(reliability.method) == {"msp"}
    for _, line in roc.groupby(["protocol", "method"]):
        assert line.fpr.is_monotonic_increasing and (line.tpr.iloc[0], line.tpr.iloc[-1]) == (0, 1)
    assert pr.recall.between(0, 1).all() and risk.coverage.between(0, 1).all()
    with pytest.raises(bench.errors.UnknownName, match="unknown curve 'rok'; known: precision_recall"):
        run.curves("rok")


@dataclass(frozen=True)
class Doubled(Method):
    """A method of the program that calls: entropy under another name."""

    name = "doubled"
    source = "a test"

    factor: float = 2.0

    def score(self, prediction, state):
        return self.factor * prediction.entropy()


@pytest.fixture
def forgetful():
    yield
    registry._ADOPTED.clear()
    registry.forget()


@pytest.mark.usefixtures("forgetful")
def test_a_module_has_the_digits_of_the_same_network_from_a_file(tiny):
    module = network()
    settings = {"bootstrap": 50, "protocols": ["anomaly", "miou"], "out": "memory"}
    entries = ["msp", {"energy": {"temperature": 2}}, Doubled(), bench.method("entropy")]
    run = bench.evaluate(module, DATA, entries, name="tiny", **settings)
    suite = {
        "protocols": ["anomaly", "miou"],
        "models": [{"python": {"factory": str(tiny.parent / "net.py:build"), "label": "tiny"}}],
        "datasets": [DATA],
        "methods": ["msp", {"energy": {"temperature": 2}}, "entropy"],
        "bootstrap": 50,
    }
    file = bench.run(suite, "file").frame().set_index(["protocol", "method", "metric"]).value
    memory = run.frame().set_index(["protocol", "method", "metric"]).value
    assert set(memory.index) > set(file.index)
    assert all(memory[key] == value for key, value in file.items())
    assert memory["anomaly", "doubled", "auroc"] == memory["anomaly", "entropy", "auroc"]
    assert module.training and all(part.training for part in module)
    before = metrics(run.path)
    bench.evaluate(module, DATA, entries, name="tiny", **settings)
    times = [path.stat().st_mtime_ns for path in sorted((run.path / "cells").glob("*.json"))]
    with torch.no_grad():
        module[2].weight *= 2
    bench.evaluate(module, DATA, entries, name="tiny", **settings)
    assert metrics(run.path) != before, "other weights are computed again"
    assert all(
        path.stat().st_mtime_ns > time
        for path, time in zip(sorted((run.path / "cells").glob("*.json")), times, strict=True)
    )
    with pytest.raises(bench.errors.MissingData, match="was one of a Python program"):
        bench.run("memory/suite.yaml", "again")


def test_an_entry_of_a_suite_has_the_keys_of_the_suite(tiny):
    entry = {"python": {"factory": str(tiny.parent / "net.py:build"), "label": "tiny"}}
    evaluated = bench.evaluate(entry, DATA, ["msp"], protocols=["anomaly"], bootstrap=20, out="entry")
    suite = {"protocols": ["anomaly"], "models": [entry], "datasets": [DATA], "methods": ["msp"], "bootstrap": 20}
    assert metrics(evaluated.path) == metrics(bench.run(suite, "spelled").path)


def test_every_protocol_has_the_digits_of_a_run_from_the_scores_of_a_method():
    """What ``bench.method`` gives for the logits, counted by ``bench.Metric``, is what the run has computed."""
    names = sorted(registry.available("protocol").keys() - {"instances"})  # toytown labels none
    module, msp, samples = network().eval(), bench.method("msp"), bench.dataset("toytown", **DATA["toytown"])
    run = bench.evaluate(module, samples, msp, protocols=names, bootstrap=20)
    figures = {(record.protocol, record.metric): record for record in run.frame().itertuples()}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    for name in names:
        metric = bench.Metric(name, resamples=20, keep="disk")
        protocol = metric.protocols[0]
        for sample in samples:
            pixels = torch.from_numpy(sample.image()).permute(2, 0, 1)[None].float() / 255
            with torch.no_grad():
                logits = module(pixels)[0]
            score = msp(logits, size=sample.size).numpy()
            seen = Prediction({"logits": logits}, sample.size)
            seen.context = Context(sample.size, fused=True)
            only_masks = protocol.truths == {"anomaly"}
            metric.update(
                msp.method.confidence(score) if protocol.reads == "confidence" else score,
                sample.anomaly if only_masks else sample.labels,
                seen.labels,
                anomaly=None if only_masks else sample.anomaly,
                id=sample.id,
            )
        computed = metric.compute()
        for key, figure in computed.items():
            record = figures[name, key]
            if isinstance(figure, bench.Undefined):
                assert record.reason
            else:
                assert (figure.value, figure.err) == (record.value, record.err), (name, key)
                assert [figure.lo, figure.hi] == [None if pd.isna(end) else end for end in (record.lo, record.hi)]
    torch.set_num_threads(threads)


def test_a_callable_that_returns_a_mapping_is_a_network():
    module = network()
    run = bench.evaluate(
        lambda pixels: {"out": module(pixels)}, DATA, "msp", protocols="anomaly", bootstrap=0, name="f"
    )
    plain = bench.evaluate(module, DATA, "msp", protocols="anomaly", bootstrap=0, name="m")
    assert run.frame().value.tolist() == plain.frame().value.tolist()


def test_a_model_of_transformers_says_how_it_is_prepared():
    transformers = pytest.importorskip("transformers")
    config = transformers.SegformerConfig(
        num_labels=19, depths=[1] * 4, hidden_sizes=[8] * 4, num_attention_heads=[1] * 4, decoder_hidden_size=8
    )
    model = transformers.SegformerForSemanticSegmentation(config)
    with pytest.raises(bench.errors.BadPlugin, match="image_mean"):
        bench.evaluate(model, DATA)
    prepared = {"mean": (0.5, 0.5, 0.5), "std": (0.25, 0.25, 0.25), "bootstrap": 0}
    assert bench.evaluate(model, DATA, "msp", **prepared).frame().value.notna().all()


def test_cells_that_fail_are_named_and_the_others_kept():
    def strange(pixels):
        return torch.full((1, 19, 2, 2), torch.nan)

    with pytest.raises(bench.errors.CellsFailed, match="repair this"):
        bench.evaluate(strange, DATA, "msp", protocols="anomaly", out="failed", progress=False)
    assert bench.load("failed").failures


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: bench.run("demmo"), "did you mean 'demo'"),
        (lambda: bench.run("demo", method=["enrgy"]), "did you mean 'energy'"),
        (lambda: bench.run({"protocols": ["anomaly"]}), "missing"),
        (lambda: bench.run("demo", only={"methods": "msp"}), "method"),
        (lambda: bench.evaluate(network(), []), "names no data set"),
        (lambda: bench.evaluate(network(), "toytwn"), "toytown"),
        (lambda: bench.evaluate("toynet", "toytown", classes=["a"]), "stand in the entry"),
        (lambda: bench.evaluate(network(), DATA, [3]), "int is no entry"),
        (lambda: bench.run("demo", limit=0), "limit is 0, wanted a whole number"),
        (lambda: bench.run("demo", limit="8"), "limit is '8', wanted a whole number"),
        (lambda: bench.run("demo", only=["msp"]), "only is list, wanted a mapping"),
        (lambda: bench.evaluate(network(), DATA, limit=0), "limit is 0"),
        (lambda: bench.evaluate(torch.nn.Conv2d, DATA), "network is Conv2d, wanted a torch.nn.Module"),
        (lambda: bench.evaluate(None, DATA), "network is NoneType"),
        (lambda: bench.evaluate(network(), DATA, mean=0.5), "mean is 0.5, wanted three numbers"),
        (lambda: bench.evaluate(network(), DATA, mean=(123.7, 116.3, 103.5)), "say scale=1"),
        (lambda: bench.load("nowhere"), "not a run directory"),
        (lambda: bench.load("."), "not a run directory"),
    ],
)
def test_mistakes_are_errors_of_one_line_and_never_end_the_program(call, words):
    with pytest.raises(bench.errors.UserError, match=words):
        call()


@pytest.mark.usefixtures("forgetful")
def test_a_class_that_is_no_whole_plug_in_or_takes_a_name_is_refused():
    with pytest.raises(bench.errors.BadPlugin, match="source"):
        registry.adopt(type("Nameless", (Method,), {"name": "nameless", "score": lambda self, p, s: p.max_logit}))
    taken = {"name": "msp", "source": "a test", "score": lambda self, p, s: p.max_logit}
    with pytest.raises(bench.errors.BadPlugin, match="name of another"):
        registry.adopt(type("Taken", (Method,), taken))
    assert registry.plugin("method", "msp", where="test").__module__ == "bench.methods.msp"

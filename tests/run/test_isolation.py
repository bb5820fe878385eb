"""What plug-ins share cannot be changed by one of them, and what they return must lie over what they were given."""

import contextlib
import json
import re
import sys

import numpy as np
import pytest
import torch
from conftest import NETWORK
from running import run

from bench.api import Inference, Method, Prediction, Scored, View
from bench.core import sharing
from bench.core.errors import BadPlugin, BadSuite, CellsFailed
from bench.evaluate import files
from bench.fit import fitted_store
from bench.models import stored
from bench.results import store
from bench.run import lending, scoring
from bench.run.worker import Worker
from bench.suite import registry

SUITE = """
protocols: {protocols}
models:
  - python: {{factory: "net.py:build", label: tiny}}
datasets:
  - {dataset}: {{{data}}}
methods: {methods}
bootstrap: 5
"""
SCENES = ("toytown", "split: anomaly, images: 3, height: 32, width: 64")

WRITES = {  # what a method may do to each thing that it is given, in every way that torch and NumPy have
    "max_logit": "return prediction.max_logit.neg_()",
    "max_logit, by NumPy": "values = prediction.max_logit.numpy(); values *= -1; return torch.from_numpy(values)",
    "max_logit, by data": "return prediction.max_logit.data.neg_()",
    "max_logit, turned": "score = prediction.max_logit; score.copy_(score.flip(1).clone()); return score",
    "max_logit, resized": "prediction.max_logit.resize_(1, 2); return torch.zeros(32, 64)",
    "max_logit, with gradients": "prediction.max_logit.requires_grad_(); return torch.zeros(32, 64)",
    "labels": "prediction.labels[:] = 0; return torch.zeros(32, 64)",
    "argmax": "prediction.argmax[:] = 0; return torch.zeros(32, 64)",
    "top2_margin": "return prediction.top2_margin.mul_(2)",
    "logsumexp": "return prediction.logsumexp().neg_()",
    "other_mass": "return prediction.other_mass().neg_()",
    "entropy": "return prediction.entropy(2.0).zero_()",
    "logits": "return prediction.logits.sub_(1)[0].contiguous()",
    "raw": "return prediction.raw['logits'].zero_()[0].contiguous()",
    "raw, by NumPy": "np.asarray(prediction.raw['logits'])[:] = 0; return torch.zeros(32, 64)",
    "image": "prediction.image.zero_(); return torch.zeros(32, 64)",
    "and fails": "prediction.max_logit.neg_(); raise RuntimeError('afterwards')",
}
HARMLESS = {  # its own attributes are its own
    "raw for another": "prediction.raw = {'logits': torch.zeros(19, 8, 16)}; return torch.zeros(32, 64)",
    "an attribute": "prediction.again, prediction.image = None, None; return torch.zeros(32, 64)",
}

METHOD = '''
from dataclasses import dataclass

import numpy as np
import torch

from bench.api import Method


@dataclass(frozen=True)
class Writes(Method):
    """It writes into what it is given."""

    name = "writes"
    source = "a test"
    needs = frozenset({{"logits", "raw", "image"}})

    into: str = ""

    def score(self, prediction, state):
        {body}
'''


@pytest.fixture
def plug(tmp_path, monkeypatch):
    """Put files into the folder of plug-ins, by kind and name."""
    folder = tmp_path / "plugins"
    folder.mkdir()
    monkeypatch.setenv("BENCH_PLUGINS", str(folder))

    def put(kind, name, text):
        (folder / kind).mkdir(exist_ok=True)
        (folder / kind / f"{name}.py").write_text(text)
        registry.forget()

    yield put
    monkeypatch.delenv("BENCH_PLUGINS")
    registry.forget()


def suite(folder, methods="[maxlogit]", protocols="[anomaly]", scenes=SCENES):
    folder.mkdir(exist_ok=True)
    (folder / "net.py").write_text(NETWORK)
    text = SUITE.format(methods=methods, protocols=protocols, dataset=scenes[0], data=scenes[1])
    (folder / "suite.yaml").write_text(text)
    return folder / "suite.yaml"


def failures(folder):
    return {entry["labels"]["method"]: entry["message"] for entry in json.loads((folder / "failures.json").read_text())}


def figures(folder):
    """By labels: keys are of the network's file, too."""
    results = store.read_run(folder).results
    return {str(result.labels): result.metrics for result in results if "writes" not in str(result.labels)}


PROTOCOLS = "[anomaly, miou, misclassification, {components: {min_predicted: 6, min_truth: 4}}]"
OTHERS = "maxlogit, msp, {energy: {temperature: 2}}, entropy, softmax_std"


def test_a_method_that_writes_into_what_others_are_given_fails_alone_and_by_name(tmp_path, plug):
    ways = WRITES | HARMLESS
    lines = [f"        if self.into == {way!r}: {body}" for way, body in ways.items()]
    plug("methods", "writes", METHOD.format(body="\n".join(lines).strip()))
    clean = tmp_path / "clean"
    run(suite(tmp_path / "s", f"[{OTHERS}]", PROTOCOLS), clean)
    first = ", ".join(f"{{writes: {{into: '{way}', label: 'writes {way}'}}}}" for way in ways)
    with pytest.raises(CellsFailed):
        run(suite(tmp_path / "s", f"[{first}, {OTHERS}]", PROTOCOLS), tmp_path / "run")
    assert figures(tmp_path / "run") == figures(clean)
    told = failures(tmp_path / "run")
    assert told.keys() == {f"writes {way}" for way in WRITES}
    for way in WRITES:
        name = way.partition(",")[0].replace("and fails", "max_logit").replace("raw", "raw['logits']")
        assert f"method writes {way} on" in told[f"writes {way}"] and f"changed {name}" in told[f"writes {way}"]


PROGRAM = """
import os, sys
import numpy as np
for name in os.listdir(sys.argv[1]):
    size = sum(map(ord, name))
    logits = np.random.default_rng(size).standard_normal((19, 8, 16)).astype(np.float32)
    np.save(os.path.join(sys.argv[2], name[:-4] + "_logits.npy"), logits)
"""


def test_a_network_that_sees_a_shard_together_is_asked_again_where_a_method_wrote(tmp_path, plug):
    plug("methods", "writes", METHOD.format(body=WRITES["max_logit"]))
    network = (
        f'command: {{run: "{sys.executable} {{program}} {{input}} {{output}}", program: program.py, gives: [logits]}}'
    )
    tiny = 'python: {factory: "net.py:build", label: tiny}'
    for name, methods in (("clean", "[maxlogit]"), ("run", "[writes, maxlogit]")):
        path = suite(tmp_path / "s", methods)
        (tmp_path / "s" / "program.py").write_text(PROGRAM)
        path.write_text(path.read_text().replace(tiny, network))
        with contextlib.suppress(CellsFailed):
            run(path, tmp_path / name, workers=0)
    assert figures(tmp_path / "run") == figures(tmp_path / "clean") != {}


def test_a_state_that_is_changed_is_found_and_read_again_for_the_others(tmp_path):
    origin = {"method": {"name": "x"}}
    fitted_store.write({"mean": np.zeros(4, np.float32), "n": np.array(3)}, origin)
    key, worker = fitted_store.key_of(origin), Worker()
    with worker.lent(key, "method a") as state:
        kept = state
    with worker.lent(key, "method a") as state:
        assert state is kept
    for write in (
        lambda state: torch.from_numpy(state["mean"]).add_(1),
        lambda state: state["n"].fill(4),
        lambda state: state.pop("n"),
    ):
        with (
            pytest.raises(BadPlugin, match=r"method b changed (mean|n) of its state in place"),
            worker.lent(key, "method b") as state,
        ):
            write(state)
        with worker.lent(key, "method c") as state:
            assert state["mean"].tolist() == [0] * 4 and state["n"] == 3


PROTOCOL = """
from dataclasses import dataclass

from bench.api import Quantized, TwoPhase
from bench.metrics.protocols.pooled import Misclassification


@dataclass(frozen=True)
class Writes(TwoPhase, Quantized, Misclassification):
    'It writes into what it is given.'

    name = "writes"
    source = "a test"
    version = 1
    needs = Misclassification.needs | {"anomaly"}

    into: str = ""

    def categories(self, sample, predicted):
        if self.into in {"labels", "anomaly"}:
            getattr(sample, self.into)[:] = 0
        if self.into == "image":
            sample.image()[:] = 0
        if self.into == "tags":
            sample.tags["weather"] = "fog"
        if self.into == "predicted":
            predicted[:] = 0
        return super().categories(sample, predicted)

    def quantize(self, score):
        if self.into == "quantized":
            score *= -1
        return score

    def row(self, sample, predicted, score=None):
        if self.into == "score":
            score *= -1
        return super().row(sample, predicted, score)

    def parameters(self, counts, rows):
        if self.into == "rows of parameters":
            next(iter(rows.values()))["bins"][:] = 0
        if self.into == "counts of parameters":
            counts.columns[0].keys[:] = 0
        return {"threshold": 1.0}

    def second_row(self, score, sample, predicted, parameters):
        if self.into == "score of the second phase":
            score *= -1
        if self.into == "truth of the second phase":
            sample.labels[:] = 0
        if self.into == "parameters":
            parameters["threshold"] = 2.0
        return {}

    def read(self, counts, rows):
        if self.into == "counts":
            counts.columns[0].keys[:] = 0
        if self.into == "rows":
            next(iter(rows.values()))["bins"][:] = 0
        return super().read(counts, rows)

    def bootstrap(self, weights, rows):
        if self.into == "rows of the bootstrap":
            next(iter(rows.values()))["bins"][:] = 0
        return super().bootstrap(weights, rows)

    def breakdown(self, counts, rows):
        if self.into == "counts of the breakdown":
            counts.columns[0].keys[:] = 0
        return super().breakdown(counts, rows)
"""
INTO = ["labels", "anomaly", *re.findall(r'self.into == "([^"]+)"', PROTOCOL)]


def test_a_protocol_cannot_write_into_what_others_are_given(tmp_path, plug):
    plug("protocols", "writes", PROTOCOL)
    clean = tmp_path / "clean"
    run(suite(tmp_path / "s", "[maxlogit, msp]", PROTOCOLS), clean)
    first = ", ".join(f"{{writes: {{into: '{into}', label: 'writes {into}'}}}}" for into in INTO)
    both = f"[{first}, {{writes: {{label: does not}}}}, {PROTOCOLS[1:]}"
    with pytest.raises(CellsFailed):
        run(suite(tmp_path / "s", "[maxlogit, msp]", both), tmp_path / "run")
    made = figures(tmp_path / "run")
    for labels, metrics in figures(clean).items():
        assert made.pop(labels) == metrics
    assert {labels.split(" / ")[0] for labels in made} == {"does not"}
    told = json.loads((tmp_path / "run" / "failures.json").read_text())
    assert {entry["labels"]["protocol"] for entry in told} == {f"writes {into}" for into in INTO}
    for entry in told:
        assert re.search("read-only|mappingproxy|changed the counts", entry["message"]), entry["message"]


REFINEMENT = """
from dataclasses import dataclass

from bench.methods.entropy_meta import EntropyMeta


@dataclass(frozen=True)
class Writes(EntropyMeta):
    'It writes into what it is given.'

    name = "writes"
    source = "a test"
    refines = "entropy"

    into: str = ""

    def describe(self, prediction, score, truth):
        if self.into == "score":
            score[:] = 0
        if self.into == "truth":
            truth[:] = 0
        if self.into == "labels":
            prediction.labels[:] = 0
        return super().describe(prediction, score, truth)

    def decide(self, rows, groups, state, seed):
        if self.into == "rows":
            for values in next(iter(rows.values())).values():
                values[:] = 0
        if self.into == "groups":
            groups["other"] = ""
        return super().decide(rows, groups, state, seed)

    def apply(self, score, truth, decided):
        if self.into == "map":
            score[:] = 0
        if self.into == "truth of apply":
            truth[:] = 0
        if self.into == "decided":
            for values in decided.values():
                values[:] = 0
        return super().apply(score, truth, decided)
"""


def test_a_refinement_cannot_write_into_what_others_are_given(tmp_path, plug):
    plug("methods", "writes", REFINEMENT)
    scenes = ("toytown", "split: anomaly, images: 8, height: 32, width: 64")
    meta = "{entropy_meta: {threshold: 0.995}}"
    run(suite(tmp_path / "s", f"[msp, {meta}]", "[anomaly]", scenes), tmp_path / "clean", workers=0)
    into = re.findall(r'self.into == "([^"]+)"', REFINEMENT)
    first = ", ".join(f"{{writes: {{threshold: 0.995, into: '{way}', label: 'writes {way}'}}}}" for way in into)
    with pytest.raises(CellsFailed):
        run(suite(tmp_path / "s", f"[{first}, msp, {meta}]", "[anomaly]", scenes), tmp_path / "run", workers=0)
    assert figures(tmp_path / "run") == figures(tmp_path / "clean")
    assert failures(tmp_path / "run").keys() == {f"writes {way}" for way in into}


# Shapes.

SIZE = (64, 128)


class Returns(Method):
    """A method that returns what it was made with."""

    name = "returns"
    source = "a test"

    def __init__(self, returned, merge="merged"):
        object.__setattr__(self, "returned", returned)
        object.__setattr__(self, "how", merge)

    @property
    def merge(self):
        return self.how

    def score(self, prediction, state):
        return self.returned


def scored(returned, merge="merged", grid=(16, 32)):
    seen = Prediction({"logits": torch.zeros(3, *grid)}, SIZE)
    view = View("a", torch.zeros(3, *SIZE, dtype=torch.uint8), 1.0, False, (0, 0, *SIZE), SIZE, SIZE)
    return scoring.score(Returns(returned, merge), {}, [(view, seen)], seen, Inference(), "method returns on x/a")


@pytest.mark.parametrize("merge", ["merged", "views"])
@pytest.mark.parametrize("shape", [SIZE, (16, 32), (32, 64), (21, 43), (21, 42), (22, 43), (13, 26), (1, 2), (5, 10)])
def test_a_score_of_the_proportions_of_its_view_is_taken_at_any_resolution(shape, merge):
    assert scored(torch.zeros(shape), merge)[0].shape == SIZE


def test_a_score_on_the_grid_of_the_network_is_taken_whatever_that_is():
    assert scored(torch.zeros(17, 30), grid=(17, 30))[0].shape == SIZE


@pytest.mark.parametrize("merge", ["merged", "views"])
@pytest.mark.parametrize(
    ("returned", "words"),
    [
        (torch.zeros(128, 64), "returned a score of [128, 64], its view is [64, 128]"),
        (torch.zeros(32, 16), "returned a score of [32, 16], its view is [64, 128]"),
        (torch.zeros(2, 2), "returned a score of [2, 2], its view is [64, 128]"),
        (torch.zeros(64, 64), "returned a score of [64, 64]"),
        (torch.zeros(128, 256), "returned a score of [128, 256]"),
        (torch.zeros(1, 1).expand(10000, 10000), "returned a score of [10000, 10000]"),
        (torch.zeros(0, 0), "returned a score of [0, 0]"),
        (Scored(torch.zeros(SIZE), torch.zeros(2, 2, dtype=torch.uint8)), "its class map is torch.uint8 [2, 2]"),
        (Scored(torch.zeros(SIZE), torch.zeros(128, 64, dtype=torch.uint8)), "its class map is torch.uint8 [128, 64]"),
        (Scored(torch.zeros(SIZE), torch.zeros(SIZE)), "its class map is torch.float32 [64, 128]"),
        (Scored(torch.zeros(SIZE), np.zeros(SIZE, np.uint8)), "its class map is ndarray"),
        (Scored(torch.zeros(SIZE), logits=torch.zeros(3, 32, 16)), "returned logits of [3, 32, 16]"),
        (Scored(torch.zeros(SIZE), logits=torch.zeros(4, 16, 32)), "its logits are [4, 16, 32]"),
    ],
    ids=str,
)
def test_what_does_not_lie_over_its_view_is_refused_by_name_and_shapes(returned, words, merge):
    with pytest.raises(BadPlugin) as refused:
        scored(returned, merge)
    assert "method returns on x/a" in str(refused.value) and words in str(refused.value)


NET = """
from dataclasses import dataclass

import torch

from bench.api import Network, Prediction, SegModel


@dataclass(frozen=True)
class Turned(SegModel):
    'A network that mistakes height for width.'

    name = "turned"
    source = "a test"
    outputs = frozenset({"logits", "labels", "raw", "image"})

    output: str = ""

    def check(self): ...

    def digest(self):
        return "0" * 16

    def load(self, device):
        return Loaded(self.output)


class Loaded(Network):
    def __init__(self, output):
        self.output = output

    def predict(self, views):
        for view in views:
            size = view.input_size
            shape = size[::-1] if self.output == "logits" else size
            labels = torch.zeros((2, 2) if self.output == "labels" else size, dtype=torch.uint8)
            if self.output == "type":
                labels = labels.long()
            return [Prediction({"logits": torch.zeros(19, *shape)}, size, labels=labels)]

    def module(self):
        raise NotImplementedError
"""


@pytest.mark.parametrize(
    ("output", "words"),
    [
        ("logits", r"logits is \[19, 64, 32\], which has not the proportions of its view, \[32, 64\]"),
        ("labels", r"the class map of the network is torch.uint8 \[2, 2\], wanted torch.uint8 \[32, 64\]"),
        ("type", r"the class map of the network is torch.int64 \[32, 64\]"),
    ],
)
def test_outputs_of_a_network_lie_over_its_view(output, words, tmp_path, plug):
    plug("models", "turned", NET)
    path = suite(tmp_path / "s")
    path.write_text(
        path.read_text().replace('python: {factory: "net.py:build", label: tiny}', f"turned: {{output: {output}}}")
    )
    with pytest.raises(CellsFailed, match=words):
        run(path, tmp_path / "run")


# Ids and labels as names of files.

SET = """
from dataclasses import dataclass, replace

from bench.api import Dataset
from bench.datasets.toytown import Toytown

IDS = %r


@dataclass(frozen=True)
class Odd(Dataset):
    'Scenes by ids that are paths.'

    name = "odd"
    source = "a test"
    annotations = frozenset({"labels", "anomaly"})
    count = len(IDS)

    def ids(self):
        return IDS

    def load(self, index):
        return replace(Toytown(split="anomaly", images=self.count, height=32, width=64).load(index), id=IDS[index])

    def digest(self):
        return "0" * 16
"""
IDS = ["../../../../outside", "/{tmp}/absolute", "a/b", "a\\b", "a", "A b", "caf\u00e9", "cafe\u0301", "con", "x" * 400]


def values(results):
    return {
        labels: {name: getattr(figure, "value", None) for name, figure in each.items()}
        for labels, each in results.items()
    }


def files_of(folder):
    return {path for path in folder.rglob("*") if path.is_file()}


def test_ids_that_are_paths_change_no_figure_and_write_nothing_elsewhere(tmp_path, plug):
    ids = [sample.replace("{tmp}", str(tmp_path).lstrip("/")) for sample in IDS]
    protocols = "[anomaly, {components: {min_predicted: 6, min_truth: 4}}]"
    methods = "[maxlogit, {entropy_meta: {threshold: 0.995}}, {msp: {label: ../../../label}}]"
    options = {"workers": 0, "keep_maps": True, "gallery": 3}
    plug("datasets", "odd", SET % [f"id_{number}" for number in range(len(ids))])
    run(suite(tmp_path / "s", methods, protocols, ("odd", "")), tmp_path / "plain", **options)
    plug("datasets", "odd", SET % ids)
    before = files_of(tmp_path)
    deep = tmp_path / "runs" / "odd"
    run(suite(tmp_path / "s", methods, protocols, ("odd", "")), deep, **options)
    plain, odd = figures(tmp_path / "plain"), figures(deep)
    assert values(odd) == values(plain)
    written = {path for path in files_of(tmp_path) - before if deep not in path.parents and "home" not in path.parts}
    assert not written
    for method in ("maxlogit", "*label-*"):
        assert len(list(deep.glob(f"spool/*/*/{method}/float16/scores/*.npy"))) == len(ids)
    scores = next(deep.glob("spool/*/*/maxlogit/float16/scores"))
    matched = files.match([files.MapFile(path) for path in sorted(scores.iterdir())], ids, "score map")
    assert [matched.files[sample].path for sample in ids] == [store.map_path(scores.parent, sample) for sample in ids]
    assert [stored.listed(scores, "scores").of(sample).path for sample in ids] == [
        store.map_path(scores.parent, sample) for sample in ids
    ]
    assert len(list(deep.glob("gallery/*/*/*/gallery.json"))) + len(list(deep.glob("gallery/*/*/index.json"))) >= 1


@pytest.mark.parametrize(
    ("ids", "words"),
    [
        (["a", "A"], "'A' and 'a' differ only in case"),
        (["a", "a"], "'a' comes twice"),
        (["a", "b\0"], r"'b\\x00' is no id"),
        (["a", ""], "'' is no id"),
        (["a", 7], "7 is no id"),
        (["a", "\ud800"], r"'\\ud800' is no id"),
    ],
)
def test_ids_that_files_cannot_tell_apart_are_refused_before_the_run(ids, words, tmp_path, plug):
    plug("datasets", "odd", SET % ids)
    with pytest.raises(BadPlugin, match=words):
        run(suite(tmp_path / "s", scenes=("odd", "")), tmp_path / "run")
    assert not (tmp_path / "run" / "run.json").exists()


def test_a_sample_that_is_loaded_under_another_id_is_refused(tmp_path, plug):
    plug("datasets", "odd", (SET % ["a", "b"]).replace("id=IDS[index]", "id='../../b'"))
    with pytest.raises(CellsFailed, match=r"a is loaded under the id '../../b'"):
        run(suite(tmp_path / "s", scenes=("odd", "")), tmp_path / "run", workers=0)


@pytest.mark.parametrize("first", [True, False])
def test_a_tag_does_not_take_the_place_of_what_a_protocol_counts_apart(first, tmp_path, plug):
    tags = "{'class': str(index % 2), 'size': 'x'}" if first else "{'class': str(index % 2)} if index else {}"
    text = (SET % ["a", "b", "c"]).replace("id=IDS[index])", f"id=IDS[index], tags={tags})")
    plug("datasets", "odd", text)
    with pytest.raises((BadSuite, CellsFailed), match="the tag 'class' is called as what the protocol counts apart"):
        run(suite(tmp_path / "s", protocols="[{misclassification: {by: class}}]", scenes=("odd", "")), tmp_path / "r")
    run(suite(tmp_path / "s", protocols="[misclassification, miou]", scenes=("odd", "")), tmp_path / "plain")
    assert "class" in store.read_run(tmp_path / "plain").results[0].slices or not first


def test_marks_tell_arrays_apart():
    plain = np.arange(5000, dtype=np.float32).reshape(50, 100)
    others = [plain[::-1], plain[:, ::-1], plain.T, plain + 1, plain.astype(np.float64), plain.reshape(100, 50), -plain]
    others += [np.where(plain == 4999, 0, plain).astype(np.float32), np.zeros(0), np.array(3), np.array([3])]
    marks = [sharing.mark(array) for array in [plain, *others]]
    assert len(set(marks)) == len(marks) and sharing.mark(plain.copy()) == marks[0]


def test_marks_of_tensors_off_the_cpu_use_the_same_words(monkeypatch):
    tensor = torch.arange(5003, dtype=torch.float32).reshape(5003)
    half = tensor.to(torch.bfloat16)  # goes the same way as what is on a GPU
    marks = [lending._mark(each) for each in (half, half.flip(0), half + 1, -half)]
    assert len(set(marks)) == 4 and lending._mark(half.clone()) == marks[0]

"""Scores and counts stay on the device of the network: nothing waits for it, and no figure is another for that."""

import json
import sys
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import torch
from running import metrics, run
from small_sam import write_sam
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from bench.api import Sample
from bench.core.errors import BadSuite, CellsFailed
from bench.metrics.category_tables import REFUSED, is_pointwise, table_of
from bench.metrics.protocols.pooled import Anomaly, Misclassification
from bench.models.numerics import Numerics
from bench.ops import transfer
from bench.run import passes
from bench.suite import registry

PLACE = str(Path(transfer.__file__))
NETWORKS = str(Path(passes.__file__).parents[1] / "models")
TO_HOST = {
    "cpu", "numpy", "item", "tolist", "__array__", "__bool__", "__int__", "__float__", "__index__", "__complex__",
    "__dlpack__", "__contains__", "__reversed__", "is_nonzero", "nonzero", "argwhere", "masked_select", "unique",
    "unique_consecutive", "bincount", "equal", "allclose", "__setstate__", "__reduce_ex__",
}  # fmt: skip
WAITING = {"_local_scalar_dense", "nonzero", "masked_select", "_unique2", "unique_consecutive", "bincount", "equal"}


NETWORK = """
import torch


class Net(torch.nn.Module):
    def forward(self, image):
        logits = torch.nn.functional.avg_pool2d(image, 4).repeat(1, 7, 1, 1)[:, :19] / 255
        queries = logits[:, :5].mean(dim=(2, 3))
        return {
            "logits": logits,
            "score": logits[:, 0],
            "ood_logit": logits[:, 1],
            "query_logits": queries[:, :, None] * torch.linspace(-1, 1, 20),
            "query_masks": logits[:, 2:7] - 0.5,
            "query_negative": queries,
        }


build = Net
"""


def allowed():
    """The one place; networks, which may do as they like; and what methods check once, before the first image."""
    frame = sys._getframe(1)
    while frame is not None:
        file = frame.f_code.co_filename
        if file == PLACE or file.startswith(NETWORKS) or frame.f_code is passes._meet.__code__:
            return True
        frame = frame.f_back
    return False


class Calls(TorchFunctionMode):
    """Refuses what one calls to have a tensor on the host; on a CPU most of it never reaches the dispatcher."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        to_cpu = func.__name__ == "to" and any(value in ("cpu", torch.device("cpu")) for value in args[1:])
        if (func.__name__ in TO_HOST or (to_cpu and isinstance(args[1], str))) and not allowed():
            raise AssertionError(f"{func.__name__} of a tensor outside {PLACE}")
        return func(*args, **(kwargs or {}))


class Operations(TorchDispatchMode):
    """Refuses operations whose result takes a look at values: a device would be waited for."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        by_mask = name in {"index", "index_put", "index_put_"} and any(
            index is not None and index.dtype in (torch.bool, torch.uint8) for index in args[1]
        )
        if (name in WAITING or by_mask) and not allowed():
            raise AssertionError(f"{name} outside {PLACE}")
        return func(*args, **(kwargs or {}))


@pytest.fixture
def guarded(monkeypatch):
    """Every first pass runs under the guard."""
    unguarded, passed = passes._first_pass, []

    def first_pass(*args, **options):
        with Calls(), Operations():
            unguarded(*args, **options)
        passed.append(args[0])

    monkeypatch.setattr(passes, "_first_pass", first_pass)
    return passed


@pytest.mark.parametrize(
    "look",
    [
        lambda tensor: tensor.cpu(),
        lambda tensor: tensor.numpy(),
        lambda tensor: tensor[0].item(),
        lambda tensor: tensor.tolist(),
        lambda tensor: np.asarray(tensor),
        lambda tensor: bool(tensor[0]),
        lambda tensor: float(tensor[0]),
        lambda tensor: range(3)[tensor[0].int()],
        lambda tensor: tensor.to("cpu"),
        lambda tensor: tensor[tensor > 0],
        lambda tensor: tensor.nonzero(),
        lambda tensor: torch.where(tensor > 0),
        lambda tensor: torch.equal(tensor, tensor),
    ],
)
def test_the_guard_notices_every_way_to_the_host(look):
    tensor = torch.ones(3)
    with Calls(), Operations():
        transfer.to_host(tensor)
        with pytest.raises(AssertionError, match="outside"):
            look(tensor)


def suite(folder):
    """All protocols, and all methods, on small scenes."""
    (folder / "sam").mkdir()
    write_sam(folder / "sam")
    (folder / "net.py").write_text(NETWORK)
    (folder / "all.yaml").write_text("""
protocols:
  - anomaly
  - anomaly: {by: size, label: by size}
  - misclassification
  - misclassification: {by: class, label: by class}
  - miou
  - components: {min_predicted: 6, min_truth: 4}
  - bravo
  - calibration
  - definitions
  - definitions: {scaled: true, label: scaled}
  - definitions_misclassification
  - entropy_max
  - fed_anomaly
  - fishyscapes
  - idm
  - idm_ood_cdd
  - idm_ood_cdd: {fidelity: reference, label: drawn}
  - instances: {threshold: 0.3}
  - mask_instances: {threshold: 0.3}
  - open_iou
  - open_miou
  - operating_point: {threshold: 0.1}
  - operating_point_misclassification: {threshold: 0.1}
  - segments: {threshold: 0.3}
  - smiyc_anomaly
  - smiyc_obstacle
  - streethazards
models:
  - toynet
  - toyquery: {methods: [rba, eam, mask_max, void_channel, ood_head, maskomaly, mask2anomaly, objectomaly]}
  - python:
      {factory: "net.py:build", outputs: [logits, score, ood_logit, query_logits, query_masks, query_negative],
      label: python, methods: [own, uno, dense_hybrid, uem, gen]}
datasets:
  - toytown: {split: anomaly, images: 4, height: 32, width: 64, label: protocols, methods: [msp], models: [toynet]}
  - toytown:
      {split: anomaly, images: 3, height: 32, width: 64, label: methods, protocols: [anomaly, misclassification]}
  - toytown:
      split: anomaly
      images: 4
      height: 32
      width: 64
      label: refined
      methods: [entropy_meta]
      models: [toynet]
      protocols: [anomaly, segments]
  - toytown_layout:
      {twin: oodis, scenes: 4, height: 32, width: 64, label: instances, methods: [msp], models: [toynet],
      protocols: [instances]}
methods:
  - msp
  - maxlogit: {post: boundary}
  - energy: {fidelity: reference}
  - entropy: {normalised: true, post: gaussian}
  - softmax_std
  - sml: {fit: {data: {toytown: {split: train, images: 3, height: 32, width: 64}}}}
  - mc_dropout: {passes: 3, fidelity: reference}
  - mutual_information: {over: dropout, passes: 3, models: [toynet]}
  - expected_entropy: {over: dropout, passes: 3, models: [toynet]}
  - variance: {over: dropout, passes: 3, models: [toynet]}
  - fed_u: {weights: toynet_fed_u}
  - fed_c: {weights: toynet_fed_c, post: none}
  - entropy_meta: {threshold: 0.3, folds: 2}
  - rba
  - eam
  - mask_max
  - void_channel
  - ood_head
  - own
  - gen
  - dense_hybrid
  - uem
  - uno
  - maskomaly: {anomaly_queries: [1, 3], models: [toyquery]}
  - mask2anomaly: {models: [toyquery]}
  - ash: {models: [toynet]}
  - scale: {models: [toynet]}
  - max_cosine: {models: [toynet]}
  - gradnorm: {models: [toynet]}
  - odin: {models: [toynet]}
  - sam_boxes: {sam: sam, threshold: 0.3, pixels: 4, models: [toynet]}
  - objectomaly: {sam: sam, points_per_side: 3, least_iou: -10, least_stability: 0, models: [toyquery]}
  - prowl: {fit: {data: {toytown: {split: train, images: 3, height: 32, width: 64}}}, models: [toynet]}
  - vector_scaling:
      size: 500
      models: [toynet]
      fit: {data: {toytown: {split: train, images: 3, height: 32, width: 64}}}
  - dirichlet:
      size: 500
      models: [toynet]
      fit: {data: {toytown: {split: train, images: 3, height: 32, width: 64}}}
  - kl_matching: {fit: {data: {toytown: {split: train, images: 3, height: 32, width: 64}}}, models: [toynet]}
  - mahalanobis: {fit: {data: {toytown: {split: train, images: 3, height: 32, width: 64}}}, models: [toynet]}
  - relative_mahalanobis: {fit: {data: {toytown: {split: train, images: 3, height: 32, width: 64}}}, models: [toynet]}
  - knn: {size: 200, fit: {data: {toytown: {split: train, images: 3, height: 32, width: 64}}}, models: [toynet]}
  - cdnp: {size: 200, fit: {data: {toytown: {split: train, images: 3, height: 32, width: 64}}}, models: [toynet]}
  - nnguide: {size: 200, fit: {data: {toytown: {split: train, images: 3, height: 32, width: 64}}}, models: [toynet]}
  - vim: {fit: {data: {toytown: {split: train, images: 3, height: 32, width: 64}}}, models: [toynet]}
  - react: {fit: {data: {toytown: {split: train, images: 3, height: 32, width: 64}}}, models: [toynet]}
  - dice: {fit: {data: {toytown: {split: train, images: 3, height: 32, width: 64}}}, models: [toynet]}
  - she: {fit: {data: {toytown: {split: train, images: 3, height: 32, width: 64}}}, models: [toynet]}
numerics: {device: cpu, scoring: torch}
bootstrap: 5
""")
    return folder / "all.yaml"


def arrays(folder):
    """What every cell's counts hold."""
    return {path.name: dict(np.load(path)) for path in sorted((folder / "cells").glob("*.npz"))}


def test_all_methods_and_protocols_leave_tensors_where_they_are_and_figures_as_they_were(
    tmp_path, guarded, monkeypatch
):
    path = suite(tmp_path)
    results = run(path, tmp_path / "device", workers=0)
    assert guarded
    assert {result.cell.protocol.name for result in results} == registry.available("protocol").keys()
    scored = {result.cell.method.name for result in results if result.cell.method and not result.not_applicable}
    assert scored == registry.available("method").keys()
    monkeypatch.undo()
    monkeypatch.setenv("BENCH_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(Numerics, "on_device", property(lambda numerics: False))
    run(path, tmp_path / "host", workers=0)
    assert metrics(tmp_path / "device") == metrics(tmp_path / "host")
    ours, theirs = arrays(tmp_path / "device"), arrays(tmp_path / "host")
    assert ours.keys() == theirs.keys()
    for name, counted in ours.items():
        assert counted.keys() == theirs[name].keys()
        for field, values in counted.items():
            assert np.array_equal(values, theirs[name][field], equal_nan=values.dtype.kind == "f"), (name, field)


PLUGIN = """
from dataclasses import dataclass
import torch
from bench.api import Method

@dataclass(frozen=True)
class Own{number}(Method):
    \"\"\"It misbehaves.\"\"\"
    name = "own{number}"
    source = "a test"
    needs = frozenset({{"logits", "raw"}})

    def score(self, prediction, state):
        {body}
"""
TINY = """
protocols: [misclassification]
models: [toynet]
datasets: [toytown: {split: anomaly, images: 3, height: 32, width: 64}]
methods: [own1, msp, maxlogit]
numerics: {device: cpu, scoring: torch}
bootstrap: 5
"""


def misbehaving(folder, monkeypatch, body):
    """The figures of well-behaved methods beside one that is not, and what is said of that one."""
    (folder / "plugins" / "methods").mkdir(parents=True)
    (folder / "plugins" / "methods" / "own1.py").write_text(PLUGIN.format(number=1, body=body))
    (folder / "alone.yaml").write_text(TINY.replace("own1, ", ""))
    (folder / "tiny.yaml").write_text(TINY)
    alone = {result.cell.method.name: result.metrics for result in run(folder / "alone.yaml", folder / "alone")}
    monkeypatch.setenv("BENCH_PLUGINS", str(folder / "plugins"))
    registry.forget()
    with pytest.raises(CellsFailed) as failed:
        run(folder / "tiny.yaml", folder / "run", workers=0)
    monkeypatch.delenv("BENCH_PLUGINS")
    registry.forget()
    left = {json.loads(text)["auroc"]["value"] for text in metrics(folder / "run").values()}
    assert left == {figures["auroc"].value for figures in alone.values()}
    return str(failed.value)


@pytest.mark.parametrize(
    "body",
    [
        "return prediction.max_logit.neg_()",
        "return prediction.max_logit.data.neg_()",
        "prediction.max_logit.numpy()[:] = 0; return torch.zeros(32, 64)",
        "prediction.raw['logits'].data.fill_(float('nan')); return torch.zeros(32, 64)",
    ],
)
def test_a_method_that_writes_into_a_prediction_fails_alone(tmp_path, monkeypatch, body):
    message = misbehaving(tmp_path, monkeypatch, body)
    assert "changed" in message and "of the prediction in place" in message


def test_scores_that_are_not_finite_are_told_after_the_shard(tmp_path, monkeypatch):
    message = misbehaving(tmp_path, monkeypatch, "return torch.full((32, 64), float('inf'))")
    assert "method own1 on" in message and "returned 2048 scores that are not finite" in message


@pytest.mark.parametrize(
    ("layer", "message"),
    [("logits / 0", "logits is not finite everywhere"), ("logits.softmax(1)", "they are probabilities")],
)
def test_outputs_of_a_network_are_doubted_after_the_shard(tmp_path, layer, message):
    (tmp_path / "net.py").write_text(NETWORK.replace('"logits": logits', f'"logits": {layer}'))
    model = '{python: {factory: "net.py:build", outputs: [logits, score], label: python}}'
    (tmp_path / "tiny.yaml").write_text(TINY.replace("own1, ", "").replace("[toynet]", f"[{model}]"))
    with pytest.raises((CellsFailed, BadSuite), match=message):
        run(tmp_path / "tiny.yaml", tmp_path / "run", workers=0)


def truths(dice, protocol):
    """A sample and its class map with every value that the protocol takes."""
    classes = len(getattr(protocol, "classes", range(19)))
    labels = dice.choice([*range(classes), 255], (30, 40)).astype(np.uint8)
    anomaly = dice.choice([0, 1, 255], (30, 40)).astype(np.uint8)
    predicted = dice.integers(0, 19, (30, 40)).astype(np.uint8)
    return Sample("x", (30, 40), lambda: None, labels=labels, anomaly=anomaly), predicted


@pytest.mark.parametrize("name", sorted(registry.available("protocol")))
def test_a_table_of_categories_says_what_the_protocol_says(name):
    for options in ({}, {"by": "size"}, {"by": "class"}, {"fidelity": "reference"}):
        kind = registry.available("protocol")[name]
        if not options.keys() <= {field.name for field in fields(kind)}:
            continue
        try:
            protocol = kind(**options)
        except ValueError:
            continue
        table = table_of(protocol)
        assert (table is None) == (not is_pointwise(protocol))
        if table is not None:
            sample, predicted = truths(np.random.default_rng(1), protocol)
            at = sample.anomaly if table.ndim == 1 else (sample.labels, predicted)
            assert np.array_equal(table[at], protocol.categories(sample, predicted))


def test_what_is_counted_on_the_device_is_what_most_suites_count():
    built = {name: kind() for name, kind in registry.available("protocol").items()}
    assert {name for name, protocol in built.items() if is_pointwise(protocol)} == {
        "anomaly", "components", "fed_anomaly", "fishyscapes", "idm_ood_cdd", "instances", "mask_instances",
        "misclassification", "operating_point", "operating_point_misclassification",
    }  # fmt: skip


def test_a_label_without_a_name_is_refused_in_a_table():
    table = table_of(Misclassification(by="class"))
    assert (table[19:255] == REFUSED).all() and (table[255] == 255).all() and (table[:19] < 38).all()


def test_who_replaces_the_categories_of_a_protocol_is_counted_on_the_host():
    class Inner(Anomaly):
        """Leaves out the border."""

        name = "inner"

        def categories(self, sample, predicted):
            categories = super().categories(sample, predicted).copy()
            categories[0] = 255
            return categories

    assert is_pointwise(Anomaly()) and not is_pointwise(Inner())

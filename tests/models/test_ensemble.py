"""Ensembles: members against the networks on their own, what is averaged, one network in memory, and refusals."""

import gc
import weakref

import numpy as np
import pytest
import torch

from bench.api import Inference, Sample
from bench.cli.main import main
from bench.contract.network import loaded
from bench.core.errors import BadSuite, UserError
from bench.models import inference
from bench.models.acceleration import accelerate
from bench.models.numerics import Numerics
from bench.results import store
from bench.suite import expansion, registry

NUMERICS = Numerics("cpu", "cpu", 1, "")
PAIR = ["toynet", "toynet_entropy_max"]
SIZE = (48, 64)


def build(members=PAIR, **parameters):
    return registry.build("model", "ensemble", {"members": members, **parameters}, where="suite.yaml")


def sample(name="s", seed=0):
    pixels = np.random.RandomState(seed).randint(0, 255, (*SIZE, 3)).astype(np.uint8)
    return Sample(name, SIZE, lambda: pixels)


def look(model, *samples):
    """Return the prediction of each image, seen as a run sees a shard."""
    network = loaded(model, "cpu")
    seen = inference.prepared(network, iter(samples or [sample()]), NUMERICS)
    return [inference.look(network, each, NUMERICS, 0, {})[1] for each in seen]


def alone(name, **rule):
    return look(registry.build("model", name, {"inference": rule} if rule else {}, where=""))[0]


def test_members_are_what_each_network_says_alone_and_the_average_is_of_their_softmax():
    (seen,) = look(build())
    singles = [alone(name).raw["logits"] for name in PAIR]
    assert torch.equal(seen.raw["members"], torch.stack(singles))
    expected = torch.stack(singles).double().softmax(dim=1).mean(dim=0)
    torch.testing.assert_close(seen.raw["probabilities"].double(), expected, rtol=1e-5, atol=1e-7)
    assert torch.equal(seen.labels, seen.probabilities.argmax(dim=0).byte())
    assert not torch.equal(*singles)


def test_logits_are_averaged_as_they_are_or_as_logarithms_of_the_average():
    singles = torch.stack([alone(name).raw["logits"] for name in PAIR])
    assert torch.equal(look(build(average="logits"))[0].raw["logits"], singles.mean(dim=0))
    seen = look(build(average="log_probabilities"))[0]
    probabilities = look(build())[0].raw["probabilities"]
    torch.testing.assert_close(seen.raw["logits"].softmax(dim=0), probabilities, rtol=1e-4, atol=1e-7)
    assert torch.isfinite(seen.raw["logits"]).all() and seen.other_mass().shape == SIZE
    assert {"logits", "members"} <= build(average="logits").outputs and "logits" not in build().outputs


def test_mirror_images_and_scales_are_members_that_lie_over_the_view():
    seen = look(build(["toynet"], flip=True, scales=(1.0, 0.5)))[0]
    members = seen.raw["members"]
    assert members.shape[0] == 4 and torch.equal(members[0], alone("toynet").raw["logits"])
    mirrored = sample().image()[:, ::-1].copy()
    upright = look(registry.build("model", "toynet", {}, where=""), Sample("m", SIZE, lambda: mirrored))[0]
    assert torch.equal(members[1], upright.raw["logits"].flip(-1))
    half = alone("toynet", size=[SIZE[0] // 2, SIZE[1] // 2]).raw["logits"]
    assert half.shape[1] * 2 == members.shape[2]
    torch.testing.assert_close(members[2][:, ::2, ::2], half, rtol=0, atol=8)  # between its pixels, so roughly
    assert torch.corrcoef(torch.stack([members[0].flatten(), members[2].flatten()]))[0, 1] > 0.5


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"average": "log_probabilities", "flip": True, "scales": (1.0, 0.75)},
        {"members": [{"batch_norm_adapted": {"base": "toynet"}}, "toynet"]},
    ],
    ids=["plain", "mirrored and scaled", "adapted to each image"],
)
def test_one_network_in_memory_gives_the_bits_of_all(parameters, monkeypatch):
    images = [sample("a", 1), sample("b", 2)]
    rule = Inference(window=(32, 32), scales=(1.0, 0.5), flip=True)
    model = build(**parameters, inference={"window": [32, 32], "scales": [1.0, 0.5], "flip": True})
    assert model.inference == rule
    every = look(model, *images)
    alive = []

    def counted(specification, device):
        gc.collect()
        assert not any(other() is not None for other in alive)
        network = loaded(specification, device)
        alive.append(weakref.ref(network))
        return network

    monkeypatch.setattr("bench.models.ensemble.loaded", counted)
    one = look(build(**parameters, resident="one", inference=vars(rule) | {"stride": None, "size": None}), *images)
    assert len(alive) == len(PAIR)
    for first, second in zip(every, one, strict=True):
        assert first.raw.keys() == second.raw.keys()
        for name in first.raw:
            assert torch.equal(first.raw[name], second.raw[name])


def test_batches_and_bfloat16_leave_the_two_ways_alike():
    numerics = Numerics("cpu", "cpu", 1, "", dtype="bfloat16", batch=4)

    def members(model):
        network = loaded(model, "cpu")
        (seen,) = inference.prepared(network, iter([sample()]), numerics)
        views = inference.look(network, seen, numerics, 0, {})[0]
        return [prediction.raw["members"] for _, prediction in views]

    window = {"window": [32, 32]}
    every, one = members(build(inference=window)), members(build(inference=window, resident="one"))
    assert len(every) == 4 and all(map(torch.equal, every, one))


def test_each_member_is_accelerated_and_one_after_another_they_are_refused():
    laid_out = Numerics("cpu", "cpu", 1, "", channels_last=True)
    network = loaded(build(), "cpu")
    accelerate(network, laid_out)
    weights = [tensor for tensor in network.module().parameters() if tensor.ndim == 4 and tensor.shape[2] > 1]
    assert len(network.module()) == 2 and all(each.is_contiguous(memory_format=torch.channels_last) for each in weights)
    with pytest.raises(BadSuite, match=r"ensemble is no torch module, which numerics.channels_last is for"):
        spooled = loaded(build(resident="one"), "cpu")
        accelerate(spooled, laid_out)


@pytest.mark.parametrize(
    ("members", "parameters", "complaint"),
    [
        (["toynet"], {}, "at least two members"),
        (["toynet", {"command": {"run": "true {input} {output}", "gives": ["labels"]}}], {}, "command gives no logits"),
        (["toynet", {"toynet": {"inference": {"size": [32, 32]}}}], {}, "inference of toynet stands in the entry"),
        (["toynet"], {"scales": [0.5, 0.5]}, "scales name one of them twice"),
        (["toynet", {"python": {"factory": "net.py:build", "classes": ["a", "b"]}}], {}, "python has other classes"),
        ([{"precomputed": {"logits": "maps"}}], {"flip": True}, "precomputed sees images as they are"),
        (["toynet", "toynett"], {}, "did you mean 'toynet'"),
        (["toynet", {"batch_norm_adapted": {"base": "toynet", "state": "ordered"}}], {"resident": "one"}, "ordered"),
        (["toynet", 3], {}, "a list, each a name, or one name with its parameters"),
    ],
)
def test_what_makes_no_ensemble_is_refused_in_one_line(members, parameters, complaint):
    with pytest.raises(UserError) as refusal:
        build(members, **parameters)
    assert complaint in str(refusal.value) and "\n" not in str(refusal.value)


SUITE = """
protocols: [anomaly, miou]
models:
  - ensemble: {{members: [toynet, toynet_entropy_max], label: pair, resident: {resident}}}
  - ensemble:
      members: [{{python: {{factory: "net.py:build"}}}}, {{python: {{factory: "other.py:build"}}}}]
      average: logits
      flip: true
      label: snapshots
datasets:
  - toytown: {{split: anomaly, images: 4, height: 32, width: 64}}
methods: [mutual_information, expected_entropy, variance, energy]
bootstrap: 20
"""


def test_a_run_scores_members_and_its_key_knows_their_files(tiny, tmp_path):
    folder = tiny.parent
    (folder / "other.py").write_text((folder / "net.py").read_text().replace("seed(7)", "seed(8)"))
    figures = {}
    for resident in ("all", "one"):
        (folder / "pair.yaml").write_text(SUITE.format(resident=resident))
        out = tmp_path / resident
        assert main(["run", str(folder / "pair.yaml"), "--out", str(out), "--workers", "0", "--shard", "2"]) == 0
        results = store.read_run(out).results
        figures[resident] = {
            str(result.labels): {name: str(value) for name, value in result.metrics.items()} for result in results
        }
        absent = [str(result.labels) for result in results if result.not_applicable]
        assert absent == ["anomaly / pair / toytown[height=32,images=4,split=anomaly,width=64] / energy"]
        sizes = {result.labels.model: result.about["model"]["parameters"] for result in results if result.images}
        assert sizes == {"pair": 2 * 796483, "snapshots": 2 * 771}
    assert figures["all"] == figures["one"] and len(figures["all"]) == 10
    networks = {cell.model.label: cell.model for cell in expansion.load(folder / "pair.yaml").cells}
    snapshots = networks["snapshots"]
    before = snapshots.build().digest()
    (folder / "other.py").write_text((folder / "other.py").read_text().replace("seed(8)", "seed(9)"))
    assert snapshots.build().digest() != before


def test_entries_inside_are_made_as_entries_are_with_paths_from_the_suite_and_digests_of_files(tmp_path):
    (tmp_path / "weights.pt2").write_bytes(b"1")
    entry = {"members": [{"exported": {"file": "weights.pt2"}}, "toynet"], "average": "logits"}
    ref = expansion.make_ref("model", "ensemble", entry, tmp_path / "suite.yaml", 0)
    first, second = ref.params["members"]
    assert first["exported"]["file"] == "weights.pt2" and set(first["exported"]["digests"]) == {"file"}
    assert second.keys() == {"toynet"}
    assert ref.label == "ensemble[average=logits,members=exported[file=weights.pt2]+toynet]"
    assert ref.arguments["members"][0]["exported"]["file"] == str(tmp_path / "weights.pt2")
    (tmp_path / "weights.pt2").write_bytes(b"2")
    assert expansion.make_ref("model", "ensemble", entry, tmp_path / "suite.yaml", 0) != ref

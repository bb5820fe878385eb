"""FED-U and FED-C: the published computation to the digit, files of others and ours, and a flow that is one."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from bench.api import Context, Prediction, View
from bench.contract.network import loaded as load
from bench.core.errors import BadSuite, MissingData
from bench.core.weights import tensors_digest
from bench.datasets.toytown.scenes import Toytown
from bench.fit.flow import checkpoint, inputs
from bench.fit.flow.coupling import CouplingFlow
from bench.fit.flow.net import ContextNet
from bench.fit.flow.published import PublishedFlow
from bench.models.toynet import ToyNet
from bench.suite import registry

FIXTURES = Path(__file__).parents[1] / "fixtures"
GIVEN = dict(np.load(FIXTURES / "fed_scores.npz", allow_pickle=False))
GIVEN |= dict(np.load(FIXTURES / "fed_flows.npz", allow_pickle=False))
SIZE = (64, 80)  # of the image; logits and features are 16 x 20
CROP = (48, 48)  # what the source upsamples to where its config names a crop
POSTS = {0: "none", 1: "boundary"}


def theirs(name):
    """The tensors of a published flow by their names; one network stands there under two."""
    head = f"{name}/sd/"
    flow = {key.removeprefix(head): torch.from_numpy(GIVEN[key]) for key in GIVEN if key.startswith(head)}
    return flow | {key.replace(".s.", ".t."): flow[key] for key in flow if key.startswith("rnvp") and ".s." in key}


def published_file(path, name, *, base=None, **changed):
    """A checkpoint as FlowEneDet's training leaves it, with a network of a few tensors."""
    state = {f"decode_head.flow_model.{key}": tensor for key, tensor in theirs(name).items()}
    state |= {"decode_head.class_means": torch.from_numpy(GIVEN["class_means"])}
    state |= {"decode_head.class_vars": torch.from_numpy(GIVEN["class_vars"])}
    state |= {"decode_head.post_processor.first_conv.weight": torch.ones(1, 1, 3, 3)}
    state |= {"decode_head.post_processor.second_conv.weight": torch.ones(1, 1, 7, 7)}
    state |= base or {}
    for key, tensor in changed.items():
        if tensor is None:
            del state[key]
        else:
            state[key] = tensor
    torch.save({"meta": {"epoch": 1}, "state_dict": state, "optimizer": {"lr": 1.0}}, path)
    return path


def prediction(size=SIZE, image_size=SIZE, fused=False):
    outputs = {name: torch.from_numpy(GIVEN[key][0]) for name, key in (("logits", "logits"), ("features", "feats"))}
    made = Prediction(outputs, size)
    made.context = Context(image_size, fused=fused)
    return made


def build(name, **parameters):
    return registry.build("method", name, parameters, where="suite.yaml")


def plug_in(name):
    return "fed_u" if name.startswith("FEDU") else "fed_c"


def score(method, *arguments):
    returned = method.score(*arguments)
    return getattr(returned, "score", returned)


@pytest.mark.parametrize("post", POSTS)
@pytest.mark.parametrize("upsampled", [0, 1])
@pytest.mark.parametrize("name", ["FEDU4", "FEDU8", "FEDC4", "FEDC8"])
def test_every_score_of_the_source(name, upsampled, post, tmp_path):
    expected = GIVEN[f"{name}_up{upsampled}_post{post}"][0, 0]
    where = {"upsample": "before", "size": list(CROP)} if upsampled else {"upsample": "after"}
    weights = published_file(tmp_path / "fed.pth", name)
    method = build(plug_in(name), fidelity="reference", weights=str(weights), post=POSTS[post], **where)
    given = score(method, prediction(expected.shape, fused=name.endswith("4")), {})
    np.testing.assert_allclose(given.numpy(), expected, rtol=0, atol=2e-6)


@pytest.mark.parametrize(
    ("blocks", "condition", "parameters"),
    [(8, 0, 1_815), (8, 32, 464_151), (4, 0, 911), (4, 32, 232_079), (8, 128, 6_766_359), (4, 128, 3_383_183)],
)
def test_sizes_of_the_published_flows(blocks, condition, parameters):
    assert sum(one.numel() for one in PublishedFlow(blocks, condition).parameters()) == parameters


def test_a_published_file_is_ours_after_one_reading(tmp_path):
    """Read in their layout, written in ours, read again: the same scores to the bit."""
    for name in ("FEDU4", "FEDC4"):
        read = checkpoint.read(published_file(tmp_path / f"{name}.pth", name))
        assert (read.blocks, read.condition) == (4, 0 if name == "FEDU4" else 32)
        ours = tmp_path / f"{name}.safetensors"
        about = {
            "fidelity": read.fidelity,
            "evidence": read.evidence,
            "upsample": "",
            "base": "a network",
            "base_digest": "0" * 16,
        }
        checkpoint.write(ours, read.state, about)
        files = (str(tmp_path / f"{name}.pth"), str(ours))
        one, other = (build(plug_in(name), fidelity="reference", weights=file) for file in files)
        assert torch.equal(score(one, prediction(), {}), score(other, prediction(), {}))
        assert one.digest() != other.digest()


def broken(key, tensor):
    return {"decode_head.flow_model." + key: tensor}


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (broken("rnvp.2.s.5.bias", None), r"decode_head.flow_model.rnvp.2.s.5.bias is missing"),
        (broken("ic.1.weight", torch.ones(3, 3)), r"ic.1.weight is \[3, 3\], wanted \[2, 2\]"),
        (broken("rnvp.0.M", torch.tensor([[[[1.0]], [[0.0]]]])), r"rnvp.0.M is \[1.0, 0.0\], wanted \[0.0, 1.0\]"),
        (broken("rnvp.0.t.0.bias", torch.ones(2)), r"rnvp.0.t.0.bias differs from rnvp.0.s.0.bias"),
        (broken("more.weight", torch.ones(2)), r"1 surplus tensors in the flow \(first: more.weight\)"),
        ({"decode_head.class_means": None}, r"hold no decode_head.class_means"),
    ],
)
def test_a_published_file_that_is_not_whole(changed, said, tmp_path):
    with pytest.raises(MissingData, match=said):
        checkpoint.read(published_file(tmp_path / "fed.pth", "FEDU4", **changed))


def test_a_file_without_a_flow_and_one_with_code(tmp_path):
    torch.save({"weight": torch.ones(2)}, tmp_path / "other.pth")
    with pytest.raises(MissingData, match=r"hold no flow: no tensor is named decode_head.flow_model"):
        checkpoint.read(tmp_path / "other.pth")
    torch.save({"state_dict": Path}, tmp_path / "code.pth")
    with pytest.raises(MissingData, match=r"code\.pth hold no state dict"):  # no foreign class is made
        checkpoint.read(tmp_path / "code.pth")


def test_the_network_in_a_published_file_is_compared():
    base = {"backbone.weight": torch.ones(2), "backbone.bn.num_batches_tracked": torch.tensor(7)}
    found = checkpoint.Detector("reference", 4, 0, {}, base=base | {"auxiliary_head.weight": torch.ones(1)})
    checkpoint.belongs(found, {"backbone.weight": torch.ones(2)}, "fed_u")
    with pytest.raises(MissingData, match=r"has other weights than that at hand \(first: backbone.weight\)"):
        checkpoint.belongs(found, {"backbone.weight": torch.zeros(2)}, "fed_u")
    with pytest.raises(MissingData, match=r"2 tensors are in one alone \(first: backbone.weight\)"):
        checkpoint.belongs(found, {"trunk.weight": torch.zeros(2)}, "fed_u")


def test_a_file_of_ours_refuses_another_network(tmp_path):
    network = load(ToyNet(), "cpu")
    digest = tensors_digest(network.module().state_dict())
    state = checkpoint.emptied(CouplingFlow(2, 0), {"mean": np.zeros(19), "variance": np.ones(19)})
    for name, told in (("own", digest), ("other", "f" * 16)):
        about = {
            "fidelity": "corrected",
            "evidence": "standardised",
            "upsample": "after",
            "base": "toynet",
            "base_digest": told,
        }
        checkpoint.write(tmp_path / f"{name}.safetensors", state, about)
    own, other = (build("fed_u", weights=str(tmp_path / f"{name}.safetensors")) for name in ("own", "other"))
    own.check(network.model)
    own.check(network.model, network)
    other.check(network.model)
    with pytest.raises(MissingData, match=rf"trained on toynet, whose weights have the digest f{{16}}.* have {digest}"):
        other.check(network.model, network)


@pytest.mark.parametrize(
    ("name", "given", "said"),
    [
        ("fed_u", {"blocks": 8}, r"has blocks 4, 8 is asked for; leave the parameter out"),
        ("fed_u", {"fidelity": "corrected"}, r"is a flow of fidelity reference; say fidelity: reference"),
        ("fed_c", {}, r"is a flow with 0 channels of a condition; its method is fed_u"),
    ],
)
def test_parameters_that_do_not_fit_their_file(name, given, said, tmp_path):
    weights = str(published_file(tmp_path / "fed.pth", "FEDU4"))
    with pytest.raises(BadSuite, match=said):
        build(name, **{"fidelity": "reference", "weights": weights} | given).check(ToyNet())


def test_what_is_asked_of_a_network_and_when_it_must_be_fitted():
    assert build("fed_u").needs == {"logits", "raw"} and build("fed_c").needs == {"logits", "raw", "features"}
    assert build("fed_u").fitting.must and build("fed_c", weights="x.pth").fitting is None
    with pytest.raises(BadSuite, match=r"the Gaussian is part of the score; say post: none, or boundary"):
        build("fed_u", fidelity="reference", post="gaussian")
    with pytest.raises(MissingData, match=r"weights .*x.pth do not exist, nor x.pth in .*checkpoints; paths"):
        build("fed_c", weights="x.pth").check(ToyNet())


def test_features_that_cannot_be_grouped_are_refused():
    with pytest.raises(BadSuite, match=r"of 32 channels cannot be made of 48 features; say pooled: one of 1, 2, 3, 4"):
        inputs.pooled(torch.zeros(1, 48, 2, 2), 32)


def randomised(flow, seed=0):
    """Every parameter drawn, so that nothing is tested at its neutral start."""
    dice = torch.Generator().manual_seed(seed)
    for name, parameter in flow.named_parameters():
        scale = 0.1 if "middle" in name else 0.5
        drawn = torch.randn(parameter.shape, generator=dice) * scale
        parameter.data = drawn + torch.eye(2) if name.endswith("mix") else drawn
    return flow.requires_grad_(False)


@pytest.mark.parametrize("condition", [0, 6])
def test_the_log_determinant_is_that_of_autograd(condition):
    flow = randomised(CouplingFlow(3, condition)).double()
    dice = torch.Generator().manual_seed(1)
    z = torch.randn(1, 2, 3, 4, generator=dice, dtype=torch.float64)
    a = torch.randn(1, condition, 3, 4, generator=dice, dtype=torch.float64) if condition else None
    _, volume = flow.transform(z, a)
    jacobian = torch.autograd.functional.jacobian(lambda at: flow.transform(at, a)[0], z).reshape(24, 24)
    expected = torch.linalg.slogdet(jacobian)[1].item()
    assert volume.sum().item() == pytest.approx(expected, rel=1e-9) and abs(expected) > 1
    densities = flow(z, a)
    x, _ = flow.transform(z, a)
    for component in (0, 1):
        factor = torch.diag(flow.factor[component, :2].exp())
        factor[1, 0] = flow.factor[component, 2]
        normal = torch.distributions.MultivariateNormal(flow.centre[component], precision_matrix=factor.T @ factor)
        prior = torch.log_softmax(flow.prior, 0)[component]
        by_hand = normal.log_prob(x[0].permute(1, 2, 0)) + prior + volume[0, 0]
        torch.testing.assert_close(densities[0, component], by_hand)


@pytest.mark.parametrize("condition", [0, 6])
def test_the_inverse_inverts(condition):
    flow = randomised(CouplingFlow(8, condition))
    dice = torch.Generator().manual_seed(2)
    z = torch.randn(2, 2, 16, 20, generator=dice)
    a = torch.randn(2, condition, 8, 10, generator=dice) if condition else None
    x, _ = flow.transform(z, a)
    torch.testing.assert_close(flow.inverse(x, a), z, rtol=0, atol=1e-5)


def test_a_first_batch_is_whitened():
    flow = CouplingFlow(3, 4)
    dice = torch.Generator().manual_seed(3)
    z, a = 5 + 3 * torch.randn(2, 2, 9, 9, generator=dice), 7 * torch.randn(2, 4, 9, 9, generator=dice)
    flow.initialise(z, a)
    for whitened in (flow.blocks[0].norm(z), flow.blocks[2].condition_norm(a)):
        zeros, ones = torch.zeros(whitened.shape[1]), torch.ones(whitened.shape[1])
        torch.testing.assert_close(whitened.mean(dim=(0, 2, 3)), zeros, atol=1e-5, rtol=0)
        torch.testing.assert_close(whitened.std(dim=(0, 2, 3)), ones, atol=1e-2, rtol=0)


@pytest.mark.parametrize("make", [PublishedFlow, CouplingFlow])
@pytest.mark.parametrize("size", [(41, 30), (1, 1), (2, 3), (64, 5)])
def test_strips_and_a_late_upsampling_change_nothing(make, size, monkeypatch):
    """Strips without gradients, one piece with them; a condition below the size of z, or upsampled before."""
    flow = randomised(make(2, 4))
    dice = torch.Generator().manual_seed(4)
    z = torch.randn(1, 2, *size, generator=dice)
    small = torch.randn(1, 4, *(max(1, side // 4) for side in size), generator=dice)
    large = torch.nn.functional.interpolate(small, size=size, mode="bilinear", align_corners=False)
    whole = flow(z, large)
    monkeypatch.setattr(ContextNet, "_strip", lambda self, seen: 8)
    with torch.no_grad():
        torch.testing.assert_close(flow(z, small), whole, rtol=1e-5, atol=1e-5)


def test_the_other_evidence_is_the_softmax():
    """Log of the maximum softmax probability and of what is left, to the digit where the network is sure."""
    logits = 6 * torch.randn(1, 19, 4, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    top = logits.softmax(1).amax(1)
    found = inputs.evidence("confidence", logits, torch.zeros(19), torch.ones(19))[0]
    torch.testing.assert_close(found, torch.cat([top.log(), (1 - top).log()]), rtol=1e-6, atol=1e-9)
    sure = inputs.confidence(torch.tensor([50.0, 0.0, -5000.0]).view(1, 3, 1, 1)).flatten()
    torch.testing.assert_close(sure, torch.tensor([-np.exp(-50.0), -50.0], dtype=torch.float32))
    assert torch.isfinite(inputs.confidence(torch.tensor([1e4, 0.0]).view(1, 2, 1, 1))).all()
    with pytest.raises(BadSuite, match=r"reference fidelity has no evidence: confidence; leave it out"):
        build("fed_u", fidelity="reference", evidence="confidence")


def test_fed_u_never_looks_at_features():
    seen = prediction()
    del seen.raw["features"]
    state = checkpoint.emptied(CouplingFlow(2, 0), {"mean": GIVEN["class_means"], "variance": GIVEN["class_vars"]})
    given = score(build("fed_u"), seen, state)
    assert given.shape == SIZE and given.min() >= 0 and given.max() <= 1


def test_the_shared_network_is_evaluated_once(monkeypatch):
    calls = []
    inner = ContextNet.forward
    monkeypatch.setattr(ContextNet, "forward", lambda self, *given: calls.append(1) or inner(self, *given))
    with torch.no_grad():
        PublishedFlow(4, 8)(torch.zeros(1, 2, 9, 9), torch.zeros(1, 8, 9, 9))
    assert len(calls) == 4


def published_work(blocks, condition, size):
    """Multiply-adds of the published computation: condition and z upsampled, both names of the network evaluated."""
    width, pixels = 2 + condition, size[0] * size[1]
    network = width * width + 49 * width * width + 2 * width
    return pixels * blocks * (2 * network + 4 + 4) + 4 * pixels * condition


class Counted(torch.utils._python_dispatch.TorchDispatchMode):
    """Multiply-adds of convolutions, and four for each figure that a bilinear upsampling gathers."""

    total = 0

    def __torch_dispatch__(self, function, types, arguments=(), named=None):
        out = function(*arguments, **(named or {}))
        if function is torch.ops.aten.convolution.default:
            weight = arguments[1]
            self.total += out.numel() * weight[0].numel()
        elif function is torch.ops.aten.index_select.default:
            self.total += 2 * out.numel()
        return out


def test_fed_c_needs_at_most_half_of_the_multiplications(monkeypatch):
    """At 1024 x 2048, upsampled before, 8 blocks, 32 channels; counted on tensors without data."""
    size = (1024, 2048)
    monkeypatch.setattr(ContextNet, "_strip", lambda self, seen: 64)  # 8 on this device, which only takes longer
    with torch.device("meta"), torch.no_grad(), Counted() as work:
        PublishedFlow(8, 32)(torch.empty(1, 2, *size), torch.empty(1, 32, 256, 512))
    reference = published_work(8, 32, size)
    assert reference / 2**21 == pytest.approx(2 * 8 * 57_868, rel=1e-3)
    assert work.total <= 0.5 * reference, work.total / reference


def test_a_header_says_what_a_file_is(tmp_path):
    path = tmp_path / "ours.safetensors"
    state = checkpoint.emptied(CouplingFlow(2, 3), {"mean": np.zeros(5), "variance": np.ones(5)})
    about = {
        "fidelity": "corrected",
        "evidence": "standardised",
        "upsample": "after",
        "base": "a network",
        "base_digest": "0" * 16,
        "seed": 3,
    }
    checkpoint.write(path, state, about)
    found = checkpoint.read(path)
    assert (found.blocks, found.condition, found.base_name) == (2, 3, "a network")
    for bad, said in (
        (about | {"fidelity": "both"}, r"the header does not say its fidelity"),
        ({"fidelity": "corrected"}, r"the header does not say its base, base_digest, evidence, upsample"),
        (about | {"fidelity": "reference"}, r"flow\.\S+ is .*, wanted"),
    ):
        checkpoint.write(path, state, bad)
        with pytest.raises(MissingData, match=said):
            checkpoint.read(path)
    assert json.dumps(about)


def test_a_corrected_flow_is_used_where_it_was_trained(tmp_path):
    state = checkpoint.emptied(randomised(CouplingFlow(2, 0)), {"mean": np.zeros(19), "variance": np.ones(19)})
    about = {"fidelity": "corrected", "evidence": "confidence", "upsample": "before", "base": "toynet"}
    checkpoint.write(tmp_path / "flow.safetensors", state, about | {"base_digest": ""})
    weights = str(tmp_path / "flow.safetensors")
    as_trained = score(build("fed_u", weights=weights, post="none"), prediction(), {})
    said = build("fed_u", evidence="confidence", upsample="before", post="none")
    assert torch.equal(as_trained, score(said, prediction(), state))
    assert not torch.equal(as_trained, score(build("fed_u", evidence="confidence", post="none"), prediction(), state))
    with pytest.raises(BadSuite, match=r"has upsample before, after is asked for; leave the parameter out to take it"):
        build("fed_u", weights=weights, upsample="after").check(ToyNet())


@pytest.mark.parametrize("name", ["fed_u", "fed_c"])
def test_the_shipped_detectors_belong_to_the_shipped_network(name):
    """They load by name, rank errors of frames that nobody was trained on, and say how they were made."""
    network = load(ToyNet(), "cpu")
    method = build(name, weights=f"somewhere/toynet_{name}", post="none")
    method.check(network.model)
    method.check(network.model, network)
    right, wrong = [], []
    for index in range(4, 44, 5):
        sample = Toytown(split="val").load(index)
        pixels = torch.from_numpy(np.ascontiguousarray(sample.image())).permute(2, 0, 1)
        seen = network.predict([View(sample.id, pixels, 1.0, False, (0, 0, *sample.size), sample.size, sample.size)])[0]
        given, labels = score(method, seen, {}).numpy(), seen.labels.numpy()
        valid = sample.labels != 255
        wrong.append(given[valid & (labels != sample.labels)])
        right.append(given[valid & (labels == sample.labels)])
    hits, misses = np.concatenate(wrong), np.sort(np.concatenate(right))
    auroc = np.searchsorted(misses, hits).mean() / len(misses)
    assert auroc > 0.92
    assert hits.mean() == pytest.approx(0.4, abs=0.15) and misses.mean() < 0.1  # probabilities, and used as such

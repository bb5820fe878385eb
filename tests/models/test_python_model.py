"""A network of one's own: refusals."""

import numpy as np
import pytest
import torch

from bench.api import Inference, Sample
from bench.cli.main import main
from bench.contract.network import loaded
from bench.core.errors import BadPlugin, BadSuite, MissingData
from bench.core.weights import load_strictly, read_state_dict
from bench.models import inference
from bench.suite import registry


def model(folder, code, **params):
    (folder / "net.py").write_text(code)
    return registry.build("model", "python", {"factory": f"{folder / 'net.py'}:build"} | params, where="x")


def test_a_factory_must_exist_and_return_a_module(tmp_path):
    with pytest.raises(MissingData, match=r"factory .*nowhere\.py does not exist"):
        registry.build("model", "python", {"factory": str(tmp_path / "nowhere.py:build")}, where="x").check()
    with pytest.raises(BadPlugin, match=r"names no function; wanted path/to/file\.py:function"):
        registry.build("model", "python", {"factory": __file__}, where="x").check()
    with pytest.raises(BadPlugin, match=r"returned int, wanted a torch\.nn\.Module"):
        model(tmp_path, "def build():\n    return 3\n").load("cpu")


def test_a_wrong_number_of_classes_is_refused_with_both_numbers(tiny, tmp_path, capsys):
    tiny.with_name("net.py").write_text(tiny.with_name("net.py").read_text().replace("19", "20"))
    assert main(["run", str(tiny), "--out", str(tmp_path / "run"), "--workers", "0"]) == 3
    assert "gives logits [20, 8, 16], wanted [19, h, w], one per class" in capsys.readouterr().err


RAMP = """
import torch

class Net(torch.nn.Module):
    def forward(self, x):
        return torch.arange(20.0).view(1, 20, 1, 1).expand(len(x), 20, 4, 6)

def build():
    return Net()
"""


@pytest.mark.parametrize("void", ["first", "last"])
def test_a_channel_that_is_no_class_is_declared(void, tmp_path):
    specification = model(tmp_path, RAMP, void=void)
    assert {"logits", "void_logit"} <= specification.outputs
    network = loaded(specification, "cpu")
    image = np.zeros((8, 12, 3), np.uint8)
    views = [next(inference.views(Sample("one", (8, 12), lambda: image), Inference(), "cpu"))] * 2
    for prediction in (*network.predict(views[:1]), *network.predict(views)):  # one by one, and as a batch
        assert prediction.raw["logits"][:, 0, 0].tolist() == list(range(1, 20) if void == "first" else range(19))
        assert prediction.raw["void_logit"].shape == (4, 6)
        assert bool((prediction.raw["void_logit"] == (0 if void == "first" else 19)).all())
    assert network.forward(torch.zeros(1, 3, 8, 12))[0, :, 0, 0].tolist() == prediction.raw["logits"][:, 0, 0].tolist()


def test_void_is_a_channel_of_the_logits_alone(tmp_path):
    with pytest.raises(BadSuite, match="void is a channel of the output logits"):
        model(tmp_path, RAMP, void="last", outputs=["class_scores"])
    network = loaded(model(tmp_path, RAMP), "cpu")
    image = np.zeros((8, 12, 3), np.uint8)
    view = next(inference.views(Sample("one", (8, 12), lambda: image), Inference(), "cpu"))
    with pytest.raises(
        BadPlugin, match=r"logits \[20, 4, 6\], wanted \[19, h, w\], one per class; say void: last, or fi"
    ):
        network.predict([view])
    named = model(tmp_path, RAMP, void="last", classes=[f"c{number}" for number in range(20)])
    with pytest.raises(BadPlugin, match=r"wanted \[21, h, w\], one per class and one for void"):
        loaded(named, "cpu").predict([view])


def test_an_edited_weights_file_changes_the_digest(tmp_path):
    weights = tmp_path / "w.pth"
    digests = set()
    for value in (0.0, 1.0):
        torch.save({"weight": torch.tensor(value)}, weights)
        digests.add(model(tmp_path, "", weights=str(weights)).digest())
    assert len(digests) == 2


class Evil:
    def __reduce__(self):
        return (print, ("code ran",))


def test_weights_that_would_run_code_are_refused(tmp_path, capsys):
    torch.save({"weight": torch.zeros(1), "more": Evil()}, tmp_path / "evil.pth")
    with pytest.raises(MissingData, match="hold more than tensors and would run code when read"):
        read_state_dict(tmp_path / "evil.pth")
    assert "code ran" not in capsys.readouterr().out


def test_weights_are_loaded_strictly(tmp_path):
    network = torch.nn.Linear(2, 3)
    torch.save({"module.weight": torch.zeros(3, 2), "module.extra": torch.zeros(1)}, tmp_path / "w.pth")
    with pytest.raises(MissingData, match=r"1 missing \(first: bias\), 1 surplus \(first: extra\)"):
        load_strictly(network, tmp_path / "w.pth")
    torch.save({"weight": torch.zeros(3, 3), "bias": torch.zeros(3)}, tmp_path / "w.pth")
    with pytest.raises(MissingData, match=r"weight is \[3, 3\], the network wants \[3, 2\]"):
        load_strictly(network, tmp_path / "w.pth")
    torch.save({"state_dict": network.state_dict(), "meta": {"epoch": 3}}, tmp_path / "w.pth")
    assert torch.equal(load_strictly(torch.nn.Linear(2, 3), tmp_path / "w.pth").weight, network.weight)


def test_a_truncated_file_is_one_line(tmp_path):
    torch.save({"weight": torch.zeros(1000)}, tmp_path / "w.pth")
    (tmp_path / "w.pth").write_bytes((tmp_path / "w.pth").read_bytes()[:300])
    with pytest.raises(MissingData, match=r"w\.pth cannot be read"):
        read_state_dict(tmp_path / "w.pth")

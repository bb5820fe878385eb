"""Weights and networks of strangers: each is refused in one line, or loads; nothing in them runs or stays behind."""

import io
import json
import pickle
import warnings
import zipfile
from functools import cache

import numpy as np
import pytest
import torch
from damaged_files import OTHER_THINGS, altered, trials
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save
from torch import nn

from bench.api import View
from bench.cli.main import main
from bench.contract.network import loaded
from bench.core.errors import UserError
from bench.core.weights import load_strictly
from bench.suite import registry


class Evil:
    def __reduce__(self):
        return (print, ("code ran",))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Conv2d(3, 4, 1)
        self.head = nn.Conv2d(4, 19, 1)

    def forward(self, x):
        return self.head(self.body(x))


def torch_file(content, old=False):
    buffer = io.BytesIO()
    torch.save(content, buffer, _use_new_zipfile_serialization=not old)
    return buffer.getvalue()


@cache
def script():
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.save(torch.jit.trace(Net().eval(), torch.zeros(1, 3, 8, 8)), buffer)
    return buffer.getvalue()


@cache
def program():
    buffer = io.BytesIO()
    torch.export.save(torch.export.export(Net().eval(), (torch.zeros(1, 3, 8, 8),)), buffer)
    return buffer.getvalue()


STATE = Net().state_dict()
WHOLE = [torch_file(STATE), torch_file({"state_dict": STATE, "meta": {"a": 1}}, old=True), save(STATE)]
NAMES = st.sampled_from([
    *STATE, "module.head.weight", "ema_head_weight", "net.head.bias", "a", "", ".", "\x1b[2J\n", "x" * 5000, 3, None,
])  # fmt: skip
TENSORS = st.sampled_from([
    *STATE.values(), torch.zeros(0), torch.zeros(()), torch.zeros(19, 4, 1, 1, dtype=torch.int8),
    torch.zeros(1).expand(99, 9), torch.quantize_per_tensor(torch.ones(19), 1, 0, torch.qint8),
    torch.full((19,), torch.nan), torch.zeros(19, dtype=torch.complex64), torch.zeros(19, dtype=torch.bool),
    torch.zeros(19).to_sparse(), torch.empty(19, device="meta"),
    nn.Parameter(torch.ones(19)), torch.zeros(19, dtype=torch.float64)[::1], torch.ones(19, dtype=torch.float16),
])  # fmt: skip
THINGS = st.sampled_from([
    None, True, 3, 10**40, 1.5, "text", b"bytes", [1], (), {}, np.float64(1), np.zeros(3), np.array(["a"]), Evil(),
    nn.ReLU(), {"a": {"b": {"c": {"d": STATE}}}}, torch.float32, torch.Size([1]), range(3), {1, 2},
])  # fmt: skip
ENTRIES = st.sampled_from(["state_dict", "model", "ema", "meta", "optimizer", "net", "a.b", "\x1b]0;\x07"])


def prefixed(start):
    return {start + name: tensor for name, tensor in STATE.items()}


STATES = st.one_of(
    st.dictionaries(NAMES, st.one_of(TENSORS, TENSORS, THINGS), max_size=5), st.just(dict(STATE)),
    st.sampled_from(["module.", "model.", "_orig_mod.", "a.b."]).map(prefixed),
)  # fmt: skip
CONTENTS = st.one_of(THINGS, STATES, st.dictionaries(ENTRIES, st.one_of(STATES, STATES, THINGS), max_size=4))
PICKLES = st.one_of(
    st.builds(torch_file, CONTENTS, st.booleans()),
    st.sampled_from([pickle.dumps({"a": Evil()}, protocol) for protocol in range(6)]),
)


@st.composite
def repacked(draw, whole):
    """An archive with members under other names, twice, emptied, or with a pickle in their place."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(whole)) as archive, zipfile.ZipFile(buffer, "w") as new:
        members = [(info.filename, archive.read(info)) for info in archive.infolist()]
        for _ in range(draw(st.integers(1, 3))):
            name, content = members[draw(st.integers(0, len(members) - 1))]
            change = draw(st.sampled_from([str.upper, str.title, "/{}".format, "../{}".format, str, "{}\\".format]))
            content = draw(
                st.sampled_from([content, b"", b"{}", b"[]", torch_file({"a": Evil()}), pickle.dumps(Evil(), 2)])
            )
            members.insert(draw(st.integers(0, len(members))), (change(name), content))
            if draw(st.booleans()):
                members.remove(draw(st.sampled_from(members)))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for name, content in members:
                new.writestr(name, content)
    return buffer.getvalue()


def held(act, capfd, folder):
    """Do what may be refused in one line; no code runs, and no file is added."""
    before = sorted(folder.rglob("*"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            act()
        except UserError as error:
            assert "\n" not in str(error) and str(error).isprintable() and len(str(error)) < 3000
    assert "code ran" not in capfd.readouterr().out
    assert sorted(folder.rglob("*")) == before


WEIGHTS = st.one_of(PICKLES, PICKLES, altered(WHOLE), OTHER_THINGS, repacked(WHOLE[0]))
PARTS = st.sampled_from(["", "", "ema", "net."])


def fill(content, part, folder, capfd):
    (folder / "w.pth").write_bytes(content)
    held(lambda: load_strictly(Net(), folder / "w.pth", part=part), capfd, folder)


@trials(60)
@given(content=WEIGHTS, part=PARTS)
def test_weights_load_or_are_refused_in_one_line(content, part, tmp_path, capfd):
    fill(content, part, tmp_path, capfd)


@pytest.mark.slow
@trials(600)
@given(content=WEIGHTS, part=PARTS)
def test_many_weights(content, part, tmp_path, capfd):
    fill(content, part, tmp_path, capfd)


PROGRAMS = {"torchscript": script, "exported": program}


def run(kind, data, folder, capfd):
    whole = PROGRAMS[kind]()
    (folder / "net").write_bytes(
        data.draw(st.one_of(altered([whole]), repacked(whole), OTHER_THINGS, st.sampled_from(WHOLE)))
    )
    model = registry.build("model", kind, {"file": str(folder / "net")}, where="x")

    def predict():
        model.check()
        view = View("a", torch.zeros(3, 8, 8, dtype=torch.uint8), 1.0, False, (0, 0, 8, 8), (8, 8), (8, 8))
        loaded(model, "cpu").predict([view])

    held(predict, capfd, folder)


@pytest.mark.parametrize("kind", PROGRAMS)
@trials(15)
@given(data=st.data())
def test_programs_load_or_are_refused_in_one_line(kind, data, tmp_path, capfd):
    run(kind, data, tmp_path, capfd)


@pytest.mark.slow
@pytest.mark.parametrize("kind", PROGRAMS)
@trials(200)
@given(data=st.data())
def test_many_programs(kind, data, tmp_path, capfd):
    run(kind, data, tmp_path, capfd)


SETTINGS = {
    "architectures": ["SegformerForSemanticSegmentation"], "model_type": "segformer", "depths": [1, 1, 1, 1],
    "hidden_sizes": [8, 8, 8, 8], "num_attention_heads": [1, 1, 1, 1], "decoder_hidden_size": 8,
    "id2label": {str(index): str(index) for index in range(19)},
}  # fmt: skip
PREPARATION = {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5], "do_rescale": True}
VALUES = st.sampled_from(
    [None, True, -1, 0, 10**30, 1.5, "x", "\x1b[2J", [], ["a"], [0, 0, 0], [[1]] * 3, {}, {"0": 1}, {"a": "b"}]
)


@trials(20)
@given(
    config=st.dictionaries(st.sampled_from([*SETTINGS, "num_labels", "auto_map"]), VALUES, max_size=2),
    prepared=st.dictionaries(st.sampled_from([*PREPARATION, "rescale_factor", "image_processor"]), VALUES, max_size=2),
    weights=st.one_of(altered(WHOLE[2:]), OTHER_THINGS, st.just(WHOLE[0])),
    damage=st.sampled_from(["", "", "", "config.json", "preprocessor_config.json"]),
)
def test_folders_of_transformers_load_or_are_refused_in_one_line(config, prepared, weights, damage, tmp_path, capfd):
    pytest.importorskip("transformers", reason="the extra transformers is not installed")
    for name, settings in (("config.json", SETTINGS | config), ("preprocessor_config.json", PREPARATION | prepared)):
        (tmp_path / name).write_text("[" * 5000 if name == damage else json.dumps(settings))
    (tmp_path / "model.safetensors").write_bytes(weights)
    model = registry.build("model", "transformers", {"folder": str(tmp_path)}, where="x")

    def load():
        model.check()
        model.load("cpu")

    held(load, capfd, tmp_path)


SUITE = """
protocols: [misclassification]
models: [{python: {factory: 'net.py:build', weights: w.pth, label: mine}}]
datasets: [{toytown: {split: anomaly, images: 1, height: 32, width: 64}}]
methods: [msp]
bootstrap: 0
"""
FACTORY = """
from torch import nn
from bench.core.weights import load_strictly

def build(weights):
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 19, 1))
    return load_strictly(network, weights)
"""


@trials(15)
@given(content=st.one_of(PICKLES, altered(WHOLE), OTHER_THINGS))
def test_check_says_what_is_wrong_with_weights_and_ends_with_status_2(content, tmp_path, capfd):
    (tmp_path / "s.yaml").write_text(SUITE)
    (tmp_path / "net.py").write_text(FACTORY)
    (tmp_path / "w.pth").write_bytes(content)
    status = main(["check", str(tmp_path / "s.yaml")])
    captured = capfd.readouterr()
    assert status in (0, 2) and "Traceback" not in captured.out + captured.err
    assert "code ran" not in captured.out
    refused = "1 of 1 cells would have no figures", "bench: model python: weights "  # the second before anything runs
    assert status == 0 or any(words in captured.err for words in refused)
    assert {path.name for path in tmp_path.iterdir()} <= {"s.yaml", "net.py", "w.pth", "__pycache__", "home"}

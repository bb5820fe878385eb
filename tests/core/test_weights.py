"""Weights in every form that people have them in: read and equal, or refused in one line with cause and cure."""

import argparse
import collections
import itertools
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from bench.core.errors import MissingData
from bench.core.weights import load_strictly, read_state_dict


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
        self.head = nn.Conv2d(4, 2, 1)


def network(value=0.5):
    net = Net()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.fill_(value)
    return net


WEIGHTS = network().state_dict()
OTHERS = network(2.0).state_dict()


def renamed(prefix, state=WEIGHTS):
    return {prefix + name: tensor.clone() for name, tensor in state.items()}


def check(path, value=0.5, **said):
    """Whether the network gets its weights from a file."""
    net = load_strictly(Net(), path, **said)
    assert all(bool((parameter == value).all()) for parameter in net.parameters())


def refused(path, words, **said):
    with pytest.raises(MissingData, match=words) as caught:
        load_strictly(Net(), path, **said)
    assert "\n" not in str(caught.value)


def as_torch(content, path):
    torch.save(content, path)


def as_old_torch(content, path):
    torch.save(content, path, _use_new_zipfile_serialization=False)


WRITERS = {"zip": as_torch, "old": as_old_torch, "safetensors": lambda content, path: save_file(content, path)}
SINGLE = ("module.", "_orig_mod.", "network.", "model.", "net.", "student.", "model_ema.")
PREFIXES = ["", *SINGLE, *map("".join, itertools.permutations(("module.", "_orig_mod.", "model."), 2))]


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("form", WRITERS)
@pytest.mark.parametrize("name", ["w.pth", "w.safetensors", "w.bin", "w"])
def test_a_prefix_before_all_names_is_taken_off_in_every_form_under_any_name(prefix, form, name, tmp_path):
    WRITERS[form](renamed(prefix), tmp_path / name)
    check(tmp_path / name)


@pytest.mark.parametrize(
    "prefix", ["module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module.", "module.module."]
)
def test_what_wraps_a_network_is_taken_off_for_factories_that_fill_it_themselves(prefix, tmp_path):
    torch.save(renamed(prefix), tmp_path / "w.pth")
    assert read_state_dict(tmp_path / "w.pth").keys() == WEIGHTS.keys()


def test_compiled_parts_inside_lose_their_wrapper(tmp_path):
    state = {name.replace("backbone.", "backbone._orig_mod."): value for name, value in WEIGHTS.items()}
    torch.save(state, tmp_path / "w.pth")
    check(tmp_path / "w.pth")


def test_a_network_with_a_part_called_module_keeps_its_names(tmp_path):
    net = nn.Sequential(collections.OrderedDict(module=network(), last=nn.Conv2d(1, 1, 1)))
    torch.save(net.state_dict(), tmp_path / "w.pth")
    load_strictly(nn.Sequential(collections.OrderedDict(module=Net(), last=nn.Conv2d(1, 1, 1))), tmp_path / "w.pth")
    torch.save(nn.DataParallel(network()).state_dict(), tmp_path / "w.pth")
    load_strictly(nn.DataParallel(Net()), tmp_path / "w.pth")


ENTRIES = ["state_dict", "model", "model_state", "model_state_dict", "network", "net", "weights", "generator"]


@pytest.mark.parametrize("entry", ENTRIES)
@pytest.mark.parametrize("prefix", ["", "module.", "network."])
def test_the_entry_of_a_checkpoint_with_the_weights_is_found(entry, prefix, tmp_path):
    more = {"epoch": 3, "optimizer": {"state": {0: {"step": torch.ones(1)}}, "param_groups": [{"lr": 0.1}]}}
    torch.save({entry: renamed(prefix)} | more, tmp_path / "w.pth")
    check(tmp_path / "w.pth")
    torch.save({"checkpoint": {entry: renamed(prefix)} | more}, tmp_path / "w.pth")
    check(tmp_path / "w.pth")


def test_several_entries_that_could_be_meant_are_refused_until_one_is_named(tmp_path):
    torch.save({"model": dict(WEIGHTS), "network": dict(OTHERS)}, tmp_path / "w.pth")
    refused(tmp_path / "w.pth", r"hold several networks, model, network; say which .*part='model'")
    check(tmp_path / "w.pth", 2.0, part="network")


@pytest.mark.parametrize("entry", ["state_dict_ema", "model_ema", "ema", "ema_state_dict"])
def test_weights_as_they_were_trained_come_before_their_average(entry, tmp_path, caplog):
    torch.save({"model": dict(WEIGHTS), entry: dict(OTHERS)}, tmp_path / "w.pth")
    check(tmp_path / "w.pth")
    assert f"taken from the entry model, not from {entry}" in caplog.text
    check(tmp_path / "w.pth", 2.0, part=entry)
    torch.save({entry: dict(OTHERS)}, tmp_path / "w.pth")  # alone there is nothing to choose
    check(tmp_path / "w.pth", 2.0)


@pytest.mark.parametrize("prefix", ["ema.", "model_ema.", "ema_model.module.", "teacher."])
def test_a_second_copy_beside_the_plain_names_is_left_and_said(prefix, tmp_path, caplog):
    torch.save(dict(WEIGHTS) | renamed(prefix, OTHERS), tmp_path / "w.pth")
    check(tmp_path / "w.pth")
    assert f"not used: {prefix.partition('.')[0]}.*" in caplog.text
    check(tmp_path / "w.pth", 2.0, part=prefix)


def test_averages_of_mmcv_have_underscores_and_no_buffers(tmp_path, caplog):
    flat = {f"ema_{name.replace('.', '_')}": value for name, value in network(2.0).named_parameters()}
    torch.save(dict(WEIGHTS) | flat, tmp_path / "w.pth")
    check(tmp_path / "w.pth")
    assert "not used: ema_*" in caplog.text
    check(tmp_path / "w.pth", 2.0, part="ema_")


def test_what_a_trainer_keeps_beside_the_network_is_left_and_said(tmp_path, caplog):
    state = renamed("network.") | {"criterion.weight": torch.ones(19), "metric.confmat": torch.ones(2, 2)}
    torch.save({"state_dict": state, "pytorch-lightning_version": "2.5.0"}, tmp_path / "w.pth")
    check(tmp_path / "w.pth")
    assert "names begin with network., which is taken off; not used: criterion.*, metric.*" in caplog.text


def test_two_networks_that_fit_are_refused_until_one_is_named(tmp_path):
    torch.save({"state_dict": renamed("student.") | renamed("teacher.", OTHERS)}, tmp_path / "w.pth")
    refused(tmp_path / "w.pth", r"fit the network behind student\. and behind teacher\.; say which .*part='student\.'")
    check(tmp_path / "w.pth", 2.0, part="teacher.")
    check(tmp_path / "w.pth", 0.5, part="student")
    refused(tmp_path / "w.pth", r"have no part 'pupil\.'.*names begin with student\.\*, teacher\.\*", part="pupil.")


def test_of_two_networks_the_one_whose_shapes_fit_is_meant(tmp_path):
    wide = {name: torch.zeros(2, *tensor.shape) for name, tensor in OTHERS.items()}
    torch.save(renamed("student.") | renamed("teacher.", wide), tmp_path / "w.pth")
    check(tmp_path / "w.pth")


def test_names_beside_plain_ones_are_refused_with_the_way_to_leave_them(tmp_path):
    torch.save(dict(WEIGHTS) | {"criterion.weight": torch.ones(1)}, tmp_path / "w.pth")
    refused(tmp_path / "w.pth", r"1 surplus \(first: criterion\.weight\); .*unused=\('criterion\.',\)")
    check(tmp_path / "w.pth", unused=("criterion.",))


RECORDS = [  # that frameworks leave beside the weights
    {"best_miou": np.float64(0.7), "epoch": np.int64(3)},
    {"hist": np.zeros((2, 3)), "names": np.array(["road"])},
    {"args": argparse.Namespace(lr=0.1, out=Path("runs"))},
    {"hparams": np.dtype("float32"), "types": {"a": dict, "b": int}},
]


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: "+".join(record))
@pytest.mark.parametrize("form", ["zip", "old"])
def test_records_beside_the_weights_are_passed_over(record, form, tmp_path):
    WRITERS[form]({"state_dict": dict(WEIGHTS), "meta": record} | record, tmp_path / "w.pth")
    check(tmp_path / "w.pth")


def with_global(path, module, name):
    """A torch file whose record ``args`` is made by calling ``module.name``."""
    torch.save({"state_dict": dict(WEIGHTS), "args": collections.Counter("x")}, path)
    with zipfile.ZipFile(path) as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist()}
    with zipfile.ZipFile(path, "w") as archive:
        for member, content in members.items():
            if member.endswith("data.pkl"):
                assert b"ccollections\nCounter\n" in content
                content = content.replace(b"ccollections\nCounter\n", f"c{module}\n{name}\n".encode())
            archive.writestr(member, content)
    return path


@pytest.mark.parametrize(
    ("module", "name"),
    [("omegaconf.dictconfig", "DictConfig"), ("mmengine.logging.history_buffer", "HistoryBuffer"), ("pathlib", "Path")],
)
def test_records_of_packages_are_passed_over_without_the_package(module, name, tmp_path):
    check(with_global(tmp_path / "w.pth", module, name))


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("os", "system"),
        ("builtins", "eval"),
        ("__builtin__", "exec"),
        ("subprocess", "Popen"),
        ("my.project", "Config"),
    ],
)
def test_whatever_else_a_file_would_call_is_refused_by_name(module, name, tmp_path):
    refused(with_global(tmp_path / "w.pth", module, name), rf"would run code when read .*{name}.*save the state dict")


class Evil:
    def __reduce__(self):
        return (print, ("code ran",))


def test_code_does_not_run_wherever_it_stands(tmp_path, capsys):
    for form in (as_torch, as_old_torch, lambda content, path: path.write_bytes(pickle.dumps(content, 2))):
        for content in ({"state_dict": dict(WEIGHTS), "a": Evil()}, Evil(), {"state_dict": Evil()}):
            if form is not as_torch and form is not as_old_torch and "state_dict" in str(content):
                content = {"a": Evil()}  # tensors are pickled by torch alone
            form(content, tmp_path / "w.pth")
            refused(tmp_path / "w.pth", "would run code when read|hold more than tensors|cannot be read")
    assert "code ran" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"<!DOCTYPE html><title>Google Drive - Virus scan warning</title>", "an HTML page .*gdown"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 1\n", "a Git LFS pointer.*git lfs pull"),
        (b'{"error": "not found"}', "a JSON text.*download the file again"),
        (b"<?xml version='1.0'?><Error/>", "an XML text"),
        (b"", "an empty file; download the file again"),
        (b"\x1f\x8b\x08\x00rest", "gzip-compressed; unpack it first"),
        (b"\x89HDF\r\n\x1a\n", "an HDF5 file"),
        (b"\x93NUMPY\x01\x00", "a NumPy array"),
    ],
)
@pytest.mark.parametrize("name", ["w.pth", "w.safetensors"])
def test_a_file_that_is_something_else_is_named_for_what_it_is(content, words, name, tmp_path):
    (tmp_path / name).write_bytes(content)
    refused(tmp_path / name, f"cannot be read: it is {words}")


def test_programs_are_named_with_the_model_that_reads_them(tmp_path):
    torch.jit.save(torch.jit.script(nn.ReLU()), tmp_path / "w.pth")
    refused(tmp_path / "w.pth", "a TorchScript program .*name it by the model torchscript")


@pytest.mark.parametrize("dtype", [torch.complex64, torch.int8, torch.uint8, torch.bool, torch.int64])
@pytest.mark.parametrize("form", WRITERS)
def test_numbers_of_another_kind_are_refused(dtype, form, tmp_path):
    state = dict(WEIGHTS) | {"head.weight": WEIGHTS["head.weight"].to(dtype)}
    WRITERS[form](state, tmp_path / "w.pth")
    refused(tmp_path / "w.pth", rf"head\.weight is {str(dtype)[6:]}, the network wants float32; save the weights as")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_load(dtype, tmp_path):
    torch.save(
        {name: tensor.to(dtype) if tensor.is_floating_point() else tensor for name, tensor in WEIGHTS.items()},
        tmp_path / "w.pth",
    )
    check(tmp_path / "w.pth")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (torch.zeros(2), "no state dict but one tensor without a name"),
        ([1, 2], "no state dict but list"),
        ({}, "no state dict, wanted tensors by name; found nothing"),
        ({"epoch": 3}, r"found epoch \(int\)"),
        ({name: value.numpy() for name, value in WEIGHTS.items()}, "hold NumPy arrays, wanted tensors"),
        (network(), "a whole network|would run code when read"),
    ],
)
def test_what_holds_no_weights_is_refused(content, words, tmp_path):
    torch.save(content, tmp_path / "w.pth")
    refused(tmp_path / "w.pth", words)


def test_a_module_of_torch_alone_is_a_network_as_objects(tmp_path):
    torch.save(nn.Conv2d(1, 1, 1), tmp_path / "w.pth")
    refused(
        tmp_path / "w.pth", r"hold a whole network as Python objects \(torch\.nn\.modules\.conv\.Conv2d\).*state dict"
    )


def test_the_name_of_version_0_1_still_works(tmp_path):
    with pytest.warns(DeprecationWarning, match=r"bench\.core\.weights"):
        from bench.weights import load_strictly as old
    assert old is load_strictly

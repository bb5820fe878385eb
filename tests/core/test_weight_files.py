"""Weights in several files, in a folder or in a zip: read whole, or refused in one line."""

import json
import zipfile

import oddities
import pytest
import torch
from torch import nn

from bench.core import weight_files
from bench.core.errors import MissingData
from bench.core.weights import load_strictly, read_state_dict


def network(value=0.25):
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1))
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.fill_(value)
    return net


@pytest.mark.parametrize("form", oddities.READ)
def test_every_form_that_is_understood_fills_a_network(form, tmp_path):
    path = oddities.READ[form](network().state_dict(), tmp_path)
    filled = load_strictly(network(1.0), path)
    assert all(bool((parameter == 0.25).all()) for parameter in filled.parameters())
    weight_files.check(path, "model x")


@pytest.mark.parametrize("form", oddities.REFUSED)
def test_every_other_form_is_refused_in_one_line(form, tmp_path, capsys):
    write, words = oddities.REFUSED[form]
    path = write(network().state_dict(), tmp_path)
    with pytest.raises(MissingData, match=words) as caught:
        load_strictly(network(), path)
    assert "\n" not in str(caught.value) and "bench-weights-" not in str(caught.value)
    assert "code ran" not in capsys.readouterr().out


def test_what_stands_in_place_of_weights_is_refused_before_anything_is_loaded(tmp_path):
    for form in ("Git LFS", "page of Drive", "page", "empty", "JSON", "lost shard", "error of a store"):
        write, words = oddities.REFUSED[form]
        folder = tmp_path / form
        folder.mkdir()
        with pytest.raises(MissingData, match=words):
            weight_files.check(write(network().state_dict(), folder), "model x")
    with pytest.raises(MissingData, match=r"^model x: weights nowhere\.pth do not exist; paths in a suite are"):
        weight_files.check(weight_files.Path("nowhere.pth"), "model x")


def test_the_digest_is_that_of_all_files_that_are_read(tmp_path):
    index = oddities.READ["shards"](network().state_dict(), tmp_path)
    before = weight_files.digest(index)
    shard = tmp_path / "model-00002-of-00002.safetensors"
    shard.write_bytes(shard.read_bytes() + b" ")
    assert weight_files.digest(index) != before
    lone = oddities.READ["plain"](network().state_dict(), tmp_path)
    assert weight_files.digest(lone) == weight_files.files.digest(lone)  # so that no key of a lone file moves
    (tmp_path / "unpacked").mkdir()
    folder = oddities.READ["folder"](network().state_dict(), tmp_path / "unpacked")
    assert weight_files.digest(folder) == weight_files.files.digest(folder / "model_final.pth")


def test_an_index_that_does_not_fit_its_shards_is_refused(tmp_path):
    index = oddities.READ["shards"](network().state_dict(), tmp_path)
    listed = json.loads(index.read_text())
    listed["weight_map"]["3.weight"] = "model-00001-of-00002.safetensors"
    index.write_text(json.dumps(listed))
    with pytest.raises(MissingData, match=r"lack 3\.weight, which model\.safetensors\.index\.json looks for there"):
        read_state_dict(index)
    listed["weight_map"] = {"0.weight": index.name}
    index.write_text(json.dumps(listed))
    with pytest.raises(MissingData, match="a JSON text"):  # an index is no shard, least of all of itself
        read_state_dict(index)


def test_a_zip_is_held_to_the_rules_for_archives_of_strangers(tmp_path):
    with zipfile.ZipFile(tmp_path / "w.zip", "w") as archive:
        archive.writestr("../model.pth", b"x")
    with pytest.raises(MissingData, match="leads out of the archive"):
        read_state_dict(tmp_path / "w.zip")
    with zipfile.ZipFile(tmp_path / "w.zip", "w") as archive:
        archive.writestr("readme.txt", b"x")
    with pytest.raises(MissingData, match=r"w\.zip are a zip without any file of weights; found readme\.txt"):
        read_state_dict(tmp_path / "w.zip")


def test_a_folder_says_what_it_holds(tmp_path):
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(MissingData, match=r"are a folder without any file of weights; found notes\.txt"):
        read_state_dict(tmp_path)
    for name in ("a.pth", "b.pth"):
        torch.save(network().state_dict(), tmp_path / name)
    with pytest.raises(MissingData, match=r"are a folder with 2 files of weights \(a\.pth, b\.pth\); name one"):
        read_state_dict(tmp_path)

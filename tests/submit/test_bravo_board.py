"""A submission to BRAVO: made of a run, checked, evaluated again; the official archive, and what the server refuses."""

import io
import json
import re
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench.cli.main import main
from bench.data.layouts import writers
from bench.datasets.bravo import SPLITS
from bench.datasets.toytown.scenes import Toytown
from bench.metrics.bravo_index import SUBSETS
from bench.submit import bravo_codec

FIXTURES = Path(__file__).parents[1] / "fixtures" / "bravo"
FULL = FIXTURES / "cases" / "full9"
CASES = json.loads((FIXTURES / "validation_cases.json").read_text())
CHANGED = "bravo_synobjs/zebra/499_encoded.bin"
PUBLISHED = ("synrain", "synobjs", "synflare", "outofcontext")  # subsets whose number of images is published


def frames(number):
    return ["--frames", ",".join(f"{subset}={number}" for subset in PUBLISHED)]


@pytest.fixture(scope="module")
def official(tmp_path_factory):
    """Black images of the official case, its truth beside them, and the official lists of pixels."""
    home = tmp_path_factory.mktemp("official") / "bravo"
    shutil.copytree(FULL / "gt", home)
    for split, names in SPLITS.items():
        for labels in (home / f"bravo_{split}").rglob(f"*{names.labels}"):
            width, height = Image.open(labels).size
            image = labels.with_name(labels.name.removesuffix(names.labels) + names.image)
            Image.new("RGB", (width, height)).save(image)
    shutil.copy(FULL / "bravo_SAMPLING.tar", home)
    return home.parent


@pytest.fixture
def data(official, monkeypatch):
    monkeypatch.setenv("BENCH_DATA", str(official))
    return official / "bravo"


def members(path):
    with tarfile.open(path) as tar:
        return {member.name: tar.extractfile(member).read() for member in tar if member.isreg()}


def packed(path, contents, kind="w"):
    with tarfile.open(path, kind) as tar:
        for name, content in contents.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def test_the_official_archive_has_the_official_figures(data, capsys):
    archive = FULL / "submission_encoded.tar"
    assert main(["submit", "check", str(archive), *frames(2)]) == 0
    assert main(["submit", "dry-run", str(archive), *frames(2)]) == 0
    printed = dict(re.findall(r"^(\w+: \w+) ([0-9.]+)$", capsys.readouterr().out, re.M))
    wanted = json.loads((FULL / "expected.json").read_text())["evaluation"]["results"]
    compared = 0
    for key, value in wanted.items():
        if isinstance(value, list):
            continue  # the IoU of each class
        subset, _, metric = key.partition("_")
        name = key if subset not in SUBSETS or metric == "hmean" else metric.removesuffix("_valid")
        where = "BRAVO" if name == key else subset
        assert float(printed[f"{where}: {name}"]) == pytest.approx(value, abs=6e-7), key  # six digits are printed
        compared += 1
    assert compared == 48 + 6 + 9 + 3


def changed(name, contents):
    """The official submission with the change of one official case of validation."""
    classes = bravo_codec.decode(contents[CHANGED]).classes
    confidences = np.zeros(classes.shape, np.uint16)
    confidences[0, 0] = 1
    lists = members(FULL / "bravo_SAMPLING.tar")
    indices = bravo_codec.read_indices(lists[CHANGED.replace("_encoded", "_samples")])
    flipped = bytearray(contents[CHANGED])
    flipped[100] ^= 1
    small = bravo_codec.encode(np.zeros((10, 10), np.uint8), np.ones((10, 10), np.uint16), np.arange(100))
    return {
        "one_missing": lambda: {key: value for key, value in contents.items() if key != CHANGED},
        "extra_unknown_prefix": lambda: contents | {"somewhere/else_encoded.bin": contents[CHANGED]},
        "extra_unknown_suffix": lambda: contents | {"bravo_synobjs/zebra/499.txt": b"text"},
        "extra_unmatched_image": lambda: contents | {"bravo_synobjs/zebra/500_encoded.bin": contents[CHANGED]},
        "dot_slash_prefix": lambda: {f"./{key}": value for key, value in contents.items()},
        "crc_flip_one": lambda: contents | {CHANGED: bytes(flipped)},
        "wrong_size_one": lambda: contents | {CHANGED: small},
        "short_confidence_one": lambda: contents | {CHANGED: bravo_codec.encode(classes, confidences, indices[:-1])},
        "garbage_one": lambda: contents | {CHANGED: b"BV23"},
    }[name]()


@pytest.mark.parametrize("name", CASES)
def test_what_the_server_refuses_is_refused(name, data, tmp_path, capsys):
    archive = packed(tmp_path / "submission.tar", changed(name, members(FULL / "submission_encoded.tar")))
    good = {outcome["status"] for outcome in CASES[name].values()} == {"ok"}
    assert main(["submit", "check", str(archive), *frames(2)]) == (0 if good else 2)
    if not good:
        assert CHANGED.removeprefix("./") in capsys.readouterr().out


@pytest.mark.parametrize(
    ("rule", "change"),
    [
        ("values", lambda classes, confidences: (np.full_like(classes, 19), confidences)),
        ("wrapped", lambda classes, confidences: (classes, np.zeros_like(confidences))),
        ("map size", lambda classes, confidences: (classes.T.copy(), confidences.T.copy())),
    ],
)
def test_what_the_server_would_count_as_something_else_is_refused(rule, change, data, tmp_path, capsys):
    contents = members(FULL / "submission_encoded.tar")
    classes = bravo_codec.decode(contents[CHANGED]).classes
    lists = members(FULL / "bravo_SAMPLING.tar")
    indices = bravo_codec.read_indices(lists[CHANGED.replace("_encoded", "_samples")])
    contents[CHANGED] = bravo_codec.encode(*change(classes, np.ones(classes.shape, np.uint16)), indices)
    assert main(["submit", "check", str(packed(tmp_path / "changed.tar", contents)), *frames(2)]) == 2
    assert f"[{rule}]" in capsys.readouterr().out


def test_hostile_and_compressed_tars_are_refused_in_a_line(data, tmp_path, capsys):
    contents = members(FULL / "submission_encoded.tar")
    assert main(["submit", "check", str(packed(tmp_path / "a.tar", contents, "w:gz")), *frames(2)]) == 2
    assert "wanted a plain .tar" in capsys.readouterr().err
    whole = (FULL / "submission_encoded.tar").read_bytes()
    (tmp_path / "b.tar").write_bytes(whole[: len(whole) // 2])
    assert main(["submit", "check", str(tmp_path / "b.tar"), *frames(2)]) == 2
    capsys.readouterr()
    with tarfile.open(tmp_path / "c.tar", "w") as tar:
        for name, content in (contents | {"../outside_encoded.bin": b"x"}).items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
        link = tarfile.TarInfo("bravo_synobjs/link_encoded.bin")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    assert main(["submit", "check", str(tmp_path / "c.tar"), *frames(2)]) == 2
    out = capsys.readouterr().out
    assert "[path traversal]" in out
    assert "[symlink]" in out


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A run on synthetic scenes and the archive of its method."""
    home = tmp_path_factory.mktemp("made")
    writers.write("bravo", Toytown(split="anomaly", images=18, height=48, width=96, seed=2), home / "bravo")

    datasets = "".join(
        f"  - bravo: {{subset: {subset}, labels: present, protocols: [{kind}]"
        + (", frames: 2}\n" if subset in PUBLISHED else "}\n")
        for subset, kind in SUBSETS.items()
    )
    protocols = "".join(f"  - bravo: {{judged: {kind}, label: {kind}}}\n" for kind in ("semantic", "ood", "both"))
    suite = home / "suite.yaml"
    suite.write_text(
        f"protocols:\n{protocols}models: [toynet]\ndatasets:\n{datasets}methods: [msp, maxlogit]\nbootstrap: 10\n"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BENCH_DATA", str(home))
        assert main(["run", str(suite), "--out", str(home / "run"), "--gallery", "0"]) in (0, 3)
        out = ["--out", str(home / "out"), "--name", "Msp"]
        assert main(["submit", "bravo", "--run", str(home / "run"), "--method", "msp", *out, *frames(2)]) == 0
    return home


def test_the_archive_of_a_run_has_the_figures_of_the_run(made, monkeypatch, capsys):
    monkeypatch.setenv("BENCH_DATA", str(made))
    archive = str(made / "out" / "Msp.tar")
    assert main(["submit", "check", archive, *frames(2)]) == 0
    assert "it was not checked" not in capsys.readouterr().out
    run = ["--run", str(made / "run"), "--method", "msp"]
    assert main(["submit", "dry-run", archive, *run, *frames(2)]) == 0
    out = capsys.readouterr().out
    assert "BRAVO: bravo_index" in out
    assert out.count("agrees") > 60
    assert "DIFFERS" not in out


def test_made_again_in_pieces_it_has_the_same_bytes(made, tmp_path, monkeypatch):
    monkeypatch.setenv("BENCH_DATA", str(made))
    argv = ["submit", "bravo", "--run", str(made / "run"), "--method", "msp", "--name", "Msp", *frames(2)]
    written = bravo_codec.encode
    calls = []

    def failing(*arguments):
        calls.append(arguments)
        if len(calls) == 4:
            raise OSError(28, "No space left on device")
        return written(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(bravo_codec, "encode", failing)
        assert main([*argv, "--out", str(tmp_path / "again")]) == 2
    assert not (tmp_path / "again" / "Msp.tar").exists()
    assert main([*argv, "--out", str(tmp_path / "again")]) == 0
    assert (tmp_path / "again" / "Msp.tar").read_bytes() == (made / "out" / "Msp.tar").read_bytes()


def test_a_method_without_confidence_is_refused_in_a_line(made, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("BENCH_DATA", str(made))
    argv = ["submit", "bravo", "--run", str(made / "run"), "--method", "maxlogit", "--name", "M", *frames(2)]
    assert main([*argv, "--out", str(tmp_path / "out")]) == 2
    assert "maxlogit gives no confidence" in capsys.readouterr().err
    assert not (tmp_path / "out" / "M.tar").exists()


def test_without_lists_and_labels_the_next_step_is_named(made, tmp_path, monkeypatch, capsys):
    shutil.copytree(made / "bravo", tmp_path / "data" / "bravo")
    for path in (tmp_path / "data").rglob("*_mask.png"):
        path.unlink()
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "data"))
    suite = tmp_path / "suite.yaml"
    suite.write_text(
        "protocols: [misclassification]\nmodels: [toynet]\ndatasets: [toytown: {images: 1}]\nmethods: [msp]\n"
    )
    argv = ["submit", "bravo", "--suite", str(suite), "--method", "msp"]
    assert main([*argv, "--name", "M", "--out", str(tmp_path / "out"), *frames(2)]) == 2
    assert "'bench data fetch bravo --part bravo_SAMPLING.tar' gets it" in capsys.readouterr().err

"""Run directories of strangers: whatever a file of one holds, it is read, or refused in one line that names it.

Each trial damages one file of a small run in one way and gives the run to one command. Reading commands change nothing
of it; the same ``bench run`` puts a broken cell aside and computes it again. The full product is slow.
"""

import io
import json
import os
import random
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from running import metrics

from bench.cli.main import main

SUITE = """
protocols: [anomaly, misclassification, miou, {components: {min_predicted: 6, min_truth: 4}}, calibration]
models:
  - python: {factory: "net.py:build", label: tiny}
datasets:
  - toytown: {split: anomaly, images: 4, height: 32, width: 64, label: here}
  - toytown: {split: anomaly, images: 3, height: 32, width: 64, seed: 3, label: there}
methods: [msp, maxlogit]
bootstrap: 20
summaries:
  - {name: all, protocol: misclassification}
operating_points:
  - {name: carried, protocol: anomaly, calibrate: there, rule: tpr95}
"""
NUMBER = random.Random(7)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run with its suite beside it, in a folder of its own."""
    from conftest import NETWORK

    folder = tmp_path_factory.mktemp("whole")
    (folder / "net.py").write_text(NETWORK)
    (folder / "suite.yaml").write_text(SUITE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BENCH_HOME", str(folder / "home"))
        assert main(["run", str(folder / "suite.yaml"), "--out", str(folder / "run"), "--workers", "0"]) == 0
    (folder / "run" / "report.html").unlink()
    return folder


@pytest.fixture
def copy(whole, tmp_path):
    """A copy of the run whose suite leads to the same network."""
    return Path(shutil.copytree(whole / "run", tmp_path / "run"))


def text(content):
    return lambda path: path.write_bytes(content)


def cut(path):
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def noise(path):
    content = bytearray(path.read_bytes())
    for _ in range(20):
        content[NUMBER.randrange(len(content))] = NUMBER.randrange(256)
    path.write_bytes(content)


def linked(path):
    outside = path.parents[2] / f"outside{path.suffix}"
    path.rename(outside)
    path.symlink_to(outside)


def dangling(path):
    path.unlink()
    path.symlink_to(path.parents[3] / "nowhere")


def folder(path):
    path.unlink()
    path.mkdir()


def pipe(path):
    path.unlink()
    os.mkfifo(path)


ANY = {
    "empty": text(b""),
    "cut": cut,
    "noise": noise,
    "words": text(b"<!doctype html><title>Sign in</title>"),
    "zeros": text(bytes(4096)),
    "linked": linked,
    "dangling": dangling,
    "folder": folder,
    "pipe": pipe,
}
PLACES = (  # in the JSON of a result or of a plan
    ("schema",),
    ("key",),
    ("cell",),
    ("cell", "protocol"),
    ("cell", "protocol", "name"),
    ("cell", "protocol", "params"),
    ("cell", "dataset", "params", "corruption"),
    ("cell", "method"),
    ("cell", "seed"),
    ("cell", "bootstrap"),
    ("labels",),
    ("labels", "model"),
    ("labels", "method"),
    ("metrics",),
    ("metrics", 0),
    ("metrics", 0, "value"),
    ("metrics", 0, "lo"),
    ("metrics", 0, "err"),
    ("definitions",),
    ("definitions", 0),
    ("definitions", 0, "better"),
    ("definitions", 0, "unit"),
    ("about",),
    ("about", "protocol"),
    ("about", "protocol", "version"),
    ("about", "model"),
    ("about", "model", "parameters"),
    ("about", "model", "parents"),
    ("about", "method", "uses_outliers"),
    ("images",),
    ("partial",),
    ("not_applicable",),
    ("pixels",),
    ("pixels", 0),
    ("depends",),
    ("depends", "numerics"),
    ("provenance",),
    ("provenance", "numerics"),
    ("provenance", "created"),
    ("seconds",),
    ("seconds", 0),
    ("memory_mb",),
    ("fitted",),
    ("slices",),
    ("slices", 0),
    ("slices", 0, 0),
    ("slices", 0, 0, "metrics"),
    ("slices", 0, 0, "images"),
    ("tags",),
    ("tags", 0),
    ("name",),
    ("title",),
    ("keys",),
    ("keys", 0),
    ("cells",),
    ("cells", 0),
    ("cells", 0, "dataset"),
    ("summaries",),
    ("summaries", 0),
    ("summaries", 0, "datasets"),
    ("summaries", 0, "protocol"),
    ("operating_points",),
    ("operating_points", 0, "rule"),
    ("operating_points", 0, "calibrate"),
)
VALUES = {
    "null": "null",
    "true": "true",
    "minus": "-1",
    "half": "0.5",
    "huge": "1" + 400 * "0",
    "infinite": "1e999",
    "nan": "NaN",
    "word": '"\\u001b[31m\\n"',
    "surrogate": '"\\ud800"',
    "list": "[1]",
    "object": '{"a": 1}',
    "nested": 3000 * "[" + 3000 * "]",
}


def put(content, place, value):
    """Return JSON text with one value in a place of it; None where there is no such place."""
    at, last = content, place[-1]
    for step in place[:-1]:
        if isinstance(at, dict):
            at = at.get(list(at)[step] if isinstance(step, int) and at else step)
        elif isinstance(at, list) and at:
            at = at[0]
    if isinstance(at, list) and at:
        at[0] = "@here@"
    elif isinstance(at, dict):
        at[list(at)[last] if isinstance(last, int) and at else last] = "@here@"
    else:
        return None
    return json.dumps(content).replace('"@here@"', value)


def replaced(place, value):
    def damage(path):
        path.write_text(put(json.loads(path.read_text()), place, value) or path.read_text())

    return damage


def misshapen(index, change):
    """Change one array of an .npz, each other stays."""

    def damage(path):
        with np.load(path) as arrays:
            content = dict(arrays)
        name = list(content)[index % len(content)]
        made = change(content[name])
        with zipfile.ZipFile(path, "w") as archive:
            for other, array in content.items():
                buffer = io.BytesIO()
                np.lib.format.write_array(buffer, array, allow_pickle=False)
                raw = buffer.getvalue() if other != name else made
                if isinstance(raw, np.ndarray):
                    buffer = io.BytesIO()
                    np.lib.format.write_array(buffer, raw, allow_pickle=True)
                    raw = buffer.getvalue()
                if raw is not None:
                    archive.writestr(f"{other}.npy", raw)

    return damage


def header(shape, descr="<f8"):
    """The bytes of an array that declares a shape and holds nothing."""
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": descr, "fortran_order": False, "shape": shape})
    return buffer.getvalue()


ARRAYS = {
    "absent": lambda array: None,
    "empty": lambda array: array[:0] if array.ndim else np.zeros(0),
    "longer": lambda array: np.concatenate([array.reshape(-1)] * 2),
    "shorter": lambda array: array.reshape(-1)[:-1],
    "axis": lambda array: array[None],
    "float": lambda array: np.full(array.shape, np.nan),
    "negative": lambda array: np.full(array.shape, -1),
    "large": lambda array: np.full(array.shape, 2**63, np.uint64),
    "words": lambda array: np.full(array.shape, "\x1b]0;x"),
    "bool": lambda array: np.ones(array.shape, bool),
    "complex": lambda array: np.ones(array.shape, complex),
    "objects": lambda array: np.full(array.shape, None),
    "reversed": lambda array: np.ascontiguousarray(array.reshape(-1)[::-1].reshape(array.shape)),
    "records": lambda array: np.zeros(array.shape, [("a", "<i4")]),
    "huge": lambda array: header((2**40, 2**20)),
    "below zero": lambda array: header((-1, 4)),
    "odd header": lambda array: b"\x93NUMPY\x01\x00\x10\x00{'descr': [[[[[[\n",
    "characters": lambda array: np.full(array.shape, 0x110000, np.uint32).view("<U1"),
}
FILES = {  # of the run: a plan, results of every protocol that leaves other things behind, a gallery
    "run.json": lambda run: run / "run.json",
    "index.json": lambda run: sorted((run / "gallery").rglob("index.json"))[0],
    "picture": lambda run: sorted((run / "gallery").rglob("*.png"))[0],
    "summaries.json": lambda run: run / "summaries.json",
}


def cell_of(protocol, suffix):
    def path(run):
        for key, labels in zip(
            *(json.loads((run / "run.json").read_text())[n] for n in ("keys", "cells")), strict=True
        ):
            if labels["protocol"].startswith(protocol) and labels.get("method", "msp") == "msp":
                return run / "cells" / f"{key}{suffix}"
        raise AssertionError(protocol)

    return path


PROTOCOLS = ("anomaly", "misclassification", "miou", "components", "calibration")
FILES |= {f"{name}{suffix}": cell_of(name, suffix) for name in PROTOCOLS for suffix in (".json", ".npz")}
READING = {
    "show": ["show", "{run}"],
    "show json": ["show", "{run}", "--format", "json"],
    "show md": ["show", "{run}", "--format", "md"],
    "show by": ["show", "{run}", "--by", "anomaly"],
    "show images": ["show", "{run}", "--per-image", "{out}.parquet"],
    **{f"report {name}": ["report", "{run}", "--format", name, "--out", "{out}"] for name in ("html", "md", "tex")},
    **{f"report {name}": ["report", "{run}", "--format", name, "--out", "{out}"] for name in ("csv", "parquet")},
    "report two": ["report", "{run}", "{whole}", "--format", "html", "--out", "{out}"],
    "report means": ["report", "{run}", "--format", "csv", "--table", "means", "--out", "{out}"],
    "compare": ["compare", "{run}", "{whole}"],
    "merge": ["merge", "{run}", "{whole}", "--out", "{out}.merged"],
    "compare images": ["compare", "{run}", "{whole}", "--per-image"],
}


def cases():
    """Every kind of damage with the files that can have it."""
    for file in FILES:
        for name, damage in ANY.items():
            yield file, name, damage
        if file.endswith(".json") and file != "summaries.json" and file != "index.json":
            for place in PLACES:
                for word, value in VALUES.items():
                    yield file, f"{'.'.join(map(str, place))} {word}", replaced(place, value)
        if file.endswith(".npz"):
            for index in range(60):
                for word, change in ARRAYS.items():
                    yield file, f"array {index} {word}", misshapen(index, change)


def state(run):
    """Every name in a run, with what it is."""
    found = {}
    for path in sorted(run.rglob("*")):
        name = str(path.relative_to(run))
        if path.is_symlink():
            found[name] = path.readlink()
        else:
            found[name] = path.read_bytes() if path.is_file() else path.stat().st_mode
    return found


def try_reading(copy, whole, tmp_path, capsys, case, commands):
    """Give a damaged run to some commands."""
    file, _, damage = case
    path = FILES[file](copy)
    try:
        damage(path)
    except (ValueError, IndexError):  # there is no such array, or it has no such shape
        return
    before = state(copy)
    for command in commands:
        words = {"run": copy, "whole": whole / "run", "out": tmp_path / "out"}
        status = main([argument.format(**words) for argument in READING[command]])
        said = capsys.readouterr().err
        assert status in (0, 2), command
        if status == 2:
            assert path.name in said or path.parent.name in said or f"{copy} " in said, (command, said)
            assert said.count("\n") == 1 and "\x1b" not in said, (command, said)
        assert state(copy) == before, command


def chosen(count):
    """Some of the cases, each with a command: the same in every run."""
    every = list(cases())
    numbers = random.Random(1)
    return [(case, numbers.choice(list(READING))) for case in numbers.sample(every, count)]


@pytest.mark.parametrize(("case", "command"), chosen(30), ids=lambda value: value if isinstance(value, str) else None)
def test_a_damaged_run_is_read_or_refused_in_a_line(copy, whole, tmp_path, capsys, case, command):
    try_reading(copy, whole, tmp_path, capsys, case, [command])


CELL_FILES = [f"{name}{suffix}" for name in ("anomaly", "miou") for suffix in (".json", ".npz")]
BREAKING = ["linked", "empty", "cut"]


@pytest.mark.parametrize(("file", "kind"), [(CELL_FILES[n % 4], kind) for n, kind in enumerate(BREAKING)])
def test_the_same_command_puts_a_broken_cell_aside_and_computes_it_again(copy, whole, monkeypatch, capsys, file, kind):
    """Whatever is wrong with it: the figures are those of before, and the broken file is kept."""
    monkeypatch.setenv("BENCH_HOME", str(whole / "home"))
    before, path = metrics(copy), FILES[file](copy)
    ANY[kind](path)
    assert main(["run", str(whole / "suite.yaml"), "--out", str(copy), "--workers", "0", "--gallery", "0"]) == 0
    assert f"{path.name}.broken" in capsys.readouterr().err
    assert metrics(copy) == before
    assert os.path.lexists(path.with_name(f"{path.name}.broken")) and path.is_file() and not path.is_symlink()


def test_counts_that_only_a_page_reads_are_computed_again_too(copy, whole, monkeypatch, capsys):
    monkeypatch.setenv("BENCH_HOME", str(whole / "home"))
    before, path = metrics(copy), FILES["misclassification.npz"](copy)
    with np.load(path) as arrays:
        content = dict(arrays)
    np.savez(path, **content | {"counts.keys": content["counts.keys"][::-1], "curves.version": np.array(0)})
    assert main(["show", str(copy)]) == 0  # it reads no curves
    assert main(["run", str(whole / "suite.yaml"), "--out", str(copy), "--workers", "0", "--gallery", "0"]) == 0
    assert f"{path} cannot be read: counts.keys do not ascend" in capsys.readouterr().err
    assert metrics(copy) == before and main(["report", str(copy)]) == 0


@pytest.mark.slow
@pytest.mark.parametrize("command", READING)
@pytest.mark.parametrize("file", FILES)
def test_every_damage_to_every_file(copy, whole, tmp_path, capsys, file, command):
    for number, case in enumerate(case for case in cases() if case[0] == file):
        here = tmp_path / str(number)
        run = Path(shutil.copytree(copy, here / "run"))
        try_reading(run, whole, here, capsys, case, [command])
        shutil.rmtree(here)

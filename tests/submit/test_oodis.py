"""OoDIS: instances of a run as an archive, held against the rules of its server and evaluated again from its files."""

from __future__ import annotations

import io
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench.cli.main import main
from bench.core.errors import MissingData
from bench.datasets import oodis

FRAMES = (
    "fishyscapes-train=5,fishyscapes-test=15,roadanomaly=5,roadobstacle-test=3,roadobstacle-night=1,"
    "roadobstacle-snowstorm=1"
)
START = "fishyscapes/01_Toytown_Road_000000_000000_gtCoarse_instanceIds"
SUITE = """
protocols: [instances]
models: [toynet]
datasets: [{toytown_layout: {twin: oodis, scenes: 20, label: twin}}]
methods: [energy]
bootstrap: 20
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory, request):
    """A folder with a run, the data that it stands for in their official layouts, and an archive made of it."""
    folder = tmp_path_factory.mktemp("oodis")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("BENCH_DATA", str(folder / "data"))
        Path("oodis_twin.yaml").write_text(SUITE)
        assert main(["run", "oodis_twin.yaml", "--workers", "0", "--gallery", "0"]) == 0
        layouts = ("oodis", "lost_and_found", "smiyc_anomaly", "smiyc_obstacle")
        for layout in layouts:
            place = "smiyc" if layout.startswith("smiyc") else layout
            assert (
                main(
                    [
                        "data",
                        "toytown",
                        "--layout",
                        layout,
                        "--out",
                        f"data/{place}",
                        "--images",
                        "20",
                        "--size",
                        "128x256",
                    ]
                )
                == 0
            )
        argv = [
            "submit",
            "oodis",
            "--run",
            "runs/oodis_twin",
            "--method",
            "energy",
            "--out",
            "entry",
            "--frames",
            FRAMES,
        ]
        assert main(argv) == 0
    return folder


@pytest.fixture
def here(folder, monkeypatch):
    monkeypatch.chdir(folder)
    monkeypatch.setenv("BENCH_DATA", str(folder / "data"))
    return folder


def altered(folder, changes):
    """Write the archive with other contents, a folder or a name more, or without a member where the content is None."""
    out = folder / "altered.zip"
    with (
        zipfile.ZipFile(folder / "entry" / "energy.zip") as source,
        zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as file,
    ):
        content = {info.filename: source.read(info) for info in source.infolist()} | changes
        for name, data in content.items():
            if data is not None:
                file.writestr(name, data)
    return out


def png(pixels):
    memory = io.BytesIO()
    Image.fromarray(pixels).save(memory, "PNG")
    return memory.getvalue()


def test_the_archive_keeps_the_rules_and_has_the_figures_of_the_run(here, capsys):
    assert main(["submit", "check", "entry/energy.zip", "--frames", FRAMES]) == 0
    again = [
        "submit",
        "dry-run",
        "entry/energy.zip",
        "--run",
        "runs/oodis_twin",
        "--method",
        "energy",
        "--frames",
        FRAMES,
    ]
    assert main(again) == 0
    said = capsys.readouterr().out
    assert "fishyscapes: ap " in said and said.count("agrees") == 2 and "ap 0.000000" not in said


def test_the_archive_says_what_the_official_check_looks_for(here):
    with zipfile.ZipFile("entry/energy.zip") as archive:
        names = archive.namelist()
        assert {name for name in names if name.endswith("/")} == {"fishyscapes/", "roadanomaly/", "roadobstacle/"}
        named = set()
        for name in (name for name in names if name.endswith(".txt")):
            lines = archive.read(name).decode().splitlines()
            assert lines
            for line in lines:
                picture, label, score = line.split(" ")
                named.add(f"{Path(name).parent}/{picture}")
                assert label == "1" and np.isfinite(float(score))
        assert named == {name for name in names if name.endswith(".png")}


def test_the_same_command_ends_with_the_same_bytes(here):
    before = Path("entry/energy.zip").read_bytes()
    argv = ["submit", "oodis", "--run", "runs/oodis_twin", "--method", "energy", "--out", "again", "--frames", FRAMES]
    assert main(argv) == 0
    assert Path("again/energy.zip").read_bytes() == before


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({f"{START}_pred.txt": b""}, "a frame without instances lists one empty mask [lines]"),
        ({f"{START}_pred.txt": b"x.png 1 0.5\n"}, "wanted <frame>_instanceIds_<number>_1.png ... SCORE [lines]"),
        ({f"{START}_pred.txt": f"{Path(START).name}_0_1.png 1 nan\n".encode()}, "wanted a finite score [lines]"),
        ({f"{START}_pred.txt": f"{Path(START).name}_777_1.png 1 0.5\n".encode()}, "which is absent [masks]"),
        ({f"{START}_pred.txt": b"other_gtCoarse_instanceIds_0_1.png 1 0.5\n"}, "a mask of another frame [lines]"),
        ({f"{START}_pred.txt": b"\xff\xfe"}, "is no text in UTF-8 [lines]"),
        ({f"{START}_pred.txt": None}, "is absent: every frame has a list [count]"),
        ({f"{START}_0_1.png": png(np.zeros((64, 64), np.uint8))}, "is 64x64, its image is 128x256 [map size]"),
        ({f"{START}_0_1.png": b"no picture"}, "is no mask [png]"),
        (
            {"fishyscapes/more_instanceIds_0_1.png": png(np.zeros((2, 2), np.uint8))},
            "no text file names this mask [names]",
        ),
        ({"fishyscapes/readme.md": b"x"}, "_instanceIds_<number>_1.png [names]"),
        ({"streets/": b""}, "wanted entries for fishyscapes, roadanomaly, roadobstacle [folders]"),
        ({"../fishyscapes/x.png": b"x"}, "[path traversal]"),
    ],
)
def test_what_the_server_would_not_read_is_refused_by_name(here, capsys, changes, words):
    path = altered(here, changes)
    assert main(["submit", "check", str(path), "--board", "oodis", "--frames", FRAMES]) == 2
    said = " ".join(capsys.readouterr().out.split())
    assert words.replace("is no mask [png]", "is no mask: it") in said


def test_a_mask_that_unpacks_to_much_is_refused_in_bounded_memory(here, capsys):
    path = altered(here, {f"{START}_0_1.png": bytes(2**28)})
    tracemalloc.start()
    assert main(["submit", "check", str(path), "--board", "oodis", "--frames", FRAMES]) == 2
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert "[size in bytes]" in " ".join(capsys.readouterr().out.split()) and peak < 2**26


def test_a_run_without_the_protocol_must_name_a_threshold(here, capsys):
    argv = ["submit", "oodis", "--suite", "oodis_twin.yaml", "--method", "energy", "--out", "none", "--frames", FRAMES]
    assert main(argv) == 2
    assert "say --threshold" in capsys.readouterr().err and not Path("none").exists()


@pytest.mark.parametrize(("value", "meaning"), [(7, 0), (0, -1), (26, -1), (26000, 1), (26999, 1000)])
def test_values_of_labels_are_those_of_cityscapes(tmp_path, value, meaning):
    Image.fromarray(np.full((4, 4), value, np.uint16)).save(tmp_path / "x.png")
    assert (oodis.instances_of(tmp_path / "x.png") == meaning).all()


@pytest.mark.parametrize("value", [34, 25999, 27000])
def test_other_values_are_refused_where_they_stand(tmp_path, value):
    stored = np.full((4, 4), 7, np.uint16)
    stored[1, 2] = value
    Image.fromarray(stored).save(tmp_path / "x.png")
    with pytest.raises(MissingData, match=f"x.png holds the value {value} at row 1, column 2, wanted label ids"):
        oodis.instances_of(tmp_path / "x.png")

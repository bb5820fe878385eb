"""Folders of strangers: whatever lies where a data set is looked for is read or refused in one line, and left alone."""

import os
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from damaged_files import trials
from hypothesis import given
from hypothesis import strategies as st

from bench.core.errors import MissingData
from bench.data.layouts import writers
from bench.datasets.acdc import Acdc
from bench.datasets.ade_ood import AdeOod
from bench.datasets.bdd_anomaly import BddAnomaly
from bench.datasets.cityscapes import Cityscapes
from bench.datasets.fishyscapes import Fishyscapes
from bench.datasets.idd import Idd
from bench.datasets.lost_and_found import LostAndFound
from bench.datasets.muad import Muad
from bench.datasets.poc import Poc
from bench.datasets.road_anomaly import RoadAnomaly
from bench.datasets.road_obstacles import RoadObstacles
from bench.datasets.smiyc import SegmentMeIfYouCan
from bench.datasets.street_hazards import StreetHazards
from bench.datasets.toytown.scenes import Toytown
from bench.datasets.validation_dataset import ValidationDataset
from bench.datasets.wilddash2 import WildDash2

READERS = {
    "cityscapes": ("cityscapes", Cityscapes(frames=2)),
    "lost_and_found": ("lost_and_found", LostAndFound(frames=2)),
    "fishyscapes_static": ("fishyscapes", Fishyscapes("static", 3, frames=2)),
    "smiyc_obstacle": ("smiyc", SegmentMeIfYouCan("RoadObstacle21", "validation", frames=2)),
    "road_anomaly": ("road_anomaly", RoadAnomaly(frames=2)),
    "validation_dataset": ("validation_dataset", ValidationDataset("fs_static", frames=2)),
    "road_obstacles": ("road_obstacles", RoadObstacles(frames=2)),
    "poc": ("poc", Poc("acdc", frames=2)),
    "ade_ood": ("ade_ood", AdeOod(frames=2)),
    "street_hazards": ("street_hazards", StreetHazards(frames=2)),
    "bdd_anomaly": ("bdd_anomaly", BddAnomaly(frames=1)),
    "muad": ("muad", Muad(frames=2)),
    "acdc": ("acdc", Acdc(condition="fog", ignore_invalid=True, frames=1)),
    "idd": ("idd", Idd(frames=2)),
    "wilddash2": ("wilddash2", WildDash2(frames=2)),
}
NAMES = st.sampled_from([
    "panoptic.json", "wd_public_v2p0", "labels", "semantic", "rgb_anon", "fog", "bdd100k", "seg", "leftLabel",
    "leftImg8bit", "LEFTIMG8BIT", "gtFine", "gtCoarse", "val", "VAL", "test", "images", "Images", "labels_masks",
    "frames",
    "RoadAnomaly_jpg", "dataset_ObstacleTrack", "fs_val_v3", "fs_static", "FS_Static", "cityscapes", "Cityscapes",
    "a.zip", "gtFine.zip", "x\ny", "\x1b[31mred", "..x", "-", "x" * 250, "0.png", "0.PNG", "0.jpg", "frame_list.json",
    "splits.json",
    ".hidden", "__MACOSX", "Thumbs.db", "a_labels.png", "a_rgb.npz", b"\xff\xfe".decode(errors="surrogateescape"),
])  # fmt: skip
CONTENTS = st.sampled_from(
    [
        b"",
        b"PK\x03\x04",
        b"\x89PNG\r\n\x1a\n",
        b"{}",
        b'{"full": [[]]}',
        b"[" * 9999,
        b'["../x"]',
        b"\0" * 99,
        b"<html>",
    ]
)
ACTS = st.sampled_from(
    ["file", "folder", "link", "dangling", "loop", "pipe", "pack", "remove", "rename", "move", "copy"]
)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    out = tmp_path_factory.mktemp("written")
    for layout in READERS:
        split = "val" if layout == "cityscapes" else "anomaly"
        writers.write(layout, Toytown(split=split, images=2, height=32, width=64), out / layout)
    return out


def everything(root):
    """All paths below a folder, and itself."""
    paths = [root]
    for folder, folders, files in os.walk(root):
        paths += [Path(folder, name) for name in sorted(folders + files)]
    return paths


def damage(root, act, name, content, place):
    """Do one thing somewhere below a folder; what cannot be done is left."""
    paths = everything(root)
    path = paths[place % len(paths)]
    folder = path if path.is_dir() and not path.is_symlink() else path.parent
    target = folder / name
    try:
        if act == "remove" and path != root:
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        elif act == "rename" and path != root and not target.exists():
            path.rename(path.with_name(name))
        elif act in ("move", "copy") and path != root and not target.exists():
            if path.is_dir() and not path.is_symlink():
                shutil.copytree(path, root / name, symlinks=True)
            elif path.is_symlink() or path.is_file():
                shutil.copy(path, root / name, follow_symlinks=False)
        elif target.exists() or target.is_symlink():
            return
        elif act == "file":
            target.write_bytes(content)
        elif act == "folder":
            target.mkdir()
        elif act == "link":
            target.symlink_to(root, target_is_directory=True)
        elif act == "dangling":
            target.symlink_to(root / "nowhere")
        elif act == "loop":
            target.symlink_to(target)
        elif act == "pipe":
            os.mkfifo(target)
        elif act == "pack":
            with zipfile.ZipFile(target.with_name(f"{name}.zip"), "w") as archive:
                for file in everything(folder)[1:]:
                    if file.is_file() and file.suffix != ".zip":
                        archive.write(file, file.relative_to(folder))
    except (OSError, ValueError, shutil.Error):
        return


def state(root):
    return sorted((os.fsencode(path), os.lstat(path).st_size, os.lstat(path).st_mtime_ns) for path in everything(root))


DAMAGE = st.lists(st.tuples(ACTS, NAMES, CONTENTS, st.integers(0, 60)), min_size=1, max_size=4)


def check(name, damages, written, tmp_path, monkeypatch):
    family, reader = READERS[name]
    root = tmp_path / "data"
    shutil.rmtree(root, ignore_errors=True)
    shutil.copytree(written / name, root / family)
    monkeypatch.setenv("BENCH_DATA", str(root))
    for act in damages:
        damage(root, *act)
    before = state(root)
    try:
        replace(reader).check()
    except MissingData as error:
        message = str(error)
        assert message.isprintable(), message
        assert len(message) < 3000
        assert str(tmp_path) in message
    assert state(root) == before


@trials(60)
@given(name=st.sampled_from(sorted(READERS)), damages=DAMAGE)
def test_a_damaged_copy_is_read_or_refused_in_one_line(name, damages, written, tmp_path, monkeypatch):
    check(name, damages, written, tmp_path, monkeypatch)


@pytest.mark.slow
@trials(1000)
@given(name=st.sampled_from(sorted(READERS)), damages=DAMAGE)
def test_many_damaged_copies_are_read_or_refused_in_one_line(name, damages, written, tmp_path, monkeypatch):
    check(name, damages, written, tmp_path, monkeypatch)

"""Labels at another size and frames left out: the figures of other evaluations, declared and named."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from running import run

from bench.api import IGNORE
from bench.cli.main import main
from bench.core.errors import BadSuite, MissingData
from bench.suite import expansion, registry

TOYTOWN = {"split": "anomaly", "images": 6, "height": 32, "width": 64}


def data(**departures):
    return registry.build("dataset", "toytown", TOYTOWN | departures, where="x")


def test_labels_take_another_size_by_the_nearest_pixel_as_pillow_finds_it():
    plain, resized = data(), data(label_size=[19, 31])
    for index in range(plain.count):
        before, after = plain.load(index), resized.load(index)
        assert after.id == before.id and after.size == after.anomaly.shape == (19, 31)
        expected = np.array(Image.fromarray(before.anomaly).resize((31, 19), Image.Resampling.NEAREST))
        assert np.array_equal(after.anomaly, expected)
        assert np.array_equal(after.image(), before.image())


def test_frames_without_an_anomaly_are_left_out_by_the_labels_at_their_new_size():
    for size in (None, [4, 4]):
        departures = {"label_size": size} if size else {}
        every, kept = data(**departures), data(keep="with_anomaly", **departures)
        samples = [every.load(index) for index in range(every.count)]
        expected = [sample.id for sample in samples if (sample.anomaly == 1).any()]
        assert list(kept.ids()) == expected and kept.count == len(expected)
        assert [kept.load(index).id for index in range(kept.count)] == expected
        if size:
            assert 0 < len(expected) < every.count, "the coarse labels lose some anomalies, not all"


def test_a_set_without_any_anomaly_is_refused():
    with pytest.raises(MissingData, match=r"toytown: no frame has a pixel of an anomaly, so keep: with_anomaly leaves"):
        registry.build("dataset", "toytown", TOYTOWN | {"split": "val", "keep": "with_anomaly"}, where="x").ids()


@pytest.mark.parametrize(
    ("departures", "message"),
    [
        ({"label_size": [0, 4]}, r"label_size is \[0, 4\], wanted sides from 1"),
        ({"label_size": 512}, r"label_size is 512, wanted \[h, w\]"),
        ({"label_size": [4.5, 4]}, r"label_size is \[4.5, 4\], wanted \[h, w\]"),
        ({"keep": "all"}, r"keep is 'all', wanted with_anomaly"),
    ],
)
def test_other_values_are_refused(departures, message):
    with pytest.raises(BadSuite, match=message):
        data(**departures)


SUITE = """
protocols: [anomaly]
models:
  - python: {factory: "net.py:build", label: tiny, inference: {size: [16, 32], resize: pil}}
datasets:
  - toytown: {split: anomaly, images: 6, height: 32, width: 64, label: plain}
  - toytown:
      {split: anomaly, images: 6, height: 32, width: 64, label: departing, label_size: [8, 8], keep: with_anomaly}
methods: [msp]
bootstrap: 20
"""


def test_a_run_counts_what_is_left_and_every_format_names_it(tiny, tmp_path, capsys):
    path = tiny.with_name("departures.yaml")
    path.write_text(SUITE)
    first, second = (cell.dataset for cell in expansion.load(path).cells)
    assert first != second and second.params["label_size"] == [8, 8]
    results = {result.labels.dataset: result for result in run(path, tmp_path / "run", workers=0)}
    departing = registry.build("dataset", "toytown", second.arguments, where="x")
    truths = np.concatenate([departing.load(index).anomaly.ravel() for index in range(departing.count)])
    pixels = results["departing"].pixels
    assert pixels["anomaly"] == (truths == 1).sum()
    assert sum(pixels.values()) == (truths != IGNORE).sum() or pixels["normal"] == (truths == 0).sum()
    for name, *options in (["show"], *(["report", "--format", suffix] for suffix in ("md", "html", "tex"))):
        out = ["--out", str(tmp_path / "page")] if name == "report" else []
        capsys.readouterr()
        assert main([name, str(tmp_path / "run"), *options, *out]) == 0
        text = (tmp_path / "page").read_text() if out else capsys.readouterr().out
        flat = " ".join(text.split())
        assert "labels are resized to 8x8 by the nearest pixel; frames without an anomaly are left out" in flat
        assert "Images are resized with antialiasing, as Pillow does, for tiny" in flat
    assert main(["report", str(tmp_path / "run"), "--out", str(tmp_path / "page")]) == 0
    page = (tmp_path / "page").read_text()
    panel, definitions = page.partition('id="/disagree')[2], page.partition('id="/definitions"')[2]
    assert "Not the data set as published: labels are resized to 8x8" in panel
    assert "Labels are resized to 8x8 by the nearest pixel</dt><dd>departing</dd>" in definitions
    assert "Images are resized with antialiasing, as Pillow does</dt><dd>tiny</dd>" in definitions

"""Score maps made elsewhere, paired by file name, without torch."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench.cli import main


@pytest.fixture
def maps(tmp_path):
    """Six maps with many ties, their anomaly labels, their train ids and class maps."""
    rng = np.random.RandomState(3)
    for name in ("scores", "anomaly", "trainids", "predictions"):
        (tmp_path / name).mkdir()
    for index in range(6):
        anomaly = (rng.random_sample((12, 20)) < 0.15).astype(np.uint8)
        score = np.round(rng.random_sample((12, 20)) * 8 + 4 * anomaly).astype(np.float32) / 8
        anomaly[0] = 255
        labels = rng.randint(0, 19, (12, 20)).astype(np.uint8)
        predicted = np.where(rng.random_sample((12, 20)) < 0.2, (labels + 1) % 19, labels).astype(np.uint8)
        labels[-1] = 255
        np.save(tmp_path / "scores" / f"f{index}.npy", score)
        Image.fromarray(anomaly).save(tmp_path / "anomaly" / f"f{index}.png")
        Image.fromarray(labels).save(tmp_path / "trainids" / f"f{index}.png")
        Image.fromarray(predicted).save(tmp_path / "predictions" / f"f{index}.png")
    return tmp_path


def score(capsys, folder, protocol="anomaly", labels="anomaly", *more):
    argv = ["score", "--protocol", protocol, "--scores", str(folder / "scores"), "--labels", str(folder / labels)]
    status = main([*argv, "--format", "json", *more])
    said = capsys.readouterr()
    return json.loads(said.out) if status == 0 else said.err.strip()


def pooled(folder, labels):
    scores = [np.load(path) for path in sorted((folder / "scores").glob("*.npy"))]
    truths = [np.array(Image.open(path)) for path in sorted((folder / labels).glob("*.png"))]
    return np.concatenate([s.ravel() for s in scores]), np.concatenate([t.ravel() for t in truths])


def test_it_agrees_with_scikit_learn_on_pooled_pixels(maps, capsys):
    metrics = pytest.importorskip("sklearn.metrics")
    found = score(capsys, maps)
    scores, truth = pooled(maps, "anomaly")
    keep = truth != 255
    assert found["metrics"]["ap"]["value"] == pytest.approx(
        metrics.average_precision_score(truth[keep], scores[keep]), abs=1e-12
    )
    assert found["metrics"]["auroc"]["value"] == pytest.approx(
        metrics.roc_auc_score(truth[keep], scores[keep]), abs=1e-12
    )
    assert found["images"] == 6 and found["pixels"] == {
        "normal": int((truth == 0).sum()),
        "anomaly": int((truth == 1).sum()),
    }


def test_misclassification_takes_class_maps(maps, capsys):
    predictions = ["--predictions", str(maps / "predictions")]
    found = score(capsys, maps, "misclassification", "trainids", *predictions)
    wrong = sum(
        int(((np.array(Image.open(path)) != np.array(Image.open(maps / "predictions" / path.name)))[:-1]).sum())
        for path in (maps / "trainids").glob("*.png")
    )
    assert found["pixels"]["wrong"] == wrong
    assert "say where they are with --predictions" in score(capsys, maps, "misclassification", "trainids")


def test_archives_of_one_array_are_read_as_well(maps, capsys):
    plain = score(capsys, maps)
    for path in (maps / "scores").glob("*.npy"):
        np.savez_compressed(path.with_suffix(".npz"), np.load(path).astype(np.float64))
        path.unlink()
    assert score(capsys, maps) == plain


def test_files_without_a_partner_are_named(maps, capsys):
    (maps / "scores" / "f2.npy").rename(maps / "scores" / "g2.npy")
    line = score(capsys, maps)
    assert "g2.npy has no labels in" in line and "f2.png has no score map in" in line


def test_nan_is_refused_by_file_name(maps, capsys):
    array = np.load(maps / "scores" / "f3.npy")
    array[2, 2] = np.nan
    np.save(maps / "scores" / "f3.npy", array)
    assert score(capsys, maps).endswith("f3.npy holds 1 NaN; a score must order pixels")


def test_a_wrong_size_is_refused_by_file_name(maps, capsys):
    np.save(maps / "scores" / "f4.npy", np.zeros((6, 10), np.float32))
    assert "f4.npy is [6, 10], its labels are [12, 20]" in score(capsys, maps)


def test_infinities_rank_at_the_ends_with_a_note(maps, capsys):
    rank = score(capsys, maps)["metrics"]
    for path in (maps / "scores").glob("*.npy"):
        array = np.load(path)
        array[array == array.max()] = array.max()
        np.save(path, np.where(array >= 1.5, np.inf, np.where(array <= 0, -np.inf, array)).astype(np.float32))
    found = score(capsys, maps)
    assert "hold infinities" in found["notes"][0]
    assert found["metrics"]["auroc"]["value"] == pytest.approx(rank["auroc"]["value"]), (
        "1.5 and 0 were the ends already"
    )


def test_a_pickle_is_not_opened(maps, capsys):
    np.save(maps / "scores" / "f1.npy", np.array([{}], dtype=object), allow_pickle=True)
    assert "f1.npy is not a NumPy file of plain numbers" in score(capsys, maps)


def test_illegal_labels_are_named(maps, capsys):
    Image.fromarray(np.full((12, 20), 7, np.uint8)).save(maps / "anomaly" / "f0.png")
    assert "f0.png holds the value 7, wanted 0 usual, 1 anomaly, 255 ignored" in score(capsys, maps)


def test_colour_labels_are_refused(maps, capsys):
    Image.fromarray(np.zeros((12, 20, 3), np.uint8)).save(maps / "anomaly" / "f0.png")
    assert "f0.png is stored as RGB, wanted L or P" in score(capsys, maps)


def test_no_anomaly_at_all_has_no_value_and_says_so(maps, capsys):
    for path in (maps / "anomaly").glob("*.png"):
        Image.fromarray(np.zeros((12, 20), np.uint8)).save(path)
    found = score(capsys, maps)
    assert {figure["reason"] for figure in found["metrics"].values()} == {"no positive pixels"}


def test_it_runs_without_torch(maps):
    script = (
        "import sys\nsys.modules['torch'] = None\nfrom bench.cli import main\n"
        f"sys.exit(main(['score', '--protocol', 'anomaly', '--scores', {str(maps / 'scores')!r},"
        f" '--labels', {str(maps / 'anomaly')!r}]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=Path(__file__).parents[1], check=False
    )
    assert done.returncode == 0, done.stderr
    assert "anomaly, 6 images" in done.stdout

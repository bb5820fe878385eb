"""Score maps made elsewhere: every layout and format, several protocols in one pass, lint, without torch."""

import io
import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench.api import Value
from bench.cli.main import main
from bench.core.errors import BadScores
from bench.evaluate import evaluation, files, lint
from bench.evaluate.frames import Folder
from bench.metrics.protocols import smiyc
from bench.metrics.protocols.fishyscapes import Fishyscapes
from bench.metrics.protocols.open_miou import OpenMeanIoU
from bench.metrics.protocols.pooled import Anomaly, Misclassification
from bench.results import definitions


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
    """The only evaluation, with the notes and the lint of the report; or the refusal."""
    found = run(capsys, "--protocol", protocol, "--scores", folder / "scores", "--labels", folder / labels, *more)
    if isinstance(found, str):
        return found
    (only,) = found["evaluations"]
    return {**only, "notes": found["notes"], "lint": found["lint"]}


def run(capsys, *argv):
    status = main(["score", *map(str, argv), "--format", "json"])
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
    assert score(capsys, maps).endswith("f3.npy holds 1 NaN, 1 of them on pixels that count; a score must order pixels")


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
    told = score(capsys, maps)
    assert "f0.png holds the value 7; all masks together hold" in told and "wanted 0, 1 or 255" in told


def test_colour_labels_are_refused(maps, capsys):
    Image.new("RGB", (20, 12), "red").save(maps / "anomaly" / "f0.png")
    assert "f0.png is stored as RGB, and its channels differ: a picture in colours" in score(capsys, maps)


def test_labels_of_one_bit_among_others_are_refused(maps, capsys):
    Image.new("1", (20, 12), 1).save(maps / "anomaly" / "f0.png")
    assert "f0.png has 1 bit for each pixel, " in score(capsys, maps)


def test_no_anomaly_at_all_has_no_value_and_says_so(maps, capsys):
    for path in (maps / "anomaly").glob("*.png"):
        Image.fromarray(np.zeros((12, 20), np.uint8)).save(path)
    assert "none of these is an anomaly" in score(capsys, maps)
    found = score(capsys, maps, "anomaly", "anomaly", "--label-values", "1=anomaly")
    assert {figure["reason"] for figure in found["metrics"].values()} == {"no positive pixels"}


def test_it_runs_without_torch(maps):
    script = (
        "import sys\nsys.modules['torch'] = None\nfrom bench.cli.main import main\n"
        f"sys.exit(main(['score', '--protocol', 'anomaly', '--scores', {str(maps / 'scores')!r},"
        f" '--labels', {str(maps / 'anomaly')!r}]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=Path(__file__).parents[2], check=False
    )
    assert done.returncode == 0, done.stderr
    assert "anomaly, 6 images" in done.stdout


TOYTOWN = "toytown:split=anomaly,images=6,height=32,width=64"


@pytest.fixture
def town(tmp_path):
    """Six frames of Toytown and a score for each pixel."""
    from bench.suite import registry

    data = registry.build(
        "dataset", "toytown", {"split": "anomaly", "images": 6, "height": 32, "width": 64}, where="test"
    )
    rng = np.random.RandomState(1)
    samples = [data.load(index) for index in range(6)]
    return {each.id: (rng.random_sample(each.size) + (each.anomaly == 1)).astype(np.float32) for each in samples}


def write(path, array):
    """One map in the format that the name asks for."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".npy":
        np.save(path, array)
    elif path.suffix == ".npz":
        np.savez_compressed(path, array)
    elif path.suffix in (".hdf5", ".h5"):
        import h5py

        with h5py.File(path, "w") as file:
            file.create_dataset("value", data=array, compression=9)
    else:
        Image.fromarray(array).save(path)


def of_town(capsys, scores, *more):
    found = run(capsys, "--protocol", "anomaly", "--dataset", TOYTOWN, "--scores", scores, "--bootstrap", 0, *more)
    return found if isinstance(found, str) else (found["evaluations"][0]["metrics"], found)


LAYOUTS = {
    "{id}.npy": "flat",
    "{id}.npz": "flat, compressed",
    "{id}.h5": "flat HDF5",
    "{id}.hdf5": "flat HDF5, the other ending",
    "{id}.tif": "TIFF",
    "{id}.tiff": "TIFF, the other ending",
    "scores/{id}.npy": "spool",
    "anomaly_p/Mine/AnomalyTrack-all/{id}.hdf5": "SMIYC tree",
    "{number}_{id}_anomaly.npy": "Fishyscapes",
    "{id}_leftImg8bit.npy": "Cityscapes",
    "val/city/{id}_leftImg8bit.npy": "Cityscapes with its folders",
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("packed", [False, True], ids=["folder", "zip"])
def test_maps_are_found_in_every_layout(town, tmp_path, capsys, layout, packed):
    plain, other = tmp_path / "plain", tmp_path / "other"
    for number, (sample, array) in enumerate(town.items()):
        write(plain / f"{sample}.npy", array)
        write(other / layout.format(id=sample, number=f"{number:04}"), array)
    if layout.endswith("_anomaly.npy"):
        np.save(other / "0000_toytown_anomaly_000000_segmentation.npy", np.zeros((2, 2), np.uint8))
    if packed:
        with zipfile.ZipFile(tmp_path / "maps.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            for path in sorted(other.rglob("*.*")):
                archive.write(path, f"outputs/{path.relative_to(other)}")
            archive.writestr("__MACOSX/outputs/._x.npy", b"")
            archive.writestr("outputs/readme.txt", b"")
        other = tmp_path / "maps.zip"
    assert of_town(capsys, other)[0] == of_town(capsys, plain)[0]


def test_a_folder_inside_an_archive_can_be_named(town, tmp_path, capsys):
    with zipfile.ZipFile(tmp_path / "both.zip", "w") as archive:
        for method in ("Mine", "Yours"):
            for sample, array in town.items():
                write(tmp_path / "one.hdf5", array)
                archive.write(tmp_path / "one.hdf5", f"anomaly_p/{method}/set/{sample}.hdf5")
    assert "holds score maps of 2 methods: Mine, Yours; name the folder of one of them" in of_town(
        capsys, tmp_path / "both.zip"
    )
    assert of_town(capsys, tmp_path / "both.zip" / "anomaly_p" / "Yours")[0]["auroc"]["value"] > 0.5


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_whole_numbers_of_16_bits_are_scores(town, tmp_path, capsys, suffix):
    for sample, array in town.items():
        coarse = np.round(array * 30000).astype(np.uint16)
        write(tmp_path / "a" / f"{sample}.npy", coarse)
        write(tmp_path / "b" / f"{sample}.{suffix}", coarse)
    assert of_town(capsys, tmp_path / "a")[0] == of_town(capsys, tmp_path / "b")[0]


def test_a_last_axis_of_one_is_dropped_with_a_note(town, tmp_path, capsys):
    for sample, array in town.items():
        write(tmp_path / "a" / f"{sample}.npy", array)
        write(tmp_path / "b" / f"{sample}.npy", array[..., None])
    plain, channel = (of_town(capsys, tmp_path / folder) for folder in "ab")
    assert channel[0] == plain[0] and plain[1]["notes"] == []
    assert channel[1]["notes"][0].startswith("6 maps (first: ")


def test_maps_of_other_frames_are_let_be_with_a_note(town, tmp_path, capsys):
    for sample, array in town.items():
        write(tmp_path / "a" / f"{sample}.npy", array)
    write(tmp_path / "a" / "elsewhere.npy", np.zeros((2, 2)))
    (note,) = of_town(capsys, tmp_path / "a")[1]["notes"]
    assert note.startswith("1 map (first: ")
    assert note.endswith(") belongs to no frame of toytown[split=anomaly,images=6,height=32,width=64]; not read")


def test_names_that_fit_no_frame_are_shown_beside_one_that_would(tmp_path, capsys):
    write(tmp_path / "a" / "x.npy", np.zeros((2, 2)))
    assert of_town(capsys, tmp_path / "a").endswith(
        "is named after a frame of toytown[split=anomaly,images=6,height=32,width=64]; found x.npy, wanted such as"
        " toytown_anomaly_000000.npy"
    )


def test_two_maps_of_one_frame_are_both_named(town, tmp_path, capsys):
    sample = next(iter(town))
    for path in (f"one/{sample}.npy", f"two/{sample}.npy"):
        write(tmp_path / "a" / path, town[sample])
    line = of_town(capsys, tmp_path / "a")
    assert f"one/{sample}.npy and " in line and f"are both the score map of {sample}; keep one" in line


def test_a_map_that_two_frames_could_own_is_refused():
    with pytest.raises(BadScores, match=r"a\.npy could be the score map of 0001_a and of 0002_a; name it after the"):
        files.match([files.MapFile(Path("a.npy"))], ["0001_a", "0002_a"], "score map")


def test_the_truth_is_the_one_of_the_data_set(town, tmp_path, capsys):
    for sample, array in town.items():
        write(tmp_path / "a" / f"{sample}.npy", array)
    assert (
        run(capsys, "--protocol", "anomaly", "--dataset", "toytown:images=6", "--scores", tmp_path / "a")
        == "bench: toytown[images=6] has no anomaly, which anomaly needs; it has labels"
    )
    assert "either --labels FOLDER or --dataset NAME" in run(capsys, "--protocol", "anomaly", "--scores", tmp_path)


def test_several_data_sets_are_evaluated_side_by_side(town, tmp_path, capsys):
    for sample, array in town.items():
        write(tmp_path / "a" / f"{sample}.npy", array)
    sets = f"{TOYTOWN},{TOYTOWN},condition=day"
    found = run(capsys, "--protocol", "anomaly,fishyscapes", "--dataset", sets, "--scores", tmp_path / "a")
    assert [(each["protocol"], each["dataset"]) for each in found["evaluations"]] == [
        ("anomaly", "toytown[split=anomaly,images=6,height=32,width=64]"),
        ("fishyscapes", "toytown[split=anomaly,images=6,height=32,width=64]"),
        ("anomaly", "toytown[split=anomaly,images=6,height=32,width=64,condition=day]"),
        ("fishyscapes", "toytown[split=anomaly,images=6,height=32,width=64,condition=day]"),
    ]


def test_labels_of_any_name_are_paired(maps, capsys):
    plain = score(capsys, maps)
    for path in (maps / "anomaly").glob("*.png"):
        path.rename(path.with_name(f"{path.stem}_labels_semantic.png"))
        path.with_name(f"{path.stem}_labels_semantic_color.png").write_bytes(b"not read")
    pattern = "{id}_labels_semantic.png"
    assert score(capsys, maps, "anomaly", "anomaly", "--pair", pattern) == plain
    assert "wanted {id} in it exactly once" in score(capsys, maps, "anomaly", "anomaly", "--pair", "labels.png")


SEVERAL = "anomaly,components:min_predicted=2,min_truth=2,fishyscapes,smiyc_obstacle,streethazards"


def test_several_protocols_in_one_pass_are_each_alone(maps, capsys, monkeypatch):
    alone = [
        score(capsys, maps, name)
        for name in (
            "anomaly",
            "components:min_predicted=2,min_truth=2",
            "fishyscapes",
            "smiyc_obstacle",
            "streethazards",
        )
    ]
    opened = []
    original = files.read_map
    monkeypatch.setattr(files, "read_map", lambda file, *more: opened.append(file) or original(file, *more))
    found = run(capsys, "--protocol", SEVERAL, "--scores", maps / "scores", "--labels", maps / "anomaly")
    assert found["schema"] == 2
    assert found["evaluations"] == [{k: v for k, v in each.items() if k not in ("notes", "lint")} for each in alone]
    assert len(opened) == 12, "once, and once more for the components of two protocols"
    assert found["evaluations"][1]["parameters"] == {"min_predicted": 2, "min_truth": 2}


def test_protocols_that_are_told_apart_have_the_figures_that_each_has_alone(maps):
    options = evaluation.Options(resamples=0)

    def figures(*protocols, labels="anomaly"):
        predictions = maps / "predictions" if labels == "trainids" else None
        report = evaluation.score(protocols, [Folder(maps / labels)], maps / "scores", predictions, options)
        return [dict(each.figures) for each in report.evaluations]

    class Late(Fishyscapes):
        def categories(self, sample, predicted):
            sides = super().categories(sample, predicted)
            return np.where(sides == 0, np.uint8(255), sides) if sample.id == "f4" else sides

    both = [Misclassification(), OpenMeanIoU(threshold=0.5)]
    assert figures(*both, labels="trainids") == [figures(each, labels="trainids")[0] for each in both]
    three = [Anomaly(), Late(), Fishyscapes()]
    assert figures(*three) == [figures(each)[0] for each in three]


def test_protocols_that_need_different_labels_or_maps_are_named(maps, capsys):
    assert score(capsys, maps, "anomaly,misclassification", "trainids", "--predictions", maps / "predictions").endswith(
        "the protocols need anomaly (anomaly) and labels (misclassification); evaluate them apart"
    )
    line = score(capsys, maps, "calibration,misclassification", "trainids", "--predictions", maps / "predictions")
    assert "calibration reads a confidence and misclassification reads a score: the same maps cannot be both" in line


def test_a_small_map_gets_the_official_figures_of_smiyc(tmp_path, capsys):
    """px18: the evaluator upsamples the float16 that was saved; its curve is read from the float32 that this gives."""
    case = Path(__file__).parents[1] / "fixtures" / "leaderboards" / "smiyc_pixel" / "px18_lowres_heatmap"
    wanted = json.loads(case.with_suffix(".json").read_text())["expected"]["PixBinaryClass"]
    (tmp_path / "scores").mkdir()
    (tmp_path / "anomaly").mkdir()
    with np.load(case.with_suffix(".npz")) as arrays:
        for name in arrays.files:
            kind, _, index = name.partition("_")
            if kind == "scores":
                np.save(tmp_path / "scores" / f"frame{index}.npy", arrays[name])
            else:
                Image.fromarray(arrays[name].astype(np.uint8)).save(tmp_path / "anomaly" / f"frame{index}.png")
    found = score(capsys, tmp_path, "smiyc_obstacle")
    for ours, theirs in {"ap": "area_PRC", "auroc": "area_ROC", "fpr95": "tpr95_fpr", "best_f1": "best_f1"}.items():
        assert found["metrics"][ours]["value"] == pytest.approx(wanted[theirs], abs=1e-9)


def test_a_small_map_is_upsampled_where_asked_or_where_the_protocol_does(maps, capsys):
    for path in (maps / "scores").glob("*.npy"):
        np.save(path, np.load(path)[::2, ::2])
    assert score(capsys, maps).endswith(
        "is [6, 10], its labels are [12, 20]; write maps at label size, or let --resize upsample them"
    )
    found = score(capsys, maps, "anomaly", "anomaly", "--resize")
    assert ") are smaller than the labels" in found["notes"][0]
    assert "upsampled bilinearly" in score(capsys, maps, "smiyc_anomaly")["notes"][0]


def test_upsampling_is_that_of_torch_to_the_bit_and_of_opencv_to_a_rounding():
    torch = pytest.importorskip("torch")
    rng = np.random.RandomState(0)
    for small, large in (((5, 7), (12, 20)), ((16, 32), (33, 65)), ((40, 60), (160, 240))):
        array = rng.standard_normal(small).astype(np.float32)
        wanted = torch.nn.functional.interpolate(
            torch.from_numpy(array)[None, None], size=large, mode="bilinear", align_corners=False, antialias=False
        )[0, 0].numpy()
        found = files.upsampled(array, large)
        assert found.dtype == np.float32 and np.array_equal(found, wanted)
        assert np.allclose(found, smiyc.upsampled(array, large), atol=1e-5)


def npy(array):
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def test_a_hostile_archive_is_refused_before_it_is_unpacked(town, tmp_path, capsys):
    sample = next(iter(town))

    def refusal(name, content):
        with zipfile.ZipFile(tmp_path / "maps.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(name, content)
        return of_town(capsys, tmp_path / "maps.zip", "--allow-missing")

    assert "'../x.npy', a name that leads out of the archive" in refusal("../x.npy", b"")
    assert "'/etc/x.npy', a name that leads out of the archive" in refusal("/etc/x.npy", b"")
    assert f"{sample}.npy unpacks to 4000000 bytes, its labels [32, 64] allow 1081344" in refusal(
        f"{sample}.npy", bytes(4_000_000)
    )
    short = npy(np.zeros((32, 64), np.float32))[:90]
    assert f"{sample}.npy is not a NumPy file of plain numbers" in refusal(f"{sample}.npy", short)
    assert not list(tmp_path.rglob("x.npy"))
    (tmp_path / "maps.zip").write_bytes(b"PK nonsense")
    assert "maps.zip is not a folder and cannot be read as a .zip" in of_town(capsys, tmp_path / "maps.zip")


def test_a_declared_size_is_refused_before_memory_is_taken(maps, capsys):
    header = {"descr": "<f4", "fortran_order": False, "shape": (1 << 20, 1 << 20)}
    with (maps / "scores" / "f2.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
    assert "f2.npy is [1048576, 1048576], its labels are [12, 20]" in score(capsys, maps)


@pytest.mark.parametrize("kind", ["soft", "external", "storage", "virtual", "absent", "text"])
def test_hdf5_leads_nowhere_else(maps, capsys, kind, tmp_path):
    h5py = pytest.importorskip("h5py")
    path = maps / "scores" / "f2.hdf5"
    (maps / "scores" / "f2.npy").unlink()
    with h5py.File(tmp_path / "secret.h5", "w") as file:
        file["value"] = np.zeros((12, 20))
    (tmp_path / "raw").write_bytes(bytes(12 * 20 * 4))
    with h5py.File(path, "w") as file:
        if kind == "soft":
            file["other"] = np.zeros((12, 20))
            file["value"] = h5py.SoftLink("/other")
        elif kind == "external":
            file["value"] = h5py.ExternalLink(str(tmp_path / "secret.h5"), "/value")
        elif kind == "storage":
            file.create_dataset("value", (12, 20), "f4", external=[(str(tmp_path / "raw"), 0, 12 * 20 * 4)])
        elif kind == "virtual":
            layout = h5py.VirtualLayout((12, 20), "f8")
            layout[:] = h5py.VirtualSource(str(tmp_path / "secret.h5"), "value", (12, 20))
            file.create_virtual_dataset("value", layout)
        elif kind == "text":
            file["value"] = np.full((12, 20), b"x")
    said = {
        "soft": "'value' is a link", "external": "'value' is a link", "storage": "'value' is no dataset of its own",
        "virtual": "'value' is no dataset of its own", "absent": "has no dataset 'value'; found nothing",
        "text": "f2.hdf5 holds |S1, wanted numbers",
    }  # fmt: skip
    assert said[kind] in score(capsys, maps)


def test_files_that_cannot_be_read_are_named(maps, capsys):
    for suffix, said in (
        ("hdf5", "f2.hdf5 is not a whole HDF5 file"),
        ("png", "f2.png is not an image of the formats PNG"),
        ("tif", "f2.tif is not an image of the formats PNG, TIFF, BMP"),
        ("npz", "f2.npz cannot be unpacked"),
    ):
        path = maps / "scores" / f"f2.{suffix}"
        (maps / "scores" / "f2.npy").unlink(missing_ok=True)
        path.write_bytes(b"nonsense")
        assert said in score(capsys, maps)
        path.unlink()
    whole = npy(np.zeros((12, 20), np.float32))
    (maps / "scores" / "f2.npy").write_bytes(whole[:-8])
    assert "f2.npy is not a NumPy file of plain numbers: 8 bytes are missing at its end" in score(capsys, maps)
    np.save(maps / "scores" / "f2.npy", np.zeros((3, 12, 20)))
    assert "f2.npy is [3, 12, 20], wanted one number for each pixel, [12, 20]" in score(capsys, maps)
    (maps / "scores" / "f2.npy").unlink()
    Image.new("RGB", (20, 12), "red").save(maps / "scores" / "f2.png")
    assert "f2.png is stored as RGB, and its channels differ: a picture in colours" in score(capsys, maps)


def rewrite(folder, change):
    for path in sorted((folder / "scores").glob("*.npy")):
        np.save(path, change(np.load(path).astype(np.float64)))


def codes(found):
    return {finding["code"]: finding for finding in found["lint"]}


def spread(array):
    """Many values, so that no other finding is near."""
    return array + np.random.RandomState(5).random_sample(array.shape) / 16


def test_plain_maps_have_no_lint(maps, capsys):
    rewrite(maps, lambda array: spread(array).astype(np.float32))
    assert score(capsys, maps)["lint"] == []


def test_maps_scaled_by_image_are_told(maps, capsys):
    rewrite(maps, lambda array: ((array - array.min()) / (array.max() - array.min())).astype(np.float32))
    finding = codes(score(capsys, maps))["scaled_per_image"]
    assert len(finding["files"]) == 6 and "scaled by image" in finding["text"]
    np.save(maps / "scores" / "f0.npy", np.load(maps / "scores" / "f0.npy") * 0.9)
    assert "scaled_per_image" not in codes(score(capsys, maps))


def test_maps_of_different_types_are_told(maps, capsys):
    (maps / "scores" / "f2.npy").unlink()
    Image.fromarray(np.arange(240, dtype=np.uint16).reshape(12, 20)).save(maps / "scores" / "f2.png")
    finding = codes(score(capsys, maps))["mixed_types"]
    assert finding["files"] == [str(maps / "scores" / "f2.png")] and "float32 (5) and uint16 (1)" in finding["text"]
    (maps / "scores" / "f2.png").unlink()
    np.save(maps / "scores" / "f2.npy", np.zeros((12, 20), np.float64))
    assert "mixed_types" not in codes(score(capsys, maps)), "fractions of any width are on one scale"


def test_constant_maps_are_named(maps, capsys):
    np.save(maps / "scores" / "f3.npy", np.full((12, 20), 0.3, np.float32))
    finding = codes(score(capsys, maps))["constant"]
    assert [Path(name).name for name in finding["files"]] == ["f3.npy"]
    assert finding["text"] == "1 of 6 maps hold one value each and rank nothing"


def test_an_inverted_score_is_told_with_the_base_rate(maps, capsys):
    rewrite(maps, lambda array: -array)
    text = codes(score(capsys, maps))["inverted"]["text"]
    assert "below chance, with 14.2 % of the pixels positive" in text and "negate it" in text
    assert lint.inverted(Value(0.44, 0.02), 1, 9) is None and lint.inverted(Value(0.44, lo=0.3, hi=0.6), 1, 9) is None


def test_eight_bits_are_told(maps, capsys):
    rewrite(maps, lambda array: np.round(array * 40).astype(np.uint8))
    assert "look stored in 8 bits or as masks" in codes(score(capsys, maps))["few_levels"]["text"]


def test_scores_that_float16_collapsed_are_told():
    look, fine = lint.Look(), lint.Look()
    rng = np.random.RandomState(0)
    rare = np.arange(400, dtype=np.float16).reshape(20, 20)  # so that there are more than 256 values
    for index in range(3):
        near_one = (1 - 1e-3 * rng.random_sample((40, 40))).astype(np.float16)
        near_one[:20, :20] = rare
        look.add(f"{index}", near_one.astype(np.float32), np.dtype(np.float16))
        fine.add(f"{index}", rng.random_sample((40, 40)).astype(np.float16).astype(np.float32), np.dtype(np.float16))
    (finding,) = look.findings()
    assert finding.code == "float16_collapsed" and "half of the pixels lie on 2 values of float16" in finding.text
    assert fine.findings() == []


def test_frames_without_a_map_are_refused_unless_allowed(town, tmp_path, capsys):
    for sample, array in list(town.items())[1:]:
        write(tmp_path / "a" / f"{sample}.npy", array)
    line = of_town(capsys, tmp_path / "a")
    assert "toytown_anomaly_000000 has no score map in" in line and line.endswith(", or say --allow-missing")
    found = of_town(capsys, tmp_path / "a", "--allow-missing")[1]
    assert found["evaluations"][0]["images"] == 5
    assert codes(found)["missing"]["files"] == ["toytown_anomaly_000000"]


def test_leaving_out_exactly_the_clean_frames_is_told(maps, capsys):
    Image.fromarray(np.zeros((12, 20), np.uint8)).save(maps / "anomaly" / "f2.png")
    (maps / "scores" / "f2.npy").unlink()
    line = score(capsys, maps)
    assert "f2.png has no score map in" in line and "exactly those without an anomaly" in line
    finding = codes(score(capsys, maps, "anomaly", "anomaly", "--allow-missing"))["missing_clean"]
    assert finding["files"] == ["f2"] and "lowers FPR95" in finding["text"]
    Image.fromarray(np.zeros((12, 20), np.uint8)).save(maps / "anomaly" / "f4.png")
    assert "missing" in codes(score(capsys, maps, "anomaly", "anomaly", "--allow-missing"))


def test_people_read_lint_and_notes_below_the_figures(maps, capsys):
    rewrite(maps, lambda array: -array[..., None])
    argv = ["score", "--protocol", "anomaly", "--scores", str(maps / "scores"), "--labels", str(maps / "anomaly")]
    assert main(argv) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("anomaly, 6 images, ") and said[1].split()[0] == "auroc"
    assert [line.split(":")[0] for line in said[-3:]] == ["lint", "lint", "note"]


ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "score.md").read_text(encoding="utf-8")


def listed(section, head):
    """First cells of the table under a heading, code marks removed."""
    text = PAGE.split(f"## {section}\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| (.+?) \|", text.split(head)[1].split("\n\n")[0], re.M)
    return [name.strip("`") for row in rows if not row.startswith(":") for name in row.split("`, `")]


def test_the_page_lists_every_code_format_rule_and_field(maps, capsys):
    codes = re.findall(r'Finding\(\s*"(\w+)"', (ROOT / "bench" / "evaluate" / "lint.py").read_text())
    assert sorted(listed("Lint", "| code |")) == sorted(codes)
    assert sorted(listed("Formats", "| ending |")) == sorted(files.READERS)
    assert re.findall(r"^\| \w+ \| `(\w+)`:", PAGE, re.M) == list(definitions.RULES)
    argv = ["--scores", maps / "scores", "--labels", maps / "anomaly", "--definitions"]
    found = run(capsys, "--protocol", "anomaly", *argv)
    assert list(found) == listed("The JSON", "| field |")
    each = found["evaluations"][0]
    assert list(each) == listed("The JSON", "Each evaluation:\n\n| field |")
    main(["score", "--help"])
    said = capsys.readouterr().out
    of_runs = {"--keep-maps", "--limit", "--only", "--out"}
    for name in {*re.findall(r"--[a-z][a-z-]+", PAGE)} - of_runs:
        assert name in said, name


def test_the_first_commands_of_the_page_run(maps, capsys, monkeypatch):
    monkeypatch.chdir(maps)
    (maps / "scores").rename(maps / "maps")
    (maps / "anomaly").rename(maps / "labels")
    commands = re.findall(r"^bench (score .+--scores maps .+)", PAGE, re.M)
    for line in (commands[0], next(line for line in commands if "--definitions" in line)):
        assert main(line.split()) == 0
    assert "definitions, in percent" in capsys.readouterr().out


@pytest.mark.parametrize("shape", [(1, 12, 20), (12, 20, 1), (1, 1, 12, 20), (1, 12, 20, 1)])
def test_axes_of_length_one_are_dropped_at_both_ends(maps, capsys, shape):
    plain = score(capsys, maps)
    for path in (maps / "scores").glob("*.npy"):
        np.save(path, np.load(path).reshape(shape))
    found = score(capsys, maps)
    assert found["metrics"] == plain["metrics"] and "have an axis of length 1" in found["notes"][0]
    np.save(maps / "scores" / "f0.npy", np.zeros((2, 12, 20), np.float32))
    assert "f0.npy is [2, 12, 20], wanted one number for each pixel" in score(capsys, maps)


def test_nan_is_let_be_where_labels_are_ignored(maps, capsys):
    plain = score(capsys, maps)
    array = np.load(maps / "scores" / "f3.npy")
    array[0] = np.nan
    np.save(maps / "scores" / "f3.npy", array)
    found = score(capsys, maps)
    assert found["metrics"] == plain["metrics"]
    assert found["notes"][0].startswith("1 score map (first: ") and "ignored" in found["notes"][0]
    array[4, 4] = np.nan
    np.save(maps / "scores" / "f3.npy", array)
    assert "f3.npy holds 21 NaN, 1 of them on pixels that count" in score(capsys, maps)


@pytest.mark.parametrize("name", ["score", "anomaly_score", "Anomaly-Map", "ood"])
def test_of_several_arrays_the_one_named_like_a_score_is_read(maps, capsys, name):
    plain = score(capsys, maps)
    for path in (maps / "scores").glob("*.npy"):
        array = np.load(path)
        np.savez(path.with_suffix(".npz"), **{"gt": np.zeros((12, 20), np.uint8), name: array, "image": array})
        path.unlink()
    found = score(capsys, maps)
    assert found["metrics"] == plain["metrics"] and found["notes"][0].startswith("6 files (first: ")
    np.savez(maps / "scores" / "f0.npz", a=array, b=array)
    assert "f0.npz holds 2 arrays, wanted one: a, b; call the one that is the score map score" in score(capsys, maps)
    np.savez(maps / "scores" / "f0.npz", score=array, ood=array)
    assert "f0.npz holds 2 arrays" in score(capsys, maps)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n", "git lfs pull"),
        (b"<!DOCTYPE html><html><head><title>Google Drive</title>", "HTML page"),
        (b"", "an empty file"),
    ],
)
@pytest.mark.parametrize("end", ["npy", "npz", "hdf5", "png", "tif"])
def test_a_file_that_is_another_thing_is_named_for_what_it_is(maps, capsys, end, content, says):
    (maps / "scores" / "f0.npy").unlink()
    (maps / "scores" / f"f0.{end}").write_bytes(content)
    told = score(capsys, maps)
    assert f"f0.{end}" in told and told.count(says) == 1 and "\n" not in told


def test_official_names_of_labels_are_understood_and_their_pictures_passed_over(maps, capsys):
    ask = ["anomaly", "anomaly", "--bootstrap", 0]
    plain = score(capsys, maps, *ask)
    for path in (maps / "anomaly").glob("*.png"):
        path.rename(path.with_name(f"{path.stem}_labels_semantic.png"))
        Image.new("RGB", (20, 12)).save(path.with_name(f"{path.stem}_labels_semantic_color.png"))
    assert score(capsys, maps, *ask)["metrics"] == plain["metrics"]


def test_label_ids_beside_train_ids_are_passed_over(maps, capsys):
    ask = ["misclassification", "trainids", "--predictions", maps / "predictions", "--bootstrap", 0]
    plain = score(capsys, maps, *ask)
    for path in (maps / "trainids").glob("*.png"):
        path.rename(path.with_name(f"{path.stem}_gtFine_labelTrainIds.png"))
        for kind in ("labelIds", "instanceIds", "color"):
            Image.new("L", (20, 12)).save(path.with_name(f"{path.stem}_gtFine_{kind}.png"))
    assert score(capsys, maps, *ask)["metrics"] == plain["metrics"]


def test_labels_that_are_named_otherwise_lead_to_the_option(maps, capsys):
    for path in (maps / "anomaly").glob("*.png"):
        path.rename(path.with_name(f"{path.stem}_mine.png"))
    assert "--pair says how labels are named, such as '{id}_mask.png'" in score(capsys, maps)


def test_sets_of_equal_ids_are_told_apart_by_the_folders_of_their_maps(tmp_path, capsys, monkeypatch):
    draws = np.random.default_rng(1)
    wanted = []
    monkeypatch.setenv("BENCH_DATA", str(tmp_path))
    for name in ("RoadAnomaly21", "fs_static"):
        for number in range(3):
            score_map = draws.random((6, 8)).astype(np.float32)
            for kind in ("images", "labels_masks"):
                path = tmp_path / "validation_dataset" / name / kind / f"{number}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                pixels = (draws.random((6, 8)) < 0.4).astype(np.uint8)
                Image.fromarray(pixels if kind == "labels_masks" else np.zeros((6, 8, 3), np.uint8)).save(path)
            for folder in (tmp_path / "maps" / name, tmp_path / f"alone_{name}"):
                folder.mkdir(parents=True, exist_ok=True)
                np.save(folder / f"{number}.npy", score_map)
        data = ["--dataset", f"validation_dataset:set={name},frames=3", "--bootstrap", 0]
        wanted += run(capsys, "--protocol", "anomaly", "--scores", tmp_path / f"alone_{name}", *data)["evaluations"]
    sets = [part for name in ("RoadAnomaly21", "fs_static") for part in
            ("--dataset", f"validation_dataset:set={name},frames=3")]  # fmt: skip
    ask = ["--protocol", "anomaly", "--scores", tmp_path / "maps", *sets, "--bootstrap", 0]
    assert run(capsys, *ask)["evaluations"] == wanted
    (tmp_path / "maps" / "fs_static" / "1.npy").unlink()
    assert "1 has no score map in" in run(capsys, *ask)  # and not that of the other set


def test_maps_and_labels_in_folders_of_cities_and_behind_links(maps, capsys):
    plain = score(capsys, maps)
    for kind, end in (("scores", "npy"), ("anomaly", "png")):
        (maps / f"far_{kind}").mkdir()
        for number in range(6):
            home = maps / f"far_{kind}" if number % 2 else maps / kind / "a"
            home.mkdir(exist_ok=True)
            (maps / kind / f"f{number}.{end}").rename(home / f"f{number}.{end}")
        (maps / kind / "b").symlink_to(maps / f"far_{kind}")
        (maps / kind / "a" / "loop").symlink_to(maps / kind)
    assert score(capsys, maps) == plain
    (maps / "anomaly" / "a" / "f1.png").write_bytes((maps / "anomaly" / "b" / "f1.png").read_bytes())
    assert "are both the labels of f1" in score(capsys, maps)


def test_masks_of_the_other_polarity_lead_to_the_option(maps, capsys):
    plain = score(capsys, maps)
    for path in (maps / "anomaly").glob("*.png"):
        mask = np.array(Image.open(path))
        Image.fromarray(np.where(mask == 255, 255, 1 - mask).astype(np.uint8)).save(path)
    (finding,) = [finding for finding in score(capsys, maps)["lint"] if finding["code"] == "inverted"]
    option = "0=anomaly,1=normal"
    assert finding["text"].endswith(f"say --label-values {option}")
    assert score(capsys, maps, "anomaly", "anomaly", "--label-values", option)["metrics"] == plain["metrics"]

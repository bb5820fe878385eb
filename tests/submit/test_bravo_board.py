"""A submission to BRAVO: made of a run, checked, evaluated again; the official archive, and what the server refuses."""

import io
import json
import re
import shutil
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

import bench
from bench.cli.main import main
from bench.data.layouts import writers
from bench.datasets.bravo import SPLITS, Bravo
from bench.datasets.toytown.scenes import Toytown
from bench.metrics.bravo_index import SUBSETS
from bench.metrics.protocols.bravo import sampled
from bench.results import store, summary
from bench.submit import bravo_codec, confidence

FIXTURES = Path(__file__).parents[1] / "fixtures" / "bravo"
FULL = FIXTURES / "cases" / "full9"
CASES = json.loads((FIXTURES / "validation_cases.json").read_text())
CHANGED = "bravo_synobjs/zebra/499_encoded.bin"
PUBLISHED = ("synrain", "synobjs", "synflare", "outofcontext")  # subsets whose number of images is published


def frames(number):
    return ["--frames", ",".join(f"{subset}={number}" for subset in PUBLISHED)]


def laid_out(case, home):
    """Black images of an official case, and its truth beside them."""
    shutil.copytree(case / "gt", home)
    for split, names in SPLITS.items():
        for labels in (home / f"bravo_{split}").rglob(f"*{names.labels}"):
            width, height = Image.open(labels).size
            image = labels.with_name(labels.name.removesuffix(names.labels) + names.image)
            Image.new("RGB", (width, height)).save(image)
    return home


def encoded(case, samples=100_000):
    """The submission that is made of the raw predictions of an official case, and the lists of its pixels."""
    files, lists = {}, {}
    for split, names in SPLITS.items():
        for path in (case / "raw" / f"bravo_{split}").rglob(f"*{names.prediction}"):
            base = path.relative_to(case / "raw").as_posix().removesuffix(names.prediction)
            classes, levels, labels = (
                np.asarray(Image.open(each))
                for each in (path, str(path).replace("_pred", "_conf"), case / "gt" / f"{base}{names.labels}")
            )
            indices = sampled(labels, samples).astype(np.int32)
            files[f"{base}_encoded.bin"] = bravo_codec.encode(classes, levels.astype(np.uint16), indices)
            if indices.size:
                lists[f"{base}_samples.bin"] = bravo_codec.write_indices(indices)
    return files, lists


@pytest.fixture(scope="module")
def official(tmp_path_factory):
    """Black images of the official case, its truth beside them, and the official lists of pixels."""
    home = laid_out(FULL, tmp_path_factory.mktemp("official") / "bravo")
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


def agreeing(printed, wanted):
    """The number of figures of an official evaluation that were printed; each must be the same."""
    figures = dict(re.findall(r"^(\w+: \w+) ([0-9.]+)$", printed, re.M))
    compared = 0
    for key, value in wanted.items():
        if isinstance(value, list):
            continue  # the IoU of each class
        subset, _, metric = key.partition("_")
        pooled = subset not in SUBSETS
        where, name = ("BRAVO", key) if pooled else (subset, metric.removesuffix("_valid"))
        if not pooled or f"{where}: {name}" in figures:
            assert float(figures[f"{where}: {name}"]) == pytest.approx(value, abs=6e-7), key  # six digits are printed
            compared += 1
    return compared


def test_the_official_archive_has_the_official_figures(data, capsys):
    archive = FULL / "submission_encoded.tar"
    assert main(["submit", "check", str(archive), *frames(2)]) == 0
    assert main(["submit", "dry-run", str(archive), *frames(2)]) == 0
    wanted = json.loads((FULL / "expected.json").read_text())["evaluation"]["results"]
    assert agreeing(capsys.readouterr().out, wanted) == 48 + 6 + 9 + 3


def test_the_official_raw_predictions_become_the_official_archive():
    made, lists = encoded(FULL)
    assert lists == members(FULL / "bravo_SAMPLING.tar")
    assert made == members(FULL / "submission_encoded.tar")


STRANGE = {  # case: what check and the dry run say of it, where the server takes it, and why it does not, where not
    "all_correct_synrain": "hmean, auroc, auprc_success, auprc_error, fpr95 have no value (no wrong pixels)",
    "all_invalid_synflare": "have no value (no pixels)",
    "no_invalid_synobjs": "hmean, auroc_ood, auprc_ood, fpr95_ood have no value (no invalid pixels)",
    "label19_alias_synflare": "holds the class 19, which the server counts as the class after the right one",
    "label20_error_synflare": "holds the class 20, wanted train ids from 0 to 18",
    "label200_on_invalid_synflare": "holds the class 200, on pixels alone that are void or invalid",
}
REFUSED = {"label19_alias_synflare", "label20_error_synflare"}
ONE_SUBSET = sorted(
    path.name for path in (FIXTURES / "cases").iterdir() if path.name not in ("full9", "all_void_synrain")
)


@pytest.mark.parametrize("name", ONE_SUBSET)
def test_each_official_case_is_judged_as_officially(name, tmp_path, monkeypatch, capsys):
    case = FIXTURES / "cases" / name
    laid_out(case, tmp_path / "bravo")
    monkeypatch.setenv("BENCH_DATA", str(tmp_path))
    archive, subset = packed(tmp_path / "submission.tar", encoded(case)[0]), name.rpartition("_")[2]
    assert main(["submit", "check", str(archive), "--sets", subset, *frames(2)]) == (2 if name in REFUSED else 0)
    judged = main(["submit", "dry-run", str(archive), "--sets", subset, *frames(2)])
    assert judged == (2 if name in REFUSED | {"all_invalid_synflare"} else 0)
    printed = capsys.readouterr()
    out = printed.out
    assert STRANGE.get(name, "") in out + printed.err
    results = json.loads((case / "expected.json").read_text())["evaluation"].get("results")
    if results and name not in REFUSED:
        wanted = {key: value for key, value in results.items() if value is not None}
        assert len(wanted) > 4
        count = sum(not isinstance(value, list) for value in wanted.values())
        assert agreeing(out.replace("1 of 9 subsets", "BRAVO"), wanted) == count
        assert ("bravo_index" in out) == ("bravo_index" in wanted)


def test_lists_of_fewer_pixels_are_evaluated_as_such(tmp_path, monkeypatch, capsys):
    laid_out(FULL, tmp_path / "bravo")
    monkeypatch.setenv("BENCH_DATA", str(tmp_path))
    made, lists = encoded(FULL, samples=500)
    packed(tmp_path / "bravo" / "bravo_SAMPLING.tar", lists)
    archive = packed(tmp_path / "submission.tar", made)
    argv = ["submit", "dry-run", str(archive), "--sets", "synobjs", *frames(2)]
    assert main(argv) == 0
    printed = dict(re.findall(r"^(\w+: \w+) ([0-9.]+)$", capsys.readouterr().out, re.M))
    metric = bench.Metric({"bravo": {"samples": 500}}, resamples=0)
    reader = Bravo("synobjs", "present", frames=2)
    for sample in map(reader.load, range(2)):
        raw = FULL / "raw" / reader.bases[sample.id]
        classes, levels = (np.asarray(Image.open(f"{raw}_{kind}.png")) for kind in ("pred", "conf"))
        confidence = (levels + np.float32(0.5)) / np.float32(65536)
        metric.update(confidence, sample.labels, classes, anomaly=sample.anomaly, id=sample.id)
    for figure, value in metric.compute().items():
        assert float(printed[f"synobjs: {figure}"]) == pytest.approx(value.value, abs=6e-7)
    laid_out(FULL, tmp_path / "other" / "bravo")
    other = {name: bravo_codec.write_indices(np.arange(500, dtype=np.int32)) for name in lists}
    packed(tmp_path / "other" / "bravo" / "bravo_SAMPLING.tar", other)
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "other"))
    assert main(argv) == 2
    assert "lists other pixels than the official rule draws" in capsys.readouterr().err


def test_a_few_confidences_that_wrapped_are_doubted(data, tmp_path, capsys):
    contents = members(FULL / "submission_encoded.tar")
    classes = bravo_codec.decode(contents[CHANGED]).classes
    lists = members(FULL / "bravo_SAMPLING.tar")
    indices = bravo_codec.read_indices(lists[CHANGED.replace("_encoded", "_samples")])
    levels = np.full(classes.shape, 65_000, np.uint16)
    levels.reshape(-1)[indices[:7]] = 0
    contents[CHANGED] = bravo_codec.encode(classes, levels, indices)
    assert main(["submit", "check", str(packed(tmp_path / "changed.tar", contents)), *frames(2)]) == 0
    assert f"warning: {CHANGED}: has 7 confidences of 0" in capsys.readouterr().out


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
        f"  - bravo: {{subset: {subset}, labels: present, label: {subset}, protocols: [{kind}]"
        + (", frames: 2}\n" if subset in PUBLISHED else "}\n")
        for subset, kind in SUBSETS.items()
    )
    protocols = "".join(f"  - bravo: {{judged: {kind}, label: {kind}}}\n" for kind in ("semantic", "ood", "both"))
    suite = home / "suite.yaml"
    suite.write_text(
        f"protocols:\n{protocols}models: [toynet]\ndatasets:\n{datasets}methods: [msp, maxlogit]\nbootstrap: 10\n"
        "summaries:\n  - {name: BRAVO, protocol: bravo, rule: bravo_index}\n"
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
    means = {entry["metric"]: entry for entry in summaries(made / "run", "msp")}
    assert list(means) == ["bravo_index", "semantic_hmean", "ood_hmean", *(f"{subset}_hmean" for subset in SUBSETS)]
    printed = dict(re.findall(r"^BRAVO: (\w+) ([0-9.]+),", out, re.M))
    for name, mean in means.items():
        assert float(printed[name]) == pytest.approx(mean["value"], abs=6e-7)
        assert (mean["cells"], mean["of"]) == (9, 9)
        assert mean["lo"] <= mean["value"] <= mean["hi"]


def summaries(run, method):
    return [entry for entry in json.loads((run / "summaries.json").read_text()) if entry["method"] == method]


def test_a_method_without_confidence_has_no_means_and_the_page_says_why(made):
    for mean in summaries(made / "run", "maxlogit"):
        assert mean["value"] is None
        assert "maxlogit gives no confidence" in mean["reason"]
    page = (made / "run" / "report.html").read_text()
    assert "BRAVO index" in page
    assert all(f">{subset}<" in page for subset in SUBSETS)


def means_of(run):
    return [entry for entry in summary.compute(run) if entry["method"] == "msp"]


def test_a_mean_without_one_of_its_subsets_has_no_value(made):
    run = store.read_run(made / "run")
    cut = tuple(replace(each, partial=each.labels.dataset == "SMIYC") for each in run.results)
    reasons = {entry["metric"]: entry["reason"] for entry in means_of(replace(run, results=cut))}
    assert reasons["SMIYC_hmean"] == "no full result"
    assert reasons["ood_hmean"] == reasons["bravo_index"] == "SMIYC: auroc_ood: no full result"
    assert reasons["semantic_hmean"] is None
    again = replace(run, results=(*run.results, *(each for each in run.results if each.labels.dataset == "synrain")))
    entries = {entry["metric"]: entry for entry in means_of(again)}
    assert entries["semantic_hmean"]["reason"].startswith("synrain: miou: several results")
    assert (entries["bravo_index"]["cells"], entries["bravo_index"]["of"]) == (8, 9)


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


VALIDATION = "toytown:split=train,images=4,height=48,width=96"


@pytest.fixture(scope="module")
def fitted(made):
    """The archive of a method without confidence, with one that is fitted to its score, and the tree before it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BENCH_DATA", str(made))
        assert main(isotonic(made, made / "fitted")) == 0
    return made / "fitted"


def isotonic(made, out):
    argv = ["submit", "bravo", "--run", str(made / "run"), "--method", "maxlogit", "--name", "M", *frames(2)]
    return [*argv, "--out", str(out), "--confidence", "isotonic", "--validation", VALIDATION, "--raw"]


def test_a_confidence_is_fitted_to_any_score_and_stated_in_the_card(made, fitted, monkeypatch, capsys):
    monkeypatch.setenv("BENCH_DATA", str(made))
    archive = str(fitted / "M.tar")
    assert main(["submit", "check", archive, *frames(2)]) == 0
    assert main(["submit", "dry-run", archive, "--run", str(made / "run"), "--method", "msp", *frames(2)]) == 0
    out = capsys.readouterr().out
    compared = re.findall(r"^(\w+): (\w+) .* agrees$", out, re.M)
    assert [name for _, name in compared] == ["miou"] * 8  # the confidence is another one than the run's
    card = yaml.safe_load((fitted / "card.yaml").read_text())
    assert card["confidence"].items() >= {"map": "isotonic", "fitted_on": VALIDATION, "images": 4}.items()
    assert f"isotonic regression on {VALIDATION}" in (fitted / "card.md").read_text()
    assert card["claims"] == []
    figures = dict(re.findall(r"^(\w+: \w+) ([0-9.]+)", out, re.M))
    assert float(figures["synrain: auroc"]) > 0.7
    errors = {name.removesuffix(": ece"): float(value) for name, value in figures.items() if name.endswith(": ece")}
    softmax = [result for result in store.read_run(made / "run").results if result.labels.method == "msp"]
    unfitted = {each.labels.dataset: each.metrics["ece"].value for each in softmax if each.labels.dataset in errors}
    assert len(errors) == len(unfitted) == 8
    assert sum(errors.values()) < 0.95 * sum(unfitted.values())  # of two frames each, by a fit to four others


def test_the_tree_before_it_is_encoded_holds_what_the_archive_does(fitted):
    encoded = members(fitted / "M.tar")
    assert len(encoded) == 18
    lists = members(fitted / "bravo_SAMPLING.tar")
    for name, content in encoded.items():
        base, decoded = name.removesuffix("_encoded.bin"), bravo_codec.decode(content)
        names = SPLITS[base.split("/")[0].removeprefix("bravo_")]
        classes = np.asarray(Image.open(fitted / "raw" / f"{base}{names.prediction}"))
        levels = np.asarray(Image.open(fitted / "raw" / f"{base}{names.confidence}"))
        assert (classes.dtype, levels.dtype) == (np.uint8, np.uint16)
        np.testing.assert_array_equal(classes, decoded.classes)
        indices = bravo_codec.read_indices(lists[f"{base}_samples.bin"])
        np.testing.assert_array_equal(levels.reshape(-1)[indices], decoded.confidences)


def test_the_tree_before_it_is_encoded_is_evaluated_as_the_archive_is(made, fitted, monkeypatch, capsys):
    monkeypatch.setenv("BENCH_DATA", str(made))
    assert main(["submit", "dry-run", str(fitted / "M.tar"), *frames(2)]) == 0
    printed = dict(re.findall(r"^synobjs: (\w+) ([0-9.]+)$", capsys.readouterr().out, re.M))
    maps = ["--scores", str(fitted / "raw"), "--predictions", str(fitted / "raw")]
    data = ["--dataset", "bravo:subset=synobjs,labels=present,frames=2"]
    assert main(["score", "--protocol", "bravo", *data, *maps, "--bootstrap", "0", "--format", "json"]) == 0
    folder = made / "bravo" / "bravo_synobjs"
    labels = [
        "--labels",
        str(folder),
        "--pair",
        "{id}_gt.png",
        "--invalid",
        str(folder / "polar bear" / "{id}_mask.png"),
    ]
    maps = ["--scores", str(fitted / "raw" / folder.name), "--predictions", str(fitted / "raw" / folder.name)]
    assert main(["score", "--protocol", "bravo", *labels, *maps, "--bootstrap", "0", "--format", "json"]) == 0
    texts = re.split(r"^(?={)", capsys.readouterr().out, flags=re.M)[1:]
    assert len(texts) == 2
    for text in texts:
        (evaluation,) = json.loads(text)["evaluations"]
        figures = {name: figure["value"] for name, figure in evaluation["metrics"].items()}
        assert figures.keys() == printed.keys()
        for name, value in figures.items():
            assert float(printed[name]) == pytest.approx(value, abs=6e-7)


def test_a_killed_fit_goes_on_and_ends_with_the_same_bytes(made, fitted, tmp_path, monkeypatch):
    monkeypatch.setenv("BENCH_DATA", str(made))
    counted = confidence.Count.__call__
    seen = []

    def failing(self, sample, score, labels):
        seen.append(sample)
        if len(seen) == 3:
            raise OSError(28, "No space left on device")
        counted(self, sample, score, labels)

    with monkeypatch.context() as patch:
        patch.setattr(confidence.Count, "__call__", failing)
        assert main(isotonic(made, tmp_path / "out")) == 2
    patched = []
    with monkeypatch.context() as patch:
        patch.setattr(confidence.Count, "__call__", lambda *given: (patched.append(given[1]), counted(*given)))
        assert main(isotonic(made, tmp_path / "out")) == 0
    assert 0 < len(patched) < 4
    assert (tmp_path / "out" / "M.tar").read_bytes() == (fitted / "M.tar").read_bytes()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--confidence", "isotonic"], "--confidence isotonic and --validation NAME go together"),
        (["--validation", VALIDATION], "--confidence isotonic and --validation NAME go together"),
        (["--confidence", "isotonic", "--validation", "road_anomaly"], "has no labels of Cityscapes' 19 classes"),
    ],
)
def test_what_no_confidence_can_be_fitted_to_is_refused_in_a_line(options, said, made, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("BENCH_DATA", str(made))
    argv = ["submit", "bravo", "--run", str(made / "run"), "--method", "maxlogit", "--name", "M", *frames(2)]
    assert main([*argv, "--out", str(tmp_path / "out"), *options]) == 2
    assert said in capsys.readouterr().err


def test_a_method_without_confidence_is_refused_in_a_line(made, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("BENCH_DATA", str(made))
    argv = ["submit", "bravo", "--run", str(made / "run"), "--method", "maxlogit", "--name", "M", *frames(2)]
    assert main([*argv, "--out", str(tmp_path / "out")]) == 2
    assert "takes nothing else; fit one to its score: --confidence isotonic" in capsys.readouterr().err
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

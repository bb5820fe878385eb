"""What ``bench check --estimate`` says: from runs, from a probe, from few images to many, and in how many columns."""

import json
from dataclasses import replace

import pytest
from conftest import NETWORK, write_suite

from bench.cli.main import main
from bench.models import numerics
from bench.results import store
from bench.results.measured_costs import Record
from bench.run import engine, preflight
from bench.run.estimate import measure, total
from bench.run.estimate.measure import Measured
from bench.run.estimate.text import duration
from bench.run.estimate.workload import Plan
from bench.suite import expansion as suites


class Quiet:
    """A reporter that nobody reads."""

    def begin(self, images):
        pass

    def stage(self, label):
        pass

    def advance(self, images):
        pass

    def tell(self, line):
        raise AssertionError(line)


def run(suite, out, **options):
    return list(engine.run(suite, out, engine.Options(workers=0, **options), Quiet()))


def ask(suite, measured, **how):
    checked, chosen = preflight.check(suite), numerics.resolve(suite.numerics)
    return total.of(suite, checked, chosen, Plan(lambda ref: 4, **how), measured)


def measured_from(suite, runs, images=0, folder=None, tried=None):
    checked, chosen = preflight.check(suite), numerics.resolve(suite.numerics)
    plan = Plan(lambda ref: 4)
    return measure.measure(suite, checked, chosen, plan, [store.read_run(one) for one in runs], images, tried, folder)


def recorded(out):
    """CPU seconds of a run by stage, straight from its files: what a group shares once, all else cell by cell."""
    total, shared = {}, {}
    for path in (out / "cells").glob("*.json"):
        result = json.loads(path.read_text())
        group = (result["labels"]["model"], result["labels"]["dataset"])
        for stage, seconds in result["seconds"].items():
            if stage in {"setup", "load", "predict"}:
                shared[group, stage] = seconds
            elif stage == "score":  # with one of the protocols
                key = (*group, result["labels"]["method"]), stage
                shared[key] = max(shared.get(key, 0), seconds)
            else:
                total[stage] = total.get(stage, 0) + seconds
    for (_, stage), seconds in shared.items():
        total[stage] = total.get(stage, 0) + seconds
    return total


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A suite and its run, which no test changes."""
    folder = tmp_path_factory.mktemp("finished")
    suite = suites.load(write_suite(folder))
    run(suite, folder / "run")
    return suite, folder / "run"


def test_a_finished_run_costs_what_it_cost(finished):
    suite, out = finished
    found = ask(suite, measured_from(suite, [out]))
    wanted = recorded(out)
    assert {stage: found.seconds[stage] for stage in wanted} == pytest.approx(wanted, abs=1e-9)
    assert set(found.seconds) == set(wanted), "a stage that no run recorded"
    assert {"load", "predict", "score", "count", "spool", "second", "read", "bootstrap", "slices"} <= set(wanted)
    assert found.bytes["results"] == sum(path.stat().st_size for path in (out / "cells").iterdir())
    assert (found.cells, found.groups, found.images, found.shards) == (13, 1, 10, 3)
    assert found.device == "cpu" and found.gpu_seconds == 0 and not found.left_out


def test_half_the_images_are_read_and_predicted_in_half_the_time(finished):
    suite, out = finished
    measured = measured_from(suite, [out])
    whole, half = ask(suite, measured), ask(suite, measured, limit=5)
    for stage in ("load", "predict", "score", "count", "spool", "second"):
        assert half.seconds[stage] == pytest.approx(whole.seconds[stage] / 2), stage
    assert half.seconds["setup"] == whole.seconds["setup"]
    assert any("measured at one size" in line for line in half.rests_on)


def test_a_probe_says_what_no_run_does_and_leaves_nothing_behind(tiny, tmp_path, monkeypatch, capsys):
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    assert main(["check", str(tiny), "--estimate", "--format", "json", "--workers", "0"]) == 0
    (found,) = json.loads(capsys.readouterr().out)["estimates"]
    stages = {"start", "setup", "load", "predict", "score", "count", "spool", "second", "read", "bootstrap", "slices"}
    assert stages <= found["seconds"].keys() and all(seconds > 0 for seconds in found["seconds"].values())
    assert found["total_seconds"] == pytest.approx(sum(found["seconds"].values()))
    assert found["rests_on"] == ["a probe of 4 images of each data set, made here on cpu"]
    assert [row["processes"] for row in found["wall"]] == [1, 2, 4, 8]
    assert found["bytes"]["results"] > 0 and found["memory_mb"]["process"] > 50
    assert list(here.iterdir()) == []


def test_what_a_run_says_is_not_probed(finished, tmp_path):
    suite, out = finished
    tried = []
    msp = replace(suite, cells=tuple(cell for cell in suite.cells if cell.method and cell.method.name == "msp"))
    run(msp, tmp_path / "part")

    def remember(part, folder, limit):
        tried.append((sorted({cell.method.name if cell.method else "" for cell in part.cells}), limit))
        run(part, folder, limit=limit)

    measured = measured_from(suite, [tmp_path / "part"], 4, tmp_path / "probe", remember)
    assert tried[1:] == [(["", "energy", "entropy", "maxlogit"], 2), (["", "energy", "entropy", "maxlogit"], 4)]
    assert len(measured.sources) == 2 and measured.sources[0].endswith("3 finished cells, made on cpu")
    whole = measured_from(suite, [out], 4, tmp_path / "none", remember)
    assert whole.sources == [f"{out}: 13 finished cells, made on cpu"]
    assert len(tried) == 3


def test_without_a_run_and_without_a_probe_there_is_no_answer(tiny, capsys):
    assert main(["check", str(tiny), "--estimate", "--probe", "0"]) == 2
    line = capsys.readouterr().err.strip()
    assert line.startswith("bench: tiny: no run given with --from says what anomaly / tiny / toytown[")
    assert line.endswith("/ msp costs; allow --probe 4")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--probe", "1"], "--probe is 1, wanted 2 or more, since the bootstrap begins with 2 images; 0 tries nothing"),
        (["--processes", "2,x"], "--processes is '2,x', wanted numbers from 1 to 9999, such as 1,2,4"),
        (["--processes", "0"], "--processes is '0', wanted numbers from 1 to 9999, such as 1,2,4"),
        (["--from", "nowhere"], "nowhere is not a run directory: it has no run.json; wanted what 'bench run' wrote"),
    ],
)
def test_wrong_options_are_refused_in_one_line(tiny, tmp_path, monkeypatch, capsys, options, words):
    monkeypatch.chdir(tmp_path)
    assert main(["check", str(tiny), "--estimate", *options]) == 2
    assert capsys.readouterr().err == f"bench: {words}\n"


def test_corruptions_are_read_once_each_and_the_network_is_tried_on_images_as_they_are(tmp_path):
    (tmp_path / "net.py").write_text(NETWORK)
    (tmp_path / "grid.yaml").write_text("""
protocols: [misclassification]
models: [python: {factory: "net.py:build", label: tiny}]
datasets: [toytown: {images: 6, height: 32, width: 64, corruptions: {names: [fog, contrast], severities: [1, 3]}}]
methods: [msp]
bootstrap: 20
""")
    suite, limits = suites.load(tmp_path / "grid.yaml"), []

    def tried(part, folder, limit):
        assert [cell.dataset.corruption for cell in part.cells] == [None]
        limits.append(limit)
        run(part, folder, limit=limit)

    measured = measured_from(suite, [], 4, tmp_path / "probe", tried)
    assert limits == [2, 2, 4]
    names = [json.loads(corruption) for _, corruption in measured.loads]
    assert [(one["name"], one["severity"]) for one in names] == [
        ("fog", 1),
        ("fog", 3),
        ("contrast", 1),
        ("contrast", 3),
    ]
    found = ask(suite, measured)
    assert found.seconds["load"] == pytest.approx(6 * sum(measured.loads.values()))
    assert (found.groups, found.images, found.shards) == (4, 24, 8)


def record(suite, cell, images, seconds, keys=100, exact=True, source="a run", **more):
    """A measurement of that cell with so many images."""
    spelled = cell.spelled()
    data = {"name": cell.dataset.name, "params": dict(cell.dataset.params)}
    corruption = data["params"].pop("corruption", None)
    scorer = {name: spelled["method"][name] for name in ("name", "params")}
    text = [json.dumps(one, sort_keys=True) if one else "" for one in (spelled["protocol"], spelled["model"], data)]
    text += [json.dumps(one, sort_keys=True) if one else "" for one in (corruption, scorer)]
    kept = {"memory_mb": 100.0, "bytes": 1000 * images, "device": "cpu"} | more
    return Record(
        *text, images, 2000 * images, exact, keys, seconds, kept["memory_mb"], kept["bytes"], kept["device"], source
    )


@pytest.fixture
def one_cell(tmp_path):
    """A suite of one cell of 100 images."""
    (tmp_path / "one.yaml").write_text("""
protocols: [misclassification]
models: [toynet]
datasets: [toytown: {images: 100, height: 32, width: 64}]
methods: [msp]
""")
    return suites.load(tmp_path / "one.yaml")


def test_what_grows_with_the_images_is_read_off_two_sizes(one_cell):
    (cell,) = one_cell.cells
    few = record(one_cell, cell, 2, {"predict": 0.2, "read": 1.0 + 0.02, "bootstrap": 3.0}, source="2")
    many = record(one_cell, cell, 4, {"predict": 0.4, "read": 1.0 + 0.04, "bootstrap": 3.0}, source="4")
    found = ask(one_cell, Measured([few, many]))
    assert found.seconds["predict"] == pytest.approx(10)
    assert found.seconds["read"] == pytest.approx(1 + 100 * 0.01)
    assert found.seconds["bootstrap"] == pytest.approx(3)
    assert found.bytes["results"] == 100_000
    assert not any("one size" in line for line in found.rests_on)


def test_certified_figures_grow_with_the_keys_that_occur(one_cell):
    one_cell = replace(one_cell, cells=tuple(replace(cell, budget=2**16) for cell in one_cell.cells))
    (cell,) = one_cell.cells
    few = record(one_cell, cell, 4, {"read": 0.4}, keys=4_000, exact=False, source="4")
    many = record(one_cell, cell, 16, {"read": 0.8}, keys=8_000, exact=False, source="16")
    found = ask(one_cell, Measured([few, many]))
    assert found.seconds["read"] == pytest.approx(0.4 * (100 / 4) ** 0.5)  # keys double where images quadruple
    crowded = [replace(one, keys=one.keys * 2000) for one in (few, many)]
    found = ask(one_cell, Measured(crowded))
    assert found.seconds["read"] == pytest.approx(0.8 + 0.4 * (2**24 - 16e6) / 8e6)  # there are no more keys


def test_more_processes_take_less_until_readers_or_shards_hold_them_up(one_cell):
    (cell,) = one_cell.cells
    known = Measured(
        [record(one_cell, cell, 100, {"predict": 100.0, "load": 150.0})], other=1.0, driver=2.0, worker=1.0
    )
    plan = {"processes": (1, 2, 5, 50)}
    takes = {row["processes"]: row["seconds"] for row in ask(one_cell, known, **plan).wall}
    assert takes == pytest.approx({1: 3 + 150, 2: 4 + 75, 5: 4 + 30, 50: 4 + 4})  # 25 shards: a pass is 4 s
    takes = {row["processes"]: row["seconds"] for row in ask(one_cell, known, workers=2, **plan).wall}
    assert takes == pytest.approx({1: 3 + 100, 2: 4 + 52, 5: 4 + 20, 50: 4 + 4})  # 13 of 25 shards
    takes = {row["processes"]: row["seconds"] for row in ask(one_cell, known, workers=0, **plan).wall}
    assert takes == pytest.approx({1: 3 + 250, 2: 4 + 130, 5: 4 + 50, 50: 4 + 10})
    few_cores = ask(one_cell, known, **plan).wall[-1]
    assert few_cores["seconds_here"] >= 250 / few_cores["cores_here"]


def test_time_with_a_gpu_is_said_apart(one_cell):
    (cell,) = one_cell.cells
    spent = {"predict": 100.0, "score": 5.0, "count": 7.0}
    found = ask(one_cell, Measured([record(one_cell, cell, 100, spent, device="a GPU")]))
    assert found.device == "a GPU" and found.gpu_seconds == pytest.approx(105)


def test_what_could_not_be_tried_is_named(tmp_path):
    (tmp_path / "net.py").write_text(NETWORK)
    (tmp_path / "fits.yaml").write_text("""
protocols: [misclassification]
models: [python: {factory: "net.py:build", label: tiny}]
datasets: [toytown: {images: 6, height: 32, width: 64}]
methods:
  - energy: {fit: {data: {toytown: {split: train, images: 30, height: 32, width: 64}}}, label: fitted}
  - sml: {fit: {data: {toytown: {split: train, images: 30, height: 32, width: 64}}}, label: standardised}
bootstrap: 20
""")
    suite = suites.load(tmp_path / "fits.yaml")
    measured = measured_from(
        suite, [], 4, tmp_path / "probe", lambda part, folder, limit: run(part, folder, limit=limit)
    )
    found = ask(suite, measured)
    said = "what its fit computes beside the network"
    assert found.left_out == ["standardised: it is not fitted yet", f"fitted: {said}", f"standardised: {said}"]
    assert found.seconds["fit"] > 0 and not list((tmp_path / "home").glob("fitted/*"))


def test_the_table_fits_sixty_columns(finished, capsys, monkeypatch):
    _, out = finished
    monkeypatch.setenv("COLUMNS", "60")
    assert main(["check", str(out / "suite.yaml"), "--estimate", "--from", str(out), "--probe", "0"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 60
    text = " ".join(" ".join(lines).split())  # where a line breaks depends on the length of the folder's name
    for words in ("the network ", "together", "processes", "disk, results", "memory of a process", "13 finished"):
        assert words in text
    assert not any(line.endswith("…") for line in lines), "something was cut off"


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0.04, "0.0 s"), (59.96, "1 min 00 s"), (200, "3 min 20 s"), (7500, "2 h 05 min")]
)
def test_durations(seconds, shown):
    assert duration(seconds) == shown


@pytest.mark.slow
def test_a_probe_comes_within_a_factor_of_one_and_a_half(tmp_path):
    suite = suites.load(suites.locate("toytown_c")).only({"dataset": "*fog-*"})
    measured = measured_from(
        suite, [], 4, tmp_path / "probe", lambda part, folder, limit: run(part, folder, limit=limit)
    )
    found = ask(suite, measured)
    run(suite, tmp_path / "run")
    wanted = sum(recorded(tmp_path / "run").values())
    assert wanted / 1.5 < found.total - found.seconds["other"] < wanted * 1.5

"""Experiment trackers get the figures of a run: each library in its offline or file mode, where it is installed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from running import until
from test_reports import full, result, run_of

from bench.api import Undefined
from bench.cli.main import main
from bench.core.errors import MissingPackage, UnknownName, UserError
from bench.report import trackers
from bench.report.trackers import Tracked, Tracker
from bench.results.store import Run


@pytest.fixture
def measured(tmp_path: Path) -> Run:
    return run_of(
        tmp_path / "mine", [result("msp", full(0.75)), result("rba", full(0.5) | {"ap": Undefined("no anomaly")})]
    )


def test_a_tracker_gets_every_defined_figure_by_its_full_name(measured: Run) -> None:
    given = trackers.tracked(measured)
    values = {(row["method"], row["metric"]): row["value"] for row in given.rows}
    assert given.name == "mine" and len(given.rows) == sum(len(entry.metrics) for entry in measured.results)
    assert any(value is None for value in values.values()), "else nothing undefined was tried"
    assert set(given.metrics.values()) == {value for value in values.values() if value is not None}
    assert len(given.metrics) == sum(value is not None for value in values.values())
    assert all(name.count("/") == 4 for name in given.metrics)


def test_wandb_offline_holds_the_figures(measured: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb", reason="wandb is not installed: it was given nothing")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_SILENT", "true")
    where = trackers.log(measured, trackers.tracker("wandb", {"mode": "offline"}))
    (file,) = Path(where).parent.rglob("*.wandb")
    names = [name.encode() for name in trackers.tracked(measured).metrics]
    until(lambda: all(name in file.read_bytes() for name in names))  # a process of wandb writes it


def test_mlflow_in_a_folder_holds_the_figures_and_the_table(
    measured: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mlflow = pytest.importorskip("mlflow", reason="mlflow is not installed: it was given nothing")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")  # its databases need more packages than its client
    uri = (tmp_path / "mlruns").as_uri()
    where = trackers.log(measured, trackers.tracker("mlflow", {"uri": uri}))
    client = mlflow.MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name(trackers.PROJECT)
    (run,) = client.search_runs([experiment.experiment_id])
    given = trackers.tracked(measured)
    assert run.data.metrics == {trackers.NAMES.sub("_", name): value for name, value in given.metrics.items()}
    assert run.info.run_name == "mine" and run.data.params["cells"] == str(len(measured.plan.keys))
    assert run.info.artifact_uri == where and run.info.status == "FINISHED"


def test_names_that_mlflow_would_take_for_one_are_numbered() -> None:
    names = ["anomaly/a:b/ap", "anomaly/a*b/ap", "anomaly/a_b/ap 2", "anomaly/a|b/ap", "anomaly/c/ap"]
    assert trackers.mlflow_names(names) == [
        *("anomaly/a_b/ap", "anomaly/a_b/ap 2", "anomaly/a_b/ap 2 2", "anomaly/a_b/ap 3", "anomaly/c/ap")
    ]


def test_the_settings_say_how_many_results_are_partial(measured: Run) -> None:
    cut = replace(measured, results=[replace(measured.results[0], partial=True), *measured.results[1:]])
    assert trackers.tracked(measured).config["partial"] == 0
    assert trackers.tracked(cut).config["partial"] == 1


def test_tensorboard_reads_the_figures_back(measured: Run, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="tensorboard is not installed: it was given nothing")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    where = trackers.log(measured, trackers.tracker("tensorboard", {"folder": str(tmp_path / "boards")}))
    events = EventAccumulator(where).Reload()
    given = trackers.tracked(measured).metrics
    read = {name: events.Scalars(name)[0].value for name in events.Tags()["scalars"]}
    assert read == pytest.approx(dict(given), rel=1e-6)
    assert "settings/text_summary" in events.Tags()["tensors"]


def test_trackio_on_this_machine_holds_the_figures(
    measured: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    trackio = pytest.importorskip("trackio", reason="trackio is not installed: it was given nothing")
    trackers.log(measured, trackers.tracker("trackio"))
    (run,) = trackio.Api().runs(trackers.PROJECT)
    assert run.name == "mine"


def test_unknown_trackers_parameters_and_packages_are_refused_before_any_work(
    measured: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UnknownName, match="unknown tracker 'wandbb'"):
        trackers.tracker("wandbb")
    with pytest.raises(UnknownName, match="did you mean 'folder'"):
        trackers.tracker("tensorboard", {"folders": "x"})
    monkeypatch.setattr(trackers.Wandb, "package", "no_such_package")
    with pytest.raises(MissingPackage, match="pip install wandb"):
        trackers.tracker("wandb")
    assert main(["run", "demo", "--log", "wandb", "--out", str(measured.path / "none")]) == 2
    assert "--log wandb needs the package" in capsys.readouterr().err and not (measured.path / "none").exists()


def test_what_a_service_refuses_is_one_error_that_says_how_to_try_again(measured: Run) -> None:
    class Refusing(trackers.TensorBoard):
        def log(self, tracked: Tracked, module: Any) -> str:
            raise RuntimeError("no login")

    made: Tracker = Refusing()
    with pytest.raises(UserError, match=r"tensorboard did not take .*: RuntimeError: no login") as refused:
        trackers.log(measured, made)
    assert f"bench report {measured.path} --log tensorboard tries again" in str(refused.value)


def test_a_finished_run_is_logged_by_the_command(
    measured: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("tensorboard", reason="tensorboard is not installed: it was given nothing")
    argv = ["report", str(measured.path), "--format", "csv", "--log", f"tensorboard:folder={tmp_path / 'boards'}"]
    assert main(argv) == 0
    assert f"tensorboard: {tmp_path / 'boards' / 'mine'}" in capsys.readouterr().out


def test_the_model_index_is_what_the_hub_reads(measured: Run, capsys: pytest.CaptureFixture[str]) -> None:
    cards = pytest.importorskip(
        "huggingface_hub.repocard_data", reason="huggingface_hub is not installed: the block was not read back"
    )
    from bench.core import yaml_text

    assert main(["report", str(measured.path), "--format", "model-index"]) == 0
    block = yaml_text.read(Path(capsys.readouterr().out.strip()))
    _, read = cards.model_index_to_eval_results(block["model-index"])
    figures = {(entry.metric_type, entry.metric_name, entry.metric_value) for entry in read}
    expected = {
        (name, f"{cell.definitions[name].title} ({cell.labels.method} of {cell.labels.protocol})", figure.value)
        for cell in measured.results
        for name, figure in cell.metrics.items()
        if not isinstance(figure, Undefined)
    }
    assert figures == expected and json.dumps(block)


def test_the_model_index_leaves_partial_results_out_and_is_not_written_of_them_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from bench.core import yaml_text

    whole, cut = result("msp", full(0.75)), result("rba", full(0.5), partial=True)
    run_of(tmp_path / "both", [whole, cut])
    assert main(["report", str(tmp_path / "both"), "--format", "model-index"]) == 0
    (entry,) = yaml_text.read(Path(capsys.readouterr().out.strip()))["model-index"]
    names = [metric["name"] for cell in entry["results"] for metric in cell["metrics"]]
    assert names and all("msp" in name for name in names)
    run_of(tmp_path / "cut", [cut])
    assert main(["report", str(tmp_path / "cut"), "--format", "model-index"]) == 2
    assert "no result is of a whole data set" in capsys.readouterr().err
    assert not list((tmp_path / "cut").glob("report*"))

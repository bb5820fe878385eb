"""Experiment trackers: a finished run as one run of W&B, MLflow, TensorBoard or trackio.

Each gets the same: every defined figure by the name ``protocol/data set/network/method/metric``, means as
``mean/NAME/...``, the settings that the figures depend on, a table of all figures with their intervals, and the page.
Packages are imported when they are used.
"""

from __future__ import annotations

import re
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module
from itertools import count
from pathlib import Path
from typing import Any, ClassVar

from bench.api import PlugIn
from bench.core.errors import MissingPackage, SystemRefused, UnknownName, UserError
from bench.results import records, summary
from bench.results.store import Run
from bench.suite import parameters

PAGE = "report.html"
PROJECT = "ood-seg-bench"
NAMES = re.compile(r"[^\w\-. /]")  # what MLflow takes in the name of a metric, on every system


@dataclass(frozen=True)
class Tracked:
    """The part of a run that a tracker is given."""

    name: str  # of the run directory
    config: Mapping[str, Any]  # plain values
    metrics: Mapping[str, float]  # rates from 0 to 1
    rows: list[dict[str, Any]]  # ``bench.results.records``, those without a value included
    page: Path | None  # report.html, where it was written


@dataclass(frozen=True)
class Tracker(PlugIn, ABC):
    """A place that keeps the figures of many runs."""

    package: ClassVar[str]  # what has to be imported
    install: ClassVar[str]

    @abstractmethod
    def log(self, tracked: Tracked, module: Any) -> str:
        """Write a run there by the imported package; return where it can be looked at."""


@dataclass(frozen=True)
class Wandb(Tracker):
    """Weights & Biases; ``mode: offline`` writes to the folder ``wandb`` for ``wandb sync``."""

    name: ClassVar[str] = "wandb"
    source: ClassVar[str] = "https://docs.wandb.ai/ref/python"
    package: ClassVar[str] = "wandb"
    install: ClassVar[str] = "wandb"

    project: str = PROJECT
    entity: str | None = None
    mode: str | None = None  # online, offline, disabled; else $WANDB_MODE decides

    def log(self, tracked: Tracked, module: Any) -> str:
        run = module.init(
            project=self.project, entity=self.entity, mode=self.mode, name=tracked.name, config=dict(tracked.config)
        )
        run.summary.update(dict(tracked.metrics))
        if tracked.rows:
            columns = list(tracked.rows[0])
            run.log(
                {"figures": module.Table(columns=columns, data=[[row[c] for c in columns] for row in tracked.rows])}
            )
        if tracked.page:
            run.log({"page": module.Html(str(tracked.page))})
        where = run.url or run.dir
        run.finish()
        return str(where)


@dataclass(frozen=True)
class MLflow(Tracker):
    """MLflow; ``uri`` names a server or a database, else $MLFLOW_TRACKING_URI does."""

    name: ClassVar[str] = "mlflow"
    source: ClassVar[str] = "https://mlflow.org/docs/latest/python_api"
    package: ClassVar[str] = "mlflow"
    install: ClassVar[str] = "mlflow"

    experiment: str = PROJECT
    uri: str | None = None

    def log(self, tracked: Tracked, module: Any) -> str:
        client = module.MlflowClient(tracking_uri=self.uri)
        known = client.get_experiment_by_name(self.experiment)
        experiment = known.experiment_id if known else client.create_experiment(self.experiment)
        run = client.create_run(experiment, run_name=tracked.name).info
        for name, value in tracked.config.items():
            client.log_param(run.run_id, name, str(value)[:500])  # the shortest limit of its servers
        for name, value in zip(mlflow_names(tracked.metrics), tracked.metrics.values(), strict=True):
            client.log_metric(run.run_id, name, value)
        client.log_dict(run.run_id, {"records": tracked.rows}, "figures.json")
        if tracked.page:
            client.log_artifact(run.run_id, str(tracked.page))
        client.set_terminated(run.run_id)
        return f"{run.artifact_uri}"


def mlflow_names(names: Iterable[str]) -> list[str]:
    """Return a name for each that MLflow takes; where two would be one, the later are numbered from 2 on."""
    taken: dict[str, None] = {}
    for name in names:
        plain = NAMES.sub("_", name)
        numbered = (plain if number == 1 else f"{plain} {number}" for number in count(1))
        taken[next(candidate for candidate in numbered if candidate not in taken)] = None
    return list(taken)


@dataclass(frozen=True)
class TensorBoard(Tracker):
    """TensorBoard; event files go into ``folder``."""

    name: ClassVar[str] = "tensorboard"
    source: ClassVar[str] = "https://www.tensorflow.org/tensorboard"
    package: ClassVar[str] = "tensorboard"
    install: ClassVar[str] = "tensorboard"

    folder: str = "tensorboard"

    def log(self, tracked: Tracked, module: Any) -> str:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.plugins.text.metadata import create_summary_metadata
        from tensorboard.summary.writer.event_file_writer import EventFileWriter
        from tensorboard.util.tensor_util import make_tensor_proto

        target = Path(self.folder) / tracked.name
        writer = EventFileWriter(str(target))
        values = [Summary.Value(tag=name, simple_value=value) for name, value in tracked.metrics.items()]
        settings = "\n".join(f"    {name}: {value}" for name, value in tracked.config.items())  # indented: as it is
        text = Summary.Value(
            tag="settings/text_summary",
            metadata=create_summary_metadata(display_name="settings", description=""),
            tensor=make_tensor_proto(settings, dtype="string"),
        )
        writer.add_event(Event(wall_time=time.time(), step=0, summary=Summary(value=[*values, text])))
        writer.close()
        return str(target)


@dataclass(frozen=True)
class Trackio(Tracker):
    """trackio of Hugging Face; ``space`` names a Space, else it keeps runs on this machine ($TRACKIO_DIR)."""

    name: ClassVar[str] = "trackio"
    source: ClassVar[str] = "https://huggingface.co/docs/trackio"
    package: ClassVar[str] = "trackio"
    install: ClassVar[str] = "trackio"

    project: str = PROJECT
    space: str | None = None

    def log(self, tracked: Tracked, module: Any) -> str:
        module.init(project=self.project, name=tracked.name, space_id=self.space, config=dict(tracked.config))
        module.log(dict(tracked.metrics))
        module.finish()
        return f"trackio show --project {self.project}"


TRACKERS: Mapping[str, type[Tracker]] = {cls.name: cls for cls in (Wandb, MLflow, TensorBoard, Trackio)}


def tracker(name: str, settings: Mapping[str, Any] | None = None, where: str = "--log") -> Tracker:
    """Return a tracker by name. Raises UnknownName, BadSuite for a value, MissingPackage before any work."""
    if name not in TRACKERS:
        raise UnknownName("tracker", name, TRACKERS, where)
    made: Tracker = parameters.parsed("tracker", TRACKERS[name], dict(settings or {}), where=where)
    _package(made)
    return made


def log(run: Run, to: Tracker) -> str:
    """Give a run to a tracker; return where it can be looked at. Raises UserError with the words of the package."""
    try:
        return to.log(tracked(run), _package(to))
    except OSError as error:
        raise SystemRefused.of(error) from error
    except UserError:
        raise
    except Exception as error:  # of a service: no login, no network, a name that it does not take
        raise UserError(
            f"{to.name} did not take {run.path}: {type(error).__name__}: {error}",
            f"its figures are on disk; bench report {run.path} --log {to.name} tries again",
        ) from error


def tracked(run: Run) -> Tracked:
    """Return what trackers are given of a run."""
    rows = records.records(run.results)
    fields = ("protocol", "dataset", "model", "method", "metric")
    metrics = {"/".join(_named(row, *fields)): float(row["value"]) for row in rows if row["value"] is not None}
    for entry in summary.compute(run):
        if entry["value"] is not None:
            metrics["/".join(["mean", *_named(entry, "name", "protocol", "model", "method", "metric")])] = entry[
                "value"
            ]
    page = run.path / PAGE
    return Tracked(run.path.resolve().name, _config(run), metrics, rows, page if page.is_file() else None)


def _named(row: Mapping[str, Any], *fields: str) -> list[str]:
    """Return the parts of a figure's name; a network without a method has one less."""
    return [str(row[name]) for name in fields if row[name]]


def _config(run: Run) -> dict[str, Any]:
    first = run.results[0] if run.results else None
    shared = {name: value for name, value in first.provenance.items() if isinstance(value, str)} if first else {}
    counts = {"cells": len(run.plan.keys), "finished": len(run.results)}
    counts["partial"] = sum(result.partial for result in run.results)
    return {"suite": run.plan.name, "title": run.plan.title, "note": run.plan.note} | counts | shared


def _package(of: Tracker) -> Any:
    try:
        return import_module(of.package)
    except ImportError as error:
        raise MissingPackage(
            f"--log {of.name} needs the package {of.package} ({error}); pip install {of.install}"
        ) from None

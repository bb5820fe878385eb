"""Where everything that was fitted lives: tensors with their origin, addressed by what made them."""

from __future__ import annotations

import hashlib
import json
import logging
import shlex
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import MISSING, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench.api import Dataset, Estimator, Fitting, LongTrainer, Method, Network, Prediction, Sample, State
from bench.core import files
from bench.core.errors import BadPlugin, MissingData
from bench.core.versions import numbers_of
from bench.models.numerics import Numerics
from bench.models.pipeline import Pipeline
from bench.suite import parameters, registry
from bench.suite.cells import Ref
from bench.suite.loader import Loader

log = logging.getLogger(__name__)

TOGETHER = 16  # images that a model which must see them together is shown


@dataclass(frozen=True)
class Fitted:
    """What one fit left behind."""

    key: str
    state: State
    origin: dict[str, Any]  # plug-in, model, data, digests, seed: what the key is made of
    about: dict[str, Any] = field(default_factory=dict)  # what else a long training says of itself

    def shown(self) -> dict[str, Any]:
        """For a result: the origin, and the scalars among the tensors by value."""
        scalars = {name: float(tensor) for name, tensor in self.state.items() if tensor.ndim == 0}
        return {"key": self.key, "origin": self.origin, "scalars": scalars}


def fitting_of(method: Ref) -> Fitting:
    """Return how a method is fitted that a suite fits; see ``expansion.make_ref``, which refuses any other."""
    fitting = method.build().fitting
    assert isinstance(fitting, Fitting)  # noqa: S101 - callers ask only where a suite names data
    return fitting


def methods_of(trainer: str) -> list[str]:
    """Return the names of the methods that a trainer fits; of those that need parameters nothing is known."""
    names = []
    for name, cls in registry.available("method").items():
        if (
            isinstance(cls, type)
            and issubclass(cls, Method)
            and all(entry.default is not MISSING for entry in fields(cls))
        ):
            fitting = cls().fitting
            names += [name] if isinstance(fitting, Fitting) and fitting.trainer == trainer else []
    return names


def must_fit(method: Method) -> bool:
    """Return True if a method means nothing unfitted."""
    return isinstance(method.fitting, Fitting) and method.fitting.must


def is_long(method: Ref) -> bool:
    """Return True if a method is trained by ``bench fit`` alone."""
    fitting = method.build().fitting
    if not isinstance(fitting, Fitting) or fitting.trainer is None:
        return False
    return issubclass(registry.plugin("trainer", fitting.trainer, where=method.label), LongTrainer)


def origin(
    method: Ref, model: Ref, model_digest: str, data_digest: str, seed: int, numerics: Numerics | None
) -> dict[str, Any]:
    """Everything that decides what a fit gives; its digest is the key.

    What took hours is wanted on every machine afterwards: the numerics are no part of the key of a long training.
    """
    assert method.fit is not None  # noqa: S101 - callers ask only where a suite names data
    fitting = fitting_of(method)
    own = fitting.trainer is None
    reads = method.params if fitting.reads is None else {name: method.params[name] for name in sorted(fitting.reads)}
    by: dict[str, Any] = {"method": method.name, "params": reads} if own else {"trainer": fitting.trainer}
    if is_long(method):
        by |= {"method": method.name, "params": reads, "training": method.training}
    code = (
        f"{registry.digest('method', method.name)} {method.build().digest()}".strip()
        if own
        else registry.plugin("trainer", str(fitting.trainer), where=method.label).version
    )
    made_from = {
        "by": by,
        "code": code,
        "model": (bare(model) if is_long(method) else model).spelled(),
        "model_digest": model_digest,
        "data": method.fit.spelled(),
        "data_digest": data_digest,
        "seed": seed,
    }
    if is_long(method):
        return made_from
    assert numerics is not None  # noqa: S101 - only who asks for long trainings has none
    shared = numbers_of(method.build().computations | model.build().computations, method.label)
    return made_from | {"numerics": numerics.digest(), "computations": shared}


def bare(model: Ref) -> Ref:
    """The network without what happens to whole images: scales, mirror images and sizes are no matter of a training.

    Windows stay: they say how large an image the network is for.
    """
    windows = {name: model.params["inference"][name] for name in ("stride", "window")}
    params, arguments = ({**known, "inference": windows} for known in (model.params, model.arguments))
    return replace(model, params=params, arguments=arguments)


def command(method: Ref, model: Ref, seed: int) -> str:
    """The line that trains it."""
    assert method.fit is not None  # noqa: S101 - callers ask only where a suite names data
    words = ["bench", "fit", _typed(method), "--model", _typed(bare(model)), "--data", _typed(method.fit)]
    trainer = registry.plugin("trainer", str(fitting_of(method).trainer), where="")
    usual = parameters.defaults(trainer)
    for name, value in method.training.items():
        if value != usual.get(name):
            words += ["--set", f"{name}={json.dumps(value)}"]
    return shlex.join(words + (["--seed", str(seed)] if seed else []))


def _typed(ref: Ref) -> str:
    """A plug-in as an entry of a suite, in one line: its name alone if everything is as usual."""
    usual = parameters.defaults(registry.plugin(ref.kind, ref.name, where=ref.label))
    shown = {name: value for name, value in ref.arguments.items() if value != usual.get(name)}
    if "inference" in shown:  # only its windows are here
        own = {name: value for name, value in shown.pop("inference").items() if value != usual["inference"][name]}
        shown |= {"inference": own} if own else {}
    if names := shown.get("class_map"):
        shown["class_map"] = names["classes"]
    return json.dumps({ref.name: shown}) if shown else ref.name


def key_of(made_from: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(made_from, sort_keys=True).encode()).hexdigest()[:16]


def path_of(key: str) -> Path:
    return files.home() / "fitted" / f"{key}.safetensors"


def load(key: str) -> Fitted:
    """Read a fit back; safetensors holds no code."""
    from safetensors import SafetensorError, safe_open

    path = path_of(key)
    log.debug("%s: read what was fitted before", path)
    try:
        with safe_open(path, framework="numpy") as file:
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
            made_from = json.loads((file.metadata() or {})["origin"])
            return Fitted(key, state, made_from, made_from.pop("about", {}))
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise MissingData(f"{path} cannot be read: {error}; delete it and it will be fitted again") from None


def estimate(
    method_ref: Ref,
    network: Network,
    made_from: Mapping[str, Any],
    loader: Loader,
    numerics: Numerics,
    advance: Callable[[int], None],
) -> State:
    """Return the tensors of a fit by name; the seed is the one in ``made_from``."""
    trainer = fitting_of(method_ref).trainer
    fitter = method_ref.build() if trainer is None else registry.build("trainer", trainer, {}, where=method_ref.label)
    if not isinstance(fitter, Method | Estimator):
        raise BadPlugin(f"{method_ref.label}: the trainer {trainer} is no estimator of methods")
    with torch.no_grad(), closing(Pipeline(network, loader, numerics, made_from["seed"])) as pipeline:
        state: State = fitter.fit(_stream(pipeline, advance), made_from["seed"])
    if not all(isinstance(tensor, np.ndarray) and np.isfinite(tensor).all() for tensor in state.values()):
        raise BadPlugin(f"{method_ref.label}: its fit must return finite NumPy arrays by name")
    return state


def write(state: State, made_from: dict[str, Any], about: Mapping[str, Any] | None = None) -> Fitted:
    from safetensors.numpy import save

    key = key_of(made_from)
    tensors = {name: np.ascontiguousarray(tensor).reshape(tensor.shape) for name, tensor in state.items()}
    # One entry only: safetensors writes several in no fixed order, and equal fits must give equal files.
    content = save(tensors, {"origin": json.dumps(made_from | ({"about": dict(about)} if about else {}))})
    with files.writing(path_of(key)) as file:
        file.write(content)
    return Fitted(key, state, made_from, dict(about or {}))


def _stream(pipeline: Pipeline, advance: Callable[[int], None]) -> Iterator[tuple[Prediction, Sample]]:
    count = len(pipeline.loader.dataset.ids())
    for start in range(0, count, TOGETHER):
        shard = range(start, min(start + TOGETHER, count))
        ahead = range(shard.stop, min(shard.stop + TOGETHER, count))
        for seen in pipeline.images(shard, ahead):
            yield seen.predictions[1], seen.sample
            advance(1)


def data_of(method: Ref) -> Dataset:
    assert method.fit is not None  # noqa: S101 - as in ``origin``
    data: Dataset = method.fit.build()
    if lacking := fitting_of(method).needs - data.annotations:
        raise MissingData(f"{method.label}: {method.fit.label} has no {' and no '.join(sorted(lacking))} to fit on")
    return data

"""Networks made out of networks: what ``bench fit`` does with a trainer of that kind."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from bench.api import Dataset, Finetuner, Prediction, Quantity, Sample, Source, TrainingContext
from bench.contract.progress import Reporter
from bench.core import files, yaml_text
from bench.core.errors import BadSuite, MissingData, UsageError
from bench.core.weights import tensors_digest
from bench.models import inference, numerics, retrained
from bench.run import train
from bench.suite import parameters, registry
from bench.suite.cells import Ref
from bench.suite.expansion import make_ref
from bench.suite.loader import Loader
from bench.suite.schema import NumericsRule

Named = tuple[str, Mapping[str, Any]]  # an entry: its name and its parameters


@dataclass(frozen=True)
class Done:
    """One network, and whether it was there already."""

    path: Path
    new: bool
    origin: Mapping[str, Any]
    entry: str  # how a suite names it, as YAML


def is_finetuner(name: str) -> bool:
    """Return True if a name is that of a trainer of networks."""
    trainer = registry.available("trainer").get(name)
    return isinstance(trainer, type) and issubclass(trainer, Finetuner)


def run(
    trainer: Named,
    model: Named,
    data: Named,
    seeds: Sequence[int],
    options: train.Options,
    reporter: Reporter,
    out: Path | None = None,
) -> Iterator[Done]:
    """Train one network for each seed that has none yet; with several seeds each adds its own to the name ``out``."""
    trainer_ref = make_ref("trainer", *trainer, Path("fit"), seeds[0])
    model_ref = make_ref("model", *model, Path("--model"), seeds[0])
    finetuner: Finetuner = trainer_ref.build()
    sets: dict[str, Ref] = {"": make_ref("dataset", *data, Path("--data"), seeds[0])}
    for name in parameters.entries(type(finetuner)):
        ((inner, params),) = trainer_ref.arguments[name].items()
        sets[name] = make_ref("dataset", inner, params, Path(f"{name} of {trainer_ref.name}"), seeds[0])
    built: dict[str, Dataset] = {name: ref.build() for name, ref in sets.items()}
    if "labels" not in built[""].annotations:
        raise MissingData(f"{trainer_ref.name}: {sets[''].label} has no labels to train on")
    for name, dataset in built.items():
        if name and "anomaly" not in dataset.annotations:
            raise BadSuite(f"{trainer_ref.name}: {name} is {sets[name].label}, which shows no anomalies")
        dataset.check()
    base = model_ref.build()
    base.check()
    if built[""].class_names != base.class_names:
        raise BadSuite(f"{model_ref.label} and {sets[''].label} name different classes")
    made_from = {
        "by": {"trainer": trainer_ref.name, "training": trainer_ref.params, "version": finetuner.version},
        "model": retrained.spelled(base),
        "model_digest": base.digest(),
        "data": sets[""].spelled(),
        "data_digest": built[""].digest(),
        **{name: sets[name].spelled() for name in sets if name},
        **{f"{name}_digest": built[name].digest() for name in sets if name},
    }
    plan = {seed: _place(made_from | {"seed": seed}, seed, seeds, out) for seed in seeds}
    todo = [seed for seed, (path, key) in plan.items() if not _is_there(path, key)]
    reporter.begin(len(todo) * finetuner.images(built[""], {name: dataset for name, dataset in built.items() if name}))
    for seed, (path, key) in plan.items():
        label = f"retraining {model_ref.label}" + (f", seed {seed}" if len(seeds) > 1 else "")
        if seed in todo:
            reporter.stage(label)
            _train(finetuner, model_ref, sets, made_from | {"seed": seed}, key, label, path, options, reporter)
        shown = {model_ref.name: parameters.departures(model_ref.arguments, parameters.defaults(type(base)))}
        entry = yaml_text.dump({"retrained": {"base": shown, "weights": str(path)}}, width=1000)
        yield Done(path, seed in todo, retrained.read_origin(path), entry)


def _place(made_from: dict[str, Any], seed: int, seeds: Sequence[int], out: Path | None) -> tuple[Path, str]:
    """Where the weights of one seed go, and the key of what made them."""
    key = hashlib.sha256(json.dumps(made_from, sort_keys=True).encode()).hexdigest()[:16]
    if out is None:
        return files.home() / "retrained" / f"{key}.safetensors", key
    if out.suffix != ".safetensors":
        raise UsageError(f"--out is {out}, wanted a .safetensors file")
    return (out.with_stem(f"{out.stem}-seed{seed}") if len(seeds) > 1 else out), key


def _is_there(path: Path, key: str) -> bool:
    """Whether it was made already; a file that something else made is not written over."""
    if not path.is_file():
        return False
    if retrained.read_origin(path).get("key") != key:
        raise UsageError(f"{path} holds weights that were trained otherwise; name another --out, or remove it")
    return True


def _train(
    finetuner: Finetuner,
    model: Ref,
    sets: Mapping[str, Ref],
    made_from: dict[str, Any],
    key: str,
    label: str,
    path: Path,
    options: train.Options,
    reporter: Reporter,
) -> None:
    """Train, and keep it. What a killed training left in its folder is taken up."""
    resolved = numerics.resolve(NumericsRule(device=options.device, threads=options.threads))
    network = train.loaded(model, resolved)
    base = tensors_digest(network.module().state_dict())
    folder = files.home() / "training" / key

    asked: dict[Quantity, None] = {}

    def predict(sample: Sample) -> Prediction:
        return inference.look(network, sample, resolved, made_from["seed"], asked)[1]

    def advance(images: int, status: str) -> None:
        reporter.stage(f"{label}, {status}")
        reporter.advance(images)

    with ExitStack() as stack:
        sources = {}
        for name, ref in sets.items():
            loader = stack.enter_context(Loader(ref.build(), ref, options.workers))
            sources[name] = Source(loader.dataset, partial(_in_order, loader))
        log, close = train.curves(options.tensorboard)
        stack.callback(close)
        context = TrainingContext(
            network,
            sources.pop(""),
            sources,
            predict,
            made_from["seed"],
            resolved.device,
            folder,
            advance,
            log,
        )
        state, about = finetuner.finetune(context)
    _write(path, state, made_from | {"key": key, "base_digest": base, "about": dict(about)})
    shutil.rmtree(folder, ignore_errors=True)  # a checkpoint of what is whole now


def _in_order(loader: Loader, indices: Sequence[int], ahead: Sequence[int]) -> Iterator[Sample]:
    return loader.samples(indices, ahead)


def _write(path: Path, state: Mapping[str, np.ndarray], origin: Mapping[str, Any]) -> None:
    from safetensors.numpy import save

    tensors = {name: np.ascontiguousarray(tensor).reshape(tensor.shape) for name, tensor in state.items()}
    # One entry only: safetensors writes several in no fixed order, and equal trainings must give equal files.
    content = save(tensors, {retrained.ORIGIN: json.dumps(origin, sort_keys=True)})
    with files.writing(path) as file:
        file.write(content)

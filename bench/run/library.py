"""``bench.run`` and ``bench.evaluate``: what ``bench run`` does, called from Python."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from bench.api import CITYSCAPES, Dataset, Inference, Method, Protocol, SegModel
from bench.core.errors import BadPlugin, UsageError
from bench.datasets.in_memory import Images, lent_images
from bench.models import in_memory, numerics
from bench.models.in_memory import RGB
from bench.models.scorer import Scorer
from bench.report import claims
from bench.report.run import Run, load
from bench.run import engine, progress
from bench.run.engine import Options
from bench.suite import arguments, expansion, placing
from bench.suite.by_name import Samples
from bench.suite.cells import Suite
from bench.suite.entries import entry, held_images, protocols_for, several, truth_for
from bench.suite.schema import Entry, NumericsRule

if TYPE_CHECKING:
    from torch import Tensor

Named = str | Mapping[str, Mapping[str, object] | None]
"""An entry of a suite: a name, ``energy:temperature=2`` as on the command line, or ``{"energy": {"temperature": 2}}``
as in a suite."""
AnyMethod = Named | Method | Scorer
AnyModel = Named | SegModel
AnyData = Named | Dataset | Samples
AnyImages = Images | Mapping[str, Images]
AnyNetwork = AnyModel | Callable[["Tensor"], Any]  # what a network returns is looked at when it is called


def run(
    suite: str | Path | Mapping[str, object],
    out: Path | str | None = None,
    *,
    method: AnyMethod | Sequence[AnyMethod] = (),
    model: AnyModel | Sequence[AnyModel] = (),
    only: Mapping[str, str] | str | None = None,
    limit: int | None = None,
    processes: int | None = None,
    workers: int = 0,
    keep_maps: bool = False,
    gallery: int = 4,
    progress: bool | None = None,
) -> Run:
    """Compute what is missing of a suite, and return the run: the cells, keys and figures of ``bench run``.

    ``suite`` is a file, the name of a shipped one, or what a file holds. ``out`` is the run directory, by default
    ``runs/<name of the suite>``; called again, it goes on where it stopped. ``method`` and ``model`` replace those of
    the suite, ``only`` keeps some cells, such as ``{"dataset": "toytown*"}``, and ``limit`` takes the first images
    alone. ``processes`` hold a network each, one for each GPU unsaid; ``workers`` read images ahead of each: a script
    that has any stands below ``if __name__ == "__main__":``. ``gallery`` is how many images of each set the page shows.
    ``progress`` shows a bar: None where somebody watches, a terminal or a notebook.

    Raises CellsFailed at the end if some cells have no figures; ``bench.load`` has the others.
    """
    _require_limit(limit)
    replacing = {
        axis: [_entry(each) for each in several(entries)]
        for axis, entries in (("methods", method), ("models", model))
        if several(entries)
    }
    if isinstance(suite, Mapping):
        expanded = expansion.expanded(suite, Path("suite"), replacing)
    else:
        expanded = expansion.load(expansion.locate(str(suite)), replacing)
    if only:
        if not isinstance(only, str | Mapping):
            raise UsageError(f"bench.run: only is {type(only).__name__}, wanted a mapping such as {{'method': 'msp'}}")
        expanded = expanded.only(arguments.patterns(only) if isinstance(only, str) else only)
    expanded = placing.present(expanded)
    for rule in expanded.claims:
        claims.chosen(rule.model_dump())
    options = Options(limit=limit, processes=processes, workers=workers, keep_maps=keep_maps, gallery=gallery)
    return _completed(expanded, Path(out) if out is not None else Path("runs", expanded.name), options, progress)


def evaluate(
    network: AnyNetwork,
    data: AnyData | Sequence[AnyData] | AnyImages,
    methods: AnyMethod | Sequence[AnyMethod] = ("msp", "maxlogit", "energy", "entropy"),
    *,
    protocols: Named | Protocol | Sequence[Named | Protocol] = (),
    out: Path | str | None = None,
    name: str = "",
    classes: Sequence[str] | None = None,
    outputs: Sequence[str] = ("logits",),
    mean: RGB = (0.0, 0.0, 0.0),
    std: RGB = (1.0, 1.0, 1.0),
    scale: float = 255.0,
    channels: str = "rgb",
    inference: Inference | Mapping[str, object] | None = None,
    device: str = "auto",
    limit: int | None = None,
    seed: int = 0,
    bootstrap: int = 1000,
    workers: int = 0,
    keep_maps: bool = False,
    gallery: int = 4,
    progress: bool | None = None,
) -> Run:
    """Evaluate a network on data sets with methods, and return the run.

    ``network`` is a ``torch.nn.Module`` or another callable that maps float32 [1, 3, h, w], pixels (x / ``scale`` -
    ``mean``) / ``std`` in the order of ``channels``, to logits [1, C, h', w'], or to a mapping with them under
    ``logits`` or ``out``; a model of transformers, of which ``mean`` and ``std`` must be said; or an entry of a suite.
    ``classes`` name the logits, by default as the network's own config does, else the 19 of Cityscapes; ``outputs``
    name what else a mapping holds for methods. A module is put on ``device`` in evaluation mode meanwhile.

    ``data`` are data sets by name, as in a suite, ``bench.dataset``, or a ``Dataset`` of one's own; or images
    themselves: an iterable of (image, labels) or (image, labels, id), a data set or a DataLoader of torch, or
    ``{name: images}``. Those are uint8 RGB, or divided by 255, [3, h, w] or [h, w, 3], one or a batch; labels [H, W]
    are masks, 0 normal, 1 anomaly, 255 ignored, or train ids where the protocols ask for classes.

    ``methods`` may be instances of one's own ``Method``, too. ``protocols`` are by default those that the labels of the
    data allow; of images themselves ``anomaly``. ``name`` is what results call the network; ``out`` is by default
    ``runs/<name>``. The other arguments are those of ``bench.run`` and of a suite.
    """
    _require_limit(limit)
    asked = [entry(each) for each in several(protocols)]
    held = held_images(data, workers)
    sets = [] if held else several(data)
    if not sets and not held:
        raise UsageError("bench.evaluate: data names no data set; say one, such as data='road_anomaly'")
    own: in_memory.Forward | None = None
    if isinstance(network, str | Mapping | SegModel):
        model = entry(network)
        if (
            classes is not None
            or inference is not None
            or tuple(outputs) != ("logits",)
            or (mean, std) != in_memory.AS_THEY_ARE
        ):
            raise UsageError(
                "bench.evaluate: classes, outputs, mean, std and inference stand in the entry of the suite"
            )
    else:
        if isinstance(network, type) or not callable(network):
            what = network.__name__ if isinstance(network, type) else type(network).__name__
            raise UsageError(f"bench.evaluate: network is {what}, wanted a torch.nn.Module or a function, or an entry")
        in_memory.require_pixels(mean, std, scale)
        own = cast(in_memory.Forward, network)
        name = name or in_memory.name_of(network)
        settings = {"scale": scale, "mean": list(mean), "std": list(std), "channels": channels}
        settings |= {"outputs": list(outputs), "label": name}
        if in_memory.is_of_transformers(network):
            if (mean, std) == in_memory.AS_THEY_ARE:
                raise BadPlugin(
                    f"bench.evaluate: {name} is a model of transformers; say mean= and std=, the image_mean and"
                    " image_std of its image processor"
                )
            classes = classes or in_memory.classes_of(network)
        if classes is not None:
            settings["classes"] = list(classes)
        if inference is not None:
            settings["inference"] = _inference(inference)
        model = {"in_memory": {"network": name, **settings}}
    truth = truth_for(asked) if held else "anomaly"
    of_classes = {"classes": list(classes)} if classes is not None and truth == "labels" else {}
    entries = [entry(each) for each in sets]
    entries += [{"in_memory": {"images": label, "truth": truth, "label": label, **of_classes}} for label in held]
    suite: dict[str, object] = {
        "name": name or "evaluation",
        "title": f"Evaluation of {name}" if name else "Evaluation",
        "models": [model],
        "datasets": entries,
        "methods": [_entry(each) for each in several(methods)],
        "protocols": asked or (["anomaly"] if held else protocols_for(entries)),
        "numerics": {"device": device},
        "seed": seed,
        "bootstrap": bootstrap,
    }
    options = Options(limit=limit, processes=1, workers=workers, keep_maps=keep_maps, gallery=gallery)
    with ExitStack() as stack:
        if own is not None:
            resolved = numerics.resolve(NumericsRule.model_validate({"device": device})).device
            stack.enter_context(in_memory.lent(name, own, resolved))
        for label, images in held.items():
            count = len(classes or CITYSCAPES)
            stack.enter_context(lent_images(label, images, truth, count))
        expanded = expansion.expanded(suite, Path("bench.evaluate"))
        return _completed(expanded, Path(out) if out is not None else Path("runs", expanded.name), options, progress)


def _require_limit(limit: object) -> None:
    if limit is not None and (not isinstance(limit, int) or limit < 1):
        raise UsageError(f"limit is {limit!r}, wanted a whole number of images from 1 on, or None for all")


def _completed(suite: Suite, folder: Path, options: Options, bar: bool | None) -> Run:
    """Compute what is missing of a suite; the settings of torch are as they were afterwards."""
    command = shlex.join(["bench", "run", str(folder / "suite.yaml"), "--out", str(folder)])
    with progress.shown(bar) as reporter, numerics.kept():
        for remark in (*suite.remarks, *suite.left_out):
            reporter.tell(remark)
        for result in engine.run(suite, folder, replace(options, command=command), reporter):
            reporter.tell(f"{result.labels}: finished")
    return load(folder)


def _entry(argument: object) -> Entry:
    return entry(argument.method if isinstance(argument, Scorer) else argument)


def _inference(inference: Inference | Mapping[str, object]) -> dict[str, object]:
    if isinstance(inference, Mapping):
        return dict(inference)
    return {name: list(value) if isinstance(value, tuple) else value for name, value in vars(inference).items()}

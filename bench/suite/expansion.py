"""Read a suite file and spell out every cell it asks for. Nothing is loaded or run here."""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from functools import cached_property, partial
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, get_args

from pydantic import ValidationError

from bench.api import Dataset, Fitting, Method, PlugIn, SegModel
from bench.core import suggestions, yaml_text
from bench.core.errors import BadSuite, UnknownName, UsageError
from bench.core.yaml_text import Lines
from bench.suite import limits, parameters, placing, registry, rules
from bench.suite.cells import AXES, Cell, Ref, Suite, ordered
from bench.suite.kinds import Kind
from bench.suite.schema import ClaimRule, Entry, NumericsRule, PointRule, Section, SuiteFile, SummaryRule
from bench.suite.wrappers import class_map, corrupted, departures
from bench.suite.wrappers.corrupted import Corruption

# What an entry may restrict itself to.
CHOOSES: Mapping[Kind, tuple[Kind, ...]] = {
    "protocol": ("model", "method"),
    "dataset": ("protocol", "model", "method"),
    "model": ("method",),
    "method": ("model", "dataset"),
}


NO_LINES: Lines = {}  # of a suite that no file holds


def shipped() -> dict[str, Path]:
    """The suites that come with the package, by name."""
    folder = resources.files("bench.suites")
    paths = (Path(str(file)) for file in folder.iterdir() if file.name.endswith(".yaml"))
    return {path.stem: path for path in sorted(paths, key=lambda path: path.stem)}


def locate(name: str) -> Path:
    """A suite file by path, or a shipped one by its name."""
    path = Path(name)
    if path.is_file():
        return path
    known = shipped()
    if path.stem in known and name in {path.stem, f"suites/{path.stem}.yaml"}:
        return known[path.stem]
    if path.is_dir():
        inside = path / "suite.yaml"
        advice = f"; its suite is {inside}" if inside.is_file() else ""
        raise UsageError(f"{name}: is a folder, wanted a suite{advice}")
    if path.suffix or len(path.parts) > 1:
        advice = suggestions.sibling(path) or f"; shipped suites: {', '.join(known)}"
        raise UsageError(f"{name}: no such file{advice}")
    beside = [file.name for file in Path().glob("*.y*ml")]
    raise UnknownName("suite", name, [*known, *beside], "run")


def load(path: Path, replacing: Mapping[str, Sequence[Entry]] | None = None) -> Suite:
    """Parse, expand and check a suite; ``replacing`` puts other entries on an axis, such as ``{"methods": ["msp"]}``.

    Every name and every parameter is tried here, before any weight is read.
    """
    raw, lines = yaml_text.read_located(path)
    if not isinstance(raw, dict):
        raise BadSuite(f"{path}: wanted a mapping with the keys {', '.join(SuiteFile.model_fields)}")
    return expanded(raw, path, replacing, lines)


def expanded(
    raw: Mapping[str, Any], path: Path, replacing: Mapping[str, Sequence[Entry]] | None = None, lines: Lines = NO_LINES
) -> Suite:
    """``load`` of what a suite file holds; ``path`` is to be blamed, and files are relative to its folder."""
    file = _parse(dict(raw) | {axis: list(entries) for axis, entries in (replacing or {}).items()}, path, lines)
    # What the command line names is blamed on its option, and its paths are relative to the current folder.
    options = {axis: Path(f"--{axis}") for axis in AXES if f"{axis}s" in (replacing or {})}
    axes: dict[Kind, list[Ref]] = {}
    for axis in AXES:
        blamed = [
            options[axis] if axis in options else rules.at(path, lines, f"{axis}s", index)
            for index in range(len(getattr(file, f"{axis}s")))
        ]
        axes[axis] = list(_refs(axis, getattr(file, f"{axis}s"), blamed, file.seed))
    read_method = partial(_method, path=path, seed=file.seed)
    joined: list[str] = []
    if "model" in options and "method" not in options:  # networks that a suite was not written for bring their methods
        for entry, remark in list(rules.claimed_methods(axes, read_method)):
            axes["method"].append(read_method(entry))
            joined.append(remark)
    remarks = (
        *rules.idle_summaries(axes, file, path, lines), *rules.lone_points(axes, file, path, lines), *joined,
    )  # fmt: skip
    rules.check_points(axes, file, path, lines)
    claims = tuple(rules.claims(axes, file, path, lines, options))
    claims += tuple(rules.claims_of_networks(axes, claims, read_method))
    _drop_idle(axes, options)
    _check_labels(axes, path)
    cells = tuple(_cells(axes, file, path))
    name = file.name or path.stem
    text: dict[str, Any] = {"name": name, "title": file.title, "note": file.note}
    text |= {f"{axis}s": [_entry(ref) for ref in refs] for axis, refs in axes.items()}
    text |= file.model_dump(
        include={"seed", "budget", "bootstrap", "resample", "numerics", "summaries", "operating_points"}
    )
    if claims:
        text["claims"] = [claim.model_dump() for claim in claims]
    return Suite(
        name,
        cells,
        cells,
        file.title,
        file.note,
        file.numerics,
        tuple(file.summaries),
        tuple(file.operating_points),
        yaml_text.dump(text),
        remarks,
        claims,
    )


def _method(entry: Entry, *, path: Path, seed: int) -> Ref:
    return next(_refs("method", [entry], [path], seed))


def _parse(raw: dict[str, Any], path: Path, lines: Lines) -> SuiteFile:
    try:
        return SuiteFile.model_validate(raw)
    except ValidationError as error:
        # A mistyped key is also a missing one: the typo is the better news.
        first = min(error.errors(), key=lambda problem: problem["type"] != "extra_forbidden")
        keys = [str(part) for part in first["loc"]]
        path = rules.at(path, lines, *first["loc"])
        if first["type"] == "extra_forbidden":
            sections: dict[str, type[Section]] = {
                "numerics": NumericsRule,
                "summaries": SummaryRule,
                "operating_points": PointRule,
                "claims": ClaimRule,
            }
            owner = sections.get(keys[0], SuiteFile)
            raise UnknownName("key", keys[-1], owner.model_fields, str(path)) from None
        if first["type"] == "missing":
            raise BadSuite(f"{path}: missing {'.'.join(keys)}") from None
        if first["type"] == "list_type":
            raise BadSuite(f"{path}: {keys[0]}: {first['input']!r} must be a list, even of one") from None
        told = parameters.refused_value(first["input"], _type_of(first["loc"]))
        raise BadSuite(f"{path}: {'.'.join(keys)} {told}") from None


def _type_of(keys: Sequence[str | int]) -> Any:
    """The type of what these keys of a suite lead to."""
    section: Any = SuiteFile
    for key in keys:
        if isinstance(section, type) and issubclass(section, Section) and key in section.model_fields:
            field = section.model_fields[str(key)]
            section = Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation
        elif isinstance(key, int) and get_args(section):
            section = get_args(section)[0]
    return section


def _drop_idle(axes: dict[Kind, list[Ref]], replaced: Collection[Kind]) -> None:
    """Leave out entries that are for others than the ones which the command line put in place of the suite's."""
    for axis, kinds in CHOOSES.items():
        for other in kinds:
            if other in replaced:
                listed = {name for ref in axes[other] for name in (ref.name, ref.label)}
                axes[axis] = [ref for ref in axes[axis] if listed.intersection(ref.only_for.get(other, listed))]


def _check_labels(axes: Mapping[Kind, list[Ref]], path: Path) -> None:
    """Two things of one label could not be told apart, on a page or in a spool."""
    for axis, refs in axes.items():
        seen: dict[str, Ref] = {}
        for ref in refs:
            first = seen.setdefault(ref.label, ref)
            if (first, first.class_map) != (ref, ref.class_map):
                differ = " (their files differ)" if first.params.get("digests") != ref.params.get("digests") else ""
                raise BadSuite(
                    f"{path}: two {axis}s have the label {ref.label!r}{differ}; give each a label of its own,"
                    " label: NAME beside its parameters"
                )
    for refs in axes.values():
        for ref in refs:
            for others, names in ref.only_for.items():
                listed = {name for other in axes[others] for name in (other.name, other.label)}
                for name in sorted(set(names) - listed):
                    registry.plugin(others, name, where=str(path))  # an entry may be for what this suite leaves out
                if listed.isdisjoint(names):
                    raise BadSuite(f"{path}: {ref.label} is for {', '.join(names)}, which the suite does not list")


def _cells(axes: Mapping[Kind, list[Ref]], file: SuiteFile, path: Path) -> Iterator[Cell]:
    # Two entries of one data set may differ in a class map that fits no network, two networks in files that are absent.
    seen: set[tuple[Cell, str, str]] = set()
    absent = {ref.label for ref in axes["model"] if placing.lacks_files(ref)}
    scored = {ref: registry.plugin("protocol", ref.name, where=str(path)).reads for ref in axes["protocol"]}
    if any(scored.values()) and not axes["method"]:
        raise BadSuite(f"{path}: missing methods, which {next(ref.name for ref in scored if scored[ref])!r} ranks")
    _check_number(
        (max(len(refs), 1) for refs in axes.values()), "protocols x models x datasets x methods", "cells", path
    )
    named = _Named(axes["model"], path)
    for protocol, model, dataset in itertools.product(axes["protocol"], axes["model"], axes["dataset"]):
        if not (_for(dataset, protocol) and _for(dataset, model) and _for(protocol, model)):
            continue
        data = named.under(dataset, model)
        for entry in axes["method"] if scored[protocol] else [None]:
            if entry and not all(
                map(_for, (dataset, model, protocol, entry, entry), (entry, entry, entry, model, dataset))
            ):
                continue
            method = replace(entry, fit=named.under(entry.fit, model)) if entry and entry.fit else entry
            cell = Cell(protocol, model, data, method, file.seed, file.budget, file.bootstrap, file.resample)
            known = cell, str(data.class_map), model.label if model.label in absent else ""
            if known in seen:
                raise BadSuite(f"{path}: {cell} stands there twice")
            seen.add(known)
            yield cell


def _for(ref: Ref, other: Ref) -> bool:
    chosen = ref.only_for.get(other.kind)
    return chosen is None or other.name in chosen or other.label in chosen


class _Named:
    """Data sets under the class names of the networks that they meet."""

    def __init__(self, models: Sequence[Ref], path: Path) -> None:
        self.models, self.path = models, path

    @cached_property
    def _classes(self) -> Mapping[Ref, tuple[str, ...]]:
        built: dict[Ref, SegModel] = {model: model.build() for model in self.models}
        return {ref: model.class_names for ref, model in built.items()}

    def under(self, dataset: Ref, model: Ref) -> Ref:
        """Return the data set as that network names its classes, or as it is where no ``class_map`` fits."""
        if dataset.class_map is None:
            return dataset
        data: Dataset = dataset.build()
        classes = class_map.resolved(data.class_names, dataset.class_map, where=str(self.path))
        if class_map.strangers(classes, self._classes[model]):
            if all(class_map.strangers(classes, names) for names in self._classes.values()):
                advice = class_map.advice(data.class_names, dataset.class_map, self._classes[model])
                raise BadSuite(f"{self.path}: {dataset.label}: {advice}")
            return dataset  # for another network; this pair is not applicable

        renaming = {"class_map": class_map.spelled(classes, self._classes[model])}
        params, arguments = (ordered({**known, **renaming}) for known in (dataset.params, dataset.arguments))
        return replace(dataset, params=params, arguments=arguments, class_map=None)


def _refs(kind: Kind, entries: Sequence[Entry], blamed: Sequence[Path], seed: int) -> Iterator[Ref]:
    """Expand ``energy`` and ``{energy: {sweep: {temperature: [1, 2]}}}`` into refs.

    Only what stands under ``sweep`` multiplies, and the ``corruptions`` of a data set; a list anywhere else is one
    list-valued parameter.
    """
    for entry, path in zip(entries, blamed, strict=True):
        name, spelled = _single(entry, path)
        sweep = spelled.pop("sweep", {})
        if not isinstance(sweep, dict) or not all(isinstance(values, list) and values for values in sweep.values()):
            raise BadSuite(f"{path}: sweep of {name!r} must name parameters with a list of values each")
        if twice := sweep.keys() & spelled.keys():
            raise BadSuite(f"{path}: {min(twice)!r} of {name!r} stands in sweep and beside it")
        _check_number(map(len, sweep.values()), f"the sweep of {name!r}", "entries", path)
        for values in itertools.product(*sweep.values()):
            params = spelled | dict(zip(sweep, values, strict=True))
            if kind == "dataset" and "corruptions" in params:
                grid = corrupted.expanded(params.pop("corruptions"), where=f"{path}: {name}")
                if "corruption" in params:
                    raise BadSuite(f"{path}: {name}: corruption and corruptions exclude each other")
                for corruption in grid:
                    yield make_ref(kind, name, params | {"corruption": corruption}, path, seed)
            else:
                yield make_ref(kind, name, params, path, seed)


def _check_number(factors: Iterable[int], what: str, units: str, path: Path) -> None:
    """Raise BadSuite where a product has more parts than anybody can mean."""
    if (number := math.prod(factors)) > limits.CELLS:
        raise BadSuite(f"{path}: {what} comes to {number} {units}, and {limits.CELLS} are the most that are taken")


def _single(entry: Entry, path: Path) -> tuple[str, dict[str, Any]]:
    if isinstance(entry, str):
        return entry, {}
    if len(entry) != 1:
        raise BadSuite(f"{path}: {dict(entry)} must be one name with its parameters")
    ((name, params),) = entry.items()
    if params is not None and not isinstance(params, dict):
        raise BadSuite(f"{path}: {name}: {params!r} must be parameters by name")
    return str(name), dict(params or {})


def make_ref(kind: Kind, name: str, spelled: Mapping[str, Any], path: Path, seed: int) -> Ref:
    """Resolve one entry; relative paths in it are relative to the folder of the suite file."""
    spelled = dict(spelled)
    label, fit = spelled.pop("label", None), spelled.pop("fit", None)
    only_for = _only_for(kind, spelled, name, path)
    names = _class_map(spelled, name, path) if kind == "dataset" else None
    corruption = _corruption(spelled, name, path, seed) if kind == "dataset" else None
    departing = departures.parsed(spelled, where=f"{path}: {name}") if kind == "dataset" else {}
    optional = placing.optional(spelled, f"{path}: {name}") if kind == "dataset" else False
    spelled = {key: value for key, value in spelled.items() if key not in departures.NAMES}
    cls = registry.plugin(kind, name, where=str(path))
    named_files = parameters.file_fields(cls)
    origin, obtain = (
        placing.origin_of(spelled, named_files, path.parent, f"{path}: {name}") if kind == "model" else ("", "")
    )
    for key in named_files & spelled.keys():
        if isinstance(spelled[key], str):
            spelled[key] = str(placing.placed(spelled[key], f"{path}: {key}", path.parent))
    inner = _inner(cls, spelled, path, seed)
    spelled |= _of_inner(inner, lambda ref: {ref.name: ref.arguments})
    instance: PlugIn = registry.build(kind, name, spelled, where=str(path))
    arguments = parameters.values(instance)
    named = {key: Path(arguments[key]) for key in named_files if arguments[key] is not None}
    params = arguments | {key: file.name for key, file in named.items()}
    if digests := {key: placing.content(file) for key, file in named.items() if file.is_file()}:
        params["digests"] = digests
    params |= _of_inner(inner, lambda ref: {ref.name: ref.params}) | departing
    arguments |= departing
    data, training = _fit_data(instance, name, fit, path, seed) if fit is not None else (None, {})
    if label is not None and not isinstance(label, str):
        raise BadSuite(f"{path}: label of {name!r} is {label!r}, wanted text")
    labels = {
        key: "+".join(ref.label for ref in ([refs] if isinstance(refs, Ref) else refs)) for key, refs in inner.items()
    }
    label = label or _label(instance, params | labels, data, training)
    if corruption:
        label = label if label.endswith(f"+{corruption.label}") else f"{label}+{corruption.label}"
        params, arguments = params | {"corruption": asdict(corruption)}, arguments | {"corruption": asdict(corruption)}
    return Ref(
        *(kind, name, ordered(params), label, ordered(arguments), data, ordered(training), only_for, names),
        origin=origin,
        obtain=obtain,
        optional=optional,
    )


def _inner(cls: type[PlugIn], spelled: Mapping[str, Any], path: Path, seed: int) -> dict[str, Ref | list[Ref]]:
    """The entries that stand inside an entry, such as the network that another one was trained from."""
    kinds, listed = parameters.entries(cls), parameters.entry_lists(cls)
    inner: dict[str, Ref | list[Ref]] = {}
    for key, kind in (kinds | listed).items():
        value = spelled.get(key, parameters.defaults(cls).get(key))
        if key in kinds and isinstance(value, str | dict):  # anything else is refused where the entry is built
            inner[key] = make_ref(kind, *_single(value, path), path, seed)
        elif key in listed and isinstance(value, list) and all(isinstance(each, str | dict) for each in value):
            inner[key] = [make_ref(kind, *_single(each, path), path, seed) for each in value]
    return inner


def _of_inner(inner: Mapping[str, Ref | list[Ref]], part: Callable[[Ref], Any]) -> dict[str, Any]:
    return {key: part(ref) if isinstance(ref, Ref) else [part(each) for each in ref] for key, ref in inner.items()}


def _class_map(spelled: dict[str, Any], name: str, path: Path) -> Mapping[str, str] | None:
    """The ``class_map`` of a data set's entry; None where it has none."""
    if "class_map" not in spelled:
        return None
    chosen = spelled.pop("class_map")
    if not isinstance(chosen, dict) or not all(isinstance(text, str) for pair in chosen.items() for text in pair):
        raise BadSuite(
            f"{path}: class_map of {name!r} is {chosen!r}, wanted {{class of the data: class of the network}}"
        )
    return ordered(chosen)


def _corruption(spelled: dict[str, Any], name: str, path: Path, seed: int) -> Corruption | None:
    """The ``corruption`` of a data set's entry; its seed is the suite's."""
    if "corruption" not in spelled:
        return None
    entry = spelled.pop("corruption")
    if isinstance(entry, dict) and "seed" in entry:
        raise BadSuite(f"{path}: corruption of {name!r} has a seed of its own; the seed is the suite's")
    return replace(corrupted.parsed(entry, where=f"{path}: {name}"), seed=seed)


def _only_for(kind: Kind, spelled: dict[str, Any], name: str, path: Path) -> dict[Kind, tuple[str, ...]]:
    """Return the others that an entry says it is for, such as ``protocols``: a choice of cells, no parameter."""
    names: dict[Kind, tuple[str, ...]] = {}
    for other in CHOOSES.get(kind, ()):
        chosen = spelled.pop(f"{other}s", [])
        if not isinstance(chosen, list):
            raise BadSuite(f"{path}: {other}s of {name!r} is {chosen!r}, wanted a list of names or labels")
        if chosen:
            names[other] = tuple(map(str, chosen))
    return names


def _fit_data(instance: PlugIn, name: str, fit: Any, path: Path, seed: int) -> tuple[Ref, Mapping[str, Any]]:
    """The data set of a method's ``fit``, and the parameters of its trainer, which stand beside it."""
    fitting = instance.fitting if isinstance(instance, Method) else None
    if not isinstance(fitting, Fitting):
        depends = isinstance(instance, Method) and type(instance).fitting is not Method.fitting
        advice = " with these parameters; leave its fit out, or change them" if depends else ""
        raise BadSuite(f"{path}: {name!r} has nothing to fit{advice}")
    own = fitting.trainer is None
    if not isinstance(fit, dict) or "data" not in fit or (own and len(fit) > 1):
        raise BadSuite(f"{path}: fit of {name!r} is {fit!r}, wanted {{data: a data set}}")
    data = make_ref("dataset", *_single(fit["data"], path), path, seed)
    if own:
        return data, {}
    training = {key: value for key, value in fit.items() if key != "data"}
    return data, parameters.values(registry.build("trainer", str(fitting.trainer), training, where=str(path)))


def _label(instance: PlugIn, params: Mapping[str, Any], data: Ref | None, training: Mapping[str, Any]) -> str:
    """The name with the parameters that are not the default, those of a fit included."""
    defaults = parameters.defaults(type(instance))
    shown = parameters.departures({key: params[key] for key in sorted(params) if key != "digests"}, defaults)
    inside = [f"{key}={_short(value)}" for key, value in shown.items()] + ([f"fit={data.label}"] if data else [])
    if training and isinstance(instance, Method) and isinstance(instance.fitting, Fitting):
        defaults = parameters.defaults(registry.plugin("trainer", str(instance.fitting.trainer), where="label"))
        inside += [
            f"{key}={_short(value)}"
            for key, value in parameters.departures(dict(sorted(training.items())), defaults).items()
        ]
    return f"{instance.name}[{','.join(inside)}]" if inside else instance.name


def _short(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ",".join(f"{key}={_short(inner)}" for key, inner in value.items() if inner is not None) + "}"
    if isinstance(value, list):
        return "x".join(map(_short, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _entry(ref: Ref) -> dict[str, Any]:
    fit = {"fit": {"data": _entry(ref.fit), **ref.training}} if ref.fit else {}
    chosen = {f"{other}s": list(names) for other, names in ref.only_for.items()}
    names = {} if ref.class_map is None else {"class_map": dict(ref.class_map)}
    params = copy.deepcopy(dict(ref.arguments))  # YAML would write what two entries share as an alias
    if "corruption" in params:
        del params["corruption"]["seed"]
    words: dict[str, Any] = {"origin": ref.origin} if ref.origin else {}
    words |= {"optional": True} if ref.optional else {}
    return {ref.name: params | fit | chosen | names | words | {"label": ref.label}}

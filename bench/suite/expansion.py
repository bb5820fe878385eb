"""Read a suite file and spell out every cell it asks for. Nothing is loaded or run here."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from fnmatch import fnmatchcase
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bench.api import Dataset, Fitting, Method, PlugIn, SegModel
from bench.core.errors import BadSuite, UnknownName, UsageError
from bench.datasets.wrappers import class_map, corrupted
from bench.datasets.wrappers.corrupted import Corruption
from bench.suite import parameters, registry
from bench.suite.registry import Kind

AXES: tuple[Kind, ...] = ("protocol", "model", "dataset", "method")
# What an entry may restrict itself to.
CHOOSES: Mapping[Kind, tuple[Kind, ...]] = {
    "dataset": ("protocol", "model", "method"),
    "model": ("method",),
    "method": ("model",),
}
Entry = str | dict[str, Any]


class Section(BaseModel):
    """A part of a suite file: unknown keys and wrong types are refused, never guessed at."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class SummaryRule(Section):
    """A figure over several cells: the mean of each metric over the data sets that match, per model and method.

    ``corruption``, ``family`` and ``severity`` keep the corrupted data sets that match; ``each`` makes one summary for
    every corruption, family or severity among what is left. Families are ImageNet-C's, ``source_family`` is the source
    system's own grouping of its 15 types.
    """

    name: str
    protocol: str  # or "*": one summary for each that ranks
    dataset: str = "*"
    corruption: str | None = None
    family: str | None = None
    severity: int | None = None
    each: Literal["corruption", "family", "source_family", "severity"] | None = None

    def matches(self, dataset: Ref) -> bool:
        """Whether the mean runs over that data set."""
        how = dataset.corruption
        asked = [(self.corruption, how and how.name), (self.family, how and how.family)]
        return (
            fnmatchcase(dataset.label, self.dataset)
            and all(pattern is None or (value and fnmatchcase(value, pattern)) for pattern, value in asked)
            and (self.severity is None or (how is not None and how.severity == self.severity))
            and (self.each is None or (how is not None and self.value_of(dataset) != ""))
        )

    def value_of(self, dataset: Ref) -> str:
        """The corruption, family or severity that a corrupted data set belongs to; empty for none."""
        how = dataset.corruption
        assert how is not None  # noqa: S101 - ``matches`` lets no other through where there is an ``each``
        values = {"corruption": how.name, "family": how.family, "severity": f"severity {how.severity}"}
        return (values | {"source_family": how.source_family})[self.each or "corruption"]


class PointRule(Section):
    """A threshold chosen on one data set of the suite and carried to the others, per model and method."""

    name: str
    protocol: Literal["anomaly", "misclassification"]
    calibrate: str  # name or label of a data set; never judged itself
    rule: Literal["tpr95", "fpr05", "best_f1"] = "tpr95"


class NumericsRule(Section):
    """How the arithmetic is done. ``auto`` takes the GPU where there is one."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    threads: int = Field(default=1, ge=1)  # of torch in each process, on a CPU
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"  # of the forward pass, by autocast; scores are float32
    tf32: bool = False  # on a GPU
    batch: int = Field(default=1, ge=1)  # equally sized views of an image in one forward pass
    scoring: Literal["auto", "fused", "torch"] = "auto"  # reductions over the classes; auto is fused on a CPU


class SuiteFile(Section):
    """The grammar of a suite."""

    name: str = ""  # of the run; the file's own without it
    title: str = ""
    note: str = ""
    protocols: list[Entry] = Field(min_length=1)
    models: list[Entry] = Field(min_length=1)
    datasets: list[Entry] = Field(min_length=1)
    methods: list[Entry] = []
    seed: int = 0
    budget: int = Field(
        default=2**30, ge=2**16
    )  # bytes of exact keys that a cell may hold before it is certified instead
    bootstrap: int = Field(default=1000, ge=0)  # resamples
    resample: Literal["images", "groups"] = "images"  # groups: whole drives or sequences, whose images are alike
    numerics: NumericsRule = NumericsRule()
    summaries: list[SummaryRule] = []
    operating_points: list[PointRule] = []


@dataclass(frozen=True)
class Ref:
    """A plug-in by name with all its parameters resolved; two are equal iff they mean the same."""

    kind: Kind
    name: str
    identity: str  # JSON of every parameter, files by name alone
    label: str = field(compare=False)  # for people: the name and the parameters that are not the default
    given: str = field(compare=False)  # JSON of every parameter, files by absolute path
    fit: Ref | None = None  # the data set that a method is fitted on
    only_for: Mapping[Kind, tuple[str, ...]] = field(default_factory=dict, compare=False)  # see ``CHOOSES``
    class_map: str = ""  # JSON of what the classes of a data set are called; empty where they are the network's
    training: str = ""  # JSON of every parameter of the trainer that fits a method, if it has any

    def build(self) -> Any:
        """A fresh instance."""
        return registry.build(self.kind, self.name, json.loads(self.given), where=self.label)

    @property
    def corruption(self) -> Corruption | None:
        """How the images of a data set are corrupted."""
        how = self.params.get("corruption")
        return corrupted.parsed(how, where=self.label) if how else None

    @property
    def plain(self) -> Ref:
        """The same data set with its images as they are."""
        if self.corruption is None:
            return self
        identity, given = (json.loads(text) for text in (self.identity, self.given))
        del identity["corruption"], given["corruption"]
        return replace(
            self,
            identity=json.dumps(identity, sort_keys=True),
            given=json.dumps(given, sort_keys=True),
            label=self.label.removesuffix(f"+{self.corruption.label}"),
        )

    @property
    def params(self) -> dict[str, Any]:
        """Every parameter, files by name alone."""
        resolved: dict[str, Any] = json.loads(self.identity)
        return resolved

    def spelled(self) -> dict[str, Any]:
        """The part of a cell's identity that this is."""
        fit = {"fit": self.fit.spelled()} if self.fit else {}
        training = {"training": json.loads(self.training)} if self.training else {}
        return {"name": self.name, "params": self.params} | fit | training


@dataclass(frozen=True)
class Cell:
    """One number-producing coordinate of a suite: the unit of work, resume and citation."""

    protocol: Ref
    model: Ref
    dataset: Ref
    method: Ref | None  # None where the protocol reads the class map alone
    seed: int
    budget: int
    bootstrap: int
    resample: str = "images"

    def spelled(self) -> dict[str, Any]:
        """Everything that the key is made of."""
        refs = {axis: ref.spelled() if ref else None for axis, ref in self.refs().items()}
        how = {"seed": self.seed, "budget": self.budget, "bootstrap": self.bootstrap, "resample": self.resample}
        return refs | how

    def refs(self) -> dict[str, Ref | None]:
        """The coordinates by axis."""
        return {"protocol": self.protocol, "model": self.model, "dataset": self.dataset, "method": self.method}

    def labels(self) -> dict[str, str]:
        """The coordinates for people."""
        return {axis: ref.label for axis, ref in self.refs().items() if ref}

    @cached_property
    def key(self) -> str:
        """16 hex digits of the cell's content; two cells share a key iff they are equal."""
        return hashlib.sha256(json.dumps(self.spelled(), sort_keys=True).encode()).hexdigest()[:16]

    def __str__(self) -> str:
        return " / ".join(self.labels().values())


@dataclass(frozen=True)
class Suite:
    """A name, the cells it expands to, and what is said about all of them."""

    name: str
    cells: tuple[Cell, ...]  # to run now
    planned: tuple[Cell, ...]  # all of the suite
    title: str
    note: str
    numerics: NumericsRule
    summaries: tuple[SummaryRule, ...]
    operating_points: tuple[PointRule, ...]
    text: str  # a suite file that gives the same cells from any folder

    def summaries_asked(self) -> Iterator[dict[str, Any]]:
        """Each summary with the labels of its data sets: rules spelled out, in their order."""
        planned = dict.fromkeys(cell.protocol for cell in self.planned)
        ranked = [ref.label for ref in planned if registry.plugin("protocol", ref.name, where=self.name).ranked]
        datasets = list(dict.fromkeys(cell.dataset for cell in self.planned))
        for rule in self.summaries:
            matching = [ref for ref in datasets if rule.matches(ref)]
            groups = {"": matching}
            if rule.each:
                groups = {}
                for ref in matching:
                    groups.setdefault(f": {rule.value_of(ref)}", []).append(ref)
            protocols = ranked if rule.protocol == "*" else [rule.protocol]
            for protocol, (suffix, refs) in itertools.product(protocols, groups.items()):
                yield {"name": rule.name + suffix, "protocol": protocol, "datasets": [ref.label for ref in refs]}

    def only(self, patterns: Mapping[str, str]) -> Suite:
        """Keep the cells whose coordinates match; a pattern is compared with the name and with the label."""
        for axis in patterns:
            if axis not in (*AXES, "cell"):
                raise UnknownName("axis", axis, (*AXES, "cell"), "--only")

        def kept(cell: Cell) -> bool:
            refs = cell.refs()
            return all(
                fnmatchcase(cell.key, pattern)
                if axis == "cell"
                else (ref := refs[axis]) is None or _matches(ref, pattern)
                for axis, pattern in patterns.items()
            )

        cells = tuple(cell for cell in self.cells if kept(cell))
        # A cell without a method stays whatever is asked of methods, but a pattern that matches nothing is a typo.
        idle = [a for a in patterns if a != "cell" and not any(ref for cell in cells if (ref := cell.refs()[a]))]
        if not cells or idle:
            wanted = ", ".join(f"{axis}={patterns[axis]}" for axis in idle or patterns)
            raise UsageError(f"{self.name}: no cell matches --only {wanted}")
        return replace(self, cells=cells)


def _matches(ref: Ref, pattern: str) -> bool:
    return fnmatchcase(ref.name, pattern) or ref.label == pattern or fnmatchcase(ref.label, pattern)


def shipped() -> dict[str, Path]:
    """The suites that come with the package, by name."""
    folder = resources.files("bench.suites")
    found = {Path(str(file)).stem: Path(str(file)) for file in folder.iterdir() if file.name.endswith(".yaml")}
    return dict(sorted(found.items()))


def locate(name: str) -> Path:
    """A suite file by path, or a shipped one by its name."""
    path = Path(name)
    if path.is_file():
        return path
    known = shipped()
    if path.stem in known and name in {path.stem, f"suites/{path.stem}.yaml"}:
        return known[path.stem]
    if path.suffix or len(path.parts) > 1:
        raise UsageError(f"{name}: no such file; shipped suites: {', '.join(known)}")
    raise UnknownName("suite", name, known, "run")


def load(path: Path, replacing: Mapping[str, Sequence[Entry]] | None = None) -> Suite:
    """Parse, expand and check a suite; ``replacing`` puts other entries on an axis, such as ``{"methods": ["msp"]}``.

    Every name and every parameter is tried here, before any weight is read.
    """
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f"{path}:{mark.line + 1}" if mark else str(path)
        raise BadSuite(f"{line}: not YAML: {getattr(error, 'problem', error)}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise BadSuite(f"{path}: cannot be read: {error}") from None
    if not isinstance(raw, dict):
        raise BadSuite(f"{path}: wanted a mapping with the keys {', '.join(SuiteFile.model_fields)}")
    return expanded(raw, path, replacing)


def expanded(raw: Mapping[str, Any], path: Path, replacing: Mapping[str, Sequence[Entry]] | None = None) -> Suite:
    """``load`` of what a suite file holds; ``path`` is to be blamed, and files are relative to its folder."""
    file = _parse(dict(raw) | {axis: list(entries) for axis, entries in (replacing or {}).items()}, path)
    # What the command line names is blamed on its option, and its paths are relative to the current folder.
    given = {f"{axis}s": Path(f"--{axis}") for axis in AXES if f"{axis}s" in (replacing or {})}
    axes = {axis: list(_refs(axis, getattr(file, f"{axis}s"), given.get(f"{axis}s", path), file.seed)) for axis in AXES}
    _drop_idle(axes, given)
    _check_labels(axes, path)
    cells = tuple(_cells(axes, file, path))
    name = file.name or path.stem
    text: dict[str, Any] = {"name": name, "title": file.title, "note": file.note}
    text |= {f"{axis}s": [_entry(ref) for ref in refs] for axis, refs in axes.items()}
    text |= file.model_dump(
        include={"seed", "budget", "bootstrap", "resample", "numerics", "summaries", "operating_points"}
    )
    return Suite(
        name,
        cells,
        cells,
        file.title,
        file.note,
        file.numerics,
        tuple(file.summaries),
        tuple(file.operating_points),
        yaml.safe_dump(text, sort_keys=False),
    )


def _parse(raw: dict[str, Any], path: Path) -> SuiteFile:
    try:
        return SuiteFile.model_validate(raw)
    except ValidationError as error:
        # A mistyped key is also a missing one: the typo is the better news.
        first = min(error.errors(), key=lambda found: found["type"] != "extra_forbidden")
        place = [str(part) for part in first["loc"]]
        if first["type"] == "extra_forbidden":
            parts: dict[str, type[Section]] = {
                "numerics": NumericsRule,
                "summaries": SummaryRule,
                "operating_points": PointRule,
            }
            owner = parts.get(place[0], SuiteFile)
            raise UnknownName("key", place[-1], owner.model_fields, str(path)) from None
        if first["type"] == "missing":
            raise BadSuite(f"{path}: missing {'.'.join(place)}") from None
        if first["type"] == "list_type":
            raise BadSuite(f"{path}: {place[0]}: {first['input']!r} must be a list, even of one") from None
        raise BadSuite(f"{path}: {'.'.join(place)} is {first['input']!r}: {first['msg'].lower()}") from None


def _drop_idle(axes: dict[Kind, list[Ref]], given: Collection[str]) -> None:
    """Leave out entries that are for others than the ones which the command line put in place of the suite's."""
    for mine, kinds in CHOOSES.items():
        for others in kinds:
            if f"{others}s" in given:
                listed = {ref.name for ref in axes[others]}
                axes[mine] = [ref for ref in axes[mine] if listed.intersection(ref.only_for.get(others, listed))]


def _check_labels(axes: Mapping[Kind, list[Ref]], path: Path) -> None:
    """Two things of one label could not be told apart, on a page or in a spool."""
    for axis, refs in axes.items():
        seen: dict[str, Ref] = {}
        for ref in refs:
            if seen.setdefault(ref.label, ref) != ref:
                raise BadSuite(f"{path}: two {axis}s have the label {ref.label!r}; give each its own")
    for refs in axes.values():
        for ref in refs:
            for others, names in ref.only_for.items():
                if {other.name for other in axes[others]}.isdisjoint(names):
                    raise BadSuite(f"{path}: {ref.label} is for {', '.join(names)}, which the suite does not list")


def _cells(axes: Mapping[Kind, list[Ref]], file: SuiteFile, path: Path) -> Iterator[Cell]:
    seen: set[Cell] = set()
    scored = {ref: registry.plugin("protocol", ref.name, where=str(path)).scored for ref in axes["protocol"]}
    if any(scored.values()) and not axes["method"]:
        raise BadSuite(f"{path}: missing methods, which {next(ref.name for ref in scored if scored[ref])!r} ranks")
    named = _Named(axes["model"], path)
    for protocol, model, dataset in itertools.product(axes["protocol"], axes["model"], axes["dataset"]):
        if not (_for(dataset, protocol) and _for(dataset, model)):
            continue
        data = named.under(dataset, model)
        for entry in axes["method"] if scored[protocol] else [None]:
            if entry and not (_for(dataset, entry) and _for(model, entry) and _for(entry, model)):
                continue
            method = replace(entry, fit=named.under(entry.fit, model)) if entry and entry.fit else entry
            cell = Cell(protocol, model, data, method, file.seed, file.budget, file.bootstrap, file.resample)
            if cell in seen:
                raise BadSuite(f"{path}: {cell} stands there twice")
            seen.add(cell)
            yield cell


def _for(one: Ref, other: Ref) -> bool:
    chosen = one.only_for.get(other.kind)
    return chosen is None or other.name in chosen


class _Named:
    """Data sets under the class names of the networks that they meet."""

    def __init__(self, models: Sequence[Ref], path: Path) -> None:
        self.models, self.path = models, path

    @cached_property
    def _classes(self) -> Mapping[Ref, tuple[str, ...]]:
        built: dict[Ref, SegModel] = {model: model.build() for model in self.models}
        return {ref: model.class_names for ref, model in built.items()}

    def under(self, dataset: Ref, model: Ref) -> Ref:
        """The data set as that network names its classes, or as it is where it has no ``class_map`` that fits."""
        if not dataset.class_map:
            return dataset
        data: Dataset = dataset.build()
        chosen = json.loads(dataset.class_map)
        classes = class_map.resolved(data.class_names, chosen, where=str(self.path))
        if class_map.strangers(classes, self._classes[model]):
            if all(class_map.strangers(classes, names) for names in self._classes.values()):
                said = class_map.advice(data.class_names, chosen, self._classes[model])
                raise BadSuite(f"{self.path}: {dataset.label}: {said}")
            return dataset  # for another network; this pair is not applicable

        renaming = {"class_map": class_map.spelled(classes, self._classes[model])}
        identity, given = (json.loads(text) | renaming for text in (dataset.identity, dataset.given))
        return replace(
            dataset,
            identity=json.dumps(identity, sort_keys=True),
            given=json.dumps(given, sort_keys=True),
            class_map="",
        )


def _refs(kind: Kind, entries: Sequence[Entry], path: Path, seed: int) -> Iterator[Ref]:
    """Expand ``energy`` and ``{energy: {sweep: {temperature: [1, 2]}}}`` into refs.

    Only what stands under ``sweep`` multiplies, and the ``corruptions`` of a data set; a list anywhere else is one
    list-valued parameter.
    """
    for entry in entries:
        name, given = _single(entry, path)
        sweep = given.pop("sweep", {})
        if not isinstance(sweep, dict) or not all(isinstance(values, list) for values in sweep.values()):
            raise BadSuite(f"{path}: sweep of {name!r} must name parameters with a list of values each")
        for values in itertools.product(*sweep.values()):
            one = given | dict(zip(sweep, values, strict=True))
            if kind == "dataset" and "corruptions" in one:
                grid = corrupted.expanded(one.pop("corruptions"), where=f"{path}: {name}")
                if "corruption" in one:
                    raise BadSuite(f"{path}: {name}: corruption and corruptions exclude each other")
                for how in grid:
                    yield make_ref(kind, name, one | {"corruption": how}, path, seed)
            else:
                yield make_ref(kind, name, one, path, seed)


def _single(entry: Entry, path: Path) -> tuple[str, dict[str, Any]]:
    if isinstance(entry, str):
        return entry, {}
    if len(entry) != 1:
        raise BadSuite(f"{path}: {dict(entry)} must be one name with its parameters")
    ((name, given),) = entry.items()
    if given is not None and not isinstance(given, dict):
        raise BadSuite(f"{path}: {name}: {given!r} must be parameters by name")
    return str(name), dict(given or {})


def make_ref(kind: Kind, name: str, given: Mapping[str, Any], path: Path, seed: int) -> Ref:
    """Resolve one entry; relative paths in it are relative to the folder of the suite file."""
    given = dict(given)
    label, fit = given.pop("label", None), given.pop("fit", None)
    only_for = _only_for(kind, given, name, path)
    names = _class_map(given, name, path) if kind == "dataset" else ""
    how = _corruption(given, name, path, seed) if kind == "dataset" else None
    cls = registry.plugin(kind, name, where=str(path))
    for key in parameters.file_fields(cls) & given.keys():
        if isinstance(given[key], str):
            given[key] = str((path.parent / Path(given[key]).expanduser()).resolve())
    nested = _inner(cls, given, path, seed)
    given |= {key: {ref.name: json.loads(ref.given)} for key, ref in nested.items()}
    instance: PlugIn = registry.build(kind, name, given, where=str(path))
    params = parameters.values(instance)
    identity = params | {key: Path(params[key]).name for key in parameters.file_fields(cls) if params[key] is not None}
    identity |= {key: {ref.name: json.loads(ref.identity)} for key, ref in nested.items()}
    data, training = _fit_data(instance, name, fit, path, seed) if fit is not None else (None, "")
    titled = identity | {key: ref.label for key, ref in nested.items()}
    shown = {key: value for key, value in titled.items() if value != parameters.defaults(cls).get(key)}
    inner = [f"{key}={_short(value)}" for key, value in sorted(shown.items())] + ([f"fit={data.label}"] if data else [])
    inner += [f"{key}={_short(value)}" for key, value in _unusual(instance, training).items()]
    if label is not None and not isinstance(label, str):
        raise BadSuite(f"{path}: label of {name!r} is {label!r}, wanted text")
    label = label or (f"{name}[{','.join(inner)}]" if inner else name)
    if how:
        label = label if label.endswith(f"+{how.label}") else f"{label}+{how.label}"
        identity, params = identity | {"corruption": asdict(how)}, params | {"corruption": asdict(how)}
    return Ref(
        kind,
        name,
        json.dumps(identity, sort_keys=True),
        label,
        json.dumps(params, sort_keys=True),
        data,
        only_for,
        names,
        training,
    )


def _inner(cls: type[PlugIn], given: Mapping[str, Any], path: Path, seed: int) -> dict[str, Ref]:
    """The entries that stand inside an entry, such as the network that another one was trained from."""
    values = {key: given.get(key, parameters.defaults(cls).get(key)) for key in parameters.entries(cls)}
    return {
        key: make_ref(parameters.entries(cls)[key], *_single(value, path), path, seed)
        for key, value in values.items()
        if isinstance(value, str | dict)  # anything else is refused where the entry is built
    }


def _class_map(given: dict[str, Any], name: str, path: Path) -> str:
    """The ``class_map`` of a data set's entry, as JSON; empty where there is none."""
    if "class_map" not in given:
        return ""
    chosen = given.pop("class_map")
    if not isinstance(chosen, dict) or not all(isinstance(one, str) for pair in chosen.items() for one in pair):
        raise BadSuite(
            f"{path}: class_map of {name!r} is {chosen!r}, wanted {{class of the data: class of the network}}"
        )
    return json.dumps(chosen, sort_keys=True)


def _corruption(given: dict[str, Any], name: str, path: Path, seed: int) -> Corruption | None:
    """The ``corruption`` of a data set's entry; its seed is the suite's."""
    if "corruption" not in given:
        return None
    how = given.pop("corruption")
    if isinstance(how, dict) and "seed" in how:
        raise BadSuite(f"{path}: corruption of {name!r} has a seed of its own; the seed is the suite's")
    return replace(corrupted.parsed(how, where=f"{path}: {name}"), seed=seed)


def _only_for(kind: Kind, given: dict[str, Any], name: str, path: Path) -> dict[Kind, tuple[str, ...]]:
    """What an entry says of the others that it is for, such as ``protocols``: a choice of cells, no parameter."""
    found: dict[Kind, tuple[str, ...]] = {}
    for other in CHOOSES.get(kind, ()):
        chosen = given.pop(f"{other}s", [])
        if not isinstance(chosen, list):
            raise BadSuite(f"{path}: {other}s of {name!r} is {chosen!r}, wanted a list of names")
        for one in chosen:
            registry.plugin(other, str(one), where=str(path))
        if chosen:
            found[other] = tuple(map(str, chosen))
    return found


def _fit_data(instance: PlugIn, name: str, fit: Any, path: Path, seed: int) -> tuple[Ref, str]:
    """The data set of a method's ``fit``, and as JSON the parameters of its trainer, which stand beside it."""
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
        return data, ""
    given = {key: value for key, value in fit.items() if key != "data"}
    params = parameters.values(registry.build("trainer", str(fitting.trainer), given, where=str(path)))
    return data, json.dumps(params, sort_keys=True) if params else ""


def _unusual(instance: PlugIn, training: str) -> dict[str, Any]:
    """The parameters of a method's training that are not the default, for its label."""
    if not training or not isinstance(instance, Method) or not isinstance(instance.fitting, Fitting):
        return {}
    usual = parameters.defaults(registry.plugin("trainer", str(instance.fitting.trainer), where="label"))
    return {key: value for key, value in json.loads(training).items() if value != usual.get(key)}


def _short(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ",".join(f"{key}={_short(inner)}" for key, inner in value.items() if inner is not None) + "}"
    if isinstance(value, list):
        return "x".join(map(_short, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _entry(ref: Ref) -> dict[str, Any]:
    fit = {"fit": {"data": _entry(ref.fit), **json.loads(ref.training or "{}")}} if ref.fit else {}
    chosen = {f"{other}s": list(names) for other, names in ref.only_for.items()}
    names = {"class_map": json.loads(ref.class_map)} if ref.class_map else {}
    params = json.loads(ref.given)
    if "corruption" in params:
        del params["corruption"]["seed"]
    return {ref.name: params | fit | chosen | names | {"label": ref.label}}

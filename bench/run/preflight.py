"""Everything that can be wrong with a suite, found before anything is computed."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bench.api import (
    Breakdown,
    CarriesThreshold,
    Constants,
    Dataset,
    Fitting,
    Method,
    Protocol,
    Refinement,
    RefinementAware,
    SegModel,
)
from bench.core.errors import BadPlugin, BadSuite, MissingData, NotFitted
from bench.core.file_names import file_name
from bench.core.foreign_code import named
from bench.core.noted_files import NotedFiles, noting
from bench.counts.tally import Column, Counts
from bench.fit import fitted_store
from bench.metrics import slices
from bench.models import inference
from bench.models.numerics import Numerics
from bench.suite import declarations, registry
from bench.suite.cells import Cell, Ref, Suite
from bench.suite.wrappers import class_map, corrupted
from bench.suite.wrappers.corrupted import Corrupted, Corruption


@dataclass(frozen=True)
class Refusal:
    """Why a cell is not applicable."""

    code: str  # what is in the way, and the values that say so: equal codes are equal reasons
    reason: str  # the same for people

    def __str__(self) -> str:
        return self.reason


@dataclass
class Checked:
    """What was found to be there, and its digests."""

    models: dict[Ref, SegModel] = field(default_factory=dict)
    datasets: dict[Ref, Dataset] = field(default_factory=dict)
    model_digests: dict[Ref, str] = field(default_factory=dict)
    data_digests: dict[Ref, str] = field(default_factory=dict)
    method_digests: dict[Ref, str] = field(default_factory=dict)  # beside that of the source file
    refused: dict[str, Refusal] = field(default_factory=dict)  # by cell key
    files: dict[Ref, NotedFiles] = field(default_factory=dict)  # that digests stand for
    # What thousands of cells share is made once: instances, digests of source files, origins of fits.
    _built: dict[Ref, Any] = field(default_factory=dict, repr=False)
    _sources: dict[tuple[str, str], str] = field(default_factory=dict, repr=False)
    _origins: dict[tuple[Ref, Ref, int, Numerics | None], dict[str, Any]] = field(default_factory=dict, repr=False)
    _tags: dict[Ref, frozenset[str]] = field(default_factory=dict, repr=False)
    _met: set[tuple[Ref, Ref]] = field(default_factory=set, repr=False)  # a method and a network it was checked for

    def built(self, ref: Ref) -> Any:
        """The instance of a protocol or a method that all cells share; they hold no state."""
        if ref not in self._built:
            with named(f"{ref.kind} {ref.label}"):
                self._built[ref] = _declared(ref)
        return self._built[ref]

    @contextmanager
    def noting(self, ref: Ref) -> Iterator[None]:
        """Inside the context, files are noted that the digest of a plug-in stands for."""
        with noting(self.files.setdefault(ref, NotedFiles())):
            yield

    def changed(self, ref: Ref) -> str:
        """Return what is no longer what it was when its digest was taken; empty where all is."""
        files = self.files.get(ref.plain, NotedFiles())
        if path := files.changed():
            return str(path)
        if files.states or ref.kind == "method":
            return ""
        known = self.data_digests if ref.kind == "dataset" else self.model_digests
        digest = ref.plain.build().digest()  # of a plug-in that reads its files itself
        digest = corrupted.digest(digest) if ref.corruption else digest
        return "" if known.get(ref) in {None, digest} else "what its digest stands for"

    def newest(self, ref: Ref) -> float:
        """Return when the last file of a plug-in was written or put there, in seconds since 1970; 0 without any."""
        return self.files.get(ref.plain, NotedFiles()).newest()

    def tags(self, ref: Ref) -> frozenset[str]:
        """The names of the tags of the first image of a data set."""
        if ref not in self._tags:
            self._tags[ref] = frozenset(self.datasets[ref].load(0).tags)
        return self._tags[ref]

    def source(self, ref: Ref) -> str:
        """The digest of a plug-in's source files, as they were when it was first asked for."""
        key = ref.kind, ref.name
        if key not in self._sources:
            self._sources[key] = registry.digest(*key)
        return self._sources[key]


def check(suite: Suite, *, trained: bool = True, confident: bool = True) -> Checked:
    """Find every missing file, short data set and impossible pair before anything is computed.

    ``trained`` asks for long trainings to be done, and for fits to be of use: False where something is to be fitted.
    ``confident`` False lets methods pass that give no confidence where a protocol reads one: maps alone are made.
    """
    checked = Checked()
    plain: dict[Ref, tuple[Dataset, str]] = {}
    tried: set[Corruption] = set()
    for cell in suite.cells:
        for ref in filter(None, [cell.dataset, cell.method and cell.method.fit]):
            if ref not in checked.datasets:
                with named(f"dataset {ref.label}"), checked.noting(ref.plain):
                    checked.datasets[ref] = _dataset(ref, plain, tried)
        if cell.model not in checked.models:
            with named(f"model {cell.model.label}"), checked.noting(cell.model):
                model: SegModel = _declared(cell.model)
                _check_files(model, cell.model.obtain)
                checked.models[cell.model] = model
                checked.model_digests[cell.model] = model.digest()
        with named(str(cell)):
            if refusal := _refusal(cell, checked, confident):
                checked.refused[cell.key] = refusal
    _refuse_shared_thresholds(suite, checked)
    _refuse_small_images(suite, {ref.plain: plain[ref.plain][0] for ref in checked.datasets if ref.corruption})
    for ref in checked.datasets:
        digest = plain[ref.plain][1]
        checked.data_digests[ref] = corrupted.digest(digest) if ref.corruption else digest
    if trained:
        for cell in suite.cells:
            if cell.key not in checked.refused:
                with named(str(cell)):
                    _require_other_tags(cell, checked)
                _require_training(cell, checked)
                _require_other_data(cell, checked)
    return checked


def _check_files(model: SegModel, obtain: str) -> None:
    """Check a network; where the suite knows how to ``obtain`` a file that is absent, the error says it."""
    try:
        model.check()
    except MissingData as error:
        if not obtain:
            raise
        raise MissingData(f"{error}; {obtain}") from None


def _declared(ref: Ref) -> Any:
    """The instance of a plug-in. Raise BadPlugin where it declares what it must not."""
    plugin = ref.build()
    if wrong := declarations.complaint(plugin):
        raise BadPlugin(f"{ref.kind} {ref.label}: {wrong}")
    return plugin


def origin(cell: Cell, checked: Checked, resolved: Numerics | None) -> dict[str, Any]:
    """What a cell's fit is made from; see ``fitting.origin``."""
    assert cell.method is not None and cell.method.fit is not None  # noqa: S101 - callers looked
    key = cell.method, cell.model, cell.seed, resolved
    if key not in checked._origins:
        digests = checked.model_digests[cell.model], checked.data_digests[cell.method.fit]
        checked._origins[key] = fitted_store.origin(cell.method, cell.model, *digests, cell.seed, resolved)
    return checked._origins[key]


def _require_training(cell: Cell, checked: Checked) -> None:
    if cell.method is None or cell.method.fit is None or not fitted_store.is_long(cell.method):
        return
    if not fitted_store.path_of(fitted_store.key_of(origin(cell, checked, None))).is_file():
        raise NotFitted(
            f"{cell.method.label} was not trained yet for {cell.model.label} on {cell.method.fit.label}, which takes "
            f"long; type: {fitted_store.command(cell.method, cell.model, cell.seed)}"
        )


def _dataset(ref: Ref, plain: dict[Ref, tuple[Dataset, str]], tried: set[Corruption]) -> Dataset:
    """The data set, checked; files are looked at once for a grid of corruptions, a corruption once for all data."""
    bare, corruption = ref.plain, ref.corruption
    if bare not in plain:
        data: Dataset = bare.build()
        data.check()
        if wrong := declarations.complaint(data):
            raise BadPlugin(f"dataset {bare.label}: {wrong}")
        _check_ids(data.ids(), data.count, bare.label)
        plain[bare] = data, data.digest()
    data = plain[bare][0]
    if corruption is None:
        return data
    wrapped = Corrupted(data, corruption)
    if corruption not in tried:
        wrapped.try_out()
        tried.add(corruption)
    return wrapped


def _refuse_small_images(suite: Suite, corrupted_data: Mapping[Ref, Dataset]) -> None:
    """Raise MissingData, once for all cells, where images are too small to be corrupted."""
    for ref, data in corrupted_data.items():
        if small := corrupted.too_small(data):
            cells = [cell for cell in suite.cells if cell.dataset.plain == ref and cell.dataset.corruption]
            raise MissingData(
                f"{small}, which {len(cells)} of {len(suite.cells)} cells ask for; leave corruption and corruptions out"
                f" of the entry of {ref.label}, or take larger images"
            )


def _check_ids(ids: Sequence[str], count: int, label: str) -> None:
    """Refuse ids that results and files cannot hold apart; those that are paths are written under other names."""
    if len(ids) != count:
        raise MissingData(f"dataset {label} has {len(ids)} images, its card says {count}")
    seen: dict[str, str] = {}
    for sample in ids:
        if not isinstance(sample, str) or not sample or not sample.isprintable():
            raise BadPlugin(f"dataset {label}: {sample!r} is no id; wanted text of letters, digits, '.', '_' and '-'")
        key = file_name(sample).casefold()
        if key in seen:
            same = "comes twice" if seen[key] == sample else f"and {seen[key]!r} differ only in case"
            raise BadPlugin(f"dataset {label}: the id {sample!r} {same}, which files cannot tell apart; rename one")
        seen[key] = sample


def _refusal(cell: Cell, checked: Checked, confident: bool) -> Refusal | None:
    """Return why a cell is not applicable. A method that merely was not fitted yet stops the run instead."""
    model, data = checked.models[cell.model], checked.datasets[cell.dataset]
    protocol: Protocol = checked.built(cell.protocol)
    if lacking := protocol.truths - data.annotations:
        why = getattr(data, "hidden", "")  # of readers on disk: frames that are there for submissions alone
        needs = f"{cell.dataset.label} has no {' and no '.join(sorted(lacking))}, which {cell.protocol.name} needs"
        return Refusal(_code("truth", lacking), f"{needs}: {why}" if why else needs)
    if "labels" in protocol.needs and not class_map.same(model.class_names, data.class_names):
        code = _code("classes", {*model.class_names} ^ {*data.class_names})
        return Refusal(code, f"{cell.model.label} and {_other_names(cell.dataset, data, model)}")
    if "labels" in protocol.needs and (refusal := _other_table(cell, data, protocol)):
        return refusal
    fit = cell.method and cell.method.fit
    if cell.method and fit and not class_map.same(checked.datasets[fit].class_names, model.class_names):
        names = _other_names(fit, checked.datasets[fit], model)
        return Refusal("classes-of-fit", f"{cell.method.label} cannot be fitted: {cell.model.label} and {names}")
    offered = inference.offered(model, merged=True) | ({"logits"} & model.outputs)
    if "prediction" in protocol.needs and not {"logits", "labels", "class_scores", "probabilities"} & offered:
        return Refusal("class-map", f"{cell.model.label} gives no class map, which {cell.protocol.name} needs")
    if cell.method is None:
        return None
    method: Method = checked.built(cell.method)
    offers = inference.offered(model, merged=method.merge == "merged")
    if lacking := method.needs - offers:
        outputs = ", ".join(sorted(offers))
        reason = f"{cell.method.label} needs {', '.join(sorted(lacking))}; {cell.model.label} gives {outputs}"
        if getattr(method, "on", "") == "logits" and "class_scores" in offers:
            reason += f"; say {cell.method.name}: {{on: class_scores}} for what papers report of mask classifiers"
        return Refusal(f"{_code('outputs', lacking)} of {_code('', offers)}", reason)
    sure = method.confidence(np.zeros((1, 1), np.float32)) is not None
    if protocol.reads == "confidence" and confident and not sure:
        return Refusal("confidence", f"{cell.method.label} gives no confidence, which {cell.protocol.name} needs")
    if isinstance(method.fitting, Constants) and not class_map.same(method.fitting.classes, model.class_names):
        reason = f"{cell.method.label} holds constants for other classes than those of {cell.model.label}"
        return Refusal("constants", reason)
    if fitted_store.must_fit(method) and cell.method.fit is None:
        raise NotFitted(
            f"{cell.method.label} means nothing unfitted; say in the suite on what: "
            f"{cell.method.name}: {{fit: {{data: a labelled training split}}}}"
        )
    if isinstance(method, Refinement) and method.learns and (refusal := _no_truth(cell, method, checked)):
        return refusal
    if isinstance(protocol, RefinementAware) and (why := protocol.refuses(method)):
        return Refusal("protocol", why)
    if (cell.method, cell.model) not in checked._met:
        with checked.noting(cell.method):
            method.check(model)
            checked.method_digests[cell.method] = method.digest()
        checked._met.add((cell.method, cell.model))
    return None


def _refuse_shared_thresholds(suite: Suite, checked: Checked) -> None:
    """Leave out cells whose protocol has one threshold for scores of several scales."""
    by_protocol: dict[Ref, list[Cell]] = {}
    for cell in suite.cells:
        if cell.method is not None and cell.key not in checked.refused:
            by_protocol.setdefault(cell.protocol, []).append(cell)
    for ref, cells in by_protocol.items():
        protocol = checked.built(ref)
        pairs = {(cell.model, cell.method) for cell in cells}
        if not isinstance(protocol, CarriesThreshold) or protocol.carried is None or len(pairs) < 2:
            continue
        reason = (
            f"the threshold {protocol.carried:g} is one of a single method on a single network, and here are"
            f" {len(pairs)} such pairs: say {ref.name}: {{threshold: ..., methods: [NAME]}}, or carry thresholds with"
            " operating_points"
        )
        checked.refused |= {cell.key: Refusal("threshold", reason) for cell in cells}


def _no_truth(cell: Cell, method: Refinement, checked: Checked) -> Refusal | None:
    """Return why a refinement has nothing to learn from."""
    assert cell.method is not None  # noqa: S101 - the caller built it
    fitting = method.fitting if isinstance(method.fitting, Fitting) else Fitting()
    lacking = fitting.needs - checked.datasets[cell.dataset].annotations
    if cell.method.fit is not None or not lacking:
        return None
    needs = f"{cell.dataset.label} has no {' and no '.join(sorted(lacking))}, which {cell.method.label} learns from"
    advice = f"fit it on other data: {method.name}: {{fit: {{data: ...}}}}"
    return Refusal(_code("truth-to-learn", lacking), f"{needs}; {advice}")


def _code(word: str, values: Collection[str]) -> str:
    return " ".join([word, *sorted(values)]).strip()


def _require_other_tags(cell: Cell, checked: Checked) -> None:
    """Refuse a tag that would take the place of what the protocol counts apart; those of later images are seen late."""
    protocol = checked.built(cell.protocol)
    if not isinstance(protocol, Breakdown):
        return
    nothing = Counts(32, [Column(np.empty(0, np.uint32), None)] * len(protocol.category_names))
    axes: Collection[str] = ()
    with suppress(Exception):  # of a protocol that reads rows, of which there are none yet
        axes = protocol.breakdown(nothing, {}).keys()
    if axes and (twice := {*axes} & checked.tags(cell.dataset)):
        raise BadSuite(f"{cell.dataset.label}: {slices.AMBIGUOUS.format(min(twice))}")


def _require_other_data(cell: Cell, checked: Checked) -> None:
    """A refinement learns the very truth that it is judged by: not that of the same images."""
    if cell.method is None or cell.method.fit is None or not isinstance(checked.built(cell.method), Refinement):
        return
    if cell.method.fit.spelled() == cell.dataset.spelled():
        raise BadSuite(
            f"{cell.method.label} would be judged on the images that it learns from, {cell.dataset.label}; leave its"
            " fit out, and images are judged by what other groups of images taught, or fit it on other data"
        )


def _other_table(cell: Cell, data: Dataset, protocol: Protocol) -> Refusal | None:
    """Return why a protocol that fills a table of classes cannot hold those of the data."""
    number, only = len(data.class_names), getattr(protocol, "only_classes", None)
    if only and number != only:
        reason = f"{cell.protocol.label} is defined for {only} classes, {cell.dataset.label} has {number}"
        return Refusal(f"classes-defined {only} {number}", reason)
    counted = getattr(protocol, "classes", None)
    if isinstance(counted, int) and number > counted:
        reason = f"{cell.protocol.label} counts {counted} classes, {cell.dataset.label} has {number}"
        cure = f"write {cell.protocol.name}: {{classes: {number}}}"
        return Refusal(f"classes-counted {counted} {number}", f"{reason}; {cure}")
    if getattr(protocol, "by", "") == "class" and not class_map.same(counted or (), data.class_names):
        reason = f"{cell.protocol.label} names other classes than {cell.dataset.label} has"
        cure = f"write {cell.protocol.name}: {{by: class, classes: [{', '.join(data.class_names)}]}}"
        return Refusal(f"classes-named {number}", f"{reason}; {cure}")
    return None


def _other_names(ref: Ref, data: Dataset, model: SegModel) -> str:
    advice = class_map.advice(data.class_names, ref.class_map, model.class_names)
    return f"{ref.label} name different classes; {advice}"

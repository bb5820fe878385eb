"""What ``bench submit`` does, command by command: a run or a suite in, an archive and a card out."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from PIL import Image

from bench.api import Dataset, Protocol, Value
from bench.core.errors import BadScores, BadSuite, MissingData, UsageError, UserError
from bench.evaluate import evaluation
from bench.evaluate.frames import Folder, Frames, Published
from bench.results import store
from bench.results.store import Run
from bench.run import score_maps
from bench.submissions import check_cityscapes, check_fishyscapes, check_smiyc, cityscapes, fishyscapes, smiyc
from bench.submit import archive_writer, archives, boards, card, float16_maps, sandbox
from bench.submit import dry_run as trials
from bench.submit.archive_writer import Progress
from bench.submit.archives import Archive
from bench.submit.card import Stated
from bench.submit.dry_run import Compared
from bench.submit.verdict import Verdict
from bench.suite import expansion as suites
from bench.suite import registry
from bench.suite.expansion import Suite

Board = Literal["smiyc", "fishyscapes", "cityscapes"]


@dataclass(frozen=True)
class Source:
    """Where a method comes from."""

    suite: Suite
    run: Run | None  # whose figures are the claim

    @classmethod
    def named(cls, run: Path | None, suite: str | None, method: str | None, model: str | None) -> Source:
        """One method on one network, of a run directory or of a suite."""
        if (run is None) == (suite is None):
            raise UsageError("say where the method comes from: either --run RUN or --suite SUITE")
        found = store.read_run(run) if run else None
        path = run / "suite.yaml" if run else suites.locate(str(suite))
        return cls(score_maps.narrowed(suites.load(path), method, model), found)


def _results(source: Source, choice: score_maps.Choice, protocols: Sequence[str]) -> list[store.Result]:
    return card.claims(source.run, choice, protocols) if source.run else []


def make_smiyc(
    source: Source, request: smiyc.Request, transform: str | None, stated: Stated, progress: Progress
) -> Iterator[str]:
    """The archive and its card; lines for people."""
    choice = score_maps.choose(source.suite, progress.advance)
    if choice.method is None:
        raise BadSuite(f"{source.suite.name} has no method there; wanted one that scores pixels")
    method = registry.plugin("method", choice.method.name, where=choice.method.label)
    request = replace(request, transform=float16_maps.transform_of(method, transform))
    record = smiyc.write(choice, request, progress)
    results = _results(source, choice, sorted({smiyc.stored(name).protocol for name in request.sets}))
    more = {"transform": request.transform, "archive": {"name": record["archive"], "sha256": record["sha256"]}}
    made = card.made("smiyc", stated, choice, results, archive_writer.seconds(record), more | {"sets": record["sets"]})
    card.write(request.out, made)
    for name, one in record["sets"].items():
        lost = 100 * (1 - one["distinct_after"] / one["distinct_before"])
        least = one["least_kept"]
        yield (
            f"{name}: {one['frames']} maps; float16 ({request.transform}) lost {lost:.1f} % of the distinct values,"
            f" most in {least['frame']}, which kept {100 * least['share']:.1f} %"
        )
    root = f"{smiyc.TREE}/{request.name}/" if request.root == "tree" else "the folders of the sets"
    yield f"{request.archive}: its root is {root}"
    yield from _card_lines(request.out)
    yield from boards.left_to_do("smiyc")


def make_cityscapes(
    source: Source,
    out: Path,
    name: str,
    split: cityscapes.Split,
    frames: int | None,
    processes: int,
    stated: Stated,
    progress: Progress,
) -> Iterator[str]:
    """The archive and its card; lines for people."""
    choice = score_maps.choose(source.suite, progress.advance, scored=False)
    record = cityscapes.write(choice, out, name, split, frames, processes, progress)
    more = {"split": split, "archive": {"name": record["archive"], "sha256": record["sha256"]}}
    results = [one for one in _results(source, choice, ["miou"]) if one.labels["protocol"].startswith("miou")]
    card.write(out, card.made("cityscapes", stated, choice, results, archive_writer.seconds(record), more))
    yield f"{out / record['archive']}: {record['sets'][split]['frames']} class maps of label ids, split {split}"
    yield from _card_lines(out)
    yield from boards.left_to_do("cityscapes")


def make_fishyscapes(source: Source, out: Path, name: str, which: str | None, stated: Stated) -> Iterator[str]:
    """The package; lines for people."""
    if source.run is None:
        raise UsageError("the board wants the AP and FPR95 of a real validation run: name it with --run")
    choice = score_maps.choose(source.suite)
    claim = fishyscapes.claim_of(_results(source, choice, ["fishyscapes"]), which)
    result = claim.result
    spent = sum(result.seconds.get(stage, 0.0) for stage in ("predict", "score"))
    seconds = round(spent / result.images, 4) if result.images else None
    made = card.made("fishyscapes", stated, choice, [result], seconds, {"seconds_are": "CPU seconds of the run"})
    package = fishyscapes.write(choice, out, name, claim, made)
    yield f"{package}: claims AP {claim.ap:.4f} and FPR95 {claim.fpr:.4f} on {result.labels['dataset']}"
    yield from _card_lines(package)
    yield from boards.left_to_do("fishyscapes")


def _card_lines(folder: Path) -> Iterator[str]:
    yield f"method card: {folder / 'card.yaml'}, {folder / 'card.md'}"
    import yaml

    written = yaml.safe_load((folder / "card.yaml").read_text(encoding="utf-8"))
    asked = {"paper": "--paper", "code": "--code", "requires_ood_data": "--ood-data or --no-ood-data"}
    asked |= {"requires_retraining": "--retraining or --no-retraining"}
    for key, option in asked.items():
        if written.get(key) == card.UNSAID:
            yield f"the board asks for {key}, which is not stated yet: {option}"


def board_of(archive: Archive) -> Board:
    """Which leaderboard an archive is for, by the names in it."""
    names = archive.members.keys()
    if any(name.endswith(".hdf5") for name in names) or any(f"{one}/" in name for one in smiyc.SETS for name in names):
        return "smiyc"
    if check_fishyscapes.CLAIM in names or set(check_fishyscapes.BUILT_BY) & names:
        return "fishyscapes"
    if any(name.endswith(".png") for name in names):
        return "cityscapes"
    raise BadScores(
        f"{archive.path}: holds neither .hdf5 maps nor .png class maps nor a package; say what it is for with --board"
    )


def check(
    path: Path,
    board: Board | None,
    frames: Mapping[str, int],
    labels: Path | None,
    pair: str,
    sets: Sequence[str] = (),
) -> tuple[Verdict, Archive]:
    """Hold an archive against the rules of its board. The archive stays open: the caller closes it."""
    for name in sets:
        smiyc.stored(name)
    archive = archives.opened(path)
    chosen = board or board_of(archive)
    if chosen == "fishyscapes":
        return check_fishyscapes.check(archive), archive
    if chosen == "cityscapes":
        split = next((name for name in ("val", "test") if name in frames), None)
        count = frames.get(split) if split else None
        return check_cityscapes.check(archive, split, count), archive  # type: ignore[arg-type]
    truth: Frames | None = None
    if labels is not None:
        truth = Folder(labels, pair)
        truth.check([_anomaly()])
    verdict = check_smiyc.check(archive, frames, truth, sets)
    verdict.notes += _lost(path)
    return verdict, archive


def _lost(path: Path) -> Iterator[str]:
    """What the record beside an archive says of the cast, if it is about these bytes; a strange one says nothing."""
    record = archive_writer.record_of(path) or {}
    sets = record.get("sets")
    for name, one in sets.items() if isinstance(sets, dict) else ():
        before, after = (
            one.get(key) if isinstance(one, dict) else None for key in ("distinct_before", "distinct_after")
        )
        if isinstance(before, int) and isinstance(after, int) and before > 0:
            yield f"{name}: {100 * (1 - after / before):.1f} % of the distinct values were lost in the cast to float16"


def _anomaly() -> Protocol:
    built: Protocol = registry.build("protocol", "anomaly", {}, where="labels")
    return built


@dataclass(frozen=True)
class Trial:
    """What a dry run found."""

    compared: tuple[Compared, ...]
    lines: tuple[str, ...]
    verdict: Verdict

    @property
    def passed(self) -> bool:
        return not self.verdict.failures and all(one.agrees for one in self.compared)


def dry_run(
    path: Path,
    board: Board | None,
    frames: Mapping[str, int],
    run: Path | None,
    method: str | None,
    model: str | None,
    labels: Path | None,
    pair: str,
    timeout: float,
    limit: int | None,
    sets: Sequence[str] = (),
) -> Trial:
    """Check an archive, then evaluate it from its files, or run the package, and hold that against the claim."""
    verdict, archive = check(path, board, frames, labels, pair, sets)
    try:
        if verdict.failures:
            return Trial((), (), verdict)
        if verdict.board == "fishyscapes":
            return _run_package(archive, verdict, timeout, limit)
        claimed = _of_run(run, method, model)
        record = archive_writer.record_of(path) or {}
        if verdict.board == "smiyc":
            made_from = record.get("made_from", {})
            transform = made_from.get("transform", "identity") if isinstance(made_from, dict) else "identity"
            found = trials.smiyc_maps(archive, frames, claimed, str(transform), labels, pair)
        else:
            found = trials.cityscapes_maps(archive, frames.get("val"), claimed)
        if not found:
            raise MissingData(f"{path}: no labelled frame of it is here, so nothing was evaluated")
        lines = ["evaluated again from the files of the archive"]
        if all(one.claimed is None for one in found):
            lines.append("nothing was compared: " + _why_not(run))
        return Trial(tuple(found), tuple(lines), verdict)
    finally:
        archive.close()


def _why_not(run: Path | None) -> str:
    return "name the run with --run" if run is None else f"{run} has no result on exactly these frames"


def _of_run(run: Path | None, method: str | None, model: str | None) -> Run | None:
    if run is None:
        return None
    found = trials.of_method(store.read_run(run), model, method)
    for axis in ("model", "method"):
        labels = sorted({result.labels[axis] for result in found.results if axis in result.labels})
        if len(labels) > 1:
            raise UsageError(f"{run} has {len(labels)} {axis}s: {', '.join(labels)}; name one with --{axis}")
    return found


def _run_package(archive: Archive, verdict: Verdict, timeout: float, limit: int | None) -> Trial:
    """Run the entry point on the frames of the claim, read its files back, and compare."""
    package = archive.path
    if not package.is_dir():
        raise BadScores(f"{package}: unpack it first: a dry run runs the program in its folder")
    claim = check_fishyscapes.claim(archive, verdict)
    dataset = _dataset_of(package)
    with tempfile.TemporaryDirectory(prefix="bench-dry-run-") as folder:
        images, out = Path(folder, "input"), Path(folder, "output")
        images.mkdir()
        out.mkdir()
        out.chmod(0o777)
        sizes: dict[str, tuple[int, int]] = {}
        for index, name in enumerate(dataset.ids()[:limit]):
            sample = dataset.load(index)
            stem = name if check_fishyscapes.NUMBERED.fullmatch(name) else f"{index:04}_{name}"
            Image.fromarray(sample.image()).save(images / f"{stem}.png", compress_level=1)
            sizes[stem] = sample.size
        outcome = sandbox.run([str(package.resolve() / fishyscapes.ENTRY)], images, out, _seen(package), timeout)
        lines = [f"kept in: {one}" for one in outcome.isolation]
        if outcome.why:
            lines = [f"NOT kept in: this system gives no namespaces ({outcome.why}); it ran as you, with your network"]
        lines.append(
            f"{len(sizes)} images in {outcome.seconds:.1f} seconds, {outcome.seconds / len(sizes):.3f} each, the start"
            f" included; it said last: {outcome.said or 'nothing'}"
        )
        if outcome.status:
            said = f"ended with status {outcome.status}: {outcome.said or 'it said nothing'}"
            verdict.failures.append(archives.Failure("runs", fishyscapes.ENTRY, said))
            return Trial((), tuple(lines), verdict)
        check_fishyscapes.check_output(out, sizes, verdict)
        if verdict.failures or limit is not None:
            if limit is not None:
                lines.append("nothing was compared: a claim is about all frames, and --limit took some")
            return Trial((), tuple(lines), verdict)
        protocol: Protocol = registry.build("protocol", "fishyscapes", {}, where="dry-run")
        report = evaluation.score([protocol], [Published(dataset)], out, None, evaluation.Options(resamples=0))
    figures = report.evaluations[0].figures
    compared = []
    for name, key in (("ap", "ap"), ("fpr95", "fpr")):
        figure = figures[name]
        if not isinstance(figure, Value):
            raise BadScores(f"{package}: {name} has no value on these frames: {figure.reason}")
        compared.append(Compared("validation", name, figure.value, claim[key], trials.CLAIM))
    return Trial(tuple(compared), tuple(lines), verdict)


def _seen(package: Path) -> list[Path]:
    """What the program needs of this machine where /tmp is hidden: itself and the Python that runs it."""
    import sys

    places = [package, Path(sys.prefix), Path(sys.base_prefix)]
    return [place.resolve() for place in places]


def _dataset_of(package: Path) -> Dataset:
    """The frames of the claim, by the package's own words."""
    path = package / fishyscapes.METHOD
    if not path.is_file():
        raise MissingData(f"{path} does not exist: nothing says on which frames the claim was measured")
    raw: Any = store.read_json(path)
    try:
        found = raw["claim"]["dataset"]
        params = {key: value for key, value in found["params"].items() if value is not None}
        built: Dataset = registry.build("dataset", found["name"], params, where=str(path))
    except (KeyError, TypeError, AttributeError) as error:
        raise MissingData(f"{path} does not say which data set the claim is about: {error}") from None
    built.check()
    return built


def make_entry(out: Path, returned: Path) -> Path:
    """``leaderboard_entry.json`` of the scores that the server returned and the card."""
    import yaml

    place = out / "card.yaml"
    try:
        about = yaml.safe_load(place.read_text(encoding="utf-8"))
        scores = json.loads(returned.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise MissingData(f"{returned} and {place} are needed: {error}") from None
    if not isinstance(about, dict) or about.get("board") != "smiyc":
        raise BadScores(f"{place} is no card of a submission to smiyc")
    if not isinstance(about.get("requires_ood_data"), bool):
        raise BadScores(f"{place} does not say requires_ood_data: make it again with --ood-data or --no-ood-data")
    links = {key: "" if about.get(key) == card.UNSAID else str(about.get(key)) for key in ("paper", "code")}
    facts = {"method": str(about.get("title")), "requires_ood": about["requires_ood_data"], **links}
    path = out / "leaderboard_entry.json"
    store.write_json(path, smiyc.entry(scores, facts, str(returned)))
    return path


def silenced(error: UserError) -> str:
    """What may stand in a public log: that it failed, and at what kind of thing, never a file or a figure."""
    return f"the evaluation could not be done ({type(error).__name__}); the private log says why"

"""Make the frozen outputs: what a few short runs, reports, scores and submissions come to, as text to compare.

    python tests/frozen/make_outputs.py FOLDER

writes them to FOLDER with the ``bench`` that Python finds. ``tests/frozen/outputs`` holds what the code gave before it
was restructured, and ``test_outputs.py`` compares. FOLDER may be ``tests/frozen/outputs`` itself only where an output
was changed on purpose, in the commit that changes it, with the reason in its message: never to silence a difference.

On a machine with another fingerprint the test compares loosely. To compare every bit there, too, make a reference with
the code of before (a worktree of the commit before a change, named by PYTHONPATH) and name it to the test:

    PYTHONPATH=BEFORE python tests/frozen/make_outputs.py REFERENCE
    FROZEN_OUTPUTS=REFERENCE python -m pytest tests/frozen

Nothing here imports a module of ``bench``: the command line runs in this process, so that torch is loaded once.
"""

from __future__ import annotations

import base64
import contextlib
import gzip
import hashlib
import io
import json
import os
import platform
import re
import runpy
import sys
import tempfile
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from html.parser import HTMLParser
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import yaml
from PIL import Image
from pyarrow import parquet

import bench as bench_package

SHORT = ["--workers", "0"]
BOARDS = """
title: Boards
note: Synthetic street scenes. Not comparable with any paper.
protocols: [smiyc_anomaly, smiyc_obstacle, fishyscapes, misclassification, miou]
models: [toynet]
datasets:
  - smiyc: {track: RoadAnomaly21, split: validation, frames: 5, label: Anomaly, protocols: [smiyc_anomaly]}
  - smiyc: {track: RoadObstacle21, split: validation, frames: 5, label: Obstacle, protocols: [smiyc_obstacle]}
  - fishyscapes: {set: lost_and_found, frames: 6, label: FS, protocols: [fishyscapes]}
  - cityscapes: {split: val, frames: 4, label: City, protocols: [misclassification, miou]}
methods: [maxlogit, msp, energy]
bootstrap: 100
"""
TRACKS = "AnomalyTrack-all=6,ObstacleTrack-all=6"
LAYOUTS = {"smiyc_anomaly": ("smiyc", 6), "smiyc_obstacle": ("smiyc", 6), "fishyscapes": ("fishyscapes", 6)}
LAYOUTS |= {"cityscapes": ("cityscapes", 4)}
PACKAGES = ("torch", "numpy", "numba", "scipy", "scikit-learn", "pillow", "h5py", "pandas", "pyarrow", "tabulate")
PACKAGES += ("jinja2", "rich", "safetensors")

MOVING = {  # fields that tell when, where and by what a number was made
    "key", "keys", "cell", "depends", "provenance", "seconds", "memory_mb", "created", "command", "commit", "digest",
    "digests", "stamp", "model_digest", "data_digest", "code", "numerics", "seconds_per_image",
}  # fmt: skip
PATTERNS = (
    (re.compile(r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d)?(\+00:00)?( to (\d{4}-\d\d-\d\d )?\d\d:\d\d)?( UTC)?"), "TIME"),
    (re.compile(r"(?<![.\w])(?=[0-9a-f]*\d)[0-9a-f]{12,64}\b"), "DIGEST"),
    (re.compile(r"(seconds per image \| )[\d.]+"), r"\1SECONDS"),
    (re.compile(r"(ood[-_]seg[-_]bench\D{0,24}?)\d+\.\d+\.\d+\S*"), r"\1VERSION"),
)
# In a page and on a card: which versions of which computations, digests and times a figure hangs on.
MADE_BY = re.compile(
    r"<dt>(Computed|Commit|ood-seg-bench|origin\.(code|numerics|\w+_digest|computations[^<]*(<wbr>[^<]*)*))</dt><dd>.*?</dd>"
    r"|^- [\w ]+: `[^`\n]*`\n"
    r"|<span class=\"ms\">[^<]*</span>",
    re.MULTILINE,
)
WORDS_MADE_BY = re.compile(r"TIME|DIGEST|^bench |^depends on |^[\d.]+$|^(\w+ \d+ ?)+$|^\d+\.\d+\.\d")


def bench(*argv: str) -> str:
    """Run one command in this process; what it printed, without what may move."""
    printed = io.StringIO()
    arguments, sys.argv = sys.argv, ["bench", *argv]
    try:
        with contextlib.redirect_stdout(printed), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            runpy.run_module("bench", run_name="__main__", alter_sys=True)
    except SystemExit as end:
        if end.code:
            raise RuntimeError(f"bench {' '.join(argv)}: exit status {end.code}\n{printed.getvalue()}") from None
    finally:
        sys.argv = arguments
    return steady(printed.getvalue())


def steady(text: str) -> str:
    """A text without times, digests, versions and the folder that it was made in."""
    text = text.replace(str(Path.cwd()), "FOLDER")
    for pattern, name in PATTERNS:
        text = pattern.sub(name, text)
    return text


def still(content: Any) -> Any:
    """The same for JSON: fields that may move are left out."""
    if isinstance(content, Mapping):
        return {steady(str(name)): still(part) for name, part in content.items() if name not in MOVING}
    if isinstance(content, list | tuple):
        return [still(part) for part in content]
    return steady(content) if isinstance(content, str) else content


def digest(content: bytes) -> str:
    """So few digits that the files stay small: they are to tell a change, and nobody forges one."""
    return hashlib.sha256(content).hexdigest()[:10]


def digest_of_json(content: Any) -> str:
    return digest(json.dumps(content, sort_keys=True).encode())


def array_digest(array: np.ndarray[Any, Any]) -> str:
    """Type, shape and content of an array in one line."""
    shape = ",".join(map(str, array.shape))
    return f"{array.dtype}[{shape}] {digest(np.ascontiguousarray(array).tobytes())}"


def arrays_of(path: Path) -> dict[str, str]:
    """The arrays of a file, each in one line; of one that is packed its ends and its kind stand in the same line."""
    with np.load(path, allow_pickle=False) as file:
        arrays = dict(file)
    lines = {name: array_digest(array) for name, array in arrays.items()}
    for name in [name.removesuffix(".ends") for name in arrays if name.endswith(".ends")]:
        if f"{name}.scalar" in arrays:
            kind = "numbers" if arrays[f"{name}.scalar"] else "lists"
            lines[name] += f" {kind} to {lines.pop(f'{name}.ends')}"
            del lines[f"{name}.scalar"]
    return lines


def map_digest(array: np.ndarray[Any, Any]) -> dict[str, Any]:
    """The same, and figures that tell how far two maps are apart where they are not equal."""
    return {"array": array_digest(array), "mean": float(array.astype(np.float64).mean())}


def fingerprint(provenance: Mapping[str, Any]) -> dict[str, Any]:
    """What must be equal for outputs to be equal to the last bit.

    To the numerics that a run records come the libraries that write files, and what NumPy and the matrix libraries see
    of the CPU: they choose their kernels by it.
    """

    def installed(package: str) -> str:
        try:
            return version(package)
        except PackageNotFoundError:
            return "absent"

    extensions = np.show_config(mode="dicts")["SIMD Extensions"]
    cpu = Path("/proc/cpuinfo")
    lines = cpu.read_text(encoding="utf-8").splitlines() if cpu.is_file() else []
    vendor = next((line.partition(":")[2].strip() for line in lines if line.startswith("vendor_id")), "")
    return {
        "python": platform.python_version(),
        "platform": provenance["platform"],
        "numerics": provenance["numerics"],
        "packages": {package: installed(package) for package in PACKAGES},
        "vendor": vendor,
        "vectors": " ".join(extensions.get("found", [])),
        "zlib": zlib.ZLIB_RUNTIME_VERSION,
    }


def cells_of(run: Path) -> dict[str, Any]:
    """Of every cell by its labels: figures in full, its counts array by array, its slices as digests."""
    cells: dict[str, Any] = {}
    for path in sorted((run / "cells").glob("*.json")):
        result = json.loads(path.read_text(encoding="utf-8"))
        content = {name: result[name] for name in ("metrics", "images", "partial", "not_applicable", "pixels")}
        content["slices"] = {axis: digest_of_json(parts) for axis, parts in result["slices"].items()}
        content["tags"] = digest_of_json(result["tags"])
        if fitted := result["fitted"]:
            content["fitted"] = {name: still(fitted[name]) for name in ("scalars", "decided") if name in fitted}
        content["counts"] = arrays_of(path.with_suffix(".npz"))
        cells[" / ".join(result["labels"].values())] = content
    return dict(sorted(cells.items()))


def columns_of(path: Path) -> dict[str, str]:
    """Type, length and content of each column of a Parquet file; the content of those that may move is left out."""
    table = parquet.read_table(path)
    lines = {
        name: f"{column.type}[{len(column)}]" for name, column in zip(table.column_names, table.columns, strict=True)
    }
    return {
        name: line if name in MOVING else f"{line} {digest_of_json(table[name].to_pylist())}"
        for name, line in lines.items()
    }


class Page(HTMLParser):
    """An HTML page as text with a line per row, and digests of all else. Its sections of costs and provenance move."""

    MOVES = frozenset({"cost", "provenance"})
    TEXTS = frozenset({"reading", "definitions", "sources"})  # long, and the same in every page
    BREAKS = frozenset({"tr", "p", "li", "div", "h1", "h2", "h3", "h4", "dt", "section", "figcaption", "summary", "dl"})

    def __init__(self, *, brief: bool) -> None:
        super().__init__()
        self._untold = self.MOVES | (self.TEXTS if brief else frozenset())
        self.text: list[str] = []
        self.markup: list[str] = []  # of the sections that do not move
        self.scripts: list[str] = []
        self.pictures: list[str] = []
        self._section = ""
        self._inside = ""  # script or style

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        if tag == "section":
            self._section = attributes.get("aria-labelledby") or ""
        if tag in {"script", "style"}:
            self._inside = f"{tag} {attributes.get('type') or ''}".strip()
        if (attributes.get("src") or "").startswith("data:"):
            self.pictures.append(digest(str(attributes["src"]).encode()))
            attributes["src"] = "PICTURE"
        if tag == "meta" and attributes.get("http-equiv"):
            attributes["content"] = re.sub(r"'sha256-[^']+'", "DIGEST", attributes["content"] or "")
        if self._section in self.MOVES:
            return
        self.markup.append(f"<{tag} {sorted(attributes.items(), key=str)}>")
        if self._section in self._untold:
            return
        if tag in self.BREAKS:
            self.text.append("\n")
        elif tag in {"td", "th", "dd"}:
            self.text.append(" | ")

    def handle_endtag(self, tag: str) -> None:
        if tag in {"script", "style"}:
            self._inside = ""
        if self._section not in self.MOVES:
            self.markup.append(f"</{tag}>")
        if tag == "section":
            self._section = ""

    def handle_data(self, data: str) -> None:
        if self._inside == "script application/json":
            self.scripts.append(f"data: {data}")
        elif self._inside:
            self.scripts.append(f"{self._inside.split()[0]}: {digest(data.encode())}")
        elif self._section not in self.MOVES:
            self.markup.append(data)
            if self._section not in self._untold:
                self.text.append(re.sub(r"\s+", " ", data))


def page_of(path: Path, *, brief: bool) -> dict[str, str]:
    """A page as ``html.txt``, what its tables say, and ``html.json``, digests of the rest."""
    page = Page(brief=brief)
    page.feed(MADE_BY.sub("", path.read_text(encoding="utf-8")))
    rows = [" ".join(line.split()) for line in steady("".join(page.text)).splitlines()]
    rest: dict[str, Any] = {
        "markup": digest(steady("".join(page.markup)).encode()),
        "pictures": " ".join(page.pictures),
    }
    rest["scripts"] = [script for script in page.scripts if not script.startswith("data:")]
    for script in page.scripts:
        if script.startswith("data:"):
            embedded = json.loads(gzip.decompress(base64.b64decode(script.removeprefix("data:"))))
            if cells := embedded.get("cells"):
                embedded["cells"] = cells_of_page(cells)
            kept = {name: still(part) for name, part in embedded.items() if name not in Page.MOVES}
            rest["data"] = {name: digest_of_json(part) for name, part in kept.items()}
    return {"html.txt": "\n".join(filter(None, rows)) + "\n", "html.json": as_json(rest)}


def cells_of_page(cells: Mapping[str, Any]) -> dict[str, Any]:
    """The table of all cells, without the places of words: these move where more cells differ in their time."""
    words = {steady(word) for word in cells["words"]}
    told = sorted(word for word in words if not WORDS_MADE_BY.search(word))
    rows = [
        [*row[:7], [cells["words"][part] if isinstance(part, int) else part for part in row[7]]]
        for row in cells["rows"]
    ]
    return {**cells, "rows": rows, "words": told}


def as_json(content: Any, depth: int = 2) -> str:
    """JSON with a line for each field down to a depth, so that a difference is read in a line."""
    return _spread(content, depth) + "\n"


def _spread(content: Any, depth: int) -> str:
    if depth and content and isinstance(content, dict):
        fields = [
            f"{json.dumps(name, ensure_ascii=False)}: {_spread(part, depth - 1)}" for name, part in content.items()
        ]
        return "{\n" + ",\n".join(fields) + "\n}"
    if depth and content and isinstance(content, list):
        return "[\n" + ",\n".join(_spread(part, depth - 1) for part in content) + "\n]"
    return json.dumps(content, ensure_ascii=False, separators=(",", ":"))


def archive_of(path: Path) -> dict[str, Any]:
    """Every file of a submission archive: digest of its bytes, and what its map holds."""
    members: dict[str, Any] = {"archive": digest(path.read_bytes())}
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            content = archive.read(info)
            members[info.filename] = {"bytes": digest(content)}
            if info.filename.endswith(".hdf5"):
                with h5py.File(io.BytesIO(content)) as file:
                    members[info.filename] |= {name: map_digest(file[name][()]) for name in file}
            elif info.filename.endswith(".png"):
                members[info.filename] |= {"map": map_digest(np.array(Image.open(io.BytesIO(content))))}
    return members


def spool_of(spool: Path) -> dict[str, str]:
    """Of each folder of kept maps: how many there are, and one digest of all."""
    folders: dict[str, list[str]] = {}
    for path in sorted(spool.rglob("*.npy")):
        described = f"{path.name} {array_digest(np.load(path, allow_pickle=False))}"
        folders.setdefault(path.parent.relative_to(spool).as_posix(), []).append(described)
    return {steady(folder): f"{len(lines)} {digest_of_json(lines)}" for folder, lines in folders.items()}


def package_of(folder: Path) -> dict[str, Any]:
    """A package of Fishyscapes: its own files as text, those that it copies by digest, the code in it not at all."""
    files: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if not path.is_file() or name.startswith("lib/") or name in {"manifest.json", "requirements.txt", "card.yaml"}:
            continue
        content = path.read_bytes()
        if name.endswith(".json"):
            files[name] = still(json.loads(content))
        elif name == "entry.py":  # the module that it calls is an affair of the code that is packed with it
            files[name] = re.sub(r"(from bench)[.\w]*( import)", r"\1\2", content.decode())
        elif "/" in name:
            files[name] = digest(content)
        else:
            files[name] = steady(MADE_BY.sub("", content.decode()))
    files["manifest.json"] = sorted(
        name for name in json.loads((folder / "manifest.json").read_text("utf-8"))["files"] if name[:4] != "lib/"
    )
    return files


def card_of(folder: Path) -> dict[str, Any]:
    """The method card and what is said of the archive."""
    card = still(yaml.safe_load((folder / "card.yaml").read_text(encoding="utf-8")))
    submission = folder / "submission.json"
    return {"card": card} | ({"submission": still(json.loads(submission.read_text()))} if submission.is_file() else {})


def write_maps(folder: Path) -> None:
    """Score maps with ties, labels and class maps of four frames, drawn as whole numbers: the same on every machine."""
    random = np.random.default_rng(5)
    for name in ("maps", "anomalies", "classes", "truth"):
        (folder / name).mkdir(parents=True)
    for number in range(4):
        level = random.integers(0, 48, (24, 32))
        anomaly = np.zeros((24, 32), np.uint8)
        if number != 2:  # a frame without an anomaly
            row, column = random.integers(2, 14, 2)
            anomaly[row : row + 6, column : column + 7] = 1
        anomaly[0] = 255
        truth = random.integers(0, 4, (24, 32)).astype(np.uint8)
        predicted = np.where(random.integers(0, 60, (24, 32)) < level, (truth + 1) % 4, truth).astype(np.uint8)
        score = ((level + 24 * (anomaly == 1)) / 64).astype(np.float32)
        np.save(folder / "maps" / f"frame{number}.npy", score)
        for name, labels in (("anomalies", anomaly), ("classes", predicted), ("truth", truth)):
            Image.fromarray(labels).save(folder / name / f"frame{number}.png")


def demo() -> Iterator[tuple[str, str]]:
    """A part of the demo: fits, a refined map, two networks, operating points, means, definitions, pictures."""
    for chosen in ("protocol=[acm]*,method=m*,dataset=toytown [av]*", "protocol=definitions*,method=maxlogit"):
        bench("run", "demo", "--out", "demo", "--only", chosen, "--limit", "2", "--gallery", "1", *SHORT)
    yield "cells.json", as_json(cells_of(Path("demo")))
    yield from reports("demo")
    yield "compare.txt", bench("compare", "demo@method=msp", "demo@method=maxlogit", "--metrics", "auroc,fpr95")
    some = ["--only", "protocol=anomaly,method=msp", "--by", "anomaly"]
    yield "slices.json", as_json(still(json.loads(bench("show", "demo", *some, "--format", "json"))))
    yield "slices.txt", bench("show", "demo", *some)
    yield "images.txt", bench("compare", "demo@method=msp", "demo@method=maxlogit", "--per-image", "--top", "1")


def reports(run: str, *, brief: bool = True) -> Iterator[tuple[str, str]]:
    """Every form that a run is shown in. In brief, what says the same as the page is told by digests."""
    for name, content in page_of(Path(run, "report.html"), brief=brief).items():
        yield f"report.{name}", content
    forms = {"show.txt": bench("show", run)}
    for kind in ("md", "tex"):
        bench("report", run, "--format", kind)
        forms[f"report.{kind}"] = text_of(Path(run, f"report.{kind}"))
    summaries = still(json.loads(Path(run, "summaries.json").read_text(encoding="utf-8")))
    digests = {"summaries.json": [digest_of_json(summary) for summary in summaries]}
    if brief:
        yield "forms.json", as_json(digests | {name: digest(text.encode()) for name, text in forms.items()})
    else:
        yield "forms.json", as_json(digests)
        yield from forms.items()


def whole_reports(run: str) -> Iterator[tuple[str, str]]:
    """The forms with a row per number, and options of the others. Those of all cells at once are told by a digest."""
    some = ["--only", "protocol=misclassification"]
    yield "show.json", as_json(still(json.loads(bench("show", run, "--format", "json", *some))))
    yield "table.csv", text_of(report(run, "csv", *some))
    yield "table.parquet.json", as_json(columns_of(report(run, "parquet", *some)))
    yield "means.csv", text_of(report(run, "csv", "--table", "means"))
    for kind in ("md", "tex", "csv"):
        yield f"paper.{kind}", text_of(report(run, kind, "--table", "paper"))
    for kind in ("md", "tex"):
        yield f"baseline.{kind}", text_of(report(run, kind, "--baseline", "msp", *some))
    yield "paper.parquet.json", as_json(columns_of(report(run, "parquet", "--table", "paper")))
    yield "means.parquet.json", as_json(columns_of(report(run, "parquet", "--table", "means")))
    yield "captions.tex", text_of(report(run, "tex", "--captions", "--intervals", "--table", "paper", "--digits", "3"))
    whole = {"json": digest_of_json(still(json.loads(bench("show", run, "--format", "json"))))}
    whole["csv"] = digest(text_of(report(run, "csv")).encode())
    whole["parquet"] = columns_of(report(run, "parquet"))
    yield "whole.json", as_json(whole)


def report(run: str, kind: str, *options: str) -> Path:
    bench("report", run, "--format", kind, "--out", f"one.{kind}", *options)
    return Path(f"one.{kind}")


def text_of(path: Path) -> str:
    return steady(path.read_text(encoding="utf-8"))


def corruptions() -> Iterator[tuple[str, str]]:
    """Two corruptions of the grid on scenes in the files of Cityscapes."""
    for corruption in ("snow", "defocus_blur"):
        chosen = f"method=m*,dataset=*{corruption}-[14]"
        bench("run", "toytown_c", "--out", "corruptions", "--only", chosen, "--limit", "1", "--gallery", "0", *SHORT)
    yield "cells.json", as_json(cells_of(Path("corruptions")))
    yield from reports("corruptions")


def meta() -> Iterator[tuple[str, str]]:
    """Two refinements, of which one was fitted: tables of segments, decisions, second phases on refined maps."""
    for chosen in ("method=entropy +*", "method=entropy,protocol=segments*"):
        bench("run", "toytown_meta", "--out", "meta", "--only", chosen, "--limit", "8", "--gallery", "1", *SHORT)
    yield "cells.json", as_json(cells_of(Path("meta")))
    yield from reports("meta")
    for path in sorted(Path("meta", "decisions").glob("*.json")):
        decision = json.loads(path.read_text(encoding="utf-8"))
        name = re.sub(r"\W+", "-", decision["method"])
        decision["classifiers"] = {key: digest_of_json(weights) for key, weights in decision["classifiers"].items()}
        yield f"decision-{name}.json", as_json(still(decision))
        tables = sorted(Path("meta").glob(f"*/{path.stem}.parquet"))
        yield f"tables-{name}.json", as_json({table.parent.name: columns_of(table) for table in tables}, 1)


def boards() -> Iterator[tuple[str, str]]:
    """A whole run on the layouts of three boards, with its maps; what is submitted of it; every form of a report."""
    for layout, (folder, images) in LAYOUTS.items():
        options = ["--out", f"data/{folder}", "--images", str(images), "--size", "64x128"]
        bench("data", "toytown", "--layout", layout, *options)
    Path("boards.yaml").write_text(BOARDS, encoding="utf-8")
    bench("run", "boards.yaml", "--out", "boards", "--keep-maps", "--gallery", "1", *SHORT)
    yield "cells.json", as_json(cells_of(Path("boards")))
    yield from reports("boards", brief=False)
    yield from whole_reports("boards")
    sides = ["boards@method=msp", "boards@method=maxlogit"]
    yield (
        "compare.json",
        as_json(still(json.loads(bench("compare", *sides, "--metrics", "auroc,ap", "--format", "json")))),
    )
    yield "spool.json", as_json(spool_of(Path("boards", "spool")))
    of = ["--run", "boards", "--name", "MaxLogit"]
    submit = bench("submit", "smiyc", *of, "--method", "maxlogit", "--frames", TRACKS, "--out", "smiyc")
    yield "smiyc.txt", submit + bench("submit", "check", "smiyc/MaxLogit.zip", "--frames", TRACKS)
    yield "smiyc.json", as_json(archive_of(Path("smiyc", "MaxLogit.zip")) | card_of(Path("smiyc")))
    package = Path("fishyscapes", "MaxLogit")
    bench("submit", "fishyscapes", *of, "--method", "maxlogit", "--set", "FS", "--out", "fishyscapes")
    yield "fishyscapes.json", as_json(package_of(package) | card_of(package))
    val = ["--split", "val", "--frames", "val=4"]
    yield "cityscapes.txt", bench("submit", "cityscapes", "--run", "boards", "--name", "City", *val, "--out", "city")
    yield "cityscapes.json", as_json(archive_of(Path("city", "City.zip")) | card_of(Path("city")))


def score() -> Iterator[tuple[str, str]]:
    """Maps that no network made."""
    write_maps(Path("score"))
    maps = ["--scores", "score/maps", "--labels", "score/anomalies", "--bootstrap", "100"]
    anomaly = ["--protocol", "anomaly,components:min_predicted=4,min_truth=4,fishyscapes,smiyc_anomaly", *maps]
    yield "anomaly.json", as_json(still(json.loads(bench("score", *anomaly, "--format", "json"))), 4)
    yield "anomaly.txt", bench("score", *anomaly)
    defined = ["--protocol", "anomaly", *maps, "--definitions"]
    yield "definitions.json", as_json(still(json.loads(bench("score", *defined, "--format", "json"))), 4)
    yield "definitions.txt", bench("score", *defined)
    errors = ["--protocol", "misclassification,miou", "--scores", "score/maps", "--predictions", "score/classes"]
    errors += ["--labels", "score/truth", "--bootstrap", "100"]
    yield "misclassification.json", as_json(still(json.loads(bench("score", *errors, "--format", "json"))), 4)


PARTS: Mapping[str, Callable[[], Iterator[tuple[str, str]]]] = {
    "boards": boards, "demo": demo, "corruptions": corruptions, "meta": meta, "score": score,
}  # fmt: skip


def make(out: Path) -> None:
    """Write all outputs below ``out``."""
    out.mkdir(parents=True, exist_ok=True)
    out = out.resolve()
    with tempfile.TemporaryDirectory() as scratch, contextlib.chdir(scratch):
        os.environ |= {"BENCH_HOME": str(Path("home").resolve()), "BENCH_DATA": "data", "COLUMNS": "120", "LINES": "40"}
        os.environ |= {"TERM": "dumb", "NO_COLOR": "1"}
        os.environ.pop("BENCH_PLUGINS", None)
        for part, outputs in PARTS.items():
            for name, content in outputs():
                path = out / part / name
                path.parent.mkdir(exist_ok=True)
                path.write_text(content, encoding="utf-8")
        result = json.loads(next(Path("boards", "cells").glob("*.json")).read_text(encoding="utf-8"))
        made_by = json.dumps(fingerprint(result["provenance"]), indent=1)
        (out / "fingerprint.json").write_text(made_by + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.stderr.write(f"outputs of the code in {Path(bench_package.__file__).parent}\n")
    make(Path(sys.argv[1]))

"""The templates of pages, filled by whoever makes one: the page of a run, and each page of a board's site."""

from __future__ import annotations

import base64
import hashlib
import re
from functools import partial
from importlib import resources

from jinja2 import BytecodeCache, Environment, FunctionLoader, StrictUndefined
from jinja2.bccache import Bucket
from markupsafe import Markup

from bench.api import Metric, Undefined
from bench.report import matrix, text
from bench.report.claims import CLAIMS, KINDS
from bench.report.figures import pair
from bench.report.grids import CLEAN, GRID, Place
from bench.report.page.views import BARS

MIOU = Metric("mIoU", "mean over the classes of intersection over union")
STYLES = ("style.css", "grid.css", "matrix.css")


class _Compiled(BytecodeCache):
    """Templates as Python code, for the next page of this process: to compile them takes longer than to fill them."""

    def __init__(self) -> None:
        self.templates: dict[str, bytes] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        if content := self.templates.get(bucket.key):
            bucket.bytecode_from_string(content)

    def dump_bytecode(self, bucket: Bucket) -> None:
        self.templates[bucket.key] = bucket.bytecode_to_string()


COMPILED = _Compiled()


def environment(digits: int | None = None) -> Environment:
    """Return what fills the templates: all words are escaped, and rates have ``digits`` after the point.

    A page gives ``to``, the address of a view by its path, ``cell_at``, that of a result, and ``defined_at``, that of a
    definition by its id.
    """
    filled = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, bytecode_cache=COMPILED
    )
    filled.loader = FunctionLoader(template)
    filled.filters |= {
        "figure": text.minus,
        "count": text.count,
        "images": partial(text.of_images, shown=text.count),
        "breakable": _breakable,
        "percent": text.percent,
    }
    filled.filters |= {"millions": text.millions, "billions": text.billions, "base64": _base64}
    for function in (text.number, text.interval, text.difference):
        filled.globals[function.__name__] = partial(function, digits=digits)
    filled.globals |= {"certified": text.certified, "CLEAN": CLEAN, "GRID": GRID, "Place": Place}
    filled.globals |= {"CLAIMS": CLAIMS, "KINDS": KINDS, "MEAN_RANK": matrix.MEAN_RANK}
    filled.globals |= {"MIOU": MIOU, "pair": pair}
    filled.tests["undefined_figure"] = lambda value: isinstance(value, Undefined)
    return filled


def style() -> str:
    """Return the styles of every page, with a class for each length of a bar: its policy allows no style in place."""
    bars = (f".b{step} {{ --bar: {100 * step / BARS:g}%; }}\n" for step in range(1, BARS + 1))
    return "".join([*map(template, STYLES), *bars])


def template(name: str) -> str:
    """Return the text of a file of ``reports/templates``."""
    return resources.files("bench.reports").joinpath("templates", name).read_text(encoding="utf-8")


def policy_hash(content: str) -> str:
    """Return the digest of a style or a script as a Content-Security-Policy spells it."""
    return "sha256-" + base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()


def _base64(words: str) -> str:
    """UTF-8 in base64, for an address of data."""
    return base64.b64encode(words.encode()).decode()


def _breakable(label: str) -> Markup:
    """Let a narrow column break a label after a bracket, a comma or an underscore."""
    return Markup("<wbr>").join(re.split(r"(?<=[\[,_=/])", label))

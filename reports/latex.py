r"""Results as LaTeX tables with the rules of booktabs, ready to be put into a paper by ``\input``.

A file holds ``tabular`` environments and comments, nothing that a document would have to make room for: notes are rows
of their table, so that it can be scaled or framed as one. Words of a suite come out as they are, whatever they contain.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from bench.api import Format, Metric, Undefined, Value
from bench.report import grids, leaderboard, paper
from bench.report import text as shown
from bench.report.document import Document
from bench.report.grids import CLEAN, GRID, Grid, Place, View
from bench.report.leaderboard import Figure, Line, Summary, SummaryTable, Table
from bench.report.merge_runs import Merged
from bench.report.paper import Column, Paper
from bench.report.selection import Choice
from bench.report.text import Style
from bench.report.words import line
from bench.results.store import Run
from bench.results.summary import Mean

ARROWS = {"higher": r"\,$\uparrow$", "lower": r"\,$\downarrow$", "neither": ""}
PARTIAL, OUTLIERS, REFERENCE = r"$^{*}$", r"$^{\dagger}$", r"$^{\ddagger}$"
DASH = "--"
NARROW = 60  # characters that a line of notes has at least

SPECIAL = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%", "_": r"\_",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", '"': r"{\char34}", "`": r"{\char96}",
    "\N{EN DASH}": r"\textendash{}", "\N{EM DASH}": r"\textemdash{}", "\N{MINUS SIGN}": "$-$",
    "\N{HORIZONTAL ELLIPSIS}": r"\ldots{}",
    "\N{LEFT SINGLE QUOTATION MARK}": r"\textquoteleft{}", "\N{RIGHT SINGLE QUOTATION MARK}": r"\textquoteright{}",
    "\N{LEFT DOUBLE QUOTATION MARK}": r"\textquotedblleft{}",
    "\N{RIGHT DOUBLE QUOTATION MARK}": r"\textquotedblright{}",
    "\N{NO-BREAK SPACE}": "~", "\N{NARROW NO-BREAK SPACE}": r"\,",
    "\N{LATIN SMALL LETTER SHARP S}": r"{\ss}", "\N{LATIN SMALL LETTER O WITH STROKE}": r"{\o}",
    "\N{LATIN CAPITAL LETTER O WITH STROKE}": r"{\O}", "\N{LATIN SMALL LETTER L WITH STROKE}": r"{\l}",
    "\N{LATIN CAPITAL LETTER L WITH STROKE}": r"{\L}", "\N{LATIN SMALL LETTER AE}": r"{\ae}",
    "\N{LATIN CAPITAL LETTER AE}": r"{\AE}", "\N{LATIN SMALL LIGATURE OE}": r"{\oe}",
    "\N{LATIN CAPITAL LIGATURE OE}": r"{\OE}", "\N{LATIN SMALL LETTER DOTLESS I}": r"{\i}",
    "\N{SECTION SIGN}": r"{\S}", "\N{COPYRIGHT SIGN}": r"{\copyright}", "\N{DEGREE SIGN}": r"$^{\circ}$",
    "\N{PLUS-MINUS SIGN}": r"$\pm$", "\N{MULTIPLICATION SIGN}": r"$\times$", "\N{MIDDLE DOT}": r"$\cdot$",
    "\N{UPWARDS ARROW}": r"$\uparrow$", "\N{DOWNWARDS ARROW}": r"$\downarrow$",
    "\N{RIGHTWARDS ARROW}": r"$\rightarrow$", "\N{LEFTWARDS ARROW}": r"$\leftarrow$",
    "\N{LESS-THAN OR EQUAL TO}": r"$\leq$", "\N{GREATER-THAN OR EQUAL TO}": r"$\geq$",
    "\N{NOT EQUAL TO}": r"$\neq$", "\N{ALMOST EQUAL TO}": r"$\approx$", "\N{INFINITY}": r"$\infty$",
    "\N{SUPERSCRIPT TWO}": r"$^{2}$", "\N{SUPERSCRIPT THREE}": r"$^{3}$", "\N{MICRO SIGN}": r"$\mu$",
}  # fmt: skip
ACCENTS = {
    "\N{COMBINING GRAVE ACCENT}": "`", "\N{COMBINING ACUTE ACCENT}": "'", "\N{COMBINING CIRCUMFLEX ACCENT}": "^",
    "\N{COMBINING TILDE}": "~", "\N{COMBINING DIAERESIS}": '"', "\N{COMBINING MACRON}": "=",
    "\N{COMBINING DOT ABOVE}": ".", "\N{COMBINING BREVE}": "u", "\N{COMBINING CARON}": "v",
    "\N{COMBINING DOUBLE ACUTE ACCENT}": "H", "\N{COMBINING CEDILLA}": "c", "\N{COMBINING RING ABOVE}": "r",
    "\N{COMBINING DOT BELOW}": "d", "\N{COMBINING MACRON BELOW}": "b",
}  # fmt: skip
GREEK = (
    "alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa", "lambda", "mu", "nu", "xi",
    "pi", "rho", "sigma", "tau", "upsilon", "phi", "chi", "psi", "omega",
)  # fmt: skip
LATIN = {
    "alpha": "A", "beta": "B", "epsilon": "E", "zeta": "Z", "eta": "H", "iota": "I", "kappa": "K", "mu": "M", "nu": "N",
    "omicron": "O", "rho": "P", "tau": "T", "chi": "X",
}  # fmt: skip
CAPITALS = {"Gamma", "Delta", "Theta", "Lambda", "Xi", "Pi", "Sigma", "Upsilon", "Phi", "Psi", "Omega"}
# Letters that only engines with Unicode fonts have: as they are there, by number elsewhere.
LETTERS = r"\DeclareRobustCommand{\benchletters}[2]{\ifcsname Umathchar\endcsname#1\else[#2]\fi}"


@dataclass(frozen=True)
class Latex(Format):
    """Every table of a run; or one, methods by data sets."""

    name: ClassVar[str] = "tex"
    source: ClassVar[str] = "https://ctan.org/pkg/booktabs"
    suffix: ClassVar[str] = ".tex"
    tables: ClassVar[frozenset[str]] = frozenset({"all", "paper"})

    def write(self, document: Document) -> str:
        made = _one(document) if document.table == "paper" else _every(document)
        return _document(document.run, list(made), document.choice, document.command)


def _one(document: Document) -> Iterator[_Tabular]:
    choice = document.choice
    columns = paper.columns(choice.columns)
    if document.paper.rows:
        yield _paper(document.paper, Style.of(choice, intervals=False), columns, choice)


def _every(document: Document) -> Iterator[_Tabular]:
    choice = document.choice
    style, extra, pending = Style.of(choice, intervals=True), paper.columns(choice.columns), shown.pending(document.run)
    for table in document.tables:
        missing = pending.get((table.protocol, table.dataset), "")
        yield from _table(table, style, extra, choice.baseline, missing)
    for grid in document.grids:
        yield from _grid(grid, style)
    for summary in document.summaries:
        yield _summaries(summary, style)


def escape(text: str) -> str:
    """One line that comes out as the text it is."""
    normal = unicodedata.normalize("NFC", line(text))
    latex = re.sub("(?:\0[^\0]\0)+", _letters, "".join(map(_character, normal)))
    # No dashes, quotes and the like that fonts make of two characters; an empty group would not keep LuaTeX from it.
    return re.sub(r"(?<=([-',]))(?=\1)|(?<=[?!])(?=\{\\char96\})", r"\\/", latex)


def _character(character: str) -> str:
    if character in SPECIAL:
        return SPECIAL[character]
    if character.isascii():
        return character
    if greek := _greek(unicodedata.name(character, "")):
        return greek if greek.isalpha() else f"${greek}$"
    parts = unicodedata.normalize("NFD", character)
    if (
        len(parts) == 2
        and parts[1] == "\N{COMBINING ACUTE ACCENT}"
        and (greek := _greek(unicodedata.name(parts[0], "")))
    ):
        return f"{{\\'{{{greek}}}}}" if greek.isalpha() else f"$\\acute{{{greek}}}$"
    if len(parts) == 2 and parts[0].isascii() and parts[0].isalpha() and parts[1] in ACCENTS:
        base = f"\\{parts[0]}" if parts[0] in "ij" and parts[1] not in "\N{COMBINING CEDILLA}" else parts[0]
        return f"{{\\{ACCENTS[parts[1]]}{{{base}}}}}"
    return f"\0{character}\0"


def _greek(name: str) -> str:
    """A Greek letter as mathematics, or as the Latin letter that it looks like; empty for any other."""
    if name == "GREEK SMALL LETTER FINAL SIGMA":
        return r"\varsigma"
    match = re.fullmatch(r"GREEK (SMALL|CAPITAL) LETTER (\w+)", name)
    if match is None:
        return ""
    small = {"LAMDA": "lambda"}.get(match[2], match[2].lower())
    if match[1] == "SMALL":
        return f"\\{small}" if small in GREEK else "o" * (small == "omicron")
    return f"\\{small.capitalize()}" if small.capitalize() in CAPITALS else LATIN.get(small, "")


def _letters(match: re.Match[str]) -> str:
    letters = match[0].replace("\0", "")
    numbers = " ".join(f"U+{ord(letter):04X}" for letter in letters)
    return f"\\benchletters{{{letters}}}{{{numbers}}}"


@dataclass
class _Tabular:
    """A table on its way to LaTeX; all texts are LaTeX already."""

    title: str
    sides: list[str]  # l or r for each column
    head: list[str]  # rows, each with its line end, rules included
    body: list[str]
    notes: list[str] = field(default_factory=list)

    def lines(self) -> Iterator[str]:
        yield f"\\begin{{tabular}}{{@{{}}{''.join(self.sides)}@{{}}}}"
        yield r"\toprule"
        yield from self.head
        yield r"\midrule"
        yield from self.body
        yield r"\bottomrule"
        width = max(NARROW, *(_width(row) for row in (*self.head, *self.body)))
        for note in self.notes:
            for part in _wrapped(note, int(1.3 * width)):
                yield f"\\multicolumn{{{len(self.sides)}}}{{@{{}}l@{{}}}}{{\\footnotesize {part}}} \\\\"
        yield r"\end{tabular}"


def _width(row: str) -> int:
    """About how many characters of a row are seen."""
    seen = re.sub(
        r"\\[A-Za-z]+\*?|[{}$&\\^]", "", re.sub(r"\\(cmidrule|midrule|multicolumn\{\d+\}\{\w+\})\S*", "", row)
    )
    return len(seen)


def _wrapped(text: str, width: int) -> Iterator[str]:
    """Lines of LaTeX words; a word stays whole."""
    current: list[str] = []
    length = 0
    for word in text.split(" "):
        seen = _width(word)
        if current and length + 1 + seen > width:
            yield " ".join(current)
            current, length = [], 0
        current.append(word)
        length += seen + 1
    if current:
        yield " ".join(current)


def _document(run: Run, made: Sequence[_Tabular], choice: Choice, command: str) -> str:
    alone = len(made) == 1
    body = "\n\n".join("\n".join(_placed(table, number, choice, alone)) for number, table in enumerate(made, 1))
    head = [f"% {line(run.plan.title or run.plan.name)}"]
    if run.plan.note:
        head.append(f"% {line(run.plan.note)}")
    head += [f"% {line(said)}" for said in _origin(run, choice, command)]
    head.append(
        r"% Needs \usepackage{booktabs}."
        + " Put it into a table environment and add a caption." * (not choice.captions)
    )
    if r"\benchletters" in body:
        head.append(
            "% Some letters are beyond those of pdfLaTeX, which prints their numbers: LuaLaTeX or XeLaTeX with a"
        )
        head.append("% font that has them prints them as they are.")
        head.append(LETTERS)
    if not made:
        head.append("% No results yet.")
    return "\n".join(head) + "\n" + (f"{body}\n" if body else "")


def _origin(run: Run, choice: Choice, command: str) -> Iterator[str]:
    """Where the figures are from."""
    cells = f"{len(run.results)} of {len(run.plan.keys)} cells" if run.missing else f"{len(run.results)} cells"
    where = "" if choice.anonymous or isinstance(run, Merged) else f"Run {run.path.resolve().name}, "
    yield f"{where}{cells}" + ("; the others have not been computed yet." if run.missing else ".")
    versions = [
        dict.fromkeys(str(r.provenance[name]) for r in run.results if r.provenance.get(name))
        for name in ("ood_seg_bench", "commit")
    ]
    if versions[0]:
        commits = "" if choice.anonymous else shown.listed([commit[:12] for commit in versions[1]], 3)
        commits = f", commit {commits}" if commits else ""
        yield f"ood-seg-bench {', '.join(versions[0])}{commits}."
    if command and not choice.anonymous:
        yield f"Made by: {command}"
    yield from shown.about(run)


def _placed(table: _Tabular, number: int, choice: Choice, alone: bool) -> Iterator[str]:
    if not choice.captions:
        if alone:
            yield f"% {table.title}"
        else:
            yield (
                r"\par\bigskip" * (number > 1)
                + f"\\noindent\\textbf{{{table.title}}}\\par\\nobreak\\smallskip\\noindent"
            )
        yield from table.lines()
        return
    yield r"\begin{table}"
    yield r"\centering"
    yield f"\\caption{{{table.title}}}\\smallskip"
    yield f"\\label{{tab:bench-{number}}}"
    yield from table.lines()
    yield r"\end{table}"


def _row(cells: Iterable[str]) -> str:
    text = " & ".join(cells) + r" \\"
    return "{}" + text if text.startswith(("[", "*")) else text  # the line above would take it for its option


def _across(count: int, side: str, text: str) -> str:
    return f"\\multicolumn{{{count}}}{{{side}}}{{{text}}}" if count > 1 else text


def _head(metric: Metric) -> str:
    return escape(metric.title) + (r"\,\%" if leaderboard.percent(metric) else "") + ARROWS[metric.better]


def _table(
    table: Table, style: Style, extra: Mapping[str, Column], baseline: str | None, missing: str
) -> Iterator[_Tabular]:
    names = ["Method"] * table.scored + ["Model"] * (table.model is None)
    moved = [any(l.figures[i].change for l in table.lines) for i, _ in enumerate(table.metrics)]  # noqa: E741
    heads = ["\\#", *names, *(escape(column.title) for column in extra.values())]
    sides = ["r", *"l" * (len(heads) - 1)]
    for metric, changed in zip(table.metrics.values(), moved, strict=True):
        heads += [_head(metric), *([r"$\Delta$"] * changed)]
        sides += ["r"] * (1 + changed)
    body: list[str] = []
    for group in table.groups:
        if len(table.groups) > 1 or group.outliers:
            said = "Trained with outlier data" if group.outliers else "Trained without outlier data"
            body += [r"\midrule"] * bool(body)
            body.append(_row([_across(len(heads), "@{}l", f"\\emph{{{said}}}")]))
        body += [_row(_line(table, each, style, extra, moved)) for each in group.lines]
    notes = list(_notes(table, style, missing))
    if any(moved) and baseline:
        notes.append(escape(shown.baseline(baseline)))
    about = [f"{' or '.join(map(str, table.images))} images"] + (
        [f"model {escape(table.model)}"] if table.model else []
    )
    title = f"{escape(table.title)} on {escape(table.dataset)}"
    if table.lines:
        yield _Tabular(f"{title}: {', '.join(about)}", sides, [_row(heads)], body, notes)
    elif notes:
        yield _Tabular(title, ["l"], [_row([title])], [_row([DASH])], notes)


def _line(table: Table, each: Line, style: Style, extra: Mapping[str, Column], moved: Sequence[bool]) -> Iterator[str]:
    yield DASH if each.rank is None else str(each.rank)
    names = [escape(each.method)] if each.method is not None else [DASH] * table.scored
    names += [escape(each.model)] * (table.model is None)
    marks = PARTIAL * each.result.partial + REFERENCE * paper.reference(each.result)
    yield names[0] + marks
    yield from names[1:]
    yield from (escape(column.text(each.facts, each.result)) or DASH for column in extra.values())
    for figure, changed in zip(each.figures, moved, strict=True):
        yield _figure(figure, style)
        if changed:
            yield _minus(style.change(figure.change, figure.metric))


def _figure(figure: Figure, style: Style, mark: str = "") -> str:
    value, metric = figure.value, figure.metric
    if isinstance(value, Undefined):
        return f"{DASH}$^{{{figure.note}}}$"
    number = _minus(style.number(value.value, metric))
    parts = [f"\\textbf{{{number}}}" if figure.best else number, escape(leaderboard.certified(value.err, metric))]
    between = style.interval(value, metric)
    parts.append(f"{{\\scriptsize({_minus(between)})}}" if between else "")
    return " ".join(part for part in parts if part) + mark


def _minus(text: str) -> str:
    """A hyphen before a digit is a minus; a dash stays one."""
    return re.sub(r"-(?=[\d.])", "$-$", text).replace("\N{EN DASH}", "--")


def _notes(table: Table, style: Style, missing: str) -> Iterator[str]:
    lines = table.lines
    for images in dict.fromkeys(each.result.images for each in lines if each.result.partial):
        yield f"{PARTIAL} partial: {images} images, not ranked."
    if any(paper.reference(each.result) for each in lines):
        yield f"{REFERENCE} {paper.REFERENCE}."
    yield from (f"$^{{{number}}}$ {escape(reason)}" for number, reason in enumerate(table.notes, 1))
    if missing:
        yield f"No result yet: {escape(missing)}."
    for absence in table.absences:
        yield f"Not applicable: {escape(shown.listed(absence.pairs))}: {escape(absence.reason)}"
    if any(figure.best for each in lines for figure in each.figures):
        yield r"Bold: the paired 95\,\% interval of the difference to every other row excludes~0."
    yield from map(escape, table.remarks)
    yield from _certified((figure.value for each in lines for figure in each.figures), style)


def _certified(values: Iterable[Any], style: Style) -> Iterator[str]:
    if any(isinstance(value, Value) and value.err > 0 for value in values):
        between = r"; in brackets stand 95\,\% intervals" if style.intervals else ""
        yield rf"$\pm$ is the certified half-width of the computation{between}."


def _grid(grid: Grid, style: Style) -> Iterator[_Tabular]:
    """Means, then for each row every cell, of the leading metric; means over the grid of every metric."""
    if not grid.rows:
        return
    view = grid.view(grid.leading)
    title = f"{escape(grid.title)} on {escape(grid.name)}" + (f", model {escape(grid.model)}" if grid.model else "")
    absent = [
        f"Not applicable: {escape(shown.listed(absence.pairs))}: {escape(absence.reason)}" for absence in grid.absences
    ]
    yield _means(grid, view, style, title, absent)
    for each in view.lines:
        yield _cells(grid, view, each, style, title)
    if len(grid.directed) > 1:
        yield _every_metric(grid, style, title)


def _kind(grid: Grid) -> str:
    return "Method" if grid.scored else "Model"


def _name(row: grids.Row) -> str:
    return escape(row.name) + OUTLIERS * row.outliers


def _means(grid: Grid, view: View, style: Style, title: str, absent: Sequence[str]) -> _Tabular:
    heads = ["\\#"] * view.ranked + [_kind(grid)]
    sides = ["r"] * view.ranked + ["l"] + ["r"] * len(grid.places)
    heads += [escape(place.title) for place in grid.places]
    body = [
        _row(
            [
                *([DASH if each.rank is None else str(each.rank)] * view.ranked),
                _name(each.row),
                *(_mean(each, place, view, style, interval=place in (CLEAN, GRID)) for place in grid.places),
            ]
        )
        for each in view.lines
    ]
    notes = [
        "Means are unweighted over the cells; where one is missing, how many there are stands in place of the mean."
    ]
    notes += [f"No mean: {escape('; '.join(view.incomplete))}"] * bool(view.incomplete)
    if any(each.best for each in view.lines):
        notes.append(r"Bold: the paired 95\,\% interval of the difference to every other row excludes~0.")
    notes += _apart(view)
    metric = f"{_head(view.metric)}, means; {escape(grid.size)}"
    return _Tabular(f"{title}: {metric}", sides, [_row(heads)], body, [*notes, *absent])


def _apart(view: View) -> list[str]:
    return [f"{OUTLIERS} {paper.OUTLIERS}."] * any(each.row.outliers for each in view.lines)


def _mean(each: grids.Line, place: Place, view: View, style: Style, *, interval: bool, best: bool = True) -> str:
    mean: Mean = each.means[place]
    if mean.value is None:
        return f"{mean.cells} of {mean.of}"
    value = Value(mean.value, mean.err, mean.lo if interval else None, mean.hi if interval else None)
    return _figure(Figure(view.metric, value, best and place in each.best), style)


def _cells(grid: Grid, view: View, each: grids.Line, style: Style, title: str) -> _Tabular:
    heads = ["Corruption", *(f"severity {severity}" for severity in grid.severities), "mean"]
    body: list[str] = []
    for family, names in grid.families.items():
        body += [r"\addlinespace"] * bool(body)
        body.append(_row([_across(len(heads), "@{}l", f"\\emph{{{escape(family)}}}")]))
        for name in names:
            cells = [_cell(each, (name, severity), view, style) for severity in grid.severities]
            mean = _mean(each, Place("corruption", name), view, style, interval=False, best=False)
            body.append(_row([escape(name), *cells, mean]))
    means = [
        _mean(each, place, view, style, interval=False, best=False)
        for place in (*(Place("severity", severity) for severity in grid.severities), GRID)
    ]
    body += [r"\midrule", _row(["mean", *means])]
    notes = ["; ".join(f"{_mark(mark)} {said}" for mark, said in each.marks.items()) + "."] * bool(each.marks)
    named = f"{title}: {_head(view.metric)} of {escape(each.row.name)} by corruption and severity"
    return _Tabular(named, ["l", *"r" * (len(heads) - 1)], [_row(heads)], body, notes)


def _cell(each: grids.Line, spot: grids.Spot, view: View, style: Style) -> str:
    figure, mark = each.figure(spot), _mark(each.mark(spot))
    return _minus(style.number(figure.value, view.metric)) + mark if isinstance(figure, Value) else mark


def _mark(mark: str) -> str:
    return {grids.PENDING: r"\ldots", grids.PARTIAL: PARTIAL, grids.NONE: DASH}.get(mark, mark)


def _every_metric(grid: Grid, style: Style, title: str) -> _Tabular:
    views = [grid.view(name) for name in grid.directed]
    body = []
    for each in views[0].lines:
        same = [next(other for other in view.lines if other.row is each.row) for view in views]
        figures = (_mean(other, GRID, view, style, interval=True) for other, view in zip(same, views, strict=True))
        body.append(_row([_name(each.row), *figures]))
    heads = [_kind(grid), *map(_head, grid.directed.values())]
    sides = ["l", *"r" * len(views)]
    return _Tabular(f"{title}: mean over the grid, every metric", sides, [_row(heads)], body, _apart(views[0]))


def _summaries(table: SummaryTable, style: Style) -> _Tabular:
    names = ["Of"] * table.parted + ["Method"] * table.scored + ["Model", "Cells"]
    body = []
    for each in table.lines:
        cells = [escape(each.part)] * table.parted
        cells += [(escape(each.method) if each.method else DASH) + OUTLIERS * each.outliers] * table.scored
        cells += [escape(each.model), each.cells]
        figures = zip(each.summaries, table.metrics.values(), strict=True)
        body.append(_row([*cells, *(_summary(table, summary, metric, style) for summary, metric in figures)]))
    heads = [*names, *map(_head, table.metrics.values())]
    notes = [f"$^{{{number}}}$ {escape(reason)}" for number, reason in enumerate(table.notes, 1)]
    notes += [f"{OUTLIERS} trained with data that shows anomalies."] * any(each.outliers for each in table.lines)
    sides = ["l"] * len(names) + ["r"] * len(table.metrics)
    return _Tabular(f"{escape(table.name)}: {escape(table.protocol)}", sides, [_row(heads)], body, notes)


def _summary(table: SummaryTable, summary: Summary | None, metric: Metric, style: Style) -> str:
    if summary is None or summary.value is None:
        return f"{DASH}$^{{{table.note(summary)}}}$"
    return _figure(Figure(metric, Value(summary.value, 0.0, summary.lo, summary.hi)), style)


def _paper(table: Paper, style: Style, extra: Mapping[str, Column], choice: Choice) -> _Tabular:
    """Data sets above their metrics, models above their methods."""
    names = ["Method", *(escape(column.title) for column in extra.values())]
    moved = [any(row.figures[place].change for row in table.rows) for place, _ in enumerate(table.metrics)]
    top, rules, second = [""] * len(names), [], list(names)
    sides, place = ["l"] * len(names), 0
    for block in table.blocks:
        start = len(second) + 1
        for metric in block.metrics.values():
            second += [_head(metric), *([r"$\Delta$"] * moved[place])]
            sides += ["r"] * (1 + moved[place])
            place += 1
        count = len(second) - start + 1
        named = escape(block.dataset) + (f", {escape(block.protocol)}" if block.protocol else "")
        top.append(f"\\multicolumn{{{count}}}{{c}}{{{named}}}")
        rules.append(f"\\cmidrule(lr){{{start}-{len(second)}}}")
    body: list[str] = []
    for section in table.sections:
        if len(table.sections) > 1:
            body += [r"\midrule"] * bool(body)
            body.append(_row([_across(len(sides), "@{}l", f"\\emph{{{escape(section.model)}}}")]))
        for row in section.rows:
            cells = [escape(row.method) + OUTLIERS * row.outliers + REFERENCE * row.reference]
            cells += [
                escape(column.text(row.facts, row.result)) or DASH if row.facts else DASH for column in extra.values()
            ]
            for figure, images, changed in zip(row.figures, row.partial, moved, strict=True):
                cells.append(_figure(figure, style, PARTIAL * bool(images)))
                cells += [_minus(style.change(figure.change, figure.metric))] * changed
            body.append(_row(cells))
    title = f"{escape(table.sections[0].model)}" if len(table.sections) == 1 else "Methods by model"
    notes = list(_paper_notes(table, style, choice, any(moved)))
    return _Tabular(title, sides, [_row(top), " ".join(rules), _row(second)], body, notes)


def _paper_notes(table: Paper, style: Style, choice: Choice, moved: bool) -> Iterator[str]:
    if any(row.outliers for row in table.rows):
        yield f"{OUTLIERS} {paper.OUTLIERS}."
    for images in sorted({count for row in table.rows for count in row.partial if count}):
        yield f"{PARTIAL} partial: {images} images, not compared."
    if any(row.reference for row in table.rows):
        yield f"{REFERENCE} {paper.REFERENCE}."
    yield from (f"$^{{{number}}}$ {escape(reason)}" for number, reason in enumerate(table.notes, 1))
    yield "; ".join(f"{escape(block.dataset)}: {escape(block.about)}" for block in table.blocks if block.about) + "."
    if any(figure.best for row in table.rows for figure in row.figures):
        yield r"Bold: the paired 95\,\% interval of the difference to every other row excludes~0."
    yield from map(escape, table.remarks)
    if moved and choice.baseline:
        yield escape(shown.baseline(choice.baseline))
    yield from _certified((figure.value for row in table.rows for figure in row.figures), style)

r"""Results as LaTeX tables with the rules of booktabs, ready to be put into a paper by ``\input``.

A file holds ``tabular`` environments and comments, nothing that a document would have to make room for: notes are rows
of their table, so that it can be scaled or framed as one. Words of a suite come out as they are, whatever they contain.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from bench.api import Format, Metric, Undefined, Value
from bench.core.printable import one_line
from bench.report import facts, grids, layout, matrix, paper
from bench.report.claims import CLAIMS, Claims
from bench.report.document import Document
from bench.report.facts import Fact
from bench.report.figures import Absence, Figure
from bench.report.grids import Grid
from bench.report.layout import Column, Lacking, Marked, Name
from bench.report.leaderboard import Table
from bench.report.matrix import Matrix
from bench.report.merge_runs import Merged
from bench.report.paper import Paper
from bench.report.summaries import SummaryTable
from bench.report.text import Style, certified, listed, of_images, percent

ARROWS = {"higher": r"\,$\uparrow$", "lower": r"\,$\downarrow$", "neither": ""}
PARTIAL, OUTLIERS, REFERENCE = r"$^{*}$", r"$^{\dagger}$", r"$^{\ddagger}$"
DASH = "--"
MARKS = {grids.PENDING: r"\ldots", grids.PARTIAL: PARTIAL, grids.NONE: DASH}
LEVEL = r"Underlined: first of its column, or not clearly worse than that: the paired 95\,\% interval contains~0."
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
        return _file(document, list(_tabulars(document)))


def _tabulars(document: Document) -> Iterator[_Tabular]:
    choice = document.choice
    columns = facts.columns(choice.columns)
    if document.table == "paper":
        if document.paper.rows:
            yield _paper(document.paper, document, Style.of(choice, intervals=False), columns)
        return
    style = Style.of(choice, intervals=True)
    if document.matrix.several:
        yield _matrix(document.matrix, style)
    if document.claims.groups:
        yield _claims(document.claims, style)
    for table in document.tables:
        yield from _board(table, document, style, columns)
    for grid in document.grids:
        yield from _grid(grid, style)
    for summary in document.summaries:
        yield _summary(summary, style)


def escape(text: str) -> str:
    """One line that comes out as the text it is."""
    normal = unicodedata.normalize("NFC", one_line(text))
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


def _file(document: Document, tables: Sequence[_Tabular]) -> str:
    run, captions, alone = document.run, document.choice.captions, len(tables) == 1
    body = "\n\n".join("\n".join(_placed(table, n, captions, alone)) for n, table in enumerate(tables, 1))
    head = [f"% {one_line(run.plan.title or run.plan.name)}"]
    if run.plan.note:
        head.append(f"% {one_line(run.plan.note)}")
    head += [f"% {one_line(sentence)}" for sentence in _origin(document)]
    head.append(
        r"% Needs \usepackage{booktabs}." + " Put it into a table environment and add a caption." * (not captions)
    )
    if r"\benchletters" in body:
        head.append(
            "% Some letters are beyond those of pdfLaTeX, which prints their numbers: LuaLaTeX or XeLaTeX with a"
        )
        head.append("% font that has them prints them as they are.")
        head.append(LETTERS)
    if not tables:
        head.append("% No results yet.")
    return "\n".join(head) + "\n" + (f"{body}\n" if body else "")


def _origin(document: Document) -> Iterator[str]:
    """Where the figures are from."""
    run, anonymous = document.run, document.choice.anonymous
    cells = f"{len(run.results)} of {len(run.plan.keys)} cells" if run.missing else f"{len(run.results)} cells"
    folder = "" if anonymous or isinstance(run, Merged) else f"Run {run.path.resolve().name}, "
    yield f"{folder}{cells}" + ("; the others have not been computed yet." if run.missing else ".")
    versions, commits = (
        list(dict.fromkeys(str(r.provenance[name]) for r in run.results if r.provenance.get(name)))
        for name in ("ood_seg_bench", "commit")
    )
    if versions:
        commit = "" if anonymous else listed([commit[:12] for commit in commits], 3)
        yield f"ood-seg-bench {', '.join(versions)}{f', commit {commit}' if commit else ''}."
    if document.command and not anonymous:
        yield f"Made by: {document.command}"
    yield from document.remarks


def _placed(table: _Tabular, number: int, captions: bool, alone: bool) -> Iterator[str]:
    if not captions:
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


def _title(column: Column) -> str:
    if column.kind == "rank":
        return "\\#" if column == layout.RANK else escape(column.title)
    if column.kind == "change":
        return r"$\Delta$"
    return _head(column.metric) if column.metric and column.kind == "figure" else escape(column.title)


def _head(metric: Metric) -> str:
    return escape(metric.title) + (r"\,\%" if percent(metric) else "") + ARROWS[metric.better]


def _sides(tabular: layout.Tabular) -> list[str]:
    return ["r" if column.numeric else "l" for column in tabular.columns]


def _body(tabular: layout.Tabular, style: Style, *, outliers: bool = True, space: str = r"\midrule") -> list[str]:
    """The rows, each group with a title under it, and ``space`` before all but the first."""
    body: list[str] = []
    for group in tabular.groups:
        if group.title:
            body += [space] * bool(body)
            body.append(_row([_across(len(tabular.columns), "@{}l", f"\\emph{{{escape(group.title)}}}")]))
        for row in group.rows:
            cells = zip(tabular.columns, row, strict=True)
            body.append(_row(_text(column, content, style, outliers=outliers) for column, content in cells))
    return body


def _text(column: Column, content: Any, style: Style, *, outliers: bool) -> str:
    """A cell as LaTeX has it; ``outliers`` says whether rows that saw such data are marked."""
    if isinstance(content, Name):
        marks = OUTLIERS * (outliers and content.outliers) + PARTIAL * bool(content.partial)
        return (escape(content.text) or DASH) + marks + REFERENCE * content.reference
    if isinstance(content, Lacking):
        return f"{content.cells} of {content.of}"
    if isinstance(content, Marked):
        mark = MARKS.get(content.mark, content.mark)
        return (_minus(style.number(content.value.value, content.metric)) if content.value else "") + mark
    if isinstance(content, Figure):
        changed = column.kind == "change"
        return _minus(style.change(content.change, content.metric)) if changed else _figure(content, style)
    return DASH if content is None or (column.kind == "fact" and not content) else escape(str(content))


def _figure(figure: Figure, style: Style) -> str:
    value, metric = figure.value, figure.metric
    if isinstance(value, Undefined):
        return f"{DASH}$^{{{figure.note}}}$"
    number = _minus(style.number(value.value, metric))
    strong = f"\\textbf{{{number}}}" if figure.best else f"\\underline{{{number}}}" if figure.level else number
    parts = [strong, escape(certified(value.err, metric))]
    between = style.interval(value, metric)
    parts.append(f"{{\\scriptsize({_minus(between)})}}" if between else "")
    return " ".join(filter(None, parts)) + PARTIAL * bool(figure.partial)


def _minus(text: str) -> str:
    """A hyphen before a digit is a minus; a dash stays one."""
    return re.sub(r"-(?=[\d.])", "$-$", text).replace("\N{EN DASH}", "--")


def _board(table: Table, document: Document, style: Style, columns: Mapping[str, Fact]) -> Iterator[_Tabular]:
    tabular = layout.board(table, columns)
    notes = list(_notes(table, style, document.pending.get((table.protocol, table.dataset), "")))
    if any(column.kind == "change" for column in tabular.columns):
        notes.append(escape(document.baseline))
    title = f"{escape(table.title)} on {escape(table.dataset)}"
    if table.lines:
        about = of_images(*table.images) + (f", model {escape(table.model)}" if table.model else "")
        heads = [_row(map(_title, tabular.columns))]
        yield _Tabular(f"{title}: {about}", _sides(tabular), heads, _body(tabular, style, outliers=False), notes)
    elif notes:
        yield _Tabular(title, ["l"], [_row([title])], [_row([DASH])], notes)


def _notes(table: Table, style: Style, missing: str) -> Iterator[str]:
    rows = table.lines
    for seen in dict.fromkeys(row.result.images for row in rows if row.result.partial):
        yield f"{PARTIAL} partial: {of_images(seen)}, not ranked."
    if any(row.reference for row in rows):
        yield f"{REFERENCE} {paper.REFERENCE}."
    yield from _numbered(table.notes)
    if missing:
        yield f"No result yet: {escape(missing)}."
    yield from _absences(table.absences)
    figures = [figure for row in rows for figure in row.figures]
    yield from _bold(figure.best for figure in figures)
    yield from map(escape, table.remarks)
    yield from _certified(figures, style)


def _numbered(reasons: Iterable[str]) -> Iterator[str]:
    return (f"$^{{{number}}}$ {escape(reason)}" for number, reason in enumerate(reasons, 1))


def _absences(absences: Iterable[Absence]) -> Iterator[str]:
    for absence in absences:
        yield f"Not applicable: {escape(listed(absence.pairs))}: {escape(absence.reason)}"


def _bold(best: Iterable[Any]) -> Iterator[str]:
    if any(best):
        yield r"Bold: the paired 95\,\% interval of the difference to every other row excludes~0."


def _outliers(rows: Iterable[bool], meaning: str = paper.OUTLIERS) -> Iterator[str]:
    if any(rows):
        yield f"{OUTLIERS} {meaning}."


def _certified(figures: Iterable[Figure], style: Style) -> Iterator[str]:
    if any(isinstance(figure.value, Value) and figure.value.err > 0 for figure in figures):
        between = r"; in brackets stand 95\,\% intervals" if style.intervals else ""
        yield rf"$\pm$ is the certified half-width of the computation{between}."


def _grid(grid: Grid, style: Style) -> Iterator[_Tabular]:
    """Means, then for each row every cell, of the leading metric; means over the grid of every metric."""
    if not grid.rows:
        return
    view = grid.views[grid.leading]
    title = f"{escape(grid.title)} on {escape(grid.name)}" + (f", model {escape(grid.model)}" if grid.model else "")
    apart = list(_outliers(row.row.outliers for row in view.lines))
    notes = [
        "Means are unweighted over the cells; where one is missing, how many there are stands in place of the mean.",
        *([f"No mean: {escape('; '.join(view.incomplete))}"] * bool(view.incomplete)),
        *_bold(row.best for row in view.lines),
        *apart,
        *_absences(grid.absences),
    ]
    yield _plain(
        f"{title}: {_head(view.metric)}, means; {escape(grid.size)}", layout.overview(grid, view), style, notes
    )
    for row in view.lines:
        yield _cells(layout.cells(grid, view, row), row, style, f"{title}: {_head(view.metric)}")
    if every := layout.every_metric(grid):
        yield _plain(f"{title}: mean over the grid, every metric", every, style, apart)


def _plain(title: str, tabular: layout.Tabular, style: Style, notes: list[str]) -> _Tabular:
    return _Tabular(title, _sides(tabular), [_row(map(_title, tabular.columns))], _body(tabular, style), notes)


def _cells(tabular: layout.Tabular, row: grids.Line, style: Style, title: str) -> _Tabular:
    marks = "; ".join(f"{MARKS[mark]} {meaning}" for mark, meaning in row.marks.items())
    named = f"{title} of {escape(row.row.name)} by corruption and severity"
    families, means = (replace(tabular, groups=part) for part in (tabular.groups[:-1], tabular.groups[-1:]))
    body = [*_body(families, style, space=r"\addlinespace"), r"\midrule", *_body(means, style)]
    return _Tabular(named, _sides(tabular), [_row(map(_title, tabular.columns))], body, [f"{marks}."] * bool(marks))


def _claims(claims: Claims, style: Style) -> _Tabular:
    notes = [
        f"{escape(group.method)} on {escape(group.model)}: claimed by {escape(group.source)} as {escape(group.called)}."
        for group in claims.groups
    ]
    table = _plain(CLAIMS, layout.claims(claims), style, [*notes, *map(escape, claims.sentences)])
    return replace(table, body=list(map(_minus, table.body)))


def _summary(table: SummaryTable, style: Style) -> _Tabular:
    notes = list(_numbered(table.notes))
    notes += _outliers((row.outliers for row in table.lines), "trained with data that shows anomalies")
    return _plain(f"{escape(table.name)}: {escape(table.protocol)}", layout.summary(table), style, notes)


def _paper(table: Paper, document: Document, style: Style, columns: Mapping[str, Fact]) -> _Tabular:
    """Data sets above their metrics, models above their methods."""
    tabular = layout.paper(table, columns)
    named = [
        escape(block.dataset) + (f", {escape(block.protocol)}" if block.protocol else "") for block in table.blocks
    ]
    alone = len(table.sections) == 1
    if alone:
        tabular = replace(tabular, groups=[group._replace(title="") for group in tabular.groups])
    title = f"{escape(table.sections[0].model)}" if alone else "Methods by model"
    moved = any(column.kind == "change" for column in tabular.columns)
    heads = _under_blocks(tabular, named, 1 + len(columns))
    notes = list(_paper_notes(table, style, document.baseline if moved else ""))
    return _Tabular(title, _sides(tabular), heads, _body(tabular, style), notes)


def _under_blocks(tabular: layout.Tabular, names: Sequence[str], start: int) -> list[str]:
    """The heads of the columns below the names of their blocks; ``start`` columns belong to none."""
    top, rules, after = [""] * start, [], start
    for number, name in enumerate(names):
        count = sum(column.block == number for column in tabular.columns[start:])
        top.append(f"\\multicolumn{{{count}}}{{c}}{{{name}}}")
        rules.append(f"\\cmidrule(lr){{{after + 1}-{after + count}}}")
        after += count
    return [_row(top), " ".join(rules), _row(map(_title, tabular.columns))]


def _matrix(table: Matrix, style: Style) -> _Tabular:
    """Tasks and data sets above their figures, by mean rank; intervals stand in the tables after it."""
    tabular, bare = layout.matrix(table), replace(style, intervals=False)
    start = sum(column.metric is None for column in tabular.columns)
    heads = _under_blocks(tabular, [escape(block.name) for block in table.blocks], start)
    figures = [figure for line in table.lines for figure in line.figures]
    notes = [matrix.MEAN_RANK, LEVEL, *_bold(figure.best for figure in figures)]
    for seen in sorted({figure.partial for figure in figures if figure.partial}):
        notes.append(f"{PARTIAL} partial: {of_images(seen)}, not compared.")
    if any(line.reference for line in table.lines):
        notes.append(f"{REFERENCE} {paper.REFERENCE}.")
    notes += _numbered(table.notes)
    notes.append("; ".join(f"{escape(block.name)}: {escape(block.about)}" for block in table.blocks) + ".")
    notes += map(escape, table.remarks)
    return _Tabular(matrix.TITLE, _sides(tabular), heads, _body(tabular, bare, outliers=False), notes)


def _paper_notes(table: Paper, style: Style, baseline: str) -> Iterator[str]:
    figures = [figure for row in table.rows for figure in row.figures]
    yield from _outliers(row.outliers for row in table.rows)
    for seen in sorted({figure.partial for figure in figures if figure.partial}):
        yield f"{PARTIAL} partial: {of_images(seen)}, not compared."
    if any(row.reference for row in table.rows):
        yield f"{REFERENCE} {paper.REFERENCE}."
    yield from _numbered(table.notes)
    yield "; ".join(f"{escape(block.dataset)}: {escape(block.about)}" for block in table.blocks if block.about) + "."
    yield from _bold(figure.best for figure in figures)
    yield from map(escape, table.remarks)
    if baseline:
        yield escape(baseline)
    yield from _certified(figures, style)

"""YAML as this project reads and writes it, in files and on the command line: plain values, by one rule for all.

A value is text, a number, a truth value, nothing, a list or a mapping. Keys are text as they are written. Dates, times
of day and numbers with a leading zero are text, ``1e-5`` is a number; tags are refused, and so are a key that stands
twice, what an alias blows up, and characters that no name and no sentence has.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

import yaml

from bench.core.errors import BadYaml

DEEPEST = 40  # levels of lists and mappings, aliases followed
MOST = 50_000  # values of a text, aliases followed
LARGEST = 2**20  # bytes of a file
DIGITS = 300  # of a whole number
LOCATED = 2  # levels whose lines are kept

_PREFIX = "tag:yaml.org,2002:"
_SCIENTIFIC = re.compile(r"[-+]?[0-9]+[eE][-+]?[0-9]+")
_SCALARS = {
    "null": (re.compile(r"~|null|Null|NULL|"), ["~", "n", "N", ""]),
    "bool": (
        re.compile(r"yes|Yes|YES|no|No|NO|true|True|TRUE|false|False|FALSE|on|On|ON|off|Off|OFF"),
        list("yYnNtTfFoO"),
    ),
    "int": (re.compile(r"[-+]?(?:0|[1-9][0-9_]*|0x[0-9a-fA-F]+|0b[01]+)"), list("-+0123456789")),
    "float": (
        re.compile(
            r"[-+]?(?:[0-9][0-9_]*\.[0-9_]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?"
            rf"|{_SCIENTIFIC.pattern}|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"
        ),
        list("-+0123456789."),
    ),
    "merge": (re.compile("<<"), ["<"]),
}
_UNWRITTEN = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")

Lines = Mapping[tuple[str | int, ...], int]


class _Refused(yaml.MarkedYAMLError):
    """A text that is YAML, and still not taken."""


class _Loader(yaml.SafeLoader):
    """Composes nodes of a bounded number and depth."""

    yaml_implicit_resolvers = {}  # noqa: RUF012 - as the base has it

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = self._composed = 0
        self._measured: dict[int, tuple[int, int]] = {}  # number of values and levels, by node

    def compose_node(self, parent: Any, index: Any) -> Any:
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        if getattr(event, "tag", None) is not None:
            _refuse(f"the tag {event.tag.replace(_PREFIX, '!!')} is not taken; write the value without it", event)
        self._depth += 1
        self._composed += 1
        if self._composed > MOST:
            _refuse(f"it holds more than {MOST} values", event)
        if self._depth > DEEPEST:
            _refuse(f"lists and mappings stand more than {DEEPEST} deep", event)
        node = super().compose_node(parent, index)
        self._depth -= 1
        if isinstance(event, yaml.AliasEvent):
            if id(node) not in self._measured:
                _refuse(f"*{event.anchor} stands inside of what it refers to", event)
            return node
        values, levels = 1, 1
        for inner in _children(node):
            more, below = self._measured[id(inner)]
            values, levels = values + more, max(levels, below + 1)
        if values > MOST:
            _refuse(f"with its aliases followed, it comes to more than {MOST} values", event)
        if levels > DEEPEST:
            _refuse(f"with its aliases followed, it is more than {DEEPEST} deep", event)
        self._measured[id(node)] = values, levels
        return node


class _Dumper(yaml.SafeDumper):
    """Quotes all text that any reader of YAML takes for something else."""


for _name, (_pattern, _first) in _SCALARS.items():
    _Loader.add_implicit_resolver(f"{_PREFIX}{_name}", re.compile(f"(?:{_pattern.pattern})\\Z"), _first)
_Dumper.add_implicit_resolver(f"{_PREFIX}float", re.compile(f"{_SCIENTIFIC.pattern}\\Z"), list("-+0123456789"))


def parse(text: str, where: str) -> Any:
    """Return what a text of YAML holds, such as a word of the command line, None for nothing.

    Raise BadYaml, with ``where``, and the line where there are several.
    """
    return _parsed(text, lambda line: f"{where}:{line}" if "\n" in text.strip() else where)[0]


def _parsed(text: str, place: Callable[[int], str]) -> tuple[Any, Lines]:
    """Return what a text holds, and the lines of ``read_located``; ``place`` says where a line is."""
    lines: dict[tuple[str | int, ...], int] = {}
    try:
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
            value = None if node is None else _value(node, (), lines)
        finally:
            loader.dispose()
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise BadYaml(f"{place(line)}: not YAML: it holds the character U+{_code(error):04X}") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        if isinstance(error, _Refused):
            raise BadYaml(f"{place(line)}: {error.problem}") from None
        hint = "; indent with spaces" if "'\\t'" in str(error.problem) else ""
        raise BadYaml(f"{place(line)}: not YAML: {error.problem or error.context}{hint}") from None
    return value, lines


def read(path: Path) -> Any:
    """Return what a file of YAML holds, None for nothing. Raise BadYaml, with the line where there is one."""
    return read_located(path)[0]


def read_located(path: Path) -> tuple[Any, Lines]:
    """Return the same with the line of each value near the top, by the keys and indices that lead to it."""
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST + 1)
    except OSError as error:
        raise BadYaml(f"{path}: cannot be read: {error.strerror}") from None
    if len(content) > LARGEST:
        raise BadYaml(f"{path}: is larger than {LARGEST // 2**20} MiB; this is no file of settings")
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise BadYaml(f"{path}: is stored as UTF-16; save it as UTF-8")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise BadYaml(f"{path}:{line}: is not UTF-8 (byte 0x{content[error.start]:02x}); save it as UTF-8") from None
    return _parsed(text, lambda line: f"{path}:{line}")


def dump(value: Any, *, width: int = 80, ascii_only: bool = True) -> str:
    """Return plain values as YAML that ``parse`` reads back equal, keys in their order."""
    return str(yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=not ascii_only, width=width))


def _children(node: Any) -> Iterator[yaml.Node]:
    if isinstance(node, yaml.SequenceNode):
        yield from node.value
    elif isinstance(node, yaml.MappingNode):
        for pair in node.value:
            yield from pair


def _value(node: yaml.Node, at: tuple[str | int, ...], lines: dict[tuple[str | int, ...], int]) -> Any:
    """The value of a node; what two aliases share becomes two values."""
    if len(at) <= LOCATED:
        lines[at] = node.start_mark.line + 1
    if isinstance(node, yaml.ScalarNode):
        return _scalar(node)
    if isinstance(node, yaml.SequenceNode):
        return [_value(entry, (*at, index), lines) for index, entry in enumerate(node.value)]
    merged: dict[str, Any] = {}
    own: dict[str, Any] = {}
    first: dict[str, yaml.Node] = {}
    for key_node, inner in node.value:
        if key_node.tag == f"{_PREFIX}merge":
            merged = _merged(inner) | merged
            continue
        if not isinstance(key_node, yaml.ScalarNode):
            _refuse("a key is a list or a mapping, wanted text", key_node)
        key = _text(key_node)
        if key in first:
            _refuse(f"the key {key!r} stands twice, first in line {first[key].start_mark.line + 1}", key_node)
        first[key] = key_node
        own[key] = _value(inner, (*at, key), lines)
        if len(at) < LOCATED:
            lines[*at, key] = key_node.start_mark.line + 1
    return merged | own


def _merged(node: yaml.Node) -> dict[str, Any]:
    """The mapping that ``<<`` stands for; of several the first wins."""
    mappings = node.value if isinstance(node, yaml.SequenceNode) else [node]
    merged: dict[str, Any] = {}
    for entry in mappings:
        if not isinstance(entry, yaml.MappingNode):
            _refuse("<< stands for a mapping, or a list of them", entry)
        merged = _value(entry, (), {}) | merged
    return merged


def _scalar(node: yaml.ScalarNode) -> Any:
    text, kind = _text(node), node.tag.removeprefix(_PREFIX)
    if kind == "null":
        return None
    if kind == "bool":
        return text.lower() in {"yes", "true", "on"}
    if kind == "int":
        digits = text.replace("_", "")
        if len(digits) > DIGITS:
            _refuse(f"a number of {len(digits)} digits is not taken", node)
        return int(digits, 0)
    if kind == "float":
        plain = text.replace("_", "").lower()
        return float(plain.replace(".inf", "inf").replace(".nan", "nan"))
    return text


def _text(node: yaml.ScalarNode) -> str:
    text = str(node.value)
    if unwritten := _UNWRITTEN.search(text):
        _refuse(f"a text holds the character U+{ord(unwritten.group()):04X}, which no name and no sentence has", node)
    return text


def _code(error: yaml.reader.ReaderError) -> int:
    return error.character if isinstance(error.character, int) else ord(error.character)


def _refuse(problem: str, at: Any) -> NoReturn:
    raise _Refused(problem=problem, problem_mark=at.start_mark)

"""Rooms, floors, arrows, circles and sizes of the code, read from its files.

``python tests/project/structure.py [ROOT]`` prints them. A room is a folder or a lone module of ``bench/``, or a folder
of plug-ins beside it. An arrow is a pair of rooms of which one imports the other, anywhere in its files; late imports
and those for types count. The layers that pyproject.toml gives to import-linter say which imports go upward. The number
of floors is the longest chain of arrows.
"""

from __future__ import annotations

import ast
import sys
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PLUGIN_FOLDERS = ("methods", "reports", "submissions")
FACE = (
    "bench"  # bench/__init__.py holds the version and the path of the plug-ins: the name of the package, no room in it
)
FILE_LIMIT, PACKAGE_LIMIT = 500, 7000

Graph = Mapping[str, set[str]]


@dataclass(frozen=True)
class Structure:
    """What the files of one clone say of its structure."""

    files: dict[str, Path]  # module -> file; modules are named as they are imported: bench.methods.msp
    modules: dict[str, set[str]]  # module -> modules of ours that it imports
    layers: dict[str, int]  # room -> floor that pyproject.toml gives it, the lowest is 1; empty where there is no table
    lines: dict[Path, int]  # Python files outside the tests, relative to the root

    @property
    def rooms(self) -> list[str]:
        return sorted({room_of(module) for module in self.files} - {FACE})

    @property
    def arrows(self) -> dict[tuple[str, str], list[tuple[str, str]]]:
        """Map (importing room, imported room) to the pairs of modules behind it."""
        pairs: dict[tuple[str, str], list[tuple[str, str]]] = {}
        for module, imported in sorted(self.modules.items()):
            for target in sorted(imported):
                ends = room_of(module), room_of(target)
                if ends[0] != ends[1] and FACE not in ends:
                    pairs.setdefault(ends, []).append((module, target))
        return pairs

    @property
    def graph(self) -> Graph:
        """Map each room to the rooms that it imports."""
        rooms: dict[str, set[str]] = {room: set() for room in self.rooms}
        for importing, imported in self.arrows:
            rooms[importing].add(imported)
        return rooms

    @property
    def circles(self) -> list[list[str]]:
        """Modules, and rooms, that import one another over any number of steps."""
        return [*strongly_connected(self.graph), *strongly_connected(self.modules)]

    @property
    def floors(self) -> dict[str, int]:
        """Map each room to the length of the longest chain of imports below it; a circle stands on one floor."""
        return heights(self.graph)

    @property
    def upward(self) -> list[str]:
        """Imports of a room on the same floor or above, as ``module -> module``."""
        return [
            f"{importing} -> {imported}"
            for (lower, upper), pairs in self.arrows.items()
            if self.layers and self.layers[lower] <= self.layers[upper]
            for importing, imported in pairs
        ]

    @property
    def long_files(self) -> dict[str, int]:
        return {str(path): count for path, count in self.lines.items() if count > FILE_LIMIT}

    @property
    def package_lines(self) -> dict[str, int]:
        """Map each room to the number of lines of its Python files."""
        totals: dict[str, int] = {}
        for module, path in self.files.items():
            room = room_of(module)
            totals[room] = totals.get(room, 0) + line_count(path)
        return totals


def read(root: Path = ROOT) -> Structure:
    """Return the structure of the clone at ``root``."""
    files = {
        module_of(path.relative_to(root)): path
        for top in ("bench", *PLUGIN_FOLDERS)
        for path in sorted((root / top).rglob("*.py"))
        if "templates" not in path.parts  # written into archives, not imported
    }
    lines = {
        path.relative_to(root): line_count(path)
        for top in ("bench", *PLUGIN_FOLDERS, "examples", "benchmarks")
        for path in sorted((root / top).rglob("*.py"))
    }
    return Structure(files, {module: set(imports(module, files)) for module in files}, table(root), lines)


def module_of(path: Path) -> str:
    """Return the name under which a file is imported, from its path relative to the root."""
    parts = path.with_suffix("").parts
    return ".".join(parts if parts[0] == "bench" else ("bench", *parts)).removesuffix(".__init__")


def room_of(module: str) -> str:
    _, *inner = module.split(".")
    if not inner:
        return FACE
    return "cli" if inner[0] == "__main__" else inner[0]


def imports(module: str, files: Mapping[str, Path]) -> Iterator[str]:
    """Yield the modules of ours that a file imports, at its top, late, or for types."""
    for node in ast.walk(ast.parse(files[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names = [(f"{node.module}.{alias.name}", node.module) for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [(alias.name, alias.name) for alias in node.names]
        else:
            continue
        for name, parent in names:
            target = name if name in files else parent
            if target in files and target != module:
                yield target


def table(root: Path) -> dict[str, int]:
    """Return the floor of each room from the layers of import-linter, the lowest is 1."""
    settings = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = settings.get("tool", {}).get("importlinter", {}).get("contracts", [])
    layers = [layer for contract in contracts if contract["type"] == "layers" for layer in contract["layers"]]
    return {
        name.strip().removeprefix("bench."): floor
        for floor, layer in enumerate(reversed(layers), start=1)
        for name in layer.split("|")
    }


def line_count(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


def strongly_connected(graph: Graph) -> list[list[str]]:
    """Return the groups of nodes of which each reaches each other one, singles left out."""
    reached = {node: reachable(graph, node) for node in graph}
    groups = {frozenset(other for other in reached[node] if node in reached[other]) for node in graph}
    return sorted(sorted(group) for group in groups if len(group) > 1)


def reachable(graph: Graph, start: str) -> set[str]:
    """Return the nodes at the end of at least one step from ``start``."""
    seen: set[str] = set()
    ahead = list(graph[start])
    while ahead:
        node = ahead.pop()
        if node not in seen:
            seen.add(node)
            ahead.extend(graph[node])
    return seen


def heights(graph: Graph) -> dict[str, int]:
    """Return the floor of each node, 1 for those that import nothing; members of a circle share one."""
    reached = {node: reachable(graph, node) for node in graph}
    floors: dict[str, int] = {}
    for node in sorted(graph, key=lambda node: len(reached[node] | {node})):  # below lie those that reach fewer
        circle = {other for other in reached[node] if node in reached[other]} | {node}
        below = {other for member in circle for other in graph[member]} - circle
        floors[node] = 1 + max((floors[other] for other in below), default=0)
    return floors


def summary(structure: Structure) -> Iterable[str]:
    """Return the lines that the command prints."""
    floors, graph, sizes = structure.floors, structure.graph, structure.package_lines
    large = {room: count for room, count in sizes.items() if count > PACKAGE_LIMIT}
    yield (
        f"rooms {len(structure.rooms)}, floors {max(floors.values())}, arrows {len(structure.arrows)}, "
        f"circles {len(structure.circles)}, upward arrows {len(structure.upward)}, "
        f"files over {FILE_LIMIT} lines {len(structure.long_files)}, packages over {PACKAGE_LIMIT} lines {len(large)}, "
        f"lines {sum(structure.lines.values())}"
    )
    for room in sorted(structure.rooms, key=lambda room: (-floors[room], room)):
        yield f"{floors[room]:>3} {room:<12} {sizes[room]:>6} lines -> {' '.join(sorted(graph[room])) or 'nothing'}"
    yield from (f"circle: {' <-> '.join(circle)}" for circle in structure.circles)
    yield from (f"upward: {arrow}" for arrow in structure.upward)
    yield from (f"long: {path} has {count} lines" for path, count in structure.long_files.items())
    yield from (f"large: {room} has {count} lines" for room, count in large.items())


if __name__ == "__main__":
    print(*summary(read(Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else ROOT)), sep="\n")

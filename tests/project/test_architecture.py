"""The shape of the code: how many rooms, who imports whom, how long files are; ``structure.py`` prints it."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from structure import PACKAGE_LIMIT, PLUGIN_FOLDERS, ROOT, heights, read, strongly_connected


@pytest.fixture(scope="module")
def structure():
    return read()


def test_the_rooms_are_those_of_the_table_of_floors(structure):
    assert set(structure.rooms) == set(structure.layers)
    assert len(structure.rooms) <= 22


def test_floors_and_arrows_stay_few(structure):
    assert max(structure.floors.values()) <= 10
    assert len(structure.arrows) <= 110


def test_no_import_goes_in_a_circle(structure):
    assert structure.circles == []


def test_no_import_goes_to_the_same_floor_or_above(structure):
    assert structure.upward == []


def test_no_file_is_long(structure):
    assert structure.long_files == {}


def test_no_package_is_large(structure):
    assert {room: lines for room, lines in structure.package_lines.items() if lines > PACKAGE_LIMIT} == {}


def test_machinery_names_no_plug_in(structure):
    """import-linter cannot see these: what is imported as bench.methods stands beside bench in a clone."""
    named = [
        f"{module} -> {target}"
        for module, imported in structure.modules.items()
        for target in imported
        if target.split(".")[1:2]
        and target.split(".")[1] in PLUGIN_FOLDERS
        and module.split(".")[1] not in PLUGIN_FOLDERS
    ]
    assert named == []


def test_the_contracts_of_import_linter_are_kept():
    done = subprocess.run(
        [Path(sys.executable).parent / "lint-imports", "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 broken" in done.stdout


def rows_of_the_page():
    """Map each room of docs/architecture.md to its floor and to what it says of torch."""
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d+) \| `(\w+)` \|.*\| ([^|]+) \|$", page, re.M)
    return {room: (int(floor), torch) for floor, room, torch in rows}


def test_the_page_names_the_rooms_there_are_with_their_floors(structure):
    assert {room: floor for room, (floor, _) in rows_of_the_page().items()} == structure.layers


def test_the_page_says_which_rooms_import_torch():
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    (without,) = (contract for contract in contracts if contract.get("forbidden_modules") == ["torch"])
    free = {room for room, (_, torch) in rows_of_the_page().items() if torch in {"no", "late", "weights only"}}
    assert free == {name.removeprefix("bench.") for name in without["source_modules"]}


def test_circles_and_floors_are_counted_through_longer_ways():
    graph = {"a": {"b"}, "b": {"c"}, "c": {"a", "d"}, "d": set(), "e": {"a", "d"}}
    assert strongly_connected(graph) == [["a", "b", "c"]]
    assert heights(graph) == {"d": 1, "a": 2, "b": 2, "c": 2, "e": 3}


def test_imports_are_seen_wherever_they_stand(tmp_path):
    (tmp_path / "pyproject.toml").write_text(
        '[[tool.importlinter.contracts]]\ntype = "layers"\nlayers = ["bench.upper | methods", "bench.lower"]\n'
    )
    for name, text in {
        "bench/__init__.py": "",
        "bench/upper.py": "def late():\n    from bench.lower import value\n",
        "bench/lower/__init__.py": "if TYPE_CHECKING:\n    import bench.methods.msp\n",
        "methods/__init__.py": "",
        "methods/msp.py": "from bench import lower\n",
    }.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    found = read(tmp_path)
    assert set(found.arrows) == {("upper", "lower"), ("lower", "methods"), ("methods", "lower")}
    assert found.circles == [["lower", "methods"], ["bench.lower", "bench.methods.msp"]]
    assert found.upward == ["bench.lower -> bench.methods.msp"]
    assert found.floors == {"lower": 1, "methods": 1, "upper": 2}

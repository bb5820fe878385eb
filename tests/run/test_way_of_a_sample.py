"""docs/architecture.md says through which functions a sample goes, in order: a run is watched going through them."""

import importlib.util
import inspect
import re
import sys
from pathlib import Path

from bench.cli.main import main

PAGE = Path(__file__).parents[2] / "docs" / "architecture.md"


def named():
    """The functions of the page by their name, in its order."""
    section = PAGE.read_text(encoding="utf-8").partition("## The way of a sample\n")[2].partition("\n\nA worker")[0]
    functions = {}
    for name in re.findall(r"`((?:cli|suite|run|metrics|results)\.[\w.]+)`", section):
        parts = name.split(".")
        depth = next(depth for depth in range(len(parts) - 1, 0, -1) if is_module("bench." + ".".join(parts[:depth])))
        found = importlib.import_module("bench." + ".".join(parts[:depth]))
        for part in parts[depth:]:
            found = getattr(found, part)
        functions[name] = found
    return section, functions


def is_module(name):
    return importlib.util.find_spec(name) is not None if is_package(name.rpartition(".")[0]) else False


def is_package(name):
    spec = importlib.util.find_spec(name)
    return spec is not None and spec.submodule_search_locations is not None


def test_a_run_goes_through_the_functions_of_the_page_in_its_order(tiny, tmp_path):
    section, functions = named()
    codes = {function.__code__: name for name, function in functions.items()}
    called = {}

    def watch(frame, event, argument):
        if event == "call" and frame.f_code in codes:
            called.setdefault(codes[frame.f_code])

    only = ["--only", "method=msp,protocol=anomaly", "--workers", "0", "--gallery", "0"]
    sys.setprofile(watch)
    try:
        assert main(["run", str(tiny), "--out", str(tmp_path / "run"), *only]) == 0
    finally:
        sys.setprofile(None)
    assert list(called) == list(functions)
    files = {inspect.getsourcefile(function) for function in functions.values()}
    assert f"{len(functions)} functions in {len(files)} files" in section.replace("\n", " ")

"""The wheel: what is in it, and that it works from any folder, whatever else lies on the path."""

import json
import os
import shlex
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from running import PATIENCE

ROOT = Path(__file__).parents[2]
SOURCES = ("bench", "methods", "reports", "submissions", "suites", "pyproject.toml", "README.md", "LICENSE")


def run(*argv, cwd, path, **more):
    """Run Python in another folder with this path; its output, both streams."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    env = kept | {"PYTHONPATH": os.pathsep.join(map(str, path))} | more
    return subprocess.run(
        [sys.executable, *map(str, argv)],
        cwd=cwd,
        env=env,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


@pytest.fixture(scope="session")
def wheel(tmp_path_factory):
    """Built from a copy: no build/ is left in the clone, and none that lies there gets in."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in SOURCES:
        (source / name).symlink_to(ROOT / name)
    made = run(
        *("-m", "pip", "wheel", "--no-deps", "--no-index", "--no-build-isolation", "--wheel-dir", folder, source),
        cwd=folder,
        path=[],
    )
    assert made.returncode == 0, made.stdout + made.stderr
    (found,) = folder.glob("*.whl")
    return found


@pytest.fixture(scope="session")
def installed(wheel, tmp_path_factory):
    """The wheel alone in a folder."""
    folder = tmp_path_factory.mktemp("site")
    made = run("-m", "pip", "install", "--no-deps", "--no-index", "--target", folder, wheel, cwd=folder, path=[])
    assert made.returncode == 0, made.stdout + made.stderr
    return folder


@pytest.fixture
def elsewhere(tmp_path):
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    return folder


ANSWERS = """
import contextlib, io, json, sys
from bench.cli.main import main
from bench.suite import registry
outputs = []
for argv in json.loads(sys.argv[1]):
    with contextlib.redirect_stdout(io.StringIO()) as output:
        assert main(argv) == 0, argv
    outputs.append(output.getvalue())
    registry.forget()  # the next command is another process for its user
import bench
from bench.methods import msp
from bench.reports import html
from bench.suite.expansion import locate
located = [str(locate(name)) for name in ("demo", "suites/demo.yaml")]
print(json.dumps([outputs, list(bench.__path__), [html.__file__, msp.__file__], located]))
"""
COMMANDS = {
    "methods": "list methods",
    "suites": "list suites",
    "published": "list published --only method=EAM",
    "bibtex": "list methods --bibtex",
    "new": "new method my_score",
    "methods with a new one": "list methods",
    "check": "check demo --only protocol=anomaly,method=msp,model=toynet,dataset=*anomaly*",
}
THEIRS = '''
from bench.api import Method


class Theirs(Method):
    """Score = -max logit."""

    name = "theirs"
    source = "their paper"

    def score(self, prediction, state):
        return -prediction.max_logit
'''


@pytest.fixture(scope="module")
def answers(installed, tmp_path_factory):
    """What commands of the wheel print and what it finds, all in one process, for torch is imported once.

    It runs in a folder elsewhere, with packages of foreign names first on the path, with a package that has a method by
    entry point, and with a folder of one's own.
    """
    folder = tmp_path_factory.mktemp("user")
    for name in ("elsewhere", "plugins"):
        (folder / name).mkdir()
    for name in ("methods", "reports", "suites", "submissions"):
        (folder / "foreign" / name).mkdir(parents=True)
        (folder / "foreign" / name / "__init__.py").write_text(
            'raise AssertionError("the foreign package was imported")\n'
        )
    (folder / "site" / "their_package").mkdir(parents=True)
    (folder / "site" / "their_package" / "__init__.py").touch()
    (folder / "site" / "their_package" / "scores.py").write_text(THEIRS)
    info = folder / "site" / "their_package-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: their-package\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[ood_seg_bench.plugins]\ntheirs = their_package.scores\n")
    done = run(
        *("-c", ANSWERS, json.dumps([shlex.split(command) for command in COMMANDS.values()])),
        cwd=folder / "elsewhere",
        path=[folder / "foreign", installed, folder / "site"],
        BENCH_PLUGINS=str(folder / "plugins"),
        BENCH_HOME=str(folder / "home"),
        NUMBA_DISABLE_JIT="1",  # what numba compiled for the clone is no good for another folder
    )
    assert done.returncode == 0, done.stdout + done.stderr
    outputs, packages, plug_ins, located = json.loads(done.stdout.splitlines()[-1])
    places = {"packages": packages, "plug-ins": plug_ins, "located": located, "own folder": folder / "plugins"}
    return dict(zip(COMMANDS, outputs, strict=True)) | places


def first_words(text):
    return [line.split()[0] for line in text.splitlines()]


def test_the_wheel_holds_every_file_that_is_not_code(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    data = [
        *("bench/py.typed", "bench/models/toynet.safetensors"),
        *(f"bench/suites/{path.name}" for path in (ROOT / "suites").glob("*.yaml")),
        *(
            f"bench/reports/{path.relative_to(ROOT / 'reports')}"
            for path in (ROOT / "reports/templates").rglob("*")
            if path.is_file()
        ),
        *(f"bench/reports/published/{path.name}" for path in (ROOT / "reports/published").glob("*.csv")),
        "bench/reports/references.bib",
        *(
            f"bench/submissions/{path.relative_to(ROOT / 'submissions')}"
            for path in (ROOT / "submissions/templates").rglob("*")
            if path.is_file() and "__pycache__" not in path.parts
        ),
        *(f"bench/results/schema/{path.name}" for path in (ROOT / "bench/results/schema").iterdir()),
        *(f"bench/suite/templates/{path.name}" for path in (ROOT / "bench/suite/templates").iterdir()),
        *(f"bench/submit/templates/{path.name}" for path in (ROOT / "bench/submit/templates").iterdir()),
    ]
    assert [name for name in data if name not in names] == []
    assert any(name.startswith("bench/reports/templates/") for name in names)
    assert any(name.startswith("bench/suites/demo") for name in names)


def test_the_wheel_holds_every_module(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    inside = [path.relative_to(ROOT) for path in (ROOT / "bench").rglob("*.py")]
    beside = [
        Path("bench") / path.relative_to(ROOT)
        for folder in ("methods", "reports", "submissions", "suites")
        for path in (ROOT / folder).rglob("*.py")
    ]
    assert [str(path) for path in [*inside, *beside] if path.as_posix() not in names] == []


def test_the_wheel_puts_nothing_but_bench_on_the_path(wheel):
    top = {name.split("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert {name for name in top if not name.endswith(".dist-info")} == {"bench"}


def test_the_wheel_holds_no_tests(wheel):
    assert [name for name in zipfile.ZipFile(wheel).namelist() if "test" in name.lower()] == []


def test_the_weights_are_small_enough_to_ship(wheel):
    assert zipfile.ZipFile(wheel).getinfo("bench/models/toynet.safetensors").file_size <= 2_000_000


def test_the_wheel_finds_its_plug_ins_and_suites_from_any_folder(answers, installed):
    assert {"msp", "maxlogit", "energy", "entropy"} <= set(first_words(answers["methods"]))
    assert "demo" in first_words(answers["suites"])
    assert "RoadAnomaly, test" in answers["published"].splitlines()
    assert "@inproceedings{liu2020energy," in answers["bibtex"]
    assert answers["packages"] == [str(installed / "bench"), str(installed / "bench" / "core" / "old_modules")]


def test_the_wheel_checks_its_demo_by_name_and_by_the_path_it_has_in_a_clone(answers, installed):
    assert answers["check"].endswith("ready to run\n")
    assert {*answers["located"]} == {str(installed / "bench" / "suites" / "demo.yaml")}


def test_foreign_packages_of_the_same_names_first_on_the_path_do_no_harm(answers, installed):
    assert all(path.startswith(str(installed / "bench")) for path in answers["plug-ins"])


def test_a_method_in_a_folder_of_ones_own_is_listed_beside_those_of_the_wheel(answers):
    written = Path(answers["new"].strip())
    assert written == answers["own folder"] / "methods" / "my_score.py"
    assert "my_score" not in first_words(answers["methods"])
    assert {"msp", "my_score"} <= set(first_words(answers["methods with a new one"]))


def test_a_method_of_another_package_is_found_by_its_entry_point(answers):
    assert "theirs" in first_words(answers["methods"])


def test_pytest_in_the_clone_tests_the_clone_even_where_the_wheel_is_installed(installed, tmp_path):
    probe = tmp_path / "test_probe.py"
    probe.write_text(
        "import bench\nfrom bench import methods\n\n\n"
        f"def test_it():\n    assert bench.__file__ == {str(ROOT / 'bench' / '__init__.py')!r}\n"
        f"    assert methods.__file__ == {str(ROOT / 'methods' / '__init__.py')!r}\n"
    )
    options = ("-q", "-n", "0", "-p", "no:cacheprovider", "--confcutdir", tmp_path)
    done = run("-m", "pytest", *options, probe, cwd=ROOT, path=[installed])
    assert done.returncode == 0, done.stdout + done.stderr


HEAVY = ("torch", "numba", "scipy", "pandas")


def test_help_imports_nothing_heavy(installed, elsewhere):
    look = f"""
import sys
from bench.cli.main import main
for command in (["--help"], ["score", "--help"], ["run", "--help"], ["--version"]):
    main(command)
    heavy = [name for name in {HEAVY} if name in sys.modules]
    assert not heavy, (command, heavy)
"""
    done = run("-c", look, cwd=elsewhere, path=[installed])
    assert done.returncode == 0, done.stderr

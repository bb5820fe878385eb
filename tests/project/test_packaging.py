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


SEVERAL = """
import contextlib, io, json, sys
from bench.cli.main import main
outputs = []
for argv in json.loads(sys.argv[1]):
    with contextlib.redirect_stdout(io.StringIO()) as output:
        assert main(argv) == 0, argv
    outputs.append(output.getvalue())
print(json.dumps(outputs))
"""


def bench(*commands, cwd, path, **more):
    """Return what each of the commands prints, all in one process: torch is imported once."""
    done = run("-c", SEVERAL, json.dumps([shlex.split(command) for command in commands]), cwd=cwd, path=path, **more)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout.splitlines()[-1])


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


def test_the_wheel_finds_its_plug_ins_and_suites_from_any_folder(installed, elsewhere):
    commands = ("list methods", "list suites", "list published --only method=EAM", "list methods --bibtex")
    methods, suites, published, bibtex = bench(*commands, cwd=elsewhere, path=[installed])
    assert {"msp", "maxlogit", "energy", "entropy"} <= set(first_words(methods))
    assert "demo" in first_words(suites)
    assert "RoadAnomaly, test" in published.splitlines()
    assert "@inproceedings{liu2020energy," in bibtex
    at = run("-c", "import bench; print(bench.__path__)", cwd=elsewhere, path=[installed]).stdout
    assert at.strip() == str([str(installed / "bench"), str(installed / "bench" / "core" / "old_modules")])


def test_the_wheel_checks_its_demo_by_name_and_by_the_path_it_has_in_a_clone(installed, elsewhere):
    some = ("--only", "protocol=anomaly,method=msp,model=toynet,dataset=*anomaly*")
    interpreted = {"NUMBA_DISABLE_JIT": "1"}  # what numba compiled for the clone is no good for another folder
    done = run("-m", "bench", "check", "demo", *some, cwd=elsewhere, path=[installed], **interpreted)
    assert done.returncode == 0 and done.stdout.endswith("ready to run\n"), done.stderr
    look = "from bench.suite.expansion import locate; print(*{locate(name) for name in ('demo', 'suites/demo.yaml')})"
    found = run("-c", look, cwd=elsewhere, path=[installed])
    assert found.stdout.strip() == str(installed / "bench" / "suites" / "demo.yaml"), found.stderr


def test_foreign_packages_of_the_same_names_first_on_the_path_do_no_harm(installed, elsewhere, tmp_path):
    foreign = tmp_path / "foreign"
    for name in ("methods", "reports", "suites", "submissions"):
        (foreign / name).mkdir(parents=True)
        (foreign / name / "__init__.py").write_text('raise AssertionError("the foreign package was imported")\n')
    methods, suites = bench("list methods", "list suites", cwd=elsewhere, path=[foreign, installed])
    assert "msp" in first_words(methods) and "demo" in first_words(suites)
    imported = "from bench.reports import html; from bench.methods import msp; print(html.__file__, msp.__file__)"
    found = run("-c", imported, cwd=elsewhere, path=[foreign, installed])
    assert found.stdout.count(str(installed / "bench")) == 2, found.stderr


def test_a_method_in_a_folder_of_ones_own_is_listed_beside_those_of_the_wheel(installed, elsewhere, tmp_path):
    plugins = tmp_path / "plugins"
    plugins.mkdir()
    (written,) = bench("new method my_score", cwd=elsewhere, path=[installed], BENCH_PLUGINS=str(plugins))
    assert Path(written.strip()) == plugins / "methods" / "my_score.py"
    (listed,) = bench("list methods", cwd=elsewhere, path=[installed], BENCH_PLUGINS=str(plugins))
    assert {"msp", "my_score"} <= set(first_words(listed))


def test_a_method_of_another_package_is_found_by_its_entry_point(installed, elsewhere, tmp_path):
    site = tmp_path / "site"
    (site / "their_package").mkdir(parents=True)
    (site / "their_package" / "__init__.py").touch()
    (site / "their_package" / "scores.py").write_text(
        "from bench.api import Method\n\n\n"
        "class Theirs(Method):\n"
        '    """Score = -max logit."""\n\n'
        '    name = "theirs"\n'
        '    source = "their paper"\n\n'
        "    def score(self, prediction, state):\n"
        "        return -prediction.max_logit\n"
    )
    info = site / "their_package-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: their-package\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[ood_seg_bench.plugins]\ntheirs = their_package.scores\n")
    (listed,) = bench("list methods", cwd=elsewhere, path=[installed, site])
    assert "theirs" in first_words(listed)


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

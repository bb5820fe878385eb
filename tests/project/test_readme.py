"""The README and the pages in docs/: their examples are run, their tables compared with the code."""

import json
import os
import pkgutil
import re
import runpy
import shlex
import subprocess
import sys
import tomllib
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from running import PATIENCE

from bench import __version__
from bench.api import Inference
from bench.cli.main import main
from bench.contract.network import loaded as load
from bench.models.python import PythonModel
from bench.results.definitions import panel
from bench.results.store import read_run
from bench.suite import expansion as suites
from bench.suite import parameters, registry, schema

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = {
    path.name: path.read_text(encoding="utf-8")
    for path in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
}
DEMO_PAGE = PAGES["demo.md"]
BLOCK = re.compile(
    r"(?:<!-- (?P<kind>\w+): (?P<what>[^\n]+?) -->\n\n)?^[ ]*```(?P<language>\w*)\n(?P<text>.*?)^[ ]*```", re.M | re.S
)
DEMO, TESTS = "pip install -e . && bench run demo", 'pip install -e ".[test]" && python -m pytest'


def blocks(page=None, **wanted):
    """Code blocks of one page or of all, by language or by the comment that stands above them."""
    texts = PAGES.values() if page is None else [PAGES[page]]
    found = [match.groupdict() for text in texts for match in BLOCK.finditer(text)]
    return [block for block in found if all(block[key] == value for key, value in wanted.items())]


def commands(*pages):
    """Return the lines that the README, or other pages, would have one type."""
    return [
        line
        for page in pages or ("README.md",)
        for block in blocks(page, language="sh")
        for line in block["text"].splitlines()
    ]


def test_the_pages_name_every_suite_and_every_kind_of_network():
    suites_named, networks_named = (
        set(re.findall(r"`(\w+)[:`]", PAGES[page])) for page in ("suites.md", "networks.md")
    )
    assert suites.shipped().keys() - {"demo"} <= suites_named
    assert registry.available("model").keys() <= networks_named


@pytest.fixture
def plugins(tmp_path, monkeypatch):
    """A plug-in folder with every example."""
    for block in blocks(kind="plugin"):
        path = tmp_path / "plugins" / block["what"]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block["text"])
    monkeypatch.setenv("BENCH_PLUGINS", str(tmp_path / "plugins"))
    registry.forget()
    yield tmp_path / "plugins"
    registry.forget()


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty folder to type commands in."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def test_the_sections_stand_in_this_order():
    assert re.findall(r"^## (.+)", README, re.M) == [
        *("Install and run", "What it does", "Your network and data", "Your method", "From Python"),
        *("Score maps made elsewhere", "Submit", "Scale", "Where to go on", "Limits", "Cite", "License"),
    ]


def test_the_readme_can_be_read_in_five_minutes():
    prose = BLOCK.sub("", README)
    assert len(prose.split()) < 1200
    first_screen = README.split("## Install and run")[0]
    for term in ("anomaly segmentation", "out-of-distribution", "misclassification", "corruption robustness"):
        assert term in first_screen
    for board in ("SegmentMeIfYouCan", "Fishyscapes", "Cityscapes-C", "BRAVO"):
        assert board in first_screen


def test_every_page_is_in_the_list_by_task():
    listed = set(re.findall(r"\]\((\w+\.md)\)", PAGES["tasks.md"]))
    assert {path.name for path in (ROOT / "docs").glob("*.md")} - {"tasks.md"} == listed


def test_the_first_two_commands_install_and_run_the_demo_and_the_tests():
    set_up = [line for line in commands() if "&&" in line]
    assert set_up == [DEMO, TESTS]


def test_ci_runs_the_very_test_command():
    assert TESTS in [line.strip() for line in (ROOT / ".ci" / "run").read_text().splitlines()]


def test_the_method_of_the_readme_runs_beside_the_others(plugins, here, capsys):
    assert main(["list", "methods"]) == 0
    assert "two_best" in [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    (command,) = (line for line in commands() if "two_best" in line)
    some = ["--only", "protocol=anomaly,dataset=*anomaly*", "--workers", "0", "--verbose"]
    assert main([*shlex.split(command)[1:], *some]) == 0
    assert "two_best[temperature=2]" in capsys.readouterr().out


def test_the_method_of_the_docs_is_fitted(plugins, here, capsys):
    (block,) = (block for block in blocks("methods.md", kind="suite") if block["what"] == "centred.yaml")
    Path(block["what"]).write_text(block["text"])
    assert main(["run", block["what"], "--workers", "0"]) == 0
    records = shown(capsys, "runs/centred")
    assert next(record["value"] for record in records if record["metric"] == "auroc") > 0.6


def shown(capsys, folder):
    capsys.readouterr()
    assert main(["show", folder, "--format", "json"]) == 0
    return json.loads(capsys.readouterr().out)["records"]


def test_the_network_of_the_docs_is_built(here):
    (block,) = blocks("networks.md", kind="file")
    network = torch.nn.Sequential(
        torch.nn.Conv2d(3, 32, 3, stride=4, padding=1), torch.nn.ReLU(), torch.nn.Conv2d(32, 19, 1)
    )
    Path("mine.py").write_text(block["text"])
    torch.save({"state_dict": {f"module.{name}": t for name, t in network.state_dict().items()}}, "mine.pth")
    model = load(PythonModel(factory=str(here / "mine.py:build"), weights=str(here / "mine.pth")), "cpu")
    assert model.module()(torch.zeros(1, 3, 32, 64)).shape == (1, 19, 8, 16)


@pytest.mark.parametrize("block", blocks(kind="suite"), ids=lambda block: block["what"])
def test_the_suites_of_the_pages_are_suites(block, plugins, here):
    Path(block["what"]).write_text(block["text"])
    assert suites.load(here / block["what"]).cells


@pytest.mark.parametrize("block", blocks(kind="datasets"), ids=lambda block: block["what"])
def test_the_data_sets_of_the_pages_are_entries_of_a_suite(block, here):
    entries = yaml.safe_load(block["text"])
    assert {entry if isinstance(entry, str) else next(iter(entry)) for entry in entries} == set(
        block["what"].split(", ")
    )
    Path("data.yaml").write_text(
        yaml.safe_dump({"protocols": ["miou"], "models": ["toynet"], "datasets": entries}, sort_keys=False)
    )
    assert suites.load(here / "data.yaml").cells


def test_the_example_of_the_grammar_has_as_many_cells_as_the_page_says(plugins, here):
    (block,) = blocks("suites.md", kind="suite")
    Path(block["what"]).write_text(block["text"])
    cells = len(suites.load(here / block["what"]).cells)
    assert f"are {cells} cells" in PAGES["suites.md"]


def test_the_first_session_in_python_makes_a_figure(here, capsys):
    pytest.importorskip("matplotlib", reason="the extra figures is not installed")
    (block,) = blocks("python.md", kind="session")
    lines = [line for line in block["text"].splitlines() if line.strip()]
    assert len(lines) <= 10
    Path("session.py").write_text(block["text"])
    runpy.run_path("session.py", run_name="session")  # in this process, which has torch already
    printed = capsys.readouterr().out
    assert "AP" in printed and "B - A" in printed and "8 images" in printed
    drawn = list(Path("figures").iterdir())
    assert any("anomaly" in path.name for path in drawn)
    assert {path.read_bytes()[:5] for path in drawn} == {b"%PDF-"}


def test_every_other_piece_of_yaml_and_python_can_be_read():
    for block in blocks(language="yaml"):
        assert yaml.safe_load(block["text"])
    for block in blocks(language="python"):
        compile(block["text"], "a page", "exec")


@pytest.mark.parametrize("line", re.findall(r"^bench: x\.yaml:\d.+", PAGES["suites.md"], re.M))
def test_the_refusals_of_the_docs_are_to_the_letter(line, here, capsys):
    good = "protocols: [anomaly]\nmodels: [toynet]\ndatasets: [toytown]\nmethods: [energy]\n"
    broken = [
        good.replace("energy", "enrgy"),
        good.replace("datasets", "dataset"),
        good.replace("[toynet]", "toynet"),
    ]
    said = []
    for text in broken:
        Path("x.yaml").write_text(text)
        assert main(["check", "x.yaml"]) == 2
        said.append(capsys.readouterr().err.strip())
    assert line in said


def names_in_table(text, header):
    """The first column of the table with this header: names in backticks."""
    table = text.split(header)[1].split("\n\n")[0]
    return [name for row in table.splitlines()[1:] for name in re.findall(r"`(\w+)`", row.split("|")[1])]


def test_the_tables_of_the_docs_name_every_key_and_parameter():
    head = "| key | default | meaning |"
    first, summaries, points, claims, numerics = (part for part in PAGES["suites.md"].split("\n## ") if head in part)
    assert sorted(names_in_table(first, head)) == sorted(schema.SuiteFile.model_fields)
    assert names_in_table(summaries, head) == list(schema.SummaryRule.model_fields)
    assert names_in_table(points, head) == list(schema.PointRule.model_fields)
    assert names_in_table(claims, head) == list(schema.ClaimRule.model_fields)
    assert names_in_table(numerics, head) == list(schema.NumericsRule.model_fields)
    head = "| parameter | default | meaning |"
    model, inference, detectron2, adapted = (part for part in PAGES["networks.md"].split("\n## ") if head in part)
    assert sorted(names_in_table(model, head)) == sorted(parameters.spellings(PythonModel).values())
    theirs = parameters.spellings(registry.plugin("model", "mask2former_detectron2", where="docs/networks.md"))
    assert sorted(names_in_table(detectron2, head)) == sorted(theirs.values())
    theirs = parameters.spellings(registry.plugin("model", "batch_norm_adapted", where="docs/networks.md"))
    assert sorted(["inference", *names_in_table(adapted, head)]) == sorted(theirs.values())
    assert names_in_table(inference, head) == [f.name for f in fields(Inference)]
    coco, folder, hub = (part for part in PAGES["data.md"].split("\n## ") if head in part)
    for name, part in (("coco", coco), ("folder", folder), ("hf", hub)):
        cls = registry.plugin("dataset", name, where="docs/data.md")
        assert sorted(names_in_table(part, head)) == sorted(parameters.spellings(cls).values())


def test_score_maps_of_any_origin_are_evaluated_without_torch(here):
    rng = np.random.RandomState(0)
    for folder in ("maps", "labels", "classes"):
        Path(folder).mkdir()
    for stem in ("a", "b", "c"):
        truth = rng.randint(0, 2, (16, 32)).astype(np.uint8)
        np.save(f"maps/{stem}.npy", (truth + rng.standard_normal(truth.shape)).astype(np.float32))
        Image.fromarray(truth).save(f"labels/{stem}.png")
        Image.fromarray(1 - truth).save(f"classes/{stem}.png")
    found = [shlex.split(line)[1:] for line in commands() if line.startswith("bench score")]
    look = (
        f"import sys; from bench.cli.main import main; print([main(argv) for argv in {found}], 'torch' in sys.modules)"
    )
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", look], env=env, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert done.stdout.splitlines()[-1] == "[0, 0] False", done.stderr


def test_the_demo_says_where_its_page_is_and_the_remaining_commands_run(plugins, here, capsys):
    """In the order of the page, on some cells and, of the demo, the first images: two drives, two weathers."""
    kept, done = "--only protocol=anomaly,dataset=*anomaly*,method=m[as]* --limit 8 --gallery 0", 0
    demo = DEMO.split(" && ")[1]
    for line in [demo, *commands("README.md", "run.md")]:
        program, *argv = shlex.split(line)
        if program == "bench" and not {"two_best", "score", "enet.yaml"} & set(argv):
            reduced = shlex.split(kept) if argv[:2] == ["run", "demo"] else []
            # In this process: what starts others is tested where figures are compared.
            reduced += ["--workers", "0", "--processes", "1"] if argv[0] == "run" else []
            reduced += ["--only", "method=maxlogit"] if argv[:2] == ["run", "toytown_smiyc"] else []
            reduced += ["--only", "method=energy,protocol=anomaly,dataset=*anomaly*"] if "--only" in argv else []
            assert main([*argv, *reduced]) == 0, capsys.readouterr().err
            done += 1
            if line == demo:
                assert capsys.readouterr().out.splitlines()[-1] == "report: runs/demo/report.html"
    assert done >= 6
    assert list(Path("runs/maps/spool").glob("toynet/*/msp/float16/scores/*.npy"))
    assert Path("runs/demo/report.md").is_file()
    assert "`runs/demo/report.html`" in README
    page = Path("runs/demo/report.html").read_text(encoding="utf-8")
    assert "Synthetic street scenes" in page and "Not comparable with any paper." in page
    note = "**Synthetic street scenes and two small networks trained on them. Not comparable with any paper."
    assert note in PAGES["demo.md"] and "not comparable with any paper" in README
    assert main(["list", "datasets"]) == 0
    (layout,) = (line for line in commands("suites.md") if "--layout cityscapes" in line)
    assert main(shlex.split(layout)[1:]) == 0
    Path("frames.yaml").write_text("protocols: [miou]\nmodels: [toynet]\ndatasets: [{cityscapes: {frames: 8}}]\n")
    assert main(["check", "frames.yaml"]) == 0


@pytest.fixture
def own_plugins(here, monkeypatch):
    """The folder ``plugins`` of the empty one, for what ``bench new`` writes."""
    (here / "plugins").mkdir()
    monkeypatch.setenv("BENCH_PLUGINS", "plugins")
    registry.forget()
    yield
    registry.forget()


def how_tos():
    """Return the pages of docs/ that the site lists under "How to"."""
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").split("- How to:")[1].split("- Reference:")[0]
    return re.findall(r": (\w+\.md)$", navigation, re.M)


def opening_of(page):
    """Return the first code block of a page, which stands before its second heading, as lists of words."""
    block = BLOCK.search(PAGES[page])
    headings = re.findall(r"^#{1,2} ", PAGES[page][: block.start()], re.M)
    assert len(headings) == 1 or PAGES[page].split("\n\n")[2].startswith("```"), (
        "something stands before the first command"
    )
    if block["language"] == "python":
        return []
    assert block["language"] == "sh"
    lines = [shlex.split(line, comments=True) for line in block["text"].splitlines()]
    assert {line[0] for line in lines} <= {"bench", "pip"}
    commands = [argv[: argv.index(">")] if ">" in argv else argv for program, *argv in lines if program == "bench"]
    # A plug-in goes into the folder of the test's, not into the clone.
    return [[*argv, "--folder", f"plugins/{argv[1]}s"] if argv[0] == "new" else argv for argv in commands]


@pytest.mark.parametrize("page", how_tos())
def test_a_how_to_begins_with_a_command_that_works(page, own_plugins, here, capsys):
    for argv in opening_of(page):
        costly = argv[0] in {"run", "score"} or {"--method", "--estimate"} & set(argv)  # the slow test below runs them
        if not costly and not any("runs/" in word for word in argv):
            status = main(argv)
            printed = capsys.readouterr()
            assert status == 0 or (argv == ["check", "course_anomaly"] and "bench data fetch" in printed.err), (
                printed.err
            )


@pytest.mark.slow
@pytest.mark.parametrize(
    "page", sorted({*how_tos()} - {"board.md", "compare.md", "report.md"})
)  # these read the whole demo
def test_the_commands_that_begin_a_how_to_run(page, own_plugins, here, capsys):
    for argv in opening_of(page):
        reduced = ["--limit", "1"] if argv[:2] == ["run", "demo"] and "--limit" not in argv else []
        words = [path for word in argv for path in (sorted(map(str, here.glob(word))) if "/*/" in word else [word])]
        status = main([*words, *reduced])
        assert status == 0 or argv == ["check", "course_anomaly"], capsys.readouterr().err
        registry.forget()  # the next command is another process for its user


def test_files_and_modules_that_the_pages_name_are_there():
    examples = {block["what"] for block in blocks(kind="plugin")}
    folders = "bench|methods|reports|submissions|suites|examples|benchmarks|tests"
    named = {
        (page, path)
        for page, text in PAGES.items()
        for path in re.findall(rf"(?<![\w./])(?:{folders})/[\w/]+\.(?:py|yaml|csv|sh)", text)
        if "NAME" not in path and path not in examples
    }
    assert len(named) > 10 and {(page, path) for page, path in named if not (ROOT / path).is_file()} == set()
    for page, text in PAGES.items():
        for name in set(re.findall(r"`(bench(?:\.[a-z_]\w*)+)`", text)):
            assert pkgutil.resolve_name(name), page


def test_links_lead_somewhere():
    for page, text in PAGES.items():
        folder = ROOT if page in {"README.md", "CONTRIBUTING.md"} else ROOT / "docs"
        for target in re.findall(r"\]\(([^)#\s]*)(?:#[^)]*)?\)", text):
            if target and "://" not in target:
                assert (folder / target).exists(), f"{page}: {target}"


def test_links_within_a_page_name_one_of_its_headings():
    for page, text in PAGES.items():
        prose = BLOCK.sub("", text)
        headings = re.findall(r"^#+ (.+)", prose, re.M)
        anchors = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
        assert set(re.findall(r"\]\(#([^)]+)\)", prose)) <= anchors, page


def test_the_citation_says_what_the_package_says():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert citation["cff-version"] == "1.2.0" and citation["message"] and citation["authors"]
    assert citation["title"] == project["name"] and citation["license"] == project["license"]
    assert (citation["version"], citation["keywords"]) == (__version__, project["keywords"])
    assert citation["abstract"] == " ".join(README.split("\n\n")[1].split())


def test_hooks_download_nothing():
    repos = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert [repo["repo"] for repo in repos] == ["local"]
    assert {hook["language"] for repo in repos for hook in repo["hooks"]} == {"system"}


@pytest.mark.slow
def test_the_result_tables_are_those_of_the_demo(here, capsys):
    """A change here is a change of published numbers: it goes into the changelog under Numbers."""
    assert main(["run", "demo"]) == 0
    records = shown(capsys, "runs/demo")
    tables = re.findall(r"<!-- demo: (\w+), (.+?) -->\n\n(.+?)\n\n", DEMO_PAGE, re.S)
    assert len(tables) == 3
    for protocol, dataset, table in tables:
        made = {}
        for record in records:
            if (record["protocol"], record["dataset"]) == (protocol, dataset):
                figures = (f"{100 * record[end]:.2f}" for end in ("value", "lo", "hi") if record[end] is not None)
                row = made.setdefault((record["method"], record["model"]), {})
                row[record["metric"]] = "{} ({}–{})".format(*figures, "", "")
        apart = {name for name, cls in registry.available("method").items() if cls.uses_outliers}
        order = sorted(made, key=lambda row: (row[0] in apart, -float(made[row]["auroc"].split()[0])))
        rows = []
        for method, model in order:
            figures = [made[method, model][metric] for metric in ("auroc", "ap", "fpr95")]
            cells = [method + " †" * (method in apart), model, *figures]
            rows.append("| " + " | ".join(cells) + " |")
        assert table.splitlines()[2:] == rows
    (overview,) = re.findall(r"<!-- demo overview -->\n\n(.+?)\n\n", README, re.S)
    columns = [
        *(("anomaly", "toytown anomaly", "ap"), ("anomaly", "toytown anomaly", "fpr95")),
        *(("components", "toytown anomaly", "f1_mean"), ("misclassification", "toytown val", "auroc")),
    ]
    figures = {
        (record["method"], record["protocol"], record["dataset"], record["metric"]): record["value"]
        for record in records
    }
    for row in overview.splitlines()[2:]:
        method, _, *cells = (cell.strip() for cell in row.strip("|").split("|"))
        name = method.removesuffix(" †")
        assert (name != method) == (name in apart)
        assert cells == [f"{100 * figures[name, *column]:.2f}" for column in columns], method
    grids = re.findall(r"<!-- demo grid: (\w+), (.+?) -->\n\n(.+?)\n\n", DEMO_PAGE, re.S)
    assert (
        [table.splitlines()[2:] for *_, table in grids] == [by_severity(records, *where) for *where, _ in grids] != []
    )
    ((dataset, table),) = re.findall(r"<!-- demo definitions: (.+?) -->\n\n(.+?)\n\n", DEMO_PAGE, re.S)
    panels = (each for each in panel(read_run(Path("runs/demo"))) if (each.of, each.dataset) == ("anomaly", dataset))
    found = {each.method: each.ranges for each in panels}
    for row in table.splitlines()[2:]:
        method, *cells = (cell.strip() for cell in row.strip("|").split("|"))
        spans = [found[method][metric] for metric in ("FPR95", "AP", "AUROC")]
        assert cells == [f"{100 * low:.2f} to {100 * high:.2f}" for low, high in spans], method


def by_severity(records, protocol, dataset):
    """Rows of method, clean AUROC and its means over the corruptions of each severity, the best mean first."""
    cells = [
        (one["method"], one["severity"] or 0, one["value"])
        for one in records
        if one["metric"] == "auroc" and one["protocol"] == protocol and one["dataset"].partition("+")[0] == dataset
    ]
    made = {}
    for method, severity, value in cells:
        made.setdefault(method, {}).setdefault(severity, []).append(value)
    means = {method: {at: sum(of) / len(of) for at, of in row.items()} for method, row in made.items()}
    order = sorted(means, key=lambda method: -sum(mean for at, mean in means[method].items() if at))
    rows = [[method, *(f"{100 * means[method][at]:.2f}" for at in sorted(means[method]))] for method in order]
    return ["| " + " | ".join(row) + " |" for row in rows]

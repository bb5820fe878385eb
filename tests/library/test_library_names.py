"""``import bench``: what it costs, what it names, and what the names do."""

import ast
import inspect
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import bench
from bench.api import Context, Prediction
from bench.models.scorer import Scorer
from bench.report.plots.style import Plot
from bench.report.run import Comparison
from bench.suite import registry
from bench.suite.by_name import Samples
from bench.suite.wrappers.corrupted import Corrupted, Corruption

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "python.md"
COST = """
import resource, sys
before = resource.getrusage(resource.RUSAGE_SELF)
import bench
after = resource.getrusage(resource.RUSAGE_SELF)
import json
print(json.dumps([after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, sorted(sys.modules)]))
"""


def test_importing_it_costs_little_and_takes_nothing_heavy():
    done = subprocess.run([sys.executable, "-c", COST], capture_output=True, text=True, check=True)
    seconds, modules = json.loads(done.stdout)
    assert seconds < 0.05
    heavy = {"torch", "numpy", "pandas", "scipy", "numba", "pydantic", "rich", "typer", "yaml", "jinja2"}
    assert not heavy & set(modules)
    assert {name for name in modules if name.startswith("bench.")} == {"bench.run", "bench.evaluate"}


def test_the_stub_names_what_there_is():
    tree = ast.parse((ROOT / "bench" / "__init__.pyi").read_text())
    stated = {
        (node.module, alias.name) for node in tree.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    for module, name in stated:
        known = getattr(bench, name)
        assert inspect.ismodule(known) or (known.__module__, known.__name__) == (module, name) or callable(known)
    assert {name for _, name in stated} == {*bench._HOMES, *bench._CALLED, "errors"}
    assert {name for _, name in stated} <= set(dir(bench))
    with pytest.raises(AttributeError, match="no attribute 'runn'"):
        bench.runn  # noqa: B018


def test_rooms_that_are_functions_stay_rooms():
    from bench.run import engine

    assert bench.run.engine is engine
    assert list(inspect.signature(bench.run).parameters)[:2] == ["suite", "out"]
    assert list(inspect.signature(bench.evaluate).parameters)[:3] == ["network", "data", "methods"]


@pytest.mark.parametrize("name", ["msp", "maxlogit", "energy", "entropy", "softmax_std"])
def test_a_method_scores_logits_as_a_run_does(name):
    logits = torch.from_numpy(np.random.default_rng(0).normal(size=(2, 19, 6, 8)).astype(np.float32))
    scorer = bench.method(name)
    scores = scorer(logits, size=(24, 32))
    assert scores.shape == (2, 24, 32) and scores.dtype == torch.float32 and scores.device == logits.device
    for image, score in zip(logits, scores, strict=True):
        seen = Prediction({"logits": image}, (24, 32))
        seen.context = Context((24, 32), fused=True)
        assert torch.equal(score, registry.build("method", name, {}, where="test").score(seen, {}))
        assert torch.equal(scorer(image, size=(24, 32)), score)
    assert torch.equal(scorer(logits.half()), scorer(logits.half().float()))


def test_a_method_says_what_it_lacks():
    assert torch.allclose(bench.method("energy", temperature=2.0)(torch.zeros(19, 2, 2)), -2 * torch.tensor(19.0).log())
    with pytest.raises(bench.errors.BadPlugin, match="needs classify"):
        bench.method("mc_dropout")(torch.zeros(19, 2, 2))
    with pytest.raises(bench.errors.NotFitted, match="means nothing unfitted"):
        bench.method("sml")
    with pytest.raises(bench.errors.BadPlugin, match="wanted \\[C, h, w\\]"):
        bench.method("msp")(torch.zeros(19, 2))
    with pytest.raises(bench.errors.BadPlugin, match="logits are ndarray, wanted a torch tensor"):
        bench.method("msp")(np.zeros((19, 2, 2), np.float32))
    with pytest.raises(bench.errors.UnknownName, match="temperature"):
        bench.method("energy", temprature=2.0)


def test_samples_of_a_data_set_are_a_sequence():
    samples = bench.dataset("toytown", split="anomaly", images=3, height=32, width=64)
    assert len(samples) == 3 == len(list(samples)) and samples.ids == [sample.id for sample in samples]
    first = samples[0]
    assert first.image().shape == (32, 64, 3) and first.anomaly.shape == first.labels.shape == (32, 64)
    assert samples[-1].id == samples[2].id == samples[samples.ids[2]].id == samples[1:][1].id
    assert "images=3" in repr(samples)
    for index, error in ((3, IndexError), ("nobody", bench.errors.BadScores)):
        with pytest.raises(error):
            samples[index]


def test_a_corrupted_image_is_that_of_a_suite():
    samples = bench.dataset("toytown", split="anomaly", images=1, height=32, width=64)
    image = samples[0].image()
    spoilt = Corrupted(samples.dataset, Corruption(name="gaussian_noise", severity=3, seed=5)).load(0).image()
    assert np.array_equal(bench.corrupt(image, "gaussian_noise", severity=3, seed=5, id=samples.ids[0]), spoilt)
    assert not np.array_equal(bench.corrupt(image, "gaussian_noise", severity=3, seed=5), spoilt)
    with pytest.raises(bench.errors.UnknownName, match="fog"):
        bench.corrupt(image, "fogg", severity=3)


def signatures():
    """The public functions and methods, with what they return, by name; those of classes that calls return, too."""
    called = {name: getattr(bench, name)._function for name in bench._CALLED}
    for owner in [
        *(getattr(bench, name) for name in bench._HOMES),
        *called.values(),
        Comparison,
        Plot,
        Samples,
        Scorer,
    ]:
        members = vars(owner).items() if inspect.isclass(owner) else [("", owner)]
        for name, member in members:
            function = getattr(member, "fget", None) or getattr(member, "__func__", member)
            if inspect.isfunction(function) and (not name.startswith("_") or name in ("__init__", "__call__")):
                yield f"{owner.__name__}.{name}".rstrip("."), function


def test_no_signature_says_any_but_where_the_page_says_so():
    untyped = {
        (name, argument)
        for name, function in signatures()
        for argument, kind in function.__annotations__.items()
        if re.search(r"\bAny\b", str(kind))
    }
    assert untyped == {("Computed.record", "return"), ("Metric.as_torchmetrics", "settings")}
    sentence = PAGE.read_text().partition("Where a signature says `Any`")[2]
    assert "`as_torchmetrics`" in sentence and "`record()`" in sentence
    for name, function in signatures():
        arguments = inspect.signature(function).parameters.values()
        assert "return" in function.__annotations__ or name.endswith("__init__"), name
        assert all(each.name in function.__annotations__ or each.name in ("self", "cls") for each in arguments), name
    assert (ROOT / "bench" / "py.typed").is_file()


ENDS = {"bench/__main__.py", "bench/core/child_processes.py", "bench/fit/flow/devices.py"}  # the program, and children


def test_nothing_that_the_library_calls_ends_the_program():
    ending = {
        path.relative_to(ROOT).as_posix()
        for folder in ("bench", "methods", "reports", "submissions")
        for path in sorted((ROOT / folder).rglob("*.py"))
        if "templates" not in path.parts and "cli" not in path.parts
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if (isinstance(node, ast.Call) and ast.unparse(node.func) in ("sys.exit", "exit", "quit", "os._exit"))
        or (isinstance(node, ast.Raise) and node.exc is not None and "SystemExit" in ast.unparse(node.exc))
    }
    assert ending == ENDS


USERS = """
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader

import bench
from bench.integrations.distributed import gathered


def own(scores: NDArray[np.float32], labels: NDArray[np.uint8], tensor: torch.Tensor) -> float:
    metric = bench.Metric("anomaly", {"components": {"min_predicted": 20}}, keep="disk", resamples=0)
    metric.update(scores, labels)
    metric.update(tensor, labels, id=["a", "b"])
    metric.update(scores, labels, predictions=labels, anomaly=tensor)
    while metric.again():
        metric.update(scores, labels)
    computed: bench.Computed = gathered(metric).compute()
    figures: dict[str, float | None] = computed.to_dict()
    text: str = computed.table()
    computed.to_frame()
    metric.merge(bench.Metric("anomaly"), prefix="rank 1/")
    metric.save("counts.npz")
    again: bench.Metric = bench.Metric.load(Path("counts.npz"))
    again.reset()
    print(figures, text, len(again), computed.notes, bench.Metric(bench.protocol("miou", classes=3)))
    return float(computed["ap"].value) if not isinstance(computed["ap"], bench.Undefined) else 0.0


def runs(network: torch.nn.Module, loader: DataLoader[tuple[torch.Tensor, torch.Tensor]]) -> Path:
    run: bench.Run = bench.run("demo", out="runs/demo", method=["msp", "energy:temperature=2"], limit=8)
    other = bench.evaluate(network, data="road_anomaly", methods=["msp", bench.method("energy", temperature=2.0)])
    samples = bench.dataset("fishyscapes", set="static", version=3)
    bench.evaluate(lambda pixels: network(pixels), data=samples, methods="msp")
    merged = bench.load("runs/demo", "runs/other")
    bench.evaluate(network, [(torch.zeros(3, 8, 8), torch.zeros(8, 8))], protocols="anomaly", progress=False)
    bench.evaluate(network, loader)
    bench.evaluate(network, {"validation": loader}, protocols=["miou"], classes=["road", "sky"])
    print(run.frame(), run.table("ap", digits=1), merged.curves("precision_recall"), run.only(method="msp").failures)
    path: Path = run.figure("roc", width="page").save("roc.pdf")
    plots = [plot.figure() for plot in run.figures("panels")]
    where: str = run.log("tensorboard", folder="boards")
    print(path, plots, where, run.path, len(run.results))
    differences = run.compare(other, "ap")
    print(differences.table(), differences.frame(), differences[0].difference)
    return run.report("page.html")


def parts(logits: torch.Tensor, image: NDArray[np.uint8]) -> torch.Tensor:
    for sample in bench.dataset("fishyscapes", set="static", version=3):
        print(sample.id, sample.image().shape, sample.labels, sample.anomaly)
    fog: NDArray[np.uint8] = bench.corrupt(image, "fog", severity=3, seed=0)
    try:
        return bench.method("energy", temperature=2.0)(logits)
    except bench.errors.UserError as error:
        raise SystemExit(f"{error} {fog.shape}") from error
"""


@pytest.mark.slow
def test_types_of_a_users_file_are_right(tmp_path):
    (tmp_path / "users.py").write_text(USERS)
    wrong = USERS.replace('"counts.npz")', "3)", 1).replace("limit=8", 'limit="8"')
    wrong = wrong.replace('curves("precision_recall")', 'curves("pr")').replace("network, loader)", "network, 3)")
    (tmp_path / "wrong.py").write_text(wrong)
    argv = [
        sys.executable,
        "-m",
        "mypy",
        "--strict",
        "--cache-dir",
        str(tmp_path),
        "--config-file",
        str(ROOT / "pyproject.toml"),
    ]
    right = subprocess.run([*argv, tmp_path / "users.py"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert right.returncode == 0, right.stdout
    refused = subprocess.run([*argv, tmp_path / "wrong.py"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert refused.returncode == 1 and refused.stdout.count("error:") == 4, refused.stdout

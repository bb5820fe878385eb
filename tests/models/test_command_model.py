"""A program in another process as a network: equal numbers, and one line for everything that can go wrong."""

import os
import signal
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from running import PATIENCE, Silent, until

from bench.api import Sample, ShardModel, View
from bench.cli.main import main
from bench.contract.network import loaded as load
from bench.core.errors import BadPlugin, BadScores, MissingData, UserError
from bench.models import command
from bench.results import store
from bench.run.engine import Options
from bench.run.engine import run as run_suite
from bench.suite import expansion as suites
from bench.suite import registry
from bench.suite.registry import from_file

TEN_LINES = """
import sys
from pathlib import Path
import numpy, torch
from PIL import Image
torch.set_num_threads(1)
net = torch.jit.load(Path(__file__).with_name("net.pt"))
for path in sorted(Path(sys.argv[1]).glob("*.png")):
    image = torch.from_numpy(numpy.array(Image.open(path))).permute(2, 0, 1)
    logits = net(image[None].float() / 255)[0].detach().numpy()
    numpy.save(Path(sys.argv[2]) / f"{path.stem}_logits.npy", logits)
"""

SHELL = """#!/bin/sh
# Hand out maps that another machine made.
for image in "$1"/*.png; do
    name=$(basename "$image" .png)
    cp "$(dirname "$0")/maps/${name}_anomaly.npy" "$(dirname "$0")/maps/${name}_segmentation.npy" "$2"
done
"""

SUITE = """
protocols: [anomaly, components, misclassification, miou]
models:
  - python: {factory: "net.py:build", label: tiny}
  - command: {run: "PYTHON {program} {input} {output}", program: infer.py, gives: [logits], label: script}
  - command: {run: "sh {program} {input} {output}", program: hand.sh, gives: [score, labels], label: shell}
datasets:
  - toytown: {split: anomaly, images: 6, height: 32, width: 64}
methods: [msp, energy, own]
bootstrap: 0
""".replace("PYTHON", sys.executable)


@pytest.fixture(autouse=True)
def scratch(tmp_path, monkeypatch):
    """Temporary folders of this test alone, so that what is left behind is seen."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def figures(path, run, **options):
    """Metrics by model and by protocol and method; cells that are not applicable are left out."""
    results = run_suite(suites.load(path), run, Options(workers=0, **options), Silent())
    by_model = {}
    for result in results:
        if not result.not_applicable:
            key = result.labels.protocol, result.labels.method
            by_model.setdefault(result.labels.model, {})[key] = dict(result.metrics)
    return by_model


def test_a_script_and_a_shell_script_give_the_figures_of_the_network_in_process(tiny, tmp_path, scratch):
    folder = tiny.parent
    network = from_file(folder / "net.py", "tiny_for_command").build().eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.save(torch.jit.trace(network, torch.zeros(1, 3, 32, 64)), folder / "net.pt")
    (folder / "infer.py").write_text(TEN_LINES)
    (folder / "hand.sh").write_text(SHELL)
    tiny.write_text(SUITE)
    (folder / "maps").mkdir()
    kept = suites.load(tiny).only({"model": "tiny", "protocol": "components", "method": "msp"})  # all digits
    list(run_suite(kept, tmp_path / "maps", Options(workers=0, keep_maps=True), Silent()))
    (spool,) = (tmp_path / "maps/spool").glob("tiny/*/msp/float32")
    for path in (spool / "scores").iterdir():
        np.save(folder / "maps" / f"{path.stem}_anomaly.npy", np.load(path))
        np.save(folder / "maps" / f"{path.stem}_segmentation.npy", np.load(spool / "predictions" / path.name))
    found = figures(tiny, tmp_path / "run", shard=4)
    assert len(found["tiny"]) == 7
    assert found["script"] == found["tiny"]
    as_own = {(protocol, method and "own") for protocol, method in found["tiny"]}
    assert set(found["shell"]) == as_own
    for protocol, method in as_own:
        assert found["shell"][protocol, method] == found["tiny"][protocol, method and "msp"]
    assert list(scratch.iterdir()) == []


RED = """
import sys
from pathlib import Path
import numpy
from PIL import Image
for path in Path(sys.argv[1]).iterdir():
    red = numpy.array(Image.open(path))[:, :, 0].astype(numpy.float32)
    numpy.save(Path(sys.argv[2]) / f"{path.stem}_anomaly.npy", red / 255)
"""
RED_NET = """
from torch import nn


class Red(nn.Module):
    def forward(self, x):
        return {"score": x[:, 0]}


def build():
    return Red()
"""
CORRUPTED = """
protocols: [anomaly]
models:
  - python: {factory: "red.py:build", outputs: [score], label: here}
  - command: {run: "PYTHON {program} {input} {output}", program: see.py, label: there}
datasets:
  - toytown: {split: anomaly, images: 4, height: 32, width: 64, label: plain}
  - toytown: {split: anomaly, images: 4, height: 32, width: 64, corruption: {name: contrast, severity: 4}, label: faint}
methods: [own]
bootstrap: 0
""".replace("PYTHON", sys.executable)


def test_the_program_sees_corrupted_images_where_the_data_set_is(tmp_path):
    (tmp_path / "see.py").write_text(RED)
    (tmp_path / "red.py").write_text(RED_NET)
    (tmp_path / "seen.yaml").write_text(CORRUPTED)
    results = list(run_suite(suites.load(tmp_path / "seen.yaml"), tmp_path / "run", Options(workers=0), Silent()))
    found = {(one.labels.model, one.labels.dataset): dict(one.metrics) for one in results}
    (faint,) = {dataset for _, dataset in found if dataset.startswith("faint")}
    assert found["there", "plain"] == found["here", "plain"]
    assert found["there", faint] == found["here", faint]
    assert found["here", faint] != found["here", "plain"]


@pytest.mark.slow
def test_shards_in_two_processes_give_the_same_figures(tiny, tmp_path, scratch):
    (tiny.parent / "infer.py").write_text(COPY)
    (tiny.parent / "hand.sh").touch()
    tiny.write_text(SUITE.replace("gives: [logits]", "gives: [score]"))
    kept = {"model": "script", "method": "own"}
    for name, options in {"alone": {"shard": 6}, "parted": {"shard": 1, "processes": 2}}.items():
        (tmp_path / name).mkdir()
        suite = suites.load(tiny).only(kept)
        list(run_suite(suite, tmp_path / name, Options(workers=0, **options), Silent()))
    alone, parted = (store.read_run(tmp_path / name).results for name in ("alone", "parted"))
    assert [one.metrics for one in parted] == [one.metrics for one in alone] and alone
    assert list(scratch.iterdir()) == []


COPY = """
import sys
from pathlib import Path
import numpy
from PIL import Image
assert len(list(Path(sys.argv[2]).iterdir())) == 0, "somebody else writes here"
for path in Path(sys.argv[1]).iterdir():
    numpy.save(Path(sys.argv[2]) / f"{path.stem}_anomaly.npy", numpy.array(Image.open(path)).mean(2) / 255)
"""


def test_two_shards_at_once_have_folders_of_their_own(tmp_path):
    first, second = model(tmp_path, COPY), model(tmp_path, COPY)
    first.prepare(samples("a"))
    second.prepare(samples("b", "a"))
    assert first.predict([view("a")])[0].raw["score"][0, 0] == pytest.approx(257 / 765)
    assert second.predict([view("a")])[0].raw["score"][0, 0] == pytest.approx(257 / 765)
    assert second.predict([view("b")])[0].raw["score"].shape == (4, 6)


def samples(*names, size=(4, 6)):
    def image(at):
        return lambda: np.full((*size, 3), (at, 7, 250 - at), np.uint8)

    return [Sample(name, size, image(at)) for at, name in enumerate(names)]


def view(name, size=(4, 6)):
    return View(name, torch.zeros(3, *size, dtype=torch.uint8), 1.0, False, (0, 0, *size), size, size)


def model(tmp_path, code, **params):
    (tmp_path / "program.py").write_text("import sys, os, time, numpy as np\nout = sys.argv[2] + '/'\n" + code)
    given = {"run": f"{sys.executable} {{program}} {{input}} {{output}}", "program": str(tmp_path / "program.py")}
    made = registry.build("model", "command", given | params, where="x")
    made.check()
    return load(made, "cpu")


SCORES = "for n in 'ab': np.save(f'{out}{n}_anomaly.npy', np.full((2, 3), ord(n), np.float32))\n"


def test_the_program_sees_the_images_as_they_are_and_its_maps_are_read(tmp_path, scratch):
    code = "import shutil; shutil.copytree(sys.argv[1], os.path.dirname(__file__) + '/seen')\n" + SCORES
    made = model(tmp_path, code)
    assert made.model.outputs == {"score", "raw", "image"} and isinstance(made.model, ShardModel)
    pair = samples("a", "b")
    made.prepare(pair)
    for sample in pair:
        seen = np.array(Image.open(tmp_path / "seen" / f"{sample.id}.png"))
        np.testing.assert_array_equal(seen, sample.image())
    given = made.predict([view("a")])[0]
    assert given.raw["score"].tolist() == [[97.0] * 3] * 2 and given.size == (4, 6) and not given.has_labels
    assert len(list(scratch.iterdir())) == 1
    made.predict([view("b")])[0]
    assert list(scratch.iterdir()) == [], "after the last image of a shard its folder is gone"


def test_other_outputs_go_by_their_names(tmp_path):
    code = (
        "np.save(out + 'a_segmentation.npy', np.full((2, 3), 5, np.int64))\n"
        "np.save(out + 'a_void_logit.npy', np.ones((2, 3)))\nnp.save(out + 'a_query_logits.npy', np.ones((9, 20)))\n"
    )
    made = model(tmp_path, code, gives=["labels", "void_logit", "query_logits"])
    made.prepare(samples("a"))
    given = made.predict([view("a")])[0]
    assert given.labels.tolist() == [[5] * 6] * 4 and given.labels.dtype == torch.uint8
    assert given.raw["void_logit"].dtype == torch.float32 and given.raw["query_logits"].shape == (9, 20)


def said(number):
    return f"print('loading'); print(); [print('line', n) for n in range({number})]; sys.stdout.flush()\n"


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (said(5) + "sys.exit(3)", r"ended with status 3; it said last: line 2 \| line 3 \| line 4$"),
        ("os.kill(os.getpid(), 9)", r"was ended by signal 9; it said nothing$"),
        ("raise SystemError('no GPU')", r"ended with status 1; it said last: .*SystemError: no GPU$"),
        (said(1), r"left no a_anomaly\.npy \(2 of 2 files are missing\); it said last: loading \| line 0$"),
        (
            SCORES + "open(out + 'a_segmentation.npy', 'w')",
            r"left a_segmentation\.npy, which nobody asked for; wanted such",
        ),
        (
            SCORES + "os.mkdir(out + 'c')",
            r"left c, which nobody asked for; wanted such as a_anomaly\.npy; name further",
        ),
        (SCORES + "os.remove(out + 'b_anomaly.npy')", r"left no b_anomaly\.npy \(1 of 2 files are missing\)"),
    ],
)
def test_a_program_that_fails_is_one_line_with_what_it_said_last(code, words, tmp_path):
    made = model(tmp_path, code)
    with pytest.raises(BadPlugin, match=words) as caught:
        made.prepare(samples("a", "b"))
    assert "\n" not in str(caught.value) and "program" in str(caught.value)


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros((2, 3, 2)), r"a_anomaly\.npy is \[2, 3, 2\], wanted \[h, w\]"),
        (np.full((2, 3), np.inf), r"holds 6 numbers that are not finite"),
        (np.zeros((9, 9)), r"is \[9, 9\], larger than its image \[4, 6\]"),
    ],
)
def test_a_map_that_does_not_fit_is_refused_by_its_name(array, words, tmp_path):
    np.save(tmp_path / "bad.npy", array)
    made = model(tmp_path, f"import shutil; shutil.copy({str(tmp_path / 'bad.npy')!r}, out + 'a_anomaly.npy')")
    made.prepare(samples("a"))
    with pytest.raises(BadScores, match=words):
        made.predict([view("a")])[0]


def test_a_pickle_that_a_program_leaves_is_not_opened(tmp_path):
    code = "np.save(out + 'a_anomaly.npy', np.array([[None]]), allow_pickle=True)"
    made = model(tmp_path, code)
    made.prepare(samples("a"))
    with pytest.raises(BadScores, match=r"cannot be read as plain numbers"):
        made.predict([view("a")])[0]


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().split(")")[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


CHILD = (
    "import subprocess\n"
    "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
    "open(os.path.dirname(__file__) + '/child', 'a').write(f'{child.pid} {os.getpid()} ')\n"
)


def pids(tmp_path, programs=1):
    """Of each program and its child, once so many have started."""

    def found():
        words = (tmp_path / "child").read_text().split() if (tmp_path / "child").is_file() else []
        return [int(word) for word in words] if len(words) == 2 * programs else None

    return until(found)


def gone(processes):
    return until(lambda: not any(map(alive, processes)))


@pytest.fixture
def started(tmp_path, monkeypatch):
    """The seconds of a timeout begin when the program has begun: it may take long to start on a busy machine."""
    wait = subprocess.Popen.wait

    def later(process, timeout=None):
        if timeout == 0.5:
            pids(tmp_path)
        return wait(process, timeout)

    monkeypatch.setattr(subprocess.Popen, "wait", later)


def test_a_program_that_takes_too_long_is_ended_with_its_children(tmp_path, scratch, started):
    made = model(tmp_path, "print('waiting', flush=True)\n" + CHILD + "time.sleep(600)", timeout=0.5)
    with pytest.raises(
        BadPlugin, match=r"was ended after 0.5 seconds; raise timeout if it needs more; it said last: wait"
    ):
        made.prepare(samples("a"))
    assert gone(pids(tmp_path))


def test_a_program_that_will_not_be_asked_is_ended_all_the_same(tmp_path, monkeypatch, started):
    monkeypatch.setattr(command, "GRACE", 0.2)
    stubborn = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    made = model(tmp_path, stubborn + CHILD + "time.sleep(600)", timeout=0.5)
    with pytest.raises(BadPlugin, match=r"was ended after 0.5 seconds"):
        made.prepare(samples("a"))
    assert gone(pids(tmp_path))


def test_what_a_program_leaves_running_is_ended_too(tmp_path):
    made = model(tmp_path, CHILD + SCORES)
    made.prepare(samples("a", "b"))
    assert gone(pids(tmp_path))


LONG = """
protocols: [anomaly]
models:
  - command: {run: "PYTHON {program} {input} {output}", program: program.py}
datasets:
  - toytown: {split: anomaly, images: 40, height: 32, width: 64}
methods: [own]
""".replace("PYTHON", sys.executable)


@pytest.mark.parametrize("processes", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_an_interrupted_run_leaves_no_process_and_no_folder(processes, tmp_path, scratch):
    (tmp_path / "program.py").write_text("import sys, os, time\n" + CHILD + "time.sleep(600)")
    (tmp_path / "long.yaml").write_text(LONG)
    run = [sys.executable, "-m", "bench", "run", "long.yaml", "--processes", str(processes), "--workers", "0"]
    env = os.environ | {"TMPDIR": str(scratch), "PYTHONPATH": str(Path(__file__).parents[2])}
    started = subprocess.Popen(run, cwd=tmp_path, env=env, stderr=subprocess.DEVNULL, start_new_session=True)
    found = pids(tmp_path, processes)
    os.killpg(started.pid, signal.SIGINT)  # as a terminal does
    assert started.wait(PATIENCE) == 130
    assert gone(found)
    assert len((tmp_path / "child").read_text().split()) == 2 * processes, "no shard was begun after that"
    assert [path.name for path in scratch.iterdir() if path.name.startswith("bench-command-")] == []


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"run": "me {input}"}, r"run does not name \{output\}, wanted where its path belongs"),
        ({"run": "me {output}"}, r"run does not name \{input\}"),
        ({"run": "me {input} {output} {program}"}, r"there is no program; say program: a file or folder"),
        ({"run": "me {input} {output}", "program": "x"}, r"run does not name \{program\}"),
        ({"run": "me '{input} {output}"}, r"run cannot be split into words: No closing quotation"),
        ({"run": "me {input} {output}", "gives": []}, r"gives are names, each once"),
        ({"run": "me {input} {output}", "timeout": 0}, r"timeout of model 'command' is 0"),
        ({"run": "me {input} {output}", "inference": {"flip": True}}, r"belong to whole images: leave inference away"),
    ],
)
def test_parameters_that_cannot_be_are_refused_in_words(params, words):
    with pytest.raises(UserError, match=words):
        registry.build("model", "command", params, where="x")


def test_what_is_not_there_is_found_before_anything_runs(tmp_path):
    def made(**params):
        return registry.build("model", "command", params, where="x")

    with pytest.raises(MissingData, match=r"no-such-program is no program that can be run; install it"):
        made(run="no-such-program {input} {output}").check()
    with pytest.raises(MissingData, match=r"program .*nowhere\.py does not exist; paths in a suite are relative"):
        made(run="sh {program} {input} {output}", program=str(tmp_path / "nowhere.py")).check()


def test_the_digest_follows_the_command_the_version_and_the_program(tmp_path):
    folder = tmp_path / "program"
    (folder / "inner").mkdir(parents=True)
    (folder / "inner" / "a.py").write_text("1")

    def digest(**params):
        given = {"run": "sh {program} {input} {output}", "program": str(folder)} | params
        return registry.build("model", "command", given, where="x").digest()

    first = digest()
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__" / "a.pyc").write_text("2")
    assert digest() == first
    assert (
        len({first, digest(version="2"), digest(run="sh -e {program} {input} {output}"), digest(gives=["labels"])}) == 4
    )
    (folder / "inner" / "a.py").write_text("2")
    assert digest() != first


def test_no_shell_is_started_unless_one_is_named(tmp_path):
    folder = tmp_path / "with space; touch hit"
    folder.mkdir()
    (folder / "p.sh").write_text('printf "%s" "$3" > "$(dirname "$0")/word"; exit 5')
    made = registry.build(
        "model",
        "command",
        {"run": "sh {program} {input} {output} '$HOME * `id`'", "program": str(folder / "p.sh")},
        where="x",
    )
    made = load(made, "cpu")
    with pytest.raises(BadPlugin, match="status 5"):
        made.prepare(samples("a"))
    assert (folder / "word").read_text() == "$HOME * `id`"


def test_a_failing_program_fails_its_cells(tiny, tmp_path, capsys):
    (tiny.parent / "infer.py").write_text("raise SystemExit('no weights')")
    (tiny.parent / "hand.sh").touch()
    tiny.write_text(SUITE)
    argv = ["run", str(tiny), "--out", str(tmp_path / "run"), "--workers", "0", "--only", "model=script"]
    assert main(argv) == 3
    assert "ended with status 1; it said last: no weights" in capsys.readouterr().err


def test_ids_that_are_paths_stay_in_the_folders_of_the_exchange(tmp_path, scratch):
    code = "for n in os.listdir(sys.argv[1]): np.save(out + n[:-4] + '_anomaly.npy', np.full((2, 3), 4, np.float32))\n"
    ids = ["../../../outside", str(tmp_path / "absolute"), "a/b", "a\\b", "a"]
    made = model(tmp_path, code)
    made.prepare(samples(*ids))
    assert {path.name for path in tmp_path.iterdir()} == {"program.py", "scratch"}
    assert len(list(scratch.rglob("*_anomaly.npy"))) == len(ids)
    for sample in ids:
        assert made.predict([view(sample)])[0].raw["score"].eq(4).all()

"""Bad input: one line that names the place and the next step, exit status 2, nothing half-written."""

import json
import logging
import os
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench.cli import plugins
from bench.cli.main import main
from bench.results import store
from bench.suite import expansion, registry

CLONE = Path(__file__).parents[2]


def refused(capsys, *argv):
    """The one line that a command ends with."""
    assert main([str(part) for part in argv]) == 2
    said = capsys.readouterr().err.splitlines()
    assert said and said[-1].startswith("bench: ")
    return said[-1]


def test_an_unknown_command_or_option_is_one_line(capsys):
    assert refused(capsys, "rnu") == "bench: No such command 'rnu'. Did you mean 'run'? Try 'bench --help'."
    assert "No such option: --ouut" in refused(capsys, "run", "demo", "--ouut", "x")
    assert "bench: list: unknown kind 'method'; did you mean 'methods'?" in refused(capsys, "list", "method")


def test_missing_weights_are_named_before_anything_is_computed(tiny, tmp_path, capsys):
    tiny.write_text(tiny.read_text().replace('"net.py:build"', '"net.py:build", weights: absent.pth'))
    line = refused(capsys, "run", tiny, "--out", tmp_path / "run")
    assert f"weights {tiny.parent / 'absent.pth'} do not exist; paths in a suite are relative to its file" in line
    assert not (tmp_path / "run" / "run.json").exists()


@pytest.fixture
def cityscapes(tmp_path, monkeypatch):
    """Four frames of toytown in the official layout, and a suite that reads them."""
    root = tmp_path / "data" / "cityscapes"
    assert (
        main(["data", "toytown", "--layout", "cityscapes", "--out", str(root), "--images", "4", "--size", "32x64"]) == 0
    )
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "data"))
    suite = tmp_path / "city.yaml"
    suite.write_text(
        "protocols: [misclassification, miou]\nmodels: [toynet]\nmethods: [msp]\n"
        "datasets:\n  - cityscapes: {frames: 4}\n"
    )
    return suite, root


def test_the_layout_of_cityscapes_is_written_and_run(cityscapes, tmp_path, capsys):
    suite, _ = cityscapes
    assert main(["run", str(suite), "--out", str(tmp_path / "run")]) == 0
    printed = capsys.readouterr().out
    assert "cityscapes[frames=4]" in printed and str(tmp_path / "run" / "report.html") in printed


def test_an_image_without_its_label_stops_the_run_by_name(cityscapes, tmp_path, capsys):
    suite, root = cityscapes
    lost = sorted(root.rglob("*_labelTrainIds.png"))[1]
    for path in root.rglob(lost.name.replace("labelTrainIds", "label*")):
        path.unlink()
    line = refused(capsys, "run", suite, "--out", tmp_path / "run")
    assert lost.name.removesuffix("_gtFine_labelTrainIds.png") in line
    assert not (tmp_path / "run" / "run.json").exists()


def test_an_illegal_label_value_is_named_with_its_file(cityscapes, tmp_path, capsys):
    suite, root = cityscapes
    path = sorted(root.rglob("*_labelTrainIds.png"))[2]
    labels = np.array(Image.open(path))
    labels[0, 0] = 77
    Image.fromarray(labels).save(path)
    line = refused(capsys, "check", suite)
    assert path.name in line and "77" in line


def test_too_few_frames_are_said_with_both_numbers(cityscapes, capsys):
    suite, _ = cityscapes
    suite.write_text(suite.read_text().replace("frames: 4", "frames: 5"))
    line = refused(capsys, "check", suite)
    assert "4" in line and "5" in line


def test_a_full_disk_ends_the_run_in_one_line_and_the_next_run_goes_on(tiny, tmp_path, capsys):
    short = ("--workers", "0", "--gallery", "0")
    warm = ("run", tiny, "--out", tmp_path / "warm", "--only", "protocol=anomaly,method=msp", *short)
    assert main([*map(str, warm)]) == 0  # compiled kernels are cached: they are no part of this
    out = ("run", tiny, "--out", tmp_path / "run", *short)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    try:
        last = refused(capsys, *out)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "no room left" in last and last.endswith("run the same command again")
    assert not list((tmp_path / "run").rglob("*.part"))
    assert main([*map(str, out)]) == 0


@pytest.mark.skipif(not Path("/sys").is_dir(), reason="needs a folder that even root cannot write to")
def test_no_write_permission_is_one_line(tiny, capsys):
    line = refused(capsys, "run", tiny, "--out", "/sys/run")
    assert line.startswith("bench: /sys/run: cannot be written (") and line.endswith("choose another place with --out")


def test_a_run_directory_in_use_is_refused(tiny, tmp_path, capsys):
    with store.owned(tmp_path / "run"):
        line = refused(capsys, "run", tiny, "--out", tmp_path / "run")
    assert f"{tmp_path / 'run'} is in use by another bench run; wait for it, or choose another place with --out" in line


def test_what_is_no_run_directory_is_said_so(tmp_path, capsys):
    assert "is not a run directory: it has no run.json" in refused(capsys, "show", tmp_path)


def test_show_prints_records_of_the_public_schema(tiny, tmp_path, capsys):
    out = str(tmp_path / "run")
    assert main(["run", str(tiny), "--out", out, "--only", "method=msp", "--workers", "0"]) == 0
    capsys.readouterr()
    assert main(["show", out, "--format", "json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["schema"] == 1
    wanted = {
        "model", "dataset", "corruption", "severity", "method", "protocol", "metric", "value", "err", "lo", "hi",
        "images", "partial", "reason", "evaluator", "key",
    }  # fmt: skip
    assert all(record.keys() == wanted for record in shown["records"])
    (auroc,) = [r for r in shown["records"] if r["metric"] == "auroc" and r["protocol"] == "anomaly"]
    assert 0 <= auroc["lo"] <= auroc["value"] <= auroc["hi"] <= 1 and auroc["err"] == 0 and auroc["images"] == 10
    for form, words in (("md", "# Tiny"), ("table", "AUROC")):
        assert main(["show", out, "--format", form]) == 0
        assert words in capsys.readouterr().out


def test_a_run_ends_with_the_best_of_each_task_and_its_page_and_prints_tables_when_asked(
    tiny, tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("COLUMNS", "300")
    out = tmp_path / "run"
    argv = ["run", str(tiny), "--out", str(out), "--workers", "0", "--gallery", "0"]
    assert main(argv) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-2:] == [f"every table: bench show {out}", f"report: {out / 'report.html'}"]
    run = store.read_run(out)
    for protocol, metric, title in (("anomaly", "ap", "AP"), ("misclassification", "auroc", "AUROC")):
        values = {r.labels.method: r.metrics[metric].value for r in run.results if r.labels.protocol == protocol}
        best = max(values, key=values.get)
        (line,) = [line for line in lines if line.startswith(f"{protocol} on toytown[")]
        assert f"10 images: {best} on tiny, {title} {100 * values[best]:.2f} %, " in line
        assert line.endswith(("clear lead", "not clear"))
    assert len(lines) <= 8 and not any("─" in line for line in lines)
    assert main([*argv, "--verbose"]) == 0
    tables = capsys.readouterr().out
    assert main(["show", str(out)]) == 0
    assert tables == capsys.readouterr().out + f"report: {out / 'report.html'}\n"


def test_report_writes_a_page_where_asked(tiny, tmp_path, capsys):
    out = str(tmp_path / "run")
    main(["run", str(tiny), "--out", out, "--only", "method=msp,protocol=anomaly", "--workers", "0"])
    capsys.readouterr()
    page = tmp_path / "page.md"
    assert main(["report", out, "--format", "md", "--out", str(page)]) == 0
    assert capsys.readouterr().out.strip() == str(page) and "| msp" in page.read_text()


@pytest.fixture
def plugins_folder(tmp_path, monkeypatch):
    """A folder of plug-ins that no command has looked into."""
    monkeypatch.setenv("BENCH_PLUGINS", str(tmp_path / "plugins"))
    (tmp_path / "plugins").mkdir()
    registry.forget()
    yield tmp_path / "plugins"
    registry.forget()


def test_a_new_method_is_written_listed_and_run_with_no_other_file_touched(tiny, tmp_path, plugins_folder, capsys):
    new = ["new", "method", "margin", "--folder", str(plugins_folder / "methods")]
    assert main(new) == 0 and (plugins_folder / "methods" / "margin.py").is_file()
    registry.forget()  # as a command of its own
    capsys.readouterr()
    assert main(["list", "methods"]) == 0
    assert any(line.startswith("margin ") for line in capsys.readouterr().out.splitlines())
    some = ["--method", "margin", "--only", "protocol=anomaly", "--workers", "0"]
    assert main(["run", str(tiny), "--out", str(tmp_path / "run"), *some]) == 0
    assert "margin" in capsys.readouterr().out
    assert "there is a method 'margin' already; choose another name" in refused(capsys, *new)
    assert "wanted lower case letters" in refused(capsys, "new", "method", "Not-A-Name")


def test_cells_without_figures_leave_status_3(tiny, tmp_path, capsys):
    (tiny.parent / "net.py").write_text("def build():\n    raise ValueError('no weights today')\n")
    assert main(["run", str(tiny), "--out", str(tmp_path / "run"), "--workers", "0"]) == 3
    assert "no weights today" in capsys.readouterr().err


def test_a_bug_leaves_as_the_exception_that_it_is(monkeypatch):
    """So that the interpreter prints its traceback and ends with status 1."""
    monkeypatch.setattr(expansion, "locate", lambda name: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        main(["check", "demo"])


def test_a_run_logs_what_it_computes_again_and_why(tiny, tmp_path, capsys):
    run = ["run", str(tiny), "--out", str(tmp_path / "run"), "--workers", "0", "--only", "protocol=miou"]
    assert main([*run, "--limit", "3"]) == 0
    assert "bench.run" not in capsys.readouterr().err
    assert main(["-v", *run]) == 0
    assert "INFO bench.run.freshness: miou / tiny / toytown" in (logged := capsys.readouterr().err)
    assert ": computed again on 10 images, before on 3\n" in logged
    tiny.with_name("net.py").write_text(tiny.with_name("net.py").read_text() + "# edited\n")
    assert main(["-v", *run]) == 0
    assert ": computed again, since these changed: model\n" in capsys.readouterr().err
    assert main(["-vv", *run]) == 0
    assert "DEBUG bench.run.freshness: miou / tiny / toytown" in capsys.readouterr().err


def test_nothing_is_logged_unless_asked(monkeypatch, capsys):
    monkeypatch.setattr(plugins, "_listing", logged)
    assert main(["list", "suites"]) == 0
    assert capsys.readouterr().err == ""
    assert main(["-v", "list", "suites"]) == 0
    assert capsys.readouterr().err.endswith(" INFO bench.test: a cache was thrown away\n")
    assert main(["-vv", "list", "suites"]) == 0
    assert "DEBUG bench.test: a cache was used" in capsys.readouterr().err
    monkeypatch.setenv("BENCH_LOG", "Info")
    assert main(["list", "suites"]) == 0
    assert capsys.readouterr().err.count("a cache was thrown away") == 1, "nothing is left of the commands before"
    assert os.environ["BENCH_LOG"] == "Info"
    monkeypatch.setenv("BENCH_LOG", "loud")
    assert refused(capsys, "list", "suites") == "bench: $BENCH_LOG is 'loud', wanted debug, info, warning or error"


def logged(kind):
    """Stands for a command that decides something."""
    logging.getLogger("bench.test").info("a cache was thrown away")
    logging.getLogger("bench.test").debug("a cache was used")
    return []


def test_an_interrupt_leaves_status_130(monkeypatch, capsys):
    from bench.suite import expansion

    def interrupted(name):
        raise KeyboardInterrupt

    monkeypatch.setattr(expansion, "locate", interrupted)
    assert main(["run", "demo"]) == 130
    assert "the same command goes on from there" in capsys.readouterr().err


def test_help_and_score_import_no_torch():
    script = "import sys; from bench.cli.main import main; main(['--help'])"
    script += "; print('torch' in sys.modules, 'numba' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=CLONE, check=True)
    assert done.stdout.splitlines()[-1] == "False False"


def test_a_device_is_not_replaced_by_a_file(tiny, tmp_path, capsys):
    out = str(tmp_path / "run")
    main(["run", str(tiny), "--out", out, "--only", "method=msp,protocol=anomaly", "--workers", "0"])
    capsys.readouterr()
    os.mkfifo(tmp_path / "pipe")
    assert "pipe is no regular file; choose another place" in refused(capsys, "report", out, "--out", tmp_path / "pipe")
    assert not (tmp_path / "pipe").is_file()


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs a folder in which nothing can be made")
def test_a_place_where_no_folder_can_be_made_is_one_line(tiny, capsys):
    assert refused(capsys, "run", tiny, "--out", "/proc/run").startswith("bench: /proc/run: cannot be written (")

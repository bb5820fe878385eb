"""Who is shown how far a run is: a notebook, a terminal, or nobody."""

import io
import sys
from types import SimpleNamespace

import pytest
import torch
from rich.console import Console

from bench.models import numerics
from bench.run import progress
from bench.run.progress import Bar, Logged, NotebookBar, shown


@pytest.fixture
def notebook(monkeypatch):
    """IPython as a kernel has it; what is shown below the cell, the newest last."""
    pages = []
    handle = SimpleNamespace(update=pages.append)

    def display(page, *, display_id):
        assert display_id
        pages.append(page)
        return handle

    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: SimpleNamespace(kernel=1)))
    monkeypatch.setitem(sys.modules, "IPython.display", SimpleNamespace(display=display, HTML=str))
    return pages


def test_a_notebook_has_a_bar_below_its_cell(notebook):
    with shown(None) as bar:
        assert isinstance(bar, NotebookBar)
        bar.begin(4)
        bar.stage("drawing <streets>")
        bar.advance(3)
        bar.tell("first\nline")
    assert 'value="3" max="4"' in notebook[-1] and "3 of 4 images" in notebook[-1] and "first" in notebook[-1]
    assert "<streets>" not in "".join(notebook)
    assert isinstance(shown(False), Logged)


def test_speed_and_time_left_are_counted_from_after_the_first_image(monkeypatch, notebook):
    """The first image waits for weights and compilers: 100 s here, and 2 s for each of the others."""
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    stream = io.StringIO()
    log = Bar(Console(file=stream, width=200))
    bars = log, NotebookBar()
    for bar in bars:
        bar.stage("toytown")
        bar.begin(10)
    for seconds in (100, 2, 2, 2):
        now[0] += seconds
        for bar in bars:
            bar.advance(1)
    lines = stream.getvalue().splitlines()
    assert lines == ["toytown: 1 of 10 images"], "a line each 10 seconds, and no speed of the first image"
    now[0] += 14
    log.advance(1)
    assert stream.getvalue().splitlines()[-1] == "toytown: 5 of 10 images, 5.0 s/image, about 25 s left"
    assert "4 of 10 images, 2.0 s/image, about 12 s left" in notebook[-1]


def test_nobody_is_shown_nothing_unless_it_is_asked_for(capsys, caplog):
    assert isinstance(shown(None), Logged) and isinstance(shown(True), Bar)
    with caplog.at_level("INFO", "bench"), shown(False) as quiet:
        quiet.begin(2)
        quiet.tell("said")
    assert "said" in caplog.text
    assert capsys.readouterr() == ("", "")


def test_a_run_leaves_torch_as_it_was():
    threads, flag = torch.get_num_threads(), torch.backends.cudnn.deterministic
    with numerics.kept():
        torch.set_num_threads(threads + 1)
        torch.backends.cudnn.deterministic = not flag
    assert (torch.get_num_threads(), torch.backends.cudnn.deterministic) == (threads, flag)

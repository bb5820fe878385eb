"""Who is shown how far a run is: a notebook, a terminal, or nobody."""

import sys
from types import SimpleNamespace

import pytest
import torch

from bench.models import numerics
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

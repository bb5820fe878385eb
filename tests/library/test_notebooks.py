"""The notebooks in ``examples/notebooks``: run as a reader runs them, and stored as they are written."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

FOLDER = Path(__file__).parents[2] / "examples" / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
SHOWN = {"figures", "run", "plain", "differences", "curve"}  # objects of the library that end a cell


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(path, tmp_path, monkeypatch):
    monkeypatch.setenv("BENCH_DATA", str(tmp_path))
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": tmp_path}})
    client.execute()  # raises the error of the first cell that fails
    for cell in notebook.cells:
        if cell.cell_type == "code" and cell.source.splitlines()[-1] in SHOWN:
            values = [output for output in cell.outputs if output.output_type == "execute_result"]
            assert len(values) == 1, cell.source
            assert {"text/html", "image/png"} & set(values[0].data), cell.source  # tables and figures, not a repr
            assert len(cell.outputs) == 1 + cell.source.count("bench.evaluate("), cell.source  # a bar for each run


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_stored_without_outputs(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert len(NOTEBOOKS) == 3
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert not cell.outputs
            assert cell.execution_count is None

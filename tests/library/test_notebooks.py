"""The notebooks in ``examples/notebooks``: run as a reader runs them, and stored as they are written."""

import asyncio
from pathlib import Path

import nbformat
import pytest
from jupyter_client import AsyncKernelManager
from nbclient import NotebookClient

FOLDER = Path(__file__).parents[2] / "examples" / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
SHOWN = {"figures", "run", "plain", "differences", "curve"}  # objects of the library that end a cell


@pytest.fixture(scope="module")
def kernel(tmp_path_factory):
    """One for all, for torch is imported once; a notebook that begins finds no name of another."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("BENCH_DATA", "BENCH_HOME"):
            patch.setenv(name, str(tmp_path_factory.mktemp(name.lower())))
        manager = AsyncKernelManager(kernel_name="python3")
        yield manager
        asyncio.run(manager.shutdown_kernel(now=True))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(path, kernel, tmp_path):
    notebook = nbformat.read(path, as_version=4)
    notebook.cells.insert(0, nbformat.v4.new_code_cell(f"%reset -f\n%cd -q {tmp_path}"))
    client = NotebookClient(notebook, km=kernel, timeout=300)
    client.execute(cleanup_kc=False)  # raises the error of the first cell that fails
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

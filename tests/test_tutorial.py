"""The tutorial notebook: it runs from top to bottom, and its stored outputs are small."""

import base64
import copy
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOK = nbformat.read(Path(__file__).parents[1] / "docs" / "tutorial.ipynb", as_version=4)
CODE = [cell for cell in NOTEBOOK.cells if cell.cell_type == "code"]


@pytest.mark.slow
# Jupyter warns of its own transport; the kernel is a separate process.
@pytest.mark.filterwarnings("ignore")
def test_the_notebook_runs(tmp_path, monkeypatch):
    """With one epoch, two folds and few landmarks: the cells are run, not measured."""
    root = str(Path(__file__).parents[1])
    monkeypatch.setenv("PYTHONPATH", root)
    notebook = copy.deepcopy(NOTEBOOK)
    config = '"training.max_epochs": 12'
    assert sum(config in cell.source for cell in notebook.cells) == 1
    quick = '"training.max_epochs": 1, "training.cv_folds": 2, "model.landmarks": 16, "front_end.step_nm": 16.0'
    for cell in notebook.cells:
        cell.source = cell.source.replace(config, quick)
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(tmp_path)}}).execute()
    assert (tmp_path / "runs/tutorial/report.html").is_file()
    assert (tmp_path / "runs/tutorial-bundle/int8.tflite").is_file()


def test_outputs_are_stored_and_small():
    outputs = [output for cell in CODE for output in cell.outputs]
    plots = [output.data["image/png"] for output in outputs if "image/png" in output.get("data", {})]
    assert len(plots) == 2
    assert max(len(base64.b64decode(plot)) for plot in plots) < 100_000
    assert not any(output.output_type == "error" for output in outputs)
    assert all(cell.outputs for cell in CODE if "plt." in cell.source or "print" in cell.source)

"""The tutorials run as they are, from a new kernel, and are kept as they ran."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

TUTORIALS = Path(__file__).resolve().parents[1] / "tutorials"
NOTEBOOKS = sorted(TUTORIALS.glob("*.ipynb"))

pytestmark = pytest.mark.tutorials


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def notebook(request):
    nbformat = pytest.importorskip("nbformat", reason='needs the extra: pip install -e ".[docs]"')
    read = nbformat.read(request.param, as_version=4)
    nbformat.validate(read)
    return read


#: What may be written to stderr: a warning that a tutorial speaks of, and what scvi-tools says of its seed.
SAID = ("UserWarning: 3 of 1,677 genes", "Seed set to 0\n")


def streams(notebook) -> list[str]:
    """What else was written to stderr: warnings and messages that a reader would have to skip."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    texts = [output.text for output in outputs if output.output_type == "stream" and output.name == "stderr"]
    return [text for text in texts if not any(said in text for said in SAID)]


def test_runs(notebook, request):
    nbclient = pytest.importorskip("nbclient", reason='needs the extra: pip install -e ".[docs]"')
    pytest.importorskip("ipykernel", reason='needs the extra: pip install -e ".[docs]"')
    pytest.importorskip("plotly", reason='needs the extra: pip install -e ".[report]"')
    if any("SCDART_DATA" in cell.source for cell in notebook.cells):
        os.environ["SCDART_DATA"] = str(request.getfixturevalue("data_dir"))
    nbclient.NotebookClient(notebook, timeout=600, resources={"metadata": {"path": TUTORIALS}}).execute()
    assert streams(notebook) == []


def test_is_kept_with_its_outputs(notebook, request):
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell.outputs]
    assert not [output for output in outputs if output.output_type == "error"]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert streams(notebook) == []
    assert (TUTORIALS / f"{request.node.callspec.id}.ipynb").stat().st_size < 600_000


def test_says_what_it_takes_and_what_comes_next(notebook):
    prose = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]
    assert "*Takes about" in prose[0]
    assert "memory" in prose[0]
    assert "## What to do next" in prose[-1]

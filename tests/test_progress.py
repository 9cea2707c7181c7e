from __future__ import annotations

import io
import logging

import pytest
import scvi
from rich.console import Console

import scdart
from scdart import _progress


@pytest.fixture
def screen(monkeypatch):
    """What a terminal shows."""
    written = io.StringIO()
    monkeypatch.setattr(_progress, "Console", lambda **_: Console(file=written, force_terminal=True, width=100))
    return written


def test_bar_names_the_part_and_respects_verbosity(screen, monkeypatch):
    with _progress.parts("Work", 2) as begin:
        begin("first")
        begin("second")
    assert "Work: second" in screen.getvalue()
    screen.truncate(0)
    monkeypatch.setattr(scvi.settings, "_verbosity", logging.WARNING)
    with _progress.parts("Work", 1) as begin:
        begin("first")
    assert "Work" not in screen.getvalue()


@pytest.mark.parametrize("installed", [True, False])
def test_notebooks_have_bars_where_they_have_widgets(monkeypatch, installed):
    monkeypatch.setattr(_progress, "find_spec", lambda _: object() if installed else None)
    assert _progress._has_bars(Console(file=io.StringIO(), force_jupyter=True)) == installed
    assert not _progress._has_bars(Console(file=io.StringIO()))


def test_preparation_logs_its_parts(caplog, screen):
    mdata = scdart.datasets.simulate("linear", n_cells=60, n_genes=40, n_peaks=120, random_state=0)
    with caplog.at_level(logging.INFO, logger="scdart"):
        scdart.pp.diffusion_coordinates(mdata)
        scdart.pp.anchors(mdata, random_state=0)
    begun = [record.getMessage() for record in caplog.records if record.name == _progress.logger.name]
    assert len(begun) == 6 + 3
    assert begun[0] == "Diffusion coordinates (1 of 6): components of 60 cells of rna"
    assert begun[-1] == "Anchors (3 of 3): partners and confidence"

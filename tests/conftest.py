"""Fixtures shared by all tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Folder with the shared real and simulated data sets; tests that need it skip where it is absent."""
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("SCDART_DATA", default))
    if not (folder / "snare_cortex.h5mu").is_file():
        pytest.skip(f"no data sets in {folder}: set SCDART_DATA to the folder that holds snare_cortex.h5mu")
    return folder

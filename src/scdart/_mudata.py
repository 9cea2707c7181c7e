"""What differs between the versions of mudata that are supported."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING

import mudata
import numpy as np

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from mudata import MuData


def columns_stay() -> AbstractContextManager:
    """Let a new MuData leave the columns of ``obs`` and ``var`` in its modalities, as mudata does from 0.4 on."""
    if not hasattr(mudata, "set_options"):
        return nullcontext()
    return mudata.set_options(pull_on_update=False)


def modality_rows(mdata: MuData, modality: str) -> np.ndarray:
    """Row of every cell of ``mdata.obs_names`` in the modality, -1 where the cell was not measured in it."""
    return mdata.obsmap[modality].astype(np.int64).ravel() - 1


def positions(mdata: MuData, modality: str) -> np.ndarray:
    """Position in ``mdata.obs_names`` of every cell of a modality, in the order of the modality."""
    rows = modality_rows(mdata, modality)
    present = np.flatnonzero(rows >= 0)
    return present[np.argsort(rows[present])]

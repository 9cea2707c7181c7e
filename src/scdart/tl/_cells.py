"""Cells of a MuData and of its modalities: their latent coordinates, and results written to both."""

from __future__ import annotations

import logging
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
from anndata import AnnData

from scdart._latent_slots import check_confidence_follows
from scdart._mudata import positions

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pandas as pd
    from mudata import MuData

logger = logging.getLogger(__name__)


def latent(data: MuData | AnnData, use_rep: str, name: str = "mdata") -> np.ndarray:
    """Get latent coordinates, known to be there and finite.

    Parameters
    ----------
    data
        All cells, or those of a modality.
    use_rep
        Slot of `obsm`.
    name
        What to call `data` in messages.

    Returns
    -------
    Coordinates of shape (n_cells, n_latent), float64.

    Raises
    ------
    KeyError
        The slot does not exist.
    ValueError
        A coordinate is NaN or infinite, or all cells have the same.
    """
    slot = f"{name}.obsm[{use_rep!r}]"
    if use_rep not in data.obsm:
        raise KeyError(
            f"{slot} does not exist; found: {sorted(data.obsm)}. Integrate first, with scdart.tl.integrate(mdata), "
            "or write it by scdart.tl.embed(mdata, model)."
        )
    z = np.asarray(data.obsm[use_rep], dtype=np.float64)
    if not len(z):
        raise ValueError(f"{name} has no cells: leave the modality out.")
    bad = ~np.isfinite(z).all(axis=1)
    if bad.any():
        raise ValueError(
            f"{slot} is NaN or infinite for {bad.sum():,} cells, such as {data.obs_names[bad][0]!r}: remove cells that "
            "have no position in the latent space."
        )
    if not np.ptp(z, axis=0).any():
        raise ValueError(f"{slot} is the same for all cells: integrate again, with other settings.")
    return z


def latent_of_modality(mdata: MuData, mod: str, use_rep: str, name: str = "mdata") -> np.ndarray:
    """Get the latent coordinates of the cells of a modality, as :func:`latent` does.

    Where they were written for all cells together, they are taken from there, unless a cell is of several modalities:
    it then has the mean of several positions, which would tell that they are one cell.
    """
    adata, rows = mdata.mod[mod], positions(mdata, mod)
    if (
        use_rep not in adata.obsm
        and use_rep in mdata.obsm
        and mdata.n_obs == sum(each.n_obs for each in mdata.mod.values())
    ):
        adata = AnnData(obs=adata.obs[[]], obsm={use_rep: mdata.obsm[use_rep][rows]})
    return latent(adata, use_rep, f"{name}[{mod!r}]")


def write_obs(mdata: MuData, key: str, values: np.ndarray | pd.Categorical) -> None:
    """Write a value of every cell to `obs` of `mdata`, and of every modality for its cells."""
    mdata.obs[key] = values
    for mod in mdata.mod:
        mdata[mod].obs[key] = values[positions(mdata, mod)]


def write_obsm(
    mdata: MuData, key: str, values: pd.DataFrame | np.ndarray, *, mods: Iterable[str] | None = None
) -> None:
    """Write values of every cell to `obsm` of `mdata`, and of every modality, or some of them, for its cells."""
    mdata.obsm[key] = values
    for mod in mdata.mod if mods is None else mods:
        rows = positions(mdata, mod)
        mdata[mod].obsm[key] = values[rows] if isinstance(values, np.ndarray) else values.iloc[rows]


def placed_cells(mdata: MuData, mod: str, use_rep: str, min_confidence: float, what: str) -> np.ndarray:
    """Tell which cells of a modality can be believed to lie where they do, and say which share cannot."""
    key = f"{use_rep}_confidence"
    if key not in mdata[mod].obsm:
        return np.ones(mdata[mod].n_obs, dtype=bool)
    check_confidence_follows(mdata, use_rep)
    placed = np.asarray(mdata[mod].obsm[key], dtype=float).ravel() >= min_confidence
    left = 1 - placed.mean()
    said = f"{left:.0%} of the cells of {mod!r} get no {what}: obsm[{key!r}] is below min_confidence={min_confidence}."
    if not placed.any():
        warnings.warn(
            f"{said} Little speaks for this alignment; see the warnings of scdart.pp.anchors. min_confidence=0 takes "
            "it as it is.",
            UserWarning,
            stacklevel=3,  # where the user called the function of tl
        )
    elif left:
        logger.info(said)
    return placed


def shown(values: Any, n: int = 8) -> str:
    """Write the first of many values for a message."""
    values = list(values)
    return ", ".join(map(repr, values[:n])) + (f", ... ({len(values)} in all)" if len(values) > n else "")

"""Cells of a MuData and of its modalities: read what either knows of them, and write results to both."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from scdart._mudata import modality_rows

if TYPE_CHECKING:
    from anndata import AnnData
    from mudata import MuData


def positions(mdata: MuData, mod: str) -> np.ndarray:
    """Position in `mdata.obs_names` of every cell of a modality, in the order of the modality."""
    rows = modality_rows(mdata, mod)
    present = np.flatnonzero(rows >= 0)
    return present[np.argsort(rows[present])]


def check_count(value: int, argument: str, minimum: int = 1) -> None:
    """Raise if a number is too small."""
    if value < minimum:
        raise ValueError(f"{argument}={value} must be at least {minimum}.")


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
        modality = "" if name == "mdata" else f"modality={name.removeprefix('mdata[').removesuffix(']')}"
        raise KeyError(
            f"{slot} does not exist; found: {sorted(data.obsm)}. Integrate first, with scdart.tl.scdart(mdata), or "
            f"write {slot} = model.get_latent_representation({modality})."
        )
    z = np.asarray(data.obsm[use_rep], dtype=np.float64)
    bad = ~np.isfinite(z).all(axis=1)
    if bad.any():
        raise ValueError(
            f"{slot} is NaN or infinite for {bad.sum():,} cells, such as {data.obs_names[bad][0]!r}: remove cells that "
            "have no position in the latent space."
        )
    if not np.ptp(z, axis=0).any():
        raise ValueError(f"{slot} is the same for all cells: integrate again, with other settings.")
    return z


def obs_column(mdata: MuData, key: str, argument: str) -> pd.Series:
    """Get a column of `obs` for all cells, whether it is of `mdata` or of its modalities.

    Cells of several modalities have the value of the first that knows it.

    Raises
    ------
    KeyError
        No `obs` has the column.
    """
    if key in mdata.obs:
        return mdata.obs[key]
    known = [mod for mod in mdata.mod if key in mdata[mod].obs]
    if not known:
        columns = {name: list(data.obs.columns) for name, data in {"mdata": mdata, **mdata.mod}.items()}
        raise KeyError(f"{argument}={key!r} is no column of any obs: {columns}.")
    values = pd.Series(np.nan, index=mdata.obs_names, dtype=object)
    for mod in reversed(known):
        column = mdata[mod].obs[key].astype(object)
        where = positions(mdata, mod)[column.notna().to_numpy()]
        values.iloc[where] = column.dropna().to_numpy()
    return values.infer_objects()


def write_obs(mdata: MuData, key: str, values: np.ndarray | pd.Categorical) -> None:
    """Write a value of every cell to `obs` of `mdata`, and of every modality for its cells."""
    mdata.obs[key] = values
    for mod in mdata.mod:
        mdata[mod].obs[key] = values[positions(mdata, mod)]


def write_obsm(mdata: MuData, key: str, values: pd.DataFrame) -> None:
    """Write values of every cell to `obsm` of `mdata`, and of every modality for its cells."""
    mdata.obsm[key] = values
    for mod in mdata.mod:
        mdata[mod].obsm[key] = values.iloc[positions(mdata, mod)]


def shown(values: Any, n: int = 8) -> str:
    """Write the first of many values for a message."""
    values = list(values)
    return ", ".join(map(repr, values[:n])) + (f", ... ({len(values)} in all)" if len(values) > n else "")

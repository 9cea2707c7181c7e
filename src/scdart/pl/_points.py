"""Which points a picture of cells has, where they are, and what values they carry."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scvi import settings
from sklearn.decomposition import PCA

from scdart._checks import check_up_to_date
from scdart._latent_slots import outdated
from scdart._mudata import feature_values, in_obs, modality_rows, obs_column, positions

from ._colors import BOTH

if TYPE_CHECKING:
    from collections.abc import Mapping

    from anndata import AnnData
    from mudata import MuData
    from numpy.typing import NDArray

_UMAP = "X_umap"


@dataclass(frozen=True)
class Points:
    """Points of a picture, in no particular order.

    Parameters
    ----------
    xy
        Positions, shape (n, 2).
    axis_labels
        What the two axes are.
    cells
        Row of each point in ``mdata.obs``, shape (n,).
    rows
        By name of the modality: row of each point in it, -1 where the point is no measurement of it.
    """

    xy: NDArray[np.float64]
    axis_labels: tuple[str, str]
    cells: NDArray[np.int64]
    rows: dict[str, NDArray[np.int64]]

    def __len__(self) -> int:
        return len(self.xy)

    def take(self, chosen: NDArray[np.intp]) -> Points:
        """Choose some of the points, in this order."""
        rows = {mod: rows[chosen] for mod, rows in self.rows.items()}
        return Points(self.xy[chosen], self.axis_labels, self.cells[chosen], rows)

    @property
    def modality(self) -> pd.Series:
        """Name of each point's modality, or ``"both"``."""
        values = np.full(len(self), BOTH, dtype=object)
        measured = {mod: rows >= 0 for mod, rows in self.rows.items()}
        for mod in self.rows:
            only = measured[mod] & ~np.any([measured[other] for other in self.rows if other != mod], axis=0)
            values[only] = mod
        return pd.Series(pd.Categorical(values, categories=[*self.rows, BOTH]))


def find_points(
    mdata: MuData,
    *,
    basis: str | None,
    use_rep: str,
    mods: tuple[str, str],
    latent: Mapping[str, NDArray] | None = None,
) -> Points:
    """Place the cells in two dimensions, without writing anything.

    Parameters
    ----------
    mdata
        Integrated data.
    basis
        ``"umap"``, or another slot of ``mdata.obsm`` with or without its ``X_``, or ``"pca"`` for principal components
        of the latent space (the latent space itself where it has two dimensions). ``None`` takes the UMAP if there is
        one.
    use_rep
        Slot with the latent space.
    mods
        Names of the modalities.
    latent
        Latent space of the modalities, where ``mdata`` does not have it.

    Returns
    -------
    From a slot of ``mdata.obsm``, each cell once. From the latent space, each measurement of a cell once, if the
    modalities have the slot too: that is how far apart the two are can be seen.

    Raises
    ------
    KeyError
        If the basis or the latent space is not there.
    ValueError
        If it has fewer than two dimensions, or values that are not finite.
    """
    for mod in mods:
        check_up_to_date(mdata, mod)
    if basis is None:
        basis = "umap" if _UMAP in mdata.obsm else "pca"
    rows = {mod: modality_rows(mdata, mod) for mod in mods}
    if basis != "pca":
        key = basis if basis in mdata.obsm else f"X_{basis}"
        if key not in mdata.obsm:
            raise KeyError(
                f"basis={basis!r}: mdata.obsm has neither {basis!r} nor {key!r}, only {sorted(mdata.obsm)}. "
                "Compute it (scanpy.tl.umap(mdata)), or pass basis='pca'."
            )
        xy = _finite(mdata.obsm[key], f"mdata.obsm[{key!r}]")[:, :2]
        label = {_UMAP: "UMAP", use_rep: "latent"}.get(key, key.removeprefix("X_"))
        return Points(xy, (f"{label} 1", f"{label} 2"), *_once_each(mdata, rows))
    if latent is None and all(use_rep in mdata.mod[mod].obsm for mod in mods):
        latent = {mod: mdata.mod[mod].obsm[use_rep] for mod in mods}
    if latent is not None:
        parts = [_finite(latent[mod], f"mdata[{mod!r}].obsm[{use_rep!r}]") for mod in mods]
        if parts[0].shape[1] != parts[1].shape[1]:
            raise ValueError(
                f"obsm[{use_rep!r}] has {parts[0].shape[1]} and {parts[1].shape[1]} dimensions in {mods}: both must "
                "come from the same latent space."
            )
        xy, labels = _two_dimensions(np.concatenate(parts))
        return Points(xy, labels, *_measurements(mdata, mods))
    if use_rep not in mdata.obsm:
        raise KeyError(
            f"use_rep={use_rep!r} is in neither mdata.obsm nor the obsm of both modalities: integrate first "
            "(scdart.tl.integrate), or write it by scdart.tl.embed(mdata, model)."
        )
    xy, labels = _two_dimensions(_finite(mdata.obsm[use_rep], f"mdata.obsm[{use_rep!r}]"))
    return Points(xy, labels, *_once_each(mdata, rows))


def _once_each(mdata: MuData, rows: dict[str, NDArray]) -> tuple[NDArray[np.int64], dict[str, NDArray]]:
    return np.arange(mdata.n_obs), rows


def _measurements(mdata: MuData, mods: tuple[str, str]) -> tuple[NDArray[np.int64], dict[str, NDArray]]:
    """Cells and rows of all measurements of the first modality, then of the second, in their order."""
    first, second = (positions(mdata, mod) for mod in mods)
    none = np.full(len(first), -1), np.full(len(second), -1)
    rows = np.concatenate([np.arange(len(first)), none[1]]), np.concatenate([none[0], np.arange(len(second))])
    return np.concatenate([first, second]), dict(zip(mods, rows, strict=True))


def _finite(values: NDArray, slot: str) -> NDArray[np.float64]:
    values = np.asarray(values, dtype=float)
    if values.ndim != 2 or values.shape[1] < 2:
        raise ValueError(f"{slot} has the shape {values.shape}: a picture needs at least two dimensions.")
    if not np.isfinite(values).all():
        raise ValueError(f"{slot} holds values that are NaN or infinite: was the model trained?")
    return values


def _two_dimensions(latent: NDArray[np.float64]) -> tuple[NDArray[np.float64], tuple[str, str]]:
    """Two principal components, of fixed sign."""
    if latent.shape[1] == 2:
        return latent, ("latent 1", "latent 2")
    pca = PCA(n_components=2, svd_solver="covariance_eigh").fit(latent)
    first, second = (f"latent PC {i + 1} ({share:.0%})" for i, share in enumerate(pca.explained_variance_ratio_))
    return pca.transform(latent), (first, second)


def values_of(mdata: MuData, points: Points, key: str, *, layer: str | None = None) -> pd.Series:
    """Look up what the points are to be coloured by.

    Parameters
    ----------
    mdata
        Integrated data.
    points
        Its points.
    key
        ``"modality"``; a column of ``obs``, by the rule of :func:`scdart._mudata.obs_column`; a slot of one column in a
        modality's ``obsm``; or a feature. Only one modality's, with its name before it: ``"rna:branch"``.
    layer
        Where to take features from; ``X`` if not given.

    Returns
    -------
    One value a point; missing where the point has none.

    Raises
    ------
    KeyError
        If there is no such value anywhere.

    Warns
    -----
    UserWarning
        It was computed before the latent space was made anew.
    """
    if (slot := outdated(mdata, key.removesuffix("_branch"), by_modality=True)) is not None:
        warnings.warn(
            f"{key!r} was computed before {slot} was made anew: compute it again.",
            UserWarning,
            stacklevel=settings.warnings_stacklevel,
        )
    if key == "modality":
        return points.modality.cat.remove_unused_categories().rename(key)
    if not in_obs(mdata, key):
        columns = [(rows, _of_modality(mdata.mod[mod], mod, key, layer)) for mod, rows in points.rows.items()]
    elif len(np.unique(points.cells)) == len(points):
        return obs_column(mdata, key, "key").iloc[points.cells].reset_index(drop=True).rename(key)
    else:  # of a cell that is two points, each has what its own modality knows
        columns = [(rows, obs_column(mdata, key, "key", mod=mod)) for mod, rows in points.rows.items()]
    found = [column.reset_index(drop=True).reindex(rows) for rows, column in columns if column is not None]
    if not found:
        raise KeyError(_not_found(mdata, key))
    return _join([column.reset_index(drop=True) for column in found]).rename(key)


def _of_modality(adata: AnnData, mod: str, key: str, layer: str | None) -> pd.Series | None:
    """One modality's own values of a slot of one column, or of a feature, in the order of its rows."""
    name = key.removeprefix(f"{mod}:")
    if name in adata.obsm and np.shape(adata.obsm[name])[1:] in ((), (1,)):
        return pd.Series(np.asarray(adata.obsm[name]).ravel())
    if name in adata.var_names:
        return pd.Series(feature_values(adata, name, layer=layer))
    return None


def _join(columns: list[pd.Series]) -> pd.Series:
    """Take the first value that is not missing, and keep the order of categories."""
    if len(columns) == 1:
        return columns[0]
    first, second = columns
    if isinstance(first.dtype, pd.CategoricalDtype) and isinstance(second.dtype, pd.CategoricalDtype):
        categories = first.cat.categories.union(second.cat.categories, sort=False)
        first, second = (column.astype(object) for column in columns)
        return pd.Series(pd.Categorical(first.where(first.notna(), second), categories=categories))
    return first.where(first.notna(), second)


def _not_found(mdata: MuData, key: str) -> str:
    owners = (mdata, *mdata.mod.values())
    listed = dict.fromkeys(["modality", *(column for owner in owners for column in owner.obs)])
    return (
        f"{key!r} is neither 'modality', nor a column of mdata.obs or of a modality's obs, nor a feature. "
        f"Columns found: {list(listed)[:20]}."
    )

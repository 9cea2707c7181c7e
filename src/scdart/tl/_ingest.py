"""New cells on the map of a model, and what their neighbours there are known for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from anndata import AnnData

from scdart._checks import check_mudata, check_writable
from scdart._constants import X_SCDART
from scdart._docs import fill_in_docs
from scdart._latent_slots import check_follows, slot_of_another_model
from scdart._mudata import obs_column, own_copy
from scdart._options import check_options
from scdart._random import seed_of

from ._cells import latent, latent_of_modality, write_obs
from ._neighbors import nearest_weights
from ._transfer import as_labels, vote

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mudata import MuData

    from scdart.model import SCDART


@fill_in_docs
def ingest(
    query: MuData | AnnData,
    reference: MuData,
    model: SCDART | None = None,
    *,
    obs: str | Sequence[str],
    use_rep: str = X_SCDART,
    n_neighbors: int = 30,
    threshold: float = 0.5,
    random_state: int | None = None,
    copy: bool = False,
) -> MuData | AnnData | None:
    """Place new cells in the latent space of a trained model, and give them labels and pseudotime of their neighbours.

    As :func:`scanpy.tl.ingest` does in the space of principal components, for new cells of either modality.

    Parameters
    ----------
    query
        New cells: a MuData with one or both modalities of the model, or an AnnData of one of them, with raw counts and
        the features of the model in its order, see :meth:`scdart.model.SCDART.prepare_query_mudata`.
    reference
        Integrated data that hold what is known.
    model
        The model that the latent space of `reference` is of. `None` if `query` has its places already.
    obs
        Columns of `obs`, of `reference` or its modalities. Numbers, such as pseudotime, are averaged over neighbours;
        all else are labels, on which neighbours vote. Cells of either modality are neighbours; those without a value
        are left out.
    use_rep
        Slot of `obsm` with the latent coordinates, of all modalities of the reference.
    n_neighbors
        Number of reference cells that tell what a new cell is.
    threshold
        Confidence below which a cell gets no label.
    %(seed_of_search)s
    copy
        Whether to return a copy instead of writing to `query`.

    Returns
    -------
    `None`, or the copy with `copy=True`. Written to `query`, and to its modalities:

    `obsm[use_rep]`
        Latent coordinates, with a model.
    `obs[column]`
        Label, missing where confidence is below the threshold, or mean.
    `obs[column + "_confidence"]`
        Share of the vote that the label got, in (0, 1].

    Raises
    ------
    KeyError
        A column or the latent coordinates are missing.
    TypeError
        `query` is neither MuData nor AnnData, or `reference` is no MuData.
    ValueError
        The features of the query are not those of the model, counts cannot be used, an option is out of range, the
        coordinates are not finite, of different spaces or of another model, a column was computed before the latent
        space, or no cell of the reference has a value.

    Notes
    -----
    Weights of neighbours are those of :func:`scdart.tl.transfer_labels`. A cell type that the reference lacks gets the
    labels of its neighbours: confidence tells how much they agree, not how near they are.

    Examples
    --------
    >>> import scdart
    >>> mdata = scdart.datasets.simulate("bifurcating", n_cells=120, n_genes=60, n_peaks=150)
    >>> new_cells = mdata["atac"][100:].copy()
    >>> scdart.tl.integrate(mdata, max_epochs=2, save_model="model_for_new_cells")
    >>> model = scdart.model.SCDART.load("model_for_new_cells", mdata)
    >>> scdart.tl.ingest(new_cells, mdata, model, obs=["branch", "pseudotime"])
    >>> bool(new_cells.obs["branch_confidence"].between(0, 1).all())
    True
    """
    check_options(ingest, locals())
    columns = [obs] if isinstance(obs, str) else list(obs)
    if isinstance(query, AnnData):
        if query.is_view and not copy:
            raise ValueError("query is a view, which nothing can be written to: pass query.copy(), or copy=True.")
    else:
        check_writable(query, copy=copy)
    check_mudata(reference)
    z_reference = np.concatenate([latent_of_modality(reference, mod, use_rep, "reference") for mod in reference.mod])
    known = {column: _of_measurements(reference, column) for column in columns}
    for column in columns:
        check_follows(reference, column, by_modality=True)
    if model is not None and (slot := slot_of_another_model(reference, model, use_rep)) is not None:
        raise ValueError(
            f"reference: {slot} are not the positions that model gives these cells. Pass the model that they are of, "
            "or write model.get_latent_representation() to reference and its modalities."
        )

    places = _places(query, reference, model, use_rep)
    z = places[None]
    if z.shape[1] != z_reference.shape[1]:
        raise ValueError(
            f"obsm[{use_rep!r}] has {z.shape[1]} dimensions in query, and {z_reference.shape[1]} in reference: both "
            "must be of one model."
        )
    told: dict[str, Any] = {}
    for column, values in known.items():
        if pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values):
            told[column] = _mean(z, z_reference, values, n_neighbors, seed_of(random_state))
        else:
            labels = as_labels(values, f"obs[{column!r}] of reference")
            told[column], told[f"{column}_confidence"] = vote(
                z, z_reference, labels, n_neighbors, threshold, seed_of(random_state)
            )

    result = own_copy(query) if copy else query
    for mod, coordinates in places.items():
        (result if mod is None else result.mod[mod]).obsm[use_rep] = coordinates.astype(np.float32)
    for column, values in told.items():
        if isinstance(result, AnnData):
            result.obs[column] = values
        else:
            write_obs(result, column, values)
    return result if copy else None


def _places(
    query: MuData | AnnData, reference: MuData, model: SCDART | None, use_rep: str
) -> dict[str | None, np.ndarray]:
    """Get the coordinates of all cells, as `None`, and of those of each modality."""
    if model is None:
        return {None: latent(query, use_rep, "query")}
    places: dict[str | None, np.ndarray] = {None: model.get_latent_representation(query)}
    if not np.isfinite(places[None]).all():
        raise ValueError("query has cells of neither modality of the model: leave them out.")
    if not isinstance(query, AnnData):
        own = [mod for mod in query.mod if mod in reference.mod]
        places |= {mod: model.get_latent_representation(query, modality=mod) for mod in own}
    return places


def _of_measurements(reference: MuData, column: str) -> pd.Series:
    """Get the values of a column, modality after modality."""
    parts = [obs_column(reference, column, "obs", mod=mod) for mod in reference.mod]
    values = pd.concat(parts, ignore_index=True)
    if isinstance(parts[0].dtype, pd.CategoricalDtype) and all(part.dtype == parts[0].dtype for part in parts):
        return values.astype(parts[0].dtype)
    return values


def _mean(query: np.ndarray, reference: np.ndarray, values: pd.Series, n_neighbors: int, seed: int) -> np.ndarray:
    numbers = values.to_numpy(dtype=np.float64)
    known = np.isfinite(numbers)
    if not known.any():
        raise ValueError(f"obs[{values.name!r}] of reference has no number of a cell.")
    return nearest_weights(query, reference[known], n_neighbors, random_state=seed) @ numbers[known]

"""Cells on the map of a model: their places, and what their neighbours there are known for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from anndata import AnnData

from scdart._checks import check_mudata, check_writable
from scdart._constants import X_SCDART
from scdart._docs import fill_in_docs
from scdart._mudata import modality_rows, obs_column, own_copy, positions
from scdart._options import check_options
from scdart._random import seed_of
from scdart.data import names_of_modalities

from ._cells import latent, latent_of_modality, write_obs
from ._neighbors import nearest_weights
from ._transfer import as_labels, vote

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mudata import MuData

    from scdart.model import SCDART

#: Neighbours by which confidence is told, where there are as many cells.
_NEIGHBORS = 30


@fill_in_docs
def embed(mdata: MuData, model: SCDART, *, key_added: str = X_SCDART, copy: bool = False) -> MuData | None:
    """Write the places that a trained model gives to cells, where all that follows reads them.

    Parameters
    ----------
    mdata
        The training data, or new cells, see :func:`scdart.tl.ingest`.
    model
        The trained model.
    %(key_added)s
    %(copy)s

    Returns
    -------
    `None`, or the copy with `copy=True`. Written are:

    `obsm[key_added]`
        Latent coordinates, of all cells to `mdata` and of its own cells to each modality of the model.
    `obsm[key_added + "_confidence"]`
        Likewise, how far a cell's neighbours in the other modality can be believed to be of its kind, see
        :meth:`scdart.model.SCDART.get_alignment_confidence`; not if a modality is missing.
    `mdata.obs["modality"]`
        The modality of each cell, `"rna+atac"` of a cell that was measured in both; not if there is such a column.

    Raises
    ------
    KeyError
        `mdata` has no modality of the model.
    ValueError
        Features are not those of the model in its order, counts cannot be used, or `mdata` is a view.

    Example
    -------
    >>> import scdart
    >>> mdata = scdart.datasets.simulate("bifurcating", n_cells=120, n_genes=60, n_peaks=150)
    >>> scdart.pp.diffusion_coordinates(mdata)
    >>> scdart.model.SCDART.setup_mudata(mdata)
    >>> model = scdart.model.SCDART(mdata)
    >>> model.train(max_epochs=2)
    >>> scdart.tl.embed(mdata, model)
    >>> mdata.obs["modality"].value_counts().to_dict()
    {'rna': 120, 'atac': 120}
    """
    check_options(embed, locals())
    check_writable(mdata, copy=copy)
    known = list(names_of_modalities(model.registry).values())
    mods = [mod for mod in known if mod in mdata.mod]
    if not mods:
        raise KeyError(f"mdata has none of the model's modalities {known}, but {list(mdata.mod)}: name one so.")
    places: dict[str | None, np.ndarray] = {None: model.get_latent_representation(mdata)}
    places |= {mod: model.get_latent_representation(mdata, modality=mod) for mod in mods}
    confidence = None
    if len(mods) > 1:
        fewest = min(mdata[mod].n_obs for mod in mods)
        confidence = model.get_alignment_confidence(mdata, n_neighbors=min(_NEIGHBORS, fewest - 1)).to_numpy()

    target = own_copy(mdata) if copy else mdata
    for mod, coordinates in places.items():
        (target if mod is None else target[mod]).obsm[key_added] = coordinates
    if confidence is not None:
        target.obsm[f"{key_added}_confidence"] = confidence.astype(np.float32)[:, None]
        for mod in mods:
            own = target.obsm[f"{key_added}_confidence"][positions(target, mod)]
            target[mod].obsm[f"{key_added}_confidence"] = own
    if "modality" not in target.obs:
        target.obs["modality"] = _modality_of_cells(target)
    return target if copy else None


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
    random_state
        Seed of the approximate search for neighbours, among more than 50,000 cells; `None` takes `scvi.settings.seed`,
        or 0 where there is none.
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
        coordinates are not finite or of different spaces, or no cell of the reference has a value.

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


def _modality_of_cells(mdata: MuData) -> pd.Categorical[Any]:
    """Name the modality, or the modalities, that each cell was measured in."""
    names = pd.Series("", index=mdata.obs_names)
    for mod in mdata.mod:
        names[modality_rows(mdata, mod) >= 0] += f"+{mod}"
    names = names.str.removeprefix("+")
    return pd.Categorical(names, sorted(names.unique(), key=lambda name: name.count("+")))


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

"""What the cells of one modality tell of those of the other: labels, values, and positions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from scdart._checks import check_modalities, check_writable, counts_slot
from scdart._chunks import columns_of
from scdart._constants import ATAC, RNA, X_SCDART
from scdart._docs import fill_in_docs
from scdart._mudata import obs_column, own_copy, positions
from scdart._options import check_options
from scdart._random import seed_of

from ._cells import latent_of_modality, placed_cells, shown
from ._neighbors import nearest_weights

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anndata import AnnData
    from mudata import MuData


@fill_in_docs
def transfer_labels(
    mdata: MuData,
    key: str,
    *,
    source: str = RNA,
    target: str = ATAC,
    use_rep: str = X_SCDART,
    n_neighbors: int = 30,
    threshold: float = 0.5,
    min_confidence: float = 0.2,
    key_added: str | None = None,
    random_state: int | None = None,
    copy: bool = False,
) -> MuData | None:
    r"""Label the cells of one modality by a vote of their neighbours in the other.

    Parameters
    ----------
    mdata
        Annotated data whose modalities have a common latent space.
    key
        Column of `obs`, of `mdata` or the source modality, with the labels; cells without one do not vote.
    source, target
        Modality that has the labels, and that which gets them.
    use_rep
        Slot of both modalities' `obsm` with the latent coordinates.
    n_neighbors
        Number of source cells that vote on the label of a target cell.
    threshold
        Share of the vote below which a cell gets no label.
    min_confidence
        Confidence in the place of a cell below which it gets no label: `obsm[use_rep + "_confidence"]`, which
        :func:`scdart.tl.integrate` writes. Where it is not there, all cells count as placed.
    key_added
        Column to write; by default `"{key}_from_{source}"`.
    %(seed_of_search)s
    %(copy)s

    Returns
    -------
    `None`, or the copy with `copy=True`. Written are, for the target modality:

    `obs[key_added]`
        Label, categorical with the categories of the source; missing where the vote or the confidence in the cell's
        place is below its threshold.
    `obs[key_added + "_confidence"]`
        Share of the vote that the most frequent label got, in (0, 1].

    Raises
    ------
    KeyError
        A modality, the latent coordinates or the column is missing.
    ValueError
        There are no labels, an option is out of range, or the coordinates are not finite or of different spaces.

    Notes
    -----
    The vote of neighbour j of cell i has the weight :math:`w_{ij} \propto \exp(-d_{ij} / d_{ik})`, with the distance
    to the furthest of its k neighbours. A cell type that the source lacks gets the labels of its neighbours: confidence
    tells how much they agree, not how near they are.

    Examples
    --------
    >>> import numpy as np
    >>> import scdart
    >>> mdata = scdart.datasets.simulate("bifurcating", n_cells=100, n_genes=50, n_peaks=100)
    >>> for mod in mdata.mod:  # in place of model.get_latent_representation(modality=mod)
    ...     mdata[mod].obsm["X_scdart"] = mdata[mod].obs[["pseudotime"]].to_numpy()
    >>> scdart.tl.transfer_labels(mdata, "branch")
    >>> bool(mdata["atac"].obs["branch_from_rna_confidence"].between(0, 1).all())
    True
    """
    check_options(transfer_labels, locals())
    check_writable(mdata, copy=copy)
    z_source, z_target = _clouds(mdata, use_rep, source=source, target=target)
    labels = as_labels(obs_column(mdata, key, "key", mod=source), f"obs[{key!r}] of {source!r}")
    key_added = f"{key}_from_{source}" if key_added is None else key_added

    voted, confidence = vote(z_target, z_source, labels, n_neighbors, threshold, seed_of(random_state))
    voted[~placed_cells(mdata, target, use_rep, min_confidence, "label")] = np.nan
    result = own_copy(mdata) if copy else mdata
    obs = result[target].obs
    obs[key_added] = voted
    obs[f"{key_added}_confidence"] = confidence
    return result if copy else None


@fill_in_docs
def impute(
    mdata: MuData,
    *,
    source: str = RNA,
    target: str = ATAC,
    features: Sequence[str] | None = None,
    layer: str | None = None,
    use_rep: str = X_SCDART,
    n_neighbors: int = 30,
    min_confidence: float = 0.2,
    key_added: str | None = None,
    random_state: int | None = None,
    copy: bool = False,
) -> MuData | None:
    r"""Give the cells of one modality the mean values of their neighbours in the other.

    Expression of ATAC cells, or accessibility of RNA cells, without a model of how one becomes the other: see
    :meth:`scdart.model.SCDART.get_gene_activity` for that.

    Parameters
    ----------
    mdata
        Annotated data whose modalities have a common latent space.
    source, target
        Modality that has the values, and that which gets them.
    features
        Names of genes or peaks of the source; by default all. Cells have values of several neighbours, so that the
        result holds up to `n_neighbors` times as many as the source.
    layer
        Layer of the source with the values; `X` by default. Means of raw counts are weighed by sequencing depth:
        normalise them into a layer first where this matters.
    use_rep
        Slot of both modalities' `obsm` with the latent coordinates.
    n_neighbors
        Number of source cells to average.
    min_confidence
        Confidence in the place of a cell below which it gets no values, as in :func:`scdart.tl.transfer_labels`.
    key_added
        Name of the slots to write; by default `"imputed_{source}"`.
    %(seed_of_search)s
    %(copy)s

    Returns
    -------
    `None`, or the copy with `copy=True`. Written are, for the target modality:

    `obsm[key_added]`
        Imputed values of shape (n_cells, n_features), float32; sparse (CSR) where the source is. NaN of cells that got
        none.
    `uns[key_added]`
        `"features"`: names of the columns; `"params"`: how it was made.

    Raises
    ------
    KeyError
        A modality, the latent coordinates, the layer or a feature is missing.
    ValueError
        An option is out of range, values or coordinates are not finite, or the coordinates are of different spaces.

    Notes
    -----
    The value of cell i is :math:`\sum_j w_{ij} x_j` over its k neighbours, with weights
    :math:`w_{ij} \propto \exp(-d_{ij} / d_{ik})` that sum to 1.

    Examples
    --------
    >>> import scdart
    >>> mdata = scdart.datasets.simulate("linear", n_cells=100, n_genes=50, n_peaks=100)
    >>> for mod in mdata.mod:  # in place of model.get_latent_representation(modality=mod)
    ...     mdata[mod].obsm["X_scdart"] = mdata[mod].obs[["pseudotime"]].to_numpy()
    >>> scdart.tl.impute(mdata, features=["gene3", "gene7"])
    >>> mdata["atac"].obsm["imputed_rna"].shape
    (100, 2)
    """
    check_options(impute, locals())
    check_writable(mdata, copy=copy)
    z_source, z_target = _clouds(mdata, use_rep, source=source, target=target)
    names, values = _values(mdata[source], features, layer, source)
    key_added = f"imputed_{source}" if key_added is None else key_added

    weights = nearest_weights(z_target, z_source, n_neighbors, random_state=seed_of(random_state))
    imputed = weights @ values
    placed = placed_cells(mdata, target, use_rep, min_confidence, "value")
    if not placed.all():
        imputed = _without(imputed, ~placed)

    result = own_copy(mdata) if copy else mdata
    result[target].obsm[key_added] = imputed
    result[target].uns[key_added] = {
        "features": names,
        "params": {
            "source": source,
            "layer": "X" if layer is None else layer,
            "use_rep": use_rep,
            "n_neighbors": n_neighbors,
        },
    }
    return result if copy else None


@fill_in_docs
def smooth(
    mdata: MuData,
    *,
    rna_mod: str = RNA,
    atac_mod: str = ATAC,
    use_rep: str = X_SCDART,
    n_neighbors: int = 10,
    key_added: str | None = None,
    random_state: int | None = None,
    copy: bool = False,
) -> MuData | None:
    r"""Pull the modalities together: every cell moves to the mean of its neighbours in the other modality.

    The post-processing of the paper: first ATAC cells move onto RNA cells, then RNA cells onto the moved ATAC cells.
    What differs between the modalities goes, and so does variation among neighbours: use it to draw and to order cells,
    not to judge how well they were integrated.

    Parameters
    ----------
    mdata
        Annotated data whose modalities have a common latent space.
    rna_mod, atac_mod
        Names of the modalities.
    use_rep
        Slot of both modalities' `obsm` with the latent coordinates.
    n_neighbors
        Number of neighbours k in the other modality.
    key_added
        Name of the slots to write; by default `"{use_rep}_smooth"`.
    %(seed_of_search)s
    %(copy)s

    Returns
    -------
    `None`, or the copy with `copy=True`. Written is `obsm[key_added]`, of the shape of `obsm[use_rep]`, of both
    modalities and of `mdata`, where cells of both modalities have the mean of their positions, and those of neither
    NaN.

    Raises
    ------
    KeyError
        A modality or its latent coordinates are missing.
    ValueError
        An option is out of range, or the coordinates are not finite or of different spaces.

    Notes
    -----
    With weights that sum to 1 over the k neighbours,

    .. math:: z_i \leftarrow \sum_j w_{ij} z_j, \qquad w_{ij} \propto \exp(-d_{ij} / d_{ik}).

    References
    ----------
    Zhang, Yang and Zhang (2022), scDART, Genome Biology 23:139, doi:10.1186/s13059-022-02706-x.

    Examples
    --------
    >>> import scdart
    >>> mdata = scdart.datasets.simulate("linear", n_cells=100, n_genes=50, n_peaks=100)
    >>> for mod in mdata.mod:  # in place of model.get_latent_representation(modality=mod)
    ...     mdata[mod].obsm["X_scdart"] = mdata[mod].obs[["pseudotime"]].to_numpy()
    >>> scdart.tl.smooth(mdata)
    >>> mdata.obsm["X_scdart_smooth"].shape
    (200, 1)
    """
    check_options(smooth, locals())
    check_writable(mdata, copy=copy)
    z_rna, z_atac = _clouds(mdata, use_rep, rna_mod=rna_mod, atac_mod=atac_mod)
    key_added = f"{use_rep}_smooth" if key_added is None else key_added

    z_atac = nearest_weights(z_atac, z_rna, n_neighbors, random_state=seed_of(random_state)) @ z_rna
    z_rna = nearest_weights(z_rna, z_atac, n_neighbors, random_state=seed_of(random_state)) @ z_atac

    result = own_copy(mdata) if copy else mdata
    total, n_measured = np.zeros((mdata.n_obs, z_rna.shape[1])), np.zeros((mdata.n_obs, 1))
    for mod, z in ((rna_mod, z_rna), (atac_mod, z_atac)):
        result[mod].obsm[key_added] = z.astype(np.float32)
        where = positions(mdata, mod)
        total[where] += z
        n_measured[where] += 1
    mean = np.divide(total, n_measured, out=np.full_like(total, np.nan), where=n_measured > 0)
    result.obsm[key_added] = mean.astype(np.float32)
    return result if copy else None


def _without(values: np.ndarray | sp.csr_matrix, rows: np.ndarray) -> np.ndarray | sp.csr_matrix:
    """Replace all values of some rows by NaN."""
    if not sp.issparse(values):
        values[rows] = np.nan
        return values
    lost = sp.csr_matrix(np.full((int(rows.sum()), values.shape[1]), np.nan, dtype=values.dtype))
    order = np.argsort(np.concatenate([np.flatnonzero(~rows), np.flatnonzero(rows)]))
    return sp.vstack([values[~rows], lost], format="csr")[order]


def _clouds(mdata: MuData, use_rep: str, **mods: str) -> tuple[np.ndarray, np.ndarray]:
    """Get the coordinates of two modalities, known to be of one space."""
    check_modalities(mdata, **mods)
    first, second = mods.values()
    a, b = (latent_of_modality(mdata, mod, use_rep) for mod in (first, second))
    if a.shape[1] != b.shape[1]:
        raise ValueError(
            f"obsm[{use_rep!r}] has {a.shape[1]} dimensions in {first!r}, but {b.shape[1]} in {second!r}: both must be "
            "of one latent space."
        )
    return a, b


def as_labels(column: pd.Series, slot: str) -> pd.Categorical:
    """Read a column as labels, at least one of them known."""
    if pd.api.types.is_float_dtype(column) and column.notna().any():
        raise ValueError(f"{slot} holds numbers with a decimal point, not labels.")
    labels = pd.Categorical(column)
    if (labels.codes < 0).all():
        raise ValueError(f"{slot} has no label of a cell.")
    return labels.remove_unused_categories()


def vote(
    query: np.ndarray, reference: np.ndarray, labels: pd.Categorical, n_neighbors: int, threshold: float, seed: int
) -> tuple[pd.Categorical, np.ndarray]:
    """Let the nearest of the cells that have a label decide on that of others.

    Parameters
    ----------
    query, reference
        Coordinates of the cells that get labels, and of those that may have them.
    labels
        Labels of the reference cells, or missing.
    n_neighbors
        Cells that vote.
    threshold
        Share of the vote below which a cell gets no label.
    seed
        Seed of the approximate search.

    Returns
    -------
    Labels, and share of the vote that they got.
    """
    known = np.flatnonzero(labels.codes >= 0)
    weights = nearest_weights(query, reference[known], n_neighbors, random_state=seed)
    shape = (len(known), len(labels.categories))
    member = sp.csr_matrix((np.ones(len(known), np.float32), (np.arange(len(known)), labels.codes[known])), shape=shape)
    votes = weights @ member
    confidence = np.minimum(votes.max(axis=1).toarray().ravel(), 1.0)
    winner = np.where(confidence >= threshold, np.asarray(votes.argmax(axis=1)).ravel(), -1)
    return pd.Categorical.from_codes(winner, categories=labels.categories, ordered=labels.ordered), confidence


def _values(adata: AnnData, features: Sequence[str] | None, layer: str | None, mod: str) -> tuple[np.ndarray, Any]:
    """Get names and values of features, sparse or dense as they are stored."""
    if layer is not None and layer not in adata.layers:
        raise KeyError(f"mdata[{mod!r}].layers has no {layer!r}, but {sorted(filter(None, adata.layers))}.")
    columns = np.arange(adata.n_vars)
    if features is not None:
        unknown = [name for name in features if name not in adata.var_names]
        if unknown:
            raise KeyError(f"features that mdata[{mod!r}].var_names lacks: {shown(unknown)}.")
        columns = adata.var_names.get_indexer(pd.Index(features))
    values = columns_of(adata.X if layer is None else adata.layers[layer], columns)
    stored = values.data if sp.issparse(values) else np.asarray(values)
    if not np.isfinite(stored).all():
        raise ValueError(f"{counts_slot(layer, mod)} holds NaN or infinite values: remove these cells or features.")
    names = adata.var_names[columns].to_numpy(dtype=object)
    return names, sp.csr_matrix(values, dtype=np.float32) if sp.issparse(values) else stored.astype(np.float32)

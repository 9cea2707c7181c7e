"""Anchors: which RNA cells and ATAC cells correspond, known, inferred from the gene-activity prior, or given."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
import scipy.sparse as sp
from sklearn.preprocessing import normalize

from scdart._anchor_slots import Anchors, origin_of_anchors, write_anchors
from scdart._batches import stored_effects
from scdart._checks import check_cell_names, check_modalities, check_writable, checked_prior
from scdart._constants import ANCHORS, ATAC, GENE_ACTIVITY, RNA
from scdart._docs import fill_in_docs
from scdart._groups import known_groups
from scdart._mudata import own_copy
from scdart._options import check_options
from scdart._origins import MADE_FROM
from scdart._random import seed_of

from ._anchor_settings import AnchorSettings
from ._batch_factors import ensure_factors
from ._correspondence import Evidence
from ._features import accessibility, expression, modality_counts
from ._inferred_anchors import infer_anchors
from ._known_pairs import known_pairs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from anndata import AnnData
    from mudata import MuData
    from numpy.typing import ArrayLike

    from ._known_pairs import Pairs


@fill_in_docs
def anchors(
    mdata: MuData,
    *,
    pairs: Pairs | None = None,
    inferred: bool = True,
    groups_key: str | None = None,
    ordered: bool = False,
    n_components: int = 10,
    n_neighbors: int = 30,
    refine: Literal["auto"] | bool = "auto",
    prior_key: str = GENE_ACTIVITY,
    rna_mod: str = RNA,
    atac_mod: str = ATAC,
    rna_layer: str | None = None,
    atac_layer: str | None = None,
    batch_key: str | None = None,
    random_state: int | None = None,
    key_added: str = ANCHORS,
    copy: bool = False,
) -> MuData | None:
    r"""Find cells of the two modalities that correspond: known pairs, and others inferred from the prior.

    Cells are compared by canonical correlation between expression and gene activity. The comparison is then sharpened
    by all peaks and genes: ridge regression learns to predict the coordinates of a cell's partners from everything that
    was measured in the cell, and predicts them for cells that it was not fitted to. Beside them stand a cell's
    distances, along its own modality, to cells with partners: a cell at a fork and one in the middle of a branch that
    the other modality lacks can look alike, but they do not lie in the same place. Last, cells whose partners' partners
    lie elsewhere in the cells' own modality are taken to have no counterpart, and all is learned anew from the others.
    Names of cells play no part in this: that a cell was measured in both modalities is used only if `pairs` says so.

    Parameters
    ----------
    mdata
        Annotated data with counts of RNA and ATAC cells and the prior of :func:`scdart.pp.gene_activity`.
    pairs
        Cells that are known to correspond: ``"obs_names"``, if cells of the same name in both modalities are the same
        cell (multiome), or names of shape (n_pairs, 2), an RNA cell and an ATAC cell in each row. A cell may occur in
        several pairs. The partners of a known ATAC cell are not inferred, and known pairs improve the inference for
        other cells.
    inferred
        Whether to infer anchors for cells that are in no pair.
    groups_key
        Column of both modalities' `obs` with what is known of some cells or of all: sorted gates, time points, types,
        or root cells alone (scDART-anchor). Missing values where nothing is known. Partners of a labelled cell are
        looked for within its label, those of other cells among all. A label that only one modality has means that the
        other lacks such cells.
    ordered
        Whether labels follow each other, as time points do: partners may then also have the label before or after. The
        column must be numeric or an ordered categorical.
    n_components
        Number of coordinates in which cells are compared; directions between groups come beside these.
    n_neighbors
        Number of partners of a cell.
    refine
        Whether to sharpen the canonical correlation, from all cells. By default the agreement between the transferred
        expression and the activity of held-out genes decides on this, and on leaving out cells without counterpart.
    prior_key
        Slot of the ATAC modality's `varm` with the prior, of shape (n_peaks, n_genes).
    rna_mod
        Name of the RNA modality.
    atac_mod
        Name of the ATAC modality.
    rna_layer
        Layer with the RNA counts; `X` by default.
    atac_layer
        Layer with the ATAC counts; `X` by default.
    %(batch_key)s
    random_state
        Seed; `None` takes `scvi.settings.seed`, or 0 where there is none.
    key_added
        Name of the slots to write.
    copy
        Whether to return a copy instead of writing to `mdata`.

    Returns
    -------
    `None`, or the copy with `copy=True`. Written are:

    `mdata.obsp[key_added]`
        Weights, sparse (CSR, float32), of shape (n_obs, n_obs): rows are RNA cells and columns ATAC cells, at their
        positions in `mdata.obs_names`. The column of an ATAC cell sums to its confidence. Partners of an RNA cell are
        weighed by its row.
    `mdata.uns[key_added]`
        `"variant"`: `"canonical"`, `"refined"`, `"selected"` (refined, learned from cells with a counterpart) or
        `"known"`. `"agreement"`: for the variants that were compared, mean correlation of transferred expression and
        activity over held-out genes; `"z"`: that of the one that was taken, in standard deviations of mismatched genes;
        `"support"`: how far that supports that anchors are right at all, in [0, 1].
        `"n_pairs"`: number of known pairs. `"params"`: all settings that the result depends on. `"confidence_key"`
        and `"checksum"`: with which confidence these weights go together. `"made_from"`: shape, names and checksums of
        counts and prior that anchors were inferred from. Those that were inferred from others are not used.
    `mdata.mod[...].obsm["X_" + key_added]`
        Of both modalities: coordinates in which they were compared. The first n_components columns are directions (with
        groups, one more for each question that tells them apart), rows of length 1; when refined, 10 columns of
        positions follow. Not there without inferred anchors.
    `mdata.mod[...].obsm[key_added + "_confidence"]`
        Of both modalities: confidence in [0, 1] that the other modality has such cells, of shape (n_cells, 1). Cells
        that it lacks, or has in far smaller proportion, are near 0, known cells are 1.

    Raises
    ------
    KeyError
        A modality, a layer, the prior, a cell of `pairs` or the column `groups_key` is missing.
    ValueError
        Counts, prior, pairs, labels or options cannot be used, or no expressed gene has an open peak. Labels cannot if
        the modalities have none in common or spell them differently, or if every cell has one of its own.

    Warns
    -----
    UserWarning
        Held-out genes agree no better than mismatched ones: the prior carries no signal.

    Notes
    -----
    Expression is log-normalised and z-scored; activity are residuals of a correspondence analysis of TF-IDF weights
    times prior. Of their product, the leading singular vectors are taken, as in the canonical correlation of
    :cite:t:`Stuart2019`. Cost and memory are linear in the number of cells.

    Example
    -------
    >>> import scdart
    >>> mdata = scdart.datasets.simulate(n_cells=100, n_genes=120, n_peaks=300)
    >>> scdart.pp.anchors(mdata, random_state=0)
    >>> mdata.obsp["anchors"].shape, mdata["rna"].obsm["X_anchors"].shape
    ((200, 200), (100, 20))
    >>> mdata.uns["anchors"]["variant"]
    'refined'
    """
    check_options(anchors, locals())
    mods = {RNA: rna_mod, ATAC: atac_mod}
    rna, atac = _modalities(mdata, mods, copy=copy)
    _check_known(pairs, groups_key, inferred=inferred, ordered=ordered)
    known = None if pairs is None else known_pairs(pairs, rna, atac)
    groups = None if groups_key is None else known_groups(mdata, groups_key, mods, ordered=ordered)
    settings = AnchorSettings(n_components, n_neighbors, refine, seed_of(random_state))
    target = own_copy(mdata) if copy else mdata
    if inferred:
        rna_counts = modality_counts(mdata, rna_mod, rna_layer)
        atac_counts = modality_counts(mdata, atac_mod, atac_layer)
        prior = checked_prior(rna, atac, prior_key, rna_mod, atac_mod)
        _check_overlap(rna_counts, atac_counts, prior, mods)
        if batch_key is not None:
            ensure_factors(target, batch_key, rna_mod, atac_mod, rna_layer, atac_layer, settings.random_state)
        effects = {mod: stored_effects(target, mod, batch_key) for mod in mods.values()}
        seen = expression(rna_counts, effects[rna_mod]), accessibility(atac_counts, effects[atac_mod])
        found = infer_anchors(Evidence(*seen, prior, known, groups), settings)
        layers = {RNA: rna_layer, ATAC: atac_layer}
        made_from = {MADE_FROM: origin_of_anchors(target, mods, layers, prior, batch_key, groups_key)}
    else:
        assert known is not None
        made_from = {}
        confidence = {RNA: known.getnnz(axis=1) > 0, ATAC: known.getnnz(axis=0) > 0}
        found = Anchors(normalize(known, norm="l1", axis=0), confidence, {}, {"variant": "known"})

    described = {
        **found.described,
        **made_from,
        "n_pairs": 0 if known is None else known.nnz,
        "params": {"inferred": inferred, "prior_key": prior_key, **asdict(settings)},
    }
    if batch_key is not None:
        described["params"]["batch_key"] = batch_key
    if groups_key is not None:
        described["params"] |= {"groups_key": groups_key, "ordered": ordered}
    write_anchors(target, found._replace(described=described), key_added, mods)
    return target if copy else None


def set_anchors(
    mdata: MuData,
    matrix: sp.sparray | sp.spmatrix | np.ndarray | pd.DataFrame,
    *,
    confidence: Mapping[str, ArrayLike] | None = None,
    rna_mod: str = RNA,
    atac_mod: str = ATAC,
    key_added: str = ANCHORS,
    copy: bool = False,
) -> MuData | None:
    """Use anchors of your own, or of another method: which RNA cells and ATAC cells correspond.

    All slots that belong together are written, and what stood there of other anchors is removed.

    Parameters
    ----------
    mdata
        Annotated data with RNA and ATAC cells.
    matrix
        Weights >= 0 of shape (n_rna, n_atac), sparse or dense, in the order of the modalities' cells. A table is
        aligned by its labels, RNA cells as rows and ATAC cells as columns; cells that it does not have get no anchors.
        Partners of a cell are drawn in proportion to its row or column; a cell without weights has none.
    confidence
        How far the anchors of each cell are trusted, in [0, 1], of shape (n_cells,), by the name of the modality, for
        both. By default all are trusted alike.
    rna_mod
        Name of the RNA modality.
    atac_mod
        Name of the ATAC modality.
    key_added
        Name of the slots to write.
    copy
        Whether to return a copy instead of writing to `mdata`.

    Returns
    -------
    `None`, or the copy with `copy=True`. Written are:

    `mdata.obsp[key_added]`
        The weights, sparse (CSR, float32), of shape (n_obs, n_obs): rows are RNA cells and columns ATAC cells, at their
        positions in `mdata.obs_names`.
    `mdata.uns[key_added]`
        `"variant"`: `"given"`.
    `mdata.mod[...].obsm[key_added + "_confidence"]`
        Of both modalities, of shape (n_cells, 1), if `confidence` is given; else these slots are removed.

    Raises
    ------
    KeyError
        A modality, or a cell that a table names, is missing.
    ValueError
        The matrix has another shape or orientation, holds values that are not weights, or has none; confidence is not
        one number in [0, 1] for every cell of both modalities; or `mdata` is a view.

    Example
    -------
    >>> import numpy as np, scdart
    >>> mdata = scdart.datasets.simulate(n_cells=50, n_genes=60, n_peaks=150)
    >>> scdart.pp.set_anchors(mdata, np.eye(50))
    >>> mdata.obsp["anchors"].nnz, mdata.uns["anchors"]["variant"]
    (50, 'given')
    """
    check_options(set_anchors, locals())
    mods = {RNA: rna_mod, ATAC: atac_mod}
    rna, atac = _modalities(mdata, mods, copy=copy)
    weights = _given_weights(matrix, rna, atac)
    trusted = None if confidence is None else _given_confidence(confidence, {RNA: rna, ATAC: atac}, mods)
    target = own_copy(mdata) if copy else mdata
    write_anchors(target, Anchors(weights, trusted, {}, {"variant": "given"}), key_added, mods)
    return target if copy else None


def _given_weights(matrix: Any, rna: AnnData, atac: AnnData) -> sp.csr_matrix:
    if isinstance(matrix, pd.DataFrame):
        for given, adata, axis in ((matrix.index, rna, "rows"), (matrix.columns, atac, "columns")):
            unknown = given.difference(adata.obs_names)
            if len(unknown):
                raise KeyError(
                    f"{len(unknown):,} {axis} of matrix name no {'RNA' if adata is rna else 'ATAC'} cell, such as "
                    f"{unknown[0]!r}: rows are RNA cells, columns ATAC cells, by their obs_names."
                )
        matrix = matrix.reindex(index=rna.obs_names, columns=atac.obs_names, fill_value=0.0).to_numpy()
    weights = sp.csr_matrix(matrix, dtype=np.float64)
    expected = rna.n_obs, atac.n_obs
    if weights.shape != expected:
        hint = " It looks transposed: RNA cells are rows." if weights.shape == expected[::-1] else ""
        raise ValueError(f"matrix has the shape {weights.shape}, not {expected}, RNA cells x ATAC cells.{hint}")
    invalid = ~(np.isfinite(weights.data) & (weights.data >= 0))
    if invalid.any():
        raise ValueError(
            f"matrix holds {invalid.sum():,} values that are negative, NaN or infinite, such as "
            f"{weights.data[invalid][0]}: pass weights >= 0."
        )
    weights.eliminate_zeros()
    if not weights.nnz:
        raise ValueError("matrix is zero everywhere: pass a weight > 0 for cells that correspond.")
    return weights


def _given_confidence(
    confidence: Mapping[str, ArrayLike], adata: Mapping[str, AnnData], mods: Mapping[str, str]
) -> dict[str, np.ndarray]:
    if set(confidence) != set(mods.values()):
        raise ValueError(f"confidence is of {sorted(confidence)}: give it for both of {sorted(mods.values())}.")
    checked = {}
    for role, mod in mods.items():
        values = np.asarray(confidence[mod], dtype=float).ravel()
        if len(values) != adata[role].n_obs:
            raise ValueError(f"confidence[{mod!r}] has {len(values)} values for {adata[role].n_obs} cells.")
        wrong = ~((values >= 0) & (values <= 1))
        if wrong.any():
            raise ValueError(f"confidence[{mod!r}] holds {values[wrong][0]}: give numbers from 0 to 1.")
        checked[role] = values
    return checked


def _modalities(mdata: MuData, mods: Mapping[str, str], *, copy: bool) -> tuple[AnnData, AnnData]:
    check_modalities(mdata, rna_mod=mods[RNA], atac_mod=mods[ATAC])
    check_writable(mdata, copy=copy)
    for name in mods.values():
        check_cell_names(mdata, name)
    return mdata.mod[mods[RNA]], mdata.mod[mods[ATAC]]


def _check_known(pairs: Pairs | None, groups_key: str | None, *, inferred: bool, ordered: bool) -> None:
    if isinstance(pairs, str) and pairs != "obs_names":
        raise ValueError(f"pairs={pairs!r} is not known: pass 'obs_names', or names of RNA and ATAC cells.")
    if pairs is None and not inferred:
        raise ValueError("inferred=False without pairs leaves no anchors: pass pairs, or inferred=True.")
    if groups_key is not None and not inferred:
        raise ValueError(
            f"groups_key={groups_key!r} says where partners are looked for, and inferred=False looks for none: leave "
            "one of them out."
        )
    if ordered and groups_key is None:
        raise ValueError("ordered=True is about the labels of groups_key: name their column.")


def _check_overlap(rna: sp.csr_matrix, atac: sp.csr_matrix, prior: sp.csr_matrix, mods: Mapping[str, str]) -> None:
    open_peaks = atac.getnnz(axis=0).astype(float)
    usable = np.count_nonzero((open_peaks @ prior > 0) & (rna.getnnz(axis=0) > 0))
    if usable < 4:
        raise ValueError(
            f"{usable} genes are expressed in mdata.mod[{mods[RNA]!r}] and linked to an open peak in "
            f"mdata.mod[{mods[ATAC]!r}], too few to infer anchors: check that genes and peaks match the annotation of "
            "the prior, or pass known pairs with inferred=False."
        )

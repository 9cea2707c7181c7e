"""Anchors: which RNA cells and ATAC cells correspond, known or inferred from the gene-activity prior."""

from __future__ import annotations

import logging
import warnings
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import pandas as pd
import scipy.sparse as sp
from scvi import settings
from sklearn.preprocessing import normalize

from scdart._checks import check_modalities, check_writable, checked_prior
from scdart._constants import ANCHORS, ATAC, GENE_ACTIVITY, RNA
from scdart._progress import parts

from ._agreement import Agreement, held_out_agreement
from ._correspondence import (
    VARIANTS,
    Coordinates,
    Evidence,
    column_sums,
    coordinate_variants,
    draw_landmarks,
    override_rows,
    partners,
)
from ._features import log_normalize, modality_counts, tfidf
from ._matching import counterpart_confidence

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from anndata import AnnData
    from mudata import MuData

    from ._correspondence import Landmarks, Variant

    Pairs = Literal["obs_names"] | pd.DataFrame | np.ndarray | Sequence[tuple[str, str]]

logger = logging.getLogger(__name__)

#: RNA cells keep some partners even if ATAC has no such cells.
_MIN_CONFIDENCE = 1e-3

#: Agreement below which the prior is said to carry no signal, in standard deviations of mismatched genes.
_MIN_Z = 3.0


class _Anchors(NamedTuple):
    """Weights, (n_rna, n_atac); confidence of both modalities' cells; and, if inferred, what they come from."""

    weights: sp.csr_matrix
    confidence: dict[str, np.ndarray]
    coordinates: dict[str, np.ndarray]
    summary: dict[str, Any]


def anchors(
    mdata: MuData,
    *,
    pairs: Pairs | None = None,
    inferred: bool = True,
    n_components: int = 10,
    n_neighbors: int = 30,
    refine: Literal["auto"] | bool = "auto",
    prior_key: str = GENE_ACTIVITY,
    rna_mod: str = RNA,
    atac_mod: str = ATAC,
    rna_layer: str | None = None,
    atac_layer: str | None = None,
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
    n_components
        Number of coordinates in which cells are compared.
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
        activity over held-out genes; `"z"`: that of the one that was taken, in standard deviations of mismatched genes.
        `"n_pairs"`: number of known pairs. `"params"`: how it was made.
    `mdata.mod[...].obsm["X_" + key_added]`
        Of both modalities: coordinates in which they were compared. The first n_components columns are directions, rows
        of length 1; when refined, 10 columns of positions follow. Not there without inferred anchors.
    `mdata.mod[...].obsm[key_added + "_confidence"]`
        Of both modalities: confidence in [0, 1] that the other modality has such cells, of shape (n_cells, 1). Cells
        that it lacks, or has in far smaller proportion, are near 0, known cells are 1.

    Raises
    ------
    KeyError
        A modality, a layer, the prior or a cell of `pairs` is missing.
    ValueError
        Counts, prior, pairs or options cannot be used, or no expressed gene has an open peak.

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
    rna, atac = _modalities(mdata, rna_mod, atac_mod, copy=copy)
    _check_options(pairs, inferred, n_components, n_neighbors, refine)
    known = None if pairs is None else _known_pairs(pairs, rna, atac)
    if inferred:
        seed = (settings.seed or 0) if random_state is None else random_state
        rna_counts, atac_counts = (
            modality_counts(mdata, rna_mod, rna_layer),
            modality_counts(mdata, atac_mod, atac_layer),
        )
        prior = checked_prior(rna, atac, prior_key, rna_mod, atac_mod)
        _check_overlap(rna_counts, atac_counts, prior, rna_mod, atac_mod)
        evidence = Evidence(log_normalize(rna_counts), tfidf(atac_counts), prior, known)
        with parts("Anchors", 3) as begin:
            found = _infer(evidence, n_components, n_neighbors, refine, seed, begin)
    else:
        assert known is not None
        found = _known_only(known)

    target = mdata.copy() if copy else mdata
    target.obsp[key_added] = _at_positions(found.weights, target, rna_mod, atac_mod)
    for role, mod in ((RNA, rna_mod), (ATAC, atac_mod)):
        obsm = target.mod[mod].obsm
        obsm[f"{key_added}_confidence"] = found.confidence[role].astype(np.float32)[:, None]
        obsm.pop(f"X_{key_added}", None)
        if found.coordinates:
            obsm[f"X_{key_added}"] = found.coordinates[role].astype(np.float32)
    params = {"inferred": inferred, "n_components": n_components, "n_neighbors": n_neighbors, "prior_key": prior_key}
    n_pairs = 0 if known is None else known.nnz
    target.uns[key_added] = {**found.summary, "n_pairs": n_pairs, "params": {**params, "refine": refine}}
    return target if copy else None


def _infer(
    evidence: Evidence,
    n_components: int,
    n_neighbors: int,
    refine: Literal["auto"] | bool,
    seed: int,
    begin: Callable[[str], None],
) -> _Anchors:
    names = {"auto": VARIANTS, True: ("refined",), False: ("canonical",)}[refine]

    def infer(part: Evidence, landmarks: Landmarks, wanted: Sequence[str], rng: np.random.Generator) -> list[Variant]:
        variants = coordinate_variants(part, landmarks, n_components, n_neighbors, rng, seed)
        # Each is made from those before it, and none after the last that is wanted.
        made = islice(variants, VARIANTS.index(wanted[-1]) + 1)
        return [variant for variant in made if variant.name in wanted]

    def infer_from_part(part: Evidence, rng: np.random.Generator) -> list[Coordinates]:
        return [variant.coordinates for variant in infer(part, draw_landmarks(part, rng, seed), names, rng)]

    begin(f"agreement of held-out genes, {', '.join(names)}")
    rng = np.random.default_rng(seed)
    agreement = dict(zip(names, held_out_agreement(evidence, infer_from_part, n_neighbors, rng), strict=True))
    best = max(agreement, key=lambda name: agreement[name].correlation)
    _report(best, agreement)
    begin(f"{best} coordinates of {evidence.expression.shape[0]:,} RNA and {evidence.weights.shape[0]:,} ATAC cells")
    landmarks = draw_landmarks(evidence, rng, seed)
    [(_, found, learned_from)] = infer(evidence, landmarks, [best], rng)

    begin("partners and confidence")
    # Landmarks that were left out can be nobody's partner: they receive nothing, and there is no confidence in them.
    to_rna, to_atac = partners(found, learned_from, n_neighbors, evidence.known)
    received = {RNA: column_sums(to_atac), ATAC: column_sums(to_rna)}
    confidence = {
        RNA: counterpart_confidence(received[RNA], found.rna, landmarks.own_rna, n_neighbors, landmarks.rna),
        ATAC: counterpart_confidence(received[ATAC], found.atac, landmarks.own_atac, n_neighbors, landmarks.atac),
    }
    # Partners of either modality's choice: every RNA cell has some, whether or not an ATAC cell chose it. Those that
    # ATAC lacks must not crowd out the counterparts of the cell that they chose.
    columns = normalize((to_atac + to_rna.T) @ sp.diags(confidence[RNA].clip(_MIN_CONFIDENCE)), norm="l1")
    if evidence.known is not None:
        confidence[RNA][evidence.known.getnnz(axis=1) > 0] = 1
        confidence[ATAC][evidence.known.getnnz(axis=0) > 0] = 1
        columns = override_rows(columns, evidence.known.T.tocsr())
    summary = {
        "variant": best,
        "agreement": {name: score.correlation for name, score in agreement.items()},
        "z": agreement[best].z,
    }
    weights = (sp.diags(confidence[ATAC]) @ columns).T.tocsr()
    return _Anchors(weights, confidence, {RNA: found.rna, ATAC: found.atac}, summary)


def _report(variant: str, agreement: dict[str, Agreement]) -> None:
    listed = ", ".join(f"{name} {score.correlation:.4f} (z = {score.z:.1f})" for name, score in agreement.items())
    logger.info("Agreement of held-out genes: %s. Taking %s.", listed, variant)
    if agreement[variant].z < _MIN_Z:
        warnings.warn(
            "The gene-activity prior carries no signal, so that inferred anchors are arbitrary: expression that they "
            "transfer to ATAC cells agrees with the activity of held-out genes no better than with that of other genes "
            f"(z = {agreement[variant].z:.1f}). Check that peaks and genes are of the same genome build and "
            "that the prior's columns are in the order of the RNA features, or pass known pairs with inferred=False.",
            UserWarning,
            stacklevel=4,
        )


def _known_only(known: sp.csr_matrix) -> _Anchors:
    confidence = {RNA: known.getnnz(axis=1) > 0, ATAC: known.getnnz(axis=0) > 0}
    return _Anchors(normalize(known, norm="l1", axis=0), confidence, {}, {"variant": "known"})


def _known_pairs(pairs: Pairs, rna: AnnData, atac: AnnData) -> sp.csr_matrix:
    if isinstance(pairs, str):
        shared = rna.obs_names.intersection(atac.obs_names)
        if shared.empty:
            raise ValueError(
                f"pairs='obs_names', but no cell is in both modalities ({rna.obs_names[0]!r}, ... against "
                f"{atac.obs_names[0]!r}, ...): rename the cells, or pass the names of pairs."
            )
        names = np.column_stack([shared, shared])
    else:
        names = np.asarray(pairs, dtype=object)
    if names.ndim != 2 or names.shape[1] != 2 or not len(names):
        raise ValueError(f"pairs has the shape {names.shape}: pass names of an RNA cell and an ATAC cell in each row.")
    rows = []
    for column, adata, what in ((0, rna, "RNA"), (1, atac, "ATAC")):
        row = adata.obs_names.get_indexer(pd.Index(names[:, column].astype(str)))
        if (row < 0).any():
            missing = names[row < 0, column]
            raise KeyError(
                f"{len(missing):,} cells in column {column} of pairs are not in the {what} modality, such as "
                f"{str(missing[0])!r}: pass its obs_names, the RNA cell first."
            )
        rows.append(row)
    known = sp.csr_matrix((np.ones(len(names)), (rows[0], rows[1])), shape=(rna.n_obs, atac.n_obs))
    known.data[:] = 1  # a pair that is listed twice
    return known


def _modalities(mdata: MuData, rna_mod: str, atac_mod: str, *, copy: bool) -> tuple[AnnData, AnnData]:
    check_modalities(mdata, rna_mod=rna_mod, atac_mod=atac_mod)
    check_writable(mdata, copy=copy)
    for name in (rna_mod, atac_mod):
        if not mdata.mod[name].obs_names.is_unique:
            raise ValueError(f"mdata.mod[{name!r}].obs_names must be unique: use obs_names_make_unique().")
    return mdata.mod[rna_mod], mdata.mod[atac_mod]


def _check_options(
    pairs: Pairs | None, inferred: bool, n_components: int, n_neighbors: int, refine: Literal["auto"] | bool
) -> None:
    if isinstance(pairs, str) and pairs != "obs_names":
        raise ValueError(f"pairs={pairs!r} is not known: pass 'obs_names', or names of RNA and ATAC cells.")
    if pairs is None and not inferred:
        raise ValueError("inferred=False without pairs leaves no anchors: pass pairs, or inferred=True.")
    if refine not in ("auto", True, False):
        raise ValueError(f"refine={refine!r} is not known: pass 'auto', True or False.")
    for argument, value in {"n_components": n_components, "n_neighbors": n_neighbors}.items():
        if value < 1:
            raise ValueError(f"{argument}={value} must be at least 1.")


def _check_overlap(rna: sp.csr_matrix, atac: sp.csr_matrix, prior: sp.csr_matrix, rna_mod: str, atac_mod: str) -> None:
    open_peaks = atac.getnnz(axis=0).astype(float)
    usable = np.count_nonzero((open_peaks @ prior > 0) & (rna.getnnz(axis=0) > 0))
    if usable < 4:
        raise ValueError(
            f"{usable} genes are expressed in mdata.mod[{rna_mod!r}] and linked to an open peak in "
            f"mdata.mod[{atac_mod!r}], too few to infer anchors: check that genes and peaks match the annotation of "
            "the prior, or pass known pairs with inferred=False."
        )


def _at_positions(weights: sp.csr_matrix, mdata: MuData, rna_mod: str, atac_mod: str) -> sp.csr_matrix:
    """Move weights between rows of the modalities to positions in `mdata.obs_names`."""
    entries = weights.tocoo()
    position = {}
    for mod in (rna_mod, atac_mod):
        row = mdata.obsmap[mod].astype(np.int64).ravel()
        position[mod] = np.flatnonzero(row)[np.argsort(row[row > 0])]
    return sp.csr_matrix(
        (entries.data.astype(np.float32), (position[rna_mod][entries.row], position[atac_mod][entries.col])),
        shape=(mdata.n_obs, mdata.n_obs),
    )

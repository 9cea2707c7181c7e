"""Factors by which each batch sees each feature, estimated between cells that correspond."""

from __future__ import annotations

import logging
from itertools import combinations
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import scipy.sparse as sp

from scdart._batches import BatchEffects, Batches, batches_of, check_batches, has_factors
from scdart._checks import check_modalities, check_writable
from scdart._constants import ATAC, BATCH_FACTORS, RNA
from scdart._docs import fill_in_docs
from scdart._neighbors import nearest
from scdart._progress import parts
from scdart._random import seed_of

from ._features import accessibility, expression, lsi, modality_counts, pca

if TYPE_CHECKING:
    from collections.abc import Callable

    from mudata import MuData

logger = logging.getLogger(__name__)

#: Most cells of a modality that factors are estimated from: beyond, cost does not grow.
_MAX_CELLS = 20_000

#: Rounds of matching and estimating at the most, and the mean change of log-factors below which they end.
_MAX_ROUNDS = 10
_TOLERANCE = 5e-3

#: Steps in which a variance and the weights that depend on it settle.
_N_VARIANCE_STEPS = 20

#: Added to sums of counts before their logarithm.
_PSEUDOCOUNT = 0.5


@fill_in_docs
def batch_factors(
    mdata: MuData,
    batch_key: str,
    *,
    n_neighbors: int = 20,
    rna_mod: str = RNA,
    atac_mod: str = ATAC,
    rna_layer: str | None = None,
    atac_layer: str | None = None,
    random_state: int | None = None,
    copy: bool = False,
) -> MuData | None:
    r"""Estimate by which factor each batch (donor, lane, laboratory) sees each feature, within each modality.

    Cells of two batches that are among the nearest of one another are taken to correspond. By the ratio of their means,
    each batch's values are scaled; then neighbours are looked for again, until factors no longer change. Means of whole
    batches would push a batch with more of one population onto the others; cells without counterpart in the other
    batch are nobody's nearest, and do not enter.

    What the ratio of a feature tells is weighed against its error: with the error :math:`v_j` of its logarithm
    :math:`r_j` and the variance :math:`s^2` that the ratios of all features have beyond their errors,

    .. math:: \log f_j = \frac{s^2}{s^2 + v_j}\, r_j ,

    so that batches without effect have factors of 1.

    Parameters
    ----------
    mdata
        Annotated data with counts of RNA and ATAC cells.
    batch_key
        Column of `obs` with the batch of each cell, of both modalities, or of one. Batches of a modality are compared
        with each other; those of different modalities are not, whatever they are called.
    n_neighbors
        Nearest cells of another batch among which a cell must be, in either direction.
    %(rna_mod)s
    %(atac_mod)s
    rna_layer
        Layer of the RNA modality with counts; `None` takes `X`.
    atac_layer
        Layer of the ATAC modality with counts, which are binarised; `None` takes `X`.
    random_state
        Seed of the sample of cells where there are many; `None` takes `scvi.settings.seed`, or 0 where there is none.
    %(copy)s

    Returns
    -------
    `None`, or the copy with `copy=True`. Written to each modality with several batches:

    `varm["batch_factors"]`
        What counts of genes, or weights of open peaks, are multiplied by, of shape (n_features, n_batches), float32.
    `uns["batch_factors"]`
        `"batch_key"`; `"batches"`: names of the columns; `"matched"`: share of the cells of each batch that have a
        counterpart in another; `"spread"`: standard deviation of log-factors, about 0 without effect; `"params"`.

    Raises
    ------
    KeyError
        A modality, a layer or the column is missing.
    ValueError
        Counts cannot be used, a cell has no batch, a batch has no more cells than `n_neighbors`, there is a single
        batch, or `mdata` is a view.

    References
    ----------
    Haghverdi et al. (2018), Nature Biotechnology 36:421: mutual nearest neighbours. Besl & McKay (1992), IEEE
    Transactions on Pattern Analysis and Machine Intelligence 14:239: matching and moving in turn.

    Example
    -------
    >>> import numpy as np, scdart
    >>> mdata = scdart.datasets.simulate(n_cells=300, n_genes=200, n_peaks=400, n_batches_rna=2, batch_effect=1.0)
    >>> scdart.pp.batch_factors(mdata, "batch")
    >>> mdata["rna"].varm["batch_factors"].shape, "batch_factors" in mdata["atac"].varm
    ((200, 2), False)
    """
    mods = {RNA: rna_mod, ATAC: atac_mod}
    check_modalities(mdata, rna_mod=rna_mod, atac_mod=atac_mod)
    check_writable(mdata, copy=copy)
    if n_neighbors < 1:
        raise ValueError(f"n_neighbors={n_neighbors} must be at least 1.")
    check_batches(mdata, batch_key, mods, min_cells=n_neighbors + 1)
    found = {mod: batches for mod in mods.values() if (batches := batches_of(mdata.mod[mod], batch_key)) is not None}
    seed, layers, components = seed_of(random_state), {RNA: rna_layer, ATAC: atac_layer}, _components()
    written = {}
    with parts("Batches", len(found)) as begin:
        for role, mod in mods.items():
            if mod not in found:
                continue
            batches = found[mod]
            begin(f"factors of {len(batches.names)} batches of {mod}")
            counts = modality_counts(mdata, mod, layers[role])
            written[mod] = _estimate(counts, batches, components[role], n_neighbors, seed)

    target = mdata.copy() if copy else mdata
    for mod, estimate in written.items():
        names = list(found[mod].names)
        adata = target.mod[mod]
        adata.varm[BATCH_FACTORS] = np.exp(estimate.log_factors.T).astype(np.float32)
        adata.uns[BATCH_FACTORS] = {
            "batch_key": batch_key,
            "batches": names,
            "matched": dict(zip(names, estimate.matched.tolist(), strict=True)),
            "spread": float(estimate.log_factors.std()),
            "params": {"n_neighbors": n_neighbors, "random_state": seed},
        }
        logger.info(
            "Batches of %s: cells with a counterpart %s, spread of log-factors %.2f.",
            mod,
            ", ".join(f"{name} {share:.0%}" for name, share in zip(names, estimate.matched, strict=True)),
            estimate.log_factors.std(),
        )
    return target if copy else None


def ensure_factors(
    mdata: MuData,
    batch_key: str,
    rna_mod: str,
    atac_mod: str,
    rna_layer: str | None,
    atac_layer: str | None,
    seed: int,
) -> None:
    """Write factors unless those of just these batches are there."""
    if not all(has_factors(mdata, mod, batch_key) for mod in (rna_mod, atac_mod)):
        batch_factors(
            mdata,
            batch_key,
            rna_mod=rna_mod,
            atac_mod=atac_mod,
            rna_layer=rna_layer,
            atac_layer=atac_layer,
            random_state=seed,
        )
        return
    check_batches(mdata, batch_key, {RNA: rna_mod, ATAC: atac_mod}, min_cells=1)


class _Kind(NamedTuple):
    """How a modality's counts become values whose means are compared, and components in which cells are."""

    values: Callable[[sp.csr_matrix], sp.csr_matrix]
    components: Callable[[sp.csr_matrix, BatchEffects, int], np.ndarray]


def _components() -> dict[str, _Kind]:
    def of_rna(counts: sp.csr_matrix, effects: BatchEffects, seed: int) -> np.ndarray:
        return pca(expression(counts, effects), random_state=seed)

    def of_atac(counts: sp.csr_matrix, effects: BatchEffects, seed: int) -> np.ndarray:
        return lsi(accessibility(counts, effects), random_state=seed)

    return {
        RNA: _Kind(lambda counts: counts, of_rna),
        ATAC: _Kind(lambda counts: (counts > 0).astype(np.float32), of_atac),
    }


class _Estimate(NamedTuple):
    """Logarithms of factors, (n_batches, n_features), and the share of each batch's cells that are matched."""

    log_factors: np.ndarray
    matched: np.ndarray


def _estimate(counts: sp.csr_matrix, batches: Batches, kind: _Kind, n_neighbors: int, seed: int) -> _Estimate:
    rows = _sample(batches, n_neighbors, np.random.default_rng(seed))
    counts, codes = counts[rows], batches.codes[rows]
    values = kind.values(counts).astype(np.float64)
    depth = np.asarray(values.sum(axis=1)).ravel()
    values = sp.diags(np.median(depth) / depth) @ values
    squares = values.multiply(values).tocsr()
    log_factors = np.zeros((len(batches.names), counts.shape[1]))
    for _ in range(_MAX_ROUNDS):
        z = kind.components(counts, BatchEffects(codes, np.exp(log_factors)), seed)
        before, (log_factors, matched) = log_factors, _from_pairs(z, codes, values, squares, n_neighbors)
        if np.abs(log_factors - before).mean() < _TOLERANCE:
            break
    return _Estimate(log_factors, matched)


def _sample(batches: Batches, n_neighbors: int, rng: np.random.Generator) -> np.ndarray:
    """Rows of at most a number of cells, drawn from each batch alike as far as it has them."""
    rows = [rng.permutation(np.flatnonzero(batches.codes == code)) for code in range(len(batches.names))]
    room = max(_MAX_CELLS // len(rows), n_neighbors + 1)
    return np.sort(np.concatenate([some[:room] for some in rows]))


def _from_pairs(
    z: np.ndarray, codes: np.ndarray, values: sp.csr_matrix, squares: sp.csr_matrix, n_neighbors: int
) -> _Estimate:
    """Log-factors by least squares from the ratios of all pairs of batches."""
    n_batches = codes.max() + 1
    weights, ratios = np.zeros((n_batches, n_batches)), np.zeros((n_batches, values.shape[1]))
    is_matched = np.zeros(len(codes), dtype=bool)
    for pair in combinations(range(n_batches), 2):
        rows = [np.flatnonzero(codes == code) for code in pair]
        shares = _mutual(z[rows[0]], z[rows[1]], n_neighbors)
        n_pairs = shares[0].sum()
        if n_pairs == 0:
            continue
        for own, share in zip(rows, shares, strict=True):
            is_matched[own[share > 0]] = True
        ratio = n_pairs * _log_ratio(
            *((values[own], squares[own], share) for own, share in zip(rows, shares, strict=True))
        )
        one, other = pair
        weights[[one, other], [other, one]] -= n_pairs
        weights[[one, other], [one, other]] += n_pairs
        ratios[one] -= ratio
        ratios[other] += ratio
    matched = np.bincount(codes, is_matched, n_batches) / np.bincount(codes, minlength=n_batches)
    # Only differences between batches are determined: of all solutions, that around zero.
    return _Estimate(np.linalg.pinv(weights) @ ratios, matched)


def _mutual(one: np.ndarray, other: np.ndarray, n_neighbors: int) -> tuple[np.ndarray, np.ndarray]:
    """How much each cell of two batches counts in the comparison: 0 where it is in no pair of mutual neighbours."""

    def links(query: np.ndarray, reference: np.ndarray) -> sp.csr_matrix:
        found = nearest(query, reference, n_neighbors=min(n_neighbors, len(reference)))
        return found.to_csr(np.ones(found.indices.shape), len(reference))

    pairs = links(one, other).multiply(links(other, one).T).tocsr()
    # Cells with many partners must not count for many.
    scale = [sp.diags(1 / np.sqrt(np.maximum(np.asarray(pairs.sum(axis=axis)).ravel(), 1))) for axis in (1, 0)]
    balanced = scale[0] @ pairs @ scale[1]
    return np.asarray(balanced.sum(axis=1)).ravel(), np.asarray(balanced.sum(axis=0)).ravel()


def _log_ratio(*sides: tuple[sp.csr_matrix, sp.csr_matrix, np.ndarray]) -> np.ndarray:
    """Logarithm of the ratio of two weighted means of all features, drawn to zero as far as it is uncertain."""
    logs, errors = [], []
    for values, squares, share in sides:
        total = share @ values
        # Variance of a weighted sum: cells are independent.
        variance = np.maximum(share**2 @ squares - total**2 * (share**2).sum() / share.sum() ** 2, 0)
        # What was never seen may have been missed: as for a Poisson count, its error is about 1.
        variance = np.maximum(variance, total) + _PSEUDOCOUNT
        logs.append(np.log(total + _PSEUDOCOUNT))
        errors.append(variance / (total + _PSEUDOCOUNT) ** 2)
    ratio, error = logs[0] - logs[1], errors[0] + errors[1]
    signal = _variance_beyond(ratio, error)
    return ratio * signal / (signal + error)


def _variance_beyond(values: np.ndarray, error: np.ndarray) -> float:
    """Variance that values around zero have beyond their errors, each counted as far as it is certain."""
    signal = float(np.mean(values**2))
    for _ in range(_N_VARIANCE_STEPS):
        precision = (signal + error) ** -2
        signal = max(float(precision @ (values**2 - error) / precision.sum()), 0.0)
    return signal

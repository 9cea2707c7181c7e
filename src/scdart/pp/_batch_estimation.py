"""By which factors batches of one modality differ, from cells that are mutual nearest neighbours."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import scipy.sparse as sp

from scdart._batches import BatchEffects
from scdart._constants import ATAC, RNA
from scdart._neighbors import nearest

from ._features import accessibility, expression, lsi, pca

if TYPE_CHECKING:
    from collections.abc import Callable

#: Most cells of a modality that factors are estimated from: beyond, cost does not grow.
_MAX_CELLS = 20_000

#: Rounds of matching and estimating at the most, and the mean change of log-factors below which they end.
_MAX_ROUNDS = 10
_TOLERANCE = 5e-3

#: Steps in which a variance and the weights that depend on it settle.
_N_VARIANCE_STEPS = 20

#: Added to sums of counts before their logarithm.
_PSEUDOCOUNT = 0.5


class _Kind(NamedTuple):
    """How a modality's counts become values whose means are compared, and components in which cells are."""

    values: Callable[[sp.csr_matrix], sp.csr_matrix]
    components: Callable[[sp.csr_matrix, BatchEffects, int], np.ndarray]


def _components_of_rna(counts: sp.csr_matrix, effects: BatchEffects, seed: int) -> np.ndarray:
    return pca(expression(counts, effects), random_state=seed)


def _components_of_atac(counts: sp.csr_matrix, effects: BatchEffects, seed: int) -> np.ndarray:
    return lsi(accessibility(counts, effects), random_state=seed)


_KINDS = {
    RNA: _Kind(lambda counts: counts, _components_of_rna),
    ATAC: _Kind(lambda counts: (counts > 0).astype(np.float32), _components_of_atac),
}


class Estimate(NamedTuple):
    """Logarithms of factors, (n_batches, n_features), and the share of each batch's cells that are matched."""

    log_factors: np.ndarray
    matched: np.ndarray


def estimate_factors(
    role: str,
    counts: sp.csr_matrix,
    codes: np.ndarray,
    n_neighbors: int,
    seed: int,
    *,
    held: np.ndarray | None = None,
) -> Estimate:
    """Estimate by which factors the batches of a modality differ.

    Parameters
    ----------
    role
        Which modality it is.
    counts
        Counts of shape (n_cells, n_features), no cell empty.
    codes
        Code of each cell's batch, of shape (n_cells,).
    n_neighbors
        Nearest cells of another batch among which a cell must be, in either direction.
    seed
        Seed of the sample of cells.
    held
        Log-factors of the first batches, of shape (n_held, n_features), which are known and stay as they are.
    """
    kind, n_batches = _KINDS[role], codes.max() + 1
    held = np.zeros((0, counts.shape[1])) if held is None else held
    rows = sample_of_batches(codes, n_neighbors, np.random.default_rng(seed))
    counts, codes = counts[rows], codes[rows]
    values = kind.values(counts).astype(np.float64)
    depth = np.asarray(values.sum(axis=1)).ravel()
    values = sp.diags(np.median(depth) / depth) @ values
    squares = values.multiply(values).tocsr()
    log_factors = np.zeros((n_batches, counts.shape[1]))
    log_factors[: len(held)] = held
    for _ in range(_MAX_ROUNDS):
        z = kind.components(counts, BatchEffects(codes, np.exp(log_factors)), seed)
        before, (log_factors, matched) = log_factors, _from_pairs(z, codes, values, squares, n_neighbors, held)
        if np.abs(log_factors - before).mean() < _TOLERANCE:
            break
    return Estimate(log_factors, matched)


def sample_of_batches(codes: np.ndarray, n_neighbors: int, rng: np.random.Generator) -> np.ndarray:
    """Rows of at most a number of cells, drawn from each batch alike as far as it has them."""
    rows = [rng.permutation(np.flatnonzero(codes == code)) for code in range(codes.max() + 1)]
    room = max(_MAX_CELLS // len(rows), n_neighbors + 1)
    return np.sort(np.concatenate([some[:room] for some in rows]))


def _from_pairs(
    z: np.ndarray, codes: np.ndarray, values: sp.csr_matrix, squares: sp.csr_matrix, n_neighbors: int, held: np.ndarray
) -> Estimate:
    """Log-factors by least squares from the ratios of all pairs of batches, but for those that are held."""
    n_batches = codes.max() + 1
    weights, ratios = np.zeros((n_batches, n_batches)), np.zeros((n_batches, values.shape[1]))
    is_matched = np.zeros(len(codes), dtype=bool)
    for pair in combinations(range(n_batches), 2):
        if max(pair) < len(held):
            continue
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
    # Without any that are held, only differences are determined: of all solutions, that around zero.
    free = slice(len(held), None)
    solved = np.linalg.pinv(weights[free, free]) @ (ratios[free] - weights[free, : len(held)] @ held)
    return Estimate(np.concatenate([held, solved]), matched)


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

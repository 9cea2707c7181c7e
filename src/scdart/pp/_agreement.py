"""Is a correspondence right? Evidence from genes that it was not inferred from, without labels or known pairs."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.special import expit

from ._matching import Related, related_neighbors

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._anchor_settings import AnchorSettings
    from ._correspondence import Coordinates, Evidence


#: Evidence at which a cell's partners are as likely right as not, and over which that changes, from simulated worlds
#: (see the user guide) and from blood cells of lineages that have nothing in common, which reach 3.8.
_EVEN_Z, _Z_WIDTH = 4.2, 2.4


class Agreement(NamedTuple):
    """Evidence for a correspondence from genes that it has not seen.

    Attributes
    ----------
    correlation
        Mean over held-out genes of the correlation between transferred expression and gene activity.
    z
        Standard deviations by which it exceeds what mismatched genes would have.
    """

    correlation: float
    z: float

    @property
    def support(self) -> float:
        """How far the evidence supports that partners are of a cell's kind, in [0, 1]."""
        return float(expit((self.z - _EVEN_Z) / _Z_WIDTH))


def held_out_agreement(
    evidence: Evidence,
    infer: Callable[[Evidence, np.random.Generator], list[Coordinates]],
    settings: AnchorSettings,
    rng: np.random.Generator,
) -> list[Agreement]:
    """Score correspondences without labels or pairs: infer from half of the genes and peaks, test on the other half.

    A peak is used only if none of its genes is held out. The null hypothesis is that a gene's activity goes with the
    transferred expression of that gene no more than with that of another; its mean and variance over all permutations
    of the genes are exact.

    Parameters
    ----------
    evidence
        Data of all genes.
    infer
        Yields the correspondences to compare from part of the data.
    settings
        Partners of an ATAC cell, and on how many cells and genes to score.
    rng
        Source of the halves, and of the sample of cells where there are many.

    References
    ----------
    Hoeffding (1951), "A combinatorial central limit theorem".
    """
    evidence = _sample_cells(evidence, settings.max_scored_cells, rng)
    known, every = evidence.groups, np.arange(evidence.expression.shape[0])
    groups = None if known is None else Related(known.atac, known.rna, known.related)
    linked = np.flatnonzero(evidence.prior.getnnz(axis=0))
    first = rng.permutation(linked)[: len(linked) // 2]
    scores = []
    for held_out in (first, np.setdiff1d(linked, first)):
        kept_genes = np.setdiff1d(np.arange(evidence.prior.shape[1]), held_out)
        kept_peaks = evidence.prior[:, held_out].getnnz(axis=1) == 0
        part = replace(
            evidence,
            expression=evidence.expression[:, kept_genes],
            accessibility=evidence.accessibility[:, kept_peaks],
            prior=evidence.prior[kept_peaks][:, kept_genes],
        )
        detected = np.minimum(
            evidence.expression[:, held_out].getnnz(axis=0),
            (evidence.accessibility @ evidence.prior[:, held_out]).getnnz(axis=0),
        )
        scored = held_out[np.argsort(-detected, kind="stable")[: settings.max_scored_genes]]
        activity = _standardize((evidence.accessibility @ evidence.prior[:, scored]).toarray())
        expression = evidence.expression[:, scored]
        scores.append(
            [
                _cross_correlation_score(
                    _standardize(
                        (related_neighbors(found.atac, found.rna, settings, every, groups) @ expression).toarray()
                    ),
                    activity,
                )
                for found in infer(part, rng)
            ]
        )
    return [_combine(halves) for halves in zip(*scores, strict=True)]


def _sample_cells(evidence: Evidence, n_cells: int, rng: np.random.Generator) -> Evidence:
    rna, atac = (
        np.sort(rng.permutation(n)[:n_cells]) for n in (evidence.expression.shape[0], evidence.accessibility.shape[0])
    )
    return evidence.subset(rna, atac)


def _standardize(values: np.ndarray) -> np.ndarray:
    centred = values - values.mean(axis=0)
    spread = centred.std(axis=0)
    return np.divide(centred, spread, out=np.zeros_like(centred), where=spread > 1e-9)


def _cross_correlation_score(transferred: np.ndarray, activity: np.ndarray) -> tuple[int, float, float, float]:
    """Get number of genes, trace of their cross-correlation, and its mean and variance over permuted genes."""
    correlation = transferred.T @ activity / len(activity)
    n_genes = len(correlation)
    centred = correlation - correlation.mean(axis=0) - correlation.mean(axis=1)[:, None] + correlation.mean()
    return (
        n_genes,
        float(np.trace(correlation)),
        float(correlation.sum() / n_genes),
        float((centred**2).sum() / (n_genes - 1)),
    )


def _combine(halves: tuple[tuple[int, float, float, float], ...]) -> Agreement:
    n_genes, trace, expected, variance = np.sum(halves, axis=0)
    return Agreement(float(trace / n_genes), float((trace - expected) / np.sqrt(max(variance, np.finfo(float).tiny))))

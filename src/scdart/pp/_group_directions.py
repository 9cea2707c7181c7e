"""Directions between known groups: the same question asked of either modality, so that the answers can be compared."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from scdart._ridge import cross_fitted_ridge

from ._correspondence import Coordinates, unit_cells

if TYPE_CHECKING:
    from scdart._chunks import Matrix
    from scdart._groups import Groups

    from ._correspondence import Evidence, Landmarks


def group_directions(evidence: Evidence, landmarks: Landmarks, rng: np.random.Generator) -> Coordinates:
    """Predict the label of every cell from all features of its own modality, by a model that has not seen it.

    Returns
    -------
    Predictions of shape (n_rna, n_questions) and (n_atac, n_questions), centred on the mean over groups, so that their
    sizes play no part. The questions are whether a cell has each label that both modalities have or, of ordered
    labels, whether it has one at least as late.
    """
    groups = evidence.groups
    assert groups is not None
    shared = np.intersect1d(groups.rna[landmarks.rna], groups.atac[landmarks.atac])
    questions = _questions(groups, shared[shared >= 0])
    return Coordinates(
        _predicted(evidence.expression, groups.rna, landmarks.rna, questions, rng),
        _predicted(evidence.accessibility, groups.atac, landmarks.atac, questions, rng),
    )


def with_groups(canonical: Coordinates, between: Coordinates, weight: float) -> Coordinates:
    """Set directions between groups beside the canonical ones, with the same variance times the squared weight."""
    return Coordinates(
        *(
            np.hstack([own, weight * np.sqrt(own.var(axis=0).sum() / max(new.var(axis=0).sum(), 1e-12)) * new])
            for own, new in zip(canonical, between, strict=True)
        )
    )


def _questions(groups: Groups, shared: np.ndarray) -> np.ndarray:
    """Answers by label, of shape (n_labels + 1, n_questions), the last of no label; NaN where a cell is not asked."""
    codes = np.append(np.arange(len(groups.names)), -1)[:, None]
    if len(shared) == 1:  # All other cells are what the one group stands out from.
        return (codes == shared).astype(float)
    answers = (codes >= shared[1:] if groups.ordered else codes == shared).astype(float)
    answers[-1] = np.nan
    if not groups.ordered:
        answers[:-1][~np.isin(codes[:-1, 0], shared)] = np.nan
    return answers


def _predicted(
    features: Matrix, codes: np.ndarray, rows: np.ndarray, questions: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    if not questions.shape[1]:  # no landmark of either modality has a label that the other's have
        return np.empty((features.shape[0], 0))
    answers = questions[codes[rows]]
    asked = np.isfinite(answers).all(axis=1)
    rows, answers = rows[asked], answers[asked]
    _, group, sizes = np.unique(codes[rows], return_inverse=True, return_counts=True)
    weights = 1 / sizes[group]
    predicted = cross_fitted_ridge(unit_cells(features), answers, rows, rng, weights)
    return predicted - (weights / weights.sum()) @ predicted[rows]

"""Coordinates in which RNA and ATAC cells can be compared, from counts and the gene-activity prior alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import scipy.sparse as sp
from sklearn.preprocessing import normalize

from scdart._ridge import cross_fitted_ridge

from ._features import lsi, pca
from ._matching import counterpart_confidence, is_reciprocated, soft_neighbors
from ._positions import Choice, relative_positions, way_graph

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Ways to coordinates, in the order of what they assume.
VARIANTS = ("canonical", "refined", "selected")

#: Principal components of RNA that gene activity is compared with.
_N_PCS = 30

#: Least share of cells that express a gene: variance of 1 would give the noise of rarer ones the weight of signal.
_MIN_DETECTED = 0.005

#: Most standard deviations by which a cell's activity of a gene may exceed what its depth predicts.
_MAX_RESIDUAL = 10.0

#: ATAC cells whose gene activity is written down at a time.
_CHUNK = 4096

#: Most cells of a modality to search for partners and to learn from: beyond, cost is linear in the number of cells.
_MAX_LANDMARKS = 20_000

#: Rounds of refinement: the second still helps, a third no longer does.
_N_ROUNDS = 2

#: Times that landmarks without counterpart are left out, and the least share of landmarks that is worth the work.
_MAX_SELECTIONS = 3
_MIN_LEFT_OUT = 0.02

#: Weight of the prediction from all features against the canonical coordinates.
_PREDICTION_WEIGHT = 2.0

#: Weight of a cell's position in its own modality against the direction that both modalities share.
_POSITION_WEIGHT = 1.4


@dataclass(frozen=True)
class Evidence:
    """What anchors are inferred from.

    Attributes
    ----------
    expression
        Log-normalised expression of shape (n_rna, n_genes).
    weights
        TF-IDF weights of shape (n_atac, n_peaks).
    prior
        Links of shape (n_peaks, n_genes).
    known
        Weights of pairs that are known, of shape (n_rna, n_atac).
    """

    expression: sp.csr_matrix
    weights: sp.csr_matrix
    prior: sp.csr_matrix
    known: sp.csr_matrix | None = None


class Coordinates(NamedTuple):
    """Coordinates that both modalities share, of shape (n_rna, n_components) and (n_atac, n_components)."""

    rna: np.ndarray
    atac: np.ndarray

    def unit(self) -> Coordinates:
        """Scale to length 1: cells are compared by direction."""
        return Coordinates(normalize(self.rna), normalize(self.atac))


class Confidence(NamedTuple):
    """Confidence in [0, 1] that the other modality has such cells, of shape (n_rna,) and (n_atac,)."""

    rna: np.ndarray
    atac: np.ndarray


class Landmarks(NamedTuple):
    """Cells of either modality that others are compared with: all cells, or as many as their structure needs.

    Attributes
    ----------
    rna, atac
        Their rows.
    own_rna, own_atac
        Their coordinates in their own modality, of shape (n_landmarks, n_features).
    """

    rna: np.ndarray
    atac: np.ndarray
    own_rna: np.ndarray
    own_atac: np.ndarray

    @property
    def n_cells(self) -> int:
        """Landmarks of both modalities."""
        return len(self.rna) + len(self.atac)


class Variant(NamedTuple):
    """One way to coordinates.

    Attributes
    ----------
    name
        What it is called.
    coordinates
        Of all cells.
    landmarks
        Cells that it is learned from, which can be partners.
    """

    name: str
    coordinates: Coordinates
    landmarks: Landmarks


def draw_landmarks(evidence: Evidence, rng: np.random.Generator, random_state: int) -> Landmarks:
    """Draw cells of either modality at random, and place them in their own modality."""
    n_rna, n_atac = evidence.expression.shape[0], evidence.weights.shape[0]
    rna, atac = (np.sort(rng.permutation(n)[:_MAX_LANDMARKS]) for n in (n_rna, n_atac))
    own_rna = pca(evidence.expression[rna], random_state=random_state)
    return Landmarks(rna, atac, own_rna, lsi(evidence.weights[atac], random_state=random_state))


class Similarity(NamedTuple):
    r"""Similarity of RNA and ATAC cells in the genes that they share, as a product of thin matrices.

    With :math:`X \approx Q B` the leading principal components of z-scored expression and :math:`Y` the residuals of
    gene activity, the similarity is :math:`Q (B Y^\top)`. Only :math:`B Y^\top`, components x ATAC cells, is ever
    written down.

    Attributes
    ----------
    basis
        :math:`Q` of shape (n_rna, n_pcs).
    products
        :math:`B Y^\top` of shape (n_pcs, n_atac).
    """

    basis: np.ndarray
    products: np.ndarray

    def centred(self, landmarks: Landmarks) -> Similarity:
        """Compare with what is usual for landmarks, rather than for all cells."""
        basis = self.basis - self.basis[landmarks.rna].mean(axis=0)
        return Similarity(basis, self.products - self.products[:, landmarks.atac].mean(axis=1, keepdims=True))

    def coordinates(self, landmarks: Landmarks, n_components: int) -> Coordinates:
        r"""Place all cells along the directions in which landmarks are similar across modalities.

        Of the landmarks' similarity, the leading singular vectors are taken; the similarity of a cell to them, over the
        square root of the singular values, are its canonical coordinates.
        """
        _, r = np.linalg.qr(self.basis[landmarks.rna])
        u, s, vt = np.linalg.svd(r @ self.products[:, landmarks.atac], full_matrices=False)
        u, v = u[:, :n_components], vt[:n_components].T
        # Directions that few genes leave empty must not become noise of any size.
        scale = np.sqrt(np.maximum(s[:n_components], np.finfo(float).eps * s[0]))
        return Coordinates(
            self.basis @ (self.products[:, landmarks.atac] @ v) / scale, self.products.T @ (r.T @ u) / scale
        )


def similarity(evidence: Evidence, random_state: int) -> Similarity:
    """Compare cells across modalities by the genes they share."""
    scaled = _unit_variance(evidence.expression)
    components = pca(scaled, min(_N_PCS, min(scaled.shape) - 1), random_state=random_state)
    lengths = np.linalg.norm(components, axis=0)
    basis = components[:, lengths > 1e-6 * lengths.max()]
    basis = basis / np.linalg.norm(basis, axis=0)
    return Similarity(basis, _activity_products(evidence, (scaled.T @ basis).T))


def coordinate_variants(
    evidence: Evidence,
    landmarks: Landmarks,
    n_components: int,
    n_neighbors: int,
    rng: np.random.Generator,
    random_state: int,
) -> Iterator[Variant]:
    """Yield coordinates by name, each with the landmarks it is learned from: the later, the more they assume.

    ``canonical`` are from linked peaks and genes alone, ``refined`` from all; ``selected`` are refined, but learned
    from cells that have a counterpart. Landmarks whose partners do not lead back to them are left out and all is
    learned anew from the others, until few are left out.
    """
    similar = similarity(evidence, random_state)
    canonical = similar.coordinates(landmarks, n_components)
    yield Variant("canonical", canonical.unit(), landmarks)
    refined = refined_coordinates(evidence, canonical, landmarks, _N_ROUNDS, n_neighbors, rng)
    yield Variant("refined", refined, landmarks)
    for _ in range(_MAX_SELECTIONS):
        selected = _with_counterpart(evidence, refined, landmarks, n_neighbors)
        if selected.n_cells > (1 - _MIN_LEFT_OUT) * landmarks.n_cells:
            break
        landmarks = selected
        canonical = similar.centred(landmarks).coordinates(landmarks, n_components)
        refined = refined_coordinates(evidence, canonical, landmarks, _N_ROUNDS, n_neighbors, rng)
    yield Variant("selected", refined, landmarks)


def _with_counterpart(
    evidence: Evidence, coordinates: Coordinates, landmarks: Landmarks, n_neighbors: int
) -> Landmarks:
    to_rna, to_atac = partners(coordinates, landmarks, n_neighbors, evidence.known, queries=landmarks)
    to_rna, to_atac = to_rna[:, landmarks.atac], to_atac[:, landmarks.rna]
    rna = is_reciprocated(to_rna, to_atac, landmarks.own_rna, n_neighbors)
    atac = is_reciprocated(to_atac, to_rna, landmarks.own_atac, n_neighbors)
    return Landmarks(landmarks.rna[rna], landmarks.atac[atac], landmarks.own_rna[rna], landmarks.own_atac[atac])


def refined_coordinates(
    evidence: Evidence,
    canonical: Coordinates,
    landmarks: Landmarks,
    n_rounds: int,
    n_neighbors: int,
    rng: np.random.Generator,
) -> Coordinates:
    """Sharpen coordinates by all peaks and genes, also those without link.

    In each round, landmarks take the mean coordinates of their partners in the other modality, ridge regression learns
    to predict these from all features of the cell's own modality, and what it predicts for cells that it was not fitted
    to is added to the canonical coordinates, each component as far as it can be predicted. Positions of cells within
    their own modality are predicted likewise, and stand beside these directions: a cell and its partner must look alike
    and lie in the same place.

    Cells count by the confidence that they have a counterpart, in the regression and in the mean that becomes the
    origin: a population that one modality lacks must neither be fitted to its nearest neighbours in the other, nor
    move the point from which directions are seen.
    """
    expression, weights = normalize(evidence.expression), normalize(evidence.weights)
    ways = way_graph(landmarks.own_rna), way_graph(landmarks.own_atac)
    refined, n_components = canonical.unit(), canonical.rna.shape[1]
    for _ in range(n_rounds):
        to_rna, to_atac = partners(refined, landmarks, n_neighbors, evidence.known, queries=landmarks)
        confidence = landmark_confidence(refined, to_rna, to_atac, landmarks, n_neighbors)
        chosen_by_rna = Choice(to_rna[:, landmarks.atac], confidence.rna)
        chosen_by_atac = Choice(to_atac[:, landmarks.rna], confidence.atac)
        near = relative_positions(*ways, chosen_by_rna, chosen_by_atac, rng)
        matched = to_rna @ refined.atac[:, :n_components], to_atac @ refined.rna[:, :n_components]
        refined = Coordinates(
            _learned(canonical.rna, expression, matched[0], near[0], landmarks.rna, confidence.rna, rng),
            _learned(canonical.atac, weights, matched[1], near[1], landmarks.atac, confidence.atac, rng),
        )
    return refined


def partners(
    coordinates: Coordinates,
    landmarks: Landmarks,
    n_neighbors: int,
    known: sp.csr_matrix | None = None,
    *,
    queries: Landmarks | None = None,
) -> tuple[sp.csr_matrix, sp.csr_matrix]:
    """Weigh partners of either modality's cells, landmarks of the other modality or known.

    Returns
    -------
    Weights of shape (n_rna, n_atac) and (n_atac, n_rna), or of the rows of `queries`; rows sum to 1.
    """
    rna, atac = (slice(None), slice(None)) if queries is None else (queries.rna, queries.atac)
    to_rna = soft_neighbors(coordinates.rna[rna], coordinates.atac, n_neighbors, landmarks.atac)
    to_atac = soft_neighbors(coordinates.atac[atac], coordinates.rna, n_neighbors, landmarks.rna)
    if known is None:
        return to_rna, to_atac
    return override_rows(to_rna, known[rna]), override_rows(to_atac, known.T.tocsr()[atac])


def landmark_confidence(
    coordinates: Coordinates, to_rna: sp.csr_matrix, to_atac: sp.csr_matrix, landmarks: Landmarks, n_neighbors: int
) -> Confidence:
    """How far landmarks have counterparts, judged by who chose them as partners."""
    return Confidence(
        counterpart_confidence(
            column_sums(to_atac)[landmarks.rna], coordinates.rna[landmarks.rna], landmarks.own_rna, n_neighbors
        ),
        counterpart_confidence(
            column_sums(to_rna)[landmarks.atac], coordinates.atac[landmarks.atac], landmarks.own_atac, n_neighbors
        ),
    )


def column_sums(matrix: sp.csr_matrix) -> np.ndarray:
    """Sum over rows, as an array."""
    return np.asarray(matrix.sum(axis=0)).ravel()


def override_rows(weights: sp.csr_matrix, known: sp.csr_matrix) -> sp.csr_matrix:
    """Replace the rows of `weights` that have entries in `known` by these, scaled to sum to 1."""
    inferred = np.diff(known.indptr) == 0
    return (sp.diags(inferred.astype(float)) @ weights + normalize(known, norm="l1")).tocsr()


def _unit_variance(expression: sp.csr_matrix) -> sp.csr_matrix:
    mean = np.asarray(expression.mean(axis=0)).ravel()
    variance = np.asarray(expression.multiply(expression).mean(axis=0)).ravel() - mean**2
    detected = np.asarray((expression > 0).mean(axis=0)).ravel()
    used = (variance > 1e-9) & (detected >= _MIN_DETECTED)
    scale = np.divide(1.0, np.sqrt(variance.clip(0)), out=np.zeros_like(variance), where=used)
    return (expression @ sp.diags(scale)).tocsr()


def _activity_products(evidence: Evidence, loadings: np.ndarray) -> np.ndarray:
    r"""Products of loadings, (n_pcs, n_genes), with residual gene activity, (n_atac, n_genes).

    The residuals are those of correspondence analysis, :math:`(C - e) / \sqrt e` with `e` the activity that depth of
    the cell and mean of the gene predict, which is sparse minus a matrix of rank one.
    """
    weights, prior = evidence.weights, evidence.prior
    per_cell = np.sqrt(weights @ np.asarray(prior.sum(axis=1)).ravel())
    per_gene = column_sums(weights) @ prior
    per_gene = np.sqrt(per_gene / per_gene.sum())
    products = -np.outer(loadings @ per_gene, per_cell)
    for start in range(0, weights.shape[0], _CHUNK):
        activity = (weights[start : start + _CHUNK] @ prior).tocsr()
        expected = np.repeat(per_cell[start : start + _CHUNK], np.diff(activity.indptr)) * per_gene[activity.indices]
        activity.data = np.minimum(activity.data / expected, _MAX_RESIDUAL + expected)
        products[:, start : start + _CHUNK] += (activity @ loadings.T).T
    return products


def _learned(
    canonical: np.ndarray,
    features: sp.csr_matrix,
    matched: np.ndarray,
    positions: np.ndarray,
    rows: np.ndarray,
    confidence: np.ndarray,
    rng: np.random.Generator,
) -> np.ndarray:
    """Directions and positions of all cells of a modality, from those of the landmarks in `rows`."""
    targets = np.hstack([matched, positions])
    predicted = cross_fitted_ridge(features, targets, rows, rng, confidence)
    n_directions = matched.shape[1]
    directions = _sharpened(canonical, predicted[:, :n_directions], matched, rows, confidence)
    return np.hstack([directions, _POSITION_WEIGHT * _unshrunk(predicted[:, n_directions:], positions, rows)])


def _sharpened(
    canonical: np.ndarray, predicted: np.ndarray, targets: np.ndarray, rows: np.ndarray, confidence: np.ndarray
) -> np.ndarray:
    share = confidence / confidence.sum()
    canonical = normalize(canonical - share @ canonical[rows])
    predicted = predicted - share @ predicted[rows]
    targets = targets - share @ targets
    spread = np.sqrt(share @ predicted[rows] ** 2).clip(np.finfo(float).tiny)
    # Ridge shrinks the components that are hard to predict, and the mean over partners those that are hard to match:
    # both are undone, up to the share of the target's variance that was predicted.
    covariance = share @ (predicted[rows] * targets)
    correlation = covariance / (spread * np.sqrt(share @ targets**2)).clip(np.finfo(float).tiny)
    predicted *= canonical.std(axis=0) / spread * correlation.clip(0) ** 2
    return normalize(canonical + _PREDICTION_WEIGHT * normalize(predicted))


def _unshrunk(predicted: np.ndarray, targets: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Predictions on the scale of their targets: ridge shrinks those of one modality more than the other's."""
    centre = predicted[rows].mean(axis=0)
    centred = predicted[rows] - centre
    slope = (centred * targets).sum() / max((centred**2).sum(), np.finfo(float).tiny)
    return (predicted - centre) * slope + targets.mean(axis=0)

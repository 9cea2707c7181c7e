"""Coordinates in which RNA and ATAC cells can be compared, from counts and the gene-activity prior alone."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import scipy.sparse as sp
from sklearn.preprocessing import normalize

from scdart._chunks import mapped, transformed
from scdart._ridge import cross_fitted_ridge

from ._features import lsi, pca
from ._matching import Related, counterpart_confidence, drawn_by_label, related_neighbors
from ._positions import Partners, knn_graph, relative_positions

if TYPE_CHECKING:
    from scdart._chunks import Matrix, Rows
    from scdart._groups import Groups

    from ._anchor_settings import AnchorSettings

logger = logging.getLogger(__name__)

#: ATAC cells whose gene activity is written down at a time.
_CHUNK = 4096


@dataclass(frozen=True)
class Evidence:
    """What anchors are inferred from.

    Attributes
    ----------
    expression
        Log-normalised expression of shape (n_rna, n_genes).
    accessibility
        TF-IDF weights of shape (n_atac, n_peaks).
    prior
        Links of shape (n_peaks, n_genes).
    known
        Weights of pairs that are known, of shape (n_rna, n_atac).
    groups
        Labels of cells: partners of a labelled cell have a label that goes with its own.
    """

    expression: Matrix
    accessibility: Matrix
    prior: sp.csr_matrix
    known: sp.csr_matrix | None = None
    groups: Groups | None = None

    def subset(self, rna: np.ndarray, atac: np.ndarray) -> Evidence:
        """Keep some cells of either modality, in memory."""
        return replace(
            self,
            expression=self.expression[rna],
            accessibility=self.accessibility[atac],
            known=None if self.known is None else self.known[rna][:, atac],
            groups=None if self.groups is None else self.groups.subset(rna, atac),
        )


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


def draw_landmarks(evidence: Evidence, settings: AnchorSettings, rng: np.random.Generator) -> Landmarks:
    """Draw cells of either modality at random, of those that can have a counterpart, and place them in their own."""
    n_rna, n_atac = evidence.expression.shape[0], evidence.accessibility.shape[0]
    able = [np.arange(n_rna), np.arange(n_atac)]
    if evidence.groups is not None:
        able = [np.flatnonzero(has) for has in evidence.groups.has_counterpart()]
    rna, atac = (np.sort(rng.permutation(rows)[: settings.max_landmarks]) for rows in able)
    own_rna = pca(evidence.expression[rna], random_state=settings.random_state)
    return Landmarks(rna, atac, own_rna, lsi(evidence.accessibility[atac], random_state=settings.random_state))


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


def similarity(evidence: Evidence, settings: AnchorSettings) -> Similarity:
    """Compare cells across modalities by the genes they share."""
    scaled = _unit_variance(evidence.expression, settings.min_detected)
    components = pca(scaled, min(settings.n_pcs, min(scaled.shape) - 1), random_state=settings.random_state)
    lengths = np.linalg.norm(components, axis=0)
    basis = components[:, lengths > 1e-6 * lengths.max()]
    basis = basis / np.linalg.norm(basis, axis=0)
    return Similarity(basis, _activity_products(evidence, (scaled.T @ basis).T, settings.max_residual))


def refined_coordinates(
    evidence: Evidence,
    canonical: Coordinates,
    landmarks: Landmarks,
    settings: AnchorSettings,
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
    expression, accessibility = unit_cells(evidence.expression), unit_cells(evidence.accessibility)
    rna_graph = knn_graph(landmarks.own_rna, settings.n_geodesic_neighbors)
    atac_graph = knn_graph(landmarks.own_atac, settings.n_geodesic_neighbors)
    refined, n_components = canonical.unit(), canonical.rna.shape[1]
    for _ in range(settings.n_rounds):
        atac_of_rna, rna_of_atac = partners(refined, landmarks, settings, evidence, queries=landmarks)
        confidence = landmark_confidence(refined, atac_of_rna, rna_of_atac, landmarks, settings)
        if not (confidence.rna.any() and confidence.atac.any()):
            logger.info("No cell has a counterpart to learn from: coordinates are not refined further.")
            break
        near = relative_positions(
            rna_graph,
            atac_graph,
            Partners(atac_of_rna[:, landmarks.atac], confidence.rna),
            Partners(rna_of_atac[:, landmarks.rna], confidence.atac),
            settings,
            rng,
        )
        refined = Coordinates(
            _learned(
                canonical.rna,
                expression,
                _Targets(atac_of_rna @ refined.atac[:, :n_components], near[0], landmarks.rna, confidence.rna),
                settings,
                rng,
            ),
            _learned(
                canonical.atac,
                accessibility,
                _Targets(rna_of_atac @ refined.rna[:, :n_components], near[1], landmarks.atac, confidence.atac),
                settings,
                rng,
            ),
        )
    return refined


def partners(
    coordinates: Coordinates,
    landmarks: Landmarks,
    settings: AnchorSettings,
    evidence: Evidence,
    *,
    queries: Landmarks | None = None,
) -> tuple[sp.csr_matrix, sp.csr_matrix]:
    """Weigh partners of either modality's cells: landmarks of the other modality with a label that goes, or known.

    Returns
    -------
    ATAC partners of RNA cells, of shape (n_rna, n_atac), and RNA partners of ATAC cells, of shape (n_atac, n_rna), or
    those of the rows of `queries`; rows sum to 1, or to 0 where no landmark can be a partner.
    """
    rna, atac = (slice(None), slice(None)) if queries is None else (queries.rna, queries.atac)
    known, groups = evidence.known, evidence.groups
    forth = None if groups is None else Related(groups.rna[rna], groups.atac, groups.related)
    back = None if groups is None else Related(groups.atac[atac], groups.rna, groups.related)
    atac_of_rna = related_neighbors(coordinates.rna[rna], coordinates.atac, settings, landmarks.atac, forth)
    rna_of_atac = related_neighbors(coordinates.atac[atac], coordinates.rna, settings, landmarks.rna, back)
    if known is None:
        return atac_of_rna, rna_of_atac
    return override_rows(atac_of_rna, known[rna]), override_rows(rna_of_atac, known.T.tocsr()[atac])


def leaning_on_labels(
    near: tuple[sp.csr_matrix, sp.csr_matrix],
    trust: float,
    landmarks: Landmarks,
    settings: AnchorSettings,
    evidence: Evidence,
    rng: np.random.Generator,
) -> tuple[sp.csr_matrix, sp.csr_matrix]:
    """Replace partners by any of the same label, but for the share in which the nearest are trusted.

    Cells that are near by chance are worse partners than random ones of the right label: they lead cells of one label
    away from each other, in directions that mean nothing. Known partners stay.
    """
    groups, known = evidence.groups, evidence.known
    assert groups is not None
    codes, rows = (groups.rna, groups.atac), (landmarks.rna, landmarks.atac)
    paired = [0, 0] if known is None else [known.getnnz(axis=1), known.getnnz(axis=0)]
    mixed = []
    for weights, own, other in ((near[0], 0, 1), (near[1], 1, 0)):
        related = Related(codes[own], codes[other], groups.related)
        drawn = drawn_by_label(related, rows[other], settings.n_drawn, rng)
        share = np.where((drawn.getnnz(axis=1) > 0) & (paired[own] == 0), trust, 1.0)
        mixed.append((sp.diags(share) @ weights + sp.diags(1 - share) @ drawn).tocsr())
    return mixed[0], mixed[1]


def landmark_confidence(
    coordinates: Coordinates,
    atac_of_rna: sp.csr_matrix,
    rna_of_atac: sp.csr_matrix,
    landmarks: Landmarks,
    settings: AnchorSettings,
) -> Confidence:
    """How far landmarks have counterparts, judged by who chose them as partners."""
    return Confidence(
        counterpart_confidence(
            column_sums(rna_of_atac)[landmarks.rna], coordinates.rna[landmarks.rna], landmarks.own_rna, settings
        ),
        counterpart_confidence(
            column_sums(atac_of_rna)[landmarks.atac], coordinates.atac[landmarks.atac], landmarks.own_atac, settings
        ),
    )


def unit_cells(features: Matrix) -> Matrix:
    """Scale every cell to length 1."""
    return transformed(features, lambda chunk, rows: normalize(chunk))


def column_sums(matrix: Matrix) -> np.ndarray:
    """Sum over rows, as an array."""
    return np.asarray(matrix.sum(axis=0)).ravel()


def override_rows(weights: sp.csr_matrix, known: sp.csr_matrix) -> sp.csr_matrix:
    """Replace the rows of `weights` that have entries in `known` by these, scaled to sum to 1."""
    inferred = np.diff(known.indptr) == 0
    return (sp.diags(inferred.astype(float)) @ weights + normalize(known, norm="l1")).tocsr()


def _unit_variance(expression: Matrix, min_detected: float) -> Matrix:
    squares = transformed(expression, lambda chunk, rows: chunk.multiply(chunk))
    expressed = transformed(expression, lambda chunk, rows: chunk > 0)
    mean, mean_square, detected = (np.asarray(each.mean(axis=0)).ravel() for each in (expression, squares, expressed))
    variance = mean_square - mean**2
    used = (variance > 1e-9) & (detected >= min_detected)
    scale = np.divide(1.0, np.sqrt(variance.clip(0)), out=np.zeros_like(variance), where=used)
    return transformed(expression, lambda chunk, rows: (chunk @ sp.diags(scale)).tocsr())


def _activity_products(evidence: Evidence, loadings: np.ndarray, max_residual: float) -> np.ndarray:
    r"""Products of loadings, (n_pcs, n_genes), with residual gene activity, (n_atac, n_genes).

    The residuals are those of correspondence analysis, :math:`(C - e) / \sqrt e` with `e` the activity that depth of
    the cell and mean of the gene predict, which is sparse minus a matrix of rank one.
    """
    accessibility, prior = evidence.accessibility, evidence.prior
    per_cell = np.sqrt(accessibility @ np.asarray(prior.sum(axis=1)).ravel())
    per_gene = column_sums(accessibility) @ prior
    per_gene = np.sqrt(per_gene / per_gene.sum())

    def without_expected(chunk: sp.csr_matrix, rows: Rows) -> np.ndarray:
        activity = (chunk @ prior).tocsr()
        expected = np.repeat(per_cell[rows], np.diff(activity.indptr)) * per_gene[activity.indices]
        activity.data = np.minimum(activity.data / expected, max_residual + expected)
        return activity @ loadings.T

    products = -np.outer(loadings @ per_gene, per_cell)
    products += mapped(accessibility, without_expected, _CHUNK).T
    return products


class _Targets(NamedTuple):
    """Directions and positions that some cells of a modality should have, their rows, and how much they count."""

    directions: np.ndarray
    positions: np.ndarray
    rows: np.ndarray
    confidence: np.ndarray


def _learned(
    canonical: np.ndarray,
    features: Matrix,
    targets: _Targets,
    settings: AnchorSettings,
    rng: np.random.Generator,
) -> np.ndarray:
    """Directions and positions of all cells of a modality, from those of some."""
    wanted = np.hstack([targets.directions, targets.positions])
    predicted = cross_fitted_ridge(features, wanted, targets.rows, rng, targets.confidence)
    n_directions = targets.directions.shape[1]
    directions = _sharpened(canonical, predicted[:, :n_directions], targets, settings.prediction_weight)
    positions = _unshrunk(predicted[:, n_directions:], targets)
    return np.hstack([directions, settings.position_weight * positions])


def _sharpened(canonical: np.ndarray, predicted: np.ndarray, targets: _Targets, prediction_weight: float) -> np.ndarray:
    rows, share = targets.rows, targets.confidence / targets.confidence.sum()
    canonical = normalize(canonical - share @ canonical[rows])
    predicted = predicted - share @ predicted[rows]
    wanted = targets.directions - share @ targets.directions
    spread = np.sqrt(share @ predicted[rows] ** 2).clip(np.finfo(float).tiny)
    # Ridge shrinks the components that are hard to predict, and the mean over partners those that are hard to match:
    # both are undone, up to the share of the target's variance that was predicted.
    covariance = share @ (predicted[rows] * wanted)
    correlation = covariance / (spread * np.sqrt(share @ wanted**2)).clip(np.finfo(float).tiny)
    predicted *= canonical.std(axis=0) / spread * correlation.clip(0) ** 2
    return normalize(canonical + prediction_weight * normalize(predicted))


def _unshrunk(predicted: np.ndarray, targets: _Targets) -> np.ndarray:
    """Predicted positions on the scale of their targets: ridge shrinks one modality's more than the other's."""
    centre = predicted[targets.rows].mean(axis=0)
    centred = predicted[targets.rows] - centre
    slope = (centred * targets.positions).sum() / max((centred**2).sum(), np.finfo(float).tiny)
    return (predicted - centre) * slope + targets.positions.mean(axis=0)

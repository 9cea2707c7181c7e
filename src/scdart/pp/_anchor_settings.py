"""What inferred anchors depend on beside the data, in one place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class AnchorSettings:
    """Settings of the inference of anchors.

    Attributes
    ----------
    n_components
        Directions in which cells are compared.
    n_neighbors
        Partners of a cell, and neighbours to average over.
    refine
        Whether to sharpen the canonical correlation; ``"auto"`` lets held-out genes decide.
    random_state
        Seed of all draws.
    n_pcs
        Principal components of RNA that gene activity is compared with.
    min_detected
        Least share of cells that express a gene: variance of 1 would give the noise of rarer ones the weight of signal.
    max_residual
        Most standard deviations by which a cell's activity of a gene may exceed what its depth predicts.
    max_landmarks
        Most cells of a modality to search for partners and to learn from: beyond, cost is linear in the number of
        cells.
    n_rounds
        Rounds of refinement: the second still helps, a third no longer does.
    max_selections, min_left_out
        Times that landmarks without counterpart are left out, and the least share of landmarks that is worth the work.
    prediction_weight
        Weight of the prediction from all features against the canonical coordinates.
    group_weight
        Weight of directions between known groups against the canonical coordinates.
    n_drawn
        Cells of the same label that are drawn in place of partners that are not trusted.
    position_weight
        Weight of a cell's position in its own modality against the direction that both modalities share.
    n_geodesic_neighbors
        Neighbours that the shortest path between two cells can lead over.
    n_milestones
        Pairs of partners that paths lead to, from either modality's choice.
    trust_power
        Power of the confidence in a cell and its partners with which milestones are drawn.
    n_position_components
        Principal components of the positions: a tree needs few.
    bandwidth
        Width of the Gaussian weights of neighbours, in units of the distance to the furthest of them.
    hub_quantile
        Quantile at which the received mass of single cells is cut: hubs would lend their confidence to all around them.
    nearby
        Share of the cells of a modality that are near a cell of it.
    min_returns
        Least share of round trips that return, in units of what is typical, of cells that have a counterpart.
    min_confidence
        Least weight of an RNA cell among the partners of ATAC cells: it keeps some even if ATAC has no such cells.
    max_scored_cells, max_scored_genes
        Most cells of either modality, and most genes of either half, on which agreement is scored.
    """

    n_components: int = 10
    n_neighbors: int = 30
    refine: Literal["auto"] | bool = "auto"
    random_state: int = 0
    n_pcs: int = 30
    min_detected: float = 0.005
    max_residual: float = 10.0
    max_landmarks: int = 20_000
    n_rounds: int = 2
    max_selections: int = 3
    min_left_out: float = 0.02
    prediction_weight: float = 2.0
    group_weight: float = 0.5
    n_drawn: int = 10
    position_weight: float = 1.4
    n_geodesic_neighbors: int = 15
    n_milestones: int = 50
    trust_power: int = 4
    n_position_components: int = 10
    bandwidth: float = 0.5
    hub_quantile: float = 0.95
    nearby: float = 0.05
    min_returns: float = 0.5
    min_confidence: float = 1e-3
    max_scored_cells: int = 5000
    max_scored_genes: int = 1000

"""Soft nearest neighbours between two clouds of cells, and how much of either cloud has a counterpart."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import scipy.sparse as sp
from sklearn.metrics import pairwise_distances_chunked

from scdart._neighbors import nearest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ._anchor_settings import AnchorSettings

#: MiB of distances that are held at a time.
_WORKING_MEMORY = 64


class Related(NamedTuple):
    """Labels of the cells on both sides of a search, negative where there is none, and which labels go together."""

    query: np.ndarray
    reference: np.ndarray
    related: np.ndarray


def soft_neighbors(
    query: np.ndarray, reference: np.ndarray, settings: AnchorSettings, candidates: np.ndarray | None = None
) -> sp.csr_matrix:
    r"""Weigh the nearest reference cells of every query cell.

    .. math:: w_{ij} \propto \exp\Bigl(-\tfrac12 \bigl(d_{ij} / b\, d_{i,\max}\bigr)^2\Bigr)

    with :math:`d_{i,\max}` the distance to the furthest of the neighbours and the bandwidth :math:`b` of the settings.

    Parameters
    ----------
    query
        Coordinates of shape (n_query, n_components).
    reference
        Coordinates of shape (n_reference, n_components).
    settings
        Neighbours of a cell (all candidates where there are fewer), and the bandwidth.
    candidates
        Rows of `reference` that can be neighbours; by default all. Cost is their number times that of query cells.

    Returns
    -------
    Weights of shape (n_query, n_reference), rows sum to 1.
    """
    candidates = np.arange(len(reference)) if candidates is None else candidates
    n_neighbors = min(settings.n_neighbors, len(candidates))
    # Trees are slower than comparing all: cells of a type are about equally far from each other.
    found = nearest(query, reference[candidates], n_neighbors=n_neighbors)
    found = found._replace(indices=candidates[found.indices])
    return found.weights(lambda relative: np.exp(-0.5 * (relative / settings.bandwidth) ** 2), len(reference))


def related_neighbors(
    query: np.ndarray,
    reference: np.ndarray,
    settings: AnchorSettings,
    candidates: np.ndarray,
    groups: Related | None,
) -> sp.csr_matrix:
    """Weigh the nearest reference cells whose label goes with that of the query cell.

    Parameters
    ----------
    query, reference, settings, candidates
        As of :func:`soft_neighbors`.
    groups
        Labels of query and reference cells; by default all go together.

    Returns
    -------
    Weights of shape (n_query, n_reference), rows sum to 1, or to 0 where no candidate has such a label.
    """
    if groups is None:
        return soft_neighbors(query, reference, settings, candidates)
    parts, rows = [], []
    for members, able in _by_label(groups, candidates):
        if len(able):
            parts.append(soft_neighbors(query[members], reference, settings, able))
        else:
            parts.append(sp.csr_matrix((len(members), len(reference))))
        rows.append(members)
    return sp.vstack(parts, format="csr")[np.argsort(np.concatenate(rows))]


def drawn_by_label(groups: Related, candidates: np.ndarray, n_drawn: int, rng: np.random.Generator) -> sp.csr_matrix:
    """Draw reference cells at random among those whose label goes with that of the query cell.

    Returns
    -------
    Weights of shape (n_query, n_reference), rows sum to 1, or to 0 where a cell has no label or no such candidates.
    """
    shape = len(groups.query), len(groups.reference)
    drawn = sp.csr_matrix(shape)
    for members, able in _by_label(groups, candidates):
        if len(able) and groups.query[members[0]] >= 0:
            columns = rng.choice(able, size=len(members) * n_drawn)
            weights = np.full(len(columns), 1 / n_drawn)
            drawn += sp.csr_matrix((weights, (members.repeat(n_drawn), columns)), shape=shape)
    return drawn


def _by_label(groups: Related, candidates: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Query cells of each label, or of none, and the candidates whose label goes with it."""
    labels = groups.reference[candidates]
    for code in np.unique(groups.query):
        able = candidates if code < 0 else candidates[(labels >= 0) & groups.related[code][labels]]
        yield np.flatnonzero(groups.query == code), able


def counterpart_confidence(
    received: np.ndarray,
    shared: np.ndarray,
    own: np.ndarray,
    settings: AnchorSettings,
    candidates: np.ndarray | None = None,
) -> np.ndarray:
    """Tell cells that the other modality has from cells that it lacks.

    If cells of the other modality each hand out a mass of 1 to their neighbours, cells that they lack receive little.
    Single cells receive it by chance, so it is averaged, first over neighbours in the cells' own modality, which
    separates populations that the shared coordinates confuse, then over neighbours in the shared coordinates.

    Parameters
    ----------
    received
        Mass that each cell receives, of shape (n_cells,).
    shared
        Coordinates that both modalities share, of shape (n_cells, n_components).
    own
        Coordinates of the candidates in their own modality, of shape (n_candidates, n_features).
    settings
        Neighbours to average over, and the quantile at which mass is cut.
    candidates
        Rows that could receive mass; by default all.

    Returns
    -------
    Confidence in [0, 1] of shape (n_cells,): received mass in units of what cells with a counterpart receive: the
    median over the mass, not over the cells, so that cells that the other modality lacks do not lower it.
    """
    candidates = np.arange(len(received)) if candidates is None else candidates
    mass = received[candidates]
    mass = soft_neighbors(own, own, settings) @ np.minimum(mass, _hub_mass(mass, settings.hub_quantile))
    mass = soft_neighbors(shared, shared[candidates], settings) @ mass
    return np.minimum(mass / _typical(mass), 1.0)


def is_reciprocated(forth: sp.csr_matrix, back: sp.csr_matrix, own: np.ndarray, settings: AnchorSettings) -> np.ndarray:
    """Tell cells to whose neighbourhood the partners of their partners lead back.

    Cells that the other modality lacks have partners, too, but these have partners of their own kind, which lie
    elsewhere. How much mass cells receive tells less: it also depends on how many of its kind the other modality has.

    Parameters
    ----------
    forth, back
        Weights of partners of shape (n_cells, n_other) and (n_other, n_cells), rows sum to 1.
    own
        Coordinates of the cells in their own modality, of shape (n_cells, n_features).
    settings
        Neighbours in the own modality to average over, what is near, and how many trips must return.

    Returns
    -------
    Mask of shape (n_cells,).
    """
    n_near = max(int(settings.nearby * len(own)), 1)

    def share_that_returns(distances: np.ndarray, start: int) -> np.ndarray:
        near = distances <= np.partition(distances, n_near - 1, axis=1)[:, [n_near - 1]]
        trips = forth[start : start + len(distances)] @ back
        return np.asarray(trips.multiply(near).sum(axis=1)).ravel()

    chunks = pairwise_distances_chunked(own, reduce_func=share_that_returns, working_memory=_WORKING_MEMORY)
    returns = soft_neighbors(own, own, settings) @ np.concatenate(list(chunks))
    return returns >= settings.min_returns * _typical(returns)


def _hub_mass(mass: np.ndarray, quantile: float) -> float:
    """Mass from which a cell counts as a hub, where a few cells receive all: among those that receive any."""
    return float(np.quantile(mass, quantile) or (np.quantile(mass[mass > 0], quantile) if mass.any() else 0))


def _typical(mass: np.ndarray) -> float:
    """Median over the mass: half of it is received by cells that receive more. Of no mass, 1."""
    ordered = np.sort(mass)
    return float(ordered[np.searchsorted(np.cumsum(ordered), ordered.sum() / 2)]) or 1.0

"""Where a trajectory starts: a cell, a group of cells, or the extreme of a score."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
import pandas as pd

from scdart._chunks import as_matrix
from scdart._mudata import feature_values, in_obs, obs_column, positions

from ._cells import shown

if TYPE_CHECKING:
    from mudata import MuData

    from ._landmarks import LandmarkGraph

#: Share of a group, nearest to its median, that the root may be in. The outermost cell of all is often misplaced: with
#: it, the order of the cortical layers of real cells is lost; with the median cell, the group itself is folded.
_CENTRAL_SHARE = 0.5

#: Share of the cells, lowest in a score, that the root may be.
_LOWEST_SHARE = 0.02


class RootRequest(NamedTuple):
    """What the user said of the root: cells that it may be, or a score, of which the lowest is wanted."""

    cells: np.ndarray | None
    score: np.ndarray | None

    def candidates(self, graph: LandmarkGraph) -> np.ndarray:
        """Get the cells that the root may be, all of one connected part of the graph."""
        if self.cells is not None:
            parts = graph.parts[self.cells]
            return self.cells[parts == np.bincount(parts).argmax()]
        assert self.score is not None
        # Single cells are too noisy to be trusted with the extreme.
        mean = graph.neighborhood_means(self.score)
        largest = graph.parts[graph.landmarks] == np.bincount(graph.parts).argmax()
        mean = np.where(largest & np.isfinite(mean), mean, np.inf)
        # Near an end, means differ little: of the lowest, the position tells the end.
        n_lowest = max(1, min(int(_LOWEST_SHARE * len(mean)), np.count_nonzero(np.isfinite(mean))))
        return graph.landmarks[np.argsort(mean, kind="stable")[:n_lowest]]


def parse_root(
    mdata: MuData,
    root: str | None,
    root_key: str | None,
    root_label: str | None,
    root_score: str | None,
    root_extreme: Literal["min", "max"],
) -> RootRequest:
    """Look up what the user said of the root, which must be one thing.

    Raises
    ------
    KeyError
        A column or gene does not exist.
    ValueError
        The root is not given in exactly one way, or not found.
    """
    if (root_key is None) != (root_label is None):
        raise ValueError(f"root_key={root_key!r} and root_label={root_label!r} belong together: pass both or neither.")
    n_ways = sum(way is not None for way in (root, root_label, root_score))
    if n_ways != 1:
        raise ValueError(
            f"{n_ways} ways to find the root were given instead of one: pass root (a cell), root_key and root_label "
            "(a group of cells), or root_score (a score or gene)."
        )
    if root is not None:
        if root not in mdata.obs_names:
            raise ValueError(f"root={root!r} is no cell of mdata, which has {shown(mdata.obs_names, 3)}.")
        return RootRequest(np.array([mdata.obs_names.get_loc(root)]), None)
    if root_key is not None:
        column = obs_column(mdata, root_key, "root_key")
        cells = np.flatnonzero((column == root_label).to_numpy())
        if not len(cells):
            raise ValueError(
                f"root_label={root_label!r} is no label of obs[{root_key!r}], which has "
                f"{shown(column.dropna().unique())}."
            )
        return RootRequest(cells, None)
    assert root_score is not None
    score = _score(mdata, root_score)
    return RootRequest(None, score if root_extreme == "min" else -score)


def _score(mdata: MuData, name: str) -> np.ndarray:
    """Get a score of every cell, NaN where it is not known."""
    if in_obs(mdata, name):
        column = obs_column(mdata, name, "root_score")
        if not pd.api.types.is_numeric_dtype(column):
            raise ValueError(
                f"root_score={name!r} is a column of {column.dtype} values: pass a numeric one, or a gene."
            )
        score = column.to_numpy(dtype=float)
    else:
        score = _share_of_counts(mdata, name)
    if not np.isfinite(score).any():
        raise ValueError(f"root_score={name!r} is NaN or infinite in all cells.")
    if np.ptp(score[np.isfinite(score)]) == 0:
        raise ValueError(f"root_score={name!r} is the same in all cells: it cannot tell where the root is.")
    return score


def _share_of_counts(mdata: MuData, feature: str) -> np.ndarray:
    """Get the share of a gene in the counts of every cell of its modality, so that depth plays no part."""
    for mod, adata in mdata.mod.items():
        if feature in adata.var_names:
            total = np.asarray(as_matrix(adata.X).sum(axis=1), dtype=float).ravel()
            score = np.full(mdata.n_obs, np.nan)
            score[positions(mdata, mod)] = np.divide(
                feature_values(adata, feature), total, out=np.full(len(total), np.nan), where=total > 0
            )
            return score
    raise KeyError(f"root_score={feature!r} is neither a column of obs nor in var_names of {list(mdata.mod)}.")


def central_extreme(y: np.ndarray, candidates: np.ndarray) -> int:
    """Choose the candidate that is furthest from all cells, of those near the median of the candidates.

    Parameters
    ----------
    y
        Coordinates of all cells, of shape (n_cells, n_components).
    candidates
        Rows that may be chosen.
    """
    from_median = ((y[candidates] - np.median(y[candidates], axis=0)) ** 2).sum(axis=1)
    central = candidates[np.argsort(from_median)[: max(1, int(_CENTRAL_SHARE * len(candidates)))]]
    # The mean squared distance to all cells, up to a constant.
    return int(central[((y[central] - y.mean(axis=0)) ** 2).sum(axis=1).argmax()])


def concentration(y: np.ndarray, root: int) -> float:
    """Measure how far all cells lie in one direction from the root: 1 at an end, near 0 in the midst of cells."""
    away = np.delete(y, root, axis=0) - y[root]
    length = np.linalg.norm(away, axis=1, keepdims=True)
    directions = np.divide(away, length, out=np.zeros_like(away), where=length > 0)
    return float(np.linalg.norm(directions.mean(axis=0)))

"""The tree of cell states: its branches, the cells on them, and the factors that change along it."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Final

import numpy as np

from ._newick import read_newick

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from ._newick import Node

#: Star-shaped trees of the scDART paper; branch lengths are pseudotime and, by default, shares of cells.
NAMED_TREES: Final = {
    "linear": "(t1:1);",
    "bifurcating": "(t1:1,t2:0.5);",
    "trifurcating": "(t1:1,t2:1.5,t3:0.5);",
}
ROOT_VALUE: Final = 1.0
_STEPS_PER_BRANCH: Final = 2_000


@dataclass(frozen=True)
class Branch:
    """An edge of the tree, from ``start`` to ``end`` in distance from the root."""

    parent: int
    child: int
    start: float
    end: float
    is_tip: bool

    @property
    def label(self) -> str:
        return f"{self.parent}_{self.child}"

    @property
    def length(self) -> float:
        return self.end - self.start


def branches_of(tree: str) -> list[Branch]:
    """Branches of a named or Newick tree, parents before children.

    Nodes are numbered as in R's ``ape``, so that labels agree with the published data: tips 1, 2, ... in reading
    order, then the root, then inner nodes in reading order.
    """
    newick = NAMED_TREES.get(tree, tree)
    if "(" not in newick:
        raise ValueError(f"tree={tree!r} is neither one of {sorted(NAMED_TREES)} nor a Newick string like '(a:1,b:2);'")
    root = read_newick(newick)
    n_tips = sum(1 for node in root.walk() if not node.children)
    tip_numbers, inner_numbers = count(1), count(n_tips + 1)
    number = {id(node): next(inner_numbers if node.children else tip_numbers) for node in root.walk()}

    branches: list[Branch] = []

    def descend(node: Node, start: float) -> None:
        for child in node.children:
            if child.length is None or not child.length > 0 or not np.isfinite(child.length):
                raise ValueError(f"every branch of tree={tree!r} needs a positive length, found {child.length}")
            end = start + child.length
            branches.append(Branch(number[id(node)], number[id(child)], start, end, is_tip=not child.children))
            descend(child, end)

    descend(root, 0.0)
    return branches


def branch_shares(
    branches: Sequence[Branch],
    proportions: Sequence[float] | None,
    rare_branch: Mapping[str, float] | None,
    *,
    tips_only: bool,
    name: str,
) -> NDArray[np.float64]:
    """Share of the cells on each branch: as given, or as the lengths, with rare branches set to their share."""
    occupied = [branch for branch in branches if branch.is_tip or not tips_only]
    labels = [branch.label for branch in occupied]
    shares = np.array([branch.length for branch in occupied])
    shares /= shares.sum()
    if proportions is not None:
        shares = np.asarray(proportions, dtype=float)
        if shares.shape != (len(labels),):
            raise ValueError(f"{name} has {shares.size} values; give one share for each of the branches {labels}")
        if not np.all(shares >= 0) or not np.isclose(shares.sum(), 1.0):
            raise ValueError(f"{name}={shares.tolist()} must be shares of at least 0 that sum to 1")
        shares = shares / shares.sum()
    elif rare_branch:
        if unknown := sorted(set(rare_branch) - set(labels)):
            raise ValueError(f"rare_branch names {unknown}, but cells lie on the branches {labels}")
        if len(rare_branch) == len(labels):
            raise ValueError(
                f"rare_branch={dict(rare_branch)} leaves no other branch of {labels} to the remaining cells"
            )
        if min(rare_branch.values()) < 0 or sum(rare_branch.values()) >= 1:
            raise ValueError(f"rare_branch={dict(rare_branch)} must hold shares of at least 0 that sum to less than 1")
        is_rare = np.isin(labels, list(rare_branch))
        shares *= (1 - sum(rare_branch.values())) / shares[~is_rare].sum()
        shares[is_rare] = [rare_branch[label] for label in labels if label in rare_branch]
    return np.array([shares[labels.index(branch.label)] if branch in occupied else 0.0 for branch in branches])


def numbers_of_cells(shares: NDArray[np.float64], n_cells: int) -> NDArray[np.intp]:
    """Whole numbers of cells, which sum to ``n_cells``: what is left after rounding down goes to the largest rests."""
    quota = shares * n_cells
    counts = np.floor(quota).astype(np.intp)
    largest_remainders = np.argsort(counts - quota, kind="stable")[: n_cells - counts.sum()]
    counts[largest_remainders] += 1
    return counts


def place_cells(
    branches: Sequence[Branch], shares: NDArray[np.float64], n_cells: int, rng: np.random.Generator
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Branch index and distance from the root of each cell, in random order.

    Within a branch the cells are spread evenly, each at a random point of its own stretch.
    """
    counts = numbers_of_cells(shares, n_cells)
    branch = np.repeat(np.arange(len(branches)), counts)
    depth = np.concatenate(
        [b.start + b.length * (np.arange(m) + rng.random(m)) / max(m, 1) for b, m in zip(branches, counts, strict=True)]
    )
    order = rng.permutation(n_cells)
    return branch[order], depth[order]


def brownian_factors(
    branches: Sequence[Branch],
    branch: NDArray[np.intp],
    depth: NDArray[np.float64],
    n_factors: int,
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    """Brownian motion along the tree, evaluated at the cells: (cells, factors).

    All factors are 1 at the root and gain a variance of 1 per unit of depth; a branch starts where its parent ends.
    Paths are drawn on a grid of their own, so that the same ``rng`` gives the same tree whatever cells lie on it.
    """
    factors = np.empty((len(branch), n_factors))
    value_at_node = {branches[0].parent: np.full((1, n_factors), ROOT_VALUE)}
    for index, edge in enumerate(branches):
        steps = rng.standard_normal((_STEPS_PER_BRANCH, n_factors)) * np.sqrt(edge.length / _STEPS_PER_BRANCH)
        path = np.cumsum(np.concatenate([value_at_node[edge.parent], steps]), axis=0)
        value_at_node[edge.child] = path[-1:]
        cells = np.flatnonzero(branch == index)
        position = (depth[cells] - edge.start) / edge.length * _STEPS_PER_BRANCH
        before = np.minimum(position.astype(int), _STEPS_PER_BRANCH - 1)
        factors[cells] = path[before] + (position - before)[:, None] * (path[before + 1] - path[before])
    return factors

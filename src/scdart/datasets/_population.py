"""The simulated cells: where on the tree they are and which factors drive them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ._kinetics import Factors
from ._tree import ROOT_VALUE, branch_shares, branches_of, brownian_factors, place_cells

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray


@dataclass(frozen=True)
class Cells:
    """Simulated cells, measured or not."""

    pair_id: NDArray[np.intp]
    branch: NDArray[np.str_]
    pseudotime: NDArray[np.float64]
    """NaN in discrete populations."""
    factors: Factors
    n_de: int

    def __getitem__(self, rows: slice) -> Cells:
        return Cells(self.pair_id[rows], self.branch[rows], self.pseudotime[rows], self.factors[rows], self.n_de)

    def __len__(self) -> int:
        return len(self.pair_id)

    @property
    def tree_factors(self) -> NDArray[np.floating]:
        return self.factors.s[:, self.factors.s.shape[1] - self.n_de :]


def draw_cells(
    tree: str,
    n_cells: Sequence[int],
    *,
    proportions: Mapping[str, Sequence[float] | None],
    rare_branch: Mapping[str, float] | None,
    discrete: bool,
    n_evf: int,
    n_de: int,
    sigma: float,
    rng_tree: np.random.Generator,
    rng: np.random.Generator,
) -> Cells:
    """Draw groups of cells on one tree, one after the other; ``proportions`` are keyed by argument name."""
    branches = branches_of(tree)
    shares = [
        branch_shares(branches, given, rare_branch, tips_only=discrete, name=name)
        for name, given in proportions.items()
    ]
    placed = [place_cells(branches, share, n, rng) for share, n in zip(shares, n_cells, strict=True)]
    branch, depth = (np.concatenate(parts) for parts in zip(*placed, strict=True))
    if discrete:
        depth = np.array([edge.end for edge in branches])[branch]

    kon, koff, s = rng.normal(ROOT_VALUE, sigma, size=(3, len(branch), n_evf)).astype(np.float32)
    tree_factors = brownian_factors(branches, branch, depth, n_de, rng_tree)
    spread = rng.normal(0, sigma, size=tree_factors.shape) if discrete else 0.0
    s[:, n_evf - n_de :] = tree_factors + spread
    return Cells(
        pair_id=np.arange(len(branch)),
        branch=np.array([edge.label for edge in branches])[branch],
        pseudotime=np.full(len(branch), np.nan) if discrete else depth,
        factors=Factors(kon, koff, s),
        n_de=n_de,
    )

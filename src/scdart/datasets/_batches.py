"""Batches of the simulated cells: which cells are of which, and how each sees them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ._tree import branch_shares, branches_of, numbers_of_cells

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from ._distributions import FloatArray


@dataclass(frozen=True)
class Composition:
    """Number of cells of each batch on each branch."""

    labels: tuple[str, ...]
    """Branches that may have cells, in reading order."""
    counts: NDArray[np.intp]
    """Shape (n_batches, n_labels)."""

    @property
    def totals(self) -> dict[str, int]:
        """Cells of all batches on each branch."""
        return dict(zip(self.labels, self.counts.sum(axis=0).tolist(), strict=True))

    @property
    def shares(self) -> list[float]:
        """Share of the cells of all batches on each branch."""
        shares: list[float] = (self.counts.sum(axis=0) / self.counts.sum()).tolist()
        return shares


@dataclass(frozen=True)
class Batches:
    """Batches of one modality."""

    effects: FloatArray
    """Factor by which each sees each feature, of shape (n_batches, n_features)."""
    composition: Composition | None
    """`None` leaves to chance which cells are of which batch."""
    depth: Sequence[float] | None
    """Factor of the share of molecules that each captures."""

    def assign(self, branch: NDArray[np.str_], rng: np.random.Generator) -> NDArray[np.intp]:
        """Batch of each cell: at random, but with as many cells of each branch as the composition says."""
        n_batches = len(self.effects)
        if self.composition is None:
            return rng.permutation(_in_turn(len(branch), n_batches))
        batch = np.empty(len(branch), dtype=np.intp)
        for label, counts in zip(self.composition.labels, self.composition.counts.T, strict=True):
            batch[branch == label] = rng.permutation(np.repeat(np.arange(n_batches), counts))
        return batch

    def depth_of(self, batch: NDArray[np.intp]) -> FloatArray:
        """Factor of each cell."""
        return np.ones(len(batch)) if self.depth is None else np.asarray(self.depth, dtype=float)[batch]


def compositions_of(tree: str, n_cells: Mapping[str, int], args: Mapping[str, Any]) -> dict[str, Composition | None]:
    """Composition of the batches of each modality that is given one, or a ``ValueError`` if they contradict."""
    found: dict[str, Composition | None] = {}
    for mod, n in n_cells.items():
        name = f"batch_proportions_{mod}"
        found[mod] = None if args[name] is None else _composition(tree, args[name], n, args["discrete"], name)
    rna, atac = found.values()
    if args["paired"] and rna is not None and atac is not None and rna.totals != atac.totals:
        raise ValueError(
            "paired=True needs batch_proportions_rna and batch_proportions_atac to have the same cells on each branch, "
            f"all batches taken together, but they ask for {rna.totals} and {atac.totals}: change the shares, leave "
            "one of the two out, or, where only rounding differs, change n_cells"
        )
    return found


def _composition(
    tree: str, proportions: Sequence[Sequence[float]], n_cells: int, discrete: bool, name: str
) -> Composition:
    branches = branches_of(tree)
    is_used = [branch.is_tip or not discrete for branch in branches]
    sizes = np.bincount(_in_turn(n_cells, len(proportions))).tolist()
    counts = [
        numbers_of_cells(branch_shares(branches, given, None, tips_only=discrete, name=f"{name}[{batch}]"), size)
        for batch, (given, size) in enumerate(zip(proportions, sizes, strict=True))
    ]
    labels = tuple(branch.label for branch, used in zip(branches, is_used, strict=True) if used)
    return Composition(labels, np.array(counts)[:, is_used])


def _in_turn(n_cells: int, n_batches: int) -> NDArray[np.intp]:
    """Batches of equal size, or nearly."""
    return np.arange(n_cells) % n_batches

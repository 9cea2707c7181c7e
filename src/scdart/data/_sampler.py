"""Which cells meet in a minibatch: partners under the anchors, or cells drawn independently."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING

import numpy as np
import torch.distributed
from scipy import sparse
from torch.utils.data import Sampler

from scdart._constants import ATAC, RNA

from ._constants import BATCH_KEYS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ._dataset import Request

MAX_STEPS_PER_EPOCH = 100


class PairSampler(Sampler["Request"]):
    """Minibatches of RNA cells beside ATAC cells, row r of one the partner of row r of the other.

    Half of a minibatch is led by RNA cells, half by ATAC cells, each leader drawn without replacement within an epoch
    and followed by a cell of the other modality drawn with probability proportional to its anchors. Both modalities
    then have the same composition in a minibatch, so aligning their distributions cannot push cells onto types that
    they do not belong to. A leader without anchors is followed by any cell, with weight 0.

    Without anchors both halves are drawn independently, as in the published method.

    Parameters
    ----------
    rows
        Rows of each modality to draw from, ``{"rna": (n_rna,), "atac": (n_atac,)}``.
    anchors
        Weights between all RNA rows and all ATAC rows, shape ``(n_rna_cells, n_atac_cells)``.
    confidence
        How far each cell's anchors are trusted, in [0, 1], by modality; the weight of a pair is its leader's.
    batch_size
        Cells of each modality per minibatch (and per process).
    shuffle
        Draw anew every epoch; otherwise every epoch repeats the first one, as validation needs.
    seed
        Seed of all draws; the epoch is added to it.
    """

    def __init__(
        self,
        rows: dict[str, np.ndarray],
        anchors: sparse.csr_matrix | None = None,
        confidence: dict[str, np.ndarray] | None = None,
        *,
        batch_size: int,
        shuffle: bool = True,
        seed: int = 0,
    ) -> None:
        self.rows = {role: np.asarray(rows[role]) for role in (RNA, ATAC)}
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.seed = seed
        self._epoch = 0
        self._partners: dict[str, _Partners] = {}
        if anchors is not None:
            within = anchors[self.rows[RNA]][:, self.rows[ATAC]]
            self._partners = {RNA: _Partners(within), ATAC: _Partners(within.T)}
        self._confidence = confidence

    def __len__(self) -> int:
        n_cells = {role: len(rows) for role, rows in self.rows.items()}
        return ceil(steps_per_epoch(n_cells, self.batch_size, paired=bool(self._partners)) / _process()[1])

    @property
    def epoch(self) -> int:
        """Epochs that were begun."""
        return self._epoch

    def set_epoch(self, epoch: int) -> None:
        """Draw next what belongs to an epoch; Lightning says which, before each."""
        self._epoch = epoch if self.shuffle else 0

    def __iter__(self) -> Iterator[Request]:
        rng = np.random.default_rng([self.seed, self._epoch])
        self._epoch += self.shuffle
        rank, n_processes = _process()
        n_led = {RNA: self.batch_size // 2, ATAC: self.batch_size - self.batch_size // 2}
        if not self._partners:
            n_led = dict.fromkeys(n_led, self.batch_size)
        # Every process draws every step, so that the draws are the same whatever their number.
        n_steps = len(self) * n_processes
        leaders = {role: _cycle(len(self.rows[role]), n_steps * n, rng) for role, n in n_led.items()}
        for step in range(n_steps):
            led = {role: leaders[role][step * n : (step + 1) * n] for role, n in n_led.items()}
            request = self._pair(led, rng) if self._partners else {r: self.rows[r][led[r]] for r in led}
            if step % n_processes == rank:
                yield request

    def _pair(self, led: dict[str, np.ndarray], rng: np.random.Generator) -> Request:
        atac_partner, atac_known = self._partners[RNA].draw(led[RNA], rng)
        rna_partner, rna_known = self._partners[ATAC].draw(led[ATAC], rng)
        local = {RNA: np.concatenate([led[RNA], rna_partner]), ATAC: np.concatenate([atac_partner, led[ATAC]])}
        rows = {role: self.rows[role][index] for role, index in local.items()}
        weight = np.concatenate([atac_known, rna_known]).astype(np.float32)
        if self._confidence is not None:
            n = len(led[RNA])
            weight[:n] *= self._confidence[RNA][rows[RNA][:n]]
            weight[n:] *= self._confidence[ATAC][rows[ATAC][n:]]
        return {**rows, BATCH_KEYS.PAIR_WEIGHT: weight}


def steps_per_epoch(n_cells: Mapping[str, int], batch_size: int, *, paired: bool) -> int:
    """Minibatches of an epoch: every cell of the larger modality leads once, but never more than 100.

    The cap keeps epochs, and with them validation and logging, equally frequent for a million cells.
    """
    led = batch_size / 2 if paired else batch_size
    return min(ceil(max(n_cells.values()) / led), MAX_STEPS_PER_EPOCH)


class _Partners:
    """Draws a column for each row of a sparse weight matrix, in proportion to the row's weights."""

    def __init__(self, weights: sparse.spmatrix) -> None:
        weights = sparse.csr_matrix(weights)
        self._columns, self._n_columns = weights.indices, weights.shape[1]
        # One running sum over all rows turns a draw within a row into a binary search.
        cumulative = np.concatenate([[0.0], np.cumsum(weights.data, dtype=np.float64)])
        self._cumulative = cumulative[1:]
        self._from, self._to = cumulative[weights.indptr[:-1]], cumulative[weights.indptr[1:]]
        self._first, self._last = weights.indptr[:-1], weights.indptr[1:] - 1

    def draw(self, rows: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        partner = rng.integers(self._n_columns, size=len(rows))
        start, stop = self._from[rows], self._to[rows]
        known = stop > start
        entry = np.searchsorted(self._cumulative, start + rng.random(len(rows)) * (stop - start), side="right")
        entry = np.clip(entry, self._first[rows], self._last[rows])
        partner[known] = self._columns[entry[known]]
        return partner, known


def _cycle(n: int, size: int, rng: np.random.Generator) -> np.ndarray:
    """``size`` draws from ``range(n)``: whole permutations one after the other."""
    return np.concatenate([rng.permutation(n) for _ in range(-(-size // n))])[:size]


def _process() -> tuple[int, int]:
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    return 0, 1

"""From a cell's factors to its open peaks and to the two-state kinetics of its genes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import numpy as np
from scipy.sparse import csr_matrix

from ._distributions import LOG2_ACCESSIBILITY, LOG10_KOFF, LOG10_KON, LOG10_S, RankMap

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ._distributions import FloatArray

LinkNonlinearity = Literal["rank", "threshold", "synergy"]

_EFFECT_PROBABILITY: Final = 0.3
_SHARE_CLOSED: Final = 0.8
_SCALE_S: Final = 0.8
_SHARE_HIGHLY_EXPRESSED: Final = 0.015
_LOG2_HIGH_EXPRESSION: Final = 5.0


@dataclass(frozen=True)
class Factors:
    """What drives each cell: one matrix (cells x factors) for each kinetic parameter."""

    kon: FloatArray
    koff: FloatArray
    s: FloatArray
    """Synthesis, and accessibility: the factors that both modalities share. The last ones follow the tree."""

    def __getitem__(self, cells: slice | NDArray[np.intp]) -> Factors:
        return Factors(self.kon[cells], self.koff[cells], self.s[cells])

    def __len__(self) -> int:
        return len(self.s)


@dataclass(frozen=True)
class Effects:
    """How strongly each feature answers to each factor: (features x factors)."""

    kon: FloatArray
    koff: FloatArray
    s: FloatArray
    peaks: FloatArray


def draw_effects(
    link_weights: csr_matrix, n_evf: int, n_de: int, static_genes: float, rng: np.random.Generator
) -> Effects:
    """Sparse normal effects; none of the tree's factors on a share of the genes and on the peaks linked to them."""
    n_peaks, n_genes = link_weights.shape

    def draw(n_features: int) -> FloatArray:
        nonzero = rng.random((n_features, n_evf)) < _EFFECT_PROBABILITY
        return np.where(nonzero, rng.standard_normal((n_features, n_evf)), 0.0).astype(np.float32)

    effects = Effects(draw(n_genes), draw(n_genes), draw(n_genes), draw(n_peaks))
    static = rng.permutation(n_genes)[: round(static_genes * n_genes)]
    tree = slice(n_evf - n_de, None)
    effects.s[static, tree] = 0
    effects.peaks[link_weights[:, static].nonzero()[0], tree] = 0
    return effects


@dataclass(frozen=True)
class Kinetics:
    """Rates of the two-state promoter, relative to mRNA decay: (cells x genes) each."""

    kon: FloatArray
    koff: FloatArray
    """0 where the promoter never closes."""
    s: FloatArray

    @property
    def expected_expression(self) -> FloatArray:
        """Mean number of transcripts in the steady state."""
        return self.s * self.kon / (self.kon + self.koff)


class Regulation:
    """The law of the simulated organism: the same factors give the same accessibility and kinetics in every cell.

    Raw values (factors times effects) become rates by their rank among all cells and features. Ranks are read off a
    sample of the cells, so that any cell can be mapped later, a block at a time.
    """

    def __init__(
        self,
        effects: Effects,
        link_weights: csr_matrix,
        sample: Factors,
        *,
        atac_effect: float,
        nonlinearity: LinkNonlinearity,
    ) -> None:
        self.n_features = max(len(effects.s), len(effects.peaks))
        self._effects = effects
        self._weights_by_gene = link_weights.T.tocsr()
        self._is_regulated = np.diff(self._weights_by_gene.indptr) > 0
        self._regulating_weights = self._weights_by_gene[self._is_regulated].T.tocsr()
        self._atac_effect = atac_effect
        self._nonlinearity = nonlinearity

        kon, koff, s = (raw @ effect.T for raw, effect in self._factors_and_effects(sample))
        self._copies_of = RankMap(sample.s @ effects.peaks.T, _copies_at)
        self._kon_of = RankMap(kon, LOG10_KON)
        self._koff_of = RankMap(koff, LOG10_KOFF)
        self._s_of = RankMap(s, LOG10_S)
        self._boost = _boost_of_high_expression(self._s_of(s))
        self.highly_expressed = self._boost > 1

        own, signal = kon[:, self._is_regulated], self._regulatory_signal(self.accessibility(sample))
        nonzero = np.abs(signal[signal != 0])
        self._tie_breaker = 1e-3 * nonzero.min() if len(nonzero) else 1.0
        self._rank_of_own = RankMap(own)
        self._rank_of_signal = RankMap(signal + self._tie_breaker * self._rank_of_own(own))
        self._kon_of_mixed = RankMap(self._mixed_rank(own, signal), LOG10_KON)

    def dynamic(self, n_de: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Which genes and which peaks the last ``n_de`` factors reach; genes also through their peaks."""
        n_evf = self._effects.s.shape[1]
        genes = np.any(self._effects.s[:, n_evf - n_de :] != 0, axis=1)
        peaks = np.any(self._effects.peaks[:, n_evf - n_de :] != 0, axis=1)
        through_peaks = np.abs(self._weights_by_gene) @ peaks.astype(float) > 0
        if self._atac_effect > 0:
            genes |= through_peaks & ~self.highly_expressed
        return genes, peaks

    def accessibility(self, factors: Factors) -> csr_matrix:
        """Map cells to the copies of open chromatin at each peak, before any measurement: (cells x peaks)."""
        raw = factors.s @ self._effects.peaks.T
        is_open = raw > self._copies_of.threshold(_SHARE_CLOSED)
        accessibility = csr_matrix(is_open, dtype=np.float32)
        accessibility.data = self._copies_of(raw[is_open]).astype(np.float32)
        return accessibility

    def kinetics(self, factors: Factors, accessibility: csr_matrix) -> Kinetics:
        """Map cells, with their accessibility, to the rates of all genes."""
        raw_kon, raw_koff, raw_s = (values @ effect.T for values, effect in self._factors_and_effects(factors))
        own = raw_kon[:, self._is_regulated]
        log10_kon = np.empty(raw_kon.shape)
        log10_kon[:, ~self._is_regulated] = self._kon_of(raw_kon[:, ~self._is_regulated])
        log10_kon[:, self._is_regulated] = self._kon_of_mixed(
            self._mixed_rank(own, self._regulatory_signal(accessibility))
        )
        koff = np.where(self.highly_expressed, 0.0, 10.0 ** self._koff_of(raw_koff))
        return Kinetics(10.0**log10_kon, koff, 10.0 ** self._s_of(raw_s) * _SCALE_S * self._boost)

    def _factors_and_effects(self, factors: Factors) -> list[tuple[FloatArray, FloatArray]]:
        effects = self._effects
        return [(factors.kon, effects.kon), (factors.koff, effects.koff), (factors.s, effects.s)]

    def _regulatory_signal(self, accessibility: csr_matrix) -> FloatArray:
        """Sum up, on an arbitrary scale, what the peaks of a gene say: (cells x regulated genes)."""
        weights = self._regulating_weights
        is_open = accessibility.astype(bool).astype(np.float32)
        if self._nonlinearity == "threshold":
            return (is_open @ weights).toarray()
        signal = (accessibility @ weights).toarray()
        if self._nonlinearity == "synergy":
            signal *= (is_open @ weights.astype(bool).astype(np.float32)).toarray()
        return signal

    def _mixed_rank(self, own: FloatArray, signal: FloatArray) -> FloatArray:
        """Weigh the rank of the regulatory signal against that of the gene's own kon; ties go by the latter."""
        rank_of_own = self._rank_of_own(own)
        rank_of_signal = self._rank_of_signal(signal + self._tie_breaker * rank_of_own)
        return self._atac_effect * rank_of_signal + (1 - self._atac_effect) * rank_of_own


def _copies_at(rank: FloatArray) -> FloatArray:
    """Return the copies of open chromatin at a rank among all entries, of which the lower ones are closed."""
    return 2.0 ** LOG2_ACCESSIBILITY((rank - _SHARE_CLOSED) / (1 - _SHARE_CLOSED)) - 1


def _boost_of_high_expression(log10_s: FloatArray) -> FloatArray:
    """Factor of synthesis for each gene, more than 1 where the promoter never closes.

    Those genes have the ranks of synthesis that random ones have on average: their counts make up half of a library,
    whose size would be a lottery if they were drawn. The strongest of them grow most.
    """
    n_genes = log10_s.shape[1]
    n_high = int(np.ceil(_SHARE_HIGHLY_EXPRESSED * n_genes))
    by_synthesis = np.argsort((10.0**log10_s).sum(axis=0))
    place = np.arange(1, n_high + 1)
    high = by_synthesis[(place * n_genes) // (n_high + 1)]
    boost = np.ones(n_genes, dtype=np.float32)
    boost[high] = 2.0 ** (_LOG2_HIGH_EXPRESSION - 1 + place / n_high)
    return boost

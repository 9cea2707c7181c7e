from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import csr_matrix
from scipy.stats import spearmanr

from scdart.datasets._distributions import LOG2_ACCESSIBILITY, LOG10_KOFF, LOG10_KON, LOG10_S, RankMap
from scdart.datasets._kinetics import Effects, Factors, Regulation, draw_effects
from scdart.datasets._noise import atac_counts, draw_batch_effects, draw_capture_efficiency, rna_counts

RANKS = (np.arange(100_000) + 0.5) / 100_000


@pytest.mark.parametrize(
    ("quantile", "mean", "sd"),
    [(LOG10_KON, 0.498, 0.785), (LOG10_KOFF, 0.845, 0.557), (LOG10_S, 1.923, 0.394), (LOG2_ACCESSIBILITY, 2.71, None)],
)
def test_distributions_have_the_measured_moments(quantile: object, mean: float, sd: float | None) -> None:
    values = quantile(RANKS)
    assert values.mean() == pytest.approx(mean, abs=0.02)
    if sd is not None:
        assert values.std() == pytest.approx(sd, abs=0.02)


def test_rank_map_keeps_order_and_gives_the_distribution() -> None:
    rng = np.random.default_rng(0)
    sample = rng.gamma(0.3, size=(500, 40))
    values = RankMap(sample, LOG10_S)(sample)
    np.testing.assert_array_equal(np.argsort(values.ravel(), kind="stable"), np.argsort(sample.ravel(), kind="stable"))
    np.testing.assert_allclose(np.quantile(values, [0.05, 0.5, 0.95]), [1.34, 1.92, 2.59], atol=0.01)


def test_ties_share_their_mean_rank() -> None:
    ranks = RankMap(np.concatenate([np.zeros(600), np.arange(1, 401)]))
    assert ranks(np.zeros(1)) == pytest.approx(0.3, abs=0.01)
    assert ranks(np.array([200])) == pytest.approx(0.8, abs=0.01)
    assert ranks.threshold(0.8) == pytest.approx(200, abs=2)


def random_factors(n_cells: int, n_evf: int, seed: int = 0) -> Factors:
    return Factors(*np.random.default_rng(seed).normal(1, 0.5, size=(3, n_cells, n_evf)).astype(np.float32))


def regulation(nonlinearity: str = "rank", *, sign: float = 1.0, atac_effect: float = 1.0) -> Regulation:
    weights = csr_matrix(np.kron(np.eye(100), np.full((2, 1), 0.5 * sign)))
    effects = draw_effects(weights, 12, 8, 0.0, np.random.default_rng(1))
    return Regulation(effects, weights, random_factors(200, 12), atac_effect=atac_effect, nonlinearity=nonlinearity)


def kon(law: Regulation, copies: list[float]) -> np.ndarray:
    """Rates of all genes in one cell, whose first two peaks, those of gene 0, have the given copies."""
    accessibility = csr_matrix(np.array([[*copies, *[0.0] * 198]], dtype=np.float32))
    return law.kinetics(random_factors(1, 12, seed=2), accessibility).kon[0]


def test_open_peaks_raise_or_lower_the_rate_of_their_gene_only() -> None:
    closed, opened = kon(regulation(), [0, 0]), kon(regulation(), [4, 0])
    assert opened[0] > 2 * closed[0]
    np.testing.assert_array_equal(opened[1:], closed[1:])
    repressed = regulation(sign=-1)
    assert kon(repressed, [4, 0])[0] < 0.7 * kon(repressed, [0, 0])[0]


def test_nonlinearities() -> None:
    rank, threshold, synergy = (regulation(kind) for kind in ("rank", "threshold", "synergy"))
    assert kon(rank, [8, 0])[0] > kon(rank, [4, 0])[0]
    assert kon(rank, [8, 0])[0] == kon(rank, [4, 4])[0]
    assert kon(threshold, [8, 0])[0] == kon(threshold, [4, 0])[0]
    assert kon(threshold, [4, 4])[0] > kon(threshold, [8, 0])[0]
    assert kon(synergy, [4, 4])[0] > kon(synergy, [8, 0])[0]


def test_without_atac_effect_peaks_say_nothing() -> None:
    law = regulation(atac_effect=0.0)
    np.testing.assert_array_equal(kon(law, [0, 0]), kon(law, [8, 8]))


def test_a_fifth_of_the_peaks_is_open() -> None:
    factors = random_factors(200, 12)
    accessibility = regulation().accessibility(factors)
    assert accessibility.nnz / np.prod(accessibility.shape) == pytest.approx(0.2, abs=0.002)
    assert accessibility.data.min() > 1.7


def test_static_genes_and_their_peaks_have_no_tree_effect() -> None:
    weights = csr_matrix(np.kron(np.eye(100), np.full((2, 1), 0.5)))
    effects = draw_effects(weights, 12, 8, 0.5, np.random.default_rng(0))
    law = Regulation(effects, weights, random_factors(200, 12), atac_effect=0.8, nonlinearity="rank")
    genes, peaks = law.dynamic(8)
    # A tenth of a percent of the other genes has no tree effect by chance on any of 24 entries.
    assert 48 <= genes.sum() <= 50
    assert not peaks[np.repeat(~genes & ~law.highly_expressed, 2)].any()
    moved = random_factors(200, 12)
    moved.s[:, 4:] += 1
    before, after = (law.accessibility(f)[:, ~peaks] for f in (random_factors(200, 12), moved))
    assert (before != after).nnz == 0


def test_rna_counts_have_the_moments_of_a_captured_two_state_promoter() -> None:
    n, a, b, s, efficiency = 200_000, 0.7, 2.0, 60.0, 0.3

    class Rates:
        kon, koff, s = np.full((n, 2), a), np.tile([b, 0.0], (n, 1)), np.full((n, 2), 60.0)

    counts = rna_counts(Rates, np.full((n, 1), efficiency), 1e9, np.random.default_rng(0)).toarray()
    mean = efficiency * s * a / (a + b)
    beta_variance = a * b / ((a + b) ** 2 * (a + b + 1))
    np.testing.assert_allclose(counts.mean(axis=0), [mean, efficiency * s], rtol=0.01)
    np.testing.assert_allclose(
        counts.var(axis=0), [mean + (efficiency * s) ** 2 * beta_variance, efficiency * s], rtol=0.02
    )


def test_shallow_sequencing_misses_molecules() -> None:
    class Rates:
        kon, koff, s = np.ones((20_000, 3)), np.zeros((20_000, 3)), np.full((20_000, 3), 100.0)

    counts = rna_counts(Rates, np.full((20_000, 1), 0.5), 75.0, np.random.default_rng(0))
    # 150 captured molecules and 75 reads: half a read each.
    assert counts.mean() == pytest.approx(50 * (1 - np.exp(-0.5)), rel=0.01)


def test_capture_efficiency() -> None:
    rng = np.random.default_rng(0)
    drawn = draw_capture_efficiency(20_000, 0.2, 0.05, rng)
    assert (drawn.mean(), drawn.std()) == (pytest.approx(0.2, abs=0.002), pytest.approx(0.05, abs=0.002))
    assert draw_capture_efficiency(3, 0.4, 0, rng).tolist() == [0.4, 0.4, 0.4]
    wide = draw_capture_efficiency(20_000, 0.2, 0.5, rng)
    assert wide.min() > 0
    assert wide.max() < 1


def test_atac_counts_keep_the_strongest() -> None:
    signal = csr_matrix(np.array([[0.0, 3.2, 1.4, 0.3], [2.6, 0.0, 0.9, 1.1]]))
    batch, no_effect = np.zeros(2, dtype=int), np.ones((1, 4))
    assert atac_counts(signal, batch, no_effect, 1.0).toarray().tolist() == [[0, 3, 1, 1], [3, 0, 1, 1]]
    assert atac_counts(signal, batch, no_effect, 3 / 8).toarray().tolist() == [[0, 3, 1, 0], [3, 0, 0, 0]]
    effects = np.array([[1, 1, 1, 1], [0.25, 1, 1, 4]])
    assert atac_counts(signal, np.array([0, 1]), effects, 3 / 8).toarray().tolist() == [[0, 3, 1, 0], [0, 0, 0, 4]]


def test_batch_effects_are_uniform_fold_changes() -> None:
    effects = np.log2(draw_batch_effects(3, 5_000, 1.5, np.random.default_rng(0)))
    assert effects.std() == pytest.approx(1.5 / np.sqrt(3), rel=0.03)
    assert abs(np.corrcoef(effects)[0, 1]) < 0.05
    assert (draw_batch_effects(2, 4, 0.0, np.random.default_rng(0)) == 1).all()


def test_effects_are_sparse() -> None:
    effects: Effects = draw_effects(csr_matrix((3_000, 1_000)), 12, 8, 0.0, np.random.default_rng(0))
    assert np.mean(effects.s != 0) == pytest.approx(0.3, abs=0.02)
    assert effects.peaks[effects.peaks != 0].std() == pytest.approx(1, abs=0.03)
    assert abs(spearmanr(effects.s.ravel(), effects.kon.ravel()).statistic) < 0.05

"""Order, branches and diffusion distances: known answers, SciPy, dense definitions."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import pdist
from scipy.stats import pearsonr, spearmanr

from scdart.metrics import branches_f1, diffusion_distance_correlation, pseudotime_consistency, pseudotime_kendall


def test_kendall_of_known_orders(rng):
    truth = rng.random(500)
    assert pseudotime_kendall(truth**3, truth) == pytest.approx(1)
    assert pseudotime_kendall(1 - truth, truth) == pytest.approx(-1)
    assert pseudotime_kendall(rng.permutation(truth), truth) == pytest.approx(0, abs=0.06)
    assert np.isnan(pseudotime_kendall(np.ones(500), truth))


def test_kendall_counts_pairs():
    # 1-2, 1-3, 2-4, 3-4, 1-4 in order, 2-3 swapped: (5 - 1) / 6
    assert pseudotime_kendall([1, 3, 2, 4], [1, 2, 3, 4]) == pytest.approx(4 / 6)
    # one tie in the first: (5 - 0) / sqrt(5 * 6)
    assert pseudotime_kendall([1, 2, 2, 4], [1, 2, 3, 4]) == pytest.approx(5 / np.sqrt(30))


def test_consistency_equals_scipy(rng):
    rna = rng.random(300)
    atac = rna**4 + 0.1 * rng.random(300)
    assert pseudotime_consistency(rna, atac) == pytest.approx(pearsonr(rna, atac).statistic)
    assert pseudotime_consistency(rna, atac, method="spearman") == pytest.approx(spearmanr(rna, atac).statistic)
    assert pseudotime_consistency(rna, 1 - rna) == pytest.approx(-1)
    assert np.isnan(pseudotime_consistency(rna, np.zeros(300)))


def test_branches_of_known_cases(rng):
    truth = np.repeat(["stem", "left", "right"], 100)
    assert branches_f1(np.repeat([2, 0, 1], 100), truth) == (1, 1, 1)
    # one branch for all: Jaccard 1/3 with each
    assert branches_f1(np.zeros(300), truth) == pytest.approx((1 / 3, 1 / 3, 1 / 3))
    # the stem cut in halves: recovery (1/2 + 1 + 1) / 3, relevance (1/2 + 1/2 + 1 + 1) / 4
    split = np.repeat([0, 3, 1, 2], [50, 50, 100, 100])
    recovery, relevance = 5 / 6, 3 / 4
    assert branches_f1(split, truth) == pytest.approx(
        (2 * recovery * relevance / (recovery + relevance), recovery, relevance)
    )
    swapped = branches_f1(truth, split)
    assert (swapped.f1, swapped.recovery) == pytest.approx((branches_f1(split, truth).f1, relevance))
    assert branches_f1(rng.permutation(truth), truth).f1 < 0.3


def target_distances(coordinates, n_blocks):
    return np.mean([pdist(block) for block in np.split(coordinates, n_blocks, axis=1)], axis=0)


@pytest.mark.parametrize("method", ["pearson", "spearman"])
def test_diffusion_distances_over_all_pairs_equal_scipy(rng, method):
    latent, coordinates = rng.normal(size=(80, 3)), rng.normal(size=(80, 12)) * np.repeat([1, 5, 0.2], 4)
    latent[:, 0] += coordinates[:, 4]
    reference = {"pearson": pearsonr, "spearman": spearmanr}[method]
    expected = reference(pdist(latent), target_distances(coordinates, 3)).statistic
    assert diffusion_distance_correlation(latent, coordinates, n_blocks=3, method=method) == pytest.approx(expected)
    assert diffusion_distance_correlation(latent, coordinates, n_blocks=1) != pytest.approx(expected, abs=1e-3)


def test_sampled_pairs_estimate_all_pairs(rng):
    latent, noise = rng.normal(size=(2, 400, 4))
    coordinates = np.hstack([latent + noise, latent - noise])
    expected = diffusion_distance_correlation(latent, coordinates, n_blocks=2)
    options = {"n_blocks": 2, "n_pairs": 20_000}
    sampled = [diffusion_distance_correlation(latent, coordinates, **options, random_state=s) for s in (0, 0, 1)]
    assert sampled == pytest.approx([expected] * 3, abs=0.02)
    assert sampled[0] == sampled[1] != sampled[2]


def test_diffusion_distances_of_known_cases(rng):
    coordinates = rng.normal(size=(300, 4))
    assert diffusion_distance_correlation(3 * coordinates + 1, coordinates, n_blocks=1) == pytest.approx(1)
    # A mirrored latent space keeps all distances: this score cannot see a flip.
    assert diffusion_distance_correlation(-coordinates, coordinates, n_blocks=1) == pytest.approx(1)
    assert diffusion_distance_correlation(rng.permutation(coordinates), coordinates, n_blocks=1) == pytest.approx(
        0, abs=0.1
    )
    assert np.isnan(diffusion_distance_correlation(np.zeros((300, 2)), coordinates, n_blocks=1))


@pytest.mark.parametrize("metric", [pseudotime_kendall, pseudotime_consistency])
@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        ([1, 2, 3], [1, 2], "has 3 cells and .* 2"),
        ([1, np.nan], [1, 2], "holds 1 NaN"),
        ([1, 2], [np.inf, 2], "holds 1 NaN or infinite"),
        ([], [], "1-D array of at least two"),
        ([[1, 2]], [[1, 2]], "1-D array of at least two"),
    ],
)
def test_bad_pseudotimes(metric, a, b, message):
    with pytest.raises(ValueError, match=message):
        metric(a, b)


def test_bad_method():
    with pytest.raises(ValueError, match="`method` must be one of .*, got 'kendall'"):
        pseudotime_consistency([1, 2], [1, 2], method="kendall")


def test_bad_branches():
    with pytest.raises(ValueError, match="`predicted` has 2 cells and `truth` 1"):
        branches_f1([0, 1], ["a"])
    with pytest.raises(ValueError, match="`predicted` holds 1 missing"):
        branches_f1([0, None], ["a", "b"])


@pytest.mark.parametrize(
    ("latent", "coordinates", "options", "message"),
    [
        (np.ones((5, 2)), np.ones((4, 2)), {"n_blocks": 1}, "`latent` has 5 cells and `coordinates` 4"),
        (np.ones((5, 2)), np.ones((5, 4)), {"n_blocks": 3}, "4 columns, which is not a multiple of `n_blocks`=3"),
        (np.ones((5, 2)), np.ones((5, 4)), {"n_blocks": 0}, "n_blocks=0 must be a whole number of at least 1"),
        (
            np.ones((5, 2)),
            np.ones((5, 4)),
            {"n_blocks": 2, "n_pairs": 1},
            "n_pairs=1 must be a whole number",
        ),
        (np.ones((2, 2)), np.ones((2, 4)), {"n_blocks": 2}, "at least three"),
        (np.ones((5, 2)), np.full((5, 4), np.nan), {"n_blocks": 2}, "`coordinates` holds 20 NaN"),
        (np.ones((0, 2)), np.ones((0, 4)), {"n_blocks": 2}, "`latent` must be a non-empty"),
    ],
)
def test_bad_diffusion_input(latent, coordinates, options, message):
    with pytest.raises(ValueError, match=message):
        diffusion_distance_correlation(latent, coordinates, **options)

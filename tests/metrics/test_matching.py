"""Scores of corresponding measurements, against dense formulas and known answers."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from scipy.stats import rankdata

from scdart.metrics import (
    _distances,
    alignment_score,
    foscttm,
    matching_cosine,
    matching_distance,
    neighborhood_overlap,
)

PAIRED = [foscttm, lambda a, b: neighborhood_overlap(a, b, k=2), matching_cosine, matching_distance]


@pytest.fixture
def mates(rng):
    z = rng.normal(size=(300, 5))
    return z, z + 0.4 * rng.normal(size=z.shape)


def dense_foscttm(z_rna, z_atac):
    d = cdist(z_rna, z_atac)
    # The mid-rank counts one for the mate itself, one for each closer and one half for each tied cell.
    to_atac = rankdata(d, axis=1).diagonal() - 1
    to_rna = rankdata(d, axis=0).diagonal() - 1
    return (to_atac.mean() + to_rna.mean()) / (2 * (len(d) - 1))


def dense_overlap(z_rna, z_atac, k):
    n = len(z_rna)
    z = np.concatenate([z_rna, z_atac])
    neighbors = np.argsort(cdist(z, z), axis=1)[:, :k]
    return np.mean([(i + n) % (2 * n) in neighbors[i] for i in range(2 * n)])


def test_foscttm_equals_the_dense_formula(mates):
    assert foscttm(*mates) == pytest.approx(dense_foscttm(*mates), abs=1e-12)
    assert foscttm(*mates) == foscttm(*mates[::-1])


def test_foscttm_of_known_cases(rng):
    z = rng.normal(size=(1000, 4))
    assert foscttm(z, z) == 0
    assert foscttm(z, rng.permutation(z)) == pytest.approx(0.5, abs=0.02)
    assert foscttm(z, rng.normal(size=z.shape)) == pytest.approx(0.5, abs=0.02)
    line = np.arange(101.0)[:, None]
    # A cell u from the middle of a mirrored line has its mate at 2u: all cells less far than that are closer.
    assert foscttm(line, line[::-1]) == pytest.approx(dense_foscttm(line, line[::-1]), abs=1e-12)
    assert foscttm(line, line[::-1]) > 0.5


def test_foscttm_counts_ties_as_one_half(rng):
    assert foscttm(np.zeros((50, 3)), np.zeros((50, 3))) == 0.5
    z = rng.normal(size=(40, 7))
    # Every cell twice: of the 79 other cells, the twin of the mate is tied.
    twins = np.tile(z, (2, 1))
    assert foscttm(twins, twins) == pytest.approx(0.5 / 79)
    shifted = twins + rng.normal(size=7)
    assert foscttm(twins, shifted) == pytest.approx(dense_foscttm(twins, shifted), abs=1e-12)


def test_worst_case_is_one():
    # Each cell's mate is the only far one.
    assert foscttm([[0.0], [1.0]], [[1.0], [0.0]]) == 1


def test_neighborhood_overlap_equals_the_dense_definition(mates):
    sizes = [1, 2, 10, 50, 600]
    curve = neighborhood_overlap(*mates, k=sizes)
    np.testing.assert_allclose(curve, [dense_overlap(*mates, k) for k in sizes], atol=1e-12)
    assert neighborhood_overlap(*mates, k=10) == curve[2]


def test_neighborhood_overlap_of_known_cases(rng):
    z = rng.normal(size=(500, 4))
    np.testing.assert_array_equal(neighborhood_overlap(z, z, k=[1, 2, 1000]), [0, 1, 1])
    assert neighborhood_overlap(z, rng.permutation(z), k=100) == pytest.approx(0.1, abs=0.05)
    # On one point, any order of the other 2n - 1 is as likely.
    assert neighborhood_overlap(np.zeros((50, 2)), np.zeros((50, 2)), k=11) == pytest.approx(10 / 99)


def test_results_do_not_depend_on_the_blocks(mates, monkeypatch):
    whole = foscttm(*mates), neighborhood_overlap(*mates, k=7), alignment_score(*mates, k=9)
    monkeypatch.setattr(_distances, "_BLOCK_MIB", 0.05)  # 21 rows
    assert (foscttm(*mates), neighborhood_overlap(*mates, k=7), alignment_score(*mates, k=9)) == whole


@pytest.mark.parametrize(
    "metric",
    [foscttm, lambda a, b: neighborhood_overlap(a, b, k=[2, 9]), lambda a, b: alignment_score(a[::2], b[1::2], k=30)],
)
def test_memory_follows_the_block_not_all_pairs(metric, rng, monkeypatch):
    monkeypatch.setattr(_distances, "_BLOCK_MIB", 4)
    n = 3000
    z = rng.normal(size=(n, 3))
    tracemalloc.start()
    metric(z, z)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < n * n * 8 / 2


def test_matching_cosine(rng):
    z = rng.normal(size=(200, 6))
    scale = rng.uniform(0.1, 10, size=(200, 1))
    assert matching_cosine(z, scale * z) == pytest.approx(1)
    assert matching_cosine(z, -z) == pytest.approx(-1)
    other = rng.normal(size=z.shape)
    cosine = (z * other).sum(1) / np.linalg.norm(z, axis=1) / np.linalg.norm(other, axis=1)
    assert matching_cosine(z, other) == pytest.approx(cosine.mean())


def test_matching_distance(rng):
    z, other = rng.normal(size=(2, 200, 6))
    assert matching_distance(z, z) == 0
    assert matching_distance(z, z + [3, 4, 0, 0, 0, 0]) == pytest.approx(5)
    expected = np.linalg.norm(z - other, axis=1).mean()
    assert matching_distance(z, other) == pytest.approx(expected)
    rms = np.sqrt((cdist(z, other) ** 2).mean())
    assert matching_distance(z, other, scaled=True) == pytest.approx(expected / rms)
    assert matching_distance(9 * z + 5, 9 * other + 5, scaled=True) == pytest.approx(expected / rms)
    assert np.isnan(matching_distance(np.ones((5, 2)), np.ones((5, 2)), scaled=True))


@pytest.mark.parametrize("metric", PAIRED)
@pytest.mark.parametrize(
    ("z_rna", "z_atac", "message"),
    [
        (np.ones((4, 2)), np.ones((3, 2)), "4 cells and `z_atac` 3"),
        (np.ones((4, 2)), np.ones((4, 3)), "2 latent dimensions and `z_atac` 3"),
        (np.ones((4, 2)), np.full((4, 2), np.nan), "`z_atac` holds 8 NaN"),
        (np.full((4, 2), np.inf), np.ones((4, 2)), "`z_rna` holds 8 NaN or infinite"),
        (np.ones((0, 2)), np.ones((0, 2)), "`z_rna` must be a non-empty"),
        (np.ones(4), np.ones(4), "`z_rna` must be a non-empty 2-D"),
        (np.ones((1, 2)), np.ones((1, 2)), "at least two"),
    ],
)
def test_bad_matrices(metric, z_rna, z_atac, message):
    with pytest.raises(ValueError, match=message):
        metric(z_rna, z_atac)


@pytest.mark.parametrize(
    ("k", "message"),
    [
        (0, "k=0 must be a whole number of at least 1"),
        (9, "at most 8"),
        ([2, 9], "at most 8"),
        (2.0, "k=2.0 must be a whole number"),
        (True, "k=True must be a whole number"),
        ([], r"k=\[\] must be a whole number"),
    ],
)
def test_bad_k(k, message):
    with pytest.raises(ValueError, match=message):
        neighborhood_overlap(np.ones((4, 2)), np.ones((4, 2)), k=k)


def test_cosine_at_the_origin():
    with pytest.raises(ValueError, match="2 cells of `z_atac` lie at the origin"):
        matching_cosine(np.ones((3, 2)), [[0, 0], [1, 1], [0, 0]])

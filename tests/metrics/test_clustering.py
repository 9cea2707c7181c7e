"""Agreement of clusterings: known answers, scikit-learn, scib-metrics."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

from scdart.metrics import cluster_consistency, nmi_ari, nmi_ari_kmeans


@pytest.fixture
def blobs(rng):
    labels = np.repeat(np.arange(5), [40, 30, 20, 60, 50])
    return 10 * rng.normal(size=(5, 6))[labels] + rng.normal(size=(200, 6)), labels


def test_nmi_ari_of_known_cases(rng):
    truth = rng.integers(4, size=2000)
    assert nmi_ari(np.array(list("dacb"))[truth], truth) == pytest.approx((1, 1))
    assert nmi_ari(rng.permutation(truth), truth) == pytest.approx((0, 0), abs=0.01)
    assert nmi_ari(np.zeros(2000), truth) == pytest.approx((0, 0))


def test_nmi_ari_equals_scikit_learn(rng):
    truth = rng.integers(4, size=500)
    predicted = np.where(rng.random(500) < 0.3, rng.integers(6, size=500), truth)
    score = nmi_ari(predicted, truth)
    assert score.nmi == pytest.approx(normalized_mutual_info_score(truth, predicted))
    assert score.ari == pytest.approx(adjusted_rand_score(truth, predicted))


def test_kmeans_recovers_separated_labels(blobs, rng):
    z, labels = blobs
    assert nmi_ari_kmeans(z, labels) == pytest.approx((1, 1))
    assert nmi_ari_kmeans(z, rng.permutation(labels)).ari == pytest.approx(0, abs=0.05)


def test_kmeans_agrees_with_scib_metrics(blobs):
    scib_metrics = pytest.importorskip("scib_metrics")
    assert nmi_ari_kmeans(*blobs)._asdict() == pytest.approx(scib_metrics.nmi_ari_cluster_labels_kmeans(*blobs))


def test_cluster_consistency_of_known_cases(blobs, rng):
    z, _ = blobs
    assert cluster_consistency(z, -3 * z + 100) == pytest.approx((1, 1))
    assert cluster_consistency(z, rng.permutation(z)) == pytest.approx((0, 0), abs=0.1)
    assert 0.1 < cluster_consistency(z, z + 8 * rng.normal(size=z.shape)).ari < 0.9


def test_cluster_consistency_is_deterministic(rng):
    z_rna, z_atac = rng.normal(size=(2, 100, 3))
    assert cluster_consistency(z_rna, z_atac, random_state=3) == cluster_consistency(z_rna, z_atac, random_state=3)


def test_bad_input():
    z = np.arange(8.0).reshape(4, 2)
    with pytest.raises(ValueError, match="`predicted` has 3 cells and `truth` 4"):
        nmi_ari([0, 1, 1], [0, 1, 1, 0])
    with pytest.raises(ValueError, match="`truth` holds a single class, '0'"):
        nmi_ari([0, 1, 1], [0, 0, 0])
    with pytest.raises(ValueError, match="`predicted` holds 1 missing"):
        nmi_ari([0, 1, np.nan], [0, 1, 1])
    with pytest.raises(ValueError, match="`predicted` must be a non-empty"):
        nmi_ari([], [])
    with pytest.raises(ValueError, match="`truth` has 2 labels for 4 cells"):
        nmi_ari_kmeans(z, [0, 1])
    with pytest.raises(ValueError, match="`truth` holds a single class"):
        nmi_ari_kmeans(z, [1, 1, 1, 1])
    with pytest.raises(ValueError, match="at most 4, the cells, got 5"):
        cluster_consistency(z, z)
    with pytest.raises(ValueError, match="at least 2"):
        cluster_consistency(z, z, n_clusters=1)
    with pytest.raises(ValueError, match="4 cells and `z_atac` 3"):
        cluster_consistency(z, z[:3], n_clusters=2)

"""Silhouettes against scikit-learn and known cases."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import silhouette_samples, silhouette_score

from scdart.metrics import silhouette_batch, silhouette_label

scored = pytest.mark.usefixtures("scib")


@pytest.fixture(scope="module")
def scib():
    pytest.importorskip("scib_metrics")


@scored
def test_silhouette_label_equals_scikit_learn(rng):
    labels = rng.choice(["a", "b", "c"], 300, p=[0.1, 0.3, 0.6])
    z = rng.normal(size=(300, 4)) + (labels == "c")[:, None]
    expected = silhouette_score(z, labels)
    assert silhouette_label(z, labels, rescale=False) == pytest.approx(expected, abs=1e-5)
    assert silhouette_label(z, labels) == pytest.approx((expected + 1) / 2, abs=1e-5)


@scored
def test_silhouette_label_of_known_cases(rng):
    labels = np.repeat([0, 1], 100)
    z = rng.normal(size=(200, 3))
    assert silhouette_label(z, labels) == pytest.approx(0.5, abs=0.02)
    assert silhouette_label(z + 1e4 * labels[:, None], labels) == pytest.approx(1, abs=1e-3)


@scored
def test_silhouette_batch_equals_the_definition_by_scikit_learn(rng):
    labels = np.repeat(["a", "b", "only rna"], [120, 60, 30])
    batch = np.where(rng.random(210) < 0.4, "rna", "atac")
    batch[labels == "only rna"] = "rna"
    z = rng.normal(size=(210, 4)) + 0.5 * (batch == "rna")[:, None]
    in_label = [np.abs(silhouette_samples(z[labels == l], batch[labels == l])).mean() for l in ("a", "b")]
    assert silhouette_batch(z, batch, labels=labels) == pytest.approx(1 - np.mean(in_label), abs=1e-5)
    assert silhouette_batch(z, batch, labels=labels, rescale=False) == pytest.approx(np.mean(in_label), abs=1e-5)
    overall = np.abs(silhouette_samples(z, batch)).mean()
    assert silhouette_batch(z, batch) == pytest.approx(1 - overall, abs=1e-5)


@scored
def test_silhouette_batch_of_known_cases(rng):
    batch = np.tile([0, 1], 200)
    z = rng.normal(size=(400, 3))
    assert silhouette_batch(z, batch) > 0.95
    assert silhouette_batch(z + 1e4 * batch[:, None], batch) < 0.01


def test_bad_input():
    z = np.arange(8.0).reshape(4, 2)
    with pytest.raises(ValueError, match="`labels` holds a single class, 'a'"):
        silhouette_label(z, ["a"] * 4)
    with pytest.raises(ValueError, match="a class of its own"):
        silhouette_label(z, list("abcd"))
    with pytest.raises(ValueError, match="`labels` has 3 labels for 4 cells"):
        silhouette_label(z, list("aab"))
    with pytest.raises(ValueError, match="`z` holds 8 NaN"):
        silhouette_label(z * np.nan, list("aabb"))
    with pytest.raises(ValueError, match="`z` must be a non-empty 2-D"):
        silhouette_batch(np.ones((0, 2)), [])
    with pytest.raises(ValueError, match="`batch` holds a single class"):
        silhouette_batch(z, ["rna"] * 4)
    with pytest.raises(ValueError, match="No class of `labels` has several cells in more than one `batch`"):
        silhouette_batch(z, list("rraa"), labels=list("1122"))
    with pytest.raises(ValueError, match="`labels` holds 1 missing"):
        silhouette_batch(z, list("rara"), labels=["1", "1", "2", None])

"""Label transfer with known answers and against scikit-learn."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.spatial.distance import cdist
from sklearn.metrics import balanced_accuracy_score

from scdart.metrics import label_transfer


def test_separated_classes_transfer_perfectly(rng):
    labels = pd.Categorical(np.repeat(["HSC", "MEP", "CLP"], 40), categories=["CLP", "HSC", "MEP", "unused"])
    z = 20.0 * labels.codes[:, None] + rng.normal(size=(120, 3))
    assert label_transfer(z, labels, z + 0.1, labels) == (1, 1)


def test_wrong_labels_are_counted_per_class():
    z = np.arange(10.0)[:, None]
    ref = ["a"] * 5 + ["b"] * 5
    query = ["a"] * 4 + ["b"] * 6  # cell 4 lies among a
    assert label_transfer(z, ref, z, query, k=1) == pytest.approx((0.9, (1 + 5 / 6) / 2))


def test_random_labels_transfer_at_chance(rng):
    z_ref, z_query = rng.normal(size=(2, 2000, 4))
    score = label_transfer(z_ref, rng.integers(4, size=2000), z_query, rng.integers(4, size=2000))
    assert score == pytest.approx((0.25, 0.25), abs=0.04)


def test_equals_a_vote_over_the_dense_distances(rng):
    z_ref, z_query = rng.normal(size=(2, 200, 3))
    ref, query = (np.digitize(z[:, 0] + rng.normal(size=200), [-1, 1]) for z in (z_ref, z_query))
    nearest = np.argsort(cdist(z_query, z_ref), axis=1)[:, :7]
    vote = np.array([np.bincount(ref[i]).argmax() for i in nearest])
    score = label_transfer(z_ref, ref, z_query, query, k=7)
    assert score.accuracy == np.mean(vote == query)
    assert score.balanced_accuracy == pytest.approx(balanced_accuracy_score(query, vote))


@pytest.mark.filterwarnings("error")
def test_classes_may_differ_between_the_modalities():
    z = np.array([[0.0], [1.0], [2.0]])
    assert label_transfer(z, ["a", "b", "c"], z, ["a", "b", "new"], k=1) == pytest.approx((2 / 3, 2 / 3))
    # c is only predicted: the balanced accuracy is over the classes of the query
    assert label_transfer(z, ["a", "b", "c"], z, ["a", "b", "b"], k=1) == pytest.approx((2 / 3, 0.75))


@pytest.mark.parametrize(
    ("labels_ref", "labels_query", "k", "message"),
    [
        (["a", "a", "a"], ["a", "b", "b"], 1, "`labels_ref` holds a single class, 'a'"),
        (["a", "b"], ["a", "b", "b"], 1, "`labels_ref` has 2 labels for 3 cells"),
        (["a", "b", "b"], ["a", "b"], 1, "`labels_query` has 2 labels for 3 cells"),
        (["a", np.nan, "b"], ["a", "b", "b"], 1, "`labels_ref` holds 1 missing"),
        (["a", "b", "b"], ["a", None, None], 1, "`labels_query` holds 2 missing"),
        (["a", "b", "b"], ["a", "b", "b"], 4, "at most 3, the reference cells, got 4"),
        ([], ["a", "b", "b"], 1, "`labels_ref` must be a non-empty"),
    ],
)
def test_bad_input(labels_ref, labels_query, k, message):
    z = np.arange(3.0)[:, None]
    with pytest.raises(ValueError, match=message):
        label_transfer(z, labels_ref, z, labels_query, k=k)


def test_different_latent_spaces():
    with pytest.raises(ValueError, match="same latent space"):
        label_transfer(np.ones((2, 3)), ["a", "b"], np.ones((2, 2)), ["a", "b"], k=1)

"""Soft neighbours against dense formulas; confidence on populations that one modality lacks."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from scdart.pp import _matching
from scdart.pp._anchor_settings import AnchorSettings
from scdart.pp._matching import (
    Related,
    counterpart_confidence,
    drawn_by_label,
    is_reciprocated,
    related_neighbors,
    soft_neighbors,
)


def neighbors(n):
    return AnchorSettings(n_neighbors=n)


@pytest.fixture
def clouds():
    rng = np.random.default_rng(0)
    return rng.normal(size=(40, 4)), rng.normal(size=(60, 4))


def test_weights_fall_with_the_distance_in_units_of_the_furthest_neighbour(clouds):
    query, reference = clouds
    distances = cdist(query, reference)
    furthest = np.sort(distances, axis=1)[:, [6]]
    expected = np.where(distances <= furthest, np.exp(-2 * (distances / furthest) ** 2), 0)
    expected /= expected.sum(axis=1, keepdims=True)
    weights = soft_neighbors(query, reference, neighbors(7))
    assert weights.nnz == 7 * 40
    np.testing.assert_allclose(weights.toarray(), expected, atol=1e-12)


def test_only_candidates_are_neighbours(clouds):
    query, reference = clouds
    candidates = np.arange(1, 60, 3)
    weights = soft_neighbors(query, reference, neighbors(5), candidates)
    assert weights.shape == (40, 60)
    expected = soft_neighbors(query, reference[candidates], neighbors(5))
    np.testing.assert_array_equal(weights[:, candidates].toarray(), expected.toarray())
    np.testing.assert_allclose(weights.sum(axis=1), 1)


def test_few_or_coincident_reference_cells_are_no_problem():
    reference = np.zeros((3, 2))
    for query in (np.zeros((2, 2)), np.ones((2, 2))):
        np.testing.assert_allclose(soft_neighbors(query, reference, neighbors(10)).toarray(), np.full((2, 3), 1 / 3))


def test_cells_that_the_other_modality_lacks_have_no_confidence():
    rng = np.random.default_rng(0)
    population = np.repeat([0, 1], 150)
    own = 10 * np.eye(2)[population] + rng.normal(size=(300, 2))
    shared = rng.normal(size=(300, 3))  # which says nothing about the population
    received = np.where(population == 0, rng.poisson(3, size=300), 0.0)
    confused = counterpart_confidence(received, shared, own, neighbors(20))
    assert confused.shape == (300,)
    assert (confused.min() >= 0) & (confused.max() == 1)
    for candidates in (np.arange(300), np.arange(0, 300, 2)):
        confidence = counterpart_confidence(received, own, own[candidates], neighbors(20), candidates)
        assert confidence[population == 0].min() > 0.7  # the mass that they receive is random
        assert np.median(confidence[population == 0]) > 0.9
        assert confidence[population == 1].max() < 0.01


def test_hubs_do_not_lend_their_confidence():
    positions = np.linspace(0, 1, 100)[:, None]
    received = np.ones(100)
    received[0] = 1000
    assert counterpart_confidence(received, positions, positions, neighbors(10)).min() > 0.99


def test_confidence_is_in_units_of_what_cells_with_a_counterpart_receive():
    population = np.repeat([0, 1], [80, 20])
    positions = 10.0 * population[:, None] + np.random.default_rng(0).normal(size=(100, 1))
    # 80/20 against 20/80: the 20 receive 80% of the mass.
    received = np.where(population == 0, 0.25, 4.0)
    confidence = counterpart_confidence(received, positions, positions, neighbors(10))
    np.testing.assert_allclose(confidence[population == 0], 0.25 / 4, rtol=1e-6)
    np.testing.assert_allclose(confidence[population == 1], 1)
    # However many cells the other modality lacks.
    received = np.where(population == 0, 0.0, 5.0)
    confidence = counterpart_confidence(received, positions, positions, neighbors(10))
    np.testing.assert_allclose(confidence, population, atol=1e-6)


def test_round_trips_tell_scarce_from_missing_counterparts(monkeypatch):
    rng = np.random.default_rng(0)
    # Cells of the other modality: as many for the first half, one in five for the next quarter, none for the last.
    place = np.linspace(0, 4, 400)
    other = np.concatenate([place[:200], place[200:300:5]])
    forth, back = (
        soft_neighbors(*pair, neighbors(5))
        for pair in ((place[:, None], other[:, None]), (other[:, None], place[:, None]))
    )
    own = np.column_stack([place, 0.01 * rng.normal(size=400)])
    found = is_reciprocated(forth, back, own, neighbors(10))
    received = counterpart_confidence(np.asarray(back.sum(axis=0)).ravel(), place[:, None], own, neighbors(10))
    assert found[:290].mean() > 0.95
    assert not found[330:].any()
    assert np.median(received[220:280]) < 0.5
    monkeypatch.setattr(_matching, "_WORKING_MEMORY", 0.05)
    np.testing.assert_array_equal(is_reciprocated(forth, back, own, neighbors(10)), found)


def test_mass_that_few_cells_receive_is_still_told_apart():
    """Among 400 cells, 10 receive all: fewer than the share that is cut for being hubs."""
    rng = np.random.default_rng(0)
    own = rng.normal(size=(400, 2))
    own[:10] += 10
    received = np.zeros(400)
    received[:10] = 5.0
    confidence = counterpart_confidence(received, own, own, neighbors(5))
    assert confidence[:10].min() > 0.9
    assert confidence[10:].max() < 0.1
    np.testing.assert_array_equal(counterpart_confidence(np.zeros(400), own, own, neighbors(5)), 0)


def test_neighbours_have_a_label_that_goes_with_the_cells_own(clouds):
    query, reference = clouds
    related = np.array([[True, False], [False, False]])
    labels = Related(np.repeat([0, 1, -1], [20, 10, 10]), np.repeat([0, -1], 30), related)
    candidates = np.arange(0, 60, 2)
    weights = related_neighbors(query, reference, neighbors(5), candidates, labels)
    np.testing.assert_allclose(
        weights[:20].toarray(), soft_neighbors(query[:20], reference, neighbors(5), candidates[:15]).toarray()
    )
    assert weights[20:30].nnz == 0
    np.testing.assert_allclose(
        weights[30:].toarray(), soft_neighbors(query[30:], reference, neighbors(5), candidates).toarray()
    )


def test_drawn_cells_have_a_label_that_goes_with_the_cells_own():
    groups = Related(np.array([0, 1, 2, -1, 0]), np.array([0, 0, 1, -1, 0, 1]), np.eye(3, dtype=bool))
    drawn = drawn_by_label(groups, np.arange(5), 200, np.random.default_rng(0)).toarray()
    np.testing.assert_allclose(drawn[[0, 4]].mean(axis=0), [1 / 3, 1 / 3, 0, 0, 1 / 3, 0], atol=0.05)
    np.testing.assert_allclose(drawn[1], [0, 0, 1, 0, 0, 0])  # the other cell of its label is no candidate
    assert not drawn[2:4].any()  # no cell of the other modality has its label, or it has none

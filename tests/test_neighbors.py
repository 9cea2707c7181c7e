"""The one search for neighbours, against all distances written out."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from scdart._neighbors import Neighbors, is_exact, nearest

ALGORITHMS = ["brute", "kd_tree", "auto", "approximate"]


@pytest.fixture
def clouds(exact_search):
    rng = np.random.default_rng(0)
    return rng.normal(size=(40, 3)), rng.normal(0.5, 1, size=(60, 3))


def distances_between(query, reference):
    return np.sqrt(((query[:, None] - reference[None]) ** 2).sum(axis=2))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_nearest_of_another_cloud(clouds, algorithm):
    query, reference = clouds
    found = nearest(query, reference, n_neighbors=7, algorithm=algorithm)
    expected = distances_between(query, reference)
    np.testing.assert_array_equal(found.indices, np.argsort(expected, axis=1)[:, :7])
    assert found.distances.dtype == np.float64
    np.testing.assert_allclose(found.distances, np.sort(expected, axis=1)[:, :7], rtol=1e-5)


def test_coordinates_of_two_types_are_compared_block_by_block(clouds):
    query, reference = (np.tile(cloud, (200, 1)) for cloud in clouds)
    tracemalloc.start()
    found = nearest(query.astype(np.float32), reference, n_neighbors=7)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < query.shape[0] * reference.shape[0] * 8 / 10
    np.testing.assert_allclose(found.distances, nearest(query, reference, n_neighbors=7).distances, atol=1e-6)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_of_the_same_cloud_a_cell_is_its_own_neighbour(clouds, algorithm):
    own, _ = clouds
    found = nearest(own, own, n_neighbors=4, algorithm=algorithm)
    np.testing.assert_array_equal(found.indices, np.argsort(distances_between(own, own), axis=1)[:, :4])
    np.testing.assert_allclose(found.distances[:, 0], 0, atol=1e-7)


@pytest.mark.parametrize("algorithm", ["brute", "kd_tree", "auto"])
def test_without_reference_a_cell_is_not_its_own_neighbour(clouds, algorithm):
    own, _ = clouds
    found = nearest(own, n_neighbors=4, algorithm=algorithm)
    np.testing.assert_array_equal(found.indices, np.argsort(distances_between(own, own), axis=1)[:, 1:5])


def test_only_trees_know_that_a_cell_is_at_no_distance_from_itself(clouds):
    far = clouds[0] + 1e3
    assert (nearest(far, far, n_neighbors=1, algorithm="kd_tree").distances == 0).all()
    assert nearest(far, far, n_neighbors=1).distances.max() < 1e-3


def test_neighbours_that_approximate_search_missed_are_infinitely_far(clouds, exact_search, monkeypatch):
    class Misses(exact_search):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            self.neighbor_graph[0][3, 2:] = -1

    monkeypatch.setattr("pynndescent.NNDescent", Misses)
    found = nearest(clouds[0], clouds[0], n_neighbors=4, algorithm="approximate")
    assert np.argwhere(np.isinf(found.distances)).tolist() == [[3, 2], [3, 3]]


def test_approximate_search_walks_along_enough_links(clouds, exact_search):
    query, reference = clouds
    nearest(query, reference, n_neighbors=5, algorithm="approximate")
    assert exact_search.n_links == 30
    nearest(query, query, n_neighbors=5, algorithm="approximate")
    assert exact_search.n_links == 5


def test_size_at_which_search_becomes_approximate(monkeypatch):
    assert is_exact(50_000, 50_000)
    assert not is_exact(50_000, 50_001)
    assert is_exact(1_000_000, 2_500)
    monkeypatch.setattr("scdart._neighbors.MAX_EXACT", 10)
    assert is_exact(20, 5)
    assert not is_exact(21, 5)


def test_weights_against_their_definition(clouds):
    query, reference = clouds
    weights = nearest(query, reference, n_neighbors=7).weights(lambda relative: np.exp(-relative), len(reference))
    distances = distances_between(query, reference)
    furthest = np.sort(distances, axis=1)[:, [6]]
    expected = np.where(distances <= furthest, np.exp(-distances / furthest), 0)
    np.testing.assert_allclose(weights.toarray(), expected / expected.sum(axis=1, keepdims=True))


def test_neighbours_that_all_coincide_with_the_cell_count_the_same():
    found = Neighbors(np.zeros((1, 2)), np.array([[2, 0]]))
    assert found.weights(lambda relative: np.exp(-relative), 3).toarray().tolist() == [[0.5, 0, 0.5]]


def test_values_stand_where_the_neighbours_are():
    found = Neighbors(np.zeros((2, 2)), np.array([[2, 0], [1, 2]]))
    matrix = found.to_csr(np.array([[1.0, 2.0], [3.0, 0.0]]), 4)
    assert matrix.toarray().tolist() == [[2, 0, 1, 0], [0, 3, 0, 0]]
    assert matrix.nnz == 4  # a value of zero is a neighbour, too

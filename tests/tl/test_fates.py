from __future__ import annotations

import numpy as np
from scipy import sparse

from scdart.tl._fates import reached_first


def chain(n):
    return sparse.diags([np.ones(n - 1), np.ones(n - 1)], [-1, 1]).tocsr()


def test_nearer_end_of_a_chain_comes_first():
    # Of a walk between two ends, the nearer one is reached first with the larger probability: the gambler's ruin.
    first = reached_first(chain(8), np.arange(1, 7), [np.array([0]), np.array([7])])
    np.testing.assert_array_equal(first, [0, 0, 0, 1, 1, 1])


def test_probabilities_are_those_of_an_absorbing_chain():
    rng = np.random.default_rng(0)
    weights = np.triu(rng.uniform(size=(30, 30)) * (rng.uniform(size=(30, 30)) < 0.2), 1)
    weights += weights.T
    cells, sides = np.arange(18), [np.arange(18, 21), np.arange(21, 25), np.arange(25, 30)]
    step = weights[:18] / weights[:18].sum(axis=1, keepdims=True)
    absorbed = np.linalg.inv(np.eye(18) - step[:, :18]) @ np.column_stack([step[:, side].sum(axis=1) for side in sides])
    np.testing.assert_allclose(absorbed.sum(axis=1), 1)
    first = reached_first(sparse.csr_matrix(weights), cells, sides)
    np.testing.assert_array_equal(first, absorbed.argmax(axis=1))
    assert len(set(first)) > 1


def test_links_elsewhere_do_not_count():
    links = chain(4).tolil()
    links[1, 3] = links[3, 1] = 100  # cell 3 is neither a start nor on a side
    first = reached_first(links.tocsr(), np.array([1]), [np.array([0]), np.array([2])])
    np.testing.assert_array_equal(first, [0])


def test_cells_that_reach_no_side():
    links = sparse.block_diag([chain(3), chain(2), np.zeros((1, 1))]).tocsr()
    first = reached_first(links, np.array([1, 3, 4, 5]), [np.array([0]), np.array([2])])
    np.testing.assert_array_equal(first, [0, -1, -1, -1])

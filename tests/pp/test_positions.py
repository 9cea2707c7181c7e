"""Positions within a modality: lengths against a line, correspondence on trees whose cells are known."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from scdart.metrics import foscttm
from scdart.pp import _positions
from scdart.pp._anchor_settings import AnchorSettings
from scdart.pp._positions import Partners, knn_graph, relative_positions

SETTINGS = AnchorSettings()


def tree(seed, n_features, scale=1.0):
    """Cells on three branches from one fork: coordinates in directions of their own, time and branch."""
    rng = np.random.default_rng(seed)
    branch = np.repeat(np.arange(3), 100)
    time = np.tile(np.linspace(0, 1, 100), 3)
    directions = np.linalg.qr(rng.normal(size=(n_features, 3)))[0].T
    noise = 0.02 * rng.normal(size=(300, n_features))
    return scale * (5 * time[:, None] * directions[branch] + noise), time, branch


def choice(partner, n_other, confidence=None):
    """Everybody chose one partner."""
    n_own = len(partner)
    weights = sp.csr_matrix((np.ones(n_own), (np.arange(n_own), partner)), shape=(n_own, n_other))
    return Partners(weights, np.ones(n_own) if confidence is None else confidence)


def positions(rna, atac, to_atac, to_rna, seed=0):
    choices = choice(to_atac, len(atac)), choice(to_rna, len(rna))
    return relative_positions(knn_graph(rna, 15), knn_graph(atac, 15), *choices, SETTINGS, np.random.default_rng(seed))


def test_paths_on_a_line_are_differences():
    place = np.cumsum(np.random.default_rng(0).uniform(0.5, 1.5, size=40))
    milestones = np.array([3, 17, 30])
    found = _positions._sqrt_geodesics(knn_graph(place[:, None], 2), milestones)
    lengths = np.abs(place[:, None] - place[milestones])
    typical = np.median([place[17] - place[3], place[30] - place[17], place[30] - place[3]])
    np.testing.assert_allclose(found, np.sqrt(lengths / typical / 3), rtol=1e-5, atol=1e-7)


def test_partners_lie_in_the_same_place_whatever_the_features():
    rna, atac = tree(1, 10)[0], tree(2, 25, scale=40)[0]
    everybody = np.arange(300)
    assert foscttm(*positions(rna, atac, everybody, everybody)) < 0.01


def test_wrong_partners_are_outvoted():
    rna, atac = tree(1, 10)[0], tree(2, 25)[0]
    rng = np.random.default_rng(0)
    wrong = rng.permutation(300)[:60]
    to = np.arange(300)
    to[wrong] = rng.permutation(300)[:60]
    assert foscttm(*positions(rna, atac, to, to)) < 0.02


def test_cells_that_are_not_trusted_are_no_milestones():
    confidence = np.ones(100)
    confidence[::2] = 0
    chooser, chosen = choice(np.arange(100), 100, confidence), choice(np.arange(100), 100)
    cells, partners = _positions._milestones(chooser, chosen, SETTINGS, np.random.default_rng(0))
    assert len(cells) == 50
    assert (cells % 2 == 1).all()
    np.testing.assert_array_equal(cells, partners)


def test_a_fork_is_not_taken_for_a_branch_that_the_other_modality_lacks():
    rna, time, branch = tree(1, 10)
    kept = np.flatnonzero(branch < 2)
    atac = tree(2, 25)[0][kept]
    # The lone branch looks like the fork: its cells chose cells there, and cells there chose its middle.
    fork = np.flatnonzero(time[kept] < 0.1)
    to_atac = np.arange(300)
    to_atac[branch == 2] = np.resize(fork, 100)
    to_rna = kept.copy()
    to_rna[fork] = np.flatnonzero((branch == 2) & (np.abs(time - 0.5) < 0.1))
    confidence = np.where(branch == 2, 0.3, 1.0)
    choices = Partners(choice(to_atac, 200).weights, confidence), choice(to_rna, 300)
    z_rna, z_atac = relative_positions(
        knn_graph(rna, 15), knn_graph(atac, 15), *choices, SETTINGS, np.random.default_rng(0)
    )
    nearest = np.linalg.norm(z_atac[fork, None] - z_rna, axis=2).argmin(axis=1)
    assert (time[nearest] < 0.25).all()


@pytest.mark.parametrize("n_same", [5, 40])
def test_coincident_cells_and_parts_without_a_path_have_finite_positions(n_same):
    rna, atac = tree(1, 10)[0], tree(2, 25)[0]
    rna[:n_same] = rna[0]
    rna[200:] += 1e3
    everybody = np.arange(300)
    z_rna, z_atac = positions(rna, atac, everybody, everybody)
    assert np.isfinite(z_rna).all()
    assert np.isfinite(z_atac).all()
    np.testing.assert_allclose(z_rna[1:n_same], np.tile(z_rna[0], (n_same - 1, 1)), atol=1e-6)


@pytest.mark.parametrize("trust", [0.0, 1e-90])
def test_where_no_pair_can_be_trusted_all_cells_lie_in_the_same_place(trust):
    """1e-90 to the fourth power is nothing."""
    rna, *_ = tree(0, 30)
    nobody = choice(np.arange(300) % 200, 200, np.full(300, trust))
    found = relative_positions(
        knn_graph(rna, 15),
        knn_graph(rna[:200], 15),
        nobody,
        choice(np.arange(200), 300, np.zeros(200)),
        SETTINGS,
        np.random.default_rng(0),
    )
    assert [len(part) for part in found] == [300, 200]
    for part in found:
        np.testing.assert_array_equal(part, 0)

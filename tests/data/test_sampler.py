from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from scdart.data import PairSampler, steps_per_epoch

ROWS = {"rna": np.arange(40), "atac": np.arange(100, 130) - 100}


@pytest.fixture
def anchors():
    # Cells of the same third are partners; the last five RNA cells and the first two ATAC cells have none.
    third = {"rna": np.arange(40) * 3 // 40, "atac": np.arange(30) * 3 // 30}
    weights = (third["rna"][:, None] == third["atac"][None, :]).astype(float)
    weights[35:], weights[:, :2] = 0, 0
    return sparse.csr_matrix(weights)


def test_every_pair_is_linked_by_an_anchor(anchors):
    for request in PairSampler(ROWS, anchors, batch_size=8):
        linked = np.asarray(anchors[request["rna"], request["atac"]]).ravel() > 0
        np.testing.assert_array_equal(linked, request["pair_weight"] > 0)


def test_leaders_without_anchor_get_weight_zero_and_keep_their_place(anchors):
    seen = {"rna": set(), "atac": set()}
    for request in PairSampler(ROWS, anchors, batch_size=8):
        assert len(request["rna"]) == len(request["atac"]) == 8
        for role in seen:
            seen[role] |= set(request[role].tolist())
    assert seen["rna"] == set(range(40))
    assert seen["atac"] == set(range(30))


def test_partners_are_drawn_in_proportion_to_the_weights():
    anchors = sparse.csr_matrix(np.array([[0.7, 0.2, 0.0, 0.1]] * 4))
    rows = {"rna": np.arange(4), "atac": np.arange(4)}
    sampler = PairSampler(rows, anchors, batch_size=4)
    led = np.concatenate([request["atac"][:2] for _ in range(2000) for request in sampler])
    share = np.bincount(led, minlength=4) / len(led)
    np.testing.assert_allclose(share, [0.7, 0.2, 0.0, 0.1], atol=4 * np.sqrt(0.25 / len(led)))


def test_pair_weight_is_the_confidence_of_the_leader(anchors):
    confidence = {"rna": np.linspace(0, 1, 40), "atac": np.linspace(1, 0, 30)}
    for request in PairSampler(ROWS, anchors, confidence, batch_size=6):
        linked = np.asarray(anchors[request["rna"], request["atac"]]).ravel() > 0
        leader = np.concatenate([confidence["rna"][request["rna"][:3]], confidence["atac"][request["atac"][3:]]])
        np.testing.assert_allclose(request["pair_weight"], leader * linked, rtol=1e-6)


def test_without_anchors_modalities_are_independent_and_complete():
    requests = list(PairSampler(ROWS, batch_size=10))
    assert len(requests) == 4
    assert "pair_weight" not in requests[0]
    assert sorted(np.concatenate([r["rna"] for r in requests])) == list(range(40))


def test_epochs_differ_and_repeat_with_the_seed(anchors):
    def epochs(**kwargs):
        sampler = PairSampler(ROWS, anchors, batch_size=8, **kwargs)
        return [np.concatenate([request["rna"] for request in sampler]) for _ in range(2)]

    first, second = epochs(seed=3)
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(epochs(seed=3), [first, second])
    assert not np.array_equal(epochs(seed=4)[0], first)
    np.testing.assert_array_equal(*epochs(seed=3, shuffle=False))


def test_processes_share_the_steps_of_one_epoch(anchors, monkeypatch):
    whole = [request["rna"] for request in PairSampler(ROWS, anchors, batch_size=8)]
    parts = []
    for rank in range(2):
        monkeypatch.setattr("scdart.data._sampler._process", lambda rank=rank: (rank, 2))
        parts.append([request["rna"] for request in PairSampler(ROWS, anchors, batch_size=8)])
    assert len(parts[0]) == len(parts[1])
    np.testing.assert_array_equal([rows for pair in zip(*parts, strict=True) for rows in pair], whole)


def test_epochs_are_capped():
    assert steps_per_epoch({"rna": 1000, "atac": 10}, 100, paired=False) == 10
    assert steps_per_epoch({"rna": 1000, "atac": 10}, 100, paired=True) == 20
    assert steps_per_epoch({"rna": 10**6, "atac": 10**6}, 256, paired=True) == 100

"""The label-free score: exact null distribution, and genes that are truly held out."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
import scipy.sparse as sp

from scdart.pp._agreement import _combine, _cross_correlation_score, held_out_agreement
from scdart.pp._anchor_settings import AnchorSettings
from scdart.pp._correspondence import Coordinates, Evidence


@pytest.fixture(scope="module")
def evidence():
    rng = np.random.default_rng(0)
    time = rng.uniform(-1, 1, size=(80, 1))
    rate = np.exp(time * rng.normal(size=24))
    peaks = rng.poisson(rate.repeat(2, axis=1))
    links = np.eye(24).repeat(2, axis=0)
    links[0, 1] = 1  # a peak of two genes
    prior = sp.csr_matrix(links)
    return Evidence(sp.csr_matrix(rng.poisson(rate), dtype=float), sp.csr_matrix(peaks, dtype=float), prior), time


def test_null_is_that_of_all_permutations_of_the_genes():
    rng = np.random.default_rng(0)
    transferred, activity = rng.normal(size=(2, 30, 5))
    correlation = transferred.T @ activity / 30
    traces = [sum(correlation[g, p[g]] for g in range(5)) for p in permutations(range(5))]
    n_genes, trace, mean, variance = _cross_correlation_score(transferred, activity)
    assert n_genes == 5
    assert trace == pytest.approx(np.trace(correlation))
    assert mean == pytest.approx(np.mean(traces))
    assert variance == pytest.approx(np.var(traces))
    agreement = _combine(((5, 1.0, 0.2, 0.04), (3, 0.6, 0.0, 0.12)))
    assert agreement == pytest.approx((1.6 / 8, 1.4 / 0.4))


def test_held_out_genes_and_their_peaks_are_not_seen(evidence):
    data, time = evidence
    seen = []

    def infer(part, rng):
        seen.append(part)
        return [Coordinates(time, time)]

    held_out_agreement(data, infer, AnchorSettings(n_neighbors=5), np.random.default_rng(0))
    genes = [part.expression.shape[1] for part in seen]
    assert genes == [12, 12]
    for part in seen:
        assert part.prior.shape == (part.accessibility.shape[1], part.expression.shape[1])
        # All peaks that are left have a gene that is left, and the peak of two genes is there only if both are.
        assert part.prior.getnnz(axis=1).min() > 0
    peaks = {tuple(column) for part in seen for column in part.accessibility.T.toarray()}
    both = sum(part.prior.getnnz(axis=1).max() == 2 for part in seen)
    assert len(peaks) == sum(part.accessibility.shape[1] for part in seen) == (48 if both else 47)


def test_right_correspondence_beats_wrong_one(evidence):
    data, time = evidence
    shuffled = np.random.default_rng(1).permutation(time)
    right, wrong, mirrored = held_out_agreement(
        data,
        lambda part, rng: [Coordinates(time, time), Coordinates(time, shuffled), Coordinates(time, -time)],
        AnchorSettings(n_neighbors=10),
        np.random.default_rng(0),
    )
    assert right.correlation > 0.3
    assert right.z > 4
    assert abs(wrong.z) < 3
    assert mirrored.z < -3

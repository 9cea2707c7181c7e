"""Canonical coordinates against the dense formula; refinement against known pairs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.metrics import roc_auc_score

from scdart._groups import Groups
from scdart.metrics import foscttm
from scdart.pp import _correspondence
from scdart.pp._anchor_settings import AnchorSettings
from scdart.pp._correspondence import (
    Coordinates,
    Evidence,
    draw_landmarks,
    leaning_on_labels,
    override_rows,
    partners,
    refined_coordinates,
    similarity,
)
from scdart.pp._features import log_normalize, tfidf
from scdart.pp._group_directions import group_directions, with_groups
from scdart.pp._variants import VARIANTS, coordinate_variants

SETTINGS = AnchorSettings(n_components=5, n_neighbors=20)


@pytest.fixture(scope="module")
def evidence():
    """Cells on a line, the same in both modalities: row i of one is row i of the other."""
    rng = np.random.default_rng(0)
    n_cells, n_genes = 150, 60
    time = np.linspace(-1, 1, n_cells)[:, None]
    peak_of = np.repeat(np.arange(n_genes), 2)
    trend = np.sin(3 * time * rng.normal(size=n_genes) + rng.uniform(0, 6, size=n_genes))
    free = np.sin(3 * time * rng.normal(size=200) + rng.uniform(0, 6, size=200))  # peaks without link
    rna = rng.poisson(2 * np.exp(trend))
    atac = np.hstack([rng.poisson(0.3 * np.exp(trend[:, peak_of])), rng.poisson(0.3 * np.exp(free))])
    prior = sp.vstack([sp.csr_matrix(np.eye(n_genes)[peak_of]), sp.csr_matrix((200, n_genes))], format="csr")
    return Evidence(log_normalize(sp.csr_matrix(rna)), tfidf(sp.csr_matrix(atac)), prior)


def canonical_coordinates(evidence, landmarks=None):
    landmarks = draw_landmarks(evidence, SETTINGS, np.random.default_rng(0)) if landmarks is None else landmarks
    return similarity(evidence, SETTINGS).coordinates(landmarks, 5)


def dense_similarity(evidence):
    expression = evidence.expression.toarray().astype(float)
    z = (expression - expression.mean(axis=0)) / expression.std(axis=0)
    u, _, _ = np.linalg.svd(z, full_matrices=False)
    basis = u[:, :30]
    activity = evidence.accessibility.toarray().astype(float) @ evidence.prior.toarray()
    expected = activity.sum(axis=1, keepdims=True) * activity.sum(axis=0) / activity.sum()
    residual = np.minimum((activity - expected) / np.sqrt(expected), 10)
    return basis @ basis.T @ z @ residual.T


def dense_canonical(evidence, n_components):
    u, s, vt = np.linalg.svd(dense_similarity(evidence))
    coordinates = (u[:, :n_components] * np.sqrt(s[:n_components]), vt[:n_components].T * np.sqrt(s[:n_components]))
    return [part / np.linalg.norm(part, axis=1, keepdims=True) for part in coordinates]


@pytest.mark.parametrize("chunk", [4096, 13])
def test_canonical_coordinates_are_the_dense_formula(evidence, monkeypatch, chunk):
    monkeypatch.setattr(_correspondence, "_CHUNK", chunk)
    found = canonical_coordinates(evidence).unit()
    rna, atac = dense_canonical(evidence, 5)
    # Up to the signs of the components, the same in both modalities.
    np.testing.assert_allclose(found.rna @ found.atac.T, rna @ atac.T, atol=1e-3)
    np.testing.assert_allclose(np.linalg.norm(found.rna, axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(found.atac, axis=1), 1, rtol=1e-6)


def test_cells_that_are_no_landmarks_are_placed_by_their_similarity_to_these(evidence):
    some = draw_landmarks(evidence, SETTINGS, np.random.default_rng(0))._replace(
        rna=np.arange(90), atac=np.arange(40, 150)
    )
    similar = dense_similarity(evidence)
    similar = similar - similar[:90].mean(axis=0)
    similar -= similar[:, 40:].mean(axis=1, keepdims=True)
    u, s, vt = np.linalg.svd(similar[:90, 40:], full_matrices=False)
    found = similarity(evidence, SETTINGS).centred(some).coordinates(some, 5)
    signs = np.sign((found.rna[:90] * u[:, :5]).sum(axis=0))
    for one, expected in ((found.rna, similar[:, 40:] @ vt[:5].T), (found.atac, similar[:90].T @ u[:, :5])):
        expected = expected / np.sqrt(s[:5])
        np.testing.assert_allclose(one, signs * expected, atol=2e-3 * abs(expected).max())


def test_more_components_than_the_data_hold_are_empty(evidence):
    few = replace(evidence, prior=(evidence.prior @ sp.diags((np.arange(60) < 3).astype(float))).tocsr())
    landmarks = draw_landmarks(few, SETTINGS, np.random.default_rng(0))
    found = similarity(few, SETTINGS).coordinates(landmarks, 5)
    for one in found:
        assert one.shape == (150, 5)
        assert np.linalg.norm(one[:, 3:]) < 1e-3 * np.linalg.norm(one[:, :3])


def test_rare_genes_and_closed_genes_do_not_disturb(evidence):
    rare = sp.csr_matrix(([5.0], ([3], [0])), shape=(150, 1))
    absent = sp.csr_matrix((np.zeros(150), (np.arange(150), np.zeros(150, int))), shape=(150, 1))  # stored zeros
    more = Evidence(
        sp.hstack([evidence.expression, sp.csr_matrix((150, 1))], format="csr"),
        evidence.accessibility,
        sp.hstack([evidence.prior, sp.csr_matrix((evidence.prior.shape[0], 1))], format="csr"),
    )
    expected = canonical_coordinates(evidence)
    found = canonical_coordinates(more)
    np.testing.assert_allclose(found.rna @ found.atac.T, expected.rna @ expected.atac.T, atol=1e-3)
    # One cell in 1,500 expresses the gene.
    tall = sp.vstack([sp.hstack([evidence.expression, rare])] + 9 * [sp.hstack([evidence.expression, absent])]).tocsr()
    scaled = _correspondence._unit_variance(tall, SETTINGS.min_detected)
    assert not scaled[:, -1].toarray().any()
    np.testing.assert_allclose(scaled[:, :-1].toarray().std(axis=0), 1, rtol=1e-4)


def refine(evidence, n_rounds, landmarks=None):
    rng = np.random.default_rng(0)
    landmarks = draw_landmarks(evidence, SETTINGS, rng) if landmarks is None else landmarks
    settings = replace(SETTINGS, n_rounds=n_rounds)
    return refined_coordinates(evidence, canonical_coordinates(evidence, landmarks), landmarks, settings, rng)


def test_refinement_uses_peaks_without_link(evidence):
    linked = evidence.prior.getnnz(axis=1) > 0
    part = Evidence(evidence.expression, evidence.accessibility[:, linked], evidence.prior[linked])
    canonical, without, refined = (foscttm(*refine(*args)) for args in ((evidence, 0), (part, 2), (evidence, 2)))
    assert refined < 0.95 * without
    assert refined < 0.8 * canonical


def test_refinement_learns_from_landmarks_for_all_cells(evidence):
    canonical = refine(evidence, 0)
    landmarks = draw_landmarks(evidence, replace(SETTINGS, max_landmarks=75), np.random.default_rng(1))
    assert [len(np.unique(rows)) for rows in landmarks[:2]] == [75, 75]
    assert (landmarks.rna != landmarks.atac).any()
    refined = refine(evidence, 2, landmarks)
    np.testing.assert_allclose(np.linalg.norm(refined.rna[:, :5], axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(refined.atac[:, :5], axis=1), 1, rtol=1e-6)
    others = np.setdiff1d(np.arange(150), np.union1d(*landmarks[:2]))
    assert foscttm(refined.rna[others], refined.atac[others]) < foscttm(canonical.rna[others], canonical.atac[others])


def test_cells_without_counterpart_are_left_out(evidence):
    rna = np.arange(90)  # the end of the line is in ATAC alone
    part = replace(evidence, expression=evidence.expression[rna])
    rng = np.random.default_rng(0)
    everybody = draw_landmarks(part, SETTINGS, rng)
    variants = list(coordinate_variants(part, everybody, replace(SETTINGS, n_neighbors=10), rng))
    assert tuple(variant.name for variant in variants) == VARIANTS
    landmarks = variants[-1].landmarks
    assert np.isin(np.arange(85), landmarks.rna).mean() > 0.9
    assert np.isin(np.arange(85), landmarks.atac).mean() > 0.9
    assert np.isin(np.arange(110, 150), landmarks.atac).mean() < 0.3
    np.testing.assert_array_equal(landmarks.own_atac, everybody.own_atac[landmarks.atac])


def test_known_rows_replace_inferred_ones():
    weights = sp.csr_matrix([[0.5, 0.5, 0], [0.2, 0.3, 0.5], [1, 0, 0]])
    known = sp.csr_matrix([[0, 0, 0], [2.0, 2.0, 0], [0, 0, 0]])
    np.testing.assert_array_equal(override_rows(weights, known).toarray(), [[0.5, 0.5, 0], [0.5, 0.5, 0], [1, 0, 0]])


def test_partners_are_landmarks_or_known(evidence):
    coordinates = canonical_coordinates(evidence).unit()
    rows = {"rna": np.arange(0, 150, 2), "atac": np.arange(0, 150, 3)}
    landmarks = draw_landmarks(evidence, SETTINGS, np.random.default_rng(0))._replace(**rows)
    known = sp.csr_matrix(([1.0], ([3], [140])), shape=(150, 150))
    settings = replace(SETTINGS, n_neighbors=10)
    atac_of_rna, rna_of_atac = partners(coordinates, landmarks, settings, replace(evidence, known=known))
    assert atac_of_rna[3].indices.tolist() == [140]
    assert rna_of_atac[140].indices.tolist() == [3]
    others = np.arange(150) != 3
    assert np.isin(atac_of_rna[others].indices, landmarks.atac).all()
    assert (atac_of_rna[others] != partners(coordinates, landmarks, settings, evidence)[0][others]).nnz == 0
    for weights in (atac_of_rna, rna_of_atac):
        np.testing.assert_allclose(weights.sum(axis=1), 1)
    some_rna, some_atac = partners(coordinates, landmarks, settings, replace(evidence, known=known), queries=landmarks)
    assert (some_rna != atac_of_rna[landmarks.rna]).nnz == 0
    assert (some_atac != rna_of_atac[landmarks.atac]).nnz == 0


def test_partners_that_are_not_trusted_give_way_to_any_of_the_label(evidence):
    n_rna, n_atac = evidence.expression.shape[0], evidence.accessibility.shape[0]
    settings, rng = AnchorSettings(n_neighbors=5), np.random.default_rng(0)
    codes = np.arange(n_rna) % 3 - 1, np.arange(n_atac) % 3 - 1
    known = sp.csr_matrix(([1.0], ([1], [1])), shape=(n_rna, n_atac))
    groups = Groups(("a", "b"), *codes, np.eye(2, dtype=bool), False)
    told = replace(evidence, known=known, groups=groups)
    landmarks = draw_landmarks(told, settings, rng)
    places = Coordinates(rng.normal(size=(n_rna, 3)), rng.normal(size=(n_atac, 3)))
    near = partners(places, landmarks, settings, told)
    for trust in (0.0, 0.25, 1.0):
        mixed = leaning_on_labels(near, trust, landmarks, settings, told, rng)
        for weights, was, own, other in zip(mixed, near, codes, codes[::-1], strict=True):
            np.testing.assert_allclose(weights.sum(axis=1), 1)
            stays = own < 0
            stays[1] = True
            np.testing.assert_allclose(weights[stays].toarray(), was[stays].toarray())
            entries = weights[~stays].tocoo()
            assert (other[entries.col] == own[~stays][entries.row]).all()
            kept = weights.minimum(was)[~stays].sum(axis=1)
            assert (kept >= trust - 1e-9).all()
            if trust < 1:
                assert kept.mean() < trust + 0.2


def test_few_rna_cells_among_many_of_the_other_modality(evidence):
    """A prior without signal and 12 RNA cells: hardly a cell receives any mass, and nothing is left to select from."""
    rng = np.random.default_rng(0)
    shuffled = evidence.prior[rng.permutation(evidence.prior.shape[0])]
    part = replace(evidence, expression=evidence.expression[:12], prior=shuffled)
    settings = replace(SETTINGS, n_neighbors=2)
    for variant in coordinate_variants(part, draw_landmarks(part, settings, rng), settings, rng):
        assert all(np.isfinite(found).all() for found in variant.coordinates)
        assert min(len(variant.landmarks.rna), len(variant.landmarks.atac)) > 2


def test_cells_whose_labels_never_go_together_have_nothing_to_learn_from(evidence):
    half = np.arange(150) < 75
    groups = Groups(("a", "b"), np.where(half, 0, 1), np.where(half, 0, 1), np.zeros((2, 2), dtype=bool), False)
    landmarks = draw_landmarks(evidence, SETTINGS, np.random.default_rng(0))
    canonical = canonical_coordinates(evidence, landmarks)
    refined = refined_coordinates(
        replace(evidence, groups=groups), canonical, landmarks, SETTINGS, np.random.default_rng(0)
    )
    np.testing.assert_array_equal(refined.rna, canonical.unit().rna)


def test_groups_are_told_apart_by_what_both_modalities_know_of_them(evidence):
    """Quarters of the line, known of nine in ten cells: a direction for each, the same in both modalities."""
    quarter = np.repeat(np.arange(4), [38, 37, 38, 37])
    known = np.where(np.arange(150) % 10 == 0, -1, quarter)
    for ordered, n_questions in ((False, 4), (True, 3)):
        groups = Groups(tuple("abcd"), known, known, np.eye(4, dtype=bool), ordered)
        told = replace(evidence, groups=groups)
        landmarks = draw_landmarks(told, SETTINGS, np.random.default_rng(0))
        found = group_directions(told, landmarks, np.random.default_rng(0))
        assert found.rna.shape == found.atac.shape == (150, n_questions)
        for one in found:
            for question in range(n_questions):
                answer = quarter > question if ordered else quarter == question
                assert roc_auc_score(answer, one[:, question]) > 0.6
        beside = with_groups(canonical_coordinates(evidence), found, 2.0)
        for own in beside:
            np.testing.assert_allclose(own[:, 5:].var(axis=0).sum(), 4 * own[:, :5].var(axis=0).sum())


def test_one_group_stands_out_from_all_other_cells(evidence):
    root = np.where(np.arange(150) < 30, 0, -1)
    told = replace(evidence, groups=Groups(("root",), root, root, np.eye(1, dtype=bool), False))
    landmarks = draw_landmarks(told, SETTINGS, np.random.default_rng(0))
    for found in group_directions(told, landmarks, np.random.default_rng(0)):
        assert found.shape == (150, 1)
        assert roc_auc_score(root == 0, found.ravel()) > 0.6


def test_labels_that_the_sample_has_lost_give_no_directions(evidence):
    one_cell = np.where(np.arange(150) == 0, 0, -1)
    told = replace(evidence, groups=Groups(("root",), one_cell, one_cell, np.eye(1, dtype=bool), False))
    landmarks = draw_landmarks(told, SETTINGS, np.random.default_rng(0))._replace(rna=np.arange(1, 150))
    found = group_directions(told, landmarks, np.random.default_rng(0))
    assert found.rna.shape == found.atac.shape == (150, 0)
    beside = with_groups(canonical_coordinates(evidence), found, 1.0)
    assert beside.rna.shape == (150, 5)

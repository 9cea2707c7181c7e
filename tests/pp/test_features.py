"""Features against scanpy, muon and dense formulas."""

from __future__ import annotations

import anndata as ad
import numpy as np
import pytest
import scanpy as sc
import scipy.sparse as sp
from mudata import MuData
from muon import atac as ac
from scipy.spatial.distance import pdist

from scdart.pp._features import log_normalize, lsi, modality_counts, pca, tfidf


@pytest.fixture
def counts():
    rng = np.random.default_rng(0)
    rate = rng.gamma(0.3, 2.0, size=(3, 50))
    counts = rng.poisson(rate[rng.integers(3, size=80)] * rng.lognormal(0, 0.5, size=(80, 1)))
    counts[:, 0] += 1
    return sp.csr_matrix(counts, dtype=np.float32)


@pytest.fixture
def mdata(counts):
    rna = ad.AnnData(counts.copy(), layers={"raw": counts.copy()})
    return MuData({"rna": rna})


def test_log_normalize_is_scanpy_s(counts):
    before = counts.copy()
    adata = ad.AnnData(counts.copy())
    sc.pp.normalize_total(adata, target_sum=500)
    sc.pp.log1p(adata)
    np.testing.assert_allclose(log_normalize(counts, target_sum=500).toarray(), adata.X.toarray())
    library = np.expm1(log_normalize(counts).toarray()).sum(axis=1)
    np.testing.assert_allclose(library, np.median(counts.toarray().sum(axis=1)), rtol=1e-5)
    assert (counts != before).nnz == 0


def test_tfidf_is_muon_s_on_binary_counts(counts):
    before = counts.copy()
    seen = counts[:, np.flatnonzero(counts.getnnz(axis=0))]
    binary = ad.AnnData((seen > 0).astype(np.float64))
    expected = ac.pp.tfidf(binary, inplace=False)
    np.testing.assert_allclose(tfidf(seen).toarray(), expected.toarray(), rtol=1e-5)
    assert (counts != before).nnz == 0


def test_tfidf_ignores_stored_zeros_and_closed_peaks(counts):
    stored = counts.copy()
    stored.data[::7] = 0
    clean = stored.copy()
    clean.eliminate_zeros()
    closed = sp.csr_matrix((80, 1), dtype=np.float32)
    weights = tfidf(sp.hstack([stored, closed], format="csr"))
    np.testing.assert_array_equal(weights.toarray()[:, :-1], tfidf(clean).toarray())
    assert weights[:, -1].nnz == 0
    assert stored.nnz == counts.nnz


def test_pca_spans_the_centred_matrix(counts):
    expression = log_normalize(counts)
    dense = expression.toarray().astype(np.float64)
    u, s, _ = np.linalg.svd(dense - dense.mean(axis=0), full_matrices=False)
    np.testing.assert_allclose(pdist(pca(expression, 5)), pdist(u[:, :5] * s[:5]), rtol=1e-3)


def test_lsi_drops_the_first_singular_vector(counts):
    weights = tfidf(counts)
    u, s, _ = np.linalg.svd(weights.toarray().astype(np.float64), full_matrices=False)
    kept = u[:, 1:6] * s[1:6]
    coordinates = lsi(weights, 6)
    np.testing.assert_allclose(np.linalg.norm(coordinates, axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(pdist(coordinates), pdist(kept / np.linalg.norm(kept, axis=1, keepdims=True)), atol=1e-3)


@pytest.mark.parametrize("features", [pca, lsi])
def test_components_are_reproducible_and_reduced_with_a_warning(counts, features):
    few = counts[:10]
    np.testing.assert_array_equal(features(few, 5, random_state=3), features(few, 5, random_state=3))
    with pytest.warns(UserWarning, match="10 x 50 .* have 9 components, not 30: taking 9"):
        reduced = features(few, 30)
    assert reduced.shape == (10, 9 if features is pca else 8)


def test_pca_needs_genes_that_differ(counts):
    one_gene, constant = counts[:, :1], sp.csr_matrix(np.ones(counts.shape, np.float32))
    for bad in (constant, log_normalize(constant)):
        with pytest.raises(ValueError, match="cells x 50 genes has no component: cells must differ"):
            pca(bad, 5)
    with pytest.warns(UserWarning, match="taking 0"), pytest.raises(ValueError, match="x 1 genes has no component"):
        pca(one_gene, 5)


def test_lsi_needs_a_second_component(counts):
    with pytest.warns(UserWarning, match="taking 1"), pytest.raises(ValueError, match="2 cells x 50 peaks"):
        lsi(counts[:2])


def test_modality_counts_takes_x_layers_and_dense(mdata, counts):
    assert (modality_counts(mdata, "rna") != counts).nnz == 0
    assert (modality_counts(mdata, "rna", "raw") != counts).nnz == 0
    mdata["rna"].layers["dense"] = counts.toarray()
    assert (modality_counts(mdata, "rna", "dense") != counts).nnz == 0


def test_modality_counts_says_what_is_missing(mdata):
    with pytest.raises(KeyError, match=r"layers\['counts'\] does not exist.*\['raw'\]"):
        modality_counts(mdata, "rna", "counts")
    mdata["rna"].X = None
    with pytest.raises(ValueError, match=r"\.X is empty"):
        modality_counts(mdata, "rna")


@pytest.mark.parametrize("value", [-1.0, np.nan, np.inf])
def test_modality_counts_names_invalid_values(mdata, value):
    mdata["rna"].X.data[:2] = value
    with pytest.raises(ValueError, match=rf"mdata.mod\['rna'\].X holds 2 values .* such as {value}"):
        modality_counts(mdata, "rna")


def test_modality_counts_counts_empty_cells(mdata):
    mdata["rna"].layers["raw"].data[: mdata["rna"].layers["raw"].indptr[3]] = 0
    with pytest.raises(ValueError, match=r"layers\['raw'\] has 3 cells without counts, such as '0'"):
        modality_counts(mdata, "rna", "raw")

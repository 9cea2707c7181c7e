from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import sparse

from scdart.model import SCDART


def positions(model: SCDART, counts: np.ndarray) -> np.ndarray:
    """Positions of cells along the directions that gene activity reads."""
    module = model.module
    return (
        module.gene_activity.directions(
            module.activity_encoder.normalization(torch.as_tensor(counts), torch.zeros(len(counts), dtype=torch.long))
        )
        .detach()
        .numpy()
    )


@pytest.mark.parametrize("n_components", [3, 29])
def test_gene_activity_reads_principal_components_of_accessibility(make_mdata, n_components):
    mdata = make_mdata()
    SCDART.setup_mudata(mdata)
    model = SCDART(mdata, n_latent=4, n_components=5, n_accessibility_components=n_components)
    counts = sparse.csr_matrix(mdata["atac"].X).toarray().astype(np.float32)
    # TF-IDF of open peaks: at unit length, how many peaks a cell has open cancels out.
    x = (counts > 0) * np.log1p(len(counts) / (counts > 0).sum(axis=0))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    u, s, _ = np.linalg.svd(x - x.mean(axis=0), full_matrices=False)
    expected = (u * s)[:, :n_components]
    found = positions(model, counts)[:, 5:]
    np.testing.assert_allclose(np.abs(found), np.abs(expected / expected.std()), atol=1e-3)
    assert not model.module.gene_activity.programmes.weight[:, 5:].any()


def test_few_cells_have_fewer_components(make_mdata):
    mdata = make_mdata(n_atac=12)
    SCDART.setup_mudata(mdata, anchors_key="anchors")
    model = SCDART(mdata, n_latent=4, n_accessibility_components=14)
    x = sparse.csr_matrix(mdata["atac"].X).toarray().astype(np.float32)
    used = np.abs(positions(model, x)).max(axis=0) > 0
    assert used[-14:].tolist() == [True] * 11 + [False] * 3
    assert model.module.gene_activity.directions.weight.isfinite().all()


def test_components_of_accessibility_see_cells_that_rna_lacks(make_mdata):
    mdata = make_mdata(n_rna=300, n_atac=300)
    lone = (mdata["atac"].obs["state"] == "s2").to_numpy()
    rows = np.flatnonzero(mdata["rna"].obs["state"] != "s2")
    mdata = mdata[np.concatenate([mdata["rna"].obs_names[rows], mdata["atac"].obs_names])].copy()
    SCDART.setup_mudata(mdata)
    distances = {}
    for n_components in (0, 10):
        model = SCDART(mdata, n_latent=4, n_components=2, n_accessibility_components=n_components)
        x = positions(model, sparse.csr_matrix(mdata["atac"].X).toarray().astype(np.float32))
        x = (x - x.mean(axis=0)) / x.std()
        distances[n_components] = np.linalg.norm(x[lone].mean(axis=0) - x[~lone].mean(axis=0))
    assert distances[10] > 5 * distances[0]

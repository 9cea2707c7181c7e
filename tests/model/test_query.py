from __future__ import annotations

import mudata as md
import numpy as np
import pytest

from scdart.model import SCDART


@pytest.fixture
def trained(make_mdata):
    mdata = make_mdata(n_shared=10)
    SCDART.setup_mudata(mdata)
    model = SCDART(mdata, n_latent=4, activity_hidden=(16,), projection_hidden=(16,))
    model.train(max_epochs=2, batch_size=16, enable_progress_bar=False)
    return model, mdata


@pytest.mark.parametrize("mod", ["rna", "atac"])
def test_one_modality_alone(trained, mod):
    model, mdata = trained
    expected = model.get_latent_representation(modality=mod)
    query = md.MuData({mod: mdata[mod].copy()})
    np.testing.assert_allclose(model.get_latent_representation(query, modality=mod), expected, atol=1e-5)
    np.testing.assert_allclose(model.get_latent_representation(query), expected, atol=1e-5)


def test_cells_without_prior_coordinates_or_anchors(trained):
    model, mdata = trained
    bare = {mod: mdata[mod].copy() for mod in ("rna", "atac")}
    for adata in bare.values():
        del adata.obsm, adata.varm, adata.uns
    latent = model.get_latent_representation(md.MuData(bare))
    np.testing.assert_allclose(latent, model.get_latent_representation(), atol=1e-5)


def test_a_view_is_left_a_view(trained):
    model, mdata = trained
    view = mdata[mdata.obs_names[5:20]]
    latent = model.get_latent_representation(view)
    np.testing.assert_allclose(latent, model.get_latent_representation(indices=range(5, 20)), atol=1e-5)
    assert view.is_view


def test_genes_in_another_order_after_preparation(trained):
    model, mdata = trained
    rng = np.random.default_rng(0)
    query = md.MuData({mod: mdata[mod][:, rng.permutation(mdata[mod].n_vars)].copy() for mod in ("rna", "atac")})
    SCDART.prepare_query_mudata(query, model)
    np.testing.assert_allclose(
        model.get_latent_representation(query, modality="rna"),
        model.get_latent_representation(modality="rna"),
        atol=1e-5,
    )


def test_fewer_genes_are_refused(trained):
    model, mdata = trained
    query = md.MuData({"rna": mdata["rna"][:, :10].copy(), "atac": mdata["atac"].copy()})
    with pytest.raises(ValueError, match="Number of vars"):
        model.get_latent_representation(query)


def test_gene_activity_needs_atac(trained):
    model, mdata = trained
    with pytest.raises(KeyError, match="atac"):
        model.get_gene_activity(md.MuData({"rna": mdata["rna"].copy()}))

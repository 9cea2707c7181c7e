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


@pytest.mark.parametrize("mod", ["rna", "atac"])
@pytest.mark.parametrize("wrap", [lambda mod, adata: adata, lambda mod, adata: md.MuData({mod: adata})])
def test_one_modality_can_be_prepared(trained, mod, wrap):
    model, mdata = trained
    order = np.random.default_rng(0).permutation(mdata[mod].n_vars)
    query = wrap(mod, mdata[mod][:, order].copy())
    expected = model.get_latent_representation(modality=mod)
    prepared = SCDART.prepare_query_mudata(query, model, inplace=False)
    assert not query.var_names.equals(mdata[mod].var_names)
    SCDART.prepare_query_mudata(query, model)
    for each in (prepared, query):
        assert each.var_names.equals(mdata[mod].var_names)
        np.testing.assert_allclose(model.get_latent_representation(each), expected, atol=1e-5)


def test_missing_features_of_one_modality_become_zeros(trained):
    model, mdata = trained
    query = mdata["atac"][:, 3:].copy()
    SCDART.prepare_query_mudata(query, model)
    assert query.X[:, :3].sum() == 0
    assert query.obs.equals(mdata["atac"].obs)
    with pytest.raises(ValueError, match=r"none of the modalities of the model, \['rna', 'atac'\], but \['gex'\]"):
        SCDART.prepare_query_mudata(md.MuData({"gex": mdata["rna"].copy()}), model)
    with pytest.raises(TypeError, match="mdata is None"):
        SCDART.prepare_query_mudata(None, model)
    with pytest.warns(UserWarning, match="67% of the features that the model knows of 'atac'"):
        SCDART.prepare_query_mudata(mdata["atac"][:, 10:].copy(), model)
    other = mdata["atac"].copy()
    other.var_names = [f"other{i}" for i in range(other.n_vars)]
    with pytest.raises(ValueError, match="none of the 30 features that the model knows of 'atac', as 'peak0'"):
        SCDART.prepare_query_mudata(md.MuData({"atac": other}), model)


def test_fewer_genes_are_refused(trained):
    model, mdata = trained
    query = md.MuData({"rna": mdata["rna"][:, :10].copy(), "atac": mdata["atac"].copy()})
    with pytest.raises(ValueError, match="Number of vars"):
        model.get_latent_representation(query)


def test_gene_activity_needs_atac(trained):
    model, mdata = trained
    with pytest.raises(KeyError, match="atac"):
        model.get_gene_activity(md.MuData({"rna": mdata["rna"].copy()}))


def test_anndata_is_the_modality_whose_features_it_has(trained):
    model, mdata = trained
    for mod in ("rna", "atac"):
        expected = model.get_latent_representation(modality=mod)
        np.testing.assert_allclose(model.get_latent_representation(mdata[mod].copy()), expected, atol=1e-5)
    predicted = model.get_gene_activity(mdata["atac"].copy())
    np.testing.assert_allclose(predicted, model.get_gene_activity(), atol=1e-5)
    other = mdata["rna"].copy()
    other.var_names = [f"other{i}" for i in range(other.n_vars)]
    with pytest.raises(ValueError, match="neither the genes nor the peaks.*other0"):
        model.get_latent_representation(other)


@pytest.mark.parametrize("change", ["order", "names"])
def test_other_features_are_refused_with_the_call_that_mends_it(trained, change):
    model, mdata = trained
    rna = mdata["rna"][:, ::-1].copy() if change == "order" else mdata["rna"].copy()
    if change == "names":
        rna.var_names = [f"{name}-1" for name in rna.var_names]
    with pytest.raises(ValueError, match=r"order must be those of the model.*prepare_query_mudata\(mdata, model\)"):
        model.get_latent_representation(md.MuData({"rna": rna, "atac": mdata["atac"].copy()}))


@pytest.mark.parametrize("value", [np.nan, np.inf, -1.0])
def test_counts_of_a_query_are_checked(trained, value):
    model, mdata = trained
    query = mdata.copy()
    query["rna"].X.data[5] = value
    with pytest.raises(ValueError, match=r"mdata.mod\['rna'\].X holds 1 values that are negative, NaN or infinite"):
        model.get_latent_representation(query)


@pytest.mark.parametrize("copied", [True, False])
def test_counts_that_were_normalised_since_are_said(trained, copied):
    """Also those of the training data, which everything is asked of where no others are named."""
    model, mdata = trained
    query = mdata.copy() if copied else mdata
    model.get_latent_representation(query)
    query["rna"].X = np.log1p(query["rna"].X)
    with pytest.warns(UserWarning, match=r"mdata.mod\['rna'\].X holds values that are not whole .* set up with counts"):
        model.get_latent_representation(query if copied else None)


def test_training_on_counts_that_were_normalised_since_set_up_is_said(make_mdata):
    mdata = make_mdata()
    SCDART.setup_mudata(mdata)
    model = SCDART(mdata, n_latent=2, activity_hidden=(16,), projection_hidden=(16,))
    mdata["rna"].X = np.log1p(mdata["rna"].X)
    with pytest.warns(UserWarning, match="set up with counts"):
        model.train(max_epochs=1, enable_progress_bar=False)


def test_values_that_were_no_counts_in_training_are_none_in_a_query(make_mdata):
    mdata = make_mdata()
    mdata["rna"].X = mdata["rna"].X * 0.5
    with pytest.warns(UserWarning, match="not whole numbers"):
        SCDART.setup_mudata(mdata)
    model = SCDART(mdata, n_latent=2, activity_hidden=(16,), projection_hidden=(16,))
    model.train(max_epochs=1, enable_progress_bar=False)
    model.get_latent_representation(mdata.copy())


def test_modalities_of_other_names_are_refused(trained):
    model, mdata = trained
    query = md.MuData({"GEX": mdata["rna"].copy(), "peaks": mdata["atac"].copy()})
    with pytest.raises(
        KeyError, match=r"none of the modalities of the model, \['rna', 'atac'\], but \['GEX', 'peaks'\]"
    ):
        model.get_latent_representation(query)


def test_cells_of_a_third_modality_are_said(trained):
    model, mdata = trained
    third = mdata["rna"][:7].copy()
    third.obs_names = [f"third{i}" for i in range(7)]
    query = md.MuData({"rna": mdata["rna"].copy(), "atac": mdata["atac"].copy(), "prot": third})
    with pytest.warns(UserWarning, match="7 cells are of neither modality of the model"):
        latent = model.get_latent_representation(query)
    assert np.isnan(latent).any(axis=1).sum() == 7
    np.testing.assert_array_equal(np.isnan(latent).any(axis=1), query.obs_names.str.startswith("third"))


def test_what_scvi_tools_offers_and_this_model_cannot_leads_to_what_can(trained):
    model, _ = trained
    with pytest.raises(NotImplementedError, match="get_gene_activity.*joint_anndata"):
        model.get_normalized_expression()
    with pytest.raises(NotImplementedError, match="joint_anndata.*Milo"):
        model.differential_abundance()

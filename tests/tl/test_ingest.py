"""New cells on the map of an integration."""

from __future__ import annotations

import anndata as ad
import mudata as md
import numpy as np
import pandas as pd
import pytest

from scdart.model import SCDART
from scdart.tl import embed, ingest, joint_anndata


def cells_of(mdata, mod: str, rows: slice) -> ad.AnnData:
    adata = mdata[mod][rows]
    return ad.AnnData(adata.X.copy(), pd.DataFrame(index=adata.obs_names), adata.var[[]].copy(), obsm=dict(adata.obsm))


@pytest.fixture
def reference(make_tree):
    return make_tree()


@pytest.mark.parametrize("mod", ["rna", "atac"])
def test_labels_and_pseudotime_of_neighbours(reference, make_tree, mod):
    new = make_tree(seed=1)
    query = cells_of(new, mod, slice(None))
    assert ingest(query, reference, obs=["arm", "time"], n_neighbors=10) is None
    truth = new[mod].obs
    assert (query.obs["arm"].astype(str) == truth["arm"].astype(str)).mean() > 0.9
    assert query.obs["arm"].dtype == reference["rna"].obs["arm"].dtype
    assert np.abs(query.obs["time"] - truth["time"]).mean() < 0.05
    assert query.obs["arm_confidence"].between(0, 1).all()
    assert list(query.obs) == ["arm", "arm_confidence", "time"]


def test_all_measurements_of_the_reference_are_neighbours(reference):
    """Also where only one modality has the column, and where cells of both are asked."""
    reference["rna"].obs["only"] = np.arange(reference["rna"].n_obs, dtype=float)
    query = md.MuData({mod: cells_of(reference, mod, slice(20)) for mod in ("rna", "atac")})
    query.obsm["X_scdart"] = np.concatenate([query[mod].obsm["X_scdart"] for mod in query.mod])
    ingest(query, reference, obs="only", n_neighbors=1)
    np.testing.assert_allclose(query["rna"].obs["only"], np.arange(20))
    assert query["atac"].obs["only"].notna().all()
    assert query.obs["only"].to_list() == [*query["rna"].obs["only"], *query["atac"].obs["only"]]


def test_unsure_cells_get_no_label(reference):
    query = cells_of(reference, "rna", slice(None))
    ingest(query, reference, obs="arm", threshold=1.0)
    assert query.obs["arm"].isna().equals(query.obs["arm_confidence"] < 1)
    assert 0 < query.obs["arm"].isna().sum() < query.n_obs


def test_copy(reference):
    query = cells_of(reference, "rna", slice(9))
    copied = ingest(query, reference, obs="arm", copy=True)
    assert list(query.obs) == []
    assert "arm" in copied.obs


def trained(mdata) -> SCDART:
    SCDART.setup_mudata(mdata)
    model = SCDART(mdata, n_latent=4, activity_hidden=(16,), projection_hidden=(16,))
    model.train(max_epochs=1, enable_progress_bar=False)
    return model


def test_places_are_written_where_they_are_read(make_mdata):
    mdata = make_mdata(n_shared=10)
    model = trained(mdata)
    copied = embed(mdata, model, copy=True)
    assert "X_scdart" not in mdata.obsm
    embed(mdata, model)
    np.testing.assert_array_equal(mdata.obsm["X_scdart"], model.get_latent_representation())
    for mod in mdata.mod:
        np.testing.assert_array_equal(mdata[mod].obsm["X_scdart"], model.get_latent_representation(modality=mod))
        np.testing.assert_array_equal(copied[mod].obsm["X_scdart"], mdata[mod].obsm["X_scdart"])
        confidence = model.get_alignment_confidence()[mdata[mod].obs_names]
        np.testing.assert_allclose(mdata[mod].obsm["X_scdart_confidence"].ravel(), confidence, rtol=1e-6)
    assert mdata.obs["modality"].value_counts().to_dict() == {"rna": 50, "atac": 40, "rna+atac": 10}
    assert mdata.obs["modality"].cat.categories.to_list() == ["rna", "atac", "rna+atac"]
    assert set(joint_anndata(mdata).obs["modality"]) == {"rna", "atac"}


def test_new_cells_of_one_modality_have_places_and_a_column_of_the_user_stays(make_mdata):
    mdata = make_mdata()
    model = trained(mdata)
    query = md.MuData({"atac": mdata["atac"].copy()})
    query.obs["modality"] = "snATAC"
    embed(query, model, key_added="X")
    np.testing.assert_allclose(query["atac"].obsm["X"], model.get_latent_representation(modality="atac"), atol=1e-5)
    assert "X_confidence" not in query.obsm
    assert set(query.obs["modality"]) == {"snATAC"}
    with pytest.raises(KeyError, match=r"none of the model's modalities \['rna', 'atac'\], but \['peaks'\]"):
        embed(md.MuData({"peaks": query["atac"].copy()}), model)


def test_places_come_from_the_model(make_mdata):
    reference = make_mdata()
    model = trained(reference)
    embed(reference, model)
    query = md.MuData({mod: cells_of(reference, mod, slice(10)) for mod in reference.mod})
    for each in (query["rna"].copy(), query):
        ingest(each, reference, model, obs="state", n_neighbors=1)
        np.testing.assert_allclose(each.obsm["X_scdart"][:10], reference["rna"].obsm["X_scdart"][:10], atol=1e-5)
        assert each.obs["state"][:10].to_list() == reference["rna"].obs["state"][:10].to_list()
    np.testing.assert_allclose(query["atac"].obsm["X_scdart"], reference["atac"].obsm["X_scdart"][:10], atol=1e-5)
    assert query["atac"].obs["state"].to_list() == reference["atac"].obs["state"][:10].to_list()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"obs": "none"}, KeyError, "obs='none' is no column"),
        ({"obs": "empty"}, ValueError, r"obs\['empty'\] of reference has no"),
        ({"use_rep": "X_none"}, KeyError, r"reference\['rna'\].obsm\['X_none'\] does not exist"),
        ({"n_neighbors": 0}, ValueError, "n_neighbors=0"),
        ({"threshold": 2}, ValueError, "threshold=2"),
        ({"query": None}, TypeError, "None"),
        ({"reference": ad.AnnData(np.ones((2, 2)))}, TypeError, "AnnData"),
    ],
)
def test_bad_input(reference, options, error, message):
    reference.obs["empty"] = np.nan
    query = cells_of(reference, "rna", slice(9))
    with pytest.raises(error, match=message):
        ingest(**{"query": query, "reference": reference, "obs": "arm"} | options)
    assert list(query.obs) == []


def test_views_and_other_spaces_are_refused(reference):
    query = cells_of(reference, "rna", slice(9))
    with pytest.raises(ValueError, match="query is a view"):
        ingest(query[:5], reference, obs="arm")
    query.obsm["X_scdart"] = query.obsm["X_scdart"][:, :2]
    with pytest.raises(ValueError, match="2 dimensions in query, and 3 in reference"):
        ingest(query, reference, obs="arm")

from __future__ import annotations

import anndata as ad
import numpy as np
import pytest
import scanpy as sc

from scdart.model import SCDART
from scdart.tl import backbone, joint_anndata, pseudotime, smooth, transfer_labels


@pytest.mark.parametrize("n_shared", [0, 20])
def test_every_measurement_is_a_row(make_tree, n_shared):
    mdata = make_tree(60, 50, n_shared)
    joint = joint_anndata(mdata)
    assert joint.shape == (110, 0)
    assert joint.obs_names.is_unique
    assert joint.obs["modality"].astype(str).tolist() == ["rna"] * 60 + ["atac"] * 50
    assert joint.obs["cell"].tolist() == [*mdata["rna"].obs_names, *mdata["atac"].obs_names]
    suffixed = joint.obs["cell"].astype(str) + "-" + joint.obs["modality"].astype(str)
    assert joint.obs_names.tolist() == (suffixed if n_shared else joint.obs["cell"]).tolist()
    z = np.vstack([mdata[mod].obsm["X_scdart"] for mod in ("rna", "atac")])
    np.testing.assert_array_equal(joint.obsm["X_scdart"], z)
    time = np.concatenate([mdata[mod].obs["time"] for mod in ("rna", "atac")])
    np.testing.assert_array_equal(joint.obs["time"], time)


def test_results_are_carried_along(make_tree, tmp_path):
    mdata = make_tree(100, 90, 30)
    del mdata.uns["truth"]
    pseudotime(mdata, root_score="time", separate=True)
    backbone(mdata)
    smooth(mdata)
    sc.pp.neighbors(mdata, use_rep="X_scdart")
    mdata.obsm["X_umap"] = np.arange(2 * mdata.n_obs, dtype=float).reshape(-1, 2)
    mdata.obs["sample"] = [f"sample {i}" for i in range(mdata.n_obs)]
    mdata["rna"].obsm["X_pca"] = np.zeros((100, 4))
    joint = joint_anndata(mdata)

    rows = mdata.obs_names.get_indexer(joint.obs["cell"])
    np.testing.assert_array_equal(joint.obs["dpt_pseudotime"], mdata.obs["dpt_pseudotime"].iloc[rows])
    assert (joint.obs["backbone"].astype(str).to_numpy() == mdata.obs["backbone"].iloc[rows].astype(str)).all()
    assert (joint.obs["sample"].to_numpy() == mdata.obs["sample"].iloc[rows]).all()
    np.testing.assert_array_equal(joint.obsm["X_umap"], mdata.obsm["X_umap"][rows])
    np.testing.assert_array_equal(joint.obsm["backbone_order"], mdata.obsm["backbone_order"].iloc[rows])
    assert joint.obs["dpt_pseudotime_rna"].notna().sum() == 100
    assert set(joint.obsm) == {"X_scdart", "X_scdart_smooth", "X_umap", "backbone_order"}
    assert set(joint.uns) == {"dpt_pseudotime", "backbone"}
    assert not any(":" in column for column in joint.obs)

    joint.uns["backbone"]["root"] = "changed"
    assert mdata.uns["backbone"]["root"] != "changed"
    joint.write(tmp_path / "joint.h5ad")
    assert ad.read_h5ad(tmp_path / "joint.h5ad").obs["modality"].tolist() == joint.obs["modality"].tolist()


def test_genes_have_measured_and_predicted_expression(make_mdata):
    mdata = make_mdata()
    SCDART.setup_mudata(mdata)
    model = SCDART(mdata, n_latent=4, activity_hidden=(16,), projection_hidden=(16,))
    model.train(max_epochs=1, enable_progress_bar=False)
    mdata.obsm["X_scdart"] = model.get_latent_representation()
    mdata["rna"].var["symbol"] = mdata["rna"].var_names.str.upper()
    predicted = model.get_gene_activity()
    for joint in (joint_anndata(mdata, model), joint_anndata(mdata, predicted[mdata["rna"].var_names])):
        assert joint.shape == (110, 20)
        assert not [key for key in joint.uns if key.startswith("_scvi")]
        assert joint.var["symbol"].to_list() == [f"GENE{i}" for i in range(20)]
        np.testing.assert_allclose(joint[60:].X.toarray(), predicted, atol=1e-5)
        counts = mdata["rna"].X.toarray()
        size = counts.sum(axis=1, keepdims=True) / np.median(counts.sum(axis=1))
        np.testing.assert_allclose(joint[:60].X.toarray(), np.log1p(counts / size), atol=1e-5)
    few = joint_anndata(mdata, predicted, genes=["gene7", "gene2"])
    assert few.var_names.to_list() == ["gene7", "gene2"]
    few.obsm["X_umap"] = few.obsm["X_scdart"][:, :2]
    assert [panel.get_title() for panel in sc.pl.umap(few, color=["gene7", "modality"], show=False)] == [
        "gene7",
        "modality",
    ]
    with pytest.raises(KeyError, match=r"\['none'\] are not in mdata\['rna'\]"):
        joint_anndata(mdata, model, genes=["none"])
    with pytest.raises(ValueError, match="genes were named, and predicted is None"):
        joint_anndata(mdata, genes=["gene2"])


def test_places_of_all_cells_are_enough_where_none_is_of_two_modalities(make_tree):
    mdata = make_tree(60, 50)
    expected = joint_anndata(mdata).obsm["X_scdart"]
    shared = make_tree(60, 50, 10)
    for each in (mdata, shared):
        for mod in each.mod:
            del each[mod].obsm["X_scdart"]
    np.testing.assert_allclose(joint_anndata(mdata).obsm["X_scdart"], expected)
    transfer_labels(mdata, "arm")
    with pytest.raises(KeyError, match=r"mdata\['rna'\].obsm\['X_scdart'\] does not exist"):
        joint_anndata(shared)


def test_goes_to_scanpy(make_tree):
    joint = joint_anndata(make_tree(60, 50, 20))
    sc.pp.neighbors(joint, use_rep="X_scdart", n_neighbors=10)
    sc.tl.leiden(joint, flavor="igraph", n_iterations=2)
    assert joint.obs["leiden"].nunique() > 1


def without_latent(mdata):
    del mdata.obsm["X_scdart"]
    del mdata["atac"].obsm["X_scdart"]


def with_another_space(mdata):
    mdata["atac"].obsm["X_scdart"] = mdata["atac"].obsm["X_scdart"][:, :2]


def with_the_column(mdata):
    mdata["rna"].obs["modality"] = "gex"


@pytest.mark.parametrize(
    ("spoil", "error", "match"),
    [
        (without_latent, KeyError, r"mdata\['atac'\].obsm\['X_scdart'\] does not exist"),
        (with_another_space, ValueError, "different dimensions.*'rna': 3, 'atac': 2"),
        (with_the_column, ValueError, r"'rna' has a column obs\['modality'\] already"),
    ],
)
def test_bad_input(make_tree, spoil, error, match):
    mdata = make_tree(60, 50)
    spoil(mdata)
    with pytest.raises(error, match=match):
        joint_anndata(mdata)

"""Input that cannot be used is refused with the slot, the value and the fix, and left as it was."""

from __future__ import annotations

import warnings

import mudata
import numpy as np
import pytest
from scipy import sparse

import scdart
from scdart.model import SCDART


def refuse(mdata, error, match, **setup):
    before = {
        mod: (set(adata.obs), set(adata.var), set(adata.obsm), set(adata.uns), adata.X.copy())
        for mod, adata in mdata.mod.items()
    }
    slots = set(mdata.obsp), set(mdata.uns)
    with pytest.raises(error, match=match):
        SCDART.setup_mudata(mdata, **setup)
    for mod, adata in mdata.mod.items():
        *names, x = before[mod]
        assert [set(adata.obs), set(adata.var), set(adata.obsm), set(adata.uns)] == names
        assert (x != adata.X).nnz == 0 or np.isnan(adata.X.data).any()
    assert (set(mdata.obsp), set(mdata.uns)) == slots


def test_missing_modality_and_layer(make_mdata):
    mdata = make_mdata()
    refuse(mdata, KeyError, "modality 'GEX'", modalities={"rna_layer": "GEX", "atac_layer": "atac"})
    refuse(mdata, KeyError, r"layers\['counts'\].*Leave the layer out", rna_layer="counts")
    refuse(mdata, ValueError, "its keys are", modalities={"rna_layer": "rna", "atac": "atac"})
    refuse(mdata, ValueError, "both roles", modalities={"rna_layer": "rna", "atac_layer": "rna"})


def test_swapped_modalities(make_mdata):
    refuse(make_mdata(), KeyError, "swapped", modalities={"rna_layer": "atac", "atac_layer": "rna"})


def test_missing_prior_and_coordinates(make_mdata):
    mdata = make_mdata()
    refuse(mdata, KeyError, "scdart.pp.gene_activity", prior_key="links")
    refuse(mdata, KeyError, "scdart.pp.diffusion_coordinates", diffusion_key="X_other")


@pytest.mark.parametrize("value", [-1.0, np.nan, np.inf])
@pytest.mark.parametrize("mod", ["rna", "atac"])
def test_values_that_are_no_counts(make_mdata, mod, value):
    mdata = make_mdata()
    mdata[mod].X.data[3] = value
    refuse(mdata, ValueError, "negative" if value == -1 else "NaN or infinite")


def test_normalised_data_are_warned_about(make_mdata):
    mdata = make_mdata()
    mdata["rna"].X.data = np.log1p(mdata["rna"].X.data)
    with pytest.warns(UserWarning, match="not whole numbers"):
        SCDART.setup_mudata(mdata)
    mdata = make_mdata()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        SCDART.setup_mudata(mdata)


def test_empty_cells(make_mdata):
    mdata = make_mdata()
    counts = mdata["atac"].X.tolil()
    counts[4] = 0
    mdata["atac"].X = counts.tocsr()
    refuse(mdata, ValueError, "1 cells without counts.*filter_cells")


def test_prior_of_the_wrong_shape_or_genes(make_mdata):
    mdata = make_mdata()
    atac = mdata["atac"]
    good = atac.varm["gene_activity"]
    atac.varm["gene_activity"] = good[:, :7].copy()
    refuse(mdata, ValueError, r"shape \(30, 7\)")
    atac.varm["gene_activity"] = sparse.csr_matrix(good.shape, dtype=np.float32)
    refuse(mdata, ValueError, "links no peak")
    atac.varm["gene_activity"] = good
    atac.uns["gene_activity"] = {"genes": mdata["rna"].var_names.to_numpy(dtype=str)[::-1]}
    refuse(mdata, ValueError, "other genes or another order")
    atac.uns["gene_activity"] = {"genes": np.array([f"other{i}" for i in range(20)])}
    refuse(mdata, ValueError, "0 of its 20 genes")


def test_coordinates_that_are_not_finite(make_mdata):
    mdata = make_mdata()
    mdata["rna"].obsm["X_diffusion_coordinates"][2, 1] = np.nan
    refuse(mdata, ValueError, "NaN or infinite")


def test_duplicate_names(make_mdata):
    mdata = make_mdata()
    names = mdata["rna"].var_names.to_list()
    mdata["rna"].var_names = [names[1], *names[1:]]
    refuse(mdata, ValueError, "var_names has duplicates.*var_names_make_unique")


def test_a_view(make_mdata):
    mdata = make_mdata()
    with pytest.raises(ValueError, match="copy"):
        SCDART.setup_mudata(mdata[mdata.obs_names[:80]])


def test_groups(make_mdata):
    mdata = make_mdata()
    refuse(mdata, KeyError, "no column 'type'", groups_key="type")
    mdata["atac"].obs["state"] = mdata["atac"].obs["state"].astype(str) + "x"
    refuse(mdata, ValueError, "no label in common", groups_key="state")


def test_fewer_cells_than_a_minibatch_are_one_minibatch(make_mdata):
    mdata = make_mdata(n_rna=9, n_atac=7)
    SCDART.setup_mudata(mdata)
    model = SCDART(mdata, n_latent=2)
    model.train(max_epochs=1, enable_progress_bar=False, accelerator="cpu")
    assert np.isfinite(model.get_latent_representation()).all()


def test_unknown_preset_spread_and_schedule(make_mdata):
    mdata = make_mdata()
    SCDART.setup_mudata(mdata)
    with pytest.raises(ValueError, match="preset='papers'"):
        SCDART(mdata, preset="papers")
    with pytest.raises(ValueError, match="distance_spread=0.0 must be a number of more than 0"):
        SCDART(mdata, distance_spread=0.0)
    with pytest.raises(ValueError, match="lr_schedule"):
        SCDART(mdata, n_latent=2).train(max_epochs=1, plan_kwargs={"lr_schedule": "linear"}, accelerator="cpu")
    with pytest.raises(ValueError, match="pair_weight.*options of the model"):
        SCDART(mdata, n_latent=2).train(max_epochs=1, plan_kwargs={"pair_weight": 0.1}, accelerator="cpu")


def test_setup_anndata_points_to_setup_mudata(make_mdata):
    with pytest.raises(NotImplementedError, match="setup_mudata"):
        SCDART.setup_anndata(make_mdata()["rna"])


@pytest.mark.parametrize("given", ["AnnData", None, {"rna": 1}, "file.h5mu"])
def test_what_is_no_mudata_is_told_how_to_make_one(make_mdata, given):
    given = make_mdata()["rna"].copy() if given == "AnnData" else given
    for function in (SCDART.setup_mudata, scdart.pp.diffusion_coordinates, scdart.pp.anchors, scdart.tl.integrate):
        with pytest.raises(TypeError, match=r'MuData with both modalities is needed: mudata.MuData\(\{"rna": rna'):
            function(given)


@pytest.mark.parametrize("change", ["fewer", "order"])
def test_modalities_that_were_changed_ask_for_an_update(make_mdata, change):
    mdata = make_mdata()
    rows = np.arange(40) if change == "fewer" else np.random.default_rng(0).permutation(60)
    mdata.mod["rna"] = mdata["rna"][rows].copy()
    for function in (SCDART.setup_mudata, scdart.pp.diffusion_coordinates, scdart.tl.integrate):
        with pytest.raises(ValueError, match=r"mod\['rna'\] was changed after mdata was made.*mdata.update\(\)"):
            function(mdata)


def test_names_that_rather_collide_are_warned_about(make_mdata):
    few, many = make_mdata(n_shared=10), make_mdata(n_shared=50)
    with pytest.warns(UserWarning, match="10 cells have the same name in both modalities"):
        SCDART.setup_mudata(few)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        SCDART.setup_mudata(many)


def test_repeated_cell_names_are_found_before_any_work(make_mdata, monkeypatch):
    mdata = make_mdata()
    rna = mdata["rna"].copy()
    rna.obs_names = ["same"] * 60
    mdata = mudata.MuData({"rna": rna, "atac": mdata["atac"].copy()})
    monkeypatch.setattr(scdart.pp, "diffusion_coordinates", lambda *args, **kwargs: pytest.fail("work began"))
    with pytest.raises(ValueError, match="'same' is there several times: use obs_names_make_unique"):
        scdart.tl.integrate(mdata)


def test_a_modality_without_cells_is_said(make_mdata):
    mdata = make_mdata()
    with pytest.raises(ValueError, match=r"mdata.mod\['atac'\]|no weight between|mdata.obsp"):
        SCDART.setup_mudata(mdata[mdata.obsmap["atac"] == 0].copy())


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"accelerator": "x"}, ValueError, "accelerator='x' is not known: use one of .*'cpu'"),
        ({"ckpt_path": "x"}, FileNotFoundError, "ckpt_path: x does not exist"),
    ],
)
def test_what_lightning_would_say_of_training_names_the_argument(make_mdata, options, error, said):
    mdata = make_mdata()
    SCDART.setup_mudata(mdata)
    with pytest.raises(error, match=said):
        SCDART(mdata).train(max_epochs=1, **options)

from __future__ import annotations

import logging
import re

import anndata as ad
import mudata
import numpy as np
import pandas as pd
import pytest
import scanpy as sc
import scvi
import torch
from mudata import MuData
from scipy import sparse

from scdart import _checks, tl
from scdart.datasets import simulate
from scdart.model import PRESETS, SCDART
from scdart.tl import integrate

QUIET = {"enable_progress_bar": False, "accelerator": "cpu"}
QUICK = {"max_epochs": 1, "train_kwargs": QUIET}
SLOTS = ("uns", "obsm", "obsp", "varm")


@pytest.fixture(scope="module")
def simulated() -> MuData:
    return simulate("bifurcating", n_cells=(60, 50), n_genes=60, n_peaks=150)


@pytest.fixture
def mdata(simulated) -> MuData:
    return simulated.copy()


def contents(mdata: MuData) -> dict[str, object]:
    """What is stored where: the objects themselves, so that one that was replaced shows."""
    stored = {
        f"{name}.{slot}.{key}": value
        for name, data in {"": mdata, **mdata.mod}.items()
        for slot in SLOTS
        for key, value in getattr(data, slot).items()
    }
    tables = {f"{name}.{axis}": getattr(data, axis) for name, data in mdata.mod.items() for axis in ("obs", "var")}
    return stored | {key: table.to_json() for key, table in tables.items()}


def changed(before: dict[str, object], after: dict[str, object]) -> set[str]:
    """Keys that are new, gone, or hold another object."""

    def same(key: str) -> bool:
        old, new = before.get(key), after.get(key)
        return old is new or (isinstance(old, str) and old == new)

    return {key for key in before | after if not same(key)}


def renamed(mdata: MuData, **names: str) -> MuData:
    return MuData({names[mod]: adata for mod, adata in mdata.mod.items()})


def test_writes_the_documented_slots_and_nothing_else(mdata):
    before = contents(mdata)
    assert integrate(mdata, n_latent=3, **QUICK) is None
    assert mdata.obsm["X_scdart"].shape == (110, 3)
    for mod, n_cells in (("rna", 60), ("atac", 50)):
        assert mdata[mod].obsm["X_scdart"].shape == (n_cells, 3)
        rows = mdata.obs_names.get_indexer(mdata[mod].obs_names)
        np.testing.assert_allclose(mdata.obsm["X_scdart"][rows], mdata[mod].obsm["X_scdart"], rtol=1e-6)
    assert mdata.uns["scdart"]["preset"] == "default"
    assert mdata.uns["scdart"]["n_latent"] == 3
    assert mdata.uns["scdart"]["anchors"] == "inferred"
    confidence = mdata.obsm["X_scdart_confidence"]
    assert mdata.uns["scdart"]["confidence"] == pytest.approx(confidence.mean())
    rows = mdata.obs_names.get_indexer(mdata["atac"].obs_names)
    np.testing.assert_array_equal(mdata["atac"].obsm["X_scdart_confidence"], confidence[rows])
    np.testing.assert_array_equal(mdata.uns["scdart"]["t"], PRESETS["default"].t)
    assert changed(before, contents(mdata)) == {
        ".uns.scdart",
        ".uns.anchors",
        ".uns.X_scdart_confidence",
        ".obsm.X_scdart",
        ".obsm.X_scdart_confidence",
        ".obsp.anchors",
        *(
            f"{mod}.{slot}"
            for mod in ("rna", "atac")
            for slot in (
                "obsm.X_scdart",
                "obsm.X_scdart_confidence",
                "obsm.X_diffusion_coordinates",
                "obsm.X_anchors",
                "obsm.anchors_confidence",
                "uns.diffusion_coordinates",
            )
        ),
    }


def test_name_of_the_method_stands_for_it_too():
    assert tl.scdart is tl.integrate
    assert "scdart" not in tl.__all__  # so that the site teaches one name


def test_is_the_same_as_its_steps(mdata):
    import scdart as package

    steps = mdata.copy()
    integrate(mdata, random_state=3, **QUICK)
    scvi.settings.seed = 3
    package.pp.diffusion_coordinates(steps)
    package.pp.anchors(steps)
    SCDART.setup_mudata(steps)
    model = SCDART(steps)
    model.train(max_epochs=1, **QUIET)
    np.testing.assert_array_equal(mdata.obsm["X_scdart"], model.get_latent_representation())


def test_copy_leaves_the_original_alone(mdata):
    before = contents(mdata)
    result = integrate(mdata, copy=True, **QUICK)
    assert not changed(before, contents(mdata))
    integrate(mdata, **QUICK)
    np.testing.assert_array_equal(result.obsm["X_scdart"], mdata.obsm["X_scdart"])


def test_a_view_can_only_be_copied(mdata):
    view = mdata[mdata.obs_names[5:]]
    with pytest.raises(ValueError, match="is a view"):
        integrate(view, **QUICK)
    assert view.is_view
    assert integrate(view, copy=True, **QUICK).obsm["X_scdart"].shape[0] == 105


def test_key_added(mdata):
    integrate(mdata, key_added="X_joint", **QUICK)
    for data in (mdata, mdata["rna"], mdata["atac"]):
        assert "X_joint" in data.obsm
        assert "X_scdart" not in data.obsm


def test_modalities_of_any_name_and_layers(mdata):
    for mod in ("rna", "atac"):
        mdata[mod].layers["raw counts"] = mdata[mod].X
        mdata[mod].X = sparse.csr_matrix(np.full(mdata[mod].shape, np.nan, dtype=np.float32))
    other = renamed(mdata, rna="GEX counts", atac="chromatin/peaks")
    integrate(
        other,
        rna_mod="GEX counts",
        atac_mod="chromatin/peaks",
        rna_layer="raw counts",
        atac_layer="raw counts",
        **QUICK,
    )
    assert np.isfinite(other.obsm["X_scdart"]).all()
    assert set(other["GEX counts"].obsm) >= {"X_scdart", "X_diffusion_coordinates"}


def test_paper_preset(mdata):
    integrate(mdata, preset="paper", **QUICK)
    assert mdata.uns["scdart"]["preset"] == "paper"
    np.testing.assert_array_equal(mdata.uns["scdart"]["t"], (30, 50, 70))
    assert mdata["rna"].uns["diffusion_coordinates"]["potential"]
    assert mdata.obsm["X_scdart"].shape == (110, 8)
    assert "anchors" not in mdata.obsp
    assert mdata.uns["scdart"]["anchors"] == "none"


def test_what_is_prepared_is_used_and_what_does_not_fit_is_replaced(mdata):
    integrate(mdata, t=(2, 4), **QUICK)
    before = contents(mdata)
    integrate(mdata, t=(2, 4), **QUICK)
    latent = {f"{where}.obsm.X_scdart" for where in ("", "rna", "atac")}
    results = {".uns.scdart", ".uns.X_scdart_confidence", *latent, *(f"{slot}_confidence" for slot in latent)}
    assert changed(before, contents(mdata)) == results

    coordinates = mdata["rna"].obsm["X_diffusion_coordinates"]
    integrate(mdata, t=[3], **QUICK)
    assert mdata["rna"].obsm["X_diffusion_coordinates"].shape[1] != coordinates.shape[1]
    integrate(mdata, t=[3, 3, 2], **QUICK)
    assert list(mdata["rna"].uns["diffusion_coordinates"]["repeats"]) == [2, 1]
    integrate(mdata, t=[3], preset="paper", **QUICK)
    assert mdata["rna"].uns["diffusion_coordinates"]["potential"]


def test_what_is_prepared_can_stay_on_disk(mdata, tmp_path):
    integrate(mdata, random_state=0, **QUICK)
    mdata.write(tmp_path / "prepared.h5mu")
    backed = mudata.read_h5mu(tmp_path / "prepared.h5mu", backed="r")
    integrate(backed, random_state=0, key_added="X_again", **QUICK)
    assert backed["atac"].isbacked
    np.testing.assert_allclose(backed.obsm["X_again"], mdata.obsm["X_scdart"], rtol=1e-5, atol=1e-6)
    # What is missing is made from the file.
    integrate(backed, t=[3], random_state=0, **QUICK)
    integrate(mdata, t=[3], random_state=0, **QUICK)
    for mod, adata in backed.mod.items():
        expected = mdata[mod].obsm["X_diffusion_coordinates"]
        np.testing.assert_allclose(adata.obsm["X_diffusion_coordinates"], expected, atol=1e-4)


def test_annotation_makes_the_prior_and_anchors_of_it():
    genomic = simulate("linear", n_cells=50, n_genes=60, n_peaks=150, link_kind="genomic")
    annotation = genomic["rna"].var.assign(gene_name=genomic["rna"].var_names)
    prior = genomic["atac"].varm["gene_activity"].copy()
    del genomic["atac"].varm["gene_activity"], genomic["atac"].uns["gene_activity"]
    integrate(genomic, annotation, domain="auto", **QUICK)
    assert len(genomic["atac"].uns["gene_activity"]["agreement"]) == 4
    integrate(genomic, annotation, **QUICK)
    assert (genomic["atac"].varm["gene_activity"] != prior).nnz == 0

    inferred = genomic.obsp["anchors"]
    integrate(genomic, annotation, **QUICK)
    assert genomic.obsp["anchors"] is inferred
    integrate(genomic, annotation.iloc[:50], **QUICK)
    assert genomic.obsp["anchors"] is not inferred
    genomic.uns["anchors"] = {**genomic.uns["anchors"], "n_pairs": 5}
    known = genomic.obsp["anchors"]
    integrate(genomic, annotation, **QUICK)
    assert genomic.obsp["anchors"] is known
    assert genomic.uns["scdart"]["anchors"] == "given"


def test_groups_reach_the_model(mdata):
    for mod in ("rna", "atac"):
        root = mdata[mod].obs["pseudotime"] < 0.2
        mdata[mod].obs["root"] = pd.Series(np.where(root, "root", None), index=mdata[mod].obs_names, dtype=object)
    integrate(mdata, **QUICK)
    without, anchors = mdata.obsm["X_scdart"], mdata.obsp["anchors"]
    integrate(mdata, groups_key="root", **QUICK)
    assert not np.allclose(without, mdata.obsm["X_scdart"])
    told = mdata.obsp["anchors"]
    assert told is not anchors
    integrate(mdata, groups_key="root", **QUICK)
    assert mdata.obsp["anchors"] is told
    for mod in ("rna", "atac"):
        mdata[mod].obs["other"] = mdata[mod].obs["root"]
    with pytest.raises(ValueError, match="made with groups_key='root', not 'other'"):
        SCDART.setup_mudata(mdata, groups_key="other")
    mdata["atac"].obs["root"] = None
    mdata["atac"].obs.loc[mdata["atac"].obs_names[:9], "root"] = "root"
    with pytest.raises(ValueError, match=r"obs\['root'\] does not hold the same values now"):
        SCDART.setup_mudata(mdata, groups_key="root")
    integrate(mdata, groups_key="root", **QUICK)
    assert mdata.obsp["anchors"] is not told


@pytest.mark.parametrize("seed", [None, 7])
def test_seeds_are_as_they_were(mdata, seed):
    scvi.settings.seed = seed
    np.random.seed(11)  # noqa: NPY002  the stream that scvi-tools seeds is the old one
    torch.manual_seed(11)
    expected = np.random.RandomState(11).random(), torch.rand(1, generator=torch.Generator().manual_seed(11))
    result = integrate(mdata, copy=True, **QUICK)
    first = result.obsm["X_scdart"]
    assert scvi.settings.seed == seed
    assert result.uns["scdart"]["random_state"] == (0 if seed is None else seed)
    assert (np.random.random(), torch.rand(1)) == expected  # noqa: NPY002
    np.testing.assert_array_equal(first, integrate(mdata, copy=True, **QUICK).obsm["X_scdart"])
    assert not np.allclose(first, integrate(mdata, copy=True, random_state=1, **QUICK).obsm["X_scdart"])


def test_without_random_state_the_seed_of_scvi_tools_counts(mdata):
    scvi.settings.seed = 5
    first = integrate(mdata, copy=True, random_state=None, **QUICK).obsm["X_scdart"]
    np.testing.assert_array_equal(first, integrate(mdata, copy=True, random_state=5, **QUICK).obsm["X_scdart"])


def without_prior(mdata):
    del mdata["atac"].varm["gene_activity"]


def with_negative_counts(mdata):
    mdata["atac"].X.data[3] = -1


def with_other_genes(mdata):
    mdata["atac"].uns["gene_activity"]["genes"] = mdata["rna"].var_names[::-1].to_numpy()


@pytest.mark.parametrize(
    ("spoil", "options", "error", "match"),
    [
        (None, {"domain": "auto"}, ValueError, "domain='auto' is about links that are made from an annotation"),
        (without_prior, {}, KeyError, r"\['atac'\].varm has no 'gene_activity'.*annotation"),
        (with_negative_counts, {}, ValueError, "'atac'.*negative"),
        (with_other_genes, {}, ValueError, "other genes or another order"),
        (None, {"rna_mod": "gex"}, KeyError, "rna_mod='gex'.*'rna', 'atac'"),
        (None, {"rna_mod": "atac"}, ValueError, "both 'atac'"),
        (None, {"rna_mod": "atac", "atac_mod": "rna"}, KeyError, r"\['rna'\].varm has no 'gene_activity'"),
        (None, {"rna_layer": "counts"}, KeyError, "layers"),
        (None, {"preset": "nothing"}, ValueError, "preset='nothing'.*default.*paper"),
        (None, {"groups_key": "root"}, KeyError, "no column 'root'"),
        (None, {"t": (-1,)}, ValueError, "t="),
        (None, {"train_kwargs": {"train_size": 1.0, "early_stopping": True}}, ValueError, "no validation cells"),
    ],
)
def test_bad_input_leaves_the_object_as_it_was(mdata, spoil, options, error, match):
    if spoil is not None:
        spoil(mdata)
    before, counts = contents(mdata), {mod: mdata[mod].X.copy() for mod in mdata.mod}
    scvi.settings.seed = None
    with pytest.raises(error, match=match):
        integrate(mdata, **{**QUICK, **options})
    assert not changed(before, contents(mdata))
    assert all((counts[mod] != mdata[mod].X).nnz == 0 for mod in counts)
    assert scvi.settings.seed is None


def test_interrupted_training_leaves_earlier_results_as_they_were(mdata, monkeypatch):
    integrate(mdata, **QUICK)
    before = contents(mdata)

    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(SCDART, "get_latent_representation", interrupt)
    with pytest.raises(KeyboardInterrupt):
        integrate(mdata, t=(2, 4), **QUICK)
    assert not changed(before, contents(mdata))


def test_a_model_of_the_user_still_works(mdata):
    integrate(mdata, **QUICK)
    SCDART.setup_mudata(mdata)
    model = SCDART(mdata)
    model.train(max_epochs=1, **QUIET)
    latent = model.get_latent_representation()
    integrate(mdata, **QUICK)
    np.testing.assert_array_equal(model.get_latent_representation(mdata), latent)


def test_seconds_of_the_stages_are_logged(mdata, caplog):
    with caplog.at_level(logging.INFO, logger="scdart"):
        integrate(mdata, **QUICK)
    stages = {vars(record)["stage"]: vars(record)["seconds"] for record in caplog.records if "stage" in vars(record)}
    assert list(stages) == ["diffusion coordinates", "anchors", "training", "positions and confidence"]
    assert all(seconds > 0 for seconds in stages.values())
    (last,) = [message for message in caplog.messages if message.startswith("Integration took ")]
    assert re.findall(r"([a-z ]+) \d+\.\d s[,.]", last.split(":")[1]) == [f" {stage}" for stage in stages]


def test_result_can_be_saved_and_goes_to_scanpy(mdata, tmp_path):
    integrate(mdata, **QUICK)
    mdata.write(tmp_path / "integrated.h5mu")
    read = mudata.read_h5mu(tmp_path / "integrated.h5mu")
    np.testing.assert_array_equal(read.obsm["X_scdart"], mdata.obsm["X_scdart"])
    prepared = {key: id(read.obsp[key]) for key in read.obsp}
    integrate(read, **QUICK)
    assert id(read.obsp["anchors"]) == prepared["anchors"]
    np.testing.assert_array_equal(read.obsm["X_scdart"], mdata.obsm["X_scdart"])
    sc.pp.neighbors(read, use_rep="X_scdart")
    sc.tl.diffmap(read, n_comps=5)
    assert read.obsm["X_diffmap"].shape == (110, 5)


def test_counts_are_scanned_once(mdata, monkeypatch):
    scanned = []
    look_through = _checks.check_values

    def noted(counts, *others):
        scanned.append(counts.nnz)
        look_through(counts, *others)

    monkeypatch.setattr(_checks, "check_values", noted)
    integrate(mdata, max_epochs=1, train_kwargs=QUIET)
    for mod in ("rna", "atac"):
        assert scanned.count(mdata[mod].X.nnz) == 1


def test_a_third_modality_gets_no_confidence_and_takes_none(mdata):
    protein = ad.AnnData(np.ones((5, 3), dtype=np.float32))
    protein.obs_names = [f"protein{i}" for i in range(5)]
    protein.var_names = [f"antibody{i}" for i in range(3)]
    three = MuData({**mdata.mod, "protein": protein})
    with pytest.warns(UserWarning, match="5 cells are of neither modality of the model"):
        integrate(three, **QUICK)
    assert "X_scdart_confidence" not in three["protein"].obsm
    measured = np.concatenate([three[mod].obsm["X_scdart_confidence"] for mod in ("rna", "atac")])
    assert three.uns["scdart"]["confidence"] == pytest.approx(measured.mean(), rel=1e-5)

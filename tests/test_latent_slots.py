"""What was computed from a latent space is not taken for that of another; a part of the cells keeps what it has."""

from __future__ import annotations

import numpy as np
import pytest
import scanpy as sc
import scvi

from scdart import pl, pp, tl
from scdart._latent_slots import outdated
from scdart.datasets import simulate
from scdart.model import SCDART

QUIET = {"enable_progress_bar": False}


def with_latent(mdata, power):
    """The same line, bent in another way."""
    for mod in mdata.mod:
        stage = mdata[mod].obs["pseudotime"].to_numpy()
        mdata[mod].obsm["X_scdart"] = np.c_[stage, stage**power].astype(np.float32)
    stage = np.concatenate([adata.obs["pseudotime"] for adata in mdata.mod.values()])
    mdata.obsm["X_scdart"] = np.c_[stage, stage**power].astype(np.float32)
    return mdata


@pytest.fixture(scope="module")
def ordered():
    """Pseudotime, backbone and dynamic features of a latent space that no model was needed for."""
    mdata = with_latent(simulate("linear", n_cells=(90, 80), n_genes=30, n_peaks=60), 2)
    tl.pseudotime(mdata, root_score="pseudotime")
    tl.backbone(mdata, resolution=1.0)
    tl.dynamic_features(mdata)
    return mdata


@pytest.fixture
def mdata(ordered):
    return ordered.copy()


def drawn_tree(mdata):
    pl.backbone(mdata, show=False)


def drawn_branches(mdata):
    pl.branches(mdata, show=False)


def tested_along(mdata):
    tl.dynamic_features(mdata, trajectory="trajectory_0", df=2)


READERS = [tl.backbone, tl.dynamic_features, tested_along, tl.dynamic_curves, drawn_tree, drawn_branches]


def call(reader, mdata):
    return reader(mdata, ["gene1"]) if reader is tl.dynamic_curves else reader(mdata)


@pytest.mark.parametrize("reader", READERS)
def test_what_follows_from_another_latent_space_is_refused(mdata, reader):
    with_latent(mdata, 3)
    with pytest.raises(ValueError, match=r"computed before mdata.obsm\['X_scdart'\] was made anew: run scdart.tl"):
        call(reader, mdata)


def test_backbone_of_another_pseudotime_is_refused(mdata):
    tl.pseudotime(mdata, root_score="pseudotime", root_extreme="max")
    for reader in (tested_along, drawn_tree, drawn_branches):
        with pytest.raises(ValueError, match=r"before obs\['dpt_pseudotime'\] was made anew: run scdart.tl.backbone"):
            reader(mdata)
    tl.backbone(mdata)
    drawn_tree(mdata)


@pytest.mark.parametrize("reader", READERS[:3] + READERS[4:])
def test_a_part_of_the_cells_keeps_what_was_computed_for_all(mdata, reader):
    time = mdata.obs["dpt_pseudotime"].to_numpy()
    part = mdata[(time > 0.15) & (time < 0.9)].copy()
    assert part.obs["backbone"].nunique() > 1
    call(reader, part)


def test_a_tree_is_drawn_where_a_group_has_no_cells_left(mdata):
    edges = mdata.uns["backbone"]["edges"]
    part = mdata[(mdata.obs["backbone"] != edges["target"].iloc[-1]).to_numpy()].copy()
    axis = pl.backbone(part, show=False)
    n_groups = part.obs["backbone"].nunique()
    assert sum(artist.get_gid() == "edge" for artist in axis.texts) == len(edges) - 1
    assert sum(artist.get_gid() == "node" for artist in axis.collections) == n_groups + 1  # the root has two rings


def test_any_order_of_cells_is_the_same(mdata):
    del mdata.obsm["backbone_order"]  # a table, which not all versions of mudata can put in order
    mixed = mdata[np.random.default_rng(0).permutation(mdata.n_obs)].copy()
    assert outdated(mixed, "dpt_pseudotime") is outdated(mixed, "backbone") is None
    tl.dynamic_curves(mixed, ["gene1"])


def test_files_keep_it(mdata, tmp_path):
    import mudata

    mdata.write(tmp_path / "data.h5mu")
    read = mudata.read_h5mu(tmp_path / "data.h5mu")
    assert outdated(read, "dpt_pseudotime") is outdated(read, "backbone") is None
    with_latent(read, 3)
    assert outdated(read, "dpt_pseudotime") == outdated(read, "backbone") == "mdata.obsm['X_scdart']"


def test_pictures_warn_of_an_older_pseudotime(mdata):
    pl.latent(mdata, color="dpt_pseudotime", show=False)
    with_latent(mdata, 3)
    with pytest.warns(UserWarning, match="'dpt_pseudotime' was computed before .* was made anew"):
        pl.latent(mdata, color="dpt_pseudotime", show=False)


def test_pictures_take_places_from_the_modalities(mdata):
    """Where a new model's positions were written to the modalities alone."""
    mdata["rna"].obsm["X_scdart"] = mdata["rna"].obsm["X_scdart"][:, ::-1].copy()
    with pytest.raises(ValueError, match=r"before mdata.mod\['rna'\].obsm\['X_scdart'\] was made anew"):
        drawn_tree(mdata)
    tl.backbone(mdata)  # which reads none of them


# Dynamic features ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m[10:].copy(),
        lambda m: with_counts(m, m["rna"].X[::-1].copy()),
        lambda m: with_counts(m, m["rna"].X * 3),
    ],
)
@pytest.mark.parametrize(
    "reader",
    [
        lambda m: tl.dynamic_curves(m, ["gene1"]),
        lambda m: pl.dynamic_features(m, ["gene1"], show=False),
        lambda m: pl.dynamic_heatmap(m, ["gene1", "gene2"], show=False),
    ],
)
def test_curves_are_those_of_the_test(mdata, change, reader):
    with pytest.raises(ValueError, match=r"gene1.* has .* there, and .* now. Run scdart.tl.dynamic_features\(mdata"):
        reader(change(mdata))


def with_counts(mdata, counts):
    mdata["rna"].X = counts.tocsr()
    return mdata


def test_values_are_those_of_the_test(mdata):
    with pytest.raises(ValueError, match="has n_cells .* there, and .* now"):
        tl.dynamic_values(mdata[20:].copy(), ["gene1"])


def test_how_values_are_stored_and_what_else_there_is_matter_not(mdata):
    mdata["rna"].layers["log"] = np.log1p(mdata["rna"].X.toarray())
    tl.dynamic_features(mdata, layer="log", key_added="of_log")
    mdata["rna"].layers["log"] = mdata["rna"].layers["log"].astype(np.float64)
    mdata.mod["rna"] = mdata["rna"][:, ["gene1", "gene4"]].copy()
    mdata.update()
    tl.dynamic_curves(mdata, ["gene1"], key="of_log")


# Integration ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def simulated():
    mdata = simulate("bifurcating", n_cells=(60, 50), n_genes=40, n_peaks=80)
    pp.diffusion_coordinates(mdata)
    pp.anchors(mdata)
    return mdata


def test_integrating_anew_names_what_is_of_the_latent_space_before(simulated):
    mdata = simulated.copy()
    options = {"n_latent": 3, "train_kwargs": QUIET}
    tl.integrate(mdata, max_epochs=1, **options)
    tl.pseudotime(mdata, root_score="pseudotime")
    sc.pp.neighbors(mdata, use_rep="X_scdart", n_neighbors=5)
    mdata.obsm["X_umap"] = np.zeros((110, 2))
    tl.integrate(mdata, max_epochs=1, **options)  # the same once more
    with pytest.warns(UserWarning, match=r"Of the one before are uns\['dpt_pseudotime'\], obsm\['X_umap'\]"):
        tl.integrate(mdata, max_epochs=2, **options)
    with pytest.raises(ValueError, match="dpt_pseudotime"):
        tl.backbone(mdata)


def test_a_part_of_the_cells_that_was_integrated_anew_has_no_pseudotime(simulated):
    mdata = simulated.copy()
    tl.integrate(mdata, max_epochs=1, n_latent=3, train_kwargs=QUIET)
    tl.pseudotime(mdata, root_score="pseudotime")
    part = mdata[np.arange(110) % 6 > 0].copy()
    assert outdated(part, "dpt_pseudotime") is None
    with pytest.warns(UserWarning, match="dpt_pseudotime"):
        tl.integrate(part, max_epochs=1, n_latent=3, train_kwargs=QUIET)
    with pytest.raises(ValueError, match="dpt_pseudotime"):
        tl.backbone(part)


def test_confidence_of_another_latent_space_is_refused(simulated):
    mdata = simulated.copy()
    tl.integrate(mdata, max_epochs=1, n_latent=3, train_kwargs=QUIET)
    tl.transfer_labels(mdata, "branch", min_confidence=0)
    mdata.obsm["X_scdart"] = mdata.obsm["X_scdart"] * 2
    for call_ in (lambda: tl.transfer_labels(mdata, "branch"), lambda: tl.impute(mdata)):
        with pytest.raises(ValueError, match=r"obsm\['X_scdart_confidence'\] was computed before"):
            call_()
    for data in (mdata, *mdata.mod.values()):
        del data.obsm["X_scdart_confidence"]
    tl.transfer_labels(mdata, "branch")


def test_new_cells_are_not_placed_among_those_of_another_model(simulated):
    mdata, models = simulated.copy(), []
    SCDART.setup_mudata(mdata)
    for seed in (0, 1):
        scvi.settings.seed = seed
        models.append(SCDART(mdata, n_latent=3))
        models[-1].train(max_epochs=1, **QUIET)
    for mod in mdata.mod:
        mdata[mod].obsm["X_scdart"] = models[0].get_latent_representation(modality=mod)
    query = mdata["rna"][:10].copy()
    tl.ingest(query, mdata, models[0], obs="branch")
    with pytest.raises(ValueError, match=r"reference: mdata.mod\['rna'\].obsm\['X_scdart'\] are not the positions"):
        tl.ingest(query, mdata, models[1], obs="branch")
    for adata in mdata.mod.values():
        sc.pp.log1p(adata)  # as is often done to draw genes, and tells nothing of the model
    tl.ingest(query, mdata.copy(), models[1], obs="branch")

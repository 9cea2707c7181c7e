from __future__ import annotations

import os

import mudata
import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from scipy.spatial.distance import cdist

from scdart.datasets import simulate
from scdart.tl import _neighbors as neighbors
from scdart.tl import impute, smooth, transfer_labels


def slots(mdata):
    everything = {"": mdata, **mdata.mod}
    return {
        (name, slot): set(getattr(data, slot)) for name, data in everything.items() for slot in ("obs", "obsm", "uns")
    }


def dense_weights(query, reference, k):
    """The definition, cell by cell."""
    distances = cdist(query, reference)
    weights = np.zeros_like(distances)
    for row, d in zip(weights, distances, strict=True):
        nearest = np.argsort(d)[:k]
        row[nearest] = np.exp(-d[nearest] / d[nearest].max())
    return weights / weights.sum(axis=1, keepdims=True)


def clouds(mdata):
    return (mdata[mod].obsm["X_scdart"].astype(float) for mod in ("rna", "atac"))


def test_weights_against_their_definition(make_tree):
    rna, atac = clouds(make_tree(40, 30))
    np.testing.assert_allclose(
        neighbors.nearest_weights(atac, rna, 7).toarray(), dense_weights(atac, rna, 7), rtol=1e-5
    )
    few = neighbors.nearest_weights(atac, rna[:3], 7)
    assert few.getnnz(axis=1).tolist() == [3] * 30
    np.testing.assert_allclose(neighbors.nearest_weights(rna[[0]], rna[[0, 0]], 2).toarray(), [[0.5, 0.5]])


@pytest.mark.skipif("SCDART_SLOW" not in os.environ, reason="compiles for a minute: set SCDART_SLOW to run")
def test_approximate_neighbours_are_nearly_exact(make_tree, monkeypatch):
    rna, atac = clouds(make_tree(600, 500))
    exact = neighbors.nearest_weights(atac, rna, 10)
    graph = neighbors.cell_graph(rna, 10).obsp["connectivities"]
    monkeypatch.setattr("scdart._neighbors.MAX_EXACT", 100)
    approximate = neighbors.nearest_weights(atac, rna, 10)
    assert approximate.multiply(exact > 0).sum() / 500 > 0.98
    approximate_graph = neighbors.cell_graph(rna, 10).obsp["connectivities"]
    assert abs(approximate_graph - graph).sum() / graph.sum() < 0.05


def test_labels_and_confidence_against_their_definition(make_tree):
    mdata = make_tree(80, 60)
    transfer_labels(mdata, "arm", n_neighbors=15, threshold=0.9)
    rna, atac = clouds(mdata)
    arms = mdata["rna"].obs["arm"]
    votes = pd.DataFrame(
        {arm: dense_weights(atac, rna, 15)[:, arms == arm].sum(axis=1) for arm in arms.cat.categories},
        index=mdata["atac"].obs_names,
    )
    obs = mdata["atac"].obs
    np.testing.assert_allclose(obs["arm_from_rna_confidence"], votes.max(axis=1), rtol=1e-5)
    sure = votes.max(axis=1) >= 0.9
    assert 0 < sure.sum() < 60
    assert (obs["arm_from_rna"].astype(object)[sure] == votes.idxmax(axis=1)[sure]).all()
    assert obs["arm_from_rna"][~sure].isna().all()
    assert obs["arm_from_rna"].cat.categories.equals(arms.cat.categories)


def test_labels_are_right_in_both_directions_and_surer_ones_more_often(make_tree):
    mdata = make_tree(400, 400, noise=0.15)
    for source, target in (("rna", "atac"), ("atac", "rna")):
        transfer_labels(mdata, "arm", source=source, target=target, threshold=0)
        obs = mdata[target].obs
        right = obs[f"arm_from_{source}"].astype(str) == obs["arm"].astype(str)
        assert right.mean() > 0.85
        sure = obs[f"arm_from_{source}_confidence"] > 0.9
        assert right[sure].mean() > right.mean() > right[~sure].mean()


def test_cells_without_a_label_do_not_vote(make_tree):
    mdata = make_tree(80, 60)
    labelled = mdata["rna"].obs["arm"].astype(object).where(mdata["rna"].obs["arm"] != "left")
    mdata["rna"].obs["part"] = labelled
    transfer_labels(mdata, "part", threshold=0, key_added="part")
    assert set(mdata["atac"].obs["part"]) == {"stem", "right"}
    assert mdata["atac"].obs["part_confidence"].between(0, 1).all()


def test_imputed_values_against_their_definition(make_tree):
    mdata = make_tree(80, 60)
    rna, atac = clouds(mdata)
    weights = dense_weights(atac, rna, 30)
    impute(mdata)
    imputed = mdata["atac"].obsm["imputed_rna"]
    assert sparse.isspmatrix_csr(imputed)
    assert imputed.dtype == np.float32
    np.testing.assert_allclose(imputed.toarray(), weights @ mdata["rna"].X.toarray(), rtol=1e-5)
    assert mdata["atac"].uns["imputed_rna"]["features"].tolist() == mdata["rna"].var_names.tolist()

    mdata["rna"].layers["scaled"] = np.log(mdata["rna"].X.toarray())
    impute(mdata, features=["rna_feature4", "rna_feature0"], layer="scaled", key_added="logs")
    expected = weights @ mdata["rna"].layers["scaled"][:, [4, 0]]
    np.testing.assert_allclose(mdata["atac"].obsm["logs"], expected, rtol=1e-5)
    assert mdata["atac"].uns["logs"]["features"].tolist() == ["rna_feature4", "rna_feature0"]


def test_imputed_values_follow_the_trajectory(make_tree):
    mdata = make_tree()
    impute(mdata, source="atac", target="rna", features=["atac_feature0"])
    imputed = mdata["rna"].obsm["imputed_atac"].toarray().ravel()
    assert np.corrcoef(imputed, mdata["rna"].obs["time"])[0, 1] < -0.99


def test_smoothed_positions_against_their_definition(make_tree):
    mdata = make_tree(80, 60, 20)
    rna, atac = clouds(mdata)
    smooth(mdata)
    atac = dense_weights(atac, rna, 10) @ rna
    rna = dense_weights(rna, atac, 10) @ atac
    moved = {"rna": rna, "atac": atac}
    for mod, z in moved.items():
        np.testing.assert_allclose(mdata[mod].obsm["X_scdart_smooth"], z, atol=1e-4)
    table = pd.concat([pd.DataFrame(z, index=mdata[mod].obs_names) for mod, z in moved.items()])
    expected = table.groupby(level=0).mean().loc[mdata.obs_names]
    np.testing.assert_allclose(mdata.obsm["X_scdart_smooth"], expected, atol=1e-4)


def test_smoothing_takes_away_what_sets_the_modalities_apart(make_tree):
    mdata = make_tree(200, 200, 200)
    mdata["atac"].obsm["X_scdart"] += np.float32(0.2)
    smooth(mdata)
    before, after = (
        np.linalg.norm(mdata["rna"].obsm[key].mean(axis=0) - mdata["atac"].obsm[key].mean(axis=0))
        for key in ("X_scdart", "X_scdart_smooth")
    )
    assert after < 0.5 * before


def test_cells_of_a_third_modality_are_nowhere(make_tree):
    mdata = make_tree(40, 30)
    third = mdata["rna"][:5].copy()
    third.var_names = [f"protein{i}" for i in range(third.n_vars)]
    third.obs_names = [f"other{i}" for i in range(5)]
    mdata = mudata.MuData({**mdata.mod, "protein": third})
    smooth(mdata)
    missing = np.isnan(mdata.obsm["X_scdart_smooth"]).all(axis=1)
    assert mdata.obs_names[missing].tolist() == third.obs_names.tolist()


@pytest.mark.parametrize(
    ("function", "options", "added"),
    [
        (transfer_labels, {"key": "arm"}, {("atac", "obs"): {"arm_from_rna", "arm_from_rna_confidence"}}),
        (impute, {}, {("atac", "obsm"): {"imputed_rna"}, ("atac", "uns"): {"imputed_rna"}}),
        (smooth, {}, {(name, "obsm"): {"X_scdart_smooth"} for name in ("", "rna", "atac")}),
    ],
)
def test_writes_the_documented_slots_and_nothing_else(make_tree, tmp_path, function, options, added):
    mdata = make_tree(40, 30)
    del mdata.uns["truth"]
    before = slots(mdata)
    assert function(mdata, **options, copy=True) is not mdata
    assert slots(mdata) == before
    assert function(mdata, **options) is None
    assert {key: names - before[key] for key, names in slots(mdata).items() if names - before[key]} == added
    mdata.write(tmp_path / "result.h5mu")
    assert mudata.read_h5mu(tmp_path / "result.h5mu")["atac"].obsm.keys() == mdata["atac"].obsm.keys()


def without_latent(mdata):
    del mdata.obsm["X_scdart"]
    del mdata["atac"].obsm["X_scdart"]


def with_nan_position(mdata):
    mdata["rna"].obsm["X_scdart"][0, 0] = np.nan


def with_another_space(mdata):
    mdata["rna"].obsm["X_scdart"] = mdata["rna"].obsm["X_scdart"][:, :2]


def with_nan_value(mdata):
    mdata["rna"].X.data[0] = np.nan


def without_labels(mdata):
    mdata["rna"].obs["arm"] = pd.Categorical([None] * 40, categories=["a"])


LABELS = {"key": "arm"}


@pytest.mark.parametrize(
    ("function", "spoil", "options", "error", "match"),
    [
        *(
            (function, spoil, options, error, match)
            for function, options in ((transfer_labels, LABELS), (impute, {}), (smooth, {}))
            for spoil, error, match in (
                (
                    without_latent,
                    KeyError,
                    r"mdata\['atac'\].obsm\['X_scdart'\] does not exist.*tl\.embed\(mdata, model\)",
                ),
                (with_nan_position, ValueError, r"mdata\['rna'\].*NaN or infinite for 1 cells"),
                (with_another_space, ValueError, "2 dimensions in 'rna', but 3 in 'atac'"),
            )
        ),
        (transfer_labels, None, {"key": "leg"}, KeyError, r"key='leg' is no column of any obs: .*'arm'"),
        (transfer_labels, None, {"key": "time"}, ValueError, "decimal point"),
        (transfer_labels, without_labels, LABELS, ValueError, "has no label"),
        (transfer_labels, None, {**LABELS, "threshold": 1.2}, ValueError, "threshold=1.2"),
        (transfer_labels, None, {**LABELS, "source": "gex"}, KeyError, "'gex' is not a modality.*'rna', 'atac'"),
        (transfer_labels, None, {**LABELS, "target": "rna"}, ValueError, "source and target are both 'rna'"),
        (transfer_labels, None, {**LABELS, "n_neighbors": 0}, ValueError, "n_neighbors=0"),
        (impute, None, {"features": ["rna_feature1", "Sox2"]}, KeyError, "lacks: 'Sox2'"),
        (impute, None, {"layer": "counts"}, KeyError, "layers has no 'counts'"),
        (impute, with_nan_value, {}, ValueError, r"mod\['rna'\].X holds NaN"),
        (smooth, None, {"atac_mod": "peaks"}, KeyError, "'peaks' is not a modality"),
    ],
)
def test_bad_input_leaves_the_object_as_it_was(make_tree, function, spoil, options, error, match):
    mdata = make_tree(40, 30)
    if spoil is not None:
        spoil(mdata)
    before = slots(mdata)
    with pytest.raises(error, match=match):
        function(mdata, **options)
    assert slots(mdata) == before


def test_cells_whose_place_cannot_be_believed_get_nothing(caplog):
    mdata = simulate("bifurcating", n_cells=100, n_genes=30, n_peaks=60)
    for mod in mdata.mod:
        mdata[mod].obsm["X_scdart"] = mdata[mod].obs[["pseudotime"]].to_numpy()
    believed = np.arange(100) >= 25
    mdata["atac"].obsm["X_scdart_confidence"] = np.where(believed, 0.8, 0.02)[:, None]
    with caplog.at_level("INFO", logger="scdart"):
        transfer_labels(mdata, "branch", threshold=0)
    np.testing.assert_array_equal(mdata["atac"].obs["branch_from_rna"].notna(), believed)
    assert "25% of the cells of 'atac' get no label" in caplog.text
    transfer_labels(mdata, "branch", threshold=0, min_confidence=0, key_added="all")
    assert mdata["atac"].obs["all"].notna().all()

    impute(mdata)
    everybody = impute(mdata, min_confidence=0, copy=True)["atac"].obsm["imputed_rna"]
    imputed = mdata["atac"].obsm["imputed_rna"]
    assert imputed.format == "csr"
    assert np.isnan(imputed[~believed].toarray()).all()
    np.testing.assert_array_equal(imputed[believed].toarray(), everybody[believed].toarray())

    mdata["atac"].obsm["X_scdart_confidence"] = np.full((100, 1), 0.02)
    with pytest.warns(UserWarning, match="100% of the cells of 'atac' get no label"):
        transfer_labels(mdata, "branch")

from __future__ import annotations

import mudata as md
import numpy as np
import pandas as pd
import pytest
from scipy.spatial.distance import cdist
from sklearn.metrics import roc_auc_score

import scdart
from scdart.model import SCDART
from scdart.model._confidence import round_trip_confidence


def clouds(sizes: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    return np.concatenate([rng.normal(6 * i, 1, (n, 4)) for i, n in enumerate(sizes)])


def test_equals_the_distances_along_every_way():
    rng = np.random.default_rng(0)
    own, other, k = rng.normal(size=(40, 3)), rng.normal(0.5, 1, size=(30, 3)), 5
    within, across = cdist(own, own), cdist(own, other)
    neighbors = np.argsort(within, axis=1)[:, 1 : k + 1]
    there, back = np.argsort(across, axis=1)[:, :k], np.argsort(across.T, axis=1)[:, :k]
    way = np.array([within[i, back[there[i]].ravel()].mean() for i in range(40)])
    alone = np.minimum(np.take_along_axis(within, neighbors, 1).mean(axis=1) / way, 1)
    expected = alone[np.argsort(within, axis=1)[:, : k + 1]].mean(axis=1)
    np.testing.assert_allclose(round_trip_confidence(own, other, k, seed=0), expected)


def test_half_of_it_goes_with_the_anchors_around():
    rng = np.random.default_rng(0)
    own, other, k = rng.normal(size=(40, 3)), rng.normal(size=(30, 3)), 5
    anchored = rng.uniform(size=40)
    around = np.argsort(cdist(own, own), axis=1)[:, : k + 1]
    expected = round_trip_confidence(own, other, k, seed=0) * (0.5 + anchored[around].mean(axis=1) / 2)
    np.testing.assert_allclose(round_trip_confidence(own, other, k, 0, anchored), expected)


def test_anchors_count_in_the_data_that_they_are_of(make_mdata):
    mdata = make_mdata()
    scdart.pp.anchors(mdata)
    rng = np.random.default_rng(0)
    for adata in mdata.mod.values():
        adata.obsm["anchors_confidence"] = rng.uniform(size=(adata.n_obs, 1))
    SCDART.setup_mudata(mdata)
    model = SCDART(mdata, n_latent=4, activity_hidden=(8,), projection_hidden=(8,))
    model.train(max_epochs=1, enable_progress_bar=False)
    for mod, other in (("rna", "atac"), ("atac", "rna")):
        z = [model.get_latent_representation(modality=name) for name in (mod, other)]
        anchored = mdata[mod].obsm["anchors_confidence"].ravel()
        for data, of_cells in ((None, anchored), (mdata.copy(), None)):
            expected = round_trip_confidence(*z, 10, 0, of_cells) * model.support_
            found = model.get_alignment_confidence(data, modality=mod, n_neighbors=10)
            np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_cells_without_counterpart_are_told_from_rare_ones():
    rng = np.random.default_rng(0)
    own, other = clouds((300, 300, 40), rng), clouds((300, 0, 300), rng)
    confidence = round_trip_confidence(own, other, 15, seed=0)
    lacking = np.repeat([False, True, False], [300, 300, 40])
    assert roc_auc_score(~lacking, confidence) > 0.99
    assert np.median(confidence[-40:]) > 0.7
    assert np.median(confidence[lacking]) < 0.4


def test_by_modality_and_for_all_cells(make_mdata):
    mdata = make_mdata(n_shared=10)
    SCDART.setup_mudata(mdata)
    model = SCDART(mdata, n_latent=4, activity_hidden=(8,), projection_hidden=(8,))
    model.train(max_epochs=2, enable_progress_bar=False)
    parts = [model.get_alignment_confidence(modality=mod, n_neighbors=10) for mod in ("rna", "atac")]
    assert [part.index.equals(mdata[mod].obs_names) for part, mod in zip(parts, ("rna", "atac"), strict=True)]
    both = model.get_alignment_confidence(n_neighbors=10)
    expected = pd.concat(parts).groupby(level=0).mean()[mdata.obs_names]
    pd.testing.assert_series_equal(both, expected, check_names=False)
    with pytest.raises(KeyError, match="'atac' is not in mdata.mod"):
        model.get_alignment_confidence(md.MuData({"rna": mdata["rna"].copy()}))
    with pytest.raises(KeyError, match="'protein' is not one of"):
        model.get_alignment_confidence(modality="protein")
    with pytest.raises(ValueError, match="has 60 cells, not more than n_neighbors=60"):
        model.get_alignment_confidence(n_neighbors=60)


def test_confidence_follows_the_support_of_the_anchors_but_where_labels_are_known(make_mdata, tmp_path):
    mdata = make_mdata()
    for mod, lacking in (("rna", "s0"), ("atac", "none")):
        state = mdata[mod].obs["state"].astype(object)
        mdata[mod].obs["gate"] = state.where(state != lacking)
    scdart.pp.anchors(mdata, groups_key="gate")
    mdata.uns["anchors"]["support"] = 0.25
    SCDART.setup_mudata(mdata, groups_key="gate")
    model = SCDART(mdata, n_latent=4, activity_hidden=(8,), projection_hidden=(8,))
    model.train(max_epochs=1, enable_progress_bar=False)
    supported = {mod: model.get_alignment_confidence(modality=mod, n_neighbors=10) for mod in ("rna", "atac")}
    model.support_ = 1.0
    for mod, confidence in supported.items():
        known = mdata[mod].obs["gate"].isin(set(mdata["rna"].obs["gate"].dropna()))
        expected = model.get_alignment_confidence(modality=mod, n_neighbors=10) * np.where(known, 1, 0.25)
        pd.testing.assert_series_equal(confidence, expected)
    model.support_ = 0.25
    model.save(tmp_path / "model")
    assert SCDART.load(tmp_path / "model", mdata).support_ == 0.25


def test_cells_of_one_name_are_refused(make_mdata):
    mdata = make_mdata()
    SCDART.setup_mudata(mdata)
    model = SCDART(mdata)
    model.train(max_epochs=1, enable_progress_bar=False)
    names = mdata["rna"].obs_names.to_numpy(dtype=object, copy=True)
    names[0] = names[1]
    mdata["rna"].obs_names = names
    with pytest.raises(ValueError, match=r"obs_names must be unique"):
        model.get_alignment_confidence(mdata, n_neighbors=10)

"""Anchors of one's own: all slots that go together, and no confidence that belongs to others."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

import scdart
from scdart.data import UnpairedDataSplitter, registered_anchors, registered_confidence
from scdart.model import SCDART


@pytest.fixture
def mdata(make_mdata):
    mdata = make_mdata(n_shared=20)
    del mdata.obsp["anchors"]
    return mdata


@pytest.fixture
def matrix(mdata):
    rng = np.random.default_rng(0)
    return sp.random(mdata["rna"].n_obs, mdata["atac"].n_obs, density=0.1, random_state=rng, format="csr")


def manager_of(mdata, **setup):
    SCDART.setup_mudata(mdata, **setup)
    return SCDART._get_most_recent_anndata_manager(mdata, required=True)


def test_weights_and_confidence_reach_the_model(mdata, matrix):
    confidence = {mod: np.linspace(0, 1, mdata[mod].n_obs) for mod in ("rna", "atac")}
    scdart.pp.set_anchors(mdata, matrix, confidence=confidence)
    manager = manager_of(mdata)
    np.testing.assert_allclose(registered_anchors(manager).toarray(), matrix.toarray(), rtol=1e-6)
    for mod, found in registered_confidence(manager).items():
        np.testing.assert_allclose(found, confidence[mod], rtol=1e-6)


@pytest.mark.parametrize("own", ["set_anchors", "by hand", "by hand, described"])
def test_confidence_of_other_anchors_is_not_used(mdata, matrix, own):
    scdart.pp.set_anchors(mdata, matrix, confidence={mod: np.zeros(mdata[mod].n_obs) for mod in ("rna", "atac")})
    if own == "set_anchors":
        scdart.pp.set_anchors(mdata, matrix.multiply(2))
        assert not [slot for mod in ("rna", "atac") for slot in mdata[mod].obsm if "anchors" in slot]
        manager = manager_of(mdata)
    else:
        mdata.obsp["anchors"] = mdata.obsp["anchors"] * 2
        if own == "by hand, described":
            mdata.uns["anchors"] = {"variant": "mine"}
            manager = manager_of(mdata)
        else:
            with pytest.warns(UserWarning, match=r"not the matrix that obsm\['anchors_confidence'\] was written with"):
                manager = manager_of(mdata)
    assert registered_confidence(manager) is None
    request = next(iter(UnpairedDataSplitter(manager, batch_size=20).train_dataloader()))
    assert set(np.unique(request["pair_weight"])) <= {0.0, 1.0}


def test_confidence_of_inferred_anchors_is_used_and_survives_a_file(tmp_path):
    import mudata as md

    mdata = scdart.datasets.simulate(n_cells=80, n_genes=100, n_peaks=250, random_state=0)
    scdart.pp.diffusion_coordinates(mdata)
    scdart.pp.anchors(mdata, random_state=0)
    expected = {mod: mdata[mod].obsm["anchors_confidence"].ravel() for mod in ("rna", "atac")}
    mdata.write(tmp_path / "data.h5mu")
    for read in (mdata, md.read_h5mu(tmp_path / "data.h5mu")):
        for mod, found in registered_confidence(manager_of(read)).items():
            np.testing.assert_array_equal(found, expected[mod])


def test_a_table_is_read_by_its_labels(mdata, matrix):
    names = {mod: mdata[mod].obs_names for mod in ("rna", "atac")}
    table = pd.DataFrame(matrix.toarray(), names["rna"], names["atac"]).iloc[::-1, 5:]
    scdart.pp.set_anchors(mdata, table)
    expected = matrix.toarray()
    expected[:, :5] = 0
    np.testing.assert_allclose(registered_anchors(manager_of(mdata)).toarray(), expected, rtol=1e-6)
    with pytest.raises(KeyError, match="1 rows of matrix name no RNA cell, such as 'nobody'"):
        scdart.pp.set_anchors(mdata, table.rename(index={table.index[0]: "nobody"}))


def test_matrices_that_are_no_anchors(mdata, matrix):
    before = set(mdata.obsp), set(mdata.uns)
    wrong = matrix.toarray()
    wrong[0, 0] = np.nan
    confidence = {mod: np.ones(mdata[mod].n_obs) for mod in ("rna", "atac")}
    for given, options, match in (
        (matrix.T, {}, "shape .*transposed: RNA cells are rows"),
        (matrix[:5], {}, r"shape \(5, 50\), not \(60, 50\)"),
        (wrong, {}, "1 values that are negative, NaN or infinite, such as nan"),
        (-matrix, {}, "pass weights >= 0"),
        (0 * matrix, {}, "zero everywhere"),
        (matrix, {"confidence": {"rna": confidence["rna"]}}, r"confidence is of \['rna'\]"),
        (matrix, {"confidence": {**confidence, "atac": np.ones(3)}}, r"confidence\['atac'\] has 3 values for 50 cells"),
        (matrix, {"confidence": {**confidence, "rna": -confidence["rna"]}}, r"holds -1.0: give numbers from 0 to 1"),
    ):
        with pytest.raises(ValueError, match=match):
            scdart.pp.set_anchors(mdata, given, **options)
    assert (set(mdata.obsp), set(mdata.uns)) == before

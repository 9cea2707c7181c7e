"""Batches of cells: read, checked, and their factors taken out, against dense arrays."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from scdart import _batches
from scdart._batches import BatchEffects, batches_of, check_batches, has_factors, stored_effects

MODS = {"rna": "rna", "atac": "atac"}


@pytest.fixture
def mdata(make_mdata):
    mdata = make_mdata()
    for mod in MODS:
        mdata[mod].obs["donor"] = pd.Categorical(np.where(np.arange(mdata[mod].n_obs) % 3, "b", "a"), ["c", "b", "a"])
    return mdata


@pytest.mark.parametrize("chunk", [1, 7, 1_000_000])
def test_corrected_values_are_the_dense_product(monkeypatch, chunk):
    monkeypatch.setattr(_batches, "_CHUNK", chunk)
    rng = np.random.default_rng(0)
    values = sp.random(30, 8, density=0.3, format="csr", random_state=rng)
    values[4] = 0
    values.eliminate_zeros()
    effects = BatchEffects(rng.integers(3, size=30), rng.uniform(0.5, 2, size=(3, 8)))
    before = values.copy()
    expected = values.toarray() * effects.factors[effects.codes]
    np.testing.assert_allclose(effects.corrected(values).toarray(), expected, rtol=1e-6)
    assert (before != values).nnz == 0


def test_batches_are_named_in_order(mdata):
    found = batches_of(mdata["rna"], "donor")
    assert found.names == ("a", "b")
    np.testing.assert_array_equal(np.array(found.names)[found.codes], mdata["rna"].obs["donor"].astype(str))
    assert batches_of(mdata["rna"], "nothing") is None
    assert batches_of(mdata["rna"][mdata["rna"].obs["donor"] == "a"], "donor") is None


def test_columns_that_are_no_batches(mdata):
    check_batches(mdata, "donor", MODS, min_cells=3)
    with pytest.raises(KeyError, match="batch_key='lane' is a column of neither"):
        check_batches(mdata, "lane", MODS, min_cells=3)
    with pytest.raises(ValueError, match=r"few cells \('a': 17\), and 20 are needed"):
        check_batches(mdata, "donor", MODS, min_cells=20)
    mdata["atac"].obs["donor"] = "a"
    mdata["rna"].obs["donor"] = "a"
    with pytest.raises(ValueError, match="tells nothing apart .it has one value"):
        check_batches(mdata, "donor", MODS, min_cells=3)
    mdata["rna"].obs["donor"] = "b"
    with pytest.raises(ValueError, match="the batches are the modalities"):
        check_batches(mdata, "donor", MODS, min_cells=3)
    mdata["rna"].obs["donor"] = np.where(np.arange(60) % 2, "a", "b")
    check_batches(mdata, "donor", MODS, min_cells=3)  # one modality alone has several
    mdata["rna"].obs.loc[mdata["rna"].obs_names[7], "donor"] = None
    with pytest.raises(ValueError, match=r"rna'\].obs\['donor'\] is missing for 1 cells, such as"):
        check_batches(mdata, "donor", MODS, min_cells=3)


def test_factors_are_used_for_the_batches_they_were_made_for(mdata):
    rna = mdata["rna"]
    with pytest.raises(KeyError, match=r"run scdart.pp.batch_factors\(mdata, 'donor'\) first"):
        stored_effects(mdata, "rna", "donor")
    rna.varm["batch_factors"] = np.full((20, 2), 2.0)
    rna.uns["batch_factors"] = {"batch_key": "donor", "batches": ["a", "b"]}
    np.testing.assert_array_equal(stored_effects(mdata, "rna", "donor").factors, np.full((2, 20), 2.0))
    rna.obs["donor"] = rna.obs["donor"].astype(str).replace("b", "x")
    assert not has_factors(mdata, "rna", "donor")
    assert stored_effects(mdata, "rna", None) is None

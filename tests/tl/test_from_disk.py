"""What is read of features while counts stay on disk, beside the same in memory."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from scdart import _chunks, tl
from scdart._expression import measured_expression
from scdart._mudata import feature_values
from scdart.pl._settings import summarize_data


@pytest.fixture(params=["h5mu", "dask"])
def both(request, make_tree, stored):
    mdata = make_tree()
    for adata in mdata.mod.values():
        adata.X = sparse.csr_matrix(adata.X)
    return mdata, stored(mdata, request.param)


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch):
    monkeypatch.setattr(_chunks, "MOST_ROWS", 20)
    with _chunks.room_for(0):
        yield


def test_features_that_change_are_the_same(both):
    for mdata in both:
        gene = mdata["rna"].var_names[1]
        tl.pseudotime(mdata, root_score=gene)
        tl.dynamic_features(mdata, features=[gene])
        tl.dynamic_features(mdata, mod="atac")
    in_memory, on_disk = both
    np.testing.assert_allclose(on_disk.obs["dpt_pseudotime"], in_memory.obs["dpt_pseudotime"])
    for mod in ("rna", "atac"):
        pd.testing.assert_frame_equal(*(each[mod].uns["dynamic_features"] for each in both), rtol=1e-6)


def test_values_are_the_same(both):
    genes = both[0]["rna"].var_names[[4, 2]]
    for mdata in both:
        tl.impute(mdata, features=genes.to_list(), key_added="imputed")
    np.testing.assert_allclose(*(each["atac"].obsm["imputed"].toarray() for each in both))
    expression = [measured_expression(each["rna"], genes, None, "rna").toarray() for each in both]
    np.testing.assert_allclose(*expression, rtol=1e-6)
    np.testing.assert_array_equal(*(feature_values(each["atac"], each["atac"].var_names[3]) for each in both))
    assert len({str(summarize_data(each, {"rna": "rna"}, {"rna": None})) for each in both}) == 1

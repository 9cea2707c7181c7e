"""What slots were made from: the same however data are stored, and another when they are others."""

from __future__ import annotations

import logging
from time import perf_counter

import mudata
import numpy as np
import pandas as pd
import pytest
import scvi
from anndata import AnnData
from scipy import sparse

import scdart
from scdart import _origins, pp
from scdart._origins import difference, has_factors_of, origin_of_components, origin_of_counts
from scdart.datasets import simulate
from scdart.model import SCDART


@pytest.fixture(scope="module")
def simulated():
    data = simulate("bifurcating", n_cells=(60, 50), n_genes=60, n_peaks=150)
    pp.diffusion_coordinates(data)
    pp.anchors(data)
    return data


@pytest.fixture
def mdata(simulated):
    return simulated.copy()


@pytest.fixture
def adata(simulated) -> AnnData:
    return simulated["rna"].copy()


def now(adata, layer=None):
    return origin_of_counts(adata, layer, "rna")


@pytest.mark.parametrize(
    "stored",
    [
        sparse.csr_matrix.tocsc,
        sparse.csr_matrix.toarray,
        sparse.csr_array,
        lambda x: x.astype(np.float64),
        lambda x: x.astype(np.int32),
        lambda x: x + sparse.csr_matrix(x.shape),
    ],
)
def test_any_storage_is_the_same_data(adata, stored):
    made_from = now(adata)
    adata.layers["again"] = stored(adata.X)
    assert difference(made_from, now(adata, "again")) is None


def test_any_order_is_the_same_data(adata):
    made_from, rng = now(adata), np.random.default_rng(0)
    again = adata[rng.permutation(adata.n_obs)][:, rng.permutation(adata.n_vars)].copy()
    assert difference(made_from, now(again)) is None


def test_explicit_zeros_are_zeros(adata):
    made_from = now(adata)
    rows = np.append(adata.X.tocoo().row, 0)
    columns = np.append(adata.X.tocoo().col, np.flatnonzero(adata.X[0].toarray() == 0)[0])
    adata.X = sparse.csr_matrix((np.append(adata.X.tocoo().data, 0), (rows, columns)), shape=adata.shape)
    assert difference(made_from, now(adata)) is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda a: a[:-1].copy(), "made from 60 cells, and there are 59"),
        (lambda a: a[:, 1:].copy(), "made from 60 features, and there are 59"),
        (lambda a: a[np.r_[0, 0:59]].copy(), "other cells"),
        (lambda a: AnnData(a.X, obs=a.obs, var=a.var.set_index(a.var_names + "x")), "other features"),
        (lambda a: AnnData(a.X[::-1], obs=a.obs, var=a.var), "does not hold the same values"),
        (lambda a: AnnData(a.X * 2, obs=a.obs, var=a.var), "does not hold the same values"),
    ],
)
@pytest.mark.filterwarnings("ignore:Observation names are not unique")
def test_other_data_are_told_apart(adata, change, words):
    assert words in difference(now(adata), now(change(adata)))


def test_a_single_count_is_seen(adata):
    made_from = now(adata)
    adata.X[7, 3] += 1
    assert "the same values" in difference(made_from, now(adata))


def test_components_of_cells(adata):
    adata.obsm["X_pca"] = np.random.default_rng(0).normal(size=(60, 5))
    made_from = origin_of_components(adata, "X_pca", "adata")
    assert difference(made_from, origin_of_components(adata[::-1].copy(), "X_pca", "adata")) is None
    adata.obsm["X_pca"][3, 3] += 1
    assert "X_pca" in difference(made_from, origin_of_components(adata, "X_pca", "adata"))
    del adata.obsm["X_pca"]
    assert difference(made_from, origin_of_components(adata, "X_pca", "adata")) is None
    assert "59" in difference(made_from, origin_of_components(adata[:-1], "X_pca", "adata"))


def test_cost_is_that_of_a_pass_over_the_data():
    counts = sparse.random(2000, 20_000, density=0.05, format="csr", dtype=np.float32, random_state=0)
    start = perf_counter()
    origin_of_counts(AnnData(counts), None, "atac")
    assert perf_counter() - start < 2  # 0.05 s on a machine that does nothing else


def test_data_on_disk_are_told_by_a_sample(mdata, tmp_path, monkeypatch):
    mdata.write(tmp_path / "data.h5mu")
    backed = mudata.read_h5mu(tmp_path / "data.h5mu", backed="r")
    monkeypatch.setattr(_origins, "_total_of", told := Told(_origins._total_of))
    SCDART.setup_mudata(backed)
    assert max(told.n_rows) <= _origins._SAMPLE + mdata["atac"].n_vars  # cells, and the peaks of the prior
    mdata["rna"].X = (mdata["rna"].X * 2).tocsr()
    mdata.write(tmp_path / "other.h5mu")
    with pytest.raises(ValueError, match=r"rna.*does not hold the same values"):
        SCDART.setup_mudata(mudata.read_h5mu(tmp_path / "other.h5mu", backed="r"))


class Told:
    """A function, and the rows of what it was called with."""

    def __init__(self, function):
        self.function, self.n_rows = function, []

    def __call__(self, values, rows, columns):
        self.n_rows.append(len(rows))
        return self.function(values, rows, columns)


# What reads the slots ------------------------------------------------------------------------------------------------


def another_layer(mdata):
    for adata in mdata.mod.values():
        adata.layers["counts"] = adata.X[np.random.default_rng(0).permutation(adata.n_obs)]
    return {"rna_layer": "counts", "atac_layer": "counts"}


def other_counts(mdata):
    mdata["atac"].X = mdata["atac"].X[::-1].copy()
    return {}


@pytest.mark.parametrize("change", [another_layer, other_counts])
def test_set_up_refuses_what_was_made_from_other_counts(mdata, change):
    options, slots = change(mdata), set(mdata.uns)
    with pytest.raises(ValueError, match=r"obsm\['X_diffusion_coordinates'\] was made from other data.*Run scdart.pp"):
        SCDART.setup_mudata(mdata, **options)
    pp.diffusion_coordinates(mdata, **options)
    with pytest.raises(ValueError, match=r"obsp\['anchors'\] was made from other data.*Run scdart.pp.anchors\(mdata"):
        SCDART.setup_mudata(mdata, **options)
    assert set(mdata.uns) == slots
    pp.anchors(mdata, **options)
    SCDART.setup_mudata(mdata, **options)


def test_a_layer_with_the_same_counts_is_the_same(mdata):
    for adata in mdata.mod.values():
        adata.layers["counts"] = adata.X.astype(np.int64)
    SCDART.setup_mudata(mdata, rna_layer="counts", atac_layer="counts")


def test_what_no_counts_can_be_is_refused(mdata):
    mdata["rna"].X = mdata["rna"].X.astype(np.float64) * 1e300
    with pytest.raises(ValueError, match="2,.* values that are negative, .*, or beyond any count, such as"):
        pp.diffusion_coordinates(mdata)


def test_set_up_refuses_what_was_made_of_other_cells(mdata):
    with pytest.raises(ValueError, match="made from 60 cells, and there are"):
        SCDART.setup_mudata(mdata[20:].copy())
    SCDART.setup_mudata(mdata[np.random.default_rng(0).permutation(mdata.n_obs)].copy(), anchors_key=None)


def test_set_up_refuses_anchors_of_another_prior(mdata):
    prior = mdata["atac"].varm["gene_activity"]
    pp.set_gene_activity(mdata, prior[::-1])
    with pytest.raises(ValueError, match="was made from the prior"):
        SCDART.setup_mudata(mdata)
    pp.set_gene_activity(mdata, prior)
    SCDART.setup_mudata(mdata)


def test_what_was_given_belongs_to_its_cells(mdata):
    pairs = np.c_[mdata["rna"].obs_names[:5], mdata["atac"].obs_names[:5]]
    pp.anchors(mdata, pairs=pairs, inferred=False)
    options = other_counts(mdata)
    pp.diffusion_coordinates(mdata)
    SCDART.setup_mudata(mdata, **options)
    pp.anchors(mdata, pairs=pairs)
    other_counts(mdata)
    with pytest.raises(ValueError, match=r"pp.anchors\(mdata, pairs=..."):
        scdart.tl.integrate(mdata, max_epochs=1)


def test_older_objects_are_believed(mdata, caplog):
    for described in (mdata.uns["anchors"], *(adata.uns["diffusion_coordinates"] for adata in mdata.mod.values())):
        del described["made_from"]
    with caplog.at_level(logging.INFO, "scdart"):
        SCDART.setup_mudata(mdata)
    assert sum("does not say what it was made from" in message for message in caplog.messages) == 4


def test_integrate_makes_anew_what_was_made_from_other_counts(mdata):
    fresh = mdata.copy()
    options = another_layer(mdata)
    scdart.tl.integrate(mdata, max_epochs=1, **options, train_kwargs={"enable_progress_bar": False})
    del fresh.obsp["anchors"]
    another_layer(fresh)
    scdart.tl.integrate(fresh, max_epochs=1, **options, train_kwargs={"enable_progress_bar": False})
    np.testing.assert_array_equal(mdata.obsm["X_scdart"], fresh.obsm["X_scdart"])


def test_factors_of_batches_follow_counts():
    data = simulate(n_cells=100, n_genes=60, n_peaks=100, n_batches_rna=2, batch_effect=1.0)
    pp.diffusion_coordinates(data, batch_key="batch")
    assert has_factors_of(data, "rna", "batch", None)
    data["rna"].obs["batch"] = data["rna"].obs["batch"].to_numpy()[::-1]
    assert not has_factors_of(data, "rna", "batch", None)
    with pytest.raises(ValueError, match=r"batch_factors'\] was made from other counts or batches"):
        SCDART.setup_mudata(data, batch_key="batch")


# A prior as a table --------------------------------------------------------------------------------------------------


def test_a_table_is_read_by_its_labels(mdata):
    SCDART.setup_mudata(mdata, anchors_key=None)
    scvi.settings.seed = 1
    expected = SCDART(mdata, n_latent=4).module.activity_encoder.state_dict()
    table = pd.DataFrame(mdata["atac"].varm["gene_activity"].toarray(), mdata["atac"].var_names, mdata["rna"].var_names)
    mdata["atac"].varm["gene_activity"] = table.assign(other=7.0).iloc[:, ::-1]
    SCDART.setup_mudata(mdata, anchors_key=None)
    scvi.settings.seed = 1
    model = SCDART(mdata, n_latent=4)
    assert model.summary_stats["n_links"] == np.count_nonzero(table)
    for name, values in model.module.activity_encoder.state_dict().items():
        np.testing.assert_array_equal(values, expected[name])
    mdata["atac"].varm["gene_activity"] = table.drop(columns=["gene3", "gene4"])
    with pytest.raises(ValueError, match=r"without columns for 2 of 60 genes, such as 'gene3'.*set_gene_activity"):
        SCDART.setup_mudata(mdata, anchors_key=None)

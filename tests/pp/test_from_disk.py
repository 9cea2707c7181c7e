"""Preparation from counts on disk, beside the same in memory."""

from __future__ import annotations

import mudata
import numpy as np
import pytest
from scipy import sparse
from scipy.spatial.distance import pdist

from scdart import _chunks, pp
from scdart.datasets import simulate
from scdart.model import SCDART

KINDS = ("h5mu", "zarr", "dask")


@pytest.fixture(scope="module")
def unprepared():
    mdata = simulate("bifurcating", n_cells=150, n_genes=100, n_peaks=300, link_kind="genomic")
    for adata in mdata.mod.values():
        adata.X = sparse.csr_matrix(adata.X)
        adata.obs["half"] = np.where(np.arange(adata.n_obs) % 2, "one", "other")
    return mdata


@pytest.fixture(scope="module")
def in_memory(unprepared):
    mdata = unprepared.copy()
    pp.diffusion_coordinates(mdata)
    pp.anchors(mdata)
    return mdata


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch):
    monkeypatch.setattr(_chunks, "MOST_ROWS", 50)
    monkeypatch.setattr(_chunks, "_FEWEST_ROWS", 50)
    with _chunks.room_for(0):
        yield


def assert_same_places(found, expected):
    """Distances to 1e-5, and coordinates but for what the order of single-precision sums does to the last axes."""
    one, other = (pdist(np.asarray(each, dtype=float)) for each in (found, expected))
    assert np.linalg.norm(one - other) < 1e-5 * np.linalg.norm(other)
    np.testing.assert_allclose(found, expected, atol=2e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_coordinates_and_anchors_are_those_in_memory(kind, unprepared, in_memory, stored):
    mdata = stored(unprepared, kind)
    pp.diffusion_coordinates(mdata)
    pp.anchors(mdata)
    for mod, adata in mdata.mod.items():
        assert _chunks.on_disk(adata.X)
        for slot in ("X_diffusion_coordinates", "X_anchors"):
            assert_same_places(adata.obsm[slot], in_memory[mod].obsm[slot])
        np.testing.assert_allclose(
            adata.obsm["anchors_confidence"], in_memory[mod].obsm["anchors_confidence"], atol=1e-5
        )
    assert abs(mdata.obsp["anchors"] - in_memory.obsp["anchors"]).max() < 1e-5
    assert mdata.uns["anchors"]["variant"] == in_memory.uns["anchors"]["variant"]


def test_known_groups_and_batches_are_those_in_memory(unprepared, stored):
    in_memory, backed = unprepared.copy(), stored(unprepared, "h5mu")
    for mdata in (in_memory, backed):
        pp.diffusion_coordinates(mdata, batch_key="half")
        pp.anchors(mdata, groups_key="half", batch_key="half", refine=True)
    for mod, adata in backed.mod.items():
        np.testing.assert_allclose(adata.varm["batch_factors"], in_memory[mod].varm["batch_factors"], rtol=1e-5)
        for slot in ("X_diffusion_coordinates", "X_anchors"):
            assert_same_places(adata.obsm[slot], in_memory[mod].obsm[slot])


def test_links_are_chosen_as_in_memory(unprepared, stored):
    annotation = unprepared["rna"].var.assign(gene_name=unprepared["rna"].var_names)
    in_memory, backed = unprepared.copy(), stored(unprepared, "h5mu")
    domains = [{"upstream": 2000}, {"upstream": 50_000}]
    for mdata in (in_memory, backed):
        pp.gene_activity(mdata, annotation, domain=domains)
    priors = [mdata["atac"].varm["gene_activity"] for mdata in (in_memory, backed)]
    assert abs(priors[0] - priors[1]).max() == 0


def test_counts_are_never_read_as_a_whole(unprepared, stored, monkeypatch):
    mdata = stored(unprepared, "h5mu")
    source, n_rows = type(mdata["rna"].X), []
    read = source.__getitem__

    def spied(self, index):
        n_rows.append((found := read(self, index)).shape[0])
        return found

    monkeypatch.setattr(source, "__getitem__", spied)
    monkeypatch.setattr(source, "to_memory", lambda self: pytest.fail("read as a whole"))
    monkeypatch.setattr("scdart._origins._SAMPLE", 50)
    pp.diffusion_coordinates(mdata)
    pp.anchors(mdata, refine=False)
    assert max(n_rows) == 50


@pytest.mark.parametrize("kind", ["h5mu", "dask"])
@pytest.mark.parametrize("prepare", [pp.diffusion_coordinates, pp.anchors])
def test_bad_counts_on_disk_are_named(kind, prepare, unprepared, stored):
    for spoil, said in (
        (lambda x: x.multiply(-1), r"mod\['atac'\].X holds .* negative.*such as -\d"),
        (lambda x: x.multiply(np.arange(150)[:, None] != 77), r"mod\['atac'\].X has 1 cells without counts, such as"),
    ):
        spoilt = unprepared.copy()
        spoilt["atac"].X = sparse.csr_matrix(spoil(spoilt["atac"].X))
        with pytest.raises(ValueError, match=said) as raised:
            prepare(stored(spoilt, kind))
    assert repr(unprepared["atac"].obs_names[77]) in str(raised.value)


def test_rows_of_a_matrix_by_column_cannot_be_read(unprepared, stored):
    by_column = unprepared.copy()
    by_column["rna"].X = sparse.csc_matrix(by_column["rna"].X)
    with pytest.raises(ValueError, match=r"mod\['rna'\].X is stored on disk by column.*tocsr"):
        pp.diffusion_coordinates(stored(by_column, "h5mu"))


def test_dense_counts_are_read_by_rows(unprepared, in_memory, stored):
    dense = unprepared.copy()
    for adata in dense.mod.values():
        adata.X = adata.X.toarray()
    mdata = stored(dense, "h5mu")
    pp.diffusion_coordinates(mdata)
    for mod, adata in mdata.mod.items():
        assert_same_places(adata.obsm["X_diffusion_coordinates"], in_memory[mod].obsm["X_diffusion_coordinates"])


@pytest.mark.distributed
@pytest.mark.slow
def test_workers_of_dask_find_the_same(unprepared, in_memory, stored):
    distributed = pytest.importorskip("distributed")
    mdata = stored(unprepared, "dask")
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        distributed.Client(cluster) as client,
    ):
        pp.diffusion_coordinates(mdata)
        pp.anchors(mdata)
        n_transitions = client.run(lambda dask_worker: dask_worker.state.transition_counter)
    assert len(n_transitions) == 2
    assert min(n_transitions.values()) > 100
    for mod, adata in mdata.mod.items():
        for slot in ("X_diffusion_coordinates", "X_anchors"):
            assert_same_places(adata.obsm[slot], in_memory[mod].obsm[slot])


class TestFromStore:
    @pytest.mark.parametrize("kind", ["h5mu", "zarr"])
    def test_all_but_counts_is_in_memory(self, kind, make_mdata, stored):
        mdata = make_mdata(n_shared=5)
        opened = stored(mdata, kind)
        assert list(opened.mod) == list(mdata.mod)
        assert opened.obs_names.equals(mdata.obs_names)
        assert abs(opened.obsp["anchors"] - mdata.obsp["anchors"]).max() == 0
        for mod, adata in opened.mod.items():
            assert _chunks.on_disk(adata.X)
            np.testing.assert_array_equal(adata.X[:].toarray(), mdata[mod].X.toarray())
            coordinates = (each.obsm["X_diffusion_coordinates"] for each in (adata, mdata[mod]))
            np.testing.assert_array_equal(*coordinates)
            assert adata.obs["state"].tolist() == mdata[mod].obs["state"].tolist()
        SCDART.setup_mudata(opened)

    def test_what_is_no_store_is_named(self, tmp_path):
        with pytest.raises(FileNotFoundError, match="nowhere"):
            pp.from_store(tmp_path / "nowhere.zarr")
        with pytest.raises(ValueError, match="cannot be read as zarr"):
            pp.from_store(tmp_path)
        (tmp_path / "text.h5mu").write_text("no data")
        with pytest.raises(ValueError, match=r"text\.h5mu cannot be read as \.h5mu"):
            pp.from_store(tmp_path / "text.h5mu")
        mudata.MuData({}).write(tmp_path / "empty.h5mu")
        with pytest.raises(ValueError, match="no modality"):
            pp.from_store(tmp_path / "empty.h5mu")


def test_small_counts_on_disk_give_the_same_bits(unprepared, in_memory, stored):
    mdata = stored(unprepared, "h5mu")
    with _chunks.room_for(10**6):
        pp.diffusion_coordinates(mdata)
    for mod, adata in mdata.mod.items():
        expected = in_memory[mod].obsm["X_diffusion_coordinates"]
        np.testing.assert_array_equal(adata.obsm["X_diffusion_coordinates"], expected)

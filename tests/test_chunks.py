"""Matrices that are read some rows at a time, beside the same in memory."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
import zarr
from anndata.io import sparse_dataset, write_elem
from scipy import sparse

from scdart import _chunks
from scdart._chunks import RowChunks, as_matrix, mapped, on_disk, room_for, size_on_disk, take, transformed

KINDS = ("h5, sparse", "h5, dense", "zarr", "dask, sparse", "dask, dense", "dask, columns in blocks")


@pytest.fixture(scope="module")
def counts():
    return sparse.random(53, 11, density=0.4, format="csr", dtype=np.float32, random_state=0)


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch):
    monkeypatch.setattr(_chunks, "MOST_ROWS", 10)
    monkeypatch.setattr(_chunks, "_FEWEST_ROWS", 2)


@pytest.fixture(params=KINDS)
def source(request, counts, tmp_path):
    kind = request.param
    if kind.startswith("h5"):
        file = h5py.File(tmp_path / "counts.h5", "w")
        write_elem(file, "X", counts.toarray() if "dense" in kind else counts)
        return file["X"] if "dense" in kind else sparse_dataset(file["X"])
    if kind == "zarr":
        group = zarr.open_group(str(tmp_path / "counts.zarr"), mode="w")
        write_elem(group, "X", counts)
        return sparse_dataset(group["X"])
    array = pytest.importorskip("dask.array")
    dense = array.from_array(counts.toarray(), chunks=(20, 5 if "columns" in kind else 11))
    return dense if "dense" in kind else dense.map_blocks(sparse.csr_matrix)


@pytest.fixture
def chunks(source):
    return RowChunks(source)


def test_products_and_sums_are_those_in_memory(chunks, counts):
    rng = np.random.default_rng(0)
    right, left = rng.normal(size=(11, 3)), rng.normal(size=(53, 3))
    assert chunks.shape == (53, 11)
    np.testing.assert_allclose(chunks @ right, counts @ right)
    np.testing.assert_allclose(chunks @ right[:, 0], counts @ right[:, 0])
    np.testing.assert_allclose(chunks.T @ left, counts.T @ left, rtol=1e-6)
    np.testing.assert_allclose(chunks.sum(), counts.sum(), rtol=1e-6)
    for axis in (0, 1):
        np.testing.assert_allclose(chunks.sum(axis), np.asarray(counts.sum(axis)).ravel(), rtol=1e-6)
    np.testing.assert_allclose(chunks.mean(0), counts.toarray().mean(0), rtol=1e-6)
    np.testing.assert_array_equal(chunks.getnnz(0), counts.getnnz(0))


@pytest.mark.parametrize(
    "rows",
    [slice(None), slice(3, 41), np.array([52, 0, 17, 17, 3]), np.array([7]), np.arange(53) % 3 == 0],
    ids=["all", "slice", "any order", "one", "mask"],
)
def test_rows_are_read_as_they_are_asked_for(chunks, counts, rows):
    np.testing.assert_array_equal(chunks[rows].toarray(), counts[rows].toarray())


def test_loaders_take_rows_in_any_order_and_repeated(source, counts):
    rows = np.array([52, 0, 17, 17, 3])
    found = take(source, rows)
    np.testing.assert_array_equal(found.toarray() if sparse.issparse(found) else found, counts[rows].toarray())


def test_steps_know_which_rows_they_are_given(chunks, counts):
    def scaled(matrix, rows):
        return sparse.csr_matrix(matrix.multiply(np.arange(53)[rows, None]))

    lazy, expected = transformed(chunks, scaled), transformed(counts, scaled)
    rows = np.array([40, 2, 39])
    np.testing.assert_array_equal(lazy[:].toarray(), expected.toarray())
    np.testing.assert_array_equal(lazy[rows].toarray(), expected[rows].toarray())


@pytest.mark.parametrize("at_once", [None, 7])
def test_what_is_made_of_rows_is_stacked(chunks, counts, at_once):
    def numbered(matrix, rows):
        return np.column_stack([np.arange(53)[rows], matrix.sum(axis=1)])

    np.testing.assert_allclose(mapped(chunks, numbered), mapped(counts, numbered, at_once), rtol=1e-6)
    two = mapped(chunks, lambda matrix, rows: matrix[:, [4, 1]])
    np.testing.assert_array_equal(two.toarray(), counts[:, [4, 1]].toarray())
    assert mapped(counts, lambda matrix, rows: [matrix.shape[0]], 30) == [30, 23]


def test_no_more_than_a_chunk_is_held(counts):
    class Watched:
        shape, dtype = counts.shape, counts.dtype
        n_rows: list[int] = []

        def __getitem__(self, rows):
            found = counts[rows]
            self.n_rows.append(found.shape[0])
            return found

    assert on_disk(Watched())
    chunks = RowChunks(Watched())
    chunks.T @ (chunks @ np.ones(11))
    assert max(Watched.n_rows) == 10
    Watched.n_rows.clear()
    # A row here and there is read alone, or all of a chunk where many of its rows are asked for.
    _ = chunks.then(lambda matrix, rows: matrix)[np.arange(20, 29)]
    assert Watched.n_rows == [10]


def test_what_is_small_is_read_as_a_whole(source, counts):
    size = size_on_disk(source)
    if size is None:
        assert isinstance(as_matrix(source), RowChunks)
        return
    assert size == (counts.toarray().nbytes if hasattr(source, "size") else counts.nnz * 8 + counts.indptr.nbytes)
    with room_for(size):
        np.testing.assert_array_equal(sparse.csr_matrix(as_matrix(source)).toarray(), counts.toarray())
    with room_for(size - 1):
        assert isinstance(as_matrix(source), RowChunks)
    assert as_matrix(counts) is counts


def test_chunks_take_an_eighth_of_the_room(source):
    if (size := size_on_disk(source)) is None:
        return
    with room_for(size):
        assert np.diff(RowChunks(source)._spans()).max() == 53 // 8
    with room_for(0):
        assert np.diff(RowChunks(source)._spans()).max() == 2

"""Matrices of cells that need not be in memory: read some rows at a time, from a file or by dask.

A matrix is one of SciPy in memory, which is worked on at once, or :class:`RowChunks` of what anndata opens in a file
(h5ad, h5mu or zarr), or of a dask array, on whatever scheduler dask is told to use. Functions of this module take
either, and compute the same.
"""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import scipy.sparse as sp

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    #: Numbers of rows, as they index an array of all.
    Rows: TypeAlias = slice | np.ndarray
    Step: TypeAlias = Callable[[Any, Rows], Any]

#: Bytes of a matrix on disk that may be held at a time: what is smaller is read as a whole, others in chunks of an
#: eighth of them, since what chunks are made into takes several times as much.
_room: ContextVar[int] = ContextVar("_room", default=2**29)
_CHUNKS_IN_ROOM = 8

#: Most and fewest rows that are read from a file at a time.
MOST_ROWS, _FEWEST_ROWS = 4096, 16

#: Share of the rows of a chunk below which they are read one by one.
_FEW = 1 / 16

#: Results that one task of dask adds up: few are held at a time.
_ADDED_AT_ONCE = 4


@dataclass(frozen=True)
class RowChunks:
    """A sparse matrix that is read some rows at a time, and transformed as it is read.

    Of a SciPy matrix it has the few operations that are used; what is as long as there are features comes out in double
    precision, since it is a sum over chunks.

    Attributes
    ----------
    source
        A sparse dataset of anndata or a dense one of h5py or zarr, or a dask array whose blocks are SciPy or NumPy
        arrays.
    steps
        Functions of some rows, as CSR, and their numbers, applied one after the other.
    """

    source: Any
    steps: tuple[Step, ...] = ()

    @property
    def shape(self) -> tuple[int, int]:
        """Number of cells and of features, which no step changes."""
        n_rows, n_columns = self.source.shape
        return n_rows, n_columns

    def then(self, step: Step) -> RowChunks:
        """Transform rows by a further step when they are read."""
        return replace(self, steps=(*self.steps, step))

    def map(self, function: Step) -> Any:
        """Stack what a function makes of the rows of each chunk."""
        return _stacked(self._results(function))

    def total(self, function: Step) -> np.ndarray:
        """Add up, in double precision, what a function makes of the rows of each chunk."""
        if not is_dask(self.source):
            return _added(self._results(function))
        from dask.delayed import delayed

        parts = self._delayed(function, None)
        while len(parts) > 1:
            starts = range(0, len(parts), _ADDED_AT_ONCE)
            parts = [delayed(_added)(parts[start : start + _ADDED_AT_ONCE]) for start in starts]
        return _computed(parts)[0]

    def __getitem__(self, rows: Any) -> sp.csr_matrix:
        """Read some rows, in any order, into memory."""
        rows = np.arange(self.shape[0])[rows]
        order = np.argsort(rows, kind="stable")
        found = _stacked(self._results(_rows_themselves, rows[order]))
        return found if (np.diff(rows) >= 0).all() else found[np.argsort(order)]

    def __matmul__(self, other: Any) -> np.ndarray:
        return self.map(partial(_product, other))

    @property
    def T(self) -> _Transposed:
        """The transposed matrix, of which there are products only."""
        return _Transposed(self)

    def sum(self, axis: int | None = None) -> Any:
        """Sum of all, or over the rows (0) or columns (1)."""
        if axis == 1:
            return self.map(_row_sums)
        return self.total(_column_sums) if axis == 0 else float(self.total(_column_sums).sum())

    def mean(self, axis: int) -> np.ndarray:
        """Mean over the rows (0) or columns (1)."""
        return self.sum(axis) / self.shape[axis]

    def getnnz(self, axis: int) -> np.ndarray:
        """Count the entries of every column (0)."""
        assert axis == 0
        return self.total(_column_entries).astype(np.int64)

    def _spans(self) -> list[tuple[int, int]]:
        if is_dask(self.source):
            ends = np.cumsum(self.source.chunks[0]).tolist()
        else:
            n_rows = rows_at_once(self.source)
            ends = [*range(n_rows, self.shape[0], n_rows), self.shape[0]]
        return list(zip([0, *ends[:-1]], ends, strict=True))

    def _results(self, function: Step, wanted: np.ndarray | None = None) -> Iterable[Any]:
        """Get what a function makes of each chunk, or of the rows in it that are wanted, which are sorted."""
        if is_dask(self.source):
            return _computed(self._delayed(function, wanted))
        apply = partial(_applied, self.steps, function)
        return (apply(_read(self.source, span, rows), span, rows) for span, rows in _wanted(self._spans(), wanted))

    def _delayed(self, function: Step, wanted: np.ndarray | None) -> list[Any]:
        from dask.delayed import delayed

        source = self.source.rechunk({1: -1}) if len(self.source.chunks[1]) > 1 else self.source
        blocks = dict(zip(self._spans(), source.to_delayed().ravel(), strict=True))
        # One object for all tasks: it may hold arrays as long as there are features.
        apply = delayed(partial(_applied, self.steps, function), traverse=False)
        return [apply(blocks[span], span, rows) for span, rows in _wanted(self._spans(), wanted)]


@dataclass(frozen=True)
class _Transposed:
    matrix: RowChunks

    def __matmul__(self, other: np.ndarray) -> np.ndarray:
        """Multiply by an array with a row for each cell."""
        return self.matrix.total(partial(_transposed_product, other))


Matrix: TypeAlias = sp.csr_matrix | RowChunks


def is_dask(source: Any) -> bool:
    """Whether it is a dask array, without importing dask."""
    return hasattr(source, "dask") and hasattr(source, "to_delayed")


def on_disk(matrix: Any) -> bool:
    """Whether rows are read when they are asked for: ``X`` of backed data, or a dask array."""
    return not (sp.issparse(matrix) or isinstance(matrix, np.ndarray))


@contextmanager
def room_for(n_bytes: int) -> Iterator[None]:
    """Hold at most so many bytes of a matrix on disk at a time; what is made of them takes a few times as much."""
    token = _room.set(n_bytes)
    try:
        yield
    finally:
        _room.reset(token)


def as_matrix(values: Any) -> Any:
    """Get values of cells as what functions here take: those on disk as :class:`RowChunks`, or in memory if small."""
    values = held(values)
    return RowChunks(values) if on_disk(values) else values


def held(source: Any) -> Any:
    """Read what is on disk as a whole if it is small; otherwise leave it there."""
    if not on_disk(source):
        return source
    n_bytes = size_on_disk(source)
    return source[:] if n_bytes is not None and n_bytes <= _room.get() else source


def size_on_disk(source: Any) -> int | None:
    """Bytes that a matrix in a file takes once it is read; ``None`` where it is not in a file, but computed."""
    if is_dask(source):
        return None
    if hasattr(source, "group"):
        return sum(int(np.prod(part.shape)) * part.dtype.itemsize for part in _arrays(source.group))
    return int(np.prod(source.shape)) * source.dtype.itemsize


def transformed(matrix: Any, step: Step) -> Any:
    """Transform rows that do not depend on each other: now in memory, otherwise when they are read.

    Parameters
    ----------
    matrix
        Cells x features.
    step
        Function of some rows and their numbers, which returns as many rows.
    """
    return matrix.then(step) if isinstance(matrix, RowChunks) else step(matrix, slice(None))


def mapped(matrix: Any, function: Step, at_once: int | None = None) -> Any:
    """Stack what a function makes of some rows and their numbers.

    Parameters
    ----------
    matrix
        Cells x features.
    function
        Function of some rows and their numbers.
    at_once
        Rows of a matrix in memory that the function is given at a time; by default all. Others have chunks.
    """
    if isinstance(matrix, RowChunks):
        return matrix.map(function)
    if at_once is None:
        return function(matrix, slice(None))
    spans = (slice(start, start + at_once) for start in range(0, matrix.shape[0], at_once))
    return _stacked(function(matrix[span], span) for span in spans)


def columns_of(source: Any, columns: Any) -> Any:
    """Read some features of all cells, as numbers of columns, into memory; sparse where they are read from disk."""
    return RowChunks(source).map(partial(_columns, columns)) if on_disk(source) else source[:, columns]


def take(source: Any, rows: np.ndarray) -> Any:
    """Read some rows, in any order and repeated or not, of what is in memory, in a file or a dask array."""
    if not on_disk(source):
        return source[rows]
    # In a file, rows can only be read in increasing order and once each.
    wanted, position = np.unique(rows, return_inverse=True)
    found = source[wanted]
    return (found.compute() if is_dask(source) else found)[position]


def _arrays(group: Any) -> list[Any]:
    return [group[name] for name in ("data", "indices", "indptr")]


def rows_at_once(source: Any) -> int:
    """Rows of a matrix in a file that may be held at a time."""
    n_bytes = size_on_disk(source) or 0
    fit = _room.get() / _CHUNKS_IN_ROOM / max(n_bytes / source.shape[0], 1)
    return int(np.clip(fit, _FEWEST_ROWS, MOST_ROWS))


def _wanted(
    spans: list[tuple[int, int]], rows: np.ndarray | None
) -> Iterator[tuple[tuple[int, int], np.ndarray | None]]:
    """Chunks, and the rows in each that are wanted, where they are not all; chunks without any are left out."""
    for start, stop in spans:
        if rows is None:
            yield (start, stop), None
            continue
        own = rows[slice(*np.searchsorted(rows, [start, stop]))]
        if len(own):
            yield (start, stop), own


def _read(source: Any, span: tuple[int, int], rows: np.ndarray | None) -> Any:
    """Read a chunk, or only the rows in it that are wanted, where these are few."""
    start, stop = span
    return source[start:stop] if rows is None or len(rows) > _FEW * (stop - start) else take(source, rows)


def _applied(steps: tuple[Step, ...], function: Step, read: Any, span: tuple[int, int], rows: np.ndarray | None) -> Any:
    chunk = sp.csr_matrix(read)
    if rows is not None and chunk.shape[0] == span[1] - span[0]:
        chunk = chunk[rows - span[0]]
    numbers = slice(*span) if rows is None else rows
    for step in steps:
        chunk = step(chunk, numbers)
    return function(chunk, numbers)


def _computed(parts: list[Any]) -> list[Any]:
    from dask.base import compute

    with warnings.catch_warnings():
        # What is multiplied with goes to the workers once in each pass, which is what it takes.
        warnings.filterwarnings("ignore", message="Sending large graph")
        return list(compute(*parts))


def _stacked(parts: Iterable[Any]) -> Any:
    parts = list(parts)
    if isinstance(parts[0], list):
        return [one for part in parts for one in part]
    return sp.vstack(parts, format="csr") if sp.issparse(parts[0]) else np.concatenate(parts)


def _added(parts: Iterable[Any]) -> np.ndarray:
    remaining = iter(parts)
    total = np.array(next(remaining), dtype=np.float64)
    for part in remaining:
        total += part
    return total


def _rows_themselves(chunk: sp.csr_matrix, rows: Rows) -> sp.csr_matrix:
    return chunk


def _columns(columns: Any, chunk: sp.csr_matrix, rows: Rows) -> sp.csr_matrix:
    return chunk[:, columns]


def _product(other: Any, chunk: sp.csr_matrix, rows: Rows) -> Any:
    return chunk @ other


def _transposed_product(other: np.ndarray, chunk: sp.csr_matrix, rows: Rows) -> np.ndarray:
    return chunk.T @ other[rows]


def _row_sums(chunk: sp.csr_matrix, rows: Rows) -> np.ndarray:
    return np.asarray(chunk.sum(axis=1)).ravel()


def _column_sums(chunk: sp.csr_matrix, rows: Rows) -> np.ndarray:
    return np.asarray(chunk.sum(axis=0, dtype=np.float64)).ravel()


def _column_entries(chunk: sp.csr_matrix, rows: Rows) -> np.ndarray:
    return chunk.getnnz(axis=0)

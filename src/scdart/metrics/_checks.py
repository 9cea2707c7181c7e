"""Checks of what the user passed, made before a metric starts to compute."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.typing import ArrayLike

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

#: A dense or sparse matrix.
Matrix = ArrayLike | sp.sparray | sp.spmatrix


def check_finite(values: NDArray, name: str) -> None:
    """Raise if any value is NaN or infinite."""
    n_bad = values.size - int(np.count_nonzero(np.isfinite(values)))
    if n_bad:
        raise ValueError(f"`{name}` holds {n_bad} NaN or infinite values: leave those cells out first.")


def as_numbers(values: NDArray, name: str) -> NDArray:
    """Return an array of numbers, which objects may be; raise if it holds something else."""
    if values.dtype.kind in "biuf":
        return values
    try:
        return values.astype(np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"`{name}` holds texts or other values that are no numbers.") from None


def check_matrix(matrix: ArrayLike, name: str) -> NDArray[np.float64]:
    """Return a finite, non-empty 2-D array."""
    return _check_array(matrix, name, 2, 1, "a non-empty 2-D array, cells x dimensions")


def _check_array(array: ArrayLike, name: str, ndim: int, min_size: int, wanted: str) -> NDArray[np.float64]:
    values = np.asarray(array)
    if values.ndim != ndim or values.size < min_size:
        raise ValueError(f"`{name}` must be {wanted}; its shape is {values.shape}.")
    values = as_numbers(values, name).astype(np.float64, copy=False)
    check_finite(values, name)
    return values


def check_clouds(z_a: ArrayLike, z_b: ArrayLike, names: Sequence[str]) -> tuple[NDArray[np.float64], ...]:
    """Return two sets of cells that live in the same latent space."""
    a, b = check_matrix(z_a, names[0]), check_matrix(z_b, names[1])
    if a.shape[1] != b.shape[1]:
        raise ValueError(
            f"`{names[0]}` has {a.shape[1]} latent dimensions and `{names[1]}` {b.shape[1]}: "
            "both must come from the same latent space."
        )
    return a, b


def check_mates(z_rna: ArrayLike, z_atac: ArrayLike) -> tuple[NDArray[np.float64], ...]:
    """Return two latent matrices whose rows with the same number are the same cell."""
    rna, atac = check_clouds(z_rna, z_atac, ("z_rna", "z_atac"))
    if len(rna) != len(atac):
        raise ValueError(
            f"`z_rna` has {len(rna)} cells and `z_atac` {len(atac)}: row i of both must be the same cell, "
            "so keep only the cells measured in both modalities, in the same order."
        )
    if len(rna) < 2:
        raise ValueError("`z_rna` and `z_atac` hold one cell: at least two are needed.")
    return rna, atac


def check_vector(vector: ArrayLike, name: str) -> NDArray[np.float64]:
    """Return a finite 1-D array with at least two values."""
    return _check_array(vector, name, 1, 2, "a 1-D array of at least two cells")


def check_vectors(a: ArrayLike, b: ArrayLike, names: Sequence[str]) -> tuple[NDArray[np.float64], ...]:
    """Return two vectors over the same cells."""
    first, second = check_vector(a, names[0]), check_vector(b, names[1])
    check_same_length(first, second, names)
    return first, second


def check_same_length(a: NDArray, b: NDArray, names: Sequence[str]) -> None:
    """Raise if two arrays do not describe the same cells."""
    if len(a) != len(b):
        raise ValueError(
            f"`{names[0]}` has {len(a)} cells and `{names[1]}` {len(b)}: both must describe the same cells."
        )


def check_labels(labels: ArrayLike, name: str, *, n_cells: int | None = None, min_classes: int = 1) -> NDArray:
    """Return 1-D labels without a missing value, of at least ``min_classes`` classes."""
    shape = np.shape(labels)
    if len(shape) != 1 or shape[0] == 0:
        raise ValueError(f"`{name}` must be a non-empty 1-D array of labels; its shape is {shape}.")
    # A Series keeps the missing values of mixed lists, which NumPy would turn into the string "nan".
    series = pd.Series(labels)
    if n_cells is not None and len(series) != n_cells:
        raise ValueError(f"`{name}` has {len(series)} labels for {n_cells} cells: one label a cell is needed.")
    if n_missing := int(series.isna().sum()):
        raise ValueError(f"`{name}` holds {n_missing} missing labels: leave those cells out first.")
    if series.nunique() < min_classes:
        raise ValueError(
            f"`{name}` holds a single class, '{series.iloc[0]}': this metric needs at least {min_classes} classes."
        )
    return series.to_numpy()


def check_count(value: int, name: str, *, minimum: int = 1, maximum: int | None = None, of: str = "") -> int:
    """Return an integer within its bounds; ``of`` says what the upper bound counts."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise ValueError(f"`{name}` must be an integer, got {value!r}.")
    if value < minimum or (maximum is not None and value > maximum):
        upper = "" if maximum is None else f" and at most {maximum}, {of}"
        raise ValueError(f"`{name}` must be at least {minimum}{upper}, got {value}.")
    return int(value)

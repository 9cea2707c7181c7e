"""Correlation of columns, with one rule for constants: NaN."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
from scipy.stats import rankdata

if TYPE_CHECKING:
    from numpy.typing import NDArray

CorrelationMethod = Literal["pearson", "spearman"]


def check_method(method: str) -> None:
    """Raise if ``method`` names no correlation."""
    if method not in get_args(CorrelationMethod):
        raise ValueError(f"`method` must be one of {get_args(CorrelationMethod)}, got {method!r}.")


def correlate(a: NDArray[np.float64], b: NDArray[np.float64], method: CorrelationMethod) -> NDArray[np.float64]:
    """Correlate column j of ``a`` with column j of ``b``; NaN where either column is constant."""
    if method == "spearman":
        a, b = rankdata(a, axis=0), rankdata(b, axis=0)
    constant = (np.ptp(a, axis=0) == 0) | (np.ptp(b, axis=0) == 0)
    a = a - a.mean(axis=0)
    b = b - b.mean(axis=0)
    norm = np.linalg.norm(a, axis=0) * np.linalg.norm(b, axis=0)
    r = np.divide((a * b).sum(axis=0), norm, out=np.full(a.shape[1:], np.nan), where=~constant & (norm > 0))
    return np.clip(r, -1.0, 1.0)

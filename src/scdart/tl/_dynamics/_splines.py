"""Smooth curves along pseudotime: a basis of natural cubic splines, and designs of nested hypotheses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.interpolate import CubicSpline
from scipy.linalg import solve_triangular

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Share of a column's length below which what other columns do not explain of it is rounding.
_TOLERANCE = 1e-7


class NaturalSpline:
    """Natural cubic splines with knots at quantiles, without the constant; ends are straight, so tails do not flap.

    Parameters
    ----------
    x
        Where the curve is going to be fitted, shape (n,).
    df
        Degrees of freedom besides the constant; fewer remain where ties make quantiles coincide.
    """

    def __init__(self, x: NDArray[np.float64], df: int) -> None:
        knots = np.unique(np.quantile(x, np.linspace(0, 1, df + 1)))
        # The natural spline that is 1 at one knot and 0 at all others, for each knot; all of them sum to the constant.
        self._cardinal = CubicSpline(knots, np.eye(len(knots))[:, 1:], bc_type="natural")

    def __call__(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Evaluate the basis: (n, df)."""
        return self._cardinal(x)


@dataclass(frozen=True)
class NestedDesign:
    """Columns of a full model, the first of which are the null model; orthogonal, with mean square 1."""

    columns: NDArray[np.float64]
    """Shape (n, n_parameters)."""
    n_null: int
    _kept: NDArray[np.bool_]
    _triangle: NDArray[np.float64]

    @classmethod
    def from_columns(cls, null: NDArray[np.float64], extra: NDArray[np.float64]) -> NestedDesign:
        """Orthogonalise, leaving out columns that those before them explain: the rank counts degrees of freedom."""
        raw = np.column_stack([null, extra])
        diagonal = np.abs(np.diag(np.linalg.qr(raw, mode="r")))
        kept = np.zeros(raw.shape[1], dtype=bool)
        kept[: len(diagonal)] = diagonal > _TOLERANCE * np.linalg.norm(raw, axis=0)[: len(diagonal)]
        orthogonal, triangle = np.linalg.qr(raw[:, kept])
        scale = np.sqrt(len(raw))
        return cls(orthogonal * scale, int(kept[: null.shape[1]].sum()), kept, triangle / scale)

    @property
    def null(self) -> NDArray[np.float64]:
        """Columns of the null model."""
        return self.columns[:, : self.n_null]

    @property
    def df(self) -> int:
        """Degrees of freedom that the full model has more."""
        return self.columns.shape[1] - self.n_null

    def at(self, raw: NDArray[np.float64]) -> NDArray[np.float64]:
        """Express other rows of the raw columns in the orthogonal ones."""
        return solve_triangular(self._triangle, raw[:, self._kept].T, trans="T").T

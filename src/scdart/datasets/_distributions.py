"""Distributions that the simulated values follow, and the map to them by rank."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from scipy.interpolate import PchipInterpolator
from scipy.special import ndtr, ndtri

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    FloatArray = NDArray[np.floating]
    QuantileFunction = Callable[[FloatArray], FloatArray]


class RankMap:
    """Monotone map which gives the values of a sample another distribution, or their ranks in (0, 1)."""

    def __init__(self, sample: FloatArray, quantile: QuantileFunction | None = None) -> None:
        # Levels are spaced evenly in standard deviations of a normal: fine steps in both tails.
        half = 0.5 / sample.size
        levels = np.unique(np.clip(ndtr(np.linspace(-5, 5, 4001)), half, 1 - half))
        ordered = np.sort(sample, axis=None)[(levels * sample.size).astype(int)]
        self._knots, first = np.unique(ordered, return_index=True)
        last = np.append(first[1:], len(ordered)) - 1
        self._levels = (levels[first] + levels[last]) / 2  # ties share their mean rank
        self._values = self._levels if quantile is None else quantile(self._levels)

    def __call__(self, values: FloatArray) -> FloatArray:
        return np.interp(values, self._knots, self._values)

    def threshold(self, level: float) -> float:
        """Value that a share ``level`` of the sample does not exceed."""
        return float(np.interp(level, self._levels, self._knots))


def _interpolate(levels: FloatArray, values: FloatArray) -> QuantileFunction:
    """Linear interpolation of a quantile function, constant outside the given levels."""
    return lambda rank: np.interp(rank, levels, values)


def _log10_rate(*quantiles: float) -> QuantileFunction:
    """Quantile function of a log10 rate from its 1, 5, 25, 50, 75, 95 and 99% quantiles.

    Monotone through the given points against normal scores; beyond them half as steep, out to a rank of one in a
    hundred thousand, which was about the number of the measured rates.
    """
    scores = ndtri(np.array([0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99]))
    low = quantiles[0] + 0.5 * (quantiles[1] - quantiles[0]) / (scores[1] - scores[0]) * (-4.26 - scores[0])
    high = quantiles[-1] + 0.5 * (quantiles[-1] - quantiles[-2]) / (scores[-1] - scores[-2]) * (4.26 - scores[-1])
    curve = PchipInterpolator([-4.26, *scores, 4.26], [low, *quantiles, high])
    grid = np.linspace(-4.26, 4.26, 1001)
    return _interpolate(ndtr(grid), curve(grid))


# Rates fitted by the original authors to the mouse cortex data of Zeisel et al. 2015.
LOG10_KON: Final = _log10_rate(-1.28, -0.97, 0.09, 0.46, 0.94, 1.85, 2.01)
LOG10_KOFF: Final = _log10_rate(-0.68, -0.35, 0.58, 0.98, 1.24, 1.53, 1.71)
LOG10_S: Final = _log10_rate(1.24, 1.34, 1.62, 1.92, 2.16, 2.59, 3.00)

# log2(count + 1) of non-zero real scATAC counts: steps near 2, 4, 6 and 8 fragments, then a long tail.
LOG2_ACCESSIBILITY: Final = _interpolate(
    np.array([0, 1, 5, 10, 17, 18, 25, 50, 51, 66, 67, 75, 83, 90, 95, 99, 99.9, 99.98, 100]) / 100,
    np.array(
        [1.48, 1.53, 1.57, 1.61, 1.62, 2.25, 2.30, 2.35, 2.78, 2.85, 3.12, 3.18, 3.5, 3.74, 4.14, 4.78, 5.48, 6.2, 12.5]
    ),
)

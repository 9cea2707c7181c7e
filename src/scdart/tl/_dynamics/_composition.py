"""What features have in common along a trajectory: changes of composition, mistaken for changes of most features.

If a few abundant features rise, they take a larger share of every library and all others seem to fall. As with sizes
from medians of ratios, most features are taken to change little, or in either direction.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from ._families import FAMILIES
from ._glm import fit_rates

if TYPE_CHECKING:
    from ._families import Array
    from ._problem import Problem

#: Points along each branch.
_N_POINTS = 101
#: Only features with that many counts say anything of a trend, and that many of them have to.
_MIN_COUNTS, _MIN_FEATURES = 50, 50
#: Binary features that are open in more cells say nothing either.
_MAX_OPEN = 0.5
#: Typical dispersion of counts, which bounds the precision of abundant features.
_DISPERSION = 0.5
#: The most abundant ones suffice.
_MAX_FEATURES = 2_000


def common_trend(problem: Problem) -> Array | None:
    """Take the median over features of their curves' logarithms, relative to their means.

    Features are weighed by the precision of their curves: rare ones are many, and their logarithms are biased.

    Parameters
    ----------
    problem
        All features of a slot along a course.

    Returns
    -------
    The trend at points spaced evenly over each branch, (n_branches, n_points), or ``None`` with too few features.
    """
    course, design, offset = problem.model.course, problem.model.design, np.log(problem.size)
    totals = np.asarray(problem.table.values[course.cells].sum(axis=0), dtype=np.float64).ravel()
    abundant = np.flatnonzero(totals >= _MIN_COUNTS)
    abundant = np.sort(abundant[np.argsort(totals[abundant], kind="stable")[-_MAX_FEATURES:]])
    values = problem.table.values[:, abundant]
    table = replace(problem.table, names=problem.table.names[abundant], values=values)
    # The dispersion of counts hardly matters to the curves.
    family = FAMILIES["binomial" if problem.family == "binomial" else "poisson"]
    rows = np.concatenate([rows for _, _, rows in problem.model.grid(_N_POINTS)])
    curves, weights = [], []
    for _, block in table.blocks(course.cells):
        counts = block
        if problem.family == "binomial":
            # Where nearly all cells are open, the rate could be anything.
            counts = (block > 0).astype(float)
            counts = counts[:, counts.mean(axis=0) < _MAX_OPEN]
        counts = counts[:, counts.sum(axis=0) >= _MIN_COUNTS]
        if counts.shape[1]:
            fit = fit_rates(family, counts, design.columns, offset, np.full(counts.shape[1], np.nan))
            mean = (fit.rate / problem.size[:, None]).mean(axis=0)
            curves.append(rows @ fit.coefficients - np.log(mean))
            weights.append(1 / (1 / counts.sum(axis=0) + _DISPERSION / len(counts)))
    if sum(curve.shape[1] for curve in curves) < _MIN_FEATURES:
        return None
    return _weighted_median(np.concatenate(curves, axis=1), np.concatenate(weights)).reshape(-1, _N_POINTS)


def _weighted_median(values: Array, weights: Array) -> Array:
    """Of each row, where half of the weight is reached."""
    order = values.argsort(axis=1)
    reached = weights[order].cumsum(axis=1)
    middle = (reached >= reached[:, -1:] / 2).argmax(axis=1)
    return np.take_along_axis(values, order, axis=1)[np.arange(len(values)), middle]


def adjusted_sizes(problem: Problem, trend: Array) -> Array:
    """Multiply sizes of cells by what most features do at their place of the trajectory."""
    size, course = problem.size.copy(), problem.model.course
    for i, (_, time, _) in enumerate(problem.model.grid(trend.shape[1])):
        on_branch = course.branch == i
        size[on_branch] *= np.exp(np.interp(course.time[on_branch], time, trend[i]))
    return size / size.mean()

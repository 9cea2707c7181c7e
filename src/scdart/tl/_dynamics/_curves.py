"""Fitted curves of dynamic features on a grid, and the values they were fitted to: for plots."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from scdart._checks import check_modalities
from scdart._options import check_options

from ._curve_fits import fit_curves
from ._families import FAMILIES
from ._firth import reduce_bias
from ._preparation import prepare
from ._problem import Problem, Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mudata import MuData
    from numpy.typing import NDArray

    from ._curve_fits import CurveFits
    from ._families import Array

#: Standard errors to either side of a curve: 95 %.
_HALF_WIDTH = 1.96

#: How far a statistic may be from that of the test: fits end within it, whatever type values are stored as.
_SAME = 1e-3


def dynamic_curves(
    mdata: MuData,
    features: str | Sequence[str],
    *,
    mod: str = "rna",
    key: str = "dynamic_features",
    trajectory: str | None = None,
    n_points: int = 101,
) -> pd.DataFrame:
    """Get the curves of features that :func:`dynamic_features` has tested.

    The curves are fitted anew, to the data that the test was made on and with its settings. Those of counts have less
    bias than those of maximum likelihood, which the test compares: the same where there are counts, but above 0 where
    no cell has the feature, with an interval that says how few cells that are.

    Parameters
    ----------
    mdata
        MuData with the result of the test.
    features
        Names of features whose status is ``"tested"``.
    mod
        Modality with the features.
    key
        Slot of the modality's ``uns`` with the result.
    trajectory
        The only one of several trajectories to take. By default, each feature has a curve for every trajectory that it
        was tested on.
    n_points
        Points on each curve.

    Returns
    -------
    A table with ``n_points`` rows for each feature and trajectory (each branch, if branches were compared):

    ``feature``, ``trajectory``, ``pseudotime``
        Which curve, and where; points are spaced evenly from the first to the last cell.
    ``fit``
        Curve: expected value of the feature, for counts in a cell of mean size, for binary features the probability
        of 1.
    ``lower``, ``upper``
        Interval of 95 % around it, pointwise.
    ``null``
        What is expected without the effect: a constant, or the curve that both branches have in common.

    Raises
    ------
    KeyError
        If there is no result, or a feature or the trajectory is not in it.
    ValueError
        If a feature was not tested; the message says why. If it was tested on other cells or values than there are.

    References
    ----------
    Firth (1993), Bias reduction of maximum likelihood estimates, Biometrika 80:27-38.

    Examples
    --------
    >>> import scdart
    >>> mdata = scdart.datasets.simulate("linear", n_cells=300, n_genes=50, n_peaks=150)
    >>> scdart.tl.dynamic_features(mdata, pseudotime_key="pseudotime")
    >>> curves = scdart.tl.dynamic_curves(mdata, ["gene1", "gene2"], n_points=50)
    >>> curves.groupby("feature").size().to_dict()
    {'gene1': 50, 'gene2': 50}
    """
    check_options(dynamic_curves, locals())
    names = [features] if isinstance(features, str) else list(features)
    problems = _tested_problems(mdata, names, mod, key, trajectory)
    tested = _Tested(mdata.mod[mod].uns[key], f"mdata[{mod!r}].uns[{key!r}]")
    curves = pd.concat([_curves(problem, n_points, tested) for problem in problems], ignore_index=True)
    return curves.sort_values("feature", key=_order_of(names), kind="stable", ignore_index=True)


def dynamic_values(
    mdata: MuData, features: str | Sequence[str], *, mod: str = "rna", key: str = "dynamic_features"
) -> pd.DataFrame:
    """Get the values that the curves of :func:`dynamic_curves` were fitted to, on the scale of the curves.

    Parameters
    ----------
    mdata
        MuData with the result of the test.
    features
        Names of features whose status is ``"tested"``.
    mod
        Modality with the features.
    key
        Slot of the modality's ``uns`` with the result.

    Returns
    -------
    A table with a row for each feature and cell on a trajectory (branch): ``feature``, ``trajectory``, ``cell``,
    ``pseudotime`` and ``value``, which is the count divided by the cell's size (mean 1), 0 or 1, or the value itself.

    Raises
    ------
    KeyError
        If there is no result, or a feature is not in it.
    ValueError
        If a feature was not tested; the message says why. If it was tested on other cells or values than there are.

    Examples
    --------
    >>> import scdart
    >>> mdata = scdart.datasets.simulate("linear", n_cells=300, n_genes=50, n_peaks=150)
    >>> scdart.tl.dynamic_features(mdata, pseudotime_key="pseudotime")
    >>> list(scdart.tl.dynamic_values(mdata, "gene1"))
    ['feature', 'trajectory', 'cell', 'pseudotime', 'value']
    """
    check_options(dynamic_values, locals())
    names = [features] if isinstance(features, str) else list(features)
    cells = mdata.mod[mod].obs_names
    problems, tables = _tested_problems(mdata, names, mod, key), []
    tested = _Tested(mdata.mod[mod].uns[key], f"mdata[{mod!r}].uns[{key!r}]")
    for problem in problems:
        course = problem.model.course
        for block, values in problem.table.blocks(course.cells):
            tested.check(problem, block, "n_cells", (values != 0).sum(axis=0))
            for name, value in zip(problem.table.names[block], _on_scale_of_curves(problem, values).T, strict=True):
                tables.append(
                    pd.DataFrame(
                        {
                            "feature": name,
                            "trajectory": np.asarray(course.branches, dtype=object)[course.branch],
                            "cell": cells[course.cells],
                            "pseudotime": course.time,
                            "value": value,
                        }
                    )
                )
    observed = pd.concat(tables, ignore_index=True)
    return observed.sort_values("feature", key=_order_of(names), kind="stable", ignore_index=True)


def _tested_problems(
    mdata: MuData, names: Sequence[str], mod: str, key: str, trajectory: str | None = None
) -> list[Problem]:
    """One problem for each trajectory, with those of the features that were tested on it."""
    check_modalities(mdata, mod=mod)
    uns = mdata.mod[mod].uns
    if key not in uns or f"{key}_params" not in uns:
        raise KeyError(f"mdata[{mod!r}].uns has no {key!r}: run scdart.tl.dynamic_features(mdata, mod={mod!r}) first.")
    table = uns[key]
    known = [str(name) for name in dict.fromkeys(table["trajectory"])]
    if trajectory is not None and trajectory not in known:
        raise KeyError(f"trajectory={trajectory!r} was not tested in mdata[{mod!r}].uns[{key!r}], only {known} were.")
    table = table[table["trajectory"].isin(known if trajectory is None else [trajectory])]
    if missing := [name for name in names if name not in table.index]:
        raise KeyError(f"{missing[0]!r} is not a feature in mdata[{mod!r}].uns[{key!r}].")
    tested = table[table["status"] == "tested"]
    if without := [name for name in names if name not in tested.index]:
        status = table.loc[[without[0]], "status"].iloc[0]
        raise ValueError(f"{without[0]!r} has no curve, since it was not tested: {status}.")
    problems = []
    for problem in prepare(mdata, mod, Settings.from_uns(uns[f"{key}_params"]), names):
        own = problem.table.names.isin(tested.index[tested["trajectory"] == problem.model.course.name])
        if own.any():
            problems.append(replace(problem, table=problem.table.only(own)))
    return problems


@dataclass(frozen=True)
class _Tested:
    """Results of a test, which the data must still give where they are shown together."""

    table: pd.DataFrame
    slot: str

    def check(self, problem: Problem, block: slice, column: str, now: NDArray) -> None:
        names, course = problem.table.names[block], problem.model.course.name
        there = self.table.loc[self.table["trajectory"] == course, column].reindex(names).to_numpy(dtype=float)
        other = ~np.isclose(now, there, rtol=_SAME, atol=_SAME)
        if other.any():
            raise ValueError(
                f"{self.slot} was computed from other cells, values or pseudotimes than there are: {names[other][0]!r} "
                f"has {column} {there[other][0]:.4g} there, and {now[other][0]:.4g} now. Run "
                "scdart.tl.dynamic_features(mdata, ...) again."
            )


def _curves(problem: Problem, n_points: int, tested: _Tested) -> pd.DataFrame:
    tables = []
    for block, values in problem.table.blocks(problem.model.course.cells):
        fits = fit_curves(problem, values)
        tested.check(problem, block, "n_cells", (values != 0).sum(axis=0))
        tested.check(problem, block, "statistic", fits.statistic)
        coefficients, null_coefficients, covariance = _fits(problem, values, fits)
        for branch, time, rows in problem.model.grid(n_points):
            eta, half_width = rows @ coefficients, _HALF_WIDTH * _standard_errors(rows, covariance)
            null = rows[:, : problem.model.design.n_null] @ null_coefficients
            curves = {"fit": eta, "lower": eta - half_width, "upper": eta + half_width, "null": null}
            columns = {name: _response(problem.family, curve).T.ravel() for name, curve in curves.items()}
            names = np.repeat(problem.table.names[block].to_numpy(), n_points)
            where = {"feature": names, "trajectory": branch, "pseudotime": np.tile(time, values.shape[1])}
            tables.append(pd.DataFrame({**where, **columns}))
    return pd.concat(tables, ignore_index=True)


def _fits(problem: Problem, values: NDArray[np.float64], fits: CurveFits) -> tuple[Array, Array, Array]:
    """Coefficients of curves and nulls, (n_parameters, n_features), and covariances of the former, features first."""
    columns = problem.model.design.columns
    if problem.family == "gaussian":
        covariance = fits.dispersion[:, None, None] * np.eye(columns.shape[1]) / len(columns)
        return fits.full.coefficients, fits.null.coefficients, covariance
    counts = (values > 0).astype(float) if problem.family == "binomial" else values
    family, offset = FAMILIES[problem.family], np.log(problem.size)
    coefficients, covariance = reduce_bias(family, counts, columns, offset, fits.dispersion)
    return coefficients, fits.null.coefficients, covariance


def _standard_errors(rows: Array, covariance: Array) -> Array:
    variances = np.einsum("ti,kij,tj->tk", rows, covariance, rows, optimize=True)
    return np.asarray(np.sqrt(np.maximum(variances, 0)), dtype=np.float64)


def _response(family: str, eta: Array) -> Array:
    if family == "gaussian":
        return eta
    rate = np.exp(np.minimum(eta, 700))
    return -np.expm1(-rate) if family == "binomial" else rate


def _on_scale_of_curves(problem: Problem, values: Array) -> Array:
    if problem.family == "gaussian":
        return values
    return (values > 0).astype(float) if problem.family == "binomial" else values / problem.size[:, None]


def _order_of(names: Sequence[str]) -> Callable[[pd.Series], pd.Series]:
    """Sort by the order in which features were named."""
    return lambda column: pd.Series(pd.Index(names).get_indexer(pd.Index(column)), index=column.index)

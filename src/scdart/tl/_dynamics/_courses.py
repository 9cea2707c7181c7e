"""Which cells lie where along a trajectory, or along two of them after they part."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from scdart._latent_slots import check_follows
from scdart._mudata import in_obs, obs_column

from ._splines import NaturalSpline, NestedDesign

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mudata import MuData
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

#: Cells that each parameter of a curve needs.
_CELLS_PER_PARAMETER = 5


@dataclass(frozen=True)
class Course:
    """Cells along one trajectory, or along two branches that are compared."""

    name: str
    branches: tuple[str, ...]
    cells: NDArray[np.intp]
    """Positions in the modality."""
    time: Array
    branch: NDArray[np.intp]
    """Of each cell, its position in ``branches``."""

    def subset(self, keep: NDArray[np.bool_]) -> Course:
        """Leave out cells."""
        return Course(self.name, self.branches, self.cells[keep], self.time[keep], self.branch[keep])

    def model(self, df: int, covariates: Array) -> CourseModel:
        """Set up curve and null; covariates have a row for each cell of the course."""
        # A batch may have no cell on this course.
        covariates = covariates[:, np.ptp(covariates, axis=0) > 0]
        n_parameters = (df + 1) * len(self.branches) + covariates.shape[1]
        needed = _CELLS_PER_PARAMETER * n_parameters
        if len(self.cells) < needed:
            raise ValueError(
                f"{self.name!r} has {len(self.cells)} cells with a pseudotime and counts, too few for the "
                f"{n_parameters} parameters of its curve (at least {needed}): lower df, or take another trajectory."
            )
        spans = {name: np.unique(self.time[self.branch == i]).size for i, name in enumerate(self.branches)}
        if min(spans.values()) < 2:
            raise ValueError(f"cells of {min(spans, key=lambda name: spans[name])!r} do not differ in pseudotime.")
        return CourseModel(self, NaturalSpline(self.time, df), covariates)


class CourseModel:
    """Curve and null over a course: a curve against a constant, or a curve for each branch against one for both."""

    def __init__(self, course: Course, spline: NaturalSpline, covariates: Array) -> None:
        self.course = course
        self._spline = spline
        self._n_covariates = covariates.shape[1]
        # Centred: a curve without covariates in it is that of the average cell.
        centred = covariates - covariates.mean(axis=0)
        self.design = NestedDesign.from_columns(*self._columns(course.time, course.branch, centred))

    def _columns(self, time: Array, branch: NDArray[np.intp], covariates: Array) -> tuple[Array, Array]:
        constant, curve = np.ones((len(time), 1)), self._spline(time)
        if len(self.course.branches) == 1:
            return np.column_stack([constant, covariates]), curve
        is_second = (branch == 1).astype(float)[:, None]
        return np.column_stack([constant, covariates, curve]), np.column_stack([is_second, is_second * curve])

    def grid(self, n_points: int, *, shared: bool = False) -> list[tuple[str, Array, Array]]:
        """Space points evenly over each branch: its name, pseudotimes and rows of the design.

        With ``shared``, all branches have the same points, between the latest start and the earliest end.
        """
        ranges = [
            (times.min(), times.max())
            for times in (self.course.time[self.course.branch == i] for i in range(len(self.course.branches)))
        ]
        if shared:
            start, end = max(low for low, _ in ranges), min(high for _, high in ranges)
            if start > end:
                start = end = (start + end) / 2
            ranges = [(start, end)] * len(ranges)
        points = []
        for i, (name, (low, high)) in enumerate(zip(self.course.branches, ranges, strict=True)):
            time = np.linspace(low, high, n_points)
            raw = self._columns(time, np.full(n_points, i), np.zeros((n_points, self._n_covariates)))
            points.append((name, time, self.design.at(np.column_stack(raw))))
        return points


def read_courses(
    mdata: MuData,
    mod: str,
    *,
    pseudotime_key: str,
    trajectory: Sequence[str] | None,
    between: Sequence[str] | None,
    backbone_key: str,
) -> list[Course]:
    """Read what is to be tested from the slots of pseudotime and backbone.

    Parameters
    ----------
    mdata
        Annotated data.
    mod
        Modality whose cells are taken.
    pseudotime_key
        Column of ``obs``, used if there is neither ``trajectory`` nor ``between``.
    trajectory, between
        Columns of ``obsm[backbone_key + "_order"]``: each on its own, or two after they part.
    backbone_key
        Backbone, with pseudotimes of the cells on each trajectory in that slot, NaN elsewhere.

    Returns
    -------
    One course for the pseudotime, each trajectory, or the comparison.
    """
    check_follows(mdata, pseudotime_key if trajectory is None and between is None else backbone_key)
    if trajectory is None and between is None:
        times = _times(mdata, mod, pseudotime_key)
        if not pd.api.types.is_numeric_dtype(times):
            raise ValueError(f"obs[{pseudotime_key!r}] is {times.dtype}, not numeric: name a column of pseudotimes.")
        return [_course(pseudotime_key, (pseudotime_key,), pd.DataFrame({pseudotime_key: times}))]
    slot = f"{backbone_key}_order"
    order = _table(mdata, mod, slot)
    if not isinstance(order, pd.DataFrame):
        raise ValueError(f"obsm[{slot!r}] is no table with a column for each trajectory: run scdart.tl.backbone.")
    order.columns = order.columns.astype(str)
    names = list(trajectory if between is None else between)  # type: ignore[arg-type]
    unknown = [name for name in names if name not in order]
    if unknown:
        raise KeyError(f"{unknown[0]!r} is not a trajectory of obsm[{slot!r}], which has {list(order)}.")
    if between is None:
        return [_course(name, (name,), order[[name]]) for name in names]
    if len(names) != 2 or names[0] == names[1]:
        raise ValueError(f"between={between!r}: name two trajectories.")
    parted = order[names].where(order[names].notna().sum(axis=1) == 1, np.nan)
    empty = [name for name in names if parted[name].isna().all()]
    if empty:
        raise ValueError(f"no cell of {mod!r} is on {empty[0]!r} but not on the other: the trajectories do not part.")
    return [_course(f"{names[0]} vs {names[1]}", (names[0], names[1]), parted)]


def read_covariates(mdata: MuData, mod: str, names: Sequence[str], batch_key: str | None) -> Array:
    """Read columns of the modality's ``obs`` as numbers, categories as indicators: (n_cells, n_columns)."""
    obs = mdata.mod[mod].obs
    columns: list[Array] = [np.empty((len(obs), 0))]
    for name in names:
        if name not in obs:
            raise KeyError(f"covariate {name!r} is not a column of mdata[{mod!r}].obs, which has {list(obs)}.")
        _check_complete(obs[name], mod)
        numeric = pd.api.types.is_numeric_dtype(obs[name]) and not pd.api.types.is_bool_dtype(obs[name])
        columns.append(obs[[name]].to_numpy(dtype=float) if numeric else _indicators(obs[name]))
    if batch_key is not None:
        if batch_key not in obs:
            raise KeyError(f"batch_key={batch_key!r} is not a column of mdata[{mod!r}].obs, which has {list(obs)}.")
        _check_complete(obs[batch_key], mod)
        # As text, since the number of a donor is a name.
        columns.append(_indicators(obs[batch_key].astype(str)))
    return np.column_stack(columns)


def _indicators(labels: pd.Series) -> Array:
    return pd.get_dummies(labels, drop_first=True).to_numpy(dtype=float)


def _check_complete(column: pd.Series, mod: str) -> None:
    if column.isna().any():
        raise ValueError(
            f"mdata[{mod!r}].obs[{column.name!r}] has missing values ({column.isna().sum():,} cells): fill them, or "
            "leave these cells out."
        )


def _course(name: str, branches: tuple[str, ...], times: pd.DataFrame) -> Course:
    values = times.to_numpy(dtype=float)
    cells, branch = np.nonzero(np.isfinite(values))
    return Course(name, branches, cells, values[cells, branch], branch)


def _times(mdata: MuData, mod: str, key: str) -> pd.Series:
    if in_obs(mdata, key):
        times = obs_column(mdata, key, "pseudotime_key", mod=mod)
        if times.notna().any():
            return times
    raise KeyError(f"no obs[{key!r}] is of cells of {mod!r}: run scdart.tl.pseudotime first, or name another column.")


def _table(mdata: MuData, mod: str, key: str) -> Any:
    """Get a slot of ``obsm`` for a modality's cells: of all cells, or else their own, or of another modality.

    Motif scores, for example, are a modality of their own, whose cells are those of the ATAC modality.
    """
    names = mdata.mod[mod].obs_names
    for data in (mdata, mdata.mod[mod], *mdata.mod.values()):
        if key in data.obsm and data.obs_names.isin(names).any():
            stored = data.obsm[key]
            return stored.reindex(names) if isinstance(stored, pd.DataFrame) else stored
    raise KeyError(f"no obsm[{key!r}] is of cells of {mod!r}: run scdart.tl.backbone first, or name another backbone.")

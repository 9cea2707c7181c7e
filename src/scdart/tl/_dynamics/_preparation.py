"""From slots of a MuData to what is to be fitted: what the test and the curves of features share."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ._composition import adjusted_sizes, common_trend
from ._courses import read_courses, read_covariates
from ._feature_table import FeatureTable, read_features
from ._problem import Problem, Settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mudata import MuData

    from ._families import Array


def prepare(mdata: MuData, mod: str, settings: Settings, features: Sequence[str] | None) -> list[Problem]:
    """Read and check everything; one problem for each course."""
    table = read_features(mdata.mod[mod], mod, settings.layer, settings.obsm, features)
    family = _family(table, settings.family)
    size = _sizes(mdata, mod, table, None if family == "gaussian" else settings.size_factors)
    covariates = read_covariates(mdata, mod, settings.covariates, settings.batch_key)
    courses = read_courses(
        mdata,
        mod,
        pseudotime_key=settings.pseudotime_key,
        trajectory=settings.trajectory,
        between=settings.between,
        backbone_key=settings.backbone_key,
    )
    problems = []
    for i, course in enumerate(courses):
        # A cell without counts says nothing of any rate.
        course = course.subset(size[course.cells] > 0)
        own = size[course.cells]
        model = course.model(settings.df, covariates[course.cells])
        problem = Problem(table, family, model, own / own.mean())
        if family != "gaussian" and settings.size_factors == "auto":
            if settings.composition is None:
                everything = read_features(mdata.mod[mod], mod, settings.layer, settings.obsm, None)
                trend = common_trend(replace(problem, table=everything))
            else:
                trend = settings.composition[i]
            if trend is not None:
                problem = replace(problem, size=adjusted_sizes(problem, trend), trend=trend)
        problems.append(problem)
    return problems


def _family(table: FeatureTable, family: str) -> str:
    stored = table.stored[np.isfinite(table.stored)]
    if family == "auto":
        if ((stored == 0) | (stored == 1)).all():
            return "binomial"
        return "nb" if (stored >= 0).all() and (stored == np.rint(stored)).all() else "gaussian"
    if family != "gaussian" and (stored < 0).any():
        raise ValueError(
            f"{table.slot} has negative values (minimum {stored.min():.3g}), which are no counts: name the layer with "
            "the counts, or take family='gaussian'."
        )
    return family


def _sizes(mdata: MuData, mod: str, table: FeatureTable, size_factors: str | None) -> Array:
    adata = mdata.mod[mod]
    if size_factors is None:
        return np.ones(adata.n_obs)
    if size_factors in {"auto", "total"}:
        return table.total
    if size_factors not in adata.obs:
        raise KeyError(f"size_factors={size_factors!r} is not a column of mdata[{mod!r}].obs, nor 'auto' or 'total'.")
    column = adata.obs[size_factors]
    size = column.to_numpy(dtype=float) if pd.api.types.is_numeric_dtype(column) else np.full(len(column), np.nan)
    if not np.isfinite(size).all() or (size <= 0).any():
        raise ValueError(f"mdata[{mod!r}].obs[{size_factors!r}] must be positive and finite in every cell.")
    return size

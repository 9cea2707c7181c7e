"""From slots of a MuData to fitted curves: what tests and plots of dynamic features share."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.stats import chi2
from scipy.stats import f as f_distribution

from ._bartlett import excess_of_likelihood_ratio
from ._composition import adjusted_sizes, common_trend
from ._courses import CourseModel, read_courses, read_covariates
from ._dispersion import fit_with_dispersion
from ._families import FAMILIES
from ._feature_table import FeatureTable, read_features
from ._glm import Fit, fit_means, fit_rates

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mudata import MuData
    from numpy.typing import NDArray

    from ._families import Array


@dataclass(frozen=True)
class Settings:
    """Where features and trajectories are and what is fitted: arguments of :func:`dynamic_features`."""

    layer: str | None
    obsm: str | None
    pseudotime: str
    trajectory: tuple[str, ...] | None
    between: tuple[str, ...] | None
    backbone: str
    family: str
    df: int
    covariates: tuple[str, ...]
    size_factors: str | None
    composition: Array | None = None
    """Trends of the courses, (n_courses, n_branches, n_points), once they are known."""

    def to_uns(self, problems: list[Problem]) -> dict[str, Any]:
        """Make a dictionary that can be written to a file, without what is None or empty.

        What the data decided is stored as decided, so that the curves of a few features are those of the test.
        """
        trends = [problem.trend for problem in problems if problem.trend is not None]
        composition = np.stack(trends) if len(trends) == len(problems) else None
        stored = asdict(replace(self, family=problems[0].family, composition=composition))
        return {
            name: np.asarray(value, dtype=object) if isinstance(value, tuple) else value
            for name, value in stored.items()
            if value is not None and not (isinstance(value, tuple) and not value)
        }

    @classmethod
    def from_uns(cls, stored: dict[str, Any]) -> Settings:
        """Undo :meth:`to_uns`."""

        def names(key: str) -> tuple[str, ...] | None:
            return tuple(str(name) for name in stored[key]) if key in stored else None

        return cls(
            layer=stored.get("layer"),
            obsm=stored.get("obsm"),
            pseudotime=str(stored["pseudotime"]),
            trajectory=names("trajectory"),
            between=names("between"),
            backbone=str(stored["backbone"]),
            family=str(stored["family"]),
            df=int(stored["df"]),
            covariates=names("covariates") or (),
            size_factors=stored.get("size_factors"),
            composition=stored.get("composition"),
        )


@dataclass(frozen=True)
class Problem:
    """Features, and the curve that is to be fitted to each."""

    table: FeatureTable
    family: str
    model: CourseModel
    size: Array
    """Sizes of the course's cells, 1 on average."""
    trend: Array | None = None
    """Common trend of the features that the sizes have been adjusted by."""

    @cached_property
    def excess(self) -> float:
        """Excess of likelihood ratios over their degrees of freedom, times the rate."""
        return excess_of_likelihood_ratio(self.model.design, self.size)


@dataclass(frozen=True)
class CurveFits:
    """Curves and tests of the features of a block."""

    full: Fit
    null: Fit
    statistic: Array
    p_value: Array
    dispersion: Array
    """Or the residual variance of Gaussian features."""

    @property
    def converged(self) -> NDArray[np.bool_]:
        """Whether both fits can be trusted."""
        return self.full.converged & self.null.converged & np.isfinite(self.p_value)

    @property
    def deviance_explained(self) -> Array:
        """Share of the null model's deviance."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return 1 - self.full.deviance / self.null.deviance


def prepare(mdata: MuData, mod: str, settings: Settings, features: Sequence[str] | None) -> list[Problem]:
    """Read and check everything; one problem for each course."""
    table = read_features(mdata.mod[mod], mod, settings.layer, settings.obsm, features)
    family = _family(table, settings.family)
    size = _sizes(mdata, mod, table, None if family == "gaussian" else settings.size_factors)
    covariates = read_covariates(mdata, mod, settings.covariates)
    courses = read_courses(
        mdata,
        mod,
        pseudotime=settings.pseudotime,
        trajectory=settings.trajectory,
        between=settings.between,
        backbone=settings.backbone,
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


def fit_curves(problem: Problem, values: NDArray[np.float64]) -> CurveFits:
    """Fit curves and nulls to features, (n_cells, n_features), none of them constant."""
    design, n_cells, n_features = problem.model.design, *values.shape
    unknown = np.full(n_features, np.nan)
    if problem.family == "gaussian":
        full, null = fit_means(values, design.columns), fit_means(values, design.null)
        df_residual = n_cells - design.columns.shape[1]
        variance = full.deviance / df_residual
        with np.errstate(divide="ignore", invalid="ignore"):
            statistic = np.maximum(null.deviance - full.deviance, 0) / design.df / variance
        return CurveFits(full, null, statistic, f_distribution.sf(statistic, design.df, df_residual), variance)
    family, offset = FAMILIES[problem.family], np.log(problem.size)
    if problem.family == "nb":
        full, dispersion = fit_with_dispersion(values, design.columns, offset)
    else:
        values = (values > 0).astype(float) if problem.family == "binomial" else values
        full, dispersion = fit_rates(family, values, design.columns, offset, unknown), unknown
    null = fit_rates(family, values, design.null, offset, dispersion)
    expected = design.df + problem.excess / values.mean(axis=0)
    statistic = np.maximum(null.deviance - full.deviance, 0) * design.df / expected
    return CurveFits(full, null, statistic, chi2.sf(statistic, design.df), dispersion)


def _family(table: FeatureTable, family: str) -> str:
    if family not in {"auto", "gaussian", *FAMILIES}:
        raise ValueError(f"family={family!r} is not known: use one of {['auto', 'gaussian', *FAMILIES]}.")
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
    size = adata.obs[size_factors].to_numpy(dtype=float)
    if not np.isfinite(size).all() or (size <= 0).any():
        raise ValueError(f"mdata[{mod!r}].obs[{size_factors!r}] must be positive and finite in every cell.")
    return size

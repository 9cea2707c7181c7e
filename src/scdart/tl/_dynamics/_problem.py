"""What is to be fitted: the settings of a test, and the features and the design of each of its courses."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from ._bartlett import excess_of_likelihood_ratio

if TYPE_CHECKING:
    from ._courses import CourseModel
    from ._families import Array
    from ._feature_table import FeatureTable


@dataclass(frozen=True)
class Settings:
    """Where features and trajectories are and what is fitted: arguments of :func:`dynamic_features`."""

    layer: str | None
    obsm: str | None
    pseudotime_key: str
    trajectory: tuple[str, ...] | None
    between: tuple[str, ...] | None
    backbone_key: str
    family: str
    df: int
    batch_key: str | None
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
            pseudotime_key=str(stored["pseudotime_key"]),
            trajectory=names("trajectory"),
            between=names("between"),
            backbone_key=str(stored["backbone_key"]),
            family=str(stored["family"]),
            df=int(stored["df"]),
            batch_key=stored.get("batch_key"),
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

"""The summary of the peers, as scIB draws one: ranks by kind of measure, over data sets and seeds."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from pathlib import Path


class Kind(NamedTuple):
    """Measures that answer one question, and whether more is better."""

    title: str
    higher: tuple[str, ...] = ()
    lower: tuple[str, ...] = ()


KINDS = (
    Kind("correspondence", ("neighborhood_overlap",), ("foscttm",)),
    Kind("biology", ("transfer_accuracy", "transfer_balanced")),
    Kind("order", ("tau",)),
    Kind("mixing", ("modality_mixing",)),
    Kind("cost", (), ("cpu_seconds", "memory_gib")),
)
#: Kinds that the mean rank is over, by which rows are sorted: what a method finds, not what it costs.
QUALITY = ("correspondence", "biology", "order", "mixing")


def ranks(runs: pd.DataFrame) -> pd.DataFrame:
    """Rank of every method by every measure, on every data set and seed; 1 is best, and equal values share a rank.

    A method that was run on fewer seeds is placed on the others by how it stands beside the methods that were run on
    all. One without a value is not ranked; its rank would say how many others ran.
    """
    parts = []
    for kind in KINDS:
        for measure in kind.higher + kind.lower:
            if measure not in runs:
                continue
            wide = runs.pivot_table(index=["dataset", "seed"], columns="method", values=measure, aggfunc="median")
            wide = wide.groupby("dataset", group_keys=False)[wide.columns].apply(_filled).dropna(how="all")
            ranked = wide.rank(axis=1, ascending=measure in kind.lower)
            long = ranked.reset_index().melt(["dataset", "seed"], var_name="method", value_name="rank")
            parts.append(long.dropna().assign(kind=kind.title, measure=measure))
    return pd.concat(parts, ignore_index=True)


def _filled(wide: pd.DataFrame) -> pd.DataFrame:
    """Give methods a value on seeds of a data set that they were not run on: seeds differ, most of all in trees."""
    level = wide.dropna(axis=1).mean(axis=1).fillna(0).to_numpy()[:, None]
    return wide.fillna((wide * 0).fillna(0) + (wide - level).median() + level)


def summary(runs: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Mean rank by method and kind, and the standard deviation of that mean over data sets and seeds.

    Rows are sorted by the mean over the kinds of `QUALITY`, which is the column `all but cost`. Methods that were run
    on less than half of the data sets come last: their ranks are of those alone.
    """
    by_draw = ranks(runs).groupby(["method", "kind", "dataset", "seed"])["rank"].mean()
    titles = [kind.title for kind in KINDS]
    mean, spread = (
        by_draw.groupby(["method", "kind"]).agg(how).unstack("kind").reindex(columns=titles) for how in ("mean", "std")
    )
    quality = [title for title in QUALITY if mean[title].notna().any()]
    mean["all but cost"] = mean[quality].mean(axis=1)
    each = by_draw.unstack("kind").reindex(columns=quality).mean(axis=1)
    spread["all but cost"] = each.groupby("method").std()
    few = (2 * datasets_of(runs) < runs["dataset"].nunique()).rename("few")
    order = mean.join(few).sort_values(["few", "all but cost"], kind="stable").index
    return mean.loc[order], spread.loc[order]


def datasets_of(runs: pd.DataFrame) -> pd.Series:
    """On how many data sets each method gave a result."""
    return runs.dropna(subset="cpu_seconds").groupby("method")["dataset"].nunique()


def draw_peers(runs: pd.DataFrame, path: Path) -> None:
    """Draw a disc for each method and kind: the better the mean rank, the larger and darker; the best has a ring."""
    mean, spread = summary(runs)
    n_methods = len(mean)
    figure, ax = plt.subplots(figsize=(9.5, 1.6 + 0.42 * n_methods), layout="constrained")
    for (row, column), value in np.ndenumerate(mean.to_numpy(float)):
        if np.isnan(value):
            ax.plot(column, row, "x", color="0.8", markersize=5)
            continue
        good = 1 - (value - 1) / max(n_methods - 1, 1)
        best = value == mean.iloc[:, column].min()
        size, color = 60 + 340 * good**2, plt.get_cmap("YlGnBu")(0.1 + 0.75 * good)
        ax.scatter(column - 0.2, row, s=size, color=color, edgecolor="black" if best else "none", zorder=2)
        text = f"{value:.1f}"
        if not np.isnan(spread.iat[row, column]):
            text += f" ± {spread.iat[row, column]:.1f}"
        ax.text(column + 0.02, row, text, va="center", fontsize=8, weight="bold" if best else "normal")
    ax.set_xticks(np.arange(mean.shape[1]) - 0.05, mean.columns, fontsize=9)
    n_run, n_all = datasets_of(runs), runs["dataset"].nunique()
    names = [method if n_run[method] == n_all else f"{method} ({n_run[method]} of {n_all})" for method in mean.index]
    ax.set_yticks(range(n_methods), names, fontsize=9)
    ax.xaxis.tick_top()
    ax.axvline(mean.shape[1] - 1.5, color="0.8", linewidth=0.8)
    ax.set(xlim=(-0.6, mean.shape[1] - 0.4), ylim=(n_methods - 0.4, -0.6))
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0)
    ax.set_xlabel("mean rank (1 is best) ± standard deviation over data sets and seeds", fontsize=9)
    figure.savefig(path, dpi=110)
    plt.close(figure)

"""Features along the process: their curves, and many of them as a heat map."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from scdart._checks import check_modalities
from scdart._docs import fill_in_docs
from scdart._options import check_options
from scdart._random import seed_of
from scdart.tl import dynamic_curves, dynamic_values

from ._canvas import finish, make_axes, one_or_all, plain, point_size
from ._colors import CONTINUOUS, OKABE_ITO

if TYPE_CHECKING:
    from collections.abc import Sequence
    from os import PathLike

    import pandas as pd
    from matplotlib.axes import Axes
    from mudata import MuData

#: Share of the values that a panel shows: a few outliers must not flatten the curve.
_SHOWN = 0.99
#: How far values that are 0 or 1 are moved up or down.
_JITTER = 0.04
#: Rows of a heat map that can be named, and height of one of them in inches.
_MAX_NAMED = 80
_ROW_HEIGHT = 0.16
_FALSE_DISCOVERIES = 0.05


@fill_in_docs
def dynamic_features(
    mdata: MuData,
    features: str | Sequence[str],
    *,
    mod: str = "rna",
    key: str = "dynamic_features",
    points: bool = True,
    size: float | None = None,
    ncols: int = 4,
    random_state: int | None = None,
    ax: Axes | None = None,
    show: bool | None = None,
    save: str | PathLike[str] | None = None,
) -> Axes | list[Axes]:
    """Draw how features change along a trajectory: cells, fitted curve with its interval of 95 %, and the null.

    Parameters
    ----------
    mdata
        Data that :func:`scdart.tl.dynamic_features` was run on.
    features
        Features to draw, one panel each.
    mod
        Modality with the features.
    key
        Slot of the modality's ``uns`` with the result: ``"branch_features"`` where branches were compared.
    points
        Whether to draw the cells. Axes end where 99 % of their values do; values of 0 and 1 are moved a little up or
        down, at random.
    %(size)s
    %(ncols)s
    %(drawing_order)s
    %(ax_show_save)s

    Returns
    -------
    The axes, or a list of them if there are several. The title has the adjusted p-value, the smallest of several
    trajectories.

    Raises
    ------
    KeyError
        If there is no result, or a feature is not in it.
    ValueError
        If a feature was not tested; the message says why.

    Examples
    --------
    >>> import scdart
    >>> mdata = scdart.datasets.simulate("linear", n_cells=300, n_genes=50, n_peaks=150)
    >>> scdart.tl.dynamic_features(mdata, pseudotime_key="pseudotime")
    >>> axes = scdart.pl.dynamic_features(mdata, ["gene1", "gene2"], show=False)
    >>> [ax.get_xlabel() for ax in axes]
    ['pseudotime', 'pseudotime']
    """
    check_options(dynamic_features, locals())
    names = [features] if isinstance(features, str) else list(features)
    curves = dynamic_curves(mdata, names, mod=mod, key=key)
    observed = dynamic_values(mdata, names, mod=mod, key=key) if points else None
    adjusted = mdata.mod[mod].uns[key]["p_adjusted"].groupby(level=0).min()
    axes = make_axes(len(names), min(ncols, len(names)), ax, size=(3.0, 2.5))
    parts = list(dict.fromkeys(curves["trajectory"]))
    colors = dict(zip(parts, OKABE_ITO * (len(parts) // len(OKABE_ITO) + 1), strict=False))
    for panel, name in zip(axes, names, strict=True):
        if observed is not None:
            _draw_cells(panel, observed[observed["feature"] == name], colors, size, random_state)
        for part, curve in curves[curves["feature"] == name].groupby("trajectory", sort=False, observed=True):
            x, color = curve["pseudotime"], colors[str(part)]
            panel.fill_between(x, curve["lower"], curve["upper"], color=color, alpha=0.25, linewidth=0)
            panel.plot(x, curve["null"], color="black", linewidth=1.2, linestyle="--", label="null")
            panel.plot(x, curve["fit"], color=color, linewidth=2.2, label=str(part))
        _limit(panel, curves[curves["feature"] == name], observed, name)
        p = adjusted.get(name, np.nan)
        panel.set_title(f"{name}, adj. p = {p:.1g}" if np.isfinite(p) else name, fontsize="medium")
        panel.set(xlabel="pseudotime", ylabel="value" if panel is axes[0] else "")
        plain(panel)
    # A feature has no curve along trajectories on which it was not tested.
    handles = {str(line.get_label()): line for panel in axes for line in panel.lines}
    if len(parts) == 1:
        handles = {"curve" if name == parts[0] else name: handle for name, handle in handles.items()}
    axes[0].legend(handles.values(), handles.keys(), frameon=False, fontsize="x-small", loc="best")
    finish(axes, given=ax, show=show, save=save)
    return one_or_all(axes)


def _draw_cells(
    ax: Axes, observed: pd.DataFrame, colors: dict[str, str], size: float | None, random_state: int | None
) -> None:
    """Draw the cells of all trajectories in random order; a cell that is on several, once for each."""
    rng = np.random.default_rng(seed_of(random_state))
    shuffled = observed.iloc[rng.permutation(len(observed))]
    value = shuffled["value"].to_numpy(float)
    if np.isin(value, (0, 1)).all():
        value = value + rng.uniform(-_JITTER, _JITTER, len(value))  # two lines of points would hide how many there are
    ax.scatter(
        shuffled["pseudotime"],
        value,
        c=shuffled["trajectory"].map(colors).to_list() if len(colors) > 1 else "#8A8A8A",
        s=0.6 * point_size(len(shuffled)) if size is None else size,
        alpha=0.35,
        linewidths=0,
        rasterized=True,
        zorder=0,
    )


def _limit(ax: Axes, curves: pd.DataFrame, observed: pd.DataFrame | None, name: str) -> None:
    low, high = curves["fit"].min(), curves["fit"].max()
    if observed is not None:
        values = observed.loc[observed["feature"] == name, "value"]
        low, high = min(low, values.quantile(1 - _SHOWN)), max(high, values.quantile(_SHOWN))
        if values.isin((0, 1)).all():
            low, high = -_JITTER, 1 + _JITTER
    margin = 0.05 * ((high - low) or 1.0)
    ax.set_ylim(low - margin, high + margin)


@fill_in_docs
def dynamic_heatmap(
    mdata: MuData,
    features: Sequence[str] | None = None,
    *,
    mod: str = "rna",
    key: str = "dynamic_features",
    trajectory: str | None = None,
    n_features: int = 50,
    n_points: int = 101,
    cmap: str = CONTINUOUS,
    ax: Axes | None = None,
    show: bool | None = None,
    save: str | PathLike[str] | None = None,
) -> Axes:
    """Draw the fitted curves of many features as a heat map along the trajectory, the early ones first.

    Each row goes from the minimum of its curve to the maximum; rows are in the order of their maxima.

    Parameters
    ----------
    mdata
        Data that :func:`scdart.tl.dynamic_features` was run on.
    features
        Features to draw. By default, of those whose adjusted p-value is at most 0.05, the ones with the largest effect.
    mod
        Modality with the features.
    key
        Slot of the modality's ``uns`` with the result.
    trajectory
        Trajectory to draw; needed if several were tested.
    n_features
        How many features to take, if they are not named.
    n_points
        Columns of the heat map.
    cmap
        Colour map.
    %(ax_show_save)s

    Returns
    -------
    The axes.

    Raises
    ------
    KeyError
        If there is no result, trajectory or feature.
    ValueError
        If there are several trajectories and none is named, branches were compared, or no feature changes.

    Examples
    --------
    >>> import scdart
    >>> mdata = scdart.datasets.simulate("linear", n_cells=300, n_genes=50, n_peaks=150)
    >>> scdart.tl.dynamic_features(mdata, pseudotime_key="pseudotime")
    >>> ax = scdart.pl.dynamic_heatmap(mdata, n_features=10, show=False)
    >>> len(ax.get_yticks())
    10
    """
    check_options(dynamic_heatmap, locals())
    table = _tested(mdata, mod, key)
    part = _one_trajectory(mdata, table, trajectory, mod, key)
    if features is None:
        own = table[(table["trajectory"] == part) & (table["p_adjusted"] <= _FALSE_DISCOVERIES)]
        features = list(own["effect"].abs().sort_values(ascending=False).index[:n_features])
        if not features:
            raise ValueError(f"No feature of mdata[{mod!r}].uns[{key!r}] changes along {part!r}: name some to draw.")
    curves = dynamic_curves(mdata, list(features), mod=mod, key=key, trajectory=part, n_points=n_points)
    wide = curves.pivot(index="feature", columns="pseudotime", values="fit")
    wide = wide.loc[list(features)]
    low, high = wide.min(axis=1), wide.max(axis=1)
    scaled = wide.sub(low, axis=0).div((high - low).where(high > low, 1.0), axis=0)
    scaled = scaled.iloc[np.argsort(scaled.to_numpy().argmax(axis=1), kind="stable")]

    height = float(np.clip(_ROW_HEIGHT * len(scaled) + 1.0, 2.5, 14.0))
    (panel,) = make_axes(1, 1, ax, size=(5.0, height))
    extent = (float(wide.columns[0]), float(wide.columns[-1]), len(scaled) - 0.5, -0.5)
    image = panel.imshow(
        scaled, aspect="auto", cmap=cmap, extent=extent, vmin=0, vmax=1, interpolation="nearest", rasterized=True
    )
    named = len(scaled) <= _MAX_NAMED
    panel.set_yticks(range(len(scaled)) if named else [], scaled.index if named else [], fontsize="x-small")
    panel.tick_params(left=False)
    panel.spines[:].set_visible(False)
    panel.set(xlabel="pseudotime", title=f"{len(scaled)} features along {part}")
    bar = panel.figure.colorbar(image, ax=panel, shrink=0.5, aspect=18, pad=0.02, label="fit, minimum to maximum")
    bar.outline.set_visible(False)
    finish([panel], given=ax, show=show, save=save)
    return panel


def _tested(mdata: MuData, mod: str, key: str) -> pd.DataFrame:
    check_modalities(mdata, mod=mod)
    if key not in mdata.mod[mod].uns:
        raise KeyError(f"mdata[{mod!r}].uns has no {key!r}: run scdart.tl.dynamic_features(mdata, mod={mod!r}) first.")
    return mdata.mod[mod].uns[key]


def _one_trajectory(mdata: MuData, table: pd.DataFrame, trajectory: str | None, mod: str, key: str) -> str:
    known = [str(name) for name in dict.fromkeys(table["trajectory"])]
    if "between" in mdata.mod[mod].uns.get(f"{key}_params", {}):
        raise ValueError(
            f"mdata[{mod!r}].uns[{key!r}] compares branches, which one heat map cannot show: test their trajectories, "
            "or draw single features with scdart.pl.dynamic_features."
        )
    if trajectory is None:
        if len(known) > 1:
            raise ValueError(f"mdata[{mod!r}].uns[{key!r}] holds several trajectories: name one of {known}.")
        return known[0]
    if trajectory not in known:
        raise KeyError(f"trajectory={trajectory!r} was not tested in mdata[{mod!r}].uns[{key!r}], only {known} were.")
    return trajectory

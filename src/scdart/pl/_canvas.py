"""Figures and axes as all plots of the package make, fill and hand them back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import matplotlib.patheffects as path_effects
import matplotlib.pyplot as plt
import numpy as np

from scdart._random import seed_of

from ._colors import MISSING, is_number

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from os import PathLike

    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from ._colors import Coloring
    from ._points import Points

#: Dots per inch of points, which are pixels in any file, and of files that hold nothing but pixels.
_DPI = 200
#: Marks names of groups among the texts of a picture.
LABEL = "group"
#: Rounds in which overlapping labels are pushed apart at most.
_N_ROUNDS = 200


def make_axes(
    n_panels: int,
    n_columns: int,
    ax: Axes | None,
    *,
    size: tuple[float, float] = (4.2, 3.7),
) -> list[Axes]:
    """Make a figure with a grid of axes, or take the user's, of which one panel can be drawn on.

    Parameters
    ----------
    n_panels, n_columns
        Number of panels, and of those in a row.
    ax
        The user's axes.
    size
        Width and height of a panel, in inches.

    Raises
    ------
    ValueError
        If there are more panels than axes.
    """
    if ax is not None:
        if n_panels > 1:
            raise ValueError(f"ax holds one panel, but {n_panels} are to be drawn: leave ax out.")
        return [ax]
    n_rows = -(-n_panels // n_columns)
    _, axes = plt.subplots(
        n_rows,
        n_columns,
        figsize=(size[0] * n_columns, size[1] * n_rows),
        squeeze=False,
        layout="constrained",
    )
    panels = list(axes.ravel())
    for unused in panels[n_panels:]:
        unused.remove()
    return panels[:n_panels]


def finish(
    axes: Sequence[Axes], *, given: Axes | None = None, show: bool | None, save: str | PathLike[str] | None
) -> None:
    """Write and show the figure as asked.

    Parameters
    ----------
    axes
        All axes of the picture.
    given
        The user's axes, whose figure is the user's to show.
    show, save
        As the user passed them.
    """
    for ax in axes:
        _part_labels(ax)
    if save is not None:
        figure_of(axes[0]).savefig(save, dpi=_DPI, bbox_inches="tight")
    if show is None:
        from scanpy import settings

        show = settings.autoshow and given is None
    if show:
        plt.show()


def one_or_all(axes: list[Axes]) -> Axes | list[Axes]:
    """Choose what a function returns that draws one panel or several."""
    return axes[0] if len(axes) == 1 else axes


def figure_of(ax: Axes) -> Figure:
    """Get the whole figure that axes belong to."""
    figure = ax.get_figure(root=True)
    assert figure is not None
    return figure


def point_size(n_points: int) -> float:
    """Area of a point, in square points, at which n of them fill a panel without covering each other."""
    return float(np.clip(30_000 / max(n_points, 1), 1.0, 18.0))


def draw_points(
    ax: Axes,
    points: Points,
    coloring: Coloring,
    title: str,
    *,
    chosen: NDArray[np.bool_] | None = None,
    size: float | None = None,
    random_state: int | None = None,
) -> None:
    """Draw points as pixels, those without a value first, the others in random order: no group hides another.

    What means nothing in an embedding, ticks and frame, is left out. A unit is as long on both axes.

    Parameters
    ----------
    ax
        Where to draw.
    points
        All points.
    coloring
        Colours of all points.
    title
        Title of the panel.
    chosen
        Points to draw; all if not given.
    size
        Area of a point.
    random_state
        Seed of the order.
    """
    xy = points.xy
    rng = np.random.default_rng(seed_of(random_state))
    rows = rng.permutation(len(xy) if chosen is None else np.flatnonzero(chosen))
    rows = rows[np.argsort(~coloring.missing[rows], kind="stable")]
    ax.scatter(
        xy[rows, 0],
        xy[rows, 1],
        c=coloring.rgba[rows],
        s=point_size(len(rows)) if size is None else size,
        linewidths=0,
        alpha=0.85,
        rasterized=True,
    )
    ax.update_datalim(xy)  # that points which are not drawn here keep their place: panels can be compared
    ax.autoscale_view()
    ax.set(xticks=[], yticks=[], title=title)
    ax.set_aspect("equal", adjustable="datalim")
    ax.spines[:].set_visible(False)
    ax.set_xlabel(points.axis_labels[0], loc="left", fontsize="small", color="0.3")
    ax.set_ylabel(points.axis_labels[1], loc="bottom", fontsize="small", color="0.3")


def plain(ax: Axes) -> None:
    """Leave out half of the frame."""
    ax.spines[["top", "right"]].set_visible(False)


def add_key(ax: Axes, coloring: Coloring, label: str | None = None) -> None:
    """Explain the colours beside the axes: by a colour bar or a legend."""
    if coloring.mappable is not None:
        bar = ax.figure.colorbar(coloring.mappable, ax=ax, shrink=0.75, aspect=22, pad=0.02, label=label)
        bar.outline.set_visible(False)
        return
    assert coloring.categories is not None
    add_legend(ax, coloring.categories, missing=bool(coloring.missing.any()))


def add_legend(ax: Axes, colors: Mapping[str, str], *, missing: bool = False) -> None:
    """Name colours in a legend on the right of the axes."""
    entries = {**colors, "no value": MISSING} if missing else colors
    handles = [ax.scatter([], [], s=36, color=color, linewidths=0, label=name) for name, color in entries.items()]
    ax.legend(
        handles=handles,
        loc="center left",
        bbox_to_anchor=(1.0, 0.5),
        frameon=False,
        fontsize="small",
        handletextpad=0.2,
        labelspacing=0.35,
        borderaxespad=0.2,
        ncols=1 + (len(entries) - 1) // 16,
    )


def name_groups(ax: Axes, xy: NDArray[np.float64], values: pd.Series) -> None:
    """Write the name of each category in the middle of its points."""
    assert not is_number(values)
    for name, rows in values.reset_index(drop=True).groupby(values.to_numpy(), observed=True).groups.items():
        middle = np.median(xy[rows], axis=0)
        # The point that is nearest to the middle, since the middle of an arc is not on it.
        at = xy[rows][np.argmin(np.square(xy[rows] - middle).sum(axis=1))]
        outlined_text(ax, at, str(name), fontsize="small", gid=LABEL)


def _part_labels(ax: Axes) -> None:
    """Move names of groups up and down until none covers another."""
    labels = [text for text in ax.texts if text.get_gid() == LABEL]
    if len(labels) < 2:
        return
    figure_of(ax).draw_without_rendering()  # where labels are in pixels is known once the layout is
    boxes = np.array([label.get_window_extent().extents for label in labels])
    shift = np.zeros(len(labels))
    for _ in range(_N_ROUNDS):
        left, bottom, right, top = (boxes + np.outer(shift, [0, 1, 0, 1])).T
        width = np.minimum.outer(right, right) - np.maximum.outer(left, left)
        height = np.minimum.outer(top, top) - np.maximum.outer(bottom, bottom)
        overlap = np.where((width > 0) & (height > 0), height, 0)
        np.fill_diagonal(overlap, 0)
        if not overlap.any():
            break
        middle = (bottom + top) / 2 + np.arange(len(labels)) * 1e-3
        shift += 0.25 * (overlap * np.sign(np.subtract.outer(middle, middle))).sum(axis=1)
    to_data = ax.transData.inverted()
    for label, move in zip(labels, shift, strict=True):
        x, y = ax.transData.transform(label.get_position())
        x, y = to_data.transform((x, y + move))
        label.set_position((x, y))


def outlined_text(ax: Axes, xy: NDArray[np.float64] | tuple[float, float], text: str, **options: Any) -> None:
    """Write text that can be read on any colour."""
    options = {"ha": "center", "va": "center", "color": "black", **options}
    written = ax.text(xy[0], xy[1], text, **options)
    written.set_path_effects([path_effects.withStroke(linewidth=2.5, foreground="white")])

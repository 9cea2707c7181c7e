"""Interactive figures of the report: all cells in one trace, whose colours are exchanged in the browser."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.colors import to_hex

from ._colors import CONTINUOUS, MISSING, OKABE_ITO, color_points, is_number
from ._history import LABELS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import plotly.graph_objects as go

    from ._colors import Palette
    from ._points import Points

#: Points beyond which they are drawn by the graphics card, which not every computer has.
_MAX_SVG = 5_000
#: Share of a colour bar that stands for missing numbers.
_MISSING_SHARE = 0.03
_N_COLORS = 32


def latent_figure(points: Points, hover: Sequence[str]) -> go.Figure:
    """All points in one trace, in the order they have."""
    import plotly.graph_objects as go

    trace = go.Scattergl if len(points) > _MAX_SVG else go.Scatter
    size = float(np.clip(9 - 1.6 * np.log10(max(len(points), 1) / 100), 2.5, 8))
    figure = go.Figure(
        trace(
            x=points.xy[:, 0].astype(np.float32),
            y=points.xy[:, 1].astype(np.float32),
            mode="markers",
            marker={"size": size, "opacity": 0.85, "line": {"width": 0}},
            text=list(hover),
            hovertemplate="%{text}<extra></extra>",
        )
    )
    axis: dict[str, Any] = {"showgrid": False, "zeroline": False, "showticklabels": False, "ticks": ""}
    figure.update_layout(
        template="plotly_white",
        height=620,
        margin={"l": 30, "r": 10, "t": 40, "b": 30},
        xaxis={**axis, "title": points.axis_labels[0]},
        yaxis={**axis, "title": points.axis_labels[1], "scaleanchor": "x"},
        dragmode="zoom",
        hoverlabel={"align": "left"},
    )
    return figure


def coloring_for_browser(name: str, values: pd.Series, palette: Palette | None = None) -> dict[str, Any]:
    """Numbers and scale with which plotly colours the points, and a legend of categories, which have no colour bar.

    Parameters
    ----------
    name
        What the values are.
    values
        One a point.
    palette
        Colours of the categories.
    """
    if is_number(values):
        numbers = values.to_numpy(dtype=float, na_value=np.nan)
        finite = np.isfinite(numbers)
        low, high = (numbers[finite].min(), numbers[finite].max()) if finite.any() else (0.0, 1.0)
        high = high if high > low else low + 1.0
        share = 0.0 if finite.all() else _MISSING_SHARE
        bottom = high - (high - low) / (1 - share)
        colors = [to_hex(color) for color in mpl.colormaps[CONTINUOUS](np.linspace(0, 1, _N_COLORS))]
        scale = [[share + (1 - share) * i / (_N_COLORS - 1), color] for i, color in enumerate(colors)]
        if share:
            scale = [[0.0, MISSING], [share, MISSING], *scale]
        color = np.where(finite, numbers, bottom)
        return {
            "name": name,
            "title": escape(name),
            "color": [float(f"{value:.5g}") for value in color],
            "colorscale": scale,
            "cmin": bottom,
            "cmax": high,
            "legend": None,
        }
    coloring = color_points(values, palette=palette)
    assert coloring.categories is not None
    categorical = values.astype("category").cat.remove_unused_categories()
    entries = dict(coloring.categories)
    codes = categorical.cat.codes.to_numpy(dtype=int)
    if coloring.missing.any():
        codes = np.where(codes < 0, len(entries), codes)
        entries["no value"] = MISSING
    n, counts = len(entries), np.bincount(codes, minlength=len(entries)).tolist()
    legend = [{"name": name, "color": to_hex(color), "n": counts[i]} for i, (name, color) in enumerate(entries.items())]
    scale = [[(i + end) / n, entry["color"]] for i, entry in enumerate(legend) for end in (0, 1)]
    return {
        "name": name,
        "title": escape(name),
        "color": codes.tolist(),
        "colorscale": scale,
        "cmin": -0.5,
        "cmax": n - 0.5,
        "legend": legend,
    }


def hover_texts(cells: Sequence[str], values: Mapping[str, pd.Series]) -> list[str]:
    """Write what is said of a cell under the pointer. Names are the user's: they must not be read as markup."""
    texts = pd.Series([f"<b>{escape(str(cell))}</b>" for cell in cells])
    for name, column in values.items():
        if is_number(column):
            written = column.map(lambda value: "no value" if pd.isna(value) else f"{value:.3g}")
        else:
            written = column.astype(object).where(column.notna(), "no value").map(lambda value: escape(str(value)))
        texts = texts + f"<br>{escape(name)}: " + written.astype(str).to_numpy()
    return texts.tolist()


def loss_figures(curves: Mapping[str, Mapping[str, pd.Series]]) -> dict[str, go.Figure]:
    """Draw every loss term, by its label: beside each other or, on a narrow screen, below."""
    import plotly.graph_objects as go

    figures = {}
    for term, parts in curves.items():
        figure = go.Figure(layout={"template": "plotly_white", "height": 190, "showlegend": False})
        for (part, curve), color in zip(parts.items(), OKABE_ITO[:2], strict=False):
            figure.add_trace(
                go.Scatter(
                    x=curve.index.to_numpy(),
                    y=curve.to_numpy(),
                    mode="lines+markers" if len(curve) == 1 else "lines",
                    line={"color": color, "width": 1.5},
                    name=part,
                    hovertemplate="epoch %{x}: %{y:.4g}<extra></extra>",
                )
            )
        figure.update_layout(margin={"l": 48, "r": 8, "t": 4, "b": 36}, dragmode=False)
        figure.update_xaxes(title={"text": "epoch", "font": {"size": 11}, "standoff": 0}, nticks=5)
        figure.update_yaxes(nticks=5)
        figures[LABELS.get(term, term)] = figure
    return figures

"""The tree of a process over the latent space, and its branches and trajectories one by one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.transforms import ScaledTranslation

from scdart._checks import check_modalities
from scdart._constants import ATAC, RNA, X_SCDART
from scdart._docs import fill_in_docs
from scdart._latent_slots import check_follows
from scdart._options import check_options

from ._canvas import LABEL, add_key, draw_points, figure_of, finish, make_axes, outlined_text
from ._colors import CONTINUOUS, color_points, is_number
from ._latent import explain, stored_palette
from ._points import find_points, values_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from os import PathLike

    import pandas as pd
    from matplotlib.axes import Axes
    from mudata import MuData
    from numpy.typing import NDArray

    from ._colors import Palette
    from ._points import Points

#: Areas of the nodes of a group without cells, and of the largest, in square points; without a name in them, smaller.
_NODE_AREAS = (90.0, 380.0)
_SMALL_NODE_AREAS = (35.0, 150.0)
#: Characters that have room in a node, and beside each other over a panel.
_MAX_INSIDE = 2
_MAX_PATH = 40


@fill_in_docs
def backbone(
    mdata: MuData,
    *,
    key: str = "backbone",
    color: str | None = None,
    basis: str | None = None,
    use_rep: str = X_SCDART,
    palette: Palette | None = None,
    cmap: str = CONTINUOUS,
    size: float | None = None,
    rna_mod: str = RNA,
    atac_mod: str = ATAC,
    random_state: int | None = None,
    ax: Axes | None = None,
    show: bool | None = None,
    save: str | PathLike[str] | None = None,
) -> Axes:
    """Draw the tree of :func:`scdart.tl.backbone` over the cells.

    Nodes are in the middle of the points of their group, larger for more of them, with its name; arrows lead away from
    the root, which has a double ring. Of a part of the cells, the groups that it has are drawn.

    Parameters
    ----------
    mdata
        Integrated data with a backbone.
    key
        Name of its slots.
    color
        What to colour the cells by, as in :func:`scdart.pl.latent`; by default their group.
    %(basis)s
    %(use_rep)s
    palette, cmap
        Colours of categories, and colour map of numbers.
    %(size)s
    %(mods)s
    %(drawing_order)s
    %(ax_show_save)s

    Returns
    -------
    The axes.

    Raises
    ------
    KeyError
        If there is no backbone, latent space, modality, or value to colour by.
    ValueError
        If the latent space or the pseudotime was made anew since.

    Examples
    --------
    %(example_with_tree)s
    >>> ax = scdart.pl.backbone(mdata, show=False)
    >>> ax.get_title()
    'backbone'
    """
    check_options(backbone, locals())
    check_modalities(mdata, rna_mod=rna_mod, atac_mod=atac_mod)
    tree = _described(mdata, key)
    mods = (rna_mod, atac_mod)
    points = find_points(mdata, basis=basis, use_rep=use_rep, mods=mods)
    shown = color or key
    values = values_of(mdata, points, shown)
    coloring = color_points(values, palette=palette or stored_palette(mdata, shown, values, mods), cmap=cmap)
    (panel,) = make_axes(1, 1, ax, size=(5.2, 4.6))
    draw_points(panel, points, coloring, shown, size=size, random_state=random_state)
    if color is not None:
        explain(panel, points.xy, values, coloring, "right margin")
    groups = values_of(mdata, points, key)
    colors = {} if color is not None else (coloring.categories or {})
    _draw_tree(panel, tree, _nodes(points, groups), colors)
    finish([panel], given=ax, show=show, save=save)
    return panel


@fill_in_docs
def branches(
    mdata: MuData,
    *,
    key: str = "backbone",
    trajectories: str | Sequence[str] | None = None,
    basis: str | None = None,
    use_rep: str = X_SCDART,
    palette: Palette | None = None,
    cmap: str = CONTINUOUS,
    size: float | None = None,
    ncols: int = 3,
    rna_mod: str = RNA,
    atac_mod: str = ATAC,
    random_state: int | None = None,
    show: bool | None = None,
    save: str | PathLike[str] | None = None,
) -> list[Axes]:
    """Draw the branches of a backbone, and its trajectories one by one, coloured by the order of their cells.

    Parameters
    ----------
    mdata
        Integrated data with the result of :func:`scdart.tl.backbone`.
    key
        Name of its slots.
    trajectories
        Which trajectories to draw; all by default.
    %(basis)s
    %(use_rep)s
    palette
        Colours of the branches, in their order or by name.
    cmap
        Colour map of the order.
    %(size)s
    %(ncols)s
    %(mods)s
    %(drawing_order)s
    %(show_save)s

    Returns
    -------
    The axes: all branches, then one for each trajectory, where the other cells are grey.

    Raises
    ------
    KeyError
        If there is no backbone, trajectory, latent space or modality.
    ValueError
        If the latent space or the pseudotime was made anew since.

    Examples
    --------
    %(example_with_tree)s
    >>> [ax.get_title() for ax in scdart.pl.branches(mdata, show=False)]
    ['branches', 'trajectory_0']
    """
    check_options(branches, locals())
    check_modalities(mdata, rna_mod=rna_mod, atac_mod=atac_mod)
    tree = _described(mdata, key)
    order = mdata.obsm[f"{key}_order"]
    names = [trajectories] if isinstance(trajectories, str) else list(trajectories or order.columns)
    if missing := [name for name in names if name not in order]:
        raise KeyError(f"{missing[0]!r} is not a trajectory of mdata.obsm['{key}_order']: {list(order.columns)}.")
    points = find_points(mdata, basis=basis, use_rep=use_rep, mods=(rna_mod, atac_mod))
    axes = make_axes(1 + len(names), min(ncols, 1 + len(names)), None)
    branch = values_of(mdata, points, f"{key}_branch")
    coloring = color_points(branch, palette=palette)
    draw_points(axes[0], points, coloring, "branches", size=size, random_state=random_state)
    add_key(axes[0], coloring)
    shown = [order[name].iloc[points.cells].reset_index(drop=True) for name in names]
    finite = np.concatenate([value[np.isfinite(value)] for value in shown])
    ends = (finite.min(), finite.max()) if len(finite) else (0.0, 1.0)
    for panel, name, value in zip(axes[1:], names, shown, strict=True):
        coloring = color_points(value, cmap=cmap, vmin=ends[0], vmax=ends[1])
        draw_points(panel, points, coloring, name, size=size, random_state=random_state)
        groups = [str(group) for group in tree["trajectories"].get(name, [])]
        path = " → ".join(groups)
        if len(path) > _MAX_PATH:
            path = f"{groups[0]} → … → {groups[-1]}"
        panel.text(0.5, 1.0, path, transform=panel.transAxes, ha="center", va="top", fontsize="small")
    add_key(axes[-1], coloring, "pseudotime")
    finish(axes, show=show, save=save)
    return axes


def _described(mdata: MuData, key: str) -> Mapping[str, Any]:
    if key not in mdata.uns or f"{key}_order" not in mdata.obsm or key not in mdata.obs:
        raise KeyError(f"mdata has no backbone {key!r}: run scdart.tl.backbone(mdata) first.")
    check_follows(mdata, key, by_modality=True)
    return mdata.uns[key]


def _nodes(points: Points, groups: pd.Series) -> dict[str, tuple[NDArray[np.float64], int]]:
    """Middle of the points of each group, and their number."""
    codes = groups.astype("category")
    assert not is_number(codes)
    rows = codes.reset_index(drop=True).groupby(codes.to_numpy(), observed=True).groups
    return {str(name): (points.xy[np.asarray(own)].mean(axis=0), len(own)) for name, own in rows.items()}


def _draw_tree(
    ax: Axes,
    tree: Mapping[str, Any],
    nodes: Mapping[str, tuple[NDArray[np.float64], int]],
    colors: Mapping[str, str],
) -> None:
    """Draw nodes with their names inside, or, if these are long, above."""
    inside = max(map(len, nodes)) <= _MAX_INSIDE
    largest = max(n for _, n in nodes.values())
    bottom, top = _NODE_AREAS if inside else _SMALL_NODE_AREAS
    areas = {name: bottom + (top - bottom) * n / largest for name, (_, n) in nodes.items()}
    for source, target in zip(tree["edges"]["source"], tree["edges"]["target"], strict=True):
        if not {str(source), str(target)} <= nodes.keys():
            continue  # of a group all of whose cells were left out since
        (start, _), (end, _) = nodes[str(source)], nodes[str(target)]
        shrink = {f"shrink{side}": np.sqrt(areas[str(name)]) / 2 for side, name in (("A", source), ("B", target))}
        ax.annotate(
            "",
            xy=(end[0], end[1]),
            xytext=(start[0], start[1]),
            arrowprops={"arrowstyle": "-|>", "color": "black", "linewidth": 1.6, "mutation_scale": 13, **shrink},
            gid="edge",
            zorder=3,
        ).set_in_layout(False)
    for name, (xy, _) in nodes.items():
        face = "white" if inside else colors.get(name, "white")
        style: dict[str, Any] = {"edgecolor": "black", "linewidth": 1.4, "zorder": 4, "gid": "node"}
        ax.scatter(xy[0], xy[1], s=areas[name], facecolor=face, **style)
        if name == str(tree["root"]):
            ax.scatter(xy[0], xy[1], s=1.45 * areas[name] + 25, facecolor="none", **style)
        if inside:
            outlined_text(ax, xy, name, fontsize="small", zorder=5)
        else:
            above = ScaledTranslation(0, (np.sqrt(areas[name]) / 2 + 2) / 72, figure_of(ax).dpi_scale_trans)
            where = ax.transData + above
            outlined_text(ax, xy, name, fontsize="small", zorder=5, va="bottom", transform=where, gid=LABEL)

"""Pictures of the latent space."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from scdart._checks import check_modalities
from scdart._constants import ATAC, RNA, X_SCDART
from scdart._docs import fill_in_docs
from scdart._options import check_options

from ._canvas import add_key, draw_points, finish, make_axes, name_groups, one_or_all
from ._colors import BOTH, CONTINUOUS, MODALITY_COLORS, OKABE_ITO, color_points, is_number
from ._points import find_points, values_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from os import PathLike

    import numpy as np
    import pandas as pd
    from matplotlib.axes import Axes
    from mudata import MuData
    from numpy.typing import NDArray

    from ._colors import Coloring, Palette


@fill_in_docs
def latent(
    mdata: MuData,
    *,
    color: str | Sequence[str] = "modality",
    layout: Literal["joint", "side_by_side"] = "joint",
    basis: str | None = None,
    use_rep: str = X_SCDART,
    layer: str | None = None,
    palette: Palette | None = None,
    cmap: str = CONTINUOUS,
    vmin: float | None = None,
    vmax: float | None = None,
    legend_loc: Literal["auto", "right margin", "on data", "none"] = "auto",
    size: float | None = None,
    ncols: int = 3,
    title: str | Sequence[str] | None = None,
    rna_mod: str = RNA,
    atac_mod: str = ATAC,
    random_state: int | None = None,
    ax: Axes | None = None,
    show: bool | None = None,
    save: str | PathLike[str] | None = None,
) -> Axes | list[Axes]:
    """Draw the cells of both modalities in the latent space.

    Points are drawn in random order, so that no modality hides the other, and as pixels, so that files stay small.
    Colours can be told apart with any kind of colour vision up to 8 categories (Okabe and Ito); more are also named on
    the picture.

    Parameters
    ----------
    mdata
        Integrated data. Nothing is written to it.
    color
        What to colour by, one panel each: ``"modality"``; a column of ``mdata.obs`` or of the modalities' ``obs``
        (``"rna:branch"`` for that of one modality); ``"anchors_confidence"``; or a gene or peak. Cells without a value,
        or with an infinite one, are grey.
    layout
        ``"joint"`` draws both modalities together, ``"side_by_side"`` beside each other, with one row of panels for
        each of ``color``.
    basis
        ``"umap"``, or another slot of ``mdata.obsm``; ``"pca"`` for two principal components of the latent space,
        which are computed for the picture (the latent space itself, if it has two dimensions). By default the UMAP of
        ``mdata.obsm["X_umap"]`` if there is one, else ``"pca"``. From slots of ``mdata.obsm``, a cell that was measured
        in both modalities is one point; from the latent space it is two, one for each measurement.
    %(use_rep)s
    layer
        Where values of genes and peaks come from; ``X`` if not given.
    palette
        Colours of the categories, in their order or by name. By default ``mdata.uns[f"{color}_colors"]``, if there.
    cmap, vmin, vmax
        Colour map of numbers, and its ends.
    legend_loc
        Where categories are named; ``"auto"`` is the margin up to 8, and both beyond.
    %(size)s
    ncols
        Panels in a row, if the layout is joint.
    title
        Titles of the panels.
    %(mods)s
    %(drawing_order)s
    %(ax_show_save)s

    Returns
    -------
    The axes, or a list of them if there are several.

    Raises
    ------
    KeyError
        If there is no latent space, basis, modality, or value to colour by.
    ValueError
        If positions are not finite, ``ax`` is given for several panels, or an option is not known.

    References
    ----------
    Okabe and Ito (2008), Color universal design, https://jfly.uni-koeln.de/color/.

    Examples
    --------
    %(example_of_fork)s
    >>> axes = scdart.pl.latent(mdata, color=["modality", "branch"], show=False)
    >>> [ax.get_title() for ax in axes]
    ['modality', 'branch']
    """
    check_options(latent, locals())
    mods = (rna_mod, atac_mod)
    check_modalities(mdata, rna_mod=rna_mod, atac_mod=atac_mod)
    keys = [color] if isinstance(color, str) else list(color)
    titles = keys if title is None else [title] if isinstance(title, str) else list(title)
    if not keys or len(titles) != len(keys):
        raise ValueError(f"color names {len(keys)} panels, and title {len(titles)}: give one of each, at least one.")
    points = find_points(mdata, basis=basis, use_rep=use_rep, mods=mods)
    values = [values_of(mdata, points, key, layer=layer) for key in keys]
    colorings = [
        color_points(value, palette=palette or stored_palette(mdata, key, value, mods), cmap=cmap, vmin=vmin, vmax=vmax)
        for key, value in zip(keys, values, strict=True)
    ]
    sides = {"": None} if layout == "joint" else {f", {mod.upper()}": points.rows[mod] >= 0 for mod in mods}
    n_panels = len(keys) * len(sides)
    n_columns = min(ncols, n_panels) if layout == "joint" else len(sides)
    axes = make_axes(n_panels, n_columns, ax)
    panels = iter(axes)
    for heading, value, coloring in zip(titles, values, colorings, strict=True):
        for side, chosen in sides.items():
            panel = next(panels)
            draw_points(
                panel, points, coloring, f"{heading}{side}", chosen=chosen, size=size, random_state=random_state
            )
            explain(panel, points.xy, value, coloring, legend_loc, margin=side == list(sides)[-1])
    finish(axes, given=ax, show=show, save=save)
    return one_or_all(axes)


def stored_palette(mdata: MuData, key: str, values: pd.Series, mods: tuple[str, str]) -> Palette | None:
    """Colours of the modalities, or those that the user, or scanpy, keeps for a column."""
    if key == "modality":
        return dict(zip((*mods, BOTH), MODALITY_COLORS.values(), strict=True))
    if is_number(values):
        return None
    for owner in (mdata, *(mdata.mod[mod] for mod in mods)):
        stored = owner.uns.get(f"{key}_colors")
        if stored is not None and len(stored) >= values.nunique():
            return [str(color) for color in stored]
    return None


def explain(
    ax: Axes, xy: NDArray[np.float64], values: pd.Series, coloring: Coloring, legend_loc: str, *, margin: bool = True
) -> None:
    """Say what the colours are, in the margin, on the points, or both where there are too many for colours alone."""
    if coloring.mappable is not None:
        if margin and legend_loc != "none":
            add_key(ax, coloring)
        return
    many = len(coloring.categories or ()) > len(OKABE_ITO)
    if legend_loc == "on data" or (legend_loc == "auto" and many):
        name_groups(ax, xy, values)
    if legend_loc in ("auto", "right margin") and margin:
        add_key(ax, coloring)

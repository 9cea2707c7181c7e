"""How far the alignment of every cell can be trusted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from scdart._checks import check_modalities
from scdart._constants import ANCHORS, ATAC, RNA, X_SCDART
from scdart._docs import fill_in_docs
from scdart._options import check_options

from ._canvas import add_key, draw_points, finish, make_axes, plain
from ._colors import CONTINUOUS, MODALITY_COLORS, color_points, is_number
from ._points import find_points, values_of

if TYPE_CHECKING:
    from os import PathLike

    from matplotlib.axes import Axes
    from mudata import MuData


@fill_in_docs
def alignment_confidence(
    mdata: MuData,
    *,
    key: str = f"{ANCHORS}_confidence",
    basis: str | None = None,
    use_rep: str = X_SCDART,
    cmap: str = CONTINUOUS,
    size: float | None = None,
    rna_mod: str = RNA,
    atac_mod: str = ATAC,
    random_state: int | None = None,
    show: bool | None = None,
    save: str | PathLike[str] | None = None,
) -> list[Axes]:
    """Draw where cells have counterparts in the other modality, and how many do not.

    Parameters
    ----------
    mdata
        Integrated data.
    key
        Confidence of the cells, between 0 and 1: a column of ``mdata.obs`` or of the modalities' ``obs``, or a slot of
        their ``obsm`` with one column. By default what :func:`scdart.pp.anchors` wrote: confidence that the other
        modality has such cells, of which those that it lacks have little.
    %(basis)s
    %(use_rep)s
    cmap
        Colour map, from 0 to 1.
    %(size)s
    %(mods)s
    %(drawing_order)s
    %(show_save)s

    Returns
    -------
    Three axes: the RNA cells, the ATAC cells, and the share of each modality's cells below any confidence.

    Raises
    ------
    KeyError
        If there is no latent space, modality or confidence.
    ValueError
        If the confidence is not a number.

    Examples
    --------
    %(example_of_fork)s
    >>> for mod in ("rna", "atac"):
    ...     mdata[mod].obs["confidence"] = 1 - mdata[mod].obs["pseudotime"]
    >>> axes = scdart.pl.alignment_confidence(mdata, key="confidence", show=False)
    >>> [ax.get_title() for ax in axes]
    ['RNA', 'ATAC', 'cells below']
    """
    check_options(alignment_confidence, locals())
    mods = {RNA: rna_mod, ATAC: atac_mod}
    check_modalities(mdata, rna_mod=rna_mod, atac_mod=atac_mod)
    points = find_points(mdata, basis=basis, use_rep=use_rep, mods=(rna_mod, atac_mod))
    values = values_of(mdata, points, key)
    if not is_number(values):
        raise ValueError(f"key={key!r} holds {values.dtype}, not numbers between 0 and 1.")
    coloring = color_points(values, cmap=cmap, vmin=0.0, vmax=1.0)
    axes = make_axes(3, 3, None)
    *maps, curve = axes
    for panel, (role, mod) in zip(maps, mods.items(), strict=True):
        chosen = points.rows[mod] >= 0
        draw_points(panel, points, coloring, mod.upper(), chosen=chosen, size=size, random_state=random_state)
        own = pd.Series(values.to_numpy(dtype=float, na_value=np.nan)[chosen]).dropna()
        if len(own):
            curve.ecdf(own, color=MODALITY_COLORS[role], label=f"{mod.upper()}, median {own.median():.2f}", linewidth=2)
    add_key(maps[-1], coloring, "confidence")
    curve.set(title="cells below", xlabel="confidence", ylabel="share of cells", xlim=(0, 1), ylim=(0, 1))
    curve.legend(frameon=False, fontsize="small", loc="upper left")
    plain(curve)
    finish(axes, show=show, save=save)
    return axes

"""Expression predicted for ATAC cells beside what was measured in RNA cells."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd

from scdart._checks import check_modalities
from scdart._constants import ATAC, RNA, X_SCDART
from scdart._docs import fill_in_docs
from scdart._expression import measured_expression, predicted_expression
from scdart._neighbors import nearest
from scdart._options import check_options

from ._canvas import add_key, draw_points, finish, make_axes, one_or_all, plain, point_size
from ._colors import CONTINUOUS, MISSING, OKABE_ITO, color_points
from ._points import find_points

if TYPE_CHECKING:
    from collections.abc import Sequence
    from os import PathLike

    from anndata import AnnData
    from matplotlib.axes import Axes
    from mudata import MuData
    from numpy.typing import NDArray

    from scdart.model import SCDART

#: Cells beyond which their density is drawn, not each of them.
_MAX_POINTS = 5_000
#: Percentiles where the colours end: a few cells must not set the scale alone.
_RANGE = (1.0, 99.0)


@fill_in_docs
def gene_activity(
    mdata: MuData,
    predicted: SCDART | pd.DataFrame,
    *,
    genes: str | Sequence[str],
    kind: Literal["embedding", "neighbors", "obs_names"] = "embedding",
    basis: str | None = None,
    use_rep: str = X_SCDART,
    n_neighbors: int = 15,
    cmap: str = CONTINUOUS,
    size: float | None = None,
    ncols: int = 4,
    rna_layer: str | None = None,
    rna_mod: str = RNA,
    atac_mod: str = ATAC,
    random_state: int | None = None,
    ax: Axes | None = None,
    show: bool | None = None,
    save: str | PathLike[str] | None = None,
) -> Axes | list[Axes]:
    """Draw the expression that accessibility predicts beside the expression that was measured.

    Parameters
    ----------
    mdata
        Integrated data.
    predicted
        The trained model, or what its :meth:`~scdart.model.SCDART.get_gene_activity` returned: ATAC cells x genes,
        log-normalised.
    genes
        Genes to draw.
    kind
        ``"embedding"``: for each gene two panels with one scale of colours, which ends at the 1st and the 99th
        percentile: measured in the RNA cells, predicted in the ATAC cells. ``"neighbors"``: for each gene, predicted
        expression of the ATAC cells against the mean of the nearest RNA cells in the latent space. Prediction and
        latent space come from one model, so that this shows whether it is consistent, not whether it is right.
        ``"obs_names"``: against what was measured in the same cell, for the cells whose name is in both modalities.
    %(basis)s
    %(use_rep)s
    n_neighbors
        Number of nearest RNA cells.
    cmap
        Colour map.
    %(size)s
    ncols
        Panels in a row, if they are not maps.
    rna_layer
        Layer with the RNA counts; ``X`` if not given.
    %(mods)s
    %(drawing_order)s
    %(ax_show_save)s

    Returns
    -------
    The axes, or a list of them if there are several; maps in pairs.

    Raises
    ------
    KeyError
        If there is no latent space or modality, a gene was not measured or not predicted, or cells have no prediction.
    ValueError
        If ``kind`` is not known, or no cell is in both modalities.

    Examples
    --------
    >>> import numpy as np, pandas as pd
    %(example_of_fork)s
    >>> truth = np.log1p(mdata["atac"].obsm["true_expression"])
    >>> predicted = pd.DataFrame(truth, mdata["atac"].obs_names, mdata["rna"].var_names)
    >>> axes = scdart.pl.gene_activity(mdata, predicted, genes="gene0", show=False)
    >>> [ax.get_title() for ax in axes]
    ['gene0, measured (RNA)', 'gene0, predicted (ATAC)']
    """
    check_options(gene_activity, locals())
    check_modalities(mdata, rna_mod=rna_mod, atac_mod=atac_mod)
    rna, atac = mdata.mod[rna_mod], mdata.mod[atac_mod]
    genes = [genes] if isinstance(genes, str) else list(genes)
    measured = pd.DataFrame(measured_expression(rna, genes, rna_layer, rna_mod).toarray(), rna.obs_names, genes)
    predictions = predicted_expression(predicted, mdata, atac, genes)
    if kind == "embedding":
        points = find_points(mdata, basis=basis, use_rep=use_rep, mods=(rna_mod, atac_mod))
        axes = make_axes(2 * len(genes), 2, ax)
        for gene, pair in zip(genes, zip(axes[::2], axes[1::2], strict=True), strict=True):
            low, top = np.percentile(np.concatenate([measured[gene], predictions[gene]]), _RANGE)
            for panel, mod, values, what in zip(
                pair, (rna_mod, atac_mod), (measured, predictions), ("measured", "predicted"), strict=True
            ):
                by_point = values[gene].reset_index(drop=True).reindex(points.rows[mod])
                coloring = color_points(by_point, cmap=cmap, vmin=low, vmax=top if top > low else low + 1)
                title, chosen = f"{gene}, {what} ({mod.upper()})", points.rows[mod] >= 0
                draw_points(panel, points, coloring, title, chosen=chosen, size=size, random_state=random_state)
            add_key(pair[1], coloring, "log expression")
        finish(axes, given=ax, show=show, save=save)
        return one_or_all(axes)

    if kind == "obs_names":
        shared = atac.obs_names.intersection(rna.obs_names)
        if len(shared) < 2:
            raise ValueError("kind='obs_names', but no cells have the same name in both modalities: use 'neighbors'.")
        reference, predictions = measured.loc[shared], predictions.loc[shared]
        label = "measured in the same cell"
    else:
        reference = _of_neighbors(rna, atac, measured, use_rep, n_neighbors, (rna_mod, atac_mod))
        label = f"mean of the {n_neighbors} nearest RNA cells"
    axes = make_axes(len(genes), min(ncols, len(genes)), ax, size=(2.9, 2.9))
    for panel, gene in zip(axes, genes, strict=True):
        _compare(panel, reference[gene].to_numpy(float), predictions[gene].to_numpy(float), cmap, size)
        panel.set(xlabel=label, ylabel="predicted for ATAC cells")
        panel.set_title(f"{gene}, {panel.get_title()}", fontsize="medium")
    finish(axes, given=ax, show=show, save=save)
    return one_or_all(axes)


def _of_neighbors(
    rna: AnnData, atac: AnnData, measured: pd.DataFrame, use_rep: str, n_neighbors: int, mods: tuple[str, str]
) -> pd.DataFrame:
    for adata, mod in zip((rna, atac), mods, strict=True):
        if use_rep not in adata.obsm:
            raise KeyError(f"mdata[{mod!r}].obsm has no {use_rep!r}: write the latent space of this modality there.")
    n_neighbors = min(n_neighbors, rna.n_obs)
    near = nearest(atac.obsm[use_rep], rna.obsm[use_rep], n_neighbors=n_neighbors, algorithm="auto").indices
    return pd.DataFrame(measured.to_numpy()[near].mean(axis=1), atac.obs_names, measured.columns)


def _compare(ax: Axes, measured: NDArray, predicted: NDArray, cmap: str, size: float | None) -> None:
    """Draw cells, or their density if they are many, with the line of equality and the correlation."""
    if len(measured) > _MAX_POINTS:
        ax.hexbin(measured, predicted, gridsize=45, bins="log", mincnt=1, cmap=cmap, linewidths=0, rasterized=True)
    else:
        s = point_size(len(measured)) if size is None else size
        ax.scatter(measured, predicted, s=s, color=OKABE_ITO[0], alpha=0.5, linewidths=0, rasterized=True)
    ends = [min(measured.min(), predicted.min()), max(measured.max(), predicted.max())]
    ax.plot(ends, ends, color=MISSING, linewidth=1.5, zorder=0)
    varies = measured.std() > 0 and predicted.std() > 0
    ax.set_title(f"r = {np.corrcoef(measured, predicted)[0, 1]:.2f}" if varies else "constant")
    plain(ax)

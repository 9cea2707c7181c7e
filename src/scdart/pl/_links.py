"""Learned links between peaks and a gene, as arcs over its locus."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.lines import Line2D
from matplotlib.patches import PathPatch
from matplotlib.path import Path as Curve
from matplotlib.ticker import FuncFormatter, MaxNLocator

from scdart._checks import check_modalities
from scdart._constants import ATAC, RNA
from scdart._docs import fill_in_docs
from scdart._intervals import chromosome_key, peak_intervals
from scdart._options import check_options
from scdart.pp import read_annotation

from ._canvas import finish, make_axes, plain
from ._colors import OKABE_ITO

if TYPE_CHECKING:
    from os import PathLike

    from matplotlib.axes import Axes
    from mudata import MuData
    from numpy.typing import NDArray

    from scdart.model import SCDART

_SIGN_COLORS: Final = {"positive": OKABE_ITO[0], "negative": OKABE_ITO[5]}
#: Height of the tracks below the arcs, as a share of the largest link.
_PEAK_TRACK: Final = (-0.09, 0.05)
_GENE_TRACK: Final = (-0.22, 0.04)
#: Bases shown beside the gene and the outermost peak of the prior: a share of the region, but not less than these.
_MARGIN: Final = 0.15
_MIN_MARGIN: Final = 5_000


class _Gene(NamedTuple):
    """Where a gene is; 0-based, half-open."""

    chrom: str
    start: int
    end: int
    strand: str

    @property
    def tss(self) -> int:
        return self.end if self.strand == "-" else self.start


@fill_in_docs
def peak_gene_links(
    mdata: MuData,
    links: SCDART | pd.DataFrame,
    gene: str,
    *,
    annotation: str | PathLike[str] | pd.DataFrame | None = None,
    region: tuple[int, int] | None = None,
    value: str = "z",
    min_value: float = 0.0,
    rna_mod: str = RNA,
    atac_mod: str = ATAC,
    ax: Axes | None = None,
    show: bool | None = None,
    save: str | PathLike[str] | None = None,
) -> Axes:
    """Draw the learned links of a gene as arcs between its start and the peaks around it.

    The top of an arc is the size of the link, its colour the sign; links off the prior are dashed. Below are all peaks,
    linked or not, and the gene, with an arrow in the direction in which it is read.

    Parameters
    ----------
    mdata
        Data with coordinates of the peaks in ``var``, or in the names of the peaks.
    links
        The trained model, or what its :meth:`~scdart.model.SCDART.get_peak_gene_links` returned: a table with the
        columns ``peak``, ``gene``, ``value`` and, to tell links of the prior from others, ``in_prior``.
    gene
        Name of the gene.
    annotation
        Where genes are, see :func:`scdart.pp.gene_activity`. By default the columns ``chrom``, ``start``, ``end`` and
        ``strand`` of the RNA modality's ``var``.
    region
        First and last base to draw; by default, the gene and all peaks that the prior links with it. Other links can
        reach across the chromosome.
    value
        Column of the table with the size of a link.
    min_value
        Size below which links are left out.
    %(mods)s
    %(ax_show_save)s

    Returns
    -------
    The axes. Links with peaks of other chromosomes, or outside of ``region``, are not drawn, but counted in the title.

    Raises
    ------
    KeyError
        If the gene, its position, a peak, a modality or a column is missing.
    ValueError
        If the gene has no link, or peaks are not intervals.

    Examples
    --------
    >>> import pandas as pd
    >>> import scdart
    >>> mdata = scdart.datasets.simulate("linear", n_cells=100, n_genes=50, n_peaks=150, link_kind="genomic")
    >>> true = mdata["atac"].varm["links"].tocoo()
    >>> links = pd.DataFrame(
    ...     {
    ...         "peak": mdata["atac"].var_names[true.row],
    ...         "gene": mdata["rna"].var_names[true.col],
    ...         "z": true.data,
    ...     }
    ... )
    >>> ax = scdart.pl.peak_gene_links(mdata, links, links["gene"][0], show=False)
    >>> ax.get_ylabel()
    'size of the link (|z|)'
    """
    check_options(peak_gene_links, locals())
    check_modalities(mdata, rna_mod=rna_mod, atac_mod=atac_mod)
    atac = mdata.mod[atac_mod]
    table = links if isinstance(links, pd.DataFrame) else links.get_peak_gene_links(genes=[gene])
    own = _links_of(table, gene, value)
    own = own[own[value].abs() >= min_value]
    peaks = peak_intervals(atac.var, f"mdata.mod[{atac_mod!r}].var").set_index(atac.var_names)
    if not own["peak"].isin(peaks.index).all():
        raise KeyError(f"{(~own['peak'].isin(peaks.index)).sum():,} linked peaks are not in mdata[{atac_mod!r}].var.")
    where = _find_gene(mdata, gene, annotation, rna_mod)
    peaks = peaks[(chromosome_key(peaks["chrom"]) == chromosome_key(pd.Series([where.chrom]))[0]).to_numpy()]
    near = own[own["peak"].isin(peaks.index)]
    linked = peaks.loc[near["peak"]]
    in_prior = near["in_prior"].to_numpy(bool) if "in_prior" in near else np.ones(len(near), dtype=bool)
    first, last = region or _around(where, linked[in_prior])
    middle = (linked["start"] + linked["end"]) / 2
    inside = middle.between(first, last).to_numpy()
    drawn, middle, in_prior = near[inside], middle[inside], in_prior[inside]

    (panel,) = make_axes(1, 1, ax, size=(7.5, 3.4))
    largest = float(drawn[value].abs().max()) if len(drawn) else 1.0
    for x, height, known in zip(middle, drawn[value], in_prior, strict=True):
        _arc(panel, where.tss, float(x), float(height), known=bool(known))
    visible = peaks[(peaks["end"] >= first) & (peaks["start"] <= last)]
    _draw_peaks(panel, visible, visible.index.isin(drawn["peak"]), largest, first, last)
    _draw_gene(panel, where, gene, largest, first, last)
    panel.set(xlim=(first, last), ylim=(-0.34 * largest, 1.08 * largest), ylabel=f"size of the link (|{value}|)")
    panel.set_yticks([tick for tick in MaxNLocator(4).tick_values(0, largest) if 0 <= tick <= 1.05 * largest])
    panel.xaxis.set_major_locator(MaxNLocator(6))
    panel.xaxis.set_major_formatter(FuncFormatter(lambda base, _: f"{base / 1e3:,.0f}"))
    panel.set_xlabel(f"{where.chrom} (kb)")
    left_out = len(own) - len(drawn)
    panel.set_title(f"{gene}: {len(drawn)} links" + (f", {left_out} elsewhere" if left_out else ""))
    plain(panel)
    _explain(panel, drawn[value], in_prior)
    finish([panel], given=ax, show=show, save=save)
    return panel


def _links_of(table: pd.DataFrame, gene: str, value: str) -> pd.DataFrame:
    if missing := [column for column in ("peak", "gene", value) if column not in table]:
        raise KeyError(f"links has no column {missing[0]!r}: its columns are {list(table.columns)}.")
    own = table[table["gene"] == gene]
    if own.empty:
        raise ValueError(f"{gene!r} has no link: the prior gives it no peak, or links holds other genes only.")
    return own


def _find_gene(mdata: MuData, gene: str, annotation: str | PathLike[str] | pd.DataFrame | None, rna_mod: str) -> _Gene:
    var = mdata.mod[rna_mod].var
    if annotation is not None:
        genes = read_annotation(annotation)
        found = genes[(genes["name"] == gene) | (genes["id"] == gene)]
        if found.empty:
            raise KeyError(f"{gene!r} is neither a name nor an identifier in the annotation.")
    elif {"chrom", "start", "end"} <= set(var.columns) and gene in var.index:
        found = var.loc[[gene]].assign(strand=var.loc[[gene]].get("strand", "."))
    else:
        raise KeyError(
            f"mdata[{rna_mod!r}].var has no columns 'chrom', 'start' and 'end' for {gene!r}: pass the annotation that "
            "the prior was made from."
        )
    found = found[found["chrom"] == found["chrom"].iloc[0]]
    start, end = int(found["start"].min()), int(found["end"].max())
    return _Gene(str(found["chrom"].iloc[0]), start, end, str(found["strand"].iloc[0]))


def _around(gene: _Gene, linked: pd.DataFrame) -> tuple[int, int]:
    first, last = min([gene.start, *linked["start"]]), max([gene.end, *linked["end"]])
    margin = max(int(_MARGIN * (last - first)), _MIN_MARGIN)
    return max(first - margin, 0), last + margin


def _arc(ax: Axes, tss: float, peak: float, height: float, *, known: bool) -> None:
    """Draw a curve from the gene to the peak whose top is the size of the link."""
    raised = list(_SIGN_COLORS.values())[0 if height >= 0 else 1]
    # The top of a cubic curve is at three quarters of its control points.
    top = abs(height) * 4 / 3
    curve = Curve([(tss, 0), (tss, top), (peak, top), (peak, 0)], [Curve.MOVETO, *[Curve.CURVE4] * 3])
    style = "-" if known else (0, (4, 2))
    ax.add_patch(PathPatch(curve, facecolor="none", edgecolor=raised, linewidth=1.8, linestyle=style, gid="link"))


def _draw_peaks(ax: Axes, peaks: pd.DataFrame, linked: NDArray[np.bool_], unit: float, first: int, last: int) -> None:
    bottom, height = (share * unit for share in _PEAK_TRACK)
    width = np.maximum(peaks["end"] - peaks["start"], (last - first) / 400)  # wide enough to be seen
    colors = np.where(linked, "black", "#B0B0B0").tolist()
    ax.bar((peaks["start"] + peaks["end"]) / 2, height, width, bottom, color=colors, linewidth=0)
    ax.text(1.005, bottom + height / 2, "peaks", transform=ax.get_yaxis_transform(), va="center", fontsize="small")


def _draw_gene(ax: Axes, gene: _Gene, name: str, unit: float, first: int, last: int) -> None:
    bottom, height = (share * unit for share in _GENE_TRACK)
    middle = bottom + height / 2
    ax.barh(middle, gene.end - gene.start, height, gene.start, color=OKABE_ITO[2], linewidth=0)
    if gene.strand in "+-":
        step = (last - first) / 40 * (-1 if gene.strand == "-" else 1)
        arrow = {"arrowstyle": "-|>", "color": OKABE_ITO[2], "linewidth": 1.8, "shrinkA": 0, "shrinkB": 0}
        top = middle + 1.8 * height
        ax.plot([gene.tss, gene.tss], [middle, top], color=OKABE_ITO[2], linewidth=1.8, solid_capstyle="butt")
        ax.annotate("", xy=(gene.tss + step, top), xytext=(gene.tss, top), arrowprops=arrow)
    ax.axvline(gene.tss, ymin=0.24, color="0.85", linewidth=1, zorder=0)
    ax.text(1.005, middle, name, transform=ax.get_yaxis_transform(), va="center", fontsize="small", style="italic")


def _explain(ax: Axes, sizes: pd.Series, in_prior: NDArray[np.bool_]) -> None:
    """Name what is there: signs, and whether links are of the prior."""
    signs = {"positive": (sizes >= 0).any(), "negative": (sizes < 0).any()}
    handles = [Line2D([], [], color=_SIGN_COLORS[name], lw=1.8, label=name) for name, found in signs.items() if found]
    if not in_prior.all():
        handles.append(Line2D([], [], color="0.4", lw=1.8, ls=(0, (4, 2)), label="not in the prior"))
    ax.legend(handles=handles, frameon=False, fontsize="small", loc="upper left", bbox_to_anchor=(1.0, 1.0))

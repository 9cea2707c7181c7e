"""One MuData of two experiments, whose cells are told apart."""

from __future__ import annotations

import logging
import warnings

import anndata as ad
import pandas as pd
from mudata import MuData

from scdart._constants import ATAC, RNA
from scdart._docs import fill_in_docs
from scdart._mudata import columns_stay
from scdart._options import check_options

logger = logging.getLogger(__name__)

#: Share of names that are a chromosome and two numbers, above which features are peaks.
_PEAKS_FROM = 0.5


@fill_in_docs
def from_anndata(
    rna: ad.AnnData, atac: ad.AnnData, *, paired: bool = False, rna_mod: str = RNA, atac_mod: str = ATAC
) -> MuData:
    """Put RNA and ATAC of different cells into one MuData.

    Parameters
    ----------
    rna
        Cells x genes, raw counts in `X` or in a layer.
    atac
        Cells x peaks, likewise; or cells x genes, where there are gene scores only, see :func:`scdart.pp.gene_scores`.
    paired
        Whether cells of the same name are the same cells, as those of a multiome are. Otherwise, since barcodes come
        from a fixed list and two experiments share some by chance, `-{rna_mod}` or `-{atac_mod}` is appended to all
        names if any are shared.
    %(rna_mod)s
    %(atac_mod)s

    Returns
    -------
    MuData with both modalities. Matrices are those of `rna` and `atac`, not copied. Names of genes that occur several
    times are told apart as by `var_names_make_unique`.

    Raises
    ------
    TypeError
        One of them is no AnnData.
    ValueError
        Cells of one modality share a name, the two are swapped, or one is on disk.

    Example
    -------
    >>> import anndata as ad, numpy as np, pandas as pd, scdart
    >>> rna = ad.AnnData(np.ones((2, 1)), pd.DataFrame(index=["AAAC", "AAAG"]), pd.DataFrame(index=["Sox2"]))
    >>> atac = ad.AnnData(np.ones((2, 1)), pd.DataFrame(index=["AAAC", "AAAT"]), pd.DataFrame(index=["chr3:1-500"]))
    >>> scdart.pp.from_anndata(rna, atac).obs_names.to_list()
    ['AAAC-rna', 'AAAG-rna', 'AAAC-atac', 'AAAT-atac']
    """
    check_options(from_anndata, locals())
    given = {rna_mod: rna, atac_mod: atac}
    if len(given) < 2:
        raise ValueError(f"rna_mod and atac_mod are both {rna_mod!r}: name two modalities.")
    for argument, adata in {"rna": rna, "atac": atac}.items():
        if not isinstance(adata, ad.AnnData):
            raise TypeError(
                f"{argument} is a {type(adata).__name__}, and an AnnData is needed: anndata.read_h5ad(path), or "
                "scdart.pp.from_files for the paths themselves."
            )
        if adata.isbacked:
            raise ValueError(f"{argument} is read from {adata.filename} as it is needed: use its to_memory() first.")
        if not adata.obs_names.is_unique:
            repeated = adata.obs_names[adata.obs_names.duplicated()][0]
            raise ValueError(
                f"{argument}.obs_names must be unique, and {repeated!r} is there several times: concatenate samples by "
                "anndata.concat(..., index_unique='-'), or use obs_names_make_unique()."
            )
    if _are_peaks(rna.var_names) and not _are_peaks(atac.var_names):
        raise ValueError(
            f"rna has peaks ({rna.var_names[0]!r}) and atac has genes ({atac.var_names[0]!r}): they are swapped."
        )
    shared = rna.obs_names.intersection(atac.obs_names)
    tell_apart = len(shared) > 0 and not paired
    parts = {mod: _same_matrices(adata) for mod, adata in given.items()}
    if tell_apart:
        logger.info("%s cells of rna and atac have the same name: all names end with their modality now", len(shared))
        for mod, part in parts.items():
            part.obs_names = part.obs_names + f"-{mod}"
    if not rna.var_names.is_unique:
        parts[rna_mod].var_names_make_unique()
    if not _are_peaks(atac.var_names) and atac.var_names.isin(rna.var_names).any():
        logger.info("atac has genes, not peaks: scdart.pp.gene_scores(mdata) makes the prior, and needs no annotation")
    with columns_stay(), warnings.catch_warnings():
        # of the names of both modalities together, where gene scores are called as genes are
        warnings.filterwarnings("ignore", message="var_names are not unique", category=UserWarning)
        return MuData(parts)


def _are_peaks(names: pd.Index) -> bool:
    return bool(len(names) and names.astype(str).str.fullmatch(r".+[:_-]\d+[_-]\d+").mean() > _PEAKS_FROM)


def _same_matrices(adata: ad.AnnData) -> ad.AnnData:
    """Make another AnnData of the same arrays, so that names can be changed and slots added."""
    # Of anndata 0.13, X is the layer without a name. A table has names of its own, which change with those of cells.
    slots = {
        name: {
            key: value.copy() if isinstance(value, pd.DataFrame) else value
            for key, value in getattr(adata, name).items()
            if key is not None
        }
        for name in ("obsm", "varm", "layers", "obsp", "varp", "uns")
    }
    return ad.AnnData(adata.X, adata.obs.copy(), adata.var.copy(), **slots)

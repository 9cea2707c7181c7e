"""A MuData of the files that people have: h5ad, and what Cell Ranger writes."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Final

import anndata as ad
import pandas as pd

from scdart._constants import ATAC, RNA
from scdart._docs import fill_in_docs
from scdart._options import check_options

from ._from_anndata import from_anndata

if TYPE_CHECKING:
    from os import PathLike

    from mudata import MuData

#: What Cell Ranger calls the features of each modality.
_TYPES: Final = {RNA: "Gene Expression", ATAC: "Peaks"}


@fill_in_docs
def from_files(
    rna: str | PathLike[str],
    atac: str | PathLike[str] | None = None,
    *,
    rna_mod: str = RNA,
    atac_mod: str = ATAC,
) -> MuData:
    """Read RNA and ATAC from files into one MuData.

    Parameters
    ----------
    rna
        Cells x genes: an `.h5ad`, an `.h5` of Cell Ranger or Cell Ranger ARC, or a folder with `matrix.mtx`,
        `barcodes.tsv` and `features.tsv`, gzipped or not.
    atac
        Cells x peaks: one of these, or a folder with `peaks.bed` in place of the features. `None` takes both modalities
        from the file or folder of a multiome.
    %(rna_mod)s
    %(atac_mod)s

    Returns
    -------
    MuData with both modalities. Cells of two files are different ones, whatever their barcodes, see
    :func:`scdart.pp.from_anndata`; those of one file are the same.

    Raises
    ------
    FileNotFoundError
        A file is missing.
    ValueError
        A file is none of these, or lacks a modality.

    Example
    -------
    >>> import scdart
    >>> mdata = scdart.datasets.simulate("linear", n_cells=100, n_genes=50, n_peaks=150)
    >>> mdata["rna"].write("rna.h5ad")
    >>> mdata["atac"].write("atac.h5ad")
    >>> scdart.pp.from_files("rna.h5ad", "atac.h5ad").n_obs
    200
    """
    check_options(from_files, locals())
    paths = {RNA: Path(rna), ATAC: Path(rna if atac is None else atac)}
    of_one = paths[RNA] == paths[ATAC]
    for argument, path in paths.items():
        if not path.exists():
            raise FileNotFoundError(f"{argument}={str(path)!r} does not exist.")
    read = _read(paths[RNA])
    parts = {role: _of_type(read if of_one or role == RNA else _read(path), role, path) for role, path in paths.items()}
    if of_one and parts[RNA].n_vars == parts[ATAC].n_vars == read.n_vars:
        raise ValueError(f"{rna} does not say which of its features are genes and which are peaks: pass two files.")
    return from_anndata(parts[RNA], parts[ATAC], paired=of_one, rna_mod=rna_mod, atac_mod=atac_mod)


def _read(path: Path) -> ad.AnnData:
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*names are not unique", category=UserWarning)
            if path.is_dir():
                return _read_folder(path)
            if path.suffix == ".h5ad":
                return ad.read_h5ad(path)
            if path.suffix == ".h5":
                from scanpy import read_10x_h5  # takes seconds to import

                return read_10x_h5(path, gex_only=False)
    except Exception as error:  # what a wrong file raises depends on how it is wrong
        kind = "a folder of 10x" if path.is_dir() else {".h5": "an .h5 of Cell Ranger"}.get(path.suffix, path.suffix)
        raise ValueError(f"{path} cannot be read as {kind}: {error}") from error
    raise ValueError(f"{path} is none of .h5ad, .h5 of Cell Ranger, and a folder with matrix.mtx: convert it to .h5ad.")


def _read_folder(folder: Path) -> ad.AnnData:
    """Read a matrix and the names beside it, gzipped or not; those of peaks are in a BED file."""
    import scanpy as sc  # takes seconds to import

    adata = sc.read_mtx(_beside(folder, "matrix.mtx")).T
    adata.obs_names = _table(folder, adata.n_obs, "barcodes.tsv")[0].to_numpy()
    if any(folder.glob("peaks.bed*")):
        peaks = _table(folder, adata.n_vars, "peaks.bed")
        if peaks.shape[1] < 3:
            raise ValueError(f"peaks.bed has {peaks.shape[1]} tab-separated columns, and needs chrom, start and end.")
        adata.var_names = (peaks[0] + ":" + peaks[1] + "-" + peaks[2]).to_numpy()
        adata.var["feature_types"] = _TYPES[ATAC]
        return adata
    features = _table(folder, adata.n_vars, "features.tsv", "genes.tsv")
    adata.var_names = features[1 if 1 in features else 0].to_numpy()
    adata.var["gene_ids"] = features[0].to_numpy()
    if 2 in features:
        adata.var["feature_types"] = features[2].to_numpy()
    return adata


def _table(folder: Path, n_rows: int, *names: str) -> pd.DataFrame:
    """Read names, of which the matrix says how many there are."""
    path = _beside(folder, *names)
    try:
        table = pd.read_csv(path, sep="\t", header=None, dtype=str, comment="#", keep_default_na=False)
    except Exception as error:  # as above
        raise ValueError(f"{path.name} is no table, or not gzipped as its name says: {error}") from error
    if len(table) != n_rows:
        raise ValueError(
            f"{path.name} has {len(table):,} rows, and the matrix has {n_rows:,}: remove a heading, if any."
        )
    return table


def _beside(folder: Path, *names: str) -> Path:
    for name in names:
        for path in (folder / name, folder / f"{name}.gz"):
            if path.is_file():
                return path
    raise FileNotFoundError(f"{folder} has no {' or '.join(names)}, gzipped or not.")


def _of_type(adata: ad.AnnData, role: str, path: Path) -> ad.AnnData:
    """Take the features of one modality, where the file says which those are."""
    if "feature_types" not in adata.var:
        return adata
    of_type = (adata.var["feature_types"] == _TYPES[role]).to_numpy()
    if not of_type.any():
        found = sorted(adata.var["feature_types"].astype(str).unique())
        raise ValueError(f"{path} has no features of the type {_TYPES[role]!r}, but {found}.")
    return adata if of_type.all() else adata[:, of_type].copy()

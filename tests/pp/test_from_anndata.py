"""From the files and objects that people have to one MuData."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest
from scipy import io, sparse

from scdart.pp import from_anndata, from_files

if TYPE_CHECKING:
    from pathlib import Path

GENES, PEAKS = ["Sox2", "Pax6", "Sox2"], ["chr1:1-50", "chr2:10-900"]


def cells(names: list[str], features: list[str], seed: int = 0) -> ad.AnnData:
    counts = np.random.default_rng(seed).poisson(2, (len(names), len(features))).astype("float32")
    adata = ad.AnnData(sparse.csr_matrix(counts), pd.DataFrame(index=names))
    adata.var_names = features
    return adata


@pytest.fixture
def rna() -> ad.AnnData:
    return cells(["A", "B", "C"], ["Sox2", "Pax6"])


@pytest.fixture
def atac() -> ad.AnnData:
    return cells(["B", "C", "D", "E"], PEAKS, 1)


def test_tables_of_the_user_keep_their_names(rna, atac):
    rna.obsm["order"] = pd.DataFrame({"a": range(3)}, index=rna.obs_names)
    rna.varm["genes"] = pd.DataFrame({"a": range(2)}, index=rna.var_names)
    assert from_anndata(rna, atac)["rna"].obsm["order"].index.to_list() == ["A-rna", "B-rna", "C-rna"]
    assert rna.obsm["order"].index.to_list() == ["A", "B", "C"]
    assert rna.varm["genes"].index.equals(rna.var_names)


def test_cells_of_one_name_are_told_apart(rna, atac):
    atac.obs["sample"] = list("wxyz")
    mdata = from_anndata(rna, atac)
    assert mdata.n_obs == 7
    assert mdata["atac"].obs_names.to_list() == ["B-atac", "C-atac", "D-atac", "E-atac"]
    assert mdata["atac"].obs["sample"].to_list() == list("wxyz")
    assert (rna.obs_names.to_list(), atac.obs_names.to_list()) == (["A", "B", "C"], ["B", "C", "D", "E"])
    assert mdata["rna"].X is rna.X
    mdata["rna"].obsm["new"] = np.zeros((3, 1))
    assert "new" not in rna.obsm


def test_names_stay_where_they_tell_cells_apart_or_are_said_to_be_one(rna, atac):
    assert from_anndata(rna, atac, paired=True).obs_names.to_list() == ["A", "B", "C", "D", "E"]
    atac.obs_names = list("wxyz")
    mdata = from_anndata(rna[:2], atac, rna_mod="gex", atac_mod="peaks")
    assert mdata.obs_names.to_list() == [*"ABwxyz"]
    assert list(mdata.mod) == ["gex", "peaks"]


@pytest.mark.filterwarnings("ignore:Variable names are not unique")
def test_repeated_symbols_are_made_unique(atac):
    rna = cells(["A", "B"], GENES)
    assert from_anndata(rna, atac)["rna"].var_names.to_list() == ["Sox2", "Pax6", "Sox2-1"]
    assert rna.var_names.to_list() == GENES


@pytest.mark.filterwarnings("ignore:Observation names are not unique")
def test_bad_objects(rna, atac, tmp_path):
    with pytest.raises(TypeError, match=r"atac is a str, .*anndata.read_h5ad\(path\)"):
        from_anndata(rna, "atac.h5ad")
    with pytest.raises(ValueError, match=r"rna has peaks \('chr1:1-50'\) and atac has genes \('Sox2'\)"):
        from_anndata(atac, rna)
    with pytest.raises(ValueError, match="both 'rna'"):
        from_anndata(rna, atac, atac_mod="rna")
    with pytest.raises(ValueError, match=r"rna.obs_names must be unique, and 'A' is there several"):
        from_anndata(cells(["A", "A"], ["Sox2"]), atac)
    rna.write(tmp_path / "rna.h5ad")
    with pytest.raises(ValueError, match=r"to_memory\(\)"):
        from_anndata(ad.read_h5ad(tmp_path / "rna.h5ad", backed="r"), atac)


# Files


def write_h5(path: Path, adata: ad.AnnData, types: list[str]) -> Path:
    """As Cell Ranger writes it: features x cells, compressed by cell."""
    with h5py.File(path, "w") as file:
        matrix = file.create_group("matrix")
        for name in ("data", "indices", "indptr"):
            matrix[name] = getattr(adata.X, name)
        matrix["data"][...] = matrix["data"][...].astype(int)
        matrix["shape"] = np.array(adata.shape[::-1])
        matrix["barcodes"] = adata.obs_names.to_numpy().astype("S")
        features = {
            "id": adata.var_names,
            "name": adata.var_names,
            "feature_type": types,
            "genome": ["mm10"] * len(types),
        }
        for name, values in features.items():
            matrix[f"features/{name}"] = np.array(values).astype("S")
    return path


def write_folder(path: Path, adata: ad.AnnData, types: list[str] | None, suffix: str) -> Path:
    path.mkdir()
    names = adata.var_names
    if types is None:
        tables = {"peaks.bed": ["# a comment", *names.str.replace(r"[:-]", "\t", regex=True)]}
    else:
        rows = zip(["id" + name for name in names], names, types, strict=True)
        tables = {"features.tsv": ["\t".join(row) for row in rows]}
    io.mmwrite(path / "matrix.mtx", adata.X.T.tocoo())
    tables |= {"barcodes.tsv": list(adata.obs_names), "matrix.mtx": (path / "matrix.mtx").read_text().splitlines()}
    (path / "matrix.mtx").unlink()
    for name, lines in tables.items():
        text = "\n".join([*lines, ""]).encode()
        (path / (name + suffix)).write_bytes(gzip.compress(text) if suffix else text)
    return path


GEX, PEAK = ["Gene Expression"] * 2, ["Peaks"] * 2


def write_h5ad(path: Path, adata: ad.AnnData) -> Path:
    adata.write(path)
    return path


WAYS = {
    "h5ad": lambda folder, rna, atac: (
        write_h5ad(folder / "rna.h5ad", rna),
        write_h5ad(folder / "atac.h5ad", atac),
    ),
    "h5": lambda folder, rna, atac: (
        write_h5(folder / "rna.h5", rna, GEX),
        write_h5(folder / "atac.h5", atac, PEAK),
    ),
    "folders": lambda folder, rna, atac: (
        write_folder(folder / "rna", rna, GEX, ".gz"),
        write_folder(folder / "atac", atac, None, ""),
    ),
}


@pytest.mark.parametrize("way", WAYS)
def test_files_hold_what_the_objects_did(rna, atac, tmp_path, way):
    expected = from_anndata(rna, atac)
    mdata = from_files(*WAYS[way](tmp_path, rna, atac))
    assert mdata.obs_names.equals(expected.obs_names)
    for mod in ("rna", "atac"):
        np.testing.assert_array_equal(mdata[mod].X.toarray(), expected[mod].X.toarray())
        assert mdata[mod].var_names.to_list() == expected[mod].var_names.to_list()


@pytest.mark.parametrize("write", [write_h5, lambda path, *content: write_folder(path, *content, ".gz")])
def test_a_multiome_is_one_file(tmp_path, write):
    both = cells(["A", "B", "C"], ["Sox2", "Pax6", *PEAKS])
    path = write(tmp_path / "multiome.h5", both, [*GEX, *PEAK])
    mdata = from_files(path)
    assert mdata.obs_names.to_list() == ["A", "B", "C"]
    assert {mod: mdata[mod].var_names.to_list() for mod in mdata.mod} == {"rna": ["Sox2", "Pax6"], "atac": PEAKS}
    assert from_files(path, tmp_path / "multiome.h5").n_obs == 3


def test_bad_files(rna, atac, tmp_path):
    (tmp_path / "text.h5ad").write_text("no HDF5")
    (tmp_path / "empty").mkdir()
    rna_file = write_h5ad(tmp_path / "rna.h5ad", rna)
    peaks = write_h5(tmp_path / "peaks.h5", atac, PEAK)
    for paths, error, message in (
        (("none.h5ad", rna_file), FileNotFoundError, "rna=.*none.h5ad' does not exist"),
        ((tmp_path / "text.h5ad", rna_file), ValueError, r"text.h5ad cannot be read as .h5ad"),
        ((tmp_path / "empty", rna_file), ValueError, r"empty cannot be read as a folder of 10x: .* no matrix.mtx"),
        ((tmp_path, rna_file), ValueError, "no matrix.mtx"),
        ((peaks, rna_file), ValueError, r"peaks.h5 has no features of the type 'Gene Expression', but \['Peaks'\]"),
        ((rna_file,), ValueError, "does not say which of its features are genes"),
    ):
        with pytest.raises(error, match=message):
            from_files(*paths)
    (tmp_path / "table.csv").write_text("a")
    with pytest.raises(ValueError, match=r"table.csv is none of .h5ad, .h5 of Cell Ranger"):
        from_files(tmp_path / "table.csv", rna_file)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("barcodes.tsv", "barcode\nB\nC\nD\nE\n", "barcodes.tsv has 5 rows, and the matrix has 4: remove a heading"),
        ("barcodes.tsv.gz", "B\nC\nD\nE\n", "barcodes.tsv.gz is no table, or not gzipped as its name says"),
        ("peaks.bed", "chr1\t1\n" * 2, "peaks.bed has 2 tab-separated columns, and needs chrom"),
        ("matrix.mtx", "%%MatrixMarket matrix coordinate integer general\n2 4 2\n1 1 4\n", "folder of 10x"),
    ],
)
def test_bad_folders(atac, tmp_path, file, content, message):
    folder = write_folder(tmp_path / "atac", atac, None, "")
    (folder / file.removesuffix(".gz")).unlink()
    (folder / file).write_text(content)
    with pytest.raises(ValueError, match=f"atac cannot be read as .*{message}"):
        from_files(write_h5ad(tmp_path / "rna.h5ad", atac), folder)

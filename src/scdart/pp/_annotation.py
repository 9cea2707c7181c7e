"""Gene annotations, read as tables of 0-based half-open intervals."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import pandas as pd

from scdart._intervals import SYNONYMS, checked_intervals, column_of, without_version
from scdart._progress import parts

from ._gene_files import read_bed, read_gff

if TYPE_CHECKING:
    from os import PathLike

_STRANDS: Final = {"1": "+", "+1": "+", "-1": "-", "+": "+", "-": "-"}
_BED: Final = (".bed",)
_GFF: Final = (".gtf", ".gff", ".gff2", ".gff3")


def read_annotation(
    annotation: str | PathLike[str] | pd.DataFrame, *, gene_name_key: str = "gene_name", gene_id_key: str = "gene_id"
) -> pd.DataFrame:
    """Read where genes are.

    Parameters
    ----------
    annotation
        BED, GTF or GFF3 file, gzipped or not, or a table with one interval a row.
    gene_name_key, gene_id_key
        Attributes of the file, or columns of the table, with the names and the identifiers of the genes. Where a GFF3
        file lacks them, those are `Name` or `gene`, and `ID`.

    Returns
    -------
    Table with the columns ``chrom`` (as written in the annotation), ``start``, ``end`` (0-based, half-open), ``strand``
    (``"+"``, ``"-"`` or ``"."``), ``name`` and ``id`` (Ensembl versions removed). Where an annotation has only one of
    the last two, both hold it. A gene may have several rows.

    Raises
    ------
    ValueError
        The file is none of these, is damaged, or holds rows that are not intervals.
    KeyError
        Coordinates or gene names are not where they are expected.
    """
    if isinstance(annotation, pd.DataFrame):
        table, what = _from_table(annotation, gene_name_key, gene_id_key), "annotation: genes"
        labels = [repr(name) for name in table["name"].fillna(table["id"])]
    else:
        path = Path(annotation)
        with parts("Annotation", 1) as begin:
            begin(path.name)
            table, what = _from_file(path, gene_name_key, gene_id_key), f"{path}: genes"
        named = zip(table["name"].fillna(table["id"]), table["line"], strict=True)
        labels = [f"{name!r} in line {line:,}" for name, line in named]
    intervals = checked_intervals(table, labels, what, "Correct or remove these rows.")
    intervals["strand"] = table["strand"].astype(str).str.strip().map(_STRANDS).fillna(".").to_numpy()
    name, identifier = (without_version(table[column]) for column in ("name", "id"))
    intervals["name"], intervals["id"] = name.fillna(identifier).to_numpy(), identifier.fillna(name).to_numpy()
    if "transcript" in table:
        # The introns between the exons of a transcript belong to the gene.
        keys = ["chrom", "strand", "name", "id", "transcript"]
        exons = intervals.assign(transcript=table["transcript"].to_numpy())
        intervals = exons.groupby(keys, dropna=False).agg({"start": "min", "end": "max"}).reset_index()
        intervals = intervals.drop(columns="transcript")
    return intervals[intervals["name"].notna()].reset_index(drop=True)


def _from_table(annotation: pd.DataFrame, gene_name_key: str, gene_id_key: str) -> pd.DataFrame:
    columns = {field: column_of(annotation, field) for field in SYNONYMS}
    if gene_name_key in annotation:
        columns["name"] = gene_name_key
    missing = [field for field in ("chrom", "start", "end") if columns[field] is None]
    if missing:
        raise KeyError(f"annotation has no column for {missing}: its columns are {list(annotation.columns)}")
    if columns["name"] is None and gene_id_key not in annotation:
        raise KeyError(
            f"annotation has no column with gene names: neither gene_name_key={gene_name_key!r} nor "
            f"gene_id_key={gene_id_key!r} is among {list(annotation.columns)}"
        )
    if columns["feature"] is not None and (annotation[columns["feature"]] == "gene").any():
        # A GTF read as a table lists transcripts and exons too: their promoters are not the gene's.
        annotation = annotation[annotation[columns["feature"]] == "gene"]
    table = pd.DataFrame({field: annotation[column] if column else None for field, column in columns.items()})
    table["id"] = annotation[gene_id_key] if gene_id_key in annotation else table["name"]
    return table


def _from_file(path: Path, gene_name_key: str, gene_id_key: str) -> pd.DataFrame:
    if str(path).lower().startswith(("http:", "https:", "ftp:")):
        raise ValueError(f"annotation={str(path)!r} is an address: download the file, and pass its path.")
    if path.is_dir():
        raise FileNotFoundError(f"annotation={str(path)!r} is a folder, not a file.")
    name = path.name.lower()
    kind = Path(name.removesuffix(".gz").removesuffix(".bgz")).suffix
    if kind not in (*_BED, *_GFF):
        raise ValueError(
            f"annotation={str(path)!r} has the suffix {kind!r}: expected one of {[*_BED, *_GFF]}, or one of these with "
            ".gz. Read another format into a DataFrame and pass that."
        )
    if not path.is_file():
        raise FileNotFoundError(f"annotation={str(path)!r} does not exist.")
    return read_bed(path) if kind in _BED else read_gff(path, gene_name_key, gene_id_key)

"""Gene annotations and peak coordinates, read as tables of 0-based half-open intervals."""

from __future__ import annotations

import csv
import gzip
import re
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Final

import bioframe as bf
import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from os import PathLike

#: What tools call the columns of an interval table, in lower case and in order of preference.
_SYNONYMS: Final = {
    "chrom": ("chrom", "#chrom", "chr", "chromosome", "seqnames", "seqname", "seqid", "contig"),
    "start": ("start", "chromstart", "chrom_start", "txstart"),
    "end": ("end", "stop", "chromend", "chrom_end", "txend"),
    "strand": ("strand",),
    "feature": ("feature",),
    "name": ("name", "gene_name", "symbol", "gene_symbol", "gene"),
}
#: The contig is matched greedily: it may hold every separator itself, as in chr1_KI270706v1_random_100_200.
_PEAK_NAME: Final = re.compile(r"^(?P<chrom>.+)[:_-](?P<start>\d+)[_-](?P<end>\d+)$")
#: Only Ensembl identifiers have versions: the number in a symbol such as AC012345.1 is part of the name.
_ENSEMBL_VERSION: Final = re.compile(r"^(ENS[A-Z]*\d{11})\.\d+(?:_PAR_Y)?$")
#: Rows of a GTF that can stand for a gene; transcripts and exons are used where a file lists nothing wider.
_GTF_FEATURES: Final = ("gene", "transcript", "exon")
_GTF_CHUNK: Final = 200_000
_STRANDS: Final = {"1": "+", "+1": "+", "-1": "-", "+": "+", "-": "-"}


def read_annotation(
    annotation: str | PathLike[str] | pd.DataFrame, *, gene_name_key: str = "gene_name", gene_id_key: str = "gene_id"
) -> pd.DataFrame:
    """Read where genes are.

    Parameters
    ----------
    annotation
        BED or GTF file, either of them gzipped or not, or a table with one interval a row.
    gene_name_key, gene_id_key
        GTF attributes, or columns of the table, with the names and the identifiers of the genes.

    Returns
    -------
    Table with the columns ``chrom`` (as written in the annotation), ``start``, ``end`` (0-based, half-open), ``strand``
    (``"+"``, ``"-"`` or ``"."``), ``name`` and ``id`` (Ensembl versions removed). Where an annotation has only one of
    the last two, both hold it. A gene may have several rows.

    Raises
    ------
    ValueError
        The file is neither BED nor GTF, or holds rows that are not intervals.
    KeyError
        Coordinates or gene names are not where they are expected.
    """
    if isinstance(annotation, pd.DataFrame):
        table, source = _from_table(annotation, gene_name_key, gene_id_key), "annotation"
    else:
        path = Path(annotation)
        source = str(path)
        kind = Path(path.name.lower().removesuffix(".gz")).suffix
        if kind == ".bed":
            table = _from_bed(path)
        elif kind == ".gtf":
            table = _from_gtf(path, gene_name_key, gene_id_key)
        else:
            raise ValueError(
                f"annotation={source!r} has the suffix {kind!r}: expected .bed, .bed.gz, .gtf or .gtf.gz. "
                "Read another format into a DataFrame and pass that."
            )
    intervals = _checked_intervals(table, table["name"], f"{source}: genes", "Correct or remove these rows.")
    intervals["strand"] = table["strand"].astype(str).str.strip().map(_STRANDS).fillna(".").to_numpy()
    name, identifier = (without_version(table[column]) for column in ("name", "id"))
    intervals["name"], intervals["id"] = name.fillna(identifier).to_numpy(), identifier.fillna(name).to_numpy()
    return intervals[intervals["name"].notna()].reset_index(drop=True)


def peak_intervals(var: pd.DataFrame, slot: str) -> pd.DataFrame:
    """Coordinates of peaks, from the columns of ``var`` where it has them and else from its index.

    Parameters
    ----------
    var
        Table with one peak a row.
    slot
        What to call ``var`` in messages.

    Returns
    -------
    Table with the columns ``chrom`` (as written), ``start`` and ``end`` (0-based, half-open), in the order of ``var``.

    Raises
    ------
    ValueError
        Some peaks are not intervals.
    """
    columns = [_column(var, field) for field in ("chrom", "start", "end")]
    if None in columns:
        table, where = pd.Series(var.index.astype(str)).str.extract(_PEAK_NAME), f"{slot}.index"
    else:
        table, where = var[columns].set_axis(["chrom", "start", "end"], axis=1), f"{slot}[{columns}]"
    fix = (
        "Name peaks 'chr1:100-200', 'chr1-100-200' or 'chr1_100_200', or put their coordinates in the columns "
        f"'chrom', 'start' and 'end' of {slot}. If these are genes, the names of the two modalities are swapped."
    )
    return _checked_intervals(table, var.index.to_series(), f"{where}: peaks", fix)


def chromosome_key(chrom: pd.Series) -> pd.Series:
    """Names of chromosomes without what UCSC and Ensembl write differently: the prefix `chr`, and `M` for `MT`."""
    return chrom.astype(str).str.replace(r"^chr(?=.)", "", case=False, regex=True).replace("M", "MT")


def without_version(names: pd.Series) -> pd.Series:
    """Names of genes with the version removed from Ensembl identifiers."""
    return names.astype("string").str.replace(_ENSEMBL_VERSION, r"\1", regex=True).astype(object)


def _column(table: pd.DataFrame, field: str) -> str | None:
    """Name of the column of ``table`` that holds ``field``, if any."""
    by_name = {str(column).lower(): column for column in reversed(table.columns)}
    return next((by_name[name] for name in _SYNONYMS[field] if name in by_name), None)


def _checked_intervals(table: pd.DataFrame, labels: pd.Series, what: str, fix: str) -> pd.DataFrame:
    start, end = (pd.to_numeric(table[side], errors="coerce").to_numpy(float) for side in ("start", "end"))
    whole = (start % 1 == 0) & (end % 1 == 0)
    valid = table["chrom"].notna().to_numpy() & whole & (start >= 0) & (end > start)
    if not valid.all():
        examples = ", ".join(repr(label) for label in labels[~valid].head(3))
        raise ValueError(
            f"{what} must be intervals with whole numbers 0 <= start < end, but {np.sum(~valid):,} of {len(valid):,} "
            f"are not, for example {examples}. {fix}"
        )
    return pd.DataFrame(
        {"chrom": table["chrom"].astype(str).to_numpy(), "start": start.astype(np.int64), "end": end.astype(np.int64)}
    )


def _from_table(annotation: pd.DataFrame, gene_name_key: str, gene_id_key: str) -> pd.DataFrame:
    columns = {field: _column(annotation, field) for field in _SYNONYMS}
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


def _from_bed(path: Path) -> pd.DataFrame:
    table = bf.read_table(
        str(path), dtype=str, keep_default_na=False, skiprows=_n_header_lines(path, ("#", "track", "browser"))
    )
    if table.shape[1] < 4:
        raise ValueError(
            f"{path} has {table.shape[1]} tab-separated columns: a BED file of genes needs at least chrom, start, end "
            "and name."
        )
    # BED6 has the strand in column 6, after a score; files of genes without scores have it in column 5.
    strand = next((table[i] for i in (5, 4) if i in table and table[i].isin(["+", "-", "."]).all()), None)
    return pd.DataFrame(
        {"chrom": table[0], "start": table[1], "end": table[2], "strand": strand, "name": table[3], "id": table[3]}
    )


def _from_gtf(path: Path, gene_name_key: str, gene_id_key: str) -> pd.DataFrame:
    for feature in _GTF_FEATURES:
        rows = _gtf_rows(path, feature)
        if len(rows):
            break
    else:
        raise ValueError(f"{path} has no rows of the features {_GTF_FEATURES}: it does not describe genes as GTF does.")
    name, identifier, transcript = (
        _gtf_attribute(rows["attributes"], key) for key in (gene_name_key, gene_id_key, "transcript_id")
    )
    if name.isna().all() and identifier.isna().all():
        raise KeyError(
            f"{path} has neither gene_name_key={gene_name_key!r} nor gene_id_key={gene_id_key!r} among the attributes "
            f"of its {feature} rows, for example {rows['attributes'].iloc[0]!r}"
        )
    rows["name"], rows["id"] = name, identifier
    for side in ("start", "end"):
        rows[side] = pd.to_numeric(rows[side], errors="coerce")
    rows["start"] -= 1  # GTF counts from 1 and includes the end
    if feature == "exon":
        # The introns between the exons of a transcript belong to the gene.
        keys = ["chrom", "strand", "name", "id", transcript.rename("transcript")]
        rows = rows.groupby(keys, dropna=False).agg({"start": "min", "end": "max"}).reset_index()
    return rows


def _gtf_rows(path: Path, feature: str) -> pd.DataFrame:
    # In pieces, because whole-genome files have millions of rows, nearly all of them of other features.
    chunks = bf.read_table(
        str(path),
        schema="gtf",
        usecols=["chrom", "feature", "start", "end", "strand", "attributes"],
        dtype=str,
        quoting=csv.QUOTE_NONE,
        skiprows=_n_header_lines(path, ("#",)),
        chunksize=_GTF_CHUNK,
    )
    return pd.concat([chunk[chunk["feature"] == feature] for chunk in chunks], ignore_index=True)


def _gtf_attribute(attributes: pd.Series, key: str) -> pd.Series:
    return attributes.str.extract(rf'(?:^|;)\s*{re.escape(key)}\s+"?([^";]+)', expand=False)


def _n_header_lines(path: Path, prefixes: tuple[str, ...]) -> int:
    open_text = gzip.open if path.suffix.lower() == ".gz" else open
    with open_text(path, "rt") as lines:
        return sum(1 for _ in takewhile(lambda line: line.startswith(prefixes), lines))

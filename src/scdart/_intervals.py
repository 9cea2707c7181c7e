"""Positions on the genome: 0-based half-open intervals, and the names of genes and chromosomes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from collections.abc import Sequence

#: What tools call the columns of an interval table, in lower case and in order of preference.
SYNONYMS: Final = {
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
_ENSEMBL_VERSION: Final = re.compile(r"^(ENS[A-Z]*\d+)\.\d+(?:_PAR_Y)?$")
#: Up to here a float holds every whole number. No chromosome is so long.
_LAST_BASE: Final = 2**53


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
    columns = [column_of(var, field) for field in ("chrom", "start", "end")]
    if None in columns:
        table, where = pd.Series(var.index.astype(str)).str.extract(_PEAK_NAME), f"{slot}.index"
    else:
        table, where = var[columns].set_axis(["chrom", "start", "end"], axis=1), f"{slot}[{columns}]"
    fix = (
        "Name peaks 'chr1:100-200', 'chr1-100-200' or 'chr1_100_200', or put their coordinates in the columns "
        f"'chrom', 'start' and 'end' of {slot}. If these are genes, the names of the two modalities are swapped, or "
        "there are gene scores in place of peaks: scdart.pp.gene_scores(mdata)."
    )
    return checked_intervals(table, [repr(name) for name in var.index], f"{where}: peaks", fix)


def checked_intervals(table: pd.DataFrame, labels: Sequence[str], what: str, fix: str) -> pd.DataFrame:
    """Get the columns ``chrom``, ``start`` and ``end`` as text and whole numbers.

    Parameters
    ----------
    table
        Table with these columns.
    labels
        What to call each row in a message.
    what, fix
        What the rows are, and what to do about wrong ones, for the same message.

    Returns
    -------
    Table of these columns, numbered anew.

    Raises
    ------
    ValueError
        Some rows are not intervals.
    """
    start, end = (pd.to_numeric(table[side], errors="coerce").to_numpy(float) for side in ("start", "end"))
    whole = (np.floor(start) == start) & (np.floor(end) == end)
    valid = table["chrom"].notna().to_numpy() & whole & (start >= 0) & (end > start) & (end <= _LAST_BASE)
    if not valid.all():
        wrong = np.flatnonzero(~valid)
        raise ValueError(
            f"{what} must be intervals with whole numbers 0 <= start < end, but {len(wrong):,} of {len(valid):,} "
            f"are not, for example {', '.join(labels[row] for row in wrong[:3])}. {fix}"
        )
    return pd.DataFrame(
        {"chrom": table["chrom"].astype(str).to_numpy(), "start": start.astype(np.int64), "end": end.astype(np.int64)}
    )


def column_of(table: pd.DataFrame, field: str) -> str | None:
    """Name of the column of ``table`` that holds ``field``, a key of :data:`SYNONYMS`, if any."""
    by_name = {str(column).lower(): column for column in reversed(table.columns)}
    return next((by_name[name] for name in SYNONYMS[field] if name in by_name), None)


def chromosome_key(chrom: pd.Series) -> pd.Series:
    """Names of chromosomes without what UCSC and Ensembl write differently: the prefix `chr`, and `M` for `MT`."""
    return chrom.astype(str).str.replace(r"^chr(?=.)", "", case=False, regex=True).replace("M", "MT")


def without_version(names: pd.Series) -> pd.Series:
    """Names of genes with the version removed from Ensembl identifiers."""
    return names.astype("string").str.replace(_ENSEMBL_VERSION, r"\1", regex=True).astype(object)

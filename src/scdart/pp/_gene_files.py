"""Files that say where genes are: BED, GTF and GFF3, line by line, so that what is wrong can be found."""

from __future__ import annotations

import gzip
import re
import zlib
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

import pandas as pd

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_GZIP: Final = b"\x1f\x8b"
_N_COLUMNS: Final = 9
#: Rows that can stand for a gene, the widest first; `gene` ends `pseudogene` and the `ncRNA_gene` of Ensembl too.
_FEATURES: Final = (re.compile(".*gene"), re.compile("transcript|mRNA"), re.compile("exon"))
_GFF3: Final = re.compile(r'\s*[^\s=;"]+=')
#: Quoted text may hold quotes and semicolons: it ends where the next attribute, a comment or nothing follows.
_GTF_ATTRIBUTE: Final = re.compile(
    r"""([^\s;"]+)\s+
    (?: "(.*?)(?<!\\)" (?=\s*(?: $ | \# | ;\s*(?: $ | \# | [^\s;"]+\s+(?: " | [^\s;"]+\s*(?:;|$) ) ) ) )
      | ([^\s;"]+) )
    \s*(?:;|$|\#)""",
    re.VERBOSE,
)
#: Ensembl and RefSeq say in an ID what it is of: `gene:ENSG00000139618`, `gene-BRCA2`.
_ID_PREFIX: Final = re.compile("^gene[:-]")


def read_bed(path: Path) -> pd.DataFrame:
    """Read the intervals of a BED file.

    Parameters
    ----------
    path
        The file, gzipped or not.

    Returns
    -------
    Table with the columns ``line``, ``chrom``, ``start``, ``end``, ``strand``, ``name`` and ``id``, as written.

    Raises
    ------
    ValueError
        The file cannot be read, or has too few columns or another number of them in some lines.
    """
    rows: list[list[object]] = []
    width = 0
    for number, line in _lines(path):
        if line.startswith("#") or line.split(None, 1)[0] in ("track", "browser"):
            continue
        fields = line.split("\t")
        width = width or len(fields)
        if len(fields) < 4:
            raise ValueError(
                f"{path}, line {number:,} has {len(fields)} tab-separated columns: a BED file of genes needs at least "
                "chrom, start, end and name."
            )
        if len(fields) != width:
            raise ValueError(
                f"{path}, line {number:,} has {len(fields)} tab-separated columns, and those before have {width}: "
                "correct it, or fetch the file again if it is cut off."
            )
        rows.append([number, *fields])
    _check_any(rows, path)
    table = pd.DataFrame(rows)
    # BED6 has the strand in column 6, after a score; files of genes without scores have it in column 5.
    strand = next((table[i] for i in (6, 5) if i in table and table[i].isin(["+", "-", "."]).all()), None)
    columns = {"line": table[0], "chrom": table[1], "start": table[2], "end": table[3], "strand": strand}
    return pd.DataFrame({**columns, "name": table[4], "id": table[4]})


def read_gff(path: Path, gene_name_key: str, gene_id_key: str) -> pd.DataFrame:
    """Read the genes of a GTF or GFF3 file; transcripts or exons where it lists no genes.

    Parameters
    ----------
    path
        The file, gzipped or not. How its attributes are written tells GTF from GFF3.
    gene_name_key, gene_id_key
        Attributes with the names and identifiers of the genes. Where a GFF3 file lacks them, those are ``Name`` or
        ``gene``, and ``ID``.

    Returns
    -------
    Table with the columns ``line``, ``chrom``, ``start``, ``end``, ``strand``, ``name`` and ``id``, 0-based and
    half-open, and ``transcript`` if its rows are exons.

    Raises
    ------
    ValueError
        The file cannot be read, or a line lacks columns.
    KeyError
        The rows of the genes have none of the attributes.
    """
    rows, feature = _rows_of_genes(path)
    table = pd.DataFrame(rows, columns=["line", "chrom", "start", "end", "strand", "attributes"])
    table["start"] = pd.to_numeric(table["start"], errors="coerce") - 1  # counts from 1 and includes the end
    table["end"] = pd.to_numeric(table["end"], errors="coerce")
    attributes = [_attributes(text) for text in table["attributes"]]
    table["name"] = [_first(each, gene_name_key, "Name", "gene") for each in attributes]
    table["id"] = [_first(each, gene_id_key, "ID") for each in attributes]
    table["id"] = table["id"].str.replace(_ID_PREFIX, "", regex=True)
    if table["name"].isna().all() and table["id"].isna().all():
        raise KeyError(
            f"{path} has neither gene_name_key={gene_name_key!r} nor gene_id_key={gene_id_key!r} among the attributes "
            f"of its {feature} rows, for example {rows[0][-1]!r} in line {rows[0][0]:,}."
        )
    if feature == "exon":
        table["transcript"] = [_first(each, "transcript_id", "Parent") for each in attributes]
    return table.drop(columns="attributes")


def _rows_of_genes(path: Path) -> tuple[list[tuple], str]:
    """Rows of the widest feature that stands for a gene, and its name; whole genomes have millions of others."""
    ranks: dict[str, int] = {}
    rows: list[tuple] = []
    best, found, empty = len(_FEATURES), "", True
    for number, line in _lines(path):
        if line.startswith(("##FASTA", ">")):
            break
        if line.startswith("#"):
            continue
        fields = line.split("\t", _N_COLUMNS - 1)
        if len(fields) < _N_COLUMNS:
            raise ValueError(
                f"{path}, line {number:,} has {len(fields)} tab-separated columns, and GTF and GFF3 have {_N_COLUMNS}: "
                "correct it, or fetch the file again if it is cut off."
            )
        empty = False
        chrom, _, feature, start, end, _, strand, _, attributes = fields
        if feature not in ranks:
            ranks[feature] = next((i for i, each in enumerate(_FEATURES) if each.fullmatch(feature)), len(_FEATURES))
        if ranks[feature] < best:
            best, rows, found = ranks[feature], [], feature
        if ranks[feature] == best < len(_FEATURES):
            rows.append((number, unquote(chrom), start, end, strand, attributes))
    _check_any([] if empty else [True], path)
    if not rows:
        raise ValueError(
            f"{path} has no rows of the features 'gene', 'transcript' or 'exon': it does not describe genes as GTF and "
            f"GFF3 do. Its features are {sorted(ranks)[:5]}."
        )
    return rows, found


def _attributes(text: str) -> dict[str, str]:
    """Get the attributes of a row; of those that are repeated the first."""
    if _GFF3.match(text):
        pairs = [part.split("=", 1) for part in text.split(";") if "=" in part]
        # percent-encoding keeps what separates attributes out of their text
        return {unquote(key.strip()): unquote(value.strip()) for key, value in reversed(pairs)}
    found = _GTF_ATTRIBUTE.findall(text)
    return {key: (quoted or plain).replace(r"\"", '"') for key, quoted, plain in reversed(found)}


def _first(attributes: dict[str, str], *keys: str) -> str | None:
    return next((attributes[key] for key in keys if attributes.get(key)), None)


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Get number and text of each line that is not blank; content tells what is gzipped, whatever its name."""
    number = 0
    with path.open("rb") as file:
        packed = file.read(len(_GZIP)) == _GZIP
        file.seek(0)
        try:
            for number, line in enumerate(gzip.GzipFile(fileobj=file) if packed else file, 1):
                if b"\0" in line:
                    raise ValueError(f"{path}, line {number:,} is no text: fetch the file again, or unpack it first.")
                text = line.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
                if text and not text.isspace():
                    yield number, text
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise ValueError(
                f"{path} is gzipped, and cut off or damaged after line {number:,}: {error}. Fetch it again."
            ) from error
        except UnicodeDecodeError as error:
            raise ValueError(
                f"{path}, line {number:,} is no text in UTF-8: {error.reason}. Convert the file."
            ) from error


def _check_any(rows: list, path: Path) -> None:
    if not rows:
        raise ValueError(f"{path} has no lines but comments: fetch it again.")

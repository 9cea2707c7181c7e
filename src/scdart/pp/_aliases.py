"""Names of one gene: what a table of aliases says about genes that an annotation calls something else."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd

from scdart._intervals import without_version

if TYPE_CHECKING:
    from collections.abc import Iterator

#: What separates several names in a cell of a table, as in those of HGNC and MGI.
_SEPARATOR = "|"


def synonyms(aliases: Mapping[str, str | Iterable[str]] | pd.Series | pd.DataFrame) -> pd.DataFrame:
    """Read which names are of one gene.

    Parameters
    ----------
    aliases
        Name and other names of genes, or a table with one gene a row.

    Returns
    -------
    Table with the columns ``gene``, a number, and ``key``, one of its names.

    Raises
    ------
    TypeError
        It is neither.
    ValueError
        It holds no names.
    """
    if not isinstance(aliases, Mapping | pd.Series | pd.DataFrame):
        raise TypeError(
            f"aliases is a {type(aliases).__name__}: pass a mapping from a name to other names of the same gene, or a "
            "table with the names of one gene in each row."
        )
    named = [(row, name) for row, names in enumerate(_rows(aliases)) for name in names]
    table = pd.DataFrame(named, columns=["gene", "key"])
    if table.empty:
        raise ValueError("aliases holds no names: pass a mapping, or a table whose cells are names of genes.")
    table["key"] = without_version(table["key"])
    return table.drop_duplicates()


def match_by_aliases(genes: pd.DataFrame, annotated: pd.DataFrame, known: pd.DataFrame) -> pd.DataFrame:
    """Find genes under their other names.

    Parameters
    ----------
    genes, annotated
        Names to find, and those of the annotation: columns ``key``, and ``wanted`` or ``name``, which tell genes apart.
    known
        What :func:`synonyms` read.

    Returns
    -------
    Table with the columns ``wanted`` and ``name``. A name that stands for several genes of the annotation is not in it.
    """
    pairs = genes.merge(known, on="key").merge(annotated.merge(known, on="key"), on="gene", suffixes=("", "_annotated"))
    pairs = pairs[["wanted", "name"]].drop_duplicates()
    return pairs[~pairs["wanted"].duplicated(keep=False)]


def _rows(aliases: Mapping[str, Any] | pd.Series | pd.DataFrame) -> Iterator[Iterator[str]]:
    if isinstance(aliases, pd.DataFrame):
        rows: Iterable[Iterable[Any]] = aliases.itertuples(index=False, name=None)
    else:
        rows = ((name, *([others] if isinstance(others, str) else others)) for name, others in aliases.items())
    for row in rows:
        # Cells without a name are missing values or numbers
        yield (part.strip() for name in row if isinstance(name, str) for part in name.split(_SEPARATOR) if part.strip())

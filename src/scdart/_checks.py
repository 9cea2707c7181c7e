"""Checks of the user's data that several packages share, with messages that say what to do."""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import pandas as pd
from mudata import MuData
from scipy import sparse

from ._chunks import mapped, on_disk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from anndata import AnnData

    from ._chunks import Rows

T = TypeVar("T")

#: More than any machine has counted, and what sums of fit into 32 bits.
_MOST_COUNTS = 1e12

#: What was found out about counts since a public function was entered; ``None`` outside of :func:`checked_once`.
_known: ContextVar[list[tuple[Any, str, Any]] | None] = ContextVar("_known", default=None)


def check_modalities(mdata: MuData, **mods: str) -> None:
    """Raise unless the modalities, named by their arguments, are there and are different ones."""
    check_mudata(mdata)
    for argument, mod in mods.items():
        if mod not in mdata.mod:
            raise KeyError(f"{argument}={mod!r} is not a modality of mdata, which has {list(mdata.mod)}.")
    if len(set(mods.values())) < len(mods):
        raise ValueError(f"{' and '.join(mods)} are both {next(iter(mods.values()))!r}: name two modalities.")


def check_mudata(mdata: Any) -> None:
    """Raise unless it is a MuData; say how to make one."""
    if not isinstance(mdata, MuData):
        raise TypeError(
            f"mdata is {'None' if mdata is None else f'a {type(mdata).__name__}'}, and a MuData with both modalities "
            'is needed: mudata.MuData({"rna": rna, "atac": atac}) of two AnnData objects, or mudata.read_h5mu(path).'
        )


def check_up_to_date(mdata: MuData, mod: str) -> None:
    """Raise unless ``mdata`` knows which of its cells the modality has, and in which order."""
    rows = mdata.obsmap[mod].astype(np.int64).ravel() if mod in mdata.obsmap else np.zeros(0, dtype=np.int64)
    names = mdata.mod[mod].obs_names
    if not names.is_unique:
        return  # which those say for whom cells must be told apart
    fits = len(rows) == mdata.n_obs and np.count_nonzero(rows) == len(names) and rows.max(initial=0) <= len(names)
    if not fits or not mdata.obs_names[rows > 0].equals(names[rows[rows > 0] - 1]):
        raise ValueError(
            f"mdata.mod[{mod!r}] was changed after mdata was made (cells removed, added or in another order): call "
            "mdata.update() first, and compute anew what was computed before."
        )


def check_cell_names(mdata: MuData, mod: str) -> None:
    """Raise unless every cell of a modality has a name of its own."""
    names = mdata.mod[mod].obs_names
    if not names.is_unique:
        raise ValueError(
            f"mdata.mod[{mod!r}].obs_names must be unique, and {names[names.duplicated()][0]!r} is there several "
            "times: use obs_names_make_unique(), then mdata.update()."
        )


def check_writable(mdata: MuData, *, copy: bool) -> None:
    """Raise if results could not be written, or would be of other cells."""
    check_mudata(mdata)
    if mdata.is_view:
        if not copy:
            raise ValueError("mdata is a view, which nothing can be written to: pass mdata.copy(), or copy=True.")
        return
    for mod in mdata.mod:
        check_up_to_date(mdata, mod)


def chosen(value: Any, choices: Mapping[str, T], argument: str) -> T:
    """Get what a name stands for; raise with the names there are if it is none of them."""
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"{argument}={value!r} is not known: use one of {sorted(choices)}.")
    return choices[value]


def stored_counts(adata: AnnData, layer: str | None, modality: str) -> Any:
    """Get the counts of a modality as they are stored, known to be finite, not negative, and in every cell.

    Of data on disk only the slot is looked up: reading everything to check it would defeat its purpose.

    Parameters
    ----------
    adata
        The modality.
    layer
        Layer with the counts; `None` takes `X`.
    modality
        Its name, for the messages.

    Raises
    ------
    KeyError
        The layer is missing.
    ValueError
        Counts are missing, negative, NaN or infinite, or a cell has none.
    """
    slot = counts_slot(layer, modality)
    if layer is not None and layer not in adata.layers:
        raise KeyError(
            f"{slot} does not exist; layers found: {sorted(filter(None, adata.layers))}. Leave the layer out to use X."
        )
    counts = adata.X if layer is None else adata.layers[layer]
    if counts is None:
        raise ValueError(f"{slot} is empty: name the layer that holds the counts.")
    if not on_disk(counts):
        known_of(counts, "soundness", lambda: check_values(counts, adata, layer, modality))
    return counts


def check_values(counts: Any, adata: AnnData, layer: str | None, modality: str) -> None:
    """Raise unless counts are finite, not negative, and in every cell; all are read.

    Parameters
    ----------
    counts
        Counts in memory, or :class:`RowChunks` of those on disk.
    adata, layer, modality
        As of :func:`stored_counts`.
    """
    slot, flaws = counts_slot(layer, modality), mapped(counts, _flaws)
    n_invalid, n_empty = (sum(flaw[column] for flaw in flaws) for column in ("n_invalid", "n_empty"))
    if n_invalid:
        raise ValueError(
            f"{slot} holds {n_invalid:,} values that are negative, NaN or infinite, or beyond any count, such as "
            f"{next(flaw['value'] for flaw in flaws if flaw['n_invalid'])}: pass counts, not scaled data."
        )
    if n_empty:
        cell = adata.obs_names[next(flaw["cell"] for flaw in flaws if flaw["n_empty"])]
        raise ValueError(
            f"{slot} has {n_empty:,} cells without counts, such as {cell!r}: remove them first "
            f"(`scanpy.pp.filter_cells(mdata[{modality!r}], min_counts=1)`, then `mdata.update()`)."
        )


def _flaws(counts: Any, rows: Rows) -> list[dict[str, Any]]:
    """Count the values of some cells that cannot be counts, and the cells without any, with an example of either."""
    values = counts.data if sparse.issparse(counts) else np.asarray(counts)
    invalid = ~((values >= 0) & (values <= _MOST_COUNTS))  # which NaN is neither
    empty = np.asarray(counts.sum(axis=1)).ravel() == 0
    first = (rows.start or 0) if isinstance(rows, slice) else rows[0]
    return [
        {
            "n_invalid": int(invalid.sum()),
            "value": values[invalid][0] if invalid.any() else None,
            "n_empty": int(empty.sum()),
            "cell": first + int(np.argmax(empty)) if len(empty) else first,
        }
    ]


def are_whole(counts: Any) -> bool:
    """Whether values are whole numbers, as counts are, by the first million of them."""
    values = counts.data if sparse.issparse(counts) else np.asarray(counts).ravel()
    return bool(np.array_equal(values[:1_000_000], np.round(values[:1_000_000])))


@contextmanager
def checked_once() -> Iterator[None]:
    """Let the functions that one public function calls trust the counts that were checked at its door."""
    token = _known.set(_known.get() or [])
    try:
        yield
    finally:
        _known.reset(token)


def known_of(counts: Any, what: str, compute: Callable[[], T]) -> T:
    """Find something out about counts, unless a public function that is running has done so."""
    known = _known.get()
    for one, about, value in known or ():
        if one is counts and about == what:
            return value
    value = compute()
    if known is not None:
        known.append((counts, what, value))
    return value


def counts_slot(layer: str | None, modality: str) -> str:
    """Name, for a message, of the slot that holds the counts."""
    return f"mdata.mod[{modality!r}]." + ("X" if layer is None else f"layers[{layer!r}]")


def checked_prior(rna: AnnData, atac: AnnData, key: str, rna_mod: str, atac_mod: str) -> sparse.csr_matrix:
    """Get the prior, peaks x genes without stored zeros, once it is known to belong to these peaks and genes.

    Not to be written to: it may be the user's own.

    Parameters
    ----------
    rna, atac
        The modalities.
    key
        Slot of the ATAC modality's `varm`.
    rna_mod, atac_mod
        Their names, for the messages.

    Raises
    ------
    KeyError
        The prior is missing.
    ValueError
        Its shape or genes are others, a weight is negative, NaN or infinite, or it has no link.
    """
    slot = f"mdata.mod[{atac_mod!r}].varm[{key!r}]"
    if key not in atac.varm:
        swapped = f" mdata.mod[{rna_mod!r}] has one: are the modalities swapped?" if key in rna.varm else ""
        raise KeyError(f"{slot} does not exist: run scdart.pp.gene_activity(mdata, annotation) first.{swapped}")
    stored = by_gene(atac.varm[key], rna.var_names, slot)
    if stored.shape != (atac.n_vars, rna.n_vars):
        hint = " It looks transposed." if stored.shape == (rna.n_vars, atac.n_vars) else ""
        raise ValueError(
            f"{slot} has the shape {stored.shape}, not {(atac.n_vars, rna.n_vars)}, peaks x genes.{hint} "
            "Run scdart.pp.gene_activity(mdata, annotation) again."
        )
    genes = None if isinstance(atac.varm[key], pd.DataFrame) else _prior_genes(atac.uns.get(key, {}))
    if genes is not None and not np.array_equal(genes, rna.var_names.to_numpy(dtype=str)):
        raise ValueError(
            f"{slot} was made for other genes or another order of genes ({np.isin(genes, rna.var_names).sum()} of its "
            f"{len(genes)} genes are in mdata.mod[{rna_mod!r}].var_names). Run scdart.pp.gene_activity(mdata, "
            "annotation) again."
        )
    prior = sparse.csr_matrix(stored)
    if not np.isfinite(prior.data).all() or (prior.data < 0).any():
        raise ValueError(f"{slot} holds negative, NaN or infinite weights: pass weights >= 0 to set_gene_activity.")
    if not prior.data.all():
        prior = prior.copy()
        prior.eliminate_zeros()
    if prior.nnz == 0:
        raise ValueError(
            f"{slot} links no peak with any gene. Check that peaks and annotation share the genome build and names."
        )
    return prior


def by_gene(stored: Any, genes: pd.Index, slot: str) -> Any:
    """Get a prior whose columns are the genes: a table is read by its labels, what has none by position.

    Parameters
    ----------
    stored
        What `varm` holds.
    genes
        Names of the genes.
    slot
        What to call it.

    Raises
    ------
    ValueError
        The table lacks a gene, or has one twice.
    """
    if not isinstance(stored, pd.DataFrame):
        return stored
    labels = stored.columns.astype(str)
    missing = genes[~genes.isin(labels)]
    if len(missing):
        raise ValueError(
            f"{slot} is a table without columns for {len(missing):,} of {len(genes):,} genes, such as "
            f"{missing[0]!r}: its columns are read by their names. Pass it to scdart.pp.set_gene_activity(mdata, "
            "table), which gives genes that it lacks no links."
        )
    if not labels.is_unique:
        raise ValueError(f"{slot} has several columns for {labels[labels.duplicated()][0]!r}: keep one.")
    chosen_columns = stored.iloc[:, labels.get_indexer(genes)]
    return sparse.csr_matrix(chosen_columns.to_numpy(dtype=np.float32))


def _prior_genes(described: Any) -> np.ndarray | None:
    genes = described.get("genes") if hasattr(described, "get") else None
    # From zarr come texts of a type that NumPy cannot cast as a whole.
    return None if genes is None else np.array(list(genes), dtype=str)

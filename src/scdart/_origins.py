"""What slots were made from, so that what was made from other data is not used.

A function that writes what it has computed from counts notes what these were, as ``uns[...]["made_from"]``. Who reads
the slot compares this with what is there now. Numbers stand for the data that are the same in whatever order cells and
features are, and however they are stored: entries, as integers, are multiplied by the numbers of their cell and their
feature and added up. One pass over the data tells them.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy import sparse

from ._batches import batch_labels, batches_of, has_factors
from ._checks import counts_slot, known_of
from ._chunks import on_disk, take
from ._constants import BATCH_FACTORS
from ._groups import label_names

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from anndata import AnnData
    from mudata import MuData

logger = logging.getLogger(__name__)

#: Where a slot's description keeps what it was made from.
MADE_FROM = "made_from"

#: Rows that are read at a time, and those that stand for all where data are on disk.
_CHUNK, _SAMPLE = 64, 64


def origin_of_counts(adata: AnnData, layer: str | None, mod: str, batch_key: str | None = None) -> dict[str, Any]:
    """Describe the counts of a modality, and the batches of its cells where a result depends on them.

    Of data on disk, a sample of the cells stands for all: reading everything would defeat its purpose.

    Parameters
    ----------
    adata
        The modality.
    layer
        Layer with the counts; ``None`` takes ``X``.
    mod
        Its name.
    batch_key
        Column of ``obs`` with batches.
    """
    counts = adata.X if layer is None else adata.layers[layer]
    cells, features = _numbers(adata.obs_names), _numbers(adata.var_names)
    described = _described(counts_slot(layer, mod), counts, cells, features)
    described["features"] = _total(features)
    if batch_key is not None and batches_of(adata, batch_key) is not None:
        described["batches"] = _total(cells * _numbers(batch_labels(adata, batch_key)))
    return described


def origin_of_components(data: AnnData | MuData, key: str, name: str) -> dict[str, Any]:
    """Describe components of cells in ``obsm``; the cells alone where these are no longer there.

    Parameters
    ----------
    data
        The cells.
    key
        Slot of ``obsm``.
    name
        What to call ``data``.
    """
    slot, cells = f"{name}.obsm[{key!r}]", _numbers(data.obs_names)
    if key not in data.obsm:
        return _cells(slot, cells)
    components = np.asarray(data.obsm[key])
    return _described(slot, components, cells, _numbers(np.arange(components.shape[1]).astype(str)))


def origin_of_labels(adatas: Iterable[AnnData], key: str) -> dict[str, Any]:
    """Describe labels of cells in a column of ``obs`` of several modalities."""
    totals = [_total(_numbers(one.obs_names) * _numbers(label_names(one.obs[key]).fillna(""))) for one in adatas]
    return {"slot": f"obs[{key!r}]", "values": " ".join(totals)}


def origin_of_column(column: pd.Series) -> dict[str, Any]:
    """Describe numbers of cells, which name them."""
    cells = _numbers(column.index)
    total = _total(_bits(column.to_numpy(dtype=float, na_value=np.nan)) * cells)
    return {**_cells(f"obs[{column.name!r}]", cells), "values": total}


def origin_of_prior(prior: sparse.csr_matrix, peaks: pd.Index, genes: pd.Index) -> dict[str, Any]:
    """Describe a prior, peaks x genes."""
    return {"slot": "the prior", "values": _total_of(prior, _numbers(peaks), _numbers(genes))}


def origin_of_coordinates(
    adata: AnnData, described: Mapping[str, Any], layer: str | None, mod: str, batch_key: str | None
) -> dict[str, Any]:
    """Describe what diffusion coordinates would be made from now: the components that they name, or counts."""
    if "use_rep" in described:
        return origin_of_components(adata, described["use_rep"], f"mdata.mod[{mod!r}]")
    return origin_of_counts(adata, layer, mod, batch_key)


def has_factors_of(mdata: MuData, mod: str, batch_key: str, layer: str | None) -> bool:
    """Whether a modality has no need of factors of batches, or has those that these counts have given."""
    if batches_of(mdata.mod[mod], batch_key) is None:
        return True
    made_from = mdata.mod[mod].uns.get(BATCH_FACTORS, {}).get(MADE_FROM)
    now = origin_of_counts(mdata.mod[mod], layer, mod, batch_key)
    return has_factors(mdata, mod, batch_key) and difference(made_from, now) is None


def difference(made_from: Mapping[str, Any] | None, now: Mapping[str, Any]) -> str | None:
    """Say in which way data are not those that something was made from; ``None`` where they are, or may be."""
    if made_from is None:
        return None

    def differs(key: str) -> bool:
        return key in made_from and key in now and made_from[key] != now[key]

    for key, what in (("n_cells", "cells"), ("n_features", "features")):
        if differs(key):
            return f"it was made from {made_from[key]:,} {what}, and there are {now[key]:,}"
    for key in ("cells", "features"):
        if differs(key):
            return f"it was made from other {key}"
    if made_from.get("batches") != now.get("batches"):
        return "it was made knowing other batches, or none"
    # What was made from counts on disk knows a sample of them, and so does what is compared while they are there.
    if differs("values" if "values" in made_from and "values" in now else "sample"):
        return f"it was made from {made_from['slot']}, and {now['slot']} does not hold the same values now"
    return None


def check_origin(made_from: Mapping[str, Any] | None, now: Mapping[str, Any], slot: str, remedy: str) -> None:
    """Raise if something was made from other data than those at hand.

    Parameters
    ----------
    made_from
        What its description says; ``None`` where it says nothing, as that of older versions.
    now
        What is at hand.
    slot
        What to call it.
    remedy
        The call that makes it anew.
    """
    if made_from is None:
        logger.info("%s does not say what it was made from, and is taken as it is.", slot)
    if (other := difference(made_from, now)) is not None:
        raise ValueError(f"{slot} was made from other data: {other}. Run {remedy} again.")


def _cells(slot: str, cells: np.ndarray) -> dict[str, Any]:
    return {"slot": slot, "n_cells": len(cells), "cells": _total(cells)}


def _described(slot: str, values: Any, cells: np.ndarray, features: np.ndarray) -> dict[str, Any]:
    described = {**_cells(slot, cells), "n_features": len(features)}
    # The same cells whatever their order.
    sample = np.sort(np.argsort(cells)[:_SAMPLE])
    described["sample"] = _total_of(take(values, sample), cells[sample], features)
    if not on_disk(values):
        of = f"total of {described['cells']} and {_total(features)}"
        described["values"] = known_of(values, of, lambda: _total_of(values, cells, features))
    return described


def _numbers(names: Any) -> np.ndarray:
    """Get a number for every name, the same on any machine."""
    return pd.util.hash_array(np.asarray(names, dtype=object))


def _total(numbers: np.ndarray) -> str:
    """Add up integers, which may overflow; as a text, since files keep none of this size."""
    return f"{int(np.sum(numbers, dtype=np.uint64)):016x}"


def _total_of(values: Any, rows: np.ndarray, columns: np.ndarray) -> str:
    """Add up all entries, as integers, times the numbers of their row and column."""
    parts: list[np.ndarray] = []
    if sparse.issparse(values):
        values = values if values.format in ("csr", "csc") else values.tocsr()
        major, minor = (rows, columns) if values.format == "csr" else (columns, rows)
        for start in range(0, len(major), _CHUNK):
            own = major[start : start + _CHUNK]
            ends = values.indptr[start : start + len(own) + 1]
            entries = slice(ends[0], ends[-1])
            running = np.cumsum(_bits(values.data[entries]) * minor[values.indices[entries]])
            parts.append(np.diff(np.append(np.uint64(0), running)[ends - ends[0]]) * own)
    else:
        for start in range(0, len(rows), _CHUNK):
            chunk = slice(start, start + _CHUNK)
            parts.append((_bits(np.asarray(values[chunk])) @ columns) * rows[chunk])
    return _total(np.concatenate([np.zeros(0, np.uint64), *parts]))


def _bits(values: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(values, dtype=np.float32).view(np.uint32).astype(np.uint64)

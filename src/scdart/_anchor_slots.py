"""Where anchors and the confidence in them are kept, and whether these still belong together."""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import scipy.sparse as sp

from ._mudata import positions

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mudata import MuData


class Anchors(NamedTuple):
    """Anchors and what is known of them, by role where it is of one modality.

    Attributes
    ----------
    weights
        Shape (n_rna, n_atac).
    confidence
        How far each cell's anchors are trusted, in [0, 1]; ``None`` where nothing is known of it.
    coordinates
        What cells were compared in; empty where they were not.
    described
        How the anchors were made.
    """

    weights: sp.csr_matrix
    confidence: Mapping[str, np.ndarray] | None
    coordinates: Mapping[str, np.ndarray]
    described: Mapping[str, Any]


def write_anchors(mdata: MuData, anchors: Anchors, key: str, mods: Mapping[str, str]) -> None:
    """Write anchors to all slots that belong to them, and remove what is of others.

    Parameters
    ----------
    mdata
        Annotated data, changed in place.
    anchors
        What to write.
    key
        Name of the slots.
    mods
        Names of the modalities by role, RNA first.
    """
    entries = anchors.weights.tocoo()
    rows, columns = (positions(mdata, mod) for mod in mods.values())
    weights = sp.csr_matrix(
        (entries.data.astype(np.float32), (rows[entries.row], columns[entries.col])), shape=(mdata.n_obs, mdata.n_obs)
    )
    mdata.obsp[key] = weights
    described = {**anchors.described, "checksum": _checksum(weights)}
    for role, mod in mods.items():
        obsm = mdata.mod[mod].obsm
        obsm.pop(f"X_{key}", None)
        obsm.pop(f"{key}_confidence", None)
        if anchors.coordinates:
            obsm[f"X_{key}"] = anchors.coordinates[role].astype(np.float32)
        if anchors.confidence is not None:
            obsm[f"{key}_confidence"] = np.asarray(anchors.confidence[role], dtype=np.float32)[:, None]
            described["confidence_key"] = f"{key}_confidence"
    mdata.uns[key] = described


def confidence_slot(mdata: MuData, key: str) -> str | None:
    """Slot of the modalities' ``obsm`` with the confidence in anchors; ``None`` where none was written with them."""
    return mdata.uns.get(key, {}).get("confidence_key")


def are_as_written(mdata: MuData, key: str) -> bool:
    """Whether the anchors are those that were written together with what else is known of them."""
    return mdata.uns.get(key, {}).get("checksum") == _checksum(mdata.obsp[key])


def _checksum(weights: Any) -> str:
    """Short text that is another one for any other matrix, in whatever order its entries are stored."""
    weights = sp.csr_matrix(weights)
    if not weights.has_sorted_indices:
        weights = weights.sorted_indices()
    digest = blake2b(repr(weights.shape).encode(), digest_size=8)
    for array, dtype in ((weights.indptr, np.int64), (weights.indices, np.int64), (weights.data, np.float32)):
        digest.update(np.ascontiguousarray(array, dtype=dtype).data)
    return digest.hexdigest()

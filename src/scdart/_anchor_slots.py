"""Where anchors and the confidence in them are kept, and whether these still belong together."""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import scipy.sparse as sp

from ._constants import ATAC, RNA
from ._mudata import positions
from ._origins import MADE_FROM, check_origin, difference, origin_of_counts, origin_of_labels, origin_of_prior

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


def origin_of_anchors(
    mdata: MuData,
    mods: Mapping[str, str],
    layers: Mapping[str, str | None],
    prior: sp.csr_matrix | None,
    batch_key: str | None,
    groups_key: str | None = None,
) -> dict[str, Any]:
    """Describe what anchors would be inferred from now: counts by role, and prior and labels, if they are known."""
    adata = {role: mdata.mod[mod] for role, mod in mods.items()}
    origin = {role: origin_of_counts(adata[role], layers[role], mod, batch_key) for role, mod in mods.items()}
    if prior is not None:
        origin["prior"] = origin_of_prior(prior, adata[ATAC].var_names, adata[RNA].var_names)
    if groups_key is not None:
        origin["groups"] = origin_of_labels(adata.values(), groups_key)
    return origin


def support_of_anchors(mdata: MuData, key: str) -> float:
    """How far the evidence supports that anchors are right at all; 1 where they were given, or say nothing of it."""
    return float(mdata.uns.get(key, {}).get("support", 1.0))


def hold_pairs(mdata: MuData, key: str) -> bool:
    """Whether anchors may know which cells are the same: those that say nothing of where they come from may."""
    return mdata.uns.get(key, {}).get("n_pairs") != 0


def fit(mdata: MuData, key: str, now: Mapping[str, Any]) -> bool:
    """Whether anchors were inferred from what there is now, as far as they tell."""
    made_from = mdata.uns.get(key, {}).get(MADE_FROM, {})
    return all(difference(made_from.get(part), now[part]) is None for part in now)


def check_fit(mdata: MuData, key: str, now: Mapping[str, Any]) -> None:
    """Raise if anchors were inferred from other data; those that were given depend on none.

    Anchors that hold known pairs stay with another prior: making them anew takes the pairs.
    """
    described = mdata.uns.get(key, {})
    if described.get("variant") in (None, "given", "known"):
        return
    made_from = described.get(MADE_FROM)
    pairs = ", pairs=..." if hold_pairs(mdata, key) else ""
    for part in (RNA, ATAC) if pairs or made_from is None else now:
        origin = made_from and made_from.get(part)
        check_origin(origin, now[part], f"mdata.obsp[{key!r}]", f"scdart.pp.anchors(mdata{pairs}, ...)")


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

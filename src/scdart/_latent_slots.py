"""Latent spaces in ``obsm``: whether all slots are of one, and whether what was computed from one follows from it.

Slots of cells are sliced along with their cells, and what was computed for all cells stays true of those that are left.
What no slicing can mend is a slot that was written anew while those that follow from it were not.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scvi import settings

from ._checks import are_whole, check_up_to_date
from ._constants import ATAC, RNA
from ._mudata import in_obs, modality_rows, obs_column, positions
from ._origins import MADE_FROM, difference, origin_of_column, origin_of_components

if TYPE_CHECKING:
    from anndata import AnnData
    from mudata import MuData

    from scdart.model import SCDART

#: What a backbone was made from, by these names.
LATENT, _PSEUDOTIME = "latent", "pseudotime"

#: Share of the spread of positions by which numbers that were computed in other minibatches may differ.
_ROUNDING = 1e-3

#: Cells of a modality that a model is asked for.
_SAMPLE = 64


def outdated(mdata: MuData, key: str, *, by_modality: bool = False) -> str | None:
    """Name the slot that was made anew since ``uns[key]`` was computed; ``None`` if there is none, as far as known.

    Parameters
    ----------
    mdata
        Annotated data.
    key
        Result of :func:`scdart.tl.pseudotime` or :func:`scdart.tl.backbone`; of anything else, nothing is said.
    by_modality
        Whether it is shown together with the latent spaces of the modalities.
    """
    described = mdata.uns.get(key)
    parts = _parts(described) if isinstance(described, Mapping) and "params" in described else {}
    if not parts or not parts.keys() <= {LATENT, _PSEUDOTIME}:
        return None
    for mod in mdata.mod:
        check_up_to_date(mdata, mod)
    use_rep = str(described["params"]["use_rep"])
    for part, origin in parts.items():
        now = _origin_now(mdata, part, described["params"])
        if now is None or origin["slot"] != now["slot"]:
            continue
        same_cells = origin["cells"] == now["cells"]
        if difference(origin, now) is not None if same_cells else _embedded(mdata, use_rep, now):
            return str(now["slot"])
    return _another_space(mdata, use_rep) if by_modality else None


def check_follows(mdata: MuData, key: str, *, by_modality: bool = False) -> None:
    """Raise if ``uns[key]`` was computed from a latent space, or pseudotime, that these cells no longer have."""
    if (slot := outdated(mdata, key, by_modality=by_modality)) is not None:
        what = "backbone" if _PSEUDOTIME in _parts(mdata.uns[key]) else "pseudotime"
        raise ValueError(f"mdata.uns[{key!r}] was computed before {slot} was made anew: run scdart.tl.{what} again.")


def rewritten_since(mdata: MuData, key: str, use_rep: str) -> str | None:
    """Name the latent space if it is another than that which ``obsm[key]`` was written with; ``None`` if it is not."""
    written, now = _written_with(mdata, key), origin_of_components(mdata, use_rep, "mdata")
    is_other = written.get("cells") == now["cells"] and difference(written, now) is not None
    return str(now["slot"]) if is_other else None


def check_written_with(mdata: MuData, key: str, use_rep: str, remedy: str) -> None:
    """Raise if ``obsm[key]`` was written with another latent space than there is now.

    Parameters
    ----------
    mdata
        Annotated data.
    key
        Slot of ``obsm``, with what it was made from in ``uns``.
    use_rep
        Slot of ``obsm`` with the latent space.
    remedy
        What to do about it, for the message.
    """
    if (slot := rewritten_since(mdata, key, use_rep)) is not None:
        raise ValueError(f"mdata.obsm[{key!r}] was computed before {slot} was made anew: {remedy}.")


def check_confidence_follows(mdata: MuData, use_rep: str) -> None:
    """Raise if the confidence that :func:`scdart.tl.embed` wrote is of another latent space than there is now."""
    remedy = "write both by scdart.tl.embed(mdata, model), or remove it"
    check_written_with(mdata, f"{use_rep}_confidence", use_rep, remedy)


def warn_of_followers(mdata: MuData, use_rep: str) -> None:
    """Name what was computed from the latent space that was in a slot before, once another was written there."""
    followers = [f"uns[{key!r}]" for key in mdata.uns if outdated(mdata, key) is not None]
    of_scanpy = mdata.uns.get("neighbors", {}).get("params", {}).get("use_rep")
    if of_scanpy == use_rep and "X_umap" in mdata.obsm:
        followers.append("obsm['X_umap']")
    if followers:
        warnings.warn(
            f"mdata.obsm[{use_rep!r}] is another latent space now. Of the one before are {', '.join(followers)}: "
            "compute them anew.",
            UserWarning,
            stacklevel=settings.warnings_stacklevel,
        )


def slot_of_another_model(mdata: MuData, model: SCDART, use_rep: str) -> str | None:
    """Name the slot whose positions are not those that a model gives the cells; ``None`` where they are, or may be.

    Some cells stand for all. Nothing is said where their counts were normalised since, or are no longer there.
    """
    arguments = model.registry["setup_args"]
    names = arguments.get("modalities") or {}
    for role in (RNA, ATAC):
        mod, layer = names.get(f"{role}_layer", role), arguments[f"{role}_layer"]
        if mod not in mdata.mod or use_rep not in mdata.mod[mod].obsm:
            continue
        adata, rows = mdata.mod[mod], np.arange(min(mdata.mod[mod].n_obs, _SAMPLE))
        stored = _numbers(adata.obsm[use_rep])
        if stored is None or not _are_counts(adata, layer, rows):
            continue
        try:
            given = model.get_latent_representation(mdata, modality=mod, indices=rows)
        except (KeyError, ValueError):  # not the features, or batches, of the model
            continue
        tolerance = _ROUNDING * _spread(stored)
        if given.shape[1] != stored.shape[1] or not np.allclose(given, stored[rows], rtol=_ROUNDING, atol=tolerance):
            return f"mdata.mod[{mod!r}].obsm[{use_rep!r}]"
    return None


def _are_counts(adata: AnnData, layer: str | None, rows: np.ndarray) -> bool:
    if layer is not None and layer not in adata.layers:
        return False
    return are_whole((adata.X if layer is None else adata.layers[layer])[rows])


def _parts(described: Mapping[str, Any]) -> Mapping[str, Any]:
    """Get what a result was made from, by what it is: pseudotime from a latent space, a backbone from both."""
    made_from = described.get(MADE_FROM, {})
    return {LATENT: made_from} if "slot" in made_from else made_from


def _origin_now(mdata: MuData, part: str, params: Mapping[str, Any]) -> dict[str, Any] | None:
    if part == LATENT:
        return origin_of_components(mdata, str(params["use_rep"]), "mdata")
    key = str(params["pseudotime_key"])
    if not in_obs(mdata, key):
        return None
    column = obs_column(mdata, key, "pseudotime_key")
    return origin_of_column(column) if pd.api.types.is_numeric_dtype(column) else None


def _another_space(mdata: MuData, use_rep: str) -> str | None:
    """Name the slot of a modality that places cells of it alone elsewhere than the slot of all cells does."""
    joint = _numbers(mdata.obsm.get(use_rep))
    n_measured = np.sum([modality_rows(mdata, mod) >= 0 for mod in mdata.mod], axis=0)
    for mod, adata in mdata.mod.items():
        own, rows = _numbers(adata.obsm.get(use_rep)), positions(mdata, mod)
        if own is None or joint is None:
            continue
        alone = n_measured[rows] == 1
        a, b = joint[rows][alone], own[alone]
        if a.shape != b.shape or not np.allclose(a, b, rtol=0, atol=_ROUNDING * _spread(own), equal_nan=True):
            return f"mdata.mod[{mod!r}].obsm[{use_rep!r}]"
    return None


def _embedded(mdata: MuData, use_rep: str, now: Mapping[str, Any]) -> bool:
    """Whether just these cells were placed by a model, so that what was computed for others is of another space."""
    return bool(_written_with(mdata, f"{use_rep}_confidence").get("cells") == now["cells"])


def _written_with(mdata: MuData, key: str) -> Mapping[str, Any]:
    """Get what a slot says that it was made from; nothing where it says nothing."""
    return mdata.uns.get(key, {}).get(MADE_FROM, {})


def _numbers(values: Any) -> np.ndarray | None:
    """Positions, or ``None`` where there are none, which those who need them say."""
    array = np.asarray(values)
    return array.astype(np.float64) if array.ndim == 2 and array.dtype.kind in "fiub" else None


def _spread(positions: np.ndarray) -> float:
    finite = positions[np.isfinite(positions)]
    return float(finite.std()) if finite.size else 0.0

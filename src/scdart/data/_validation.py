"""Checks of the user's MuData before anything is registered, with messages that say what to do."""

from __future__ import annotations

import logging
import warnings
from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse
from scvi import settings

from scdart._anchor_slots import are_as_written, check_fit, confidence_slot, origin_of_anchors
from scdart._batches import check_batches, stored_effects
from scdart._checks import are_whole, check_mudata, check_up_to_date, checked_prior, counts_slot, stored_counts
from scdart._chunks import on_disk
from scdart._constants import ANCHORS, ATAC, BATCH_FACTORS, RNA
from scdart._groups import known_groups
from scdart._mudata import modality_rows, positions
from scdart._origins import MADE_FROM, check_origin, has_factors_of, origin_of_coordinates

from ._modalities import MODALITIES
from ._registered import registered_as_whole, registered_names

if TYPE_CHECKING:
    from collections.abc import Mapping

    from anndata import AnnData
    from mudata import MuData

#: Batch statistics and pairwise losses need more than one cell.
MIN_CELLS = 3

#: Share of cells with the same name below which names rather collide than tell that cells are the same.
_FEW_SHARED = 0.5

logger = logging.getLogger(__name__)


def check_setup(
    mdata: MuData,
    mods: dict[str, str],
    layers: dict[str, str | None],
    prior_key: str,
    diffusion_key: str,
    anchors_key: str | None,
    groups_key: str | None,
    batch_key: str | None,
) -> None:
    """Check everything that the model reads, before anything is written or registered.

    What is missing is an error that names the call that makes it. Anchors under their default name are the exception:
    nothing needs to be known to infer them, and set-up does.
    """
    adata = {role: check_modality(mdata, name, role) for role, name in mods.items()}
    if mods[RNA] == mods[ATAC]:
        raise ValueError(f"both roles point to modality {mods[RNA]!r}: name RNA and ATAC in `modalities`.")
    for role, name in mods.items():
        check_counts(adata[role], layers[role], name, role)
    prior = checked_prior(adata[RNA], adata[ATAC], prior_key, mods[RNA], mods[ATAC])
    for role, name in mods.items():
        check_coordinates(adata[role], diffusion_key, name)
    if anchors_key not in (None, ANCHORS) and anchors_key not in mdata.obsp:
        raise KeyError(
            f"mdata.obsp has no {anchors_key!r}: run scdart.pp.anchors(mdata, key_added={anchors_key!r}) or "
            "scdart.pp.set_anchors first, or pass anchors_key=None to train without anchors between cells."
        )
    if groups_key is not None:
        known_groups(mdata, groups_key, mods)
        _check_made_for_groups(mdata, anchors_key, groups_key)
    if batch_key is not None:
        check_batches(mdata, batch_key, mods, min_cells=MIN_CELLS)
        for role, mod in mods.items():
            stored_effects(mdata, mod, batch_key)
            if not has_factors_of(mdata, mod, batch_key, layers[role]):
                raise ValueError(
                    f"mdata.mod[{mod!r}].varm[{BATCH_FACTORS!r}] was made from other counts or batches: run "
                    f"scdart.pp.batch_factors(mdata, {batch_key!r}) again."
                )
    for role, mod in mods.items():
        check_origin_of_coordinates(adata[role], mod, diffusion_key, layers[role], batch_key)
    if anchors_key in mdata.obsp:
        check_anchors(mdata, str(anchors_key), mods)
        check_fit(mdata, str(anchors_key), origin_of_anchors(mdata, mods, layers, prior, batch_key, groups_key))
    shared = int(np.logical_and(*(modality_rows(mdata, name) >= 0 for name in mods.values())).sum())
    if not shared:
        return
    said = (
        f"{shared:,} cells have the same name in both modalities, and are taken for the same cells: their two "
        "positions are averaged. Training does not use this. If only their barcodes are the same, give the modalities "
        "distinct obs_names."
    )
    # Where cells were measured together, most of the smaller modality are.
    if shared < _FEW_SHARED * min(one.n_obs for one in adata.values()):
        warnings.warn(said, UserWarning, stacklevel=settings.warnings_stacklevel)
    else:
        logger.info(said)


def check_modality(mdata: MuData, modality: str | None, role: str) -> AnnData:
    """Return the modality that plays a role; its names must be unique."""
    check_mudata(mdata)
    if modality is None or modality not in mdata.mod:
        raise KeyError(
            f"modality {modality!r} (for {role}) is not in mdata.mod, which has {sorted(mdata.mod)}. "
            f"Name it with modalities={{{MODALITIES[role].argument!r}: ...}}."
        )
    adata = mdata.mod[modality]
    for axis, names in (("obs_names", adata.obs_names), ("var_names", adata.var_names)):
        if not names.is_unique:
            raise ValueError(
                f"mdata[{modality!r}].{axis} has duplicates, for example {names[names.duplicated()][0]!r}. "
                f"Make them unique (`adata.{axis}_make_unique()`), then `mdata.update()`."
            )
    check_up_to_date(mdata, modality)
    return adata


def check_counts(adata: AnnData, layer: str | None, modality: str, role: str) -> None:
    """Check counts, and warn of expression that looks normalised already; of peaks it only matters which are open."""
    counts = stored_counts(adata, layer, modality)
    if on_disk(counts) or role != RNA:
        return
    if not are_whole(counts):
        warnings.warn(
            f"{counts_slot(layer, modality)} holds values that are not whole numbers: counts are expected, and "
            "normalised values will be normalised again. Pass the layer with the counts.",
            UserWarning,
            stacklevel=settings.warnings_stacklevel,
        )


def check_scale(adata: AnnData, layer: str | None, mod: str, registry: Mapping, role: str) -> None:
    """Check counts that a model is to read, and warn of normalised expression where that of its training was not."""
    counts = stored_counts(adata, layer, mod)
    if role == RNA and registered_as_whole(registry, role) and not on_disk(counts) and not are_whole(counts):
        warnings.warn(
            f"{counts_slot(layer, mod)} holds values that are not whole numbers, and the model was set up with counts: "
            "what it says of normalised values is wrong. Put the counts back there.",
            UserWarning,
            stacklevel=settings.warnings_stacklevel,
        )


def check_features(mdata: MuData, mods: Mapping[str, str], registry: Mapping) -> None:
    """Raise unless cells have the features of a model in its order; cells of one modality may be there alone."""
    for role, mod in mods.items():
        if mod not in mdata.mod or mdata.mod[mod].n_obs == 0:
            continue
        adata, names = mdata.mod[mod], registered_names(registry, role)
        if not adata.var_names.equals(names):
            known = int(names.isin(adata.var_names).sum())
            raise ValueError(
                f"Number of vars and their order must be those of the model: mdata.mod[{mod!r}] has {known:,} of its "
                f"{len(names):,} features, and {adata.n_vars:,} in all. Run "
                "scdart.model.SCDART.prepare_query_mudata(mdata, model) first, which puts them in order and fills in "
                "what is missing."
            )
        check_up_to_date(mdata, mod)


def check_coordinates(adata: AnnData, key: str, modality: str) -> None:
    """Check that diffusion coordinates and their description are there and finite."""
    described = key.removeprefix("X_")
    if key not in adata.obsm or described not in adata.uns:
        raise KeyError(
            f"mdata[{modality!r}] has no obsm[{key!r}] with uns[{described!r}]: "
            "run scdart.pp.diffusion_coordinates(mdata) first."
        )
    if not np.isfinite(adata.obsm[key]).all():
        raise ValueError(f"mdata[{modality!r}].obsm[{key!r}] holds NaN or infinite values: make it anew.")


def check_origin_of_coordinates(
    adata: AnnData, mod: str, diffusion_key: str, layer: str | None, batch_key: str | None
) -> None:
    """Check that coordinates were made from what the model is to read, knowing the same batches."""
    slot, described = f"mdata.mod[{mod!r}].obsm[{diffusion_key!r}]", adata.uns[diffusion_key.removeprefix("X_")]
    made_with = described.get("batch_key")
    if made_with != batch_key and "use_rep" not in described:
        raise ValueError(
            f"{slot} was made with batch_key={made_with!r}, not {batch_key!r}: run "
            f"scdart.pp.diffusion_coordinates(mdata, batch_key={batch_key!r}) again."
        )
    now = origin_of_coordinates(adata, described, layer, mod, batch_key)
    check_origin(described.get(MADE_FROM), now, slot, "scdart.pp.diffusion_coordinates(mdata, ...)")


def _check_made_for_groups(mdata: MuData, anchors_key: str | None, groups_key: str) -> None:
    """Raise if anchors were inferred without the groups that are told now."""
    if anchors_key is None or anchors_key not in mdata.obsp:
        return
    params = mdata.uns.get(anchors_key, {}).get("params", {})
    if params.get("inferred", False) and params.get("groups_key") != groups_key:
        raise ValueError(
            f"mdata.obsp[{anchors_key!r}] was made with groups_key={params.get('groups_key')!r}, not {groups_key!r}: "
            f"run scdart.pp.anchors(mdata, groups_key={groups_key!r}, key_added={anchors_key!r}) again."
        )


def check_anchors(mdata: MuData, key: str, mods: dict[str, str]) -> None:
    """Check that anchors link RNA cells, as rows, with ATAC cells, by weights, and that confidence is in [0, 1]."""
    slot, weights = f"mdata.obsp[{key!r}]", sparse.csr_matrix(mdata.obsp[key])
    remedy = "run scdart.pp.anchors(mdata), or scdart.pp.set_anchors(mdata, matrix)"
    invalid = ~(np.isfinite(weights.data) & (weights.data >= 0))
    if invalid.any():
        raise ValueError(
            f"{slot} holds {invalid.sum():,} weights that are negative, NaN or infinite, such as "
            f"{weights.data[invalid][0]}: {remedy}."
        )
    rows, columns = (positions(mdata, mod) for mod in mods.values())
    if not weights[rows][:, columns].sum():
        hint = " It looks transposed: RNA cells are rows." if weights[columns][:, rows].sum() else ""
        raise ValueError(f"{slot} has no weight between an RNA cell and an ATAC cell.{hint} To make it anew, {remedy}.")
    confidence = confidence_slot(mdata, key)
    for mod in mods.values():
        if confidence is None or confidence not in mdata.mod[mod].obsm:
            continue
        values = np.asarray(mdata.mod[mod].obsm[confidence], dtype=float)
        wrong = ~((values >= 0) & (values <= 1))
        if wrong.any():
            raise ValueError(
                f"mdata.mod[{mod!r}].obsm[{confidence!r}] holds {values[wrong][0]}, not numbers from 0 to 1: {remedy}."
            )


def checked_confidence(mdata: MuData, anchors_key: str | None, mods: dict[str, str]) -> str | None:
    """Get the slot with the confidence in the anchors, if it is there and about these very anchors.

    Warns
    -----
    UserWarning
        The anchors are not those that the confidence was written with.
    """
    if anchors_key is None or anchors_key not in mdata.obsp:
        return None
    slot = confidence_slot(mdata, anchors_key)
    if slot is None or any(slot not in mdata[mod].obsm for mod in mods.values()):
        return None
    if not are_as_written(mdata, anchors_key):
        warnings.warn(
            f"mdata.obsp[{anchors_key!r}] is not the matrix that obsm[{slot!r}] was written with, so that this "
            "confidence is not used, and all anchors are trusted alike. Set anchors of your own with "
            "scdart.pp.set_anchors(mdata, matrix, confidence=...), or run scdart.pp.anchors(mdata) again.",
            UserWarning,
            stacklevel=settings.warnings_stacklevel,
        )
        return None
    return slot

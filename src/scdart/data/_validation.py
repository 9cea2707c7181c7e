"""Checks of the user's MuData before anything is registered, with messages that say what to do."""

from __future__ import annotations

import logging
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse
from scvi import settings

from scdart._constants import ATAC, RNA

from ._fields import modality_rows

if TYPE_CHECKING:
    from anndata import AnnData
    from mudata import MuData

logger = logging.getLogger(__name__)


def check_setup(
    mdata: MuData,
    mods: dict[str, str],
    layers: dict[str, str | None],
    prior_key: str,
    diffusion_key: str,
    groups_key: str | None,
) -> None:
    """Check everything that the model reads, before anything is written or registered."""
    adata = {role: check_modality(mdata, name, role) for role, name in mods.items()}
    if mods[RNA] == mods[ATAC]:
        raise ValueError(f"both roles point to modality {mods[RNA]!r}: name RNA and ATAC in `modalities`.")
    for role, name in mods.items():
        check_counts(adata[role], layers[role], name)
    check_prior(adata[RNA], adata[ATAC], prior_key, mods)
    for role, name in mods.items():
        check_coordinates(adata[role], diffusion_key, name)
    if groups_key is not None:
        check_groups(mdata, groups_key, mods)
    shared = int(np.logical_and(*(modality_rows(mdata, name) >= 0 for name in mods.values())).sum())
    if shared:
        logger.info(
            "%d cells have the same name in both modalities. Training does not use this; if barcodes only collide, "
            "give the modalities distinct obs_names.",
            shared,
        )


def check_modality(mdata: MuData, modality: str | None, role: str) -> AnnData:
    """Return the modality that plays a role; its names must be unique."""
    if modality not in mdata.mod:
        raise KeyError(
            f"modality {modality!r} (for {role}) is not in mdata.mod, which has {sorted(mdata.mod)}. "
            f"Name it with modalities={{'{role}_layer': ...}}."
        )
    adata = mdata.mod[modality]
    for axis, names in (("obs_names", adata.obs_names), ("var_names", adata.var_names)):
        if not names.is_unique:
            raise ValueError(
                f"mdata[{modality!r}].{axis} has duplicates, for example {names[names.duplicated()][0]!r}. "
                f"Make them unique (`adata.{axis}_make_unique()`), then `mdata.update()`."
            )
    return adata


def check_counts(adata: AnnData, layer: str | None, modality: str) -> None:
    """Check that counts are finite, not negative, not normalised, and that no cell is empty."""
    slot = f"mdata[{modality!r}]." + ("X" if layer is None else f"layers[{layer!r}]")
    if layer is not None and layer not in adata.layers:
        raise KeyError(f"{slot} does not exist; layers found: {sorted(adata.layers)}. Leave the layer out to use X.")
    x = adata.X if layer is None else adata.layers[layer]
    if x is None:
        raise ValueError(f"{slot} is empty: it must hold counts.")
    if adata.isbacked:  # reading everything only to check it would defeat the purpose of data on disk
        return
    values = x.data if sparse.issparse(x) else np.asarray(x).ravel()
    if not np.isfinite(values).all():
        raise ValueError(f"{slot} holds NaN or infinite values: it must hold counts. Remove or repair these cells.")
    if values.size and values.min() < 0:
        raise ValueError(f"{slot} holds negative values (minimum {values.min():.3g}): pass counts, not scaled data.")
    empty = np.asarray(x.sum(axis=1)).ravel() == 0
    if empty.any():
        raise ValueError(
            f"{slot} has {empty.sum()} cells without any count, for example {adata.obs_names[empty][0]!r}: remove them "
            f"first (`sc.pp.filter_cells(mdata[{modality!r}], min_counts=1)`, then `mdata.update()`)."
        )
    sample = values[:1_000_000]
    if (sample != np.round(sample)).any():
        warnings.warn(
            f"{slot} holds values that are not whole numbers: counts are expected, and normalised values will be "
            "normalised again. Pass the layer with the counts.",
            UserWarning,
            stacklevel=settings.warnings_stacklevel,
        )


def check_prior(rna: AnnData, atac: AnnData, key: str, mods: dict[str, str]) -> None:
    """Check that the gene-activity prior is peaks x genes, not empty, and belongs to these genes."""
    slot = f"mdata[{mods[ATAC]!r}].varm[{key!r}]"
    if key not in atac.varm:
        swapped = key in rna.varm
        raise KeyError(
            f"{slot} does not exist"
            + (f", but mdata[{mods[RNA]!r}] has it: are the modalities swapped?" if swapped else ".")
            + " The prior comes from scdart.pp.gene_activity(mdata, annotation)."
        )
    prior = atac.varm[key]
    if prior.shape != (atac.n_vars, rna.n_vars):
        hint = "It looks transposed. " if prior.shape == (rna.n_vars, atac.n_vars) else ""
        raise ValueError(
            f"{slot} has shape {prior.shape}, but there are {atac.n_vars} peaks and {rna.n_vars} genes. {hint}"
            "Make it anew with scdart.pp.gene_activity(mdata, annotation)."
        )
    genes = _prior_genes(atac.uns.get(key, {}))
    if genes is not None and not np.array_equal(genes, rna.var_names.to_numpy(dtype=str)):
        shared = np.isin(genes, rna.var_names).sum()
        raise ValueError(
            f"{slot} was made for other genes or another order ({shared} of its {len(genes)} genes are in "
            f"mdata[{mods[RNA]!r}].var_names). Make it anew with scdart.pp.gene_activity(mdata, annotation)."
        )
    values = sparse.csr_matrix(prior).data
    if not np.isfinite(values).all() or (values < 0).any():
        raise ValueError(f"{slot} holds negative or non-finite weights.")
    if not values.any():
        raise ValueError(
            f"{slot} links no peak with any gene. Check that peaks and annotation share the genome build and names."
        )


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


def check_groups(mdata: MuData, key: str, mods: dict[str, str]) -> None:
    """Check that groups label cells of both modalities and share at least one label."""
    labels = []
    for mod in mods.values():
        if key not in mdata[mod].obs:
            raise KeyError(f"mdata[{mod!r}].obs has no column {key!r}; columns found: {sorted(mdata[mod].obs)}.")
        labels.append(set(mdata[mod].obs[key].dropna().astype(str)))
    if not labels[0] & labels[1]:
        raise ValueError(
            f"obs[{key!r}] has no label in common between {mods[RNA]!r} ({sorted(labels[0])[:5]}) and "
            f"{mods[ATAC]!r} ({sorted(labels[1])[:5]})."
        )


def _prior_genes(described: Any) -> np.ndarray | None:
    genes = described.get("genes") if hasattr(described, "get") else None
    return None if genes is None else np.asarray(genes, dtype=str)

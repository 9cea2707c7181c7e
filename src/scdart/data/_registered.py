"""What the data manager has registered, read in the terms of the modalities."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import sparse

from scdart._batches import batches_of
from scdart._checks import by_gene
from scdart._constants import RNA
from scdart._groups import label_names
from scdart._mudata import positions

from ._constants import REGISTRY_KEYS
from ._fields import BatchField, CountsField, GroupsField
from ._modalities import MODALITIES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mudata import MuData
    from scvi.data import AnnDataManager


def registered_modalities(manager: AnnDataManager) -> dict[str, str]:
    """Get what the user calls the modalities, by role."""
    return {role: manager.data_registry[modality.counts].mod_key for role, modality in MODALITIES.items()}


def registered_names(registry: Mapping, role: str) -> pd.Index:
    """Names of the genes or peaks whose counts were registered."""
    return pd.Index(registry["field_registries"][MODALITIES[role].counts]["state_registry"]["column_names"])


def registered_as_whole(registry: Mapping, role: str) -> bool:
    """Whether the counts were known to be whole numbers; earlier versions did not say."""
    return bool(registry["field_registries"][MODALITIES[role].counts]["state_registry"].get(CountsField.WHOLE, False))


def registered_n_cells(manager: AnnDataManager) -> dict[str, int]:
    """Count the cells of the modalities, by role."""
    return {role: manager.get_from_registry(modality.counts).shape[0] for role, modality in MODALITIES.items()}


def registered_columns(registry: Mapping, role: str, names: Sequence[str] | None) -> np.ndarray:
    """Columns of the registered counts that hold some genes or peaks; all without names."""
    known = registered_names(registry, role)
    if names is None:
        return np.arange(len(known))
    unknown = [name for name in names if name not in known]
    if unknown:
        what = {"rna": "genes", "atac": "peaks"}[role]
        raise KeyError(f"{what} not in the model: {unknown[:5]}{'...' if len(unknown) > 5 else ''}.")
    return known.get_indexer(pd.Index(names))


def registered_batches(manager: AnnDataManager, role: str) -> np.ndarray:
    """Code of each cell's batch among the registered batches of its modality; zero where there is one batch.

    Raises
    ------
    ValueError
        A cell is of no batch that is registered.
    """
    modality = MODALITIES[role]
    if modality.batch not in manager.data_registry:
        return np.zeros(manager.get_from_registry(modality.counts).shape[0], dtype=np.int64)
    names = np.asarray(manager.get_state_registry(modality.batch)[BatchField.NAMES]).tolist()
    key, mod = (getattr(manager.data_registry[modality.batch], part) for part in ("attr_key", "mod_key"))
    adata = manager.adata.mod[mod]
    if key not in adata.obs:
        raise ValueError(
            f"mdata.mod[{mod!r}].obs has no column {key!r}, and the model tells batches apart: give every cell one of "
            f"{names}."
        )
    labels = adata.obs[key]
    codes = pd.Index(names).get_indexer(pd.Index(labels.astype(str).where(labels.notna())))
    if (codes < 0).any():
        unknown = labels[codes < 0].astype(str).unique().tolist()
        raise ValueError(
            f"mdata.mod[{mod!r}].obs[{key!r}] holds batches that the model does not know: {unknown[:5]}. It was "
            f"trained on {names}. To estimate what sets new batches apart, call model.add_batches(mdata) first."
        )
    return codes


def batch_columns(
    mdata: MuData, batch_key: str | None, mods: dict[str, str], source: dict | None
) -> dict[str, str | None]:
    """Get the column with batches for each modality that has several: in these data, or in those of a saved model."""

    def has_several(role: str, mod: str) -> bool:
        if source is not None:
            return bool(source["field_registries"].get(MODALITIES[role].batch, {}).get("state_registry"))
        return batch_key is not None and batches_of(mdata.mod[mod], batch_key) is not None

    return {role: batch_key if has_several(role, mod) else None for role, mod in mods.items()}


def registered_groups(manager: AnnDataManager, role: str) -> np.ndarray:
    """Code of each cell's label among those of both modalities, of shape (n_cells,); negative where it has none."""
    rna, atac = (
        np.asarray(manager.get_state_registry(modality.groups)[GroupsField.CATEGORIES], dtype=str)
        for modality in MODALITIES.values()
    )
    shared = np.intersect1d(rna, atac)
    labels = label_names(pd.Series(manager.get_from_registry(MODALITIES[role].groups).ravel()))
    return pd.Index(shared.astype(object)).get_indexer(pd.Index(labels)).astype(np.int64)


def registered_batch_factors(manager: AnnDataManager, role: str) -> np.ndarray | None:
    """Factors of the batches of a modality, of shape (n_features, n_batches); ``None`` where there is one batch."""
    key = MODALITIES[role].batch_factors
    if key not in manager.data_registry:
        return None
    return np.asarray(manager.get_from_registry(key), dtype=np.float32)


def registered_prior(manager: AnnDataManager) -> sparse.csr_matrix:
    """Prior of shape (n_peaks, n_genes), its columns in the order of the registered genes."""
    stored = manager.get_from_registry(REGISTRY_KEYS.GENE_ACTIVITY)
    genes = registered_names(manager.registry, RNA)
    return sparse.csr_matrix(by_gene(stored, genes, REGISTRY_KEYS.GENE_ACTIVITY), dtype=np.float32)


def registered_anchors(manager: AnnDataManager) -> sparse.csr_matrix | None:
    """Weights between all RNA rows and all ATAC rows, of shape (n_rna, n_atac); ``None`` without anchors."""
    if REGISTRY_KEYS.ANCHORS not in manager.data_registry:
        return None
    rna, atac = (positions(manager.adata, mod) for mod in registered_modalities(manager).values())
    anchors = sparse.csr_matrix(manager.get_from_registry(REGISTRY_KEYS.ANCHORS))
    return anchors[rna][:, atac].tocsr()


def registered_confidence(manager: AnnDataManager) -> dict[str, np.ndarray] | None:
    """How far each cell's anchors are trusted, in [0, 1], by modality; ``None`` where nothing is said about it."""
    keys = {role: modality.confidence for role, modality in MODALITIES.items()}
    if not all(key in manager.data_registry for key in keys.values()):
        return None
    return {role: np.asarray(manager.get_from_registry(key)).ravel() for role, key in keys.items()}

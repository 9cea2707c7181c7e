"""MuData fields that a query may lack, and fields for anchors, their confidence and groups."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from rich.markup import escape
from rich.table import Table
from scipy import sparse
from scvi.data.fields import (
    BaseAnnDataField,
    BaseMuDataWrapperClass,
    MuDataLayerField,
    MuDataObsmField,
    MuDataVarmField,
)

from scdart._batches import batches_of
from scdart._checks import are_whole, by_gene
from scdart._chunks import on_disk
from scdart._groups import label_names

if TYPE_CHECKING:
    from mudata import MuData


class _OptionalOnTransfer(BaseMuDataWrapperClass):
    """Keeps the source's registry when the query lacks the modality, its cells or the slot.

    A model trained on both modalities then accepts RNA alone, ATAC alone, or cells without coordinates or prior.
    """

    def transfer_field(self, state_registry: dict, mdata_target: MuData, **kwargs: Any) -> dict:
        adata = mdata_target.mod.get(self.mod_key)
        if adata is None or adata.n_obs == 0:
            return dict(state_registry)
        if self.attr_key is not None and self.attr_key not in getattr(adata, self.attr_name):
            return dict(state_registry)
        return {**state_registry, **super().transfer_field(state_registry, mdata_target, **kwargs)}


class CountsField(_OptionalOnTransfer, MuDataLayerField):
    """Counts of one modality, in ``X`` or a layer; the registry remembers whether they are whole numbers."""

    WHOLE = "whole"

    def register_field(self, mdata: MuData) -> dict:
        """Register the counts, and look at some of them."""
        counts = self.get_field_data(mdata)
        return {**super().register_field(mdata), self.WHOLE: not on_disk(counts) and are_whole(counts)}


class DiffusionCoordinatesField(_OptionalOnTransfer, MuDataObsmField):
    """Diffusion coordinates of one modality; the registry remembers how many blocks (values of t) they hold."""

    N_BLOCKS = "n_blocks"

    def register_field(self, mdata: MuData) -> dict:
        """Register the coordinates and read the number of blocks from ``uns``."""
        state = super().register_field(mdata)
        uns = self.get_modality(mdata).uns[self.attr_key.removeprefix("X_")]
        return {**state, self.N_BLOCKS: len(np.atleast_1d(uns["t"]))}

    def get_summary_stats(self, state_registry: dict) -> dict:
        """Return the number of blocks of coordinates."""
        return {f"{self.registry_key}_{self.N_BLOCKS}": state_registry[self.N_BLOCKS]}


class PriorField(_OptionalOnTransfer, MuDataVarmField):
    """Gene-activity prior, peaks x genes; the registry remembers how many links it has."""

    N_LINKS = "n_links"

    def __init__(self, registry_key: str, attr_key: str, *, rna_mod: str, **kwargs: Any) -> None:
        super().__init__(registry_key, attr_key, **kwargs)
        self._rna_mod = rna_mod

    def register_field(self, mdata: MuData) -> dict:
        """Register the prior and count its links."""
        state = super().register_field(mdata)
        prior = by_gene(self.get_field_data(mdata), mdata.mod[self._rna_mod].var_names, self.attr_key)
        return {**state, self.N_LINKS: int(sparse.csr_matrix(prior).nnz)}

    def get_summary_stats(self, state_registry: dict) -> dict:
        """Return the number of links of the prior."""
        return {self.N_LINKS: state_registry[self.N_LINKS]}


class _TopLevelField(BaseAnnDataField):
    """A slot that is read, never written, and that may be switched off with ``attr_key=None``."""

    def __init__(self, registry_key: str, attr_name: str, attr_key: str | None, mod_key: str | None = None) -> None:
        self._registry_key, self._attr_name, self._attr_key, self._mod_key = registry_key, attr_name, attr_key, mod_key

    @property
    def registry_key(self) -> str:
        return self._registry_key

    @property
    def attr_name(self) -> str:
        return self._attr_name

    @property
    def attr_key(self) -> str | None:
        return self._attr_key

    @property
    def mod_key(self) -> str | None:
        return self._mod_key

    @property
    def is_empty(self) -> bool:
        return self._attr_key is None

    def validate_field(self, mdata: MuData) -> None:
        self.get_field_data(mdata)

    def register_field(self, mdata: MuData) -> dict:
        return super().register_field(mdata)

    def transfer_field(self, state_registry: dict, mdata_target: MuData, **kwargs: Any) -> dict:
        return dict(state_registry)

    def get_summary_stats(self, state_registry: dict) -> dict:
        return {}

    def view_state_registry(self, state_registry: dict) -> Table | None:
        return None


class AnchorsField(_TopLevelField):
    """Cell anchors in ``mdata.obsp``: rows are RNA cells, columns ATAC cells. Used in training only."""

    def __init__(self, registry_key: str, attr_key: str | None) -> None:
        super().__init__(registry_key, "obsp", attr_key)


class ConfidenceField(_TopLevelField):
    """How far the anchors of one modality's cells are trusted, in [0, 1]. Used in training only."""

    def __init__(self, registry_key: str, attr_key: str | None, mod_key: str) -> None:
        super().__init__(registry_key, "obsm", attr_key, mod_key)


class BatchField(_TopLevelField):
    """Batch of each cell of one modality, read from ``obs`` without writing codes into it."""

    NAMES = "batches"

    def __init__(self, registry_key: str, attr_key: str | None, mod_key: str) -> None:
        super().__init__(registry_key, "obs", attr_key, mod_key)

    def register_field(self, mdata: MuData) -> dict:
        """Register the names of the batches."""
        super().register_field(mdata)
        batches = batches_of(mdata.mod[self.mod_key], str(self.attr_key))
        assert batches is not None
        return {self.NAMES: np.array(batches.names)}

    def get_summary_stats(self, state_registry: dict) -> dict:
        """Return the number of batches."""
        return {f"n_{self.registry_key}": len(state_registry.get(self.NAMES, [None]))}

    def view_state_registry(self, state_registry: dict) -> Table | None:
        """Return a table of the batches by code, for ``view_anndata_setup``."""
        if not state_registry:
            return None
        slot = f"adata.mod[{self.mod_key!r}].obs[{self.attr_key!r}]"
        table = Table("Code", "Batch", title=f"{self.registry_key} State Registry: {slot}")
        for code, name in enumerate(state_registry[self.NAMES]):
            table.add_row(str(code), escape(str(name)))
        return table


class BatchFactorsField(_TopLevelField):
    """Factors of the batches of one modality in ``varm``, features x batches."""

    def __init__(self, registry_key: str, attr_key: str | None, mod_key: str) -> None:
        super().__init__(registry_key, "varm", attr_key, mod_key)


class GroupsField(_TopLevelField):
    """Group labels of one modality's cells, read from ``obs`` without writing codes into it."""

    CATEGORIES = "categories"

    def __init__(self, registry_key: str, attr_key: str | None, mod_key: str) -> None:
        super().__init__(registry_key, "obs", attr_key, mod_key)

    def register_field(self, mdata: MuData) -> dict:
        """Register the labels; missing values mean that a cell belongs to no group."""
        super().register_field(mdata)
        labels = label_names(pd.Series(self.get_field_data(mdata).ravel()))
        return {self.CATEGORIES: np.unique(labels.dropna().to_numpy(dtype=str))}

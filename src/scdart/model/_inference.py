"""What a trained model says about cells of either modality, one minibatch at a time."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from anndata import AnnData
from mudata import MuData
from scvi import settings
from scvi.model.base import BaseModelClass

from scdart._checks import check_cell_names, check_mudata
from scdart._constants import ATAC, RNA
from scdart._mudata import columns_stay, modality_rows
from scdart._options import check_options
from scdart._process import quiet, threads_that_pay
from scdart._random import seed_of
from scdart._replicates import spread_of_positions, turned_onto
from scdart.data import (
    MODALITIES,
    check_features,
    check_scale,
    names_of_modalities,
    registered_columns,
    registered_confidence,
    registered_groups,
    registered_names,
    sequential_loader,
)

from ._confidence import round_trip_confidence

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from scdart.module import SCDARTModule


class InferenceMixin(BaseModelClass):
    """Latent representation and predicted expression of a model with modalities RNA and ATAC."""

    module: SCDARTModule

    @torch.no_grad()
    def get_latent_representation(
        self,
        mdata: MuData | AnnData | None = None,
        *,
        modality: str | None = None,
        indices: Sequence[int] | np.ndarray | None = None,
        batch_size: int | None = None,
    ) -> np.ndarray:
        """Latent coordinates of the cells.

        Parameters
        ----------
        mdata
            MuData with the genes and peaks that the model was trained on; a modality may be missing. An AnnData is
            taken for cells of the modality whose features it has. ``None`` means the training data.
        modality
            Name of one modality. ``None`` means all cells, and cells measured in both modalities get the mean of
            their two positions.
        indices
            Rows of the modality, or of ``mdata.obs`` without ``modality``: their numbers, or a mask.
        batch_size
            Cells per minibatch; it does not change the result.

        Returns
        -------
        Array of shape ``(n_cells, n_latent)``, in the order of ``mdata.obs_names`` or of the modality.

        Raises
        ------
        KeyError
            If the modality is not one of the model's, or not in ``mdata``.
        ValueError
            If features are not those of the model in its order, counts cannot be used, or a cell is of no batch that
            the model knows.
        RuntimeError
            If the model has not been trained.
        """
        check_options(InferenceMixin.get_latent_representation, locals())
        return self._by_cell(mdata, modality, indices, batch_size, self.module.embed)

    @torch.no_grad()
    def get_gene_activity(
        self,
        mdata: MuData | AnnData | None = None,
        *,
        indices: Sequence[int] | np.ndarray | None = None,
        genes: Sequence[str] | None = None,
        batch_size: int | None = None,
    ) -> pd.DataFrame:
        """Expression that the gene-activity network predicts from the accessibility of the ATAC cells.

        Parameters
        ----------
        mdata
            MuData with the ATAC modality, or an AnnData of ATAC cells; ``None`` means the training data.
        indices
            Rows of the ATAC modality; ``None`` means all.
        genes
            Genes to return; ``None`` means all.
        batch_size
            Cells per minibatch.

        Returns
        -------
        Cells x genes, on the scale of log-normalised RNA (size factors relative to the median library, ``log1p``).

        Raises
        ------
        KeyError
            If ATAC is missing, or a gene is not one of the model's.
        RuntimeError
            If the model has not been trained.
        """
        check_options(InferenceMixin.get_gene_activity, locals())
        all_genes = registered_names(self.registry, RNA)
        columns = registered_columns(self.registry, RNA, genes)
        mdata = self._checked(mdata)
        modality = self._mods[ATAC]
        rows = self._rows(mdata, modality, indices)
        with self._threads():
            parts = [
                self.module.predict_expression(tensors)[:, columns].cpu().numpy()
                for tensors in self._minibatches(mdata, ATAC, rows, batch_size)
            ]
        return pd.DataFrame(np.concatenate(parts), mdata[modality].obs_names[rows], all_genes[columns])

    def get_alignment_confidence(
        self,
        mdata: MuData | None = None,
        *,
        modality: str | None = None,
        n_neighbors: int = 30,
        batch_size: int | None = None,
        replicates: Sequence[InferenceMixin] | None = None,
    ) -> pd.Series:
        """How far a cell's neighbours in the other modality can be believed to be of its kind.

        That takes two things. The other modality must have such cells where the cell lies: the way from a cell to its
        nearest cells of the other modality, and from these back to the nearest of its own, ends among the cell's
        neighbours if the two modalities lie in one another there, and further away if the other modality has no such
        cells. Unequal proportions of cell types change this little. Training pulls cells towards others all the same,
        so half of it goes with the confidence in the anchors around, which was found before. And there must be reason
        to believe that the modalities were put together rightly: the support that held-out genes give to the anchors of
        the training data (``uns["anchors"]["support"]``), which is near 0 where the prior carries no signal. Cells of
        the training data whose label of known groups both modalities have need none.

        Parameters
        ----------
        mdata
            MuData with both modalities; ``None`` means the training data.
        modality
            Name of one modality. ``None`` means all cells, and cells measured in both get the mean of their two values.
        n_neighbors
            Neighbours to take at each turn.
        batch_size
            Cells per minibatch; it does not change the result.
        replicates
            Further trainings of the model, see :meth:`scdart.model.SCDART.train_replicates`. Cells that move between
            them have less confidence: :math:`1 - s^2` of it, with the spread :math:`s` of :func:`scdart.tl.spread`.

        Returns
        -------
        Mean distance to the cell's neighbours, divided by the mean distance to the cells at the end of the way, at
        most 1, and averaged over neighbours; times :math:`(1 + a)/2` with the mean confidence :math:`a` of the
        neighbours' anchors, in the training data; times the support. It is about 0.8 in well mixed data, below 0.7 for
        populations that the other modality lacks, and near 0 where nothing supports the alignment. The index are the
        names of the cells.

        Raises
        ------
        KeyError
            If a modality is missing: the confidence compares the two.
        ValueError
            If a modality has no more cells than ``n_neighbors``, or several cells of a name.
        RuntimeError
            If the model has not been trained.

        Examples
        --------
        >>> import scdart
        >>> mdata = scdart.datasets.simulate("linear", n_cells=100, n_genes=50, n_peaks=150)
        >>> scdart.pp.diffusion_coordinates(mdata)
        >>> scdart.model.SCDART.setup_mudata(mdata)
        >>> model = scdart.model.SCDART(mdata)
        >>> model.train(max_epochs=1)
        >>> bool(model.get_alignment_confidence().between(0, 1).all())
        True
        """
        check_options(InferenceMixin.get_alignment_confidence, locals())
        mdata = self._checked(mdata)
        role = None if modality is None else self._role(modality)
        missing = [name for name in self._mods.values() if name not in mdata.mod]
        if missing:
            raise KeyError(f"modality {missing[0]!r} is not in mdata.mod: the confidence compares both modalities.")
        for name in self._mods.values():
            check_cell_names(mdata, name)
        z = {
            each: self.get_latent_representation(mdata, modality=name, batch_size=batch_size)
            for each, name in self._mods.items()
        }
        for each, name in self._mods.items():
            if len(z[each]) <= n_neighbors:
                raise ValueError(f"mdata[{name!r}] has {len(z[each])} cells, not more than n_neighbors={n_neighbors}.")
        stays = self._steadiness(mdata, z, replicates or ())
        anchored = (registered_confidence(self.adata_manager) if mdata is self.adata else None) or {}
        other = {RNA: ATAC, ATAC: RNA}
        seed = seed_of(None)
        confidence = {
            each: pd.Series(
                round_trip_confidence(z[each], z[other[each]], n_neighbors, seed, anchored.get(each))
                * self._support(mdata, each)
                * stays[each],
                mdata[name].obs_names,
            )
            for each, name in self._mods.items()
            if role in (None, each)
        }
        if role is not None:
            return confidence[role].rename("alignment_confidence")
        both = pd.concat(confidence.values())
        return both.groupby(level=0).mean().reindex(mdata.obs_names).rename("alignment_confidence")

    def get_normalized_expression(self, *args: Any, **kwargs: Any) -> None:
        # inherited from scvi-tools, whose models reconstruct the counts that they are given
        raise NotImplementedError(
            "SCDART predicts expression from accessibility: use `get_gene_activity` for ATAC cells, or "
            "`scdart.tl.joint_anndata(mdata, model)` for measured and predicted expression of all cells."
        )

    def differential_abundance(self, *args: Any, **kwargs: Any) -> None:
        # inherited from scvi-tools, where it takes a distribution of the places of a cell
        raise NotImplementedError(
            "SCDART gives a cell one place, not a distribution: compare samples by neighbours in obsm['X_scdart'] of "
            "`scdart.tl.joint_anndata(mdata)`, for example with Milo in pertpy."
        )

    def _steadiness(
        self, mdata: MuData, z: dict[str, np.ndarray], replicates: Sequence[InferenceMixin]
    ) -> dict[str, np.ndarray]:
        """How far cells of either modality, at the positions `z`, stay where they are in other trainings."""
        if not replicates:
            return {role: np.ones(len(values)) for role, values in z.items()}
        reference = np.concatenate(list(z.values())).astype(np.float64)
        turned = [
            turned_onto(
                reference,
                np.concatenate([model.get_latent_representation(mdata, modality=self._mods[role]) for role in z]),
            )
            for model in replicates
        ]
        stays = 1 - np.minimum(spread_of_positions(reference, turned), 1) ** 2
        return dict(zip(z, np.split(stays, np.cumsum([len(values) for values in z.values()])[:-1]), strict=True))

    def _support(self, mdata: MuData, role: str) -> np.ndarray:
        """Reason to believe in the place of each cell: that of the anchors, or a label that both modalities have."""
        if mdata is self.adata and MODALITIES[role].groups in self.adata_manager.data_registry:
            return np.where(registered_groups(self.adata_manager, role) >= 0, 1.0, self.support_)
        return np.full(mdata.mod[self._mods[role]].n_obs, self.support_)

    def _by_cell(
        self,
        mdata: MuData | AnnData | None,
        modality: str | None,
        indices: Sequence[int] | np.ndarray | None,
        batch_size: int | None,
        compute: Callable[[dict[str, torch.Tensor], str], torch.Tensor],
    ) -> np.ndarray:
        """Apply ``compute`` to the cells of one modality, or to all cells with shared cells averaged."""
        mdata = self._checked(mdata)

        def values(role: str, rows: np.ndarray) -> np.ndarray:
            with self._threads():
                parts = [compute(tensors, role) for tensors in self._minibatches(mdata, role, rows, batch_size)]
            z = torch.cat(parts).cpu().numpy()
            if not np.isfinite(z).all():
                raise ValueError(
                    f"The model gives cells of {self._mods[role]!r} positions that are NaN or infinite: its training "
                    "has diverged. Train it anew with a smaller learning rate, plan_kwargs={'lr': ...}."
                )
            return z

        if modality is not None:
            return values(self._role(modality), self._rows(mdata, modality, indices))
        cells = np.arange(mdata.n_obs) if indices is None else _integer_rows(indices, mdata.n_obs, "mdata.obs")
        measured = np.zeros((len(cells), 1), dtype=np.float32)
        total = np.full((len(cells), 1), np.nan, dtype=np.float32)
        for role, name in self._mods.items():
            rows = modality_rows(mdata, name)[cells] if name in mdata.mod else np.full(len(cells), -1)
            present = rows >= 0
            if present.any():
                found = values(role, rows[present])
                total = np.broadcast_to(total, (len(cells), found.shape[1])).copy()
                total[present] = np.where(measured[present] > 0, total[present], 0) + found
                measured[present] += 1
        if not measured.all():
            warnings.warn(
                f"{np.count_nonzero(measured == 0):,} cells are of neither modality of the model, "
                f"{list(self._mods.values())}: their rows are NaN. Leave other modalities out before you go on.",
                UserWarning,
                stacklevel=settings.warnings_stacklevel,
            )
        return total / np.maximum(measured, 1)

    def _minibatches(self, mdata: MuData, role: str, rows: np.ndarray, batch_size: int | None) -> Iterator[dict]:
        self.module.eval()
        manager = self.get_anndata_manager(mdata, required=True)
        loader = sequential_loader(manager, role, rows, batch_size=batch_size or settings.batch_size)
        for batch in loader:
            yield {name: tensor.to(self.module.device) for name, tensor in batch[role].items()}

    def _threads(self) -> AbstractContextManager[None]:
        return threads_that_pay(sum(self.summary_stats[modality.n_features] for modality in MODALITIES.values()))

    @property
    def _mods(self) -> dict[str, str]:
        return names_of_modalities(self.registry)

    def _role(self, modality: str) -> str:
        for role, name in self._mods.items():
            if name == modality:
                return role
        raise KeyError(f"modality {modality!r} is not one of the model's: {list(self._mods.values())}.")

    def _checked(self, mdata: MuData | AnnData | None) -> MuData:
        self._check_if_trained(warn=False)
        if isinstance(mdata, AnnData):
            mdata = self._as_mudata(mdata)
        if mdata is not None and mdata is not self._adata:
            self._check_query(mdata)
        self._check_counts(self._adata if mdata is None else mdata)
        if mdata is not None and mdata.is_view:
            mdata = mdata.copy()  # scvi-tools would turn the user's view into a copy in place
        with quiet():
            return self._validate_anndata(mdata)

    def _as_mudata(self, adata: AnnData) -> MuData:
        """Take cells of one modality for what their features say they are."""
        for role, mod in self._mods.items():
            if adata.var_names.isin(registered_names(self.registry, role)).mean() > 0.5:
                with columns_stay():
                    return MuData({mod: adata})
        raise ValueError(
            "The AnnData has neither the genes nor the peaks of the model: its var_names are "
            f"{adata.var_names[:3].to_list()}, ..."
        )

    def _check_query(self, mdata: MuData) -> None:
        """Raise unless new cells have the features of the model in its order."""
        check_mudata(mdata)
        if not any(mod in mdata.mod for mod in self._mods.values()):
            raise KeyError(
                f"mdata has none of the modalities of the model, {list(self._mods.values())}, but {list(mdata.mod)}: "
                "name them as in training."
            )
        check_features(mdata, self._mods, self.registry)

    def _check_counts(self, mdata: MuData | None) -> None:
        """Check what is to be read: also training data may have been normalised since."""
        for role, mod in self._mods.items():
            if mdata is not None and mod in mdata.mod and mdata.mod[mod].n_obs:
                layer = self.registry["setup_args"][MODALITIES[role].argument]
                check_scale(mdata.mod[mod], layer, mod, self.registry, role)

    def _rows(self, mdata: MuData, modality: str, indices: Sequence[int] | np.ndarray | None) -> np.ndarray:
        if modality not in mdata.mod:
            raise KeyError(f"modality {modality!r} is not in mdata.mod, which has {sorted(mdata.mod)}.")
        n_cells = mdata[modality].n_obs
        rows = np.arange(n_cells) if indices is None else _integer_rows(indices, n_cells, f"mdata[{modality!r}]")
        if not len(rows):
            raise ValueError(f"No cells were asked for: mdata[{modality!r}] has {n_cells:,}.")
        return rows


def _integer_rows(indices: Sequence[int] | np.ndarray, n_cells: int, where: str) -> np.ndarray:
    rows = np.asarray(indices)
    if rows.dtype == bool and rows.shape == (n_cells,):
        rows = np.flatnonzero(rows)
    if rows.ndim != 1 or (rows.size and rows.dtype.kind not in "iu"):
        raise ValueError(f"indices must be numbers of rows of {where}, or a mask of its {n_cells:,} rows.")
    if rows.size and (rows.min() < 0 or rows.max() >= n_cells):
        raise ValueError(f"indices go from {rows.min()} to {rows.max()}, but {where} has {n_cells} rows.")
    return rows.astype(np.int64)

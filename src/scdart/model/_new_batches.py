"""Batches that a trained model has not seen: their factors, estimated against its training data."""

from __future__ import annotations

import logging
from copy import deepcopy
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp
import torch

from scdart import pp
from scdart._batches import MIN_BATCH, batch_labels, check_batches
from scdart._checks import stored_counts
from scdart._chunks import take
from scdart._options import check_options
from scdart._random import seed_of
from scdart.data import MODALITIES, BatchField, names_of_modalities, registered_batches, registered_names

from ._fine_tuning import fine_tune, places_of_partners
from ._inference import InferenceMixin

if TYPE_CHECKING:
    from mudata import MuData

logger = logging.getLogger(__name__)

#: Cells of a step of fine-tuning, whose counts are dense.
_CELLS_PER_STEP = 128


class NewBatchesMixin(InferenceMixin):
    """Batches of new cells, for a model that was trained with several."""

    #: scvi-tools takes the first query of a model that was loaded without data for its own data.
    _has_training_data: bool

    def add_batches(
        self,
        mdata: MuData,
        *,
        n_neighbors: int = MIN_BATCH - 1,
        n_steps: int = 0,
        random_state: int | None = None,
    ) -> None:
        """Learn by which factors batches differ that the model was not trained on, without training it again.

        Cells of a new batch are compared with the training cells, as :func:`scdart.pp.batch_factors` compares batches;
        factors of batches that the model knows stay as they are, and so do its weights and the places of their cells.

        Parameters
        ----------
        mdata
            New cells of one modality or of both, with counts and batches where the training data have them, and the
            features of the model in its order (:meth:`prepare_query_mudata`).
        n_neighbors
            Nearest training cells among which a cell must be, and the other way round.
        n_steps
            Steps of fine-tuning that follow, 100 are enough: gradient descent on the factors of the new batches, in the
            manner of scArches :cite:p:`Lotfollahi2022`. Their cells come nearer to the training cells that are their
            mutual nearest in the latent space.
        random_state
            Seed of the sample of cells where there are many, and of the steps; ``None`` takes ``scvi.settings.seed``,
            or 0 where there is none.

        Returns
        -------
        ``None``. From then on the model takes cells of these batches, and is saved with their factors.

        Raises
        ------
        KeyError
            Neither modality has the column with batches.
        ValueError
            The model knows no batches or has no training data, features differ, counts cannot be used, a cell has no
            batch, a batch is too small, or an option is out of range.
        RuntimeError
            If the model has not been trained.

        Examples
        --------
        >>> import scdart
        >>> mdata = scdart.datasets.simulate(n_cells=150, n_genes=100, n_peaks=200, n_batches_rna=3, batch_effect=1.0)
        >>> is_new = mdata["rna"].obs["batch"] == "rna_2"
        >>> old = mdata[~mdata.obs_names.isin(mdata["rna"].obs_names[is_new])].copy()
        >>> scdart.pp.diffusion_coordinates(old, batch_key="batch")
        >>> scdart.pp.anchors(old, batch_key="batch")
        >>> scdart.model.SCDART.setup_mudata(old, batch_key="batch")
        >>> model = scdart.model.SCDART(old)
        >>> model.train(max_epochs=1)
        >>> model.add_batches(mdata)
        >>> latent = model.get_latent_representation(mdata, modality="rna")
        >>> latent.shape
        (150, 9)
        """
        check_options(NewBatchesMixin.add_batches, locals())
        self._check_if_trained(warn=False)
        key = self.registry["setup_args"].get("batch_key")
        mods = {role: mod for role, mod in names_of_modalities(self.registry).items() if mod in mdata.mod}
        if key is None:
            raise ValueError("The model knows no batches: train it with setup_mudata(mdata, batch_key=...).")
        if not self._has_training_data:
            raise ValueError("New batches are compared with the training data: load the model with them.")
        check_batches(mdata, key, mods, min_cells=1, may_be_one=True)
        # What is registered of other data does not know the new batches; it is registered anew when it is used.
        managers = self._per_instance_manager_store[self.id]
        for uuid in [uuid for uuid, manager in managers.items() if manager is not self._adata_manager]:
            del managers[uuid]
        seed, rows = seed_of(random_state), {}
        for role, mod in mods.items():
            field = self.registry["field_registries"].get(MODALITIES[role].batch, {}).get("state_registry")
            if field and key in mdata.mod[mod].obs:
                n_known = len(field[BatchField.NAMES])
                rows[role] = n_known, self._add(mdata, role, mod, n_neighbors, seed)
        # Where another model has registered the training data since, scvi-tools registers them anew from this.
        self.adata_manager._source_registry = deepcopy(self.adata_manager.registry)
        for role, (n_known, new) in rows.items():
            if n_steps and len(new):
                self._fine_tune(mdata, role, new, n_known, n_steps, n_neighbors, seed)

    def _add(self, mdata: MuData, role: str, mod: str, n_neighbors: int, seed: int) -> np.ndarray:
        """Estimate the factors of the new batches of a modality; returns the rows of their cells."""
        adata, registered = mdata.mod[mod], self.registry["field_registries"][MODALITIES[role].batch]
        known = np.asarray(registered["state_registry"][BatchField.NAMES]).tolist()
        labels = batch_labels(adata, self.registry["setup_args"]["batch_key"])
        new = sorted(set(labels) - set(known))
        if not new:
            return np.zeros(0, dtype=np.int64)
        names = registered_names(self.registry, role)
        if not adata.var_names.equals(names):
            raise ValueError(
                f"mdata.mod[{mod!r}].var_names are not the {len(names):,} features of the model in their order: run "
                "scdart.model.SCDART.prepare_query_mudata(mdata, model) first."
            )
        sizes = {name: int((labels == name).sum()) for name in new}
        if min(sizes.values()) <= n_neighbors:
            raise ValueError(f"Batches of few cells {sizes}: more than n_neighbors={n_neighbors} are needed.")
        normalization = self.module.encoders[role].get_submodule("normalization")
        factors = normalization.get_buffer("batch_factors")
        trained_on = registered_batches(self.adata_manager, role)
        rows = pp.sample_of_batches(trained_on, n_neighbors, np.random.default_rng(seed))
        counts = stored_counts(adata, self.registry["setup_args"][MODALITIES[role].argument], mod)
        is_new = np.flatnonzero(labels.isin(new))
        estimate = pp.estimate_factors(
            role,
            sp.vstack(
                [
                    sp.csr_matrix(take(self.adata_manager.get_from_registry(MODALITIES[role].counts), rows)),
                    sp.csr_matrix(take(counts, is_new)),
                ],
                format="csr",
            ),
            np.concatenate([trained_on[rows], len(known) + np.searchsorted(new, labels.iloc[is_new])]),
            n_neighbors,
            seed,
            held=factors.cpu().double().log().numpy(),
        )
        added = torch.as_tensor(np.exp(estimate.log_factors[len(known) :]), dtype=factors.dtype, device=factors.device)
        normalization.batch_factors = torch.cat([factors, added])
        registered["state_registry"][BatchField.NAMES] = np.array([*known, *new])
        registered["summary_stats"] = {f"n_{MODALITIES[role].batch}": len(known) + len(new)}
        matched = ", ".join(
            f"{name} {share:.0%}" for name, share in zip(new, estimate.matched[len(known) :], strict=True)
        )
        logger.info("New batches of %s: cells with a counterpart among the training cells %s.", mod, matched)
        return is_new

    def _fine_tune(
        self, mdata: MuData, role: str, new: np.ndarray, n_known: int, n_steps: int, n_neighbors: int, seed: int
    ) -> None:
        mdata, mod, rng = self._checked(mdata), self._mods[role], np.random.default_rng(seed)
        known = pp.sample_of_batches(registered_batches(self.adata_manager, role), n_neighbors, rng)
        rows, places = places_of_partners(
            self.get_latent_representation(mdata, modality=mod, indices=new.tolist()),
            self.get_latent_representation(modality=mod, indices=known.tolist()),
        )
        if not len(rows):
            return
        size = min(_CELLS_PER_STEP, len(rows))
        drawn = np.concatenate([rng.permutation(len(rows))[:size] for _ in range(n_steps)])
        wanted = torch.as_tensor(places[drawn], dtype=torch.float32, device=self.module.device).split(size)
        cells = self._minibatches(mdata, role, new[rows[drawn]], size)
        fine_tune(self.module, role, zip(cells, wanted, strict=True), n_known)

"""Train, validation and test cells of each modality, and the loaders over them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from lightning import LightningDataModule
from scvi import settings
from torch.utils.data import DataLoader

from scdart._constants import ATAC, RNA
from scdart._mudata import modality_rows

from ._dataset import UnpairedDataset
from ._registered import registered_anchors, registered_confidence, registered_modalities
from ._sampler import PairSampler
from ._validation import MIN_CELLS

if TYPE_CHECKING:
    from scvi.data import AnnDataManager


class UnpairedDataSplitter(LightningDataModule):
    """Splits the cells of each modality and serves minibatches of both.

    A cell measured in both modalities goes to the same side in both, so that nothing of a validation cell is seen in
    training. Pairing is not used for anything else.

    Parameters
    ----------
    adata_manager
        Manager of a MuData registered by :meth:`scdart.model.SCDART.setup_mudata`.
    train_size, validation_size
        Shares of each modality's cells; the rest is the test set. Without ``train_size``, 0.9. Without
        ``validation_size``, what ``train_size`` leaves.
    shuffle_set_split
        Whether to shuffle the cells before splitting.
    external_indexing
        ``{"rna": [train, validation, test], "atac": [train, validation, test]}``, rows of each modality; the last two
        may be left out.
    batch_size
        Cells of each modality per minibatch.
    anchored
        Whether cells meet as partners under the registered anchors; otherwise they are drawn independently.
    **loader_kwargs
        Passed on to :class:`torch.utils.data.DataLoader` (``num_workers``, ``pin_memory``, ...).
    """

    def __init__(
        self,
        adata_manager: AnnDataManager,
        train_size: float | None = None,
        validation_size: float | None = None,
        shuffle_set_split: bool = True,
        external_indexing: dict[str, list[np.ndarray]] | None = None,
        batch_size: int = 256,
        anchored: bool = True,
        load_sparse_tensor: bool = True,
        distributed_sampler: bool = False,
        **loader_kwargs: Any,
    ) -> None:
        # `load_sparse_tensor` and `distributed_sampler` come with every call of scvi-tools' train(). Counts are always
        # sparse here, and the sampler finds out by itself whether there are other processes.
        super().__init__()
        self.adata_manager = adata_manager
        self.batch_size = batch_size
        self.anchored = anchored
        self.loader_kwargs = {
            "num_workers": settings.dl_num_workers,
            "persistent_workers": settings.dl_persistent_workers,
            **loader_kwargs,
        }
        self._dataset = UnpairedDataset(adata_manager)
        if external_indexing is not None:
            self._split = _check_external(external_indexing, self._dataset)
        else:
            self._split = self._split_by_cell(*_check_sizes(train_size, validation_size), shuffle_set_split)
        self._seed, self._epoch = settings.seed or 0, 0
        self._train_sampler: PairSampler | None = None
        self._name_sides()

    def _name_sides(self) -> None:
        self.train_idx, self.val_idx, self.test_idx = (
            {role: self._split[role][side] for role in (RNA, ATAC)} for side in range(3)
        )
        self.n_train, self.n_val = (sum(map(len, idx.values())) for idx in (self.train_idx, self.val_idx))
        for role, rows in self.train_idx.items():
            if len(rows) < MIN_CELLS:
                raise ValueError(f"{len(rows)} training cells of {role}: at least {MIN_CELLS} are needed.")

    def _split_by_cell(self, train: float, validation: float, shuffle: bool) -> dict[str, list[np.ndarray]]:
        mdata = self.adata_manager.adata
        rows = {role: modality_rows(mdata, mod) for role, mod in registered_modalities(self.adata_manager).items()}
        rng = np.random.default_rng(settings.seed)
        sides: dict[str, list[list[np.ndarray]]] = {role: [[], [], []] for role in rows}
        in_rna, in_atac = rows[RNA] >= 0, rows[ATAC] >= 0
        for stratum in (in_rna & in_atac, in_rna & ~in_atac, ~in_rna & in_atac):
            cells = np.flatnonzero(stratum)
            cells = rng.permutation(cells) if shuffle else cells
            n_train, n_val = int(np.ceil(train * len(cells))), int(np.floor(validation * len(cells)))
            for side, part in enumerate((cells[n_val : n_val + n_train], cells[:n_val], cells[n_val + n_train :])):
                for role in rows:
                    sides[role][side].append(rows[role][part][rows[role][part] >= 0])
        return {role: [np.concatenate(parts) for parts in side] for role, side in sides.items()}

    def state_dict(self) -> dict[str, Any]:
        """Get what decides on the minibatches to come: sides of the cells, seed and epoch."""
        split = {role: [torch.as_tensor(rows) for rows in sides] for role, sides in self._split.items()}
        epoch = self._epoch if self._train_sampler is None else self._train_sampler.epoch
        return {"split": split, "seed": self._seed, "epoch": epoch}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on with the cells and draws of an earlier run.

        Parameters
        ----------
        state_dict
            What :meth:`state_dict` returned in that run.

        Raises
        ------
        ValueError
            It is of other data.
        """
        split = {role: [rows.numpy() for rows in sides] for role, sides in state_dict["split"].items()}
        for role, sides in split.items():
            n_cells = self._dataset.n_cells(role)
            if sum(map(len, sides)) != n_cells:
                raise ValueError(
                    f"The checkpoint is of {sum(map(len, sides)):,} {role} cells, and there are {n_cells:,}."
                )
        self._split, self._seed, self._epoch = split, state_dict["seed"], state_dict["epoch"]
        self._name_sides()

    def train_dataloader(self) -> DataLoader:
        """Minibatches of training cells, drawn anew every epoch."""
        self._train_sampler = self._sampler(self.train_idx, shuffle=True)
        # Workers ask for minibatches at once, before Lightning says in which epoch it is.
        self._train_sampler.set_epoch(self._epoch)
        return self._loader(self._train_sampler)

    def val_dataloader(self) -> DataLoader | list:
        """Minibatches of validation cells, the same every epoch; an empty list if there are none."""
        return self._held_out(self.val_idx)

    def test_dataloader(self) -> DataLoader | list:
        """Minibatches of test cells; an empty list if there are none."""
        return self._held_out(self.test_idx)

    def _held_out(self, rows: dict[str, np.ndarray]) -> DataLoader | list:
        if min(map(len, rows.values())) < MIN_CELLS:
            return []
        return self._loader(self._sampler(rows, shuffle=False))

    def _loader(self, sampler: PairSampler) -> DataLoader:
        return DataLoader(self._dataset, sampler=sampler, batch_size=None, **self.loader_kwargs)

    def _sampler(self, rows: dict[str, np.ndarray], *, shuffle: bool) -> PairSampler:
        return PairSampler(
            rows,
            registered_anchors(self.adata_manager) if self.anchored else None,
            registered_confidence(self.adata_manager),
            batch_size=min(self.batch_size, min(map(len, rows.values()))),
            shuffle=shuffle,
            seed=self._seed,
        )


def _check_sizes(train: float | None, validation: float | None) -> tuple[float, float]:
    train = 0.9 if train is None else train
    validation = 1 - train if validation is None else validation
    if not 0 < train <= 1 or not 0 <= validation < 1 or train + validation > 1 + 1e-9:
        raise ValueError(
            f"train_size={train} and validation_size={validation}: give shares with 0 < train_size <= 1, "
            "0 <= validation_size < 1 and a sum of at most 1."
        )
    return train, validation


def _check_external(indexing: dict[str, list[np.ndarray]], dataset: UnpairedDataset) -> dict[str, list[np.ndarray]]:
    if set(indexing) != {RNA, ATAC}:
        raise ValueError(f"external_indexing has keys {sorted(indexing)}: give 'rna' and 'atac'.")
    empty = np.array([], dtype=np.int64)
    split = {}
    for role, parts in indexing.items():
        split[role] = [np.asarray(part) for part in parts] + [empty] * (3 - len(parts))
        rows = np.concatenate(split[role])
        if len(np.unique(rows)) < len(rows) or len(rows) == 0 or rows.min() < 0 or rows.max() >= dataset.n_cells(role):
            raise ValueError(
                f"external_indexing[{role!r}] must hold rows of 0..{dataset.n_cells(role) - 1}, each at most once."
            )
    return split

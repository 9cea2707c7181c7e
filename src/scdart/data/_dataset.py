"""Minibatches of either modality as tensors, counts kept sparse."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pandas as pd
import torch
from scipy import sparse
from torch.utils.data import DataLoader, Dataset

from scdart._chunks import held, take
from scdart._constants import ATAC, RNA

from ._constants import BATCH_KEYS
from ._modalities import MODALITIES
from ._registered import registered_batches, registered_groups

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from scvi.data import AnnDataManager

#: Tensors by modality and name, and the weights of the pairs: what :class:`UnpairedDataset` returns for a request.
Minibatch: TypeAlias = dict[str, Any]
#: Rows wanted of each modality (numbers within the modality), and the weights of the pairs.
Request: TypeAlias = "Mapping[str, np.ndarray]"

with warnings.catch_warnings():
    # torch says once per process that this layout is in beta; nobody who trains a model needs to read that.
    warnings.simplefilter("ignore")
    torch.sparse_csr_tensor([0], [], [], size=(0, 0), check_invariants=False)


class UnpairedDataset(Dataset):
    """Cells of two modalities, fetched by row numbers that are local to each modality.

    Parameters
    ----------
    manager
        Manager of a MuData registered by :meth:`scdart.model.SCDART.setup_mudata`.
    roles
        Which of ``"rna"`` and ``"atac"`` to serve.
    targets
        Whether to add what only training needs: diffusion coordinates and groups.
    """

    def __init__(self, manager: AnnDataManager, roles: Iterable[str] = (RNA, ATAC), *, targets: bool = True) -> None:
        self._data: dict[str, dict[str, Any]] = {}
        for role in roles:
            modality = MODALITIES[role]
            counts = manager.get_from_registry(modality.counts)
            # Each cell is asked for many times in training, and once otherwise.
            counts = held(counts) if targets else counts
            slots = {BATCH_KEYS.COUNTS: counts, BATCH_KEYS.BATCH: registered_batches(manager, role)}
            if targets:
                slots[BATCH_KEYS.COORDINATES] = manager.get_from_registry(modality.coordinates)
                if modality.groups in manager.data_registry:
                    slots[BATCH_KEYS.GROUPS] = registered_groups(manager, role)
            self._data[role] = slots

    def n_cells(self, role: str) -> int:
        """Return the number of cells of a modality."""
        return self._data[role][BATCH_KEYS.COUNTS].shape[0]

    def __len__(self) -> int:
        return max(self.n_cells(role) for role in self._data)

    def __getitem__(self, request: Request) -> Minibatch:
        batch: Minibatch = {
            role: {name: _tensor(_take(data, request[role])) for name, data in slots.items()}
            for role, slots in self._data.items()
            if role in request
        }
        if BATCH_KEYS.PAIR_WEIGHT in request:
            batch[BATCH_KEYS.PAIR_WEIGHT] = torch.as_tensor(request[BATCH_KEYS.PAIR_WEIGHT], dtype=torch.float32)
        return batch


def sequential_loader(
    manager: AnnDataManager, role: str, rows: np.ndarray, *, batch_size: int, **kwargs: Any
) -> Iterator[Minibatch]:
    """Minibatches of one modality in the order of ``rows``, counts only: what inference needs."""
    requests = [{role: rows[start : start + batch_size]} for start in range(0, len(rows), batch_size)]
    # A request is a whole minibatch, so that a sparse matrix is sliced once: `batch_size=None` switches collation off.
    return iter(
        DataLoader(UnpairedDataset(manager, (role,), targets=False), sampler=requests, batch_size=None, **kwargs)
    )


def _take(data: Any, rows: np.ndarray) -> Any:
    return data.iloc[rows].to_numpy() if isinstance(data, pd.DataFrame) else take(data, rows)


def _tensor(values: Any) -> torch.Tensor:
    if not sparse.issparse(values):
        return torch.as_tensor(values if values.dtype.kind in "iu" and values.ndim == 1 else values.astype(np.float32))
    values = values.tocsr()
    return torch.sparse_csr_tensor(
        torch.as_tensor(values.indptr, dtype=torch.int64),
        torch.as_tensor(values.indices, dtype=torch.int64),
        torch.as_tensor(values.data, dtype=torch.float32),
        size=values.shape,
        check_invariants=False,
    )

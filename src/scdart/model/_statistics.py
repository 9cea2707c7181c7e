"""What the module has to know about the training data before it is trained, gathered in sparse passes over it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy import sparse

from scdart._constants import ATAC, RNA
from scdart.data import BATCH_KEYS, REGISTRY_KEYS
from scdart.data._dataset import sequential_loader
from scdart.module import PriorLinear

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from scvi.data import AnnDataManager

    from scdart.module import SCDARTModule

#: Cells read at once: large enough to be fast, small enough that a dense block of genes is small.
CHUNK = 2048


@torch.no_grad()
def initialize_from_data(module: SCDARTModule, manager: AnnDataManager) -> None:
    """Fill the module's buffers with the prior and with the statistics that normalisation holds.

    Parameters
    ----------
    module
        A new module.
    manager
        Manager of the training data.
    """

    def chunks(role: str, key: str) -> Iterator[torch.Tensor]:
        rows = np.arange(manager.get_from_registry(key).shape[0])
        for batch in sequential_loader(manager, role, rows, batch_size=CHUNK):
            yield batch[role][BATCH_KEYS.COUNTS]

    def rna() -> Iterator[torch.Tensor]:
        return chunks(RNA, REGISTRY_KEYS.RNA)

    def atac() -> Iterator[torch.Tensor]:
        return chunks(ATAC, REGISTRY_KEYS.ATAC)

    module.library_size.copy_(torch.cat([_dense_sum(counts, 1) for counts in rna()]).median())
    mean, deviation = _moments(rna(), module.log_expression)
    module.gene_mean.copy_(mean)
    module.gene_deviation.copy_(deviation)
    n_cells, open_cells = 0, torch.zeros(module.n_peaks)
    for counts in atac():
        n_cells += counts.shape[0]
        open_cells += _dense_sum(counts, 0)
    module.inverse_frequency.copy_(torch.log1p(n_cells / open_cells.clamp(min=1)))
    prior = sparse.csr_matrix(manager.get_from_registry(REGISTRY_KEYS.GENE_ACTIVITY), dtype=np.float32)
    links = module.gene_activity.links
    links.set_prior(prior)
    if isinstance(links, PriorLinear):
        links.standardize(*_moments(atac(), lambda counts: links(module.accessibility(counts))))


def _dense_sum(counts: torch.Tensor, dim: int) -> torch.Tensor:
    if counts.layout is not torch.sparse_csr:
        return counts.sum(dim)
    if dim == 1:
        return torch.segment_reduce(counts.values(), "sum", offsets=counts.crow_indices())
    return torch.bincount(counts.col_indices(), counts.values(), counts.shape[1])


def _moments(
    chunks: Iterator[torch.Tensor], transform: Callable[[torch.Tensor], torch.Tensor]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation of every column of the transformed cells."""
    n_cells, total, squares = 0, torch.zeros(()), torch.zeros(())
    for counts in chunks:
        values = transform(counts).double()
        n_cells += len(values)
        total, squares = total + values.sum(dim=0), squares + values.square().sum(dim=0)
    mean = total / n_cells
    return mean, (squares / n_cells - mean.square()).clamp(min=0).sqrt()

"""Fine-tuning of the factors of new batches, with all else held: their cells are drawn to the known ones like them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from scdart._neighbors import nearest
from scdart.data import BATCH_KEYS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from scipy import sparse

    from scdart.module import SCDARTModule

#: Step of Adam, in logarithms of factors.
_LEARNING_RATE = 0.02

#: Nearest cells among which partners must be, either way.
_N_PARTNERS = 10


def places_of_partners(new: np.ndarray, known: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Find the new cells that are among the nearest of their nearest known cells, and the mean place of these.

    Parameters
    ----------
    new, known
        Latent coordinates of shape (n_new, n_latent) and (n_known, n_latent).

    Returns
    -------
    Rows of the new cells that have such partners, ascending, and places of shape (n_found, n_latent). Cells that the
    known ones have no like of are not among them.
    """

    def links(query: np.ndarray, reference: np.ndarray) -> sparse.csr_matrix:
        found = nearest(query, reference, n_neighbors=min(_N_PARTNERS, len(reference)))
        return found.to_csr(np.ones(found.indices.shape), len(reference))

    pairs = links(new, known).multiply(links(known, new).T).tocsr()
    n_partners = pairs.getnnz(axis=1)
    found = np.flatnonzero(n_partners)
    return found, (pairs[found] @ known) / n_partners[found, None]


def fine_tune(
    module: SCDARTModule,
    role: str,
    minibatches: Iterable[tuple[dict[str, torch.Tensor], torch.Tensor]],
    n_known: int,
) -> None:
    """Change the factors of new batches so that their cells come nearer to where they should lie.

    As in scArches, only what belongs to the new batches is learned. Cells of known batches stay where they are.

    Parameters
    ----------
    module
        The module.
    role
        Which modality it is.
    minibatches
        One for each step: tensors of cells of new batches, and places of shape (n_cells, n_latent).
    n_known
        Number of batches whose factors stay.
    """
    normalization = module.encoders[role].get_submodule("normalization")
    known, new = normalization.get_buffer("batch_factors").tensor_split([n_known])
    logs = new.log().requires_grad_()
    optimizer = torch.optim.Adam([logs], lr=_LEARNING_RATE)
    trainable = [parameter for parameter in module.parameters() if parameter.requires_grad]
    module.eval().requires_grad_(False)
    try:
        for tensors, places in minibatches:
            normalization.batch_factors = torch.cat([known, logs.exp()])
            # Through values of sparse tensors there is no gradient.
            dense = {**tensors, BATCH_KEYS.COUNTS: tensors[BATCH_KEYS.COUNTS].to_dense()}
            loss = (module.embed(dense, role) - places).square().sum(dim=1).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    finally:
        normalization.batch_factors = torch.cat([known, logs.detach().exp()])
        for parameter in trainable:
            parameter.requires_grad_(True)

"""What the module takes from the training data before it is trained, in sparse passes over them.

Statistics that normalisation holds, the prior, and the linear maps that the networks begin with: principal components
of expression, and the directions of accessibility that best predict the expression of a cell's anchors, with principal
components of accessibility beside them.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy import sparse
from scvi import settings
from sklearn.decomposition import PCA
from sklearn.preprocessing import normalize

from scdart._chunks import on_disk, rows_at_once
from scdart._constants import ATAC, RNA
from scdart._process import one_blas_thread
from scdart._progress import parts
from scdart._ridge import fit_ridge, ridge_penalty
from scdart.data import (
    BATCH_KEYS,
    MODALITIES,
    registered_anchors,
    registered_batch_factors,
    registered_n_cells,
    registered_prior,
    sequential_loader,
)
from scdart.module import GeneActivityNetwork, LogLibraryNormalization

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from scvi.data import AnnDataManager

    from scdart.module import SCDARTModule

#: Cells read at once: large enough to be fast, small enough that a dense block of genes is small.
_CHUNK = 2048

#: Most cells to fit the linear maps to: a few dozen components need no more, and cost stops growing.
_MAX_FIT = 20_000

#: Accuracy of the directions that the networks begin with.
_TOLERANCE = 1e-4

_CONTENTS = {RNA: "expression", ATAC: "accessibility"}


@torch.no_grad()
def initialize_from_data(module: SCDARTModule, manager: AnnDataManager, *, anchored: bool) -> None:
    """Fill the module's buffers, and start its networks, from the training data.

    Parameters
    ----------
    module
        A new module.
    manager
        Manager of the training data.
    anchored
        Whether the networks may start from what the registered anchors tell.
    """
    module.activity_encoder.set_prior(registered_prior(manager))
    starts_linear = module.projection.components is not None
    with one_blas_thread(), parts("Start of the networks", len(module.encoders) + starts_linear) as begin:
        for role, encoder in ((RNA, module.expression_encoder), (ATAC, module.activity_encoder)):
            begin(f"statistics of {_CONTENTS[role]}")
            if (factors := registered_batch_factors(manager, role)) is not None:
                encoder.normalization.set_batch_factors(torch.as_tensor(factors.T))
            encoder.initialize(partial(_chunks, manager, role))
        if starts_linear:
            begin("linear maps")
            _start_linear(module, manager, registered_anchors(manager) if anchored else None)


def _start_linear(module: SCDARTModule, manager: AnnDataManager, anchors: sparse.csr_matrix | None) -> None:
    rna, atac, projection = module.expression_encoder, module.activity_encoder, module.projection
    assert projection.components is not None
    assert isinstance(atac.network, GeneActivityNetwork)
    assert isinstance(rna.normalization, LogLibraryNormalization)
    log_expression, scale = rna.normalization.log_expression, rna.normalization.scale.numpy()
    n_components = projection.components.out_features
    rng = np.random.default_rng(settings.seed)
    sample = _sample(manager, RNA, rng)
    expression = _csr(manager, RNA, sample, lambda *chunk: log_expression(*chunk).to_sparse_csr())
    # Few cells or genes have fewer components; the others stay zero.
    n_found = min(n_components, *(size - 1 for size in expression.shape))
    pca = PCA(n_found, svd_solver="arpack", random_state=int(rng.integers(2**31)))
    spread = pca.fit_transform(expression @ sparse.diags(1 / scale)).std()
    components = torch.zeros_like(projection.components.weight)
    components[:n_found] = torch.as_tensor(pca.components_.copy())
    projection.set_components(components / spread)
    if anchors is None:
        return  # nothing to regress on: the directions are learned with everything else

    n_own = atac.network.directions.weight.shape[1] - n_components
    own, own_offset = _accessibility_components(manager, atac.normalization, n_own, rng)
    positions = [rna.expression(*chunk) @ components.t() / spread for chunk in _chunks(manager, RNA)]
    matched = normalize(anchors.T, norm="l1") @ torch.cat(positions).numpy()
    # Cells that RNA lacks have anchors of little confidence, and must not bend the directions of the others.
    confidence = np.asarray(anchors.sum(axis=0)).ravel()
    sample = np.sort(rng.permutation(np.flatnonzero(confidence))[:_MAX_FIT])
    accessibility = _csr(manager, ATAC, sample, atac.normalization)
    ridge = fit_ridge(accessibility, matched[sample], ridge_penalty(accessibility), _TOLERANCE, confidence[sample])
    atac.network.set_directions(
        torch.cat([torch.as_tensor(ridge.coefficients), own], dim=1),
        torch.cat([torch.as_tensor(ridge.intercept), own_offset]),
        # Nothing is known yet of what the components of accessibility do to expression.
        torch.cat([components.t() * spread, torch.zeros(components.shape[1], n_own)], dim=1),
    )


def _accessibility_components(
    manager: AnnDataManager,
    normalization: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    n_components: int,
    rng: np.random.Generator,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Principal components of accessibility: the directions, and what centres the positions of cells along them."""
    accessibility = _csr(manager, ATAC, _sample(manager, ATAC, rng), normalization)
    directions, offset = torch.zeros(accessibility.shape[1], n_components), torch.zeros(n_components)
    if n_found := min(n_components, *(size - 1 for size in accessibility.shape)):
        pca = PCA(n_found, svd_solver="arpack", random_state=int(rng.integers(2**31)))
        spread = pca.fit_transform(accessibility).std()
        directions[:, :n_found] = torch.as_tensor(pca.components_.T / spread)
        offset[:n_found] = torch.as_tensor(-pca.components_ @ pca.mean_ / spread)
    return directions, offset


def _chunks(
    manager: AnnDataManager, role: str, rows: np.ndarray | None = None
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    rows = np.arange(registered_n_cells(manager)[role]) if rows is None else rows
    counts = manager.get_from_registry(MODALITIES[role].counts)
    n_rows = min(_CHUNK, rows_at_once(counts)) if on_disk(counts) else _CHUNK
    for batch in sequential_loader(manager, role, rows, batch_size=n_rows):
        yield batch[role][BATCH_KEYS.COUNTS], batch[role][BATCH_KEYS.BATCH]


def _sample(manager: AnnDataManager, role: str, rng: np.random.Generator) -> np.ndarray:
    return np.sort(rng.permutation(registered_n_cells(manager)[role])[:_MAX_FIT])


def _csr(
    manager: AnnDataManager,
    role: str,
    rows: np.ndarray,
    transform: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
) -> sparse.csr_matrix:
    """Transform cells and put them into one matrix for SciPy."""
    chunks = []
    for chunk in _chunks(manager, role, rows):
        x = transform(*chunk)
        x = x if x.layout is torch.sparse_csr else x.to_sparse_csr()
        arrays = (x.values().numpy(), x.col_indices().numpy(), x.crow_indices().numpy())
        chunks.append(sparse.csr_matrix(arrays, shape=tuple(x.shape)))
    return sparse.vstack(chunks, format="csr")

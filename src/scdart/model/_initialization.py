"""What the module takes from the training data before it is trained, in sparse passes over them.

Statistics that normalisation holds, the prior, and the linear maps that the networks begin with: principal components
of expression, and the directions of accessibility that best predict the expression of a cell's anchors, with principal
components of accessibility beside them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy import sparse
from scvi import settings
from sklearn.decomposition import PCA
from sklearn.preprocessing import normalize

from scdart._constants import ATAC, RNA
from scdart._progress import parts
from scdart._ridge import fit_ridge, ridge_penalty
from scdart.data import BATCH_KEYS, REGISTRY_KEYS
from scdart.data._dataset import sequential_loader
from scdart.data._fields import registered_anchors
from scdart.module import GeneActivityNetwork

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from scvi.data import AnnDataManager

    from scdart.module import SCDARTModule

#: Cells read at once: large enough to be fast, small enough that a dense block of genes is small.
_CHUNK = 2048

#: Most cells to fit the linear maps to: a few dozen components need no more, and cost stops growing.
_MAX_FIT = 20_000

#: Accuracy of the directions that the networks begin with.
_TOLERANCE = 1e-4

#: Standard deviation of the prior path's output before training: as z-scores, it would begin as noise.
_PRIOR_SCALE = 0.1

_COUNTS = {RNA: REGISTRY_KEYS.RNA, ATAC: REGISTRY_KEYS.ATAC}


@torch.no_grad()
def initialize_from_data(module: SCDARTModule, manager: AnnDataManager) -> None:
    """Fill the module's buffers, and start its networks, from the training data.

    Parameters
    ----------
    module
        A new module.
    manager
        Manager of the training data.
    """
    with parts("Start of the networks", 2 if module.published else 3) as begin:
        begin("statistics of expression")
        module.library_size.copy_(torch.cat([_row_sums(counts) for counts in _chunks(manager, RNA)]).median())
        mean, deviation = _moments(module.log_expression(counts) for counts in _chunks(manager, RNA))
        module.gene_mean.copy_(mean)
        module.gene_deviation.copy_(deviation)
        begin("statistics of accessibility")
        n_cells, n_open = 0, torch.zeros(module.n_peaks)
        for counts in _chunks(manager, ATAC):
            n_cells += counts.shape[0]
            n_open += _open_cells(counts)
        module.inverse_frequency.copy_(torch.log1p(n_cells / n_open.clamp(min=1)))
        prior = sparse.csr_matrix(manager.get_from_registry(REGISTRY_KEYS.GENE_ACTIVITY), dtype=np.float32)
        module.gene_activity.set_prior(prior)
        if isinstance(module.gene_activity, GeneActivityNetwork):
            links = module.gene_activity.links
            links.standardize(
                *_moments(links(module.accessibility(counts)) for counts in _chunks(manager, ATAC)), scale=_PRIOR_SCALE
            )
            begin("linear maps")
            _start_linear(module, module.gene_activity, manager)


def _start_linear(module: SCDARTModule, gene_activity: GeneActivityNetwork, manager: AnnDataManager) -> None:
    assert module.projection.components is not None
    n_components = module.projection.components.out_features
    rng = np.random.default_rng(settings.seed)
    sample = _sample(manager, RNA, rng)
    used = module.gene_deviation.numpy() > 0
    scale = np.divide(1, module.gene_deviation.numpy(), out=np.zeros(len(used), dtype=np.float32), where=used)
    expression = _csr(manager, RNA, sample, lambda counts: module.log_expression(counts).to_sparse_csr())
    # Few cells or genes have fewer components; the others stay zero.
    n_found = min(n_components, *(size - 1 for size in expression.shape))
    pca = PCA(n_found, svd_solver="arpack", random_state=int(rng.integers(2**31)))
    spread = pca.fit_transform(expression @ sparse.diags(scale)).std()
    components = torch.zeros(n_components, module.n_genes)
    components[:n_found] = torch.as_tensor(pca.components_.copy())
    module.projection.set_components(components / spread)
    if (anchors := registered_anchors(manager)) is None:
        return  # nothing to regress on: the directions are learned with everything else

    n_own = gene_activity.directions.weight.shape[1] - n_components
    own, own_offset = _accessibility_components(module, manager, n_own, rng)
    positions = [module.expression(counts) @ components.t() / spread for counts in _chunks(manager, RNA)]
    matched = normalize(anchors.T, norm="l1") @ torch.cat(positions).numpy()
    # Cells that RNA lacks have anchors of little confidence, and must not bend the directions of the others.
    confidence = np.asarray(anchors.sum(axis=0)).ravel()
    sample = np.sort(rng.permutation(np.flatnonzero(confidence))[:_MAX_FIT])
    accessibility = _csr(manager, ATAC, sample, module.accessibility)
    ridge = fit_ridge(accessibility, matched[sample], ridge_penalty(accessibility), _TOLERANCE, confidence[sample])
    gene_activity.set_directions(
        torch.cat([torch.as_tensor(ridge.coefficients), own], dim=1),
        torch.cat([torch.as_tensor(ridge.intercept), own_offset]),
        # Nothing is known yet of what the components of accessibility do to expression.
        torch.cat([components.t() * spread, torch.zeros(module.n_genes, n_own)], dim=1),
    )


def _accessibility_components(
    module: SCDARTModule, manager: AnnDataManager, n_components: int, rng: np.random.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Principal components of accessibility: the directions, and what centres the positions of cells along them."""
    directions, offset = torch.zeros(module.n_peaks, n_components), torch.zeros(n_components)
    accessibility = _csr(manager, ATAC, _sample(manager, ATAC, rng), module.accessibility)
    if n_found := min(n_components, *(size - 1 for size in accessibility.shape)):
        pca = PCA(n_found, svd_solver="arpack", random_state=int(rng.integers(2**31)))
        spread = pca.fit_transform(accessibility).std()
        directions[:, :n_found] = torch.as_tensor(pca.components_.T / spread)
        offset[:n_found] = torch.as_tensor(-pca.components_ @ pca.mean_ / spread)
    return directions, offset


def _chunks(manager: AnnDataManager, role: str, rows: np.ndarray | None = None) -> Iterator[torch.Tensor]:
    rows = np.arange(manager.get_from_registry(_COUNTS[role]).shape[0]) if rows is None else rows
    for batch in sequential_loader(manager, role, rows, batch_size=_CHUNK):
        yield batch[role][BATCH_KEYS.COUNTS]


def _sample(manager: AnnDataManager, role: str, rng: np.random.Generator) -> np.ndarray:
    n_cells = manager.get_from_registry(_COUNTS[role]).shape[0]
    return np.sort(rng.permutation(n_cells)[:_MAX_FIT])


def _csr(
    manager: AnnDataManager, role: str, rows: np.ndarray, transform: Callable[[torch.Tensor], torch.Tensor]
) -> sparse.csr_matrix:
    """Transform cells and put them into one matrix for SciPy."""
    parts = []
    for counts in _chunks(manager, role, rows):
        x = transform(counts)
        x = x if x.layout is torch.sparse_csr else x.to_sparse_csr()
        arrays = (x.values().numpy(), x.col_indices().numpy(), x.crow_indices().numpy())
        parts.append(sparse.csr_matrix(arrays, shape=tuple(x.shape)))
    return sparse.vstack(parts, format="csr")


def _row_sums(counts: torch.Tensor) -> torch.Tensor:
    if counts.layout is not torch.sparse_csr:
        return counts.sum(dim=1)
    return torch.segment_reduce(counts.values(), "sum", offsets=counts.crow_indices())


def _open_cells(counts: torch.Tensor) -> torch.Tensor:
    if counts.layout is not torch.sparse_csr:
        return (counts > 0).sum(dim=0)
    return torch.bincount(counts.col_indices()[counts.values() > 0], minlength=counts.shape[1])


def _moments(chunks: Iterable[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation of every column."""
    n_cells, total, squares = 0, torch.zeros(()), torch.zeros(())
    for chunk in chunks:
        values = chunk.double()
        n_cells += len(values)
        total, squares = total + values.sum(dim=0), squares + values.square().sum(dim=0)
    mean = total / n_cells
    return mean, (squares / n_cells - mean.square()).clamp(min=0).sqrt()

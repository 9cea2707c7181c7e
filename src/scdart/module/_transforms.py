"""Values of cells in compressed sparse row (CSR) layout, transformed without making them dense.

Everything here costs O(stored values), takes either a dense tensor or a ``torch.sparse_csr`` tensor, and returns the
same numbers for both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional as F

if TYPE_CHECKING:
    from collections.abc import Callable


def is_csr(x: torch.Tensor) -> bool:
    if x.layout in (torch.strided, torch.sparse_csr):
        return x.layout is torch.sparse_csr
    raise ValueError(f"x has the layout {x.layout}; give a dense tensor or one in CSR layout, x.to_sparse_csr().")


def csr_rows(x: torch.Tensor) -> torch.Tensor:
    """Row of every stored value."""
    return torch.repeat_interleave(torch.arange(x.shape[0], device=x.device), x.crow_indices().diff())


def _map_values(x: torch.Tensor, function: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
    """Apply an elementwise function that keeps zero at zero."""
    if is_csr(x):
        values = function(x.values())
        # The pattern is x's own and needs no second check.
        return torch.sparse_csr_tensor(x.crow_indices(), x.col_indices(), values, x.shape, check_invariants=False)
    return function(x)


def _scale_rows(x: torch.Tensor, target_sum: float | torch.Tensor) -> torch.Tensor:
    """Scale every row to the same sum; rows of zeros stay zero."""
    if is_csr(x):
        rows, values = csr_rows(x), x.values()
        sums = values.new_zeros(x.shape[0]).index_add(0, rows, values)
        factors = target_sum / sums.where(sums > 0, 1.0)
        return _map_values(x, lambda values: values * factors[rows])
    sums = x.sum(dim=1, keepdim=True)
    return x * (target_sum / sums.where(sums > 0, 1.0))


def row_sums(x: torch.Tensor) -> torch.Tensor:
    """Sum of every row of a dense or CSR tensor, of shape (n_rows,)."""
    if not is_csr(x):
        return x.sum(dim=1)
    return torch.segment_reduce(x.values(), "sum", offsets=x.crow_indices())


def log_normalize(x: torch.Tensor, target_sum: float | torch.Tensor = 1e4) -> torch.Tensor:
    r"""Log-normalise counts to :math:`\log(1 + s\, x_{ij} / \sum_j x_{ij})`.

    Parameters
    ----------
    x
        Counts of shape (n_cells, n_features), dense or CSR.
    target_sum
        Library size :math:`s` that every cell is scaled to, a scalar.

    Returns
    -------
    Tensor of the shape and layout of ``x``; a cell without counts stays zero.

    Examples
    --------
    >>> import torch
    >>> log_normalize(torch.tensor([[1.0, 3.0], [0.0, 0.0]]), target_sum=4).exp() - 1
    tensor([[1., 3.],
            [0., 0.]])
    """
    return _map_values(_scale_rows(x, target_sum), torch.log1p)


def tfidf(x: torch.Tensor, idf: torch.Tensor, target_sum: float = 1e4) -> torch.Tensor:
    r"""Term frequency times inverse document frequency, :math:`\log(1 + s\, x_{ij} / \sum_j x_{ij})\, w_j`.

    With :math:`w_j = \log(1 + n / \sum_i x_{ij})` over the training cells this is the default of
    :func:`muon.atac.pp.tfidf`, except that the weights are held, so that a cell's values do not depend on the cells
    that come with it.

    Parameters
    ----------
    x
        Counts or 0/1 accessibility of shape (n_cells, n_peaks), dense or CSR.
    idf
        Weights :math:`w` of shape (n_peaks,).
    target_sum
        Library size :math:`s` that every cell is scaled to.

    Returns
    -------
    Tensor of the shape and layout of ``x``; a cell without counts stays zero.

    Examples
    --------
    >>> import torch
    >>> tfidf(torch.tensor([[1.0, 1.0, 0.0]]), torch.tensor([1.0, 2.0, 3.0]), target_sum=2).exp()
    tensor([[2., 4., 1.]])
    """
    frequency = log_normalize(x, target_sum)
    if is_csr(frequency):
        return _map_values(frequency, lambda values: values * idf[frequency.col_indices()])
    return frequency * idf


def unit_rows(x: torch.Tensor) -> torch.Tensor:
    """Scale every cell to Euclidean length 1; a cell of zeros stays zero.

    Parameters
    ----------
    x
        Cells of shape (n_cells, n_features), dense or CSR.

    Returns
    -------
    Tensor of the shape and layout of ``x``.

    Examples
    --------
    >>> import torch
    >>> unit_rows(torch.tensor([[3.0, 4.0], [0.0, 0.0]]))
    tensor([[0.6000, 0.8000],
            [0.0000, 0.0000]])
    """
    if not is_csr(x):
        return F.normalize(x, dim=1)
    rows, values = csr_rows(x), x.values()
    lengths = values.new_zeros(x.shape[0]).index_add(0, rows, values.square()).sqrt()
    return _map_values(x, lambda values: values / lengths.where(lengths > 0, 1.0)[rows])


def scale_by_batch(x: torch.Tensor, factors: torch.Tensor, batch: torch.Tensor) -> torch.Tensor:
    """Multiply every value by the factor of its feature in the batch of its cell.

    Parameters
    ----------
    x
        Cells of shape (n_cells, n_features), dense or CSR.
    factors
        Of shape (n_batches, n_features).
    batch
        Code of each cell's batch, of shape (n_cells,).

    Returns
    -------
    Tensor of the shape and layout of ``x``.

    Examples
    --------
    >>> import torch
    >>> factors = torch.tensor([[1.0, 1.0], [2.0, 0.5]])
    >>> scale_by_batch(torch.ones(2, 2), factors, torch.tensor([1, 0]))
    tensor([[2.0000, 0.5000],
            [1.0000, 1.0000]])
    """
    if not is_csr(x):
        return x * factors[batch]
    return _map_values(x, lambda values: values * factors[batch[csr_rows(x)], x.col_indices()])


def binarize(x: torch.Tensor) -> torch.Tensor:
    """Open (1) or closed (0): one where a value is positive.

    Parameters
    ----------
    x
        Counts of shape (n_cells, n_peaks), dense or CSR.

    Returns
    -------
    Tensor of the shape, layout and type of ``x``.

    Examples
    --------
    >>> import torch
    >>> binarize(torch.tensor([[0.0, 3.0]]))
    tensor([[0., 1.]])
    """
    return _map_values(x, lambda values: (values > 0).to(values.dtype))

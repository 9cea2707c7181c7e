"""Normalisation of counts within the module, with statistics of the training data held as buffers.

A cell's values then never depend on the cells beside it. Each class knows how to take its statistics from the training
data (:meth:`fit`), and those of expression how to get back to log-expression (:meth:`invert`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeAlias

import torch
from torch import nn

from ._transforms import binarize, log_normalize, row_sums, scale_by_batch, tfidf, unit_rows

#: Reads counts of the training cells and their batches, from the start at each call.
Chunks: TypeAlias = Callable[[], Iterator[tuple[torch.Tensor, torch.Tensor]]]

#: Library size of the published preprocessing.
_PUBLISHED_LIBRARY_SIZE = 100.0


class Normalization(nn.Module):
    """From counts to what a network reads: ``forward`` says how, from counts and the batch of each cell.

    Parameters
    ----------
    n_features
        Number of genes or peaks.
    n_batches
        Number of batches. Factors by which their values become comparable are held as a buffer; a single batch has
        none.
    """

    batch_factors: torch.Tensor | None

    def __init__(self, n_features: int, n_batches: int = 1) -> None:
        super().__init__()
        self.register_buffer("batch_factors", torch.ones(n_batches, n_features) if n_batches > 1 else None)

    def set_batch_factors(self, factors: torch.Tensor) -> None:
        """Take over the factors of several batches, of shape (n_batches, n_features)."""
        assert self.batch_factors is not None
        self.batch_factors.copy_(factors)

    def without_batch_effects(self, values: torch.Tensor, batch: torch.Tensor) -> torch.Tensor:
        """Scale counts or weights of shape (n_cells, n_features) by the factors of each cell's batch."""
        return values if self.batch_factors is None else scale_by_batch(values, self.batch_factors, batch)

    def fit(self, chunks: Chunks) -> None:
        """Take the statistics from the training data; ``chunks`` reads them, for each pass. By default none."""


class ExpressionNormalization(Normalization):
    """Normalisation of expression, on whose scale expression is predicted, too."""

    def log_expression(self, counts: torch.Tensor, batch: torch.Tensor) -> torch.Tensor:
        """Log-normalised expression, dense, of shape (n_cells, n_genes)."""
        raise NotImplementedError

    def invert(self, values: torch.Tensor) -> torch.Tensor:
        """Bring normalised values back to log-normalised expression."""
        raise NotImplementedError


class LogLibraryNormalization(ExpressionNormalization):
    r"""Log-counts relative to the median library, z-scored by gene.

    .. math:: x_{ig} = \frac{\log(1 + s\, c_{ig} / \sum_g c_{ig}) - \mu_g}{\sigma_g}

    with the median :math:`s` of the libraries, and mean and deviation of each gene over the training cells.

    Parameters
    ----------
    n_genes, n_batches
        Number of genes, and of batches.

    Examples
    --------
    >>> import torch
    >>> normalization = LogLibraryNormalization(n_genes=2)
    >>> counts, batch = torch.tensor([[1.0, 3.0], [2.0, 2.0]]), torch.tensor([0, 0])
    >>> normalization.fit(lambda: iter([(counts, batch)]))
    >>> normalization(counts, batch).round()
    tensor([[-1.,  1.],
            [ 1., -1.]])
    """

    library_size: torch.Tensor
    mean: torch.Tensor
    deviation: torch.Tensor

    def __init__(self, n_genes: int, n_batches: int = 1) -> None:
        super().__init__(n_genes, n_batches)
        self.register_buffer("library_size", torch.tensor(1.0))
        self.register_buffer("mean", torch.zeros(n_genes))
        self.register_buffer("deviation", torch.ones(n_genes))

    @torch.no_grad()
    def fit(self, chunks: Chunks) -> None:
        """Take the median library, and mean and deviation of every gene."""
        libraries = [row_sums(self.without_batch_effects(*chunk)) for chunk in chunks()]
        self.library_size.copy_(torch.cat(libraries).median())
        mean, deviation = column_moments(self.log_expression(*chunk) for chunk in chunks())
        self.mean.copy_(mean)
        self.deviation.copy_(deviation)

    @property
    def scale(self) -> torch.Tensor:
        """Deviation of the genes, infinite where a gene never varies, since its zero must not make it large."""
        return self.deviation.where(self.deviation > 0, torch.inf)

    def log_expression(self, counts: torch.Tensor, batch: torch.Tensor) -> torch.Tensor:
        """Log-normalise cells; dense, of shape (n_cells, n_genes)."""
        return _log_expression(self.without_batch_effects(counts, batch), float(self.library_size))

    def forward(self, counts: torch.Tensor, batch: torch.Tensor) -> torch.Tensor:
        """Z-scores of shape (n_cells, n_genes)."""
        return (self.log_expression(counts, batch) - self.mean) / self.scale

    def invert(self, values: torch.Tensor) -> torch.Tensor:
        """Log-normalised expression of z-scores."""
        return values * self.deviation + self.mean


class PublishedLogNormalization(ExpressionNormalization):
    """Log-counts relative to a library of 100, as published; nothing is taken from the training data.

    References
    ----------
    Zhang, Yang & Zhang (2022), Genome Biology 23:139.
    """

    def log_expression(self, counts: torch.Tensor, batch: torch.Tensor) -> torch.Tensor:
        """Log-normalise cells; dense, of shape (n_cells, n_genes)."""
        return _log_expression(self.without_batch_effects(counts, batch), _PUBLISHED_LIBRARY_SIZE)

    def forward(self, counts: torch.Tensor, batch: torch.Tensor) -> torch.Tensor:
        """Log-expression itself."""
        return self.log_expression(counts, batch)

    def invert(self, values: torch.Tensor) -> torch.Tensor:
        """Log-expression is what it is."""
        return values


class TfidfNormalization(Normalization):
    r"""TF-IDF of open peaks, scaled to unit length: how many peaks a cell has open cancels out.

    Parameters
    ----------
    n_peaks, n_batches
        Number of peaks, and of batches.

    Examples
    --------
    >>> import torch
    >>> normalization = TfidfNormalization(n_peaks=2)
    >>> normalization.fit(lambda: iter([(torch.eye(2), torch.tensor([0, 0]))]))
    >>> normalization(torch.tensor([[2.0, 0.0]]), torch.tensor([0]))
    tensor([[1., 0.]])
    """

    inverse_frequency: torch.Tensor

    def __init__(self, n_peaks: int, n_batches: int = 1) -> None:
        super().__init__(n_peaks, n_batches)
        self.register_buffer("inverse_frequency", torch.ones(n_peaks))

    @torch.no_grad()
    def fit(self, chunks: Chunks) -> None:
        """Take the inverse document frequency of every peak."""
        n_cells, n_open = 0, torch.zeros_like(self.inverse_frequency)
        for counts, _ in chunks():
            n_cells += counts.shape[0]
            n_open += _open_cells(counts)
        self.inverse_frequency.copy_(torch.log1p(n_cells / n_open.clamp(min=1)))

    def forward(self, counts: torch.Tensor, batch: torch.Tensor) -> torch.Tensor:
        """Weights of shape (n_cells, n_peaks), in the layout of the counts."""
        weights = tfidf(binarize(counts), self.inverse_frequency)
        return unit_rows(self.without_batch_effects(weights, batch))


class BinaryNormalization(Normalization):
    """Open or closed, as published.

    References
    ----------
    Zhang, Yang & Zhang (2022), Genome Biology 23:139.
    """

    def forward(self, counts: torch.Tensor, batch: torch.Tensor) -> torch.Tensor:
        """Zeros and ones of shape (n_cells, n_peaks), in the layout of the counts, times the factors of batches."""
        return self.without_batch_effects(binarize(counts), batch)


def column_moments(chunks: Iterable[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation of every column, over chunks of cells."""
    n_cells, total, squares = 0, torch.zeros(()), torch.zeros(())
    for chunk in chunks:
        values = chunk.double()
        n_cells += len(values)
        total, squares = total + values.sum(dim=0), squares + values.square().sum(dim=0)
    mean = total / n_cells
    return mean, (squares / n_cells - mean.square()).clamp(min=0).sqrt()


def _log_expression(counts: torch.Tensor, library_size: float) -> torch.Tensor:
    values = log_normalize(counts, library_size)
    return values.to_dense() if values.layout is torch.sparse_csr else values


def _open_cells(counts: torch.Tensor) -> torch.Tensor:
    if counts.layout is not torch.sparse_csr:
        return (counts > 0).sum(dim=0)
    return torch.bincount(counts.col_indices()[counts.values() > 0], minlength=counts.shape[1])

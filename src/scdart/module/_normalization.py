"""Normalisation of counts within the module, with statistics of the training data held as buffers.

A cell's values then never depend on the cells beside it. Each class knows how to take its statistics from the training
data (:meth:`fit`), and those of expression how to get back to log-expression (:meth:`invert`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from ._sparse import binarize, log_normalize, row_sums, tfidf, unit_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

#: Library size of the published preprocessing.
_PUBLISHED_LIBRARY_SIZE = 100.0


class Normalization(nn.Module):
    """From counts of shape (n_cells, n_features), in their layout, to what a network reads: ``forward`` says how."""

    def fit(self, chunks: Callable[[], Iterator[torch.Tensor]]) -> None:
        """Take the statistics from the training data; ``chunks`` reads the counts, for each pass. By default none."""


class ExpressionNormalization(Normalization):
    """Normalisation of expression, on whose scale expression is predicted, too."""

    def log_expression(self, counts: torch.Tensor) -> torch.Tensor:
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
    n_genes
        Number of genes.

    Examples
    --------
    >>> import torch
    >>> normalization = LogLibraryNormalization(n_genes=2)
    >>> normalization.fit(lambda: iter([torch.tensor([[1.0, 3.0], [2.0, 2.0]])]))
    >>> normalization(torch.tensor([[1.0, 3.0], [2.0, 2.0]])).round()
    tensor([[-1.,  1.],
            [ 1., -1.]])
    """

    library_size: torch.Tensor
    mean: torch.Tensor
    deviation: torch.Tensor

    def __init__(self, n_genes: int) -> None:
        super().__init__()
        self.register_buffer("library_size", torch.tensor(1.0))
        self.register_buffer("mean", torch.zeros(n_genes))
        self.register_buffer("deviation", torch.ones(n_genes))

    @torch.no_grad()
    def fit(self, chunks: Callable[[], Iterator[torch.Tensor]]) -> None:
        """Take the median library, and mean and deviation of every gene."""
        self.library_size.copy_(torch.cat([row_sums(counts) for counts in chunks()]).median())
        mean, deviation = column_moments(self.log_expression(counts) for counts in chunks())
        self.mean.copy_(mean)
        self.deviation.copy_(deviation)

    @property
    def scale(self) -> torch.Tensor:
        """Deviation of the genes, infinite where a gene never varies, since its zero must not make it large."""
        return self.deviation.where(self.deviation > 0, torch.inf)

    def log_expression(self, counts: torch.Tensor) -> torch.Tensor:
        """Log-normalise cells; dense, of shape (n_cells, n_genes)."""
        return _log_expression(counts, float(self.library_size))

    def forward(self, counts: torch.Tensor) -> torch.Tensor:
        """Z-scores of shape (n_cells, n_genes)."""
        return (self.log_expression(counts) - self.mean) / self.scale

    def invert(self, values: torch.Tensor) -> torch.Tensor:
        """Log-normalised expression of z-scores."""
        return values * self.deviation + self.mean


class PublishedLogNormalization(ExpressionNormalization):
    """Log-counts relative to a library of 100, as published; nothing is taken from the training data.

    References
    ----------
    Zhang, Yang & Zhang (2022), Genome Biology 23:139.
    """

    def log_expression(self, counts: torch.Tensor) -> torch.Tensor:
        """Log-normalise cells; dense, of shape (n_cells, n_genes)."""
        return _log_expression(counts, _PUBLISHED_LIBRARY_SIZE)

    def forward(self, counts: torch.Tensor) -> torch.Tensor:
        """Log-expression itself."""
        return self.log_expression(counts)

    def invert(self, values: torch.Tensor) -> torch.Tensor:
        """Log-expression is what it is."""
        return values


class TfidfNormalization(Normalization):
    r"""TF-IDF of open peaks, scaled to unit length: how many peaks a cell has open cancels out.

    Parameters
    ----------
    n_peaks
        Number of peaks.

    Examples
    --------
    >>> import torch
    >>> normalization = TfidfNormalization(n_peaks=2)
    >>> normalization.fit(lambda: iter([torch.eye(2)]))
    >>> normalization(torch.tensor([[2.0, 0.0]]))
    tensor([[1., 0.]])
    """

    inverse_frequency: torch.Tensor

    def __init__(self, n_peaks: int) -> None:
        super().__init__()
        self.register_buffer("inverse_frequency", torch.ones(n_peaks))

    @torch.no_grad()
    def fit(self, chunks: Callable[[], Iterator[torch.Tensor]]) -> None:
        """Take the inverse document frequency of every peak."""
        n_cells, n_open = 0, torch.zeros_like(self.inverse_frequency)
        for counts in chunks():
            n_cells += counts.shape[0]
            n_open += _open_cells(counts)
        self.inverse_frequency.copy_(torch.log1p(n_cells / n_open.clamp(min=1)))

    def forward(self, counts: torch.Tensor) -> torch.Tensor:
        """Weights of shape (n_cells, n_peaks), in the layout of the counts."""
        return unit_rows(tfidf(binarize(counts), self.inverse_frequency))


class BinaryNormalization(Normalization):
    """Open or closed, as published.

    References
    ----------
    Zhang, Yang & Zhang (2022), Genome Biology 23:139.
    """

    def forward(self, counts: torch.Tensor) -> torch.Tensor:
        """Zeros and ones of shape (n_cells, n_peaks), in the layout of the counts."""
        return binarize(counts)


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

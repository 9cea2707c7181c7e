"""Layers for minibatches of cells in compressed sparse row (CSR) layout.

A cell opens a few per cent of all peaks. Everything here costs O(open peaks), takes either a dense tensor or a
``torch.sparse_csr`` tensor, and returns the same numbers for both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional as F

from ._transforms import csr_rows, is_csr

if TYPE_CHECKING:
    from scipy import sparse


def sparse_linear(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
    """Linear map ``x @ weight + bias`` of dense or CSR cells, differentiable in the weight and the bias.

    The weight has one row per input feature, so that a cell reads the contiguous rows of its open peaks only: CSR
    input is a weighted sum of embeddings (:func:`torch.nn.functional.embedding_bag`), whose own backward pass was
    1.3 to 3 times as fast as a product with the transposed CSR matrix and 1.5 to 3 times as fast as a dense product
    (256 cells, 8,400 to 200,000 peaks of which 500 to 3,000 open, 128 to 1,024 outputs, one core).

    Parameters
    ----------
    x
        Input of shape (n_cells, n_features), dense or CSR.
    weight
        Weights of shape (n_features, n_out): the transpose of :class:`torch.nn.Linear`'s.
    bias
        Offsets of shape (n_out,).

    Returns
    -------
    Dense tensor of shape (n_cells, n_out).

    Examples
    --------
    >>> import torch
    >>> x = torch.tensor([[0.0, 2.0, 0.0]])
    >>> weight = torch.tensor([[1.0, 1.0], [3.0, 4.0], [1.0, 1.0]])
    >>> torch.equal(sparse_linear(x.to_sparse_csr(), weight), sparse_linear(x, weight))
    True
    """
    if not is_csr(x):
        return F.linear(x, weight.t(), bias)
    out = F.embedding_bag(
        x.col_indices(),
        weight,
        x.crow_indices(),
        mode="sum",
        per_sample_weights=x.values(),
        include_last_offset=True,
    )
    return out if bias is None else out + bias


class SparseLinear(nn.Module):
    """Linear layer for dense or CSR cells; see :func:`sparse_linear`.

    Parameters
    ----------
    n_in
        Number of input features.
    n_out
        Number of outputs.
    bias
        Whether to add an offset per output.

    Examples
    --------
    >>> import torch
    >>> SparseLinear(5, 2)(torch.eye(3, 5).to_sparse_csr()).shape
    torch.Size([3, 2])
    """

    def __init__(self, n_in: int, n_out: int, *, bias: bool = True) -> None:
        super().__init__()
        bound = n_in**-0.5  # as torch.nn.Linear
        self.weight = nn.Parameter(torch.empty(n_in, n_out).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(n_out).uniform_(-bound, bound)) if bias else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map cells of shape (n_cells, n_in) to (n_cells, n_out)."""
        return sparse_linear(x, self.weight, self.bias)


class PriorLinks(nn.Module):
    """The peak-gene links of a prior gene-activity matrix, as the index buffers of a CSR matrix.

    The links are part of the ``state_dict``: a model is rebuilt from the three sizes and its saved state alone.

    Parameters
    ----------
    n_peaks
        Number of peaks.
    n_genes
        Number of genes.
    n_links
        Number of links, the stored entries of the prior.

    Examples
    --------
    >>> from scipy import sparse
    >>> links = PriorLinks(n_peaks=3, n_genes=2, n_links=3)
    >>> links.set_prior(sparse.csr_matrix([[1, 0], [0, 0], [1, 1]]))
    >>> links.genes
    tensor([0, 0, 1])
    """

    indptr: torch.Tensor
    genes: torch.Tensor

    def __init__(self, n_peaks: int, n_genes: int, n_links: int) -> None:
        super().__init__()
        self.n_peaks = n_peaks
        self.n_genes = n_genes
        self.n_links = n_links
        self.register_buffer("indptr", torch.zeros(n_peaks + 1, dtype=torch.long))
        self.register_buffer("genes", torch.zeros(n_links, dtype=torch.long))

    def set_prior(self, prior: sparse.csr_matrix) -> None:
        """Take over the links of a prior.

        Parameters
        ----------
        prior
            Gene-activity matrix of shape (n_peaks, n_genes); every stored entry is a link.

        Raises
        ------
        ValueError
            If the shape or the number of stored entries is not the one this object was made for.
        """
        if prior.shape != (self.n_peaks, self.n_genes) or prior.nnz != self.n_links:
            raise ValueError(
                f"The prior has the shape {prior.shape} and {prior.nnz} links; expected (n_peaks, n_genes) = "
                f"{(self.n_peaks, self.n_genes)} and {self.n_links} links."
            )
        self.indptr.copy_(torch.as_tensor(prior.indptr))
        self.genes.copy_(torch.as_tensor(prior.indices))

    def of_peaks(self, peaks: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """All links of some peaks.

        Parameters
        ----------
        peaks
            Indices of peaks, of shape (n,), repeats allowed.

        Returns
        -------
        Two tensors with one entry per link: the position of its peak in ``peaks``, and the number of the link.
        """
        peaks = peaks.long()
        n_links = self.indptr.diff()[peaks]
        position = torch.repeat_interleave(torch.arange(len(peaks), device=peaks.device), n_links)
        # Number of the link = start of its peak + how many links of this peak came before.
        first = self.indptr[peaks] - (n_links.cumsum(0) - n_links)
        return position, torch.arange(len(position), device=peaks.device) + first[position]


class PriorLinear(PriorLinks):
    r"""Linear gene activity :math:`y_{ig} = \sum_p x_{ip} w_{pg} + b_g` with one trainable weight per prior link.

    A minibatch costs O(open peaks x links per peak); neither a dense cells x peaks nor a peaks x genes array is made.

    Parameters
    ----------
    n_peaks
        Number of peaks.
    n_genes
        Number of genes.
    n_links
        Number of links, the stored entries of the prior.

    Examples
    --------
    >>> import torch
    >>> from scipy import sparse
    >>> layer = PriorLinear(n_peaks=3, n_genes=2, n_links=3)
    >>> layer.set_prior(sparse.csr_matrix([[1, 0], [0, 0], [1, 1]]))
    >>> layer(torch.tensor([[1.0, 1.0, 2.0]]).to_sparse_csr()).detach()
    tensor([[3., 2.]])
    """

    def __init__(self, n_peaks: int, n_genes: int, n_links: int) -> None:
        super().__init__(n_peaks, n_genes, n_links)
        self.weight = nn.Parameter(torch.zeros(n_links))
        self.bias = nn.Parameter(torch.zeros(n_genes))

    @torch.no_grad()
    def set_prior(self, prior: sparse.csr_matrix) -> None:
        """Take over the links of a prior, and its values as the weights; the offsets become zero.

        Parameters
        ----------
        prior
            Gene-activity matrix of shape (n_peaks, n_genes); every stored entry is a link.
        """
        super().set_prior(prior)
        self.weight.copy_(torch.as_tensor(prior.data))
        self.bias.zero_()

    @torch.no_grad()
    def standardize(self, mean: torch.Tensor, std: torch.Tensor, *, scale: float = 1.0) -> None:
        """Rescale weights and offsets so that outputs of this mean and standard deviation become z-scores, scaled.

        Unlike a batch norm on the output this happens once: the scale of the weights keeps its meaning.

        Parameters
        ----------
        mean, std
            Of the layer's output over the training cells, each of shape (n_genes,); a gene of zero standard deviation
            is only centred.
        scale
            Standard deviation of the rescaled output. Where the target is a z-score as well, the best is its
            correlation with the output, about 0.1 for the accessibility of a gene and its expression.
        """
        factor = scale / std.where(std > 0, 1.0)
        self.weight.mul_(factor[self.genes])
        self.bias.sub_(mean).mul_(factor)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Gene activity of shape (n_cells, n_genes) from accessibility of shape (n_cells, n_peaks)."""
        if is_csr(x):
            stored, link = self.of_peaks(x.col_indices())
            cells = csr_rows(x)[stored]
            y = self.weight.new_zeros(x.shape[0] * self.n_genes)
            y = y.index_add(0, cells * self.n_genes + self.genes[link], x.values()[stored] * self.weight[link])
            return y.view(x.shape[0], self.n_genes) + self.bias
        peaks = torch.repeat_interleave(torch.arange(self.n_peaks, device=x.device), self.indptr.diff())
        y = self.weight.new_zeros(x.shape[0], self.n_genes)
        return y.index_add(1, self.genes, x[:, peaks] * self.weight) + self.bias

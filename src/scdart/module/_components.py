"""The two networks: peaks to genes (gene activity), and genes to the latent space (projection)."""

from __future__ import annotations

from itertools import chain, pairwise
from typing import TYPE_CHECKING

import torch
from torch import nn

from ._batch_norm import BATCH_NORM_EPS, BATCH_NORM_MOMENTUM, DomainBatchNorm
from ._normalization import column_moments
from ._sparse import PriorLinear, PriorLinks, SparseLinear

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from scipy import sparse

#: Slope of the published activation.
_NEGATIVE_SLOPE = 0.2

#: Standard deviation of the prior path's output before training.
_PRIOR_SCALE = 0.1


class _MLP(nn.Sequential):
    """Linear layers with LeakyReLU(0.2) and dropout between them; the last one is linear and begins at zero."""

    def __init__(self, sizes: Sequence[int], dropout: float) -> None:
        *hidden, last = (nn.Linear(n_in, n_out) for n_in, n_out in pairwise(sizes))
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        between = ((layer, nn.LeakyReLU(_NEGATIVE_SLOPE), nn.Dropout(dropout)) for layer in hidden)
        super().__init__(*chain.from_iterable(between), last)


class GeneActivityNetwork(nn.Module):
    r"""Gene-activity network: accessibility of peaks to expression of genes ("pseudo-RNA").

    The sum of two paths,

    .. math:: f(x) = x\,(A \circ w) + b + V\bigl(L h + g(h)\bigr), \qquad h = R^\top x,

    a linear one with a trainable weight per link of the prior :math:`A`, and one through a few directions :math:`R` of
    accessibility, which a linear map and a multilayer perceptron :math:`g`, beginning at zero, turn into programmes
    :math:`V` of expression. A free layer from all peaks learns the training cells by heart; directions found once
    (:meth:`set_directions`), and held, do not: those that ridge regression on matched expression finds, and principal
    components of accessibility itself, without which cells that RNA lacks would all look like cells that it has.

    Parameters
    ----------
    n_peaks, n_genes
        Number of peaks and of genes.
    n_links
        Number of links, the stored entries of the prior.
    n_directions
        Number of directions :math:`R` and of programmes :math:`V`.
    n_hidden
        Sizes of the hidden layers of :math:`g`.
    dropout
        Dropout rate of the hidden layers.

    Examples
    --------
    >>> import torch
    >>> from scipy import sparse
    >>> network = GeneActivityNetwork(n_peaks=3, n_genes=2, n_links=3, n_directions=1, n_hidden=(4,))
    >>> network.set_prior(sparse.csr_matrix([[1, 0], [0, 0], [1, 1]]))
    >>> network(torch.tensor([[1.0, 1.0, 2.0]]).to_sparse_csr()).shape
    torch.Size([1, 2])
    """

    def __init__(
        self,
        n_peaks: int,
        n_genes: int,
        n_links: int,
        *,
        n_directions: int = 30,
        n_hidden: Sequence[int] = (64,),
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.links = PriorLinear(n_peaks, n_genes, n_links)
        self.directions = SparseLinear(n_peaks, n_directions)
        self.linear = nn.Linear(n_directions, n_directions, bias=False)
        nn.init.eye_(self.linear.weight)
        self.nonlinear = _MLP([n_directions, *n_hidden, n_directions], dropout)
        # The prior path holds the offsets of the genes.
        self.programmes = nn.Linear(n_directions, n_genes, bias=False)

    def set_prior(self, prior: sparse.csr_matrix) -> None:
        """Take over the links of a prior, and its values as the start of the prior path."""
        self.links.set_prior(prior)

    @torch.no_grad()
    def set_directions(self, directions: torch.Tensor, offset: torch.Tensor, programmes: torch.Tensor) -> None:
        """Take over directions and programmes, and hold the directions from now on.

        Parameters
        ----------
        directions
            Of shape (n_peaks, n_directions).
        offset
            Added to a cell's position along each direction, of shape (n_directions,).
        programmes
            Change of expression along each direction, of shape (n_genes, n_directions).
        """
        self.directions.weight.copy_(directions)
        assert self.directions.bias is not None
        self.directions.bias.copy_(offset)
        self.directions.requires_grad_(False)
        self.programmes.weight.copy_(programmes)

    def start(self, chunks: Callable[[], Iterator[torch.Tensor]]) -> None:
        """Let the prior path begin with z-scores, small ones: at full size, they would begin as noise.

        Parameters
        ----------
        chunks
            Reads normalised accessibility of the training cells.
        """
        self.links.standardize(*column_moments(self.links(x) for x in chunks()), scale=_PRIOR_SCALE)

    @property
    def link_weights(self) -> torch.Tensor:
        """Weights of the prior path, of shape (n_links,)."""
        return self.links.weight

    def linear_weights(self) -> list[torch.Tensor]:
        """Weights of the other path without its nonlinear part, first to last, each of shape (n_out, n_in)."""
        return [self.directions.weight.t(), self.linear.weight, self.programmes.weight]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Expression of shape (n_cells, n_genes) from accessibility of shape (n_cells, n_peaks), dense or CSR."""
        position = self.directions(x)
        return self.programmes(self.linear(position) + self.nonlinear(position)) + self.links(x)


class PublishedGeneActivityNetwork(nn.Module):
    """Gene-activity network as published: linear layers, each followed by batch norm and LeakyReLU(0.2).

    Batch norm follows the last layer too. The function then ignores the scale of the weights, so that the published
    penalty on their size does not bind.

    Parameters
    ----------
    n_peaks, n_genes
        Number of peaks and of genes.
    n_links
        Number of links, the stored entries of the prior.
    n_hidden
        Sizes of the hidden layers.

    References
    ----------
    Zhang, Yang & Zhang (2022), Genome Biology 23:139: the gene-activity module.

    Examples
    --------
    >>> import torch
    >>> PublishedGeneActivityNetwork(n_peaks=3, n_genes=2, n_links=3, n_hidden=(4,))(torch.rand(5, 3)).shape
    torch.Size([5, 2])
    """

    link_weights = None

    def __init__(self, n_peaks: int, n_genes: int, n_links: int, *, n_hidden: Sequence[int] = (1024, 512)) -> None:
        super().__init__()
        self.links = PriorLinks(n_peaks, n_genes, n_links)
        first, *others = pairwise([n_peaks, *n_hidden, n_genes])
        self.layers = nn.ModuleList(
            [SparseLinear(*first, bias=False), *(nn.Linear(n_in, n_out, bias=False) for n_in, n_out in others)]
        )
        self.norms = nn.ModuleList(
            nn.BatchNorm1d(size, BATCH_NORM_EPS, BATCH_NORM_MOMENTUM) for size in [*n_hidden, n_genes]
        )

    def set_prior(self, prior: sparse.csr_matrix) -> None:
        """Take over the links of a prior, which only the penalty reads."""
        self.links.set_prior(prior)

    def start(self, chunks: Callable[[], Iterator[torch.Tensor]]) -> None:
        """Nothing is known before training: the weights stay as they were drawn."""

    def linear_weights(self) -> list[torch.Tensor]:
        """Weights of the layers, first to last, each of shape (n_out, n_in): what the prior limits."""
        first, *others = (layer.get_parameter("weight") for layer in self.layers)
        return [first.t(), *others]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Expression of shape (n_cells, n_genes) from accessibility of shape (n_cells, n_peaks), dense or CSR."""
        for layer, norm in zip(self.layers, self.norms, strict=True):
            x = nn.functional.leaky_relu(norm(layer(x)), _NEGATIVE_SLOPE)
        return x


class ProjectionNetwork(nn.Module):
    """Projection network: expression, real or predicted, to the latent space; shared by all domains.

    Hidden layers with batch norm (statistics by domain), LeakyReLU(0.2) and dropout, and a linear output. With
    ``n_components``, the network reads principal components of expression, found once and held
    (:meth:`set_components`), and the first hidden layer is also passed on to the output as it is before activation: a
    linear map to begin with, which the rest of the network bends.

    Parameters
    ----------
    n_genes
        Number of genes.
    n_latent
        Size of the latent space.
    n_hidden
        Sizes of the hidden layers.
    n_components
        Principal components to read; ``None`` reads genes, as published.
    n_domains
        Number of domains: modalities, for a start.
    dropout
        Dropout rate of the hidden layers.

    References
    ----------
    Zhang, Yang & Zhang (2022), Genome Biology 23:139: the projection module.

    Examples
    --------
    >>> import torch
    >>> network = ProjectionNetwork(n_genes=5, n_latent=2, n_hidden=(4,))
    >>> network(torch.randn(3, 5), torch.tensor([0, 0, 0])).shape
    torch.Size([3, 2])
    """

    def __init__(
        self,
        n_genes: int,
        n_latent: int,
        *,
        n_hidden: Sequence[int] = (512, 128),
        n_components: int | None = None,
        n_domains: int = 2,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.components = self.shortcut = None
        if n_components is not None:
            self.components = nn.Linear(n_genes, n_components, bias=False)
            self.shortcut = nn.Linear(n_hidden[0], n_latent, bias=False)
        sizes = [n_components or n_genes, *n_hidden]
        self.layers = nn.ModuleList(nn.Linear(n_in, n_out, bias=False) for n_in, n_out in pairwise(sizes))
        self.norms = nn.ModuleList(DomainBatchNorm(size, n_domains) for size in n_hidden)
        self.activation = nn.Sequential(nn.LeakyReLU(_NEGATIVE_SLOPE), nn.Dropout(dropout))
        self.output = nn.Linear(sizes[-1], n_latent)

    @torch.no_grad()
    def set_components(self, components: torch.Tensor) -> None:
        """Take over principal components of expression, of shape (n_components, n_genes), and hold them."""
        assert self.components is not None
        self.components.weight.copy_(components)
        self.components.requires_grad_(False)

    def forward(self, x: torch.Tensor, domain: torch.Tensor, weights: torch.Tensor | None = None) -> torch.Tensor:
        """Latent cells of shape (n_cells, n_latent) from cells of shape (n_cells, n_genes) and their domains.

        In training, ``weights`` of the cells are taken for batch norm, see :meth:`DomainBatchNorm.forward`.
        """
        if self.components is not None:
            x = self.components(x)
        shortcut = 0.0
        for i, (layer, norm) in enumerate(zip(self.layers, self.norms, strict=True)):
            x = norm(layer(x), domain, weights)
            if i == 0 and self.shortcut is not None:
                shortcut = self.shortcut(x)
            x = self.activation(x)
        return self.output(x) + shortcut

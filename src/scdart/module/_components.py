"""The two networks: peaks to genes (gene activity), and genes to the latent space (projection)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from ._sparse import PriorLinear, PriorLinks, SparseLinear, dropout_sparse

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scipy import sparse

# Settings of the published networks.
_NEGATIVE_SLOPE = 0.2
_BATCH_NORM_MOMENTUM = 0.01
_BATCH_NORM_EPS = 1e-3


class ModalityBatchNorm(nn.Module):
    """Batch norm with running statistics per modality, and one scale and offset for all.

    A network shared by two modalities sees them in separate minibatches, each normalised by its own statistics.
    Running statistics that mix both would put the modalities apart again at inference; per modality, a cell's output in
    ``eval`` mode is what training converged to and does not depend on the cells beside it.

    Parameters
    ----------
    n_features
        Number of features.
    modalities
        Names of the modalities.

    Examples
    --------
    >>> import torch
    >>> norm = ModalityBatchNorm(2, modalities=("rna", "atac"))
    >>> norm(torch.tensor([[0.0, 5.0], [2.0, 7.0]]), "rna").detach().round()
    tensor([[-1., -1.],
            [ 1.,  1.]])
    """

    def __init__(self, n_features: int, modalities: Sequence[str]) -> None:
        super().__init__()
        self.statistics = nn.ModuleDict(
            {
                modality: nn.BatchNorm1d(n_features, _BATCH_NORM_EPS, _BATCH_NORM_MOMENTUM, affine=False)
                for modality in modalities
            }
        )
        self.weight = nn.Parameter(torch.ones(n_features))
        self.bias = nn.Parameter(torch.zeros(n_features))

    def forward(self, x: torch.Tensor, modality: str) -> torch.Tensor:
        """Normalise cells of one modality.

        Parameters
        ----------
        x
            Cells of shape (n_cells, n_features).
        modality
            Name of their modality.

        Raises
        ------
        KeyError
            If there is no such modality.
        ValueError
            If a single cell is given in training, where the batch's own statistics are used.
        """
        if modality not in self.statistics:
            raise KeyError(f"No modality {modality!r}; the network was made for {sorted(self.statistics)}.")
        if self.training and len(x) < 2:
            raise ValueError(
                f"A training minibatch has {len(x)} {modality!r} cell(s), and batch norm needs two or more; "
                "change batch_size or drop the last, incomplete minibatch."
            )
        return self.statistics[modality](x) * self.weight + self.bias


class GeneActivityNetwork(nn.Module):
    r"""Gene-activity network: accessibility of peaks to expression of genes ("pseudo-RNA").

    By default the sum of two paths,

    .. math:: f(x) = x\,(A \circ w) + b + W_3\, \sigma(W_2\, \sigma(W_1 x)),

    a linear one with a trainable weight per link of the prior :math:`A`, which begins as the prior itself, and a
    nonlinear one of linear layers and LeakyReLU(0.2), which begins at zero and learns what the prior misses. Without
    the prior path and with ``batch_norm`` it is the published network.

    Parameters
    ----------
    n_peaks
        Number of peaks.
    n_genes
        Number of genes.
    n_links
        Number of links, the stored entries of the prior.
    n_hidden
        Sizes of the hidden layers.
    prior_path
        Whether to add the linear path along the prior links.
    batch_norm
        Published form of the nonlinear path: batch norm and LeakyReLU after every layer, the last one included. The
        path's function then ignores the scale of its weights, so that a penalty on their size does not bind.
    dropout
        Dropout rate of the hidden layers.
    input_dropout
        Dropout rate of the input: random peaks of a cell are closed.

    References
    ----------
    Zhang, Yang & Zhang (2022), Genome Biology 23:139: the gene-activity module.

    Examples
    --------
    >>> import torch
    >>> from scipy import sparse
    >>> network = GeneActivityNetwork(n_peaks=3, n_genes=2, n_links=3, n_hidden=(4,))
    >>> network.set_prior(sparse.csr_matrix([[1, 0], [0, 0], [1, 1]]))
    >>> network(torch.tensor([[1.0, 1.0, 2.0]]).to_sparse_csr()).detach()
    tensor([[3., 2.]])
    """

    def __init__(
        self,
        n_peaks: int,
        n_genes: int,
        n_links: int,
        *,
        n_hidden: Sequence[int] = (1024, 512),
        prior_path: bool = True,
        batch_norm: bool = False,
        dropout: float = 0.0,
        input_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.input_dropout = input_dropout
        self.links = (PriorLinear if prior_path else PriorLinks)(n_peaks, n_genes, n_links)

        sizes = [n_peaks, *n_hidden, n_genes]
        self.layers = nn.ModuleList()
        self.between = nn.ModuleList()  # what follows each layer
        for i, (n_in, n_out) in enumerate(zip(sizes, sizes[1:], strict=False)):
            last = i == len(n_hidden)
            # The offset of a batch norm or of the prior path takes the place of the layer's own.
            bias = not batch_norm and not (last and prior_path)
            self.layers.append((SparseLinear if i == 0 else nn.Linear)(n_in, n_out, bias=bias))
            activation = nn.LeakyReLU(_NEGATIVE_SLOPE)
            if batch_norm:
                norm = nn.BatchNorm1d(n_out, _BATCH_NORM_EPS, _BATCH_NORM_MOMENTUM)
                self.between.append(nn.Sequential(norm, activation, nn.Dropout(0.0 if last else dropout)))
            else:
                self.between.append(nn.Identity() if last else nn.Sequential(activation, nn.Dropout(dropout)))
        if prior_path and not batch_norm:
            nn.init.zeros_(self.layers[-1].get_parameter("weight"))

    def set_prior(self, prior: sparse.csr_matrix) -> None:
        """Take over the links of a prior, and its values as the start of the prior path.

        Parameters
        ----------
        prior
            Gene-activity matrix of shape (n_peaks, n_genes); every stored entry is a link.
        """
        self.links.set_prior(prior)

    @property
    def link_weights(self) -> torch.Tensor | None:
        """Weights of the prior path, of shape (n_links,); None without it."""
        return self.links.weight if isinstance(self.links, PriorLinear) else None

    def linear_weights(self) -> list[torch.Tensor]:
        """Weights of the nonlinear path's layers, first to last, each of shape (n_out, n_in): what the prior limits."""
        first, *others = (layer.get_parameter("weight") for layer in self.layers)
        return [first.t(), *others]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Expression of shape (n_cells, n_genes) from accessibility of shape (n_cells, n_peaks), dense or CSR."""
        x = dropout_sparse(x, self.input_dropout, training=self.training)
        hidden = x
        for layer, between in zip(self.layers, self.between, strict=True):
            hidden = between(layer(hidden))
        return hidden + self.links(x) if isinstance(self.links, PriorLinear) else hidden


class ProjectionNetwork(nn.Module):
    """Projection network: expression, real or predicted, to the latent space; shared by the modalities.

    Hidden layers with batch norm (statistics per modality), LeakyReLU(0.2) and dropout, and a linear output.

    Parameters
    ----------
    n_genes
        Number of genes.
    n_latent
        Size of the latent space.
    n_hidden
        Sizes of the hidden layers.
    modalities
        Names of the modalities.
    dropout
        Dropout rate of the hidden layers.

    References
    ----------
    Zhang, Yang & Zhang (2022), Genome Biology 23:139: the projection module.

    Examples
    --------
    >>> import torch
    >>> network = ProjectionNetwork(n_genes=5, n_latent=2, n_hidden=(4,))
    >>> network(torch.randn(3, 5), "rna").shape
    torch.Size([3, 2])
    """

    def __init__(
        self,
        n_genes: int,
        n_latent: int,
        *,
        n_hidden: Sequence[int] = (512, 128),
        modalities: Sequence[str] = ("rna", "atac"),
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        sizes = [n_genes, *n_hidden]
        self.layers = nn.ModuleList(
            nn.Linear(n_in, n_out, bias=False) for n_in, n_out in zip(sizes, sizes[1:], strict=False)
        )
        self.norms = nn.ModuleList(ModalityBatchNorm(size, modalities) for size in n_hidden)
        self.activation = nn.Sequential(nn.LeakyReLU(_NEGATIVE_SLOPE), nn.Dropout(dropout))
        self.output = nn.Linear(sizes[-1], n_latent)

    def forward(self, x: torch.Tensor, modality: str) -> torch.Tensor:
        """Latent cells of shape (n_cells, n_latent) from cells of one modality, of shape (n_cells, n_genes)."""
        for layer, norm in zip(self.layers, self.norms, strict=True):
            x = self.activation(norm(layer(x), modality))
        return self.output(x)

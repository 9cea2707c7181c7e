"""Batch norm for networks that several domains share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from ._moments import weighted_moments

if TYPE_CHECKING:
    from collections.abc import Iterator

# Settings of the published networks.
BATCH_NORM_MOMENTUM = 0.01
BATCH_NORM_EPS = 1e-3


class DomainBatchNorm(nn.Module):
    r"""Batch norm with running statistics by domain, and one scale and offset for all.

    A network shared by two modalities sees each normalised by its own statistics. Running statistics that mix both
    would put the modalities apart again at inference; by domain, a cell's output in ``eval`` mode is what training
    converged to and does not depend on the cells beside it.

    Domains of unequal composition have unequal statistics even where their cells agree: a population that only one
    of them has would shrink all others in it, and move them. With weights :math:`w_i` of the cells in mean and
    variance, as for any sample that is to stand for another population, those count that all have:

    .. math:: \mu = \frac{\sum_i w_i x_i}{\sum_i w_i}, \qquad
              \sigma^2 = \frac{\sum_i w_i (x_i - \mu)^2}{\sum_i w_i}

    Parameters
    ----------
    n_features
        Number of features.
    n_domains
        Number of domains.

    Examples
    --------
    >>> import torch
    >>> norm = DomainBatchNorm(1, n_domains=2)
    >>> norm(torch.tensor([[0.0], [2.0], [50.0], [70.0]]), torch.tensor([0, 0, 1, 1])).detach().round().T
    tensor([[-1.,  1., -1.,  1.]])
    """

    running_mean: torch.Tensor
    running_var: torch.Tensor

    def __init__(self, n_features: int, n_domains: int) -> None:
        super().__init__()
        self.register_buffer("running_mean", torch.zeros(n_domains, n_features))
        self.register_buffer("running_var", torch.ones(n_domains, n_features))
        self.weight = nn.Parameter(torch.ones(n_features))
        self.bias = nn.Parameter(torch.zeros(n_features))

    def forward(self, x: torch.Tensor, domain: torch.Tensor, weights: torch.Tensor | None = None) -> torch.Tensor:
        """Normalise cells.

        Parameters
        ----------
        x
            Cells of shape (n_cells, n_features).
        domain
            Code of each cell's domain, of shape (n_cells,).
        weights
            Weights of the cells in the statistics of a training minibatch, of shape (n_cells,), at least two of each
            domain positive and none negative; equal when None. Their scale does not matter.

        Raises
        ------
        KeyError
            If there is no such domain.
        ValueError
            If a domain has a single cell in training, where the minibatch's own statistics are used.
        """
        if len(domain) and not 0 <= int(domain.min()) <= int(domain.max()) < len(self.running_mean):
            raise KeyError(f"domain goes to {int(domain.max())}; the network was made for {len(self.running_mean)}.")
        if not self.training:
            return self._scaled(x, self.running_mean[domain], self.running_var[domain])
        weights = x.new_ones(len(x)) if weights is None else weights
        parts = [self._scaled(own, *self._moments(own, code, w)) for code, own, w in _by_domain(domain, x, weights)]
        if len(parts) == 1:
            return parts[0]
        # Domains come in the order of their codes: back to that of the cells.
        return torch.cat(parts)[domain.argsort(stable=True).argsort()]

    def _scaled(self, x: torch.Tensor, mean: torch.Tensor, variance: torch.Tensor) -> torch.Tensor:
        return (x - mean) / (variance + BATCH_NORM_EPS).sqrt() * self.weight + self.bias

    def _moments(self, x: torch.Tensor, code: int, weights: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and variance of a domain's cells in a minibatch, which running statistics follow."""
        if len(x) < 2:
            raise ValueError(
                f"A training minibatch has {len(x)} cell(s) of domain {code}, and batch norm needs two or more; "
                "change batch_size or drop the last, incomplete minibatch."
            )
        mean, variance = weighted_moments(x, weights)
        with torch.no_grad():
            # As many cells of equal weight would know as much: for these, the unbiased variance is that of torch.
            n_effective = weights.sum().square() / weights.square().sum()
            self.running_mean[code].lerp_(mean, BATCH_NORM_MOMENTUM)
            self.running_var[code].lerp_(variance * n_effective / (n_effective - 1), BATCH_NORM_MOMENTUM)
        return mean, variance


def _by_domain(domain: torch.Tensor, *tensors: torch.Tensor) -> Iterator[tuple]:
    """Go through the domains of some cells.

    Parameters
    ----------
    domain
        Code of each cell's domain, of shape (n_cells,).
    *tensors
        Tensors with a row for each cell.

    Yields
    ------
    The code of a domain that has cells, and its rows of every tensor: the tensors themselves, not copies, where all
    cells are of one domain.
    """
    present = domain.unique().tolist()
    for code in present:
        yield code, *(tensors if len(present) == 1 else (tensor[domain == code] for tensor in tensors))

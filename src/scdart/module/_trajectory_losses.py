"""Trajectory losses: how far distances between latent cells are from diffusion distances.

Each is a function of plain tensors, finite and with finite gradients where cells coincide.
"""

from __future__ import annotations

import torch

from ._distances import distances, distances_by_products, nonzero

#: Added to each normalised distance by the authors' software; keeps the logarithm of a zero distance finite.
_KL_EPS = 1e-12

#: Added to distances in units of their mean; cells that coincide in the latent have no infinite logarithm.
_LOG_EPS = 1e-6


def block_distances(coordinates: torch.Tensor, n_blocks: int) -> torch.Tensor:
    r"""Diffusion distances, averaged over diffusion times, from diffusion coordinates.

    .. math:: D_{ij} = \frac{1}{T} \sum_{t=1}^{T} \| c^{(t)}_i - c^{(t)}_j \|

    Parameters
    ----------
    coordinates
        Coordinates of shape (n_cells, k * n_blocks): the ``k`` columns of one time after those of the other.
    n_blocks
        Number :math:`T` of diffusion times.

    Returns
    -------
    Distances of shape (n_cells, n_cells).

    Raises
    ------
    ValueError
        If the coordinates do not divide into ``n_blocks`` equal blocks.

    References
    ----------
    Zhang, Yang & Zhang (2022), Genome Biology 23:139: the average over ``t``.

    Examples
    --------
    >>> import torch
    >>> block_distances(torch.tensor([[0.0, 0.0], [1.0, 3.0]]), n_blocks=2)
    tensor([[0., 2.],
            [2., 0.]])
    """
    if coordinates.shape[1] % n_blocks:
        raise ValueError(f"{coordinates.shape[1]} diffusion coordinates do not divide into {n_blocks} equal blocks.")
    blocks = coordinates.unflatten(1, (n_blocks, -1)).transpose(0, 1)
    return distances_by_products(blocks).mean(dim=0).fill_diagonal_(0.0)


def _latent_distances(z: torch.Tensor, squared: bool) -> torch.Tensor:
    latent_distance = distances(z, z)
    return latent_distance.square() if squared else latent_distance


def diffusion_log(
    z: torch.Tensor, target_distance: torch.Tensor, *, squared: bool = False, spread: float | None = None
) -> torch.Tensor:
    r"""Trajectory loss: squared relative error of latent against diffusion distances of a minibatch.

    .. math:: \frac{1}{2 |P|} \sum_{(i, j) \in P} \Big( \frac{\sigma}{s} \big( \log D_{Z,ij} - \overline{\log D_Z} \big)
              - \big( \log D_{X,ij} - \overline{\log D_X} \big) \Big)^2

    over the pairs :math:`P` of cells that the target tells apart, with means and the standard deviation :math:`\sigma`
    of :math:`\log D_X` over these pairs. :func:`diffusion_kl` is, to second order, the same sum with each pair weighed
    by its distance. Here near pairs count as much as far ones: graphs of neighbours, and the pseudotime that is read
    from them, are made of near pairs.

    Noise makes all distances more alike, in each modality and data set to a degree of its own. A given spread
    :math:`s` takes that back: the order of latent distances is the target's, their contrast is the same everywhere. The
    error stays in units of the target, so that a modality that tells its cells apart less counts less.

    Parameters
    ----------
    z
        Latent cells of shape (n_cells, n_latent).
    target_distance
        Diffusion distances :math:`D_X` of shape (n_cells, n_cells).
    squared
        Take squared latent distances for :math:`D_Z`.
    spread
        Standard deviation :math:`s` that the logarithms of latent distances are to have; when None, the target's.

    Returns
    -------
    Scalar; zero if no two cells are apart in the target.

    References
    ----------
    Ramsay (1982), Journal of the Royal Statistical Society A 145:285: scaling of log-distances by least squares.

    Examples
    --------
    >>> import torch
    >>> z = torch.tensor([[0.0], [1.0], [3.0]])
    >>> diffusion_log(z, 5 * torch.cdist(z, z)).item() < 1e-9
    True
    """
    # A cell that is in the minibatch twice is no pair.
    apart = (target_distance > 0).fill_diagonal_(False)
    latent_log, target_log = (
        _centred_log(distance[apart]) for distance in (_latent_distances(z, squared), target_distance)
    )
    n_pairs = apart.sum().clamp_min(1)
    if spread is not None:
        latent_log = latent_log * ((target_log.square().sum() / n_pairs).sqrt() / spread)
    return (latent_log - target_log).square().sum() / (2 * n_pairs)


def _centred_log(distances: torch.Tensor) -> torch.Tensor:
    """Log-distances around their mean, which does not depend on the scale."""
    logs = (distances / nonzero(distances.mean()) + _LOG_EPS).log()
    return logs - logs.mean()


def diffusion_kl(z: torch.Tensor, target_distance: torch.Tensor, *, squared: bool = False) -> torch.Tensor:
    r"""Trajectory loss of the paper: divergence of the latent from the diffusion distances of a minibatch.

    .. math:: KL(Q_Z \| Q_X) = \sum_{ij} Q_{Z,ij} \log \frac{Q_{Z,ij}}{Q_{X,ij}}, \qquad
              Q_Z = D_Z / \textstyle\sum D_Z, \quad Q_X = D_X / \textstyle\sum D_X

    Parameters
    ----------
    z
        Latent cells of shape (n_cells, n_latent).
    target_distance
        Diffusion distances :math:`D_X` of shape (n_cells, n_cells).
    squared
        Take squared latent distances for :math:`D_Z`, as the authors' software does; the paper's are Euclidean.

    Returns
    -------
    Scalar.

    References
    ----------
    Zhang, Yang & Zhang (2022), Genome Biology 23:139, the loss :math:`L_{dist}`.

    Examples
    --------
    >>> import torch
    >>> z = torch.tensor([[0.0], [1.0], [3.0]])
    >>> diffusion_kl(z, 5 * torch.cdist(z, z)).item()
    0.0
    """
    latent_distance = _latent_distances(z, squared)
    q_latent = latent_distance / nonzero(latent_distance.sum()) + _KL_EPS
    q_target = target_distance / nonzero(target_distance.sum()) + _KL_EPS
    return (q_latent * (q_latent / q_target).log()).sum()


def diffusion_mse(z: torch.Tensor, target_distance: torch.Tensor, *, squared: bool = False) -> torch.Tensor:
    r"""Alternative trajectory loss: difference of the normalised distance matrices of a minibatch.

    .. math:: \Big\| \frac{D_Z}{\|D_Z\|_F} - \frac{D_X}{\|D_X\|_F} \Big\|_F

    Parameters
    ----------
    z
        Latent cells of shape (n_cells, n_latent).
    target_distance
        Diffusion distances :math:`D_X` of shape (n_cells, n_cells).
    squared
        Take squared latent distances for :math:`D_Z`, as the authors' software does.

    Returns
    -------
    Scalar.

    References
    ----------
    Zhang, Yang & Zhang (2022), Genome Biology 23:139: the ``mse`` mode of its authors' software.

    Examples
    --------
    >>> import torch
    >>> z = torch.tensor([[0.0], [1.0], [3.0]])
    >>> diffusion_mse(z, 5 * torch.cdist(z, z)).item() < 1e-6
    True
    """
    latent_distance = _latent_distances(z, squared)
    # torch's norms have the subgradient zero at zero, so that equal cells and a perfect fit are safe.
    latent_norm, target_norm = torch.linalg.norm(latent_distance), torch.linalg.norm(target_distance)
    return torch.linalg.norm(latent_distance / nonzero(latent_norm) - target_distance / nonzero(target_norm))

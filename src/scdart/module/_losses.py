"""Loss terms over a minibatch that compare the modalities: alignment of the two clouds, anchors, expression.

Each is a function of plain tensors, finite and with finite gradients where cells coincide. Those of one
modality are in ``_trajectory_losses`` and ``_prior_penalty``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from ._distances import distances, nonzero
from ._moments import weighted_mean, weighted_moments

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Bandwidths of the default MMD, in units of the median distance between two cells of the minibatch.
_BANDWIDTHS = (0.25, 0.5, 1.0, 2.0, 4.0)

#: Variances of the authors' 19 Gaussian kernels.
_PUBLISHED_VARIANCES = (*(10.0**k for k in range(-6, 1)), *range(5, 40, 5), *(10.0**k for k in range(2, 7)))


def mmd(
    x: torch.Tensor,
    y: torch.Tensor,
    *,
    bandwidths: Sequence[float] = _BANDWIDTHS,
    x_weights: torch.Tensor | None = None,
    y_weights: torch.Tensor | None = None,
) -> torch.Tensor:
    r"""Squared maximum mean discrepancy between two clouds of cells, unbiased.

    .. math:: \frac{\sum_{i \ne j} u_i u_j k(x_i, x_j)}{\sum_{i \ne j} u_i u_j}
              + \frac{\sum_{i \ne j} v_i v_j k(y_i, y_j)}{\sum_{i \ne j} v_i v_j}
              - 2 \frac{\sum_{ij} u_i v_j k(x_i, y_j)}{\sum_{ij} u_i v_j}

    :math:`k` is the mean of Gaussian kernels with bandwidths around the median distance between two cells of the
    minibatch, which is taken as a constant. Two samples of one distribution have the expectation zero, at any sample
    size; a single value can be negative.

    With weights :math:`u`, :math:`v` the clouds are compared as if they had another composition: importance weights
    that give each kind of cell the same share on both sides keep the loss from mixing kinds to equalise them.

    Parameters
    ----------
    x, y
        Latent cells of shape (n_x, n_latent) and (n_y, n_latent). A side of a single cell (or a single cell of
        positive weight) has no spread to compare: the loss is zero.
    bandwidths
        Standard deviations of the kernels, in units of the median distance.
    x_weights, y_weights
        Non-negative weights of the cells, of shape (n_x,) and (n_y,); equal when None. Their scale does not matter.

    Returns
    -------
    Scalar, between -2 and 2.

    References
    ----------
    Gretton et al. (2012), JMLR 13:723, lemma 6: the unbiased estimate, here without weights.

    Examples
    --------
    >>> import torch
    >>> generator = torch.Generator().manual_seed(0)
    >>> x, y = torch.randn(2, 500, 4, generator=generator)
    >>> abs(mmd(x, y).item()) < 0.01 < mmd(x, y + 1).item()
    True
    """
    cells = torch.cat([x, y])
    u = x.new_ones(len(x)) if x_weights is None else x_weights
    v = y.new_ones(len(y)) if y_weights is None else y_weights
    squared = distances(cells, cells).square()

    pairs = torch.triu_indices(len(cells), len(cells), offset=1, device=cells.device)
    median = squared.detach()[pairs[0], pairs[1]].median().clamp_min(torch.finfo(x.dtype).eps)
    kernel = torch.stack([torch.exp(-squared / (2 * scale**2 * median)) for scale in bandwidths]).mean(dim=0)

    u, v = u / nonzero(u.sum()), v / nonzero(v.sum())
    signed = torch.cat([u, -v])
    # Quadratic forms without the diagonal, on which every kernel is one.
    weights = torch.outer(signed, signed).fill_diagonal_(0)
    pairs_x, pairs_y = (w.sum().square() - w.square().sum() for w in (u, v))
    n = len(x)
    discrepancy = (
        (weights[:n, :n] * kernel[:n, :n]).sum() / nonzero(pairs_x)
        + (weights[n:, n:] * kernel[n:, n:]).sum() / nonzero(pairs_y)
        + 2 * (weights[:n, n:] * kernel[:n, n:]).sum()
    )
    return discrepancy.where(torch.minimum(pairs_x, pairs_y) > torch.finfo(x.dtype).eps, 0.0)


def mmd_published(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    r"""Compare two clouds by the published loss: biased estimate, 19 kernels of fixed width.

    .. math:: \sqrt{c^2 + 10^{-9}}, \qquad c = \overline{k(x, x)} + \overline{k(y, y)} - 2\,\overline{k(x, y)}

    with :math:`k(a, b) = \sum_s \exp(-\|a - b\|^2 / 2 \sigma_s)` and the variances :math:`\sigma_s` from
    :math:`10^{-6}` to :math:`10^6`. The means include the pairs of a cell with itself, so that two samples of one
    distribution do not come to zero: about 0.03 to 0.05 at 300 cells. :func:`mmd` has neither this floor nor a fixed
    scale.

    Parameters
    ----------
    x, y
        Latent cells of shape (n_x, n_latent) and (n_y, n_latent).

    Returns
    -------
    Scalar.

    References
    ----------
    Zhang, Yang & Zhang (2022), Genome Biology 23:139, the loss :math:`L_{mmd}`, and its authors' software.

    Examples
    --------
    >>> import torch
    >>> x = torch.zeros(3, 2)
    >>> mmd_published(x, x).item() < 1e-4
    True
    """
    squared = distances(torch.cat([x, y]), torch.cat([x, y])).square()
    kernel = torch.stack([torch.exp(-squared / (2 * variance)) for variance in _PUBLISHED_VARIANCES]).sum(dim=0)
    n = len(x)
    discrepancy = kernel[:n, :n].mean() + kernel[n:, n:].mean() - 2 * kernel[:n, n:].mean()
    return (discrepancy.square() + 1e-9).sqrt()


def _group_means(z: torch.Tensor, groups: torch.Tensor, n_groups: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and number of the cells of each group; a negative code is no group."""
    z, groups = z[groups >= 0], groups[groups >= 0].long()
    sizes = torch.bincount(groups, minlength=n_groups)
    sums = z.new_zeros(n_groups, z.shape[1]).index_add(0, groups, z)
    return sums / sizes.clamp_min(1)[:, None], sizes


def group_anchor_loss(
    z_rna: torch.Tensor,
    groups_rna: torch.Tensor,
    z_atac: torch.Tensor,
    groups_atac: torch.Tensor,
    *,
    squared: bool = True,
) -> torch.Tensor:
    r"""Anchor loss for groups of cells known to correspond, such as root cells or a shared cell type.

    .. math:: \frac{1}{|G|} \sum_{g \in G} \| \bar z^{rna}_g - \bar z^{atac}_g \|^2

    over the groups :math:`G` with cells of both modalities in the minibatch; zero if there is none.

    Parameters
    ----------
    z_rna, z_atac
        Latent cells of shape (n_rna, n_latent) and (n_atac, n_latent).
    groups_rna, groups_atac
        Group of each cell as an integer code, of shape (n_rna,) and (n_atac,); a negative code is no anchor.
    squared
        Squared distance, as in the paper; the authors' software takes the distance itself.

    Returns
    -------
    Scalar.

    References
    ----------
    Zhang, Yang & Zhang (2022), Genome Biology 23:139, the loss :math:`L_{anchor}`.

    Examples
    --------
    >>> import torch
    >>> z = torch.tensor([[0.0, 0.0], [2.0, 0.0], [9.0, 9.0]])
    >>> group_anchor_loss(z, torch.tensor([0, 0, -1]), z + 1, torch.tensor([0, 0, -1]))
    tensor(2.)
    """
    n_groups = 1 + max(int(codes.max()) for codes in (groups_rna, groups_atac))
    if n_groups == 0:
        return (z_rna.sum() + z_atac.sum()) * 0.0
    means_rna, sizes_rna = _group_means(z_rna, groups_rna, n_groups)
    means_atac, sizes_atac = _group_means(z_atac, groups_atac, n_groups)
    shared = (sizes_rna > 0) & (sizes_atac > 0)
    difference = (means_rna - means_atac)[shared]
    per_group = difference.square().sum(dim=1) if squared else torch.linalg.vector_norm(difference, dim=1)
    return per_group.sum() / shared.sum().clamp_min(1)


def pair_anchor_loss(z_rna: torch.Tensor, z_atac: torch.Tensor, weights: torch.Tensor | None = None) -> torch.Tensor:
    r"""Anchor loss for pairs: mean squared distance of partners, in units of the latent variance.

    .. math:: \frac{\sum_i w_i \| z^{rna}_i - z^{atac}_i \|^2}{\sum_i w_i} \Big/
              \frac{V(z^{rna}) + V(z^{atac})}{2}

    with the total variance :math:`V` of each side, under the same weights. The gradient goes through both, so that the
    loss does not change, and nothing is gained, when the latent shrinks: 0 for partners that coincide, 2 for partners
    drawn at random from one cloud.

    Parameters
    ----------
    z_rna, z_atac
        Latent cells of shape (n_pairs, n_latent); row i of one is the partner of row i of the other.
    weights
        Non-negative confidence of each pair, of shape (n_pairs,); equal when None.

    Returns
    -------
    Scalar; zero if all weights are.

    Examples
    --------
    >>> import torch
    >>> z = torch.tensor([[-1.0], [1.0]])
    >>> pair_anchor_loss(z, z.flip(0)), pair_anchor_loss(10 * z, 10 * z.flip(0))
    (tensor(4.), tensor(4.))
    """
    distance = weighted_mean((z_rna - z_atac).square().sum(dim=1), weights)
    (_, variance_rna), (_, variance_atac) = (weighted_moments(z, weights) for z in (z_rna, z_atac))
    return distance / nonzero((variance_rna + variance_atac).sum() / 2)


def expression_loss(predicted: torch.Tensor, target: torch.Tensor, weights: torch.Tensor | None = None) -> torch.Tensor:
    r"""Error of the predicted expression of ATAC cells against their anchors' expression.

    .. math:: \frac{1}{n_{genes}} \sum_g \frac{\sum_i w_i (\hat x_{ig} - x_{ig})^2}{\sum_i w_i}

    Parameters
    ----------
    predicted
        Predicted expression of shape (n_cells, n_genes), in z-scores.
    target
        Mean expression of each cell's RNA anchors, of shape (n_cells, n_genes), in z-scores.
    weights
        Non-negative confidence of each cell's anchors, of shape (n_cells,); equal when None.

    Returns
    -------
    Scalar: one for a prediction of nothing but the mean; zero if all weights are.

    Examples
    --------
    >>> import torch
    >>> expression_loss(torch.zeros(2, 2), torch.tensor([[1.0, 1.0], [3.0, 3.0]]), torch.tensor([1.0, 0.0]))
    tensor(1.)
    """
    return weighted_mean((predicted - target).square(), weights).mean()

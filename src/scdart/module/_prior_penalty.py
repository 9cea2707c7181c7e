r"""The prior penalty: how much of the gene-activity network's linear map lies outside the prior links.

Of the network's weights, activations left out, :math:`M = (W_L \cdots W_2 W_1)^T` of shape (n_peaks, n_genes) says how
strongly a peak drives a gene. With the 0/1 prior :math:`A` of the same shape, :math:`M \circ (1 - A)` is its off-prior
part. Every function takes the whole of :math:`M`, or a random block of peaks (columns of :math:`W_1`), which
costs O(block) and never forms a peaks x genes array.
"""

from __future__ import annotations

from functools import reduce
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ._sparse import PriorLinks


def sample_peaks(n_peaks: int, size: int, *, device: torch.device | str | None = None) -> torch.Tensor | None:
    """Random block of peaks, without repeats, for the functions of this module.

    Parameters
    ----------
    n_peaks
        Number of peaks.
    size
        Number of peaks in the block.
    device
        Where the indices are wanted.

    Returns
    -------
    Indices of shape (size,), or None (all peaks) if the block would hold them all.

    Examples
    --------
    >>> len(sample_peaks(1000, 8))
    8
    """
    return torch.randperm(n_peaks, device=device)[:size] if size < n_peaks else None


def linear_effects(weights: Sequence[torch.Tensor], peaks: torch.Tensor | None = None) -> torch.Tensor:
    """Signed effect of peaks on genes through the linear layers, activations left out: ``(W_L ... W_2 W_1)^T``.

    Parameters
    ----------
    weights
        Weight of each layer, first to last, of shape (n_out, n_in) as in :class:`torch.nn.Linear`.
    peaks
        Indices of the peaks of interest; all when None.

    Returns
    -------
    Effects of shape (n_peaks or len(peaks), n_genes).

    Examples
    --------
    >>> import torch
    >>> linear_effects([torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0], [-1.0]])])
    tensor([[ 3., -1.],
            [ 6., -2.]])
    """
    first, *others = (weight.t() for weight in weights)
    return reduce(torch.matmul, others, first if peaks is None else first[peaks])


def off_prior_mass(
    weights: Sequence[torch.Tensor],
    links: PriorLinks,
    peaks: torch.Tensor | None = None,
    *,
    link_weights: torch.Tensor | None = None,
    power: int = 1,
) -> tuple[torch.Tensor, torch.Tensor]:
    r"""Mass of the linear map outside the prior, :math:`\sum |M \circ (1 - A)|^p`, and its total mass, both unbiased.

    From a block of ``b`` random peaks the sums over the block are multiplied by ``n_peaks / b``: the expectation over
    blocks is the exact value of either mass.

    Parameters
    ----------
    weights
        Weight of each layer, first to last, of shape (n_out, n_in).
    links
        The prior's links.
    peaks
        Random block of peaks without repeats, see ``sample_peaks``; exact over all peaks when None, at the price
        of a dense peaks x genes array.
    link_weights
        Weights of a separate path along the prior links, of shape (n_links,): their mass counts as on-prior and joins
        the total, exactly in either case.
    power
        :math:`p`.

    Returns
    -------
    Off-prior mass and total mass, scalars.

    Examples
    --------
    >>> import torch
    >>> from scipy import sparse
    >>> from scdart.module._sparse import PriorLinks
    >>> links = PriorLinks(n_peaks=2, n_genes=2, n_links=2)
    >>> links.set_prior(sparse.csr_matrix([[1, 0], [0, 1]]))
    >>> off_prior_mass([torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0], [-1.0]])], links)
    (tensor(7.), tensor(12.))
    """
    effects = linear_effects(weights, peaks)
    position, link = links.of_peaks(torch.arange(links.n_peaks, device=effects.device) if peaks is None else peaks)
    # Set to zero rather than subtracted from the total: no cancellation where next to nothing is off the prior.
    off_prior = effects.index_put((position, links.genes[link]), effects.new_zeros(()))
    factor = 1.0 if peaks is None else links.n_peaks / len(peaks)
    off, total = (factor * part.abs().pow(power).sum() for part in (off_prior, effects))
    if link_weights is not None:
        total = total + link_weights.abs().pow(power).sum()
    return off, total


def prior_share(
    weights: Sequence[torch.Tensor],
    links: PriorLinks,
    peaks: torch.Tensor | None = None,
    *,
    link_weights: torch.Tensor | None = None,
) -> torch.Tensor:
    r"""Scale-free prior penalty: off-prior share of the mass, :math:`\sum|M \circ (1 - A)| / \sum|M|`, in [0, 1].

    The published penalty is the numerator alone; a network that normalises its layers brings it to zero by shrinking
    all weights, at no change of its function. Scaling any layer leaves the share as it is.

    Over random blocks of ``b`` peaks it is a ratio of two unbiased estimates from one block: consistent, with a bias
    of order ``1 / b``.

    Parameters
    ----------
    weights, links, peaks, link_weights
        As in :func:`off_prior_mass`.

    Returns
    -------
    Scalar.

    Examples
    --------
    >>> import torch
    >>> from scipy import sparse
    >>> from scdart.module._sparse import PriorLinks
    >>> links = PriorLinks(n_peaks=2, n_genes=2, n_links=2)
    >>> links.set_prior(sparse.csr_matrix([[1, 0], [0, 1]]))
    >>> round(prior_share([torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0], [-1.0]])], links).item(), 4)
    0.5833
    """
    off, total = off_prior_mass(weights, links, peaks, link_weights=link_weights)
    return off / total.clamp_min(torch.finfo(total.dtype).tiny)


def prior_l1(
    weights: Sequence[torch.Tensor],
    links: PriorLinks,
    peaks: torch.Tensor | None = None,
    *,
    link_weights: torch.Tensor | None = None,
) -> torch.Tensor:
    r"""Prior penalty as published, :math:`\|M \circ (1 - A)\|_1`; unbiased over random blocks of peaks.

    Parameters
    ----------
    weights, links, peaks, link_weights
        As in :func:`off_prior_mass`; weights along the links lie within the prior and cost nothing.

    Returns
    -------
    Scalar.

    References
    ----------
    Zhang, Yang & Zhang (2022), Genome Biology 23:139, the loss :math:`L_{GAM}`.

    Examples
    --------
    >>> import torch
    >>> from scdart.module._sparse import PriorLinks
    >>> prior_l1([torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0], [-1.0]])], PriorLinks(2, 2, n_links=0))
    tensor(12.)
    """
    return off_prior_mass(weights, links, peaks, link_weights=link_weights)[0]


def prior_l2(
    weights: Sequence[torch.Tensor],
    links: PriorLinks,
    peaks: torch.Tensor | None = None,
    *,
    link_weights: torch.Tensor | None = None,
) -> torch.Tensor:
    r"""Prior penalty as published, other norm, :math:`\|M \circ (1 - A)\|_F`; its square is unbiased over blocks.

    Parameters
    ----------
    weights, links, peaks, link_weights
        As in :func:`off_prior_mass`; weights along the links lie within the prior and cost nothing.

    Returns
    -------
    Scalar.

    References
    ----------
    Zhang, Yang & Zhang (2022), Genome Biology 23:139, the loss :math:`L_{GAM}` and its authors' software.

    Examples
    --------
    >>> import torch
    >>> from scdart.module._sparse import PriorLinks
    >>> prior_l2([torch.tensor([[3.0, 4.0]])], PriorLinks(2, 1, n_links=0))
    tensor(5.)
    """
    squared = off_prior_mass(weights, links, peaks, link_weights=link_weights, power=2)[0]
    # The root has no finite slope at zero, which is where a network with a zero layer starts.
    return squared.clamp_min(torch.finfo(squared.dtype).tiny).sqrt()

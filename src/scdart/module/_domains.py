"""Domains: cells whose features follow one distribution, so that they share statistics and can be compared directly."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch


def split_by_domain(domain: torch.Tensor, *tensors: torch.Tensor) -> Iterator[tuple]:
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
    codes = domain.unique().tolist()
    for code in codes:
        yield code, *(tensors if len(codes) == 1 else (tensor[domain == code] for tensor in tensors))

"""Cells of a minibatch, kind by kind: domains, which share statistics, or batches, which can be compared directly."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch


def split_by_code(codes: torch.Tensor, *tensors: torch.Tensor) -> Iterator[tuple]:
    """Go through the kinds of some cells.

    Parameters
    ----------
    codes
        Kind of each cell, of shape (n_cells,).
    *tensors
        Tensors with a row for each cell.

    Yields
    ------
    A kind that has cells, and its rows of every tensor: the tensors themselves, not copies, where all cells are alike.
    """
    present = codes.unique().tolist()
    for code in present:
        yield code, *(tensors if len(present) == 1 else (tensor[codes == code] for tensor in tensors))

"""Mean and variance of cells that count unequally."""

from __future__ import annotations

import torch

from ._distances import nonzero


def weighted_mean(values: torch.Tensor, weights: torch.Tensor | None) -> torch.Tensor:
    """Mean over the first axis; without weights all count the same, and if all weights are zero it is zero."""
    if weights is None:
        return values.mean(dim=0)
    return torch.tensordot(weights / nonzero(weights.sum()), values, dims=1)


def weighted_moments(values: torch.Tensor, weights: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and biased variance over the first axis."""
    mean = weighted_mean(values, weights)
    return mean, weighted_mean((values - mean).square(), weights)

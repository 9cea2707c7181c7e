"""The published algorithm at its published cost, to compare with: own code after the paper and its description.

Distances from dense powers of the transition matrix; dense counts through layers of 1,024 and 512 and of 512 and 128
units, each followed by batch normalisation; the penalty of all peaks times all genes at every step; 19 kernels; plain
Adam :cite:p:`Zhang2022`.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.spatial.distance import pdist, squareform
from torch import nn

TIMES = (30, 50, 70)
POTENTIAL_EPS = 1e-7
ACTIVITY_HIDDEN = (1024, 512)
PROJECTION_HIDDEN = (512, 128)
N_LATENT = 8
LEARNING_RATE = 3e-4
N_EPOCHS = 500
STEPS_PER_EPOCH = 4  # minibatches of a quarter of the cells
KERNEL_VARIANCES = (*(10.0**k for k in range(-6, 1)), *range(5, 40, 5), *(10.0**k for k in range(2, 7)))


def diffusion_distances(
    transitions: np.ndarray, times: tuple[int, ...] = TIMES, *, potential: bool = True
) -> np.ndarray:
    """Distances of the rows of powers of a dense transition matrix, of unit Frobenius norm, averaged over `times`."""
    total = np.zeros_like(transitions)
    for steps in times:
        rows = np.linalg.matrix_power(transitions, steps)
        if potential:
            rows = -np.log(rows + POTENTIAL_EPS)
        distances = squareform(pdist(rows))
        total += distances / np.linalg.norm(distances)
    return total / len(times)


class Reference(nn.Module):
    """Both networks and the loss of a minibatch."""

    def __init__(self, prior: torch.Tensor) -> None:
        super().__init__()
        n_peaks, n_genes = prior.shape
        self.gene_activity = _dense_layers(n_peaks, *ACTIVITY_HIDDEN, n_genes)
        self.projection = nn.Sequential(
            *_dense_layers(n_genes, *PROJECTION_HIDDEN), nn.Linear(PROJECTION_HIDDEN[-1], N_LATENT)
        )
        self.off_prior = prior == 0

    def forward(
        self, rna: torch.Tensor, atac: torch.Tensor, rna_distances: torch.Tensor, atac_distances: torch.Tensor
    ) -> torch.Tensor:
        z_rna, z_atac = self.projection(rna), self.projection(self.gene_activity(atac))
        distance = distance_loss(z_rna, rna_distances) + distance_loss(z_atac, atac_distances)
        return distance + mmd(z_rna, z_atac) + self.prior_penalty()

    def prior_penalty(self) -> torch.Tensor:
        first, second, third = (layer.weight.t() for layer in self.gene_activity if isinstance(layer, nn.Linear))
        return (first @ second @ third * self.off_prior).abs().sum()


def optimizer(model: Reference) -> torch.optim.Adam:
    return torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)


def distance_loss(z: torch.Tensor, distances: torch.Tensor) -> torch.Tensor:
    """Divergence of squared latent distances from diffusion distances, both with a sum of 1."""
    latent = (z[:, None] - z[None]).square().sum(dim=2)
    q, p = (values / values.sum() + 1e-12 for values in (latent, distances))
    return (q * (q / p).log()).sum()


def mmd(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Biased maximum mean discrepancy, as a smooth absolute value."""
    squared = torch.cdist(*[torch.cat([x, y])] * 2, compute_mode="donot_use_mm_for_euclid_dist").square()
    kernel = sum(torch.exp(-squared / (2 * variance)) for variance in KERNEL_VARIANCES)
    n = len(x)
    difference = kernel[:n, :n].mean() + kernel[n:, n:].mean() - 2 * kernel[:n, n:].mean()
    return (difference.square() + 1e-9).sqrt()


def _dense_layers(*sizes: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for n_in, n_out in zip(sizes[:-1], sizes[1:], strict=True):
        layers += [
            nn.Linear(n_in, n_out, bias=False),
            nn.BatchNorm1d(n_out, eps=1e-3, momentum=0.01),
            nn.LeakyReLU(0.2),
        ]
    return nn.Sequential(*layers)

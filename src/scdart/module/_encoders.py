"""Encoders: from the counts of a modality to expression, which the projection reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from ._prior_penalty import sample_peaks

if TYPE_CHECKING:
    from collections.abc import Callable

    from scipy import sparse

    from ._components import GeneActivityNetwork, PublishedGeneActivityNetwork
    from ._normalization import Chunks, ExpressionNormalization, Normalization


class Encoder(nn.Module):
    """From counts of one modality to expression, measured or predicted.

    One modality is the reference, whose expression is measured. Another has a prior that links its features with the
    reference's genes.
    """

    normalization: Normalization

    def expression(self, counts: torch.Tensor, batch: torch.Tensor) -> torch.Tensor:
        """Expression of cells of some batches as the projection reads it, of shape (n_cells, n_genes)."""
        raise NotImplementedError

    def initialize(self, chunks: Chunks) -> None:
        """Take from the training data what is known before training; ``chunks`` reads the counts, for each pass."""

    def penalty(self) -> torch.Tensor | None:
        """Measure how far the encoder strays from what it is held to, a scalar; ``None`` where there is nothing."""
        return None


class ExpressionEncoder(Encoder):
    """Encoder of RNA: expression is what was measured, normalised.

    Parameters
    ----------
    normalization
        Normalisation of the counts.
    """

    normalization: ExpressionNormalization

    def __init__(self, normalization: ExpressionNormalization) -> None:
        super().__init__()
        self.normalization = normalization

    def expression(self, counts: torch.Tensor, batch: torch.Tensor) -> torch.Tensor:
        """Normalised expression of shape (n_cells, n_genes)."""
        return self.normalization(counts, batch)

    def initialize(self, chunks: Chunks) -> None:
        """Take the statistics of the normalisation."""
        self.normalization.fit(chunks)


class ActivityEncoder(Encoder):
    """Encoder of ATAC: expression is what the gene-activity network predicts from normalised accessibility.

    Parameters
    ----------
    normalization
        Normalisation of the counts.
    network
        Gene-activity network.
    prior_penalty
        Measures how far the network's linear map strays from the prior, see :func:`prior_share`.
    peak_block
        Peaks on which the penalty is estimated; ``None`` takes all.
    """

    def __init__(
        self,
        normalization: Normalization,
        network: GeneActivityNetwork | PublishedGeneActivityNetwork,
        *,
        prior_penalty: Callable[..., torch.Tensor],
        peak_block: int | None,
    ) -> None:
        super().__init__()
        self.normalization, self.network = normalization, network
        self._prior_penalty, self._peak_block = prior_penalty, peak_block

    def expression(self, counts: torch.Tensor, batch: torch.Tensor) -> torch.Tensor:
        """Predicted expression ("pseudo-RNA") of shape (n_cells, n_genes)."""
        return self.network(self.normalization(counts, batch))

    def set_prior(self, prior: sparse.csr_matrix) -> None:
        """Take over the links of the prior, peaks x genes."""
        self.network.set_prior(prior)

    def initialize(self, chunks: Chunks) -> None:
        """Take the statistics of the normalisation, and start the network."""
        self.normalization.fit(chunks)
        self.network.start(lambda: (self.normalization(*chunk) for chunk in chunks()))

    def penalty(self) -> torch.Tensor:
        """Prior penalty of the network, estimated on a random block of peaks."""
        links, block = self.network.links, None
        if self._peak_block is not None:
            block = sample_peaks(links.n_peaks, self._peak_block, device=links.genes.device)
        return self._prior_penalty(self.network.linear_weights(), links, block, link_weights=self.network.link_weights)

"""Architectures: which normalisations and networks go together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from scdart._constants import ATAC, RNA

from ._components import GeneActivityNetwork, ProjectionNetwork, PublishedGeneActivityNetwork
from ._encoders import ActivityEncoder, ExpressionEncoder
from ._normalization import (
    BinaryNormalization,
    LogLibraryNormalization,
    PublishedLogNormalization,
    TfidfNormalization,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import torch


@dataclass(frozen=True)
class Sizes:
    """Sizes of data and networks, and what the parts are told beside them; see :class:`SCDARTModule`."""

    n_genes: int
    n_peaks: int
    n_links: int
    n_batches: Mapping[str, int]
    n_latent: int
    n_components: int
    n_accessibility_components: int
    activity_hidden: Sequence[int]
    projection_hidden: Sequence[int]
    dropout: float
    prior_penalty: Callable[..., torch.Tensor]
    peak_block: int | None


class Parts(NamedTuple):
    """What a module is made of.

    Attributes
    ----------
    rna, atac
        Encoders of the two modalities.
    projection
        Network from expression, measured or predicted, to the latent space.
    """

    rna: ExpressionEncoder
    atac: ActivityEncoder
    projection: ProjectionNetwork


def linear_start(sizes: Sizes) -> Parts:
    """Z-scored log-counts, TF-IDF, and networks that begin as linear maps."""
    network = GeneActivityNetwork(
        sizes.n_peaks,
        sizes.n_genes,
        sizes.n_links,
        n_directions=sizes.n_components + sizes.n_accessibility_components,
        n_hidden=sizes.activity_hidden,
        dropout=sizes.dropout,
    )
    return Parts(
        ExpressionEncoder(LogLibraryNormalization(sizes.n_genes, sizes.n_batches[RNA])),
        _activity(sizes, TfidfNormalization(sizes.n_peaks, sizes.n_batches[ATAC]), network),
        _projection(sizes, n_components=sizes.n_components),
    )


def published(sizes: Sizes) -> Parts:
    """Log-counts, open peaks, and the networks of the paper."""
    network = PublishedGeneActivityNetwork(sizes.n_peaks, sizes.n_genes, sizes.n_links, n_hidden=sizes.activity_hidden)
    return Parts(
        ExpressionEncoder(PublishedLogNormalization(sizes.n_genes, sizes.n_batches[RNA])),
        _activity(sizes, BinaryNormalization(sizes.n_peaks, sizes.n_batches[ATAC]), network),
        _projection(sizes, n_components=None),
    )


#: Architectures by name: functions that make the parts of a module of some sizes.
ARCHITECTURES: Final[dict[str, Callable[[Sizes], Parts]]] = {"linear-start": linear_start, "published": published}


def _activity(
    sizes: Sizes,
    normalization: TfidfNormalization | BinaryNormalization,
    network: GeneActivityNetwork | PublishedGeneActivityNetwork,
) -> ActivityEncoder:
    return ActivityEncoder(normalization, network, prior_penalty=sizes.prior_penalty, peak_block=sizes.peak_block)


def _projection(sizes: Sizes, n_components: int | None) -> ProjectionNetwork:
    return ProjectionNetwork(
        sizes.n_genes,
        sizes.n_latent,
        n_hidden=sizes.projection_hidden,
        n_components=n_components,
        n_domains=len(sizes.n_batches),
        dropout=sizes.dropout,
    )

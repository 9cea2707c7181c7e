"""The scDART module: from counts to pseudo-RNA, latent space and loss."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import torch
from scvi.module.base import BaseModuleClass, LossOutput, auto_move_data

from scdart._constants import ATAC, RNA
from scdart.data import BATCH_KEYS

from ._components import GeneActivityNetwork, ProjectionNetwork, PublishedGeneActivityNetwork
from ._losses import expression_loss, group_anchor_loss, mmd, mmd_published, pair_anchor_loss
from ._prior_penalty import prior_l1, prior_l2, prior_share, sample_peaks
from ._sparse import binarize, log_normalize, tfidf, unit_rows
from ._trajectory_losses import block_distances, diffusion_kl, diffusion_log, diffusion_mse

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


#: Library size of the published preprocessing.
_PUBLISHED_LIBRARY_SIZE = 100.0

#: Least weight of a cell in batch norm, so that it never rests on the few whose partners are known.
_MIN_WEIGHT = 0.05


class SCDARTModule(BaseModuleClass):
    r"""Gene-activity and projection networks with the losses of scDART.

    .. math:: L = w_d (L_{dist}^{rna} + L_{dist}^{atac}) + w_m L_{mmd} + w_g L_{gam}
              + w_p L_{pairs} + w_e L_{expr} + w_a L_{anchor}

    Counts come in as they are; normalisation happens here, with statistics of the training data held as buffers, so
    that a cell's coordinate never depends on the cells beside it.

    Parameters
    ----------
    n_genes, n_peaks, n_links
        Sizes of the data and number of links of the prior.
    n_blocks
        Number of diffusion times in the diffusion coordinates.
    n_latent
        Dimensions of the latent space.
    architecture
        ``"linear-start"``: RNA as log-counts relative to the median library, z-scored per gene; ATAC as TF-IDF of unit
        length; networks that begin as linear maps (:class:`GeneActivityNetwork`, and :class:`ProjectionNetwork` on
        principal components). ``"published"``: RNA as log-counts relative to a library of 100, ATAC binarised;
        :class:`PublishedGeneActivityNetwork`, and a projection that reads genes.
    n_components
        Principal components of expression, and directions of accessibility that predict them, that
        ``"linear-start"`` reads.
    n_accessibility_components
        Principal components of accessibility itself that gene activity reads beside them: they see what the cells vary
        in that RNA lacks.
    activity_hidden, projection_hidden
        Sizes of the hidden layers of both networks.
    dropout
        Dropout rate of the hidden layers.
    distance_loss
        How latent and diffusion distances are compared: ``"log"`` (relative errors), or the published ``"kl"`` or
        ``"mse"``.
    distance_spread
        Standard deviation that ``"log"`` asks of the logarithms of latent distances, whatever that of the diffusion
        distances is, so that both modalities ask for the same contrast between near and far; ``None`` takes theirs.
    squared_distances
        Whether the latent distances are squared, as in the published code.
    alignment_loss
        ``"mmd"`` (unbiased, bandwidths around the median distance) or ``"published"`` (biased, 19 fixed kernels).
    prior_penalty
        ``"share"`` (scale-free share of effects off the prior), or the published ``"l1"`` or ``"l2"``.
    peak_block
        Peaks on which the penalty is estimated per step; ``None`` takes all.
    diffusion_weight, mmd_weight, prior_weight
        Weights of the trajectory, alignment and prior losses.
    pair_weight, expression_weight, group_weight
        Weights of the losses on anchors between cells, on predicted against matched expression, and on anchored groups.

    Raises
    ------
    ValueError
        If ``distance_spread`` is not positive.
    """

    library_size: torch.Tensor
    gene_mean: torch.Tensor
    gene_deviation: torch.Tensor
    inverse_frequency: torch.Tensor

    def __init__(
        self,
        n_genes: int,
        n_peaks: int,
        n_links: int,
        n_blocks: int,
        *,
        n_latent: int = 9,
        architecture: Literal["linear-start", "published"] = "linear-start",
        n_components: int = 30,
        n_accessibility_components: int = 10,
        activity_hidden: Sequence[int] = (64,),
        projection_hidden: Sequence[int] = (128, 64),
        dropout: float = 0.5,
        distance_loss: Literal["log", "kl", "mse"] = "log",
        distance_spread: float | None = 0.4,
        squared_distances: bool = False,
        alignment_loss: Literal["mmd", "published"] = "mmd",
        prior_penalty: Literal["share", "l1", "l2"] = "share",
        peak_block: int | None = 256,
        diffusion_weight: float = 15.0,
        mmd_weight: float = 0.1,
        prior_weight: float = 0.1,
        pair_weight: float = 0.3,
        expression_weight: float = 1.0,
        group_weight: float = 1.0,
    ) -> None:
        super().__init__()
        self.n_genes, self.n_peaks, self.n_blocks, self.n_latent = n_genes, n_peaks, n_blocks, n_latent
        self.published = architecture == "published"
        self.squared_distances = squared_distances
        self.peak_block = peak_block
        if distance_spread is not None and distance_spread <= 0:
            raise ValueError(
                f"distance_spread={distance_spread} must be positive, or None for that of diffusion distances."
            )
        distance_losses: dict[str, Callable[..., torch.Tensor]] = {
            "log": partial(diffusion_log, spread=distance_spread),
            "kl": diffusion_kl,
            "mse": diffusion_mse,
        }
        self._distance_loss = distance_losses[distance_loss]
        self._alignment_loss = {"mmd": mmd, "published": mmd_published}[alignment_loss]
        self._prior_penalty = {"share": prior_share, "l1": prior_l1, "l2": prior_l2}[prior_penalty]
        self.weights = {
            "diffusion_rna": diffusion_weight,
            "diffusion_atac": diffusion_weight,
            "mmd": mmd_weight,
            "prior": prior_weight,
            "pair": pair_weight,
            "expression": expression_weight,
            "group": group_weight,
        }
        sizes = (n_peaks, n_genes, n_links)
        self.gene_activity: GeneActivityNetwork | PublishedGeneActivityNetwork
        if self.published:
            self.gene_activity = PublishedGeneActivityNetwork(*sizes, n_hidden=activity_hidden)
        else:
            n_directions = n_components + n_accessibility_components
            self.gene_activity = GeneActivityNetwork(
                *sizes, n_directions=n_directions, n_hidden=activity_hidden, dropout=dropout
            )
        self.projection = ProjectionNetwork(
            n_genes,
            n_latent,
            n_hidden=projection_hidden,
            n_components=None if self.published else n_components,
            modalities=(RNA, ATAC),
            dropout=dropout,
        )
        self.register_buffer("library_size", torch.tensor(1.0))
        self.register_buffer("gene_mean", torch.zeros(n_genes))
        self.register_buffer("gene_deviation", torch.ones(n_genes))
        self.register_buffer("inverse_frequency", torch.ones(n_peaks))

    def log_expression(self, counts: torch.Tensor) -> torch.Tensor:
        """Log-normalised expression, dense, of shape ``(n_cells, n_genes)``."""
        target = _PUBLISHED_LIBRARY_SIZE if self.published else float(self.library_size)
        values = log_normalize(counts, target)
        return values.to_dense() if values.layout is torch.sparse_csr else values

    def expression(self, counts: torch.Tensor) -> torch.Tensor:
        """Z-score log-expression, for the projection to read; published, it reads log-expression itself."""
        values = self.log_expression(counts)
        if self.published:
            return values
        # A gene that never varies says nothing: its deviation of zero must not make it large.
        return (values - self.gene_mean) / self.gene_deviation.where(self.gene_deviation > 0, torch.inf)

    def accessibility(self, counts: torch.Tensor) -> torch.Tensor:
        """Binarise counts for gene activity to read; unless published, weigh them by TF-IDF to unit length."""
        opened = binarize(counts)
        return opened if self.published else unit_rows(tfidf(opened, self.inverse_frequency))

    @auto_move_data
    def embed(self, tensors: dict[str, torch.Tensor], role: str) -> torch.Tensor:
        """Latent coordinates of cells of one modality."""
        return self.projection(self.features(tensors, role), role)

    @auto_move_data
    def predict_expression(self, tensors: dict[str, torch.Tensor]) -> torch.Tensor:
        """Log-normalised expression predicted for ATAC cells, not below zero."""
        predicted = self.features(tensors, ATAC)
        if not self.published:
            predicted = predicted * self.gene_deviation + self.gene_mean
        return predicted.clamp(min=0)

    def features(self, tensors: dict[str, torch.Tensor], role: str) -> torch.Tensor:
        """Expression of RNA cells or pseudo-RNA of ATAC cells, as the projection reads it."""
        counts = tensors[BATCH_KEYS.COUNTS]
        return self.expression(counts) if role == RNA else self.gene_activity(self.accessibility(counts))

    def _get_inference_input(self, tensors: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        return {"tensors": tensors}

    def inference(self, tensors: dict[str, Any]) -> dict[str, dict[str, torch.Tensor]]:
        """Features and latent coordinates of the modalities that a minibatch holds."""
        outputs: dict[str, dict[str, torch.Tensor]] = {"x": {}, "z": {}}
        weights = tensors.get(BATCH_KEYS.PAIR_WEIGHT)
        if weights is not None:
            weights = weights.clamp(min=_MIN_WEIGHT)
        for role in (RNA, ATAC):
            if role in tensors:
                outputs["x"][role] = self.features(tensors[role], role)
                outputs["z"][role] = self.projection(outputs["x"][role], role, weights)
        return outputs

    def _get_generative_input(self, tensors: dict[str, Any], inference_outputs: Any, **kwargs: Any) -> dict:
        return {}

    def generative(self) -> dict:
        """Nothing is generated: scDART has no likelihood."""
        return {}

    def sample(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        """Not available: scDART has no likelihood to sample from."""
        raise NotImplementedError("scDART is not a generative model.")

    def loss(
        self, tensors: dict[str, Any], inference_outputs: Any, generative_outputs: Any, **weights: float
    ) -> LossOutput:
        """Weighted sum of the loss terms of a minibatch, and every term by name.

        Parameters
        ----------
        tensors
            Minibatch of :class:`scdart.data.UnpairedDataset` with both modalities.
        inference_outputs
            Result of :meth:`inference`.
        generative_outputs
            Not used.
        **weights
            Weights that replace the module's, by name of the term.
        """
        x, z = inference_outputs["x"], inference_outputs["z"]
        terms = {"mmd": self._alignment_loss(z[RNA], z[ATAC]), "prior": self._prior_term()}
        for role in (RNA, ATAC):
            target = block_distances(tensors[role][BATCH_KEYS.COORDINATES], self.n_blocks)
            terms[f"diffusion_{role}"] = self._distance_loss(z[role], target, squared=self.squared_distances)
        if BATCH_KEYS.PAIR_WEIGHT in tensors:
            pair_weight = tensors[BATCH_KEYS.PAIR_WEIGHT]
            terms["pair"] = pair_anchor_loss(z[RNA], z[ATAC], pair_weight)
            terms["expression"] = expression_loss(x[ATAC], x[RNA], pair_weight)
        if BATCH_KEYS.GROUPS in tensors[RNA]:
            groups = (tensors[role][BATCH_KEYS.GROUPS] for role in (RNA, ATAC))
            rna_groups, atac_groups = groups
            terms["group"] = group_anchor_loss(z[RNA], rna_groups, z[ATAC], atac_groups, squared=not self.published)
        used = {**self.weights, **weights}
        total = torch.stack([used[name] * term for name, term in terms.items()]).sum()
        return LossOutput(loss=total, n_obs_minibatch=len(z[RNA]), extra_metrics=terms)

    def _prior_term(self) -> torch.Tensor:
        network = self.gene_activity
        block = None if self.peak_block is None else sample_peaks(self.n_peaks, self.peak_block, device=self.device)
        if self._prior_penalty is prior_share:
            return prior_share(network.linear_weights(), network.links, block, link_weights=network.link_weights)
        return self._prior_penalty(network.linear_weights(), network.links, block)

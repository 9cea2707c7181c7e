"""The scDART module: from counts to pseudo-RNA, latent space and loss."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Literal, cast

import torch
from scvi.module.base import BaseModuleClass, LossOutput, auto_move_data
from torch import nn

from scdart._checks import chosen
from scdart._constants import ATAC, RNA
from scdart._options import NOT_NEGATIVE, check_number, check_options
from scdart.data import BATCH_KEYS

from ._architectures import ARCHITECTURES, Sizes
from ._legacy import renamed_state
from ._terms import ALIGNMENT_LOSSES, DISTANCE_LOSSES, LOSS_TERMS, PRIOR_PENALTIES, Step

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ._components import GeneActivityNetwork, PublishedGeneActivityNetwork
    from ._encoders import ActivityEncoder, Encoder, ExpressionEncoder

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
    n_rna_batches, n_atac_batches
        Number of batches of either modality.
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
    squared_groups
        Whether distances between means of anchored groups are squared, as in the paper; not so in the published code.
    **weights
        Weights of the loss terms: ``diffusion_weight`` (trajectories), ``mmd_weight`` (alignment), ``prior_weight``,
        ``pair_weight`` (anchors between cells), ``expression_weight`` (predicted against matched expression),
        ``group_weight`` (anchored groups). :data:`LOSS_TERMS` has their defaults.

    Raises
    ------
    TypeError
        If an option is not known.
    ValueError
        If a name is not one of its choices, or ``distance_spread`` is not positive.
    """

    def __init__(
        self,
        n_genes: int,
        n_peaks: int,
        n_links: int,
        n_blocks: int,
        *,
        n_rna_batches: int = 1,
        n_atac_batches: int = 1,
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
        squared_groups: bool = True,
        **weights: float,
    ) -> None:
        check_options(SCDARTModule.__init__, locals())
        super().__init__()
        make_parts = chosen(architecture, ARCHITECTURES, "architecture")
        self.n_blocks, self.n_latent, self.squared_groups = n_blocks, n_latent, squared_groups
        distances: dict[str, Any] = {"squared": squared_distances}
        if distance_loss == "log":
            distances["spread"] = distance_spread
        self.distance_loss = partial(chosen(distance_loss, DISTANCE_LOSSES, "distance_loss"), **distances)
        self.alignment_loss = chosen(alignment_loss, ALIGNMENT_LOSSES, "alignment_loss")
        self.weights = _weights(weights)
        parts = make_parts(
            Sizes(
                n_genes=n_genes,
                n_peaks=n_peaks,
                n_links=n_links,
                n_batches={RNA: n_rna_batches, ATAC: n_atac_batches},
                n_latent=n_latent,
                n_components=n_components,
                n_accessibility_components=n_accessibility_components,
                activity_hidden=activity_hidden,
                projection_hidden=projection_hidden,
                dropout=dropout,
                prior_penalty=chosen(prior_penalty, PRIOR_PENALTIES, "prior_penalty"),
                peak_block=peak_block,
            )
        )
        self.encoders = nn.ModuleDict({RNA: parts.rna, ATAC: parts.atac})
        self.projection = parts.projection

    @property
    def gene_activity(self) -> GeneActivityNetwork | PublishedGeneActivityNetwork:
        """The network from accessibility to expression."""
        return self.activity_encoder.network

    @property
    def expression_encoder(self) -> ExpressionEncoder:
        """The encoder of RNA."""
        return cast("ExpressionEncoder", self.encoders[RNA])

    @property
    def activity_encoder(self) -> ActivityEncoder:
        """The encoder of ATAC."""
        return cast("ActivityEncoder", self.encoders[ATAC])

    def expression(self, tensors: dict[str, torch.Tensor], role: str) -> torch.Tensor:
        """Expression of RNA cells or pseudo-RNA of ATAC cells, as the projection reads it."""
        return cast("Encoder", self.encoders[role]).expression(tensors[BATCH_KEYS.COUNTS], tensors[BATCH_KEYS.BATCH])

    def domain(self, x: torch.Tensor, role: str) -> torch.Tensor:
        """Code of each cell's domain, which is the modality: encoders have taken out what sets its batches apart."""
        return torch.full((len(x),), list(self.encoders).index(role), dtype=torch.long, device=x.device)

    @auto_move_data
    def embed(self, tensors: dict[str, torch.Tensor], role: str) -> torch.Tensor:
        """Latent coordinates of cells of one modality."""
        expression = self.expression(tensors, role)
        return self.projection(expression, self.domain(expression, role))

    @auto_move_data
    def predict_expression(self, tensors: dict[str, torch.Tensor]) -> torch.Tensor:
        """Log-normalised expression predicted for ATAC cells, not below zero."""
        return self.expression_encoder.normalization.invert(self.expression(tensors, ATAC)).clamp(min=0)

    def _get_inference_input(self, tensors: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        return {"tensors": tensors}

    def inference(self, tensors: dict[str, Any]) -> dict[str, dict[str, torch.Tensor]]:
        """Features and latent coordinates of the modalities that a minibatch holds."""
        outputs: dict[str, dict[str, torch.Tensor]] = {"x": {}, "z": {}}
        weights = tensors.get(BATCH_KEYS.PAIR_WEIGHT)
        if weights is not None:
            weights = weights.clamp(min=_MIN_WEIGHT)
        for role in self.encoders:
            if role in tensors:
                x = self.expression(tensors[role], role)
                outputs["x"][role], outputs["z"][role] = x, self.projection(x, self.domain(x, role), weights)
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
        step = Step(self, tensors, **inference_outputs)
        computed = {term.name: term.compute(step) for term in LOSS_TERMS}
        terms = {name: value for name, value in computed.items() if value is not None}
        used = {**self.weights, **weights}
        total = torch.stack([used[name] * value for name, value in terms.items()]).sum()
        return LossOutput(loss=total, n_obs_minibatch=len(step.z[RNA]), extra_metrics=terms)

    def load_state_dict(self, state_dict: Mapping[str, Any], *args: Any, **kwargs: Any) -> Any:
        """Load weights and statistics, those of models saved before version 0.2 included."""
        return super().load_state_dict(renamed_state(state_dict), *args, **kwargs)


def _weights(given: dict[str, float]) -> dict[str, float]:
    """Weight of every term by name."""
    options = {term.option for term in LOSS_TERMS}
    if unknown := sorted(set(given) - options):
        raise TypeError(f"{unknown} are no options of the model; the weights of its losses are {sorted(options)}.")
    for option, weight in given.items():
        check_number(option, weight, NOT_NEGATIVE)
    return {term.name: given.get(term.option, term.weight) for term in LOSS_TERMS}

"""Networks and losses of scDART."""

from ._architectures import ARCHITECTURES, Parts, Sizes
from ._batch_norm import DomainBatchNorm
from ._components import GeneActivityNetwork, ProjectionNetwork, PublishedGeneActivityNetwork
from ._encoders import ActivityEncoder, Encoder, ExpressionEncoder
from ._losses import expression_loss, group_anchor_loss, mmd, mmd_published, pair_anchor_loss
from ._module import SCDARTModule
from ._normalization import (
    BinaryNormalization,
    ExpressionNormalization,
    LogLibraryNormalization,
    Normalization,
    PublishedLogNormalization,
    TfidfNormalization,
)
from ._prior_penalty import off_prior_mass, prior_l1, prior_l2, prior_share
from ._sparse import PriorLinear, PriorLinks, SparseLinear, sparse_linear
from ._terms import LOSS_TERMS, LossTerm, Step
from ._trajectory_losses import block_distances, diffusion_kl, diffusion_log, diffusion_mse
from ._transforms import log_normalize, tfidf

__all__ = [
    "ARCHITECTURES",
    "LOSS_TERMS",
    "ActivityEncoder",
    "BinaryNormalization",
    "DomainBatchNorm",
    "Encoder",
    "ExpressionEncoder",
    "ExpressionNormalization",
    "GeneActivityNetwork",
    "LogLibraryNormalization",
    "LossTerm",
    "Normalization",
    "Parts",
    "PriorLinear",
    "PriorLinks",
    "ProjectionNetwork",
    "PublishedGeneActivityNetwork",
    "PublishedLogNormalization",
    "SCDARTModule",
    "Sizes",
    "SparseLinear",
    "Step",
    "TfidfNormalization",
    "block_distances",
    "diffusion_kl",
    "diffusion_log",
    "diffusion_mse",
    "expression_loss",
    "group_anchor_loss",
    "log_normalize",
    "mmd",
    "mmd_published",
    "off_prior_mass",
    "pair_anchor_loss",
    "prior_l1",
    "prior_l2",
    "prior_share",
    "sparse_linear",
    "tfidf",
]

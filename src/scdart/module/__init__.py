"""Networks and losses of scDART."""

from ._components import GeneActivityNetwork, ModalityBatchNorm, ProjectionNetwork, PublishedGeneActivityNetwork
from ._losses import expression_loss, group_anchor_loss, mmd, mmd_published, pair_anchor_loss
from ._module import SCDARTModule
from ._prior_penalty import off_prior_mass, prior_l1, prior_l2, prior_share
from ._sparse import PriorLinear, PriorLinks, SparseLinear, log_normalize, sparse_linear, tfidf
from ._trajectory_losses import block_distances, diffusion_kl, diffusion_log, diffusion_mse

__all__ = [
    "GeneActivityNetwork",
    "ModalityBatchNorm",
    "PriorLinear",
    "PriorLinks",
    "ProjectionNetwork",
    "PublishedGeneActivityNetwork",
    "SCDARTModule",
    "SparseLinear",
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

"""Metrics of an integration: pure functions on arrays, prediction first and truth second.

Metrics that compare the two measurements of the same cell take two matrices with corresponding rows; they need cells
measured in both modalities, and are for evaluation only.
"""

from __future__ import annotations

from ._batches import batch_ilisi, batch_kbet, batch_mixing
from ._clustering import ClusteringAgreement, cluster_consistency, nmi_ari, nmi_ari_kmeans
from ._expression import cell_correlation, expression_mse, gene_correlation
from ._links import gact_error, link_auprc
from ._matching import foscttm, matching_cosine, matching_distance, neighborhood_overlap
from ._mixing import alignment_score, branch_alignment, modality_mixing
from ._silhouette import silhouette_batch, silhouette_label
from ._trajectory import (
    BranchesF1,
    branches_f1,
    diffusion_distance_correlation,
    pseudotime_consistency,
    pseudotime_kendall,
)
from ._transfer import LabelTransfer, label_transfer

__all__ = [
    "BranchesF1",
    "ClusteringAgreement",
    "LabelTransfer",
    "alignment_score",
    "batch_ilisi",
    "batch_kbet",
    "batch_mixing",
    "branch_alignment",
    "branches_f1",
    "cell_correlation",
    "cluster_consistency",
    "diffusion_distance_correlation",
    "expression_mse",
    "foscttm",
    "gact_error",
    "gene_correlation",
    "label_transfer",
    "link_auprc",
    "matching_cosine",
    "matching_distance",
    "modality_mixing",
    "neighborhood_overlap",
    "nmi_ari",
    "nmi_ari_kmeans",
    "pseudotime_consistency",
    "pseudotime_kendall",
    "silhouette_batch",
    "silhouette_label",
]

"""Preprocessing: what the model needs to know beside the counts."""

from __future__ import annotations

from ._anchors import anchors, set_anchors
from ._annotation import read_annotation as read_annotation
from ._batch_estimation import estimate_factors as estimate_factors
from ._batch_estimation import sample_of_batches as sample_of_batches
from ._batch_factors import batch_factors
from ._diffusion import diffusion_coordinates
from ._from_anndata import from_anndata
from ._from_files import from_files
from ._from_store import from_store
from ._gene_activity import gene_activity
from ._set_gene_activity import gene_scores, set_gene_activity

__all__ = [
    "anchors",
    "batch_factors",
    "diffusion_coordinates",
    "from_anndata",
    "from_files",
    "from_store",
    "gene_activity",
    "gene_scores",
    "set_anchors",
    "set_gene_activity",
]

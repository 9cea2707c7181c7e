"""Preprocessing: what the model needs to know beside the counts."""

from __future__ import annotations

from ._anchors import anchors, set_anchors
from ._batch_factors import batch_factors
from ._diffusion import diffusion_coordinates
from ._gene_activity import gene_activity, set_gene_activity

__all__ = ["anchors", "batch_factors", "diffusion_coordinates", "gene_activity", "set_anchors", "set_gene_activity"]

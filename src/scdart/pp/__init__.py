"""Preprocessing: what the model needs to know beside the counts."""

from __future__ import annotations

from ._anchors import anchors, set_anchors
from ._diffusion import diffusion_coordinates
from ._gene_activity import gene_activity, set_gene_activity

__all__ = ["anchors", "diffusion_coordinates", "gene_activity", "set_anchors", "set_gene_activity"]

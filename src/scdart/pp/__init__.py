"""Preprocessing: what the model needs to know beside the counts."""

from __future__ import annotations

from ._gene_activity import gene_activity, set_gene_activity

__all__ = ["gene_activity", "set_gene_activity"]

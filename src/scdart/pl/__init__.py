"""Plots: matplotlib axes with scanpy's conventions, and a report to pass on."""

from __future__ import annotations

from ._backbone import backbone, branches
from ._confidence import alignment_confidence
from ._dynamics import dynamic_features, dynamic_heatmap
from ._expression import gene_activity
from ._history import history
from ._latent import latent
from ._links import peak_gene_links
from ._report import report

__all__ = [
    "alignment_confidence",
    "backbone",
    "branches",
    "dynamic_features",
    "dynamic_heatmap",
    "gene_activity",
    "history",
    "latent",
    "peak_gene_links",
    "report",
]

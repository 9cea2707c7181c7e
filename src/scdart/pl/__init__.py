"""Plots: matplotlib axes with scanpy's conventions, and a report to pass on."""

from __future__ import annotations

from ._confidence import alignment_confidence
from ._expression import gene_activity
from ._history import history
from ._latent import latent
from ._report import report

__all__ = ["alignment_confidence", "gene_activity", "history", "latent", "report"]

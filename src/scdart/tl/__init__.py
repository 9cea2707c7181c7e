"""Tools: the integration in one call, and what is done with its result."""

from __future__ import annotations

from ._curves import dynamic_curves
from ._dynamics import dynamic_features
from ._integrate import scdart
from ._motifs import motif_gene_scores

__all__ = ["dynamic_curves", "dynamic_features", "motif_gene_scores", "scdart"]

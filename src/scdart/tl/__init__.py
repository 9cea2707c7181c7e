"""Tools: the integration in one call, and what is done with its result."""

from __future__ import annotations

from ._backbone import backbone
from ._dynamics import dynamic_curves, dynamic_features, dynamic_values
from ._embed import embed, spread
from ._ingest import ingest
from ._integrate import integrate
from ._joint import joint_anndata
from ._motifs import motif_gene_scores
from ._pseudotime import pseudotime
from ._transfer import impute, smooth, transfer_labels

__all__ = [
    "backbone",
    "dynamic_curves",
    "dynamic_features",
    "dynamic_values",
    "embed",
    "impute",
    "ingest",
    "integrate",
    "joint_anndata",
    "motif_gene_scores",
    "pseudotime",
    "smooth",
    "spread",
    "transfer_labels",
]

# The name of the method, for those who look for it here; the documentation teaches `integrate`.
scdart = integrate

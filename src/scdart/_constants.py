"""Names that several modules share: slots of the user's MuData, registry keys, loss terms."""

from __future__ import annotations

from typing import Final

#: Default names of the slots that scdart writes (``method`` contract).
GENE_ACTIVITY: Final = "gene_activity"
DIFFUSION_COORDINATES: Final = "diffusion_coordinates"
X_DIFFUSION_COORDINATES: Final = "X_diffusion_coordinates"
ANCHORS: Final = "anchors"
BATCH_FACTORS: Final = "batch_factors"
X_SCDART: Final = "X_scdart"

#: The two roles a modality can play, whatever the user's MuData calls them.
RNA: Final = "rna"
ATAC: Final = "atac"

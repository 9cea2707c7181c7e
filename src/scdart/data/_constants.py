"""Keys under which the data manager registers what the model reads."""

from __future__ import annotations

from typing import Final, NamedTuple


class _RegistryKeys(NamedTuple):
    RNA: str = "X"
    ATAC: str = "atac"
    RNA_DIFFUSION: str = "rna_diffusion"
    ATAC_DIFFUSION: str = "atac_diffusion"
    GENE_ACTIVITY: str = "gene_activity"
    ANCHORS: str = "anchors"
    RNA_GROUPS: str = "rna_groups"
    ATAC_GROUPS: str = "atac_groups"


REGISTRY_KEYS: Final = _RegistryKeys()


class _BatchKeys(NamedTuple):
    """Names of the tensors of one modality within a minibatch."""

    COUNTS: str = "counts"
    COORDINATES: str = "coordinates"
    GROUPS: str = "groups"
    #: Beside the modalities: how far row r of both modalities are trusted to be partners, zero for a random pair.
    PAIR_WEIGHT: str = "pair_weight"


BATCH_KEYS: Final = _BatchKeys()

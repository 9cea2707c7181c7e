"""Keys of what is registered for both modalities together, and names of the tensors of a minibatch."""

from __future__ import annotations

from typing import Final, NamedTuple


class _RegistryKeys(NamedTuple):
    """What belongs to one modality is named in the table of modalities."""

    GENE_ACTIVITY: str = "gene_activity"
    ANCHORS: str = "anchors"


REGISTRY_KEYS: Final = _RegistryKeys()


class _BatchKeys(NamedTuple):
    """Names of the tensors of one modality within a minibatch."""

    COUNTS: str = "counts"
    #: Code of each cell's batch among those of its modality.
    BATCH: str = "batch"
    COORDINATES: str = "coordinates"
    GROUPS: str = "groups"
    #: Beside the modalities: how far row r of both modalities are trusted to be partners, zero for a random pair.
    PAIR_WEIGHT: str = "pair_weight"


BATCH_KEYS: Final = _BatchKeys()

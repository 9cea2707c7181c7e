"""Registration and loading of two modalities whose cells differ."""

from ._constants import BATCH_KEYS, REGISTRY_KEYS
from ._dataset import UnpairedDataset
from ._fields import AnchorsField, CountsField, DiffusionCoordinatesField, GroupsField, PriorField
from ._sampler import PairSampler
from ._splitter import UnpairedDataSplitter

__all__ = [
    "BATCH_KEYS",
    "REGISTRY_KEYS",
    "AnchorsField",
    "CountsField",
    "DiffusionCoordinatesField",
    "GroupsField",
    "PairSampler",
    "PriorField",
    "UnpairedDataSplitter",
    "UnpairedDataset",
]

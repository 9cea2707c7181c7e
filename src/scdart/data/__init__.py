"""Registration and loading of two modalities whose cells differ."""

from ._constants import BATCH_KEYS, REGISTRY_KEYS
from ._dataset import UnpairedDataset, sequential_loader
from ._fields import (
    AnchorsField,
    BatchFactorsField,
    BatchField,
    ConfidenceField,
    CountsField,
    DiffusionCoordinatesField,
    GroupsField,
    PriorField,
)
from ._modalities import MODALITIES, Modality, names_of_modalities
from ._registered import (
    registered_anchors,
    registered_batch_factors,
    registered_batches,
    registered_columns,
    registered_confidence,
    registered_modalities,
    registered_n_cells,
    registered_names,
)
from ._sampler import PairSampler, steps_per_epoch
from ._splitter import UnpairedDataSplitter
from ._validation import check_groups, check_setup, checked_confidence

# Functions are for the subpackages that build on this one.
__all__ = [
    "BATCH_KEYS",
    "MODALITIES",
    "REGISTRY_KEYS",
    "AnchorsField",
    "BatchFactorsField",
    "BatchField",
    "ConfidenceField",
    "CountsField",
    "DiffusionCoordinatesField",
    "GroupsField",
    "Modality",
    "PairSampler",
    "PriorField",
    "UnpairedDataSplitter",
    "UnpairedDataset",
]

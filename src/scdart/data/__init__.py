"""Registration and loading of two modalities whose cells differ."""

from ._constants import BATCH_KEYS, REGISTRY_KEYS
from ._dataset import UnpairedDataset
from ._dataset import sequential_loader as sequential_loader
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
from ._modalities import MODALITIES, Modality
from ._modalities import by_argument as by_argument
from ._modalities import names_of_modalities as names_of_modalities
from ._registered import batch_columns as batch_columns
from ._registered import registered_anchors as registered_anchors
from ._registered import registered_batch_factors as registered_batch_factors
from ._registered import registered_batches as registered_batches
from ._registered import registered_columns as registered_columns
from ._registered import registered_confidence as registered_confidence
from ._registered import registered_groups as registered_groups
from ._registered import registered_modalities as registered_modalities
from ._registered import registered_n_cells as registered_n_cells
from ._registered import registered_names as registered_names
from ._registered import registered_prior as registered_prior
from ._sampler import PairSampler
from ._sampler import steps_per_epoch as steps_per_epoch
from ._splitter import UnpairedDataSplitter
from ._validation import check_anchors as check_anchors
from ._validation import check_features as check_features
from ._validation import check_scale as check_scale
from ._validation import check_setup as check_setup
from ._validation import checked_confidence as checked_confidence

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

"""The scDART model on scvi-tools."""

from ._presets import PRESETS, Preset
from ._scdart import SCDART
from ._scdart import check_training as check_training
from ._training_plan import SCDARTTrainingPlan

__all__ = ["PRESETS", "SCDART", "Preset", "SCDARTTrainingPlan"]

"""Features along a trajectory: spline models of many features at once, their tests and their curves."""

from __future__ import annotations

from ._curves import dynamic_curves, dynamic_values
from ._features import dynamic_features

__all__ = ["dynamic_curves", "dynamic_features", "dynamic_values"]

"""Late access to scib-metrics, which brings JAX: only the metrics that it computes pay for it."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import ModuleType


def import_scib(name: str = "scib_metrics") -> ModuleType:
    """Import scib-metrics or one of its submodules."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("This metric is computed by scib-metrics: `pip install scib-metrics`.") from error

"""scdart: unpaired scRNA-seq and scATAC-seq in one trajectory-preserving latent space."""

from __future__ import annotations

import importlib
from importlib.metadata import version
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import ModuleType

    from . import data, datasets, metrics, model, module, pl, pp, tl

__all__ = ["data", "datasets", "metrics", "model", "module", "pl", "pp", "tl"]
__version__ = version("scdart")


def __getattr__(name: str) -> ModuleType:
    # torch, scvi-tools and scanpy take seconds to import: a subpackage is loaded when it is first used.
    if name in __all__:
        return importlib.import_module(f".{name}", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]

"""scdart: unpaired scRNA-seq and scATAC-seq in one trajectory-preserving latent space."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import data, datasets, metrics, model, module, pl, pp, tl

    __version__: str

__all__ = ["data", "datasets", "metrics", "model", "module", "pl", "pp", "tl"]


def __getattr__(name: str) -> Any:
    # torch, scvi-tools and scanpy take seconds to import: a subpackage is loaded when it is first used.
    if name in __all__:
        return importlib.import_module(f".{name}", __name__)
    if name == "__version__":
        from importlib.metadata import version  # takes longer than all else here

        return version("scdart")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]

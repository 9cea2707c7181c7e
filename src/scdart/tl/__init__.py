"""Tools: the integration in one call, and what is done with its result."""

from __future__ import annotations

from ._integrate import scdart

__all__ = ["scdart"]

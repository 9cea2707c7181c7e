"""What differs between the versions of mudata that are supported."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING

import mudata

if TYPE_CHECKING:
    from contextlib import AbstractContextManager


def columns_stay() -> AbstractContextManager:
    """Let a new MuData leave the columns of ``obs`` and ``var`` in its modalities, as mudata does from 0.4 on."""
    if not hasattr(mudata, "set_options"):
        return nullcontext()
    return mudata.set_options(pull_on_update=False)

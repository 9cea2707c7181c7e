"""What slots say about how they were made, for all who read it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping


def given_times(description: Mapping[str, Any]) -> tuple[int, ...]:
    """Numbers of steps that diffusion coordinates were made with, in ascending order, from what ``uns`` tells."""
    times = np.atleast_1d(description.get("t", ()))
    return tuple(sorted(np.repeat(times, description.get("repeats", 1)).tolist()))

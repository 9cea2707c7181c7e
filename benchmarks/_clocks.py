"""CPU seconds, seconds on the wall and memory of the stages of one measurement."""

from __future__ import annotations

import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from _worker import peak_memory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def clocks() -> np.ndarray:
    """CPU seconds of this process, which other users of the machine do not change, and seconds on the wall."""
    return np.array([time.process_time(), time.perf_counter()])


class Stages:
    """CPU seconds, seconds on the wall, and peak memory in GiB of stages, by name."""

    def __init__(self) -> None:
        self.measured: dict[str, dict[str, float]] = {}

    @contextmanager
    def __call__(self, name: str, durations: Callable[[], np.ndarray] | None = None) -> Iterator[None]:
        """Measure what is done within; `durations`, if given, replaces its own."""
        with suppress(OSError):  # not Linux: the peak of all stages so far
            Path("/proc/self/clear_refs").write_text("5")
        start = clocks()
        yield
        seconds, wall = durations() if durations else clocks() - start
        self.measured[name] = {"seconds": seconds, "wall": wall, "gib": peak_memory(own=True)}

"""What belongs to the user's process, and is left as it was: numbers of threads, and the root logger."""

from __future__ import annotations

import logging
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def threads_kept() -> Iterator[None]:
    """Leave the number of PyTorch's threads as it was.

    Where numba shares its threads with PyTorch, as by OpenMP, a function that it has compiled sets them for both.
    Training with more threads than the user wants is slower, many times so on a machine that others use too.
    """
    torch = sys.modules.get("torch")  # which takes seconds to import
    before = None if torch is None else torch.get_num_threads()
    try:
        yield
    finally:
        # Setting them does more than that, so it is done only where it is needed.
        if torch is not None and torch.get_num_threads() != before:
            torch.set_num_threads(before)


@contextmanager
def root_logger_kept() -> Iterator[None]:
    """Leave the root logger without handlers: the functions of :mod:`logging` itself give it one, if it has none."""
    root = logging.getLogger()
    if root.handlers:
        yield
        return
    handler = logging.NullHandler()
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)

"""What a long call is doing: a line of the log for each part, or a bar where the log is not shown; and what it took."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from importlib.util import find_spec
from time import perf_counter
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import Progress
from scvi import settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

logger = logging.getLogger(__name__)


def _has_bars(console: Console) -> bool:
    """Whether a bar can be shown and taken away again: on a terminal, or in a notebook that has widgets."""
    return console.is_terminal or (console.is_jupyter and find_spec("ipywidgets") is not None)


@contextmanager
def parts(title: str, n_parts: int) -> Iterator[Callable[[str], None]]:
    """Follow a computation through its parts.

    Parameters
    ----------
    title
        What is computed.
    n_parts
        Number of its parts.

    Yields
    ------
    Function to call at the beginning of each part, with its name.
    """
    console = Console(stderr=True)
    # Lines of the log would tear a bar, and say the same.
    shown = _has_bars(console) and settings.verbosity <= logging.INFO and not logger.isEnabledFor(logging.INFO)
    with Progress(console=console, transient=True, disable=not shown) as bar:
        task = bar.add_task(title, total=n_parts)
        n_begun = 0

        def begin(name: str) -> None:
            nonlocal n_begun
            bar.update(task, completed=n_begun, description=f"{title}: {name}")
            n_begun += 1
            logger.info("%s (%d of %d): %s", title, n_begun, n_parts, name)

        yield begin


@contextmanager
def timed_steps(title: str) -> Iterator[Callable[[str], AbstractContextManager[None]]]:
    """Log what each step of a call took, when it ends and, of all of them, at the end.

    Parameters
    ----------
    title
        What is done.

    Yields
    ------
    Function that makes the context of a step from its name. Its record has the attributes ``stage`` and ``seconds``,
    for programs.
    """
    took: dict[str, float] = {}

    @contextmanager
    def step(name: str) -> Iterator[None]:
        start = perf_counter()
        yield
        took[name] = perf_counter() - start
        logger.info("%s: %.1f s", name, took[name], extra={"stage": name, "seconds": took[name]})

    yield step
    each = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in took.items())
    logger.info("%s took %.1f s: %s.", title, sum(took.values()), each)

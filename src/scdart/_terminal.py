"""What a command shows beside its result: log, warnings, errors of the user's input, time and memory."""

from __future__ import annotations

import logging
import re
import sys
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console
from rich.logging import RichHandler

from scdart._process import quiet

if TYPE_CHECKING:
    from collections.abc import Iterator

_package = logging.getLogger("scdart")


@contextmanager
def reporting(*, verbose: bool) -> Iterator[Stages]:
    """Show the log and warnings of the package while a command runs, and its errors about bad input as one line.

    Parameters
    ----------
    verbose
        Show debug messages, other libraries' messages and tracebacks too.

    Yields
    ------
    The seconds of each stage that has ended.

    Raises
    ------
    typer.Exit
        With code 1, for a ``KeyError``, ``OSError`` or ``ValueError``: how the package reports bad input.
    """
    handler = RichHandler(console=Console(stderr=True), show_time=False, show_path=False, markup=False)
    stages = Stages()
    level = _package.level
    _package.addHandler(handler)
    _package.addHandler(stages)
    _package.setLevel(logging.DEBUG if verbose else logging.INFO)
    propagate, _package.propagate = _package.propagate, False  # a library may have given the root logger a handler too
    with quiet(), warnings.catch_warnings():
        if not verbose:
            warnings.simplefilter("ignore")
            warnings.filterwarnings("default", category=UserWarning)
            warnings.filterwarnings("ignore", module="lightning")
            warnings.showwarning = lambda message, *_, **__: _package.warning("%s", message)
        try:
            yield stages
        except (KeyError, OSError, ValueError) as error:
            _package.debug("Traceback", exc_info=True)
            # str() of a KeyError is the repr of its message.
            message = error.args[0] if isinstance(error, KeyError) and error.args else error
            typer.echo(f"Error: {' '.join(str(message).split())}", err=True)
            raise typer.Exit(1) from None
        finally:
            _package.propagate = propagate
            _package.removeHandler(handler)
            _package.removeHandler(stages)
            _package.setLevel(level)


class Stages(logging.Handler):
    """Collects the seconds of each stage of the integration from the log."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: dict[str, float] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the attributes that :func:`scdart.tl.integrate` gives to its records."""
        if "stage" in vars(record):
            self.seconds[vars(record)["stage"]] = vars(record)["seconds"]


def progress_bar() -> dict[str, Any]:
    """Options of training: a bar only where someone can watch it."""
    return {"enable_progress_bar": sys.stderr.isatty()}


def bytes_of(size: str, option: str) -> int:
    """Read a size such as ``8GB``."""
    found = re.fullmatch(r"([0-9.]+) *([KMGT]?)i?B?", size.strip(), re.IGNORECASE)
    try:
        return int(float(found[1]) * 1024 ** " KMGT".index(found[2].upper() or " ")) if found else int(size)
    except ValueError:
        raise ValueError(f"{option} {size} is no size: write it as 8GB or 500MB.") from None


def peak_memory() -> int | None:
    """Largest resident memory of this process so far, in bytes; ``None`` where the system does not say."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024

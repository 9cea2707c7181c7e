"""What belongs to the user's process, and is left as it was: threads, loggers, signals, filters of warnings."""

from __future__ import annotations

import logging
import signal
import sys
import threading
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Where libraries log devices, seeds and registered fields, which say nothing about the user's data.
_CHATTY: Final = ("lightning.fabric.utilities", "lightning.pytorch.utilities", "scvi.data", "scvi.model.base")
#: What libraries warn of, of their own code or of options that nobody has set.
_IDLE: Final = (
    "The method mod_names is deprecated",
    "The number of training batches",
    r"`isinstance\(treespec, LeafSpec\)` is deprecated",
)

#: Features from which on a second thread saves a quarter of the time: measured with 3,000 to 200,000 peaks.
_MANY_FEATURES: Final = 30_000


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
def threads_that_pay(n_features: int) -> Iterator[None]:
    """Compute a model with as many of PyTorch's threads as are worth their processors.

    Its minibatches are small. With up to some ten thousand features a second thread saves a tenth of the time, or costs
    as much, for twice the work of processors; beyond, it saves a quarter. Where another process, or the quota of a
    container, has one of the processors, threads wait for each other and all is many times slower.

    Parameters
    ----------
    n_features
        Number of features of the model.
    """
    import torch
    from joblib import cpu_count  # which knows quotas of containers

    with threads_kept():
        allowed = torch.get_num_threads()
        paying = min(allowed, 1 if n_features < _MANY_FEATURES else 2, cpu_count())
        if paying != allowed:
            torch.set_num_threads(paying)
        yield


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Let linear algebra of NumPy and SciPy take one thread.

    Products with components are many and thin. With 2,000 cells and 5,000 peaks, or 10,000 and 50,000, a second thread
    takes as long or longer for twice the work of processors; where another process has one of these, four times as
    long.
    """
    from threadpoolctl import threadpool_limits

    with threadpool_limits(limits=1, user_api="blas"):
        yield


@contextmanager
def interrupts_kept() -> Iterator[None]:
    """Let what interrupts a training reach the user's program as it would without a trainer.

    Lightning ends the whole program where a user stops the cell of a notebook, and ignores further attempts from then
    on; where a cluster ends the process, Lightning has it end as if all had gone well.
    """
    in_main_thread = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as ended:
        from lightning.pytorch.utilities.exceptions import SIGTERMException

        if isinstance(ended.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from None
        if isinstance(ended, SIGTERMException):
            raise SystemExit(128 + signal.SIGTERM) from None
        raise
    finally:
        if in_main_thread and handler is not None:  # None: set by what is not Python
            signal.signal(signal.SIGINT, handler)


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


@contextmanager
def quiet() -> Iterator[None]:
    """Keep to themselves what libraries say beside the matter, unless the package's own log shows all there is."""
    if logging.getLogger("scdart").isEnabledFor(logging.DEBUG):
        yield
        return
    loggers = [logging.getLogger(name) for name in _CHATTY]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        for message in _IDLE:
            warnings.filterwarnings("ignore", message=message)
        for logger in loggers:
            logger.setLevel(logging.WARNING)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)

"""One meaning of ``random_state`` in all functions, and global streams that stay the user's."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ._process import quiet

if TYPE_CHECKING:
    from collections.abc import Iterator


def seed_of(random_state: int | None) -> int:
    """Get the seed that a function is to use: its own, or else ``scvi.settings.seed``, or else 0.

    Parameters
    ----------
    random_state
        As the user passed it.

    Returns
    -------
    The seed.
    """
    if random_state is not None:
        return random_state
    # scvi-tools takes seconds to import. Where nothing has imported it, nobody has set its seed.
    scvi = sys.modules.get("scvi")
    seed = None if scvi is None else scvi.settings.seed
    return 0 if seed is None else int(seed)


@contextmanager
def streams_kept() -> Iterator[None]:
    """Leave the global random streams of Python, NumPy and PyTorch as they were, also after an error."""
    from lightning.pytorch.utilities.seed import isolate_rng  # torch takes seconds to import

    failed: BaseException | None = None
    with isolate_rng():
        try:
            yield
        except BaseException as error:  # noqa: BLE001  # Lightning restores nothing when one passes through it
            failed = error
    if failed is not None:
        raise failed


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed everything, and leave the user's seed and random streams as they were."""
    from scvi import settings  # takes seconds to import

    previous = settings.seed
    with streams_kept(), quiet():
        settings.seed = seed
        try:
            yield
        finally:
            settings.seed = previous

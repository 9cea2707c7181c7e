"""One meaning of ``random_state`` in all functions."""

from __future__ import annotations

import sys


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

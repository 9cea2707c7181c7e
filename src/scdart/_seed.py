"""The one rule for seeds."""

from __future__ import annotations

import sys


def seed_of(random_state: int | None) -> int:
    """Seed of a function: what it was given, else ``scvi.settings.seed``, else 0."""
    if random_state is not None:
        return random_state
    # Importing scvi-tools takes seconds, and nobody has set its seed who has not imported it.
    scvi = sys.modules.get("scvi")
    return (scvi.settings.seed if scvi is not None else None) or 0

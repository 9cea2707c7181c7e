"""What a diagnostic says, what it is read from, and the question of a reader that it helps to answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy as np
    import pandas as pd
    from mudata import MuData
    from numpy.typing import NDArray

    from scdart.model import SCDART

    Verdict = Literal["fine", "look", "unknown"]


@dataclass(frozen=True)
class Diagnostic:
    """One sign: what it is, its value as text, how to read it, and whether the reader should look closer.

    What it helps to answer is known once all signs are there.
    """

    name: str
    value: str
    meaning: str
    verdict: Verdict = "fine"
    warning: str = ""
    question: str = ""


@dataclass(frozen=True)
class Answer:
    """What all signs together say to a question that a reader has."""

    question: str
    signs: tuple[Diagnostic, ...]

    @property
    def verdict(self) -> Verdict:
        """Look closer if any sign asks for it; unknown if no sign is known."""
        verdicts = {sign.verdict for sign in self.signs}
        return "look" if "look" in verdicts else "fine" if "fine" in verdicts else "unknown"


def judged(name: str, value: str, meaning: str, *, look: bool, warning: str) -> Diagnostic:
    """Make a sign whose warning counts where the reader should look closer."""
    return Diagnostic(name, value, meaning, "look" if look else "fine", warning if look else "")


@dataclass(frozen=True)
class Inputs:
    """What the signs are read from.

    Parameters
    ----------
    mdata
        Integrated data.
    latent
        Latent space by role, cells x dimensions.
    mods
        Names of the modalities by role.
    model
        Trained model, if there is one.
    use_rep
        Slot that the latent space was read from.
    pseudotime
        Column with the pseudotime, if there is one.
    confidence
        By name, and then by role: confidence of the cells, and below what it is low.
    batches
        Batch of each cell, by role of the modalities that have several.
    random_state
        Seed of the samples.
    """

    mdata: MuData
    latent: dict[str, NDArray[np.float64]]
    mods: dict[str, str]
    model: SCDART | None
    use_rep: str
    pseudotime: str | None
    confidence: dict[str, tuple[dict[str, NDArray[np.float64]], float]]
    batches: dict[str, pd.Series]
    random_state: int


def answers(diagnostics: Iterable[Diagnostic]) -> list[Answer]:
    """Put the signs together by the question that they help to answer; others are left out."""
    by_question: dict[str, list[Diagnostic]] = {}
    for diagnostic in diagnostics:
        by_question.setdefault(diagnostic.question, []).append(diagnostic)
    return [Answer(question, tuple(signs)) for question, signs in by_question.items()]

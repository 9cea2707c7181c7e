"""Ways to coordinates that both modalities share, from the least assumed to the most."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from ._correspondence import Landmarks, draw_landmarks, partners, refined_coordinates, similarity
from ._group_directions import group_directions, with_groups
from ._matching import is_reciprocated

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np

    from ._anchor_settings import AnchorSettings
    from ._correspondence import Coordinates, Evidence, Similarity

logger = logging.getLogger(__name__)

#: Ways to coordinates, in the order of what they assume.
VARIANTS = ("canonical", "refined", "selected")


class Variant(NamedTuple):
    """One way to coordinates.

    Attributes
    ----------
    name
        What it is called.
    coordinates
        Of all cells.
    landmarks
        Cells that it is learned from, which can be partners.
    """

    name: str
    coordinates: Coordinates
    landmarks: Landmarks


@dataclass(frozen=True)
class Inference:
    """Coordinates from some evidence, one variant after the other.

    Attributes
    ----------
    evidence
        What to infer from.
    settings
        How to.
    rng
        Source of all draws.
    """

    evidence: Evidence
    settings: AnchorSettings
    rng: np.random.Generator

    def draw_landmarks(self) -> Landmarks:
        """Draw the cells to learn from."""
        return draw_landmarks(self.evidence, self.settings, self.rng)

    def variants(self, landmarks: Landmarks, wanted: Sequence[str]) -> list[Variant]:
        """Make the variants that are wanted, those before them on the way, and none after the last."""
        made = coordinate_variants(self.evidence, landmarks, self.settings, self.rng)
        return [variant for variant in islice(made, VARIANTS.index(wanted[-1]) + 1) if variant.name in wanted]


def coordinate_variants(
    evidence: Evidence, landmarks: Landmarks, settings: AnchorSettings, rng: np.random.Generator
) -> Iterator[Variant]:
    """Yield coordinates by name, each with the landmarks it is learned from: the later, the more they assume.

    ``canonical`` are from linked peaks and genes alone, ``refined`` from all; ``selected`` are refined, but learned
    from cells that have a counterpart. Landmarks whose partners do not lead back to them are left out and all is
    learned anew from the others, until few are left out.
    """
    similar = similarity(evidence, settings)
    between = None if evidence.groups is None else group_directions(evidence, landmarks, rng)

    def directions(similar: Similarity, landmarks: Landmarks) -> Coordinates:
        found = similar.coordinates(landmarks, settings.n_components)
        return found if between is None else with_groups(found, between, settings.group_weight)

    canonical = directions(similar, landmarks)
    yield Variant("canonical", canonical.unit(), landmarks)
    refined = refined_coordinates(evidence, canonical, landmarks, settings, rng)
    yield Variant("refined", refined, landmarks)
    for _ in range(settings.max_selections):
        selected = _with_counterpart(evidence, refined, landmarks, settings)
        if selected.n_cells > (1 - settings.min_left_out) * landmarks.n_cells:
            break
        if min(len(selected.rna), len(selected.atac)) <= settings.n_neighbors:
            logger.info(
                "Only %d RNA and %d ATAC cells lead back to themselves, too few to learn from: the cells before stand.",
                len(selected.rna),
                len(selected.atac),
            )
            break
        landmarks = selected
        canonical = directions(similar.centred(landmarks), landmarks)
        refined = refined_coordinates(evidence, canonical, landmarks, settings, rng)
    yield Variant("selected", refined, landmarks)


def _with_counterpart(
    evidence: Evidence, coordinates: Coordinates, landmarks: Landmarks, settings: AnchorSettings
) -> Landmarks:
    atac_of_rna, rna_of_atac = partners(coordinates, landmarks, settings, evidence, queries=landmarks)
    atac_of_rna, rna_of_atac = atac_of_rna[:, landmarks.atac], rna_of_atac[:, landmarks.rna]
    rna = is_reciprocated(atac_of_rna, rna_of_atac, landmarks.own_rna, settings)
    atac = is_reciprocated(rna_of_atac, atac_of_rna, landmarks.own_atac, settings)
    return Landmarks(landmarks.rna[rna], landmarks.atac[atac], landmarks.own_rna[rna], landmarks.own_atac[atac])

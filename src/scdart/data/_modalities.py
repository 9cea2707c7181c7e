"""The table of modalities: under what names the data manager, the set-up and minibatches know what belongs to each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from scdart._constants import ATAC, RNA

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Modality:
    """One of the two roles that a modality of the user's MuData can play.

    Attributes
    ----------
    role
        ``"rna"`` or ``"atac"``.
    argument
        Argument of :meth:`scdart.model.SCDART.setup_mudata` with the layer of its counts, which is its key in
        ``modalities`` too.
    counts, coordinates, groups, confidence, batch, batch_factors
        Keys under which the data manager registers its slots.
    """

    role: str
    argument: str
    counts: str
    coordinates: str
    groups: str
    confidence: str
    batch: str
    batch_factors: str

    @property
    def n_features(self) -> str:
        """Name of its number of genes or peaks in a model's ``summary_stats``."""
        # scvi-tools knows one field by a name of its own.
        return "n_vars" if self.counts == "X" else f"n_{self.counts}"


_SLOTS = ("diffusion", "groups", "confidence", "batch", "batch_factors")

#: The modalities by role. The order is that of the domains.
MODALITIES: Final[dict[str, Modality]] = {
    role: Modality(role, f"{role}_layer", counts, *(f"{role}_{slot}" for slot in _SLOTS))
    for role, counts in ((RNA, "X"), (ATAC, "atac"))
}


def names_of_modalities(registry: Mapping) -> dict[str, str]:
    """Get what the user calls the modalities, by role, from a model's registry."""
    modalities = registry["setup_args"]["modalities"]
    return {role: modalities[modality.argument] for role, modality in MODALITIES.items()}


def by_argument(given: Mapping[str, str] | None) -> dict[str, str]:
    """Get names of modalities by the argument that takes their layer, as scvi-tools knows them; by default the roles.

    Raises
    ------
    ValueError
        A key is none of the arguments.
    """
    default = {modality.argument: role for role, modality in MODALITIES.items()}
    if given and not given.keys() <= default.keys():
        raise ValueError(f"modalities={dict(given)} names modalities by argument: its keys are {list(default)}.")
    return dict(given) if given else default

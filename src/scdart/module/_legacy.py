"""State of models that were saved when parts of the module had other names."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Mapping

_STATISTICS = {
    "gene_mean": "encoders.rna.normalization.mean",
    "gene_deviation": "encoders.rna.normalization.deviation",
    "library_size": "encoders.rna.normalization.library_size",
    "inverse_frequency": "encoders.atac.normalization.inverse_frequency",
}

_BATCH_NORM = re.compile(r"(projection\.norms\.\d+)\.statistics\.(rna|atac)\.(running_mean|running_var)")


def renamed_state(state: Mapping[str, Any]) -> Mapping[str, Any]:
    """Rename what was saved under names of before; a state with today's names is returned as it is."""
    if "gene_mean" not in state:
        return state
    # The published parts, which have no links to weigh, normalise without statistics.
    published = "gene_activity.links.weight" not in state
    renamed: dict[str, Any] = {}
    by_modality: dict[str, dict[str, torch.Tensor]] = {}
    for name, value in state.items():
        if name in _STATISTICS:
            if not published:
                renamed[_STATISTICS[name]] = value
        elif found := _BATCH_NORM.fullmatch(name):
            by_modality.setdefault(f"{found[1]}.{found[3]}", {})[found[2]] = value
        elif not name.endswith(".num_batches_tracked") or name.startswith("gene_activity."):
            renamed[re.sub(r"^gene_activity\.", "encoders.atac.network.", name)] = value
    for name, values in by_modality.items():
        renamed[name] = torch.stack([values["rna"], values["atac"]])
    return renamed

"""Named settings of architecture, losses and optimiser."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import ceil
from typing import Any

from scdart.data import steps_per_epoch


@dataclass(frozen=True)
class Preset:
    """Settings of one way to train the model.

    Parameters
    ----------
    t
        Diffusion times of the targets.
    diffusion
        Further options of :func:`scdart.pp.diffusion_coordinates`.
    anchors
        Whether anchors between cells are used.
    module
        Options of :class:`scdart.module.SCDARTModule`.
    plan
        Options of :class:`scdart.model.SCDARTTrainingPlan`.
    n_steps
        Optimisation steps, the same whatever the number of cells; ``None`` counts epochs instead.
    n_epochs
        Epochs, where ``n_steps`` is ``None``.
    cells_per_batch
        Cells of each modality per minibatch; ``None`` takes a quarter of the smaller modality.
    """

    #: The features' own distances count most: without their noise, a latent trajectory is so thin that diffusion
    #: pseudotime exaggerates every place where cells change quickly.
    t: tuple[int, ...] = (0, 0, 0, 0, 5)
    diffusion: dict[str, Any] = field(default_factory=dict)
    anchors: bool = True
    module: dict[str, Any] = field(default_factory=dict)
    plan: dict[str, Any] = field(default_factory=dict)
    n_steps: int | None = None
    n_epochs: int = 0
    cells_per_batch: int | None = None

    def batch_size(self, n_cells: dict[str, int]) -> int:
        """Cells of each modality per minibatch."""
        return self.cells_per_batch or max(min(n_cells.values()) // 4, 2)

    def max_epochs(self, n_cells: dict[str, int], batch_size: int, train_size: float, *, paired: bool) -> int:
        """Epochs to train, from the planned steps."""
        if self.n_steps is None:
            return self.n_epochs
        n_train = {role: ceil(train_size * n) for role, n in n_cells.items()}
        return ceil(self.n_steps / steps_per_epoch(n_train, batch_size, paired=paired))


#: ``paper`` follows Zhang, Yang & Zhang (2022) and the settings of their experiments; ``default`` follows ablations.
PRESETS: dict[str, Preset] = {
    "default": Preset(n_steps=800, cells_per_batch=128),
    "paper": Preset(
        t=(30, 50, 70),
        diffusion={"potential": True},
        anchors=False,
        module={
            "n_latent": 8,
            "activity_hidden": (1024, 512),
            "projection_hidden": (512, 128),
            "architecture": "published",
            "dropout": 0.0,
            "distance_loss": "kl",
            "squared_distances": True,
            "alignment_loss": "published",
            "prior_penalty": "l1",
            "peak_block": None,
            "squared_groups": False,
            "diffusion_weight": 1.0,
            "mmd_weight": 1.0,
            "prior_weight": 1.0,
            "group_weight": 1.0,
        },
        plan={"lr": 3e-4, "lr_schedule": "constant"},
        n_epochs=500,
    ),
}

"""The loss terms of a minibatch, in one list: names, labels, weights, and how each is computed.

To add a term, add an entry to :data:`LOSS_TERMS`. Its option among the module's, its curve in the history, its label in
figures and its row in the documentation follow.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from itertools import combinations
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias, cast

import torch

from scdart._constants import ATAC, RNA
from scdart.data import BATCH_KEYS

from ._losses import expression_loss, group_anchor_loss, mmd, mmd_published, pair_anchor_loss
from ._prior_penalty import prior_l1, prior_l2, prior_share
from ._trajectory_losses import block_distances, diffusion_kl, diffusion_log, diffusion_mse

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._encoders import Encoder
    from ._module import SCDARTModule

Forms: TypeAlias = "dict[str, Callable[..., torch.Tensor]]"

#: Forms that some terms can take, by the value of an option of the module.
DISTANCE_LOSSES: Final[Forms] = {
    "log": diffusion_log,
    "kl": diffusion_kl,
    "mse": diffusion_mse,
}
ALIGNMENT_LOSSES: Final[Forms] = {"mmd": mmd, "published": mmd_published}
PRIOR_PENALTIES: Final[Forms] = {"share": prior_share, "l1": prior_l1, "l2": prior_l2}


class Step(NamedTuple):
    """What the loss terms look at.

    Attributes
    ----------
    module
        The module, with its parts.
    tensors
        The minibatch.
    x, z
        Expression and latent cells of each modality, by role.
    """

    module: SCDARTModule
    tensors: dict[str, Any]
    x: dict[str, torch.Tensor]
    z: dict[str, torch.Tensor]


@dataclass(frozen=True)
class LossTerm:
    """One term of the loss.

    Attributes
    ----------
    name
        Its name in the history (``"pair_train"``) and in ``plan_kwargs``.
    label
        What figures call it.
    symbol
        What equations call it.
    option
        Option of :class:`SCDARTModule` with its weight.
    weight
        Default of the option.
    forms
        Functions of :mod:`scdart.module` that compute it, one of which is chosen.
    compute
        The term of a minibatch, a scalar; ``None`` where the minibatch has nothing for it.
    """

    name: str
    label: str
    symbol: str
    option: str
    weight: float
    forms: tuple[Callable[..., torch.Tensor], ...]
    compute: Callable[[Step], torch.Tensor | None]


def _trajectory(step: Step, role: str) -> torch.Tensor:
    coordinates = step.tensors[role][BATCH_KEYS.COORDINATES]
    return step.module.distance_loss(step.z[role], block_distances(coordinates, step.module.n_blocks))


def _alignment(step: Step) -> torch.Tensor:
    return torch.stack([step.module.alignment_loss(*two) for two in combinations(step.z.values(), 2)]).mean()


def _prior(step: Step) -> torch.Tensor:
    penalties = [cast("Encoder", encoder).penalty() for encoder in step.module.encoders.values()]
    return torch.stack([penalty for penalty in penalties if penalty is not None]).sum()


def _pair(step: Step) -> torch.Tensor | None:
    weights = step.tensors.get(BATCH_KEYS.PAIR_WEIGHT)
    return None if weights is None else pair_anchor_loss(step.z[RNA], step.z[ATAC], weights)


def _expression(step: Step) -> torch.Tensor | None:
    weights = step.tensors.get(BATCH_KEYS.PAIR_WEIGHT)
    return None if weights is None else expression_loss(step.x[ATAC], step.x[RNA], weights)


def _group(step: Step) -> torch.Tensor | None:
    if not step.module.weights["group"] or any(BATCH_KEYS.GROUPS not in step.tensors[role] for role in step.z):
        return None
    labelled = ((step.z[role], step.tensors[role][BATCH_KEYS.GROUPS]) for role in (RNA, ATAC))
    return group_anchor_loss(*next(labelled), *next(labelled), squared=step.module.squared_groups)


#: All terms, in the order in which they are added up; :doc:`/user_guide/scdart` has their equations.
LOSS_TERMS: Final[tuple[LossTerm, ...]] = (
    LossTerm(
        "mmd",
        "alignment (MMD)",
        r"L_{\text{mmd}}",
        "mmd_weight",
        0.1,
        tuple(ALIGNMENT_LOSSES.values()),
        _alignment,
    ),
    LossTerm(
        "prior",
        "gene-activity prior",
        r"L_{\text{prior}}",
        "prior_weight",
        0.1,
        tuple(PRIOR_PENALTIES.values()),
        _prior,
    ),
    *(
        LossTerm(
            f"diffusion_{role}",
            f"trajectory, {role.upper()}",
            r"L_{\text{dist}}",
            "diffusion_weight",
            15.0,
            tuple(DISTANCE_LOSSES.values()),
            partial(_trajectory, role=role),
        )
        for role in (RNA, ATAC)
    ),
    LossTerm("pair", "anchored pairs", r"L_{\text{pair}}", "pair_weight", 0.3, (pair_anchor_loss,), _pair),
    LossTerm(
        "expression",
        "predicted expression",
        r"L_{\text{expr}}",
        "expression_weight",
        1.0,
        (expression_loss,),
        _expression,
    ),
    LossTerm("group", "anchored groups", r"L_{\text{group}}", "group_weight", 0.0, (group_anchor_loss,), _group),
)

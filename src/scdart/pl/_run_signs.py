"""Whether a model was trained long enough, and whether data, model and results are of one run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scdart._constants import DIFFUSION_COORDINATES
from scdart._latent_slots import outdated, slot_of_another_model
from scdart._origins import MADE_FROM, difference, origin_of_counts

from ._history import loss_curves
from ._signs import judged

if TYPE_CHECKING:
    from collections.abc import Iterator

    from scdart.model import SCDART

    from ._signs import Diagnostic, Inputs

#: Rules of thumb beyond which a reader is asked to look.
_MAX_STILL_FALLING = 0.05
_MAX_OVERFIT = 0.05
_FEW_EPOCHS = 0.5


def training(inputs: Inputs) -> Iterator[Diagnostic]:
    """Look at the number of epochs and at the ends of the losses."""
    if inputs.model is None or not (curves := loss_curves(inputs.model).get("total", {})):
        return
    total = curves["training"].to_numpy() if "training" in curves else curves["validation"].to_numpy()
    yield from _epochs(inputs.model, len(total))
    tenth = max(len(total) // 10, 1)
    if len(total) >= 20:
        before, last = total[-2 * tenth : -tenth].mean(), total[-tenth:].mean()
        falling = float((before - last) / max(abs(before), 1e-12))
        yield judged(
            "Loss still falling",
            f"{falling:+.1%}",
            "Fall of the total loss from the last but one to the last tenth of the epochs.",
            look=falling > _MAX_STILL_FALLING,
            warning="The loss still falls: train for more epochs.",
        )
    if "validation" in curves and len(curves["validation"]) >= 2:
        validation = curves["validation"].to_numpy()
        rise = float((validation[-1] - validation.min()) / max(abs(validation.min()), 1e-12))
        yield judged(
            "Validation loss above its best",
            f"{rise:+.1%}",
            "Rise of the loss on cells that were not trained on, since it was lowest.",
            look=rise > _MAX_OVERFIT,
            warning="The validation loss has risen: stop earlier (early_stopping=True).",
        )


def _epochs(model: SCDART, n_epochs: int) -> Iterator[Diagnostic]:
    """Compare with what the preset takes for as many cells, as the model has noted."""
    runs = getattr(model, "train_settings_", [])
    usual = runs[0].get("usual_epochs") if runs else None
    if usual is None:
        return
    few = n_epochs < _FEW_EPOCHS * usual and not any(run.get("early_stopping") for run in runs)
    yield judged(
        "Epochs",
        f"{n_epochs:,} (usual: {usual:,})",
        "Passes over the larger modality, beside what is usual for as many cells.",
        look=few,
        warning=f"The model was trained for {n_epochs:,} epochs, where {usual:,} are usual for as many cells: train it "
        "for longer before you judge it.",
    )


def of_one_run(inputs: Inputs) -> Iterator[Diagnostic]:
    """Compare what there is with what each says that it was made from."""
    others = list(_of_other_runs(inputs))
    yield judged(
        "Data, model and results of one run",
        "no" if others else "yes",
        "Whether counts, positions and pseudotime are those that the others were computed from, as far as they tell.",
        look=bool(others),
        warning=" ".join(others),
    )


def _of_other_runs(inputs: Inputs) -> Iterator[str]:
    """Say what was computed from other data, or by another model, than there are. A part of the cells is no other."""
    if inputs.pseudotime is not None:
        slot = outdated(inputs.mdata, inputs.pseudotime, by_modality=True)
        if slot is not None:
            yield f"The pseudotime was computed before {slot} was made anew: run scdart.tl.pseudotime again."
    if inputs.model is None:
        return
    slot = slot_of_another_model(inputs.mdata, inputs.model, inputs.use_rep)
    if slot is not None:
        yield f"{slot} are not positions that this model gives: its losses and settings are of another run."
    arguments = inputs.model.registry["setup_args"]
    for role, mod in inputs.mods.items():
        adata = inputs.mdata.mod[mod]
        described = adata.uns.get(DIFFUSION_COORDINATES, {})
        made_from = described.get(MADE_FROM)
        if made_from is None or "use_rep" in described:
            continue
        now = origin_of_counts(adata, arguments[f"{role}_layer"], mod, arguments.get("batch_key"))
        if made_from["cells"] == now["cells"] and difference(made_from, now) is not None:
            yield (
                f"{now['slot']} does not hold the counts that the diffusion coordinates were made from: what this page "
                "computes of the model and of counts is of other values."
            )

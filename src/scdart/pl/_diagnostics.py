"""Signs of a good or a bad integration that need neither labels nor known pairs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import scipy.sparse as sp

from scdart import metrics
from scdart._constants import ANCHORS, ATAC, DIFFUSION_COORDINATES, GENE_ACTIVITY, RNA, X_DIFFUSION_COORDINATES
from scdart._latent_slots import outdated, slot_of_another_model
from scdart._mudata import modality_rows, obs_column
from scdart._origins import MADE_FROM, difference, origin_of_counts

from ._history import loss_curves

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pandas as pd
    from mudata import MuData
    from numpy.typing import NDArray

    from scdart.model import SCDART

    Verdict = Literal["fine", "look", "unknown"]

#: Cells of each modality, or pairs of cells, that are compared at most: cost does not grow beyond.
_MAX_CELLS = 3_000
_MAX_PAIRS = 100_000
#: Rules of thumb beyond which a reader is asked to look.
_MIN_MIXING = 0.3
_MIN_MIXING_OF_BATCHES = 0.5
_MIN_PRESERVED = 0.5
_MIN_Z = 3.0
_MAX_PARTNER_DISTANCE = 0.7
_MAX_UNCERTAIN = 0.25
_MIN_LINKED = 0.5
_MAX_STILL_FALLING = 0.05
_MAX_OVERFIT = 0.05


@dataclass(frozen=True)
class Diagnostic:
    """One sign: what it is, its value as text, how to read it, and whether the reader should look closer."""

    name: str
    value: str
    meaning: str
    verdict: Verdict = "fine"
    warning: str = ""


def _judged(name: str, value: str, meaning: str, *, look: bool, warning: str) -> Diagnostic:
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


def diagnose(inputs: Inputs) -> list[Diagnostic]:
    """Compute all signs that the data allow, the others are said to be unknown."""
    signs: list[Callable[[Inputs], Iterator[Diagnostic]]] = [
        _of_one_run,
        _mixing,
        _mixing_of_batches,
        _trajectory,
        _anchors,
        _confidence,
        _prior,
        _pseudotime,
        _training,
    ]
    return [diagnostic for sign in signs for diagnostic in sign(inputs)]


def _of_one_run(inputs: Inputs) -> Iterator[Diagnostic]:
    others = list(_of_other_runs(inputs))
    yield _judged(
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


def _sample(n: int, size: int, rng: np.random.Generator) -> NDArray[np.intp]:
    return np.sort(rng.permutation(n)[:size])


def _mixing(inputs: Inputs) -> Iterator[Diagnostic]:
    name = "Mixing of the modalities (iLISI)"
    meaning = (
        "Effective number of modalities around a cell, less one: 0 is separation, 1 an even mix. Cells that only one "
        "modality has lower it rightly."
    )
    rng = np.random.default_rng(inputs.random_state)
    size = min(*map(len, inputs.latent.values()), _MAX_CELLS)  # equal numbers, so that 1 can be reached
    rna, atac = (z[_sample(len(z), size, rng)] for z in inputs.latent.values())
    if size < 3:
        yield Diagnostic(name, "not computed", meaning + " Too few cells.", "unknown")
        return
    try:
        mixing = metrics.modality_mixing(rna, atac, k=min(90, size))
    except ModuleNotFoundError as error:
        yield Diagnostic(name, "not computed", f"{meaning} {error}", "unknown")
    else:
        yield _judged(
            name,
            f"{mixing:.2f}",
            f"{meaning} {size:,} cells of each.",
            look=mixing < _MIN_MIXING,
            warning="The modalities hardly mix in the latent space: do both hold the same kinds of cells, and does the "
            "prior link the right peaks and genes?",
        )
    score = metrics.alignment_score(rna, atac, random_state=inputs.random_state)
    yield _judged(
        "Alignment score",
        f"{score:.2f}",
        "How little the nearest tenth of cells prefers a cell's own modality: 0 is separation, 1 what chance gives.",
        look=score < _MIN_MIXING,
        warning="Cells are surrounded by cells of their own modality.",
    )


def _mixing_of_batches(inputs: Inputs) -> Iterator[Diagnostic]:
    for role, batches in inputs.batches.items():
        mod = inputs.mods[role].upper()
        name = f"Mixing of the batches, {mod}"
        meaning = (
            "Share of a cell's neighbours that are of other batches, over what chance gives: 0 is separation. "
            "Batches of different composition lower it rightly."
        )
        chosen = _sample(len(batches), _MAX_CELLS, np.random.default_rng(inputs.random_state))
        z, labels = inputs.latent[role][chosen], batches.iloc[chosen].to_numpy()
        if len(np.unique(labels)) < 2:
            yield Diagnostic(name, "not computed", meaning + " Too few cells.", "unknown")
            continue
        mixing = metrics.batch_mixing(z, labels, k=min(30, len(z) - 1))
        yield _judged(
            name,
            f"{mixing:.2f}",
            meaning,
            look=mixing < _MIN_MIXING_OF_BATCHES,
            warning=f"The batches of {mod} cells hardly mix in the latent space: do they hold the same kinds of cells?",
        )


def _trajectory(inputs: Inputs) -> Iterator[Diagnostic]:
    for role, mod in inputs.mods.items():
        name = f"Trajectory preserved, {mod.upper()}"
        meaning = (
            "Correlation of latent distances with the diffusion distances that they should follow: 1 is all, 0 nothing."
        )
        adata = inputs.mdata.mod[mod]
        described = adata.uns.get(DIFFUSION_COORDINATES, {})
        if X_DIFFUSION_COORDINATES not in adata.obsm or "t" not in described or len(inputs.latent[role]) < 3:
            yield Diagnostic(name, "not computed", meaning + " There are no diffusion coordinates.", "unknown")
            continue
        preserved = metrics.diffusion_distance_correlation(
            inputs.latent[role],
            adata.obsm[X_DIFFUSION_COORDINATES],
            n_blocks=len(np.atleast_1d(described["t"])),
            n_pairs=_MAX_PAIRS,
            random_state=inputs.random_state,
        )
        yield _judged(
            name,
            f"{preserved:.2f}",
            meaning,
            look=not preserved >= _MIN_PRESERVED,
            warning=f"Distances of {mod.upper()} cells are not those of their own data: branches or order may be lost.",
        )


def _anchors(inputs: Inputs) -> Iterator[Diagnostic]:
    described = inputs.mdata.uns.get(ANCHORS, {})
    name, meaning = (
        "Agreement of anchors",
        "Correlation of the expression that anchors transfer with the activity of genes that were not used to find "
        "them; z counts standard deviations of mismatched genes.",
    )
    if "z" in described:
        variant, z = str(described["variant"]), float(described["z"])
        yield _judged(
            name,
            f"{float(described['agreement'][variant]):.3f} (z = {z:.1f}, {variant})",
            meaning,
            look=z < _MIN_Z,
            warning="The prior carries no signal, so that inferred anchors are arbitrary: check genome build and names "
            "of genes.",
        )
    else:
        why = "All pairs were given." if described else "There are no inferred anchors."
        yield Diagnostic(name, "not computed", f"{meaning} {why}", "unknown")
    ratio = _partner_distance(inputs)
    if ratio is not None:
        yield _judged(
            "Distance of anchored cells",
            f"{ratio:.2f}",
            "Median latent distance of an ATAC cell from its best RNA partner, relative to that of random cells: "
            "0 is the same place, 1 any place.",
            look=ratio > _MAX_PARTNER_DISTANCE,
            warning="Cells that are said to correspond lie nearly as far apart as any: the latent space does not "
            "follow the anchors.",
        )


def _partner_distance(inputs: Inputs) -> float | None:
    if ANCHORS not in inputs.mdata.obsp:
        return None
    rng = np.random.default_rng(inputs.random_state)
    weights = sp.csc_matrix(inputs.mdata.obsp[ANCHORS])
    rna_rows, atac_rows = (modality_rows(inputs.mdata, mod) for mod in inputs.mods.values())
    columns = np.flatnonzero((atac_rows >= 0) & (np.diff(weights.indptr) > 0))
    if not len(columns):
        return None
    columns = columns[_sample(len(columns), _MAX_CELLS, rng)]
    block = weights[:, columns]
    best = rna_rows[np.asarray(block.argmax(axis=0)).ravel()]
    z_rna, z_atac = inputs.latent[RNA], inputs.latent[ATAC][atac_rows[columns]]
    if (best < 0).any():
        return None
    apart = np.median(np.linalg.norm(z_rna[best] - z_atac, axis=1))
    random = np.median(np.linalg.norm(z_rna[rng.integers(len(z_rna), size=len(z_atac))] - z_atac, axis=1))
    return float(apart / random) if random > 0 else None


def _confidence(inputs: Inputs) -> Iterator[Diagnostic]:
    for name, (by_role, low) in inputs.confidence.items():
        for role, values in by_role.items():
            mod = inputs.mods[role].upper()
            share = float(np.mean(values < low))
            yield _judged(
                f"Low {name}, {mod}",
                f"{share:.0%}",
                f"Share of cells below {low}, for which the other modality seems to have no, or far fewer, "
                "counterparts.",
                look=share > _MAX_UNCERTAIN,
                warning=f"{share:.0%} of {mod} cells have a low {name}: they may have no counterpart.",
            )


def _prior(inputs: Inputs) -> Iterator[Diagnostic]:
    atac = inputs.mdata.mod[inputs.mods[ATAC]]
    if GENE_ACTIVITY not in atac.varm:
        return
    linked = float(np.mean(sp.csr_matrix(atac.varm[GENE_ACTIVITY]).getnnz(axis=0) > 0))
    yield _judged(
        "Genes with a linked peak",
        f"{linked:.0%}",
        "Share of genes that the prior links with at least one peak.",
        look=linked < _MIN_LINKED,
        warning=f"The prior links only {linked:.0%} of the genes: do annotation and data name genes alike, and are "
        "peaks of the same genome build?",
    )


def _pseudotime(inputs: Inputs) -> Iterator[Diagnostic]:
    if inputs.pseudotime is None:
        return
    time = obs_column(inputs.mdata, inputs.pseudotime, "pseudotime").to_numpy(dtype=float, na_value=np.nan)
    # scanpy gives them an infinite pseudotime. Ours is NaN, as is that of cells that nobody asked for.
    n_lost = int(inputs.mdata.uns.get(inputs.pseudotime, {}).get("n_unconnected", 0))
    n_lost = min(n_lost, int(np.isnan(time).sum())) + int(np.isinf(time).sum())  # some may have been left out since
    yield _judged(
        "Cells without a path to the root",
        f"{n_lost:,}",
        "Cells that the graph of neighbours does not connect with the root: it has several parts.",
        look=n_lost > 0,
        warning=f"{n_lost:,} cells are not connected with the root: their pseudotime is not defined.",
    )


def _training(inputs: Inputs) -> Iterator[Diagnostic]:
    curves = {} if inputs.model is None else loss_curves(inputs.model).get("total", {})
    if not curves:
        return
    total = curves["training"].to_numpy() if "training" in curves else curves["validation"].to_numpy()
    tenth = max(len(total) // 10, 1)
    if len(total) >= 20:
        before, last = total[-2 * tenth : -tenth].mean(), total[-tenth:].mean()
        falling = float((before - last) / max(abs(before), 1e-12))
        yield _judged(
            "Loss still falling",
            f"{falling:+.1%}",
            "Fall of the total loss from the last but one to the last tenth of the epochs.",
            look=falling > _MAX_STILL_FALLING,
            warning="The loss still falls: train for more epochs.",
        )
    if "validation" in curves and len(curves["validation"]) >= 2:
        validation = curves["validation"].to_numpy()
        rise = float((validation[-1] - validation.min()) / max(abs(validation.min()), 1e-12))
        yield _judged(
            "Validation loss above its best",
            f"{rise:+.1%}",
            "Rise of the loss on cells that were not trained on, since it was lowest.",
            look=rise > _MAX_OVERFIT,
            warning="The validation loss has risen: stop earlier (early_stopping=True).",
        )

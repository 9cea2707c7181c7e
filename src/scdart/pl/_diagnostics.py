"""Signs of a good or a bad integration that need neither labels nor known pairs."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp

from scdart import metrics
from scdart._constants import ANCHORS, ATAC, DIFFUSION_COORDINATES, GENE_ACTIVITY, RNA, X_DIFFUSION_COORDINATES
from scdart._latent_slots import rewritten_since
from scdart._mudata import modality_rows, obs_column

from ._run_signs import of_one_run, training
from ._signs import Diagnostic, Inputs, judged

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

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
_MAX_MOVED = 0.5


def diagnose(inputs: Inputs) -> list[Diagnostic]:
    """Compute all signs that the data allow, the others are said to be unknown."""
    signs: dict[str, tuple[Callable[[Inputs], Iterator[Diagnostic]], ...]] = {
        "Do the modalities lie together?": (_mixing,),
        "Do the batches lie together?": (_mixing_of_batches,),
        "Is the order of the cells kept?": (_trajectory, _pseudotime),
        "Is there evidence for the pairs?": (_anchors, _prior),
        "Has every cell a counterpart?": (_confidence,),
        "Would another training put the cells elsewhere?": (_moves,),
        "Was it trained long enough?": (training,),
        "Is all of one run?": (of_one_run,),
    }
    return [
        replace(diagnostic, question=question)
        for question, of_it in signs.items()
        for sign in of_it
        for diagnostic in sign(inputs)
    ]


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
        yield judged(
            name,
            f"{mixing:.2f}",
            f"{meaning} {size:,} cells of each.",
            look=mixing < _MIN_MIXING,
            warning="The modalities hardly mix in the latent space: do both hold the same kinds of cells, and does the "
            "prior link the right peaks and genes?",
        )
    score = metrics.alignment_score(rna, atac, random_state=inputs.random_state)
    yield judged(
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
        yield judged(
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
        yield judged(
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
        yield judged(
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
        yield judged(
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
            yield judged(
                f"Low {name}, {mod}",
                f"{share:.0%}",
                f"Share of cells below {low}, for which the other modality seems to have no, or far fewer, "
                "counterparts.",
                look=share > _MAX_UNCERTAIN,
                warning=f"{share:.0%} of {mod} cells have a low {name}: they may have no counterpart.",
            )


def _moves(inputs: Inputs) -> Iterator[Diagnostic]:
    meaning = (
        "Median distance of a cell from its places in other trainings, as a share of its distance from other cells: 0 "
        "where cells stay, 1 where they may lie anywhere."
    )
    slot = f"{inputs.use_rep}_spread"
    for mod in inputs.mods.values():
        name, moved = f"Moves between trainings, {mod.upper()}", inputs.mdata.mod[mod].obsm.get(slot)
        if moved is None:
            advice = " Train it several times: scdart.tl.integrate(mdata, n_models=3)."
            yield Diagnostic(name, "not computed", meaning + advice, "unknown")
        elif since := rewritten_since(inputs.mdata, f"{inputs.use_rep}_replicates", inputs.use_rep):
            warning = f"obsm[{slot!r}] was computed before {since} was made anew: run scdart.tl.spread again."
            yield Diagnostic(name, "not shown", meaning, "look", warning)
        else:
            median = float(np.nanmedian(moved))
            yield judged(
                name,
                f"{median:.2f}",
                meaning,
                look=median > _MAX_MOVED,
                warning=f"{mod.upper()} cells lie elsewhere when the model is trained again: the data decide little.",
            )


def _prior(inputs: Inputs) -> Iterator[Diagnostic]:
    atac = inputs.mdata.mod[inputs.mods[ATAC]]
    if GENE_ACTIVITY not in atac.varm:
        return
    linked = float(np.mean(sp.csr_matrix(atac.varm[GENE_ACTIVITY]).getnnz(axis=0) > 0))
    yield judged(
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
    yield judged(
        "Cells without a path to the root",
        f"{n_lost:,}",
        "Cells that the graph of neighbours does not connect with the root: it has several parts.",
        look=n_lost > 0,
        warning=f"{n_lost:,} cells are not connected with the root: their pseudotime is not defined.",
    )

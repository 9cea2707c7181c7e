"""The one call that prepares, trains and writes the latent space."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from scdart import pp
from scdart._anchor_slots import check_fit, fit, hold_pairs, origin_of_anchors
from scdart._batches import MIN_BATCH, check_batches
from scdart._checks import (
    check_cell_names,
    check_modalities,
    check_writable,
    checked_once,
    checked_prior,
    stored_counts,
)
from scdart._constants import (
    ANCHORS,
    ATAC,
    DIFFUSION_COORDINATES,
    GENE_ACTIVITY,
    RNA,
    X_DIFFUSION_COORDINATES,
    X_SCDART,
)
from scdart._files import check_place, is_whole
from scdart._groups import known_groups
from scdart._mudata import own_copy
from scdart._options import check_options
from scdart._origins import MADE_FROM, difference, has_factors_of, origin_of_coordinates
from scdart._progress import timed_steps
from scdart._random import seed_of, seeded
from scdart._slots import given_times
from scdart.data import check_anchors
from scdart.model import PRESETS, SCDART, check_training

from ._embed import embed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, MutableMapping, Sequence
    from os import PathLike

    import pandas as pd
    from mudata import MuData

logger = logging.getLogger(__name__)


@checked_once()
def integrate(
    mdata: MuData,
    annotation: str | PathLike | pd.DataFrame | None = None,
    *,
    domain: Literal["auto"] | None = None,
    n_latent: int | None = None,
    t: Sequence[int] | None = None,
    preset: Literal["default", "paper"] = "default",
    max_epochs: int | None = None,
    rna_layer: str | None = None,
    atac_layer: str | None = None,
    rna_mod: str = RNA,
    atac_mod: str = ATAC,
    groups_key: str | None = None,
    ordered: bool = False,
    batch_key: str | None = None,
    key_added: str = X_SCDART,
    random_state: int | None = None,
    copy: bool = False,
    train_kwargs: dict[str, Any] | None = None,
    save_model: str | PathLike | None = None,
    checkpoint: str | PathLike | None = None,
    n_models: int = 1,
) -> MuData | None:
    """Integrate unpaired RNA and ATAC into one latent space, preparing whatever is missing.

    Calls, where their results are not there yet, :func:`scdart.pp.gene_activity`,
    :func:`scdart.pp.diffusion_coordinates` and :func:`scdart.pp.anchors`, then trains
    :class:`scdart.model.SCDART`. This is the only function that fills in all that is missing, see the notes; others
    raise, and say what to run first (set-up infers anchors, which need no choice of the user's). For the trained model
    itself, call these one by one, or use ``save_model``. If anything fails, ``mdata`` is left as it was.

    Parameters
    ----------
    mdata
        MuData with raw counts of RNA and ATAC; the cells may differ, overlap or be the same.
    annotation
        Gene annotation for the prior, see :func:`scdart.pp.gene_activity`. Not needed if there is a prior.
    domain
        ``"auto"`` chooses how far from a gene its peaks may lie by the evidence of the data, see
        :func:`scdart.pp.gene_activity`; ``None`` takes that function's default. Needs the annotation.
    n_latent
        Dimensions of the latent space; ``None`` leaves it to the preset.
    t
        Diffusion times; ``None`` leaves them to the preset.
    preset
        ``"default"``, or ``"paper"`` for the published settings.
    max_epochs
        See :meth:`scdart.model.SCDART.train`.
    rna_layer, atac_layer
        Layers with the counts; ``None`` means ``X``.
    rna_mod, atac_mod
        Names of the modalities.
    groups_key
        Column of both modalities' ``obs`` with labels of cells known to correspond, such as sorted gates, time points
        or root cells, see :func:`scdart.pp.anchors`; cells without label are missing values.
    ordered
        Whether these labels follow each other, as time points do.
    batch_key
        Column of ``obs`` of both modalities, or of one, with the batch of each cell (donor, lane, laboratory), whose
        effects are taken out, see :func:`scdart.pp.batch_factors`.
    key_added
        Slot of ``obsm`` to write to.
    random_state
        Seed of preparation and training; ``None`` takes ``scvi.settings.seed``, or 0 where there is none. That setting
        and the global random streams are left as they were.
    copy
        Return a changed copy instead of writing into ``mdata``.
    train_kwargs
        Further options of :meth:`scdart.model.SCDART.train`.
    save_model
        New folder to save the model to, from which ``scdart.model.SCDART.load(folder, mdata)`` brings it back.
    checkpoint
        Folder to keep the state of training in. The same call goes on from there if it is interrupted, see
        :meth:`scdart.model.SCDART.train`.
    n_models
        Trainings with different random states. With more than one, cells that move between them have less confidence,
        and :func:`scdart.tl.spread` writes how far they move. The latent space is that of the first.

    Returns
    -------
    ``None``, or the copy. Written is what :func:`scdart.tl.embed` writes: ``obsm[key_added]`` of ``mdata`` and of each
    modality, with the confidence in it beside it, and ``mdata.obs["modality"]``; ``mdata.uns["scdart"]`` with the
    settings (``"anchors"`` is ``"none"``, ``"inferred"``, or ``"given"`` if they may hold known pairs;
    ``"random_state"`` is the seed; ``"confidence"`` the mean of all cells); and the slots of the functions that had to
    be called. Labels and values are transferred to cells of some confidence.

    Raises
    ------
    KeyError
        If there is neither a prior nor an annotation, or a modality, layer or column is missing.
    FileExistsError
        If the folder for the model holds one.
    OSError
        If a folder cannot be written to.
    ValueError
        If counts, names, prior, annotation or an option cannot be used, or ``mdata`` is a view; the message says what
        to change.

    Warns
    -----
    UserWarning
        Pseudotime, backbone or UMAP are of the latent space that was in the slot before.

    Notes
    -----
    What is there and fits is taken as it is:

    - The prior, unless there is an annotation, from which it is made.
    - Factors of batches, diffusion coordinates and inferred anchors that were made from the same counts of the same
      cells, and of the same batches and groups; others are replaced. A description that says nothing of counts, as
      those of older versions, is believed.
    - Diffusion coordinates of the same times, and of potentials or not as the preset wants it; others are replaced.
    - Anchors, unless they were inferred from another prior: then they are inferred anew. Those that hold known pairs
      stay, and where their other cells were inferred from other counts, that is an error. The preset ``"paper"`` has no
      use for anchors, and finds none.

    References
    ----------
    Zhang, Yang and Zhang (2022), scDART, Genome Biology 23:139, doi:10.1186/s13059-022-02706-x.

    Examples
    --------
    >>> import scdart
    >>> mdata = scdart.datasets.simulate("bifurcating", n_cells=200, n_genes=100, n_peaks=300)
    >>> scdart.tl.integrate(mdata, max_epochs=2)
    >>> mdata.obsm["X_scdart"].shape[0] == mdata.n_obs
    True
    """
    check_options(integrate, locals())
    check_training(train_kwargs or {})
    if domain is not None and annotation is None:
        raise ValueError(f"domain={domain!r} is about links that are made from an annotation: pass one.")
    mods, layers = {RNA: rna_mod, ATAC: atac_mod}, {RNA: rna_layer, ATAC: atac_layer}
    _check(mdata, mods, layers, annotation is not None, preset, groups_key, ordered, batch_key, copy=copy)
    if checkpoint is not None:
        check_place(Path(checkpoint) / "training.ckpt", f"checkpoint={str(checkpoint)!r}")
    if save_model is not None:
        check_place(Path(save_model) / "model.pt", f"save_model={str(save_model)!r}")
        if is_whole(Path(save_model) / "model.pt"):
            raise FileExistsError(f"save_model={str(save_model)!r} holds a model already: name a new folder.")
    mdata = own_copy(mdata) if copy else mdata
    seed = seed_of(random_state)
    times = tuple(PRESETS[preset].t if t is None else np.atleast_1d(t).tolist())
    slots: dict[str, Any] = {"rna_mod": rna_mod, "atac_mod": atac_mod}
    counts: dict[str, Any] = {"rna_layer": rna_layer, "atac_layer": atac_layer}
    with _all_or_nothing(mdata, mods.values()), seeded(seed), timed_steps("Integration") as step:
        if annotation is not None:
            with step("gene activity"):
                pp.gene_activity(mdata, annotation, domain=domain, random_state=seed, **slots, **counts)
        if batch_key is not None and not all(
            has_factors_of(mdata, mod, batch_key, layers[role]) for role, mod in mods.items()
        ):
            with step("batches"):
                pp.batch_factors(mdata, batch_key, random_state=seed, **slots, **counts)
        made = {"random_state": seed, "batch_key": batch_key, **slots, **counts}
        options = PRESETS[preset].diffusion
        if not _has_coordinates(mdata, mods, layers, times, options.get("potential", False), batch_key):
            with step("diffusion coordinates"):
                pp.diffusion_coordinates(mdata, t=times, **options, **made)
        known: dict[str, Any] = {"groups_key": groups_key, "ordered": ordered}
        new_prior = annotation is not None
        if PRESETS[preset].anchors and not _has_anchors(
            mdata, mods, layers, new_prior, {"batch_key": batch_key, **known}
        ):
            with step("anchors"):
                pp.anchors(mdata, **known, **made)
        with step("training"):
            SCDART.setup_mudata(
                mdata,
                **counts,
                anchors_key=ANCHORS if PRESETS[preset].anchors else None,
                groups_key=groups_key,
                batch_key=batch_key,
                modalities={"rna_layer": rna_mod, "atac_layer": atac_mod},
            )
            model = SCDART(mdata, n_latent=n_latent, preset=preset)
            model.train(max_epochs=max_epochs, checkpoint=checkpoint, **(train_kwargs or {}))
        if save_model is not None:
            model.save(save_model, overwrite=True)
        replicates = []
        if n_models > 1:
            with step("replicates"):
                shown = bool((train_kwargs or {}).get("enable_progress_bar", True))
                replicates = model.train_replicates(n_models - 1, enable_progress_bar=shown)
        with step("positions and confidence"):
            embed(mdata, model, replicates=replicates or None, key_added=key_added)
        # Cells of further modalities alone have none.
        mean_confidence = float(np.nanmean(mdata.obsm[f"{key_added}_confidence"]))
        logger.info("Confidence that neighbours of the other modality are of a cell's kind: %.2f.", mean_confidence)
        manager = model.adata_manager
        for each in (*replicates, model):
            SCDART.register_manager(manager)  # which the one before has taken from the list that the next looks into
            each.deregister_manager(mdata)
        mdata.uns["scdart"] = {
            "preset": preset,
            "t": np.asarray(times),
            "n_latent": model.module.n_latent,
            "random_state": seed,
            "n_models": n_models,
            **({} if batch_key is None else {"batch_key": batch_key}),
            **({} if groups_key is None else {"groups_key": groups_key}),
            "anchors": _kind_of_anchors(mdata) if PRESETS[preset].anchors else "none",
            "confidence": mean_confidence,
        }
    return mdata if copy else None


def _check(
    mdata: MuData,
    mods: dict[str, str],
    layers: dict[str, str | None],
    has_annotation: bool,
    preset: str,
    groups_key: str | None,
    ordered: bool,
    batch_key: str | None,
    *,
    copy: bool,
) -> None:
    """Find what cannot work before minutes are spent on what can."""
    check_writable(mdata, copy=copy)
    check_modalities(mdata, rna_mod=mods[RNA], atac_mod=mods[ATAC])
    for role, mod in mods.items():
        check_cell_names(mdata, mod)
        stored_counts(mdata[mod], layers[role], mod)
    if not has_annotation:
        if GENE_ACTIVITY not in mdata[mods[ATAC]].varm:
            raise KeyError(
                f"mdata[{mods[ATAC]!r}].varm has no {GENE_ACTIVITY!r}: pass an annotation (GTF, GFF3, BED or table of "
                "genes) to make the prior, or register one with scdart.pp.set_gene_activity, or with "
                "scdart.pp.gene_scores if ATAC has gene scores in place of peaks."
            )
        checked_prior(mdata[mods[RNA]], mdata[mods[ATAC]], GENE_ACTIVITY, mods[RNA], mods[ATAC])
    if PRESETS[preset].anchors and ANCHORS in mdata.obsp:
        check_anchors(mdata, ANCHORS, mods)
        if hold_pairs(mdata, ANCHORS):
            check_fit(mdata, ANCHORS, origin_of_anchors(mdata, mods, layers, None, batch_key))
    if groups_key is not None:
        known_groups(mdata, groups_key, mods, ordered=ordered)
    if batch_key is not None:
        check_batches(mdata, batch_key, mods, min_cells=MIN_BATCH)


def _has_coordinates(
    mdata: MuData,
    mods: dict[str, str],
    layers: dict[str, str | None],
    t: tuple[int, ...],
    potential: bool,
    batch_key: str | None,
) -> bool:
    """Whether there are coordinates that were made just as they would be now."""
    described = {role: mdata[mod].uns.get(DIFFUSION_COORDINATES, {}) for role, mod in mods.items()}
    return all(X_DIFFUSION_COORDINATES in mdata[mod].obsm for mod in mods.values()) and all(
        given_times(d) == tuple(sorted(t))
        and bool(d.get("potential", False)) == potential
        and ("use_rep" in d or d.get("batch_key") == batch_key)
        and difference(
            d.get(MADE_FROM), origin_of_coordinates(mdata[mods[role]], d, layers[role], mods[role], batch_key)
        )
        is None
        for role, d in described.items()
    )


def _has_anchors(
    mdata: MuData, mods: dict[str, str], layers: dict[str, str | None], new_prior: bool, known: dict[str, Any]
) -> bool:
    """Whether there are anchors to use, which those of another prior, other counts, batches or groups are not."""
    if ANCHORS not in mdata.obsp or hold_pairs(mdata, ANCHORS):
        return ANCHORS in mdata.obsp
    described = mdata.uns[ANCHORS]
    params = described.get("params", {})
    if any((params.get(name) or None) != (value or None) for name, value in known.items()):
        return False
    if new_prior and MADE_FROM not in described:
        return False
    prior = checked_prior(mdata[mods[RNA]], mdata[mods[ATAC]], GENE_ACTIVITY, mods[RNA], mods[ATAC])
    keys = known["batch_key"], known["groups_key"]
    return fit(mdata, ANCHORS, origin_of_anchors(mdata, mods, layers, prior, *keys))


def _kind_of_anchors(mdata: MuData) -> Literal["given", "inferred"]:
    return "given" if hold_pairs(mdata, ANCHORS) else "inferred"


@contextmanager
def _all_or_nothing(mdata: MuData, mods: Iterable[str]) -> Iterator[None]:
    """Undo all that was written if anything fails, and in any case what scvi-tools notes in ``uns`` for itself."""
    slots = [
        (data, name) for data in (mdata, *(mdata[mod] for mod in mods)) for name in ("uns", "obsm", "obsp", "varm")
    ]
    before = [dict(getattr(data, name)) for data, name in slots]
    undone = "_scvi"
    try:
        yield
    except BaseException:
        undone = ""
        raise
    finally:
        for (data, name), old in zip(slots, before, strict=True):
            _restore(getattr(data, name), old, undone)


def _restore(slot: MutableMapping[str, Any], old: dict[str, Any], prefix: str) -> None:
    for key in [key for key in {**slot, **old} if key.startswith(prefix)]:
        if key not in old:
            del slot[key]
        elif key not in slot or slot[key] is not old[key]:
            slot[key] = old[key]

"""The one call that prepares, trains and writes the latent space."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from scvi import settings

from scdart import pp
from scdart._constants import ANCHORS, ATAC, DIFFUSION_COORDINATES, GENE_ACTIVITY, RNA, X_SCDART
from scdart.model import PRESETS, SCDART

if TYPE_CHECKING:
    from collections.abc import Sequence
    from os import PathLike

    import pandas as pd
    from mudata import MuData

logger = logging.getLogger(__name__)


def scdart(
    mdata: MuData,
    annotation: str | PathLike | pd.DataFrame | None = None,
    *,
    n_latent: int | None = None,
    t: Sequence[int] | None = None,
    preset: Literal["default", "paper"] = "default",
    max_epochs: int | None = None,
    rna_layer: str | None = None,
    atac_layer: str | None = None,
    rna_mod: str = RNA,
    atac_mod: str = ATAC,
    groups_key: str | None = None,
    key_added: str = X_SCDART,
    random_state: int | None = 0,
    copy: bool = False,
    train_kwargs: dict[str, Any] | None = None,
) -> MuData | None:
    """Integrate unpaired RNA and ATAC into one latent space, preparing whatever is missing.

    Calls, where their results are not there yet, :func:`scdart.pp.gene_activity`,
    :func:`scdart.pp.diffusion_coordinates` and :func:`scdart.pp.anchors`, then trains
    :class:`scdart.model.SCDART`. For the trained model itself, call these one by one.

    Parameters
    ----------
    mdata
        MuData with raw counts of RNA and ATAC; the cells may differ, overlap or be the same.
    annotation
        Gene annotation for the prior, see :func:`scdart.pp.gene_activity`. Not needed if the prior is registered.
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
        Column of both modalities' ``obs`` with labels of cells known to correspond, see
        :meth:`scdart.model.SCDART.setup_mudata`.
    key_added
        Slot of ``obsm`` to write to.
    random_state
        Seed of preparation and training. ``None`` leaves ``scvi.settings.seed`` as it is.
    copy
        Return a changed copy instead of writing into ``mdata``.
    train_kwargs
        Further options of :meth:`scdart.model.SCDART.train`.

    Returns
    -------
    ``None``, or the copy. Written are ``mdata.obsm[key_added]`` of shape ``(n_obs, n_latent)``, the same slot of each
    modality, ``mdata.uns["scdart"]`` with the settings, and the slots of the functions that had to be called.

    Raises
    ------
    KeyError
        If there is neither a prior nor an annotation, or a modality or layer is missing.

    Examples
    --------
    >>> import scdart
    >>> mdata = scdart.datasets.simulate("bifurcating", n_cells=200, n_genes=100, n_peaks=300)
    >>> scdart.tl.scdart(mdata, max_epochs=2)
    >>> mdata.obsm["X_scdart"].shape[0] == mdata.n_obs
    True
    """
    mdata = mdata.copy() if copy else mdata
    for mod in (rna_mod, atac_mod):
        if mod not in mdata.mod:
            raise KeyError(f"modality {mod!r} is not in mdata.mod, which has {sorted(mdata.mod)}.")
    if preset not in PRESETS:
        raise ValueError(f"preset={preset!r} is not known: use one of {sorted(PRESETS)}.")
    previous_seed = settings.seed
    if random_state is not None:
        settings.seed = random_state
    try:
        mods = {"rna_mod": rna_mod, "atac_mod": atac_mod}
        layers = {"rna_layer": rna_layer, "atac_layer": atac_layer}
        if annotation is not None:
            pp.gene_activity(mdata, annotation, **mods)
        elif GENE_ACTIVITY not in mdata[atac_mod].varm:
            raise KeyError(
                f"mdata[{atac_mod!r}].varm has no {GENE_ACTIVITY!r}: pass `annotation` (GTF, BED or a table of genes) "
                "to make the prior, or register one with scdart.pp.set_gene_activity."
            )
        times = tuple(PRESETS[preset].t if t is None else t)
        if not _has_coordinates(mdata, mods.values(), times):
            pp.diffusion_coordinates(
                mdata, t=times, random_state=random_state, **PRESETS[preset].diffusion, **mods, **layers
            )
        anchors_key = ANCHORS if PRESETS[preset].anchors else None
        SCDART.setup_mudata(
            mdata,
            **layers,
            anchors_key=anchors_key,
            groups_key=groups_key,
            modalities={"rna_layer": rna_mod, "atac_layer": atac_mod},
        )
        model = SCDART(mdata, n_latent=n_latent, preset=preset)
        model.train(max_epochs=max_epochs, **(train_kwargs or {}))
        for mod in (rna_mod, atac_mod):
            mdata[mod].obsm[key_added] = model.get_latent_representation(modality=mod)
        mdata.obsm[key_added] = model.get_latent_representation()
    finally:
        if random_state is not None and previous_seed is not None:
            settings.seed = previous_seed
    mdata.uns["scdart"] = {"preset": preset, "t": np.asarray(times), "n_latent": mdata.obsm[key_added].shape[1]}
    return mdata if copy else None


def _has_coordinates(mdata: MuData, mods: Sequence[str], t: tuple[int, ...]) -> bool:
    described = [mdata[mod].uns.get(DIFFUSION_COORDINATES) for mod in mods]
    return all(d is not None and np.array_equal(np.atleast_1d(d["t"]), t) for d in described)

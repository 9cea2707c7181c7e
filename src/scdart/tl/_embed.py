"""Cells on the map of a model: their places, how far to believe them, and how far they move in another training."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from scdart._checks import check_mudata, check_writable
from scdart._constants import X_SCDART
from scdart._docs import fill_in_docs
from scdart._latent_slots import check_written_with, warn_of_followers
from scdart._mudata import modality_rows, own_copy
from scdart._options import check_options
from scdart._origins import MADE_FROM, origin_of_components
from scdart._progress import parts
from scdart._replicates import spread_of_positions, turned_onto
from scdart.data import names_of_modalities

from ._cells import write_obsm

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mudata import MuData

    from scdart.model import SCDART

#: Neighbours by which confidence is told, where there are as many cells.
_NEIGHBORS = 30


@fill_in_docs
def embed(
    mdata: MuData,
    model: SCDART,
    *,
    replicates: Sequence[SCDART] | None = None,
    key_added: str = X_SCDART,
    copy: bool = False,
) -> MuData | None:
    """Write the places that a trained model gives to cells, where all that follows reads them.

    Parameters
    ----------
    mdata
        The training data, or new cells, see :func:`scdart.tl.ingest`.
    model
        The trained model.
    replicates
        Further trainings of it, see :meth:`scdart.model.SCDART.train_replicates`: what :func:`scdart.tl.spread` writes
        is written too, and cells that move between trainings have less confidence.
    %(key_added)s
    %(copy)s

    Returns
    -------
    `None`, or the copy with `copy=True`. Written are:

    `obsm[key_added]`
        Latent coordinates, of all cells to `mdata` and of its own cells to each modality of the model.
    `obsm[key_added + "_confidence"]`
        Likewise, how far a cell's neighbours in the other modality can be believed to be of its kind, see
        :meth:`scdart.model.SCDART.get_alignment_confidence`; not if a modality is missing.
    `mdata.uns[key_added + "_confidence"]`
        `"made_from"`: names of the cells and a checksum of their coordinates.
    `mdata.obs["modality"]`
        The modality of each cell, `"rna+atac"` of a cell that was measured in both; not if there is such a column.

    Raises
    ------
    KeyError
        `mdata` has no modality of the model.
    ValueError
        Features are not those of the model in its order, counts cannot be used, or `mdata` is a view.

    Warns
    -----
    UserWarning
        Pseudotime, backbone or UMAP are of other coordinates that were there before.

    Example
    -------
    >>> import scdart
    >>> mdata = scdart.datasets.simulate("bifurcating", n_cells=120, n_genes=60, n_peaks=150)
    >>> scdart.pp.diffusion_coordinates(mdata)
    >>> scdart.model.SCDART.setup_mudata(mdata)
    >>> model = scdart.model.SCDART(mdata)
    >>> model.train(max_epochs=2)
    >>> scdart.tl.embed(mdata, model)
    >>> mdata.obs["modality"].value_counts().to_dict()
    {'rna': 120, 'atac': 120}
    """
    check_options(embed, locals())
    check_writable(mdata, copy=copy)
    known = list(names_of_modalities(model.registry).values())
    mods = [mod for mod in known if mod in mdata.mod]
    if not mods:
        raise KeyError(f"mdata has none of the model's modalities {known}, but {list(mdata.mod)}: name one so.")
    confidence = None
    with parts("Places", min(len(mods), 2)) as begin:
        begin(f"{mdata.n_obs:,} cells")
        places: dict[str | None, np.ndarray] = {None: model.get_latent_representation(mdata)}
        places |= {mod: model.get_latent_representation(mdata, modality=mod) for mod in mods}
        if len(mods) > 1:
            begin("confidence")
            fewest = min(mdata[mod].n_obs for mod in mods)
            confidence = model.get_alignment_confidence(
                mdata, n_neighbors=min(_NEIGHBORS, fewest - 1), replicates=replicates
            ).to_numpy()

    target = own_copy(mdata) if copy else mdata
    before = target.obsm.get(key_added)
    for mod, coordinates in places.items():
        (target if mod is None else target[mod]).obsm[key_added] = coordinates
    if confidence is not None:
        write_obsm(target, f"{key_added}_confidence", confidence.astype(np.float32)[:, None], mods=mods)
        target.uns[f"{key_added}_confidence"] = {MADE_FROM: origin_of_components(target, key_added, "mdata")}
    if replicates:
        spread(target, replicates, use_rep=key_added)
    if "modality" not in target.obs:
        target.obs["modality"] = _modality_of_cells(target)
    if before is not None and not np.array_equal(before, target.obsm[key_added], equal_nan=True):
        warn_of_followers(target, key_added)
    return target if copy else None


def spread(
    mdata: MuData, replicates: Sequence[SCDART], *, use_rep: str = X_SCDART, copy: bool = False
) -> MuData | None:
    r"""Write how far cells move between trainings: what changes with the random state was not in the data.

    Parameters
    ----------
    mdata
        The training data, with the latent space of the first training.
    replicates
        Further trainings, see :meth:`scdart.model.SCDART.train_replicates`.
    use_rep
        Slot of `obsm` with the latent space.
    copy
        Whether to return a copy instead of writing to `mdata`.

    Returns
    -------
    `None`, or the copy with `copy=True`. Written to `mdata` and each modality:

    `obsm[use_rep + "_spread"]`
        Shape (n_cells, 1). 0 where a cell stays, 1 where its other positions are as far away as those of any other
        cell. NaN in cells without position.
    `obsm[use_rep + "_replicates"]`
        Positions by the replicates, shifted, turned and scaled onto the latent space, of shape
        (n_cells, n_models * n_latent). :func:`scdart.tl.pseudotime` takes them for its own spread.
    `mdata.uns[use_rep + "_replicates"]`
        `"n_models"`, and `"made_from"`: names and a checksum of the latent space.

    Raises
    ------
    KeyError
        The latent space is missing.
    ValueError
        There are no replicates, or the latent space has other dimensions than theirs.

    Notes
    -----
    With positions :math:`a` of the first training, and :math:`b_m` of the others after an orthogonal Procrustes
    transformation,

    .. math:: s_i^2 = \operatorname{mean}_m
              \frac{\lVert a_i - b_{mi} \rVert^2}{\operatorname{mean}_j \lVert a_i - b_{mj} \rVert^2}.

    Anchors and coordinates are those of the first training. An alignment that is wrong in all of them moves nothing:
    see :meth:`scdart.model.SCDART.get_alignment_confidence` for the evidence.

    Examples
    --------
    >>> import scdart
    >>> mdata = scdart.datasets.simulate("linear", n_cells=100, n_genes=50, n_peaks=150)
    >>> scdart.tl.integrate(mdata, max_epochs=2, save_model="model_to_spread")
    >>> model = scdart.model.SCDART.load("model_to_spread", mdata)
    >>> scdart.tl.spread(mdata, model.train_replicates(1))
    >>> mdata.obsm["X_scdart_spread"].shape == (mdata.n_obs, 1)
    True
    """
    check_options(spread, locals())
    check_mudata(mdata)
    check_writable(mdata, copy=copy)
    if use_rep not in mdata.obsm:
        raise KeyError(
            f"mdata.obsm[{use_rep!r}] does not exist; found: {sorted(mdata.obsm)}. Write the latent space of the model "
            "whose replicates these are, model.get_latent_representation()."
        )
    if not len(replicates):
        raise ValueError("replicates has no model: pass those of model.train_replicates(2).")
    z = np.asarray(mdata.obsm[use_rep], dtype=np.float64)
    others = [model.get_latent_representation(mdata).astype(np.float64) for model in replicates]
    shapes = {other.shape for other in others} - {z.shape}
    if shapes:
        raise ValueError(
            f"mdata.obsm[{use_rep!r}] has shape {z.shape}, and positions by replicates {shapes.pop()}: pass replicates "
            "of the model that wrote it."
        )
    placed = np.isfinite(z).all(axis=1)
    turned = np.full((len(z), len(others), z.shape[1]), np.nan)
    for number, other in enumerate(others):
        turned[placed, number] = turned_onto(z[placed], other[placed])
    moved = np.full(len(z), np.nan)
    moved[placed] = spread_of_positions(z[placed], list(turned[placed].transpose(1, 0, 2)))

    target = own_copy(mdata) if copy else mdata
    write_obsm(target, f"{use_rep}_spread", moved[:, None].astype(np.float32))
    write_obsm(target, f"{use_rep}_replicates", turned.reshape(len(z), -1).astype(np.float32))
    target.uns[f"{use_rep}_replicates"] = {
        "n_models": len(others),
        MADE_FROM: origin_of_components(target, use_rep, "mdata"),
    }
    return target if copy else None


def stored_replicates(mdata: MuData, use_rep: str) -> list[np.ndarray]:
    """Get the positions that :func:`spread` wrote, each of shape (n_cells, n_latent).

    Raises
    ------
    KeyError
        There are none.
    ValueError
        They belong to another latent space than `mdata` has now.
    """
    key = f"{use_rep}_replicates"
    if key not in mdata.obsm:
        raise KeyError(
            f"mdata.obsm[{key!r}] does not exist, which the spread comes from: run scdart.tl.integrate(mdata, "
            "n_models=3), or scdart.tl.spread(mdata, model.train_replicates(2))."
        )
    check_written_with(mdata, key, use_rep, "run scdart.tl.spread again")
    values = np.asarray(mdata.obsm[key], dtype=np.float64)
    return list(values.reshape(len(values), -1, np.asarray(mdata.obsm[use_rep]).shape[1]).transpose(1, 0, 2))


def _modality_of_cells(mdata: MuData) -> pd.Categorical[Any]:
    """Name the modality, or the modalities, that each cell was measured in."""
    names = pd.Series("", index=mdata.obs_names)
    for mod in mdata.mod:
        names[modality_rows(mdata, mod) >= 0] += f"+{mod}"
    names = names.str.removeprefix("+")
    return pd.Categorical(names, sorted(names.unique(), key=lambda name: name.count("+")))

"""All measurements of a MuData as the rows of one AnnData."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import TYPE_CHECKING, Any

import anndata as ad
import numpy as np
import pandas as pd

from scdart._constants import X_SCDART
from scdart._mudata import positions
from scdart._options import check_options

from ._cells import latent

if TYPE_CHECKING:
    from mudata import MuData


def joint_anndata(
    mdata: MuData, *, use_rep: str = X_SCDART, modality_key: str = "modality", cell_key: str = "cell"
) -> ad.AnnData:
    """Stack the cells of all modalities, so that any tool for AnnData sees them together.

    A cell that was measured in several modalities gives as many rows, each with the position of its modality.

    Parameters
    ----------
    mdata
        Annotated data whose modalities have a common latent space.
    use_rep
        Slot of every modality's `obsm` with the latent coordinates.
    modality_key
        Column of the result with the name of the modality.
    cell_key
        Column of the result with the name that the cell has in `mdata`.

    Returns
    -------
    AnnData without features, of shape (n_measurements, 0), modality after modality:

    `obs_names`
        Those of the modalities, with `-{modality}` appended to all where modalities share a name.
    `obs[modality_key]`, `obs[cell_key]`
        Modality, and name of the cell.
    `obs`
        Columns of the modalities, and those of `mdata.obs` that no modality has; missing where one lacks them.
    `obsm`
        Slots that all modalities have with the same columns, `use_rep` among them, and slots of `mdata.obsm` that no
        modality has.
    `uns`
        Copies of the entries of `mdata.uns` that do not describe a graph of its cells.

    Raises
    ------
    KeyError
        The latent coordinates of a modality are missing.
    ValueError
        They are not finite or of different spaces, or there are columns of these names already.

    Examples
    --------
    >>> import scdart
    >>> mdata = scdart.datasets.simulate("linear", n_cells=100, n_genes=50, n_peaks=100)
    >>> for mod in mdata.mod:  # in place of model.get_latent_representation(modality=mod)
    ...     mdata[mod].obsm["X_scdart"] = mdata[mod].obs[["pseudotime"]].to_numpy()
    >>> joint = scdart.tl.joint_anndata(mdata)
    >>> joint.obs["modality"].value_counts().to_dict()
    {'rna': 100, 'atac': 100}
    """
    check_options(joint_anndata, locals())
    spaces = {mod: latent(mdata[mod], use_rep, f"mdata[{mod!r}]").shape[1] for mod in mdata.mod}
    if len(set(spaces.values())) > 1:
        raise ValueError(f"obsm[{use_rep!r}] has different dimensions, {spaces}: all must be of one latent space.")
    for column in (modality_key, cell_key):
        taken = [name for name, data in {"mdata": mdata, **mdata.mod}.items() if column in data.obs]
        if taken:
            raise ValueError(f"{taken[0]!r} has a column obs[{column!r}] already: pass other names for new columns.")

    slots = _common_slots(mdata)
    parts = {
        mod: ad.AnnData(obs=adata.obs, obsm={key: adata.obsm[key] for key in slots}) for mod, adata in mdata.mod.items()
    }
    names = pd.Index(np.concatenate([adata.obs_names for adata in parts.values()]))
    joint = ad.concat(parts, join="outer", label=modality_key, index_unique=None if names.is_unique else "-")
    joint.obs[cell_key] = names.to_numpy(dtype=object)

    rows = np.concatenate([positions(mdata, mod) for mod in mdata.mod])
    for column in mdata.obs:
        if column not in joint.obs and not column.startswith(tuple(f"{mod}:" for mod in mdata.mod)):
            joint.obs[column] = mdata.obs[column].array[rows]
    for key, values in mdata.obsm.items():
        if key not in joint.obsm and key not in mdata.mod:
            selected = values.iloc[rows].set_axis(joint.obs_names) if isinstance(values, pd.DataFrame) else values[rows]
            joint.obsm[key] = selected
    for key, value in mdata.uns.items():
        if key not in mdata.obsp and not (isinstance(value, Mapping) and "connectivities_key" in value):
            joint.uns[key] = deepcopy(value)
    return joint


def _common_slots(mdata: MuData) -> list[str]:
    """Name the slots of `obsm` that all modalities have with the same columns."""
    first, *others = mdata.mod.values()
    return [
        key
        for key, values in first.obsm.items()
        if all(key in other.obsm and _columns(other.obsm[key]) == _columns(values) for other in others)
    ]


def _columns(values: Any) -> int | list[str]:
    return list(values.columns) if isinstance(values, pd.DataFrame) else values.shape[1]

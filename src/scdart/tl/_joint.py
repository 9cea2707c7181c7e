"""All measurements of a MuData as the rows of one AnnData."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import TYPE_CHECKING, Any

import anndata as ad
import numpy as np
import pandas as pd
from scipy import sparse

from scdart._checks import check_modalities, check_mudata, check_up_to_date
from scdart._constants import ATAC, RNA, X_SCDART
from scdart._expression import measured_expression, predicted_expression
from scdart._mudata import positions
from scdart._options import check_options

from ._cells import latent_of_modality

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mudata import MuData

    from scdart.model import SCDART


def joint_anndata(
    mdata: MuData,
    predicted: SCDART | pd.DataFrame | None = None,
    *,
    genes: Sequence[str] | None = None,
    use_rep: str = X_SCDART,
    modality_key: str = "modality",
    cell_key: str = "cell",
    rna_layer: str | None = None,
    rna_mod: str = RNA,
    atac_mod: str = ATAC,
) -> ad.AnnData:
    """Stack the cells of all modalities, so that any tool for AnnData sees them together.

    A cell that was measured in several modalities gives as many rows, each with the position of its modality.

    Parameters
    ----------
    mdata
        Annotated data whose modalities have a common latent space.
    predicted
        The trained model, or what its :meth:`~scdart.model.SCDART.get_gene_activity` returned. With it, the result has
        genes: their expression, measured in RNA cells and predicted for ATAC cells, on one log-normalised scale.
    genes
        Genes to take; by default all that are predicted. Predictions are not sparse: name genes where cells are many.
    use_rep
        Slot of every modality's `obsm` with the latent coordinates; of that of `mdata` where those were not written and
        no cell is of two modalities.
    modality_key
        Column of the result with the name of the modality.
    cell_key
        Column of the result with the name that the cell has in `mdata`.
    rna_layer
        Layer with the counts of RNA; `X` if not given.
    rna_mod, atac_mod
        Names of the modalities that have expression.

    Returns
    -------
    AnnData of shape (n_measurements, n_genes), without features unless there are predictions, modality after modality:

    `X`
        Expression, sparse.
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
        Copies of the entries of `mdata.uns`, without those that describe a graph of its cells or are scvi-tools' own.

    Raises
    ------
    KeyError
        The latent coordinates of a modality are missing, or a gene is.
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
    check_mudata(mdata)
    for mod in mdata.mod:
        check_up_to_date(mdata, mod)
    latents = {mod: latent_of_modality(mdata, mod, use_rep) for mod in mdata.mod}
    spaces = {mod: z.shape[1] for mod, z in latents.items()}
    if len(set(spaces.values())) > 1:
        raise ValueError(f"obsm[{use_rep!r}] has different dimensions, {spaces}: all must be of one latent space.")
    for column in (modality_key, cell_key):
        holders = {"mdata": mdata, **mdata.mod}
        taken = [name for name, data in holders.items() if column in data.obs and not _tells(data.obs[column], mdata)]
        if taken:
            raise ValueError(f"{taken[0]!r} has a column obs[{column!r}] already: pass other names for new columns.")

    features: dict[str, Any] = {}
    if predicted is not None:
        features = _expression(mdata, predicted, genes, rna_layer, rna_mod, atac_mod)
    elif genes is not None:
        raise ValueError("genes were named, and predicted is None: pass the model, whose prediction ATAC cells have.")
    slots = [key for key in _common_slots(mdata) if key != use_rep]
    parts = {
        mod: ad.AnnData(
            features.get(mod),
            obs=adata.obs,
            var=features.get("var"),
            obsm={key: adata.obsm[key] for key in slots} | {use_rep: latents[mod].astype(np.float32)},
        )
        for mod, adata in mdata.mod.items()
    }
    names = pd.Index(np.concatenate([adata.obs_names for adata in parts.values()]))
    unique = None if names.is_unique else "-"
    joint = ad.concat(parts, join="outer", label=modality_key, index_unique=unique, merge="same")
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
        of_scvi = key.startswith("_scvi")  # by which scvi-tools knows the MuData again
        if not of_scvi and key not in mdata.obsp and not (isinstance(value, Mapping) and "connectivities_key" in value):
            joint.uns[key] = deepcopy(value)
    return joint


def _expression(
    mdata: MuData,
    predicted: SCDART | pd.DataFrame,
    genes: Sequence[str] | None,
    rna_layer: str | None,
    rna_mod: str,
    atac_mod: str,
) -> dict[str, Any]:
    """Get expression by modality, and the table of its genes."""
    check_modalities(mdata, rna_mod=rna_mod, atac_mod=atac_mod)
    if set(mdata.mod) != {rna_mod, atac_mod}:
        raise ValueError(f"mdata has the modalities {list(mdata.mod)}: only those of RNA and ATAC have expression.")
    if genes is None:
        known = predicted.columns if isinstance(predicted, pd.DataFrame) else mdata[rna_mod].var_names
        genes = list(known)
    measured = measured_expression(mdata[rna_mod], genes, rna_layer, rna_mod)
    of_atac = predicted_expression(predicted, mdata, mdata[atac_mod], genes)
    return {
        rna_mod: measured,
        atac_mod: sparse.csr_matrix(of_atac.to_numpy(), dtype=np.float32),
        "var": mdata[rna_mod].var.loc[list(genes)],
    }


def _tells(column: pd.Series, mdata: MuData) -> bool:
    """Whether a column says nothing but which modality cells are of, as that of :func:`scdart.tl.embed` does."""
    return bool(column.astype(str).isin([*mdata.mod, "+".join(mdata.mod)]).all())


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

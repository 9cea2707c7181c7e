"""New cells in the form of those that a model was trained on."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Final

import anndata as ad
import pandas as pd
from scipy import sparse
from scvi import settings

from scdart._checks import check_mudata

if TYPE_CHECKING:
    from mudata import MuData

#: Share of the model's features that cells should have.
_ENOUGH: Final = 0.8


def cells_by_modality(query: MuData | ad.AnnData | None, names: dict[str, pd.Index]) -> dict[str, ad.AnnData]:
    """Get new cells by modality of a model.

    Parameters
    ----------
    query
        MuData with modalities of the model, or an AnnData; its features say which modality that is.
    names
        Features of the model by modality.

    Raises
    ------
    TypeError
        It is neither.
    ValueError
        It has no modality of the model.
    """
    if isinstance(query, ad.AnnData):
        return {max(names, key=lambda mod: query.var_names.isin(names[mod]).mean()): query}
    check_mudata(query)
    assert query is not None
    found = {mod: query.mod[mod] for mod in names if mod in query.mod}
    if not found:
        raise ValueError(
            f"mdata has none of the modalities of the model, {list(names)}, but {list(query.mod)}: name them as in "
            "training."
        )
    return found


def with_features(adata: ad.AnnData, names: pd.Index, mod: str) -> ad.AnnData:
    """Copy cells with the given features in this order, zeros where they lack one.

    Parameters
    ----------
    adata
        The cells.
    names
        The features.
    mod
        Name of their modality, for messages.

    Raises
    ------
    ValueError
        They have none of the features, or one several times.

    Warns
    -----
    UserWarning
        They have less than 80% of the features.
    """
    if not adata.var_names.is_unique:
        raise ValueError(f"Features of {mod!r} must have different names: remove repeats, or var_names_make_unique().")
    missing = names.difference(adata.var_names, sort=False)
    share = 1 - len(missing) / len(names)
    if share == 0:
        raise ValueError(
            f"The cells have none of the {len(names):,} features that the model knows of {mod!r}, as {names[0]!r}, "
            f"but {adata.var_names[:3].to_list()}, ... Name features as in training."
        )
    if share < _ENOUGH:
        warnings.warn(
            f"The cells have {share:.0%} of the features that the model knows of {mod!r}; others are taken to be 0.",
            UserWarning,
            stacklevel=settings.warnings_stacklevel,
        )
    if not len(missing):
        return adata[:, names].copy()
    zeros = sparse.csr_matrix((adata.n_obs, len(missing)), dtype="float32")
    padding = ad.AnnData(
        zeros, adata.obs[[]], pd.DataFrame(index=missing), layers=dict.fromkeys(filter(None, adata.layers), zeros)
    )
    padded = ad.concat([adata, padding], axis=1, join="outer", merge="unique", uns_merge="unique")
    return padded[:, names].copy()

"""Where the prior is kept, and what all that write it check and say."""

from __future__ import annotations

import logging
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from scdart._checks import check_modalities, check_writable
from scdart._mudata import own_copy

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pandas as pd
    import scipy.sparse as sp
    from anndata import AnnData
    from mudata import MuData

logger = logging.getLogger(__name__)


def prior_modalities(mdata: MuData, rna_mod: str, atac_mod: str, *, copy: bool) -> tuple[AnnData, AnnData]:
    """Get RNA and ATAC, whose features have names of their own, and which can be written to."""
    check_modalities(mdata, rna_mod=rna_mod, atac_mod=atac_mod)
    check_writable(mdata, copy=copy)
    for name in (rna_mod, atac_mod):
        check_unique(mdata.mod[name].var_names, f"mdata.mod[{name!r}].var_names")
    return mdata.mod[rna_mod], mdata.mod[atac_mod]


def check_unique(names: pd.Index, what: str) -> None:
    """Raise if names occur more than once."""
    repeated = names[names.duplicated()].unique()
    if len(repeated):
        raise ValueError(
            f"{what} must be unique, but {len(repeated):,} occur more than once: {examples_of(repeated)}. Keep one of "
            "each: adata[:, ~adata.var_names.duplicated()].copy(), from which mdata is made anew."
        )


def store_prior(
    mdata: MuData,
    prior: sp.csr_matrix,
    genes: pd.Index,
    described: dict[str, Any],
    atac_mod: str,
    key_added: str,
    *,
    copy: bool,
) -> MuData | None:
    """Write a prior, peaks x genes, with its genes and what else is told of it; say how much it links."""
    prior.sort_indices()
    n_peaks, n_genes = (np.count_nonzero(prior.getnnz(axis=axis)) for axis in (1, 0))
    logger.info(
        "%s links between %s of %s peaks and %s of %s genes",
        *(f"{count:,}" for count in (prior.nnz, n_peaks, prior.shape[0], n_genes, prior.shape[1])),
    )
    target = own_copy(mdata) if copy else mdata
    target.mod[atac_mod].varm[key_added] = prior
    target.mod[atac_mod].uns[key_added] = {"genes": genes.to_numpy(dtype=object, copy=True), **described}
    return target if copy else None


def examples_of(names: Iterable[object], n: int = 5) -> str:
    """List some names for a message."""
    listed = list(names)
    return ", ".join(repr(str(name)) for name in listed[:n]) + (", ..." if len(listed) > n else "")


def warn_of(count: int, total: int, what: str, examples: Iterable[object]) -> None:
    """Warn the caller of a public function of what some of its features are, if any."""
    if count:
        warnings.warn(f"{count:,} of {total:,} {what}: {examples_of(examples)}", UserWarning, stacklevel=3)

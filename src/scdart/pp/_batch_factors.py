"""Factors by which each batch sees each feature, estimated between cells that correspond."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import numpy as np

from scdart._batches import batches_of, check_batches
from scdart._checks import check_modalities, check_writable
from scdart._constants import ATAC, BATCH_FACTORS, RNA
from scdart._docs import fill_in_docs
from scdart._mudata import own_copy
from scdart._options import check_options
from scdart._origins import MADE_FROM, has_factors_of, origin_of_counts
from scdart._process import one_blas_thread
from scdart._progress import parts
from scdart._random import seed_of

from ._batch_estimation import estimate_factors
from ._features import modality_counts

if TYPE_CHECKING:
    from mudata import MuData

logger = logging.getLogger(__name__)


@fill_in_docs
def batch_factors(
    mdata: MuData,
    batch_key: str,
    *,
    n_neighbors: int = 20,
    rna_mod: str = RNA,
    atac_mod: str = ATAC,
    rna_layer: str | None = None,
    atac_layer: str | None = None,
    random_state: int | None = None,
    copy: bool = False,
) -> MuData | None:
    r"""Estimate by which factor each batch (donor, lane, laboratory) sees each feature, within each modality.

    Cells of two batches that are among the nearest of one another are taken to correspond. By the ratio of their means,
    each batch's values are scaled; then neighbours are looked for again, until factors no longer change. Means of whole
    batches would push a batch with more of one population onto the others; cells without counterpart in the other
    batch are nobody's nearest, and do not enter.

    What the ratio of a feature tells is weighed against its error: with the error :math:`v_j` of its logarithm
    :math:`r_j` and the variance :math:`s^2` that the ratios of all features have beyond their errors,

    .. math:: \log f_j = \frac{s^2}{s^2 + v_j}\, r_j ,

    so that batches without effect have factors of 1.

    Parameters
    ----------
    mdata
        Annotated data with counts of RNA and ATAC cells.
    batch_key
        Column of `obs` with the batch of each cell, of both modalities, or of one. Batches of a modality are compared
        with each other; those of different modalities are not, whatever they are called.
    n_neighbors
        Nearest cells of another batch among which a cell must be, in either direction.
    %(rna_mod)s
    %(atac_mod)s
    rna_layer
        Layer of the RNA modality with counts; `None` takes `X`.
    atac_layer
        Layer of the ATAC modality with counts, which are binarised; `None` takes `X`.
    random_state
        Seed of the sample of cells where there are many; `None` takes `scvi.settings.seed`, or 0 where there is none.
    %(copy)s

    Returns
    -------
    `None`, or the copy with `copy=True`. Written to each modality with several batches:

    `varm["batch_factors"]`
        What counts of genes, or weights of open peaks, are multiplied by, of shape (n_features, n_batches), float32.
    `uns["batch_factors"]`
        `"batch_key"`; `"batches"`: names of the columns; `"matched"`: share of the cells of each batch that have a
        counterpart in another; `"spread"`: standard deviation of log-factors, about 0 without effect; `"params"`;
        `"made_from"`: shape, names and a checksum of the counts.

    Raises
    ------
    KeyError
        A modality, a layer or the column is missing.
    ValueError
        Counts cannot be used, a cell has no batch, a batch has no more cells than `n_neighbors`, there is a single
        batch, or `mdata` is a view.

    References
    ----------
    Haghverdi et al. (2018), Nature Biotechnology 36:421: mutual nearest neighbours. Besl & McKay (1992), IEEE
    Transactions on Pattern Analysis and Machine Intelligence 14:239: matching and moving in turn.

    Example
    -------
    >>> import numpy as np, scdart
    >>> mdata = scdart.datasets.simulate(n_cells=300, n_genes=200, n_peaks=400, n_batches_rna=2, batch_effect=1.0)
    >>> scdart.pp.batch_factors(mdata, "batch")
    >>> mdata["rna"].varm["batch_factors"].shape, "batch_factors" in mdata["atac"].varm
    ((200, 2), False)
    """
    check_options(batch_factors, locals())
    mods = {RNA: rna_mod, ATAC: atac_mod}
    check_modalities(mdata, rna_mod=rna_mod, atac_mod=atac_mod)
    check_writable(mdata, copy=copy)
    check_batches(mdata, batch_key, mods, min_cells=n_neighbors + 1)
    found = {mod: batches for mod in mods.values() if (batches := batches_of(mdata.mod[mod], batch_key)) is not None}
    seed, layers = seed_of(random_state), {RNA: rna_layer, ATAC: atac_layer}
    written, made_from = {}, {}
    with one_blas_thread(), parts("Batches", len(found)) as begin:
        for role, mod in mods.items():
            if mod not in found:
                continue
            batches = found[mod]
            begin(f"factors of {len(batches.names)} batches of {mod}")
            counts = modality_counts(mdata, mod, layers[role])
            made_from[mod] = origin_of_counts(mdata.mod[mod], layers[role], mod, batch_key)
            written[mod] = estimate_factors(role, counts, batches.codes, n_neighbors, seed)

    target = own_copy(mdata) if copy else mdata
    for mod, estimate in written.items():
        names = list(found[mod].names)
        adata = target.mod[mod]
        adata.varm[BATCH_FACTORS] = np.exp(estimate.log_factors.T).astype(np.float32)
        adata.uns[BATCH_FACTORS] = {
            "batch_key": batch_key,
            "batches": names,
            "matched": dict(zip(names, estimate.matched.tolist(), strict=True)),
            "spread": float(estimate.log_factors.std()),
            "params": {"n_neighbors": n_neighbors, "random_state": seed},
            MADE_FROM: made_from[mod],
        }
        logger.info(
            "Batches of %s: cells with a counterpart %s, spread of log-factors %.2f.",
            mod,
            ", ".join(f"{name} {share:.0%}" for name, share in zip(names, estimate.matched, strict=True)),
            estimate.log_factors.std(),
        )
    return target if copy else None


def ensure_factors(
    mdata: MuData,
    batch_key: str,
    rna_mod: str,
    atac_mod: str,
    rna_layer: str | None,
    atac_layer: str | None,
    seed: int,
) -> None:
    """Write factors unless those of just these batches and counts are there."""
    layers = {rna_mod: rna_layer, atac_mod: atac_layer}
    if not all(has_factors_of(mdata, mod, batch_key, layer) for mod, layer in layers.items()):
        batch_factors(
            mdata,
            batch_key,
            rna_mod=rna_mod,
            atac_mod=atac_mod,
            rna_layer=rna_layer,
            atac_layer=atac_layer,
            random_state=seed,
        )
        return
    check_batches(mdata, batch_key, {RNA: rna_mod, ATAC: atac_mod}, min_cells=1)

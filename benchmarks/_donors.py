"""Two donors of bone marrow in ATAC, whose share of subtypes differs: how well they mix, and how well they could."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import mudata
import numpy as np
import pandas as pd
from _components import atac_components
from _haematopoiesis import QUIET

from scdart import metrics, pp, tl

if TYPE_CHECKING:
    from pathlib import Path

    from anndata import AnnData

LABEL, BATCH = "cell_type", "batch"
#: Clusters of the authors, finer than the cell types.
CLUSTER = "cluster"


def donors(data: Path, seeds: int) -> pd.DataFrame:
    """Mixing of donors within each cell type, and the share of labels that RNA of another laboratory tells right."""
    rows = []
    for seed in range(seeds):
        mdata = mudata.read_h5mu(data / "immune_unpaired.h5mu")
        atac = mdata["atac"]
        places = {"LSI": atac_components().fit_transform(atac.X)}
        right = {}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            pp.gene_activity(mdata, data / "hg19_genes.bed.gz", domain="auto", random_state=seed)
            for name, key in (("without key", None), ("with key", BATCH)):
                found = tl.integrate(mdata, batch_key=key, random_state=seed, copy=True, train_kwargs=QUIET)
                assert found is not None
                z = {mod: found[mod].obsm["X_scdart"] for mod in ("rna", "atac")}
                labels = {mod: found[mod].obs[LABEL].astype(str).to_numpy() for mod in z}
                places[name] = z["atac"]
                right[name] = metrics.label_transfer(z["rna"], labels["rna"], z["atac"], labels["atac"]).accuracy
        mixing = {name: _mixing(z, atac, atac.obs[BATCH]) for name, z in places.items()}
        mixing["exchanged"] = _mixing(places["with key"], atac, _exchanged(atac, seed))
        table = pd.DataFrame(mixing)
        table.loc["mean"] = table.mean()
        table.loc["labels right"] = pd.Series(right)
        rows.append(table.rename_axis("cell type").reset_index())
    return pd.concat(rows)


def _mixing(z: np.ndarray, atac: AnnData, batch: pd.Series) -> dict[str, float]:
    of_type = {label: (atac.obs[LABEL] == label).to_numpy() for label in sorted(atac.obs[LABEL].unique())}
    return {label: metrics.batch_mixing(z[rows], batch[rows]) for label, rows in of_type.items()}


def _exchanged(atac: AnnData, seed: int) -> pd.Series:
    """Donors drawn anew within clusters: what is left of their separation is that of their composition."""
    rng = np.random.default_rng(seed)
    donor = atac.obs[BATCH].astype(str)
    return donor.groupby(atac.obs[CLUSTER].astype(str)).transform(lambda some: rng.permutation(some.to_numpy()))

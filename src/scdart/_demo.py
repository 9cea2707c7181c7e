"""The demonstration: cells whose pairs and order are known, but not told to the model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import mudata
import numpy as np
import pandas as pd
import scanpy as sc
import scvi
from matplotlib.pyplot import close

from scdart import metrics, pl, pp, tl
from scdart._constants import ATAC, RNA, X_SCDART
from scdart.datasets import simulate
from scdart.model import SCDART

if TYPE_CHECKING:
    from pathlib import Path

    from mudata import MuData


class Score(NamedTuple):
    """What the integration recovered, beside what a blind guess and a perfect result would have."""

    what: str
    value: float
    blind: float
    perfect: float


def simulate_hidden_pairs(n_cells: int, seed: int) -> MuData:
    """Measure every cell in both modalities, and hide it: other names, another order, only ``pair_id`` remembers."""
    paired = simulate("bifurcating", n_cells=n_cells, paired=True, random_state=seed)
    shuffled = np.random.default_rng(seed).permutation(n_cells)
    cells = {RNA: paired[RNA].copy(), ATAC: paired[ATAC][shuffled].copy()}
    for mod, adata in cells.items():
        adata.obs_names = [f"{mod}{i}" for i in range(n_cells)]
        adata.obs["modality"] = mod
    mdata = mudata.MuData(cells)
    mdata.obs = pd.concat([adata.obs[["modality", "branch", "pseudotime"]] for adata in cells.values()])
    mdata.uns["simulation"] = paired.uns["simulation"]
    return mdata


def integrate(mdata: MuData, seed: int, **train_kwargs: Any) -> pd.DataFrame:
    """Write the latent space of all cells, and return the expression predicted for the ATAC cells."""
    scvi.settings.seed = seed
    pp.diffusion_coordinates(mdata)
    SCDART.setup_mudata(mdata)
    model = SCDART(mdata)
    model.train(**train_kwargs)
    tl.embed(mdata, model)
    return model.get_gene_activity()


def order(mdata: MuData) -> None:
    """Find the diffusion pseudotime of all cells together, from the RNA cell nearest to the root."""
    tl.pseudotime(mdata, root=mdata[RNA].obs["pseudotime"].idxmin())


def score(mdata: MuData, predicted: pd.DataFrame) -> list[Score]:
    """Compare pairs, branches, order and predicted expression with the truth."""
    rna, atac = mdata[RNA], mdata[ATAC]
    mates = pd.Index(rna.obs["pair_id"]).get_indexer(atac.obs["pair_id"])
    z_rna, z_atac = rna.obsm[X_SCDART], atac.obsm[X_SCDART]
    transfer = metrics.label_transfer(z_rna, rna.obs["branch"], z_atac, atac.obs["branch"])
    largest_branch = atac.obs["branch"].value_counts(normalize=True).max()
    # Cells that no path connects with the root are infinitely late: in the order of cells, the last.
    time = mdata.obs["dpt_pseudotime"].clip(upper=1.0)
    expression = metrics.gene_correlation(predicted, np.log1p(atac.obsm["true_expression"]))
    return [
        Score("Pairs (FOSCTTM)", metrics.foscttm(z_rna[mates], z_atac), 0.5, 0.0),
        Score("Branch of ATAC cells (label transfer)", transfer.accuracy, largest_branch, 1.0),
        *(
            Score(f"Order of {which} (Kendall's tau)", _tau(time, mdata.obs["pseudotime"], cells), 0.0, 1.0)
            for which, cells in {
                "all cells": mdata.obs_names,
                "RNA cells": rna.obs_names,
                "ATAC cells": atac.obs_names,
            }.items()
        ),
        Score("Expression of ATAC cells (correlation)", float(np.nanmean(expression)), 0.0, 1.0),
    ]


def _tau(predicted: pd.Series, truth: pd.Series, cells: pd.Index) -> float:
    return metrics.pseudotime_kendall(predicted[cells], truth[cells])


def draw(mdata: MuData, path: Path) -> None:
    """Draw the latent space, coloured by modality and by true pseudotime."""
    sc.pp.neighbors(mdata, use_rep=X_SCDART)
    sc.tl.umap(mdata, random_state=0)
    titles = {"modality": "Modality", "pseudotime": "True pseudotime"}
    pl.latent(mdata, color=list(titles), title=list(titles.values()), show=False, save=path)
    close()

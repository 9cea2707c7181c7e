"""Human haematopoiesis, the second experiment of the paper: sorted cells of two studies, and what is told of them."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import matplotlib.pyplot as plt
import mudata
import numpy as np
import pandas as pd
import scanpy as sc
from _components import columns_stay
from scipy.stats import spearmanr
from sklearn.metrics import balanced_accuracy_score
from sklearn.neighbors import KNeighborsClassifier

from scdart import pl, pp, tl

if TYPE_CHECKING:
    from pathlib import Path

    from mudata import MuData

#: Sorted populations that both studies have.
POPULATIONS = ("HSC", "MPP", "CMP", "GMP")
N_RNA = 1500
#: What is told of the cells, and the column that tells it.
TOLD = {"nothing": None, "HSC": "root", "four populations": "cell_type"}

QUIET = {"enable_progress_bar": False, "accelerator": "cpu"}


def haematopoiesis(data: Path, seeds: int, picture: Path | None = None) -> pd.DataFrame:
    """Score each draw of RNA cells with nothing told, the stem cells told, and all four populations told.

    With a path, the first draw is pictured as it is where the stem cells are told.
    """
    rows = []
    for seed in range(seeds):
        mdata = drawn(data, seed)
        for told, key in TOLD.items():
            found = tl.integrate(mdata, groups_key=key, random_state=seed, copy=True, train_kwargs=QUIET)
            assert found is not None
            rows.append({"told": told} | scores(found))
            if picture is not None and seed == 0 and told == "HSC":
                draw(found, picture)
    return pd.DataFrame(rows)


def drawn(data: Path, seed: int) -> MuData:
    """Draw RNA cells, and take the ATAC cells of the same populations, with the prior that held-out genes choose.

    Labels are text, and those of the root stand alone in a second column.
    """
    stored = mudata.read_h5mu(data / "hema_pellin_buenrostro.h5mu")
    rows = np.sort(np.random.default_rng(seed).permutation(stored["rna"].n_obs)[:N_RNA])
    parts = {
        "rna": stored["rna"][rows].copy(),
        "atac": stored["atac"][stored["atac"].obs["cell_type"].isin(POPULATIONS).to_numpy()].copy(),
    }
    for adata in parts.values():
        adata.obs["cell_type"] = adata.obs["cell_type"].astype(str)
        adata.obs["root"] = adata.obs["cell_type"].where(adata.obs["cell_type"] == "HSC")
    with columns_stay(), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        mdata = mudata.MuData(parts)
        pp.gene_activity(mdata, data / "hg19_genes.bed.gz", domain="auto", random_state=seed)
    return mdata


def scores(mdata: MuData) -> dict[str, float]:
    """Balanced accuracy of labels by RNA neighbours, order by stage, and agreement with the paper's pseudotime."""
    rna, atac = mdata["rna"], mdata["atac"]
    vote = KNeighborsClassifier(10).fit(rna.obsm["X_scdart"], rna.obs["cell_type"])
    tl.pseudotime(mdata, root_key="cell_type", root_label="HSC")
    rna, atac = mdata["rna"], mdata["atac"]
    order = {mod: adata.obs["dpt_pseudotime"].fillna(2) for mod, adata in (("RNA", rna), ("ATAC", atac))}
    published = rna.obs[["scdart_paper_traj_0", "scdart_paper_traj_1"]].mean(axis=1)
    known = published.notna()
    return {
        "labels right": balanced_accuracy_score(atac.obs["cell_type"], vote.predict(atac.obsm["X_scdart"])),
        "order, RNA": spearmanr(order["RNA"], rna.obs["stage"]).statistic,
        "order, ATAC": spearmanr(order["ATAC"], atac.obs["stage"]).statistic,
        "with the paper's": spearmanr(order["RNA"][known], published[known]).statistic,
        "z": mdata.uns["anchors"]["z"],
    }


def draw(mdata: MuData, path: Path) -> None:
    """Draw an integration by modality and sorted population."""
    mdata.obs["population"] = pd.Categorical(
        pd.concat([mdata[mod].obs["cell_type"] for mod in mdata.mod])[mdata.obs_names], POPULATIONS
    )
    sc.pp.neighbors(mdata, use_rep="X_scdart")
    sc.tl.umap(mdata, random_state=0)
    titles = {"modality": "Modality", "population": "Sorted population"}
    pl.latent(mdata, color=list(titles), title=list(titles.values()), show=False)
    plt.savefig(path, dpi=110, bbox_inches="tight")
    plt.close("all")

"""What is done with a latent space: cost of the functions of `tl` and `pl`, and of metrics, by name."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib as mpl
import numpy as np
import pandas as pd
from _clocks import Stages
from _synthetic import annotation, latent, made_up_targets, unpaired

import scdart
from scdart.model import SCDART

if TYPE_CHECKING:
    from collections.abc import Callable

    from mudata import MuData

#: Genes that are tested for change along the trajectory, and cells that come later.
N_TESTED, N_NEW = 200, 10_000
N_MOTIFS, MOTIF_SHARE = 100, 0.05
#: Metrics whose definitions compare all cells with all, and most cells that they are asked of.
QUADRATIC, MAX_QUADRATIC = ("alignment_score", "branch_alignment", "silhouette_label", "silhouette_batch"), 20_000
QUIET = {"accelerator": "cpu", "enable_progress_bar": False, "max_epochs": 1, "max_steps": 20}


def measure_results(n_cells: int, n_peaks: int, n_genes: int) -> dict[str, dict[str, float]]:
    """Call all once, first with a latent space that is made up, then with a model; cells are on the tree of counts."""
    mpl.use("Agg")
    mdata, stages = unpaired(n_cells, n_peaks, n_genes), Stages()
    for seed, adata in enumerate(mdata.mod.values()):
        adata.obsm["X_scdart"] = latent(adata.obs["branch"], adata.obs["pseudotime"], seed)
        adata.obs["confidence"] = 1 - adata.obs["pseudotime"] / 2
        adata.obs["kind"] = pd.Categorical([f"branch {branch}" for branch in adata.obs["branch"]])
    mdata.obsm["X_scdart"] = np.concatenate([adata.obsm["X_scdart"] for adata in mdata.mod.values()])
    with tempfile.TemporaryDirectory() as folder:
        for functions in (_of_latent, _of_model):
            for name, function in functions(mdata, n_genes, Path(folder)).items():
                if n_cells > MAX_QUADRATIC and name.removeprefix("metrics.") in QUADRATIC:
                    continue
                with stages(name):
                    function()
                mpl.pyplot.close("all")
                print(name, stages.measured[name], file=sys.stderr, flush=True)
    return stages.measured


def _of_latent(mdata: MuData, _n_genes: int, folder: Path) -> dict[str, Callable[[], object]]:
    """Functions that need a latent space, those that others need first."""
    root = mdata["rna"].obs_names[mdata["rna"].obs["pseudotime"].argmin()]
    genes = list(mdata["rna"].var_names[:N_TESTED])
    few = _most_expressed(mdata, genes)
    rna, atac = (adata.obsm["X_scdart"] for adata in mdata.mod.values())
    both, modality = np.concatenate([rna, atac]), np.repeat(["rna", "atac"], [len(rna), len(atac)])
    kinds = np.concatenate([adata.obs["kind"].astype(str) for adata in mdata.mod.values()])
    kinds_rna, kinds_atac = np.split(kinds, [len(rna)])
    metrics = scdart.metrics
    return {
        "tl.pseudotime": lambda: scdart.tl.pseudotime(mdata, root=root),
        "tl.backbone": lambda: scdart.tl.backbone(mdata),
        "tl.transfer_labels": lambda: scdart.tl.transfer_labels(mdata, "kind"),
        "tl.dynamic_features": lambda: scdart.tl.dynamic_features(mdata, features=genes),
        "tl.dynamic_curves": lambda: scdart.tl.dynamic_curves(mdata, few),
        "tl.dynamic_values": lambda: scdart.tl.dynamic_values(mdata, few),
        "tl.smooth": lambda: scdart.tl.smooth(mdata),
        "tl.impute": lambda: scdart.tl.impute(mdata, source="atac", target="rna", features=mdata["atac"].var_names[:9]),
        "tl.joint_anndata": lambda: scdart.tl.joint_anndata(mdata),
        "pl.latent": lambda: scdart.pl.latent(mdata, color=["modality", "kind"], show=False),
        "pl.backbone": lambda: scdart.pl.backbone(mdata, show=False),
        "pl.branches": lambda: scdart.pl.branches(mdata, show=False),
        "pl.alignment_confidence": lambda: scdart.pl.alignment_confidence(mdata, key="confidence", show=False),
        "pl.dynamic_features": lambda: scdart.pl.dynamic_features(mdata, few, show=False),
        "pl.dynamic_heatmap": lambda: scdart.pl.dynamic_heatmap(mdata, show=False),
        "pl.report": lambda: scdart.pl.report(mdata, path=folder / "report.html"),
        "metrics.foscttm": lambda: metrics.foscttm(rna, atac),
        "metrics.neighborhood_overlap": lambda: metrics.neighborhood_overlap(rna, atac, 30),
        "metrics.alignment_score": lambda: metrics.alignment_score(rna, atac),
        "metrics.modality_mixing": lambda: metrics.modality_mixing(rna, atac),
        "metrics.label_transfer": lambda: metrics.label_transfer(rna, kinds_rna, atac, kinds_atac),
        "metrics.branch_alignment": lambda: metrics.branch_alignment(rna, kinds_rna, atac, kinds_atac),
        "metrics.cluster_consistency": lambda: metrics.cluster_consistency(rna, atac),
        "metrics.nmi_ari_kmeans": lambda: metrics.nmi_ari_kmeans(both, kinds),
        "metrics.batch_mixing": lambda: metrics.batch_mixing(both, modality, kinds),
        "metrics.batch_kbet": lambda: metrics.batch_kbet(both, modality, kinds),
        "metrics.silhouette_label": lambda: metrics.silhouette_label(both, kinds),
        "metrics.silhouette_batch": lambda: metrics.silhouette_batch(both, modality, labels=kinds),
    }


def _of_model(mdata: MuData, n_genes: int, _folder: Path) -> dict[str, Callable[[], object]]:
    """Functions that need a model, of which there are two that were hardly trained, and those that need its links."""
    made_up_targets(mdata)
    places = annotation(n_genes)
    scdart.pp.gene_activity(mdata, places)
    SCDART.setup_mudata(mdata)
    one, other = SCDART(mdata), SCDART(mdata)
    for model in (one, other):
        model.train(**QUIET)
    rng = np.random.default_rng(0)
    atac = mdata["atac"]
    atac.varm["motif_match"] = (rng.random((atac.n_vars, N_MOTIFS)) < MOTIF_SHARE).astype(np.int8)
    names = [f"motif{i}" for i in range(N_MOTIFS)]
    gene = mdata["rna"].var_names[0]
    few = _most_expressed(mdata, list(mdata["rna"].var_names))
    new = mdata["atac"][:N_NEW].copy()
    new.obs_names = [f"new_{name}" for name in new.obs_names]
    del new.obs["kind"], new.obs["pseudotime"]
    links = one.get_peak_gene_links()
    return {
        "tl.embed": lambda: scdart.tl.embed(mdata, one),
        "tl.spread": lambda: scdart.tl.spread(mdata, [one, other]),
        "tl.ingest": lambda: scdart.tl.ingest(new, mdata, one, obs="kind"),
        "tl.motif_gene_scores": lambda: scdart.tl.motif_gene_scores(mdata, links, motifs=names),
        "pl.gene_activity": lambda: scdart.pl.gene_activity(mdata, one, genes=few, show=False),
        "pl.history": lambda: scdart.pl.history(one, show=False),
        "pl.peak_gene_links": lambda: scdart.pl.peak_gene_links(mdata, links, gene, annotation=places, show=False),
    }


def _most_expressed(mdata: MuData, genes: list[str], n: int = 4) -> list[str]:
    counts = np.asarray(mdata["rna"][:, genes].X.sum(axis=0)).ravel()
    return [genes[i] for i in np.argsort(-counts)[:n]]

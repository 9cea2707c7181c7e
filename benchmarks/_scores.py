"""Scores of an embedding against the truth, which no method has seen."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import scanpy as sc
from _components import atac_components, library_size, log_normalized, rna_components
from _methods import BATCH
from anndata import AnnData
from scipy.stats import spearmanr
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import KFold, cross_val_predict
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import scale

from scdart import metrics, pp
from scdart.model import PRESETS

if TYPE_CHECKING:
    from _datasets import Problem
    from _methods import Embedding

N_NEIGHBORS = 30
#: Leiden resolutions at which a rare branch is looked for.
RESOLUTIONS = (0.1, 0.2, 0.5, 1.0, 2.0)
#: A rare branch counts as found if a cluster has this F1 with it.
FOUND_F1 = 0.5


class Scorer:
    """All scores that a problem has the truth for, of embeddings of the same cells.

    Parameters
    ----------
    problem
        The problem.
    cells
        Which cells the embeddings hold, `"train"` or `"query"`.
    """

    def __init__(self, problem: Problem, cells: str) -> None:
        self._problem = problem
        self._names = {mod: getattr(problem, cells)[mod].obs_names for mod in ("rna", "atac")}
        self._truth = {mod: problem.truth[mod][names] for mod, names in self._names.items()}
        self._rna, self._atac = (self._truth[mod].obs for mod in ("rna", "atac"))
        _, *self._mates = np.intersect1d(self._rna["cell"], self._atac["cell"], return_indices=True)

    def __call__(self, embedding: Embedding) -> dict[str, float]:
        z_rna, z_atac = embedding.rna, embedding.atac
        scores = {"cells_rna": len(z_rna), "cells_atac": len(z_atac)}
        scores |= self._correspondence(z_rna, z_atac) | self._mixing(z_rna, z_atac)
        scores |= self._order(z_rna, z_atac) | self._diffusion(z_rna, z_atac)
        if embedding.expression is not None:
            scores |= self._expression(embedding.expression)
        if embedding.links is not None and "links" in self._truth["atac"].varm:
            scores["link_auprc"] = metrics.link_auprc(embedding.links, self._truth["atac"].varm["links"])
        if self._problem.batches:
            scores |= self._batches("", {"rna": z_rna, "atac": z_atac})
        if self._problem.rare_branch is not None:
            scores |= self._rare_branch("", np.concatenate([z_rna, z_atac]), pd.concat([self._rna, self._atac]))
        return scores | self.references

    @cached_property
    def references(self) -> dict[str, float]:
        """What either modality alone gives for the same cells, and what matched cells give of links and expression."""
        scores = self._matched_prediction()
        for mod, coordinates in self._alone.items():
            obs = self._truth[mod].obs
            if "pseudotime" in obs:
                scores[f"tau_{mod}_alone"] = tau_of_order(coordinates, obs["pseudotime"].to_numpy())
            if self._problem.rare_branch is not None:
                scores |= self._rare_branch(f"_{mod}_alone", coordinates, obs)
        if self._problem.batches:
            scores |= self._batches("_alone", self._alone)
        if "links" in self._truth["atac"].varm and len(self._mates[0]):
            expression, accessibility = (
                scale(values.toarray().astype(np.float64))
                for values in (
                    log_normalized(self._truth["rna"].X[self._mates[0]]),
                    self._truth["atac"].X[self._mates[1]] > 0,
                )
            )
            correlation = accessibility.T @ expression / len(expression)
            scores["link_auprc_correlation"] = metrics.link_auprc(correlation, self._truth["atac"].varm["links"])
        return scores

    def _correspondence(self, z_rna: np.ndarray, z_atac: np.ndarray) -> dict[str, float]:
        rows_rna, rows_atac = self._mates
        if len(rows_rna) < N_NEIGHBORS:
            return {"mates": len(rows_rna)}
        mates = z_rna[rows_rna], z_atac[rows_atac]
        return {
            "mates": len(rows_rna),
            "foscttm": metrics.foscttm(*mates),
            "neighborhood_overlap": metrics.neighborhood_overlap(*mates, k=N_NEIGHBORS),
        }

    def _mixing(self, z_rna: np.ndarray, z_atac: np.ndarray) -> dict[str, float]:
        scores = {
            "alignment_score": metrics.alignment_score(z_rna, z_atac),
            "modality_mixing": metrics.modality_mixing(z_rna, z_atac),
        }
        of_rna, of_atac = (obs[self._problem.labels].to_numpy() for obs in (self._rna, self._atac))
        if len(np.unique(of_rna)) > 1:
            transfer = metrics.label_transfer(z_rna, of_rna, z_atac, of_atac)
            scores |= {"transfer_accuracy": transfer.accuracy, "transfer_balanced": transfer.balanced_accuracy}
        lone = ~np.isin(of_rna, of_atac)
        if lone.any():
            neighbors = nearest(np.concatenate([z_rna, z_atac]), z_rna[lone], N_NEIGHBORS + 1)[:, 1:]
            scores["lone_mixing"] = float((neighbors >= len(z_rna)).mean())
        return scores

    def _batches(self, suffix: str, coordinates: dict[str, np.ndarray]) -> dict[str, float]:
        """How well the batches of a modality mix within branches or types, there where it is least."""
        scores = {}
        for mod, z in coordinates.items():
            obs = self._truth[mod].obs
            if obs[BATCH].nunique() > 1:
                labels = obs[self._problem.labels].to_numpy()
                mixing = metrics.batch_mixing(z, obs[BATCH].to_numpy(), labels, k=N_NEIGHBORS)
                scores[f"batch_mixing_{mod}{suffix}"] = mixing
        return scores

    def _order(self, z_rna: np.ndarray, z_atac: np.ndarray) -> dict[str, float]:
        if "pseudotime" not in self._rna:
            return {}
        of_rna, of_atac = (obs["pseudotime"].to_numpy() for obs in (self._rna, self._atac))
        transferred = of_rna[nearest(z_rna, z_atac, N_NEIGHBORS)].mean(axis=1)
        direction = spearmanr(transferred, of_atac).statistic
        joint = np.concatenate([z_rna, z_atac])
        return {
            "tau": tau_of_order(joint, np.concatenate([of_rna, of_atac]), int(np.argmin(of_rna))),
            "pseudotime_transfer": float(direction),
            "reversed": float(direction < 0),
        }

    def _diffusion(self, z_rna: np.ndarray, z_atac: np.ndarray) -> dict[str, float]:
        """Correlation of latent with diffusion distances, both of the training cells."""
        scores = {}
        for mod, z in (("rna", z_rna), ("atac", z_atac)):
            trained = self._targets[mod]
            rows = self._names[mod].get_indexer(trained.obs_names)
            scores[f"diffusion_{mod}"] = metrics.diffusion_distance_correlation(
                z[rows],
                trained.obsm["X_diffusion_coordinates"],
                n_blocks=len(trained.uns["diffusion_coordinates"]["t"]),
            )
        return scores

    @cached_property
    def _targets(self) -> dict[str, AnnData]:
        t = PRESETS["default"].t
        return pp.diffusion_coordinates(self._problem.train, t=t, random_state=0, copy=True).mod

    def _expression(self, predicted: np.ndarray) -> dict[str, float]:
        """Predicted expression of ATAC cells against their measured one, whether or not the method saw that."""
        measured = self._measured
        if measured is None:
            return {}
        # Where a cell's own RNA was trained on, a method can return what it has seen.
        trained = self._problem.truth["rna"].obs.loc[self._problem.train["rna"].obs_names, "cell"]
        unseen = ~self._atac["cell"].isin(trained).to_numpy()
        return {
            **_gene_correlation("", predicted, measured),
            **(_gene_correlation("_unseen", predicted[unseen], measured[unseen]) if unseen.any() else {}),
            "cell_pearson_median": float(np.nanmedian(metrics.cell_correlation(predicted, measured))),
            "expression_nmse": metrics.expression_mse(predicted, measured, normalized=True),
        }

    @cached_property
    def _alone(self) -> dict[str, np.ndarray]:
        """Components of the cells of each modality."""
        components = {"rna": rna_components(), "atac": atac_components()}
        return {mod: one.fit_transform(self._truth[mod].X) for mod, one in components.items()}

    @cached_property
    def _measured(self) -> np.ndarray | None:
        """Log-expression measured in the ATAC cells; none if some have no measurement."""
        all_rna = self._problem.truth["rna"]
        rows = pd.Index(all_rna.obs["cell"]).get_indexer(self._atac["cell"])
        return None if (rows < 0).any() else log_normalized(all_rna.X, library_size(all_rna.X))[rows].toarray()

    def _matched_prediction(self) -> dict[str, float]:
        """Predicted expression if partners were known: ridge regression on ATAC, for cells that it has not seen."""
        measured = self._measured
        if measured is None:
            return {}
        folds = KFold(5, shuffle=True, random_state=0)
        predicted = cross_val_predict(RidgeCV(np.logspace(-2, 4, 13)), self._alone["atac"], measured, cv=folds)
        return _gene_correlation("_matched", predicted, measured)

    def _rare_branch(self, suffix: str, coordinates: np.ndarray, obs: pd.DataFrame) -> dict[str, float]:
        f1 = best_cluster_f1(coordinates, (obs["branch"] == self._problem.rare_branch).to_numpy())
        return {f"rare_f1{suffix}": f1, f"rare_found{suffix}": float(f1 >= FOUND_F1)}


def _gene_correlation(suffix: str, predicted: np.ndarray, measured: np.ndarray) -> dict[str, float]:
    by_gene = metrics.gene_correlation(predicted, measured)
    return {
        f"gene_pearson_median{suffix}": float(np.nanmedian(by_gene)),
        f"gene_pearson_mean{suffix}": float(np.nanmean(by_gene)),
    }


def tau_of_order(coordinates: np.ndarray, pseudotime: np.ndarray, root: int | None = None) -> float:
    """Kendall's tau of diffusion pseudotime from the root, by default the earliest cell, with the true one."""
    adata = _graph(coordinates)
    sc.tl.diffmap(adata)
    adata.uns["iroot"] = int(np.argmin(pseudotime)) if root is None else root
    sc.tl.dpt(adata)
    inferred = adata.obs["dpt_pseudotime"].to_numpy()
    # Cells that no path leads to come last.
    finite = np.isfinite(inferred)
    return metrics.pseudotime_kendall(np.where(finite, inferred, inferred[finite].max() + 1), pseudotime)


def best_cluster_f1(coordinates: np.ndarray, is_member: np.ndarray) -> float:
    """Best F1 of any Leiden cluster, at any of `RESOLUTIONS`, with a group of cells."""
    adata = _graph(coordinates)
    best = 0.0
    for resolution in RESOLUTIONS:
        sc.tl.leiden(adata, resolution=resolution, flavor="igraph", n_iterations=2, directed=False)
        table = pd.crosstab(adata.obs["leiden"], is_member)
        f1 = 2 * table[True] / (table.sum(axis=1) + is_member.sum())
        best = max(best, float(f1.max()))
    return best


def nearest(points: np.ndarray, queries: np.ndarray, k: int) -> np.ndarray:
    return NearestNeighbors(n_neighbors=k).fit(points).kneighbors(queries, return_distance=False)


def _graph(coordinates: np.ndarray) -> AnnData:
    adata = AnnData(np.asarray(coordinates, dtype=np.float32))
    sc.pp.neighbors(adata, n_neighbors=N_NEIGHBORS, use_rep="X", random_state=0)
    return adata

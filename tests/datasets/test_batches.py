"""Batches of simulated cells: their effects, composition and depth."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
import scanpy as sc
from scipy.spatial.distance import cdist
from scipy.stats import ks_2samp

from scdart.datasets import simulate

if TYPE_CHECKING:
    from anndata import AnnData

SMALL = {"n_cells": 120, "n_genes": 150, "n_peaks": 300}


@pytest.mark.parametrize("mod", ["rna", "atac"])
def test_batches_differ_only_with_a_batch_effect(mod: str) -> None:
    options = {"n_cells": 200, "n_genes": 300, "n_peaks": 900, "n_batches_rna": 2, "n_batches_atac": 2}
    without = [_p_value_of_batch(simulate(**options, random_state=seed)[mod]) for seed in range(3)]
    assert np.median(without) > 0.05
    assert _p_value_of_batch(simulate(**options, batch_effect=1.0)[mod]) < 0.01


def _p_value_of_batch(adata: AnnData) -> float:
    """Permutation test of the maximum mean discrepancy between two batches, on principal components."""
    adata = adata.copy()
    sc.pp.normalize_total(adata)
    sc.pp.log1p(adata)
    sc.pp.pca(adata, n_comps=10)
    distance = cdist(adata.obsm["X_pca"], adata.obsm["X_pca"], "sqeuclidean")
    kernel = np.exp(-distance / np.median(distance))
    batch = adata.obs["batch"].cat.codes.to_numpy()
    assert np.bincount(batch).tolist() == [100, 100]

    def discrepancy(labels: np.ndarray) -> float:
        side = np.where(labels == 0, 1.0, -1.0)
        return side @ kernel @ side

    rng = np.random.default_rng(0)
    null = [discrepancy(rng.permutation(batch)) for _ in range(300)]
    return (1 + np.sum(null >= discrepancy(batch))) / 301


@pytest.mark.parametrize(
    ("options", "counts_rna", "counts_atac"),
    [
        ({"paired": True}, (310_331, 1_268_763_091), (12_477, 107_302_227)),
        (
            {"n_batches_rna": 2, "n_batches_atac": 3, "batch_effect": 1.0},
            (393_471, 1_601_451_997),
            (14_594, 135_821_427),
        ),
    ],
)
def test_options_of_batches_leave_other_data_as_they_were(
    options: dict[str, Any], counts_rna: tuple[int, int], counts_atac: tuple[int, int]
) -> None:
    """Sum of the counts, and of counts times row times column, from before batches could differ in composition."""
    mdata = simulate(**SMALL, **options, random_state=3)
    for mod, expected in (("rna", counts_rna), ("atac", counts_atac)):
        counts = mdata[mod].X.astype(np.float64)
        places = np.arange(counts.shape[0]) @ counts @ np.arange(counts.shape[1])
        assert (counts.sum(), places) == expected


def composition(adata: AnnData) -> dict[str, dict[str, int]]:
    table = pd.crosstab(adata.obs["batch"], adata.obs["branch"])
    return {batch: row.to_dict() for batch, row in table.iterrows()}


@pytest.mark.parametrize("paired", [True, False])
def test_composition_by_batch(paired: bool) -> None:
    mdata = simulate(
        **SMALL,
        paired=paired,
        n_batches_rna=2,
        n_batches_atac=2,
        batch_proportions_rna=[[0.8, 0.2], [0.2, 0.8]],
        batch_proportions_atac=[[1, 0], [0, 1]],
    )
    assert composition(mdata["rna"]) == {"rna_0": {"3_1": 48, "3_2": 12}, "rna_1": {"3_1": 12, "3_2": 48}}
    assert composition(mdata["atac"]) == {"atac_0": {"3_1": 60, "3_2": 0}, "atac_1": {"3_1": 0, "3_2": 60}}


def test_composition_of_one_modality_leaves_batches_of_the_other_to_chance() -> None:
    options = SMALL | {"n_cells": 1_200, "paired": True, "n_batches_rna": 2, "n_batches_atac": 2}
    mdata = simulate(**options, batch_proportions_atac=[[0.5, 0.5], [1, 0]])
    assert composition(mdata["atac"]) == {"atac_0": {"3_1": 300, "3_2": 300}, "atac_1": {"3_1": 600, "3_2": 0}}
    rna = pd.DataFrame(composition(mdata["rna"]))
    assert rna.sum(axis=1).to_dict() == {"3_1": 900, "3_2": 300}
    # 300 cells on one branch, each in either batch: four standard deviations of the hypergeometric distribution.
    assert abs(rna.loc["3_2", "rna_0"] - 150) < 31
    assert mdata["rna"].obs["batch"].value_counts().to_list() == [600, 600]


def test_composition_of_discrete_populations_by_batch() -> None:
    tips = {"tree": "((a:1,b:1):1,c:2);", "discrete": True}
    mdata = simulate(**SMALL, **tips, n_batches_rna=2, batch_proportions_rna=[[0.5, 0.5, 0], [0, 0.5, 0.5]])
    assert composition(mdata["rna"]) == {
        "rna_0": {"4_3": 0, "5_1": 30, "5_2": 30},
        "rna_1": {"4_3": 30, "5_1": 0, "5_2": 30},
    }


def test_order_within_a_batch_covers_the_branch() -> None:
    mdata = simulate(**SMALL, n_batches_rna=2, batch_proportions_rna=[[0.5, 0.5], [1, 0]])
    obs = mdata["rna"].obs
    for _, places in obs[obs["branch"] == "3_1"].groupby("batch", observed=True)["pseudotime"]:
        assert ks_2samp(places, np.linspace(0, 1, 1_001)).pvalue > 0.01


def test_depth_by_batch() -> None:
    options = SMALL | {"n_cells": 200, "paired": True, "n_batches_rna": 2, "n_batches_atac": 2, "peak_density": 1.0}
    even = simulate(**options)
    mdata = simulate(**options, batch_depth_rna=[1, 0.25], batch_depth_atac=[1.5, 0.5])
    np.testing.assert_array_equal(even["atac"].obsm["true_expression"], mdata["atac"].obsm["true_expression"])
    assert even["rna"].obs["batch"].equals(mdata["rna"].obs["batch"])
    for mod, factors in (("rna", (1, 0.25)), ("atac", (1.5, 0.5))):
        depth = pd.Series(np.asarray(mdata[mod].X.sum(axis=1)).ravel() / np.asarray(even[mod].X.sum(axis=1)).ravel())
        by_batch = depth.groupby(mdata[mod].obs["batch"].to_numpy()).mean()
        # Not all molecules are seen as they were captured: every open peak that is seen has a count of at least 1.
        np.testing.assert_allclose(by_batch, factors, rtol=0.1)
    captured = mdata["rna"].obs["capture_efficiency"] / even["rna"].obs["capture_efficiency"]
    np.testing.assert_allclose(captured.groupby(mdata["rna"].obs["batch"], observed=True).mean(), (1, 0.25))


def test_shallow_batch_of_atac_loses_most_to_the_cut() -> None:
    mdata = simulate(**SMALL, n_batches_atac=2, batch_depth_atac=[1, 0.5])
    n_open = pd.Series(mdata["atac"].X.getnnz(axis=1), mdata["atac"].obs_names)
    by_batch = n_open.groupby(mdata["atac"].obs["batch"], observed=True).mean()
    assert by_batch["atac_1"] < 0.7 * by_batch["atac_0"]
    assert mdata["atac"].X.nnz == pytest.approx(0.1 * 120 * 300, rel=0.01)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_proportions_rna": [[0.5, 0.5]] * 2}, "batch_proportions_rna has 2 entries for n_batches_rna=1"),
        ({"batch_proportions_atac": [[0.5, 0.6]]}, r"batch_proportions_atac\[0\]=.* sum to 1"),
        ({"batch_proportions_rna": [[1.0]]}, r"batch_proportions_rna\[0\] has 1 values; give one share"),
        (
            {"batch_proportions_rna": [[0.5, 0.5]], "batch_proportions_atac": [[0.8, 0.2]], "paired": True},
            r"paired=True needs .* they ask for \{'3_1': 60, '3_2': 60\} and \{'3_1': 96, '3_2': 24\}: change",
        ),
        (
            {"batch_proportions_rna": [[0.5, 0.5]], "proportions_rna": [0.5, 0.5]},
            "proportions_rna and batch.* both",
        ),
        ({"batch_proportions_atac": [[0.5, 0.5]], "rare_branch": {"3_2": 0.1}}, "rare_branch and batch_prop.* both"),
        ({"batch_depth_rna": [1, 1]}, "batch_depth_rna has 2 entries for n_batches_rna=1: give one for each batch"),
        ({"batch_depth_atac": [0]}, "a factor of batch_depth_atac=0 must be more than 0"),
        ({"batch_depth_atac": [4]}, "batch_depth_atac has a factor of 4, .* peak_capture at 0.3, .* at most 3.33"),
        ({"batch_depth_rna": [6]}, "the mean of capture_efficiency at 0.2, factors must be at most 5"),
    ],
)
def test_contradictions(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        simulate(**SMALL | options)

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import mudata
import numpy as np
import pandas as pd
import pytest
import scanpy as sc
import scvi
from anndata import AnnData
from scipy.sparse import csr_matrix, issparse
from scipy.spatial.distance import cdist
from scipy.stats import kendalltau, ks_2samp, rankdata, spearmanr

import scdart
from scdart._mudata import columns_stay
from scdart.datasets import simulate

if TYPE_CHECKING:
    from pathlib import Path

    from mudata import MuData

SMALL = {"n_cells": 120, "n_genes": 150, "n_peaks": 300}


@pytest.fixture(scope="module")
def default() -> MuData:
    """The default features, in fewer cells."""
    return simulate(n_cells=300, paired=True)


def equal(a: Any, b: Any) -> bool:
    if issparse(a):
        return a.shape == b.shape and a.dtype == b.dtype and (a != b).nnz == 0
    return np.array_equal(a, b, equal_nan=a.dtype.kind == "f")


def contents(mdata: MuData) -> dict[str, Any]:
    """All arrays of the two modalities, by slot."""
    found: dict[str, Any] = {}
    for mod, adata in mdata.mod.items():
        found[f"{mod}.X"] = adata.X
        for slot in ("layers", "obsm", "varm"):
            found |= {f"{mod}.{slot}.{key}": value for key, value in getattr(adata, slot).items()}
        for slot in ("obs", "var"):
            table = getattr(adata, slot)
            found[f"{mod}.{slot}.index"] = table.index.to_numpy()
            found |= {f"{mod}.{slot}.{key}": table[key].to_numpy() for key in table}
    return found


# -- shape of the result ---------------------------------------------------------------------------------------------


def test_raw_counts_are_sparse_whole_numbers(default: MuData) -> None:
    for mod, n_features in (("rna", 1_000), ("atac", 3_000)):
        counts = default[mod].X
        assert isinstance(counts, csr_matrix)
        assert counts.dtype == np.float32
        assert counts.shape == (300, n_features)
        assert (counts.data > 0).all()
        assert (counts.data == np.rint(counts.data)).all()


def test_unpaired_cells_are_disjoint() -> None:
    mdata = simulate(**SMALL | {"n_cells": (120, 70)})
    assert (mdata["rna"].n_obs, mdata["atac"].n_obs, mdata.n_obs) == (120, 70, 190)
    assert mdata.obs_names.is_unique
    ids = np.concatenate([mdata[mod].obs["pair_id"] for mod in ("rna", "atac")])
    assert np.unique(ids).size == 190


def test_paired_cells_are_the_same() -> None:
    mdata = simulate(**SMALL, paired=True)
    rna, atac = mdata["rna"], mdata["atac"]
    assert mdata.n_obs == 120
    for key in ("pair_id", "branch", "pseudotime"):
        pd.testing.assert_series_equal(rna.obs[key], atac.obs[key])
    np.testing.assert_array_equal(rna.obsm["tree_factors"], atac.obsm["tree_factors"])
    np.testing.assert_array_equal(rna.layers["true_expression"], atac.obsm["true_expression"])


@pytest.mark.parametrize(
    "options",
    [
        {"link_kind": "genomic", "n_batches_rna": 2, "batch_effect": 1.0},
        {"discrete": True, "paired": True, "negative_links": 0.5},
        {"n_de": 0, "tree": "((a:1,b:1):1,c:2);", "link_kind": "random"},
    ],
)
def test_h5mu_round_trip(tmp_path: Path, options: dict[str, Any]) -> None:
    written = simulate(**SMALL, **options)
    written.write(tmp_path / "simulated.h5mu")
    with columns_stay():
        read = mudata.read_h5mu(tmp_path / "simulated.h5mu")
    before, after = contents(written), contents(read)
    assert before.keys() == after.keys()
    assert all(equal(before[slot], after[slot]) for slot in before)
    assert dict(read.uns["simulation"]) == written.uns["simulation"]
    assert list(read["atac"].uns["gene_activity"]["genes"]) == list(written["rna"].var_names)


def test_seed_decides_everything() -> None:
    first, again, other = (contents(simulate(**SMALL, random_state=seed)) for seed in (3, 3, 4))
    assert all(equal(first[slot], again[slot]) for slot in first)
    assert not equal(first["rna.X"], other["rna.X"])
    assert not equal(first["rna.obsm.tree_factors"], other["rna.obsm.tree_factors"])


def test_seed_of_scvi() -> None:
    scvi.settings.seed = 5
    mdata = simulate(**SMALL, random_state=None)
    assert mdata.uns["simulation"]["random_state"] == 5
    assert equal(mdata["atac"].X, simulate(**SMALL, random_state=5)["atac"].X)


def test_other_noise_leaves_the_truth() -> None:
    deep, shallow = simulate(**SMALL), simulate(**SMALL, capture_efficiency=(0.05, 0.0), peak_density=0.02)
    assert deep["rna"].X.sum() > 3 * shallow["rna"].X.sum()
    np.testing.assert_array_equal(deep["atac"].obsm["true_expression"], shallow["atac"].obsm["true_expression"])


def test_other_cells_leave_the_tree() -> None:
    few, many = (simulate("bifurcating", **SMALL | {"n_cells": n}) for n in (120, 1_200))
    # Paths of the same tree differ by what the factors wander between cells that are 0.01 apart: a tenth.
    for branch in ("3_1", "3_2"):
        at, factors = (
            [m["rna"].obs["pseudotime"].to_numpy()[m["rna"].obs["branch"] == branch] for m in (few, many)],
            [m["rna"].obsm["tree_factors"][m["rna"].obs["branch"] == branch] for m in (few, many)],
        )
        nearest = cdist(at[0][:, None], at[1][:, None]).argmin(axis=1)
        assert np.abs(factors[0] - factors[1][nearest]).max() < 0.15


# -- likeness to the original simulator ------------------------------------------------------------------------------


def test_depth_and_density(default: MuData) -> None:
    library = default["rna"].X.sum(axis=1)
    # The published bifurcating data have 13,250 counts, of which 74% are not zero.
    assert library.mean() == pytest.approx(13_250, rel=0.2)
    assert default["rna"].X.nnz / default["rna"].X.shape[0] / 1_000 == pytest.approx(0.74, abs=0.02)
    assert default["atac"].X.nnz / 300 / 3_000 == pytest.approx(0.10, abs=0.005)


@pytest.mark.parametrize("tree", ["bifurcating", "linear"])
def test_likeness_to_the_original(data_dir: Path, tree: str) -> None:
    with columns_stay():
        original = mudata.read_h5mu(data_dir / f"symsim2_{tree}.h5mu")
    original = original[:: original.n_obs // 500]
    ours = simulate(tree, n_cells=original.n_obs, paired=True, random_state=1)
    rna, atac = ({"original": original[mod].X, "ours": ours[mod].X} for mod in ("rna", "atac"))
    mean_library = {name: counts.sum(axis=1).mean() for name, counts in rna.items()}
    assert mean_library["ours"] == pytest.approx(mean_library["original"], rel=0.1)
    of_features = {
        "gene means": {name: np.asarray(counts.mean(axis=0)).ravel() for name, counts in rna.items()},
        "gene zeros": {name: counts.getnnz(axis=0) for name, counts in rna.items()},
        "peak rates": {name: counts.getnnz(axis=0) for name, counts in atac.items()},
    }
    for name, values in of_features.items():
        assert ks_2samp(values["original"], values["ours"]).statistic < 0.08, name
    nonzero_quantiles = {name: np.quantile(x.data, [0.25, 0.5, 0.75, 0.95]) for name, x in atac.items()}
    np.testing.assert_allclose(nonzero_quantiles["ours"], nonzero_quantiles["original"], atol=0.5)


# -- the truth is in the data ----------------------------------------------------------------------------------------


def test_true_expression_is_the_mean_of_counts(default: MuData) -> None:
    rna = default["rna"]
    expected = rna.layers["true_expression"] * rna.obs["capture_efficiency"].to_numpy()[:, None]
    assert rna.X.sum() == pytest.approx(expected.sum(), rel=0.01)
    np.testing.assert_allclose(np.asarray(rna.X.mean(axis=0)).ravel(), expected.mean(axis=0), rtol=0.4, atol=0.3)


def test_linked_peaks_correlate_with_their_gene(default: MuData) -> None:
    assert _mean_spearman(default, linked=True) > _mean_spearman(default, linked=False) + 0.08
    negative = simulate(n_cells=300, paired=True, negative_links=1.0)
    assert _mean_spearman(negative, linked=True) < _mean_spearman(negative, linked=False) - 0.08


def _mean_spearman(mdata: MuData, *, linked: bool) -> float:
    """Mean over pairs of a peak and a gene that both vary: linked pairs, or the same peaks with other genes."""
    links = mdata["atac"].varm["links"].tocoo()
    peak, gene = links.row, links.col if linked else np.random.default_rng(0).permutation(links.col)
    varies = np.isin(peak, np.flatnonzero(mdata["atac"].X.getnnz(axis=0) > 30))
    atac, rna = (
        rankdata(mdata[mod].X[:, columns[varies]].toarray(), axis=0) for mod, columns in (("atac", peak), ("rna", gene))
    )
    atac, rna = ((ranks - ranks.mean(axis=0)) / ranks.std(axis=0).clip(1e-9) for ranks in (atac, rna))
    return (atac * rna).mean(axis=0).mean()


def test_order_is_recovered_without_noise() -> None:
    mdata = simulate("linear", n_cells=400, paired=True, peak_capture=1.0, peak_density=1.0)
    expression = AnnData(np.log1p(mdata["rna"].layers["true_expression"]), obs=mdata["rna"].obs)
    assert _tau(expression) > 0.9
    is_open = AnnData((mdata["atac"].X > 0).astype(np.float32), obs=mdata["atac"].obs)
    assert _tau(is_open) > 0.9


def _tau(adata: AnnData) -> float:
    sc.pp.pca(adata, n_comps=20)
    sc.pp.neighbors(adata, n_neighbors=30, method="gauss")  # spares the compilation of the default
    sc.tl.diffmap(adata)
    adata.uns["iroot"] = int(np.argmin(adata.obs["pseudotime"]))
    sc.tl.dpt(adata)
    return kendalltau(adata.obs["dpt_pseudotime"], adata.obs["pseudotime"]).statistic


def test_features_that_are_not_dynamic_ignore_pseudotime() -> None:
    mdata = simulate("linear", n_cells=(400, 2), n_genes=400, n_peaks=1_200, static_genes=0.5)
    rna = mdata["rna"]
    dynamic = rna.var["dynamic"].to_numpy()
    assert 190 <= (~dynamic).sum() <= 220
    true = rna.layers["true_expression"]
    varies = true.std(axis=0) > 1e-4 * true.mean(axis=0)
    rho = np.abs(spearmanr(true[:, varies], rna.obs["pseudotime"]).statistic[-1, :-1])
    # What independence gives; wide, because the genes share a few factors.
    assert rho[~dynamic[varies]].mean() == pytest.approx(np.sqrt(2 / np.pi / 400), rel=0.5)
    assert rho[dynamic[varies]].mean() > 0.2


def test_without_tree_factors_nothing_depends_on_the_tree() -> None:
    mdata = simulate("linear", **SMALL, n_de=0)
    assert mdata["rna"].obsm["tree_factors"].shape == (120, 0)
    assert not mdata["rna"].var["dynamic"].any()
    assert not mdata["atac"].var["dynamic"].any()


# -- composition -----------------------------------------------------------------------------------------------------


def test_proportions_differ_between_modalities() -> None:
    mdata = simulate("trifurcating", **SMALL, proportions_rna=[0.5, 0.4, 0.1], proportions_atac=[0.25, 0, 0.75])
    assert mdata["rna"].obs["branch"].value_counts().to_dict() == {"4_1": 60, "4_2": 48, "4_3": 12}
    assert mdata["atac"].obs["branch"].value_counts().to_dict() == {"4_3": 90, "4_1": 30}


def test_rare_branch_has_the_size_asked_for() -> None:
    mdata = simulate("trifurcating", **SMALL | {"n_cells": 500}, rare_branch={"4_3": 0.02})
    for adata in mdata.mod.values():
        assert adata.obs["branch"].value_counts().to_dict() == {"4_2": 294, "4_1": 196, "4_3": 10}
        assert adata.obs.loc[adata.obs["branch"] == "4_3", "pseudotime"].max() > 0.4


def test_discrete_populations() -> None:
    mdata = simulate("((a:1,b:1):1,c:2);", **SMALL | {"n_cells": 200}, discrete=True, sigma=0.1)
    rna = mdata["rna"]
    assert rna.obs["branch"].value_counts().to_dict() == {"4_3": 100, "5_1": 50, "5_2": 50}
    assert rna.obs["pseudotime"].isna().all()
    within = pd.DataFrame(rna.obsm["tree_factors"], index=rna.obs_names).groupby(rna.obs["branch"].to_numpy()).std()
    np.testing.assert_allclose(within, 0.1, atol=0.04)


# -- the prior -------------------------------------------------------------------------------------------------------


def test_prior_of_a_simulated_genome_is_that_of_gene_activity() -> None:
    mdata = simulate(**SMALL, link_kind="genomic")
    genes, peaks = mdata["rna"].var, mdata["atac"].var
    start = genes["start"].to_numpy() - np.where(genes["strand"] == "+", 2_000, 0)
    end = genes["end"].to_numpy() + np.where(genes["strand"] == "-", 2_000, 0)
    overlaps = (
        (peaks["chrom"].to_numpy()[:, None] == genes["chrom"].to_numpy())
        & (peaks["start"].to_numpy()[:, None] < end)
        & (peaks["end"].to_numpy()[:, None] > start)
    )
    prior = mdata["atac"].varm["gene_activity"]
    np.testing.assert_array_equal(prior.toarray(), overlaps)
    links = mdata["atac"].varm["links"] != 0
    shared = prior.multiply(links).nnz
    assert 0.2 < shared / prior.nnz < 0.8
    assert 0.2 < shared / links.nnz < 0.8


def test_gene_activity_can_be_computed_again() -> None:
    mdata = simulate(**SMALL, link_kind="genomic")
    genes = mdata["rna"].var.assign(gene_name=mdata["rna"].var_names)
    scdart.pp.gene_activity(mdata, genes, upstream=10_000, key_added="wider")
    narrow, wide = mdata["atac"].varm["gene_activity"], mdata["atac"].varm["wider"]
    assert wide.nnz > narrow.nnz
    assert wide.multiply(narrow).nnz == narrow.nnz


# -- contradictions --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tree": "star"}, "tree='star' is neither one of"),
        ({"n_cells": 0}, r"n_cells \(RNA\)=0 must be a whole number of at least 2"),
        ({"n_cells": (10, 20, 30)}, "one number or a pair"),
        ({"n_cells": (10, 20), "paired": True}, "paired=True needs one number of cells"),
        ({"n_genes": 0}, "n_genes=0 must be a whole number"),
        ({"n_peaks": 10.5}, "n_peaks=10.5 must be a whole number"),
        ({"n_de": 13}, "n_de=13 factors follow the tree, but there are only n_evf=12"),
        ({"n_de": -1}, "n_de=-1 must be"),
        ({"sigma": -0.1}, "sigma=-0.1 must be a number of at least 0"),
        ({"sigma": np.nan}, "sigma=nan must be"),
        ({"proportions_rna": [0.5, 0.25, 0.25]}, r"proportions_rna has 3 values; give one share .* \['3_1', '3_2'\]"),
        ({"proportions_atac": [0.5, 0.6]}, "proportions_atac=.* sum to 1"),
        ({"proportions_rna": [1.5, -0.5]}, "proportions_rna=.* sum to 1"),
        ({"proportions_rna": [0.5, 0.5], "paired": True}, "paired=True needs proportions_rna and proportions_atac"),
        ({"proportions_rna": [0.5, 0.5], "rare_branch": {"3_2": 0.1}}, "both set the share of a branch"),
        ({"tree": "linear", "rare_branch": {"2_1": 0.1}}, "leaves no other branch"),
        ({"rare_branch": {"3_3": 0.1}}, r"rare_branch names \['3_3'\], but cells lie on .*'3_1', '3_2'"),
        ({"rare_branch": {"3_2": 1.0}}, "sum to less than 1"),
        ({"rare_branch": {"3_2": -0.1}}, "shares of at least 0"),
        ({"links_per_gene": (0.5, 0.6)}, "links_per_gene=.* sum to 1"),
        ({"links_per_gene": (1.0,)}, "leaves every gene without a peak"),
        ({"links_per_gene": (0, 0, 0, 1), "n_peaks": 2}, "asks for 3 peaks a gene, but n_peaks=2"),
        ({"link_kind": "distal"}, "link_kind='distal' is not one of"),
        ({"link_nonlinearity": "linear"}, "link_nonlinearity='linear' is not one of"),
        ({"link_kind": "genomic", "prior_recall": 0.5}, "cannot be chosen with link_kind='genomic'"),
        ({"prior_precision": 0.0}, "prior_precision=0.0 must be a number of more than 0"),
        ({"negative_links": 1.5}, "negative_links=1.5 must be a number of at least 0 and at most 1"),
        ({"atac_effect": 2}, "atac_effect=2 must be"),
        ({"static_genes": -1}, "static_genes=-1 must be"),
        ({"capture_efficiency": (0.0, 0.05)}, "mean of capture_efficiency=0.0 must be more than 0"),
        ({"peak_density": 1.1}, "peak_density=1.1 must be"),
        ({"sequencing_depth": 0}, "sequencing_depth=0 must be a number of more than 0"),
        ({"prior_precision": 1e-3}, "prior_precision=0.001 needs .* false links, more than there are"),
        ({"batch_effect": 1.0}, "batch_effect=1.0 needs several batches"),
        ({"n_batches_rna": 0}, "n_batches_rna=0 must be"),
        ({"n_batches_atac": 200}, "n_batches_atac=200 exceeds its 120 cells"),
    ],
)
def test_contradictions(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        simulate(**SMALL | options)

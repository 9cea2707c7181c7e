"""Tests of dynamic features: calibration, power, and what becomes of features that cannot be tested."""

from __future__ import annotations

import anndata as ad
import mudata
import numpy as np
import pandas as pd
import pytest
from mudata import MuData
from scipy import sparse
from scipy.stats import chi2, false_discovery_control, kstest
from statsmodels.stats.multitest import multipletests

from scdart.datasets import simulate
from scdart.tl import dynamic_curves, dynamic_features, dynamic_values

FAMILIES = ["gaussian", "poisson", "nb", "binomial"]


def draw(family: str, log_rate: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Values around rates, (n_cells, n_features)."""
    if family == "gaussian":
        return log_rate + rng.normal(0, 1, log_rate.shape)
    if family == "poisson":
        return rng.poisson(np.exp(log_rate))
    if family == "nb":
        return rng.negative_binomial(2, 2 / (2 + np.exp(log_rate)))
    return (rng.poisson(np.exp(log_rate)) > 0).astype(int)


def make(family: str, curves: np.ndarray, time: np.ndarray, *, seed: int = 0, shift: float = 0) -> MuData:
    """One modality whose features follow log-scale curves, (n_cells, n_features), in cells of different depth."""
    rng = np.random.default_rng(seed)
    n_cells, n_features = curves.shape
    level = rng.uniform(np.log(0.05), np.log(5), n_features) + shift
    depth = 0 if family == "gaussian" else rng.normal(0, 0.4, (n_cells, 1))
    values = draw(family, level + depth + curves, rng).astype(np.float32)
    adata = ad.AnnData(values if family == "gaussian" else sparse.csr_matrix(values))
    adata.obs_names = [f"cell{i}" for i in range(n_cells)]
    adata.var_names = [f"gene{i}" for i in range(n_features)]
    adata.obs["dpt_pseudotime"] = time
    return MuData({"rna": adata})


def result(mdata: MuData, **options) -> pd.DataFrame:
    dynamic_features(mdata, **options)
    return mdata["rna"].uns["branch_features" if "between" in options else "dynamic_features"]


def waves(time: np.ndarray, n_dynamic: int, n_static: int, amplitude: float) -> np.ndarray:
    """Bumps at random places of random sign; then features without any."""
    center = np.random.default_rng(7).uniform(0, 1, n_dynamic)
    sign = np.where(np.arange(n_dynamic) % 2, 1, -1)
    bumps = amplitude * sign * np.exp(-(((time[:, None] - center) / 0.3) ** 2))
    return np.column_stack([bumps, np.zeros((len(time), n_static))])


@pytest.fixture
def time() -> np.ndarray:
    return np.random.default_rng(1).beta(1, 2, 500)


@pytest.fixture
def mdata(time) -> MuData:
    return make("nb", waves(time, 20, 20, 1.5), time)


@pytest.fixture
def branched(mdata) -> MuData:
    """A stem until pseudotime 0.3, then branch A or B."""
    time = mdata["rna"].obs["dpt_pseudotime"]
    is_b = np.arange(len(time)) % 2 == 1
    order = pd.DataFrame({"A": time.where((time < 0.3) | ~is_b), "B": time.where((time < 0.3) | is_b)})
    mdata["rna"].obsm["backbone_order"] = order
    mdata["rna"].obs["branch"] = np.where(time < 0.3, "stem", np.where(is_b, "B", "A"))
    return mdata


@pytest.mark.parametrize("family", FAMILIES)
def test_p_values_are_uniform_where_nothing_depends_on_pseudotime(family, time):
    mdata = make(family, np.zeros((500, 1_000)), time, seed=2)
    table = result(mdata, family=family)
    p_values = table.loc[table["status"] == "tested", "p_value"]
    assert len(p_values) > 950
    assert kstest(p_values, "uniform").pvalue > 0.01
    assert 0.03 < (p_values < 0.05).mean() < 0.07
    assert (table["p_adjusted"] < 0.05).sum() == 0


@pytest.mark.parametrize(("family", "amplitude"), [("gaussian", 0.6), ("poisson", 1.0), ("nb", 1.5), ("binomial", 1.5)])
def test_planted_features_are_found_at_the_promised_fdr(family, amplitude, time):
    mdata = make(family, waves(time, 150, 450, amplitude), time, seed=3)
    table = result(mdata, family=family)
    found = (table["p_adjusted"] < 0.05).to_numpy()
    power, fdr = found[:150].mean(), found[150:].sum() / found.sum()
    assert fdr <= 0.1
    assert power > 0.7


@pytest.mark.parametrize("family", FAMILIES)
def test_branches_with_the_same_curve_do_not_differ(family, time):
    mdata = make(family, waves(time, 600, 0, 0.8), time, seed=4)
    is_b = np.arange(500) % 2 == 1
    order = pd.DataFrame({"A": np.where(is_b, np.nan, time), "B": np.where(is_b, time, np.nan)})
    mdata["rna"].obsm["backbone_order"] = order.set_index(mdata["rna"].obs_names)
    table = result(mdata, family=family, between=("A", "B"))
    p_values = table.loc[table["status"] == "tested", "p_value"]
    assert (table["df"] == 5).all()
    assert kstest(p_values, "uniform").pvalue > 0.01
    assert 0.03 < (p_values < 0.05).mean() < 0.07


def test_features_of_one_branch_are_found_with_their_sign(branched):
    adata = branched["rna"]
    counts, in_b = adata.X.toarray(), (adata.obs["branch"] == "B").to_numpy()
    rng = np.random.default_rng(5)
    counts[:, 30] = rng.poisson(np.where(in_b, 6, 2))
    counts[:, 31] = rng.poisson(np.where(in_b, 2, 6))
    adata.X = sparse.csr_matrix(counts)
    table = result(branched, between=("A", "B"), size_factors=None)
    assert set(table.index[table["p_adjusted"] < 1e-3]) == {"gene30", "gene31"}
    assert 1 < table.loc["gene30", "effect"] < 4.5
    assert -4.5 < table.loc["gene31", "effect"] < -1
    assert (table["trajectory"] == "A vs B").all()
    assert table["peak"].min() >= 0.3
    curves = dynamic_curves(branched, "gene30", key="branch_features", n_points=20)
    assert curves["trajectory"].tolist() == ["A"] * 20 + ["B"] * 20
    mean = curves.groupby("trajectory")[["fit", "null"]].mean()
    np.testing.assert_allclose(mean["fit"], [2, 6], atol=0.6)
    assert (mean["null"].between(3, 5)).all()
    assert set(dynamic_values(branched, "gene30", key="branch_features")["cell"]) == set(
        adata.obs_names[adata.obs["branch"] != "stem"]
    )


def test_columns_say_what_they_say(time):
    curve = np.column_stack([np.log(4) * time, np.zeros_like(time)])
    mdata = make("poisson", curve, time, shift=3)
    table = result(mdata, family="poisson", size_factors=None)
    assert table.index.name == "feature"
    assert list(table) == [
        "trajectory",
        "statistic",
        "df",
        "p_value",
        "p_adjusted",
        "effect",
        "deviance_explained",
        "peak",
        "dispersion",
        "n_cells",
        "status",
    ]
    np.testing.assert_allclose(table["p_value"], chi2.sf(table["statistic"], 4))
    np.testing.assert_allclose(table["p_adjusted"], multipletests(table["p_value"], method="fdr_bh")[1])
    np.testing.assert_allclose(table.loc["gene0", "effect"], 2 * np.ptp(time), atol=0.3)
    assert table.loc["gene0", "peak"] > 0.9
    assert table.loc["gene0", "deviance_explained"] > 5 * abs(table.loc["gene1", "deviance_explained"])
    assert table["n_cells"].tolist() == (mdata["rna"].X.toarray() > 0).sum(axis=0).tolist()


def test_features_that_cannot_be_tested_have_a_row_and_do_not_count(mdata):
    adata = mdata["rna"]
    adata.layers["spoilt"] = values = adata.X.toarray()
    values[:, 0], values[:, 1], values[3, 2] = 0, 2, np.nan
    values[:, 4] = 0
    values[:9, 4] = 1
    table = result(mdata, layer="spoilt", family="nb")
    assert table.index.tolist() == adata.var_names.tolist()
    assert table["status"].iloc[:5].tolist() == ["all zero", "constant", "not finite", "tested", "too few cells"]
    untested = table["status"] != "tested"
    assert table.loc[untested, ["p_value", "p_adjusted", "statistic", "effect"]].isna().all(axis=None)
    tested = table[~untested]
    np.testing.assert_allclose(tested["p_adjusted"], false_discovery_control(tested["p_value"]))
    assert result(mdata, layer="spoilt", family="nb", min_cells=9).loc["gene4", "status"] == "tested"
    values[:, 5] = 1
    values[:9, 5] = 0
    assert result(mdata, layer="spoilt", family="binomial").loc["gene5", "status"] == "too few cells"
    with pytest.raises(ValueError, match="'gene1' has no curve.*constant"):
        dynamic_curves(mdata, "gene1")


def test_family_is_chosen_by_the_values(mdata):
    adata = mdata["rna"]
    adata.layers["log"] = np.log1p(adata.X)
    adata.layers["binary"] = (adata.X > 0).astype(np.int8)
    for layer, family in ((None, "nb"), ("log", "gaussian"), ("binary", "binomial")):
        chosen = result(mdata, layer=layer)
        assert mdata["rna"].uns["dynamic_features_params"]["family"] == family
        pd.testing.assert_frame_equal(chosen, result(mdata, layer=layer, family=family))
    pd.testing.assert_series_equal(
        result(mdata, family="binomial", size_factors=None)["p_value"],
        result(mdata, layer="binary", size_factors=None)["p_value"],
    )


def test_sparse_and_dense_and_blocks_of_features_are_the_same(mdata, monkeypatch):
    expected = result(mdata)
    monkeypatch.setattr("scdart.tl._dynamics._feature_table._BLOCK_ENTRIES", 1_700)
    pd.testing.assert_frame_equal(result(mdata), expected, rtol=1e-5)
    mdata["rna"].X = mdata["rna"].X.tocsc()
    pd.testing.assert_frame_equal(result(mdata), expected, rtol=1e-5)
    mdata["rna"].X = mdata["rna"].X.toarray()
    pd.testing.assert_frame_equal(result(mdata), expected, rtol=1e-5)


def test_scores_in_obsm_and_in_a_modality_of_their_own(mdata):
    scores = np.random.default_rng(6).normal(size=(500, 3)) + np.outer(mdata["rna"].obs["dpt_pseudotime"], [3, 0, -3])
    mdata["rna"].obsm["motifs"] = scores
    table = result(mdata, obsm="motifs")
    assert table.index.tolist() == ["motifs_0", "motifs_1", "motifs_2"]
    assert (table["p_adjusted"] < 0.01).tolist() == [True, False, True]
    names = ["GATA1", "SOX2", "RUNX1"]
    mdata["rna"].obsm["motifs"] = pd.DataFrame(scores, index=mdata["rna"].obs_names, columns=names)
    pd.testing.assert_frame_equal(result(mdata, obsm="motifs"), table.set_axis(pd.Index(names, name="feature")))
    deviations = ad.AnnData(scores[::-1][:400], obs=pd.DataFrame(index=mdata["rna"].obs_names[::-1][:400]))
    deviations.var_names = names
    both = MuData({"rna": mdata["rna"], "chromvar": deviations})
    dynamic_features(both, mod="chromvar")
    own = both["chromvar"].uns["dynamic_features"]
    assert (own["p_adjusted"] < 0.01).tolist() == [True, False, True]
    np.testing.assert_allclose(own["peak"].iloc[0], table["peak"].iloc[0], atol=0.2)


def test_some_features_are_tested_as_among_all(mdata):
    everything = result(mdata)
    some = result(mdata, features=["gene7", "gene3"])
    columns = ["statistic", "p_value", "effect", "dispersion", "status"]
    pd.testing.assert_frame_equal(some[columns], everything.loc[["gene7", "gene3"], columns], rtol=1e-5)


def test_trajectories_are_tested_on_their_own_cells(branched):
    both = result(branched, trajectory=["A", "B"])
    assert both["trajectory"].value_counts().to_dict() == {"A": 40, "B": 40}
    only = result(branched, trajectory="B")
    pd.testing.assert_frame_equal(both[both["trajectory"] == "B"], only)
    on_b = branched["rna"].obsm["backbone_order"]["B"].notna().to_numpy()
    assert only["n_cells"].tolist() == (branched["rna"].X.toarray()[on_b] > 0).sum(axis=0).tolist()
    curves = dynamic_curves(branched, ["gene3", "gene1"], n_points=11)
    assert curves["feature"].tolist() == ["gene3"] * 11 + ["gene1"] * 11
    branched["rna"].obs["dpt_pseudotime"] = branched["rna"].obsm["backbone_order"]["B"]
    renamed = result(branched).assign(trajectory="B")
    pd.testing.assert_frame_equal(renamed, only)


def test_a_batch_is_no_dynamics(time):
    batch = np.where(np.random.default_rng(8).random(500) < time, "b", "a")
    mdata = make("poisson", 0.8 * (batch == "b")[:, None] * np.where(np.arange(300) % 2, 1, -1), time)
    mdata["rna"].obs["batch"] = batch
    assert (result(mdata, family="poisson")["p_value"] < 0.05).mean() > 0.2
    table = result(mdata, family="poisson", covariates=["batch"])
    assert (table["df"] == 4).all()
    assert 0.02 < (table["p_value"] < 0.05).mean() < 0.08


@pytest.mark.parametrize("family", ["nb", "binomial"])
def test_batches_confounded_with_pseudotime_are_no_dynamics(time, family):
    # Nine in ten late cells are of the second donor, and features differ threefold between donors, either way.
    donor = (np.random.default_rng(8).random(500) < np.where(time > 0.4, 0.9, 0.1)).astype(int)
    effect = np.random.default_rng(9).normal(0, 1.1, 300)
    mdata = make(family, waves(time, 100, 200, 2.5) + effect * donor[:, None], time)
    mdata["rna"].obs["donor"] = donor + 7  # numbers that are names
    naive, aware = result(mdata), result(mdata, batch_key="donor")
    static = np.arange(300) >= 100
    false, true = ((table["p_value"] < 0.05).to_numpy() for table in (naive, aware))
    assert false[static].mean() > 0.5
    assert true[static].mean() < 0.08
    found = (aware["p_adjusted"] < 0.05).to_numpy()
    assert found[~static].mean() > 0.6
    assert found[static].sum() / found.sum() < 0.1


def test_batch_is_a_category_whatever_its_type(mdata):
    obs, codes = mdata["rna"].obs, np.random.default_rng(3).integers(3, size=500)
    obs["name"] = pd.Categorical(np.array(["a", "b", "c"])[codes], categories=["a", "b", "c", "absent"])
    obs["number"], obs["one"] = codes, "all"
    by_name = result(mdata, batch_key="name")
    pd.testing.assert_frame_equal(result(mdata, batch_key="number"), by_name)
    pd.testing.assert_frame_equal(result(mdata, covariates=["name"]), by_name)
    pd.testing.assert_frame_equal(result(mdata, batch_key="name", covariates=["name"]), by_name)
    pd.testing.assert_frame_equal(result(mdata, batch_key="one"), result(mdata))


def test_a_batch_without_cells_on_a_trajectory_costs_nothing_there(branched):
    obs, order = branched["rna"].obs, branched["rna"].obsm["backbone_order"]
    on_a = order["A"].notna().to_numpy()
    obs["donor"] = np.where(on_a, np.where(np.arange(500) % 3, "x", "y"), "z")
    several = result(branched, trajectory=["A", "B"], batch_key="donor")
    assert (several["status"] == "tested").all()
    obs["donor"] = obs["donor"].replace("z", "x")
    only = result(branched, trajectory="A", batch_key="donor")
    pd.testing.assert_frame_equal(several[several["trajectory"] == "A"], only)


def test_sizes_of_cells_are_accounted_for(time):
    depth = np.exp(2 * time)
    rng = np.random.default_rng(9)
    counts = rng.poisson(depth[:, None] * rng.uniform(0.2, 2, 300))
    mdata = make("poisson", np.zeros((500, 300)), time)
    mdata["rna"].X = sparse.csr_matrix(counts.astype(np.float32))
    mdata["rna"].obs["depth"] = depth
    assert (result(mdata, family="poisson", size_factors=None)["p_value"] < 0.05).mean() > 0.9
    for size_factors in ("auto", "total", "depth"):
        for family in ("poisson", "binomial"):
            table = result(mdata, family=family, size_factors=size_factors)
            assert 0.02 < (table["p_value"] < 0.05).mean() < 0.08


def test_a_few_abundant_features_do_not_move_all_others(time):
    curves = waves(time, 20, 280, 0)
    curves[:, :20] = 1.5 * time[:, None] + 3
    mdata = make("nb", curves, time, seed=11)
    table, total = result(mdata), result(mdata, size_factors="total")
    assert (table["p_adjusted"].iloc[:20] < 0.05).all()
    assert (total["p_value"].iloc[20:] < 0.05).mean() > 0.2
    assert 0.02 < (table["p_value"].iloc[20:] < 0.05).mean() < 0.08
    np.testing.assert_allclose(table["effect"].iloc[:20].mean(), 1.5 / np.log(2), atol=0.3)


def test_simulated_genes_that_follow_the_tree_are_found_at_the_promised_fdr():
    mdata = simulate("bifurcating", n_cells=500, n_genes=300, n_peaks=600, static_genes=0.5, random_state=1)
    for mod, family in (("rna", "nb"), ("atac", "binomial")):
        dynamic_features(mdata, mod=mod, pseudotime_key="pseudotime", family=family)
        table, truth = mdata[mod].uns["dynamic_features"], mdata[mod].var["dynamic"]
        found = table["p_adjusted"] < 0.05
        assert found[~truth].sum() / found.sum() <= 0.1
        assert found[truth & (table["status"] == "tested")].mean() > 0.6


def test_cells_without_pseudotime_or_counts_are_left_out(mdata):
    expected = mdata["rna"][10:].copy()
    counts = mdata["rna"].X.toarray()
    counts[:5] = 0
    mdata["rna"].X = sparse.csr_matrix(counts)
    mdata["rna"].obs.iloc[5:8, 0] = np.nan
    mdata["rna"].obs.iloc[8:10, 0] = np.inf
    pd.testing.assert_frame_equal(result(mdata), result(MuData({"rna": expected})), rtol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_curves_are_around_the_truth_on_the_scale_of_the_values(family, time):
    truth = np.column_stack([np.sin(3 * time)] * 3)
    mdata = make(family, truth - 1, time)
    if family != "gaussian":
        mdata["rna"].X = sparse.csr_matrix(draw(family, truth - 1, np.random.default_rng(3)).astype(np.float32))
    dynamic_features(mdata, family=family, size_factors=None)
    curves = dynamic_curves(mdata, mdata["rna"].var_names)
    assert (curves["lower"] <= curves["fit"]).all()
    assert (curves["fit"] <= curves["upper"]).all()
    assert curves.groupby("feature")["null"].nunique().max() == 1
    observed = dynamic_values(mdata, mdata["rna"].var_names)
    for feature, curve in curves.groupby("feature"):
        values = observed[observed["feature"] == feature]
        np.testing.assert_array_equal(values["value"], mdata["rna"][values["cell"], feature].to_df()[feature])
        np.testing.assert_allclose(curve["null"].iloc[0], values["value"].mean(), rtol=1e-5)
        if family != "gaussian":  # its levels are random there
            rate = np.exp(np.sin(3 * curve["pseudotime"]) - 1)
            expected = -np.expm1(-rate) if family == "binomial" else rate
            inside = (curve["lower"] < expected) & (expected < curve["upper"])
            assert inside.mean() > 0.6
            np.testing.assert_allclose(curve["fit"], expected, atol=0.35)


@pytest.mark.parametrize("family", ["poisson", "nb", "binomial"])
def test_bands_are_narrow_where_no_cell_has_the_feature(family, time):
    """A feature that is seen only late: of the first 40% of the cells, none has it."""
    rng, truth = np.random.default_rng(5), np.exp(-(((time - 0.9) / 0.12) ** 2))[:, None] * np.ones(100)
    mdata = make(family, np.zeros((500, 100)), time)
    mdata["rna"].X = sparse.csr_matrix(draw(family, np.log(truth + 1e-12), rng).astype(np.float32))
    table = result(mdata, family=family, size_factors=None)
    tested = table.index[table["status"] == "tested"]
    curves = dynamic_curves(mdata, tested, n_points=41)
    closed = curves[curves["pseudotime"].between(np.quantile(time, 0.05), 0.4)]
    assert closed["upper"].median() < 0.1
    assert (closed["upper"] > 0.5).mean() < 0.05
    assert (closed["lower"] < 0.01).all()
    rate = np.exp(-(((curves["pseudotime"] - 0.9) / 0.12) ** 2))
    expected = -np.expm1(-rate) if family == "binomial" else rate
    assert curves["lower"].le(expected + 1e-3).mul(expected.le(curves["upper"])).mean() > 0.85


def test_bands_are_narrow_where_all_cells_are_open(time):
    opened = np.random.default_rng(6).random(500) < np.where(time < 0.4, 1, 0.2)
    mdata = make("binomial", np.zeros((500, 1)), time)
    mdata["rna"].X = sparse.csr_matrix(opened[:, None].astype(np.float32))
    dynamic_features(mdata, family="binomial", size_factors=None)
    curves = dynamic_curves(mdata, "gene0").set_index("pseudotime")
    assert curves["lower"].loc[0.05:0.3].min() > 0.8
    assert curves["upper"].loc[0.6:0.8].max() < 0.5


def test_result_can_be_saved_and_curves_drawn_from_it(branched, tmp_path):
    branched["rna"].obs["donor"] = np.where(np.arange(500) % 3, "x", "y")
    dynamic_features(branched, trajectory=["A", "B"], covariates=["branch"], batch_key="donor")
    branched.write(tmp_path / "tested.h5mu")
    read = mudata.read_h5mu(tmp_path / "tested.h5mu")
    expected = branched["rna"].uns["dynamic_features"]
    pd.testing.assert_frame_equal(read["rna"].uns["dynamic_features"], expected)
    pd.testing.assert_frame_equal(dynamic_curves(read, "gene5"), dynamic_curves(branched, "gene5"))


def test_copy_and_what_is_written(mdata):
    before = mdata["rna"].obs.copy()
    changed = dynamic_features(mdata, copy=True, key_added="mine")
    assert not mdata["rna"].uns
    assert set(changed["rna"].uns) == {"mine", "mine_params"}
    assert dynamic_features(mdata) is None
    pd.testing.assert_frame_equal(mdata["rna"].uns["dynamic_features"], changed["rna"].uns["mine"])
    pd.testing.assert_frame_equal(mdata["rna"].obs, before)
    with pytest.raises(ValueError, match="is a view"):
        dynamic_features(mdata[:200])


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"mod": "atac"}, KeyError, "mod='atac' is not a modality"),
        ({"layer": "counts"}, KeyError, r"layers\['counts'\] does not exist"),
        ({"obsm": "motifs"}, KeyError, r"obsm\['motifs'\] does not exist"),
        ({"layer": "a", "obsm": "b"}, ValueError, "both given"),
        ({"features": ["gene1", "Sox2"]}, KeyError, "such as 'Sox2'"),
        ({"features": []}, ValueError, "features is empty"),
        ({"features": ["gene1", "gene1"]}, ValueError, "'gene1' names more than one"),
        ({"pseudotime_key": "time"}, KeyError, r"no obs\['time'\].*scdart.tl.pseudotime"),
        ({"pseudotime_key": "branch"}, ValueError, "not numeric"),
        ({"trajectory": "C"}, KeyError, r"'C' is not a trajectory.*\['A', 'B'\]"),
        ({"trajectory": []}, ValueError, "trajectory is empty"),
        ({"trajectory": "A", "between": ["A", "B"]}, ValueError, "both given"),
        ({"between": ["A"]}, ValueError, "name two trajectories"),
        ({"between": ["A", "A"]}, ValueError, "name two trajectories"),
        ({"between": ["A", "B"], "backbone_key": "same"}, ValueError, "do not part"),
        ({"trajectory": "A", "backbone_key": "other"}, KeyError, r"no obsm\['other_order'\].*scdart.tl.backbone"),
        ({"trajectory": "A", "backbone_key": "array"}, ValueError, "no table"),
        ({"trajectory": "few", "backbone_key": "same"}, ValueError, "'few' has 20 cells.*at least 25"),
        ({"family": "gamma"}, ValueError, "family='gamma' is not known"),
        ({"layer": "negative", "family": "nb"}, ValueError, "negative values.*gaussian"),
        ({"df": 0}, ValueError, "df=0"),
        ({"min_cells": 0}, ValueError, "min_cells=0"),
        ({"covariates": "batch"}, KeyError, "covariate 'batch'"),
        ({"covariates": "gaps"}, ValueError, r"\['rna'\].obs\['gaps'\] has missing values \(1 cells\)"),
        ({"batch_key": "batch"}, KeyError, "batch_key='batch' is not a column of mdata"),
        ({"batch_key": "gaps"}, ValueError, r"\['rna'\].obs\['gaps'\] has missing values \(1 cells\)"),
        ({"size_factors": "depth"}, KeyError, "size_factors='depth'"),
        ({"size_factors": "dpt_pseudotime"}, ValueError, "must be positive"),
        ({"size_factors": "gaps"}, ValueError, "must be positive"),
    ],
)
def test_bad_input_leaves_the_object_as_it_was(branched, options, error, match):
    adata = branched["rna"]
    adata.layers["negative"] = -adata.X
    adata.obs["gaps"] = pd.Series("x", index=adata.obs_names[1:])
    adata.obs.loc["cell0", "dpt_pseudotime"] = 0
    order = adata.obsm["backbone_order"]
    adata.obsm["array_order"] = order.to_numpy()
    same = order.assign(A=order["A"].fillna(0.5), B=order["B"].fillna(0.5), few=order["A"].iloc[:20])
    same.loc[adata.obs_names[:20], "few"] = np.linspace(0, 1, 20)
    adata.obsm["same_order"] = same
    with pytest.raises(error, match=match):
        dynamic_features(branched, **options)
    assert not adata.uns


def test_curves_need_a_result(mdata):
    with pytest.raises(KeyError, match="no 'dynamic_features': run scdart.tl.dynamic_features"):
        dynamic_curves(mdata, "gene1")
    dynamic_features(mdata)
    with pytest.raises(KeyError, match="'Sox2' is not a feature"):
        dynamic_curves(mdata, "Sox2")
    with pytest.raises(KeyError, match="mod='atac'"):
        dynamic_curves(mdata, "gene1", mod="atac")
    with pytest.raises(KeyError, match="trajectory='A' was not tested"):
        dynamic_curves(mdata, "gene1", trajectory="A")

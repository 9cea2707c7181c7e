"""The benchmark of trajectories: its data are as planted, its tables say what was found, its page has all of them."""

from __future__ import annotations

import _donors
import anndata as ad
import biology
import numpy as np
import pandas as pd
import pytest
from _experiments import SMALL, tree
from _planted import FAMILIES, branches, bumps, observed, trajectory


@pytest.mark.parametrize("family", FAMILIES)
def test_planted_features_are_found(family):
    order, options = trajectory(400, 0)
    curves = FAMILIES[family] * bumps(order, 60, 0) * (np.arange(60) < 20)
    table = biology.features_of(observed(family, curves, order, 0), family=family, **options)
    found = table.index[table["p_adjusted"] < 0.05]
    planted = [f"gene{i}" for i in range(20)]
    assert found.isin(planted).sum() > 10
    assert (~found.isin(planted)).sum() <= 3


def test_branches_have_the_same_curve():
    order, options = branches(400, 0)
    curves = bumps(order, 5, 0)
    for name in ("A", "B"):
        time = order[name].dropna()
        assert np.corrcoef(curves[time.index, 0], bumps(time.to_frame(), 5, 0)[:, 0])[0, 1] == pytest.approx(1)
    table = biology.features_of(observed("nb", curves, order, 0), family="nb", **options)
    assert (table["df"] == 5).all()


def test_rates():
    table = pd.DataFrame({"p_adjusted": [0.01, 0.2, 0.03, 0.01]}, index=list("abcd"))
    dynamic = pd.Series({"a": True, "b": True, "c": False, "d": True, "untested": True})
    assert biology._rates([(table, dynamic)]) == {"power": "0.67", "false discoveries": "0.333"}


def test_stages_of_cell_types():
    types = pd.Series(["E2Rasgrf2", "E6Tle4", "OPC", "OliM", "Mis", "Ex"])
    assert biology._layer(types).tolist()[:2] == [2, 6]
    assert biology._layer(types).isna().tolist() == [False, False, True, True, True, True]
    assert biology._oligodendrocyte_stage(types).dropna().to_dict() == {2: 0, 3: 2}


def test_the_joint_order_is_held_against_the_better_of_the_two(monkeypatch):
    def integrated(dataset, seed):
        problem = dataset.problem(seed)
        parts = {mod: adata.copy() for mod, adata in problem.truth.items()}
        joint = problem.train
        for mod, adata in parts.items():
            joint[mod].obsm["X_scdart"] = adata[joint[mod].obs_names].obs[["pseudotime"]].to_numpy()
        joint.obsm["X_scdart"] = np.concatenate([joint[mod].obsm["X_scdart"] for mod in joint.mod])
        return parts, joint

    monkeypatch.setattr(biology, "integrated", integrated)
    monkeypatch.setattr(biology, "tree", lambda shape: tree(shape, size=SMALL))
    table = biology.order_of_fresh_trees(1).set_index("tree")
    assert (table["joint"].astype(float) >= 0.98).all()
    alone = table[["RNA alone", "ATAC alone"]].astype(float).max(axis=1)
    np.testing.assert_allclose(table["better one less joint"].astype(float), alone - 1, atol=0.03)


def test_page_has_the_tables_that_are_there(tmp_path):
    rows = [{"tree": "linear", "tau": tau} for tau in (0.5, 0.7, 0.8)]
    biology.over_seeds(rows, ["tree"]).to_csv(tmp_path / "trees.csv", index=False)
    page = biology.page(tmp_path)
    assert "| linear | 0.70 (0.50–0.80) |" in page
    assert "## Cost" not in page
    assert "python benchmarks/biology.py --docs" in page


def test_donors_are_exchanged_within_clusters():
    rng = np.random.default_rng(0)
    obs = pd.DataFrame({"cluster": np.repeat(["naive", "memory"], 200), "cell_type": "T"}, index=map(str, range(400)))
    obs["batch"] = np.where(rng.random(400) < np.repeat([0.9, 0.2], 200), "one", "other")
    atac = ad.AnnData(obs=obs)
    exchanged = _donors._exchanged(atac, 0)
    assert (exchanged != obs["batch"]).any()
    for column in (exchanged, obs["batch"]):
        assert (
            column.groupby(obs["cluster"]).value_counts().to_dict()
            == obs.groupby("cluster")["batch"].value_counts().to_dict()
        )
    # Donors who differ in composition alone do not mix within a type, and do within its clusters.
    z = np.c_[np.repeat([0.0, 20.0], 200), rng.normal(size=(400, 2))]
    assert _donors._mixing(z, atac, exchanged)["T"] < 0.8
    atac.obs["cell_type"] = atac.obs["cluster"]
    assert min(_donors._mixing(z, atac, exchanged).values()) > 0.85

from __future__ import annotations

import anndata as ad
import mudata
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from scdart.metrics import branches_f1
from scdart.tl import backbone, pseudotime
from scdart.tl._backbone import _strongest_tree, _tree_from


@pytest.fixture
def tree(make_tree):
    mdata = make_tree()
    pseudotime(mdata, root_score="time")
    return mdata


def parts(mdata):
    """Name thirds of the stem and arms: more groups than branches."""
    truth = mdata.uns["truth"].loc[mdata.obs_names]
    return truth["arm"].astype(str) + np.floor(3 * (truth["time"] % 1)).astype(int).astype(str)


def slots(mdata):
    everything = {"": mdata, **mdata.mod}
    return {
        (name, slot): set(getattr(data, slot)) for name, data in everything.items() for slot in ("obs", "obsm", "uns")
    }


def test_tree_of_given_groups_is_the_planted_one(tree):
    tree.obs["part"] = parts(tree)
    backbone(tree, groups="part")
    result = tree.uns["backbone"]
    assert result["root"] == "stem0"
    assert {name: list(path) for name, path in result["trajectories"].items()} == {
        "trajectory_0": ["stem0", "stem1", "stem2", "left0", "left1", "left2"],
        "trajectory_1": ["stem0", "stem1", "stem2", "right0", "right1", "right2"],
    }
    assert set(zip(result["edges"]["source"], result["edges"]["target"], strict=True)) == {
        ("stem0", "stem1"),
        ("stem1", "stem2"),
        ("stem2", "left0"),
        ("stem2", "right0"),
        *((f"{arm}{i}", f"{arm}{i + 1}") for arm in ("left", "right") for i in (0, 1)),
    }
    expected = {"stem": "stem0 to stem2", "left": "left0 to left2", "right": "right0 to right2"}
    arm = tree.uns["truth"].loc[tree.obs_names, "arm"].astype(str).map(expected)
    assert (tree.obs["backbone_branch"].astype(str) == arm).all()


def test_order_is_the_pseudotime_of_the_cells_of_a_trajectory(tree):
    tree.obs["part"] = parts(tree)
    backbone(tree, groups="part")
    arm = tree.uns["truth"].loc[tree.obs_names, "arm"]
    order = tree.obsm["backbone_order"]
    assert list(order) == ["trajectory_0", "trajectory_1"]
    for name, other in zip(order, ("right", "left"), strict=True):
        expected = tree.obs["dpt_pseudotime"].where(arm != other)
        np.testing.assert_array_equal(order[name], expected)
    for mod in tree.mod:
        pd.testing.assert_frame_equal(tree[mod].obsm["backbone_order"], order.loc[tree[mod].obs_names])
        for column in ("backbone", "backbone_branch"):
            assert (tree[mod].obs[column] == tree.obs.loc[tree[mod].obs_names, column]).all()


def test_centroids_are_the_mean_positions(tree):
    tree.obs["part"] = parts(tree)
    backbone(tree, groups="part")
    z = pd.DataFrame(tree.obsm["X_scdart"].astype(float), index=tree.obs_names)
    expected = z.groupby(tree.obs["part"]).mean()
    np.testing.assert_array_equal(tree.uns["backbone"]["groups"], expected.index)
    np.testing.assert_allclose(tree.uns["backbone"]["centroids"], expected)


@pytest.mark.parametrize("n_shared", [0, 60])
def test_branches_of_communities_are_the_planted_ones(make_tree, n_shared):
    mdata = make_tree(n_shared=n_shared)
    pseudotime(mdata, root_score="time")
    backbone(mdata, resolution=1.0)
    truth = mdata.uns["truth"].loc[mdata.obs_names, "arm"].astype(str)
    assert branches_f1(mdata.obs["backbone_branch"].astype(str), truth).f1 > 0.8
    assert mdata.obsm["backbone_order"].shape == (mdata.n_obs, 2)
    assert mdata.obs["backbone"].cat.categories.tolist() == mdata.uns["backbone"]["groups"].tolist()


def test_a_process_that_divides_where_it_starts_has_no_stem():
    rng = np.random.default_rng(0)
    arm, time = rng.integers(2, size=400), rng.uniform(size=400)
    z = np.column_stack([time, time * np.where(arm == 0, 1, -1)]) + rng.normal(0, 0.02, (400, 2))
    names = [f"cell{i}" for i in range(400)]
    obs = pd.DataFrame({"time": time}, index=names)
    mdata = mudata.MuData({"rna": ad.AnnData(np.ones((400, 1), dtype=np.float32), obs=obs)})
    mdata.obsm["X_scdart"] = mdata["rna"].obsm["X_scdart"] = z
    with pytest.warns(UserWarning, match="lies between others"):
        pseudotime(mdata, root=names[int(time.argmin())])
    backbone(mdata)
    branch = mdata.obs["backbone_branch"]
    assert len(branch.cat.categories) == 2
    assert len(mdata.uns["backbone"]["trajectories"]) == 2
    late = time > 0.1  # before, the arms are the same
    assert branches_f1(branch[late].astype(str), pd.Series(arm[late]).astype(str)).f1 > 0.97


def test_cells_of_a_given_group_stay_together(tree):
    tree.obs["part"] = parts(tree)
    backbone(tree, groups="part")
    assert tree.obs.groupby("part", observed=True)["backbone_branch"].nunique().eq(1).all()


def test_connectivities_by_hand():
    links = np.zeros((6, 6))
    for i, j in ((0, 1), (2, 3), (1, 2), (3, 4), (4, 5), (1, 3)):
        links[i, j] = links[j, i] = 0.7
    group = pd.Categorical(["a", "a", "b", "b", "c", None])
    # Ends of links: within a and b 2, between a and b 2, between b and c 1; the cell without a group has none.
    tree = _strongest_tree(sparse.csr_matrix(links), group).toarray()
    degree = {"a": 4, "b": 5, "c": 1}
    np.testing.assert_allclose(tree[0, 1], 2 * 10 / (degree["a"] * degree["b"]))
    np.testing.assert_allclose(tree[1, 2], 1 * 10 / (degree["b"] * degree["c"]))
    assert tree[0, 2] == 0
    np.testing.assert_array_equal(tree, tree.T)


def test_tree_is_cut_where_it_divides():
    edges = [(0, 1), (1, 2), (1, 3), (3, 4), (5, 6)]
    links = sparse.lil_matrix((7, 7))
    for i, j in edges:
        links[i, j] = links[j, i] = 1.0
    tree = _tree_from(links.tocsr(), 0)
    assert set(tree.edges) == set(edges[:-1])
    assert sorted(tree.paths) == [[0, 1, 2], [0, 1, 3, 4]]
    assert tree.branch[0] == tree.branch[1] == 0
    assert tree.branch[3] == tree.branch[4] != tree.branch[2]
    assert tree.branch[5] == tree.branch[6] == -1


def test_root_can_be_chosen(tree):
    tree.obs["part"] = parts(tree)
    backbone(tree, groups="part", root="left2")
    assert tree.uns["backbone"]["root"] == "left2"
    assert {path[-1] for path in tree.uns["backbone"]["trajectories"].values()} == {"stem0", "right2"}


def test_cells_without_a_group_are_left_out(tree):
    tree.obs["part"] = parts(tree).where(np.arange(tree.n_obs) % 5 > 0)
    tree.obs["part"] = tree.obs["part"].astype("category")
    backbone(tree, groups="part")
    out = tree.obs["part"].isna()
    assert tree.obs["backbone"].isna().equals(out)
    assert tree.obs["backbone_branch"].isna().equals(out)
    assert tree.obsm["backbone_order"].isna().all(axis=1).equals(out)


def test_groups_that_are_not_connected_are_in_no_trajectory(make_tree):
    mdata = make_tree()
    left = (mdata.uns["truth"]["arm"] == "left").to_numpy()
    mdata.obsm["X_scdart"][left] += 1000
    with pytest.warns(UserWarning, match="not connected"):
        pseudotime(mdata, root_key="arm", root_label="stem")
    with pytest.warns(UserWarning, match="1 groups are not connected with the root.*'left'"):
        backbone(mdata, groups="arm")
    assert [list(path) for path in mdata.uns["backbone"]["trajectories"].values()] == [["stem", "right"]]
    np.testing.assert_array_equal(mdata.obs["backbone_branch"].isna(), left)
    np.testing.assert_array_equal(mdata.obsm["backbone_order"]["trajectory_0"].isna(), left)


def test_writes_the_documented_slots_and_nothing_else(tree):
    before = slots(tree)
    result = backbone(tree, key_added="tree", copy=True)
    assert slots(tree) == before
    backbone(tree, key_added="tree")
    assert {key: names - before[key] for key, names in slots(tree).items()} == {
        ("", "obs"): {"tree", "tree_branch"},
        ("", "obsm"): {"tree_order"},
        ("", "uns"): {"tree"},
        **{(mod, "obs"): {"tree", "tree_branch"} for mod in ("rna", "atac")},
        **{(mod, "obsm"): {"tree_order"} for mod in ("rna", "atac")},
        **{(mod, "uns"): set() for mod in ("rna", "atac")},
    }
    assert (tree.obs["tree"] == result.obs["tree"]).all()


def test_result_can_be_saved(tree, tmp_path):
    backbone(tree)
    del tree.uns["truth"]
    tree.write(tmp_path / "tree.h5mu")
    read = mudata.read_h5mu(tmp_path / "tree.h5mu")
    kept, saved = tree.uns["backbone"], read.uns["backbone"]
    pd.testing.assert_frame_equal(saved["edges"], kept["edges"], check_dtype=False)
    assert saved["trajectories"].keys() == kept["trajectories"].keys()
    for name, path in kept["trajectories"].items():
        np.testing.assert_array_equal(saved["trajectories"][name], path)
    np.testing.assert_array_equal(saved["groups"], kept["groups"])
    np.testing.assert_array_equal(saved["centroids"], kept["centroids"])
    assert saved["root"] == kept["root"]
    for name, data in {"": tree, **tree.mod}.items():
        other = read[name] if name else read
        pd.testing.assert_frame_equal(other.obsm["backbone_order"], data.obsm["backbone_order"], check_names=False)
        for column in ("backbone", "backbone_branch"):
            assert (other.obs[column].astype(str) == data.obs[column].astype(str)).all()


def without_latent(mdata):
    del mdata.obsm["X_scdart"]


def without_pseudotime(mdata):
    for data in (mdata, *mdata.mod.values()):
        del data.obs["dpt_pseudotime"]


def with_one_group(mdata):
    mdata.obs["arm"] = "same"


def with_other_cells_grouped(mdata):
    mdata.obs["dpt_pseudotime"] = mdata.obs["dpt_pseudotime"].where(np.arange(mdata.n_obs) < 5)
    mdata.obs["arm"] = np.where(np.arange(mdata.n_obs) < 5, None, np.where(np.arange(mdata.n_obs) % 2, "a", "b"))


@pytest.mark.parametrize(
    ("spoil", "options", "error", "match"),
    [
        (without_latent, {}, KeyError, "obsm.'X_scdart'. does not exist"),
        (without_pseudotime, {}, KeyError, "no pseudotime 'dpt_pseudotime' in any obs: run scdart.tl.pseudotime"),
        (None, {"pseudotime_key": "arm"}, ValueError, "pseudotime_key='arm' is a column of category values"),
        (None, {"groups": "leg"}, KeyError, "groups='leg' is no column"),
        (None, {"groups": "arm", "root": "head"}, ValueError, "root='head' is none of the groups.*'left'"),
        (None, {"root": "head"}, ValueError, "root='head' is none of the groups.*'0'"),
        (with_one_group, {"groups": "arm"}, ValueError, "1 groups.*at least two"),
        (with_other_cells_grouped, {"groups": "arm"}, ValueError, "no cell of a group has a pseudotime"),
        (None, {"resolution": 1e-6}, ValueError, "resolution=1e-06 finds a single group"),
        (None, {"n_neighbors": 0}, ValueError, "n_neighbors=0"),
    ],
)
def test_bad_input_leaves_the_object_as_it_was(tree, spoil, options, error, match):
    if spoil is not None:
        spoil(tree)
    before = slots(tree)
    with pytest.raises(error, match=match):
        backbone(tree, **options)
    assert slots(tree) == before

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgba

from scdart import pl
from scdart.pl._colors import MISSING


@pytest.fixture
def tree(mdata):
    """Cells on a fork of three groups, at known places; the last ten are in no group."""
    n = mdata.n_obs
    group = np.arange(n) % 3
    xy = np.array([[0.0, 0.0], [1.0, 1.0], [1.0, -1.0]])[group]
    mdata.obsm["X_umap"] = xy + np.random.default_rng(0).normal(0, 0.05, (n, 2))
    labels = pd.Categorical(np.array(["stem", "left", "right"])[group], categories=["stem", "left", "right"])
    known = np.arange(n) < n - 10
    mdata.obs["backbone"] = pd.Categorical(np.where(known, labels, None), categories=labels.categories)
    mdata.obs["backbone_branch"] = mdata.obs["backbone"]
    time = np.linspace(0, 1, n)
    order = {
        f"trajectory_{i}": np.where(known & np.isin(group, own), time, np.nan) for i, own in enumerate([(0, 1), (0, 2)])
    }
    mdata.obsm["backbone_order"] = pd.DataFrame(order, index=mdata.obs_names)
    mdata.uns["backbone"] = {
        "groups": np.array(["stem", "left", "right"], dtype=object),
        "edges": pd.DataFrame({"source": ["stem", "stem"], "target": ["left", "right"], "weight": [1.0, 0.5]}),
        "root": "stem",
        "trajectories": {"trajectory_0": np.array(["stem", "left"]), "trajectory_1": np.array(["stem", "right"])},
    }
    return mdata


def points(ax):
    return max(ax.collections, key=lambda collection: len(collection.get_offsets()))


def test_nodes_are_in_the_middle_of_their_groups(tree, unchanged):
    check = unchanged(tree)
    ax = pl.backbone(tree, show=False)
    check()
    assert len(points(ax).get_offsets()) == 130
    nodes = [collection for collection in ax.collections if collection.get_gid() == "node"]
    assert len(nodes) == 4  # the root has two rings
    for text in ax.texts[-3:]:
        own = tree.obs["backbone"].to_numpy() == text.get_text()
        np.testing.assert_allclose(text.get_position(), tree.obsm["X_umap"][own].mean(axis=0))
    rings = {tuple(np.round(node.get_offsets()[0], 6)) for node in nodes}
    assert len(rings) == 3


def test_arrows_lead_away_from_the_root(tree):
    ax = pl.backbone(tree, show=False)
    arrows = [text for text in ax.texts if text.get_gid() == "edge"]
    assert len(arrows) == 2
    for arrow, target in zip(arrows, ("left", "right"), strict=True):
        middle = {
            name: tree.obsm["X_umap"][tree.obs["backbone"].to_numpy() == name].mean(axis=0) for name in ("stem", target)
        }
        np.testing.assert_allclose(arrow.xyann, middle["stem"])
        np.testing.assert_allclose(arrow.xy, middle[target])


def test_cells_can_be_colored_by_anything(tree, tmp_path):
    ax = pl.backbone(tree, color="pseudotime", show=False, save=tmp_path / "backbone.png")
    assert ax.get_title() == "pseudotime"
    assert len(ax.figure.axes) == 2  # a colour bar
    assert (tmp_path / "backbone.png").stat().st_size > 10_000


def test_cells_off_a_trajectory_are_grey(tree):
    axes = pl.branches(tree, show=False)
    assert [ax.get_title() for ax in axes] == ["branches", "trajectory_0", "trajectory_1"]
    assert [text.get_text() for text in axes[0].get_legend().get_texts()] == ["stem", "left", "right", "no value"]
    for ax, name in zip(axes[1:], ("trajectory_0", "trajectory_1"), strict=True):
        grey = np.all(np.isclose(points(ax).get_facecolors()[:, :3], to_rgba(MISSING)[:3]), axis=1)
        assert grey.sum() == tree.obsm["backbone_order"][name].isna().sum()
        assert grey[: grey.sum()].all()  # below the others
    assert axes[1].texts[0].get_text() == "stem → left"
    assert [ax.get_title() for ax in pl.branches(tree, trajectories="trajectory_1", show=False)][1:] == ["trajectory_1"]


def test_bad_input(tree, mdata):
    with pytest.raises(KeyError, match="'other'.*run scdart.tl.backbone"):
        pl.backbone(tree, key="other", show=False)
    with pytest.raises(KeyError, match="'trajectory_7' is not a trajectory"):
        pl.branches(tree, trajectories=["trajectory_7"], show=False)

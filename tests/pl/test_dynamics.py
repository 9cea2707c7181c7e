from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from scdart import pl, tl


@pytest.fixture(scope="module")
def tested(simulated):
    """A gene that rises, one that falls, one that does nothing, one that is not there; and two branches."""
    mdata = simulated["unpaired"].copy()
    rng = np.random.default_rng(0)
    time = mdata["rna"].obs["pseudotime"].to_numpy()
    time = time / time.max()
    rates = np.column_stack([2 + 20 * time, 22 - 20 * time, np.full(len(time), 8.0), np.zeros(len(time))])
    mdata["rna"].obs["time"] = time
    mdata["rna"].layers["made"] = mdata["rna"].X.toarray()
    mdata["rna"].layers["made"][:, :4] = rng.poisson(rates)
    mdata["rna"].obsm["made_order"] = pd.DataFrame(
        {
            "left": np.where(np.arange(80) % 2, time, np.nan),
            "right": np.where(np.arange(80) % 2, np.nan, time),
        },
        index=mdata["rna"].obs_names,
    )
    common = {"layer": "made", "features": ["gene0", "gene1", "gene2", "gene3"], "size_factors": None, "family": "nb"}
    tl.dynamic_features(mdata, pseudotime_key="time", **common)
    tl.dynamic_features(mdata, trajectory=["left", "right"], backbone_key="made", df=2, key_added="two", **common)
    return mdata


def lines(ax) -> dict[str, np.ndarray]:
    return {line.get_label(): line.get_ydata() for line in ax.lines}


def test_panel_has_cells_fit_band_and_null(tested, unchanged):
    check = unchanged(tested)
    axes = pl.dynamic_features(tested, ["gene0", "gene1"], show=False)
    check()
    curves = tl.dynamic_curves(tested, ["gene0", "gene1"])
    table = tested["rna"].uns["dynamic_features"]
    for ax, name, sign in zip(axes, ["gene0", "gene1"], [1, -1], strict=True):
        own = curves[curves["feature"] == name]
        np.testing.assert_allclose(lines(ax)["time"], own["fit"])
        np.testing.assert_allclose(lines(ax)["null"], own["null"])
        assert sign * (lines(ax)["time"][-1] - lines(ax)["time"][0]) > 10
        assert np.ptp(lines(ax)["null"]) < 1e-6
        band, cells = sorted(ax.collections, key=lambda collection: len(collection.get_offsets()))
        assert band.get_paths()[0].get_extents().height == pytest.approx(own["upper"].max() - own["lower"].min())
        np.testing.assert_array_equal(
            np.sort(np.asarray(cells.get_offsets())[:, 1]), np.sort(tested["rna"].layers["made"][:, int(name[-1])])
        )
        assert ax.get_title() == f"{name}, adj. p = {table.loc[name, 'p_adjusted']:.1g}"
    assert [text.get_text() for text in axes[0].get_legend().get_texts()] == ["null", "curve"]


def test_every_trajectory_has_its_color(tested):
    ax = pl.dynamic_features(tested, "gene0", key="two", show=False)
    assert set(lines(ax)) == {"left", "right", "null"}
    assert len({line.get_color() for line in ax.lines if line.get_label() != "null"}) == 2
    ax = pl.dynamic_features(tested, "gene0", key="two", points=False, show=False)
    assert all(len(collection.get_offsets()) <= 1 for collection in ax.collections)


def test_an_outlier_does_not_flatten_the_curve(tested):
    mdata = tested.copy()
    mdata["rna"].layers["made"][0, 2] = 10_000
    mdata["rna"].uns["dynamic_features"].loc["gene2", "status"] = "tested"
    ax = pl.dynamic_features(mdata, "gene1", show=False)
    assert ax.get_ylim()[1] < 60


def test_cells_that_are_0_or_1_are_spread(tested):
    mdata = tested.copy()
    mdata["rna"].layers["made"][:, 4] = np.arange(80) < 40
    tl.dynamic_features(mdata, pseudotime_key="time", layer="made", features=["gene4"], family="binomial")
    ax = pl.dynamic_features(mdata, "gene4", show=False)
    cells = max(ax.collections, key=lambda collection: len(collection.get_offsets())).get_offsets()[:, 1]
    assert np.sum(np.abs(cells) <= 0.04) == np.sum(np.abs(cells - 1) <= 0.04) == 40
    assert len(np.unique(cells)) == 80


def test_heat_map_is_in_order_of_maxima(tested):
    ax = pl.dynamic_heatmap(tested, ["gene0", "gene2", "gene1"], n_points=50, show=False)
    image = ax.images[0].get_array()
    assert image.shape == (3, 50)
    np.testing.assert_allclose(image.min(axis=1), 0)
    np.testing.assert_allclose(image.max(axis=1), 1)
    assert np.all(np.diff(np.argmax(image, axis=1)) >= 0)
    names = [label.get_text() for label in ax.get_yticklabels()]
    assert names.index("gene1") < names.index("gene0")


def test_heat_map_takes_what_changes_most(tested, tmp_path):
    ax = pl.dynamic_heatmap(tested, show=False, save=tmp_path / "heat.png")
    assert sorted(label.get_text() for label in ax.get_yticklabels()) == ["gene0", "gene1"]
    assert ax.get_title() == "2 features along time"
    assert len(pl.dynamic_heatmap(tested, n_features=1, show=False).get_yticks()) == 1
    assert pl.dynamic_heatmap(tested, key="two", trajectory="left", show=False).get_title().endswith("along left")


def test_a_feature_is_drawn_along_the_trajectories_on_which_it_was_tested(tested):
    mdata = tested.copy()
    on_right = np.arange(80) % 2 == 0
    mdata["rna"].layers["made"][:, 5] = 0
    mdata["rna"].layers["made"][~on_right, 5] = np.random.default_rng(1).poisson(1 + 9 * np.linspace(0, 1, 40))
    options = {"layer": "made", "size_factors": None, "family": "nb", "df": 2, "backbone_key": "made"}
    tl.dynamic_features(mdata, trajectory=["left", "right"], features=["gene5", "gene0"], key_added="part", **options)
    table = mdata["rna"].uns["part"].set_index("trajectory", append=True)
    assert table.loc[("gene5", "right"), "status"] == "all zero"
    ax = pl.dynamic_heatmap(mdata, ["gene0", "gene5"], key="part", trajectory="left", show=False)
    assert ax.images[0].get_array().shape == (2, 101)
    curves = tl.dynamic_curves(mdata, ["gene5", "gene0"], key="part", n_points=5)
    assert curves["trajectory"].tolist() == ["left"] * 10 + ["right"] * 5
    assert curves["feature"].tolist() == ["gene5"] * 5 + ["gene0"] * 10
    first, second = pl.dynamic_features(mdata, ["gene5", "gene0"], key="part", show=False)
    assert set(lines(first)) == {"left", "null"}
    assert set(lines(second)) == {"left", "right", "null"}
    assert {text.get_text() for text in first.get_legend().get_texts()} == {"left", "right", "null"}
    with pytest.raises(ValueError, match="'gene5' has no curve, since it was not tested: all zero"):
        pl.dynamic_heatmap(mdata, ["gene5"], key="part", trajectory="right", show=False)


def test_branches_are_compared_by_feature_not_in_a_heat_map(tested):
    mdata = tested.copy()
    options = {"layer": "made", "size_factors": None, "family": "nb", "df": 2, "backbone_key": "made"}
    tl.dynamic_features(mdata, between=("left", "right"), features=["gene0"], **options)
    ax = pl.dynamic_features(mdata, "gene0", key="branch_features", show=False)
    assert set(lines(ax)) == {"left", "right", "null"}
    with pytest.raises(ValueError, match="compares branches"):
        pl.dynamic_heatmap(mdata, key="branch_features", show=False)


def test_bad_input(tested):
    with pytest.raises(ValueError, match="'gene3' has no curve.*all zero"):
        pl.dynamic_features(tested, "gene3", show=False)
    with pytest.raises(KeyError, match="'gene9'"):
        pl.dynamic_features(tested, ["gene9"], show=False)
    with pytest.raises(ValueError, match=r"several trajectories: name one of \['left', 'right'\]"):
        pl.dynamic_heatmap(tested, key="two", show=False)
    with pytest.raises(KeyError, match="trajectory='up' was not tested"):
        pl.dynamic_heatmap(tested, key="two", trajectory="up", show=False)
    with pytest.raises(KeyError, match="run scdart.tl.dynamic_features"):
        pl.dynamic_heatmap(tested, mod="atac", show=False)
    with pytest.raises(KeyError, match="mod='gex'"):
        pl.dynamic_heatmap(tested, mod="gex", show=False)
    mdata = tested.copy()
    mdata["rna"].uns["dynamic_features"]["p_adjusted"] = 1.0
    with pytest.raises(ValueError, match="No feature .* changes along 'time'"):
        pl.dynamic_heatmap(mdata, show=False)

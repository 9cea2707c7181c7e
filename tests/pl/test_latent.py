from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import scanpy as sc
from matplotlib.colors import to_hex, to_rgba
from matplotlib.image import imread
from sklearn.decomposition import PCA

from scdart import pl
from scdart.pl._colors import MISSING, MODALITY_COLORS, OKABE_ITO


def drawn(ax) -> tuple[np.ndarray, np.ndarray]:
    """Positions and colours of the points, without the empty collections that legends are made of."""
    (points,) = [collection for collection in ax.collections if len(collection.get_offsets())]
    return np.asarray(points.get_offsets()), points.get_facecolors()


def colors(ax) -> pd.Series:
    return pd.Series([to_hex(color) for color in drawn(ax)[1]]).value_counts()


def legend(ax) -> list[str]:
    return [text.get_text() for text in ax.get_legend().get_texts()]


def test_every_measurement_is_a_point_in_its_modality_color(mdata, unchanged):
    check = unchanged(mdata)
    ax = pl.latent(mdata, show=False)
    check()
    assert dict(colors(ax)) == {MODALITY_COLORS["rna"].lower(): 80, MODALITY_COLORS["atac"].lower(): 50}
    assert ax.get_title() == "modality"
    assert legend(ax) == ["rna", "atac"]


def test_positions_are_principal_components_of_both_modalities(mdata):
    ax = pl.latent(mdata, color="pseudotime", show=False)
    z = np.concatenate([mdata[mod].obsm["X_scdart"] for mod in ("rna", "atac")])
    pca = PCA(2).fit(z)
    expected = pca.transform(z)
    found = drawn(ax)[0]
    for axis in range(2):
        np.testing.assert_allclose(np.sort(np.abs(found[:, axis])), np.sort(np.abs(expected[:, axis])), atol=1e-6)
    assert ax.get_xlabel() == f"latent PC 1 ({pca.explained_variance_ratio_[0]:.0%})"


def test_color_belongs_to_its_cell(mdata):
    z = mdata["rna"].obs["pseudotime"].to_numpy()
    for mod in ("rna", "atac"):  # a latent space that tells pseudotime, so that positions identify cells
        time = mdata[mod].obs["pseudotime"].to_numpy()
        mdata[mod].obsm["X_scdart"] = np.column_stack([time, np.arange(len(time))])
    ax = pl.latent(mdata, color="pseudotime", cmap="gray", show=False)
    xy, rgba = drawn(ax)
    assert len(xy) == 130
    scaled = (xy[:, 0] - xy[:, 0].min()) / np.ptp(xy[:, 0])
    np.testing.assert_allclose(rgba[:, 0], scaled, atol=1 / 128)
    assert z.max() == pytest.approx(ax.figure.axes[-1].get_ylim()[1])


def test_drawing_order_is_random_and_seeded(mdata):
    first, again, other = (colors_in_order(mdata, seed) for seed in (0, 0, 1))
    assert first == again != other
    is_rna = np.array(first) == MODALITY_COLORS["rna"].lower()
    # In the order of the modalities, one change of colour; in random order, about 2 * 80 * 50 / 130 = 61.
    assert np.sum(is_rna[1:] != is_rna[:-1]) > 40


def colors_in_order(mdata, seed) -> list[str]:
    return [to_hex(color) for color in drawn(pl.latent(mdata, random_state=seed, show=False))[1]]


def test_missing_and_infinite_values_are_grey_and_below(mdata):
    mdata["rna"].obs["score"] = np.arange(80.0)
    mdata["rna"].obs.loc[mdata["rna"].obs_names[:3], "score"] = [np.nan, np.inf, -np.inf]
    rgba = drawn(pl.latent(mdata, color="score", show=False))[1]
    grey = np.all(np.isclose(rgba[:, :3], to_rgba(MISSING)[:3]), axis=1)
    assert grey.sum() == 53
    assert grey[:53].all()


def test_side_by_side_panels_share_colors_and_limits(mdata):
    axes = pl.latent(mdata, color=["branch", "pseudotime"], layout="side_by_side", show=False)
    assert [ax.get_title() for ax in axes] == ["branch, RNA", "branch, ATAC", "pseudotime, RNA", "pseudotime, ATAC"]
    assert [len(drawn(ax)[0]) for ax in axes] == [80, 50, 80, 50]
    for ax in axes:
        np.testing.assert_allclose(ax.dataLim.get_points(), axes[0].dataLim.get_points())
    assert axes[0].get_legend() is None
    assert legend(axes[1]) == list(mdata["rna"].obs["branch"].cat.categories)


def test_cells_in_both_modalities(paired):
    assert dict(colors(pl.latent(paired, show=False))) == {
        MODALITY_COLORS["rna"].lower(): 70,
        MODALITY_COLORS["atac"].lower(): 70,
    }
    paired.obsm["X_umap"] = paired.obsm["X_scdart"][:, :2]
    ax = pl.latent(paired, show=False)
    assert dict(colors(ax)) == {MODALITY_COLORS["both"].lower(): 70}
    assert ax.get_xlabel() == "UMAP 1"
    assert len(drawn(pl.latent(paired, basis="pca", show=False))[0]) == 140


def test_umap_is_found_and_other_slots_can_be_named(mdata):
    mdata.obsm["X_umap"] = np.arange(2.0 * mdata.n_obs).reshape(-1, 2)
    mdata.obsm["X_tree"] = -mdata.obsm["X_umap"]
    assert drawn(pl.latent(mdata, show=False))[0].min() == 0
    assert drawn(pl.latent(mdata, basis="tree", show=False))[0].max() == 0
    del mdata["rna"].obsm["X_scdart"]  # then the joint slot is used
    assert len(drawn(pl.latent(mdata, basis="pca", show=False))[0]) == 130


def test_values_are_found_where_they_are(mdata):
    gene, peak = mdata["rna"].var_names[0], mdata["atac"].var_names[0]
    mdata.obs["joint"] = pd.Categorical(np.where(np.arange(mdata.n_obs) % 2, "odd", "even"))
    titles = ["joint", "rna:branch", "anchors_confidence", gene, peak]
    axes = pl.latent(mdata, color=titles, show=False)
    assert [ax.get_title() for ax in axes] == titles
    assert legend(axes[0]) == ["even", "odd"]
    assert "no value" in legend(axes[1])
    for ax, n_missing in ((axes[2], 0), (axes[3], 50), (axes[4], 80)):
        grey = np.all(np.isclose(drawn(ax)[1][:, :3], to_rgba(MISSING)[:3]), axis=1)
        assert grey.sum() == n_missing


def test_batches_of_both_modalities_share_one_legend(mdata):
    """Three batches of RNA and two of ATAC, of which one has cells of both."""
    batches = {"rna": ["donor 1", "donor 2", "donor 3"], "atac": ["donor 3", "donor 4"]}
    for mod, names in batches.items():
        mdata[mod].obs["batch"] = pd.Categorical(np.array(names)[np.arange(mdata[mod].n_obs) % len(names)])
    expected = pd.concat([mdata[mod].obs["batch"].astype(str) for mod in batches]).value_counts()
    ax = pl.latent(mdata, color="batch", show=False)
    assert legend(ax) == ["donor 1", "donor 2", "donor 3", "donor 4"]
    assert sorted(colors(ax)) == sorted(expected)
    assert colors(ax)[OKABE_ITO[2].lower()] == expected["donor 3"] == 26 + 25
    rna, atac = pl.latent(mdata, color="batch", layout="side_by_side", show=False)
    assert set(colors(rna).index) == {color.lower() for color in OKABE_ITO[:3]}
    assert set(colors(atac).index) == {color.lower() for color in OKABE_ITO[2:4]}
    mdata.obs["batch"] = expected.index[0]  # a column of all cells goes before those of the modalities
    assert len(colors(pl.latent(mdata, color="batch", show=False))) == 1
    assert len(colors(pl.latent(mdata, color="rna:batch", show=False))) == 4  # and cells without a value


def test_many_categories_are_named_on_the_points_without_overlap(mdata):
    for mod in ("rna", "atac"):
        mdata[mod].obs["type"] = pd.Categorical([f"type {i % 20}" for i in range(mdata[mod].n_obs)])
    ax = pl.latent(mdata, color="type", show=False)
    ax.figure.canvas.draw()
    boxes = [text.get_window_extent() for text in ax.texts]
    assert sorted(text.get_text() for text in ax.texts) == sorted(f"type {i}" for i in range(20))
    assert len(set(colors(ax).index)) == 20
    overlap = [a.intersection(a, b) for i, a in enumerate(boxes) for b in boxes[:i] if a.intersection(a, b) is not None]
    assert max((box.height for box in overlap), default=0) < 2  # pixels
    assert len(pl.latent(mdata, color="branch", show=False).texts) == 0


def test_palettes(mdata):
    names = list(mdata["rna"].obs["branch"].cat.categories)
    assert set(colors(pl.latent(mdata, color="branch", show=False)).index) <= {c.lower() for c in OKABE_ITO}
    named = dict.fromkeys(names, "#123456")
    assert set(colors(pl.latent(mdata, color="branch", palette=named, show=False)).index) == {"#123456"}
    mdata.uns["branch_colors"] = ["#111111", "#222222", "#333333"][: len(names)]
    assert "#111111" in colors(pl.latent(mdata, color="branch", show=False)).index
    with pytest.raises(ValueError, match="palette has no colour"):
        pl.latent(mdata, color="branch", palette=["red"], show=False)


def test_axes_show_and_save(mdata, tmp_path, monkeypatch):
    shown = []
    monkeypatch.setattr(plt, "show", lambda: shown.append(True))
    _, ax = plt.subplots()
    assert pl.latent(mdata, ax=ax, save=tmp_path / "latent.png") is ax
    assert imread(tmp_path / "latent.png")[..., :3].std() > 0.02
    assert not shown
    autoshow = sc.settings.autoshow
    try:
        for automatic, n_shown in ((True, 1), (False, 1)):
            sc.settings.autoshow = automatic
            pl.latent(mdata)
            assert len(shown) == n_shown
    finally:
        sc.settings.autoshow = autoshow
    pl.latent(mdata, show=True)
    assert len(shown) == 2


def test_points_are_pixels_and_files_stay_small(mdata, tmp_path):
    for mod in ("rna", "atac"):
        mdata.mod[mod] = mdata[mod][np.zeros(20_000, dtype=int)].copy()
        mdata[mod].obs_names = [f"{mod}{i}" for i in range(20_000)]
        mdata[mod].obsm["X_scdart"] = np.random.default_rng(0).normal(size=(20_000, 2))
    mdata = type(mdata)(mdata.mod)
    pl.latent(mdata, show=False, save=tmp_path / "many.svg")
    assert (tmp_path / "many.svg").stat().st_size < 1_500_000
    assert (tmp_path / "many.svg").read_text().count("<use ") < 1_000


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"color": "nothing"}, KeyError, "'nothing' is neither .* Columns found: .*pseudotime"),
        ({"use_rep": "X_other"}, KeyError, "integrate first"),
        ({"basis": "tsne"}, KeyError, "neither 'tsne' nor 'X_tsne'"),
        ({"layout": "beside"}, ValueError, "layout='beside'"),
        ({"legend_loc": "best"}, ValueError, "legend_loc='best'"),
        ({"color": ["branch"], "title": ["a", "b"]}, ValueError, "1 panels, and title 2"),
        ({"color": []}, ValueError, "at least one"),
        ({"rna_mod": "gex"}, KeyError, "rna_mod='gex'"),
    ],
)
def test_bad_input(mdata, options, error, message):
    with pytest.raises(error, match=message):
        pl.latent(mdata, show=False, **options)


def test_bad_positions_and_axes(mdata):
    with pytest.raises(ValueError, match="ax holds one panel, but 2"):
        pl.latent(mdata, color=["branch", "pseudotime"], ax=plt.subplots()[1], show=False)
    mdata["rna"].obsm["X_scdart"][0, 0] = np.nan
    with pytest.raises(ValueError, match="NaN or infinite"):
        pl.latent(mdata, show=False)
    for mod in ("rna", "atac"):
        mdata[mod].obsm["X_scdart"] = np.zeros((mdata[mod].n_obs, 1))
    with pytest.raises(ValueError, match="at least two dimensions"):
        pl.latent(mdata, show=False)

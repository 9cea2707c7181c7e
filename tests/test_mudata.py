"""One rule for columns of ``obs``: a colour, a root and a label of one name are the same values."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData, read_h5ad
from matplotlib.colors import to_hex
from mudata import MuData
from scipy import sparse

from scdart import pl, tl
from scdart._mudata import feature_values, in_obs, obs_column, positions
from scdart.datasets import simulate
from scdart.pl._colors import OKABE_ITO


@pytest.fixture
def mdata() -> MuData:
    """30 cells of RNA and 25 of ATAC, of which 10 are the same; modalities are in other orders than the whole."""
    simulated = simulate("linear", n_cells=(40, 30), n_genes=30, n_peaks=60, random_state=0)
    rng = np.random.default_rng(0)
    parts = {}
    for mod, first, n in (("rna", 0, 30), ("atac", 20, 25)):
        part = simulated[mod][:n].copy()
        part.obs_names = [f"cell{i}" for i in range(first, first + n)]
        parts[mod] = part[rng.permutation(n)].copy()
        parts[mod].obsm["X_scdart"] = rng.normal(size=(n, 3))
    return MuData(parts)


def number(name: str) -> int:
    return int(name.removeprefix("cell"))


def test_positions_are_those_of_the_names(mdata):
    for mod in mdata.mod:
        assert list(mdata.obs_names[positions(mdata, mod)]) == list(mdata[mod].obs_names)


@pytest.mark.parametrize("form", [np.asarray, sparse.csr_matrix, sparse.csc_array])
def test_values_of_a_feature(form, tmp_path):
    counts = np.arange(12.0).reshape(4, 3)
    adata = AnnData(form(counts), layers={"twice": form(2 * counts)})
    adata.var_names = ["a", "b", "c"]
    np.testing.assert_array_equal(feature_values(adata, "b"), counts[:, 1])
    np.testing.assert_array_equal(feature_values(adata, "c", layer="twice"), 2 * counts[:, 2])
    adata.write_h5ad(tmp_path / "backed.h5ad")
    backed = read_h5ad(tmp_path / "backed.h5ad", backed="r")
    np.testing.assert_array_equal(feature_values(backed, "b"), counts[:, 1])


def test_several_columns_of_one_name_are_refused(mdata):
    mdata["rna"].obs = pd.concat([mdata["rna"].obs, mdata["rna"].obs[["branch"]]], axis=1)
    with pytest.raises(ValueError, match="key='branch' is the name of several columns"):
        obs_column(mdata, "branch", "key", mod="rna")


def test_first_modality_that_knows_a_cell(mdata):
    mdata["rna"].obs["score"] = [np.nan if number(name) < 5 else 1.0 for name in mdata["rna"].obs_names]
    mdata["atac"].obs["score"] = 2.0
    expected = [np.nan if i < 5 else 1.0 if i < 30 else 2.0 for i in map(number, mdata.obs_names)]
    np.testing.assert_array_equal(obs_column(mdata, "score", "key"), expected)
    own = obs_column(mdata, "score", "key", mod="atac")
    assert list(own.index) == list(mdata["atac"].obs_names)
    assert (own == 2.0).all()
    of_rna = obs_column(mdata, "score", "key", mod="rna")
    assert of_rna["cell3"] != of_rna["cell3"]  # NaN
    assert of_rna["cell25"] == 1.0


def test_other_modality_where_the_asked_does_not_know(mdata):
    mdata["atac"].obs["only"] = "a"
    values = obs_column(mdata, "only", "key", mod="rna")
    assert list(values.dropna().index) == [n for n in mdata["rna"].obs_names if number(n) >= 20]


def test_column_of_all_cells_goes_first_and_a_named_modality_before_its_copy(mdata):
    mdata["rna"].obs["label"] = "own"
    mdata.obs["label"], mdata.obs["rna:label"] = "joint", "stale copy"
    assert set(obs_column(mdata, "label", "key")) == {"joint"}
    assert set(obs_column(mdata, "label", "key", mod="rna")) == {"joint"}
    assert set(obs_column(mdata, "rna:label", "key").dropna()) == {"own"}
    assert obs_column(mdata, "rna:label", "key").isna().sum() == mdata.n_obs - 30
    del mdata["rna"].obs["label"]
    assert set(obs_column(mdata, "rna:label", "key")) == {"stale copy"}


def test_categories_keep_their_order(mdata):
    mdata["rna"].obs["stage"] = pd.Categorical(["late"] * 30, categories=["early", "late"], ordered=True)
    column = obs_column(mdata, "stage", "key")
    assert column.cat.ordered
    assert list(column.cat.categories) == ["early", "late"]
    mdata["atac"].obs["stage"] = pd.Categorical(["other"] * 25)
    column = obs_column(mdata, "stage", "key")
    assert not column.cat.ordered
    assert list(column.cat.categories) == ["early", "late", "other"]


def test_missing_column_names_all_there_are(mdata):
    assert not in_obs(mdata, "nothing")
    with pytest.raises(KeyError, match="root_key='nothing' is no column of any obs: .*'rna': .*'pseudotime'"):
        obs_column(mdata, "nothing", "root_key")


@pytest.mark.parametrize("key", ["group", "rna:group"])
def test_colors_roots_groups_labels_and_curves_read_the_same_values(mdata, key):
    """``mdata.obs``, a stale copy in it, and the modalities disagree about every cell."""
    n = mdata.n_obs
    mdata.obs["group"] = pd.Categorical(np.where(np.arange(n) % 2, "odd", "even"))
    mdata.obs["rna:group"] = "stale copy"
    for mod in mdata.mod:
        mdata[mod].obs["group"] = pd.Categorical(np.where(np.arange(mdata[mod].n_obs) % 3, "a", "b"))
    expected = obs_column(mdata, key, "key")
    rng = np.random.default_rng(0)
    mdata.obsm["X_scdart"], mdata.obsm["X_plane"] = rng.normal(size=(n, 3)), rng.normal(size=(n, 2))

    ax = pl.latent(mdata, color=key, basis="plane", show=False)
    (points,) = [collection for collection in ax.collections if len(collection.get_offsets())]
    place = {tuple(xy): i for i, xy in enumerate(mdata.obsm["X_plane"])}
    color_of = {
        place[tuple(xy)]: to_hex(c) for xy, c in zip(points.get_offsets(), points.get_facecolors(), strict=True)
    }
    palette = dict(zip(expected.cat.categories, OKABE_ITO, strict=False))
    known = np.flatnonzero(expected.notna())
    assert all(color_of[i] == palette[expected.iloc[i]].lower() for i in known)
    assert not {color_of[i] for i in range(n) if i not in known} & {color.lower() for color in OKABE_ITO}
    plt.close("all")

    label = expected.cat.categories[0]
    tl.pseudotime(mdata, root_key=key, root_label=label, n_neighbors=10, key_added="time")
    assert expected[mdata.uns["time"]["root"]] == label
    tl.backbone(mdata, groups=key, pseudotime_key="time")
    assert mdata.obs["backbone"].astype(object).equals(expected.astype(object).rename("backbone"))
    tl.transfer_labels(mdata, key, n_neighbors=1, threshold=0, key_added="vote")
    assert set(mdata["atac"].obs["vote"].cat.categories) == set(expected.cat.categories)


def test_curves_and_colors_read_the_same_pseudotime(mdata):
    mdata["rna"].obs["time"] = 0.0  # with which there could be no curve
    mdata.obs["time"] = np.arange(mdata.n_obs) / mdata.n_obs
    tl.dynamic_features(mdata, pseudotime_key="time", df=2, min_cells=3, family="poisson")
    tested = mdata["rna"].uns["dynamic_features"].query("status == 'tested'").index
    curves = tl.dynamic_curves(mdata, tested[0])
    own = obs_column(mdata, "time", "key", mod="rna")
    assert curves["pseudotime"].agg(["min", "max"]).tolist() == [own.min(), own.max()]

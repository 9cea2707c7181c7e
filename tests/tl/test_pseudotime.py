from __future__ import annotations

import warnings

import mudata
import numpy as np
import pytest
import scanpy as sc
from scipy.stats import kendalltau

from scdart.metrics import pseudotime_kendall
from scdart.tl import _landmarks, pseudotime
from scdart.tl._neighbors import cell_graph
from scdart.tl._root import central_extreme, concentration


def truth(mdata):
    return mdata.uns["truth"].loc[mdata.obs_names, "time"]


def slots(mdata):
    return {
        (name, slot): set(getattr(data, slot))
        for name, data in {"": mdata, **mdata.mod}.items()
        for slot in ("obs", "uns")
    }


def line(mdata, rng, width=0.003):
    """Put the cells along a thin curve, and return their positions on it."""
    t = rng.uniform(size=mdata.n_obs)
    mdata.obsm["X_scdart"] = np.c_[5 * t, np.sin(6 * t), np.cos(4 * t)] + rng.normal(0, width, (mdata.n_obs, 3))
    return t


def test_distances_are_those_of_the_whole_spectrum(make_tree):
    """Against the definition, with every eigenvector of a dense transition matrix."""
    mdata = make_tree(60, 40)
    pseudotime(mdata, root="cell3", n_neighbors=10, n_comps=98)
    kernel = cell_graph(mdata.obsm["X_scdart"].astype(float), 10).obsp["connectivities"].toarray()
    density = kernel.sum(axis=1)
    kernel /= np.outer(density, density)
    degree = kernel.sum(axis=1)
    symmetric = kernel / np.sqrt(np.outer(degree, degree))
    stationary = np.sqrt(degree / degree.sum())
    # The sum over all path lengths, without the stationary state, in closed form.
    paths = np.linalg.inv(np.eye(100) - symmetric + np.outer(stationary, stationary)) - np.eye(100)
    root = mdata.obs_names.get_loc("cell3")
    expected = np.linalg.norm(paths - paths[root], axis=1)
    np.testing.assert_allclose(mdata.obs["dpt_pseudotime"], expected / expected.max(), atol=2e-3)


@pytest.mark.parametrize("n_neighbors", [15, 30, None])
def test_order_of_a_thin_line_is_found_where_scanpy_folds_it(make_tree, n_neighbors):
    mdata = make_tree(500, 500)
    t = line(mdata, np.random.default_rng(0))
    root = mdata.obs_names[t.argmin()]
    pseudotime(mdata, root=root, n_neighbors=n_neighbors)
    assert kendalltau(mdata.obs["dpt_pseudotime"], t).statistic > 0.95
    if n_neighbors == 15:
        graph = cell_graph(np.asarray(mdata.obsm["X_scdart"]), 15)
        sc.tl.diffmap(graph)
        graph.uns["iroot"] = t.argmin()
        sc.tl.dpt(graph)
        assert abs(kendalltau(graph.obs["dpt_pseudotime"], t).statistic) < 0.5


def test_all_ways_to_name_the_root_find_the_order(make_tree):
    mdata = make_tree()
    mdata["rna"].obs["early"] = np.where(mdata["rna"].obs["time"] < 0.2, "yes", "no")
    ways = [
        {"root": truth(mdata).idxmin()},
        {"root_key": "early", "root_label": "yes"},
        {"root_score": "time"},
        {"root_score": "rna_feature0", "root_extreme": "max"},
        {"root_score": "atac_feature0", "root_extreme": "max"},
    ]
    for way in ways:
        pseudotime(mdata, **way)
        assert pseudotime_kendall(mdata.obs["dpt_pseudotime"], truth(mdata)) > 0.85, way
        assert truth(mdata)[mdata.uns["dpt_pseudotime"]["root"]] < 0.25, way


def test_a_group_starts_at_its_outer_end_whatever_cells_are_misplaced(make_tree):
    mdata = make_tree()
    pseudotime(mdata, root_key="arm", root_label="left")
    time = truth(mdata)
    assert time[mdata.uns["dpt_pseudotime"]["root"]] > 1.5
    label = mdata.uns["truth"].loc[mdata.obs_names, "arm"].astype(object)
    label.iloc[np.flatnonzero(label == "right")[:3]] = "left"
    mdata.obs["noisy"] = label.to_numpy()
    pseudotime(mdata, root_key="noisy", root_label="left")
    assert mdata.uns["truth"].loc[mdata.uns["dpt_pseudotime"]["root"], "arm"] == "left"


def test_central_extreme_by_hand():
    y = np.array([[0.0], [1.0], [2.0], [3.0], [50.0], [90.0], [100.0]])
    # Median of the candidates 0, 1, 2, 3, 100 is 2; the two nearest are 2 and one beside it, that is further out.
    assert central_extreme(y, np.array([0, 1, 2, 3, 6])) == 1
    assert central_extreme(y, np.array([5])) == 5


def test_concentration_by_hand():
    y = np.array([[0.0], [1.0], [2.0], [3.0]])
    assert concentration(y, 0) == pytest.approx(1)
    assert concentration(y, 1) == pytest.approx(1 / 3)


def test_few_landmarks_order_many_cells(make_tree, monkeypatch):
    mdata = make_tree(600, 500, 100)
    way = {"root_score": "rna_feature0", "root_extreme": "max"}
    everything = pseudotime(mdata, **way, copy=True).obs["dpt_pseudotime"]
    monkeypatch.setattr(_landmarks, "_MAX_LANDMARKS", 200)
    pseudotime(mdata, **way)
    time = mdata.obs["dpt_pseudotime"]
    assert pseudotime_kendall(time, everything) > 0.9
    assert pseudotime_kendall(time, truth(mdata)) > 0.85
    assert time.idxmin() == mdata.uns["dpt_pseudotime"]["root"]

    mdata.obsm["X_scdart"][(mdata.uns["truth"]["arm"] == "left").to_numpy()] += 1000
    with pytest.warns(UserWarning, match="not connected"):
        pseudotime(mdata, root_key="arm", root_label="right")
    assert mdata.obs["dpt_pseudotime"].isna().equals(mdata.uns["truth"]["arm"] == "left")


def test_modalities_hold_the_values_of_their_cells_shared_ones_too(make_tree):
    mdata = make_tree(120, 100, 40)
    assert mdata.n_obs == 180
    pseudotime(mdata, root_score="time")
    for mod in mdata.mod:
        np.testing.assert_array_equal(
            mdata[mod].obs["dpt_pseudotime"], mdata.obs.loc[mdata[mod].obs_names, "dpt_pseudotime"]
        )
    assert mdata.obs["dpt_pseudotime"].min() == 0
    assert mdata.obs["dpt_pseudotime"].max() == 1


def test_separate_orders_every_modality_by_its_own_cells(make_tree):
    mdata = make_tree(150, 120, 30)
    before = slots(mdata)
    pseudotime(mdata, root_score="time", separate=True, key_added="dpt")
    for mod in ("rna", "atac"):
        own = mdata[mod].obs[f"dpt_{mod}"]
        assert pseudotime_kendall(own, mdata[mod].obs["time"]) > 0.8
        np.testing.assert_array_equal(mdata.obs.loc[own.index, f"dpt_{mod}"], own)
        assert mdata.obs[f"dpt_{mod}"].isna().sum() == mdata.n_obs - mdata[mod].n_obs
    added = {key: names - before[key] for key, names in slots(mdata).items()}
    assert added == {
        ("", "obs"): {"dpt", "dpt_rna", "dpt_atac"},
        ("", "uns"): {"dpt"},
        ("rna", "obs"): {"dpt", "dpt_rna"},
        ("rna", "uns"): set(),
        ("atac", "obs"): {"dpt", "dpt_atac"},
        ("atac", "uns"): set(),
    }


def test_ranked_keeps_the_order(make_tree):
    mdata = make_tree(60, 50)
    time = pseudotime(mdata, root_score="time", copy=True).obs["dpt_pseudotime"]
    ranked = pseudotime(mdata, root_score="time", ranked=True, copy=True).obs["dpt_pseudotime"]
    np.testing.assert_allclose(np.sort(ranked), np.linspace(0, 1, 110))
    assert pseudotime_kendall(ranked, time) == pytest.approx(1)


def test_copy_and_seed(make_tree):
    mdata = make_tree(60, 50)
    before = slots(mdata)
    result = pseudotime(mdata, root_score="time", copy=True)
    assert slots(mdata) == before
    assert pseudotime(mdata, root_score="time") is None
    np.testing.assert_array_equal(result.obs["dpt_pseudotime"], mdata.obs["dpt_pseudotime"])


def test_cells_that_are_not_connected_have_none(make_tree):
    mdata = make_tree(200, 150)
    far = mdata.obs_names[mdata.uns["truth"]["arm"] == "left"]
    for data in (mdata, *mdata.mod.values()):
        data.obsm["X_scdart"][data.obs_names.isin(far)] += 1000
    with pytest.warns(UserWarning, match=rf"{len(far)} of 350 cells are not connected.*n_neighbors=30"):
        pseudotime(mdata, root_key="arm", root_label="right")
    time = mdata.obs["dpt_pseudotime"]
    assert set(time.index[time.isna()]) == set(far)
    assert time.max() == 1
    assert mdata.uns["dpt_pseudotime"]["n_unconnected"] == len(far)
    with (
        pytest.warns(UserWarning, match="all cells.*not connected"),
        pytest.warns(UserWarning, match="rna alone.*not connected"),
        pytest.warns(UserWarning, match="atac alone.*not connected"),
    ):
        pseudotime(mdata, root_key="arm", root_label="right", ranked=True, separate=True)
    assert mdata.obs["dpt_pseudotime"].max() == 1


def test_a_root_in_the_middle_is_noticed(make_tree):
    mdata = make_tree(300, 300)
    t = line(mdata, np.random.default_rng(0), width=0.02)
    with pytest.warns(UserWarning, match="root lies between others"):
        pseudotime(mdata, root=mdata.obs_names[np.abs(t - 0.5).argmin()])
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        pseudotime(mdata, root=mdata.obs_names[t.argmin()])


def test_result_can_be_saved(make_tree, tmp_path):
    mdata = make_tree(60, 50)
    del mdata.uns["truth"]
    root = mdata["rna"].obs["time"].idxmin()
    pseudotime(mdata, root=root, separate=True)
    mdata.write(tmp_path / "ordered.h5mu")
    read = mudata.read_h5mu(tmp_path / "ordered.h5mu")
    for column in ("dpt_pseudotime", "dpt_pseudotime_rna"):
        np.testing.assert_array_equal(read.obs[column], mdata.obs[column])
    assert read.uns["dpt_pseudotime"]["root"] == root
    assert read.uns["dpt_pseudotime"]["params"]["n_neighbors"] == 30


def without_latent(mdata):
    del mdata.obsm["X_scdart"]


def with_nan(mdata):
    mdata.obsm["X_scdart"][4, 1] = np.nan


def with_collapsed_space(mdata):
    mdata.obsm["X_scdart"][:] = 1.0


def with_text(mdata):
    mdata["rna"].obs["stage"] = "early"


def with_constant(mdata):
    mdata["rna"].obs["stage"] = 1.5


def with_isolated_root(mdata):
    for data in (mdata, *mdata.mod.values()):
        data.obsm["X_scdart"] = np.asarray(data.obsm["X_scdart"], dtype=float)
    mdata.obsm["X_scdart"][mdata.obs_names.get_indexer(["cell0", "cell1", "cell2"])] += 1e6


@pytest.mark.parametrize(
    ("spoil", "options", "error", "match"),
    [
        (without_latent, {"root": "cell0"}, KeyError, r"mdata.obsm\['X_scdart'\] does not exist.*scdart.tl.integrate"),
        (with_nan, {"root": "cell0"}, ValueError, "NaN or infinite for 1 cells"),
        (with_collapsed_space, {"root": "cell0"}, ValueError, "the same for all cells"),
        (None, {}, ValueError, "0 ways to find the root"),
        (None, {"root": "cell0", "root_score": "time"}, ValueError, "2 ways to find the root"),
        (None, {"root": "nobody"}, ValueError, "root='nobody' is no cell.*'cell"),
        (None, {"root_key": "arm"}, ValueError, "belong together"),
        (None, {"root_key": "leg", "root_label": "left"}, KeyError, "root_key='leg' is no column"),
        (None, {"root_key": "arm", "root_label": "up"}, ValueError, "root_label='up' is no label.*'left'"),
        (None, {"root_score": "Sox2"}, KeyError, "'Sox2' is neither a column of obs nor in var_names"),
        (with_text, {"root_score": "stage"}, ValueError, "numeric"),
        (with_constant, {"root_score": "stage"}, ValueError, "same in all cells"),
        (None, {"root": "cell0", "root_extreme": "low"}, ValueError, "root_extreme='low'"),
        (None, {"root": "cell0", "n_neighbors": 1}, ValueError, "n_neighbors=1 must be a whole number of at least 2"),
        (None, {"root": "cell0", "n_comps": 1}, ValueError, "n_comps=1"),
        (with_isolated_root, {"root": "cell0", "n_neighbors": 3}, ValueError, "only 3 of 110 cells"),
    ],
)
def test_bad_input_leaves_the_object_as_it_was(make_tree, spoil, options, error, match):
    mdata = make_tree(60, 50)
    if spoil is not None:
        spoil(mdata)
    before = slots(mdata)
    with pytest.raises(error, match=match):
        pseudotime(mdata, **options)
    assert slots(mdata) == before


def test_separate_needs_the_coordinates_of_the_modalities(make_tree):
    mdata = make_tree(60, 50, 10)
    del mdata["atac"].obsm["X_scdart"]
    with pytest.raises(KeyError, match=r"mdata\['atac'\].obsm.*scdart.tl.embed"):
        pseudotime(mdata, root="cell0", separate=True)


def test_a_view_can_only_be_copied(make_tree):
    view = make_tree(60, 50)[:90]
    root = view.obs_names[0]
    with pytest.raises(ValueError, match="is a view"):
        pseudotime(view, root=root)
    assert pseudotime(view, root=root, copy=True).obs["dpt_pseudotime"].notna().all()


def test_order_of_simulated_cells(data_dir):
    """Real output of the simulator of the paper: all cells, ordered by their expression alone."""
    from scdart.pp._features import log_normalize, pca

    rna = mudata.read_h5mu(data_dir / "symsim2_bifurcating.h5mu")["rna"]
    mdata = mudata.MuData({"rna": rna})
    mdata.obsm["X_scdart"] = pca(log_normalize(rna.X))
    pseudotime(mdata, root_score="pseudotime")
    assert pseudotime_kendall(mdata.obs["dpt_pseudotime"], rna.obs["pseudotime"]) > 0.85


def test_parts_are_logged(make_tree, caplog):
    with caplog.at_level("INFO", logger="scdart"):
        pseudotime(make_tree(60, 50), root="cell0", separate=True)
    messages = [record.message for record in caplog.records]
    assert messages[0] == "Pseudotime (1 of 6): graph of all cells"
    assert messages[-1] == "Pseudotime (6 of 6): order of atac alone"

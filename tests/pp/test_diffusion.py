"""Diffusion coordinates against the dense computation, and their manners."""

from __future__ import annotations

import warnings

import anndata as ad
import graphtools
import mudata as md
import numpy as np
import pytest
import scipy.sparse as sp
import scvi
from scipy.spatial.distance import pdist, squareform

from scdart._slots import given_times
from scdart.pp import _diffusion, diffusion_coordinates
from scdart.pp._features import log_normalize, lsi, pca, tfidf
from scdart.pp._kernel import alpha_decay_kernel

KEY = "X_diffusion_coordinates"


def trajectory(n_cells, n_features=20, noise=0.1, seed=0):
    """Noisy cells along two arms that begin at one root."""
    rng = np.random.default_rng(seed)
    time, arm = rng.uniform(size=n_cells), rng.integers(2, size=n_cells)
    centre = np.zeros((n_cells, n_features))
    centre[:, 0] = 3 * time
    centre[np.arange(n_cells), 1 + arm] = 3 * np.maximum(time - 0.5, 0)
    return centre + rng.normal(scale=noise, size=centre.shape)


def with_features(**features):
    adatas = {mod: ad.AnnData(np.ones((len(x), 2), np.float32), obsm={"X_rep": x}) for mod, x in features.items()}
    for mod, adata in adatas.items():
        adata.obs_names = [f"{mod}{i}" for i in range(adata.n_obs)]
    return md.MuData(adatas)


def from_counts(n_rna=80, n_atac=70):
    rng = np.random.default_rng(0)
    adatas = {}
    for mod, n_cells, scale in (("rna", n_rna, 5), ("atac", n_atac, 0.7)):
        time = rng.uniform(size=(n_cells, 1))
        counts = rng.poisson(scale * np.exp(-((time - np.linspace(0, 1, 60)) ** 2) / 0.1))
        counts[:, 0] += 1
        adatas[mod] = ad.AnnData(sp.csr_matrix(counts, dtype=np.float32))
        adatas[mod].obs_names = [f"{mod}{i}" for i in range(n_cells)]
    return md.MuData(adatas)


REP = {"rna": "X_rep", "atac": "X_rep"}


def dense_distances(features, t, potential):
    """The published computation: n x n matrices, distances divided by their norm."""
    operator = np.asarray(graphtools.Graph(features, n_pca=None, knn=5, decay=40, verbose=0).diff_op.todense(), float)
    rows = np.linalg.matrix_power(operator, t)
    distances = pdist(-np.log(rows + 1e-7) if potential else rows)
    return distances / np.linalg.norm(distances)


def block_distances(adata, key="diffusion_coordinates"):
    uns = adata.uns[key]
    blocks = np.split(adata.obsm[f"X_{key}"].astype(float), len(uns["t"]), axis=1)
    return {int(t): pdist(block) for t, block in zip(uns["t"], blocks, strict=True)}


@pytest.fixture(scope="module")
def thousand():
    return with_features(rna=trajectory(30), atac=trajectory(1000, noise=0.3))


@pytest.mark.parametrize("potential", [False, True])
@pytest.mark.parametrize("t", [(5, 10, 20), (30, 50, 70)])
def test_distances_are_those_of_the_dense_computation(thousand, t, potential):
    atac = diffusion_coordinates(thousand, t=t, potential=potential, use_rep=REP, copy=True)["atac"]
    distances = block_distances(atac)
    assert list(distances) == list(t)
    for steps, found in distances.items():
        exact = dense_distances(thousand["atac"].obsm["X_rep"], steps, potential)
        assert np.linalg.norm(found / np.linalg.norm(found) - exact) < 1e-4
        assert np.sqrt(np.mean(found**2)) == pytest.approx(1, rel=1e-5)
    assert atac.uns["diffusion_coordinates"]["explained"] == pytest.approx(1, abs=1e-4)


def test_numbers_that_are_given_again_count_again(thousand):
    once = block_distances(diffusion_coordinates(thousand, t=(0, 5), use_rep=REP, copy=True)["atac"])
    written = diffusion_coordinates(thousand, t=(0, 5, 0, 0), use_rep=REP, copy=True)["atac"]
    uns = written.uns["diffusion_coordinates"]
    again = block_distances(written)
    np.testing.assert_allclose((again[0] + again[5]) / 2, (3 * once[0] + once[5]) / 4, rtol=1e-4)
    assert written.obsm[KEY].shape[1] == 2 * uns["n_components"]
    assert given_times(uns) == (0, 0, 0, 5)


def test_real_cells_hold_the_error(data_dir):
    mdata = md.read_h5mu(data_dir / "snare_cortex.h5mu")[::6][:1000].copy()
    diffusion_coordinates(mdata, t=(5, 10, 20))
    for mod, features in (("rna", pca(log_normalize(mdata["rna"].X))), ("atac", lsi(tfidf(mdata["atac"].X)))):
        for steps, found in block_distances(mdata[mod]).items():
            exact = dense_distances(features.astype(float), steps, potential=False)
            assert np.linalg.norm(found / np.linalg.norm(found) - exact) < 1e-4


def test_sampled_landmarks_estimate_the_potential(thousand, monkeypatch):
    exact = diffusion_coordinates(thousand, t=[10], potential=True, use_rep=REP, copy=True)
    monkeypatch.setattr(_diffusion, "_MAX_POTENTIALS", 500 * 1000)
    sampled = diffusion_coordinates(thousand, t=[10], potential=True, use_rep=REP, copy=True)
    found, true = (block_distances(mdata["atac"])[10] for mdata in (sampled, exact))
    assert 1e-4 * np.linalg.norm(true) < np.linalg.norm(found - true) < 0.05 * np.linalg.norm(true)


def test_many_cells_are_capped_and_say_so(thousand, monkeypatch):
    monkeypatch.setattr(_diffusion, "_MAX_BLOCK_SIZE", 0)
    monkeypatch.setattr(_diffusion, "_MAX_COMPONENTS", 50)
    written = diffusion_coordinates(thousand, t=(5, 10, 20), use_rep=REP, copy=True)["atac"]
    uns = written.uns["diffusion_coordinates"]
    assert written.obsm[KEY].shape == (1000, 150)
    assert uns["n_components"] == 50
    kernel = alpha_decay_kernel(thousand["atac"].obsm["X_rep"]).toarray()
    operator = kernel / kernel.sum(axis=1, keepdims=True)
    for t, explained in zip((5, 10, 20), uns["explained"], strict=True):
        rows = np.linalg.matrix_power(operator, t)
        variances = np.linalg.svd(rows - rows.mean(axis=0), compute_uv=False) ** 2
        assert explained == pytest.approx(variances[:50].sum() / variances.sum(), abs=0.03)


def test_no_step_gives_the_distances_of_the_features(thousand):
    atac = diffusion_coordinates(thousand, t=[0, 5], use_rep=REP, copy=True)["atac"]
    features = atac.obsm["X_rep"]
    exact, found = pdist(features), block_distances(atac)[0]
    np.testing.assert_allclose(found / np.linalg.norm(found), exact / np.linalg.norm(exact), rtol=1e-4)


def test_features_come_from_counts():
    mdata = from_counts()
    from_x = diffusion_coordinates(mdata, n_pcs=10, copy=True)
    mdata["rna"].obsm["X_pca"] = pca(log_normalize(mdata["rna"].X), 10)
    mdata["atac"].obsm["X_lsi"] = lsi(tfidf(mdata["atac"].X), 10)
    from_reps = diffusion_coordinates(mdata, use_rep={"rna": "X_pca", "atac": "X_lsi"}, copy=True)
    for mod, rep in (("rna", "X_pca"), ("atac", "X_lsi")):
        np.testing.assert_array_equal(from_x[mod].obsm[KEY], from_reps[mod].obsm[KEY])
        assert from_x[mod].uns["diffusion_coordinates"]["n_pcs"] == 10
        assert from_reps[mod].uns["diffusion_coordinates"]["use_rep"] == rep


def test_modality_names_layers_and_slots_are_free():
    expected = diffusion_coordinates(from_counts(), n_pcs=10, copy=True)
    named = from_counts()
    named = md.MuData({"gex": named["rna"].copy(), "peaks": named["atac"].copy()})
    for mod in named.mod:
        named[mod].layers["counts"] = named[mod].X.toarray()
        named[mod].X = None
    options = {"rna_mod": "gex", "atac_mod": "peaks", "rna_layer": "counts", "atac_layer": "counts"}
    assert diffusion_coordinates(named, n_pcs=10, key_added="dc", **options) is None
    for mod, name in (("rna", "gex"), ("atac", "peaks")):
        np.testing.assert_allclose(named[name].obsm["X_dc"], expected[mod].obsm[KEY], atol=1e-6)
        assert set(named[name].uns) == {"dc"}


def test_coordinates_survive_a_file(tmp_path):
    mdata = from_counts()
    diffusion_coordinates(mdata, n_pcs=10, potential=True)
    mdata.write(tmp_path / "mdata.h5mu")
    read = md.read_h5mu(tmp_path / "mdata.h5mu")
    for mod in ("rna", "atac"):
        np.testing.assert_array_equal(read[mod].obsm[KEY], mdata[mod].obsm[KEY])
        before, after = (m[mod].uns["diffusion_coordinates"] for m in (mdata, read))
        assert before.keys() == after.keys()
        assert all(np.array_equal(before[name], after[name]) for name in before)
        assert read[mod].obsm[KEY].dtype == np.float32


def test_order_of_times_is_kept():
    mdata = from_counts()
    up = diffusion_coordinates(mdata, t=(5, 20), n_pcs=10, n_components=8, copy=True)["rna"].obsm[KEY]
    down = diffusion_coordinates(mdata, t=(20, 5), n_pcs=10, n_components=8, copy=True)["rna"].obsm[KEY]
    np.testing.assert_array_equal(np.hstack([up[:, 8:], up[:, :8]]), down)


def test_seeds_reproduce_bits(monkeypatch):
    monkeypatch.setattr(_diffusion, "_MAX_BLOCK_SIZE", 0)
    monkeypatch.setattr(_diffusion, "_MAX_COMPONENTS", 10)
    mdata = from_counts()

    def coordinates(random_state):
        return diffusion_coordinates(mdata, n_pcs=10, random_state=random_state, copy=True)["rna"].obsm[KEY]

    np.testing.assert_array_equal(coordinates(1), coordinates(1))
    assert not np.array_equal(coordinates(1), coordinates(2))
    monkeypatch.setattr(scvi.settings, "_seed", 2)
    np.testing.assert_array_equal(coordinates(None), coordinates(2))


def test_only_documented_slots_are_written():
    mdata, untouched = from_counts(), from_counts()
    assert diffusion_coordinates(mdata, n_pcs=10) is None
    for mod in ("rna", "atac"):
        assert (mdata[mod].X != untouched[mod].X).nnz == 0
        assert list(mdata[mod].obs) == list(mdata[mod].var) == []
        assert list(mdata[mod].obsm) == [KEY]
        assert list(mdata[mod].uns) == ["diffusion_coordinates"]


def test_views_are_left_alone():
    view = from_counts()[:120]
    with pytest.raises(ValueError, match="is a view"):
        diffusion_coordinates(view, n_pcs=10)
    assert view.is_view
    copied = diffusion_coordinates(view, n_pcs=10, copy=True)
    assert KEY in copied["rna"].obsm
    assert KEY not in view["rna"].obsm
    assert view.is_view


def test_disconnected_graph_warns_and_keeps_distances_within_parts():
    near, far = trajectory(60), trajectory(40, seed=1) + 100
    mdata = with_features(rna=np.vstack([near, far]), atac=near)
    with pytest.warns(UserWarning, match=r"mdata.mod\['rna'\] has 2 components .* of 60, 40 cells"):
        diffusion_coordinates(mdata, use_rep=REP)
    coordinates = mdata["rna"].obsm[KEY]
    assert np.isfinite(coordinates).all()
    alone = block_distances(mdata["atac"])
    for t, distances in block_distances(mdata["rna"]).items():
        within = squareform(distances)[:60, :60]
        np.testing.assert_allclose(
            within / np.linalg.norm(within), squareform(alone[t] / np.linalg.norm(alone[t])) / np.sqrt(2), atol=1e-4
        )


def test_duplicates_share_their_coordinates():
    features = trajectory(100)
    features[:9] = features[0]
    mdata = with_features(rna=features, atac=trajectory(100, seed=1))
    diffusion_coordinates(mdata, use_rep=REP)
    coordinates = mdata["rna"].obsm[KEY]
    assert np.isfinite(coordinates).all()
    np.testing.assert_allclose(coordinates[1:9], coordinates[:1].repeat(8, axis=0), atol=1e-5)
    assert np.linalg.norm(coordinates[9:] - coordinates[0], axis=1).min() > 1e-3


def test_stationary_walk_warns():
    mdata = with_features(rna=np.ones((6, 2)), atac=trajectory(100))
    with pytest.warns(UserWarning, match=r"t=5 .*'rna'.* forgotten where it began"):
        diffusion_coordinates(mdata, t=[5], use_rep=REP)
    assert not mdata["rna"].obsm[KEY].any()


def test_components_are_reduced_with_a_warning():
    mdata = with_features(rna=trajectory(30), atac=trajectory(100))
    with pytest.warns(UserWarning, match=r"30 cells of mdata.mod\['rna'\] have 29 diffusion coordinates, not 40"):
        diffusion_coordinates(mdata, t=(0, 5), n_components=40, use_rep=REP)
    assert mdata["rna"].obsm[KEY].shape == (30, 2 * 29)
    assert mdata["atac"].obsm[KEY].shape == (100, 2 * 40)


def test_few_cells_need_fewer_neighbours():
    mdata = with_features(rna=trajectory(100), atac=trajectory(5))
    with pytest.raises(ValueError, match=r"mdata.mod\['atac'\] has 5 cells, not more than n_neighbors=5"):
        diffusion_coordinates(mdata, use_rep=REP)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        diffusion_coordinates(mdata, n_neighbors=4, t=[2], use_rep=REP)
    assert np.isfinite(mdata["atac"].obsm[KEY]).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"t": ()}, r"t=\(\) must be"),
        ({"t": (-1, 5)}, r"t=\(-1, 5\) must be"),
        ({"t": 2.5}, "t=2.5 must be"),
        ({"n_neighbors": 0}, "n_neighbors=0 must be a whole number of at least 1"),
        ({"n_components": 0}, "n_components=0 must be a whole number of at least 1"),
        ({"n_pcs": 1}, "n_pcs=1 must be a whole number of at least 2"),
        ({"atac_mod": "rna"}, "are both 'rna'"),
    ],
)
def test_options_out_of_range(options, message):
    with pytest.raises(ValueError, match=message):
        diffusion_coordinates(from_counts(), **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"atac_mod": "peaks"}, r"'peaks' is not a modality of mdata, which has \['rna', 'atac'\]"),
        ({"rna_layer": "counts"}, r"layers\['counts'\] does not exist"),
        ({"use_rep": {"rna": "X_pca"}}, r"mdata.mod\['rna'\].obsm\['X_pca'\] does not exist"),
        ({"use_rep": {"gex": "X_pca"}}, r"use_rep names \['gex'\]"),
    ],
)
def test_missing_slots(options, message):
    with pytest.raises(KeyError, match=message):
        diffusion_coordinates(from_counts(), **options)


def test_bad_values_leave_the_object_as_it_was():
    mdata = from_counts()
    mdata["atac"].X.data[3] = np.nan
    with pytest.raises(ValueError, match=r"mdata.mod\['atac'\].X holds 1 values"):
        diffusion_coordinates(mdata)
    mdata = from_counts()
    mdata["rna"].X.data[: mdata["rna"].X.indptr[2]] = 0
    with pytest.raises(ValueError, match=r"mdata.mod\['rna'\].X has 2 cells without counts, such as 'rna0'"):
        diffusion_coordinates(mdata)
    rep = with_features(rna=trajectory(30), atac=trajectory(30))
    rep["atac"].obsm["X_rep"][4, 1] = np.inf
    with pytest.raises(ValueError, match=r"obsm\['X_rep'\] holds NaN or infinite values in 1 cells"):
        diffusion_coordinates(rep, use_rep=REP)
    for touched in (mdata, rep):
        assert KEY not in touched["rna"].obsm
        assert "diffusion_coordinates" not in touched["rna"].uns

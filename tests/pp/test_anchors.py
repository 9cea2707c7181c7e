"""Anchors: what is written, known pairs, confidence, warnings, and no use of pairing that was not asked for."""

from __future__ import annotations

import warnings

import mudata as md
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import scvi
from sklearn.metrics import roc_auc_score

import scdart


@pytest.fixture(scope="module")
def paired():
    return scdart.datasets.simulate("bifurcating", n_cells=150, n_genes=150, n_peaks=400, paired=True)


@pytest.fixture(scope="module")
def unpaired():
    return scdart.datasets.simulate("bifurcating", n_cells=(120, 150), n_genes=150, n_peaks=400)


@pytest.fixture
def mdata(unpaired):
    return unpaired.copy()


def foscttm(mdata):
    return scdart.metrics.foscttm(*(mdata[mod].obsm["X_anchors"] for mod in ("rna", "atac")))


def without_sharing(mdata):
    """The same cells under names that no longer say so."""
    renamed = {mod: mdata[mod].copy() for mod in ("rna", "atac")}
    renamed["atac"].obs_names = [f"other-{name}" for name in renamed["atac"].obs_names]
    return md.MuData(renamed)


def test_slots(mdata):
    before = mdata.copy()
    assert scdart.pp.anchors(mdata) is None
    weights = mdata.obsp["anchors"]
    assert sp.issparse(weights)
    assert weights.format == "csr"
    assert weights.dtype == np.float32
    is_rna, is_atac = (mdata.obsmap[mod].ravel() > 0 for mod in ("rna", "atac"))
    assert weights[~is_rna].nnz == 0
    assert weights[:, ~is_atac].nnz == 0
    assert weights[is_rna].getnnz(axis=1).min() > 0, "an RNA cell has no partner"

    confidence = mdata["atac"].obsm["anchors_confidence"]
    assert confidence.shape == (150, 1)
    assert confidence.min() >= 0
    assert confidence.max() <= 1
    order = mdata.obsmap["atac"].ravel()[is_atac] - 1
    np.testing.assert_allclose(np.asarray(weights.sum(axis=0)).ravel()[is_atac], confidence[order, 0], rtol=1e-5)
    assert mdata["rna"].obsm["anchors_confidence"].shape == (120, 1)
    for mod in ("rna", "atac"):
        coordinates = mdata[mod].obsm["X_anchors"]
        assert coordinates.shape == (mdata[mod].n_obs, 10 + 10)  # directions and positions
        np.testing.assert_allclose(np.linalg.norm(coordinates[:, :10], axis=1), 1, rtol=1e-5)
        pd.testing.assert_frame_equal(mdata[mod].obs, before[mod].obs)
        pd.testing.assert_frame_equal(mdata[mod].var, before[mod].var)
        assert (mdata[mod].X != before[mod].X).nnz == 0
    described = mdata.uns["anchors"]
    assert described["variant"] == "refined"
    assert described["agreement"]["refined"] > described["agreement"]["canonical"]
    assert described["z"] > 3
    assert described["n_pairs"] == 0


def test_positions_are_those_of_obs_names(mdata):
    scdart.pp.anchors(mdata)
    swapped = md.MuData({mod: mdata[mod].copy() for mod in ("atac", "rna")})
    scdart.pp.anchors(swapped)
    frames = [pd.DataFrame.sparse.from_spmatrix(m.obsp["anchors"], m.obs_names, m.obs_names) for m in (mdata, swapped)]
    names = mdata.obs_names
    np.testing.assert_allclose(frames[0].loc[names, names], frames[1].loc[names, names], atol=1e-6)


def test_partners_are_near_in_pseudotime(mdata):
    scdart.pp.anchors(mdata)
    weights = mdata.obsp["anchors"][:120][:, 120:].toarray()
    rna, atac = (mdata[mod].obs["pseudotime"].to_numpy(float) for mod in ("rna", "atac"))
    expected = weights.T @ rna / weights.sum(axis=0)
    assert np.corrcoef(expected, atac)[0, 1] > 0.9
    expected = weights @ atac / weights.sum(axis=1)
    assert np.corrcoef(expected, rna)[0, 1] > 0.9


def test_pairing_is_not_used_unless_asked(paired):
    names, renamed = paired.copy(), without_sharing(paired)
    scdart.pp.anchors(names)
    scdart.pp.anchors(renamed)
    for mod in ("rna", "atac"):
        np.testing.assert_array_equal(names[mod].obsm["X_anchors"], renamed[mod].obsm["X_anchors"])
    rows = names.obsmap["rna"].ravel() - 1
    np.testing.assert_array_equal(
        names.obsp["anchors"].toarray(), renamed.obsp["anchors"][:150][:, 150:].toarray()[np.ix_(rows, rows)]
    )


def test_same_seed_same_anchors(mdata):
    given, other = (scdart.pp.anchors(mdata, random_state=seed, copy=True) for seed in (3, 4))
    assert "anchors" not in mdata.obsp
    assert (given.obsp["anchors"] != other.obsp["anchors"]).nnz > 0
    scvi.settings.seed = 3
    scdart.pp.anchors(mdata)
    assert (given.obsp["anchors"] != mdata.obsp["anchors"]).nnz == 0


def test_refinement_can_be_chosen(paired):
    results = {refine: scdart.pp.anchors(paired, refine=refine, copy=True) for refine in (True, False)}
    assert results[True].uns["anchors"]["variant"] == "refined"
    assert results[False].uns["anchors"]["variant"] == "canonical"
    assert foscttm(results[True]) < 0.8 * foscttm(results[False])
    assert foscttm(results[True]) < 0.1


def test_names_layers_and_file(unpaired, tmp_path):
    renamed = {"expression": unpaired["rna"].copy(), "peaks": unpaired["atac"].copy()}
    renamed["peaks"].varm["prior"] = renamed["peaks"].varm.pop("gene_activity")
    del renamed["peaks"].uns["gene_activity"]
    for adata in renamed.values():
        adata.layers["raw"] = adata.X.copy()
        adata.X = sp.csr_matrix(adata.shape)
    mdata = md.MuData(renamed)
    options = {"rna_mod": "expression", "atac_mod": "peaks", "rna_layer": "raw", "atac_layer": "raw"}
    scdart.pp.anchors(mdata, prior_key="prior", key_added="mine", n_components=4, **options)
    expected = scdart.pp.anchors(unpaired, n_components=4, copy=True)
    assert (mdata.obsp["mine"] != expected.obsp["anchors"]).nnz == 0
    assert mdata["expression"].obsm["X_mine"].shape == (120, 4 + 10)
    mdata.write_h5mu(tmp_path / "anchors.h5mu")
    stored = md.read_h5mu(tmp_path / "anchors.h5mu")
    assert (stored.obsp["mine"] != mdata.obsp["mine"]).nnz == 0
    assert stored.uns["mine"]["variant"] == "refined"


@pytest.mark.parametrize("inferred", [True, False])
def test_cells_of_the_same_name_on_request(paired, inferred):
    mdata = scdart.pp.anchors(paired, pairs="obs_names", inferred=inferred, copy=True)
    np.testing.assert_array_equal(mdata.obsp["anchors"].toarray(), np.eye(150))
    assert (mdata["rna"].obsm["anchors_confidence"] == 1).all()
    assert mdata.uns["anchors"]["n_pairs"] == 150
    assert ("X_anchors" in mdata["rna"].obsm) == inferred
    assert (mdata.uns["anchors"]["variant"] == "known") == (not inferred)


@pytest.mark.parametrize("container", [list, np.array, lambda pairs: pd.DataFrame(pairs, columns=["rna", "atac"])])
def test_some_known_pairs(mdata, container):
    rna, atac = mdata["rna"].obs_names, mdata["atac"].obs_names
    pairs = [(rna[5], atac[7]), (rna[6], atac[7]), (rna[5], atac[9]), (rna[5], atac[9])]
    inferred = container is list
    scdart.pp.anchors(mdata, pairs=container(pairs), inferred=inferred)
    weights = mdata.obsp["anchors"][:120][:, 120:].toarray()
    np.testing.assert_allclose(weights[:, 7], np.isin(np.arange(120), [5, 6]) / 2)
    np.testing.assert_allclose(weights[:, 9], np.arange(120) == 5)
    assert ((weights[:, 8] > 0).sum() > 2) == inferred
    assert mdata["rna"].obsm["anchors_confidence"][[5, 6]].tolist() == [[1], [1]]
    assert mdata.uns["anchors"]["n_pairs"] == 3


def test_known_pairs_alone_leave_other_cells_without_anchors(mdata):
    mdata["rna"].obsm["X_anchors"] = np.zeros((120, 10))  # of inferred anchors
    scdart.pp.anchors(mdata, pairs=[(mdata["rna"].obs_names[5], mdata["atac"].obs_names[7])], inferred=False)
    assert mdata.obsp["anchors"].nnz == 1
    assert mdata.obsp["anchors"][5, 127] == 1
    assert "X_anchors" not in mdata["rna"].obsm
    assert mdata["atac"].obsm["anchors_confidence"].sum() == 1


def test_known_pairs_help_other_cells(paired):
    some = paired.obs_names[::2].to_numpy()
    rng = np.random.default_rng(0)
    mdata = paired.copy()
    prior = mdata["atac"].varm["gene_activity"].copy()
    wrong = rng.permutation(150)
    wrong[:75] = np.arange(75)  # half of the genes keep their peaks
    mdata["atac"].varm["gene_activity"] = prior[:, wrong]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # so few genes may say nothing
        alone = scdart.pp.anchors(mdata, refine=True, copy=True)
    helped = scdart.pp.anchors(mdata, refine=True, pairs=np.column_stack([some, some]), copy=True)
    others = ~paired.obs_names.isin(some)
    scores = [
        scdart.metrics.foscttm(*(m[mod][m.obs_names[others]].obsm["X_anchors"] for mod in ("rna", "atac")))
        for m in (alone, helped)
    ]
    assert scores[1] < 0.9 * scores[0]


def test_cells_without_counterpart_have_low_confidence():
    mdata = scdart.datasets.simulate(
        "bifurcating", n_cells=400, n_genes=300, n_peaks=900, proportions_atac=(1, 0), random_state=1
    )
    scdart.pp.anchors(mdata)
    confidence = mdata["rna"].obsm["anchors_confidence"][:, 0]
    absent = ~mdata["rna"].obs["branch"].isin(mdata["atac"].obs["branch"].unique())
    assert roc_auc_score(~absent, confidence) > 0.9
    assert np.median(confidence[absent]) < 0.65
    assert np.median(confidence[~absent]) > 0.95
    assert np.median(mdata["atac"].obsm["anchors_confidence"]) > 0.75


def test_prior_without_signal_warns(mdata):
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        scdart.pp.anchors(mdata, copy=True)
    prior = mdata["atac"].varm["gene_activity"]
    mdata["atac"].varm["gene_activity"] = prior[np.random.default_rng(0).permutation(prior.shape[0])]
    with pytest.warns(UserWarning, match="carries no signal"):
        scdart.pp.anchors(mdata)
    assert mdata.uns["anchors"]["z"] < 3
    assert mdata.uns["anchors"]["support"] < 0.4


def test_support_rises_with_the_evidence(mdata):
    scdart.pp.anchors(mdata)
    described = mdata.uns["anchors"]
    assert described["support"] == pytest.approx(1 / (1 + np.exp(-(described["z"] - 4.2) / 2.4)))
    assert described["support"] > 0.5


def remove_prior(mdata):
    del mdata["atac"].varm["gene_activity"]


def transpose_prior(mdata):
    mdata.mod["rna"].varm["gene_activity"] = mdata["atac"].varm.pop("gene_activity").T.tocsr()


def reorder_genes(mdata):
    mdata["atac"].uns["gene_activity"]["genes"] = mdata["rna"].var_names.to_numpy(dtype=object)[::-1]


def drop_genes(mdata):
    mdata.mod["rna"] = mdata["rna"][:, :100].copy()


def negative_prior(mdata):
    mdata["atac"].varm["gene_activity"] = -mdata["atac"].varm["gene_activity"]


def empty_prior(mdata):
    mdata["atac"].varm["gene_activity"] = sp.csr_matrix(mdata["atac"].varm["gene_activity"].shape)


def empty_cell(mdata):
    mdata["atac"].X = sp.diags((np.arange(150) != 3).astype(np.float32)) @ mdata["atac"].X


def repeat_name(mdata):
    mdata["rna"].obs_names = ["a", "a", *mdata["rna"].obs_names[2:]]


@pytest.mark.parametrize(
    ("spoil", "options", "error", "message"),
    [
        (remove_prior, {}, KeyError, "run scdart.pp.gene_activity"),
        (transpose_prior, {}, KeyError, "swapped"),
        (drop_genes, {}, ValueError, r"\(400, 150\), not \(400, 100\)"),
        (reorder_genes, {}, ValueError, "another order of genes"),
        (negative_prior, {}, ValueError, "negative"),
        (empty_prior, {}, ValueError, "links no peak with any gene"),
        (empty_cell, {}, ValueError, "1 cells without counts"),
        (repeat_name, {}, ValueError, "must be unique"),
        (None, {"rna_mod": "gex"}, KeyError, "rna_mod='gex'"),
        (None, {"rna_mod": "atac"}, ValueError, "both 'atac'"),
        (None, {"atac_layer": "counts"}, KeyError, "counts"),
        (None, {"n_components": 0}, ValueError, "n_components=0"),
        (None, {"n_neighbors": 0}, ValueError, "n_neighbors=0"),
        (None, {"refine": "yes"}, ValueError, "refine='yes'"),
        (None, {"inferred": False}, ValueError, "leaves no anchors"),
        (None, {"pairs": "names"}, ValueError, "pairs='names'"),
        (None, {"pairs": "obs_names"}, ValueError, "no cell is in both"),
        (None, {"pairs": []}, ValueError, "shape"),
        (None, {"pairs": [("a", "b", "c")]}, ValueError, r"\(1, 3\)"),
        (None, {"pairs": [("nobody", "nobody")]}, KeyError, "nobody"),
    ],
)
def test_bad_input_is_named_and_nothing_written(mdata, spoil, options, error, message):
    if spoil is not None:
        spoil(mdata)
    with pytest.raises(error, match=message):
        scdart.pp.anchors(mdata, **options)
    assert "anchors" not in mdata.obsp
    assert "anchors" not in mdata.uns
    assert "X_anchors" not in mdata["rna"].obsm


def test_view(mdata):
    view = mdata[mdata.obs_names[:200]]
    with pytest.raises(ValueError, match="view"):
        scdart.pp.anchors(view)
    assert scdart.pp.anchors(view, copy=True).obsp["anchors"].shape == (200, 200)


@pytest.mark.parametrize(
    ("name", "n_cells", "worst"), [("symsim2_bifurcating", 600, 0.006), ("snare_cortex", 1500, 0.2)]
)
def test_shared_data(data_dir, name, n_cells, worst):
    mdata = md.read_h5mu(data_dir / f"{name}.h5mu")
    rng = np.random.default_rng(0)
    cells = rng.permutation(mdata.n_obs)[:n_cells]
    rna, atac = mdata["rna"][cells].copy(), mdata["atac"][cells].copy()
    shuffled = rng.permutation(n_cells)
    unpaired = md.MuData({"rna": rna, "atac": atac[shuffled].copy()})
    scdart.pp.anchors(unpaired)
    z_rna, z_atac = (unpaired[mod].obsm["X_anchors"] for mod in ("rna", "atac"))
    assert scdart.metrics.foscttm(z_rna[shuffled], z_atac) < worst


@pytest.mark.parametrize("mod", ["rna", "atac"])
def test_a_branch_that_one_modality_lacks_disturbs_no_other(mod):
    mdata = scdart.datasets.simulate(
        "trifurcating", n_cells=1_000, n_genes=600, n_peaks=1_800, paired=True, random_state=0
    )
    cells = {name: mdata[name].copy() for name in ("rna", "atac")}
    cells[mod] = cells[mod][cells[mod].obs["branch"] != "4_2"].copy()
    cells["atac"].obs_names = "other-" + cells["atac"].obs_names
    other = {"rna": "atac", "atac": "rna"}[mod]
    mdata = md.MuData(cells)
    scdart.pp.anchors(mdata, random_state=0)
    is_lone = (mdata[other].obs["branch"] == "4_2").to_numpy()
    confidence = mdata[other].obsm["anchors_confidence"].ravel()
    assert confidence[is_lone].mean() < 0.4
    assert confidence[~is_lone].mean() > 0.75
    shared = {mod: mdata[mod].obsm["X_anchors"], other: mdata[other].obsm["X_anchors"][~is_lone]}
    assert scdart.metrics.foscttm(shared["rna"], shared["atac"]) < 0.012
    # Their partners are few: anchors by weight belong to branches that both modalities have.
    weights = mdata.obsp["anchors"]
    rows = np.flatnonzero(mdata.obsmap[other].ravel() > 0)[is_lone]
    assert (weights[rows].sum() + weights[:, rows].sum()) / weights.sum() < 0.25


def with_gates(mdata):
    """Thirds of the process; the last is told of RNA alone, and one cell in ten is not told."""
    for mod in ("rna", "atac"):
        obs = mdata[mod].obs
        gate = pd.cut(obs["pseudotime"], [-1, 0.33, 0.66, 2], labels=["early", "middle", "late"]).astype(object)
        gate[(np.arange(len(gate)) % 10 == 0)] = None
        obs["gate"] = gate
    mdata["atac"].obs["gate"] = mdata["atac"].obs["gate"].replace("late", None)
    return mdata


def test_partners_have_a_label_that_goes_with_the_cells_own(mdata):
    scdart.pp.anchors(with_gates(mdata), groups_key="gate")
    rows = {mod: mdata.obsmap[mod].ravel() > 0 for mod in ("rna", "atac")}
    weights = mdata.obsp["anchors"][rows["rna"]][:, rows["atac"]].tocoo()
    rna, atac = (mdata[mod].obs["gate"].to_numpy(dtype=object) for mod in ("rna", "atac"))
    of_rna, of_atac = rna[weights.row], atac[weights.col]
    assert np.all((of_rna == of_atac) | pd.isna(of_rna) | pd.isna(of_atac))
    assert (of_rna != "late").all(), "a cell whose label the other modality lacks has partners"
    confidence = mdata["rna"].obsm["anchors_confidence"].ravel()
    assert (confidence[rna == "late"] == 0).all()
    assert np.median(confidence[rna == "early"]) > 0.5
    assert mdata.uns["anchors"]["params"]["groups_key"] == "gate"


def test_gates_help_where_the_prior_is_weak(mdata):
    """Most links lead to another gene: gates bring cells of either modality together."""
    rng = np.random.default_rng(0)
    prior = mdata["atac"].varm["gene_activity"].tocsc()
    shuffled = rng.permutation(prior.shape[1])[: int(0.8 * prior.shape[1])]
    order = np.arange(prior.shape[1])
    order[np.sort(shuffled)] = shuffled
    mdata["atac"].varm["gene_activity"] = prior[:, order].tocsr()
    for mod in ("rna", "atac"):
        obs = mdata[mod].obs
        obs["gate"] = pd.cut(obs["pseudotime"], [-1, 0.25, 0.5, 0.75, 2], labels=list("abcd")).astype(str)
    order = {}
    for key in (None, "gate"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            scdart.pp.anchors(mdata, groups_key=key, random_state=0)
        weights = mdata.obsp["anchors"]
        rows = {mod: mdata.obsmap[mod].ravel() > 0 for mod in ("rna", "atac")}
        weights = weights[rows["rna"]][:, rows["atac"]]
        told = weights.T @ mdata["rna"].obs["pseudotime"].to_numpy() / np.maximum(weights.sum(axis=0).A1, 1e-9)
        order[key] = np.corrcoef(told, mdata["atac"].obs["pseudotime"])[0, 1]
    assert order["gate"] > 0.9 > order[None]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"groups_key": "gate", "inferred": False, "pairs": "obs_names"}, "leave one of them out"),
        ({"ordered": True}, "ordered=True is about the labels of groups_key"),
    ],
)
def test_groups_that_nothing_would_use(mdata, options, said):
    with pytest.raises(ValueError, match=said):
        scdart.pp.anchors(mdata, **options)

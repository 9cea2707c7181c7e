from __future__ import annotations

from functools import reduce

import numpy as np
import pytest
from scipy import sparse
from scipy.stats import false_discovery_control

import scdart
from scdart.model import SCDART


@pytest.fixture(scope="module")
def simulated():
    mdata = scdart.datasets.simulate(
        "bifurcating", n_cells=300, n_genes=200, n_peaks=600, prior_precision=0.5, prior_recall=0.8, random_state=0
    )
    scdart.pp.diffusion_coordinates(mdata, t=(0, 5))
    SCDART.setup_mudata(mdata)
    model = SCDART(mdata)
    model.train(max_epochs=20, enable_progress_bar=False)
    return model, mdata


def dense_effects(model) -> np.ndarray:
    weights = [weight.detach().double().numpy() for weight in model.module.gene_activity.linear_weights()]
    return reduce(np.matmul, reversed(weights)).T


def relative(effects: np.ndarray) -> np.ndarray:
    """What is never read or expressed has no scale, and no link."""
    by_gene = np.sqrt((effects**2).mean(axis=0))
    by_gene[by_gene == 0] = np.inf
    by_peak = np.sqrt(((effects / by_gene) ** 2).mean(axis=1))
    by_peak[by_peak == 0] = np.inf
    return effects / np.outer(by_peak, by_gene)


def test_links_are_the_network_s_linear_map(simulated):
    model, mdata = simulated
    links = model.get_peak_gene_links()
    prior = sparse.csr_matrix(mdata["atac"].varm["gene_activity"])
    assert len(links) == prior.nnz
    assert links["in_prior"].all()
    effects = dense_effects(model)
    rows = mdata["atac"].var_names.get_indexer(links["peak"])
    columns = mdata["rna"].var_names.get_indexer(links["gene"])
    assert (prior[rows, columns] != 0).all()
    np.testing.assert_allclose(links["weight"], effects[rows, columns], rtol=1e-6)
    np.testing.assert_allclose(links["z"], relative(effects)[rows, columns], rtol=1e-6)
    assert (links["z"].abs().diff().dropna() <= 0).all()


def test_p_values_are_the_share_of_larger_pairs_off_the_prior(simulated):
    model, mdata = simulated
    links = model.get_peak_gene_links()
    linear = dense_effects(model)
    is_open = np.asarray((mdata["atac"].X > 0).sum(axis=0)).ravel() > 0
    off = np.abs(relative(linear))[(mdata["atac"].varm["gene_activity"].toarray() == 0) & is_open[:, None]]
    expected = np.array([(off >= abs(z)).mean() for z in links["z"][::20]])
    np.testing.assert_allclose(links["p_value"][::20], expected, atol=0.01)
    np.testing.assert_allclose(links["p_adjusted"], false_discovery_control(links["p_value"]))


def test_known_links_come_first(simulated):
    """Ranking the prior's links finds the true ones; the prior itself cannot tell them apart."""
    model, mdata = simulated
    truth, prior = mdata["atac"].varm["links"], mdata["atac"].varm["gene_activity"]
    links = model.get_peak_gene_links()
    rows = mdata["atac"].var_names.get_indexer(links["peak"])
    columns = mdata["rna"].var_names.get_indexer(links["gene"])
    strength = sparse.csr_matrix((1 + links["z"].abs(), (rows, columns)), shape=prior.shape)
    assert scdart.metrics.link_auprc(strength, truth) > scdart.metrics.link_auprc(prior != 0, truth) + 0.05
    share_true = np.asarray(truth[rows, columns] != 0).ravel()
    assert share_true[links["p_value"] < 0.1].mean() > share_true.mean() + 0.15


def test_strongest_pairs_off_the_prior(simulated):
    model, mdata = simulated
    genes = mdata["rna"].var_names[[3, 50, 7]]
    links = model.get_peak_gene_links(genes=genes, n_off_prior=25)
    assert set(links["gene"]) <= set(genes)
    others = links[~links["in_prior"]]
    assert len(others) == 25
    assert others["p_adjusted"].isna().all()
    linear = dense_effects(model)
    z = np.abs(relative(linear))
    z[mdata["atac"].varm["gene_activity"].toarray() != 0] = -1
    best = np.sort(z[:, [3, 50, 7]].ravel())[::-1][:25]
    np.testing.assert_allclose(others["z"].abs(), best, rtol=1e-6)


def test_published_architecture_has_links_too(make_mdata):
    mdata = make_mdata()
    SCDART.setup_mudata(mdata, anchors_key=None)
    model = SCDART(mdata, preset="paper", activity_hidden=(16, 8), projection_hidden=(8,))
    model.train(max_epochs=1, enable_progress_bar=False)
    links = model.get_peak_gene_links()
    rows = mdata["atac"].var_names.get_indexer(links["peak"])
    columns = mdata["rna"].var_names.get_indexer(links["gene"])
    np.testing.assert_allclose(links["weight"], dense_effects(model)[rows, columns], rtol=1e-6)


def test_bad_input(simulated, make_mdata):
    model, _ = simulated
    with pytest.raises(KeyError, match="nobody"):
        model.get_peak_gene_links(genes=["nobody"])
    with pytest.raises(ValueError, match="n_off_prior=-1"):
        model.get_peak_gene_links(n_off_prior=-1)
    mdata = make_mdata()
    SCDART.setup_mudata(mdata)
    with pytest.raises(RuntimeError, match="train"):
        SCDART(mdata).get_peak_gene_links()

"""Positions by several trainings: made comparable, and how far cells move between them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import special_ortho_group

import scdart
from scdart._replicates import spread_of_positions, turned_onto
from scdart.model import SCDART


def test_direction_size_and_place_of_a_training_mean_nothing():
    rng = np.random.default_rng(0)
    z = rng.normal(size=(50, 4))
    other = 3 * z @ special_ortho_group.rvs(4, random_state=0) + rng.normal(size=4)
    np.testing.assert_allclose(turned_onto(z, other), z, atol=1e-9)
    np.testing.assert_allclose(spread_of_positions(z, [turned_onto(z, other)]), 0, atol=1e-6)


def test_spread_is_in_units_of_the_distance_to_any_other_cell():
    rng = np.random.default_rng(0)
    z, *others = rng.normal(size=(3, 30, 2))
    shares = [
        [((z[i] - b[i]) ** 2).sum() / np.mean([((z[i] - b[j]) ** 2).sum() for j in range(30)]) for i in range(30)]
        for b in others
    ]
    np.testing.assert_allclose(spread_of_positions(z, others), np.sqrt(np.mean(shares, axis=0)))


@pytest.fixture(scope="module")
def trained():
    mdata = scdart.datasets.simulate("linear", n_cells=90, n_genes=40, n_peaks=120, random_state=0)
    scdart.tl.integrate(mdata, max_epochs=5, n_models=3, random_state=4, train_kwargs={"enable_progress_bar": False})
    return mdata


def test_integrate_writes_the_spread_and_lowers_confidence(trained):
    once = trained.copy()
    scdart.tl.integrate(once, max_epochs=5, random_state=4, train_kwargs={"enable_progress_bar": False})
    np.testing.assert_array_equal(trained.obsm["X_scdart"], once.obsm["X_scdart"])
    spread = trained.obsm["X_scdart_spread"].ravel()
    assert spread.min() > 0
    lowered = trained.obsm["X_scdart_confidence"].ravel() / once.obsm["X_scdart_confidence"].ravel()
    np.testing.assert_allclose(lowered, 1 - np.minimum(spread, 1) ** 2, atol=1e-4)
    assert trained.uns["scdart"]["n_models"] == 3
    for mod in trained.mod:
        rows = trained.obsmap[mod].ravel() > 0
        np.testing.assert_array_equal(trained[mod].obsm["X_scdart_spread"], trained.obsm["X_scdart_spread"][rows])
    assert trained.obsm["X_scdart_replicates"].shape == (trained.n_obs, 2 * trained.obsm["X_scdart"].shape[1])


def test_pseudotime_has_a_spread(trained):
    mdata = trained.copy()
    scdart.tl.pseudotime(mdata, root_score="pseudotime", spread=True)
    spread = mdata.obs["dpt_pseudotime_spread"]
    assert spread.between(0, 0.5).all()
    assert spread.max() > 0
    mdata.obsm["X_scdart"] = mdata.obsm["X_scdart"] * [2, *[1] * (mdata.obsm["X_scdart"].shape[1] - 1)]
    with pytest.raises(ValueError, match=r"made anew: run scdart\.tl\.spread again"):
        scdart.tl.pseudotime(mdata, root_score="pseudotime", spread=True)
    del mdata.obsm["X_scdart_replicates"]
    with pytest.raises(KeyError, match="n_models=3"):
        scdart.tl.pseudotime(mdata, root_score="pseudotime", spread=True)


def test_replicates_repeat_the_training_with_other_seeds(make_mdata):
    mdata = make_mdata()
    SCDART.setup_mudata(mdata)
    model = SCDART(mdata, n_latent=3)
    with pytest.raises(RuntimeError, match="train"):
        model.train_replicates()
    model.train(max_epochs=2, batch_size=16, enable_progress_bar=False)
    first, second = model.train_replicates(2, random_state=5, enable_progress_bar=False)
    (again,) = model.train_replicates(1, random_state=6, enable_progress_bar=False)
    latent = [each.get_latent_representation() for each in (model, first, second, again)]
    np.testing.assert_array_equal(latent[2], latent[3])
    assert not np.allclose(latent[1], latent[2])
    assert first.module.n_latent == 3
    assert first.train_settings_[0]["batch_size"] == 16
    links = model.get_peak_gene_links(replicates=[first, second])
    pairs = pd.MultiIndex.from_frame(links[["peak", "gene"]])
    z = [each.get_peak_gene_links().set_index(["peak", "gene"])["z"].reindex(pairs) for each in (model, first, second)]
    np.testing.assert_allclose(links["z_spread"], np.std(z, axis=0))
    assert "z_spread" not in model.get_peak_gene_links()


def test_spread_needs_models_of_the_same_space(trained):
    with pytest.raises(ValueError, match="replicates has no model"):
        scdart.tl.spread(trained, [])
    with pytest.raises(KeyError, match="get_latent_representation"):
        scdart.tl.spread(trained, [], use_rep="X_other")

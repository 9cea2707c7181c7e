"""A model that knows batches: what comes out is free of them, and a query says its batch."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import scdart
from scdart.model import SCDART
from scdart.model._fine_tuning import places_of_partners

QUIET = {"enable_progress_bar": False, "accelerator": "cpu"}


@pytest.fixture(scope="module")
def trained():
    mdata = scdart.datasets.simulate(
        n_cells=300,
        n_genes=200,
        n_peaks=500,
        n_batches_rna=2,
        n_batches_atac=2,
        batch_effect=1.5,
        random_state=0,
    )
    scdart.pp.diffusion_coordinates(mdata, t=(0, 5), batch_key="batch")
    scdart.pp.anchors(mdata, batch_key="batch")
    SCDART.setup_mudata(mdata, batch_key="batch")
    model = SCDART(mdata)
    model.train(max_epochs=15, **QUIET)
    return model, mdata


def mixing(z, batch):
    """Share of the other batch among the nearest cells, in units of what is expected of two halves."""
    nearest = np.argsort(np.linalg.norm(z[:, None] - z, axis=2), axis=1)[:, 1:21]
    return 2 * (batch[nearest] != batch[:, None]).mean()


def test_batches_mix_in_the_latent_space(trained):
    model, mdata = trained
    for mod in ("rna", "atac"):
        batch = mdata[mod].obs["batch"].to_numpy()
        assert mixing(model.get_latent_representation(modality=mod), batch) > 0.9
    SCDART.setup_mudata(plain := without_batches(mdata))
    unaware = SCDART(plain)
    unaware.train(max_epochs=15, **QUIET)
    assert mixing(unaware.get_latent_representation(modality="rna"), mdata["rna"].obs["batch"].to_numpy()) < 0.5


def without_batches(mdata):
    mdata = mdata.copy()
    scdart.pp.diffusion_coordinates(mdata, t=(0, 5))
    scdart.pp.anchors(mdata)
    return mdata


def test_predicted_expression_is_free_of_batches(trained):
    model, mdata = trained
    predicted, batch = model.get_gene_activity().to_numpy(), mdata["atac"].obs["batch"].to_numpy()

    def difference(batch):
        return np.abs(predicted[batch == "atac_0"].mean(axis=0) - predicted[batch == "atac_1"].mean(axis=0)).mean()

    # Random halves differ as much.
    rng = np.random.default_rng(0)
    assert difference(batch) < 1.5 * np.mean([difference(rng.permutation(batch)) for _ in range(20)])


def test_cells_are_where_they_are_whatever_the_order_of_batches(trained):
    model, mdata = trained
    expected = model.get_latent_representation(modality="rna")
    rows = np.flatnonzero(mdata["rna"].obs["batch"] == "rna_1")[:7]  # a query of one batch
    query = mdata[mdata["rna"].obs_names[rows]].copy()
    query["rna"].obs["batch"] = query["rna"].obs["batch"].astype(str)
    np.testing.assert_allclose(model.get_latent_representation(query, modality="rna"), expected[rows], atol=1e-5)


def test_a_query_says_its_batch(trained):
    model, mdata = trained
    query = mdata.copy()
    query["rna"].obs["batch"] = "rna_7"
    with pytest.raises(ValueError, match=r"batches that the model does not know: \['rna_7'\].*\['rna_0', 'rna_1'\]"):
        model.get_latent_representation(query, modality="rna")
    query = mdata.copy()
    del query["rna"].obs["batch"]
    with pytest.raises(ValueError, match=r"no column 'batch'.*give every cell one of \['rna_0', 'rna_1'\]"):
        model.get_latent_representation(query, modality="rna")


def test_batches_are_saved_with_the_model(trained, tmp_path):
    model, mdata = trained
    model.save(tmp_path / "model")
    expected = model.get_latent_representation()
    for data in (mdata.copy(), False):
        loaded = SCDART.load(tmp_path / "model", data)
        latent = loaded.get_latent_representation() if data else loaded.get_latent_representation(mdata.copy())
        np.testing.assert_array_equal(latent, expected)
    assert loaded.registry["setup_args"]["batch_key"] == "batch"


def test_setup_shows_batches(trained, tmp_path, capsys):
    model, mdata = trained
    model.view_anndata_setup()
    shown = capsys.readouterr().out
    assert "'batch_key': 'batch'" in shown
    assert all(name in shown for mod in ("rna", "atac") for name in mdata[mod].obs["batch"].cat.categories)
    model.save(tmp_path / "model")
    SCDART.view_setup_args(tmp_path / "model")
    assert "'batch_key': 'batch'" in capsys.readouterr().out


def test_coordinates_of_other_batches_are_refused(trained):
    _, mdata = trained
    with pytest.raises(ValueError, match=r"made with batch_key='batch', not None: run scdart.pp.diffusion_coordinates"):
        SCDART.setup_mudata(mdata.copy())
    mdata = without_batches(mdata)
    with pytest.raises(ValueError, match=r"made with batch_key=None, not 'batch'"):
        SCDART.setup_mudata(mdata, batch_key="batch")


def test_paper_preset_knows_batches(trained):
    _, mdata = trained
    mdata = mdata.copy()
    SCDART.setup_mudata(mdata, batch_key="batch")
    model = SCDART(mdata, preset="paper", activity_hidden=(16,), projection_hidden=(16,))
    model.train(max_epochs=2, **QUIET)
    assert np.isfinite(model.get_latent_representation()).all()


@pytest.fixture(scope="module")
def extended(tmp_path_factory):
    """A model of two batches of either modality, saved; its data, and cells of a third."""
    mdata = scdart.datasets.simulate(
        n_cells=600, n_genes=200, n_peaks=500, n_batches_rna=3, n_batches_atac=3, batch_effect=1.5, random_state=0
    )
    new = np.concatenate([mdata[mod].obs_names[mdata[mod].obs["batch"] == f"{mod}_2"] for mod in ("rna", "atac")])
    old, query = mdata[~mdata.obs_names.isin(new)].copy(), mdata[new].copy()
    for one in (old, query):
        for mod in ("rna", "atac"):
            one[mod].obs["batch"] = one[mod].obs["batch"].astype(str)
    scdart.pp.diffusion_coordinates(old, t=(0, 5), batch_key="batch")
    scdart.pp.anchors(old, batch_key="batch")
    SCDART.setup_mudata(old, batch_key="batch")
    model = SCDART(old)
    model.train(max_epochs=15, **QUIET)
    folder = tmp_path_factory.mktemp("extended") / "model"
    model.save(folder)
    return folder, old, query


def error_of_places(model, old, query, mod):
    """How far the true factors of new cells are from those of the known cells beside them."""
    z = [model.get_latent_representation(data, modality=mod) for data in (old, query)]
    nearest = np.argsort(np.linalg.norm(z[1][:, None] - z[0], axis=2), axis=1)[:, :20]
    true = [data[mod].obsm["tree_factors"] for data in (old, query)]
    return np.linalg.norm(true[0][nearest].mean(axis=1) - true[1], axis=1).mean()


def test_fine_tuning_draws_new_cells_to_those_like_them(extended):
    folder, old, query = extended
    estimated, tuned = (SCDART.load(folder, old) for _ in range(2))
    trainable = [parameter.requires_grad for parameter in tuned.module.parameters()]
    before = tuned.get_latent_representation()
    estimated.add_batches(query)
    tuned.add_batches(query, n_steps=100, random_state=1)
    np.testing.assert_array_equal(tuned.get_latent_representation(), before)
    assert [parameter.requires_grad for parameter in tuned.module.parameters()] == trainable
    errors = [[error_of_places(model, old, query, mod) for mod in ("rna", "atac")] for model in (estimated, tuned)]
    assert np.mean(errors[1]) < np.mean(errors[0])
    assert np.max(np.divide(errors[1], errors[0])) < 1.02
    again = SCDART.load(folder, old)
    again.add_batches(query, n_steps=100, random_state=1)
    np.testing.assert_array_equal(again.get_latent_representation(query), tuned.get_latent_representation(query))
    with pytest.raises(ValueError, match="n_steps=-1"):
        again.add_batches(query, n_steps=-1)


def test_fine_tuning_leaves_out_cells_that_are_new():
    known = np.arange(40.0)[:, None]
    rows, places = places_of_partners(np.concatenate([known + 0.2, known[:15] + 500]), known)
    assert rows.tolist() == list(range(40))
    np.testing.assert_allclose(places[10:30], known[10:30] + 0.2, atol=0.5)


def test_new_batches_are_learned_from_the_query(extended, tmp_path):
    folder, old, query = extended
    model = SCDART.load(folder, old)
    before = model.get_latent_representation()
    with pytest.raises(ValueError, match=r"call model.add_batches\(mdata\) first"):
        model.get_latent_representation(query)
    model.add_batches(query)
    np.testing.assert_array_equal(model.get_latent_representation(), before)
    for mod in ("rna", "atac"):
        batch = np.repeat(["old", "new"], [len(old[mod]), len(query[mod])])
        factors = model.module.encoders[mod].normalization.batch_factors
        met, learned = [], factors[2].clone()
        for used in (learned, torch.ones_like(learned)):
            factors[2] = used
            z = [model.get_latent_representation(data, modality=mod) for data in (old, query)]
            nearest = np.argsort(np.linalg.norm(z[1][:, None] - np.concatenate(z), axis=2), axis=1)[:, 1:21]
            met.append((batch[nearest] == "old").mean() * 1.5)  # two of three cells are old
        factors[2] = learned
        assert met[0] > 0.7
        assert met[0] > met[1] + 0.1
    model.save(tmp_path / "model")
    expected = model.get_latent_representation(query)
    for data in (old.copy(), False):
        loaded = SCDART.load(tmp_path / "model", data)
        np.testing.assert_array_equal(loaded.get_latent_representation(query.copy()), expected)
    with pytest.raises(ValueError, match="load the model with them"):
        loaded.add_batches(query)

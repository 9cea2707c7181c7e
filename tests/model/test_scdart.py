from __future__ import annotations

import numpy as np
import pytest
import scvi
import torch

from scdart.data import BATCH_KEYS
from scdart.model import PRESETS, SCDART

SMALL = {"activity_hidden": (16,), "projection_hidden": (16,), "n_latent": 4}
QUIET = {"enable_progress_bar": False, "accelerator": "cpu"}


def train(mdata, *, max_epochs=2, options=None, setup=None, **kwargs):
    SCDART.setup_mudata(mdata, **(setup or {}))
    model = SCDART(mdata, **{**SMALL, **(options or {})})
    model.train(max_epochs=max_epochs, batch_size=16, **QUIET, **kwargs)
    return model


@pytest.mark.parametrize("n_shared", [0, 20, 50], ids=["disjoint", "overlapping", "paired"])
def test_latent_follows_the_names_of_the_cells(make_mdata, n_shared):
    mdata = make_mdata(n_shared=n_shared)
    model = train(mdata)
    joint = model.get_latent_representation()
    assert joint.shape == (mdata.n_obs, 4)
    sums, counts = np.zeros_like(joint), np.zeros(len(joint))
    for mod in ("rna", "atac"):
        z = model.get_latent_representation(modality=mod)
        assert z.shape == (mdata[mod].n_obs, 4)
        position = mdata.obs_names.get_indexer(mdata[mod].obs_names)
        np.add.at(sums, position, z)
        np.add.at(counts, position, 1)
    np.testing.assert_allclose(joint, sums / counts[:, None], rtol=1e-5)


def test_any_modality_names(make_mdata):
    mdata = make_mdata(rna_mod="GEX counts", atac_mod="peaks")
    setup = {"modalities": {"rna_layer": "GEX counts", "atac_layer": "peaks"}}
    model = train(mdata, setup=setup)
    assert model.get_latent_representation(modality="peaks").shape == (50, 4)
    with pytest.raises(KeyError, match="not one of the model's"):
        model.get_latent_representation(modality="rna")


def test_history_holds_every_loss_term(make_mdata):
    mdata = make_mdata()
    for mod in ("rna", "atac"):
        mdata[mod].obs["group"] = mdata[mod].obs["state"].where(mdata[mod].obs["state"] == "s0")
    setup, options = {"groups_key": "group"}, {"group_weight": 1.0}
    model = train(mdata, setup=setup, options=options, train_size=0.8, check_val_every_n_epoch=1)
    terms = {"mmd", "prior", "diffusion_rna", "diffusion_atac", "pair", "expression", "group"}
    wanted = {f"{term}_{mode}" for term in terms for mode in ("train", "validation")} | {"train_loss"}
    assert wanted <= set(model.history)
    total = sum(model.module.weights[t] * model.history[f"{t}_train"].to_numpy(float) for t in terms)
    np.testing.assert_allclose(model.history["train_loss"].to_numpy(float), total, rtol=1e-3)
    assert not any("elbo" in name for name in model.history)


def test_training_appends_to_the_history(make_mdata):
    model = train(make_mdata(), max_epochs=2)
    model.train(max_epochs=3, batch_size=16, **QUIET)
    assert len(model.history["mmd_train"]) == 5


def test_training_changes_both_networks(make_mdata):
    mdata = make_mdata()
    SCDART.setup_mudata(mdata)
    model = SCDART(mdata, **SMALL)
    before = {name: p.detach().clone() for name, p in model.module.named_parameters()}
    model.train(max_epochs=2, batch_size=16, **QUIET)
    unchanged = {name for name, p in model.module.named_parameters() if torch.equal(p, before[name])}
    assert unchanged == {  # found in closed form, and held
        "encoders.atac.network.directions.weight",
        "encoders.atac.network.directions.bias",
        "projection.components.weight",
    }


def test_cells_without_counterpart_do_not_move_the_others(make_mdata):
    mdata = make_mdata()
    SCDART.setup_mudata(mdata)
    module = SCDART(mdata, **SMALL, dropout=0.0).module.train()
    rng = torch.Generator().manual_seed(0)
    alike = torch.rand(100, mdata["rna"].n_vars, generator=rng).round(decimals=0) * 10
    lone = torch.zeros(28, mdata["rna"].n_vars)
    lone[:, 0] = 1000

    def latent(expression: torch.Tensor, confidence: torch.Tensor) -> torch.Tensor:
        rna = {BATCH_KEYS.COUNTS: expression, BATCH_KEYS.BATCH: torch.zeros(len(expression), dtype=torch.long)}
        tensors = {"rna": rna, BATCH_KEYS.PAIR_WEIGHT: confidence}
        return module.inference(tensors)["z"]["rna"][:100].detach()

    alone, both = latent(alike, torch.ones(100)), torch.cat([alike, lone])
    moved = {
        trusted: (latent(both, torch.cat([torch.ones(100), torch.full((28,), trusted)])) - alone).square().mean()
        for trusted in (0.0, 1.0)
    }
    assert moved[0.0] < 0.02 * moved[1.0]
    # Statistics remain where no cell is trusted.
    torch.testing.assert_close(latent(alike, torch.zeros(100)), alone)


def test_one_cell_alone_is_where_it_is_among_all(make_mdata):
    model = train(make_mdata())
    for mod in ("rna", "atac"):
        whole = model.get_latent_representation(modality=mod)
        for row in (0, 7, 23):
            alone = model.get_latent_representation(modality=mod, indices=[row])
            np.testing.assert_allclose(alone[0], whole[row], atol=1e-5)


def test_order_and_batch_size_do_not_matter(make_mdata):
    model = train(make_mdata())
    whole = model.get_latent_representation()
    some = model.get_latent_representation(indices=[9, 2, 77, 2], batch_size=3)
    np.testing.assert_allclose(some, whole[[9, 2, 77, 2]], atol=1e-5)
    mask = np.zeros(len(whole), dtype=bool)
    mask[[4, 80]] = True
    np.testing.assert_allclose(model.get_latent_representation(indices=mask), whole[[4, 80]], atol=1e-5)
    with pytest.raises(ValueError, match="has 60 rows"):
        model.get_latent_representation(modality="rna", indices=[60])


def test_same_seed_same_latent(make_mdata):
    latents = []
    for seed in (1, 1, 2):
        scvi.settings.seed = seed
        latents.append(train(make_mdata()).get_latent_representation())
    np.testing.assert_array_equal(latents[0], latents[1])
    assert not np.allclose(latents[0], latents[2])


def test_gene_activity_is_on_the_scale_of_expression(make_mdata):
    mdata = make_mdata()
    model = train(mdata, max_epochs=60)
    predicted = model.get_gene_activity()
    assert predicted.shape == (50, 20)
    assert list(predicted.index) == list(mdata["atac"].obs_names)
    assert list(predicted.columns) == list(mdata["rna"].var_names)
    assert (predicted.to_numpy() >= 0).all()
    counts = mdata["rna"].X.toarray()
    library = counts.sum(axis=1, keepdims=True)
    truth = np.log1p(counts / library * np.median(library))
    state = {mod: mdata[mod].obs["state"].to_numpy() for mod in ("rna", "atac")}
    means = np.array([truth[state["rna"] == s].mean(axis=0) for s in ("s0", "s1", "s2")])
    found = np.array([predicted.to_numpy()[state["atac"] == s].mean(axis=0) for s in ("s0", "s1", "s2")])
    assert np.corrcoef(means.ravel(), found.ravel())[0, 1] > 0.9
    assert np.abs(means - found).mean() < 0.35
    some = model.get_gene_activity(indices=[3, 1], genes=["gene7", "gene2"])
    np.testing.assert_allclose(some, predicted.iloc[[3, 1]][["gene7", "gene2"]], atol=1e-5)
    with pytest.raises(KeyError, match="nothing"):
        model.get_gene_activity(genes=["nothing"])


def test_states_of_both_modalities_meet(make_mdata):
    mdata = make_mdata(n_rna=200, n_atac=200)
    model = train(mdata, max_epochs=30)
    z = {mod: model.get_latent_representation(modality=mod) for mod in ("rna", "atac")}
    state = {mod: mdata[mod].obs["state"].to_numpy() for mod in z}
    centre = {s: z["rna"][state["rna"] == s].mean(axis=0) for s in ("s0", "s1", "s2")}
    nearest = np.argmin([np.linalg.norm(z["atac"] - c, axis=1) for c in centre.values()], axis=0)
    assert np.mean(np.array(list(centre))[nearest] == state["atac"]) > 0.8


def test_paper_preset_is_the_published_network(make_mdata):
    mdata = make_mdata()
    SCDART.setup_mudata(mdata, anchors_key=None)
    model = SCDART(mdata, preset="paper")
    sizes = [tuple(w.shape) for w in model.module.gene_activity.linear_weights()]
    assert sizes == [(1024, 30), (512, 1024), (20, 512)]
    assert [tuple(layer.weight.shape) for layer in model.module.projection.layers] == [(512, 20), (128, 512)]
    model.train(max_epochs=1, **QUIET)
    assert model.trainer.optimizers[0].param_groups[0]["lr"] == 3e-4
    assert set(model.history) >= {"mmd_train", "prior_train", "diffusion_rna_train", "diffusion_atac_train"}
    assert "pair_train" not in model.history
    preset = PRESETS["paper"]
    assert preset.batch_size({"rna": 60, "atac": 50}) == 12
    assert preset.max_epochs({"rna": 60, "atac": 50}, 12, 1.0, paired=False) == 500


def test_default_steps_do_not_grow_with_cells():
    def steps(n):
        from scdart.data import steps_per_epoch

        cells = {"rna": n, "atac": n}
        return PRESETS["default"].max_epochs(cells, 256, 1.0, paired=True) * steps_per_epoch(cells, 256, paired=True)

    assert steps(10**6) == pytest.approx(steps(2000), rel=0.1)


def test_early_stopping_and_checkpoints_watch_the_validation_loss(make_mdata, tmp_path):
    model = train(
        make_mdata(), max_epochs=60, early_stopping=True, early_stopping_patience=1, early_stopping_min_delta=10.0
    )
    assert len(model.history["validation_loss"]) < 60
    assert model.trainer.early_stopping_callback.monitor == "validation_loss"
    assert set(model.validation_indices) == {"rna", "atac"}
    scvi.settings.logging_dir = tmp_path
    train(make_mdata(), enable_checkpointing=True, check_val_every_n_epoch=1)
    train(make_mdata(), train_size=0.8, check_val_every_n_epoch=1, plan_kwargs={"reduce_lr_on_plateau": True})


def test_stopping_early_needs_validation_cells(make_mdata):
    mdata = make_mdata()
    SCDART.setup_mudata(mdata)
    with pytest.raises(ValueError, match="leaves no validation cells"):
        SCDART(mdata, **SMALL).train(train_size=1.0, early_stopping=True)


def test_loss_weights_can_be_changed_for_a_run(make_mdata):
    model = train(make_mdata(), plan_kwargs={"mmd": 0.0, "prior": 0.0})
    terms = {
        t: model.history[f"{t}_train"].to_numpy(float)
        for t in ("diffusion_rna", "diffusion_atac", "pair", "expression")
    }
    total = sum(model.module.weights[t] * values for t, values in terms.items())
    np.testing.assert_allclose(model.history["train_loss"].to_numpy(float), total, rtol=1e-3)


def test_untrained_model_says_so(make_mdata):
    mdata = make_mdata()
    SCDART.setup_mudata(mdata)
    with pytest.raises(RuntimeError):
        SCDART(mdata, **SMALL).get_latent_representation()


def test_dense_counts_give_the_same_features(make_mdata):
    mdata = make_mdata()
    model = train(mdata)
    for role in ("rna", "atac"):
        counts = torch.as_tensor(mdata[role].X.toarray())
        batch = torch.zeros(len(counts), dtype=torch.long)
        with torch.no_grad():
            dense, sparse = (
                model.module.expression({BATCH_KEYS.COUNTS: x, BATCH_KEYS.BATCH: batch}, role)
                for x in (counts, counts.to_sparse_csr())
            )
        torch.testing.assert_close(dense, sparse, atol=1e-5, rtol=1e-4)

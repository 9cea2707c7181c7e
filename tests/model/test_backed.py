"""Training on counts that stay on disk."""

from __future__ import annotations

import mudata
import numpy as np
import pytest
import scvi
from scipy import sparse

from scdart import _origins, pp
from scdart._chunks import room_for
from scdart.model import SCDART, _initialization


@pytest.fixture(params=["sparse", "dense"])
def path(request, make_mdata, tmp_path):
    mdata = make_mdata(n_shared=20)
    if request.param == "dense":
        for adata in mdata.mod.values():
            adata.X = adata.X.toarray()
    mdata.write(tmp_path / "data.h5mu")
    return tmp_path / "data.h5mu"


def train(mdata, **setup):
    scvi.settings.seed = 0
    SCDART.setup_mudata(mdata, **setup)
    model = SCDART(mdata, activity_hidden=(16,), projection_hidden=(16,), n_latent=4)
    model.train(max_epochs=2, batch_size=16, enable_progress_bar=False, accelerator="cpu")
    return model


@pytest.mark.parametrize("room", [0, 10**6], ids=["read by rows", "small"])
def test_same_model_and_latent_as_in_memory(path, tmp_path, room):
    in_memory = train(mudata.read_h5mu(path))
    with room_for(room):
        backed = train(mudata.read_h5mu(path, backed="r"))
    assert backed.adata["rna"].isbacked
    for name, value in in_memory.module.state_dict().items():
        np.testing.assert_array_equal(backed.module.state_dict()[name], value, err_msg=name)
    expected = in_memory.get_latent_representation()
    np.testing.assert_array_equal(backed.get_latent_representation(), expected)
    backed.save(tmp_path / "model")
    loaded = SCDART.load(tmp_path / "model", mudata.read_h5mu(path, backed="r"))
    np.testing.assert_array_equal(loaded.get_latent_representation(), expected)


@pytest.mark.parametrize("path", ["sparse"], indirect=True)
def test_batches_are_known_on_disk_as_in_memory(path):
    mdata = mudata.read_h5mu(path)
    for adata in mdata.mod.values():
        adata.obs["donor"] = np.where(np.arange(adata.n_obs) % 2, "one", "other")
        effects = np.where(adata.obs["donor"] == "one", 3, 1)[:, None] ** (np.arange(adata.n_vars) % 2)
        adata.X = sparse.csr_matrix(adata.X.multiply(effects), dtype=np.float32)
        adata.uns["diffusion_coordinates"]["batch_key"] = "donor"
    pp.batch_factors(mdata, "donor")
    mdata.write(path)
    in_memory, backed = (train(one, batch_key="donor") for one in (mdata, mudata.read_h5mu(path, backed="r")))
    assert np.ptp(in_memory.module.encoders["rna"].normalization.batch_factors.numpy()) > 0.5
    np.testing.assert_array_equal(backed.get_latent_representation(), in_memory.get_latent_representation())
    np.testing.assert_array_equal(backed.get_gene_activity(), in_memory.get_gene_activity())


def test_indices_in_any_order_and_repeated(path):
    model = train(mudata.read_h5mu(path, backed="r"))
    rows = np.random.default_rng(0).integers(50, size=70)
    for modality in ("rna", "atac", None):
        every = model.get_latent_representation(modality=modality)
        # Products of other numbers of rows round differently.
        chosen = model.get_latent_representation(modality=modality, indices=rows, batch_size=16)
        np.testing.assert_allclose(chosen, every[rows], rtol=1e-4, atol=1e-5)
    activity = model.get_gene_activity()
    chosen = model.get_gene_activity(indices=rows)
    assert chosen.index.equals(activity.index[rows])
    np.testing.assert_allclose(chosen, activity.iloc[rows], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("path", ["sparse"], indirect=True)
def test_reads_no_more_rows_than_a_chunk_at_a_time(path, monkeypatch):
    mdata = mudata.read_h5mu(path, backed="r")
    on_disk = type(mdata["rna"].X)
    n_rows = []
    read = on_disk.__getitem__

    def spied(self, index):
        found = read(self, index)
        n_rows.append(found.shape[0])
        return found

    monkeypatch.setattr(on_disk, "__getitem__", spied)
    monkeypatch.setattr(on_disk, "to_memory", lambda self: pytest.fail("read as a whole"))
    monkeypatch.setattr(_initialization, "_CHUNK", 20)
    monkeypatch.setattr(_origins, "_SAMPLE", 20)
    with room_for(0):
        train(mdata).get_latent_representation(batch_size=10)
    assert max(n_rows) == 20


def test_preparation_without_counts(path):
    mdata = mudata.read_h5mu(path, backed="r")
    for adata in mdata.mod.values():
        adata.obsm["X_pca"] = np.random.default_rng(0).normal(size=(adata.n_obs, 5))
    pp.diffusion_coordinates(mdata, use_rep={"rna": "X_pca", "atac": "X_pca"})
    pp.anchors(mdata, pairs="obs_names", inferred=False)
    train(mdata)
    assert mdata.obsp["anchors"].nnz == 20


@pytest.mark.parametrize("path", ["sparse"], indirect=True)
def test_layers_of_backed_data_are_checked(path):
    mdata = mudata.read_h5mu(path)
    mdata["rna"].layers["scaled"] = -mdata["rna"].X
    mdata.write(path)
    with pytest.raises(ValueError, match=r"layers\['scaled'\] holds .* negative"):
        SCDART.setup_mudata(mudata.read_h5mu(path, backed="r"), rna_layer="scaled")


def test_minibatches_of_dask_are_those_in_memory(make_mdata, stored):
    mdata = make_mdata()
    in_memory, lazy = train(mdata), train(stored(mdata, "dask"))
    np.testing.assert_array_equal(lazy.get_latent_representation(), in_memory.get_latent_representation())
    np.testing.assert_array_equal(lazy.get_gene_activity(), in_memory.get_gene_activity())

from __future__ import annotations

import mudata as md
import numpy as np
import pytest

from scdart.model import SCDART


@pytest.fixture(params=[0, 20, 50], ids=["disjoint", "overlapping", "paired"])
def saved(make_mdata, tmp_path, request):
    mdata = make_mdata(n_shared=request.param)
    SCDART.setup_mudata(mdata)
    model = SCDART(mdata, n_latent=4, activity_hidden=(16,), projection_hidden=(16,))
    model.train(max_epochs=2, batch_size=16, enable_progress_bar=False)
    model.save(tmp_path / "model", save_anndata=True, prefix="my_")
    return tmp_path / "model", mdata, model.get_latent_representation()


def test_load_with_the_data(saved):
    folder, mdata, latent = saved
    model = SCDART.load(folder, mdata, prefix="my_")
    np.testing.assert_array_equal(model.get_latent_representation(), latent)
    assert model.history["mmd_train"].shape == (2, 1)
    assert set(model.train_indices) == {"rna", "atac"}


def test_load_with_the_data_saved_beside_it(saved):
    folder, _, latent = saved
    np.testing.assert_array_equal(SCDART.load(folder, prefix="my_").get_latent_representation(), latent)


def test_load_without_data_then_query(saved):
    folder, mdata, latent = saved
    model = SCDART.load(folder, adata=False, prefix="my_")
    np.testing.assert_array_equal(model.get_latent_representation(mdata.copy()), latent)


def test_load_with_the_data_after_h5mu(saved, tmp_path):
    folder, mdata, latent = saved
    mdata.write(tmp_path / "data.h5mu")
    model = SCDART.load(folder, md.read_h5mu(tmp_path / "data.h5mu"), prefix="my_")
    np.testing.assert_array_equal(model.get_latent_representation(), latent)


def test_load_with_data_of_other_features(saved):
    folder, mdata, _ = saved
    other = md.MuData({"rna": mdata["rna"][:, :15].copy(), "atac": mdata["atac"].copy()})
    with (
        pytest.warns(UserWarning, match="var_names"),
        pytest.raises(ValueError, match=r"mdata.mod\['rna'\] has 15 of its 20 features.*prepare_query_mudata"),
    ):
        SCDART.load(folder, other, prefix="my_")


def test_loaded_model_trains_on(saved):
    folder, mdata, _ = saved
    model = SCDART.load(folder, mdata, prefix="my_")
    model.train(max_epochs=1, batch_size=16, enable_progress_bar=False)
    assert len(model.history["mmd_train"]) == 3

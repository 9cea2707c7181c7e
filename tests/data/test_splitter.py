from __future__ import annotations

import numpy as np
import pytest
import torch

from scdart.data import UnpairedDataset, UnpairedDataSplitter
from scdart.model import SCDART


def manager_of(mdata, **kwargs):
    SCDART.setup_mudata(mdata, **kwargs)
    return SCDART._get_most_recent_anndata_manager(mdata, required=True)


@pytest.mark.parametrize("n_shared", [0, 20, 50])
def test_rows_are_the_modality_s_own(make_mdata, n_shared):
    mdata = make_mdata(n_shared=n_shared)
    dataset = UnpairedDataset(manager_of(mdata))
    rows = {"rna": np.array([3, 0, 3, 7]), "atac": np.array([1, 1, 0, 9])}
    batch = dataset[rows]
    for mod in rows:
        assert batch[mod]["counts"].layout is torch.sparse_csr
        np.testing.assert_array_equal(batch[mod]["counts"].to_dense(), mdata[mod].X[rows[mod]].toarray())
        np.testing.assert_array_equal(batch[mod]["coordinates"], mdata[mod].obsm["X_diffusion_coordinates"][rows[mod]])


def test_groups_become_codes_without_touching_obs(make_mdata):
    mdata = make_mdata()
    mdata["rna"].obs["group"] = np.where(mdata["rna"].obs["state"] == "s1", "root", None)
    mdata["atac"].obs["group"] = np.where(mdata["atac"].obs["state"] == "s1", "root", None)
    columns = set(mdata["rna"].obs)
    batch = UnpairedDataset(manager_of(mdata, groups_key="group"))[{"rna": np.arange(60), "atac": np.arange(50)}]
    np.testing.assert_array_equal(batch["rna"]["groups"], np.where(mdata["rna"].obs["state"] == "s1", 0, -1))
    assert set(mdata["rna"].obs) == columns


def test_a_shared_cell_is_on_one_side(make_mdata):
    mdata = make_mdata(n_rna=80, n_atac=80, n_shared=60)
    splitter = UnpairedDataSplitter(manager_of(mdata), train_size=0.6, validation_size=0.3)
    for mod, n in (("rna", 80), ("atac", 80)):
        parts = [splitter.train_idx[mod], splitter.val_idx[mod], splitter.test_idx[mod]]
        assert sorted(np.concatenate(parts)) == list(range(n))
    sides = [(splitter.train_idx, splitter.val_idx), (splitter.val_idx, splitter.test_idx)]
    for one, other in sides:
        names = set(mdata["rna"].obs_names[one["rna"]]) & set(mdata["atac"].obs_names[other["atac"]])
        assert not names
    assert splitter.n_train == sum(map(len, splitter.train_idx.values()))


def test_external_indexing(make_mdata):
    manager = manager_of(make_mdata())
    split = {"rna": [np.arange(40), np.arange(40, 60)], "atac": [np.arange(30), np.arange(30, 50)]}
    splitter = UnpairedDataSplitter(manager, external_indexing=split, batch_size=16)
    for batch in splitter.val_dataloader():
        assert set(batch) == {"rna", "atac", "pair_weight"}
    with pytest.raises(ValueError, match="at most once"):
        UnpairedDataSplitter(manager, external_indexing={**split, "rna": [np.arange(40), np.arange(30, 60)]})
    with pytest.raises(ValueError, match="'rna' and 'atac'"):
        UnpairedDataSplitter(manager, external_indexing={"rna": split["rna"]})


def test_no_validation_cells_give_no_loader(make_mdata):
    splitter = UnpairedDataSplitter(manager_of(make_mdata()), train_size=1.0)
    assert splitter.val_dataloader() == []


def test_impossible_sizes(make_mdata):
    manager = manager_of(make_mdata())
    with pytest.raises(ValueError, match="sum of at most 1"):
        UnpairedDataSplitter(manager, train_size=0.8, validation_size=0.3)
    with pytest.raises(ValueError, match="at least 3"):
        UnpairedDataSplitter(manager, external_indexing={"rna": [np.arange(2)], "atac": [np.arange(50)]})

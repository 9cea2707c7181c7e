"""Saved models: what may be in their files."""

from __future__ import annotations

import os
from pathlib import Path

import mudata as md
import numpy as np
import pytest
import rich.pretty  # noqa: F401  # scvi-tools 1.4.2 uses it and does not import it
import torch
from typer.testing import CliRunner

from scdart.cli import app
from scdart.model import SCDART


class MakesFolder:
    """Makes a folder when it is loaded."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.fixture
def mdata(make_mdata):
    mdata = make_mdata(n_shared=10)
    SCDART.setup_mudata(mdata)
    return mdata


@pytest.fixture
def model(mdata):
    model = SCDART(mdata, n_latent=4, activity_hidden=(16,), projection_hidden=(16,))
    model.train(max_epochs=1, batch_size=16, enable_progress_bar=False)
    return model


@pytest.fixture
def folder(model, tmp_path):
    model.save(tmp_path / "model")
    return tmp_path / "model"


def change(folder: Path, **changes) -> None:
    content = torch.load(folder / "model.pt", weights_only=False)
    torch.save({**content, "attr_dict": {**content["attr_dict"], **changes}}, folder / "model.pt")


DOORS = {
    "load": lambda folder, mdata, **trust: SCDART.load(folder, mdata, **trust),
    "load with its data": lambda folder, mdata, **trust: SCDART.load(folder, **trust),
    "load_query_data": lambda folder, mdata, **trust: SCDART.load_query_data(mdata, folder, **trust),
    "prepare_query_mudata": lambda folder, mdata, **trust: SCDART.prepare_query_mudata(mdata, folder, **trust),
    "load_registry": lambda folder, mdata, **trust: SCDART.load_registry(folder, **trust),
    "view_setup_args": lambda folder, mdata, **trust: SCDART.view_setup_args(folder, **trust),
}


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.filterwarnings("ignore:Save path contains no saved anndata")
def test_code_in_a_file_runs_only_if_it_is_trusted(folder, mdata, tmp_path, door):
    change(folder, extra_=MakesFolder(tmp_path / "made"))
    with pytest.raises(ValueError, match=r"model\.pt was not loaded.*mkdir.*trust=True"):
        DOORS[door](folder, mdata.copy())
    assert not (tmp_path / "made").exists()
    DOORS[door](folder, mdata.copy(), trust=True)
    assert (tmp_path / "made").exists()


def test_report_on_the_command_line(folder, mdata, model, tmp_path):
    pytest.importorskip("plotly")
    mdata.obsm["X_scdart"] = model.get_latent_representation()
    for mod in ("rna", "atac"):
        mdata[mod].obsm["X_scdart"] = model.get_latent_representation(modality=mod)
    model.deregister_manager(mdata)
    mdata.write(tmp_path / "data.h5mu")
    change(folder, extra_=MakesFolder(tmp_path / "made"))
    arguments = ["report", str(tmp_path / "data.h5mu"), "--model", str(folder), "--output", str(tmp_path / "r.html")]
    refused = CliRunner().invoke(app, arguments)
    assert refused.exit_code == 1
    assert "was not loaded" in refused.output
    assert not (tmp_path / "made").exists()
    assert CliRunner().invoke(app, [*arguments, "--trust"]).exit_code == 0
    assert (tmp_path / "made").exists()


def test_a_file_does_not_choose_the_method_that_reads_it(folder, mdata):
    registry = torch.load(folder / "model.pt", weights_only=False)["attr_dict"]["registry_"]
    change(folder, registry_={**registry, "setup_method_name": "convert_legacy_save"})
    with pytest.raises(ValueError, match="holds no model of scdart"):
        SCDART.load(folder, mdata)


def test_nothing_is_downloaded_unseen(tmp_path, mdata):
    with pytest.raises(ValueError, match="download it first"):
        SCDART.load(tmp_path / "model", mdata, backup_url="https://example.org/model.pt")
    assert not (tmp_path / "model").exists()


def test_folder_without_model(tmp_path, mdata):
    with pytest.raises(FileNotFoundError, match=r"my_model\.pt does not exist"):
        SCDART.load(tmp_path, mdata, prefix="my_")


def test_another_file_of_torch(folder, mdata):
    torch.save({"weights": torch.zeros(3)}, folder / "model.pt")
    with pytest.raises(ValueError, match="holds no model of scdart"):
        SCDART.prepare_query_mudata(mdata, folder)


def test_settings_that_are_objects_are_not_saved(mdata, tmp_path):
    model = SCDART(mdata, n_latent=4, activity_hidden=(16,), projection_hidden=(16,))
    options = {"lr": np.float64(1e-3), "optimizer_creator": torch.optim.SGD}
    model.train(max_epochs=1, batch_size=16, plan_kwargs=options, enable_progress_bar=False)
    model.save(tmp_path / "model")
    assert SCDART.load(tmp_path / "model", mdata).train_settings_[0]["plan_kwargs"] == {"lr": 1e-3}


def test_models_of_scvi_tools_before_this_package(tmp_path):
    with pytest.raises(NotImplementedError, match=r"before 0\.15"):
        SCDART.convert_legacy_save(tmp_path, tmp_path / "new")
    with pytest.raises(NotImplementedError, match="prepare_query_mudata"):
        SCDART.prepare_query_anndata(None, tmp_path)


def test_failure_leaves_the_previous_model(folder, model, mdata, monkeypatch):
    def fail(content, path, **options):
        Path(path).write_bytes(b"half")
        raise RuntimeError("[enforce fail at inline_container.cc:664]")

    before = (folder / "model.pt").read_bytes()
    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(OSError, match="was not written"):
        model.save(folder, overwrite=True, save_anndata=True)
    assert (folder / "model.pt").read_bytes() == before
    assert os.listdir(folder) == ["model.pt"]
    assert os.listdir(folder.parent) == ["model"]


def test_overwrite_has_to_be_said(folder, model):
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="pass overwrite=True"):
        model.save(folder)
    model.save(folder, overwrite=True, save_anndata=True)
    assert sorted(os.listdir(folder)) == ["mdata.h5mu", "model.pt", "notes.txt"]
    SCDART.load(folder)


def test_data_on_disk_are_read_from_their_own_file_after_saving(mdata, tmp_path):
    for key in [key for key in mdata.uns if key.startswith("_scvi")]:
        del mdata.uns[key]
    mdata.write(tmp_path / "data.h5mu")
    backed = md.read_h5mu(tmp_path / "data.h5mu", backed="r")
    SCDART.setup_mudata(backed)
    model = SCDART(backed, n_latent=4, activity_hidden=(16,), projection_hidden=(16,))
    model.train(max_epochs=1, batch_size=16, enable_progress_bar=False)
    model.save(tmp_path / "model", save_anndata=True)
    assert Path(backed.filename) == tmp_path / "data.h5mu"
    latent = SCDART.load(tmp_path / "model").get_latent_representation()
    np.testing.assert_allclose(latent, model.get_latent_representation(), atol=1e-6)

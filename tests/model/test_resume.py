"""Training that is interrupted and goes on, against training that is not."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import mudata as md
import numpy as np
import pandas as pd
import pytest
import scvi
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint

import scdart
from scdart.model import SCDART

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mudata import MuData

OPTIONS: dict[str, Any] = {"max_epochs": 5, "batch_size": 16, "enable_progress_bar": False, "accelerator": "cpu"}
VALIDATED = {"train_size": 0.7, "early_stopping": True, "early_stopping_patience": 2}


class KeepAt(Callback):
    """Saves the state of the trainer in one of its hooks, in the middle of the run."""

    def __init__(self, hook: str, path: Path) -> None:
        setattr(self, hook, self._save)
        self.path = path

    def _save(self, trainer, *_) -> None:
        if trainer.current_epoch == 2:
            trainer.save_checkpoint(self.path)


class Stop(Callback):
    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def on_train_batch_start(self, trainer, *_) -> None:
        if trainer.current_epoch == self.epoch:
            raise RuntimeError("interrupted")


@pytest.fixture
def fresh(make_mdata) -> Callable[..., SCDART]:
    """Makes the same model of the same data each time, as a new process would."""

    def make(mdata: MuData | None = None, **options: Any) -> SCDART:
        scvi.settings.seed = 0
        mdata = make_mdata(n_shared=10) if mdata is None else mdata
        SCDART.setup_mudata(mdata)
        return SCDART(mdata, **{"n_latent": 4, "activity_hidden": (16,), "projection_hidden": (16,)} | options)

    return make


def trained(model: SCDART, **options: Any) -> SCDART:
    model.train(**OPTIONS | options)
    return model


def assert_same(one: SCDART, other: SCDART) -> None:
    for name, weight in one.module.state_dict().items():
        assert torch.equal(weight, other.module.state_dict()[name]), name
    assert one.history.keys() == other.history.keys()
    for name, column in one.history.items():
        pd.testing.assert_frame_equal(column, other.history[name])
    for role in ("rna", "atac"):
        np.testing.assert_array_equal(one.train_indices[role], other.train_indices[role])


@pytest.mark.parametrize("options", [{}, VALIDATED], ids=["all cells", "validation"])
@pytest.mark.parametrize("hook", ["on_train_epoch_start", "on_train_epoch_end"])
def test_resumed_equals_uninterrupted(fresh, tmp_path, hook, options):
    """With dropout, which reads the global stream, and other weights and splits of cells to begin with."""
    path = tmp_path / "state.ckpt"
    whole = trained(fresh(), callbacks=[KeepAt(hook, path)], **options)
    resumed = fresh()
    scvi.settings.seed = 7
    torch.rand(3)
    assert_same(whole, trained(resumed, ckpt_path=path, **options))
    assert_same(whole, trained(fresh(), **options))


def test_checkpoints_of_lightning_can_be_resumed_from(fresh, tmp_path):
    def kept(folder: str) -> dict[str, Any]:
        keeper = ModelCheckpoint(tmp_path / folder, filename="{epoch}", save_top_k=-1, save_on_train_epoch_end=True)
        return {"callbacks": [keeper], "enable_checkpointing": True, "train_size": 0.7}

    whole = trained(fresh(), **kept("whole"))
    assert_same(whole, trained(fresh(), ckpt_path=tmp_path / "whole" / "epoch=2.ckpt", **kept("resumed")))


def test_other_schedules_are_resumed(fresh, tmp_path):
    options = {"plan_kwargs": {"reduce_lr_on_plateau": True, "lr_patience": 1}, "train_size": 0.7}
    whole = trained(fresh(), callbacks=[KeepAt("on_train_epoch_start", tmp_path / "s.ckpt")], **options)
    assert_same(whole, trained(fresh(), ckpt_path=tmp_path / "s.ckpt", **options))


@pytest.mark.parametrize("epochs", [(0,), (1,), (2, 4)], ids=str)
def test_checkpoint_goes_on_where_it_was_interrupted(fresh, tmp_path, capsys, epochs):
    whole = trained(fresh())
    for epoch in epochs:
        with pytest.raises(RuntimeError, match="interrupted"):
            trained(fresh(), checkpoint=tmp_path / "kept", callbacks=[Stop(epoch)])
    resumed = trained(fresh(), checkpoint=tmp_path / "kept", enable_progress_bar=True)
    assert_same(whole, resumed)
    assert resumed.train_settings_[-1] == whole.train_settings_[-1] | {"enable_progress_bar": True}
    assert_same(whole, trained(fresh(), checkpoint=tmp_path / "kept"))


def test_state_of_another_run_is_refused(fresh, make_mdata, tmp_path):
    folder = tmp_path / "kept"
    trained(fresh(), checkpoint=folder)
    before = (folder / "training.ckpt").read_bytes()
    for model, options, message in (
        (fresh(), {"max_epochs": 6}, "max_epochs=5, not 6"),
        (fresh(), {"plan_kwargs": {"lr": 0.1}}, r"plan_kwargs=None, not \{'lr': 0.1\}"),
        (fresh(n_latent=3), {}, "n_latent=4, not 3"),
        (fresh(make_mdata(n_shared=10, seed=1)), {}, "X='"),
    ):
        with pytest.raises(ValueError, match=f"checkpoint='.*kept' is of another run, with .*{message}"):
            trained(model, checkpoint=folder, **options)
        assert not model.is_trained_
    assert (folder / "training.ckpt").read_bytes() == before


def test_damaged_and_missing_states(fresh, tmp_path):
    trained(fresh(), checkpoint=tmp_path)
    (tmp_path / "training.ckpt").write_bytes((tmp_path / "training.ckpt").read_bytes()[:-20])
    for options in ({"checkpoint": tmp_path}, {"ckpt_path": tmp_path / "training.ckpt"}):
        with pytest.raises(ValueError, match=r"training.ckpt is no state of a training, or is damaged: remove it"):
            trained(fresh(), **options)
    with pytest.raises(FileNotFoundError, match=r"none.ckpt does not exist"):
        trained(fresh(), ckpt_path=tmp_path / "none.ckpt")
    (tmp_path / "file").write_text("")
    with pytest.raises(NotADirectoryError, match="checkpoint="):
        trained(fresh(), checkpoint=tmp_path / "file")


def test_cells_of_another_number_are_refused(fresh, make_mdata, tmp_path):
    trained(fresh(), checkpoint=tmp_path)
    with pytest.raises(ValueError, match="The checkpoint is of 60 rna cells, and there are 61"):
        trained(fresh(make_mdata(n_rna=61, n_shared=10)), ckpt_path=tmp_path / "training.ckpt")


@pytest.mark.kill
def test_killed_command_ends_as_if_it_had_not_been(tmp_path):
    mdata = scdart.datasets.simulate("linear", n_cells=60, n_genes=40, n_peaks=90)
    mdata.write(tmp_path / "in.h5mu")

    def command(output: str, *options: str) -> subprocess.Popen:
        arguments = ["integrate", "in.h5mu", "--output", output, "--max-epochs", "30", *options]
        code = f"from scdart.cli import app; app({arguments})"
        return subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, stdout=subprocess.DEVNULL)

    killed = command("out.h5mu", "--checkpoint", "kept")
    while killed.poll() is None and not (tmp_path / "kept" / "training.ckpt").exists():
        time.sleep(0.01)
    killed.send_signal(signal.SIGKILL)
    assert killed.wait() == -signal.SIGKILL
    assert not (tmp_path / "out.h5mu").exists()
    assert [command(*options).wait() for options in (["out.h5mu", "--checkpoint", "kept"], ["whole.h5mu"])] == [0, 0]
    resumed, whole = (md.read_h5mu(tmp_path / name) for name in ("out.h5mu", "whole.h5mu"))
    np.testing.assert_array_equal(resumed.obsm["X_scdart"], whole.obsm["X_scdart"])

"""Training that was interrupted goes on: what is kept after each epoch, and what must be the same when it does."""

from __future__ import annotations

import json
import random
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from zlib import crc32

import numpy as np
import pandas as pd
import torch
from lightning.pytorch.callbacks import Callback
from scipy import sparse

from scdart._files import check_place, is_whole, replacing

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    from lightning.pytorch import LightningModule, Trainer
    from scvi.data import AnnDataManager

_PLAIN = bool | int | float | str
_STATE: Final = "training.ckpt"
_RUN: Final = "run.json"


class EpochCheckpoint(Callback):
    """Keeps the state of training after every epoch, each in the place of the one before.

    Parameters
    ----------
    folder
        Where to keep it; made if it is not there.
    run
        What is trained, on what and how. Only a run of the same description goes on from what is kept.

    Raises
    ------
    ValueError
        The folder holds the state of another run, or a damaged one.
    OSError
        The folder cannot be written to.
    """

    def __init__(self, folder: str | os.PathLike[str], run: Mapping[str, Any]) -> None:
        super().__init__()
        self._state, described = Path(folder) / _STATE, Path(folder) / _RUN
        check_place(self._state, f"checkpoint={str(folder)!r}")
        if self._state.exists():
            check_state(self._state)
            before = json.loads(described.read_text(encoding="utf-8")) if described.exists() else {}
            now = json.loads(json.dumps(run))
            if differ := [key for key in {**before, **now} if before.get(key) != now.get(key)]:
                values = ", ".join(f"{key}={before.get(key)!r}, not {now.get(key)!r}" for key in differ)
                raise ValueError(
                    f"checkpoint={str(folder)!r} is of another run, with {values}: repeat that, or name another folder."
                )
        else:
            described.parent.mkdir(parents=True, exist_ok=True)
            with replacing(described) as part:
                part.write_text(json.dumps(run, indent=2), encoding="utf-8")

    @property
    def ckpt_path(self) -> Path | None:
        """The state to go on from, if there is one."""
        return self._state if self._state.exists() else None

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keep the state between epochs, when the history has all of the last one."""
        if trainer.current_epoch > 0:
            # all processes take part, one writes
            with replacing(self._state) if trainer.is_global_zero else nullcontext(self._state) as part:
                trainer.save_checkpoint(part)


def check_state(path: str | os.PathLike[str]) -> None:
    """Raise unless a file was written to its end as the state of a training."""
    if not Path(path).is_file():
        raise FileNotFoundError(f"ckpt_path: {path} does not exist: name a file that a trainer has saved.")
    if not is_whole(Path(path)):
        raise ValueError(f"{path} is no state of a training, or is damaged: remove it to train from the start.")


def describe_data(manager: AnnDataManager) -> dict[str, str]:
    """Say of everything that is registered for training what is in it, in few characters."""
    return {key: _digest(manager.get_from_registry(key)) for key in manager.data_registry}


def between_epochs(progress: Mapping[str, Mapping[str, int]]) -> bool:
    """Whether all epochs that were started, by the progress that Lightning keeps, have run their course."""
    return progress["total"]["started"] == progress["total"]["processed"]


def finish_epochs(progress: Mapping[str, dict[str, int]]) -> None:
    """Count all epochs that have run their course as done, and no other as begun, so that the next begins anew."""
    for counts in progress.values():
        counts.update(dict.fromkeys(counts, counts["processed"]))


def random_streams() -> dict[str, Any]:
    """Get the state of the global random streams, as nothing but tensors and plain values."""
    name, keys, *rest = np.random.get_state(legacy=True)  # noqa: NPY002  # the user's, not ours
    return {
        "python": random.getstate(),
        "numpy": (name, torch.as_tensor(np.asarray(keys, dtype=np.int64)), *rest),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def set_random_streams(state: Mapping[str, Any]) -> None:
    """Continue the global random streams where :func:`random_streams` found them."""
    random.setstate(state["python"])
    name, keys, *rest = state["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), *rest))  # noqa: NPY002
    torch.set_rng_state(state["torch"].cpu())
    if state["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all([each.cpu() for each in state["cuda"]])


def plain_history(trainer: Trainer) -> dict[str, dict[str, Any]]:
    """Get the history of a run as plain values, with an epoch that has ended and of which the logger is yet to hear."""
    if not trainer.is_global_zero:
        return {}  # the first process alone has a history
    history = {
        name: {"by": table.index.name, "at": table.index.to_list(), "values": table[name].to_list()}
        for name, table in (getattr(trainer.logger, "history", None) or {}).items()
    }
    epochs = trainer.fit_loop.epoch_progress.current.state_dict()
    if epochs["processed"] > epochs["completed"]:
        for name, value in trainer.logged_metrics.items():
            column = history.setdefault(name, {"by": "epoch", "at": [], "values": []})
            if column["by"] == "epoch" and trainer.current_epoch not in column["at"] and not name.endswith("_step"):
                column["at"].append(trainer.current_epoch)
                column["values"].append(value.item())
    return history


def history_of(plain: Mapping[str, Mapping[str, Any]]) -> dict[str, pd.DataFrame]:
    """Get back what :func:`plain_history` was given, in the types that scvi-tools gives to its history."""
    tables = {}
    for name, column in plain.items():
        table = pd.DataFrame(columns=[name])
        table.index.name = column["by"]
        for at, value in zip(column["at"], column["values"], strict=True):
            table.loc[at, name] = value
        tables[name] = table
    return tables


def _digest(values: Any) -> str:
    if isinstance(values, pd.DataFrame):
        values = values.to_numpy()
    if not (sparse.issparse(values) or isinstance(values, np.ndarray)):
        return str(values.shape)  # on disk: reading it all would take as long as an epoch
    stored = values.data if sparse.issparse(values) else values
    if stored.dtype.kind == "f" and (np.mod(stored, 1) != 0).any():
        # computed, so that its last digits are not the same on every machine
        return f"{values.shape} {np.linalg.norm(stored):.6g}"
    if sparse.issparse(values):
        rows = values.tocsr()
        parts = [rows.data, rows.indices, rows.indptr]
    else:
        parts = [values.astype(str) if values.dtype == object else values]
    check = 0
    for part in parts:
        check = crc32(np.ascontiguousarray(part).tobytes(), check)
    return f"{values.shape} {check:08x}"


def plain_options(options: dict[str, Any]) -> dict[str, Any]:
    """Get what of the options it takes to repeat the training: not objects such as loggers."""
    kept = {key: _plain(value) for key, value in options.items() if isinstance(value, _PLAIN | dict)}
    return {key: value for key, value in kept.items() if value != {}}


def _plain(value: Any) -> Any:
    """Leave out of a dictionary what is no plain value: a file that names classes is refused when it is loaded."""
    if not isinstance(value, dict):
        return value
    return {key: each for key, each in value.items() if isinstance(each, _PLAIN | list | tuple)}

"""Training in two processes on one machine, as Lightning starts them on several devices or machines."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
import torch

SCRIPT = """
import json
import sys

import numpy as np
import scdart
import scvi
import torch

if __name__ == "__main__":
    n_processes, folder = int(sys.argv[1]), sys.argv[2]
    scvi.settings.seed = 0
    # Two batches of RNA, and one of ATAC.
    batches = {"n_batches_rna": 2, "batch_effect": 1.0}
    mdata = scdart.datasets.simulate("linear", n_cells=150, n_genes=60, n_peaks=200, random_state=0, **batches)
    scdart.pp.diffusion_coordinates(mdata, batch_key="batch")
    scdart.model.SCDART.setup_mudata(mdata, batch_key="batch")
    # Little dropout: the processes drop units of their own, so that two trainings differ by what dropout is.
    model = scdart.model.SCDART(mdata, n_latent=4, dropout=0.1)
    several = {"strategy": "ddp"} if n_processes > 1 else {}
    # The same number of cells in every step, whatever the number of processes.
    size = 64 // n_processes
    several["checkpoint"] = f"{folder}/state_{n_processes}"
    model.train(30, accelerator="cpu", devices=n_processes, batch_size=size, enable_progress_bar=False, **several)
    rank = torch.distributed.get_rank() if torch.distributed.is_initialized() else 0
    np.save(f"{folder}/latent_{n_processes}_{rank}.npy", model.get_latent_representation())
    if rank == 0:
        kept = [
            scdart.metrics.diffusion_distance_correlation(
                model.get_latent_representation(modality=modality),
                mdata[modality].obsm["X_diffusion_coordinates"],
                n_blocks=len(mdata[modality].uns["diffusion_coordinates"]["t"]),
            )
            for modality in ("rna", "atac")
        ]
        batch = mdata["rna"].obs["batch"]
        kept.append(scdart.metrics.batch_mixing(model.get_latent_representation(modality="rna"), batch))
        np.save(f"{folder}/kept_{n_processes}.npy", kept)
        history = {name: values.iloc[:, 0].astype(float).tolist() for name, values in model.history.items()}
        with open(f"{folder}/history_{n_processes}.json", "w") as file:
            json.dump(history, file)
"""


@pytest.mark.slow
@pytest.mark.distributed
def test_two_processes_train_one_model(tmp_path):
    script = tmp_path / "train.py"
    script.write_text(SCRIPT)
    for n_processes in ("1", "2"):
        command = [sys.executable, str(script), n_processes, str(tmp_path)]
        ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=600, check=False)
        assert ended.returncode == 0, ended.stderr[-3000:]
    first, second = (np.load(tmp_path / f"latent_2_{rank}.npy") for rank in (0, 1))
    states = [torch.load(tmp_path / f"state_{n}" / "training.ckpt", weights_only=True) for n in (1, 2)]
    assert [(state["epoch"], len(state["scdart"]["history"]["train_loss"]["at"])) for state in states] == [(29, 29)] * 2
    # Weights are the same; running statistics of batch norm differ by the last step, after which none is taken over.
    np.testing.assert_allclose(first, second, atol=0.05)
    # Two short trainings differ as two seeds do, but not in how well distances follow those that they learn from, and
    # how well batches mix.
    alone, together = (np.load(tmp_path / f"kept_{n}.npy") for n in (1, 2))
    np.testing.assert_allclose(together, alone, atol=0.08)
    assert min(together) > 0.45
    one, two = (json.loads((tmp_path / f"history_{n}.json").read_text()) for n in (1, 2))
    assert one.keys() == two.keys()
    assert [len(values) for values in one.values()] == [len(values) for values in two.values()]
    np.testing.assert_allclose(np.mean(two["train_loss"][-5:]), np.mean(one["train_loss"][-5:]), rtol=0.1)

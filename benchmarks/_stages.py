"""One measurement of benchmarks/scaling.py, in a process of its own: time and memory of each stage, as JSON."""

from __future__ import annotations

import json
import logging
import multiprocessing
import sys
import tempfile
import warnings
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import scvi
import torch
from _clocks import Stages, clocks
from _reference import TIMES, Reference, diffusion_distances, optimizer
from _results import measure_results
from _synthetic import annotation, components, made_up_targets, open_share, unpaired
from lightning.pytorch import Callback
from scipy.spatial.distance import pdist, squareform
from sklearn.preprocessing import normalize

import scdart
from scdart.data import UnpairedDataSplitter
from scdart.model import PRESETS, SCDART
from scdart.pp._features import log_normalize, lsi, pca, tfidf
from scdart.pp._kernel import alpha_decay_kernel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mudata import MuData

#: Cells of each modality in a step that is compared with the reference's.
BATCH_SIZE = 256
N_STEPS, N_WARM_UP = 20, 3
N_REFERENCE_STEPS, N_REFERENCE_WARM_UP = 2, 1


class StepTimer(Callback):
    """Median time from the beginning of one step to that of the next, loading of the minibatch included."""

    def __init__(self) -> None:
        self.starts: list[np.ndarray] = []

    def on_train_batch_start(self, *_: object) -> None:
        self.starts.append(clocks())

    def durations(self) -> np.ndarray:
        return np.median(np.diff(self.starts, axis=0)[N_WARM_UP:], axis=0)


def measure_scdart(
    n_cells: int, n_peaks: int, n_genes: int, *, batch_key: str | None = None
) -> dict[str, dict[str, float]]:
    mdata, stages = unpaired(n_cells, n_peaks, n_genes), Stages()
    with stages("prior"):
        scdart.pp.gene_activity(mdata, annotation(n_genes))
    if batch_key is not None:
        for adata in mdata.mod.values():
            adata.obs[batch_key] = np.where(np.arange(n_cells) % 2, "one", "other")
        with stages("factors"):
            scdart.pp.batch_factors(mdata, batch_key)
    with stages("coordinates"):
        scdart.pp.diffusion_coordinates(mdata, batch_key=batch_key)
    with stages("anchors"):
        scdart.pp.anchors(mdata, batch_key=batch_key)
    with stages("set-up"):
        SCDART.setup_mudata(mdata, batch_key=batch_key)
        model = SCDART(mdata)
    for name, batch_size in (("step", None), ("step of 256 cells", BATCH_SIZE)):
        measure_steps(model, stages, name, batch_size)
    measure_minibatches(model, stages)
    with stages("embedding"):
        model.get_latent_representation()
    return stages.measured


def measure_steps(model: SCDART, stages: Stages, name: str, batch_size: int | None = None) -> None:
    timer = StepTimer()
    with stages(name, timer.durations):
        # One epoch may have fewer steps than are to be timed.
        model.train(
            max_epochs=N_STEPS,
            max_steps=N_STEPS + N_WARM_UP + 1,
            batch_size=batch_size,
            accelerator="cpu",
            enable_progress_bar=False,
            callbacks=[timer],
        )


def measure_minibatches(model: SCDART, stages: Stages) -> None:
    """The part of a step that draws cells and puts them together."""
    splitter = UnpairedDataSplitter(model.adata_manager, train_size=1.0, batch_size=PRESETS["default"].cells_per_batch)
    starts = []
    with stages("minibatch", lambda: np.median(np.diff(starts, axis=0), axis=0)):
        for _, _ in zip(range(N_STEPS), splitter.train_dataloader(), strict=False):
            starts.append(clocks())


def measure_backed(n_cells: int, n_peaks: int, n_genes: int) -> dict[str, dict[str, float]]:
    """Training on counts in a file, with made-up coordinates and anchors."""
    with _written(_write_prepared, n_cells, n_peaks, n_genes) as path:
        return _from_file(path, lambda data, stages: None)


def measure_stored(n_cells: int, n_peaks: int, n_genes: int) -> dict[str, dict[str, float]]:
    """The whole way from counts in a file that has the prior."""

    def prepare(data: MuData, stages: Stages) -> None:
        with stages("coordinates"):
            scdart.pp.diffusion_coordinates(data)
        with stages("anchors"):
            scdart.pp.anchors(data)

    with _written(_write_counts, n_cells, n_peaks, n_genes) as path:
        return _from_file(path, prepare)


def _from_file(path: Path, prepare: Callable[[MuData, Stages], None]) -> dict[str, dict[str, float]]:
    stages = Stages()
    with stages("opened"):
        data = scdart.pp.from_store(path)
    prepare(data, stages)
    with stages("set-up"):
        SCDART.setup_mudata(data)
        model = SCDART(data)
    measure_steps(model, stages, "step")
    with stages("embedding"):
        model.get_latent_representation()
    data.file.close()
    return stages.measured


@contextmanager
def _written(write: Callable[..., None], *sizes: int) -> Iterator[Path]:
    """Let another process make a file, whose memory does not count here."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "data.h5mu"
        writer = multiprocessing.get_context("spawn").Process(target=write, args=(path, *sizes))
        writer.start()
        writer.join()
        yield path


def _write_prepared(path: Path, *sizes: int) -> None:
    data = unpaired(*sizes)
    scdart.pp.gene_activity(data, annotation(sizes[-1]))
    made_up_targets(data)
    data.write(path)


def _write_counts(path: Path, n_cells: int, n_peaks: int, n_genes: int) -> None:
    data = unpaired(n_cells, n_peaks, n_genes, open_share=open_share(n_peaks))
    scdart.pp.gene_activity(data, annotation(n_genes))
    data.write(path)


def measure_components(n_cells: int, n_peaks: int, n_genes: int) -> dict[str, dict[str, float]]:
    """Coordinates of both modalities from components that are there, and anchors, of cells with few features."""
    mdata, stages = unpaired(n_cells, n_peaks, n_genes), Stages()
    scdart.pp.gene_activity(mdata, annotation(n_genes))
    for seed, adata in enumerate(mdata.mod.values()):
        adata.obsm["components"] = components(adata.n_obs, seed=seed)
    with stages("coordinates"):
        scdart.pp.diffusion_coordinates(mdata, use_rep=dict.fromkeys(mdata.mod, "components"))
    with stages("anchors"):
        scdart.pp.anchors(mdata)
    return stages.measured


def measure_reference_distances(n_cells: int, n_peaks: int, n_genes: int) -> dict[str, dict[str, float]]:
    """Dense distances of both modalities, and the coordinates that replace them, from the same features."""
    mdata, stages = unpaired(n_cells, n_peaks, n_genes), Stages()
    mdata["rna"].obsm["features"] = pca(log_normalize(mdata["rna"].X))
    mdata["atac"].obsm["features"] = lsi(tfidf(mdata["atac"].X))
    with stages("distances"):
        dense = {
            mod: diffusion_distances(_transitions(adata.obsm["features"]), potential=False)
            for mod, adata in mdata.mod.items()
        }
    with stages("coordinates of the same distances"):
        scdart.pp.diffusion_coordinates(mdata, t=TIMES, use_rep=dict.fromkeys(dense, "features"))
    errors = [relative_error(mdata, mod, distances) for mod, distances in dense.items()]
    stages.measured["coordinates of the same distances"]["error"] = max(errors)
    return stages.measured


def measure_reference_step(n_cells: int, n_peaks: int, n_genes: int) -> dict[str, dict[str, float]]:
    mdata, stages = unpaired(n_cells, n_peaks, n_genes), Stages()
    scdart.pp.gene_activity(mdata, annotation(n_genes))
    prior = torch.as_tensor(mdata["atac"].varm["gene_activity"].toarray())
    rna = torch.as_tensor(log_normalize(mdata["rna"].X, 100).toarray())
    atac = torch.as_tensor(mdata["atac"].X.toarray())
    # What the distances are does not change the time of a step.
    distances = torch.as_tensor(squareform(pdist(rna[:, :10].numpy() + np.arange(n_cells)[:, None])), dtype=rna.dtype)
    model = Reference(prior)
    del prior
    adam = optimizer(model)
    rng, durations = np.random.default_rng(0), []
    with stages("step of 256 cells", lambda: np.median(durations[N_REFERENCE_WARM_UP:], axis=0)):
        for _ in range(N_REFERENCE_WARM_UP + N_REFERENCE_STEPS):
            start = clocks()
            rows = rng.permutation(n_cells)[:BATCH_SIZE]
            block = distances[rows][:, rows]
            adam.zero_grad()
            model(rna[rows], atac[rows], block, block).backward()
            adam.step()
            durations.append(clocks() - start)
    return stages.measured


def relative_error(mdata: MuData, mod: str, dense: np.ndarray) -> float:
    """Error of the distances of coordinates against dense ones, in Frobenius norm, both scaled to unit norm."""
    blocks = np.split(mdata[mod].obsm["X_diffusion_coordinates"].astype(float), len(TIMES), axis=1)
    distances = sum(_unit(squareform(pdist(block))) for block in blocks) / len(TIMES)
    return float(np.linalg.norm(distances - dense) / np.linalg.norm(dense))


def _unit(distances: np.ndarray) -> np.ndarray:
    return distances / np.linalg.norm(distances)


def _transitions(features: np.ndarray) -> np.ndarray:
    return normalize(alpha_decay_kernel(features), norm="l1").toarray()


TASKS = {
    "scdart": measure_scdart,
    "no batches": measure_scdart,
    "batches": partial(measure_scdart, batch_key="batch"),
    "reference distances": measure_reference_distances,
    "reference step": measure_reference_step,
    "backed": measure_backed,
    "components": measure_components,
    "stored": measure_stored,
    "results": measure_results,
}


def main(task: str, *sizes: str) -> None:
    warnings.simplefilter("ignore")
    for name in ("lightning.pytorch", "lightning.fabric", "scvi"):
        logging.getLogger(name).setLevel(logging.ERROR)
    scvi.settings.seed = 0
    sys.stdout.write("\n" + json.dumps(TASKS[task](*map(int, sizes))) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])

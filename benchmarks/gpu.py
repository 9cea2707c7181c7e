"""Measure what a GPU saves: preparation, a step, and the whole, on a CUDA device beside the CPU, in one run.

python benchmarks/gpu.py --device cuda
"""

from __future__ import annotations

import json
import logging
import platform
import time
import warnings
from contextlib import contextmanager
from pathlib import Path  # noqa: TC003  # which typer reads from annotations
from typing import TYPE_CHECKING, Annotated

import numpy as np
import pandas as pd
import scvi
import torch
import typer
from _synthetic import N_GENES, annotation, unpaired
from lightning.pytorch import Callback

import scdart
from scdart.model import PRESETS, SCDART

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Steps before those that are timed, in which kernels are loaded and memory is reserved.
N_WARM_UP = 5


class StepTimer(Callback):
    """Time of single steps on the wall, once the device has done all that it was given."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_train_batch_end(self, *_: object) -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.ends.append(time.perf_counter())

    def median(self) -> float:
        return float(np.median(np.diff(self.ends[N_WARM_UP:])))


def measure(n_cells: int, n_peaks: int, n_genes: int, devices: list[str], n_steps: int) -> pd.DataFrame:
    """Seconds on the wall of every stage, by device. What does not use the device is measured once."""
    seconds: dict[str, dict[str, float]] = {device: {} for device in devices}

    @contextmanager
    def stage(name: str, *where: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        for device in where:
            seconds[device][name] = time.perf_counter() - start

    mdata = unpaired(n_cells, n_peaks, n_genes)
    scdart.pp.gene_activity(mdata, annotation(n_genes))
    with stage("coordinates", *devices):
        scdart.pp.diffusion_coordinates(mdata)
    with stage("anchors", *devices):
        scdart.pp.anchors(mdata)
    for device in devices:
        scvi.settings.seed = 0
        with stage("set-up", device):
            SCDART.setup_mudata(mdata)
            model = SCDART(mdata)
        timer = StepTimer()
        model.train(
            max_epochs=n_steps,
            max_steps=n_steps,
            accelerator="gpu" if device == "cuda" else device,
            devices=1,
            enable_progress_bar=False,
            callbacks=[timer],
        )
        seconds[device]["step"] = timer.median()
        with stage("embedding", device):
            model.get_latent_representation()
    table = pd.DataFrame(seconds)
    n_by_role, preset = dict.fromkeys(("rna", "atac"), n_cells), PRESETS["default"]
    batch_size = preset.batch_size(n_by_role)
    steps = preset.max_epochs(n_by_role, batch_size, 1.0, paired=True) * -(-n_cells // batch_size)
    table.loc[f"whole, {steps:,} steps"] = table.drop("step").sum() + steps * table.loc["step"]
    return table


def named(device: str) -> str:
    """Name of a device as its maker has it."""
    if device == "cuda":
        return f"{torch.cuda.get_device_name()}, CUDA {torch.version.cuda}"
    return f"{platform.machine()}, {torch.get_num_threads()} threads"


def main(
    device: Annotated[str, typer.Option(help="'cuda', measured beside the CPU, or 'cpu' alone.")] = "cuda",
    cells: Annotated[int, typer.Option(min=100, help="Cells of each modality.")] = 10_000,
    peaks: Annotated[int, typer.Option(min=100, help="Peaks.")] = 50_000,
    genes: Annotated[int, typer.Option(min=100, help="Genes.")] = N_GENES,
    steps: Annotated[int, typer.Option(min=2 * N_WARM_UP, help="Steps of training to time.")] = 100,
    output: Annotated[Path | None, typer.Option(help="Keep the numbers as JSON.")] = None,
) -> None:
    """Print seconds of every stage by device. Coordinates and anchors are computed on the CPU in any case."""
    if device not in ("cpu", "cuda"):
        raise typer.BadParameter(f"--device {device}: 'cuda' or 'cpu'.")
    if device == "cuda" and not torch.cuda.is_available():
        raise typer.BadParameter("--device cuda: PyTorch finds no CUDA device here.")
    warnings.simplefilter("ignore")
    for name in ("lightning.pytorch", "lightning.fabric", "scvi"):
        logging.getLogger(name).setLevel(logging.ERROR)
    devices = ["cpu"] if device == "cpu" else ["cpu", device]
    table = measure(cells, peaks, genes, devices, steps)
    if len(devices) > 1:
        table["times faster"] = table["cpu"] / table[device]
    for each in devices:
        typer.echo(f"{each}: {named(each)}, torch {torch.__version__}")
    typer.echo(f"{cells:,} cells of each modality, {peaks:,} peaks, {genes:,} genes; seconds on the wall")
    typer.echo(table.map("{:.3g}".format).to_markdown(disable_numparse=True))
    if output is not None:
        output.write_text(json.dumps({"devices": {each: named(each) for each in devices}, "seconds": table.to_dict()}))


if __name__ == "__main__":
    typer.run(main)

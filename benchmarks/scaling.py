"""Measure how time and memory grow with cells and peaks, beside the published algorithm: a page and its figure.

OMP_NUM_THREADS=1 NUMBA_NUM_THREADS=1 python benchmarks/scaling.py
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import pandas as pd
import typer
from _runner import last_line, why_ended
from _scaling_figure import draw
from _scaling_report import page
from _synthetic import N_GENES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

REPOSITORY = Path(__file__).resolve().parents[1]
#: What the numbers do not say by themselves, at the end of the page.
REMARKS = REPOSITORY / "benchmarks" / "remarks" / "scaling.md"
STAGES = Path(__file__).with_name("_stages.py")
#: CPU seconds of several threads would not be those of one.
COMMAND = "OMP_NUM_THREADS=1 NUMBA_NUM_THREADS=1 python benchmarks/scaling.py"
COLUMNS = ["task", "cells", "peaks", "genes", "stage", "seconds", "wall", "gib", "error", "machine"]
#: Cells whose minibatches a step of the reference takes: it does not depend on how many others there are.
STEP_CELLS = 512
#: Peaks and genes where the cost is that of cells.
FEW_FEATURES = (2_000, 200)


@dataclass(frozen=True)
class Grid:
    """Sizes to measure: all numbers of cells at `peaks[1]` peaks, all numbers of peaks at `cells[2]`; and more."""

    cells: tuple[int, ...] = (1_000, 3_000, 10_000, 30_000, 100_000)
    peaks: tuple[int, ...] = (10_000, 50_000, 200_000)
    genes: int = N_GENES
    #: Cells and peaks of a whole run beside those.
    largest: tuple[int, int] = (100_000, 100_000)
    #: Cells in two batches of each modality, at `peaks[1]` peaks, which the same cells without are compared with.
    batched_cells: tuple[int, ...] = (10_000, 100_000)
    #: Cells whose counts stay on disk, at `peaks[1]` peaks; fewer have so little that they are read as a whole.
    backed_cells: tuple[int, ...] = (80_000, 160_000)
    #: Cells whose components are there already, with as few features as anchors can do with.
    component_cells: tuple[int, ...] = (100_000, 1_000_000)
    #: Cells and peaks of the whole way from a file.
    stored: tuple[tuple[int, int], ...] = ((30_000, 50_000),)
    #: Cells whose latent space is there already, for what is done with it, at `peaks[0]` peaks.
    result_cells: tuple[int, ...] = (10_000, 100_000)
    #: Beyond, dense distances take hours and dense layers more memory than a laptop has.
    reference_cells: int = 3_000
    reference_peaks: int = 50_000

    def jobs(self) -> list[Job]:
        """All measurements, those of least work first."""
        usual_cells, usual_peaks = self.cells[min(2, len(self.cells) - 1)], self.peaks[1]
        sizes = {(n, usual_peaks) for n in self.cells} | {(usual_cells, n) for n in self.peaks} | {self.largest}
        jobs = [Job("scdart", *size, self.genes) for size in sizes]
        jobs += [
            Job("reference distances", n, self.peaks[0], self.genes) for n in self.cells if n <= self.reference_cells
        ]
        jobs += [Job("reference step", STEP_CELLS, n, self.genes) for n in self.peaks if n <= self.reference_peaks]
        # Both one after the other, so that what else the machine does is the same.
        jobs += [
            Job(task, n, usual_peaks, self.genes) for n in self.batched_cells for task in ("no batches", "batches")
        ]
        jobs += [Job("backed", n, usual_peaks, self.genes) for n in self.backed_cells]
        jobs += [Job("components", n, *FEW_FEATURES) for n in self.component_cells]
        jobs += [Job("stored", *size, self.genes) for size in self.stored]
        jobs += [Job("results", n, self.peaks[0], self.genes) for n in self.result_cells]
        return sorted(jobs, key=Job.work)


#: From a file as large as an atlas: hours, and as much room on the disk as memory to make it.
ATLAS = replace(Grid(), stored=((30_000, 50_000), (100_000, 100_000), (300_000, 100_000)))

QUICK = Grid(
    (300, 1_000, 3_000),
    (1_000, 3_000, 10_000),
    500,
    largest=(3_000, 10_000),
    batched_cells=(1_000, 3_000),
    backed_cells=(1_000, 3_000),
    component_cells=(10_000, 30_000),
    stored=((1_000, 3_000),),
    result_cells=(1_000,),
    reference_cells=1_000,
    reference_peaks=10_000,
)


@dataclass(frozen=True)
class Job:
    task: str
    cells: int
    peaks: int
    genes: int

    def work(self) -> float:
        """Rough order of cost."""
        return {
            "scdart": 1e3 * self.cells + self.cells * self.peaks / 50,
            "no batches": 1.5e3 * self.cells + self.cells * self.peaks / 50,
            "batches": 1.5e3 * self.cells + self.cells * self.peaks / 50,
            "reference distances": self.cells**3 / 500,
            "reference step": 200 * self.peaks,
            "backed": 1e2 * self.cells + self.cells * self.peaks / 100,
            "components": 2e2 * self.cells,
            "stored": 1e3 * self.cells + self.cells * self.peaks / 25,
            "results": 1e3 * self.cells,
        }[self.task]

    def measure(self, timeout: float) -> pd.DataFrame:
        """Seconds and peak memory of every stage."""
        ended = subprocess.run(
            [sys.executable, str(STAGES), *map(str, astuple(self))],
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        if ended.returncode:
            raise RuntimeError(why_ended(ended.returncode, ended.stderr))
        measured = json.loads(last_line(ended.stdout))
        keys = {"task": self.task, "cells": self.cells, "peaks": self.peaks, "genes": self.genes}
        rows = [keys | {"stage": stage, "machine": machine()} | values for stage, values in measured.items()]
        return pd.DataFrame(rows, columns=COLUMNS)

    def is_in(self, results: pd.DataFrame) -> bool:
        return (results[["task", "cells", "peaks", "genes"]] == list(astuple(self))).all(axis=1).any()

    def __str__(self) -> str:
        return f"{self.task}, {self.cells:,} cells, {self.peaks:,} peaks"


def run(jobs: Iterable[Job], results: pd.DataFrame, timeout: float) -> Iterator[tuple[pd.DataFrame, dict[Job, str]]]:
    """Measure what is not among the results; after each, yield all of them and why others have failed."""
    failures: dict[Job, str] = {}
    if len(results):
        yield results, failures
    for job in jobs:
        if job.is_in(results):
            continue
        try:
            measured = job.measure(timeout)
            results = pd.concat([results, measured], ignore_index=True) if len(results) else measured
            print(measured[COLUMNS[4:]].to_string(index=False), flush=True)
        except subprocess.TimeoutExpired:
            failures[job] = f"stopped after {timeout:.0f} s"
        except RuntimeError as error:
            failures[job] = str(error)
        print(f"{job}: {failures.get(job, 'done')}", flush=True)
        yield results, failures


def machine() -> str:
    threads = os.environ.get("OMP_NUM_THREADS", "as many as there are")
    return f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, threads: {threads}"


def main(
    quick: Annotated[bool, typer.Option("--quick", help="Small sizes, which take minutes.")] = False,
    atlas: Annotated[bool, typer.Option("--atlas", help="Also 300,000 cells from a file, which takes hours.")] = False,
    max_cells: Annotated[int | None, typer.Option(min=1, help="Leave out larger numbers of cells.")] = None,
    only: Annotated[list[str] | None, typer.Option(help="Leave out other tasks.")] = None,
    timeout: Annotated[float, typer.Option(help="Seconds after which a measurement is stopped.")] = 7_200,
    resume: Annotated[bool, typer.Option("--resume", help="Keep what was measured before, measure the rest.")] = False,
    redraw: Annotated[bool, typer.Option("--redraw", help="Measure nothing: page and figure of what was.")] = False,
    docs: Annotated[Path | None, typer.Option(help="Folder of the documentation.")] = None,
) -> None:
    """Write benchmarks/scaling.md, its runs and _static/scaling.png into the documentation, after every measurement."""
    grid = QUICK if quick else ATLAS if atlas else Grid()
    # What was only tried does not belong into the documentation.
    docs = docs or REPOSITORY / ("benchmarks/results" if quick else "docs")
    table = docs / "benchmarks" / "runs" / "scaling.csv"
    previous = pd.read_csv(table) if (resume or redraw) and table.exists() else pd.DataFrame(columns=COLUMNS)
    jobs = [job for job in grid.jobs() if (not only or job.task in only) and job.cells <= (max_cells or np.inf)]
    remarks = REMARKS.read_text() if REMARKS.exists() else ""
    for folder in (table.parent, docs / "_static"):
        folder.mkdir(parents=True, exist_ok=True)
    for measured, failures in run([] if redraw else jobs, previous, timeout):
        measured.to_csv(table, index=False)
        left_out = {str(job): failures.get(job, "") for job in grid.jobs() if not job.is_in(measured)}
        draw(measured, grid.peaks[1], docs / "_static" / "scaling.png")
        text = page(measured, grid.peaks[1], left_out, remarks, COMMAND + (" --atlas" if atlas else ""))
        (docs / "benchmarks" / "scaling.md").write_text(text)


if __name__ == "__main__":
    typer.run(main)

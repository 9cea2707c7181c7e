"""Runs of methods in processes of their own, with a limit of time."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path

from _methods import Embedding, Method
from rich.text import Text

WORKER = Path(__file__).with_name("_worker.py")


@dataclass(frozen=True)
class Run:
    """Outcome of a run: an embedding and what the worker reports of its cost, or why there is none."""

    #: The cells that it holds, `"train"` or `"query"`.
    cells: str
    embedding: Embedding | None = None
    report: dict[str, float | str] = field(default_factory=dict)
    failure: str = ""


def missing_requirement(method: Method, python: str = sys.executable) -> str:
    """Say why a method cannot run under an interpreter; empty if it can."""
    if method.unavailable:
        return method.unavailable
    command = [python, "-c", f"import {method.requires}"]
    if method.language == "R":
        if shutil.which("Rscript") is None:
            return f"needs R with {method.requires}, and there is no Rscript"
        command = ["Rscript", "--vanilla", "-e", f"library({method.requires})"]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    return "" if found.returncode == 0 else f"cannot import {method.requires}: {last_line(found.stderr)}"


def run(method: Method, files: dict[str, Path], seed: int, folder: Path, python: str, timeout: float) -> Run:
    """Run a method on the files of a problem; its job, log and report stay in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    cells = "query" if method.embeds_new_cells and "query" in files else "train"
    job = asdict(method) | {"train": str(files["train"]), "cells": str(files[cells]), "seed": seed}
    (folder / "job.json").write_text(json.dumps(job))
    with (folder / "log.txt").open("w") as log:
        try:
            # One thread each, unless the user says otherwise: several runs share the machine, and CPU seconds compare.
            ended = subprocess.run(
                [python, str(WORKER), str(folder)],
                stdout=log,
                stderr=subprocess.STDOUT,
                env={"OMP_NUM_THREADS": "1", **os.environ},
                timeout=timeout,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return Run(cells, failure=f"stopped after {timeout:.0f} s")
    if ended.returncode:
        return Run(cells, failure=why_ended(ended.returncode, (folder / "log.txt").read_text()))
    report = json.loads((folder / "report.json").read_text())
    embedding = Embedding.load(folder / "embedding.npz")
    (folder / "embedding.npz").unlink()  # with predicted expression, it can take gigabytes
    return Run(cells, embedding, report)


def why_ended(code: int, output: str) -> str:
    """Why a process failed: what it wrote last, unless a signal ended it before it could say."""
    if code < 0:
        return f"ended by the system with {signal.Signals(-code).name}, as it does where memory runs out"
    return last_line(output) or f"ended with code {code}"


def last_line(text: str) -> str:
    """Last line that says something, without codes for colours."""
    return next((line.strip() for line in reversed(Text.from_ansi(text).plain.splitlines()) if line.strip()), "")

"""The benchmark of devices, on the one that every machine has."""

from __future__ import annotations

import json

import gpu
import pytest
import torch
import typer
from typer.testing import CliRunner


def run(*options: object):
    app = typer.Typer()
    app.command()(gpu.main)
    return CliRunner().invoke(app, [str(option) for option in options], env={"COLUMNS": "300"})


def test_every_stage_is_measured(tmp_path):
    sizes = ["--cells", 150, "--peaks", 1000, "--genes", 100, "--steps", 12]
    result = run("--device", "cpu", *sizes, "--output", tmp_path / "seconds.json")
    assert result.exit_code == 0, result.output
    seconds = json.loads((tmp_path / "seconds.json").read_text())["seconds"]["cpu"]
    *stages, whole = seconds
    assert stages == ["coordinates", "anchors", "set-up", "step", "embedding"]
    assert all(value > 0 for value in seconds.values())
    n_steps = int(whole.removeprefix("whole, ").removesuffix(" steps").replace(",", ""))
    others = sum(seconds[stage] for stage in stages if stage != "step")
    assert seconds[whole] == pytest.approx(others + n_steps * seconds["step"])
    assert "150 cells of each modality" in result.output


def test_devices_that_are_not_there_are_named():
    assert "'cuda' or 'cpu'" in run("--device", "tpu").output
    if not torch.cuda.is_available():
        assert "no CUDA device" in run("--device", "cuda").output

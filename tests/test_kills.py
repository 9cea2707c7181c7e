"""Processes that are killed while they write, and disks that are full: nothing that was there is damaged."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

import scdart

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [
    pytest.mark.kill,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="has no processes that share what was imported"),
]

#: Killed at a random time between none and half as long again as writing takes, by a process that imports only once.
KILLS = """
import os, random, signal, sys, time, warnings
warnings.simplefilter("ignore")
import mudata, torch
torch.set_num_threads(1)
from scdart._files import replacing
from scdart.model import SCDART

mdata = mudata.read_h5mu("in.h5mu")
model = SCDART.load("model", mdata)

def write():
    with replacing("out.h5mu") as part:
        mdata.write(part)
    model.save("kept", overwrite=True)

start = time.perf_counter()
write()
seconds = time.perf_counter() - start
waits = random.Random(0)
killed = 0
for _ in range(20):
    child = os.fork()
    if child == 0:
        while True:
            write()
    time.sleep(waits.uniform(0, 1.5 * seconds))
    os.kill(child, signal.SIGKILL)
    killed += os.waitpid(child, 0)[1] == signal.SIGKILL
    again = mudata.read_h5mu("out.h5mu")
    assert (again["rna"].X != mdata["rna"].X).nnz == 0
    SCDART.load("kept", mdata)
print(killed)
"""


@pytest.fixture(scope="module")
def integrated(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("kills")
    mdata = scdart.datasets.simulate("linear", n_cells=150, n_genes=60, n_peaks=150)
    options = {"max_epochs": 1, "train_kwargs": {"enable_progress_bar": False}}
    scdart.tl.integrate(mdata, save_model=folder / "model", **options)
    mdata.write(folder / "in.h5mu")
    return folder


def python(code: str, folder: Path) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False)


def test_twenty_kills_while_writing_damage_no_file(integrated):
    result = python(KILLS, integrated)
    assert result.stdout.split()[-1:] == ["20"], result.stderr


FULL_DISK = """
import resource, warnings
warnings.simplefilter("ignore")
import mudata
from scdart import pl
from scdart.model import SCDART

mdata = mudata.read_h5mu("in.h5mu")
model = SCDART.load("model", mdata)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
for name, write in {
    "kept": lambda: model.save("kept", overwrite=True),
    "report.html": lambda: pl.report(mdata, None, "report.html"),
    "training.ckpt": lambda: model.train(max_epochs=2, checkpoint="training", enable_progress_bar=False),
}.items():
    try:
        write()
    except OSError as error:
        assert name in str(error) and ("full disk" in str(error) or "too large" in str(error)), error
    else:
        raise AssertionError(name)
"""


def test_full_disk_leaves_what_was_there(integrated):
    """A limit of the size of files stands for the disk: to write beyond it fails as it does on a full one."""
    files = [integrated / "kept" / "model.pt", integrated / "report.html"]
    for file in files:
        file.parent.mkdir(exist_ok=True)
        file.write_text("old")
    before = {path for path in integrated.rglob("*") if ".part" in path.name}  # of processes that were killed
    result = python(FULL_DISK, integrated)
    assert result.returncode == 0, result.stderr
    assert [file.read_text() for file in files] == ["old", "old"]
    assert not (integrated / "training" / "training.ckpt").exists()
    assert {path for path in integrated.rglob("*") if ".part" in path.name} == before

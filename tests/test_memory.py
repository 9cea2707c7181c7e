"""Files that are larger than what a process may allocate."""

from __future__ import annotations

import subprocess
import sys

import anndata as ad
import h5py
import mudata
import numpy as np
import pytest
from anndata.io import sparse_dataset, write_elem
from scipy import sparse

from scdart.datasets import simulate

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="has no limit of what is allocated"),
]

N_CELLS, N_PEAKS, OPEN_SHARE = 24_000, 10_000, 0.3

#: What the process may allocate beside what its libraries have, in MiB: they differ by half a gigabyte.
ROOM = 400

CODE = f"""
import resource
from functools import partial
import mudata, scdart
from scdart import _chunks, model, pp, tl
from scdart.model import _initialization
from scdart.pp import _anchors

status = open("/proc/self/status").read().splitlines()
libraries = next(int(line.split()[1]) for line in status if line.startswith("VmData")) * 2**10
resource.setrlimit(resource.RLIMIT_DATA, (libraries + {ROOM} * 2**20,) * 2)
try:
    mudata.read_h5mu("large.h5mu")
except (MemoryError, OSError) as error:
    print("cannot be read:", type(error).__name__)
# Cells that are learned from, as few of these as 20,000 are of a million.
_anchors.AnchorSettings = partial(_anchors.AnchorSettings, max_landmarks=1000, max_scored_cells=500)
_initialization._MAX_FIT = 1000
mdata = pp.from_store("large.h5mu")
with _chunks.room_for(2**26):
    tl.integrate(mdata, max_epochs=1, train_kwargs={{"max_steps": 3, "enable_progress_bar": False}})
print(mdata.obsm["X_scdart"].shape)
"""


@pytest.fixture
def large_file(tmp_path):
    """Cells of 40 types, with many open peaks each, as numbers of 8 bytes."""
    mdata = simulate("bifurcating", n_cells=300, n_genes=100, n_peaks=N_PEAKS)
    path, rng = tmp_path / "large.h5mu", np.random.default_rng(0)
    names = [f"other{i}" for i in range(N_CELLS)]
    empty = ad.AnnData(sparse.csr_matrix((N_CELLS, N_PEAKS)), var=mdata["atac"].var, uns=dict(mdata["atac"].uns))
    empty.obs_names = names
    empty.varm["gene_activity"] = mdata["atac"].varm["gene_activity"]
    mudata.MuData({"rna": mdata["rna"], "atac": empty}).write(path)
    rates = rng.gamma(0.5, size=(40, N_PEAKS))
    rates = (rates / rates.mean(axis=1, keepdims=True) * OPEN_SHARE).astype(np.float32)
    with h5py.File(path, "r+") as file:
        for start in range(0, N_CELLS, 1000):
            opened = rng.random((1000, N_PEAKS), dtype=np.float32) < rates[rng.integers(40, size=1000)]
            counts = sparse.csr_matrix(opened, dtype=np.float64)
            counts.indices, counts.indptr = counts.indices.astype(np.int64), counts.indptr.astype(np.int64)
            if start == 0:
                write_elem(file["mod/atac"], "X", counts)
            else:
                sparse_dataset(file["mod/atac/X"]).append(counts)
    return path


def test_a_file_larger_than_memory_is_integrated(large_file):
    assert large_file.stat().st_size > 2 * ROOM * 2**20
    found = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", CODE],
        cwd=large_file.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stderr[-3000:]
    assert "cannot be read" in found.stdout
    assert f"({N_CELLS + 300}, " in found.stdout

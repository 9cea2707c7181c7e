"""Fixtures shared by all tests."""

from __future__ import annotations

import importlib
import os
import shutil
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest
import scvi
from anndata.experimental import read_elem_lazy
from mudata import MuData
from scipy import sparse
from sklearn.neighbors import NearestNeighbors

from scdart import pp

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from selenium.webdriver import Chrome


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Folder with the shared real and simulated data sets; tests that need it skip where it is absent."""
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("SCDART_DATA", default))
    if not (folder / "snare_cortex.h5mu").is_file():
        pytest.skip(f"no data sets in {folder}: set SCDART_DATA to the folder that holds snare_cortex.h5mu")
    return folder


@pytest.fixture(scope="session")
def browser() -> Iterator[Chrome]:
    """Headless Chromium, driven by selenium; nothing is downloaded."""
    try:
        webdriver = importlib.import_module("selenium.webdriver")
    except ImportError:
        pytest.skip("selenium is not installed: pip install selenium")
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    driver = shutil.which("chromedriver")
    if chromium is None or driver is None:
        pytest.skip("no headless browser: apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for argument in ("headless=new", "no-sandbox", "disable-dev-shm-usage", "window-size=1200,1400"):
        options.add_argument(f"--{argument}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    started = webdriver.Chrome(options, webdriver.ChromeService(driver))
    yield started
    started.quit()


@pytest.fixture
def stored(tmp_path: Path) -> Callable[[MuData, str], MuData]:
    """Write a MuData, and open it with counts on disk: in ``"h5mu"``, ``"zarr"`` or ``"dask"``, which reads h5mu."""
    numbers = count()

    def opened(mdata: MuData, kind: str) -> MuData:
        path = tmp_path / f"stored{next(numbers)}.{'zarr' if kind == 'zarr' else 'h5mu'}"
        if kind == "zarr":
            mdata.write_zarr(path)
            return pp.from_store(path)
        mdata.write(path)
        if kind == "h5mu":
            return pp.from_store(path)
        pytest.importorskip("dask")
        lazy = mdata.copy()
        with h5py.File(path) as file:
            for mod, adata in lazy.mod.items():
                adata.X = read_elem_lazy(file[f"mod/{mod}/X"], chunks=(50, adata.n_vars))
        return lazy

    return opened


class ExactSearch:
    """What pynndescent offers, without the half minute that it takes to compile."""

    #: Neighbours of a cell in the graph that was asked for last.
    n_links: int

    def __init__(self, data, n_neighbors, random_state):
        assert data.dtype == np.float32
        type(self).n_links = n_neighbors
        self._search = NearestNeighbors(n_neighbors=n_neighbors).fit(data)
        distances, indices = self._search.kneighbors(data)
        self.neighbor_graph = indices.astype(np.int32), distances.astype(np.float32)

    def query(self, data, k):
        assert data.dtype == np.float32
        distances, indices = self._search.kneighbors(data, k)
        return indices.astype(np.int32), distances.astype(np.float32)


@pytest.fixture
def exact_search(monkeypatch) -> type[ExactSearch]:
    """Stands in for approximate search."""
    monkeypatch.setattr("pynndescent.NNDescent", ExactSearch)
    return ExactSearch


@pytest.fixture(autouse=True)
def _seed() -> Iterator[None]:
    scvi.settings.seed = 0
    yield
    # What a module's fixtures simulate is made before this, and must not hang on the test that ran last.
    scvi.settings.seed = 0


@pytest.fixture
def make_mdata() -> Callable[..., MuData]:
    """Factory of small MuData that are ready for setup: counts, prior, coordinates and anchors."""
    return _make_mdata


def _make_mdata(
    n_rna: int = 60, n_atac: int = 50, n_shared: int = 0, *, rna_mod: str = "rna", atac_mod: str = "atac", seed: int = 0
) -> MuData:
    rng = np.random.default_rng(seed)
    n_genes, n_peaks, n_states = 20, 30, 3
    prior = sparse.csr_matrix(np.repeat(np.eye(n_genes), 2, axis=0)[:n_peaks], dtype=np.float32)
    rate = rng.gamma(1.0, 4.0, size=(n_states, n_genes))
    adatas, states = {}, {}
    for mod, n, first in ((rna_mod, n_rna, 0), (atac_mod, n_atac, n_rna - n_shared)):
        state = states[mod] = rng.integers(n_states, size=n)
        mean = rate[state] if mod == rna_mod else 0.1 * rate[state] @ prior.T.toarray() + 0.05
        counts = rng.poisson(mean).astype(np.float32)
        counts[:, 0] += 1  # no empty cell
        names = np.char.add("cell", np.arange(first, first + n).astype(str))
        adata = ad.AnnData(sparse.csr_matrix(counts), obs=pd.DataFrame(index=names))
        adata.var_names = [f"{'gene' if mod == rna_mod else 'peak'}{i}" for i in range(counts.shape[1])]
        adata.obs["state"] = pd.Categorical([f"s{s}" for s in state])
        adata.obsm["X_diffusion_coordinates"] = (
            np.eye(n_states)[state].repeat(2, axis=1) + rng.normal(0, 0.1, (n, 6))
        ).astype(np.float32)
        adata.uns["diffusion_coordinates"] = {"t": np.array([5, 10])}
        adatas[mod] = adata[rng.permutation(n)].copy()
    adatas[atac_mod].varm["gene_activity"] = prior
    adatas[atac_mod].uns["gene_activity"] = {"genes": adatas[rna_mod].var_names.to_numpy(dtype=str)}
    mdata = MuData(adatas)
    row = {mod: np.flatnonzero(mdata.obsmap[mod].ravel()) for mod in adatas}
    code = {
        mod: adatas[mod].obs["state"].cat.codes.to_numpy()[mdata.obsmap[mod].ravel()[row[mod]] - 1] for mod in adatas
    }
    same = sparse.coo_matrix(code[rna_mod][:, None] == code[atac_mod][None, :])
    mdata.obsp["anchors"] = sparse.csr_matrix(
        (np.full(same.nnz, 0.05, np.float32), (row[rna_mod][same.row], row[atac_mod][same.col])),
        shape=(mdata.n_obs,) * 2,
    )
    return mdata

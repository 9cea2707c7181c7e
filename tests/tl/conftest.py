"""A tree whose order and branches are known, in place of a trained model's latent space."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from mudata import MuData
from scipy import sparse

if TYPE_CHECKING:
    from collections.abc import Callable

#: Directions of the stem and of the two arms, that start where it ends.
_ARMS = {"stem": (1, 0, 0), "left": (1, 1, 0), "right": (1, -1, 1)}


def _tree(n_cells: int, rng: np.random.Generator, noise: float) -> tuple[np.ndarray, pd.DataFrame]:
    arm = rng.choice(list(_ARMS), size=n_cells)
    along = rng.uniform(size=n_cells)
    start = np.where((arm == "stem")[:, None], 0, _ARMS["stem"])
    z = start + along[:, None] * np.array([_ARMS[name] for name in arm]) + rng.normal(0, noise, (n_cells, 3))
    return z, pd.DataFrame({"arm": pd.Categorical(arm), "time": along + (arm != "stem")})


@pytest.fixture
def make_tree() -> Callable[..., MuData]:
    """Factory of MuData with a latent space in the shape of a Y, and its truth in `obs`."""

    def make(n_rna: int = 200, n_atac: int = 180, n_shared: int = 0, *, noise: float = 0.03, seed: int = 0) -> MuData:
        rng = np.random.default_rng(seed)
        z, obs = _tree(n_rna + n_atac - n_shared, rng, noise)
        obs.index = [f"cell{i}" for i in range(len(obs))]
        rows = {"rna": rng.permutation(n_rna), "atac": rng.permutation(np.arange(n_rna - n_shared, len(obs)))}
        mods = {}
        for mod, cells in rows.items():
            counts = rng.poisson(2.0, size=(len(cells), 6)) + 1
            counts[:, 0] = np.round(100 * (2.2 - obs["time"].iloc[cells]))  # a gene of the early cells
            mods[mod] = ad.AnnData(sparse.csr_matrix(counts, dtype=np.float32), obs=obs.iloc[cells].copy())
            mods[mod].var_names = [f"{mod}_feature{j}" for j in range(6)]
            mods[mod].obsm["X_scdart"] = z[cells].astype(np.float32)
        mdata = MuData(mods)
        mdata.obsm["X_scdart"] = z[obs.index.get_indexer(mdata.obs_names)].astype(np.float32)
        mdata.uns["truth"] = obs.loc[mdata.obs_names]
        return mdata

    return make

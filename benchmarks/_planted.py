"""Features along a trajectory with curves that are known, of every family that is tested."""

from __future__ import annotations

import mudata
import numpy as np
import pandas as pd
from _components import columns_stay
from anndata import AnnData
from scipy import sparse

#: Heights of the bumps that are to be found, on the scale on which curves are linear, by family.
FAMILIES = {"gaussian": 0.6, "poisson": 1.0, "nb": 1.5, "binomial": 1.5}


def trajectory(n_cells: int, seed: int) -> tuple[pd.DataFrame, dict[str, object]]:
    """Cells along one trajectory, more of them early, and options of the test."""
    time = np.random.default_rng(seed).beta(1, 2, n_cells)
    return pd.DataFrame({"all": time}), {"trajectory": "all", "backbone_key": "planted"}


def branches(n_cells: int, seed: int) -> tuple[pd.DataFrame, dict[str, object]]:
    """Cells on one of two branches over the same times, and options of the test."""
    time, is_b = np.random.default_rng(seed).beta(1, 2, n_cells), np.arange(n_cells) % 2 == 1
    order = pd.DataFrame({"A": np.where(is_b, np.nan, time), "B": np.where(is_b, time, np.nan)})
    return order, {"between": ("A", "B"), "backbone_key": "planted"}


def bumps(order: pd.DataFrame, n_features: int, seed: int) -> np.ndarray:
    """Curves of height 1 or -1 at random places, the same in all branches: (n_cells, n_features)."""
    rng = np.random.default_rng(seed + 1_000)
    time = np.nanmean(order.to_numpy(), axis=1)[:, None]
    return np.exp(-(((time - rng.uniform(0, 1, n_features)) / 0.3) ** 2)) * rng.choice([-1, 1], n_features)


def observed(family: str, curves: np.ndarray, order: pd.DataFrame, seed: int) -> mudata.MuData:
    """Values around curves of random level, counts in cells of different depth."""
    rng = np.random.default_rng(seed + 2_000)
    eta = rng.uniform(np.log(0.05), np.log(5), curves.shape[1]) + curves
    rate = np.exp(eta + rng.normal(0, 0.4, (len(curves), 1)))
    values = {
        "gaussian": lambda: eta + rng.normal(0, 1, eta.shape),
        "poisson": lambda: rng.poisson(rate),
        "nb": lambda: rng.negative_binomial(2, 2 / (2 + rate)),
        "binomial": lambda: rng.poisson(rate) > 0,
    }[family]().astype(np.float32)
    adata = AnnData(values if family == "gaussian" else sparse.csr_matrix(values))
    adata.obs_names, adata.var_names = (
        [f"{name}{i}" for i in range(n)] for name, n in zip(("cell", "gene"), adata.shape, strict=True)
    )
    adata.obsm["planted_order"] = order.set_index(adata.obs_names)
    with columns_stay():
        return mudata.MuData({"rna": adata})

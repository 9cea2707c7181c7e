"""Integrated data without training: the simulator's own factors stand for the latent space."""

from __future__ import annotations

from typing import TYPE_CHECKING

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest

from scdart.datasets import simulate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mudata import MuData


@pytest.fixture(autouse=True)
def _closed_figures() -> Iterator[None]:
    """A backend without a screen, matplotlib's own style, and no figure left open."""
    with mpl.rc_context():
        plt.switch_backend("Agg")
        mpl.rcdefaults()
        yield
        plt.close("all")


def with_latent(mdata: MuData) -> MuData:
    latent = np.zeros((mdata.n_obs, 3))
    for mod, noise in (("rna", 0.0), ("atac", 0.02)):
        adata = mdata[mod]
        z = adata.obsm["tree_factors"][:, :3] + noise
        adata.obsm["X_scdart"] = z
        adata.obsm["anchors_confidence"] = np.linspace(0, 1, adata.n_obs, dtype=np.float32)[:, None]
        latent[mdata.obs_names.get_indexer(adata.obs_names)] = z
    mdata.obsm["X_scdart"] = latent
    return mdata


@pytest.fixture(scope="session")
def simulated() -> dict[str, MuData]:
    sizes = {"n_genes": 60, "n_peaks": 150}
    return {
        "unpaired": with_latent(simulate("bifurcating", n_cells=(80, 50), **sizes)),
        "paired": with_latent(simulate("bifurcating", n_cells=70, paired=True, **sizes)),
    }


@pytest.fixture
def mdata(simulated) -> MuData:
    """80 RNA and 50 ATAC cells."""
    return simulated["unpaired"].copy()


@pytest.fixture
def paired(simulated) -> MuData:
    """70 cells, all in both modalities."""
    return simulated["paired"].copy()


@pytest.fixture
def unchanged() -> Callable[[MuData], Callable[[], None]]:
    """Remember an object, and assert later that nothing was written to it."""

    def remember(mdata: MuData) -> Callable[[], None]:
        def slots() -> dict:
            owners = (mdata, *mdata.mod.values())
            return {
                (i, name): list(getattr(owner, name))
                for i, owner in enumerate(owners)
                for name in ("obs", "obsm", "obsp", "uns")
            }

        before = slots()

        def check() -> None:
            assert slots() == before

        return check

    return remember

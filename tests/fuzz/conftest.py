"""A small MuData on which everything has been run, and how many cases are tried."""

from __future__ import annotations

import os

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

import scdart
from scdart.datasets import simulate
from scdart.model import SCDART

#: The same cases in every run, unless others are asked for.
N_CASES = int(os.environ.get("SCDART_FUZZ_CASES", "50"))

settings.register_profile(
    "scdart",
    max_examples=N_CASES,
    derandomize="SCDART_FUZZ_RANDOM" not in os.environ,
    deadline=None,
    database=None,
    print_blob=True,
    suppress_health_check=list(HealthCheck),
)
settings.load_profile("scdart")


@pytest.fixture(scope="session")
def trained():
    """A model, and its data with all that the functions write."""
    mdata = simulate("bifurcating", n_cells=(45, 40), n_genes=24, n_peaks=50, n_batches_rna=2, random_state=1)
    for adata in mdata.mod.values():
        adata.layers["counts"] = adata.X.copy()
        adata.obs["stage"] = np.where(adata.obs["pseudotime"] < 0.4, "early", "late")
    mdata["atac"].var[["chrom", "start", "end"]] = [("chr1", 480 * i, 480 * i + 300) for i in range(50)]
    scdart.pp.diffusion_coordinates(mdata)
    scdart.pp.anchors(mdata)
    SCDART.setup_mudata(mdata)
    model = SCDART(mdata, n_latent=3, activity_hidden=(8,), projection_hidden=(8,))
    model.train(max_epochs=2, enable_progress_bar=False, accelerator="cpu")
    for mod, adata in mdata.mod.items():
        adata.obsm["X_scdart"] = model.get_latent_representation(modality=mod)
    mdata.obsm["X_scdart"] = model.get_latent_representation()
    scdart.tl.pseudotime(mdata, root_score="pseudotime")
    scdart.tl.backbone(mdata, groups="stage")
    scdart.tl.dynamic_features(mdata, df=2, min_cells=3)
    model.deregister_manager(mdata)
    return model, mdata

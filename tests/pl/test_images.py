"""A few whole pictures, against ones that were looked at: ``SCDART_NEW_BASELINES=1 pytest tests/pl/test_images.py``."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import anndata as ad
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.testing.compare import calculate_rms, compare_images
from matplotlib.testing.decorators import remove_ticks_and_titles
from mudata import MuData
from PIL import Image

from scdart import pl

if TYPE_CHECKING:
    from collections.abc import Callable

    from matplotlib.axes import Axes

BASELINES = Path(__file__).parent / "baselines"
#: Root mean square of the difference of pixels, of 255: more than rendering changes, less than other colours do.
TOLERANCE = 8.0


@pytest.fixture
def fork() -> MuData:
    """Cells on a fork, by formula: the same with any version of any library."""
    mods = {}
    for mod, shift in (("rna", 0.0), ("atac", 0.5)):
        i = np.arange(150)
        time = (i + shift) / 150
        side = np.where(i % 2, 1.0, -1.0)
        noise = 0.06 * np.sin(37.0 * i + shift)
        adata = ad.AnnData(np.ones((150, 2), dtype=np.float32))
        adata.obs_names = [f"{mod}{j}" for j in i]
        adata.var_names = [f"{mod}_feature{j}" for j in range(2)]
        adata.obs["time"] = time
        adata.obs["group"] = np.where(time < 0.4, "stem", np.where(side > 0, "left", "right"))
        adata.obsm["X_umap"] = np.column_stack([time + noise, side * np.maximum(time - 0.4, 0) + noise[::-1]])
        mods[mod] = adata
    mdata = MuData(mods)
    for slot in ("time", "group"):
        mdata.obs[slot] = np.concatenate([mdata[mod].obs[slot] for mod in mods])
    mdata.obsm["X_umap"] = np.concatenate([mdata[mod].obsm["X_umap"] for mod in mods])
    mdata.obs["backbone"] = pd.Categorical(mdata.obs["group"], categories=["stem", "left", "right"])
    mdata.obsm["backbone_order"] = mdata.obs[["time"]]
    mdata.uns["backbone"] = {
        "edges": pd.DataFrame({"source": ["stem", "stem"], "target": ["left", "right"]}),
        "root": "stem",
    }
    return mdata


def links(mdata: MuData, ax: Axes) -> None:
    mdata["atac"].var_names = ["chr1:100-600", "chr1:9000-9500"]
    mdata["rna"].var = pd.DataFrame(
        {"chrom": "chr1", "start": [3_000, 0], "end": [6_000, 1], "strand": "+"}, index=["A", "B"]
    )
    table = pd.DataFrame({"peak": mdata["atac"].var_names, "gene": "A", "z": [2.0, -1.0], "in_prior": [True, False]})
    pl.peak_gene_links(mdata, table, "A", region=(-1_000, 11_000), ax=ax, show=False)


PICTURES: dict[str, Callable[[MuData, Axes], object]] = {
    "modality": lambda mdata, ax: pl.latent(mdata, ax=ax, legend_loc="none", size=20, show=False),
    "time": lambda mdata, ax: pl.latent(mdata, color="time", ax=ax, legend_loc="none", size=20, show=False),
    "backbone": lambda mdata, ax: pl.backbone(mdata, ax=ax, size=20, show=False),
    "links": links,
}


def picture(draw: Callable[[MuData, Axes], object], mdata: MuData, path: Path) -> Path:
    """Draw without any text, whose look depends on fonts, on axes that fill the figure."""
    figure = plt.figure(figsize=(3, 3), dpi=80)
    ax = figure.add_axes((0, 0, 1, 1))
    draw(mdata, ax)
    remove_ticks_and_titles(figure)
    if ax.get_legend() is not None:
        ax.get_legend().remove()
    for text in ax.texts:
        text.set_text("")
    figure.savefig(path)
    return path


@pytest.mark.parametrize("name", PICTURES)
def test_picture_is_as_it_was_looked_at(name, fork, tmp_path):
    actual = picture(PICTURES[name], fork, tmp_path / f"{name}.png")
    if "SCDART_NEW_BASELINES" in os.environ:
        BASELINES.mkdir(exist_ok=True)
        shutil.copy(actual, BASELINES / actual.name)
    assert compare_images(str(BASELINES / actual.name), str(actual), tol=TOLERANCE) is None


@pytest.mark.parametrize(
    "changed",
    [
        lambda mdata, ax: pl.latent(mdata, palette=["#E69F00", "#0072B2"], ax=ax, size=20, show=False),
        lambda mdata, ax: pl.latent(mdata, ax=ax, size=4, show=False),
        lambda mdata, ax: pl.latent(mdata[mdata["rna"].obs_names].copy(), ax=ax, size=20, show=False),
    ],
    ids=["colours", "size", "hidden"],
)
def test_tolerance_tells_other_pictures(changed, fork, tmp_path):
    pixels = [
        np.asarray(Image.open(path).convert("RGB"))
        for path in (BASELINES / "modality.png", picture(changed, fork, tmp_path / "changed.png"))
    ]
    assert calculate_rms(*pixels) > TOLERANCE

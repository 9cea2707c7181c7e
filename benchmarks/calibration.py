"""Is the confidence what it says? Simulated worlds, good and bad, in which the right neighbours are known.

    python benchmarks/calibration.py --docs

Worlds differ in the prior (from perfect to permuted), depth, size, missing branches, batches, and in whether the
modalities have anything in common. Each is integrated by the defaults. A neighbour in the other modality is right if it
is of the same branch and within 0.15 of the pseudotime. Writes a table of cells by confidence into
benchmarks/results/calibration and, with --docs, a page of the documentation and its figure.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import mudata
import numpy as np
import pandas as pd
import typer
from _components import columns_stay
from sklearn.neighbors import NearestNeighbors

from scdart import datasets, tl

if TYPE_CHECKING:
    from mudata import MuData

REPOSITORY = Path(__file__).resolve().parents[1]
KINDS = ("plain", "prior", "prior", "permuted", "disjoint", "missing", "batches", "shallow")
NEAR = 0.15
N_NEIGHBORS = 30


def world(seed: int) -> tuple[str, MuData, str | None]:
    """Draw one world: what is wrong with it, the cells, and the column with batches."""
    rng = np.random.default_rng(seed)
    kind = KINDS[seed % len(KINDS)]
    n_genes = int(rng.choice([200, 500, 1000]))
    tree = "bifurcating" if kind == "missing" else str(rng.choice(["linear", "bifurcating"]))
    options: dict[str, object] = {
        "n_cells": int(rng.choice([300, 500, 1000])),
        "n_genes": n_genes,
        "n_peaks": 3 * n_genes,
    }
    if kind == "prior":
        options |= {"prior_precision": float(rng.uniform(0.02, 0.7)), "prior_recall": float(rng.uniform(0.1, 1))}
    if kind == "shallow":
        options |= {"capture_efficiency": (0.01, 0.005), "peak_capture": 0.03}
    if kind == "missing":
        options |= {"proportions_rna": (0.6, 0.4), "proportions_atac": (1.0, 0.0)}
    if kind == "batches":
        options |= {"n_batches_rna": 2, "n_batches_atac": 2, "batch_effect": 1.0}
    mdata = datasets.simulate(tree, random_state=seed, **options)
    if kind == "permuted":
        prior = mdata["atac"].varm["gene_activity"]
        mdata["atac"].varm["gene_activity"] = prior[:, rng.permutation(prior.shape[1])]
    if kind == "disjoint":
        other = datasets.simulate(tree, random_state=seed + 10_000, **options)
        with columns_stay():
            mdata = mudata.MuData({"rna": mdata["rna"].copy(), "atac": other["atac"].copy()})
    return kind, mdata, "batch" if kind == "batches" else None


def cells_of(seed: int) -> pd.DataFrame:
    """Confidence of every cell of a world, and the share of its neighbours that are right."""
    kind, mdata, batch_key = world(seed)
    tl.integrate(mdata, batch_key=batch_key, random_state=seed, train_kwargs={"enable_progress_bar": False})
    parts = []
    for own, other in (("rna", "atac"), ("atac", "rna")):
        z = {mod: mdata[mod].obsm["X_scdart"] for mod in (own, other)}
        found = NearestNeighbors(n_neighbors=N_NEIGHBORS).fit(z[other]).kneighbors(z[own], return_distance=False)
        branch = {mod: mdata[mod].obs["branch"].astype(str).to_numpy() for mod in (own, other)}
        time = {mod: mdata[mod].obs["pseudotime"].to_numpy() for mod in (own, other)}
        same = branch[other][found] == branch[own][:, None]
        near = np.abs(time[other][found] - time[own][:, None]) < NEAR * time["rna"].max()
        right = (same & near).mean(axis=1) * (kind != "disjoint")
        parts.append(pd.DataFrame({"confidence": mdata[own].obsm["X_scdart_confidence"].ravel(), "right": right}))
    return pd.concat(parts).assign(kind=kind, seed=seed, z=mdata.uns["anchors"]["z"])


def by_confidence(cells: pd.DataFrame) -> pd.DataFrame:
    """Mean confidence and share of right neighbours of cells of like confidence; worlds count alike."""
    weight = 1 / cells.groupby("seed")["seed"].transform("size")
    part = np.minimum((cells["confidence"] * 10).astype(int), 9)

    def means(rows: pd.DataFrame) -> pd.Series:
        share = weight[rows.index]
        return pd.Series(
            {
                "share of cells": share.sum() / weight.sum(),
                "confidence": np.average(rows["confidence"], weights=share),
                "right neighbours": np.average(rows["right"], weights=share),
            }
        )

    return pd.DataFrame({f"{k / 10:.1f} to {(k + 1) / 10:.1f}": means(rows) for k, rows in cells.groupby(part)}).T


def calibration_error(table: pd.DataFrame) -> float:
    """Mean difference between confidence and what is right, over the cells."""
    return float((table["share of cells"] * (table["confidence"] - table["right neighbours"]).abs()).sum())


def draw(cells: pd.DataFrame, table: pd.DataFrame, path: Path) -> None:
    """Calibration of cells, and worlds as points."""
    worlds = cells.groupby(["kind", "seed"])[["confidence", "right"]].mean().reset_index()
    fig, axes = plt.subplots(1, 2, figsize=(8, 3.6), sharex=True, sharey=True, layout="constrained")
    axes[0].plot(table["confidence"], table["right neighbours"], "o-", color="tab:blue")
    axes[0].set(title="cells by confidence", xlabel="confidence", ylabel="share of right neighbours")
    for kind, rows in worlds.groupby("kind"):
        axes[1].plot(rows["confidence"], rows["right"], "o", label=kind, alpha=0.8)
    axes[1].set(title="worlds", xlabel="mean confidence")
    axes[1].legend(fontsize="small")
    for ax in axes:
        ax.plot([0, 1], [0, 1], color="0.7", zorder=0)
        ax.spines[["top", "right"]].set_visible(False)
    fig.savefig(path, dpi=110)
    plt.close(fig)


def main(
    worlds: Annotated[int, typer.Option(min=1, help="Number of worlds.")] = 64,
    first: Annotated[int, typer.Option(min=0, help="Seed of the first.")] = 100,
    output: Annotated[Path, typer.Option(help="Folder of the results.")] = REPOSITORY / "benchmarks" / "results",
    docs: Annotated[bool, typer.Option("--docs", help="Write the page of the documentation, too.")] = False,
) -> None:
    """Integrate the worlds, and compare confidence with what is right."""
    warnings.filterwarnings("ignore")
    folder = output / "calibration"
    folder.mkdir(parents=True, exist_ok=True)
    made = []
    for seed in range(first, first + worlds):
        made.append(cells_of(seed))
        mean = made[-1][["confidence", "right"]].mean()
        kind, z = made[-1][["kind", "z"]].iloc[0]
        print(f"{seed} {kind}: z {z:.1f}, confidence {mean['confidence']:.2f}, right {mean['right']:.2f}", flush=True)
        pd.concat(made).to_csv(folder / "cells.csv.gz", index=False)
    cells = pd.concat(made, ignore_index=True)
    table = by_confidence(cells)
    print(f"{table.round(2).to_string()}\nexpected calibration error {calibration_error(table):.3f}")
    if docs:
        pages = REPOSITORY / "docs" / "benchmarks"
        draw(cells, table, REPOSITORY / "docs" / "_static" / "calibration.png")
        (pages / "calibration.md").write_text(page(cells, table, worlds))


def page(cells: pd.DataFrame, table: pd.DataFrame, worlds: int) -> str:
    """Table and figure."""
    named = {"worlds": ("seed", "nunique"), "confidence": ("confidence", "mean"), "right": ("right", "mean")}
    parts = [
        "# Is the confidence what it says?",
        f"{worlds} simulated worlds, none of which the formula was fitted to. They differ in the prior, from perfect "
        "to permuted, in depth and size, in missing branches and batches, and in whether the modalities have anything "
        f"in common. Each is integrated by the defaults. A neighbour ({N_NEIGHBORS} in the other modality) is right if "
        f"it is of the same branch and within {NEAR} of the pseudotime. Written by",
        f"```bash\nOMP_NUM_THREADS=1 python benchmarks/calibration.py --worlds {worlds} --docs\n```",
        "![Confidence against the share of right neighbours](../_static/calibration.png)",
        f"Expected calibration error, all worlds counting alike: {calibration_error(table):.3f}.",
        "## Cells by confidence",
        table.round(2).to_markdown(),
        "## By what is wrong with a world",
        cells.groupby("kind").agg(**named).round(2).to_markdown(),
    ]
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    typer.run(main)

"""The figure of the experiment on batches: what an effect costs, for each composition of the batches."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import matplotlib.pyplot as plt

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

#: Rows of panels: what is measured, its title and its limits.
ROWS = {
    "foscttm": ("FOSCTTM", (0, 0.2)),
    "tau": ("tau of pseudotime", (0, 1)),
    "batch_mixing": ("mixing of batches, worse modality", (0, 1.2)),
}
_NAME = re.compile(r"effect (?P<effect>[\d.]+), (?P<composition>.+)")


def simulated_runs(runs: pd.DataFrame) -> pd.DataFrame:
    """Runs on simulated batches, with their composition, the effect, and the mixing of the worse modality."""
    parts = runs["dataset"].str.extract(_NAME)
    table = runs.assign(composition=parts["composition"], effect=parts["effect"].astype(float))
    mixing = [f"batch_mixing_{mod}" for mod in ("rna", "atac")]
    return table.assign(batch_mixing=table.reindex(columns=mixing).min(axis=1)).dropna(subset="effect")


def draw_batches(runs: pd.DataFrame, path: Path) -> None:
    """Draw a point for every run, and lines through the medians over the seeds."""
    table = simulated_runs(runs)
    compositions, methods = table["composition"].unique(), table["method"].unique()
    figure, axes = plt.subplots(
        len(ROWS),
        max(len(compositions), 1),
        figsize=(10, 8),
        sharex=True,
        sharey="row",
        squeeze=False,
        layout="constrained",
    )
    for row, (measure, (title, limits)) in zip(axes, ROWS.items(), strict=True):
        row[0].set_ylabel(title)
        row[0].set_ylim(*limits)
        for ax, composition in zip(row, compositions, strict=False):
            for color, method in enumerate(methods):
                shown = table[(table["composition"] == composition) & (table["method"] == method)]
                if measure not in shown:
                    continue
                median = shown.groupby("effect")[measure].median()
                ax.plot(median.index, median, color=f"C{color}", label=method, linewidth=1.5)
                ax.scatter(shown["effect"], shown[measure], color=f"C{color}", s=14)
            ax.spines[["top", "right"]].set_visible(False)
    for ax, composition in zip(axes[0], compositions, strict=False):
        ax.set_title(composition)
    for ax in axes[-1]:
        ax.set_xlabel("largest log2 fold change of a batch")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=4, frameon=False)
    figure.savefig(path, dpi=110)
    plt.close(figure)

"""One figure of all methods on all data sets, from the tables of the site: ``python benchmarks/overview.py``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

DOCS = Path(__file__).resolve().parents[1] / "docs"


class Panel(NamedTuple):
    """A measure: row of the tables, title, and its worst and best value."""

    row: str
    title: str
    worst: float
    best: float
    decimals: int = 2


PANELS = (
    Panel("FOSCTTM ↓", "Do the two halves of a cell meet?\nFOSCTTM, 0 is best", 0.5, 0, 3),
    Panel("labels right ↑", "Are transferred labels right?\nshare of ATAC cells", 0, 1),
    Panel("tau ↑", "Is the order of cells kept?\ntau of pseudotime", 0, 1),
    Panel("expression by gene, mean ↑", "Is predicted expression right?\ncorrelation by gene", 0, 1),
)
#: Methods as the tables call them, in the order of the rows.
METHODS = {
    "scdart": "scdart",
    "glue": "GLUE",
    "moscot": "moscot",
    "harmony": "Harmony",
    "liger": "LIGER",
    "linear": "linear gene activity",
}
#: Page and section of each data set. On unmatched halves, methods that embed no new cells have no FOSCTTM.
DATA_SETS = {
    "given bifurcating": ("accuracy", "symsim2_bifurcating, all cells shuffled"),
    "given linear": ("accuracy", "symsim2_linear, all cells shuffled"),
    "linear": ("trees", "simulated linear, all cells shuffled"),
    "bifurcating": ("trees", "simulated bifurcating, all cells shuffled"),
    "bifurcating, halves": ("trees", "simulated bifurcating, unmatched halves"),
    "trifurcating": ("trees", "simulated trifurcating, all cells shuffled"),
    "mouse cortex": ("accuracy", "snare_cortex, 1,500 cells"),
}


def read_table(page: Path, section: str) -> pd.DataFrame:
    """Get the medians of a table by measure and method, NaN where there is none."""
    text = page.read_text(encoding="utf-8")
    found = re.search(rf"^## {re.escape(section)}\n\n((?:\|.*\n)+)", text, re.MULTILINE)
    if found is None:
        raise KeyError(f"{page.name} has no table under {section!r}")
    header, _, *lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in found[1].splitlines()]
    table = pd.DataFrame(lines, columns=header).set_index(header[0])
    medians = table.apply(lambda column: column.str.partition(" ")[0].str.replace(",", ""))
    return medians.apply(pd.to_numeric, errors="coerce")


def collect(docs: Path = DOCS) -> dict[str, pd.DataFrame]:
    """Get, for each panel, the medians by method and data set."""
    tables = {name: read_table(docs / "benchmarks" / f"{page}.md", at) for name, (page, at) in DATA_SETS.items()}
    return {
        panel.row: pd.DataFrame(
            {
                name: table.loc[panel.row].reindex(METHODS) if panel.row in table.index else np.nan
                for name, table in tables.items()
            },
            index=list(METHODS),
        )
        for panel in PANELS
    }


def draw(found: dict[str, pd.DataFrame], path: Path) -> None:
    """Draw a disc for each value: the better, the larger and darker; a cross where nothing was run."""
    figure, axes = plt.subplots(2, 2, figsize=(11, 7.6), sharey=True, layout="constrained")
    for ax, panel in zip(axes.flat, PANELS, strict=True):
        table = found[panel.row].dropna(axis="columns", how="all")
        goodness = (table - panel.worst) / (panel.best - panel.worst)
        for (row, column), value in np.ndenumerate(table.to_numpy(float)):
            if np.isnan(value):
                ax.plot(column, row, "x", color="0.8", markersize=5)
                continue
            good = goodness.iat[row, column]
            ax.scatter(column, row, s=120 + 680 * good**2, color=plt.get_cmap("YlGnBu")(0.1 + 0.75 * good), zorder=2)
            color = "white" if good > 0.55 else "black"
            ax.text(
                column,
                row,
                f"{value:.{panel.decimals}f}",
                ha="center",
                va="center",
                fontsize=7.5,
                color=color,
                zorder=3,
            )
        ax.set_title(panel.title, fontsize=10, loc="left")
        ax.set_xticks(range(table.shape[1]), table.columns, rotation=25, ha="right", fontsize=9)
        ax.set_yticks(range(len(METHODS)), METHODS.values(), fontsize=9)
        ax.set(xlim=(-0.6, table.shape[1] - 0.4), ylim=(len(METHODS) - 0.4, -0.6))
        ax.spines[:].set_visible(False)
        ax.tick_params(length=0)
    figure.savefig(path, dpi=90)
    plt.close(figure)


if __name__ == "__main__":
    draw(collect(), DOCS / "_static" / "overview.png")

"""The figure of benchmarks/scaling.py."""

from __future__ import annotations

from typing import TYPE_CHECKING

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from _scaling_report import STAGES, STEP, TOTAL, median_seconds, wide
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

if TYPE_CHECKING:
    from pathlib import Path

OURS, PUBLISHED = "#2a7fb8", "black"


def draw(results: pd.DataFrame, usual_peaks: int, path: Path) -> None:
    """Draw seconds by cells, seconds of a step by peaks, and memory."""
    ours = results[results["task"] == "scdart"]
    by_cells = ours[ours["peaks"] == usual_peaks]
    n_cells = ours.groupby("cells")["peaks"].nunique().idxmax() if len(ours) else 0
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(14, 4), layout="constrained")
    styles = dict(zip([*STAGES[:4], "embedding"], ("o", "s", "^", "v", "D"), strict=True))
    for stage, marker in styles.items():
        seconds = median_seconds(by_cells, "scdart", stage, "cells")
        left.plot(seconds.index, seconds, marker=marker, color=OURS, label=stage, linewidth=1, markersize=5)
    total = wide(by_cells, "cells")[TOTAL] if len(by_cells) else pd.Series(dtype=float)
    left.plot(total.index, total, color=OURS, linewidth=3, alpha=0.5, label=TOTAL)
    dense = median_seconds(results, "reference distances", "distances", "cells")
    left.plot(dense.index, dense, marker="o", color=PUBLISHED, label="published: distances")
    left.set(xlabel="cells of each modality", ylabel="CPU seconds")
    for task, color, name in (("scdart", OURS, "scdart"), ("reference step", PUBLISHED, "published")):
        steps = median_seconds(results, task, STEP, "peaks")
        middle.plot(steps.index, steps, marker="o", color=color, label=name)
    middle.set(xlabel="peaks", ylabel="CPU seconds of a step of 256 cells")
    memory = by_cells.groupby("cells")["gib"].max()
    right.plot(memory.index, memory, marker="o", color=OURS, label=f"scdart, {usual_peaks:,} peaks")
    others = ours[(ours["cells"] == n_cells) & (ours["peaks"] != usual_peaks)].groupby("peaks")["gib"].max()
    right.scatter([n_cells] * len(others), others, marker="x", color=OURS)
    dense = results[results["stage"] == "distances"].groupby("cells")["gib"].max()
    right.plot(dense.index, dense, marker="o", color=PUBLISHED, label="published: distances")
    right.set(xlabel="cells of each modality", ylabel="peak memory, GiB")
    for axis in (left, middle, right):
        if np.isfinite(axis.dataLim.get_points()).all():
            axis.set(xscale="log", yscale="log")
        axis.spines[["top", "right"]].set_visible(False)
        axis.xaxis.set_major_formatter(FuncFormatter(lambda size, _: f"{size:,.0f}"))
    for axis in (middle, right):
        axis.legend(frameon=False, fontsize=8)
    # Over seven lines that cross, a legend would hide some.
    left.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    if right.get_yscale() == "log":
        right.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        right.yaxis.set_minor_locator(NullLocator())
        right.yaxis.set_major_formatter(FuncFormatter(lambda gib, _: f"{gib:g}"))
    figure.savefig(path, dpi=150)
    plt.close(figure)

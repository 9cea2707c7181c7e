"""Tables, growth and the page of benchmarks/scaling.py."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from _reference import N_EPOCHS, STEPS_PER_EPOCH
from _synthetic import OPEN_SHARE, open_share

from scdart.model import PRESETS

if TYPE_CHECKING:
    from collections.abc import Sequence

STAGES = ["prior", "coordinates", "anchors", "set-up", "step", "embedding"]
#: What it takes to know batches, before all but the prior.
FACTORS = "factors"
N_STEPS = PRESETS["default"].n_steps
N_REFERENCE_STEPS = N_EPOCHS * STEPS_PER_EPOCH
TOTAL = f"total, {N_STEPS} steps"
STEP, SAME = "step of 256 cells", "coordinates of the same distances"
#: Seconds below which what is done with the result needs no row.
MOMENT = 2


def growth_exponent(sizes: np.ndarray, costs: np.ndarray) -> float:
    """Exponent p of the power law cost = c * size^p that fits best, by least squares of logarithms."""
    if len(sizes) < 2:
        return np.nan
    return float(np.polyfit(np.log(sizes), np.log(costs), 1)[0])


def wide(
    results: pd.DataFrame, axis: str, column: str = "seconds", stages: Sequence[str] = tuple(STAGES)
) -> pd.DataFrame:
    """Sizes along an axis x stages of scdart."""
    values = results.groupby([axis, "stage"])[column].mean().unstack("stage").reindex(columns=stages)
    if column in ("seconds", "wall"):
        values[TOTAL] = values.drop(columns="step").sum(axis=1) + N_STEPS * values["step"]
    return values


def digits(value: float) -> str:
    """Write a number with three digits, or all of those before the point; what was not measured stays empty."""
    if np.isnan(value):
        return ""
    return f"{value:,.0f}" if value >= 1_000 else f"{value:.3g}"


def shown(values: pd.DataFrame) -> pd.DataFrame:
    """Numbers as text, three digits of each."""
    text = values.map(digits)
    text.index = pd.Index([f"{size:,}" for size in values.index], name=values.index.name)
    return text


def with_growth(values: pd.DataFrame) -> pd.DataFrame:
    """Add the exponents of growth over all sizes and, of more than two, from the second largest to the largest."""
    text = shown(values)
    for name, part, least in (("exponent", values, 2), ("exponent, last two", values.iloc[-2:], 3)):
        if len(values) >= least:
            text.loc[name] = [f"{growth_exponent(part.index.to_numpy(float), part[s].to_numpy()):.2f}" for s in values]
    return text


def page(results: pd.DataFrame, usual_peaks: int, left_out: dict[str, str], remarks: str, command: str) -> str:
    ours = results[results["task"] == "scdart"]
    by_cells = ours[ours["peaks"] == usual_peaks]
    n_cells = ours.groupby("cells")["peaks"].nunique().idxmax() if len(ours) else 0
    by_peaks = ours[ours["cells"] == n_cells]
    parts = [
        f"""# Scaling

Time and memory of scdart, beside an own implementation of the published algorithm {{cite:p}}`Zhang2022`: dense
transition matrices, counts and layers, and the penalty of all peaks times all genes. Cells are those of each
modality, on a tree that branches once. They express 20% of {results["genes"].max():,.0f} genes, and 2% of their
peaks are open. Written by

```bash
{command}
```

on this machine: {"; ".join(results["machine"].dropna().unique())}. Times are CPU seconds.

![Seconds and memory against the numbers of cells and peaks](../_static/scaling.png)

*Blue: scdart. Black: the published algorithm. Crosses: peaks varied at {n_cells:,} cells.*
"""
    ]
    if len(by_cells):
        parts.append(
            f"""## Cells

CPU seconds at {usual_peaks:,} peaks. Training takes {N_STEPS} steps of 128 cells of each modality, however many
there are. Exponents are slopes of log seconds against log cells: 1 is linear. Small sizes cost a constant, so the
last two stand apart.

{with_growth(wide(by_cells, "cells")).to_markdown(disable_numparse=True)}

Peak memory in GiB, libraries and counts included:

{shown(wide(by_cells, "cells", "gib")).to_markdown(disable_numparse=True)}
"""
        )
    if by_peaks["peaks"].nunique() > 1:
        parts.append(
            f"""## Peaks

CPU seconds at {n_cells:,} cells.

{with_growth(wide(by_peaks, "peaks")).to_markdown(disable_numparse=True)}

Peak memory in GiB:

{shown(wide(by_peaks, "peaks", "gib")).to_markdown(disable_numparse=True)}
"""
        )
    others = ours[(ours["peaks"] != usual_peaks) & (ours["cells"] != n_cells)]
    for (cells, peaks), one in others.groupby(["cells", "peaks"]):
        both = pd.concat({"CPU seconds": wide(one, "cells").iloc[0], "GiB": wide(one, "cells", "gib").iloc[0]}, axis=1)
        values = both.T.map(digits)
        parts.append(f"## {cells:,} cells, {peaks:,} peaks\n\n{values.to_markdown(disable_numparse=True)}\n")
    parts += [_batches(results), _loading(ours), _backed(results), _stored(results)]
    parts += [_components(results), _results(results), _comparison(results)]
    if left_out:
        listed = "\n".join(f"- {job}{': ' + why if why else ''}" for job, why in left_out.items())
        parts.append(f"## Not measured\n\nPlanned, but left out of this run or failed:\n\n{listed}\n")
    return "\n".join(part for part in [*parts, remarks] if part)


def _batches(results: pd.DataFrame) -> str:
    """What it costs to know that each modality has two batches: the same cells with and without."""
    stages = [STAGES[0], FACTORS, *STAGES[1:]]
    rows = {}
    for (n_cells, n_peaks), one in results.groupby(["cells", "peaks"]):
        tasks = {"without": one[one["task"] == "no batches"], "with batches": one[one["task"] == "batches"]}
        if any(measured.empty for measured in tasks.values()):
            continue
        seconds = {name: wide(measured, "cells", stages=stages).iloc[0] for name, measured in tasks.items()}
        gib = {name: measured["gib"].max() for name, measured in tasks.items()}
        for name, values in seconds.items():
            rows[f"{n_cells:,} cells, {n_peaks:,} peaks, {name}"] = {
                **{stage: digits(value) for stage, value in values.items()},
                "times the seconds": f"{values[TOTAL] / seconds['without'][TOTAL]:.2f}",
                "peak memory, GiB": digits(gib[name]),
                "times the memory": f"{gib[name] / gib['without']:.2f}",
            }
    if not rows:
        return ""
    return f"""## Batches

The same cells without `batch_key`, and as two batches of each modality, measured one after the other: CPU seconds, and
peak memory.

{_table(rows)}
"""


def _loading(ours: pd.DataFrame) -> str:
    """What part of a step is the assembly of its minibatch."""
    times = ours.pivot_table(index=["cells", "peaks"], columns="stage", values="seconds")
    if "minibatch" not in times:
        return ""
    rows = {
        f"{n_cells:,} cells, {n_peaks:,} peaks": {
            "minibatch, ms": digits(1e3 * one["minibatch"]),
            "step, ms": digits(1e3 * one["step"]),
            "share": f"{one['minibatch'] / one['step']:.1%}",
        }
        for (n_cells, n_peaks), one in times.dropna(subset="minibatch").iterrows()
    }
    return f"""## Loading

What of a step is the making of its minibatch, counts in memory:

{_table(rows)}
"""


def _backed(results: pd.DataFrame) -> str:
    backed = results[results["task"] == "backed"]
    if backed.empty:
        return ""
    memory = backed.pivot_table(index="cells", columns="stage", values="gib")
    seconds = backed.pivot_table(index="cells", columns="stage", values="seconds")
    stages = ["opened", "set-up", "step", "embedding"]
    rows = {
        f"{n:,}": {f"{stage}, GiB": f"{memory[stage][n]:.2f}" for stage in stages if stage in memory}
        | {"step, s": digits(seconds["step"][n])}
        for n in memory.index
    }
    growth = ""
    if len(memory) > 1:
        added = memory.loc[memory.index.max()] - memory.loc[memory.index.min()]
        growth = f" From the fewest to the most cells, memory of training grows by {added['step']:.2f} GiB"
        growth += f", of which {added['opened']:.2f} are there once the file is open." if "opened" in added else "."
    return f"""## Counts on disk

Peak memory at {backed["peaks"].max():,} peaks, counts in a file that is opened with `backed="r"`. Coordinates and
anchors are in memory.{growth}

{_table(rows)}
"""


def _stored(results: pd.DataFrame) -> str:
    """The whole way with counts in a file and, of the same size and as many open peaks, in memory."""
    stored, stages, rows = results[results["task"] == "stored"], STAGES[1:], {}
    for (n_cells, n_peaks), one in stored.groupby(["cells", "peaks"]):
        in_memory = results.query(f"task == 'scdart' and cells == {n_cells} and peaks == {n_peaks}")
        for name, measured in (("from a file", one), ("in memory", in_memory)):
            if len(measured) and (name == "from a file" or open_share(n_peaks) == OPEN_SHARE):
                seconds, wall = (wide(measured, "cells", column, stages).iloc[0] for column in ("seconds", "wall"))
                rows[f"{n_cells:,} cells, {n_peaks:,} peaks, {name}"] = {
                    **{stage: digits(value) for stage, value in seconds.items()},
                    "the same on the wall, min": digits(wall[TOTAL] / 60),
                    "peak memory, GiB": digits(measured[measured["stage"].isin(stages)]["gib"].max()),
                }
    if not rows:
        return ""
    grown = ""
    for n_peaks, same in stored.groupby("peaks"):
        if same["cells"].nunique() > 1:
            seconds = wide(same, "cells", stages=stages).iloc[-2:]
            exponents = {
                name: growth_exponent(seconds.index.to_numpy(float), values) for name, values in seconds.items()
            }
            rows[f"exponent, {n_peaks:,} peaks, last two"] = {name: f"{value:.2f}" for name, value in exponents.items()}
            few, many = same[same["stage"].isin(stages)].groupby("cells")["gib"].max().iloc[-2:]
            grown = f" From the last but one to the most cells, peak memory grows to {many / few:.2f} times."
    return f"""## The whole way from a file

CPU seconds from an h5mu file that `scdart.pp.from_store` opens and, where the same was measured, in memory. Counts
of less than 512 MiB are read as a whole for coordinates and anchors. About 1,000 peaks of a cell are open in a file,
or 2% if these are fewer.{grown}

{pd.DataFrame(rows).T.fillna("").to_markdown(disable_numparse=True)}
"""


def _results(results: pd.DataFrame) -> str:
    """What is done with a latent space: what takes longer than a moment, and the names of all else."""
    measured = results[results["task"] == "results"]
    if measured.empty:
        return ""
    by_size = measured.pivot_table(index="stage", columns="cells", values=["seconds", "wall", "gib"])
    most = measured["cells"].max()
    by_size = by_size.sort_values([("seconds", most), ("seconds", measured["cells"].min())], ascending=False)
    long = by_size["seconds"].max(axis=1) >= MOMENT
    rows = {
        f"`{name}`": {
            **{f"{n:,} cells, CPU seconds": digits(value) for n, value in one["seconds"].items()},
            "on the wall, s": digits(one["wall"][most]),
            "peak memory, GiB": digits(one["gib"][most]),
        }
        for name, one in by_size[long].iterrows()
    }
    short = ", ".join(f"`{name}`" for name in sorted(by_size.index[~long]))
    under = f"\nUnder {MOMENT} s: {short}.\n" if short else ""
    return f"""## What is done with the result

With a latent space that is made up, cells of each modality, {measured["peaks"].max():,} peaks; 200 genes are tested for
change, and 10,000 cells come later. Metrics with an empty cell compare all cells with all, and were measured on the
fewer cells only.

{_table(rows)}
{under}"""


def _components(results: pd.DataFrame) -> str:
    """Coordinates without counts, and anchors of few features."""
    measured = results[results["task"] == "components"]
    if measured.empty:
        return ""
    rows = {
        f"{n:,} cells, {stage}": {
            "CPU seconds": digits(one["seconds"]),
            "on the wall, s": digits(one["wall"]),
            "peak memory, GiB": digits(one["gib"]),
        }
        for (n, stage), one in measured.set_index(["cells", "stage"]).iterrows()
    }
    features = f"{measured['genes'].max():,} genes and {measured['peaks'].max():,} peaks"
    return f"""## From given components

`diffusion_coordinates` from 30 components of each modality, given by `use_rep`, and `anchors` from the counts of
{features}:

{_table(rows)}
"""


def _table(rows: dict[str, dict[str, str]]) -> str:
    return pd.DataFrame(rows).T.to_markdown(disable_numparse=True)


def _comparison(results: pd.DataFrame) -> str:
    distances = median_seconds(results, "reference distances", "distances", "cells")
    steps = median_seconds(results, "reference step", STEP, "peaks")
    if distances.empty and steps.empty:
        return ""
    parts = ["## Beside the published algorithm\n"]
    if len(distances):
        same = results[results["stage"] == SAME].set_index("cells")
        rows = {
            f"{n:,}": {
                "dense distances, s": digits(seconds),
                "coordinates, s": digits(same["seconds"][n]),
                "times faster": f"{seconds / same['seconds'][n]:.0f}",
                "error of the distances": f"{same['error'][n]:.1e}",
            }
            for n, seconds in distances.items()
        }
        exponent = growth_exponent(distances.index.to_numpy(float), distances.to_numpy())
        grown = "" if np.isnan(exponent) else f" The dense ones grow with exponent {exponent:.2f}."
        parts.append(
            f"""Diffusion distances of both modalities at t = 30, 50 and 70, from the same features. The error is
relative, in Frobenius norm.{grown}

{_table(rows)}
"""
        )
    if len(steps):
        ours = median_seconds(results, "scdart", STEP, "peaks")
        rows = {
            f"{n:,}": {
                "published, s": digits(seconds),
                "scdart, s": digits(ours[n]) if n in ours else "",
                "times faster": f"{seconds / ours[n]:.0f}" if n in ours else "",
                "published, GiB": f"{_gib(results, n):.1f}",
            }
            for n, seconds in steps.items()
        }
        parts.append(
            f"""A step of 256 cells of each modality, by number of peaks:

{_table(rows)}
"""
        )
    if len(distances) > 1 and len(steps):
        parts.append(_end_to_end(results, distances, steps))
    return "\n".join(parts)


def _end_to_end(results: pd.DataFrame, distances: pd.Series, steps: pd.Series) -> str:
    """Whole runs; what the reference takes where it was not run follows its own growth."""
    rows = {}
    largest = distances.index.max()
    exponent = growth_exponent(distances.index.to_numpy(float), distances.to_numpy())
    ours = results[results["task"] == "scdart"]
    for (n_cells, n_peaks), one in ours.groupby(["cells", "peaks"]):
        if n_peaks not in steps:
            continue
        dense = distances[n_cells] if n_cells in distances else distances[largest] * (n_cells / largest) ** exponent
        published = dense + N_REFERENCE_STEPS * steps[n_peaks]
        total = wide(one, "cells")[TOTAL].iloc[0]
        rows[f"{n_cells:,} cells, {n_peaks:,} peaks"] = {
            "published, h": digits(published / 3600),
            "of it distances, h": digits(dense / 3600),
            "scdart, min": digits(total / 60),
            "times faster": f"{published / total:.0f}",
        }
    if not rows:
        return ""
    return f"""From counts to latent space. For the published algorithm, a lower bound: its distances (extrapolated
beyond {largest:,} cells) and {N_REFERENCE_STEPS:,} steps of 256 cells, which are {N_EPOCHS} epochs of
{STEPS_PER_EPOCH}; its own minibatches are a quarter of all cells.

{_table(rows)}
"""


def median_seconds(results: pd.DataFrame, task: str, stage: str, axis: str) -> pd.Series:
    """CPU seconds of a stage by the sizes along an axis."""
    chosen = results[(results["task"] == task) & (results["stage"] == stage)]
    return chosen.groupby(axis)["seconds"].median()


def _gib(results: pd.DataFrame, n_peaks: int) -> float:
    return results[(results["task"] == "reference step") & (results["peaks"] == n_peaks)]["gib"].max()

"""From runs to one table: median and range over the seeds, as CSV and Markdown."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import pandas as pd

if TYPE_CHECKING:
    from _experiments import Experiment

#: Columns that name a run; the others are scores.
KEYS = ["dataset", "method", "seed"]
TEXTS = ["failure", "version", "machine"]


class Metric(NamedTuple):
    title: str
    decimals: int = 3
    #: Whether the value of a run is yes or no, so that only their share means something.
    is_event: bool = False


METRICS = {
    "cells_rna": Metric("RNA cells scored", 0),
    "cells_atac": Metric("ATAC cells scored", 0),
    "mates": Metric("of them in both", 0),
    "foscttm": Metric("FOSCTTM ↓"),
    "neighborhood_overlap": Metric("neighbours shared ↑"),
    "transfer_accuracy": Metric("labels right ↑"),
    "transfer_balanced": Metric("labels right, balanced ↑"),
    "alignment_score": Metric("alignment score ↑"),
    "modality_mixing": Metric("iLISI ↑"),
    "lone_mixing": Metric("ATAC beside a branch of RNA alone ↓"),
    "tau": Metric("tau ↑"),
    "tau_rna_alone": Metric("tau, RNA alone"),
    "tau_atac_alone": Metric("tau, ATAC alone"),
    "pseudotime_transfer": Metric("transferred order, Spearman ↑"),
    "reversed": Metric("reversed ↓", 2, is_event=True),
    "diffusion_rna": Metric("distances, RNA ↑"),
    "diffusion_atac": Metric("distances, ATAC ↑"),
    "gene_pearson_median": Metric("expression by gene, median ↑"),
    "gene_pearson_mean": Metric("expression by gene, mean ↑"),
    "gene_pearson_median_unseen": Metric("unseen cells, median ↑"),
    "gene_pearson_mean_unseen": Metric("unseen cells, mean ↑"),
    "gene_pearson_median_matched": Metric("ridge, median"),
    "gene_pearson_mean_matched": Metric("ridge, mean"),
    "cell_pearson_median": Metric("expression by cell ↑"),
    "expression_nmse": Metric("expression, error ↓"),
    "link_auprc": Metric("links, AUPRC ↑"),
    "link_auprc_correlation": Metric("links by correlation, AUPRC"),
    "rare_f1": Metric("F1 of the branch, joint ↑"),
    "rare_f1_rna_alone": Metric("F1 of the branch, RNA alone"),
    "rare_f1_atac_alone": Metric("F1 of the branch, ATAC alone"),
    "rare_found": Metric("branch found, joint ↑", 2, is_event=True),
    "rare_found_rna_alone": Metric("branch found, RNA alone", 2, is_event=True),
    "rare_found_atac_alone": Metric("branch found, ATAC alone", 2, is_event=True),
    "batch_mixing_rna": Metric("mixing of RNA batches ↑"),
    "batch_mixing_atac": Metric("mixing of ATAC batches ↑"),
    "batch_mixing_rna_alone": Metric("mixing of RNA batches, RNA alone"),
    "batch_mixing_atac_alone": Metric("mixing of ATAC batches, ATAC alone"),
    "cpu_seconds": Metric("CPU seconds", 0),
    "memory_gib": Metric("peak memory, GiB", 1),
}


def summarize(runs: pd.DataFrame) -> pd.DataFrame:
    """Median, smallest and largest value over the seeds of every score, in the order of the runs.

    Returns
    -------
    A row for each data set, method and metric that has a value, with the number of seeds that gave one.
    """
    long = runs.drop(columns=TEXTS, errors="ignore").melt(id_vars=KEYS, var_name="metric").dropna(subset="value")
    grouped = long.groupby(["dataset", "method", "metric"], sort=False)["value"]
    return grouped.agg(median="median", min="min", max="max", mean="mean", n="count").reset_index()


def tables(summary: pd.DataFrame, experiment: Experiment) -> dict[str, pd.DataFrame]:
    """Tables of formatted cells by title of their section, laid out as the experiment says."""
    shown = summary[summary["metric"].isin(experiment.metrics)].copy()
    orders = {
        "dataset": [dataset.name for dataset in experiment.datasets],
        "method": list(experiment.methods),
        "metric": list(experiment.metrics),
    }
    for column, order in orders.items():
        shown[column] = pd.Categorical(shown[column], order, ordered=True)
    shown["cell"] = [_cell(METRICS[row.metric], row) for row in shown.itertuples()]
    shown["metric"] = shown["metric"].cat.rename_categories({name: METRICS[name].title for name in experiment.metrics})
    section, rows, columns = experiment.layout
    return {
        str(title): part.pivot(index=rows, columns=columns, values="cell").sort_index().sort_index(axis=1).fillna("")
        for title, part in shown.groupby(section, observed=True)
    }


def _cell(metric: Metric, values: NamedTuple) -> str:
    if metric.is_event:
        return f"{values.mean * values.n:.0f} of {values.n}"
    return with_range(*(f"{value:,.{metric.decimals}f}" for value in (values.median, values.min, values.max)))


def with_range(median: str, low: str, high: str) -> str:
    """Write a median and its range, which is left out where there is none."""
    if low == high:
        return median
    return f"{median} ({low} to {high})" if "-" in low + high else f"{median} ({low}–{high})"


def markdown(
    runs: pd.DataFrame,
    experiment: Experiment,
    command: str,
    skipped: list[str],
    figure: str | None = None,
    stored: str | None = None,
    remarks: str = "",
) -> str:
    """Page with the tables, the addresses of a figure and of all runs, the command, what is missing, and remarks."""
    parts = [
        f"# {experiment.title}",
        experiment.about,
        f"Medians over the seeds, range in brackets; rules and measures are {{doc}}`those of all pages <index>`. "
        f"Written by\n\n```bash\n{command}\n```",
    ]
    if figure is not None:
        parts.append(f"![{experiment.caption}]({figure})")
    for title, table in tables(summarize(runs), experiment).items():
        table = table.rename_axis(index=None, columns=None)
        parts += [f"## {title}", table.to_markdown(disable_numparse=True)]
    texts = runs.reindex(columns=KEYS + TEXTS).astype(object)
    texts = texts.where(texts.notna(), "")
    if fewer := _fewer_seeds(texts[texts["failure"] == ""]):
        parts.append(f"Fewer seeds than other methods of the same data: {'; '.join(fewer)}.")
    versions = sorted({version for version in texts["version"] if version})
    if versions:
        parts.append(f"Versions: {', '.join(versions)}.")
    machines = sorted({machine for machine in texts["machine"] if machine})
    if machines:
        hours = runs["cpu_seconds"].sum() / 3_600
        parts.append(f"Machine: {'; '.join(machines)}. All runs together: {hours:.1f} hours of CPU.")
    if stored is not None:
        parts.append(f"Every run: {{download}}`{stored}`; `--redraw --docs` makes this page of it again.")
    missing = [*skipped, *_failures(texts[texts["failure"] != ""])]
    if missing:
        parts += ["## Not run", "\n".join(f"- {line}" for line in missing)]
    if remarks:
        parts.append(remarks.strip())
    return "\n\n".join(parts) + "\n"


def _fewer_seeds(runs: pd.DataFrame) -> list[str]:
    """Methods with fewer seeds than others of the same data, by how many they have."""
    counts = runs.groupby(["dataset", "method"], sort=False)["seed"].nunique()
    fewer = counts[counts < counts.groupby("dataset").transform("max")].rename("n").reset_index()
    return [
        f"{method} {n} ({', '.join(of['dataset'])})" for (method, n), of in fewer.groupby(["method", "n"], sort=False)
    ]


def _failures(failed: pd.DataFrame) -> list[str]:
    """A line for each method and reason, with the data sets and seeds."""
    lines = []
    for (method, reason), runs in failed.groupby(["method", "failure"], sort=False):
        where = "; ".join(f"{run.dataset}, seed {run.seed}" for run in runs.itertuples())
        lines.append(f"{method} on {where}: {reason}")
    return lines

"""From runs to one table: median and range over the seeds, as CSV and Markdown."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import pandas as pd

if TYPE_CHECKING:
    from _experiments import Experiment

#: Columns that name a run; the others are scores.
KEYS = ["dataset", "method", "seed"]
TEXTS = ["failure", "version"]


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
    "neighborhood_overlap": Metric("neighbourhood overlap, k = 30 ↑"),
    "transfer_accuracy": Metric("label transfer RNA to ATAC, accuracy ↑"),
    "transfer_balanced": Metric("label transfer RNA to ATAC, balanced ↑"),
    "alignment_score": Metric("alignment score ↑"),
    "modality_mixing": Metric("modality mixing (iLISI) ↑"),
    "lone_mixing": Metric("ATAC among the neighbours of RNA cells of a branch that ATAC lacks ↓"),
    "tau": Metric("pseudotime tau, joint ↑"),
    "tau_rna_alone": Metric("pseudotime tau, PCA of RNA alone"),
    "tau_atac_alone": Metric("pseudotime tau, LSI of ATAC alone"),
    "pseudotime_transfer": Metric("Spearman of pseudotime transferred to ATAC ↑"),
    "reversed": Metric("reversed ↓", 2, is_event=True),
    "diffusion_rna": Metric("diffusion distance correlation, RNA ↑"),
    "diffusion_atac": Metric("diffusion distance correlation, ATAC ↑"),
    "gene_pearson_median": Metric("predicted expression, Pearson by gene, median ↑"),
    "gene_pearson_mean": Metric("predicted expression, Pearson by gene, mean ↑"),
    "gene_pearson_median_unseen": Metric("the same, cells whose RNA was not trained on, median ↑"),
    "gene_pearson_mean_unseen": Metric("the same, cells whose RNA was not trained on, mean ↑"),
    "gene_pearson_median_matched": Metric("the same, ridge on matched cells, median"),
    "gene_pearson_mean_matched": Metric("the same, ridge on matched cells, mean"),
    "cell_pearson_median": Metric("predicted expression, Pearson by cell, median ↑"),
    "expression_nmse": Metric("predicted expression, normalised squared error ↓"),
    "link_auprc": Metric("links, AUPRC ↑"),
    "link_auprc_correlation": Metric("links by correlation over matched cells, AUPRC"),
    "rare_f1": Metric("F1 of the branch, joint ↑"),
    "rare_f1_rna_alone": Metric("F1 of the branch, RNA alone"),
    "rare_f1_atac_alone": Metric("F1 of the branch, ATAC alone"),
    "rare_found": Metric("branch found, joint ↑", 2, is_event=True),
    "rare_found_rna_alone": Metric("branch found, RNA alone", 2, is_event=True),
    "rare_found_atac_alone": Metric("branch found, ATAC alone", 2, is_event=True),
    "batch_mixing_rna": Metric("mixing of RNA batches, least of the branches or types ↑"),
    "batch_mixing_atac": Metric("mixing of ATAC batches, least of the branches or types ↑"),
    "batch_mixing_rna_alone": Metric("mixing of RNA batches, PCA of RNA alone"),
    "batch_mixing_atac_alone": Metric("mixing of ATAC batches, LSI of ATAC alone"),
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
    median, low, high = (f"{value:,.{metric.decimals}f}" for value in (values.median, values.min, values.max))
    return median if low == high else f"{median} ({low} to {high})"


def markdown(
    runs: pd.DataFrame, experiment: Experiment, command: str, skipped: list[str], figure: str | None = None
) -> str:
    """Page with the tables, the address of a figure, the command that made them, and what is missing from them."""
    parts = [
        f"# {experiment.title}",
        experiment.about,
        f"Medians over the seeds, range in brackets. Written by\n\n```bash\n{command}\n```",
        NOTES,
    ]
    if figure is not None:
        parts.append(f"![{experiment.caption}]({figure})")
    for title, table in tables(summarize(runs), experiment).items():
        table = table.rename_axis(index=None, columns=None)
        parts += [f"## {title}", table.to_markdown(disable_numparse=True)]
    texts = runs.reindex(columns=KEYS + TEXTS).astype(object)
    texts = texts.where(texts.notna(), "")
    versions = sorted({version for version in texts["version"] if version})
    if versions:
        parts.append(f"Versions: {', '.join(versions)}.")
    failed = texts[texts["failure"] != ""]
    missing = [f"{run.method} on {run.dataset}, seed {run.seed}: {run.failure}" for run in failed.itertuples()]
    if missing or skipped:
        parts += ["## Not run", "\n".join(f"- {line}" for line in [*skipped, *missing])]
    return "\n\n".join(parts) + "\n"


NOTES = """Methods learn from files without pairs and labels, under names without meaning and with the cells of each
modality in an order of their own. All get the same counts and the same prior, and nothing is done to the coordinates
that they return. On unmatched halves, methods that embed new cells are scored on both measurements of all cells; the
others are scored on the cells they were trained on, among which nobody has its other measurement, so that they have no
FOSCTTM there. Pseudotime is scanpy's, on 30 neighbours, from the earliest RNA cell. Diffusion
distances are those that scdart trains on by default, of the training cells. CPU seconds and memory are those of
the method's own process, from reading the file on."""

"""Compare scdart.datasets.simulate with output of the original simulator: a page of the docs and its figure.

python benchmarks/simulator_fidelity.py --data ../shared/data
"""

from __future__ import annotations

import multiprocessing
import resource
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import matplotlib.pyplot as plt
import mudata
import muon
import numpy as np
import pandas as pd
import scanpy as sc
import typer
from anndata import AnnData
from scipy.stats import kendalltau, ks_2samp
from sklearn.decomposition import TruncatedSVD
from sklearn.neighbors import NearestNeighbors

from scdart._mudata import columns_stay
from scdart.datasets import simulate

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from mudata import MuData

REPOSITORY = Path(__file__).resolve().parents[1]
REFERENCES = {"bifurcating": "symsim2_bifurcating.h5mu", "linear": "symsim2_linear.h5mu"}
N_COMPONENTS = 30
N_NEIGHBORS = 30
LARGE = {"n_cells": 10_000, "n_genes": 1_000, "n_peaks": 3_000}
SHIPPED, OURS = "black", "#2a7fb8"
DISTRIBUTIONS = {
    "gene mean": "mean count of a gene",
    "gene zeros": "share of zeros of a gene",
    "library": "RNA counts of a cell (thousands)",
    "peak rate": "share of cells in which a peak is open",
    "cell rate": "share of peaks open in a cell",
}


def distributions(mdata: MuData) -> dict[str, np.ndarray]:
    rna, atac = mdata["rna"].X, mdata["atac"].X
    return {
        "gene mean": np.asarray(rna.mean(axis=0)).ravel(),
        "gene zeros": 1 - rna.getnnz(axis=0) / rna.shape[0],
        "library": np.asarray(rna.sum(axis=1)).ravel() / 1_000,
        "peak rate": atac.getnnz(axis=0) / atac.shape[0],
        "cell rate": atac.getnnz(axis=1) / atac.shape[1],
    }


def summary(mdata: MuData) -> dict[str, float]:
    values, atac = distributions(mdata), mdata["atac"].X
    result = {
        "RNA: share of non-zero counts": 1 - values["gene zeros"].mean(),
        "RNA: mean counts of a cell": 1_000 * values["library"].mean(),
        "RNA: coefficient of variation of a cell's counts": values["library"].std() / values["library"].mean(),
        "RNA: median gene's mean count": np.median(values["gene mean"]),
        "ATAC: share of non-zero counts": values["peak rate"].mean(),
        "ATAC: share of peaks never open": (values["peak rate"] == 0).mean(),
        "ATAC: mean non-zero count": atac.data.mean(),
    }
    for modality, adata in (("RNA", rna_components(mdata["rna"])), ("ATAC", atac_components(mdata["atac"]))):
        result[f"{modality}: error of pseudotime from neighbours"] = error_from_neighbors(adata)
        result[f"{modality}: tau of the order"] = tau_of_order(adata)
    if "true_expression" in mdata["rna"].layers:
        true = AnnData(mdata["rna"].layers["true_expression"], obs=mdata["rna"].obs)
        result["RNA without noise: tau of the order"] = tau_of_order(rna_components(true))
    return result


def rna_components(rna: AnnData) -> AnnData:
    rna = rna.copy()
    sc.pp.normalize_total(rna, target_sum=1e4)
    sc.pp.log1p(rna)
    sc.pp.pca(rna, n_comps=N_COMPONENTS)
    return rna


def atac_components(atac: AnnData) -> AnnData:
    atac = atac[:, np.asarray(atac.X.sum(axis=0)).ravel() > 0].copy()
    atac.X = (atac.X > 0).astype(np.float32)
    muon.atac.pp.tfidf(atac)
    lsi = TruncatedSVD(N_COMPONENTS + 1, algorithm="arpack", random_state=0).fit_transform(atac.X)
    atac.obsm["X_pca"] = lsi[:, 1:]  # the first component is the depth of the cell
    return atac


def error_from_neighbors(adata: AnnData) -> float:
    """Mean error of pseudotime taken from the nearest neighbours: the noise, whatever the shape of the tree."""
    neighbors = NearestNeighbors(n_neighbors=N_NEIGHBORS).fit(adata.obsm["X_pca"]).kneighbors(return_distance=False)
    pseudotime = adata.obs["pseudotime"].to_numpy()
    return np.abs(pseudotime[neighbors].mean(axis=1) - pseudotime).mean()


def tau_of_order(adata: AnnData) -> float:
    """Kendall's tau of diffusion pseudotime, from the earliest cell on, with the true one."""
    sc.pp.neighbors(adata, n_neighbors=N_NEIGHBORS, use_rep="X_pca")
    sc.tl.diffmap(adata)
    adata.uns["iroot"] = int(np.argmin(adata.obs["pseudotime"]))
    sc.tl.dpt(adata)
    return float(kendalltau(adata.obs["dpt_pseudotime"], adata.obs["pseudotime"]).statistic)


def table_of_summaries(shipped: dict[str, float], ours: list[dict[str, float]]) -> pd.DataFrame:
    values = pd.DataFrame(ours)
    below = {
        name: "equal"
        if np.allclose(values[name], value, rtol=1e-4)
        else f"{(values[name] < value).sum()} of {len(ours)}"
        for name, value in shipped.items()
    }
    return pd.DataFrame(
        {
            "original": [f"{shipped[name]:.4g}" if name in shipped else "" for name in values],
            "ours, median": [f"{median:.4g}" for median in values.median()],
            "ours, range": [f"{low:.4g} to {high:.4g}" for low, high in zip(values.min(), values.max(), strict=True)],
            "ours below the original": [below.get(name, "") for name in values],
        },
        index=values.columns,
    )


def table_of_distances(shipped: dict[str, np.ndarray], ours: list[dict[str, np.ndarray]]) -> pd.DataFrame:
    """Distance to the original, beside what two seeds of ours differ by."""
    rows = {}
    for name, title in DISTRIBUTIONS.items():
        to_shipped = [ks_2samp(shipped[name], one[name]).statistic for one in ours]
        between = [ks_2samp(a[name], b[name]).statistic for i, a in enumerate(ours) for b in ours[:i]]
        rows[title] = {
            "to the original, median": np.median(to_shipped),
            "to the original, range": f"{min(to_shipped):.3f} to {max(to_shipped):.3f}",
            "between two seeds, median": np.median(between),
            "between two seeds, range": f"{min(between):.3f} to {max(between):.3f}",
        }
    return pd.DataFrame(rows).T


def comparison_of_order(shipped: dict[str, float], ours: list[dict[str, float]]) -> str:
    parts = []
    for modality in ("RNA", "ATAC"):
        key = f"{modality}: tau of the order"
        taus = [one[key] for one in ours]
        rank = sum(tau < shipped[key] for tau in taus)
        parts.append(f"{np.median(taus) - shipped[key]:+.3f} for {modality} (the original is above {rank} seeds)")
    return f"Median tau of ours minus that of the original: {', '.join(parts)}."


def draw(results: dict[str, dict], path: Path) -> None:
    n_seeds = len(next(iter(results.values()))["ours"]["summaries"])
    figure = plt.figure(figsize=(10, 5.4 * len(results)), layout="constrained")
    for part, (tree, result) in zip(figure.subfigures(len(results), hspace=0.05), results.items(), strict=True):
        part.suptitle(f"{tree.capitalize()} tree, {result['n_cells']:,} cells", weight="bold")
        axes = part.subplots(2, 3)
        for axis, (name, title) in zip(axes.ravel(), DISTRIBUTIONS.items(), strict=False):
            for one in result["ours"]["distributions"]:
                _draw_ecdf(axis, one[name], OURS, linewidth=0.8, alpha=0.5)
            _draw_ecdf(axis, result["shipped"]["distributions"][name], SHIPPED, linewidth=1.6)
            axis.set(xlabel=title, ylabel="cumulative share", ylim=(0, 1))
            if name == "gene mean":
                axis.set(xscale="log", xlim=(1e-2, None))
        _draw_taus(axes[1, 2], result)
        for axis in axes.ravel():
            axis.spines[["top", "right"]].set_visible(False)
    handles = [plt.Line2D([], [], color=SHIPPED, linewidth=1.6), plt.Line2D([], [], color=OURS, linewidth=1.6)]
    labels = ["original simulator", f"scdart.datasets.simulate, {n_seeds} seeds"]
    figure.legend(handles, labels, loc="outside upper center", ncols=2, frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
    plt.close(figure)


def _draw_ecdf(axis: Axes, values: np.ndarray, color: str, **style: float) -> None:
    axis.step(np.sort(values), np.arange(1, len(values) + 1) / len(values), where="post", color=color, **style)


def _draw_taus(axis: Axes, result: dict) -> None:
    rng = np.random.default_rng(0)
    keys = ["RNA: tau of the order", "ATAC: tau of the order", "RNA without noise: tau of the order"]
    for x, key in enumerate(keys):
        ours = [one[key] for one in result["ours"]["summaries"]]
        axis.scatter(x + rng.uniform(-0.2, 0.2, len(ours)), ours, s=14, color=OURS, alpha=0.6, linewidths=0)
        axis.hlines(np.median(ours), x - 0.32, x + 0.32, color=OURS, linewidth=2)
        if key in result["shipped"]["summary"]:
            axis.scatter(x, result["shipped"]["summary"][key], s=45, marker="D", color=SHIPPED, zorder=3)
    axis.set(xticks=range(3), xticklabels=["RNA", "ATAC", "RNA,\nno noise"], xlim=(-0.5, 2.5), ylim=(0, 1))
    axis.set_ylabel("tau of the recovered order")


def _cost_of_large(queue: multiprocessing.Queue) -> None:
    start = time.perf_counter()
    simulate(**LARGE)
    queue.put((time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20))


def cost_of_large() -> tuple[float, float]:
    """Seconds and peak memory in GiB of one large call, in a process of its own."""
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    process = context.Process(target=_cost_of_large, args=(queue,))
    process.start()
    cost = queue.get()
    process.join()
    return cost


def page(results: dict[str, dict], n_seeds: int, cost: tuple[float, float], figure: str) -> str:
    parts = [
        f"""# Simulator fidelity

{{func}}`scdart.datasets.simulate` is written anew from the paper {{cite:p}}`Zhang2022`. Here it is compared with
the output of the original program: the same trees, 1,000 genes, 3,000 peaks. Every seed draws other links and
kinetics, and the original is one such draw: does it lie among ours? Written by

```bash
OMP_NUM_THREADS=1 python benchmarks/simulator_fidelity.py --seeds {n_seeds}
```

![Cumulative distributions and recovered order, original against ours]({figure})

*Black: the original. Blue: ours, a line or dot for each seed; bars are medians. Last panel of each tree: Kendall's
tau of diffusion pseudotime ({N_NEIGHBORS} neighbours) with the truth, on {N_COMPONENTS} components of one modality
alone.*

Order depends on the tree more than on the noise: taus of the true expression are hardly better than those of
counts. The error of a pseudotime taken from {N_NEIGHBORS} neighbours measures noise alone.
"""
    ]
    for tree, result in results.items():
        summaries = table_of_summaries(result["shipped"]["summary"], result["ours"]["summaries"])
        distances = table_of_distances(result["shipped"]["distributions"], result["ours"]["distributions"])
        parts.append(
            f"""## {tree.capitalize()} tree, {result["n_cells"]:,} cells

{summaries.to_markdown(disable_numparse=True)}

{comparison_of_order(result["shipped"]["summary"], result["ours"]["summaries"])}

Kolmogorov-Smirnov distance of the distributions in the figure:

{distances.to_markdown(floatfmt=".3f")}
"""
        )
    seconds, memory = cost
    cells, genes, peaks = LARGE.values()
    parts.append(
        f"""## What differs on purpose

- ATAC values are whole numbers; the original leaves measurement error on them.
- Genes of very high expression, half of a cell's counts, have average ranks of synthesis in place of random ones.
- Cells are spread at random within even stretches of a branch, in random order.
- Transcripts are captured and sequenced in one step: at some 30 reads a molecule, nothing is lost by that.
- A batch effect acts before counts are drawn, so that it changes what is detected.

## Cost

{cells:,} RNA and {cells:,} ATAC cells with {genes:,} genes and {peaks:,} peaks:
{seconds:.0f} s, {memory:.1f} GiB at the peak.
"""
    )
    return "\n".join(parts)


def main(
    data: Annotated[
        Path, typer.Option(envvar="SCDART_DATA", help="Folder with the output of the original simulator.")
    ] = REPOSITORY.parent / "shared" / "data",
    seeds: Annotated[int, typer.Option(min=2, help="Simulations of each tree.")] = 20,
    docs: Annotated[Path, typer.Option(help="Folder of the documentation.")] = REPOSITORY / "docs",
) -> None:
    """Write docs/benchmarks/simulator_fidelity.md and docs/_static/simulator_fidelity.png."""
    warnings.simplefilter("ignore", FutureWarning)
    results = {}
    for tree, file in REFERENCES.items():
        with columns_stay():
            shipped = mudata.read_h5mu(data / file)
        ours = {"distributions": [], "summaries": []}
        for seed in range(seeds):
            mdata = simulate(tree, n_cells=shipped.n_obs, paired=True, random_state=seed)
            ours["distributions"].append(distributions(mdata))
            ours["summaries"].append(summary(mdata))
            print(f"{tree}, seed {seed + 1} of {seeds}", flush=True)
        reference = {"distributions": distributions(shipped), "summary": summary(shipped)}
        results[tree] = {"n_cells": shipped.n_obs, "shipped": reference, "ours": ours}

    draw(results, docs / "_static" / "simulator_fidelity.png")
    text = page(results, seeds, cost_of_large(), figure="../_static/simulator_fidelity.png")
    (docs / "benchmarks" / "simulator_fidelity.md").write_text(text)
    print(text)


if __name__ == "__main__":
    typer.run(main)

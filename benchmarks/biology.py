"""Check what users do after the integration: tests of features along a trajectory, order and branches of the cells.

    python benchmarks/biology.py --docs
    python benchmarks/biology.py --part tests --part cost

Writes one table for each part into benchmarks/results/biology, and with --docs a page of the documentation.
"""

from __future__ import annotations

import time
import warnings
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import mudata
import numpy as np
import pandas as pd
import scipy.sparse as sp
import typer
from _components import atac_components, columns_stay, rna_components
from _datasets import DataSet, all_cells, simulated, stored
from _donors import donors
from _experiments import tree
from _haematopoiesis import QUIET, haematopoiesis
from _methods import MODS
from _planted import FAMILIES, branches, bumps, observed, trajectory
from _report import with_range
from scipy.stats import kstest, spearmanr

from scdart import metrics, tl

if TYPE_CHECKING:
    from collections.abc import Callable

    from anndata import AnnData
    from mudata import MuData

REPOSITORY = Path(__file__).resolve().parents[1]
LEVEL = 0.05
#: Stages of two processes in the cortex, by the names of its cell types, the first of which holds the root.
OLIGODENDROCYTES = {"OPC": 0, "OliI": 1, "OliM": 2}
LAYERS = tuple(range(2, 7))
#: Fresh trees of each shape.
N_TREES = 10


def null_p_values(seeds: int) -> pd.DataFrame:
    """Features that do not depend on pseudotime, and features with the same curve in both branches."""
    rows = []
    for family in FAMILIES:
        for question, amplitude, time_of in (("trajectory", 0.0, trajectory), ("branches", 0.8, branches)):
            p_values = []
            for seed in range(seeds):
                order, options = time_of(500, seed)
                mdata = observed(family, amplitude * bumps(order, 1_000, seed), order, seed)
                p_values.append(features_of(mdata, family=family, **options)["p_value"])
            pooled = pd.concat(p_values)
            rows.append(
                {
                    "family": family,
                    "question": question,
                    "p-values": f"{len(pooled):,}",
                    f"below {LEVEL}": f"{(pooled < LEVEL).mean():.3f}",
                    "Kolmogorov-Smirnov p": f"{kstest(pooled, 'uniform').pvalue:.3f}",
                }
            )
    return pd.DataFrame(rows)


def power(seeds: int) -> pd.DataFrame:
    """Planted curves among features without one, and genes and peaks of simulated trees, half of which are static."""
    rows = []
    for family, amplitude in FAMILIES.items():
        found = []
        for seed in range(seeds):
            order, options = trajectory(500, seed)
            dynamic = np.arange(600) < 150
            mdata = observed(family, amplitude * bumps(order, 600, seed) * dynamic, order, seed)
            table = features_of(mdata, family=family, **options)
            found.append((table, pd.Series(dynamic, mdata["rna"].var_names)))
        rows.append({"features": "planted, 150 of 600", "family": family} | _rates(found))
    for mod, family in (("rna", "nb"), ("atac", "binomial")):
        found = []
        for seed in range(seeds):
            mdata = simulated(seed, tree="bifurcating", n_cells=500, n_genes=400, n_peaks=800, static_genes=0.5)
            table = features_of(mdata, mod, pseudotime_key="pseudotime", family=family)
            found.append((table, mdata[mod].var["dynamic"]))
        what = "genes" if mod == "rna" else "peaks"
        rows.append({"features": f"{what} of a simulated tree", "family": family} | _rates(found))
    return pd.DataFrame(rows)


def _rates(found: list[tuple[pd.DataFrame, pd.Series]]) -> dict[str, str]:
    power, fdr = [], []
    for table, dynamic in found:
        is_found, is_dynamic = table["p_adjusted"] < LEVEL, dynamic[table.index]
        power.append(is_found[is_dynamic].mean())
        fdr.append((is_found & ~is_dynamic).sum() / max(is_found.sum(), 1))
    return {"power": f"{np.mean(power):.2f}", "false discoveries": f"{np.mean(fdr):.3f}"}


def features_of(mdata: MuData, of: str = "rna", **options) -> pd.DataFrame:
    """The rows of features that could be tested."""
    tl.dynamic_features(mdata, mod=of, key_added="result", **options)
    table = mdata[of].uns["result"]
    return table[table["status"] == "tested"]


def cost(seeds: int) -> pd.DataFrame:
    """Seconds for 2,000 genes in 5,000 cells."""
    rows = []
    for family in FAMILIES:
        order, options = trajectory(5_000, 0)
        mdata = observed(family, bumps(order, 2_000, 0), order, 0)
        start = time.perf_counter()
        n_tested = len(features_of(mdata, family=family, **options))
        rows.append({"family": family, "tested": n_tested, "seconds": f"{time.perf_counter() - start:.1f}"})
    return pd.DataFrame(rows)


def order_of_trees(data: Path, seeds: int) -> pd.DataFrame:
    """Pseudotime and branches of the cells of the given trees, jointly and from one modality alone."""
    rows = []
    for shape in ("linear", "bifurcating"):
        for seed in range(seeds):
            truth, joint = integrated(DataSet(shape, partial(stored, data / f"symsim2_{shape}.h5mu"), all_cells), seed)
            obs = pd.concat([truth[mod].obs for mod in MODS])
            ordered(joint, obs["pseudotime"].loc[truth["rna"].obs_names].idxmin())
            for mod in MODS:
                single = alone(truth[mod], mod)
                ordered(single, truth[mod].obs["pseudotime"].idxmin())
                row = {"tree": shape, "cells": mod.upper()}
                for name, mdata in (("joint", joint), ("alone", single)):
                    branch = mdata.obs.loc[truth[mod].obs_names, "backbone_branch"].astype(str)
                    row[f"tau, {name}"] = _tau(mdata, truth[mod].obs)
                    row[f"branches F1, {name}"] = metrics.branches_f1(branch, truth[mod].obs["branch"]).f1
                rows.append(row)
    return over_seeds(rows, ["tree", "cells"])


def order_of_fresh_trees(seeds: int) -> pd.DataFrame:
    """Pseudotime of the cells of trees that every seed draws anew, jointly and from one modality alone."""
    rows = []
    for shape in ("bifurcating", "trifurcating"):
        for seed in range(seeds):
            truth, joint = integrated(tree(shape), seed)
            tl.pseudotime(joint, root=truth["rna"].obs["pseudotime"].idxmin())
            found = {"joint": _tau(joint, pd.concat([truth[mod].obs for mod in MODS]))}
            for mod in MODS:
                single, obs = alone(truth[mod], mod), truth[mod].obs
                tl.pseudotime(single, root=obs["pseudotime"].idxmin())
                found[f"{mod.upper()} alone"] = _tau(single, obs)
            better = max(found["RNA alone"], found["ATAC alone"])
            rows.append({"tree": shape} | found | {"better one less joint": better - found["joint"]})
    return over_seeds(rows, ["tree"], decimals=3)


def _tau(mdata: MuData, truth: pd.DataFrame) -> float:
    """Kendall's tau of the pseudotime of some cells with the true one; those that no path reaches come last."""
    return metrics.pseudotime_kendall(mdata.obs.loc[truth.index, "dpt_pseudotime"].fillna(2), truth["pseudotime"])


def order_of_cortex(data: Path, seeds: int) -> pd.DataFrame:
    """Order of two processes among the cells of the cortex, jointly and from one modality alone."""
    rows = []
    for seed in range(seeds):
        truth, joint = integrated(DataSet("cortex", partial(stored, data / "snare_cortex.h5mu"), all_cells), seed)
        spaces = {"joint": joint} | {mod: alone(truth[mod], mod) for mod in MODS}
        for process, stage_of in (("OPC to OliM", _oligodendrocyte_stage), ("layers 2 to 6", _layer)):
            stages = {mod: stage_of(truth[mod].obs["cell_type"]) for mod in MODS}
            spearman = {name: _order(mdata, pd.concat(stages.values())) for name, mdata in spaces.items()}
            for mod in MODS:
                values = {"joint": spearman["joint"][mod], "alone": spearman[mod][mod]}
                scores = {f"Spearman, {name}": value for name, value in values.items()}
                cells = f"{stages[mod].notna().sum():,} {mod.upper()}"
                rows.append({"process": process, "cells": cells} | scores)
    return over_seeds(rows, ["process", "cells"])


def over_seeds(rows: list[dict[str, object]] | pd.DataFrame, keys: list[str], decimals: int = 2) -> pd.DataFrame:
    """Medians over the seeds, range in brackets."""

    def shown(values: pd.Series) -> str:
        return with_range(*(f"{value:.{decimals}f}" for value in (values.median(), values.min(), values.max())))

    return pd.DataFrame(rows).groupby(keys, sort=False).agg(shown).reset_index()


def _order(mdata: MuData, stages: pd.Series) -> dict[str, float]:
    """Spearman of pseudotime of the cells that have a stage with their stage, for each modality."""
    stages = stages.reindex(mdata.obs_names)
    chosen = mdata[stages.notna().to_numpy()].copy()
    chosen.obs["stage"] = stages.dropna().astype(int).astype(str)
    first = str(int(stages.min()))
    tl.pseudotime(chosen, root_key="stage", root_label=first)
    late = {mod: chosen.obs.loc[chosen[mod].obs_names] for mod in chosen.mod}
    return {
        mod: float(spearmanr(obs["dpt_pseudotime"].fillna(2), obs["stage"].astype(int)).statistic)
        for mod, obs in late.items()
    }


def _oligodendrocyte_stage(cell_type: pd.Series) -> pd.Series:
    return cell_type.astype(str).map(OLIGODENDROCYTES)


def _layer(cell_type: pd.Series) -> pd.Series:
    """The digit after E in the names of excitatory neurons."""
    layer = cell_type.astype(str).str.extract(r"^E(\d)", expand=False).astype(float)
    return layer.where(layer.isin(LAYERS))


def integrated(dataset: DataSet, seed: int) -> tuple[dict[str, AnnData], MuData]:
    """The truth, and all cells with the latent space that is learned without it."""
    problem = dataset.problem(seed)
    tl.integrate(problem.train, random_state=seed, train_kwargs=QUIET)
    return problem.truth, problem.train


def alone(adata: AnnData, mod: str) -> MuData:
    """Components of one modality in place of the latent space."""
    components = {"rna": rna_components, "atac": atac_components}[mod]().fit_transform(sp.csr_matrix(adata.X))
    with columns_stay():
        mdata = mudata.MuData({mod: adata.copy()})
    mdata.obsm["X_scdart"] = mdata[mod].obsm["X_scdart"] = components
    return mdata


def ordered(mdata: MuData, root: str) -> None:
    tl.pseudotime(mdata, root=root)
    tl.backbone(mdata)


PARTS: dict[str, tuple[str, str]] = {
    "tests": (
        "p-values where there is nothing to find",
        "1,000 features in 500 cells a seed, none of which depends on pseudotime, or each with the same curve in "
        "both branches. Seeds are pooled.",
    ),
    "power": (
        "Power and false discoveries",
        f"Adjusted p-values below {LEVEL} in 500 cells, means over the seeds. Planted curves are bumps; half of the "
        "genes of simulated trees follow the tree.",
    ),
    "cost": ("Cost", "2,000 genes in 5,000 cells, wall time of one process on a machine with other work."),
    "trees": (
        "Order and branches of simulated cells",
        "The given trees, paired cells taken as unpaired. Joint: all cells ordered together in the latent space, "
        "from the earliest RNA cell. Alone: the same on 30 components of one modality.",
    ),
    "fresh-trees": (
        "Order of cells of fresh trees",
        "1,000 cells of each modality; Kendall's tau of pseudotime from the earliest cell with the truth, medians over "
        "ten trees, each another. The last column has how far the joint order is short of the better of the two.",
    ),
    "cortex": (
        "Order of cells of the cortex",
        "SNARE-seq, paired cells taken as unpaired: pseudotime of the cells of one process against their stage. "
        "The layer is the digit after E in the name of an excitatory neuron's type.",
    ),
    "haematopoiesis": (
        "Sorted cells of human haematopoiesis",
        "The sources of the paper's second experiment: 1,500 RNA cells at random of four sorted populations (inDrops, "
        '978 transcription factors, 60 detected a cell) and 338 ATAC cells, with the prior of `domain="auto"`. Labels '
        "right: balanced accuracy of the populations that the ten nearest RNA cells give ATAC cells (0.25 by chance; "
        "told labels are among those that are scored). Order: Spearman of pseudotime from HSC with the sorted stage, "
        "and of RNA cells with the pseudotime of the paper.",
    ),
    "donors": (
        "Two donors of bone marrow",
        "ATAC of two donors, all 11,120 cells, with RNA of blood from another laboratory (`immune_unpaired`), and the "
        'prior of `domain="auto"`. Share of the 30 nearest ATAC cells of a type that are of the other donor, over '
        "chance; below, the share of ATAC cells whose label the RNA cells tell right. Donors differ in their share of "
        "subtypes, so that 1 is not to be had: exchanged are those drawn anew within the clusters of the authors.",
    ),
}


def main(
    part: Annotated[list[str] | None, typer.Option(help=f"Only this part, one of {', '.join(PARTS)}.")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Seeds of the simulated features.")] = 3,
    model_seeds: Annotated[int, typer.Option(min=1, help="Seeds of the trained models.")] = 3,
    data: Annotated[
        Path, typer.Option(envvar="SCDART_DATA", help="Folder with the stored data sets.")
    ] = REPOSITORY.parent / "shared" / "data",
    output: Annotated[Path, typer.Option(help="Folder of the results.")] = REPOSITORY / "benchmarks" / "results",
    docs: Annotated[bool, typer.Option("--docs", help="Write the page of the documentation, too.")] = False,
) -> None:
    """Run the parts; write a table for each, and put all that are there together on a page."""
    warnings.filterwarnings("ignore")
    picture = REPOSITORY / "docs" / "_static" / "haematopoiesis.png" if docs else None
    run: dict[str, Callable[[], pd.DataFrame]] = {
        "tests": partial(null_p_values, seeds),
        "power": partial(power, seeds),
        "cost": partial(cost, seeds),
        "trees": partial(order_of_trees, data, model_seeds),
        "fresh-trees": partial(order_of_fresh_trees, N_TREES),
        "cortex": partial(order_of_cortex, data, model_seeds),
        "haematopoiesis": lambda: over_seeds(haematopoiesis(data, model_seeds, picture), ["told"]),
        "donors": lambda: over_seeds(donors(data, model_seeds), ["cell type"]).replace("nan", "–"),
    }
    if unknown := set(part or ()) - set(PARTS):
        raise typer.BadParameter(f"{sorted(unknown)} are not among the parts {', '.join(PARTS)}.")
    folder = output / "biology"
    folder.mkdir(parents=True, exist_ok=True)
    for name in part or PARTS:
        start = time.process_time()
        table = run[name]()
        table.to_csv(folder / f"{name}.csv", index=False)
        print(f"{name}, {time.process_time() - start:.0f} s of CPU\n{table.to_string(index=False)}\n", flush=True)
    if docs:
        (REPOSITORY / "docs" / "benchmarks" / "biology.md").write_text(page(folder))


def page(folder: Path) -> str:
    """Tables of all parts that were run."""
    parts = [
        "# Trajectories and dynamic features",
        "What is done with the latent space, checked where the truth is known; medians over three trained models, "
        "range in brackets. Written by\n\n"
        "```bash\nOMP_NUM_THREADS=1 python benchmarks/biology.py --docs\n```",
    ]
    for name, (title, about) in PARTS.items():
        if (folder / f"{name}.csv").exists():
            table = pd.read_csv(folder / f"{name}.csv", dtype=str)
            parts += [f"## {title}", about, table.to_markdown(index=False, disable_numparse=True)]
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    typer.run(main)

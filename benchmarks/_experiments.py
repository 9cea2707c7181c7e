"""The experiments: which data sets, methods and scores, and how their table is laid out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from _batches_figure import draw_batches
from _datasets import (
    DataSet,
    all_cells,
    random_cells,
    random_cells_of_each,
    share_of,
    simulated,
    stored,
    unequal_branches,
    unmatched_halves,
    without_branch,
)
from _haematopoiesis import drawn
from _methods import BATCH_METHODS, METHODS, MODS, Method
from _peers import PEERS
from _peers_figure import draw_peers

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pandas as pd

CORRESPONDENCE = ("foscttm", "neighborhood_overlap", "transfer_accuracy", "transfer_balanced")
BATCHES = ("batch_mixing_rna", "batch_mixing_atac", "batch_mixing_rna_alone", "batch_mixing_atac_alone")
MIXING = ("alignment_score", "modality_mixing")
ORDER = ("tau", "tau_rna_alone", "tau_atac_alone", "diffusion_rna", "diffusion_atac")
EXPRESSION = (
    *("gene_pearson_median", "gene_pearson_mean", "gene_pearson_median_unseen", "gene_pearson_mean_unseen"),
    *("gene_pearson_median_matched", "gene_pearson_mean_matched", "cell_pearson_median", "expression_nmse"),
)
LINKS = ("link_auprc", "link_auprc_correlation")
COST = ("cpu_seconds", "memory_gib")
CELLS = ("cells_rna", "cells_atac", "mates")

#: What becomes sections, rows and columns of the table.
BY_DATASET = ("dataset", "metric", "method")
BY_METRIC = ("metric", "dataset", "method")
BY_METHOD = ("dataset", "method", "metric")

SMALL = {"n_cells": 300, "n_genes": 300, "n_peaks": 900}
MEDIUM = {"n_cells": 1_000, "n_genes": 1_000, "n_peaks": 3_000}
LARGE = MEDIUM | {"n_cells": 2_000}
#: Two branches of equal length, so that one ratio describes their proportions.
EVEN_TREE = "(t1:1,t2:1);"
#: Shares of the two branches of `bifurcating` in each of two batches, by modality. Where RNA lacks one, the same cells
#: are of either batch of ATAC by chance.
COMPOSITIONS = {
    "even": {},
    "4:1": {f"batch_proportions_{mod}": ((0.8, 0.2), (0.2, 0.8)) for mod in MODS},
    "a branch missing": {"batch_proportions_rna": ((2 / 3, 1 / 3), (1.0, 0.0))},
}
#: Largest log2 fold changes of a batch.
EFFECTS = (0.0, 0.5, 1.0, 1.5)
#: Options of scdart and the values that are tried beside the default.
SWEEP = {
    "n_latent": (4, 16, 32),
    "t": ((1, 2, 5), (30, 50, 70)),
    "distance_spread": (0.3, 0.5),
    "diffusion_weight": (1.0, 30.0),
    "mmd_weight": (0.01, 1.0),
    "prior_weight": (0.01, 1.0),
    "pair_weight": (0.1, 1.0),
    "expression_weight": (0.1, 10.0),
}
#: What the default is made of, each left out or put back to what was published.
ABLATION = {
    "without anchors": {"anchors": False},
    "anchors learned from all cells": {"refine": True},
    "without pair loss": {"pair_weight": 0.0},
    "without expression loss": {"expression_weight": 0.0},
    "without diffusion loss": {"diffusion_weight": 0.0},
    "t = 5, 10, 20": {"t": (5, 10, 20)},
    "without components of accessibility": {"n_accessibility_components": 0},
    "without MMD": {"mmd_weight": 0.0},
    "distances at their own spread": {"distance_spread": None},
    "published trajectory loss": {"distance_loss": "kl"},
    "16 latent dimensions": {"n_latent": 16},
    "dropout 0.1": {"dropout": 0.1},
    "published MMD": {"alignment_loss": "published"},
    "without prior penalty": {"prior_weight": 0.0},
    "published prior penalty": {"prior_penalty": "l1"},
}


#: Added to the seeds of trees that nobody had scored when the defaults were chosen.
BLIND = 20_261_129
#: The commit with which the blind trees were drawn and scored first.
FROZEN = "32c771c"


@dataclass(frozen=True)
class Experiment:
    """Data sets x methods x seeds, and the table of their scores."""

    title: str
    about: str
    datasets: tuple[DataSet, ...]
    methods: dict[str, Method]
    metrics: tuple[str, ...]
    layout: tuple[str, str, str] = BY_DATASET
    n_seeds: int = 3
    #: Methods that run on the first seed only, as they take long.
    once: tuple[str, ...] = ()
    #: Draws a figure of all runs into a file.
    draw: Callable[[pd.DataFrame, Path], None] | None = None
    caption: str = ""


def experiments(data: Path) -> dict[str, Experiment]:
    """All experiments by name; `data` is the folder with the data sets that are not simulated."""
    quick = {name: method for name, method in METHODS.items() if name not in ("scdart-paper", "glue")}
    return {
        "reference": Experiment(
            "Accuracy",
            "Paired data treated as unpaired: the data sets that the targets are set on.",
            reference_datasets(data),
            METHODS,
            (*CELLS, *CORRESPONDENCE, *MIXING, *ORDER, *EXPRESSION, *COST),
        ),
        "quick": Experiment(
            "Accuracy, quick check",
            "Two small data sets, one seed and the methods that take less than a minute, to see that everything runs.",
            (tree("bifurcating", size=SMALL), reference_datasets(data)[0]),
            quick,
            (*CELLS, *CORRESPONDENCE, *MIXING, *ORDER, *EXPRESSION, *LINKS, *COST),
            n_seeds=1,
        ),
        "trees": Experiment(
            "Simulated trees",
            "Trees of three shapes; every seed draws another tree, other links and other kinetics.",
            tuple(tree(name, halves=h) for name in ("linear", "bifurcating", "trifurcating") for h in (True, False)),
            METHODS,
            (*CELLS, *CORRESPONDENCE, *MIXING, *ORDER, *EXPRESSION, *COST),
        ),
        "paired-expression": Experiment(
            "Predicted expression and links",
            "Expression predicted for ATAC cells, against what the same cells express. A perfect prior has the "
            "true links. The poor one has 70% of them, and half of its links are wrong.",
            (
                tree("linear", name="linear, perfect prior"),
                tree("bifurcating", name="bifurcating, perfect prior"),
                tree("bifurcating", name="bifurcating, poor prior", prior_precision=0.5, prior_recall=0.7),
            ),
            METHODS,
            (*EXPRESSION, *LINKS, "foscttm", "tau", *COST),
        ),
        "rare-branch": Experiment(
            "Rare branch",
            "A branch of a trifurcating tree is found if a Leiden cluster has an F1 of at least a half with it, "
            f"at one of five resolutions. {MEDIUM['n_cells']:,} cells of each modality.",
            tuple(rare_branch(share) for share in (0.2, 0.1, 0.05, 0.025, 0.0125)),
            METHODS,
            tuple(f"rare_{kind}{of}" for kind in ("found", "f1") for of in ("", "_rna_alone", "_atac_alone")),
            BY_METRIC,
            n_seeds=5,
        ),
        "subsampling": Experiment(
            "One modality with fewer cells",
            "A random share of one modality's cells, all of the other's; scored on cells of both.",
            tuple(subsampled(mod, share) for mod in MODS for share in (1.0, 0.5, 0.25, 0.125)),
            METHODS,
            ("mates", "foscttm", "transfer_balanced", "tau", *COST),
            BY_METRIC,
        ),
        "imbalance": Experiment(
            "Unequal composition",
            "Two branches at r to 1 in RNA and 1 to r in ATAC, and trees of which one modality lacks a branch. "
            "FOSCTTM is that of the cells in both modalities.",
            tuple(imbalanced(ratio) for ratio in (1, 2, 4, 10, 20)) + tuple(lacking(mod) for mod in MODS),
            METHODS,
            ("mates", "foscttm", "transfer_balanced", "lone_mixing", "tau", "tau_rna_alone", "tau_atac_alone"),
            BY_METRIC,
        ),
        "batches": Experiment(
            "Batches within a modality",
            "Two batches in each modality see each feature by factors of their own. The effect is the largest "
            "log2 fold change. Composition is even, or the branches stand 4:1 in one batch and 1:4 in the "
            "other, or one RNA batch lacks a branch. Real data: ATAC of two donors of bone marrow with RNA of "
            "blood (by cell type: {doc}`biology`), and seven replicates of mouse cortex. Methods are told the "
            "batches, if they can be: Harmony as a second variable, LIGER as data sets, GLUE by `use_batch`.",
            (*(batches(effect, one) for one in COMPOSITIONS for effect in EFFECTS), *real_batches(data)),
            BATCH_METHODS,
            ("foscttm", "tau", *BATCHES, "transfer_accuracy", "transfer_balanced", "modality_mixing", *COST),
            BY_METRIC,
            n_seeds=2,
            draw=draw_batches,
            caption="FOSCTTM, order and mixing of batches against their effect, for each composition",
        ),
        "peers": Experiment(
            "Peers side by side",
            "All cells, shuffled, by every method that could be installed. Peers keep their tutorials' settings. "
            f"*Blind* data were drawn when the defaults of scdart stood as in commit {FROZEN}, from seeds that "
            "nothing here had used, and what its latent space depends on has not changed since. Its rows on other data "
            "are not blind. Of haematopoiesis, sorted populations are known, and no cell is in both modalities. Memory "
            "is a part of cost in the figure, and stands with the runs.",
            peer_datasets(data),
            PEERS,
            (
                *("foscttm", "neighborhood_overlap", "transfer_accuracy", "transfer_balanced", "tau"),
                *("modality_mixing", "gene_pearson_mean", "cpu_seconds"),
            ),
            BY_METHOD,
            once=("scdart-paper", "glue", "multivi", "diagvi", "unioncom", "mmd-ma"),
            draw=draw_peers,
            caption="Mean ranks by five kinds of measures; in brackets, on how many data sets a method was run",
        ),
        "flip": Experiment(
            "Reversed trajectories",
            "How often early RNA cells meet late ATAC cells on linear trees. With the prior's genes shuffled, "
            "nothing tells the ends apart.",
            (tree("linear", name="linear"), tree("linear", name="linear, shuffled prior", shuffle_prior=True)),
            METHODS,
            ("reversed", "pseudotime_transfer", "foscttm", "tau"),
            n_seeds=20,
        ),
        "ablation": Experiment(
            "Ablation",
            "What each ingredient of scdart gives, all others at their defaults.",
            (reference_datasets(data)[0], tree("trifurcating", halves=True), lacking("rna")),
            {"scdart": METHODS["scdart"]}
            | {name: replace(METHODS["scdart"], options=options) for name, options in ABLATION.items()}
            | {"paper preset": METHODS["scdart-paper"]},
            (
                *("foscttm", "tau", "diffusion_rna", "diffusion_atac", "gene_pearson_median", "modality_mixing"),
                "cpu_seconds",
            ),
            BY_METHOD,
        ),
        "sweep": Experiment(
            "Hyper-parameters",
            "One option of scdart at a time, all others at their defaults.",
            (tree("bifurcating", halves=True),),
            {"scdart": METHODS["scdart"]}
            | {
                f"{option} {value}": replace(METHODS["scdart"], options={option: value})
                for option, values in SWEEP.items()
                for value in values
            },
            ("foscttm", "tau", "diffusion_rna", "diffusion_atac", "gene_pearson_median", "alignment_score", *COST),
            BY_METHOD,
        ),
    }


def reference_datasets(data: Path) -> tuple[DataSet, ...]:
    bifurcating, linear = (partial(stored, data / f"symsim2_{name}.h5mu") for name in ("bifurcating", "linear"))
    cortex = data / "snare_cortex.h5mu"
    return (
        DataSet("symsim2_bifurcating, unmatched halves", bifurcating, unmatched_halves, score_all=True),
        DataSet("symsim2_bifurcating, all cells shuffled", bifurcating, all_cells),
        DataSet("symsim2_linear, unmatched halves", linear, unmatched_halves, score_all=True),
        DataSet("symsim2_linear, all cells shuffled", linear, all_cells),
        DataSet("snare_cortex, 1,500 cells", partial(random_cells, cortex, 1_500, 5), all_cells, labels="cluster"),
        DataSet("snare_cortex, all cells", partial(stored, cortex), all_cells, labels="cluster"),
    )


def peer_datasets(data: Path) -> tuple[DataSet, ...]:
    """Given, blind and real data; all cells shuffled everywhere, so that every method has the same rows."""
    reference = {one.name: one for one in reference_datasets(data)}
    pbmc = partial(stored, data / "pbmc_multiome_2k.h5mu")
    return (
        reference["symsim2_bifurcating, all cells shuffled"],
        *(
            replace(tree(shape, name=f"{shape} tree (blind)", first_seed=BLIND), n_seeds=10)
            for shape in ("bifurcating", "trifurcating")
        ),
        imbalanced(4, name="branches 4:1 and 1:4 (blind)", first_seed=BLIND),
        lacking("rna", name="RNA without a branch (blind)", first_seed=BLIND),
        reference["snare_cortex, 1,500 cells"],
        reference["snare_cortex, all cells"],
        DataSet("PBMC multiome, 2,000 cells", pbmc, all_cells, labels="lineage"),
        DataSet("haematopoiesis, 1,500 RNA cells", partial(drawn, data), all_cells, labels="cell_type"),
    )


def batches(effect: float, composition: str) -> DataSet:
    """Two batches of each modality, with effects up to a log2 fold change, composed as named."""
    options = {"n_batches_rna": 2, "n_batches_atac": 2, "batch_effect": effect} | COMPOSITIONS[composition]
    load = partial(simulated, tree="bifurcating", paired=True, **MEDIUM, **options)
    return DataSet(f"effect {effect:g}, {composition}", load, all_cells, batches=True)


def real_batches(data: Path) -> tuple[DataSet, ...]:
    immune, cortex = (data / f"{name}.h5mu" for name in ("immune_unpaired", "snare_cortex"))
    return (
        DataSet(
            "immune_unpaired, two donors",
            partial(random_cells_of_each, immune, 2_000),
            all_cells,
            labels="cell_type",
            batches=True,
        ),
        DataSet(
            "snare_cortex, seven replicates",
            partial(random_cells, cortex, 1_500, 5),
            all_cells,
            labels="cluster",
            batches=True,
        ),
    )


def tree(
    shape: str,
    *,
    halves: bool = False,
    name: str | None = None,
    size: dict[str, int] = MEDIUM,
    shuffle_prior: bool = False,
    **options: float,
) -> DataSet:
    """Cells measured in both modalities, trained on as unmatched halves or shuffled."""
    return DataSet(
        name or f"simulated {shape}, {'unmatched halves' if halves else 'all cells shuffled'}",
        partial(simulated, tree=shape, paired=True, **size, **options),
        unmatched_halves if halves else all_cells,
        score_all=halves,
        shuffle_prior=shuffle_prior,
    )


def rare_branch(share: float) -> DataSet:
    branch = "4_3"
    load = partial(simulated, tree="trifurcating", rare_branch={branch: share}, **MEDIUM)
    return DataSet(f"{share * MEDIUM['n_cells']:.0f} cells", load, all_cells, rare_branch=branch)


def subsampled(mod: str, share: float) -> DataSet:
    load = partial(simulated, tree="bifurcating", paired=True, **MEDIUM)
    return DataSet(f"{mod.upper()}: {share:.1%} of the cells", load, partial(share_of, mod, share))


def imbalanced(ratio: int, *, name: str | None = None, first_seed: int = 0) -> DataSet:
    load = partial(simulated, tree=EVEN_TREE, paired=True, first_seed=first_seed, **LARGE)
    return DataSet(name or f"{ratio}:1", load, partial(unequal_branches, ratio))


def lacking(mod: str, *, name: str | None = None, first_seed: int = 0) -> DataSet:
    load = partial(simulated, tree="trifurcating", paired=True, first_seed=first_seed, **LARGE)
    return DataSet(name or f"{mod.upper()} without a branch", load, partial(without_branch, mod, "4_2"))

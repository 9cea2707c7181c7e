"""Integration problems: what a method gets to see, and the truth that only the scoring code reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import mudata
import numpy as np
import pandas as pd
from _components import columns_stay
from _methods import BATCH, MODS
from anndata import AnnData
from scipy import sparse

from scdart.datasets import simulate

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mudata import MuData

PRIOR = "gene_activity"
#: Columns of `var` that a method may use; the simulator writes truth into others.
GENOME_COLUMNS = ("chrom", "start", "end", "strand")


@dataclass(frozen=True)
class Problem:
    """One integration problem."""

    #: Cells to learn from: counts and prior under names without meaning, each modality in an order of its own.
    train: MuData
    #: All cells, for methods that embed cells they were not trained on; `None` if only the training cells are scored.
    query: MuData | None
    #: Every cell of each modality under the names above: counts, and in `obs` the truth. `cell` is the same for the two
    #: measurements of a cell.
    truth: dict[str, AnnData]
    #: Column of `obs` with the labels to transfer.
    labels: str = "branch"
    #: Branch whose recovery is scored.
    rare_branch: str | None = None
    #: Whether methods read of which batch a cell is, and mixing of batches is scored.
    batches: bool = False

    def write(self, folder: Path) -> dict[str, Path]:
        """Write the files that methods read."""
        blind = {"train": self.train} | ({} if self.query is None else {"query": self.query})
        files = {name: folder / f"{name}.h5mu" for name in blind}
        for name, mdata in blind.items():
            mdata.write(files[name])
        return files


@dataclass(frozen=True)
class DataSet:
    """How to make the problem of a seed."""

    name: str
    load: Callable[[int], MuData]
    #: Cells of each modality to train on, as masks.
    split: Callable[[MuData, np.random.Generator], dict[str, np.ndarray]]
    #: Whether methods that can are scored on all cells, instead of on their training cells.
    score_all: bool = False
    labels: str = "branch"
    rare_branch: str | None = None
    batches: bool = False
    #: Whether the prior's genes are shuffled, so that it says nothing.
    shuffle_prior: bool = False
    #: Number of seeds, if not the experiment's.
    n_seeds: int | None = None

    def problem(self, seed: int) -> Problem:
        mdata = self.load(seed)
        rng = np.random.default_rng(seed)
        masks = self.split(mdata, rng)
        if self.shuffle_prior:
            mdata["atac"].varm[PRIOR] = mdata["atac"].varm[PRIOR][:, rng.permutation(mdata["rna"].n_vars)]
        truth = {}
        for mod in MODS:
            names = pd.Index([f"{mod}{i:06d}" for i in rng.permutation(mdata[mod].n_obs)])
            truth[mod] = mdata[mod].copy()
            truth[mod].obs = mdata[mod].obs.assign(cell=mdata[mod].obs_names).set_index(names)
        train = _blind({mod: truth[mod][masks[mod]] for mod in MODS}, self.batches, rng)
        query = _blind(truth, self.batches, rng) if self.score_all else None
        return Problem(train, query, truth, self.labels, self.rare_branch, self.batches)


def _blind(cells: dict[str, AnnData], batches: bool, rng: np.random.Generator) -> MuData:
    """Counts and prior alone, and batches if methods are to know them; rows of each modality in random order."""
    blind = {}
    for mod, adata in cells.items():
        rows = rng.permutation(adata.n_obs)
        var = adata.var.loc[:, adata.var.columns.isin(GENOME_COLUMNS)]
        blind[mod] = AnnData(sparse.csr_matrix(adata.X)[rows], pd.DataFrame(index=adata.obs_names[rows]), var)
        if batches:
            # Under names of the modality: that both have a batch of one name would tell which cells belong together.
            codes = adata.obs[BATCH].astype("category").cat.remove_unused_categories().cat.codes
            blind[mod].obs[BATCH] = pd.Categorical([f"{mod}_{code}" for code in codes.to_numpy()[rows]])
    blind["atac"].varm[PRIOR] = sparse.csr_matrix(cells["atac"].varm[PRIOR])
    blind["atac"].uns[PRIOR] = cells["atac"].uns[PRIOR]
    with columns_stay():
        return mudata.MuData(blind)


def all_cells(mdata: MuData, rng: np.random.Generator) -> dict[str, np.ndarray]:
    return {mod: np.ones(mdata[mod].n_obs, bool) for mod in MODS}


def unmatched_halves(mdata: MuData, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """RNA of a random half of the cells, ATAC of the others."""
    half = rng.permutation(mdata["rna"].n_obs) < mdata["rna"].n_obs // 2
    return {"rna": half, "atac": ~half}


def share_of(mod: str, share: float, mdata: MuData, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """A random share of the cells of one modality, all of the other."""
    return all_cells(mdata, rng) | {mod: rng.random(mdata[mod].n_obs) < share}


def unequal_branches(ratio: float, mdata: MuData, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Two branches at `ratio` to 1 in RNA and 1 to `ratio` in ATAC; the cells in both modalities are balanced."""
    first, second = mdata["rna"].obs["branch"].cat.categories
    kept = rng.random(mdata["rna"].n_obs) < 1 / ratio
    return {
        mod: (mdata[mod].obs["branch"] != smaller).to_numpy() | kept
        for mod, smaller in (("rna", second), ("atac", first))
    }


def without_branch(mod: str, branch: str, mdata: MuData, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """All cells, but one modality lacks a branch."""
    return all_cells(mdata, rng) | {mod: (mdata[mod].obs["branch"] != branch).to_numpy()}


def simulated(seed: int, *, first_seed: int = 0, **options) -> MuData:
    return simulate(random_state=first_seed + seed, **options)


def stored(path: Path, seed: int) -> MuData:
    if not path.exists():
        raise FileNotFoundError(f"{path.name} is not in the folder of data sets: set SCDART_DATA.")
    with columns_stay():
        return mudata.read_h5mu(path)


def random_cells(path: Path, n_cells: int, min_cells: int, seed: int) -> MuData:
    """Random cells of a file, with the peaks that are open in at least `min_cells` of them."""
    mdata = stored(path, seed)
    chosen = np.sort(np.random.default_rng(seed).choice(mdata["rna"].n_obs, n_cells, replace=False))
    rna, atac = (mdata[mod][chosen].copy() for mod in MODS)
    n_open = (atac.X > 0).sum(axis=0)
    atac = atac[:, np.asarray(n_open).ravel() >= min_cells]
    measured = np.all([adata.X.getnnz(axis=1) > 0 for adata in (rna, atac)], axis=0)
    with columns_stay():
        return mudata.MuData({"rna": rna[measured].copy(), "atac": atac[measured].copy()})


def random_cells_of_each(path: Path, n_cells: int, seed: int) -> MuData:
    """At most a number of random cells of each modality of a file, whose cells differ."""
    mdata, rng = stored(path, seed), np.random.default_rng(seed)
    chosen = {mod: np.sort(rng.permutation(mdata[mod].n_obs)[:n_cells]) for mod in MODS}
    with columns_stay():
        return mudata.MuData({mod: mdata[mod][rows].copy() for mod, rows in chosen.items()})

"""Sparse data of any size whose cells lie on a tree: what benchmarks of cost need, made in linear time and memory."""

from __future__ import annotations

import mudata
import numpy as np
import pandas as pd
import scipy.sparse as sp
from _components import columns_stay
from anndata import AnnData
from scipy.optimize import brentq

from scdart.model import PRESETS

N_GENES = 2_000
OPEN_SHARE = 0.02
EXPRESSED_SHARE = 0.2
#: Most peaks that cells of a file have open.
MOST_OPEN = 1_000

#: Programs of genes that follow one another along each of the three branches.
N_PROGRAMS = 8
CHUNK = 2_000
#: Bases from gene to gene, of which the first half are the gene and hold its peaks.
SPACING = 1_000_000
GENES_PER_CHROMOSOME = 200


def unpaired(
    n_cells: int, n_peaks: int, n_genes: int = N_GENES, seed: int = 0, *, open_share: float = OPEN_SHARE
) -> mudata.MuData:
    """Draw counts of `n_cells` RNA cells and as many other ATAC cells on a tree that branches once.

    On average, a cell has a share of the peaks open and expresses 20% of the genes. The peaks of a gene lie within it
    and follow its expression, so that a prior made from :func:`annotation` says which belong together.
    """
    rng = np.random.default_rng(seed)
    programs = _profiles(n_genes, rng)
    gene = np.sort(rng.integers(n_genes, size=n_peaks))
    accessible = programs[:, gene] * rng.gamma(1.0, size=n_peaks) + programs.mean() * rng.gamma(0.5, size=n_peaks)
    adatas = {}
    for mod, profiles, share, binary in (
        ("rna", programs, EXPRESSED_SHARE, False),
        ("atac", accessible, open_share, True),
    ):
        branch, time, activity = _places(n_cells, rng)
        counts = _draw(activity, profiles / profiles.sum(axis=1, keepdims=True), share, binary, rng)
        obs = pd.DataFrame({"pseudotime": time, "branch": branch}, index=[f"{mod}{i}" for i in range(n_cells)])
        adatas[mod] = AnnData(counts, obs=obs)
    adatas["rna"].var_names = gene_names(n_genes)
    place = annotation(n_genes).iloc[gene]
    start = place["start"].to_numpy() + 100 * (np.arange(n_peaks) - np.searchsorted(gene, gene))
    adatas["atac"].var_names = [
        f"{chrom}:{first}-{first + 100}" for chrom, first in zip(place["chrom"], start, strict=True)
    ]
    with columns_stay():
        return mudata.MuData(adatas)


def open_share(n_peaks: int) -> float:
    """Share of peaks that a cell of a file has open."""
    return min(OPEN_SHARE, MOST_OPEN / n_peaks)


def components(n_cells: int, n_components: int = 30, seed: int = 0) -> np.ndarray:
    """Draw components, such as a PCA gives, of cells on the same tree."""
    rng = np.random.default_rng(seed)
    *_, activity = _places(n_cells, rng)
    on_tree = activity @ rng.standard_normal((3 * N_PROGRAMS, n_components))
    return (on_tree + 0.1 * rng.standard_normal(on_tree.shape)).astype(np.float32)


def latent(branch: np.ndarray, time: np.ndarray, seed: int = 0, n_latent: int = 8) -> np.ndarray:
    """Place cells on the tree in as many dimensions as a latent space has, with some noise."""
    activity = program_activity(np.asarray(branch), np.asarray(time))
    places = activity @ np.random.default_rng(0).standard_normal((3 * N_PROGRAMS, n_latent))
    noise = 0.1 * np.random.default_rng(seed).standard_normal(places.shape)
    return (places + noise).astype(np.float32)


def made_up_targets(mdata: mudata.MuData, n_partners: int = 30, width: int = 128, seed: int = 0) -> None:
    """Write coordinates and anchors of the usual size, where it does not matter what they are."""
    rng = np.random.default_rng(seed)
    times = PRESETS["default"].t
    for adata in mdata.mod.values():
        adata.obsm["X_diffusion_coordinates"] = rng.random((adata.n_obs, width * len(times)), dtype=np.float32)
        adata.uns["diffusion_coordinates"] = {"t": np.array(times)}
    n_rna, n_atac = (adata.n_obs for adata in mdata.mod.values())
    partners = rng.integers(n_rna, size=(n_atac, n_partners))
    entries = np.ones(partners.size, np.float32), (partners.ravel(), n_rna + np.repeat(np.arange(n_atac), n_partners))
    mdata.obsp["anchors"] = sp.csr_matrix(entries, shape=(mdata.n_obs, mdata.n_obs))


def annotation(n_genes: int = N_GENES) -> pd.DataFrame:
    """Where the genes are."""
    number = np.arange(n_genes)
    start = SPACING * (1 + number % GENES_PER_CHROMOSOME)
    chromosome = [f"chr{1 + i}" for i in number // GENES_PER_CHROMOSOME]
    return pd.DataFrame(
        {"chrom": chromosome, "start": start, "end": start + SPACING // 2, "strand": "+", "name": gene_names(n_genes)}
    ).rename(columns={"name": "gene_name"})


def gene_names(n_genes: int) -> list[str]:
    return [f"gene{i}" for i in range(n_genes)]


def program_activity(branch: np.ndarray, time: np.ndarray) -> np.ndarray:
    """Weights of the programs, which sum to 1: those are active whose place on the tree is near the cell's.

    Branch 0 lasts from 0 to 1, where branches 1 and 2 begin, which last to 2.
    """
    place_branch, order = np.divmod(np.arange(3 * N_PROGRAMS), N_PROGRAMS)
    place = (order + 0.5) / N_PROGRAMS + (place_branch > 0)
    time = time[:, None]
    apart = (branch[:, None] != place_branch) & (branch[:, None] > 0) & (place_branch > 0)
    distance = np.where(apart, time + place - 2, np.abs(time - place))
    activity = np.exp(-0.5 * (distance * N_PROGRAMS / 1.5) ** 2)
    return activity / activity.sum(axis=1, keepdims=True)


def _places(n_cells: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Branches and times of cells anywhere on the tree, and how active the programs are in them."""
    branch, time = rng.integers(1, 3, size=n_cells), rng.uniform(0, 2, size=n_cells)
    branch = np.where(time < 1, 0, branch)
    return branch, time, program_activity(branch, time)


def _profiles(n_genes: int, rng: np.random.Generator) -> np.ndarray:
    """Expression of genes in each program: every gene has its level, and belongs more to some programs than others."""
    return rng.lognormal(sigma=1.0, size=n_genes) * rng.gamma(0.5, size=(3 * N_PROGRAMS, n_genes))


def _draw(
    activity: np.ndarray, profiles: np.ndarray, share: float, binary: bool, rng: np.random.Generator
) -> sp.csr_matrix:
    """Draw the features of cells one by one, each from one of the programs that are active in its cell."""
    n_cells, n_features = len(activity), profiles.shape[1]
    mean_profile = activity.mean(axis=0) @ profiles
    # Features that are drawn twice are not two: draw as many as leave the wanted share.
    n_draws = brentq(lambda n: -np.expm1(-n * mean_profile).mean() - share, 0, 1e3 * n_features)
    cumulative = np.cumsum(profiles, axis=1)
    chunks = []
    for start in range(0, n_cells, CHUNK):
        depth = n_draws * rng.lognormal(sigma=0.2, size=len(activity[start : start + CHUNK]))
        drawn = rng.poisson(depth[:, None] * activity[start : start + CHUNK])
        rows, columns = [], []
        for program in range(len(profiles)):
            rows.append(np.repeat(np.arange(len(drawn), dtype=np.int32), drawn[:, program]))
            position = rng.random(len(rows[-1])) * cumulative[program, -1]
            columns.append(np.searchsorted(cumulative[program], position).astype(np.int32))
        entries = np.concatenate(rows), np.concatenate(columns)
        counts = sp.csr_matrix((np.ones(len(entries[0]), np.float32), entries), shape=(len(drawn), n_features))
        counts.sum_duplicates()
        if binary:
            counts.data[:] = 1
        chunks.append(counts)
    return sp.vstack(chunks, format="csr")

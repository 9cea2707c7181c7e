"""Which peaks regulate which genes, and how much of it the coarse prior knows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import numpy as np
import pandas as pd
from scipy.sparse import coo_matrix, csr_matrix

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

LinkKind = Literal["consecutive", "random", "genomic"]

# The simulated genome, in base pairs: gene-rich, so that gene bodies with their promoters hold about half of the
# links and many peaks that are no links, as the prior does on real data.
_GENES_PER_CHROMOSOME: Final = 200
_GENE_SPACING: Final = 50_000
_GENE_LENGTH: Final = 15_000
_PEAK_WIDTH: Final = 500
_PROMOTER: Final = 2_000
_PROMOTER_ODDS: Final = 10.0
_CONTACT_DECAY: Final = 20_000


@dataclass(frozen=True)
class Links:
    """True links and the prior, with the features they connect."""

    weights: csr_matrix
    """Peaks x genes, signed; the absolute weights of a gene sum to 1, or to 0 where no peak regulates it."""
    prior: csr_matrix | None
    """Peaks x genes, 0/1; None where it follows from the positions of peaks and genes."""
    peaks: pd.DataFrame
    """Index: peak names; with ``link_kind="genomic"`` chrom, start and end."""
    genes: pd.DataFrame
    """Index: gene names; with ``link_kind="genomic"`` chrom, start, end and strand."""


def draw_links(
    n_genes: int,
    n_peaks: int,
    *,
    kind: LinkKind,
    links_per_gene: Sequence[float],
    negative_links: float,
    prior_precision: float,
    prior_recall: float,
    rng: np.random.Generator,
) -> Links:
    """Draw the links of every gene, and what the prior knows of them."""
    shares = np.asarray(links_per_gene) / np.sum(links_per_gene)
    n_links = rng.choice(len(shares), size=n_genes, p=shares)
    gene = np.repeat(np.arange(n_genes), n_links)
    genes = pd.DataFrame(index=pd.Index([f"gene{i}" for i in range(n_genes)]))
    peaks = pd.DataFrame(index=pd.Index([f"peak{i}" for i in range(n_peaks)]))

    closeness = np.ones(len(gene))
    if kind == "consecutive":
        first = rng.integers(0, n_peaks - n_links + 1)
        peak = np.concatenate([start + np.arange(k) for start, k in zip(first, n_links, strict=True)])
    elif kind == "random":
        peak = np.concatenate([rng.choice(n_peaks, size=k, replace=False) for k in n_links])
    else:
        genes, peaks = _draw_genome(n_genes, n_peaks, rng)
        gene, peak, closeness = _contacts(genes, peaks, n_links, rng)

    signs = np.where(rng.random(len(gene)) < negative_links, -1.0, 1.0)
    share = closeness / np.bincount(gene, weights=closeness, minlength=n_genes)[gene]
    weights = coo_matrix((signs * share, (peak, gene)), shape=(n_peaks, n_genes)).tocsr()
    positions_tell = kind == "genomic"
    prior = None if positions_tell else _flawed_copy(weights, precision=prior_precision, recall=prior_recall, rng=rng)
    return Links(weights, prior, peaks, genes)


def _flawed_copy(weights: csr_matrix, *, precision: float, recall: float, rng: np.random.Generator) -> csr_matrix:
    """0/1 matrix with the given share of the true links, and false links at random up to the given precision."""
    n_peaks, n_genes = weights.shape
    true = weights.tocoo()
    keep = rng.permutation(true.nnz)[: round(recall * true.nnz)]
    links = true.col[keep].astype(np.int64) * n_peaks + true.row[keep]
    if precision < 1:
        # False links avoid all true ones, the forgotten ones too.
        n_false = round(len(keep) * (1 - precision) / precision)
        if n_false + true.nnz > n_peaks * n_genes:
            raise ValueError(f"prior_precision={precision} needs {n_false} false links, more than there are")
        candidates = rng.choice(n_peaks * n_genes, size=n_false + true.nnz, replace=False)
        false = np.setdiff1d(candidates, true.col.astype(np.int64) * n_peaks + true.row)
        links = np.concatenate([links, rng.permutation(false)[:n_false]])
    ones = np.ones(len(links), dtype=np.float32)
    return coo_matrix((ones, (links % n_peaks, links // n_peaks)), shape=weights.shape).tocsr()


def _draw_genome(n_genes: int, n_peaks: int, rng: np.random.Generator) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Genes and peaks on chromosomes, sorted by position, peaks enriched at promoters."""
    chromosome, slot = np.divmod(np.arange(n_genes), _GENES_PER_CHROMOSOME)
    start = slot * _GENE_SPACING + rng.integers(_PROMOTER, _GENE_SPACING // 2, size=n_genes)
    length = np.clip(rng.lognormal(np.log(_GENE_LENGTH), 0.7, size=n_genes), 1_000, 5 * _GENE_LENGTH).astype(int)
    genes = pd.DataFrame(
        {
            "chrom": [f"chr{c + 1}" for c in chromosome],
            "start": start,
            "end": start + length,
            "strand": rng.choice(["+", "-"], size=n_genes),
        },
        index=pd.Index([f"gene{i}" for i in range(n_genes)]),
    )

    # A site can hold one peak; sites are numbered through all chromosomes, at least two for each peak.
    site_width = min(2 * _PEAK_WIDTH, n_genes * _GENE_SPACING // (2 * n_peaks))
    if site_width < _PEAK_WIDTH:
        raise ValueError(f"n_peaks={n_peaks} do not fit next to n_genes={n_genes} with link_kind='genomic'")
    sites_per_gene = _GENE_SPACING // site_width
    site_start = (np.arange(n_genes)[:, None] % _GENES_PER_CHROMOSOME) * _GENE_SPACING
    site_start = site_start + np.arange(sites_per_gene) * site_width
    is_promoter = np.abs(site_start - _tss(genes)[:, None]) < _PROMOTER
    odds = np.where(is_promoter, _PROMOTER_ODDS, 1.0).ravel()
    site = np.sort(rng.choice(odds.size, size=n_peaks, replace=False, p=odds / odds.sum()))
    chrom = genes["chrom"].to_numpy()[site // sites_per_gene]
    peak_start = site_start.ravel()[site]
    peaks = pd.DataFrame({"chrom": chrom, "start": peak_start, "end": peak_start + _PEAK_WIDTH})
    peaks.index = pd.Index([f"{c}:{s}-{s + _PEAK_WIDTH}" for c, s in zip(chrom, peak_start, strict=True)])
    return genes, peaks


def _tss(genes: pd.DataFrame) -> NDArray[np.int_]:
    return np.where(genes["strand"] == "+", genes["start"], genes["end"])


def _contacts(
    genes: pd.DataFrame, peaks: pd.DataFrame, n_links: NDArray[np.int_], rng: np.random.Generator
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float64]]:
    """Draw each gene's peaks from its chromosome, with odds that decay with the distance from its start site."""
    centre = ((peaks["start"] + peaks["end"]) // 2).to_numpy()
    on_chromosome = {c: np.asarray(rows) for c, rows in peaks.reset_index().groupby("chrom").indices.items()}
    tss, chromosome = _tss(genes), genes["chrom"].to_numpy()
    gene, peak, closeness = [], [], []
    for g in np.flatnonzero(n_links):
        near = on_chromosome.get(chromosome[g], np.empty(0, dtype=np.intp))
        log_odds = -np.abs(centre[near] - tss[g]) / _CONTACT_DECAY
        # The largest of log-odds + Gumbel noise are a draw without replacement with these odds.
        chosen = np.argsort(-(log_odds + rng.gumbel(size=len(near))))[: n_links[g]]
        gene.append(np.full(len(chosen), g))
        peak.append(near[chosen])
        closeness.append(np.exp(log_odds[chosen]))
    empty = [np.empty(0, dtype=np.intp)]
    return np.concatenate(gene + empty), np.concatenate(peak + empty), np.concatenate([*closeness, np.empty(0)])

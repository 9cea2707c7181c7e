"""Links of peaks to genes by where they lie on the genome."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import bioframe as bf
import numpy as np
import pandas as pd
import scipy.sparse as sp

from scdart._intervals import chromosome_key, without_version

from ._aliases import match_by_aliases

if TYPE_CHECKING:
    from ._domains import Domain

#: Links that decay below this weight are left out, which bounds the number of genes a peak can have.
_SMALLEST_WEIGHT: Final = 0.01


def match_genes(intervals: pd.DataFrame, genes: pd.Index, known: pd.DataFrame | None = None) -> pd.DataFrame:
    """Rows of an annotation that belong to `genes`, with the column `gene`: the position in `genes`.

    Names come before identifiers, and these before `known` other names, by which no gene gets what another has got.
    """
    wanted = pd.DataFrame({"key": without_version(genes.to_series()).to_numpy(), "gene": np.arange(len(genes))})
    found = [intervals.merge(wanted, left_on="name", right_on="key")]
    unnamed = wanted[~wanted["gene"].isin(found[0]["gene"])]
    found.append(intervals.merge(unnamed, left_on="id", right_on="key"))
    if known is not None:
        matched = pd.concat(found)
        free = intervals.loc[~intervals["name"].isin(matched["name"]), ["name", "id"]]
        annotated = pd.concat([free.assign(key=free[column])[["key", "name"]] for column in ("name", "id")])
        unknown = wanted[~wanted["gene"].isin(matched["gene"])].rename(columns={"gene": "wanted"})
        pairs = match_by_aliases(unknown, annotated, known).rename(columns={"wanted": "gene"})
        found.append(intervals.merge(pairs, on="name"))
    return pd.concat(found, ignore_index=True)


def gene_domains(genes: pd.DataFrame, domain: Domain) -> pd.DataFrame:
    """Where peaks count as a gene's: its body or its first base, extended as the gene is read (`.` is read as `+`)."""
    reverse = (genes["strand"] == "-").to_numpy()
    start, end = genes["start"].to_numpy(), genes["end"].to_numpy()
    if not domain.include_gene_body:
        start, end = np.where(reverse, end - 1, start), np.where(reverse, end, start + 1)
    sides = domain.upstream, domain.downstream
    before, after = np.where(reverse, *sides[::-1]), np.where(reverse, *sides)
    return pd.DataFrame(
        {"chrom": genes["chrom"], "start": np.maximum(start - before, 0), "end": end + after, "gene": genes["gene"]}
    )


def link_peaks(peaks: pd.DataFrame, genes: pd.DataFrame, domain: Domain, shape: tuple[int, int]) -> sp.csr_matrix:
    """Weights of peaks (rows) for genes (columns): 1 in a domain, and less with the distance to it under a decay."""
    domains, decay = gene_domains(genes, domain), domain.decay
    reach = 0 if decay is None else math.ceil(-decay * math.log(_SMALLEST_WEIGHT))
    pairs = bf.overlap(
        peaks.assign(chrom=chromosome_key(peaks["chrom"])),
        domains.assign(
            chrom=chromosome_key(domains["chrom"]), start=domains["start"] - reach, end=domains["end"] + reach
        ),
        how="inner",
        return_input=False,
        return_index=True,
    )
    peak, interval = (pairs[index].to_numpy(np.int64) for index in ("index", "index_"))
    if decay is None:
        weight = np.ones(len(peak), dtype=np.float32)
    else:
        gap_before = domains["start"].to_numpy()[interval] - peaks["end"].to_numpy()[peak]
        gap_after = peaks["start"].to_numpy()[peak] - domains["end"].to_numpy()[interval]
        weight = np.exp(-np.maximum(gap_before, gap_after).clip(min=0) / decay)
    links = pd.DataFrame({"peak": peak, "gene": domains["gene"].to_numpy()[interval], "weight": weight})
    # A peak can reach a gene through several of its intervals: the nearest counts.
    links = links.sort_values("weight").drop_duplicates(["peak", "gene"], keep="last")
    return sp.csr_matrix((links["weight"].to_numpy(np.float32), (links["peak"], links["gene"])), shape=shape)

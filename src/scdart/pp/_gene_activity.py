"""The gene-activity prior: which peaks may regulate which genes, from positions on the genome."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from scdart._constants import ATAC, GENE_ACTIVITY, RNA
from scdart._docs import fill_in_docs
from scdart._intervals import chromosome_key, peak_intervals
from scdart._options import check_options
from scdart._random import seed_of

from ._aliases import synonyms
from ._annotation import read_annotation
from ._domains import Domain, agreement_of_priors, best_of, domains_of
from ._features import accessibility, expression, modality_counts
from ._links import gene_domains, link_peaks, match_genes
from ._prior_slot import examples_of, prior_modalities, store_prior, warn_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from os import PathLike

    from mudata import MuData

    from ._domains import Domains


@fill_in_docs
def gene_activity(
    mdata: MuData,
    annotation: str | PathLike[str] | pd.DataFrame,
    *,
    upstream: int = 2000,
    downstream: int = 0,
    include_gene_body: bool = True,
    decay: float | None = None,
    domain: Domains | None = None,
    gene_name_key: str = "gene_name",
    gene_id_key: str = "gene_id",
    aliases: Mapping[str, str | Iterable[str]] | pd.Series | pd.DataFrame | None = None,
    atac_mod: str = ATAC,
    rna_mod: str = RNA,
    rna_layer: str | None = None,
    atac_layer: str | None = None,
    random_state: int | None = None,
    key_added: str = GENE_ACTIVITY,
    copy: bool = False,
) -> MuData | None:
    r"""Link peaks to genes by their positions: the prior of the gene-activity module.

    A peak is linked to every gene whose domain it overlaps by at least one base. The domain of a gene is its body with
    `upstream` bases before its start and `downstream` bases after its end, both as the gene is read: upstream of a gene
    on the minus strand is at larger coordinates.

    Parameters
    ----------
    mdata
        Annotated data with an RNA modality (features are genes) and an ATAC modality (features are peaks). Peak
        coordinates, 0-based and half-open as in BED, are taken from the columns `chrom`, `start` and `end` of the
        modality's `var`, or their usual synonyms (`chr`, `seqnames`, `chromStart`, ...). Without such columns they are
        parsed from names such as `chr1:100-200`, `chr1-100-200` or `chr1_100_200`.
    annotation
        Where genes are: a BED file (name in column 4; strand in column 6, or in column 5 if there is no score), a GTF
        or GFF3 file (rows of genes; of transcripts or exons where the file lists no genes), gzipped or not, or a table
        with the columns `chrom`, `start`, `end` (0-based, half-open), `strand` and `gene_name`, or their usual
        synonyms. A gene may occur several times: the links of all its intervals are joined.
    upstream
        Bases before the gene that belong to its domain.
    downstream
        Bases after the gene that belong to its domain.
    include_gene_body
        Whether the domain includes the gene body. If not, it is a window around the transcription start site: the first
        base of the gene with `upstream` bases before and `downstream` bases after it.
    decay
        Length in bases over which a link loses its weight. Peaks outside the domain are then linked too, with the
        weight :math:`e^{-d / \mathrm{decay}}`, where :math:`d` is the number of bases between peak and domain. Links
        of weight below 0.01, which are :math:`4.6 \cdot \mathrm{decay}` away, are left out. By default, links have
        weight 1 and end with the domain.
    domain
        Domains to choose from by the evidence of the data: a list of dictionaries of the four options above, or
        ``"auto"``, which tries what these say, 10 kb and 50 kb on either side, and a decay over 10 kb. Taken is the one
        whose links carry held-out genes across modalities best, as in :func:`scdart.pp.anchors`. It needs no labels.
    gene_name_key
        Attribute of the file or column of the table with the names of the genes. They are matched to the names of the
        RNA features, without the version of Ensembl identifiers. A GFF3 file without it is searched for `Name`, then
        `gene`.
    gene_id_key
        Attribute of the file or column of the table with the identifiers of the genes, or else `ID` of a GFF3 file. RNA
        features that match no name are matched to these.
    aliases
        Other names of genes, for RNA features that match neither name nor identifier: a mapping from a name to another
        or to several, in either direction, or a table whose rows hold the names of one gene each, several in one cell
        separated by `|`, such as the columns `symbol`, `alias_symbol` and `prev_symbol` of HGNC. What may be several
        genes of the annotation, or is another RNA feature's, is not used.
    %(atac_mod)s
    %(rna_mod)s
    rna_layer, atac_layer
        Layers with the counts by which domains are compared; `X` by default.
    random_state
        Seed of the cells and genes by which domains are compared; `None` takes `scvi.settings.seed`, or 0.
    %(key_added)s
    %(copy)s

    Returns
    -------
    %(written_prior)s
        `"params"`: how it was made.
        With several domains, `"agreement"`: table of them, with the mean correlation of held-out genes and its z.

    Raises
    ------
    KeyError
        A modality or a column is missing.
    TypeError
        `aliases` is neither mapping nor table.
    ValueError
        Peaks are not intervals, the annotation cannot be read, names are not unique, `mdata` is a view, or no peak can
        be linked to any gene.

    Notes
    -----
    scDART keeps one gene for each peak, the nearest, and leaves ties open :cite:p:`Zhang2022`. Here a peak in the
    domains of two genes is linked to both, since the module learns which of them it regulates. The decay is that of the
    gene scores of ArchR :cite:p:`Granja2021`, without their constant term.

    Example
    -------
    >>> import anndata as ad, mudata as md, numpy as np, pandas as pd, scdart
    >>> rna = ad.AnnData(np.ones((4, 2)), var=pd.DataFrame(index=["Sox2", "Pax6"]))
    >>> peaks = ["chr1:2500-3000", "chr1:6000-6500", "chr2:12500-13000"]
    >>> atac = ad.AnnData(np.ones((5, 3)), var=pd.DataFrame(index=peaks))
    >>> rna.obs_names, atac.obs_names = list("abcd"), list("efghi")
    >>> mdata = md.MuData({"rna": rna, "atac": atac})
    >>> genes = pd.DataFrame(
    ...     {
    ...         "chrom": ["chr1", "chr2"],
    ...         "start": [4000, 10000],
    ...         "end": [6000, 11000],
    ...         "strand": ["+", "-"],
    ...         "gene_name": ["Sox2", "Pax6"],
    ...     }
    ... )
    >>> scdart.pp.gene_activity(mdata, genes)
    >>> mdata["atac"].varm["gene_activity"].toarray()
    array([[1., 0.],
           [0., 0.],
           [0., 1.]], dtype=float32)
    """
    check_options(gene_activity, locals())
    rna, atac = prior_modalities(mdata, rna_mod, atac_mod, copy=copy)
    candidates = domains_of(domain, Domain(upstream, downstream, include_gene_body, decay))
    counts = {}
    if len(candidates) > 1:
        counts = {RNA: modality_counts(mdata, rna_mod, rna_layer), ATAC: modality_counts(mdata, atac_mod, atac_layer)}
    known = None if aliases is None else synonyms(aliases)
    peaks = peak_intervals(atac.var, f"mdata.mod[{atac_mod!r}].var")
    intervals = read_annotation(annotation, gene_name_key=gene_name_key, gene_id_key=gene_id_key)

    matched = match_genes(intervals, rna.var_names, known)
    linked = {one: link_peaks(peaks, matched, one, (atac.n_vars, rna.n_vars)) for one in candidates}
    located = chromosome_key(peaks["chrom"]).isin(chromosome_key(intervals["chrom"]).unique())
    useful = [one for one, prior in linked.items() if prior.nnz]
    if not useful:
        reason = _why_no_links(
            peaks, bool(located.any()), intervals, gene_domains(matched, candidates[0]), rna.var_names
        )
        raise ValueError(
            f"No peak of mdata.mod[{atac_mod!r}] can be linked to a gene of mdata.mod[{rna_mod!r}]: {reason}"
        )

    absent = rna.var_names.delete(matched["gene"].unique())
    warn_of(len(absent), rna.n_vars, f"genes of mdata.mod[{rna_mod!r}] are not in the annotation", absent)
    elsewhere = peaks.loc[~located, "chrom"]
    what = f"peaks of mdata.mod[{atac_mod!r}] are on chromosomes that are not in the annotation"
    warn_of(len(elsewhere), atac.n_vars, what, elsewhere.unique())
    if any(one.upstream != one.downstream or not one.include_gene_body for one in candidates):
        unstranded = matched.loc[matched["strand"] == ".", "name"]
        warn_of(
            len(unstranded), len(matched), "intervals of genes have no strand and are taken to be on '+'", unstranded
        )
    described: dict[str, Any] = {}
    best = useful[0]
    if len(useful) > 1:
        seen = expression(counts[RNA]), accessibility(counts[ATAC])
        scores = agreement_of_priors(*seen, [linked[one] for one in useful], seed_of(random_state))
        best = useful[best_of(useful, scores)]
        described["agreement"] = pd.DataFrame(
            [one.params | score._asdict() for one, score in zip(useful, scores, strict=True)]
        )
    described["params"] = best.params
    return store_prior(mdata, linked[best], rna.var_names, described, atac_mod, key_added, copy=copy)


def _why_no_links(
    peaks: pd.DataFrame, any_located: bool, intervals: pd.DataFrame, domains: pd.DataFrame, genes: pd.Index
) -> str:
    if domains.empty:
        annotated = pd.unique(intervals[["name", "id"]].head(3).to_numpy().ravel())
        return (
            f"none of the genes is in the annotation ({examples_of(genes)} against {examples_of(annotated)}). Use an "
            "annotation of the same species, and say with gene_name_key or gene_id_key where it names them, or with "
            "aliases what else they are called."
        )
    if not any_located:
        return (
            f"none of the chromosomes of the peaks is in the annotation ({examples_of(peaks['chrom'].unique())} "
            f"against {examples_of(intervals['chrom'].unique())}). Use an annotation with the same names of "
            "chromosomes."
        )
    return (
        f"no peak overlaps the domain of a gene ({examples_of(_region_names(peaks))} against "
        f"{examples_of(_region_names(domains))}). Use an annotation of the genome that the peaks were called on, or "
        "widen the domains with upstream, downstream or decay."
    )


def _region_names(intervals: pd.DataFrame) -> pd.Series:
    return intervals["chrom"] + ":" + intervals["start"].astype(str) + "-" + intervals["end"].astype(str)

"""The simulator: one call from a tree to a MuData with its whole truth."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import mudata
import numpy as np
import pandas as pd
from anndata import AnnData
from scipy.sparse import vstack

from scdart._constants import ATAC, RNA
from scdart._mudata import columns_stay
from scdart._options import check_options
from scdart._random import seed_of
from scdart.pp import gene_activity, set_gene_activity

from ._batches import Batches, compositions_of
from ._checks import check_arguments
from ._kinetics import Regulation, draw_effects
from ._links import draw_links
from ._noise import atac_counts, atac_signal, draw_batch_effects, draw_capture_efficiency, rna_counts
from ._population import draw_cells
from ._tree import NAMED_TREES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from ._distributions import FloatArray
    from ._kinetics import LinkNonlinearity
    from ._links import LinkKind
    from ._population import Cells

# Entries of a block of cells, and of the sample of cells that ranks are read off: 1,000 cells by default.
_BLOCK_ENTRIES: Final = 3_000_000
_RANK_SAMPLE_ENTRIES: Final = 3_000_000
_MIN_RANK_SAMPLE: Final = 500


def simulate(
    tree: str = "bifurcating",
    *,
    n_cells: int | tuple[int, int] = 1_000,
    n_genes: int = 1_000,
    n_peaks: int = 3_000,
    paired: bool = False,
    discrete: bool = False,
    proportions_rna: Sequence[float] | None = None,
    proportions_atac: Sequence[float] | None = None,
    rare_branch: Mapping[str, float] | None = None,
    n_evf: int = 12,
    n_de: int = 8,
    sigma: float = 0.3,
    static_genes: float = 0.0,
    links_per_gene: Sequence[float] = (0.01, 0.099, 0.891),
    link_kind: LinkKind = "consecutive",
    link_nonlinearity: LinkNonlinearity = "rank",
    negative_links: float = 0.0,
    atac_effect: float = 0.8,
    prior_precision: float = 1.0,
    prior_recall: float = 1.0,
    capture_efficiency: tuple[float, float] = (0.2, 0.05),
    sequencing_depth: float = 5e5,
    peak_capture: float = 0.3,
    peak_density: float = 0.1,
    n_batches_rna: int = 1,
    n_batches_atac: int = 1,
    batch_effect: float = 0.0,
    batch_proportions_rna: Sequence[Sequence[float]] | None = None,
    batch_proportions_atac: Sequence[Sequence[float]] | None = None,
    batch_depth_rna: Sequence[float] | None = None,
    batch_depth_atac: Sequence[float] | None = None,
    random_state: int | None = None,
) -> mudata.MuData:
    """Simulate RNA and ATAC counts of cells on a tree, with everything known that made them.

    The model is that of the scDART paper :cite:p:`Zhang2022`. Each cell has extrinsic factors, some of which diffuse
    along the tree. They open peaks and set the synthesis rates of genes; open peaks raise how often the promoters of
    their genes switch on. Transcripts are drawn from the two-state promoter, then both assays lose most of what there
    is.

    Parameters
    ----------
    tree
        `"linear"`, `"bifurcating"`, `"trifurcating"`, or a Newick string with branch lengths. Branch lengths are
        stretches of pseudotime and, unless said otherwise, shares of the cells. Branches are called
        `"<parent>_<child>"` by the numbers of their nodes: tips in reading order, then the root, then inner nodes.
    n_cells
        Cells of each modality; a pair gives the number of RNA and of ATAC cells.
    n_genes, n_peaks
        Number of features. The mean library size grows with the number of genes.
    paired
        Whether both modalities are measured in the same cells, which then have the same `obs_names`. If not, no cell
        is in both and all names are unique.
    discrete
        Whether cells form one population around each tip instead of lying along the branches. They have no pseudotime.
    proportions_rna, proportions_atac
        Shares of the modality's cells on each branch in reading order (on each tip if `discrete`), which sum to 1.
        With 0, the modality lacks the branch.
    rare_branch
        Shares of the cells, in both modalities, on the named branches; the others share the rest by their lengths.
    n_evf
        Extrinsic factors for each kinetic parameter.
    n_de
        How many of the factors of synthesis and accessibility follow the tree. With 0, nothing depends on it.
    sigma
        Standard deviation of the other factors, and of cells around their tip if `discrete`.
    static_genes
        Share of genes that no factor of the tree reaches, neither directly nor through their peaks.
    links_per_gene
        Shares of genes with 0, 1, 2, ... regulating peaks, which sum to 1.
    link_kind
        Which peaks a gene has: `"consecutive"` ones, `"random"` ones, or, on a simulated genome (`"genomic"`), such
        as are close to its start, with odds and weights that decay with the distance.
    link_nonlinearity
        What the peaks of a gene do together. `"rank"`: the weighted sum of their accessibility; `"threshold"`: of
        whether they are open; `"synergy"`: the sum times the number of open ones. Its rank over all cells and genes
        sets the rate, which is never linear.
    negative_links
        Share of links whose open peak closes the promoter.
    atac_effect
        Weight, between 0 and 1, of the peaks in the rate; the rest is noise of the gene itself.
    prior_precision, prior_recall
        Share of the prior's links that are true, and share of the true links that it holds. Not with
        `link_kind="genomic"`, where :func:`scdart.pp.gene_activity` makes the prior from the positions.
    capture_efficiency
        Mean and standard deviation over cells of the share of transcripts that is captured.
    sequencing_depth
        RNA reads of a cell. The default sees nearly all captured molecules.
    peak_capture
        Share of the copies of an open peak that is captured.
    peak_density
        Largest share of non-zero entries in the ATAC counts; the weakest are lost.
    n_batches_rna, n_batches_atac
        Batches of the modality, of equal size, to which cells belong at random.
    batch_effect
        Largest effect of a batch on a feature, as a log2 fold change. Effects are uniform.
    batch_proportions_rna, batch_proportions_atac
        For each batch of the modality, the shares of its cells on each branch as in `proportions_rna`: batches then
        differ in composition, and with 0, a batch lacks a branch. If `paired`, the batches of one modality must have as
        many cells of each branch as those of the other, all taken together; given for one modality alone, the cells
        are of the other's batches at random.
    batch_depth_rna, batch_depth_atac
        For each batch of the modality, a factor of the share of transcripts, or of copies of open peaks, that is
        captured. `peak_density` holds for all ATAC cells together, and a shallow batch loses most by it.
    random_state
        Seed; `None` takes `scvi.settings.seed`, or 0 where there is none. The same seed gives the same tree with any
        number or composition of cells, and the same cells with any noise.

    Returns
    -------
    MuData with the modalities `"rna"` and `"atac"`, raw counts in `X` (CSR, float32), and the truth:

    `rna.obs`, `atac.obs`
        `branch`; `pseudotime`, the distance from the root; `pair_id`, the number of the simulated cell, which is the
        same in both modalities only for the same cell; `batch`. RNA cells also have their `capture_efficiency`, in
        which the depth of their batch is included.
    `rna.obsm["tree_factors"]`, `atac.obsm["tree_factors"]`
        The factors that follow the tree, (n_cells, n_de).
    `rna.layers["true_expression"]`, `atac.obsm["true_expression"]`
        Expected number of transcripts of each gene in each cell before any measurement, (n_cells, n_genes), for ATAC
        cells too.
    `rna.var["dynamic"]`, `atac.var["dynamic"]`
        Whether a factor of the tree reaches the feature.
    `rna.var["highly_expressed"]`
        Genes whose promoter never closes.
    `atac.varm["links"]`
        True links as signed weights, sparse, (n_peaks, n_genes). Absolute weights of a gene sum to 1.
    `atac.varm["gene_activity"]`, `atac.uns["gene_activity"]`
        The prior, as written by :func:`scdart.pp.gene_activity`.
    `rna.var`, `atac.var` with `link_kind="genomic"`
        `chrom`, `start`, `end`, and for genes `strand`.
    `uns["simulation"]`
        The tree as Newick and the seed.

    Raises
    ------
    ValueError
        An argument is out of its range, the tree cannot be read, or two arguments contradict each other.

    Example
    -------
    >>> import scdart
    >>> mdata = scdart.datasets.simulate("bifurcating", n_cells=100, n_genes=200, n_peaks=400)
    >>> mdata["rna"].shape, mdata["atac"].shape, mdata.n_obs
    ((100, 200), (100, 400), 200)
    >>> mdata["rna"].obs["branch"].value_counts().to_dict()
    {'3_1': 67, '3_2': 33}
    """
    check_options(simulate, locals())
    arguments = dict(locals())
    n_rna, n_atac = check_arguments(arguments)
    seed = seed_of(random_state)
    # Separate streams: the tree stays the same with other cells, and the cells with other links or noise.
    rng_tree, rng_cells, rng_links, rng_law, rng_rna, rng_atac = np.random.default_rng(seed).spawn(6)

    composition = compositions_of(tree, {RNA: n_rna, ATAC: n_atac}, arguments)
    if paired:
        n_drawn, proportions = [n_rna], {"proportions_rna": proportions_rna}
        drawn = {"proportions_rna": composition[RNA] or composition[ATAC]}
    else:
        n_drawn = [n_rna, n_atac]
        proportions = {"proportions_rna": proportions_rna, "proportions_atac": proportions_atac}
        drawn = {"proportions_rna": composition[RNA], "proportions_atac": composition[ATAC]}
    proportions |= {name: one.shares for name, one in drawn.items() if one is not None}
    cells = draw_cells(
        tree,
        n_drawn,
        proportions=proportions,
        rare_branch=rare_branch,
        discrete=discrete,
        n_evf=n_evf,
        n_de=n_de,
        sigma=sigma,
        rng_tree=rng_tree,
        rng=rng_cells,
    )
    links = draw_links(
        n_genes,
        n_peaks,
        kind=link_kind,
        links_per_gene=links_per_gene,
        negative_links=negative_links,
        prior_precision=prior_precision,
        prior_recall=prior_recall,
        rng=rng_links,
    )
    n_sample = max(_MIN_RANK_SAMPLE, _RANK_SAMPLE_ENTRIES // max(n_genes, n_peaks))
    regulation = Regulation(
        draw_effects(links.weights, n_evf, n_de, static_genes, rng_law),
        links.weights,
        cells.factors[np.sort(rng_law.permutation(len(cells))[:n_sample])],
        atac_effect=atac_effect,
        nonlinearity=link_nonlinearity,
    )

    rna = _measure_rna(
        regulation,
        cells[:n_rna],
        links.genes,
        draw_capture_efficiency(n_rna, *capture_efficiency, rng_rna),
        sequencing_depth,
        Batches(draw_batch_effects(n_batches_rna, n_genes, batch_effect, rng_rna), composition[RNA], batch_depth_rna),
        rng_rna,
    )
    atac = _measure_atac(
        regulation,
        cells[:n_rna] if paired else cells[n_rna:],
        links.peaks,
        peak_capture,
        peak_density,
        Batches(
            draw_batch_effects(n_batches_atac, n_peaks, batch_effect, rng_atac), composition[ATAC], batch_depth_atac
        ),
        rng_atac,
    )
    dynamic_genes, dynamic_peaks = regulation.dynamic(n_de)
    rna.var["dynamic"], rna.var["highly_expressed"] = dynamic_genes, regulation.highly_expressed
    atac.var["dynamic"] = dynamic_peaks
    atac.varm["links"] = links.weights.astype(np.float32)
    with columns_stay():
        mdata = mudata.MuData({RNA: rna, ATAC: atac})
    mdata.uns["simulation"] = {"tree": NAMED_TREES.get(tree, tree), "random_state": seed}
    if links.prior is None:
        gene_activity(mdata, rna.var.assign(gene_name=rna.var_names))
    else:
        set_gene_activity(mdata, links.prior)
    return mdata


def _measure_rna(
    regulation: Regulation,
    cells: Cells,
    genes: pd.DataFrame,
    efficiency: FloatArray,
    sequencing_depth: float,
    batches: Batches,
    rng: np.random.Generator,
) -> AnnData:
    batch = batches.assign(cells.branch, rng)
    efficiency = np.minimum(efficiency * batches.depth_of(batch), 1)
    expected = np.empty((len(cells), len(genes)), dtype=np.float32)
    counts = []
    for block in _blocks(len(cells), regulation.n_features):
        factors = cells.factors[block]
        kinetics = regulation.kinetics(factors, regulation.accessibility(factors))
        expected[block] = kinetics.expected_expression
        seen = efficiency[block, None] * batches.effects[batch[block]]
        counts.append(rna_counts(kinetics, seen, sequencing_depth, rng))
    rna = AnnData(vstack(counts, format="csr"), obs=_obs(cells, RNA, batch), var=genes)
    rna.obs["capture_efficiency"] = efficiency
    rna.obsm["tree_factors"] = cells.tree_factors
    rna.layers["true_expression"] = expected
    return rna


def _measure_atac(
    regulation: Regulation,
    cells: Cells,
    peaks: pd.DataFrame,
    capture: float,
    density: float,
    batches: Batches,
    rng: np.random.Generator,
) -> AnnData:
    batch = batches.assign(cells.branch, rng)
    depth = batches.depth_of(batch)
    expected, signal = [], []
    for block in _blocks(len(cells), regulation.n_features):
        factors = cells.factors[block]
        accessibility = regulation.accessibility(factors)
        expected.append(regulation.kinetics(factors, accessibility).expected_expression.astype(np.float32))
        signal.append(atac_signal(accessibility, capture * depth[block], rng))
    counts = atac_counts(vstack(signal, format="csr"), batch, batches.effects, density)
    atac = AnnData(counts, obs=_obs(cells, ATAC, batch), var=peaks)
    atac.obsm["tree_factors"] = cells.tree_factors
    atac.obsm["true_expression"] = np.concatenate(expected)
    return atac


def _obs(cells: Cells, modality: str, batch: NDArray[np.intp]) -> pd.DataFrame:
    obs = pd.DataFrame(index=pd.Index([f"cell{i}" for i in cells.pair_id]))
    obs["branch"] = pd.Categorical(cells.branch)
    obs["pseudotime"] = cells.pseudotime
    obs["pair_id"] = cells.pair_id
    obs["batch"] = pd.Categorical([f"{modality}_{b}" for b in batch])
    return obs


def _blocks(n_cells: int, n_features: int) -> Iterator[slice]:
    size = max(1, _BLOCK_ENTRIES // n_features)
    for start in range(0, n_cells, size):
        yield slice(start, start + size)

"""Which peaks drive which genes, read from the trained gene-activity network."""

from __future__ import annotations

from functools import reduce
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd
import torch
from scipy.stats import false_discovery_control
from scvi.model.base import BaseModelClass

from scdart._constants import ATAC, RNA
from scdart._options import check_options
from scdart._random import seed_of
from scdart.data import registered_columns, registered_names

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scdart.module import GeneActivityNetwork, PublishedGeneActivityNetwork, SCDARTModule

#: Random pairs off the prior that a link is compared with.
_N_REFERENCE = 200_000

#: Peaks whose effects on all genes are written down at a time.
_BLOCK = 512


class _Effects(NamedTuple):
    """Linear effects of peaks on genes in the form of two thin factors, and what is usual for a peak and a gene."""

    peaks: np.ndarray
    genes: np.ndarray
    peak_scale: np.ndarray
    gene_scale: np.ndarray

    def of(self, peak: np.ndarray, gene: np.ndarray) -> np.ndarray:
        return np.einsum("ij,ij->i", self.peaks[peak], self.genes[gene])

    def relative(self, peak: np.ndarray, gene: np.ndarray) -> np.ndarray:
        effect, scale = self.of(peak, gene), self.peak_scale[peak] * self.gene_scale[gene]
        return np.divide(effect, scale, out=np.zeros_like(effect), where=scale > 0)


class LinksMixin(BaseModelClass):
    """Learned peak-gene links of a model with a gene-activity network."""

    module: SCDARTModule

    def get_peak_gene_links(
        self,
        *,
        genes: Sequence[str] | None = None,
        n_off_prior: int = 0,
        random_state: int | None = None,
        replicates: Sequence[LinksMixin] | None = None,
    ) -> pd.DataFrame:
        r"""Effects of peaks on genes that the gene-activity network has learned.

        Without activations, the layers that were fitted to expression make a matrix :math:`M` of effects, peaks x
        genes. (The path along the links of the prior, which stays near where the prior starts it, is left out.) Some
        peaks and genes have large effects with all others, those that follow the trajectory, so a link is judged by

        .. math:: z_{pg} = \frac{M_{pg}}{s_p\, s_g}, \qquad s_g^2 = \operatorname{mean}_p M_{pg}^2, \quad
                  s_p^2 = \operatorname{mean}_g \frac{M_{pg}^2}{s_g^2}

        and its p value is the share of random pairs off the prior, of peaks that are open, whose :math:`|z|` is as
        large: small if the peak and the gene go together more than is usual for either of them. Cells of one trajectory
        have most things in common, and the modalities were measured in different cells: a link means that peak and gene
        follow the same course, not that one was seen to cause the other.

        Parameters
        ----------
        genes
            Genes whose links are wanted; ``None`` means all.
        n_off_prior
            Number of pairs off the prior to list too, those of the largest :math:`|z|`. They are the reference of the
            p values, so that theirs only tells their rank, and they have no adjusted one.
        random_state
            Seed of the reference pairs; ``None`` takes ``scvi.settings.seed``, or 0 where there is none.
        replicates
            Further trainings of the model, see :meth:`scdart.model.SCDART.train_replicates`.

        Returns
        -------
        A row for each link of the prior, the largest :math:`|z|` first, with columns ``peak``, ``gene``, ``weight``
        (change of the gene's expression, in standard deviations, per unit of the cell's TF-IDF weights of unit
        length), ``z``, ``p_value``, ``p_adjusted`` (Benjamini-Hochberg over the links of the prior listed) and
        ``in_prior``. With replicates also ``z_spread``, the standard deviation of :math:`z` over all trainings.

        Raises
        ------
        KeyError
            If a gene is not one of the model's.
        ValueError
            If ``n_off_prior`` is negative.
        RuntimeError
            If the model has not been trained.

        Examples
        --------
        >>> import scdart
        >>> mdata = scdart.datasets.simulate("linear", n_cells=100, n_genes=50, n_peaks=150)
        >>> scdart.pp.diffusion_coordinates(mdata)
        >>> scdart.model.SCDART.setup_mudata(mdata)
        >>> model = scdart.model.SCDART(mdata)
        >>> model.train(max_epochs=1)
        >>> model.get_peak_gene_links().columns.to_list()
        ['peak', 'gene', 'weight', 'z', 'p_value', 'p_adjusted', 'in_prior']
        """
        check_options(LinksMixin.get_peak_gene_links, locals())
        self._check_if_trained(warn=False)
        peak_names, gene_names = (registered_names(self.registry, role) for role in (ATAC, RNA))
        wanted = registered_columns(self.registry, RNA, genes)

        network = self.module.gene_activity
        effects = self._effects()
        peak, gene = _prior_links(network)
        kept = np.isin(gene, wanted)
        links = _table(effects, peak[kept], gene[kept]).assign(in_prior=True)
        reference = np.sort(np.abs(_reference(effects, peak, gene, np.random.default_rng(seed_of(random_state)))))
        if n_off_prior:
            others = _strongest(effects, peak, gene, wanted, n_off_prior)
            links = pd.concat([links, _table(effects, *others).assign(in_prior=False)], ignore_index=True)
        n_larger = len(reference) - np.searchsorted(reference, links["z"].abs())
        links["p_value"] = (1 + n_larger) / (1 + len(reference))
        tested = links["in_prior"]
        links.loc[tested, "p_adjusted"] = false_discovery_control(links.loc[tested, "p_value"]) if tested.any() else []
        if replicates:
            pairs = links["peak"].to_numpy(), links["gene"].to_numpy()
            again = [model._effects().relative(*pairs) for model in replicates]
            links["z_spread"] = np.std([links["z"].to_numpy(), *again], axis=0)
        links["peak"], links["gene"] = peak_names[links["peak"]], gene_names[links["gene"]]
        links = links.sort_values("z", key=np.abs, ascending=False, kind="stable", ignore_index=True)
        columns = ["peak", "gene", "weight", "z", "p_value", "p_adjusted", "in_prior"]
        return links[[*columns, "z_spread"] if replicates else columns]

    def _effects(self) -> _Effects:
        weights = self.module.gene_activity.linear_weights()
        return _effects([weight.detach().cpu().double().numpy() for weight in weights])


def _effects(weights: list[np.ndarray]) -> _Effects:
    first, *others = weights
    peaks = first.T
    genes = reduce(lambda product, weight: weight @ product, others, np.eye(peaks.shape[1]))
    gene_scale = np.sqrt(np.einsum("gi,ij,gj->g", genes, peaks.T @ peaks / len(peaks), genes, optimize=True))
    scaled = np.divide(genes, gene_scale[:, None], out=np.zeros_like(genes), where=gene_scale[:, None] > 0)
    peak_scale = np.sqrt(np.einsum("pi,ij,pj->p", peaks, scaled.T @ scaled / len(genes), peaks, optimize=True))
    return _Effects(peaks, genes, peak_scale, gene_scale)


def _prior_links(
    network: GeneActivityNetwork | PublishedGeneActivityNetwork,
) -> tuple[np.ndarray, np.ndarray]:
    """Peak and gene of every link."""
    links = network.links
    peak, _ = links.of_peaks(torch.arange(links.n_peaks, device=links.genes.device))
    return peak.cpu().numpy(), links.genes.cpu().numpy()


def _table(effects: _Effects, peak: np.ndarray, gene: np.ndarray) -> pd.DataFrame:
    weight, z = effects.of(peak, gene), effects.relative(peak, gene)
    return pd.DataFrame({"peak": peak, "gene": gene, "weight": weight, "z": z})


def _reference(effects: _Effects, peak: np.ndarray, gene: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Relative effects of random pairs off the prior, of peaks and genes that have any."""
    random_peak, random_gene = (
        rng.choice(np.flatnonzero(scale > 0), _N_REFERENCE) if (scale > 0).any() else np.empty(0, dtype=np.int64)
        for scale in (effects.peak_scale, effects.gene_scale)
    )
    n_genes = len(effects.genes)
    off_prior = ~np.isin(random_peak * n_genes + random_gene, peak * n_genes + gene)
    return effects.relative(random_peak[off_prior], random_gene[off_prior])


def _strongest(
    effects: _Effects, peak: np.ndarray, gene: np.ndarray, wanted: np.ndarray, n: int
) -> tuple[np.ndarray, np.ndarray]:
    """Pairs off the prior with the largest relative effects on the wanted genes."""
    order = np.argsort(peak, kind="stable")
    best_pair, best_size = np.empty(0, dtype=np.int64), np.empty(0)
    for start in range(0, len(effects.peaks), _BLOCK):
        block = np.arange(start, min(start + _BLOCK, len(effects.peaks)))
        scale = effects.peak_scale[block, None] * effects.gene_scale
        size = np.abs(effects.peaks[block] @ effects.genes.T)
        size = np.divide(size, scale, out=np.zeros_like(size), where=scale > 0)
        inside = order[slice(*np.searchsorted(peak[order], [block[0], block[-1] + 1]))]
        size[peak[inside] - start, gene[inside]] = -1.0
        chosen = size[:, wanted].ravel()
        top = np.argpartition(-chosen, min(n, len(chosen)) - 1)[:n]
        row, column = np.divmod(top, len(wanted))
        best_pair = np.concatenate([best_pair, block[row] * len(effects.genes) + wanted[column]])
        best_size = np.concatenate([best_size, chosen[top]])
        top = np.argsort(-best_size, kind="stable")[:n]
        best_pair, best_size = best_pair[top], best_size[top]
    return np.divmod(best_pair[best_size >= 0], len(effects.genes))

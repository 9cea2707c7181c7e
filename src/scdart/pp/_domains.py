"""Which domain of a gene its peaks are looked for in: the one for which held-out genes agree best."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import numpy as np

from scdart._options import check_options
from scdart._process import one_blas_thread
from scdart._progress import parts

from ._agreement import Agreement, held_out_agreement
from ._anchor_settings import AnchorSettings
from ._correspondence import Evidence
from ._variants import Inference

if TYPE_CHECKING:
    import scipy.sparse as sp

    from ._correspondence import Coordinates

logger = logging.getLogger(__name__)

#: Domains as the user can name them.
Domains: TypeAlias = Literal["auto"] | Sequence[Mapping[str, Any]]

#: Cells of either modality on which domains are compared, and draws of them: weak signal varies from draw to draw.
_SCORED_CELLS, _N_DRAWS = 2000, 3


@dataclass(frozen=True)
class Domain:
    """Where peaks count as a gene's.

    Attributes
    ----------
    upstream, downstream
        Bases before and after the gene.
    include_gene_body
        Whether the gene body belongs to it, or only its first base.
    decay
        Length in bases over which links outside lose their weight; ``None`` makes none there.
    """

    upstream: int = 2000
    downstream: int = 0
    include_gene_body: bool = True
    decay: float | None = None

    def __post_init__(self) -> None:
        check_options(Domain, asdict(self))

    @property
    def params(self) -> dict[str, Any]:
        """What to keep of it."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    def __str__(self) -> str:
        return ", ".join(f"{name}={value}" for name, value in self.params.items())


#: What ``"auto"`` tries beside the domain of the other arguments.
AUTO: Final[tuple[dict[str, Any], ...]] = (
    {},
    {"upstream": 10_000, "downstream": 10_000},
    {"upstream": 50_000, "downstream": 50_000},
    {"decay": 10_000.0},
)


def domains_of(wanted: Domains | None, base: Domain) -> list[Domain]:
    """List the domains to try; what one does not say is as in `base`."""
    if wanted is None:
        return [base]
    if isinstance(wanted, str):
        if wanted != "auto":
            raise ValueError(f"domain={wanted!r} is not known: pass 'auto', or a list of domains.")
        wanted = AUTO
    if not wanted or not all(isinstance(one, Mapping) for one in wanted):
        raise ValueError(f"domain={wanted!r} is no list of domains: pass for example [{{'upstream': 10000}}, ...].")
    known = [field.name for field in fields(Domain)]
    for one in wanted:
        if unknown := sorted(set(one) - set(known)):
            raise ValueError(f"domain has {unknown}, which are no options of a domain: these are {known}.")
    return list(dict.fromkeys(replace(base, **one) for one in wanted))


def agreement_of_priors(
    expression: sp.csr_matrix, accessibility: sp.csr_matrix, priors: Sequence[sp.csr_matrix], random_state: int
) -> list[Agreement]:
    """Score priors by the agreement of held-out genes, each on the same cells, mean of several draws.

    Parameters
    ----------
    expression
        Log-normalised expression of shape (n_rna, n_genes).
    accessibility
        TF-IDF weights of shape (n_atac, n_peaks).
    priors
        Links of shape (n_peaks, n_genes).
    random_state
        Seed of the cells and of the halves.
    """
    settings = AnchorSettings(random_state=random_state, max_scored_cells=_SCORED_CELLS)

    def coordinates_from(part: Evidence, rng: np.random.Generator) -> list[Coordinates]:
        inference = Inference(part, settings, rng)
        return [variant.coordinates for variant in inference.variants(inference.draw_landmarks(), ["refined"])]

    scores = []
    with one_blas_thread(), parts("Domains", len(priors)) as begin:
        for prior in priors:
            begin(f"agreement of held-out genes with {prior.nnz:,} links")
            evidence = Evidence(expression, accessibility, prior)
            draws = [
                held_out_agreement(evidence, coordinates_from, settings, np.random.default_rng([random_state, draw]))
                for draw in range(_N_DRAWS)
            ]
            scores.append(Agreement(*np.mean([draw[0] for draw in draws], axis=0).tolist()))
    return scores


def best_of(domains: Sequence[Domain], scores: Sequence[Agreement]) -> int:
    """Take the domain of the best score, and say what the others have."""
    best = int(np.argmax([score.z for score in scores]))
    listed = "; ".join(f"{domain}: z = {score.z:.1f}" for domain, score in zip(domains, scores, strict=True))
    logger.info("Agreement of held-out genes by domain: %s. Taking %s.", listed, domains[best])
    return best

"""Components of cells, the same for every method, as scikit-learn pipelines that also take new cells.

Needs no scdart, so that it can be imported where only a peer is installed.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING

import mudata
import numpy as np
import scipy.sparse as sp
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.feature_extraction.text import TfidfTransformer
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import Binarizer, FunctionTransformer, Normalizer, StandardScaler, normalize

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from mudata import MuData

N_COMPONENTS = 30


def log_normalized(counts: sp.spmatrix, target_sum: float = 1e4) -> sp.csr_matrix:
    """log(1 + x) of counts scaled to a library of `target_sum`."""
    return (normalize(sp.csr_matrix(counts), norm="l1") * target_sum).log1p()


def library_size(counts: sp.spmatrix) -> float:
    """Median of the cells' counts."""
    return float(np.median(np.asarray(counts.sum(axis=1))))


def rna_components(n_components: int = N_COMPONENTS) -> Pipeline:
    """Counts to principal components of log-normalised expression."""
    return make_pipeline(_LOG_NORMALIZED, PCA(n_components, svd_solver="arpack", random_state=0))


def atac_components(n_components: int = N_COMPONENTS) -> Pipeline:
    """Counts to latent semantic indexing without its first component, which is the depth of the cell."""
    return make_pipeline(
        Binarizer(),
        _LOG_NORMALIZED,
        TfidfTransformer(norm=None),
        TruncatedSVD(n_components + 1, algorithm="arpack", random_state=0),
        FunctionTransformer(_without_first),
        Normalizer(),
    )


class SharedComponents:
    """Principal components of expression and of linear gene activity together, each z-scored gene by gene."""

    def __init__(self, train: MuData) -> None:
        counts = {"rna": train["rna"].X, "atac": gene_activity(train)}
        self._scaling = {mod: make_pipeline(_LOG_NORMALIZED, _DENSE, StandardScaler()) for mod in counts}
        scores = [self._scaling[mod].fit_transform(values) for mod, values in counts.items()]
        self._pca = PCA(N_COMPONENTS, svd_solver="arpack", random_state=0).fit(np.vstack(scores))

    def __call__(self, mdata: MuData, mod: str) -> np.ndarray:
        counts = mdata["rna"].X if mod == "rna" else gene_activity(mdata)
        return self._pca.transform(self._scaling[mod].transform(counts))


def gene_activity(mdata: MuData) -> sp.csr_matrix:
    """Linear gene activity: the counts of all peaks that the prior links to the gene."""
    return sp.csr_matrix(mdata["atac"].X @ mdata["atac"].varm["gene_activity"])


def columns_stay() -> AbstractContextManager:
    """Let a new MuData leave the columns of `obs` and `var` in its modalities, as mudata does from 0.4 on."""
    return mudata.set_options(pull_on_update=False) if hasattr(mudata, "set_options") else nullcontext()


def _without_first(components: np.ndarray) -> np.ndarray:
    return components[:, 1:]


_LOG_NORMALIZED = FunctionTransformer(log_normalized, accept_sparse=True)
_DENSE = FunctionTransformer(sp.csr_matrix.toarray, accept_sparse=True)

"""Linear prediction from sparse features, where no row's prediction has seen the row's own target."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from sklearn.linear_model import Ridge
from sklearn.model_selection import KFold

if TYPE_CHECKING:
    import scipy.sparse as sp

#: Penalty in units of the mean squared length of centred rows: independent of the number and the scale of features.
_PENALTY = 3.0

_N_FOLDS = 5

#: Accuracy of the solver, far below the error of the fit.
_TOLERANCE = 0.03


def cross_fitted_ridge(
    features: sp.csr_matrix, targets: np.ndarray, rows: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Predict targets by ridge regression that was fitted to other rows.

    Targets that are means over uncertain partners carry the noise of the rows that chose them. Cross-fitting keeps it
    out of the prediction, which only finds again what rows have in common.

    Parameters
    ----------
    features
        Shape (n_rows, n_features), never made dense.
    targets
        Targets of some of the rows, of shape (n_targeted, n_targets).
    rows
        The rows of `features` that have targets, of shape (n_targeted,).
    rng
        Source of the folds.

    Returns
    -------
    Predictions of shape (n_rows, n_targets): the mean over the models that were not fitted to the row.
    """
    mean = np.asarray(features.mean(axis=0)).ravel()
    spread = float(features.multiply(features).sum() / features.shape[0] - mean @ mean)
    others = np.setdiff1d(np.arange(features.shape[0]), rows)

    predicted = np.zeros((features.shape[0], targets.shape[1]))
    folds = KFold(min(_N_FOLDS, len(rows)), shuffle=True, random_state=int(rng.integers(2**31)))
    for train, test in folds.split(rows):
        model = Ridge(_PENALTY * spread, solver="sparse_cg", tol=_TOLERANCE)
        model.fit(features[rows[train]], targets[train])
        predicted[rows[test]] = model.predict(features[rows[test]])
        if len(others):
            predicted[others] += model.predict(features[others]) / folds.n_splits
    return predicted

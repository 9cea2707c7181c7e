"""How well predicted expression (gene activity) follows the measured one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp

from scdart._docs import fill_in_docs
from scdart._options import check_options

from ._checks import as_numbers, check_finite
from ._correlation import CorrelationMethod, check_method, correlate

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, Literal

    from numpy.typing import NDArray

    from ._checks import Matrix

_N_BLOCK_VALUES = 2**23


@fill_in_docs
def gene_correlation(predicted: Matrix, truth: Matrix, *, method: CorrelationMethod = "pearson") -> NDArray[np.float64]:
    r"""Correlation over the cells of predicted and true expression, for every gene.

    .. math::
        r_g = \operatorname{cor}_i(\hat x_{ig}, x_{ig})

    1 is perfect, 0 is random. Compare values on the same scale (log-normalised with log-normalised) for Pearson.

    Parameters
    ----------
    %(expression)s
    %(correlation)s

    Returns
    -------
    One correlation a gene, shape (genes,). **NaN marks the genes that are constant in either input**: average with
    ``numpy.nanmean`` and report how many were left out.

    Raises
    ------
    ValueError
        If the shapes differ, a value is NaN or infinite, there are fewer than two cells, or ``method`` is not known.

    %(scdart_paper)s

    Examples
    --------
    >>> import numpy as np
    >>> from scdart.metrics import gene_correlation
    >>> truth = np.array([[0.0, 5.0, 1.0], [1.0, 5.0, 2.0], [2.0, 5.0, 0.0]])
    >>> gene_correlation(truth * [2, 1, -1] + 3, truth).round(3)
    array([ 1., nan, -1.])
    """
    return _correlation(predicted, truth, method, over="cells")


@fill_in_docs
def cell_correlation(predicted: Matrix, truth: Matrix, *, method: CorrelationMethod = "pearson") -> NDArray[np.float64]:
    r"""Correlation over the genes of predicted and true expression, for every cell.

    .. math::
        r_i = \operatorname{cor}_g(\hat x_{ig}, x_{ig})

    1 is perfect. Genes differ in their mean, so predicting the same average profile for every cell already scores high:
    read this together with :func:`gene_correlation`.

    Parameters
    ----------
    %(expression)s
    %(correlation)s

    Returns
    -------
    One correlation a cell, shape (cells,). **NaN marks the cells that are constant in either input.**

    Raises
    ------
    ValueError
        If the shapes differ, a value is NaN or infinite, there are fewer than two genes, or ``method`` is not known.

    %(scdart_paper)s

    Examples
    --------
    >>> import numpy as np
    >>> from scdart.metrics import cell_correlation
    >>> truth = np.array([[0.0, 1.0, 2.0], [3.0, 1.0, 0.0]])
    >>> cell_correlation(truth**3, truth, method="spearman").round(3)
    array([1., 1.])
    """
    return _correlation(predicted, truth, method, over="genes")


@fill_in_docs
def expression_mse(predicted: Matrix, truth: Matrix, *, normalized: bool = False) -> float:
    r"""Mean squared error of predicted expression.

    .. math::
        \text{MSE} = \frac{1}{nG} \sum_{ig} (\hat x_{ig} - x_{ig})^2, \qquad
        \text{normalised MSE} = \frac{\sum_{ig} (\hat x_{ig} - x_{ig})^2}{\sum_{ig} (x_{ig} - \bar x_g)^2}

    with :math:`\bar x_g` the true mean of gene g: 0 is perfect, and the normalised error is 1 for predicting every
    gene's mean.

    Parameters
    ----------
    predicted
        Predicted expression, cells x genes, dense or sparse, in the units of ``truth``.
    truth
        True expression of the same cells and genes, cells x genes, dense or sparse.
    normalized
        Whether to divide by the variance of the truth around the genes' means.

    Returns
    -------
    The error; NaN if ``normalized`` and every gene of ``truth`` is constant.

    Raises
    ------
    ValueError
        If the shapes differ or a value is NaN or infinite.

    %(scdart_paper)s

    Examples
    --------
    >>> import numpy as np
    >>> from scdart.metrics import expression_mse
    >>> truth = np.array([[0.0, 1.0], [2.0, 5.0]])
    >>> expression_mse(truth + 1, truth)
    1.0
    >>> expression_mse(np.tile(truth.mean(axis=0), (2, 1)), truth, normalized=True)
    1.0
    """
    check_options(expression_mse, locals())
    inferred, true = _check_expression(predicted, truth)
    error = variance = 0.0
    for _, a, b in _column_blocks(inferred, true):
        error += ((a - b) ** 2).sum()
        variance += ((b - b.mean(axis=0)) ** 2).sum()
    if not normalized:
        return float(error / np.prod(true.shape))
    return float(error / variance) if variance > 0 else float("nan")


def _check_expression(predicted: Matrix, truth: Matrix) -> tuple[Any, Any]:
    matrices = []
    for name, matrix in (("predicted", predicted), ("truth", truth)):
        values: Any = sp.csr_array(matrix) if sp.issparse(matrix) else as_numbers(np.asarray(matrix), name)
        if values.ndim != 2 or 0 in values.shape:
            raise ValueError(f"`{name}` must be a non-empty 2-D matrix, cells x genes; its shape is {values.shape}.")
        check_finite(values.data if sp.issparse(values) else values, name)
        matrices.append(values)
    if matrices[0].shape != matrices[1].shape:
        raise ValueError(
            f"`predicted` is {matrices[0].shape} and `truth` {matrices[1].shape}, cells x genes: both must hold "
            "the same cells and genes in the same order."
        )
    return matrices[0], matrices[1]


def _correlation(
    predicted: Matrix, truth: Matrix, method: CorrelationMethod, *, over: Literal["cells", "genes"]
) -> NDArray[np.float64]:
    check_method(method)
    a, b = _check_expression(predicted, truth)
    if over == "genes":
        a, b = a.T, b.T
    if a.shape[0] < 2:
        raise ValueError(
            f"`predicted` and `truth` have {a.shape[0]} {over}: at least two are needed for a correlation."
        )
    r = np.empty(a.shape[1])
    for columns, block_a, block_b in _column_blocks(a, b):
        r[columns] = correlate(block_a, block_b, method)
    return r


def _column_blocks(a: Any, b: Any) -> Iterator[tuple[slice, NDArray[np.float64], NDArray[np.float64]]]:
    """Yield blocks of columns of both matrices, dense, of a bounded number of values."""
    a, b = (sp.csc_array(matrix) if sp.issparse(matrix) else matrix for matrix in (a, b))
    n_columns = max(1, _N_BLOCK_VALUES // a.shape[0])
    for start in range(0, a.shape[1], n_columns):
        columns = slice(start, start + n_columns)
        yield columns, _dense(a[:, columns]), _dense(b[:, columns])


def _dense(block: Any) -> NDArray[np.float64]:
    return np.asarray(block.toarray() if sp.issparse(block) else block, dtype=np.float64)

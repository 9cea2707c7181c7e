"""How well learned peak-gene links recover known ones; all matrices stay sparse."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp
from sklearn.metrics import average_precision_score

from scdart._docs import fill_in_docs

from ._checks import as_numbers, check_finite

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ._checks import Matrix


@fill_in_docs
def link_auprc(
    predicted: Matrix,
    truth: Matrix,
    *,
    candidates: Matrix | None = None,
) -> float:
    r"""Area under the precision-recall curve of peak-gene links ranked by their strength.

    The average precision

    .. math::
        \sum_n (R_n - R_{n-1}) P_n

    over the thresholds n of :math:`|w|`, with recall R and precision P of the known links. A strong negative weight is
    a strong link. Pairs without a stored value have strength 0 and tie in the last place; they are counted, never
    stored. 1 is perfect; a random ranking scores the share of known links among the pairs.

    Parameters
    ----------
    predicted
        Weights of the inferred links, peaks x genes, dense or sparse.
    truth
        Known links, peaks x genes, dense or sparse; any value other than 0 is a link.
    candidates
        Pairs to rank, peaks x genes, such as the gene-activity prior; any value other than 0 is a candidate. By default
        all pairs. Known links outside it are left out.

    %(from_0_to_1)s

    Raises
    ------
    ValueError
        If the shapes differ, a value is NaN or infinite, or the pairs are all links or hold no link.

    References
    ----------
    Davis and Goadrich (2006), The relationship between precision-recall and ROC curves, ICML,
    doi:10.1145/1143844.1143874.

    Examples
    --------
    >>> import numpy as np
    >>> from scdart.metrics import link_auprc
    >>> truth = np.array([[1, 0, 0], [0, 0, 1]])
    >>> link_auprc([[-0.9, 0.0, 0.1], [0.0, 0.2, 0.5]], truth)
    1.0
    """
    (weight_pairs, weights), (link_pairs, _), n_pairs = _check_links(predicted, truth)
    if candidates is not None:
        candidate_pairs, _ = _stored(candidates, "candidates", np.shape(truth))
        ranked = np.isin(weight_pairs, candidate_pairs)
        weight_pairs, weights = weight_pairs[ranked], weights[ranked]
        link_pairs = np.intersect1d(link_pairs, candidate_pairs)
        n_pairs = len(candidate_pairs)
    if not 0 < len(link_pairs) < n_pairs:
        raise ValueError(
            f"{len(link_pairs)} of {n_pairs} pairs of `truth` are links: there must be links and pairs that are none."
        )
    is_link = np.isin(weight_pairs, link_pairs)
    n_missed = len(link_pairs) - is_link.sum()
    n_rest = n_pairs - len(weight_pairs) - n_missed
    # Two weighted samples of strength 0 stand for all pairs without a weight.
    return float(
        average_precision_score(
            np.append(is_link, [True, False]),
            np.append(np.abs(weights), [0, 0]),
            sample_weight=np.append(np.ones(len(weights)), [n_missed, n_rest]),
        )
    )


@fill_in_docs
def gact_error(predicted: Matrix, truth: Matrix) -> float:
    r"""Share of peak-gene pairs on which an inferred gene-activity (GACT) matrix and the true one disagree.

    .. math::
        \frac{|A \oplus B|}{n_\text{peaks} \, n_\text{genes}}

    with A and B the sets of inferred and true links. 0 is perfect. Links are rare: inferring none already scores the
    share of true links, and that is the value to compare with.

    Parameters
    ----------
    predicted
        Inferred links, peaks x genes, dense or sparse; any value other than 0 is a link.
    truth
        True links, peaks x genes, dense or sparse; any value other than 0 is a link.

    %(from_0_to_1)s

    Raises
    ------
    ValueError
        If the shapes differ or a value is NaN or infinite.

    %(scdart_paper)s

    Examples
    --------
    >>> from scdart.metrics import gact_error
    >>> gact_error([[1, 0], [0, 1]], [[1, 1], [0, 1]])
    0.25
    """
    (inferred, _), (true, _), n_pairs = _check_links(predicted, truth)
    return len(np.setxor1d(inferred, true, assume_unique=True)) / n_pairs


def _check_links(
    predicted: Matrix, truth: Matrix
) -> tuple[tuple[NDArray[np.int64], NDArray], tuple[NDArray[np.int64], NDArray], int]:
    shape = np.shape(predicted)
    if len(shape) != 2 or 0 in shape:
        raise ValueError(f"`predicted` must be a non-empty 2-D matrix, peaks x genes; its shape is {shape}.")
    return _stored(predicted, "predicted", shape), _stored(truth, "truth", shape), int(np.prod(shape, dtype=np.int64))


def _stored(matrix: Matrix, name: str, shape: tuple[int, ...]) -> tuple[NDArray[np.int64], NDArray]:
    """Return the non-zero pairs of a matrix as flat positions, and their values."""
    if np.shape(matrix) != shape:
        raise ValueError(
            f"`{name}` is {np.shape(matrix)}, not {shape}, peaks x genes: all must hold the same peaks and genes."
        )
    entries = sp.csr_array(matrix if sp.issparse(matrix) else as_numbers(np.asarray(matrix), name))
    entries.sum_duplicates()
    entries = entries.tocoo()
    check_finite(entries.data, name)
    stored = entries.data != 0
    row, column = (axis[stored].astype(np.int64) for axis in entries.coords)
    return row * shape[1] + column, entries.data[stored]

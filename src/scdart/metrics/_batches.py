"""How well the batches of a modality mix in the latent space, where their cells are of one kind."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from scdart._docs import fill_in_docs
from scdart._neighbors import nearest
from scdart._options import check_options

from ._checks import check_count, check_labels, check_matrix
from ._mixing import ilisi, neighbors_of_same_label
from ._scib import import_scib

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import ArrayLike, NDArray


@fill_in_docs
def batch_mixing(z: ArrayLike, batch: ArrayLike, labels: ArrayLike | None = None, *, k: int = 30) -> float:
    r"""Share of a cell's neighbours that are of other batches, over what is expected of their numbers.

    With :math:`x_i` the number of cells of other batches among the k nearest neighbours of cell i, and :math:`n_b` of
    the n cells in batch b, one of B,

    .. math::
        \frac{1}{B} \sum_b \frac{1}{n_b} \sum_{i \in b} \frac{x_i}{k} \Big/ \frac{n - n_b}{n - 1} .

    0 is full separation, 1 the mixing expected by chance. Batches count alike, whatever their size.

    Batches that differ in composition are expected to separate as their cells do. With labels, cells are therefore
    compared with those of their own label alone, and the label in which batches mix least counts.

    Parameters
    ----------
    %(z_of_batches)s
    %(labels_of_batches)s
    k
        Number of neighbours, the cell itself left out.

    Returns
    -------
    The ratio; with labels, its least value. Memory is linear in the cells, and time nearly so in up to 15 dimensions.

    %(raises_of_batches)s

    Examples
    --------
    >>> import numpy as np
    >>> from scdart.metrics import batch_mixing
    >>> z = np.random.default_rng(0).normal(size=(400, 4))
    >>> donor = np.repeat(["one", "two"], 200)
    >>> round(batch_mixing(z, donor), 1)
    1.0
    >>> z[:200] += 100
    >>> batch_mixing(z, donor)
    0.0

    What one donor lacks does not count:

    >>> stage = np.repeat(["early", "early", "late"], [200, 100, 100])
    >>> z[:200] -= 100
    >>> z[stage == "late"] += 100
    >>> round(batch_mixing(z, donor), 1), round(batch_mixing(z, donor, stage), 1)
    (0.7, 1.0)
    """
    check_options(batch_mixing, locals())
    return min(_mixing(*group, k) for group in _comparable(z, batch, labels, k))


@fill_in_docs
def batch_kbet(z: ArrayLike, batch: ArrayLike, labels: ArrayLike | None = None, *, k: int = 50) -> float:
    r"""Share of cells around which batches are as frequent as among all cells: the acceptance rate of kBET.

    With :math:`o_b` of the k nearest neighbours of a cell in batch b, where :math:`e_b` are expected by the share that
    the batch has in all cells, a cell is accepted if :math:`\sum_b (o_b - e_b)^2 / e_b` is below the 95% quantile of
    the :math:`\chi^2` distribution with one degree of freedom less than there are batches. Computed by scib-metrics.

    0 is full separation. Where batches mix by chance, 0.95 is expected.

    Parameters
    ----------
    %(z_of_batches)s
    %(labels_of_batches)s
    k
        Number of neighbours, the cell itself left out.

    %(from_0_to_1)s

    %(raises_of_batches)s
    %(needs_scib)s

    References
    ----------
    Buettner et al. (2019), A test metric for assessing single-cell RNA-seq batch correction, Nature Methods 16:43,
    doi:10.1038/s41592-018-0254-1.

    Examples
    --------
    >>> import numpy as np
    >>> from scdart.metrics import batch_kbet
    >>> z = np.random.default_rng(0).normal(size=(400, 4))
    >>> donor = np.repeat(["one", "two"], 200)
    >>> batch_kbet(z, donor) > 0.9
    True
    >>> batch_kbet(z + 100 * (donor == "one")[:, None], donor)
    0.0
    """
    check_options(batch_kbet, locals())
    accepted, n_cells = 0.0, 0
    for cells, codes in _comparable(z, batch, labels, k):
        found = nearest(cells, n_neighbors=k, algorithm="auto")
        neighbors = import_scib("scib_metrics.nearest_neighbors").NeighborsResults(**found._asdict())
        accepted += float(import_scib().kbet(neighbors, codes)[0]) * len(cells)
        n_cells += len(cells)
    return accepted / n_cells


@fill_in_docs
def batch_ilisi(z: ArrayLike, batch: ArrayLike, *, k: int = 90) -> float:
    r"""Integration LISI of batches: the effective number of batches around a cell, scaled.

    What :func:`modality_mixing` is for two modalities, for B batches: with :math:`p_i(b)` the share of batch b among
    the neighbours of cell i, weighted by a Gaussian of perplexity k / 3,

    .. math::
        \frac{1}{B - 1} \left( \operatorname{median}_i \frac{1}{\sum_b p_i(b)^2} - 1 \right) .

    0 is full separation, 1 an even mix of all batches, which those of unequal size or composition cannot reach.

    Parameters
    ----------
    %(z_of_batches)s
    k
        Number of neighbours, the cell itself included, as in scib-metrics; at least 6 (a perplexity of 2).

    %(from_0_to_1)s

    Raises
    ------
    ValueError
        If lengths do not fit, a value is NaN or infinite, a batch is missing, there is a single batch, or ``k`` is out
        of range.
    %(needs_scib)s

    References
    ----------
    See :func:`modality_mixing`.

    Examples
    --------
    >>> import numpy as np
    >>> from scdart.metrics import batch_ilisi
    >>> z = np.random.default_rng(0).normal(size=(400, 4))
    >>> donor = np.repeat(["one", "two"], 200)
    >>> batch_ilisi(z, donor) > 0.8
    True
    >>> batch_ilisi(z + 100 * (donor == "one")[:, None], donor)
    0.0
    """
    check_options(batch_ilisi, locals())
    values = check_matrix(z, "z")
    of_cells = check_labels(batch, "batch", n_cells=len(values), min_classes=2)
    return ilisi(values, of_cells, k)


def _comparable(
    z: ArrayLike, batch: ArrayLike, labels: ArrayLike | None, k: int
) -> Iterator[tuple[NDArray[np.float64], NDArray[np.intp]]]:
    """Coordinates and codes of batches of cells that should mix: of each label with several batches, and k others."""
    values = check_matrix(z, "z")
    of_cells = check_labels(batch, "batch", n_cells=len(values), min_classes=2)
    codes = np.unique(of_cells, return_inverse=True)[1]
    if labels is None:
        check_count(k, "k", maximum=len(values) - 1, of="the other cells")
        yield values, codes
        return
    check_count(k, "k")
    kind = check_labels(labels, "labels", n_cells=len(values))
    n_compared = 0
    for label in np.unique(kind):
        is_of_kind = kind == label
        if is_of_kind.sum() > k and len(np.unique(codes[is_of_kind])) > 1:
            n_compared += 1
            yield values[is_of_kind], np.unique(codes[is_of_kind], return_inverse=True)[1]
    if not n_compared:
        raise ValueError(
            f"No class of `labels` has cells of several batches, and more than k={k} of them: choose a smaller `k`, or "
            "leave `labels` out."
        )


def _mixing(z: NDArray[np.float64], codes: NDArray[np.intp], k: int) -> float:
    n, sizes = len(z), np.bincount(codes)
    of_others = 1 - neighbors_of_same_label(z, codes, k) / k
    return float(np.mean(np.bincount(codes, of_others) / sizes / ((n - sizes) / (n - 1))))

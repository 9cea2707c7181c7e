"""Average silhouette widths: cell types apart, modalities together."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from scdart._docs import fill_in_docs
from scdart._options import check_options

from ._checks import check_labels, check_matrix
from ._scib import import_scib

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


@fill_in_docs
def silhouette_label(z: ArrayLike, labels: ArrayLike, *, rescale: bool = True) -> float:
    r"""Average silhouette width (ASW) of cell types or branches: how well the labels are apart.

    With a the mean distance of cell i to the cells of its own label and b the smallest mean distance to those of
    another,

    .. math::
        s = \frac{1}{n} \sum_i \frac{b_i - a_i}{\max(a_i, b_i)}, \qquad \text{ASW} = (s + 1) / 2.

    1 is the best, 0.5 (s = 0) is random. Computed by scib-metrics, in blocks.

    Parameters
    ----------
    z
        Latent coordinates, cells x dimensions.
    labels
        Cell type or branch of every cell.
    rescale
        Whether to map the silhouette from [-1, 1] to [0, 1], as scIB does.

    Returns
    -------
    The average silhouette width. Memory is linear in the cells, time quadratic.

    Raises
    ------
    ValueError
        If the lengths differ, a value is NaN, a label is missing, or there is a single class or only classes of one
        cell.
    %(needs_scib)s

    References
    ----------
    Rousseeuw (1987), Silhouettes, Journal of Computational and Applied Mathematics 20:53,
    doi:10.1016/0377-0427(87)90125-7; Luecken et al. (2022), Benchmarking atlas-level data integration in single-cell
    genomics, Nature Methods 19:41, doi:10.1038/s41592-021-01336-8.

    Examples
    --------
    >>> from scdart.metrics import silhouette_label
    >>> z = [[0.0], [1.0], [100.0], [101.0]]
    >>> round(silhouette_label(z, ["stem", "stem", "tip", "tip"]), 1)
    1.0
    """
    check_options(silhouette_label, locals())
    latent = check_matrix(z, "z")
    classes = check_labels(labels, "labels", n_cells=len(latent), min_classes=2)
    if len(np.unique(classes)) == len(latent):
        raise ValueError("Every cell of `labels` is a class of its own: a silhouette needs classes of several cells.")
    return float(import_scib().silhouette_label(latent, classes, rescale=rescale))


@fill_in_docs
def silhouette_batch(z: ArrayLike, batch: ArrayLike, *, labels: ArrayLike | None = None, rescale: bool = True) -> float:
    r"""Average silhouette width of batches or modalities within each label: how well they mix.

    With s the silhouette of cell i with respect to its batch (see :func:`silhouette_label`) among the
    :math:`C_l` cells of its label,

    .. math::
        \frac{1}{L} \sum_l \frac{1}{|C_l|} \sum_{i \in C_l} \bigl(1 - |s_i|\bigr).

    1 is the best. Labels found in one batch only say nothing about mixing and are left out. Computed by scib-metrics,
    in blocks.

    Parameters
    ----------
    z
        Latent coordinates of all cells of all batches, cells x dimensions.
    batch
        Batch or modality of every cell.
    labels
        Cell type or branch of every cell; by default all cells count as one.
    rescale
        Whether to return the mean of :math:`1 - |s|` (high is mixed) rather than of :math:`|s|` (low is mixed).

    Returns
    -------
    The score, between 0 and 1. Memory is linear in the cells, time quadratic.

    Raises
    ------
    ValueError
        If the lengths differ, a value is NaN, a label is missing, or no label has cells of two batches.
    %(needs_scib)s

    References
    ----------
    Luecken et al. (2022), Benchmarking atlas-level data integration in single-cell genomics, Nature Methods 19:41,
    doi:10.1038/s41592-021-01336-8.

    Examples
    --------
    >>> import numpy as np
    >>> from scdart.metrics import silhouette_batch
    >>> z = np.random.default_rng(0).normal(size=(400, 4))
    >>> round(silhouette_batch(z, np.tile(["rna", "atac"], 200)), 1)
    1.0
    """
    check_options(silhouette_batch, locals())
    latent = check_matrix(z, "z")
    batches = check_labels(batch, "batch", n_cells=len(latent), min_classes=2)
    if labels is None:
        classes = np.zeros(len(latent), dtype=np.intp)
    else:
        classes = check_labels(labels, "labels", n_cells=len(latent))
    if not any(
        1 < len(np.unique(batches[classes == label])) < (classes == label).sum() for label in np.unique(classes)
    ):
        raise ValueError("No class of `labels` has several cells in more than one `batch`: mixing cannot be measured.")
    return float(import_scib().silhouette_batch(latent, classes, batches, rescale=rescale))

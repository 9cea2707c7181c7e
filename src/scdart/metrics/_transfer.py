"""How well labels of one modality carry over to the other through the latent space."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from sklearn.metrics import accuracy_score, recall_score
from sklearn.neighbors import KNeighborsClassifier

from scdart._options import check_options

from ._checks import check_clouds, check_count, check_labels

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


class LabelTransfer(NamedTuple):
    """Scores of transferred labels."""

    #: Share of query cells that received their own label.
    accuracy: float
    #: Mean over the classes of the query of the share of their cells that received their own label.
    balanced_accuracy: float


def label_transfer(
    z_ref: ArrayLike, labels_ref: ArrayLike, z_query: ArrayLike, labels_query: ArrayLike, *, k: int = 10
) -> LabelTransfer:
    r"""Accuracy of labels given to query cells by a vote of their k nearest reference cells.

    With :math:`\hat l_i` the most frequent label among the k reference cells nearest to query cell i,

    .. math::
        \text{accuracy} = \frac{1}{n} \sum_i \mathbb{1}[\hat l_i = l_i], \qquad
        \text{balanced accuracy} = \frac{1}{C} \sum_c \frac{|\{i: l_i = c, \hat l_i = c\}|}{|\{i: l_i = c\}|}.

    1 is perfect; at random, the balanced accuracy is about one over the number of classes. A query class that the
    reference lacks counts as wrong.

    Parameters
    ----------
    z_ref
        Latent coordinates of the cells whose labels are known, reference cells x dimensions.
    labels_ref
        Their labels, one a cell.
    z_query
        Latent coordinates of the cells to label, query cells x dimensions.
    labels_query
        True labels of the query cells, one a cell.
    k
        Number of reference cells that vote.

    Returns
    -------
    The accuracy and the balanced accuracy.

    Raises
    ------
    ValueError
        If lengths or dimensions do not fit, a value is NaN, a label is missing, the reference has a single class, or
        ``k`` exceeds the reference.

    References
    ----------
    Stuart et al. (2019), Comprehensive integration of single-cell data, Cell 177:1888,
    doi:10.1016/j.cell.2019.05.031; Brodersen et al. (2010), The balanced accuracy and its posterior distribution,
    ICPR, doi:10.1109/ICPR.2010.764.

    Examples
    --------
    >>> from scdart.metrics import label_transfer
    >>> label_transfer([[0.0], [1.0]], ["HSC", "MEP"], [[0.1], [0.2], [0.3], [0.2]], ["HSC", "HSC", "HSC", "MEP"], k=1)
    LabelTransfer(accuracy=0.75, balanced_accuracy=0.5)
    """
    check_options(label_transfer, locals())
    ref, query = check_clouds(z_ref, z_query, ("z_ref", "z_query"))
    truth_ref = check_labels(labels_ref, "labels_ref", n_cells=len(ref), min_classes=2)
    truth = check_labels(labels_query, "labels_query", n_cells=len(query))
    if np.issubdtype(truth_ref.dtype, np.number) != np.issubdtype(truth.dtype, np.number):
        raise ValueError("`labels_ref` and `labels_query` are texts and numbers: pass labels of one type.")
    check_count(k, "k", maximum=len(ref), of="the reference cells")
    predicted = KNeighborsClassifier(n_neighbors=k).fit(ref, truth_ref).predict(query)
    return LabelTransfer(
        accuracy=float(accuracy_score(truth, predicted)),
        # Recall over the classes of the query: balanced_accuracy_score warns when a class is only predicted.
        balanced_accuracy=float(recall_score(truth, predicted, labels=np.unique(truth), average="macro")),
    )

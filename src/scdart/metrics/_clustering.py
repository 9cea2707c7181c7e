"""Agreement of clusters with labels, and of the clusters of the two modalities with each other."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

from scdart._docs import fill_in_docs
from scdart._options import check_options
from scdart._random import seed_of

from ._checks import check_count, check_labels, check_mates, check_matrix, check_same_length

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


class ClusteringAgreement(NamedTuple):
    """Agreement of two partitions of the same cells."""

    #: Normalised mutual information (arithmetic mean of the entropies), 0 to 1.
    nmi: float
    #: Adjusted Rand index, 0 at random, 1 for the same partition.
    ari: float


@fill_in_docs
def nmi_ari(predicted: ArrayLike, truth: ArrayLike) -> ClusteringAgreement:
    r"""Normalised mutual information and adjusted Rand index of clusters and true labels.

    .. math::
        \text{NMI} = \frac{2\,I(P; T)}{H(P) + H(T)}, \qquad
        \text{ARI} = \frac{\text{RI} - E[\text{RI}]}{\max \text{RI} - E[\text{RI}]}

    Parameters
    ----------
    predicted
        Cluster of every cell.
    truth
        True label of every cell.

    %(nmi_and_ari)s

    Raises
    ------
    ValueError
        If the lengths differ, a label is missing, or ``truth`` has a single class.

    References
    ----------
    Hubert and Arabie (1985), Comparing partitions, Journal of Classification 2:193, doi:10.1007/BF01908075; Luecken et
    al. (2022), Nature Methods 19:41, doi:10.1038/s41592-021-01336-8.

    Examples
    --------
    >>> from scdart.metrics import nmi_ari
    >>> nmi_ari([0, 0, 1, 1], ["HSC", "HSC", "MEP", "MEP"])
    ClusteringAgreement(nmi=1.0, ari=1.0)
    """
    clusters = check_labels(predicted, "predicted")
    labels = check_labels(truth, "truth", min_classes=2)
    check_same_length(clusters, labels, ("predicted", "truth"))
    return _agreement(clusters, labels)


@fill_in_docs
def nmi_ari_kmeans(z: ArrayLike, truth: ArrayLike, *, random_state: int | None = None) -> ClusteringAgreement:
    """NMI and ARI of true labels and k-means clusters of the latent space, as many as there are labels.

    See :func:`nmi_ari` for the two scores.

    Parameters
    ----------
    z
        Latent coordinates, cells x dimensions.
    truth
        True label of every cell.
    %(kmeans_seed)s

    %(nmi_and_ari)s

    Raises
    ------
    ValueError
        If the lengths differ, a value is NaN, a label is missing, or ``truth`` has a single class.

    References
    ----------
    Luecken et al. (2022), Benchmarking atlas-level data integration in single-cell genomics, Nature Methods 19:41,
    doi:10.1038/s41592-021-01336-8; k-means in place of Louvain as in scib-metrics.

    Examples
    --------
    >>> from scdart.metrics import nmi_ari_kmeans
    >>> nmi_ari_kmeans([[0.0], [0.1], [5.0], [5.1]], ["stem", "stem", "tip", "tip"])
    ClusteringAgreement(nmi=1.0, ari=1.0)
    """
    check_options(nmi_ari_kmeans, locals())
    latent = check_matrix(z, "z")
    labels = check_labels(truth, "truth", n_cells=len(latent), min_classes=2)
    return _agreement(_kmeans(latent, len(np.unique(labels)), random_state), labels)


@fill_in_docs
def cluster_consistency(
    z_rna: ArrayLike, z_atac: ArrayLike, *, n_clusters: int = 5, random_state: int | None = None
) -> ClusteringAgreement:
    """NMI and ARI of the k-means clusters found in each modality alone, over the same cells.

    Each modality's latent coordinates are clustered separately; the two partitions of the cells are then compared. See
    :func:`nmi_ari` for the two scores. A shift between the modalities does not lower them: this measures whether they
    see the same structure, not whether they are aligned.

    Parameters
    ----------
    %(z_of_mates)s
    n_clusters
        Number of clusters in each modality.
    %(kmeans_seed)s

    %(nmi_and_ari)s

    Raises
    ------
    ValueError
        If the shapes differ, a value is NaN or infinite, or ``n_clusters`` is below 2 or above the number of cells.

    %(scdart_paper)s

    Examples
    --------
    >>> import numpy as np
    >>> from scdart.metrics import cluster_consistency
    >>> z = np.repeat([[0.0], [10.0], [30.0]], 20, axis=0) + np.random.default_rng(0).normal(size=(60, 1))
    >>> cluster_consistency(z, -z, n_clusters=3)
    ClusteringAgreement(nmi=1.0, ari=1.0)
    """
    check_options(cluster_consistency, locals())
    rna, atac = check_mates(z_rna, z_atac)
    check_count(n_clusters, "n_clusters", minimum=2, maximum=len(rna), of="the cells")
    return _agreement(_kmeans(rna, n_clusters, random_state), _kmeans(atac, n_clusters, random_state))


def _kmeans(z: NDArray, n_clusters: int, random_state: int | None) -> NDArray[np.int32]:
    return KMeans(n_clusters, n_init=10, random_state=seed_of(random_state)).fit_predict(z)


def _agreement(a: NDArray, b: NDArray) -> ClusteringAgreement:
    return ClusteringAgreement(nmi=float(normalized_mutual_info_score(a, b)), ari=float(adjusted_rand_score(a, b)))

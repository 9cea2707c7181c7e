"""Diffusion coordinates: vectors for cells whose distances are diffusion distances."""

from __future__ import annotations

import logging
import warnings
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import LinearOperator, aslinearoperator
from sklearn.decomposition import PCA
from sklearn.preprocessing import normalize

from scdart._batches import stored_effects
from scdart._checks import check_modalities, check_writable
from scdart._constants import ATAC, DIFFUSION_COORDINATES, RNA
from scdart._docs import fill_in_docs
from scdart._mudata import own_copy
from scdart._options import check_options
from scdart._origins import MADE_FROM, origin_of_coordinates
from scdart._process import one_blas_thread
from scdart._progress import parts
from scdart._random import seed_of

from ._batch_factors import ensure_factors
from ._features import accessibility, expression, lsi, modality_counts, pca
from ._kernel import alpha_decay_kernel
from ._principal import principal_coordinates

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import scipy.sparse as sp
    from mudata import MuData

logger = logging.getLogger(__name__)

#: Relative error of the distances of a block that is not worth another component: half of what is promised.
_TOLERANCE = 5e-5

#: Numbers in one block beyond which the number of components is limited, and the limit for many cells.
_MAX_BLOCK_SIZE = 1_000_000
_MAX_COMPONENTS = 128

#: Numbers in the matrix of potentials beyond which landmarks are sampled, and their number for many cells.
_MAX_POTENTIALS = 10_000_000
_MIN_LANDMARKS = 500

#: Added to transition probabilities before their logarithm, as in PHATE and in the authors' software.
_POTENTIAL_EPS = 1e-7


@fill_in_docs
def diffusion_coordinates(
    mdata: MuData,
    *,
    t: Sequence[int] = (0, 0, 0, 0, 5),
    n_neighbors: int = 5,
    n_components: int | None = None,
    potential: bool = False,
    n_pcs: int = 30,
    rna_mod: str = RNA,
    atac_mod: str = ATAC,
    rna_layer: str | None = None,
    atac_layer: str | None = None,
    use_rep: Mapping[str, str] | None = None,
    batch_key: str | None = None,
    key_added: str = DIFFUSION_COORDINATES,
    random_state: int | None = None,
    copy: bool = False,
) -> MuData | None:
    r"""Give the cells of each modality coordinates whose distances are diffusion distances.

    A random walk on the graph of a modality's cells goes from cell i to cell j in t steps with the probability
    :math:`(T^t)_{ij}`. The diffusion distance of two cells is the Euclidean distance of their rows of :math:`T^t`: it
    follows the trajectory, along which the walk goes, and not the noise around it. The rows are never written down;
    short vectors take their place.

    Parameters
    ----------
    mdata
        Annotated data with an RNA and an ATAC modality. Their cells may be the same or not.
    t
        Numbers of steps. Each gives one block of coordinates. 0 stands for no diffusion: the distances of the features
        themselves, which keep the details that walks of even 5 steps forget. A number that is given twice counts
        twice in the average over them, by a block of twice the scale. The paper takes 30, 50 and 70.
    n_neighbors
        Neighbour of a cell, itself not counted, whose distance is the bandwidth of the kernel around it.
    n_components
        Columns of a block. By default, as many as hold the distances of every block with a relative error of at most
        1e-4, but no more than a million divided by the number of cells, or 128 if that is more: the shorter t, the more
        components there are, and the limit binds for t = 5 from about 1,600 cells on. What it leaves out are the
        finest details of the graph; see `explained` below.
    potential
        Whether to take the rows of :math:`-\log(T^t + 10^{-7})` instead of those of :math:`T^t`: the potential distance
        of PHATE, which sees differences of small probabilities, and so of far cells. It is exact up to 3,162 cells;
        beyond, it is estimated from a random sample of the columns (at 6,000 cells with an error of 1-2%).
    n_pcs
        Principal components of log-normalised RNA, and components of ATAC's latent semantic indexing, of which the
        first, sequencing depth, is dropped.
    %(rna_mod)s
    %(atac_mod)s
    rna_layer
        Layer of the RNA modality with counts; `None` takes `X`.
    atac_layer
        Layer of the ATAC modality with counts, which are binarised; `None` takes `X`.
    use_rep
        Components to use instead of those from counts: names of slots in `obsm` by modality, such as
        `{"rna": "X_pca"}`.
    %(batch_key)s
    %(key_added)s
    random_state
        Seed of start vectors, approximate neighbours, sketches and landmarks; `None` takes `scvi.settings.seed`, or 0
        where there is none.
    %(copy)s

    Returns
    -------
    `None`, or the copy with `copy=True`. Written to both modalities:

    `obsm["X_" + key_added]`
        Coordinates of shape (n_cells, n_components * number of different t), float32: the columns of the first t,
        then those of the second, and so on. In each block, the root mean square distance of two cells is 1; where some
        t are given several times, it is the share of all t that the block stands for, times the number of blocks.
    `uns[key_added]`
        `"t"` and `"repeats"` (each number once, and how often it was given), `"n_components"` (columns of a block),
        `"potential"`, `"n_neighbors"`, `"n_pcs"` or `"use_rep"`, `"explained"`: for each t, the estimated share of
        the cells' squared distances that its block holds, and `"made_from"`: slot, shape, names and a checksum of the
        counts or components. Coordinates that were made from others are not used.

    Raises
    ------
    KeyError
        A modality, layer or slot is missing.
    ValueError
        Counts or components are not finite, counts are negative, a cell has no counts, there are no more cells than
        `n_neighbors`, a number is out of its range, or `mdata` is a view.

    Notes
    -----
    Neighbours are exact up to 50,000 cells and approximate beyond. Cost then grows as :math:`n \log n`.

    If the graph falls into several components, there is a warning. Distances within each remain as they are; walks do
    not cross, and distances between components say only how far the walks have spread in each.

    Cells with `n_neighbors` or more duplicates take the distance to the nearest other cell for their bandwidth. Cells
    of the same features have the same coordinates.

    References
    ----------
    Zhang, Yang & Zhang (2022), Genome Biology 23:139. Coifman & Lafon (2006), Applied and Computational Harmonic
    Analysis 21:5. Moon et al. (2019), Nature Biotechnology 37:1482.

    Example
    -------
    >>> import anndata as ad, mudata as md, numpy as np, scdart
    >>> rng = np.random.default_rng(0)
    >>> time = np.linspace(0, 1, 60)[:, None]
    >>> rate = 5 * np.exp(-((time - np.linspace(0, 1, 40)) ** 2) / 0.1)
    >>> rna, atac = (ad.AnnData(rng.poisson(scale * rate).astype("float32")) for scale in (1, 0.3))
    >>> mdata = md.MuData({"rna": rna, "atac": atac})
    >>> scdart.pp.diffusion_coordinates(mdata, t=(5, 10), n_components=4, n_pcs=5)
    >>> mdata["rna"].obsm["X_diffusion_coordinates"].shape
    (60, 8)
    """
    check_options(diffusion_coordinates, locals())
    times = np.atleast_1d(t).tolist()
    layers = {rna_mod: rna_layer, atac_mod: atac_layer}
    check_modalities(mdata, rna_mod=rna_mod, atac_mod=atac_mod)
    check_writable(mdata, copy=copy)
    reps = dict(use_rep or {})
    if not reps.keys() <= layers.keys():
        raise KeyError(f"use_rep names {list(reps)}: its keys must be among the modalities {list(layers)}")
    inputs: dict[str, Any] = {
        mod: _representation(mdata, mod, reps[mod]) if mod in reps else modality_counts(mdata, mod, layer)
        for mod, layer in layers.items()
    }
    for mod, values in inputs.items():
        if values.shape[0] <= n_neighbors:
            raise ValueError(
                f"mdata.mod[{mod!r}] has {values.shape[0]} cells, not more than n_neighbors={n_neighbors}: take fewer "
                "neighbours."
            )

    seed = seed_of(random_state)
    target = own_copy(mdata) if copy else mdata
    if batch_key is not None:
        ensure_factors(target, batch_key, rna_mod, atac_mod, rna_layer, atac_layer, seed)
    effects = {mod: stored_effects(target, mod, batch_key) for mod in layers}
    written = {}
    with one_blas_thread(), parts("Diffusion coordinates", 3 * len(inputs)) as begin:
        for mod, values in inputs.items():
            begin(f"components of {values.shape[0]:,} cells of {mod}")
            if mod in reps:
                features = values
            elif mod == rna_mod:
                features = pca(expression(values, effects[mod]), n_pcs, random_state=seed)
            else:
                features = lsi(accessibility(values, effects[mod]), n_pcs, random_state=seed)
            begin(f"graph of {mod}")
            transitions = _transitions(features, n_neighbors, seed, mod)
            begin(f"coordinates of {mod}")
            coordinates, description = _coordinates(features, transitions, times, n_components, potential, seed, mod)
            source: dict[str, Any] = {"use_rep": reps[mod]} if mod in reps else {"n_pcs": n_pcs}
            if batch_key is not None:
                source["batch_key"] = batch_key
            made_from = origin_of_coordinates(target.mod[mod], source, layers[mod], mod, batch_key)
            written[mod] = (
                coordinates,
                {
                    **description,
                    "n_neighbors": n_neighbors,
                    **source,
                    MADE_FROM: made_from,
                },
            )

    for mod, (coordinates, description) in written.items():
        target.mod[mod].obsm[f"X_{key_added}"] = coordinates
        target.mod[mod].uns[key_added] = description
    return target if copy else None


def _representation(mdata: MuData, mod: str, key: str) -> np.ndarray:
    slot = f"mdata.mod[{mod!r}].obsm[{key!r}]"
    if key not in mdata.mod[mod].obsm:
        raise KeyError(f"{slot} does not exist: obsm has {list(mdata.mod[mod].obsm)}")
    features = np.asarray(mdata.mod[mod].obsm[key])
    invalid = ~np.isfinite(features)
    if invalid.any():
        raise ValueError(f"{slot} holds NaN or infinite values in {invalid.any(axis=1).sum():,} cells: remove them.")
    return features


def _transitions(features: np.ndarray, n_neighbors: int, seed: int, mod: str) -> sp.csr_matrix:
    """Transition matrix T of the walk on the graph of cells; says so where the graph is not connected."""
    kernel = alpha_decay_kernel(features, n_neighbors, random_state=seed)
    n_parts, part = connected_components(kernel, directed=False)
    if n_parts > 1:
        sizes = np.sort(np.bincount(part))[::-1]
        warnings.warn(
            f"The graph of the cells of mdata.mod[{mod!r}] has {n_parts} components that are not connected, of "
            f"{', '.join(f'{size:,}' for size in sizes[:5])}{', ...' if n_parts > 5 else ''} cells. Distances between "
            "them do not tell how far they are apart: increase n_neighbors, or remove what belongs to no trajectory.",
            UserWarning,
            stacklevel=3,
        )
    return normalize(kernel, norm="l1")


def _coordinates(
    features: np.ndarray,
    transitions: sp.csr_matrix,
    times: list[int],
    n_components: int | None,
    potential: bool,
    seed: int,
    mod: str,
) -> tuple[np.ndarray, dict[str, Any]]:
    """Blocks of coordinates side by side, and what ``uns`` tells about them."""
    n_cells = transitions.shape[0]
    if n_components is None:
        limit = min(n_cells, max(_MAX_COMPONENTS, _MAX_BLOCK_SIZE // n_cells))
    else:
        limit = min(n_components, n_cells - 1)
        if limit < n_components:
            warnings.warn(
                f"The {n_cells} cells of mdata.mod[{mod!r}] have {limit} diffusion coordinates, not {n_components}: "
                f"taking {limit}.",
                UserWarning,
                stacklevel=3,
            )
    rng = np.random.default_rng(seed)
    blocks, explained, n_kept = {}, {}, 1 if n_components is None else limit
    walked = [steps for steps in times if steps > 0]
    rows = _potential_rows(transitions, walked, rng) if potential else _transition_rows(transitions, walked)
    if 0 in times:
        axes = PCA(min(limit, *features.shape))
        blocks[0] = _unit_distances(axes.fit_transform(features.astype(np.float64))).astype(np.float32)
        explained[0] = float(axes.explained_variance_ratio_.sum())
        n_kept = max(n_kept, blocks[0].shape[1])
    for steps, matrix in rows:
        block = principal_coordinates(matrix, limit, _TOLERANCE, rng)
        if n_components is None:
            n_kept = max(n_kept, block.n_needed)
        blocks[steps] = _unit_distances(block.coordinates).astype(np.float32)
        explained[steps] = block.explained
        if not block.coordinates.any():
            warnings.warn(
                f"After t={steps} steps the walk on the graph of mdata.mod[{mod!r}] has forgotten where it began: all "
                "distances are 0. Take a shorter t.",
                UserWarning,
                stacklevel=3,
            )

    # In blocks of the same width a reader needs to know nothing but their number, and if their scale tells how often
    # they count, the mean distance over the blocks is that over all t.
    counts = Counter(times)
    filled = np.zeros((n_cells, len(counts), n_kept), dtype=np.float32)
    for position, (steps, count) in enumerate(counts.items()):
        kept = _unit_distances(blocks[steps][:, :n_kept])
        filled[:, position, : kept.shape[1]] = kept * (count / len(times) * len(counts))
    shares = [explained[steps] for steps in counts]
    logger.info(
        "%s: %s diffusion coordinates for each t hold %s of the squared distances",
        *(mod, n_kept, ", ".join(f"{share:.4g} (t={steps})" for steps, share in zip(counts, shares, strict=True))),
    )
    description = {
        "t": np.array(list(counts)),
        "repeats": np.array(list(counts.values())),
        "n_components": n_kept,
        "potential": potential,
        "explained": np.array(shares),
    }
    return filled.reshape(n_cells, -1), description


def _transition_rows(transitions: sp.csr_matrix, times: list[int]) -> Iterator[tuple[int, LinearOperator]]:
    r"""For each t, :math:`T^t` as an operator: never formed, since it is dense."""
    transposed = transitions.T.tocsr()
    for steps in sorted(set(times)):
        forth, back = partial(_walk, transitions, steps), partial(_walk, transposed, steps)
        products = {"matvec": forth, "rmatvec": back, "matmat": forth, "rmatmat": back}
        yield steps, LinearOperator(transitions.shape, dtype=transitions.dtype, **products)


def _potential_rows(
    transitions: sp.csr_matrix, times: list[int], rng: np.random.Generator
) -> Iterator[tuple[int, LinearOperator]]:
    r"""For each t, the columns of :math:`-\log(T^t + \epsilon)` that belong to landmarks: all, or a random sample."""
    n_cells = transitions.shape[0]
    n_landmarks = min(n_cells, max(_MIN_LANDMARKS, _MAX_POTENTIALS // n_cells))
    landmarks = np.sort(rng.choice(n_cells, n_landmarks, replace=False))
    transitions = transitions.astype(np.float32)
    columns = np.zeros((n_cells, n_landmarks), dtype=np.float32)
    columns[landmarks, np.arange(n_landmarks)] = 1
    taken = 0
    for steps in sorted(set(times)):
        columns = _walk(transitions, steps - taken, columns)
        taken = steps
        yield steps, aslinearoperator(-np.log(columns.astype(np.float64) + _POTENTIAL_EPS))


def _walk(transitions: sp.csr_matrix, steps: int, values: np.ndarray) -> np.ndarray:
    for _ in range(steps):
        values = transitions @ values
    return values


def _unit_distances(coordinates: np.ndarray) -> np.ndarray:
    r"""Scale coordinates so that the root mean square distance of two cells is 1.

    From the Frobenius norm of the distances, :math:`\|D\|_F^2 = 2n \sum_i |c_i|^2 - 2 |\sum_i c_i|^2`.
    """
    n_cells = len(coordinates)
    exact = coordinates.astype(np.float64)
    squared = 2 * n_cells * np.sum(exact**2) - 2 * np.sum(exact.sum(axis=0) ** 2)
    return exact / np.sqrt(squared / (n_cells * (n_cells - 1))) if squared > 0 else exact

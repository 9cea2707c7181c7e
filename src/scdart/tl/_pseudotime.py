"""Diffusion pseudotime of the cells of all modalities, in one order."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
from scipy.stats import rankdata

from scdart._checks import check_writable
from scdart._constants import X_SCDART
from scdart._mudata import own_copy, positions
from scdart._options import SEVERAL, check_options
from scdart._origins import MADE_FROM, origin_of_components
from scdart._process import one_blas_thread
from scdart._progress import parts
from scdart._random import seed_of

from ._cells import latent, latent_of_modality, write_obs
from ._embed import stored_replicates
from ._landmarks import LandmarkGraph
from ._root import RootRequest, central_extreme, concentration, parse_root

if TYPE_CHECKING:
    from collections.abc import Callable

    from mudata import MuData

#: Fewest connected cells that have an order.
_MIN_CELLS = 5

#: Concentration of the directions from the root to other cells below which it is said to lie between them. The middle
#: of simulated trajectories has 0.33 to 0.43, a root that two branches start from 0.41 to 0.47, an end 0.75 to 0.9.
_MIN_CONCENTRATION = 0.4


class _Order(NamedTuple):
    """Pseudotime of every cell, NaN where it is not connected with the root; row of the root; neighbours."""

    time: np.ndarray
    root: int
    n_neighbors: int


def pseudotime(
    mdata: MuData,
    *,
    root: str | None = None,
    root_key: str | None = None,
    root_label: str | None = None,
    root_score: str | None = None,
    root_extreme: Literal["min", "max"] = "min",
    use_rep: str = X_SCDART,
    n_neighbors: int | None = None,
    n_comps: int = 15,
    ranked: bool = False,
    separate: bool = False,
    spread: bool = False,
    key_added: str = "dpt_pseudotime",
    random_state: int | None = None,
    copy: bool = False,
) -> MuData | None:
    r"""Order the cells of all modalities by diffusion pseudotime in the latent space.

    The root is given in one of three ways: a cell (`root`), a group of cells (`root_key` and `root_label`), or a score
    or gene that is lowest or highest there (`root_score`).

    Parameters
    ----------
    mdata
        Annotated data with a latent space.
    root
        Name of the root cell.
    root_key
        Column of `obs`, of `mdata` or a modality, with the group that `root_label` names.
    root_label
        The group that the process starts in. The root is the cell furthest from all others among the half of the group
        that is nearest to its median, so that single misplaced cells are not taken.
    root_score
        Numeric column of `obs`, of `mdata` or a modality, or a gene, of which the share in the counts of a cell is
        taken. It is averaged over neighbours, those of modalities without it left out. The extreme 2% of the cells are
        then a group as above.
    root_extreme
        Whether the score is lowest or highest in the root.
    use_rep
        Slot of `obsm` with the latent coordinates.
    n_neighbors
        Neighbours of a cell in the graph. By default a twentieth of the cells, at least 30 and at most 100.
    n_comps
        Number of diffusion components, the stationary one included.
    ranked
        Replace pseudotime by the rank of the cell, from 0 to 1.
    separate
        Order also the cells of each modality by their own coordinates alone. The root is then the cell of the modality
        that is nearest to the joint root.
    spread
        Order the cells also by the positions of further trainings, see :func:`scdart.tl.spread`, from the same root.
    key_added
        Name of the slots to write.
    random_state
        Seed of the choice of landmarks, and of the decomposition; `None` takes `scvi.settings.seed`, or 0 where there
        is none.
    copy
        Whether to return a copy instead of writing to `mdata`.

    Returns
    -------
    `None`, or the copy with `copy=True`. Written are:

    `mdata.obs[key_added]`
        Pseudotime, from 0 in the root to 1, and NaN in cells that no path connects with it. Also in `obs` of every
        modality, for its cells.
    `mdata.obs[key_added + "_" + modality]`
        With `separate`, that of the modality alone; NaN in other cells. Also in `obs` of the modality.
    `mdata.obs[key_added + "_spread"]`
        With `spread`, standard deviation of the pseudotime over all trainings. Also in `obs` of every modality.
    `mdata.uns[key_added]`
        `"root"`: name of the root cell. `"n_unconnected"`: number of cells with NaN. `"params"`: how it was made.
        `"made_from"`: shape, names and a checksum of the latent space.

    Raises
    ------
    KeyError
        The latent space, a column or a gene is missing.
    ValueError
        The root is not given in exactly one way, or not found; the latent space is not finite; or fewer than five cells
        are connected with the root.

    Warns
    -----
    UserWarning
        Cells are not connected with the root, or the root lies between other cells instead of at an end.

    Notes
    -----
    With the eigenvalues :math:`1 = \lambda_0 > \lambda_1 \ge \dots` and eigenvectors :math:`\psi` of scanpy's
    transition matrix, the pseudotime of cell i is its distance from the root r, divided by the largest:

    .. math:: d_i^2 = \sum_{k \ge 1} \Bigl(\frac{\lambda_k}{1 - \lambda_k}\Bigr)^2 (\psi_{ik} - \psi_{rk})^2.

    :func:`scanpy.tl.dpt` takes every state with an eigenvalue of 0.9994 or more for stationary. That of the main axis
    of a long, thin trajectory has more, and the order is lost: Kendall's tau of 0.0 with the position on a noisy line,
    and 0.98 here, where only the first is left out, since a connected graph has exactly one stationary state.

    Of more than 10,000 cells, that many random ones are the landmarks that the graph is made of. Other cells lie at the
    weighted mean of their nearest landmarks, so that cost grows linearly with their number.

    References
    ----------
    Haghverdi et al. (2016), Diffusion pseudotime robustly reconstructs lineage branching, Nature Methods 13:845,
    doi:10.1038/nmeth.3971.

    Examples
    --------
    >>> import numpy as np
    >>> import scdart
    >>> mdata = scdart.datasets.simulate("linear", n_cells=100, n_genes=50, n_peaks=100)
    >>> stage = np.concatenate([mdata[mod].obs["pseudotime"] for mod in mdata.mod])
    >>> mdata.obsm["X_scdart"] = np.c_[stage, stage**2]  # in place of model.get_latent_representation()
    >>> scdart.tl.pseudotime(mdata, root_score="pseudotime")
    >>> round(scdart.metrics.pseudotime_kendall(mdata.obs["dpt_pseudotime"], stage), 2)
    1.0
    """
    check_options(pseudotime, locals(), n_neighbors=SEVERAL)
    check_writable(mdata, copy=copy)
    request = parse_root(mdata, root, root_key, root_label, root_score, root_extreme)
    z = latent(mdata, use_rep)
    alone = {mod: latent_of_modality(mdata, mod, use_rep) for mod in mdata.mod} if separate else {}
    again = stored_replicates(mdata, use_rep) if spread else []

    seed = seed_of(random_state)
    with one_blas_thread(), parts("Pseudotime", 2 * (1 + len(alone) + len(again))) as begin:
        joint = _order(z, request, n_neighbors, n_comps, seed, "all cells", begin)
        times = {key_added: joint.time}
        for mod, z_mod in alone.items():
            nearest = RootRequest(np.array([((z_mod - z[joint.root]) ** 2).sum(axis=1).argmin()]), None)
            time = _order(z_mod, nearest, n_neighbors, n_comps, seed, f"{mod} alone", begin).time
            times[f"{key_added}_{mod}"] = _at(positions(mdata, mod), time, mdata.n_obs)
        same_root = RootRequest(np.array([joint.root]), None)
        replicated = [
            _order(z_again, same_root, n_neighbors, n_comps, seed, f"all cells, training {number}", begin).time
            for number, z_again in enumerate(again, start=2)
        ]
    if ranked:
        times = {key: _ranks(time) for key, time in times.items()}
        replicated = [_ranks(time) for time in replicated]

    target = own_copy(mdata) if copy else mdata
    write_obs(target, key_added, times[key_added])
    for mod in alone:
        key = f"{key_added}_{mod}"
        target.obs[key] = times[key]
        target[mod].obs[key] = times[key][positions(target, mod)]
    if spread:
        write_obs(target, f"{key_added}_spread", np.std([times[key_added], *replicated], axis=0))
    target.uns[key_added] = {
        "root": mdata.obs_names[joint.root],
        "n_unconnected": int(np.isnan(joint.time).sum()),
        MADE_FROM: origin_of_components(mdata, use_rep, "mdata"),
        "params": {
            "use_rep": use_rep,
            "n_neighbors": joint.n_neighbors,
            "n_comps": n_comps,
            "ranked": ranked,
            "random_state": seed,
        },
    }
    return target if copy else None


def _order(
    z: np.ndarray,
    request: RootRequest,
    n_neighbors: int | None,
    n_comps: int,
    random_state: int,
    of: str,
    begin: Callable[[str], None],
) -> _Order:
    """Find the root and the distance of every cell to it, in units of the largest; `of` names the cells in messages."""
    begin(f"graph of {of}")
    graph = LandmarkGraph(z, n_neighbors, random_state=random_state)
    candidates = request.candidates(graph)
    part = graph.parts[candidates[0]]
    inside = np.flatnonzero(graph.parts == part)
    _check_parts(len(inside), len(z), graph.n_neighbors, of)

    begin(f"order of {of}")
    y = graph.dpt_coordinates(part, n_comps)
    root = central_extreme(y, np.searchsorted(inside, candidates))
    _check_position(y, root, of)
    distance = np.linalg.norm(y - y[root], axis=1)
    time = _at(inside, distance / distance.max(), len(z))
    return _Order(time, int(inside[root]), graph.n_neighbors)


def _check_parts(n_inside: int, n_cells: int, n_neighbors: int, of: str) -> None:
    if n_inside < _MIN_CELLS:
        raise ValueError(
            f"{of}: only {n_inside} of {n_cells:,} cells are connected with the root, too few to be ordered. Choose "
            f"another root, or more than n_neighbors={n_neighbors}."
        )
    if n_inside < n_cells:
        warnings.warn(
            f"{of}: {n_cells - n_inside:,} of {n_cells:,} cells are not connected with the root, and have no "
            f"pseudotime (NaN). Pass more than n_neighbors={n_neighbors} to connect them, or remove cells of other "
            "processes.",
            UserWarning,
            stacklevel=4,
        )


def _check_position(y: np.ndarray, root: int, of: str) -> None:
    if (value := concentration(y, root)) < _MIN_CONCENTRATION:
        warnings.warn(
            f"{of}: the root lies between others, not at an end of the latent space (concentration {value:.2f}). Cells "
            "on both sides get the same pseudotime. Unless the process starts there, choose another root.",
            UserWarning,
            stacklevel=4,
        )


def _at(rows: np.ndarray, values: np.ndarray, n: int) -> np.ndarray:
    """Spread values over rows, NaN elsewhere."""
    spread = np.full(n, np.nan)
    spread[rows] = values
    return spread


def _ranks(time: np.ndarray) -> np.ndarray:
    """Ranks from 0 to 1, ties averaged and NaN kept."""
    ranks = rankdata(time, nan_policy="omit") - 1
    return ranks / np.nanmax(ranks)

"""The backbone of a process: a tree over groups of cells, its branches, and the trajectories from root to leaves."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
import scanpy as sc
import scipy.sparse as sp
from scipy.sparse.csgraph import breadth_first_order, minimum_spanning_tree

from scdart._checks import check_cell_names, check_writable
from scdart._constants import X_SCDART
from scdart._docs import fill_in_docs
from scdart._latent_slots import LATENT, check_follows
from scdart._mudata import in_obs, obs_column, own_copy
from scdart._options import SEVERAL, check_options
from scdart._origins import MADE_FROM, origin_of_column, origin_of_components
from scdart._process import one_blas_thread
from scdart._progress import parts
from scdart._random import seed_of

from ._cells import latent, shown, write_obs, write_obsm
from ._fates import reached_first
from ._neighbors import cell_graph

if TYPE_CHECKING:
    from anndata import AnnData
    from mudata import MuData


class _Tree(NamedTuple):
    """Groups as numbers: pairs of parent and child, branch of every group (-1 if none), paths from root to leaf."""

    edges: list[tuple[int, int]]
    branch: np.ndarray
    paths: list[list[int]]


@fill_in_docs
def backbone(
    mdata: MuData,
    *,
    groups: str | None = None,
    root: str | None = None,
    pseudotime_key: str = "dpt_pseudotime",
    use_rep: str = X_SCDART,
    n_neighbors: int = 15,
    resolution: float = 0.5,
    key_added: str = "backbone",
    random_state: int | None = None,
    copy: bool = False,
) -> MuData | None:
    r"""Find the tree that groups of cells lie along, its branches, and the trajectories from root to leaves.

    Groups are connected by the links between their cells in the graph of all cells. The tree is the minimum spanning
    tree of the inverse of these connectivities. A trajectory is a path from the root to a leaf; branches are what
    remains when paths are cut where the tree divides.

    Parameters
    ----------
    mdata
        Annotated data with a latent space and the result of :func:`scdart.tl.pseudotime`.
    groups
        Column of `obs`, of `mdata` or a modality, with groups of cells; those without a group are left out. By default,
        Leiden communities of the latent space.
    root
        Group that the process starts in. By default, that of the root cell of the pseudotime.
    pseudotime_key
        Column of `obs`, of `mdata` or a modality, with the pseudotime.
    use_rep
        Slot of `obsm` with the latent coordinates.
    n_neighbors
        Neighbours of a cell in the graph.
    resolution
        Of Leiden communities; larger for more groups.
    key_added
        Name of the slots to write.
    random_state
        Seed of graph and communities; `None` takes `scvi.settings.seed`, or 0 where there is none.
    copy
        Whether to return a copy instead of writing to `mdata`.

    Returns
    -------
    `None`, or the copy with `copy=True`. Written are, the first three also in every modality, for its cells:

    `mdata.obs[key_added]`
        Group of every cell, categorical.
    `mdata.obs[key_added + "_branch"]`
        Branch of every cell, categorical: the names of its first and last group. A given group in which the tree
        divides belongs to the branch that ends there. A community in which it divides has no natural border: each of
        its cells belongs to the branch, the one that ends or one of those that begin, that a random walk on the graph
        most probably reaches first. So a process that divides in the community that it starts in has no stem. Missing
        for cells that are not connected with the root.
    `mdata.obsm[key_added + "_order"]`
        Table of shape (n_cells, n_trajectories): pseudotime of the cells of the groups of a trajectory, NaN of others.
    `mdata.uns[key_added]`
        `"groups"`: their names, of shape (n_groups,); `"centroids"`: their mean positions, of shape
        (n_groups, n_latent); `"edges"`: table of `source`, `target` and `weight` (connectivity), away from the
        root; `"root"`: name of the root group; `"trajectories"`: for each, the names of its groups from root to leaf;
        `"params"`: how it was made; `"made_from"`: names of the cells, and checksums of latent space and pseudotime.

    Raises
    ------
    KeyError
        The latent space, the pseudotime or the column with groups is missing.
    ValueError
        There are fewer than two groups, the root is none of them or, without `root`, the root cell has none, the
        latent space is not finite, or it was made anew since the pseudotime was computed.

    Warns
    -----
    UserWarning
        Groups are not connected with the root: they are in no trajectory.

    Notes
    -----
    With :math:`e_{ab}` links between cells of groups a and b, and :math:`e_a = \sum_b e_{ab}`, their connectivity is

    .. math:: e_{ab} \Big/ \frac{e_a e_b}{\sum_c e_c},

    the ratio of links to those expected at random, as in PAGA, but not capped at 1: of the layers of cortical neurons,
    a third of the pairs would be tied at 1, and the tree be drawn by lot.

    References
    ----------
    Wolf et al. (2019), PAGA, Genome Biology 20:59, doi:10.1186/s13059-019-1663-x; trajectories as in Zhang, Yang and
    Zhang (2022), scDART, Genome Biology 23:139, doi:10.1186/s13059-022-02706-x.

    Examples
    --------
    %(example_with_tree)s
    >>> list(mdata.obsm["backbone_order"])
    ['trajectory_0']
    """
    check_options(backbone, locals(), n_neighbors=SEVERAL)
    check_writable(mdata, copy=copy)
    for mod in mdata.mod:
        check_cell_names(mdata, mod)  # which a table of cells is written by
    z = latent(mdata, use_rep)
    time = _pseudotime(mdata, pseudotime_key)
    check_follows(mdata, pseudotime_key)
    given = None if groups is None else _given_groups(mdata, groups)
    if given is not None:
        _check_root(root, given.categories)

    seed = seed_of(random_state)
    with one_blas_thread(), parts("Backbone", 2) as begin:
        begin(f"graph of {mdata.n_obs:,} cells")
        graph = cell_graph(z, n_neighbors, random_state=seed)
        begin("groups and their tree")
        group = _communities(graph, resolution, seed) if given is None else given
        names = group.categories.to_numpy(dtype=object)
        if given is None:
            _check_root(root, group.categories)
        start = int(group.codes[_earliest(time, group.codes)]) if root is None else list(names).index(root)
        connectivities = _strongest_tree(graph.obsp["connectivities"], group)
        tree = _tree_from(connectivities, start)
        _check_connected(tree, names)
        branch = np.where(group.codes < 0, -1, tree.branch[group.codes])
        if given is None:
            branch = _divided(branch, tree, group, graph.obsp["connectivities"])

    order = pd.DataFrame(
        {f"trajectory_{i}": np.where(np.isin(group.codes, path), time, np.nan) for i, path in enumerate(tree.paths)},
        index=mdata.obs_names,
    )
    target = own_copy(mdata) if copy else mdata
    write_obs(target, key_added, group)
    write_obs(target, f"{key_added}_branch", _named(branch, tree, group))
    write_obsm(target, f"{key_added}_order", order)
    target.uns[key_added] = {
        "groups": names,
        "centroids": np.stack([z[group.codes == code].mean(axis=0) for code in range(len(names))]),
        "edges": pd.DataFrame(
            {
                "source": names[[parent for parent, _ in tree.edges]],
                "target": names[[child for _, child in tree.edges]],
                "weight": [connectivities[edge] for edge in tree.edges],
            },
            index=[str(i) for i in range(len(tree.edges))],
        ),
        "root": names[start],
        "trajectories": {f"trajectory_{i}": names[path] for i, path in enumerate(tree.paths)},
        MADE_FROM: {
            LATENT: origin_of_components(mdata, use_rep, "mdata"),
            "pseudotime": origin_of_column(obs_column(mdata, pseudotime_key, "pseudotime_key")),
        },
        "params": {
            "groups": "leiden" if groups is None else groups,
            "pseudotime_key": pseudotime_key,
            "use_rep": use_rep,
            "n_neighbors": n_neighbors,
            "random_state": seed,
            **({"resolution": resolution} if groups is None else {}),
        },
    }
    return target if copy else None


def _pseudotime(mdata: MuData, key: str) -> np.ndarray:
    if not in_obs(mdata, key):
        raise KeyError(
            f"mdata has no pseudotime {key!r} in any obs: run scdart.tl.pseudotime(mdata, ...) first, or name its "
            "column in pseudotime_key."
        )
    column = obs_column(mdata, key, "pseudotime_key")
    if not pd.api.types.is_numeric_dtype(column):
        raise ValueError(f"pseudotime_key={key!r} is a column of {column.dtype} values: name one of pseudotimes.")
    time = column.to_numpy(dtype=float, na_value=np.nan)
    if np.isnan(time).all():
        raise ValueError(f"obs[{key!r}] is NaN in all cells: run scdart.tl.pseudotime(mdata, ...) again.")
    return time


def _given_groups(mdata: MuData, key: str) -> pd.Categorical:
    labels: Any = obs_column(mdata, key, "groups").astype(object).map(str, na_action="ignore")
    group = pd.Categorical(labels)
    if len(group.categories) < 2:
        raise ValueError(
            f"obs[{key!r}] has {len(group.categories)} groups ({shown(group.categories)}): a tree needs at least two."
        )
    return group


def _communities(graph: AnnData, resolution: float, random_state: int) -> pd.Categorical:
    sc.tl.leiden(
        graph,
        resolution,
        flavor="igraph",
        n_iterations=-1,
        directed=False,
        random_state=random_state,
        key_added="group",
    )
    group = pd.Categorical(graph.obs["group"])
    if len(group.categories) < 2:
        raise ValueError(f"resolution={resolution} finds a single group of cells: pass a larger one, or groups.")
    return group


def _check_root(root: str | None, names: pd.Index) -> None:
    if root is not None and root not in names:
        raise ValueError(f"root={root!r} is none of the groups, which are {shown(names)}.")


def _earliest(time: np.ndarray, codes: np.ndarray) -> int:
    """Find the cell of least pseudotime, which is the root cell, among those that have a group."""
    known = np.where(codes >= 0, time, np.nan)
    if np.isnan(known).all():
        raise ValueError("no cell of a group has a pseudotime: choose groups that contain cells connected to the root.")
    return int(np.nanargmin(known))


def _strongest_tree(links: sp.csr_matrix, group: pd.Categorical) -> sp.csr_matrix:
    """Keep, of the connections between groups, the strongest that connect all that are connected.

    Returns
    -------
    Number of links between two groups in units of that expected at random, of shape (n_groups, n_groups).
    """
    known = np.flatnonzero(group.codes >= 0)
    shape = (len(group), len(group.categories))
    member = sp.csr_matrix((np.ones(len(known)), (known, group.codes[known])), shape=shape)
    n_links = (member.T @ (links > 0) @ member).toarray()
    degree = n_links.sum(axis=1)
    ratio = n_links * degree.sum() / np.maximum(np.outer(degree, degree), 1)
    np.fill_diagonal(ratio, 0)
    tree = minimum_spanning_tree(np.divide(1, ratio, out=np.zeros_like(ratio), where=ratio > 0))
    tree.data = 1 / tree.data
    return tree.maximum(tree.T).tocsr()


def _tree_from(connectivities: sp.csr_matrix, root: int) -> _Tree:
    """Walk the tree from its root."""
    visited, parent = breadth_first_order(connectivities, root, directed=False)
    edges = [(int(parent[child]), int(child)) for child in visited[1:]]
    children: dict[int, list[int]] = {int(node): [] for node in visited}
    paths = {root: [root]}
    branch = np.full(connectivities.shape[0], -1)
    branch[root] = 0
    for source, child in edges:
        children[source].append(child)
        paths[child] = [*paths[source], child]
    for source, child in edges:
        branch[child] = branch[source] if len(children[source]) == 1 else branch.max() + 1
    return _Tree(edges, branch, [path for node, path in paths.items() if not children[node]])


def _check_connected(tree: _Tree, names: np.ndarray) -> None:
    lost = names[tree.branch < 0]
    if len(lost):
        warnings.warn(
            f"{len(lost)} groups are not connected with the root and in no trajectory: {shown(lost)}. Pass more "
            "n_neighbors to connect them, or remove cells of other processes.",
            UserWarning,
            stacklevel=3,
        )


def _divided(branch: np.ndarray, tree: _Tree, group: pd.Categorical, links: sp.csr_matrix) -> np.ndarray:
    """Give every cell of a group in which the tree divides to the branch that it most probably belongs to."""
    cells = [np.flatnonzero(group.codes == code) for code in range(len(group.categories))]
    divided = branch.copy()
    for node in range(len(cells)):
        begin = [child for source, child in tree.edges if source == node]
        ends = [source for source, child in tree.edges if child == node]
        if len(begin) > 1:
            first = reached_first(links, cells[node], [cells[neighbor] for neighbor in [*begin, *ends]])
            # The last is for the side where the branch comes from, and for cells that reach none.
            divided[cells[node]] = tree.branch[[*begin, node]][first]
    return divided


def _named(branch: np.ndarray, tree: _Tree, group: pd.Categorical) -> pd.Categorical:
    """Name the branch of every cell after its first and last group."""
    nearest_first = [tree.paths[0][0], *(child for _, child in tree.edges)]
    names: dict[int, str] = {}
    for number in np.unique(branch[branch >= 0]):
        nodes = [group.categories[node] for node in nearest_first if tree.branch[node] == number]
        names[number] = nodes[0] if len(nodes) == 1 else f"{nodes[0]} to {nodes[-1]}"
    return pd.Categorical([names.get(number, np.nan) for number in branch], categories=list(names.values()))

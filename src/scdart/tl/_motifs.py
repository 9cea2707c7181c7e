"""Which motifs act on which genes, through the peaks that the model has linked to these genes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import scipy.sparse as sp
from anndata import AnnData

from scdart._checks import check_modalities
from scdart._options import check_options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mudata import MuData
    from numpy.typing import NDArray


def motif_gene_scores(
    mdata: MuData,
    links: pd.DataFrame,
    *,
    deviations: AnnData | str | None = None,
    expression: pd.DataFrame | None = None,
    motif_match: str = "motif_match",
    motifs: str | Sequence[str] = "motif_name",
    atac_mod: str = "atac",
    min_peaks: int = 1,
) -> pd.DataFrame:
    r"""Combine motifs in peaks with learned peak-gene links into a table of motifs and genes.

    Parameters
    ----------
    mdata
        MuData whose ATAC modality has the matches of motifs, as pychromvar writes them.
    links
        Table with the columns ``peak``, ``gene`` and ``weight``, such as
        :meth:`scdart.model.SCDART.get_peak_gene_links` returns. Other columns are not read: select rows before, for
        example those of the prior, by ``links[links["in_prior"]]``.
    deviations
        Motif deviations of ATAC cells: an AnnData of cells x motifs, as pychromvar returns it, or the slot of the ATAC
        modality's ``obsm`` that holds them, with a column for each motif.
    expression
        Expression of genes in ATAC cells, as :meth:`scdart.model.SCDART.get_gene_activity` predicts it: a table of
        cells x genes. Needs ``deviations``.
    motif_match
        Slot of the ATAC modality's ``varm`` with an array or sparse matrix of shape (n_peaks, n_motifs), or a table
        whose columns are the motifs: not 0 where the peak has the motif.
    motifs
        Slot of the ATAC modality's ``uns`` with the names of the motifs, or the names. Not used with a table.
    atac_mod
        Name of the ATAC modality.
    min_peaks
        Peaks with the motif and a link to the gene that a row needs at least.

    Returns
    -------
    A table with a row for each pair of motif and gene that peaks connect, those with the largest absolute ``z`` first,
    and the columns:

    ``motif``, ``gene``, ``n_peaks``
        The pair, and how many peaks with the motif are linked to the gene.
    ``score``
        Sum of the weights of these links: positive where opening the motif's peaks is predicted to raise the gene.
    ``z``
        Score against what a motif as frequent would have that is in random ones of the linked peaks, in standard
        deviations. NaN for a motif in all linked peaks.
    ``variability``
        With ``deviations``: standard deviation of the motif's over cells.
    ``correlation``
        With ``expression``: Pearson correlation over ATAC cells between the motif's deviations and the gene.

    Raises
    ------
    KeyError
        If a modality, slot or column is missing, or peaks, motifs or cells have no names in common.
    ValueError
        If shapes or names do not fit, or weights are not finite.

    Notes
    -----
    With :math:`M_{pm} = 1` where peak :math:`p` has motif :math:`m` and link weights :math:`w_{pg}`,

    .. math:: S_{mg} = \sum_p M_{pm} w_{pg}, \qquad z_{mg} = \frac{S_{mg} - f_m \sum_p w_{pg}}
        {\sqrt{f_m (1 - f_m) \frac{N}{N - 1} \left(\sum_p w_{pg}^2 - \frac{1}{N} (\sum_p w_{pg})^2\right)}}

    over the :math:`N` peaks that have any link, of which a share :math:`f_m` has the motif: mean and variance are those
    of assigning the motif to as many of these peaks at random. :math:`S` is the product of matches and links of the
    paper :cite:p:`Zhang2022`, with signs. It grows with the frequency of a motif, ``z`` does not. Peaks next to each
    other share motifs and links, so take ``z`` to rank pairs rather than as a test.

    Examples
    --------
    >>> import numpy as np, pandas as pd, scdart
    >>> mdata = scdart.datasets.simulate("linear", n_cells=100, n_genes=50, n_peaks=150)
    >>> mdata["atac"].varm["motif_match"] = np.random.default_rng(0).integers(0, 2, (150, 3))
    >>> mdata["atac"].uns["motif_name"] = ["GATA1", "SOX2", "RUNX1"]
    >>> links = pd.DataFrame({"peak": ["peak0", "peak1"], "gene": ["gene0", "gene0"], "weight": [0.5, -0.1]})
    >>> list(scdart.tl.motif_gene_scores(mdata, links))
    ['motif', 'gene', 'n_peaks', 'score', 'z']
    """
    check_options(motif_gene_scores, locals())
    check_modalities(mdata, atac_mod=atac_mod)
    if expression is not None and deviations is None:
        raise ValueError("expression was given without deviations, which it is compared with.")
    atac = mdata.mod[atac_mod]
    matches, motif_names = _matches(atac, atac_mod, motif_match, motifs)
    weights, genes, linked = _weights(links, atac, atac_mod)
    table = _scores(matches[linked], weights[linked], motif_names, genes, min_peaks)
    if deviations is not None:
        scores = _deviations(deviations, atac, atac_mod, motif_names)
        table["variability"] = scores.std().reindex(table["motif"]).to_numpy()
        if expression is not None:
            table["correlation"] = _correlations(scores, expression, table["motif"], table["gene"])
    order = table["z"].abs().sort_values(ascending=False, kind="stable", na_position="last").index
    return table.loc[order].reset_index(drop=True)


def _matches(atac: AnnData, mod: str, key: str, motifs: str | Sequence[str]) -> tuple[sp.csr_matrix, pd.Index]:
    if key not in atac.varm:
        raise KeyError(f"mdata[{mod!r}].varm has no {key!r}: match motifs first, for example with pychromvar.")
    stored = atac.varm[key]
    if isinstance(stored, pd.DataFrame):
        names = stored.columns.astype(str)
    else:
        if isinstance(motifs, str) and motifs not in atac.uns:
            raise KeyError(f"mdata[{mod!r}].uns has no {motifs!r}: pass the names of the motifs.")
        names = pd.Index([str(name) for name in (atac.uns[motifs] if isinstance(motifs, str) else motifs)])
    if len(names) != stored.shape[1]:
        raise ValueError(f"{len(names)} names of motifs, but mdata[{mod!r}].varm[{key!r}] has {stored.shape[1]}.")
    if not names.is_unique:
        raise ValueError(f"{names[names.duplicated()][0]!r} names more than one motif: make the names unique.")
    return sp.csr_matrix(sp.csr_matrix(stored) != 0, dtype=np.float64), names


def _weights(links: pd.DataFrame, atac: AnnData, mod: str) -> tuple[sp.csr_matrix, pd.Index, NDArray[np.intp]]:
    """Links as peaks x genes, the genes, and the peaks that have any."""
    missing = [name for name in ("peak", "gene", "weight") if name not in links]
    if missing:
        raise KeyError(f"links has no column {missing[0]!r}, only {list(links)}.")
    if not np.isfinite(links["weight"].to_numpy(dtype=float)).all():
        raise ValueError("links has weights that are NaN or infinite: leave these rows out.")
    if links.duplicated(["peak", "gene"]).any():
        twice = links.loc[links.duplicated(["peak", "gene"]), ["peak", "gene"]].iloc[0].tolist()
        raise ValueError(f"links has more than one row for {twice}: sum or select them.")
    peak = atac.var_names.get_indexer(pd.Index(links["peak"].astype(str)))
    if (peak < 0).any():
        raise KeyError(
            f"{(peak < 0).sum()} peaks of links are not in mdata[{mod!r}].var_names, such as "
            f"{links['peak'].iloc[int((peak < 0).argmax())]!r}."
        )
    gene, genes = pd.factorize(links["gene"].astype(str))
    weights = sp.csr_matrix((links["weight"].to_numpy(dtype=float), (peak, gene)), shape=(atac.n_vars, len(genes)))
    return weights, pd.Index(genes), np.unique(peak)


def _scores(
    matches: sp.csr_matrix, weights: sp.csr_matrix, motifs: pd.Index, genes: pd.Index, min_peaks: int
) -> pd.DataFrame:
    n_linked = matches.shape[0]
    is_linked = sp.csr_matrix((np.ones(weights.nnz), weights.indices, weights.indptr), weights.shape)
    n_peaks = (matches.T @ is_linked).tocoo()
    enough = n_peaks.data >= max(min_peaks, 1)
    motif, gene, count = n_peaks.row[enough], n_peaks.col[enough], n_peaks.data[enough]
    score = np.asarray((matches.T @ weights).tocsr()[motif, gene]).ravel()
    frequency = np.asarray(matches.mean(axis=0)).ravel()
    total, squares = (np.asarray(w.sum(axis=0)).ravel() for w in (weights, weights.power(2)))
    scatter = (squares - total**2 / n_linked) * n_linked / max(n_linked - 1, 1)
    deviation = np.sqrt(np.maximum((frequency * (1 - frequency))[motif] * scatter[gene], 0))
    with np.errstate(divide="ignore", invalid="ignore"):
        z = np.where(deviation > 0, (score - frequency[motif] * total[gene]) / deviation, np.nan)
    return pd.DataFrame(
        {"motif": motifs[motif], "gene": genes[gene], "n_peaks": count.astype(int), "score": score, "z": z}
    )


def _deviations(deviations: AnnData | str, atac: AnnData, mod: str, motifs: pd.Index) -> pd.DataFrame:
    if isinstance(deviations, AnnData):
        table = deviations.to_df()
    elif deviations not in atac.obsm:
        raise KeyError(f"mdata[{mod!r}].obsm has no {deviations!r}: it has {list(atac.obsm)}.")
    else:
        stored = atac.obsm[deviations]
        if not isinstance(stored, pd.DataFrame):
            stored = np.asarray(stored)
            if stored.shape[1] != len(motifs):
                raise ValueError(
                    f"mdata[{mod!r}].obsm[{deviations!r}] has {stored.shape[1]} columns for {len(motifs)} motifs: "
                    "store a table whose columns are the motifs."
                )
            stored = pd.DataFrame(stored, index=atac.obs_names, columns=motifs)
        table = stored
    table = table.rename(columns=str)
    if not table.columns.isin(motifs).any():
        raise KeyError(f"deviations are of other motifs ({table.columns[0]!r}) than the matches ({motifs[0]!r}).")
    return table


def _correlations(
    scores: pd.DataFrame, expression: pd.DataFrame, motif: pd.Series, gene: pd.Series
) -> NDArray[np.float64]:
    cells = scores.index.intersection(expression.index)
    if len(cells) < 3:
        raise KeyError(f"deviations and expression have {len(cells)} cells in common: name them alike.")
    z_motif, z_gene = _standardised(scores.loc[cells]), _standardised(expression.loc[cells])
    rows, columns = z_motif.columns.get_indexer(pd.Index(motif)), z_gene.columns.get_indexer(pd.Index(gene))
    product = z_motif.to_numpy().T @ z_gene.to_numpy() / len(cells)
    return np.where((rows >= 0) & (columns >= 0), product[rows, columns], np.nan)


def _standardised(table: pd.DataFrame) -> pd.DataFrame:
    return (table - table.mean()) / table.std(ddof=0)

"""Labels that people know of their cells: sorted gates, time points, roots, types; and which of them correspond."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from ._constants import ATAC, RNA

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mudata import MuData

#: Labels of a column that a message lists.
_LISTED = 8


class Groups(NamedTuple):
    """Labels of the cells of both modalities, and which labels can be partners.

    Attributes
    ----------
    names
        The labels, in the order of the codes; in their own order where they have one.
    rna, atac
        Code of each cell's label, of shape (n_rna,) and (n_atac,); negative where nothing is known of the cell.
    related
        Whether cells of two labels can be partners, symmetric, of shape (n_labels, n_labels).
    ordered
        Whether labels follow each other, as time points do.
    """

    names: tuple[str, ...]
    rna: np.ndarray
    atac: np.ndarray
    related: np.ndarray
    ordered: bool

    def subset(self, rna: np.ndarray, atac: np.ndarray) -> Groups:
        """Keep some cells of either modality."""
        return self._replace(rna=self.rna[rna], atac=self.atac[atac])

    def has_counterpart(self) -> tuple[np.ndarray, np.ndarray]:
        """Whether the other modality can have such cells, of shape (n_rna,) and (n_atac,): unlabelled cells may."""
        both = ((self.rna, self.atac), (self.atac, self.rna))
        rna, atac = ((own < 0) | np.isin(own, self._partners_of(other)) for own, other in both)
        return rna, atac

    def _partners_of(self, codes: np.ndarray) -> np.ndarray:
        """Labels that cells of the labels that are there can have as partners."""
        return np.flatnonzero(self.related[np.unique(codes[codes >= 0])].any(axis=0))


def label_names(column: pd.Series) -> pd.Series:
    """Labels as text, missing where there is none. Whole numbers are the same however they are stored."""
    return column.astype(object).map(_text, na_action="ignore")


def _text(label: Any) -> str:
    return str(int(label)) if isinstance(label, float | np.floating) and float(label).is_integer() else str(label)


def known_groups(mdata: MuData, key: str, mods: Mapping[str, str], *, ordered: bool = False) -> Groups:
    """Read the labels of both modalities' cells.

    Parameters
    ----------
    mdata
        Annotated data.
    key
        Column of both modalities' `obs`; missing values where nothing is known of a cell.
    mods
        Names of the modalities by role.
    ordered
        Whether labels follow each other, so that partners may also have the label before or after.

    Raises
    ------
    KeyError
        A modality has no such column.
    ValueError
        A modality has no label, the two have none in common or spell it differently, every cell has a label of its
        own, or `ordered` labels have no order.
    """
    columns = {role: _column(mdata, key, mod) for role, mod in mods.items()}
    labels = {role: label_names(column) for role, column in columns.items()}
    found = {role: pd.Index(column.dropna().unique()) for role, column in labels.items()}
    _check_labels(labels, found, key, mods)
    names = _in_order(columns, key, mods) if ordered else sorted(found[RNA].union(found[ATAC]))
    codes = {role: pd.Index(names).get_indexer(pd.Index(column)) for role, column in labels.items()}
    related = np.eye(len(names), dtype=bool)
    if ordered:
        related |= np.eye(len(names), k=1, dtype=bool) | np.eye(len(names), k=-1, dtype=bool)
    return Groups(tuple(names), codes[RNA], codes[ATAC], related, ordered)


def _column(mdata: MuData, key: str, mod: str) -> pd.Series:
    obs = mdata.mod[mod].obs
    if key not in obs:
        raise KeyError(f"mdata.mod[{mod!r}].obs has no column {key!r}; columns found: {sorted(map(str, obs))}.")
    if not obs[key].notna().any():
        raise ValueError(f"mdata.mod[{mod!r}].obs[{key!r}] has no label: all values are missing.")
    return obs[key]


def _check_labels(
    labels: Mapping[str, pd.Series], found: Mapping[str, pd.Index], key: str, mods: Mapping[str, str]
) -> None:
    """Raise if labels cannot be what the user means by them."""
    for role, mod in mods.items():
        n_labelled = int(labels[role].notna().sum())
        if n_labelled > 1 and len(found[role]) == n_labelled:
            raise ValueError(
                f"mdata.mod[{mod!r}].obs[{key!r}] gives each of its {n_labelled:,} labelled cells a label of its own, "
                f"such as {found[role][0]!r}: pass a column of groups. For cells that are the same, use "
                "scdart.pp.anchors(mdata, pairs=...)."
            )
    alone = {role: found[role].difference(found[other]) for role, other in ((RNA, ATAC), (ATAC, RNA))}
    spelt = {role: {label.strip().casefold(): label for label in alone[role]} for role in alone}
    same = sorted(spelt[RNA].keys() & spelt[ATAC].keys())
    listed = " and ".join(f"{mods[role]!r} has {_shown(found[role])}" for role in (RNA, ATAC))
    if same:
        pairs = ", ".join(f"{spelt[RNA][one]!r} and {spelt[ATAC][one]!r}" for one in same)
        raise ValueError(f"obs[{key!r}] spells labels differently in the modalities ({pairs}): give them one name.")
    if found[RNA].intersection(found[ATAC]).empty:
        raise ValueError(f"obs[{key!r}] has no label in common between the modalities: {listed}.")


def _in_order(columns: Mapping[str, pd.Series], key: str, mods: Mapping[str, str]) -> list[str]:
    """Names of the labels in their order: that of numbers, or of ordered categories."""
    if all(pd.api.types.is_numeric_dtype(column) for column in columns.values()):
        values = sorted(set().union(*(column.dropna().unique() for column in columns.values())))
        return [_text(value) for value in values]
    orders = {}
    for role, column in columns.items():
        if not (isinstance(column.dtype, pd.CategoricalDtype) and column.cat.ordered):
            raise ValueError(
                f"groups are said to be ordered, but mdata.mod[{mods[role]!r}].obs[{key!r}] is neither numeric nor an "
                f"ordered categorical (its type is {column.dtype}): make it "
                "pandas.Categorical(labels, categories=[first, ..., last], ordered=True)."
            )
        orders[role] = [_text(category) for category in column.cat.categories]
    longer, shorter = sorted(orders.values(), key=len, reverse=True)
    if [label for label in longer if label in shorter] != shorter:
        raise ValueError(
            f"obs[{key!r}] has its categories in another order in the modalities: {mods[RNA]!r} has "
            f"{_shown(orders[RNA])} and {mods[ATAC]!r} has {_shown(orders[ATAC])}: give both the same categories."
        )
    return longer


def _shown(labels: pd.Index | list[str]) -> str:
    listed = ", ".join(repr(label) for label in list(labels)[:_LISTED])
    return f"{listed}, ..." if len(labels) > _LISTED else listed

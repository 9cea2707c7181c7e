"""The loss terms of a model over its training."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from matplotlib.ticker import MaxNLocator

from scdart._docs import fill_in_docs
from scdart._options import check_options
from scdart.module import LOSS_TERMS

from ._canvas import finish, make_axes, one_or_all, plain
from ._colors import OKABE_ITO

if TYPE_CHECKING:
    from collections.abc import Sequence
    from os import PathLike

    import pandas as pd
    from matplotlib.axes import Axes

    from scdart.model import SCDART

#: What the loss terms are called, in the order in which they are drawn. Others follow under their own names.
LABELS: Final = {"total": "total", **{term.name: term.label for term in LOSS_TERMS}}


def loss_curves(model: SCDART) -> dict[str, dict[str, pd.Series]]:
    """Get the curves of all loss terms by term, then by ``"training"`` and ``"validation"``; index: epochs from 1.

    There are none where training kept no record of them, with ``logger=False``.

    Raises
    ------
    ValueError
        If the model has not been trained.
    """
    if not model.is_trained_:
        raise ValueError("The model has no history: train it first (model.train()).")
    recorded = model.history or {}
    curves: dict[str, dict[str, pd.Series]] = {}
    others = (key.removesuffix("_train") for key in recorded if key.endswith("_train"))
    for term in dict.fromkeys([*LABELS, *others]):
        for part, name in (("training", "train"), ("validation", "validation")):
            key = f"{name}_loss" if term == "total" else f"{term}_{name}"
            if key in recorded and len(recorded[key]):
                curve = recorded[key].iloc[:, 0].astype(float)
                curves.setdefault(term, {})[part] = curve.set_axis(np.arange(1, len(curve) + 1))
    return curves


@fill_in_docs
def history(
    model: SCDART,
    *,
    terms: Sequence[str] | None = None,
    ncols: int = 4,
    ax: Axes | None = None,
    show: bool | None = None,
    save: str | PathLike[str] | None = None,
) -> Axes | list[Axes]:
    """Draw every loss term over the epochs, on training cells and, if there are any, on validation cells.

    Parameters
    ----------
    model
        Trained model. The history is kept when a model is saved and loaded.
    terms
        Which terms to draw, in this order: ``"total"`` (the weighted sum that is minimised), or names of
        :data:`scdart.module.LOSS_TERMS`, each before its weight is applied. By default all that the model has.
    %(ncols)s
    %(ax_show_save)s

    Returns
    -------
    The axes, or a list of them if there are several.

    Raises
    ------
    ValueError
        If the model has not been trained, or has no such term.

    Examples
    --------
    >>> import scdart
    >>> mdata = scdart.datasets.simulate("bifurcating", n_cells=100, n_genes=50, n_peaks=100)
    >>> scdart.pp.diffusion_coordinates(mdata)
    >>> scdart.model.SCDART.setup_mudata(mdata)
    >>> model = scdart.model.SCDART(mdata)
    >>> model.train(max_epochs=3)
    >>> ax = scdart.pl.history(model, terms=["total"], show=False)
    >>> len(ax.lines[0].get_xdata())
    3
    """
    check_options(history, locals())
    curves = loss_curves(model)
    if not curves:
        raise ValueError("The model has no history: it was trained with logger=False, which keeps none.")
    terms = list(curves) if terms is None else list(terms)
    if unknown := [term for term in terms if term not in curves]:
        raise ValueError(f"terms {unknown} are not in the history of the model, which has {list(curves)}.")
    axes = make_axes(len(terms), min(ncols, len(terms)), ax, size=(2.9, 2.2))
    for panel, term in zip(axes, terms, strict=True):
        for (part, curve), color in zip(curves[term].items(), OKABE_ITO[:2], strict=False):
            panel.plot(curve.index, curve, color=color, label=part, marker="." if len(curve) == 1 else None)
        plain(panel)
        panel.set_title(LABELS.get(term, term), fontsize="medium")
        panel.set_xlabel("epoch")
        panel.xaxis.set_major_locator(MaxNLocator(4, integer=True))
        panel.margins(x=0.02)
    if any(len(parts) > 1 for parts in curves.values()):
        axes[0].legend(frameon=False, fontsize="small")
    finish(axes, given=ax, show=show, save=save)
    return one_or_all(axes)

"""One page about an integration, to pass on: pictures, diagnostics, and the settings to repeat it."""

from __future__ import annotations

import importlib
import logging
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd

from scdart._anchor_slots import confidence_slot
from scdart._checks import check_modalities
from scdart._constants import ANCHORS, ATAC, RNA, X_SCDART
from scdart._docs import fill_in_docs
from scdart._files import check_place, replacing
from scdart._latent_slots import check_confidence_follows
from scdart._options import check_options
from scdart._random import seed_of

from ._colors import OKABE_ITO, is_number
from ._diagnostics import diagnose
from ._history import loss_curves
from ._interactive import coloring_for_browser, hover_texts, latent_figure, loss_figures
from ._latent import stored_palette
from ._points import Points, find_points, values_of
from ._settings import (
    as_code,
    as_json,
    collect_settings,
    find_batches,
    summarize_batches,
    summarize_data,
    summarize_links,
    versions,
)
from ._signs import Inputs, answers

if TYPE_CHECKING:
    from collections.abc import Sequence
    from os import PathLike
    from types import ModuleType

    from mudata import MuData

    from scdart.model import SCDART

logger = logging.getLogger(__name__)

_PSEUDOTIME: Final = "dpt_pseudotime"
#: What the model says about the cells, and below what values it is low.
_ALIGNMENT: Final = "alignment confidence"
_LOW: Final = {"confidence of anchors": 0.5, _ALIGNMENT: 0.7}
#: Categories beyond which a column is taken for names of cells, not for labels.
_MAX_CATEGORIES: Final = 60
#: What the browser does. Buttons are listed one by one, since some of plotly's send the data to a server.
_CONFIG: Final = {
    "displaylogo": False,
    "responsive": True,
    "scrollZoom": True,
    "modeBarButtons": [["toImage", "zoom2d", "pan2d", "zoomIn2d", "zoomOut2d", "resetScale2d"]],
    "plotlyServerURL": "",
    "toImageButtonOptions": {"format": "png", "scale": 2, "filename": "latent"},
}


@fill_in_docs
def report(
    mdata: MuData,
    model: SCDART | None = None,
    path: str | PathLike[str] = "report.html",
    *,
    color: Sequence[str] | None = None,
    basis: str | None = None,
    use_rep: str = X_SCDART,
    title: str = "Integration of RNA and ATAC",
    max_cells: int = 50_000,
    rna_mod: str | None = None,
    atac_mod: str | None = None,
    random_state: int | None = None,
) -> Path:
    """Write one HTML page about an integration, which needs no network to be read.

    It begins with whether the result can be trusted, and why: mean confidence, and signs that need no labels (mixing of
    the modalities, and of batches within each; preservation of the trajectory; agreement of anchors; epochs beside what
    is usual; whether data, model and results are of one run). Then follow the data and the prior, the latent space (to
    zoom into, point at, and colour by modality, labels, pseudotime and confidence), the losses, how to read each sign,
    and the settings and code to repeat the run.

    Parameters
    ----------
    mdata
        Integrated data. Nothing is written to it.
    model
        Trained model; without it, the page has no losses and no settings of the training.
    path
        File to write.
    color
        What the cells can be coloured by, as in :func:`scdart.pl.latent`. By default the modality, batches that the
        integration knows, every label of 2 to 60 categories in ``mdata.obs`` or the modalities' ``obs``, and numbers
        that are named after pseudotime or confidence.
    %(basis)s
    use_rep
        Slot of ``obsm`` with the latent space; of both modalities, or computed by the model if they do not have it.
    title
        Heading of the page.
    max_cells
        Points to draw at most: a random sample of more. Diagnostics use samples of their own.
    rna_mod, atac_mod
        Names of the modalities; by default those of the model, or else ``"rna"`` and ``"atac"``.
    random_state
        Seed of samples and drawing order; ``None`` takes ``scvi.settings.seed``, or 0 where there is none.

    Returns
    -------
    The path that was written.

    Raises
    ------
    FileNotFoundError
        If the folder does not exist.
    ImportError
        If jinja2 or plotly is not installed: ``pip install jinja2 plotly``.
    KeyError
        If there is no latent space, modality, or value to colour by.
    ValueError
        If values of the latent space are not finite, or the model has not been trained.

    Examples
    --------
    %(example_of_fork)s
    >>> scdart.pl.report(mdata, path="report.html").stat().st_size > 1_000_000
    True
    """
    check_options(report, locals())
    jinja2, plotly_offline = _optional("jinja2"), _optional("plotly.offline")
    path = Path(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"path={str(path)!r}: the folder {str(path.parent)!r} does not exist.")
    check_place(path, f"path={str(path)!r}")
    arguments = dict(model.registry["setup_args"]) if model is not None else {}
    modalities = arguments.get("modalities") or {}
    mods = {RNA: rna_mod or modalities.get("rna_layer", RNA), ATAC: atac_mod or modalities.get("atac_layer", ATAC)}
    check_modalities(mdata, **{f"{role}_mod": mod for role, mod in mods.items()})
    curves = {} if model is None else loss_curves(model)

    latent = _latent(mdata, model, use_rep, mods)
    points = find_points(mdata, basis=basis, use_rep=use_rep, mods=(mods[RNA], mods[ATAC]), latent=latent)
    batch_key, batches = find_batches(mdata, None if model is None else arguments, mods)
    keys = _automatic(mdata, points, batch_key if batches else None) if color is None else list(color)
    values = {key: values_of(mdata, points, key) for key in keys}
    if batch_key in values:
        values[batch_key] = values[batch_key].convert_dtypes().astype("category")  # donors may be numbers
    aligned = _alignment_confidence(mdata, model, mods, use_rep)
    if aligned and color is None:
        values[_ALIGNMENT] = _at_points(points, {mods[role]: found for role, found in aligned.items()})
    diagnostics = diagnose(
        Inputs(
            mdata=mdata,
            latent={role: latent[mod] for role, mod in mods.items()},
            mods=mods,
            model=model,
            use_rep=use_rep,
            pseudotime=_PSEUDOTIME if _PSEUDOTIME in values and is_number(values[_PSEUDOTIME]) else None,
            confidence=_confidence(mdata, aligned, mods),
            batches=batches,
            random_state=seed_of(random_state),
        )
    )
    settings = collect_settings(mdata, model, mods)

    shown = np.random.default_rng(seed_of(random_state)).permutation(len(points))[:max_cells]
    drawn = points.take(shown)
    colorings = [
        coloring_for_browser(key, value.iloc[shown], stored_palette(mdata, key, value, (mods[RNA], mods[ATAC])))
        for key, value in values.items()
    ]
    said = {"modality": points.modality, **values}
    hover = hover_texts(mdata.obs_names[drawn.cells], {key: value.iloc[shown] for key, value in said.items()})
    environment = jinja2.Environment(loader=jinja2.PackageLoader("scdart", "pl"), autoescape=True, trim_blocks=False)
    page = environment.get_template("report.html.jinja").render(
        title=title,
        made=f"{datetime.now(UTC):%d %B %Y, %H:%M} UTC",
        versions=versions(),
        modalities=[mod.upper() for mod in mods.values()],
        data=summarize_data(mdata, mods, {role: arguments.get(f"{role}_layer") for role in mods}),
        links=summarize_links(mdata, mods),
        batches=summarize_batches(mdata, mods, batches),
        answers=answers(diagnostics),
        confidence=_mean(aligned),
        colorings=colorings,
        drawn=_describe(len(drawn), points),
        latent_html=_embed(latent_figure(drawn, hover), "latent", buttons=True),
        losses=[
            (label, _embed(figure, f"loss{i}", buttons=False))
            for i, (label, figure) in enumerate(loss_figures(curves).items())
        ],
        parts=dict(zip(next(iter(curves.values()), {}), OKABE_ITO, strict=False)),
        plotly_js=plotly_offline.get_plotlyjs(),
        code=as_code(settings, mods),
        settings=as_json(settings),
    )
    with replacing(path) as part:
        part.write_text(page, encoding="utf-8")
    return path


def _optional(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ImportError(f"A report needs {name.split('.')[0]}: `pip install jinja2 plotly`.") from error


def _embed(figure: Any, name: str, *, buttons: bool) -> str:
    config = {**_CONFIG, "displayModeBar": buttons}
    return str(figure.to_html(full_html=False, include_plotlyjs=False, div_id=name, config=config))


def _alignment_confidence(
    mdata: MuData, model: SCDART | None, mods: dict[str, str], use_rep: str
) -> dict[str, np.ndarray]:
    """Ask the model about every cell, or read what was written; nothing is known where there are too few cells."""
    if model is None:
        slots = {role: mdata.mod[mod].obsm.get(f"{use_rep}_confidence") for role, mod in mods.items()}
        if any(slot is None for slot in slots.values()):
            return {}
        check_confidence_follows(mdata, use_rep)
        return {role: np.asarray(slot, dtype=float).ravel() for role, slot in slots.items()}
    try:
        return {role: model.get_alignment_confidence(mdata, modality=mod).to_numpy(float) for role, mod in mods.items()}
    except ValueError as error:
        logger.info("No alignment confidence: %s", error)
        return {}


def _mean(aligned: dict[str, np.ndarray]) -> float | None:
    return float(np.nanmean(np.concatenate(list(aligned.values())))) if aligned else None


def _confidence(
    mdata: MuData, aligned: dict[str, np.ndarray], mods: dict[str, str]
) -> dict[str, tuple[dict[str, np.ndarray], float]]:
    slot = confidence_slot(mdata, ANCHORS)
    anchored = {
        role: np.asarray(mdata.mod[mod].obsm[slot], dtype=float).ravel()
        for role, mod in mods.items()
        if slot is not None and slot in mdata.mod[mod].obsm
    }
    return {name: (by_role, low) for (name, low), by_role in zip(_LOW.items(), (anchored, aligned), strict=True)}


def _at_points(points: Points, values: dict[str, np.ndarray]) -> pd.Series:
    """Values of the measurements that the points are; the mean, where a point is two."""
    by_point = [pd.Series(values[mod]).reindex(rows).to_numpy() for mod, rows in points.rows.items()]
    return pd.DataFrame(by_point).mean()


def _describe(n_drawn: int, points: Points) -> str:
    n_cells = len(np.unique(points.cells))
    what = f"{len(points):,} cells" if n_cells == len(points) else f"{len(points):,} measurements of {n_cells:,} cells"
    return f"{what}." if n_drawn == len(points) else f"{n_drawn:,} of {what}."


def _latent(mdata: MuData, model: SCDART | None, use_rep: str, mods: dict[str, str]) -> dict[str, np.ndarray]:
    """Latent space of each modality by its name: as written there, by the model, or by rows of the joint slot."""
    latent = {}
    for mod in mods.values():
        adata = mdata.mod[mod]
        if use_rep in adata.obsm:
            latent[mod] = np.asarray(adata.obsm[use_rep], dtype=float)
        elif model is not None:
            latent[mod] = model.get_latent_representation(mdata, modality=mod).astype(float)
        elif use_rep in mdata.obsm and not adata.obs_names.isin(mdata.mod[_other(mods, mod)].obs_names).any():
            latent[mod] = np.asarray(mdata.obsm[use_rep], dtype=float)[mdata.obs_names.get_indexer(adata.obs_names)]
        else:
            raise KeyError(
                f"mdata[{mod!r}].obsm has no {use_rep!r}: pass the model, or write "
                f"model.get_latent_representation(modality={mod!r}) there. The joint slot of mdata does not do, since "
                "it has one position for a cell that is in both modalities."
            )
    return latent


def _other(mods: dict[str, str], mod: str) -> str:
    return next(name for name in mods.values() if name != mod)


def _automatic(mdata: MuData, points: Points, batch_key: str | None) -> list[str]:
    """Columns that a reader will want to see."""
    keys = ["modality"] if batch_key is None else ["modality", batch_key]
    owners = (mdata, *(mdata.mod[mod] for mod in points.rows))
    copies = tuple(f"{mod}:" for mod in points.rows)  # which MuData makes of the modalities' columns
    for key in dict.fromkeys(key for owner in owners for key in owner.obs if not key.startswith(copies)):
        column = next(owner.obs[key] for owner in owners if key in owner.obs)
        if is_number(column):
            wanted = any(word in key for word in ("pseudotime", "confidence"))
        else:
            wanted = 2 <= column.nunique() <= _MAX_CATEGORIES
        if wanted:
            keys.append(key)
    slot = confidence_slot(mdata, ANCHORS)
    if slot is not None and any(slot in owner.obsm for owner in owners):
        keys.append(slot)
    return list(dict.fromkeys(keys))

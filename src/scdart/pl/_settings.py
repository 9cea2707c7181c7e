"""What was computed from what, with which settings: tables for a reader, and code to repeat it."""

from __future__ import annotations

import json
import platform
from importlib.metadata import PackageNotFoundError, version
from inspect import signature
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp

from scdart import pp
from scdart._batches import batch_labels
from scdart._checks import stored_counts
from scdart._chunks import as_matrix, transformed
from scdart._constants import ANCHORS, ATAC, BATCH_FACTORS, DIFFUSION_COORDINATES, GENE_ACTIVITY, RNA
from scdart._replicates import NOTED_OF_TRAINING
from scdart._slots import given_times

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd
    from mudata import MuData

    from scdart.model import SCDART

_PACKAGES = ("scdart", "scvi-tools", "torch", "lightning", "scanpy", "anndata", "mudata", "numpy", "scipy")


def summarize_data(mdata: MuData, mods: Mapping[str, str], layers: Mapping[str, str | None]) -> list[tuple[str, ...]]:
    """Describe both modalities: a row for each property, with its values in RNA and ATAC."""
    columns = []
    for role, mod in mods.items():
        adata = mdata.mod[mod]
        counts = as_matrix(stored_counts(adata, layers[role], mod))
        totals = np.asarray(counts.sum(axis=1)).ravel()
        open_ = np.asarray(transformed(counts, lambda chunk, rows: chunk > 0).sum(axis=1)).ravel()
        columns.append(
            (
                f"{adata.n_obs:,}",
                f"{adata.n_vars:,}",
                f"{np.median(totals):,.0f}",
                f"{np.median(open_):,.0f}",
                f"{open_.sum() / (adata.n_obs * adata.n_vars):.1%}",
            )
        )
    names = ("Cells", "Features", "Median counts of a cell", "Median features of a cell", "Entries that are not zero")
    return [(name, *values) for name, *values in zip(names, *columns, strict=True)]


def summarize_links(mdata: MuData, mods: Mapping[str, str]) -> list[tuple[str, str]]:
    """Describe what ties the modalities together: cells in both, prior, anchors."""
    rna, atac = mdata.mod[mods[RNA]], mdata.mod[mods[ATAC]]
    n_both = len(rna.obs_names.intersection(atac.obs_names))
    rows = [("Cells of the same name in both modalities", f"{n_both:,}")]
    if GENE_ACTIVITY in atac.varm:
        prior = sp.csr_matrix(atac.varm[GENE_ACTIVITY])
        genes, peaks = (np.count_nonzero(prior.getnnz(axis=axis)) for axis in (0, 1))
        rows.append(("Links of the prior", f"{prior.nnz:,}"))
        rows.append(("Genes with a linked peak", f"{genes:,} of {rna.n_vars:,}"))
        rows.append(("Peaks with a linked gene", f"{peaks:,} of {atac.n_vars:,}"))
    described = mdata.uns.get(ANCHORS)
    if described is not None:
        n_pairs = int(described.get("n_pairs", 0))
        rows.append(("Known pairs of cells", f"{n_pairs:,}"))
        rows.append(("Anchors", str(described.get("variant", "given by the user"))))
    elif ANCHORS in mdata.obsp:
        rows.append(("Anchors", "given by the user"))
    return rows


def find_batches(
    mdata: MuData, arguments: Mapping[str, Any] | None, mods: Mapping[str, str]
) -> tuple[str | None, dict[str, pd.Series]]:
    """Get the column with batches, and by role the batch of each cell where a modality has several.

    It is the column that the model was set up with; without a model, the one that factors were estimated for.
    """
    if arguments is not None:
        key = arguments.get("batch_key")
    else:
        described = (mdata.mod[mod].uns.get(BATCH_FACTORS, {}) for mod in mods.values())
        key = next((one["batch_key"] for one in described if "batch_key" in one), None)
    if key is None:
        return None, {}
    labels = {role: batch_labels(mdata.mod[mod], key) for role, mod in mods.items() if key in mdata.mod[mod].obs}
    return key, {role: batch for role, batch in labels.items() if batch.nunique() > 1}


def summarize_batches(
    mdata: MuData, mods: Mapping[str, str], batches: Mapping[str, pd.Series]
) -> list[tuple[str, str, str, str]]:
    """Describe every batch: its modality, its name, its cells, and the share of them that other batches have too."""
    rows = []
    for role, labels in batches.items():
        matched = mdata.mod[mods[role]].uns.get(BATCH_FACTORS, {}).get("matched", {})
        for name, n_cells in labels.value_counts().sort_index().items():
            share = f"{matched[name]:.0%}" if name in matched else ""
            rows.append((mods[role].upper(), str(name), f"{n_cells:,}", share))
    return rows


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that the result depends on."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return {**found, "platform": platform.platform()}


def collect_settings(mdata: MuData, model: SCDART | None, mods: Mapping[str, str]) -> dict[str, Any]:
    """Gather the settings of every step, as the steps wrote them down."""
    atac = mdata.mod[mods[ATAC]]
    settings: dict[str, Any] = {
        "gene_activity": atac.uns.get(GENE_ACTIVITY, {}).get("params"),
        "batch_factors": {mod: mdata.mod[mod].uns.get(BATCH_FACTORS) for mod in mods.values()},
        "diffusion_coordinates": {mod: mdata.mod[mod].uns.get(DIFFUSION_COORDINATES) for mod in mods.values()},
        "anchors": mdata.uns.get(ANCHORS),
        "scdart.tl.integrate": mdata.uns.get("scdart"),
    }
    if model is not None:
        init = model.init_params_
        settings["setup_mudata"] = dict(model.registry["setup_args"])
        settings["model"] = {**init["non_kwargs"], **{k: v for kw in init["kwargs"].values() for k, v in kw.items()}}
        settings["train"] = getattr(model, "train_settings_", [])
        settings["epochs"] = max((len(curve) for curve in (model.history or {}).values()), default=0)
    return _plain(settings)


def _plain(value: Any) -> Any:
    """Turn arrays and other types into what JSON knows."""
    if hasattr(value, "items"):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        value = value.ravel().tolist()
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        return value.item()
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def as_json(settings: Mapping[str, Any]) -> str:
    """Write settings as text, for readers and programs."""
    return json.dumps(settings, indent=2, ensure_ascii=False)


def as_code(settings: Mapping[str, Any], mods: Mapping[str, str]) -> str:
    """Write Python code that repeats the run, as far as the settings say how it was done."""
    names = {f"{role}_mod": mod for role, mod in mods.items() if mod != role}
    lines = ["import mudata, scdart, scvi", ""]
    runs = settings.get("train", [])
    if runs and runs[0]["seed"] is not None:
        lines.append(f"scvi.settings.seed = {runs[0]['seed']!r}")
    lines.append('mdata = mudata.read_h5mu("input.h5mu")')
    prior = settings.get("gene_activity")
    if prior:
        lines.append(_call("scdart.pp.gene_activity", "mdata", '"annotation.gtf.gz"', **prior, **names))
    batches = next(filter(None, settings["batch_factors"].values()), None)
    if batches:
        arguments = ("mdata", repr(batches["batch_key"]))
        lines.append(_call("scdart.pp.batch_factors", *arguments, **batches["params"], **names))
    diffusion = settings["diffusion_coordinates"][mods[RNA]]
    if diffusion:
        kept = {key: diffusion[key] for key in ("n_neighbors", "potential", "n_pcs", "batch_key") if key in diffusion}
        lines.append(_call("scdart.pp.diffusion_coordinates", "mdata", t=given_times(diffusion), **kept, **names))
    anchors = (settings.get("anchors") or {}).get("params")
    if anchors:
        pairs = {"pairs": ...} if settings["anchors"].get("n_pairs") else {}
        # What else the result depends on follows from the version of the package.
        options = {key: value for key, value in anchors.items() if key in signature(pp.anchors).parameters}
        lines.append(_call("scdart.pp.anchors", "mdata", **pairs, **options, **names))
    if "setup_mudata" in settings:
        lines.append(_call("scdart.model.SCDART.setup_mudata", "mdata", **settings["setup_mudata"]))
        lines.append("model = " + _call("scdart.model.SCDART", "mdata", **settings["model"]))
        for run in runs or [{"max_epochs": settings["epochs"]}]:
            lines.append(
                _call("model.train", **{key: value for key, value in run.items() if key not in NOTED_OF_TRAINING})
            )
        lines.append("scdart.tl.embed(mdata, model)")
    elif settings.get("scdart.tl.integrate"):
        run = settings["scdart.tl.integrate"]
        kept = {key: run[key] for key in ("n_latent", "t", "preset", "random_state", "batch_key") if key in run}
        lines.append(_call("scdart.tl.integrate", "mdata", **kept, **names))
    return "\n".join(lines)


def _call(function: str, *arguments: str, **options: Any) -> str:
    """Write a call, on several lines if it is long."""
    written = [*arguments, *(f"{key}={'...' if value is ... else repr(value)}" for key, value in options.items())]
    line = f"{function}({', '.join(written)})"
    if len(line) <= 100:
        return line
    return f"{function}(\n" + "".join(f"    {argument},\n" for argument in written) + ")"

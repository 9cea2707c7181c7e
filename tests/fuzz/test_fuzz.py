"""Whatever the data and the options are, a function says what is wrong with them, or returns what is right.

A case is a public function, a change of good data, and at most two options that were drawn. The answer is one of two:

- an error that scdart itself raises, which names an argument or a slot, and the object is as it was;
- a finite result, and where the change should not matter, the result without it.
"""

from __future__ import annotations

import inspect
import re
import traceback
import warnings
from functools import partial
from pathlib import Path

import anndata as ad
import matplotlib.pyplot as plt
import mudata as md
import numpy as np
import pandas as pd
import pytest
import scvi
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

import scdart
from scdart._mudata import columns_stay
from scdart._options import kinds_of_options
from scdart.model import SCDART

pytestmark = pytest.mark.fuzz

ROOT = Path(scdart.__file__).parent
QUIET = {"enable_progress_bar": False, "accelerator": "cpu", "logger": False}
GENES = pd.DataFrame(
    {"chrom": "chr1", "start": np.arange(24) * 1000, "end": np.arange(24) * 1000 + 500, "strand": "+"}
).assign(gene_name=[f"gene{i}" for i in range(24)])

# Functions: called with the data, the trained model, and options ----------------------------------------------------


def of_data(function, **fixed):
    return function, lambda mdata, model, **options: function(mdata, **{**fixed, **options})


def of_model(name, **fixed):
    method = getattr(SCDART, name)
    return method, lambda mdata, model, **options: method(model, mdata, **{**fixed, **options})


def trained_anew(mdata, model, **options):
    """Set up and train in one step; what set-up has written stays, so that it is not asked whether data are changed."""
    scvi.settings.seed = 0
    SCDART.setup_mudata(mdata)
    new = SCDART(mdata, n_latent=2)
    new.train(**{"max_epochs": 1, **QUIET, **options})
    return new.get_latent_representation()


def drawn_activity(mdata, model, **options):
    return scdart.pl.gene_activity(mdata, **{"predicted": model, "genes": "gene1", "show": False, **options})


def embedded(mdata, model, **options):
    return scdart.tl.embed(mdata, **{"model": model, **options})


def placed(mdata, model, **options):
    return scdart.tl.ingest(mdata, model.adata, model, **{"obs": ["stage", "pseudotime"], **options})


def modalities_of(mdata):
    """The two modalities, or whatever is there in their place."""
    return [mdata.mod.get(mod) if isinstance(mdata, md.MuData) else mdata for mod in ("rna", "atac")]


def put_together(mdata, model, **options):
    return scdart.pp.from_anndata(*modalities_of(mdata), **options)


def read_from_files(mdata, model, **options):
    for name, adata in zip(("rna.h5ad", "atac.h5ad"), modalities_of(mdata), strict=True):
        Path(name).unlink(missing_ok=True)
        if isinstance(adata, ad.AnnData):
            names = pd.DataFrame(index=adata.obs_names), pd.DataFrame(index=adata.var_names)
            ad.AnnData(adata.X, *names).write(name)
    return scdart.pp.from_files(**{"rna": "rna.h5ad", "atac": "atac.h5ad", **options})


def reported(mdata, model, **options):
    scdart.pl.report(mdata, **{"model": model, "path": "report.html", **options})


CHEAP = {
    "pp.from_anndata": (scdart.pp.from_anndata, put_together),
    "pp.set_anchors": of_data(scdart.pp.set_anchors, matrix=np.eye(45, 40)),
    "pp.set_gene_activity": of_data(scdart.pp.set_gene_activity, matrix=np.ones((50, 24))),
    "tl.transfer_labels": of_data(scdart.tl.transfer_labels, key="stage"),
    "tl.impute": of_data(scdart.tl.impute),
    "tl.smooth": of_data(scdart.tl.smooth),
    "tl.ingest": (scdart.tl.ingest, placed),
    "tl.embed": (scdart.tl.embed, embedded),
    "tl.joint_anndata": of_data(scdart.tl.joint_anndata),
    "tl.backbone": of_data(scdart.tl.backbone, groups="stage"),
    "tl.pseudotime": of_data(scdart.tl.pseudotime, root_score="pseudotime"),
    "tl.dynamic_curves": of_data(scdart.tl.dynamic_curves, features=["gene1", "gene2"]),
    "SCDART.setup_mudata": of_data(SCDART.setup_mudata),
    "SCDART.get_latent_representation": of_model("get_latent_representation"),
    "SCDART.get_gene_activity": of_model("get_gene_activity"),
}
COSTLY = {
    "pp.from_files": (scdart.pp.from_files, read_from_files),
    "pp.gene_activity": of_data(scdart.pp.gene_activity, annotation=GENES),
    "pp.diffusion_coordinates": of_data(scdart.pp.diffusion_coordinates),
    "pp.batch_factors": of_data(scdart.pp.batch_factors, batch_key="batch", n_neighbors=3),
    "tl.dynamic_features": of_data(scdart.tl.dynamic_features, df=2, min_cells=3),
    "SCDART.get_alignment_confidence": of_model("get_alignment_confidence", n_neighbors=5),
    "pl.latent": of_data(scdart.pl.latent, show=False),
    "pl.backbone": of_data(scdart.pl.backbone, show=False),
    "pl.alignment_confidence": of_data(scdart.pl.alignment_confidence, show=False),
    "pl.dynamic_features": of_data(scdart.pl.dynamic_features, features=["gene1"], show=False),
    "pl.gene_activity": (scdart.pl.gene_activity, drawn_activity),
}
DEAR = {
    "pl.report": (scdart.pl.report, reported),
    "pp.anchors": of_data(scdart.pp.anchors, refine=False),
    "SCDART.train": (SCDART.train, trained_anew),
    "tl.integrate": of_data(scdart.tl.integrate, max_epochs=1, n_latent=2, train_kwargs=QUIET),
}
CALLS = CHEAP | COSTLY | DEAR
#: The dearer a function, the fewer cases.
NAMES = [*sorted(CHEAP)] * 6 + [*sorted(COSTLY)] * 3 + [*sorted(DEAR)]

# Changes of the data ------------------------------------------------------------------------------------------------


def some_mod(mdata, rng):
    return mdata.mod[("rna", "atac")[rng.integers(2)]]


def stored_otherwise(mdata, rng):
    adata = some_mod(mdata, rng)
    ways = [sparse.csr_matrix.tocsc, sparse.csr_matrix.toarray, sparse.csr_array, lambda x: x.astype(np.int64)]
    adata.X = ways[rng.integers(len(ways))](adata.X)
    return mdata


def with_explicit_zeros(mdata, rng):
    adata = some_mod(mdata, rng)
    entries = adata.X.tocoo()
    rows, columns = np.append(entries.row, 0), np.append(entries.col, np.flatnonzero(adata.X[0].toarray() == 0)[0])
    adata.X = sparse.csr_matrix((np.append(entries.data, 0), (rows, columns)), shape=adata.shape)
    return mdata


def with_more_slots(mdata, rng):
    adata = some_mod(mdata, rng)
    adata.obs["note"], adata.uns["note"], adata.obsm["note"] = "x", {"a": 1}, np.full((adata.n_obs, 2), np.nan)
    mdata.obs["note"], mdata.uns["note"] = np.nan, None
    adata.layers["note"] = adata.X * 2
    return mdata


def labels_as_texts(mdata, rng):
    adata = some_mod(mdata, rng)
    adata.obs = adata.obs.astype({name: object for name in ("stage", "batch", "branch") if name in adata.obs})
    return mdata


def a_spoilt_count(mdata, rng):
    some_mod(mdata, rng).X.data[rng.integers(50)] = (np.nan, np.inf, -1.0, -np.inf)[rng.integers(4)]
    return mdata


def an_empty_cell(mdata, rng):
    adata = some_mod(mdata, rng)
    adata.X = sparse.diags((np.arange(adata.n_obs) != 3).astype(np.float32)) @ adata.X
    return mdata


def other_counts(mdata, rng):
    adata = some_mod(mdata, rng)
    adata.X = adata.X[rng.permutation(adata.n_obs)]
    return mdata


def repeated_names(mdata, rng):
    adata, axis = some_mod(mdata, rng), ("obs_names", "var_names")[rng.integers(2)]
    names = getattr(adata, axis).to_numpy(dtype=object).copy()
    names[0] = names[1]
    setattr(adata, axis, names)
    return mdata


def no_update(mdata, rng):
    mod = ("rna", "atac")[rng.integers(2)]
    adata = mdata.mod[mod]
    rows = rng.permutation(adata.n_obs)[: (adata.n_obs, 30)[rng.integers(2)]]
    mdata.mod[mod] = adata[rows].copy()
    return mdata


def a_part_of_the_cells(mdata, rng):
    return mdata[np.sort(rng.permutation(mdata.n_obs)[: rng.integers(2, mdata.n_obs)])].copy()


def other_features(mdata, rng):
    mods = dict(mdata.mod)
    mod = ("rna", "atac")[rng.integers(2)]
    columns = rng.permutation(mods[mod].n_vars)[: (mods[mod].n_vars, 5)[rng.integers(2)]]
    return md.MuData({**mods, mod: mods[mod][:, columns].copy()})


def without_a_modality(mdata, rng):
    mod = ("rna", "atac")[rng.integers(2)]
    return md.MuData({(mod, "other")[rng.integers(2)]: mdata.mod[mod]})


def swapped(mdata, rng):
    return md.MuData({"rna": mdata["atac"], "atac": mdata["rna"]})


def no_mudata(mdata, rng):
    return (None, mdata["rna"], dict(mdata.mod), "data.h5mu", 3, pd.DataFrame())[rng.integers(6)]


def a_view(mdata, rng):
    return mdata[: rng.integers(20, mdata.n_obs)]


def a_lost_slot(mdata, rng):
    owner = (mdata, *mdata.mod.values())[rng.integers(3)]
    held = [
        (slot, key) for slot in ("obsm", "obsp", "varm", "uns", "layers") for key in getattr(owner, slot, None) or ()
    ]
    slot, key = held[rng.integers(len(held))]
    del getattr(owner, slot)[key]
    return mdata


def a_spoilt_slot(mdata, rng):
    owner = (mdata, *mdata.mod.values())[rng.integers(3)]
    slot = ("obsm", "obsm", "varm", "obsp")[rng.integers(4)]
    keys = [
        key
        for key, value in getattr(owner, slot).items()
        if not isinstance(value, pd.DataFrame) and key not in mdata.mod
    ]
    if keys:
        key = keys[rng.integers(len(keys))]
        values = getattr(owner, slot)[key]
        values = values.toarray() if sparse.issparse(values) else np.array(values, dtype=float)
        values.ravel()[rng.integers(values.size)] = (np.nan, np.inf, -5.0)[rng.integers(3)]
        getattr(owner, slot)[key] = values
    return mdata


def spoilt_labels(mdata, rng):
    adata = some_mod(mdata, rng)
    key = ("stage", "batch", "pseudotime")[rng.integers(3)]
    adata.obs[key] = (np.nan, "same", 1.5, pd.NaT)[rng.integers(4)]
    return mdata


def unchanged(mdata, rng):
    return mdata


HARMLESS = [unchanged, stored_otherwise, with_explicit_zeros, with_more_slots, labels_as_texts]
HARMFUL = [
    a_spoilt_count,
    an_empty_cell,
    other_counts,
    repeated_names,
    no_update,
    a_part_of_the_cells,
    other_features,
    without_a_modality,
    swapped,
    no_mudata,
    a_view,
    a_lost_slot,
    a_spoilt_slot,
    spoilt_labels,
]
# fmt: off
ODD = [
    -1, 0, 1, 2, 3, 7, 10**12, True, False, None, 0.5, 1.0, -0.5, float("nan"), float("inf"), 1e9, "", "x",
    "rna", "atac", "counts", "stage", "batch", "pseudotime", "auto", "gene1", (), [], [1], [0, 2], ["gene1"], ["x"], {},
    {"rna": "X_scdart"}, object(), np.ones(3), np.array([[1, 2]]), b"x", pd.Series(["a"]), pd.DataFrame({"a": [1]}),
]
# fmt: on

# What is right ------------------------------------------------------------------------------------------------------


def plain(value):
    """Write a slot as arrays, texts and dictionaries, which can be compared."""
    if sparse.issparse(value):
        return value.toarray()
    if isinstance(value, pd.DataFrame | pd.Series | pd.Index):
        values = value.to_numpy()
        return (
            values
            if isinstance(values, np.ndarray) and values.dtype.kind in "biuf"
            else np.asarray(values, dtype=object)
        )
    if hasattr(value, "items"):
        return {key: plain(one) for key, one in value.items()}
    return value


def contents(data):
    """All that an object holds, by place."""
    if not isinstance(data, md.MuData | ad.AnnData):
        return {}
    owners = {"mdata": data, **getattr(data, "mod", {})}
    found = {}
    for name, owner in owners.items():
        found |= {f"{name}.{axis}": plain(getattr(owner, axis)) for axis in ("obs_names", "var_names")}
        if isinstance(owner, ad.AnnData):
            found |= {f"{name}.X": plain(owner.X)}
        for slot in ("obs", "var", "obsm", "obsp", "varm", "uns", "layers"):
            # What scvi-tools notes for itself, so that it knows the object again, is no data.
            held = getattr(owner, slot, None)
            if held is None:  # a MuData has no layers
                continue
            kept = {key: held[key] for key in held if key and not key.startswith("_scvi")}
            found |= {f"{name}.{slot}.{key}": plain(value) for key, value in kept.items()}
    return found


def same(a, b, tolerance=0.0):
    if isinstance(a, dict) or isinstance(b, dict):
        return (
            isinstance(a, dict)
            and isinstance(b, dict)
            and a.keys() == b.keys()
            # Checksums of results are others where these differ by rounding.
            and all(same(a[k], b[k], tolerance) for k in a if not (tolerance and k == "made_from"))
        )
    a, b = np.asarray(a), np.asarray(b)
    if a.shape != b.shape:
        return False
    if a.dtype.kind in "fiub" and b.dtype.kind in "fiub":
        return bool(np.allclose(a, b, rtol=tolerance, atol=tolerance, equal_nan=True))
    return all(
        x is y or x == y or (x != x and y != y) or str(x) == str(y) for x, y in zip(a.ravel(), b.ravel(), strict=True)
    )


def is_finite(value):
    value = plain(value)
    if isinstance(value, dict):
        return all(map(is_finite, value.values()))
    array = np.asarray(value)
    return array.dtype.kind != "f" or bool(np.isfinite(array).all())


#: Functions that hand on what they are given.
AS_GIVEN = ("pp.from_anndata", "pp.from_files", "tl.joint_anndata")

#: What may be NaN, as its function says: cells that nothing is known of, and what was not tested.
MAY_BE_NAN = re.compile(r"\.obs\.|_order$|dynamic_features|note|pseudotime|\.uns\.")


def outcome(call, mdata, model, options):
    """Result of a call, and what it wrote; or its error."""
    before = contents(mdata)
    try:
        result = call(mdata, model, **options)
    except Exception as error:  # noqa: BLE001  # which one it is, is the question
        return error, before, contents(mdata)
    plt.close("all")
    after = contents(mdata)
    written = {key: value for key, value in after.items() if key not in before or not same(before[key], value)}
    return (
        None,
        {"result": result_of(result), **written},
        after,
    )


def result_of(result):
    if isinstance(result, md.MuData | ad.AnnData):
        return contents(result)
    return plain(result) if isinstance(result, np.ndarray | pd.DataFrame | pd.Series) else None


def assert_clear(error, function):
    """The error is one that scdart raises on purpose, and says of which argument or slot it is."""
    assert isinstance(error, ValueError | KeyError | TypeError | OSError | RuntimeError | ModuleNotFoundError), repr(
        error
    )
    frames = [frame.filename for frame in traceback.extract_tb(error.__traceback__)]
    assert Path(frames[-1]).is_relative_to(ROOT), f"obscure: {error!r} from {frames[-1]}"
    names = "|".join(map(re.escape, inspect.signature(function).parameters))
    assert re.search(
        rf"\b({names}|mdata|obsm?|uns|modality|adata|var_names|genes|cells|anchors|layers)\b", str(error)
    ), repr(error)


@st.composite
def cases(draw):
    name = draw(st.sampled_from(NAMES))
    change = draw(st.sampled_from(HARMLESS * 2 + HARMFUL))
    known = sorted(kinds_of_options(CALLS[name][0]).keys() - {"mdata", "copy", "show", "self", "cls"})
    chosen = draw(st.lists(st.sampled_from(known), max_size=2, unique=True)) if known else []
    options = {option: ODD[draw(st.integers(0, len(ODD) - 1))] for option in chosen}
    return name, change, draw(st.integers(0, 2**16)), options


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path_factory, monkeypatch):
    monkeypatch.chdir(tmp_path_factory.mktemp("fuzz"))  # options such as save="x" write there


@given(case=cases())
def test_errors_are_clear_and_results_are_right(trained, case):
    check(*trained, *case)


def check(model, good, name, change, seed, options):
    """Raise unless the answer to a case is one of the two."""
    function, call = CALLS[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with columns_stay():
            mdata = change(good.copy(), np.random.default_rng(seed))
        error, wrote, after = outcome(call, mdata, model, options)
        if error is not None:
            assert_clear(error, function)
            assert same(wrote, after) or name == "SCDART.train", f"changed by a call that failed with {error!r}"
        else:
            for key, value in places(wrote).items():
                assert name in AS_GIVEN or MAY_BE_NAN.search(key) or is_finite(value), f"{key} is not finite"
        if change in HARMLESS:
            with columns_stay():
                again = good.copy()
            expected, expected_wrote, expected_after = outcome(call, again, model, options)
            assert type(error) is type(expected), f"{error!r}, and {expected!r} without the change"
            if error is None:
                asked = places(wrote).keys() | places(expected_wrote).keys()
                found, right = after | places(wrote), expected_after | places(expected_wrote)
                assert not (keys := differing(found, right, asked)), keys


def differing(a, b, keys):
    """Places at which two results are not the same, but for the slots that were added."""
    return [
        key for key in keys if "note" not in key and (key not in a or key not in b or not same(a[key], b[key], 1e-4))
    ]


def places(wrote):
    """What was written, and returned, by place."""
    result = wrote["result"]
    return {
        **wrote,
        **(result if isinstance(result, dict) else {}),
        "result": None if isinstance(result, dict) else result,
    }


@pytest.mark.parametrize("name", CALLS)
def test_good_data_are_taken(trained, name):
    model, good = trained
    error, *_ = outcome(partial(CALLS[name][1]), good.copy(), model, {})
    assert error is None

"""The experiment on batches: what methods are told, what is scored, and the page with its figure."""

from __future__ import annotations

import dataclasses
import sys
from functools import partial
from types import SimpleNamespace

import accuracy
import mudata
import numpy as np
import pandas as pd
import pytest
from _batches_figure import draw_batches, simulated_runs
from _components import columns_stay
from _datasets import DataSet, all_cells, random_cells_of_each, simulated
from _experiments import COMPOSITIONS, experiments
from _methods import BATCH_METHODS, METHODS, Embedding, harmony, liger
from _runner import run
from _scores import Scorer

from scdart.metrics import batch_mixing

TWO = {"n_batches_rna": 2, "n_batches_atac": 2, "batch_effect": 1.0}
LOAD = partial(simulated, tree="(t1:1,t2:1);", paired=True, n_cells=160, n_genes=40, n_peaks=120, **TWO)


@pytest.fixture(scope="module")
def problem():
    return DataSet("two batches", LOAD, all_cells, batches=True).problem(0)


@pytest.fixture(scope="module")
def files(problem, tmp_path_factory):
    return problem.write(tmp_path_factory.mktemp("blind"))


@pytest.fixture(scope="module")
def told(files):
    with columns_stay():
        return mudata.read_h5mu(files["train"])


def test_methods_are_told_batches_and_nothing_else(problem, told):
    for mod in ("rna", "atac"):
        assert list(told[mod].obs) == ["batch"]
        table = pd.crosstab(told[mod].obs["batch"], problem.truth[mod].obs.loc[told[mod].obs_names, "batch"])
        assert list(table.index) == [f"{mod}_0", f"{mod}_1"]
        assert sorted((table > 0).sum(axis=1)) == [1, 1]


def test_batches_of_one_name_do_not_tell_pairs():
    def load(seed):
        mdata = LOAD(seed)
        for adata in mdata.mod.values():
            adata.obs["batch"] = np.where(mdata["rna"].obs["branch"] == "3_1", "lane", "other lane")
        return mdata

    told = DataSet("shared lanes", load, all_cells, batches=True).problem(0).train
    assert not set(told["rna"].obs["batch"]) & set(told["atac"].obs["batch"])


def test_mixing_is_scored_within_branches(problem):
    rng = np.random.default_rng(0)
    truth = {mod: problem.truth[mod][problem.train[mod].obs_names] for mod in ("rna", "atac")}
    place = {mod: (adata.obs["branch"] == "3_1").to_numpy()[:, None] * 20.0 for mod, adata in truth.items()}
    apart = place["atac"] + 100 * (truth["atac"].obs["batch"] == "atac_0").to_numpy()[:, None]
    z = Embedding(*(where + rng.normal(size=(160, 3)) for where in (place["rna"], apart)))
    scores = Scorer(problem, "train")(z)
    of_branches = [
        batch_mixing(z.rna[rows], truth["rna"].obs["batch"][rows])
        for rows in ((truth["rna"].obs["branch"] == branch).to_numpy() for branch in ("3_1", "3_2"))
    ]
    assert scores["batch_mixing_rna"] == pytest.approx(min(of_branches))
    assert scores["batch_mixing_rna"] > 0.8
    assert scores["batch_mixing_atac"] == 0
    assert scores["batch_mixing_rna_alone"] < 0.8


def test_a_single_batch_has_no_mixing():
    load = partial(LOAD, n_batches_rna=1)
    problem = DataSet("one RNA batch", load, all_cells, batches=True).problem(0)
    scores = Scorer(problem, "train")(Embedding(*np.random.default_rng(0).normal(size=(2, 160, 3))))
    assert "batch_mixing_atac" in scores
    assert "batch_mixing_rna" not in scores


def test_scdart_takes_the_key(files, tmp_path):
    quick = BATCH_METHODS["scdart"].options | {"anchors": False, "t": [2, 4]}
    method = dataclasses.replace(BATCH_METHODS["scdart"], options=quick)
    outcome = run(method, files, 0, tmp_path, sys.executable, timeout=300)
    assert outcome.failure == ""
    assert outcome.embedding.rna.shape == outcome.embedding.atac.shape


def test_harmony_takes_batches_out(problem, told):
    pytest.importorskip("harmonypy")
    mixing = {}
    for key in (None, "batch"):
        z = harmony(told, told, 0, batch_key=key)
        mixing[key] = batch_mixing(z.rna, told["rna"].obs["batch"])
    assert mixing["batch"] > mixing[None] + 0.1


@pytest.mark.parametrize("batch_key", [None, "batch"])
def test_liger_has_a_data_set_for_each_batch_and_keeps_rows(told, monkeypatch, batch_key):
    """With a stand-in for pyliger that returns the library size of every cell."""
    made = []

    def create(adatas, remove_missing):
        made.extend(adatas)
        return SimpleNamespace(adata_list=adatas)

    def quantile_norm(problem, rand_seed):
        for adata in problem.adata_list:
            adata.obsm["H_norm"] = np.asarray(adata.X.sum(axis=1))

    idle = {name: lambda *args, **options: None for name in ("normalize", "scale_not_center", "optimize_ALS")}
    stand_in = SimpleNamespace(create_liger=create, quantile_norm=quantile_norm, **idle)
    monkeypatch.setitem(sys.modules, "pyliger", stand_in)
    z = liger(told, told, 0, batch_key=batch_key)
    names = [adata.uns["sample_name"] for adata in made]
    assert names == (["rna", "atac"] if batch_key is None else ["rna_0", "rna_1", "atac_0", "atac_1"])
    assert sum(adata.n_obs for adata in made) == 320
    used = made[0].var_names
    np.testing.assert_array_equal(z.rna[:, 0], np.asarray(told["rna"][:, used].X.sum(axis=1))[:, 0])


def test_cells_of_each_modality_are_drawn_apart(tmp_path):
    with columns_stay():
        mdata = simulated(0, n_cells=(50, 90), n_genes=40, n_peaks=120)
        mdata.write(tmp_path / "cells.h5mu")
    drawn = random_cells_of_each(tmp_path / "cells.h5mu", 60, seed=1)
    assert (drawn["rna"].n_obs, drawn["atac"].n_obs) == (50, 60)
    np.testing.assert_array_equal(drawn["atac"].X.toarray(), mdata["atac"][drawn["atac"].obs_names].X.toarray())


@pytest.fixture
def runs():
    values = [("effect 0, even", 0.01), ("effect 1.5, even", 0.2), ("effect 1, 4:1", 0.1), ("two donors", np.nan)]
    return pd.DataFrame(
        [
            {"dataset": dataset, "method": method, "seed": seed, "foscttm": value + 0.01 * seed}
            | {"batch_mixing_rna": 0.5, "batch_mixing_atac": 0.7 - 0.3 * seed}
            for dataset, value in values
            for method in ("scdart", "linear")
            for seed in range(2)
        ]
    )


def test_figure_shows_simulated_runs(runs, tmp_path):
    shown = simulated_runs(runs)
    assert shown["effect"].to_list() == [0.0] * 4 + [1.5] * 4 + [1.0] * 4
    assert shown["composition"].unique().tolist() == ["even", "4:1"]
    assert shown["batch_mixing"].to_list() == pytest.approx([0.5, 0.4] * 6)
    draw_batches(runs, tmp_path / "figure.png")
    assert (tmp_path / "figure.png").stat().st_size > 10_000


def test_figure_without_simulated_runs(runs, tmp_path):
    draw_batches(runs[runs["dataset"] == "two donors"], tmp_path / "figure.png")
    assert (tmp_path / "figure.png").exists()


def test_page_names_what_it_holds_and_not_what_ran_last(tmp_path, monkeypatch, runs):
    batches = experiments(tmp_path)["batches"]
    runs = runs[runs["dataset"] != "two donors"].copy()
    folder = tmp_path / "results" / "batches"
    folder.mkdir(parents=True)
    runs.to_csv(folder / "runs.csv", index=False)
    (tmp_path / "docs" / "_static").mkdir(parents=True)
    (tmp_path / "docs" / "benchmarks").mkdir()
    monkeypatch.setattr(accuracy, "DOCS", tmp_path / "docs")
    again = {"dataset": "effect 0, even", "method": "linear", "seed": 0, "foscttm": 0.3}
    monkeypatch.setattr(accuracy, "_rows", lambda *args: iter([again]))
    accuracy.main(
        "batches",
        quick=False,
        method=["linear"],
        dataset=["effect 0, even"],
        seeds=None,
        python=None,
        jobs=1,
        timeout=60,
        keep=True,
        data=tmp_path,
        output=tmp_path / "results",
        docs=True,
    )
    page = (tmp_path / "docs" / "benchmarks" / "batches.md").read_text()
    command = page.split("```")[1].replace("\\\n   ", "")
    assert "--method scdart --method linear" in command
    assert [name in command for name in ("effect 0, even", "effect 1.5, even", "effect 1, 4:1")] == [True] * 3
    assert f"![{batches.caption}](../_static/batches.png)" in page
    assert (tmp_path / "docs" / "_static" / "batches.png").exists()
    assert len(pd.read_csv(folder / "runs.csv")) == len(runs)


def test_experiment_covers_all_compositions(tmp_path):
    batches = experiments(tmp_path)["batches"]
    names = [dataset.name for dataset in batches.datasets]
    assert len(names) == 4 * len(COMPOSITIONS) + 2
    assert {dataset.batches for dataset in batches.datasets} == {True}
    assert METHODS["scdart"] == BATCH_METHODS["scdart without key"]
    # No name within another: each can be asked for alone.
    assert not any(one in other for one in names for other in names if one != other)
    missing = batches.datasets[-3].load(0)
    assert names[-3] == "effect 1.5, a branch missing"
    assert (pd.crosstab(missing["rna"].obs["batch"], missing["rna"].obs["branch"]) == 0).to_numpy().sum() == 1

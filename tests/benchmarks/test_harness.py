from __future__ import annotations

import dataclasses
from functools import partial

import accuracy
import mudata
import numpy as np
import pandas as pd
import pytest
from _components import columns_stay, log_normalized
from _datasets import DataSet, all_cells, share_of, simulated, unequal_branches, unmatched_halves
from _experiments import BY_METRIC, Experiment, experiments
from _methods import METHODS, Embedding, Method
from _report import METRICS, markdown, summarize, tables
from _runner import Run, missing_requirement, run, why_ended
from _scores import Scorer, best_cluster_f1
from scipy import sparse

N_CELLS = 120
TINY = partial(simulated, tree="(t1:1,t2:1);", paired=True, n_cells=N_CELLS, n_genes=40, n_peaks=120)
PRESENT = Method("linear", "json", embeds_new_cells=True)
ABSENT = Method("linear", "no_such_module", embeds_new_cells=True)


@pytest.fixture(scope="module")
def halves():
    return DataSet("halves", TINY, unmatched_halves, score_all=True).problem(0)


@pytest.fixture(scope="module")
def files(halves, tmp_path_factory):
    return halves.write(tmp_path_factory.mktemp("blind"))


def experiment(dataset: DataSet, methods: dict[str, Method], **changes) -> Experiment:
    options = {"metrics": ("foscttm", "reversed"), "n_seeds": 1} | changes
    return Experiment("Title", "About.", (dataset,), methods, **options)


@pytest.mark.parametrize("cells", ["train", "query"])
def test_methods_read_counts_and_prior_only(files, cells):
    with columns_stay():
        mdata = mudata.read_h5mu(files[cells])
    assert list(mdata.mod) == ["rna", "atac"]
    assert list(mdata["atac"].varm) == ["gene_activity"]
    assert list(mdata["atac"].uns) == ["gene_activity"]
    assert not mdata.uns
    for mod in mdata.mod.values():
        assert mod.obs.columns.empty
        assert mod.var.columns.empty
        assert not mod.layers
        assert not mod.obsm
        assert not mod.obsp
        assert mod.raw is None
    assert not set(mdata["rna"].obs_names) & set(mdata["atac"].obs_names)


def test_neither_order_nor_names_tell_pairs(halves):
    cell = {mod: halves.truth[mod].obs["cell"] for mod in ("rna", "atac")}
    in_order = {mod: cell[mod][halves.query[mod].obs_names].to_numpy() for mod in cell}
    by_name = {mod: cell[mod].sort_index().to_numpy() for mod in cell}
    for rows in (in_order, by_name):
        assert set(rows["rna"]) == set(rows["atac"])
        # One cell is expected to have the same place in both by chance.
        assert (rows["rna"] == rows["atac"]).sum() < 8
        positions = pd.Index(rows["atac"]).get_indexer(rows["rna"])
        assert abs(np.corrcoef(positions, np.arange(N_CELLS))[0, 1]) < 0.3


def test_names_lead_back_to_the_same_counts(halves):
    original = TINY(0)
    for mod in ("rna", "atac"):
        cells = halves.truth[mod].obs["cell"][halves.train[mod].obs_names]
        np.testing.assert_array_equal(halves.train[mod].X.toarray(), original[mod][cells.to_numpy()].X.toarray())


def test_halves_are_unmatched(halves):
    trained = [set(halves.truth[mod].obs["cell"][halves.train[mod].obs_names]) for mod in ("rna", "atac")]
    assert [len(cells) for cells in trained] == [N_CELLS // 2, N_CELLS // 2]
    assert not trained[0] & trained[1]
    assert halves.query.shape[0] == 2 * N_CELLS


def test_unequal_branches_leave_balanced_mates():
    mdata = simulated(0, tree="(t1:1,t2:1);", paired=True, n_cells=2_000, n_genes=20, n_peaks=40)
    kept = unequal_branches(4, mdata, np.random.default_rng(0))
    branch = mdata["rna"].obs["branch"]
    rna, atac, mates = (branch[mask].value_counts(sort=False) for mask in (*kept.values(), kept["rna"] & kept["atac"]))
    assert rna.iloc[0] == atac.iloc[1] == 1_000
    # 1,000 draws with probability 1/4, four standard deviations
    assert abs(rna.iloc[1] - 250) < 55
    assert abs(atac.iloc[0] - 250) < 55
    assert mates.to_list() == [atac.iloc[0], rna.iloc[1]]


def test_share_of_one_modality(halves):
    kept = share_of("atac", 0.25, TINY(0), np.random.default_rng(0))
    assert kept["rna"].all()
    assert 15 < kept["atac"].sum() < 50


def test_truth_as_embedding_scores_perfectly(halves):
    factors = {mod: halves.truth[mod][halves.query[mod].obs_names].obsm["tree_factors"] for mod in ("rna", "atac")}
    links = halves.truth["atac"].varm["links"]
    scores = Scorer(halves, "query")(Embedding(**factors, links=links))
    assert scores["mates"] == N_CELLS
    assert scores["foscttm"] == 0
    assert scores["neighborhood_overlap"] == 1
    assert scores["pseudotime_transfer"] > 0.9
    assert scores["reversed"] == 0
    assert scores["link_auprc"] == pytest.approx(1)
    # What ridge regression on known partners predicts is not beyond reach, nor nothing.
    assert 0.1 < scores["gene_pearson_mean_matched"] < 0.9


def test_returning_what_was_trained_on_is_no_prediction(halves):
    factors = {mod: halves.truth[mod][halves.query[mod].obs_names].obsm["tree_factors"] for mod in ("rna", "atac")}
    cell = {mod: obs["cell"] for mod, obs in ((mod, halves.truth[mod].obs) for mod in factors)}
    rows = pd.Index(cell["rna"]).get_indexer(cell["atac"][halves.query["atac"].obs_names])
    measured = log_normalized(halves.truth["rna"].X, 1e3).toarray()[rows]
    seen = np.isin(cell["rna"].to_numpy()[rows], cell["rna"][halves.train["rna"].obs_names])
    retrieved = np.where(seen[:, None], measured, np.random.default_rng(0).permuted(measured, axis=0))
    scores = Scorer(halves, "query")(Embedding(**factors, expression=retrieved))
    assert scores["gene_pearson_mean"] > 0.4
    assert abs(scores["gene_pearson_mean_unseen"]) < 0.1


def test_training_cells_of_halves_have_no_foscttm(halves):
    rng = np.random.default_rng(0)
    scores = Scorer(halves, "train")(Embedding(*(rng.normal(size=(N_CELLS // 2, 3)) for _ in range(2))))
    assert scores["mates"] == 0
    assert scores["cells_rna"] == N_CELLS // 2
    assert "foscttm" not in scores


def test_rare_group_is_found_where_it_stands_apart():
    rng = np.random.default_rng(0)
    is_member = np.arange(200) < 30
    assert best_cluster_f1(rng.normal(size=(200, 2)) + 50 * is_member[:, None], is_member) == 1
    assert best_cluster_f1(rng.normal(size=(200, 2)), is_member) < 0.5


def test_run_in_a_process_of_its_own(halves, files, tmp_path):
    outcome = run(METHODS["linear"], files, 0, tmp_path, accuracy.sys.executable, timeout=120)
    assert outcome.failure == ""
    assert outcome.cells == "query"
    assert outcome.embedding.rna.shape == (N_CELLS, 30)
    assert outcome.embedding.expression.shape == (N_CELLS, 40)
    prior = halves.train["atac"].varm["gene_activity"]
    assert abs(outcome.embedding.links - prior).max() == 0
    assert outcome.report["cpu_seconds"] > 0
    assert 0.01 < outcome.report["memory_gib"] < 10


def test_failure_is_reported(files, tmp_path):
    broken = Method("no_such_function", "numpy", embeds_new_cells=True)
    assert "no_such_function" in run(broken, files, 0, tmp_path, accuracy.sys.executable, timeout=120).failure


def test_a_signal_is_told_from_an_error():
    assert "SIGKILL" in why_ended(-9, "half of a message\n")
    assert why_ended(1, "Traceback\nValueError: no\n\n") == "ValueError: no"
    assert why_ended(1, "\x1b[34mINFO\x1b[0m Solving") == "INFO Solving"
    assert why_ended(3, "") == "ended with code 3"


def test_methods_are_stopped_and_get_only_cells_they_can_embed(files, tmp_path):
    transductive = dataclasses.replace(METHODS["linear"], embeds_new_cells=False)
    stopped = run(transductive, files, 0, tmp_path, accuracy.sys.executable, timeout=0.01)
    assert stopped.failure == "stopped after 0 s"
    assert stopped.cells == "train"


def test_missing_requirement():
    assert missing_requirement(PRESENT) == ""
    assert "no_such_module" in missing_requirement(ABSENT)


def test_skipped_methods_and_data_are_printed_and_listed(tmp_path, capsys):
    stored = experiments(tmp_path)["reference"].datasets[0]
    chosen = experiment(stored, {"absent": ABSENT, "present": PRESENT})
    skipped = []
    assert list(accuracy._rows(chosen, {}, 1, 60, tmp_path, skipped)) == []
    printed = capsys.readouterr().out
    assert "skipped absent: cannot import no_such_module" in printed
    assert "skipped symsim2_bifurcating, unmatched halves: symsim2_bifurcating.h5mu is not in" in printed
    page = markdown(pd.DataFrame([{"dataset": "a", "method": "m", "seed": 0, "failure": "x"}]), chosen, "cmd", skipped)
    assert all(f"- {line}" in page for line in [*skipped, "m on a, seed 0: x"])


def test_data_may_have_more_seeds_and_a_method_with_fewer_is_named(tmp_path, monkeypatch):
    often = dataclasses.replace(DataSet("often", TINY, all_cells), n_seeds=3)
    both = experiment(often, {"linear": PRESENT, "slow": PRESENT}, once=("slow",))
    monkeypatch.setattr(accuracy, "run", lambda *_: Run("train", failure="not today"))
    rows = pd.DataFrame(accuracy._rows(both, {}, 1, 60, tmp_path, []))
    assert rows.groupby("method")["seed"].nunique().to_dict() == {"linear": 3, "slow": 1}
    assert "Fewer seeds" not in markdown(rows, both, "", [])
    assert "other methods of the same data: slow 1 (often)." in markdown(rows.drop(columns="failure"), both, "", [])


def test_unknown_names_are_refused(tmp_path):
    for arguments in (("no_such", []), ("trees", ["no_such"])):
        with pytest.raises(accuracy.typer.BadParameter, match="no_such"):
            accuracy._experiment(arguments[0], tmp_path, arguments[1])


@pytest.fixture
def runs():
    values = {"a": (0.1, 0.4, 0.2), "b": (0.3, np.nan, 0.5)}
    return pd.DataFrame(
        [
            {"dataset": "cells", "method": method, "seed": seed, "foscttm": value, "reversed": float(seed == 0)}
            for method, scores in values.items()
            for seed, value in enumerate(scores)
        ]
    )


def test_summary_is_median_and_range(runs):
    summary = summarize(runs).set_index(["method", "metric"])
    assert summary.loc[("a", "foscttm"), ["median", "min", "max", "n"]].to_list() == [0.2, 0.1, 0.4, 3]
    assert summary.loc[("b", "foscttm"), ["median", "min", "max", "n"]].to_list() == pytest.approx([0.4, 0.3, 0.5, 2])


def test_layouts(runs):
    shown = experiment(DataSet("cells", TINY, all_cells), {"b": METHODS["linear"], "a": METHODS["linear"]})
    by_dataset = tables(summarize(runs), shown)["cells"]
    assert by_dataset.columns.to_list() == ["b", "a"]
    assert by_dataset.loc["FOSCTTM ↓"].to_list() == ["0.400 (0.300–0.500)", "0.200 (0.100–0.400)"]
    assert by_dataset.loc["reversed ↓"].to_list() == ["1 of 3", "1 of 3"]
    by_metric = tables(summarize(runs), dataclasses.replace(shown, layout=BY_METRIC))
    assert list(by_metric) == ["FOSCTTM ↓", "reversed ↓"]
    assert by_metric["FOSCTTM ↓"].index.to_list() == ["cells"]


def test_experiments_use_what_is_known(tmp_path):
    for chosen in experiments(tmp_path).values():
        assert set(chosen.metrics) <= set(METRICS)
        names = [dataset.name for dataset in chosen.datasets]
        assert len(set(names)) == len(names)


def test_embedding_round_trip(tmp_path):
    links = sparse.random(5, 4, density=0.3, random_state=0)
    stored = Embedding(np.ones((2, 3)), np.zeros((4, 3)), np.ones((4, 4)), links)
    stored.save(tmp_path / "embedding.npz")
    loaded = Embedding.load(tmp_path / "embedding.npz")
    np.testing.assert_array_equal(loaded.atac, stored.atac)
    np.testing.assert_array_equal(loaded.expression, stored.expression)
    np.testing.assert_array_equal(loaded.links.toarray(), links.toarray())
    Embedding(np.ones((2, 3)), np.zeros((4, 3))).save(tmp_path / "embedding.npz")
    assert Embedding.load(tmp_path / "embedding.npz").links is None

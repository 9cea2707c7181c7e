from __future__ import annotations

import sys

import accuracy
import numpy as np
import pandas as pd
import pytest
from _environments import ENVIRONMENTS, Environment, interpreter, make, why_none
from _experiments import BLIND, experiments
from _methods import METHODS, Method
from _peers import PEERS
from _peers_figure import KINDS, datasets_of, draw_peers, ranks, summary
from _report import markdown
from _runner import missing_requirement, run

VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"


class FakePip:
    """Notes what it is asked for, makes the interpreter, and refuses one package."""

    def __init__(self, refused: str = "none") -> None:
        self.calls: list[list[str]] = []
        self._refused = refused

    def __call__(self, command: list[str]) -> None:
        self.calls.append(command)
        if self._refused in command:
            raise RuntimeError(f"No matching distribution found for {self._refused}")

    @property
    def installed(self) -> list[list[str]]:
        return [call[call.index("install") + 2 :] for call in self.calls if "install" in call]


def table(**changes) -> dict[str, Environment]:
    return {"peer": Environment(("a==1", "b==2"), VERSION, **changes)}


def test_torch_comes_first_and_alone(tmp_path):
    pip = FakePip()
    make(["peer", "linear"], tmp_path, table=table(torch=True, alone=("old==3",)), call=pip, say=lambda _: None)
    assert pip.calls[0][1:] == ["-m", "venv", str(tmp_path / "peer")]
    assert [call[0].split("==")[0] for call in pip.installed] == ["torch", "a", "--no-deps"]


def test_environment_is_found_until_its_versions_change(tmp_path):
    pip, known = FakePip(), table()
    (tmp_path / "peer").mkdir()
    assert interpreter("peer", tmp_path, known) is None
    for _ in range(2):
        (tmp_path / "peer").mkdir(exist_ok=True)
        make(["peer"], tmp_path, table=known, call=lambda c: (pip(c), (tmp_path / "peer").mkdir(exist_ok=True)))
    assert len(pip.installed) == 1
    assert interpreter("peer", tmp_path, known).startswith(str(tmp_path / "peer"))
    assert interpreter("peer", tmp_path, {"peer": Environment(("a==2",), VERSION)}) is None


def test_environment_that_cannot_be_made_leaves_the_reason(tmp_path):
    known = table() | {"other": Environment(("refused",), VERSION), "none": Environment((), "2.0")}
    pip = FakePip("refused")

    def call(command: list[str]) -> None:
        pip(command)
        (tmp_path / command[-1]).mkdir(exist_ok=True)

    make(["other", "none", "peer"], tmp_path, table=known, call=call, say=lambda _: None)
    assert why_none("other", tmp_path) == "environment not made: No matching distribution found for refused"
    assert why_none("none", tmp_path) == "environment not made: there is no Python 2.0"
    assert interpreter("other", tmp_path, known) is None
    assert not (tmp_path / "other").exists()
    assert interpreter("peer", tmp_path, known) is not None
    assert why_none("peer", tmp_path) == ""


def test_all_versions_are_pinned():
    assert set(ENVIRONMENTS) <= set(PEERS)
    for environment in ENVIRONMENTS.values():
        assert all("==" in package for package in environment.packages + environment.alone)


def test_what_cannot_run_says_why():
    assert missing_requirement(PEERS["scjoint (labels)"]) == PEERS["scjoint (labels)"].unavailable
    missing = Method("none", "NoSuchPackage", embeds_new_cells=False, language="R")
    assert "NoSuchPackage" in missing_requirement(missing)


def test_methods_name_functions_that_are_there():
    for method in PEERS.values():
        module = __import__(method.module)
        assert method.unavailable or callable(getattr(module, method.function))


def test_blind_trees_are_of_seeds_of_their_own(tmp_path):
    datasets = experiments(tmp_path)["peers"].datasets
    blind = [one for one in datasets if "blind" in one.name]
    assert [one.n_seeds for one in blind] == [10, 10, None, None]
    for one in blind:
        assert one.load.keywords["first_seed"] == BLIND
    assert not any(one.score_all for one in datasets)


@pytest.fixture
def runs():
    rows = [
        ("trees", "good", 0, 0.1, 0.9, 0.8, 10.0),
        ("trees", "good", 1, 0.1, 0.9, 0.8, 10.0),
        ("trees", "cheap", 0, 0.3, 0.5, 0.9, 1.0),
        ("trees", "cheap", 1, 0.3, 0.5, 0.7, 1.0),
        ("trees", "once", 0, 0.2, 0.7, 0.5, 99.0),
        ("types", "good", 0, 0.2, 0.9, np.nan, 20.0),
        ("types", "cheap", 0, 0.1, 0.8, np.nan, 2.0),
    ]
    columns = ["dataset", "method", "seed", "foscttm", "transfer_accuracy", "tau", "cpu_seconds"]
    return pd.DataFrame(rows, columns=columns)


def test_ranks_go_the_right_way(runs):
    found = ranks(runs).set_index(["measure", "dataset", "seed", "method"])["rank"].sort_index()
    assert found["foscttm", "trees", 0].to_dict() == {"cheap": 3, "good": 1, "once": 2}
    # It stands on the second seed where it stood on its first.
    assert found["foscttm", "trees", 1]["once"] == 2
    assert found["tau", "trees", 0].to_dict() == {"cheap": 1, "good": 2, "once": 3}
    assert found["cpu_seconds", "types", 0].to_dict() == {"cheap": 1, "good": 2}
    assert "types" not in found["tau"].index.get_level_values("dataset")


def test_a_seed_that_is_harder_for_all_is_no_advantage_to_those_that_were_not_run():
    rows = [("good", 0, 0.8), ("cheap", 0, 0.7), ("once", 0, 0.75), ("good", 1, 0.3), ("cheap", 1, 0.2)]
    runs = pd.DataFrame(rows, columns=["method", "seed", "tau"]).assign(dataset="trees")
    found = ranks(runs).set_index(["seed", "method"])["rank"]
    assert found[1].to_dict() == found[0].to_dict() == {"good": 1, "once": 2, "cheap": 3}


def test_summary_shows_where_another_is_first(runs, tmp_path):
    mean, spread = summary(runs)
    assert list(mean.index) == ["good", "cheap", "once"]
    assert mean.loc["good", "order"] == 1.5
    assert spread.loc["good", "order"] == pytest.approx(np.std([2, 1], ddof=1))
    assert mean["cost"].idxmin() == "cheap"
    assert mean["mixing"].isna().all()
    assert list(mean.columns[:-1]) == [kind.title for kind in KINDS]
    assert datasets_of(runs).to_dict() == {"cheap": 2, "good": 2, "once": 1}
    more = pd.concat([runs, runs.query("method != 'once'").assign(dataset="more")])
    assert summary(more.assign(foscttm=more["foscttm"].where(more["method"] != "once", 0.0)))[0].index[-1] == "once"
    draw_peers(runs, tmp_path / "peers.png")
    assert (tmp_path / "peers.png").stat().st_size > 10_000


def test_page_is_made_again_from_stored_runs(runs, tmp_path, monkeypatch):
    docs = tmp_path / "docs"
    for folder in ("benchmarks", "_static"):
        (docs / folder).mkdir(parents=True)
    monkeypatch.setattr(accuracy, "DOCS", docs)
    (docs / "benchmarks" / "runs").mkdir()
    known = experiments(tmp_path)["peers"]
    named = runs.replace({"dataset": {"trees": known.datasets[0].name, "types": known.datasets[-1].name}})
    named["method"] = named["method"].replace({"good": "scdart", "cheap": "linear", "once": "glue"})
    named.assign(machine="M").to_csv(docs / "benchmarks" / "runs" / "peers-runs.csv", index=False)
    (docs / "benchmarks" / "runs" / "peers-not-run.txt").write_text("maxfuse: no environment\n")
    (tmp_path / "peers.md").write_text("## What others do better\n\nNothing.\n")
    monkeypatch.setattr(accuracy, "REMARKS", tmp_path)
    accuracy.main("peers", data=tmp_path, output=tmp_path / "results", redraw=True, docs=True, environments=tmp_path)
    page = (docs / "benchmarks" / "peers.md").read_text()
    assert page.endswith("\n\n## What others do better\n\nNothing.\n")
    assert "- maxfuse: no environment" in page
    assert "| glue" in page
    assert "--make-environments" in page
    assert "{download}`runs/peers-runs.csv`" in page
    assert (docs / "_static" / "peers.png").exists()


def test_a_method_that_takes_long_runs_on_one_seed(tmp_path):
    known = experiments(tmp_path)["peers"]
    assert set(known.once) <= set(known.methods)
    assert "scdart" not in known.once


def test_failures_are_told_once_for_each_reason(tmp_path):
    known = experiments(tmp_path)["peers"]
    name = known.datasets[0].name
    why = {"failure": "out of time", "cpu_seconds": 1.0}
    failed = pd.DataFrame([{"dataset": name, "method": "moscot", "seed": seed} | why for seed in (0, 1)])
    assert f"- moscot on {name}, seed 0; {name}, seed 1: out of time" in markdown(failed, known, "cmd", [])


def test_a_peer_runs_from_its_module(tmp_path, monkeypatch):
    (tmp_path / "_toy.py").write_text(
        "from _methods import Embedding\n"
        "def toy(train, cells, seed):\n"
        "    return Embedding(*(cells[mod].X[:, :2].toarray() for mod in ('rna', 'atac')))\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=":")
    from _datasets import DataSet, all_cells, simulated

    load = DataSet("tiny", lambda seed: simulated(seed, paired=True, n_cells=60, n_genes=20, n_peaks=40), all_cells)
    files = load.problem(0).write(tmp_path)
    method = Method("toy", "numpy", embeds_new_cells=False, module="_toy")
    outcome = run(method, files, 0, tmp_path / "run", sys.executable, timeout=120)
    assert outcome.failure == ""
    assert outcome.embedding.atac.shape == (60, 2)
    assert "cores" in outcome.report["machine"]
    assert METHODS["linear"].module == "_methods"

from __future__ import annotations

import json
import re

import _reference
import _stages
import _synthetic
import numpy as np
import pandas as pd
import pytest
import scaling
import torch
from _scaling_figure import draw
from _scaling_report import N_STEPS, TOTAL, growth_exponent, page, wide, with_growth
from scipy import sparse

import scdart
from scdart.module import diffusion_kl, mmd_published
from scdart.module._prior_penalty import prior_l1
from scdart.module._sparse import PriorLinks

TINY = scaling.Grid(
    (60, 120),
    (200, 400),
    100,
    largest=(120, 400),
    batched_cells=(120,),
    backed_cells=(),
    component_cells=(),
    stored=(),
    result_cells=(),
    reference_cells=60,
    reference_peaks=200,
)


@pytest.fixture(scope="module")
def mdata():
    return _synthetic.unpaired(500, 4_000, 300)


def test_density_of_synthetic_data(mdata):
    for mod, share in (("atac", 0.02), ("rna", 0.2)):
        counts = mdata[mod].X
        assert sparse.isspmatrix_csr(counts)
        assert counts.nnz / np.prod(counts.shape) == pytest.approx(share, rel=0.05)
        assert counts.getnnz(axis=1).min() > 0
    assert set(mdata["atac"].X.data) == {1}


def test_synthetic_cells_follow_the_tree_and_peaks_their_genes(mdata):
    mdata = mdata.copy()
    scdart.pp.gene_activity(mdata, _synthetic.annotation(300))
    assert mdata["atac"].varm["gene_activity"].nnz == 4_000
    scdart.pp.anchors(mdata)
    rna, atac = (mdata[mod].obs["pseudotime"].to_numpy() for mod in ("rna", "atac"))
    weights = sparse.csr_matrix(mdata.obsp["anchors"])[:500, 500:]
    carried = (weights.T @ rna) / np.asarray(weights.sum(axis=0)).ravel()
    assert np.corrcoef(carried, atac)[0, 1] > 0.9


def test_programs_are_active_where_cells_are():
    branch, time = np.array([0, 1, 2]), np.array([0.5, 1.5, 1.5])
    activity = _synthetic.program_activity(branch, time).reshape(3, 3, -1)
    np.testing.assert_allclose(activity.sum(axis=(1, 2)), 1)
    np.testing.assert_array_equal(activity.sum(axis=2).argmax(axis=1), branch)


def test_dense_distances_are_those_of_the_coordinates():
    measured = _stages.measure_reference_distances(150, 600, 100)
    assert measured["coordinates of the same distances"]["error"] < 1e-4
    assert all(one["seconds"] > 0 and one["gib"] > 0 for one in measured.values())


def test_dense_distances_by_hand():
    transitions = np.array([[0.5, 0.5, 0.0], [0.25, 0.5, 0.25], [0.0, 0.5, 0.5]])
    rows = transitions @ transitions
    expected = np.linalg.norm(rows[:, None] - rows[None], axis=2)
    found = _reference.diffusion_distances(transitions, (2,), potential=False)
    np.testing.assert_allclose(found, expected / np.linalg.norm(expected))


def test_reference_losses_are_the_published_ones():
    torch.manual_seed(0)
    prior = torch.zeros(6, 4)
    prior[:4] = torch.eye(4)
    model = _reference.Reference(prior)
    weights = [layer.weight for layer in model.gene_activity if isinstance(layer, torch.nn.Linear)]
    assert [tuple(weight.shape) for weight in weights] == [(1024, 6), (512, 1024), (4, 512)]
    links = PriorLinks(6, 4, n_links=4)
    links.set_prior(sparse.csr_matrix(prior.numpy()))
    torch.testing.assert_close(model.prior_penalty(), prior_l1(weights, links))
    x, y = torch.randn(2, 20, 8).unbind()
    distances = torch.cdist(y, y)
    torch.testing.assert_close(_reference.mmd(x, y), mmd_published(x, y))
    torch.testing.assert_close(
        _reference.distance_loss(x, distances), diffusion_kl(x, distances, squared=True), rtol=1e-4, atol=1e-6
    )


def test_exponent_of_known_growth():
    sizes = np.array([1e3, 1e4, 1e5])
    assert growth_exponent(sizes, 3e-6 * sizes**1.3) == pytest.approx(1.3)
    assert np.isnan(growth_exponent(sizes[:1], sizes[:1]))


def made_up_results():
    rows = [
        {"task": "scdart", "cells": cells, "peaks": 400, "stage": stage, "seconds": cells / 100, "gib": 1.0}
        | {"wall": cells / 100}
        for cells in (60, 120)
        for stage in ("prior", "coordinates", "anchors", "set-up", "step", "step of 256 cells", "embedding")
    ]
    rows += [
        {"task": "reference distances", "cells": 60, "peaks": 200, "stage": stage, "seconds": seconds, "gib": 1.0}
        | {"error": 1e-5}
        for stage, seconds in (("distances", 8.0), ("coordinates of the same distances", 2.0))
    ]
    return pd.DataFrame(rows, columns=scaling.COLUMNS).assign(genes=100, machine="a machine")


def test_totals_and_growth():
    times = wide(made_up_results().query("task == 'scdart'"), "cells")
    np.testing.assert_allclose(times[TOTAL], [0.6 * 5 + N_STEPS * 0.6, 1.2 * 5 + N_STEPS * 1.2])
    assert (with_growth(times).loc["exponent"] == "1.00").all()


def test_page_and_figure_say_what_was_left_out(tmp_path):
    results = made_up_results()
    text = page(results, 400, {"scdart, 9 cells": "stopped after 3 s"}, "Shared.", "the command")
    for expected in ("a machine", "Shared.", "the command", "- scdart, 9 cells: stopped after 3 s", "| 60 ", "1.0e-05"):
        assert expected in text
    for part in (results, results.iloc[-2:], results.assign(task="stored")):
        draw(part, 400, tmp_path / "figure.png")
        assert (tmp_path / "figure.png").stat().st_size > 10_000
        (tmp_path / "figure.png").unlink()


def test_page_tells_loading_backed_memory_and_the_largest_run():
    results = made_up_results()
    largest = results.query("cells == 120 and task == 'scdart'").assign(cells=240, peaks=800)
    minibatch = largest[:1].assign(stage="minibatch", seconds=0.06)
    backed = pd.concat([results[:1].assign(task="backed", cells=n, stage="step", gib=n / 100) for n in (100, 300)])
    components = results[:1].assign(task="components", cells=7_000, stage="coordinates", seconds=12.5, wall=13.5)
    stored = results.query("cells == 120 and task == 'scdart'").assign(task="stored", gib=0.5)
    done = components.assign(task="results", cells=9_000, stage="metrics.foscttm")
    done = pd.concat([done, done.assign(stage="tl.smooth", seconds=0.1), done.assign(cells=900, seconds=3.0)])
    text = page(pd.concat([results, largest, minibatch, backed, components, stored, done]), 400, {}, "", "")
    assert {"| 120 cells, 400 peaks, from a file", "| 120 cells, 400 peaks, in memory"} <= {
        line.rpartition("|")[0][: line.find("|", 1)].strip() for line in text.splitlines() if line.startswith("| 120 c")
    }
    assert re.search(r"\| `metrics.foscttm` +\| 3 +\| 12\.5", text)
    assert "Under 2 s: `tl.smooth`." in text
    assert "## 240 cells, 800 peaks" in text
    assert "5.0%" in text
    assert "grows by 2.00 GiB" in text
    assert re.search(r"\| 7,000 cells, coordinates +\| 12\.5", text)


def test_page_compares_the_same_cells_with_and_without_batches():
    results = made_up_results()
    with_batches = results.query("cells == 120 and task == 'scdart'").assign(task="batches", gib=1.5)
    factors = with_batches[:1].assign(stage="factors", seconds=96.0 + N_STEPS * 0.12)
    without = results.query("cells == 120 and task == 'scdart'").assign(task="no batches")
    text = page(pd.concat([results, without, with_batches, factors]), 400, {}, "", "")
    (with_key,) = [line for line in text.splitlines() if "400 peaks, with batches" in line]
    cells = [cell.strip() for cell in with_key.split("|")]
    total = 1.2 * 5 + N_STEPS * 1.2
    assert cells[-4] == f"{1 + (96.0 + N_STEPS * 0.12) / total:.2f}"
    assert cells[-3:-1] == ["1.5", "1.50"]
    assert "| 60 cells, 400 peaks" not in text


def test_sizes_in_order_of_work():
    jobs = scaling.Grid().jobs()
    assert jobs == sorted(jobs, key=scaling.Job.work)
    assert len(set(jobs)) == len(jobs)
    assert {job.cells for job in jobs if job.task == "scdart"} == {1_000, 3_000, 10_000, 30_000, 100_000}
    assert scaling.Job("scdart", 100_000, 100_000, _synthetic.N_GENES) == jobs[-1]
    assert {job.peaks for job in jobs if job.task == "scdart" and job.cells == 10_000} == {10_000, 50_000, 200_000}
    assert max(job.cells for job in jobs if job.task == "reference distances") == 3_000


def test_run_keeps_what_is_measured_and_reports_failures(monkeypatch):
    def answer(self, timeout):
        if self.task != "scdart":
            raise RuntimeError("no memory")
        keys = {"task": self.task, "cells": self.cells, "peaks": self.peaks, "genes": self.genes}
        return pd.DataFrame([keys | {"stage": "prior", "seconds": 1.0}], columns=scaling.COLUMNS)

    monkeypatch.setattr(scaling.Job, "measure", answer)
    *_, (results, failures) = scaling.run(TINY.jobs(), pd.DataFrame(columns=scaling.COLUMNS), timeout=1)
    assert set(results["cells"]) == {60, 120}
    assert set(failures.values()) == {"no memory"}
    again = list(scaling.run([job for job in TINY.jobs() if job.task == "scdart"], results, timeout=1))
    assert len(again) == 1
    assert again[0][0].equals(results)


@pytest.mark.parametrize(
    ("task", "stage"),
    [
        ("scdart", "minibatch"),
        ("batches", "factors"),
        ("reference step", "step of 256 cells"),
        ("components", "anchors"),
        ("backed", "step"),
        ("stored", "anchors"),
    ],
)
def test_stages_are_measured(task, stage, capsys):
    _stages.main(task, "300", "1000", "100")
    measured = json.loads(capsys.readouterr().out.strip().splitlines()[-1])
    assert stage in measured
    assert all(one["seconds"] > 0 and one["wall"] > 0 and one["gib"] > 0 for one in measured.values())


def test_a_file_is_compared_with_memory_where_as_many_peaks_are_open_and_growth_is_told():
    results = made_up_results().query("task == 'scdart'").assign(peaks=100_000, wall=60.0)
    stored = results.assign(task="stored", gib=results["cells"] / 60)
    text = page(pd.concat([results, stored]), 400, {}, "", "").partition("## The whole way")[2]
    assert "in memory |" not in text
    assert re.search(r"exponent, 100,000 peaks, last two +\| 1\.00 ", text)
    assert "grows to 2.00 times" in text
    assert f"{4 + N_STEPS:.3g}" in text


def test_redrawn_from_its_runs(tmp_path, monkeypatch):
    monkeypatch.setattr(scaling.Job, "measure", lambda *_: pytest.fail("measured again"))
    runs = tmp_path / "benchmarks" / "runs" / "scaling.csv"
    runs.parent.mkdir(parents=True)
    made_up_results().to_csv(runs, index=False)
    scaling.main(redraw=True, docs=tmp_path)
    assert "a machine" in (tmp_path / "benchmarks" / "scaling.md").read_text()
    assert (tmp_path / "_static" / "scaling.png").exists()


@pytest.mark.slow
def test_every_function_of_tl_and_pl_is_measured(capsys):
    _stages.main("results", "300", "1000", "100")
    measured = json.loads(capsys.readouterr().out.strip().splitlines()[-1])
    assert all(one["seconds"] >= 0 and one["gib"] > 0 for one in measured.values())
    every = {f"{part.__name__.split('.')[-1]}.{name}" for part in (scdart.tl, scdart.pl) for name in part.__all__}
    # The whole way has tables of its own.
    assert every - set(measured) == {"tl.integrate"}

"""A training that has diverged stops and says so, and nothing of it is written."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from scdart.datasets import simulate
from scdart.model import SCDART
from scdart.pp import anchors, set_anchors
from scdart.tl import integrate

QUIET = {"enable_progress_bar": False, "accelerator": "cpu"}


@pytest.fixture
def model(make_mdata):
    mdata = make_mdata()
    SCDART.setup_mudata(mdata)
    return SCDART(mdata, n_latent=3, activity_hidden=(8,), projection_hidden=(8,))


def test_training_stops_in_the_epoch_in_which_it_diverges(model):
    with pytest.raises(ValueError, match=r"diverged in epoch [12] of 5.*smaller learning rate than .*1e\+30"):
        model.train(max_epochs=5, plan_kwargs={"lr": 1e30}, **QUIET)
    assert not model.is_trained


def test_training_that_converges_is_let_be(model):
    model.train(max_epochs=2, **QUIET)
    assert model.is_trained


def test_positions_that_are_not_finite_are_not_returned(model):
    model.train(max_epochs=1, **QUIET)
    with torch.no_grad():
        next(model.module.projection.parameters()).fill_(float("nan"))
    with pytest.raises(ValueError, match=r"cells of 'rna' positions that are NaN or infinite.*plan_kwargs"):
        model.get_latent_representation()


def test_one_call_writes_nothing_of_it():
    mdata = simulate(n_cells=50, n_genes=40, n_peaks=90)
    before = {name: set(data.obsm) for name, data in {"": mdata, **mdata.mod}.items()}
    with pytest.raises(ValueError, match="diverged"):
        integrate(mdata, max_epochs=2, train_kwargs={**QUIET, "plan_kwargs": {"lr": 1e30}})
    assert {name: set(data.obsm) for name, data in {"": mdata, **mdata.mod}.items()} == before


@pytest.fixture(scope="module")
def anchored():
    mdata = simulate(n_cells=(50, 40), n_genes=60, n_peaks=120)
    set_anchors(mdata, np.eye(50, 40), confidence={"rna": np.ones(50), "atac": np.ones(40)})
    return mdata


def negative(mdata):
    mdata.obsp["anchors"] = -mdata.obsp["anchors"]


def missing(mdata):
    mdata.obsp["anchors"].data[3] = np.nan


def empty(mdata):
    mdata.obsp["anchors"] = mdata.obsp["anchors"] * 0


def transposed(mdata):
    mdata.obsp["anchors"] = mdata.obsp["anchors"].T.tocsr()


def unknown_confidence(mdata):
    mdata["rna"].obsm["anchors_confidence"][2] = np.nan


def large_confidence(mdata):
    mdata["atac"].obsm["anchors_confidence"][2] = 7


@pytest.mark.parametrize(
    ("spoil", "match"),
    [
        (negative, r"obsp\['anchors'\] holds 40 weights that are negative, NaN or infinite, such as -1.0: run"),
        (missing, r"obsp\['anchors'\] holds 1 weights.* such as nan"),
        (empty, r"obsp\['anchors'\] has no weight between an RNA cell and an ATAC cell"),
        (transposed, r"obsp\['anchors'\] has no weight.*It looks transposed: RNA cells are rows"),
        (unknown_confidence, r"rna.*anchors_confidence'\] holds nan, not numbers from 0 to 1"),
        (large_confidence, r"atac.*anchors_confidence'\] holds 7.0, not numbers"),
    ],
)
def test_anchors_that_would_make_it_diverge_are_refused_before_any_work(anchored, spoil, match, monkeypatch):
    mdata = anchored.copy()
    spoil(mdata)
    monkeypatch.setattr("scdart.pp.diffusion_coordinates", anchors)  # any work would fail
    with pytest.raises(ValueError, match=match):
        integrate(mdata, max_epochs=1)

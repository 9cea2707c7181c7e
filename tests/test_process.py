"""What the user's process is left with."""

from __future__ import annotations

import logging
import os
import random
import signal
import subprocess
import sys
import warnings

import lightning.pytorch
import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_info, threadpool_limits

from scdart import datasets, pp, tl
from scdart._mudata import columns_stay
from scdart._process import quiet, root_logger_kept, threads_kept, threads_that_pay
from scdart._random import streams_kept
from scdart.model import SCDART

QUIET = {"enable_progress_bar": False}


@pytest.fixture
def threads():
    """One thread, which is not what numba takes on most machines; afterwards as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield torch
    torch.set_num_threads(before)


def streams() -> tuple[list, ...]:
    _, keys, *rest = np.random.get_state()  # noqa: NPY002
    return torch.get_rng_state().tolist(), keys.tolist(), rest, [random.getstate()]


def test_threads_are_set_back(threads):
    with threads_kept():
        torch.set_num_threads(3)
    assert torch.get_num_threads() == 1


def test_threads_are_set_back_after_an_error(threads):
    with pytest.raises(KeyError), threads_kept():  # noqa: PT012
        torch.set_num_threads(3)
        raise KeyError
    assert torch.get_num_threads() == 1


def test_threads_that_stay_are_not_set(threads, monkeypatch):
    monkeypatch.setattr(torch, "set_num_threads", None)
    with threads_kept():
        pass


@pytest.mark.parametrize(
    ("allowed", "processors", "n_features", "taken"),
    [(8, 8, 4_000, 1), (8, 8, 100_000, 2), (8, 1, 100_000, 1), (1, 8, 100_000, 1)],
)
def test_threads_are_few_and_no_more_than_allowed(threads, monkeypatch, allowed, processors, n_features, taken):
    monkeypatch.setattr("joblib.cpu_count", lambda: processors)
    torch.set_num_threads(allowed)
    with pytest.raises(KeyError), threads_that_pay(n_features):  # noqa: PT012
        assert torch.get_num_threads() == taken
        raise KeyError
    assert torch.get_num_threads() == allowed


def test_a_small_model_computes_in_one_thread(threads, make_mdata, monkeypatch):
    mdata = make_mdata()
    SCDART.setup_mudata(mdata)
    model = SCDART(mdata, n_latent=4, activity_hidden=(16,), projection_hidden=(16,))
    seen = []

    class Threads(lightning.pytorch.Callback):
        def on_train_batch_end(self, *_, **__):
            seen.append(torch.get_num_threads())

    torch.set_num_threads(2)
    model.train(max_epochs=1, batch_size=16, callbacks=[Threads()], **QUIET)
    monkeypatch.setattr(model.module, "embed", lambda *_: seen.append(torch.get_num_threads()) or torch.zeros(1, 4))
    model.get_latent_representation(modality="rna", indices=[0])
    assert set(seen) == {1}
    assert torch.get_num_threads() == 2


@pytest.fixture
def interruptible():
    """As in a terminal or notebook: what a shell starts in the background ignores SIGINT."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize("stopped_by", [signal.SIGINT, signal.SIGTERM])
def test_training_that_is_stopped_ends_as_any_other_code(make_mdata, stopped_by):
    mdata = make_mdata()
    SCDART.setup_mudata(mdata)
    model = SCDART(mdata, n_latent=4, activity_hidden=(16,), projection_hidden=(16,))
    handlers = [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)]

    class Stop(lightning.pytorch.Callback):
        def on_train_batch_end(self, *_, **__):
            os.kill(os.getpid(), stopped_by)

    with pytest.raises(BaseException) as ended:  # noqa: PT011
        model.train(max_epochs=50, batch_size=16, callbacks=[Stop()], **QUIET)
    if stopped_by == signal.SIGINT:
        assert ended.type is KeyboardInterrupt
    else:
        assert (ended.type, ended.value.code) == (SystemExit, 128 + signal.SIGTERM)
    assert not model.is_trained
    assert [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)] == handlers


def test_preparation_and_order_take_one_thread_of_blas(caplog, monkeypatch):
    def of_blas():
        return {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"}

    seen = {}

    class Threads(logging.Handler):
        def emit(self, record):
            seen[record.getMessage().split(" (")[0]] = of_blas()

    monkeypatch.setattr(logging.getLogger("scdart"), "handlers", [Threads()])
    caplog.set_level(logging.INFO, logger="scdart")
    mdata = datasets.simulate("bifurcating", n_cells=80, n_genes=60, n_peaks=120, n_batches_rna=2, batch_effect=1.0)
    with threadpool_limits(limits=2, user_api="blas"):
        before = of_blas()
        tl.integrate(mdata, batch_key="batch", max_epochs=1, train_kwargs=QUIET)
        tl.pseudotime(mdata, root=mdata["rna"].obs_names[0])
        tl.backbone(mdata)
        assert of_blas() == before
    titles = ("Batches", "Diffusion coordinates", "Anchors", "Start of the networks", "Pseudotime", "Backbone")
    assert {title: seen[title] for title in titles} == dict.fromkeys(titles, {1})


def test_torch_is_not_imported_to_look_at_its_threads():
    code = "import sys; from scdart._process import threads_kept\nwith threads_kept(): print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True).stdout.split() == [b"False"]


def test_threads_and_root_logger_after_public_functions():
    """In a process of its own, since numba keeps the threads that it has begun with."""
    code = """
import logging, warnings; warnings.simplefilter("ignore")
import torch
from scdart import datasets, pp, tl
mdata = datasets.simulate("bifurcating", n_cells=80, n_genes=60, n_peaks=120, random_state=0)
for call in (
    lambda: pp.diffusion_coordinates(mdata),
    lambda: pp.anchors(mdata),
    lambda: tl.integrate(mdata, max_epochs=1, train_kwargs={"enable_progress_bar": False}),
    lambda: tl.pseudotime(mdata, root=mdata["rna"].obs_names[0]),
):
    torch.set_num_threads(1)
    call()
    print("after:", torch.get_num_threads(), logging.getLogger().handlers)
"""
    environment = {**os.environ, "NUMBA_NUM_THREADS": "2", "NUMBA_THREADING_LAYER": "omp"}
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert [line for line in result.stdout.splitlines() if line.startswith("after")] == 4 * ["after: 1 []"], (
        result.stderr
    )


def test_root_logger_gets_no_handler(monkeypatch):
    monkeypatch.setattr(logging.getLogger(), "handlers", [])  # those of pytest
    with root_logger_kept():
        logging.info("by the root logger")
    assert logging.getLogger().handlers == []
    with columns_stay():
        assert logging.getLogger().handlers == []
    assert logging.getLogger().handlers == []


def test_handlers_that_the_user_has_get_the_messages(monkeypatch):
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    heard = []
    handler = logging.Handler()
    handler.emit = heard.append
    logging.getLogger().addHandler(handler)
    with root_logger_kept():
        logging.warning("by the root logger")
    assert [record.getMessage() for record in heard] == ["by the root logger"]
    assert logging.getLogger().handlers == [handler]


def test_streams_after_training(make_mdata):
    mdata = make_mdata()
    SCDART.setup_mudata(mdata)
    model = SCDART(mdata, n_latent=4, activity_hidden=(16,), projection_hidden=(16,))
    before = streams()
    model.train(max_epochs=1, batch_size=16, **QUIET)
    assert streams() == before


def test_streams_after_an_error():
    before = streams()
    with pytest.raises(KeyError, match="mine"), streams_kept():  # noqa: PT012
        torch.rand(3), np.random.random(), random.random()  # noqa: NPY002
        raise KeyError("mine")
    assert streams() == before


def test_streams_after_an_integration_that_fails(monkeypatch):
    mdata = datasets.simulate("linear", n_cells=60, n_genes=40, n_peaks=90)
    pp.diffusion_coordinates(mdata)

    def fail(*_, **__):
        torch.rand(3)
        raise ValueError("no anchors today")

    monkeypatch.setattr(pp, "anchors", fail)
    before = streams()
    with pytest.raises(ValueError, match="no anchors today"):
        tl.integrate(mdata, max_epochs=1, train_kwargs=QUIET)
    assert streams() == before


NOISE = (
    "lightning.pytorch.utilities.rank_zero",
    "lightning.fabric.utilities.seed",
    "scvi.data.fields._arraylike_field",
)


def test_libraries_are_quiet_and_then_as_before(caplog, recwarn):
    caplog.set_level(logging.INFO, logger="scdart")
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch.utilities", "scvi.data")]
    levels = [logger.level for logger in loggers]
    with quiet():
        for name in NOISE:
            logging.getLogger(name).info("noise")
        logging.getLogger("lightning.pytorch.utilities.rank_zero").warning("heard")
        warnings.warn("The number of training batches (3) is small", UserWarning, stacklevel=1)
        warnings.warn("heard too", UserWarning, stacklevel=1)
    assert [record.message for record in caplog.records] == ["heard"]
    assert [str(warning.message) for warning in recwarn] == ["heard too"]
    assert [logger.level for logger in loggers] == levels
    with caplog.at_level(logging.DEBUG, logger="scdart"), quiet():
        assert [logger.level for logger in loggers] == levels


def test_a_run_says_nothing_but_what_the_package_says(tmp_path):
    """As a user sees it who has set up no logging: libraries have handlers of their own."""
    code = """
import warnings, scdart
warnings.filterwarnings("ignore", module="mudata")
mdata = scdart.datasets.simulate("bifurcating", n_cells=150, n_genes=100, n_peaks=300)
scdart.pp.diffusion_coordinates(mdata)
scdart.model.SCDART.setup_mudata(mdata)
model = scdart.model.SCDART(mdata)
model.train(max_epochs=1, enable_progress_bar=False)
model.get_latent_representation(mdata["rna"].copy())
model.save("model")
scdart.model.SCDART.load("model", mdata)
scdart.tl.integrate(mdata, max_epochs=1, train_kwargs={"enable_progress_bar": False})
scdart.tl.pseudotime(mdata, root_score="pseudotime")
"""
    result = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert result.stdout == ""
    assert result.stderr == ""

"""Whatever arrays a metric is given, it says what is wrong with them, or returns finite numbers."""

from __future__ import annotations

import inspect
import traceback
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

import scdart
from scdart import metrics

pytestmark = pytest.mark.fuzz

ROOT = Path(scdart.__file__).parent
RNG = np.random.default_rng(0)
SCORES = {name: getattr(metrics, name) for name in metrics.__all__ if inspect.isfunction(getattr(metrics, name))}

#: Correlations, which a constant has not, and what is documented to be NaN where all is constant.
MAY_BE_NAN = {name for name in SCORES if name.endswith("_correlation")} | {
    "expression_mse",
    "matching_distance",
    "pseudotime_consistency",
    "pseudotime_kendall",
}

#: Good and odd values of data, by what the signature says that they are.
CLOUD, COUNTS = RNG.normal(size=(30, 4)), RNG.poisson(1.0, (30, 6)).astype(float)
LABELS = np.array(["a", "b", "c"] * 10)
# fmt: off
DATA = [
    CLOUD, CLOUD, CLOUD[::-1] + 1, CLOUD[:20], CLOUD[:, :2], CLOUD[0], CLOUD[:1], CLOUD[:0], CLOUD.tolist(),
    CLOUD[None], np.zeros((30, 4)), np.where(CLOUD > 2, np.nan, CLOUD), np.where(CLOUD > 2, np.inf, CLOUD),
    pd.DataFrame(CLOUD), COUNTS, sparse.csr_matrix(COUNTS), sparse.csr_matrix(COUNTS > 1), -COUNTS,
    np.full((30, 6), np.nan), COUNTS.astype(int), LABELS, LABELS, LABELS[::-1], LABELS[:20],
    np.array(["a"] * 30), pd.Series(LABELS), pd.Categorical(LABELS), pd.Series([*LABELS[:29], None]), LABELS[:0],
    np.arange(30), np.linspace(0, 1, 30), np.linspace(0, 1, 30) ** 2, np.full(30, np.nan), np.zeros(30),
    np.array([0, 1] * 15), [], None, "abc", 3, {}, [["a", "b"], ["c", "d"]],
]
OPTIONS = [-1, 0, 1, 2, 3, 5, 90, 10**12, 0.5, float("nan"), True, None, "", "pearson", "x", [1, 2], []]
# fmt: on


@st.composite
def calls(draw):
    name = draw(st.sampled_from(sorted(SCORES)))
    parameters = inspect.signature(SCORES[name]).parameters.values()
    data = {p.name for p in parameters if "ArrayLike" in str(p.annotation) or "Matrix" in str(p.annotation)}
    given = {option: DATA[draw(st.integers(0, len(DATA) - 1))] for option in sorted(data)}
    others = [p.name for p in parameters if p.name not in data]
    needed = [p.name for p in parameters if p.name not in data and p.default is p.empty]
    drawn = draw(st.lists(st.sampled_from(others), max_size=1, unique=True)) if others else []
    given |= {option: OPTIONS[draw(st.integers(0, len(OPTIONS) - 1))] for option in {*drawn, *needed}}
    return name, given


@given(call=calls())
def test_metrics_say_what_is_wrong_or_return_numbers(call):
    name, arguments = call
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            score = SCORES[name](**arguments)
        except (ValueError, TypeError, ModuleNotFoundError) as error:
            raised = error
        else:
            assert np.isfinite(np.asarray(score, dtype=float)).all() or name in MAY_BE_NAN, score
            return
    last = traceback.extract_tb(raised.__traceback__)[-1].filename
    assert Path(last).is_relative_to(ROOT), f"obscure: {raised!r} from {last}"
    assert any(option in str(raised) for option in inspect.signature(SCORES[name]).parameters), repr(raised)

from __future__ import annotations

import numpy as np
import pytest

from scdart import pl


def test_cells_below_is_the_distribution_by_modality(mdata, unchanged):
    check = unchanged(mdata)
    *maps, curve = pl.alignment_confidence(mdata, show=False)
    check()
    assert [len(ax.collections[0].get_offsets()) for ax in maps] == [80, 50]
    assert [line.get_label() for line in curve.lines] == ["RNA, median 0.50", "ATAC, median 0.50"]
    for line, n in zip(curve.lines, (80, 50), strict=True):
        x, y = line.get_data()
        assert np.all(np.diff(y) >= 0)
        assert (x[-1], y[-1]) == (1, 1)
        assert y[x == x[n // 2]].max() == pytest.approx(0.5, abs=1 / n)
    bar = next(ax for ax in curve.figure.axes if ax not in (*maps, curve))
    assert bar.get_ylim() == (0, 1)


def test_confidence_of_cells_that_have_none(mdata):
    mdata.obs["joint"] = np.where(np.arange(mdata.n_obs) < 80, 0.25, np.nan)
    axes = pl.alignment_confidence(mdata, key="joint", show=False)
    assert [line.get_label() for line in axes[2].lines] == ["RNA, median 0.25"]


def test_bad_input(mdata):
    with pytest.raises(ValueError, match="key='branch' holds category"):
        pl.alignment_confidence(mdata, key="branch", show=False)
    with pytest.raises(KeyError, match="neither 'modality'"):
        pl.alignment_confidence(mdata, key="other", show=False)

from __future__ import annotations

import numpy as np
import pytest
from overview import DOCS, PANELS, collect, draw, read_table


def test_figure_shows_the_medians_of_the_pages(tmp_path):
    found = collect()
    accuracy = DOCS / "benchmarks" / "accuracy.md"
    table = read_table(accuracy, "snare_cortex, 1,500 cells")
    assert found["FOSCTTM ↓"].loc["scdart", "mouse cortex"] == table.loc["FOSCTTM ↓", "scdart"]
    assert np.isnan(found["FOSCTTM ↓"].loc["glue", "mouse cortex"])
    for panel in PANELS:
        values = found[panel.row].to_numpy()
        assert np.nanmin(values) >= min(panel.worst, panel.best)
        assert np.nanmax(values) <= max(panel.worst, panel.best)
    draw(found, tmp_path / "overview.png")
    assert (tmp_path / "overview.png").stat().st_size > 10_000
    with pytest.raises(KeyError, match=r"accuracy\.md has no table under 'none'"):
        read_table(accuracy, "none")

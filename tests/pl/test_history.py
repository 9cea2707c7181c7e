from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from scdart import pl


def trained(*terms: str, validation: bool = False, n_epochs: int = 5) -> SimpleNamespace:
    rng = np.random.default_rng(0)
    names = ["train_loss", *(f"{term}_train" for term in terms)]
    if validation:
        names += ["validation_loss", *(f"{term}_validation" for term in terms)]
    history = {name: pd.DataFrame({name: rng.random(n_epochs)}) for name in names}
    return SimpleNamespace(history=history, is_trained_=True)


def test_every_term_has_a_panel_with_its_values():
    model = trained("prior", "mmd", "new_term")
    axes = pl.history(model, show=False)
    assert [ax.get_title() for ax in axes] == ["total", "alignment (MMD)", "gene-activity prior", "new_term"]
    for ax, key in zip(axes, ["train_loss", "mmd_train", "prior_train", "new_term_train"], strict=True):
        (line,) = ax.lines
        np.testing.assert_array_equal(line.get_xdata(), [1, 2, 3, 4, 5])
        np.testing.assert_array_equal(line.get_ydata(), model.history[key][key])
    assert axes[0].get_legend() is None


def test_validation_is_a_second_line_with_a_legend():
    axes = pl.history(trained("mmd", validation=True), show=False)
    assert [[line.get_label() for line in ax.lines] for ax in axes] == [["training", "validation"]] * 2
    assert [text.get_text() for text in axes[0].get_legend().get_texts()] == ["training", "validation"]


def test_one_term_and_one_epoch(tmp_path):
    ax = pl.history(trained("mmd", n_epochs=1), terms=["mmd"], show=False, save=tmp_path / "history.pdf")
    assert ax.lines[0].get_marker() == "."
    assert (tmp_path / "history.pdf").stat().st_size > 1000


def test_bad_input():
    with pytest.raises(ValueError, match="train it first"):
        pl.history(SimpleNamespace(history=None, is_trained_=False))
    with pytest.raises(ValueError, match="logger=False"):
        pl.history(SimpleNamespace(history=None, is_trained_=True))
    with pytest.raises(ValueError, match=r"terms \['loss'\] .* \['total', 'mmd'\]"):
        pl.history(trained("mmd"), terms=["loss"])

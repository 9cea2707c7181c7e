from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scanpy as sc
from matplotlib.colors import to_hex
from sklearn.neighbors import KDTree

from scdart import pl
from scdart.datasets import simulate

GENES = ["gene3", "gene7"]


def predicted(mdata) -> pd.DataFrame:
    truth = np.log1p(mdata["atac"].obsm["true_expression"])
    return pd.DataFrame(truth, mdata["atac"].obs_names, mdata["rna"].var_names)


def measured(mdata) -> pd.DataFrame:
    rna = mdata["rna"].copy()
    sc.pp.normalize_total(rna)
    sc.pp.log1p(rna)
    return rna[:, GENES].to_df()


class Model:
    """What the function uses of a trained model."""

    def __init__(self, values: pd.DataFrame) -> None:
        self.values = values

    def get_gene_activity(self, mdata, *, genes) -> pd.DataFrame:
        return self.values.loc[mdata["atac"].obs_names, genes]


def drawn(ax):
    (points,) = [collection for collection in ax.collections if len(collection.get_offsets())]
    return points


def test_maps_share_one_scale(mdata, unchanged):
    check = unchanged(mdata)
    values = predicted(mdata)
    axes = pl.gene_activity(mdata, values, genes=GENES, show=False)
    check()
    assert [len(drawn(ax).get_offsets()) for ax in axes] == [80, 50] * 2
    assert [ax.get_title() for ax in axes][2:] == ["gene7, measured (RNA)", "gene7, predicted (ATAC)"]
    bars = [ax for ax in axes[0].figure.axes if ax not in axes]
    for bar, gene in zip(bars, GENES, strict=True):
        ends = np.percentile(np.concatenate([measured(mdata)[gene], values[gene]]), [1, 99])
        np.testing.assert_allclose(bar.get_ylim(), ends, rtol=1e-5)


def test_a_model_is_as_good_as_its_predictions(mdata):
    values = predicted(mdata)
    by_table, by_model = (
        pl.gene_activity(mdata, source, genes="gene3", kind="neighbors", show=False)
        for source in (values, Model(values))
    )
    np.testing.assert_array_equal(drawn(by_table).get_offsets(), drawn(by_model).get_offsets())


def test_neighbors_average_the_nearest_rna_cells(mdata):
    ax = pl.gene_activity(mdata, predicted(mdata), genes="gene3", kind="neighbors", n_neighbors=7, show=False)
    nearest = KDTree(mdata["rna"].obsm["X_scdart"]).query(mdata["atac"].obsm["X_scdart"], k=7)[1]
    x = measured(mdata)["gene3"].to_numpy()[nearest].mean(axis=1)
    y = predicted(mdata)["gene3"].to_numpy()
    np.testing.assert_allclose(drawn(ax).get_offsets(), np.column_stack([x, y]), rtol=1e-5)
    assert ax.get_title() == f"gene3, r = {np.corrcoef(x, y)[0, 1]:.2f}"
    assert ax.get_xlabel() == "mean of the 7 nearest RNA cells"


def test_same_cells_by_name_whatever_their_order(paired):
    paired.mod["atac"] = paired["atac"][::-1].copy()
    values = predicted(paired)
    ax = pl.gene_activity(paired, values, genes="gene3", kind="obs_names", show=False)
    expected = np.corrcoef(measured(paired)["gene3"], values["gene3"].loc[paired["rna"].obs_names])[0, 1]
    assert ax.get_title() == f"gene3, r = {expected:.2f}"


def test_many_cells_are_drawn_as_density(mdata, monkeypatch):
    monkeypatch.setattr("scdart.pl._expression._MAX_POINTS", 10)
    ax = pl.gene_activity(mdata, predicted(mdata), genes="gene3", kind="neighbors", show=False)
    assert drawn(ax).get_array().sum() == 50


def test_constant_gene(mdata):
    values = predicted(mdata) * 0
    ax = pl.gene_activity(mdata, values, genes="gene3", kind="neighbors", show=False)
    assert ax.get_title() == "gene3, constant"
    mdata["rna"].X[:, 3] = 0
    axes = pl.gene_activity(mdata, values, genes="gene3", show=False)
    assert len({to_hex(color) for ax in axes for color in drawn(ax).get_facecolors()}) == 1


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"genes": "Sox2"}, KeyError, "Sox2.*mdata\\['rna'\\]"),
        ({"genes": "gene3", "kind": "points"}, ValueError, "kind='points'"),
        ({"genes": "gene3", "kind": "obs_names"}, ValueError, "no cells have the same name"),
        ({"genes": "gene3", "kind": "neighbors", "use_rep": "X_z"}, KeyError, "has no 'X_z'"),
        ({"genes": "gene3", "atac_mod": "peaks"}, KeyError, "atac_mod='peaks'"),
    ],
)
def test_bad_input(mdata, options, error, message):
    with pytest.raises(error, match=message):
        pl.gene_activity(mdata, predicted(mdata), show=False, **options)


def test_predictions_that_do_not_fit(mdata):
    values = predicted(mdata)
    with pytest.raises(KeyError, match="no column for"):
        pl.gene_activity(mdata, values.drop(columns="gene3"), genes="gene3", show=False)
    with pytest.raises(KeyError, match="no row for 2 ATAC cells"):
        pl.gene_activity(mdata, values.iloc[2:], genes="gene3", show=False)


def test_repeated_genes_are_said():
    mdata = simulate("linear", n_cells=40, n_genes=20, n_peaks=40)
    names = mdata["rna"].var_names.to_list()
    mdata["rna"].var_names = [names[1], *names[1:]]
    predicted = pd.DataFrame(np.zeros((40, 20)), mdata["atac"].obs_names, names)
    with pytest.raises(ValueError, match=r"mod\['rna'\].var_names must be unique, and 'gene1' is there several times"):
        pl.gene_activity(mdata, predicted, genes="gene2", show=False)

from __future__ import annotations

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from mudata import MuData
from scipy import sparse

from scdart.tl import motif_gene_scores

N_CELLS, N_PEAKS, MOTIFS = 80, 40, ["GATA1", "SOX2", "RUNX1"]


@pytest.fixture
def mdata() -> MuData:
    rng = np.random.default_rng(0)
    atac = ad.AnnData(sparse.csr_matrix(rng.poisson(1.0, (N_CELLS, N_PEAKS)).astype(np.float32)))
    atac.obs_names = [f"cell{i}" for i in range(N_CELLS)]
    atac.var_names = [f"chr1:{i}-{i + 1}" for i in range(N_PEAKS)]
    atac.varm["motif_match"] = rng.integers(0, 2, (N_PEAKS, len(MOTIFS)), dtype=np.uint8)
    atac.uns["motif_name"] = MOTIFS
    return MuData({"atac": atac})


@pytest.fixture
def links(mdata) -> pd.DataFrame:
    rng = np.random.default_rng(1)
    pairs = rng.choice(30 * 5, 60, replace=False)  # ten peaks have no link
    return pd.DataFrame(
        {
            "peak": mdata["atac"].var_names[pairs // 5],
            "gene": np.array([f"gene{i}" for i in range(5)])[pairs % 5],
            "weight": rng.normal(size=60),
            "in_prior": True,
        }
    )


def wide(links: pd.DataFrame, peaks: pd.Index) -> pd.DataFrame:
    return links.pivot(index="peak", columns="gene", values="weight").reindex(peaks).fillna(0)


def test_scores_are_the_product_of_matches_and_links(mdata, links):
    table = motif_gene_scores(mdata, links)
    weights = wide(links, mdata["atac"].var_names)
    matches = mdata["atac"].varm["motif_match"]
    score = pd.DataFrame(matches.T @ weights.to_numpy(), index=MOTIFS, columns=weights.columns)
    count = pd.DataFrame(matches.T @ (weights.to_numpy() != 0), index=MOTIFS, columns=weights.columns)
    assert len(table) == (count > 0).to_numpy().sum()
    for row in table.itertuples():
        np.testing.assert_allclose(row.score, score.loc[row.motif, row.gene])
        assert row.n_peaks == count.loc[row.motif, row.gene]
    assert (table["z"].abs().diff().dropna() <= 0).all()


def test_z_is_relative_to_motifs_in_random_linked_peaks(mdata, links):
    table = motif_gene_scores(mdata, links).set_index(["motif", "gene"])
    linked = mdata["atac"].var_names.isin(links["peak"])
    weights = wide(links, mdata["atac"].var_names)[linked].to_numpy()
    has_motif = mdata["atac"].varm["motif_match"][linked, 0].astype(float)
    rng = np.random.default_rng(2)
    shuffled = np.array([rng.permutation(has_motif) @ weights for _ in range(20_000)])
    expected = (has_motif @ weights - shuffled.mean(axis=0)) / shuffled.std(axis=0)
    found = table["z"].reindex([("GATA1", f"gene{i}") for i in range(5)])
    np.testing.assert_allclose(found, expected, atol=0.05)


def test_the_motif_that_acts_on_a_gene_comes_first(mdata):
    peaks = mdata["atac"].var_names
    weight = np.random.default_rng(3).normal(0, 0.3, N_PEAKS) + mdata["atac"].varm["motif_match"][:, 1]
    table = motif_gene_scores(mdata, pd.DataFrame({"peak": peaks, "gene": "Sox2", "weight": weight}))
    assert table.loc[0, "motif"] == "SOX2"
    assert table.loc[0, "z"] > 4


def test_matches_of_every_kind_are_the_same(mdata, links):
    expected = motif_gene_scores(mdata, links)
    matches = mdata["atac"].varm["motif_match"]
    mdata["atac"].varm["sparse"] = sparse.csr_matrix(matches * 3.0)
    mdata["atac"].varm["table"] = pd.DataFrame(matches > 0, index=mdata["atac"].var_names, columns=MOTIFS)
    del mdata["atac"].uns["motif_name"]
    pd.testing.assert_frame_equal(motif_gene_scores(mdata, links, motif_match="sparse", motifs=MOTIFS), expected)
    pd.testing.assert_frame_equal(motif_gene_scores(mdata, links, motif_match="table"), expected)


def test_deviations_and_expression_in_any_order_of_cells(mdata, links):
    rng = np.random.default_rng(4)
    deviations = ad.AnnData(rng.normal(0, [1, 2, 3], (N_CELLS, 3)).astype(np.float32))
    deviations.obs_names, deviations.var_names = mdata["atac"].obs_names, MOTIFS
    noise = rng.normal(size=(N_CELLS, 4))
    expression = pd.DataFrame(
        np.column_stack([deviations.X[:, 1] + noise[:, 0], noise[:, 1:]]),
        index=mdata["atac"].obs_names,
        columns=[f"gene{i}" for i in range(4)],  # not gene4
    )
    shuffled = expression.sample(frac=1, random_state=0)
    table = motif_gene_scores(mdata, links, deviations=deviations[::-1].copy(), expression=shuffled)
    for row in table.itertuples():
        x = deviations[:, row.motif].X.ravel()
        np.testing.assert_allclose(row.variability, x.std(ddof=1), rtol=1e-5)
        if row.gene == "gene4":
            assert np.isnan(row.correlation)
        else:
            np.testing.assert_allclose(row.correlation, np.corrcoef(x, expression[row.gene])[0, 1], atol=1e-6)
    mdata["atac"].obsm["chromvar"] = deviations.X
    from_obsm = motif_gene_scores(mdata, links, deviations="chromvar", expression=expression)
    pd.testing.assert_frame_equal(from_obsm, table, rtol=1e-4)


def test_min_peaks(mdata, links):
    table, fewer = motif_gene_scores(mdata, links), motif_gene_scores(mdata, links, min_peaks=6)
    assert len(fewer) == (table["n_peaks"] >= 6).sum() < len(table)


@pytest.mark.parametrize(
    ("change", "options", "error", "match"),
    [
        (
            {"peak": "elsewhere", "gene": [f"g{i}" for i in range(60)]},
            {},
            KeyError,
            r"not in mdata\['atac'\].var_names, such as 'elsewhere'",
        ),
        ({"weight": np.nan}, {}, ValueError, "NaN"),
        ({"peak": "chr1:1-2", "gene": "gene1"}, {}, ValueError, "more than one row for"),
        ({}, {"atac_mod": "peaks"}, KeyError, "atac_mod='peaks'"),
        ({}, {"motif_match": "other"}, KeyError, "has no 'other'"),
        ({}, {"motifs": "other"}, KeyError, "has no 'other'"),
        ({}, {"motifs": ["A", "B"]}, ValueError, "2 names of motifs.* has 3"),
        ({}, {"motifs": ["A", "B", "A"]}, ValueError, "'A' names more than one"),
        ({}, {"deviations": "chromvar"}, KeyError, "no 'chromvar'"),
        ({}, {"expression": pd.DataFrame()}, ValueError, "without deviations"),
    ],
)
def test_bad_input(mdata, links, change, options, error, match):
    with pytest.raises(error, match=match):
        motif_gene_scores(mdata, links.assign(**change), **options)
    with pytest.raises(KeyError, match="no column 'weight'"):
        motif_gene_scores(mdata, links.drop(columns="weight"))

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from scdart.datasets._links import Links, draw_links


def draw(n_genes: int = 400, n_peaks: int = 1_000, seed: int = 0, **options: Any) -> Links:
    defaults = {
        "kind": "consecutive",
        "links_per_gene": (0.1, 0.3, 0.6),
        "negative_links": 0.0,
        "prior_precision": 1.0,
        "prior_recall": 1.0,
    }
    return draw_links(n_genes, n_peaks, **defaults | options, rng=np.random.default_rng(seed))


@pytest.mark.parametrize("kind", ["consecutive", "random", "genomic"])
def test_number_and_weights_of_links(kind: str) -> None:
    links = draw(kind=kind, negative_links=0.25)
    assert links.weights.shape == (1_000, 400)
    per_gene = np.diff(links.weights.tocsc().indptr)
    np.testing.assert_allclose(np.bincount(per_gene) / 400, [0.1, 0.3, 0.6], atol=0.07)
    total = np.asarray(np.abs(links.weights).sum(axis=0)).ravel()
    np.testing.assert_allclose(total, per_gene > 0)
    assert np.mean(links.weights.data < 0) == pytest.approx(0.25, abs=0.06)


def test_consecutive_links_are_neighbours() -> None:
    weights = draw(links_per_gene=(0, 0, 0, 1)).weights.tocsc()
    rows = np.sort(weights.indices.reshape(-1, 3), axis=1)
    np.testing.assert_array_equal(np.diff(rows), 1)


def test_prior_without_flaws_is_the_links() -> None:
    links = draw(kind="random", negative_links=0.5)
    assert links.prior is not None
    assert (links.prior != (links.weights != 0)).nnz == 0


def test_prior_has_the_precision_and_recall_asked_for() -> None:
    links = draw(prior_precision=0.4, prior_recall=0.75)
    assert links.prior is not None
    n_true_in_prior = links.prior.multiply(links.weights != 0).nnz
    assert n_true_in_prior / links.weights.nnz == pytest.approx(0.75, abs=1e-3)
    assert n_true_in_prior / links.prior.nnz == pytest.approx(0.4, abs=1e-3)
    assert set(links.prior.data) == {1.0}


def test_genome() -> None:
    links = draw(kind="genomic", links_per_gene=(0, 0, 1))
    peaks, genes = links.peaks, links.genes
    assert peaks.index.is_unique
    assert (peaks["end"] - peaks["start"] == 500).all()
    assert peaks.index[0] == f"{peaks['chrom'].iloc[0]}:{peaks['start'].iloc[0]}-{peaks['end'].iloc[0]}"
    for _, on_chromosome in peaks.groupby("chrom"):
        assert (np.diff(on_chromosome["start"]) >= 500).all()

    link = links.weights.tocoo()
    peak, gene = peaks.iloc[link.row], genes.iloc[link.col]
    assert (peak["chrom"].to_numpy() == gene["chrom"].to_numpy()).all()
    tss = np.where(gene["strand"] == "+", gene["start"], gene["end"])
    distance = np.abs((peak["start"] + peak["end"]).to_numpy() // 2 - tss)
    assert np.median(distance) < 50_000
    # Of a gene's two links the closer one is the stronger.
    order = np.lexsort((distance, link.col))
    weight = np.abs(link.data[order]).reshape(-1, 2)
    assert (weight[:, 0] >= weight[:, 1]).all()


def test_too_many_peaks_for_the_genome() -> None:
    with pytest.raises(ValueError, match="n_peaks=3000 do not fit"):
        draw(n_genes=10, n_peaks=3_000, kind="genomic")

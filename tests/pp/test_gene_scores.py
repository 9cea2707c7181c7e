"""ATAC of gene scores, without peaks."""

from __future__ import annotations

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from scdart.pp import from_anndata, gene_activity, gene_scores

GENES, SCORED = ["Sox2", "ENSG00000000003.7", "Pax6"], ["Pax6", "Gata1", "ENSG00000000003", "Sox2"]


def cells(features: list[str], n_cells: int = 6, share: float = 0.2) -> ad.AnnData:
    values = np.random.default_rng(0).random((n_cells, len(features)))
    values[:, 0] = 1  # no empty cell
    values[:, 1:] *= values[:, 1:] < share
    return ad.AnnData(sparse.csr_matrix(values, dtype=np.float32), var=pd.DataFrame(index=features))


@pytest.fixture
def mdata(caplog):
    with caplog.at_level("INFO", logger="scdart"):
        made = from_anndata(cells(GENES), cells(SCORED, 7))
    assert "genes, not peaks: scdart.pp.gene_scores" in caplog.text
    caplog.clear()
    return made


def test_each_score_is_linked_with_its_gene(mdata, caplog):
    with caplog.at_level("INFO", logger="scdart"):
        assert gene_scores(mdata) is None
    assert "will not be known" in caplog.text
    assert "3 links between 3 of 4 peaks and 3 of 3 genes" in caplog.text
    prior = mdata["atac"].varm["gene_activity"]
    np.testing.assert_array_equal(prior.toarray(), [[0, 0, 1], [0, 0, 0], [0, 1, 0], [1, 0, 0]])
    assert mdata["atac"].uns["gene_activity"]["genes"].tolist() == GENES


def test_writes_to_a_copy_only(mdata):
    made = gene_scores(mdata, key_added="scores", copy=True)
    assert made["atac"].varm["scores"].nnz == 3
    assert not mdata["atac"].varm
    assert "scores" not in mdata["atac"].uns


@pytest.mark.parametrize("dense", [False, True])
def test_scores_that_are_hardly_ever_zero_are_warned_about(mdata, dense):
    atac = mdata["atac"]
    atac.X = np.ones(atac.shape, np.float32) if dense else sparse.csr_matrix(np.ones(atac.shape, np.float32))
    atac.layers["few"] = sparse.csr_matrix(np.eye(4, dtype=np.float32)[[0, 1, 2, 3, 0, 1, 2]])
    with pytest.warns(UserWarning, match=r"100% of the scores in mdata\.mod\['atac'\]\.X are above 0"):
        gene_scores(mdata)
    gene_scores(mdata, atac_layer="few")


def test_names_that_no_gene_has(mdata):
    mdata = from_anndata(cells(GENES), cells(["sox2", "pax6"], 7, share=0))
    with pytest.raises(ValueError, match=r"no gene of mdata\.mod\['rna'\]: 'sox2', 'pax6' against 'Sox2'"):
        gene_scores(mdata)
    assert not mdata["atac"].varm


def test_versions_must_not_make_two_genes_one():
    mdata = from_anndata(cells([*GENES, "ENSG00000000003.8"]), cells(SCORED, 7))
    with pytest.raises(ValueError, match="without their versions must be unique.*'ENSG00000000003'"):
        gene_scores(mdata)


def test_an_annotation_of_scores_leads_here(mdata):
    table = pd.DataFrame({"chrom": "chr1", "start": [1], "end": [9], "strand": "+", "gene_name": "Sox2"})
    with pytest.raises(ValueError, match=r"gene scores in place of peaks: scdart\.pp\.gene_scores"):
        gene_activity(mdata, table)

"""The lines of README run on two files of other people's names, and what users do next works on what they leave."""

from __future__ import annotations

import re
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
import scanpy as sc

from scdart import pl, tl
from scdart.datasets import simulate

README = Path(__file__).resolve().parents[1] / "README.md"


@pytest.fixture(scope="module")
def left(tmp_path_factory) -> dict:
    """Names that the lines define; training is shorter, and the annotation not gzipped."""
    folder = tmp_path_factory.mktemp("readme")
    simulated = simulate("bifurcating", n_cells=(80, 70), n_genes=60, n_peaks=150, link_kind="genomic")
    for mod, name in (("rna", "gex"), ("atac", "chromatin")):
        adata = simulated[mod].copy()
        adata.obs_names = [f"AAAC{i:04}-1" for i in range(adata.n_obs)]  # both from one list of barcodes
        adata.varm.clear()
        adata.uns.clear()
        adata.write(folder / f"{name}.h5ad")
    genes = simulated["rna"].var
    bed = genes.assign(name=genes.index, score=0)[["chrom", "start", "end", "name", "score", "strand"]]
    bed.to_csv(folder / "genes.bed", sep="\t", header=False, index=False)
    lines = re.search(r"^```python\n(.*?)^```$", README.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    assert lines is not None
    code = lines[1].replace("rna.h5ad", str(folder / "gex.h5ad")).replace("atac.h5ad", str(folder / "chromatin.h5ad"))
    code = code.replace("genes.gtf.gz", str(folder / "genes.bed"))
    code = code.replace("model.train()", "model.train(max_epochs=2, enable_progress_bar=False)")
    names: dict = {}
    exec(compile(code, "README.md", "exec"), names)
    return names


@pytest.fixture
def mdata(left):
    return left["mdata"].copy()


def test_is_as_short_as_it_says(left):
    mdata = left["mdata"]
    assert mdata.obsm["X_umap"].shape == (150, 2)
    assert mdata.obs["modality"].value_counts().to_dict() == {"rna": 80, "atac": 70}
    assert all("X_scdart" in data.obsm for data in (mdata, *mdata.mod.values()))


@pytest.mark.filterwarnings("ignore:The method obs_vector is deprecated")  # which scanpy asks MuData for
def test_scanpy_draws_cells_of_both_modalities_by_gene(left, mdata):
    sc.pl.umap(mdata, color="modality", show=False)
    joint = tl.joint_anndata(mdata, left["model"])
    gene = joint.var_names[0]
    axes = sc.pl.umap(joint, color=["modality", gene], show=False)
    assert [panel.get_title() for panel in axes] == ["modality", gene]
    plt.close("all")


def test_order_branches_labels_and_links(left, mdata):
    model = left["model"]
    tl.pseudotime(mdata, root_score="pseudotime")
    tl.backbone(mdata)
    pl.backbone(mdata, show=False)
    plt.close("all")
    assert mdata.obs["dpt_pseudotime"].between(0, 1).mean() > 0.9
    tl.transfer_labels(mdata, "branch", min_confidence=0)
    assert mdata["atac"].obs["branch_from_rna"].notna().any()
    links = model.get_peak_gene_links(genes=list(mdata["rna"].var_names[:3]))
    assert {"peak", "gene"} <= set(links)
    expression = tl.impute(mdata, copy=True)["atac"]
    assert any(np.shape(values)[1] == mdata["rna"].n_vars for values in expression.obsm.values())

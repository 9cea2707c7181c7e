"""Pages of the documentation that say so are run, from top to bottom, on small files made here."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

import mudata
import numpy as np
import pandas as pd
import pytest
from scipy import io, sparse

import scdart
from scdart.model import SCDART

HOW_TO = Path(__file__).resolve().parents[1] / "docs" / "how_to"
CHROMOSOME = 2000


def run_page(name: str, names: dict | None = None) -> dict:
    """Run the Python of a page with the names that are given, but for blocks that need packages that are not installed.

    Training is shorter.
    """
    blocks = re.findall(
        r"^```python\n(.*?)^```$", (HOW_TO / name).read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )
    names = {} if names is None else names
    for block in blocks:
        block = block.replace("model.train()", "model.train(max_epochs=1, enable_progress_bar=False)")
        if all(map(find_spec, re.findall(r"^(?:import|from) (\w+)", block, re.MULTILINE))):
            exec(compile(block, name, "exec"), names)
    return names


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def write_fragments(folder: Path, barcodes: list[str], seed: int) -> None:
    folder.mkdir()
    rng = np.random.default_rng(seed)
    start = np.sort(rng.integers(0, CHROMOSOME - 100, 200))
    cells = rng.choice([*barcodes, "EMPTY-1"], 200)
    lines = [f"chr1\t{at}\t{at + 60}\t{cell}\t2" for at, cell in zip(start, cells, strict=True)]
    pd.Series(["# made up", *lines]).to_csv(folder / "fragments.tsv.gz", index=False, header=False, quoting=3, sep="|")
    (folder / "barcodes.tsv").write_text("\n".join(barcodes))


def test_fragments_of_two_samples_are_counted_in_one_peak_set():
    barcodes = {"donor_a": ["AAA-1", "AAC-1"], "donor_b": ["AAA-1", "CCC-1", "GGG-1"]}
    for seed, (sample, cells) in enumerate(barcodes.items()):
        write_fragments(Path(sample), cells, seed)
    Path("donor_a/peaks.bed").write_text("# from a caller\nchr1\t100\t300\nchr1\t900\t1100\n")
    Path("donor_b/peaks.bed").write_text("chr1\t250\t400\tpeak1\t7\nchr1\t1500\t1700\tpeak2\t9\n")
    names = run_page("fragments.md")
    atac = names["atac"]
    assert atac.var_names.to_list() == ["chr1:100-400", "chr1:900-1100", "chr1:1500-1700"]
    assert atac.obs_names.to_list() == [
        "AAA-1-donor_a",
        "AAC-1-donor_a",
        "AAA-1-donor_b",
        "CCC-1-donor_b",
        "GGG-1-donor_b",
    ]
    read = pd.read_csv("donor_b/fragments.tsv.gz", sep="\t", comment="#", header=None)
    touch = (read[3] == "CCC-1") & (read[1] < 400) & (read[2] > 100)
    assert atac["CCC-1-donor_b", "chr1:100-400"].X.sum() == touch.sum() > 0
    np.testing.assert_array_equal(names["moved"].X.toarray(), names["parts"]["donor_a"].X.toarray())


def test_matrices_from_r_and_gene_scores():
    rng = np.random.default_rng(0)
    genes = [f"G{i}" for i in range(12)]
    for folder, features in (
        ("rna", genes),
        ("atac", [f"chr1-{i}00-{i}50" for i in range(1, 9)]),
        ("scores", genes[2:]),
    ):
        Path(folder).mkdir()
        counts = rng.poisson(1, (len(features), 6)) + np.eye(len(features), 6)
        io.mmwrite(f"{folder}/matrix.mtx", sparse.coo_matrix(counts))
        cells = [f"{folder}{i}" for i in range(6)]
        Path(folder, "barcodes.tsv").write_text("\n".join(cells) + "\n")
        Path(folder, "features.tsv").write_text("\n".join(features) + "\n")
        pd.DataFrame({"celltype": list("aabbcc")}, index=cells).to_csv(f"{folder}/obs.csv")
    with pytest.warns(UserWarning, match="of the scores"):
        mdata = run_page("from_r.md")["mdata"]
    assert mdata["atac"].varm["gene_activity"].nnz == len(genes) - 2
    assert mdata["rna"].var_names.to_list() == genes
    assert 0.2 < mdata["atac"].X.nnz / np.prod(mdata["atac"].shape) < 0.6


@pytest.fixture
def ready():
    """What README's lines leave, but for training."""
    mdata = scdart.datasets.simulate("bifurcating", n_cells=100, n_genes=80, n_peaks=200, random_state=0)
    scdart.pp.diffusion_coordinates(mdata)
    return mdata


def test_settings_are_searched_for(ready):
    table = run_page("tune.md", {"mdata": ready})["table"]
    assert table.shape == (4, 4)
    assert table.notna().all(axis=None)


@pytest.mark.skipif(find_spec("cellrank") is None, reason="needs CellRank, whose pins are older than those of the site")
def test_cellrank_finds_the_fates(ready):
    SCDART.setup_mudata(ready)
    model = SCDART(ready)
    model.train(max_epochs=20, enable_progress_bar=False)
    scdart.tl.embed(ready, model)
    fates = run_page("cellrank.md", {"mdata": ready, "model": model})["fates"]
    np.testing.assert_allclose(fates.sum(axis=1), 1, rtol=1e-5)


@pytest.mark.distributed
@pytest.mark.slow
def test_counts_stay_on_disk(monkeypatch):
    """Also where workers of dask read them, which are started here."""
    mdata = scdart.datasets.simulate("bifurcating", n_cells=150, n_genes=80, n_peaks=300, link_kind="genomic")
    for adata in mdata.mod.values():
        adata.X = sparse.csr_matrix(adata.X)
    mdata.write("counts.h5mu")
    genes = mdata["rna"].var
    named = [f'gene_id "{name}"; gene_name "{name}";' for name in genes.index]
    gtf = pd.DataFrame(
        {"chrom": genes["chrom"], "source": "made up", "feature": "gene", "start": genes["start"] + 1}
        | {"end": genes["end"], "score": ".", "strand": genes["strand"], "frame": ".", "attributes": named}
    )
    gtf.to_csv("genes.gtf.gz", sep="\t", header=False, index=False, quoting=3)
    train = SCDART.train
    monkeypatch.setattr(SCDART, "train", lambda self, **options: train(self, **{**options, "max_epochs": 1}))
    names = run_page("large_data.md", {"scdart": scdart, "np": np, "md": mudata})
    if "client" in names:
        names["client"].close()
    assert len(names["z"]) == 300
    assert np.isfinite(names["z"]).all()

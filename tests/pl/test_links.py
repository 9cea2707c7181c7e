from __future__ import annotations

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from mudata import MuData

from scdart import pl
from scdart.pl._colors import OKABE_ITO

GENES = pd.DataFrame(
    {
        "chrom": ["chr1", "chr2"],
        "start": [50_000, 0],
        "end": [60_000, 10],
        "strand": ["-", "+"],
        "gene_name": ["A", "B"],
    }
)


@pytest.fixture
def locus() -> MuData:
    """A gene on the minus strand, whose start is 60,000."""
    rna = ad.AnnData(np.ones((3, 2)), var=pd.DataFrame(index=["A", "B"]))
    peaks = ["chr1:58000-58400", "chr1:70000-70400", "chr1:90000-90400", "chr2:100-200", "chr1:400000-400400"]
    atac = ad.AnnData(np.ones((4, 5)), var=pd.DataFrame(index=peaks))
    rna.obs_names, atac.obs_names = list("abc"), list("defg")
    return MuData({"rna": rna, "atac": atac})


@pytest.fixture
def links(locus) -> pd.DataFrame:
    peaks = locus["atac"].var_names
    return pd.DataFrame(
        {
            "peak": peaks,
            "gene": "A",
            "weight": 0.1,
            "z": [3.0, -2.0, 1.0, 5.0, 4.0],
            "in_prior": [True, True, True, False, False],
        }
    )


def arcs(ax) -> list[tuple[float, float, str, str]]:
    """Peak, height, colour and line style of every arc."""
    found = []
    for patch in ax.patches:
        if patch.get_gid() == "link":
            # Extents of a curve, not of its control points.
            extents = patch.get_path().get_extents()
            style = "solid" if patch.get_linestyle() in ("-", "solid") else "dashed"
            end = float(patch.get_path().vertices[-1, 0])
            found.append((end, float(extents.y1), to_hex(patch.get_edgecolor()), style))
    return found


def test_arcs_lead_to_the_peaks_and_are_as_high_as_the_links(locus, links):
    ax = pl.peak_gene_links(locus, links, "A", annotation=GENES, show=False)
    blue, vermilion = OKABE_ITO[0].lower(), OKABE_ITO[5].lower()
    expected = [(58_200, 3.0, blue, "solid"), (70_200, 2.0, vermilion, "solid"), (90_200, 1.0, blue, "solid")]
    for found, wanted in zip(arcs(ax), expected, strict=True):
        assert found[:2] == pytest.approx(wanted[:2])
        assert found[2:] == wanted[2:]
    starts = {float(patch.get_path().vertices[0, 0]) for patch in ax.patches if patch.get_gid() == "link"}
    assert starts == {60_000}
    assert ax.get_title() == "A: 3 links, 2 elsewhere"
    assert ax.get_xlabel() == "chr1 (kb)"
    assert ax.get_xlim()[0] < 50_000 < 90_400 < ax.get_xlim()[1]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["positive", "negative"]


def test_region_and_threshold(locus, links):
    ax = pl.peak_gene_links(locus, links, "A", annotation=GENES, region=(40_000, 500_000), show=False)
    assert [style for *_, style in arcs(ax)] == ["solid"] * 3 + ["dashed"]
    assert ax.get_xlim() == (40_000, 500_000)
    assert "not in the prior" in [text.get_text() for text in ax.get_legend().get_texts()]
    ax = pl.peak_gene_links(locus, links, "A", annotation=GENES, min_value=1.5, show=False)
    assert [height for _, height, *_ in arcs(ax)] == pytest.approx([3.0, 2.0])


def test_positions_from_the_features_and_a_model(locus, links, tmp_path):
    locus["rna"].var = GENES.set_index("gene_name")

    class Model:
        def get_peak_gene_links(self, *, genes):
            return links[links["gene"].isin(genes)]

    save = tmp_path / "links.svg"
    ax = pl.peak_gene_links(locus, Model(), "A", value="weight", save=save, show=False)
    assert len(arcs(ax)) == 3
    assert ax.get_ylabel() == "size of the link (|weight|)"
    assert save.stat().st_size > 1000


def test_no_link_in_the_region(locus, links):
    ax = pl.peak_gene_links(locus, links, "A", annotation=GENES, region=(0, 1_000), show=False)
    assert arcs(ax) == []
    assert ax.get_title() == "A: 0 links, 5 elsewhere"


def test_bad_input(locus, links):
    with pytest.raises(KeyError, match="pass the annotation"):
        pl.peak_gene_links(locus, links, "A", show=False)
    with pytest.raises(ValueError, match="'B' has no link"):
        pl.peak_gene_links(locus, links, "B", annotation=GENES, show=False)
    with pytest.raises(KeyError, match="neither a name nor an identifier"):
        pl.peak_gene_links(locus, links.assign(gene="C"), "C", annotation=GENES, show=False)
    with pytest.raises(KeyError, match="no column 'score'"):
        pl.peak_gene_links(locus, links, "A", annotation=GENES, value="score", show=False)
    with pytest.raises(KeyError, match="1 linked peaks are not in"):
        pl.peak_gene_links(locus, links.replace("chr2:100-200", "chr2:1-2"), "A", annotation=GENES, show=False)
    with pytest.raises(KeyError, match="atac_mod='peaks'"):
        pl.peak_gene_links(locus, links, "A", atac_mod="peaks", show=False)

"""The gene-activity prior, against brute force, real links and hand-made cases."""

from __future__ import annotations

import gzip
import itertools
import logging
from typing import TYPE_CHECKING

import anndata as ad
import mudata as md
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

import scdart

if TYPE_CHECKING:
    from pathlib import Path

GENES = ["Sox2", "Pax6", "Gata1"]
PEAKS = ["chr1:2500-3000", "chr1:6500-7000", "chr1:9000-9100", "chr2:8500-9000", "chr2:12500-13000"]


def toy_mdata(peaks: list[str] | pd.DataFrame, genes: list[str], names: tuple[str, str] = ("rna", "atac")) -> md.MuData:
    peaks = peaks if isinstance(peaks, pd.DataFrame) else pd.DataFrame(index=peaks)
    rna = ad.AnnData(sp.csr_matrix((3, len(genes)), dtype="float32"), var=pd.DataFrame(index=genes))
    atac = ad.AnnData(sp.csr_matrix((2, len(peaks)), dtype="float32"), var=peaks)
    rna.obs_names, atac.obs_names = ["r1", "r2", "r3"], ["a1", "a2"]
    return md.MuData(dict(zip(names, (rna, atac), strict=True)))


def annotation_table(**replaced: list[object]) -> pd.DataFrame:
    columns = {
        "chrom": ["chr1", "chr2", "chr1"],
        "start": [4000, 10000, 9000],
        "end": [6000, 11000, 9500],
        "strand": ["+", "-", "-"],
        "gene_name": GENES,
    }
    return pd.DataFrame(columns | replaced)


def prior_of(mdata: md.MuData, key: str = "gene_activity") -> np.ndarray:
    return mdata["atac"].varm[key].toarray()


def write(path: Path, lines: list[str]) -> Path:
    text = "\n".join(lines) + "\n"
    if path.suffix == ".gz":
        with gzip.open(path, "wt") as file:
            file.write(text)
    else:
        path.write_text(text)
    return path


@pytest.fixture
def mdata() -> md.MuData:
    return toy_mdata(PEAKS, GENES)


@pytest.fixture
def random_genome() -> tuple[md.MuData, pd.DataFrame]:
    """120 peaks, and 40 genes of which some occur several times, crowded on two short chromosomes."""
    rng = np.random.default_rng(0)
    starts, widths = rng.integers(0, 60_000, 120), rng.integers(1, 800, 120)
    chrom = rng.choice(["chr1", "chr2"], 120)
    peaks = sorted({f"{c}:{s}-{s + w}" for c, s, w in zip(chrom, starts, widths, strict=True)})
    starts = rng.integers(0, 60_000, 60)
    annotation = pd.DataFrame(
        {
            "chrom": rng.choice(["chr1", "chr2"], 60),
            "start": starts,
            "end": starts + rng.integers(1, 5_000, 60),
            "strand": rng.choice(["+", "-"], 60),
            "gene_name": [f"g{i}" for i in rng.integers(0, 40, 60)],
        }
    )
    return toy_mdata(peaks, sorted(annotation["gene_name"].unique())), annotation


def brute_force(
    mdata: md.MuData,
    annotation: pd.DataFrame,
    *,
    upstream: int,
    downstream: int,
    include_gene_body: bool,
    decay: float | None,
) -> np.ndarray:
    """The definition, one pair and one base at a time."""
    genes = list(mdata["rna"].var_names)
    expected = np.zeros((mdata["atac"].n_vars, len(genes)))
    for (i, peak), row in itertools.product(enumerate(mdata["atac"].var_names), annotation.itertuples()):
        chrom, span = peak.split(":")
        if chrom != row.chrom:
            continue
        bases = np.arange(*map(int, span.split("-")))
        body = (row.start, row.end - 1)
        if not include_gene_body:
            body = (body[0], body[0]) if row.strand == "+" else (body[1], body[1])
        extended = (upstream, downstream) if row.strand == "+" else (downstream, upstream)
        first, last = body[0] - extended[0], body[1] + extended[1]
        # Bases strictly between peak and domain.
        between = max(np.maximum(first - bases, bases - last).min() - 1, 0)
        overlaps = ((bases >= first) & (bases <= last)).any()
        weight = float(overlaps) if decay is None else np.exp(-between / decay)
        j = genes.index(row.gene_name)
        expected[i, j] = max(expected[i, j], weight if weight >= 0.01 else 0)
    return expected


@pytest.mark.parametrize("include_gene_body", [True, False])
@pytest.mark.parametrize("decay", [None, 300.0])
@pytest.mark.parametrize(("upstream", "downstream"), [(2000, 0), (0, 0), (500, 1000)])
def test_equals_brute_force(random_genome, upstream, downstream, include_gene_body, decay):
    mdata, annotation = random_genome
    options = {
        "upstream": upstream,
        "downstream": downstream,
        "include_gene_body": include_gene_body,
        "decay": decay,
    }
    expected = brute_force(mdata, annotation, **options)
    assert expected.any()
    scdart.pp.gene_activity(mdata, annotation, **options)
    np.testing.assert_allclose(prior_of(mdata), expected, rtol=1e-6)


def test_reproduces_the_links_of_snare_cortex(data_dir):
    mdata = md.read_h5mu(data_dir / "snare_cortex.h5mu")
    own = mdata["atac"].varm["gene_activity"].astype(bool)
    with pytest.warns(UserWarning, match=r"3 of 1,677 genes .* not in the annotation: '1700060O08Rik'"):
        scdart.pp.gene_activity(mdata, data_dir / "mm10_genes.bed.gz", key_added="from_positions")
    prior = mdata["atac"].varm["from_positions"]
    shared = own.multiply(prior.astype(bool)).nnz
    assert shared / own.nnz >= 0.9
    assert shared / prior.nnz >= 0.99


def test_writes_only_documented_slots(mdata):
    assert scdart.pp.gene_activity(mdata, annotation_table(), decay=1000) is None
    atac = mdata["atac"]
    prior = atac.varm["gene_activity"]
    assert sp.isspmatrix_csr(prior)
    assert prior.dtype == np.float32
    assert prior.has_sorted_indices
    assert list(atac.uns["gene_activity"]["genes"]) == GENES
    assert atac.uns["gene_activity"]["params"] == {
        "upstream": 2000,
        "downstream": 0,
        "include_gene_body": True,
        "decay": 1000,
    }
    assert (list(atac.varm), list(atac.uns), list(atac.var)) == (["gene_activity"], ["gene_activity"], [])
    assert not len(mdata["rna"].varm)
    assert not len(mdata["rna"].uns)


def test_copy_leaves_the_original(mdata):
    copied = scdart.pp.gene_activity(mdata, annotation_table(), copy=True)
    assert prior_of(copied).sum() > 0
    assert_untouched(mdata)


def test_survives_h5mu(mdata, tmp_path):
    scdart.pp.gene_activity(mdata, annotation_table())
    scdart.pp.set_gene_activity(mdata, np.eye(5, 3), key_added="registered")
    mdata.write(tmp_path / "data.h5mu")
    read = md.read_h5mu(tmp_path / "data.h5mu")
    for key in ("gene_activity", "registered"):
        np.testing.assert_array_equal(prior_of(read, key), prior_of(mdata, key))
        assert list(read["atac"].uns[key]["genes"]) == GENES
    assert read["atac"].uns["gene_activity"]["params"]["include_gene_body"]


def test_other_names_of_modalities():
    mdata = toy_mdata(PEAKS, GENES, names=("expression", "accessibility"))
    scdart.pp.gene_activity(mdata, annotation_table(), rna_mod="expression", atac_mod="accessibility", key_added="p")
    assert mdata["accessibility"].varm["p"].nnz == 3


def test_logs_what_is_linked(mdata, caplog):
    with caplog.at_level(logging.INFO, logger="scdart"):
        scdart.pp.gene_activity(mdata, annotation_table())
    assert "3 links between 3 of 5 peaks and 3 of 3 genes" in caplog.text


# Strands and edges


@pytest.mark.parametrize(
    ("strand", "options", "first", "last"),
    [
        ("+", {}, 3000, 5999),
        ("-", {}, 5000, 7999),
        ("+", {"upstream": 0, "downstream": 500}, 5000, 6499),
        ("-", {"upstream": 0, "downstream": 500}, 4500, 5999),
        ("+", {"include_gene_body": False, "downstream": 100}, 3000, 5100),
        ("-", {"include_gene_body": False, "downstream": 100}, 5899, 7999),
        ("+", {"include_gene_body": False, "upstream": 0}, 5000, 5000),
        ("-", {"include_gene_body": False, "upstream": 0}, 5999, 5999),
    ],
)
def test_first_and_last_base_of_a_domain(strand, options, first, last):
    bases = [first - 1, first, last, last + 1]
    peaks = pd.DataFrame({"chrom": "chr1", "start": bases, "end": np.add(bases, 1)}, index=list("abcd"))
    mdata = toy_mdata(peaks, ["Sox2"])
    table = pd.DataFrame({"chrom": ["chr1"], "start": 5000, "end": 6000, "strand": strand, "gene_name": "Sox2"})
    scdart.pp.gene_activity(mdata, table, **options)
    assert prior_of(mdata).ravel().tolist() == [0, 1, 1, 0]


def test_domain_is_cut_at_the_start_of_the_chromosome():
    mdata = toy_mdata(["chr1:0-10"], ["Sox2"])
    table = pd.DataFrame({"chrom": ["chr1"], "start": 100, "end": 200, "strand": "+", "gene_name": "Sox2"})
    scdart.pp.gene_activity(mdata, table)
    assert prior_of(mdata).tolist() == [[1]]


@pytest.mark.parametrize("strand", [[1, -1, -1], ["1", "-1", "-1"], pd.Categorical(["+", "-", "-"])])
def test_other_codes_of_strands(mdata, strand):
    expected = scdart.pp.gene_activity(mdata, annotation_table(), copy=True)
    scdart.pp.gene_activity(mdata, annotation_table(strand=strand))
    np.testing.assert_array_equal(prior_of(mdata), prior_of(expected))


def test_genes_without_strand_are_forward(mdata):
    expected = scdart.pp.gene_activity(mdata, annotation_table(strand=["+"] * 3), copy=True)
    unstranded = annotation_table().drop(columns="strand")
    with pytest.warns(UserWarning, match="3 of 3 intervals of genes have no strand .* 'Sox2', 'Pax6', 'Gata1'"):
        scdart.pp.gene_activity(mdata, unstranded)
    np.testing.assert_array_equal(prior_of(mdata), prior_of(expected))


def test_intervals_of_a_repeated_gene_are_joined():
    mdata = toy_mdata(["chr1:100-200", "chr1:5000-5100", "chrX:100-200"], ["Sox2"])
    table = pd.DataFrame(
        {"chrom": ["chr1", "chrX"], "start": 50, "end": 300, "strand": "+", "gene_name": ["Sox2", "Sox2"]}
    )
    scdart.pp.gene_activity(mdata, table)
    assert prior_of(mdata).ravel().tolist() == [1, 0, 1]


# Ways to give an annotation


def gtf_line(chrom: str, feature: str, start: int, end: int, strand: str, attributes: str) -> str:
    return "\t".join([chrom, "test", feature, str(start), str(end), ".", strand, ".", attributes])


def gtf_lines(feature: str = "gene", name_key: str = "gene_name") -> list[str]:
    rows = zip(*annotation_table().to_numpy().T, range(3), strict=True)
    return [
        "#!genome-build test",
        *(
            gtf_line(
                c, feature, s + 1, e, d, f'gene_id "ENSMUSG0000000000{i}.7"; transcript_id "t{i}"; {name_key} "{g}";'
            )
            for c, s, e, d, g, i in rows
        ),
        "###",
    ]


def bed_lines(columns: str) -> list[str]:
    return ["\t".join(line) for line in annotation_table().assign(score="0").astype(str)[columns.split()].to_numpy()]


def exon_lines() -> list[str]:
    """Every gene as two exons and an intron, beside rows of no use."""
    exons = []
    for line in gtf_lines("exon")[1:-1]:
        fields = line.split("\t")
        start, end = int(fields[3]), int(fields[4])
        for span in ((start, start + 99), (end - 99, end)):
            exons.append("\t".join([*fields[:3], *map(str, span), *fields[5:]]))
    return exons


ANNOTATIONS = {
    "bed6.bed": bed_lines("chrom start end gene_name score strand"),
    "strand_in_column_5.bed.gz": bed_lines("chrom start end gene_name strand"),
    "with_header.bed": [
        "#chrom\tstart",
        'track name="genes"',
        *bed_lines("chrom start end gene_name score strand"),
    ],
    "genes.gtf": gtf_lines(),
    "genes_and_more.gtf.gz": [*gtf_lines(), gtf_line("chr1", "exon", 1, 20_000, "+", 'gene_name "Sox2";')],
    "transcripts.GTF": gtf_lines("transcript"),
    "exons.gtf": exon_lines(),
    "identifiers_only.gtf": [line.replace("gene_id", "old_id").replace("gene_name", "gene_id") for line in gtf_lines()],
}


@pytest.mark.parametrize("name", ANNOTATIONS)
def test_files_equal_the_table(mdata, tmp_path, name):
    expected = scdart.pp.gene_activity(mdata, annotation_table(), copy=True)
    scdart.pp.gene_activity(mdata, write(tmp_path / name, ANNOTATIONS[name]))
    np.testing.assert_array_equal(prior_of(mdata), prior_of(expected))


@pytest.mark.parametrize(("first", "linked"), [(3999, 0), (4000, 1)])
def test_gtf_counts_from_one(tmp_path, first, linked):
    """A gene that starts at base 4001 of a GTF has its first base at 4000 of a BED file."""
    path = write(tmp_path / "genes.gtf", gtf_lines())
    mdata = toy_mdata([f"chr1:{first}-{first + 1}", "chr1:5000-5001"], ["Sox2"])
    scdart.pp.gene_activity(mdata, path, upstream=0)
    assert prior_of(mdata).ravel().tolist() == [linked, 1]


def test_gene_name_key_selects_attribute_and_column(mdata, tmp_path):
    expected = scdart.pp.gene_activity(mdata, annotation_table(), copy=True)
    gtf = write(tmp_path / "genes.gtf", gtf_lines(name_key="gene"))
    table = annotation_table().rename(columns={"gene_name": "label"}).assign(name="not this")
    for annotation, key in ((str(gtf), "gene"), (table, "label")):
        scdart.pp.gene_activity(mdata, annotation, gene_name_key=key)
        np.testing.assert_array_equal(prior_of(mdata), prior_of(expected))


@pytest.mark.parametrize(
    "columns",
    [
        ["Chromosome", "Start", "End", "Strand", "symbol"],
        ["seqnames", "start", "end", "strand", "gene"],
        ["#chrom", "chromStart", "chromEnd", "strand", "name"],
    ],
)
def test_synonyms_of_columns(mdata, columns):
    expected = scdart.pp.gene_activity(mdata, annotation_table(), copy=True)
    scdart.pp.gene_activity(mdata, annotation_table().set_axis(columns, axis=1))
    np.testing.assert_array_equal(prior_of(mdata), prior_of(expected))


def test_table_of_gtf_features_uses_genes(mdata):
    expected = scdart.pp.gene_activity(mdata, annotation_table(), copy=True)
    exon = annotation_table(start=[0] * 3, end=[100_000] * 3)
    table = pd.concat([annotation_table().assign(Feature="gene"), exon.assign(Feature="exon")])
    scdart.pp.gene_activity(mdata, table)
    np.testing.assert_array_equal(prior_of(mdata), prior_of(expected))


def test_annotation_is_not_changed(mdata):
    table = annotation_table()
    scdart.pp.gene_activity(mdata, table)
    pd.testing.assert_frame_equal(table, annotation_table())


# Names of genes, chromosomes and peaks


def test_identifiers_match_across_versions(tmp_path):
    genes = ["ENSMUSG00000000000.3", "ENSMUSG00000000001", "Gata1"]
    mdata = toy_mdata(PEAKS, genes)
    scdart.pp.gene_activity(mdata, write(tmp_path / "genes.gtf", gtf_lines()))
    expected = scdart.pp.gene_activity(toy_mdata(PEAKS, GENES), annotation_table(), copy=True)
    np.testing.assert_array_equal(prior_of(mdata), prior_of(expected))
    assert list(mdata["atac"].uns["gene_activity"]["genes"]) == genes


def test_only_ensembl_identifiers_have_versions():
    mdata = toy_mdata(PEAKS, ["AC012345.1", "AC012345.2", "Gata1"])
    scdart.pp.gene_activity(mdata, annotation_table(gene_name=["AC012345.1", "AC012345.2", "Gata1"]))
    np.testing.assert_array_equal(prior_of(mdata).sum(axis=0), [1, 1, 1])


@pytest.mark.parametrize("side", ["peaks", "annotation"])
def test_chromosomes_match_without_prefix(side):
    peaks, table = [*PEAKS, "chrM:20-30"], annotation_table()
    table.loc[3] = ["chrM", 0, 100, "+", "mt-Nd1"]
    expected = scdart.pp.gene_activity(toy_mdata(peaks, [*GENES, "mt-Nd1"]), table, copy=True)
    if side == "peaks":
        peaks = [peak.removeprefix("chr").replace("M", "MT") for peak in peaks]
    else:
        table["chrom"] = ["1", "2", 1, "MT"]
    mdata = toy_mdata(peaks, [*GENES, "mt-Nd1"])
    scdart.pp.gene_activity(mdata, table)
    np.testing.assert_array_equal(prior_of(mdata), prior_of(expected))


@pytest.mark.parametrize("chrom", ["chr1", "X", "chrUn_GL456366", "chr1_KI270706v1_random", "GL000194.1", "HLA-A_2:01"])
@pytest.mark.parametrize("form", ["{}:{}-{}", "{}-{}-{}", "{}_{}_{}"])
def test_forms_of_peak_names(chrom, form):
    mdata = toy_mdata([form.format(chrom, 100, 200), form.format(chrom, 900, 1000)], ["Sox2"])
    table = pd.DataFrame({"chrom": [chrom], "start": 150, "end": 300, "strand": "-", "gene_name": "Sox2"})
    scdart.pp.gene_activity(mdata, table, upstream=0)
    assert prior_of(mdata).ravel().tolist() == [1, 0]


@pytest.mark.parametrize(
    "columns", [["chrom", "start", "end"], ["seqnames", "Start", "End"], ["chr", "chromStart", "stop"]]
)
def test_coordinates_in_columns_come_before_names(columns):
    expected = scdart.pp.gene_activity(toy_mdata(PEAKS, GENES), annotation_table(), copy=True)
    var = pd.Series(PEAKS).str.extract(r"(.*):(.*)-(.*)").set_axis(columns, axis=1)
    var[columns[0]] = var[columns[0]].astype("category")
    mdata = toy_mdata(var.set_axis([f"chr9:{i}-{i + 1}" for i in range(len(PEAKS))]), GENES)
    scdart.pp.gene_activity(mdata, annotation_table())
    np.testing.assert_array_equal(prior_of(mdata), prior_of(expected))


def test_warns_of_genes_and_chromosomes_that_do_not_match(recwarn):
    mdata = toy_mdata([*PEAKS, "chrUn_GL456:1-20", "chrUn_GL456:30-40"], [*GENES, "Missing1", "Missing2"])
    recwarn.clear()
    scdart.pp.gene_activity(mdata, annotation_table())
    ours = [warning for warning in recwarn if warning.category is UserWarning]
    messages = [str(warning.message) for warning in ours]
    assert len(messages) == 2
    assert "2 of 5 genes of mdata.mod['rna'] are not in the annotation: 'Missing1', 'Missing2'" in messages[0]
    assert "2 of 7 peaks" in messages[1]
    assert "'chrUn_GL456'" in messages[1]
    assert {warning.filename for warning in ours} == {__file__}
    assert prior_of(mdata).shape == (7, 5)


# Bad input


def assert_untouched(mdata: md.MuData) -> None:
    for modality in mdata.mod.values():
        assert not len(modality.varm)
        assert not len(modality.uns)
        assert set(modality.var) <= {"chrom", "start", "end"}
    assert set(mdata.varm) == set(mdata.mod)
    assert not len(mdata.uns)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"atac_mod": "ATAC"}, KeyError, r"atac_mod='ATAC' .* \['rna', 'atac'\]"),
        ({"rna_mod": "gex"}, KeyError, r"rna_mod='gex' .* \['rna', 'atac'\]"),
        ({"rna_mod": "atac", "atac_mod": "rna"}, ValueError, r"'Sox2', 'Pax6', 'Gata1'.* swapped"),
        ({"upstream": -1}, ValueError, "upstream=-1 must be"),
        ({"downstream": -5}, ValueError, "downstream=-5 must be"),
        ({"decay": 0}, ValueError, "decay=0 "),
        ({"decay": float("nan")}, ValueError, "decay=nan "),
        ({"annotation": "genes.xlsx"}, ValueError, r"'.xlsx': expected one of \['.bed'"),
        ({"aliases": ["Sox2"]}, TypeError, "aliases is a list: pass a mapping"),
        ({"aliases": {}}, ValueError, "aliases holds no names"),
        ({"annotation": "no_such_file.bed"}, FileNotFoundError, "no_such_file.bed"),
        ({"annotation": annotation_table().drop(columns="start")}, KeyError, r"no column for \['start'\]"),
        ({"annotation": annotation_table().drop(columns="gene_name")}, KeyError, "gene_name_key='gene_name'"),
        ({"annotation": annotation_table(end=[1, 1, 1])}, ValueError, "3 of 3 are not, for example 'Sox2'"),
        ({"annotation": annotation_table(gene_name=["SOX2", "PAX6", "GATA1"])}, ValueError, "'Sox2'.* against 'SOX2'"),
        ({"annotation": annotation_table(chrom=["I", "II", "I"])}, ValueError, "'chr1', 'chr2' against 'I', 'II'"),
        ({"annotation": annotation_table(chrom=["chr2", "chr1", "chr2"])}, ValueError, "no peak overlaps the domain"),
    ],
)
def test_bad_input(mdata, options, error, message):
    with pytest.raises(error, match=message):
        scdart.pp.gene_activity(mdata, **{"annotation": annotation_table()} | options)
    assert_untouched(mdata)


@pytest.mark.parametrize(
    ("name", "lines", "error", "message"),
    [
        ("three_columns.bed", bed_lines("chrom start end"), ValueError, "has 3 tab-separated columns"),
        ("names_first.bed", bed_lines("gene_name chrom start end"), ValueError, "3 of 3 are not"),
        ("no_names.gtf", [line.split("gene_id")[0] + "note" for line in gtf_lines()], KeyError, "'gene_name'.*'note'"),
        ("repeats.gtf", gtf_lines("repeat"), ValueError, r"no rows of the features .* are \['repeat'\]"),
    ],
)
def test_bad_files(mdata, tmp_path, name, lines, error, message):
    with pytest.raises(error, match=message):
        scdart.pp.gene_activity(mdata, write(tmp_path / name, lines))
    assert_untouched(mdata)


@pytest.mark.parametrize(
    "peaks",
    [
        ["chr1:1-20", "peak_1", "chr1"],
        ["chr1:1-20", "chr1:30-30", "chr1:40-20"],
        pd.DataFrame({"chrom": "chr1", "start": [1, np.nan, -5], "end": [20.0, 30, 40]}, index=["a", "peak_1", "b"]),
        pd.DataFrame({"chrom": ["chr1", None, "chr1"], "start": [1, 2, 2.5], "end": 20}, index=["a", "peak_1", "b"]),
    ],
)
def test_peaks_that_are_not_intervals(peaks):
    mdata = toy_mdata(peaks, GENES)
    bad = mdata["atac"].var_names[1]
    with pytest.raises(ValueError, match=rf"mdata.mod\['atac'\].var.* 2 of 3 are not, for example '{bad}'"):
        scdart.pp.gene_activity(mdata, annotation_table())
    assert_untouched(mdata)


@pytest.mark.filterwarnings("ignore:Variable names are not unique", "ignore:.*var_names.*:UserWarning")
@pytest.mark.parametrize(
    ("peaks", "genes", "message"),
    [
        ([*PEAKS, PEAKS[0]], GENES, r"\['atac'\].var_names must be unique.* 'chr1:2500-3000'"),
        (PEAKS, [*GENES, "Sox2"], r"\['rna'\].var_names must be unique.* 'Sox2'"),
    ],
)
def test_repeated_names(peaks, genes, message):
    mdata = toy_mdata(peaks, genes)
    with pytest.raises(ValueError, match=message):
        scdart.pp.gene_activity(mdata, annotation_table())
    with pytest.raises(ValueError, match=message):
        scdart.pp.set_gene_activity(mdata, np.ones((len(peaks), len(genes))))
    assert_untouched(mdata)


def test_views_are_only_copied(mdata):
    view = mdata[:, mdata.var_names[:6]]
    assert view.is_view
    with pytest.raises(ValueError, match="mdata is a view"):
        scdart.pp.gene_activity(view, annotation_table())
    assert_untouched(view)
    copied = scdart.pp.gene_activity(view, annotation_table(), copy=True)
    assert prior_of(copied).shape == (3, 3)
    assert_untouched(mdata)


# A ready-made matrix

READY_MADE = np.array([[1, 0, 0], [0, 0, 0.5], [0, 0, 0], [0, 1, 0], [0, 1, 2]], dtype=np.float32)


@pytest.mark.parametrize(
    "convert",
    [np.asarray, sp.csr_matrix, sp.csc_array, sp.coo_matrix, lambda m: m.astype(np.float64)],
    ids=["ndarray", "csr_matrix", "csc_array", "coo_matrix", "float64"],
)
def test_registers_a_matrix(mdata, convert):
    matrix = convert(READY_MADE.copy())
    assert scdart.pp.set_gene_activity(mdata, matrix) is None
    prior = mdata["atac"].varm["gene_activity"]
    assert sp.isspmatrix_csr(prior)
    assert prior.dtype == np.float32
    assert prior.nnz == 5
    assert list(mdata["atac"].uns["gene_activity"]["genes"]) == GENES
    prior.data[:] = 9
    np.testing.assert_array_equal(matrix.toarray() if sp.issparse(matrix) else matrix, READY_MADE)


@pytest.mark.parametrize("sparse", [False, True])
def test_aligns_a_table_by_its_labels(mdata, sparse, recwarn):
    table = pd.DataFrame(READY_MADE, index=PEAKS, columns=GENES)
    table.loc["chr9:1-2"], table["Other"] = 1, 1
    table = table.drop(index=PEAKS[0], columns=GENES[2]).iloc[::-1, ::-1]
    if sparse:
        table = table.astype(pd.SparseDtype("float32", 0))
    recwarn.clear()
    scdart.pp.set_gene_activity(mdata, table)
    assert [str(warning.message) for warning in recwarn] == [
        "1 of 5 peaks of mdata.mod['atac'] are not in matrix: 'chr1:2500-3000'",
        "1 of 3 genes of mdata.mod['rna'] are not in matrix: 'Gata1'",
    ]
    expected = READY_MADE.copy()
    expected[0], expected[:, 2] = 0, 0
    np.testing.assert_array_equal(prior_of(mdata), expected)


def test_aligns_a_matrix_by_given_names(mdata):
    scdart.pp.set_gene_activity(mdata, sp.csr_matrix(READY_MADE[::-1, ::-1]), peaks=PEAKS[::-1], genes=GENES[::-1])
    np.testing.assert_array_equal(prior_of(mdata), READY_MADE)


def test_registers_in_a_copy(mdata):
    copied = scdart.pp.set_gene_activity(mdata, READY_MADE, key_added="p", copy=True)
    np.testing.assert_array_equal(prior_of(copied, "p"), READY_MADE)
    assert_untouched(mdata)


TABLE = pd.DataFrame(READY_MADE, index=PEAKS, columns=GENES)


@pytest.mark.parametrize(
    ("matrix", "options", "error", "message"),
    [
        (READY_MADE.T, {}, ValueError, r"shape \(3, 5\) is genes x peaks: transpose"),
        (sp.csr_matrix(READY_MADE.T), {}, ValueError, "genes x peaks: transpose"),
        (TABLE.T, {}, ValueError, "genes x peaks: transpose"),
        (READY_MADE.T, {"peaks": PEAKS, "genes": GENES}, ValueError, "genes x peaks: transpose"),
        (READY_MADE[:3], {"peaks": GENES, "genes": PEAKS[:3]}, ValueError, "genes x peaks: transpose"),
        (READY_MADE[:4], {}, ValueError, r"has the shape \(4, 3\), not \(5, 3\)"),
        (READY_MADE, {"genes": GENES[:2]}, ValueError, r"has the shape \(5, 3\), not \(5, 2\)"),
        (-READY_MADE, {}, ValueError, r"matrix holds -1\.0"),
        (np.where(READY_MADE > 0, np.nan, 0), {}, ValueError, "matrix holds nan"),
        (np.where(READY_MADE > 0, np.inf, 0), {}, ValueError, "matrix holds inf"),
        (np.zeros((5, 3)), {}, ValueError, "all these weights are 0"),
        (TABLE.rename(columns=str.upper), {}, ValueError, "None of the genes .* 'SOX2'.* against 'Sox2'"),
        (TABLE.rename(index=str.upper), {}, ValueError, "None of the peaks .* 'CHR1:2500-3000'"),
        (TABLE.rename(columns={"Sox2": "Pax6"}), {}, ValueError, "genes of matrix must be unique.* 'Pax6'"),
        (READY_MADE, {"atac_mod": "ATAC"}, KeyError, r"atac_mod='ATAC' .* \['rna', 'atac'\]"),
    ],
)
def test_bad_matrix(mdata, matrix, options, error, message):
    with pytest.raises(error, match=message):
        scdart.pp.set_gene_activity(mdata, matrix, **options)
    assert_untouched(mdata)


@pytest.fixture(scope="module")
def far_regulated():
    """Every gene has an open peak in its body, which says nothing, and one 30 kb away, which goes with it."""
    rng = np.random.default_rng(0)
    n_cells, n_genes = 120, 40
    time = np.linspace(-1, 1, n_cells)[:, None]
    trend = np.sin(3 * time * rng.normal(size=n_genes) + rng.uniform(0, 6, size=n_genes))
    start = 1_000_000 * np.arange(1, n_genes + 1)
    genes = pd.DataFrame(
        {
            "chrom": "chr1",
            "start": start,
            "end": start + 5000,
            "strand": "+",
            "gene_name": [f"g{i}" for i in range(n_genes)],
        }
    )
    names = [f"chr1:{at}-{at + 500}" for at in np.concatenate([start + 1000, start + 35_000])]
    peaks = np.hstack([rng.poisson(0.5, size=(n_cells, n_genes)), rng.poisson(0.5 * np.exp(trend))])
    parts = {
        "rna": ad.AnnData(
            sp.csr_matrix(rng.poisson(2 * np.exp(trend)).astype(np.float32)), var=pd.DataFrame(index=genes["gene_name"])
        ),
        "atac": ad.AnnData(sp.csr_matrix(peaks.astype(np.float32)), var=pd.DataFrame(index=names)),
    }
    for mod, adata in parts.items():
        adata.obs_names = [f"{mod}{i}" for i in range(n_cells)]
        adata.var.index.name = None
    return md.MuData(parts), genes


def test_the_domain_is_chosen_by_what_held_out_genes_say(far_regulated, caplog):
    mdata, genes = far_regulated[0].copy(), far_regulated[1]
    with caplog.at_level("INFO", logger="scdart"):
        scdart.pp.gene_activity(mdata, genes, domain="auto", random_state=0)
    described = mdata["atac"].uns["gene_activity"]
    assert described["params"] == {"upstream": 50_000, "downstream": 50_000, "include_gene_body": True}
    assert list(described["agreement"]["upstream"]) == [2000, 10_000, 50_000, 2000]
    assert described["agreement"]["z"].idxmax() == 2
    assert "Taking upstream=50000" in caplog.text
    one = scdart.pp.gene_activity(mdata, genes, upstream=50_000, downstream=50_000, copy=True)
    assert (one["atac"].varm["gene_activity"] != mdata["atac"].varm["gene_activity"]).nnz == 0
    listed = scdart.pp.gene_activity(mdata, genes, domain=[{}, {"decay": 20_000}], random_state=0, copy=True)
    assert listed["atac"].uns["gene_activity"]["params"]["decay"] == 20_000


@pytest.mark.parametrize(
    ("domain", "said"),
    [
        ("best", "domain='best' is not known: pass 'auto'"),
        ([], r"domain=\[\] is no list of domains"),
        ([{"upstream": 1, "width": 2}], r"domain has \['width'\], which are no options"),
        ([{"upstream": -1}], "upstream=-1 must be a whole number of at least 0"),
    ],
)
def test_domains_that_are_none(far_regulated, domain, said):
    with pytest.raises(ValueError, match=said):
        scdart.pp.gene_activity(far_regulated[0].copy(), far_regulated[1], domain=domain)

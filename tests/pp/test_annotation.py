"""Files of annotations as they come: other dialects, damage, and names of genes that have changed."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING

import anndata as ad
import mudata as md
import numpy as np
import pandas as pd
import pytest

import scdart
from scdart.pp import read_annotation

if TYPE_CHECKING:
    from pathlib import Path

COLUMNS = ["chrom", "start", "end", "strand", "name", "id"]


def gff(*attributes: str, feature: str = "gene", end: str = "200") -> str:
    return "".join(f"chr1\tx\t{feature}\t101\t{end}\t.\t+\t.\t{text}\n" for text in attributes)


def read(path: Path, content: str | bytes, **keys: str) -> pd.DataFrame:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_annotation(path, **keys)


def names(path: Path, content: str | bytes, **keys: str) -> list[tuple[str, str]]:
    table = read(path, content, **keys)
    return list(zip(table["name"], table["id"], strict=True))


ENSEMBL = """##gff-version 3
##sequence-region   1 1 248956422
1\thavana\tchromosome\t1\t248956422\t.\t.\t.\tID=chromosome:1
1\thavana\tpseudogene\t11869\t14409\t.\t+\t.\tID=gene:ENSG00000223972;Name=DDX11L1;biotype=pseudogene;gene_id=ENSG00000223972
1\thavana\tpseudogenic_transcript\t11869\t14409\t.\t+\t.\tID=transcript:ENST00000456328;Parent=gene:ENSG00000223972
1\tmirbase\tncRNA_gene\t17369\t17436\t.\t-\t.\tID=gene:ENSG00000278267;Name=MIR%3B1;biotype=miRNA;gene_id=ENSG00000278267
###
1\thavana\tgene\t65419\t71585\t.\t?\t.\tID=gene:ENSG00000186092;description=a%2C b;gene_id=ENSG00000186092
##FASTA
>1
ACGT
"""


@pytest.mark.parametrize("name", ["genes.gff3", "genes.gff", "genes.gtf"])
def test_gff3(tmp_path, name):
    """The dialect is told by the content."""
    table = read(tmp_path / name, ENSEMBL)
    expected = [
        ("1", 11868, 14409, "+", "DDX11L1", "ENSG00000223972"),
        ("1", 17368, 17436, "-", "MIR;1", "ENSG00000278267"),
        ("1", 65418, 71585, ".", "ENSG00000186092", "ENSG00000186092"),
    ]
    assert list(table[COLUMNS].itertuples(index=False, name=None)) == expected


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ("ID=ENSG00000000001.5;gene_id=ENSG00000000001.5;gene_name=A", ("A", "ENSG00000000001")),  # GENCODE
        ("ID=gene-A;Dbxref=GeneID:1;Name=A;gbkey=Gene;gene=A", ("A", "A")),  # RefSeq
        ("ID=FBgn01;Name=a%20b", ("a b", "FBgn01")),
        ('gene_id "E1"; gene_name "A"', ("A", "E1")),
        ("gene_id E1; gene_name A;", ("A", "E1")),
        ('gene_id "E1"; note "x; gene_name false; y"; gene_name "A";', ("A", "E1")),
        ('gene_id "E1"; note "the "old" one; late"; gene_name "A"; level 2;', ("A", "E1")),
        (r'gene_id "E1"; note "say \"so\"; gene_name \"false\""; gene_name "A \"b\"";', ('A "b"', "E1")),
        ('gene_id "E1"; gene_name "A;B"; # a comment', ("A;B", "E1")),
        ('gene_id "E1"; gene_name "A=B"', ("A=B", "E1")),
        ('gene_name "A"; gene_name "B"; gene_id ""', ("A", "A")),
    ],
)
def test_attributes(tmp_path, attributes, expected):
    assert names(tmp_path / "genes.gtf", gff(attributes)) == [expected]


def test_names_of_gff3_that_the_user_gives_come_first(tmp_path):
    content = gff("ID=g1;Name=A;locus_tag=b0001")
    assert names(tmp_path / "genes.gff3", content, gene_name_key="locus_tag") == [("b0001", "g1")]


@pytest.mark.parametrize("name", ["packed.gtf", "packed.gtf.gz", "packed.GTF.bgz", "plain.gtf", "plain.gtf.gz"])
def test_content_tells_what_is_gzipped(tmp_path, name):
    content = gff('gene_id "E1";').encode()
    assert names(tmp_path / name, gzip.compress(content) if "packed" in name else content) == [("E1", "E1")]


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_marks_blanks_and_ends_of_lines_are_no_content(tmp_path, ending):
    lines = ["\ufeff# genes", "", "chr1\t1\t20\tA", "   ", 'chr1\t1\t20\t"B', "track name=more", "chr1\t1\t20\tC", ""]
    assert [name for name, _ in names(tmp_path / "genes.bed", ending.join(lines))] == ["A", '"B', "C"]


GENES = gff(*(f'gene_id "E{i}";' for i in range(3000)))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [  # no time in the archive: the bytes name the test, and all processes have to agree on it
        ("cut.gtf.gz", gzip.compress(GENES.encode(), mtime=0)[:-3000], r"cut off or damaged after line \d"),
        (
            "bits.gtf.gz",
            gzip.compress(GENES.encode(), mtime=0)[:-8] + b"12345678",
            r"cut off or damaged after line 3,000",
        ),
        ("cut.gtf", GENES[:-35], "line 3,000 has 3 tab-separated columns, and GTF and GFF3 have 9"),
        ("binary.gtf", b"PK\x03\x04\x00\x00", "line 1 is no text"),
        ("latin1.gtf", gff('gene_id "E\xe9";').encode("latin1"), "line 1 is no text in UTF-8"),
        ("wide.gtf", GENES.encode("utf-16"), "line 1 is no text"),
        ("empty.bed", b"", "no lines but comments"),
        ("empty.gtf.gz", gzip.compress(b"# nothing\n\n", mtime=0), "no lines but comments"),
        ("ragged.bed", "chr1\t1\t20\tA\nchr1\t1\t20\tA\t0\t+\n", "line 2 has 6 tab-separated columns.* before have 4"),
        ("spaces.bed", "chr1 1 20 A\n", "line 1 has 1 tab-separated"),
        ("huge.gtf", GENES + gff('gene_id "X";', end="9" * 23), r"1 of 3,001 are not, for example 'X' in line 3,001"),
        ("reversed.gff3", gff("ID=X", end="50"), "'X' in line 1"),
        ("infinite.bed", "chr1\t1\tinf\tA\n", "'A' in line 1"),
        ("exons.gtf", gff('transcript_id "t"; gene_id "X"', feature="exon", end="1e400"), "'X' in line 1"),
    ],
)
def test_damage_is_told_with_file_and_line(tmp_path, name, content, message):
    with pytest.raises(ValueError, match=rf"{name}.*{message}"):
        read(tmp_path / name, content)


def test_coordinates_of_a_table_beyond_what_numbers_hold():
    table = pd.DataFrame({"chrom": "chr1", "start": [1, 1], "end": [20, 2**63 - 1], "name": ["A", "B"]})
    with pytest.raises(ValueError, match="1 of 2 are not, for example 'B'"):
        read_annotation(table)


# Other names of genes

ANNOTATED = pd.DataFrame(
    {
        "chrom": "chr1",
        "start": [0, 1000, 2000, 3000],
        "end": [100, 1100, 2100, 3100],
        "strand": "+",
        "gene_name": ["A", "B", "C", "D"],
        "gene_id": ["ENSG01.2", "ENSG02.1", "ENSG03.1", "ENSG04.1"],
    }
)


def linked(genes: list[str], aliases: object) -> list[str]:
    """For each gene the letter of the peak, thus of the annotated gene, that it is linked to."""
    rna = ad.AnnData(np.ones((2, len(genes)), "float32"), var=pd.DataFrame(index=genes))
    atac = ad.AnnData(np.ones((2, 4), "float32"), var=ANNOTATED[["chrom", "start", "end"]].set_axis(list("abcd")))
    rna.obs_names, atac.obs_names = ["r1", "r2"], ["a1", "a2"]
    mdata = md.MuData({"rna": rna, "atac": atac})
    scdart.pp.gene_activity(mdata, ANNOTATED, upstream=0, aliases=aliases)
    prior = mdata["atac"].varm["gene_activity"].toarray() > 0
    return ["".join(atac.var_names[prior[:, gene]]) for gene in range(len(genes))]


@pytest.mark.parametrize(
    "aliases",
    [
        {"old": "A", "B": ["new", "newer"], "ENSG03": "ens"},
        pd.Series({"old": "A", "new": "B", "ENSG03.7": "ens"}),
        pd.DataFrame({"symbol": ["A", "B", "ens"], "prev": ["x|old", "new", "ENSG03"], "n": [1, np.nan, 2]}),
    ],
)
def test_aliases_in_either_direction(aliases):
    assert linked(["old", "new", "ens", "D"], aliases) == ["a", "b", "c", "d"]


@pytest.mark.filterwarnings("ignore:.* genes of mdata.mod:UserWarning")
def test_aliases_that_are_not_used():
    """Names that could be two genes, and those of genes that are there under their own name."""
    assert linked(["both", "old", "A"], {"both": ["B", "C"], "old": "A"}) == ["", "", "a"]


def test_identifiers_of_the_rna_features_are_aliases():
    var = pd.DataFrame({"gene_ids": ["ENSG01", "ENSG02"]}, index=["renamed", "B"])
    assert linked(list(var.index), var.reset_index()) == ["a", "b"]


def test_what_is_no_file_is_said(tmp_path):
    with pytest.raises(ValueError, match="annotation='https:/.*' is an address: download the file"):
        read_annotation("https://ftp.ensembl.org/genes.gtf.gz")
    with pytest.raises(FileNotFoundError, match="annotation=.* is a folder, not a file"):
        read_annotation(tmp_path)
    with pytest.raises(FileNotFoundError, match="annotation=.*none.gtf' does not exist"):
        read_annotation(tmp_path / "none.gtf")

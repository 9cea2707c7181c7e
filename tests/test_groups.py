"""Labels of cells: what is read from both modalities, which go together, and what cannot be meant."""

from __future__ import annotations

import anndata as ad
import mudata as md
import numpy as np
import pandas as pd
import pytest

from scdart._groups import known_groups

MODS = {"rna": "rna", "atac": "atac"}


def labelled(rna, atac):
    parts = {}
    for mod, labels in (("rna", rna), ("atac", atac)):
        parts[mod] = ad.AnnData(np.ones((len(labels), 2), dtype=np.float32))
        parts[mod].obs_names = [f"{mod}{i}" for i in range(len(labels))]
        parts[mod].obs["gate"] = pd.Series(labels).to_numpy() if isinstance(labels, list) else labels
    return md.MuData(parts)


def ordered(labels, categories):
    return pd.Categorical(labels, categories=categories, ordered=True)


def test_labels_of_both_modalities_have_one_code():
    groups = known_groups(labelled(["HSC", None, "GMP", "GMP"], ["GMP", "HSC", "HSC", None, "CLP"]), "gate", MODS)
    assert groups.names == ("CLP", "GMP", "HSC")
    assert groups.rna.tolist() == [2, -1, 1, 1]
    assert groups.atac.tolist() == [1, 2, 2, -1, 0]
    np.testing.assert_array_equal(groups.related, np.eye(3))
    rna, atac = groups.has_counterpart()
    assert rna.all()
    assert atac.tolist() == [True, True, True, True, False]


def test_ordered_labels_go_with_those_beside_them():
    days = ["d0", "d2", "d7"]
    groups = known_groups(
        labelled(ordered(["d7", "d0", "d0"], days), ordered(["d2", "d2", "d7", None], days)), "gate", MODS, ordered=True
    )
    assert groups.names == tuple(days)
    np.testing.assert_array_equal(groups.related, [[1, 1, 0], [1, 1, 1], [0, 1, 1]])
    assert groups.has_counterpart()[0].all()


def test_numbers_are_ordered_and_are_the_same_whether_or_not_some_are_missing():
    groups = known_groups(labelled([0, 10, 2, 2], [2.0, np.nan, 10.0, 2.0]), "gate", MODS, ordered=True)
    assert groups.names == ("0", "2", "10")
    assert groups.atac.tolist() == [1, -1, 2, 1]


@pytest.mark.parametrize(
    ("rna", "atac", "said"),
    [
        (["HSC", "HSC"], ["GMP", "GMP"], "no label in common.*'rna' has 'HSC' and 'atac' has 'GMP'"),
        (["HSC", "GMP", "GMP"], ["hsc ", "GMP", "GMP"], r"spells labels differently .*\('HSC' and 'hsc '\)"),
        (["a", "b", "c"], ["a", "a", "b"], r"mod\['rna'\].obs\['gate'\] gives each of its 3 labelled cells a label"),
        ([None, None], ["a", "a"], r"mod\['rna'\].obs\['gate'\] has no label"),
    ],
)
def test_labels_that_cannot_be_meant(rna, atac, said):
    with pytest.raises(ValueError, match=said):
        known_groups(labelled(rna, atac), "gate", MODS)


def test_missing_column():
    mdata = labelled(["a", "a"], ["a", "a"])
    del mdata.mod["atac"].obs["gate"]
    with pytest.raises(KeyError, match=r"mod\['atac'\].obs has no column 'gate'"):
        known_groups(mdata, "gate", MODS)


def test_an_order_must_be_there_and_the_same():
    with pytest.raises(ValueError, match="neither numeric nor an ordered categorical"):
        known_groups(labelled(["a", "a", "b"], ["a", "b", "b"]), "gate", MODS, ordered=True)
    mdata = labelled(ordered(["a", "a", "b"], ["a", "b"]), ordered(["a", "b", "b"], ["b", "a"]))
    with pytest.raises(ValueError, match="categories in another order"):
        known_groups(mdata, "gate", MODS, ordered=True)

from __future__ import annotations

import numpy as np
import pytest

from scdart.datasets._newick import read_newick
from scdart.datasets._tree import branch_shares, branches_of, brownian_factors, place_cells

NESTED = "((a:1,b:2)x:0.5,c:3);"


def test_branches_are_numbered_like_the_published_data() -> None:
    assert [b.label for b in branches_of("linear")] == ["2_1"]
    assert [b.label for b in branches_of("bifurcating")] == ["3_1", "3_2"]
    assert [b.label for b in branches_of("trifurcating")] == ["4_1", "4_2", "4_3"]


def test_nested_tree() -> None:
    branches = branches_of(NESTED)
    assert [(b.label, b.start, b.end, b.is_tip) for b in branches] == [
        ("4_5", 0.0, 0.5, False),
        ("5_1", 0.5, 1.5, True),
        ("5_2", 0.5, 2.5, True),
        ("4_3", 0.0, 3.0, True),
    ]


def test_newick_with_spaces_names_and_without_semicolon() -> None:
    root = read_newick(" ( left_one:1e-1 , (:2, :3)inner:0.5 )root ")
    assert [node.length for node in root.walk()] == [None, 0.1, 0.5, 2.0, 3.0]


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ("quadrifurcating", "neither one of"),
        ("(a:1,b:1", "expected ',' or '\\)'"),
        ("(a:1,b:1));", "follows its end"),
        ("(a:1,b:x);", "without a length"),
        ("(a:1,b);", "positive length, found None"),
        ("(a:1,b:0);", "positive length, found 0"),
        ("(a:1,b:inf);", "positive length, found inf"),
        ("(a:1,b:1):2;", "above its root"),
    ],
)
def test_unreadable_trees(tree: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        branches_of(tree)


def test_shares_follow_lengths_or_arguments() -> None:
    branches = branches_of(NESTED)

    def shares(**kwargs: object) -> list[float]:
        options = {"proportions": None, "rare_branch": None, "tips_only": False, "name": "proportions_rna"} | kwargs
        return branch_shares(branches, **options).tolist()

    assert shares() == pytest.approx(np.array([0.5, 1, 2, 3]) / 6.5)
    assert shares(tips_only=True) == pytest.approx([0, 1 / 6, 2 / 6, 3 / 6])
    assert shares(proportions=[0.1, 0.2, 0, 0.7]) == pytest.approx([0.1, 0.2, 0, 0.7])
    assert shares(rare_branch={"5_1": 0.02}) == pytest.approx([0.98 * 0.5 / 5.5, 0.02, 0.98 * 2 / 5.5, 0.98 * 3 / 5.5])
    two_rare = shares(rare_branch={"4_3": 0.1, "5_1": 0.3}, tips_only=True)
    assert two_rare == pytest.approx([0, 0.3, 0.6, 0.1])


def test_cells_are_spread_evenly_over_their_branch() -> None:
    branches = branches_of(NESTED)
    branch, depth = place_cells(branches, np.array([0.1, 0.25, 0, 0.65]), 1001, np.random.default_rng(0))
    assert np.bincount(branch, minlength=4).tolist() == [100, 250, 0, 651]
    for index, edge in enumerate(branches):
        at = (depth[branch == index] - edge.start) / edge.length
        np.testing.assert_array_equal(np.sort(np.floor(at * len(at))), np.arange(len(at)))


def test_brownian_covariance_is_the_shared_depth() -> None:
    branches = branches_of(NESTED)
    # At the ends of branches 4_5, 5_1, 5_2 and 4_3, and in the middle of 5_2.
    branch, depth = np.array([0, 1, 2, 3, 2]), np.array([0.5, 1.5, 2.5, 3.0, 1.5])
    factors = brownian_factors(branches, branch, depth, 1_500, np.random.default_rng(0))
    shared = [
        [0.5, 0.5, 0.5, 0.0, 0.5],
        [0.5, 1.5, 0.5, 0.0, 0.5],
        [0.5, 0.5, 2.5, 0.0, 1.5],
        [0.0, 0.0, 0.0, 3.0, 0.0],
        [0.5, 0.5, 1.5, 0.0, 1.5],
    ]
    np.testing.assert_allclose(factors.mean(axis=1), 1.0, atol=0.15)
    np.testing.assert_allclose(np.cov(factors), shared, atol=0.3)

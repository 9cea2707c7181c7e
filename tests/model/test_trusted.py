"""What passes as harmless, and what does not."""

from __future__ import annotations

import collections
import os
import pickle

import numpy as np
import pandas as pd
import pytest
import torch

from scdart.model._trusted import check_harmless


class Calls:
    """Pickled as the call of a function."""

    def __init__(self, function, *arguments):
        self._call = function, arguments

    def __reduce__(self):
        return self._call


@pytest.mark.parametrize(
    "value",
    [
        torch.arange(3.0),
        torch.nn.Parameter(torch.zeros(2, 2)),
        np.array(["gene", None], dtype=object),
        np.array(["gene1", "gene22"]),
        np.float64(0.5),
        pd.DataFrame({"loss": [1.0, 0.5]}, index=pd.Index([0, 1], name="epoch")),
        pd.Series(["a", "b"]),
        collections.defaultdict(dict, key={"value": b"bytes"}),
        [(1, 2.5, None, True, "text"), slice(3), {"set": {1}}],
    ],
    ids=lambda value: type(value).__name__,
)
def test_data_pass(tmp_path, value):
    path = tmp_path / "file.pt"
    torch.save({"value": value, "other": 1}, path)
    content = check_harmless(path, "a file")
    assert content["other"] == 1


def test_tensors_and_plain_values_are_returned(tmp_path):
    torch.save({"weight": torch.arange(4), "names": {"mod": ["a"]}}, tmp_path / "file.pt")
    content = check_harmless(tmp_path / "file.pt", "a file")
    assert content["weight"].tolist() == [0, 1, 2, 3]
    assert content["names"] == {"mod": ["a"]}


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        (os.mkdir, ("made",)),
        (eval, ("__import__('os').mkdir('made')",)),
        (getattr, (torch.load, "__globals__")),
        (pd.read_pickle, ("other.pkl",)),
        (np.load, ("other.npy",)),
        (torch.load, ("other.pt",)),
        (pickle.loads, (b"",)),
        (collections.Counter.__init__, ()),
    ],
    ids=lambda value: getattr(value, "__qualname__", ""),
)
@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
def test_calls_are_refused_and_not_made(tmp_path, monkeypatch, function, arguments, legacy):
    monkeypatch.chdir(tmp_path)
    content = {"deep": [{"inside": Calls(function, *arguments)}]}
    torch.save(content, "file.pt", _use_new_zipfile_serialization=not legacy)
    with pytest.raises(ValueError, match=r"file\.pt was not loaded: it names .*pass trust=True"):
        check_harmless(tmp_path / "file.pt", "a file")
    assert os.listdir() == ["file.pt"]


def test_safe_names_are_not_called(tmp_path):
    """Arrays and tables are not made, so that nothing depends on what their constructors do."""
    torch.save({"value": Calls(pd.DataFrame, "no such table")}, tmp_path / "file.pt")
    assert check_harmless(tmp_path / "file.pt", "a file").keys() == {"value"}


def test_tables_as_the_installed_pandas_writes_them(tmp_path):
    """New releases may name other functions, which then have to be looked at and listed."""
    table = pd.DataFrame({"epoch": [1, 2], "name": ["a", "b"], "loss": np.zeros(2)})
    torch.save({"table": table, "column": table["name"], "axis": table.columns}, tmp_path / "file.pt")
    check_harmless(tmp_path / "file.pt", "a file")


@pytest.mark.parametrize("content", [b"", b"no pickle", b"PK\x03\x04 half a file", bytes(range(256))])
def test_damaged_files(tmp_path, content):
    (tmp_path / "file.pt").write_bytes(content)
    with pytest.raises(ValueError, match=r"file\.pt cannot be read as a file"):
        check_harmless(tmp_path / "file.pt", "a file")


def test_truncated_file(tmp_path):
    torch.save({"weight": torch.zeros(1000)}, tmp_path / "file.pt")
    whole = (tmp_path / "file.pt").read_bytes()
    (tmp_path / "file.pt").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="damaged"):
        check_harmless(tmp_path / "file.pt", "a file")


def test_something_else_than_a_dictionary(tmp_path):
    torch.save([1, 2], tmp_path / "file.pt")
    with pytest.raises(ValueError, match="holds a list"):
        check_harmless(tmp_path / "file.pt", "a file")


def test_no_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"file\.pt does not exist"):
        check_harmless(tmp_path / "file.pt", "a file")

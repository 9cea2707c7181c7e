"""Files that are whole or not there, whatever happens while they are written."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import mudata
import numpy as np
import pytest
import torch
from scipy import sparse

import scdart
from scdart._files import check_place, filling, is_whole, replacing, size_of
from scdart.model import SCDART

limits = pytest.mark.skipif(sys.platform == "win32", reason="has no limits of processes")


def listed(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


def run(code: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


def write_half(place, name: str, error: BaseException | type[BaseException]) -> None:
    with place as part:
        (part / name if name else part).write_text("half of it")
        raise error


@pytest.mark.parametrize("before", [None, "old"])
def test_new_content_takes_the_place(tmp_path, before):
    path = tmp_path / "file.txt"
    if before is not None:
        path.write_text(before)
    with replacing(path) as part:
        assert part.suffix == ".txt"
        part.write_text("new")
        assert (path.read_text() if path.exists() else None) == before
    assert path.read_text() == "new"
    assert listed(tmp_path) == ["file.txt"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, TypeError, OSError, RuntimeError])
def test_errors_leave_what_was_there(tmp_path, error):
    path = tmp_path / "file.txt"
    path.write_text("old")
    shown = OSError if error is RuntimeError else error
    with pytest.raises(shown):
        write_half(replacing(path), "", error)
    assert path.read_text() == "old"
    assert listed(tmp_path) == ["file.txt"]


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        RuntimeError(f"Can't decrement id ref count (file write failed: errno = {errno.ENOSPC}, error message = ''"),
    ],
)
def test_full_disk_is_told_with_the_name(tmp_path, error):
    with pytest.raises(OSError, match=r"file\.h5mu was not written, and is as it was before: No space left on device"):  # noqa: SIM117
        with replacing(tmp_path / "file.h5mu"):
            raise error


@limits
def test_killed_while_writing(tmp_path):
    path = tmp_path / "file.txt"
    path.write_text("old")
    code = (
        "import os, signal; from scdart._files import replacing\n"
        f"with replacing({str(path)!r}) as part:\n"
        "    part.write_text('half'); os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert run(code).returncode == -9
    assert path.read_text() == "old"


def test_links_and_permissions_stay(tmp_path):
    path, link = tmp_path / "file.txt", tmp_path / "link.txt"
    path.write_text("old")
    path.chmod(0o640)
    link.symlink_to(path)
    with replacing(link) as part:
        part.write_text("new")
    assert link.is_symlink()
    assert path.read_text() == "new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


@pytest.mark.skipif(not Path("/dev/null").exists(), reason="no devices")
def test_devices_are_written_to_as_they_are():
    with replacing("/dev/null") as part:
        part.write_text("gone")
    assert not Path("/dev/null").is_file()


def test_files_of_a_new_folder_come_at_once(tmp_path):
    with filling(tmp_path / "new", last="b") as part:
        (part / "b").write_text("2")
        (part / "c").write_text("3")
        assert not (tmp_path / "new").exists()
    assert listed(tmp_path) == ["new"]
    assert listed(tmp_path / "new") == ["b", "c"]


def test_files_of_a_folder_that_is_there(tmp_path, monkeypatch):
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "other").write_text("stays")
    (folder / "b").write_text("old")
    order = []
    move = Path.replace
    monkeypatch.setattr(Path, "replace", lambda self, target: (order.append(self.name), move(self, target)))
    with filling(folder, last="b") as part:
        (part / "b").write_text("new")
        (part / "c").write_text("3")
    assert order == ["c", "b"]
    assert {name: (folder / name).read_text() for name in listed(folder)} == {"b": "new", "c": "3", "other": "stays"}


def test_a_folder_that_fails_is_not_there(tmp_path):
    with pytest.raises(OSError, match="model was not written"):
        write_half(filling(tmp_path / "model", last="b"), "a", RuntimeError("enforce fail: disk full"))
    assert listed(tmp_path) == []


def test_places_that_can_be_written(tmp_path):
    check_place(tmp_path / "file.txt", "path", 10_000)
    check_place(tmp_path / "not" / "yet" / "there.txt", "path")
    assert listed(tmp_path) == []


def test_places_that_cannot(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    with pytest.raises(IsADirectoryError, match="path is a folder"):
        check_place(tmp_path, "path")
    with pytest.raises(NotADirectoryError, match="file is a file"):
        check_place(tmp_path / "file" / "deeper.txt", "path")
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=2**20))
    with pytest.raises(OSError, match=r"path needs at least 3 MiB, but .* has 1 MiB left: make room"):
        check_place(tmp_path / "large", "path", 3 * 2**20)


def test_places_without_permission(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # to root, all is permitted
    with pytest.raises(PermissionError, match="path may not be written to"):
        check_place(tmp_path / "file", "path")


@limits
def test_files_larger_than_allowed(tmp_path):
    code = (
        "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "from scdart._files import check_place\n"
        f"check_place({str(tmp_path / 'file')!r}, '--output', 500)\n"
        f"check_place({str(tmp_path / 'file')!r}, '--output', 5000)"
    )
    assert "OSError: --output cannot be written to" in run(code).stderr


def test_size(tmp_path, make_mdata):
    mdata = make_mdata()
    mdata["rna"].layers["dense"] = np.zeros((60, 20))
    mdata["atac"].layers["coo"] = sparse.csc_matrix(mdata["atac"].X)
    mdata.write(tmp_path / "data.h5mu")
    assert 60 * 20 * 8 + mdata["rna"].X.data.nbytes < size_of(mdata) < (tmp_path / "data.h5mu").stat().st_size


def test_half_of_a_model_is_not_whole(tmp_path):
    torch.save({"weight": torch.zeros(1000)}, tmp_path / "model.pt")
    assert is_whole(tmp_path / "model.pt")
    content = (tmp_path / "model.pt").read_bytes()
    (tmp_path / "model.pt").write_bytes(content[:-10])
    assert not is_whole(tmp_path / "model.pt")
    assert not is_whole(tmp_path / "none.pt")


def test_a_half_written_model_does_not_block_the_next_run(tmp_path):
    mdata = scdart.datasets.simulate("linear", n_cells=60, n_genes=40, n_peaks=90)
    options = {"max_epochs": 1, "train_kwargs": {"enable_progress_bar": False}}
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model.pt").write_bytes(b"PK\x03\x04 begun")
    scdart.tl.integrate(mdata, save_model=tmp_path / "model", **options)
    SCDART.load(tmp_path / "model", mdata)
    with pytest.raises(FileExistsError, match="holds a model already"):
        scdart.tl.integrate(mdata, save_model=tmp_path / "model", **options)


def test_a_model_that_cannot_be_saved_is_not_trained(tmp_path, monkeypatch):
    mdata = scdart.datasets.simulate("linear", n_cells=60, n_genes=40, n_peaks=90)
    (tmp_path / "file").write_text("")
    monkeypatch.setattr("scvi.model.base.UnsupervisedTrainingMixin.train", None)
    for option in ("save_model", "checkpoint"):
        with pytest.raises(NotADirectoryError, match=f"{option}="):
            scdart.tl.integrate(mdata, **{option: tmp_path / "file" / "model"})


@limits
@pytest.mark.kill
def test_full_disk_on_the_command_line(tmp_path):
    mdata = scdart.datasets.simulate("linear", n_cells=60, n_genes=40, n_peaks=90)
    mdata["rna"].uns["large"] = np.zeros(200_000)  # not counted when the space is looked at
    mdata.write(tmp_path / "in.h5mu")
    (tmp_path / "out.h5mu").write_bytes((tmp_path / "in.h5mu").read_bytes())
    code = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))\n"
        f"sys.argv = ['scdart', 'integrate', {str(tmp_path / 'in.h5mu')!r}, '--max-epochs', '1', "
        f"'--output', {str(tmp_path / 'out.h5mu')!r}]\n"
        "from scdart.cli import app; app()"
    )
    result = run(code)
    assert result.returncode == 1
    assert "out.h5mu was not written, and is as it was before: File too large." in result.stderr
    assert "Traceback" not in result.stderr
    assert "X_scdart" not in mudata.read_h5mu(tmp_path / "out.h5mu").obsm
    assert listed(tmp_path) == ["in.h5mu", "out.h5mu"]

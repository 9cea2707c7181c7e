"""Files are written beside their place and moved there once they are whole, and places are tried before long work."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import tempfile
import zipfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scipy import sparse

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mudata import MuData

_MIB = 2**20


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give the name of a new file or folder, which takes the place of ``path`` if all goes well, and else is removed.

    A reader, a kill and a full disk so find either what was there before or what is new, and nothing in between.

    Parameters
    ----------
    path
        The file to write, or a folder that does not exist.

    Yields
    ------
    A name in the same folder, with the same suffix.

    Raises
    ------
    OSError
        It could not be written; also where a library says so by a ``RuntimeError``, as those of HDF5 and PyTorch do.
    """
    target = Path(path).resolve()  # what a link points to is replaced, not the link
    if target.exists() and not target.is_file():  # a pipe or /dev/stdout has nothing to keep
        yield target
        return
    part = _beside(target)
    with _told(target):
        try:
            yield part
            _to_disk(part)
            if target.exists():
                shutil.copymode(target, part)
            part.replace(target)
        finally:
            if part.is_dir():
                shutil.rmtree(part)
            part.unlink(missing_ok=True)


@contextmanager
def filling(folder: str | os.PathLike[str], last: str) -> Iterator[Path]:
    """Give a new folder, whose files are moved to ``folder`` if all goes well, ``last`` after all others.

    Parameters
    ----------
    folder
        The folder to write to; other files that it has stay.
    last
        Name of the file without which the others are of no use.

    Yields
    ------
    A folder beside it.

    Raises
    ------
    OSError
        It could not be written.
    """
    target = Path(folder).resolve()
    part = _beside(target)
    with _told(target):
        try:
            part.mkdir(parents=True)
            yield part
            files = sorted(part.iterdir(), key=lambda file: (file.name == last, file.name))
            for file in files:
                _to_disk(file)
            if target.exists():
                for file in files:
                    file.replace(target / file.name)
            else:
                part.rename(target)
        finally:
            shutil.rmtree(part, ignore_errors=True)


def check_place(path: str | os.PathLike[str], what: str, n_bytes: int = 0) -> None:
    """Raise unless a file of some size can be written, as far as can be told without writing it.

    Parameters
    ----------
    path
        The file. Folders that it needs may be missing.
    what
        How the user named it, for the messages.
    n_bytes
        How large it will be at least.

    Raises
    ------
    OSError
        The folder or file cannot be written to, or is another kind of thing; there is too little space, or files of
        this size are not allowed.
    """
    target = Path(path).resolve()
    if target.is_dir():
        raise IsADirectoryError(f"{what} is a folder: name a file.")
    if target.exists() and not os.access(target, os.W_OK):
        raise PermissionError(f"{what} may not be written to: choose another name, or change its permissions.")
    if target.exists() and not target.is_file():
        return
    folder = next(parent for parent in target.parents if parent.exists())
    if not folder.is_dir():
        raise NotADirectoryError(f"{what}: {folder} is a file, not a folder.")
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.truncate(n_bytes)  # takes no space, but obeys limits of the size of files
    except OSError as error:
        raise type(error)(f"{what} cannot be written to {folder}: {error.strerror or error}.") from error
    free = shutil.disk_usage(folder).free
    if free < n_bytes:
        raise OSError(
            f"{what} needs at least {n_bytes / _MIB:,.0f} MiB, but {folder} has {free / _MIB:,.0f} MiB left: make "
            "room, or choose another folder."
        )


def size_of(mdata: MuData) -> int:
    """Bytes that the matrices of the modalities take in a file without compression."""
    slots = [
        matrix
        for adata in mdata.mod.values()
        for matrix in (adata.X, *adata.layers.values(), *adata.obsm.values(), *adata.varm.values())
    ]
    return sum(map(_n_bytes, slots))


def is_zarr(path: Path) -> bool:
    """Whether it is a folder with a zarr store, and not one of Cell Ranger."""
    return path.is_dir() and any((path / name).is_file() for name in ("zarr.json", ".zgroup"))


def stored_size(path: Path) -> int:
    """Bytes that a file takes, or a folder with all that is in it."""
    return sum(each.stat().st_size for each in (path.rglob("*") if path.is_dir() else [path]) if each.is_file())


def is_whole(path: Path) -> bool:
    """Whether a file of :func:`torch.save` was written to its end, where the list of its parts stands."""
    return path.is_file() and zipfile.is_zipfile(path)


def _n_bytes(matrix: Any) -> int:
    if sparse.issparse(matrix):
        matrix = matrix.tocsr() if matrix.format not in ("csr", "csc") else matrix
        return int(matrix.data.nbytes + matrix.indices.nbytes + matrix.indptr.nbytes)
    return int(getattr(matrix, "nbytes", 0))


def _beside(target: Path) -> Path:
    # Two processes that write the same file must not share its parts; the suffix is what some libraries go by.
    return target.with_name(f".{target.stem}.{secrets.token_hex(4)}.part{target.suffix}")


def _to_disk(path: Path) -> None:
    """Wait until a file is on the disk: some systems only then find that the disk is full."""
    if path.is_dir():
        for each in path.rglob("*"):
            if each.is_file():
                _to_disk(each)
        return
    with path.open("rb+") as file:
        os.fsync(file.fileno())


@contextmanager
def _told(target: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, RuntimeError) as error:
        # Libraries say it among much else, some of them only in words, and PyTorch not at all.
        number = re.search(r"errno = (\d+)", str(error))
        reason = os.strerror(int(number[1])) if number else getattr(error, "strerror", None) or str(error)
        if "inline_container" in reason:
            reason = "not all of it could be written, as on a full disk"
        raise OSError(f"{target} was not written, and is as it was before: {reason}.") from error

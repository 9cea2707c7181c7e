"""Results beside counts that stayed where they are stored."""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from anndata.io import write_elem

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mudata import MuData

#: Slots that functions of the package write to.
_SLOTS = ("obsm", "obsp", "varm", "uns")


def write_results(mdata: MuData, source: Path, target: Path) -> None:
    """Copy a stored MuData, and write to the copy what was computed since it was opened.

    Parameters
    ----------
    mdata
        What :func:`scdart.pp.from_store` returned, with results.
    source
        Where it is stored.
    target
        A file or folder that does not exist.
    """
    if source.is_dir():
        shutil.copytree(source, target)
    else:
        shutil.copyfile(source, target)
    with _changeable(target) as store:
        for data, group in [(mdata, store), *((adata, store[f"mod/{mod}"]) for mod, adata in mdata.mod.items())]:
            for slot in _SLOTS:
                write_elem(group, slot, dict(getattr(data, slot)))


@contextmanager
def _changeable(path: Path) -> Iterator[Any]:
    if path.is_dir():
        import zarr

        yield zarr.open_group(str(path), mode="r+")
        return
    import h5py

    with h5py.File(path, "r+") as file:
        yield file

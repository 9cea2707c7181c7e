"""A MuData whose counts stay where they are stored."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import anndata as ad
import mudata as md
from anndata.io import read_elem, sparse_dataset

from scdart._mudata import columns_stay
from scdart._options import check_options

if TYPE_CHECKING:
    from os import PathLike

    from mudata import MuData


def from_store(path: str | PathLike[str]) -> MuData:
    """Open a stored MuData, and leave its counts on disk.

    All functions of scdart read counts on disk some rows at a time, so that they need not fit into memory.

    Parameters
    ----------
    path
        An `.h5mu` file, or a folder with a zarr store, as :meth:`mudata.MuData.write` and
        :meth:`mudata.MuData.write_zarr` make them.

    Returns
    -------
    MuData of which `X` of every modality is read when it is asked for, and all else is in memory. The file or store is
    open for reading, and is not changed.

    Raises
    ------
    FileNotFoundError
        There is no such file or folder.
    ValueError
        It is no MuData.

    Example
    -------
    >>> import scdart
    >>> scdart.datasets.simulate("linear", n_cells=100, n_genes=50, n_peaks=150).write("counts.h5mu")
    >>> mdata = scdart.pp.from_store("counts.h5mu")
    >>> scdart.pp.diffusion_coordinates(mdata)
    >>> mdata["atac"].isbacked
    True
    """
    check_options(from_store, locals())
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist.")
    with columns_stay():
        try:
            mdata = _from_zarr(path) if path.is_dir() else md.read_h5mu(path, backed="r")
        except Exception as error:  # what a wrong file raises depends on how it is wrong
            raise ValueError(f"{path} cannot be read as {'zarr' if path.is_dir() else '.h5mu'}: {error}") from error
    if not mdata.mod:  # mudata 0.4 reads any HDF5 file
        raise ValueError(f"{path} is no MuData: it has no modality.")
    return mdata


def _from_zarr(folder: Path) -> MuData:
    import zarr

    store = zarr.open_group(str(folder), mode="r")
    stored = store["mod"]
    order = stored.attrs.get("mod-order", list(stored))
    mods = {name: ad.AnnData(_values(stored[name]["X"]), **_slots(stored[name], {"X", "raw"})) for name in order}
    return md.MuData(mods, **_slots(store, {"mod"}), axis=store.attrs.get("axis", 0))


def _values(stored: Any) -> Any:
    return sparse_dataset(stored) if stored.attrs["encoding-type"].endswith("_matrix") else stored


def _slots(stored: Any, left_out: set[str]) -> dict[str, Any]:
    return {name: read_elem(stored[name]) for name in stored if name not in left_out}

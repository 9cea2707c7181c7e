"""Models as files: what a file names is looked at before it is loaded."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import rich.pretty  # noqa: F401  scvi-tools shows set-ups with it, and imports rich alone
from anndata import AnnData
from mudata import MuData
from scvi.data import AnnDataManager
from scvi.model.base import ArchesMixin, BaseModelClass

from scdart._files import filling
from scdart._mudata import columns_stay
from scdart._options import check_options
from scdart._process import quiet

from ._queries import cells_by_modality, with_features
from ._trusted import check_harmless

if TYPE_CHECKING:
    import pandas as pd

#: What :meth:`SavingMixin.save` calls the file of a model, after the prefix.
MODEL_FILE = "model.pt"
_CONTENT = ("model_state_dict", "var_names", "attr_dict")
_SETUP = "setup_mudata"


class SavingMixin(ArchesMixin, BaseModelClass):
    """Loads models from files that name nothing but data, unless told to trust them."""

    def save(
        self,
        dir_path: str | os.PathLike[str],
        prefix: str | None = None,
        overwrite: bool = False,
        save_anndata: bool = False,
        **kwargs: Any,
    ) -> None:
        """Save the model: weights, settings, history, and the names of cells and features.

        The files are written beside the folder and moved there once they are whole, so that a kill or a full disk
        leaves what was there before.

        Parameters
        ----------
        dir_path
            Folder to write to.
        prefix
            Prefix of the file names.
        overwrite
            Write to a folder that is there already; otherwise that is an error.
        save_anndata
            Save the MuData too.
        **kwargs
            Options of :meth:`scvi.model.base.BaseModelClass.save`.

        Raises
        ------
        ValueError
            The folder is there, and ``overwrite`` is not set.
        OSError
            The folder cannot be written to, or there is no space left.

        Examples
        --------
        >>> import scdart
        >>> mdata = scdart.datasets.simulate("linear", n_cells=100, n_genes=50, n_peaks=150)
        >>> scdart.pp.diffusion_coordinates(mdata)
        >>> scdart.model.SCDART.setup_mudata(mdata)
        >>> model = scdart.model.SCDART(mdata)
        >>> model.train(max_epochs=1)
        >>> model.save("model_of_line")
        """
        check_options(SavingMixin.save, locals())
        target = Path(dir_path)
        if target.exists() and not overwrite:
            raise ValueError(f"dir_path={str(dir_path)!r} exists: name a new folder, or pass overwrite=True.")
        backing = getattr(self.adata, "filename", None)
        with filling(target, last=f"{prefix or ''}{MODEL_FILE}") as part:
            super().save(str(part), prefix, overwrite=True, save_anndata=save_anndata, **kwargs)
        if save_anndata and backing is not None:
            # mudata takes the copy for the file that the data are read from, and it has been moved
            self.adata.file.filename = backing

    @classmethod
    def load(
        cls,
        dir_path: str | os.PathLike[str],
        adata: MuData | bool | None = None,
        accelerator: str = "auto",
        device: int | str = "auto",
        prefix: str | None = None,
        backup_url: str | None = None,
        *,
        trust: bool = False,
        **kwargs: Any,
    ) -> Self:
        """Bring back a saved model.

        The file is looked into first, and refused if it holds anything but tensors, arrays, tables and plain values:
        files of this format can run any code when they are loaded. Files that scdart wrote pass.

        Parameters
        ----------
        dir_path
            Folder that :meth:`save` wrote.
        adata
            MuData to use the model with, with the genes and peaks that it was trained on. ``None`` takes the one that
            was saved with the model, ``False`` loads the model alone.
        accelerator, device
            Where to put the model, as in :meth:`train`.
        prefix
            Prefix of the file names.
        backup_url
            Where to download the file from if it is not there; needs ``trust``.
        trust
            Load the file whatever it holds. Only for files of people you trust.
        **kwargs
            Options of :meth:`scvi.model.base.BaseModelClass.load`.

        Returns
        -------
        The model.

        Raises
        ------
        FileNotFoundError
            The folder holds no model.
        ValueError
            The file is damaged, is of another class, or holds what could run code.

        Examples
        --------
        >>> import scdart
        >>> mdata = scdart.datasets.simulate("linear", n_cells=100, n_genes=50, n_peaks=150)
        >>> scdart.tl.integrate(mdata, max_epochs=1, save_model="model")
        >>> model = scdart.model.SCDART.load("model", mdata)
        """
        check_options(SavingMixin.load, locals())
        dir_path = os.fspath(dir_path)
        if not trust:
            if backup_url is not None:
                raise ValueError(
                    f"backup_url={backup_url!r} would be loaded as soon as it is there: download it first, or pass "
                    "trust=True."
                )
            check_model(dir_path, prefix)
        with quiet():
            return super().load(dir_path, adata, accelerator, device, prefix, backup_url, **kwargs)

    @classmethod
    def load_query_data(
        cls, adata: MuData | None = None, reference_model: Any = None, *args: Any, trust: bool = False, **kwargs: Any
    ) -> Self:
        check_options(SavingMixin.load_query_data, locals())
        # no docstring, so that the site leaves out what scdart does not describe
        return super().load_query_data(adata, _checked_reference(reference_model, trust=trust), *args, **kwargs)

    @staticmethod
    def prepare_query_mudata(
        mdata: MuData | AnnData | None,
        reference_model: str | os.PathLike[str] | BaseModelClass,
        return_reference_var_names: bool = False,
        inplace: bool = True,
        *,
        trust: bool = False,
    ) -> MuData | AnnData | dict[str, pd.Index] | None:
        """Put the features of new cells into the order of the model's, with zeros where one is missing.

        Parameters
        ----------
        mdata
            MuData with modalities of the model, one or both, or an AnnData, which is taken for cells of the modality
            whose features it has. Changed in place; other modalities are left out.
        reference_model
            The model, or the folder that it was saved to.
        return_reference_var_names
            Only return the names of the model's features; ``mdata`` may then be ``None``.
        inplace
            Change ``mdata`` itself; otherwise return a changed copy.
        trust
            Load the model whatever its file holds, see :meth:`load`.

        Returns
        -------
        ``None``, the changed copy, or the names of the features by modality.

        Raises
        ------
        FileNotFoundError
            The folder holds no model.
        ValueError
            The file is damaged or holds what could run code, or ``mdata`` has no modality of the model or no features
            of one.
        """
        check_options(SavingMixin.prepare_query_mudata, locals())
        reference = _checked_reference(reference_model, trust=trust)
        names = ArchesMixin.prepare_query_mudata(None, reference, return_reference_var_names=True)
        if return_reference_var_names:
            return names
        query = cells_by_modality(mdata, names)
        assert mdata is not None  # or it was not let through
        ordered = {mod: with_features(adata, names[mod], mod) for mod, adata in query.items()}
        prepared: Any
        if isinstance(mdata, AnnData):
            (prepared,) = ordered.values()
        else:
            with columns_stay():
                prepared = MuData(ordered)
            prepared.obs, prepared.uns = mdata.obs.copy(), mdata.uns.copy()
        if not inplace:
            return prepared
        mdata._init_as_actual(prepared)  # as scvi-tools does
        return None

    @staticmethod
    def prepare_query_anndata(*args: Any, **kwargs: Any) -> None:
        # inherited from scvi-tools, and of no use with two modalities
        raise NotImplementedError("SCDART reads two modalities: use `prepare_query_mudata`.")

    @staticmethod
    def load_registry(dir_path: str | os.PathLike[str], prefix: str | None = None, *, trust: bool = False) -> dict:
        check_options(SavingMixin.load_registry, locals())
        # read by `view_setup_args` and by users who want to know what a file was made with
        if not trust:
            check_model(dir_path, prefix)
        return BaseModelClass.load_registry(os.fspath(dir_path), prefix)

    @staticmethod
    def view_setup_args(dir_path: str | os.PathLike[str], prefix: str | None = None, *, trust: bool = False) -> None:
        check_options(SavingMixin.view_setup_args, locals())
        # that of scvi-tools would not look into the file
        AnnDataManager.view_setup_method_args(SavingMixin.load_registry(dir_path, prefix, trust=trust))

    @classmethod
    def convert_legacy_save(cls, *args: Any, **kwargs: Any) -> None:
        # reads pickles of scvi-tools before 0.15, which never were of this model
        raise NotImplementedError("No model of this class was saved by scvi-tools before 0.15.")


def check_model(folder: str | os.PathLike[str], prefix: str | None = None) -> None:
    """Raise unless a folder holds a model whose file can do nothing but hold data.

    Parameters
    ----------
    folder
        Where the model was saved.
    prefix
        Prefix of the file names.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        It is damaged, is no model of scdart, or holds what could run code.
    """
    path = Path(folder) / f"{prefix or ''}{MODEL_FILE}"
    content = check_harmless(path, "a model")
    registry = content["attr_dict"].get("registry_") if isinstance(content.get("attr_dict"), dict) else None
    # scvi-tools calls the method that the file names, whatever it is.
    if not content.keys() >= set(_CONTENT) or not registry or registry.get("setup_method_name") != _SETUP:
        raise ValueError(f"{path} holds no model of scdart: name a folder that SCDART.save() wrote.")


def _checked_reference(reference: Any, *, trust: bool) -> Any:
    if not isinstance(reference, str | os.PathLike):
        return reference
    if not trust:
        check_model(reference)
    return os.fspath(reference)

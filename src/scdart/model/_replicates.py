"""The same model, trained again: what changes with the random state was not in the data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scvi.model.base import BaseModelClass

from scdart._options import check_options
from scdart._random import seed_of, seeded
from scdart._replicates import NOTED_OF_TRAINING

if TYPE_CHECKING:
    from typing import Self


class ReplicatesMixin(BaseModelClass):
    """Further trainings of a model with other random states."""

    train_settings_: list[dict[str, Any]]

    def train_replicates(
        self, n_models: int = 2, *, random_state: int | None = None, enable_progress_bar: bool = True
    ) -> list[Self]:
        """Train the same model again on the same data, from other weights and in another order of cells.

        Parameters
        ----------
        n_models
            Number of further models. Each costs what the training did.
        random_state
            Seed of the first of them, the others count up from it; ``None`` takes the one after the seed that this
            model was trained with. The setting of scvi-tools and the global random streams stay as they are.
        enable_progress_bar
            Whether to show how far the trainings are.

        Returns
        -------
        Trained models, for :func:`scdart.tl.spread`, :meth:`get_alignment_confidence` and
        :meth:`get_peak_gene_links`. Anchors and coordinates are those of this model: what is uncertain about these
        is not in the spread.

        Raises
        ------
        RuntimeError
            If the model has not been trained.
        ValueError
            If the model has no training data, or an option is out of its range.

        Examples
        --------
        >>> import scdart
        >>> mdata = scdart.datasets.simulate("linear", n_cells=100, n_genes=50, n_peaks=150)
        >>> scdart.tl.integrate(mdata, max_epochs=1, save_model="model_to_repeat")
        >>> model = scdart.model.SCDART.load("model_to_repeat", mdata)
        >>> replicates = model.train_replicates(2)
        >>> len(replicates)
        2
        """
        check_options(ReplicatesMixin.train_replicates, locals())
        self._check_if_trained(warn=False)
        if self._adata_manager is None:
            raise ValueError("this model has no training data: load it with them, SCDART.load(folder, mdata).")
        init = self.init_params_
        options = {**init["non_kwargs"], **{k: v for given in init["kwargs"].values() for k, v in given.items()}}
        trained = self.train_settings_
        first = (trained[0].get("seed") or 0) + 1 if random_state is None else seed_of(random_state)
        models = []
        for seed in range(first, first + n_models):
            with seeded(seed):
                model = type(self)(self.adata, **options)
                for noted in trained:
                    again = {key: value for key, value in noted.items() if key not in NOTED_OF_TRAINING}
                    model.train(**{**again, "enable_progress_bar": enable_progress_bar})
            models.append(model)
        return models

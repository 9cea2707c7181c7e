"""The scDART model: registration, training and what a trained model returns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from scvi import settings
from scvi.data import AnnDataManager, AnnDataManagerValidationCheck
from scvi.model.base import ArchesMixin, BaseModelClass, UnsupervisedTrainingMixin

from scdart import pp
from scdart._anchor_slots import support_of_anchors
from scdart._checks import checked_once, chosen
from scdart._constants import ANCHORS, ATAC, BATCH_FACTORS, GENE_ACTIVITY, RNA, X_DIFFUSION_COORDINATES
from scdart._options import Range, check_options
from scdart._process import interrupts_kept, quiet
from scdart._random import streams_kept
from scdart.data import (
    MODALITIES,
    REGISTRY_KEYS,
    AnchorsField,
    BatchFactorsField,
    BatchField,
    ConfidenceField,
    CountsField,
    DiffusionCoordinatesField,
    GroupsField,
    PriorField,
    UnpairedDataSplitter,
    batch_columns,
    by_argument,
    check_features,
    check_setup,
    checked_confidence,
    registered_n_cells,
)
from scdart.module import SCDARTModule

from ._checkpoint import EpochCheckpoint, check_state, describe_data, plain_options
from ._inference import InferenceMixin
from ._initialization import initialize_from_data
from ._links import LinksMixin
from ._new_batches import NewBatchesMixin
from ._presets import PRESETS
from ._replicates import ReplicatesMixin
from ._saving import SavingMixin
from ._training_plan import SCDARTTrainingPlan, check_accelerator, check_plan, check_precision

if TYPE_CHECKING:
    from collections.abc import Mapping
    from os import PathLike

    from mudata import MuData


class SCDART(
    NewBatchesMixin,
    InferenceMixin,
    LinksMixin,
    ReplicatesMixin,
    SavingMixin,
    UnsupervisedTrainingMixin,
    ArchesMixin,
    BaseModelClass,
):
    """Joint latent space of unpaired scRNA-seq and scATAC-seq that keeps trajectories :cite:p:`Zhang2022`.

    A gene-activity network turns the accessibility of a cell into expression (pseudo-RNA), a projection network
    shared by RNA and pseudo-RNA maps both into the latent space. Distances in the latent space follow the diffusion
    distances within each modality, the two modalities are aligned, and the gene-activity network starts from, and is
    held to, a prior that links peaks with genes.

    Parameters
    ----------
    mdata
        MuData registered with :meth:`setup_mudata`.
    registry
        Registry of a saved model; used by :meth:`load` without data.
    n_latent
        Dimensions of the latent space. ``None`` leaves it to the preset.
    preset
        ``"default"``, or ``"paper"`` for the published architecture, losses and optimiser.
    **module_kwargs
        Options of :class:`scdart.module.SCDARTModule` that replace those of the preset.

    Examples
    --------
    >>> import scdart
    >>> mdata = scdart.datasets.simulate("bifurcating", n_cells=200, n_genes=100, n_peaks=300)
    >>> scdart.pp.diffusion_coordinates(mdata)
    >>> scdart.model.SCDART.setup_mudata(mdata)
    >>> model = scdart.model.SCDART(mdata, n_latent=8)
    >>> model.train(max_epochs=2)
    >>> mdata.obsm["X_scdart"] = model.get_latent_representation()
    """

    _module_cls = SCDARTModule
    _data_splitter_cls = UnpairedDataSplitter
    _training_plan_cls = SCDARTTrainingPlan

    #: How far held-out genes support the anchors that the model was trained with; saved with it.
    support_: float = 1.0

    def __init__(
        self,
        mdata: MuData | None = None,
        registry: dict | None = None,
        *,
        n_latent: int | None = None,
        preset: Literal["default", "paper"] = "default",
        **module_kwargs: Any,
    ) -> None:
        check_options(SCDART.__init__, locals())
        super().__init__(mdata, registry)
        self._has_training_data = mdata is not None
        self._preset = chosen(preset, PRESETS, "preset")
        options = {**self._preset.module, **module_kwargs}
        if n_latent is not None:
            options["n_latent"] = n_latent
        self._check_groups(options)
        stats = self.summary_stats
        n_genes, n_peaks = (stats[modality.n_features] for modality in MODALITIES.values())
        self.module = self._module_cls(
            n_genes=n_genes,
            n_peaks=n_peaks,
            n_links=stats[PriorField.N_LINKS],
            n_rna_batches=stats.get(f"n_{MODALITIES[RNA].batch}", 1),
            n_atac_batches=stats.get(f"n_{MODALITIES[ATAC].batch}", 1),
            n_blocks=stats[f"{MODALITIES[RNA].coordinates}_{DiffusionCoordinatesField.N_BLOCKS}"],
            **options,
        )
        # A model that is being loaded gets the statistics of its training data with its weights.
        if self._adata_manager is not None and self._adata_manager._source_registry is None:
            initialize_from_data(self.module, self._adata_manager, anchored=self._anchored)
            if self._anchored:
                anchors_key = self._adata_manager.data_registry[REGISTRY_KEYS.ANCHORS].attr_key
                self.support_ = support_of_anchors(self._adata_manager.adata, anchors_key)
        self._model_summary_string = (
            f"SCDART with {n_genes} genes, {n_peaks} peaks, {stats[PriorField.N_LINKS]} prior links, "
            f"n_latent: {self.module.n_latent}, preset: {preset}"
        )
        self.init_params_ = self._get_init_params(locals())

    def _check_groups(self, options: dict[str, Any]) -> None:
        """Raise if labels of groups were registered that neither anchors nor a loss would use."""
        if self._adata_manager is None:
            return
        registered = self._adata_manager.data_registry
        if MODALITIES[RNA].groups in registered and not self._anchored and not options.get("group_weight"):
            raise ValueError(
                "groups_key was given, but nothing uses it: set up the data with anchors, which look for partners "
                "within groups, or pass group_weight=1.0, which draws the means of groups together as the preset "
                "'paper' does."
            )

    @property
    def _anchored(self) -> bool:
        """Whether there are anchors between cells, and the preset uses them."""
        return self._preset.anchors and REGISTRY_KEYS.ANCHORS in self.adata_manager.data_registry

    @classmethod
    def setup_mudata(
        cls,
        mdata: MuData,
        rna_layer: str | None = None,
        atac_layer: str | None = None,
        *,
        prior_key: str = GENE_ACTIVITY,
        diffusion_key: str = X_DIFFUSION_COORDINATES,
        anchors_key: str | None = ANCHORS,
        groups_key: str | None = None,
        batch_key: str | None = None,
        modalities: dict[str, str] | None = None,
        **kwargs: Any,
    ) -> None:
        """Register a MuData of unpaired, partly paired or paired cells.

        Pairing is never used unless anchors say so: cells may be disjoint, overlap or be the same, in any order.

        Parameters
        ----------
        mdata
            MuData with an RNA and an ATAC modality of raw counts.
        rna_layer, atac_layer
            Layers with the counts; ``None`` means ``X``.
        prior_key
            Slot of ATAC's ``varm`` with the prior, peaks x genes, as :func:`scdart.pp.gene_activity` writes it.
        diffusion_key
            Slot of both modalities' ``obsm`` with the coordinates of :func:`scdart.pp.diffusion_coordinates`.
        anchors_key
            Slot of ``mdata.obsp`` with the anchors of :func:`scdart.pp.anchors` or :func:`scdart.pp.set_anchors`. If
            the default slot is not there, the former is run with its defaults. Confidence that was written with the
            anchors counts; that of others does not. ``None`` trains without cell anchors.
        groups_key
            Column of both modalities' ``obs`` with labels of cells known to correspond, such as sorted gates or root
            cells; cells without label are missing values. Anchors have to know them, see :func:`scdart.pp.anchors`.
            With ``group_weight``, as in the preset ``"paper"`` (scDART-anchor), the mean positions of groups are drawn
            together instead. ``None`` knows no groups.
        batch_key
            Column of ``obs`` of both modalities, or of one, with the batch of each cell (donor, lane, laboratory). What
            sets the batches of a modality apart, as :func:`scdart.pp.batch_factors` has found it, is taken out of all
            that the model reads and returns. ``None`` knows no batches.
        modalities
            Names of the modalities, by argument: ``{"rna_layer": "rna", "atac_layer": "atac"}`` if not given.
        **kwargs
            Passed by scvi-tools when a saved registry is applied to new data.

        Raises
        ------
        KeyError
            If a modality, layer, prior, coordinates, column, or a slot for anchors that was named is missing.
        ValueError
            If counts, names, prior or coordinates cannot be used; the message says what to change.
        """
        check_options(SCDART.setup_mudata, locals())
        modalities = by_argument(modalities)
        setup_method_args = cls._get_setup_method_args(**locals())
        mod = cls._create_modalities_attr_dict(modalities, setup_method_args)
        mods = {role: mod[modality.argument] for role, modality in MODALITIES.items()}
        layers = {RNA: rna_layer, ATAC: atac_layer}
        if (source := kwargs.get("source_registry")) is None:
            with checked_once():
                check_setup(mdata, mods, layers, prior_key, diffusion_key, anchors_key, groups_key, batch_key)
                if anchors_key is not None and anchors_key not in mdata.obsp:
                    pp.anchors(
                        mdata,
                        prior_key=prior_key,
                        key_added=anchors_key,
                        rna_mod=mods[RNA],
                        atac_mod=mods[ATAC],
                        rna_layer=rna_layer,
                        atac_layer=atac_layer,
                        groups_key=groups_key,
                        batch_key=batch_key,
                    )
        else:
            check_features(mdata, mods, source)
        confidence = checked_confidence(mdata, anchors_key, mods)
        batches = batch_columns(mdata, batch_key, mods, source)
        fields = [
            PriorField(
                REGISTRY_KEYS.GENE_ACTIVITY,
                prior_key,
                rna_mod=mods[RNA],
                mod_key=mods[ATAC],
                correct_data_format=False,
            ),
            AnchorsField(REGISTRY_KEYS.ANCHORS, anchors_key),
        ]
        for role, modality in MODALITIES.items():
            here = {"mod_key": mods[role], "correct_data_format": False}
            fields += [
                CountsField(modality.counts, layers[role], is_count_data=False, **here),
                DiffusionCoordinatesField(modality.coordinates, diffusion_key, **here),
                ConfidenceField(modality.confidence, confidence, mods[role]),
                GroupsField(modality.groups, groups_key, mods[role]),
                BatchField(modality.batch, batches[role], mods[role]),
                BatchFactorsField(modality.batch_factors, batches[role] and BATCH_FACTORS, mods[role]),
            ]
        manager = AnnDataManager(
            fields=fields,
            setup_method_args=setup_method_args,
            validation_checks=AnnDataManagerValidationCheck(check_fully_paired_mudata=False),
        )
        with quiet():
            manager.register_fields(mdata, **kwargs)
        cls.register_manager(manager)

    @classmethod
    def setup_anndata(cls, *args: Any, **kwargs: Any) -> None:
        """Not available: the two modalities come in one MuData, see :meth:`setup_mudata`."""
        raise NotImplementedError("SCDART reads two modalities: put them into one MuData and use `setup_mudata`.")

    def train(
        self,
        max_epochs: int | None = None,
        *,
        accelerator: str = "auto",
        devices: int | list[int] | str = "auto",
        train_size: float | None = None,
        validation_size: float | None = None,
        shuffle_set_split: bool = True,
        batch_size: int | None = None,
        early_stopping: bool = False,
        checkpoint: str | PathLike[str] | None = None,
        ckpt_path: str | PathLike[str] | None = None,
        datasplitter_kwargs: dict | None = None,
        plan_kwargs: dict | None = None,
        **trainer_kwargs: Any,
    ) -> None:
        """Train the model. Global random streams are read, and left as they were.

        Training that was interrupted goes on from its last epoch with ``checkpoint``, and ends on a CPU with the
        weights and the history of a run without interruption. Make the model anew for it, of the same data.

        Parameters
        ----------
        max_epochs
            Passes over the larger modality, of at most 100 minibatches each. ``None`` trains a fixed number of steps
            that does not grow with the number of cells.
        accelerator, devices
            Passed to :class:`lightning.pytorch.Trainer`.
        train_size
            Share of each modality's cells to train on. ``None`` means all cells, or 0.9 if early stopping or
            checkpointing needs a validation set.
        validation_size
            Share of each modality's cells to validate on; ``None`` means what ``train_size`` leaves.
        shuffle_set_split
            Whether to shuffle cells before they are split.
        batch_size
            Cells of each modality per minibatch; ``None`` leaves it to the preset.
        early_stopping
            Stop when ``validation_loss`` no longer falls. Options such as ``early_stopping_patience`` may follow.
        checkpoint
            Folder to keep the state of training in, written after every epoch. If it holds one, training goes on from
            there.
        ckpt_path
            State of training to start from, as ``save_checkpoint`` of :class:`lightning.pytorch.Trainer` writes it.
        datasplitter_kwargs
            Options of :class:`scdart.data.UnpairedDataSplitter`.
        plan_kwargs
            Options of :class:`scdart.model.SCDARTTrainingPlan`, and loss weights for this run (``{"pair": 0.1}``).
        **trainer_kwargs
            Options of :class:`scvi.train.Trainer`.

        Raises
        ------
        ValueError
            If an option is out of its range, early stopping or checkpointing is asked for without validation cells,
            ``plan_kwargs`` holds a name that is neither an option nor a loss term, ``checkpoint`` holds the state of
            another run, ``precision`` is not single, or the training diverges.
        OSError
            If ``checkpoint`` cannot be written to, or ``ckpt_path`` does not exist.
        """
        check_training(locals())
        self._check_counts(self.adata)
        datasplitter_kwargs = datasplitter_kwargs or {}
        validates = early_stopping or trainer_kwargs.get("enable_checkpointing", False)
        if train_size is None:
            train_size = 0.9 if validates else 1.0
        if validates and train_size >= 1 and "external_indexing" not in datasplitter_kwargs:
            raise ValueError(
                f"train_size={train_size} leaves no validation cells, which early stopping and checkpointing need: "
                "use a smaller train_size, or switch them off."
            )
        n_cells = registered_n_cells(self.adata_manager)
        batch_size = batch_size or self._preset.batch_size(n_cells)
        usual = self._preset.max_epochs(n_cells, batch_size, train_size, paired=self._anchored)
        options = {
            "max_epochs": usual if max_epochs is None else max_epochs,
            "batch_size": batch_size,
            "train_size": train_size,
            "validation_size": validation_size,
            "shuffle_set_split": shuffle_set_split,
            "early_stopping": early_stopping,
        }
        noted = {"seed": settings.seed, **plain_options({**options, "plan_kwargs": plan_kwargs, **trainer_kwargs})}
        if checkpoint is not None:
            made = self.init_params_["non_kwargs"] | self.init_params_["kwargs"]
            run = {**plain_options({**made, **options, "plan_kwargs": plan_kwargs}), "seed": settings.seed}
            keeper = EpochCheckpoint(checkpoint, run | describe_data(self.adata_manager))
            trainer_kwargs["callbacks"] = [*trainer_kwargs.get("callbacks", []), keeper]
            ckpt_path = keeper.ckpt_path or ckpt_path
        if ckpt_path is not None:
            check_state(ckpt_path)
        self.train_settings_ = [*getattr(self, "train_settings_", []), {**noted, "usual_epochs": usual}]
        trainer_kwargs.setdefault("early_stopping_monitor", "validation_loss")
        # Inference leaves the module in eval mode, and Lightning trains a module in the mode that it finds.
        self.module.train()
        # The sampler hands every process its own minibatches; Lightning must not wrap it again.
        trainer_kwargs.setdefault("use_distributed_sampler", False)
        with streams_kept(), quiet(), interrupts_kept(), self._threads():
            super().train(
                **options,
                accelerator=accelerator,
                devices=devices,
                ckpt_path=ckpt_path,
                datasplitter_kwargs={"anchored": self._anchored, **datasplitter_kwargs},
                plan_kwargs={**self._preset.plan, **(plan_kwargs or {})},
                **trainer_kwargs,
            )


def check_training(given: Mapping[str, Any]) -> None:
    """Raise unless options of :meth:`SCDART.train`, and of its training plan, can be trained with."""
    check_options(SCDART.train, given, batch_size=Range(2, 1_000_000))
    check_plan(given.get("plan_kwargs") or {})
    check_accelerator(given.get("accelerator", "auto"))
    check_precision({**given, **given.get("trainer_kwargs", {})}.get("precision"))

"""Optimiser, learning-rate schedule and logging of every loss term."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final, Literal

import torch
from lightning.pytorch.accelerators import AcceleratorRegistry
from scvi.train import TrainingPlan

from scdart._options import NOT_NEGATIVE, check_number, check_options
from scdart.module import LOSS_TERMS

from ._checkpoint import between_epochs, finish_epochs, history_of, plain_history, random_streams, set_random_streams

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from scvi.module.base import BaseModuleClass, LossOutput


#: Where a checkpoint holds what Lightning does not keep.
_RESUMED: Final = "scdart"


class SCDARTTrainingPlan(TrainingPlan):
    """Training plan of :class:`scdart.model.SCDART`: Adam, cosine decay, and a history of all loss terms.

    Parameters
    ----------
    module
        The module to train.
    lr, eps, weight_decay
        Options of Adam. Unlike scvi-tools' own defaults, these are plain Adam's.
    lr_schedule
        ``"cosine"`` decays the learning rate to zero over the planned steps, ``"constant"`` keeps it.
    lr_scheduler_metric
        What ``reduce_lr_on_plateau`` watches. With it, ``lr_schedule`` is not used.
    **kwargs
        Weights of losses in this run, by name of the term as in the history (``pair=0.1``), and further options of
        :class:`scvi.train.TrainingPlan`.

    Raises
    ------
    ValueError
        If an option or a loss term is not known.
    """

    def __init__(
        self,
        module: BaseModuleClass,
        *,
        lr: float = 2e-3,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        lr_schedule: Literal["cosine", "constant"] = "cosine",
        lr_scheduler_metric: str = "validation_loss",
        **kwargs: Any,
    ) -> None:
        check_plan({**locals(), **kwargs})
        super().__init__(
            module, lr=lr, eps=eps, weight_decay=weight_decay, lr_scheduler_metric=lr_scheduler_metric, **kwargs
        )
        # Whatever scvi-tools does not know, it takes for an option of the loss.
        if unknown := sorted(self.loss_kwargs.keys() - module.weights.keys()):
            raise ValueError(
                f"plan_kwargs holds {unknown}, neither an option of the training plan nor a loss term: the terms are "
                f"{list(module.weights)}. Weights for every run, such as pair_weight, are options of the model."
            )
        self.lr_schedule = lr_schedule
        self._resumed: dict[str, Any] = {}

    def _optimizer_creator_fn(self, optimizer_cls: type[torch.optim.Adam]) -> Callable[[Iterable], torch.optim.Adam]:
        # The fused step is several times faster on the wide peaks layer than the default one.
        return lambda params: optimizer_cls(
            params, lr=self.lr, eps=self.eps, weight_decay=self.weight_decay, fused=True
        )

    def configure_optimizers(self) -> dict[str, Any]:
        """Adam, with cosine decay per step unless the plateau schedule is asked for."""
        config = super().configure_optimizers()
        n_steps = self.trainer.estimated_stepping_batches
        if self.lr_schedule == "cosine" and "lr_scheduler" not in config and math.isfinite(n_steps):
            scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(config["optimizer"], T_max=max(int(n_steps), 1))
            config["lr_scheduler"] = {"scheduler": scheduler, "interval": "step"}
        return config

    def on_train_epoch_end(self) -> None:
        """Stop a training that has diverged; a minibatch without end takes all weights along, on every device."""
        super().on_train_epoch_end()
        values = [value for value in self.module.state_dict().values() if value.is_floating_point()]
        if not torch.stack([value.isfinite().all() for value in values]).all():
            raise ValueError(
                f"Training diverged in epoch {self.current_epoch + 1} of {self.trainer.max_epochs}: weights are no "
                f"longer finite. Pass a smaller learning rate than plan_kwargs={{'lr': {self.lr:g}}}, or smaller "
                "weights of the losses."
            )

    def compute_and_log_metrics(self, loss_output: LossOutput, metrics: Any, mode: str) -> None:
        """Log the loss terms; there is no likelihood, hence none of the ELBO metrics of the base class."""
        self.log_dict(
            {f"{name}_{mode}": value.detach() for name, value in loss_output.extra_metrics.items()},
            on_step=self.on_step,
            on_epoch=self.on_epoch,
            batch_size=loss_output.n_obs_minibatch,
            sync_dist=self.use_sync_dist,
        )

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the random streams and the history, beside what Lightning keeps."""
        super().on_save_checkpoint(checkpoint)
        checkpoint[_RESUMED] = {"streams": random_streams(), "history": plain_history(self.trainer)}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take them back, and begin the next epoch at its first minibatch."""
        super().on_load_checkpoint(checkpoint)
        progress = checkpoint["loops"]["fit_loop"]["epoch_progress"]
        if between_epochs(progress):
            finish_epochs(progress)
            self._resumed = checkpoint.get(_RESUMED, {})

    def on_train_start(self) -> None:
        """Continue where the epoch before ended. Lightning itself would go on within that epoch, past its end."""
        super().on_train_start()
        if not self._resumed:
            return
        self.trainer.fit_loop.restarting = False
        set_random_streams(self._resumed["streams"])
        if self.trainer.is_global_zero and hasattr(self.trainer.logger, "history"):
            self.trainer.logger.experiment.data.update(history_of(self._resumed["history"]))

    def on_train_epoch_start(self) -> None:
        """Draw what an iterator over minibatches draws when it is made, as it already was before a resumed epoch."""
        super().on_train_epoch_start()
        if self._resumed:
            torch.empty((), dtype=torch.int64).random_()
            self._resumed = {}


def check_plan(given: Mapping[str, Any]) -> None:
    """Raise unless options of the plan, and weights of loss terms among them, are in their range."""
    check_options(SCDARTTrainingPlan.__init__, given)
    for term in LOSS_TERMS:
        if term.name in given:
            check_number(term.name, given[term.name], NOT_NEGATIVE)


def check_accelerator(accelerator: Any) -> None:
    """Raise unless Lightning knows an accelerator of the name; whether the machine has it, it says itself."""
    known = {"auto", "gpu", *AcceleratorRegistry.available_accelerators()}
    if isinstance(accelerator, str) and accelerator not in known:
        raise ValueError(f"accelerator={accelerator!r} is not known: use one of {sorted(known)}.")


def check_precision(precision: Any) -> None:
    """Raise unless training is to be in single precision, in which its sums over sparse rows and distances are."""
    if precision not in (None, 32, "32", "32-true"):
        raise ValueError(
            f"precision={precision!r}: training takes single precision alone, since products with sparse counts and "
            "distances between cells have no other. Leave it out."
        )

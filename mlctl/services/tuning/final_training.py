"""The training of a search's final model, recorded in the search's own run."""

from __future__ import annotations

import dataclasses
from functools import cached_property

from mlctl.adapters.keras.checkpoints import Checkpoint
from mlctl.adapters.keras.fit import Model
from mlctl.adapters.keras.training_loop import TrainingProgress
from mlctl.adapters.runlog.recorder import Recorder
from mlctl.data.dataset import HELD_OUT_ANSWERS, Split
from mlctl.data.join_splits import join
from mlctl.domain.objective import Objective
from mlctl.domain.progress import Epoch, ProgressListener
from mlctl.recipes.declare import with_epochs
from mlctl.services.recipes.prepare import recipe_errors, values_for, with_class_weight
from mlctl.services.training.logged_model import LoggedModel
from mlctl.services.training.phases import recipe_phases
from mlctl.services.training.run_setup import RunSetup
from mlctl.services.training.training import Training
from mlctl.services.tuning.finalists import FinalValues


class FinalTraining(Training):
    """The training of the chosen values, on training and validation rows if `final.epochs` is set."""

    def __init__(self, setup: RunSetup, listener: ProgressListener, final: FinalValues) -> None:
        prepared, data = setup.prepared, setup.prepared.data
        values = prepared.recipe.values(final.values)
        data = with_class_weight(prepared.recipe, data, values)
        phases = recipe_phases(prepared.recipe, values_for(data, values), data)
        if final.epochs:
            values = with_epochs(values, final.epochs)
            phases = tuple(
                dataclasses.replace(phase, epochs=epochs)
                for phase, epochs in zip(phases, final.phase_epochs or (final.epochs,), strict=False)
            )
            # no row is held out: the threshold and the calibration must not take the validation rows for such
            data = dataclasses.replace(
                data, train=join(data.train, data.validation), extra={**data.extra, HELD_OUT_ANSWERS: None}
            )
        prepared = dataclasses.replace(prepared, values=values_for(data, values), data=data)
        super().__init__(dataclasses.replace(setup, prepared=prepared), listener, phases=phases)
        self.final = final

    def _train(self, model: Model, recorder: Recorder, checkpoint: Checkpoint | None) -> None:
        if not self.final.epochs:
            super()._train(model, recorder, checkpoint)
            return
        self.progress = TrainingProgress(Objective("loss", maximize=False), keep_last=True)
        with recipe_errors(self.recipe, "training its model"):
            self._run_phases(model, lambda _epoch, _loop: None)

    @cached_property
    def _validation(self) -> Split | None:
        return None if self.final.epochs else super()._validation

    def _record_epoch(self, recorder: Recorder, epoch: Epoch) -> None:
        """Record nothing yet: after an interruption, the search may get more trials and choose other values."""

    def _record_training(self, recorder: Recorder) -> None:
        """Record the model's parameters, which the store takes only once, and its epochs."""
        recorder.log_params(self.setup.params)
        for epoch in self.progress.epochs:
            recorder.log_metrics(epoch.metrics, step=epoch.number)

    def _summary(self, best: Epoch, split_name: str, logged: LoggedModel) -> dict[str, float]:
        """Return what the model reached; validation metrics are those from before it was trained on these rows."""
        validation = {
            f"best_{name}": value for name, value in self.final.validation.items() if name.startswith("val_")
        }
        return {**super()._summary(best, split_name, logged), **validation}

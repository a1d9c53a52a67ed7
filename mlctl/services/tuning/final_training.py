"""The training of a search's final model, recorded in the search's own run."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from mlctl.adapters.keras.checkpoints import Checkpoint
from mlctl.adapters.keras.fit import Model, make_training_loop
from mlctl.adapters.keras.outputs import infer_outputs
from mlctl.adapters.keras.training_loop import Epoch, TrainingProgress
from mlctl.adapters.runlog.recorder import Recorder
from mlctl.data.dataset import Split
from mlctl.data.files.images import ImageFiles
from mlctl.data.sparse_bags import SparseBags
from mlctl.domain.objective import Objective
from mlctl.domain.progress import ProgressListener
from mlctl.services.recipes.prepare import recipe_errors
from mlctl.services.training.run_setup import RunSetup
from mlctl.services.training.training import Training
from mlctl.services.tuning.finalists import FinalValues


@dataclass
class _LastEpoch(TrainingProgress):
    """Progress of a training without validation: the last epoch is kept."""

    def add(self, epoch: Epoch, get_weights: Any) -> None:
        """Add an epoch, and keep its weights."""
        self.epochs.append(epoch)
        self.best, self.best_weights = epoch, get_weights()


class FinalTraining(Training):
    """The training of the chosen values, on training and validation rows if `final.epochs` is set."""

    def __init__(self, setup: RunSetup, listener: ProgressListener, final: FinalValues) -> None:
        prepared = setup.prepared
        epochs = {"epochs": final.epochs} if final.epochs else {}
        values = prepared.recipe.values({**final.values, **epochs})
        data = prepared.data
        if final.epochs:
            data = dataclasses.replace(data, train=_concatenate(data.train, data.validation))
        prepared = dataclasses.replace(prepared, values=values.on(len(data.train)), data=data)
        super().__init__(dataclasses.replace(setup, prepared=prepared), listener)
        self.final = final

    def _train(self, model: Model, recorder: Recorder, checkpoint: Checkpoint | None) -> None:
        if not self.final.epochs:
            super()._train(model, recorder, checkpoint)
            return
        values = self.prepared.values
        with recipe_errors(self.recipe, "training its model"):
            loop = make_training_loop(
                model,
                self.prepared.encoded_split(self.data.train),
                validation=None,
                outputs=infer_outputs(model, self.data),
                batch_size=values.batch_size,
                seed=self.request.seed,
                listener=self.listener,
            )
            self.progress = _LastEpoch(Objective("loss", maximize=False))
            self.listener.training_started(
                self.recipe.name, values.epochs, loop.program.steps, self.progress.objective
            )
            loop.run(self.progress, epochs=values.epochs, patience=None, on_epoch_end=lambda _: None)

    def _record_epoch(self, recorder: Recorder, epoch: Epoch) -> None:
        """Record nothing yet: after an interruption, the search may get more trials and choose other values."""

    def _record_training(self, recorder: Recorder) -> None:
        """Record the model's parameters, which the store takes only once, and its epochs."""
        recorder.log_params(self.setup.params)
        for epoch in self.progress.epochs:
            recorder.log_metrics(epoch.metrics, step=epoch.number)

    def _summary(self, best: Epoch, split_name: str, metrics: Mapping[str, float]) -> dict[str, float]:
        """Return what the model reached; validation metrics are those from before it was trained on these rows."""
        validation = {
            f"best_{name}": value for name, value in self.final.validation.items() if name.startswith("val_")
        }
        return {**super()._summary(best, split_name, metrics), **validation}


def _concatenate(first: Split, second: Split) -> Split:
    inputs: Any
    if isinstance(first.inputs, SparseBags):
        inputs = SparseBags.concatenate(first.inputs, second.inputs)
    elif isinstance(first.inputs, ImageFiles):
        inputs = dataclasses.replace(first.inputs, files=first.inputs.files + second.inputs.files)
    elif isinstance(first.inputs, pd.DataFrame):
        inputs = pd.concat([first.inputs, second.inputs], ignore_index=True)
    else:
        inputs = np.concatenate((first.inputs, second.inputs))
    return Split(inputs, np.concatenate((first.targets, second.targets)))

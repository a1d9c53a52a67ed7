"""One trial of a search, trained in a worker's process: `python -m` runs this module on workers without fork."""

from __future__ import annotations

import dataclasses
import gc
import sys
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mlctl.adapters.keras import runtime, tensors
from mlctl.adapters.keras.fit import make_training_loop
from mlctl.adapters.keras.outputs import infer_outputs
from mlctl.adapters.keras.training_loop import Epoch, TrainingProgress
from mlctl.adapters.keras.weights import load_weights, save_weights
from mlctl.adapters.search import local_executor
from mlctl.adapters.search.messages import (
    EpochEnded,
    ReportEpoch,
    SearchSetup,
    TrialEnded,
    TrialFailed,
    TrialJob,
)
from mlctl.domain.progress import NullProgress
from mlctl.errors import MlctlError
from mlctl.recipes import Values
from mlctl.services.recipes.prepare import recipe_errors


class _Stopped(BaseException):
    """The search stops this trial.

    It is no Exception, so that `recipe_errors` does not report it as a failure of the recipe.
    """


@dataclass
class _ContinuedProgress(TrainingProgress):
    """Progress after epochs that an earlier trial has trained; the best epoch is one of this trial's own."""

    earlier: tuple[Epoch, ...] = field(default=())

    def __post_init__(self) -> None:
        self.epochs.extend(self.earlier)


def train_trial(setup: SearchSetup, job: TrialJob, report_epoch: ReportEpoch) -> TrialEnded | TrialFailed:
    """Train a trial; `report_epoch` is called after each epoch, and stops the trial by returning False."""
    started = time.perf_counter()
    try:
        for execution in range(1, job.executions + 1):
            _train_execution(setup, job, execution, report_epoch)
    except _Stopped:
        pass
    except MlctlError as error:
        return TrialFailed(job.trial, job.attempt, error.message)
    except Exception as error:
        return TrialFailed(job.trial, job.attempt, " ".join(f"{type(error).__name__}: {error}".split())[:300])
    return TrialEnded(job.trial, job.attempt, time.perf_counter() - started)


def _train_execution(setup: SearchSetup, job: TrialJob, execution: int, report_epoch: ReportEpoch) -> None:
    recipe, data = setup.recipe, setup.data
    values = Values(job.values).on(len(data.train))
    seed = job.seed + execution - 1
    gc.collect()  # the graphs of an earlier execution hold its data in reference cycles
    runtime.start_session(seed, setup.precision)
    with recipe_errors(recipe, "building its model"):
        model = recipe.build(values, data)

    def on_epoch_end(epoch: Epoch) -> None:
        if not report_epoch(EpochEnded(job.trial, job.attempt, execution, epoch)):
            raise _Stopped

    with recipe_errors(recipe, "training its model"):
        loop = make_training_loop(
            model,
            dataclasses.replace(data.train, inputs=_shared_tensor(setup.train_inputs)),
            validation=data.validation
            and dataclasses.replace(data.validation, inputs=setup.validation_inputs),
            outputs=infer_outputs(model, data),
            batch_size=values.batch_size,
            seed=seed,
            listener=NullProgress(),
        )
        if job.load_weights_from:
            load_weights(model, job.load_weights_from)
        loop.run(
            _ContinuedProgress(job.objective, earlier=job.earlier_epochs),
            epochs=job.epochs,
            patience=job.patience,
            on_epoch_end=on_epoch_end,
        )
    if job.save_weights_to:
        save_weights(model, job.save_weights_to)


_tensors: dict[int, Any] = {}


def _shared_tensor(inputs: Any) -> Any:
    """Return inputs as one tensor for all trials of this process: a tensor per trial would outlive its trial."""
    if not isinstance(inputs, np.ndarray):
        return inputs
    if id(inputs) not in _tensors:
        _tensors[id(inputs)] = tensors.to_tensor(inputs)
    return _tensors[id(inputs)]


if __name__ == "__main__":
    local_executor.run_worker(train_trial, *sys.argv[1:])

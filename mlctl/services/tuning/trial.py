"""One trial of a search, trained in a worker's process: `python -m` runs this module on workers without fork."""

from __future__ import annotations

import gc
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from mlctl.adapters.keras import runtime
from mlctl.adapters.keras.checkpoints import TrainingState
from mlctl.adapters.keras.fit import make_training_loop
from mlctl.adapters.keras.outputs import infer_outputs
from mlctl.adapters.keras.phases import run_phases
from mlctl.adapters.keras.training_loop import TrainingLoop, TrainingProgress
from mlctl.adapters.keras.weights import load_state, save_state
from mlctl.adapters.search import local_executor
from mlctl.adapters.search.messages import (
    EpochEnded,
    ReportEpoch,
    SearchSetup,
    TrialEnded,
    TrialFailed,
    TrialJob,
)
from mlctl.domain.progress import Epoch, NullProgress
from mlctl.domain.short_texts import describe_error
from mlctl.recipes.declare import complete
from mlctl.recipes.reads import unread_names
from mlctl.services.recipes.prepare import recipe_errors, values_for, with_class_weight
from mlctl.services.training.phases import phase_values, recipe_phases
from mlctl.services.tuning.trial_data import training_split, validation_split, with_data


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
    except Exception as error:
        return TrialFailed(job.trial, job.attempt, describe_error(error))
    return TrialEnded(job.trial, job.attempt, time.perf_counter() - started)


def _train_execution(setup: SearchSetup, job: TrialJob, execution: int, report_epoch: ReportEpoch) -> None:
    setup = with_data(setup)
    recipe, data = setup.recipe, setup.data
    assert data is not None
    values = complete(recipe.declared(), job.values, unread_names(type(recipe)))
    data = with_class_weight(recipe, data, values)
    values = values_for(data, values)
    phases = recipe_phases(recipe, values, data)
    values = phase_values(values, phases)
    seed = job.seed + execution - 1
    gc.collect()  # the graphs of an earlier execution hold its data in reference cycles
    runtime.start_session(seed, setup.precision)
    with recipe_errors(recipe, "building its model"):
        model = recipe.build(values, data)

    progress = _ContinuedProgress(
        job.objective, keep_last=data.validation is None, earlier=job.earlier_epochs
    )
    state: TrainingState | None = None

    def on_epoch_end(epoch: Epoch, loop: TrainingLoop) -> None:
        nonlocal state
        if job.save_weights_to:
            state = loop.read_state(progress)
        if not report_epoch(EpochEnded(job.trial, job.attempt, execution, epoch)):
            raise _Stopped

    with recipe_errors(recipe, "training its model"):
        callbacks = recipe.callbacks(values, data)

        def make_loop() -> TrainingLoop:
            train = training_split(setup)
            return make_training_loop(
                model,
                train,
                validation=validation_split(setup),
                outputs=infer_outputs(model, data, train.inputs),
                batch_size=values.batch_size,
                seed=seed,
                listener=NullProgress(),
                class_weight=data.class_weight,
                callbacks=callbacks,
                extra_scores=recipe.scores,
                epochs=job.epochs,
            )

        if job.load_weights_from:
            state = load_state(job.load_weights_from, model)
        run_phases(
            phases,
            model,
            make_loop,
            progress=progress,
            epochs=values.epochs if phases[0].name and job.all_phases else job.epochs,
            patience=job.patience,
            on_epoch_end=on_epoch_end,
            listener=NullProgress(),
            state=state,
        )
    if job.save_weights_to and state is not None:
        save_state(state, job.save_weights_to)


def _load_setup(file: Path) -> SearchSetup:
    runtime.import_keras()
    return SearchSetup.load(file)


if __name__ == "__main__":
    setup_file, descriptor, threads = sys.argv[1:]
    local_executor.run_worker(
        train_trial, _load_setup, setup_file=setup_file, descriptor=descriptor, threads=threads
    )

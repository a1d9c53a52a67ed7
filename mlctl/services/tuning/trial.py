"""One trial of a search, trained in a worker's process."""

from __future__ import annotations

import gc
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mlctl.adapters.keras import programs, runtime, tensors
from mlctl.adapters.keras.training_loop import Epoch, Loop, TrainingProgress
from mlctl.adapters.search import local_executor
from mlctl.adapters.search.messages import EpochEnded, Setup, Tell, TrialEnded, TrialFailed, TrialJob
from mlctl.domain.progress import NullProgress
from mlctl.errors import MlctlError
from mlctl.recipes import Values
from mlctl.scores import scores
from mlctl.services.recipes.prepare import recipe_errors


class _Stopped(BaseException):
    """The search has told this trial to stop.

    No Exception: a trial that is stopped is no failure of its recipe, and must not be blamed on it.
    """


@dataclass
class _Continued(TrainingProgress):
    """Progress that goes on from epochs which another trial has trained; the best is one of its own."""

    after: tuple[Epoch, ...] = field(default=())

    def __post_init__(self) -> None:
        self.epochs.extend(self.after)


def train_trial(setup: Setup, job: TrialJob, tell: Tell) -> TrialEnded | TrialFailed:
    """Train a trial; `tell` is called after each epoch, and stops it by answering False."""
    started = time.perf_counter()
    try:
        for execution in range(1, job.executions + 1):
            _train_once(setup, job, execution, tell)
    except _Stopped:
        pass
    except MlctlError as error:
        return TrialFailed(job.trial, job.attempt, error.message)
    except Exception as error:
        return TrialFailed(job.trial, job.attempt, " ".join(f"{type(error).__name__}: {error}".split())[:300])
    return TrialEnded(job.trial, job.attempt, time.perf_counter() - started)


def _train_once(setup: Setup, job: TrialJob, execution: int, tell: Tell) -> None:
    recipe, data = setup.recipe, setup.data
    classes = len(data.classes)
    values = Values(job.values).on(len(data.train))
    seed = job.seed + execution - 1
    gc.collect()  # an earlier execution's data is held by the cycles of its graphs
    runtime.begin(seed, setup.precision)
    with recipe_errors(recipe, "building its model"):
        model = recipe.build(values, data)
    targets = programs.targets_for(model, data.train.targets, classes)
    wanted = programs.targets_for(model, data.validation.targets, classes)

    def ended(epoch: Epoch) -> None:
        if not tell(EpochEnded(job.trial, job.attempt, execution, epoch)):
            raise _Stopped

    with recipe_errors(recipe, "training its model"):
        program = programs.program_for(model, _resident(setup.train_inputs), targets, values.batch_size)
        if job.weights_from:
            _load_weights(model, job.weights_from)
        loop = Loop(
            model, program, programs.predictor_for(model, setup.validation_inputs),
            (setup.validation_inputs, wanted),
            lambda predictions: scores(data.validation.targets, predictions, classes), seed, NullProgress(),
        )  # fmt: skip
        loop.run(_Continued(job.objective, after=job.after), job.epochs, job.patience, ended)
    if job.weights_to:
        _save_weights(model, job.weights_to)


_held: dict[int, Any] = {}


def _resident(inputs: Any) -> Any:
    """Return inputs as a tensor that all trials of this process use: each one's own copy outlives the trial."""
    if not isinstance(inputs, np.ndarray):
        return inputs
    if id(inputs) not in _held:
        _held[id(inputs)] = tensors.resident(inputs)
    return _held[id(inputs)]


def _save_weights(model: Any, path: str) -> None:
    state = [np.asarray(one) for one in (*model.get_weights(), *_optimizer_state(model))]
    part = Path(path + ".part")
    with part.open("wb") as file:
        np.savez(file, *state)
    part.replace(path)


def _load_weights(model: Any, path: str) -> None:
    with np.load(path) as saved:
        state = [saved[name] for name in saved.files]
    count = len(model.get_weights())
    model.set_weights(state[:count])
    for variable, value in zip(model.optimizer.variables, state[count:], strict=True):
        variable.assign(value)


def _optimizer_state(model: Any) -> list[Any]:
    return [one.numpy() for one in model.optimizer.variables]


if __name__ == "__main__":
    local_executor.be_worker(train_trial, *sys.argv[1:])

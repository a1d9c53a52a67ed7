"""From the best trials to one model: how long to train, and the training on all data that may be used.

Where the recipe has a test split, and neither the search nor a schedule has set the number of epochs, each of
the best trials is trained once more until its validation loss stands still; the winner's values are then
trained on training and validation data together, for 1.2 times the best epoch: there is more data to go through.
Elsewhere the best trial is trained as `mlctl train` would, and its best epoch kept.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import pandas as pd

from mlctl.adapters.keras import programs
from mlctl.adapters.keras.checkpoints import Checkpoint
from mlctl.adapters.keras.training_loop import Epoch, Loop, TrainingProgress
from mlctl.adapters.runlog.recorder import Recorder, now_ms
from mlctl.adapters.search.local_executor import Executor
from mlctl.adapters.search.messages import EpochEnded, TrialEnded, TrialFailed, TrialJob, WorkerLost
from mlctl.data.dataset import Split
from mlctl.data.sparse_bags import SparseBags
from mlctl.domain.objective import Objective
from mlctl.domain.progress import ProgressListener
from mlctl.domain.tune import DONE, FAILED, STOPPED
from mlctl.errors import ChildFailedError
from mlctl.services.recipes.prepare import PreparedData, recipe_errors
from mlctl.services.training.request import Request
from mlctl.services.training.training import Training
from mlctl.services.tuning.search_loop import TIME_IS_UP, Record
from mlctl.services.tuning.trial_state import TrialState
from mlctl.services.workflows.tune import TuneJob
from mlctl.settings import Settings

MOST_EPOCHS, PATIENCE, MORE_DATA = 100, 10, 1.2
VALIDATION_LOSS = Objective("val_loss", maximize=False)


@dataclass(frozen=True)
class Chosen:
    """The values of the final model. `epochs` is set where it is trained on all data, for so many epochs;

    `reached` is then what validation said of these values before they were trained on it.
    """

    trial: str
    values: Mapping[str, Any]
    epochs: int | None = None
    reached: Mapping[str, float] = dataclasses.field(default_factory=dict)


class Finalists:
    """The best trials, trained until their validation loss stands still."""

    def __init__(
        self,
        asked: TuneJob,
        executor: Executor,
        record: Record,
        listener: ProgressListener,
        late: Callable[[], bool],
    ) -> None:
        """`late` says whether the search's time is up: then no finalist is trained any further."""
        self.asked = asked
        self.executor = executor
        self.record = record
        self.listener = listener
        self.late = late
        self._cut = False

    def chosen(self, best: Sequence[TrialState], prepared: PreparedData) -> Chosen:
        """Return the values of the final model; `best` are the trials, best first."""
        first = best[0]
        whole = {**self.asked.fixed, **_own(first.values)}
        refits = (
            self.asked.request.finalists
            and prepared.data.test is not None
            and "epochs" in self.asked.fixed
            and whole["schedule"] == "constant"
        )
        if not refits:
            return Chosen(first.trial, whole)
        self._cut = self.late()
        if self._cut:
            return self._as_it_was(first, whole)
        names = {f"final-{one.trial}": one for one in best[: self.asked.request.finalists]}
        self.listener.stage(f"training {len(names)} finalist(s) until the validation loss stands still")
        curves = self._trained(names)
        if self._cut:
            return self._as_it_was(first, whole)
        objective = self.asked.objective
        found: Chosen | None = None
        for name, state in names.items():
            numbers = [one for one in curves[name] if math.isfinite(one.metrics["val_loss"])]
            if not numbers:
                continue
            kept = min(numbers, key=lambda one: one.metrics["val_loss"])
            candidate = Chosen(
                state.trial, {**self.asked.fixed, **_own(state.values)}, math.ceil(MORE_DATA * kept.number), kept.metrics
            )  # fmt: skip
            metric = objective.metric
            if found is None or objective.better(candidate.reached[metric], found.reached[metric]):
                found = candidate
        if found is None:
            raise ChildFailedError("every finalist failed", "mlctl runs list shows why")
        return found

    def _as_it_was(self, best: TrialState, whole: Mapping[str, Any]) -> Chosen:
        self.listener.message(
            f"{TIME_IS_UP} before the finalists ended: the model is trained as the best trial was"
        )
        return Chosen(best.trial, whole)

    def _trained(self, names: Mapping[str, TrialState]) -> dict[str, list[Epoch]]:
        """Train finalists as the search's executor has room; return each one's epochs."""
        curves: dict[str, list[Epoch]] = {name: [] for name in names}
        waiting, running, attempts = list(names), set[str](), dict.fromkeys(names, 0)
        while running or (waiting and not self._cut):
            while waiting and not self._cut and self.executor.free():
                name = waiting.pop(0)
                attempts[name] += 1
                curves[name] = []
                running.add(name)
                values = {**self.asked.fixed, **_own(names[name].values), "epochs": MOST_EPOCHS}
                self.record.begin(name, values, now_ms())
                self.executor.start(TrialJob(
                    name, attempts[name], values, VALIDATION_LOSS, MOST_EPOCHS, self.asked.request.seed,
                    waits=True, patience=PATIENCE,
                ))  # fmt: skip
            for event in self.executor.events(0.5):
                name = event.trial
                if isinstance(event, EpochEnded):
                    curves[name].append(event.epoch)
                    self.record.epoch(name, event.epoch.number, event.epoch.metrics, now_ms())
                    self._cut = self._cut or self.late()
                    self.executor.answer(name, not self._cut)
                    continue
                running.discard(name)
                if isinstance(event, WorkerLost) and attempts[name] < 3:
                    waiting.append(name)
                    continue
                why = (
                    event.error
                    if isinstance(event, TrialFailed)
                    else ""
                    if isinstance(event, TrialEnded)
                    else event.why
                )
                state = FAILED if why else STOPPED if self._cut else DONE
                tags = {"mlctl.state": state, **({"mlctl.error": why} if why else {})}
                if why:
                    curves[name] = []
                self.record.end(name, "FAILED" if why else "FINISHED", {}, 0, tags, now_ms())
        return curves


@dataclass
class _LastEpoch(TrainingProgress):
    """Progress of a training without validation: the last epoch is kept."""

    def add(self, epoch: Epoch, weights: Any) -> None:
        """Add an epoch, and keep its weights."""
        self.epochs.append(epoch)
        self.best, self.best_weights = epoch, weights()


class Final(Training):
    """The training of the chosen values, into the search's own run."""

    def __init__(
        self, settings: Settings, request: Request, prepared: PreparedData, listener: ProgressListener, objective: Objective,
        chosen: Chosen,
    ) -> None:  # fmt: skip
        values = prepared.recipe.values(
            {**chosen.values, **({"epochs": chosen.epochs} if chosen.epochs else {})}
        )
        data = prepared.data
        if chosen.epochs:
            data = dataclasses.replace(data, train=_together(data.train, data.validation))
        super().__init__(
            settings, request, PreparedData(prepared.recipe, values.on(len(data.train)), data, prepared.encoder), listener, None,
            objective,
        )  # fmt: skip
        self.chosen = chosen

    def _train(self, model: keras.Model, recorder: Recorder, found: Checkpoint | None) -> None:
        if not self.chosen.epochs:
            super()._train(model, recorder, found)
            return
        values = self.prepared.values
        targets = programs.targets_for(model, self.data.train.targets, len(self.data.classes))
        with recipe_errors(self.recipe, "training its model"):
            program = programs.program_for(
                model, self.prepared.encoded(self.data.train), targets, values.batch_size
            )
            loop = Loop(
                model, program, programs.predictor_for(model, self._validation_inputs), None, lambda _: {}, self.request.seed, self.listener
            )  # fmt: skip
            self.progress = _LastEpoch(Objective("loss", maximize=False))
            self.listener.training_started(
                self.recipe.name, values.epochs, program.steps, self.progress.objective
            )
            loop.run(self.progress, values.epochs, None, lambda one: None)

    def _record(self, recorder: Recorder, epoch: Epoch) -> None:
        """Nothing yet: interrupted and resumed with more trials, the search may train other values."""

    def _settle(self, recorder: Recorder) -> None:
        """Record the values that the model has, which the store takes once, and its epochs."""
        recorder.params(self._params)
        for epoch in self.progress.epochs:
            recorder.metrics(epoch.metrics, step=epoch.number)

    def _summary(self, best: Epoch, split_name: str, reached: Mapping[str, float]) -> dict[str, float]:
        summary = super()._summary(best, split_name, reached)
        # what validation said of these values, before they were trained on it as well
        summary.update({f"best_{k}": v for k, v in self.chosen.reached.items() if k.startswith("val_")})
        return summary


def _own(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a trial's values without hyperband's own notes."""
    return {name: value for name, value in values.items() if not name.startswith("tuner/")}


def _together(first: Split, second: Split) -> Split:
    inputs: Any
    if isinstance(first.inputs, SparseBags):
        inputs = SparseBags.concatenate(first.inputs, second.inputs)
    elif isinstance(first.inputs, pd.DataFrame):
        inputs = pd.concat([first.inputs, second.inputs], ignore_index=True)
    else:
        inputs = np.concatenate((first.inputs, second.inputs))
    return Split(inputs, np.concatenate((first.targets, second.targets)))

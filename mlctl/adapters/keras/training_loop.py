"""The training loop: epochs in pieces, one validation pass after each, and the weights of the best epoch."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np

from mlctl.adapters.keras.averaged_weights import AveragedWeights
from mlctl.adapters.keras.callbacks import NO_CALLBACKS, TrainingCallbacks
from mlctl.adapters.keras.checkpoints import Checkpoint, TrainingState
from mlctl.adapters.keras.predictors import Evaluation, Predictor
from mlctl.adapters.keras.programs import EpochProgram
from mlctl.adapters.keras.training_state import find_optimizers, read_state, write_state
from mlctl.data.dataset import Split
from mlctl.data.trees import count_answered_rows
from mlctl.domain.metric_names import describe_changes, with_recordable_names
from mlctl.domain.objective import Objective
from mlctl.domain.progress import Epoch, ProgressListener
from mlctl.domain.selection import Scored, is_preferred
from mlctl.errors import BadDataError, UsageError

PIECE_S = 0.2  # target duration of a piece: progress is shown and Ctrl-C is handled between pieces
MAX_PIECE_GROWTH = 8.0

Array = np.ndarray[Any, Any]
ScoreFunction = Callable[[Evaluation], Mapping[str, float]]


@dataclass
class TrainingProgress:
    """Every epoch of a training, and the weights of the best one by the objective.

    Attributes:
        objective: selects the best epoch.
        keep_last: the last epoch counts as the best one, because there are no validation rows.
        epochs: all epochs so far.
        best: the best epoch.
        best_weights: the model's weights after the best epoch.
        has_phases: the recipe has phases; each epoch's metrics then have the number of its phase, from 1.
        phase: number of the present phase; phases count from 0.
        phase_start: number of epochs before the present phase.
        over: a callback has stopped the phase.
        validation_rows: number of validation rows with one answer each, for the choice among near-ties; 0: unknown.
    """

    objective: Objective
    keep_last: bool = False
    epochs: list[Epoch] = field(default_factory=list)
    best: Epoch | None = None
    best_weights: list[Array] = field(default_factory=list)
    has_phases: bool = False
    phase: int = 0
    phase_start: int = 0
    over: bool = False
    validation_rows: int = 0
    _top: float = math.nan  # the best value of the objective so far

    def is_best(self, metrics: Mapping[str, float]) -> bool:
        """Return whether an epoch with these metrics is the best so far."""
        if self.keep_last or self.best is None:
            return True
        return self.objective.metric in metrics and self._is_preferred(metrics)

    def _is_preferred(self, metrics: Mapping[str, float]) -> bool:
        """Return whether these metrics are better than those of the best epoch; see `selection`."""
        assert self.best is not None
        kept, found = (
            Scored.of(values, self.objective, self.validation_rows) for values in (self.best.metrics, metrics)
        )
        return is_preferred(found, kept, self.objective, self._top)

    def _note_score(self, epoch: Epoch) -> None:
        score = epoch.metrics.get(self.objective.metric, math.nan)
        if self.objective.is_better(score, self._top):
            self._top = score

    def add(self, epoch: Epoch, get_weights: Callable[[], list[Array]]) -> None:
        """Add an epoch; keep its weights if it is the best so far.

        Raises UsageError if training does not measure the objective.
        """
        if self.objective.metric not in epoch.metrics and not self.keep_last:
            raise UsageError(
                f"training does not measure the objective {self.objective.metric!r}",
                f"metrics: {', '.join(epoch.metrics)}",
            )
        self.epochs.append(epoch)
        if self.is_best(epoch.metrics):
            self.best, self.best_weights = epoch, get_weights()
        self._note_score(epoch)

    def make_checkpoint(self, state: TrainingState) -> Checkpoint:
        """Return everything that is needed to resume after the last epoch."""
        assert self.best is not None
        return Checkpoint(
            epoch=self.epochs[-1].number,
            state=state,
            epochs=[
                [epoch.number, dict(epoch.metrics), epoch.seconds, epoch.validation_rows]
                for epoch in self.epochs
            ],
            best_epoch=self.best.number,
            best_weights=self.best_weights,
        )

    def restore(self, checkpoint: Checkpoint) -> None:
        """Set progress to a checkpoint; the model gets its state when the loop runs."""
        self.epochs = [Epoch(*values) for values in checkpoint.epochs]
        for epoch in self.epochs:
            self._note_score(epoch)
        self.best = next(epoch for epoch in self.epochs if epoch.number == checkpoint.best_epoch)
        self.best_weights = list(checkpoint.best_weights)

    def start_phase(self, number: int) -> None:
        """Begin a phase, or go on with it if it has epochs already."""
        self.phase, self.over = number, False
        self.phase_start = sum(epoch.metrics.get("phase", 1) <= number for epoch in self.epochs)

    def has_stalled(self, patience: int | None) -> bool:
        """Return whether `patience` epochs of this phase have passed without a better one."""
        if not patience or self.best is None or self.keep_last:
            return False
        return self.epochs[-1].number - max(self.best.number, self.phase_start) >= patience


@dataclass(kw_only=True)
class TrainingLoop:
    """Trains one model.

    Attributes:
        model: the compiled model.
        program: trains on the data, in batches.
        predictor: predicts validation inputs.
        validation: encoded inputs, targets and weights of the validation rows, or None.
        score: returns scores of the predictions for the validation rows.
        seed: determines, with the epoch's number, the order of the rows.
        listener: is told about progress.
        callbacks: Keras callbacks, whose hooks are called as `Model.fit` calls them.
        whole: the model whose weights are kept, if `model` has only those of its layers that are trained.
    """

    model: keras.Model
    program: EpochProgram
    predictor: Predictor
    validation: Split | None
    score: ScoreFunction
    seed: int
    listener: ProgressListener
    callbacks: TrainingCallbacks = NO_CALLBACKS
    whole: keras.Model | None = None
    _piece: int = 1  # number of batches that are trained without a break
    _validated_rows: int | None = None  # that have one answer each

    def __post_init__(self) -> None:
        self._averages = AveragedWeights(self.model)
        self._optimizers = find_optimizers(self.model)

    def run(
        self,
        progress: TrainingProgress,
        *,
        epochs: int,
        patience: int | None,
        on_epoch_end: Callable[[Epoch], None],
        state: TrainingState | None = None,
    ) -> TrainingProgress:
        """Train from the end of `progress` up to epoch `epochs`, or until `patience` epochs bring nothing better.

        `state` is that of an earlier training, which continues. Callbacks may end the training before.
        Raises BadDataError if the loss is not finite.
        """
        if self._averages:
            self.listener.message("the averaged weights (use_ema) are validated, kept and logged")
        self.callbacks.train_begin(resumed=state is not None)
        if state is not None:
            write_state(state, self.model, self.callbacks)
            progress.over = state.over
        logs: Mapping[str, float] | None = progress.epochs[-1].metrics if progress.epochs else None
        while len(progress.epochs) < epochs and not progress.over and not progress.has_stalled(patience):
            epoch = self._run_epoch(progress)
            if epoch is None:
                break
            logs = epoch.metrics
            on_epoch_end(epoch)
            self.listener.epoch_ended(epoch.number, epoch.metrics, progress.best or epoch, epoch.seconds)
        self.callbacks.train_end(logs)
        return progress

    def read_state(self, progress: TrainingProgress) -> TrainingState:
        """Return everything that decides how this training goes on."""
        return read_state(self.model, self.callbacks, phase=progress.phase, over=progress.over)

    def _run_epoch(self, progress: TrainingProgress) -> Epoch | None:
        """Train an epoch and add it to `progress`; return None if a callback ended the training at a bad loss."""
        number, started = len(progress.epochs) + 1, time.perf_counter()
        self.model.reset_metrics()
        self.callbacks.epoch_begin(number)
        rates = {path: _learning_rate(optimizer) for path, optimizer in self._optimizers.items()}
        self.program.begin_epoch(
            np.random.default_rng([self.seed, number]).permutation(self.program.rows), number
        )
        self._train(number)
        logs: dict[str, Any] = dict(self.program.metrics())
        if self.validation is not None:
            logs.update(self._validate(self.validation))
            progress.validation_rows = self._validated_rows or 0
        get_weights = self._weights_of(logs, progress)
        self.callbacks.epoch_end(number, logs)
        progress.over = self.callbacks.stop_training
        if not self._is_finite(logs, number, progress):
            return None
        metrics = with_recordable_names({**_numbers(logs), **self._used_rates(rates)})
        if not progress.epochs and (text := describe_changes(logs)):
            self.listener.message(text)
        if progress.has_phases:
            metrics["phase"] = progress.phase + 1
        epoch = Epoch(number, metrics, time.perf_counter() - started, progress.validation_rows)
        progress.add(epoch, get_weights)
        return epoch

    def _weights_of(self, logs: Mapping[str, float], progress: TrainingProgress) -> Callable[[], list[Array]]:
        """Return a function for the validated weights; callbacks at the end of an epoch may change the model."""
        whole = self.whole or self.model
        get_weights = self._averages.get_weights if self._averages else whole.get_weights
        if not self.callbacks.callbacks:
            return get_weights
        is_measured = progress.objective.metric in logs  # else a callback may add it to the logs
        weights = get_weights() if progress.is_best(logs) or not is_measured else []
        return lambda: weights

    def _is_finite(self, logs: Mapping[str, Any], number: int, progress: TrainingProgress) -> bool:
        """Return whether the loss is a number; raise BadDataError if it is not, and no callback has handled it."""
        names = ["loss"] if "loss" in logs else [name for name in logs if name.endswith("loss")]
        for name in names:
            if name.startswith("val_") or np.isfinite(logs[name]):
                continue
            text = f"the {name} is {logs[name]} in epoch {number}"
            if progress.over and progress.best is not None:
                self.listener.message(f"{text}: a callback has ended the training")
                return False
            raise BadDataError(
                f"{text}: training has diverged",
                "lower --learning-rate, or check the data for extreme values",
            )
        return True

    def _train(self, number: int) -> None:
        done, steps = 0, self.program.steps
        while done < steps:
            stop = min(done + self._piece_size(), steps)
            self.callbacks.train_batch_begin(done)
            started = time.perf_counter()
            self.program.train(done, stop)
            seconds = time.perf_counter() - started
            self.callbacks.train_batch_end(stop - 1, lambda: dict(self.program.metrics()))
            done = stop
            self.listener.step(number, done, steps, self._running_loss)
            if self.callbacks.stop_training:
                return
            # pieces only grow: the first one includes the compilation, and would shrink the following ones
            if seconds < PIECE_S:
                growth = min(MAX_PIECE_GROWTH, PIECE_S / seconds)
                self._piece = min(steps, max(self._piece + 1, int(self._piece * growth)))

    def _running_loss(self) -> float:
        return float(self.program.metrics().get("loss", math.nan))

    def _piece_size(self) -> int:
        """Return the number of batches until the next break: callbacks can ask for one after every batch."""
        return int(self.model.steps_per_execution) if self.callbacks.needs_batches else self._piece

    def _validate(self, validation: Split) -> dict[str, float]:
        """Return `val_` metrics from one pass: the model's own, and those of `score`."""
        self.callbacks.test_begin()
        swaps = bool(self._averages) and not self.callbacks.swaps_averages
        with self._averages.in_model() if swaps else contextlib.nullcontext():
            hooks = self.callbacks if self.callbacks.has_test_batch_hooks else None
            evaluation = self.predictor.evaluate(validation, hooks=hooks)
        if self._validated_rows is None:
            self._validated_rows = count_answered_rows(evaluation.targets)
        logs = dict(evaluation.metrics)
        self.callbacks.test_end(logs)
        metrics = {f"val_{name}": value for name, value in logs.items()}
        for name, value in self.score(evaluation).items():
            metrics.setdefault(f"val_{name}", value)
        return metrics

    def _used_rates(self, rates: Mapping[str, float]) -> dict[str, float]:
        """Return the learning rates of the optimizers that were used, the first one as `learning_rate`."""
        used = {
            path: rate
            for path, rate in rates.items()
            if len(rates) == 1 or int(self._optimizers[path].iterations)
        }
        return {
            "learning_rate" if not number else f"learning_rate_{path.removeprefix('model.')}": rate
            for number, (path, rate) in enumerate(used.items())
        }


def _learning_rate(optimizer: Any) -> float:
    """Return the present learning rate; an optimizer of several has that of the first one."""
    optimizer = next(iter(getattr(optimizer, "optimizers", [optimizer])))
    return float(optimizer.learning_rate)


def _numbers(logs: Mapping[str, Any]) -> dict[str, float]:
    """Return the entries that are numbers: callbacks may add others."""
    numbers = {}
    for name, value in logs.items():
        with contextlib.suppress(TypeError, ValueError):
            numbers[name] = float(value)
    return numbers

"""The training loop: epochs in pieces, one validation pass after each, and the weights of the best epoch."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np

from mlctl.adapters.keras.checkpoints import Checkpoint
from mlctl.adapters.keras.programs import BatchPredictor, EpochProgram, current_metrics, predict
from mlctl.domain.objective import Objective
from mlctl.domain.progress import ProgressListener
from mlctl.errors import BadDataError, RefusedError, UsageError

PIECE_S = 0.2  # target duration of a piece: progress is shown and Ctrl-C is handled between pieces
MAX_PIECE_GROWTH = 8.0

Array = np.ndarray[Any, Any]
ScoreFunction = Callable[[Array], Mapping[str, float]]


@dataclass(frozen=True)
class Epoch:
    """One finished epoch. `number` counts from 1; `seconds` is its wall time, validation included."""

    number: int
    metrics: Mapping[str, float]
    seconds: float


@dataclass
class TrainingProgress:
    """Every epoch of a training, and the weights of the best one by the objective."""

    objective: Objective
    epochs: list[Epoch] = field(default_factory=list)
    best: Epoch | None = None
    best_weights: list[Array] = field(default_factory=list)

    def add(self, epoch: Epoch, get_weights: Callable[[], list[Array]]) -> None:
        """Add an epoch; keep its weights if it is the best so far.

        Raises UsageError if training does not measure the objective.
        """
        if self.objective.metric not in epoch.metrics:
            raise UsageError(
                f"training does not measure the objective {self.objective.metric!r}",
                f"metrics: {', '.join(epoch.metrics)}",
            )
        value = epoch.metrics[self.objective.metric]
        self.epochs.append(epoch)
        if self.best is None or self.objective.is_better(value, self.best.metrics[self.objective.metric]):
            self.best, self.best_weights = epoch, get_weights()

    def make_checkpoint(self, model: keras.Model) -> Checkpoint:
        """Return everything that is needed to resume after the last epoch."""
        assert self.best is not None
        return Checkpoint(
            epoch=self.epochs[-1].number,
            variables=[np.array(variable) for variable in _variables(model)],
            epochs=[[epoch.number, dict(epoch.metrics), epoch.seconds] for epoch in self.epochs],
            best_epoch=self.best.number,
            best_weights=self.best_weights,
        )

    def restore(self, checkpoint: Checkpoint, model: keras.Model) -> None:
        """Set progress and model to a checkpoint; raise RefusedError if the model has other shapes."""
        variables = _variables(model)
        if [tuple(variable.shape) for variable in variables] != [
            array.shape for array in checkpoint.variables
        ]:
            raise RefusedError(
                "the recipe builds another model than the one in the checkpoint",
                "start a new training: mlctl train",
            )
        for variable, value in zip(variables, checkpoint.variables, strict=True):
            variable.assign(value)
        self.epochs = [Epoch(number, metrics, seconds) for number, metrics, seconds in checkpoint.epochs]
        self.best = next(epoch for epoch in self.epochs if epoch.number == checkpoint.best_epoch)
        self.best_weights = list(checkpoint.best_weights)

    def has_stalled(self, patience: int | None) -> bool:
        """Return whether `patience` epochs have passed without a better one."""
        return bool(patience and self.best and self.epochs[-1].number - self.best.number >= patience)


def _variables(model: keras.Model) -> list[keras.Variable]:
    """Return weights, seeds of random layers and the optimizer's state; metrics restart with every epoch."""
    return [*model.variables, *model.optimizer.variables]


@dataclass(kw_only=True)
class TrainingLoop:
    """Trains one model.

    Attributes:
        model: the compiled model.
        program: trains on the data, in batches.
        predictor: predicts validation inputs.
        validation: encoded inputs and targets of the validation rows, or None.
        score: returns metrics of the predictions (n, k) for the validation rows.
        seed: determines, with the epoch's number, the order of the rows.
        listener: is told about progress.
    """

    model: keras.Model
    program: EpochProgram
    predictor: BatchPredictor
    validation: tuple[Any, Array] | None
    score: ScoreFunction
    seed: int
    listener: ProgressListener
    _piece: int = 1  # number of batches that are trained without a break

    def run(
        self,
        progress: TrainingProgress,
        *,
        epochs: int,
        patience: int | None,
        on_epoch_end: Callable[[Epoch], None],
    ) -> TrainingProgress:
        """Train from the end of `progress` up to epoch `epochs`, or until `patience` epochs bring nothing better.

        Raises BadDataError if the loss is not finite.
        """
        while len(progress.epochs) < epochs and not progress.has_stalled(patience):
            epoch = self._run_epoch(len(progress.epochs) + 1)
            if not np.isfinite(epoch.metrics["loss"]):
                raise BadDataError(
                    f"the loss is {epoch.metrics['loss']} in epoch {epoch.number}: training has diverged",
                    "lower --learning-rate, or check the data for extreme values",
                )
            progress.add(epoch, self.model.get_weights)
            on_epoch_end(epoch)
            best = progress.best.number if progress.best else epoch.number
            self.listener.epoch_ended(epoch.number, epoch.metrics, best, epoch.seconds)
        return progress

    def _run_epoch(self, number: int) -> Epoch:
        started = time.perf_counter()
        learning_rate = float(self.model.optimizer.learning_rate)
        order = np.random.default_rng([self.seed, number]).permutation(self.program.rows)
        self.program.begin_epoch(order)
        self.model.reset_metrics()
        self._train(number)
        metrics = dict(current_metrics(self.model))
        if self.validation is not None:
            metrics.update(self._validate(*self.validation))
        metrics["learning_rate"] = learning_rate
        return Epoch(number, metrics, time.perf_counter() - started)

    def _train(self, number: int) -> None:
        done, steps = 0, self.program.steps
        while done < steps:
            stop = min(done + self._piece, steps)
            started = time.perf_counter()
            self.program.train(done, stop)
            seconds = time.perf_counter() - started
            done = stop
            self.listener.step(number, done, steps)
            # pieces only grow: the first one includes the compilation, and would shrink the following ones
            if seconds < PIECE_S:
                growth = min(MAX_PIECE_GROWTH, PIECE_S / seconds)
                self._piece = min(steps, max(self._piece + 1, int(self._piece * growth)))

    def _validate(self, inputs: Any, targets: Array) -> dict[str, float]:
        """Return `val_` metrics from one pass: the model's own, and those of `score`."""
        self.model.reset_metrics()
        predictions, loss = predict(self.predictor, inputs, targets)
        metrics = {f"val_{name}": value for name, value in current_metrics(self.model).items()}
        metrics["val_loss"] = loss
        for name, value in self.score(predictions).items():
            metrics.setdefault(f"val_{name}", value)
        return metrics

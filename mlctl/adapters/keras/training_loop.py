"""The training loop: epochs in pieces, one validation pass, the best epoch kept."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np

from mlctl.adapters.keras.checkpoints import Checkpoint
from mlctl.adapters.keras.programs import Predictor, Program, predict, results
from mlctl.domain.objective import Objective
from mlctl.domain.progress import ProgressListener
from mlctl.errors import BadDataError, RefusedError, UsageError

PIECE_S = 0.2  # how long a piece should take: progress is shown, and Ctrl-C heard, between pieces

Array = np.ndarray[Any, Any]
Scores = Callable[[Array], Mapping[str, float]]


@dataclass(frozen=True)
class Epoch:
    """One finished epoch; `number` counts from 1."""

    number: int
    metrics: Mapping[str, float]
    seconds: float


@dataclass
class TrainingProgress:
    """How far a training has come: every epoch, and the weights of the best by the objective."""

    objective: Objective
    epochs: list[Epoch] = field(default_factory=list)
    best: Epoch | None = None
    best_weights: list[Array] = field(default_factory=list)

    def add(self, epoch: Epoch, weights: Callable[[], list[Array]]) -> None:
        """Add an epoch; where it is the best so far, keep its weights."""
        if self.objective.metric not in epoch.metrics:
            raise UsageError(
                f"the objective {self.objective.metric!r} is none of what training measures",
                f"there are: {', '.join(epoch.metrics)}",
            )
        value = epoch.metrics[self.objective.metric]
        self.epochs.append(epoch)
        if self.best is None or self.objective.better(value, self.best.metrics[self.objective.metric]):
            self.best, self.best_weights = epoch, weights()

    def state(self, model: keras.Model) -> Checkpoint:
        """Return all that going on from here needs."""
        assert self.best is not None
        return Checkpoint(
            self.epochs[-1].number,
            [np.array(variable) for variable in _variables(model)],
            [[epoch.number, dict(epoch.metrics), epoch.seconds] for epoch in self.epochs],
            self.best.number,
            self.best_weights,
        )

    def restore(self, checkpoint: Checkpoint, model: keras.Model) -> None:
        """Go back to where a checkpoint was written; raises RefusedError where the model is another."""
        variables = _variables(model)
        if [tuple(one.shape) for one in variables] != [one.shape for one in checkpoint.variables]:
            raise RefusedError(
                "the checkpoint is of another model than the recipe builds now", "train anew: mlctl train"
            )
        for variable, value in zip(variables, checkpoint.variables, strict=True):
            variable.assign(value)
        self.epochs = [Epoch(number, metrics, seconds) for number, metrics, seconds in checkpoint.epochs]
        self.best = next(epoch for epoch in self.epochs if epoch.number == checkpoint.best)
        self.best_weights = list(checkpoint.best_weights)

    def stalled(self, patience: int | None) -> bool:
        """Whether `patience` epochs have passed without a better one."""
        return bool(patience and self.best and self.epochs[-1].number - self.best.number >= patience)


def _variables(model: keras.Model) -> list[keras.Variable]:
    """Return weights, dropout's seeds and the optimizer's state; metrics begin anew with every epoch."""
    return [*model.variables, *model.optimizer.variables]


class Loop:
    """Training of one model by one program; `run` goes on from wherever `progress` is."""

    def __init__(
        self, model: keras.Model, program: Program, predictor: Predictor, validation: tuple[Any, Array] | None,
        scores: Scores, seed: int, listener: ProgressListener,
    ) -> None:  # fmt: skip
        self.model = model
        self.program = program
        self.predictor = predictor
        self.validation = validation
        self.scores = scores
        self.seed = seed
        self.listener = listener
        self._piece = 1

    def run(
        self, progress: TrainingProgress, epochs: int, patience: int | None, ended: Callable[[Epoch], None]
    ) -> TrainingProgress:
        """Train up to epoch `epochs`, telling of each as it ends; the data's order is set by seed and epoch.

        Raises BadDataError where the loss is no longer a number.
        """
        while len(progress.epochs) < epochs and not progress.stalled(patience):
            epoch = self._epoch(len(progress.epochs) + 1)
            if not np.isfinite(epoch.metrics["loss"]):
                raise BadDataError(
                    f"the loss is {epoch.metrics['loss']} in epoch {epoch.number}: training has diverged",
                    "lower --learning-rate, or look for absurd values in the data",
                )
            progress.add(epoch, self.model.get_weights)
            ended(epoch)
            best = progress.best.number if progress.best else epoch.number
            self.listener.epoch_ended(epoch.number, epoch.metrics, best, epoch.seconds)
        return progress

    def _epoch(self, number: int) -> Epoch:
        started = time.perf_counter()
        rate = float(self.model.optimizer.learning_rate)
        order = np.random.default_rng([self.seed, number]).permutation(self.program.rows)
        self.program.begin_epoch(order)
        self.model.reset_metrics()
        self._train(number)
        metrics = dict(results(self.model))
        if self.validation is not None:
            metrics.update(self._validated(*self.validation))
        metrics["learning_rate"] = rate
        return Epoch(number, metrics, time.perf_counter() - started)

    def _train(self, number: int) -> None:
        done, steps = 0, self.program.steps
        while done < steps:
            until = min(done + self._piece, steps)
            started = time.perf_counter()
            self.program.train(done, until)
            spent = time.perf_counter() - started
            done = until
            self.listener.step(number, done, steps)
            # the first piece holds the compilation, so that pieces only grow
            if spent < PIECE_S:
                self._piece = min(steps, max(self._piece + 1, int(self._piece * min(8.0, PIECE_S / spent))))

    def _validated(self, inputs: Any, targets: Array) -> dict[str, float]:
        """Return val_ metrics: the model's own, and those of the task, from one pass."""
        self.model.reset_metrics()
        predictions, loss = predict(self.predictor, inputs, targets)
        own = {f"val_{name}": value for name, value in results(self.model).items()}
        own["val_loss"] = loss
        for name, value in self.scores(predictions).items():
            own.setdefault(f"val_{name}", value)
        return own

"""The epochs of a model that a script trains: with any metrics, at any of its epochs, and losses that are no numbers."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mlctl.adapters.keras.training_loop import TrainingProgress
from mlctl.domain.progress import Epoch

Array = np.ndarray[Any, Any]
MAX_WATCHED_BYTES = 1 << 28  # of a model whose weights are compared with those of each epoch

Fingerprint = tuple[tuple[tuple[int, ...], int], ...]  # shape and checksum of each array


@dataclass
class FitProgress(TrainingProgress):
    """Every epoch of all calls of `fit` for one model.

    Attributes:
        fingerprints: Those of the weights after each epoch, by its number; of large models only of the best ones.
        last_fingerprint: That of the weights with which the last `fit` ended, before callbacks have restored others.
    """

    fingerprints: dict[int, Fingerprint] = field(default_factory=dict)
    last_fingerprint: Fingerprint | None = None

    def is_best(self, metrics: Mapping[str, float]) -> bool:
        """Return whether an epoch with these metrics is the best so far: epochs that do not measure it are not."""
        if self.keep_last or self.best is None:
            return True
        value, best = (found.get(self.objective.metric, math.nan) for found in (metrics, self.best.metrics))
        if math.isnan(value):
            return math.isnan(best)  # none has measured it so far: the last one
        return math.isnan(best) or self._is_preferred(metrics)

    def add(self, epoch: Epoch, get_weights: Callable[[], list[Array]]) -> None:
        """Add an epoch; keep its weights if it is the best so far."""
        self.epochs.append(epoch)
        is_best = self.is_best(epoch.metrics)
        size = sum(array.nbytes for array in self.best_weights)
        if is_best or size <= MAX_WATCHED_BYTES:
            weights = get_weights()
            self.fingerprints[epoch.number] = fingerprint(weights)
            if is_best:
                self.best, self.best_weights = epoch, weights
        self._note_score(epoch)

    def begin(self, metrics: Mapping[str, float]) -> None:
        """Choose the objective of a training loop of the script's own by its first metrics."""
        if self.objective.metric == "val_loss" and "val_loss" not in metrics:
            self.keep_last = True

    def last_weights(self, weights: list[Array]) -> None:
        """Note the weights with which a `fit` has ended."""
        self.last_fingerprint = fingerprint(weights)

    def measures_objective(self) -> bool:
        """Return whether an epoch has measured the objective."""
        metric = self.objective.metric
        return any(not math.isnan(epoch.metrics.get(metric, math.nan)) for epoch in self.epochs)

    def keep_last_epoch(self, weights: list[Array]) -> None:
        """Let the last epoch be the kept one."""
        self.keep_last, self.best, self.best_weights = True, self.epochs[-1], weights

    def epoch_of(self, wanted: Fingerprint) -> int | None:
        """Return the number of the last epoch that ended with these weights."""
        return next(
            (number for number, known in reversed(self.fingerprints.items()) if known == wanted), None
        )


def fingerprint(weights: list[Array]) -> Fingerprint:
    """Return numbers by which two lists of weights are told apart."""
    return tuple((array.shape, _checksum(array)) for array in map(np.asarray, weights))


def _checksum(array: Array) -> int:
    return zlib.crc32(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data) if array.size else 0

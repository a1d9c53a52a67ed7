"""The epochs of a training, and how services report its progress."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from mlctl.domain.objective import Objective


@dataclass(frozen=True)
class Epoch:
    """One finished epoch.

    `number` counts from 1; `seconds` is its wall time, validation included. `validation_rows` is the number of rows
    that its `val_` metrics were measured on, with one answer each; 0: unknown, or rows have several answers.
    """

    number: int
    metrics: Mapping[str, float]
    seconds: float
    validation_rows: int = 0


class ProgressListener(Protocol):
    """Receives the progress of a training. The command line shows it; tests record it."""

    def message(self, text: str) -> None:
        """Receive a message for the user."""

    def download(self, name: str, done: int, total: int | None) -> None:
        """Receive the number of bytes that a download has transferred; `total` is None if it is unknown."""

    def training_started(self, what: str, epochs: int, steps: int, objective: Objective) -> None:
        """A training of `epochs` epochs of `steps` batches starts; `what` names the recipe or model."""

    def step(self, epoch: int, done: int, steps: int, loss: Callable[[], float]) -> None:
        """`done` of the `steps` batches of an epoch are finished; epochs count from 1.

        `loss` returns the mean loss of the epoch so far, NaN if there is none: call it only if you show it.
        """

    def epoch_ended(self, epoch: int, metrics: Mapping[str, float], best: Epoch, seconds: float) -> None:
        """An epoch ended after `seconds`; `best` is the best epoch so far."""

    def stage(self, what: str) -> None:
        """A stage other than training starts, such as loading, logging or checking; `what` describes it."""


class PredictionListener(ProgressListener, Protocol):
    """Receives the progress of predictions too."""

    def predicted(self, rows: int, total: int | None) -> None:
        """Receive the number of rows that are predicted; `total` is None if it is unknown."""


class NullProgress:
    """A ProgressListener that ignores everything."""

    def message(self, text: str) -> None:
        """Ignore it."""

    def download(self, name: str, done: int, total: int | None) -> None:
        """Ignore it."""

    def training_started(self, what: str, epochs: int, steps: int, objective: Objective) -> None:
        """Ignore it."""

    def step(self, epoch: int, done: int, steps: int, loss: Callable[[], float]) -> None:
        """Ignore it."""

    def epoch_ended(self, epoch: int, metrics: Mapping[str, float], best: Epoch, seconds: float) -> None:
        """Ignore it."""

    def stage(self, what: str) -> None:
        """Ignore it."""

    def predicted(self, rows: int, total: int | None) -> None:
        """Ignore it."""


class WithoutMessages(NullProgress):
    """Passes on stages and downloads to a listener, but no messages."""

    def __init__(self, listener: ProgressListener) -> None:
        self._listener = listener

    def stage(self, what: str) -> None:
        """Pass it on."""
        self._listener.stage(what)

    def download(self, name: str, done: int, total: int | None) -> None:
        """Pass it on."""
        self._listener.download(name, done, total)

"""How a training reports its progress."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from mlctl.domain.objective import Objective


class ProgressListener(Protocol):
    """Who looks on while a model is trained; the command line shows it, a test records it."""

    def message(self, text: str) -> None:
        """Tell a thing worth knowing, once."""

    def download(self, name: str, done: int, total: int | None) -> None:
        """Tell how many bytes of a download have come."""

    def training_started(self, what: str, epochs: int, steps: int, objective: Objective) -> None:
        """Training begins: `epochs` epochs of `steps` batches."""

    def step(self, epoch: int, done: int, steps: int) -> None:
        """`done` of an epoch's batches are done; epochs count from 1."""

    def epoch_ended(self, epoch: int, metrics: Mapping[str, float], best: int, seconds: float) -> None:
        """An epoch has ended; `best` is the best one so far by the objective."""

    def stage(self, what: str) -> None:
        """Something other than training begins: loading, logging, checking."""


class NullProgress:
    """A Watcher that shows nothing."""

    def message(self, text: str) -> None:
        """Show nothing."""

    def download(self, name: str, done: int, total: int | None) -> None:
        """Show nothing."""

    def training_started(self, what: str, epochs: int, steps: int, objective: Objective) -> None:
        """Show nothing."""

    def step(self, epoch: int, done: int, steps: int) -> None:
        """Show nothing."""

    def epoch_ended(self, epoch: int, metrics: Mapping[str, float], best: int, seconds: float) -> None:
        """Show nothing."""

    def stage(self, what: str) -> None:
        """Show nothing."""

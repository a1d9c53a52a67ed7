"""Tells those who watch a run how far its running epoch is, if the epoch takes long."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping

from mlctl.adapters.runlog.recorder import Recorder
from mlctl.domain.objective import Objective
from mlctl.domain.progress import Epoch, ProgressListener

LONG_EPOCH_S = 10.0  # shorter epochs are watched by their ends
INTERVAL_S = 5.0


class RunningEpochListener:
    """A ProgressListener that passes everything on, and notes the batch and the loss of a long epoch in the run."""

    def __init__(self, listener: ProgressListener, recorder: Recorder) -> None:
        self._listener, self._recorder = listener, recorder
        self._epochs = 0
        self._is_noted = False
        self._next_note = time.monotonic() + LONG_EPOCH_S

    def message(self, text: str) -> None:
        """Pass it on."""
        self._listener.message(text)

    def download(self, name: str, done: int, total: int | None) -> None:
        """Pass it on."""
        self._listener.download(name, done, total)

    def training_started(self, what: str, epochs: int, steps: int, objective: Objective) -> None:
        """Pass it on."""
        self._epochs = epochs
        self._listener.training_started(what, epochs, steps, objective)

    def step(self, epoch: int, done: int, steps: int, loss: Callable[[], float]) -> None:
        """Pass it on; note it if the epoch takes long."""
        self._listener.step(epoch, done, steps, loss)
        now = time.monotonic()
        if now < self._next_note:
            return
        value = loss()
        text = f"epoch {epoch}/{self._epochs}, batch {done:,}/{steps:,}"
        self._recorder.note_running_epoch(text + (f", loss {value:.4g}" if math.isfinite(value) else ""))
        self._is_noted, self._next_note = True, now + INTERVAL_S

    def epoch_ended(self, epoch: int, metrics: Mapping[str, float], best: Epoch, seconds: float) -> None:
        """Pass it on; the note no longer holds."""
        if self._is_noted:
            self._recorder.note_running_epoch("")
        self._is_noted, self._next_note = False, time.monotonic() + LONG_EPOCH_S
        self._listener.epoch_ended(epoch, metrics, best, seconds)

    def stage(self, what: str) -> None:
        """Pass it on."""
        self._listener.stage(what)

"""Checkpoints of a script's trainings, and how each `fit` goes on after a crash.

    checkpoints/0/   of the script's first model: as in `adapters.keras.checkpoints`
    checkpoints/1/   of the second model

A checkpoint knows how many epochs each `fit` of its model has had. When the script is run again, a `fit` that had ended
returns its History at once, and the one that was interrupted continues after the checkpoint.
"""

from __future__ import annotations

import dataclasses
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlctl.domain.run_queries import CHECKPOINT_FOLDER
from mlctl.services.scripts.record import ScriptRecord

if TYPE_CHECKING:
    from mlctl.adapters.keras.checkpoints import Checkpoint, CheckpointWriter
    from mlctl.adapters.scripts.fit_state import FitCallbacks

KEPT_MODELS = 20  # of a script that trains many models, one after another
MAX_COST = 0.03  # part of the training's time that checkpoints may take
MODEL, FIT_EPOCHS = "model", "fit_epochs"  # of a checkpoint's values


@dataclasses.dataclass(frozen=True, kw_only=True)
class FitPlan:
    """What is left of a `fit`.

    Attributes:
        done: Logs of its epochs in an earlier process.
        is_over: Whether it had ended.
        restore: Sets model and callbacks to where they were.
    """

    done: Sequence[dict[str, float]] = ()
    is_over: bool = False
    restore: Callable[[Any], None] | None = None

    def resumed_order(self) -> AbstractContextManager[None]:
        """Return a block in which `fit` draws the order of its rows as after the epochs that are done."""
        if not self.done:
            return nullcontext()
        from mlctl.adapters.scripts.fit_state import after_epochs

        return after_epochs(len(self.done))


class FitCheckpoints:
    """Writes the checkpoints of one execution of a script, and plans each `fit` by those of an earlier one."""

    def __init__(self, record: ScriptRecord) -> None:
        self._record = record
        self._writers: dict[int, CheckpointWriter] = {}
        self._found: dict[int, Checkpoint | None] = {}
        self._fit_epochs: dict[int, list[int]] = {}  # of each model: how many epochs each fit has had
        self._written_at = 0.0
        self._cost_s = 0.0
        self._reported = False

    def plan(self, fitted: Any, first: int) -> FitPlan:
        """Return what is left of the present `fit` of a model (a `FittedModel`) that begins at epoch `first`."""
        from mlctl.adapters.scripts import fit_state

        number, fit = fitted.number, fitted.fits - 1
        is_new = number not in self._found
        checkpoint = self._checkpoint(number)
        counts = self._fit_epochs.setdefault(number, [])
        if is_new and checkpoint is not None:
            fitted.progress.restore(checkpoint)
        if checkpoint is None or fit > checkpoint.state.phase:
            counts.append(0)
            return FitPlan()
        earlier = [int(count) for count in checkpoint.state.values[FIT_EPOCHS]]
        start = sum(earlier[:fit])
        logs = [dict(metrics) for _, metrics, *_ in checkpoint.epochs[start : start + earlier[fit]]]
        counts.append(len(logs))
        state, model = checkpoint.state, fitted.model
        if fit < state.phase:
            fit_state.restore_weights(state, model)
            return FitPlan(done=logs, is_over=True)
        listener = self._record.listener
        if state.over:
            fit_state.restore_fit_state(state, model, fit_state.FitCallbacks([], listener))
            return FitPlan(done=logs, is_over=True)
        listener.message(f"resuming {model.name} after epoch {first + len(logs)} of its fit")

        def restore(callbacks: FitCallbacks) -> None:
            fit_state.restore_fit_state(state, model, callbacks)

        return FitPlan(done=logs, restore=restore)

    def epoch_ended(self, fitted: Any, callbacks: FitCallbacks, *, over: bool = False) -> None:
        """Write a checkpoint, unless checkpoints would take too much of the training's time; the last one is written."""
        from mlctl.adapters.scripts import fit_state

        number, fit = fitted.number, fitted.fits - 1
        counts = self._fit_epochs[number]
        if not over:
            counts[fit] += 1
        writer = self._writer(number)
        self._report(writer)
        now = time.monotonic()
        if not over and now - self._written_at < self._cost_s / MAX_COST:
            return
        state = fit_state.read_fit_state(
            fitted.model, callbacks, fit=fit, over=over, values={MODEL: number, FIT_EPOCHS: list(counts)}
        )
        if fitted.progress.best is None:
            return
        writer.write(fitted.progress.make_checkpoint(state))
        if over:
            writer.close()
            self._report(writer)
            del self._writers[number]
        self._written_at = time.monotonic()
        self._cost_s = max(self._written_at - now, writer.cost_s)

    def close(self) -> None:
        """Wait until everything is on disk."""
        for writer in self._writers.values():
            writer.close()
        self._writers.clear()

    # -- inside -------------------------------------------------------------------------------------------

    def _folder(self, number: int) -> Path:
        return self._record.recorder.journal.checkpoints / str(number)

    def _checkpoint(self, number: int) -> Checkpoint | None:
        """Return the newest checkpoint of an earlier process of this run."""
        if number not in self._found:
            self._found[number] = None
            if self._record.resume_point is not None:
                from mlctl.adapters.keras.checkpoints import load_newest

                self._sort_downloaded()
                self._found[number] = load_newest(self._folder(number))
        return self._found[number]

    def _sort_downloaded(self) -> None:
        """Move checkpoints that were downloaded from the store to the folder of their model."""
        from mlctl.adapters.keras.checkpoints import load_newest

        root = self._record.recorder.journal.checkpoints
        files = list(root.glob("*.ckpt"))
        newest = load_newest(root) if files else None
        if newest is not None:
            folder = self._folder(int(newest.state.values[MODEL]))
            folder.mkdir(parents=True, exist_ok=True)
            for file in files:
                file.rename(folder / file.name)

    def _writer(self, number: int) -> CheckpointWriter:
        if number not in self._writers:
            from mlctl.adapters.keras.checkpoints import CheckpointWriter

            recorder = self._record.recorder
            for earlier in [other for other in self._writers if other != number]:
                self._writers.pop(earlier).close()
            if number >= KEPT_MODELS:
                shutil.rmtree(self._folder(number - KEPT_MODELS), ignore_errors=True)
            self._writers[number] = CheckpointWriter(
                self._folder(number),
                lambda files: recorder.replace_artifacts(files, CHECKPOINT_FOLDER),
                self._record.request.checkpoint_every_s,
            )
        return self._writers[number]

    def _report(self, writer: CheckpointWriter) -> None:
        if writer.failure and not self._reported:
            self._reported = True
            self._record.listener.message(f"training continues without checkpoints: {writer.failure}")

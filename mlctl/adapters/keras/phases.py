"""A training in phases: each changes and compiles the model, and has a training loop of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from mlctl.adapters.keras.checkpoints import TrainingState
from mlctl.adapters.keras.training_loop import TrainingLoop, TrainingProgress
from mlctl.domain.progress import Epoch, ProgressListener


@dataclass(frozen=True, kw_only=True)
class TrainingPhase:
    """Up to `epochs` epochs after `start(model)`; a training without phases has one without name and start."""

    epochs: int
    name: str = ""
    start: Callable[[Any], None] | None = None


OnEpochEnd = Callable[[Epoch, TrainingLoop], None]


def run_phases(
    phases: Sequence[TrainingPhase],
    model: Any,
    make_loop: Callable[[], TrainingLoop],
    *,
    progress: TrainingProgress,
    epochs: int,
    patience: int | None,
    on_epoch_end: OnEpochEnd,
    listener: ProgressListener,
    state: TrainingState | None = None,
) -> None:
    """Train phase after phase, up to `epochs` epochs in all; a phase that is stopped is followed by the next one.

    Args:
        phases: the phases in their order.
        model: the model, as the recipe has built it.
        make_loop: returns the training loop for the model as a phase has changed it.
        progress: the epochs so far.
        epochs: the most epochs in all.
        patience: epochs without a better one that end a phase.
        on_epoch_end: is called after each epoch.
        listener: is told about the beginning of each phase.
        state: of an earlier training, which continues.
    """
    progress.has_phases = any(phase.name for phase in phases)
    first = state.phase if state is not None else 0
    for number, phase in enumerate(phases):
        if number > first and len(progress.epochs) >= epochs:
            return
        if (
            phase.start is not None
        ):  # of earlier phases, too: each changes the model that the next one takes over
            phase.start(model)
        if number < first:
            continue
        progress.start_phase(number)
        loop = make_loop()
        if phase.name:
            listener.message(f"phase {number + 1} of {len(phases)}: {phase.name}, {phase.epochs} epochs")
        loop.run(
            progress,
            epochs=min(epochs, progress.phase_start + phase.epochs),
            patience=patience,
            on_epoch_end=partial(_call, on_epoch_end, loop),
            state=state if number == first else None,
        )
        del loop  # its data, before the next one is made


def _call(on_epoch_end: OnEpochEnd, loop: TrainingLoop, epoch: Epoch) -> None:
    on_epoch_end(epoch, loop)

"""What a search and its workers exchange: what all trials share, a trial to train, and what happened to it."""

from __future__ import annotations

import dataclasses
import mmap
import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from mlctl.adapters.keras import runtime
from mlctl.data.dataset import Dataset
from mlctl.domain.objective import Objective
from mlctl.domain.progress import Epoch
from mlctl.recipes import Recipe, find

ALIGNMENT = 64  # bytes: TensorFlow uses an array in place only if it begins at a multiple of this
LENGTH_BYTES = 8


class TrialSetup(Protocol):
    """What all trials share, and a worker gets with its first trial."""

    def prepare_process(self, threads: int) -> None:
        """Get the process of a worker ready for trials with so many threads."""

    def save(self, path: Path, *, for_other_machines: bool = False) -> None:
        """Write it to a file, from which a worker in another process reads it."""


@dataclass(frozen=True, kw_only=True)
class SearchSetup:
    """What all trials of a recipe share.

    Attributes:
        source: Text by which another process finds the recipe.
        recipe: Recipe.
        data: Dataset.
        train_inputs: Encoded inputs of the training rows.
        validation_inputs: Encoded inputs of the validation rows.
        precision: "float32" or "mixed_bfloat16".
        reload: What another process needs to load the data itself, if it cannot be written to a file, as a
            `tf.data.Dataset` cannot; see services/tuning/trial.py.
    """

    source: str
    recipe: Recipe
    data: Dataset | None
    train_inputs: Any
    validation_inputs: Any
    precision: str
    reload: Any = None

    def prepare_process(self, threads: int) -> None:
        """Set the threads of a process that trains trials."""
        runtime.set_threads(threads)

    def save(self, path: Path, *, for_other_machines: bool = False) -> None:
        """Write everything but the recipe itself. Arrays are aligned, so that `load` can map them into memory.

        The file is: length of the index (8 bytes), index, padding, arrays.
        """
        head, buffers = self._pickled(for_other_machines)
        arrays = [buffer.raw() for buffer in buffers]
        positions, end = [], 0
        for array in arrays:
            positions.append((end, array.nbytes))
            end += _aligned(array.nbytes)
        index = pickle.dumps((self.source, head, positions))
        start = _aligned(LENGTH_BYTES + len(index))
        with path.open("wb") as file:
            file.write(len(index).to_bytes(LENGTH_BYTES, "little") + index)
            for (position, _), array in zip(positions, arrays, strict=True):
                file.seek(start + position)
                file.write(array)
            file.truncate(start + end)

    def _pickled(self, by_value: bool) -> tuple[bytes, list[pickle.PickleBuffer]]:
        """Return the pickled data, and its arrays; without the data if it cannot be pickled."""
        from mlctl.adapters.system import code_pickle  # a search with forked workers does without cloudpickle

        buffers: list[pickle.PickleBuffer] = []
        # without a function of the recipe that training never calls
        data = self.data and dataclasses.replace(self.data, as_raw=None)
        shared = (data, self.train_inputs, self.validation_inputs, self.precision, self.reload)
        try:
            return code_pickle.dump(shared, by_value=by_value, buffer_callback=buffers.append), buffers
        except Exception:  # what it raises depends on what the data holds
            if self.reload is None:
                raise
        return code_pickle.dump((None, None, None, self.precision, self.reload)), []

    @classmethod
    def load(cls, path: Path, source: str | None = None) -> SearchSetup:
        """Return what `save` wrote; arrays are read when they are used.

        Arrays are writable because TensorFlow shares no read-only memory; writing does not change the file.
        `source` finds the recipe on a machine other than the one that wrote the file.
        """
        with path.open("rb") as file:
            content = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY))
        length = int.from_bytes(content[:LENGTH_BYTES], "little")
        index = content[LENGTH_BYTES : LENGTH_BYTES + length]
        saved_source, head, positions = pickle.loads(index)  # noqa: S301 - written by our own parent process
        source = source or str(saved_source)
        recipe = find(source)  # before the data: a recipe's file may define classes that the data uses
        start = _aligned(LENGTH_BYTES + length)
        buffers = [content[start + position : start + position + size] for position, size in positions]
        data, train, validation, precision, reload = pickle.loads(head, buffers=buffers)  # noqa: S301 - as above
        return cls(
            source=source,
            recipe=recipe,
            data=data,
            train_inputs=train,
            validation_inputs=validation,
            precision=precision,
            reload=reload,
        )


def _aligned(size: int) -> int:
    """Return the smallest multiple of ALIGNMENT that is not less than a size."""
    return -(-size // ALIGNMENT) * ALIGNMENT


@dataclass(frozen=True, kw_only=True)
class TrialJob:
    """One trial to train.

    Attributes:
        trial: Name of the trial.
        attempt: Number of the attempt, from 1: a trial whose worker died is trained again.
        values: Hyperparameters by name.
        objective: Metric by which the best epoch is chosen.
        epochs: Number of the last epoch.
        all_phases: Whether the phases of a recipe that has some decide about the last epoch instead.
        seed: Seed of the first execution; each further execution uses the next number.
        executions: How often the trial is trained.
        waits: Whether the trial waits for the search's answer after each epoch.
        patience: Stop after this many epochs without a better objective; None to train all epochs.
        earlier_epochs: Epochs of the trial that this one continues.
        load_weights_from: File with that trial's weights.
        save_weights_to: File for this trial's weights.
        log_to: File for what a script prints.
    """

    trial: str
    attempt: int
    values: Mapping[str, Any]
    objective: Objective
    epochs: int
    seed: int = 0
    executions: int = 1
    waits: bool = False
    all_phases: bool = True
    patience: int | None = None
    earlier_epochs: tuple[Epoch, ...] = ()
    load_weights_from: str | None = None
    save_weights_to: str | None = None
    log_to: str | None = None


@dataclass(frozen=True)
class EpochEnded:
    """An epoch ended; `execution` counts from 1."""

    trial: str
    attempt: int
    execution: int
    epoch: Epoch


@dataclass(frozen=True)
class TrialEnded:
    """A trial ended by itself, or was stopped; `metrics` are those of its end, which belong to no epoch."""

    trial: str
    attempt: int
    seconds: float
    metrics: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class TrialFailed:
    """A trial raised an exception; `error` is one line, `output` the last lines of what a script has printed."""

    trial: str
    attempt: int
    error: str
    output: str = ""


@dataclass(frozen=True)
class WorkerLost:
    """A trial's process or node died; `output` is as in TrialFailed."""

    trial: str
    attempt: int
    reason: str
    output: str = ""


Event = EpochEnded | TrialEnded | TrialFailed | WorkerLost
TrialEnd = TrialEnded | TrialFailed | WorkerLost
ReportEpoch = Callable[[EpochEnded], bool]  # returns whether to continue
TrainTrial = Callable[[Any, TrialJob, ReportEpoch], TrialEnd]  # the first argument is the search's TrialSetup


class Executor(Protocol):
    """Trains trials: in processes on this machine, or in tasks on a cluster."""

    def free_slots(self) -> int:
        """Return how many trials can be started now."""

    def start(self, job: TrialJob) -> None:
        """Start a trial."""

    def answer(self, trial: str, proceed: bool) -> None:
        """Tell a trial that waits after an epoch whether to continue."""

    def stop(self, trial: str) -> None:
        """End a trial in the middle of an epoch; its end is an event."""

    def events(self, timeout_s: float) -> list[Event]:
        """Return new events; wait for the first one up to `timeout_s` seconds."""

    def close(self) -> None:
        """End every trial and every process at once."""

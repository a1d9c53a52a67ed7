"""What a search and its workers say to each other: what all trials share, a trial to train, what became of it."""

from __future__ import annotations

import dataclasses
import mmap
import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlctl.adapters.keras.training_loop import Epoch
from mlctl.data.dataset import Dataset
from mlctl.domain.objective import Objective
from mlctl.recipes import Recipe, find

ALIGNED = 64  # bytes: where an array begins in the file, so that TensorFlow can use it as it lies


@dataclass(frozen=True)
class Setup:
    """What all trials share: the recipe, its data, encoded once, and the arithmetic."""

    source: str
    recipe: Recipe
    data: Dataset
    train_inputs: Any
    validation_inputs: Any
    precision: str

    def save(self, path: Path) -> None:
        """Write everything but the recipe's code, arrays apart, so that `load` can map them into memory."""
        buffers: list[pickle.PickleBuffer] = []
        data = dataclasses.replace(
            self.data, as_raw=None
        )  # a function of the recipe's, which training never calls
        parts = (data, self.train_inputs, self.validation_inputs, self.precision)
        head = pickle.dumps(parts, protocol=5, buffer_callback=buffers.append)
        raw = [one.raw() for one in buffers]
        places, at = [], 0
        for one in raw:
            places.append((at, one.nbytes))
            at += -(-one.nbytes // ALIGNED) * ALIGNED
        index = pickle.dumps((self.source, head, places))
        start = -(-(8 + len(index)) // ALIGNED) * ALIGNED
        with path.open("wb") as file:
            file.write(len(index).to_bytes(8, "little") + index)
            for (place, _), one in zip(places, raw, strict=True):
                file.seek(start + place)
                file.write(one)
            file.truncate(start + at)

    @classmethod
    def load(cls, path: Path, source: str | None = None) -> Setup:
        """Return what `save` wrote, its arrays read as they are touched; the recipe is found again.

        Arrays may be written to, and the file stays as it is: TensorFlow shares no memory that is read-only.
        `source` says where, on another machine than the one that wrote it.
        """
        with path.open("rb") as file:
            whole = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY))
        length = int.from_bytes(whole[:8], "little")
        said, head, places = pickle.loads(whole[8 : 8 + length])  # noqa: S301 - written by our own parent process
        source = source or str(said)
        recipe = find(source)  # before the data: a recipe's file may define what is in it
        start = -(-(8 + length) // ALIGNED) * ALIGNED
        buffers = [whole[start + at : start + at + size] for at, size in places]
        data, train, validation, precision = pickle.loads(head, buffers=buffers)  # noqa: S301 - as above
        return cls(source, recipe, data, train, validation, precision)


@dataclass(frozen=True)
class TrialJob:
    """One trial to train: up to `epochs`, `executions` times with seeds that count from `seed`.

    `waits` has it wait for a word after each epoch; `after` are the epochs that the trial whose weights lie in
    `weights_from` had; `patience` stops where `objective` has not bettered for so many epochs.
    """

    trial: str
    attempt: int
    values: Mapping[str, Any]
    objective: Objective
    epochs: int
    seed: int = 0
    executions: int = 1
    waits: bool = False
    patience: int | None = None
    after: tuple[Epoch, ...] = ()
    weights_from: str | None = None
    weights_to: str | None = None


@dataclass(frozen=True)
class EpochEnded:
    """An epoch of one execution, which counts from 1."""

    trial: str
    attempt: int
    execution: int
    epoch: Epoch


@dataclass(frozen=True)
class TrialEnded:
    """A trial that ended by itself or was stopped."""

    trial: str
    attempt: int
    seconds: float


@dataclass(frozen=True)
class TrialFailed:
    """A trial that raised; `error` is one line."""

    trial: str
    attempt: int
    error: str


@dataclass(frozen=True)
class WorkerLost:
    """A trial whose process is gone."""

    trial: str
    attempt: int
    why: str


Event = EpochEnded | TrialEnded | TrialFailed | WorkerLost
Tell = Callable[[EpochEnded], bool]
Train = Callable[[Setup, TrialJob, Tell], TrialEnded | TrialFailed]

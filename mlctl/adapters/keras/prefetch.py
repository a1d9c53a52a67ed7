"""Training on batches that are read or made as needed: the next ones are prepared during a training step."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import tensorflow as tf

from mlctl.adapters.keras import batches
from mlctl.adapters.keras.batches import Parts
from mlctl.adapters.keras.train_step import TrainStep
from mlctl.data.streams import Stream, seeded
from mlctl.data.trees import count_rows, take_rows
from mlctl.errors import BadDataError

PREFETCHED_BATCHES = 2

Array = np.ndarray[Any, Any]


class BatchReader(Protocol):
    """Reads the batches of an epoch.

    Attributes:
        rows: number of what an epoch's order numbers.
        steps: number of batches.
        workers: number of threads that may read at the same time.
    """

    rows: int
    steps: int
    workers: int

    def begin_epoch(self, order: Array, epoch: int) -> None:
        """Set the order of the epoch; epochs count from 1."""

    def read(self, step: int) -> Parts | None:
        """Return a batch as arrays; None if there is none, or it cannot be used."""


class StreamedProgram:
    """Epochs on batches that do not fit into memory together: only a few are in memory at a time."""

    def __init__(self, step: TrainStep, reader: BatchReader) -> None:
        self.model = step.model
        self.rows, self.steps = reader.rows, reader.steps
        self._step, self._reader = step, reader
        self._pending: deque[Future[Parts | None]] = deque()
        self._submitted = 0
        self._threads = ThreadPoolExecutor(reader.workers, thread_name_prefix="mlctl-batches")
        graph = self._train_step_graph
        self._train_step = graph if self.model.run_eagerly else tf.function(graph, reduce_retracing=True)

    def begin_epoch(self, order: Array, epoch: int = 1) -> None:
        """Set the order of rows or batches, (rows,) numbers."""
        for future in self._pending:
            future.cancel()
        while self._pending:  # a batch of the last epoch may still be read
            future = self._pending.popleft()
            if not future.cancelled():
                future.exception()
        self._reader.begin_epoch(order, epoch)
        self._submitted = 0

    def train(self, start: int, stop: int) -> None:
        """Train on the batches from `start` up to, and without, `stop`."""
        for step in range(start, stop):
            ahead = min(self.steps, step + 1 + PREFETCHED_BATCHES * self._reader.workers)
            while self._submitted < ahead:
                self._pending.append(self._threads.submit(self._reader.read, self._submitted))
                self._submitted += 1
            parts = self._pending.popleft().result()
            if parts is not None:
                self._train_step(batches.map_parts(_as_copy, parts))

    def metrics(self) -> Mapping[str, float]:
        """Return the metrics of the epoch so far."""
        return self._step.metrics()

    def _train_step_graph(self, parts: Parts) -> None:
        self._step(parts)


@dataclass(kw_only=True)
class RowReader:
    """Reads rows of files: images, or arrays that are memory-mapped files."""

    parts: Parts
    batch_size: int
    drop_last: bool = False
    workers: int = 1  # the images of one batch are decoded in parallel by ImageFiles
    _order: Array = field(default_factory=lambda: np.arange(0))

    def __post_init__(self) -> None:
        self.rows = count_rows(self.parts[0])
        self.steps = self.rows // self.batch_size if self.drop_last else -(-self.rows // self.batch_size)
        self._order = np.arange(self.rows)

    def begin_epoch(self, order: Array, epoch: int) -> None:
        """Set the order of the rows."""
        self._order = order

    def read(self, step: int) -> Parts:
        """Return a batch as arrays."""
        return self._take(self._order[step * self.batch_size : (step + 1) * self.batch_size])

    def example(self, rows: int) -> Parts:
        """Return the first rows as tensors."""
        return batches.map_parts(batches.as_tensor, self._take(np.arange(min(rows, self.rows))))

    def _take(self, rows: Array) -> Parts:
        # rows of a file are read in its order, and then brought into the order of the batch
        ascending = np.sort(rows)
        place = np.searchsorted(ascending, rows)
        if batches.is_on_disk(self.parts):
            taken = batches.map_parts(lambda part: take_rows(take_rows(part, ascending), place), self.parts)
        else:
            taken = batches.map_parts(lambda part: take_rows(part, rows), self.parts)
        return batches.map_parts(
            lambda leaf: leaf.dense() if hasattr(leaf, "dense") else np.asarray(leaf), taken
        )


class StreamReader:
    """Reads the batches of a stream: in an order that depends on seed and epoch alone, if it is indexed."""

    def __init__(
        self, stream: Stream, prepare: Callable[[Parts], Parts], *, seed: int, rows: int | None = None
    ) -> None:
        """Take a stream.

        Args:
            stream: the stream.
            prepare: changes a batch into what the model's loss takes.
            seed: seeds the generators of `random` and `numpy.random` for every batch.
            rows: the number of rows that the model takes in a batch, if that is fixed: other batches are left out.
        """
        self._stream, self._prepare, self._seed, self._fixed = stream, prepare, seed, rows
        self.rows, self.steps = stream.units, int(stream.steps or 0)
        self.workers = stream.workers
        self._order = np.arange(self.rows)
        self._epoch = 0
        self._iterator: Iterator[Parts] = iter(())
        if not self.steps:
            raise BadDataError("the training data has no batches", "give it more data")

    def begin_epoch(self, order: Array, epoch: int) -> None:
        """Set the order; tell the source of every epoch that has ended, also before this process began."""
        self._order = order
        while self._epoch < epoch:
            if self._epoch:
                self._stream.end_epoch(self._epoch, self._seed)
            self._epoch += 1
            self._stream.begin_epoch(self._epoch, self._seed)
        if not self._stream.is_indexed:
            self._iterator = self._stream.batches()

    def read(self, step: int) -> Parts | None:
        """Return a batch as arrays."""
        parts = self._read(step)
        if parts is None or (self._fixed and count_rows(parts[0]) != self._fixed):
            return None
        return self._prepare(parts)

    def _read(self, step: int) -> Parts | None:
        if not self._stream.is_indexed:
            return next(self._iterator, None)
        size = self._stream.batch_size if self._stream.holds_rows else 1
        numbers = self._order[step * size : (step + 1) * size]
        if self.workers > 1:  # threads share the generators
            return self._stream.read(numbers)
        with seeded(self._seed, self._epoch, step):
            return self._stream.read(numbers)

    def example(self) -> Parts:
        """Return the first batch as tensors."""
        rows = self._fixed or 2
        return batches.map_parts(batches.as_tensor, self._prepare(self._stream.head(rows)))


def _as_copy(leaf: Any) -> Any:
    """Return an array as a tensor of its own memory, because the array may be changed by its owner."""
    plain = batches.as_plain_array(leaf)
    return tf.constant(plain) if isinstance(plain, np.ndarray) else plain

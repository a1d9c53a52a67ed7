"""Batches that are made as needed: a `tf.data.Dataset`, a `keras.utils.PyDataset`, or indexable batches or rows."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from mlctl.data.trees import Tree, as_tree, count_rows, leaves, map_tree, take_rows
from mlctl.errors import BadDataError

DEFAULT_BATCH_SIZE = 32  # rows of a batch, if a stream has single rows and nobody has said how many to join

Array = np.ndarray[Any, Any]
Batch = tuple[Tree, Tree, Any]  # inputs, targets and weights; targets and weights may be None

_random_lock = threading.Lock()


class Stream:
    """Batches of a split.

    Batches may be (inputs,), (inputs, targets) or (inputs, targets, weights), as `Model.fit` takes them. Single rows
    of an indexable source, such as a PyTorch data set, are joined to batches.

    Attributes:
        source: The object that the recipe's `load` returned.
        is_indexed: Whether batches can be read in any order, so that a resumed training is exact.
        is_pipeline: Whether the source is a `tf.data.Dataset`.
        encode: Encodes the inputs of every batch; None if the model takes them as they are.
    """

    def __init__(
        self, source: Any, *, encode: Callable[[Tree], Tree] | None = None, batch_size: int | None = None
    ) -> None:
        if isinstance(source, Iterator) or _is_function(source):
            raise BadDataError(
                f"a split is a {type(source).__name__}, which can be read only once",
                "return a tf.data.Dataset (tf.data.Dataset.from_generator reads a generator again for each epoch), or"
                " a keras.utils.PyDataset",
            )
        self.source, self.encode = source, encode
        self.is_pipeline = _is_pipeline(source)
        self.is_indexed = not self.is_pipeline
        self._batch_size = batch_size
        self._head: Batch | None = None
        self._rows: int | None = None
        self._steps: int | None = None
        self._holds_rows: bool | None = None

    @staticmethod
    def is_stream(value: Any) -> bool:
        """Return whether a recipe's split is a stream of batches, or a generator, which `Stream` refuses."""
        if isinstance(value, (np.ndarray, Mapping, tuple, list, str, bytes)) or value is None:
            return False
        if isinstance(value, (Stream, Iterator)) or _is_function(value) or _is_pipeline(value):
            return True
        has_batches = hasattr(value, "__getitem__") and (hasattr(value, "__len__") or _is_py_dataset(value))
        is_array = hasattr(value, "shape") or hasattr(value, "iloc") or hasattr(value, "dense")
        return has_batches and not is_array

    def encoded(self, encode: Callable[[Tree], Tree] | None) -> Stream:
        """Return the stream with encoded inputs."""
        stream = Stream(self.source, encode=encode, batch_size=self._batch_size)
        stream._rows, stream._steps, stream._holds_rows = self._rows, self._steps, self._holds_rows
        return stream

    def batched(self, batch_size: int) -> Stream:
        """Return the stream with this number of rows in a batch, if the source holds single rows."""
        stream = Stream(self.source, encode=self.encode, batch_size=batch_size)
        stream._rows, stream._holds_rows = self._rows, self._holds_rows
        if not self.holds_rows:
            stream._steps = self._steps
        return stream

    def __len__(self) -> int:
        """Return the number of rows; reads every batch of a pipeline if nothing else tells it.

        Batches of an indexed source are taken to have the size of the first one, except for the last one.
        """
        if self._rows is None:
            if self.is_pipeline:
                self._count_pipeline()
            elif self.holds_rows:
                self._rows = self._source_length()
            else:
                count = self._source_length()
                first, last = (self._count_rows_of(number) for number in (0, count - 1)) if count else (0, 0)
                self._rows = (count - 1) * first + last if count else 0
        assert self._rows is not None
        return self._rows

    @property
    def steps(self) -> int | None:
        """Number of batches; counts those of a pipeline of unknown length."""
        if self.is_pipeline:
            if self._steps is None:
                self._count_pipeline()
            return self._steps
        count = self._source_length()
        return -(-count // self.batch_size) if self.holds_rows else count

    @property
    def units(self) -> int:
        """Number of what an epoch's order numbers: the rows or the batches of the source."""
        return int(self.steps or 0) if self.is_pipeline else self._source_length()

    @property
    def batch_size(self) -> int:
        """Number of rows that are joined to a batch, if the source holds single rows."""
        return self._batch_size or DEFAULT_BATCH_SIZE

    @property
    def workers(self) -> int:
        """Number of threads in which the source may be read."""
        return max(1, int(getattr(self.source, "workers", 1) or 1)) if _is_py_dataset(self.source) else 1

    @property
    def holds_rows(self) -> bool:
        """Whether the source holds single rows, not batches: a target without dimensions belongs to one row."""
        if self._holds_rows is None:
            if self.is_pipeline:
                self._holds_rows = any(not _rank(spec) for spec in leaves(_as_tree(self.source.element_spec)))
            elif _is_py_dataset(self.source) or not self._source_length():
                self._holds_rows = False
            else:
                shapes = [np.shape(leaf) for leaf in leaves(_as_tree(self.source[0])) if leaf is not None]
                is_batch = all(shape and shape[0] == shapes[0][0] for shape in shapes)
                self._holds_rows = not is_batch
        return self._holds_rows

    def pipeline(self) -> Any:
        """Return the `tf.data.Dataset` of batches."""
        return self.source.batch(self.batch_size) if self.holds_rows else self.source

    def read(self, numbers: Array) -> Batch:
        """Return a batch of an indexed source as arrays: the batch of this number, or the rows of these numbers."""
        if self.holds_rows:
            rows = [_split_batch(self.source[int(number)]) for number in numbers]
            parts = (_stack([row[part] for row in rows]) for part in range(3))
            return self._encode(tuple(parts))
        return self._encode(_split_batch(self.source[int(numbers[0])]))

    def batches(self, order: Array | None = None) -> Iterator[Batch]:
        """Yield batches as arrays; in this order of rows or batches, if the source is indexed."""
        if self.is_pipeline:
            for batch in self.pipeline().as_numpy_iterator():
                yield self._encode(_split_batch(batch))
            return
        numbers = np.arange(self.units) if order is None else order
        size = self.batch_size if self.holds_rows else 1
        for start in range(0, len(numbers), size):
            with seeded(start):
                batch = self.read(numbers[start : start + size])
            yield batch

    def head(self, rows: int) -> Batch:
        """Return the first rows as arrays."""
        if self._head is None or _rows_of(self._head) < min(rows, self._rows or rows):
            found: list[Batch] = []
            for batch in self.batches():
                found.append(batch)
                if sum(map(_rows_of, found)) >= rows:
                    break
            if not found:
                raise BadDataError("a split has no batches", "give it more data")
            self._head = _concatenate(found)
        first = np.arange(min(rows, _rows_of(self._head)))
        inputs, targets, weights = (None if part is None else take_rows(part, first) for part in self._head)
        return inputs, targets, weights

    def end_epoch(self, epoch: int, seed: int) -> None:
        """Call the source's `on_epoch_end`, with random generators that depend on nothing but seed and epoch."""
        hook = getattr(self.source, "on_epoch_end", None)
        if callable(hook):
            with seeded(seed, epoch):
                hook()

    def begin_epoch(self, epoch: int, seed: int) -> None:
        """Call the source's `on_epoch_begin` in the same way."""
        hook = getattr(self.source, "on_epoch_begin", None)
        if callable(hook):
            with seeded(seed, epoch):
                hook()

    def _encode(self, batch: Batch) -> Batch:
        return batch if self.encode is None else (self.encode(batch[0]), *batch[1:])

    def _source_length(self) -> int:
        try:
            length = self.source.num_batches if _is_py_dataset(self.source) else len(self.source)
        except (NotImplementedError, TypeError):
            length = None
        if length is None:
            raise BadDataError(
                f"a split is a {type(self.source).__name__} of unknown length", "give it a method __len__"
            )
        return int(length)

    def _count_rows_of(self, number: int) -> int:
        return _rows_of(_split_batch(self.source[number]))

    def _count_pipeline(self) -> None:
        """Count rows and batches of a pipeline: from what it is made of if possible, else by reading it once."""
        pipeline = self.pipeline()
        if int(pipeline.cardinality()) == -1:  # tf.data.INFINITE_CARDINALITY
            raise BadDataError(
                "a tf.data.Dataset never ends", "remove its repeat(), or limit it with take(batches)"
            )
        known = count_batched_rows(pipeline)
        if known is not None:
            self._steps, self._rows = int(pipeline.cardinality()), known
            return
        steps = rows = 0
        for batch in pipeline:
            steps, rows = steps + 1, rows + int(_first_length(batch))
        self._steps, self._rows = steps, rows


@contextmanager
def seeded(*seed: int) -> Iterator[None]:
    """Seed the generators of `random` and `numpy.random` for a moment; restore their states afterwards."""
    with _random_lock:
        python_state, numpy_state = random.getstate(), np.random.get_state()
        word = int(np.random.SeedSequence(seed).generate_state(1)[0])
        random.seed(word)
        np.random.seed(word)
        try:
            yield
        finally:
            random.setstate(python_state)
            np.random.set_state(numpy_state)


def _is_function(value: Any) -> bool:
    return callable(value) and hasattr(value, "__code__")


def _is_pipeline(value: Any) -> bool:
    """Return whether a value is a `tf.data.Dataset`; TensorFlow is not imported for that."""
    return any(
        cls.__module__.startswith("tensorflow.python.data") and cls.__name__.startswith("Dataset")
        for cls in type(value).__mro__
    )


def _is_py_dataset(value: Any) -> bool:
    """Return whether a value is a `keras.utils.PyDataset`; Keras is not imported for that."""
    return any(
        cls.__name__ == "PyDataset" and cls.__module__.startswith("keras") for cls in type(value).__mro__
    )


def _split_batch(batch: Any) -> Batch:
    """Return a batch as inputs, targets and weights, each a tree of arrays or None."""
    if isinstance(batch, list):
        batch = tuple(batch)
    if not isinstance(batch, tuple):
        batch = (batch,)
    if not 1 <= len(batch) <= 3:
        raise BadDataError(
            f"a batch is a tuple of {len(batch)}",
            "make it (inputs,), (inputs, targets) or (inputs, targets, weights)",
        )
    inputs, targets, weights = (*batch, None, None)[:3]
    return _to_arrays(inputs), _to_arrays(targets), _to_arrays(weights)


def _to_arrays(tree: Any) -> Any:
    if tree is None:
        return None
    return map_tree(lambda leaf: leaf if hasattr(leaf, "iloc") else np.asarray(leaf), as_tree(tree))


def _as_tree(value: Any) -> Tree:
    """Return dicts, lists and tuples as a tree whose leaves are left as they are."""
    if isinstance(value, Mapping):
        return {name: _as_tree(part) for name, part in value.items()}
    if isinstance(value, (tuple, list)) and not _is_row_of_numbers(value):
        return tuple(_as_tree(part) for part in value)
    return value


def _is_row_of_numbers(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(part, (int, float, str)) for part in value)


def _rank(spec: Any) -> int | None:
    """Return the number of dimensions of a tensor's spec; unknown counts as one."""
    rank = spec.shape.rank
    return 1 if rank is None else int(rank)


def _rows_of(batch: Batch) -> int:
    return count_rows(batch[0])


def _first_length(batch: Any) -> int:
    inputs = batch[0] if isinstance(batch, tuple) else batch
    leaf = leaves(_as_tree(inputs))[0]
    return int(leaf.nrows()) if hasattr(leaf, "nrows") else int(leaf.shape[0])


def count_batched_rows(pipeline: Any) -> int | None:
    """Return the number of rows that `batch` received, looking through what does not change it; None if unknown."""
    if int(pipeline.cardinality()) < 0:
        return None
    layer = pipeline
    while layer is not None:
        name = type(layer).__name__
        below = getattr(layer, "_input_dataset", None)
        if "BatchDataset" in name and hasattr(layer, "_batch_size"):
            rows = int(below.cardinality()) if below is not None else -1
            if rows < 0:
                return None
            dropped = bool(getattr(layer, "_drop_remainder", False))
            return int(pipeline.cardinality()) * int(layer._batch_size) if dropped else rows
        if not any(
            kept in name for kept in ("Prefetch", "Map", "Options", "Cache", "Model", "Shuffle")
        ) or any(changed in name for changed in ("Flat", "Repeat")):
            return None
        layer = below
    return None


def _stack(values: list[Any]) -> Any:
    """Return the same part of several rows as a tree of arrays with a first axis for the rows."""
    first = values[0]
    if first is None:
        return None
    if isinstance(first, Mapping):
        return {name: _stack([value[name] for value in values]) for name in first}
    if isinstance(first, tuple):
        return tuple(_stack([value[place] for value in values]) for place in range(len(first)))
    if len({np.shape(value) for value in values}) == 1:
        return np.stack([np.asarray(value) for value in values])
    rows = np.empty(len(values), object)
    for number, value in enumerate(values):
        rows[number] = np.asarray(value)
    return rows


def _concatenate(batches: list[Batch]) -> Batch:
    inputs, targets, weights = (
        None
        if batches[0][part] is None
        else map_tree(join, batches[0][part], *(batch[part] for batch in batches[1:]))
        for part in range(3)
    )
    return inputs, targets, weights


def join(*arrays: Any) -> Any:
    """Return arrays of batches as one; rows of different lengths become an array of objects."""
    if hasattr(arrays[0], "iloc"):
        import pandas as pd

        return pd.concat(arrays, ignore_index=True)
    if len({(array.shape[1:], array.dtype == object) for array in arrays}) == 1:
        return np.concatenate(arrays)
    rows = np.empty(sum(len(array) for array in arrays), object)
    for number, row in enumerate(row for array in arrays for row in array):
        rows[number] = row
    return rows

"""Training of one epoch after another, on data in any form.

An epoch is trained in pieces, which are ranges of batches. The weights after an epoch equal those of `Model.fit`
with the same order of rows: each batch goes through the model's own `train_step`, which a recipe may override.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import keras
import numpy as np
import tensorflow as tf

from mlctl.adapters.keras import batches
from mlctl.adapters.keras.batches import Parts
from mlctl.adapters.keras.losses import encode_targets
from mlctl.adapters.keras.predictors import Evaluation, Predictor, make_predictor, to_dense
from mlctl.adapters.keras.prefetch import RowReader, StreamedProgram, StreamReader
from mlctl.adapters.keras.sparse_bag_program import SparseBagProgram
from mlctl.adapters.keras.train_step import TrainStep, current_metrics, fixed_batch_size
from mlctl.adapters.keras.worker_group import WorkerGroup
from mlctl.adapters.keras.worker_program import WorkerProgram
from mlctl.data.dataset import Split
from mlctl.data.files.images import ImageFiles
from mlctl.data.sparse_bags import SparseBags
from mlctl.data.streams import Stream
from mlctl.data.trees import count_rows, map_tree
from mlctl.domain.outputs import Outputs
from mlctl.domain.progress import NullProgress, ProgressListener
from mlctl.errors import BadDataError

__all__ = [
    "DenseProgram",
    "EpochProgram",
    "Evaluation",
    "PipelineProgram",
    "Predictor",
    "SparseBagProgram",
    "StreamedProgram",
    "current_metrics",
    "encode_targets",
    "make_predictor",
    "make_program",
    "to_dense",
]

EXAMPLE_ROWS = 2  # with which a model is built, unless its inputs have a fixed number

Array = np.ndarray[Any, Any]


class EpochProgram(Protocol):
    """Trains one model on one form of data.

    Attributes:
        rows: number of what an epoch's order numbers: rows, or the batches of a stream.
        steps: number of batches in an epoch.
    """

    rows: int
    steps: int

    def begin_epoch(self, order: Array, epoch: int = 1) -> None:
        """Set the order of the training rows, (rows,) row numbers; epochs count from 1."""

    def train(self, start: int, stop: int) -> None:
        """Train on the batches from `start` up to, and without, `stop`."""

    def metrics(self) -> Mapping[str, float]:
        """Return the metrics of the epoch so far, as `Model.fit` reports them."""


class DenseProgram:
    """Trains on trees of arrays that stay on the device: inputs, targets and weights of n rows."""

    def __init__(self, model: keras.Model, parts: Parts, batch_size: int, *, drop_last: bool = False) -> None:
        """Put the arrays on the device, and build the model.

        Args:
            model: a compiled model.
            parts: inputs, targets and weights; targets and weights may be None.
            batch_size: rows of a batch.
            drop_last: leave out the last batch if it is incomplete.
        """
        self.model, self.batch_size = model, batch_size
        self.rows = count_rows(parts[0])
        self.steps = self.rows // batch_size if drop_last else -(-self.rows // batch_size)
        self._parts = batches.map_parts(batches.as_tensor, parts)
        self._rows_of_batch = batch_size if drop_last or not self.rows % batch_size else None
        example = tf.range(min(self.rows, fixed_batch_size(model) or EXAMPLE_ROWS))
        self._step = TrainStep(model, batches.map_parts(lambda leaf: tf.gather(leaf, example), self._parts))
        self._order = tf.constant(np.arange(self.rows, dtype=np.int32))
        graph = self._train_piece_graph
        self._train_piece = graph if model.run_eagerly else tf.function(graph)

    def begin_epoch(self, order: Array, epoch: int = 1) -> None:
        """Set the order of the training rows, (rows,) row numbers."""
        self._order = tf.constant(order.astype(np.int32))

    def train(self, start: int, stop: int) -> None:
        """Train on the batches from `start` up to, and without, `stop`."""
        self._train_piece(self._order, tf.constant(start), tf.constant(stop))

    def metrics(self) -> Mapping[str, float]:
        """Return the metrics of the epoch so far."""
        return self._step.metrics()

    def _train_piece_graph(self, order: tf.Tensor, start: tf.Tensor, stop: tf.Tensor) -> None:
        for step in tf.range(start, stop):
            rows = order[step * self.batch_size : (step + 1) * self.batch_size]
            if self._rows_of_batch:  # a known size, as Model.fit gives it
                rows = tf.ensure_shape(rows, [self._rows_of_batch])
            self._step(batches.map_parts(lambda leaf, rows=rows: tf.gather(leaf, rows), self._parts))


class PipelineProgram:
    """Trains on a `tf.data.Dataset` of batches, which decides on their order itself."""

    def __init__(self, model: keras.Model, stream: Stream, class_weight: Mapping[Any, float] | None) -> None:
        self.model = model
        self.steps, dataset = int(stream.steps or 0), stream.pipeline()
        if (rows := fixed_batch_size(model)) is not None:
            self.steps, dataset = len(stream) // rows, dataset.unbatch().batch(rows, drop_remainder=True)
        self.rows = self.steps
        self._dataset = _weighted_pipeline(dataset, class_weight).prefetch(tf.data.AUTOTUNE)
        self._iterator: Any = None
        first = next(iter(self._dataset.take(1)), None)
        if first is None:
            raise BadDataError("the training data has no batches", "give it more data")
        self._step = TrainStep(model, unpack(first))
        graph = self._train_piece_graph
        self._train_piece = graph if model.run_eagerly else tf.function(graph)

    def begin_epoch(self, order: Array, epoch: int = 1) -> None:
        """Begin to read the pipeline from its start; the order is the pipeline's own."""
        self._iterator = iter(self._dataset)

    def train(self, start: int, stop: int) -> None:
        """Train on the next batches, as many as from `start` up to, and without, `stop`; fewer if there are no more."""
        if self._iterator is None:
            return
        try:
            self._train_piece(self._iterator, tf.constant(stop - start))
        except (
            tf.errors.OutOfRangeError,
            StopIteration,
        ):  # an epoch may have fewer batches than the one before
            self._iterator = None

    def metrics(self) -> Mapping[str, float]:
        """Return the metrics of the epoch so far."""
        return self._step.metrics()

    def _train_piece_graph(self, iterator: Any, count: tf.Tensor) -> None:
        for _ in tf.range(count):
            self._step(unpack(next(iterator)))


def make_program(
    model: keras.Model,
    train: Split,
    batch_size: int,
    *,
    outputs: Outputs = (),
    seed: int = 0,
    class_weight: Mapping[Any, float] | None = None,
    listener: ProgressListener | None = None,
    workers: WorkerGroup | None = None,
) -> EpochProgram:
    """Return the program that trains on this form of data.

    Args:
        model: a compiled model; it is built.
        train: encoded training inputs, with the targets and weights as `load` returned them.
        batch_size: rows of a batch; batches of a stream have a size of their own.
        outputs: what the model's outputs mean; () leaves the targets as they are.
        seed: seeds the random generators with which a stream makes its batches.
        class_weight: weight of each class in the loss, as `Model.fit` takes it.
        listener: is told what is left out, and whether a resumed training is exact.
        workers: processes of another backend to train in; they take arrays and images on disk.
    """
    listener = listener or NullProgress()
    if isinstance(train.inputs, Stream):
        return _stream_program(
            model,
            train.inputs.batched(batch_size),
            outputs=outputs,
            seed=seed,
            class_weight=class_weight,
            listener=listener,
        )
    inputs = train.inputs
    targets = encode_targets(model, train.targets, outputs)
    weights = batches.class_weighted(train, class_weight, outputs)
    if workers is not None:
        return WorkerProgram(model, (inputs, targets, weights), batch_size, group=workers, listener=listener)
    batch_size, drop_last = _rows_of_batches(model, count_rows(inputs), batch_size, listener)
    if isinstance(inputs, SparseBags) and SparseBagProgram.supports(model):
        return SparseBagProgram(model, inputs, targets, batch_size, weights)
    if isinstance(inputs, ImageFiles) or batches.is_on_disk((inputs, targets, weights)):
        reader = RowReader(parts=(inputs, targets, weights), batch_size=batch_size, drop_last=drop_last)
        return StreamedProgram(
            TrainStep(model, reader.example(fixed_batch_size(model) or EXAMPLE_ROWS)), reader
        )
    return DenseProgram(
        model, (map_tree(_to_dense_leaf, inputs), targets, weights), batch_size, drop_last=drop_last
    )


def unpack(batch: Any) -> Parts:
    """Return a batch of a pipeline as inputs, targets and weights."""
    inputs, targets, weights = keras.utils.unpack_x_y_sample_weight(batch)
    return inputs, targets, weights


def _stream_program(
    model: keras.Model,
    stream: Stream,
    *,
    outputs: Outputs,
    seed: int,
    class_weight: Mapping[Any, float] | None,
    listener: ProgressListener,
) -> EpochProgram:
    if not stream.is_indexed:
        listener.message(
            "the training data is a tf.data pipeline: a resumed training continues at the start of an epoch, and is not"
            " exactly the same as one without a break"
        )
        if stream.encode is None:
            return PipelineProgram(model, stream, class_weight)

    def prepare(parts: Parts) -> Parts:
        inputs, targets, weights = parts
        split = Split(inputs, targets, weights)
        return (
            inputs,
            encode_targets(model, targets, outputs),
            batches.class_weighted(split, class_weight, outputs),
        )

    reader = StreamReader(stream, prepare, seed=seed, rows=fixed_batch_size(model))
    return StreamedProgram(TrainStep(model, reader.example()), reader)


def _weighted_pipeline(dataset: Any, class_weight: Mapping[Any, float] | None) -> Any:
    """Return a pipeline whose batches have the weight of each row's class."""
    if not class_weight:
        return dataset
    weights = tf.constant([class_weight.get(label, 1.0) for label in range(max(map(int, class_weight)) + 1)])

    def weigh(*batch: Any) -> Any:
        inputs, targets, own = unpack(batch if len(batch) > 1 else batch[0])
        if targets is None or tf.nest.is_nested(targets):
            raise BadDataError(
                "class_weight is for models with one output", "add weights to the pipeline's batches"
            )
        labels = targets
        if labels.shape.rank and labels.shape.rank > 1:
            labels = tf.squeeze(labels, -1) if labels.shape[-1] == 1 else tf.argmax(labels, axis=-1)
        by_class = tf.gather(weights, tf.cast(tf.round(tf.cast(labels, tf.float32)), tf.int32))
        return inputs, targets, by_class if own is None else by_class * tf.cast(own, by_class.dtype)

    return dataset.map(weigh, num_parallel_calls=tf.data.AUTOTUNE)


def _rows_of_batches(
    model: keras.Model, rows: int, batch_size: int, listener: ProgressListener
) -> tuple[int, bool]:
    """Return the rows of a batch, and whether an incomplete last one is left out."""
    fixed = fixed_batch_size(model)
    if fixed is None:
        return batch_size, False
    if fixed > rows:
        raise BadDataError(
            f"the model's Input takes batches of {fixed} rows, and there are {rows} to train on",
            "build the model without a batch size, or give it more data",
        )
    if fixed != batch_size:
        listener.message(f"batches have {fixed} rows, because the model's Input is declared with that size")
    if rows % fixed:
        listener.message(
            f"the model takes batches of {fixed} rows: the last {rows % fixed} of each epoch's {rows:,} are left out"
        )
    return fixed, True


def _to_dense_leaf(leaf: Any) -> Any:
    return leaf.dense() if hasattr(leaf, "dense") else leaf

"""Compiled TensorFlow graphs that train and predict on dense arrays, sparse bags of words and image files.

An epoch is trained in pieces, which are ranges of batches. The weights after an epoch equal those of `Model.fit`
with the same order of rows: each batch goes through the model's own `train_step`, which a recipe may override.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any, Protocol

import keras
import numpy as np
import tensorflow as tf

from mlctl.adapters.keras import multi_gpu
from mlctl.adapters.keras.fused_adam import use_fused_kernel
from mlctl.adapters.keras.prefetch import StreamedProgram
from mlctl.adapters.keras.tensors import to_tensor
from mlctl.data.dataset import needs_dense
from mlctl.data.files.images import ImageFiles
from mlctl.data.sparse_bags import SparseBags
from mlctl.data.trees import take_rows

PREDICTED_ROWS, PREDICTED_IMAGES = 2000, 64  # rows that are predicted together; images are read from disk

Array = np.ndarray[Any, Any]


class EpochProgram(Protocol):
    """Trains one model on one form of data: `rows` rows in `steps` batches."""

    rows: int
    steps: int

    def begin_epoch(self, order: Array) -> None:
        """Set the order of the training rows, (rows,) row numbers."""

    def train(self, start: int, stop: int) -> None:
        """Train on the batches from `start` up to, and without, `stop`."""


class BatchPredictor(Protocol):
    """Predicts rows with one model, and scores the predictions."""

    def __call__(self, inputs: Any, targets: Array) -> tuple[Array, float]:
        """Return predictions (n, k) and their mean loss; update the model's running metrics."""


class DensePredictor:
    """Predicts arrays (n, …)."""

    def __init__(self, model: keras.Model) -> None:
        self.model = model
        self._predict = tf.function(self._predict_graph, reduce_retracing=True)

    def __call__(self, inputs: Array, targets: Array) -> tuple[Array, float]:
        """Return predictions (n, k) and their mean loss."""
        predictions, loss = self._predict(inputs, targets)
        return predictions.numpy(), float(loss)

    def _predict_graph(self, inputs: tf.Tensor, targets: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        predictions = self.model(inputs, training=False)
        return predictions, _score(self.model, inputs, targets, predictions)


class DenseProgram:
    """Trains on arrays that stay on the device: inputs (n, …) and targets (n, …)."""

    def __init__(
        self, model: keras.Model, inputs: Array | tf.Tensor, targets: Array, batch_size: int
    ) -> None:
        self.model, self.batch_size = model, batch_size
        self.rows = len(targets)
        self.steps = -(-self.rows // batch_size)
        self._inputs = inputs if tf.is_tensor(inputs) else tf.constant(inputs)
        self._targets = tf.constant(targets)
        _build(model, self._inputs[:2], self._targets[:2])
        self._order = tf.constant(np.arange(self.rows, dtype=np.int32))
        self._train_piece = tf.function(self._train_piece_graph)

    def begin_epoch(self, order: Array) -> None:
        """Set the order of the training rows, (rows,) row numbers."""
        self._order = tf.constant(order.astype(np.int32))

    def train(self, start: int, stop: int) -> None:
        """Train on the batches from `start` up to, and without, `stop`."""
        self._train_piece(self._order, tf.constant(start), tf.constant(stop))

    def _train_piece_graph(self, order: tf.Tensor, start: tf.Tensor, stop: tf.Tensor) -> None:
        for step in tf.range(start, stop):
            rows = order[step * self.batch_size : (step + 1) * self.batch_size]
            multi_gpu.train_step(self.model, tf.gather(self._inputs, rows), tf.gather(self._targets, rows))


class SparseBagPredictor:
    """Predicts bags of words with a model that begins with a Dense layer."""

    def __init__(self, model: keras.Model) -> None:
        self.model = model
        self._first, self._rest = model.layers[0], model.layers[1:]
        self._predict = tf.function(self._predict_graph, reduce_retracing=True)

    def __call__(self, inputs: SparseBags, targets: Array) -> tuple[Array, float]:
        """Return predictions (n, k) and their mean loss."""
        rows = np.repeat(np.arange(len(inputs), dtype=np.int32), inputs.lengths)
        predictions, loss = self._predict(inputs.ids.astype(np.int32), rows, targets)
        return predictions.numpy(), float(loss)

    def _predict_graph(
        self, ids: tf.Tensor, rows: tf.Tensor, targets: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        predictions = self.forward(ids, rows, tf.shape(targets)[0], by_word=None, training=False)
        return predictions, _score(self.model, None, targets, predictions)

    def forward(
        self,
        ids: tf.Tensor,
        rows: tf.Tensor,
        count: tf.Tensor,
        *,
        by_word: tuple[tf.Tensor, tf.Tensor] | None,
        training: bool,
    ) -> tf.Tensor:
        """Return the model's output (count, k) for bags of words.

        Args:
            ids: (words,) word numbers of all bags, one bag after another.
            rows: (words,) the row that each word belongs to.
            count: number of bags.
            by_word: the same (ids, rows) sorted by word, which the gradient needs.
            training: as Keras's layers take it.
        """
        hidden = _multi_hot_product(self._first.kernel.value, ids, rows, count, by_word)
        if self._first.bias is not None:
            hidden = hidden + self._first.bias.value
        hidden = self._first.activation(hidden)
        for layer in self._rest:
            hidden = layer(hidden, training=training)
        return hidden


class SparseBagProgram:
    """Trains on multi-hot rows without building them.

    The product of a multi-hot row and the kernel is the sum of the kernel's rows at the row's words. The kernel's
    gradient is the same sum over the transposed batch. Both cost what the words cost, not what the vocabulary
    costs. The gradient is dense and exact: momentum moves every weight at every step.
    """

    def __init__(self, model: keras.Model, inputs: SparseBags, targets: Array, batch_size: int) -> None:
        self.model, self.batch_size = model, batch_size
        self.rows = len(targets)
        self.steps = -(-self.rows // batch_size)
        self._bags, self._targets = inputs, targets
        self._forward = SparseBagPredictor(model).forward
        _build(model, tf.zeros((2, inputs.width)), tf.constant(targets[:2]))
        self._train_piece = tf.function(self._train_piece_graph, reduce_retracing=True)
        self._epoch: tuple[tf.Tensor, ...] = ()

    @staticmethod
    def supports(model: keras.Model) -> bool:
        """Return whether the model begins with a plain float32 Dense layer, followed by a sequence of layers."""
        return (
            isinstance(model, keras.Sequential)
            and bool(model.layers)
            and type(model.layers[0]) is keras.layers.Dense
            and type(model).train_step is keras.Model.train_step
            and model.layers[0].compute_dtype == "float32"
        )

    def begin_epoch(self, order: Array) -> None:
        """Set the order of the training rows, (rows,) row numbers, and transpose each batch."""
        bags = self._bags.take(order)
        batch_ends = np.minimum(np.arange(self.steps + 1) * self.batch_size, self.rows)
        self._epoch = (
            *_transpose_batches(bags, batch_ends, self.batch_size),
            tf.constant(bags.starts[batch_ends].astype(np.int32)),
            tf.constant(self._targets[order]),
        )

    def train(self, start: int, stop: int) -> None:
        """Train on the batches from `start` up to, and without, `stop`."""
        self._train_piece(*self._epoch, tf.constant(start), tf.constant(stop))

    def _train_piece_graph(
        self,
        ids: tf.Tensor,
        rows: tf.Tensor,
        ids_by_word: tf.Tensor,
        rows_by_word: tf.Tensor,
        bounds: tf.Tensor,
        targets: tf.Tensor,
        start: tf.Tensor,
        stop: tf.Tensor,
    ) -> None:
        model = self.model
        variables = [variable.value for variable in model.trainable_variables]
        for step in tf.range(start, stop):
            first, last = bounds[step], bounds[step + 1]
            batch_targets = targets[step * self.batch_size : (step + 1) * self.batch_size]
            count = tf.shape(batch_targets)[0]
            by_word = (ids_by_word[first:last], rows_by_word[first:last])
            with tf.GradientTape() as tape:
                predictions = self._forward(
                    ids[first:last], rows[first:last], count, by_word=by_word, training=True
                )
                loss = model.compute_loss(None, batch_targets, predictions, training=True)
            model.optimizer.apply(tape.gradient(loss, variables), model.trainable_variables)
            # update the running loss and metrics as the model's own train_step does
            model._loss_tracker.update_state(loss, sample_weight=count)
            model.compute_metrics(None, batch_targets, predictions)


def _multi_hot_product(
    kernel: tf.Tensor,
    ids: tf.Tensor,
    rows: tf.Tensor,
    count: tf.Tensor,
    by_word: tuple[tf.Tensor, tf.Tensor] | None,
) -> tf.Tensor:
    """Return multi-hot rows times the kernel (vocabulary, units): (count, units)."""

    @tf.custom_gradient  # type: ignore[untyped-decorator]
    def product(kernel: tf.Tensor) -> tuple[tf.Tensor, Any]:
        def gradient(upstream: tf.Tensor) -> tf.Tensor:
            assert by_word is not None
            ids_by_word, rows_by_word = by_word
            return tf.raw_ops.SparseSegmentSumWithNumSegments(
                data=upstream, indices=rows_by_word, segment_ids=ids_by_word, num_segments=kernel.shape[0]
            )

        summed = tf.raw_ops.SparseSegmentSumWithNumSegments(
            data=kernel, indices=ids, segment_ids=rows, num_segments=count
        )
        return summed, gradient

    return product(tf.convert_to_tensor(kernel))


def _transpose_batches(bags: SparseBags, batch_ends: Array, batch_size: int) -> tuple[tf.Tensor, ...]:
    """Return the (word, row) pairs of every batch, sorted by row and sorted by word.

    Returns:
        Four tensors (words,): ids and rows sorted by row, then ids and rows sorted by word. Rows count from 0 in
        each batch.
    """
    rows = (np.repeat(np.arange(len(bags)), np.diff(bags.starts)) % batch_size).astype(np.int32)
    ids_by_word, rows_by_word = np.empty(len(bags.ids), np.int32), np.empty(len(bags.ids), np.int32)
    for first, last in pairwise(batch_ends):
        words = slice(bags.starts[first], bags.starts[last])
        order = np.argsort(bags.ids[words], kind="stable")  # a radix sort for 16-bit numbers
        ids_by_word[words] = bags.ids[words][order]
        rows_by_word[words] = rows[words][order]
    arrays = (bags.ids.astype(np.int32), rows, ids_by_word, rows_by_word)
    return tuple(tf.constant(array) for array in arrays)


def _build(model: keras.Model, inputs: tf.Tensor, targets: tf.Tensor) -> None:
    """Create every variable that training needs, because none can be created in a graph."""
    with model.distribute_strategy.scope():
        predictions = model(inputs, training=False)
        model.compute_loss(inputs, targets, predictions, training=False)
        model.compute_metrics(inputs, targets, predictions)
        model.optimizer.build(model.trainable_variables)
        if multi_gpu.count_devices(model) == 1:  # the fused kernel does not average gradients over devices
            use_fused_kernel(model.optimizer)
        model.reset_metrics()


def _score(model: keras.Model, inputs: Any, targets: tf.Tensor, predictions: tf.Tensor) -> tf.Tensor:
    """Add predictions to the running metrics; return their mean loss."""
    model.compute_metrics(inputs, targets, predictions)
    return tf.cast(model.compute_loss(inputs, targets, predictions, training=False), tf.float32)


def encode_targets(model: keras.Model, targets: Array, classes: int) -> Array:
    """Return targets (n,) in the form that the model's loss takes.

    This is (n, 1) for one output, (n,) class numbers for a sparse loss, and one-hot rows (n, classes) otherwise.
    """
    if classes <= 2 and model.output_shape[-1] == 1:
        return targets.astype(np.float32)[:, np.newaxis]
    loss = getattr(model.loss, "name", None) or getattr(model.loss, "__name__", None) or model.loss
    if "sparse" in str(loss):
        return targets.astype(np.int32)
    return np.eye(classes, dtype=np.float32)[targets]


def make_program(model: keras.Model, inputs: Any, targets: Array, batch_size: int) -> EpochProgram:
    """Return the program that trains on this form of data."""
    if isinstance(inputs, SparseBags) and SparseBagProgram.supports(model):
        return SparseBagProgram(model, inputs, targets, batch_size)
    if isinstance(inputs, ImageFiles):
        sample = inputs.take(np.arange(min(2, len(inputs)))).dense()
        _build(model, tf.constant(sample), tf.constant(targets[:2]))
        return StreamedProgram(model, inputs, targets, batch_size)
    if not tf.is_tensor(inputs):
        inputs = to_tensor(to_dense(inputs))
    return DenseProgram(model, inputs, targets, batch_size)


def make_predictor(model: keras.Model, inputs: Any) -> BatchPredictor:
    """Return the predictor for this form of data."""
    if isinstance(inputs, SparseBags) and SparseBagProgram.supports(model):
        return SparseBagPredictor(model)
    return DensePredictor(model)


def predict(
    predictor: BatchPredictor, inputs: Any, targets: Array, batch_size: int = PREDICTED_ROWS
) -> tuple[Array, float]:
    """Predict all rows in batches; return predictions (n, k) float32 and their mean loss."""
    batches, total_loss = [], 0.0
    if isinstance(inputs, ImageFiles):
        batch_size = PREDICTED_IMAGES
    for start in range(0, len(targets), batch_size):
        rows = np.arange(start, min(start + batch_size, len(targets)))
        batch = take_rows(inputs, rows)
        if not isinstance(predictor, SparseBagPredictor):
            batch = to_dense(batch)
        predictions, loss = predictor(batch, targets[rows])
        batches.append(predictions)
        total_loss += loss * len(rows)
    return np.concatenate(batches).astype(np.float32), total_loss / len(targets)


def to_dense(inputs: Any) -> Array:
    """Return inputs as the array (n, …) that a model takes."""
    return np.asarray(inputs.dense() if needs_dense(inputs) else inputs)


def current_metrics(model: keras.Model) -> Mapping[str, float]:
    """Return the model's running metrics as numbers."""
    return {name: float(value) for name, value in model.get_metrics_result().items()}

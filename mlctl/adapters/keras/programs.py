"""What runs on the device: pieces of an epoch as one compiled graph, for dense arrays and for bags of words.

A piece is a range of batches. Weights after an epoch in pieces equal those of `Model.fit` in the same order:
each batch goes through the model's own `train_step`, so that a recipe's custom step counts here, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any, Protocol

import keras
import numpy as np
import tensorflow as tf

from mlctl.adapters.keras import multi_gpu
from mlctl.adapters.keras.fused_adam import fuse
from mlctl.adapters.keras.prefetch import FedProgram
from mlctl.adapters.keras.tensors import resident
from mlctl.data.dataset import is_packed, take
from mlctl.data.files.images import ImageFiles
from mlctl.data.sparse_bags import SparseBags

PICTURES_AT_ONCE = 64  # read from disk and answered together

Array = np.ndarray[Any, Any]


class Program(Protocol):
    """One model's training on one form of data: `rows` in `steps` batches."""

    rows: int
    steps: int

    def begin_epoch(self, order: Array) -> None:
        """Lay out the training rows in this order."""

    def train(self, start: int, stop: int) -> None:
        """Train on the batches from `start` up to `stop`."""


class Predictor(Protocol):
    """One model's answers to rows that it is not trained on."""

    def __call__(self, inputs: Any, targets: Array) -> tuple[Array, float]:
        """Return predictions (n, k), and the mean loss over them; the model's running metrics count them."""


class DensePredictor:
    """Answers to arrays (n, …)."""

    def __init__(self, model: keras.Model) -> None:
        self.model = model
        self._piece = tf.function(self._traced, reduce_retracing=True)

    def __call__(self, inputs: Array, targets: Array) -> tuple[Array, float]:
        """Return predictions and the mean loss."""
        predictions, loss = self._piece(inputs, targets)
        return predictions.numpy(), float(loss)

    def _traced(self, inputs: tf.Tensor, targets: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        predictions = self.model(inputs, training=False)
        return predictions, _judged(self.model, inputs, targets, predictions)


class DenseProgram:
    """Training on arrays that stay on the device: inputs (n, …) and targets (n, …)."""

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
        self._train_piece = tf.function(self._train_piece_traced)

    def begin_epoch(self, order: Array) -> None:
        """Lay out the training rows in this order."""
        self._order = tf.constant(order.astype(np.int32))

    def train(self, start: int, stop: int) -> None:
        """Train on the batches from `start` up to `stop`."""
        self._train_piece(self._order, tf.constant(start), tf.constant(stop))

    def _train_piece_traced(self, order: tf.Tensor, start: tf.Tensor, stop: tf.Tensor) -> None:
        for step in tf.range(start, stop):
            rows = order[step * self.batch_size : (step + 1) * self.batch_size]
            multi_gpu.train_step(self.model, tf.gather(self._inputs, rows), tf.gather(self._targets, rows))


class BagPredictor:
    """Answers to bags of words, of a model that begins with a Dense layer."""

    def __init__(self, model: keras.Model) -> None:
        self.model = model
        self.first, self.rest = model.layers[0], model.layers[1:]
        self._piece = tf.function(self._traced, reduce_retracing=True)

    def __call__(self, inputs: SparseBags, targets: Array) -> tuple[Array, float]:
        """Return predictions and the mean loss."""
        rows = np.repeat(np.arange(len(inputs), dtype=np.int32), inputs.lengths)
        predictions, loss = self._piece(inputs.ids.astype(np.int32), rows, targets)
        return predictions.numpy(), float(loss)

    def _traced(self, ids: tf.Tensor, rows: tf.Tensor, targets: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        predictions = self.forward(ids, rows, tf.shape(targets)[0], None, training=False)
        return predictions, _judged(self.model, None, targets, predictions)

    def forward(
        self, ids: tf.Tensor, rows: tf.Tensor, count: tf.Tensor, turned: Any, training: bool
    ) -> tf.Tensor:
        """Return the model's answers to `count` bags: `ids` are their words, `rows` whose each one is."""
        hidden = _bag_product(self.first.kernel.value, ids, rows, count, turned)
        if self.first.bias is not None:
            hidden = hidden + self.first.bias.value
        hidden = self.first.activation(hidden)
        for layer in self.rest:
            hidden = layer(hidden, training=training)
        return hidden


class BagProgram:
    """Training on multi-hot rows that are never laid out: a row of the first Dense layer is a sum of its words'.

    The product of a multi-hot row and the kernel is the sum of the kernel's rows at the row's words, and the
    kernel's gradient is the same sum over the batch turned round, so both cost what the words cost and not
    what the vocabulary costs. The gradient is dense and exact: momentum moves every weight at every step.
    """

    def __init__(self, model: keras.Model, inputs: SparseBags, targets: Array, batch_size: int) -> None:
        self.model, self.batch_size = model, batch_size
        self.rows = len(targets)
        self.steps = -(-self.rows // batch_size)
        self._bags, self._targets = inputs, targets
        self._forward = BagPredictor(model).forward
        _build(model, tf.zeros((2, inputs.width)), tf.constant(targets[:2]))
        self._train_piece = tf.function(self._train_piece_traced, reduce_retracing=True)
        self._epoch: tuple[tf.Tensor, ...] = ()

    @staticmethod
    def fits(model: keras.Model) -> bool:
        """Whether this model begins with a plain Dense layer, followed by layers one after another."""
        return (
            isinstance(model, keras.Sequential)
            and bool(model.layers)
            and type(model.layers[0]) is keras.layers.Dense
            and type(model).train_step is keras.Model.train_step
            and model.layers[0].compute_dtype == "float32"
        )

    def begin_epoch(self, order: Array) -> None:
        """Lay out the training rows in this order, each batch with its words turned round."""
        bags = self._bags.take(order)
        by_batch = np.minimum(np.arange(self.steps + 1) * self.batch_size, self.rows)
        self._epoch = (
            *_turned(bags, by_batch, self.batch_size),
            tf.constant(bags.starts[by_batch].astype(np.int32)),
            tf.constant(self._targets[order]),
        )

    def train(self, start: int, stop: int) -> None:
        """Train on the batches from `start` up to `stop`."""
        self._train_piece(*self._epoch, tf.constant(start), tf.constant(stop))

    def _train_piece_traced(
        self,
        ids: tf.Tensor, rows: tf.Tensor, turned_ids: tf.Tensor, turned_rows: tf.Tensor,
        bounds: tf.Tensor, targets: tf.Tensor, start: tf.Tensor, stop: tf.Tensor,
    ) -> None:  # fmt: skip
        model = self.model
        variables = [variable.value for variable in model.trainable_variables]
        for step in tf.range(start, stop):
            first, last = bounds[step], bounds[step + 1]
            wanted = targets[step * self.batch_size : (step + 1) * self.batch_size]
            count = tf.shape(wanted)[0]
            turned = (turned_ids[first:last], turned_rows[first:last])
            with tf.GradientTape() as tape:
                answer = self._forward(ids[first:last], rows[first:last], count, turned, training=True)
                loss = model.compute_loss(None, wanted, answer, training=True)
            model.optimizer.apply(tape.gradient(loss, variables), model.trainable_variables)
            # the running loss and metrics, as the model's own train_step counts them
            model._loss_tracker.update_state(loss, sample_weight=count)
            model.compute_metrics(None, wanted, answer)


def _bag_product(
    kernel: tf.Tensor, ids: tf.Tensor, rows: tf.Tensor, count: tf.Tensor, turned: Any
) -> tf.Tensor:
    """Return multi-hot rows times the kernel: (count, units)."""

    @tf.custom_gradient  # type: ignore[untyped-decorator]
    def product(kernel: tf.Tensor) -> tuple[tf.Tensor, Any]:
        def gradient(upstream: tf.Tensor) -> tf.Tensor:
            turned_ids, turned_rows = turned
            return tf.raw_ops.SparseSegmentSumWithNumSegments(
                data=upstream, indices=turned_rows, segment_ids=turned_ids, num_segments=kernel.shape[0]
            )

        summed = tf.raw_ops.SparseSegmentSumWithNumSegments(
            data=kernel, indices=ids, segment_ids=rows, num_segments=count
        )
        return summed, gradient

    return product(tf.convert_to_tensor(kernel))


def _turned(bags: SparseBags, by_batch: Array, batch_size: int) -> tuple[tf.Tensor, ...]:
    """Return (word, row) pairs of every batch, sorted by row, and again sorted by word; rows count by batch."""
    rows = (np.repeat(np.arange(len(bags)), np.diff(bags.starts)) % batch_size).astype(np.int32)
    turned_ids, turned_rows = np.empty(len(bags.ids), np.int32), np.empty(len(bags.ids), np.int32)
    for first, last in pairwise(by_batch):
        words = slice(bags.starts[first], bags.starts[last])
        order = np.argsort(bags.ids[words], kind="stable")  # a radix sort, for 16 bits
        turned_ids[words] = bags.ids[words][order]
        turned_rows[words] = rows[words][order]
    return tuple(tf.constant(one) for one in (bags.ids.astype(np.int32), rows, turned_ids, turned_rows))


def _build(model: keras.Model, inputs: tf.Tensor, targets: tf.Tensor) -> None:
    """Make every variable that training needs, so that none is made inside a graph."""
    with model.distribute_strategy.scope():
        predictions = model(inputs, training=False)
        model.compute_loss(inputs, targets, predictions, training=False)
        model.compute_metrics(inputs, targets, predictions)
        model.optimizer.build(model.trainable_variables)
        if multi_gpu.count(model) == 1:  # the kernel knows nothing of gradients from elsewhere
            fuse(model.optimizer)
        model.reset_metrics()


def _judged(model: keras.Model, inputs: Any, targets: tf.Tensor, predictions: tf.Tensor) -> tf.Tensor:
    """Add predictions to the running metrics; return their mean loss."""
    model.compute_metrics(inputs, targets, predictions)
    return tf.cast(model.compute_loss(inputs, targets, predictions, training=False), tf.float32)


def targets_for(model: keras.Model, targets: Array, classes: int) -> Array:
    """Return targets as the model's loss takes them: (n, 1) numbers, class numbers, or one-hot rows."""
    if classes <= 2 and model.output_shape[-1] == 1:
        return targets.astype(np.float32)[:, np.newaxis]
    loss = getattr(model.loss, "name", None) or getattr(model.loss, "__name__", None) or model.loss
    if "sparse" in str(loss):
        return targets.astype(np.int32)
    return np.eye(classes, dtype=np.float32)[targets]


def program_for(model: keras.Model, inputs: Any, targets: Array, batch_size: int) -> Program:
    """Return the program for this form of data."""
    if isinstance(inputs, SparseBags) and BagProgram.fits(model):
        return BagProgram(model, inputs, targets, batch_size)
    if isinstance(inputs, ImageFiles):
        _build(
            model, tf.constant(inputs.take(np.arange(min(2, len(inputs)))).dense()), tf.constant(targets[:2])
        )
        return FedProgram(model, inputs, targets, batch_size)
    if not tf.is_tensor(inputs):
        inputs = resident(dense(inputs))
    return DenseProgram(model, inputs, targets, batch_size)


def predictor_for(model: keras.Model, inputs: Any) -> Predictor:
    """Return the predictor for this form of data."""
    if isinstance(inputs, SparseBags) and BagProgram.fits(model):
        return BagPredictor(model)
    return DensePredictor(model)


def predict(
    predictor: Predictor, inputs: Any, targets: Array, rows_at_once: int = 2000
) -> tuple[Array, float]:
    """Answer all rows, some thousand at once: predictions (n, k) float32, and their mean loss."""
    found, losses = [], 0.0
    if isinstance(inputs, ImageFiles):
        rows_at_once = PICTURES_AT_ONCE
    for start in range(0, len(targets), rows_at_once):
        rows = np.arange(start, min(start + rows_at_once, len(targets)))
        piece = take(inputs, rows)
        predictions, loss = predictor(
            piece if isinstance(predictor, BagPredictor) else dense(piece), targets[rows]
        )
        found.append(predictions)
        losses += loss * len(rows)
    return np.concatenate(found).astype(np.float32), losses / len(targets)


def dense(inputs: Any) -> Array:
    """Return inputs as the array that a model takes."""
    return np.asarray(inputs.dense() if is_packed(inputs) else inputs)


def results(model: keras.Model) -> Mapping[str, float]:
    """Return the running metrics as numbers."""
    return {name: float(value) for name, value in model.get_metrics_result().items()}

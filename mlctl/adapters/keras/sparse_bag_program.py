"""A compiled graph that trains and predicts on bags of words, for a model that begins with a Dense layer."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from mlctl.adapters.keras.train_step import TrainStep, overrides
from mlctl.data.sparse_bags import SparseBags

OWN_METHODS = ("train_step", "test_step", "compute_loss", "compute_metrics")

Array = np.ndarray[Any, Any]


class SparseBagForward:
    """The forward pass for bags of words of a model that begins with a Dense layer."""

    def __init__(self, model: keras.Model) -> None:
        self._first, self._rest = model.layers[0], model.layers[1:]

    def __call__(
        self,
        ids: tf.Tensor,
        rows: tf.Tensor,
        count: tf.Tensor,
        *,
        values: tf.Tensor | None = None,
        by_word: tuple[tf.Tensor, tf.Tensor] | None,
        training: bool,
    ) -> tf.Tensor:
        """Return the model's output (count, k) for bags of words.

        Args:
            ids: (words,) word numbers of all bags, one bag after another.
            rows: (words,) the row that each word belongs to.
            count: number of bags.
            values: (words,) value of each word in its bag; None: all are 1.
            by_word: the same (ids, rows) sorted by word, which the gradient needs.
            training: as Keras's layers take it.
        """
        kernel = self._first.kernel.value
        if values is None:
            hidden = _multi_hot_product(kernel, ids, rows, count, by_word)
        else:
            hidden = _weighted_product(kernel, ids, rows, values, count)
        if self._first.bias is not None:
            hidden = hidden + self._first.bias.value
        hidden = self._first.activation(hidden)
        for layer in self._rest:
            hidden = layer(hidden, training=training)
        return hidden


class SparseBagProgram:
    """Trains on multi-hot rows, or sparse rows of values, without building them.

    The product of a multi-hot row and the kernel is the sum of the kernel's rows at the row's words. The kernel's
    gradient is the same sum over the transposed batch. Both cost what the words cost, not what the vocabulary
    costs. The gradient is dense and exact: momentum moves every weight at every step.
    """

    def __init__(
        self,
        model: keras.Model,
        inputs: SparseBags,
        targets: Array,
        batch_size: int,
        weights: Array | None = None,
    ) -> None:
        self.model, self.batch_size = model, batch_size
        self.rows = len(targets)
        self.steps = -(-self.rows // batch_size)
        self._bags, self._targets = inputs, targets
        self._weights = np.ones(0, np.float32) if weights is None else weights
        self._forward = SparseBagForward(model)
        few = None if weights is None else tf.constant(weights[:2])
        self._step = TrainStep(
            model, (tf.zeros((min(2, self.rows), inputs.width)), tf.constant(targets[:2]), few)
        )
        self._train_piece = tf.function(self._train_piece_graph, reduce_retracing=True)
        self._epoch: tuple[tf.Tensor, ...] = ()

    @staticmethod
    def supports(model: keras.Model) -> bool:
        """Return whether the model begins with a plain float32 Dense layer, followed by a sequence of layers."""
        return (
            isinstance(model, keras.Sequential)
            and bool(model.layers)
            and type(model.layers[0]) is keras.layers.Dense
            and not any(overrides(model, method) for method in OWN_METHODS)
            and model.layers[0].compute_dtype == "float32"
        )

    def metrics(self) -> dict[str, float]:
        """Return the metrics of the epoch so far."""
        return self._step.metrics()

    def begin_epoch(self, order: Array, epoch: int = 1) -> None:
        """Set the order of the training rows, (rows,) row numbers, and transpose each batch."""
        bags = self._bags.take(order)
        batch_ends = np.minimum(np.arange(self.steps + 1) * self.batch_size, self.rows)
        self._epoch = (
            *_transpose_batches(bags, batch_ends, self.batch_size),
            tf.constant(np.ones(0, np.float32) if bags.values is None else bags.values),
            tf.constant(bags.starts[batch_ends].astype(np.int32)),
            tf.constant(self._targets[order]),
            tf.constant(self._weights[order] if len(self._weights) else self._weights),
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
        values: tf.Tensor,
        bounds: tf.Tensor,
        targets: tf.Tensor,
        weights: tf.Tensor,
        start: tf.Tensor,
        stop: tf.Tensor,
    ) -> None:
        model = self.model
        variables = [variable.value for variable in model.trainable_variables]
        for step in tf.range(start, stop):
            first, last = bounds[step], bounds[step + 1]
            batch = slice(step * self.batch_size, (step + 1) * self.batch_size)
            batch_targets = targets[batch]
            batch_weights = weights[batch] if len(self._weights) else None
            count = tf.shape(batch_targets)[0]
            by_word = (ids_by_word[first:last], rows_by_word[first:last])
            with tf.GradientTape() as tape:
                predictions = self._forward(
                    ids[first:last],
                    rows[first:last],
                    count,
                    values=None if self._bags.values is None else values[first:last],
                    by_word=by_word,
                    training=True,
                )
                loss = model.compute_loss(None, batch_targets, predictions, batch_weights, training=True)
                scaled_loss = model.optimizer.scale_loss(loss)
            model.optimizer.apply(tape.gradient(scaled_loss, variables), model.trainable_variables)
            # update the running loss and metrics as the model's own train_step does
            model._loss_tracker.update_state(loss, sample_weight=count)
            model.compute_metrics(None, batch_targets, predictions, batch_weights)


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


def _weighted_product(
    kernel: tf.Tensor, ids: tf.Tensor, rows: tf.Tensor, values: tf.Tensor, count: tf.Tensor
) -> tf.Tensor:
    """Return sparse rows of values times the kernel (vocabulary, units): (count, units)."""

    @tf.custom_gradient  # type: ignore[untyped-decorator]
    def product(kernel: tf.Tensor) -> tuple[tf.Tensor, Any]:
        def gradient(upstream: tf.Tensor) -> tf.Tensor:
            terms = tf.gather(upstream, rows) * values[:, tf.newaxis]
            return tf.math.unsorted_segment_sum(terms, ids, kernel.shape[0])

        return tf.math.unsorted_segment_sum(
            tf.gather(kernel, ids) * values[:, tf.newaxis], rows, count
        ), gradient

    return product(tf.convert_to_tensor(kernel))


def _transpose_batches(bags: SparseBags, batch_ends: Array, batch_size: int) -> tuple[tf.Tensor, ...]:
    """Return the (word, row) pairs of every batch, sorted by row and sorted by word.

    Returns:
        Four tensors (words,): ids and rows sorted by row, then ids and rows sorted by word. Rows count from 0 in
        each batch.
    """
    rows = (np.repeat(np.arange(len(bags)), np.diff(bags.starts)) % batch_size).astype(np.int32)
    if bags.values is not None:  # their gradient does not need the words sorted
        ids, unused = tf.constant(bags.ids.astype(np.int32)), tf.zeros(len(rows), tf.int32)
        return ids, tf.constant(rows), unused, unused
    ids_by_word, rows_by_word = np.empty(len(bags.ids), np.int32), np.empty(len(bags.ids), np.int32)
    for first, last in pairwise(batch_ends):
        words = slice(bags.starts[first], bags.starts[last])
        order = np.argsort(bags.ids[words], kind="stable")  # a radix sort for 16-bit numbers
        ids_by_word[words] = bags.ids[words][order]
        rows_by_word[words] = rows[words][order]
    arrays = (bags.ids.astype(np.int32), rows, ids_by_word, rows_by_word)
    return tuple(tf.constant(array) for array in arrays)

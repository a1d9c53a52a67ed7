"""Predictions and scores of a model's own, in batches that are bounded by the memory they need."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol

import keras
import numpy as np
import tensorflow as tf

from mlctl.adapters.keras import batches
from mlctl.adapters.keras.answers import bytes_per_row, can_predict, describe_answers, output_tree
from mlctl.adapters.keras.losses import encode_targets
from mlctl.adapters.keras.outputs import predictions_of
from mlctl.adapters.keras.sparse_bag_program import SparseBagForward, SparseBagProgram
from mlctl.adapters.keras.train_step import (
    as_declared,
    current_metrics,
    fixed_batch_size,
    forward,
    is_plain,
    overrides,
)
from mlctl.data.dataset import Split, needs_dense
from mlctl.data.files.images import ImageFiles
from mlctl.data.sparse_bags import SparseBags
from mlctl.data.streams import Stream, join
from mlctl.data.trees import Tree, count_rows, is_nested, leaves, map_tree, take_rows
from mlctl.domain.outputs import Output, Outputs

MAX_ROWS, MAX_IMAGES = 2000, 64  # that are predicted together; images are read from disk
MAX_BYTES = 64 << 20  # of all layers' outputs for the rows that are predicted together

DEFAULT_ROWS = 32  # of a batch for a model's own `test_step`, as for `Model.evaluate`

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What a model reaches on a split.

    Attributes:
        metrics: the model's own metrics, "loss" among them if the model has one.
        predictions: an array, or a dict of arrays by output name, logits as probabilities; None if nothing scores them.
        targets: the split's targets as `load` returned them, those of a stream joined.
        weights: the same for weights.
    """

    metrics: Mapping[str, float]
    predictions: Any
    targets: Any
    weights: Any


class BatchHooks(Protocol):
    """Is called for each batch of an evaluation."""

    def test_batch_begin(self, batch: int) -> None:
        """A batch begins; batches count from 0."""

    def test_batch_end(self, batch: int, logs: Mapping[str, float]) -> None:
        """A batch has ended; `logs` are the metrics so far."""


class Predictor:
    """Predicts rows with one model, and evaluates its loss and metrics in the same forward pass.

    The model's own `test_step` gives loss and metrics if it has one; predictions then need a pass of their own.
    """

    def __init__(self, model: keras.Model, outputs: Outputs = (), *, batch_size: int | None = None) -> None:
        """Take a model.

        Args:
            model: a compiled model.
            outputs: what the model's outputs mean; (): answers are left as the model gives them.
            batch_size: rows of a training step. As many can be predicted together, and a `test_step` gets as many.
        """
        self.model, self.outputs = model, outputs
        self._batch_size = batch_size
        self._has_test_step = overrides(model, "test_step")
        self._has_loss = True
        self._bags = SparseBagForward(model) if SparseBagProgram.supports(model) else None
        self._encoded: tuple[Any, Any] = (None, None)
        self._predict = self._compiled(self._predict_graph)
        self._evaluate = self._compiled(self._evaluate_graph)
        self._test = self._compiled(self._test_graph)

    def predict(self, inputs: Any) -> Any:
        """Return predictions of encoded rows: an array (n, …), or a dict of arrays by output name."""
        _reset_states(self.model)
        parts = _ahead(self._batches(Split(inputs)))
        return self._joined(
            [self._numpy(self._predict(*args, tf.constant(count)), count) for args, _, count in parts]
        )

    def evaluate(
        self, split: Split, *, predictions: bool = True, hooks: BatchHooks | None = None
    ) -> Evaluation:
        """Return predictions, loss and metrics of a split with encoded inputs.

        Args:
            split: encoded inputs, with targets and weights as `load` returned them.
            predictions: whether predictions are wanted; without, those of a large stream are not collected.
            hooks: are called for each batch; batches then have as many rows as in `Model.fit`.
        """
        model, wanted = self.model, predictions and can_predict(self.model)
        _reset_states(model)
        model.reset_metrics()
        untouched = {} if is_plain(model) else _metric_states(model)
        answers, kept, losses, logs = [], [], [], None
        found_batches = self._batches(split, as_in_fit=hooks is not None)
        for number, (args, raw, count) in enumerate(_ahead(found_batches)):
            if hooks is not None:
                hooks.test_batch_begin(number)
            if self._has_test_step:
                if _is_complete(args, self._fixed_rows):
                    logs = self._test(*args)
                if wanted:
                    answers.append(self._numpy(self._predict(*args, tf.constant(count)), count))
            else:
                answer, loss = self._evaluate(*args, tf.constant(count))
                losses.append((float(loss), count))
                answers.extend([self._numpy(answer, count)] if wanted else [])
            if split.is_stream and predictions:
                kept.append(raw)
            if hooks is not None:
                hooks.test_batch_end(number, self._metrics(logs, losses, untouched))
        metrics = self._metrics(logs, losses, untouched)
        targets, weights = _join_parts(kept) if split.is_stream else (split.targets, split.weights)
        found = self._joined(answers) if answers else None
        return Evaluation(metrics=metrics, predictions=found, targets=targets, weights=weights)

    def _metrics(
        self, logs: Any, losses: list[tuple[float, int]], untouched: Mapping[str, list[Array]]
    ) -> dict[str, float]:
        """Return the metrics of the batches so far; `losses` are pairs of a batch's loss and its rows."""
        metrics = _model_metrics(self.model, logs, untouched)
        if self._has_loss and not self._has_test_step and losses:
            metrics["loss"] = sum(loss * count for loss, count in losses) / sum(count for _, count in losses)
        return metrics

    # -- batches ------------------------------------------------------------------------------------------

    def _batches(
        self, split: Split, *, as_in_fit: bool = False
    ) -> Iterator[tuple[tuple[Any, ...], tuple[Any, Any], int]]:
        """Yield the arguments of a graph, the raw targets and weights, and the number of rows of each batch."""
        for inputs, targets, weights, raw in self._parts(split, as_in_fit):
            count = _count_rows(inputs)
            inputs = self._padded(inputs, count)
            yield (*self._to_graph(inputs), targets, weights), raw, count

    def _parts(self, split: Split, as_in_fit: bool) -> Iterator[tuple[Any, Any, Any, tuple[Any, Any]]]:
        if isinstance(split.inputs, Stream):
            stream = split.inputs.batched(self._batch_size or DEFAULT_ROWS)
            for inputs, targets, weights in _stream_batches(stream):
                raw = tuple(
                    None if part is None else map_tree(np.asarray, part) for part in (targets, weights)
                )
                encoded = targets if stream.is_pipeline else encode_targets(self.model, targets, self.outputs)
                yield _plain(inputs), _plain(encoded), _plain(weights), (raw[0], raw[1])
            return
        if self._encoded[0] is not split.targets:
            self._encoded = split.targets, encode_targets(self.model, split.targets, self.outputs)
        parts = (split.inputs, self._encoded[1], split.weights)
        rows, size = count_rows(split.inputs), self._rows_per_batch(split.inputs)
        if as_in_fit and not self._fixed_rows:
            size = self._batch_size or DEFAULT_ROWS
        for start in range(0, rows, size):
            taken = np.arange(start, min(start + size, rows))
            batch = [None if part is None else take_rows(part, taken) for part in parts]
            inputs = batch[0] if self._takes_bags(batch[0]) else _plain(batch[0])
            yield inputs, _plain(batch[1]), _plain(batch[2]), (None, None)

    @property
    def _fixed_rows(self) -> int | None:
        return fixed_batch_size(self.model)

    def _rows_per_batch(self, inputs: Any) -> int:
        """Return the number of rows to predict together: many, but only as many as the memory for their layers allows."""
        if self._fixed_rows:
            return self._fixed_rows
        if self._has_test_step:
            return self._batch_size or DEFAULT_ROWS
        if self._takes_bags(inputs):
            return MAX_ROWS
        few = map_tree(batches.as_tensor, take_rows(inputs, np.arange(min(2, count_rows(inputs)))))
        bounded = max(1, MAX_BYTES // max(1, bytes_per_row(self.model, few)))
        most = MAX_IMAGES if isinstance(inputs, ImageFiles) else MAX_ROWS
        return min(most, max(bounded, min(self._batch_size or 1, most)))

    def _padded(self, inputs: Any, count: int) -> Any:
        """Return inputs with as many rows as the model takes: the last row again and again."""
        if not self._fixed_rows or count == self._fixed_rows:
            return inputs
        rows = np.minimum(np.arange(self._fixed_rows), count - 1)
        return map_tree(lambda leaf: tf.gather(leaf, rows), inputs)

    def _takes_bags(self, inputs: Any) -> bool:
        return self._bags is not None and isinstance(inputs, SparseBags)

    def _to_graph(self, inputs: Any) -> tuple[Any, Any]:
        """Return inputs as a graph takes them: of bags, their words and the rows of these."""
        if not self._takes_bags(inputs):
            return inputs, None
        rows = np.repeat(np.arange(len(inputs), dtype=np.int32), inputs.lengths)
        ids = inputs.ids.astype(np.int32)
        return (ids if inputs.values is None else (ids, inputs.values)), rows

    # -- graphs -------------------------------------------------------------------------------------------

    def _compiled(self, function: Any) -> Any:
        unconverted = tf.autograph.experimental.do_not_convert(function)
        return unconverted if self.model.run_eagerly else tf.function(unconverted, reduce_retracing=True)

    def _forward(self, inputs: Any, rows: Any, count: Any) -> Any:
        if rows is None:
            return forward(self.model, inputs)
        assert self._bags is not None
        ids, values = inputs if isinstance(inputs, tuple) else (inputs, None)
        return self._bags(ids, rows, count, values=values, by_word=None, training=False)

    def _predict_graph(
        self, inputs: Any, rows: Any, targets: Any = None, weights: Any = None, count: Any = None
    ) -> Any:
        return self._forward(inputs, rows, count)

    def _evaluate_graph(
        self, inputs: Any, rows: Any, targets: Any, weights: Any, count: Any
    ) -> tuple[Any, Any]:
        model = self.model
        answer = self._forward(inputs, rows, count)
        if self._fixed_rows:  # the answers to rows that were added do not count
            answer = tf.nest.map_structure(lambda leaf: leaf[:count], answer)
        if targets is not None and weights is not None and is_nested(targets) and not is_nested(weights):
            weights = map_tree(lambda _: weights, targets)
        inputs = None if rows is not None else inputs
        self._has_loss = _has_loss(model)
        loss = tf.constant(np.nan)
        if self._has_loss:
            loss = model._compute_loss(inputs, targets, answer, sample_weight=weights, training=False)
        model.compute_metrics(inputs, targets, answer, sample_weight=weights)
        return answer, tf.cast(loss, tf.float32)

    def _test_graph(self, inputs: Any, rows: Any, targets: Any, weights: Any) -> Any:
        return self.model.test_step(batches.pack((as_declared(self.model, inputs), targets, weights)))

    # -- answers ------------------------------------------------------------------------------------------

    def _numpy(self, answer: Any, count: int) -> Any:
        """Return the answers to a batch as arrays."""
        tree = output_tree(answer)
        return map_tree(lambda leaf: _to_numpy(leaf)[:count], tree)

    def _joined(self, answers: list[Any]) -> Any:
        """Return the answers to all batches as predictions."""
        joined = map_tree(lambda *parts: join(*parts), answers[0], *answers[1:])
        outputs = self.outputs
        if not outputs or len(leaves(joined)) != len(outputs):
            names = [answer.name for answer in describe_answers(self.model)]
            outputs = tuple(Output(kind="none", name=name) for name in names) or (Output(kind="none"),)
        return predictions_of(joined, outputs)


def make_predictor(model: keras.Model, outputs: Outputs = (), *, batch_size: int | None = None) -> Predictor:
    """Return the predictor of a model; see `Predictor`."""
    return Predictor(model, outputs, batch_size=batch_size)


def to_dense(inputs: Tree) -> Any:
    """Return inputs as the arrays (n, …) that a model takes."""
    return map_tree(lambda leaf: np.asarray(leaf.dense() if needs_dense(leaf) else leaf), inputs)


def _plain(tree: Any) -> Any:
    return None if tree is None else map_tree(batches.as_plain_array, tree)


def _count_rows(tree: Any) -> int:
    leaf = leaves(tree)[0]
    return int(leaf.nrows()) if isinstance(leaf, tf.RaggedTensor) else len(leaf)


def _is_complete(args: tuple[Any, ...], fixed: int | None) -> bool:
    """Return whether a batch has the number of rows that a model with a fixed one takes."""
    targets = args[2]
    return fixed is None or targets is None or _count_rows(targets) == fixed


def _stream_batches(stream: Stream) -> Iterator[Any]:
    """Yield batches; those of a pipeline are tensors."""
    if stream.is_pipeline and stream.encode is None:
        return (keras.utils.unpack_x_y_sample_weight(batch) for batch in stream.pipeline())
    return iter(stream.batches())


def _ahead(items: Iterator[Any]) -> Iterator[Any]:
    """Yield items; the next one is made in a thread while the caller works with the present one."""
    with ThreadPoolExecutor(1) as thread:
        pending = thread.submit(next, items, None)
        while (item := pending.result()) is not None:
            pending = thread.submit(next, items, None)
            yield item


def _to_numpy(answer: Any) -> Any:
    if isinstance(answer, tf.RaggedTensor):
        answer = answer.to_tensor()
    return np.asarray(keras.ops.convert_to_numpy(answer))


def _has_loss(model: keras.Model) -> bool:
    """Return whether a model that has answered has something to minimize."""
    return model._compile_loss is not None or overrides(model, "compute_loss") or bool(model.losses)


def _metric_states(model: keras.Model) -> dict[str, list[Array]]:
    return {metric.name: [np.array(variable) for variable in metric.variables] for metric in model.metrics}


def _model_metrics(model: keras.Model, logs: Any, untouched: Mapping[str, list[Array]]) -> dict[str, float]:
    """Return the model's metrics; what a model's own `test_step` returned last, if that is something else.

    A metric that only the model's own `train_step` updates is left out: it would be 0.
    """
    results = current_metrics(model)
    if isinstance(logs, Mapping) and set(logs) != set(results):
        return {str(name): float(np.mean(value)) for name, value in logs.items()}
    if logs is not None:
        return results
    states = _metric_states(model)
    idle = {
        name
        for name, state in untouched.items()
        if state and name in states and all(map(np.array_equal, state, states[name]))
    }
    return {name: value for name, value in results.items() if name not in idle}


def _reset_states(model: keras.Model) -> None:
    """Forget what stateful layers remember of earlier rows, so that the same rows get the same answers."""
    for layer in model._flatten_layers():
        if getattr(layer, "stateful", False) and hasattr(layer, "reset_state") and layer.built:
            layer.reset_state()


def _join_parts(parts: list[tuple[Any, Any]]) -> tuple[Any, Any]:
    """Return the targets and weights of all batches as trees of arrays."""
    if not parts:
        return None, None
    targets, weights = (
        None if parts[0][place] is None else map_tree(join, *(part[place] for part in parts))
        for place in (0, 1)
    )
    return targets, weights

"""A network of members: many small networks in one, each trained on its own, whose average is the answer.

The members share most weights, as in TabM (Gorishniy and others, arXiv 2410.24210), so that 16 of them cost little
more than one. They can be in several bags: each bag has weights of its own, and leaves one part of the rows out of
its training. A row is validated by the bag that leaves it out, so that all rows are both trained on and validated.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from keras import layers, ops
from keras.src.losses.loss import scale_loss_for_distribution

ROUNDED = 0.25  # error, in standard deviations of the target, below which its square counts
SIGN_SEED = 2024  # of the members' signs: they do not depend on the run's seed
SHARPNESS = np.geomspace(0.25, 4.0, 81)  # factors of log odds that `calibrate` tries
LEAST_PROBABILITY = 1e-7

Array = np.ndarray[Any, Any]


class MemberNetwork(keras.Model):  # type: ignore[misc]  # Keras ships no types
    """Trains the members of a network each on its own; its answer is their average.

    Its inputs are encoded rows (n, features), or a pair of them and of the bags (n,) that leave each row out: such rows
    are answered by the members of this bag. `averaged` returns the plain network in which all members answer.
    """

    def __init__(
        self,
        inputs: Any,
        members: Any,
        answers: Any,
        *,
        encode: Callable[[Any], Any],
        loss: Callable[[Any, Any], Any],
        bags: int = 1,
        loss_scale: float = 1.0,
        metrics: Sequence[str] = (),
    ) -> None:
        """Take symbolic tensors.

        Args:
            inputs: encoded rows (n, features).
            members: what each member is trained on: (n, members, outputs).
            answers: what each member answers, in the target's unit: (n, members, outputs).
            encode: turns targets into those that the members are trained on.
            loss: returns the loss of each row (n,) for such targets and what a member is trained on (n, outputs).
            bags: number of bags; the members of a bag are beside each other.
            loss_scale: factor from the members' loss to that of the answers.
            metrics: names of the metrics of `averaged`.
        """
        super().__init__(inputs, layers.GlobalAveragePooling1D(name="average")(answers))
        # not an attribute that Keras tracks: the layers are those of this model
        object.__setattr__(self, "_members", keras.Model(inputs, [members, answers]))
        self.bags = bags
        self.answer_metrics = tuple(metrics)
        self.sharpness = 1.0
        self._encode = encode
        self._member_loss = loss
        self._loss_scale = loss_scale

    @property
    def input_spec(self) -> None:
        """Nothing: the model takes rows with and without bags."""
        return None

    def deal_rows(self, rows: int, classes: Array | None, seed: int) -> Array:
        """Return the bag that leaves out each row: int32 (rows,), at random, and evenly within each class."""
        rng = np.random.default_rng(seed)
        order = rng.permutation(rows)
        if classes is not None:
            order = order[np.argsort(classes[order], kind="stable")]
        bags = np.empty(rows, np.int32)
        bags[order] = np.arange(rows) % self.bags
        return bags

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """Return the average answer of all members; of rows with bags, that of the members that leave them out.

        In training, return what all members are trained on, and what they answer.
        """
        rows, bags = _rows_and_bags(inputs)
        if training:
            return self._members(rows, training=True)
        if bags is None:
            return super().call(inputs, training=training)
        _, answers = self._members(rows, training=training)
        weights = 1.0 - self._trains(bags, answers.shape[1])
        total = ops.sum(answers * ops.expand_dims(weights, -1), axis=1)
        return total / ops.sum(weights, axis=1, keepdims=True)

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        """Return the loss of the members in training, else of the answers.

        A row counts in the loss of the members that do not leave it out.
        """
        if not isinstance(y_pred, (tuple, list)):
            return super().compute_loss(x, y, y_pred, sample_weight, training)
        loss = self._loss_of_members(y_pred[0], y, _rows_and_bags(x)[1], sample_weight)
        return scale_loss_for_distribution(loss)

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """Return the metrics of the average answer."""
        if isinstance(y_pred, (tuple, list)):
            y_pred = ops.mean(y_pred[1], axis=1)
        return super().compute_metrics(x, y, y_pred, sample_weight)

    def get_metrics_result(self) -> dict[str, Any]:
        """Return the metrics, with the loss of the answers in place of that of the members."""
        results = dict(super().get_metrics_result())
        return {**results, "loss": results["loss"] * self._loss_scale}

    def calibrate(self, targets: Array, answers: Array) -> Array:
        """Choose the sharpness of `averaged` by rows that the members have not learned from; return their new answers.

        The sharpness is a factor of the log odds, 1 / temperature. Labels do not change with it.

        Args:
            targets: Class number of each row (n,).
            answers: What the members answer: probabilities (n, classes), or of two classes that of the second (n, 1).
        """
        logits = _log_odds(np.asarray(answers, np.float64).reshape(len(answers), -1), np)
        self.sharpness = _best_sharpness(np.asarray(targets).reshape(-1).astype(int), logits)
        scaled = self.sharpness * logits
        if scaled.shape[1] == 1:
            calibrated = 1 / (1 + np.exp(-scaled))
        else:
            calibrated = np.exp(scaled - np.logaddexp.reduce(scaled, axis=1, keepdims=True))
        return np.asarray(calibrated, np.float32).reshape(np.shape(answers))

    def averaged(self) -> keras.Model:
        """Return the network in which all members answer: a plain Keras model, to train on as a whole."""
        answers = self.outputs[0]
        if self.sharpness != 1.0:
            logits = layers.Rescaling(self.sharpness, dtype="float32", name="sharpness")(
                _log_odds(answers, ops)
            )
            activation = "softmax" if logits.shape[1] > 1 else "sigmoid"
            answers = layers.Activation(activation, dtype="float32", name="calibrated")(logits)
        model = keras.Model(self.inputs[0], answers, name="members")
        optimizer = type(self.optimizer).from_config(self.optimizer.get_config())
        model.compile(optimizer, loss=self.loss, metrics=list(self.answer_metrics))
        return model

    def _loss_of_members(self, members: Any, targets: Any, bags: Any, weights: Any) -> Any:
        """Return the mean loss of all members that train on each row."""
        count, width = members.shape[1:]
        each = ops.ones((ops.shape(members)[0], count), members.dtype)
        if bags is not None and self.bags > 1:
            each *= self._trains(bags, count) * (self.bags / (self.bags - 1))
        if weights is not None:
            each *= ops.reshape(ops.cast(weights, each.dtype), (-1, 1))
        losses = self._member_loss(
            ops.repeat(self._encode(targets), count, axis=0), ops.reshape(members, (-1, width))
        )
        return ops.mean(ops.cast(losses, "float32") * ops.reshape(each, (-1,)))

    def _trains(self, bags: Any, count: int) -> Any:
        """Return 1 for each row and member that trains on it: (n, members)."""
        own = ops.floor_divide(ops.arange(count, dtype="int32"), count // self.bags)
        is_other = ops.not_equal(ops.reshape(bags, (-1, 1)), ops.expand_dims(own, 0))
        return ops.cast(is_other, "float32")


def _rows_and_bags(inputs: Any) -> tuple[Any, Any]:
    if not isinstance(inputs, (tuple, list)):
        return inputs, None
    return (inputs[0], None) if len(inputs) == 1 else (inputs[0], inputs[1])


def member_values(
    features: Any, *, units: int, depth: int, dropout: float, members: int, bags: int, outputs: int
) -> Any:
    """Return the last layer's values of each member (n, bags * members, outputs), for features (n, width).

    The members of a bag share its weights, and each has its own scales and offsets of the first layer, offsets of the
    others, and last layer.
    """
    hidden = layers.Dense(bags * units, use_bias=False)(features)
    hidden = layers.Reshape((bags, units))(hidden)
    scale = layers.EinsumDense("ngh,gmh->ngmh", (bags, members, units), bias_axes="gmh", name="scale")
    hidden = scale(hidden)
    scale.kernel.assign(np.random.default_rng(SIGN_SEED).choice([-1.0, 1.0], (bags, members, units)))
    for number in range(depth):
        if number:
            hidden = layers.EinsumDense(
                "ngmh,ghk->ngmk", (bags, members, units), bias_axes="gmk", kernel_initializer=_uniform(units)
            )(hidden)
        hidden = layers.Activation("relu")(hidden)
        hidden = layers.Dropout(dropout)(hidden)
    last = layers.EinsumDense(
        "ngmh,gmhk->ngmk",
        (bags, members, outputs),
        bias_axes="gmk",
        kernel_initializer=_uniform(units),
        dtype="float32",
    )
    return layers.Reshape((bags * members, outputs))(last(hidden))


def smoothed(targets: Any, *, classes: int, smoothing: float) -> Any:
    """Return class numbers (n,) or (n, 1) as probabilities: (n, classes), of two classes that of the second one (n, 1).

    `smoothing` is the share that is spread over all classes.
    """
    if classes == 2:
        return ops.reshape(ops.cast(targets, "float32"), (-1, 1)) * (1 - smoothing) + smoothing / 2
    one_hot = ops.one_hot(ops.cast(ops.reshape(targets, (-1,)), "int32"), classes, dtype="float32")
    return one_hot * (1 - smoothing) + smoothing / classes


def nearly_absolute_error(targets: Any, values: Any) -> Any:
    """Return the absolute error (n,) of values (n, 1), which becomes a square near 0: it serves MAE and RMSE alike."""
    return keras.losses.huber(targets, values, delta=ROUNDED) / ROUNDED


def _log_odds(probabilities: Any, library: Any) -> Any:
    """Return the logarithms of probabilities (n, classes); of (n, 1), the log odds. `library` is NumPy or keras.ops."""
    found = library.clip(probabilities, LEAST_PROBABILITY, 1 - LEAST_PROBABILITY)
    if found.shape[1] > 1:
        return library.log(found)
    return library.log(found) - library.log(1 - found)


def _best_sharpness(targets: Array, logits: Array) -> float:
    """Return the factor of logits (n, classes) or (n, 1) with the lowest log loss; few rows keep it near 1."""
    if logits.shape[1] == 1:
        logits = np.concatenate([np.zeros_like(logits), logits], axis=1)
    own = logits[np.arange(len(targets)), targets]
    losses = [
        float((np.logaddexp.reduce(factor * logits, axis=1) - factor * own).sum()) + np.log(factor) ** 2
        for factor in SHARPNESS
    ]
    return float(SHARPNESS[int(np.argmin(losses))])


def _uniform(fan_in: int) -> keras.initializers.Initializer:
    """Return the initializer of a kernel whose shape does not show how many values are summed."""
    limit = float(np.sqrt(3.0 / fan_in))
    return keras.initializers.RandomUniform(-limit, limit)

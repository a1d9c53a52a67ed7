"""What a built Keras model answers: its outputs, whether they are logits, and its predictions as a tree."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from mlctl.adapters.keras.answers import PROBED_ROWS, Answer, describe_answers, named, with_samples
from mlctl.adapters.keras.losses import NO_LOSS, OutputLoss, losses_of
from mlctl.data.class_numbers import as_array, is_distribution
from mlctl.data.dataset import Dataset, needs_dense
from mlctl.data.streams import Stream
from mlctl.data.targets import with_numbering
from mlctl.data.trees import Tree, is_nested, leaves, map_tree
from mlctl.domain.outputs import Kind, Output, Outputs
from mlctl.errors import BadDataError

MAX_CLASSES = 100_000  # of numbered classes that the loss tells of
CHECKED_TARGETS = 10_000
TOLERANCE = 1e-3  # by which probabilities may miss a sum of 1

Array = np.ndarray[Any, Any]


def infer_outputs(model: keras.Model, data: Dataset, inputs: Tree | None = None) -> Outputs:
    """Return what each output of a model means: as declared, else from targets, loss and last activation.

    Args:
        model: a compiled model.
        data: the data that it trains on.
        inputs: encoded training inputs. A model that is no graph of layers answers a few of these rows once, because
            its layers do not tell the shape of its answers.

    Raises BadDataError if targets, classes and the model's outputs do not fit each other.
    """
    answers = describe_answers(model) or describe_answers(model, _sample(data, inputs))
    if not answers:
        return tuple(data.outputs or (Output(kind="none"),))
    names = [answer.name for answer in answers]
    losses = losses_of(model, names)
    if any(map(_needs_sample, answers, losses)):
        answers = with_samples(model, answers, _sample(data, inputs))
    train, validation, test = (
        None if split is None else split.take(np.arange(1)).targets if split.is_stream else split.targets
        for split in (data.train, data.validation, data.test)
    )
    if data.train.is_stream:
        train = data.train.take(np.arange(64)).targets
    declared = _declared(data, names)
    outputs = tuple(
        _describe(data, answer, loss, declared.get(answer.name), _target(train, names, answer.name))
        for answer, loss in zip(answers, losses, strict=True)
    )
    try:
        return with_numbering(outputs, [part for part in (train, validation, test) if part is not None])
    except BadDataError:
        return outputs  # what is wrong with the targets is said when they are converted


def predictions_of(answer: Any, outputs: Outputs) -> Any:
    """Return a model's answer as predictions: one array, or a dict of arrays by output name; logits as probabilities."""
    parts = named(answer, [output.name for output in outputs])
    found = {output.name: _activated(np.asarray(parts[output.name]), output.activation) for output in outputs}
    return found if len(outputs) > 1 else found[outputs[0].name]


def _activated(values: Array, activation: str) -> Array:
    values = values.astype(np.float32, copy=False)
    if activation == "sigmoid":
        return (0.5 * (1 + np.tanh(0.5 * values))).astype(np.float32)  # does not overflow
    if activation == "softmax":
        powers = np.exp(values - values.max(axis=-1, keepdims=True))
        return np.asarray(powers / powers.sum(axis=-1, keepdims=True), np.float32)
    return values


def _needs_sample(answer: Answer, loss: OutputLoss) -> bool:
    """Return whether only the values tell if a model answers logits."""
    return (
        answer.activation == "unknown"
        and answer.sample is None
        and loss.from_logits is None
        and not loss.is_builtin
    )


def _sample(data: Dataset, encoded: Any) -> Tree:
    """Return a few rows as the model takes them: encoded ones, those of the data, or zeros of the same shape."""
    if encoded is not None:
        return encoded.head(PROBED_ROWS)[0] if isinstance(encoded, Stream) else map_tree(_few, encoded)
    inputs = data.train.take(np.arange(min(PROBED_ROWS, len(data.train)))).inputs
    shapes = [tuple(getattr(leaf, "shape", (0,))[1:]) for leaf in leaves(inputs)]
    expected = _shapes(data.input_shape)
    if not any(needs_dense(leaf) or hasattr(leaf, "iloc") for leaf in leaves(inputs)) and (
        not expected or expected == shapes
    ):
        return inputs
    return _zeros(data.input_shape)


def _few(leaf: Any) -> Any:
    """Return the first rows of an array, of a tensor, or of what is read from disk."""
    if hasattr(leaf, "take"):
        return leaf.take(np.arange(min(PROBED_ROWS, len(leaf)))) if needs_dense(leaf) else leaf[:PROBED_ROWS]
    return np.asarray(leaf[:PROBED_ROWS])


def _shapes(tree: Any) -> list[tuple[int, ...]]:
    if isinstance(tree, Mapping):
        return [shape for part in tree.values() for shape in _shapes(part)]
    if isinstance(tree, tuple) and any(isinstance(part, (tuple, Mapping)) for part in tree):
        return [shape for part in tree for shape in _shapes(part)]
    return [tuple(tree)] if tree else []


def _zeros(shape: Any) -> Tree:
    if isinstance(shape, Mapping):
        return {name: _zeros(part) for name, part in shape.items()}
    if isinstance(shape, tuple) and any(isinstance(part, (tuple, Mapping)) for part in shape):
        return tuple(_zeros(part) for part in shape)
    return np.zeros((2, *shape), np.float32)


def _declared(data: Dataset, names: list[str]) -> dict[str, Output]:
    """Return the declared output of each name; raises BadDataError for a name that the model does not have."""
    declared = data.outputs or ()
    if len(names) == 1:
        if len(declared) > 1:
            raise BadDataError(
                f"the data declares {len(declared)} outputs, and the model has one",
                "declare one output, or build a model with several",
            )
        return {names[0]: dataclasses.replace(declared[0], name=names[0])} if declared else {}
    if all(not output.name for output in declared) and len(declared) == len(names):
        return {
            name: dataclasses.replace(output, name=name) for name, output in zip(names, declared, strict=True)
        }
    unknown = next((output.name for output in declared if output.name not in names), None)
    if unknown is not None:
        raise BadDataError(
            f"the data declares the output {unknown!r}, which the model does not have",
            f"the model's outputs are {', '.join(names)}",
        )
    return {output.name: output for output in declared}


def _target(targets: Tree, names: list[str], name: str) -> Any:
    """Return the targets of one output, or None."""
    if isinstance(targets, Mapping):
        only = next(iter(targets.values())) if len(targets) == 1 == len(names) else None
        return targets.get(name, only)
    if isinstance(targets, tuple):
        return targets[names.index(name)] if len(targets) == len(names) else None
    return targets if len(names) == 1 else None


def _describe(
    data: Dataset, answer: Answer, loss: OutputLoss, declared: Output | None, target: Any
) -> Output:
    """Return what one output means."""
    output = declared
    if output is None:
        target = None if target is None or is_nested(target) else as_array(target)
        kind = _kind(data, answer, loss, target)
        has_classes = kind not in ("values", "none")
        output = Output(
            kind=kind,
            name=answer.name,
            classes=(data.classes or _numbered_classes(answer, kind)) if has_classes else (),
            unit=data.unit if kind == "values" else "",
        )
    elif output.kind in ("classes", "labels", "pixels", "sequence") and not output.classes:
        output = dataclasses.replace(output, classes=data.classes or _numbered_classes(answer, output.kind))
    _check_units(answer, output, loss, target)
    if output.activation or not output.classes:
        return output
    return dataclasses.replace(output, activation=_missing_activation(answer, output, loss))


def _kind(data: Dataset, answer: Answer, loss: OutputLoss, target: Array | None) -> Kind:
    if target is None:
        return "classes" if data.classes and loss is not NO_LOSS and loss.takes_numbers else "none"
    rank = len(answer.shape)
    is_crossentropy = loss.is_builtin and "crossentropy" in loss.name
    is_categorical = is_crossentropy and "categorical" in loss.name
    if data.classes or is_categorical:
        if rank == 3:
            return "pixels"
        if rank == 2:
            return "sequence"
        return "labels" if _is_multi_label(answer, loss, target, data.classes) else "classes"
    if is_crossentropy and _is_binary(target):
        if answer.units == 1:
            return {1: "classes", 2: "sequence", 3: "pixels"}.get(rank, "values")  # type: ignore[return-value]
        return "labels" if rank == 1 else "values"
    return "values"


def _is_multi_label(answer: Answer, loss: OutputLoss, target: Array, classes: tuple[str, ...]) -> bool:
    """Return whether targets are rows of 0 or 1 for each class that do not have exactly one 1."""
    if target.dtype.kind == "O" and len(target) and np.ndim(target.flat[0]) == 1:
        return True
    if target.ndim != 2 or target.shape[1] < 2 or target.shape[1] != answer.units:
        return False
    if target.dtype.kind not in "biuf":
        return False
    return (
        "categorical" not in loss.name
        and _is_binary(target)
        and not is_distribution(target[:CHECKED_TARGETS])
    )


def _is_binary(target: Array) -> bool:
    if target.dtype.kind not in "biuf":
        return False
    some = target[:CHECKED_TARGETS]
    return bool(((some == 0) | (some == 1)).all())


def _numbered_classes(answer: Answer, kind: Kind) -> tuple[str, ...]:
    units = answer.units
    if units is None or units > MAX_CLASSES:
        return ()
    return tuple(map(str, range(2 if units == 1 and kind != "labels" else units)))


def _check_units(answer: Answer, output: Output, loss: OutputLoss, target: Any) -> None:
    """Raise BadDataError if the last layer's units do not fit the classes or the targets."""
    units, classes = answer.units, len(output.classes)
    of = f"output {answer.name}" if answer.name else "the model"
    if units is None:
        return
    if output.kind in ("classes", "pixels", "sequence"):
        allowed = {classes} if classes > 2 else {1, classes}
        if units not in allowed and (loss.is_builtin or units < classes):
            raise BadDataError(
                f"{of} returns {units} numbers per row for {output.task} of {classes} classes",
                f"give its last layer {max(allowed)} units",
            )
    elif output.kind == "labels" and units != classes:
        raise BadDataError(
            f"{of} returns {units} numbers per row for {classes} labels",
            f"give its last layer {classes} units",
        )
    elif output.kind == "values" and loss.is_builtin and target is not None and not is_nested(target):
        shape = tuple(as_array(target).shape[1:])
        is_same = len(shape) == len(answer.shape) and all(
            known in (None, length) for known, length in zip(answer.shape, shape, strict=True)
        )
        is_column = (shape or (1,)) == (answer.shape or (1,))
        is_trailing_one = (*shape, 1) == answer.shape or shape == (*answer.shape, 1)
        if not (is_same or is_column or is_trailing_one or None in answer.shape):
            raise BadDataError(
                f"{of} returns numbers of shape {answer.shape} per row, and the targets have {shape or (1,)}",
                "give its last layer the shape of the targets",
            )


def _missing_activation(answer: Answer, output: Output, loss: OutputLoss) -> str:
    """Return the activation that turns the answers into probabilities; "" if they are probabilities already."""
    needed = "sigmoid" if answer.units == 1 or output.kind == "labels" else "softmax"
    if answer.activation in ("softmax", "sigmoid"):
        return ""
    if loss.from_logits is not None:
        return needed if loss.from_logits else ""
    if "hinge" in loss.name:
        return needed
    if loss.is_builtin:
        return ""  # such as mse on one-hot rows, whose answers are near to probabilities
    if answer.activation == "linear":
        return needed
    if answer.sample is not None and not _are_probabilities(answer.sample, needed):
        return needed
    return ""


def _are_probabilities(sample: Array, activation: str) -> bool:
    if not ((sample >= 0) & (sample <= 1)).all():
        return False
    return activation == "sigmoid" or bool((np.abs(sample.sum(axis=-1) - 1) <= TOLERANCE).all())

"""The loss of each output of a compiled model: whether it is Keras's own, and the form of targets that it takes."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras.src.losses.losses import LossFunctionWrapper

from mlctl.adapters.keras.answers import describe_answers
from mlctl.adapters.keras.train_step import overrides
from mlctl.data.class_numbers import as_array
from mlctl.data.targets import scoring_targets
from mlctl.data.trees import Tree
from mlctl.domain.outputs import Output, Outputs
from mlctl.errors import BadDataError

Array = np.ndarray[Any, Any]

SPARSE = "sparse"
CROSSENTROPY = "crossentropy"
SIGNED = ("hinge", "squared_hinge")  # losses that take -1 and 1 as well


@dataclass(frozen=True, kw_only=True)
class OutputLoss:
    """The loss of one output.

    Attributes:
        name: Keras's name of the loss in lower case, such as "sparse_categorical_crossentropy"; "" for none.
        is_builtin: whether the loss is Keras's own, and Keras computes it.
        from_logits: whether the loss takes logits; None: it does not say.
    """

    name: str = ""
    is_builtin: bool = False
    from_logits: bool | None = None

    @property
    def takes_numbers(self) -> bool:
        """Whether the loss takes class numbers."""
        return SPARSE in self.name


NO_LOSS = OutputLoss()


def losses_of(model: keras.Model, names: Sequence[str]) -> tuple[OutputLoss, ...]:
    """Return the loss of each output, for the outputs' names in the model's order."""
    own = any(overrides(model, method) for method in ("train_step", "compute_loss"))
    loss: Any = getattr(model, "loss", None)
    if isinstance(loss, Mapping):
        if "class_name" in loss and not own:
            raise _no_loss(loss)
        if len(names) == 1 and len(loss) == 1 and names[0] not in loss:
            found = list(loss.values())
        else:
            layers = _layer_names(model, len(names))
            found = [loss.get(name, loss.get(layer)) for name, layer in zip(names, layers, strict=True)]
    elif isinstance(loss, (list, tuple)):
        found = [*loss, *[None] * len(names)][: len(names)]
    else:
        found = [loss] * len(names)
    return tuple(_describe(each, own) for each in found)


def encode_targets(model: keras.Model, targets: Tree, outputs: Outputs) -> Tree:
    """Return targets in the form that the model's losses take.

    Keras's own losses get class numbers or one-hot rows, as they need them, and (n, 1) for one unit. Other losses,
    and a model with its own `train_step` or `compute_loss`, get the targets as they are.
    """
    if targets is None or not outputs:
        return targets
    losses = losses_of(model, [output.name for output in outputs])
    units = {answer.name: answer.units for answer in describe_answers(model)}
    parts = {
        output.name: (output, loss, units.get(output.name))
        for output, loss in zip(outputs, losses, strict=True)
    }
    if isinstance(targets, Mapping):
        only = next(iter(parts.values())) if len(parts) == 1 == len(targets) else None
        return {
            name: _encode(target, *found) if (found := parts.get(name) or only) else target
            for name, target in targets.items()
        }
    if isinstance(targets, tuple):
        with_target = [part for part in parts.values() if part[0].kind != "none"]
        order = next((o for o in (list(parts.values()), with_target) if len(o) == len(targets)), None)
        if order is None:
            return targets
        return tuple(_encode(target, *part) for target, part in zip(targets, order, strict=True))
    return targets if len(parts) > 1 else _encode(targets, *next(iter(parts.values())))


def _encode(target: Any, output: Output, loss: OutputLoss, units: int | None) -> Any:
    """Return the targets of one output of so many units in the form that its loss takes."""
    if target is None or not loss.is_builtin or output.kind == "none":
        return target
    if output.kind == "values":
        values = as_array(target)
        values = values.astype(keras.config.floatx()) if values.dtype.kind in "biufO" else values
        return values[:, np.newaxis] if values.ndim == 1 and units == 1 else values
    if output.kind == "labels":
        return scoring_targets((output,), target).astype(np.float32)
    return _encode_classes(target, output, loss, units)


def _encode_classes(target: Any, output: Output, loss: OutputLoss, units: int | None) -> Array:
    """Return class numbers, one-hot rows, or (n, 1) for one unit."""
    classes, array = len(output.classes), as_array(target)
    if loss.name in SIGNED and units == 1 and output.numbering == "signs":
        return array.reshape(-1, 1).astype(np.float32)
    has_probabilities = array.dtype.kind == "f" and _is_soft(array)
    if units == 1 and classes <= 2 and not loss.takes_numbers:
        if has_probabilities and array.size == len(array):
            return array.reshape(-1, 1).astype(np.float32)
        return np.expand_dims(_numbers(output, target), -1).astype(np.float32)
    if not loss.takes_numbers and has_probabilities and array.shape[-1] == classes:
        return array.astype(np.float32)
    is_each = output.kind in ("pixels", "sequence") and array.dtype.kind in "iu"
    if loss.takes_numbers and is_each and output.numbering in ("", "zero") and array.shape[-1] != classes:
        return array.astype(np.int32)  # with the number that the loss ignores
    numbers = _numbers(output, target)
    if loss.takes_numbers:
        return numbers.astype(np.int32)
    one_hot: Array = np.eye(classes, dtype=np.float32)[numbers]
    one_hot[numbers < 0] = 0
    return one_hot


def _numbers(output: Output, target: Any) -> Array:
    return np.asarray(scoring_targets((output,), target))


def _is_soft(array: Array) -> bool:
    """Return whether numbers are probabilities and not all 0 or 1."""
    return bool(((array >= 0) & (array <= 1)).all() and ((array != 0) & (array != 1)).any())


def _layer_names(model: keras.Model, count: int) -> list[str]:
    """Return the names of the layers that make the outputs, which losses may be named by."""
    names = list(getattr(model, "output_names", None) or ())
    return names if len(names) == count else [""] * count


def _describe(loss: Any, own: bool) -> OutputLoss:
    if loss is None:
        return NO_LOSS
    if isinstance(loss, Mapping) and "class_name" in loss and not own:
        raise _no_loss(loss)
    function, from_logits = loss, getattr(loss, "from_logits", None)
    if isinstance(loss, LossFunctionWrapper):
        from_logits = loss._fn_kwargs.get("from_logits", from_logits)
        function = loss.fn if type(loss) is LossFunctionWrapper else loss
    while isinstance(function, functools.partial):
        from_logits = function.keywords.get("from_logits", from_logits)
        function = function.func
    name = function if isinstance(function, str) else getattr(function, "__name__", type(function).__name__)
    code = type(function) if isinstance(function, keras.losses.Loss) else function
    is_keras = isinstance(function, str) or str(getattr(code, "__module__", "")).startswith("keras.")
    name = _full_name(name)
    if is_keras and from_logits is None and CROSSENTROPY in name:
        from_logits = False
    return OutputLoss(name=name, is_builtin=is_keras and not own, from_logits=from_logits)


def _no_loss(loss: Mapping[str, Any]) -> BadDataError:
    """Return the error of a loss's configuration where a loss is expected."""
    return BadDataError(
        f"build() compiles with the configuration of {loss['class_name']} as a loss, which Keras does not take",
        "give the loss itself: keras.losses.deserialize(configuration), or its name",
    )


def _full_name(name: str) -> str:
    """Return a loss's name in the form of Keras's functions: of a class, or of a short name."""
    snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
    return {"bce": "binary_crossentropy", "binarycrossentropy": "binary_crossentropy"}.get(snake, snake)

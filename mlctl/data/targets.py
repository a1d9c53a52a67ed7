"""Targets in the form that scores take, and what is wrong with targets that no score can take."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mlctl.data.class_numbers import (
    CHUNK,
    IGNORED,
    MASK_ON,
    as_array,
    class_numbers,
    find_numbering,
    is_distribution,
    label_numbers,
    list_classes,
    not_classes,
    object_array,
)
from mlctl.data.trees import Tree, count_rows
from mlctl.domain.outputs import Output, Outputs
from mlctl.errors import BadDataError

__all__ = ["check_finite", "check_targets", "class_numbers", "scoring_targets", "target_of", "with_numbering"]

Array = np.ndarray[Any, Any]

IGNORED_LABELS = (IGNORED, MASK_ON)  # of pixels and steps, unless they are classes


def scoring_targets(outputs: Outputs, targets: Tree, what: str = "targets") -> Any:
    """Return targets as scores take them: an array, or a dict of arrays by output name if there are several outputs.

    - classes: class numbers, int64 (n,).
    - labels: 0 or 1 for each label, int64 (n, labels).
    - values: float64 of the targets' own shape, but (n,) for a column. Large arrays of more dimensions keep their type.
    - pixels, sequence: class numbers (n, …), -1 for what does not count.
    - none: None; a dict leaves such outputs out.

    Args:
        outputs: what the model's outputs mean.
        targets: one array, or a dict by output name, or a tuple in the order of the outputs.
        what: what messages call the targets.

    Raises BadDataError if the targets do not fit the outputs.
    """
    if len(outputs) == 1:
        output = outputs[0]
        return (
            None
            if output.kind == "none"
            else _convert(output, target_of(output, outputs, targets, what), what)
        )
    return {
        output.name: _convert(output, target_of(output, outputs, targets, what), f"{what} of {output.name}")
        for output in outputs
        if output.kind != "none"
    }


def target_of(output: Output, outputs: Outputs, targets: Tree, what: str = "targets") -> Any:
    """Return the part of the targets that belongs to an output, as it is; raises BadDataError if there is none."""
    if targets is None:
        raise BadDataError(
            f"there are no {what}, and the model's output {output.name} is to be scored".replace("  ", " "),
            "give targets, or declare the output's kind as none",
        )
    with_target = [each for each in outputs if each.kind != "none"]
    if isinstance(targets, Mapping):
        if output.name in targets:
            return targets[output.name]
        if len(with_target) == 1 and len(targets) == 1:
            return next(iter(targets.values()))
        raise BadDataError(
            f"{what} have no {output.name!r}: they have {', '.join(map(str, targets))}",
            f"name them as the model's outputs: {', '.join(each.name for each in outputs)}",
        )
    if isinstance(targets, tuple):
        for order in (outputs, with_target):
            if len(targets) == len(order) and output in order:
                return targets[list(order).index(output)]
        raise BadDataError(
            f"there are {len(targets)} arrays of {what} for {len(outputs)} outputs",
            "give one array for each output, or a dict by output name",
        )
    if len(with_target) == 1:
        return targets
    raise BadDataError(
        f"{what} are one array, and the model has {len(outputs)} outputs: {', '.join(each.name for each in outputs)}",
        "give a dict of targets by output name, or a tuple in the order of the outputs",
    )


def check_targets(outputs: Outputs, targets: Tree, *, rows: int, what: str = "targets") -> None:
    """Raise BadDataError if targets do not fit the outputs, are not finite, or are not of this number of rows."""
    for output in outputs:
        if output.kind == "none":
            continue
        name = f"{what} of {output.name}" if len(outputs) > 1 else what
        target = target_of(output, outputs, targets, what)
        count = count_rows(target) if hasattr(target, "shape") else len(target)
        if count != rows:
            raise BadDataError(
                f"there are {count:,} {name} for {rows:,} rows of inputs", "give one target for each row"
            )
        if output.kind != "values" and not output.classes:
            continue  # the model will tell how many there are
        numbers = _convert(output, target, name)
        if output.kind == "values":
            check_finite(numbers, name)


def with_numbering(outputs: Outputs, parts: Sequence[Tree]) -> Outputs:
    """Return outputs that know how numbers in the targets mean classes, from the targets of all splits.

    A split can lack the label that tells whether labels count from 0 or from 1. So all splits decide together.
    """
    parts = [part for part in parts if part is not None]
    return tuple(_with_numbering(output, outputs, parts) for output in outputs)


def _with_numbering(output: Output, outputs: Outputs, parts: Sequence[Tree]) -> Output:
    if output.numbering or output.kind not in ("classes", "pixels", "sequence") or not parts:
        return output
    arrays = [_labels_in(output, as_array(target_of(output, outputs, part))) for part in parts]
    numbering = find_numbering([array for array in arrays if array is not None], output.classes)
    return dataclasses.replace(output, numbering=numbering) if numbering else output


def _labels_in(output: Output, array: Array) -> Array | None:
    """Return the numbers that decide the numbering; None if the targets are names or one-hot rows."""
    if array.dtype.kind not in "iuf" or not array.size:
        return None
    if output.kind == "classes":
        return array if array.size == len(array) else None
    if _is_one_hot(output, array):
        return None
    ignored = not_classes(IGNORED_LABELS, array, len(output.classes))
    skipped = np.isin(array, ignored)
    return array[~skipped] if skipped.any() else array


def _convert(output: Output, targets: Any, what: str) -> Array:
    if output.kind == "classes":
        return class_numbers(targets, output.classes, what, output.numbering)
    if output.kind == "labels":
        return _label_rows(targets, output.classes, what)
    if output.kind == "values":
        return _numbers(as_array(targets), what)
    array = as_array(targets)
    if array.ndim < 2:
        raise BadDataError(
            f"{what} have shape {array.shape}, and the model answers a class for each {_element(output)}",
            f"give a class number for each {_element(output)}",
        )
    if _is_one_hot(output, array):
        return np.asarray(array.argmax(axis=-1))
    if array.ndim > 2 and array.shape[-1] == 1:
        array = array[..., 0]
    return label_numbers(array, output.classes, what, output.numbering, IGNORED_LABELS)


def _element(output: Output) -> str:
    return "pixel" if output.kind == "pixels" else "step"


def _is_one_hot(output: Output, array: Array) -> bool:
    """Return whether the last axis of pixels or steps is one number per class."""
    return (
        array.ndim > 2
        and array.shape[-1] == len(output.classes) > 1
        and array.dtype.kind in "biuf"
        and is_distribution(array)
    )


def _label_rows(targets: Any, labels: Sequence[str], what: str) -> Array:
    """Return 0 or 1 for each label: of multi-hot rows, or of a list of names or numbers per row."""
    array = as_array(targets)
    if array.dtype.kind in "USO" and array.ndim in (1, 2):
        rows = array if array.ndim == 1 else object_array(array.tolist())
        return _from_lists(rows.tolist(), labels, what)
    if array.ndim == 1 and len(labels) == 1:
        array = array[:, np.newaxis]
    if array.ndim != 2 or array.shape[1] != len(labels):
        raise BadDataError(
            f"{what} have shape {array.shape}, and there are {len(labels)} labels",
            f"give 0 or 1 for each label, (n, {len(labels)}), or a list of labels per row",
        )
    if array.dtype.kind not in "biuf":
        raise BadDataError(f"{what} have the type {array.dtype}", "give 0 or 1 for each label")
    if array.dtype.kind == "b":
        return array.astype(np.int64)
    low, high = (float(array.min()), float(array.max())) if array.size else (0.0, 1.0)
    if low == -1 and not ((array != -1) & (array != 1)).any():
        return (array > 0).astype(np.int64)
    if not (low >= 0 and high <= 1):
        raise BadDataError(f"{what} are {low:g} to {high:g}", "give 0 or 1 for each label")
    return (array > 0.5).astype(np.int64)


def _from_lists(rows: Sequence[Any], labels: Sequence[str], what: str) -> Array:
    index_of: dict[Any, int] = {number: number for number in range(len(labels))}
    index_of.update({name: index for index, name in enumerate(labels)})
    multi_hot = np.zeros((len(rows), len(labels)), np.int64)
    for number, row in enumerate(rows):
        for label in [row] if isinstance(row, (str, bytes)) else _iterate(row, number, what):
            name = label.decode("utf-8") if isinstance(label, bytes) else label
            if name not in index_of:
                raise BadDataError(
                    f"{what}: row {number} has the label {name!r}, which the output does not have",
                    f"its labels are {list_classes(labels)}",
                )
            multi_hot[number, index_of[name]] = 1
    return multi_hot


def _iterate(row: Any, number: int, what: str) -> list[Any]:
    if not hasattr(row, "__iter__"):
        raise BadDataError(
            f"{what}: row {number} is {row!r}, no list of labels",
            "give a list of labels per row, which may be empty",
        )
    return list(row)


def _numbers(array: Array, what: str) -> Array:
    """Return numbers as scores take them."""
    if array.dtype.kind == "O":
        try:
            array = array.astype(np.float64)
        except (TypeError, ValueError):
            raise BadDataError(
                f"{what} are no numbers", "give numbers, or name the classes: Dataset(…, classes=(…))"
            ) from None
    if array.dtype.kind not in "biuf":
        raise BadDataError(
            f"{what} have the type {array.dtype}, and the model answers numbers",
            "give numbers, or name the classes: Dataset(…, classes=(…))",
        )
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim <= 2:
        return array.astype(np.float64, copy=False)
    return array if array.dtype.kind == "f" else array.astype(np.float32)


def check_finite(array: Array, what: str = "targets") -> None:
    """Raise BadDataError if a number is missing or infinite."""
    rows = max(1, CHUNK // max(1, int(np.prod(array.shape[1:]))))
    for start in range(0, len(array), rows):
        part = array[start : start + rows]
        finite = np.isfinite(part)
        if not finite.all():
            row = start + int(np.argwhere(~finite)[0][0])
            count = int((~finite).sum())
            raise BadDataError(
                f"{what}: {count:,} are missing or infinite, the first in row {row}",
                "leave these rows out, or give their targets",
            )

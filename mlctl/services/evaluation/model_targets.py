"""The targets of a data set in the terms of a model: classes and labels are matched by name."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from mlctl.data.class_numbers import IGNORED
from mlctl.data.dataset import Dataset, class_indices
from mlctl.data.targets import scoring_targets, target_of, with_numbering
from mlctl.domain.outputs import Output, Outputs
from mlctl.errors import BadDataError

WITH_CLASSES = ("classes", "labels", "pixels", "sequence")
HINT = "evaluate the model on the kind of data that it was trained for"

Array = np.ndarray[Any, Any]


def model_targets(model: str, outputs: Outputs, data: Dataset, targets: Any) -> tuple[Outputs, Any]:
    """Return a model's outputs and a split's targets in their terms, as `score_split` takes them.

    Args:
        model: what messages call the model.
        outputs: what the model answers.
        data: the data set that the split belongs to.
        targets: the split's targets as the recipe's `load` returned them.

    Raises BadDataError if the targets are of another kind, or have a class that the model does not know.
    """
    own = with_numbering(_outputs_of_data(model, outputs, data), _all_targets(data, targets))
    matched = {}
    for output, own_output in zip(outputs, own, strict=True):
        if output.kind == "none":
            matched[output.name] = _optional_target(output, outputs, targets)
            continue
        numbers = scoring_targets((own_output,), target_of(own_output, own, targets))
        matched[output.name] = _match_names(model, output, own_output, numbers)
    # matched numbers count from 0
    counted = tuple(
        dataclasses.replace(output, numbering="zero" if output.kind in WITH_CLASSES else "")
        for output in outputs
    )
    return counted, matched[outputs[0].name] if len(outputs) == 1 else matched


def _outputs_of_data(model: str, outputs: Outputs, data: Dataset) -> Outputs:
    """Return, for each output of a model, what the data has for it, under the model's name for the output."""
    declared = data.outputs or ()
    if len(declared) == len(outputs) == 1:
        found: Sequence[Output] = declared
    elif declared:
        by_name = {output.name: output for output in declared}
        missing = [output.name for output in outputs if output.name not in by_name]
        if missing:
            raise BadDataError(
                f"{model} has the output {missing[0]!r}, and {data.name} has {', '.join(by_name) or 'none'}",
                HINT,
            )
        found = [by_name[output.name] for output in outputs]
    elif len(outputs) == 1:
        found = [_undeclared(outputs[0], data)]
    else:
        found = [
            dataclasses.replace(output, classes=data.classes or output.classes)
            if output.kind in WITH_CLASSES
            else output
            for output in outputs
        ]
    for output, own in zip(outputs, found, strict=True):
        if output.kind != own.kind:
            raise BadDataError(f"{model} predicts {output.kind}, and {data.name} has {own.kind}", HINT)
    return tuple(
        dataclasses.replace(own, name=output.name, numbering="")
        for output, own in zip(outputs, found, strict=True)
    )


def _undeclared(output: Output, data: Dataset) -> Output:
    """Return the only output of data that declares none, as training infers it from the model."""
    if output.kind == "none":
        return output
    if output.kind not in WITH_CLASSES:
        return dataclasses.replace(
            output, kind="classes" if data.classes else output.kind, classes=data.classes
        )
    if data.classes:
        return dataclasses.replace(output, classes=data.classes)
    has_names = list(output.classes) != [str(number) for number in range(len(output.classes))]
    return dataclasses.replace(output, kind="values", classes=()) if has_names else output


def _all_targets(data: Dataset, targets: Any) -> list[Any]:
    splits = [split for split in (data.train, data.validation, data.test) if split and not split.is_stream]
    return [targets, *(split.targets for split in splits)]


def _optional_target(output: Output, outputs: Outputs, targets: Any) -> Any:
    if targets is None or len(outputs) == 1:
        return targets
    try:
        return target_of(output, outputs, targets)
    except BadDataError:
        return None


def _match_names(model: str, output: Output, own: Output, numbers: Array) -> Array:
    """Return class numbers, or columns of labels, in the order of the model's classes."""
    if output.kind not in WITH_CLASSES or own.classes == output.classes:
        return numbers
    indices = class_indices(own.classes, output.classes, model)
    if output.kind != "labels":
        return np.where(numbers == IGNORED, IGNORED, indices[numbers])
    missing = [name for name in output.classes if name not in own.classes]
    if missing:
        raise BadDataError(f"the data has no label {missing[0]!r}, which {model} predicts", HINT)
    columns = np.zeros((len(numbers), len(output.classes)), numbers.dtype)
    columns[:, indices] = numbers
    return columns

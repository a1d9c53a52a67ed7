"""The columns of a prediction file, computed for all rows of a batch at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from mlctl.domain.outputs import Output
from mlctl.errors import BadDataError
from mlctl.services.evaluation.answers import (
    MAX_VALUE_COLUMNS,
    class_names,
    split_outputs,
    to_columns,
    to_predictions,
)
from mlctl.services.evaluation.predictor import Answers, Array, PredictorInfo

Column = Array | Sequence[Any]


def answer_columns(info: PredictorInfo, answers: Answers) -> dict[str, Column]:
    """Return the columns of a prediction file: those of several outputs are named after them.

    Raises BadDataError if there are no rows.
    """
    columns: dict[str, Column] = {}
    outputs = split_outputs(info, answers)
    for output, array in outputs:
        if not len(array):
            raise BadDataError("the input has no rows", "check the input")
        named = output if len(outputs) > 1 else replace(output, name="")
        fast = _fast_columns(named, array)
        if fast is None:
            columns |= to_columns(named, to_predictions(named, array), array)
        else:
            prefix = f"{named.name}_" if named.name else ""
            columns |= {prefix + name: cells for name, cells in fast.items()}
    return columns


def _fast_columns(output: Output, answers: Array) -> dict[str, Column] | None:
    """Return the columns of an output without making a prediction of each row; None for rare kinds of outputs."""
    if answers.ndim > 2 or answers.dtype.kind not in "iufb":
        return None
    rows = answers.reshape(len(answers), -1)
    width = rows.shape[1]
    if output.kind == "classes" and width:
        return _class_columns(output, rows.astype(np.float64))
    if output.kind not in ("values", "none") or not 1 <= width <= MAX_VALUE_COLUMNS:
        return None
    values = rows.astype(np.float64) if rows.dtype.kind == "f" else rows
    if width == 1:
        return {"value": values[:, 0]}
    return {f"value_{place}": values[:, place] for place in range(width)}


def _class_columns(output: Output, rows: Array) -> dict[str, Column]:
    names = np.array(class_names(output, max(2, rows.shape[1])), object)
    if rows.shape[1] <= 2:
        positive = rows[:, -1]
        is_second = positive > output.threshold
        return {
            "label": names[is_second.astype(np.int64)],
            "probability": np.where(is_second, positive, 1 - positive),
        }
    index = rows.argmax(axis=1)
    return {"label": names[index], "probability": rows[np.arange(len(rows)), index]}

"""The number of validation rows of a call of `fit`, for the choice among epochs that are nearly equal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlctl.data.streams import count_batched_rows
from mlctl.data.trees import count_answered_rows


def count_validated_rows(arguments: Mapping[str, Any]) -> int:
    """Return the number of validation rows that have one answer each; 0 if it is unknown without reading them."""
    try:
        return _count(arguments)
    except Exception:  # a script may pass anything that Keras takes
        return 0


def _count(arguments: Mapping[str, Any]) -> int:
    validation, fraction = arguments.get("validation_data"), float(arguments.get("validation_split") or 0.0)
    if arguments.get("validation_steps") is not None:
        return 0
    if validation is None:
        targets = arguments.get("y")
        if not fraction or targets is None:
            return 0
        rows = count_answered_rows(targets)
        return rows - int(rows * (1.0 - fraction))  # as Keras computes it
    if isinstance(validation, (tuple, list)):
        return count_answered_rows(validation[1])
    targets = validation.element_spec[1]
    rank = targets.shape.rank
    # (n, k) of floats are one-hot rows; of integers, sequences
    has_single_answers = rank == 1 or (rank == 2 and (targets.shape[1] == 1 or targets.dtype.is_floating))
    return (count_batched_rows(validation) or 0) if has_single_answers else 0

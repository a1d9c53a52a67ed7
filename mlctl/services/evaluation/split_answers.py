"""A loaded model's answers to a split, with the targets and weights of the same rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from mlctl.data.batches import join_batches
from mlctl.data.class_numbers import IGNORED
from mlctl.data.dataset import Split
from mlctl.data.files.images import ImageFiles
from mlctl.data.trees import leaves

MAX_BYTES = 1 << 28  # of inputs that a model gets together
FILES_PER_BATCH = 64


class RawPredictor(Protocol):
    """A model that takes raw inputs."""

    def predict(self, raw: Any) -> Any:
        """Return an array of answers, or a dict of them by output name."""


@dataclass(frozen=True)
class Answers:
    """Answers to rows, with their targets and weights, which are None if there are none."""

    answers: Any
    targets: Any
    weights: Any


def predict_split(model: RawPredictor, split: Split, to_client_input: Callable[[Any], Any]) -> Answers:
    """Return a model's answers to a split.

    The rows are read once, batch by batch: a pipeline that shuffles has another order when it is read again.

    Args:
        model: the loaded model.
        split: raw inputs, as the recipe's `load` returned them.
        to_client_input: returns raw inputs in the form that clients send.
    """
    answers, targets, weights = [], [], []
    for inputs, batch_targets, batch_weights in raw_batches(split):
        answers.append(model.predict(to_client_input(inputs)))
        targets.append(batch_targets)
        weights.append(batch_weights)
    return Answers(
        answers=join_batches(answers) if len(answers) > 1 else answers[0],
        targets=_join_known(targets, IGNORED),
        weights=_join_known(weights, 0),
    )


def raw_batches(split: Split, max_bytes: int = MAX_BYTES) -> Iterator[tuple[Any, Any, Any]]:
    """Yield inputs, targets and weights of a split in batches whose inputs take at most `max_bytes`."""
    if split.is_stream:
        yield from split.inputs.batches()
        return
    rows, count = _rows_at_a_time(split, max_bytes), len(split)
    if rows >= count:
        yield split.parts
        return
    for start in range(0, count, rows):
        yield split.take(np.arange(start, min(start + rows, count))).parts


def _rows_at_a_time(split: Split, max_bytes: int) -> int:
    parts = leaves(split.inputs)
    if any(isinstance(part, ImageFiles) for part in parts):
        return FILES_PER_BATCH
    size = sum(getattr(part, "nbytes", 0) for part in parts)
    return len(split) if size <= max_bytes else max(1, max_bytes * len(split) // size)


def _join_known(parts: list[Any], fill: int) -> Any:
    return None if parts[0] is None else parts[0] if len(parts) == 1 else join_batches(parts, fill)

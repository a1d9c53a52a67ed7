"""The profile that is stored with a logged model, so that drift can compare its traffic with it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mlctl.data.dataset import Dataset, Split
from mlctl.data.files.images import ImageFiles
from mlctl.data.sparse_bags import SparseBags
from mlctl.data.targets import scoring_targets
from mlctl.data.trees import count_rows, leaves, take_rows
from mlctl.domain.outputs import Outputs
from mlctl.domain.short_texts import describe_error
from mlctl.errors import MlctlError
from mlctl.serving.traffic.profile import as_columns, make_profile, write_profile

MAX_ROWS, MAX_TEXTS, MIN_ROWS = 5000, 1000, 200
MAX_CELLS = 1_000_000  # of a wide table
MAX_BYTES = 32_000_000
SEED = 7
RAW_TEXTS = "raw_texts"  # in a data set's `extra`: some training texts as they were

Raw = Callable[[Any], Any]


@dataclass
class RowSample:
    """A random sample of rows that are read batch by batch.

    Attributes:
        rows: Number of rows that will be read.
    """

    rows: int
    _kept: list[dict[str, Any]] = field(default_factory=list)
    _random: np.random.Generator = field(default_factory=lambda: np.random.default_rng(SEED))

    def add(self, raw: Any) -> None:
        """Keep some rows of a batch."""
        with contextlib.suppress(Exception):  # rows of a user's own form
            count = len(raw) if isinstance(raw, list) else count_rows(raw)
            share = row_limit(raw) / max(1, self.rows)
            chosen = np.arange(count) if share >= 1 else np.flatnonzero(self._random.random(count) < share)
            self._kept.append(as_columns(_take(raw, chosen)))

    def columns(self) -> dict[str, Any] | None:
        """Return the kept rows by column name; None if there are none."""
        if not self._kept:
            return None
        try:
            return {name: np.concatenate([part[name] for part in self._kept]) for name in self._kept[0]}
        except (ValueError, KeyError):  # batches of different shapes
            return self._kept[0]


def store_profile(
    folder: Path,
    data: Dataset,
    *,
    raw: Raw,
    held_out: Mapping[str, Any] | None,
    outputs: Outputs,
    answers: Any,
    targets: Any,
) -> str:
    """Write a model's profile to its folder; return "", or the reason why it has none. It never fails a training.

    Args:
        folder: The model's folder.
        data: The data that it was trained on.
        raw: Converts a split's inputs to what a client sends.
        held_out: Held-out rows as a client sends them, by column.
        outputs: What the answers mean.
        answers: The model's answers to the held-out rows.
        targets: Their targets as `load` returned them.
    """
    try:
        answers, targets = _some_rows(answers, targets)
        profile = make_profile(
            _inputs(data, raw, held_out),
            answers=answers,
            outputs=outputs,
            targets=_by_output(outputs, data.train.targets),
            truths=_by_output(outputs, targets),
            only_known_words=isinstance(data.train.inputs, SparseBags) and RAW_TEXTS not in data.extra,
        )
        write_profile(profile, folder)
    except Exception as error:  # rows and answers of a user's own form
        return describe_error(error)
    return ""


def row_limit(raw: Any) -> int:
    """Return how many rows of this form a profile takes."""
    if hasattr(raw, "iloc"):
        return max(MIN_ROWS, min(MAX_ROWS, MAX_CELLS // max(1, len(raw.columns))))
    if isinstance(raw, list):
        return MAX_TEXTS
    parts = [np.asarray(leaf) for leaf in leaves(raw)]
    row_bytes = sum(part.nbytes for part in parts) // max(1, len(parts[0]))
    return max(MIN_ROWS, min(MAX_ROWS, MAX_BYTES // max(1, row_bytes)))


def _inputs(data: Dataset, raw: Raw, held_out: Mapping[str, Any] | None) -> Any:
    """Return training rows if they are at hand, and as many as the held-out rows; else the held-out ones."""
    if texts := data.extra.get(RAW_TEXTS):
        return {data.extra["column"]: np.array(texts, dtype=object)}
    held_out_rows = len(next(iter(held_out.values()))) if held_out else 0
    if _is_read_again(data.train) or (held_out and len(data.train) < held_out_rows):
        return held_out or {}
    few = raw(data.train.take(np.arange(min(2, len(data.train)))).inputs)
    limit = MAX_TEXTS if isinstance(data.train.inputs, SparseBags) else row_limit(few)
    return raw(data.train.take(_choose(len(data.train), limit)).inputs)


def _some_rows(answers: Any, targets: Any) -> tuple[Any, Any]:
    """Return a random sample of answers, and the targets of the same rows."""
    if answers is None:
        return None, None
    rows = _choose(count_rows(answers), row_limit(answers))
    return take_rows(answers, rows), None if targets is None else take_rows(targets, rows)


def _is_read_again(split: Split) -> bool:
    """Whether rows must be computed or read from disk."""
    return split.is_stream or any(isinstance(leaf, ImageFiles) for leaf in leaves(split.inputs))


def _choose(rows: int, limit: int) -> Any:
    if rows <= limit:
        return np.arange(rows)
    return np.sort(np.random.default_rng(SEED).choice(rows, limit, replace=False))


def _take(raw: Any, rows: Any) -> Any:
    return [raw[row] for row in rows] if isinstance(raw, list) else take_rows(raw, rows)


def _by_output(outputs: Outputs, targets: Any) -> dict[str, Any]:
    """Return targets by output name; {} if they are unknown."""
    if targets is None or not outputs:
        return {}
    try:
        found = scoring_targets(outputs, targets)
    except MlctlError:
        return {}
    if isinstance(found, Mapping):
        return dict(found)
    return {} if found is None else {outputs[0].name: found}

"""Answer the requests of several connections in one call of the model.

Nobody waits for a batch to fill: a call starts at once if the model is free, and takes along what has arrived since the
last one. A single client never waits longer than without batches.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

MAX_ROWS = 32  # of a batch, unless the user says otherwise
WORTH_IT = 0.75  # batches are used if a row in one costs less than this share of a row alone
MIN_ROW_S = 0.001  # shorter calls cost less than what batches need
TRIAL_ROWS, TRIAL_RUNS = 8, 5

Array = np.ndarray[Any, Any]
Predict = Callable[[Any], Any]


class _Call:
    """Rows that wait for their answers."""

    def __init__(self, rows: Any, key: Any, count: int) -> None:
        self.rows = rows
        self.key = key
        self.count = count
        self.is_done = False
        self.answers: Any = None
        self.error: BaseException | None = None


class BatchingPredictor:
    """Calls a model with the rows of several threads together.

    Attributes:
        max_rows: Most rows of a batch.
    """

    def __init__(self, predict: Predict, *, max_rows: int, concurrency: int) -> None:
        """`concurrency` is the number of calls of the model that run at the same time."""
        self.max_rows = max_rows
        self._predict = predict
        self._free = concurrency
        self._waiting: deque[_Call] = deque()
        self._changed = threading.Condition()

    def __call__(self, rows: Any) -> Any:
        """Return the answers to n rows, an array or arrays by name; raises what the model raises for them."""
        key = _key(rows)
        count = _count(rows)
        if key is None or count >= self.max_rows:
            return self._predict(rows)
        call = _Call(rows, key, count)
        with self._changed:
            self._waiting.append(call)
        while (batch := self._next_batch(call)) is not None:
            try:
                self._run(batch)
            finally:
                with self._changed:
                    self._free += 1
                    self._changed.notify_all()
        if call.error is not None:
            raise call.error
        return call.answers

    def _next_batch(self, own: _Call) -> list[_Call] | None:
        """Wait until the model is free, and return calls to run together; None if `own` was answered meanwhile."""
        with self._changed:
            while not own.is_done and not (self._free and self._waiting):
                self._changed.wait()
            if own.is_done:
                return None
            self._free -= 1
            batch: list[_Call] = []
            rows = 0
            while self._waiting:
                call = self._waiting[0]
                if batch and (call.key != batch[0].key or rows + call.count > self.max_rows):
                    break
                batch.append(self._waiting.popleft())
                rows += call.count
            return batch

    def _run(self, batch: list[_Call]) -> None:
        try:
            answers = self._predict(_join([call.rows for call in batch]))
            parts = _split(answers, [call.count for call in batch])
        except Exception:
            for call in batch:  # one of them is to blame: each is answered alone
                self._run_alone(call)
            return
        for call, part in zip(batch, parts, strict=True):
            call.answers, call.is_done = part, True

    def _run_alone(self, call: _Call) -> None:
        try:
            call.answers = self._predict(call.rows)
        except BaseException as exc:
            call.error = exc
        call.is_done = True


def batch_rows(setting: str, predict: Predict, example: Any) -> int:
    """Return the most rows of a batch, or 0 if each request is answered alone.

    Args:
        setting: "off", a number of rows, or "auto", which measures whether batches pay.
        predict: Answers rows.
        example: A checked row or more; None if the model has no example, so that nothing can be measured.
    """
    if setting == "off" or example is None or _key(example) is None:
        return 0
    one, several = _repeat(example, 1), _repeat(example, TRIAL_ROWS)
    if not _are_equal(predict(one), predict(several)):  # rows that depend on others must stay alone
        return 0
    if setting != "auto":
        return int(setting)
    alone_s = _shortest_s(predict, one)
    if alone_s < MIN_ROW_S:
        return 0
    return MAX_ROWS if _shortest_s(predict, several) / TRIAL_ROWS < WORTH_IT * alone_s else 0


def concurrency_of(workers: int) -> int:
    """Return how many calls of the model run at the same time in each of an endpoint's workers."""
    return max(1, len(os.sched_getaffinity(0)) // workers) if hasattr(os, "sched_getaffinity") else 1


def _shortest_s(predict: Predict, rows: Any) -> float:
    durations = []
    for _ in range(TRIAL_RUNS):
        started = time.perf_counter()
        predict(rows)
        durations.append(time.perf_counter() - started)
    return min(durations)


def _are_equal(one: Any, several: Any) -> bool:
    """Whether the answers to the same row, alone and repeated, are equal to a rounding error."""
    try:
        parts = _split(several, [1] * TRIAL_ROWS)
    except (TypeError, ValueError):
        return False
    return all(_is_close(one, part) for part in parts)


def _is_close(first: Any, second: Any) -> bool:
    if isinstance(first, Mapping):
        return all(_is_close(first[name], second[name]) for name in first)
    if first.shape != second.shape:
        return False
    if first.dtype.kind != "f":
        return bool(np.array_equal(first, second))
    return bool(np.allclose(first, second, rtol=1e-4, atol=1e-5, equal_nan=True))


def _key(rows: Any) -> Any:
    """Return what rows must have in common to be joined; None if they cannot be joined."""
    if isinstance(rows, Mapping):
        keys = [(name, _key(array)) for name, array in rows.items()]
        return tuple(keys) if all(key is not None for _, key in keys) else None
    is_plain = isinstance(rows, np.ndarray) and rows.ndim and rows.dtype != object and len(rows)
    return (rows.dtype.str, rows.shape[1:]) if is_plain else None


def _count(rows: Any) -> int:
    return len(next(iter(rows.values())) if isinstance(rows, Mapping) else rows)


def _join(parts: list[Any]) -> Any:
    if len(parts) == 1:
        return parts[0]
    if isinstance(parts[0], Mapping):
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return np.concatenate(parts)


def _split(answers: Any, counts: list[int]) -> list[Any]:
    """Return the answers of each part. Raises ValueError if they are not one for each row."""
    if len(counts) == 1:
        return [answers]
    if isinstance(answers, Mapping):
        columns = {name: _split(array, counts) for name, array in answers.items()}
        return [{name: parts[number] for name, parts in columns.items()} for number in range(len(counts))]
    if not isinstance(answers, np.ndarray) or len(answers) != sum(counts):
        raise ValueError("the model does not answer each row with a row of an array")
    return list(np.split(answers, np.cumsum(counts)[:-1]))


def _repeat(rows: Any, count: int) -> Any:
    """Return the first row so many times."""
    if isinstance(rows, Mapping):
        return {name: _repeat(array, count) for name, array in rows.items()}
    return np.repeat(rows[:1], count, axis=0)

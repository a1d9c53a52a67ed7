"""Requests of several connections in one call of the model."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from mlctl.serving.batching import BatchingPredictor, batch_rows

pytestmark = pytest.mark.unit


class Model:
    """Answers each row with its double; the first call lasts until it is let go."""

    def __init__(self) -> None:
        self.counts: list[int] = []
        self.may_end = threading.Event()
        self.started = threading.Event()

    def __call__(self, rows: Any) -> Any:
        named = rows["a"] if isinstance(rows, dict) else rows
        is_first = not self.counts
        self.counts.append(len(named))
        if is_first:
            self.started.set()
            assert self.may_end.wait(10)
        if (named == 13).any():
            raise ValueError("unlucky")
        return {"double": named * 2} if isinstance(rows, dict) else named * 2


def _answer_together(model: Model, rows: list[Any], **options: int) -> list[Any]:
    """Return the futures of calls that wait while the first one runs."""
    predictor = BatchingPredictor(model, **{"max_rows": 8, "concurrency": 1, **options})
    with ThreadPoolExecutor(len(rows)) as pool:
        futures = [pool.submit(predictor, rows[0])]
        assert model.started.wait(10)
        futures += [pool.submit(predictor, part) for part in rows[1:]]
        while len(predictor._waiting) < len(rows) - 1:
            time.sleep(0.001)
        model.may_end.set()
    return futures


def test_calls_that_wait_are_answered_together_and_each_gets_its_own_rows() -> None:
    model = Model()
    rows = [np.full((1 + number % 2, 3), float(number)) for number in range(6)]
    for part, future in zip(rows, _answer_together(model, rows), strict=True):
        np.testing.assert_array_equal(future.result(), part * 2)
    assert model.counts == [1, 8]


def test_a_batch_has_at_most_so_many_rows_of_one_shape() -> None:
    model = Model()
    rows = [np.ones((1, 2)), *(np.ones((3, 2)) for _ in range(3)), np.ones((1, 5))]
    for part, future in zip(rows, _answer_together(model, rows), strict=True):
        assert future.result().shape == part.shape
    assert sorted(model.counts) == [1, 1, 3, 6]


def test_named_tensors_are_joined_by_name() -> None:
    model = Model()
    rows = [{"a": np.full((1, 2), number), "b": np.zeros((1, 1))} for number in range(4)]
    for number, future in enumerate(_answer_together(model, rows)):
        assert future.result()["double"].tolist() == [[2 * number, 2 * number]]
    assert model.counts == [1, 3]


def test_only_the_request_that_the_model_refuses_fails() -> None:
    model = Model()
    futures = _answer_together(model, [np.full((1, 1), float(value)) for value in (1, 2, 13, 3)])
    assert [future.result().item() for future in futures if futures.index(future) != 2] == [2, 4, 6]
    with pytest.raises(ValueError, match="unlucky"):
        futures[2].result()


def test_a_single_call_and_large_or_uneven_rows_are_passed_on() -> None:
    seen: list[Any] = []
    predictor = BatchingPredictor(lambda rows: seen.append(rows) or rows, max_rows=4, concurrency=1)
    large, uneven = np.ones((9, 1)), np.array([np.ones(1), np.ones(2)], object)
    for rows in (np.ones((1, 1)), large, uneven):
        assert predictor(rows) is rows
    assert len(seen) == 3


def test_batches_are_used_if_they_pay_and_rows_do_not_depend_on_others() -> None:
    def slow_call(rows: Any) -> Any:
        time.sleep(0.003)
        return rows * 2

    def slow_rows(rows: Any) -> Any:
        time.sleep(0.002 * len(rows))
        return rows * 2

    example = np.arange(4.0).reshape(2, 2)
    assert batch_rows("auto", slow_call, example) == 32
    assert batch_rows("auto", slow_rows, example) == 0
    assert batch_rows("auto", lambda rows: rows, example) == 0  # too short to be worth it
    assert batch_rows("16", lambda rows: rows, example) == 16
    assert batch_rows("16", lambda rows: rows / len(rows), example) == 0
    assert batch_rows("16", lambda rows: rows.sum(axis=0), example) == 0
    assert batch_rows("off", slow_call, example) == 0
    assert batch_rows("auto", slow_call, None) == 0

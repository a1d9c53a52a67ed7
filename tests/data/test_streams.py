"""Streams: batches of a recipe's split that are made as needed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mlctl.data.streams import Stream, seeded
from mlctl.errors import BadDataError

pytestmark = pytest.mark.unit


class Batches:
    """Ten batches of four rows, the last one of two."""

    def __init__(self) -> None:
        self.ended = 0

    def __len__(self) -> int:
        return 10

    def __getitem__(self, number: int) -> tuple[Any, Any]:
        rows = np.arange(number * 4, number * 4 + (2 if number == 9 else 4))
        return np.stack([rows, rows], axis=1).astype(np.float32), rows % 3

    def on_epoch_end(self) -> None:
        self.ended += 1


class Rows:
    """Single rows, as a PyTorch data set has them."""

    def __len__(self) -> int:
        return 10

    def __getitem__(self, number: int) -> tuple[Any, int]:
        return {"a": np.full(2, number), "b": np.zeros((3, 3))}, number % 2


def test_only_batches_are_streams() -> None:
    assert all(map(Stream.is_stream, (Batches(), Rows(), Stream(Batches()), iter(()))))
    for value in (np.zeros(3), {"a": np.zeros(3)}, [1, 2], (np.zeros(3), np.zeros(3)), "text", None):
        assert not Stream.is_stream(value)


def test_generator_is_refused_with_a_hint() -> None:
    with pytest.raises(BadDataError, match="read only once") as raised:
        Stream(number for number in range(3))
    assert "PyDataset" in str(raised.value.hint)


def test_batches_are_counted_and_read_in_any_order() -> None:
    stream = Stream(Batches())
    assert (len(stream), stream.steps, stream.units, stream.holds_rows) == (38, 10, 10, False)
    inputs, targets, weights = next(stream.batches(np.array([3, 0])))
    assert inputs[:, 0].tolist() == [12, 13, 14, 15]
    assert (targets.tolist(), weights) == ([0, 1, 2, 0], None)


def test_single_rows_are_joined_to_batches() -> None:
    stream = Stream(Rows()).batched(4)
    assert (len(stream), stream.steps, stream.units, stream.holds_rows) == (10, 3, 10, True)
    batches = list(stream.batches(np.arange(10)[::-1]))
    assert [len(targets) for _, targets, _ in batches] == [4, 4, 2]
    assert batches[0][0]["a"][:, 0].tolist() == [9, 8, 7, 6]
    assert batches[0][0]["b"].shape == (4, 3, 3)


def test_head_has_as_many_rows_as_asked_for() -> None:
    inputs, targets, _ = Stream(Batches()).head(6)
    assert (inputs.shape, targets.shape) == ((6, 2), (6,))
    assert len(Stream(Batches()).head(1000)[1]) == 38


def test_inputs_are_encoded_batch_by_batch() -> None:
    stream = Stream(Batches()).encoded(lambda inputs: inputs * 10)
    assert stream.head(2)[0].tolist() == [[0, 0], [10, 10]]


def test_seeded_leaves_the_random_generators_as_they_were() -> None:
    np.random.seed(1)
    expected = np.random.random()
    np.random.seed(1)
    with seeded(5, 1):
        first = np.random.random()
    with seeded(5, 1):
        assert np.random.random() == first
    assert np.random.random() == expected

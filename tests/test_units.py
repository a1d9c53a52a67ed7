"""Durations and sizes: parsing what users write, and formatting them."""

from __future__ import annotations

import math

import pytest

from mlctl.errors import UsageError
from mlctl.units import format_duration, format_size, parse_duration, parse_size

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("1.5m", 90), ("10m", 600), ("2h", 7200), ("1d", 86_400), ("1w", 604_800)],
)
def test_parse_duration(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "90", "s", "-1s", "10 minutes", "1y"])
def test_an_invalid_duration(text: str) -> None:
    with pytest.raises(UsageError, match="is not a duration"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "size"), [("12", 12), ("500kB", 500_000), ("20MB", 20_000_000), ("1.5 gb", 1_500_000_000)]
)
def test_parse_size(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "0", "0.2", "-1MB", "1TB", "many"])
def test_an_invalid_size(text: str) -> None:
    with pytest.raises(UsageError, match="is not a size"):
        parse_size(text)


def test_format_duration() -> None:
    seconds = (1.25, 42, 65, 3900, 100_000, None, math.inf)
    assert [format_duration(value) for value in seconds] == [
        "1.2 s", "42 s", "1 min 05 s", "1 h 05 min", "1 d 03 h", "", "",
    ]  # fmt: skip


def test_format_size() -> None:
    assert [format_size(count) for count in (None, 12, 4200, 123_456_789)] == ["", "12 B", "4.2 kB", "123 MB"]

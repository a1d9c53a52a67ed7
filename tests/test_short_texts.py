"""Long texts, lists and messages of exceptions in one line."""

from __future__ import annotations

import pytest

from mlctl.cli.parsing import write_command
from mlctl.domain.short_texts import describe_error, first_line, list_some, one_line, shorten
from mlctl.errors import BadDataError

pytestmark = pytest.mark.unit


def test_texts_are_cut_at_their_end() -> None:
    assert shorten("abcdef", 6) == "abcdef"
    assert shorten("abcdefg", 6) == "abcde…"
    assert one_line("a\n  b", 10) == "a b"


def test_lists_end_with_the_number_of_the_others() -> None:
    assert list_some([1, 2], 2) == "1, 2"
    assert list_some(list("abcde"), 2) == "a, b and 3 more"


def test_exceptions_are_described_in_one_line() -> None:
    assert first_line(ValueError("\n  no rows\nat all")) == "no rows"
    assert first_line(ValueError()) == "ValueError"
    assert describe_error(ValueError("no\nrows")) == "ValueError: no rows"
    assert describe_error(BadDataError("the file has no rows", "check it")) == "the file has no rows"


def test_a_suggested_command_can_be_pasted() -> None:
    written = write_command("mlctl", "train", "my data.csv", target="is it?", test=None, set=["a=1", "b=2"])
    assert written == "mlctl train 'my data.csv' --target 'is it?' --set a=1 --set b=2"

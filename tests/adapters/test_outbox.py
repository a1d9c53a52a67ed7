"""The background sender after a crash of the machine, and when sending fails for good."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mlctl.adapters.runlog.json_lines import Entry
from mlctl.adapters.runlog.outbox import BackgroundSender
from mlctl.adapters.runlog.trial_runs import NAME, SENT_NAME, count_unsent

pytestmark = pytest.mark.unit


class ListLog:
    """An EntryLog in memory."""

    def __init__(self, lines: list[Entry], sent: int) -> None:
        self.lines = lines
        self.sent = sent

    def entries(self, start: int = 0) -> Iterator[Entry]:
        yield from self.lines[start:]

    def acknowledge(self, count: int) -> None:
        self.sent = count


def entry(number: int) -> Entry:
    return {"kind": "epoch", "number": number}


def background(log: ListLog, send: Callable[[Entry], None]) -> BackgroundSender:
    return BackgroundSender(log, send, check_reachable=lambda: None, report_outage=lambda error: None)


def test_new_entries_are_sent_if_the_machine_lost_entries_that_were_sent() -> None:
    """The count was on the disk when the power failed; the last entries, which nobody syncs, were not."""
    log, sent = ListLog([entry(1)], sent=3), list[Entry]()
    sender = background(log, sent.append)
    log.lines.append(entry(2))
    sender.notify()
    assert sender.finish(5)
    assert sent == [entry(2)]
    assert log.sent == 2


def test_lost_entries_do_not_offset_unsent_ones(tmp_path: Path) -> None:
    (tmp_path / NAME).write_text('{"kind":"of"}\n')
    (tmp_path / SENT_NAME).write_text("5")
    assert count_unsent(tmp_path) == 0


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_sender_that_crashed_is_not_complete() -> None:
    def crash(entry: Entry) -> None:
        raise KeyError(entry["number"])

    log = ListLog([entry(1)], sent=0)
    assert not background(log, crash).finish(5)
    assert log.sent == 0

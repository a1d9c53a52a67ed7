"""The write-ahead sender: entries on disk are sent in the background, in order, until the store has them all."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import Protocol

from mlctl.adapters.runlog.json_lines import Entry
from mlctl.errors import MlctlError

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.25, 15.0
HEARTBEAT_INTERVAL_S = 15.0
DRAIN_PAUSE_S = 0.005
OUTAGE_REPORT_INTERVAL_S = 60.0  # a server that comes and goes is not reported each time


class EntryLog(Protocol):
    """Entries on disk, and how many of them the store has acknowledged."""

    @property
    def sent(self) -> int:
        """How many entries the store has acknowledged."""

    def entries(self, start: int = 0) -> Iterator[Entry]:
        """Yield the entries from number `start` to the last one that is written now."""

    def acknowledge(self, count: int) -> None:
        """Store that the first `count` entries need not be sent again."""


class BackgroundSender:
    """A thread that sends a log's entries, and repeats each until the store takes it.

    Args:
        log: Entries; those that an earlier process left unsent are sent first.
        send: Sends an entry; raises MlctlError if the store does not take it now. An entry may be sent twice.
        check_reachable: Raises MlctlError if the store does not answer.
        report_outage: Called when sending fails for the first time, and at most once a minute.
        heartbeat: Called every 15 seconds, in a thread of its own, so that a long upload does not delay it.
    """

    def __init__(
        self,
        log: EntryLog,
        send: Callable[[Entry], None],
        *,
        check_reachable: Callable[[], None],
        report_outage: Callable[[MlctlError], None],
        heartbeat: Callable[[], None] | None = None,
    ) -> None:
        self._log = log
        self._send = send
        self._check_reachable = check_reachable
        self._report_outage = report_outage
        self._reported_at = float("-inf")
        self._is_failing = False
        self._written = sum(1 for _ in log.entries())
        self._sent = min(log.sent, self._written)
        # a loss of power may take entries that were sent: they need not have been synced to the disk
        if log.sent > self._written:
            log.acknowledge(self._written)
        self._new_entry = threading.Condition()
        self._closing = threading.Event()  # no more entries come
        self._abandoned = threading.Event()  # nobody waits any longer
        self._thread = threading.Thread(target=self._work, name="mlctl-sender", daemon=True)
        self._thread.start()
        if heartbeat:
            threading.Thread(
                target=self._beat, args=(heartbeat,), name="mlctl-heartbeat", daemon=True
            ).start()

    def notify(self) -> None:
        """Tell the thread that the log has one more entry."""
        with self._new_entry:
            self._written += 1
            self._new_entry.notify()

    def finish(self, patience_s: float) -> bool:
        """Wait until everything is sent, and return True.

        Return False if nothing was sent for `patience_s` seconds and the store does not answer: an upload may take
        long, but a server that hangs is not waited for.
        """
        with self._new_entry:
            self._closing.set()
            self._new_entry.notify()
        sent, since = self._sent, time.monotonic()
        while self._thread.is_alive():
            self._thread.join(0.05)
            if self._sent != sent:
                sent, since = self._sent, time.monotonic()
            if time.monotonic() - since > patience_s and (self._is_failing or not self._is_reachable()):
                break
        self._abandoned.set()
        return self._sent >= self._written

    def drain(self, patience_s: float) -> bool:
        """Wait until everything that is written now is sent; return False as soon as the store does not answer."""
        written, sent, since = self._written, self._sent, time.monotonic()
        while self._sent < written:
            if self._is_failing or not self._thread.is_alive():
                return False
            if self._sent != sent:
                sent, since = self._sent, time.monotonic()
            if time.monotonic() - since > patience_s and not self._is_reachable():
                return False
            time.sleep(DRAIN_PAUSE_S)
        return True

    def stop(self) -> None:
        """Send nothing more: another sender continues with the log."""
        self._abandoned.set()
        with self._new_entry:
            self._closing.set()
            self._new_entry.notify()
        self._thread.join()

    def unsent(self) -> int:
        """Return how many entries the store has not taken."""
        return sum(1 for _ in self._log.entries(self._sent))

    def _work(self) -> None:
        for entry in self._pending_entries():
            pause_s = FIRST_PAUSE_S
            while not self._abandoned.is_set() and not self._try_to_send(entry):
                if self._closing.wait(pause_s):
                    self._abandoned.wait(FIRST_PAUSE_S)
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
            if self._abandoned.is_set():
                return
            self._sent += 1
            self._log.acknowledge(self._sent)

    def _pending_entries(self) -> Iterator[Entry]:
        """Yield the entries that are not sent yet, and wait for more until the log is complete."""
        while True:
            with self._new_entry:
                while self._sent >= self._written and not self._closing.is_set():
                    self._new_entry.wait()
                is_last_round = self._closing.is_set()
            yield from self._log.entries(self._sent)
            if is_last_round:
                return

    def _try_to_send(self, entry: Entry) -> bool:
        try:
            self._send(entry)
        except MlctlError as error:
            is_new, self._is_failing = not self._is_failing, True
            if is_new and time.monotonic() - self._reported_at > OUTAGE_REPORT_INTERVAL_S:
                self._reported_at = time.monotonic()
                self._report_outage(error)
            return False
        self._is_failing = False
        return True

    def _is_reachable(self) -> bool:
        try:
            self._check_reachable()
        except MlctlError:
            return False
        return True

    def _beat(self, heartbeat: Callable[[], None]) -> None:
        while not self._abandoned.is_set() and self._thread.is_alive():
            with contextlib.suppress(MlctlError):  # the other thread reports outages
                heartbeat()
            self._abandoned.wait(HEARTBEAT_INTERVAL_S)

"""The nested runs of a search: noted on disk, written by one thread, and found again where a search is resumed.

<a run's own record>/
    trials.jsonl    what the trials' runs are to be told, a line each, in order; the first says whose they are
    trials.sent     how many of these lines the store has taken
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from mlflow.entities import Metric, Param, RunTag

from mlctl.adapters.runlog.journal import write_atomically
from mlctl.adapters.runlog.search_journal import SearchJournal, read
from mlctl.adapters.tracking.store import TrackingStore
from mlctl.domain.tune import INTERRUPTED, TRIAL_TAG
from mlctl.errors import MlctlError, NotFoundError, RefusedError, UsageError

NAME, SENT = "trials.jsonl", "trials.sent"
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 10.0
SILENCE_S = 10.0  # a store that says neither yes nor no for so long is not waited for at the end
PERMANENT = (UsageError, NotFoundError, RefusedError)  # of this run alone, and the same at any time

Entry = Mapping[str, Any]


class TrialRuns:
    """One nested run a trial, under one parent run. Nothing here waits for the store but `finish`.

    What is told twice counts once: a run is found again by its tag, and MLflow drops a point that it has.
    """

    def __init__(
        self, store: TrackingStore, experiment_id: str, parent: str, tags: Mapping[str, Any], folder: Path,
        trouble: Callable[[MlctlError], None], prefix: str = "trial-",
    ) -> None:  # fmt: skip
        """Take up what an earlier process has left unsent in `folder`, the parent's record.

        `tags` are what every trial's run carries; a run's name is `prefix` and the trial's. `trouble` is told, once,
        that the store is away, or that it refuses a trial.
        """
        self._outbox = _Outbox(folder)
        if self._outbox.new:
            self._outbox.add("of", tags=tags, prefix=prefix)
        self._sender = _Sender(store, experiment_id, parent, self._outbox.of)
        self._trouble = trouble
        self._closing, self._left = threading.Event(), threading.Event()
        self._away = False
        self._open: set[str] = set()
        self._ending: set[str] = set()  # by an earlier process, and the store does not know it
        self._tasks: queue.SimpleQueue[Entry | None] = queue.SimpleQueue()
        for entry in self._outbox.unsent():
            self._sender.unsure = True
            self._tasks.put(entry)
            if entry["kind"] == "end":
                self._ending.add(entry["trial"])
        self._thread = threading.Thread(target=self._work, name="mlctl-trials", daemon=True)
        self._thread.start()

    @property
    def ids(self) -> Mapping[str, str]:
        """The ids of the runs by trial, as far as they are made."""
        return self._sender.ids

    @property
    def ended(self) -> set[str]:
        """The trials that `find` has found ended."""
        return self._sender.ended

    def find(self) -> None:
        """Look up the runs that this search has made before it was resumed; those left running are its to end."""
        self._sender.find()
        self._open |= self._sender.running - self._ending

    def begin(self, trial: str, params: Mapping[str, Any], at: int) -> None:
        """Have a trial's run made, unless it is there already."""
        self._open.add(trial)
        said = {name: str(value) for name, value in params.items()}
        self._tasks.put(self._outbox.add("begin", trial=trial, params=said, at=at))

    def epoch(self, trial: str, step: int, metrics: Mapping[str, float], at: int) -> None:
        """Have an epoch's metrics recorded."""
        self._tasks.put(self._outbox.add("epoch", trial=trial, step=step, metrics=dict(metrics), at=at))

    def end(
        self, trial: str, status: str, metrics: Mapping[str, float], step: int, tags: Mapping[str, Any], at: int
    ) -> None:  # fmt: skip
        """Have a trial's run ended."""
        self._open.discard(trial)
        said = {name: str(value) for name, value in tags.items()}
        self._tasks.put(
            self._outbox.add(
                "end", trial=trial, status=status, metrics=dict(metrics), step=step, tags=said, at=at
            )
        )

    def finish(self, patience_s: float) -> bool:
        """End what is still open as KILLED, and wait until all is written; return whether it is.

        A store that is away is waited for for `patience_s`; what it has not taken stays on disk for `send_unsent`.
        """
        for trial in sorted(self._open):
            self.end(trial, "KILLED", {}, 0, {"mlctl.state": INTERRUPTED}, time.time_ns() // 1_000_000)
        self._closing.set()
        self._tasks.put(None)
        done, since = self._outbox.sent, time.monotonic()
        while self._thread.is_alive():
            self._thread.join(0.05)
            if self._outbox.sent != done:
                done, since = self._outbox.sent, time.monotonic()
            if time.monotonic() - since > (patience_s if self._away else max(patience_s, SILENCE_S)):
                break
        whole = not self._thread.is_alive()  # before it is told to leave, which ends it, too
        self._left.set()
        self._outbox.close()
        return whole

    def _work(self) -> None:
        while (entry := self._tasks.get()) is not None:
            pause = FIRST_PAUSE_S
            while not self._left.is_set() and not self._sent(entry):
                if self._closing.wait(pause):
                    self._left.wait(FIRST_PAUSE_S)
                pause = min(2 * pause, LONGEST_PAUSE_S)
            if self._left.is_set():
                return
            self._outbox.acknowledge()

    def _sent(self, entry: Entry) -> bool:
        try:
            self._sender.send(entry, self._trouble)
        except MlctlError as error:
            if not self._away:
                self._trouble(error)
            self._away = self._sender.unsure = True
            return False
        self._away = False
        return True


class _Outbox:
    """What is to be told and what of it the store has taken, on disk."""

    def __init__(self, folder: Path) -> None:
        self._path, self._note = folder / NAME, folder / SENT
        self._file = SearchJournal(folder, NAME, synced=False)
        entries = list(read(self._path))
        self.new = not entries
        self.of: Entry = entries[0] if entries else {}
        self.sent = _noted(self._note)

    def add(self, kind: str, **entry: Any) -> Entry:
        whole = self._file.add(kind, **entry)
        if kind == "of":
            self.of, self.sent = whole, 1
            write_atomically(self._note, b"1", durable=False)
        return whole

    def unsent(self) -> Iterator[Entry]:
        yield from list(read(self._path))[self.sent :]

    def acknowledge(self) -> None:
        self.sent += 1
        with contextlib.suppress(OSError):  # a full disk: sending again is harmless
            write_atomically(self._note, str(self.sent).encode(), durable=False)

    def close(self) -> None:
        self._file.close()


class _Sender:
    """Tells the store of trials' runs."""

    def __init__(self, store: TrackingStore, experiment_id: str, parent: str, of: Entry) -> None:
        self._store = store
        self._experiment_id = experiment_id
        self._parent = parent
        self._of = of
        self._refused: set[str] = set()
        self.unsure = False  # whether runs may have been made that `ids` does not know: an answer was lost
        self.ids: dict[str, str] = {}
        self.ended: set[str] = set()
        self.running: set[str] = set()

    def find(self) -> None:
        """Look up the runs that there are."""
        with self._store.asking():
            token = None
            while True:
                page = self._store.client.search_runs(
                    [self._experiment_id], f"tags.`mlflow.parentRunId` = '{self._parent}'", page_token=token
                )
                for run in page:
                    if trial := run.data.tags.get(TRIAL_TAG):
                        self.ids[trial] = run.info.run_id
                        if run.info.status in {"FINISHED", "FAILED"}:
                            self.ended.add(trial)
                        elif run.info.status == "RUNNING":
                            self.running.add(trial)
                token = page.token
                if not token:
                    break
        self.unsure = False

    def send(self, entry: Entry, refused: Callable[[MlctlError], None]) -> None:
        """Tell one entry; `refused` hears, once a trial, of what the store will never take.

        Raises an MlctlError where the store is away.
        """
        trial = entry["trial"]
        try:
            with self._store.making():
                if trial not in self.ids and self.unsure:
                    self.find()
                getattr(self, "_" + entry["kind"])(entry)
        except PERMANENT as error:  # what comes after it must not wait
            if trial not in self._refused:
                self._refused.add(trial)
                refused(type(error)(f"the store refuses what trial {trial} has to tell: {error.message}"))

    def _begin(self, entry: Entry) -> None:
        trial = entry["trial"]
        if trial in self.ids:
            self._store.client.update_run(self.ids[trial], status="RUNNING")
        else:
            tags = {**self._of["tags"], "mlflow.parentRunId": self._parent, TRIAL_TAG: trial}
            run = self._store.client.create_run(
                self._experiment_id,
                entry["at"],
                {name: str(value) for name, value in tags.items()},
                self._of["prefix"] + trial,
            )
            self.ids[trial] = run.info.run_id
        params = [Param(name, value) for name, value in entry["params"].items()]
        self._store.client.log_batch(self.ids[trial], params=params)

    def _epoch(self, entry: Entry) -> None:
        points = [Metric(name, value, entry["at"], entry["step"]) for name, value in entry["metrics"].items()]
        if run_id := self.ids.get(entry["trial"]):  # none: its beginning was refused, and that was told
            self._store.client.log_batch(run_id, metrics=points)

    def _end(self, entry: Entry) -> None:
        points = [Metric(name, value, entry["at"], entry["step"]) for name, value in entry["metrics"].items()]
        said = [RunTag(name, value) for name, value in entry["tags"].items()]
        if run_id := self.ids.get(entry["trial"]):
            self._store.client.log_batch(run_id, metrics=points, tags=said)
            self._store.client.set_terminated(run_id, entry["status"], entry["at"])


def waiting(folder: Path) -> int:
    """Return how many lines about trials of the search recorded in this folder the store has not taken."""
    path = folder / NAME
    return sum(1 for _ in read(path)) - _noted(folder / SENT) if path.exists() else 0


def send_unsent(
    store: TrackingStore, experiment_id: str, parent: str, folder: Path, say: Callable[[str], None]
) -> int:
    """Tell the store what an earlier process could not, and return how many lines that were.

    `say` hears of what it refuses. Raises an MlctlError where the store is away.
    """
    if not waiting(folder):
        return 0
    outbox = _Outbox(folder)
    with contextlib.closing(outbox):
        sender = _Sender(store, experiment_id, parent, outbox.of)
        sender.find()
        count = 0
        for count, entry in enumerate(outbox.unsent(), 1):  # noqa: B007 - the last one counts
            sender.send(entry, lambda error: say(error.message))
            outbox.acknowledge()
    return count


def _noted(note: Path) -> int:
    try:
        return int(note.read_text() or 0)
    except (OSError, ValueError):
        return 1  # the first line is not for the store; sending others again is harmless

"""The nested runs of a search, one per trial: written to disk, sent in the background, found again on resume.

<record of the parent run>/
    trials.jsonl    updates of the trials' runs, one per line, in order; the first line is the header of all of them
    trials.sent     how many of these lines, the header included, the store has acknowledged
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from mlflow.entities import Metric, Param, RunTag

from mlctl.adapters.runlog.journal import read_count, write_count
from mlctl.adapters.runlog.json_lines import Entry, JsonLines, read_lines
from mlctl.adapters.runlog.outbox import BackgroundSender
from mlctl.adapters.tracking.health import check_reachable
from mlctl.adapters.tracking.store import TrackingStore, paged
from mlctl.domain.metric_names import RESULTS_STEP, with_recordable_names
from mlctl.domain.note import NOTE_TAG, generated_note
from mlctl.domain.tags import RECIPE_TAG, STATE_TAG, TRIAL_TAG
from mlctl.domain.tune import INTERRUPTED
from mlctl.errors import MlctlError, NotFoundError, RefusedError, UsageError

NAME, SENT_NAME = "trials.jsonl", "trials.sent"
# they concern one run, and repeating does not help
PERMANENT_ERRORS = (UsageError, NotFoundError, RefusedError)
DAMAGED_HINT = "restore the file from a copy, or start a new search"


class TrialRuns:
    """Writes one nested run per trial. No method waits for the store, except `find` and `finish`.

    An update that is sent twice counts once: a run is found again by its tag, and MLflow ignores a point that it has.
    """

    def __init__(
        self,
        store: TrackingStore,
        *,
        experiment_id: str,
        parent_id: str,
        folder: Path,
        tags: Mapping[str, Any],
        report_error: Callable[[MlctlError], None],
        name_prefix: str = "trial-",
    ) -> None:
        """Open the updates in `folder`, and send those that an earlier process left unsent.

        Args:
            store: Tracking store.
            experiment_id: Experiment of the runs.
            parent_id: Id of the parent run.
            folder: Record of the parent run.
            tags: Tags of every trial's run.
            report_error: Called when the store does not answer, and once per trial that it refuses.
            name_prefix: A run's name is this and the name of its trial.
        """
        self._log = _TrialLog(folder)
        if self._log.is_new:
            note = f"A trial of {tags.get(RECIPE_TAG, 'a search')}: `mlctl runs show {parent_id[:8]}`"
            self._log.write_header(tags={NOTE_TAG: generated_note(note), **tags}, prefix=name_prefix)
        self._sender = _TrialSender(
            store, experiment_id, parent_id, header=self._log.header, report=report_error
        )
        unsent = list(self._log.entries(self._log.sent))
        self._sender.may_lack_ids = bool(unsent)
        self._ended_on_disk = {entry["trial"] for entry in unsent if entry["kind"] == "end"}
        self._open: set[str] = set()
        self._background = BackgroundSender(
            self._log,
            self._sender.send,
            check_reachable=lambda: check_reachable(store.tracking_uri),
            report_outage=report_error,
        )

    @property
    def ids(self) -> Mapping[str, str]:
        """The ids of the runs by trial, as far as they are known."""
        return self._sender.ids

    @property
    def ended(self) -> set[str]:
        """The trials whose runs had ended when `find` was called."""
        return self._sender.ended

    def is_open(self, trial: str) -> bool:
        """Return whether the trial's run has begun and not ended, in an earlier session too if `find` was called."""
        return trial in self._open

    def find(self) -> None:
        """Find the runs of an earlier session of this search; `finish` ends those that are still running."""
        self._sender.find()
        self._open |= self._sender.running - self._ended_on_disk

    def begin(self, trial: str, params: Mapping[str, Any], at: int) -> None:
        """Create a trial's run, or set it to RUNNING again; `at` is in milliseconds since 1970."""
        self._open.add(trial)
        self._add("begin", trial=trial, params=_as_text(params), at=at)

    def epoch(self, trial: str, step: int, metrics: Mapping[str, float], at: int) -> None:
        """Log the metrics of an epoch."""
        self._add("epoch", trial=trial, step=step, metrics=with_recordable_names(metrics), at=at)

    def end(
        self,
        trial: str,
        status: str,
        metrics: Mapping[str, float],
        tags: Mapping[str, Any],
        at: int,
    ) -> None:
        """End a trial's run."""
        self._open.discard(trial)
        self._add(
            "end",
            trial=trial,
            status=status,
            metrics=with_recordable_names(metrics),
            step=RESULTS_STEP,
            tags=_as_text(tags),
            at=at,
        )

    def file(self, trial: str, file: Path, folder: str) -> None:
        """Copy a file to the artifacts of a trial's run, when its turn comes; it must stay until then."""
        self._add("file", trial=trial, file=str(file), folder=folder)

    def finish(self, patience_s: float) -> bool:
        """End runs that are still open as KILLED, and wait until everything is sent; return whether it is.

        If the store does not answer for `patience_s` seconds, the rest stays on disk for `send_unsent`.
        """
        for trial in sorted(self._open):
            self.end(trial, "KILLED", {}, {STATE_TAG: INTERRUPTED}, time.time_ns() // 1_000_000)
        is_complete = self._background.finish(patience_s)
        self._log.close()
        return is_complete

    def _add(self, kind: str, **values: Any) -> None:
        self._log.add(kind, **values)
        self._background.notify()


def count_unsent(folder: Path) -> int:
    """Return how many trial updates in this record the store has not acknowledged."""
    written = sum(1 for _ in read_lines(folder / NAME, hint=DAMAGED_HINT))
    return max(0, written - _read_sent(folder))


def send_unsent(
    store: TrackingStore,
    *,
    experiment_id: str,
    parent_id: str,
    folder: Path,
    report: Callable[[str], None],
) -> int:
    """Send the updates that an earlier process could not send; return how many there were.

    `report` is called with a message for each trial that the store refuses. Raises an MlctlError if the store does not
    answer.
    """
    if not count_unsent(folder):
        return 0
    with contextlib.closing(_TrialLog(folder)) as log:
        sender = _TrialSender(
            store, experiment_id, parent_id, header=log.header, report=lambda error: report(error.message)
        )
        sender.find()
        first = log.sent
        sent = first
        for entry in log.entries(first):
            sender.send(entry)
            sent += 1
            log.acknowledge(sent)
    return sent - first


class _TrialLog:
    """The updates on disk. They are not synced: a search's own journal can restore them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lines = JsonLines(folder / NAME)
        self.header = next(self.entries(), {})
        self.is_new = not self.header

    @property
    def sent(self) -> int:
        return _read_sent(self._folder)

    def write_header(self, **values: Any) -> None:
        self.header = self.add("of", **values)
        self.acknowledge(1)  # the header itself is not sent

    def add(self, kind: str, **values: Any) -> Entry:
        entry = {"kind": kind, **values}
        self._lines.append(entry, durable=False)
        return entry

    def entries(self, start: int = 0) -> Iterator[Entry]:
        return read_lines(self._folder / NAME, start, hint=DAMAGED_HINT)

    def acknowledge(self, count: int) -> None:
        write_count(self._folder / SENT_NAME, count)

    def close(self) -> None:
        self._lines.close()


class _TrialSender:
    """Sends updates of trials' runs. `may_lack_ids` tells that runs may exist that `ids` does not contain."""

    def __init__(
        self,
        store: TrackingStore,
        experiment_id: str,
        parent_id: str,
        *,
        header: Entry,
        report: Callable[[MlctlError], None],
    ) -> None:
        self._store = store
        self._experiment_id = experiment_id
        self._parent_id = parent_id
        self._header = header
        self._report = report
        self._refused: set[str] = set()
        self.may_lack_ids = False
        self.ids: dict[str, str] = {}
        self.ended: set[str] = set()
        self.running: set[str] = set()

    def find(self) -> None:
        """Read the runs that exist."""
        with self._store.translate_errors():
            for run in paged(
                self._store.mlflow_client.search_runs,
                experiment_ids=[self._experiment_id],
                filter_string=f"tags.`mlflow.parentRunId` = '{self._parent_id}'",
            ):
                if trial := run.data.tags.get(TRIAL_TAG):
                    self.ids[trial] = run.info.run_id
                    if run.info.status in {"FINISHED", "FAILED"}:
                        self.ended.add(trial)
                    elif run.info.status == "RUNNING":
                        self.running.add(trial)
        self.may_lack_ids = False

    def send(self, entry: Entry) -> None:
        """Send one update, or report, once per trial, that the store will never take it.

        Raises an MlctlError if the store does not answer.
        """
        trial = entry["trial"]
        try:
            with self._store.without_retries():
                if trial not in self.ids and self.may_lack_ids:
                    self.find()
                getattr(self, "_send_" + entry["kind"])(entry)
        except PERMANENT_ERRORS as error:  # the following updates must not wait
            if trial not in self._refused:
                self._refused.add(trial)
                self._report(type(error)(f"the store refuses updates of trial {trial}: {error.message}"))
        except MlctlError:
            self.may_lack_ids = True  # the store may have done it, and the answer was lost
            raise

    def _send_begin(self, entry: Entry) -> None:
        trial = entry["trial"]
        if trial in self.ids:
            self._store.mlflow_client.update_run(self.ids[trial], status="RUNNING")
        else:
            tags = {**self._header["tags"], "mlflow.parentRunId": self._parent_id, TRIAL_TAG: trial}
            run = self._store.mlflow_client.create_run(
                self._experiment_id, entry["at"], _as_text(tags), self._header["prefix"] + trial
            )
            self.ids[trial] = run.info.run_id
        params = [Param(name, value) for name, value in entry["params"].items()]
        self._store.mlflow_client.log_batch(self.ids[trial], params=params)

    def _send_epoch(self, entry: Entry) -> None:
        if run_id := self.ids.get(entry["trial"]):  # there is none if the store refused to create it
            self._store.mlflow_client.log_batch(run_id, metrics=_to_metrics(entry))

    def _send_end(self, entry: Entry) -> None:
        tags = [RunTag(name, value) for name, value in entry["tags"].items()]
        if run_id := self.ids.get(entry["trial"]):
            self._store.mlflow_client.log_batch(run_id, metrics=_to_metrics(entry), tags=tags)
            self._store.mlflow_client.set_terminated(run_id, entry["status"], entry["at"])

    def _send_file(self, entry: Entry) -> None:
        run_id = self.ids.get(entry["trial"])
        if run_id and Path(entry["file"]).exists():
            try:
                self._store.mlflow_client.log_artifact(run_id, entry["file"], entry["folder"] or None)
            except OSError as exc:  # a local artifact folder
                raise RefusedError(f"{Path(entry['file']).name} cannot be stored: {exc}") from exc


def _to_metrics(entry: Entry) -> list[Metric]:
    return [Metric(name, value, entry["at"], entry["step"]) for name, value in entry["metrics"].items()]


def _as_text(values: Mapping[str, Any]) -> dict[str, str]:
    return {name: str(value) for name, value in values.items()}


def _read_sent(folder: Path) -> int:
    return read_count(folder / SENT_NAME, default=1)  # the header itself is not sent

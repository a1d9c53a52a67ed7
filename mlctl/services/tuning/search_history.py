"""The trials of a search: everything that happens to them is written to the journal, and then to their runs.

What is not in the journal did not happen: `replay` rebuilds all of this state from it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

from mlctl.adapters.runlog.recorder import now_ms
from mlctl.adapters.runlog.search_journal import SearchJournal
from mlctl.adapters.search.messages import EpochEnded, WorkerLost
from mlctl.domain.objective import Objective
from mlctl.domain.progress import Epoch
from mlctl.domain.tags import DURATION_TAG, ERROR_TAG, REASON_TAG, STATE_TAG
from mlctl.domain.tune import FAILED, best_trial
from mlctl.services.tuning.trial_state import TrialState

OUTPUT = "output.log"  # the file with what a trial has printed, and the artifact of its run

Point = tuple[int, Mapping[str, float], int]  # an epoch's number, its mean metrics, and its timestamp


class TrialTracker(Protocol):
    """Tracks each trial as a run."""

    def begin(self, trial: str, params: Mapping[str, Any], at: int) -> None:
        """Start a trial's run."""

    def epoch(self, trial: str, step: int, metrics: Mapping[str, float], at: int) -> None:
        """Record an epoch."""

    def end(
        self,
        trial: str,
        status: str,
        metrics: Mapping[str, float],
        tags: Mapping[str, Any],
        at: int,
    ) -> None:
        """End a trial's run."""

    def file(self, trial: str, file: Path, folder: str) -> None:
        """Copy a file to the artifacts of a trial's run."""


class SearchHistory:
    """All trials of a search, and those that have ended in the order of their end."""

    def __init__(
        self,
        objective: Objective,
        executions: int,
        journal: SearchJournal,
        tracker: TrialTracker,
        *,
        params: Mapping[str, Any] = MappingProxyType({}),
        log_folder: Path | None = None,
    ) -> None:
        """`params` are those of all trials. `log_folder` has what each trial has printed, as TRIAL/OUTPUT."""
        self._params = params
        self._log_folder = log_folder
        self.objective = objective
        self.executions = executions
        self.journal = journal
        self.tracker = tracker
        self.states: dict[str, TrialState] = {}
        self.ended: list[TrialState] = []
        self.consecutive_failures = 0

    @property
    def best(self) -> TrialState | None:
        """The best trial so far."""
        return best_trial(self.ended, self.objective)

    def curve(self, epochs: Iterable[Epoch]) -> list[float]:
        """Return the objective of each epoch that measures it."""
        metric = self.objective.metric
        return [epoch.metrics[metric] for epoch in epochs if metric in epoch.metrics]

    def log_file(self, trial: str) -> Path | None:
        """Return the file for what a trial prints."""
        return self._log_folder and self._log_folder / trial / OUTPUT

    def add(self, trial: str, values: Mapping[str, Any], known_results: int) -> TrialState:
        """Add a new trial; `known_results` is the number of results that the oracle knew when it chose the values."""
        self.journal.add("ask", trial=trial, values=values, told=known_results)
        return self._add(trial, values)

    def start(self, state: TrialState) -> None:
        """Start an attempt of a trial."""
        state.begin(state.attempt + 1)
        self.journal.add("start", trial=state.trial, attempt=state.attempt)
        self.tracker.begin(state.trial, {**self._params, **state.values}, now_ms())

    def add_epoch(self, state: TrialState, event: EpochEnded) -> int:
        """Add an epoch; return its timestamp, with which `track_epochs` records it in the trial's run."""
        epoch, at = event.epoch, now_ms()
        state.add(event.execution, epoch)
        self.journal.add(
            "epoch",
            trial=state.trial,
            attempt=event.attempt,
            execution=event.execution,
            number=epoch.number,
            metrics=dict(epoch.metrics),
            rows=epoch.validation_rows,
            seconds=round(epoch.seconds, 4),
            at=at,
        )
        return at

    def track_epochs(self, state: TrialState, at: int) -> None:
        """Record in the trial's run the epochs that it does not have yet."""
        self._track(state, self._unreported(state, at))

    def lose(self, state: TrialState, event: WorkerLost) -> None:
        """Note that a trial's process died; the trial can be started again."""
        self.journal.add("lost", trial=state.trial, attempt=event.attempt, why=event.reason)
        state.losses += 1
        state.state = ""

    def end(
        self,
        state: TrialState,
        outcome: str,
        reason: str = "",
        seconds: float = 0.0,
        metrics: Mapping[str, float] = MappingProxyType({}),
    ) -> None:
        """End a trial as done, stopped or failed; one without a finite score has failed.

        `metrics` are those of its end, which belong to no epoch.
        """
        at = now_ms()
        state.end_metrics = metrics
        state.state, state.reason, state.seconds = outcome, reason, seconds
        if outcome != FAILED:
            state.rate(self.objective)
        else:
            state.score = None
        if outcome != FAILED and state.score is None:
            names = ", ".join(state.measured())
            measures = f"it does not measure {self.objective.metric}, but {names}"
            state.state, state.reason = FAILED, measures if names else "it ended without an epoch"
        self._fail_without_number(state)
        self.journal.add(
            "end",
            trial=state.trial,
            state=state.state,
            score=state.score,
            why=state.reason,
            seconds=round(state.seconds, 4),
            at=at,
            **({"metrics": dict(metrics)} if metrics else {}),
        )
        self._count_end(state)
        self._track(state, self._unreported(state, at))
        self._track_end(state, at)

    def replay(
        self,
        entries: Iterable[Mapping[str, Any]],
        known_ended: set[str],
        on_ask: Callable[[Mapping[str, Any]], None],
    ) -> None:
        """Rebuild the state from a journal.

        Args:
            entries: the journal's lines, without the first.
            known_ended: the trials whose runs have ended; the runs of others are recorded again.
            on_ask: called with the entry of each trial, before it is added.

        """
        points: dict[str, list[Point]] = {}
        for entry in entries:
            kind, trial = entry["kind"], entry.get("trial", "")
            if kind == "ask":
                on_ask(entry)
                self._add(trial, entry["values"])
            elif kind == "start":
                self.states[trial].begin(entry["attempt"])
            elif kind == "epoch" and entry["attempt"] == self.states[trial].attempt:
                state = self.states[trial]
                rows = entry.get("rows", 0)  # earlier versions wrote none
                state.add(
                    entry["execution"], Epoch(entry["number"], entry["metrics"], entry["seconds"], rows)
                )
                # with their first timestamps, so that the store counts no point twice; the points of running
                # trials were sent, or are in the write-ahead file
                points.setdefault(trial, []).extend(self._unreported(state, entry["at"]))
            elif kind == "lost":
                self.states[trial].losses += 1
            elif kind == "end":
                state = self.states[trial]
                state.state, state.reason, state.seconds = entry["state"], entry["why"], entry["seconds"]
                state.end_metrics = entry.get("metrics", {})
                state.rate(self.objective)
                state.score = entry["score"]
                self._fail_without_number(state)  # journals of earlier versions have NaN as a score
                self._count_end(state)
                if trial not in known_ended:
                    self.tracker.begin(trial, {**self._params, **state.values}, entry["at"])
                    self._track(state, [*points.get(trial, []), *self._unreported(state, entry["at"])])
                    self._track_end(state, entry["at"])
        self.consecutive_failures = 0  # the user has seen them, and resumed

    def _add(self, trial: str, values: Mapping[str, Any]) -> TrialState:
        # the journal has lists in place of tuples
        values = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
        self.states[trial] = TrialState(trial=trial, values=values, executions=self.executions)
        return self.states[trial]

    def _count_end(self, state: TrialState) -> None:
        self.ended.append(state)
        self.consecutive_failures = self.consecutive_failures + 1 if state.state == FAILED else 0

    def _fail_without_number(self, state: TrialState) -> None:
        """Fail a trial whose score is not finite: nothing can be compared with it."""
        if state.score is not None and not math.isfinite(state.score):
            state.state, state.reason = FAILED, f"its {self.objective.metric} is {state.score}"
            state.score = None

    def _unreported(self, state: TrialState, at: int) -> list[Point]:
        points: list[Point] = [(number, metrics, at) for number, metrics in state.means()[state.reported :]]
        state.reported += len(points)
        return points

    def _track(self, state: TrialState, points: Iterable[Point]) -> None:
        for number, metrics, at in points:
            self.tracker.epoch(state.trial, number, metrics, at)

    def _track_end(self, state: TrialState, at: int) -> None:
        summary = state.summary(self.objective)
        tags: dict[str, Any] = {STATE_TAG: state.state, DURATION_TAG: round(state.seconds, 3)}
        if state.reason:
            tags[ERROR_TAG if state.state == FAILED else REASON_TAG] = state.reason[:500]
        status = "FAILED" if state.state == FAILED else "FINISHED"
        self.tracker.end(state.trial, status, summary, tags, at)
        if (file := self.log_file(state.trial)) and file.exists():
            self.tracker.file(state.trial, file, "")

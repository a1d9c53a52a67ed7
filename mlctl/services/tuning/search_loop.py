"""The search loop: asks the oracle for trials, runs them on the executor, stops bad ones, restarts lost ones."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from mlctl.adapters.search.messages import (
    EpochEnded,
    Event,
    Executor,
    TrialEnded,
    TrialFailed,
    TrialJob,
    WorkerLost,
)
from mlctl.adapters.search.oracles import EXHAUSTED, Oracle
from mlctl.domain.tune import DONE, FAILED, STOPPED, RunningTrial, SearchListener
from mlctl.errors import ChildFailedError
from mlctl.services.tuning.search_history import SearchHistory
from mlctl.services.tuning.stopping import StopRule
from mlctl.services.tuning.trial_state import TrialState

EPOCH_GRACE_S = 4.0  # how long a trial that must stop may take to finish its epoch
MAX_LOSSES = 3  # a trial whose process dies this often causes it itself
TICK_S = 0.5
TIME_IS_UP = "time was up"

MakeJob = Callable[[TrialState], TrialJob]


@dataclass(frozen=True, kw_only=True)
class SearchLimits:
    """When a search ends: after `trials`, at `deadline` (monotonic seconds), or after failures in a row."""

    trials: int
    deadline: float | None
    max_failures: int
    parallel: int


class SearchLoop:
    """One search, or what is left of it."""

    def __init__(
        self,
        oracle: Oracle,
        history: SearchHistory,
        *,
        limits: SearchLimits,
        stop_rule: StopRule | None,
        listener: SearchListener,
    ) -> None:
        self.oracle = oracle
        self.history = history
        self.limits = limits
        self.stop_rule = stop_rule
        self.listener = listener
        self.end_reason = ""
        self._told = 0  # results that the oracle knows
        self._waiting: list[TrialState] = []
        self._exhausted = False
        self.stop_requests: Callable[[], Mapping[str, object]] = dict  # of trials, by their name
        self._stopping: dict[str, float] = {}  # a trial that must stop -> since when

    def replay(self, entries: Iterable[Mapping[str, Any]], known_ended: set[str]) -> None:
        """Continue an earlier process's search from its journal; `known_ended` trials have runs that ended."""

        def on_ask(entry: Mapping[str, Any]) -> None:
            self._tell_oracle(entry["told"])
            self.oracle.replay(entry["trial"], entry["values"])

        self.history.replay(entries, known_ended, on_ask)
        self._waiting = [state for state in self.history.states.values() if state.is_open]

    def run(self, executor: Executor, make_job: MakeJob) -> None:
        """Search to the end; raises ChildFailedError after too many failures in a row."""
        with ThreadPoolExecutor(1) as thread:  # a Bayesian answer takes a second, and trials go on meanwhile
            question: Future[Any] | None = None
            oracle_waits = False  # for a trial to end
            while True:
                if question is not None and question.done():
                    # an answer from before a trial's end may say to wait for that end
                    knows_all = self._told == len(self.history.ended)
                    oracle_waits = self._take_answer(question.result()) and knows_all
                    question = None
                while self._waiting and executor.free_slots() and not self.out_of_time:
                    self._start(executor, make_job, self._waiting.pop(0))
                if question is None and not oracle_waits and self._needs_trial(executor):
                    self._tell_oracle(len(self.history.ended))
                    question = thread.submit(self.oracle.ask)
                if question is None and not self._running and (not self._waiting or self.out_of_time):
                    if oracle_waits or not self._needs_trial(executor):
                        break
                    continue
                events = executor.events(0.02 if question else TICK_S) if self._running else []
                if question and not self._running:
                    question.exception()  # waits for the answer
                for event in events:
                    oracle_waits = self._handle(executor, event) and oracle_waits
                self._stop_requested(executor)
                self._show_progress()
        for state in self._waiting:
            if state.curves:  # it was started before, and there is no time for another attempt
                self._end(state, STOPPED, TIME_IS_UP)
        self.end_reason = self._describe_end()

    @property
    def out_of_time(self) -> bool:
        """Whether the deadline has passed."""
        return self.limits.deadline is not None and time.monotonic() >= self.limits.deadline

    def no_score_error(self) -> ChildFailedError:
        """Return the error of a search that has ended without a score."""
        failures = [state.reason for state in self.history.ended if state.state == FAILED]
        if not failures:
            return ChildFailedError(
                f"no trial gave a score ({self.end_reason})", "give it more time or trials"
            )
        return ChildFailedError(
            f"no trial gave a score ({self.end_reason}), the last one: {failures[-1]}",
            "fix the recipe or script, or narrow the space",
        )

    @property
    def _running(self) -> list[TrialState]:
        return [
            state for state in self.history.states.values() if state.is_open and state not in self._waiting
        ]

    def _needs_trial(self, executor: Executor) -> bool:
        ahead = 1 if self.limits.parallel > 1 else 0  # with one slot, an answer must know the trial before it
        missing = executor.free_slots() + ahead - len(self._waiting)
        return (
            missing > 0
            and not self.out_of_time
            and not self._exhausted
            and len(self.history.states) < self.limits.trials
        )

    def _take_answer(self, answer: tuple[str, dict[str, Any]] | str) -> bool:
        """Take the oracle's answer; return whether it waits for a trial to end."""
        if isinstance(answer, str):
            self._exhausted = answer == EXHAUSTED
            return not self._exhausted
        trial, values = answer
        self._waiting.append(self.history.add(trial, values, self._told))
        return False

    def _tell_oracle(self, count: int) -> None:
        """Tell the oracle the results of the first `count` ended trials, if it does not know them yet."""
        for state in self.history.ended[self._told : count]:
            self.oracle.tell(state.trial, state.score if state.state != FAILED else None)
        self._told = max(self._told, count)

    def _start(self, executor: Executor, make_job: MakeJob, state: TrialState) -> None:
        self.history.start(state)
        job = make_job(state)
        state.epochs = job.epochs
        executor.start(job)

    def _handle(self, executor: Executor, event: Event) -> bool:
        """Handle an event; return whether the oracle may still wait for a trial to end."""
        state = self.history.states[event.trial]
        if not state.is_open or event.attempt != state.attempt:
            return True  # a late event of a lost worker
        if isinstance(event, EpochEnded):
            self._handle_epoch(executor, state, event)
            return True
        if isinstance(event, WorkerLost):
            self._handle_loss(state, event)
            return state.is_open
        if isinstance(event, TrialFailed) and state.trial in self._stopping:
            self._end(state, STOPPED, state.stop_reason)
        elif isinstance(event, TrialFailed):
            self._show_output(event)
            self._end(state, FAILED, event.error)
        else:
            assert isinstance(event, TrialEnded)
            outcome = STOPPED if state.stop_reason else DONE
            self._end(state, outcome, state.stop_reason, event.seconds, event.metrics)
        return False

    def _handle_epoch(self, executor: Executor, state: TrialState, event: EpochEnded) -> None:
        at = self.history.add_epoch(state, event)
        if self.out_of_time:
            state.stop_reason = TIME_IS_UP
        elif state.trial in self._stopping:
            pass
        elif self.stop_rule and self.history.objective.metric in event.epoch.metrics:
            others = {
                f"{other.trial}/{execution}": self.history.curve(epochs)
                for other in self.history.states.values()
                if other is not state
                for execution, epochs in other.curves.items()
            }
            curve = self.history.curve(state.curves[event.execution])
            state.stop_reason = self.stop_rule.reason_to_stop(curve, others)
        executor.answer(state.trial, not state.stop_reason)
        self.history.track_epochs(state, at)

    def _stop_requested(self, executor: Executor) -> None:
        """End trials that somebody wants to stop: after their epoch, or at once if that lasts too long."""
        requests = self.stop_requests()
        for state in self._running if requests else ():
            if (request := requests.get(state.trial)) is None:
                continue
            state.stop_reason = str(request)
            since = self._stopping.setdefault(state.trial, time.monotonic())
            if time.monotonic() - since > EPOCH_GRACE_S:
                executor.stop(state.trial)

    def _handle_loss(self, state: TrialState, event: WorkerLost) -> None:
        self.history.lose(state, event)
        if state.trial in self._stopping:
            self._end(state, STOPPED, state.stop_reason)
            return
        self._show_output(event)
        if state.losses >= MAX_LOSSES:
            self._end(state, FAILED, f"{event.reason}; it was started {state.losses} times")
            return
        self.listener.message(f"trial {state.trial}: {event.reason}; mlctl starts it again")
        self._waiting.insert(0, state)

    def _show_output(self, event: TrialFailed | WorkerLost) -> None:
        """Show the last lines that a script has printed before it failed."""
        if event.output:
            self.listener.message(f"the last lines of trial {event.trial}:\n{event.output}")

    def _end(
        self,
        state: TrialState,
        outcome: str,
        reason: str = "",
        seconds: float = 0.0,
        metrics: Mapping[str, float] = MappingProxyType({}),
    ) -> None:
        self.history.end(state, outcome, reason, seconds, metrics)
        self.listener.trial_ended(state.result(""), self.history.best is state)
        failures = self.history.consecutive_failures
        if failures >= self.limits.max_failures:
            raise ChildFailedError(
                f"{failures} trials in a row failed, the last one: {state.reason}",
                "fix the recipe or script, or narrow the space; raise --max-failures to allow more failed trials",
            )

    def _show_progress(self) -> None:
        running = []
        for state in self._running:
            epochs = state.curves.get(max(state.curves, default=0), [])
            value = epochs[-1].metrics.get(self.history.objective.metric) if epochs else None
            running.append(
                RunningTrial(
                    trial=state.trial,
                    epoch=epochs[-1].number if epochs else 0,
                    epochs=state.epochs,
                    value=value,
                )
            )
        ended, best = self.history.ended, self.history.best
        stopped = sum(state.state == STOPPED for state in ended)
        self.listener.trials_updated(
            running, finished=len(ended), stopped=stopped, best=best.score if best else None
        )

    def _describe_end(self) -> str:
        done = len(self.history.ended)
        if self.out_of_time and (self._waiting or done < self.limits.trials):
            return f"{done} trials, then {TIME_IS_UP}"
        return self.oracle.describe_end(done, self._exhausted and done < self.limits.trials)

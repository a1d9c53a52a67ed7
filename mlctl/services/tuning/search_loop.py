"""The search itself: asks the oracle, hands trials to the executor, hears epochs, stops, scores, retries.

The journal is the truth: what it does not hold did not happen, and all of this state can be made from it again.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol

from mlctl.adapters.keras.training_loop import Epoch
from mlctl.adapters.runlog.recorder import now_ms
from mlctl.adapters.runlog.search_journal import SearchJournal
from mlctl.adapters.search.local_executor import Executor
from mlctl.adapters.search.messages import EpochEnded, Event, TrialEnded, TrialFailed, TrialJob, WorkerLost
from mlctl.adapters.search.oracles import EXHAUSTED, Oracle
from mlctl.domain.objective import Objective
from mlctl.domain.tune import DONE, FAILED, STOPPED, RunningTrial, SearchListener
from mlctl.errors import ChildFailedError
from mlctl.services.tuning.stopping import Rule
from mlctl.services.tuning.trial_state import TrialState

MOST_LOSSES = 3  # a trial whose process dies so often takes it down itself: out of memory, most likely
TICK_S = 0.5
TIME_IS_UP = "time was up"

MakeJob = Callable[[TrialState], TrialJob]
Point = tuple[int, Mapping[str, float], int]  # an epoch's number, its metrics, and when it was told


class Record(Protocol):
    """Where trials are tracked."""

    def begin(self, trial: str, params: Mapping[str, Any], at: int) -> None:
        """A trial begins."""

    def epoch(self, trial: str, step: int, metrics: Mapping[str, float], at: int) -> None:
        """An epoch ended."""

    def end(
        self, trial: str, status: str, metrics: Mapping[str, float], step: int, tags: Mapping[str, Any], at: int
    ) -> None:  # fmt: skip
        """A trial ended."""


@dataclass(frozen=True)
class Limits:
    """When a search ends: after so many trials, at a time (monotonic seconds), or failures in a row."""

    trials: int
    deadline: float | None
    failures: int
    parallel: int


class SearchLoop:
    """One search, or what is left of it."""

    def __init__(
        self, oracle: Oracle, objective: Objective, executions: int, rule: Rule | None, limits: Limits,
        journal: SearchJournal, record: Record, listener: SearchListener,
    ) -> None:  # fmt: skip
        self.oracle = oracle
        self.objective = objective
        self.executions = executions
        self.rule = rule
        self.limits = limits
        self.journal = journal
        self.record = record
        self.listener = listener
        self.states: dict[str, TrialState] = {}
        self.ended = ""
        self._ends: list[TrialState] = []
        self._told = 0
        self._waiting: list[TrialState] = []
        self._exhausted = False
        self._failures = 0

    # -- the past -----------------------------------------------------------------------------------------

    def replay(self, entries: Iterable[Mapping[str, Any]], known: set[str]) -> None:
        """Take the journal's word for all that has happened; `known` are the trials whose runs are ended."""
        points: dict[str, list[Point]] = {}
        for entry in entries:
            trial = entry.get("trial", "")
            if entry["kind"] == "ask":
                self._tell(entry["told"])
                self.oracle.replay(trial, entry["values"])
                self.states[trial] = TrialState(trial, entry["values"], self.executions)
            elif entry["kind"] == "start":
                self.states[trial].begin(entry["attempt"])
            elif entry["kind"] == "epoch" and entry["attempt"] == self.states[trial].attempt:
                epoch = Epoch(entry["number"], entry["metrics"], entry["seconds"])
                self.states[trial].add(entry["execution"], epoch)
                # as they were told then, so that none counts twice; those of running trials were told, or are noted
                points.setdefault(trial, []).extend(self._untold(self.states[trial], entry["at"]))
            elif entry["kind"] == "lost":
                self.states[trial].losses += 1
            elif entry["kind"] == "end":
                state = self.states[trial]
                state.state, state.why, state.seconds = entry["state"], entry["why"], entry["seconds"]
                state.score = entry["score"]
                self._demand_number(state)  # journals of before have NaN as a score
                self._ends.append(state)
                self._failures = self._failures + 1 if state.state == FAILED else 0
                if trial not in known:
                    self.record.begin(trial, state.values, entry["at"])
                    for point in [*points.get(trial, []), *self._untold(state, entry["at"])]:
                        self.record.epoch(trial, *point)
                    self._track_end(state, entry["at"])
        self._waiting = [one for one in self.states.values() if one.open]
        self._failures = 0  # whoever resumes has seen them

    # -- the present --------------------------------------------------------------------------------------

    def run(self, executor: Executor, make_job: MakeJob) -> None:
        """Search to the end; raises ChildFailedError after too many failures in a row."""
        with ThreadPoolExecutor(1) as asker:  # a Bayesian answer takes a second, in which workers go on
            asked: Future[Any] | None = None
            idle = False
            while True:
                if asked is not None and asked.done():
                    idle = self._take(asked.result())
                    asked = None
                while self._waiting and executor.free() and not self.late:
                    self._start(executor, make_job, self._waiting.pop(0))
                if asked is None and not idle and self._wants(executor):
                    self._tell(len(self._ends))
                    asked = asker.submit(self.oracle.ask)
                if asked is None and not self._running and (not self._waiting or self.late):
                    if idle or not self._wants(executor):
                        break
                    continue
                events = executor.events(0.02 if asked else TICK_S) if self._running else []
                if asked and not self._running:
                    asked.exception()  # waits for the answer
                for event in events:
                    idle = self._hear(executor, make_job, event) and idle
                self._show()
        for state in self._waiting:
            if state.curves:  # begun once, and there is no time for more
                self._end(state, STOPPED, TIME_IS_UP)
        self.ended = self._why()

    @property
    def ends(self) -> list[TrialState]:
        """The trials that have ended, in that order."""
        return list(self._ends)

    @property
    def fruitless(self) -> ChildFailedError:
        """What there is to say when the search has ended without a score."""
        failed = [one.why for one in self._ends if one.state == FAILED]
        if not failed:
            return ChildFailedError(f"no trial gave a score ({self.ended})", "give it more time or trials")
        return ChildFailedError(
            f"no trial gave a score ({self.ended}), the last one: {failed[-1]}",
            "mend the recipe or narrow the space",
        )

    @property
    def late(self) -> bool:
        """Whether the search's time is up."""
        return self.limits.deadline is not None and time.monotonic() >= self.limits.deadline

    @property
    def _running(self) -> list[TrialState]:
        return [one for one in self.states.values() if one.open and one not in self._waiting]

    def _wants(self, executor: Executor) -> bool:
        ahead = 1 if self.limits.parallel > 1 else 0  # at one slot an answer must know the trial before it
        wanted = executor.free() + ahead - len(self._waiting)
        return wanted > 0 and not self.late and not self._exhausted and len(self.states) < self.limits.trials

    def _take(self, answer: tuple[str, dict[str, Any]] | str) -> bool:
        """Take the oracle's answer; return whether it waits for a trial to end."""
        if isinstance(answer, str):
            self._exhausted = answer == EXHAUSTED
            return not self._exhausted
        trial, values = answer
        self.journal.add("ask", trial=trial, values=values, told=self._told)
        self.states[trial] = TrialState(trial, values, self.executions)
        self._waiting.append(self.states[trial])
        return False

    def _tell(self, count: int) -> None:
        """Tell the oracle of the first `count` trials that ended, where it does not know yet."""
        for state in self._ends[self._told : count]:
            self.oracle.tell(state.trial, state.score if state.state != FAILED else None)
        self._told = max(self._told, count)

    def _start(self, executor: Executor, make_job: MakeJob, state: TrialState) -> None:
        state.begin(state.attempt + 1)
        self.journal.add("start", trial=state.trial, attempt=state.attempt)
        self.record.begin(state.trial, state.values, now_ms())
        job = make_job(state)
        state.epochs = job.epochs
        executor.start(job)

    def _hear(self, executor: Executor, make_job: MakeJob, event: Event) -> bool:
        """Take an event; return whether the oracle may still have to wait."""
        state = self.states[event.trial]
        if not state.open or event.attempt != state.attempt:
            return True  # the late word of a worker that was given up
        if isinstance(event, EpochEnded):
            self._hear_epoch(executor, state, event)
            return True
        if isinstance(event, WorkerLost):
            self._hear_lost(state, event)
            return state.open
        if isinstance(event, TrialFailed):
            self._end(state, FAILED, event.error)
        else:
            assert isinstance(event, TrialEnded)
            self._end(state, STOPPED if state.stopping else DONE, state.stopping, event.seconds)
        return False

    def _hear_epoch(self, executor: Executor, state: TrialState, event: EpochEnded) -> None:
        epoch, at = event.epoch, now_ms()
        state.add(event.execution, epoch)
        self.journal.add(
            "epoch", trial=state.trial, attempt=event.attempt, execution=event.execution, number=epoch.number,
            metrics=dict(epoch.metrics), seconds=round(epoch.seconds, 4), at=at,
        )  # fmt: skip
        if self.late:
            state.stopping = TIME_IS_UP
        elif self.rule:
            others = {
                f"{one.trial}/{execution}": self._curve(curve)
                for one in self.states.values() if one is not state
                for execution, curve in one.curves.items()
            }  # fmt: skip
            state.stopping = self.rule.verdict(self._curve(state.curves[event.execution]), others)
        executor.answer(state.trial, not state.stopping)
        self._track(state, at)

    def _hear_lost(self, state: TrialState, event: WorkerLost) -> None:
        self.journal.add("lost", trial=state.trial, attempt=event.attempt, why=event.why)
        state.losses += 1
        if state.losses >= MOST_LOSSES:
            self._end(state, FAILED, f"{event.why}, {state.losses} times: out of memory?")
            return
        self.listener.message(f"trial {state.trial}: {event.why}; it is run again")
        state.state = ""
        self._waiting.insert(0, state)

    def _end(self, state: TrialState, how: str, why: str = "", seconds: float = 0.0) -> None:
        at = now_ms()
        state.state, state.why, state.seconds = how, why, seconds
        state.score = state.scored(self.objective) if how != FAILED else None
        if how != FAILED and state.score is None:
            state.state, state.why = FAILED, "it ended without an epoch"
        self._demand_number(state)
        self.journal.add(
            "end", trial=state.trial, state=state.state, score=state.score, why=state.why,
            seconds=round(state.seconds, 4), at=at,
        )  # fmt: skip
        self._ends.append(state)
        self._track(state, at)
        self._track_end(state, at)
        best = self.best
        self.listener.trial(state.result(""), best is state)
        self._failures = self._failures + 1 if state.state == FAILED else 0
        if self._failures >= self.limits.failures:
            raise ChildFailedError(
                f"{self._failures} trials in a row failed, the last one: {state.why}",
                "mend the recipe or narrow the space; --max-failures N bears more",
            )

    def _demand_number(self, state: TrialState) -> None:
        """Take a trial whose score is no number for one that failed: nothing can be compared with it."""
        if state.score is not None and not math.isfinite(state.score):
            state.state, state.why = FAILED, f"its {self.objective.metric} is {state.score}"
            state.score = None

    # -- what is shown and tracked ------------------------------------------------------------------------

    @property
    def best(self) -> TrialState | None:
        """The best trial so far."""
        best: TrialState | None = None
        for one in self._ends:
            if one.score is not None and (
                best is None or best.score is None or self.objective.better(one.score, best.score)
            ):
                best = one
        return best

    def _track(self, state: TrialState, at: int) -> None:
        for point in self._untold(state, at):
            self.record.epoch(state.trial, *point)

    def _untold(self, state: TrialState, at: int) -> list[Point]:
        new: list[Point] = [(number, metrics, at) for number, metrics in state.means()[state.sent :]]
        state.sent += len(new)
        return new

    def _track_end(self, state: TrialState, at: int) -> None:
        summary = state.summary(self.objective)
        tags: dict[str, Any] = {"mlctl.state": state.state, "mlctl.duration_s": round(state.seconds, 3)}
        if state.why:
            tags["mlctl.error" if state.state == FAILED else "mlctl.why"] = state.why[:500]
        status = "FAILED" if state.state == FAILED else "FINISHED"
        self.record.end(state.trial, status, summary, int(summary.get("best_epoch", 0)), tags, at)

    def _curve(self, epochs: list[Epoch]) -> list[float]:
        return [one.metrics[self.objective.metric] for one in epochs]

    def _show(self) -> None:
        running = []
        for state in self._running:
            last = max(state.curves, default=0)
            curve = state.curves.get(last, [])
            value = curve[-1].metrics.get(self.objective.metric) if curve else None
            running.append(RunningTrial(state.trial, curve[-1].number if curve else 0, state.epochs, value))
        best = self.best
        stopped = sum(one.state == STOPPED for one in self._ends)
        self.listener.trials(running, len(self._ends), stopped, best.score if best else None)

    def _why(self) -> str:
        done = len(self._ends)
        if self.late and (self._waiting or done < self.limits.trials):
            return f"{done} trials, then {TIME_IS_UP}"
        return self.oracle.ended(done, self._exhausted and done < self.limits.trials)

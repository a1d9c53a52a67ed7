"""The search loop over an executor of scripted trials: no process, no TensorFlow operation."""

import dataclasses
import time

import pytest

from mlctl.adapters.keras import runtime

runtime.import_keras()

from mlctl.adapters.keras.training_loop import Epoch  # noqa: E402 - after import_keras, TensorFlow is silent
from mlctl.adapters.runlog.search_journal import NAME, SearchJournal, read_entries  # noqa: E402
from mlctl.adapters.search.messages import EpochEnded, TrialEnded, TrialFailed, TrialJob, WorkerLost  # noqa: E402
from mlctl.adapters.search.oracles import IDLE, Oracle  # noqa: E402
from mlctl.domain.objective import Objective  # noqa: E402
from mlctl.domain.stop_request import StopRequest  # noqa: E402
from mlctl.domain.tune import Dimension  # noqa: E402
from mlctl.errors import ChildFailedError, UsageError  # noqa: E402
from mlctl.services.tuning.request import TuneRequest  # noqa: E402
from mlctl.services.tuning.search_history import SearchHistory  # noqa: E402
from mlctl.services.tuning.search_loop import MAX_LOSSES, SearchLimits, SearchLoop  # noqa: E402
from mlctl.services.tuning.stopping import parse_stop_rule  # noqa: E402
from mlctl.services.workflows import tune  # noqa: E402
from mlctl.settings import load  # noqa: E402
from tests.recording_listener import RecordingListener  # noqa: E402

OBJECTIVE = Objective("val_accuracy", True)
SPACE = [Dimension(name="units", default=16, choices=(), low=16, high=512, step=16, integer=True)]
EPOCHS = 4


class ScriptedExecutor:
    """An executor whose trials' curves depend on their units; each call of `events` ends one epoch of each trial."""

    def __init__(self, slots, lost=(), failing=()):
        self.slots, self.lost, self.failing = slots, list(lost), set(failing)
        self.running, self.started, self.stopped = {}, [], []

    def free_slots(self):
        return self.slots - len(self.running)

    def start(self, job):
        self.started.append((job.trial, job.attempt))
        self.running[job.trial] = [job, 0]

    def answer(self, trial, proceed):
        if not proceed:
            self.stopped.append(trial)

    def stop(self, trial):
        self.lost.append(trial)

    def events(self, timeout_s):
        events = []
        for trial, (job, done) in list(self.running.items()):
            if trial in self.lost:
                self.lost.remove(trial)
                events.append(WorkerLost(trial, job.attempt, "process 1 died"))
            elif trial in self.failing:
                events.append(TrialFailed(trial, job.attempt, "ValueError: no"))
            elif trial in self.stopped or done == EPOCHS:
                events.append(TrialEnded(trial, job.attempt, 0.1))
            else:
                self.running[trial][1] += 1
                value = job.values["units"] / 512 * (done + 1) / EPOCHS
                epoch = Epoch(done + 1, {"val_accuracy": value}, 0.01)
                events.append(EpochEnded(trial, job.attempt, 1, epoch))
                continue
            del self.running[trial]
        return events

    def close(self):
        pass


class RecordingTracker:
    """A tracker that keeps what was sent to each trial's run."""

    def __init__(self):
        self.runs = {}

    def begin(self, trial, params, at):
        self.runs.setdefault(trial, {"epochs": [], "ends": []})

    def epoch(self, trial, step, metrics, at):
        self.runs[trial]["epochs"].append(step)

    def end(self, trial, status, metrics, tags, at):
        self.runs[trial]["ends"].append((status, tags["mlctl.state"]))


def search(
    folder,
    executor,
    algorithm="random",
    trials=6,
    past=None,
    known_ended=frozenset(),
    stop=None,
    deadline=None,
    stop_requests=None,
    space=SPACE,
):
    """Run a search to its end; return its loop and its tracker."""
    journal, tracker = SearchJournal(folder), RecordingTracker()
    loop = SearchLoop(
        Oracle(algorithm, space, OBJECTIVE, trials=trials, seed=0, epochs=9),
        SearchHistory(OBJECTIVE, 1, journal, tracker),
        limits=SearchLimits(trials=trials, deadline=deadline, max_failures=3, parallel=executor.slots),
        stop_rule=parse_stop_rule(stop, OBJECTIVE) if stop else None,
        listener=RecordingListener(),
    )
    loop.stop_requests = lambda: stop_requests or {}
    try:
        if past:
            loop.replay(past, set(known_ended))
        loop.run(
            executor,
            lambda state: TrialJob(
                trial=state.trial,
                attempt=state.attempt,
                values=state.values,
                objective=OBJECTIVE,
                epochs=EPOCHS,
            ),
        )
    finally:
        journal.close()
    return loop, tracker


def states(loop):
    return list(loop.history.states.values())


def results(loop):
    return {state.trial: (state.state, state.score, dict(state.values)) for state in states(loop)}


@pytest.mark.parametrize("algorithm", ["random", "bayesian"])
@pytest.mark.parametrize("slots", [pytest.param(1, marks=pytest.mark.long), 3])
def test_a_search_resumed_from_any_line_of_its_journal_ends_as_the_uninterrupted_one(
    tmp_path, algorithm, slots
):
    uninterrupted, _ = search(tmp_path / "whole", ScriptedExecutor(slots), algorithm)
    journal = tmp_path / "whole" / NAME
    entries = list(read_entries(journal))
    for cut in range(1, len(entries), 7):
        folder = tmp_path / f"cut{cut}"
        folder.mkdir()
        (folder / NAME).write_bytes(b"".join(journal.read_bytes().splitlines(True)[:cut]))
        executor = ScriptedExecutor(slots)
        resumed, tracker = search(folder, executor, algorithm, past=entries[:cut])
        ended = {entry["trial"] for entry in entries[:cut] if entry["kind"] == "end"}
        assert not ended & {trial for trial, _ in executor.started}  # none is repeated
        assert len(states(resumed)) == 6
        assert all(len(run["ends"]) == 1 for run in tracker.runs.values())
        if algorithm == "random" or slots == 1:
            assert results(resumed) == results(uninterrupted)


def test_a_lost_trial_is_run_again_and_counts_once(tmp_path):
    executor = ScriptedExecutor(2, lost=["0002"])
    loop, tracker = search(tmp_path, executor)
    assert ("0002", 1) in executor.started
    assert ("0002", 2) in executor.started
    assert {state.state for state in states(loop)} == {"done"}
    assert tracker.runs["0002"] == {"epochs": [1, 2, 3, 4], "ends": [("FINISHED", "done")]}


def test_a_trial_that_always_loses_its_process_fails(tmp_path):
    executor = ScriptedExecutor(1, lost=["0002"] * 9)
    loop, _ = search(tmp_path, executor)
    assert loop.history.states["0002"].state == "failed"
    assert sum(trial == "0002" for trial, _ in executor.started) == MAX_LOSSES
    assert len(states(loop)) == 6


def test_failures_are_recorded_and_three_in_a_row_end_the_search(tmp_path):
    loop, tracker = search(tmp_path / "some", ScriptedExecutor(1, failing=["0002", "0003", "0005"]))
    outcomes = ["done", "failed", "failed", "done", "failed", "done"]
    assert [state.state for state in states(loop)] == outcomes
    assert tracker.runs["0003"]["ends"] == [("FAILED", "failed")]
    with pytest.raises(ChildFailedError, match="3 trials in a row failed, the last one: ValueError: no"):
        search(tmp_path / "all", ScriptedExecutor(1, failing=["0002", "0003", "0004"]))


def test_a_score_of_nan_in_a_journal_of_an_earlier_version_is_a_failure(tmp_path):
    search(tmp_path, ScriptedExecutor(1), trials=3)
    past = [
        {**entry, "score": float("nan")} if entry["kind"] == "end" and entry["trial"] == "0002" else entry
        for entry in read_entries(tmp_path / NAME)
    ]
    loop, _ = search(tmp_path, ScriptedExecutor(1), trials=4, past=past)
    assert [(state.state, state.reason) for state in states(loop)][1] == ("failed", "its val_accuracy is nan")
    assert [state.score is None for state in states(loop)] == [False, True, False, False]


def test_bad_trials_are_stopped_and_recorded_as_stopped(tmp_path):
    loop, tracker = search(tmp_path, ScriptedExecutor(1), stop="bandit:slack=0.1", trials=8)
    stopped = [state for state in states(loop) if state.state == "stopped"]
    assert stopped
    assert all("(bandit)" in state.reason and len(state.curves[1]) == 2 for state in stopped)
    assert tracker.runs[stopped[0].trial]["ends"] == [("FINISHED", "stopped")]
    assert loop.history.best.state == "done"


def test_no_trial_starts_after_the_deadline(tmp_path):
    loop, _ = search(tmp_path, ScriptedExecutor(2), deadline=time.monotonic())
    assert states(loop) == []
    assert "time was up" in loop.end_reason


def test_a_late_event_of_an_earlier_attempt_is_ignored(tmp_path):
    class LateExecutor(ScriptedExecutor):
        def events(self, timeout_s):
            events = super().events(timeout_s)
            late = [TrialEnded(event.trial, event.attempt - 1, 9.0) for event in events if event.attempt > 1]
            return late + events

    loop, _ = search(tmp_path, LateExecutor(1, lost=["0001"]), trials=2)
    assert loop.history.states["0001"].seconds == 0.1


def test_more_trials_on_resume_continue_the_sequence(tmp_path):
    search(tmp_path, ScriptedExecutor(1), trials=3)
    past = list(read_entries(tmp_path / NAME))
    resumed, _ = search(tmp_path, ScriptedExecutor(1), trials=6, past=past, known_ended={"0001"})
    uninterrupted, _ = search(tmp_path / "whole", ScriptedExecutor(1), trials=6)
    assert results(resumed) == results(uninterrupted)


def test_hyperband_runs_all_its_brackets_and_its_plan_counts_their_epochs(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    request = TuneRequest(source="digits", algorithm="hyperband", overrides={"epochs": "9"})
    plan = tune.plan(load(), request)
    rungs = [[(rung.trials, rung.start_epoch, rung.epochs) for rung in bracket] for bracket in plan.brackets]
    assert rungs == [[(9, 0, 1), (3, 1, 3), (1, 3, 9)], [(5, 0, 3), (2, 3, 9)], [(3, 0, 9)]]
    assert (plan.trials, plan.epochs) == (23, 9 + 6 + 6 + 15 + 12 + 27)
    loop, _ = search(tmp_path, ScriptedExecutor(1), "hyperband", trials=23)
    assert loop.end_reason == "23 trials, all brackets"


def test_an_answer_from_before_the_last_trial_ended_does_not_end_the_search(tmp_path, monkeypatch):
    ask = Oracle.ask

    def answer_late(oracle):
        answer = ask(oracle)
        if answer == IDLE:
            time.sleep(0.3)  # meanwhile, all trials end
        return answer

    monkeypatch.setattr(Oracle, "ask", answer_late)
    space = [dataclasses.replace(SPACE[0], low=16, high=64)]
    loop, _ = search(tmp_path, ScriptedExecutor(4), "grid", trials=9, space=space)
    assert loop.end_reason == "4 of 4 combinations"


def test_a_plan_of_fewer_trials_than_hyperbands_brackets_says_so(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    request = TuneRequest(source="digits", algorithm="hyperband", trials=10, overrides={"epochs": "9"})
    plan = tune.plan(load(), request)
    assert (plan.trials, plan.epochs) == (10, 9 + 2)
    assert "all brackets have 23 trials" in plan.notes[0]


def test_hyperband_refuses_a_space_that_is_smaller_than_its_first_rung(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    request = TuneRequest(
        source="digits",
        algorithm="hyperband",
        overrides={"epochs": "9", "learning_rate": "1e-3", "dropout": "0"},
        space={"units": "16|32"},
    )
    with pytest.raises(UsageError, match="begins with 9 trials, and the space has 2 combinations"):
        tune.plan(load(), request)


@pytest.mark.parametrize("grace_s", [0, 60])
def test_a_trial_that_somebody_stops(tmp_path, monkeypatch, grace_s):
    monkeypatch.setattr("mlctl.services.tuning.search_loop.EPOCH_GRACE_S", grace_s)
    request = StopRequest(by="ada", at="2026-11-01T12:00+00:00", reason="too slow")
    loop, _ = search(tmp_path, ScriptedExecutor(1), trials=3, stop_requests={"0002": request})
    ended = {state.trial: (state.state, state.reason) for state in loop.history.ended}
    assert ended["0002"] == ("stopped", "stopped by ada: too slow")
    assert {state for state, _ in ended.values()} == {"done", "stopped"}

"""The search loop over an executor of scripted trials: no process, no TensorFlow operation."""

import time

import pytest

from mlctl.adapters.keras import runtime

runtime.import_keras()

from mlctl.adapters.keras.training_loop import Epoch  # noqa: E402 - TensorFlow's chatter is off by now
from mlctl.adapters.runlog.search_journal import NAME, SearchJournal, read  # noqa: E402
from mlctl.adapters.search.messages import EpochEnded, TrialEnded, TrialFailed, TrialJob, WorkerLost  # noqa: E402
from mlctl.adapters.search.oracles import Oracle  # noqa: E402
from mlctl.domain.objective import Objective  # noqa: E402
from mlctl.domain.tune import Dimension, QuietSearch  # noqa: E402
from mlctl.errors import ChildFailedError, UsageError  # noqa: E402
from mlctl.services.tuning.search_loop import MOST_LOSSES, Limits, SearchLoop  # noqa: E402
from mlctl.services.tuning.stopping import rule  # noqa: E402
from mlctl.services.workflows import tune  # noqa: E402
from mlctl.settings import load  # noqa: E402

OBJECTIVE = Objective("val_accuracy", True)
SPACE = [Dimension("units", 16, (), 16, 512, 16, integer=True)]
EPOCHS = 4


class Scripted:
    """Executor: each trial's curve is set by its units, an epoch of every running trial a round."""

    def __init__(self, slots, dies=(), fails=()):
        self.slots, self.dies, self.fails = slots, list(dies), set(fails)
        self.running, self.started, self.stopped = {}, [], []

    def free(self):
        return self.slots - len(self.running)

    def start(self, job):
        self.started.append((job.trial, job.attempt))
        self.running[job.trial] = [job, 0]

    def answer(self, trial, go_on):
        if not go_on:
            self.stopped.append(trial)

    def events(self, timeout_s):
        found = []
        for trial, (job, done) in list(self.running.items()):
            if trial in self.dies:
                self.dies.remove(trial)
                found.append(WorkerLost(trial, job.attempt, "process 1 died"))
            elif trial in self.fails:
                found.append(TrialFailed(trial, job.attempt, "ValueError: no"))
            elif trial in self.stopped or done == EPOCHS:
                found.append(TrialEnded(trial, job.attempt, 0.1))
            else:
                self.running[trial][1] += 1
                value = job.values["units"] / 512 * (done + 1) / EPOCHS
                found.append(
                    EpochEnded(trial, job.attempt, 1, Epoch(done + 1, {"val_accuracy": value}, 0.01))
                )
                continue
            del self.running[trial]
        return found

    def close(self):
        pass


class Recorded:
    """Record: what each trial's run was told."""

    def __init__(self):
        self.runs = {}

    def begin(self, trial, params, at):
        self.runs.setdefault(trial, {"epochs": [], "ends": []})

    def epoch(self, trial, step, metrics, at):
        self.runs[trial]["epochs"].append(step)

    def end(self, trial, status, metrics, step, tags, at):
        self.runs[trial]["ends"].append((status, tags["mlctl.state"]))


def searched(
    folder, executor, algorithm="random", trials=6, past=None, known=frozenset(), stop=None, **limits
):
    limits = {"deadline": None, "failures": 3, "parallel": executor.slots, **limits}
    journal, record, listener = SearchJournal(folder), Recorded(), QuietSearch()
    loop = SearchLoop(
        Oracle(algorithm, SPACE, OBJECTIVE, trials, 0, 9), OBJECTIVE, 1, rule(stop, OBJECTIVE) if stop else None,
        Limits(trials, **limits), journal, record, listener,
    )  # fmt: skip
    try:
        if past:
            loop.replay(past, set(known))
        loop.run(executor, lambda one: TrialJob(one.trial, one.attempt, one.values, OBJECTIVE, EPOCHS))
    finally:
        journal.close()
    return loop, record


def results(loop):
    return {one.trial: (one.state, one.score, dict(one.values)) for one in loop.states.values()}


@pytest.mark.parametrize("algorithm", ["random", "bayesian"])
@pytest.mark.parametrize("slots", [1, 3])
def test_cut_anywhere_and_resumed_it_ends_as_the_uninterrupted_search(tmp_path, algorithm, slots):
    whole, _ = searched(tmp_path / "whole", Scripted(slots), algorithm)
    entries = list(read(tmp_path / "whole" / NAME))
    for cut in range(1, len(entries), 7):
        folder = tmp_path / f"cut{cut}"
        folder.mkdir()
        (folder / NAME).write_bytes(b"".join((tmp_path / "whole" / NAME).read_bytes().splitlines(True)[:cut]))
        executor = Scripted(slots)
        resumed, record = searched(folder, executor, algorithm, past=entries[:cut])
        ended = {entry["trial"] for entry in entries[:cut] if entry["kind"] == "end"}
        assert not ended & {trial for trial, _ in executor.started}  # none is repeated
        assert len(resumed.states) == 6
        assert all(len(run["ends"]) == 1 for run in record.runs.values())
        if algorithm == "random" or slots == 1:
            assert results(resumed) == results(whole)


def test_a_lost_trial_is_run_again_and_counts_once(tmp_path):
    executor = Scripted(2, dies=["0002"])
    loop, record = searched(tmp_path, executor)
    assert ("0002", 1) in executor.started
    assert ("0002", 2) in executor.started
    assert {one.state for one in loop.states.values()} == {"done"}
    assert record.runs["0002"] == {"epochs": [1, 2, 3, 4], "ends": [("FINISHED", "done")]}


def test_a_trial_that_always_loses_its_process_is_given_up(tmp_path):
    executor = Scripted(1, dies=["0002"] * 9)
    loop, _ = searched(tmp_path, executor)
    assert loop.states["0002"].state == "failed"
    assert sum(trial == "0002" for trial, _ in executor.started) == MOST_LOSSES
    assert len(loop.states) == 6


def test_failures_are_recorded_and_so_many_in_a_row_end_the_search(tmp_path):
    loop, record = searched(tmp_path / "some", Scripted(1, fails=["0002", "0003", "0005"]))
    assert [one.state for one in loop.states.values()] == [
        "done",
        "failed",
        "failed",
        "done",
        "failed",
        "done",
    ]
    assert record.runs["0003"]["ends"] == [("FAILED", "failed")]
    with pytest.raises(ChildFailedError, match="3 trials in a row failed, the last one: ValueError: no"):
        searched(tmp_path / "all", Scripted(1, fails=["0002", "0003", "0004"]))


def test_a_score_that_is_no_number_is_a_failure_in_a_journal_of_before_too(tmp_path):
    searched(tmp_path, Scripted(1), trials=3)
    past = [
        {**entry, "score": float("nan")} if entry["kind"] == "end" and entry["trial"] == "0002" else entry
        for entry in read(tmp_path / NAME)
    ]
    loop, _ = searched(tmp_path, Scripted(1), trials=4, past=past)
    assert [(one.state, one.why) for one in loop.states.values()][1] == ("failed", "its val_accuracy is nan")
    assert [one.score is None for one in loop.states.values()] == [False, True, False, False]


def test_bad_trials_are_stopped_and_recorded_as_such(tmp_path):
    executor = Scripted(1)
    loop, record = searched(tmp_path, executor, stop="bandit:slack=0.1", trials=8)
    stopped = [one for one in loop.states.values() if one.state == "stopped"]
    assert stopped
    assert all("(bandit)" in one.why and len(one.curves[1]) == 2 for one in stopped)
    assert record.runs[stopped[0].trial]["ends"] == [("FINISHED", "stopped")]
    assert loop.best.state == "done"


def test_time_stops_the_running_and_begins_no_more(tmp_path):
    loop, _ = searched(tmp_path, Scripted(2), deadline=time.monotonic())
    assert loop.states == {}
    assert "time was up" in loop.ended


def test_a_late_word_of_an_earlier_attempt_is_not_taken(tmp_path):
    class Late(Scripted):
        def events(self, timeout_s):
            found = super().events(timeout_s)
            late = [TrialEnded(one.trial, one.attempt - 1, 9.0) for one in found if one.attempt > 1]
            return late + found

    loop, _ = searched(tmp_path, Late(1, dies=["0001"]), trials=2)
    assert loop.states["0001"].seconds == 0.1


def test_more_trials_on_resume_continue_the_sequence(tmp_path):
    searched(tmp_path, Scripted(1), trials=3)
    resumed, _ = searched(tmp_path, Scripted(1), trials=6, past=list(read(tmp_path / NAME)), known={"0001"})
    whole, _ = searched(tmp_path / "whole", Scripted(1), trials=6)
    assert results(resumed) == results(whole)


def test_hyperband_as_it_comes_walks_all_its_brackets_and_its_plan_says_what_that_takes(
    monkeypatch, tmp_path
):
    monkeypatch.chdir(tmp_path)
    planned = tune.plan(load(), tune.SearchRequest("digits", "hyperband", given={"epochs": "9"}))
    rungs = [[(rung.trials, rung.after, rung.epochs) for rung in bracket] for bracket in planned.brackets]
    assert rungs == [[(9, 0, 1), (3, 1, 3), (1, 3, 9)], [(5, 0, 3), (2, 3, 9)], [(3, 0, 9)]]
    assert (planned.trials, planned.epochs) == (23, 9 + 6 + 6 + 15 + 12 + 27)
    some = tune.plan(load(), tune.SearchRequest("digits", "hyperband", trials=10, given={"epochs": "9"}))
    assert (some.trials, some.epochs) == (10, 9 + 2)
    assert "all brackets have 23 trials" in some.notes[0]
    few = {"epochs": "9", "learning_rate": "1e-3", "dropout": "0"}
    with pytest.raises(UsageError, match="begins with 9 trials, and the space has 2 combinations"):
        tune.understood(tune.SearchRequest("digits", "hyperband", given=few, space={"units": "16|32"}))
    loop, _ = searched(tmp_path, Scripted(1), "hyperband", trials=23)
    assert loop.ended == "23 trials, all brackets"

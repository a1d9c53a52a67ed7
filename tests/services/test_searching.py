"""Whole searches in this process: scripted trials, whose scores a test decides, and real final models."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from mlctl.adapters.keras import runtime

runtime.import_keras()

from mlctl import settings  # noqa: E402 - TensorFlow's chatter is off by now
from mlctl.adapters.keras.training_loop import Epoch  # noqa: E402
from mlctl.adapters.search.messages import EpochEnded, Event, TrialEnded, TrialFailed, TrialJob  # noqa: E402
from mlctl.domain.tune import QuietSearch, Search  # noqa: E402
from mlctl.errors import ChildFailedError, Interrupted, RefusedError, UsageError  # noqa: E402
from mlctl.services.tuning import final_models  # noqa: E402
from mlctl.services.tuning import search as searching  # noqa: E402
from mlctl.services.tuning.search_loop import SearchLoop  # noqa: E402
from mlctl.services.workflows import tune  # noqa: E402
from mlctl.services.workflows.resume import resume  # noqa: E402
from tests.trained import TINY  # noqa: E402
from tests.training_run import client  # noqa: E402


class Scripted:
    """Executor of one slot: the curve of each trial's val_accuracy is what a test says; a str is how it fails."""

    def __init__(self, curve: Callable[[TrialJob], Any]) -> None:
        self.curve = curve
        self.told: list[Event] = []
        self.started: list[TrialJob] = []

    def free(self) -> int:
        return int(not self.told)

    def start(self, job: TrialJob) -> None:
        self.started.append(job)
        curve = self.curve(job)
        if isinstance(curve, str):
            self.told = [TrialFailed(job.trial, job.attempt, curve)]
            return
        for number, value in enumerate(curve, 1):
            metrics = {"loss": 0.5, "val_loss": 1.0 - value, "val_accuracy": value}
            self.told.append(EpochEnded(job.trial, job.attempt, 1, Epoch(number, metrics, 0.01)))
        self.told.append(TrialEnded(job.trial, job.attempt, 0.1))

    def answer(self, trial: str, go_on: bool) -> None:
        if not go_on:
            self.told = [one for one in self.told if isinstance(one, TrialEnded)]

    def events(self, timeout_s: float) -> list[Event]:
        return [self.told.pop(0)] if self.told else []

    def close(self) -> None: ...


class Here:
    """Searches of the tiny recipe in a folder of their own."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.monkeypatch = monkeypatch
        self.uri = f"sqlite:///{folder / 'mlflow.db'}"
        self.listener = QuietSearch()
        self.executor = Scripted(lambda job: [int(job.trial) / 10])
        (folder / "tiny.py").write_text(TINY)
        monkeypatch.setattr(searching.TuneRun, "_executor", lambda search: self.executor)

    @property
    def settings(self) -> settings.Settings:
        found = settings.load({"tracking_uri": self.uri})
        return type(found)(**{**vars(found), "state_dir": self.folder / "state"})

    def tune(self, **asked: Any) -> Search:
        given = {
            "trials": 2,
            "space": {"units": "4|8|12|16"},
            "given": {"learning_rate": 0.01},
            "finalists": 0,
        }
        with contextlib.chdir(self.folder):
            request = tune.SearchRequest("./tiny.py", **{**given, **asked})
            return tune.tune(self.settings, request, self.listener)

    def resume(self, trials: int | None = None, force: bool = False) -> Search:
        with contextlib.chdir(self.folder):
            found = resume(self.settings, "last", None, force, self.listener, trials)
        assert isinstance(found, Search)
        return found

    def histories(self, run_id: str) -> Mapping[str, list[tuple[int, float]]]:
        asked = client(self.uri)
        return {
            name: [(one.step, one.value) for one in asked.get_metric_history(run_id, name)]
            for name in asked.get_run(run_id).data.metrics
        }

    def interrupted_after(self, part: str) -> None:
        """Have Ctrl-C come once, when this part of the final training is done."""
        whole = getattr(final_models.Final, part)

        def once(final: Any, *arguments: Any) -> Any:
            self.monkeypatch.setattr(final_models.Final, part, whole)
            whole(final, *arguments)
            raise KeyboardInterrupt

        self.monkeypatch.setattr(final_models.Final, part, once)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Here:
    return Here(tmp_path, monkeypatch)


def test_more_trials_after_an_interrupt_leave_the_values_and_the_curve_of_the_logged_model(
    here: Here,
) -> None:
    here.interrupted_after("_train")
    with pytest.raises(Interrupted):
        here.tune()
    search = here.resume(trials=4)
    assert search.best == "0004"
    run = client(here.uri).get_run(search.run_id)
    best = next(one for one in search.trials if one.trial == "0004")
    assert run.data.params["units"] == str(best.params["units"])
    (model,) = client(here.uri).search_logged_models([run.info.experiment_id])
    assert model.params["units"] == str(best.params["units"])
    found = here.histories(search.run_id)
    assert [step for step, _ in found["val_accuracy"]] == [1, 2, 3]
    assert found["trials"] == [(0, 4.0)]
    assert found["best_val_accuracy"][0][1] == max(value for _, value in found["val_accuracy"])


def test_a_search_whose_final_model_has_its_values_takes_no_more_trials(here: Here) -> None:
    here.interrupted_after("_settle")
    with pytest.raises(Interrupted):
        here.tune()
    with pytest.raises(RefusedError, match="the final model of search"):
        here.resume(trials=4)
    assert here.resume().best == "0002"


def test_a_trial_whose_objective_is_nan_has_failed_and_the_search_ends_as_ever(here: Here) -> None:
    here.executor.curve = lambda job: [math.nan if job.trial == "0002" else int(job.trial) / 10]
    search = here.tune(trials=6, space={"units": "4..16:4", "batch_size": "8|16"})
    failed = search.trials[-1]
    assert (failed.trial, failed.state, failed.score) == ("0002", "failed", None)
    assert failed.why == "its val_accuracy is nan"
    assert search.best == "0006"


@pytest.mark.parametrize("objective", ["max:loss", "min:loss"])  # which the recipe's own knows nothing of
def test_the_final_models_epoch_is_chosen_by_the_objective_that_was_asked_for(
    here: Here, objective: str
) -> None:
    here.executor.curve = lambda job: [0.5]
    search = here.tune(objective=objective)
    losses = here.histories(search.run_id)["loss"]
    wanted = (max if objective.startswith("max") else min)(losses, key=lambda one: one[1])[0]
    assert here.histories(search.run_id)["best_epoch"][0][1] == wanted
    assert client(here.uri).get_run(search.run_id).data.tags["mlctl.objective"] == objective


def test_a_recipe_that_has_changed_is_gone_on_with_only_by_force(here: Here) -> None:
    here.interrupted_after("_train")
    with pytest.raises(Interrupted):
        here.tune()
    (here.folder / "tiny.py").write_text(TINY.replace('activation="relu"', 'activation="tanh"'))
    with pytest.raises(RefusedError, match=r"this has changed: code \(.*tiny.py\)"):
        here.resume()
    search = here.resume(force=True)
    assert "code (" in client(here.uri).get_run(search.run_id).data.tags["mlctl.resumed_in_spite_of"]


def test_a_resumed_search_has_the_time_that_was_left_and_no_option_of_a_training(here: Here) -> None:
    here.interrupted_after("_train")
    with pytest.raises(Interrupted):
        here.tune(timeout_s=60.0)
    (journal,) = here.folder.glob("state/runs/*/search.jsonl")
    entries = [json.loads(line) for line in journal.read_text().splitlines()]
    sitting = next(entry for entry in entries if entry["kind"] == "sitting")
    sitting["at"] -= 60_000
    journal.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    with pytest.raises(UsageError, match="--epochs is for a training"):
        resume(here.settings, "last", 5, False, here.listener)
    search = here.resume(trials=4)
    assert search.ended == "2 trials, then time was up"
    assert search.run.status == "FINISHED"


def test_time_ends_the_finalists_too_and_the_model_is_trained_as_the_best_trial_was(here: Here) -> None:
    here.executor.curve = lambda job: [0.5] * 50 if job.trial.startswith("final") else [int(job.trial) / 10]
    late = property(lambda loop: any(job.trial.startswith("final") for job in here.executor.started))
    here.monkeypatch.setattr(SearchLoop, "late", late)
    search = here.tune(finalists=1, timeout_s=60.0)
    assert any("before the finalists ended" in text for text in here.listener.said)
    assert client(here.uri).get_run(search.run_id).data.params["epochs"] == "3"
    asked = client(here.uri)
    runs = asked.search_runs([asked.get_experiment_by_name("tiny").experiment_id])
    (final,) = [one for one in runs if one.data.tags.get("mlctl.trial", "").startswith("final")]
    assert (final.info.status, final.data.tags["mlctl.state"]) == ("FINISHED", "stopped")
    assert len(asked.get_metric_history(final.info.run_id, "val_loss")) == 1


def test_a_trial_that_never_began_is_in_no_answer(here: Here) -> None:
    here.executor.curve = lambda job: [0.5] * 1000
    here.monkeypatch.setattr(SearchLoop, "late", property(lambda loop: len(loop.states) >= 2))
    search = here.tune(parallel=2, timeout_s=60.0)
    assert [(one.trial, one.state) for one in search.trials] == [("0001", "stopped")]
    assert here.histories(search.run_id)["trials"] == [(0, 1.0)]


def test_an_interrupted_searchs_running_trial_is_killed_in_the_store_and_begins_again(here: Here) -> None:
    scripted = here.executor.events

    def events(timeout_s: float) -> list[Event]:
        here.monkeypatch.setattr(here.executor, "events", scripted)
        raise KeyboardInterrupt

    here.monkeypatch.setattr(here.executor, "events", events)
    with pytest.raises(Interrupted):
        here.tune()
    asked = client(here.uri)
    (experiment,) = [one.experiment_id for one in asked.search_experiments() if one.name == "tiny"]
    assert {one.info.status for one in asked.search_runs([experiment])} == {"KILLED"}
    here.executor.told = []
    here.resume()
    assert {one.info.status for one in asked.search_runs([experiment])} == {"FINISHED"}


def test_a_search_without_a_score_ends_with_the_last_error(here: Here) -> None:
    here.executor.curve = lambda job: "ValueError: too wide"
    with pytest.raises(ChildFailedError, match=r"no trial gave a score \(2 trials\).*: ValueError: too wide"):
        here.tune()
    with pytest.raises(UsageError, match="no time to search"):
        here.tune(timeout_s=0.0)

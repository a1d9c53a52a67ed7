"""Whole searches in this process: trials with scripted scores, and real final models."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from mlctl.adapters.keras import runtime

runtime.import_keras()

from mlctl import settings  # noqa: E402 - after import_keras, TensorFlow is silent
from mlctl.adapters.keras.training_loop import Epoch  # noqa: E402
from mlctl.adapters.search.messages import EpochEnded, Event, TrialEnded, TrialFailed, TrialJob  # noqa: E402
from mlctl.domain.hyperband import count_trials, hyperband_brackets  # noqa: E402
from mlctl.domain.tune import SearchPlan, SearchResult  # noqa: E402
from mlctl.errors import ChildFailedError, Interrupted, RefusedError, UsageError  # noqa: E402
from mlctl.services.tuning.final_training import FinalTraining  # noqa: E402
from mlctl.services.tuning.request import TuneRequest  # noqa: E402
from mlctl.services.tuning.run import TuneRun  # noqa: E402
from mlctl.services.tuning.search_loop import SearchLoop  # noqa: E402
from mlctl.services.workflows import tune  # noqa: E402
from mlctl.services.workflows.resume import resume  # noqa: E402
from tests.recording_listener import RecordingListener  # noqa: E402
from tests.trained import TINY  # noqa: E402
from tests.training_run import client  # noqa: E402

COUNTING = (
    f"from pathlib import Path\n\nwith Path('executions').open('a') as file:\n    file.write('x')\n{TINY}"
)


class ScriptedExecutor:
    """An executor of one slot. `curve` returns a trial's val_accuracy by epoch, or the error of a failing trial."""

    def __init__(self, curve: Callable[[TrialJob], Any]) -> None:
        self.curve = curve
        self.pending: list[Event] = []
        self.started: list[TrialJob] = []

    def free_slots(self) -> int:
        return int(not self.pending)

    def start(self, job: TrialJob) -> None:
        self.started.append(job)
        curve = self.curve(job)
        if isinstance(curve, str):
            self.pending = [TrialFailed(job.trial, job.attempt, curve)]
            return
        for number, value in enumerate(curve, 1):
            metrics = {"loss": 0.5, "val_loss": 1.0 - value, "val_accuracy": value}
            self.pending.append(EpochEnded(job.trial, job.attempt, 1, Epoch(number, metrics, 0.01)))
        self.pending.append(TrialEnded(job.trial, job.attempt, 0.1))

    def answer(self, trial: str, proceed: bool) -> None:
        if not proceed:
            self.pending = [event for event in self.pending if isinstance(event, TrialEnded)]

    def events(self, timeout_s: float) -> list[Event]:
        return [self.pending.pop(0)] if self.pending else []

    def close(self) -> None: ...


class Searches:
    """Searches of the tiny recipe in their own folder and store."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.monkeypatch = monkeypatch
        self.uri = f"sqlite:///{folder / 'mlflow.db'}"
        self.listener = RecordingListener()
        self.executor = ScriptedExecutor(lambda job: [int(job.trial) / 10])
        (folder / "tiny.py").write_text(TINY)
        monkeypatch.setattr(TuneRun, "_make_executor", lambda run: self.executor)

    @property
    def settings(self) -> settings.Settings:
        loaded = settings.load({"tracking_uri": self.uri})
        return dataclasses.replace(loaded, state_dir=self.folder / "state")

    def request(self, **options: Any) -> TuneRequest:
        defaults = {
            "trials": 2,
            "space": {"units": "4|8|12|16"},
            "overrides": {"learning_rate": 0.01},
            "finalists": 0,
        }
        return TuneRequest(source="./tiny.py", **{**defaults, **options})

    def tune(self, **options: Any) -> SearchResult:
        with contextlib.chdir(self.folder):
            return tune.tune(self.settings, self.request(**options), self.listener)

    def plan(self, **options: Any) -> SearchPlan:
        with contextlib.chdir(self.folder):
            return tune.plan(self.settings, self.request(**options))

    def resume(self, trials: int | None = None, force: bool = False) -> SearchResult:
        with contextlib.chdir(self.folder):
            result = resume(self.settings, "last", trials=trials, force=force, listener=self.listener)
        assert isinstance(result, SearchResult)
        return result

    def histories(self, run_id: str) -> Mapping[str, list[tuple[int, float]]]:
        mlflow_client = client(self.uri)
        return {
            name: [(point.step, point.value) for point in mlflow_client.get_metric_history(run_id, name)]
            for name in mlflow_client.get_run(run_id).data.metrics
        }

    def runs(self) -> list[Any]:
        """Return all runs of the search's experiment."""
        mlflow_client = client(self.uri)
        experiment = mlflow_client.get_experiment_by_name("tiny")
        return list(mlflow_client.search_runs([experiment.experiment_id]))

    def interrupt_after(self, method: str) -> None:
        """Raise KeyboardInterrupt once, when this method of the final training has returned."""
        original = getattr(FinalTraining, method)

        def interrupted(training: Any, *arguments: Any) -> Any:
            self.monkeypatch.setattr(FinalTraining, method, original)
            original(training, *arguments)
            raise KeyboardInterrupt

        self.monkeypatch.setattr(FinalTraining, method, interrupted)


@pytest.fixture
def searches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Searches:
    return Searches(tmp_path, monkeypatch)


def test_tune_plan_and_resume_execute_the_recipe_file_once_each(searches: Searches) -> None:
    (searches.folder / "tiny.py").write_text(COUNTING)
    (searches.folder / "mlctl.toml").write_text("[recipes.tiny]\nepochs = 2\n")
    executions = searches.folder / "executions"
    searches.plan()
    assert executions.read_text() == "x"
    searches.interrupt_after("_train")
    with pytest.raises(Interrupted):
        searches.tune()
    assert executions.read_text() == "xx"
    searches.resume()
    assert executions.read_text() == "xxx"


def test_more_trials_after_an_interrupt_replace_values_and_curve_of_the_logged_model(
    searches: Searches,
) -> None:
    searches.interrupt_after("_train")
    with pytest.raises(Interrupted):
        searches.tune()
    search = searches.resume(trials=4)
    assert search.best_trial == "0004"
    run = client(searches.uri).get_run(search.run_id)
    best = next(trial for trial in search.trials if trial.trial == "0004")
    assert run.data.params["units"] == str(best.params["units"])
    (model,) = client(searches.uri).search_logged_models([run.info.experiment_id])
    assert model.params["units"] == str(best.params["units"])
    histories = searches.histories(search.run_id)
    assert [step for step, _ in histories["val_accuracy"]] == [1, 2, 3]
    assert histories["trials"] == [(0, 4.0)]
    assert histories["best_val_accuracy"][0][1] == max(value for _, value in histories["val_accuracy"])


def test_a_search_with_a_recorded_final_model_takes_no_more_trials(searches: Searches) -> None:
    searches.interrupt_after("_record_training")
    with pytest.raises(Interrupted):
        searches.tune()
    with pytest.raises(RefusedError, match="the final model of search"):
        searches.resume(trials=4)
    assert searches.resume().best_trial == "0002"


def test_the_duration_of_a_search_is_positive(searches: Searches) -> None:
    search = searches.tune()
    assert 0 < float(client(searches.uri).get_run(search.run_id).data.tags["mlctl.duration_s"]) < 600


def test_a_trial_with_a_nan_objective_fails_and_the_search_continues(searches: Searches) -> None:
    searches.executor.curve = lambda job: [math.nan if job.trial == "0002" else int(job.trial) / 10]
    search = searches.tune(trials=6, space={"units": "4..16:4", "batch_size": "8|16"})
    failed = search.trials[-1]
    assert (failed.trial, failed.state, failed.score) == ("0002", "failed", None)
    assert failed.reason == "its val_accuracy is nan"
    assert search.best_trial == "0006"


@pytest.mark.parametrize("objective", ["max:loss", "min:loss"])  # not the recipe's own
def test_the_final_models_epoch_is_chosen_by_the_requested_objective(
    searches: Searches, objective: str
) -> None:
    searches.executor.curve = lambda job: [0.5]
    search = searches.tune(objective=objective)
    losses = searches.histories(search.run_id)["loss"]
    best_epoch = (max if objective.startswith("max") else min)(losses, key=lambda point: point[1])[0]
    assert searches.histories(search.run_id)["best_epoch"][0][1] == best_epoch
    assert client(searches.uri).get_run(search.run_id).data.tags["mlctl.objective"] == objective


def test_a_search_of_a_changed_recipe_is_resumed_only_with_force(searches: Searches) -> None:
    searches.interrupt_after("_train")
    with pytest.raises(Interrupted):
        searches.tune()
    (searches.folder / "tiny.py").write_text(TINY.replace('activation="relu"', 'activation="tanh"'))
    with pytest.raises(RefusedError, match=r"this has changed: code \(.*tiny.py\)"):
        searches.resume()
    search = searches.resume(force=True)
    tags = client(searches.uri).get_run(search.run_id).data.tags
    assert "code (" in tags["mlctl.resumed_in_spite_of"]


def test_a_resumed_search_has_the_time_that_was_left_and_refuses_epochs(searches: Searches) -> None:
    searches.interrupt_after("_train")
    with pytest.raises(Interrupted):
        searches.tune(timeout_s=60.0)
    (journal,) = searches.folder.glob("state/runs/*/search.jsonl")
    entries = [json.loads(line) for line in journal.read_text().splitlines()]
    session = next(entry for entry in entries if entry["kind"] == "sitting")
    session["at"] -= 60_000
    journal.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    with pytest.raises(UsageError, match="--epochs is for a training"):
        resume(searches.settings, "last", epochs=5, listener=searches.listener)
    search = searches.resume(trials=4)
    assert search.end_reason == "2 trials, then time was up"
    assert search.run.status == "FINISHED"


def test_the_time_limit_ends_finalists_and_the_model_is_trained_as_the_best_trial_was(
    searches: Searches,
) -> None:
    executor = searches.executor
    executor.curve = lambda job: [0.5] * 50 if job.trial.startswith("final") else [int(job.trial) / 10]
    out_of_time = property(lambda loop: any(job.trial.startswith("final") for job in executor.started))
    searches.monkeypatch.setattr(SearchLoop, "out_of_time", out_of_time)
    search = searches.tune(finalists=1, timeout_s=60.0)
    assert any("before the finalists ended" in text for text in searches.listener.messages)
    assert client(searches.uri).get_run(search.run_id).data.params["epochs"] == "3"
    (final,) = [run for run in searches.runs() if run.data.tags.get("mlctl.trial", "").startswith("final")]
    assert (final.info.status, final.data.tags["mlctl.state"]) == ("FINISHED", "stopped")
    assert len(client(searches.uri).get_metric_history(final.info.run_id, "val_loss")) == 1


def test_finalists_decide_the_epochs_of_a_model_that_is_trained_on_validation_rows_too(
    searches: Searches,
) -> None:
    def curve(job: TrialJob) -> list[float]:
        return [0.5, 0.9, 0.7] if job.trial.startswith("final") else [int(job.trial) / 10]

    searches.executor.curve = curve
    search = searches.tune(finalists=1)
    histories = searches.histories(search.run_id)
    assert [step for step, _ in histories["loss"]] == [1, 2, 3]  # 1.2 times epoch 2, rounded up
    assert "val_loss" not in histories
    assert histories["best_val_accuracy"][0][1] == 0.9


def test_a_trial_that_never_started_is_not_in_the_result(searches: Searches) -> None:
    searches.executor.curve = lambda job: [0.5] * 1000
    out_of_time = property(lambda loop: len(loop.history.states) >= 2)
    searches.monkeypatch.setattr(SearchLoop, "out_of_time", out_of_time)
    search = searches.tune(parallel=2, timeout_s=60.0)
    assert [(trial.trial, trial.state) for trial in search.trials] == [("0001", "stopped")]
    assert searches.histories(search.run_id)["trials"] == [(0, 1.0)]


def test_the_running_trial_of_an_interrupted_search_is_killed_in_the_store_and_starts_again(
    searches: Searches,
) -> None:
    events = searches.executor.events

    def interrupt(timeout_s: float) -> list[Event]:
        searches.monkeypatch.setattr(searches.executor, "events", events)
        raise KeyboardInterrupt

    searches.monkeypatch.setattr(searches.executor, "events", interrupt)
    with pytest.raises(Interrupted):
        searches.tune()
    assert {run.info.status for run in searches.runs()} == {"KILLED"}
    searches.executor.pending = []
    searches.resume()
    assert {run.info.status for run in searches.runs()} == {"FINISHED"}


def test_a_search_without_a_score_ends_with_the_last_error(searches: Searches) -> None:
    searches.executor.curve = lambda job: "ValueError: too wide"
    with pytest.raises(ChildFailedError, match=r"no trial gave a score \(2 trials\).*: ValueError: too wide"):
        searches.tune()
    with pytest.raises(UsageError, match="no time to search"):
        searches.tune(timeout_s=0.0)


def test_hyperband_trains_as_many_epochs_as_the_phases_have(searches: Searches) -> None:
    phases = "[Phase(name='a', epochs=2), Phase(name='b', epochs=2)]"
    text = TINY.replace(
        "    def build(", f"    def phases(self, hp, data):\n        return {phases}\n\n    def build("
    )
    (searches.folder / "tiny.py").write_text(text.replace("import Recipe,", "import Phase, Recipe,"))
    searches.executor.curve = lambda job: [0.5] * (job.epochs - len(job.earlier_epochs))
    search = searches.tune(algorithm="hyperband", trials=0, space={"units": "4..16:1"})
    assert {(job.epochs, job.all_phases) for job in searches.executor.started} == {(2, False), (4, True)}
    assert all(
        "epochs" not in job.values for job in searches.executor.started
    )  # the recipe has 3, and nobody set it
    assert len(searches.executor.started) == count_trials(hyperband_brackets(4))
    params = client(searches.uri).get_run(search.run_id).data.params
    assert (params["epochs"], params["phases"]) == ("4", "a 2, b 2")

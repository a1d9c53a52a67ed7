"""The searches of KerasTuner inside a script: each trial is a nested run, and a finished one is never trained again.

    tuner.jsonl    in the run's record: the tuners, and each trial that has ended, with its values and results

When the script runs again after it was killed, its tuners are made anew with the same seeds, and get the results of the
finished trials from this file. KerasTuner's own way to resume trains a finished trial again, or draws other values.
"""

from __future__ import annotations

import contextlib
import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mlctl.adapters.runlog.json_lines import JsonLines, read_lines
from mlctl.adapters.scripts import tuner_hooks
from mlctl.domain.metric_names import with_recordable_names
from mlctl.domain.objective import Objective
from mlctl.domain.progress import Epoch
from mlctl.domain.tags import DURATION_TAG, ERROR_TAG, OBJECTIVE_TAG, STATE_TAG
from mlctl.domain.tune import DONE, FAILED
from mlctl.errors import MlctlError
from mlctl.services.scripts.observer import ScriptObserver
from mlctl.services.scripts.record import ScriptRecord

if TYPE_CHECKING:
    from mlctl.adapters.runlog.trial_runs import TrialRuns

NAME = "tuner.jsonl"
DAMAGED_HINT = "start a new run: mlctl train"


@dataclass(kw_only=True)
class TunerTrial:
    """A trial that is running.

    Attributes:
        name: The name of its nested run.
        executions: How often KerasTuner trains it; their mean counts.
        curves: The epochs of each execution.
        reported: Number of epochs whose means were sent to the trial's run.
    """

    name: str
    executions: int
    curves: list[list[Epoch]] = field(default_factory=list)
    reported: int = 0

    def new_means(self, *, is_over: bool = False) -> list[tuple[int, dict[str, float]]]:
        """Return (epoch, mean metrics) for each further epoch that all executions have; of an ended trial, of any."""
        if not self.curves or not (is_over or len(self.curves) >= self.executions):
            return []
        count = (max if is_over else min)(map(len, self.curves))
        points = []
        for index in range(self.reported, count):
            epochs = [curve[index].metrics for curve in self.curves if len(curve) > index]
            names = [name for name in epochs[0] if all(name in metrics for metrics in epochs)]
            points.append((index + 1, {name: statistics.fmean(m[name] for m in epochs) for name in names}))
        self.reported = max(self.reported, count)
        return points

    def scores(self, objective: Objective) -> list[float]:
        """Return the best value of each execution."""
        best = max if objective.maximize else min
        found = []
        for curve in self.curves:
            values = [epoch.metrics.get(objective.metric, math.nan) for epoch in curve]
            if finite := [value for value in values if math.isfinite(value)]:
                found.append(best(finite))
        return found


@dataclass(kw_only=True)
class KnownTuner:
    """A tuner that the script has made, and what an earlier process has recorded of it.

    Attributes:
        number: Position among the script's tuners, from 0.
        past: Its trials that have ended, in their order, which are not trained again.
        best: The best trial's score, values and epochs.
    """

    number: int
    tuner: Any
    past: list[Mapping[str, Any]]
    best: tuple[float, Mapping[str, Any], Sequence[Epoch]] | None = None


class TunerSearches:
    """Sees KerasTuner in a script; see `adapters.scripts.tuner_hooks.TunerObserver`."""

    def __init__(self, record: ScriptRecord, observer: ScriptObserver) -> None:
        self._record = record
        self._observer = observer
        self._tuners: list[KnownTuner] = []
        self._entries: list[Mapping[str, Any]] | None = None
        self._lines: JsonLines | None = None
        self._runs: TrialRuns | None = None
        self._trial: TunerTrial | None = None  # the one that is running
        self._fit_arguments: dict[str, Any] = {}  # of the last trial's `fit`
        self._best_model: Any = None  # that the script has asked for

    # -- KerasTuner's methods -------------------------------------------------------------------------------

    def make(self, tuner: Any, arguments: dict[str, Any], original: Callable[[dict[str, Any]], None]) -> None:
        """Make a tuner; one of a resumed run gets the seed that it had."""
        number = len(self._tuners)
        oracle, folder = arguments["oracle"], tuner_hooks.project_folder(arguments)
        entries = [entry for entry in self._past() if entry["tuner"] == number]
        if entries and not entries[0]["reloaded"]:
            past = [entry for entry in entries[1:] if entry["kind"] == "trial"]
            self._tell_resumed(folder, past, overwrite=bool(arguments.get("overwrite")))
            tuner_hooks.forget_progress(folder)
            tuner_hooks.set_seed(oracle, entries[0]["seed"])
            self._tuners.append(KnownTuner(number=number, tuner=tuner, past=past))
            original({**arguments, "overwrite": False})
            return
        if entries:
            self._record.listener.message(
                f"KerasTuner continues its own earlier search in {folder}, with which the run began"
            )
            arguments = {**arguments, "overwrite": False}
        self._tuners.append(KnownTuner(number=number, tuner=tuner, past=[]))
        original(arguments)
        if not entries:
            self._add("tuner", tuner=number, seed=oracle.seed, reloaded=bool(getattr(oracle, "trials", None)))

    def run_trial(self, tuner: Any, trial: Any, original: Callable[[], None]) -> None:
        """Train a trial, and record it; a trial that an earlier process has finished gets its results."""
        known = next((known for known in self._tuners if known.tuner is tuner), None)
        if known is None:  # made by other means, such as a pickle
            original()
            return
        if known.past:
            entry = known.past.pop(0)
            if entry["trial"] == trial.trial_id:
                tuner_hooks.restore(tuner.oracle, trial, entry["state"], entry["results"])
                curve = [Epoch(number, metrics, 0.0) for number, metrics in entry["epochs"]]
                self._note_best(known, trial, entry["results"], curve)
                ended = TunerTrial(name=_run_name(known, trial), executions=1, curves=[curve])
                if (runs := self._trial_runs()) and runs.is_open(ended.name):  # the kill came before its end
                    self._end_run(tuner, trial, ended, entry["results"], entry.get("seconds", 0.0))
                return
            known.past.clear()
            self._record.listener.message(
                f"KerasTuner asks for trial {trial.trial_id} where it asked for {entry['trial']} before:"
                " it is trained, and so are those after it"
            )
        self._train(known, trial, original)

    def best_models(self, tuner: Any, models: list[Any]) -> None:
        """Remember the best model that the script gets."""
        if models:
            self._best_model = models[0]

    # -- Keras's methods, inside a trial --------------------------------------------------------------------

    @property
    def is_in_trial(self) -> bool:
        """Whether a trial is running."""
        return self._trial is not None

    def fit(self, model: Any, arguments: dict[str, Any], original: Any) -> Any:
        """Train a trial's model; its epochs belong to the trial's run."""
        from mlctl.adapters.scripts.epoch_callback import EpochCallback, listed

        trial = self._trial
        assert trial is not None
        for name in ("epochs", "batch_size"):
            if (value := getattr(self._record.request, name)) is not None:
                arguments[name] = value
        own = [given for given in listed(arguments.get("callbacks")) if not tuner_hooks.is_of_tuner(given)]
        self._fit_arguments = {**arguments, "callbacks": own}
        curve: list[Epoch] = []
        trial.curves.append(curve)
        started = time.perf_counter()

        def on_epoch(number: int, metrics: dict[str, float]) -> None:
            nonlocal started
            seconds, started = time.perf_counter() - started, time.perf_counter()
            curve.append(Epoch(len(curve) + 1, with_recordable_names(metrics), seconds))
            self._report(trial)

        callback = EpochCallback(lambda callback: None, on_epoch)
        return original({**arguments, "callbacks": [*listed(arguments.get("callbacks")), callback]})

    # -- the end of the script ------------------------------------------------------------------------------

    def choose_model(self) -> None:
        """Let the best model of the last search be the run's if the script has trained none itself."""
        observer = self._observer
        known = next((known for known in reversed(self._tuners) if known.best), None)
        if known is None or known.best is None or observer.last or observer.models.chosen:
            return
        try:
            model = self._best_model if self._best_model is not None else known.tuner.get_best_models(1)[0]
        except Exception as error:  # what it raises depends on the tuner
            self._record.listener.message(f"the best model of the search is not logged: {error}")
            return
        _, values, epochs = known.best
        self._record.log_params({name: str(value) for name, value in values.items()}, prefix="best_")
        observer.add_trained(model, self._fit_arguments, epochs, self._objective(known.tuner))

    def close(self, *, patience_s: float) -> None:
        """Wait until the trials' runs are sent; those of trials that are running are interrupted."""
        if self._runs is not None:
            runs, self._runs = self._runs, None
            runs.finish(patience_s)
        if self._lines is not None:
            self._lines.close()
            self._lines = None

    # -- inside -------------------------------------------------------------------------------------------

    def _train(self, known: KnownTuner, trial: Any, original: Callable[[], None]) -> None:
        tuner, runs = known.tuner, self._trial_runs()
        name = _run_name(known, trial)
        running = TunerTrial(name=name, executions=int(getattr(tuner, "executions_per_trial", 1)))
        if runs:
            runs.begin(name, trial.hyperparameters.values, _now_ms())
        self._trial, started = running, time.monotonic()
        try:
            with tuner_hooks.captured_results(tuner.oracle) as results:
                original()
        finally:
            self._trial = None
        seconds = time.monotonic() - started
        self._add(
            "trial",
            seconds=seconds,
            tuner=known.number,
            trial=trial.trial_id,
            state=tuner_hooks.state_of(trial),
            results=results,
            epochs=[
                [epoch, metrics]
                for epoch, metrics in TunerTrial(name=name, executions=1, curves=running.curves).new_means(
                    is_over=True
                )
            ],
        )
        means = [Epoch(*point, 0.0) for point in self._read_back(running)]
        self._note_best(known, trial, results, means)
        self._report(running, is_over=True)
        self._end_run(tuner, trial, running, results, seconds)

    def _read_back(self, trial: TunerTrial) -> list[tuple[int, dict[str, float]]]:
        return TunerTrial(name=trial.name, executions=1, curves=trial.curves).new_means(is_over=True)

    def _end_run(
        self, tuner: Any, trial: Any, running: TunerTrial, results: Mapping[str, Any], seconds: float
    ) -> None:
        runs = self._trial_runs()
        if runs is None:
            return
        objective = self._objective(tuner)
        is_done = trial.status == tuner_hooks.COMPLETED
        metrics = {f"best_{name}": value for name, value in results.get("metrics", {}).items()}
        scores = running.scores(objective)
        if len(scores) > 1:
            metrics |= {
                f"execution_{number}_{objective.metric}": score for number, score in enumerate(scores, 1)
            }
        tags: dict[str, Any] = {STATE_TAG: DONE if is_done else FAILED, DURATION_TAG: round(seconds, 3)}
        if not is_done and trial.message:
            tags[ERROR_TAG] = trial.message.strip().splitlines()[-1][:500]
        # once more, with the hyperparameters that the model has asked for
        runs.begin(running.name, trial.hyperparameters.values, _now_ms())
        status = "FINISHED" if is_done else "FAILED"
        runs.end(running.name, status, metrics, tags, _now_ms())

    def _note_best(
        self, known: KnownTuner, trial: Any, results: Mapping[str, Any], epochs: Sequence[Epoch]
    ) -> None:
        objective = self._objective(known.tuner)
        score = results.get("metrics", {}).get(objective.metric)
        if trial.status != tuner_hooks.COMPLETED or score is None:
            return
        if known.best is None or objective.is_better(score, known.best[0]):
            known.best = score, dict(trial.hyperparameters.values), epochs

    def _report(self, trial: TunerTrial, *, is_over: bool = False) -> None:
        if runs := self._trial_runs():
            for number, metrics in trial.new_means(is_over=is_over):
                runs.epoch(trial.name, number, metrics, _now_ms())

    def _objective(self, tuner: Any) -> Objective:
        name, maximize = tuner_hooks.objective_of(tuner.oracle)
        return Objective(name, maximize)

    def _trial_runs(self) -> TrialRuns | None:
        """Return the nested runs; None if the run is recorded on this machine only, or has those of a search."""
        record = self._record
        if self._runs is None and not record.is_offline and not record.is_of_search:
            from mlctl.adapters.runlog.trial_runs import TrialRuns

            recorder = record.recorder
            tags = record.source_tags("mlctl train")
            if self._tuners:
                tags[OBJECTIVE_TAG] = str(self._objective(self._tuners[-1].tuner))
            self._runs = TrialRuns(
                record.store,
                experiment_id=recorder.journal.header["experiment_id"],
                parent_id=recorder.run_id,
                folder=recorder.journal.folder,
                tags=tags,
                report_error=self._report_error,
            )
            if self._past():
                with contextlib.suppress(MlctlError):
                    self._runs.find()
        return self._runs

    def _report_error(self, error: MlctlError) -> None:
        self._record.listener.message(f"{error.message}; the search continues")

    def _past(self) -> list[Mapping[str, Any]]:
        """Return what an earlier process of this run has recorded."""
        if self._entries is None:
            self._entries = []
            if self._record.resume_point is not None:
                path = self._record.recorder.journal.folder / NAME
                self._entries = list(read_lines(path, hint=DAMAGED_HINT))
        return self._entries

    def _add(self, kind: str, **values: Any) -> None:
        self._past()
        if self._lines is None:
            self._lines = JsonLines(self._record.recorder.journal.folder / NAME)
        self._lines.append({"kind": kind, **values})

    def _tell_resumed(self, folder: Any, past: Sequence[Any], *, overwrite: bool) -> None:
        text = f"KerasTuner's search in {folder} continues after {len(past)} finished trial(s)"
        if overwrite:
            text += ", although the script says overwrite=True: mlctl resume decides"
        self._record.listener.message(text)


class TunedObserver:
    """A KerasObserver that gives the fits of a tuner's trials to `TunerSearches`, and all else to the script's own."""

    def __init__(self, observer: ScriptObserver, searches: TunerSearches) -> None:
        self._observer = observer
        self._searches = searches

    def __getattr__(self, name: str) -> Any:
        return getattr(self._observer, name)

    def fit(self, model: Any, arguments: dict[str, Any], original: Any) -> Any:
        """Train the model."""
        of = self._searches if self._searches.is_in_trial else self._observer
        return of.fit(model, arguments, original)

    def evaluate(self, model: Any, arguments: dict[str, Any], original: Any) -> Any:
        """Evaluate the model."""
        if self._searches.is_in_trial:
            return original(arguments)
        return self._observer.evaluate(model, arguments, original)


def _run_name(known: KnownTuner, trial: Any) -> str:
    """Return the name of a trial's run: its number from 1, after that of the tuner if the script has several."""
    name = f"{int(trial.trial_id) + 1:04d}" if str(trial.trial_id).isdigit() else str(trial.trial_id)
    return name if not known.number else f"{known.number + 1}-{name}"


def _now_ms() -> int:
    return time.time_ns() // 1_000_000

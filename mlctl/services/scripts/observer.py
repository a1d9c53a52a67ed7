"""What a script does with Keras, written to its run: parameters, epochs, evaluations, and the models to log."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mlctl.domain.metric_names import with_recordable_names
from mlctl.domain.objective import Objective
from mlctl.domain.progress import Epoch
from mlctl.errors import MlctlError
from mlctl.services.recipes.user_code import describe
from mlctl.services.scripts.evaluations import MAX_KEPT, Evaluation
from mlctl.services.scripts.fit_record import FitRecord
from mlctl.services.scripts.fitted import MAX_RECORDED, FittedModel, FittedModels
from mlctl.services.scripts.record import ScriptRecord
from mlctl.services.scripts.resuming import FitCheckpoints


@dataclass(kw_only=True)
class ScriptObserver:
    """Sees what a script does with Keras; see `adapters.scripts.keras_hooks.KerasObserver`."""

    record: ScriptRecord
    evaluations: list[Evaluation] = field(default_factory=list)  # of each model those after its last fit
    seed: int | None = None  # that the script, or --seed, has set last

    def __post_init__(self) -> None:
        """Begin without checkpoints; a resumed run finds those of the earlier process."""
        self.checkpoints = FitCheckpoints(self.record)
        self.models = FittedModels(self.record.request)
        self.fits = FitRecord(self.record)
        self.own_epochs: list[Epoch] = []  # of a training loop without `fit`, while its model is unknown
        self._own_started = time.perf_counter()
        self._reported: set[str] = set()  # what could not be recorded
        self.is_in_fit = False  # a `fit` is running whose call was seen
        self._unseen: FittedModel | None = None  # the model whose `fit` is running, whose call was not seen

    @property
    def last(self) -> FittedModel | None:
        """The model that was trained last."""
        return self.models.last

    def compile(self, model: Any, arguments: dict[str, Any], original: Any) -> None:
        """Compile the model."""
        original(arguments)
        with self._recording("compile"):
            self.models.compiled(model, arguments)

    def fit(self, model: Any, arguments: dict[str, Any], original: Any) -> Any:
        """Train the model; record every epoch."""
        from mlctl.adapters.scripts import fit_state
        from mlctl.adapters.scripts.epoch_callback import EndCallback, EpochCallback, listed

        request = self.record.request
        for name in ("epochs", "batch_size"):
            if (value := getattr(request, name)) is not None:
                arguments[name] = value
        fitted = self._fitted(model, arguments)
        with self._recording("the code"):
            self.record.describe_code()
        with self._recording("the call of fit"):
            self.fits.begin(fitted, model, arguments)
        first = int(arguments.get("initial_epoch") or 0)
        plan = self.checkpoints.plan(fitted, first)
        if plan.done:
            self.record.mlflow.recorded_before(fitted.progress.epochs, fitted.prefix)
        if plan.is_over:
            with self.record.mlflow.fit(model):
                return fit_state.finished_history(model, plan.done)
        before = len(fitted.progress.epochs) - len(plan.done)
        callbacks = fit_state.without_backup(listed(arguments.get("callbacks")), self.record.listener)
        state = fit_state.FitCallbacks(callbacks, self.record.listener)
        if plan.done:
            fit_state.continue_files(callbacks)
        started = time.perf_counter()

        def on_begin(callback: Any) -> None:
            if plan.restore is not None:
                plan.restore(state)

        def on_end(weights: Any) -> None:
            with self._recording("the end of fit"):
                fitted.progress.last_weights(weights)

        def on_epoch(number: int, metrics: dict[str, float]) -> None:
            nonlocal started
            seconds, started = time.perf_counter() - started, time.perf_counter()
            with self._recording("an epoch"):
                self._epoch(fitted, before + number - first, metrics, seconds)
                if fitted.progress.has_stalled(request.patience):
                    model.stop_training = True
            with self._recording("a checkpoint"):
                self.checkpoints.epoch_ended(fitted, state)

        with plan.resumed_order(), self.record.mlflow.fit(model), self._in_fit():
            history = original(
                {
                    **arguments,
                    "initial_epoch": first + len(plan.done),
                    "callbacks": [EndCallback(on_end), *callbacks, EpochCallback(on_begin, on_epoch)],
                }
            )
        with self._recording("a checkpoint"):
            self.checkpoints.epoch_ended(fitted, state, over=True)
        fit_state.prepend_history(history, plan.done)
        with self._recording("the end of fit"):
            self.fits.end(fitted)
        return history

    def evaluate(self, model: Any, arguments: dict[str, Any], original: Any) -> Any:
        """Evaluate the model; keep the results."""
        from mlctl.adapters.scripts.epoch_callback import numbers
        from mlctl.adapters.scripts.fit_data import DataPart
        from mlctl.adapters.scripts.fit_progress import fingerprint

        if self._unseen is not None:  # of a callback
            return original(arguments)
        data: DataPart | None = None
        given = dict(arguments)
        with self._recording("the data of evaluate"):
            data = self.fits.reader.of_evaluate(arguments)
        logs = original({**arguments, "return_dict": True})
        with self._recording("an evaluation"):
            evaluation = Evaluation(
                arguments=given,
                results=numbers(logs),
                data=data,
                weights=fingerprint(model.get_weights()),
                fitted=self.models.find(model),
                model_name=str(model.name),
            )
            self.evaluations = [*self.evaluations[1 - MAX_KEPT :], evaluation]
        return logs if arguments.get("return_dict") else model._flatten_metrics_in_order(logs)

    @property
    def initial_seed(self) -> int | None:
        """The seed of --seed."""
        return self.record.request.seed

    def set_random_seed(self, seed: int) -> int:
        """Return the seed of --seed, if it is given."""
        given = self.record.request.seed
        self.seed = seed if given is None else given
        return self.seed

    def own_epoch(self, metrics: Mapping[str, Any], step: int | None) -> int:
        """Record an epoch of a training loop of the script's own; return its number."""
        from mlctl.adapters.scripts.epoch_callback import numbers

        self.record.describe_code()
        seconds, self._own_started = time.perf_counter() - self._own_started, time.perf_counter()
        fitted = self.models.chosen
        known = (
            fitted.progress.epochs
            if fitted
            else self.own_epochs or (self.last.progress.epochs if self.last else [])
        )
        number = int(step) if step is not None else known[-1].number + 1 if known else 1
        values = with_recordable_names(numbers(metrics))
        if fitted is None:
            self.own_epochs.append(Epoch(number, values, seconds))
            self.record.recorder.log_metrics(values, step=number)
        else:
            if not fitted.progress.epochs:
                fitted.progress.begin(values)
            self._epoch(fitted, number, values, seconds)
            fitted.progress.last_fingerprint = fitted.progress.fingerprints.get(number)
        return number

    def choose_model(self, model: Any, inputs: Any = None, targets: Any = None) -> FittedModel:
        """Choose the model to log: one that `fit` has trained, or any other; with rows that it takes."""
        fitted = self.models.choose(model)
        if inputs is not None:
            from mlctl.adapters.scripts.model_inputs import rows_of

            fitted.inputs, fitted.targets = rows_of(inputs), None if targets is None else rows_of(targets)
        if self.own_epochs and not fitted.progress.epochs:
            fitted.progress.epochs, self.own_epochs = self.own_epochs, []
        return fitted

    def add_trained(
        self, model: Any, arguments: dict[str, Any], epochs: Sequence[Epoch], objective: Objective
    ) -> None:
        """Add the best model of a search, which has the weights of its best epoch; `arguments` are those of its `fit`."""
        from mlctl.adapters.scripts.fit_progress import fingerprint

        fitted = self.models.get(model, has_validation=True)
        fitted.fits += 1
        self.record.describe_code()
        self.fits.begin(fitted, model, arguments)
        progress, weights = fitted.progress, model.get_weights()
        progress.objective = objective
        for epoch in epochs:
            # as KerasTuner chooses, whose weights these are: the first one of the best score
            if progress.best is None or objective.is_better(*_values(objective, epoch, progress.best)):
                progress.best = epoch
            progress.epochs.append(epoch)
            self.record.recorder.log_metrics(epoch.metrics, step=epoch.number)
        progress.best_weights, progress.last_fingerprint = weights, fingerprint(weights)
        if progress.best is not None:
            progress.fingerprints[progress.best.number] = progress.last_fingerprint
        self.fits.end(fitted)

    def begin_unseen_fit(self, model: Any, arguments: dict[str, Any]) -> None:
        """A `fit` begins whose call was not seen, as its recorder was made while it was called."""
        self._unseen = self._fitted(model, arguments)
        self.record.describe_code()
        self.fits.begin(self._unseen, model, dict(arguments))
        self._own_started = time.perf_counter()

    def unseen_epoch(self, metrics: dict[str, float]) -> None:
        """An epoch of it has ended."""
        if self._unseen is not None:
            seconds, self._own_started = time.perf_counter() - self._own_started, time.perf_counter()
            self._epoch(self._unseen, len(self._unseen.progress.epochs) + 1, metrics, seconds)

    def end_unseen_fit(self) -> None:
        """It has ended."""
        if self._unseen is not None:
            fitted, self._unseen = self._unseen, None
            if fitted.progress.epochs:
                last = fitted.progress.epochs[-1].number
                fitted.progress.last_fingerprint = fitted.progress.fingerprints.get(last)
            self.fits.end(fitted)

    def interruption(self) -> str:
        """Return what an interrupted script has reached."""
        if self.last is None or not self.last.progress.epochs:
            return "the script was interrupted before an epoch had ended"
        return f"the script was interrupted after epoch {len(self.last.progress.epochs)}; completed epochs are kept"

    # -- inside -------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _recording(self, what: str) -> Iterator[None]:
        """Say in one line, once, what could not be recorded: the script goes on."""
        try:
            yield
        except MlctlError:
            raise
        except Exception as error:
            if what not in self._reported:
                self._reported.add(what)
                self.record.listener.message(f"{what} is not recorded: {describe(error)}")

    @contextlib.contextmanager
    def _in_fit(self) -> Iterator[None]:
        self.is_in_fit = True
        try:
            yield
        finally:
            self.is_in_fit = False

    def _fitted(self, model: Any, arguments: dict[str, Any]) -> FittedModel:
        from mlctl.adapters.scripts.validated_rows import count_validated_rows

        has_validation = arguments.get("validation_data") is not None or arguments.get("validation_split")
        fitted = self.models.get(model, has_validation=bool(has_validation))
        fitted.progress.validation_rows = count_validated_rows(arguments)
        fitted.fits += 1
        # what was measured before a model is trained further says nothing about it
        self.evaluations = [
            evaluation
            for evaluation in self.evaluations
            if evaluation.fitted is not None and evaluation.fitted is not fitted
        ]
        return fitted

    def _epoch(self, fitted: FittedModel, number: int, metrics: dict[str, float], seconds: float) -> None:
        metrics = with_recordable_names(metrics)
        if len(fitted.phases) > 1:
            metrics["phase"] = len(fitted.phases)
        progress = fitted.progress
        progress.add(Epoch(number, metrics, seconds, progress.validation_rows), fitted.model.get_weights)
        if fitted.number < MAX_RECORDED:
            self.record.recorder.log_metrics(
                {f"{fitted.prefix}{name}": value for name, value in metrics.items()}, step=number
            )
        self.record.mlflow.epoch(metrics, number, fitted.prefix)
        if number == 1:
            self.fits.first_epoch_ended(fitted)


def _values(objective: Objective, *epochs: Epoch) -> list[float]:
    return [epoch.metrics.get(objective.metric, math.nan) for epoch in epochs]

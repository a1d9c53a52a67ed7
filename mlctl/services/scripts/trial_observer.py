"""What a trial of a search sees of a script: the epochs of its models, and the results of its last evaluation."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from mlctl.domain.metric_names import with_recordable_names
from mlctl.domain.progress import Epoch
from mlctl.domain.script import ScriptRequest
from mlctl.services.scripts.fitted import MAX_RECORDED, FittedModel, FittedModels
from mlctl.services.scripts.trial_record import TrialRecord


@dataclass(kw_only=True)
class TrialObserver:
    """Sees what a script does with Keras; see `adapters.scripts.keras_hooks.KerasObserver`.

    Attributes:
        script: Its epochs, batch size and seed replace the script's own.
        epochs: The epochs of each `fit`; None: those of `script`, or the script's own.
        execution: Number of the execution of the trial, from 1; each has another seed.
        record: What the script logs to MLflow.
        report: Is called with each epoch, and returns whether to continue; if not, `fit` ends after this epoch.
        end: Ends the process of a trial that was stopped, and does not return. A further `fit` calls it.
        results: Of `evaluate` after the last `fit`, as test_NAME.
        measured: Names of the metrics of all epochs.
    """

    script: ScriptRequest
    epochs: int | None
    execution: int
    record: TrialRecord
    report: Callable[[Epoch], bool]
    end: Callable[[], None]
    results: dict[str, float] = field(default_factory=dict)
    measured: set[str] = field(default_factory=set)
    _counts: dict[int, int] = field(default_factory=dict)  # epochs by the number of the model
    _is_stopped: bool = False

    def __post_init__(self) -> None:
        self._models = FittedModels(self.script)
        self._own_started = time.perf_counter()

    def compile(self, model: Any, arguments: dict[str, Any], original: Any) -> None:
        """Compile the model."""
        original(arguments)

    def fit(self, model: Any, arguments: dict[str, Any], original: Any) -> Any:
        """Train the model; report every epoch."""
        from mlctl.adapters.scripts.epoch_callback import EpochCallback, listed
        from mlctl.adapters.scripts.validated_rows import count_validated_rows

        if self._is_stopped:
            self.end()
        self.results.clear()
        for name, value in (
            ("epochs", self.epochs or self.script.epochs),
            ("batch_size", self.script.batch_size),
        ):
            if value is not None:
                arguments[name] = value
        fitted, rows = self._models.get(model, has_validation=True), count_validated_rows(arguments)
        before = self._counts.get(fitted.number, 0) - int(arguments.get("initial_epoch") or 0)
        started = time.perf_counter()

        def on_epoch(number: int, metrics: dict[str, float]) -> None:
            nonlocal started
            seconds, started = time.perf_counter() - started, time.perf_counter()
            self._counts[fitted.number] = before + number
            self._epoch(Epoch(before + number, with_recordable_names(metrics), seconds, rows), fitted)
            if self._is_stopped:
                model.stop_training = True

        callback = EpochCallback(lambda callback: None, on_epoch)
        with self.record.mlflow.fit(model):
            return original({**arguments, "callbacks": [*listed(arguments.get("callbacks")), callback]})

    def evaluate(self, model: Any, arguments: dict[str, Any], original: Any) -> Any:
        """Evaluate the model; keep the results."""
        logs = original({**arguments, "return_dict": True})
        named = {name: float(value) for name, value in logs.items() if isinstance(value, (int, float))}
        self.results.update({f"test_{name}": value for name, value in with_recordable_names(named).items()})
        return logs if arguments.get("return_dict") else model._flatten_metrics_in_order(logs)

    @property
    def initial_seed(self) -> int | None:
        """The seed of --seed."""
        return self.script.seed

    def set_random_seed(self, seed: int) -> int:
        """Return the seed of --seed or the script's own, plus one for each further execution."""
        given = seed if self.script.seed is None else self.script.seed
        return given + self.execution - 1

    def own_epoch(self, metrics: Mapping[str, Any], step: int | None) -> int:
        """Report an epoch of a training loop of the script's own; return its number. A stopped trial ends here."""
        seconds, self._own_started = time.perf_counter() - self._own_started, time.perf_counter()
        number = int(step) if step is not None else self._counts.get(0, 0) + 1
        self._counts[0] = number
        values = with_recordable_names({name: float(value) for name, value in metrics.items()})
        self._epoch(Epoch(number, values, seconds), None)
        if self._is_stopped:
            self.end()
        return number

    @property
    def last_model(self) -> Any:
        """The model that was trained last; None if there is none."""
        return self._models.last.model if self._models.last else None

    def choose_model(self, model: Any, inputs: Any = None, targets: Any = None) -> FittedModel:
        """Return the record of the model that the script logs; a trial logs none."""
        return self._models.choose(model)

    def _epoch(self, epoch: Epoch, fitted: FittedModel | None) -> None:
        prefix = fitted.prefix if fitted else ""
        self.record.mlflow.epoch(epoch.metrics, epoch.number, prefix)
        if fitted and fitted.number >= MAX_RECORDED:
            return
        named = {f"{prefix}{name}": value for name, value in epoch.metrics.items()}
        self.measured.update(named)
        self._is_stopped = not self.report(replace(epoch, metrics=named)) or self._is_stopped

"""MLflow's own calls inside a script: which belong to the run of mlctl, and which of them say what mlctl records itself.

A script may choose the store, the experiment and the name of its run, log to it, end it and start it again, nest other
runs below it, and read all of it back. While the script runs, MLflow's stores are those of `script_store`, which ask
here. This module imports no MLflow: most scripts do not use it.
"""

from __future__ import annotations

import contextlib
import math
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from mlctl.adapters.runlog.mlflow_calls import Point
from mlctl.domain.metric_names import recordable_names
from mlctl.domain.progress import Epoch

RELATIVE_TOLERANCE = (
    1e-6  # of two values of a metric that are the same: Keras's own, and the script's copy of it
)
VALIDATION_PREFIX, KERAS_VALIDATION_PREFIX = "validation_", "val_"  # of MLflow's callback; of Keras


@dataclass(frozen=True, kw_only=True)
class RunChoice:
    """What a script says about its run when it starts it; None: nothing."""

    tracking_uri: str
    experiment: str | None = None
    run_name: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class ModelRequest:
    """A Keras model that the script logs itself.

    Attributes:
        model: The model; None: the one that was trained last, as autologging logs it.
        name: The name of the logged model.
        signature, input_example, metadata: What the script gives to `log_model`, in MLflow's types; None: nothing.
        params, tags, model_type: The same, of the logged model.
        source_run: The run that the script logs it to, if it is one that is nested below that of mlctl.
    """

    model: Any = None
    name: str = "model"
    signature: Any = None
    input_example: Any = None
    metadata: Any = None
    params: Mapping[str, Any] = field(default_factory=dict)
    tags: Mapping[str, Any] = field(default_factory=dict)
    model_type: str | None = None
    source_run: str | None = None


@dataclass(kw_only=True)
class Autologging:
    """What a script asks of MLflow's autologging for Keras, which is mlctl's own recording."""

    is_on: bool = False
    logs_models: bool = True
    registered_model_name: str | None = None
    tags: dict[str, str] = field(default_factory=dict)


class ScriptRun(Protocol):
    """The run of a script: see `services.scripts.record.ScriptRecord`."""

    tracking_uri: str

    @property
    def is_open(self) -> bool:
        """Whether the run exists."""

    @property
    def is_offline(self) -> bool:
        """Whether it is recorded on this machine only."""

    @property
    def has_fixed_store(self) -> bool:
        """Whether the user chose the store, so that the script cannot."""

    @property
    def has_fixed_experiment(self) -> bool:
        """Whether the user chose the experiment, so that the script cannot."""

    @property
    def experiment(self) -> str:
        """The name of the experiment."""

    @property
    def store(self) -> Any:
        """The run's `TrackingStore`."""

    @property
    def recorder(self) -> Any:
        """The run's `Recorder`; it is created if there is none yet."""

    def claim(self, choice: RunChoice) -> None:
        """Create the run as the script chooses, or change it if it exists."""

    def rename(self, name: str) -> None:
        """Give the run a name."""

    def message(self, text: str) -> None:
        """Tell the user something."""

    def has_model_to_log(self, model: Any) -> bool:
        """Return whether mlctl logs this model of the script, None: the one that was trained last, and has not yet."""

    def has_no_model(self) -> bool:
        """Return whether mlctl has no model to log, now or at the end."""

    def log_model(self, request: ModelRequest) -> bool:
        """Log a model of the script; return whether that was possible."""


class AutologgingHooks(Protocol):
    """What needs MLflow: see `script_models`."""

    def epoch_ended(self, calls: ScriptCalls, metrics: Mapping[str, float], step: int) -> None:
        """An epoch has ended while autologging is on."""

    def fit_ended(self, calls: ScriptCalls, model: Any) -> None:
        """`fit` has ended while autologging is on."""

    def log_autologged(self, calls: ScriptCalls) -> None:
        """Log the model that autologging would have logged by now."""

    def without_autologging(self) -> contextlib.AbstractContextManager[None]:
        """Keep all autologging off while a block runs."""


class ScriptCalls:
    """MLflow's calls of one execution of a script.

    Attributes:
        run: The run of mlctl.
        is_claimed: Whether the script has started the run, or has been given it.
        status: The status with which the script ended it; "RUNNING" while it is active in the script.
        params: The parameters that the script has logged.
        ignored_uris: Stores that the script chose in vain.
        hooks: Do what autologging does; None as long as the script has not imported MLflow.
    """

    def __init__(self, run: ScriptRun) -> None:
        self.run = run
        self.is_claimed = False
        self.status = "RUNNING"
        self.params: dict[str, str] = {}
        self.ignored_uris: set[str] = set()
        self.autologging = Autologging()
        self._process = os.getpid()
        self._lock = threading.RLock()
        self._fit_depth = 0
        self._held: list[Point] = []  # points of this epoch, until its names are known
        self._keras_names: set[str] = set()
        self._series: dict[str, dict[int, float]] = {}  # of Keras's metrics: value by step
        self._own_values: dict[str, float] = {}  # the last value of each metric that the script logged
        self._told: set[str] = set()
        self.hooks: AutologgingHooks | None = None

    @property
    def is_own_process(self) -> bool:
        """Whether this is not a fork: a forked worker must not write to the run's record."""
        return os.getpid() == self._process

    def is_own(self, run_id: str) -> bool:
        """Return whether a run is the one of mlctl."""
        return self.is_own_process and self.run.is_open and run_id == self.run.recorder.run_id

    # -- the script ----------------------------------------------------------------------------------------

    @property
    def final_status(self) -> str:
        """The status with which the run ends if the script does not fail: what the script has said, or FINISHED."""
        return "FINISHED" if self.status == "RUNNING" else self.status

    def script_ended(self) -> None:
        """Do what the script expects MLflow's autologging to have done by now: register its model."""
        if self.autologging.registered_model_name and self.hooks is not None:
            self.hooks.log_autologged(self)

    @contextlib.contextmanager
    def silenced(self) -> Iterator[None]:
        """Keep the autologging that the script has turned on from logging what mlctl does while the block runs."""
        with self.hooks.without_autologging() if self.hooks is not None else contextlib.nullcontext():
            yield

    def tell_once(self, text: str) -> None:
        """Tell the user something, but not twice."""
        if text not in self._told:
            self._told.add(text)
            self.run.message(text)

    @property
    def is_fitting(self) -> bool:
        """Whether the script's `fit` is running."""
        return self._fit_depth > 0

    # -- the training --------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def fit(self, model: Any = None) -> Iterator[None]:
        """Hold back what the script logs while the model's `fit` runs, until it is known which names are Keras's own."""
        with self._lock:
            self._fit_depth += 1
        if self.autologging.tags:
            self.run.recorder.set_tags(self.autologging.tags)
        try:
            yield
        finally:
            with self._lock:
                self._fit_depth -= 1
                points = self._release()
            self._write(points)
        if self.autologging.is_on and self.hooks is not None:
            self.hooks.fit_ended(self, model)

    def epoch(self, metrics: Mapping[str, float], step: int, prefix: str = "") -> None:
        """Note what mlctl has recorded of an epoch, and write what the script logged during it under other names."""
        with self._lock:
            self._note(metrics, step, prefix)
            points = self._release()
        self._write(points)
        if self.autologging.is_on and self.hooks is not None:
            self.hooks.epoch_ended(self, metrics, step)

    def recorded_before(self, epochs: Sequence[Epoch], prefix: str = "") -> None:
        """Note epochs that an earlier process has recorded: this one continues its training."""
        with self._lock:
            for epoch in epochs:
                self._note(epoch.metrics, epoch.number, prefix)

    def has_logged(self, name: str, value: float) -> bool:
        """Return whether the script has logged this value of a metric itself."""
        return name in self._own_values and _is_close(self._own_values[name], value)

    # -- what the script logs ------------------------------------------------------------------------------

    def log_params(self, values: Mapping[str, str]) -> None:
        """Record parameters."""
        self.params.update(values)
        self.run.recorder.log_user_params(values)

    def log_points(self, points: Sequence[Point]) -> set[tuple[str, int]]:
        """Record points of metrics, except those that say again what mlctl records of an epoch.

        Return the name and step of those that are recorded by now.
        """
        with self._lock:
            names = recordable_names(sorted({name for name, *_ in points}))
            points = [(names[name], value, step, at) for name, value, step, at in points]
            if self._fit_depth:
                self._held += points
                points = [] if not self._keras_names else self._release(only_others=True)
            else:
                points = [point for given in points for point in self._outside_fit(given)]
            self._own_values.update({name: value for name, value, *_ in points})
        self._write(points)
        return {(name, step) for name, _, step, _ in points}

    def log_file(self, file: Path, folder: str | None) -> None:
        """Record a copy of a file as an artifact."""
        self.run.recorder.log_user_artifact(file, f"{folder}/{file.name}" if folder else file.name)

    def _note(self, metrics: Mapping[str, float], step: int, prefix: str) -> None:
        for name, value in metrics.items():
            self._keras_names |= {name, prefix + name}
            self._series.setdefault(prefix + name, {})[step] = value

    def _release(self, *, only_others: bool = False) -> list[Point]:
        """Return the points that were held back and are not Keras's own; keep these if an epoch may still come."""
        others = [point for point in self._held if not self._is_of_keras(point[0])]
        self._held = [point for point in self._held if self._is_of_keras(point[0])] if only_others else []
        return others

    def _is_of_keras(self, name: str) -> bool:
        if name.startswith(VALIDATION_PREFIX):  # MLflow's callback logs each validation once more
            return KERAS_VALIDATION_PREFIX + name.removeprefix(VALIDATION_PREFIX) in self._keras_names
        return name in self._keras_names

    def _outside_fit(self, point: Point) -> list[Point]:
        """Return a point as it is recorded: not at all if it is an epoch's, whose steps the script counts from 0."""
        name, value, step, at = point
        series = self._series.get(name)
        if series is None:
            return [point]
        if any(_is_close(series[same], value) for same in (step, step + 1) if same in series):
            return []
        while step in series:
            step += 1
        series[step] = value
        return [(name, value, step, at)]

    def _write(self, points: Sequence[Point]) -> None:
        if points:
            self.run.recorder.log_points(points)


def _is_close(value: float, other: float) -> bool:
    return math.isclose(value, other, rel_tol=RELATIVE_TOLERANCE) or (math.isnan(value) and math.isnan(other))

"""The Keras callback by which a script or a notebook records a run itself; see `mlctl.keras`."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Any

import keras

from mlctl.adapters.scripts.epoch_callback import metrics_of
from mlctl.adapters.scripts.running_fit import running_fit
from mlctl.domain.run import Run
from mlctl.services.scripts import own_run
from mlctl.services.scripts.observer import ScriptObserver
from mlctl.services.scripts.own_run import OwnRun


class RunRecorder(keras.callbacks.Callback):  # type: ignore[misc]
    """Records a training in a run: as a callback of `fit`, or called by a training loop of your own.

    Under `mlctl train`, it joins the script's run. Elsewhere it makes a run with the settings of mlctl.toml and the
    environment; the run is finished by `close()`, at the end of a `with` block, by the next recorder, or when the
    process ends. The model is logged then.

    Attributes:
        run_id: Id of the run.

    Example:
        >>> model.fit(x, y, epochs=3, callbacks=[mlctl.keras.RunRecorder()])  # doctest: +SKIP
        >>> with mlctl.keras.RunRecorder() as recorder:  # doctest: +SKIP
        ...     recorder.model(model, inputs=x[:32], targets=y[:32])
        ...     for epoch in range(3):
        ...         recorder.epoch({"loss": train(), "val_loss": validate()})

    """

    def __init__(
        self,
        *,
        experiment: str | None = None,
        run_name: str | None = None,
        objective: str | None = None,
        keep: str = "best",
        tags: Mapping[str, str] | None = None,
        params: Mapping[str, Any] | None = None,
    ) -> None:
        """Join the script's run, or make one.

        Args:
            experiment: Experiment of a new run; by default that of the settings, else the script's name.
            run_name: Name of a new run.
            objective: METRIC, min:METRIC or max:METRIC, which selects the best epoch; by default val_loss, if it is
                measured.
            keep: "best" or "last": the epoch whose weights are logged.
            tags: Tags of a new run.
            params: Parameters to record.
        """
        super().__init__()
        self._run: OwnRun | None = None
        joined = own_run.joined_session()
        if joined is None:
            self._run = OwnRun(
                experiment=experiment, run_name=run_name, objective=objective, keep=keep, tags=tags
            )
            joined = self._run.session
        self._session = joined
        if params:
            self._session.record.log_params(params, prefix="own_")
        self._unseen: ScriptObserver | None = None  # of a fit whose call was not seen

    @property
    def run_id(self) -> str:
        """The run's id."""
        return str(self._session.record.recorder.run_id)

    def epoch(self, metrics: Mapping[str, Any], step: int | None = None) -> int:
        """Record an epoch of a training loop without `fit`; return its number, which counts from 1.

        If the model is known (see `model`), the weights of the best epoch are kept.
        """
        return self._session.observer.own_epoch(metrics, step)

    def model(self, model: Any, inputs: Any = None, targets: Any = None) -> None:
        """Choose the model to log; call it before the first epoch to have the best epoch's weights logged.

        Args:
            model: A Keras model.
            inputs: A few rows that it takes, as arrays: they check the logged model, and the first is its input example.
            targets: The targets of these rows, which tell what the model's answers mean.
        """
        self._session.observer.choose_model(model, inputs, targets)

    def log_params(self, values: Mapping[str, Any]) -> None:
        """Record parameters."""
        self._session.record.log_params(values, prefix="own_")

    def close(self) -> Run | None:
        """Log the model and finish the run; return it. A run of `mlctl train` goes on until the script ends."""
        return self._run.close() if self._run is not None else None

    def __enter__(self) -> RunRecorder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._run is not None:
            self._run.close(error)

    # -- as a callback ------------------------------------------------------------------------------------

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        """Record what `fit` was called with, unless its call was seen already."""
        self._unseen = None
        if self._run is not None and not self._run.observer.is_in_fit:  # it was made while fit was called
            self._unseen = self._run.observer
            self._unseen.begin_unseen_fit(self._model, running_fit(self._model))

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Record an epoch."""
        if self._unseen is not None:
            self._unseen.unseen_epoch(metrics_of(self._model, logs))

    def on_train_end(self, logs: Mapping[str, Any] | None = None) -> None:
        """Record the end of a training."""
        if self._unseen is not None:
            self._unseen.end_unseen_fit()

"""What a script does with Keras, written to its run: parameters, epochs, evaluations, and the models to log."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from mlctl.domain.metric_names import with_recordable_names
from mlctl.domain.objective import Objective, parse_objective
from mlctl.domain.script import BEST
from mlctl.services.scripts.record import ScriptRecord


@dataclass(kw_only=True)
class FittedModel:
    """A model that the script has trained.

    Attributes:
        model: The Keras model.
        number: Position among the script's models, from 0.
        arguments: Those of its last `fit`.
        progress: All its epochs, over all calls of `fit`, and the best one's weights.
        fits: How often `fit` was called.
    """

    model: Any
    number: int
    arguments: dict[str, Any]
    progress: Any  # a TrainingProgress
    fits: int = 0


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """A call of `evaluate`: the model, the arguments, and the results by Keras's names."""

    model: Any
    arguments: dict[str, Any]
    results: dict[str, float]


@dataclass(kw_only=True)
class ScriptObserver:
    """Sees what a script does with Keras; see `adapters.scripts.keras_hooks.KerasObserver`."""

    record: ScriptRecord
    models: list[FittedModel] = field(default_factory=list)
    last: FittedModel | None = None  # the model that was trained last
    evaluations: list[Evaluation] = field(default_factory=list)  # after the last fit

    def compile(self, model: Any, arguments: dict[str, Any], original: Any) -> None:
        """Compile the model."""
        original(arguments)

    def fit(self, model: Any, arguments: dict[str, Any], original: Any) -> Any:
        """Train the model; record every epoch."""
        from mlctl.adapters.scripts.epoch_callback import EpochCallback, with_epoch_callback
        from mlctl.adapters.scripts.fit_params import params_of_fit

        request = self.record.request
        for name in ("epochs", "batch_size"):
            if (value := getattr(request, name)) is not None:
                arguments[name] = value
        fitted = self._fitted(model, arguments)
        self.evaluations.clear()
        recorder = self.record.recorder
        self.record.describe_code()
        if len(self.models) == 1 and fitted.fits == 1:
            recorder.log_params(params_of_fit(model, arguments))
        before = len(fitted.progress.epochs)
        first = int(arguments.get("initial_epoch") or 0)
        started = time.perf_counter()

        def on_begin(callback: Any) -> None:
            pass

        def on_epoch(number: int, metrics: dict[str, float]) -> None:
            nonlocal started
            seconds, started = time.perf_counter() - started, time.perf_counter()
            self._epoch(fitted, before + number - first, metrics, seconds)
            if fitted.progress.has_stalled(request.patience):
                model.stop_training = True

        callback = EpochCallback(on_begin, on_epoch)
        return original({**arguments, "callbacks": with_epoch_callback(arguments.get("callbacks"), callback)})

    def evaluate(self, model: Any, arguments: dict[str, Any], original: Any) -> Any:
        """Evaluate the model; keep the results."""
        results = original({**arguments, "return_dict": True})
        named = {name: float(value) for name, value in results.items()}
        self.evaluations.append(Evaluation(model=model, arguments=arguments, results=named))
        if arguments.get("return_dict"):
            return results
        values = list(results.values())
        return values[0] if len(values) == 1 else values

    def set_random_seed(self, seed: int) -> int:
        """Return the seed of --seed, if it is given."""
        given = self.record.request.seed
        return seed if given is None else given

    # -- inside -------------------------------------------------------------------------------------------

    def _fitted(self, model: Any, arguments: dict[str, Any]) -> FittedModel:
        from mlctl.adapters.keras.training_loop import TrainingProgress

        fitted = next((known for known in self.models if known.model is model), None)
        if fitted is None:
            has_validation = bool(
                arguments.get("validation_data") is not None or arguments.get("validation_split")
            )
            text = self.record.request.objective
            default = Objective("val_loss" if has_validation else "loss", maximize=False)
            fitted = FittedModel(
                model=model,
                number=len(self.models),
                arguments=arguments,
                progress=TrainingProgress(
                    parse_objective(text) if text else default,
                    keep_last=self.record.request.keep != BEST or not (has_validation or text),
                ),
            )
            self.models.append(fitted)
        fitted.arguments = arguments
        fitted.fits += 1
        self.last = fitted
        return fitted

    def _epoch(self, fitted: FittedModel, number: int, metrics: dict[str, float], seconds: float) -> None:
        from mlctl.adapters.keras.training_loop import Epoch

        metrics = with_recordable_names(metrics)
        fitted.progress.add(Epoch(number, metrics, seconds), fitted.model.get_weights)
        prefix = f"{fitted.model.name}_" if fitted.number else ""
        self.record.recorder.log_metrics(
            {f"{prefix}{name}": value for name, value in metrics.items()}, step=number
        )

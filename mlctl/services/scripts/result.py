"""What a script's run records when the script has ended: the logged model, its scores, plots and report."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlctl.adapters.keras import runtime
from mlctl.adapters.keras.answers import can_predict
from mlctl.adapters.keras.fit import Model
from mlctl.adapters.runlog.script_calls import ModelRequest
from mlctl.adapters.scripts.epoch_callback import numbers
from mlctl.adapters.scripts.fit_data import ARRAYS, DataPart
from mlctl.adapters.scripts.fit_progress import fingerprint
from mlctl.adapters.scripts.model_inputs import as_model_inputs, made_up_inputs
from mlctl.data.dataset import Dataset, Split
from mlctl.data.trees import map_tree
from mlctl.domain.progress import Epoch
from mlctl.domain.tags import (
    MODEL_ERROR_TAG,
    MODEL_WEIGHTS_TAG,
    OBJECTIVE_TAG,
    SCRIPT_MODELS_TAG,
    TEST_DATA_TAG,
)
from mlctl.errors import BadDataError, MlctlError
from mlctl.recipes.keras_import import TENSORFLOW
from mlctl.services.recipes.prepare import PreparedData
from mlctl.services.recipes.user_code import describe
from mlctl.services.scripts.evaluations import TEST, Evaluation, choose
from mlctl.services.scripts.fit_record import FitRecord
from mlctl.services.scripts.fitted import MAX_RECORDED, FittedModel, FittedModels, parts
from mlctl.services.scripts.kept_weights import KeptWeights, choose_weights
from mlctl.services.scripts.log_on_tensorflow import log_on_tensorflow
from mlctl.services.scripts.model_recipe import FAILURES, script_recipe
from mlctl.services.scripts.record import ScriptRecord
from mlctl.services.training import report
from mlctl.services.training.logged_model import LoggedModel, log_keras_model

MAX_SCORED_ROWS = 20_000  # whose answers are plotted and scored; of more rows, evaluate() tells the scores
MAX_SCORED_BATCHES = 200  # of a pipeline of unknown length


@dataclass(frozen=True, kw_only=True)
class EarlyModel:
    """The run's model, if it is logged before the script ends, because the script asks for it.

    Attributes:
        epochs: How many epochs the model had been trained.
        tested: Its answers, as `ScriptResult` has them.
        summary: Its scores.
    """

    request: ModelRequest
    fitted: FittedModel
    kept: KeptWeights
    epochs: int
    tested: Any
    summary: dict[str, float]


@dataclass(kw_only=True)
class ScriptResult:
    """Logs the result of a script: its model when the script asks for it, the rest when it has ended."""

    record: ScriptRecord
    models: FittedModels
    evaluations: Sequence[Evaluation]
    fits: FitRecord
    early: EarlyModel | None = None
    own_epochs: Sequence[Epoch] = ()  # of a training loop whose model is unknown

    # -- while the script runs; see `record.ModelLogger` ----------------------------------------------------

    def has_to_log(self, model: Any) -> bool:
        """Return whether a model, None: the chosen one, is the run's and is not logged yet."""
        fitted, served = self._served()
        if fitted is None or (model is not None and model is not served):
            return False
        early = self.early
        return early is None or early.fitted is not fitted or (model is None and not self._is_current(early))

    def has_none(self) -> bool:
        """Return whether there is no model to log, now or at the end."""
        return self.models.last is None and self.models.chosen is None

    def log_now(self, request: ModelRequest) -> bool:
        """Log the run's model; return whether that was possible.

        A model that the script logs itself has the weights that it has now, unless --objective asks for the best epoch.
        """
        fitted, _ = self._served()
        assert fitted is not None
        model, progress = fitted.model, fitted.progress
        self._settle_objective(fitted)
        if request.model is not None and self.record.request.objective is None:
            weights = model.get_weights()
            number = progress.epoch_of(fingerprint(weights))
            epoch = next((epoch for epoch in progress.epochs if epoch.number == number), None)
            kept = KeptWeights(values=weights, epoch=epoch, why="those that the script has logged")
            best = progress.best
            if best is not None and epoch is not None and best.number != number and not progress.keep_last:
                self.record.listener.message(
                    f"the script logs the weights of epoch {number}; the best by {progress.objective} is epoch"
                    f" {best.number} (--objective {progress.objective} logs that one)"
                )
        else:
            kept = choose_weights(fitted)
        part = self._part(fitted)
        summary: dict[str, float] = {}
        with _restored(model):
            if kept.values is not None:
                model.set_weights(kept.values)
            step = kept.epoch.number if kept.epoch else len(progress.epochs)
            tested = self._log_model(fitted, part, None, step, summary, request)
        if tested is None:
            return False
        self.early = EarlyModel(
            request=request,
            fitted=fitted,
            kept=kept,
            epochs=len(progress.epochs),
            tested=tested,
            summary=summary,
        )
        return True

    def _served(self) -> tuple[FittedModel | None, Any]:
        """Return the chosen model, and the one of its parts that is logged, or itself."""
        models, name = self.models, self.record.request.model
        fitted = models.chosen or (models.named(name) if name is not None else None) or models.last
        if fitted is None or fitted.model is None:
            return None, None
        part = self._part(fitted)
        return fitted, parts(fitted.model)[part] if part else fitted.model

    def _part(self, fitted: FittedModel) -> str:
        name = self.record.request.model
        is_part = name is not None and fitted is not self.models.chosen and fitted.name != name
        return name if is_part and name in parts(fitted.model) else ""

    def _is_current(self, early: EarlyModel) -> bool:
        return early.request.model is not None or early.epochs == len(early.fitted.progress.epochs)

    def log(self) -> None:
        """Log the chosen model with its scores. Whatever cannot be recorded is said in one line, and the run goes on."""
        fitted, part = self._chosen()
        if fitted is None:
            with self._unless("the report is not complete"):
                report.write_curves(self.record.recorder, self.own_epochs)
            return
        self._record_phases(fitted)
        self._settle_objective(fitted)
        model, progress = fitted.model, fitted.progress
        self.record.recorder.set_tags(
            {OBJECTIVE_TAG: str(progress.objective)} if progress.measures_objective() else {}
        )
        early = self.early if self.early is not None and self.early.fitted is fitted else None
        if early is not None and early.epochs != len(progress.epochs) and self._is_current(early):
            self.record.listener.message(
                f"the logged model is the one that the script has logged, after epoch {early.epochs}"
            )
        with _restored(model):
            kept = early.kept if early is not None and self._is_current(early) else choose_weights(fitted)
            if kept.note:
                self.record.listener.message(kept.note)
            if kept.values is not None:
                model.set_weights(kept.values)
            self.record.recorder.set_tags({MODEL_WEIGHTS_TAG: kept.why})
            self._log_kept(fitted, part, kept)

    # -- which model --------------------------------------------------------------------------------------

    def _chosen(self) -> tuple[FittedModel | None, str]:
        """Return the model to log, and the name of the part of it that is logged, or ""."""
        models, name = self.models, self.record.request.model
        if len(models.all) > 1:
            self.record.recorder.set_tags({SCRIPT_MODELS_TAG: report.as_json(models.names[:MAX_RECORDED])})
        if models.chosen is not None:
            return models.chosen, ""
        if name is None:
            return models.last, ""
        fitted = models.named(name)
        if fitted is None and models.last is not None:
            self.record.listener.message(
                f"the script trains no model {name!r}: the one that it trained last, {models.last.name}, is logged;"
                f" its models are {', '.join(models.names[:MAX_RECORDED])}"
            )
        if fitted is None or fitted.name == name:
            return fitted or models.last, ""
        return fitted, name

    def _record_phases(self, fitted: FittedModel) -> None:
        epochs = fitted.progress.epochs
        if len(fitted.phases) > 1 and epochs:
            ends = [*(first - 1 for first in fitted.phases[1:]), epochs[-1].number]
            texts = [
                f"{number}: epochs {first} to {last}"
                for number, (first, last) in enumerate(zip(fitted.phases, ends, strict=True), start=1)
            ]
            self.record.log_params({f"{fitted.prefix}phase": "; ".join(texts)}, prefix="fit_")
        if fitted.number >= MAX_RECORDED:
            for epoch in epochs:
                metrics = {f"{fitted.prefix}{name}": value for name, value in epoch.metrics.items()}
                self.record.recorder.log_metrics(metrics, step=epoch.number)
            self.record.log_params(
                {f"{fitted.prefix}{name}": value for name, value in fitted.params.items()}, prefix="fit_"
            )

    def _settle_objective(self, fitted: FittedModel) -> None:
        """Keep the last epoch if no epoch has measured the objective."""
        progress = fitted.progress
        if not progress.epochs or progress.keep_last or progress.measures_objective():
            return
        names = list(dict.fromkeys(name for epoch in progress.epochs for name in epoch.metrics))
        self.record.listener.message(
            f"the script does not measure {progress.objective.metric}: the last epoch is kept;"
            f" it measures {', '.join(names)}"
        )
        progress.keep_last_epoch(fitted.model.get_weights())

    # -- the kept model -----------------------------------------------------------------------------------

    def _log_kept(self, fitted: FittedModel, part: str, kept: KeptWeights) -> None:
        recorder = self.record.recorder
        evaluated = self._evaluate(fitted)
        step = kept.epoch.number if kept.epoch else len(fitted.progress.epochs)
        summary = self._summary(fitted, kept, evaluated)
        early = self.early
        if early is not None and early.kept is kept:
            tested = early.tested
            for metric, value in early.summary.items():
                summary.setdefault(metric, value)
        else:
            request = early.request if early is not None and early.fitted is fitted else None
            tested = self._log_model(fitted, part, evaluated, step, summary, request)
        calls = self.record.mlflow
        summary = {name: value for name, value in summary.items() if not calls.has_logged(name, value)}
        recorder.log_results(summary, of_model=tested is not None)
        with self._unless("the report is not complete"):
            if fitted.progress.epochs:
                if fitted.progress.best is None:
                    fitted.progress.best = fitted.progress.epochs[-1]
                data = Dataset(name=self.record.request.name, train=Split(None))
                answers = tested if isinstance(tested, report.SplitAnswers) else None
                report.write(recorder, answers, data=data, model=fitted.model, progress=fitted.progress)
        with self._unless("the data is not described"):
            if fitted.data is not None:
                self.fits.tag(fitted, self.fits.reference(fitted))

    def _log_model(
        self,
        fitted: FittedModel,
        part: str,
        evaluated: _Evaluated | None,
        step: int,
        summary: dict[str, float],
        request: ModelRequest | None = None,
    ) -> report.SplitAnswers | bool | None:
        """Log the model; return its answers to the test or validation data, True if it has none, None if it failed.

        Its scores are added to the summary.
        """
        recorder, listener = self.record.recorder, self.record.listener
        listener.stage("saving and checking the model")
        name, split = self._scored_split(fitted, evaluated)
        scored, is_whole = None, True
        try:
            if not part and not can_predict(fitted.model):
                raise BadDataError(f"{type(fitted.model).__name__} has no call(): it cannot predict", "")
            if split is not None and not part:
                scored, is_whole = _bounded(split)
            logged, scored = self._save(fitted, part, split, scored)
        except FAILURES as error:
            if isinstance(error, OSError) and "Errno 28" in str(error):
                raise
            reason = _reason(error)
            listener.message(f"the model is not logged: {reason}{self._part_hint(fitted, part)}")
            recorder.set_tags({MODEL_ERROR_TAG: reason[:500]})
            return None
        if request is None:
            # what follows a script may look for the model where MLflow's autologging logs it
            named = {"name": "model"} if self.record.mlflow.autologging.is_on else {}
            recorder.log_model(fitted.params, step=step, **named)
        else:
            from mlctl.adapters.runlog.script_models import describe_as_asked

            given = describe_as_asked(recorder.journal.model, request)
            recorder.log_model({**fitted.params, **request.params}, step=step, **given)
        if is_whole:
            prefix = "test" if name == TEST else "best_val"
            for metric, value in logged.scores.items():
                summary.setdefault(f"{prefix}_{metric}", value)
            report.record_intervals(
                recorder,
                {
                    f"{prefix}_{metric}": bounds
                    for metric, bounds in logged.intervals.items()
                    if summary[f"{prefix}_{metric}"] == logged.scores[metric]  # evaluate() may say another
                },
            )
        if scored is None or logged.answers is None:
            return True
        try:
            return report.answers_to(name if is_whole else f"first {name}", scored, logged)
        except Exception as error:  # targets that no plot can show
            listener.message(f"the report has no scores: {describe(error)}")
            return True

    def _save(
        self, fitted: FittedModel, part: str, split: Split | None, scored: Split | None
    ) -> tuple[LoggedModel, Split | None]:
        """Write and check the model; return it, and the rows that it is scored on.

        If its answers or targets cannot be scored, it is logged without scores.
        """
        recorder, listener = self.record.recorder, self.record.listener
        log = log_keras_model
        if runtime.current_backend() != TENSORFLOW:
            log = log_on_tensorflow
            if scored is not None and scored.is_stream:  # another process cannot read it
                scored = scored.take(np.arange(len(scored)))
        prepared = self._prepared(fitted, part, split)
        try:
            return log(recorder, prepared, fitted.model, scored, listener=listener), scored
        except FAILURES as error:
            if scored is None and prepared.data.train.targets is None:
                raise
            first = error
        data = dataclasses.replace(
            prepared.data, train=dataclasses.replace(prepared.data.train, targets=None, weights=None)
        )
        logged = log(
            recorder, dataclasses.replace(prepared, data=data), fitted.model, None, listener=listener
        )
        listener.message(f"the logged model is not scored: {_reason(first)}")
        return logged, None

    def _part_hint(self, fitted: FittedModel, part: str) -> str:
        names = [name for name in parts(fitted.model) if name != part]
        return f"; --model NAME logs a part of it: {', '.join(names)}" if names and not part else ""

    def _prepared(self, fitted: FittedModel, part: str, split: Split | None) -> PreparedData:
        """Return the script's data in the form of a recipe's: a few rows of it."""
        model, data = fitted.model, fitted.data
        sample, targets = self._sample(fitted, split)
        served = parts(model)[part] if part else None
        recipe = script_recipe(self.record.request.name, self.record.program.file, served)()
        dataset = Dataset(
            name=self.record.request.name,
            train=dataclasses.replace(sample, targets=targets),
            source=self.record.request.source,
            input_shape=map_tree(lambda leaf: tuple(leaf.shape[1:]), sample.inputs),
            class_weight=data.class_weight if data is not None else None,
        )
        return PreparedData(recipe=recipe, values=recipe.values({}), data=dataset, encoder=None)

    def _sample(self, fitted: FittedModel, split: Split | None) -> tuple[Split, Any]:
        """Return a few rows as the model takes them, and the targets of as many training rows as are at hand."""
        model = fitted.model
        if fitted.inputs is not None:
            return Split(as_model_inputs(model, fitted.inputs), fitted.targets), fitted.targets
        train: DataPart | None = fitted.data.train if fitted.data is not None else None
        reasons = []
        if train is not None:
            try:
                sample = train.sample()
                if sample.inputs is not None:
                    return dataclasses.replace(
                        sample, inputs=as_model_inputs(model, sample.inputs)
                    ), train.targets
            except Exception as error:
                reasons.append(describe(error))
        if split is not None:
            try:
                sample = split.take(np.arange(min(64, len(split))))
                return dataclasses.replace(
                    sample, inputs=as_model_inputs(model, sample.inputs)
                ), sample.targets
            except Exception as error:
                reasons.append(describe(error))
        if reasons:
            self.record.listener.message(
                f"the data cannot be read again ({reasons[0]}): made-up rows check the model"
            )
        return Split(made_up_inputs(model)), None

    def _scored_split(self, fitted: FittedModel, evaluated: _Evaluated | None) -> tuple[str, Split | None]:
        """Return the name and the rows of the data that the logged model is scored on."""
        candidates: list[tuple[str, DataPart | None]] = []
        if evaluated is not None and evaluated.kind == TEST:
            candidates.append((TEST, evaluated.data))
        if fitted.data is not None:
            candidates.append(("validation", fitted.data.validation))
        for name, part in candidates:
            with contextlib.suppress(Exception):  # it cannot be read again
                if part is not None and (split := _readable(fitted.model, part)) is not None:
                    return name, split
        return "", None

    # -- evaluations --------------------------------------------------------------------------------------

    def _evaluate(self, fitted: FittedModel) -> _Evaluated | None:
        """Return what `evaluate` measured of the kept weights, which the model has now."""
        weights = fingerprint(fitted.model.get_weights())
        found = choose(self.evaluations, fitted, weights)
        if found is None:
            return None
        evaluation, kind = found
        listener = self.record.listener
        if kind != TEST:
            listener.message(
                f"test_* are of the {kind} data: the script evaluates its model on no other data"
            )
            self.record.recorder.set_tags({TEST_DATA_TAG: f"the {kind} data"})
        results = evaluation.results
        if evaluation.weights != weights:
            again = self._evaluate_again(fitted, evaluation)
            if again is None:
                listener.message("test_* are of other weights than those that are logged")
            else:
                results = again
                listener.message(
                    "the script has evaluated other weights than those that are logged: test_* are measured again"
                )
        return _Evaluated(kind=kind, data=evaluation.data, results=results)

    def _evaluate_again(self, fitted: FittedModel, evaluation: Evaluation) -> dict[str, float] | None:
        if evaluation.data is None or evaluation.data.kind == "generator":
            return None
        arguments = {**evaluation.arguments, "return_dict": True, "verbose": 0, "callbacks": None}
        try:
            return numbers(fitted.model.evaluate(**arguments))
        except Exception:
            return None

    def _summary(
        self, fitted: FittedModel, kept: KeptWeights, evaluated: _Evaluated | None
    ) -> dict[str, float]:
        summary: dict[str, float] = {}
        if kept.epoch is not None:
            summary["best_epoch"] = kept.epoch.number
            metrics = {name: value for name, value in kept.epoch.metrics.items() if name.startswith("val_")}
        else:
            metrics = self._validate(fitted)
        summary |= {f"best_{name}": value for name, value in metrics.items()}
        if evaluated is not None:
            summary |= {f"test_{name}": value for name, value in evaluated.results.items()}
        return summary

    def _validate(self, fitted: FittedModel) -> dict[str, float]:
        """Return validation metrics of weights that no epoch had."""
        part = fitted.data.validation if fitted.data is not None else None
        if part is None or part.split is None or not fitted.progress.epochs:
            return {}
        try:
            arrays = (
                dict(zip(("x", "y", "sample_weight"), part.source, strict=True))
                if part.kind == ARRAYS
                else {}
            )
            results = fitted.model.evaluate(
                **(arrays or {"x": part.source}), steps=part.steps, verbose=0, return_dict=True
            )
            return {f"val_{name}": value for name, value in numbers(results).items()}
        except Exception:
            return {}

    @contextlib.contextmanager
    def _unless(self, what: str) -> Iterator[None]:
        """Say in one line what could not be recorded."""
        try:
            yield
        except MlctlError:
            raise
        except Exception as error:
            self.record.listener.message(f"{what}: {describe(error)}")


@dataclass(frozen=True, kw_only=True)
class _Evaluated:
    """Results of `evaluate` for the kept weights, the kind of data, and the data."""

    kind: str
    data: DataPart
    results: dict[str, float]


def _readable(model: Model, part: DataPart) -> Split | None:
    """Return data as a split that the model takes; None if it cannot be read again, or is read in part only."""
    split = part.split
    if split is None or (part.steps is not None and split.is_stream):
        return None
    if split.is_stream:
        return split
    return dataclasses.replace(split, inputs=as_model_inputs(model, split.inputs))


def _reason(error: BaseException) -> str:
    return error.message if isinstance(error, MlctlError) else describe(error)


def _bounded(split: Split) -> tuple[Split, bool]:
    """Return at most MAX_SCORED_ROWS rows of a split, and whether these are all of it."""
    if not split.is_stream:
        count = len(split)
        return (split, True) if count <= MAX_SCORED_ROWS else (split.take(np.arange(MAX_SCORED_ROWS)), False)
    stream = split.inputs
    is_short = stream.steps is not None and stream.steps <= MAX_SCORED_BATCHES
    return (split, True) if is_short else (split.take(np.arange(2_000)), False)


@contextlib.contextmanager
def _restored(model: Model) -> Iterator[None]:
    """Give the model its weights back after the block: a notebook goes on with it."""
    weights = model.get_weights()
    try:
        yield
    finally:
        if fingerprint(model.get_weights()) != fingerprint(weights):
            model.set_weights(weights)

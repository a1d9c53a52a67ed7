"""The model folder of a run: written, loaded back as any client would, and checked against the model in memory."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from mlctl.adapters.keras.fit import Model, deal_into_bags
from mlctl.adapters.keras.outputs import infer_outputs
from mlctl.adapters.keras.predictors import Predictor
from mlctl.adapters.keras.train_step import fixed_batch_size
from mlctl.adapters.models.fresh_process import FreshAnswers, predict_in_fresh_process
from mlctl.adapters.models.load import as_signed, load_model, predict_raw, to_client_input
from mlctl.adapters.models.save import SavedModel, call_keras_flat, save_model
from mlctl.adapters.models.served_model import inputs_for, outputs_for, to_arrays
from mlctl.adapters.runlog.recorder import Recorder
from mlctl.data.batches import join_batches
from mlctl.data.class_numbers import IGNORED
from mlctl.data.dataset import HELD_OUT_ANSWERS, Dataset, Split
from mlctl.data.sparse_bags import SparseBags
from mlctl.data.targets import scoring_targets
from mlctl.domain.outputs import Outputs, task_of
from mlctl.domain.progress import ProgressListener
from mlctl.domain.tags import RUNTIME_REASON_TAG, RUNTIME_TAG
from mlctl.errors import BadDataError
from mlctl.recipes import Recipe
from mlctl.scores import score_split
from mlctl.services.evaluation.intervals import score_intervals
from mlctl.services.evaluation.split_answers import raw_batches
from mlctl.services.evaluation.threshold import ChosenThreshold, choose_threshold
from mlctl.services.recipes.prepare import PreparedData, recipe_errors
from mlctl.services.recipes.user_code import own_errors
from mlctl.services.training.profile import RowSample, store_profile
from mlctl.serving.readings import write_readings
from mlctl.serving.traffic.profile import as_columns

READINGS = "readings"  # in a data set's `extra`: the `ColumnReading` of each column
METRIC_TOLERANCE, ANSWER_TOLERANCE = 1e-3, 1e-4  # of the loaded model; relative to the value or its scale
SAMPLE_ROWS = 64
MAX_CHECKED_TEXTS = 2000  # texts that the loaded model answers; the trained model answers the others
MAX_CHECK_BYTES = 32 << 20  # of raw rows that both models answer together: they are held encoded, too

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, kw_only=True)
class LoggedModel:
    """A logged model, and what it answers when it is loaded back.

    Attributes:
        saved: Its runtime, and the user's code that travels with it.
        outputs: What its outputs mean.
        answers: Answers to the split, an array or a dict of arrays by output name; None without a split.
        targets: The split's targets as `load` returned them, in the order of the answers.
        weights: The same for weights.
        scores: Scores of the answers; none if the model answers something else than the targets.
        intervals: 95 % confidence intervals of scores.
        threshold: The threshold that was chosen for two classes; None if it is the usual one.
    """

    saved: SavedModel
    outputs: Outputs
    answers: Any
    targets: Any
    weights: Any
    scores: Mapping[str, float]
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    threshold: ChosenThreshold | None = None


def log_keras_model(
    recorder: Recorder,
    prepared: PreparedData,
    model: Model,
    split: Split | None,
    *,
    listener: ProgressListener,
) -> LoggedModel:
    """Write a Keras model to the run's model folder, load it back, and return what it answers to a split.

    Without a split, rows of the training split check the model, and nothing is scored.

    Raises BadDataError if the loaded model answers differently, or if it does not load without the user's code.
    """
    recipe = prepared.recipe
    with own_errors(recipe, "reading its data"):
        candidate = _candidate(prepared, model, split or prepared.data.train)
    with new_model_folder(recorder) as folder, own_errors(recipe, "checking its saved model"):
        with recipe_errors(recipe, "saving its model"):
            saved = candidate.save(folder)
        for note in saved.notes:
            listener.message(note)
        is_random = candidate.is_random()
        if is_random:
            listener.message("the model draws random numbers when it answers: its answers are not compared")
        if saved.code or saved.has_own_encoder:
            listener.stage("loading the model in a new process")
            fresh = predict_in_fresh_process(folder, candidate.raw, candidate.encoded)
            if not is_random:
                _check_fresh(candidate, fresh)
        loaded = load_model(folder)
        if split is None or not candidate.takes_data:
            found = candidate.predict_sample(loaded)
        else:
            found = _predict_both(candidate, loaded, split)
        scores = _scores(recipe, candidate, found, found.answers)
        if not is_random:
            _check_agreement(
                _scores(recipe, candidate, found, found.expected), scores, found.expected, found.answers
            )
        if candidate.takes_data:
            store_readings(folder, prepared.data)
        if problem := _store_profile(folder, candidate, found, loaded.metadata.signature):
            listener.message(f"the model has no profile for mlctl endpoints drift: {problem}")
    listener.message(f"served by {saved.served_by}")
    recorder.set_tags({RUNTIME_TAG: saved.runtime, RUNTIME_REASON_TAG: saved.reason})
    return LoggedModel(
        saved=saved,
        outputs=candidate.outputs,
        answers=found.answers if split is not None else None,
        targets=found.targets,
        weights=found.weights,
        scores=scores,
        intervals=_intervals(candidate, found, scores) if split is not None else {},
        threshold=candidate.threshold,
    )


def save_and_check(
    recorder: Recorder,
    *,
    save: Callable[[Path], object],
    predict: Callable[[Any], Array],
    expected: Array,
    score: Callable[[Array], Mapping[str, float]],
    finish: Callable[[Path, Array], object] = lambda folder, answers: None,
) -> Array:
    """Write the run's model folder, load it back, and return the loaded model's answers.

    Args:
        recorder: the run.
        save: writes the model to a folder.
        predict: returns the answers of a loaded model.
        expected: the answers of the model in memory.
        score: returns metrics of answers.
        finish: writes what else belongs to the model's folder, given the loaded model's answers.

    Raises BadDataError if the answers differ from the expected ones.

    """
    with new_model_folder(recorder) as folder:
        save(folder)
        answers = predict(load_model(folder))
        _check_agreement(score(expected), score(answers), expected, answers)
        finish(folder, answers)
    return answers


@contextmanager
def new_model_folder(recorder: Recorder) -> Iterator[Path]:
    """Yield an empty folder, which becomes the run's model folder if the block ends without an error."""
    # the sender may be reading a model that a killed process left: replace it in one step
    part = recorder.journal.model.with_name("model.part")
    shutil.rmtree(part, ignore_errors=True)
    yield part
    shutil.rmtree(recorder.journal.model, ignore_errors=True)
    part.rename(recorder.journal.model)


def sample_rows(split: Split, fixed: int | None = None) -> Split:
    """Return the rows that check an exported model; the first becomes its input example.

    Of a model that takes batches of a fixed number of rows only, these are as many.
    """
    return split.take(np.arange(fixed or min(SAMPLE_ROWS, len(split))) % len(split))


def metadata(recipe: Recipe, data: Dataset, outputs: Outputs = ()) -> dict[str, Any]:
    """Return what a client must know about a model's answers."""
    if not outputs:
        return {"recipe": recipe.name, "task": data.task, "classes": list(data.classes), "unit": data.unit}
    only = outputs[0] if len(outputs) == 1 else None
    return {
        "recipe": recipe.name,
        "task": task_of(outputs),
        "classes": list(only.classes) if only else [],
        "unit": only.unit if only else "",
        "outputs": [output.to_json() for output in outputs],
    }


def columns_with_gaps(data: Dataset) -> tuple[str, ...]:
    """Return a table's columns that have gaps in any split: a request may leave them out, even if it is strict."""
    if not data.is_table:
        return ()
    tables = [split.inputs for split in (data.train, data.validation, data.test) if split is not None]
    has_gaps = [rows.columns[rows.isna().any()] for rows in tables if hasattr(rows, "iloc")]
    found = {name for names in has_gaps for name in names}
    return tuple(name for name in data.train.inputs if name in found)


def store_readings(folder: Path, data: Dataset) -> None:
    """Write how the table's cells were read to the model's folder."""
    if readings := data.extra.get(READINGS):
        write_readings(readings, folder, target=data.extra.get("target_reading"))


def difference(answers: Any, expected: Any) -> float:
    """Return the largest difference between answers, relative to the scale of the expected ones."""
    if isinstance(expected, Mapping):
        return max(difference(answers[name], part) for name, part in expected.items())
    answers, expected = (np.asarray(part, np.float64) for part in (answers, expected))
    if answers.shape != expected.shape:
        return float("inf")
    is_both_nan = np.isnan(answers) & np.isnan(expected)
    apart = np.where(is_both_nan | (answers == expected), 0.0, np.abs(answers - expected))
    finite = np.abs(expected[np.isfinite(expected)])
    return float(apart.max(initial=0.0) / max(1.0, float(finite.max(initial=0.0))))


@dataclass(frozen=True, kw_only=True)
class _BothAnswers:
    """Answers of the loaded and of the trained model to the same rows: of a split, or of a sample of it."""

    answers: Any
    expected: Any
    targets: Any = None
    weights: Any = None
    is_sample: bool = False
    rows: Mapping[str, Any] | None = None  # a random sample of the inputs, as a client sends them


@dataclass(frozen=True, kw_only=True)
class _Candidate:
    """A model to log, with a sample of its inputs.

    Attributes:
        takes_data: Whether it takes the recipe's inputs; a decoder, for one, does not.
        is_trained: Whether it is the trained model, whose answers the recipe's `scores` takes.
        threshold: The threshold that was chosen for its only output; None if it is the usual one.
    """

    prepared: PreparedData
    model: Model
    outputs: Outputs
    raw: Any
    encoded: Any
    takes_data: bool
    is_trained: bool
    threshold: ChosenThreshold | None = None

    @property
    def encoder(self) -> Any:
        return self.prepared.encoder if self.takes_data else None

    def save(self, folder: Path) -> SavedModel:
        """Write the model to a folder."""
        data = self.prepared.data
        return save_model(
            folder,
            self.model,
            encoder=self.encoder,
            raw=self.raw,
            encoded=self.encoded,
            metadata=metadata(self.prepared.recipe, data, self.outputs),
            outputs=self.outputs,
            optional_columns=columns_with_gaps(data) if self.takes_data else (),
        )

    def is_random(self) -> bool:
        """Return whether the model answers the same rows differently each time; own layers alone may do that."""
        predictor = Predictor(self.model, self.outputs)
        first = predictor.predict(self.encoded)
        return difference(predictor.predict(self.encoded), first) > 0

    def predict_sample(self, loaded: Any) -> _BothAnswers:
        """Return both models' answers to the sample."""
        return _BothAnswers(
            answers=predict_raw(loaded, self.raw),
            expected=Predictor(self.model, self.outputs).predict(self.encoded),
            is_sample=True,
        )


def _candidate(prepared: PreparedData, model: Model, split: Split) -> _Candidate:
    """Return the model that the recipe serves, with a sample of the split."""
    recipe, data = prepared.recipe, prepared.data
    sample = sample_rows(split, fixed_batch_size(model))
    encoded = to_arrays(prepared.encoded(sample))
    outputs = infer_outputs(model, data, encoded)
    held_out = _held_out_answers(prepared, model, outputs)
    if held_out is not None and hasattr(model, "calibrate"):
        targets, answers = held_out
        held_out = targets, model.calibrate(targets, answers)
    threshold = _choose_threshold(prepared, model, outputs, held_out)
    with recipe_errors(recipe, "choosing the model to serve"):
        served = recipe.serving(model, data)
    raw, takes_data = _raw_inputs(prepared, sample.inputs), True
    if served is not model:
        inputs, takes_data = inputs_for(served, encoded)
        outputs = outputs_for(served, inputs, outputs)
        encoded, raw = inputs, raw if takes_data else inputs
    if threshold is not None and len(outputs) == 1:
        outputs = (replace(outputs[0], threshold=threshold.value),)
    return _Candidate(
        prepared=prepared,
        model=served,
        outputs=outputs,
        raw=raw,
        encoded=encoded,
        takes_data=takes_data,
        is_trained=served is model,
        threshold=threshold,
    )


def _held_out_answers(prepared: PreparedData, model: Model, outputs: Outputs) -> tuple[Array, Array] | None:
    """Return the validation rows' targets, and what the model answers to them; None if nothing needs these.

    A model that itself leaves rows out of training answers all of them without what it has learned from them.
    """
    if len(outputs) != 1 or not outputs[0].classes:
        return None
    if not (prepared.threshold_rule or hasattr(model, "calibrate")):
        return None
    if HELD_OUT_ANSWERS in prepared.data.extra:
        known = prepared.data.extra[HELD_OUT_ANSWERS]
        return None if known is None else (np.asarray(known[0]), np.asarray(known[1]))
    train, validation = prepared.data.train, prepared.data.validation
    if validation is None:
        return None
    split = prepared.encoded_split(validation)
    if getattr(model, "bags", 1) > 1:
        split = deal_into_bags(model, prepared.encoded_split(train), split, outputs)
    return scoring_targets(outputs, split.targets), np.asarray(
        Predictor(model, outputs).predict(split.inputs)
    )


def _choose_threshold(
    prepared: PreparedData, model: Model, outputs: Outputs, held_out: tuple[Array, Array] | None
) -> ChosenThreshold | None:
    """Return the threshold that the user has asked for, chosen on rows that are held out; None for the usual one."""
    rule = prepared.threshold_rule
    if rule is None or len(outputs) != 1 or len(outputs[0].classes) != 2:
        return None
    if held_out is None:  # there are only training rows
        train = prepared.encoded_split(prepared.data.train)
        held_out = scoring_targets(outputs, train.targets), Predictor(model, outputs).predict(train.inputs)
    targets, answers = held_out
    is_known = prepared.data.extra.get(HELD_OUT_ANSWERS) is not None
    of_folds = is_known and prepared.data.validation is None
    return choose_threshold(rule, targets, np.asarray(answers), outputs[0].classes[1], of_folds=of_folds)


def _intervals(
    candidate: _Candidate, found: _BothAnswers, scores: Mapping[str, float]
) -> Mapping[str, tuple[float, float]]:
    if not scores or found.targets is None:
        return {}
    targets = scoring_targets(candidate.outputs, found.targets)
    return score_intervals(candidate.outputs, targets, found.answers, scores)


def _predict_both(candidate: _Candidate, loaded: Any, split: Split) -> _BothAnswers:
    """Return both models' answers to a split, which is read once: a pipeline may shuffle its rows."""
    prepared, predictor = candidate.prepared, Predictor(candidate.model, candidate.outputs)
    if isinstance(split.inputs, SparseBags) and len(split) > MAX_CHECKED_TEXTS:
        return _predict_texts(candidate, loaded, split)
    answers, expected, targets, weights = [], [], [], []
    sample, signature = RowSample(len(split)), loaded.metadata.signature
    for inputs, batch_targets, batch_weights in raw_batches(split, MAX_CHECK_BYTES):
        raw = _raw_inputs(prepared, inputs)
        sample.add(as_signed(signature, raw))
        answers.append(predict_raw(loaded, raw))
        expected.append(predictor.predict(prepared.encoded(Split(inputs))))
        targets.append(batch_targets)
        weights.append(batch_weights)
    return _BothAnswers(
        answers=_join(answers),
        expected=_join(expected),
        targets=None if targets[0] is None else _join(targets, IGNORED),
        weights=None if weights[0] is None else _join(weights),
        rows=sample.columns(),
    )


def _predict_texts(candidate: _Candidate, loaded: Any, split: Split) -> _BothAnswers:
    """Return both models' answers to many texts: the loaded model answers a random sample of them.

    It looks up the words of a text again, which takes longer than all else.
    """
    rows = np.sort(np.random.default_rng(0).choice(len(split), MAX_CHECKED_TEXTS, replace=False))
    found = _predict_both(candidate, loaded, split.take(rows))
    expected = Predictor(candidate.model, candidate.outputs).predict(split.inputs)
    if isinstance(expected, Mapping):
        answers: Any = {name: part.copy() for name, part in expected.items()}
        for name, part in found.answers.items():
            answers[name][rows] = part
    else:
        answers = expected.copy()
        answers[rows] = found.answers
    return replace(found, answers=answers, expected=expected, targets=split.targets, weights=split.weights)


def _join(parts: list[Any], fill: int = 0) -> Any:
    return parts[0] if len(parts) == 1 else join_batches(parts, fill)


def _scores(recipe: Recipe, candidate: _Candidate, found: _BothAnswers, answers: Any) -> Mapping[str, float]:
    has_target = any(output.kind != "none" for output in candidate.outputs)
    if found.is_sample or (found.targets is None if has_target else not candidate.is_trained):
        return {}
    with recipe_errors(recipe, "computing its scores"):
        return score_split(
            candidate.outputs, found.targets, answers, weights=found.weights, own=recipe.scores
        )


def _store_profile(folder: Path, candidate: _Candidate, found: _BothAnswers, signature: Any) -> str:
    """Store the model's profile; return "", or the reason why it has none."""
    prepared = candidate.prepared
    if not candidate.takes_data:
        return "it takes other inputs than the data has"
    held_out = found.rows
    if held_out is None and prepared.data.train.is_stream:
        held_out = as_columns(as_signed(signature, candidate.raw))
    return store_profile(
        folder,
        prepared.data,
        raw=lambda inputs: as_signed(signature, _raw_inputs(prepared, inputs)),
        held_out=held_out,
        outputs=candidate.outputs,
        answers=found.answers,
        targets=found.targets,
    )


def _raw_inputs(prepared: PreparedData, inputs: Any) -> Any:
    return to_client_input(prepared.data.raw(inputs), prepared.encoder)


def _check_fresh(candidate: _Candidate, fresh: FreshAnswers) -> None:
    """Raise BadDataError if a flavor answers differently in a process without the user's code."""
    expected = Predictor(candidate.model, candidate.outputs).predict(candidate.encoded)
    flat = call_keras_flat(candidate.model, candidate.encoded)
    apart = {"mlflow.pyfunc": difference(fresh.pyfunc, expected)}
    if fresh.keras:
        apart["mlflow.keras"] = max(map(difference, fresh.keras, flat))
    for flavor, value in apart.items():
        if not value <= ANSWER_TOLERANCE:
            raise BadDataError(
                f"in a new process, {flavor} answers differently from the trained model, by {value:.2g}",
                "a layer or encoder may depend on something that is not saved, such as a variable of the module",
            )


def _check_agreement(
    expected_metrics: Mapping[str, float], metrics: Mapping[str, float], expected: Any, answers: Any
) -> None:
    apart = difference(answers, expected)
    if apart <= ANSWER_TOLERANCE:
        return
    hint = "the encoder may depend on state that is not saved; mlctl recipes check FILE tests that"
    for name, value in expected_metrics.items():
        if not abs(value - metrics[name]) <= METRIC_TOLERANCE * max(1.0, abs(value)):
            raise BadDataError(
                f"the logged model has {name} {metrics[name]:.6g}, the trained one {value:.6g}", hint
            )
    raise BadDataError(f"the logged model's answers differ by {apart:.2g} from the trained model's", hint)

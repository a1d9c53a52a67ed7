"""The model folder of a run: written, loaded back as any client would, and checked against the model in memory."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mlctl.adapters.keras import programs
from mlctl.adapters.keras.fit import Model
from mlctl.adapters.models.load import load_model, predict_raw, to_client_input
from mlctl.adapters.models.save import save_model
from mlctl.adapters.runlog.recorder import Recorder
from mlctl.data.dataset import Dataset, Split
from mlctl.data.files.images import ImageFiles
from mlctl.errors import BadDataError
from mlctl.recipes import Recipe
from mlctl.scores import compute_scores
from mlctl.services.recipes.prepare import PreparedData

METRIC_TOLERANCE, ANSWER_TOLERANCE = 1e-3, 1e-4  # of the loaded model; relative to the value or its scale
SAMPLE_ROWS = 64

Array = np.ndarray[Any, Any]


def log_keras_model(recorder: Recorder, prepared: PreparedData, model: Model, split: Split) -> Array:
    """Write a Keras model to the run's model folder; return the loaded model's answers to a split.

    Raises BadDataError as `save_and_check` does.
    """
    data, inputs = prepared.data, prepared.encoded(split)
    classes = len(data.classes)
    expected, _ = programs.predict(
        programs.make_predictor(model, inputs),
        inputs,
        programs.encode_targets(model, split.targets, classes),
    )
    sample = sample_rows(split)
    return save_and_check(
        recorder,
        save=lambda folder: save_model(
            folder,
            model,
            encoder=prepared.encoder,
            raw=_raw_inputs(prepared, sample),
            encoded=programs.to_dense(prepared.encoded(sample)),
            metadata=metadata(prepared.recipe, data),
            optional_columns=columns_with_gaps(data),
        ),
        predict=lambda loaded: _predict(loaded, prepared, split),
        expected=expected,
        score=lambda answers: compute_scores(split.targets, answers, classes),
    )


def save_and_check(
    recorder: Recorder,
    *,
    save: Callable[[Path], object],
    predict: Callable[[Any], Array],
    expected: Array,
    score: Callable[[Array], Mapping[str, float]],
) -> Array:
    """Write the run's model folder, load it back, and return the loaded model's answers.

    Args:
        recorder: the run.
        save: writes the model to a folder.
        predict: returns the answers of a loaded model.
        expected: the answers of the model in memory.
        score: returns metrics of answers.

    Raises BadDataError if the answers, or their metrics, differ from the expected ones.

    """
    # the sender may be reading a model that a killed process left: replace it in one step
    part = recorder.journal.model.with_name("model.part")
    shutil.rmtree(part, ignore_errors=True)
    save(part)
    answers = predict(load_model(part))
    _check_agreement(score(expected), score(answers), expected, answers)
    shutil.rmtree(recorder.journal.model, ignore_errors=True)
    part.rename(recorder.journal.model)
    return answers


def sample_rows(split: Split) -> Split:
    """Return the rows that check an exported model; the first becomes its input example."""
    return split.take(np.arange(min(SAMPLE_ROWS, len(split))))


def metadata(recipe: Recipe, data: Dataset) -> dict[str, Any]:
    """Return what a client must know about a model's answers."""
    return {"recipe": recipe.name, "task": data.task, "classes": list(data.classes), "unit": data.unit}


def columns_with_gaps(data: Dataset) -> tuple[str, ...]:
    """Return a table's columns that have gaps in training, and may have them in a request."""
    rows = data.train.inputs
    return tuple(rows.columns[rows.isna().any()]) if data.is_table else ()


def difference(answers: Array, expected: Array) -> float:
    """Return the largest difference between answers, relative to the scale of the expected ones."""
    return float(np.abs(answers - expected).max() / max(1.0, float(np.abs(expected).max())))


def _predict(loaded: Any, prepared: PreparedData, split: Split) -> Array:
    """Return a loaded model's answers to a split; only a few images are in memory at a time."""
    batch = programs.PREDICTED_IMAGES if isinstance(split.inputs, ImageFiles) else len(split)
    starts = range(0, len(split), batch)
    parts = (split.take(np.arange(start, min(start + batch, len(split)))) for start in starts)
    return np.concatenate([predict_raw(loaded, _raw_inputs(prepared, part)) for part in parts])


def _raw_inputs(prepared: PreparedData, split: Split) -> Any:
    return to_client_input(prepared.data.raw(split.inputs), prepared.encoder)


def _check_agreement(
    expected_metrics: Mapping[str, float], metrics: Mapping[str, float], expected: Array, answers: Array
) -> None:
    hint = "the encoder may depend on state that is not saved; mlctl recipes check FILE tests that"
    for name, value in expected_metrics.items():
        if abs(value - metrics[name]) > METRIC_TOLERANCE * max(1.0, abs(value)):
            raise BadDataError(
                f"the logged model has {name} {metrics[name]:.6g}, the trained one {value:.6g}", hint
            )
    if (apart := difference(answers, expected)) > ANSWER_TOLERANCE:
        raise BadDataError(f"the logged model's answers differ by {apart:.2g} from the trained model's", hint)

"""Predict with a model, and express its output in the task's terms: a label with its probability, or a value."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from mlctl.adapters.predict.prediction_file import open_prediction_file
from mlctl.adapters.tracking.store import TrackingStore
from mlctl.domain.progress import NullProgress, ProgressListener
from mlctl.domain.serving import Prediction, PredictionFile, Predictions
from mlctl.errors import BadDataError, UsageError
from mlctl.recipes import resolve
from mlctl.services.evaluation.inputs import InputBatch, count_input_rows, read_batches, rows_from_frame
from mlctl.services.evaluation.predictor import (
    Array,
    PredictorInfo,
    Rows,
    count_rows,
    open_predictor,
    slice_rows,
)
from mlctl.services.recipes import prepare
from mlctl.settings import Settings

MAX_IMAGES = 8  # images that the answer shows


def predict(
    settings: Settings,
    model: str,
    inputs: list[str],
    *,
    sample: int | None = None,
    key_file: Path | None = None,
    batch_size: int = 1000,
    listener: ProgressListener | None = None,
) -> Predictions:
    """Predict the rows of inputs, or `sample` rows of the recipe's test split with their true labels.

    Raises what finding the model, reading the inputs and predicting raise.
    """
    _check_inputs(inputs, sample)
    listener = listener or NullProgress()
    with open_predictor(TrackingStore(settings.tracking_uri), model, key_file) as predictor:
        info = predictor.info
        if sample:
            rows, targets = _sample_rows(settings, info, sample, listener)
            predictions = _to_predictions(info, predictor.predict(rows), targets)
            return _answer(info, predictions, image_rows=[rows])
        predictions = []
        image_rows: list[Rows] = []
        sources: list[str] = []
        for batch, first_row in _with_positions(
            read_batches(info, inputs, size=batch_size, listener=listener)
        ):
            rows = batch.rows
            predictions += _to_predictions(info, predictor.predict(rows, first_row))
            if count_rows(rows) + sum(map(count_rows, image_rows)) <= MAX_IMAGES:
                image_rows.append(rows)
            sources += [batch.source] * count_rows(rows)
        return _answer(info, predictions, image_rows=image_rows, sources=sources)


def predict_to_file(
    settings: Settings,
    model: str,
    inputs: list[str],
    *,
    out: Path,
    key_file: Path | None = None,
    batch_size: int = 1000,
    listener: ProgressListener | None = None,
) -> PredictionFile:
    """Write predictions batch by batch to a CSV file, or to a folder of Parquet parts if `out` ends in .parquet.

    A call with the same inputs continues after the rows that an earlier call wrote. Raises what `predict` raises,
    and RefusedError if `out` exists and is something else.
    """
    _check_inputs(inputs, None)
    listener = listener or NullProgress()
    total = count_input_rows(inputs)
    with open_predictor(TrackingStore(settings.tracking_uri), model, key_file) as predictor:
        info = predictor.info
        job = {"model": info.name, "version": info.version, "inputs": inputs, "batch_size": batch_size}
        with open_prediction_file(out, job) as file:
            resumed = row = file.rows
            batches = _with_positions(read_batches(info, inputs, size=batch_size, listener=listener))
            for batch, first_row in _skip_rows(batches, resumed):
                file.write(row, _to_columns(_to_predictions(info, predictor.predict(batch.rows, first_row))))
                row += count_rows(batch.rows)
                listener.download("rows", row, total)
            file.finish()
    return PredictionFile(file=str(out), rows=row, resumed=resumed, model=info.name, version=info.version)


def _check_inputs(inputs: list[str], sample: int | None) -> None:
    if sample and inputs:
        raise UsageError(
            "--sample predicts rows of the recipe's test split", "remove the inputs, or --sample"
        )
    if not sample and not inputs:
        raise UsageError("there is no input", "name an INPUT, or use --sample 3")


def _with_positions(batches: Iterator[InputBatch]) -> Iterator[tuple[InputBatch, int]]:
    """Yield each batch with the position of its first row in its input."""
    source, position = "", 0
    for batch in batches:
        position = position if batch.source == source else 0
        yield batch, position
        source, position = batch.source, position + count_rows(batch.rows)


def _skip_rows(batches: Iterator[tuple[InputBatch, int]], skipped: int) -> Iterator[tuple[InputBatch, int]]:
    """Yield the batches without the first rows, which have predictions already."""
    for batch, position in batches:
        count = count_rows(batch.rows)
        if skipped >= count:
            skipped -= count
            continue
        yield InputBatch(slice_rows(batch.rows, skipped, count), batch.source), position + skipped
        skipped = 0


def _sample_rows(
    settings: Settings, info: PredictorInfo, number: int, listener: ProgressListener
) -> tuple[Rows, Array]:
    """Return random rows of the recipe's test split, and their targets."""
    if not info.recipe:
        raise UsageError("--sample: this model does not name its recipe", "name an INPUT instead of --sample")
    resolved = resolve(info.recipe)
    values = prepare.check_values(resolved, {})
    try:
        dataset = prepare.prepare(settings, resolved, values, listener=listener).data
    except UsageError as exc:  # the recipe has no data but the user's own
        raise UsageError(
            f"--sample: recipe {info.recipe} has no test rows of its own", "name an INPUT instead of --sample"
        ) from exc
    split = dataset.test or dataset.validation
    sample = split.take(np.random.default_rng().permutation(len(split))[:number])
    raw = dataset.raw(sample.inputs)
    if isinstance(raw, np.ndarray):
        return raw, sample.targets
    if isinstance(raw, list):
        return {info.signature.names[0]: raw}, sample.targets
    return rows_from_frame(info, raw), sample.targets


def _to_predictions(info: PredictorInfo, output: Array, targets: Array | None = None) -> list[Prediction]:
    """Return a model's output, (n, k) or (n, 1), in the task's terms."""
    if output.ndim == 1:
        output = output[:, np.newaxis]
    if output.ndim != 2 or output.dtype.kind not in "iufb":
        return [Prediction(value=value) for value in output.tolist()]
    labels = [None] * len(output) if targets is None else [_true_label(info, target) for target in targets]
    return [_to_prediction(info, row, label) for row, label in zip(output, labels, strict=True)]


def _to_prediction(info: PredictorInfo, row: Array, true_label: str | None) -> Prediction:
    classes = info.classes
    if len(row) == 1 and len(classes) == 2:
        positive = float(row[0])
        index, probability = (1, positive) if positive > 0.5 else (0, 1 - positive)
        return Prediction(label=classes[index], probability=probability, true_label=true_label)
    if len(row) > 1 and (classes or info.task == ""):
        index = int(row.argmax())
        label = classes[index] if index < len(classes) else str(index)
        return Prediction(label=label, probability=float(row[index]), true_label=true_label)
    value = float(row[0]) if len(row) == 1 else row.tolist()
    return Prediction(value=value, true_label=true_label)


def _true_label(info: PredictorInfo, target: Any) -> str:
    return info.classes[int(target)] if info.classes else f"{float(target):g}"


def _answer(
    info: PredictorInfo,
    predictions: list[Prediction],
    *,
    image_rows: list[Rows],
    sources: list[str] | None = None,
) -> Predictions:
    return Predictions(
        model=info.name,
        version=info.version,
        task=info.task,
        unit=info.unit,
        predictions=tuple(predictions),
        pictures=tuple(_gray_images(info, image_rows)),
        input_names=tuple(sources or ()),
    )


def _gray_images(info: PredictorInfo, batches: list[Rows]) -> Iterator[tuple[tuple[float, ...], ...]]:
    """Yield rows that are gray images, each (height, width) in 0..1."""
    if not info.full_scale:
        return
    for rows in batches:
        if isinstance(rows, dict) or rows.ndim not in (3, 4) or (rows.ndim == 4 and rows.shape[-1] != 1):
            return
        for image in rows[:MAX_IMAGES]:
            pixels = np.asarray(image, np.float64).reshape(image.shape[:2]) / info.full_scale
            yield tuple(tuple(line) for line in np.clip(pixels, 0, 1).tolist())


def _to_columns(predictions: list[Prediction]) -> dict[str, list[Any]]:
    """Return the columns of a prediction file."""
    if not predictions:
        raise BadDataError("the input has no rows", "check the input")
    if predictions[0].label is None:
        return {"value": [prediction.value for prediction in predictions]}
    return {
        "label": [prediction.label for prediction in predictions],
        "probability": [prediction.probability for prediction in predictions],
    }

"""Predict with a model, and express its output in the task's terms: a label with its probability, or a value."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mlctl.adapters.predict.prediction_file import open_prediction_file
from mlctl.adapters.tracking.store import TrackingStore
from mlctl.data.targets import scoring_targets
from mlctl.domain.outputs import Output
from mlctl.domain.progress import NullProgress, PredictionListener, ProgressListener
from mlctl.domain.serving import OutputPredictions, Prediction, PredictionFile, Predictions
from mlctl.errors import UsageError
from mlctl.services.evaluation.answer_columns import answer_columns
from mlctl.services.evaluation.answers import split_outputs, to_predictions
from mlctl.services.evaluation.input_files import digest
from mlctl.services.evaluation.inputs import (
    InputBatch,
    count_input_rows,
    list_inputs,
    read_batches,
    rows_from_raw,
)
from mlctl.services.evaluation.parallel import map_in_order
from mlctl.services.evaluation.predictor import (
    Answers,
    Predictor,
    PredictorInfo,
    Rows,
    count_rows,
    open_predictor,
)
from mlctl.services.evaluation.recipe_of_model import prepare_training_data
from mlctl.settings import Settings

MAX_IMAGES = 8  # images that the answer shows


def predict(
    settings: Settings,
    model: str,
    inputs: list[str],
    *,
    sample: int | None = None,
    key_file: Path | None = None,
    batch_size: int | None = None,
    listener: ProgressListener | None = None,
) -> Predictions:
    """Predict the rows of inputs, or `sample` rows of the recipe's test split with their true labels.

    Raises what finding the model, reading the inputs and predicting raise.
    """
    _check_inputs(inputs, sample)
    listener = listener or NullProgress()
    store = TrackingStore(settings.tracking_uri)
    with open_predictor(store, model, key_file) as predictor:
        info = predictor.info
        collected = _Collected(info)
        if sample:
            rows, targets = _sample_rows(settings, store, info, sample, listener)
            collected.add(rows, predictor.predict(rows), targets=targets)
            return collected.answer()
        for batch in read_batches(
            info, inputs, size=batch_size, table_rows=predictor.batch_rows, listener=listener
        ):
            rows = batch.rows
            names = batch.files or [batch.source] * batch.count
            collected.add(rows, predictor.predict(rows, batch.first_row), names=names)
        return collected.answer()


def predict_to_file(
    settings: Settings,
    model: str,
    inputs: list[str],
    *,
    out: Path,
    key_file: Path | None = None,
    batch_size: int | None = None,
    listener: PredictionListener | None = None,
) -> PredictionFile:
    """Write predictions batch by batch to a CSV file, or to a folder of Parquet parts if `out` ends in .parquet.

    A call with the same inputs continues after the rows that an earlier call wrote. A .npy or .npz file gets the
    model's whole answers instead, and is written anew. Raises what `predict` raises, and RefusedError if `out` exists
    and is something else.
    """
    _check_inputs(inputs, None)
    listener = listener or NullProgress()
    with open_predictor(TrackingStore(settings.tracking_uri), model, key_file) as predictor:
        info = predictor.info
        listed = list_inputs(info, inputs)
        total = count_input_rows(info, listed)
        job: dict[str, Any] = {"model": info.name, "version": info.version, "inputs": inputs}
        if listed.has_files:
            job["files"] = digest(listed.files)
        with open_prediction_file(out, job) as file:
            resumed = row = file.rows
            batches = read_batches(
                info, listed, size=batch_size, table_rows=predictor.batch_rows, listener=listener
            )
            answer = partial(_answer, predictor, takes_arrays=file.takes_arrays)
            for batch, columns in map_in_order(answer, _skip_rows(batches, resumed), predictor.threads):
                file.write(row, columns)
                row += batch.count
                listener.predicted(row, total)
            file.finish()
    return PredictionFile(file=str(out), rows=row, resumed=resumed, model=info.name, version=info.version)


def _answer(predictor: Predictor, batch: InputBatch, *, takes_arrays: bool) -> Mapping[str, Any]:
    """Return the answers to a batch: arrays by output name, or the columns of a prediction file."""
    answers = predictor.predict(batch.load(), batch.first_row)
    if takes_arrays:
        return answers if isinstance(answers, Mapping) else {"": answers}
    columns = answer_columns(predictor.info, answers)
    return {"file": np.array(batch.files, object), **columns} if batch.files else columns


def _check_inputs(inputs: list[str], sample: int | None) -> None:
    if sample and inputs:
        raise UsageError(
            "--sample predicts rows of the recipe's test split", "remove the inputs, or --sample"
        )
    if not sample and not inputs:
        raise UsageError("there is no input", "name an INPUT, or use --sample 3")


def _skip_rows(batches: Iterator[InputBatch], skipped: int) -> Iterator[InputBatch]:
    """Yield the batches without the first rows, which have predictions already."""
    for batch in batches:
        if skipped >= batch.count:
            skipped -= batch.count
            continue
        yield batch.without_first(skipped) if skipped else batch
        skipped = 0


def _sample_rows(
    settings: Settings, store: TrackingStore, info: PredictorInfo, number: int, listener: ProgressListener
) -> tuple[Rows, Any]:
    """Return random rows of the recipe's test split, and their targets; the first rows of a stream."""
    with tempfile.TemporaryDirectory(prefix="mlctl-recipe-") as scratch:
        try:
            prepared = prepare_training_data(settings, store, info, scratch=Path(scratch), listener=listener)
        except UsageError as exc:  # the recipe has no data but the user's own
            if "--sample" in exc.message:
                raise
            raise UsageError(
                f"--sample: recipe {info.recipe} has no test rows of its own",
                "name an INPUT instead of --sample",
            ) from exc
        split = prepared.data.test or prepared.data.validation
        if not split:
            raise UsageError(
                f"--sample: recipe {info.recipe} has neither a test nor a validation split",
                "name an INPUT instead of --sample",
            )
        rows = np.arange(number) if split.is_stream else np.random.default_rng().permutation(len(split))
        sample = split.take(rows[:number])
        return rows_from_raw(info, prepared.data.raw(sample.inputs)), sample.targets


class _Collected:
    """Predictions of all batches, in the terms of the model's outputs."""

    def __init__(self, info: PredictorInfo) -> None:
        self._info = info
        self._outputs: dict[str, Output] = {}
        self._predictions: dict[str, list[Prediction]] = {}
        self._image_rows: list[Rows] = []
        self._sources: list[str] = []

    def add(self, rows: Rows, answers: Answers, *, targets: Any = None, names: Sequence[str] = ()) -> None:
        """Add the answers to some rows; `targets` are as the recipe's `load` returned them."""
        outputs = split_outputs(self._info, answers)
        truths = _truths(self._info, targets)
        for output, array in outputs:
            predictions = to_predictions(output, array, truths.get(output.name))
            self._outputs[output.name] = output
            self._predictions.setdefault(output.name, []).extend(predictions)
        if count_rows(rows) + sum(map(count_rows, self._image_rows)) <= MAX_IMAGES or targets is not None:
            self._image_rows.append(rows)
        self._sources += names

    def answer(self) -> Predictions:
        """Return everything that was added."""
        info = self._info
        predictions = list(self._predictions.values())
        is_single = len(predictions) <= 1
        single = predictions[0] if len(predictions) == 1 else []
        return Predictions(
            model=info.name,
            version=info.version,
            task=info.task,
            unit=info.unit,
            kind=next((output.kind for output in self._outputs.values()), "") if is_single else "",
            predictions=tuple(single),
            outputs=()
            if is_single
            else tuple(
                OutputPredictions(output, tuple(self._predictions[name]))
                for name, output in self._outputs.items()
            ),
            pictures=tuple(_gray_images(info, self._image_rows)),
            input_names=tuple(self._sources),
        )


def _truths(info: PredictorInfo, targets: Any) -> dict[str, Any]:
    """Return the true classes or values of each output; {} if they are not known."""
    if targets is None or not info.outputs:
        return {}
    converted = scoring_targets(info.outputs, targets)
    if isinstance(converted, Mapping):
        return dict(converted)
    return {info.outputs[0].name: converted}


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

"""Asking a model, and saying its answers as people mean them: a label with its probability, or a value."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from mlctl.adapters.predict.prediction_file import opened
from mlctl.domain.progress import NullProgress, ProgressListener
from mlctl.domain.serving import Prediction, PredictionFile, Predictions
from mlctl.errors import BadDataError, UsageError
from mlctl.services.evaluation import inputs
from mlctl.services.evaluation.inputs import Batch
from mlctl.services.evaluation.predictor import About, Array, Rows, asked, length, take
from mlctl.services.recipes import prepare
from mlctl.settings import Settings

DRAWN = 8  # pictures that are shown


def predict(
    settings: Settings,
    model: str,
    given: list[str],
    sample: int | None = None,
    key_file: Path | None = None,
    batch_size: int = 1000,
    listener: ProgressListener | None = None,
) -> Predictions:
    """Answer inputs, or `sample` rows of the recipe's test split with their true labels.

    Raises what finding the model, reading the inputs and asking raise.
    """
    _check(given, sample)
    with asked(settings, model, key_file) as one:
        if sample:
            rows, truths = _sampled(settings, one.about, sample, listener or NullProgress())
            return _answer(one.about, _said(one.about, one.answer(rows), truths), [rows], ())
        said: list[Prediction] = []
        seen: list[Rows] = []
        names: list[str] = []
        for batch, first in _placed(inputs.batches(one.about, given, batch_size, listener or NullProgress())):
            said += _said(one.about, one.answer(batch.rows, first))
            if length(batch.rows) + sum(length(rows) for rows in seen) <= DRAWN:
                seen.append(batch.rows)
            names += [batch.source] * length(batch.rows)
        return _answer(one.about, said, seen, tuple(names))


def predict_to_file(
    settings: Settings,
    model: str,
    given: list[str],
    out: Path,
    key_file: Path | None = None,
    batch_size: int = 1000,
    listener: ProgressListener | None = None,
) -> PredictionFile:
    """Answer inputs batch by batch into a CSV file, or a folder of Parquet parts where `out` ends in .parquet.

    What an earlier call with the same inputs wrote is kept and gone on from. Raises as `predict`, and
    RefusedError where `out` is something else.
    """
    _check(given, None)
    watching = listener or NullProgress()
    total = inputs.count(given)
    with asked(settings, model, key_file) as one:
        about = one.about
        job = {"model": about.name, "version": about.version, "inputs": given, "batch_size": batch_size}
        with opened(out, job) as file:
            resumed = done = file.rows
            found = _placed(inputs.batches(about, given, batch_size, watching))
            for batch, first in _after(found, resumed):
                file.write(done, _fields(_said(about, one.answer(batch.rows, first))))
                done += length(batch.rows)
                watching.download("rows", done, total)
            file.finish()
    return PredictionFile(str(out), done, resumed, about.name, about.version)


def _check(given: list[str], sample: int | None) -> None:
    if sample and given:
        raise UsageError("--sample takes rows of the recipe's test split", "leave the inputs out")
    if not sample and not given:
        raise UsageError("there is nothing to predict", "give an INPUT, or --sample 3")


def _placed(found: Iterator[Batch]) -> Iterator[tuple[Batch, int]]:
    """Yield each batch with the place of its first row in its input."""
    source, first = "", 0
    for batch in found:
        first = first if batch.source == source else 0
        yield batch, first
        source, first = batch.source, first + length(batch.rows)


def _after(found: Iterator[tuple[Batch, int]], skipped: int) -> Iterator[tuple[Batch, int]]:
    """Leave out the first rows, which were answered before."""
    for batch, first in found:
        count = length(batch.rows)
        if skipped >= count:
            skipped -= count
            continue
        yield Batch(take(batch.rows, skipped, count), batch.source), first + skipped
        skipped = 0


def _sampled(settings: Settings, about: About, number: int, listener: ProgressListener) -> tuple[Rows, Array]:
    if not about.recipe:
        raise UsageError("this model does not say which recipe made it", "give an INPUT in place of --sample")
    recipe, values = prepare.recipe_values(about.recipe, {})
    try:
        data = prepare.prepare(settings, recipe, values, None, None, listener).data
    except UsageError as exc:  # it has no data but what a user brings
        raise UsageError(
            f"--sample: recipe {recipe.name} has no test rows of its own",
            "give an INPUT in place of --sample",
        ) from exc
    split = data.test or data.validation
    chosen = split.take(np.random.default_rng().permutation(len(split))[:number])
    raw = data.raw(chosen.inputs)
    if isinstance(raw, np.ndarray):
        return raw, chosen.targets
    if isinstance(raw, list):
        return {about.signature.names[0]: raw}, chosen.targets
    return inputs.of_frame(about, raw), chosen.targets


def _said(about: About, answers: Array, truths: Array | None = None) -> list[Prediction]:
    """Return answers (n, k) or (n, 1) in the task's words."""
    if answers.ndim == 1:
        answers = answers[:, np.newaxis]
    if answers.ndim != 2 or answers.dtype.kind not in "iufb":
        return [Prediction(value=value) for value in answers.tolist()]
    known = [None] * len(answers) if truths is None else [_truth(about, one) for one in truths]
    return [_one(about, row, truth) for row, truth in zip(answers, known, strict=True)]


def _one(about: About, row: Array, truth: str | None) -> Prediction:
    classes = about.classes
    if len(row) == 1 and len(classes) == 2:
        positive = float(row[0])
        best, probability = (1, positive) if positive > 0.5 else (0, 1 - positive)
        return Prediction(classes[best], probability, true_label=truth)
    if len(row) > 1 and (classes or about.task == ""):
        best = int(row.argmax())
        label = classes[best] if best < len(classes) else str(best)
        return Prediction(label, float(row[best]), true_label=truth)
    value = float(row[0]) if len(row) == 1 else row.tolist()
    return Prediction(value=value, true_label=truth)


def _truth(about: About, target: Any) -> str:
    return about.classes[int(target)] if about.classes else f"{float(target):g}"


def _answer(
    about: About, said: list[Prediction], seen: list[Rows], names: tuple[str, ...]
) -> Predictions:  # fmt: skip
    return Predictions(
        about.name, about.version, about.task, about.unit, tuple(said), tuple(_drawable(about, seen)), names
    )


def _drawable(about: About, seen: list[Rows]) -> Iterator[tuple[tuple[float, ...], ...]]:
    """Yield pictures in one colour, each (height, width) in 0..1, where the rows are such."""
    scale = about.full_scale
    if not scale:
        return
    for rows in seen:
        if isinstance(rows, dict) or rows.ndim not in (3, 4) or (rows.ndim == 4 and rows.shape[-1] != 1):
            return
        for one in rows[:DRAWN]:
            flat = np.clip(np.asarray(one, np.float64).reshape(one.shape[:2]) / scale, 0, 1)
            yield tuple(tuple(line) for line in flat.tolist())


def _fields(said: list[Prediction]) -> dict[str, list[Any]]:
    """Return the columns that a file holds."""
    if not said:
        raise BadDataError("there are no rows", "look at the input")
    if said[0].label is None:
        return {"value": [one.value for one in said]}
    return {"label": [one.label for one in said], "probability": [one.probability for one in said]}

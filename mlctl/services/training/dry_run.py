"""The steps of mlctl recipes check that need Keras and MLflow: build, train a step, save, load, serve."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from mlctl.adapters.keras import programs, runtime
from mlctl.adapters.keras.fit import Model
from mlctl.adapters.models.load import load_model, predict_raw, to_client_input
from mlctl.adapters.models.save import save_model
from mlctl.errors import BadDataError, UsageError
from mlctl.scores import compute_scores
from mlctl.services.recipes.prepare import PreparedData, recipe_errors
from mlctl.services.training.logged_model import ANSWER_TOLERANCE, columns_with_gaps, difference, metadata
from mlctl.units import format_size

Array = np.ndarray[Any, Any]


def dry_run(prepared: PreparedData) -> Iterator[tuple[str, str]]:
    """Yield each step with its result; raises BadDataError that names what is wrong."""
    recipe, file = prepared.recipe, prepared.recipe.source_file()
    runtime.start_session(0, runtime.FLOAT32)
    with recipe_errors(recipe, "building its model"):
        model = recipe.build(prepared.values, prepared.data)
    _check_model(prepared, model)
    yield "build", f"{model.count_params():,} parameters"
    with recipe_errors(recipe, "training its model"):
        loss, answers = _train_one_step(prepared, model)
    if not np.isfinite(loss) or not np.isfinite(answers).all():
        raise BadDataError(
            f"{file}: after one step the loss is {loss}",
            "check the loss function and the scale of the inputs",
        )
    data, objective = prepared.data, prepared.objective
    metrics = {
        *programs.current_metrics(model),
        *compute_scores(data.train.targets, answers, len(data.classes)),
    }
    if objective.metric.removeprefix("val_") not in metrics:
        raise UsageError(
            f"{file}: training does not measure the objective {objective.metric!r}",
            f"there are: {', '.join(f'val_{name}' for name in sorted(metrics))}",
        )
    yield "step", f"loss {loss:.4g} on {len(data.train)} rows"
    yield from _save_and_serve(prepared, model, answers)


def _check_model(prepared: PreparedData, model: Any) -> None:
    file, data = prepared.recipe.source_file(), prepared.data
    if model is None or not getattr(model, "compiled", False):
        raise BadDataError(f"{file}: build() must return a compiled model", "end it with model.compile(…)")
    classes = len(data.classes)
    allowed = {classes} if classes > 2 else {1, classes} if classes else {1}
    width = model.output_shape[-1]
    if width not in allowed:
        raise BadDataError(
            f"{file}: the model returns {width} numbers per row for {data.task} of {classes} classes",
            f"give its last layer {max(allowed)} units",
        )


def _train_one_step(prepared: PreparedData, model: Model) -> tuple[float, Array]:
    """Train on one batch of all rows; return the loss and the model's answers."""
    data = prepared.data
    inputs = prepared.encoded(data.train)
    targets = programs.encode_targets(model, data.train.targets, len(data.classes))
    program = programs.make_program(model, inputs, targets, len(targets))
    program.begin_epoch(np.arange(len(targets)))
    program.train(0, 1)
    loss = programs.current_metrics(model)["loss"]
    answers, _ = programs.predict(programs.make_predictor(model, inputs), inputs, targets)
    return loss, answers


def _save_and_serve(prepared: PreparedData, model: Model, answers: Array) -> Iterator[tuple[str, str]]:
    data, recipe = prepared.data, prepared.recipe
    with tempfile.TemporaryDirectory(prefix="mlctl-check-") as temporary:
        folder = Path(temporary) / "model"
        raw = to_client_input(data.raw(data.train.inputs), prepared.encoder)
        with recipe_errors(recipe, "saving its model"):
            served_by = save_model(
                folder,
                model,
                encoder=prepared.encoder,
                raw=raw,
                encoded=programs.to_dense(prepared.encoded(data.train)),
                metadata=metadata(recipe, data),
                optional_columns=columns_with_gaps(data),
            )
        size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
        yield "save", f"{format_size(size)}, served by {served_by}"
        with recipe_errors(recipe, "loading its saved model"):
            loaded = load_model(folder)
        yield "load back", "MLflow loads it"
        with recipe_errors(recipe, "answering with its saved model"):
            served = predict_raw(loaded, raw)
    if (apart := difference(served, answers)) > ANSWER_TOLERANCE:
        raise BadDataError(
            f"{recipe.source_file()}: the saved model's answers differ by {apart:.2g} from the trained model's",
            "the encoder may depend on something that state() does not return",
        )
    yield "serve", f"{len(served)} rows, answers as trained"

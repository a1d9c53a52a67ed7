"""The part of mlctl recipes check that needs Keras and MLflow at hand: build, a step, save, load, serve."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mlctl.adapters.keras import programs
from mlctl.adapters.keras import runtime as framework
from mlctl.adapters.models import save
from mlctl.errors import BadDataError, UsageError
from mlctl.scores import scores
from mlctl.services.recipes.prepare import PreparedData, recipe_errors

if TYPE_CHECKING:
    from mlctl.services.workflows.check_recipe import Checking


def dry_run(prepared: PreparedData, checking: Checking, rows: int, same: float) -> None:
    """Build, train on one batch, save, load back, and answer; raises BadDataError that names what is wrong."""
    recipe, data, where = prepared.recipe, prepared.data, prepared.recipe.source_file()
    framework.begin(0, framework.FLOAT32)
    with recipe_errors(recipe, "building its model"):
        model = recipe.build(prepared.values, data)
    if model is None or not getattr(model, "compiled", False):
        raise BadDataError(f"{where}: build() must return a compiled model", "end it with model.compile(…)")
    classes = len(data.classes)
    wanted = {classes} if classes > 2 else {1, classes} if classes else {1}
    width = model.output_shape[-1]
    if width not in wanted:
        raise BadDataError(
            f"{where}: the model answers with {width} numbers a row for {data.task} of {classes} classes",
            f"let its last layer have {max(wanted)}",
        )
    checking.done("build", f"{model.count_params():,} parameters")
    with recipe_errors(recipe, "training its model"):
        encoded, targets = (
            prepared.encoded(data.train),
            programs.targets_for(model, data.train.targets, classes),
        )
        program = programs.program_for(model, encoded, targets, len(targets))
        program.begin_epoch(np.arange(len(targets)))
        program.train(0, 1)
        loss = programs.results(model)["loss"]
        predictor = programs.predictor_for(model, encoded)
        answers, _ = programs.predict(predictor, encoded, targets)
    if not np.isfinite(loss) or not np.isfinite(answers).all():
        raise BadDataError(
            f"{where}: after one step the loss is {loss}", "look at the loss and the inputs' scale"
        )
    measured = {*programs.results(model), *scores(data.train.targets, answers, classes)}
    if recipe.objective.metric.removeprefix("val_") not in measured:
        raise UsageError(
            f"{where}: the objective {recipe.objective.metric!r} is none of what training measures",
            f"there are: {', '.join(f'val_{name}' for name in sorted(measured))}",
        )
    checking.done("step", f"loss {loss:.4g} on {len(targets)} rows")
    _save_and_serve(prepared, model, answers, checking, same)


def _save_and_serve(
    prepared: PreparedData, model: object, answers: np.ndarray, checking: Checking, same: float
) -> None:
    data, recipe = prepared.data, prepared.recipe
    with tempfile.TemporaryDirectory(prefix="mlctl-check-") as temporary:
        folder = Path(temporary) / "model"
        raw = save.client_input(data.raw(data.train.inputs), prepared.encoder)
        encoded = programs.dense(prepared.encoded(data.train))
        gaps = tuple(data.train.inputs.columns[data.train.inputs.isna().any()]) if data.is_table else ()
        about = {"recipe": recipe.name, "task": data.task, "classes": list(data.classes), "unit": data.unit}
        with recipe_errors(recipe, "saving its model"):
            runtime = save.save(folder, model, prepared.encoder, raw, encoded, about, gaps)
        size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
        checking.done("save", f"{size / 1e6:.1f} MB, served by {runtime}")
        with recipe_errors(recipe, "loading its saved model"):
            loaded = save.load(folder)
        checking.done("load back", "MLflow loads it")
        with recipe_errors(recipe, "answering with its saved model"):
            found = save.answer(loaded, raw)
    apart = float(np.abs(found - answers).max() / max(1.0, float(np.abs(answers).max())))
    if apart > same:
        raise BadDataError(
            f"{recipe.source_file()}: the saved model's answers differ by {apart:.2g} from the trained one's",
            "the encoder may depend on something that state() does not return",
        )
    checking.done("serve", f"{len(found)} rows, answers as trained")

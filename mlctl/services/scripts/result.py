"""What a script's run records when the script has ended: the logged model, its scores, plots and report."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mlctl.adapters.keras.outputs import infer_outputs
from mlctl.adapters.scripts.fit_data import dataset_of_fit, split_of
from mlctl.adapters.scripts.fit_params import params_of_fit
from mlctl.data.content_digest import digest_dataset
from mlctl.data.trees import map_tree
from mlctl.domain.tags import OBJECTIVE_TAG
from mlctl.recipes import Recipe
from mlctl.services.recipes.prepare import PreparedData
from mlctl.services.scripts.observer import Evaluation, FittedModel
from mlctl.services.scripts.record import ScriptRecord
from mlctl.services.training import report
from mlctl.services.training.logged_model import log_keras_model


def log_result(record: ScriptRecord, fitted: FittedModel, evaluations: list[Evaluation]) -> None:
    """Log the model of the kept epoch with its scores; raises BadDataError if it cannot be saved and loaded again."""
    recorder, progress = record.recorder, fitted.progress
    prepared = _prepared(record, fitted, evaluations[-1] if evaluations else None)
    recorder.log_data(prepared.reference)
    recorder.set_tags({**report.data_tags(prepared.reference), OBJECTIVE_TAG: str(progress.objective)})
    model = fitted.model
    model.set_weights(progress.best_weights)
    data = prepared.data
    split = data.test or data.validation
    logged = log_keras_model(recorder, prepared, model, split, listener=record.listener)
    best = progress.best
    recorder.log_model(params_of_fit(model, fitted.arguments), step=best.number)
    summary = {"best_epoch": best.number}
    summary |= {f"best_{name}": value for name, value in best.metrics.items() if name.startswith("val_")}
    prefix = "test" if data.test else "best_val"
    summary |= {f"{prefix}_{name}": value for name, value in logged.scores.items()}
    if evaluations:
        summary |= {f"test_{name}": value for name, value in evaluations[-1].results.items()}
    recorder.log_metrics(summary, step=best.number, of_model=True)
    report.write(recorder, None, data=data, model=model, progress=progress)


def _prepared(record: ScriptRecord, fitted: FittedModel, evaluation: Evaluation | None) -> PreparedData:
    """Return the script's data in the form of a recipe's."""
    recipe = script_recipe(record.request.name, record.program.file)()
    data = dataset_of_fit(record.request.name, fitted.arguments)
    if evaluation is not None:
        arguments = evaluation.arguments
        test = split_of(arguments.get("x"), arguments.get("y"), arguments.get("sample_weight"))
        data = dataclasses.replace(data, test=test)
    content = digest_dataset(data, {})
    sample = data.train.take(_first_rows(data.train))
    data = dataclasses.replace(
        data,
        source=str(record.program.file),
        sha256=content.sha256,
        files=content.files,
        input_shape=map_tree(lambda leaf: tuple(leaf.shape[1:]), sample.inputs),
    )
    infer_outputs(fitted.model, data)
    return PreparedData(recipe=recipe, values=recipe.values({}), data=data, encoder=None)


def script_recipe(name: str, file: Path) -> type[Recipe]:
    """Return a recipe class that stands for a script: it gives its name and its file to what records models."""
    source_file: Callable[[type[Recipe]], Path] = lambda cls: file  # noqa: E731
    return type("Script", (Recipe,), {"name": name, "source_file": classmethod(source_file)})


def _first_rows(split: Any) -> Any:
    import numpy as np

    return np.arange(min(64, len(split)))

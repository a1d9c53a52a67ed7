"""Score a logged model on data.

On a recipe's data, and on the file that the model was trained on, the score is that of the test split, so it equals
the test_* metrics that the training logged. On a file that the model was not trained on, all rows count. Classes are
matched by name.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from mlctl.adapters.models.load import open_model, to_client_input
from mlctl.adapters.tracking.store import TrackingStore
from mlctl.data.dataset import Dataset, Split
from mlctl.data.sources.locate import local_path
from mlctl.data.targets import scoring_targets
from mlctl.domain.outputs import Outputs, outputs_of
from mlctl.domain.progress import NullProgress, ProgressListener, WithoutMessages
from mlctl.domain.recipes import OWN_DATA_RECIPES
from mlctl.domain.registry import Evaluation, ModelReference
from mlctl.domain.run import DataReference, Run
from mlctl.errors import BadDataError, NotFoundError
from mlctl.recipes import Recipe, ResolvedRecipe, find, names, resolve
from mlctl.scores import only, score_outputs, score_split
from mlctl.services.evaluation.intervals import score_intervals
from mlctl.services.evaluation.labelled_data import LabelledData, open_labelled_data
from mlctl.services.evaluation.model_targets import HINT, model_targets
from mlctl.services.evaluation.predictor import Array, open_predictor
from mlctl.services.evaluation.split_answers import predict_split
from mlctl.services.recipes import prepare
from mlctl.services.recipes.prepare import PreparedData
from mlctl.services.recipes.user_code import own_errors, recipe_errors
from mlctl.services.runs.metrics import objective_of
from mlctl.settings import Settings

ALL_ROWS = "all"


class EvaluationSet(Protocol):
    """Rows with their targets, on which any number of models can be scored."""

    @property
    def split(self) -> str:
        """Name of the split: test, validation, or all."""

    @property
    def deciding_metric(self) -> str:
        """The metric that decides which of two models is better."""

    def evaluate(self, store: TrackingStore, model: ModelReference) -> Evaluation:
        """Score a model; raises BadDataError if its predictions do not fit this data."""


@dataclass(frozen=True, kw_only=True)
class SplitSet:
    """A recipe's test split, or its validation split if it has no test split."""

    prepared: PreparedData
    split: str
    rows: Split

    @property
    def data(self) -> Dataset:
        """The data that the split belongs to."""
        return self.prepared.data

    @property
    def deciding_metric(self) -> str:
        """The metric of the objective."""
        return self.prepared.objective.metric.removeprefix("val_")

    def evaluate(self, store: TrackingStore, model: ModelReference) -> Evaluation:
        """Score a model."""
        recipe = self.prepared.recipe
        with open_model(store, model.uri) as loaded_model:
            with own_errors(recipe, "reading its data"):
                found = predict_split(
                    loaded_model,
                    self.rows,
                    lambda inputs: to_client_input(self.data.raw(inputs), self.prepared.encoder),
                )
            outputs = outputs_of(loaded_model.metadata or _metadata_of(self.data))
        outputs, targets = model_targets(model.uri, outputs, self.data, found.targets)
        _check_shapes(model.uri, recipe.name, outputs, found.answers, rows=len(self.rows))
        with recipe_errors(recipe, "scoring"):
            metrics = score_split(outputs, targets, found.answers, weights=found.weights, own=recipe.scores)
        if not metrics:
            raise BadDataError(
                f"{model.uri} has no answers that the targets of {recipe.name} can score",
                "write scores(self, targets, predictions) in the recipe",
            )
        return Evaluation(
            model=model,
            recipe=recipe.name,
            split=self.split,
            rows=len(self.rows),
            metrics=metrics,
            data=self.prepared.reference,
            intervals=score_intervals(outputs, scoring_targets(outputs, targets), found.answers, metrics),
        )


@dataclass(frozen=True, kw_only=True)
class FullSet:
    """All rows of a user's own file or folder, read for each model as `mlctl predict` reads them."""

    data: LabelledData
    recipe: str
    reference: DataReference
    deciding_metric: str
    split: str = ALL_ROWS

    def evaluate(self, store: TrackingStore, model: ModelReference) -> Evaluation:
        """Score a model."""
        with open_predictor(store, model.uri) as predictor:
            info = predictor.info
            if not info.task:
                raise BadDataError(
                    f"{model.uri} does not say what its predictions mean",
                    "evaluate a model that mlctl logged",
                )
            has_label, targets = self.data.targets(info)
            predictions = np.concatenate([predictor.predict(rows) for rows in self.data.batches(info)])
        described = (
            info.outputs
            if len(info.outputs) == 1
            else outputs_of({"classes": info.classes, "unit": info.unit})
        )
        outputs = (replace(described[0], numbering="zero" if info.classes else ""),)
        _check_shapes(model.uri, self.recipe, outputs, predictions, rows=len(has_label))
        metrics = _defined_scores(outputs, targets, predictions[has_label])
        return Evaluation(
            model=model,
            recipe=self.recipe,
            split=self.split,
            rows=len(targets),
            metrics=metrics,
            intervals=score_intervals(outputs, targets, predictions[has_label], metrics),
            data=replace(self.reference, rows=len(targets), splits={self.split: len(targets)}),
        )


def load_evaluation_set(
    settings: Settings,
    store: TrackingStore,
    source: str,
    *,
    data: str | None = None,
    rows: int | None = None,
    overrides: Mapping[str, Any] | None = None,
    listener: ProgressListener | None = None,
    models: Iterable[ModelReference] = (),
) -> EvaluationSet:
    """Load data, and choose the rows on which `models` are scored.

    Data options, such as a table's target or the split, are those of the run that made one of the models: the first
    model that was trained on exactly this data. So none of its training rows is in the test split. If no model was
    trained on a user's own data, all of its rows count.

    Args:
        settings: Settings in force.
        store: The tracking store of the models' runs.
        source: A recipe's name, a recipe file, or the user's own data.
        data: As in `mlctl train --data`.
        rows: As in `mlctl train --rows`.
        overrides: Data options that go before those of a run.
        listener: Receives progress messages.
        models: The models to score.
    """
    listener = listener or NullProgress()
    overrides = overrides or {}
    runs: Sequence[Run] = _runs_of(store, models)
    resolved = _resolve_recipe(source, runs)
    recipe = resolved.recipe
    is_own_data = (
        recipe.name in OWN_DATA_RECIPES and (data or resolved.own_data) and data != prepare.SYNTHETIC
    )
    if is_own_data:
        full_set, runs = _full_set(
            settings, resolved, runs, data=data, rows=rows, overrides=overrides, listener=listener
        )
        if full_set is not None:
            return full_set
    values = recipe.values({**_data_options(recipe, runs), **overrides})
    # training has shown what it found in the data
    prepared = prepare.prepare(
        settings, resolved, values, data=data, rows=rows, listener=WithoutMessages(listener)
    )
    dataset = prepared.data
    if any(run.params.get("folds") for run in runs) and dataset.extra.get("is_test_random"):
        listener.message(
            "the model was trained on all of these rows (--folds), so these scores are too good:"
            " those of its folds are honest"
        )
    if dataset.test:
        return SplitSet(prepared=prepared, split="test", rows=dataset.test)
    return SplitSet(prepared=prepared, split="validation", rows=dataset.validation)


def _full_set(
    settings: Settings,
    resolved: ResolvedRecipe,
    runs: Sequence[Run],
    *,
    data: str | None,
    rows: int | None,
    overrides: Mapping[str, Any],
    listener: ProgressListener,
) -> tuple[FullSet | None, Sequence[Run]]:
    """Return all rows of the user's own data; or None, and the runs that were trained on this data, if there are any."""
    recipe = resolved.recipe
    values = recipe.values({**_data_options(recipe, runs), **overrides})
    source = prepare.data_source(settings, resolved, values, data=data, rows=rows, listener=listener)
    path = local_path(source)
    labelled_data = open_labelled_data(recipe.name, path, values)
    sha256, size_bytes = labelled_data.digest()
    trained_on_it = [run for run in runs if run.data and run.data.sha256 == sha256]
    if trained_on_it:
        return None, trained_on_it
    if not all(run.data and run.data.sha256 for run in runs) or not runs:
        listener.message(
            f"{path.name}: all rows count; the model's training data is unknown and may include some of them"
        )
    else:
        listener.message(f"{path.name}: all rows count, because the model was not trained on this data")
    objectives = [objective_of(run) for run in runs]
    objective = next((objective for objective in objectives if objective), recipe.objective)
    full_set = FullSet(
        data=labelled_data,
        recipe=recipe.name,
        reference=DataReference(
            name=path.name.partition(".")[0],
            source=source.location or str(path),
            sha256=sha256,
            rows=0,
            size_bytes=size_bytes,
        ),
        deciding_metric=objective.metric.removeprefix("val_"),
    )
    return full_set, runs


def _metadata_of(data: Dataset) -> Mapping[str, Any]:
    """Return the metadata of a model of another program, which is taken to answer what the data has."""
    if data.outputs:
        return {"outputs": [output.to_json() for output in data.outputs]}
    return {"classes": data.classes, "unit": data.unit}


def _check_shapes(model: str, recipe: str, outputs: Outputs, answers: Any, *, rows: int) -> None:
    """Raise BadDataError if the answers are not those of these outputs, or not one for each row."""
    names = [output.name for output in outputs]
    if len(outputs) > 1 and (not isinstance(answers, Mapping) or not set(names) <= set(answers)):
        found = ", ".join(answers) if isinstance(answers, Mapping) else f"an array of shape {answers.shape}"
        raise BadDataError(f"{model} predicts {found}, and {recipe} needs {', '.join(names)}", HINT)
    for output in outputs:
        array = np.asarray(answers[output.name] if len(outputs) > 1 else only(answers))
        classes = len(output.classes)
        expected = (rows, classes) if output.kind in ("classes", "labels") else (rows, *array.shape[1:])
        if array.shape != expected and not (classes == 2 and array.shape == (rows, 1)):
            raise BadDataError(
                f"{model} predicts an array of shape {array.shape}, and {recipe} needs {expected}", HINT
            )


def _defined_scores(outputs: Outputs, targets: Array, predictions: Array) -> dict[str, float]:
    """Return the scores that are defined for these rows: a single class has no f1, a single value no r2."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn warns about r2 of a single row
        values = score_outputs(outputs, targets, predictions)
    if len(np.unique(targets)) > 1:
        return values
    return {name: value for name, value in values.items() if name in ("accuracy", "mae", "rmse")}


def _resolve_recipe(source: str, runs: Sequence[Run]) -> ResolvedRecipe:
    """Return the recipe of a source; a user's own data is read by the recipe that trained the model."""
    path = Path(source).expanduser()
    name = next((run.recipe for run in runs if run.recipe in OWN_DATA_RECIPES), "")
    if name and path.exists() and not source.endswith(".py") and source not in names():
        return ResolvedRecipe(find(name), source)
    return resolve(source)


def _runs_of(store: TrackingStore, models: Iterable[ModelReference]) -> list[Run]:
    """Return the runs that made the models; a model may still exist after its run was deleted."""
    runs = []
    for run_id in dict.fromkeys(model.run_id for model in models if model.run_id):
        try:
            runs.append(store.get_run(run_id))
        except NotFoundError:
            continue
    return runs


def _data_options(recipe: Recipe, runs: Sequence[Run]) -> dict[str, str]:
    """Return the data options of the first run of this recipe."""
    run = next((run for run in runs if run.recipe == recipe.name), None)
    if run is None:
        return {}
    declared = recipe.declared()
    known = {name: declared.get(name.partition(".")[0]) for name in run.params}
    return {
        name: run.params[name]
        for name, parameter in known.items()
        if parameter and parameter.data and run.params[name]
    }

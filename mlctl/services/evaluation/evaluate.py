"""What a logged model reaches on data now.

On a recipe's data, and on the very file that the model was trained on, that is the test split, and gives the
figures that training logs as test_*. Of a file that it never saw, all rows count. Classes are compared by name.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from mlctl.adapters.models.load import client_input, loaded
from mlctl.adapters.tracking.store import TrackingStore
from mlctl.data.dataset import Dataset, Split, class_numbers
from mlctl.data.sources.locate import given_path
from mlctl.domain.progress import NullProgress, ProgressListener
from mlctl.domain.registry import Evaluation, ModelReference
from mlctl.domain.run import DataReference, Run
from mlctl.errors import BadDataError, NotFoundError
from mlctl.recipes import Recipe, find, names
from mlctl.scores import scores
from mlctl.services.evaluation import labelled_data
from mlctl.services.evaluation.predictor import Array, asked
from mlctl.services.recipes import prepare
from mlctl.services.recipes.prepare import PreparedData
from mlctl.services.runs.select import parse_objective
from mlctl.settings import Settings

ALL = "all"


class EvaluationSet(Protocol):
    """Rows with their targets, ready for any number of models; `name` is the split, `decides` the metric."""

    @property
    def name(self) -> str:
        """The split: test, validation, or all."""

    @property
    def decides(self) -> str:
        """The metric by which one model is better than another."""

    def take(self, store: TrackingStore, model: ModelReference) -> Evaluation:
        """Score one model; raises BadDataError where it does not answer this data as it should."""


@dataclass(frozen=True)
class SplitSet:
    """A recipe's test split, or its validation split where it has none."""

    prepared: PreparedData
    name: str
    split: Split

    @property
    def data(self) -> Dataset:
        """The data that the split is of."""
        return self.prepared.data

    @property
    def decides(self) -> str:
        """The recipe's own objective."""
        return self.prepared.recipe.objective.metric.removeprefix("val_")

    def take(self, store: TrackingStore, model: ModelReference) -> Evaluation:
        """Score one model."""
        raw = client_input(self.data.raw(self.split.inputs), self.prepared.encoder)
        with loaded(store, model.uri) as found:
            answers = found.answer(raw)
            told = found.told
        classes, recipe = self.data.classes, self.prepared.recipe.name
        targets = self.split.targets
        if told:
            known = tuple(told.get("classes") or ())
            _check_task(model.uri, bool(known), bool(classes), recipe)
            targets = class_numbers(classes, known, model.uri)[targets] if classes else targets
            classes = known
        _check_shape(model.uri, answers, len(targets), len(classes), recipe)
        reached = scores(targets, answers, len(classes))
        return Evaluation(model, recipe, self.name, len(self.split), reached, self.prepared.reference)


@dataclass(frozen=True)
class FullSet:
    """All rows of a file or folder of a user's, read for each model as `mlctl predict` reads them."""

    settings: Settings
    rows: labelled_data.Labelled
    recipe: str
    reference: DataReference
    decides: str
    name: str = ALL

    def take(self, store: TrackingStore, model: ModelReference) -> Evaluation:
        """Score one model."""
        with asked(self.settings, model.uri, None) as one:
            if not one.about.task:
                raise BadDataError(
                    f"{model.uri} does not say what its answers mean",
                    "evaluate scores models that mlctl logged",
                )
            there, targets = self.rows.targets(one.about)
            answers = np.concatenate([one.answer(some) for some in self.rows.rows(one.about)])
        classes = len(one.about.classes)
        _check_shape(model.uri, answers, len(there), classes, self.recipe)
        reached = _defined(targets, answers[there], classes)
        reference = replace(self.reference, rows=len(targets), splits={self.name: len(targets)})
        return Evaluation(model, self.recipe, self.name, len(targets), reached, reference)


def _check_task(model: str, classifies: bool, classes: bool, recipe: str) -> None:
    if classifies != classes:
        kinds = {True: "classes", False: "values"}
        raise BadDataError(
            f"{model} answers {kinds[classifies]} where {recipe} wants {kinds[classes]}",
            "evaluate it on the data that it was made for",
        )


def _check_shape(model: str, answers: Array, rows: int, classes: int, recipe: str) -> None:
    wanted = (rows, max(1, classes))
    if answers.shape != wanted and not (classes == 2 and answers.shape == (rows, 1)):
        raise BadDataError(
            f"{model} answers {answers.shape} where {recipe} wants {wanted}",
            "evaluate it on the data that it was made for",
        )


def _defined(targets: Array, answers: Array, classes: int) -> dict[str, float]:
    """Return the scores that these rows can give: one class alone has no f1, one value no r2."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn's word on r2 of one row
        found = scores(targets, answers, classes)
    if len(np.unique(targets)) > 1:
        return found
    return {name: value for name, value in found.items() if name in ("accuracy", "mae", "rmse")}


def examine(
    settings: Settings,
    source: str,
    data: str | None = None,
    rows: int | None = None,
    given: Mapping[str, Any] | None = None,
    listener: ProgressListener | None = None,
    models: Iterable[ModelReference] = (),
) -> EvaluationSet:
    """Load data, and choose what `models` are scored on; `data`, `rows` and `given` are as `mlctl train` has them.

    Data options (a table's target, the split) are those of the run that made one of the models, where `given`
    sets no other: of the first that was trained on this very data, so that none of the rows that it was trained
    on is among the test's. A user's own data that none of them was trained on is scored whole.
    """
    looking = listener or NullProgress()
    runs: Sequence[Run] = _runs(settings, models)
    recipe = _recipe_of(source, runs)
    own = recipe.name in labelled_data.RECIPES and (data or recipe.own_data) and data != prepare.SYNTHETIC
    if own:
        whole, runs = _whole(settings, recipe, data, rows, given or {}, looking, runs)
        if whole is not None:
            return whole
    values = recipe.values({**_options(recipe, runs), **(given or {})})
    prepared = prepare.prepare(settings, recipe, values, data, rows, looking)
    found = prepared.data
    return SplitSet(prepared, *(("test", found.test) if found.test else ("validation", found.validation)))


def _whole(
    settings: Settings, recipe: Recipe, data: str | None, rows: int | None, given: Mapping[str, Any],
    listener: ProgressListener, runs: Sequence[Run],
) -> tuple[FullSet | None, Sequence[Run]]:  # fmt: skip
    """Return all rows of data that none of the runs was trained on; else None, and the runs that were."""
    values = recipe.values({**_options(recipe, runs), **given})
    source = prepare.source_of(settings, recipe, values, data, rows, listener)
    path = given_path(source)
    found = labelled_data.labelled(recipe.name, path, values)
    sha256, size = found.digest()
    trained = [run for run in runs if run.data and run.data.sha256 == sha256]
    if trained:
        return None, trained
    if not all(run.data and run.data.sha256 for run in runs) or not runs:
        listener.message("it is not known what the model was trained on: all rows count, seen or not")
    else:
        listener.message(f"{path.name}: the model was not trained on it: all of its rows count")
    told = [parse_objective(run.tags.get("mlctl.objective", "")) for run in runs]
    objective = next((one for one in told if one), recipe.objective)
    reference = DataReference(path.name.partition(".")[0], source.given or str(path), sha256, 0, size)
    decides = objective.metric.removeprefix("val_")
    return FullSet(settings, found, recipe.name, reference, decides), runs


def _recipe_of(source: str, runs: Sequence[Run]) -> Recipe:
    """Return the recipe of a source; a user's own data is read by the one that the model was trained by."""
    path = Path(source).expanduser()
    told = next((run.recipe for run in runs if run.recipe in labelled_data.RECIPES), "")
    if told and path.exists() and not source.endswith(".py") and source not in names():
        recipe = find(told)
        recipe.own_data = source
        return recipe
    return find(source)


def _runs(settings: Settings, models: Iterable[ModelReference]) -> list[Run]:
    """Return the runs that made the models; a model may outlive its own."""
    found, store = [], TrackingStore(settings.tracking_uri)
    for run_id in dict.fromkeys(one.run_id for one in models if one.run_id):
        try:
            found.append(store.run(run_id))
        except NotFoundError:
            continue
    return found


def _options(recipe: Recipe, runs: Sequence[Run]) -> dict[str, str]:
    """Return the data options that the first run of this recipe had."""
    run = next((run for run in runs if run.recipe == recipe.name), None)
    if run is None:
        return {}
    declared = recipe.declared()
    known = {name: declared.get(name.partition(".")[0]) for name in run.params}
    return {name: run.params[name] for name, one in known.items() if one and one.data and run.params[name]}

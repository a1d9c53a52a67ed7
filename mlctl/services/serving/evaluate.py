"""What a logged model reaches on a recipe's data now: the same figures that training logs as test_*."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mlctl.adapters.answering import client_input, loaded
from mlctl.adapters.tracking import Store
from mlctl.data.dataset import Dataset, Split
from mlctl.domain import Quiet, Watcher
from mlctl.domain.registry import Evaluation, ModelReference
from mlctl.errors import BadDataError, NotFoundError
from mlctl.recipes import Recipe, find
from mlctl.scores import scores
from mlctl.services.registry import select_model
from mlctl.services.training import prepare
from mlctl.services.training.prepare import Prepared
from mlctl.settings import Settings


@dataclass(frozen=True)
class Exam:
    """A recipe's test split, or its validation split where it has none, ready for any number of models."""

    prepared: Prepared
    name: str
    split: Split

    @property
    def data(self) -> Dataset:
        """The data that the split is of."""
        return self.prepared.data

    def take(self, store: Store, model: ModelReference) -> Evaluation:
        """Score one model; raises BadDataError where it does not answer this data as it should."""
        raw = client_input(self.data.raw(self.split.inputs), self.prepared.encoder)
        with loaded(store, model.uri) as found:
            answers = found.answer(raw)
        wanted = (len(self.split), max(1, len(self.data.classes)))
        two = len(self.data.classes) == 2
        if answers.shape != wanted and not (two and answers.shape == (wanted[0], 1)):
            raise BadDataError(
                f"{model.uri} answers {answers.shape} where {self.prepared.recipe.name} wants {wanted}",
                "evaluate it on the data that it was made for",
            )
        reached = scores(self.split.targets, answers, len(self.data.classes))
        recipe, reference = self.prepared.recipe.name, self.prepared.reference
        return Evaluation(model, recipe, self.name, len(self.split), reached, reference)


def evaluate(
    settings: Settings,
    model: str | ModelReference,
    source: str,
    data: str | None = None,
    rows: int | None = None,
    given: Mapping[str, Any] | None = None,
    watcher: Watcher | None = None,
) -> Evaluation:
    """Score a model on a recipe's test split, its validation split where there is no other.

    `model` is what `select_model.resolve` takes or gives, `source` a recipe; `data`, `rows` and `given` are as
    `mlctl train` has them. Raises as both do, and BadDataError where the model does not fit the data.
    """
    reference = select_model.resolve(settings, model) if isinstance(model, str) else model
    exam = examine(settings, source, data, rows, given, watcher, reference.run_id)
    return exam.take(Store(settings.tracking_uri), reference)


def examine(
    settings: Settings,
    source: str,
    data: str | None = None,
    rows: int | None = None,
    given: Mapping[str, Any] | None = None,
    watcher: Watcher | None = None,
    like: str | None = None,
) -> Exam:
    """Load a recipe's data, and choose what models are scored on.

    `like` is the run that made a model: its data options (a table's target, the split) hold where `given` sets
    no other, so that no row it was trained on is among the test's.
    """
    recipe = find(source)
    recipe, values = prepare.recipe_values(source, {**_options_of(settings, recipe, like), **(given or {})})
    prepared = prepare.prepare(settings, recipe, values, data, rows, watcher or Quiet())
    found = prepared.data
    return Exam(prepared, *(("test", found.test) if found.test else ("validation", found.validation)))


def _options_of(settings: Settings, recipe: Recipe, run_id: str | None) -> dict[str, str]:
    """Return the data options that a run of this recipe had; none where it is gone, or of another recipe."""
    try:
        run = Store(settings.tracking_uri).run(run_id) if run_id else None
    except NotFoundError:  # a model may outlive its run
        run = None
    if run is None or run.recipe != recipe.name:
        return {}
    declared = recipe.declared()
    known = {name: declared.get(name.partition(".")[0]) for name in run.params}
    return {name: run.params[name] for name, one in known.items() if one and one.data and run.params[name]}

"""From a recipe and its overrides to data that a model can take; nothing heavy is imported here.

A missing file is reported before TensorFlow is loaded, which takes five seconds.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlctl.data.dataset import Dataset, Split, needs_dense
from mlctl.data.sources.locate import Source
from mlctl.domain.objective import Objective
from mlctl.domain.progress import ProgressListener
from mlctl.domain.run import DataReference
from mlctl.errors import BadDataError, MlctlError, UsageError
from mlctl.recipes import Recipe, ResolvedRecipe, Values, match_data
from mlctl.recipes.lookup import error_location
from mlctl.settings import Settings

SYNTHETIC = "synthetic"


@dataclass(frozen=True, kw_only=True)
class PreparedData:
    """A recipe with its values, its data, and the encoder for them."""

    recipe: Recipe
    values: Values
    data: Dataset
    encoder: Any

    @property
    def objective(self) -> Objective:
        """The objective for this data: the recipe's, unless `load` returned another."""
        return self.data.objective or self.recipe.objective

    def encoded(self, split: Split) -> Any:
        """Return a split's inputs as the model takes them; bags of words and images on disk stay as they are."""
        if self.encoder is None or needs_dense(split.inputs):
            return split.inputs
        with recipe_errors(self.recipe, "encoding"):
            return self.encoder(split.inputs)

    def encoded_split(self, split: Split) -> Split:
        """Return a split with encoded inputs."""
        return dataclasses.replace(split, inputs=self.encoded(split))

    @property
    def reference(self) -> DataReference:
        """What the run records about its data."""
        data = self.data
        return DataReference(
            name=data.name,
            source=data.source,
            sha256=data.sha256,
            rows=sum(data.splits.values()),
            size_bytes=data.size_bytes,
            splits=data.splits,
            seed=data.split_seed,
        )


def check_values(resolved: ResolvedRecipe, overrides: Mapping[str, Any]) -> Values:
    """Return a recipe's values with the checked overrides; raises UsageError."""
    recipe = resolved.recipe
    try:
        return recipe.values(overrides)
    except UsageError as exc:
        hint = match_data.as_table_hint(recipe.name, resolved.own_data, overrides.get("target", ""))
        raise UsageError(exc.message, "; ".join(filter(None, (exc.hint, hint)))) from exc


def prepare(
    settings: Settings,
    resolved: ResolvedRecipe,
    values: Values,
    *,
    data: str | None = None,
    rows: int | None = None,
    listener: ProgressListener,
) -> PreparedData:
    """Load a recipe's data and make its encoder; raises what `Source.file` and the recipe's `load` raise."""
    recipe = resolved.recipe
    source = data_source(settings, resolved, values, data=data, rows=rows, listener=listener)
    listener.stage(f"loading {recipe.name}")
    with recipe_errors(recipe, "loading its data"):
        dataset = recipe.load(source)
    _check_dataset(recipe, dataset)
    for note in dataset.notes:
        listener.message(note)
    with recipe_errors(recipe, "making its encoder"):
        prepared = PreparedData(
            recipe=recipe,
            values=values.on(len(dataset.train)),
            data=dataset,
            encoder=recipe.encoder(dataset),
        )
        sample = prepared.encoded(_first_rows(dataset))
    dataset = dataclasses.replace(dataset, input_shape=tuple(sample.shape[1:]))
    return dataclasses.replace(prepared, data=dataset)


def data_source(
    settings: Settings,
    resolved: ResolvedRecipe,
    values: Values,
    *,
    data: str | None = None,
    rows: int | None = None,
    listener: ProgressListener,
) -> Source:
    """Return what `load` reads from: `data` goes before the user's own data; raises UsageError."""
    if rows is not None and data != SYNTHETIC:
        raise UsageError("--rows works only with --data synthetic", "remove --rows, or add --data synthetic")
    return Source(
        location=None if data == SYNTHETIC else data or resolved.own_data,
        synthetic=data == SYNTHETIC,
        rows=rows,
        data_dir=settings.data_dir,
        cache_dir=settings.cache_dir,
        options=values,
        progress=listener.download,
    )


@contextlib.contextmanager
def recipe_errors(recipe: Recipe, activity: str) -> Iterator[None]:
    """Turn what a recipe's own code raises into a BadDataError that names the recipe's line."""
    try:
        yield
    except MlctlError:
        raise
    except Exception as error:
        location = error_location(recipe.source_file(), error)
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise BadDataError(
            f"{location}: {activity} failed: {reason}", "fix the recipe (--debug shows the traceback)"
        ) from error


def _first_rows(dataset: Dataset) -> Split:
    return dataset.train.take(np.arange(min(2, len(dataset.train))))


def _check_dataset(recipe: Recipe, data: Any) -> None:
    if not isinstance(data, Dataset):
        raise BadDataError(f"recipe {recipe.name}: load() must return a Dataset, found {type(data).__name__}")
    for name, split in (("train", data.train), ("validation", data.validation)):
        if not len(split):
            raise BadDataError(f"recipe {recipe.name}: there are no {name} rows", "give it more data")

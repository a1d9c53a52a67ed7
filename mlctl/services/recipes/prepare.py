"""From a recipe and what was typed to data that a model can take; nothing heavy is imported here.

A missing file is told before TensorFlow is loaded: that is five seconds that nobody has to wait.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlctl.data.dataset import Dataset, Split, is_packed
from mlctl.data.sources.locate import Source
from mlctl.domain.progress import ProgressListener
from mlctl.domain.run import DataReference
from mlctl.errors import BadDataError, MlctlError, UsageError
from mlctl.recipes import Recipe, Values, find, own
from mlctl.recipes.recipe import where_in
from mlctl.settings import Settings

SYNTHETIC = "synthetic"


@dataclass(frozen=True)
class PreparedData:
    """A recipe with its values, its data, and the encoder made for them."""

    recipe: Recipe
    values: Values
    data: Dataset
    encoder: Any

    def encoded(self, split: Split) -> Any:
        """Return a split's inputs as the model takes them; bags stay bags, and pictures on disk."""
        if self.encoder is None or is_packed(split.inputs):
            return split.inputs
        with recipe_errors(self.recipe, "encoding"):
            return self.encoder(split.inputs)

    @property
    def reference(self) -> DataReference:
        """What the run records of its data."""
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


def recipe_values(source: str, given: Mapping[str, Any]) -> tuple[Recipe, Values]:
    """Find a recipe and check what was set on it; raises NotFoundError and UsageError."""
    recipe = find(source)
    try:
        return recipe, recipe.values(given)
    except UsageError as exc:
        out = own.way_out(recipe.name, recipe.own_data, given.get("target", ""))
        raise UsageError(exc.message, "; ".join(filter(None, (exc.hint, out)))) from exc


def prepare(
    settings: Settings,
    recipe: Recipe,
    values: Values,
    data: str | None,
    rows: int | None,
    listener: ProgressListener,
) -> PreparedData:
    """Load a recipe's data and make its encoder; raises what `Source.file` and a recipe's `load` raise."""
    source = source_of(settings, recipe, values, data, rows, listener)
    listener.stage(f"loading {recipe.name}")
    with recipe_errors(recipe, "loading its data"):
        dataset = recipe.load(source)
    _check(recipe, dataset)
    for note in dataset.notes:
        listener.message(note)
    with recipe_errors(recipe, "making its encoder"):
        encoder = recipe.encoder(dataset)
        sample = PreparedData(recipe, values, dataset, encoder).encoded(_first_rows(dataset))
    dataset = dataclasses.replace(dataset, input_shape=tuple(sample.shape[1:]))
    return PreparedData(recipe, values.on(len(dataset.train)), dataset, encoder)


def source_of(
    settings: Settings,
    recipe: Recipe,
    values: Values,
    data: str | None,
    rows: int | None,
    listener: ProgressListener,
) -> Source:
    """Return where a recipe's data is to come from; raises UsageError."""
    if rows is not None and data != SYNTHETIC:
        raise UsageError("--rows is for --data synthetic alone", "leave it out, or add --data synthetic")
    return Source(
        given=None if data == SYNTHETIC else data or recipe.own_data,
        synthetic=data == SYNTHETIC,
        rows=rows,
        data_dir=settings.data_dir,
        cache_dir=settings.cache_dir,
        options=values,
        progress=listener.download,
    )


def _first_rows(dataset: Dataset) -> Split:
    return dataset.train.take(np.arange(min(2, len(dataset.train))))


def _check(recipe: Recipe, data: Any) -> None:
    if not isinstance(data, Dataset):
        raise BadDataError(f"recipe {recipe.name}: load() must return a Dataset, found {type(data).__name__}")
    for name, split in (("train", data.train), ("validation", data.validation)):
        if not len(split):
            raise BadDataError(f"recipe {recipe.name}: there are no {name} rows", "give it more data")


class recipe_errors:
    """Turn what a recipe's own code raises into an error that names the recipe's line, not ours."""

    def __init__(self, recipe: Recipe, doing: str) -> None:
        self.recipe, self.doing = recipe, doing

    def __enter__(self) -> None:
        """Nothing is needed."""

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if error is None or isinstance(error, MlctlError) or not isinstance(error, Exception):
            return
        where = where_in(self.recipe.source_file(), error)
        said = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise BadDataError(
            f"{where}: {self.doing} failed: {said}", "mend the recipe (--debug shows all)"
        ) from error

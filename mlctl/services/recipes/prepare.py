"""From a recipe and its overrides to data that a model can take; nothing heavy is imported here.

A missing file is reported before TensorFlow is loaded, which takes five seconds.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mlctl.adapters.runlog.mlflow_calls import calls as mlflow_calls
from mlctl.data.class_weights import class_weights, is_equal
from mlctl.data.content_digest import digest_dataset
from mlctl.data.dataset import Dataset, Split, needs_dense
from mlctl.data.normalize import normalize_dataset
from mlctl.data.sources.locate import Source
from mlctl.data.sources.opened_files import OpenedFiles
from mlctl.data.tables.column_types import ReadingOptions
from mlctl.data.trees import map_tree
from mlctl.domain.objective import Objective
from mlctl.domain.progress import ProgressListener
from mlctl.domain.run import DataReference
from mlctl.domain.threshold import ThresholdRule, parse_threshold
from mlctl.errors import BadDataError, UsageError
from mlctl.recipes import Recipe, ResolvedRecipe, Values, match_data
from mlctl.services.recipes.checks import check_alone, check_dataset, check_encoded
from mlctl.services.recipes.user_code import own_errors, recipe_errors
from mlctl.settings import Settings

__all__ = [
    "PreparedData",
    "check_values",
    "data_source",
    "load_data",
    "prepare",
    "recipe_errors",
    "values_for",
    "with_class_weight",
    "with_data",
]

SYNTHETIC = "synthetic"
CHECKED_ROWS = 64  # rows that are encoded before training, to check the encoder


@dataclass(frozen=True, kw_only=True)
class PreparedData:
    """A recipe with its values, its data, and the encoder for them."""

    recipe: Recipe
    values: Values
    data: Dataset
    encoder: Any

    @property
    def objective(self) -> Objective:
        """The objective for this data: the recipe's, unless `load` returned another.

        Without validation rows, the training loss takes the place of the default.
        """
        if self.data.objective is not None:
            return self.data.objective
        is_default = type(self.recipe).objective is Recipe.objective
        if is_default and self.data.validation is None:
            return Objective("loss", maximize=False)
        return self.recipe.objective

    @property
    def threshold_rule(self) -> ThresholdRule | None:
        """How the threshold of two classes is chosen, if the user sets the recipe's option threshold."""
        declared = self.recipe.declared().get("threshold")
        text = self.values["threshold"] if declared and declared.data else ""
        return parse_threshold(text) if text else None

    def require_measurable_objective(self) -> None:
        """Raise BadDataError if the objective needs validation rows, and there are none."""
        metric = self.objective.metric
        if self.data.validation is None and metric.startswith("val_"):
            raise BadDataError(
                f"the objective {metric} needs validation rows, and load() returns no validation split",
                'let load() return one, or choose a metric of the training: objective = minimize("loss")',
            )

    def encoded(self, split: Split) -> Any:
        """Return a split's inputs as the model takes them.

        Bags of words and images on disk stay as they are, and batches are encoded when they are made.
        """
        if self.encoder is None or needs_dense(split.inputs):
            return split.inputs
        if split.is_stream:
            return split.inputs.encoded(self._encode)
        return self._encode(split.inputs)

    def _encode(self, inputs: Any) -> Any:
        with recipe_errors(self.recipe, "encoding"):
            return self.encoder(inputs)

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
            files=data.files,
            rows=sum(data.splits.values()),
            size_bytes=data.size_bytes,
            splits=data.splits,
            seed=data.split_seed,
        )


def check_values(resolved: ResolvedRecipe, overrides: Mapping[str, Any]) -> Values:
    """Return a recipe's values with the checked overrides; raises UsageError."""
    recipe = resolved.recipe
    declared = recipe.declared()
    for name in ("target", "validation", "test"):
        if name in overrides and name not in declared:
            kind = "has its own data" if name == "target" else "takes no such file"
            raise UsageError(
                f"--{name} is for a table of your own, and recipe {recipe.name} {kind}", f"remove --{name}"
            )
    if "column" in declared and declared["column"].each and declared["column"].data:
        ReadingOptions.of(overrides)  # refuses what no column can have before the table is read
    if "threshold" in overrides and "threshold" in declared and declared["threshold"].data:
        parse_threshold(overrides["threshold"])
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
    loaded = load_data(settings, recipe, source, listener)
    with own_errors(recipe, "reading its data"):  # its streams are read here and there
        dataset = with_class_weight(recipe, loaded, values)
        for note in dataset.notes:
            listener.message(note)
        prepared = PreparedData(
            recipe=recipe,
            values=values_for(dataset, values),
            data=dataset,
            encoder=_encoder(recipe, dataset),
        )
        if prepared.threshold_rule is not None and dataset.classes and len(dataset.classes) != 2:
            raise UsageError(
                f"threshold= is for two classes, and {dataset.name} has {len(dataset.classes)}", "remove it"
            )
        return _with_input_shape(prepared)


def load_data(settings: Settings, recipe: Recipe, source: Source, listener: ProgressListener) -> Dataset:
    """Return a recipe's data; raises what `Source.file` and the recipe's `load` raise."""
    listener.stage(f"loading {recipe.name}")
    mlflow_calls.begin(settings.tracking_uri)
    with own_errors(recipe, "reading its data"):
        return _load(recipe, source, listener)


def with_data(prepared: PreparedData, data: Dataset) -> PreparedData:
    """Return the same recipe and values with other rows: the encoder is made from them."""
    recipe = prepared.recipe
    return _with_input_shape(
        dataclasses.replace(
            prepared,
            data=data,
            values=values_for(data, prepared.values),
            encoder=None if prepared.encoder is None else _encoder(recipe, data),
        )
    )


def with_class_weight(recipe: Recipe, data: Dataset, values: Values) -> Dataset:
    """Return the data with the weight of each class: of --set or the recipe's class, else of `load`."""
    declared = recipe.declared().get("class_weight")
    given = values["class_weight"] if declared else recipe.class_weight
    # a search may choose "none" for a hyperparameter
    if is_equal(given) and (declared is None or declared.data):
        given = data.class_weight
    with recipe_errors(recipe, "weighting its classes"):
        return dataclasses.replace(data, class_weight=class_weights(given, data))


def values_for(data: Dataset, values: Values) -> Values:
    """Return the values for this data: with its defaults, and its number of steps in an epoch."""
    return values.on(_rows_per_epoch(data, values), data.defaults)


def _rows_per_epoch(data: Dataset, values: Values) -> int:
    """Return the rows that make the number of steps of an epoch: batches of a stream have a size of their own."""
    stream = data.train.inputs
    if not data.train.is_stream or stream.holds_rows or stream.steps is None:
        return len(data.train)
    return int(stream.steps) * int(values["batch_size"])


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


def _load(recipe: Recipe, source: Source, listener: ProgressListener) -> Dataset:
    """Return what the recipe's `load` returned, checked, with a digest of its content."""
    roots = [Path(), recipe.source_file().parent, *([source.data_dir] if source.data_dir else [])]
    if source.location and Path(source.location).expanduser().exists():
        roots.append(Path(source.location).expanduser())
    opened = OpenedFiles(roots)
    with recipe_errors(recipe, "loading its data"), opened:
        loaded = recipe.load(source)
    with recipe_errors(recipe, "loading its data"):
        data = normalize_dataset(loaded) if isinstance(loaded, Dataset) else loaded
    check_dataset(recipe, data)
    origin = data.source or (
        "synthetic" if source.synthetic else source.location or recipe.source_file().name
    )
    data = dataclasses.replace(data, source=origin)
    if data.sha256:
        return data
    listener.stage("hashing the data")
    content = digest_dataset(data, opened.files, opened.listed_files)
    if content.is_partial:
        listener.message(
            "mlctl cannot see all of the data that this recipe streams: resume notices a change of its first batch"
            " only; return Dataset(sha256=…), or read files below the working directory"
        )
    return dataclasses.replace(data, sha256=content.sha256, files=content.files)


def _encoder(recipe: Recipe, data: Dataset) -> Any:
    """Return the recipe's encoder; a table of mixed columns without one feeds inputs by the columns' names."""
    with recipe_errors(recipe, "making its encoder"):
        encoder = recipe.encoder(data)
    inputs = data.train.inputs
    if encoder is None and hasattr(inputs, "iloc") and not all(_is_number(inputs[name]) for name in inputs):
        from mlctl.recipes import encoders  # imports pandas, which most recipes do not need

        return encoders.columns(inputs)
    return encoder


def _is_number(column: Any) -> bool:
    return getattr(column.dtype, "kind", "O") in "iufb"


def _with_input_shape(prepared: PreparedData) -> PreparedData:
    """Return the data with the shape of an encoded row; raises BadDataError if rows cannot be encoded."""
    recipe, data = prepared.recipe, prepared.data
    sample = data.train.take(np.arange(min(CHECKED_ROWS, len(data.train))))
    encoded = prepared.encoded(sample)
    check_encoded(recipe, encoded)
    if prepared.encoder is not None and len(sample) > 1:
        check_alone(recipe, encoded, prepared.encoded(sample.take(np.array([1]))))
    shape = map_tree(lambda leaf: tuple(leaf.shape[1:]), encoded)
    shape = getattr(prepared.encoder, "input_shape", shape)  # rows of any length have None in theirs
    return dataclasses.replace(prepared, data=dataclasses.replace(data, input_shape=shape))

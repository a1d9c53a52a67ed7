"""Features that models take of a table: the recipe's own, and more for trees and linear models.

One encoder makes all features, so that one file serves all models; each family takes its own columns of it.
Networks take the recipe's features. The other families take numbers, categories, words and dates in their own forms;
the mean target of each category; the ratios of columns that a quick model gains most by; and distances from dense
regions if the table has latitudes and longitudes.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from mlctl.adapters.estimators.category_targets import lookup_steps, smoothed_targets
from mlctl.adapters.estimators.encoded_table import FeatureSet
from mlctl.adapters.estimators.feature_search import cluster_centres, feature_gains
from mlctl.data.dataset import Dataset
from mlctl.data.tables.column_types import BOOLEAN, CATEGORY, DATE, NUMBER, TEXT
from mlctl.recipes import encoders
from mlctl.recipes.tabular import PLACES, date_step
from mlctl.recipes.text_scores import text_steps
from mlctl.serving.scoring import TableEncoder

MAX_RATIO_COLUMNS, MAX_RATIOS, MAX_CATEGORIES = 8, 6, 64
MIN_LOOKUP_CATEGORIES = 6  # with fewer, one column for each category says as much as their mean targets
MAX_TREE_CATEGORIES = 16  # with more, trees take the mean targets alone
MAX_CENTRES, ROWS_PER_CENTRE = 12, 100
MAX_SAMPLED_ROWS = 20_000  # for the quick models that propose features
NETWORK_ONLY = (
    "bins",
    "robust",
    "calendar_flags",
)  # steps that trees do not need: they choose their own thresholds
PLAIN = ("number", "log", "missing", "boolean", "category", "distance")  # what ratios compete with
NOT_LINEAR = (
    "calendar",
    "bins",
    "robust",
)  # the hour of a day as one number is not linear: `date` has its waves

Array = np.ndarray[Any, Any]
Step = Mapping[str, Any]


def search_features(data: Dataset, recipe_encoder: Any, seed: int) -> FeatureSet:
    """Return the features of a table: the recipe's, those of each column's type, and those that a search adds.

    `recipe_encoder` is ignored unless it encodes a table.
    """
    rows = known_rows(data)
    is_table_encoder = isinstance(recipe_encoder, TableEncoder)
    recipe_steps: list[Step] = list(recipe_encoder.steps) if is_table_encoder else plain_steps(data)
    added = [step for step in plain_steps(data, recipe_steps) if not _has_step(recipe_steps, step)]
    added += _lookup_steps(data, rows)
    added += _distance_steps(rows, _column_types(data), seed)
    ratios = _ratio_steps(data, [*recipe_steps, *added], seed)
    names = tuple(f"{step['of']}/{step['by']}" for step in ratios)
    return _fit_encoder(rows, recipe_steps, [*added, *ratios], names)


def plain_features(data: Dataset) -> FeatureSet:
    """Return the columns encoded by their types, and nothing else."""
    return _fit_encoder(known_rows(data), plain_steps(data), [], ())


def known_rows(data: Dataset) -> Any:
    """Return the training and validation rows, in this order; their encoder learns from all of them."""
    import pandas as pd

    return pd.concat([data.train.inputs, data.validation.inputs], ignore_index=True)


def plain_steps(data: Dataset, known: Sequence[Step] = ()) -> list[Step]:
    """Return the steps that encode every column by its type, but no scores of a text that `known` steps have."""
    rows = known_rows(data)
    targets = np.concatenate([data.train.targets, data.validation.targets])
    has_scores = {step["of"] for step in known if step["make"] == "text_scores"}
    steps: list[Step] = []
    for name, column_type in _column_types(data).items():
        if column_type == NUMBER:
            steps += encoders.number(name) + (encoders.missing(name) if rows[name].isna().any() else [])
        elif column_type == CATEGORY:
            steps += encoders.unscaled(encoders.category(name, most=MAX_CATEGORIES))
        elif column_type == BOOLEAN:
            steps += encoders.boolean(name)
        elif column_type == TEXT and name not in has_scores:
            steps += text_steps(name, rows[name], targets, len(data.classes))
        elif column_type == DATE:
            dates = date_step(data, name)
            steps += [*dates, *({**step, "make": "calendar"} for step in dates)]
    return steps


def _column_types(data: Dataset) -> Mapping[str, str]:
    """Return each column's type: the one that the table's reader detected, or else that of its dtype."""
    rows = data.train.inputs
    by_dtype = {str(name): NUMBER if rows[name].dtype.kind in "iuf" else CATEGORY for name in rows}
    return {**by_dtype, **data.extra.get("columns", {})}


def _has_step(steps: Sequence[Step], wanted: Step) -> bool:
    return any(step["make"] == wanted["make"] and step["of"] == wanted["of"] for step in steps)


def _lookup_steps(data: Dataset, rows: Any) -> list[Step]:
    """Return the mean targets of the categories of each column with many of them."""
    targets = np.concatenate([data.train.targets, data.validation.targets])
    wanted = smoothed_targets(targets, len(data.classes))
    names = [
        name
        for name, column_type in _column_types(data).items()
        if column_type == CATEGORY and rows[name].nunique() >= MIN_LOOKUP_CATEGORIES
    ]
    return [step for name in names for step in lookup_steps(name, rows[name], wanted)]


def _distance_steps(rows: Any, column_types: Mapping[str, str], seed: int) -> list[Step]:
    """Return distances from the centres of dense regions, if there are latitudes and longitudes."""
    north, east = (next((name for name in column_types if name.lower() in names), "") for names in PLACES)
    if column_types.get(north) != NUMBER or column_types.get(east) != NUMBER:
        return []
    points = rows[[north, east]].dropna().to_numpy(np.float64)[:MAX_SAMPLED_ROWS]
    count = min(MAX_CENTRES, len(points) // ROWS_PER_CENTRE)
    if count < 2:
        return []
    centres = [(round(float(a), 4), round(float(b), 4)) for a, b in cluster_centres(points, count, seed)]
    return [step for centre in centres for step in encoders.distance(north, east, centre)]


def _ratio_steps(data: Dataset, known: Sequence[Step], seed: int) -> list[Step]:
    """Return the ratios of two positive columns that a quick model, given all of them, gains most by."""
    rows = data.train.inputs
    # a denominator that can be 0 makes a ratio meaningless
    positive = [
        name
        for name, column_type in _column_types(data).items()
        if column_type == NUMBER and rows[name].min() > 0
    ]
    positive.sort(key=lambda name: -float(rows[name].std() / rows[name].mean()))
    ratios = [encoders.ratio(a, by=b)[0] for a, b in itertools.combinations(positive[:MAX_RATIO_COLUMNS], 2)]
    ratios = [ratio for ratio in ratios if not _has_ratio(known, ratio)]
    if not ratios:
        return []
    sample = np.random.default_rng(seed).permutation(len(rows))[:MAX_SAMPLED_ROWS]
    steps = [*(step for step in known if step["make"] in PLAIN), *ratios]
    encoded = encoders.table(rows.iloc[sample], steps)(rows.iloc[sample])
    gains = feature_gains(encoded, data.train.targets[sample], classes=len(data.classes), seed=seed)
    ratio_gains = gains[-len(ratios) :]
    best = np.argsort(-ratio_gains)[:MAX_RATIOS]
    return [ratios[number] for number in best if ratio_gains[number] > gains.mean()]


def _has_ratio(steps: Sequence[Step], wanted: Step) -> bool:
    """Return whether a step makes this ratio or its inverse, which carries the same information for a tree."""
    columns = {wanted["of"], wanted["by"]}
    return any(step["make"] == "ratio" and {step["of"], step["by"]} == columns for step in steps)


def _fit_encoder(
    rows: Any, network_steps: Sequence[Step], added_steps: Sequence[Step], ratios: tuple[str, ...]
) -> FeatureSet:
    encoder = encoders.table(rows, [*network_steps, *added_steps])
    ends = np.cumsum([0, *encoder.widths()])

    def columns_of(wanted: Callable[[Step], bool]) -> tuple[int, ...]:
        return tuple(
            column
            for number, step in enumerate(encoder.steps)
            if wanted(step)
            for column in range(int(ends[number]), int(ends[number + 1]))
        )

    has_lookup = {step["of"] for step in encoder.steps if step["make"] == "lookup"}

    def is_for_trees(step: Step) -> bool:
        if step["make"] == "category" and step["of"] in has_lookup:
            return len(step["known"]) <= MAX_TREE_CATEGORIES
        return step["make"] not in NETWORK_ONLY

    network = tuple(range(int(ends[len(network_steps)])))
    lookups = columns_of(lambda step: step["make"] == "lookup")
    has_bins = any(step["make"] == "bins" for step in network_steps)
    return FeatureSet(
        encoder=encoder,
        network=network,
        trees=columns_of(is_for_trees),
        linear=columns_of(lambda step: step["make"] not in NOT_LINEAR),
        bent=(*network, *lookups) if has_bins else (),
        ratios=ratios,
    )

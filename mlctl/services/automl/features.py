"""Features that models take of a table: the recipe's own, and more for trees.

One encoder makes all features, so that one file serves all models; each family takes its own columns of it.
Trees get, in addition to the recipe's features, the ratios of columns that a quick model gains most by, and
distances from dense regions if the table has latitudes and longitudes.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mlctl.adapters.estimators.encoded_table import FeatureSet
from mlctl.adapters.estimators.feature_search import cluster_centres, feature_gains
from mlctl.data.dataset import Dataset
from mlctl.data.tables.column_types import BOOLEAN, CATEGORY, DATE, NUMBER, TEXT
from mlctl.recipes import encoders
from mlctl.recipes.tabular import PLACES, date_step
from mlctl.serving.scoring import TableEncoder

MAX_RATIO_COLUMNS, MAX_RATIOS, MAX_CATEGORIES, MAX_WORDS = 8, 6, 64, 200
MAX_CENTRES, ROWS_PER_CENTRE = 12, 100
MAX_SAMPLED_ROWS = 20_000  # for the quick models that propose features
BINS = "bins"  # a step for networks only: a tree chooses its own thresholds

Array = np.ndarray[Any, Any]
Step = Mapping[str, Any]


def search_features(data: Dataset, recipe_encoder: Any, seed: int) -> FeatureSet:
    """Return the features of a table: the recipe's, those of each column's type, and those that a search adds.

    `recipe_encoder` is ignored unless it encodes a table.
    """
    rows = data.train.inputs
    is_table_encoder = isinstance(recipe_encoder, TableEncoder)
    recipe_steps: list[Step] = list(recipe_encoder.steps) if is_table_encoder else plain_steps(data)
    added = [step for step in plain_steps(data) if not _has_step(recipe_steps, step)]
    added += _distance_steps(rows, _column_types(data), seed)
    ratios = _ratio_steps(data, [*recipe_steps, *added], seed)
    names = tuple(f"{step['of']}/{step['by']}" for step in ratios)
    return _fit_encoder(rows, recipe_steps, [*added, *ratios], names)


def plain_features(data: Dataset) -> FeatureSet:
    """Return the columns encoded by their types, and nothing else."""
    return _fit_encoder(data.train.inputs, plain_steps(data), [], ())


def plain_steps(data: Dataset) -> list[Step]:
    """Return the steps that encode every column by its type."""
    rows = data.train.inputs
    steps: list[Step] = []
    for name, column_type in _column_types(data).items():
        if column_type == NUMBER:
            steps += encoders.number(name) + (encoders.missing(name) if rows[name].isna().any() else [])
        elif column_type == CATEGORY:
            steps += encoders.category(name, most=MAX_CATEGORIES)
        elif column_type == BOOLEAN:
            steps += encoders.boolean(name)
        elif column_type == TEXT:
            steps += encoders.text(name, most=MAX_WORDS)
        elif column_type == DATE:
            steps += date_step(data, name)
    return steps


def _column_types(data: Dataset) -> Mapping[str, str]:
    """Return each column's type: the one that the table's reader detected, or else that of its dtype."""
    rows = data.train.inputs
    by_dtype = {str(name): NUMBER if rows[name].dtype.kind in "iuf" else CATEGORY for name in rows}
    return {**by_dtype, **data.extra.get("columns", {})}


def _has_step(steps: Sequence[Step], wanted: Step) -> bool:
    return any(step["make"] == wanted["make"] and step["of"] == wanted["of"] for step in steps)


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
    steps = [*(step for step in known if step["make"] != BINS), *ratios]
    encoded = TableEncoder.fitted(rows.iloc[sample], steps)(rows.iloc[sample])
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
    encoder = TableEncoder.fitted(rows, [*network_steps, *added_steps])
    ends = np.cumsum([0, *encoder.widths(rows)])
    trees = [
        int(column)
        for number, step in enumerate(encoder.steps)
        if step["make"] != BINS
        for column in range(ends[number], ends[number + 1])
    ]
    network = range(int(ends[len(network_steps)]))
    return FeatureSet(encoder=encoder, network=tuple(network), trees=tuple(trees), ratios=ratios)

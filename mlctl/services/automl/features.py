"""What models are given of a table: the recipe's own features, and what trees gain by.

One encoder makes all features, so that one file serves all models; each family is told which columns it takes.
To the recipe's own (which the network was written for) come, for trees, the ratios that a quick model splits on,
and distances from the places where the rows are dense, where the table knows places.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import lightgbm
import numpy as np

from mlctl.data.dataset import Dataset
from mlctl.data.tables.column_types import BOOLEAN, CATEGORY, DATE, NUMBER, TEXT
from mlctl.recipes import encoders as make
from mlctl.recipes.tabular import PLACES, date
from mlctl.serving.scoring import Table

MOST_PAIRED, MOST_RATIOS, MOST_CATEGORIES, MOST_WORDS = 8, 6, 64, 200
CENTRES, ROWS_A_CENTRE = 12, 100
LOOKED_AT = 20_000  # rows that a quick look takes
BENT = "bins"  # a number in pieces, for networks: a tree cuts where it likes

Array = np.ndarray[Any, Any]
Step = Mapping[str, Any]


@dataclass(frozen=True)
class Features:
    """The encoder of all features, and the columns of its answer that networks and the others take."""

    encoder: Table
    network: tuple[int, ...]
    trees: tuple[int, ...]
    ratios: tuple[str, ...] = ()

    @property
    def width(self) -> int:
        """How many features there are."""
        return len(self.encoder.mean)


def featurized(data: Dataset, own: Any, seed: int) -> Features:
    """Return the features of a table whose recipe has this encoder (one that is no table is left aside)."""
    rows = data.train.inputs
    theirs: list[Step] = list(own.steps) if isinstance(own, Table) else plain_steps(data)
    more = _places(rows, _kinds(data), seed)
    known = [*theirs, *(step for step in plain_steps(data) if not _has(theirs, step)), *more]
    ratios = _ratios(data, known, seed)
    return _assembled(
        rows, theirs, [*known[len(theirs) :], *ratios], tuple(f"{one['of']}/{one['by']}" for one in ratios)
    )


def as_it_is(data: Dataset) -> Features:
    """Return the columns by their kinds, and nothing made of them."""
    return _assembled(data.train.inputs, plain_steps(data), [], ())


def plain_steps(data: Dataset) -> list[Step]:
    """Return the steps that take every column by its kind."""
    kinds, rows = _kinds(data), data.train.inputs
    steps: list[Step] = []
    for name, kind in kinds.items():
        if kind == NUMBER:
            steps += make.number(name) + (make.missing(name) if rows[name].isna().any() else [])
        elif kind == CATEGORY:
            steps += make.category(name, most=MOST_CATEGORIES)
        elif kind == BOOLEAN:
            steps += make.boolean(name)
        elif kind == TEXT:
            steps += make.text(name, most=MOST_WORDS)
        elif kind == DATE:
            steps += date(data, name)
    return steps


def _kinds(data: Dataset) -> Mapping[str, str]:
    """Return each column's kind: as the table's reader found it, or by its type."""
    rows = data.train.inputs
    by_type = {str(name): NUMBER if rows[name].dtype.kind in "iuf" else CATEGORY for name in rows}
    return {**by_type, **data.extra.get("columns", {})}


def _has(steps: Sequence[Step], wanted: Step) -> bool:
    return any(one["make"] == wanted["make"] and one["of"] == wanted["of"] for one in steps)


def _places(rows: Any, kinds: Mapping[str, str], seed: int) -> list[Step]:
    """Return distances from the middles of the densest regions, where there are latitudes and longitudes."""
    north, east = (next((one for one in kinds if one.lower() in names), "") for names in PLACES)
    if kinds.get(north) != NUMBER or kinds.get(east) != NUMBER:
        return []
    from sklearn.cluster import KMeans

    spots = rows[[north, east]].dropna().to_numpy(np.float64)[:LOOKED_AT]
    centres = min(CENTRES, len(spots) // ROWS_A_CENTRE)
    if centres < 2:
        return []
    middles = KMeans(centres, random_state=seed, n_init=1).fit(spots).cluster_centers_
    return [
        step for at in middles for step in make.distance(north, east, (round(float(at[0]), 4), round(float(at[1]), 4)))
    ]  # fmt: skip


def _ratios(data: Dataset, known: Sequence[Step], seed: int) -> list[Step]:
    """Return the ratios of two positive columns that a quick model, offered all of them, gains most by."""
    rows = data.train.inputs
    positive = [
        name for name, kind in _kinds(data).items() if kind == NUMBER and rows[name].min() > 0
    ]  # a ratio of what may be nothing says nothing
    positive = sorted(positive, key=lambda name: -float(rows[name].std() / rows[name].mean()))[:MOST_PAIRED]
    pairs = [make.ratio(a, by=b)[0] for a, b in itertools.combinations(positive, 2)]
    pairs = [one for one in pairs if not _is_ratio(known, one)]
    if not pairs:
        return []
    few = np.random.default_rng(seed).permutation(len(rows))[:LOOKED_AT]
    encoder = Table.fitted(rows.iloc[few], [*(one for one in known if one["make"] != BENT), *pairs])
    targets = data.train.targets[few]
    told: dict[str, Any] = {"verbosity": -1, "learning_rate": 0.15, "seed": seed, "objective": "regression"}
    if data.classes:
        told |= {"objective": "multiclass", "num_class": len(data.classes)}
    encoded = encoder(rows.iloc[few])
    quick = lightgbm.train(told, lightgbm.Dataset(encoded, targets), 60)
    gains = quick.feature_importance("gain")
    worth = gains[-len(pairs) :]
    best = np.argsort(-worth)[:MOST_RATIOS]
    usual = gains.sum() / len(gains)
    return [pairs[one] for one in best if worth[one] > usual]


def _is_ratio(steps: Sequence[Step], wanted: Step) -> bool:
    """Whether a step makes this ratio, or its inverse, which says the same to a tree."""
    two = {wanted["of"], wanted["by"]}
    return any(one["make"] == "ratio" and {one["of"], one["by"]} == two for one in steps)


def _assembled(rows: Any, theirs: Sequence[Step], ours: Sequence[Step], ratios: tuple[str, ...]) -> Features:
    encoder = Table.fitted(rows, [*theirs, *ours])
    ends = np.cumsum([0, *encoder.widths(rows)])
    trees = [
        column
        for number, step in enumerate(encoder.steps)
        if step["make"] != BENT
        for column in range(ends[number], ends[number + 1])
    ]
    return Features(encoder, tuple(range(int(ends[len(theirs)]))), tuple(int(one) for one in trees), ratios)

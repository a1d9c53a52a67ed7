"""Ensembles of decision trees as plain arrays, whichever library has grown them.

Features are float32 when a model is trained and when it answers, thresholds are float64 in the libraries and
float32 in ONNX: each is rounded down to float32, and then `x <= threshold` says the same of every x.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Tree:
    """One tree, node 0 its root: each array has an element a node.

    A node with `left` -1 is a leaf, which adds `values` (one an output) to the answer; another sends a row left
    where its `feature` is <= `threshold`.
    """

    feature: Array
    threshold: Array
    left: Array
    right: Array
    values: Array


@dataclass(frozen=True)
class Ensemble:
    """Trees whose leaves are summed, on top of `base`; each tree adds to the outputs that its leaves name."""

    trees: Sequence[Tree]
    base: tuple[float, ...]


def of_lightgbm(booster: Any, rounds: int, outputs: int) -> Ensemble:
    """Return the first `rounds` rounds of a LightGBM model; its boosting start is in the first trees."""
    text = booster.model_to_string(num_iteration=rounds)
    trees = [
        _lightgbm_tree(fields, number % outputs, outputs)
        for number, fields in enumerate(_lightgbm_blocks(text))
    ]
    return Ensemble(trees, (0.0,) * outputs)


def of_histogram(model: Any) -> Ensemble:
    """Return a fitted HistGradientBoosting model, as scikit-learn holds it."""
    base = tuple(np.asarray(model._baseline_prediction, np.float64).ravel())
    trees = []
    for grown in model._predictors:
        for output, one in enumerate(grown):
            nodes = one.nodes
            leaf = nodes["is_leaf"].astype(bool)
            values = np.zeros((len(nodes), len(base)))
            values[:, output] = nodes["value"]
            trees.append(Tree(
                nodes["feature_idx"].astype(np.int64), _rounded_down(np.where(leaf, 0.0, nodes["num_threshold"])),
                np.where(leaf, -1, nodes["left"].astype(np.int64)), np.where(leaf, -1, nodes["right"].astype(np.int64)),
                values,
            ))  # fmt: skip
    return Ensemble(trees, base)


def of_forest(model: Any) -> Ensemble:
    """Return a fitted forest of scikit-learn: the mean of its trees."""
    share = 1.0 / len(model.estimators_)
    trees = []
    for one in model.estimators_:
        grown = one.tree_
        trees.append(Tree(
            grown.feature, _rounded_down(grown.threshold), grown.children_left, grown.children_right,
            grown.value[:, 0, :] * share,
        ))  # fmt: skip
    return Ensemble(trees, (0.0,) * trees[0].values.shape[1])


def _lightgbm_blocks(text: str) -> Iterator[Mapping[str, str]]:
    """Yield the fields of each tree in LightGBM's text format."""
    body = text[text.index("\nTree=") : text.index("\nend of trees")]
    for block in body.split("\nTree=")[1:]:
        yield dict(line.split("=", 1) for line in block.split("\n")[1:] if "=" in line)


def _lightgbm_tree(fields: Mapping[str, str], output: int, outputs: int) -> Tree:
    """Return a tree; LightGBM numbers inner nodes and leaves apart, a child < 0 is the leaf ~child."""
    leaves = _numbers(fields["leaf_value"])
    inner = int(fields["num_leaves"]) - 1
    values = np.zeros((inner + len(leaves), outputs))
    values[inner:, output] = leaves
    none = np.full(len(leaves), -1)
    if not inner:  # nothing was worth a split
        return Tree(np.zeros(1, np.int64), np.zeros(1, np.float32), none, none, values)
    left, right = (_numbers(fields[side]).astype(np.int64) for side in ("left_child", "right_child"))
    return Tree(
        np.concatenate((_numbers(fields["split_feature"]).astype(np.int64), np.zeros(len(leaves), np.int64))),
        _rounded_down(np.concatenate((_numbers(fields["threshold"]), np.zeros(len(leaves))))),
        np.concatenate((np.where(left < 0, inner + ~left, left), none)),
        np.concatenate((np.where(right < 0, inner + ~right, right), none)),
        values,
    )


def _numbers(text: str) -> Array:
    return np.array(text.split(), np.float64)


def _rounded_down(thresholds: Array) -> Array:
    """Return the greatest float32 that is not above each threshold."""
    near = thresholds.astype(np.float32)
    return np.where(near > thresholds, np.nextafter(near, np.float32(-np.inf)), near).astype(np.float32)

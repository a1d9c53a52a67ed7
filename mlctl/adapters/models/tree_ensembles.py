"""Ensembles of decision trees as plain arrays, from LightGBM and scikit-learn.

Features are float32 in training and in serving. Thresholds are float64 in the libraries and float32 in ONNX. Each
threshold is rounded down to float32; `x <= threshold` then has the same result for every float32 x.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, kw_only=True)
class Tree:
    """One tree with nodes numbered from 0, the root.

    Attributes:
        feature: (nodes,) feature that a node tests.
        threshold: (nodes,) float32; a row goes left if its feature is <= the threshold.
        left: (nodes,) number of the left child; -1 for a leaf.
        right: (nodes,) number of the right child; -1 for a leaf.
        values: (nodes, outputs) what a leaf adds to the prediction.
    """

    feature: Array
    threshold: Array
    left: Array
    right: Array
    values: Array


@dataclass(frozen=True)
class TreeEnsemble:
    """Trees whose leaves are added to `base` (outputs,)."""

    trees: Sequence[Tree]
    base: tuple[float, ...]


def from_lightgbm(booster: Any, rounds: int, outputs: int) -> TreeEnsemble:
    """Return the first `rounds` rounds of a LightGBM model. Its first trees include the initial score."""
    text = booster.model_to_string(num_iteration=rounds)
    trees = [
        _lightgbm_tree(fields, number % outputs, outputs)
        for number, fields in enumerate(_lightgbm_blocks(text))
    ]
    return TreeEnsemble(trees, (0.0,) * outputs)


def from_histogram_boosting(model: Any) -> TreeEnsemble:
    """Return a fitted HistGradientBoosting model of scikit-learn."""
    base = tuple(np.asarray(model._baseline_prediction, np.float64).ravel())
    trees = []
    for predictors in model._predictors:
        for output, predictor in enumerate(predictors):
            nodes = predictor.nodes
            is_leaf = nodes["is_leaf"].astype(bool)
            values = np.zeros((len(nodes), len(base)))
            values[:, output] = nodes["value"]
            trees.append(
                Tree(
                    feature=nodes["feature_idx"].astype(np.int64),
                    threshold=_round_down(np.where(is_leaf, 0.0, nodes["num_threshold"])),
                    left=np.where(is_leaf, -1, nodes["left"].astype(np.int64)),
                    right=np.where(is_leaf, -1, nodes["right"].astype(np.int64)),
                    values=values,
                )
            )
    return TreeEnsemble(trees, base)


def from_forest(model: Any) -> TreeEnsemble:
    """Return a fitted forest of scikit-learn, which predicts the mean of its trees."""
    share = 1.0 / len(model.estimators_)
    trees = [
        Tree(
            feature=estimator.tree_.feature,
            threshold=_round_down(estimator.tree_.threshold),
            left=estimator.tree_.children_left,
            right=estimator.tree_.children_right,
            values=estimator.tree_.value[:, 0, :] * share,
        )
        for estimator in model.estimators_
    ]
    return TreeEnsemble(trees, (0.0,) * trees[0].values.shape[1])


def _lightgbm_blocks(text: str) -> Iterator[Mapping[str, str]]:
    """Yield the fields of each tree in LightGBM's text format."""
    body = text[text.index("\nTree=") : text.index("\nend of trees")]
    for block in body.split("\nTree=")[1:]:
        yield dict(line.split("=", 1) for line in block.split("\n")[1:] if "=" in line)


def _lightgbm_tree(fields: Mapping[str, str], output: int, outputs: int) -> Tree:
    """Return a tree. LightGBM numbers inner nodes and leaves separately: a child < 0 is the leaf ~child."""
    leaf_values = _parse_numbers(fields["leaf_value"])
    leaves, inner = len(leaf_values), int(fields["num_leaves"]) - 1
    values = np.zeros((inner + leaves, outputs))
    values[inner:, output] = leaf_values
    no_children = np.full(leaves, -1)
    if not inner:  # LightGBM found no split
        return Tree(
            feature=np.zeros(1, np.int64),
            threshold=np.zeros(1, np.float32),
            left=no_children,
            right=no_children,
            values=values,
        )
    left, right = (_parse_numbers(fields[side]).astype(np.int64) for side in ("left_child", "right_child"))
    features = _parse_numbers(fields["split_feature"]).astype(np.int64)
    thresholds = _parse_numbers(fields["threshold"])
    return Tree(
        feature=np.concatenate((features, np.zeros(leaves, np.int64))),
        threshold=_round_down(np.concatenate((thresholds, np.zeros(leaves)))),
        left=np.concatenate((np.where(left < 0, inner + ~left, left), no_children)),
        right=np.concatenate((np.where(right < 0, inner + ~right, right), no_children)),
        values=values,
    )


def _parse_numbers(text: str) -> Array:
    return np.array(text.split(), np.float64)


def _round_down(thresholds: Array) -> Array:
    """Return the greatest float32 that is not greater than each threshold."""
    nearest = thresholds.astype(np.float32)
    below = np.nextafter(nearest, np.float32(-np.inf))
    return np.where(nearest > thresholds, below, nearest).astype(np.float32)

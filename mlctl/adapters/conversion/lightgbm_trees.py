"""LightGBM models as ONNX nodes that answer with every digit of LightGBM."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from mlctl.adapters.conversion.graph_writer import GraphWriter
from mlctl.adapters.conversion.tree_graphs import ExactTree, write_trees
from mlctl.adapters.models.export_error import ExportError

ZERO = float(np.float32(1e-35))  # LightGBM takes numbers up to this one for zero
AS_ZERO, ZERO_AS_GAP, AS_GAP = 0, 1, 2  # how a node treats missing values
IDENTITY = {"regression", "regression_l1", "huber", "fair", "quantile", "mape", "lambdarank", "rank_xendcg"}
EXPONENTIAL = {"poisson", "gamma", "tweedie"}

Array = np.ndarray[Any, Any]


def write_booster(writer: GraphWriter, rows: str, booster: Any) -> str:
    """Add a Booster; return the name of what its `predict` answers, as (n, outputs) float64.

    Args:
        writer: Takes the nodes.
        rows: Name of the features (n, features) float64.
        booster: The Booster.
    """
    text = booster.model_to_string()
    header = dict(line.split("=", 1) for line in text[: text.index("\nTree=")].split("\n") if "=" in line)
    outputs = int(header["num_tree_per_iteration"])
    blocks = list(_tree_blocks(text))
    share = outputs / len(blocks) if re.search(r"^average_output$", text, re.MULTILINE) else 1.0
    gaps: dict[int, int] = {}
    trees = [_read_tree(block, number % outputs, share, gaps) for number, block in enumerate(blocks)]
    if any(((tree.threshold >= -ZERO) & (tree.threshold < ZERO))[tree.left >= 0].any() for tree in trees):
        rows = _write_zeros(writer, rows)
    rows = _write_gaps(writer, rows, gaps, booster.num_feature())
    categorical = sorted({int(tree.feature[node]) for tree in trees for node in tree.members})
    rows = _write_categories(writer, rows, categorical, booster.num_feature())
    return _write_objective(writer, write_trees(writer, rows, trees, outputs), header.get("objective", ""))


def _tree_blocks(text: str) -> Iterator[Mapping[str, str]]:
    """Yield the fields of each tree in LightGBM's text format."""
    body = text[text.index("\nTree=") : text.index("\nend of trees")]
    for block in body.split("\nTree=")[1:]:
        yield dict(line.split("=", 1) for line in block.split("\n")[1:] if "=" in line)


def _read_tree(fields: Mapping[str, str], output: int, share: float, gaps: dict[int, int]) -> ExactTree:
    """Return a tree, and add how its features treat missing values to `gaps`.

    LightGBM numbers inner nodes and leaves separately: a child < 0 is the leaf ~child.
    """
    if fields.get("is_linear", "0") != "0":
        raise ExportError("the leaves are linear models")
    leaf_values = _numbers(fields["leaf_value"])
    leaves, inner = len(leaf_values), int(fields["num_leaves"]) - 1
    values = np.zeros((inner + leaves, 1))
    values[inner:, 0] = leaf_values * share
    none = np.full(leaves, -1)
    if not inner:
        return ExactTree(
            feature=np.zeros(1, np.int64), threshold=np.zeros(1), left=none, right=none,
            gaps_left=np.zeros(1, bool), values=values, output=output,
        )  # fmt: skip
    left, right = (_numbers(fields[side]).astype(np.int64) for side in ("left_child", "right_child"))
    features = _numbers(fields["split_feature"]).astype(np.int64)
    thresholds = _numbers(fields["threshold"])
    decisions = _numbers(fields["decision_type"]).astype(np.int64)
    is_category = (decisions & 1) == 1
    for feature, kind in zip(features[~is_category], (decisions[~is_category] >> 2) & 3, strict=True):
        if gaps.setdefault(int(feature), int(kind)) != kind:
            raise ExportError("the trees treat missing values of a column in different ways")
    members = {}
    if is_category.any():
        borders, words = _numbers(fields["cat_boundaries"]), _numbers(fields["cat_threshold"])
        for node in np.flatnonzero(is_category):
            first, last = borders[int(thresholds[node]) : int(thresholds[node]) + 2].astype(int)
            bits = [int(word) for word in words[first:last]]
            members[int(node)] = [n for n in range(32 * len(bits)) if bits[n // 32] >> (n % 32) & 1]
    return ExactTree(
        feature=np.concatenate((features, np.zeros(leaves, np.int64))),
        threshold=np.concatenate((thresholds, np.zeros(leaves))),
        left=np.concatenate((np.where(left < 0, inner + ~left, left), none)),
        right=np.concatenate((np.where(right < 0, inner + ~right, right), none)),
        gaps_left=np.concatenate((((decisions & 2) == 2) & ~is_category, np.zeros(leaves, bool))),
        values=values,
        output=output,
        members=members,
    )


def _write_zeros(writer: GraphWriter, rows: str) -> str:
    """Replace numbers that LightGBM takes for zero, which matters if a node compares with such a number."""
    size = writer.node("Abs", [rows])
    is_zero = writer.node("LessOrEqual", [size, writer.constant(np.full(1, ZERO))])
    return writer.node("Where", [is_zero, writer.constant(np.zeros(1)), rows])


def _write_gaps(writer: GraphWriter, rows: str, gaps: Mapping[int, int], width: int) -> str:
    """Replace missing values, or zeros, as the features' nodes understand them."""
    kinds = np.array([gaps.get(feature, AS_GAP) for feature in range(width)])
    if (kinds == AS_ZERO).any():
        is_gap = writer.node("And", [writer.node("IsNaN", [rows]), writer.constant(kinds == AS_ZERO)])
        rows = writer.node("Where", [is_gap, writer.constant(np.zeros(1)), rows])
    if (kinds == ZERO_AS_GAP).any():
        size = writer.node("Abs", [rows])
        is_zero = writer.node("LessOrEqual", [size, writer.constant(np.full(1, ZERO))])
        is_gap = writer.node("And", [is_zero, writer.constant(kinds == ZERO_AS_GAP)])
        rows = writer.node("Where", [is_gap, writer.constant(np.full(1, np.nan)), rows])
    return rows


def _write_categories(writer: GraphWriter, rows: str, features: list[int], width: int) -> str:
    """Cut the digits of categories off, and make missing ones -1, which no node knows."""
    if not features:
        return rows
    is_category = writer.constant(np.isin(np.arange(width), features))
    known = writer.node("Where", [writer.node("IsNaN", [rows]), writer.constant(np.full(1, -1.0)), rows])
    whole = writer.node("Cast", [writer.node("Cast", [known], to=7)], to=11)  # int64, double
    return writer.node("Where", [is_category, whole, rows])


def _write_objective(writer: GraphWriter, raw: str, objective: str) -> str:
    """Add what turns the trees' sums into answers."""
    name, *settings = objective.split() or [""]
    options = dict(part.split(":", 1) for part in settings if ":" in part)
    if name in ("binary", "multiclassova"):
        slope = writer.constant(np.full(1, float(options.get("sigmoid", 1.0))))
        return writer.node("Sigmoid", [writer.node("Mul", [raw, slope])])
    if name == "cross_entropy":
        return writer.node("Sigmoid", [raw])
    if name == "multiclass":
        return writer.node("Softmax", [raw], axis=1)
    if name in EXPONENTIAL:
        return writer.node("Exp", [raw])
    if name == "regression" and "sqrt" in settings:
        square = writer.node("Mul", [raw, raw])
        return writer.node("Mul", [writer.node("Sign", [raw]), square])
    if name in IDENTITY:
        return raw
    raise ExportError(f"the objective {name or 'of the user'} has no ONNX form here")


def _numbers(text: str) -> Array:
    return np.array(text.split(), np.float64)

"""Ensembles of decision trees as ONNX nodes that compute in float64, as LightGBM and scikit-learn do.

The operators for trees that converters use, and `models.tree_ensembles`, compute in float32. A threshold that is
rounded sends a row that lies on it to the other side, and a client of stock sees every digit of the answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mlctl.adapters.conversion.graph_writer import GraphWriter, to_tensor
from mlctl.adapters.models.export_error import ExportError

LEQ, MEMBER = 0, 6  # modes of a node
MAX_NODES = 20_000_000

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, kw_only=True)
class ExactTree:
    """One tree with nodes numbered from 0, the root.

    Attributes:
        feature: (nodes,) feature that a node tests.
        threshold: (nodes,) float64; a row goes left if its feature is <= the threshold.
        left: (nodes,) number of the left child; -1 for a leaf.
        right: (nodes,) number of the right child; -1 for a leaf.
        gaps_left: (nodes,) whether a row goes left if its feature is missing.
        values: (nodes, width) float64; what a leaf adds to the outputs from `output` on.
        output: First output that the tree adds to.
        members: Values of a feature that go left, by the number of a node that tests a category.
    """

    feature: Array
    threshold: Array
    left: Array
    right: Array
    gaps_left: Array
    values: Array
    output: int = 0
    members: Mapping[int, Sequence[int]] = field(default_factory=dict)


def write_trees(writer: GraphWriter, rows: str, trees: Sequence[ExactTree], outputs: int) -> str:
    """Add the sum of trees; return the name of the result (n, outputs) float64.

    Args:
        writer: Takes the nodes.
        rows: Name of the features (n, features) float64.
        trees: The trees.
        outputs: Number of outputs.
    """
    if sum(len(tree.feature) for tree in trees) > MAX_NODES:
        raise ExportError("the trees have too many nodes")
    if all(tree.values.shape[1] == 1 for tree in trees):
        return writer.node("TreeEnsemble", [rows], **_attributes(trees, outputs))
    # a leaf of this operator has one value: it finds the number of the leaf in each tree, of which others get the row
    tables, numbered, first = [], [], 0
    for position, tree in enumerate(trees):
        is_leaf = tree.left < 0
        numbers = np.zeros((len(tree.left), 1))
        numbers[is_leaf, 0] = first + np.arange(is_leaf.sum())
        first += int(is_leaf.sum())
        tables.append(tree.values[is_leaf])
        numbered.append(_with_values(tree, numbers, position))
    leaves = writer.node("TreeEnsemble", [rows], **_attributes(numbered, len(trees)))
    leaves = writer.node("Cast", [leaves], to=7)  # int64
    values = writer.node("Gather", [writer.constant(np.concatenate(tables)), leaves])  # (n, trees, outputs)
    return writer.node("ReduceSum", [values, writer.constant(np.array([1]))], keepdims=0)


def _with_values(tree: ExactTree, values: Array, output: int) -> ExactTree:
    return ExactTree(
        feature=tree.feature,
        threshold=tree.threshold,
        left=tree.left,
        right=tree.right,
        gaps_left=tree.gaps_left,
        values=values,
        output=output,
        members=tree.members,
    )


def _attributes(trees: Sequence[ExactTree], outputs: int) -> dict[str, Any]:
    """Return the attributes of a TreeEnsemble node. It numbers the inner nodes and the leaves of all trees."""
    parts: dict[str, list[Array]] = {name: [] for name in ("splits", "features", "modes", "gaps", "weights")}
    parts |= {name: [] for name in ("left", "right", "left_leaf", "right_leaf", "targets")}
    roots, members, nodes, leaves = [], [], 0, 0
    for tree in map(_with_inner_root, trees):
        is_leaf = tree.left < 0
        inner = np.flatnonzero(~is_leaf)
        position = np.where(is_leaf, leaves + np.cumsum(is_leaf) - 1, nodes + np.cumsum(~is_leaf) - 1)
        modes = np.full(len(tree.left), LEQ, np.uint8)
        for number in inner[np.isin(inner, list(tree.members))]:
            modes[number] = MEMBER
            members += [*map(float, tree.members[int(number)]), np.nan]
        for side, children in (("left", tree.left), ("right", tree.right)):
            parts[side].append(position[children[inner]])
            parts[f"{side}_leaf"].append(is_leaf[children[inner]])
        parts["splits"].append(np.where(modes == MEMBER, 0.0, tree.threshold)[inner])
        parts["features"].append(tree.feature[inner])
        parts["modes"].append(modes[inner])
        parts["gaps"].append(tree.gaps_left[inner])
        parts["weights"].append(tree.values[is_leaf, 0])
        parts["targets"].append(np.full(int(is_leaf.sum()), tree.output))
        roots.append(nodes)
        nodes, leaves = nodes + len(inner), leaves + int(is_leaf.sum())
    joined = {name: np.concatenate(arrays) for name, arrays in parts.items()}
    integers = {name: joined[name].astype(np.int64).tolist() for name in parts if name not in ("splits",)}
    attributes = {
        "aggregate_function": 1,  # the sum
        "post_transform": 0,
        "n_targets": outputs,
        "tree_roots": roots,
        "nodes_splits": to_tensor(joined["splits"].astype(np.float64)),
        "nodes_modes": to_tensor(joined["modes"].astype(np.uint8)),
        "leaf_weights": to_tensor(joined["weights"].astype(np.float64)),
        "nodes_featureids": integers["features"],
        "nodes_missing_value_tracks_true": integers["gaps"],
        "nodes_truenodeids": integers["left"],
        "nodes_trueleafs": integers["left_leaf"],
        "nodes_falsenodeids": integers["right"],
        "nodes_falseleafs": integers["right_leaf"],
        "leaf_targetids": integers["targets"],
    }
    return attributes | ({"membership_values": to_tensor(np.array(members))} if members else {})


def _with_inner_root(tree: ExactTree) -> ExactTree:
    """Return the tree; one that is a single leaf gets a root with the leaf on both sides."""
    if tree.left[0] >= 0:
        return tree
    return ExactTree(
        feature=np.array([0, 0]),
        threshold=np.zeros(2),
        left=np.array([1, -1]),
        right=np.array([1, -1]),
        gaps_left=np.zeros(2, bool),
        values=np.concatenate([tree.values[:1]] * 2),
        output=tree.output,
    )

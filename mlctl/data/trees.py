"""Trees of arrays: one array, or a dict or tuple of trees, as the inputs and targets of Keras models are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
Tree = Any  # an array, or a dict or tuple of trees


def is_nested(tree: Tree) -> bool:
    """Return whether a tree is a dict or a tuple."""
    return isinstance(tree, (Mapping, tuple))


def map_tree(function: Callable[..., Any], tree: Tree, *others: Tree) -> Tree:
    """Return the tree of `function(leaf, …)` for each leaf and the leaves at its place in the other trees."""
    if isinstance(tree, Mapping):
        return {
            name: map_tree(function, part, *(other[name] for other in others)) for name, part in tree.items()
        }
    if isinstance(tree, tuple):
        return tuple(map_tree(function, *parts) for parts in zip(tree, *others, strict=True))
    return function(tree, *others)


def leaves(tree: Tree) -> list[Any]:
    """Return all leaves, in the order of the dicts and tuples."""
    if isinstance(tree, Mapping):
        return [leaf for part in tree.values() for leaf in leaves(part)]
    if isinstance(tree, tuple):
        return [leaf for part in tree for leaf in leaves(part)]
    return [tree]


def count_rows(tree: Tree) -> int:
    """Return the number of rows: the length of the first leaf."""
    return len(leaves(tree)[0])


def count_answered_rows(targets: Tree | None) -> int:
    """Return the number of rows if each has one answer: a number, or zeros and ones such as a one-hot row; else 0.

    Masks and sequences have an answer for each pixel or step.
    """
    arrays = [np.asarray(leaf) for leaf in leaves(targets)] if targets is not None else []
    return len(arrays[0]) if arrays and all(map(_has_single_answers, arrays)) else 0


def _has_single_answers(array: Array) -> bool:
    is_column = array.ndim == 1 or (array.ndim == 2 and array.shape[1] == 1)
    return is_column or (array.ndim == 2 and bool(((array == 0) | (array == 1)).all()))


def take_rows(tree: Tree, rows: Array) -> Tree:
    """Return these rows of every leaf: of an array, a DataFrame, or anything that has `take(rows)`."""
    return map_tree(lambda leaf: _take(leaf, rows), tree)


def as_tree(value: Any) -> Tree:
    """Return what a recipe gave as a tree of arrays: a list of arrays is a tuple, any other list an array."""
    if isinstance(value, Mapping):
        return {str(name): as_tree(part) for name, part in value.items()}
    if isinstance(value, tuple):
        return tuple(as_tree(part) for part in value)
    if isinstance(value, list):
        if value and all(hasattr(part, "shape") and part.shape for part in value):
            return tuple(as_tree(part) for part in value)
        return _as_array(value)
    if hasattr(value, "numpy") and not hasattr(value, "iloc"):  # a tensor
        return np.asarray(value)
    return value


def _as_array(values: list[Any]) -> Array:
    """Return a list as an array: texts, and lists of different lengths, are an array of objects."""
    try:
        array = np.asarray(values)
    except ValueError:  # the rows have different lengths
        array = np.empty(len(values), object)
        for number, row in enumerate(values):
            array[number] = row
    return array.astype(object) if array.dtype.kind in "US" else array


def _take(leaf: Any, rows: Array) -> Any:
    if isinstance(leaf, np.ndarray):
        return leaf[rows]
    if hasattr(leaf, "iloc"):
        return leaf.iloc[rows].reset_index(drop=True)
    return leaf.take(rows)

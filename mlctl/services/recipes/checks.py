"""What must hold of a recipe's data before TensorFlow is imported: mlctl train and mlctl recipes check agree on it."""

from __future__ import annotations

from typing import Any

import numpy as np

from mlctl.data import targets
from mlctl.data.dataset import Dataset, Split, needs_dense
from mlctl.data.trees import is_nested, leaves
from mlctl.domain.outputs import Output
from mlctl.errors import BadDataError
from mlctl.recipes import Recipe

TOLERANCE = 1e-4  # between two encodings of the same row
NUMBERS, TEXTS = "fiub", "OSUT"  # kinds of NumPy's types that a Keras model takes

Array = np.ndarray[Any, Any]


def check_dataset(recipe: Recipe, data: Any) -> None:
    """Raise BadDataError if `load` returned no dataset, empty splits, or parts that do not fit each other."""
    subject = f"{recipe.source_file()}: load()"
    if not isinstance(data, Dataset):
        raise BadDataError(
            f"{subject} must return a Dataset, found {type(data).__name__}",
            "return Dataset(name, train=Split(inputs, targets), validation=Split(inputs, targets))",
        )
    for name, split in (("train", data.train), ("validation", data.validation), ("test", data.test)):
        if split is None and name != "train":
            continue
        if not isinstance(split, Split):
            raise BadDataError(
                f"{subject} returns {_article(split)} as its {name} split",
                "return Split(inputs, targets), a tf.data.Dataset, or a keras.utils.PyDataset",
            )
        if split.is_stream:
            continue
        _check_split(f"{subject} returns {name}", recipe, name, split)
    check_targets(recipe, data)


def check_targets(recipe: Recipe, data: Dataset) -> None:
    """Raise BadDataError if targets do not fit the declared outputs, or the classes."""
    splits = {
        name: split
        for name, split in (("train", data.train), ("validation", data.validation), ("test", data.test))
        if split is not None and split.targets is not None
    }
    outputs = data.outputs
    if not outputs and data.classes and all(_is_one_label(split.targets) for split in splits.values()):
        outputs = (Output(kind="classes", classes=data.classes),)
    if not outputs or not splits:
        return
    try:
        outputs = targets.with_numbering(outputs, [split.targets for split in splits.values()])
        for name, split in splits.items():
            targets.check_targets(outputs, split.targets, rows=len(split), what=f"{name} targets")
    except BadDataError as error:
        raise BadDataError(f"{recipe.source_file()}: load(): {error.message}", error.hint) from error


def _is_one_label(tree: Any) -> bool:
    """Return whether targets are plainly one class per row: numbers or names, perhaps as a column."""
    if is_nested(tree):
        return False
    values = np.asarray(tree)
    is_column = values.ndim == 1 or (values.ndim == 2 and values.shape[1] == 1)
    is_list = (
        values.dtype.kind == "O" and len(values) and isinstance(values.flat[0], (list, tuple, np.ndarray))
    )
    return is_column and not is_list


def check_encoded(recipe: Recipe, encoded: Any) -> None:
    """Raise BadDataError unless every encoded input is an array of finite numbers, or of texts."""
    _check_flat(recipe, encoded)
    file = recipe.source_file()
    for name, leaf in _named_leaves(encoded):
        if needs_dense(leaf):
            continue
        of = f" for the input {name!r}" if name else ""
        kind = getattr(getattr(leaf, "dtype", None), "kind", "")
        if hasattr(leaf, "iloc") or not kind or kind not in NUMBERS + TEXTS:
            raise BadDataError(
                f"{file}: the encoder does not return an array of numbers or texts{of}, found {_article(leaf)}",
                "let encoder() return one of mlctl.recipes.encoders, or None if inputs are numbers",
            )
        if kind == "O" and (row := next(_no_texts(leaf), None)) is not None:
            raise BadDataError(
                f"{file}: encoded inputs{of} hold {_article(row)} where a number or a text is expected",
                "let encoder() make arrays of numbers, rows of different lengths padded to one length",
            )
        if kind == "f" and not np.isfinite(leaf).all():
            raise BadDataError(f"{file}: encoded inputs{of} hold NaN or infinity", "fill gaps in the encoder")


def _check_flat(recipe: Recipe, encoded: Any) -> None:
    """Raise BadDataError for a dict or tuple within another: served inputs have one name each."""
    if not is_nested(encoded) or type(recipe).serving is not Recipe.serving:
        return
    for name, part in encoded.items() if hasattr(encoded, "items") else enumerate(encoded):
        if is_nested(part):
            raise BadDataError(
                f"{recipe.source_file()}: the model's input {name!r} is a {type(part).__name__} of inputs",
                f"make one flat dict with a name for each array, such as {name}_{_named_leaves(part)[0][0]},"
                " and name each keras.Input so",
            )


def check_alone(recipe: Recipe, encoded: Any, alone: Any) -> None:
    """Raise BadDataError if the second row is encoded differently `alone` than among others."""
    for (name, among), (_, single) in zip(_named_leaves(encoded), _named_leaves(alone), strict=True):
        if needs_dense(among):
            continue
        if not _is_same_row(np.asarray(among[1]), np.asarray(single[0])):
            of = f" for the input {name!r}" if name else ""
            raise BadDataError(
                f"{recipe.source_file()}: a row is encoded differently alone than among others{of}",
                "fit the encoder once, in encoder(), and not for each request",
            )


def _check_split(subject: str, recipe: Recipe, name: str, split: Split) -> None:
    if any(not hasattr(leaf, "__len__") for leaf in leaves(split.inputs)):
        raise BadDataError(
            f"{subject} inputs that are {_article(leaves(split.inputs)[0])}",
            "return an array, a DataFrame, or a dict or tuple of arrays",
        )
    rows = len(split)
    if not rows:
        raise BadDataError(f"recipe {recipe.name}: there are no {name} rows", "give it more data")
    for part, tree in zip(("inputs", "targets", "weights"), split.parts, strict=True):
        for leaf_name, leaf in _named_leaves(tree):
            if leaf is None:
                continue
            what = f"{part} {leaf_name!r}" if leaf_name else part
            if not getattr(leaf, "ndim", 1):
                raise BadDataError(f"{subject} {what} that are not one per row", "return an array of n rows")
            if len(leaf) != rows:
                raise BadDataError(
                    f"{subject} {what} for {len(leaf):,} rows, but {rows:,} inputs", "return as many of each"
                )
            if part != "inputs":
                _check_gaps(f"{subject} {what}", np.asarray(leaf))


def _check_gaps(subject: str, values: Array) -> None:
    """Raise BadDataError for gaps: NaN, infinity and None."""
    kind = values.dtype.kind
    has_gaps = kind == "f" and not np.isfinite(values).all()
    if kind == "O":
        has_gaps = any(value is None or value != value for value in values.ravel() if np.ndim(value) == 0)
    if has_gaps:
        raise BadDataError(f"{subject} that are NaN or infinite", "remove such rows, or fill the gaps")


def _named_leaves(tree: Any, prefix: str = "") -> list[tuple[str, Any]]:
    """Return each leaf with its path, such as "left" or "0"; the only leaf has none."""
    if not is_nested(tree):
        return [(prefix, tree)]
    items = tree.items() if hasattr(tree, "items") else enumerate(tree)
    return [
        found
        for name, part in items
        for found in _named_leaves(part, f"{prefix}.{name}" if prefix else str(name))
    ]


def _no_texts(values: Array) -> Any:
    """Yield what is neither a text nor a number."""
    return (value for value in values.ravel() if not isinstance(value, (str, bytes, int, float, np.generic)))


def _is_same_row(among: Array, alone: Array) -> bool:
    """Return whether a row is the same; numbers may differ a little, and padding at the end may be missing."""
    if among.shape != alone.shape and among.ndim == alone.ndim and among.ndim:
        return _is_padded(among, alone)
    if among.shape != alone.shape:
        return False
    if among.dtype.kind not in "fiub":
        return bool((among == alone).all())
    return bool(np.abs(among.astype(np.float64) - alone.astype(np.float64)).max(initial=0) <= TOLERANCE)


def _is_padded(among: Array, alone: Array) -> bool:
    """Return whether the longer row continues the shorter one with zeros, along its first axis."""
    if among.shape[1:] != alone.shape[1:]:
        return False
    length = min(len(among), len(alone))
    longer = among if len(among) > len(alone) else alone
    is_same = _is_same_row(among[:length], alone[:length]) or _is_same_row(
        among[len(among) - length :], alone[len(alone) - length :]
    )
    rest = (longer[length:], longer[: len(longer) - length])
    return is_same and any(not part.any() for part in rest)


def _article(value: Any) -> str:
    name = type(value).__name__
    return f"{'an' if name[:1].lower() in 'aeiou' else 'a'} {name}"

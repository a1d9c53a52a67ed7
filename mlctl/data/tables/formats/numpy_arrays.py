"""Arrays of NumPy: an .npz file with X and y."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from mlctl.data.tables.formats.content import ReadOptions, TableContent
from mlctl.domain.short_texts import one_line
from mlctl.errors import BadDataError

INPUT_NAMES = ("x", "features", "data", "inputs", "images")
TARGET_NAMES = ("y", "labels", "label", "target", "targets", "classes")
NAMES_NAMES = (
    "feature_names",
    "features_names",
    "columns",
    "column_names",
    "names",
    "x_names",
    "feature_name",
)
SPLIT_WORDS = (("train", "training"), ("val", "valid", "validation"), ("test", "testing"))

Array = np.ndarray[Any, Any]


def load_arrays(path: Path) -> tuple[dict[str, Array], Array | None]:
    """Return the arrays of an .npz file, and the split of each row if there are arrays such as x_train and x_test.

    Arrays of several splits become one. A split is the place of its words in `SPLIT_WORDS`. Raises BadDataError.
    """
    try:
        with np.load(path, allow_pickle=False) as content:
            arrays = {name: content[name] for name in content.files}
    except (ValueError, OSError, EOFError, KeyError, zipfile.BadZipFile) as exc:
        if "allow_pickle" in str(exc) and zipfile.is_zipfile(path):
            raise BadDataError(
                f"{path} holds Python objects, and reading these could run a program",
                "save arrays of numbers or texts, such as y.astype(str)",
            ) from exc
        reason = one_line(exc, 120)
        raise BadDataError(
            f"{path} is not a readable .npz file: {reason}", "write it with numpy.savez(FILE, X=…, y=…)"
        ) from exc
    return join_splits(arrays)


def join_splits(arrays: dict[str, Array]) -> tuple[dict[str, Array], Array | None]:
    """Return arrays such as x_train and x_test as one, and the split of each row if there are such arrays."""
    parts: dict[str, list[tuple[int, Array]]] = {}
    for name, array in sorted(arrays.items(), key=lambda item: _split_place(item[0])):
        base, split = _split_name(name)
        parts.setdefault(base, []).append((split, array))
    try:
        joined = {base: np.concatenate([array for _, array in found]) for base, found in parts.items()}
    except ValueError:  # of different shapes, or no rows
        return arrays, None
    main = input_array(joined)
    found = parts.get(main, [])
    if len(found) < 2:
        return joined, None
    return joined, np.concatenate([np.full(len(array), max(split, 0)) for split, array in found])


def _split_name(name: str) -> tuple[str, int]:
    """Return an array's name without that of a split, and the split's place; -1 for none."""
    words = name.split("_")
    for place, names in enumerate(SPLIT_WORDS):
        rest = [word for word in words if word.lower() not in names]
        if rest and len(rest) < len(words):
            return "_".join(rest), place
    return name, -1


def _split_place(name: str) -> int:
    return _split_name(name)[1]


def input_array(arrays: dict[str, Array]) -> str:
    """Return the name of the array of inputs: X, or the one with most dimensions."""
    named = [name for name in arrays if name.lower() in INPUT_NAMES]
    if named:
        return named[0]
    return max(arrays, key=lambda name: (arrays[name].ndim, arrays[name].size), default="")


def target_array(arrays: dict[str, Array], main: str) -> str:
    """Return the name of the array of targets; "" if there is none."""
    others = [
        name
        for name in arrays
        if name != main and arrays[name].ndim and len(arrays[name]) == len(arrays[main])
    ]
    return next(
        (name for name in others if name.lower() in TARGET_NAMES), others[0] if len(others) == 1 else ""
    )


def holds_pictures(path: Path) -> bool:
    """Whether the inputs in an .npz file are pictures: arrays of three or four dimensions."""
    try:
        arrays, _ = load_arrays(path)
    except BadDataError:
        return False
    main = input_array(arrays)
    return bool(main) and arrays[main].ndim in (3, 4)


def read_npz(path: Path, options: ReadOptions) -> TableContent:
    """Return the arrays of a file as columns: x1, x2, … of X, and one for each array with a number for each row."""
    import pandas as pd

    arrays, _ = load_arrays(path)
    main = input_array(arrays)
    rows = len(arrays[main]) if main and arrays[main].ndim else 0
    columns: dict[str, Any] = {}
    left_out: list[str] = []
    named: set[str] = set()
    for name in [main, *(other for other in arrays if other != main)] if main else []:
        array = arrays[name]
        if array.ndim == 2 and array.shape[1] == 1:
            array = array[:, 0]
        if name in named:
            continue
        if not array.ndim or len(array) != rows or array.ndim > 2:
            left_out.append(name)
        elif array.dtype.names:
            columns |= {field: array[field] for field in array.dtype.names}
        elif array.ndim == 1:
            columns[name] = array
        elif name == target_array(arrays, main) and _is_one_hot(array):
            columns[name] = array.argmax(axis=1)
        else:
            names, used = _names_of_columns(arrays, name, main)
            columns |= {column: array[:, place] for place, column in enumerate(names)}
            named.add(used)
    if not columns:
        raise BadDataError(
            f"{path} holds no table: {', '.join(arrays) or 'no arrays'}",
            "write it with numpy.savez(FILE, X=…, y=…); X has a row for each example",
        )
    frame = pd.DataFrame({name: _native(values[: options.rows]) for name, values in columns.items()})
    notes = (f"arrays of other sizes are left out: {', '.join(left_out)}",) if left_out else ()
    return TableContent(frame=frame, description=f"NumPy arrays {', '.join(arrays)}", notes=notes)


def _is_one_hot(array: Array) -> bool:
    """Whether each row has one 1 and otherwise zeros: its place is the class."""
    return array.dtype.kind in "iufb" and bool(
        ((array == 0) | (array == 1)).all() and (array.sum(axis=1) == 1).all()
    )


def _names_of_columns(arrays: dict[str, Array], name: str, main: str) -> tuple[list[str], str]:
    """Return the names of an array's columns, and the array of texts that has them, such as feature_names; or ""."""
    width = arrays[name].shape[1]
    for other, texts in arrays.items():
        if (
            name == main
            and other.lower() in NAMES_NAMES
            and texts.shape == (width,)
            and texts.dtype.kind in "US"
        ):
            found = _native(texts).tolist()
            if len(set(found)) == width:
                return found, other
    base = "x" if name == main else name
    return [f"{base}{place + 1}" for place in range(width)], ""


def _native(values: Array) -> Any:
    if values.dtype.kind == "S":
        return np.char.decode(values, "utf-8", errors="replace")
    return values.astype(values.dtype.newbyteorder("="))

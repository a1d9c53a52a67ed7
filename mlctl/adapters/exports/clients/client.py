"""Predict with the model of this folder.

python predict.py rows.csv
python predict.py rows.json

A JSON file is a list: of objects by column, or of arrays. In Python:

    from predict import Predictor
    model = Predictor()
    model({"age": [42.0], "place": ["north"]})
"""

from __future__ import annotations

import csv
import json
import os
import sys
from typing import Any

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))


def to_arrays(rows: Any, inputs: Any) -> dict[str, Any]:
    """Return rows as the model's file takes them: missing numbers are NaN, missing texts are empty.

    `rows` are an array, or a dict of arrays by column or input.
    """
    arrays: dict[str, Any] = {}
    for entry in inputs:
        array: Any
        if hasattr(rows, "keys") and entry["name"] not in rows:
            raise ValueError(f"there is no column or input {entry['name']!r}")
        values = rows[entry["name"]] if hasattr(rows, "keys") else rows
        if entry["dtype"] == "string":
            cells = np.asarray(values, dtype=object)
            texts = ["" if cell is None or cell != cell else _text(cell) for cell in cells.ravel()]
            array = np.array(texts, dtype=object).reshape(cells.shape)
        else:
            array = np.asarray(values)
            if array.dtype.kind == "O":  # None among numbers
                numbers = [np.nan if cell is None else cell for cell in array.ravel()]
                array = np.array(numbers, dtype=np.float64).reshape(array.shape)
            array = array.astype(entry["dtype"], copy=False)
        if array.ndim == len(entry["shape"]):  # a column in place of rows of one value
            array = array[:, np.newaxis]
        elif array.ndim == len(entry["shape"]) + 2 and array.shape[-1] == 1:
            array = array[..., 0]
        arrays[entry["input"]] = np.ascontiguousarray(array)
    return arrays


def _text(cell: Any) -> str:
    return cell.decode("utf-8") if isinstance(cell, bytes) else str(cell)


def about(folder: str = HERE) -> dict[str, Any]:
    """Return what model.json says about the model."""
    with open(os.path.join(folder, "model.json"), encoding="utf-8") as file:
        content: dict[str, Any] = json.load(file)
    return content


def read_rows(path: str, columns: Any) -> Any:
    """Return the rows of a CSV or JSON file: an array, or a dict of columns."""
    with open(path, encoding="utf-8-sig", newline="") as file:
        table = list(csv.DictReader(file)) if path.endswith(".csv") else json.load(file)
    if not isinstance(table, list) or not table or not isinstance(table[0], dict):
        return np.asarray(table) if isinstance(table, list) else {k: np.asarray(v) for k, v in table.items()}
    names = columns or dict.fromkeys(table[0], "")
    if not any(name in row for row in table for name in names):
        raise ValueError(f"it has none of the columns {', '.join(names)}")
    return {name: _column(name, [row.get(name) for row in table], kind) for name, kind in names.items()}


def _column(name: str, cells: Any, kind: str) -> Any:
    if kind in ("string", "boolean"):
        return np.array([None if cell in ("", None) else str(cell) for cell in cells], dtype=object)
    if all(isinstance(cell, list) for cell in cells):
        return np.asarray(cells)
    try:
        return np.array([np.nan if cell in ("", None) else float(cell) for cell in cells], dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"column {name!r}: {error}") from error


def describe(answers: Any, outputs: Any) -> list[dict[str, Any]]:
    """Return answers as JSON, one entry for each row: label and probability, or value."""
    named = answers if hasattr(answers, "keys") else {"": answers}
    rows: list[dict[str, Any]] = [{} for _ in range(len(next(iter(named.values()))))]
    for output, array in zip(outputs, named.values(), strict=True):
        for row, answer in zip(rows, np.asarray(array), strict=True):
            entry = row.setdefault(output["name"], {}) if len(named) > 1 else row
            if output["kind"] == "classes":
                shares = np.atleast_1d(answer)
                shares = np.array([1 - shares[0], shares[0]]) if len(shares) == 1 else shares
                is_second = len(shares) == 2 and shares[1] > output["threshold"]
                best = int(is_second) if len(shares) == 2 else int(shares.argmax())
                entry.update(label=output["classes"][best], probability=float(shares[best]))
            else:
                entry["value"] = np.squeeze(answer).tolist()
    return rows


def main() -> None:
    """Print the answers to the rows of a file."""
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    model = about()
    try:
        rows = read_rows(sys.argv[1], model["columns"])
        answers = describe(Predictor()(rows), model["outputs"])
    except Exception as error:  # of the file, the encoder or the runtime
        sys.exit(f"error: cannot answer {sys.argv[1]}: {str(error) or type(error).__name__}")
    print(json.dumps(answers, ensure_ascii=False, indent=1))


# mlctl: the model


class Predictor:  # a stand-in for type checkers: predict_script.py writes the class of the format in its place
    """Answers rows: an array, or a dict of arrays by output name."""

    def __init__(self, folder: str = HERE) -> None:
        """Load the model of a folder."""
        self.about = about(folder)

    def __call__(self, rows: Any) -> Any:
        """Return the answers to rows."""
        raise NotImplementedError

"""Answer with a model that was converted to ONNX, as the library that it came from does.

`conversion.json` beside the graph says how checked input becomes the graph's input, and in what form the library
answers. No library is imported besides NumPy and ONNX Runtime.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mlctl.serving.conversion.session import open_session

GRAPH, DESCRIPTION = "model.onnx", "conversion.json"
MISSING_TEXT = "\ue000"  # stands for a missing text, for which ONNX has no value
BATCH_ROWS = 1024  # limits the memory of what the graph computes in between

Array = np.ndarray[Any, Any]


class ConvertedScorer:
    """A converted model. It takes checked columns, a tensor or named tensors, and returns what the library returns.

    `conversion.json` has these keys:

    - `inputs`: for each input of the graph its `name`, `dtype`, `rank`, and the `columns` that it joins, if the model
      takes a table. Without columns it is the tensor of this name, or the only one.
    - `answers`: a list with the `output` of the graph, the `dtype` and the `shape` of a row, for each array that the
      library returns; and the `form` that the arrays are returned in: "array", "list", or "dict" with `names`.
    - `refused`: by column, what the library says if a value is missing in this column.
    - `absent`: by column, what the library says if the whole column is missing.
    """

    takes_columns = True

    def __init__(self, folder: Path) -> None:
        plan = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
        self._session = open_session(str(folder / GRAPH))
        self._inputs: list[dict[str, Any]] = plan["inputs"]
        self._answers: list[dict[str, Any]] = plan["answers"]
        self._outputs = [answer["output"] for answer in self._answers]
        self._form: str = plan["form"]
        self._names: list[str] = plan["names"]
        self._refused: dict[str, str] = plan["refused"]
        self._absent: dict[str, str] = plan["absent"]

    def __call__(self, rows: Any) -> Any:
        """Return the answers for n checked rows. Raises ValueError for a missing value that the library refuses."""
        for name, message in self._absent.items():
            if name not in rows:
                raise ValueError(message)
        for name, message in self._refused.items():
            if name in rows and _has_gap(rows[name]):
                raise ValueError(message)
        feed = {given["name"]: _as_input(given, rows) for given in self._inputs}
        arrays = self._run(feed)
        answers = [_as_answer(array, answer) for array, answer in zip(arrays, self._answers, strict=True)]
        if self._form == "array":
            return answers[0]
        return dict(zip(self._names, answers, strict=True)) if self._form == "dict" else answers

    def _run(self, feed: dict[str, Array]) -> Sequence[Array]:
        count = len(next(iter(feed.values())))
        if count <= BATCH_ROWS:
            return self._session.run(self._outputs, feed)  # type: ignore[no-any-return]  # it ships no types
        starts = range(0, count, BATCH_ROWS)
        parts = [
            self._session.run(
                self._outputs, {name: array[start : start + BATCH_ROWS] for name, array in feed.items()}
            )
            for start in starts
        ]
        return [np.concatenate(arrays) for arrays in zip(*parts, strict=True)]


def _has_gap(values: Array) -> bool:
    if values.dtype.kind == "f":
        return bool(np.isnan(values).any())
    return values.dtype == object and any(value is None for value in values)


def _as_input(given: Mapping[str, Any], rows: Any) -> Array:
    names: list[str] | None = given["columns"]
    if names is None:
        array = rows[given["name"]] if isinstance(rows, Mapping) and given["name"] in rows else rows
        if isinstance(array, Mapping):
            array = next(iter(array.values()))  # the only one, which the graph names otherwise
        if given["dtype"] == "object":
            return np.asarray(array).astype(object)
        array = np.ascontiguousarray(array, dtype=given["dtype"])
        return array[..., np.newaxis] if array.ndim + 1 == given["rank"] else array
    count = len(next(iter(rows.values())))
    table = np.empty((count, len(names)), given["dtype"])
    for position, name in enumerate(names):
        values = rows.get(name)
        if given["dtype"] == "object":
            table[:, position] = (
                MISSING_TEXT
                if values is None
                else [MISSING_TEXT if text is None else text for text in values]
            )
        elif given["dtype"] == "int64" and (values is None or values.dtype.kind not in "iub"):
            raise ValueError(f"a value is missing in {name}")
        else:
            table[:, position] = np.nan if values is None else values
    return table


def _as_answer(array: Array, answer: Mapping[str, Any]) -> Array:
    if array.dtype == object:
        array = array.astype(str)
    shape = answer["shape"]
    if shape is not None:
        array = array.reshape(len(array), *shape)
    dtype = answer["dtype"]
    return array if dtype == "str" or array.dtype == dtype else array.astype(dtype)

"""Read INPUT: image files, arrays, tables, texts and JSON become batches of rows that a model takes."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mlctl.adapters.predict import image_input
from mlctl.data.files.texts import read_text_file
from mlctl.data.tables import column_types, reader
from mlctl.domain.progress import ProgressListener
from mlctl.errors import BadDataError, NotFoundError, UsageError
from mlctl.services.evaluation.predictor import PredictorInfo, Rows, count_rows, slice_rows
from mlctl.serving.payloads import tables
from mlctl.serving.payloads.request_error import RequestError
from mlctl.serving.payloads.tensors import cast_tensor, check_shape, tensor_from_json

SUFFIXES = (*sorted(image_input.SUFFIXES), ".npy", ".npz", *reader.SUFFIXES, ".txt", ".json")
PAYLOAD_KEYS = ("inputs", "instances", "dataframe_split", "dataframe_records")


@dataclass(frozen=True)
class InputBatch:
    """Rows, and the input that they come from."""

    rows: Rows
    source: str


def read_batches(
    info: PredictorInfo, inputs: list[str], *, size: int, listener: ProgressListener
) -> Iterator[InputBatch]:
    """Yield the rows of all inputs in batches of at most `size`; an input's last batch may be smaller.

    The listener gets a message about columns of a table that the model does not take, such as the target of the
    training. Raises NotFoundError and BadDataError, whose message names the input.
    """
    for text in inputs:
        try:
            for rows in _read_input(info, text, size, listener):
                for start in range(0, count_rows(rows), size):
                    yield InputBatch(slice_rows(rows, start, start + size), text)
        except RequestError as error:
            shown = "stdin" if text == "-" else (text if len(text) <= 40 else text[:39] + "…")
            raise BadDataError(f"{shown}: {error.message}", error.hint) from error


def count_input_rows(inputs: list[str]) -> int | None:
    """Return the number of rows in all inputs; None if it takes long to find out."""
    total = 0
    for text in inputs:
        suffix = Path(text).suffix.lower()
        try:
            if suffix in reader.PARQUET_SUFFIXES:
                total += reader.count_rows(Path(text)) or 0
            elif suffix == ".npy":
                total += len(np.load(text, mmap_mode="r"))
            elif suffix in image_input.SUFFIXES:
                total += 1
            else:
                return None
        except Exception:  # reading the input reports what is wrong with it
            return None
    return total


def rows_from_frame(info: PredictorInfo, frame: pd.DataFrame) -> Rows:
    """Return a recipe's table as rows."""
    return tables.check_columns(_to_lists(frame), info.signature)


def _read_input(info: PredictorInfo, text: str, size: int, listener: ProgressListener) -> Iterator[Rows]:
    if text == "-":
        yield _from_bytes(info, sys.stdin.buffer.read(), listener)
        return
    file = Path(text)
    if text.lower().endswith(SUFFIXES) and "\n" not in text and (file.exists() or " " not in text):
        if not file.is_file():
            raise NotFoundError(f"there is no file {text}", "check the path")
        yield from _from_file(info, file, size, listener)
    elif info.takes_texts:
        yield {info.signature.names[0]: [text]}
    else:
        raise UsageError(
            f"this model does not take the input {text!r}",
            f"name a file ({', '.join(SUFFIXES)}), or - for stdin",
        )


def _from_file(info: PredictorInfo, file: Path, size: int, listener: ProgressListener) -> Iterator[Rows]:
    suffix = file.suffix.lower()
    if suffix in image_input.SUFFIXES:
        tensor = info.signature.tensor
        if tensor is None or len(tensor.shape) not in (3, 4) or min(tensor.shape[1:]) < 1:
            raise BadDataError(
                f"{file}: this model's signature is not that of images", "pass an array: a .npy file"
            )
        yield image_input.read_image(file, tensor.shape[1:], info.full_scale or 255.0, tensor.dtype)
    elif suffix in {".npy", ".npz"}:
        yield from _from_arrays(info, file, size)
    elif reader.is_table(file.name):
        yield from _from_table(info, file, size, listener)
    elif suffix == ".txt" and info.takes_texts:
        yield {info.signature.names[0]: [read_text_file(file)]}
    else:
        yield _from_bytes(info, file.read_bytes(), listener)


def _from_arrays(info: PredictorInfo, file: Path, size: int) -> Iterator[Rows]:
    try:
        content: Any = np.load(file, mmap_mode="r", allow_pickle=False)
        array = content if isinstance(content, np.ndarray) else content[content.files[0]]
    except (ValueError, OSError, IndexError, EOFError) as exc:
        raise BadDataError(f"{file} is not a readable array", "write it with numpy.save") from exc
    tensor = info.signature.tensor
    if tensor is None:
        yield from (array[start : start + size] for start in range(0, len(array), size))
        return
    if array.shape == tensor.shape[1:]:
        array = array[np.newaxis]
    if array.dtype.kind not in "iuf":
        raise BadDataError(f"{file} holds {array.dtype}, not numbers", "save an array of numbers")
    check_shape(array.shape, tensor)
    for start in range(0, len(array), size):
        yield cast_tensor(np.asarray(array[start : start + size]), tensor, info.full_scale)


def _from_table(info: PredictorInfo, file: Path, size: int, listener: ProgressListener) -> Iterator[Rows]:
    """Read a table as the training does, which detects its delimiter, encoding and decimal sign."""
    texts = [column.name for column in info.signature.columns if column.kind == "string"]
    row = 0
    for frame in reader.read_batches(file, size, known_names=info.signature.names, text_columns=texts):
        yield _from_frame(info, frame, file=file, first_row=row, listener=listener)
        row += len(frame)


def _from_frame(
    info: PredictorInfo, frame: pd.DataFrame, *, file: Path, first_row: int, listener: ProgressListener
) -> Rows:
    """Return the rows of a file from `first_row` on as checked columns, with None for a gap.

    Columns that the model does not take are left out; the first batch of a file reports them.
    """
    if not info.signature.columns:
        return _to_lists(frame)
    expected = {column.name: column for column in info.signature.columns}
    unused = [str(name) for name in frame if name not in expected]
    if not first_row and unused and len(unused) < len(frame.columns):
        listener.message(
            f"{file.name}: left out, because the model does not take them: {', '.join(unused[:12])}"
        )
    if len(unused) == len(frame.columns):  # it is another table: the check names the columns of the model
        return tables.check_columns(_to_lists(frame), info.signature)
    columns = {
        str(name): column_types.cast_to_signature(
            frame[name], expected[str(name)].kind, required=expected[str(name)].required
        )
        for name in frame
        if str(name) in expected
    }
    return tables.check_columns(_to_lists(columns), info.signature, first_row)


def _to_lists(table: Mapping[str, pd.Series[Any]] | pd.DataFrame) -> dict[str, list[Any]]:
    return {
        str(name): [None if gap else value for value, gap in zip(values.tolist(), values.isna(), strict=True)]
        for name, values in table.items()
    }


def _from_bytes(info: PredictorInfo, body: bytes, listener: ProgressListener) -> Rows:
    """Return the rows in stdin or in a JSON file: JSON, or else a text or a CSV, as the model takes it."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as exc:
        return _from_text(info, body, exc, listener)
    if isinstance(document, str) and info.takes_texts:
        return {info.signature.names[0]: [document]}
    key, value = "inputs", document
    if isinstance(document, dict):
        keys = [key for key in PAYLOAD_KEYS if key in document]
        if len(keys) == 1:
            key, value = keys[0], document[keys[0]]
        elif info.signature.columns:
            value = [document]  # a single row: its values by column name
    if info.signature.columns:
        return tables.columns_from_json(key, value, info.signature)
    if (tensor := info.signature.tensor) is not None:
        if isinstance(value, list) and _depth(value) == len(tensor.shape) - 1:
            value = [value]
        return tensor_from_json(value, b"" if value is not document else body, tensor, info.full_scale)
    if isinstance(value, list):
        return np.asarray(value)
    raise BadDataError("the server does not describe its input", "send a list of rows")


def _from_text(info: PredictorInfo, body: bytes, json_error: Exception, listener: ProgressListener) -> Rows:
    if info.signature.columns and not info.takes_texts:
        # the training's table reader needs a file
        with tempfile.TemporaryDirectory(prefix="mlctl-") as folder:
            file = Path(folder) / "stdin.csv"
            file.write_bytes(body)
            return next(_from_table(info, file, sys.maxsize, listener))
    if not info.takes_texts:
        raise BadDataError(
            f"the JSON cannot be read: {json_error}", 'example: {"inputs": [[…]]}'
        ) from json_error
    try:
        return {info.signature.names[0]: [body.decode("utf-8")]}
    except UnicodeDecodeError as exc:
        raise BadDataError("the text is not UTF-8", "convert it to UTF-8") from exc


def _depth(value: Any) -> int:
    depth = 0
    while isinstance(value, list) and value:
        depth, value = depth + 1, value[0]
    return depth

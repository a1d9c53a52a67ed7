"""Read INPUT: image files, arrays, tables, texts and JSON become batches of rows that a model takes."""

from __future__ import annotations

import json
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mlctl.data.files.labelled_files import IMAGE_SUFFIXES
from mlctl.data.files.texts import read_text_file
from mlctl.data.tables import column_types, reader
from mlctl.domain.progress import ProgressListener
from mlctl.errors import BadDataError, NotFoundError
from mlctl.services.evaluation.input_kinds import SUFFIXES, takes_images, wrong_kind_error
from mlctl.services.evaluation.predictor import Array, PredictorInfo, Rows, count_rows, slice_rows
from mlctl.serving.payloads import tables
from mlctl.serving.payloads.named_tensors import (
    tensors_from_arrays,
    tensors_from_columns,
    tensors_from_json,
    tensors_from_table,
)
from mlctl.serving.payloads.request_error import RequestError
from mlctl.serving.payloads.signature import ModelSignature
from mlctl.serving.payloads.tensors import cast_tensor, check_shape, tensor_from_json

if TYPE_CHECKING:  # a request to an endpoint need not wait for this import
    import pandas as pd

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
            elif suffix in IMAGE_SUFFIXES:
                total += 1
            else:
                return None
        except Exception:  # reading the input reports what is wrong with it
            return None
    return total


def rows_from_raw(info: PredictorInfo, raw: Any) -> Rows:
    """Return the raw input of a recipe's rows: a table, texts, an array, or a dict or tuple of arrays."""
    signature = info.signature
    if _is_frame(raw) and not signature.tensors:
        return tables.check_columns(_to_lists(raw), signature)
    if signature.columns and isinstance(raw, (list, np.ndarray)):
        return {signature.names[0]: list(raw)}
    if not signature.tensors:
        return _with_array_rows(np.asarray(raw))
    if isinstance(raw, tuple):
        raw = dict(zip((spec.name for spec in signature.tensors), raw, strict=True))
    elif not (isinstance(raw, Mapping) or _is_frame(raw)):
        raw = {signature.tensors[0].name: raw}
    return tensors_from_arrays(
        {name: _with_array_rows(np.asarray(raw[name])) for name in raw}, signature.tensors
    )


def _with_array_rows(array: Array) -> Array:
    """Return rows that are lists of any length as an object array of arrays."""
    if array.dtype != object or not array.size or not isinstance(array.flat[0], (list, tuple)):
        return array
    rows = np.empty(len(array), object)
    for number, row in enumerate(array):
        rows[number] = np.asarray(row)
    return rows


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
        yield _text_rows(info, text)
    else:
        raise wrong_kind_error(info, text)


def _from_file(info: PredictorInfo, file: Path, size: int, listener: ProgressListener) -> Iterator[Rows]:
    suffix = file.suffix.lower()
    if suffix in IMAGE_SUFFIXES:
        tensor = info.signature.tensor
        if info.signature.tensors:
            names = ", ".join(spec.name for spec in info.signature.tensors)
            raise BadDataError(
                f"{file}: this model takes several inputs: {names}",
                f"save them by name: numpy.savez('rows.npz', {info.signature.tensors[0].name}=…)",
            )
        if tensor is None or not takes_images(info):
            raise wrong_kind_error(info, str(file))
        from mlctl.adapters.predict.image_input import read_image  # it imports Pillow

        yield read_image(file, tensor.shape[1:], info.full_scale or 255.0, tensor.dtype)
    elif suffix in {".npy", ".npz"}:
        yield from _from_arrays(info, file, size, listener)
    elif reader.is_table(file.name):
        if takes_images(info):
            raise wrong_kind_error(info, str(file))
        yield from _from_table(info, file, size, listener)
    elif suffix == ".txt" and info.takes_texts:
        yield _text_rows(info, read_text_file(file))
    elif suffix == ".txt" and not info.signature.columns and not _is_json(file):
        raise wrong_kind_error(info, str(file))
    else:
        yield _from_bytes(info, file.read_bytes(), listener)


def _is_json(file: Path) -> bool:
    try:
        json.loads(file.read_bytes())
    except (ValueError, RecursionError):
        return False
    return True


def _from_arrays(info: PredictorInfo, file: Path, size: int, listener: ProgressListener) -> Iterator[Rows]:
    try:
        content: Any = np.load(file, mmap_mode="r", allow_pickle=False)
        arrays = (
            {"": content} if isinstance(content, np.ndarray) else {name: content[name] for name in content}
        )
        array = next(iter(arrays.values()))
    except (ValueError, OSError, StopIteration, EOFError, zipfile.BadZipFile) as exc:
        raise BadDataError(f"{file} is not a readable array", "write it with numpy.save") from exc
    tensor = info.signature.tensor
    if info.signature.tensors or info.signature.columns:
        yield _named_rows(info, file, arrays, listener)
        return
    if len(arrays) > 1:
        raise BadDataError(
            f"{file} holds several arrays, and this model takes one: {', '.join(arrays)}", "save one array"
        )
    if tensor is None:
        yield from (array[start : start + size] for start in range(0, len(array), size))
        return
    if array.shape == tensor.shape[1:]:
        array = array[np.newaxis]
    if array.dtype.kind not in "iuf" and tensor.dtype not in ("str", "bool"):
        raise BadDataError(f"{file} holds {array.dtype}, not numbers", "save an array of numbers")
    check_shape(array.shape, tensor)
    for start in range(0, len(array), size):
        yield cast_tensor(np.asarray(array[start : start + size]), tensor, info.full_scale)


def _named_rows(
    info: PredictorInfo, file: Path, arrays: dict[str, Array], listener: ProgressListener
) -> Rows:
    """Return the arrays of a file by the names of the model's inputs, or of its columns."""
    signature = info.signature
    names = [spec.name for spec in signature.tensors] or list(signature.names)
    if len(arrays) == len(names) == 1:
        arrays = {names[0]: next(iter(arrays.values()))}
    if "" in arrays:
        raise BadDataError(
            f"{file} holds one array, and this model takes {', '.join(names)}",
            f"save them by name: numpy.savez('rows.npz', {names[0]}=…)",
        )
    unused = [name for name in arrays if name not in names]
    if unused and set(names) <= set(arrays):
        listener.message(
            f"{file.name}: left out, because the model does not take them: {', '.join(unused[:12])}"
        )
        arrays = {name: arrays[name] for name in names}
    if signature.tensors:
        return tensors_from_arrays(arrays, signature.tensors)
    return tables.check_columns({name: array.tolist() for name, array in arrays.items()}, signature)


def _from_table(info: PredictorInfo, file: Path, size: int, listener: ProgressListener) -> Iterator[Rows]:
    """Read a table as the training does, which detects its delimiter, encoding and decimal sign."""
    signature = info.signature.as_table or info.signature
    if signature.tensors:
        raise BadDataError(
            f"{file}: a row of this model's inputs is more than a table can hold",
            "pass an .npz file with an array for each input, or JSON",
        )
    texts = [column.name for column in signature.columns if column.kind == "string"]
    row = 0
    for frame in reader.read_batches(file, size, known_names=signature.names, text_columns=texts):
        rows = _from_frame(signature, frame, file=file, first_row=row, listener=listener)
        yield tensors_from_columns(rows, info.signature) if info.signature.tensors else rows
        row += len(frame)


def _from_frame(
    signature: ModelSignature, frame: pd.DataFrame, *, file: Path, first_row: int, listener: ProgressListener
) -> tables.Columns:
    """Return the rows of a file from `first_row` on as checked columns, with None for a gap.

    Columns that the model does not take are left out; the first batch of a file reports them.
    """
    if not signature.columns:
        return _to_lists(frame)
    expected = {column.name: column for column in signature.columns}
    unused = [str(name) for name in frame if name not in expected]
    if not first_row and unused and len(unused) < len(frame.columns):
        listener.message(
            f"{file.name}: left out, because the model does not take them: {', '.join(unused[:12])}"
        )
    if len(unused) == len(frame.columns):  # it is another table: the check names the columns of the model
        return tables.check_columns(_to_lists(frame), signature)
    columns = {
        str(name): column_types.cast_to_signature(
            frame[name], expected[str(name)].kind, required=expected[str(name)].required
        )
        for name in frame
        if str(name) in expected
    }
    return tables.check_columns(_to_lists(columns), signature, first_row)


def _is_frame(raw: Any) -> bool:
    """Return whether this is a DataFrame; while pandas is not loaded, nothing is."""
    pandas = sys.modules.get("pandas")
    return pandas is not None and isinstance(raw, pandas.DataFrame)


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
        return _text_rows(info, document)
    key, value = "inputs", document
    if isinstance(document, dict):
        keys = [key for key in PAYLOAD_KEYS if key in document]
        if len(keys) == 1:
            key, value = keys[0], document[keys[0]]
        elif info.signature.columns:
            value = [document]  # a single row: its values by column name
    if info.signature.tensors:
        return _named_tensors(info.signature, key, value)
    if info.signature.columns:
        return tables.columns_from_json(key, value, info.signature)
    if (tensor := info.signature.tensor) is not None:
        if isinstance(value, str) or (isinstance(value, list) and _depth(value) == len(tensor.shape) - 1):
            value = [value]
        return tensor_from_json(value, tensor, info.full_scale)
    if isinstance(value, list):
        return np.asarray(value)
    raise BadDataError("the server does not describe its input", "send a list of rows")


def _named_tensors(signature: ModelSignature, key: str, value: Any) -> Rows:
    """Return the rows in a JSON document; a dictionary of single rows is one row."""
    if key.startswith("dataframe"):
        return tensors_from_table(key, value, signature)
    specs = {spec.name: spec for spec in signature.tensors}
    if isinstance(value, dict) and all(
        name in specs and _depth(part) == len(specs[name].shape) - 1 for name, part in value.items()
    ):
        value = [value]
    return tensors_from_json(value, signature.tensors)


def _from_text(info: PredictorInfo, body: bytes, json_error: Exception, listener: ProgressListener) -> Rows:
    if (info.signature.columns or info.signature.as_table) and not info.takes_texts:
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
        return _text_rows(info, body.decode("utf-8"))
    except UnicodeDecodeError as exc:
        raise BadDataError("the text is not UTF-8", "convert it to UTF-8") from exc


def _text_rows(info: PredictorInfo, text: str) -> Rows:
    """Return one text as the rows of a model that takes texts."""
    if info.signature.columns:
        return {info.signature.names[0]: [text]}
    spec = info.signature.all_tensors[0]
    rows = np.array([text], dtype=object).reshape((1,) * len(spec.shape))
    return {spec.name: rows} if spec.name else rows


def _depth(value: Any) -> int:
    depth = 0
    while isinstance(value, list) and value:
        depth, value = depth + 1, value[0]
    return depth

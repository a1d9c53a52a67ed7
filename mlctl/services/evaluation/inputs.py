"""Read INPUT: image files, arrays, tables, texts and JSON become batches of rows that a model takes."""

from __future__ import annotations

import json
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from mlctl.data.files.image_arrays import to_rgb
from mlctl.data.files.labelled_files import IMAGE_SUFFIXES, TEXT_SUFFIXES
from mlctl.data.files.texts import read_text_file
from mlctl.data.tables import reader
from mlctl.data.tables.formats.numpy_arrays import input_array, join_splits
from mlctl.domain.progress import ProgressListener
from mlctl.errors import BadDataError, NotFoundError
from mlctl.services.evaluation.input_files import InputFile, find_files, is_small
from mlctl.services.evaluation.input_kinds import ARRAY_SUFFIXES, SUFFIXES, takes_images, wrong_kind_error
from mlctl.services.evaluation.predictor import Array, PredictorInfo, Rows, count_rows, slice_rows
from mlctl.services.evaluation.table_inputs import TableBatch, read_table, to_lists
from mlctl.serving.payloads import tables
from mlctl.serving.payloads.named_tensors import (
    tensors_from_arrays,
    tensors_from_json,
    tensors_from_table,
)
from mlctl.serving.payloads.request_error import RequestError
from mlctl.serving.payloads.signature import ModelSignature, TensorSpec
from mlctl.serving.payloads.tensors import cast_tensor, check_shape, tensor_from_json

# rows of a batch, by the kind of input
TABLE_ROWS, ARRAY_ROWS, FILES = 1 << 14, 1000, 256
PAYLOAD_KEYS = ("inputs", "instances", "dataframe_split", "dataframe_records")


@dataclass(frozen=True, kw_only=True)
class InputBatch:
    """Some rows of an input.

    Attributes:
        source: The input that they come from.
        first_row: Position of the first row in its file.
        count: Number of rows.
        load: Reads the rows; another thread may call it. Raises BadDataError.
        files: The file of each row if the input has several, else ().
    """

    source: str
    first_row: int
    count: int
    load: Callable[[], Rows]
    files: tuple[str, ...] = ()

    @property
    def rows(self) -> Rows:
        """The rows; they are read."""
        return self.load()

    def without_first(self, skipped: int) -> InputBatch:
        """Return this batch without its first rows."""
        return replace(
            self,
            first_row=self.first_row + skipped,
            count=self.count - skipped,
            load=lambda: slice_rows(self.load(), skipped, self.count),
            files=self.files[skipped:],
        )


@dataclass(frozen=True, kw_only=True)
class InputList:
    """What the user wants predicted.

    Attributes:
        items: Files, texts, and "-" for stdin.
        has_files: The answers need the names of their files.
    """

    items: tuple[InputFile | str, ...]
    has_files: bool

    @property
    def files(self) -> list[InputFile]:
        """The files."""
        return [item for item in self.items if isinstance(item, InputFile)]


def list_inputs(info: PredictorInfo, inputs: Sequence[str]) -> InputList:
    """Return the files, texts and streams that inputs name. Raises what `find_files` raises."""
    items: list[InputFile | str] = []
    for text in inputs:
        files = None if text == "-" else find_files(info, text)
        items += [text] if files is None else files
    are_files = all(isinstance(item, InputFile) for item in items)
    is_part = any(isinstance(item, InputFile) and item.is_part for item in items)
    return InputList(items=tuple(items), has_files=are_files and (is_part or len(items) > 1))


def read_batches(
    info: PredictorInfo,
    inputs: Sequence[str] | InputList,
    *,
    size: int | None = None,
    table_rows: int = TABLE_ROWS,
    listener: ProgressListener,
) -> Iterator[InputBatch]:
    """Yield the rows of all inputs in batches of at most `size`; an input's last one may be smaller.

    Without a size, it depends on the kind of input; that of tables is `table_rows`.

    The listener gets a message about columns of a table that the model does not take, such as the target of the
    training. Raises NotFoundError and BadDataError, whose message names the input.
    """
    listed = inputs if isinstance(inputs, InputList) else list_inputs(info, inputs)
    for are_small, group in groupby(
        listed.items, lambda item: isinstance(item, InputFile) and is_small(info, item)
    ):
        if are_small:
            yield from _small_files(
                info, [item for item in group if isinstance(item, InputFile)], size or FILES
            )
            continue
        for item in group:
            yield from _rows_of_item(
                info,
                item,
                size=size,
                table_rows=table_rows,
                has_files=listed.has_files,
                listener=listener,
            )


def count_input_rows(info: PredictorInfo, listed: InputList) -> int | None:
    """Return the number of rows in all inputs; None if it takes long to find out."""
    total = 0
    for item in listed.items:
        if not isinstance(item, InputFile) or item.source.startswith("s3://"):
            return None
        try:
            with item.open() as path:
                if is_small(info, item):
                    total += 1
                elif item.suffix in reader.PARQUET_SUFFIXES:
                    total += reader.count_rows(path) or 0
                elif item.suffix == ".npy":
                    total += len(np.load(path, mmap_mode="r"))
                else:
                    return None
        except Exception:  # reading the input reports what is wrong with it
            return None
    return total


def rows_from_raw(info: PredictorInfo, raw: Any) -> Rows:
    """Return the raw input of a recipe's rows: a table, texts, an array, or a dict or tuple of arrays."""
    signature = info.signature
    if _is_frame(raw) and not signature.tensors:
        return tables.check_columns(to_lists(raw), signature)
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


def _small_files(info: PredictorInfo, files: Sequence[InputFile], size: int) -> Iterator[InputBatch]:
    """Yield images or texts in batches of several files of one input."""
    for source, group in groupby(files, lambda file: file.source):
        of_source = list(group)
        for start in range(0, len(of_source), size):
            batch = of_source[start : start + size]
            names = tuple(file.name for file in batch)
            yield InputBatch(
                source=source,
                first_row=0,
                count=len(batch),
                load=partial(_named_errors, source, partial(_load_small, info, batch)),
                files=names,
            )


def _load_small(info: PredictorInfo, files: Sequence[InputFile]) -> Rows:
    parts: list[Any] = []
    for file in files:
        with file.open() as path:
            parts.append(
                read_text_file(path) if file.suffix in TEXT_SUFFIXES else _read_image(info, path, file.name)
            )
    return np.concatenate(parts) if isinstance(parts[0], np.ndarray) else _text_rows(info, parts)


def _read_image(info: PredictorInfo, path: Path, name: str) -> Array:
    from mlctl.adapters.predict.image_input import read_image  # it imports Pillow

    tensor = info.signature.tensor
    assert tensor is not None
    try:
        return read_image(path, tensor.shape[1:], info.full_scale or 255.0, tensor.dtype)
    except BadDataError as exc:
        raise BadDataError(exc.message.replace(str(path), name, 1), exc.hint) from exc


def _rows_of_item(
    info: PredictorInfo,
    item: InputFile | str,
    *,
    size: int | None,
    table_rows: int,
    has_files: bool,
    listener: ProgressListener,
) -> Iterator[InputBatch]:
    """Yield the rows of a file, a text or stdin in batches."""
    is_file = isinstance(item, InputFile)
    name = item.name if isinstance(item, InputFile) else item
    row = 0
    with item.open() if isinstance(item, InputFile) else nullcontext(Path()) as path:
        batches = (
            _from_file(info, path, size=size, table_rows=table_rows, listener=listener)
            if is_file
            else _at_once(_from_text_input(info, str(item), listener))
        )
        while True:
            try:
                count, load = next(batches)
            except StopIteration:
                return
            except RequestError as error:
                raise _named_error(name, error) from error
            most = size or count
            for start in range(0, count, most or 1):
                part = min(most, count - start)
                yield InputBatch(
                    source=name,
                    first_row=row + start,
                    count=part,
                    load=partial(_named_errors, name, partial(_load_part, load, start, part, count)),
                    files=(name,) * part if has_files else (),
                )
            row += count


def _load_part(load: Callable[[], Rows], start: int, count: int, total: int) -> Rows:
    rows = load()
    return rows if count == total else slice_rows(rows, start, start + count)


def _named_errors(name: str, load: Callable[[], Rows]) -> Rows:
    try:
        return load()
    except RequestError as error:
        raise _named_error(name, error) from error


def _named_error(name: str, error: RequestError) -> BadDataError:
    shown = "stdin" if name == "-" else (name if len(name) <= 40 else name[:39] + "…")
    return BadDataError(f"{shown}: {error.message}", error.hint)


def _at_once(rows: Rows) -> Iterator[TableBatch]:
    yield count_rows(rows), lambda: rows


def _from_text_input(info: PredictorInfo, text: str, listener: ProgressListener) -> Rows:
    """Return the rows in stdin or in an argument."""
    if text == "-":
        return _from_bytes(info, sys.stdin.buffer.read(), listener)
    if text.lower().endswith(SUFFIXES) and "\n" not in text and " " not in text:
        raise NotFoundError(f"there is no file {text}", "check the path")
    if info.takes_texts:
        return _text_rows(info, [text])
    raise wrong_kind_error(info, text)


def _from_file(
    info: PredictorInfo, file: Path, *, size: int | None, table_rows: int, listener: ProgressListener
) -> Iterator[TableBatch]:
    suffix = file.suffix.lower()
    if suffix in IMAGE_SUFFIXES:
        if info.signature.tensors:
            names = ", ".join(spec.name for spec in info.signature.tensors)
            raise BadDataError(
                f"{file}: this model takes several inputs: {names}",
                f"save them by name: numpy.savez('rows.npz', {info.signature.tensors[0].name}=…)",
            )
        raise wrong_kind_error(info, str(file))
    if suffix in ARRAY_SUFFIXES and not _are_columns(info, file):
        yield from _from_arrays(info, file, size or ARRAY_ROWS, listener)
    elif suffix == ".txt" and not info.signature.columns and not _is_json(file):
        raise wrong_kind_error(info, str(file))
    elif (
        file.is_dir()
        or reader.is_only_table(file.name)
        or suffix == ".npz"
        or _is_table_of_columns(info, file)
    ):
        if takes_images(info):
            raise wrong_kind_error(info, str(file))
        yield from read_table(info, file, size=size or table_rows, listener=listener)
    else:
        yield from _at_once(_from_bytes(info, file.read_bytes(), listener))


def _are_columns(info: PredictorInfo, file: Path) -> bool:
    """Whether the arrays of a file are columns under other names, as training reads X and y.

    They are not if the file has an array for each column of the model.
    """
    if file.suffix.lower() != ".npz" or not info.signature.columns:
        return False
    try:
        with np.load(file, allow_pickle=False) as content:
            names = set(info.signature.names)
            return bool(set(content.files) - names) and not names <= set(content.files)
    except (ValueError, OSError, EOFError, zipfile.BadZipFile):
        return False


def _is_table_of_columns(info: PredictorInfo, file: Path) -> bool:
    """Whether a .txt or .json file is a table of columns, and not the body of a request."""
    if not info.signature.columns or info.takes_texts or not reader.is_table(file.name):
        return False
    try:
        document = json.loads(file.read_bytes())
    except (ValueError, RecursionError):
        return True
    if isinstance(document, list):
        return all(isinstance(row, dict | list) for row in document) and bool(document)
    return (
        isinstance(document, dict)
        and not any(key in document for key in PAYLOAD_KEYS)
        and any(isinstance(value, (dict, list)) for value in document.values())
    )


def _is_json(file: Path) -> bool:
    try:
        json.loads(file.read_bytes())
    except (ValueError, RecursionError):
        return False
    return True


def _from_arrays(
    info: PredictorInfo, file: Path, size: int, listener: ProgressListener
) -> Iterator[TableBatch]:
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
        yield from _at_once(_named_rows(info, file, arrays, listener))
        return
    if tensor is not None and takes_images(info):
        array = _image_array(arrays, tensor)
    elif len(arrays) > 1:
        raise BadDataError(
            f"{file} holds several arrays, and this model takes one: {', '.join(arrays)}", "save one array"
        )
    if tensor is None:
        for start in range(0, len(array), size):
            yield from _at_once(np.asarray(array[start : start + size]))
        return
    if array.shape == tensor.shape[1:]:
        array = array[np.newaxis]
    if array.dtype.kind not in "iuf" and tensor.dtype not in ("str", "bool"):
        raise BadDataError(f"{file} holds {array.dtype}, not numbers", "save an array of numbers")
    check_shape(array.shape, tensor)
    for start in range(0, len(array), size):
        part = array[start : start + size]
        yield len(part), partial(_cast_part, part, tensor, info.full_scale)


def _image_array(arrays: dict[str, Array], tensor: TensorSpec) -> Array:
    """Return the array of images; beside it, a file may hold their labels."""
    if len(arrays) > 1:
        arrays, _ = join_splits(arrays)
        arrays = {"": arrays[input_array(arrays)]}
    array = next(iter(arrays.values()))
    is_gray = array.ndim == 3 and array.shape[1:] == tensor.shape[1:3]
    is_float = array.ndim == 4 and array.shape[1:] == tensor.shape[1:] and array.dtype.kind == "f"
    # as the training on such a file does
    if tensor.dtype == "uint8" and tensor.shape[-1] == 3 and (is_gray or is_float):
        return to_rgb(np.asarray(array))
    return array


def _cast_part(part: Array, tensor: TensorSpec, full_scale: float | None) -> Rows:
    return cast_tensor(np.asarray(part), tensor, full_scale)


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


def _is_frame(raw: Any) -> bool:
    """Return whether this is a DataFrame; while pandas is not loaded, nothing is."""
    pandas = sys.modules.get("pandas")
    return pandas is not None and isinstance(raw, pandas.DataFrame)


def _from_bytes(info: PredictorInfo, body: bytes, listener: ProgressListener) -> Rows:
    """Return the rows in stdin or in a JSON file: JSON, or else a text or a CSV, as the model takes it."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as exc:
        return _from_text(info, body, exc, listener)
    if isinstance(document, str) and info.takes_texts:
        return _text_rows(info, [document])
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
        rules = replace(tables.LENIENT, readings=info.readings)
        return tables.columns_from_json(key, value, info.signature, rules)
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
            _, load = next(read_table(info, file, size=sys.maxsize, listener=listener))
            return load()
    if not info.takes_texts:
        raise BadDataError(
            f"the JSON cannot be read: {json_error}", 'example: {"inputs": [[…]]}'
        ) from json_error
    try:
        return _text_rows(info, [body.decode("utf-8")])
    except UnicodeDecodeError as exc:
        raise BadDataError("the text is not UTF-8", "convert it to UTF-8") from exc


def _text_rows(info: PredictorInfo, texts: Sequence[str]) -> Rows:
    """Return texts as the rows of a model that takes texts."""
    rows = np.array(texts, dtype=object)
    if info.signature.columns:
        return {info.signature.names[0]: rows}
    spec = info.signature.all_tensors[0]
    rows = rows.reshape(-1, *(1,) * (len(spec.shape) - 1))
    return {spec.name: rows} if spec.name else rows


def _depth(value: Any) -> int:
    depth = 0
    while isinstance(value, list) and value:
        depth, value = depth + 1, value[0]
    return depth

"""INPUT: picture files, arrays, tables, texts and JSON as rows that a model takes, a batch at a time."""

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
import pyarrow.parquet

from mlctl.adapters.predict import image_input
from mlctl.data.files.texts import text_of
from mlctl.data.tables import column_types, reader
from mlctl.domain.progress import ProgressListener
from mlctl.errors import BadDataError, NotFoundError, UsageError
from mlctl.services.evaluation.predictor import About, Rows, take
from mlctl.serving import tables
from mlctl.serving.request_error import RequestError
from mlctl.serving.tensors import cast, check_shape, to_tensor

KNOWN = (*sorted(image_input.SUFFIXES), ".npy", ".npz", *reader.CSV, *reader.PARQUET, ".txt", ".json")


@dataclass(frozen=True)
class Batch:
    """Rows with the name of the input that they come from."""

    rows: Rows
    source: str


def batches(about: About, inputs: list[str], size: int, listener: ProgressListener) -> Iterator[Batch]:
    """Yield the rows of all inputs, at most `size` a batch; an input's last batch may be smaller.

    The watcher is told what of a table is left out, such as the target that it was trained to give.
    Raises NotFoundError and BadDataError that name the input.
    """
    for text in inputs:
        try:
            for rows in _rows(about, text, size, listener):
                count = len(rows) if not isinstance(rows, dict) else len(next(iter(rows.values())))
                for first in range(0, count, size):
                    yield Batch(take(rows, first, first + size), text)
        except RequestError as refusal:
            shown = "stdin" if text == "-" else (text if len(text) <= 40 else text[:39] + "…")
            raise BadDataError(f"{shown}: {refusal.message}", refusal.hint) from refusal


def count(inputs: list[str]) -> int | None:
    """Return how many rows there are where that is quickly known."""
    total = 0
    for text in inputs:
        suffix = Path(text).suffix.lower()
        try:
            if suffix in reader.PARQUET:
                total += pyarrow.parquet.read_metadata(text).num_rows
            elif suffix == ".npy":
                total += len(np.load(text, mmap_mode="r"))
            elif suffix in image_input.SUFFIXES:
                total += 1
            else:
                return None
        except Exception:  # whatever is wrong with it is said when it is read
            return None
    return total


def _rows(about: About, text: str, size: int, listener: ProgressListener) -> Iterator[Rows]:
    if text == "-":
        yield _from_bytes(about, sys.stdin.buffer.read(), listener)
        return
    file = Path(text)
    if text.lower().endswith(KNOWN) and "\n" not in text and (file.exists() or " " not in text):
        if not file.is_file():
            raise NotFoundError(f"there is no file {text}", "look at the path")
        yield from _from_file(about, file, size, listener)
    elif _takes_texts(about):
        yield {about.signature.names[0]: [text]}
    else:
        known = ", ".join(KNOWN)
        raise UsageError(f"{text!r} is no input that this model takes", f"a file ({known}), or - for stdin")


def _from_file(about: About, file: Path, size: int, listener: ProgressListener) -> Iterator[Rows]:
    suffix = file.suffix.lower()
    if suffix in image_input.SUFFIXES:
        tensor = about.signature.tensor
        if tensor is None or len(tensor.shape) not in (3, 4) or min(tensor.shape[1:]) < 1:
            raise BadDataError(
                f"{file}: it is not known how this model takes pictures", "give it an array: a .npy file"
            )
        yield image_input.read(file, tensor.shape[1:], about.full_scale or 255.0, tensor.dtype)
    elif suffix in {".npy", ".npz"}:
        yield from _from_arrays(about, file, size)
    elif file.name.lower().endswith(reader.PARQUET):
        yield from _from_parquet(about, file, size, listener)
    elif reader.is_table(file.name):
        yield from _from_text_table(about, file, size, listener)
    elif suffix == ".txt" and _takes_texts(about):
        yield {about.signature.names[0]: [text_of(file)]}
    else:
        yield _from_bytes(about, file.read_bytes(), listener)


def _from_arrays(about: About, file: Path, size: int) -> Iterator[Rows]:
    try:
        loaded: Any = np.load(file, mmap_mode="r", allow_pickle=False)
        array = loaded if isinstance(loaded, np.ndarray) else loaded[loaded.files[0]]
    except (ValueError, OSError, IndexError, EOFError) as exc:
        raise BadDataError(f"{file} is no array that can be read", "numpy.save writes one") from exc
    tensor = about.signature.tensor
    if tensor is None:
        yield from (array[first : first + size] for first in range(0, len(array), size))
        return
    if array.shape == tensor.shape[1:]:
        array = array[np.newaxis]
    if array.dtype.kind not in "iuf":
        raise BadDataError(f"{file} holds {array.dtype}, not numbers", "save an array of numbers")
    check_shape(array.shape, tensor)
    for first in range(0, len(array), size):
        yield cast(np.asarray(array[first : first + size]), tensor, about.full_scale)


def _from_text_table(about: About, file: Path, size: int, listener: ProgressListener) -> Iterator[Rows]:
    """Read a table as a training reads one: its delimiter, encoding and decimal sign are found."""
    texts = [one.name for one in about.signature.columns if one.kind == "string"]
    done = 0
    for frame in reader.parts(file, size, about.signature.names, texts):
        yield _columns(about, frame, file, done, listener)
        done += len(frame)


def _from_parquet(about: About, file: Path, size: int, listener: ProgressListener) -> Iterator[Rows]:
    try:
        opened = pyarrow.parquet.ParquetFile(file)
    except (pyarrow.ArrowException, OSError) as exc:
        raise BadDataError(f"{file} is no Parquet file that can be read", "look at what wrote it") from exc
    done = 0
    for batch in opened.iter_batches(batch_size=size):
        names = [name for name in batch.schema.names if not name.startswith("__index_level_")]
        yield _columns(about, batch.select(names).to_pandas(), file, done, listener)
        done += batch.num_rows


def _columns(about: About, frame: pd.DataFrame, file: Path, first: int, listener: ProgressListener) -> Rows:
    """Return a file's rows from number `first` as checked columns, None for gaps.

    What the model does not take is left out, and said once.
    """
    wanted = about.signature.columns
    if not wanted:
        return _lists(frame)
    known = {one.name: one for one in wanted}
    spare = [str(name) for name in frame if name not in known]
    if not first and spare and len(spare) < len(frame.columns):
        listener.message(f"{file.name}: the model does not take {', '.join(spare[:12])}: left out")
    if len(spare) == len(frame.columns):  # it is another table: say what is wanted
        return tables.checked(_lists(frame), about.signature)
    taken = {
        str(name): column_types.as_sent(frame[name], known[str(name)].kind, known[str(name)].required)
        for name in frame
        if str(name) in known
    }
    return tables.checked(_lists(taken), about.signature, first)


def _lists(table: Mapping[str, pd.Series[Any]] | pd.DataFrame) -> dict[str, list[Any]]:
    return {
        str(name): [None if gap else value for value, gap in zip(values.tolist(), values.isna(), strict=True)]
        for name, values in table.items()
    }


def of_frame(about: About, frame: pd.DataFrame) -> Rows:
    """Return a table of a recipe as rows."""
    return tables.checked(_lists(frame), about.signature)


def _from_bytes(about: About, body: bytes, listener: ProgressListener) -> Rows:
    """Return what stands in stdin or a JSON file: JSON, else a text or a CSV, as the model takes it."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as exc:
        return _from_text(about, body, exc, listener)
    if isinstance(document, str) and _takes_texts(about):
        return {about.signature.names[0]: [document]}
    key, value = "inputs", document
    if isinstance(document, dict):
        keys = [
            one for one in ("inputs", "instances", "dataframe_split", "dataframe_records") if one in document
        ]
        if len(keys) == 1:
            key, value = keys[0], document[keys[0]]
        elif about.signature.columns:
            value = [document]  # one row, its columns by name
    if about.signature.columns:
        return tables.from_json(key, value, about.signature)
    if about.signature.tensor is not None:
        if isinstance(value, list) and _depth(value) == len(about.signature.tensor.shape) - 1:
            value = [value]
        return to_tensor(
            value, b"" if value is not document else body, about.signature.tensor, about.full_scale
        )
    if isinstance(value, list):
        return np.asarray(value)
    raise BadDataError("the server does not say what it takes", "send a list of rows")


def _from_text(about: About, body: bytes, exc: Exception, listener: ProgressListener) -> Rows:
    if about.signature.columns and not _takes_texts(about):
        with tempfile.TemporaryDirectory(prefix="mlctl-") as folder:  # pandas reads a path as training does
            file = Path(folder) / "stdin.csv"
            file.write_bytes(body)
            return next(_from_text_table(about, file, sys.maxsize, listener))
    if not _takes_texts(about):
        raise BadDataError(f"the JSON cannot be read: {exc}", 'such as {"inputs": [[…]]}') from exc
    try:
        return {about.signature.names[0]: [body.decode("utf-8")]}
    except UnicodeDecodeError as wrong:
        raise BadDataError("the text is not UTF-8", "convert it") from wrong


def _takes_texts(about: About) -> bool:
    columns = about.signature.columns
    return len(columns) == 1 and columns[0].kind == "string"


def _depth(value: Any) -> int:
    depth = 0
    while isinstance(value, list) and value:
        depth, value = depth + 1, value[0]
    return depth

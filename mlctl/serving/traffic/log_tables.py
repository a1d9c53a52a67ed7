"""Logged requests as Parquet tables, one row for each row of a request, and back.

| column | content |
| --- | --- |
| request_id, row, rows | the request, the place of this row in it, and how many it had |
| time, version, seconds, status | when it was answered, by which version, in how long, and the HTTP status |
| input, or input.NAME | an input column or tensor; rows of arrays are flat lists |
| input.NAME shape | the shape of each row, if rows have several dimensions or differ |
| answer, or answer.NAME | the model's answers in the same form |
| body, answer_body | the texts of request and answer, if only MLflow's own application could read them |
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mlctl.serving.traffic.features import Array, is_missing

if TYPE_CHECKING:
    import pyarrow as pa

INPUT, ANSWER, SHAPE = "input", "answer", " shape"
FLOATS = {"double": "float64", "float": "float32", "halffloat": "float16"}  # NumPy's names of Arrow's types
MAX_TEXT = 65_536  # characters of a body

Columns = dict[str, Array]


@dataclass(frozen=True, kw_only=True)
class LoggedRequest:
    """A request to log: some of its rows, with inputs and answers as arrays by name ("" if there is only one).

    Attributes:
        places: The place in the request of each row.
        rows: Number of rows of the whole request.
        time: Seconds since the epoch.
        texts: Bodies of request and answer in place of inputs and answers, if only MLflow could read them.
    """

    request_id: str
    places: Array
    rows: int
    time: float
    version: str
    seconds: float
    status: int
    inputs: Columns
    answers: Columns
    texts: tuple[str, str] | None = None


def as_arrays(values: Any) -> Columns:
    """Return inputs or answers as arrays by name; {} if they have no such form."""
    if values is None:
        return {}
    if hasattr(values, "iloc"):
        if not hasattr(values, "columns"):
            return {"": values.to_numpy()}
        return {str(name): values[name].to_numpy() for name in values}
    if isinstance(values, Mapping):
        return {str(name): np.asarray(part) for name, part in values.items()}
    try:
        array = np.asarray(values)
    except ValueError:
        return {}
    return {"": array} if array.ndim else {}


def to_tables(requests: Iterable[LoggedRequest]) -> list[pa.Table]:
    """Return the requests as tables: one for each form that inputs and answers have."""
    groups: dict[Any, list[LoggedRequest]] = {}
    for request in requests:
        forms = (_form(request.inputs), _form(request.answers), request.texts is None)
        groups.setdefault(forms, []).append(request)
    return [_to_table(group) for group in groups.values()]


def from_table(table: pa.Table, prefix: str) -> Columns:
    """Return the inputs or the answers of a table as arrays by name."""
    columns: Columns = {}
    for name in table.column_names:
        if name != prefix and not name.startswith(f"{prefix}."):
            continue
        if name.endswith(SHAPE) and name.removesuffix(SHAPE) in table.column_names:
            continue
        shapes = table[name + SHAPE].to_pylist() if name + SHAPE in table.column_names else None
        columns[name.removeprefix(prefix).removeprefix(".")] = _to_array(table[name], shapes)
    return columns


def times_of(table: pa.Table) -> Array:
    """Return the time of each row in microseconds since the epoch."""
    return _from_numbers(table["time"].cast("int64").combine_chunks())


def take(table: pa.Table, places: Array) -> pa.Table:
    """Return these rows of a table."""
    return table.take(_to_numbers(np.asarray(places, np.int64)))


def _form(columns: Columns) -> tuple[Any, ...]:
    """Return what must be equal for rows to share a table."""
    return tuple(
        (name, "text" if array.dtype.kind in "US" else array.dtype, array.ndim)
        for name, array in columns.items()
    )


def _to_table(group: Sequence[LoggedRequest]) -> pa.Table:
    import pyarrow as pa

    counts = [len(request.places) for request in group]

    def repeat(values: Sequence[Any]) -> Array:
        return np.repeat(np.array(values), counts)

    times = (repeat([request.time for request in group]) * 1e6).astype(np.int64)
    columns: dict[str, pa.Array] = {
        "request_id": _to_texts(repeat([request.request_id for request in group]).tolist()),
        "row": _to_numbers(np.concatenate([request.places for request in group]).astype(np.int32)),
        "rows": _to_numbers(repeat([request.rows for request in group]).astype(np.int32)),
        "time": _to_numbers(times).cast(pa.timestamp("us", tz="UTC")),
        "version": _to_texts(repeat([request.version for request in group]).tolist()),
        "seconds": _to_numbers(repeat([request.seconds for request in group])),
        "status": _to_numbers(repeat([request.status for request in group]).astype(np.int16)),
    }
    for prefix, parts in (
        (INPUT, [request.inputs for request in group]),
        (ANSWER, [request.answers for request in group]),
    ):
        for name in parts[0]:
            columns |= _to_columns(f"{prefix}.{name}" if name else prefix, [part[name] for part in parts])
    if group[0].texts is not None:
        for place, name in enumerate(("body", "answer_body")):
            texts = [(request.texts or ("", ""))[place] for request in group]
            columns[name] = _to_texts(repeat(texts).tolist())
    return pa.Table.from_arrays(list(columns.values()), names=list(columns))


def _to_columns(name: str, parts: Sequence[Array]) -> dict[str, pa.Array]:
    import pyarrow as pa

    is_ragged = parts[0].dtype == object and any(part.size and _is_row(part.flat[0]) for part in parts)
    if parts[0].ndim == 1 and not is_ragged:
        return {name: _to_cells(np.concatenate(parts))}
    has_shape = parts[0].ndim > 2
    if not is_ragged and len({part.shape[1:] for part in parts}) == 1:
        rows = np.concatenate(parts)
        flat, shapes = rows.reshape(len(rows), -1), [rows.shape[1:]] * len(rows)
        offsets, values = np.arange(len(flat) + 1) * flat.shape[1], flat.ravel()
    else:
        single = [np.asarray(row) for part in parts for row in part]
        has_shape = has_shape or any(row.ndim > 1 for row in single)
        shapes = [row.shape for row in single]
        offsets = np.cumsum([0, *(row.size for row in single)])
        values = np.concatenate([row.ravel() for row in single])
    column = {name: pa.ListArray.from_arrays(_to_numbers(offsets.astype(np.int32)), _to_cells(values))}
    if has_shape:
        ends = np.cumsum([0, *map(len, shapes)])
        sizes: Array = np.concatenate(shapes)
        column[name + SHAPE] = pa.ListArray.from_arrays(
            _to_numbers(ends.astype(np.int32)), _to_numbers(sizes.astype(np.int32))
        )
    return column


def _is_row(value: Any) -> bool:
    return isinstance(value, (list, tuple, np.ndarray))


def _to_cells(array: Array) -> pa.Array:
    import pyarrow as pa

    if array.dtype.kind in "iufb":
        return _to_numbers(array.astype(np.float32) if array.dtype == np.float16 else array)
    cells = array.astype(str).tolist() if array.dtype.kind == "M" else array.tolist()
    missing = np.array([is_missing(cell) for cell in cells])
    filled = [cell for cell, is_gap in zip(cells, missing.tolist(), strict=True) if not is_gap]
    if not filled:
        return pa.nulls(len(cells))
    for kinds, dtype in ((bool, np.bool_), (int, np.int64), ((int, float), np.float64)):
        if all(isinstance(cell, kinds) for cell in filled):
            numbers = np.zeros(len(cells), dtype)
            numbers[~missing] = filled
            return _to_numbers(numbers, missing)
    return _to_texts([None if gap else str(cell) for cell, gap in zip(cells, missing.tolist(), strict=True)])


# `pa.array` and `pa.table` would import pandas, which takes a worker 40 MB


def _to_numbers(array: Array, missing: Array | None = None) -> pa.Array:
    import pyarrow as pa

    plain = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("="))
    content = np.packbits(plain, bitorder="little") if plain.dtype == bool else plain
    known = None
    if missing is not None and missing.any():
        known = pa.py_buffer(np.packbits(~missing, bitorder="little"))
    return pa.Array.from_buffers(pa.from_numpy_dtype(plain.dtype), len(plain), [known, pa.py_buffer(content)])


def _to_texts(texts: Sequence[str | None]) -> pa.Array:
    import pyarrow as pa

    builder = pa.lib.StringBuilder()
    builder.append_values(list(texts))
    return builder.finish()


def _to_array(column: Any, shapes: list[list[int]] | None) -> Array:
    import pyarrow as pa

    joined = column.combine_chunks()
    if not pa.types.is_list(joined.type):
        if pa.types.is_integer(joined.type) or pa.types.is_floating(joined.type):
            return _from_numbers(joined)
        cells = np.empty(len(joined), object)
        cells[:] = joined.to_pylist()
        return cells
    lengths, values = _from_numbers(joined.value_lengths()), joined.flatten()
    if pa.types.is_integer(values.type) or pa.types.is_floating(values.type):
        flat = _from_numbers(values)
    else:
        flat = np.array(values.to_pylist(), dtype=object)
    shape = shapes[0] if shapes else None
    if len(set(lengths.tolist())) == 1 and (shapes is None or all(other == shape for other in shapes)):
        return flat.reshape(len(lengths), *(shape or [int(lengths[0])]))
    rows = np.empty(len(lengths), object)
    for place, row in enumerate(np.split(flat, np.cumsum(lengths)[:-1])):
        rows[place] = row.reshape(shapes[place]) if shapes else row
    return rows


def _from_numbers(array: Any) -> Array:
    """Return numbers, with NaN for missing ones; Arrow's own conversions would import pandas."""
    if array.null_count:
        return np.array([np.nan if cell is None else cell for cell in array.to_pylist()], np.float64)
    name = str(array.type)
    numbers = np.frombuffer(array.buffers()[1], dtype=FLOATS.get(name, name))
    return numbers[array.offset : array.offset + len(array)]

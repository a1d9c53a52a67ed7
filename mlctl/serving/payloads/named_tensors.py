"""Turn the named tensors of a request into arrays, or say which name, row or value is wrong."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mlctl.domain.short_texts import list_some
from mlctl.errors import did_you_mean
from mlctl.serving.payloads import tables
from mlctl.serving.payloads.request_error import RequestError, bad_request, quote
from mlctl.serving.payloads.signature import ModelSignature, TensorSpec
from mlctl.serving.payloads.tensors import cast_tensor, check_shape, holds_only_numbers, tensor_from_json

MAX_LISTED = 12

Array = np.ndarray[Any, Any]
Tensors = dict[str, Array]
Specs = Sequence[TensorSpec]


@dataclass(frozen=True, kw_only=True)
class TensorRules:
    """What tensors may have besides the values of their specification.

    Attributes:
        extra: Names that the model does not take; they are dropped.
        takes_gaps: Tensors of floats may hold null and NaN.
        is_exact: Large whole numbers have all their digits; `tensor_from_json` says what happens if not.
    """

    extra: bool = True
    takes_gaps: bool = False
    is_exact: bool = True


LENIENT = TensorRules()


def tensors_from_json(value: Any, specs: Specs, body: bytes = b"", rules: TensorRules = LENIENT) -> Tensors:
    """Return the named arrays of a JSON payload. Raises RequestError, and InexactNumber as `tensor_from_json` does.

    Args:
        value: What `inputs` or `instances` holds: a dictionary of tensors by name, a list of rows, each a dictionary of
            values by name, or a tensor, if the model takes only one.
        specs: The tensors that the model takes.
        body: JSON text that the value was read from; b"" if that is not known.
        rules: What the tensors may have besides their values.
    """
    if isinstance(value, list) and value and isinstance(value[0], dict):
        named, keys = _from_rows(value, specs, rules), 1 + len(specs) * len(value)
    elif isinstance(value, dict):
        check_names(value, specs, extra=rules.extra)
        named, keys = value, 1 + len(specs)
    elif value == []:
        raise bad_request("there are no rows", _names_hint(specs))
    elif len(specs) == 1:
        named, keys = {specs[0].name: value}, 1
    else:
        raise bad_request("the inputs have no names", _names_hint(specs))
    only_numbers = holds_only_numbers(body, keys)
    tensors = {}
    for spec in specs:
        with _naming(spec):
            values = _with_lists(named[spec.name], spec)
            tensors[spec.name] = tensor_from_json(
                values,
                spec,
                only_numbers=only_numbers,
                takes_gaps=rules.takes_gaps,
                is_exact=rules.is_exact,
            )
    return check_rows(tensors)


def tensors_from_arrays(arrays: Mapping[str, Array], specs: Specs, *, takes_gaps: bool = False) -> Tensors:
    """Return the arrays of a file, or the columns of a table, in the types of the model. Raises RequestError.

    A column of values is reshaped to rows of one value, if the model takes these.
    """
    check_names(arrays, specs)
    tensors = {}
    for spec in specs:
        array = np.asarray(arrays[spec.name])
        if array.ndim == 1 and spec.shape[1:] == (1,):
            array = array[:, np.newaxis]
        elif array.shape == spec.shape[1:]:
            array = array[np.newaxis]
        with _naming(spec):
            tensors[spec.name] = _cast(array, spec, takes_gaps=takes_gaps)
    return check_rows(tensors)


def tensors_from_table(
    key: str, value: Any, signature: ModelSignature, rules: TensorRules = LENIENT
) -> Tensors:
    """Return the named arrays of `dataframe_split` or `dataframe_records`. Raises RequestError.

    A cell is one value, or the flat list of a row's values, as MLflow's server takes them.
    """
    if (table := signature.as_table) is not None:
        columns = tables.columns_from_json(key, value, table, table_rules(signature, rules))
        return tensors_from_columns(columns, signature, rules)
    specs = signature.tensors
    cells = tables.cells_from_json(key, value)
    check_names(cells, specs, extra=rules.extra)
    tensors = {}
    for spec in specs:
        with _naming(spec):
            is_flat = len(spec.shape) > 2 and min(spec.shape[1:]) > 0 and _depth(cells[spec.name]) == 2
            flat = replace(spec, shape=(-1, math.prod(spec.shape[1:]))) if is_flat else spec
            tensors[spec.name] = tensor_from_json(
                _with_lists(cells[spec.name], spec),
                flat,
                takes_gaps=rules.takes_gaps,
                is_exact=rules.is_exact,
            )
            if is_flat:
                tensors[spec.name] = tensors[spec.name].reshape(-1, *spec.shape[1:])
    return check_rows(tensors)


def tensors_from_columns(
    columns: tables.Columns, signature: ModelSignature, rules: TensorRules = LENIENT
) -> Tensors:
    """Return the named arrays of a table whose columns were checked."""
    return tensors_from_arrays(columns, signature.tensors, takes_gaps=rules.takes_gaps)


def table_rules(signature: ModelSignature, rules: TensorRules) -> tables.TableRules:
    """Return the rules of a table for a model of named tensors (`signature.as_table`)."""
    return tables.TableRules(
        extra=rules.extra,
        gaps=frozenset({"double"} if rules.takes_gaps else ()),
        is_exact=rules.is_exact,
    )


def check_names(names: Iterable[str], specs: Specs, *, extra: bool = False) -> None:
    """Raise RequestError if a name is missing, or, unless `extra` names are allowed, unknown."""
    names, known = list(names), [spec.name for spec in specs]
    missing = [name for name in known if name not in names]
    unknown = [name for name in names if name not in known] if missing or not extra else []
    problems = []
    if missing:
        problems.append(f"missing inputs: {list_some(missing, MAX_LISTED)}")
    if unknown:
        problems.append(f"unknown inputs: {list_some([name[:40] for name in unknown], MAX_LISTED)}")
    if problems:
        suggestion = did_you_mean(unknown[0], missing or known) if unknown else ""
        raise bad_request("; ".join(problems), suggestion or _names_hint(specs))


def check_rows(tensors: Tensors) -> Tensors:
    """Return the tensors; raise RequestError if one has another number of rows than the first."""
    first, *others = tensors
    for name in others:
        if len(tensors[name]) != len(tensors[first]):
            raise bad_request(
                f"{quote(first)} has {len(tensors[first])} rows, {quote(name)} has {len(tensors[name])}",
                "every input must have one entry per row",
            )
    return tensors


def _cast(array: Array, spec: TensorSpec, *, takes_gaps: bool) -> Array:
    if spec.takes_any_length and array.ndim == 1 and array.size and isinstance(array[0], np.ndarray):
        row_spec = replace(spec, shape=(-1, *spec.shape[2:]))
        rows = np.empty(len(array), object)
        for number, row in enumerate(array):
            rows[number] = cast_tensor(row, row_spec, takes_gaps=takes_gaps)
        return rows
    check_shape(array.shape, spec)
    return cast_tensor(array, spec, takes_gaps=takes_gaps)


def _from_rows(rows: list[Any], specs: Specs, rules: TensorRules) -> dict[str, list[Any]]:
    """Return the values of each name in a list of rows."""
    known = {spec.name for spec in specs}
    for number, row in enumerate(rows):
        if not isinstance(row, dict):
            raise bad_request(f"row {number} is not a dictionary", _names_hint(specs))
        if row.keys() != known:
            try:
                check_names(row, specs, extra=rules.extra)
            except RequestError as error:
                raise bad_request(f"row {number}: {error.message}", error.hint) from None
    return {spec.name: [row[spec.name] for row in rows] for spec in specs}


@contextmanager
def _naming(spec: TensorSpec) -> Iterator[None]:
    """Put the tensor's name before the message of a RequestError."""
    try:
        yield
    except RequestError as error:
        raise bad_request(f"{quote(spec.name)}: {error.message}", error.hint) from None


def _with_lists(values: Any, spec: TensorSpec) -> Any:
    """Return single values as rows of one value, if the model takes these."""
    is_column = spec.shape[1:] == (1,) and isinstance(values, list)
    if is_column and not any(isinstance(value, list) for value in values):
        return [[value] for value in values]
    return values


def _depth(value: Any) -> int:
    depth = 0
    while isinstance(value, list) and value:
        depth, value = depth + 1, value[0]
    return depth


def _names_hint(specs: Specs) -> str:
    return f"the model takes {list_some([f'{spec.name} {spec}' for spec in specs], 6)}"

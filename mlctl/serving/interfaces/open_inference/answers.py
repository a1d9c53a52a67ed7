"""From the model's answers to the tensors of a response."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import orjson

from mlctl.domain.outputs import Output, Outputs
from mlctl.serving.interfaces.open_inference.datatypes import Array, datatype_of, to_bytes
from mlctl.serving.interfaces.open_inference.request import InferenceRequest, RequestedOutput
from mlctl.serving.payloads.answers import to_json_types
from mlctl.serving.payloads.request_error import bad_request, quote

UNNAMED = "predictions"  # name of the only output if the model does not name it


def tensors_of(answers: Any, names: Sequence[str] = ()) -> dict[str, Array]:
    """Return a model's answers as tensors by name.

    Texts are object arrays of str. What is neither numbers nor texts becomes JSON, one text for each row.

    Args:
        answers: An array, a dictionary of arrays, a DataFrame, or a list.
        names: The names in the model's signature; one of them names answers that have no name.
    """
    if isinstance(answers, Mapping):
        return {str(name): _as_tensor(values) for name, values in answers.items()}
    if hasattr(answers, "columns"):
        return {str(name): _as_tensor(answers[name]) for name in answers.columns}
    return {names[0] if len(names) == 1 and names[0] else UNNAMED: _as_tensor(answers)}


def describe_outputs(tensors: Mapping[str, Array]) -> list[dict[str, Any]]:
    """Return name, datatype and shape of each output, with -1 for the number of rows."""
    return [
        {"name": name, "datatype": datatype_of(str(array.dtype)), "shape": [-1, *array.shape[1:]]}
        for name, array in tensors.items()
    ]


def encode_response(
    head: Mapping[str, Any], request: InferenceRequest, tensors: Mapping[str, Array], outputs: Outputs
) -> tuple[bytes, int | None]:
    """Return the body of a response, and the length of its JSON if bytes of tensors follow it.

    Args:
        head: What precedes the outputs: the model's name and version.
        request: The request, which says what outputs to send and how.
        tensors: The model's answers.
        outputs: What the model's outputs mean.
    """
    document = {**head} if request.id is None else {**head, "id": request.id}
    entries: list[dict[str, Any]] = []
    parts: list[bytes] = []
    for wanted in request.outputs or [
        RequestedOutput(name=name, is_binary=request.is_binary) for name in tensors
    ]:
        if (array := tensors.get(wanted.name)) is None:
            raise bad_request(
                f"the model has no output {quote(wanted.name)}", f"it has {', '.join(map(quote, tensors))}"
            )
        if wanted.classes:
            array = _most_probable(array, wanted, _meaning_of(wanted.name, outputs))
        entry = {"name": wanted.name, "datatype": datatype_of(str(array.dtype)), "shape": array.shape}
        if wanted.is_binary:
            parts.append(_to_bytes(array, wanted.name))
            entry["parameters"] = {"binary_data_size": len(parts[-1])}
        else:
            entry["data"] = (
                array.ravel().tolist() if array.dtype == object else np.ascontiguousarray(array).ravel()
            )
        entries.append(entry)
    text = orjson.dumps({**document, "outputs": entries}, option=orjson.OPT_SERIALIZE_NUMPY)
    return (b"".join([text, *parts]), len(text)) if parts else (text, None)


def _to_bytes(array: Array, name: str) -> bytes:
    if array.dtype == object and any(text is None for text in array.ravel()):
        raise bad_request(
            f"the output {quote(name)} has missing texts, which bytes cannot express",
            'ask for it with "binary_data": false',
        )
    return to_bytes(array)


def _as_tensor(values: Any) -> Array:
    array = values if isinstance(values, np.ndarray) else _to_array(values)
    if array.ndim == 0:
        array = array.reshape(1)
    if array.dtype.kind in "biuf" and datatype_of(str(array.dtype.newbyteorder("="))) != "BYTES":
        return array.astype(array.dtype.newbyteorder("="), copy=False)
    if array.dtype.kind == "U":
        return array.astype(object)
    if array.dtype.kind == "S":
        return np.char.decode(array, "utf-8", "replace").astype(object)
    if array.dtype.kind == "M":
        return np.datetime_as_string(array).astype(object)
    if array.dtype == object and all(value is None or isinstance(value, str) for value in array.ravel()):
        return array
    rows = to_json_types(array.tolist())
    return _object_array([orjson.dumps(row).decode() for row in rows])


def _to_array(values: Any) -> Array:
    """Return a list, a Series or a single value as an array; an object array if it is not rectangular."""
    if hasattr(values, "to_numpy"):
        return _from_series(values)
    if not isinstance(values, (list, tuple)):
        return np.asarray(values)
    try:
        array = np.array(values)
    except (ValueError, OverflowError):
        return _object_array(values)
    is_mixed = array.dtype.kind == "U" and not all(isinstance(value, str) for value in _leaves(values))
    return _object_array(values) if is_mixed or (array.dtype == object and array.ndim > 1) else array


def _from_series(values: Any) -> Array:
    """Return a pandas Series, with NaN for missing numbers and None for other missing values."""
    kind = getattr(values.dtype, "kind", "O")
    if isinstance(values.dtype, np.dtype) and kind != "O":
        return np.asarray(values.to_numpy())
    if kind in "iuf" and values.hasnans:
        return np.asarray(values.to_numpy(dtype=np.float64, na_value=np.nan))
    if kind in "iufb" and not values.hasnans:
        return np.asarray(values.to_numpy(dtype=values.dtype.numpy_dtype))
    cells = values.astype(object)
    return np.asarray(cells.where(cells.notna(), None).to_numpy())


def _leaves(values: Any) -> Iterable[Any]:
    if not isinstance(values, (list, tuple)):
        return (values,)
    return (leaf for value in values for leaf in _leaves(value))


def _object_array(values: Sequence[Any]) -> Array:
    array = np.empty(len(values), object)
    for number, value in enumerate(values):
        array[number] = value
    return array


def _meaning_of(name: str, outputs: Outputs) -> Output | None:
    by_name = {output.name: output for output in outputs}
    return by_name.get(name) or (outputs[0] if len(outputs) == 1 else None)


def _most_probable(array: Array, wanted: RequestedOutput, meaning: Output | None) -> Array:
    """Return texts such as `0.97:3:cat` for the most probable classes of each row, as Triton does."""
    if array.dtype == object or array.ndim != 2:
        raise bad_request(
            f"the output {quote(wanted.name)} has no classes", "leave the parameter classification out"
        )
    if array.shape[1] == 1 and meaning is not None and meaning.kind == "classes":
        array = np.concatenate([1 - array, array], axis=1)
    names = meaning.classes if meaning is not None and len(meaning.classes) == array.shape[1] else ()
    order = np.argsort(-array, axis=1, kind="stable")[:, : wanted.classes]
    texts = [
        [f"{row[index]}:{index}" + (f":{names[index]}" if names else "") for index in best]
        for row, best in zip(array, order, strict=True)
    ]
    return np.array(texts, dtype=object)

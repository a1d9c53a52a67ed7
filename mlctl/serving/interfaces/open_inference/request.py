"""Read the body of an inference request: JSON, which the bytes of binary tensors may follow."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlctl.serving.interfaces.open_inference.datatypes import Array, dtype_of, from_bytes
from mlctl.serving.payloads.cells import InexactNumber
from mlctl.serving.payloads.json_body import read_exactly, read_json
from mlctl.serving.payloads.request_error import RequestError, bad_request, quote
from mlctl.serving.payloads.signature import TensorSpec
from mlctl.serving.payloads.tensors import tensor_from_json

MAX_DIMENSIONS = 32
MAX_ID_LENGTH = 256
_SHARED_MEMORY = "shared_memory_region"


@dataclass(frozen=True, kw_only=True)
class RequestedOutput:
    """An output that the client asks for.

    Attributes:
        name: Its name.
        is_binary: Send it as bytes.
        classes: Answer with the texts of so many most probable classes instead; 0: with the numbers.
    """

    name: str
    is_binary: bool
    classes: int = 0


@dataclass(frozen=True, kw_only=True)
class InferenceRequest:
    """A request whose tensors are complete, but were not compared with the model's signature.

    Attributes:
        id: Identifier that the answer repeats, or None.
        tensors: The tensors by name; texts, and values of which some are missing, are object arrays.
        outputs: The outputs that the client asks for; () for all.
        is_binary: Send the outputs as bytes, if `outputs` is empty.
        parameters: The request's parameters.
    """

    id: str | None
    tensors: dict[str, Array]
    outputs: tuple[RequestedOutput, ...]
    is_binary: bool
    parameters: Mapping[str, Any]


def read_request(body: bytes, header_length: str | None) -> InferenceRequest:
    """Return the request in a body. Raises RequestError.

    Args:
        body: The request's body, decompressed.
        header_length: The header Inference-Header-Content-Length: number of bytes of the JSON; None: all are JSON.
    """
    if not body:
        raise bad_request("the body is empty", "send JSON with inputs")
    length = _read_header_length(header_length, len(body))
    text, binary = body[:length], memoryview(body)[length:]
    try:
        document = read_json(text)
    except RequestError as error:
        if header_length is None and b"binary_data_size" in body:
            hint = "the bytes of tensors need the header Inference-Header-Content-Length"
            raise bad_request(error.message, hint) from None
        raise
    try:
        return _read_document(document, binary, is_exact=False)
    except InexactNumber:
        return _read_document(read_exactly(text), binary, is_exact=True)


def _read_document(document: Any, binary: memoryview, *, is_exact: bool) -> InferenceRequest:
    """Return the request in a JSON document. Raises InexactNumber unless `is_exact`."""
    if not isinstance(document, dict):
        raise bad_request("the body is not a JSON object", "send an object with inputs")
    inputs = document.get("inputs")
    if not isinstance(inputs, list) or not inputs:
        raise bad_request("inputs must be a list of tensors", "each has name, shape, datatype and data")
    tensors: dict[str, Array] = {}
    for number, entry in enumerate(inputs):
        name, array, binary = _read_tensor(entry, number, binary, is_exact=is_exact)
        if name in tensors:
            raise bad_request(f"the input {quote(name)} was sent twice", "send each input once")
        tensors[name] = array
    if binary:
        raise bad_request(
            f"{len(binary)} bytes belong to no input", "send binary_data_size for each binary input"
        )
    parameters = _parameters_of(document, "the request")
    is_binary = _read_flag(parameters, "binary_data_output", False)
    return InferenceRequest(
        id=_read_id(document.get("id")),
        tensors=tensors,
        outputs=_read_outputs(document.get("outputs"), is_binary),
        is_binary=is_binary,
        parameters=parameters,
    )


def _read_header_length(text: str | None, body_length: int) -> int:
    if text is None:
        return body_length
    if not (text.isascii() and text.isdigit() and len(text) <= 19):
        raise bad_request(
            f"Inference-Header-Content-Length {quote(text)} is not a number", "send the length of the JSON"
        )
    if not 0 < int(text) <= body_length:
        raise bad_request(
            f"Inference-Header-Content-Length is {text}, but the body has {body_length} bytes",
            "send the length of the JSON",
        )
    return int(text)


def _read_tensor(
    entry: Any, number: int, binary: memoryview, *, is_exact: bool
) -> tuple[str, Array, memoryview]:
    """Return a tensor's name, its values, and the bytes that follow its own."""
    if not isinstance(entry, dict):
        raise bad_request(f"input {number} is not an object", "it has name, shape, datatype and data")
    name, datatype = entry.get("name"), entry.get("datatype")
    if not isinstance(name, str):
        raise bad_request(f"input {number} has no name", "GET /v2/models/NAME tells the names")
    if not isinstance(datatype, str):
        raise bad_request(f"the input {quote(name)} has no datatype", "such as FP32")
    dtype = dtype_of(datatype)
    shape = _read_shape(entry.get("shape"), name)
    parameters = _parameters_of(entry, quote(name))
    if _SHARED_MEMORY in parameters:
        raise bad_request(f"{quote(name)}: shared memory is not supported", "send data, or bytes")
    size = parameters.get("binary_data_size")
    if size is None:
        if "data" not in entry:
            raise bad_request(f"the input {quote(name)} has neither data nor binary_data_size", "send data")
        return name, _from_json(entry["data"], TensorSpec(dtype, shape, name), is_exact=is_exact), binary
    if "data" in entry:
        raise bad_request(f"the input {quote(name)} has data and binary_data_size", "send one of them")
    if type(size) is not int or size < 0 or size > len(binary):
        raise bad_request(
            f"{quote(name)}: binary_data_size is {quote(size)}, but {len(binary)} bytes are left",
            "the bytes of the tensors follow the JSON in the order of the inputs; send the length of the JSON "
            "in the header Inference-Header-Content-Length",
        )
    return name, from_bytes(binary[:size], datatype, shape, name), binary[size:]


def _read_shape(shape: Any, name: str) -> tuple[int, ...]:
    if not isinstance(shape, list) or not shape or any(type(length) is not int for length in shape):
        raise bad_request(f"{quote(name)}: the shape is not a list of whole numbers", "such as [1, 3]")
    if len(shape) > MAX_DIMENSIONS:
        raise bad_request(
            f"{quote(name)}: the shape has {len(shape)} dimensions", f"at most {MAX_DIMENSIONS}"
        )
    if any(length < 0 for length in shape):
        raise bad_request(f"{quote(name)}: the shape has a negative length", "send the real length")
    if 0 in shape:
        raise bad_request(f"{quote(name)}: the tensor is empty", "send at least one row")
    return tuple(shape)


def _from_json(data: Any, spec: TensorSpec, *, is_exact: bool) -> Array:
    """Return the values of a tensor: one list of all, or nested lists. null and NaN are missing values."""
    if not isinstance(data, list):
        raise bad_request(f"{quote(spec.name)}: data is not a list", "send a list of the values")
    if data and isinstance(data[0], list):
        return _checked(data, spec, is_exact=is_exact)
    count = math.prod(spec.shape)
    if len(data) != count:
        raise bad_request(
            f"{quote(spec.name)}: data has {len(data)} values, but the shape has {quote(count)}",
            "send one value for each element of the shape",
        )
    present = data if "float" in spec.dtype else [value for value in data if value is not None]
    flat = TensorSpec(spec.dtype, (len(present),), spec.name)
    if len(present) == count:
        return _checked(data, flat, is_exact=is_exact).reshape(spec.shape)
    array = np.full(count, None, object)
    if present:
        places = [place for place, value in enumerate(data) if value is not None]
        array[places] = _checked(present, flat, is_exact=is_exact).tolist()
    return array.reshape(spec.shape)


def _checked(data: list[Any], spec: TensorSpec, *, is_exact: bool) -> Array:
    try:
        return tensor_from_json(data, spec, takes_gaps=True, is_exact=is_exact)
    except RequestError as error:
        raise bad_request(f"{quote(spec.name)}: {error.message}", error.hint) from None


def _read_id(value: Any) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or len(value) > MAX_ID_LENGTH:
        raise bad_request("id is not a short text", f"send at most {MAX_ID_LENGTH} characters")
    return value


def _read_outputs(entries: Any, is_binary: bool) -> tuple[RequestedOutput, ...]:
    if entries is None:
        return ()
    if not isinstance(entries, list):
        raise bad_request("outputs is not a list", 'send [{"name": "…"}], or leave it out')
    outputs: dict[str, RequestedOutput] = {}
    for number, entry in enumerate(entries):
        name = entry.get("name") if isinstance(entry, dict) else None
        if not isinstance(name, str):
            raise bad_request(f"output {number} has no name", "GET /v2/models/NAME tells the names")
        if name in outputs:
            raise bad_request(f"the output {quote(name)} was asked for twice", "ask for it once")
        parameters = _parameters_of(entry, quote(name))
        if _SHARED_MEMORY in parameters:
            raise bad_request(f"{quote(name)}: shared memory is not supported", "leave it out")
        classes = parameters.get("classification", 0)
        if type(classes) is not int or classes < 0:
            raise bad_request(f"{quote(name)}: classification is not a number of classes", "such as 3")
        outputs[name] = RequestedOutput(
            name=name, is_binary=_read_flag(parameters, "binary_data", is_binary), classes=classes
        )
    return tuple(outputs.values())


def _parameters_of(entry: Mapping[str, Any], what: str) -> Mapping[str, Any]:
    parameters = entry.get("parameters")
    if parameters is None:
        return {}
    if not isinstance(parameters, dict):
        raise bad_request(f"the parameters of {what} are not an object", "leave them out")
    return parameters


def _read_flag(parameters: Mapping[str, Any], name: str, default: bool) -> bool:
    value = parameters.get(name, default)
    if not isinstance(value, bool):
        raise bad_request(f"{name} is {quote(value)}", "send true or false")
    return value

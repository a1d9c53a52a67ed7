"""From the tensors of a request to the model's input, and what the model's metadata says of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from mlctl.serving.interfaces.open_inference.datatypes import Array, datatype_of
from mlctl.serving.model import ServedModel
from mlctl.serving.payloads.named_tensors import TensorRules, check_names, check_rows
from mlctl.serving.payloads.request_error import RequestError, bad_request, quote
from mlctl.serving.payloads.signature import ModelSignature, TensorSpec
from mlctl.serving.payloads.tables import check_columns
from mlctl.serving.payloads.tensors import cast_tensor, check_shape
from mlctl.serving.prediction import PredictionCall, RequestParser

UNNAMED = "inputs"  # name of the only input of a model whose signature has no names
_KINDS = {
    "string": "str",
    "boolean": "bool",
    "long": "int64",
    "integer": "int32",
    "double": "float64",
    "float": "float32",
}


def describe_inputs(signature: ModelSignature) -> list[dict[str, Any]]:
    """Return name, datatype and shape of each input; a table has one for each column."""
    if signature.columns:
        return [
            {"name": column.name, "datatype": datatype_of(_KINDS[column.kind]), "shape": [-1]}
            | ({} if column.required else {"parameters": {"optional": True}})
            for column in signature.columns
        ]
    return [
        {
            "name": spec.name or UNNAMED,
            "datatype": datatype_of(spec.dtype),
            "shape": [length if length >= 0 else -1 for length in spec.shape],
        }
        for spec in signature.all_tensors
    ]


def predict_tensors(
    model: ServedModel, tensors: Mapping[str, Array], *, strict: bool = False
) -> PredictionCall:
    """Return the model's call for the tensors of a request. Raises RequestError if they do not fit the signature.

    Args:
        model: The model that will answer.
        tensors: The tensors by name.
        strict: Refuse unknown names, and missing values of required columns.
    """
    signature, parser = model.signature, RequestParser(model, strict=strict)
    if signature.columns:
        values = {name: _as_column(name, array) for name, array in tensors.items()}
        return parser.table_call(check_columns(values, signature, rules=parser.table_rules()))
    rules = parser.tensor_rules()
    if signature.tensor is not None:
        if len(tensors) != 1:
            raise bad_request(f"the model takes one input, not {len(tensors)}", f"send {signature.tensor}")
        (array,) = tensors.values()
        return parser.tensor_call(_cast(array, signature.tensor, rules, model.full_scale))
    if signature.tensors:
        check_names(tensors, signature.tensors, extra=rules.extra)
        arrays = {spec.name: _cast(tensors[spec.name], spec, rules) for spec in signature.tensors}
        return parser.tensors_call(check_rows(arrays))
    raise bad_request(
        "this model has no signature that the Open Inference Protocol can express",
        "send the data to /invocations",
    )


def _cast(array: Array, spec: TensorSpec, rules: TensorRules, full_scale: float | None = None) -> Array:
    if spec.is_scalar and array.shape in ((len(array),), (len(array), 1)):
        array = array.reshape(-1, *spec.shape[1:])
    try:
        check_shape(array.shape, spec)
        if array.dtype == object:
            _check_objects(array, spec)
        elif array.dtype == np.float16 and spec.dtype != "float16":
            array = array.astype(np.float32)  # the limits of other types are infinite as float16
        return cast_tensor(array, spec, full_scale, takes_gaps=rules.takes_gaps)
    except RequestError as error:
        if not spec.name:
            raise
        raise bad_request(f"{quote(spec.name)}: {error.message}", error.hint) from None


def _check_objects(array: Array, spec: TensorSpec) -> None:
    """Raise RequestError if texts, of which some may be missing, are not what a tensor takes."""
    if (missing := array == None).any():  # noqa: E711 - each element is compared
        position = "".join(f"[{index}]" for index in np.argwhere(missing)[0])
        raise bad_request(f"the value at {position} is missing", f"send {spec}")
    if spec.dtype != "str":
        raise bad_request(f"the tensor holds texts, not {spec.dtype}", f"send {spec}")


def _as_column(name: str, array: Array) -> Array:
    if array.shape not in ((len(array),), (len(array), 1)):
        raise bad_request(
            f"{quote(name)} has shape {quote(list(array.shape))}",
            "send one value for each row: [n] or [n, 1]",
        )
    return array.ravel()

"""Values of every datatype reach a model of every type as they are, or the request is refused."""

from __future__ import annotations

import json
import os
from types import SimpleNamespace
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlctl.serving.endpoint_spec import ServedVersion
from mlctl.serving.interfaces.open_inference.datatypes import dtype_of, to_bytes
from mlctl.serving.interfaces.open_inference.routes import OpenInferenceRoutes
from mlctl.serving.payloads.request_error import RequestError
from mlctl.serving.payloads.signature import ModelSignature, TensorSpec

pytestmark = pytest.mark.unit

DRAWS = 20_000 if os.environ.get("MLCTL_TEST_LONG") else 150
INTEGERS = ["INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64"]
FLOATS = ["FP16", "FP32", "FP64"]
TYPES = ["int8", "int32", "int64", "uint8", "uint64", "float16", "float32", "float64", "bool", "str"]


def echo(dtype: str) -> OpenInferenceRoutes:
    """Return routes for a model that answers with the tensor that it gets."""
    model: Any = SimpleNamespace(
        signature=ModelSignature(tensor=TensorSpec(dtype, (-1, 2))),
        info=SimpleNamespace(by_mlctl=True, outputs=()),
        full_scale=None,
        takes_gaps=False,
        readings={},
        predict_tensors=lambda array: array,
    )
    served = ServedVersion(name="echo", version="", uri="", folder="")
    return OpenInferenceRoutes(model, served, None, None)  # type: ignore[arg-type]


@st.composite
def tensors(draw: st.DrawFn) -> tuple[str, list[Any]]:
    """Return a datatype and four values, which are not always values of it."""
    datatype = draw(st.sampled_from([*INTEGERS, *FLOATS, "BOOL", "BYTES"]))
    if datatype == "BYTES":
        values: Any = st.text(max_size=4)
    elif datatype == "BOOL":
        values = st.booleans()
    elif datatype in INTEGERS:
        limits = np.iinfo(dtype_of(datatype))
        edges = [
            int(limits.min) - 1,
            int(limits.min),
            int(limits.max),
            int(limits.max) + 1,
            0,
            1,
            255,
            2**53 + 1,
        ]
        values = st.one_of(st.sampled_from(edges), st.integers(-(2**65), 2**65))
    else:
        width = 8 * np.dtype(dtype_of(datatype)).itemsize
        values = st.one_of(st.floats(width=width), st.integers(-5, 300).map(float))  # type: ignore[call-overload]
    return datatype, draw(st.lists(values, min_size=4, max_size=4))


def send(routes: OpenInferenceRoutes, entry: dict[str, Any], content: bytes = b"") -> list[Any]:
    """Return the values of the answer."""
    head = json.dumps({"inputs": [{"name": "x", "shape": [2, 2], **entry}]}).encode()
    answer = routes.answer(head + content, str(len(head)))
    (output,) = orjson.loads(answer.answered.body)["outputs"]
    return list(output["data"])


def fits(datatype: str, values: list[Any], target: str) -> bool:
    """Return whether whole numbers, true and false, or texts must be accepted."""
    if datatype in ("BOOL", "BYTES"):
        return target == dtype_of(datatype)
    if datatype not in INTEGERS or target in ("bool", "str"):
        return False
    limits = [np.iinfo(dtype_of(datatype))]
    limits.append(np.finfo(target) if "float" in target else np.iinfo(target))  # type: ignore[arg-type]
    return all(float(limit.min) <= value <= int(limit.max) for limit in limits for value in values)


@settings(max_examples=DRAWS, deadline=None)
@given(tensors(), st.sampled_from(TYPES), st.booleans())
def test_no_value_changes(sent: tuple[str, list[Any]], target: str, is_binary: bool) -> None:
    datatype, values = sent
    entry: dict[str, Any] = {"datatype": datatype, "data": values}
    content = b""
    if is_binary:
        try:
            array = np.array(values, object if datatype == "BYTES" else dtype_of(datatype))
        except OverflowError:  # no bytes stand for such a number
            return
        content = to_bytes(array)
        entry = {"datatype": datatype, "parameters": {"binary_data_size": len(content)}}
    try:
        answered = send(echo(target), entry, content)
    except RequestError as error:
        assert (error.status, bool(error.message), fits(datatype, values, target)) == (400, True, False)  # noqa: PT017
        return
    if "float" in target:
        assert np.isfinite(np.array(values, np.float64)).all()
        with np.errstate(over="ignore"):
            sent_as = np.array(values, "float64" if datatype not in FLOATS else dtype_of(datatype))
            expected = sent_as.astype(target)
        np.testing.assert_array_equal(np.array(answered, target), expected)
    else:
        assert answered == values

"""The model's example as a request of the Open Inference Protocol."""

from __future__ import annotations

from typing import Any

import numpy as np

from mlctl.serving.interfaces.open_inference.answers import tensors_of
from mlctl.serving.interfaces.open_inference.datatypes import datatype_of
from mlctl.serving.interfaces.open_inference.inputs import UNNAMED, describe_inputs
from mlctl.serving.model import ServedModel
from mlctl.serving.payloads.request_error import RequestError
from mlctl.serving.prediction import parse_request


def example_request(model: ServedModel) -> dict[str, Any] | None:
    """Return the first row of the model's example as JSON; None if there is no example that can be sent so."""
    if model.example is None:
        return None
    try:
        call = parse_request(model, model.example, "application/json")
    except RequestError:
        return None
    if call is None:
        return None
    inputs = call.inputs if isinstance(call.inputs, dict) else {UNNAMED: call.inputs}
    datatypes = {entry["name"]: entry["datatype"] for entry in describe_inputs(model.signature)}
    entries = []
    for name, values in inputs.items():
        row = values[:1]
        if isinstance(row, np.ndarray) and row.dtype == object and isinstance(row[0], np.ndarray):
            row = row[0][np.newaxis]  # a row of any length
        array = tensors_of(row)["predictions"]
        datatype = datatypes.get(name, datatype_of(str(array.dtype)))
        data = [None if value != value else value for value in array.ravel().tolist()]
        entries.append({"name": name, "shape": list(array.shape), "datatype": datatype, "data": data})
    return {"inputs": entries}

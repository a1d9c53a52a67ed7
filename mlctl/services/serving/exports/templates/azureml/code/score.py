"""The scoring script of Azure ML: `init` loads the model, `run` answers {"data": …} and MLflow's payloads."""

import json
import os
import re
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))  # the folder mlctl beside this file holds the code that serves the model

from mlctl.serving.model import ServedModel  # noqa: E402
from mlctl.serving.payloads.answers import encode  # noqa: E402
from mlctl.serving.payloads.request_error import RequestError, bad_request  # noqa: E402
from mlctl.serving.prediction import parse_request  # noqa: E402

try:
    from azureml_inference_server_http.api.aml_response import AMLResponse
except ImportError:  # such as in a local test
    AMLResponse = None

model: ServedModel


def init() -> None:
    """Load the model of the deployment."""
    global model
    top = Path(os.environ["AZUREML_MODEL_DIR"])
    folder = top if (top / "MLmodel").is_file() else next(top.glob("**/MLmodel")).parent
    model = ServedModel(folder)


def run(data: str | bytes) -> Any:
    """Answer a request's JSON body.

    A wrong request is answered with an HTTP status such as 400, and a document with `error_code`, `message` and
    `hint`. Outside Azure ML, only the document is returned.
    """
    try:
        call = parse_request(model, _to_mlflow_payload(data), "application/json")
        if call is None:
            raise bad_request(
                "this script cannot read the input of this model", "serve it with mlflow models serve"
            )
        return json.loads(encode(call.predict()))
    except RequestError as error:
        document = json.loads(error.to_json())
        return document if AMLResponse is None else AMLResponse(document, error.status, json_str=True)


def _to_mlflow_payload(data: str | bytes) -> bytes:
    """Return the body with {"data": …}, the usual form in Azure ML, translated to MLflow's form."""
    body = data if isinstance(data, bytes) else data.encode()
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return body  # parse_request reports the mistake with its position
    if not isinstance(document, dict) or set(document) != {"data"}:
        return body
    key = b"dataframe_records" if model.signature.columns else b"inputs"
    return re.sub(
        rb'"data"', b'"%s"' % key, body, count=1
    )  # the rest as it is, with the digits of its numbers

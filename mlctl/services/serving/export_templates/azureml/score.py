"""Azure ML's two functions: `init` loads the model, `run` answers {"data": …} and MLflow's payloads."""

import json
import os
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))  # the endpoint's own code lies beside this file

from mlctl.serving.model import Model  # noqa: E402
from mlctl.serving.payload import prediction  # noqa: E402
from mlctl.serving.request_error import RequestError  # noqa: E402

model: Model


def init() -> None:
    """Load the model that the deployment names."""
    global model
    top = Path(os.environ["AZUREML_MODEL_DIR"])
    folder = top if (top / "MLmodel").is_file() else next(top.glob("**/MLmodel")).parent
    model = Model(folder)


def run(data: str | bytes) -> Any:
    """Answer a JSON text; what the client got wrong is said in `error_code`, `message` and `hint`."""
    body = data if isinstance(data, bytes) else str(data).encode()
    try:
        document = json.loads(body)
        if isinstance(document, dict) and set(document) == {"data"}:
            key = "inputs" if model.signature.tensor or not model.signature.columns else "dataframe_records"
            body = json.dumps({key: document["data"]}).encode()
    except (ValueError, RecursionError):
        pass  # said below, with its place
    try:
        asked = prediction(model, body, "application/json")
    except RequestError as refusal:
        return json.loads(refusal.body())
    if asked is None:  # only MLflow itself knows how to read such a payload
        return {"error_code": "BAD_REQUEST", "message": "this model's signature is not simple", "hint": ""}
    return {"predictions": asked[1]()}

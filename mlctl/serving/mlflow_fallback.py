"""MLflow's own scoring application, for every payload that mlctl does not read itself.

It is loaded on first use: importing MLflow takes seconds and a few hundred megabytes, which a model of tensors or
simple tables never needs. Its error messages are shortened: no traces, and no copy of the client's body.
"""

from __future__ import annotations

import logging
import threading
from typing import Any

import orjson

from mlctl.serving.model import ServedModel
from mlctl.serving.payloads.request_error import RequestError, bad_request

log = logging.getLogger("mlctl.serving")


class MlflowFallback:
    """Calls `mlflow.pyfunc.scoring_server.invocations`."""

    def __init__(self, model: ServedModel) -> None:
        self._model = model
        self._loading = threading.Lock()
        self._schema: Any = None

    def load(self) -> None:
        """Import MLflow and load the model, once."""
        with self._loading:
            self._schema = self._model.by_mlflow.metadata.get_input_schema()

    def answer(self, body: bytes, content_type: str) -> bytes:
        """Return MLflow's answer to POST /invocations. Raises RequestError if MLflow answers an error."""
        from mlflow.pyfunc import scoring_server

        self.load()
        result = scoring_server.invocations(
            body.decode("utf-8-sig", "replace"), content_type, self._model.by_mlflow, self._schema
        )
        if result.status == 200:
            return str(result.response).encode()
        raise _shortened_error(result.status, str(result.response).encode())


def _shortened_error(status: int, answer: bytes) -> RequestError:
    log.warning("MLflow's application answered %s: %s", status, answer[:4000].decode("utf-8", "replace"))
    if status == 504:
        return RequestError(504, "TIMEOUT", "the model did not answer in time", "send fewer rows per request")
    if status >= 500:
        return RequestError(
            500, "INTERNAL_ERROR", "the model failed on this request", "the server's log has the traceback"
        )
    try:
        message = str(orjson.loads(answer)["message"])
    except (orjson.JSONDecodeError, KeyError, TypeError):
        message = ""
    # the reason follows "Error:"; the text before it repeats the input
    reason = message.rpartition("Error: ")[2].strip().partition("\n")[0]
    first_sentence = reason.partition(". ")[0][:200]
    return bad_request("the input does not fit the model" + (f": {first_sentence}" if first_sentence else ""))

"""MLflow's own scoring server, for every payload that mlctl does not read itself.

It is loaded on first use: importing MLflow takes seconds and a few hundred megabytes, which a model of tensors or
simple tables never needs. Its error messages are given whole, but without traces and without the client's own data.
"""

from __future__ import annotations

import codecs
import logging
import os
import re
import threading
from typing import Any

from mlctl.serving.model import ServedModel
from mlctl.serving.payloads.request_error import RequestError

MAX_MESSAGE_BYTES = 4000
# MLflow repeats the data before the reason, and after the word "Input"
_DATA_BEFORE_REASON = re.compile(
    r"^Failed to (?:predict data|enforce schema of data) '.*?'\s*(?:\. \n|with schema '.*?'\. )Error: ",
    re.DOTALL,
)
_DATA_AFTER_REASON = re.compile(r"\s*\n?Input:\s*\n.*", re.DOTALL)

log = logging.getLogger("mlctl.serving")


class MlflowFallback:
    """Calls `mlflow.pyfunc.scoring_server.invocations`."""

    def __init__(self, model: ServedModel) -> None:
        self._model = model
        self._loading = threading.Lock()
        self._schema: Any = None
        self._is_loaded = False

    def load(self) -> None:
        """Import MLflow and load the model, once."""
        with self._loading:
            if not self._is_loaded:
                self._schema = self._model.by_mlflow.metadata.get_input_schema()
                os.environ.setdefault("_MLFLOW_IS_IN_SERVING_ENVIRONMENT", "true")  # as MLflow's server does
                self._is_loaded = True

    def answer(self, body: bytes, content_type: str) -> bytes:
        """Return MLflow's answer to POST /invocations. Raises RequestError if MLflow answers an error."""
        self.load()
        from mlflow.exceptions import MlflowException
        from mlflow.pyfunc import scoring_server

        body = body.removeprefix(codecs.BOM_UTF8)  # MLflow takes it for a part of a CSV's first name
        try:
            result = scoring_server.invocations(body, content_type, self._model.by_mlflow, self._schema)
        except MlflowException as exc:
            failed = exc.message.startswith("Encountered an unexpected error")  # in the model's own code
            log.warning("MLflow answered: %s", exc.message[:1000], exc_info=exc if failed else None)
            raise _request_error(exc.get_http_status_code(), exc.error_code, exc.message) from exc
        if result.status != 200:
            raise _request_error(result.status, "UNSUPPORTED_MEDIA_TYPE", str(result.response))
        return str(result.response).encode()


def _request_error(status: int, code: str, message: str) -> RequestError:
    """Return MLflow's error with its whole message, without the client's data."""
    while (shorter := _DATA_BEFORE_REASON.sub("", message)) != message:
        message = shorter
    return RequestError(
        status, code, _DATA_AFTER_REASON.sub("", message).strip(), max_bytes=MAX_MESSAGE_BYTES
    )

"""MLflow's own scoring application, for every payload that mlctl does not read itself.

It is loaded on first use: importing MLflow takes seconds and a few hundred megabytes, which a model of tensors or
simple tables never needs. Its error messages are shortened: no traces, and no copy of the client's body.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import orjson

from mlctl.serving.model import ServedModel
from mlctl.serving.payloads.request_error import RequestError, bad_request

log = logging.getLogger("mlctl.serving")


class MlflowFallback:
    """Calls `mlflow.pyfunc.scoring_server.init(model)` inside this process."""

    def __init__(self, model: ServedModel) -> None:
        self._model = model
        self._app: Any = None
        self._loading = asyncio.Lock()

    async def load(self) -> None:
        """Import MLflow and build its application, once."""
        async with self._loading:
            if self._app is None:
                self._app = await asyncio.to_thread(_build_app, self._model)

    async def invoke(self, scope: dict[str, Any], body: bytes, content_type: str) -> bytes:
        """Return MLflow's answer to POST /invocations. Raises RequestError if MLflow answers an error."""
        if self._app is None:
            await self.load()
        sent: list[dict[str, Any]] = []
        messages = iter([{"type": "http.request", "body": body, "more_body": False}])

        async def receive() -> dict[str, Any]:
            return next(messages, {"type": "http.disconnect"})

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        headers = [(b"content-type", content_type.encode("latin1")), (b"content-length", b"%d" % len(body))]
        await self._app({**scope, "headers": headers}, receive, send)
        status = sent[0]["status"]
        answer = b"".join(message.get("body", b"") for message in sent[1:])
        if status == 200:
            return answer
        raise _shortened_error(status, answer)


def _build_app(model: ServedModel) -> Any:
    from mlflow.pyfunc import scoring_server

    return scoring_server.init(model.by_mlflow)


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

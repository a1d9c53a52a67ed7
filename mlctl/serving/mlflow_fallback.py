"""MLflow's own scoring application, for every payload that the direct path does not know.

It is made when it is first needed: importing MLflow takes seconds and some hundred megabytes, which a model of
tensors or of simple tables never spends. Its refusals are said again in our words, without the body and traces.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import orjson

from mlctl.serving.model import Model
from mlctl.serving.request_error import RequestError, bad

log = logging.getLogger("mlctl.serving")


class MlflowFallback:
    """`mlflow.pyfunc.scoring_server.init(model)`, called in place of served."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._app: Any = None
        self._making = asyncio.Lock()

    async def make(self) -> None:
        """Import MLflow and make the application, once."""
        async with self._making:
            if self._app is None:
                self._app = await asyncio.to_thread(_init, self._model)

    async def answer(self, scope: dict[str, Any], body: bytes, content_type: str) -> bytes:
        """Return the application's answer to POST /invocations; raises Refusal in place of its errors."""
        if self._app is None:
            await self.make()
        sent: list[dict[str, Any]] = []
        handed = iter([{"type": "http.request", "body": body, "more_body": False}])

        async def receive() -> dict[str, Any]:
            return next(handed, {"type": "http.disconnect"})

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        headers = [(b"content-type", content_type.encode("latin1")), (b"content-length", b"%d" % len(body))]
        await self._app({**scope, "headers": headers}, receive, send)
        status = sent[0]["status"]
        answer = b"".join(message.get("body", b"") for message in sent[1:])
        if status == 200:
            return answer
        raise _in_our_words(status, answer)


def _init(model: Model) -> Any:
    from mlflow.pyfunc import scoring_server

    return scoring_server.init(model.by_mlflow)


def _in_our_words(status: int, answer: bytes) -> RequestError:
    log.warning("MLflow's application answered %s: %s", status, answer[:4000].decode("utf-8", "replace"))
    if status == 504:
        return RequestError(504, "TIMEOUT", "the model did not answer in time", "send fewer rows a request")
    try:
        message = str(orjson.loads(answer)["message"])
    except (orjson.JSONDecodeError, KeyError, TypeError):
        message = ""
    # what follows "Error:" is the reason; what stands before it repeats the input
    reason = message.rpartition("Error: ")[2].strip().partition("\n")[0]
    if status >= 500:
        return RequestError(
            500, "INTERNAL_ERROR", "the model failed on this request", "the log has the trace"
        )
    first = reason.partition(". ")[0][:200]
    return bad(f"the input does not fit the model: {first}" if first else "the input does not fit the model")

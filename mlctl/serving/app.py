"""The ASGI application of an endpoint: MLflow's routes, payloads and answers, guarded and counted.

POST /invocations      predictions; dense tensors and simple tables directly, all else by MLflow's application
GET  /ping /health     200 while the worker can answer; no key is needed
GET  /version          MLflow's version, as `mlflow models serve` says it
GET  /metrics          Prometheus
GET  / /model /page/…  the page to try the model on, and what it shows
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import orjson

from mlctl.serving import body as bodies
from mlctl.serving.access import AccessLog
from mlctl.serving.keys import ApiKeyAuth
from mlctl.serving.metrics import CONTENT_TYPE, Metrics
from mlctl.serving.mlflow_fallback import MlflowFallback
from mlctl.serving.model import Model
from mlctl.serving.page import files as page
from mlctl.serving.payload import prediction
from mlctl.serving.request_error import RequestError, quoted

INLINE_S = 0.004  # longer work leaves the event loop, so that a health check is answered meanwhile
LINGER_S = 2.0  # a refused body is read and dropped for so long, lest the answer is lost in a reset
ROUTES = {
    "/invocations": "POST", "/ping": "GET", "/health": "GET", "/version": "GET",
    "/metrics": "GET", "/": "GET", "/model": "GET",
}  # fmt: skip
OPEN = frozenset({"/ping", "/health"})
REQUEST_ID = re.compile(rb"[\w.-]{1,64}")

log = logging.getLogger("mlctl.serving")
Send = Callable[[Any], Awaitable[None]]


@dataclass
class Answer:
    """What is sent back, and what is noted of it."""

    status: int = 200
    body: bytes = b""
    content_type: bytes = b"application/json"
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    rows: int = 0
    code: str = ""
    key: str = ""
    unread: bool = False


@dataclass(frozen=True)
class Limits:
    """What a request may cost: bytes of its unpacked body, seconds for the body and for the model."""

    max_body: int = 10_000_000
    timeout_s: float = 30.0


class Application:
    """One worker's application. `draining` makes every answer the last one of its connection."""

    def __init__(
        self,
        model: Model,
        name: str,
        version: str,
        limits: Limits,
        access: AccessLog,
        metrics: Metrics | None = None,
        guard: ApiKeyAuth | None = None,
        hosts: frozenset[str] | None = None,
    ) -> None:
        self.model, self.name, self.version = model, name, version
        self.draining = False
        self._limits, self._access, self._metrics = limits, access, metrics
        self._guard, self._hosts = guard, hosts
        self._stock = MlflowFallback(model)
        self._row_s = 0.0
        self._named = [(b"x-model", _header(name)), (b"x-model-version", _header(version))]
        self._prefix = os.urandom(4).hex().encode() + b"-"
        self._numbers = itertools.count(1)

    async def warm(self) -> None:
        """Answer the model's own example, so that the first client finds it warm.

        Raises Refusal, or what the model raises, where it cannot.
        """
        if self.model.signature.tensor is None and not self.model.signature.columns:
            await self._stock.make()
        if (example := self.model.example) is None:
            return
        scope = {"type": "http", "method": "POST", "path": "/invocations", "query_string": b"", "headers": []}
        await self._predict(scope, example, "application/json")
        asked = prediction(self.model, example, "application/json")
        if asked is None:
            return
        rows, predict = asked
        took = []
        for _ in range(5):
            begun = time.perf_counter()
            predict()
            took.append(time.perf_counter() - begun)
        self._row_s = min(took) / rows

    async def __call__(self, scope: dict[str, Any], receive: bodies.Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        begun = time.perf_counter()
        headers = dict(scope["headers"])
        request_id = self._request_id(headers)
        metrics = self._metrics
        if metrics:
            metrics.in_flight.inc()
        try:
            answer = await self._guarded(scope, headers, receive, request_id)
            if answer is not None:
                await self._send(send, answer, request_id, receive)
        finally:
            if metrics:
                metrics.in_flight.dec()
        if answer is None:
            return
        seconds = time.perf_counter() - begun
        path = scope["path"]
        if metrics:
            metrics.answered(
                path if path in ROUTES else "other", answer.status, seconds, answer.rows, answer.code
            )
        self._access.note(scope, request_id, answer, seconds, self.version)

    async def _guarded(
        self, scope: dict[str, Any], headers: dict[bytes, bytes], receive: bodies.Receive, request_id: bytes
    ) -> Answer | None:
        try:
            return await self._answer(scope, headers, receive)
        except RequestError as refusal:
            answer = Answer(refusal.status, refusal.body(), code=refusal.code)
            answer.unread = refusal.status in (401, 403, 408, 413, 415, 404, 405)
            if refusal.status == 401:
                asks = b'Basic realm="mlctl"' if _is_page(scope["path"]) else b'Bearer realm="mlctl"'
                answer.headers.append((b"www-authenticate", asks))
            if refusal.status == 405:
                answer.headers.append((b"allow", ROUTES.get(scope["path"], "GET").encode()))
            return answer
        except bodies.ClientDisconnected:
            return None
        except Exception:
            log.exception("request %s failed", request_id.decode())
            failed = RequestError(
                500, "INTERNAL_ERROR", f"the model failed on request {request_id.decode()}",
                "the server's log has the trace under this id",
            )  # fmt: skip
            return Answer(500, failed.body(), code=failed.code)

    async def _answer(
        self, scope: dict[str, Any], headers: dict[bytes, bytes], receive: bodies.Receive
    ) -> Answer:
        path, key = scope["path"], ""
        if path not in OPEN:
            self._check_host(headers)
            if self._guard is not None:
                name = self._guard.name(headers.get(b"authorization"))
                if name is None:
                    raise RequestError(
                        401,
                        "UNAUTHENTICATED",
                        "this endpoint wants an API key",
                        "send Authorization: Bearer KEY",
                    )
                key = name
        wanted = ROUTES.get(path, "GET" if _is_page(path) else "")
        if wanted and scope["method"] != wanted:
            raise RequestError(405, "METHOD_NOT_ALLOWED", f"{path} takes {wanted}", f"use {wanted}")
        if path == "/invocations":
            body = await bodies.read(receive, headers, self._limits.max_body, self._limits.timeout_s)
            content_type = headers.get(b"content-type", b"").decode("latin1")
            answer = await self._predict(scope, body, content_type)
        else:
            answer = self._look(path)
        answer.key = key
        return answer

    def _look(self, path: str) -> Answer:
        """Answer what is only looked at."""
        if path in OPEN:
            return Answer(body=b"\n")
        if path == "/version":
            return Answer(body=_mlflow_version().encode())
        if path == "/metrics" and self._metrics:
            return Answer(body=self._metrics.text(), content_type=CONTENT_TYPE.encode())
        if path == "/model":
            return Answer(body=orjson.dumps(self._described()))
        if (found := page.find(path)) is not None:
            return Answer(body=found[0], content_type=found[1].encode(), headers=page.HEADERS)
        raise RequestError(
            404, "NOT_FOUND", f"there is no {quoted(path)} here", f"there are {', '.join(ROUTES)}"
        )

    async def _predict(self, scope: dict[str, Any], body: bytes, content_type: str) -> Answer:
        asked = prediction(self.model, body, content_type, self._limits.max_body)
        if asked is None:
            typed = content_type or "application/json"
            return Answer(body=await self._stock.answer(scope, body, typed))
        rows, predict = asked
        if rows * self._row_s < INLINE_S:
            found = predict()
        else:
            try:
                async with asyncio.timeout(self._limits.timeout_s):
                    found = await asyncio.to_thread(predict)
            except TimeoutError:
                raise RequestError(
                    504, "TIMEOUT", f"the model did not answer within {self._limits.timeout_s:g} s",
                    "send fewer rows a request",
                ) from None  # fmt: skip
        return Answer(body=orjson.dumps({"predictions": found}), rows=rows)

    def _described(self) -> dict[str, Any]:
        model, tensor = self.model, self.model.signature.tensor
        return {
            "name": self.name, "version": self.version, "task": model.about.task,
            "classes": model.about.classes, "unit": model.about.unit, "recipe": model.about.recipe,
            "runtime": model.about.runtime, "full_scale": model.full_scale, "keys": self._guard is not None,
            "tensor": None if tensor is None else {"dtype": tensor.dtype, "shape": tensor.shape},
            "columns": [
                {"name": one.name, "kind": one.kind, "required": one.required}
                for one in model.signature.columns
            ],
            "example": orjson.Fragment(model.example) if model.example else None,
        }  # fmt: skip

    def _check_host(self, headers: dict[bytes, bytes]) -> None:
        """Refuse a name that this machine is not asked by: a page of another site, resolved to here."""
        if self._hosts is None:
            return
        host = headers.get(b"host", b"").decode("latin1").lower()
        bare = host.partition("]")[0] + "]" if host.startswith("[") else host.partition(":")[0]
        if bare not in self._hosts:
            raise RequestError(403, "HOST_REFUSED", f"the host {quoted(host)} is not served here",
                          "name it with --allow-host")  # fmt: skip

    def _request_id(self, headers: dict[bytes, bytes]) -> bytes:
        given = headers.get(b"x-request-id")
        if given and REQUEST_ID.fullmatch(given):
            return given
        return self._prefix + b"%x" % next(self._numbers)

    async def _send(self, send: Send, answer: Answer, request_id: bytes, receive: bodies.Receive) -> None:
        headers = [
            (b"content-type", answer.content_type), (b"content-length", b"%d" % len(answer.body)),
            (b"x-request-id", request_id), *self._named, *answer.headers,
        ]  # fmt: skip
        if self.draining or answer.unread:
            headers.append((b"connection", b"close"))
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        if answer.unread and answer.status in (408, 413):
            await send({"type": "http.response.body", "body": answer.body, "more_body": True})
            await _linger(receive)
            await send({"type": "http.response.body", "body": b""})
            return
        await send({"type": "http.response.body", "body": answer.body})


async def _linger(receive: bodies.Receive) -> None:
    try:
        async with asyncio.timeout(LINGER_S):
            while (await receive()).get("more_body"):
                pass
    except TimeoutError:
        return


def _is_page(path: str) -> bool:
    return path in ("/", "/model") or path.startswith("/page/")


def _header(text: str) -> bytes:
    return text.encode("ascii", "replace")


def _mlflow_version() -> str:
    for name in ("mlflow", "mlflow-skinny"):
        try:
            return version(name)
        except PackageNotFoundError:
            continue
    return "unknown"

"""The ASGI application of an endpoint: MLflow's routes and payloads, with authentication, limits and metrics.

POST /invocations      predictions; MLflow's own application reads the payloads that mlctl does not
GET  /ping /health     200 while the worker can answer; needs no API key
GET  /version          the versions of MLflow, mlctl and the model, as JSON
GET  /metrics          Prometheus metrics
GET  / /model /page/…  the web page to try the model, and the model's description for it
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
from typing import Any

import orjson

from mlctl.serving.access import AccessLog
from mlctl.serving.description import describe, versions
from mlctl.serving.endpoint_spec import ServedVersion
from mlctl.serving.keys import ApiKeyAuth
from mlctl.serving.metrics import CONTENT_TYPE, EndpointMetrics
from mlctl.serving.mlflow_fallback import MlflowFallback
from mlctl.serving.model import ServedModel
from mlctl.serving.page import files as page
from mlctl.serving.payloads.body import ClientDisconnected, Receive, read_body
from mlctl.serving.payloads.request_error import RequestError, quote
from mlctl.serving.prediction import parse_request

MAX_INLINE_S = 0.004  # longer predictions run in a thread, so that health checks are answered meanwhile
# how long to read a refused body: closing at once could reset the connection before the answer
DISCARD_S = 2.0
WARM_UP_RUNS = 5
ROUTES = {
    "/invocations": "POST",
    "/ping": "GET",
    "/health": "GET",
    "/version": "GET",
    "/metrics": "GET",
    "/": "GET",
    "/model": "GET",
}
PUBLIC_PATHS = frozenset({"/ping", "/health"})
UNREAD_BODY_STATUSES = frozenset({401, 403, 404, 405, 408, 413, 415})
REQUEST_ID = re.compile(rb"[\w.-]{1,64}")

log = logging.getLogger("mlctl.serving")
Send = Callable[[Any], Awaitable[None]]


@dataclass(kw_only=True)
class Response:
    """A response, and what the access log and the metrics record about it.

    Attributes:
        status: HTTP status.
        body: Content.
        content_type: Content-Type header.
        headers: Further headers.
        rows: Number of predicted rows.
        error_code: MLflow's error code, or "".
        key_name: Name of the API key that the client used, or "".
        body_unread: The request's body was not read, so the connection cannot be used again.
    """

    status: int = 200
    body: bytes = b""
    content_type: bytes = b"application/json"
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    rows: int = 0
    error_code: str = ""
    key_name: str = ""
    body_unread: bool = False


@dataclass(frozen=True)
class RequestLimits:
    """Limits of one request: bytes of its decompressed body; seconds for the body, and for the model."""

    max_body: int = 10_000_000
    timeout_s: float = 30.0


class Application:
    """The application of one worker. While `draining` is set, each response closes its connection."""

    def __init__(
        self,
        model: ServedModel,
        served: ServedVersion,
        *,
        limits: RequestLimits,
        access_log: AccessLog,
        metrics: EndpointMetrics | None = None,
        auth: ApiKeyAuth | None = None,
        hosts: frozenset[str] | None = None,
    ) -> None:
        self.model = model
        self.served = served
        self.draining = False
        self._limits = limits
        self._access_log = access_log
        self._metrics = metrics
        self._auth = auth
        self._hosts = hosts
        self._mlflow = MlflowFallback(model)
        self._seconds_per_row = 0.0
        self._model_headers = [
            (b"x-model", _ascii(served.name)),
            (b"x-model-version", _ascii(served.version)),
        ]
        self._id_prefix = os.urandom(4).hex().encode() + b"-"
        self._id_numbers = itertools.count(1)

    async def warm_up(self) -> None:
        """Answer the model's own example, so that the first client does not wait.

        Raises RequestError, or the model's own exception, if the model cannot answer it.
        """
        if not self.model.signature.is_known:
            await self._mlflow.load()
        if (example := self.model.example) is None:
            return
        scope = {"type": "http", "method": "POST", "path": "/invocations", "query_string": b"", "headers": []}
        await self._predict(scope, example, "application/json")
        call = parse_request(self.model, example, "application/json")
        if call is None:
            return
        durations = []
        for _ in range(WARM_UP_RUNS):
            started = time.perf_counter()
            call.predict()
            durations.append(time.perf_counter() - started)
        self._seconds_per_row = min(durations) / call.rows

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        started = time.perf_counter()
        headers = dict(scope["headers"])
        request_id = self._request_id(headers)
        metrics = self._metrics
        if metrics:
            metrics.in_flight.inc()
        try:
            response = await self._respond_safely(scope, headers, receive, request_id)
            if response is not None:
                await self._send(send, response, request_id, receive)
        finally:
            if metrics:
                metrics.in_flight.dec()
        if response is None:
            return
        seconds = time.perf_counter() - started
        if metrics:
            path = scope["path"]
            metrics.record(
                path if path in ROUTES else "other",
                status=response.status,
                seconds=seconds,
                rows=response.rows,
                error_code=response.error_code,
            )
        self._access_log.record(
            scope, response, request_id=request_id, seconds=seconds, version=self.served.version
        )

    async def _respond_safely(
        self, scope: dict[str, Any], headers: dict[bytes, bytes], receive: Receive, request_id: bytes
    ) -> Response | None:
        """Return the response, an error's too; None if the client closed the connection."""
        try:
            return await self._respond(scope, headers, receive)
        except RequestError as error:
            response = Response(status=error.status, body=error.to_json(), error_code=error.code)
            response.body_unread = error.status in UNREAD_BODY_STATUSES
            if error.status == 401:
                scheme = b"Basic" if _is_page(scope["path"]) else b"Bearer"
                response.headers.append((b"www-authenticate", scheme + b' realm="mlctl"'))
            if error.status == 405:
                response.headers.append((b"allow", ROUTES.get(scope["path"], "GET").encode()))
            return response
        except ClientDisconnected:
            return None
        except Exception:
            log.exception("request %s failed", request_id.decode())
            failure = RequestError(
                500,
                "INTERNAL_ERROR",
                f"the model failed on request {request_id.decode()}",
                "the server's log has the traceback under this id",
            )
            return Response(status=500, body=failure.to_json(), error_code=failure.code)

    async def _respond(
        self, scope: dict[str, Any], headers: dict[bytes, bytes], receive: Receive
    ) -> Response:
        path = scope["path"]
        key_name = "" if path in PUBLIC_PATHS else self._authenticate(headers)
        method = ROUTES.get(path, "GET" if _is_page(path) else "")
        if method and scope["method"] != method:
            raise RequestError(405, "METHOD_NOT_ALLOWED", f"{path} accepts only {method}", f"use {method}")
        if path == "/invocations":
            body = await read_body(
                receive, headers, max_bytes=self._limits.max_body, timeout_s=self._limits.timeout_s
            )
            content_type = headers.get(b"content-type", b"").decode("latin1")
            response = await self._predict(scope, body, content_type)
        else:
            response = self._get(path)
        response.key_name = key_name
        return response

    def _authenticate(self, headers: dict[bytes, bytes]) -> str:
        """Check the Host header and the API key; return the name of the key, or "" if none is needed."""
        self._check_host(headers)
        if self._auth is None:
            return ""
        key_name = self._auth.key_name(headers.get(b"authorization"))
        if key_name is None:
            raise RequestError(
                401,
                "UNAUTHENTICATED",
                "this endpoint requires an API key",
                "send the header Authorization: Bearer KEY",
            )
        return key_name

    def _get(self, path: str) -> Response:
        if path in PUBLIC_PATHS:
            return Response(body=b"\n")
        if path == "/version":
            return Response(body=orjson.dumps(versions(self.model, self.served)))
        if path == "/metrics" and self._metrics:
            return Response(body=self._metrics.text(), content_type=CONTENT_TYPE.encode())
        if path == "/model":
            description = describe(self.model, self.served, needs_key=self._auth is not None)
            return Response(body=orjson.dumps(description))
        if (file := page.find(path)) is not None:
            return Response(body=file[0], content_type=file[1].encode(), headers=page.HEADERS)
        raise RequestError(
            404, "NOT_FOUND", f"this endpoint has no {quote(path)}", f"it has {', '.join(ROUTES)}"
        )

    async def _predict(self, scope: dict[str, Any], body: bytes, content_type: str) -> Response:
        call = parse_request(self.model, body, content_type, max_bytes=self._limits.max_body)
        if call is None:
            return Response(body=await self._mlflow.invoke(scope, body, content_type or "application/json"))
        if call.rows * self._seconds_per_row < MAX_INLINE_S:
            predictions = call.predict()
        else:
            try:
                async with asyncio.timeout(self._limits.timeout_s):
                    predictions = await asyncio.to_thread(call.predict)
            except TimeoutError:
                raise RequestError(
                    504,
                    "TIMEOUT",
                    f"the model did not answer within {self._limits.timeout_s:g} s",
                    "send fewer rows per request",
                ) from None
        return Response(body=orjson.dumps({"predictions": predictions}), rows=call.rows)

    def _check_host(self, headers: dict[bytes, bytes]) -> None:
        """Refuse an unknown Host header: it may be another site's page, whose name resolves to this machine."""
        if self._hosts is None:
            return
        host = headers.get(b"host", b"").decode("latin1").lower()
        name = host.partition("]")[0] + "]" if host.startswith("[") else host.partition(":")[0]
        if name not in self._hosts:
            raise RequestError(
                403, "HOST_REFUSED", f"the host {quote(host)} is not allowed", "allow it with --allowed-host"
            )

    def _request_id(self, headers: dict[bytes, bytes]) -> bytes:
        client_id = headers.get(b"x-request-id")
        if client_id and REQUEST_ID.fullmatch(client_id):
            return client_id
        return self._id_prefix + b"%x" % next(self._id_numbers)

    async def _send(self, send: Send, response: Response, request_id: bytes, receive: Receive) -> None:
        headers = [
            (b"content-type", response.content_type),
            (b"content-length", b"%d" % len(response.body)),
            (b"x-request-id", request_id),
            *self._model_headers,
            *response.headers,
        ]
        if self.draining or response.body_unread:
            headers.append((b"connection", b"close"))
        await send({"type": "http.response.start", "status": response.status, "headers": headers})
        if response.body_unread and response.status in (408, 413):
            await send({"type": "http.response.body", "body": response.body, "more_body": True})
            await _discard_body(receive)
            await send({"type": "http.response.body", "body": b""})
            return
        await send({"type": "http.response.body", "body": response.body})


async def _discard_body(receive: Receive) -> None:
    try:
        async with asyncio.timeout(DISCARD_S):
            while (await receive()).get("more_body"):
                pass
    except TimeoutError:
        return


def _is_page(path: str) -> bool:
    return path in ("/", "/model") or path.startswith("/page/")


def _ascii(text: str) -> bytes:
    return text.encode("ascii", "replace")

"""The ASGI application of an endpoint: authentication, errors, metrics and the access log around its routes."""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import re
import time
from collections.abc import Awaitable, Callable
from typing import Any

from mlctl.serving.access import AccessLog
from mlctl.serving.endpoint_spec import ServedVersion
from mlctl.serving.forwarding import ROWS_HEADER
from mlctl.serving.http_messages import Request, RequestLimits, Response
from mlctl.serving.interfaces.cors import CorsPolicy, is_preflight
from mlctl.serving.keys import ApiKeyAuth
from mlctl.serving.metrics import EndpointMetrics
from mlctl.serving.payloads.body import ClientDisconnected, Receive
from mlctl.serving.payloads.request_error import RequestError, quote
from mlctl.serving.router import Route, Router
from mlctl.serving.trial import VersionTrial

# how long to read a refused body: closing at once could reset the connection before the answer
DISCARD_S = 2.0
UNREAD_BODY_STATUSES = frozenset({401, 403, 404, 405, 408, 413, 415})
METRICS_PATH = "/metrics"
REQUEST_ID = re.compile(rb"[\w.-]{1,64}")

log = logging.getLogger("mlctl.serving")
Send = Callable[[Any], Awaitable[None]]


class Application:
    """The application of one worker. While `draining` is set, each response closes its connection."""

    def __init__(
        self,
        router: Router,
        served: ServedVersion,
        *,
        limits: RequestLimits,
        access_log: AccessLog,
        metrics: EndpointMetrics | None = None,
        auth: ApiKeyAuth | None = None,
        hosts: frozenset[str] | None = None,
        cors: CorsPolicy | None = None,
        trial: VersionTrial | None = None,
    ) -> None:
        self.router = router
        self.served = served
        self.draining = False
        self._limits = limits
        self._access_log = access_log
        self._metrics = metrics
        self._auth = auth
        self._hosts = hosts
        self._cors = cors
        self._trial = trial
        self._name_header = (b"x-model", _ascii(served.name))
        self._version = _ascii(served.version)
        self._id_prefix = os.urandom(4).hex().encode() + b"-"
        self._id_numbers = itertools.count(1)

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        started = time.perf_counter()
        headers = dict(scope["headers"])
        request_id = self._request_id(headers)
        route = self.router.find(scope["path"])
        # another worker forwards requests over a Unix socket, and counts them itself
        is_forwarded = _is_forwarded(scope)
        metrics = None if is_forwarded else self._metrics
        if metrics:
            metrics.in_flight.inc()
        try:
            response = await self._respond_safely(scope, headers, receive, request_id, route)
            if response is not None:
                if is_forwarded:
                    response.headers.append((ROWS_HEADER, b"%d" % response.rows))
                elif self._cors:
                    response.headers += self._cors.headers(headers)
                await self._send(scope, send, response, request_id, receive)
        finally:
            if metrics:
                metrics.in_flight.dec()
        if response is None:
            return
        seconds = time.perf_counter() - started
        if response.after is not None:
            response.after()
        if metrics:
            metrics.record(
                route.path if route else "other",
                status=response.status,
                seconds=seconds,
                rows=response.rows,
                error_code=response.error_code,
            )
        if is_forwarded:
            return
        version = response.version or self.served.version
        self._access_log.record(scope, response, request_id=request_id, seconds=seconds, version=version)

    async def _respond_safely(
        self,
        scope: dict[str, Any],
        headers: dict[bytes, bytes],
        receive: Receive,
        request_id: bytes,
        route: Route | None,
    ) -> Response | None:
        """Return the response, an error's too; None if the client closed the connection."""
        try:
            return await self._respond(scope, headers, receive, request_id, route)
        except RequestError as error:
            response = _error_response(error, route)
            response.body_unread = error.status in UNREAD_BODY_STATUSES
            if error.status == 401:
                scheme = b"Basic" if route and route.is_page else b"Bearer"
                response.headers.append((b"www-authenticate", scheme + b' realm="mlctl"'))
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
            return _error_response(failure, route)

    async def _respond(
        self,
        scope: dict[str, Any],
        headers: dict[bytes, bytes],
        receive: Receive,
        request_id: bytes,
        route: Route | None,
    ) -> Response:
        path, method = scope["path"], scope["method"]
        if self._cors and is_preflight(method, headers):
            self._check_host(headers)
            return self._cors.preflight(headers, route.methods if route else ())
        is_known = _is_forwarded(scope) or (route and route.is_public)
        key_name = "" if is_known else self._authenticate(headers)
        if route is None:
            known = ", ".join(self.router.paths)
            raise RequestError(404, "NOT_FOUND", f"this endpoint has no {quote(path)}", f"it has {known}")
        if not route.takes(method):
            allowed = ", ".join(route.methods)
            error = RequestError(
                405, "METHOD_NOT_ALLOWED", f"{path} accepts only {allowed}", f"use {allowed}"
            )
            error.headers.append((b"allow", allowed.encode()))
            raise error
        request = Request(
            method=method,
            path=path,
            query=scope["query_string"],
            headers=headers,
            request_id=request_id.decode(),
            key_name=key_name,
            receive=receive,
            limits=self._limits,
        )
        if self._trial and self._trial.is_running and not route.is_public and path != METRICS_PATH:
            response = await self._trial.answer(request, route.handler)
        else:
            response = await route.handler(request)
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

    async def _send(
        self, scope: dict[str, Any], send: Send, response: Response, request_id: bytes, receive: Receive
    ) -> None:
        headers = [
            (b"content-type", response.content_type),
            (b"content-length", b"%d" % len(response.body)),
            (b"x-request-id", request_id),
            self._name_header,
            (b"x-model-version", _ascii(response.version) if response.version else self._version),
            *response.headers,
        ]
        if self.draining or response.body_unread:
            headers.append((b"connection", b"close"))
        await send({"type": "http.response.start", "status": response.status, "headers": headers})
        body = b"" if scope["method"] == "HEAD" else response.body
        if response.body_unread and response.status in (408, 413):
            await send({"type": "http.response.body", "body": body, "more_body": True})
            await _discard_body(receive)
            await send({"type": "http.response.body", "body": b""})
            return
        await send({"type": "http.response.body", "body": body})


def _error_response(error: RequestError, route: Route | None) -> Response:
    body = route.error_body(error) if route else error.to_json()
    return Response(status=error.status, body=body, error_code=error.code, headers=list(error.headers))


async def _discard_body(receive: Receive) -> None:
    try:
        async with asyncio.timeout(DISCARD_S):
            while (await receive()).get("more_body"):
                pass
    except TimeoutError:
        return


def _is_forwarded(scope: dict[str, Any]) -> bool:
    """Return whether another worker sends the request, over a Unix socket, after it has checked the client."""
    server = scope.get("server", ("", 0))
    return server is None or server[1] is None  # uvicorn has the socket's path, or nothing, but no port


def _ascii(text: str) -> bytes:
    return text.encode("ascii", "replace")

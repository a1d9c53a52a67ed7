"""The middleware before MLflow's application: readiness, counters, and a log line per failure."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import sqlalchemy
from flask import g
from mlflow.server import handlers
from mlflow.utils.workspace_context import get_request_workspace
from mlflow.version import VERSION

from mlctl.machine import identity
from mlctl.tracking_server.log import log
from mlctl.tracking_server.readiness import bucket_check, database_check
from mlctl.tracking_server.server_config import ServerConfig

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

COUNTED_EXPERIMENTS = (  # with the runs of each
    "SELECT e.experiment_id, e.workspace, count(r.run_uuid) FROM experiments e LEFT JOIN runs r"
    " ON r.experiment_id = e.experiment_id AND r.lifecycle_stage = 'active'"
    " WHERE e.lifecycle_stage = 'active' GROUP BY e.experiment_id, e.workspace"
)
COUNTED_MODELS = "SELECT name, workspace FROM registered_models"
DEFAULT_WORKSPACE = "default"


def count_rows() -> dict[str, Any]:
    """Return the number of runs, experiments and models that the user may read.

    This is a route of MLflow's own application, so that its authentication guards it.
    """
    may_read = _may_read()
    with handlers._get_tracking_store().engine.connect() as connection:
        runs = [
            count
            for experiment_id, workspace, count in connection.execute(sqlalchemy.text(COUNTED_EXPERIMENTS))
            if may_read("experiment", str(experiment_id), workspace)
        ]
        models = [
            name
            for name, workspace in connection.execute(sqlalchemy.text(COUNTED_MODELS))
            if may_read("registered_model", name, workspace)
        ]
    return {"runs": sum(runs), "experiments": len(runs), "models": len(models)}


def _may_read() -> Callable[[str, str, str], bool]:
    """Return a function that says whether the user of this request may read a resource of a workspace.

    Without authentication, everybody may. Permissions are those of the request's workspace.
    """
    if "mlflow_authenticated_user" not in g:
        return lambda kind, key, workspace: True
    from mlflow.server import auth

    if auth.sender_is_admin():
        return lambda kind, key, workspace: True
    kinds = ("experiment", "registered_model")
    predicates = {kind: auth._role_based_read_predicate(g.mlflow_authenticated_user, kind) for kind in kinds}
    own = get_request_workspace() or DEFAULT_WORKSPACE
    return lambda kind, key, workspace: workspace == own and bool(predicates[kind](key))


class HealthMiddleware:
    """Answers /ready, and /metrics if metrics are on; passes every other request to the application."""

    def __init__(self, app: Application, config: ServerConfig) -> None:
        self.app = app
        self.info = {
            "name": config.name,
            "instance": config.instance,
            "mlflow": VERSION,
            "machine": identity(),
        }
        self._database, self._bucket = database_check(), bucket_check(config)
        self._started_at = time.time()
        self.counters = None
        if config.metrics_dir:
            from mlctl.tracking_server.metrics import RequestCounters

            self.counters = RequestCounters()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if scope["path"] == "/ready":
            trouble = await self._trouble()
            body = {**self.info, "ready": not trouble, "pid": os.getpid(), "began": self._started_at}
            if trouble:
                body["trouble"] = trouble
            await send_response(
                send,
                503 if trouble else 200,
                body=json.dumps(body).encode(),
                content_type=b"application/json",
            )
            return
        if self.counters and scope["path"] == "/metrics":
            await send_response(
                send,
                200,
                body=self.counters.exposition(database_up=not await self._database.trouble()),
                content_type=b"text/plain; version=0.0.4",
            )
            return
        await self._forward(scope, receive, send)

    async def _forward(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request to the application; count it, and log it if it fails."""
        started, status = time.perf_counter(), 500

        async def send_and_keep_status(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, send_and_keep_status)
        finally:
            duration_s = time.perf_counter() - started
            if self.counters:
                self.counters.count(
                    method=scope["method"], path=scope["path"], status=status, seconds=duration_s
                )
            if status >= 500:
                log(
                    "ERROR",
                    f"{scope['method']} {scope['path']} was answered {status} after {duration_s:.2f} s",
                )

    async def _trouble(self) -> str:
        """Return why the server is not ready, or ""."""
        trouble = await self._database.trouble()
        return trouble or (await self._bucket.trouble() if self._bucket else "")


async def send_response(send: Send, status: int, *, body: bytes, content_type: bytes) -> None:
    """Send one complete response."""
    headers = [
        (b"content-type", content_type),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})

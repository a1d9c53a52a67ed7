"""The layer before MLflow's application: readiness that asks the database, counters, a line a failure."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import sqlalchemy
from mlflow.server import handlers
from mlflow.version import VERSION

from mlctl.machine import identity
from mlctl.tracking_server.parent_death import say
from mlctl.tracking_server.server_config import ServerConfig

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

DATABASE_WITHIN_S = 2.0
ASK_AGAIN_AFTER_S = 0.5

COUNTED = {
    "runs": "SELECT count(*) FROM runs WHERE lifecycle_stage = 'active'",
    "experiments": "SELECT count(*) FROM experiments WHERE lifecycle_stage = 'active'",
    "models": "SELECT count(*) FROM registered_models",
}


def count_rows() -> dict[str, Any]:
    """Return how much there is. It is a route of MLflow's own application, so authentication guards it."""
    with handlers._get_tracking_store().engine.connect() as connection:
        return {name: connection.execute(sqlalchemy.text(sql)).scalar() for name, sql in COUNTED.items()}


class HealthMiddleware:
    """Answers /ready (and /metrics where it is wanted) itself and hands on everything else."""

    def __init__(self, app: Application, plan: ServerConfig) -> None:
        self.app = app
        self.about = {"name": plan.name, "instance": plan.instance, "mlflow": VERSION, "machine": identity()}
        self._asked_at, self._trouble = 0.0, ""
        self._began = time.time()
        self.counters = None
        if plan.metrics_dir:
            from mlctl.tracking_server.metrics import Counters

            self.counters = Counters()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if scope["path"] == "/ready":
            trouble = await self._database_trouble()
            body = {**self.about, "ready": not trouble, "pid": os.getpid(), "began": self._began}
            if trouble:
                body["trouble"] = "the database does not answer"
            await answer(send, 503 if trouble else 200, json.dumps(body).encode(), b"application/json")
            return
        if self.counters and scope["path"] == "/metrics":
            trouble = await self._database_trouble()
            await answer(send, 200, self.counters.exposition(up=not trouble), b"text/plain; version=0.0.4")
            return
        await self._watched(scope, receive, send)

    async def _watched(self, scope: Scope, receive: Receive, send: Send) -> None:
        started, status = time.perf_counter(), 500

        async def watching(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, watching)
        finally:
            took = time.perf_counter() - started
            if self.counters:
                self.counters.count(scope["method"], scope["path"], status, took)
            if status >= 500:
                say("ERROR", f"{scope['method']} {scope['path']} was answered {status} after {took:.2f} s")

    async def _database_trouble(self) -> str:
        """Return why the database cannot be used, "" where it can; asked at most twice a second."""
        if time.monotonic() - self._asked_at > ASK_AGAIN_AFTER_S:
            try:
                await asyncio.wait_for(asyncio.to_thread(_ask_database), DATABASE_WITHIN_S)
                self._trouble = ""
            except (sqlalchemy.exc.SQLAlchemyError, TimeoutError) as error:
                self._trouble = type(error).__name__
            self._asked_at = time.monotonic()
        return self._trouble


def _ask_database() -> None:
    with handlers._get_tracking_store().engine.connect() as connection:
        connection.execute(sqlalchemy.text("SELECT version_num FROM alembic_version"))


async def answer(send: Send, status: int, body: bytes, kind: bytes) -> None:
    """Send one complete answer."""
    headers = [
        (b"content-type", kind),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})

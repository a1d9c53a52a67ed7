"""Importing MLflow once and forking the workers from it.

Stock starts an interpreter a worker, and each imports everything again. Here the pages of one import are
shared. No database engine may cross the fork: the schema is brought up in a child that is thrown away, and
each worker opens its own connections.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import signal
import socket
import sys
import time
import warnings
from pathlib import Path

from mlctl.tracking_server import lazy_packages, maintenance
from mlctl.tracking_server.parent_death import die_with_parent, say
from mlctl.tracking_server.server_config import CANNOT_LISTEN, ServerConfig
from mlctl.tracking_server.signals import SignalWaiter

CANNOT_START = 78  # EX_CONFIG: the same would happen again
BACKLOG = 2048
UPKEEP_EVERY_S = 10.0
STOP_WITHIN_S, LONGER_S = 30.0, 5.0
SOON_S = 2.0
NEEDED = (
    "mlflow.server.fastapi_app",
    "mlctl.tracking_server.worker",
    "uvicorn.loops.auto",
    "uvicorn.loops.uvloop",
    "uvicorn.lifespan.off",
    "anyio._backends._asyncio",
    "uvicorn.protocols.http.auto",
    "mlflow.store.model_registry.sqlalchemy_workspace_store",
    "mlflow.store.tracking.sqlalchemy_workspace_store",
    "mlflow.tracing.processor.otel",
    "opentelemetry.sdk.metrics.export",
    "sqlalchemy.dialects.postgresql.psycopg2",
    "sqlalchemy.dialects.sqlite.pysqlite",
)


def launch(plan: ServerConfig) -> int:
    """Serve until SIGTERM or SIGINT; return the exit code."""
    if plan.dies_with_parent:
        die_with_parent(int(os.environ["MLCTL_PARENT"]))
    wakeful = SignalWaiter()
    try:
        sock = listening_socket(plan)
    except OSError as error:
        say("ERROR", cannot_listen(plan, error))
        return CANNOT_START
    os.environ.update(environment(plan))
    schema = _imported(plan, wakeful)
    code = 0
    if os.waitstatus_to_exitcode(os.waitpid(schema, 0)[1]) != 0:
        code = CANNOT_START
    else:
        os.environ.pop("MLFLOW_AUTH_ADMIN_PASSWORD", None)  # it has been used
        gc.freeze()
        say("INFO", f"serving on {plan.host}:{plan.port} with {plan.workers} workers")
        code = _Workers(plan, sock, wakeful).run()
        say("INFO", "stopped")
        maintenance.settle(plan.backend_uri)
    if plan.note:
        Path(plan.note).unlink(missing_ok=True)
    return code


def listening_socket(plan: ServerConfig) -> socket.socket:
    """Return the inherited socket, or a new one, listening. Raises OSError where the address is taken.

    The protocol is named because asyncio sets TCP_NODELAY only on a socket that says it is TCP: without,
    every answer waits for Nagle's algorithm.
    """
    if plan.socket_fd is not None:
        found = socket.socket(fileno=plan.socket_fd)
        sock = socket.socket(found.family, found.type, socket.IPPROTO_TCP, fileno=found.detach())
    else:
        family = socket.AF_INET6 if ":" in plan.host else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((plan.host, plan.port))
    sock.listen(BACKLOG)
    return sock


def cannot_listen(plan: ServerConfig, error: OSError) -> str:
    """Return the log's line about a port that another program has."""
    return f"{CANNOT_LISTEN} {plan.host}:{plan.port}: {error.strerror}"


def environment(plan: ServerConfig) -> dict[str, str]:
    """Return what MLflow's server reads from its environment."""
    values = {
        "_MLFLOW_SERVER_FILE_STORE": plan.backend_uri,
        "_MLFLOW_SERVER_REGISTRY_STORE": plan.backend_uri,
        "_MLFLOW_SERVER_ARTIFACT_ROOT": plan.artifact_root,
        "_MLFLOW_SERVER_BOOT_ID": plan.instance,
        "_MLFLOW_IN_JOB_EXECUTOR": "false",
        "_MLFLOW_SGI_NAME": "uvicorn",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "PGCONNECT_TIMEOUT": "5",
    }
    if plan.artifacts_destination:
        values["_MLFLOW_SERVER_SERVE_ARTIFACTS"] = "true"
        values["_MLFLOW_SERVER_ARTIFACT_DESTINATION"] = plan.artifacts_destination
    if plan.auth_config:
        values["MLFLOW_AUTH_CONFIG_PATH"] = plan.auth_config
    if plan.metrics_dir:
        values["PROMETHEUS_MULTIPROC_DIR"] = plan.metrics_dir
    return {**values, **plan.settings, **plan.secrets}


def _imported(plan: ServerConfig, wakeful: SignalWaiter) -> int:
    """Import everything that workers need; return the pid of the child that brings the schema up meanwhile.

    The collector is off: it would walk a million fresh objects many times and free nothing.
    """
    gc.disable()
    warnings.simplefilter("ignore")
    lazy_packages.stand_in("pandas", "pyarrow", "scipy")
    with contextlib.suppress(ImportError):  # without the extra; a search of runs would load it in each worker
        importlib.import_module("mlflow.server.auth")
    importlib.import_module("mlflow.store.tracking.sqlalchemy_store")
    parent = os.getpid()
    child = os.fork()
    if child == 0:
        from mlctl.tracking_server import schema

        die_with_parent(parent)
        wakeful.forget()
        _leave(schema.bring_up(plan))
    for module in NEEDED:
        importlib.import_module(module)
    import mlflow.server
    import sqlalchemy.orm
    from mlflow.store.db import utils

    # what each worker would otherwise work out for itself, in memory of its own; the child verifies the
    # schema, for which every worker would load 70 migrations again
    sqlalchemy.orm.configure_mappers()
    mlflow.server.app.url_map.update()
    utils._verify_schema = lambda _engine: None
    return child


def _grace_s(plan: ServerConfig) -> float:
    """Return how long requests in flight may take, from what server-down has left."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        return float(json.loads(Path(plan.told or "").read_text(encoding="utf-8"))["grace_s"]) + LONGER_S
    return STOP_WITHIN_S


def _leave(code: int) -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


class _Workers:
    """The forked workers: replaced when one dies, stopped together."""

    def __init__(self, plan: ServerConfig, sock: socket.socket, wakeful: SignalWaiter) -> None:
        self.plan, self.sock, self.wakeful = plan, sock, wakeful
        self.alive: dict[int, float] = {}
        self.failures = 0

    def run(self) -> int:
        for _ in range(self.plan.workers):
            self._fork()
        upkeep_at = time.monotonic() + 1
        while not self.wakeful.stopping:
            self.wakeful.sleep(UPKEEP_EVERY_S / 2)
            self._bury(replace=True)
            if self.failures > 3 * self.plan.workers:
                say("ERROR", "workers keep dying at once; giving up")
                self._stop()
                return 1
            if time.monotonic() > upkeep_at:
                maintenance.refresh_statistics(self.plan.backend_uri)
                upkeep_at = time.monotonic() + UPKEEP_EVERY_S
        self._stop()
        return 0

    def _fork(self) -> None:
        parent = os.getpid()
        child = os.fork()
        if child == 0:
            from mlctl.tracking_server import worker

            die_with_parent(parent)
            self.wakeful.forget()
            _leave(worker.run(self.plan, self.sock))
        self.alive[child] = time.monotonic()

    def _bury(self, replace: bool) -> None:
        while self.alive or replace:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            born = self.alive.pop(pid, None)
            if born is None or not replace or self.wakeful.stopping:
                continue  # an adopted orphan, where this is a container's first process, or an expected end
            maintenance.forget_metrics(self.plan.metrics_dir, pid)
            lived = time.monotonic() - born
            self.failures = self.failures + 1 if lived < SOON_S else 0
            say("ERROR", f"worker {pid} ended with {os.waitstatus_to_exitcode(status)}; starting another")
            if lived < SOON_S:
                time.sleep(min(0.1 * 2**self.failures, 2.0))
            self._fork()

    def _stop(self) -> None:
        """Let requests in flight end, then end what is left; whoever told how long loses patience before."""
        self.sock.close()
        self._signal(signal.SIGTERM)
        until = time.monotonic() + _grace_s(self.plan)
        while self.alive and time.monotonic() < until:
            self.wakeful.sleep(0.2)
            self._bury(replace=False)
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        for pid in self.alive:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

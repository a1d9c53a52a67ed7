"""Import MLflow once, and fork the workers from that process.

`mlflow server` starts one interpreter per worker, and each of them imports everything again. Forked workers share
the memory pages of a single import. No database engine may cross the fork: a child process that ends afterwards
migrates the schema, and each worker opens its own connections.
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

from mlctl import mysql
from mlctl.machine import die_with_parent
from mlctl.tracking_server import lazy_packages, maintenance
from mlctl.tracking_server.log import log
from mlctl.tracking_server.server_config import CANNOT_LISTEN, ServerConfig
from mlctl.tracking_server.signals import SignalWaiter

EXIT_CANNOT_START = 78  # EX_CONFIG: another attempt would fail in the same way
BACKLOG = 2048
MAINTENANCE_INTERVAL_S = 10.0
DEFAULT_GRACE_S = 30.0
EXTRA_GRACE_S = 5.0  # server-down ends its wait, and kills, before the launcher does
EARLY_EXIT_S = 2.0
PRELOADED_MODULES = (
    "mlflow.server.fastapi_app",
    "mlctl.tracking_server.lost_runs",
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
    "sqlalchemy.dialects.sqlite.pysqlite",
)
POSTGRES_DIALECT, MYSQL_DIALECT = (
    "sqlalchemy.dialects.postgresql.psycopg2",
    "sqlalchemy.dialects.mysql.pymysql",
)


def launch(config: ServerConfig) -> int:
    """Serve until SIGTERM or SIGINT; return the exit code."""
    if config.dies_with_parent:
        die_with_parent(int(os.environ["MLCTL_PARENT"]))
    signals = SignalWaiter()
    try:
        sock = listening_socket(config)
    except OSError as error:
        log("ERROR", listen_error(config, error))
        return EXIT_CANNOT_START
    os.environ.update(mlflow_environment(config))
    if mysql.is_mysql(config.backend_uri):
        mysql.use_environment()
    schema_pid = _import_modules(config, signals)
    code = 0
    if os.waitstatus_to_exitcode(os.waitpid(schema_pid, 0)[1]) != 0:
        code = EXIT_CANNOT_START
    else:
        os.environ.pop("MLFLOW_AUTH_ADMIN_PASSWORD", None)  # only the schema process needs it
        gc.freeze()
        log("INFO", f"serving on {config.host}:{config.port} with {config.workers} workers")
        code = _WorkerPool(config, sock, signals).run()
        log("INFO", "stopped")
        maintenance.checkpoint_database(config.backend_uri)
    config.delete_state_file()
    return code


def listening_socket(config: ServerConfig) -> socket.socket:
    """Return the inherited socket, or a new one, listening; raises OSError if the address is in use.

    The socket names its protocol because asyncio sets TCP_NODELAY only on a socket whose protocol is TCP. Without
    TCP_NODELAY every response waits for Nagle's algorithm.
    """
    if config.socket_fd is not None:
        inherited = socket.socket(fileno=config.socket_fd)
        sock = socket.socket(inherited.family, inherited.type, socket.IPPROTO_TCP, fileno=inherited.detach())
    else:
        family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((config.host, config.port))
    sock.listen(BACKLOG)
    return sock


def listen_error(config: ServerConfig, error: OSError) -> str:
    """Return the log line for a port that another program uses."""
    return f"{CANNOT_LISTEN} {config.host}:{config.port}: {error.strerror}"


def mlflow_environment(config: ServerConfig) -> dict[str, str]:
    """Return the environment variables that MLflow's server reads."""
    values = {
        "_MLFLOW_SERVER_FILE_STORE": config.backend_uri,
        "_MLFLOW_SERVER_REGISTRY_STORE": config.backend_uri,
        "_MLFLOW_SERVER_ARTIFACT_ROOT": config.artifact_root,
        "_MLFLOW_SERVER_BOOT_ID": config.instance,
        "_MLFLOW_IN_JOB_EXECUTOR": "false",
        "_MLFLOW_SGI_NAME": "uvicorn",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "PGCONNECT_TIMEOUT": "5",
    }
    if config.artifacts_destination:
        values["_MLFLOW_SERVER_SERVE_ARTIFACTS"] = "true"
        values["_MLFLOW_SERVER_ARTIFACT_DESTINATION"] = config.artifacts_destination
    if config.auth_config:
        values["MLFLOW_AUTH_CONFIG_PATH"] = config.auth_config
    if config.metrics_dir:
        values["PROMETHEUS_MULTIPROC_DIR"] = config.metrics_dir
    return {**values, **config.settings, **config.secrets}


def _import_modules(config: ServerConfig, signals: SignalWaiter) -> int:
    """Import every module that the workers need; return the pid of the child that migrates the schema meanwhile.

    The garbage collector is off: it would walk a million new objects many times and free nothing.
    """
    gc.disable()
    warnings.simplefilter("ignore")
    lazy_packages.defer_imports("pandas", "pyarrow", "scipy")
    # it needs the extra `auth`; MLflow's run search imports it too, which each worker would do for itself
    with contextlib.suppress(ImportError):
        importlib.import_module("mlflow.server.auth")
    importlib.import_module("mlflow.store.tracking.sqlalchemy_store")
    parent = os.getpid()
    child = os.fork()
    if child == 0:
        from mlctl.tracking_server import schema

        die_with_parent(parent)
        signals.reset()
        _exit(schema.migrate(config))
    uses_s3 = "s3://" in f"{config.artifacts_destination} {config.artifact_root}"
    dialect = MYSQL_DIALECT if mysql.is_mysql(config.backend_uri) else POSTGRES_DIALECT
    for module in (*PRELOADED_MODULES, dialect, *(["mlctl.s3"] if uses_s3 else [])):
        importlib.import_module(module)
    import mlflow.server
    import sqlalchemy.orm
    from mlflow.store.db import utils

    # Do here, once, what each worker would otherwise do in memory of its own. The child verifies the schema; to
    # verify it again, every worker would load 70 migrations.
    sqlalchemy.orm.configure_mappers()
    mlflow.server.app.url_map.update()
    utils._verify_schema = lambda _engine: None
    return child


def _grace_s(config: ServerConfig) -> float:
    """Return how long requests in flight may take, as server-down wrote it into the state file."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        state = json.loads(Path(config.state_file or "").read_text(encoding="utf-8"))
        return float(state["grace_s"]) + EXTRA_GRACE_S
    return DEFAULT_GRACE_S


def _exit(code: int) -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


class _WorkerPool:
    """The forked workers. The pool replaces one that dies, and stops them together."""

    def __init__(self, config: ServerConfig, sock: socket.socket, signals: SignalWaiter) -> None:
        self.config, self.sock, self.signals = config, sock, signals
        self.started_at: dict[int, float] = {}  # by pid
        self.watcher = 0  # the pid of the worker that looks for lost runs
        self.early_exits = 0

    def run(self) -> int:
        for _ in range(self.config.workers):
            self._fork()
        next_maintenance = time.monotonic() + 1
        while not self.signals.stopping:
            self.signals.sleep(MAINTENANCE_INTERVAL_S / 2)
            self._reap(replace=True)
            if self.early_exits > 3 * self.config.workers:
                log("ERROR", "workers keep exiting right after they start; the server stops")
                self.config.tell_down("its workers keep exiting")
                self._stop()
                return 1
            if time.monotonic() > next_maintenance:
                maintenance.refresh_statistics(self.config.backend_uri)
                next_maintenance = time.monotonic() + MAINTENANCE_INTERVAL_S
        self._stop()
        return 0

    def _fork(self) -> None:
        parent, is_watcher = os.getpid(), self.watcher not in self.started_at
        child = os.fork()
        if child == 0:
            from mlctl.tracking_server import worker

            die_with_parent(parent)
            self.signals.reset()
            _exit(worker.run(self.config, self.sock, finds_lost_runs=is_watcher))
        self.started_at[child] = time.monotonic()
        self.watcher = child if is_watcher else self.watcher

    def _reap(self, replace: bool) -> None:
        """Collect the children that have ended, and start a new worker for each if `replace`."""
        while self.started_at or replace:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            started_at = self.started_at.pop(pid, None)
            if started_at is None or not replace or self.signals.stopping:
                continue  # an orphan that a container's first process adopted, or an expected exit
            maintenance.delete_worker_gauges(self.config.metrics_dir, pid)
            lifetime_s = time.monotonic() - started_at
            self.early_exits = self.early_exits + 1 if lifetime_s < EARLY_EXIT_S else 0
            log("ERROR", f"worker {pid} ended with {os.waitstatus_to_exitcode(status)}; starting another")
            if lifetime_s < EARLY_EXIT_S:
                time.sleep(min(0.1 * 2**self.early_exits, 2.0))
            self._fork()

    def _stop(self) -> None:
        """Let requests in flight finish within the grace period, then kill the workers that are left."""
        self.sock.close()
        self._signal(signal.SIGTERM)
        deadline = time.monotonic() + _grace_s(self.config)
        while self.started_at and time.monotonic() < deadline:
            self.signals.sleep(0.2)
            self._reap(replace=False)
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        for pid in self.started_at:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

"""Start commands and servers in processes that have imported everything before, to save the imports.

All tests of a session share two processes, which wait for requests on a socket: one has imported the command line,
the other one what each tracking server imports. For a request, they fork a process with its own environment, folder,
streams and session. So `mlctl server-up`, forked from the first one, starts a server that is forked from the second.

A forked server's command line and environment in /proc are those of its origin. Tests of these, of the imports, and of
commands in the foreground use a `CommandLine` without a zygote.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import gc
import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from filelock import FileLock

from tests.parts import eventually
from tests.warm_server import FOLDER_VARIABLE

ROOT = Path(__file__).parents[2]
COMMAND, SERVER, STOCK = "command", "server", "stock"
SERVER_COMMAND = [sys.executable, "-m", "mlctl.tracking_server"]
# mlflow.server and prometheus_client are absent: they read the server's environment when they are imported
SERVER_MODULES = (
    *("mlflow.genai", "mlflow.store.db.utils", "mlflow.tracing.processor.otel"),
    "mlflow.store.model_registry.sqlalchemy_workspace_store",
    "mlflow.store.tracking.sqlalchemy_workspace_store",
    *("alembic.command", "flask", "flask_wtf", "fastapi", "opentelemetry.sdk.metrics.export"),
    *("sqlalchemy.dialects.sqlite.pysqlite", "sqlalchemy.dialects.postgresql.psycopg2"),
    *("uvicorn.loops.auto", "uvicorn.loops.uvloop", "uvicorn.lifespan.off", "uvicorn.protocols.http.auto"),
    *("anyio._backends._asyncio", "mlctl.tracking_server.launcher", "mlctl.tracking_server.supervisor"),
    *("mlctl.tracking_server.schema", "mlctl.tracking_server.maintenance", "mlctl.s3"),
    *("aiohttp", "pydantic.v1", "mlflow.assistant", "mlflow.gateway.budget", "mlflow.gateway.schemas.chat"),
    *("mlflow.gateway.tracing_utils", "mlflow.gateway.config", "starlette.middleware.wsgi", "multipart"),
)
COMMAND_MODULES = (
    *("mlctl.__main__", "mlctl.cli.app", "mlctl.adapters.system.daemon", "mlctl.services.server.up"),
    *("mlctl.services.server.status", "mlctl.output.views.server", "sqlite3", "urllib.request", "psutil"),
)


@dataclass(frozen=True)
class ServerProcess:
    """A server that is not a child of this process; its pid is also the id of its process group."""

    pid: int

    def is_running(self) -> bool:
        """Return whether the process has not ended."""
        with contextlib.suppress(psutil.NoSuchProcess):
            return bool(psutil.Process(self.pid).status() != psutil.STATUS_ZOMBIE)
        return False


@dataclass(frozen=True)
class ServerZygote:
    """The sockets of both processes."""

    commands: str
    servers: str

    def run(
        self,
        arguments: Sequence[str],
        *,
        cwd: Path,
        environment: Mapping[str, str],
        stdin: str | None,
        timeout_s: float,
    ) -> subprocess.CompletedProcess[str]:
        """Run `mlctl ARGUMENTS` and wait for its end, as `subprocess.run` does."""
        with tempfile.TemporaryFile() as given, _Output() as out, _Output() as err:
            given.write((stdin or "").encode())
            given.seek(0)
            connection = _request(
                self.commands,
                [given.fileno(), out.writer, err.writer],
                {
                    "kind": COMMAND,
                    "arguments": list(arguments),
                    "cwd": str(cwd),
                    "environment": dict(environment),
                    "servers": self.servers,
                },
            )
            out.read(), err.read()
            with connection, connection.makefile("r") as answers:
                pid = int(answers.readline())
                connection.settimeout(timeout_s)
                try:
                    code = int(answers.readline())
                except TimeoutError:
                    os.kill(pid, signal.SIGKILL)
                    raise subprocess.TimeoutExpired(["mlctl", *arguments], timeout_s) from None
            return subprocess.CompletedProcess(["mlctl", *arguments], code, out.text(), err.text())

    def start_stock(
        self, *, port: int, cwd: Path, log: Path, environment: Mapping[str, str]
    ) -> ServerProcess:
        """Start `mlflow server`, with one worker and the settings that the environment names."""
        with log.open("ab") as output, open(os.devnull) as nothing:
            streams = [nothing.fileno(), output.fileno(), output.fileno()]
            document = {"kind": STOCK, "port": port, "cwd": str(cwd), "environment": dict(environment)}
            with _request(self.servers, streams, document) as connection:
                return ServerProcess(int(connection.makefile("r").readline()))


class _Output:
    """A pipe whose content is read by a thread."""

    def __enter__(self) -> _Output:
        self._reader, self.writer = os.pipe()
        self._content = b""
        return self

    def read(self) -> None:
        os.close(self.writer)
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        with os.fdopen(self._reader, "rb") as pipe:
            self._content = pipe.read()

    def text(self) -> str:
        """Return what was written, once all writers have closed the pipe."""
        self._thread.join(20)
        assert not self._thread.is_alive(), "a process that the command has left behind holds its streams"
        return self._content.decode()

    def __exit__(self, *_: object) -> None:
        """The thread closes the pipe."""


def connect() -> ServerZygote:
    """Return the zygote of the session; start its processes if no worker of pytest-xdist has started them.

    They end with the session.
    """
    folder = Path(os.environ[FOLDER_VARIABLE])
    paths = {kind: folder / f"zygote-{kind}" for kind in (COMMAND, SERVER)}
    with FileLock(folder / "zygote.lock"):
        started = [_start(kind, path) for kind, path in paths.items() if not path.exists()]
        for kind, path in paths.items():
            eventually(lambda path=path: path.exists() or any(one.poll() is not None for one in started), 240)
            assert path.exists(), (folder / f"zygote-{kind}.log").read_text()
    return ServerZygote(str(paths[COMMAND]), str(paths[SERVER]))


def _start(kind: str, path: Path) -> subprocess.Popen[bytes]:
    session = os.getppid() if "PYTEST_XDIST_WORKER" in os.environ else os.getpid()
    # a user's shell does not have the variables that tests set for MLflow and other services
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW_", "AWS_", "PG"))}
    with path.with_suffix(".log").open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "tests.parts.server_zygote", kind, str(path), str(session)],
            cwd=ROOT,
            env={**environment, "MLFLOW_DISABLE_TELEMETRY": "true"},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def _request(path: str, descriptors: Sequence[int], document: Mapping[str, Any]) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(path)
    content = json.dumps(document).encode()
    socket.send_fds(connection, [len(content).to_bytes(4, "big")], list(descriptors))
    connection.sendall(content)
    return connection


# -- in the processes that fork -----------------------------------------------------------------------------


def _serve(kind: str, path: str, session: int) -> None:
    if kind == SERVER:
        from mlctl.tracking_server import lazy_packages

        lazy_packages.defer_imports("pandas", "pyarrow", "scipy")  # as the launcher does, before its imports
    for module in SERVER_MODULES if kind == SERVER else COMMAND_MODULES:
        importlib.import_module(module)
    assert not {"mlflow.server", "prometheus_client"} & set(sys.modules)
    gc.freeze()
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path + ".new")
    listener.listen(64)
    os.rename(path + ".new", path)
    while os.path.exists(path) and psutil.pid_exists(session):
        if not select.select([listener], [], [], 1)[0]:
            continue
        connection, _ = listener.accept()
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        if os.fork() == 0:
            listener.close()
            _handle(connection)
        connection.close()


def _handle(connection: socket.socket) -> None:
    """Fork the process that was asked for, in a child; send its pid, and the exit code of a command."""
    size, descriptors, _, _ = socket.recv_fds(connection, 4, 16)
    content = b""
    while len(content) < int.from_bytes(size, "big"):
        content += connection.recv(1 << 16)
    request = json.loads(content)
    pid = os.fork()
    if pid == 0:
        connection.close()
        _become(request, descriptors)
    for descriptor in descriptors:
        os.close(descriptor)
    connection.sendall(f"{pid}\n".encode())
    if request["kind"] == COMMAND:
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        with contextlib.suppress(OSError):  # nobody waits any more
            connection.sendall(f"{code}\n".encode())
    os._exit(0)


def _become(request: Mapping[str, Any], descriptors: Sequence[int]) -> None:
    """Run a command or a server in this process, and end it."""
    os.setsid()
    high = [fcntl.fcntl(descriptor, fcntl.F_DUPFD, 200) for descriptor in descriptors]
    for descriptor in descriptors:
        os.close(descriptor)
    for source, target in zip(high, [0, 1, 2, *request.get("pass_fds", [])], strict=True):
        os.dup2(source, target)
        os.close(source)
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["cwd"])
    sys.path[0] = request["cwd"]
    run = {COMMAND: _run_command, SERVER: _run_server, STOCK: _run_stock}[request["kind"]]
    _end(lambda: run(request))


def _end(run: Callable[[], int]) -> None:
    """Run a program and end this process as it would end."""
    sys.stdin = open(0, closefd=False)  # noqa: SIM115 - the old one may have read ahead
    code = 1
    try:
        code = run()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:
        traceback.print_exc()
    with contextlib.suppress(Exception):
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


def _run_command(request: Mapping[str, Any]) -> int:
    from mlctl.__main__ import main

    fork_servers(request["servers"])
    sys.argv = ["mlctl", *request["arguments"]]
    main()
    return 0


def fork_servers(servers: str) -> None:
    """Let the mlctl of this process fork the servers that it starts from the process with this socket."""
    from mlctl.adapters.system import daemon

    def start(argv: Sequence[str], **options: Any) -> Any:
        if list(argv) != SERVER_COMMAND:
            return subprocess.Popen(argv, **options)
        reader, writer = os.pipe()
        descriptors = [reader, options["stdout"].fileno(), options["stderr"].fileno(), *options["pass_fds"]]
        document = {
            "kind": SERVER,
            "cwd": os.getcwd(),
            "environment": options["env"],
            "pass_fds": list(options["pass_fds"]),
        }
        with _request(servers, descriptors, document) as connection:
            pid = int(connection.makefile("r").readline())
        os.close(reader)
        return types.SimpleNamespace(pid=pid, stdin=os.fdopen(writer, "wb"))

    daemon.subprocess = types.SimpleNamespace(Popen=start, PIPE=subprocess.PIPE)  # type: ignore[assignment]


def _run_server(_: Mapping[str, Any]) -> int:
    from mlctl.tracking_server import supervisor
    from mlctl.tracking_server.__main__ import main

    supervisor.subprocess = types.SimpleNamespace(Popen=_ForkedServer, PIPE=subprocess.PIPE)  # type: ignore[assignment]
    return main()


class _ForkedServer:
    """What a supervisor needs of `subprocess.Popen`."""

    def __init__(self, argv: Sequence[str], *, env: Mapping[str, str], **_: Any) -> None:
        assert list(argv) == SERVER_COMMAND
        self.returncode: int | None = None
        reader, writer = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.dup2(reader, 0)
            os.close(reader)
            os.close(writer)
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
                signal.signal(number, signal.SIG_DFL)
            os.environ.clear()
            os.environ.update(env)
            from mlctl.tracking_server.__main__ import main

            _end(main)
        os.close(reader)
        self.stdin = os.fdopen(writer, "wb")

    def poll(self) -> int | None:
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.returncode = os.waitstatus_to_exitcode(status) if pid else None
        return self.returncode

    def wait(self) -> int:
        while self.poll() is None:
            time.sleep(0.01)
        assert self.returncode is not None
        return self.returncode

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)


def _run_stock(request: Mapping[str, Any]) -> int:
    import uvicorn
    from mlflow.server.fastapi_app import app
    from mlflow.server.handlers import initialize_backend_stores

    stores = [os.environ[f"_MLFLOW_SERVER_{kind}_STORE"] for kind in ("FILE", "REGISTRY")]
    initialize_backend_stores(*stores, os.environ["_MLFLOW_SERVER_ARTIFACT_ROOT"])
    uvicorn.run(app, host="127.0.0.1", port=request["port"], log_level="error")
    return 0


if __name__ == "__main__":
    _serve(sys.argv[1], sys.argv[2], int(sys.argv[3]))

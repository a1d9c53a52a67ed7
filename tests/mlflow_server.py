"""MLflow's own server, as `mlflow server` runs it, that tests can stop, pause, kill and restart, and a proxy that can break its answers."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import urlopen

from tests.parts import eventually, free_port, server_zygote


@dataclass
class MlflowServer:
    """A server with one port and one database, which can be started several times."""

    folder: Path
    backend: str
    port: int
    process: server_zygote.ServerProcess | None = None

    @property
    def uri(self) -> str:
        """The URL of the server."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start the server and wait until it answers."""
        self.folder.mkdir(parents=True, exist_ok=True)
        settings = {  # which the command line of `mlflow server` sets for its workers
            "_MLFLOW_SERVER_FILE_STORE": self.backend,
            "_MLFLOW_SERVER_REGISTRY_STORE": self.backend,
            "_MLFLOW_SERVER_ARTIFACT_ROOT": "mlflow-artifacts:/",
            "_MLFLOW_SERVER_SERVE_ARTIFACTS": "true",
            "_MLFLOW_SERVER_ARTIFACT_DESTINATION": str(self.folder / "artifacts"),
            "_MLFLOW_SGI_NAME": "uvicorn",
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        }
        self.process = server_zygote.connect().start_stock(
            port=self.port,
            cwd=self.folder,
            log=self.folder / "server.log",
            environment={**os.environ, **settings},
        )
        eventually(self._is_healthy, 180, 0.1)

    def _is_healthy(self) -> bool:
        assert self.process
        assert self.process.is_running(), (self.folder / "server.log").read_text()[-2000:]
        try:
            return bool(urlopen(self.uri + "/health", timeout=2).status == 200)
        except OSError:
            return False

    def send(self, number: int) -> None:
        """Send a signal to all processes of the server."""
        assert self.process
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)

    def end(self, number: int = signal.SIGKILL) -> None:
        """Kill the server as in a crash, or stop it with SIGTERM, and wait for its end."""
        if self.process:
            self.send(number)
            self.send(signal.SIGCONT)
            eventually(lambda process=self.process: not process.is_running(), 30)
            self.process = None


class Proxy:
    """Forwards requests to a server, and can break some of them.

    `choose_fault(number, path)` returns the fault of a request:

    - "": forward the request
    - "500": answer with status 500; the server does not get the request
    - "lost": forward the request, but drop the answer

    `faults` lists the broken requests.
    """

    def __init__(self, upstream: str) -> None:
        self.upstream = urlsplit(upstream)
        self.choose_fault: Callable[[int, str], str] = lambda number, path: ""
        self.faults: list[str] = []
        self._number = 0
        self._lock = threading.Lock()
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            def _handle(self) -> None:
                proxy.handle(self)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _handle

            def log_message(self, *_: Any) -> None:
                """Print nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.uri = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def handle(self, request: BaseHTTPRequestHandler) -> None:
        """Forward a request, or break it."""
        body = request.rfile.read(int(request.headers.get("Content-Length") or 0))
        with self._lock:
            self._number += 1
            fault = self.choose_fault(self._number, request.path)
            if fault:
                self.faults.append(f"{fault} {request.command} {request.path}")
        if fault == "500":
            self._answer(request, 500, b"{}", "application/json")
            return
        connection = http.client.HTTPConnection(self.upstream.hostname or "", self.upstream.port, timeout=60)
        headers = {
            name: value
            for name, value in request.headers.items()
            if name.lower() not in {"host", "connection"}
        }
        try:
            connection.request(request.command, request.path, body, headers)
            answer = connection.getresponse()
            content = answer.read()
        except OSError:
            request.close_connection = True
            return
        finally:
            connection.close()
        if fault == "lost":
            request.close_connection = True
            return
        self._answer(request, answer.status, content, answer.headers.get("Content-Type", "text/plain"))

    @staticmethod
    def _answer(request: BaseHTTPRequestHandler, status: int, content: bytes, content_type: str) -> None:
        with contextlib.suppress(OSError):  # the client may have closed the connection
            request.send_response(status)
            request.send_header("Content-Type", content_type)
            request.send_header("Content-Length", str(len(content)))
            request.end_headers()
            request.wfile.write(content)

    def close(self) -> None:
        """Stop the proxy."""
        self._server.shutdown()
        self._server.server_close()


@contextlib.contextmanager
def running(folder: Path, backend: str) -> Iterator[MlflowServer]:
    """Run a server, and kill it afterwards, even if the test has paused or stopped it."""
    server = MlflowServer(folder, backend, free_port())
    server.start()
    try:
        yield server
    finally:
        server.end()

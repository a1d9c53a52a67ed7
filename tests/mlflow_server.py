"""A real `mlflow server` that a test stops, pauses, kills and starts again, and a proxy that spoils its answers."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import urlopen

from tests.parts import eventually, free_port


@dataclass
class MlflowServer:
    """A server on one port, over one database, however often it is started."""

    folder: Path
    backend: str
    port: int
    process: subprocess.Popen[bytes] | None = None

    @property
    def uri(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it, and return when it answers."""
        self.folder.mkdir(parents=True, exist_ok=True)
        log = (self.folder / "server.log").open("ab")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "mlflow", "server", "--port", str(self.port), "--workers", "1",
             "--backend-store-uri", self.backend, "--artifacts-destination", str(self.folder / "artifacts")],
            cwd=self.folder, env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
            stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
        eventually(self._answers, 180, 0.2)

    def _answers(self) -> bool:
        assert self.process
        assert self.process.poll() is None, (self.folder / "server.log").read_text()[-2000:]
        try:
            return bool(urlopen(self.uri + "/health", timeout=2).status == 200)
        except OSError:
            return False

    def send(self, number: int) -> None:
        """Send a signal to all of its processes."""
        assert self.process
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)

    def end(self, number: int = signal.SIGKILL) -> None:
        """End it, by SIGKILL as a crash does or by SIGTERM, and wait."""
        if self.process:
            self.send(number)
            self.send(signal.SIGCONT)
            self.process.wait(30)
            self.send(signal.SIGKILL)  # what SIGTERM has left of its workers
            self.process = None


class Proxy:
    """Hands requests on to a server; `spoil` decides what becomes of each.

    It is given the number of a request and its path, and returns "" to hand it on, "500" to answer so without
    asking the server, "lost" to have the server do it and drop its answer.
    """

    def __init__(self, upstream: str) -> None:
        self.upstream = urlsplit(upstream)
        self.spoil: Any = lambda number, path: ""
        self.spoiled: list[str] = []
        self._number = 0
        self._lock = threading.Lock()
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            def _handle(self) -> None:
                proxy.handle(self)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _handle

            def log_message(self, *_: Any) -> None:
                """Keep quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.uri = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def handle(self, request: BaseHTTPRequestHandler) -> None:
        """Hand one request on, or spoil it."""
        body = request.rfile.read(int(request.headers.get("Content-Length") or 0))
        with self._lock:
            self._number += 1
            fate = self.spoil(self._number, request.path)
            if fate:
                self.spoiled.append(f"{fate} {request.command} {request.path}")
        if fate == "500":
            self._answer(request, 500, b"{}", "application/json")
            return
        connection = http.client.HTTPConnection(self.upstream.hostname or "", self.upstream.port, timeout=60)
        headers = {k: v for k, v in request.headers.items() if k.lower() not in {"host", "connection"}}
        try:
            connection.request(request.command, request.path, body, headers)
            answer = connection.getresponse()
            content = answer.read()
        except OSError:
            request.close_connection = True
            return
        finally:
            connection.close()
        if fate == "lost":
            request.close_connection = True
            return
        self._answer(request, answer.status, content, answer.headers.get("Content-Type", "text/plain"))

    @staticmethod
    def _answer(request: BaseHTTPRequestHandler, status: int, content: bytes, kind: str) -> None:
        with contextlib.suppress(OSError):  # the asker may have left
            request.send_response(status)
            request.send_header("Content-Type", kind)
            request.send_header("Content-Length", str(len(content)))
            request.end_headers()
            request.wfile.write(content)

    def close(self) -> None:
        """Stop it."""
        self._server.shutdown()
        self._server.server_close()


@contextlib.contextmanager
def running(folder: Path, backend: str) -> Iterator[MlflowServer]:
    """Run a server; it is gone afterwards, in whatever state a test has left it."""
    server = MlflowServer(folder, backend, free_port())
    server.start()
    try:
        yield server
    finally:
        server.end()

"""One worker of an endpoint: it loads and warms its model, says so, and serves when it is told to.

Its stdin is a socket to the supervisor: the spec comes in on it, "ready" or an error goes out, "go" comes back,
and its end means that the supervisor is gone, and the worker goes too. SIGTERM drains: no new connections, each
answer the last of its connection, then the end.
"""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import os
import signal
import socket
import sys
from pathlib import Path
from types import FrameType
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before NumPy: workers share the cores between them

import uvicorn

from mlctl.serving.access import AccessLog
from mlctl.serving.app import Application, Limits
from mlctl.serving.endpoint_spec import Spec, read_spec
from mlctl.serving.keys import ApiKeyAuth
from mlctl.serving.metrics import Metrics
from mlctl.serving.model import Model
from mlctl.serving.protocol import TimeoutProtocol
from mlctl.serving.request_error import RequestError

IDLE_S = 75  # longer than proxies keep theirs, so that they hang up first
LAST_REQUESTS_S = 2.0  # a draining worker waits so long for the next request of a kept connection

log = logging.getLogger("mlctl.serving")


class Server(uvicorn.Server):
    """uvicorn's server, which drains before it closes what a client still uses."""

    def __init__(self, config: uvicorn.Config, application: Application) -> None:
        super().__init__(config)
        self._application = application
        self._draining: asyncio.Task[None] | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Drain on SIGTERM; Ctrl-C reaches the supervisor too, which decides."""
        if sig == signal.SIGTERM:
            asyncio.get_event_loop().call_soon_threadsafe(self.drain)

    def drain(self) -> None:
        """Begin to drain, once."""
        if self._draining is None:
            self._draining = asyncio.get_running_loop().create_task(self._drain())

    async def _drain(self) -> None:
        self._application.draining = True
        for server in getattr(self, "servers", ()):
            server.close()
        loop = asyncio.get_running_loop()
        until = loop.time() + LAST_REQUESTS_S
        # a connection that is closed under a client's request is a failed request: let each hear it first
        while self.server_state.connections and loop.time() < until:
            await asyncio.sleep(0.02)
        self.should_exit = True


async def work(spec: Spec, control: socket.socket) -> None:
    """Load, say so, wait for the word, serve until drained."""
    application, access = _application(spec)
    await application.warm()
    gc.collect()
    gc.set_threshold(50_000, 20, 100)  # a large body makes many lists, and no cycles
    gc.freeze()  # what is loaded stays: walking it at every collection costs a third of the rate
    control.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(control, b'{"ready": true}\n')
    if await loop.sock_recv(control, 16) != b"go\n":
        return
    TimeoutProtocol.head_timeout_s = spec.timeout_s
    config = uvicorn.Config(
        application,
        http=TimeoutProtocol, ws="none", lifespan="off", log_config=None, access_log=False,
        server_header=False, timeout_keep_alive=IDLE_S, timeout_graceful_shutdown=int(spec.timeout_s) + 1,
        ssl_certfile=spec.tls_cert, ssl_keyfile=spec.tls_key,
    )  # fmt: skip
    server = Server(config, application)
    loop.create_task(_until_alone(control, server))  # noqa: RUF006  # it lives as long as the loop
    await server.serve(sockets=[socket.socket(fileno=spec.socket_fd)])
    access.flush()


def _application(spec: Spec) -> tuple[Application, AccessLog]:
    serving = spec.serving
    access = AccessLog()
    application = Application(
        Model(Path(serving.folder)), serving.name, serving.version,
        Limits(spec.max_body, spec.timeout_s), access,
        Metrics(serving.name, serving.version) if spec.metrics else None,
        ApiKeyAuth(Path(spec.key_file)) if spec.key_file else None,
        None if spec.hosts is None else frozenset(spec.hosts),
    )  # fmt: skip
    return application, access


async def _until_alone(control: socket.socket, server: Server) -> None:
    while await asyncio.get_running_loop().sock_recv(control, 16):
        pass
    server.drain()


def _loop_factory() -> Any:
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


def main() -> None:
    """Run one worker."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    control = socket.socket(fileno=0)
    with control.makefile("rb", buffering=0) as lines:
        line = b""
        while not line.endswith(b"\n"):
            if not (part := lines.read(1 if not line else 65536)):
                return
            line += part
    spec = read_spec(line)
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(work(spec, control))
    except RequestError as refusal:
        _fail(control, f"it does not answer its own example: {refusal.message}")
    except (KeyboardInterrupt, BrokenPipeError, ConnectionResetError):
        return
    except Exception as exc:
        log.exception("the model cannot be served")
        _fail(control, f"{type(exc).__name__}: {exc}")


def _fail(control: socket.socket, said: str) -> None:
    control.setblocking(True)
    control.sendall(json.dumps({"error": " ".join(said.split())[:400]}).encode() + b"\n")
    sys.exit(1)


if __name__ == "__main__":
    main()

"""One worker of an endpoint: it loads its model, answers the model's example, and serves when it is told to.

Its stdin is a socket to the supervisor. The worker receives the specification on it, sends "ready" or an error,
and serves after it receives "go". If the socket ends, the supervisor is gone, and the worker drains and exits.
SIGTERM drains too: no new connections, each response closes its connection, then the process ends.
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
from types import FrameType
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before NumPy is imported: the workers share the cores

import uvicorn

from mlctl.serving.access import AccessLog
from mlctl.serving.app import Application
from mlctl.serving.assemble import assemble
from mlctl.serving.endpoint_spec import EndpointSpec, read_spec
from mlctl.serving.payloads.request_error import RequestError
from mlctl.serving.protocol import TimeoutProtocol

KEEP_ALIVE_S = 75  # longer than proxies keep idle connections, so that they close first
DRAIN_S = 2.0  # how long a draining worker waits for the next request of an open connection

log = logging.getLogger("mlctl.serving")


class DrainingServer(uvicorn.Server):
    """uvicorn's server, but it lets open connections finish before it shuts down."""

    def __init__(self, config: uvicorn.Config, application: Application) -> None:
        super().__init__(config)
        self._application = application
        self._drain_task: asyncio.Task[None] | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Drain on SIGTERM. Ctrl-C is left to the supervisor, which receives it too."""
        if sig == signal.SIGTERM:
            asyncio.get_event_loop().call_soon_threadsafe(self.drain)

    def drain(self) -> None:
        """Start to drain, once."""
        if self._drain_task is None:
            self._drain_task = asyncio.get_running_loop().create_task(self._drain())

    async def _drain(self) -> None:
        self._application.draining = True
        for server in getattr(self, "servers", ()):
            server.close()
        loop = asyncio.get_running_loop()
        deadline = loop.time() + DRAIN_S
        # closing a connection on which a request is on its way would fail that request
        while self.server_state.connections and loop.time() < deadline:
            await asyncio.sleep(0.02)
        self.should_exit = True


async def serve(spec: EndpointSpec, control: socket.socket) -> None:
    """Load the model, report to the supervisor, wait for "go", and serve until drained."""
    access_log = AccessLog()
    parts = assemble(spec, access_log)
    parts.invocations.warm_up()
    gc.collect()
    gc.set_threshold(50_000, 20, 100)  # a large body creates many lists, and no reference cycles
    gc.freeze()  # the model stays: scanning it in every collection costs a third of the throughput
    control.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(control, b'{"ready": true}\n')
    if await loop.sock_recv(control, 16) != b"go\n":
        return
    TimeoutProtocol.head_timeout_s = spec.timeout_s
    config = uvicorn.Config(
        parts.application,
        http=TimeoutProtocol,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=int(spec.timeout_s) + 1,
        ssl_certfile=spec.tls_cert,
        ssl_keyfile=spec.tls_key,
    )
    server = DrainingServer(config, parts.application)
    loop.create_task(_drain_without_supervisor(control, server))  # noqa: RUF006  # it lives as long as the loop
    await server.serve(sockets=[socket.socket(fileno=spec.socket_fd)])
    access_log.flush()


async def _drain_without_supervisor(control: socket.socket, server: DrainingServer) -> None:
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
    with control.makefile("rb", buffering=0) as stream:
        line = b""
        while not line.endswith(b"\n"):
            if not (part := stream.read(1 if not line else 65536)):
                return
            line += part
    spec = read_spec(line)
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(serve(spec, control))
    except RequestError as error:
        _report_error(control, f"the model does not answer its own example: {error.message}")
    except (KeyboardInterrupt, BrokenPipeError, ConnectionResetError):
        return
    except Exception as exc:
        log.exception("the model cannot be served")
        _report_error(control, f"{type(exc).__name__}: {exc}")


def _report_error(control: socket.socket, reason: str) -> None:
    control.setblocking(True)
    control.sendall(json.dumps({"error": " ".join(reason.split())[:400]}).encode() + b"\n")
    sys.exit(1)


if __name__ == "__main__":
    main()

"""One worker of an endpoint: it loads its model, answers the model's example, and serves when it is told to.

Its stdin is a socket to the supervisor. The worker receives the specification on it, sends "ready" or an error, and
takes the endpoint's address after it receives "go". If it was given a Unix socket, it answers there before that. If the
connection ends, the supervisor is gone, and the worker drains and exits. SIGTERM drains too: no new connections, each
response closes its connection, then the process ends.
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
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before NumPy is imported: the workers share the cores

import uvicorn

from mlctl.domain.short_texts import describe_error, one_line
from mlctl.serving import metrics_files
from mlctl.serving.access import AccessLog
from mlctl.serving.assemble import WorkerParts, assemble
from mlctl.serving.control import GO, WorkerControl
from mlctl.serving.draining_server import DrainingServer
from mlctl.serving.endpoint_spec import EndpointSpec, read_spec
from mlctl.serving.log_file import reopen_log
from mlctl.serving.payloads.request_error import RequestError
from mlctl.serving.protocol import MAX_HEAD_S, LimitedProtocol

KEEP_ALIVE_S = 75  # longer than proxies keep idle connections, so that they close first

log = logging.getLogger("mlctl.serving")


async def serve(spec: EndpointSpec, connection: socket.socket) -> None:
    """Load the model, report to the supervisor, and serve until drained."""
    access_log = AccessLog()
    control = WorkerControl(connection)
    parts = assemble(spec, access_log, control)
    parts.invocations.warm_up()
    gc.collect()
    gc.set_threshold(50_000, 20, 100)  # a large body creates many lists, and no reference cycles
    gc.freeze()  # the model stays: scanning it in every collection costs a third of the throughput
    server = DrainingServer(_server_config(spec, parts), parts.application, parts.status)
    address = socket.socket(fileno=spec.socket_fd)
    control.on(GO, lambda _: _take_address(parts, server, address))
    control.on("log", reopen_log)
    parts.executor.on_overdue = lambda: control.send({"overdue": parts.executor.overdue})
    local = [] if spec.local_fd is None else [socket.socket(fileno=spec.local_fd)]
    serving = asyncio.create_task(server.serve(sockets=local))
    await asyncio.wait({serving, _start_task(server.is_started.wait())}, return_when="FIRST_COMPLETED")
    _start_task(_follow_supervisor(control, server))
    await serving
    access_log.flush()
    parts.traffic.close()
    if parts.executor.overdue:  # Python would wait for nothing, but a library may
        sys.stdout.flush()
        os._exit(0)


def _take_address(parts: WorkerParts, server: DrainingServer, address: socket.socket) -> None:
    parts.role.serve()
    _start_task(server.listen(address))


_tasks: set[asyncio.Task[Any]] = set()


def _start_task(coroutine: Any) -> asyncio.Task[Any]:
    task = asyncio.get_running_loop().create_task(coroutine)
    _tasks.add(task)
    task.add_done_callback(_tasks.discard)
    return task


async def _follow_supervisor(control: WorkerControl, server: DrainingServer) -> None:
    await control.run()
    server.drain()


def _server_config(spec: EndpointSpec, parts: WorkerParts) -> uvicorn.Config:
    LimitedProtocol.head_timeout_s = min(spec.timeout_s, MAX_HEAD_S)
    return uvicorn.Config(
        parts.application,
        http=LimitedProtocol,
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
    connection = socket.socket(fileno=0)
    with connection.makefile("rb", buffering=0) as stream:
        line = b""
        while not line.endswith(b"\n"):
            if not (part := stream.read(1 if not line else 65536)):
                return
            line += part
    spec = read_spec(line)
    metrics_files.reserve()
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(serve(spec, connection))
    except RequestError as error:
        _report_error(connection, f"the model does not answer its own example: {error.message}")
    except (KeyboardInterrupt, BrokenPipeError, ConnectionResetError):
        return
    except Exception as exc:
        log.exception("the model cannot be served")
        _report_error(connection, describe_error(exc))


def _report_error(connection: socket.socket, reason: str) -> None:
    connection.setblocking(True)
    connection.sendall(json.dumps({"error": one_line(reason, 400)}).encode() + b"\n")
    sys.exit(1)


if __name__ == "__main__":
    main()

"""uvicorn's server for a worker: it can listen at further addresses later, and it drains before it shuts down."""

from __future__ import annotations

import asyncio
import signal
import socket
from types import FrameType

import uvicorn

from mlctl.serving.app import Application
from mlctl.serving.status import WorkerStatus

DRAIN_S = 2.0  # how long a draining worker waits for the next request of an open connection


class DrainingServer(uvicorn.Server):
    """uvicorn's server, but it lets open connections finish before it shuts down.

    Attributes:
        is_started: Set when it can listen.
    """

    def __init__(self, config: uvicorn.Config, application: Application, status: WorkerStatus) -> None:
        super().__init__(config)
        self.is_started = asyncio.Event()
        self._application = application
        self._status = status
        self._drain_task: asyncio.Task[None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen on Unix sockets, without TLS; `listen` adds the endpoint's address."""
        await self.lifespan.startup()
        self.servers = []
        for one in sockets or []:
            await self._accept(one, is_local=True)
        self.started = True
        self.is_started.set()

    async def listen(self, address: socket.socket) -> None:
        """Accept connections at the endpoint's address too."""
        if self._drain_task is None:
            await self._accept(address, is_local=False)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Drain on SIGTERM. Ctrl-C is left to the supervisor, which receives it too."""
        if sig == signal.SIGTERM:
            asyncio.get_event_loop().call_soon_threadsafe(self.drain)

    def drain(self) -> None:
        """Start to drain, once."""
        if self._drain_task is None:
            self._drain_task = asyncio.get_running_loop().create_task(self._drain())

    async def _accept(self, one: socket.socket, *, is_local: bool) -> None:
        config = self.config
        server = await asyncio.get_running_loop().create_server(
            lambda _loop=None: config.http_protocol_class(  # type: ignore[call-arg]
                config=config, server_state=self.server_state, app_state={}, _loop=_loop
            ),
            sock=one,
            ssl=None if is_local else config.ssl,
            backlog=config.backlog,
        )
        self.servers.append(server)

    async def _drain(self) -> None:
        self._application.draining = self._status.draining = True
        for server in self.servers:
            server.close()
        loop = asyncio.get_running_loop()
        deadline = loop.time() + DRAIN_S
        # closing a connection on which a request is on its way would fail that request
        while self.server_state.connections and loop.time() < deadline:
            await asyncio.sleep(0.02)
        self.should_exit = True

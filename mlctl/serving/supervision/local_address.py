"""A Unix socket at which the workers of one version answer other workers."""

from __future__ import annotations

import contextlib
import secrets
import shutil
import socket
import tempfile
from pathlib import Path

MAX_PATH = 100  # bytes; the kernel takes a few more
BACKLOG = 2048


class LocalAddress:
    """A listening Unix socket, which only this user can reach.

    Attributes:
        path: Its file.
        listener: The socket, which the workers inherit.
    """

    def __init__(self, folder: Path) -> None:
        self._own_folder: str | None = None
        self.path = str(folder / f"{secrets.token_hex(4)}.sock")
        if len(self.path.encode()) > MAX_PATH:
            self._own_folder = tempfile.mkdtemp(prefix="mlctl-")
            self.path = f"{self._own_folder}/worker.sock"
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.bind(self.path)
        Path(self.path).chmod(0o600)
        self.listener.listen(BACKLOG)

    def close(self) -> None:
        """Close the socket and remove its file. Connections that are open stay open."""
        self.listener.close()
        with contextlib.suppress(OSError):
            Path(self.path).unlink()
        if self._own_folder:
            shutil.rmtree(self._own_folder, ignore_errors=True)

"""The listening socket of a server, made before anything heavy, so that a port in use is told at once."""

from __future__ import annotations

import errno
import ipaddress
import socket

from mlctl.errors import RefusedError, UsageError

BACKLOG = 2048


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens; raises RefusedError for a port in use, UsageError for no address of ours."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
    except socket.gaierror as exc:
        raise UsageError(f"there is no address {host!r}", "--host takes an address of this machine") from exc
    # with its protocol said, asyncio knows that it is TCP, and sends small answers at once
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except OSError as exc:
        listener.close()
        if exc.errno == errno.EADDRINUSE:
            raise RefusedError(
                f"port {port} on {host} is in use", "take another with --port; 0 finds a free one"
            ) from exc
        if exc.errno == errno.EACCES:
            raise RefusedError(f"port {port} is not for you to take", "take one above 1023") from exc
        raise UsageError(f"{host} cannot be listened on: {exc.strerror}", "--host 127.0.0.1") from exc
    return listener


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches the address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def port_of(listener: socket.socket) -> int:
    """Return the port that a socket got."""
    return int(listener.getsockname()[1])

"""A server's listening socket, opened before anything slow, so that a port in use is reported at once."""

from __future__ import annotations

import errno
import ipaddress
import socket

from mlctl.errors import RefusedError, UsageError

BACKLOG = 2048


def open_listener(host: str, port: int) -> socket.socket:
    """Return a listening socket.

    Raises RefusedError if the port is in use or needs privileges, UsageError if the host is no address of this
    machine.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
    except socket.gaierror as exc:
        raise UsageError(f"unknown address {host!r}", "pass an address of this machine to --host") from exc
    # asyncio recognises TCP by the explicit protocol, and then sends small answers without delay
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except OSError as exc:
        listener.close()
        if exc.errno == errno.EADDRINUSE:
            raise RefusedError(
                f"port {port} on {host} is in use",
                "choose another port with --port; --port 0 picks a free one",
            ) from exc
        if exc.errno == errno.EACCES:
            raise RefusedError(
                f"this user may not listen on port {port}", "choose a port above 1023 with --port"
            ) from exc
        raise UsageError(f"cannot listen on {host}: {exc.strerror}", "use --host 127.0.0.1") from exc
    return listener


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach the address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def port_of(listener: socket.socket) -> int:
    """Return the port that a socket listens on."""
    return int(listener.getsockname()[1])

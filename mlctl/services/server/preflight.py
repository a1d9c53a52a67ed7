"""What can be known to be wrong before a server starts, each with its line, its fix and its code."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import ssl
import uuid

from mlctl.adapters.database import connection
from mlctl.adapters.system.listener import BACKLOG, is_loopback
from mlctl.domain.server import Access, ServerLocation
from mlctl.errors import (
    BadDataError,
    NotFoundError,
    RefusedError,
    UnreachableError,
    UsageError,
)


def check(place: ServerLocation, access: Access, create_bucket: bool, upgrade_db: bool) -> socket.socket:
    """Return a listening socket for a server that can be expected to work; nothing has been started.

    Raises the first thing that is wrong, cheapest first: access, port, disk, database, bucket.
    """
    _guarded(access)
    sock = _bound(access)
    try:
        _writable(place)
        connection.verify(place.backend, upgrade_db)
        if place.bucket:
            from mlctl.adapters.storage.s3 import (
                S3Storage,  # boto3 takes a third of a second, wanted only here
            )

            S3Storage(place.bucket, patient=False).verify(create_bucket)
    except BaseException:
        sock.close()
        raise
    return sock


def in_the_clear(access: Access) -> bool:
    """Whether passwords cross a network unencrypted, as far as this server can tell."""
    return access.auth and not is_loopback(access.host) and not access.tls_cert


def _guarded(access: Access) -> None:
    if not is_loopback(access.host) and not access.auth and not access.insecure:
        raise RefusedError(
            f"on {access.host} everybody who reaches this machine could read, change and delete everything",
            "say --auth, or --insecure where something else guards it",
        )
    if bool(access.tls_cert) != bool(access.tls_key):
        raise UsageError("--tls-cert and --tls-key belong together", "give both")
    if access.tls_cert and access.tls_key:
        for file in (access.tls_cert, access.tls_key):
            if not file.is_file():
                raise NotFoundError(f"{file} is not there", "name the certificate and its key, in PEM")
        try:
            ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(
                access.tls_cert, access.tls_key
            )
        except (ssl.SSLError, OSError) as exc:
            raise BadDataError(
                f"{access.tls_cert} and {access.tls_key} are no certificate and its key ({exc})"
            ) from exc


def _bound(access: Access) -> socket.socket:
    """Take the port now, so that nobody else can before the server is there: two may be bound, one listens."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            access.host,
            access.port,
            type=socket.SOCK_STREAM,
            proto=socket.IPPROTO_TCP,
            flags=socket.AI_PASSIVE,
        )[0]
    except (socket.gaierror, OverflowError) as exc:
        raise UsageError(f"--host {access.host} --port {access.port} is no address of this machine") from exc
    sock = socket.socket(family, kind, protocol)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind(address)
        sock.listen(BACKLOG)
    except OSError as exc:
        sock.close()
        if isinstance(exc, PermissionError):
            raise RefusedError(
                f"port {access.port} is for the administrator", "take one above 1023: --port"
            ) from exc
        if exc.errno == errno.EADDRNOTAVAIL:
            raise UnreachableError(f"{access.host} is no address of this machine", "look at --host") from exc
        raise RefusedError(
            f"port {access.port} on {access.host} is in use", "say --port, or find who has it: ss -ltnp"
        ) from exc
    return sock


def _writable(place: ServerLocation) -> None:
    folders = {place.backend.sqlite_file.parent} if place.backend.sqlite_file else set()
    if not place.bucket:
        folders.add(place.folder if place.folder.is_dir() else place.root)
    for folder in folders:
        probe = folder / f".mlctl-{uuid.uuid4().hex}"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with probe.open("wb") as file:
                file.write(b"\0" * 65536)
                file.flush()
                os.fsync(file.fileno())
        except OSError as exc:
            verb = "written" if folder.is_dir() else "created"
            raise RefusedError(f"{folder} cannot be {verb}: {exc.strerror}", _remedy(exc)) from exc
        finally:
            with contextlib.suppress(OSError):
                probe.unlink(missing_ok=True)


def _remedy(error: OSError) -> str:
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return "free some space"
    return "look at --root and its owner"

"""Check everything that would stop a server from working, before it starts."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import os
import re
import socket
import ssl
import uuid

from mlctl.adapters.database import connection
from mlctl.adapters.storage import cloud_artifacts
from mlctl.adapters.storage.artifact_store import open_artifact_bucket
from mlctl.adapters.system.listener import is_loopback, open_listener
from mlctl.domain.server import ServerAccess, ServerLocation
from mlctl.errors import BadDataError, NotFoundError, RefusedError, UnreachableError, UsageError


def run_preflight(
    location: ServerLocation, access: ServerAccess, *, create_bucket: bool, upgrade_db: bool
) -> socket.socket:
    """Return a listening socket for a server that can be expected to work. Nothing has been started.

    Raises the first problem, and checks the cheapest first: access, port, disk, database, bucket.
    """
    _check_access(access)
    sock = _listen(access)
    try:
        _check_writable(location)
        connection.check_database(location.backend, upgrade=upgrade_db)
        require_usable_bucket(location, create=create_bucket)
    except BaseException:
        sock.close()
        raise
    return sock


def require_usable_bucket(location: ServerLocation, *, create: bool) -> None:
    """Raise unless artifacts can be stored in the location's bucket, if it has one; `create` a missing bucket."""
    if location.bucket:
        open_artifact_bucket(location.bucket, is_probe=True).verify(create=create)
    elif location.cloud:
        cloud_artifacts.verify(location.cloud)


def sends_unencrypted_passwords(access: ServerAccess) -> bool:
    """Return whether passwords cross a network unencrypted, as far as this server can tell."""
    return access.auth and not access.by_proxy and not is_loopback(access.host) and not access.tls_cert


def everybody_may_read(access: ServerAccess) -> bool:
    """Return whether each user of a server that other machines reach may read all experiments and models."""
    return access.auth and not is_loopback(access.host) and access.default_permission != "none"


def _check_access(access: ServerAccess) -> None:
    if not is_loopback(access.host) and not access.auth and not access.insecure:
        raise RefusedError(
            f"on {access.host}, everybody who reaches this machine could read, change and delete everything",
            "add --auth, or --insecure if something else guards the server",
        )
    _check_proxies(access)
    if bool(access.tls_cert) != bool(access.tls_key):
        raise UsageError("--tls-cert and --tls-key need each other", "use both")
    if access.tls_cert and access.tls_key:
        for file in (access.tls_cert, access.tls_key):
            if not file.is_file():
                raise NotFoundError(
                    f"there is no file {file}", "name the certificate and its key, in PEM format"
                )
        try:
            ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(
                access.tls_cert, access.tls_key
            )
        except (ssl.SSLError, OSError) as exc:
            raise BadDataError(
                f"{access.tls_cert} and {access.tls_key} are not a certificate and its key ({exc})"
            ) from exc


def _check_proxies(access: ServerAccess) -> None:
    if access.by_proxy != bool(access.trusted_proxies):
        raise UsageError("--auth proxy and --trusted-proxy need each other", "use both")
    for address in access.trusted_proxies:
        try:
            network = ipaddress.ip_network(address, strict=False)
        except ValueError:
            raise UsageError(
                f"{address!r} is not the address of a proxy", "write it as 10.0.0.5 or 10.0.0.0/24"
            ) from None
        if network.prefixlen == 0:
            raise UsageError(
                f"{address} trusts every client, which could then name any user",
                "name only the proxy's address",
            )
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9-]*", access.user_header):
        raise UsageError(
            f"invalid header {access.user_header!r}", "write it as X-Forwarded-User or X-Forwarded-Email"
        )


def _listen(access: ServerAccess) -> socket.socket:
    """Return a listening socket: two programs can bind one port, but only one can listen on it."""
    try:
        return open_listener(access.host, access.port)
    except UsageError as exc:
        if isinstance(exc.__cause__, OSError) and exc.__cause__.errno == errno.EADDRNOTAVAIL:
            raise UnreachableError(exc.message, "check --host") from exc
        raise


def _check_writable(location: ServerLocation) -> None:
    folders = {location.backend.sqlite_file.parent} if location.backend.sqlite_file else set()
    if not location.remote_uri:
        folders.add(location.folder if location.folder.is_dir() else location.root)
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
            full = exc.errno in {errno.ENOSPC, errno.EDQUOT}
            raise RefusedError(
                f"{folder} cannot be {verb}: {exc.strerror}",
                "free some disk space" if full else "check --root and its owner",
            ) from exc
        finally:
            with contextlib.suppress(OSError):
                probe.unlink(missing_ok=True)

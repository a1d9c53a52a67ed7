"""MLflow's basic-auth: its configuration, its first administrator, and the hosts that a server answers to."""

from __future__ import annotations

import os
import secrets
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mlctl.adapters.database import connection
from mlctl.adapters.system import extras
from mlctl.domain.server import Access, ServerLocation
from mlctl.errors import BadDataError, NotFoundError, RefusedError, UsageError

SHORTEST = 12  # what MLflow asks for
CHECKED_FOR_S = 60  # a password's slow hash costs a quarter of a second a request; this long it is remembered
UNUSED = (
    "--admin-password-file is not used: the database has its users already, and they keep their passwords"
)
LOCAL_HOSTS = ("localhost", "127.0.0.1", "[::1]")
PRIVATE = ("192.168.*", "10.*", *(f"172.{number}.*" for number in range(16, 32)), "fc00:*", "fd00:*")
ANYWHERE = {"0.0.0.0", "::"}  # noqa: S104  # they are compared, not bound


@dataclass(frozen=True)
class Admin:
    """Basic-auth as one server shall have it.

    `generated` is a password that nobody has seen yet; `unused` says that a password file was given in vain.
    """

    config: Path
    secrets: Mapping[str, str] = field(repr=False)
    generated: str | None = field(default=None, repr=False)
    unused: bool = False


def prepare(
    place: ServerLocation, access: Access, password_file: str | None, config: Path, foreground: bool
) -> Admin | None:
    """Write basic-auth's configuration and settle the first administrator's password; None without --auth.

    The password comes from a file ("-": stdin), from MLFLOW_AUTH_ADMIN_PASSWORD, or is generated. Raises
    RefusedError where one would be generated in the foreground: it could be shown only in a log that is kept.
    """
    if not access.auth:
        if password_file:
            raise UsageError("--admin-password-file belongs to --auth", "add --auth")
        return None
    extras.demand("flask_wtf", "auth", "--auth")
    given = {"_MLFLOW_AUTH_ADMIN_BOOTSTRAPPED": "true"}
    if "MLFLOW_FLASK_SERVER_SECRET_KEY" not in os.environ:
        given["MLFLOW_FLASK_SERVER_SECRET_KEY"] = secrets.token_hex(32)
    generated = None
    known = connection.has_users(place.backend)
    if not known:
        password = _given(password_file)
        if password is None and foreground:
            raise RefusedError(
                "there is no administrator yet, and a generated password would stay in the log",
                "give one: --admin-password-file FILE (- is stdin), or MLFLOW_AUTH_ADMIN_PASSWORD",
            )
        if password is None:
            password = generated = secrets.token_urlsafe(18)
        if len(password) < SHORTEST:
            raise BadDataError(
                f"the administrator's password is shorter than {SHORTEST} characters", "take a longer one"
            )
        given["MLFLOW_AUTH_ADMIN_PASSWORD"] = password
    config.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    database_uri = place.backend.uri.replace("%", "%%")  # configparser's escape
    config.write_text(
        "[mlflow]\n"
        "default_permission = READ\n"
        f"database_uri = {database_uri}\n"
        "admin_username = admin\n"
        "authorization_function = mlflow.server.auth:authenticate_request_basic_auth\n"
        f"auth_cache_ttl_seconds = {CHECKED_FOR_S}\n",
        encoding="utf-8",
    )
    return Admin(config, given, generated, unused=known and password_file is not None)


def allowed_hosts(access: Access) -> str:
    """Return MLflow's list of hosts, each with and without a port.

    Without --allowed-hosts they are MLflow's own, which are this machine's and private addresses. The name
    that server-up prints is always among them. "" where MLFLOW_SERVER_ALLOWED_HOSTS has the list.
    """
    if not access.allowed_hosts and os.environ.get("MLFLOW_SERVER_ALLOWED_HOSTS"):
        return ""
    if "*" in access.allowed_hosts:
        return "*"
    given = access.allowed_hosts or ("0.0.0.0", *PRIVATE)  # noqa: S104  # a browser may be given it
    named = [_bracketed(host) for host in (*given, *LOCAL_HOSTS, public_host(access))]
    hosts = dict.fromkeys([*named, *(host.lower() for host in named)])
    return ",".join(f"{host},{_as_pattern(host)}:*" for host in hosts)


def public_host(access: Access) -> str:
    """Return under which name others reach a server; brackets are around an address of IPv6."""
    return socket.gethostname() if access.host in ANYWHERE else _bracketed(access.host)


def _bracketed(host: str) -> str:
    """Return a host as the Host header has it."""
    return f"[{host}]" if host.count(":") > 1 and "*" not in host and not host.startswith("[") else host


def _as_pattern(host: str) -> str:
    """Return what matches this very host where MLflow reads a pattern, in which [ begins a set of characters."""
    return f"[[]{host[1:]}" if host.startswith("[") else host


def _given(file: str | None) -> str | None:
    if file == "-":
        return sys.stdin.readline().strip()
    if file:
        try:
            return Path(file).expanduser().read_text(encoding="utf-8").strip()
        except FileNotFoundError as exc:
            raise NotFoundError(
                f"{file} is not there", "its content is the administrator's password"
            ) from exc
    return os.environ.get("MLFLOW_AUTH_ADMIN_PASSWORD")

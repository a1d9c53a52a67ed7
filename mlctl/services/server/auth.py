"""Authentication (MLflow's basic-auth) and the host names that a server accepts."""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mlctl.adapters.database import connection
from mlctl.adapters.system import extras
from mlctl.domain.server import ServerAccess, ServerLocation
from mlctl.errors import BadDataError, RefusedError, UsageError
from mlctl.files import read_secret

MIN_PASSWORD_LENGTH = 12  # MLflow requires it
# a password's slow hash costs a quarter of a second, so the server remembers it (see credential_cache)
CACHE_TTL_S = 600
PERMISSIONS = {"none": "NO_PERMISSIONS", "read": "READ", "edit": "EDIT", "manage": "MANAGE"}
UNUSED_PASSWORD_FILE = (
    "--admin-password-file has no effect: the database has users already, who keep their passwords"  # noqa: S105  # a message
)
LOCAL_HOSTS = ("localhost", "127.0.0.1", "[::1]")
PRIVATE_HOSTS = ("192.168.*", "10.*", *(f"172.{number}.*" for number in range(16, 32)), "fc00:*", "fd00:*")
ANY_HOST = {"0.0.0.0", "::"}  # noqa: S104  # they are compared, not bound


@dataclass(frozen=True, kw_only=True)
class BasicAuth:
    """The basic-auth of one server.

    Attributes:
        config: The file with MLflow's configuration.
        secrets: Environment variables for the server.
        generated_password: The first administrator's password, if mlctl has just generated it.
        has_unused_password_file: The user named a password file, but the database has users already.
    """

    config: Path
    secrets: Mapping[str, str] = field(repr=False)
    generated_password: str | None = field(default=None, repr=False)
    has_unused_password_file: bool = False


def prepare_basic_auth(
    location: ServerLocation,
    access: ServerAccess,
    *,
    password_file: str | None,
    config: Path,
    foreground: bool,
) -> BasicAuth | None:
    """Write basic-auth's configuration and choose the first administrator's password; None without --auth.

    The password comes from a file ("-" is stdin) or from MLFLOW_AUTH_ADMIN_PASSWORD. Without either, mlctl generates
    one. Raises RefusedError if it would have to generate one in the foreground, where the password would stay in a log.
    """
    if not access.auth:
        if password_file:
            raise UsageError("--admin-password-file needs --auth", "add --auth")
        return None
    extras.require_extra("flask_wtf", "auth", "--auth")
    environment = {"_MLFLOW_AUTH_ADMIN_BOOTSTRAPPED": "true"}
    if "MLFLOW_FLASK_SERVER_SECRET_KEY" not in os.environ:
        environment["MLFLOW_FLASK_SERVER_SECRET_KEY"] = secrets.token_hex(32)
    generated_password = None
    has_users = connection.has_users(location.backend)
    if not has_users:
        if password_file:
            password: str | None = read_secret(password_file, content="the administrator's password")
        else:
            password = os.environ.get("MLFLOW_AUTH_ADMIN_PASSWORD")
        if password is None and foreground:
            raise RefusedError(
                "there is no administrator yet, and a generated password would stay in the log",
                "set one: --admin-password-file FILE (- is stdin), or MLFLOW_AUTH_ADMIN_PASSWORD",
            )
        if password is None:
            password = generated_password = secrets.token_urlsafe(18)
        if len(password) < MIN_PASSWORD_LENGTH:
            raise BadDataError(
                f"the administrator's password is shorter than {MIN_PASSWORD_LENGTH} characters",
                "choose a longer one",
            )
        environment["MLFLOW_AUTH_ADMIN_PASSWORD"] = password
    config.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    database_uri = location.backend.uri.replace("%", "%%")  # configparser's escape
    config.write_text(
        "[mlflow]\n"
        f"default_permission = {PERMISSIONS[access.default_permission]}\n"
        f"database_uri = {database_uri}\n"
        "admin_username = admin\n"
        "authorization_function = mlflow.server.auth:authenticate_request_basic_auth\n"
        f"auth_cache_ttl_seconds = {CACHE_TTL_S}\n",
        encoding="utf-8",
    )
    return BasicAuth(
        config=config,
        secrets=environment,
        generated_password=generated_password,
        has_unused_password_file=has_users and password_file is not None,
    )


def allowed_hosts(access: ServerAccess) -> str:
    """Return MLflow's list of accepted hosts, each with and without a port; "" if MLFLOW_SERVER_ALLOWED_HOSTS has it.

    Without --allowed-host the list is MLflow's default: this machine and private addresses. The name that server-up
    prints is always in the list.
    """
    if not access.allowed_hosts and os.environ.get("MLFLOW_SERVER_ALLOWED_HOSTS"):
        return ""
    if "*" in access.allowed_hosts:
        return "*"
    hosts = access.allowed_hosts or ("0.0.0.0", *PRIVATE_HOSTS)  # noqa: S104  # users open such an address too
    named = [_bracketed(host) for host in (*hosts, *LOCAL_HOSTS, public_host(access))]
    names = dict.fromkeys([*named, *(host.lower() for host in named)])
    return ",".join(f"{name},{_as_pattern(name)}:*" for name in names)


def public_host(access: ServerAccess) -> str:
    """Return the name under which other machines reach a server; an IPv6 address is in brackets."""
    return socket.gethostname() if access.host in ANY_HOST else _bracketed(access.host)


def _bracketed(host: str) -> str:
    """Return a host as the Host header contains it."""
    return f"[{host}]" if host.count(":") > 1 and "*" not in host and not host.startswith("[") else host


def _as_pattern(host: str) -> str:
    """Return the MLflow pattern that matches exactly this host; in a pattern, [ begins a set of characters."""
    return f"[[]{host[1:]}" if host.startswith("[") else host
